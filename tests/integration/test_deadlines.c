/* Operations on a server that does not answer end by their deadline, and when they are cancelled.
 * The server waits for ever, and so do the settings of the connection: an operation that forgets
 * its deadline anywhere never ends, and the test fails by the timeout of the runner. */
#include "support/dataset.h"
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define URL      "s3://" SERVER_BUCKET "/data"
#define SHORT_MS 150u

static server *s3;
static shardy_store *store; /* with the retries of every store of a bucket */

static int start(void **state)
{
    shardy_error err;
    shardy_store_s3_options options;
    dataset_options data;
    (void)state;
    s3 = server_start_s3(NULL);
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(s3);
    options.region = SERVER_REGION;
    options.access_key_id = SERVER_ACCESS_KEY;
    options.secret_access_key = SERVER_SECRET_KEY;
    options.proxy = "";
    options.connect_timeout_ms = 3600u * 1000u;
    options.read_timeout_ms = 3600u * 1000u;
    assert_ok(shardy_store_open_s3(NULL, URL, &options, &store, &err));
    dataset_options_init(&data);
    data.store = store;
    assert_ok(dataset_build(NULL, URL, "one", &data, &err));
    assert_ok(dataset_build(NULL, URL, "two", &data, &err));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    shardy_store_close(store);
    server_stop(s3);
    return 0;
}

/* --- operations ------------------------------------------------------------------------------- */

/* What an operation is given. */
typedef struct call {
    uint32_t timeout_ms;
    const shardy_cancel *cancel;
    shardy_reader *reader; /* of refresh */
} call;

static void fill_admin(const call *c, shardy_admin_options *options)
{
    shardy_admin_options_init(options, sizeof *options);
    options->store = store;
    options->timeout_ms = c->timeout_ms;
    options->cancel = c->cancel;
}

static shardy_status open_at(const call *c, const char *ref, shardy_error *err)
{
    shardy_reader *reader = NULL;
    shardy_reader_options options;
    shardy_key key = shardy_key_text("key-1", 5);
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    options.timeout_ms = c->timeout_ms;
    options.ref = ref;
    options.access = SHARDY_ACCESS_RANGE;
    options.first_key = &key;
    options.open_cancel = c->cancel;
    shardy_status st = shardy_reader_open(NULL, URL, &options, &reader, err);
    shardy_reader_close(reader);
    return st;
}

static shardy_status run_open(const call *c, shardy_error *err)
{
    return open_at(c, NULL, err);
}

static shardy_status run_open_older(const call *c, shardy_error *err)
{
    return open_at(c, "-1", err);
}

static shardy_status run_refresh(const call *c, shardy_error *err)
{
    shardy_read_options options;
    shardy_read_options_init(&options, sizeof options);
    options.timeout_ms = c->timeout_ms;
    options.cancel = c->cancel;
    return shardy_reader_refresh(c->reader, &options, err);
}

static shardy_status run_history(const call *c, shardy_error *err)
{
    shardy_history history;
    shardy_admin_options options;
    fill_admin(c, &options);
    shardy_status st = shardy_history_list(NULL, URL, 10, &options, &history, err);
    shardy_history_dispose(&history);
    return st;
}

static shardy_status run_rollback(const call *c, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    fill_admin(c, &options);
    shardy_rollback_target_init(&target, sizeof target);
    target.offset = 1;
    return shardy_rollback(NULL, URL, &target, &options, NULL, err);
}

static shardy_status run_pin(const call *c, shardy_error *err)
{
    shardy_admin_options options;
    fill_admin(c, &options);
    return shardy_pin_add(NULL, URL, "kept", NULL, &options, NULL, err);
}

static shardy_status run_unpin(const call *c, shardy_error *err)
{
    shardy_admin_options options;
    fill_admin(c, &options);
    return shardy_pin_remove(NULL, URL, "kept", NULL, &options, NULL, err);
}

static shardy_status run_verify(const call *c, shardy_error *err)
{
    shardy_verify_result result;
    shardy_verify_options options;
    shardy_verify_options_init(&options, sizeof options);
    fill_admin(c, &options.admin);
    shardy_status st = shardy_verify(NULL, URL, &options, &result, err);
    shardy_verify_result_dispose(&result);
    return st;
}

static shardy_status run_cleanup(const call *c, shardy_error *err)
{
    shardy_cleanup_result result;
    shardy_cleanup_options options;
    shardy_cleanup_options_init(&options, sizeof options);
    fill_admin(c, &options.admin);
    shardy_status st = shardy_cleanup(NULL, URL, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

/* --- a server that does not answer ------------------------------------------------------------ */

/* An operation, and a request of it that is not answered. */
typedef struct silent_case {
    shardy_status (*run)(const call *c, shardy_error *err);
    const char *fault; /* members of a rule */
} silent_case;

#define HANG(operation, key)                                                                       \
    "\"kind\": \"hang\", \"operation\": \"" operation "\", \"key\": \"" key "\""
/* one byte in ten seconds */
#define SLOW(operation, key)                                                                       \
    "\"kind\": \"slow\", \"bytes_per_second\": 0.1, \"operation\": \"" operation                   \
    "\", \"key\": \"" key "\""
#define LISTS "\"kind\": \"hang\", \"operation\": \"list_objects\""

static const silent_case cases[] = {
    {run_open, HANG("get_object", "*_CURRENT")},
    {run_open, HANG("get_object", "*/manifest")},
    {run_open, HANG("get_object", "*.sidecar")},
    {run_open, SLOW("get_object", "*/manifest")},
    {run_open_older, LISTS},
    {run_open_older, HANG("get_object", "*/fate")},
    {run_open_older, HANG("get_object", "*/manifest")},
    {run_refresh, HANG("get_object", "*_CURRENT")},
    {run_history, SLOW("get_object", "*_CURRENT")},
    {run_history, HANG("get_object", "*_CURRENT")},
    {run_history, LISTS},
    {run_history, HANG("get_object", "*/fate")},
    {run_rollback, LISTS},
    {run_rollback, HANG("get_object", "*_CURRENT")},
    {run_rollback, HANG("get_object", "*/manifest")},
    {run_rollback, HANG("put_object", "*_CURRENT")},
    {run_pin, HANG("get_object", "*/manifest")},
    {run_pin, HANG("put_object", "*/fate")},
    {run_unpin, LISTS},
    {run_unpin, HANG("get_object", "*/fate")},
    {run_verify, HANG("get_object", "*_CURRENT")},
    {run_verify, SLOW("get_object", "*/manifest")},
    {run_verify, HANG("get_object", "*/shard.db")},
    {run_cleanup, HANG("get_object", "*_CURRENT")},
    {run_cleanup, LISTS},
};

static shardy_reader *open_reader(void)
{
    shardy_error err;
    shardy_reader *reader = NULL;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_reader_open(NULL, URL, &options, &reader, &err));
    return reader;
}

static void test_deadlines__an_operation_without_an_answer_times_out(void **state)
{
    (void)state;
    server_reset(s3);
    shardy_reader *reader = open_reader();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        char rule[300];
        const call c = {SHORT_MS, NULL, reader};
        snprintf(rule, sizeof rule, "{%s}", cases[i].fault);
        print_message("%s\n", rule);
        server_faults(s3, rule);
        assert_int_equal(cases[i].run(&c, &err), SHARDY_TIMEOUT);
        assert_int_equal(err.status, SHARDY_TIMEOUT);
    }
    /* and then everything works */
    server_reset(s3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        const call c = {3600u * 1000u, NULL, reader};
        assert_true(cases[i].run(&c, &err) >= 0);
    }
    shardy_reader_close(reader);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void test_deadlines__an_operation_without_an_answer_can_be_cancelled(void **state)
{
    (void)state;
    server_reset(s3);
    shardy_reader *reader = open_reader();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *what = strstr(cases[i].fault, "\"operation\"");
        if (strstr(cases[i].fault, "slow")) {
            continue;
        }
        shardy_error err = {0};
        char rule[300];
        server_canceller who;
        snprintf(rule, sizeof rule, "{\"kind\": \"hold\", %s}", what);
        print_message("%s\n", rule);
        server_faults(s3, rule);
        server_cancel_held(s3, &who);
        const call c = {3600u * 1000u, who.cancel, reader};
        shardy_status st = cases[i].run(&c, &err);
        server_canceller_end(&who);
        assert_int_equal(st, SHARDY_CANCELLED);
        /* a rollback that was cut off between fate and pointer is finished by the next one */
        server_reset(s3);
        const call again = {3600u * 1000u, NULL, NULL};
        assert_ok(run_rollback(&again, &err));
    }
    shardy_reader_close(reader);
}

/* --- calls of the store ----------------------------------------------------------------------- */

static shardy_status store_call(int which, const shardy_store_limits *limits, shardy_error *err)
{
    const shardy_bytes keys[2] = {{"a", 1}, {"b", 1}};
    int32_t results[2];
    shardy_object_meta meta;
    shardy_store_page page = {0};
    if (which == 0) {
        return shardy_store_head_within(store, "a", limits, &meta, err);
    }
    if (which == 1) {
        const shardy_store_listing what = {"", NULL, 10, *limits, '/'};
        shardy_status st = shardy_store_list_within(store, &what, &page, err);
        shardy_store_page_dispose(&page);
        return st;
    }
    return shardy_store_remove_within(store, keys, which == 2 ? 1 : 2, limits, results, err);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void test_deadlines__each_call_of_a_store_keeps_its_limits(void **state)
{
    static const char *const rules[] = {
        "{\"kind\": \"hang\"}", "{\"kind\": \"status\", \"status\": 503, \"retry_after\": 3600}"};
    (void)state;
    for (int which = 0; which < 4; which++) {
        shardy_error err = {0};
        shardy_store_limits limits = {now_ns() + (int64_t)SHORT_MS * 1000000, NULL};
        server_reset(s3);
        server_faults(s3, rules[0]);
        assert_int_equal(store_call(which, &limits, &err), SHARDY_TIMEOUT);
        /* a wait before a retry that would go beyond it is not made */
        server_faults(s3, rules[1]);
        limits.deadline_ns = now_ns() + (int64_t)3600 * 1000000000;
        assert_true(store_call(which, &limits, &err) < 0);
        /* a deadline that has passed, and a cancelled call, ask nothing */
        server_reset(s3);
        limits.deadline_ns = 1;
        assert_int_equal(store_call(which, &limits, &err), SHARDY_TIMEOUT);
        shardy_cancel *cancel = NULL;
        assert_ok(shardy_cancel_new(&cancel, &err));
        shardy_cancel_request(cancel);
        limits = (shardy_store_limits){0, cancel};
        assert_int_equal(store_call(which, &limits, &err), SHARDY_CANCELLED);
        shardy_cancel_free(cancel);
        assert_int_equal(server_count(s3, "requests", NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines__each_call_of_a_store_keeps_its_limits),
        cmocka_unit_test(test_deadlines__an_operation_without_an_answer_times_out),
        cmocka_unit_test(test_deadlines__an_operation_without_an_answer_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
