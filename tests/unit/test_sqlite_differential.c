/* Our reader and writer against libsqlite3, over generated files: what one writes the other reads.
 * SHARDY_TEST_LONG=1 runs a larger set. */
#include "support/sqlite_testing.h"

#define BYTES_LEN 400000u

static uint8_t filler[BYTES_LEN];

static const uint32_t page_sizes[] = {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

static int long_run(void)
{
    return getenv("SHARDY_TEST_LONG") != NULL;
}

/* --- rows ------------------------------------------------------------------------------------- */

typedef struct bytes_value {
    uint8_t *data;
    size_t len;
} bytes_value;

typedef struct kv_row {
    bytes_value key;
    bytes_value value;
} kv_row;

typedef struct kv_rows {
    kv_row *rows;
    size_t count;
    int key_type; /* RECORD_BLOB or RECORD_TEXT */
} kv_rows;

static int compare_bytes(const bytes_value *a, const bytes_value *b)
{
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = shorter ? memcmp(a->data, b->data, shorter) : 0;
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_rows(const void *a, const void *b)
{
    return compare_bytes(&((const kv_row *)a)->key, &((const kv_row *)b)->key);
}

static bytes_value copy_bytes(const void *data, size_t len)
{
    bytes_value v = {malloc(len + 1), len};
    assert_non_null(v.data);
    if (len) {
        memcpy(v.data, data, len);
    }
    v.data[len] = 0;
    return v;
}

static void free_rows(kv_rows *kv)
{
    for (size_t i = 0; i < kv->count; i++) {
        free(kv->rows[i].key.data);
        free(kv->rows[i].value.data);
    }
    free(kv->rows);
}

/* Manners of keys. */
enum {
    KEYS_RANDOM16,
    KEYS_COUNTER,
    KEYS_DENSE,
    KEYS_PREFIXED,
    KEYS_ANY,
    KEYS_LONG,
    KEYS_TINY,
    KEYS_SKEWED,
    KEYS_KINDS
};

static bytes_value make_key(support_rand *rand, int kind, uint64_t i)
{
    uint8_t b[4000];
    uint64_t r = support_rand_u64(rand);
    memset(b, 'x', sizeof b);
    switch (kind) {
    case KEYS_RANDOM16:
        memcpy(b, &r, 8);
        r = support_rand_u64(rand);
        memcpy(b + 8, &r, 8);
        return copy_bytes(b, 16);
    case KEYS_COUNTER:
        i = __builtin_bswap64(i * 3);
        memcpy(b, &i, 8);
        return copy_bytes(b, 8);
    case KEYS_DENSE:
        i = __builtin_bswap64(r % 5000);
        memcpy(b, (uint8_t *)&i + 4, 4);
        return copy_bytes(b, 4);
    case KEYS_PREFIXED:
        return copy_bytes(b, (size_t)snprintf((char *)b, 100, "customer/europe/%06llu/%s",
                                 (unsigned long long)(r % 100000), r & 1 ? "name" : "n"));
    case KEYS_ANY:
        for (size_t at = 0; at < 40; at++) {
            b[at] = (uint8_t)(support_rand_below(rand, 4) * 85);
        }
        return copy_bytes(b, support_rand_below(rand, 40));
    case KEYS_LONG:
        for (size_t at = 0; at < 20; at++) {
            b[support_rand_below(rand, sizeof b)] = (uint8_t)support_rand_below(rand, 3);
        }
        return copy_bytes(b, support_rand_below(rand, sizeof b));
    case KEYS_TINY:
        memcpy(b, &r, 8);
        return copy_bytes(b, support_rand_below(rand, 4));
    default:
        /* Half of the keys within a tiny range. */
        r = r & 1 ? __builtin_bswap64(0x0100000000000000u + (r >> 48)) : r;
        memcpy(b, &r, 8);
        return copy_bytes(b, 8 + (r >> 20) % 3);
    }
}

/* Longest payload on one page of an index, as the format defines it. */
static size_t local_max(uint32_t page_size)
{
    return (page_size - 12) * 64 / 255 - 23;
}

static size_t value_len(support_rand *rand, uint32_t page_size, size_t usual)
{
    switch (support_rand_below(rand, 20)) {
    case 0:
        return 0;
    case 1: /* around what fits */
        return local_max(page_size) - 40 + support_rand_below(rand, 60);
    case 2: /* around whole overflow pages */
        return (page_size - 4) * (1 + support_rand_below(rand, 3)) + support_rand_below(rand, 80);
    case 3:
        return support_rand_below(rand, 3 * page_size);
    default:
        return support_rand_below(rand, usual + 1);
    }
}

static kv_rows make_rows(
    support_rand *rand, size_t count, int keys, uint32_t page_size, size_t usual)
{
    kv_rows kv = {calloc(count + 1, sizeof(kv_row)), 0, RECORD_BLOB};
    assert_non_null(kv.rows);
    for (size_t i = 0; i < count; i++) {
        size_t len = value_len(rand, page_size, usual);
        kv.rows[i].key = make_key(rand, keys, i);
        kv.rows[i].value = copy_bytes(filler + support_rand_below(rand, BYTES_LEN - len), len);
    }
    qsort(kv.rows, count, sizeof *kv.rows, compare_rows);
    for (size_t i = 0; i < count; i++) {
        if (kv.count > 0 && compare_rows(&kv.rows[kv.count - 1], &kv.rows[i]) == 0) {
            free(kv.rows[i].key.data);
            free(kv.rows[i].value.data);
        } else {
            kv.rows[kv.count++] = kv.rows[i];
        }
    }
    return kv;
}

/* --- reading with ours ------------------------------------------------------------------------ */

static void check_iteration(const btree_tree *tree, const kv_rows *kv)
{
    shardy_error err = {0};
    btree_walk walk;
    shardy__btree_walk_init(&walk, tree);
    shardy__btree_walk_first(&walk);
    size_t i = 0;
    shardy_status st;
    while ((st = shardy__btree_walk_run(&walk, &err)) == SHARDY_OK) {
        record_value values[2];
        assert_true(i < kv->count);
        assert_ok(shardy__btree_walk_record(&walk, SIZE_MAX, values, 2, &err));
        assert_int_equal(values[0].type, kv->key_type);
        assert_int_equal(values[0].len, kv->rows[i].key.len);
        assert_memory_equal(values[0].data, kv->rows[i].key.data, values[0].len);
        assert_int_equal(values[1].len, kv->rows[i].value.len);
        assert_memory_equal(values[1].data, kv->rows[i].value.data, values[1].len);
        i++;
        shardy__btree_walk_next(&walk);
    }
    assert_int_equal(st, SHARDY_DONE);
    assert_int_equal(i, kv->count);
    shardy__btree_walk_end(&walk);
}

/* Keys in no order, each with a near miss after it; results[i] is for row at[i], SIZE_MAX for
 * misses. */
typedef struct question {
    shardy_bytes *keys;
    size_t *rows;
    size_t count;
} question;

static question ask(support_rand *rand, const kv_rows *kv, size_t most)
{
    question q;
    size_t n = kv->count < most ? kv->count : most;
    q.count = 2 * n + 1;
    q.keys = calloc(q.count, sizeof *q.keys);
    q.rows = calloc(q.count, sizeof *q.rows);
    for (size_t i = 0; i < n; i++) {
        size_t row = kv->count <= most ? i : support_rand_below(rand, kv->count);
        const bytes_value *key = &kv->rows[row].key;
        q.keys[2 * i] = (shardy_bytes){key->data, key->len};
        q.rows[2 * i] = row;
        /* The key with something behind it, without its end, or with another byte somewhere. */
        bytes_value miss = copy_bytes(key->data, key->len);
        switch (support_rand_below(rand, 3)) {
        case 0:
            miss.data[miss.len++] = (uint8_t)support_rand_below(rand, 256);
            break;
        case 1:
            miss.len -= miss.len > 0;
            break;
        default:
            if (miss.len) {
                miss.data[support_rand_below(rand, miss.len)] ^=
                    (uint8_t)(1 + support_rand_below(rand, 255));
            }
        }
        q.keys[2 * i + 1] = (shardy_bytes){miss.data, miss.len};
        kv_row as_row = {miss, {NULL, 0}};
        kv_row *found = bsearch(&as_row, kv->rows, kv->count, sizeof as_row, compare_rows);
        q.rows[2 * i + 1] = found ? (size_t)(found - kv->rows) : SIZE_MAX;
    }
    q.keys[2 * n] = (shardy_bytes){"", 0};
    kv_row empty = {{(uint8_t *)(uintptr_t) "", 0}, {NULL, 0}};
    kv_row *found = bsearch(&empty, kv->rows, kv->count, sizeof empty, compare_rows);
    q.rows[2 * n] = found ? (size_t)(found - kv->rows) : SIZE_MAX;
    return q;
}

static void free_question(question *q)
{
    for (size_t i = 1; i < q->count; i += 2) {
        free((void *)(uintptr_t)q->keys[i].data);
    }
    free(q->keys);
    free(q->rows);
}

static void check_value(const kv_rows *kv, size_t row, shardy_status st, const shardy_buf *value)
{
    if (row == SIZE_MAX) {
        assert_int_equal(st, SHARDY_NOT_FOUND);
        return;
    }
    assert_int_equal(st, SHARDY_OK);
    assert_int_equal(value->len, kv->rows[row].value.len);
    assert_memory_equal(value->data, kv->rows[row].value.data, value->len);
}

static void check_answers(const btree_tree *tree, const kv_rows *kv, const question *q)
{
    shardy_error err = {0};
    for (size_t i = 0; i < q->count; i++) {
        btree_key key = {kv->key_type, 0, q->keys[i].data, q->keys[i].len};
        shardy_buf value;
        shardy_status st = shardy__btree_get(tree, &key, 1, &value, &err);
        check_value(kv, q->rows[i], st, &value);
        shardy_buf_release(&value);
    }
    shardy_buf *values = calloc(q->count, sizeof *values);
    int32_t *statuses = calloc(q->count, sizeof *statuses);
    assert_ok(shardy__btree_get_many(
        tree, kv->key_type, q->keys, q->count, 1, (btree_answers){values, statuses}, &err));
    for (size_t i = 0; i < q->count; i++) {
        check_value(kv, q->rows[i], (shardy_status)statuses[i], &values[i]);
    }
    shardy__btree_values_clear(values, q->count);
    free(values);
    free(statuses);
}

/* Seeks stand on the first row that is not smaller. */
static void check_seeks(const btree_tree *tree, const kv_rows *kv, const question *q, size_t most)
{
    shardy_error err = {0};
    btree_walk walk;
    shardy__btree_walk_init(&walk, tree);
    for (size_t i = 0; i < q->count && i < most; i++) {
        btree_key key = {kv->key_type, 0, q->keys[i].data, q->keys[i].len};
        kv_row wanted = {{(uint8_t *)(uintptr_t)key.data, key.len}, {NULL, 0}};
        size_t low = 0;
        size_t high = kv->count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (compare_rows(&kv->rows[middle], &wanted) < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        shardy__btree_walk_seek(&walk, &key);
        for (size_t step = 0; step < 3; step++) {
            shardy_status st = shardy__btree_walk_run(&walk, &err);
            assert_int_equal(st, low + step < kv->count ? SHARDY_OK : SHARDY_DONE);
            if (st == SHARDY_DONE) {
                break;
            }
            record_value value;
            assert_ok(shardy__btree_walk_record(&walk, SIZE_MAX, &value, 1, &err));
            const bytes_value *expected = &kv->rows[low + step].key;
            assert_int_equal(value.len, expected->len);
            assert_memory_equal(value.data, expected->data, value.len);
            shardy__btree_walk_next(&walk);
        }
    }
    shardy__btree_walk_end(&walk);
}

static void check_with_ours(const image *img, support_rand *rand, const kv_rows *kv, size_t most)
{
    question q = ask(rand, kv, most);
    btree_file *file = open_image(img);
    btree_tree tree = find_table(file, "kv");
    check_iteration(&tree, kv);
    check_answers(&tree, kv, &q);
    check_seeks(&tree, kv, &q, 200);
    /* The same once the file has learnt a short cut. */
    for (int i = 0; i < 2000 && kv->count > 1; i++) {
        btree_key key = {kv->key_type, 0, q.keys[0].data, q.keys[0].len};
        shardy_buf value;
        shardy_error err = {0};
        assert_ok(shardy__btree_get(&tree, &key, 1, &value, &err));
        shardy_buf_release(&value);
    }
    check_answers(&tree, kv, &q);
    shardy__btree_close(file);
    /* And by pages that come one by one. */
    shy_source shy;
    btree_file *shy_file = open_shy(&shy, img);
    tree = find_table(shy_file, "kv");
    check_iteration(&tree, kv);
    q.count = q.count < 200 ? q.count : 200;
    check_answers(&tree, kv, &q);
    check_seeks(&tree, kv, &q, 50);
    shardy__btree_close(shy_file);
    assert_int_equal(shy.held, 0);
    q.count = 2 * (kv->count < most ? kv->count : most) + 1;
    free_question(&q);
}

/* --- the two writers -------------------------------------------------------------------------- */

static image write_ours(const kv_rows *kv, uint32_t page_size, int as_record)
{
    shardy_error err = {0};
    image img;
    btree_writer *writer = open_writer(&img, page_size, &KV_OBJECT, 1);
    for (size_t i = 0; i < kv->count; i++) {
        const kv_row *row = &kv->rows[i];
        if (as_record) {
            record_value values[2] = {shardy__record_blob(row->key.data, row->key.len),
                shardy__record_blob(row->value.data, row->value.len)};
            if (kv->key_type == RECORD_TEXT) {
                values[0].type = RECORD_TEXT;
            }
            assert_ok(shardy__btree_put_record(writer, 0, values, 2, &err));
        } else {
            shardy_bytes key = {row->key.data, row->key.len};
            shardy_bytes value = {row->value.data, row->value.len};
            assert_ok(shardy__btree_put_kv(writer, 0, key, value, &err));
        }
    }
    btree_file_stats stats = finish_writer(writer, &img);
    assert_int_equal(stats.rows, kv->count);
    return img;
}

static void check_with_sqlite(const image *img, const kv_rows *kv)
{
    sqlite3 *db = open_db(img);
    check_integrity(db);
    sqlite3_stmt *rows = prepare(db, "SELECT k, v FROM kv ORDER BY k");
    for (size_t i = 0; i < kv->count; i++) {
        assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
        assert_int_equal(sqlite3_column_bytes(rows, 0), kv->rows[i].key.len);
        assert_memory_equal(
            sqlite3_column_blob(rows, 0), kv->rows[i].key.data, kv->rows[i].key.len);
        assert_int_equal(sqlite3_column_bytes(rows, 1), kv->rows[i].value.len);
        assert_memory_equal(
            sqlite3_column_blob(rows, 1), kv->rows[i].value.data, kv->rows[i].value.len);
    }
    assert_int_equal(sqlite3_step(rows), SQLITE_DONE);
    sqlite3_finalize(rows);
    sqlite3_close(db);
}

/* Rows in random order; then some deleted and put in again, so that pages are fragmented and on the
 * freelist; perhaps VACUUM. */
static image write_theirs(support_rand *rand, const kv_rows *kv, uint32_t page_size, int manner)
{
    sqlite3 *db = new_db(page_size);
    run_sql(db, KV_OBJECT.sql);
    run_sql(db, "BEGIN");
    sqlite3_stmt *insert = prepare(db, "INSERT OR REPLACE INTO kv VALUES(?,?)");
    sqlite3_stmt *delete = prepare(db, "DELETE FROM kv WHERE k = ?");
    for (int pass = 0; pass < (manner ? 2 : 1); pass++) {
        size_t step = 1 + support_rand_below(rand, kv->count + 1);
        while (kv->count > 1 &&
               (kv->count % step == 0 || step % 2 == 0 || step % 3 == 0 || step % 5 == 0)) {
            step++; /* mostly prime to the count; what is left out comes in the last loop */
        }
        for (size_t i = 0; i < kv->count; i++) {
            const kv_row *row = &kv->rows[manner ? i * step % kv->count : i];
            sqlite3_bind_blob(insert, 1, row->key.data, (int)row->key.len, SQLITE_STATIC);
            sqlite3_bind_blob(insert, 2, row->value.data, (int)row->value.len, SQLITE_STATIC);
            assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
            sqlite3_reset(insert);
        }
        for (size_t i = 0; manner && pass == 0 && i < kv->count; i++) {
            if (support_rand_below(rand, 3)) {
                const kv_row *row = &kv->rows[i];
                sqlite3_bind_blob(delete, 1, row->key.data, (int)row->key.len, SQLITE_STATIC);
                assert_int_equal(sqlite3_step(delete), SQLITE_DONE);
                sqlite3_reset(delete);
            }
        }
    }
    for (size_t i = 0; i < kv->count; i++) {
        sqlite3_bind_blob(insert, 1, kv->rows[i].key.data, (int)kv->rows[i].key.len, SQLITE_STATIC);
        sqlite3_bind_blob(
            insert, 2, kv->rows[i].value.data, (int)kv->rows[i].value.len, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    sqlite3_finalize(delete);
    run_sql(db, "COMMIT");
    if (manner == 2) {
        run_sql(db, "VACUUM");
    }
    image img = take_image(db);
    sqlite3_close(db);
    return img;
}

static void run_case(support_rand *rand, uint32_t page_size, size_t count, int keys, size_t usual)
{
    if (getenv("TRACE")) {
        print_message("page %u rows %zu keys %d\n", page_size, count, keys);
    }
    kv_rows kv = make_rows(rand, count, keys, page_size, usual);
    image img = write_ours(&kv, page_size, 0);
    image again = write_ours(&kv, page_size, 1);
    assert_int_equal(img.len, again.len);
    assert_memory_equal(img.data, again.data, img.len);
    free_image(&again);
    check_with_sqlite(&img, &kv);
    check_with_ours(&img, rand, &kv, 300);
    free_image(&img);
    img = write_theirs(rand, &kv, page_size, (int)support_rand_below(rand, 3));
    check_with_ours(&img, rand, &kv, 300);
    free_image(&img);
    free_rows(&kv);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_kv__both_read_what_the_other_wrote(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    int rounds = long_run() ? 60 : 3;
    for (int round = 0; round < rounds; round++) {
        for (size_t p = 0; p < sizeof page_sizes / sizeof *page_sizes; p++) {
            for (int keys = 0; keys < KEYS_KINDS; keys++) {
                size_t count = support_rand_below(&rand, round == 0 ? 40 : 600);
                run_case(&rand, page_sizes[p], count, keys, 60);
            }
        }
    }
}

/* Every number of rows up to where a third level appears: the ends of pages are where rows get
 * lost. */
static void test_kv__every_small_number_of_rows(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    size_t most = long_run() ? 2500 : 420;
    kv_rows all = make_rows(&rand, most, KEYS_COUNTER, 512, 40);
    for (size_t count = 0; count <= all.count; count++) {
        kv_rows kv = all;
        kv.count = count;
        image img = write_ours(&kv, 512, 0);
        check_with_sqlite(&img, &kv);
        btree_file *file = open_image(&img);
        btree_tree tree = find_table(file, "kv");
        check_iteration(&tree, &kv);
        shardy__btree_close(file);
        free_image(&img);
    }
    free_rows(&all);
}

static void test_kv__a_million_rows(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    size_t count = 1000000;
    uint8_t *keys = malloc(count * 8);
    shardy_error err = {0};
    image img;
    btree_writer *writer = open_writer(&img, 4096, &KV_OBJECT, 1);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = __builtin_bswap64(i * 2);
        memcpy(keys + 8 * i, &key, 8);
        shardy_bytes k = {keys + 8 * i, 8};
        shardy_bytes v = {filler + i % 1000, 20 + i % 7};
        assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
    }
    finish_writer(writer, &img);
    sqlite3 *db = open_db(&img);
    check_integrity(db);
    sqlite3_stmt *sum = prepare(db, "SELECT count(*), sum(length(v)) FROM kv");
    assert_int_equal(sqlite3_step(sum), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(sum, 0), count);
    sqlite3_finalize(sum);
    sqlite3_close(db);
    btree_file *file = open_image(&img);
    btree_tree tree = find_table(file, "kv");
    enum {
        BATCH = 5000
    };
    shardy_bytes *asked = calloc(BATCH, sizeof *asked);
    uint64_t *odd = calloc(BATCH, sizeof *odd);
    shardy_buf *values = calloc(BATCH, sizeof *values);
    int32_t *statuses = calloc(BATCH, sizeof *statuses);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < BATCH; i++) {
            uint64_t n = support_rand_below(&rand, count);
            odd[i] = n;
            asked[i] = (shardy_bytes){keys + 8 * n, 8};
            if (i % 5 == 0) {
                odd[i] = __builtin_bswap64(2 * n + 1);
                asked[i].data = &odd[i];
            }
        }
        assert_ok(shardy__btree_get_many(
            &tree, RECORD_BLOB, asked, BATCH, 1, (btree_answers){values, statuses}, &err));
        for (size_t i = 0; i < BATCH; i++) {
            btree_key key = {RECORD_BLOB, 0, asked[i].data, 8};
            shardy_buf value;
            shardy_status st = shardy__btree_get(&tree, &key, 1, &value, &err);
            assert_int_equal(st, i % 5 == 0 ? SHARDY_NOT_FOUND : SHARDY_OK);
            assert_int_equal(st, statuses[i]);
            if (st == SHARDY_OK) {
                assert_int_equal(value.len, 20 + odd[i] % 7);
                assert_memory_equal(value.data, filler + odd[i] % 1000, value.len);
                assert_ptr_equal(value.data, values[i].data);
            }
            shardy_buf_release(&value);
        }
        shardy__btree_values_clear(values, BATCH);
    }
    shardy__btree_close(file);
    free(asked);
    free(odd);
    free(values);
    free(statuses);
    free(keys);
    free_image(&img);
}

/* Tables by rowid with an automatic index, from both writers. */
static const btree_object ROW_OBJECTS[] = {
    {BTREE_OBJECT_VIRTUAL, "absent_module", NULL,
        "CREATE VIRTUAL TABLE absent_module USING vec0(e float[8])", 0},
    {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(name TEXT PRIMARY KEY, n INTEGER, r, b BLOB)",
        0},
    {BTREE_OBJECT_INDEX, "sqlite_autoindex_t_1", "t", NULL, 0},
};

typedef struct named_row {
    int64_t rowid;
    char name[40];
    record_value values[4];
} named_row;

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const named_row *const *)a)->name, (*(const named_row *const *)b)->name);
}

static named_row *make_named(support_rand *rand, size_t count, uint32_t page_size)
{
    named_row *rows = calloc(count + 1, sizeof *rows);
    int64_t rowid = support_rand_below(rand, 3) ? 0 : INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        named_row *row = &rows[i];
        rowid += 1 + (int64_t)(support_rand_below(rand, 4) ? 0 : support_rand_u64(rand) >> 20);
        row->rowid = rowid;
        int n = snprintf(row->name, sizeof row->name, "n%llx-%zu",
            (unsigned long long)support_rand_below(rand, 100), i);
        size_t len = value_len(rand, page_size, 50);
        row->values[0] = shardy__record_text(row->name, (size_t)n);
        row->values[1] = support_rand_below(rand, 3)
                             ? shardy__record_int(
                                   (int64_t)support_rand_u64(rand) >> support_rand_below(rand, 63))
                             : shardy__record_null();
        row->values[2] = shardy__record_real((double)i / 3);
        row->values[3] = shardy__record_blob(filler + support_rand_below(rand, 1000), len);
    }
    return rows;
}

static image write_named(const named_row *rows, size_t count, uint32_t page_size)
{
    shardy_error err = {0};
    image img;
    btree_writer *writer = open_writer(&img, page_size, ROW_OBJECTS, 3);
    const named_row **sorted = calloc(count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &rows[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t i = 0; i < count; i++) {
        record_value entry[2] = {sorted[i]->values[0], shardy__record_int(sorted[i]->rowid)};
        assert_ok(shardy__btree_put_row(writer, 1, rows[i].rowid, rows[i].values, 4, &err));
        assert_ok(shardy__btree_put_record(writer, 2, entry, 2, &err));
    }
    free(sorted);
    finish_writer(writer, &img);
    return img;
}

static void bind_value(sqlite3_stmt *statement, int at, const record_value *v)
{
    switch (v->type) {
    case RECORD_INT:
        sqlite3_bind_int64(statement, at, v->integer);
        break;
    case RECORD_REAL:
        sqlite3_bind_double(statement, at, v->real);
        break;
    case RECORD_TEXT:
        sqlite3_bind_text(statement, at, (const char *)v->data, (int)v->len, SQLITE_STATIC);
        break;
    case RECORD_BLOB:
        sqlite3_bind_blob(statement, at, v->data, (int)v->len, SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_null(statement, at);
    }
}

static image write_named_theirs(const named_row *rows, size_t count, uint32_t page_size)
{
    sqlite3 *db = new_db(page_size);
    run_sql(db, ROW_OBJECTS[1].sql);
    run_sql(db, "BEGIN");
    sqlite3_stmt *insert = prepare(db, "INSERT INTO t(rowid,name,n,r,b) VALUES(?,?,?,?,?)");
    for (size_t i = 0; i < count; i++) {
        const named_row *row = &rows[i * 7919 % count];
        sqlite3_bind_int64(insert, 1, row->rowid);
        for (int c = 0; c < 4; c++) {
            bind_value(insert, c + 2, &row->values[c]);
        }
        if (sqlite3_step(insert) != SQLITE_DONE) {
            fail_msg("insert: %s", sqlite3_errmsg(db));
        }
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    run_sql(db, "COMMIT");
    image img = take_image(db);
    sqlite3_close(db);
    return img;
}

static void check_named_with_sqlite(const image *img, const named_row *rows, size_t count)
{
    sqlite3 *db = open_db(img);
    /* The virtual table's module is not there, so the check is of all the rest. */
    check_integrity(db);
    sqlite3_stmt *all =
        prepare(db, "SELECT rowid, name, n, r, b FROM t NOT INDEXED ORDER BY rowid");
    sqlite3_stmt *one = prepare(db, "SELECT rowid FROM t WHERE name = ?");
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sqlite3_step(all), SQLITE_ROW);
        assert_true(sqlite3_column_int64(all, 0) == rows[i].rowid);
        assert_string_equal((const char *)sqlite3_column_text(all, 1), rows[i].name);
        assert_int_equal(
            sqlite3_column_type(all, 2) == SQLITE_NULL, rows[i].values[1].type == RECORD_NULL);
        assert_true(sqlite3_column_int64(all, 2) == rows[i].values[1].integer);
        assert_true(sqlite3_column_double(all, 3) == rows[i].values[2].real);
        assert_int_equal(sqlite3_column_bytes(all, 4), rows[i].values[3].len);
        assert_memory_equal(
            sqlite3_column_blob(all, 4), rows[i].values[3].data, rows[i].values[3].len);
        bind_value(one, 1, &rows[i].values[0]);
        assert_int_equal(sqlite3_step(one), SQLITE_ROW);
        assert_true(sqlite3_column_int64(one, 0) == rows[i].rowid);
        sqlite3_reset(one);
    }
    sqlite3_finalize(all);
    sqlite3_finalize(one);
    sqlite3_close(db);
}

static void check_named_rows(const btree_tree *table, const named_row *rows, size_t count)
{
    shardy_error err = {0};
    btree_walk walk;
    shardy__btree_walk_init(&walk, table);
    shardy__btree_walk_first(&walk);
    for (size_t i = 0; i < count; i++) {
        record_value values[4];
        assert_ok(shardy__btree_walk_run(&walk, &err));
        assert_true(walk.cell.rowid == rows[i].rowid);
        assert_ok(shardy__btree_walk_record(&walk, SIZE_MAX, values, 4, &err));
        for (int c = 0; c < 4; c++) {
            assert_int_equal(shardy__record_compare(&values[c], &rows[i].values[c]), 0);
        }
        shardy__btree_walk_next(&walk);
    }
    assert_status(SHARDY_DONE, shardy__btree_walk_run(&walk, &err));
    /* Seeks, between the rows too. */
    for (size_t i = 0; i < count; i += 1 + count / 50) {
        btree_key key = {RECORD_INT, rows[i].rowid, NULL, 0};
        shardy__btree_walk_seek(&walk, &key);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        assert_true(walk.cell.rowid == rows[i].rowid);
        key.integer++;
        shardy__btree_walk_seek(&walk, &key);
        shardy_status st = shardy__btree_walk_run(&walk, &err);
        assert_int_equal(st, i + 1 < count ? SHARDY_OK : SHARDY_DONE);
        assert_true(st == SHARDY_DONE || walk.cell.rowid == rows[i + 1].rowid);
    }
    shardy__btree_walk_end(&walk);
}

static void check_named_with_ours(const btree_file *file, const named_row *rows, size_t count)
{
    shardy_error err = {0};
    btree_tree table = find_table(file, "t");
    btree_tree index;
    assert_ok(shardy__btree_index(file, "sqlite_autoindex_t_1", &index, &err));
    check_named_rows(&table, rows, count);
    int64_t *rowids = calloc(count + 1, sizeof *rowids);
    shardy_buf *values = calloc(count + 1, sizeof *values);
    int32_t *statuses = calloc(count + 1, sizeof *statuses);
    btree_walk walk;
    shardy__btree_walk_init(&walk, &index);
    for (size_t i = 0; i < count; i++) {
        /* By the index to the rowid, by the rowid to the value. */
        btree_key key = {RECORD_TEXT, 0, rows[i].name, strlen(rows[i].name)};
        shardy__btree_walk_find(&walk, &key);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        record_value entry[2];
        assert_ok(shardy__btree_walk_record(&walk, 1000, entry, 2, &err));
        assert_true(entry[1].integer == rows[i].rowid);
        /* The same bytes of another class are another key. */
        key.type = RECORD_BLOB;
        shardy__btree_walk_find(&walk, &key);
        assert_status(SHARDY_NOT_FOUND, shardy__btree_walk_run(&walk, &err));
        btree_key by_id = {RECORD_INT, rows[i].rowid, NULL, 0};
        shardy_buf value;
        assert_ok(shardy__btree_get(&table, &by_id, 3, &value, &err));
        assert_int_equal(value.len, rows[i].values[3].len);
        assert_memory_equal(value.data, rows[i].values[3].data, value.len);
        shardy_buf_release(&value);
        rowids[i] = rows[i].rowid;
    }
    shardy__btree_walk_end(&walk);
    rowids[count] = 17;
    assert_ok(shardy__btree_get_rows(
        &table, rowids, count + 1, 0, (btree_answers){values, statuses}, &err));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(statuses[i], SHARDY_OK);
        assert_int_equal(values[i].len, strlen(rows[i].name));
        assert_memory_equal(values[i].data, rows[i].name, values[i].len);
    }
    shardy__btree_values_clear(values, count + 1);
    free(rowids);
    free(values);
    free(statuses);
}

static void test_rows__tables_with_automatic_indexes_both_ways(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    int rounds = long_run() ? 40 : 4;
    for (int round = 0; round < rounds; round++) {
        for (size_t p = 0; p < sizeof page_sizes / sizeof *page_sizes; p++) {
            size_t count = support_rand_below(&rand, round % 2 ? 50 : 1200);
            named_row *rows = make_named(&rand, count, page_sizes[p]);
            image img = write_named(rows, count, page_sizes[p]);
            check_named_with_sqlite(&img, rows, count);
            btree_file *file = open_image(&img);
            assert_non_null(shardy__btree_object(file, SCHEMA_VIRTUAL, "absent_module"));
            check_named_with_ours(file, rows, count);
            check_named_with_ours(file, rows, count); /* now with short cuts */
            shardy__btree_close(file);
            shy_source shy;
            file = open_shy(&shy, &img);
            check_named_with_ours(file, rows, count);
            shardy__btree_close(file);
            assert_int_equal(shy.held, 0);
            free_image(&img);
            img = write_named_theirs(rows, count, page_sizes[p]);
            file = open_image(&img);
            check_named_with_ours(file, rows, count);
            shardy__btree_close(file);
            free_image(&img);
            free(rows);
        }
    }
}

/* Records of random columns as keys of an index: the order is SQLite's. */
static void test_index__numbers_and_mixed_classes_are_found(void **state)
{
    (void)state;
    shardy_error err = {0};
    support_rand rand = {support_seed()};
    sqlite3 *db = new_db(1024);
    run_sql(db, "CREATE TABLE t(a); CREATE INDEX by_a ON t(a); BEGIN");
    sqlite3_stmt *insert = prepare(db, "INSERT INTO t VALUES(?)");
    for (int i = 0; i < 3000; i++) {
        record_value v;
        switch (support_rand_below(&rand, 5)) {
        case 0:
            v = shardy__record_int((int64_t)support_rand_below(&rand, 1000) - 500);
            break;
        case 1:
            v = shardy__record_real((double)support_rand_below(&rand, 1000) / 4 - 100);
            break;
        case 2:
            v = shardy__record_text((const char *)filler, support_rand_below(&rand, 1500));
            break;
        case 3:
            v = shardy__record_blob(filler, support_rand_below(&rand, 1500));
            break;
        default:
            v = shardy__record_null();
        }
        bind_value(insert, 1, &v);
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    run_sql(db, "COMMIT");
    image img = take_image(db);
    btree_file *file = open_image(&img);
    btree_tree tree;
    assert_ok(shardy__btree_index(file, "by_a", &tree, &err));
    sqlite3_stmt *count = prepare(db, "SELECT count(*), min(rowid) FROM t WHERE a = ?");
    sqlite3_stmt *after =
        prepare(db, "SELECT count(*) FROM t WHERE a >= ? OR typeof(a) = 'blob' OR "
                    "(typeof(a) = 'text' AND typeof(?) <> 'blob')");
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    for (int i = 0; i < 1500; i++) {
        record_value v = i % 3 == 0 ? shardy__record_int(i / 2 - 600)
                                    : shardy__record_text((const char *)filler, (size_t)i);
        if (i % 3 == 1) {
            v.type = RECORD_BLOB;
        }
        bind_value(count, 1, &v);
        assert_int_equal(sqlite3_step(count), SQLITE_ROW);
        int64_t equal = sqlite3_column_int64(count, 0);
        sqlite3_reset(count);
        btree_key key = {v.type, v.integer, v.data, v.len};
        shardy__btree_walk_find(&walk, &key);
        shardy_status st = shardy__btree_walk_run(&walk, &err);
        assert_int_equal(st, equal ? SHARDY_OK : SHARDY_NOT_FOUND);
        /* A seek finds the first of the equal ones: count them. */
        shardy__btree_walk_seek(&walk, &key);
        int64_t seen = 0;
        while (shardy__btree_walk_run(&walk, &err) == SHARDY_OK) {
            record_value got;
            assert_ok(shardy__btree_walk_record(&walk, 100000, &got, 1, &err));
            assert_true(shardy__record_compare(&got, &v) >= 0);
            if (shardy__record_compare(&got, &v) > 0) {
                break;
            }
            seen++;
            shardy__btree_walk_next(&walk);
        }
        assert_int_equal(seen, equal);
    }
    shardy__btree_walk_end(&walk);
    sqlite3_finalize(count);
    sqlite3_finalize(after);
    shardy__btree_close(file);
    free_image(&img);
    sqlite3_close(db);
}

static void test_kv__text_keys_are_found_as_text(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    kv_rows kv = make_rows(&rand, 5000, KEYS_PREFIXED, 4096, 30);
    kv.key_type = RECORD_TEXT;
    image img = write_ours(&kv, 4096, 1);
    check_with_ours(&img, &rand, &kv, 5000);
    free_image(&img);
    free_rows(&kv);
}

/* Pages with reserved bytes at their end, as SQLite can be told to make. */
static void test_kv__reserved_bytes_are_left_alone(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (int reserved = 1; reserved <= 32; reserved += 31) {
        kv_rows kv = make_rows(&rand, 800, KEYS_ANY, 512, 60);
        sqlite3 *db = new_db(512);
        int n = reserved;
        assert_int_equal(
            sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &n), SQLITE_OK);
        run_sql(db, KV_OBJECT.sql);
        sqlite3_stmt *insert = prepare(db, "INSERT INTO kv VALUES(?,?)");
        for (size_t i = 0; i < kv.count; i++) {
            const kv_row *row = &kv.rows[i];
            sqlite3_bind_blob(insert, 1, row->key.data, (int)row->key.len, SQLITE_STATIC);
            sqlite3_bind_blob(insert, 2, row->value.data, (int)row->value.len, SQLITE_STATIC);
            assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
            sqlite3_reset(insert);
        }
        sqlite3_finalize(insert);
        run_sql(db, "VACUUM");
        image img = take_image(db);
        assert_int_equal(img.data[20], reserved);
        check_with_ours(&img, &rand, &kv, 300);
        free_image(&img);
        free_rows(&kv);
        sqlite3_close(db);
    }
}

static int fill(void **state)
{
    (void)state;
    support_rand rand = {99};
    for (size_t i = 0; i < BYTES_LEN; i++) {
        filler[i] = (uint8_t)support_rand_u64(&rand);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv__both_read_what_the_other_wrote),
        cmocka_unit_test(test_kv__every_small_number_of_rows),
        cmocka_unit_test(test_kv__a_million_rows),
        cmocka_unit_test(test_rows__tables_with_automatic_indexes_both_ways),
        cmocka_unit_test(test_index__numbers_and_mixed_classes_are_found),
        cmocka_unit_test(test_kv__text_keys_are_found_as_text),
        cmocka_unit_test(test_kv__reserved_bytes_are_left_alone),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
