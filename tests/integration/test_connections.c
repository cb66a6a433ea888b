/* How a bucket is reached: TLS with certificates that are right and wrong, proxies. */
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/context.h>
#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL "s3://" SERVER_BUCKET "/connections"

static server *start_tls(const char *kind)
{
    const char *const arguments[] = {"--tls", kind, NULL};
    return server_start_s3(arguments);
}

static void fill_options(shardy_store_s3_options *options, const char *endpoint)
{
    static const char *const variables[] = {
        "http_proxy", "https_proxy", "no_proxy", "AWS_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        unsetenv(variables[i]);
    }
    shardy_store_s3_options_init(options, sizeof *options);
    options->max_attempts = 1;
    options->endpoint_url = endpoint;
    options->region = SERVER_REGION;
    options->access_key_id = SERVER_ACCESS_KEY;
    options->secret_access_key = SERVER_SECRET_KEY;
    options->connect_timeout_ms = 5000;
}

/* Puts an object and reads it. */
static shardy_status put_and_get_in(
    shardy_context *context, const shardy_store_s3_options *options, shardy_error *err)
{
    shardy_store *store;
    shardy_buf body = {0};
    shardy_store_put put;
    memset(err, 0, sizeof *err);
    memset(&put, 0, sizeof put);
    put.key = (shardy_bytes){"k", 1};
    put.body = (shardy_bytes){"value", 5};
    shardy_status st = shardy_store_open_s3(context, URL, options, &store, err);
    if (st < 0) {
        return st;
    }
    st = shardy_store_put_object(store, &put, NULL, err);
    if (st == SHARDY_OK) {
        st = shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &body, NULL, err);
    }
    if (st == SHARDY_OK) {
        assert_int_equal(body.len, 5);
        assert_memory_equal(body.data, "value", 5);
    }
    shardy_buf_release(&body);
    shardy_store_close(store);
    return st;
}

static shardy_status put_and_get(const shardy_store_s3_options *options, shardy_error *err)
{
    return put_and_get_in(NULL, options, err);
}

/* Whatever else went wrong, the same request was made once. */
static void check_fails_at_once(const shardy_store_s3_options *options)
{
    shardy_error err;
    assert_true(put_and_get(options, &err) < 0);
    assert_null(strstr(err.message, "attempts"));
    assert_int_equal(err.retriable, 0);
}

static void check_fails(
    const shardy_store_s3_options *options, shardy_status status, const char *part)
{
    shardy_error err;
    assert_status(status, put_and_get(options, &err));
    if (!strstr(err.message, part) || strstr(err.message, "CANARY")) {
        fail_msg("\"%s\" is not in, or a secret is in: %s", part, err.message);
    }
}

/* --- TLS ------------------------------------------------------------------------------------ */

static void test_tls__a_certificate_of_a_known_authority_is_accepted(void **state)
{
    (void)state;
    shardy_error err;
    shardy_store_s3_options options;
    server *s = start_tls("good");
    fill_options(&options, server_tls_url(s));
    options.proxy = "";
    options.ca_bundle = server_ca_file(s);
    assert_ok(put_and_get(&options, &err));
    options.ca_bundle = NULL;
    setenv("AWS_CA_BUNDLE", server_ca_file(s), 1);
    assert_ok(put_and_get(&options, &err));
    server_stop(s);
}

static void test_tls__an_unknown_authority_is_refused_unless_told_not_to_look(void **state)
{
    (void)state;
    shardy_error err;
    shardy_store_s3_options options;
    server *s = start_tls("good");
    fill_options(&options, server_tls_url(s));
    options.proxy = "";
    check_fails(&options, SHARDY_AUTH, "certificate");
    assert_int_equal(server_count(s, "requests", NULL), 0);
    options.verify_ssl = 0;
    assert_ok(put_and_get(&options, &err));
    options.verify_ssl = 1;
    options.ca_bundle = "/nonexistent/CA";
    check_fails(&options, SHARDY_CONFIG, "/nonexistent/CA");
    server_stop(s);
}

static void test_tls__wrong_certificates_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        const char *part;
        shardy_status status;
    } cases[] = {{"expired", "expired", SHARDY_AUTH}, {"other-host", "host", SHARDY_AUTH},
        {"self-signed", "self", SHARDY_AUTH}, {"old-tls", "https://", SHARDY_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_store_s3_options options;
        server *s = start_tls(cases[i].kind);
        fill_options(&options, server_tls_url(s));
        options.proxy = "";
        options.ca_bundle = server_ca_file(s);
        check_fails(&options, cases[i].status, cases[i].part);
        check_fails_at_once(&options);
        assert_int_equal(server_count(s, "requests", NULL), 0);
        server_stop(s);
    }
}

/* --- proxies -------------------------------------------------------------------------------- */

static void test_proxy__requests_go_through_it(void **state)
{
    (void)state;
    shardy_error err;
    shardy_store_s3_options options;
    server *s = start_tls("good");
    server *proxy = server_start_proxy(s, NULL);
    /* nobody but the proxy knows this host */
    fill_options(&options, "http://s3.test");
    options.proxy = server_url(proxy);
    assert_ok(put_and_get(&options, &err));
    assert_int_equal(server_count(s, "requests", NULL), 2);
    options.proxy = NULL;
    setenv("http_proxy", server_url(proxy), 1);
    assert_ok(put_and_get(&options, &err));
    /* a tunnel: the proxy sees nothing, and the certificate is that of the host behind it */
    fill_options(&options, "https://s3.test");
    options.ca_bundle = server_ca_file(s);
    setenv("https_proxy", server_url(proxy), 1);
    options.addressing = SHARDY_S3_ADDRESSING_VIRTUAL; /* the certificate is for *.s3.test */
    assert_ok(put_and_get(&options, &err));
    options.endpoint_url = "https://other.test";
    check_fails(&options, SHARDY_AUTH, "other.test");
    server_stop(proxy);
    server_stop(s);
}

static void test_proxy__may_ask_for_a_password_which_nobody_is_told(void **state)
{
    (void)state;
    char url[128];
    shardy_error err;
    shardy_store_s3_options options;
    server *s = start_tls("good");
    server *proxy = server_start_proxy(s, "user:CANARY");
    fill_options(&options, "http://s3.test");
    snprintf(url, sizeof url, "http://user:CANARY@127.0.0.1:%u", server_port(proxy));
    options.proxy = url;
    assert_ok(put_and_get(&options, &err));
    snprintf(url, sizeof url, "http://user:CANARY2@127.0.0.1:%u", server_port(proxy));
    check_fails(&options, SHARDY_AUTH, "the proxy wants");
    fill_options(&options, "https://s3.test");
    options.proxy = url;
    options.max_attempts = 6; /* none of them is made in vain */
    check_fails(&options, SHARDY_AUTH, "the proxy wants");
    options.max_attempts = 1;
    snprintf(url, sizeof url, "http://user:CANARY@127.0.0.1:1");
    check_fails(&options, SHARDY_UNAVAILABLE, "127.0.0.1");
    server_stop(proxy);
    server_stop(s);
}

typedef struct log_lines {
    char text[8192];
} log_lines;

static void take_line(void *user, const shardy_log_record *record)
{
    log_lines *l = user;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", record->text);
}

static void test_proxy__one_that_cannot_be_is_told_without_its_password(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://user:CANARY#X@127.0.0.1:3128",
        "http://user:CANARY X@127.0.0.1:3128", "http://user:CANARY/X@127.0.0.1:3128",
        "http://user:CANARY@X@127.0.0.1:3128", "http://user:CANARY@127.0.0.1:99999",
        "http://user:CANARY@127.0.0.1:port", "ftp://user:CANARY@127.0.0.1:3128",
        "nonsense://user:CANARY@127.0.0.1:3128"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        log_lines said = {""};
        shardy_error err;
        shardy_context *context;
        shardy_context_options options;
        shardy_store_s3_options s3;
        shardy_context_options_init(&options, sizeof options);
        options.log = take_line;
        options.log_user = &said;
        options.log_level = SHARDY_LOG_DEBUG;
        assert_ok(shardy_context_new(&options, &context, &err));
        fill_options(&s3, i % 2 ? "https://s3.test" : "http://s3.test");
        s3.max_attempts = 6;
        setenv(i % 2 ? "https_proxy" : "http_proxy", bad[i], 1);
        assert_status(SHARDY_CONFIG, put_and_get_in(context, &s3, &err));
        assert_non_null(strstr(err.message, i % 2 ? "\"https_proxy\"" : "\"http_proxy\""));
        assert_null(strstr(err.message, "CANARY"));
        assert_null(strstr(err.message, "attempts")); /* it was not tried again */
        assert_null(strstr(said.text, "CANARY"));
        fill_options(&s3, "http://s3.test");
        s3.proxy = bad[i];
        assert_status(SHARDY_CONFIG, put_and_get_in(context, &s3, &err));
        assert_null(strstr(err.message, "CANARY"));
        shardy_context_free(context);
    }
}

static void test_proxy__is_left_out_for_hosts_that_are_told(void **state)
{
    (void)state;
    shardy_error err;
    shardy_store_s3_options options;
    server *s = server_start_s3(NULL);
    fill_options(&options, server_url(s));
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    check_fails(&options, SHARDY_UNAVAILABLE, "PUT");
    assert_int_equal(server_count(s, "requests", NULL), 0);
    setenv("no_proxy", "example.com,127.0.0.1", 1);
    assert_ok(put_and_get(&options, &err));
    setenv("http_proxy", "http://user:CANARY#@127.0.0.1:1", 1); /* nobody needs it */
    assert_ok(put_and_get(&options, &err));
    unsetenv("no_proxy");
    options.proxy = ""; /* none at all */
    assert_ok(put_and_get(&options, &err));
    server_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls__a_certificate_of_a_known_authority_is_accepted),
        cmocka_unit_test(test_tls__an_unknown_authority_is_refused_unless_told_not_to_look),
        cmocka_unit_test(test_tls__wrong_certificates_are_refused),
        cmocka_unit_test(test_proxy__requests_go_through_it),
        cmocka_unit_test(test_proxy__may_ask_for_a_password_which_nobody_is_told),
        cmocka_unit_test(test_proxy__one_that_cannot_be_is_told_without_its_password),
        cmocka_unit_test(test_proxy__is_left_out_for_hosts_that_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
