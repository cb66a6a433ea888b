/* Round trips against a server: every request is held until those of one step are all there, so
 * what is counted is who waits for whom, and no time is looked at. */
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS    8u
#define ROWS      8000u
#define VALUE_LEN 400u
#define DIM       8u
#define STEPS_MAX 8u

static server *s3;

typedef struct bucket {
    shardy_context *context; /* one thread: waiting for a store needs no processor */
    shardy_store *store;
    shardy_key keys[SHARDS]; /* one of each shard, from its middle */
    char texts[SHARDS][24];
} bucket;

static shardy_key key_of(uint32_t row, char text[24])
{
    int len = snprintf(text, 24, "key-%012u", row);
    return shardy_key_text(text, (size_t)len);
}

static void vector_of(uint32_t row, float vector[DIM])
{
    for (uint32_t i = 0; i < DIM; i++) {
        vector[i] = (float)((row * 2654435761u + i * 40503u) >> 8 & 0xffff) / 65536.0f + 0.01f;
    }
}

static void build(shardy_store *store, int32_t sidecar, int vectors)
{
    shardy_error err = {0};
    shardy_writer_options o;
    shardy_writer *w = NULL;
    char *scratch = support_make_dir();
    char value[VALUE_LEN];
    memset(value, 'v', sizeof value);
    shardy_writer_options_init(&o, sizeof o);
    o.num_dbs = SHARDS;
    o.store = store;
    o.scratch_dir = scratch;
    o.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    o.sync = 0;
    o.sidecar = sidecar;
    o.dim = vectors ? DIM : 0;
    o.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    assert_ok(shardy_writer_open(NULL, NULL, &o, &w, &err));
    for (uint32_t i = 0; i < ROWS; i++) {
        char text[24];
        float vector[DIM];
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = key_of(i, text);
        row.value = (shardy_bytes){value, sizeof value};
        if (vectors) {
            vector_of(i, vector);
            row.vector = vector;
            row.dim = DIM;
        }
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    support_remove_dir(scratch);
}

static shardy_reader *open_reader(const bucket *b, const shardy_key *first_key)
{
    shardy_error err = {0};
    shardy_reader *reader = NULL;
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.store = b->store;
    o.access = SHARDY_ACCESS_RANGE;
    o.first_key = first_key;
    assert_ok(shardy_reader_open(b->context, NULL, &o, &reader, &err));
    return reader;
}

static void make_bucket(bucket *b, const char *url, int32_t sidecar, int vectors)
{
    shardy_error err = {0};
    shardy_store_s3_options o;
    shardy_context_options c;
    server_reset(s3);
    shardy_context_options_init(&c, sizeof c);
    c.threads = 1;
    assert_ok(shardy_context_new(&c, &b->context, &err));
    shardy_store_s3_options_init(&o, sizeof o);
    o.endpoint_url = server_url(s3);
    o.region = SERVER_REGION;
    o.access_key_id = SERVER_ACCESS_KEY;
    o.secret_access_key = SERVER_SECRET_KEY;
    o.proxy = "";
    assert_ok(shardy_store_open_s3(b->context, url, &o, &b->store, &err));
    build(b->store, sidecar, vectors);
    shardy_reader *reader = open_reader(b, NULL);
    uint32_t found = 0;
    for (uint32_t row = ROWS / 2; found < SHARDS; row++) {
        char text[24];
        uint32_t db_id = 0;
        shardy_key key = key_of(row, text);
        assert_ok(shardy_reader_route_key(reader, &key, NULL, &db_id, &err));
        if (!b->texts[db_id][0]) {
            b->keys[db_id] = key_of(row, b->texts[db_id]);
            found++;
        }
    }
    shardy_reader_close(reader);
    server_reset(s3);
}

static void free_bucket(bucket *b)
{
    shardy_store_close(b->store);
    shardy_context_free(b->context);
}

/* --- a call, and the steps it takes ----------------------------------------------------------- */

typedef struct work {
    const bucket *bucket;
    shardy_reader *reader; /* NULL: opened by the call */
    const shardy_key *first_key;
    const shardy_key *keys;
    size_t key_count;
    int search;
    shardy_status status;
    shardy_error err;
} work;

static void *run_work(void *user)
{
    work *w = user;
    shardy_reader *reader = w->reader ? w->reader : open_reader(w->bucket, w->first_key);
    if (w->search) {
        float vector[DIM];
        shardy_query query;
        shardy_hits hits;
        vector_of(17, vector);
        shardy_query_init(&query, sizeof query);
        query.vectors = vector;
        query.count = 1;
        query.dim = DIM;
        w->status = shardy_reader_search(reader, &query, NULL, &hits, &w->err);
        shardy_hits_dispose(&hits);
    } else if (w->key_count == 1) {
        shardy_buf value;
        w->status = shardy_reader_get(reader, &w->keys[0], NULL, &value, &w->err);
        shardy_buf_release(&value);
    } else {
        shardy_values values;
        w->status = shardy_reader_multi_get(reader, w->keys, w->key_count, NULL, &values, &w->err);
        for (size_t i = 0; w->status == SHARDY_OK && i < values.count; i++) {
            w->status = values.values[i].status;
        }
        shardy_values_dispose(&values);
    }
    if (!w->reader) {
        shardy_reader_close(reader);
    }
    return NULL;
}

/* Runs a call whose requests are held: `steps` says how many come together, step by step, until a
 * zero. More or fewer, or some that come one after the other, hang or fail. */
static void check_steps(work *w, const unsigned *steps)
{
    pthread_t thread;
    unsigned count = 0;
    unsigned requests = 0;
    server_reset(s3);
    server_faults(s3, "[{\"kind\": \"hold\", \"applied\": true}]");
    assert_int_equal(pthread_create(&thread, NULL, run_work, w), 0);
    for (; steps[count]; count++) {
        server_wait_held(s3, steps[count]);
        server_release(s3, 0);
        requests += steps[count];
    }
    pthread_join(thread, NULL);
    shardy_error err = w->err;
    assert_ok(w->status);
    assert_int_equal(server_count(s3, "requests", NULL), requests);
    assert_int_equal(server_count(s3, "round_trips", NULL), count);
    server_faults(s3, NULL);
}

static void test_s3__a_first_value_takes_as_many_round_trips_as_promised(void **state)
{
    (void)state;
    /* pointer; manifest; sidecar and digests; leaf */
    static const unsigned with_sidecar[STEPS_MAX] = {1, 1, 2, 1};
    /* pointer; manifest, sidecar and digests; leaf */
    static const unsigned told[STEPS_MAX] = {1, 3, 1};
    /* pointer; manifest; first chunk, digests and interior pages; leaf */
    static const unsigned without[STEPS_MAX] = {1, 1, 3, 1};
    static const unsigned later[STEPS_MAX] = {1};
    bucket b = {0};
    make_bucket(&b, "s3://" SERVER_BUCKET "/sidecar", SHARDY_SIDECAR_AUTO, 0);
    work w = {.bucket = &b, .keys = &b.keys[3], .key_count = 1};
    check_steps(&w, with_sidecar);
    w.first_key = &b.keys[3];
    check_steps(&w, told);
    /* A later key, and one that is not there. */
    char text[24];
    shardy_key other = key_of(ROWS / 8, text);
    w.reader = open_reader(&b, NULL);
    shardy_error err = {0};
    uint32_t db_id = 0;
    assert_ok(shardy_reader_route_key(w.reader, &other, NULL, &db_id, &err));
    w.keys = &b.keys[db_id];
    run_work(&w);
    assert_ok(w.status);
    w.keys = &other;
    check_steps(&w, later);
    shardy_reader_close(w.reader);
    free_bucket(&b);

    bucket plain = {0};
    make_bucket(&plain, "s3://" SERVER_BUCKET "/plain", SHARDY_SIDECAR_NEVER, 0);
    work p = {.bucket = &plain, .keys = &plain.keys[3], .key_count = 1};
    check_steps(&p, without);
    free_bucket(&plain);
}

static void test_s3__keys_of_many_shards_take_as_many_round_trips_as_those_of_one(void **state)
{
    (void)state;
    static const unsigned one[STEPS_MAX] = {2, 1};
    static const unsigned all[STEPS_MAX] = {2 * SHARDS, SHARDS};
    bucket b = {0};
    make_bucket(&b, "s3://" SERVER_BUCKET "/many", SHARDY_SIDECAR_AUTO, 0);
    work w = {.bucket = &b, .keys = b.keys, .key_count = 1, .reader = open_reader(&b, NULL)};
    check_steps(&w, one);
    shardy_reader_close(w.reader);
    w.key_count = SHARDS;
    w.reader = open_reader(&b, NULL);
    check_steps(&w, all);
    shardy_reader_close(w.reader);
    free_bucket(&b);
}

/* Each shard has requests in each of the first two steps. */
static void check_together(work *w, unsigned opening)
{
    pthread_t thread;
    server_reset(s3);
    server_faults(s3, "[{\"kind\": \"hold\", \"applied\": true}]");
    assert_int_equal(pthread_create(&thread, NULL, run_work, w), 0);
    server_wait_held(s3, opening);
    server_release(s3, 0);
    server_wait_held(s3, SHARDS);
    server_faults(s3, NULL);
    server_release(s3, 0);
    pthread_join(thread, NULL);
    shardy_error err = w->err;
    assert_ok(w->status);
}

static void test_s3__shards_without_sidecars_are_asked_at_once(void **state)
{
    (void)state;
    bucket b = {0};
    make_bucket(&b, "s3://" SERVER_BUCKET "/vectors", SHARDY_SIDECAR_NEVER, 1);
    work w = {.bucket = &b, .keys = b.keys, .key_count = SHARDS, .reader = open_reader(&b, NULL)};
    /* first chunk, digests, end of the file; then interior pages, leaves or lists of chunks */
    check_together(&w, 3 * SHARDS);
    shardy_reader_close(w.reader);
    w.reader = open_reader(&b, NULL);
    w.search = 1;
    check_together(&w, 3 * SHARDS);
    shardy_reader_close(w.reader);
    free_bucket(&b);
}

static void test_s3__a_refresh_with_nothing_new_is_one_request_without_a_body(void **state)
{
    (void)state;
    shardy_error err = {0};
    bucket b = {0};
    make_bucket(&b, "s3://" SERVER_BUCKET "/refresh", SHARDY_SIDECAR_AUTO, 0);
    shardy_reader *reader = open_reader(&b, NULL);
    server_reset(s3);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    assert_int_equal(server_count(s3, "requests", NULL), 1);
    assert_int_equal(server_count(s3, "status.304", NULL), 1);
    assert_int_equal(server_count(s3, "bytes_out", NULL), 0);
    /* The same again for a snapshot that came by a refresh. */
    build(b.store, SHARDY_SIDECAR_AUTO, 0);
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    server_reset(s3);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    assert_int_equal(server_count(s3, "requests", NULL), 1);
    assert_int_equal(server_count(s3, "status.304", NULL), 1);
    shardy_reader_close(reader);
    free_bucket(&b);
}

static int start(void **state)
{
    (void)state;
    s3 = server_start_s3(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(s3);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s3__a_first_value_takes_as_many_round_trips_as_promised),
        cmocka_unit_test(test_s3__keys_of_many_shards_take_as_many_round_trips_as_those_of_one),
        cmocka_unit_test(test_s3__shards_without_sidecars_are_asked_at_once),
        cmocka_unit_test(test_s3__a_refresh_with_nothing_new_is_one_request_without_a_body),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
