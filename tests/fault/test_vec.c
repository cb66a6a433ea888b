/* Opening and searching a shard of vectors when memory or reading fails. */
#include "support/vec_testing.h"
#include "engine/vec_best.h"
#include "support/sweep.h"

typedef struct search_state {
    vectors v;
    char *dir;
    shardy_store *store;
    int32_t io;
} search_state;

static void *search_setup(const void *param)
{
    shardy_error err = {0};
    support_rand rand = {7};
    search_state *s = calloc(1, sizeof *s);
    s->io = param ? SHARDY_IO_PREAD : SHARDY_IO_MMAP;
    s->v = make_vectors(300, SHARDY_VECTOR_METRIC_COSINE, 40, &rand);
    for (size_t i = 20; i < 40; i++) {
        memcpy(s->v.data + i * 300, s->v.data, 300 * sizeof(float)); /* ties */
    }
    s->dir = write_shard(&shardy__engine_sqlite_vec, &s->v, 4096);
    assert_ok(shardy_store_open_fs(NULL, s->dir, NULL, &s->store, &err));
    return s;
}

static void search_teardown(void *state)
{
    search_state *s = state;
    shardy_store_close(s->store);
    support_remove_dir(s->dir);
    free_vectors(&s->v);
    free(s);
}

static shardy_status search_operation(void *state, shardy_error *err)
{
    search_state *s = state;
    engine_reader reader;
    shardy_engine_reader_spec spec = reader_spec(s->store, &s->v, s->io);
    SHARDY_TRY(shardy__engine_reader_open(&shardy__engine_sqlite_vec, &spec, &reader, err));
    shardy_engine_search request;
    void *op = NULL;
    memset(&request, 0, sizeof request);
    request.queries = s->v.data;
    request.query_count = 2;
    request.stride = 300;
    request.k = 3;
    shardy_status st = shardy__engine_search(&reader, &request, &op, err);
    if (st >= 0 && (request.offsets[1] != 3 || request.offsets[2] != 6)) {
        st = shardy__error(err, SHARDY_INTERNAL, "test", "hits are missing");
    }
    for (size_t i = 0; st >= 0 && i < request.offsets[2]; i++) {
        shardy_buf payload;
        st = shardy__engine_payload(&reader, request.hits[i].row, NULL, &payload, err);
        shardy_buf_release(&payload);
    }
    shardy__engine_search_finish(&reader, op);
    shardy__engine_reader_close(&reader);
    return st;
}

static void test_fault__a_search_survives_a_lack_of_memory(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "search a mapped shard";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC);
    c.setup = search_setup;
    c.operation = search_operation;
    c.teardown = search_teardown;
    sweep_run(&c);
}

static void test_fault__a_search_survives_reads_that_fail(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "search a shard through the cache";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ);
    c.setup = search_setup;
    c.operation = search_operation;
    c.teardown = search_teardown;
    c.param = "pread";
    sweep_run(&c);
}

/* The second scan of a search with very many ties. */
static shardy_status best_operation(void *state, shardy_error *err)
{
    search_state *s = state;
    vec_tables tables;
    shardy_engine_reader_spec spec = reader_spec(s->store, &s->v, s->io);
    SHARDY_TRY(shardy__vec_tables_open(&tables, &spec, err));
    vec_best best;
    shardy_status st = shardy__vec_best_init(&best, &tables, 4, 1.0, err);
    for (int64_t row = 0; st >= 0 && row < 40; row++) {
        st = shardy__vec_best_offer(&best, row < 30 ? 0.5 : 0.25, row, err);
    }
    if (st >= 0) {
        shardy__vec_best_finish(&best);
    }
    shardy__vec_best_free(&best);
    shardy__vec_tables_close(&tables);
    return st;
}

static void test_fault__deciding_ties_survives_a_lack_of_memory(void **state)
{
    (void)state;
    sweep_case c = {0};
    c.name = "decide ties";
    c.kinds = SWEEP_BIT(SWEEP_ALLOC);
    c.setup = search_setup;
    c.operation = best_operation;
    c.teardown = search_teardown;
    sweep_run(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault__a_search_survives_a_lack_of_memory),
        cmocka_unit_test(test_fault__a_search_survives_reads_that_fail),
        cmocka_unit_test(test_fault__deciding_ties_survives_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
