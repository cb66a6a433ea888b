/* What the s3 store does beyond the contract of all stores. */
#include "base/context.h"
#include "store/store.h"
#include "support/hand_clock.h"
#include "support/s3_world.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void assert_whole(shardy_store *store, const char *key, const char *data, size_t len)
{
    shardy_error err = {0};
    shardy_buf body;
    shardy_object_meta meta;
    assert_ok(shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, &meta, &err));
    assert_int_equal(body.len, len);
    assert_int_equal(meta.size, len);
    assert_memory_equal(body.data, data, len);
    shardy_buf_release(&body);
}

/* --- one request, one answer -------------------------------------------------------------- */

static void test_requests__each_call_is_one(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    put_ok(store, "k", "0123456789");
    assert_int_equal(server_count(s3, "requests", NULL), 1);
    assert_int_equal(get(store, "k", 2, 3, &err), SHARDY_OK);
    assert_int_equal(get(store, "k", 0, SHARDY_READ_TO_END, &err), SHARDY_OK);
    assert_ok(shardy_store_head(store, "k", &meta, &err));
    assert_int_equal(server_count(s3, "requests", NULL), 4);
    /* beyond the end: the range, then the head */
    assert_int_equal(get(store, "k", 10, 3, &err), SHARDY_OK);
    assert_int_equal(server_count(s3, "requests", NULL), 6);
}

static void test_keys__are_encoded_once_below_the_prefix(void **state)
{
    shardy_store *store = *state;
    static const char *const keys[] = {"a b", "a+b", "a=b", "a%20b", "a%b", "\xc3\xa9/\xe2\x82\xac",
        "a&b<c>\"d'", "a?b#c", "~-_.!*'()", "@:,;$", "a\\b", "[x]{y}|^`",
        "\xef\xbf\xbe/\xef\xbf\xbf"};
    enum {
        COUNT = sizeof keys / sizeof keys[0]
    };
    shardy_error err = {0};
    for (size_t i = 0; i < COUNT; i++) {
        char name[200];
        size_t len;
        put_ok(store, keys[i], keys[i]);
        assert_object(store, keys[i], keys[i]);
        snprintf(name, sizeof name, PREFIX "/%s", keys[i]);
        char *there = server_get_object(s3, SERVER_BUCKET, name, &len);
        assert_non_null(there);
        assert_string_equal(there, keys[i]);
        free(there);
    }
    char *text = list_text(store, "", 0, 1000);
    for (size_t i = 0; i < COUNT; i++) {
        assert_non_null(strstr(text, keys[i]));
    }
    free(text);
    shardy_bytes bytes[COUNT];
    int32_t results[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = bytes_of(keys[i]);
    }
    assert_ok(shardy_store_remove(store, bytes, COUNT, results, &err));
    assert_listing(store, "", 0, "");
}

static void test_list__goes_on_after_a_thousand_keys(void **state)
{
    shardy_store *store = *state;
    enum {
        COUNT = 2300
    };
    char key[80];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, PREFIX "/d%d/k%04d", i % 3, i);
        server_put_object(s3, SERVER_BUCKET, key, "x", 1);
    }
    server_put_object(s3, SERVER_BUCKET, PREFIX "/folder/", "", 0);
    server_put_object(s3, SERVER_BUCKET, PREFIX "/a//b", "", 0);
    server_put_object(s3, SERVER_BUCKET, PREFIX "-beside", "", 0);
    server_reset(s3);
    char *text = list_text(store, "", 0, SHARDY_LIST_LIMIT_MAX);
    assert_int_equal(strlen(text), COUNT * strlen("d0/k0000 "));
    assert_int_equal(server_count(s3, "operation.list_objects", NULL), 3);
    free(text);
    text = list_text(store, "", '/', 1000);
    assert_string_equal(text, "a/ d0/ d1/ d2/ folder/ ");
    free(text);
    fixture_empty(store);
    assert_true(server_count(s3, "operation.delete_objects", NULL) >= 3);
    assert_listing(store, "", 0, "");
}

static void test_remove__each_key_has_its_own_result(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    put_ok(store, "a", "1");
    put_ok(store, "b", "2");
    put_ok(store, "c", "3");
    server_faults(
        s3, "[{\"kind\": \"delete_errors\", \"keys\": \"*/b\", \"code\": \"AccessDenied\"}]");
    shardy_bytes keys[] = {bytes_of("a"), bytes_of("b"), bytes_of("c"), bytes_of("b")};
    int32_t results[4];
    assert_status(SHARDY_AUTH, shardy_store_remove(store, keys, 4, results, &err));
    assert_non_null(strstr(err.message, "\"b\""));
    assert_int_equal(results[0], SHARDY_OK);
    assert_int_equal(results[1], SHARDY_AUTH);
    assert_int_equal(results[2], SHARDY_OK);
    assert_int_equal(results[3], SHARDY_AUTH);
    assert_listing(store, "", 0, "b ");
}

static void test_remove__a_key_that_the_reply_forgets_is_no_success(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    server_faults(s3,
        "[{\"kind\": \"body\", \"operation\": \"delete_objects\", \"body\": "
        "\"<DeleteResult><Deleted><Key>" PREFIX "/a</Key></Deleted></DeleteResult>\"}]");
    shardy_bytes keys[] = {bytes_of("a"), bytes_of("b")};
    int32_t results[2];
    assert_status(SHARDY_IO, shardy_store_remove(store, keys, 2, results, &err));
    assert_int_equal(err.retriable, 1);
    assert_int_equal(results[0], SHARDY_OK);
    assert_int_equal(results[1], SHARDY_IO);
}

/* A clock for signatures that the server takes, with sleeps that take no time. */
static shardy_context *true_hand_clock(hand_clock *clock, shardy_log_fn log, void *log_user)
{
    struct timespec now;
    shardy_context *context = hand_clock_context_with_log(clock, log, log_user);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    atomic_store(&clock->wall_us, (int64_t)now.tv_sec * 1000000);
    return context;
}

/* --- uploads in parts --------------------------------------------------------------------- */

static shardy_status put_large(shardy_store *store, const char *key, shardy_put_condition condition,
    const char *etag, shardy_bytes body, shardy_object_meta *meta, shardy_error *err)
{
    shardy_store_put put = put_of(key, condition, "");
    put.body = body;
    put.etag = etag;
    memset(err, 0, sizeof *err);
    return shardy_store_put_object(store, &put, meta, err);
}

static void test_parts__a_large_object_is_whole_however_it_comes(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    size_t len = 4 * PART_SIZE + 12345;
    char *data = random_bytes(len);
    shardy_bytes body = {data, len};
    assert_int_equal(
        put_large(store, "memory", SHARDY_PUT_IF_ABSENT, NULL, body, &meta, &err), SHARDY_OK);
    assert_int_equal(meta.size, len);
    assert_true(meta.etag.text[0] != '\0');
    assert_int_equal(server_count(s3, "operation.upload_part", NULL), 5);
    assert_int_equal(server_count(s3, "operation.complete_upload", NULL), 1);
    assert_whole(store, "memory", data, len);
    char *dir = support_make_dir();
    support_write_file(support_path(dir, "f"), data, len);
    shardy_store_put put = put_of("file", SHARDY_PUT_ALWAYS, "");
    put.file_path = support_path(dir, "f");
    assert_ok(shardy_store_put_object(store, &put, &meta, &err));
    assert_whole(store, "file", data, len);
    support_remove_dir(dir);
    char *text = strndup("0123456789abcdef0123456789abcdef", 32);
    stream parts = {text, 700000, SHARDY_DONE}; /* 22,400,000 bytes */
    put = put_of("stream", SHARDY_PUT_ALWAYS, "");
    put.next = next_part;
    put.next_user = &parts;
    assert_ok(shardy_store_put_object(store, &put, &meta, &err));
    assert_int_equal(meta.size, 22400000);
    shardy_buf got;
    assert_ok(shardy_store_get(store, "stream", 0, SHARDY_READ_TO_END, &got, NULL, &err));
    assert_int_equal(got.len, 22400000);
    for (size_t i = 0; i < got.len; i += 32) {
        assert_memory_equal((const char *)got.data + i, text, 32);
    }
    shardy_buf_release(&got);
    free(text);
    free(data);
}

static void test_parts__conditions_hold_at_the_end(void **state)
{
    shardy_store *store = *state;
    shardy_error err;
    shardy_object_meta v1;
    shardy_object_meta v2;
    size_t len = 2 * PART_SIZE + 1;
    char *data = random_bytes(len);
    shardy_bytes body = {data, len};
    assert_int_equal(put_large(store, "k", SHARDY_PUT_IF_ABSENT, NULL, body, &v1, &err), SHARDY_OK);
    assert_int_equal(
        put_large(store, "k", SHARDY_PUT_IF_ABSENT, NULL, body, NULL, &err), SHARDY_EXISTS);
    data[0] ^= 1;
    assert_int_equal(
        put_large(store, "k", SHARDY_PUT_IF_MATCH, v1.etag.text, body, &v2, &err), SHARDY_OK);
    assert_int_equal(put_large(store, "k", SHARDY_PUT_IF_MATCH, v1.etag.text, body, NULL, &err),
        SHARDY_CONFLICT);
    assert_whole(store, "k", data, len);
    assert_int_equal(server_count(s3, "operation.abort_upload", NULL), 2);
    free(data);
}

static void test_parts__a_failure_aborts_the_upload(void **state)
{
    shardy_store *store = *state;
    static const struct {
        const char *rules;
        shardy_status status;
    } cases[] = {
        {"[{\"kind\": \"status\", \"operation\": \"upload_part\", \"from\": 3, \"times\": 1}]",
            SHARDY_THROTTLED},
        {"[{\"kind\": \"drop\", \"operation\": \"upload_part\", \"from\": 2}]", SHARDY_IO},
        {"[{\"kind\": \"status\", \"operation\": \"complete_upload\", \"status\": 500, "
         "\"code\": \"InternalError\"}]",
            SHARDY_IO},
        {"[{\"kind\": \"error_200\", \"operation\": \"complete_upload\", "
         "\"code\": \"InternalError\"}]",
            SHARDY_IO},
        {"[{\"kind\": \"header\", \"operation\": \"upload_part\", \"set\": "
         "{\"x-amz-checksum-sha256\": \"n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\"}}]",
            SHARDY_CHECKSUM},
    };
    size_t len = 3 * PART_SIZE;
    char *data = random_bytes(len);
    shardy_bytes body = {data, len};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err;
        server_reset(s3);
        server_faults(s3, cases[i].rules);
        assert_int_equal(
            put_large(store, "k", SHARDY_PUT_ALWAYS, NULL, body, NULL, &err), cases[i].status);
        assert_int_equal(err.retriable, 1);
        assert_int_equal(server_count(s3, "operation.abort_upload", NULL), 1);
        server_faults(s3, NULL);
        assert_no_object(store, "k");
    }
    stream broken = {"0123456789", 1200000, SHARDY_UNAVAILABLE};
    shardy_error err = {0};
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "");
    put.next = next_part;
    put.next_user = &broken;
    assert_status(SHARDY_UNAVAILABLE, shardy_store_put_object(store, &put, NULL, &err));
    assert_no_object(store, "k");
    assert_int_equal(server_count(s3, "operation.abort_upload", NULL), 2);
    free(data);
}

/* What a retrying store around it makes of failures within an upload of four parts. */
typedef struct repeat_case {
    const char *rules;
    shardy_put_condition condition;
    shardy_status status;
    size_t as_stream; /* the text so many times; 0: as a body */
    uint64_t parts;   /* requests */
    uint64_t completions;
    uint64_t uploads;
    int64_t waits; /* 0: the transport itself may repeat what a used connection lost */
} repeat_case;

static void check_repeats(
    shardy_store *store, hand_clock *clock, const repeat_case *c, const char *data)
{
    shardy_error err = {0};
    shardy_store_put put = put_of("k", c->condition, "");
    stream pieces = {data, c->as_stream, SHARDY_DONE};
    if (c->as_stream) {
        put.next = next_part;
        put.next_user = &pieces;
    } else {
        put.body = bytes_of(data);
    }
    fixture_empty(store);
    server_reset(s3);
    server_faults(s3, c->rules);
    clock->slept_us = 0;
    assert_status(c->status, shardy_store_put_object(store, &put, NULL, &err));
    assert_true(clock->slept_us >= c->waits);
    assert_int_equal(server_count(s3, "operation.upload_part", NULL), c->parts);
    assert_int_equal(server_count(s3, "operation.complete_upload", NULL), c->completions);
    assert_int_equal(server_count(s3, "operation.create_upload", NULL), c->uploads);
    server_faults(s3, NULL);
    if (c->status != SHARDY_OK) {
        assert_non_null(strstr(err.message, "after 3 attempts"));
        assert_no_object(store, "k");
        return;
    }
    shardy_buf got;
    assert_ok(shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &got, NULL, &err));
    size_t len = strlen(data);
    assert_int_equal(got.len, c->as_stream ? c->as_stream * len : len);
    for (size_t at = 0; at < got.len; at += len) {
        assert_memory_equal((const char *)got.data + at, data, len);
    }
    shardy_buf_release(&got);
}

static shardy_store *wrap_in_retry(shardy_store *store, uint32_t backoff_ms)
{
    shardy_error err = {0};
    shardy_store *retry;
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.max_attempts = 3;
    options.initial_backoff_ms = backoff_ms;
    options.max_backoff_ms = backoff_ms;
    options.timeout_ms = 10 * backoff_ms + 1000000;
    assert_ok(shardy_store_wrap_retry(NULL, store, &options, &retry, &err));
    return retry;
}

#define PART_RULE(members)     "[{\"operation\": \"upload_part\", " members "}]"
#define COMPLETE_RULE(members) "[{\"operation\": \"complete_upload\", " members "}]"
#define BEGIN_RULE(members)    "[{\"operation\": \"create_upload\", " members "}]"
#define WHOLE_RULE(members)    "[{\"operation\": \"put_object\", " members "}]"

static void test_parts__only_what_failed_is_sent_again(void **state)
{
    static const repeat_case cases[] = {
        {PART_RULE("\"kind\": \"status\", \"times\": 2"), SHARDY_PUT_ALWAYS, SHARDY_OK, 0, 6, 1, 1,
            1},
        {PART_RULE("\"kind\": \"reset\", \"from\": 4, \"to\": 5"), SHARDY_PUT_IF_ABSENT, SHARDY_OK,
            0, 6, 1, 1, 0},
        /* done, but the answer is lost */
        {PART_RULE("\"kind\": \"drop\", \"applied\": true, \"from\": 2, \"to\": 2"),
            SHARDY_PUT_IF_ABSENT, SHARDY_OK, 0, 5, 1, 1, 0},
        /* a stream cannot be sent anew, but its parts can */
        {PART_RULE("\"kind\": \"status\", \"from\": 3, \"to\": 4"), SHARDY_PUT_ALWAYS, SHARDY_OK, 2,
            6, 1, 1, 1},
        {BEGIN_RULE("\"kind\": \"status\", \"times\": 2"), SHARDY_PUT_ALWAYS, SHARDY_OK, 2, 4, 1, 3,
            1},
        {BEGIN_RULE("\"kind\": \"status\""), SHARDY_PUT_IF_ABSENT, SHARDY_THROTTLED, 2, 0, 0, 3, 1},
        {BEGIN_RULE("\"kind\": \"status\""), SHARDY_PUT_ALWAYS, SHARDY_THROTTLED, 0, 0, 0, 3, 1},
        /* nor is it, when it fits into one request */
        {WHOLE_RULE("\"kind\": \"status\", \"times\": 2"), SHARDY_PUT_IF_ABSENT, SHARDY_OK, 1, 0, 0,
            0, 1},
        {WHOLE_RULE("\"kind\": \"status\""), SHARDY_PUT_ALWAYS, SHARDY_THROTTLED, 1, 0, 0, 0, 1},
        {PART_RULE("\"kind\": \"status\", \"query\": \"*partNumber=2*\""), SHARDY_PUT_ALWAYS,
            SHARDY_THROTTLED, 0, 6, 0, 1, 1},
        {COMPLETE_RULE("\"kind\": \"status\", \"status\": 500, \"times\": 2"), SHARDY_PUT_IF_ABSENT,
            SHARDY_OK, 0, 4, 3, 1, 1},
        {COMPLETE_RULE("\"kind\": \"error_200\", \"code\": \"InternalError\", \"times\": 1"),
            SHARDY_PUT_ALWAYS, SHARDY_OK, 0, 4, 2, 1, 1},
        {COMPLETE_RULE("\"kind\": \"status\", \"status\": 503"), SHARDY_PUT_ALWAYS,
            SHARDY_THROTTLED, 0, 4, 3, 1, 1},
        /* done, but the answer is lost: what is there is compared with what was sent */
        {COMPLETE_RULE("\"kind\": \"drop\", \"applied\": true, \"times\": 1"), SHARDY_PUT_IF_ABSENT,
            SHARDY_OK, 0, 4, 2, 1, 1},
        {"[{\"operation\": \"complete_upload\", \"kind\": \"drop\", \"applied\": true, \"to\": 1},"
         " {\"operation\": \"complete_upload\", \"kind\": \"status\", \"status\": 412, \"from\": "
         "2}]",
            SHARDY_PUT_IF_ABSENT, SHARDY_OK, 0, 4, 2, 1, 1},
        /* the server forgot the upload, or another write came between: all begins anew */
        {PART_RULE("\"kind\": \"status\", \"status\": 404, \"code\": \"NoSuchUpload\", "
                   "\"query\": \"*partNumber=4*\", \"times\": 1"),
            SHARDY_PUT_ALWAYS, SHARDY_OK, 0, 8, 1, 2, 1},
        {COMPLETE_RULE("\"kind\": \"status\", \"status\": 409, "
                       "\"code\": \"ConditionalRequestConflict\", \"times\": 1"),
            SHARDY_PUT_IF_ABSENT, SHARDY_OK, 0, 8, 2, 2, 1},
    };
    (void)state;
    shardy_error err = {0};
    hand_clock clock;
    shardy_store *store;
    shardy_store_s3_options options;
    shardy_context *context = true_hand_clock(&clock, NULL, NULL);
    fill_options(&options);
    assert_ok(shardy_store_open_s3(context, URL, &options, &store, &err));
    shardy_store *retry = wrap_in_retry(store, 1000);
    char *whole = random_text(3 * PART_SIZE + 8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].as_stream ? whole + 3 * PART_SIZE / 2 : whole;
        check_repeats(retry, &clock, &cases[i], text);
    }
    free(whole);
    shardy_store_close(retry);
    shardy_store_close(store);
    shardy_context_free(context);
}

/* It is sent again in case it was not done, and what is there then may be it. */
static void test_stream__of_which_the_answer_was_lost_is_in_doubt(void **state)
{
    shardy_store *store = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_store *retry = wrap_in_retry(store, 1);
    stream pieces = {"mine", 1, SHARDY_DONE};
    shardy_store_put put = put_of("k", SHARDY_PUT_IF_ABSENT, "");
    put.next = next_part;
    put.next_user = &pieces;
    server_faults(s3, WHOLE_RULE("\"kind\": \"drop\", \"applied\": true, \"times\": 1"));
    assert_status(SHARDY_IO, shardy_store_put_object(retry, &put, &meta, &err));
    assert_int_equal(err.retriable, 1);
    assert_non_null(strstr(err.message, "is not known"));
    assert_int_equal(server_count(s3, "operation.put_object", NULL), 2);
    server_faults(s3, NULL);
    assert_whole(store, "k", "mine", 4);
    shardy_store_close(retry);
}

static void cancel_at_retry(void *user, const shardy_log_record *record)
{
    shardy_cancel *const *cancel = user;
    if (strstr(record->text, "attempt 1 failed")) {
        shardy_cancel_request(*cancel);
    }
}

static void test_parts__cancelling_ends_the_wait_for_another_attempt(void **state)
{
    (void)state;
    shardy_error err = {0};
    hand_clock clock;
    shardy_cancel *cancel;
    shardy_store *store;
    shardy_store_s3_options options;
    shardy_context *context = true_hand_clock(&clock, cancel_at_retry, &cancel);
    fill_options(&options);
    assert_ok(shardy_store_open_s3(context, URL, &options, &store, &err));
    shardy_store *retry = wrap_in_retry(store, 3600000);
    char *text = random_text(3 * PART_SIZE + 8);
    static const char *const rules[] = {PART_RULE("\"kind\": \"status\", \"from\": 2"),
        COMPLETE_RULE("\"kind\": \"status\", \"status\": 500"), BEGIN_RULE("\"kind\": \"status\"")};
    static const uint64_t aborts[] = {1, 2, 2};
    for (uint64_t i = 0; i < 3; i++) {
        assert_ok(shardy_cancel_new(&cancel, &err));
        server_faults(s3, rules[i]);
        shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, text);
        put.cancel = cancel;
        assert_status(SHARDY_CANCELLED, shardy_store_put_object(retry, &put, NULL, &err));
        server_faults(s3, NULL);
        assert_no_object(store, "k");
        assert_int_equal(server_count(s3, "operation.abort_upload", NULL), aborts[i]);
        shardy_cancel_free(cancel);
    }
    free(text);
    shardy_store_close(retry);
    shardy_store_close(store);
    shardy_context_free(context);
}

/* --- time --------------------------------------------------------------------------------- */

static void test_time__a_cancelled_call_ends_while_the_server_hangs(void **state)
{
    shardy_store *store = *state;
    server_canceller c;
    put_ok(store, "k", "x");
    set_rule("\"kind\": \"hold\"");
    server_cancel_held(s3, &c);
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("k");
    read.len = 1;
    read.cancel = c.cancel;
    shardy_store_read_all(store, &read, 1);
    assert_int_equal(read.status, SHARDY_CANCELLED);
    server_canceller_end(&c);
}

static void test_time__a_deadline_and_a_read_timeout_end_a_call(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    shardy_store_s3_options options;
    shardy_store *store;
    fill_options(&options);
    options.read_timeout_ms = 200;
    assert_ok(shardy_context_new(NULL, &context, &err));
    assert_ok(shardy_store_open_s3(context, URL, &options, &store, &err));
    put_ok(store, "k", "x");
    set_rule("\"kind\": \"hang\"");
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_TIMEOUT);
    assert_int_equal(err.retriable, 1);
    assert_non_null(strstr(err.message, "200 ms"));
    shardy_store_close(store);
    options.read_timeout_ms = 60000;
    assert_ok(shardy_store_open_s3(context, URL, &options, &store, &err));
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("k");
    read.len = 1;
    read.deadline_ns = shardy__deadline_ns(context, 150);
    shardy_store_read_all(store, &read, 1);
    assert_int_equal(read.status, SHARDY_TIMEOUT);
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "y");
    put.deadline_ns = shardy__deadline_ns(context, 150);
    assert_status(SHARDY_TIMEOUT, shardy_store_put_object(store, &put, NULL, &err));
    assert_int_equal(err.retriable, 1);
    shardy_store_close(store);
    shardy_context_free(context);
}

static void test_requests__more_than_connections_wait_for_each_other(void **state)
{
    (void)state;
    enum {
        COUNT = 300
    };
    shardy_store_s3_options options;
    fill_options(&options);
    options.connections_max = 3;
    shardy_store *store = open_with(&options);
    put_ok(store, "k", "0123456789");
    shardy_store_read reads[COUNT];
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < COUNT; i++) {
        reads[i].key = bytes_of("k");
        reads[i].offset = i % 10;
        reads[i].len = 1;
    }
    shardy_store_read_all(store, reads, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(reads[i].status, SHARDY_OK);
        assert_int_equal(*(const char *)reads[i].body.data, '0' + (int)(i % 10));
        shardy_buf_release(&reads[i].body);
    }
    shardy_store_close(store);
}

/* --- opening ------------------------------------------------------------------------------ */

static void test_open__wrong_credentials_and_regions_have_their_own_message(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store_s3_options options;
    fill_options(&options);
    options.secret_access_key = "CANARY-secret";
    shardy_store *store = open_with(&options);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_AUTH);
    assert_non_null(strstr(err.message, "signature"));
    assert_null(strstr(err.message, "CANARY"));
    shardy_store_close(store);
    fill_options(&options);
    options.session_token = "CANARY-token";
    store = open_with(&options);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_AUTH);
    assert_null(strstr(err.message, "CANARY"));
    shardy_store_close(store);
    fill_options(&options);
    options.region = "eu-central-7";
    store = open_with(&options);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_CONFIG);
    assert_non_null(strstr(err.message, SERVER_REGION));
    shardy_store_close(store);
    fill_options(&options);
    options.endpoint_url = "http://127.0.0.1:1";
    store = open_with(&options);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_UNAVAILABLE);
    assert_int_equal(err.retriable, 1);
    shardy_store_close(store);
    fill_options(&options);
    options.endpoint_url = "http://no-such-host.invalid";
    store = open_with(&options);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_UNAVAILABLE);
    assert_int_equal(err.retriable, 1);
    shardy_store_close(store);
}

static void test_open__options_are_checked(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store;
    shardy_store_s3_options options;
    fill_options(&options);
    assert_status(SHARDY_INVALID, shardy_store_open_s3(NULL, "/tmp", &options, &store, &err));
    assert_status(SHARDY_INVALID, shardy_store_open_s3(NULL, "s3://", &options, &store, &err));
    options.part_size = 1;
    assert_status(SHARDY_INVALID, shardy_store_open_s3(NULL, URL, &options, &store, &err));
    fill_options(&options);
    options.connections_max = SHARDY_CONNECTIONS_MAX + 1;
    assert_status(SHARDY_INVALID, shardy_store_open_s3(NULL, URL, &options, &store, &err));
    fill_options(&options);
    options.addressing = 3;
    assert_status(SHARDY_INVALID, shardy_store_open_s3(NULL, URL, &options, &store, &err));
    fill_options(&options);
    options.secret_access_key = NULL;
    assert_status(SHARDY_CONFIG, shardy_store_open_s3(NULL, URL, &options, &store, &err));
    fill_options(&options);
    options.access_key_id = "a\r\nx: y";
    assert_status(SHARDY_CONFIG, shardy_store_open_s3(NULL, URL, &options, &store, &err));
    static const char *const endpoints[] = {"ftp://x", "http://", "http://u:CANARY@host", "x",
        "http://host/?a", "http://host name", "http://host\r\nX: y"};
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        fill_options(&options);
        options.endpoint_url = endpoints[i];
        assert_status(SHARDY_CONFIG, shardy_store_open_s3(NULL, URL, &options, &store, &err));
        assert_null(store);
        assert_null(strstr(err.message, "CANARY"));
    }
}

static void test_open__the_environment_is_the_default(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store;
    shardy_store_s3_options options;
    shardy_store_s3_options_init(&options, sizeof options);
    options.max_attempts = 1;
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
    assert_status(SHARDY_CONFIG, shardy_store_open_s3(NULL, URL, NULL, &store, &err));
    assert_non_null(strstr(err.message, "no credentials"));
    setenv("AWS_ENDPOINT_URL", server_url(s3), 1);
    setenv("AWS_REGION", SERVER_REGION, 1);
    setenv("AWS_ACCESS_KEY_ID", SERVER_ACCESS_KEY, 1);
    assert_status(SHARDY_CONFIG, shardy_store_open_s3(NULL, URL, NULL, &store, &err));
    setenv("AWS_SECRET_ACCESS_KEY", SERVER_SECRET_KEY, 1);
    store = open_with(NULL);
    put_ok(store, "k", "x");
    shardy_store_close(store);
    /* S3_ goes before AWS_, as a set */
    setenv("S3_ACCESS_KEY_ID", SERVER_ACCESS_KEY, 1);
    setenv("S3_SECRET_ACCESS_KEY", "wrong", 1);
    store = open_with(NULL);
    assert_int_equal(get(store, "k", 0, 1, &err), SHARDY_AUTH);
    shardy_store_close(store);
    static const char *const names[] = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY",
        "AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
}

/* --- a data set in a bucket ---------------------------------------------------------------- */

static void use_environment(void)
{
    setenv("AWS_ENDPOINT_URL", server_url(s3), 1);
    setenv("AWS_ACCESS_KEY_ID", SERVER_ACCESS_KEY, 1);
    setenv("AWS_SECRET_ACCESS_KEY", SERVER_SECRET_KEY, 1);
    setenv("no_proxy", "127.0.0.1", 1);
}

static void build_one(const char *url, const char *run_id, const char *value, const char *prefix)
{
    shardy_error err = {0};
    shardy_writer *writer;
    shardy_build_result result;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.run_id = run_id;
    assert_ok(shardy_writer_open(NULL, url, &options, &writer, &err));
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_cstr("key");
    row.value = bytes_of(value);
    assert_ok(shardy_writer_put(writer, &row, &err));
    assert_ok(shardy_writer_finish(writer, &result, &err));
    assert_memory_equal(result.manifest_ref, prefix, strlen(prefix));
    shardy_build_result_dispose(&result);
    shardy_writer_close(writer);
}

static void assert_value(const char *url, const char *expected)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_buf value;
    shardy_key key = shardy_key_cstr("key");
    assert_ok(shardy_reader_open(NULL, url, NULL, &reader, &err));
    assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
    assert_int_equal(value.len, strlen(expected));
    assert_memory_equal(value.data, expected, value.len);
    shardy_buf_release(&value);
    shardy_reader_close(reader);
}

static void test_data_set__is_built_read_rolled_back_and_verified_by_its_url(void **state)
{
    (void)state;
    static const char url[] = "s3://" SERVER_BUCKET "/sets/one";
    shardy_error err = {0};
    shardy_rollback_target target;
    shardy_verify_result verified;
    shardy_history history;
    shardy_buf ref;
    use_environment();
    build_one(url, "first", "1", "s3://" SERVER_BUCKET "/sets/one/manifests/");
    assert_value(url, "1");
    build_one("S3://" SERVER_BUCKET "/sets/one/", "second", "2",
        "s3://" SERVER_BUCKET "/sets/one/manifests/");
    assert_value("s3://" SERVER_BUCKET "/sets/one/_CURRENT", "2");
    assert_ok(shardy_history_list(NULL, url, 10, NULL, &history, &err));
    assert_int_equal(history.count, 2);
    shardy_history_dispose(&history);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "first";
    assert_ok(shardy_rollback(NULL, url, &target, NULL, &ref, &err));
    shardy_buf_release(&ref);
    assert_value(url, "1");
    assert_ok(shardy_verify(NULL, url, NULL, &verified, &err));
    assert_int_equal(verified.damaged_count, 0);
    shardy_verify_result_dispose(&verified);
    shardy_plan *plan;
    assert_status(SHARDY_INVALID, shardy_plan_new(NULL, "s3://" SERVER_BUCKET, NULL, &plan, &err));
    unsetenv("AWS_ENDPOINT_URL");
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
}

static void test_open__the_bucket_may_be_a_part_of_the_host(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store_s3_options options;
    shardy_store *store;
    char endpoint[100];
    fill_options(&options);
    snprintf(endpoint, sizeof endpoint, "http://localhost:%u", server_port(s3));
    options.endpoint_url = endpoint;
    options.addressing = SHARDY_S3_ADDRESSING_VIRTUAL;
    assert_ok(shardy_store_open_s3(NULL, URL, &options, &store, &err));
    put_ok(store, "k", "in the host");
    assert_object(store, "k", "in the host");
    assert_listing(store, "", 0, "k ");
    shardy_store_close(store);
    assert_status(
        SHARDY_CONFIG, shardy_store_open_s3(NULL, "s3://a.bucket_x/p", &options, &store, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests__each_call_is_one, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_keys__are_encoded_once_below_the_prefix, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_list__goes_on_after_a_thousand_keys, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_remove__each_key_has_its_own_result, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_remove__a_key_that_the_reply_forgets_is_no_success, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_parts__a_large_object_is_whole_however_it_comes, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_parts__conditions_hold_at_the_end, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_parts__a_failure_aborts_the_upload, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_parts__only_what_failed_is_sent_again, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_parts__cancelling_ends_the_wait_for_another_attempt, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_stream__of_which_the_answer_was_lost_is_in_doubt, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_time__a_cancelled_call_ends_while_the_server_hangs, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_time__a_deadline_and_a_read_timeout_end_a_call, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_requests__more_than_connections_wait_for_each_other, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_open__wrong_credentials_and_regions_have_their_own_message, open_store,
            close_store),
        cmocka_unit_test_setup_teardown(test_open__options_are_checked, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_open__the_environment_is_the_default, open_store, close_store),
        cmocka_unit_test_setup_teardown(
            test_data_set__is_built_read_rolled_back_and_verified_by_its_url, open_store,
            close_store),
        cmocka_unit_test_setup_teardown(
            test_open__the_bucket_may_be_a_part_of_the_host, open_store, close_store),
    };
    return cmocka_run_group_tests_name("s3", tests, start_s3, stop_s3);
}
