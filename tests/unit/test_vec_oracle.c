/* Vector shards and the real sqlite-vec 0.1.9: it finds in our files what we find, and we find in
 * its files what it finds, also after deletes and updates. Then files that are not as they should
 * be. */
#include "support/vec_testing.h"

#include <shardyfusion/limits.h>

static shardy_error err;

/* --- the oracle ------------------------------------------------------------------------------- */

static void load_vec0(sqlite3 *db)
{
    sqlite3_enable_load_extension(db, 1);
    char *message = NULL;
    if (sqlite3_load_extension(db, support_vec0(), NULL, &message) != SQLITE_OK) {
        fail_msg("%s", message);
    }
}

/* --- our reader over a file in memory --------------------------------------------------------- */

typedef struct shard {
    shardy_store *store;
    engine_reader reader;
    uint32_t dim;
} shard;

static shardy_status open_file(
    shard *s, const image *img, uint32_t dim, int32_t metric, shardy_error *error)
{
    const vectors shape = {dim, metric, 0, NULL, NULL, NULL};
    memset(s, 0, sizeof *s);
    s->dim = dim;
    assert_ok(shardy_store_open_mem(NULL, &s->store, &err));
    put_object(s->store, "s/shard.db", img->data, img->len);
    shardy_engine_reader_spec spec = reader_spec(s->store, &shape, SHARDY_IO_MMAP);
    return shardy__engine_reader_open(&shardy__engine_sqlite_vec, &spec, &s->reader, error);
}

static void close_file(shard *s)
{
    shardy__engine_reader_close(&s->reader);
    shardy_store_close(s->store);
}

static shardy_status search_file(const shard *s, const float *query, uint32_t k,
    shardy_engine_search *request, void **op_out, shardy_error *error)
{
    memset(request, 0, sizeof *request);
    request->queries = query;
    request->query_count = 1;
    request->stride = s->dim;
    request->k = k;
    return shardy__engine_search(&s->reader, request, op_out, error);
}

/* The very SQL by which the reference searches a unified shard (formats.md, section 6). Distances
 * agree within single precision; rows that are not near a tie are the same ones. */
static void compare_hits(sqlite3 *db, const shard *s, const float *query, uint32_t k)
{
    shardy_engine_search request;
    void *op;
    assert_ok(search_file(s, query, k, &request, &op, &err));
    sqlite3_stmt *stmt =
        prepare(db, "SELECT rowid, distance FROM vec_index WHERE embedding MATCH ? AND k = ?");
    sqlite3_bind_blob(stmt, 1, query, (int)(s->dim * sizeof *query), SQLITE_STATIC);
    sqlite3_bind_int(stmt, 2, (int)k);
    size_t count = request.offsets[1];
    size_t i = 0;
    size_t same = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        assert_true(i < count);
        const shardy_engine_hit *hit = &request.hits[i];
        double distance = sqlite3_column_double(stmt, 1);
        assert_true(fabs(distance - hit->score) <= 1e-5 * (1 + fabs(hit->score)));
        for (size_t j = 0; j < count; j++) {
            same += request.hits[j].row == (uint64_t)sqlite3_column_int64(stmt, 0);
        }
        i++;
    }
    assert_int_equal(i, count);
    /* Others can only be there because they tie with the last one. */
    if (same < count) {
        double last = request.hits[count - 1].score;
        size_t near = 0;
        for (size_t j = 0; j < count; j++) {
            near += last - request.hits[j].score <= 1e-5 * (1 + fabs(last));
        }
        assert_true(count - same <= near);
    }
    sqlite3_finalize(stmt);
    shardy__engine_search_finish(&s->reader, op);
}

static void test_vec_oracle__sqlite_vec_finds_the_same_in_our_files(void **state)
{
    (void)state;
    (void)support_vec0(); /* skips before anything is made */
    static const uint32_t dims[] = {1, 8, 31, 384, 1024, 1999};
    static const uint32_t ks[] = {1, 10, 100, 4096};
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < 2 * sizeof dims / sizeof dims[0]; i++) {
        uint32_t dim = dims[i / 2];
        int32_t metric = i % 2 ? SHARDY_VECTOR_METRIC_L2 : SHARDY_VECTOR_METRIC_COSINE;
        vectors v = make_vectors(dim, metric, dim < 100 ? 2500 : 300, &rand);
        char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 512u << (i % 8));
        image img = read_shard(dir);
        sqlite3 *db = open_db(&img);
        load_vec0(db);
        check_integrity(db);
        shard s;
        assert_ok(open_file(&s, &img, dim, metric, &err));
        for (size_t j = 0; j < sizeof ks / sizeof ks[0]; j++) {
            compare_hits(db, &s, v.data + (j * 7) * dim, ks[j]);
        }
        close_file(&s);
        sqlite3_close(db);
        free_image(&img);
        support_remove_dir(dir);
        free_vectors(&v);
    }
}

/* sqlite-vec can go on writing where we ended. */
static void test_vec_oracle__sqlite_vec_can_change_our_files(void **state)
{
    (void)state;
    (void)support_vec0(); /* skips before anything is made */
    support_rand rand = {support_seed()};
    vectors v = make_vectors(12, SHARDY_VECTOR_METRIC_L2, 1500, &rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(support_path(dir, "s/shard.db"), &db), SQLITE_OK);
    load_vec0(db);
    run_sql(db, "DELETE FROM vec_index WHERE rowid % 3 = 1");
    run_sql(db, "INSERT INTO vec_index(embedding) SELECT embedding FROM vec_index LIMIT 700");
    check_integrity(db);
    image img = take_image(db);
    shard s;
    assert_ok(open_file(&s, &img, v.dim, v.metric, &err));
    assert_int_equal(shardy__engine_vector_count(&s.reader), 1000 + 700);
    compare_hits(db, &s, v.data, 4000);
    compare_hits(db, &s, v.data + 5 * v.dim, 25);
    close_file(&s);
    sqlite3_close(db);
    free_image(&img);
    support_remove_dir(dir);
    free_vectors(&v);
}

/* --- files of sqlite-vec ---------------------------------------------------------------------- */

static sqlite3 *new_vec_db(uint32_t page_size, uint32_t dim, const char *options)
{
    sqlite3 *db = new_db(page_size);
    char sql[200];
    load_vec0(db);
    run_sql(db, KV_OBJECT.sql);
    snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE vec_index USING vec0(embedding float[%u] %s)",
        dim, options);
    run_sql(db, sql);
    run_sql(db, "CREATE TABLE vec_payloads (rowid INTEGER PRIMARY KEY, payload TEXT NOT NULL)");
    run_sql(
        db, "CREATE TABLE vec_id_map (internal_id INTEGER PRIMARY KEY, original_id TEXT NOT NULL)");
    return db;
}

/* Writes a vector, keeping what is there in `live`; a rowid below 0 lets sqlite-vec choose. */
static void insert_vector(sqlite3 *db, int64_t rowid, const float *vector, uint32_t dim)
{
    sqlite3_stmt *stmt = prepare(db, "INSERT INTO vec_index(rowid, embedding) VALUES (?, ?)");
    sqlite3_bind_int64(stmt, 1, rowid);
    sqlite3_bind_blob(stmt, 2, vector, (int)(dim * sizeof *vector), SQLITE_STATIC);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
}

static void update_vector(sqlite3 *db, int64_t rowid, const float *vector, uint32_t dim)
{
    sqlite3_stmt *stmt = prepare(db, "UPDATE vec_index SET embedding = ? WHERE rowid = ?");
    sqlite3_bind_blob(stmt, 1, vector, (int)(dim * sizeof *vector), SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, rowid);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
}

static void delete_vector(sqlite3 *db, int64_t rowid)
{
    sqlite3_stmt *stmt = prepare(db, "DELETE FROM vec_index WHERE rowid = ?");
    sqlite3_bind_int64(stmt, 1, rowid);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
}

/* What should be in the file: `v.data` row i has rowid `rowids[i]` when `live[i]`. */
typedef struct model {
    vectors v;
    int64_t *rowids;
    uint8_t *live;
} model;

static void check_model(sqlite3 *db, const model *m, support_rand *rand)
{
    image img = take_image(db);
    shard s;
    assert_ok(open_file(&s, &img, m->v.dim, m->v.metric, &err));
    size_t live = 0;
    for (size_t i = 0; i < m->v.count; i++) {
        live += m->live[i];
    }
    assert_int_equal(shardy__engine_vector_count(&s.reader), live);
    for (int round = 0; round < 4; round++) {
        const float *query = m->v.data + support_rand_below(rand, m->v.count) * m->v.dim;
        compare_hits(db, &s, query, round == 0 ? 4096 : 20);
        shardy_engine_search request;
        void *op;
        assert_ok(search_file(&s, query, 4096, &request, &op, &err));
        assert_int_equal(request.offsets[1], live);
        exact_query exact;
        shardy__exact_prepare(&exact, query, m->v.dim, m->v.metric);
        for (size_t i = 0; i < request.offsets[1]; i++) {
            const shardy_engine_hit *hit = &request.hits[i];
            size_t at = 0;
            while (at < m->v.count && !(m->live[at] && m->rowids[at] == (int64_t)hit->row)) {
                at++;
            }
            assert_true(at < m->v.count);
            assert_true(hit->score == shardy__exact_score(&exact, m->v.data + at * m->v.dim));
            /* No entry in vec_id_map: the id is the rowid. */
            assert_int_equal(hit->id.type, SHARDY_KEY_INT);
            assert_int_equal(hit->id.i, hit->row);
        }
        shardy__engine_search_finish(&s.reader, op);
    }
    close_file(&s);
    free_image(&img);
}

static void run_model(uint32_t dim, int32_t metric, const char *options, size_t count,
    uint32_t page_size, support_rand *rand)
{
    sqlite3 *db = new_vec_db(page_size, dim, options);
    model m = {
        make_vectors(dim, metric, count, rand), calloc(count, sizeof(int64_t)), calloc(count, 1)};
    run_sql(db, "BEGIN");
    for (size_t i = 0; i < count; i++) {
        m.rowids[i] = (int64_t)(i * 3 + 5) << (i % 7 == 0 ? 30 : 0);
        insert_vector(db, m.rowids[i], m.v.data + i * dim, dim);
        m.live[i] = 1;
    }
    run_sql(db, "COMMIT");
    check_model(db, &m, rand);
    for (size_t i = 0; i < count / 2; i++) {
        size_t at = support_rand_below(rand, count);
        if (support_rand_below(rand, 2)) {
            delete_vector(db, m.rowids[at]);
            m.live[at] = 0;
        } else if (m.live[at]) {
            m.v.data[at * dim] += 0.5f;
            update_vector(db, m.rowids[at], m.v.data + at * dim, dim);
        }
    }
    /* A whole chunk is emptied. */
    for (size_t i = 0; i < (count < 64 ? count : 64); i++) {
        delete_vector(db, m.rowids[i]);
        m.live[i] = 0;
    }
    m.live[count - 1] = m.live[count - 1] ? 1 : 0;
    check_model(db, &m, rand);
    check_integrity(db);
    sqlite3_close(db);
    free_vectors(&m.v);
    free(m.rowids);
    free(m.live);
}

static void test_vec_oracle__files_of_sqlite_vec_are_read_also_after_deletes_and_updates(
    void **state)
{
    (void)state;
    (void)support_vec0(); /* skips before anything is made */
    support_rand rand = {support_seed()};
    run_model(8, SHARDY_VECTOR_METRIC_COSINE, "distance_metric=cosine", 2600, 4096, &rand);
    run_model(33, SHARDY_VECTOR_METRIC_L2, "distance_metric=l2", 1100, 512, &rand);
    run_model(5, SHARDY_VECTOR_METRIC_L2, "distance_metric=l2, chunk_size=8", 200, 1024, &rand);
    run_model(300, SHARDY_VECTOR_METRIC_COSINE, "distance_metric=cosine, chunk_size=64", 150, 65536,
        &rand);
}

/* --- ids and payloads as the reference writes them -------------------------------------------- */

typedef struct id_case {
    const char *original_id; /* of vec_id_map; NULL: no entry */
    shardy_status status;
    int32_t type;
    int64_t number;
    const char *text;
} id_case;

static const id_case id_cases[] = {
    {"{\"v\": 7, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_INT, 7, NULL},
    {"{\"v\": -9223372036854775808, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_INT, INT64_MIN, NULL},
    {"{\"t\":\"int\",\"v\":0}", SHARDY_OK, SHARDY_KEY_INT, 0, NULL},
    {"{\"v\": \"7\", \"t\": \"str\"}", SHARDY_OK, SHARDY_KEY_TEXT, 0, "7"},
    {"{\"v\": \"\", \"t\": \"str\"}", SHARDY_OK, SHARDY_KEY_TEXT, 0, ""},
    {"{\"v\": \"caf\\u00e9 \\ud83d\\ude00\", \"t\": \"str\"}", SHARDY_OK, SHARDY_KEY_TEXT, 0,
        "caf\xc3\xa9 \xf0\x9f\x98\x80"},
    {"{\"v\": 9223372036854775808, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_UINT, INT64_MIN, NULL},
    {"{\"v\": 18446744073709551615, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_UINT, -1, NULL},
    {"{\"v\": 18446744073709551616, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_TEXT, 0,
        "18446744073709551616"},
    {"{\"v\": -9223372036854775809, \"t\": \"int\"}", SHARDY_OK, SHARDY_KEY_TEXT, 0,
        "-9223372036854775809"},
    {"{\"v\": 7, \"t\": \"str\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {"{\"v\": 1e3, \"t\": \"int\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {"{\"v\": NaN, \"t\": \"int\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {NULL, SHARDY_OK, SHARDY_KEY_INT, 41, NULL},
    {"{\"v\": 1.5, \"t\": \"int\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {"{\"v\": [], \"t\": \"str\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {"{\"t\": \"int\"}", SHARDY_CORRUPT, 0, 0, NULL},
    {"[]", SHARDY_CORRUPT, 0, 0, NULL},
    {"not json", SHARDY_CORRUPT, 0, 0, NULL},
    {"", SHARDY_CORRUPT, 0, 0, NULL},
};

static void check_id(const image *img, const id_case *c)
{
    shard s;
    shardy_engine_search request;
    void *op;
    const float query[2] = {1.0f, 2.0f};
    assert_ok(open_file(&s, img, 2, SHARDY_VECTOR_METRIC_COSINE, &err));
    assert_status(c->status, search_file(&s, query, 3, &request, &op, &err));
    if (c->status == SHARDY_OK) {
        assert_int_equal(request.offsets[1], 1);
        const shardy_key *id = &request.hits[0].id;
        assert_int_equal(id->type, c->type);
        if (id->type == SHARDY_KEY_INT) {
            assert_true(id->i == c->number);
        } else if (id->type == SHARDY_KEY_UINT) {
            assert_true(id->u == (uint64_t)c->number);
        } else {
            assert_int_equal(id->bytes.len, strlen(c->text));
            assert_memory_equal(id->bytes.data, c->text, id->bytes.len);
        }
    }
    shardy__engine_search_finish(&s.reader, op);
    close_file(&s);
}

static void test_vec_oracle__ids_are_what_the_id_map_says(void **state)
{
    (void)state;
    (void)support_vec0(); /* skips before anything is made */
    const float vector[2] = {0.25f, -4.0f};
    for (size_t i = 0; i < sizeof id_cases / sizeof id_cases[0]; i++) {
        sqlite3 *db = new_vec_db(4096, 2, "distance_metric=cosine");
        insert_vector(db, 41, vector, 2);
        if (id_cases[i].original_id) {
            sqlite3_stmt *stmt = prepare(db, "INSERT INTO vec_id_map VALUES (41, ?)");
            sqlite3_bind_text(stmt, 1, id_cases[i].original_id, -1, SQLITE_STATIC);
            assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
            sqlite3_finalize(stmt);
        }
        image img = take_image(db);
        check_id(&img, &id_cases[i]);
        free_image(&img);
        sqlite3_close(db);
    }
}

/* --- broken files ----------------------------------------------------------------------------- */

typedef struct broken_case {
    const char *sql;    /* done to a file of ours of 1,100 vectors, without sqlite-vec */
    const char *phrase; /* in the message */
    int32_t when;       /* 0: when it is opened; 1: when it is searched */
} broken_case;

static const broken_case broken_cases[] = {
    {"DROP TABLE vec_index_chunks", "no rowid table \"vec_index_chunks\"", 0},
    {"DROP TABLE vec_payloads", "no rowid table \"vec_payloads\"", 0},
    {"ALTER TABLE vec_id_map RENAME original_id TO other", "no column \"original_id\"", 0},
    {"UPDATE vec_index_chunks SET size = 7", "no multiple of 8", 0},
    {"UPDATE vec_index_chunks SET size = 1 << 20", "no multiple of 8", 0},
    {"UPDATE vec_index_chunks SET size = 'many'", "not an integer", 0},
    {"UPDATE vec_index_chunks SET validity = x'00'", "length of its size", 0},
    {"UPDATE vec_index_chunks SET rowids = x'00'", "length of its size", 1},
    {"UPDATE vec_index_chunks SET size = 512, validity = zeroblob(64)", "length of its size", 1},
    {"DELETE FROM vec_index_chunks WHERE chunk_id = 1", "vec_index_chunks has not", 0},
    {"DELETE FROM vec_index_vector_chunks00 WHERE rowid = 1", "lacks a chunk", 0},
    {"UPDATE vec_index_vector_chunks00 SET vectors = x'00'", "dimension 6 needs", 1},
    {"UPDATE vec_index_vector_chunks00 SET vectors = 'text'", "dimension 6 needs", 1},
};

static void check_broken(const image *intact, const broken_case *c)
{
    sqlite3 *db;
    shard s;
    char *dir = support_make_dir();
    const char *path = support_path(dir, "broken.db");
    support_write_file(path, intact->data, intact->len);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run_sql(db, "PRAGMA legacy_alter_table=ON");
    run_sql(db, "PRAGMA writable_schema=ON");
    run_sql(db, "DELETE FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'");
    sqlite3_close(db);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run_sql(db, c->sql);
    image img = take_image(db);
    sqlite3_close(db);
    shardy_status st = open_file(&s, &img, 6, SHARDY_VECTOR_METRIC_COSINE, &err);
    if (c->when == 0) {
        assert_int_equal(st, SHARDY_CORRUPT);
    } else {
        const float query[6] = {1, 2, 3, 4, 5, 6};
        shardy_engine_search request;
        void *op;
        assert_ok(st);
        assert_status(SHARDY_CORRUPT, search_file(&s, query, 3, &request, &op, &err));
        shardy__engine_search_finish(&s.reader, op);
    }
    if (!strstr(err.message, c->phrase)) {
        fail_msg("%s: \"%s\"", c->sql, err.message);
    }
    close_file(&s);
    free_image(&img);
    support_remove_dir(dir);
}

static void test_vec_oracle__broken_tables_are_corrupt_and_told(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_vectors(6, SHARDY_VECTOR_METRIC_COSINE, 1100, &rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    image img = read_shard(dir);
    for (size_t i = 0; i < sizeof broken_cases / sizeof broken_cases[0]; i++) {
        check_broken(&img, &broken_cases[i]);
    }
    free_image(&img);
    support_remove_dir(dir);
    free_vectors(&v);
}

/* Chunks whose overflow chains share their pages would make a small file cost unbounded work. */
static void test_vec_oracle__chunks_that_need_more_pages_than_there_are_are_corrupt(void **state)
{
    (void)state;
    (void)support_vec0(); /* skips before anything is made */
    support_rand rand = {support_seed()};
    vectors v = make_vectors(64, SHARDY_VECTOR_METRIC_COSINE, 3000, &rand);
    sqlite3 *db = new_vec_db(4096, v.dim, "distance_metric=cosine");
    run_sql(db, "BEGIN");
    for (size_t i = 0; i < v.count; i++) {
        insert_vector(db, (int64_t)i, v.data + i * v.dim, v.dim);
    }
    run_sql(db, "COMMIT");
    image img = take_image(db);
    sqlite3_close(db);
    /* Three chunks of 64 pages and more; the trees are on the first pages. */
    const size_t pages = 190;
    assert_true(img.len > pages * 4096);
    img.data[28] = 0;
    img.data[29] = 0;
    img.data[30] = 0;
    img.data[31] = (uint8_t)pages;
    img.len = pages * 4096;
    shard s;
    assert_status(SHARDY_CORRUPT, open_file(&s, &img, v.dim, SHARDY_VECTOR_METRIC_COSINE, &err));
    if (!strstr(err.message, "more overflow pages than the file has")) {
        fail_msg("%s", err.message);
    }
    close_file(&s);
    free_image(&img);
    free_vectors(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vec_oracle__sqlite_vec_finds_the_same_in_our_files),
        cmocka_unit_test(test_vec_oracle__sqlite_vec_can_change_our_files),
        cmocka_unit_test(
            test_vec_oracle__files_of_sqlite_vec_are_read_also_after_deletes_and_updates),
        cmocka_unit_test(test_vec_oracle__ids_are_what_the_id_map_says),
        cmocka_unit_test(test_vec_oracle__broken_tables_are_corrupt_and_told),
        cmocka_unit_test(test_vec_oracle__chunks_that_need_more_pages_than_there_are_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
