/* The same rows through the writer and the reader with every engine of this build: "mem", which is
 * obviously right, says what the others must answer, bit for bit. */
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/engine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

#define DIM_MAX 40u

/* --- rows ------------------------------------------------------------------------------------- */

typedef struct test_row {
    shardy_row row;
    char key[48];
    char value[300];
    char payload[64];
    char id[48];
    float vector[DIM_MAX];
} test_row;

typedef struct plan {
    uint32_t dim; /* 0: no vectors */
    int32_t metric;
    uint32_t num_dbs;
    uint32_t page_size;
    int32_t integer_keys;
    size_t rows;
    size_t keys;    /* fewer than rows: some are overwritten */
    uint32_t steps; /* distinct values of a component: few give many ties */
} plan;

static void fill_vector(test_row *r, const plan *p, size_t number, support_rand *rand)
{
    for (uint32_t i = 0; i < p->dim; i++) {
        r->vector[i] = (float)((int)support_rand_below(rand, p->steps) - 1) / 4.0f;
    }
    r->vector[number % p->dim] += 3.0f; /* never zero */
    r->row.vector = r->vector;
    r->row.dim = p->dim;
    if (support_rand_below(rand, 4) == 0) {
        r->row.has_vector_id = 1;
        snprintf(r->id, sizeof r->id, "id-%zu", number);
        r->row.vector_id = number % 2 ? shardy_key_cstr(r->id) : shardy_key_int((int64_t)number);
    }
    if (support_rand_below(rand, 2)) {
        snprintf(r->payload, sizeof r->payload, "{\"n\": %zu}", number);
        r->row.has_payload = 1;
        r->row.payload.data = r->payload;
        r->row.payload.len = strlen(r->payload);
    }
}

static test_row *make_rows(const plan *p, support_rand *rand)
{
    test_row *rows = calloc(p->rows + 1, sizeof *rows);
    for (size_t i = 0; i < p->rows; i++) {
        test_row *r = &rows[i];
        size_t k = support_rand_below(rand, p->keys);
        shardy_row_init(&r->row, sizeof r->row);
        snprintf(r->key, sizeof r->key, "%s%zu", k % 2 ? "a common prefix/" : "", k);
        r->row.key = p->integer_keys ? shardy_key_int((int64_t)k) : shardy_key_cstr(r->key);
        r->row.value.len = support_rand_below(rand, i % 10 ? 30 : sizeof r->value);
        for (size_t j = 0; j < r->row.value.len; j++) {
            r->value[j] = (char)support_rand_u64(rand);
        }
        r->row.value.data = r->value;
        if (p->dim > 0 && support_rand_below(rand, 8)) {
            fill_vector(r, p, i, rand);
        }
    }
    return rows;
}

static char *build(const char *engine, const plan *p, const test_row *rows)
{
    char *dir = support_make_dir();
    shardy_writer *w;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.engine = engine;
    options.num_dbs = p->num_dbs;
    options.dim = p->dim;
    options.metric = p->metric;
    options.page_size = p->page_size;
    options.sync = 0;
    options.key_encoding = p->integer_keys ? SHARDY_KEY_ENCODING_U64BE : SHARDY_KEY_ENCODING_UTF8;
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    assert_ok(shardy_writer_open(NULL, dir, &options, &w, &err));
    for (size_t i = 0; i < p->rows; i++) {
        assert_ok(shardy_writer_put(w, &rows[i].row, &err));
    }
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    return dir;
}

/* --- comparing -------------------------------------------------------------------------------- */

static void same_bytes(shardy_bytes a, shardy_bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len) {
        assert_memory_equal(a.data, b.data, a.len);
    }
}

static void compare_gets(const shardy_reader *oracle, const shardy_reader *other,
    const test_row *rows, const plan *p, support_rand *rand)
{
    enum {
        COUNT = 700
    };
    static char names[COUNT][48];
    shardy_key keys[COUNT];
    shardy_values expected;
    shardy_values got;
    for (size_t i = 0; i < COUNT; i++) {
        size_t k = support_rand_below(rand, p->keys + 20);
        snprintf(names[i], sizeof names[i], "%s%zu", k % 2 ? "a common prefix/" : "", k);
        keys[i] = p->integer_keys ? shardy_key_int((int64_t)k) : shardy_key_cstr(names[i]);
    }
    (void)rows;
    assert_ok(shardy_reader_multi_get(oracle, keys, COUNT, NULL, &expected, &err));
    assert_ok(shardy_reader_multi_get(other, keys, COUNT, NULL, &got, &err));
    for (size_t i = 0; i < COUNT; i++) {
        shardy_buf value;
        assert_int_equal(expected.values[i].status, got.values[i].status);
        assert_int_equal(expected.values[i].db_id, got.values[i].db_id);
        same_bytes(expected.values[i].bytes, got.values[i].bytes);
        assert_int_equal(
            shardy_reader_get(other, &keys[i], NULL, &value, &err), got.values[i].status);
        same_bytes((shardy_bytes){value.data, value.len}, expected.values[i].bytes);
        shardy_buf_release(&value);
    }
    shardy_values_dispose(&expected);
    shardy_values_dispose(&got);
}

static void compare_hits(const shardy_hits *expected, const shardy_hits *got)
{
    assert_int_equal(expected->query_count, got->query_count);
    for (size_t q = 0; q <= expected->query_count; q++) {
        assert_int_equal(expected->offsets[q], got->offsets[q]);
    }
    for (size_t i = 0; i < expected->offsets[expected->query_count]; i++) {
        const shardy_hit *a = &expected->hits[i];
        const shardy_hit *b = &got->hits[i];
        assert_memory_equal(&a->score, &b->score, sizeof a->score);
        assert_int_equal(shardy_key_compare(&a->id, &b->id), 0);
        assert_int_equal(a->db_id, b->db_id);
        assert_int_equal(a->has_payload, b->has_payload);
        same_bytes(a->payload, b->payload);
    }
}

static void compare_searches(const shardy_reader *oracle, const shardy_reader *other,
    const test_row *rows, const plan *p, support_rand *rand)
{
    static const uint32_t ks[] = {0, 1, 10, 500, SHARDY_TOP_K_MAX};
    enum {
        QUERIES = 9
    };
    float vectors[QUERIES * DIM_MAX];
    for (size_t i = 0; i < QUERIES; i++) {
        for (uint32_t j = 0; j < p->dim; j++) {
            vectors[i * p->dim + j] = (float)((int)support_rand_below(rand, 9) - 4) / 4.0f;
        }
        vectors[i * p->dim] += 2.5f;
        const test_row *row = &rows[support_rand_below(rand, p->rows)];
        if (i % 3 == 0 && row->row.vector) {
            memcpy(vectors + i * p->dim, row->vector, p->dim * sizeof(float));
        }
    }
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        shardy_query query;
        shardy_hits expected;
        shardy_hits got;
        shardy_query_init(&query, sizeof query);
        query.vectors = vectors;
        query.count = i % 2 ? QUERIES : 1 + support_rand_below(rand, 3);
        query.dim = p->dim;
        query.top_k = ks[i];
        assert_ok(shardy_reader_search(oracle, &query, NULL, &expected, &err));
        assert_ok(shardy_reader_search(other, &query, NULL, &got, &err));
        compare_hits(&expected, &got);
        shardy_hits_dispose(&expected);
        shardy_hits_dispose(&got);
    }
}

static shardy_reader *open_reader(const char *dir, int32_t io)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    options.io = io;
    assert_ok(shardy_reader_open(NULL, dir, &options, &reader, &err));
    return reader;
}

static void run_plan(const plan *p, uint64_t seed)
{
    support_rand rand = {seed};
    test_row *rows = make_rows(p, &rand);
    char *oracle_dir = build("mem", p, rows);
    shardy_reader *oracle = open_reader(oracle_dir, SHARDY_IO_MMAP);
    size_t count;
    size_t compared = 0;
    const shardy_engine_ops *const *engines = shardy_engine_list(&count);
    for (size_t e = 0; e < count; e++) {
        if ((engines[e]->caps & SHARDY_ENGINE_CAP_TESTING) ||
            (p->dim > 0) != ((engines[e]->caps & SHARDY_ENGINE_CAP_VECTOR) != 0)) {
            continue;
        }
        char *dir = build(engines[e]->name, p, rows);
        for (int32_t io = SHARDY_IO_MMAP; io <= SHARDY_IO_PREAD; io++) {
            shardy_reader *reader = open_reader(dir, io);
            compare_gets(oracle, reader, rows, p, &rand);
            if (p->dim > 0) {
                compare_searches(oracle, reader, rows, p, &rand);
            }
            shardy_reader_close(reader);
        }
        support_remove_dir(dir);
        compared++;
    }
    assert_true(compared >= 1);
    shardy_reader_close(oracle);
    support_remove_dir(oracle_dir);
    free(rows);
}

static void test_engines__answer_as_the_oracle_mem(void **state)
{
    (void)state;
    static const plan plans[] = {
        {0, SHARDY_VECTOR_METRIC_COSINE, 3, 4096, 0, 3000, 2500, 0},
        {0, SHARDY_VECTOR_METRIC_COSINE, 1, 512, 1, 2000, 900, 0},
        {5, SHARDY_VECTOR_METRIC_COSINE, 2, 4096, 0, 3000, 2000, 9},
        {3, SHARDY_VECTOR_METRIC_L2, 4, 1024, 1, 3000, 3000, 3},
        {2, SHARDY_VECTOR_METRIC_L2, 1, 4096, 1, 12000, 20000, 2},
        {40, SHARDY_VECTOR_METRIC_COSINE, 3, 512, 0, 2500, 9000, 200},
        {33, SHARDY_VECTOR_METRIC_L2, 1, 65536, 0, 1500, 1500, 100},
    };
    uint64_t seed = support_seed();
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        run_plan(&plans[i], seed + i);
    }
}

static void test_engines__a_damaged_shard_of_mem_is_noticed_by_verify(void **state)
{
    (void)state;
    const plan p = {4, SHARDY_VECTOR_METRIC_L2, 1, 4096, 1, 50, 50, 9};
    support_rand rand = {support_seed()};
    test_row *rows = make_rows(&p, &rand);
    char *dir = build("mem", &p, rows);
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    assert_ok(shardy_verify(NULL, dir, &options, &result, &err));
    assert_int_equal(result.status, SHARDY_VERIFY_OK);
    shardy_verify_result_dispose(&result);
    shardy_reader *reader = open_reader(dir, SHARDY_IO_MMAP);
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.engine, "mem");
    char path[200];
    size_t len;
    snprintf(path, sizeof path, "shards/run_id=%s/db=00000/attempt=00/shard.mem", info.run_id);
    char *data = support_read_file(support_path(dir, path), &len);
    data[len / 2] = (char)(data[len / 2] ^ 4);
    support_write_file(support_path(dir, path), data, len);
    free(data);
    assert_ok(shardy_verify(NULL, dir, &options, &result, &err));
    assert_int_equal(result.status, SHARDY_VERIFY_DAMAGED);
    shardy_verify_result_dispose(&result);
    shardy_buf value;
    assert_status(SHARDY_CHECKSUM, shardy_reader_get(reader, &rows[0].row.key, NULL, &value, &err));
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    free(rows);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engines__answer_as_the_oracle_mem),
        cmocka_unit_test(test_engines__a_damaged_shard_of_mem_is_noticed_by_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
