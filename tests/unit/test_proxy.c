/* Texts that name a proxy: taken apart, and quoted nowhere. */
#include "store/proxy.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static void test_proxy__user_and_password_are_taken_out_of_its_url(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *url;
        const char *user;
        const char *password;
    } cases[] = {
        {"", "", "", ""},
        {"http://host:3128", "http://host:3128", "", ""},
        {"host:3128", "http://host:3128", "", ""},
        {"HTTPS://host/", "https://host", "", ""},
        {"socks5h://user@host:1", "socks5h://host:1", "user", ""},
        {"http://user:pass@10.0.0.1:3128/", "http://10.0.0.1:3128", "user", "pass"},
        {"user:pass@host", "http://host", "user", "pass"},
        {"http://u%40d:a%23b%2Fc%20%@[::1]:1", "http://[::1]:1", "u@d", "a#b/c %"},
        {"http://user:a:b@host", "http://host", "user", "a:b"},
        {"http://:pass@host", "http://host", "", "pass"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        http_proxy p = {0};
        shardy__proxy_parse(cases[i].text, &p);
        assert_null(p.problem);
        assert_string_equal(p.url, cases[i].url);
        assert_string_equal(p.user, cases[i].user);
        assert_string_equal(p.password, cases[i].password);
    }
}

static void test_proxy__one_that_cannot_be_is_refused_without_its_password(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://user:S3CR3T#X@127.0.0.1:3128",
        "http://user:S3CR3T X@127.0.0.1:3128", "http://user:S3CR3T/X@127.0.0.1:3128",
        "http://user:S3CR3T@X@127.0.0.1:3128", "http://user:S3CR3T?X@127.0.0.1:3128",
        "http://user:S3CR3T@127.0.0.1:port", "http://user:S3CR3T@127.0.0.1:99999",
        "http://user:S3CR3T@127.0.0.1:0",
        "http://user:S3CR3T@127.0.0.1:", "ftp://user:S3CR3T@127.0.0.1:3128",
        "nonsense://user:S3CR3T@127.0.0.1:3128", "http://user:S3CR3T", "http://user:S3CR3T/X",
        "http://user:S3CR3T@", "http://S3CR3T%00@h", "http://user:S3CR3T@h\n",
        "http://user:S3CR3T@a b", "http://user:S3CR3T@[::1", "S3CR3T X", "http://user:S3CR3T@a..b",
        "http://user:S3CR3T@[1.2.3.4]", "http://user:S3CR3T@.:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        http_proxy p;
        shardy_error err = {0};
        shardy_status st = shardy__proxy_find(bad[i], 0, &p, &err);
        if (st != SHARDY_CONFIG || !err.message[0] || strstr(err.message, "S3CR3T") ||
            strstr(p.url, "S3CR3T") || p.user[0] || p.password[0]) {
            fail_msg("%s: %d %s", bad[i], st, err.message);
        }
    }
}

static void test_proxy__the_environment_says_it_for_each_scheme(void **state)
{
    (void)state;
    static const char *const names[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
    http_proxy p;
    shardy_error err = {0};
    for (size_t i = 0; names[i]; i++) {
        unsetenv(names[i]);
    }
    assert_ok(shardy__proxy_find(NULL, 0, &p, &err));
    assert_string_equal(p.url, "");
    setenv("HTTP_PROXY", "http://client:1", 1); /* of a request to a web server, perhaps */
    setenv("ALL_PROXY", "http://all:1", 1);
    assert_ok(shardy__proxy_find(NULL, 0, &p, &err));
    assert_string_equal(p.url, "http://all:1");
    setenv("HTTPS_PROXY", "http://secure:1", 1);
    assert_ok(shardy__proxy_find(NULL, 1, &p, &err));
    assert_string_equal(p.url, "http://secure:1");
    assert_ok(shardy__proxy_find("", 1, &p, &err));
    assert_string_equal(p.url, "");
    /* not yet a failure: it may not be needed */
    setenv("http_proxy", "http://user:S3CR3T#X@h:1", 1);
    assert_ok(shardy__proxy_find(NULL, 0, &p, &err));
    assert_non_null(p.problem);
    assert_status(SHARDY_CONFIG, shardy__proxy_refuse(&p, &err));
    assert_non_null(strstr(err.message, "\"http_proxy\""));
    assert_null(strstr(err.message, "S3CR3T"));
    for (size_t i = 0; names[i]; i++) {
        unsetenv(names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy__user_and_password_are_taken_out_of_its_url),
        cmocka_unit_test(test_proxy__one_that_cannot_be_is_refused_without_its_password),
        cmocka_unit_test(test_proxy__the_environment_says_it_for_each_scheme),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
