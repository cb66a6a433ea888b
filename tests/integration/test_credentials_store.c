/* Stores with the credentials of services: signing, waiting for them, what a server says of them.
 * Each test ends with a look at every text that the library has given out. */
#include "support/credentials_world.h"

#include <shardyfusion/sys/store.h>

/* --- the store -------------------------------------------------------------------------------- */

static void test_store__signs_with_what_the_service_gave(void **state)
{
    world *w = *state;
    shardy_error err;
    shardy_store *store;
    shardy_buf body = {0};
    shardy_store_s3_options options;
    use_container();
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(evil);
    options.proxy = "";
    options.max_attempts = 1;
    assert_ok(shardy_store_open_s3(w->context, "s3://bucket/p", &options, &store, &err));
    server_settings(evil, "{\"record_headers\": true}");
    /* it is no bucket: what it says of an object is not believed */
    assert_status(
        SHARDY_IO, shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    char *log = server_log(evil, NULL);
    assert_non_null(strstr(log, "Credential=ACCESS-"));
    assert_non_null(strstr(log, "TOKEN-"));
    assert_null(strstr(log, "SECRET-"));
    assert_null(strstr(log, CONTAINER_TOKEN));
    free(log);
    shardy_store_close(store);
}

static void test_store__without_credentials_fails_once_and_lists_what_was_tried(void **state)
{
    world *w = *state;
    shardy_error err;
    shardy_store *store;
    shardy_buf body = {0};
    use_instance();
    server_settings(services, "{\"role\": \"\"}");
    setenv("AWS_ENDPOINT_URL", server_url(evil), 1);
    assert_ok(shardy_store_open_s3(w->context, "s3://bucket/p", NULL, &store, &err));
    assert_status(
        SHARDY_CONFIG, shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    tell(err.message);
    assert_non_null(strstr(err.message, "there are no credentials; tried: options"));
    assert_int_equal(server_count(services, "operation.imds_token", NULL), 1);
    assert_int_equal(server_count(evil, "requests", NULL), 0);
    shardy_store_close(store);
    server_settings(services, "{\"role\": \"test-role\"}");
}

/* --- credentials that a server refuses before their time -------------------------------------- */

/* A bucket whose server knows ACCESS-1 to ACCESS-9, of which the first `over` have expired. */
static void set_known(server *s3, int over)
{
    char text[2048] = "{\"credentials\": [";
    for (int i = 1; i < 10; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len,
            "%s{\"access_key\": \"ACCESS-%d\", \"secret_key\": \"SECRET-%d\", \"session_token\": "
            "\"TOKEN-%d\", \"expired\": %s}",
            i > 1 ? ", " : "", i, i, i, i <= over ? "true" : "false");
    }
    size_t len = strlen(text);
    snprintf(text + len, sizeof text - len, "]}");
    server_settings(s3, text);
}

typedef struct bucket {
    server *s3;
    shardy_context *context;
    shardy_store *store;
} bucket;

/* The stub counts what it gives from 1 on again. */
static bucket open_bucket_of_service(int over)
{
    shardy_error err;
    shardy_store_s3_options options;
    bucket b = {server_start_s3(NULL), NULL, NULL};
    server_settings(services, "{\"given\": 0}");
    set_known(b.s3, over);
    server_put_object(b.s3, SERVER_BUCKET, "p/k", "0123456789", 10);
    assert_ok(shardy_context_new(NULL, &b.context, &err));
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(b.s3);
    options.region = SERVER_REGION;
    options.proxy = "";
    options.max_attempts = 1;
    assert_ok(
        shardy_store_open_s3(b.context, "s3://" SERVER_BUCKET "/p", &options, &b.store, &err));
    return b;
}

static bucket open_bucket(int over)
{
    use_container();
    return open_bucket_of_service(over);
}

static void close_bucket(bucket *b)
{
    shardy_store_close(b->store);
    shardy_context_free(b->context);
    server_stop(b->s3);
}

static shardy_status get_object(const bucket *b, shardy_error *err)
{
    shardy_buf body = {0};
    shardy__error_clear(err);
    shardy_status st = shardy_store_get(b->store, "k", 0, SHARDY_READ_TO_END, &body, NULL, err);
    assert_true(st != SHARDY_OK || (body.len == 10 && memcmp(body.data, "0123456789", 10) == 0));
    shardy_buf_release(&body);
    tell(err->message);
    return st;
}

static void test_refused__credentials_are_asked_for_anew_and_the_request_sent_again(void **state)
{
    (void)state;
    shardy_error err;
    shardy_object_meta meta;
    shardy_store_put put;
    bucket b = open_bucket(0);
    assert_ok(get_object(&b, &err));
    assert_int_equal(asked_for(), 1);
    set_known(b.s3, 1);
    assert_ok(get_object(&b, &err));
    assert_int_equal(asked_for(), 2);
    assert_int_equal(server_count(b.s3, "status.400", NULL), 1);
    assert_int_equal(server_count(b.s3, "requests", NULL), 3);
    /* the new ones are kept */
    assert_ok(get_object(&b, &err));
    assert_int_equal(asked_for(), 2);
    assert_int_equal(server_count(b.s3, "requests", NULL), 4);
    close_bucket(&b);
    /* other calls: a body is sent once more, and a HEAD has no code */
    for (int i = 0; i < 2; i++) {
        b = open_bucket(1);
        uint64_t before = asked_for();
        memset(&put, 0, sizeof put);
        put.key = (shardy_bytes){"new", 3};
        put.body = (shardy_bytes){"value", 5};
        assert_ok(i == 0 ? shardy_store_put_object(b.store, &put, NULL, &err)
                         : shardy_store_head(b.store, "k", &meta, &err));
        assert_int_equal(asked_for(), before + 2);
        assert_int_equal(server_count(b.s3, "requests", NULL), 2);
        close_bucket(&b);
    }
}

static void test_refused__codes_of_expiry_count_whatever_comes_with_them(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        int renews;
    } cases[] = {
        {"{\"times\": 1, \"kind\": \"status\", \"status\": 403, \"code\": \"ExpiredToken\"}", 1},
        {"{\"times\": 1, \"kind\": \"status\", \"status\": 400, \"code\": "
         "\"TokenRefreshRequired\"}",
            1},
        {"{\"times\": 1, \"kind\": \"status\", \"status\": 403, \"code\": \"AccessDenied\"}", 0},
        {"{\"times\": 1, \"kind\": \"status\", \"status\": 403, \"code\": \"InvalidToken\"}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err;
        bucket b = open_bucket(0);
        server_faults(b.s3, cases[i].rule);
        uint64_t before = asked_for();
        assert_status(cases[i].renews ? SHARDY_OK : SHARDY_AUTH, get_object(&b, &err));
        assert_int_equal(asked_for(), before + 1 + (uint64_t)cases[i].renews);
        close_bucket(&b);
    }
}

static void test_refused__others_that_are_refused_too_are_the_end(void **state)
{
    (void)state;
    shardy_error err;
    bucket b = open_bucket(9);
    assert_status(SHARDY_AUTH, get_object(&b, &err));
    assert_non_null(
        strstr(err.message, "has expired, and the one that was asked for then as well"));
    assert_int_equal(asked_for(), 2);
    assert_int_equal(server_count(b.s3, "requests", NULL), 2);
    /* and the service is left alone for a while */
    assert_status(SHARDY_AUTH, get_object(&b, &err));
    assert_status(SHARDY_AUTH, get_object(&b, &err));
    assert_int_equal(asked_for(), 2);
    assert_int_equal(server_count(b.s3, "requests", NULL), 4);
    close_bucket(&b);
}

static void test_refused__a_service_without_others_is_told(void **state)
{
    (void)state;
    static const answer same[] = {{OPERATION, "ACCESS-1", "2099-01-01T00:00:00Z", 1, 9}};
    shardy_error err;
    bucket b = open_bucket(9);
    server_faults(services,
        "{\"operation\": \"" OPERATION "\", \"from\": 2, \"kind\": \"status\", \"status\": 500}");
    assert_status(SHARDY_IO, get_object(&b, &err));
    assert_non_null(strstr(err.message, "the session token has expired, and there is no other"));
    assert_non_null(strstr(err.message, "container metadata"));
    assert_int_equal(err.retriable, 1);
    close_bucket(&b);
    b = open_bucket(9);
    server_settings(b.s3, "{\"auth\": \"off\"}");
    server_faults(b.s3, "{\"kind\": \"status\", \"status\": 403, \"code\": \"ExpiredToken\"}");
    use_answers(same, 1, NULL);
    assert_status(SHARDY_AUTH, get_object(&b, &err));
    assert_non_null(strstr(err.message, "still gives those that the server refuses"));
    assert_int_equal(server_count(b.s3, "requests", NULL), 1);
    close_bucket(&b);
}

static void test_refused__keys_that_somebody_gave_are_final(void **state)
{
    (void)state;
    shardy_error err;
    setenv("AWS_ACCESS_KEY_ID", "ACCESS-1", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRET-1", 1);
    setenv("AWS_SESSION_TOKEN", "TOKEN-1", 1);
    bucket b = open_bucket(9);
    assert_status(SHARDY_AUTH, get_object(&b, &err));
    assert_int_equal(server_count(b.s3, "requests", NULL), 1);
    assert_int_equal(asked_for(), 0);
    close_bucket(&b);
}

#define READERS 8

static void *read_some(void *arg)
{
    shardy_store_read reads[20];
    size_t *good = calloc(1, sizeof *good);
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < 20; i++) {
        reads[i].key = (shardy_bytes){"k", 1};
        reads[i].offset = i % 10;
        reads[i].len = 1;
    }
    shardy_store_read_all(arg, reads, 20);
    for (size_t i = 0; i < 20; i++) {
        *good += reads[i].status == SHARDY_OK;
        shardy_buf_release(&reads[i].body);
    }
    return good;
}

static void test_refused__many_requests_ask_once(void **state)
{
    (void)state;
    shardy_error err;
    pthread_t threads[READERS];
    bucket b = open_bucket(0);
    assert_ok(get_object(&b, &err));
    set_known(b.s3, 1);
    server_faults(services, "{\"kind\": \"hold\"}");
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_some, b.store), 0);
    }
    /* who asks waits for the others; whoever comes later has the new ones, or waits as well */
    server_wait_held(services, 1);
    server_release(services, 0);
    for (size_t i = 0; i < READERS; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal(*(size_t *)good, 20);
        free(good);
    }
    assert_int_equal(asked_for(), 2);
    /* each was refused once at most, and at least one was */
    uint64_t refused = server_count(b.s3, "status.400", NULL);
    assert_in_range(refused, 1, 20 * READERS);
    assert_int_equal(server_count(b.s3, "requests", NULL), 1 + 20 * READERS + refused);
    close_bucket(&b);
}

static void test_refused__who_waits_keeps_his_deadline(void **state)
{
    (void)state;
    shardy_error err;
    shardy_store_read read;
    bucket b = open_bucket(0);
    assert_ok(get_object(&b, &err));
    set_known(b.s3, 1);
    server_faults(services, "{\"kind\": \"hold\"}");
    memset(&read, 0, sizeof read);
    read.key = (shardy_bytes){"k", 1};
    read.len = 1;
    read.deadline_ns = shardy__deadline_ns(b.context, 300);
    shardy_store_read_all(b.store, &read, 1);
    assert_int_equal(read.status, SHARDY_TIMEOUT);
    shardy_buf_release(&read.body);
    server_release(services, 0);
    close_bucket(&b);
}

/* --- reads that wait for credentials ---------------------------------------------------------- */

#define STARTED 5u

/* Reads of one store that were started. */
typedef struct started {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    shardy_store_read reads[STARTED];
    size_t done;
} started;

static void note_done(void *user, shardy_store_read *read)
{
    started *s = user;
    (void)read;
    pthread_mutex_lock(&s->lock);
    s->done++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* A store of which four reads begin at once, and the fifth a quarter of a second later, on the
 * thread that passes on what was held back. */
static shardy_store *limit_ok(shardy_context *context, shardy_store *inner)
{
    shardy_error err;
    shardy_store *store;
    shardy_limit_options options;
    shardy_limit_options_init(&options, sizeof options);
    options.requests_per_second = 4;
    assert_ok(shardy_store_wrap_limit(context, inner, &options, &store, &err));
    return store;
}

static void start_reads(started *s, shardy_store *store, int64_t deadline_ns)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    for (size_t i = 0; i < STARTED; i++) {
        s->reads[i].key = (shardy_bytes){"k", 1};
        s->reads[i].len = 10;
        s->reads[i].deadline_ns = deadline_ns;
    }
    shardy_store_read_start(store, s->reads, STARTED, note_done, s);
}

static size_t count_done(started *s)
{
    pthread_mutex_lock(&s->lock);
    size_t done = s->done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

static void wait_done(started *s, shardy_status expected)
{
    pthread_mutex_lock(&s->lock);
    while (s->done < STARTED) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < STARTED; i++) {
        assert_int_equal(s->reads[i].status, expected);
        tell(s->reads[i].error.message);
        shardy_buf_release(&s->reads[i].body);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

/* Neither in the thread that starts reads, nor in that of the timer, on which reads of all stores
 * depend. A web identity, because that may take a minute. */
static void test_waiting__for_credentials_holds_nobody_else_up(void **state)
{
    const world *w = *state;
    shardy_error err;
    shardy_store *mem;
    shardy_store_put put;
    started asks;
    started others;
    use_identity(w);
    bucket b = open_bucket_of_service(0);
    shardy_store *limited = limit_ok(b.context, b.store);
    assert_ok(shardy_store_open_mem(b.context, &mem, &err));
    memset(&put, 0, sizeof put);
    put.key = (shardy_bytes){"k", 1};
    put.body = (shardy_bytes){"0123456789", 10};
    assert_ok(shardy_store_put_object(mem, &put, NULL, &err));
    shardy_store *limited_mem = limit_ok(b.context, mem);
    server_faults(services, "{\"kind\": \"hold\"}");
    start_reads(&asks, limited, 0);
    server_wait_held(services, 1);
    start_reads(&others, limited_mem, 0);
    wait_done(&others, SHARDY_OK);
    assert_int_equal(count_done(&asks), 0);
    /* whoever has a deadline keeps it */
    start_reads(&others, b.store, shardy__deadline_ns(b.context, 100));
    wait_done(&others, SHARDY_TIMEOUT);
    assert_non_null(strstr(others.reads[0].error.message, "waiting for credentials"));
    assert_int_equal(count_done(&asks), 0);
    server_release(services, 0);
    wait_done(&asks, SHARDY_OK);
    shardy_store_close(limited_mem);
    shardy_store_close(mem);
    shardy_store_close(limited);
    close_bucket(&b);
}

/* --- texts of a server ------------------------------------------------------------------------ */

static void test_server__that_repeats_credentials_is_not_quoted(void **state)
{
    (void)state;
    static const char *const texts[] = {"the token TOKEN-1 is malformed", "ACCESS-1 may not",
        "the key SECRET-1 of you",
        /* cut in the middle of it */
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
        "8901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
        "678901234567890123456789012345678901234567890123456789012345678901234567 TOKEN-1"};
    shardy_error err;
    char rule[600];
    int32_t results[2];
    const shardy_bytes keys[] = {{"k", 1}, {"l", 1}};
    bucket b = open_bucket(0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        snprintf(rule, sizeof rule,
            "{\"kind\": \"status\", \"status\": 400, \"code\": \"InvalidSecurity\", \"message\": "
            "\"%s\"}",
            texts[i]);
        server_faults(b.s3, rule);
        assert_true(get_object(&b, &err) < 0);
        assert_non_null(strstr(err.message, "(not shown: it has credentials in it): 400 Invalid"));
        assert_null(strstr(err.message, "ACCESS"));
        snprintf(rule, sizeof rule,
            "{\"kind\": \"delete_errors\", \"code\": \"InvalidSecurity\", \"message\": \"%s\"}",
            texts[i]);
        server_faults(b.s3, rule);
        assert_true(shardy_store_remove(b.store, keys, 2, results, &err) < 0);
        tell(err.message);
        assert_non_null(strstr(err.message, "(not shown: it has credentials in it)"));
        assert_null(strstr(err.message, "ACCESS"));
    }
    server_faults(b.s3,
        "{\"kind\": \"status\", \"status\": 400, \"code\": \"InvalidSecurity\", \"message\": "
        "\"the token is malformed\"}");
    assert_true(get_object(&b, &err) < 0);
    assert_non_null(strstr(err.message, "the token is malformed: 400 InvalidSecurity"));
    close_bucket(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_store__signs_with_what_the_service_gave, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_store__without_credentials_fails_once_and_lists_what_was_tried, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__credentials_are_asked_for_anew_and_the_request_sent_again, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__codes_of_expiry_count_whatever_comes_with_them, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__others_that_are_refused_too_are_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__a_service_without_others_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__keys_that_somebody_gave_are_final, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused__many_requests_ask_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_refused__who_waits_keeps_his_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_waiting__for_credentials_holds_nobody_else_up, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_server__that_repeats_credentials_is_not_quoted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
