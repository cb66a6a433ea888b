/* The scenarios that the architecture review of the reference lists as covered by no test of its
 * own, through the public interface: A (refresh during searches), B (eviction under load), E
 * (damaged custom fields), F (large merges and ties), G (round trip of an embedded index), H
 * (vectors from a column), J (health of a stale snapshot). */
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static shardy_error err;

#define DIM     6u
#define THREADS 4

/* --- snapshots -------------------------------------------------------------------------------- */

/* One snapshot: `keys` rows with vectors; every value and payload names the generation. */
typedef struct shape {
    uint32_t keys;
    uint32_t num_dbs;
    uint32_t generation;
    int32_t metric;
    int same; /* 1: all vectors are equal */
} shape;

static void make_vector(const shape *s, uint32_t key, float *vector)
{
    for (uint32_t i = 0; i < DIM; i++) {
        uint32_t from = s->same ? 0 : key;
        vector[i] = (float)((from * 7 + i * 5 + s->generation * 3) % 23) - 11.25f;
    }
}

static void put_key(shardy_writer *w, const shape *s, uint32_t key)
{
    float vector[DIM];
    char text[64];
    shardy_row row;
    make_vector(s, key, vector);
    snprintf(text, sizeof text, "{\"g\": %u, \"k\": %u}", s->generation, key);
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_int((int64_t)key);
    row.value.data = text;
    row.value.len = strlen(text);
    row.vector = vector;
    row.dim = DIM;
    row.has_payload = 1;
    row.payload = row.value;
    assert_ok(shardy_writer_put(w, &row, &err));
}

static void publish(const char *dir, const shape *s, shardy_build_result *result)
{
    shardy_writer *w;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = s->num_dbs;
    options.dim = DIM;
    options.metric = s->metric;
    options.sync = 0;
    options.threads = 1;
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    assert_ok(shardy_writer_open(NULL, dir, &options, &w, &err));
    for (uint32_t key = 0; key < s->keys; key++) {
        put_key(w, s, key);
    }
    assert_ok(shardy_writer_finish(w, result, &err));
    shardy_writer_close(w);
}

static shardy_query query_of(const float *vectors, size_t count, uint32_t k)
{
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = vectors;
    query.count = count;
    query.dim = DIM;
    query.top_k = k;
    return query;
}

/* --- A: refresh while others search ----------------------------------------------------------- */

typedef struct race {
    const shardy_reader *reader;
    atomic_int done;
    atomic_uint errors;
    atomic_uint mixed;
    atomic_uint answers;
} race;

static unsigned generation_of(const void *text, size_t len)
{
    char copy[64] = "";
    unsigned generation = 0;
    memcpy(copy, text, len < sizeof copy - 1 ? len : sizeof copy - 1);
    return sscanf(copy, "{\"g\": %u", &generation) == 1 ? generation : UINT32_MAX;
}

/* All hits of one answer, and its scores, belong to one generation. */
static void search_in_race(race *r, uint32_t seed)
{
    static const shape first = {400, 4, 0, SHARDY_VECTOR_METRIC_COSINE, 0};
    float vectors[2][DIM];
    shardy_error error;
    shardy_hits hits;
    make_vector(&first, seed % 400, vectors[0]);
    make_vector(&first, (seed * 31) % 400, vectors[1]);
    shardy_query query = query_of(vectors[0], 2, 20);
    if (shardy_reader_search(r->reader, &query, NULL, &hits, &error) != SHARDY_OK) {
        atomic_fetch_add(&r->errors, 1);
        return;
    }
    unsigned generation = generation_of(hits.hits[0].payload.data, hits.hits[0].payload.len);
    for (size_t i = 0; i < hits.offsets[2]; i++) {
        const shardy_hit *hit = &hits.hits[i];
        if (generation_of(hit->payload.data, hit->payload.len) != generation) {
            atomic_fetch_add(&r->mixed, 1);
        }
    }
    if (hits.offsets[2] != 40) {
        atomic_fetch_add(&r->errors, 1);
    }
    atomic_fetch_add(&r->answers, 1);
    shardy_hits_dispose(&hits);
}

/* Several reads of one snapshot that is held. */
static void read_pinned_in_race(race *r, uint32_t seed)
{
    shardy_error error;
    shardy_snapshot *snapshot;
    if (shardy_reader_pin(r->reader, &snapshot, &error) != SHARDY_OK) {
        atomic_fetch_add(&r->errors, 1);
        return;
    }
    unsigned generation = UINT32_MAX;
    for (uint32_t i = 0; i < 3; i++) {
        shardy_buf value;
        shardy_key key = shardy_key_int((seed + i * 57) % 400);
        if (shardy_snapshot_get(snapshot, &key, NULL, &value, &error) != SHARDY_OK) {
            atomic_fetch_add(&r->errors, 1);
            continue;
        }
        unsigned found = generation_of(value.data, value.len);
        atomic_fetch_add(&r->mixed, i > 0 && found != generation);
        generation = found;
        shardy_buf_release(&value);
    }
    shardy_snapshot_close(snapshot);
}

static void *search_until_done(void *user)
{
    race *r = user;
    for (uint32_t i = 0; !atomic_load(&r->done) || i < 50; i++) {
        search_in_race(r, i);
        read_pinned_in_race(r, i);
    }
    return NULL;
}

static void test_scenario_a__searches_during_a_refresh_see_one_snapshot_each(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    shape s = {400, 4, 1, SHARDY_VECTOR_METRIC_COSINE, 0};
    shardy_reader *reader;
    pthread_t threads[THREADS];
    publish(dir, &s, NULL);
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    race r = {.reader = reader};
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, search_until_done, &r), 0);
    }
    for (s.generation = 2; s.generation <= 12; s.generation++) {
        publish(dir, &s, NULL);
        assert_ok(shardy_reader_refresh(reader, NULL, &err));
        assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    }
    atomic_store(&r.done, 1);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&r.errors), 0);
    assert_int_equal(atomic_load(&r.mixed), 0);
    assert_true(atomic_load(&r.answers) >= 50 * THREADS);
    shardy_reader_close(reader);
    support_remove_dir(dir);
}

/* --- B: eviction while others read ------------------------------------------------------------ */

typedef struct load {
    const shardy_reader *reader;
    const shape *shape;
    uint32_t number;
    unsigned errors;
    shardy_buf kept[200]; /* values of shards that were evicted meanwhile */
} load;

static int is_value(const shardy_buf *value, const shape *s, uint32_t key)
{
    char text[64];
    snprintf(text, sizeof text, "{\"g\": %u, \"k\": %u}", s->generation, key);
    return value->len == strlen(text) && memcmp(value->data, text, value->len) == 0;
}

static void *read_all_shards(void *user)
{
    load *l = user;
    for (uint32_t i = 0; i < 200; i++) {
        shardy_error error;
        uint32_t number = (i * 37 + l->number * 11) % l->shape->keys;
        shardy_key key = shardy_key_int(number);
        l->errors += shardy_reader_get(l->reader, &key, NULL, &l->kept[i], &error) != SHARDY_OK ||
                     !is_value(&l->kept[i], l->shape, number);
        if (i % 5 == 0) {
            float vector[DIM];
            shardy_hits hits;
            make_vector(l->shape, number, vector);
            shardy_query query = query_of(vector, 1, 5);
            if (shardy_reader_search(l->reader, &query, NULL, &hits, &error) != SHARDY_OK) {
                l->errors++;
                continue;
            }
            l->errors += hits.offsets[1] != 5 || hits.hits[0].score > 1e-12;
            l->errors += hits.shards_searched != l->shape->num_dbs;
            shardy_hits_dispose(&hits);
        }
    }
    return NULL;
}

static void test_scenario_b__shards_are_evicted_under_load_and_no_answer_suffers(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    const shape s = {600, 8, 1, SHARDY_VECTOR_METRIC_L2, 0};
    shardy_build_result result;
    publish(dir, &s, &result);
    assert_int_equal(result.shard_count, 8);
    shardy_build_result_dispose(&result);
    for (uint32_t open_max = 1; open_max <= 3; open_max++) {
        shardy_reader_options options;
        shardy_reader *reader;
        shardy_health health;
        pthread_t threads[THREADS];
        static load loads[THREADS];
        shardy_reader_options_init(&options, sizeof options);
        options.open_shards_max = open_max;
        options.io = open_max == 2 ? SHARDY_IO_PREAD : SHARDY_IO_MMAP;
        assert_ok(shardy_reader_open(NULL, dir, &options, &reader, &err));
        for (uint32_t i = 0; i < THREADS; i++) {
            memset(&loads[i], 0, sizeof loads[i]);
            loads[i].reader = reader;
            loads[i].shape = &s;
            loads[i].number = i;
            assert_int_equal(pthread_create(&threads[i], NULL, read_all_shards, &loads[i]), 0);
        }
        for (size_t i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(loads[i].errors, 0);
        }
        assert_ok(shardy_reader_health(reader, -1, &health, &err));
        assert_true(health.open_shards <= open_max);
        shardy_reader_close(reader);
        for (uint32_t i = 0; i < THREADS; i++) {
            for (uint32_t j = 0; j < 200; j++) {
                assert_true(
                    is_value(&loads[i].kept[j], &s, (j * 37 + loads[i].number * 11) % s.keys));
                shardy_buf_release(&loads[i].kept[j]);
            }
        }
    }
    support_remove_dir(dir);
}

/* --- E: custom fields of the manifest that are damaged ---------------------------------------- */

typedef struct custom_case {
    const char *custom;
    shardy_status status; /* of opening */
    const char *phrase;   /* in the message */
} custom_case;

#define OURS "\"shardyfusion\": {\"version\": 1, \"engine\": \"sqlite-vec\"}"
#define BOTH "\"backend\": \"sqlite-vec\", \"kv_backend\": \"sqlite-vec\", \"unified\": true"

static const custom_case custom_cases[] = {
    {"{\"vector\": {\"dim\": 6, \"metric\": \"cosine\", " BOTH "}, " OURS "}", SHARDY_OK, ""},
    {"{\"vector\": {\"dim\": 6, \"metric\": \"cosine\", " BOTH "}}", SHARDY_OK, ""},
    {"{\"vector\": {\"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT, "vector.dim"},
    {"{\"vector\": {\"dim\": null, \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT,
        "vector.dim"},
    {"{\"vector\": {\"dim\": \"6\", \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT,
        "vector.dim"},
    {"{\"vector\": {\"dim\": 6.5, \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT,
        "vector.dim"},
    {"{\"vector\": {\"dim\": 0, \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT, "vector.dim"},
    {"{\"vector\": {\"dim\": -6, \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT, "vector.dim"},
    {"{\"vector\": {\"dim\": 4294967302, \"metric\": \"cosine\", " BOTH "}}", SHARDY_CORRUPT,
        "vector.dim"},
    {"{\"vector\": {\"dim\": 6, " BOTH "}}", SHARDY_CORRUPT, "vector.metric"},
    {"{\"vector\": {\"dim\": 6, \"metric\": \"hamming\", " BOTH "}}", SHARDY_CORRUPT,
        "vector.metric"},
    {"{\"vector\": {\"dim\": 6, \"metric\": 1, " BOTH "}}", SHARDY_CORRUPT, "vector.metric"},
    {"{\"vector\": {\"dim\": 6, \"metric\": \"l2\", \"unified\": \"yes\"}}", SHARDY_CORRUPT,
        "vector.unified"},
    {"{\"vector\": {\"dim\": 6, \"metric\": \"l2\", \"unified\": true, \"backend\": 7}}",
        SHARDY_CORRUPT, "vector.backend"},
    {"{\"vector\": {\"dim\": 6, \"metric\": \"l2\", \"unified\": true, \"backend\": \"faiss\"}}",
        SHARDY_CORRUPT, "vector.backend"},
    {"{\"vector\": []}", SHARDY_CORRUPT, "vector"},
    {"{\"vector\": null}", SHARDY_CORRUPT, "vector"},
    {"[]", SHARDY_CORRUPT, "custom"},
    {"{", SHARDY_CORRUPT, "custom"},
    {"{\"shardyfusion\": {\"version\": 2, \"engine\": \"sqlite-vec\"}}", SHARDY_FORMAT_VERSION,
        "version 2"},
    {"{\"shardyfusion\": {\"version\": \"1\", \"engine\": \"sqlite-vec\"}}", SHARDY_CORRUPT,
        "shardyfusion.version"},
    {"{\"shardyfusion\": {\"version\": 1}}", SHARDY_CORRUPT, "shardyfusion.engine"},
    {"{\"shardyfusion\": {\"version\": 1, \"engine\": \"nothing\"}}", SHARDY_CORRUPT, "nothing"},
};

/* Makes the snapshot one without digests, as the reference writes it, so that its manifest can be
 * changed. */
static void forget_digests(const char *dir, const char *run_id)
{
    char path[200];
    size_t len;
    char *text = support_read_file(support_path(dir, "_CURRENT"), &len);
    char *ours = strstr(text, ",\"shardyfusion\":{");
    assert_non_null(ours);
    char *end = strchr(ours, '}');
    assert_non_null(end);
    memmove(ours, end + 1, strlen(end + 1) + 1);
    support_write_file(support_path(dir, "_CURRENT"), text, strlen(text));
    free(text);
    snprintf(path, sizeof path, "runs/run_id=%s/fate", run_id);
    assert_int_equal(unlink(support_path(dir, path)), 0);
}

static void set_custom(const char *manifest, const char *custom)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(manifest, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "UPDATE build_meta SET custom = ?", -1, &stmt, NULL), SQLITE_OK);
    sqlite3_bind_text(stmt, 1, custom, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void test_scenario_e__damaged_custom_fields_are_told_by_name(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    const shape s = {30, 2, 1, SHARDY_VECTOR_METRIC_COSINE, 0};
    shardy_build_result result;
    publish(dir, &s, &result);
    char *manifest = strdup(support_path(dir, strstr(result.manifest_ref, "manifests/")));
    forget_digests(dir, result.run_id);
    for (size_t i = 0; i < sizeof custom_cases / sizeof custom_cases[0]; i++) {
        const custom_case *c = &custom_cases[i];
        shardy_reader *reader;
        set_custom(manifest, c->custom);
        shardy_status st = shardy_reader_open(NULL, dir, NULL, &reader, &err);
        if (st != c->status || (st < 0 && !strstr(err.message, c->phrase))) {
            fail_msg("%s: %s: %s", c->custom, shardy_status_name(st), st < 0 ? err.message : "");
        }
        if (st == SHARDY_OK) {
            float vector[DIM];
            shardy_hits hits;
            make_vector(&s, 3, vector);
            shardy_query query = query_of(vector, 1, 4);
            assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
            assert_int_equal(hits.offsets[1], 4);
            shardy_hits_dispose(&hits);
        }
        shardy_reader_close(reader);
    }
    free(manifest);
    shardy_build_result_dispose(&result);
    support_remove_dir(dir);
}

/* A dimension that the shards do not have: found when a shard is searched, not a crash. */
static void test_scenario_e__a_dimension_that_the_shards_contradict_is_corrupt(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    const shape s = {30, 2, 1, SHARDY_VECTOR_METRIC_COSINE, 0};
    shardy_build_result result;
    publish(dir, &s, &result);
    char *manifest = strdup(support_path(dir, strstr(result.manifest_ref, "manifests/")));
    forget_digests(dir, result.run_id);
    for (uint32_t dim = 5; dim <= 8192; dim += 8187) {
        char custom[300];
        snprintf(custom, sizeof custom,
            "{\"vector\": {\"dim\": %u, \"metric\": \"cosine\", " BOTH "}, " OURS "}", dim);
        set_custom(manifest, custom);
        shardy_reader *reader;
        shardy_hits hits;
        float *vector = calloc(dim, sizeof *vector);
        vector[0] = 1.0f;
        assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
        shardy_query query = query_of(vector, 1, 4);
        query.dim = dim;
        assert_status(SHARDY_CORRUPT, shardy_reader_search(reader, &query, NULL, &hits, &err));
        assert_non_null(strstr(err.message, "dimension"));
        /* The key-value half is whole. */
        shardy_buf value;
        shardy_key key = shardy_key_int(7);
        assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
        assert_true(is_value(&value, &s, 7));
        shardy_buf_release(&value);
        shardy_reader_close(reader);
        free(vector);
    }
    free(manifest);
    shardy_build_result_dispose(&result);
    support_remove_dir(dir);
}

/* --- F: large merges and ties ----------------------------------------------------------------- */

typedef struct expected_hit {
    double score;
    uint32_t key;
} expected_hit;

static int compare_expected(const void *a, const void *b)
{
    const expected_hit *x = a;
    const expected_hit *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    return (x->key > y->key) - (x->key < y->key);
}

static double naive_l2(const float *a, const float *b)
{
    double sum = 0;
    for (uint32_t i = 0; i < DIM; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* The components are multiples of a quarter: squares and sums are exact, whatever the order, and so
 * are ties. */
static void check_merge(const shardy_reader *reader, const shape *s, uint32_t k)
{
    float vector[DIM];
    shardy_hits hits;
    make_vector(s, 5, vector);
    vector[2] += 1.0f;
    shardy_query query = query_of(vector, 1, k);
    expected_hit *all = calloc(s->keys, sizeof *all);
    for (uint32_t key = 0; key < s->keys; key++) {
        float stored[DIM];
        make_vector(s, key, stored);
        all[key].score = naive_l2(vector, stored);
        all[key].key = key;
    }
    qsort(all, s->keys, sizeof *all, compare_expected);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], k < s->keys ? k : s->keys);
    for (size_t i = 0; i < hits.offsets[1]; i++) {
        assert_true(hits.hits[i].score == all[i].score);
        assert_int_equal(hits.hits[i].id.type, SHARDY_KEY_INT);
        assert_int_equal(hits.hits[i].id.i, all[i].key);
    }
    shardy_hits_dispose(&hits);
    free(all);
}

static void test_scenario_f__large_merges_and_equal_scores_have_one_order(void **state)
{
    (void)state;
    static const shape shapes[] = {
        {300, 7, 1, SHARDY_VECTOR_METRIC_L2, 0},   /* top_k beyond all vectors, few distinct */
        {5000, 5, 1, SHARDY_VECTOR_METRIC_L2, 1},  /* all scores are equal in all shards */
        {20000, 3, 1, SHARDY_VECTOR_METRIC_L2, 1}, /* more ties in a shard than a search keeps */
        {20, 16, 1, SHARDY_VECTOR_METRIC_L2, 0},   /* shards with one vector or none */
    };
    static const uint32_t ks[] = {0, 1, 10, 299, 300, 301, SHARDY_TOP_K_MAX};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char *dir = support_make_dir();
        shardy_reader *reader;
        publish(dir, &shapes[i], NULL);
        assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
        for (size_t j = 0; j < sizeof ks / sizeof ks[0]; j++) {
            check_merge(reader, &shapes[i], ks[j]);
        }
        float vector[DIM] = {1};
        shardy_hits hits;
        shardy_query query = query_of(vector, 1, SHARDY_TOP_K_MAX + 1);
        assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, NULL, &hits, &err));
        shardy_reader_close(reader);
        support_remove_dir(dir);
    }
}

/* --- G: round trip of the embedded index ------------------------------------------------------ */

static void put_id(shardy_writer *w, uint32_t number, const shape *s)
{
    float vector[DIM];
    char key[32];
    char payload[80];
    shardy_row row;
    make_vector(s, number, vector);
    vector[number % DIM] += (float)number; /* no two alike */
    snprintf(key, sizeof key, "key-%u", number);
    snprintf(payload, sizeof payload, "{\"n\":   %u, \"s\": \"\\u00e9\xc3\xa9\"}", number);
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_cstr(key);
    row.vector = vector;
    row.dim = DIM;
    row.has_vector_id = number % 3 != 0;
    row.vector_id =
        number % 3 == 1 ? shardy_key_int((int64_t)number - 50) : shardy_key_cstr(key + 2);
    row.has_payload = number % 2 == 0;
    row.payload.data = payload;
    row.payload.len = strlen(payload);
    assert_ok(shardy_writer_put(w, &row, &err));
}

static void check_id(const shardy_reader *reader, uint32_t number, const shape *s)
{
    float vector[DIM];
    char key[32];
    char payload[80];
    shardy_hits hits;
    make_vector(s, number, vector);
    vector[number % DIM] += (float)number;
    snprintf(key, sizeof key, "key-%u", number);
    snprintf(payload, sizeof payload, "{\"n\":   %u, \"s\": \"\\u00e9\xc3\xa9\"}", number);
    shardy_query query = query_of(vector, 1, 1);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 1);
    const shardy_hit *hit = &hits.hits[0];
    assert_true(hit->score < 1e-12);
    shardy_key expected = number % 3 == 0   ? shardy_key_cstr(key)
                          : number % 3 == 1 ? shardy_key_int((int64_t)number - 50)
                                            : shardy_key_cstr(key + 2);
    assert_int_equal(shardy_key_compare(&hit->id, &expected), 0);
    assert_int_equal(hit->has_payload, number % 2 == 0);
    if (hit->has_payload) {
        assert_int_equal(hit->payload.len, strlen(payload));
        assert_memory_equal(hit->payload.data, payload, hit->payload.len);
    }
    shardy_hits_dispose(&hits);
}

static void test_scenario_g__what_the_embedded_index_took_is_found_again(void **state)
{
    (void)state;
    for (int32_t metric = SHARDY_VECTOR_METRIC_COSINE; metric <= SHARDY_VECTOR_METRIC_L2;
         metric++) {
        char *dir = support_make_dir();
        const shape s = {150, 1, 1, metric, 0};
        shardy_writer *w;
        shardy_writer_options options;
        shardy_reader *reader;
        shardy_writer_options_init(&options, sizeof options);
        options.engine = "sqlite-vec";
        options.metric = metric;
        options.dim = DIM;
        options.sync = 0;
        assert_ok(shardy_writer_open(NULL, dir, &options, &w, &err));
        for (uint32_t i = 0; i < s.keys; i++) {
            put_id(w, i, &s);
        }
        assert_ok(shardy_writer_finish(w, NULL, &err));
        shardy_writer_close(w);
        assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
        for (uint32_t i = 0; i < s.keys; i++) {
            check_id(reader, i, &s);
        }
        shardy_reader_close(reader);
        support_remove_dir(dir);
    }
}

/* --- H: vectors taken from a column ----------------------------------------------------------- */

static void build_from_file(const char *dir, const char *name, const char *text)
{
    const char *path = support_path(dir, name);
    shardy_row_source *source;
    shardy_row_source_options options;
    shardy_writer *w;
    support_write_file(path, text, strlen(text));
    shardy_row_source_options_init(&options, sizeof options);
    options.key_column = "sku";
    options.vector_column = "embedding";
    options.payload_column = "meta";
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    assert_ok(shardy_row_source_open(NULL, &path, 1, &options, &source, &err));
    char *out = strdup(support_path(dir, "snapshot"));
    assert_ok(shardy_writer_open(NULL, out, NULL, &w, &err));
    assert_ok(shardy_writer_put_source(w, source, &err));
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    shardy_row_source_close(source);
    free(out);
}

/* Nothing but the name of the column says that there are vectors: dimension and engine follow. */
static void check_column(const char *name, const char *text)
{
    char *dir = support_make_dir();
    shardy_reader *reader;
    shardy_snapshot_info info;
    shardy_hits hits;
    build_from_file(dir, name, text);
    assert_ok(shardy_reader_open(NULL, support_path(dir, "snapshot"), NULL, &reader, &err));
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.engine, "sqlite-vec");
    shardy_snapshot_info_dispose(&info);
    const float vectors[2][3] = {{0.0f, 0.1f, 5.0f}, {-3.0f, 0.0f, 0.2f}};
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = vectors[0];
    query.count = 2;
    query.dim = 3;
    query.top_k = 5;
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 3); /* one row has no vector */
    const shardy_key c = shardy_key_cstr("c");
    const shardy_key a = shardy_key_cstr("a");
    assert_int_equal(shardy_key_compare(&hits.hits[0].id, &c), 0);
    assert_int_equal(shardy_key_compare(&hits.hits[hits.offsets[1]].id, &a), 0);
    assert_int_equal(hits.hits[0].has_payload, 1);
    assert_int_equal(hits.hits[0].payload.len, strlen("{\"n\": 3}"));
    assert_memory_equal(hits.hits[0].payload.data, "{\"n\": 3}", hits.hits[0].payload.len);
    shardy_hits_dispose(&hits);
    shardy_buf value;
    shardy_key key = shardy_key_cstr("d");
    assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
    shardy_buf_release(&value);
    shardy_reader_close(reader);
    support_remove_dir(dir);
}

static void test_scenario_h__vectors_are_taken_from_a_column(void **state)
{
    (void)state;
    check_column("rows.jsonl", "{\"sku\": \"a\", \"embedding\": [-1, 0, 0], \"meta\": {\"n\": 1}}\n"
                               "{\"sku\": \"b\", \"embedding\": [0.5, 2.5e-1, 0], \"meta\": null}\n"
                               "{\"sku\": \"c\", \"embedding\": [0, 0, 1], \"meta\": {\"n\": 3}}\n"
                               "{\"sku\": \"d\", \"embedding\": null, \"meta\": {\"n\": 4}}\n");
    check_column("rows.csv", "sku,embedding,meta\n"
                             "a,\"[-1, 0, 0]\",\"{\"\"n\"\": 1}\"\n"
                             "b,\"[0.5, 2.5e-1, 0]\",\n"
                             "c,\"[0, 0, 1]\",\"{\"\"n\"\": 3}\"\n"
                             "d,,\"{\"\"n\"\": 4}\"\n");
}

/* --- J: health of a stale snapshot with vectors ----------------------------------------------- */

static int64_t told_us(void *user)
{
    return *(int64_t *)user;
}

static void check_health(
    const shardy_reader *reader, double threshold, int32_t status, const char *phrase)
{
    shardy_health health;
    assert_ok(shardy_reader_health(reader, threshold, &health, &err));
    assert_int_equal(health.status, status);
    assert_non_null(strstr(health.reason, phrase));
    assert_true(status != SHARDY_HEALTHY || health.reason[0] == '\0');
}

static void test_scenario_j__a_stale_snapshot_with_vectors_is_degraded_and_serves(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    shape s = {40, 3, 1, SHARDY_VECTOR_METRIC_COSINE, 0};
    shardy_build_result result;
    shardy_context *context;
    shardy_context_options options;
    shardy_reader *reader;
    shardy_health health;
    publish(dir, &s, &result);
    int64_t now = 0;
    shardy_context_options_init(&options, sizeof options);
    options.clock.wall_us = told_us;
    options.clock.user = &now;
    assert_ok(shardy_context_new(&options, &context, &err));
    assert_ok(shardy_reader_open(context, dir, NULL, &reader, &err));
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    assert_true(health.age_seconds == 0); /* a clock before the manifest's is no age */
    now = (int64_t)1 << 55;               /* far behind the build; the age is known from here on */
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    const double age = health.age_seconds;
    assert_true(age > 3600);
    assert_int_equal(health.num_shards, 3);
    check_health(reader, -1, SHARDY_HEALTHY, "");
    check_health(reader, age + 1, SHARDY_HEALTHY, "");
    check_health(reader, age - 1, SHARDY_DEGRADED, "seconds old");
    check_health(reader, 0, SHARDY_DEGRADED, "threshold is 0");
    /* Degraded is not out of service. */
    float vector[DIM];
    shardy_hits hits;
    make_vector(&s, 9, vector);
    shardy_query query = query_of(vector, 1, 3);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 3);
    shardy_hits_dispose(&hits);
    /* A failed refresh degrades it as well; the next good one heals that. */
    size_t len;
    char *current = support_read_file(support_path(dir, "_CURRENT"), &len);
    support_write_file(support_path(dir, "_CURRENT"), "{", 1);
    assert_true(shardy_reader_refresh(reader, NULL, &err) < 0);
    check_health(reader, -1, SHARDY_DEGRADED, "refresh failed");
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    shardy_hits_dispose(&hits);
    support_write_file(support_path(dir, "_CURRENT"), current, len);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    check_health(reader, -1, SHARDY_HEALTHY, "");
    check_health(reader, age - 1, SHARDY_DEGRADED, "seconds old");
    free(current);
    shardy_reader_close(reader);
    shardy_context_free(context);
    shardy_build_result_dispose(&result);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenario_a__searches_during_a_refresh_see_one_snapshot_each),
        cmocka_unit_test(test_scenario_b__shards_are_evicted_under_load_and_no_answer_suffers),
        cmocka_unit_test(test_scenario_e__damaged_custom_fields_are_told_by_name),
        cmocka_unit_test(test_scenario_e__a_dimension_that_the_shards_contradict_is_corrupt),
        cmocka_unit_test(test_scenario_f__large_merges_and_equal_scores_have_one_order),
        cmocka_unit_test(test_scenario_g__what_the_embedded_index_took_is_found_again),
        cmocka_unit_test(test_scenario_h__vectors_are_taken_from_a_column),
        cmocka_unit_test(test_scenario_j__a_stale_snapshot_with_vectors_is_degraded_and_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
