/* reader.toml, credentials.toml, --s3-option. */
#include "config.h"
#include "config_toml.h"

#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int load(config *c, const char *text, strbuf *message)
{
    config_init(c);
    return config_parse(c, text, strlen(text), "reader.toml", message);
}

static void assert_refused(const char *text, const char *expected)
{
    config c;
    strbuf message = {0};
    assert_int_equal(load(&c, text, &message), -1);
    assert_string_equal(strbuf_text(&message), expected);
    config_free(&c);
    strbuf_free(&message);
}

static void test_config__an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    config c;
    strbuf message = {0};
    assert_int_equal(load(&c, "", &message), 0);
    assert_null(c.current_url);
    assert_null(c.s3_prefix);
    assert_int_equal(c.thread_safety, CONFIG_LOCK);
    assert_true(c.pool_checkout_timeout == 30.0);
    assert_int_equal(c.max_workers, 0);
    assert_string_equal(c.credentials_profile, "default");
    assert_int_equal(c.reader_backend, -1);
    assert_int_equal(c.sqlite_mode, 2);
    assert_int_equal(c.sqlite_per_shard_bytes, 16777216);
    assert_int_equal(c.sqlite_total_bytes, INT64_C(2147483648));
    assert_int_equal(c.store, CONFIG_S3);
    assert_string_equal(c.table_name, "shardyfusion_manifests");
    assert_int_equal(c.ensure_table, 1);
    assert_int_equal(c.format, 1);
    assert_int_equal(c.value_encoding, 0);
    assert_string_equal(c.null_repr, "null");
    config_free(&c);
}

static void test_config__every_key_is_taken(void **state)
{
    (void)state;
    config c;
    strbuf message = {0};
    const char *text = "[reader]\n"
                       "current_url = \"s3://b/p/_CURRENT\"\n"
                       "s3_prefix = \"s3://b/p\"\n"
                       "local_root = \"/x\"\n"
                       "thread_safety = \"pool\"\n"
                       "pool_checkout_timeout = 10\n"
                       "max_workers = 9\n"
                       "slate_env_file = \"\"\n"
                       "credentials_profile = \"ceph\"\n"
                       "reader_backend = \"sqlite\"\n"
                       "sqlite_mode = \"range\"\n"
                       "sqlite_auto_per_shard_threshold_bytes = 1\n"
                       "sqlite_auto_total_budget_bytes = 0\n"
                       "[manifest_store]\n"
                       "backend = \"postgres\"\n"
                       "dsn = \"host=h\"\n"
                       "table_name = \"t\"\n"
                       "ensure_table = false\n"
                       "[output]\n"
                       "format = \"table\"\n"
                       "value_encoding = \"hex\"\n"
                       "null_repr = \"\"\n";
    assert_int_equal(load(&c, text, &message), 0);
    assert_string_equal(c.current_url, "s3://b/p/_CURRENT");
    assert_string_equal(c.s3_prefix, "s3://b/p");
    assert_string_equal(c.local_root, "/x");
    assert_int_equal(c.thread_safety, CONFIG_POOL);
    assert_true(c.pool_checkout_timeout == 10.0);
    assert_int_equal(c.max_workers, 9);
    assert_null(c.slate_env_file); /* "" is no file */
    assert_string_equal(c.credentials_profile, "ceph");
    assert_int_equal(c.reader_backend, CONFIG_SQLITE);
    assert_int_equal(c.sqlite_mode, 1);
    assert_int_equal(c.sqlite_per_shard_bytes, 1);
    assert_int_equal(c.sqlite_total_bytes, 0);
    assert_int_equal(c.store, CONFIG_POSTGRES);
    assert_string_equal(c.dsn, "host=h");
    assert_string_equal(c.table_name, "t");
    assert_int_equal(c.ensure_table, 0);
    assert_int_equal(c.format, 2);
    assert_int_equal(c.value_encoding, 2);
    assert_string_equal(c.null_repr, ""); /* an empty text is one */
    config_free(&c);
}

static void test_config__empty_urls_count_as_missing(void **state)
{
    (void)state;
    config c;
    strbuf message = {0};
    assert_int_equal(load(&c,
                         "[reader]\ncurrent_url = \"\"\ns3_prefix = \"\"\n"
                         "credentials_profile = \"\"\n",
                         &message),
        0);
    assert_null(c.current_url);
    assert_null(c.s3_prefix);
    assert_string_equal(c.credentials_profile, "default");
    config_free(&c);
}

static void test_config__unknown_names_are_errors_that_name_the_nearest(void **state)
{
    (void)state;
    assert_refused("[reader]\ncurent_url = \"x\"\n",
        "reader.toml, line 2: unknown key \"curent_url\"; did you mean \"current_url\"?");
    assert_refused("[reader]\nformat = \"x\"\n", "reader.toml, line 2: unknown key \"format\"");
    assert_refused(
        "[readr]\n", "reader.toml, line 1: unknown table \"readr\"; did you mean \"reader\"?");
    assert_refused("[zzz]\n", "reader.toml, line 1: unknown table \"zzz\"");
    assert_refused("x = 1\n", "reader.toml, line 1: \"x\" stands outside a table");
    assert_refused("[reader.more]\n", "reader.toml, line 1: unknown key \"more\"");
}

static void test_config__wrong_values_say_what_was_expected(void **state)
{
    (void)state;
    assert_refused("[output]\nformat = \"yaml\"\n",
        "reader.toml, line 2: \"format\" must be json, jsonl, table or text");
    assert_refused("[output]\n\nvalue_encoding = \"utf16\"\n",
        "reader.toml, line 3: \"value_encoding\" must be base64, utf8 or hex");
    assert_refused(
        "[output]\nnull_repr = 1\n", "reader.toml, line 2: \"null_repr\" must be a text");
    assert_refused("[reader]\nmax_workers = 0\n",
        "reader.toml, line 2: \"max_workers\" must be a whole number of at least 1");
    assert_refused("[reader]\nmax_workers = 1.0\n",
        "reader.toml, line 2: \"max_workers\" must be a whole number of at least 1");
    assert_refused("[reader]\npool_checkout_timeout = 0\n",
        "reader.toml, line 2: \"pool_checkout_timeout\" must be a number of seconds above 0");
    assert_refused("[reader]\npool_checkout_timeout = nan\n",
        "reader.toml, line 2: \"pool_checkout_timeout\" must be a number of seconds above 0");
    assert_refused("[reader]\nreader_backend = [\"sqlite\"]\n",
        "reader.toml, line 2: \"reader_backend\" must be slatedb or sqlite");
    assert_refused("[manifest_store]\nensure_table = \"yes\"\n",
        "reader.toml, line 2: \"ensure_table\" must be true or false");
    assert_refused("[reader]\ncurrent_url = \"a\\u0000b\"\n",
        "reader.toml, line 2: \"current_url\" must be a text");
}

static void test_config__malformed_toml_names_line_and_column(void **state)
{
    (void)state;
    const char *bad[] = {"[reader\n", "[reader]\ncurrent_url = \n", "[reader]\na = 1\na = 2\n",
        "\xff\xfe", "[reader]\ncurrent_url = \"unfinished\n", "[a]\n[a]\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        config c;
        strbuf message = {0};
        assert_int_equal(load(&c, bad[i], &message), -1);
        assert_non_null(strstr(strbuf_text(&message), "reader.toml, line "));
        assert_null(strchr(strbuf_text(&message), '\n'));
        config_free(&c);
        strbuf_free(&message);
    }
}

static void test_config__an_explicit_file_must_exist(void **state)
{
    (void)state;
    config c;
    strbuf message = {0};
    config_init(&c);
    assert_int_equal(config_load(&c, "/nonexistent/reader.toml", &message), -1);
    assert_string_equal(strbuf_text(&message), "cannot read the configuration file "
                                               "\"/nonexistent/reader.toml\": No such file or "
                                               "directory");
    config_free(&c);
    strbuf_free(&message);
}

static void test_config__files_are_searched_in_order(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(mkdir(support_path(dir, ".config"), 0700), 0);
    assert_int_equal(mkdir(support_path(dir, ".config/shardy"), 0700), 0);
    const char *at_home = "[reader]\ncurrent_url = \"home\"\n";
    const char *here = "[reader]\ncurrent_url = \"here\"\n";
    const char *named = "[reader]\ncurrent_url = \"named\"\n";
    support_write_file(support_path(dir, ".config/shardy/reader.toml"), at_home, strlen(at_home));
    support_write_file(support_path(dir, "named.toml"), named, strlen(named));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(setenv("HOME", dir, 1), 0);
    assert_int_equal(unsetenv("SHARDY_CONFIG"), 0);
    const char *expected[] = {"home", "here", "named"};
    for (size_t i = 0; i < 3; i++) {
        if (i == 1) {
            support_write_file(support_path(dir, "reader.toml"), here, strlen(here));
        } else if (i == 2) {
            assert_int_equal(setenv("SHARDY_CONFIG", support_path(dir, "named.toml"), 1), 0);
        }
        config c;
        strbuf message = {0};
        config_init(&c);
        assert_int_equal(config_load(&c, NULL, &message), 0);
        assert_string_equal(c.current_url, expected[i]);
        config_free(&c);
    }
    assert_int_equal(unsetenv("SHARDY_CONFIG"), 0);
    assert_int_equal(chdir(before), 0);
    support_remove_dir(dir);
}

static void test_credentials__one_profile_is_taken_and_all_are_checked(void **state)
{
    (void)state;
    credentials c;
    strbuf message = {0};
    const char *text = "[default]\naccess_key_id = \"a\"\nsession_token = \"\"\n"
                       "[ceph]\naccess_key_id = \"b\"\nverify_ssl = \"/ca.pem\"\n"
                       "connect_timeout = 0\nmax_attempts = 5\n";
    credentials_init(&c);
    assert_int_equal(
        credentials_parse(&c, text, strlen(text), "default", "credentials.toml", &message), 0);
    assert_string_equal(c.access_key_id, "a");
    assert_null(c.session_token);
    assert_int_equal(c.verify_ssl, 1);
    assert_int_equal(c.max_attempts, 0);
    credentials_free(&c);
    credentials_init(&c);
    assert_int_equal(
        credentials_parse(&c, text, strlen(text), "ceph", "credentials.toml", &message), 0);
    assert_string_equal(c.access_key_id, "b");
    assert_string_equal(c.ca_bundle, "/ca.pem");
    assert_int_equal(c.connect_timeout, 0);
    assert_int_equal(c.max_attempts, 5);
    credentials_free(&c);
    credentials_init(&c);
    assert_int_equal(
        credentials_parse(&c, text, strlen(text), "none", "credentials.toml", &message), -1);
    assert_string_equal(
        strbuf_text(&message), "credentials profile \"none\" is not in credentials.toml");
    strbuf_free(&message);
    const char *bad = "[default]\n[ceph]\nacces_key_id = \"b\"\n";
    assert_int_equal(
        credentials_parse(&c, bad, strlen(bad), "default", "credentials.toml", &message), -1);
    assert_string_equal(strbuf_text(&message), "credentials.toml, line 3: unknown key "
                                               "\"acces_key_id\"; did you mean "
                                               "\"access_key_id\"?");
    strbuf_free(&message);
    credentials_free(&c);
}

static void test_credentials__readable_by_others_gives_a_warning(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    const char *text = "[default]\n";
    const char *path = support_path(dir, "credentials.toml");
    support_write_file(path, text, strlen(text));
    static const mode_t modes[] = {0600, 0640, 0604};
    for (size_t i = 0; i < 3; i++) {
        credentials c;
        strbuf warning = {0};
        strbuf message = {0};
        assert_int_equal(chmod(path, modes[i]), 0);
        credentials_init(&c);
        assert_int_equal(credentials_load(&c, path, "default", 0, &warning, &message), 0);
        assert_true((warning.len > 0) == (i > 0));
        credentials_free(&c);
        strbuf_free(&warning);
    }
    support_remove_dir(dir);
}

#define OPTION_KEYS                                                                                \
    " (there are endpoint_url, region, region_name, aws_profile, addressing_style, "               \
    "signature_version, verify_ssl, connect_timeout, read_timeout, max_attempts)"

static void test_s3_option__goes_before_what_the_file_says(void **state)
{
    (void)state;
    credentials c;
    strbuf message = {0};
    const char *text = "[default]\naccess_key_id = \"a\"\nsecret_access_key = \"s\"\n"
                       "region_name = \"r1\"\naddressing_style = \"virtual\"\n";
    credentials_init(&c);
    assert_int_equal(credentials_parse(&c, text, strlen(text), "default", "f", &message), 0);
    assert_string_equal(c.region, "r1");
    assert_int_equal(c.addressing_style, 2);
    static const char *const given[] = {"region=r2", "addressing_style=path", "verify_ssl=/ca.pem",
        "max_attempts=7", "read_timeout=9", "endpoint_url=http://h?x=y"};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        assert_int_equal(s3_option_set(&c, given[i], &message), 0);
    }
    assert_string_equal(c.region, "r2");
    assert_int_equal(c.addressing_style, 1);
    assert_int_equal(c.verify_ssl, 1);
    assert_string_equal(c.ca_bundle, "/ca.pem");
    assert_int_equal(c.max_attempts, 7);
    assert_int_equal(c.read_timeout, 9);
    assert_string_equal(c.endpoint_url, "http://h?x=y");
    assert_string_equal(c.access_key_id, "a");
    assert_int_equal(s3_option_set(&c, "verify_ssl=no", &message), 0);
    assert_int_equal(c.verify_ssl, 0);
    assert_int_equal(s3_option_set(&c, "aws_profile=p", &message), 0);
    assert_null(c.access_key_id); /* they would go before the profile */
    assert_null(c.secret_access_key);
    credentials_free(&c);
    strbuf_free(&message);
    const char *bad = "[default]\naddressing_style = \"nonsense\"\n";
    credentials_init(&c);
    assert_int_equal(credentials_parse(&c, bad, strlen(bad), "default", "f", &message), -1);
    assert_string_equal(
        strbuf_text(&message), "f, line 2: \"addressing_style\" must be auto, path or virtual");
    credentials_free(&c);
    strbuf_free(&message);
}

static void test_s3_option__names_and_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"addressing_style=path", ""},
        {"verify_ssl=No", ""},
        {"aws_profile=build", ""},
        {"max_attempts=3", ""},
        {"endpoint_url=http://x?a=b", ""},
        {"region=x", ""},
        {"region_name=x", ""},
        {"addressing_style=Auto", ""},
        {"verify_ssl=/ca.pem", ""},
        {"verify_ssl=maybe",
            "--s3-option: \"verify_ssl\" must be true, false or the path of a CA bundle"},
        {"read_timeout=x", "--s3-option: \"read_timeout\" must be a whole number of at least 0"},
        {"max_attempts=0", "--s3-option: \"max_attempts\" must be a whole number of at least 1"},
        {"addressing_style=nonsense",
            "--s3-option: \"addressing_style\" must be auto, path or virtual"},
        {"adressing_style=path", "--s3-option: unknown key \"adressing_style\"; did you mean "
                                 "\"addressing_style\"?" OPTION_KEYS},
        {"secret_access_key=x", "--s3-option: unknown key \"secret_access_key\"" OPTION_KEYS},
        {"verify_ssl", "option \"--s3-option\" must be KEY=VALUE, not \"verify_ssl\""},
        {"=x", "option \"--s3-option\" must be KEY=VALUE, not \"=x\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strbuf message = {0};
        credentials c;
        credentials_init(&c);
        int rc = s3_option_set(&c, cases[i].text, &message);
        credentials_free(&c);
        assert_int_equal(rc, cases[i].message[0] ? -1 : 0);
        assert_string_equal(strbuf_text(&message), cases[i].message);
        strbuf_free(&message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__an_empty_file_gives_the_defaults),
        cmocka_unit_test(test_config__every_key_is_taken),
        cmocka_unit_test(test_config__empty_urls_count_as_missing),
        cmocka_unit_test(test_config__unknown_names_are_errors_that_name_the_nearest),
        cmocka_unit_test(test_config__wrong_values_say_what_was_expected),
        cmocka_unit_test(test_config__malformed_toml_names_line_and_column),
        cmocka_unit_test(test_config__an_explicit_file_must_exist),
        cmocka_unit_test(test_config__files_are_searched_in_order),
        cmocka_unit_test(test_credentials__one_profile_is_taken_and_all_are_checked),
        cmocka_unit_test(test_credentials__readable_by_others_gives_a_warning),
        cmocka_unit_test(test_s3_option__goes_before_what_the_file_says),
        cmocka_unit_test(test_s3_option__names_and_values_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
