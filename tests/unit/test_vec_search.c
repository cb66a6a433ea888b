/* Search over the chunks of a shard, against a naive one: every kind of source, size of page,
 * dimension, number of ties; with limits of time and of pinned pages. */
#include "support/vec_testing.h"

#include <shardyfusion/limits.h>

static shardy_error err;

/* --- searching one shard ---------------------------------------------------------------------- */

typedef struct search_shape {
    const float *queries;
    size_t count;
    uint32_t k;
} search_shape;

static void check_hits(
    const vectors *v, const shardy_engine_search *request, size_t q, const float *query)
{
    naive_hit *all = naive_search(v, query);
    size_t expected = v->count < request->k ? v->count : request->k;
    assert_int_equal(request->offsets[q + 1] - request->offsets[q], expected);
    for (size_t i = 0; i < expected; i++) {
        const shardy_engine_hit *hit = &request->hits[request->offsets[q] + i];
        assert_true(hit->score == all[i].score);
        assert_int_equal(shardy_key_compare(&hit->id, all[i].id), 0);
        assert_int_equal(hit->row, all[i].index);
    }
    free(all);
}

static void check_payload(const engine_reader *r, const vectors *v, uint64_t row)
{
    shardy_buf payload;
    shardy_status st = shardy__engine_payload(r, row, NULL, &payload, &err);
    assert_int_equal(st, v->payloads[row].data ? SHARDY_OK : SHARDY_NOT_FOUND);
    if (st == SHARDY_OK) {
        assert_int_equal(payload.len, v->payloads[row].len);
        assert_memory_equal(payload.data, v->payloads[row].data, payload.len);
        shardy_buf_release(&payload);
    }
}

static void search_with(const engine_reader *r, const vectors *v, const search_shape *shape)
{
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = shape->queries;
    request.query_count = shape->count;
    request.stride = v->dim;
    request.k = shape->k;
    assert_ok(shardy__engine_search(r, &request, &op, &err));
    assert_int_equal(request.offsets[0], 0);
    assert_int_equal(request.vectors_scanned, shape->k ? v->count : 0);
    for (size_t q = 0; q < shape->count; q++) {
        check_hits(v, &request, q, shape->queries + q * v->dim);
    }
    for (size_t i = 0; i < request.offsets[shape->count] && i < 20; i++) {
        check_payload(r, v, request.hits[i].row);
    }
    shardy__engine_search_finish(r, op);
}

typedef enum source_kind {
    SOURCE_MAPPED,
    SOURCE_PREAD,
    SOURCE_MEMORY,
    SOURCE_COUNT
} source_kind;

typedef struct opened {
    shardy_context *context;
    shardy_store *store;
    engine_reader reader;
} opened;

static opened open_shard(const char *dir, const vectors *v, source_kind kind)
{
    opened o;
    memset(&o, 0, sizeof o);
    if (kind == SOURCE_MEMORY) {
        image img = read_shard(dir);
        assert_ok(shardy_store_open_mem(NULL, &o.store, &err));
        put_object(o.store, "s/shard.db", img.data, img.len);
        free_image(&img);
    } else {
        assert_ok(shardy_store_open_fs(NULL, dir, NULL, &o.store, &err));
    }
    shardy_engine_reader_spec spec =
        reader_spec(o.store, v, kind == SOURCE_PREAD ? SHARDY_IO_PREAD : SHARDY_IO_MMAP);
    assert_ok(shardy__engine_reader_open(&shardy__engine_sqlite_vec, &spec, &o.reader, &err));
    assert_int_equal(shardy__engine_vector_count(&o.reader), v->count);
    return o;
}

static void close_shard(opened *o)
{
    shardy__engine_reader_close(&o->reader);
    shardy_store_close(o->store);
}

#define QUERIES 5u

static float *make_queries(const vectors *v, size_t count, support_rand *rand)
{
    float *queries = malloc(count * v->dim * sizeof *queries);
    for (size_t i = 0; i < count * v->dim; i++) {
        queries[i] = random_component(rand);
    }
    if (v->count) {
        memcpy(queries, v->data, v->dim * sizeof *queries); /* one that is stored */
    }
    queries[(count - 1) * v->dim] += 3.0f;
    return queries;
}

static void check_shard(const vectors *v, uint32_t page_size, support_rand *rand)
{
    char *dir = write_shard(&shardy__engine_sqlite_vec, v, page_size);
    float *queries = make_queries(v, QUERIES, rand);
    for (int kind = 0; kind < SOURCE_COUNT; kind++) {
        opened o = open_shard(dir, v, (source_kind)kind);
        const uint32_t ks[] = {1, 10, (uint32_t)v->count, 0, (uint32_t)v->count + 3};
        for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
            search_shape shape = {queries, i % 2 ? QUERIES : 1, ks[i]};
            search_with(&o.reader, v, &shape);
        }
        close_shard(&o);
    }
    free(queries);
    support_remove_dir(dir);
}

static void test_vec_search__every_dimension_and_page_size_gives_the_exact_hits(void **state)
{
    (void)state;
    static const uint32_t dims[] = {
        1, 2, 3, 5, 8, 17, 63, 64, 65, 100, 127, 255, 384, 511, 1000, 1023, 1024, 1025, 2000};
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        uint32_t page_size = 512u << support_rand_below(&rand, 8);
        int32_t metric = i % 2 ? SHARDY_VECTOR_METRIC_L2 : SHARDY_VECTOR_METRIC_COSINE;
        size_t count = dims[i] < 20 ? 2500 : 150;
        vectors v = make_vectors(dims[i], metric, count, &rand);
        check_shard(&v, page_size, &rand);
        free_vectors(&v);
    }
}

/* 384: floats are whole on pages of 4096 bytes; 1024: split, because the blob begins elsewhere. */
static void test_vec_search__every_page_size_gives_the_exact_hits(void **state)
{
    (void)state;
    static const uint32_t dims[] = {3, 77, 384, 1024};
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
            int32_t metric =
                page_size % 5 < 3 ? SHARDY_VECTOR_METRIC_L2 : SHARDY_VECTOR_METRIC_COSINE;
            vectors v = make_vectors(dims[i], metric, dims[i] == 3 ? 1500 : 130, &rand);
            check_shard(&v, page_size, &rand);
            free_vectors(&v);
        }
    }
}

static void test_vec_search__a_shard_without_vectors_has_no_hits(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_vectors(4, SHARDY_VECTOR_METRIC_COSINE, 0, &rand);
    check_shard(&v, 4096, &rand);
    free_vectors(&v);
}

static void test_vec_search__the_largest_dimension_is_searched(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_vectors(SHARDY_DIM_MAX, SHARDY_VECTOR_METRIC_L2, 40, &rand);
    check_shard(&v, 4096, &rand);
    check_shard(&v, 512, &rand);
    free_vectors(&v);
}

/* --- ties ------------------------------------------------------------------------------------- */

/* The first `distinct` differ, the others repeat four of them. */
static vectors make_ties(size_t count, size_t distinct, int32_t metric, support_rand *rand)
{
    vectors v = make_vectors(6, metric, count, rand);
    for (size_t i = distinct; i < count; i++) {
        memcpy(v.data + i * v.dim, v.data + (support_rand_below(rand, 4)) * v.dim,
            v.dim * sizeof *v.data);
    }
    return v;
}

static void check_ties(size_t count, size_t distinct, int32_t metric, support_rand *rand)
{
    vectors v = make_ties(count, distinct, metric, rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    float *queries = make_queries(&v, QUERIES, rand);
    opened o = open_shard(dir, &v, SOURCE_MAPPED);
    static const uint32_t ks[] = {1, 7, 100, 4096};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        search_shape shape = {queries, QUERIES, ks[i]};
        search_with(&o.reader, &v, &shape);
    }
    close_shard(&o);
    free(queries);
    support_remove_dir(dir);
    free_vectors(&v);
}

static void test_vec_search__among_ties_the_best_ids_are_the_hits(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < 4; i++) {
        check_ties(1000 + i * 300, i % 2 ? 4 : 900,
            i < 2 ? SHARDY_VECTOR_METRIC_COSINE : SHARDY_VECTOR_METRIC_L2, &rand);
    }
}

/* More than a collector keeps, so that a second scan decides. */
static void test_vec_search__ties_beyond_what_is_kept_are_decided_by_ids_as_well(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    check_ties(40000, 1000, SHARDY_VECTOR_METRIC_L2, &rand);
    check_ties(30000, 4, SHARDY_VECTOR_METRIC_COSINE, &rand);
}

/* Very many queries at once keep fewer ties each. */
static void test_vec_search__a_large_batch_with_ties_is_exact(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_ties(1200, 40, SHARDY_VECTOR_METRIC_L2, &rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    enum {
        COUNT = 3000
    };
    float *queries = make_queries(&v, COUNT, &rand);
    opened o = open_shard(dir, &v, SOURCE_MAPPED);
    search_shape shape = {queries, COUNT, 3};
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = queries;
    request.query_count = COUNT;
    request.stride = v.dim;
    request.k = shape.k;
    assert_ok(shardy__engine_search(&o.reader, &request, &op, &err));
    assert_int_equal(request.vectors_scanned, v.count);
    for (size_t q = 0; q < COUNT; q += 37) {
        check_hits(&v, &request, q, queries + q * v.dim);
    }
    shardy__engine_search_finish(&o.reader, op);
    close_shard(&o);
    free(queries);
    support_remove_dir(dir);
    free_vectors(&v);
}

/* --- what cannot be compared ------------------------------------------------------------------ */

static void test_vec_search__vectors_that_cannot_be_compared_are_left_out(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_vectors(9, SHARDY_VECTOR_METRIC_COSINE, 500, &rand);
    memset(v.data + 3 * v.dim, 0, v.dim * sizeof *v.data);
    v.data[7 * v.dim + 2] = NAN;
    v.data[11 * v.dim] = INFINITY;
    v.data[12 * v.dim + 8] = -INFINITY;
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    float *queries = make_queries(&v, 1, &rand);
    opened o = open_shard(dir, &v, SOURCE_MAPPED);
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = queries;
    request.query_count = 1;
    request.stride = v.dim;
    request.k = 1000;
    assert_ok(shardy__engine_search(&o.reader, &request, &op, &err));
    assert_int_equal(request.offsets[1], v.count - 4);
    for (size_t i = 0; i < request.offsets[1]; i++) {
        uint64_t row = request.hits[i].row;
        assert_true(row != 3 && row != 7 && row != 11 && row != 12);
    }
    shardy__engine_search_finish(&o.reader, op);
    close_shard(&o);
    free(queries);
    support_remove_dir(dir);
    free_vectors(&v);
}

static void test_vec_search__the_writer_refuses_a_metric_that_sqlite_vec_has_not(void **state)
{
    (void)state;
    shardy_engine_writer_spec spec;
    engine_writer w;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.scratch_dir = "/nowhere";
    spec.page_size = 4096;
    spec.dim = 4;
    spec.metric = SHARDY_VECTOR_METRIC_DOT;
    assert_status(
        SHARDY_INVALID, shardy__engine_writer_open(&shardy__engine_sqlite_vec, &spec, &w, &err));
}

/* --- limits ----------------------------------------------------------------------------------- */

static int64_t ticking_ns(void *user)
{
    int64_t *now = user;
    return *now += 1000;
}

static shardy_status search_once(const engine_reader *r, const float *query, uint32_t dim,
    int64_t deadline_ns, const shardy_cancel *cancel)
{
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = dim;
    request.k = 10;
    request.deadline_ns = deadline_ns;
    request.cancel = cancel;
    shardy_status st = shardy__engine_search(r, &request, &op, &err);
    shardy__engine_search_finish(r, op);
    return st;
}

static void test_vec_search__a_deadline_and_a_cancellation_end_it_between_blocks(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    vectors v = make_vectors(500, SHARDY_VECTOR_METRIC_L2, 3000, &rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, 4096);
    int64_t now = 0;
    shardy_context_options options;
    shardy_context *context;
    shardy_context_options_init(&options, sizeof options);
    options.clock.monotonic_ns = ticking_ns;
    options.clock.user = &now;
    assert_ok(shardy_context_new(&options, &context, &err));
    shardy_store *store;
    engine_reader reader;
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    shardy_engine_reader_spec spec = reader_spec(store, &v, SHARDY_IO_MMAP);
    spec.context = context;
    assert_ok(shardy__engine_reader_open(&shardy__engine_sqlite_vec, &spec, &reader, &err));
    /* 6 MB: at least ten looks at the clock, each a microsecond later than the one before. */
    assert_int_equal(search_once(&reader, v.data, v.dim, now + 1000000000, NULL), SHARDY_OK);
    assert_int_equal(search_once(&reader, v.data, v.dim, now + 10000, NULL), SHARDY_TIMEOUT);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    assert_int_equal(search_once(&reader, v.data, v.dim, 0, cancel), SHARDY_OK);
    shardy_cancel_request(cancel);
    assert_int_equal(search_once(&reader, v.data, v.dim, 0, cancel), SHARDY_CANCELLED);
    shardy_cancel_free(cancel);
    shardy__engine_reader_close(&reader);
    shardy_store_close(store);
    shardy_context_free(context);
    support_remove_dir(dir);
    free_vectors(&v);
}

/* --- pages that come and go ------------------------------------------------------------------- */

/* Notes how many pages were held at once. */
typedef struct counting_source {
    shy_source shy; /* first member */
    size_t held_max;
} counting_source;

static shardy_status counting_fetch(void *state, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *error)
{
    counting_source *c = state;
    SHARDY_TRY(shy_fetch(state, page_size, wants, count, limits, error));
    c->held_max = c->shy.held > c->held_max ? c->shy.held : c->held_max;
    return SHARDY_OK;
}

static void check_pins(uint32_t dim, uint32_t page_size, support_rand *rand)
{
    static const page_source_ops ops = {shy_get, counting_fetch, shy_unpin, shy_close, NULL};
    vectors v = make_vectors(dim, SHARDY_VECTOR_METRIC_COSINE, 1100, rand);
    char *dir = write_shard(&shardy__engine_sqlite_vec, &v, page_size);
    image img = read_shard(dir);
    counting_source counting;
    memset(&counting, 0, sizeof counting);
    counting.shy.img = &img;
    page_source *source;
    vec_tables tables;
    shardy_engine_reader_spec spec = reader_spec(NULL, &v, 0);
    assert_ok(shardy__page_source_custom_take(&ops, &counting, img.len, 0, &source, &err));
    assert_ok(shardy__vec_tables_open_take(&tables, &spec, source, &err));
    assert_int_equal(counting.shy.held, 0);
    /* Opening reads the chunks, not their vectors. */
    assert_true(counting.shy.pages * page_size < img.len / 2 || counting.shy.pages < 60);
    size_t opened_with = counting.shy.pages;
    counting.held_max = 0;
    shardy_engine_search request;
    vec_search *search;
    memset(&request, 0, sizeof request);
    float *queries = make_queries(&v, 2, rand);
    request.queries = queries;
    request.query_count = 2;
    request.stride = dim;
    request.k = 10;
    assert_ok(shardy__vec_search_new(&tables, &request, &search, &err));
    assert_ok(shardy__vec_search_run(search, &err));
    check_hits(&v, &request, 0, queries);
    check_hits(&v, &request, 1, queries + dim);
    assert_true(counting.held_max <= (512u << 10) / (page_size - 4) + 4);
    assert_true(counting.held_max * page_size >= 300000 || page_size > 32768 ||
                img.len < 1000000); /* many at once, too */
    assert_true(counting.shy.pages - opened_with < 3 * img.len / page_size + 200);
    shardy__vec_search_free(search);
    assert_int_equal(counting.shy.held, 0);
    shardy__vec_tables_close(&tables);
    assert_int_equal(counting.shy.held, 0);
    free(queries);
    free_image(&img);
    support_remove_dir(dir);
    free_vectors(&v);
}

static void test_vec_search__pages_that_are_held_at_once_are_bounded(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    check_pins(384, 4096, &rand);
    check_pins(1024, 4096, &rand);
    check_pins(333, 512, &rand);
    check_pins(20, 65536, &rand);
    check_pins(700, 65536, &rand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vec_search__every_dimension_and_page_size_gives_the_exact_hits),
        cmocka_unit_test(test_vec_search__every_page_size_gives_the_exact_hits),
        cmocka_unit_test(test_vec_search__a_shard_without_vectors_has_no_hits),
        cmocka_unit_test(test_vec_search__the_largest_dimension_is_searched),
        cmocka_unit_test(test_vec_search__among_ties_the_best_ids_are_the_hits),
        cmocka_unit_test(test_vec_search__ties_beyond_what_is_kept_are_decided_by_ids_as_well),
        cmocka_unit_test(test_vec_search__a_large_batch_with_ties_is_exact),
        cmocka_unit_test(test_vec_search__vectors_that_cannot_be_compared_are_left_out),
        cmocka_unit_test(test_vec_search__the_writer_refuses_a_metric_that_sqlite_vec_has_not),
        cmocka_unit_test(test_vec_search__a_deadline_and_a_cancellation_end_it_between_blocks),
        cmocka_unit_test(test_vec_search__pages_that_are_held_at_once_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
