/* The writer: layout, order, determinism, limits; the choice of a page size. */
#include "base/bytes.h"
#include "support/sqlite_testing.h"

/* --- layout ----------------------------------------------------------------------------------- */

/* The schema of a file with kv, vectors and payloads (unified shard), as the reference writes
 * it. */
static const btree_object UNIFIED[] = {
    {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL,
        "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID", 1},
    {BTREE_OBJECT_VIRTUAL, "vec_index", NULL,
        "CREATE VIRTUAL TABLE vec_index USING vec0(embedding float[8] distance_metric=cosine)", 0},
    {BTREE_OBJECT_TABLE, "vec_index_info", NULL,
        "CREATE TABLE \"vec_index_info\" (key text primary key, value any)", 0},
    {BTREE_OBJECT_INDEX, "sqlite_autoindex_vec_index_info_1", "vec_index_info", NULL, 0},
    {BTREE_OBJECT_TABLE, "vec_index_chunks", NULL,
        "CREATE TABLE \"vec_index_chunks\"(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size INTEGER "
        "NOT NULL,validity "
        "BLOB NOT NULL,rowids BLOB NOT NULL)",
        0},
    {BTREE_OBJECT_TABLE, "sqlite_sequence", NULL, "CREATE TABLE sqlite_sequence(name,seq)", 0},
    {BTREE_OBJECT_TABLE, "vec_payloads", NULL,
        "CREATE TABLE vec_payloads (rowid INTEGER PRIMARY KEY, payload TEXT NOT NULL)", 0},
};
enum {
    UNIFIED_COUNT = sizeof UNIFIED / sizeof *UNIFIED
};

static void test_layout__roots_follow_the_order_of_declaration(void **state)
{
    (void)state;
    static const uint32_t roots[UNIFIED_COUNT] = {2, 0, 3, 4, 5, 6, 7};
    for (uint32_t size = 512; size <= 65536; size *= 2) {
        image img;
        btree_writer *writer = open_writer(&img, size, UNIFIED, UNIFIED_COUNT);
        finish_writer(writer, &img);
        btree_file *file = open_image(&img);
        assert_int_equal(file->object_count, UNIFIED_COUNT);
        assert_int_equal(file->page_size, size);
        for (uint32_t i = 0; i < UNIFIED_COUNT; i++) {
            assert_int_equal(file->objects[i].root, roots[i]);
            assert_string_equal(file->objects[i].name, UNIFIED[i].name);
            assert_string_equal(
                file->objects[i].table, UNIFIED[i].table ? UNIFIED[i].table : UNIFIED[i].name);
            if (UNIFIED[i].sql) {
                assert_string_equal(file->objects[i].sql, UNIFIED[i].sql);
            } else {
                assert_null(file->objects[i].sql);
            }
        }
        shardy__btree_close(file);
        /* Without the rows of the virtual table, whose module libsqlite3 does not have, the file is
         * sound. */
        sqlite3 *db = open_db(&img);
        check_integrity(db);
        sqlite3_close(db);
        free_image(&img);
    }
}

static void test_layout__the_header_is_what_the_reference_writes(void **state)
{
    (void)state;
    image img;
    btree_writer *writer = open_writer(&img, 4096, &KV_OBJECT, 1);
    finish_writer(writer, &img);
    const uint8_t *h = img.data;
    assert_memory_equal(h, "SQLite format 3", 16);
    assert_int_equal(shardy__get_be16(h + 16), 4096);
    static const uint8_t fixed[] = {1, 1, 0, 64, 32, 32};
    assert_memory_equal(h + 18, fixed, sizeof fixed);
    assert_int_equal(shardy__get_be32(h + 24), shardy__get_be32(h + 92));
    assert_int_equal(shardy__get_be32(h + 28), img.len / 4096);
    /* from 32: freelist .. application id */
    static const uint32_t words[] = {0, 0, 1, 4, 0, 0, 1, 0, 0, 0};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_int_equal(shardy__get_be32(h + 32 + 4 * i), words[i]);
    }
    assert_int_equal(shardy__get_be32(h + 96), 3040001);
    free_image(&img);
    writer = open_writer(&img, 65536, &KV_OBJECT, 1);
    finish_writer(writer, &img);
    assert_int_equal(shardy__get_be16(img.data + 16), 1);
    free_image(&img);
}

static void test_layout__an_empty_file_has_no_objects(void **state)
{
    (void)state;
    image img;
    btree_writer *writer = open_writer(&img, 4096, NULL, 0);
    btree_file_stats stats = finish_writer(writer, &img);
    assert_int_equal(stats.page_count, 1);
    sqlite3 *db = open_db(&img);
    check_integrity(db);
    sqlite3_close(db);
    btree_file *file = open_image(&img);
    assert_int_equal(file->object_count, 0);
    shardy__btree_close(file);
    free_image(&img);
}

/* Texts of all lengths around what fits beside the header of the file, on the root of
 * sqlite_schema. */
static void test_layout__a_schema_of_any_size_is_read_by_sqlite(void **state)
{
    (void)state;
    char name[600];
    char sql[700];
    for (size_t len = 1; len < 560; len += 3) {
        memset(name, 'n', len);
        name[len] = 0;
        snprintf(sql, sizeof sql, "CREATE TABLE %s(a)", name);
        btree_object objects[3] = {{BTREE_OBJECT_TABLE, name, NULL, sql, 0},
            {BTREE_OBJECT_TABLE, "b", NULL, "CREATE TABLE b(a)", 0},
            {BTREE_OBJECT_TABLE, "c", NULL, "CREATE TABLE c(a)", 0}};
        for (size_t count = 1; count <= 3; count += 2) {
            image img;
            btree_writer *writer = open_writer(&img, 512, objects, count);
            finish_writer(writer, &img);
            sqlite3 *db = open_db(&img);
            check_integrity(db);
            sqlite3_stmt *statement =
                prepare(db, "SELECT count(*), min(rootpage) FROM sqlite_schema");
            assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
            assert_int_equal(sqlite3_column_int(statement, 0), (int)count);
            sqlite3_finalize(statement);
            sqlite3_close(db);
            btree_file *file = open_image(&img);
            assert_int_equal(file->object_count, count);
            assert_non_null(shardy__btree_object(file, SCHEMA_TABLE, name));
            shardy__btree_close(file);
            free_image(&img);
        }
    }
}

static void test_layout__a_thousand_objects_make_a_deep_schema(void **state)
{
    (void)state;
    enum {
        COUNT = 1000
    };
    btree_object *objects = calloc(COUNT, sizeof *objects);
    char(*names)[16] = calloc(COUNT, sizeof *names);
    char(*sqls)[64] = calloc(COUNT, sizeof *sqls);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        snprintf(sqls[i], sizeof sqls[i], "CREATE TABLE t%d(a, b, c, d)", i);
        objects[i] = (btree_object){BTREE_OBJECT_TABLE, names[i], NULL, sqls[i], 0};
    }
    image img;
    shardy_error err = {0};
    btree_writer *writer = open_writer(&img, 512, objects, COUNT);
    for (int64_t row = 0; row < 5; row++) {
        /* Trees take turns. */
        for (uint32_t i = 0; i < COUNT; i++) {
            record_value value = shardy__record_int(row * i);
            assert_ok(shardy__btree_put_row(writer, i, row, &value, 1, &err));
        }
    }
    finish_writer(writer, &img);
    sqlite3 *db = open_db(&img);
    check_integrity(db);
    sqlite3_stmt *sum = prepare(db, "SELECT sum(a) FROM t999");
    assert_int_equal(sqlite3_step(sum), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(sum, 0), 9990);
    sqlite3_finalize(sum);
    sqlite3_close(db);
    btree_file *file = open_image(&img);
    assert_int_equal(file->object_count, COUNT);
    assert_int_equal(file->objects[999].root, 1001);
    shardy__btree_close(file);
    free(objects);
    free(names);
    free(sqls);
    free_image(&img);
}

static void put_numbers(btree_writer *writer, uint64_t count)
{
    shardy_error err = {0};
    uint8_t value[100] = {3};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = __builtin_bswap64(i);
        shardy_bytes k = {&key, 8};
        shardy_bytes v = {value, sizeof value};
        assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
    }
}

static void test_layout__interior_pages_lie_together_at_the_end(void **state)
{
    (void)state;
    image img;
    btree_writer *writer = open_writer(&img, 512, &KV_OBJECT, 1);
    put_numbers(writer, 3000);
    finish_writer(writer, &img);
    size_t pages = img.len / 512;
    size_t first_interior = 0;
    for (size_t page = 3; page <= pages; page++) {
        int is_interior = img.data[(page - 1) * 512] == 2;
        if (is_interior && !first_interior) {
            first_interior = page;
        }
        assert_int_equal(is_interior, first_interior != 0);
    }
    assert_true(first_interior > pages / 2);
    assert_int_equal(img.data[512], 2); /* the root */
    free_image(&img);
}

typedef struct write_log {
    image img;
    uint64_t end;
    size_t writes;
    int head_written;
} write_log;

static shardy_status log_write(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    write_log *log = user;
    assert_false(log->head_written); /* nothing comes after the head */
    if (offset == 0) {
        log->head_written = 1;
    } else {
        assert_int_equal(offset % SHARDY_CHUNK_LEN, 0);
        assert_true(log->writes == 0 || offset == log->end);
        log->end = offset + len;
        log->writes++;
    }
    return write_image(&log->img, offset, data, len, err);
}

static void test_layout__the_head_is_written_last_and_the_rest_in_order(void **state)
{
    (void)state;
    for (uint64_t rows = 0; rows < 20000; rows = rows * 3 + 1) {
        shardy_error err = {0};
        write_log log = {0};
        btree_writer_options options;
        shardy__btree_writer_options_init(&options);
        options.page_size = 1024;
        options.sink = (btree_sink){log_write, &log};
        options.objects = &KV_OBJECT;
        options.object_count = 1;
        btree_writer *writer = NULL;
        assert_ok(shardy__btree_writer_open(&options, &writer, &err));
        put_numbers(writer, rows);
        assert_false(log.head_written);
        btree_file_stats stats;
        assert_ok(shardy__btree_writer_finish(writer, &stats, &err));
        assert_true(log.head_written);
        assert_int_equal(stats.size, log.img.len);
        assert_int_equal(stats.page_count, log.img.len / 1024);
        for (size_t i = 0; i < stats.sum_count; i++) {
            sha256 sum;
            size_t at = i * SHARDY_CHUNK_LEN;
            size_t len = log.img.len - at < SHARDY_CHUNK_LEN ? log.img.len - at : SHARDY_CHUNK_LEN;
            assert_ok(shardy__sha256(log.img.data + at, len, &sum, &err));
            assert_memory_equal(&sum, &stats.sums[i], sizeof sum);
        }
        shardy__btree_writer_close(writer);
        free_image(&log.img);
    }
}

/* A sink that keeps only what the test looks at: the file is larger than a gibibyte. */
typedef struct sparse_sink {
    uint8_t lock_page[65536];
    uint64_t size;
    uint32_t bad_references;
} sparse_sink;

static shardy_status sparse_write(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)err;
    sparse_sink *s = user;
    const uint64_t lock = 0x40000000u;
    if (offset <= lock && lock < offset + len) {
        memcpy(s->lock_page, (const uint8_t *)data + (lock - offset), 65536);
    }
    s->size = offset + len > s->size ? offset + len : s->size;
    for (size_t at = 0; offset > 0 && at < len; at += 65536) {
        /* Overflow pages name the next one in their first bytes. */
        s->bad_references +=
            shardy__get_be32((const uint8_t *)data + at) == 0x40000000u / 65536 + 1;
    }
    return SHARDY_OK;
}

static void test_layout__the_page_that_sqlite_locks_is_left_empty(void **state)
{
    (void)state;
    shardy_error err = {0};
    sparse_sink *s = calloc(1, sizeof *s);
    memset(s->lock_page, 7, sizeof s->lock_page);
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    options.page_size = 65536;
    options.digests = 0;
    options.sink = (btree_sink){sparse_write, s};
    options.objects = &KV_OBJECT;
    options.object_count = 1;
    btree_writer *writer = NULL;
    assert_ok(shardy__btree_writer_open(&options, &writer, &err));
    size_t len = 100000000;
    uint8_t *value = malloc(len);
    memset(value, 1, len);
    for (uint8_t i = 0; i < 12; i++) {
        shardy_bytes k = {&i, 1};
        shardy_bytes v = {value, len};
        assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
    }
    btree_file_stats stats;
    assert_ok(shardy__btree_writer_finish(writer, &stats, &err));
    assert_true(stats.size > 0x40000000u);
    assert_int_equal(stats.sum_count, 0);
    assert_null(stats.sums);
    for (size_t i = 0; i < sizeof s->lock_page; i++) {
        assert_int_equal(s->lock_page[i], 0);
    }
    assert_int_equal(s->bad_references, 0);
    shardy__btree_writer_close(writer);
    free(value);
    free(s);
}

static void test_bytes__depend_on_the_rows_alone(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img[2];
    for (int i = 0; i < 2; i++) {
        const btree_object objects[2] = {
            KV_OBJECT, {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a)", 0}};
        btree_writer *writer = open_writer(&img[i], 1024, objects, 2);
        void *noise[50]; /* the heap differs: what is not set would show */
        for (size_t n = 0; n < 50; n++) {
            noise[n] = malloc(1024);
            memset(noise[n], i ? 0xAA : 0x55, 1024);
        }
        for (size_t n = 0; n < 50; n++) {
            free(noise[n]);
        }
        uint8_t value[3000] = {9};
        for (uint64_t n = 0; n < 500; n++) {
            uint64_t key = __builtin_bswap64(n);
            shardy_bytes k = {&key, 8};
            shardy_bytes v = {value, n % 50 == 0 ? 3000 : n % 90};
            assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
            record_value text = shardy__record_text("row", n % 4 == 0 ? 0 : 3);
            assert_ok(shardy__btree_put_row(writer, 1, (int64_t)n, &text, 1, &err));
        }
        finish_writer(writer, &img[i]);
    }
    assert_int_equal(img[0].len, img[1].len);
    assert_memory_equal(img[0].data, img[1].data, img[0].len);
    free_image(&img[0]);
    free_image(&img[1]);
}

/* --- what is refused -------------------------------------------------------------------------- */

static shardy_status put_text(btree_writer *writer, const char *key, shardy_error *err)
{
    shardy_bytes k = {key, strlen(key)};
    shardy_bytes v = {"v", 1};
    return shardy__btree_put_kv(writer, 0, k, v, err);
}

static void test_order__keys_that_do_not_rise_are_invalid_with_their_row(void **state)
{
    (void)state;
    static const struct {
        const char *first;
        const char *second;
        int ok;
    } cases[] = {{"a", "b", 1}, {"a", "a", 0}, {"b", "a", 0}, {"a", "ab", 1}, {"ab", "a", 0},
        {"", "a", 1}, {"", "", 0}, {"12345678", "123456789", 1}, {"123456789", "12345678", 0},
        {"12345678a", "12345678b", 1}, {"12345678b", "12345678a", 0}, {"12345678b", "12345678b", 0},
        {"\x7F", "\x80", 1}, {"\x80", "\x7F", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shardy_error err = {0};
        image img;
        btree_writer *writer = open_writer(&img, 512, &KV_OBJECT, 1);
        assert_ok(put_text(writer, cases[i].first, &err));
        shardy_status st = put_text(writer, cases[i].second, &err);
        assert_int_equal(st, cases[i].ok ? SHARDY_OK : SHARDY_INVALID);
        if (!cases[i].ok) {
            assert_non_null(strstr(err.message, "row 1 of \"kv\""));
            btree_file_stats stats;
            assert_status(SHARDY_MISUSE, put_text(writer, "zzz", &err));
            assert_status(SHARDY_MISUSE, shardy__btree_writer_finish(writer, &stats, &err));
        }
        shardy__btree_writer_close(writer);
        free_image(&img);
    }
}

static void test_order__rowids_and_records_too(void **state)
{
    (void)state;
    for (int equal = 0; equal < 2; equal++) {
        shardy_error err = {0};
        image img;
        btree_writer *writer = open_writer(&img, 4096, UNIFIED, UNIFIED_COUNT);
        record_value text = shardy__record_text("x", 1);
        assert_ok(shardy__btree_put_row(writer, 2, -5, &text, 1, &err));
        assert_ok(shardy__btree_put_row(writer, 2, INT64_MAX, &text, 1, &err));
        assert_status(SHARDY_INVALID,
            shardy__btree_put_row(writer, 2, equal ? INT64_MAX : 5, &text, 1, &err));
        assert_non_null(strstr(err.message, "row 2 of \"vec_index_info\""));
        shardy__btree_writer_close(writer);
        free_image(&img);
        writer = open_writer(&img, 4096, UNIFIED, UNIFIED_COUNT);
        record_value entry[2] = {text, shardy__record_int(1)};
        assert_ok(shardy__btree_put_record(writer, 3, entry, 2, &err));
        entry[1].integer = 2; /* an index is ordered by all its columns */
        assert_ok(shardy__btree_put_record(writer, 3, entry, 2, &err));
        entry[1].integer = equal ? 2 : 1;
        assert_status(SHARDY_INVALID, shardy__btree_put_record(writer, 3, entry, 2, &err));
        shardy__btree_writer_close(writer);
        free_image(&img);
        writer = open_writer(&img, 4096, UNIFIED, UNIFIED_COUNT);
        record_value row[2] = {shardy__record_blob("k", 1), shardy__record_int(1)};
        assert_ok(shardy__btree_put_record(writer, 0, row, 2, &err));
        row[1].integer = 2; /* a table without rowid by its key alone */
        assert_status(SHARDY_INVALID, shardy__btree_put_record(writer, 0, row, 2, &err));
        shardy__btree_writer_close(writer);
        free_image(&img);
    }
}

static void test_put__objects_of_another_kind_are_invalid(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img;
    shardy_bytes bytes = {"x", 1};
    record_value value = shardy__record_int(1);
    btree_writer *writer = open_writer(&img, 4096, UNIFIED, UNIFIED_COUNT);
    assert_status(SHARDY_INVALID, shardy__btree_put_kv(writer, 1, bytes, bytes, &err));
    assert_status(SHARDY_INVALID, shardy__btree_put_kv(writer, 2, bytes, bytes, &err));
    assert_status(SHARDY_INVALID, shardy__btree_put_kv(writer, 99, bytes, bytes, &err));
    assert_status(SHARDY_INVALID, shardy__btree_put_row(writer, 0, 1, &value, 1, &err));
    assert_status(SHARDY_INVALID, shardy__btree_put_row(writer, 3, 1, &value, 1, &err));
    assert_status(SHARDY_INVALID, shardy__btree_put_record(writer, 2, &value, 1, &err));
    /* None of that has done any harm. */
    assert_ok(shardy__btree_put_kv(writer, 0, bytes, bytes, &err));
    finish_writer(writer, &img);
    btree_file *file = open_image(&img);
    shardy__btree_close(file);
    free_image(&img);
}

static void test_open__bad_options_are_invalid(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 256, 511, 1000, 4095, 131072};
    image img = {0};
    btree_writer_options options;
    btree_writer *writer = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        shardy_error err = {0};
        shardy__btree_writer_options_init(&options);
        options.page_size = sizes[i];
        options.sink = (btree_sink){write_image, &img};
        assert_status(SHARDY_INVALID, shardy__btree_writer_open(&options, &writer, &err));
        assert_null(writer);
    }
    static const btree_object bad[] = {{0, "n", NULL, "s", 0}, {9, "n", NULL, "s", 0},
        {BTREE_OBJECT_TABLE, NULL, NULL, "s", 0}, {BTREE_OBJECT_TABLE, "n", NULL, NULL, 0},
        {BTREE_OBJECT_WITHOUT_ROWID, "n", NULL, "s", 0}, {BTREE_OBJECT_INDEX, "n", NULL, NULL, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        shardy_error err = {0};
        shardy__btree_writer_options_init(&options);
        options.sink = (btree_sink){write_image, &img};
        options.objects = &bad[i];
        options.object_count = 1;
        assert_status(SHARDY_INVALID, shardy__btree_writer_open(&options, &writer, &err));
        assert_null(writer);
    }
}

static shardy_status full_sink(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)offset;
    (void)data;
    (void)len;
    int *left = user;
    if ((*left)-- > 0) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_NO_SPACE, "test", "disk is full");
}

static void test_sink__a_failure_is_passed_on_and_ends_the_writing(void **state)
{
    (void)state;
    for (int writes = 0; writes < 4; writes++) {
        shardy_error err = {0};
        int left = writes;
        btree_writer_options options;
        shardy__btree_writer_options_init(&options);
        options.sink = (btree_sink){full_sink, &left};
        options.objects = &KV_OBJECT;
        options.object_count = 1;
        btree_writer *writer = NULL;
        assert_ok(shardy__btree_writer_open(&options, &writer, &err));
        shardy_status st = SHARDY_OK;
        uint8_t value[1000] = {0};
        for (uint64_t i = 0; st == SHARDY_OK && i < 2000; i++) {
            uint64_t key = __builtin_bswap64(i);
            shardy_bytes k = {&key, 8};
            shardy_bytes v = {value, sizeof value};
            st = shardy__btree_put_kv(writer, 0, k, v, &err);
        }
        btree_file_stats stats;
        if (st == SHARDY_OK) {
            st = shardy__btree_writer_finish(writer, &stats, &err);
        } else {
            assert_status(SHARDY_MISUSE, shardy__btree_writer_finish(writer, &stats, NULL));
        }
        assert_int_equal(st, SHARDY_NO_SPACE);
        assert_string_equal(err.message, "disk is full");
        shardy__btree_writer_close(writer);
    }
}

/* --- choosing a page size --------------------------------------------------------------------- */

static void test_page_size__thresholds_are_those_of_the_reference(void **state)
{
    (void)state;
    /* formats.md 5.1: what fits on a page. */
    static const struct {
        uint32_t size;
        uint64_t most;
    } fits[] = {{4096, 1002}, {8192, 2030}, {16384, 4086}, {32768, 8198}, {65536, 16422}};
    for (size_t i = 0; i < 5; i++) {
        page_size_cell cell = {fits[i].most - 12 - 16, 16};
        assert_int_equal(shardy__page_size_recommend(&cell, 1), fits[i].size);
        cell.value_len++;
        assert_int_equal(shardy__page_size_recommend(&cell, 1), i < 4 ? fits[i + 1].size : 65536);
        /* The larger of two cells counts. */
        page_size_cell two[2] = {{1, 1}, {fits[i].most - 12 - 9, 9}};
        assert_int_equal(shardy__page_size_recommend(two, 2), fits[i].size);
    }
    assert_int_equal(shardy__page_size_recommend(NULL, 0), 4096);
    page_size_cell huge = {UINT64_MAX, UINT64_MAX};
    assert_int_equal(shardy__page_size_recommend(&huge, 1), 65536);
}

static void test_page_size__the_percentile_is_the_reference_s_index(void **state)
{
    (void)state;
    static const uint64_t cases[][2] = {{0, 0}, {1, 0}, {2, 1}, {19, 18}, {20, 18}, {21, 19},
        {40, 37}, {100, 94}, {101, 95}, {1000, 949}, {1000000, 949999}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(shardy__page_size_percentile(cases[i][0]), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout__roots_follow_the_order_of_declaration),
        cmocka_unit_test(test_layout__the_header_is_what_the_reference_writes),
        cmocka_unit_test(test_layout__an_empty_file_has_no_objects),
        cmocka_unit_test(test_layout__a_schema_of_any_size_is_read_by_sqlite),
        cmocka_unit_test(test_layout__a_thousand_objects_make_a_deep_schema),
        cmocka_unit_test(test_layout__interior_pages_lie_together_at_the_end),
        cmocka_unit_test(test_layout__the_head_is_written_last_and_the_rest_in_order),
        cmocka_unit_test(test_layout__the_page_that_sqlite_locks_is_left_empty),
        cmocka_unit_test(test_bytes__depend_on_the_rows_alone),
        cmocka_unit_test(test_order__keys_that_do_not_rise_are_invalid_with_their_row),
        cmocka_unit_test(test_order__rowids_and_records_too),
        cmocka_unit_test(test_put__objects_of_another_kind_are_invalid),
        cmocka_unit_test(test_open__bad_options_are_invalid),
        cmocka_unit_test(test_sink__a_failure_is_passed_on_and_ends_the_writing),
        cmocka_unit_test(test_page_size__thresholds_are_those_of_the_reference),
        cmocka_unit_test(test_page_size__the_percentile_is_the_reference_s_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
