/* URLs, paths and keys. */
#include "base/host.h"
#include "base/uri.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static void assert_piece(shardy_bytes got, const char *expected)
{
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.data, expected, got.len);
}

static void test_uri__a_url_is_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uri_kind kind;
        const char *scheme;
        const char *authority;
        const char *path;
        const char *normal;
    } cases[] = {
        {"s3://bucket", URI_S3, "s3", "bucket", "", "s3://bucket"},
        {"s3://bucket/", URI_S3, "s3", "bucket", "", "s3://bucket"},
        {"s3://bucket/a/b", URI_S3, "s3", "bucket", "/a/b", "s3://bucket/a/b"},
        {"S3://Bucket.x-y_z/a/", URI_S3, "S3", "Bucket.x-y_z", "/a", "s3://Bucket.x-y_z/a"},
        {"s3://b/%2e%2e/x", URI_S3, "s3", "b", "/%2e%2e/x", "s3://b/%2e%2e/x"},
        {"s3://b/a=b,c", URI_S3, "s3", "b", "/a=b,c", "s3://b/a=b,c"},
        {"s3://b/.../..x/.y", URI_S3, "s3", "b", "/.../..x/.y", "s3://b/.../..x/.y"},
        {"file:///data/set", URI_FILE, "file", "", "/data/set", "file:///data/set"},
        {"FILE:///data/set/", URI_FILE, "FILE", "", "/data/set", "file:///data/set"},
        {"file://localhost/x", URI_FILE, "file", "", "/x", "file:///x"},
        {"file:///", URI_FILE, "file", "", "", "file:///"},
        {"file:///with%20percent", URI_FILE, "file", "", "/with%20percent",
            "file:///with%20percent"},
        {"https://[::1]:1/x", URI_OTHER, "https", "[::1]:1", "/x", "https://[::1]:1/x"},
        {"https://host:8080/x", URI_OTHER, "https", "host:8080", "/x", "https://host:8080/x"},
        {"mem://snapshot", URI_OTHER, "mem", "snapshot", "", "mem://snapshot"},
        {"/data/set", URI_PATH, "", "", "/data/set", "/data/set"},
        {"/data/set///", URI_PATH, "", "", "/data/set", "/data/set"},
        {"/", URI_PATH, "", "", "/", "/"},
        {"///", URI_PATH, "", "", "/", "/"},
        {".", URI_PATH, "", "", ".", "."},
        {"../up/./x//y", URI_PATH, "", "", "../up/./x//y", "../up/./x//y"},
        {"what?#", URI_PATH, "", "", "what?#", "what?#"},
        {"dir/s3://b", URI_PATH, "", "", "dir/s3://b", "dir/s3://b"},
        {"://x", URI_PATH, "", "", "://x", "://x"},
        {"1s://x", URI_PATH, "", "", "1s://x", "1s://x"},
        {"s3:/x", URI_PATH, "", "", "s3:/x", "s3:/x"},
        {"\xc3\xa4/\xe6\x97\xa5", URI_PATH, "", "", "\xc3\xa4/\xe6\x97\xa5",
            "\xc3\xa4/\xe6\x97\xa5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        uri u;
        char normal[SHARDY_URL_LEN_MAX + 1];
        assert_ok(shardy__uri_parse(cases[i].text, &u, &err));
        assert_int_equal(u.kind, cases[i].kind);
        assert_piece(u.scheme, cases[i].scheme);
        assert_piece(u.authority, cases[i].authority);
        assert_piece(u.path, cases[i].path);
        assert_ok(shardy__uri_normalize(cases[i].text, normal, &err));
        assert_string_equal(normal, cases[i].normal);
        assert_ok(shardy__uri_normalize(cases[i].normal, normal, &err));
        assert_string_equal(normal, cases[i].normal);
    }
}

static void test_uri__what_may_be_a_secret_is_in_no_message(void **state)
{
    (void)state;
    static const char *const bad[] = {"s3://AK:SECRET@b/p", "s3://AK:PW/SECRET@b/p",
        "s3://AK:PW/SECRET/x@y@b/p", "s3://SECRET@b/p", "http://AK:SECRET@b/x",
        "http://AK:PW/SECRET@b/x", "s3://b/x?X-Amz-Signature=SECRET", "s3://b/x#SECRET",
        "s3://a b:SECRET@b/p", "s3://AK PW/SECRET@b/p?SECRET", "file://u:SECRET@h/x",
        "file://u/SECRET@h/x", "s3://b//x?SECRET", "s3://b/x?a=SECRET@b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shardy_error err = {0};
        uri u;
        assert_status(SHARDY_INVALID, shardy__uri_parse(bad[i], &u, &err));
        if (strstr(err.message, "SECRET") || strstr(err.message, "PW")) {
            fail_msg("there is a secret in: %s", err.message);
        }
    }
}

static void test_uri__what_is_malformed_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "s3://", "s3:///", "s3:///x", "s3://b//", "s3://b//x",
        "s3://b/x//y", "s3://b/x//", "s3://b/./x", "s3://b/..", "s3://b/../x", "s3://b/x/.",
        "s3://b/x?", "s3://b/x?y=1", "s3://b/x#y", "s3://b?x", "s3://b#x", "s3://b c/x",
        "s3://b:1/x", "s3://user@b/x", "s3://user:secret@b/x", "file://", "file://host/x",
        "file:///a//b", "file:///a/../b", "file:////", "https://", "https://a b/", "x://@/",
        "https://h:x/y", "https://h:1:2/y", "https://h/..", "a\nb", "s3://b/\x01", "s3://b/\x7f",
        "\xff", "s3://b/\xc3", "/p\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shardy_error err = {0};
        uri u;
        char normal[SHARDY_URL_LEN_MAX + 1] = "x";
        assert_status(SHARDY_INVALID, shardy__uri_parse(bad[i], &u, &err));
        assert_true(err.message[0] != '\0');
        assert_null(u.path.data);
        assert_status(SHARDY_INVALID, shardy__uri_normalize(bad[i], normal, &err));
        assert_string_equal(normal, "");
        assert_null(strstr(err.message, "secret"));
    }
}

static void test_uri__a_host_or_port_that_cannot_be_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *expected;
    } cases[] = {
        {"https://h:/x", "\"https://h:/x\" has a port that is no number from 1 to 65535"},
        {"https://h:0/x", "\"https://h:0/x\" has a port that"},
        {"https://h:080", "\"https://h:080\" has a port that"},
        {"https://h:65536/", "\"https://h:65536/\" has a port that"},
        {"https://h:99999999999999999999/", "has a port that"},
        {"https://a..b/x", "\"https://a..b/x\" has a host with an empty part"},
        {"https://.a/x", "\"https://.a/x\" has a host with an empty part"},
        {"https://:80/x", "\"https://:80/x\" has no host"},
        {"https://h~st/x", "\"https://h~st/x\" has a character that no host has"},
        {"https://[::1/x", "\"https://[::1/x\" has no valid address in brackets"},
        {"https://[1.2.3.4]/x", "\"https://[1.2.3.4]/x\" has no valid address in brackets"},
        {"https://[::1]x/", "\"https://[::1]x/\" has a character that no host has"},
        {"s3://../x", "\"s3://../x\" has no valid bucket"},
        {"s3://./x", "\"s3://./x\" has no valid bucket"},
        {"s3://a..b/x", "\"s3://a..b/x\" has no valid bucket"},
        {"s3://a./x", "\"s3://a./x\" has no valid bucket"},
        {"s3://[::1]/x", "\"s3://[::1]/x\" has no valid bucket"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        uri u;
        shardy_status st = shardy__uri_parse(cases[i].url, &u, &err);
        if (st != SHARDY_INVALID || !strstr(err.message, cases[i].expected)) {
            fail_msg("%s: %d %s", cases[i].url, st, err.message);
        }
    }
}

static void test_host__a_name_or_an_address_with_a_port(void **state)
{
    (void)state;
    static const char *const good[] = {"h", "h:1", "h:65535", "a.b-c.d_e", "a.b.", "a.b.:80",
        "127.0.0.1:9000", "[::1]", "[::1]:80", "[::ffff:10.0.0.1]", "[fe80::1%eth0]",
        "[fe80::1%25eth-0]:80", "A1"};
    static const char *const bad[] = {"", ".", "..", "a..", ".a", "a..b", ":", ":80", "h:", "h:0",
        "h:-0", "h:-1", "h:+1", "h: 1", "h:1 ", "h:01", "h:65536", "h:1:2", "h:80a", "::1", "[",
        "[]", "[:]", "[::1", "[::1]]", "[::1]80", "[::1]:", "[::1]:0", "[h]", "[127.0.0.1]",
        "[fe80::1%]", "[fe80::1%a/b]", "[::1%a%b]", "[1:2:3:4:5:6:7:8:9]", "h h", "h/", "u@h",
        "u:p@h", "h%41", "h\xc3\xa4", "h~", "h*", "h\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t host = 0;
        const char *problem = shardy__host_problem(good[i], strlen(good[i]), &host);
        const char *end = strrchr(good[i], ']');
        end = end ? end + 1 : good[i] + strcspn(good[i], ":");
        if (problem || host != (size_t)(end - good[i])) {
            fail_msg("%s: %s", good[i], problem ? problem : "where its port begins");
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!shardy__host_problem(bad[i], strlen(bad[i]), NULL)) {
            fail_msg("%s is a host", bad[i]);
        }
    }
    char name[SHARDY_HOST_LEN_MAX + 4] = "";
    memset(name, 'h', SHARDY_HOST_LEN_MAX);
    memcpy(name + SHARDY_HOST_LEN_MAX, ":1", 3);
    assert_null(shardy__host_problem(name, SHARDY_HOST_LEN_MAX + 2, NULL));
    name[SHARDY_HOST_LEN_MAX] = 'h';
    assert_non_null(shardy__host_problem(name, SHARDY_HOST_LEN_MAX + 1, NULL));
    assert_non_null(shardy__host_problem("a\0b", 3, NULL));
}

static void test_uri__the_longest_is_accepted_and_one_more_is_not(void **state)
{
    (void)state;
    shardy_error err = {0};
    char *text = malloc(SHARDY_URL_LEN_MAX + 2);
    char normal[SHARDY_URL_LEN_MAX + 1];
    memset(text, 'x', SHARDY_URL_LEN_MAX + 1);
    memcpy(text, "s3://bucket/", 12);
    text[SHARDY_URL_LEN_MAX] = '\0';
    assert_ok(shardy__uri_normalize(text, normal, &err));
    assert_string_equal(normal, text);
    text[SHARDY_URL_LEN_MAX] = 'x';
    text[SHARDY_URL_LEN_MAX + 1] = '\0';
    assert_status(SHARDY_INVALID, shardy__uri_normalize(text, normal, &err));
    free(text);
}

static void test_uri__joining_makes_the_url_of_a_key(void **state)
{
    (void)state;
    static const struct {
        const char *base;
        const char *key;
        const char *expected; /* NULL: INVALID */
    } cases[] = {{"s3://b", "k", "s3://b/k"}, {"s3://b/", "k/l", "s3://b/k/l"},
        {"S3://b/p/", "k", "s3://b/p/k"}, {"file:///", "k", "file:///k"},
        {"file:///d", "k", "file:///d/k"}, {"/", "k", "/k"}, {"/d/", "k", "/d/k"},
        {".", "k", "./k"}, {"s3://b", "", NULL}, {"s3://b", "/k", NULL}, {"s3://b", "k/", NULL},
        {"s3://b", "../k", NULL}, {"s3://b", "a//b", NULL}, {"s3://b", "a\nb", NULL},
        {"s3://", "k", NULL}, {"s3://b", ".shardyfusion/lock", NULL}, {"s3://b", "a?b", NULL},
        {"s3://b", "a#b", NULL}, {"/d", "a?b#c", "/d/a?b#c"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        char url[SHARDY_URL_LEN_MAX + 1] = "x";
        shardy_status st = shardy__uri_join(cases[i].base, cases[i].key, url, &err);
        assert_int_equal(st, cases[i].expected ? SHARDY_OK : SHARDY_INVALID);
        assert_string_equal(url, cases[i].expected ? cases[i].expected : "");
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        if (cases[i].expected) {
            assert_ok(shardy__uri_strip(cases[i].base, url, key, &err));
            assert_string_equal(key, cases[i].key);
        }
    }
    /* bases and keys at their limits do not fit together */
    char base[SHARDY_URL_LEN_MAX + 1];
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char url[SHARDY_URL_LEN_MAX + 1];
    shardy_error err = {0};
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    size_t room = SHARDY_URL_LEN_MAX - SHARDY_OBJECT_KEY_LEN_MAX - 1;
    memset(base, 'x', sizeof base);
    memcpy(base, "s3://b/", 7);
    base[room] = '\0';
    assert_ok(shardy__uri_join(base, key, url, &err));
    assert_int_equal(strlen(url), SHARDY_URL_LEN_MAX);
    base[room] = 'x';
    base[room + 1] = '\0';
    assert_status(SHARDY_INVALID, shardy__uri_join(base, key, url, &err));
}

static void test_uri__stripping_gives_keys_below_the_prefix_only(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        const char *url;
        const char *expected; /* NULL: INVALID */
    } cases[] = {
        {"s3://b/p", "s3://b/p/k", "k"},
        {"s3://b/p/", "S3://b/p/k/l/", "k/l"},
        {"s3://b", "s3://b/k", "k"},
        {"s3://b/p", "s3://b/p/.../x", ".../x"},
        {"file:///p", "file://localhost/p/k", "k"},
        {"file:///", "file:///p/k", "p/k"},
        {"/", "/k", "k"},
        {"/p", "/p/k", "k"},
        {"p", "p/k", "k"},
        {"mem://m", "mem://m/k", "k"},
        {"s3://b/p", "s3://b/p", NULL},
        {"s3://b/p", "s3://b/p/", NULL},
        {"s3://b/p", "s3://b/pp/k", NULL},
        {"s3://b/p", "s3://b/p2", NULL},
        {"s3://b/p", "s3://b/P/k", NULL},
        {"s3://b/p", "s3://B/p/k", NULL},
        {"s3://b/p", "s3://b2/p/k", NULL},
        {"s3://b/p", "s3://b/q/k", NULL},
        {"s3://b/p", "s3://b/p/../k", NULL},
        {"s3://b/p", "s3://b/p//k", NULL},
        {"s3://b/p", "s3://b/p/./k", NULL},
        {"s3://b/p", "s3://b/p/k?versionId=1", NULL},
        {"s3://b/p", "s3://b/p/k#x", NULL},
        {"s3://b/p", "s3://b/p/.shardyfusion/tmp/x", NULL},
        {"s3://b/p", "s3n://b/p/k", NULL},
        {"s3://b/p", "https://b/p/k", NULL},
        {"s3://b/p", "file:///p/k", NULL},
        {"s3://b/p", "file:///etc/passwd", NULL},
        {"s3://b/p", "http://169.254.169.254/latest", NULL},
        {"s3://b/p", "/p/k", NULL},
        {"s3://b/p", "p/k", NULL},
        {"s3://b/p", "s3://user@b/p/k", NULL},
        {"s3://b/p", "s3://b%2fp/k", NULL},
        {"s3://b/p", "s3://b\\p\\k", NULL},
        {"s3://b/p", "", NULL},
        {"", "s3://b/p", NULL},
        {"/p", "/p/../etc", NULL},
        {"/p", "/pq/k", NULL},
        {"/p", "/p//k", NULL},
        {"/", "//k", NULL},
        {"/p", "file:///p/k", NULL},
        {"file:///p", "/p/k", NULL},
        {"mem://m", "mem://n/k", NULL},
        {"https://h:1/p", "https://h:1/p/a@b", "a@b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "x";
        shardy_status st = shardy__uri_strip(cases[i].prefix, cases[i].url, key, &err);
        if (st != (cases[i].expected ? SHARDY_OK : SHARDY_INVALID)) {
            print_error("case %zu: %s of %s\n", i, cases[i].url, cases[i].prefix);
        }
        assert_int_equal(st, cases[i].expected ? SHARDY_OK : SHARDY_INVALID);
        assert_string_equal(key, cases[i].expected ? cases[i].expected : "");
        assert_true(st == SHARDY_OK || err.message[0] != '\0');
    }
}

/* Random refs of telling pieces: what is accepted is the prefix, a slash and a safe key. */
static void test_uri__no_random_reference_leaves_its_prefix(void **state)
{
    (void)state;
    static const char *const pieces[] = {"s3://", "s3:", "b", "b2", "/", "//", ".", "..", "p", "pp",
        "%2e", "%2f", "?", "#", "@", ":", "\\", "\x01", "\xc3\xa4", "\xff", ".shardyfusion", "k"};
    support_rand rand = {support_seed()};
    size_t accepted = 0;
    for (int i = 0; i < 300000; i++) {
        char url[200] = "s3://b/p";
        size_t len = support_rand_below(&rand, 4) ? strlen(url) : 0;
        url[len] = '\0';
        for (size_t n = support_rand_below(&rand, 8); n > 0; n--) {
            const char *piece = pieces[support_rand_below(&rand, sizeof pieces / sizeof pieces[0])];
            memcpy(url + len, piece, strlen(piece) + 1);
            len += strlen(piece);
        }
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        shardy_status st = shardy__uri_strip("s3://b/p", url, key, NULL);
        assert_true(st == SHARDY_OK || st == SHARDY_INVALID);
        if (st == SHARDY_OK) {
            accepted++;
            assert_memory_equal(url, "s3://b/p/", 9);
            assert_memory_equal(url + 9, key, strlen(key));
            assert_true(url[9 + strlen(key)] == '\0' || strcmp(url + 9 + strlen(key), "/") == 0);
            assert_null(shardy__key_problem(key, strlen(key)));
        }
    }
    assert_true(accepted > 1000);
}

static void test_uri__a_published_place_is_absolute(void **state)
{
    (void)state;
    static const char *const good[] = {"s3://bucket/prefix", "s3://bucket/a/b/", "S3://b/p",
        "file:///data", "/data", "/data/set/"};
    static const char *const bad[] = {"", "s3://bucket", "s3://bucket/", "s3://b//p", "s3://b/p?x",
        "s3://b/../p", "file:///", "/", "data", "./data", "/data/../x", "/data//x", "https://h/p",
        "mem://m/x", "s3://user:secret@b/p", "/x\ny"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        shardy_error err = {0};
        assert_ok(shardy__uri_check_published(good[i], &err));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shardy_error err = {0};
        assert_status(SHARDY_INVALID, shardy__uri_check_published(bad[i], &err));
        assert_true(err.message[0] != '\0');
        assert_null(strstr(err.message, "secret"));
    }
}

static void test_key__problems_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *problem; /* NULL: it is a key */
    } cases[] = {{"", "empty"}, {"a", NULL}, {"a/b", NULL}, {"a/", "empty segment"},
        {"/a", "empty segment"}, {"a//b", "empty segment"}, {".", "\"..\""}, {"..", "\"..\""},
        {"a/..", "\"..\""}, {"a/./b", "\"..\""}, {"...", NULL}, {"a..b", NULL}, {"\n", "control"},
        {"a\x7f", "control"}, {"\xff", "UTF-8"}, {"\xe6\x97", "UTF-8"}, {"\xe6\x97\xa5", NULL},
        {".shardyfusion", "themselves"}, {".shardyfusion/a", "themselves"},
        {".shardyfusiona", NULL}, {"a/.shardyfusion", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *problem = shardy__key_problem(cases[i].key, strlen(cases[i].key));
        if (cases[i].problem) {
            assert_non_null(problem);
            assert_non_null(strstr(problem, cases[i].problem));
        } else {
            assert_null(problem);
        }
    }
    assert_non_null(shardy__key_problem("a\0b", 3));
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    memset(key, 'k', sizeof key);
    assert_null(shardy__key_problem(key, sizeof key - 1));
    assert_non_null(shardy__key_problem(key, sizeof key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri__a_url_is_taken_apart),
        cmocka_unit_test(test_uri__what_may_be_a_secret_is_in_no_message),
        cmocka_unit_test(test_uri__what_is_malformed_is_refused),
        cmocka_unit_test(test_uri__a_host_or_port_that_cannot_be_is_named),
        cmocka_unit_test(test_host__a_name_or_an_address_with_a_port),
        cmocka_unit_test(test_uri__the_longest_is_accepted_and_one_more_is_not),
        cmocka_unit_test(test_uri__joining_makes_the_url_of_a_key),
        cmocka_unit_test(test_uri__stripping_gives_keys_below_the_prefix_only),
        cmocka_unit_test(test_uri__no_random_reference_leaves_its_prefix),
        cmocka_unit_test(test_uri__a_published_place_is_absolute),
        cmocka_unit_test(test_key__problems_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
