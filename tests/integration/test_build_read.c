/* What is built is what is read: random rows through the writer and the reader, against a plain
 * table in memory, and through libsqlite3 and the real sqlite-vec. */
#include "support/dataset.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static shardy_error err;

#define DIM 5u

/* --- a model: the last row of each key ------------------------------------------------------ */

typedef struct model_row {
    char key[64];
    size_t key_len;
    char value[600];
    size_t value_len;
    int has_vector;
    float vector[DIM];
    char payload[64];
    int live; /* 0: a later row has the same key */
} model_row;

typedef struct model {
    model_row *rows;
    size_t count;
} model;

static void make_row(model_row *r, size_t number, size_t k, int vectors, support_rand *rand)
{
    /* Common prefixes, so that the first eight bytes do not decide. */
    r->key_len = (size_t)snprintf(r->key, sizeof r->key, "%s/key-%zu",
        k % 3 == 0   ? "a-rather-long-prefix"
        : k % 3 == 1 ? "a"
                     : "",
        k);
    r->value_len = support_rand_below(rand, 20) == 0 ? 500 : support_rand_below(rand, 40);
    for (size_t j = 0; j < r->value_len; j++) {
        r->value[j] = (char)('a' + support_rand_below(rand, 26));
    }
    r->has_vector = vectors && support_rand_below(rand, 10) != 0;
    for (size_t j = 0; j < DIM; j++) {
        r->vector[j] = (float)((int)support_rand_below(rand, 41) - 20) / 8.0f;
    }
    r->vector[0] += 10.0f; /* never zero */
    if (support_rand_below(rand, 3) != 0) {
        snprintf(r->payload, sizeof r->payload, "{\"n\": %zu}", number);
    }
}

static void make_model(model *m, size_t count, size_t keys, int vectors, uint64_t seed)
{
    support_rand rand = {seed};
    m->rows = calloc(count + 1, sizeof *m->rows);
    m->count = count;
    size_t *last = calloc(keys + 1, sizeof *last);
    for (size_t i = 0; i < count; i++) {
        size_t k = support_rand_below(&rand, keys);
        make_row(&m->rows[i], i, k, vectors, &rand);
        if (last[k]) {
            m->rows[last[k] - 1].live = 0;
        }
        last[k] = i + 1;
        m->rows[i].live = 1;
    }
    free(last);
}

static void put_model(shardy_writer *w, const model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const model_row *r = &m->rows[i];
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_text(r->key, r->key_len);
        row.value.data = r->value;
        row.value.len = r->value_len;
        if (r->has_vector) {
            row.vector = r->vector;
            row.dim = DIM;
            row.has_payload = r->payload[0] != '\0';
            row.payload.data = r->payload;
            row.payload.len = strlen(r->payload);
        }
        assert_ok(shardy_writer_put(w, &row, &err));
    }
}

static void build(const char *dir, const model *m, const shardy_writer_options *options,
    shardy_build_result *result)
{
    shardy_writer *w;
    assert_ok(shardy_writer_open(NULL, dir, options, &w, &err));
    put_model(w, m);
    assert_ok(shardy_writer_finish(w, result, &err));
    shardy_writer_close(w);
}

static void check_gets(shardy_reader *reader, const model *m)
{
    size_t live = 0;
    shardy_buf value;
    for (size_t i = 0; i < m->count; i++) {
        const model_row *r = &m->rows[i];
        if (!r->live) {
            continue;
        }
        live++;
        shardy_key key = shardy_key_text(r->key, r->key_len);
        assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
        assert_int_equal(value.len, r->value_len);
        assert_memory_equal(value.data, r->value, r->value_len);
        shardy_buf_release(&value);
    }
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_int_equal(info.row_count, live);
    assert_int_equal(info.verified, 1);
    shardy_snapshot_info_dispose(&info);
    shardy_key absent = shardy_key_cstr("no such key");
    assert_status(SHARDY_NOT_FOUND, shardy_reader_get(reader, &absent, NULL, &value, &err));
}

static void check_verify(const char *dir)
{
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    assert_ok(shardy_verify(NULL, dir, &options, &result, &err));
    if (result.damaged_count) {
        print_error("%s: %s\n", result.damaged[0].path, result.damaged[0].reason);
    }
    assert_int_equal(result.status, SHARDY_VERIFY_OK);
    shardy_verify_result_dispose(&result);
}

static char *shard_path(
    const char *dir, const char *run_id, uint32_t db_id, char *path, size_t size)
{
    snprintf(path, size, "%s/shards/run_id=%s/db=%05u/attempt=00/shard.db", dir, run_id, db_id);
    return path;
}

/* --- key-value ------------------------------------------------------------------------------ */

typedef struct kv_shape {
    size_t rows;
    size_t keys;
    uint32_t num_dbs;
    uint32_t page_size;
    uint32_t threads;
} kv_shape;

static void run_kv(const kv_shape *shape, uint64_t seed)
{
    char *dir = support_make_dir();
    model m;
    shardy_writer_options options;
    shardy_build_result result;
    make_model(&m, shape->rows, shape->keys, 0, seed);
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = shape->num_dbs;
    options.page_size = shape->page_size;
    options.threads = shape->threads;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8; /* also when there is no row to tell */
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    options.sync = 0;
    build(dir, &m, &options, &result);
    assert_int_equal(result.rows_taken, shape->rows);
    shardy_build_result_dispose(&result);
    shardy_reader *reader;
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    check_gets(reader, &m);
    shardy_reader_close(reader);
    check_verify(dir);
    free(m.rows);
    support_remove_dir(dir);
}

static void test_build__the_last_row_of_a_key_wins_in_every_shape_of_snapshot(void **state)
{
    (void)state;
    static const kv_shape shapes[] = {
        {0, 1, 3, 4096, 2},
        {1, 1, 1, 4096, 1},
        {500, 1, 4, 4096, 2},
        {3000, 1000, 7, 512, 2},
        {3000, 100000, 1, 65536, 1},
        {3000, 2000, 64, 0, 3},
    };
    uint64_t seed = support_seed();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run_kv(&shapes[i], seed + i);
    }
}

static void test_build__rows_beyond_the_memory_budget_are_merged_from_scratch(void **state)
{
    (void)state;
    kv_shape shape = {500000, 150000, 5, 4096, 2};
    run_kv(&shape, support_seed() + 10);
}

static void test_build__max_keys_per_shard_gives_enough_shards(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    model m;
    shardy_writer_options options;
    shardy_build_result result;
    make_model(&m, 1000, 100000, 1, support_seed() + 20);
    shardy_writer_options_init(&options, sizeof options);
    options.max_keys_per_shard = 300;
    options.engine = "sqlite-vec";
    build(dir, &m, &options, &result);
    assert_int_equal(result.num_dbs, 4); /* 1000 / 300, rounded up */
    shardy_build_result_dispose(&result);
    shardy_reader *reader;
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    check_gets(reader, &m);
    shardy_reader_close(reader);
    check_verify(dir);
    free(m.rows);
    support_remove_dir(dir);
}

static void test_build__shards_are_the_same_bytes_whatever_the_thread_count(void **state)
{
    (void)state;
    char *dirs[2] = {support_make_dir(), support_make_dir()};
    model m;
    make_model(&m, 60000, 30000, 1, support_seed() + 30);
    for (uint32_t i = 0; i < 2; i++) {
        shardy_writer_options options;
        shardy_writer_options_init(&options, sizeof options);
        options.num_dbs = 3;
        options.dim = DIM;
        options.threads = i == 0 ? 1 : 4;
        options.run_id = "same";
        options.memory_budget = i == 0 ? SHARDY_MEMORY_BUDGET_MIN : 256u << 20;
        build(dirs[i], &m, &options, NULL);
    }
    for (uint32_t db = 0; db < 3; db++) {
        char path[600];
        size_t len_a;
        size_t len_b;
        char *a = support_read_file(shard_path(dirs[0], "same", db, path, sizeof path), &len_a);
        char *b = support_read_file(shard_path(dirs[1], "same", db, path, sizeof path), &len_b);
        assert_int_equal(len_a, len_b);
        assert_memory_equal(a, b, len_a);
        free(a);
        free(b);
    }
    free(m.rows);
    support_remove_dir(dirs[0]);
    support_remove_dir(dirs[1]);
}

/* --- vectors -------------------------------------------------------------------------------- */

static double distance(const float *a, const float *b, int32_t metric)
{
    long double dot = 0;
    long double aa = 0;
    long double bb = 0;
    long double dd = 0;
    for (size_t i = 0; i < DIM; i++) {
        dot += (long double)a[i] * b[i];
        aa += (long double)a[i] * a[i];
        bb += (long double)b[i] * b[i];
        dd += ((long double)a[i] - b[i]) * ((long double)a[i] - b[i]);
    }
    return metric == SHARDY_VECTOR_METRIC_L2 ? (double)sqrtl(dd)
                                             : (double)(1 - dot / (sqrtl(aa) * sqrtl(bb)));
}

static int compare_doubles(const void *a, const void *b)
{
    double x;
    double y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static const model_row *find_row(const model *m, const shardy_key *id)
{
    for (size_t i = 0; i < m->count; i++) {
        const model_row *r = &m->rows[i];
        if (r->live && r->key_len == id->bytes.len &&
            memcmp(r->key, id->bytes.data, r->key_len) == 0) {
            return r;
        }
    }
    return NULL;
}

static void check_hit(const model *m, const shardy_hit *hit, const float *vector, int32_t metric)
{
    assert_int_equal(hit->id.type, SHARDY_KEY_TEXT);
    const model_row *row = find_row(m, &hit->id);
    if (!row) {
        fail_msg("a hit that is no row");
        return;
    }
    assert_true(row->has_vector);
    assert_true(fabs(distance(vector, row->vector, metric) - hit->score) < 1e-9);
    assert_int_equal(hit->has_payload, row->payload[0] != '\0');
    if (hit->has_payload) {
        assert_int_equal(hit->payload.len, strlen(row->payload));
        assert_memory_equal(hit->payload.data, row->payload, hit->payload.len);
    }
}

static void check_search(
    shardy_reader *reader, const model *m, int32_t metric, uint32_t k, support_rand *rand)
{
    float vector[DIM];
    for (size_t i = 0; i < DIM; i++) {
        vector[i] = (float)((int)support_rand_below(rand, 41) - 20) / 4.0f;
    }
    vector[0] += 11.0f;
    double *all = calloc(m->count + 1, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->rows[i].live && m->rows[i].has_vector) {
            all[count++] = distance(vector, m->rows[i].vector, metric);
        }
    }
    qsort(all, count, sizeof *all, compare_doubles);
    shardy_query query;
    shardy_hits hits;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = DIM;
    query.top_k = k;
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    size_t expected = count < k ? count : k;
    assert_int_equal(hits.offsets[1], expected);
    for (size_t i = 0; i < expected; i++) {
        const shardy_hit *hit = &hits.hits[i];
        assert_true(fabs(hit->score - all[i]) < 1e-9);
        check_hit(m, hit, vector, metric);
        assert_true(i == 0 || hits.hits[i - 1].score < hit->score ||
                    (hits.hits[i - 1].score == hit->score &&
                        shardy_key_compare(&hits.hits[i - 1].id, &hit->id) < 0));
    }
    shardy_hits_dispose(&hits);
    free(all);
}

typedef struct vector_shape {
    size_t rows;
    size_t keys;
    uint32_t num_dbs;
    int32_t metric;
    uint32_t page_size;
} vector_shape;

static void run_vectors(const vector_shape *shape)
{
    char *dir = support_make_dir();
    model m;
    support_rand rand = {support_seed() + shape->rows};
    make_model(&m, shape->rows, shape->keys, 1, support_rand_u64(&rand));
    shardy_writer_options options;
    shardy_build_result result;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = shape->num_dbs;
    options.metric = shape->metric;
    options.dim = DIM;
    options.page_size = shape->page_size;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    build(dir, &m, &options, &result);
    size_t vectors = 0;
    for (size_t i = 0; i < m.count; i++) {
        vectors += m.rows[i].live && m.rows[i].has_vector;
    }
    assert_int_equal(result.vector_count, vectors);
    shardy_build_result_dispose(&result);
    for (int32_t io = SHARDY_IO_MMAP; io <= SHARDY_IO_PREAD; io++) {
        static const uint32_t ks[] = {0, 1, 2, 10, 100, SHARDY_TOP_K_MAX};
        shardy_reader_options reader_options;
        shardy_reader *reader;
        shardy_reader_options_init(&reader_options, sizeof reader_options);
        reader_options.io = io;
        assert_ok(shardy_reader_open(NULL, dir, &reader_options, &reader, &err));
        check_gets(reader, &m);
        for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
            check_search(reader, &m, shape->metric, ks[i], &rand);
        }
        shardy_reader_close(reader);
    }
    check_verify(dir);
    free(m.rows);
    support_remove_dir(dir);
}

static void test_build__vectors_are_found_by_their_exact_distances(void **state)
{
    (void)state;
    static const vector_shape shapes[] = {
        {0, 1, 2, SHARDY_VECTOR_METRIC_COSINE, 4096},
        {40, 40, 1, SHARDY_VECTOR_METRIC_COSINE, 4096},
        {1500, 700, 3, SHARDY_VECTOR_METRIC_L2, 512},
        {5000, 4000, 2, SHARDY_VECTOR_METRIC_COSINE, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run_vectors(&shapes[i]);
    }
}

/* --- the oracles ---------------------------------------------------------------------------- */

static sqlite3 *open_database(const char *path)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    return stmt;
}

static int64_t one_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = prepare(db, sql);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static void check_integrity(sqlite3 *db)
{
    sqlite3_stmt *stmt = prepare(db, "PRAGMA integrity_check");
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
}

/* The very SQL by which the reference reads a unified shard (formats.md, section 6). */
static void compare_with_sqlite_vec(sqlite3 *db, const float *vector, const shardy_hits *hits)
{
    sqlite3_stmt *stmt =
        prepare(db, "SELECT rowid, distance FROM vec_index WHERE embedding MATCH ? AND k = ?");
    sqlite3_stmt *id = prepare(db, "SELECT original_id FROM vec_id_map WHERE internal_id IN (?)");
    sqlite3_bind_blob(stmt, 1, vector, (int)(DIM * sizeof *vector), SQLITE_STATIC);
    sqlite3_bind_int(stmt, 2, (int)hits->offsets[1]);
    size_t i = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        assert_true(i < hits->offsets[1]);
        assert_true(fabs(sqlite3_column_double(stmt, 1) - hits->hits[i].score) < 1e-4);
        sqlite3_bind_int64(id, 1, sqlite3_column_int64(stmt, 0));
        assert_int_equal(sqlite3_step(id), SQLITE_ROW);
        assert_non_null(strstr((const char *)sqlite3_column_text(id, 0), "\"t\": \"str\""));
        sqlite3_reset(id);
        i++;
    }
    assert_int_equal(i, hits->offsets[1]);
    sqlite3_finalize(id);
    sqlite3_finalize(stmt);
}

static void test_build__the_real_sqlite_vec_finds_the_same_neighbours(void **state)
{
    (void)state;
    const char *vec0 = support_vec0();
    char *dir = support_make_dir();
    char path[600];
    model m;
    make_model(&m, 2500, 2000, 1, support_seed() + 40);
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.dim = DIM;
    options.run_id = "one";
    options.metric = SHARDY_VECTOR_METRIC_L2;
    build(dir, &m, &options, NULL);
    sqlite3 *db = open_database(shard_path(dir, "one", 0, path, sizeof path));
    sqlite3_enable_load_extension(db, 1);
    assert_int_equal(sqlite3_load_extension(db, vec0, NULL, NULL), SQLITE_OK);
    check_integrity(db);
    float vector[DIM] = {10.5f, 0.25f, -0.5f, 1.0f, 0.125f};
    shardy_query query;
    shardy_hits hits;
    shardy_reader *reader;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = DIM;
    query.top_k = 50;
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 50);
    compare_with_sqlite_vec(db, vector, &hits);
    shardy_hits_dispose(&hits);
    shardy_reader_close(reader);
    sqlite3_close(db);
    free(m.rows);
    support_remove_dir(dir);
}

static void test_build__libsqlite3_reads_manifest_and_shards(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    model m;
    make_model(&m, 800, 500, 0, support_seed() + 50);
    shardy_writer_options options;
    shardy_build_result result;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 4;
    options.run_id = "lite";
    options.published_as = "s3://bucket/prefix";
    options.custom = "{\"team\": \"caf\\u00e9\", \"n\": 1}";
    build(dir, &m, &options, &result);
    const char *ref = strstr(result.manifest_ref, "manifests/");
    assert_non_null(ref);
    assert_int_equal(strncmp(result.manifest_ref, "s3://bucket/prefix/", 19), 0);
    sqlite3 *db = open_database(support_path(dir, ref));
    check_integrity(db);
    assert_int_equal(one_number(db, "SELECT num_dbs FROM build_meta LIMIT 1"), 4);
    assert_int_equal(one_number(db, "SELECT format_version FROM build_meta"), 4);
    assert_int_equal(one_number(db, "SELECT count(*) FROM shards"), result.shard_count);
    assert_int_equal(
        one_number(db, "SELECT sum(row_count) FROM shards"), (int64_t)result.row_count);
    assert_int_equal(one_number(db, "SELECT count(*) FROM shards WHERE db_url NOT LIKE "
                                    "'s3://bucket/prefix/shards/run_id=lite/db=%/attempt=00'"),
        0);
    assert_int_equal(one_number(db, "SELECT count(*) FROM shardy_objects"), result.shard_count);
    sqlite3_close(db);
    int64_t rows = 0;
    for (uint32_t i = 0; i < 4; i++) {
        char path[600];
        db = open_database(shard_path(dir, "lite", i, path, sizeof path));
        check_integrity(db);
        rows += one_number(db, "SELECT count(*) FROM kv");
        sqlite3_close(db);
    }
    assert_int_equal(rows, (int64_t)result.row_count);
    shardy_build_result_dispose(&result);
    shardy_reader *reader;
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    check_gets(reader, &m);
    shardy_reader_close(reader);
    free(m.rows);
    support_remove_dir(dir);
}

/* --- where it is ------------------------------------------------------------------------------ */

static void assert_read_as(const char *url, const char *said)
{
    shardy_reader *reader;
    shardy_verify_result result;
    if (!said) {
        assert_ok(shardy_reader_open(NULL, url, NULL, &reader, &err));
        shardy_reader_close(reader);
        return;
    }
    assert_status(SHARDY_INVALID, shardy_reader_open(NULL, url, NULL, &reader, &err));
    assert_string_equal(err.message, said);
    assert_status(SHARDY_INVALID, shardy_verify(NULL, url, NULL, &result, &err));
    assert_string_equal(err.message, said);
}

static void test_place__a_directory_like_a_pointer_is_written_with_a_slash(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char url[600];
    char said[1400];
    dataset_options options;
    shardy_cleanup_result result;
    dataset_options_init(&options);
    snprintf(url, sizeof url, "%s/_a", dir);
    assert_status(SHARDY_INVALID, dataset_build(NULL, url, "one", &options, &err));
    assert_non_null(strstr(err.message, "for a directory of that name write"));
    snprintf(
        said, sizeof said, "there is no pointer (_a) in \"%s\": nothing was published there", dir);
    assert_read_as(url, said);
    snprintf(url, sizeof url, "%s/_a/", dir);
    assert_ok(dataset_build(NULL, url, "one", &options, &err));
    assert_read_as(url, NULL);
    snprintf(url, sizeof url, "%s/_a", dir);
    snprintf(said, sizeof said,
        "there is no pointer (_a) in \"%s\"; for the directory of that name write \"%s/_a/\"", dir,
        dir);
    assert_read_as(url, said);
    /* pointers that others have made are read whatever they are called */
    char from[700];
    snprintf(from, sizeof from, "%s/_a/_CURRENT", dir);
    snprintf(url, sizeof url, "%s/_a/_next", dir);
    assert_int_equal(link(from, url), 0);
    assert_read_as(url, NULL);
    assert_status(SHARDY_INVALID, shardy_cleanup(NULL, url, NULL, &result, &err));
    assert_non_null(strstr(err.message, "\"_CURRENT\" in "));
    shardy_cleanup_result_dispose(&result);
    assert_int_equal(unlink(url), 0);
    snprintf(url, sizeof url, "%s/_a/", dir);
    assert_ok(shardy_cleanup(NULL, url, NULL, &result, &err));
    shardy_cleanup_result_dispose(&result);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build__the_last_row_of_a_key_wins_in_every_shape_of_snapshot),
        cmocka_unit_test(test_build__rows_beyond_the_memory_budget_are_merged_from_scratch),
        cmocka_unit_test(test_build__max_keys_per_shard_gives_enough_shards),
        cmocka_unit_test(test_build__shards_are_the_same_bytes_whatever_the_thread_count),
        cmocka_unit_test(test_build__vectors_are_found_by_their_exact_distances),
        cmocka_unit_test(test_build__libsqlite3_reads_manifest_and_shards),
        cmocka_unit_test(test_build__the_real_sqlite_vec_finds_the_same_neighbours),
        cmocka_unit_test(test_place__a_directory_like_a_pointer_is_written_with_a_slash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
