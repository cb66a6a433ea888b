/* What a reader promises: one snapshot per call, values that stay, refresh, pins, fallback, bounds,
 * deadlines. Everything is asked through the public interface, on a directory or a store. */
#include "support/hand_clock.h"
#include "support/script_store.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS    200u
#define NUM_DBS 4u
#define DIM     3u

static shardy_error err;

/* --- snapshots -------------------------------------------------------------------------------- */

/* A store in memory, a clock moved by hand, and two runs in it, "one" and "two". */
typedef struct reader_fixture {
    hand_clock clock;
    shardy_context *context;
    shardy_store *store;
} reader_fixture;

/* The value of a key tells the run that wrote it; so does the vector's distance to zero. */
static void put_rows(shardy_writer *w, const char *run, uint32_t rows)
{
    for (uint32_t i = 0; i < rows; i++) {
        char value[64];
        float vector[DIM] = {(float)(i + 1), run[0] == 'o' ? 1.0f : 2.0f, 0.0f};
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_int(i);
        row.value.len = (size_t)snprintf(value, sizeof value, "%s-%u", run, i);
        row.value.data = value;
        row.vector = vector;
        row.dim = DIM;
        assert_ok(shardy_writer_put(w, &row, &err));
    }
}

static void publish_shards(shardy_context *context, const char *url, shardy_store *store,
    const char *run, uint32_t rows, uint32_t num_dbs)
{
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.run_id = run;
    options.num_dbs = num_dbs;
    options.key_encoding = SHARDY_KEY_ENCODING_U64BE;
    options.dim = DIM;
    options.engine = "sqlite-vec";
    options.metric = SHARDY_VECTOR_METRIC_L2;
    options.store = store;
    options.sync = 0;
    shardy_writer *w;
    assert_ok(shardy_writer_open(context, url, &options, &w, &err));
    put_rows(w, run, rows);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
}

static void publish(
    shardy_context *context, const char *url, shardy_store *store, const char *run, uint32_t rows)
{
    publish_shards(context, url, store, run, rows, NUM_DBS);
}

static int setup(void **state)
{
    reader_fixture *f = calloc(1, sizeof *f);
    f->context = hand_clock_context(&f->clock);
    assert_ok(shardy_store_open_mem(f->context, &f->store, &err));
    publish(f->context, NULL, f->store, "one", ROWS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    reader_fixture *f = *state;
    shardy_store_close(f->store);
    shardy_context_free(f->context);
    free(f);
    return 0;
}

static shardy_reader *open_reader(reader_fixture *f, const shardy_reader_options *given)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    if (given) {
        options = *given;
    }
    options.store = f->store;
    assert_ok(shardy_reader_open(f->context, NULL, &options, &reader, &err));
    return reader;
}

static void check_value(shardy_buf *value, const char *run, uint32_t i)
{
    char expected[64];
    int len = snprintf(expected, sizeof expected, "%s-%u", run, i);
    assert_int_equal(value->len, len);
    assert_memory_equal(value->data, expected, (size_t)len);
}

static void check_get(const shardy_reader *reader, const char *run, uint32_t i)
{
    shardy_key key = shardy_key_int(i);
    shardy_buf value;
    assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
    check_value(&value, run, i);
    shardy_buf_release(&value);
}

static void make_query(shardy_query *query, const float vector[DIM], uint32_t top_k)
{
    shardy_query_init(query, sizeof *query);
    query->vectors = vector;
    query->count = 1;
    query->dim = DIM;
    query->top_k = top_k;
}

/* Replaces an object by one whose byte in the middle differs, or removes it. */
static void damage(shardy_store *store, const char *key, int remove)
{
    shardy_bytes name = {key, strlen(key)};
    if (remove) {
        int32_t result;
        assert_ok(shardy_store_remove(store, &name, 1, &result, &err));
        return;
    }
    shardy_buf body;
    assert_ok(shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
    uint8_t *copy = malloc(body.len);
    memcpy(copy, body.data, body.len);
    copy[body.len / 2] ^= 0xff;
    shardy_store_put put = {0};
    put.key = name;
    put.body.data = copy;
    put.body.len = body.len;
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    shardy_buf_release(&body);
    free(copy);
}

/* The first object whose key begins with one text and ends with another. */
static void find_key(
    shardy_store *store, const char *begin, const char *end, char *key_out, size_t size)
{
    shardy_store_page page;
    assert_ok(shardy_store_list(store, "", 0, NULL, 1000, &page, &err));
    key_out[0] = '\0';
    for (size_t i = 0; i < page.count && !key_out[0]; i++) {
        const char *key = page.entries[i].key;
        size_t len = strlen(key);
        if (strncmp(key, begin, strlen(begin)) == 0 && len >= strlen(end) &&
            strcmp(key + len - strlen(end), end) == 0) {
            snprintf(key_out, size, "%s", key);
        }
    }
    shardy_store_page_dispose(&page);
    assert_true(key_out[0] != '\0');
}

/* --- values and snapshots --------------------------------------------------------------------- */

static void test_reader__values_outlive_refresh_eviction_and_close(void **state)
{
    (void)state;
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    char *dir = support_make_dir();
    publish(context, dir, NULL, "one", ROWS);
    static const int32_t modes[] = {SHARDY_IO_MMAP, SHARDY_IO_PREAD};
    for (size_t m = 0; m < 2; m++) {
        shardy_reader_options options;
        shardy_reader_options_init(&options, sizeof options);
        options.io = modes[m];
        options.open_shards_max = 1;
        shardy_reader *reader;
        assert_ok(shardy_reader_open(context, dir, &options, &reader, &err));
        shardy_buf values[ROWS];
        for (uint32_t i = 0; i < ROWS; i++) {
            shardy_key key = shardy_key_int(i);
            assert_ok(shardy_reader_get(reader, &key, NULL, &values[i], &err));
        }
        publish(context, dir, NULL, m == 0 ? "two" : "three", 10);
        assert_ok(shardy_reader_refresh(reader, NULL, &err));
        shardy_reader_close(reader);
        for (uint32_t i = 0; i < ROWS; i++) {
            check_value(&values[i], "one", i);
            shardy_buf_release(&values[i]);
        }
        shardy_rollback_target target;
        shardy_rollback_target_init(&target, sizeof target);
        target.run_id = "one";
        assert_ok(shardy_rollback(context, dir, &target, NULL, NULL, &err));
    }
    support_remove_dir(dir);
    shardy_context_free(context);
}

static void test_reader__answers_from_its_snapshot_until_it_is_refreshed(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    publish(f->context, NULL, f->store, "two", ROWS);
    check_get(reader, "one", 7);
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    check_get(reader, "two", 7);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    shardy_reader_close(reader);
}

static void test_reader__a_pin_holds_keys_and_vectors_of_one_snapshot(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_snapshot *pin;
    assert_ok(shardy_reader_pin(reader, &pin, &err));
    publish(f->context, NULL, f->store, "two", ROWS);
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    check_get(reader, "two", 3);
    shardy_reader_close(reader);
    shardy_key keys[3] = {shardy_key_int(3), shardy_key_int(100000), shardy_key_int(3)};
    shardy_values values;
    assert_ok(shardy_snapshot_multi_get(pin, keys, 3, NULL, &values, &err));
    assert_int_equal(values.count, 3);
    assert_int_equal(values.values[0].status, SHARDY_OK);
    assert_int_equal(values.values[1].status, SHARDY_NOT_FOUND);
    assert_memory_equal(values.values[2].bytes.data, "one-3", 5);
    shardy_values_dispose(&values);
    float vector[DIM] = {1.0f, 1.0f, 0.0f};
    shardy_query query;
    shardy_hits hits;
    make_query(&query, vector, 1);
    assert_ok(shardy_snapshot_search(pin, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 1);
    assert_int_equal(hits.hits[0].id.i, 0);
    assert_true(hits.hits[0].score == 0.0);
    shardy_hits_dispose(&hits);
    shardy_snapshot_close(pin);
}

static void test_reader__no_keys_are_no_values_and_no_hits_are_hits_of_none(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_values values;
    assert_ok(shardy_reader_multi_get(reader, NULL, 0, NULL, &values, &err));
    assert_int_equal(values.count, 0);
    shardy_values_dispose(&values);
    float vector[DIM] = {1.0f, 1.0f, 0.0f};
    shardy_query query;
    shardy_hits hits;
    make_query(&query, vector, 0);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.query_count, 1);
    assert_int_equal(hits.offsets[1], 0);
    shardy_hits_dispose(&hits);
    make_query(&query, vector, SHARDY_TOP_K_MAX);
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], ROWS);
    shardy_hits_dispose(&hits);
    make_query(&query, vector, SHARDY_TOP_K_MAX + 1);
    assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, NULL, &hits, &err));
    shardy_reader_close(reader);
}

/* --- which snapshot --------------------------------------------------------------------------- */

static void test_reader__opens_by_ref_run_id_and_place_in_the_history(void **state)
{
    reader_fixture *f = *state;
    publish(f->context, NULL, f->store, "two", ROWS);
    publish(f->context, NULL, f->store, "three", ROWS);
    char ref[400];
    find_key(f->store, "manifests/", "_run_id=one/manifest", ref, sizeof ref);
    const struct {
        const char *ref;
        const char *run;
    } cases[] = {{NULL, "three"}, {"-0", "three"}, {"-1", "two"}, {"-2", "one"}, {"one", "one"},
        {ref, "one"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shardy_reader_options options;
        shardy_reader_options_init(&options, sizeof options);
        options.ref = cases[i].ref;
        shardy_reader *reader = open_reader(f, &options);
        check_get(reader, cases[i].run, 1);
        if (cases[i].ref) {
            assert_status(SHARDY_MISUSE, shardy_reader_refresh(reader, NULL, &err));
        }
        shardy_reader_close(reader);
    }
    static const char *const wrong[] = {"-3", "four", "manifests/x/manifest"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        shardy_reader_options options;
        shardy_reader *reader;
        shardy_reader_options_init(&options, sizeof options);
        options.ref = wrong[i];
        options.store = f->store;
        assert_status(
            SHARDY_INVALID, shardy_reader_open(f->context, NULL, &options, &reader, &err));
        assert_non_null(strstr(err.message, wrong[i]));
        assert_null(reader);
    }
}

static void test_reader__a_copied_snapshot_opens_at_its_new_place(void **state)
{
    (void)state;
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    char *dir = support_make_dir();
    char here[600];
    char there[600];
    snprintf(here, sizeof here, "%s/here", dir);
    snprintf(there, sizeof there, "%s/there", dir);
    publish(context, here, NULL, "one", ROWS);
    assert_int_equal(rename(here, there), 0);
    shardy_reader *reader;
    assert_ok(shardy_reader_open(context, there, NULL, &reader, &err));
    check_get(reader, "one", 5);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    shardy_reader_close(reader);
    assert_status(SHARDY_INVALID, shardy_reader_open(context, here, NULL, &reader, &err));
    assert_non_null(strstr(err.message, here));
    support_remove_dir(dir);
    shardy_context_free(context);
}

/* --- damage ----------------------------------------------------------------------------------- */

static void test_reader__a_refresh_that_fails_keeps_the_old_snapshot_and_says_so(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_health health;
    publish(f->context, NULL, f->store, "two", ROWS);
    char key[400];
    find_key(f->store, "manifests/", "_run_id=two/manifest", key, sizeof key);
    damage(f->store, key, 0);
    assert_status(SHARDY_CHECKSUM, shardy_reader_refresh(reader, NULL, &err));
    check_get(reader, "one", 9);
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    assert_int_equal(health.status, SHARDY_DEGRADED);
    assert_int_equal(health.refresh_status, SHARDY_CHECKSUM);
    assert_true(health.refresh_message[0] != '\0');
    assert_true(health.reason[0] != '\0');
    publish(f->context, NULL, f->store, "three", ROWS);
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    assert_int_equal(health.status, SHARDY_HEALTHY);
    check_get(reader, "three", 9);
    shardy_reader_close(reader);
}

static void test_reader__a_snapshot_of_ours_never_falls_back(void **state)
{
    reader_fixture *f = *state;
    publish(f->context, NULL, f->store, "two", ROWS);
    char key[400];
    find_key(f->store, "manifests/", "_run_id=two/manifest", key, sizeof key);
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    options.store = f->store;
    damage(f->store, key, 0);
    assert_status(SHARDY_CHECKSUM, shardy_reader_open(f->context, NULL, &options, &reader, &err));
    damage(f->store, key, 1);
    assert_status(SHARDY_GONE, shardy_reader_open(f->context, NULL, &options, &reader, &err));
    assert_null(reader);
}

static void test_reader__falls_back_behind_a_pointer_of_the_reference(void **state)
{
    (void)state;
    shardy_store *fs;
    assert_ok(shardy_store_open_fs(
        NULL, support_source("tests/golden/snapshots/history_rollback"), NULL, &fs, &err));
    shardy_buf body;
    assert_ok(shardy_store_get(fs, "_CURRENT", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    shardy_store *memory;
    assert_ok(shardy_store_open_mem(NULL, &memory, &err));
    shardy_store_page page;
    assert_ok(shardy_store_list(fs, "", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        shardy_buf content;
        shardy_store_put put = {0};
        assert_ok(shardy_store_get(fs, key, 0, SHARDY_READ_TO_END, &content, NULL, &err));
        put.key.data = key;
        put.key.len = strlen(key);
        put.body.data = content.data;
        put.body.len = content.len;
        assert_ok(shardy_store_put_object(memory, &put, NULL, &err));
        shardy_buf_release(&content);
    }
    shardy_store_page_dispose(&page);
    shardy_buf_release(&body);
    shardy_store_close(fs);
    char key[400];
    find_key(
        memory, "manifests/", "_run_id=9f0c5b82a80b4ec98dbb22be7eb9ef61/manifest", key, sizeof key);
    shardy_store_put put = {0};
    put.key.data = key;
    put.key.len = strlen(key);
    put.body.data = "not a database";
    put.body.len = 14;
    assert_ok(shardy_store_put_object(memory, &put, NULL, &err));
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = memory;
    shardy_reader *reader;
    shardy_health health;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    assert_ok(shardy_reader_health(reader, -1, &health, &err));
    assert_int_equal(health.status, SHARDY_DEGRADED);
    assert_int_equal(health.fallback, 1);
    shardy_reader_close(reader);
    options.fallback_max = 0;
    assert_status(SHARDY_CORRUPT, shardy_reader_open(NULL, NULL, &options, &reader, &err));
    shardy_store_close(memory);
}

/* A call that meets what a cleanup took. */
static shardy_status ask_what_is_gone(const shardy_reader *reader, int how)
{
    const shardy_key key = shardy_key_int(3);
    const float vector[DIM] = {1.0f};
    shardy_status st;
    if (how == 0) {
        shardy_buf value;
        st = shardy_reader_get(reader, &key, NULL, &value, &err);
        shardy_buf_release(&value);
    } else if (how == 1) {
        shardy_values values;
        st = shardy_reader_multi_get(reader, &key, 1, NULL, &values, &err);
        shardy_values_dispose(&values);
    } else {
        shardy_query query;
        shardy_hits hits;
        make_query(&query, vector, 1);
        st = shardy_reader_search(reader, &query, NULL, &hits, &err);
        shardy_hits_dispose(&hits);
    }
    return st;
}

static void test_reader__whose_shards_are_gone_is_not_healthy_until_it_is_refreshed(void **state)
{
    reader_fixture *f = *state;
    static const char *const runs[] = {"one", "run-1", "run-2", "run-3"};
    shardy_reader *reader = open_reader(f, NULL);
    shardy_health health;
    for (int how = 0; how < 3; how++) {
        for (uint32_t i = 0; i < NUM_DBS; i++) {
            char lost[400];
            char end[80];
            snprintf(end, sizeof end, "run_id=%s/db=%05u/attempt=00/shard.db", runs[how], i);
            find_key(f->store, "shards/", end, lost, sizeof lost);
            damage(f->store, lost, 1);
        }
        assert_status(SHARDY_GONE, ask_what_is_gone(reader, how));
        assert_ok(shardy_reader_health(reader, -1, &health, &err));
        assert_int_equal(health.status, SHARDY_UNHEALTHY);
        assert_non_null(strstr(health.reason, "gone"));
        publish(f->context, NULL, f->store, runs[how + 1], ROWS);
        assert_ok(shardy_reader_refresh(reader, NULL, &err));
        assert_ok(shardy_reader_health(reader, -1, &health, &err));
        assert_int_equal(health.status, SHARDY_HEALTHY);
    }
    check_get(reader, "run-3", 3);
    shardy_reader_close(reader);
}

static void test_reader__one_lost_shard_fails_its_keys_and_no_others(void **state)
{
    reader_fixture *f = *state;
    char lost[400];
    find_key(f->store, "shards/", "db=00001/attempt=00/shard.db", lost, sizeof lost);
    damage(f->store, lost, 1);
    shardy_reader *reader = open_reader(f, NULL);
    shardy_key keys[ROWS];
    size_t in_lost = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t db_id;
        keys[i] = shardy_key_int(i);
        assert_ok(shardy_reader_route_key(reader, &keys[i], NULL, &db_id, &err));
        shardy_buf value;
        shardy_status st = shardy_reader_get(reader, &keys[i], NULL, &value, &err);
        assert_int_equal(st, db_id == 1 ? SHARDY_GONE : SHARDY_OK);
        in_lost += db_id == 1;
        shardy_buf_release(&value);
    }
    assert_in_range(in_lost, 1, ROWS - 1);
    shardy_values values;
    assert_status(SHARDY_GONE, shardy_reader_multi_get(reader, keys, ROWS, NULL, &values, &err));
    assert_null(values.values);
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.allow_partial = 1;
    assert_ok(shardy_reader_multi_get(reader, keys, ROWS, &read, &values, &err));
    assert_int_equal(values.partial, 1);
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(
            values.values[i].status, values.values[i].db_id == 1 ? SHARDY_GONE : SHARDY_OK);
    }
    shardy_values_dispose(&values);
    float vector[DIM] = {1.0f, 1.0f, 0.0f};
    shardy_query query;
    shardy_hits hits;
    make_query(&query, vector, ROWS);
    assert_status(SHARDY_GONE, shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_ok(shardy_reader_search(reader, &query, &read, &hits, &err));
    assert_int_equal(hits.partial, 1);
    assert_int_equal(hits.offsets[1], ROWS - in_lost);
    assert_int_equal(hits.shards_searched, NUM_DBS - 1);
    shardy_hits_dispose(&hits);
    shardy_reader_close(reader);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void test_reader__opens_shards_when_they_are_needed_and_within_its_bound(void **state)
{
    reader_fixture *f = *state;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.open_shards_max = 2;
    uint64_t before = shardy_context_metric(f->context, SHARDY_METRIC_SHARD_OPENS);
    shardy_reader *reader = open_reader(f, &options);
    shardy_health health;
    assert_int_equal(shardy_context_metric(f->context, SHARDY_METRIC_SHARD_OPENS), before);
    shardy_read_stats stats;
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.stats = &stats;
    shardy_key key = shardy_key_int(1);
    shardy_buf value;
    for (uint32_t round = 0; round < 2; round++) {
        assert_ok(shardy_reader_get(reader, &key, &read, &value, &err));
        shardy_buf_release(&value);
        assert_int_equal(stats.shards, 1);
        assert_int_equal(stats.shards_opened, round == 0);
        assert_int_equal(stats.rows_found, 1);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        check_get(reader, "one", i);
        assert_ok(shardy_reader_health(reader, -1, &health, &err));
        assert_in_range(health.open_shards, 1, 2);
    }
    assert_true(shardy_context_metric(f->context, SHARDY_METRIC_SHARD_EVICTIONS) > 0);
    shardy_reader_close(reader);
}

static void test_reader__a_cancelled_call_says_so_and_the_next_one_works(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.cancel = cancel;
    float vector[DIM] = {1.0f, 1.0f, 0.0f};
    shardy_query query;
    shardy_hits hits;
    shardy_values values;
    shardy_key key = shardy_key_int(1);
    make_query(&query, vector, 3);
    assert_ok(shardy_reader_search(reader, &query, &read, &hits, &err));
    shardy_hits_dispose(&hits);
    shardy_cancel_request(cancel);
    assert_status(SHARDY_CANCELLED, shardy_reader_search(reader, &query, &read, &hits, &err));
    assert_status(SHARDY_CANCELLED, shardy_reader_multi_get(reader, &key, 1, &read, &values, &err));
    assert_status(SHARDY_CANCELLED, shardy_reader_refresh(reader, &read, &err));
    shardy_cancel_free(cancel);
    check_get(reader, "one", 1);
    shardy_reader_close(reader);
}

static void move_clock(void *user)
{
    ((hand_clock *)user)->monotonic_ns += 600000000;
}

/* One value, by get or by multi_get. */
static shardy_status read_one(
    const shardy_reader *reader, int many, const shardy_read_options *options)
{
    const shardy_key key = shardy_key_int(7);
    if (many) {
        shardy_values values;
        shardy_status st = shardy_reader_multi_get(reader, &key, 1, options, &values, &err);
        shardy_values_dispose(&values);
        return st;
    }
    shardy_buf value;
    shardy_status st = shardy_reader_get(reader, &key, options, &value, &err);
    shardy_buf_release(&value);
    return st;
}

/* One of the answers with which a shard is opened takes more than half of the time of the call, and
 * so does the one with the value. */
static void test_reader__opening_a_shard_and_reading_it_have_one_deadline(void **state)
{
    (void)state;
    hand_clock clock;
    script_store script;
    shardy_context *context = hand_clock_context(&clock);
    script_store_open(&script, context);
    publish_shards(context, NULL, script.mem, "one", 20000, 1); /* more than is read at once */
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = script.store;
    options.access = SHARDY_ACCESS_RANGE;
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.timeout_ms = 1000;
    for (int many = 0; many < 2; many++) {
        script_step steps[SCRIPT_STEPS] = {{0}};
        size_t reads = 0;
        for (size_t slow = 0; slow == 0 || slow + 1 < reads; slow++) {
            shardy_reader *reader;
            assert_ok(shardy_reader_open(context, NULL, &options, &reader, &err));
            script_store_set(&script, steps, 0);
            assert_ok(read_one(reader, many, &read));
            reads = (size_t)script_store_calls(&script);
            print_message("slow is read %zu of %zu\n", slow + 1, reads);
            assert_in_range(reads, 2, SCRIPT_STEPS);
            shardy_reader_close(reader);
            assert_ok(shardy_reader_open(context, NULL, &options, &reader, &err));
            memset(steps, 0, sizeof steps);
            steps[slow].before = steps[reads - 1].before = move_clock;
            steps[slow].user = steps[reads - 1].user = &clock;
            script_store_set(&script, steps, reads);
            assert_status(SHARDY_TIMEOUT, read_one(reader, many, &read));
            assert_int_equal(script_store_calls(&script), reads);
            script_store_set(&script, steps, 0);
            assert_ok(read_one(reader, many, &read));
            shardy_reader_close(reader);
        }
    }
    script_store_close(&script);
    shardy_context_free(context);
}

static void test_reader__a_call_of_many_keys_ends_at_its_deadline_before_all_are_routed(
    void **state)
{
    enum {
        KEYS = 40000
    };
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_key *keys = calloc(KEYS, sizeof *keys);
    assert_non_null(keys);
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = shardy_key_int(i);
    }
    shardy_values values;
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.timeout_ms = 2500;
    f->clock.step_ns = 1000000000;
    assert_status(
        SHARDY_TIMEOUT, shardy_reader_multi_get(reader, keys, KEYS, &read, &values, &err));
    assert_null(strstr(err.message, "shard")); /* none was asked */
    read.timeout_ms = KEYS * 10;
    assert_ok(shardy_reader_multi_get(reader, keys, KEYS, &read, &values, &err));
    shardy_values_dispose(&values);
    free(keys);
    shardy_reader_close(reader);
}

static void check_stats(const shardy_read_stats *stats, uint32_t shards, uint64_t absent)
{
    assert_int_equal(stats->shards, shards);
    assert_int_equal(stats->shards_opened, 0);
    assert_int_equal(stats->rows_found, 0);
    assert_int_equal(stats->rows_absent, absent);
    assert_int_equal(stats->vectors_scanned, 0);
}

static void test_reader__statistics_are_those_of_the_call_also_when_it_fails(void **state)
{
    reader_fixture *f = *state;
    publish(f->context, NULL, f->store, "two", 1); /* most shards are empty */
    shardy_reader *reader = open_reader(f, NULL);
    shardy_read_stats stats;
    shardy_read_options read;
    shardy_read_options_init(&read, sizeof read);
    read.stats = &stats;
    shardy_key key = shardy_key_text("x", 1);
    shardy_buf value;
    shardy_values values;
    memset(&stats, 0xEE, sizeof stats);
    assert_status(SHARDY_INVALID, shardy_reader_get(reader, &key, &read, &value, &err));
    check_stats(&stats, 0, 0);
    memset(&stats, 0xEE, sizeof stats);
    assert_status(SHARDY_INVALID, shardy_reader_multi_get(reader, &key, 1, &read, &values, &err));
    check_stats(&stats, 0, 0);
    float vector[DIM] = {1.0f, 1.0f, 0.0f};
    shardy_query query;
    shardy_hits hits;
    make_query(&query, vector, SHARDY_TOP_K_MAX + 1);
    memset(&stats, 0xEE, sizeof stats);
    assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, &read, &hits, &err));
    check_stats(&stats, 0, 0);
    uint32_t empty = 0;
    for (uint32_t i = 1; i < ROWS; i++) {
        key = shardy_key_int(i);
        memset(&stats, 0xEE, sizeof stats);
        assert_status(SHARDY_NOT_FOUND, shardy_reader_get(reader, &key, &read, &value, &err));
        empty += stats.shards == 0;
        stats.shards_opened = 0; /* by the first of them */
        check_stats(&stats, stats.shards == 1, 1);
    }
    assert_in_range(empty, 1, ROWS - 2);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    read.cancel = cancel;
    shardy_reader_close(reader);
    reader = open_reader(f, NULL);
    key = shardy_key_int(0);
    memset(&stats, 0xEE, sizeof stats);
    assert_status(SHARDY_CANCELLED, shardy_reader_get(reader, &key, &read, &value, &err));
    check_stats(&stats, 1, 0);
    shardy_cancel_free(cancel);
    shardy_reader_close(reader);
}

/* --- calls beside each other ------------------------------------------------------------------ */

enum {
    HELD_SHARDS = 80, /* more than threads wait for a store */
    HELD_THREADS = 65 /* those, and the calling one */
};

/* A call over many shards of a store that does not answer yet. */
typedef struct held_call {
    const shardy_reader *reader;
    sem_t asked;
    sem_t go;
    shardy_status status;
} held_call;

static void hold_answer(void *user)
{
    held_call *c = user;
    sem_post(&c->asked);
    while (sem_wait(&c->go) != 0) {
    }
}

static shardy_status read_many(const shardy_reader *reader, uint32_t count, shardy_error *error)
{
    shardy_key *keys = calloc(count, sizeof *keys);
    shardy_values values;
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = shardy_key_int(i);
    }
    shardy_status st = shardy_reader_multi_get(reader, keys, count, NULL, &values, error);
    shardy_values_dispose(&values);
    free(keys);
    return st;
}

static void *run_held_call(void *arg)
{
    held_call *c = arg;
    shardy_error error;
    c->status = read_many(c->reader, 20 * HELD_SHARDS, &error);
    return NULL;
}

static void test_reader__a_call_ends_while_one_of_another_reader_waits_for_its_store(void **state)
{
    (void)state;
    hand_clock clock;
    script_store slow;
    script_store fast;
    shardy_context *context = hand_clock_context(&clock);
    script_store_open(&slow, context);
    script_store_open(&fast, context);
    publish_shards(context, NULL, slow.mem, "one", 20 * HELD_SHARDS, HELD_SHARDS);
    publish(context, NULL, fast.mem, "two", ROWS);
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.access = SHARDY_ACCESS_RANGE;
    shardy_reader *readers[2];
    held_call call;
    options.store = slow.store;
    assert_ok(shardy_reader_open(context, NULL, &options, &readers[0], &err));
    options.store = fast.store;
    assert_ok(shardy_reader_open(context, NULL, &options, &readers[1], &err));
    call.reader = readers[0];
    sem_init(&call.asked, 0, 0);
    sem_init(&call.go, 0, 0);
    script_step steps[SCRIPT_STEPS] = {{0}};
    for (size_t i = 0; i < SCRIPT_STEPS; i++) {
        steps[i].before = hold_answer;
        steps[i].user = &call;
    }
    script_store_set(&slow, steps, SCRIPT_STEPS);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_held_call, &call), 0);
    for (int i = 0; i < HELD_THREADS; i++) {
        while (sem_wait(&call.asked) != 0) {
        }
    }
    assert_ok(read_many(readers[1], ROWS, &err)); /* for ever, if it works for the other call */
    for (size_t i = 0; i < SCRIPT_STEPS; i++) {
        sem_post(&call.go);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ok(call.status);
    for (int i = 0; i < 2; i++) {
        shardy_reader_close(readers[i]);
    }
    script_store_close(&slow);
    script_store_close(&fast);
    sem_destroy(&call.asked);
    sem_destroy(&call.go);
    shardy_context_free(context);
}

static void test_reader__health_tells_the_age_of_the_snapshot_not_of_the_reader(void **state)
{
    reader_fixture *f = *state;
    f->clock.wall_us += 100000000;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_health health;
    assert_ok(shardy_reader_health(reader, 99, &health, &err));
    assert_int_equal(health.status, SHARDY_DEGRADED);
    assert_true(health.age_seconds >= 100 && health.age_seconds < 101);
    assert_ok(shardy_reader_health(reader, 102, &health, &err));
    assert_int_equal(health.status, SHARDY_HEALTHY);
    assert_int_equal(health.num_shards, NUM_DBS);
    shardy_reader_close(reader);
}

static void test_reader__wrong_questions_are_told_from_empty_answers(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    shardy_buf value;
    shardy_hits hits;
    shardy_key text = shardy_key_text("x", 1);
    shardy_key negative = shardy_key_int(-1);
    assert_status(SHARDY_INVALID, shardy_reader_get(reader, &text, NULL, &value, &err));
    assert_status(SHARDY_INVALID, shardy_reader_get(reader, &negative, NULL, &value, &err));
    assert_non_null(strstr(err.message, "-1"));
    float vector[DIM + 1] = {1.0f, 1.0f, 0.0f, 0.0f};
    shardy_query query;
    make_query(&query, vector, 3);
    query.dim = DIM + 1;
    assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, NULL, &hits, &err));
    uint32_t shard = NUM_DBS;
    make_query(&query, vector, 3);
    query.shard_ids = &shard;
    query.shard_id_count = 1;
    assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_non_null(strstr(err.message, "4"));
    make_query(&query, vector, 3);
    vector[1] = strtof("nan", NULL);
    assert_status(SHARDY_INVALID, shardy_reader_search(reader, &query, NULL, &hits, &err));
    shardy_reader_close(reader);
}

static void test_reader__a_child_process_has_to_open_its_own(void **state)
{
    reader_fixture *f = *state;
    shardy_reader *reader = open_reader(f, NULL);
    check_get(reader, "one", 1);
    pid_t child = fork();
    if (child == 0) {
        shardy_key key = shardy_key_int(1);
        shardy_buf value;
        _exit(shardy_reader_get(reader, &key, NULL, &value, &err) == SHARDY_FORKED ? 7 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    check_get(reader, "one", 1);
    shardy_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader__values_outlive_refresh_eviction_and_close),
        cmocka_unit_test_setup_teardown(
            test_reader__answers_from_its_snapshot_until_it_is_refreshed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__a_pin_holds_keys_and_vectors_of_one_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__no_keys_are_no_values_and_no_hits_are_hits_of_none, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__opens_by_ref_run_id_and_place_in_the_history, setup, teardown),
        cmocka_unit_test(test_reader__a_copied_snapshot_opens_at_its_new_place),
        cmocka_unit_test_setup_teardown(
            test_reader__a_refresh_that_fails_keeps_the_old_snapshot_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__a_snapshot_of_ours_never_falls_back, setup, teardown),
        cmocka_unit_test(test_reader__falls_back_behind_a_pointer_of_the_reference),
        cmocka_unit_test_setup_teardown(
            test_reader__one_lost_shard_fails_its_keys_and_no_others, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__whose_shards_are_gone_is_not_healthy_until_it_is_refreshed, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__opens_shards_when_they_are_needed_and_within_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__a_cancelled_call_says_so_and_the_next_one_works, setup, teardown),
        cmocka_unit_test(test_reader__opening_a_shard_and_reading_it_have_one_deadline),
        cmocka_unit_test_setup_teardown(
            test_reader__a_call_of_many_keys_ends_at_its_deadline_before_all_are_routed, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__statistics_are_those_of_the_call_also_when_it_fails, setup, teardown),
        cmocka_unit_test(test_reader__a_call_ends_while_one_of_another_reader_waits_for_its_store),
        cmocka_unit_test_setup_teardown(
            test_reader__health_tells_the_age_of_the_snapshot_not_of_the_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__wrong_questions_are_told_from_empty_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reader__a_child_process_has_to_open_its_own, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
