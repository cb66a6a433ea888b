/* Shards of a bucket that are read whole, without a cache of files: in ranges, each of which is
 * repeated alone, all of one version, each byte checked when it comes. */
#include "base/clock.h"
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL       "s3://" SERVER_BUCKET "/download"
#define ROWS      30000u
#define VALUE_LEN 400u
#define RANGE_LEN (UINT64_C(4) << 20)

static server *s3;
static shardy_store *store;
static char shard[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* its key in the bucket */
static uint64_t ranges;                           /* that it takes */
static char *shard_bytes;
static char *cache_dir; /* of readers; NULL: in memory */
static size_t shard_len;

static shardy_key key_of(uint32_t row, char text[24])
{
    int len = snprintf(text, 24, "key-%012u", row);
    return shardy_key_text(text, (size_t)len);
}

static void value_of(uint32_t row, char value[VALUE_LEN])
{
    support_rand r = {row};
    for (size_t i = 0; i < VALUE_LEN; i++) {
        value[i] = (char)support_rand_u64(&r);
    }
}

static void build(void)
{
    shardy_error err = {0};
    shardy_writer_options o;
    shardy_writer *w = NULL;
    shardy_build_result result;
    char *scratch = support_make_dir();
    shardy_writer_options_init(&o, sizeof o);
    o.num_dbs = 1;
    o.store = store;
    o.scratch_dir = scratch;
    o.sync = 0;
    o.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    assert_ok(shardy_writer_open(NULL, NULL, &o, &w, &err));
    for (uint32_t i = 0; i < ROWS; i++) {
        char text[24];
        char value[VALUE_LEN];
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = key_of(i, text);
        value_of(i, value);
        row.value = (shardy_bytes){value, sizeof value};
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    assert_ok(shardy_writer_finish(w, &result, &err));
    snprintf(shard, sizeof shard, "download/shards/run_id=%s/db=00000/attempt=00/shard.db",
        result.run_id);
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
    support_remove_dir(scratch);
}

static int setup(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store_s3_options o;
    s3 = server_start_s3(NULL);
    shardy_store_s3_options_init(&o, sizeof o);
    o.endpoint_url = server_url(s3);
    o.region = SERVER_REGION;
    o.access_key_id = SERVER_ACCESS_KEY;
    o.secret_access_key = SERVER_SECRET_KEY;
    o.proxy = "";
    assert_ok(shardy_store_open_s3(NULL, URL, &o, &store, &err));
    build();
    shard_bytes = server_get_object(s3, SERVER_BUCKET, shard, &shard_len);
    assert_non_null(shard_bytes);
    ranges = (shard_len + RANGE_LEN - 1) / RANGE_LEN;
    assert_true(ranges >= 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shardy_store_close(store);
    server_stop(s3);
    free(shard_bytes);
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_reader *open_reader(void)
{
    shardy_error err = {0};
    shardy_reader *reader = NULL;
    shardy_reader_options o;
    server_reset(s3);
    shardy_reader_options_init(&o, sizeof o);
    o.store = store;
    o.access = SHARDY_ACCESS_DOWNLOAD;
    o.cache_dir = cache_dir;
    assert_ok(shardy_reader_open(NULL, NULL, &o, &reader, &err));
    return reader;
}

static shardy_status get(
    const shardy_reader *reader, const shardy_read_options *options, shardy_error *err)
{
    char text[24];
    char expected[VALUE_LEN];
    shardy_buf value = {0};
    memset(err, 0, sizeof *err);
    const shardy_key key = key_of(ROWS - 7, text);
    shardy_status st = shardy_reader_get(reader, &key, options, &value, err);
    if (st == SHARDY_OK) {
        value_of(ROWS - 7, expected);
        assert_int_equal(value.len, VALUE_LEN);
        assert_memory_equal(value.data, expected, VALUE_LEN);
    }
    shardy_buf_release(&value);
    return st;
}

static void *get_once(void *reader)
{
    shardy_error err;
    assert_ok(get(reader, NULL, &err));
    return NULL;
}

static uint64_t requests_of_shard(void)
{
    return server_count(s3, "requests", "key=*shard.db");
}

/* A rule for the range of the shard from this one on, counted from 0. */
static void spoil(unsigned range, const char *what)
{
    char rule[300];
    snprintf(rule, sizeof rule, "{\"key\": \"*shard.db\", \"range\": \"bytes=%llu-*\", %s}",
        (unsigned long long)(range * RANGE_LEN), what);
    server_faults(s3, rule);
}

static shardy_explanation explain_get(const shardy_reader *reader)
{
    shardy_error err;
    shardy_explanation e;
    char text[24];
    const shardy_key key = key_of(ROWS - 7, text);
    shardy_explain_request ask;
    shardy_explain_request_init(&ask, sizeof ask);
    ask.what = SHARDY_EXPLAIN_GET;
    ask.key = &key;
    assert_ok(shardy_reader_explain(reader, &ask, &e, &err));
    return e;
}

static void check_two_steps(void)
{
    shardy_error err;
    shardy_reader *reader = open_reader();
    const shardy_explanation e = explain_get(reader);
    server_reset(s3);
    server_faults(s3, "{\"kind\": \"hold\"}");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, get_once, reader), 0);
    server_wait_held(s3, 2); /* the first range and the digests */
    server_release(s3, 0);
    server_wait_held(s3, (unsigned)ranges - 1); /* all others */
    server_release(s3, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(requests_of_shard(), ranges);
    assert_int_equal(server_count(s3, "requests", NULL), ranges + 1);
    assert_int_equal(e.cold.requests - e.open.requests, ranges + 1);
    assert_int_equal(e.cold.round_trips - e.open.round_trips, 2);
    assert_int_equal(e.exact, 1);
    /* later ones ask for nothing */
    assert_ok(get(reader, NULL, &err));
    assert_int_equal(requests_of_shard(), ranges);
    shardy_reader_close(reader);
}

static void test_download__is_done_in_ranges_in_two_steps(void **state)
{
    (void)state;
    check_two_steps();
}

static void test_download__into_a_file_is_done_so_once_and_then_predicted_to_take_nothing(
    void **state)
{
    (void)state;
    shardy_error err;
    cache_dir = support_make_dir();
    check_two_steps();
    shardy_reader *reader = open_reader();
    const shardy_explanation e = explain_get(reader);
    assert_int_equal(e.exact, 1);
    assert_int_equal(e.cold.requests, e.open.requests);
    assert_int_equal(e.cold.round_trips, e.open.round_trips);
    assert_int_equal(e.warm.requests, 0);
    server_reset(s3);
    assert_ok(get(reader, NULL, &err));
    assert_int_equal(server_count(s3, "requests", NULL), 0);
    shardy_reader_close(reader);
    support_remove_dir(cache_dir);
    cache_dir = NULL;
}

static void test_download__a_range_that_fails_is_repeated_alone(void **state)
{
    (void)state;
    static const char *const faults[] = {"\"times\": 1, \"kind\": \"status\", \"status\": 503",
        "\"times\": 1, \"kind\": \"cut\", \"after\": 100000", "\"times\": 2, \"kind\": \"reset\"",
        "\"times\": 1, \"kind\": \"full\""};
    for (unsigned range = 0; range < 3; range++) {
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
            shardy_error err;
            shardy_reader *reader = open_reader();
            server_reset(s3);
            spoil(range, faults[i]);
            assert_ok(get(reader, NULL, &err));
            assert_int_equal(server_faults_used(s3), i == 2 ? 2 : 1);
            assert_int_equal(requests_of_shard(), ranges + (i == 2 ? 2 : 1));
            shardy_reader_close(reader);
        }
    }
}

static void restore_shard(void)
{
    server_put_object(s3, SERVER_BUCKET, shard, shard_bytes, shard_len);
}

static void test_download__of_a_shard_that_changes_is_an_error_and_the_next_one_right(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        shardy_status status;
    } cases[] = {
        {"\"times\": 1, \"kind\": \"change\"", SHARDY_CHECKSUM},
        {"\"times\": 1, \"kind\": \"change\", \"body\": \"short\"", SHARDY_CHECKSUM},
        {"\"times\": 1, \"kind\": \"change\", \"delete\": true", SHARDY_GONE},
        {"\"times\": 2, \"kind\": \"corrupt\", \"at_byte\": 70000", SHARDY_CHECKSUM},
        {"\"times\": 1, \"kind\": \"corrupt\", \"at_byte\": 70000", SHARDY_OK},
    };
    for (unsigned range = 1; range < 3; range++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            shardy_error err;
            shardy_reader *reader = open_reader();
            spoil(range, cases[i].what);
            assert_status(cases[i].status, get(reader, NULL, &err));
            assert_true(cases[i].status == SHARDY_OK || strstr(err.message, "shard.db"));
            assert_int_equal(server_faults_used(s3), i == 3 ? 2 : 1);
            restore_shard();
            assert_ok(get(reader, NULL, &err));
            shardy_reader_close(reader);
        }
    }
}

static void test_download__keeps_its_deadline_and_can_be_cancelled(void **state)
{
    (void)state;
    shardy_error err;
    shardy_read_options o;
    shardy_reader *reader = open_reader();
    shardy_read_options_init(&o, sizeof o);
    spoil(2, "\"kind\": \"hang\"");
    o.timeout_ms = 300;
    assert_status(SHARDY_TIMEOUT, get(reader, &o, &err));
    server_faults(s3, NULL);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    o.timeout_ms = 0;
    o.cancel = cancel;
    assert_status(SHARDY_CANCELLED, get(reader, &o, &err));
    shardy_cancel_free(cancel);
    assert_ok(get(reader, NULL, &err));
    shardy_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_download__is_done_in_ranges_in_two_steps),
        cmocka_unit_test(
            test_download__into_a_file_is_done_so_once_and_then_predicted_to_take_nothing),
        cmocka_unit_test(test_download__a_range_that_fails_is_repeated_alone),
        cmocka_unit_test(test_download__of_a_shard_that_changes_is_an_error_and_the_next_one_right),
        cmocka_unit_test(test_download__keeps_its_deadline_and_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
