/* Rate limits of writers and readers: exact waits on a clock by hand, and searches of many threads
 * under a limit, which must neither hang nor lose or change a hit. */
#include "base/context.h"
#include "base/thread.h"
#include "support/dataset.h"
#include "support/hand_clock.h"
#include "support/support.h"

#include <string.h>

#define STAMP "run-limited"

typedef struct fixture {
    char *dir;
    hand_clock clock;
    shardy_context *context;
} fixture;

static void fixture_open(fixture *f)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    f->dir = support_make_dir();
    f->context = hand_clock_context(&f->clock);
    assert_ok(dataset_build(NULL, f->dir, STAMP, &options, &err));
}

static void fixture_close(fixture *f)
{
    shardy_context_free(f->context);
    support_remove_dir(f->dir);
}

static int64_t now_ms(const fixture *f)
{
    return f->clock.monotonic_ns / 1000000;
}

static shardy_reader *open_reader(fixture *f, shardy_context *context, double rate)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.max_reads_per_second = rate;
    assert_ok(shardy_reader_open(context, f->dir, &options, &reader, &err));
    return reader;
}

/* --- writers ---------------------------------------------------------------------------------- */

/* Time that a build of all rows takes under the limits; the clock stands still otherwise. */
static int64_t build_ms(fixture *f, double rows, double bytes)
{
    shardy_error err = {0};
    shardy_writer *writer;
    shardy_writer_options options;
    char *dir = support_make_dir();
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = DATASET_SHARDS;
    options.threads = 1;
    options.sync = 0;
    options.max_rows_per_second = rows;
    options.max_row_bytes_per_second = bytes;
    assert_ok(shardy_writer_open(f->context, dir, &options, &writer, &err));
    int64_t begin = now_ms(f);
    for (uint32_t i = 0; i < DATASET_ROWS; i++) {
        dataset_row_texts texts;
        shardy_row row;
        dataset_fill_row("s", i, 100, &texts, &row);
        row.value.len = 100 - row.key.bytes.len;
        row.vector = NULL;
        row.dim = 0;
        row.payload = (shardy_bytes){NULL, 0};
        assert_ok(shardy_writer_put(writer, &row, &err));
    }
    int64_t took = now_ms(f) - begin;
    shardy_build_result result;
    assert_ok(shardy_writer_finish(writer, &result, &err));
    assert_int_equal(result.row_count, DATASET_ROWS);
    shardy_build_result_dispose(&result);
    shardy_writer_close(writer);
    support_remove_dir(dir);
    return took;
}

/* The rows of all shards together; the reference hangs at rates below its batch. */
static void test_rate__of_rows_holds_a_writer_to_it(void **state)
{
    (void)state;
    shardy_error err = {0};
    fixture f;
    fixture_open(&f);
    assert_int_equal(build_ms(&f, 0, 0), 0);
    assert_in_range(build_ms(&f, 4, 0), 5000, 5001); /* 24 rows, 4 at once */
    assert_in_range(build_ms(&f, 0.5, 0), 46000, 46001);
    assert_in_range(build_ms(&f, 0, 400), 5000, 5001);  /* 100 bytes each */
    assert_in_range(build_ms(&f, 0, 50), 46000, 46001); /* a row is more than a second's worth */
    shardy_writer *writer;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.max_rows_per_second = -1;
    assert_status(SHARDY_INVALID, shardy_writer_open(NULL, f.dir, &options, &writer, &err));
    options.max_rows_per_second = 0;
    options.max_row_bytes_per_second = -1;
    assert_status(SHARDY_INVALID, shardy_writer_open(NULL, f.dir, &options, &writer, &err));
    fixture_close(&f);
}

/* --- readers ---------------------------------------------------------------------------------- */

static void test_rate__of_reads_holds_every_kind_of_call_to_it(void **state)
{
    (void)state;
    shardy_error err = {0};
    fixture f;
    fixture_open(&f);
    shardy_reader *reader = open_reader(&f, f.context, 10);
    shardy_snapshot *snapshot;
    assert_ok(shardy_reader_pin(reader, &snapshot, &err));
    int64_t begin = now_ms(&f);
    char texts[DATASET_ROWS][16];
    shardy_key keys[DATASET_ROWS];
    for (uint32_t i = 0; i < DATASET_ROWS; i++) {
        keys[i] = dataset_key(i, texts[i]);
    }
    for (uint32_t i = 0; i < 20; i++) { /* one each */
        shardy_buf value;
        assert_ok(i % 2 ? shardy_reader_get(reader, &keys[i], NULL, &value, &err)
                        : shardy_snapshot_get(snapshot, &keys[i], NULL, &value, &err));
        shardy_buf_release(&value);
    }
    assert_in_range(now_ms(&f) - begin, 1000, 1001);
    /* one for each key, more than a second's worth of them */
    shardy_values values;
    assert_ok(shardy_reader_multi_get(reader, keys, DATASET_ROWS, NULL, &values, &err));
    shardy_values_dispose(&values);
    assert_in_range(now_ms(&f) - begin, 2000, 2001);
    assert_ok(shardy_snapshot_multi_get(snapshot, keys, DATASET_ROWS, NULL, &values, &err));
    shardy_values_dispose(&values);
    assert_in_range(now_ms(&f) - begin, 4400, 4401);
    /* one for each query */
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    dataset_query(vector, &query);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    shardy_hits_dispose(&hits);
    assert_ok(shardy_snapshot_search(snapshot, &query, NULL, &hits, &err));
    shardy_hits_dispose(&hits);
    assert_in_range(now_ms(&f) - begin, 6000, 6001);
    shardy_snapshot_close(snapshot);
    shardy_reader_close(reader);
    fixture_close(&f);
}

static void test_rate__a_read_that_would_be_late_says_so_at_once(void **state)
{
    (void)state;
    shardy_error err = {0};
    fixture f;
    fixture_open(&f);
    shardy_reader *reader = open_reader(&f, f.context, 1);
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    dataset_query(vector, &query);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    shardy_hits_dispose(&hits);
    shardy_read_options options;
    shardy_read_options_init(&options, sizeof options);
    options.timeout_ms = 500;
    int64_t begin = now_ms(&f);
    for (int i = 0; i < 20; i++) {
        assert_status(SHARDY_TIMEOUT, shardy_reader_search(reader, &query, &options, &hits, &err));
    }
    assert_int_equal(now_ms(&f), begin);
    options.timeout_ms = 1500; /* the wait is a part of it */
    assert_ok(shardy_reader_search(reader, &query, &options, &hits, &err));
    shardy_hits_dispose(&hits);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    options.cancel = cancel;
    begin = now_ms(&f);
    assert_status(SHARDY_CANCELLED, shardy_reader_search(reader, &query, &options, &hits, &err));
    assert_int_equal(now_ms(&f), begin);
    shardy_cancel_free(cancel);
    shardy_reader_close(reader);
    shardy_reader_options wrong;
    shardy_reader_options_init(&wrong, sizeof wrong);
    wrong.max_reads_per_second = -1;
    assert_status(SHARDY_INVALID, shardy_reader_open(NULL, f.dir, &wrong, &reader, &err));
    fixture_close(&f);
}

#define THREADS 8u
#define EACH    40u

typedef struct searcher {
    const shardy_reader *reader;
    const shardy_hits *expected;
    uint32_t right;
    thread thread;
} searcher;

static int same_hits(const shardy_hits *a, const shardy_hits *b)
{
    if (a->query_count != b->query_count || a->offsets[a->query_count] != b->offsets[1]) {
        return 0;
    }
    for (size_t i = 0; i < a->offsets[1]; i++) {
        const shardy_hit *x = &a->hits[i];
        const shardy_hit *y = &b->hits[i];
        if (x->score != y->score || x->db_id != y->db_id || x->payload.len != y->payload.len ||
            memcmp(x->payload.data, y->payload.data, x->payload.len) != 0) {
            return 0;
        }
    }
    return 1;
}

static void *search_all(void *arg)
{
    searcher *s = arg;
    for (uint32_t i = 0; i < EACH; i++) {
        float vector[DATASET_DIM];
        shardy_query query;
        shardy_hits hits;
        shardy_error err;
        dataset_query(vector, &query);
        if (shardy_reader_search(s->reader, &query, NULL, &hits, &err) == SHARDY_OK) {
            s->right += (uint32_t)same_hits(&hits, s->expected);
        }
        shardy_hits_dispose(&hits);
    }
    return NULL;
}

/* Throttled searches do not block each other for ever, and none drops a result. */
static void test_rate__throttled_searches_of_many_threads_all_give_all_hits(void **state)
{
    (void)state;
    shardy_error err = {0};
    fixture f;
    shardy_context *context;
    searcher searchers[THREADS];
    fixture_open(&f);
    assert_ok(shardy_context_new(NULL, &context, &err));
    shardy_reader *free_reader = open_reader(&f, context, 0);
    shardy_reader *reader = open_reader(&f, context, 1000);
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits expected;
    dataset_query(vector, &query);
    assert_ok(shardy_reader_search(free_reader, &query, NULL, &expected, &err));
    assert_true(expected.offsets[1] > 1);
    /* more than a second's worth of keys at once, so that all have to wait */
    static char texts[1200][16];
    static shardy_key keys[1200];
    for (uint32_t i = 0; i < 1200; i++) {
        keys[i] = dataset_key(i % DATASET_ROWS, texts[i]);
    }
    shardy_values values;
    assert_ok(shardy_reader_multi_get(reader, keys, 1200, NULL, &values, &err));
    shardy_values_dispose(&values);
    for (uint32_t i = 0; i < THREADS; i++) {
        searchers[i] = (searcher){.reader = reader, .expected = &expected};
        assert_ok(
            shardy__thread_start(&searchers[i].thread, search_all, &searchers[i], "search", &err));
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        shardy__thread_join(searchers[i].thread);
        assert_int_equal(searchers[i].right, EACH);
    }
    assert_true(shardy_context_metric(context, SHARDY_METRIC_LIMIT_WAITS) > 0);
    shardy_hits_dispose(&expected);
    shardy_reader_close(reader);
    shardy_reader_close(free_reader);
    shardy_context_free(context);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate__of_rows_holds_a_writer_to_it),
        cmocka_unit_test(test_rate__of_reads_holds_every_kind_of_call_to_it),
        cmocka_unit_test(test_rate__a_read_that_would_be_late_says_so_at_once),
        cmocka_unit_test(test_rate__throttled_searches_of_many_threads_all_give_all_hits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
