/* Credentials without a server: files of profiles, addresses of services, what is found where. */
#include "base/context.h"
#include "store/credentials.h"
#include "store/credentials_reply.h"
#include "store/profile.h"
#include "store/s3_xml.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- profiles -------------------------------------------------------------------------------- */

static shardy_status parse(
    const char *text, profile_file kind, const char *name, profile *p, shardy_error *err)
{
    shardy_bytes bytes = {text, strlen(text)};
    memset(p, 0, sizeof *p);
    shardy__error_clear(err);
    return shardy__profile_parse(bytes, kind, name, p, err);
}

static void test_profile__is_read_from_either_file(void **state)
{
    (void)state;
    static const struct {
        profile_file kind;
        const char *name;
        const char *text;
        const char *key_id; /* NULL: no such profile */
    } cases[] = {
        {PROFILE_CREDENTIALS, "default", "[default]\naws_access_key_id=A", "A"},
        {PROFILE_CREDENTIALS, "x", "[default]\naws_access_key_id=A\n[x]\naws_access_key_id=B", "B"},
        {PROFILE_CREDENTIALS, "x", "[profile x]\naws_access_key_id=A", NULL},
        {PROFILE_CONFIG, "x", "[profile x]\naws_access_key_id = A ", "A"},
        {PROFILE_CONFIG, "x", "[ profile\t'x' ] ; c\naws_access_key_id = A", "A"},
        {PROFILE_CONFIG, "x", "[x]\naws_access_key_id=A", NULL},
        {PROFILE_CONFIG, "x y", "[profile \"x y\"]\naws_access_key_id=A", "A"},
        {PROFILE_CONFIG, "default", "[default]\naws_access_key_id=A", "A"},
        {PROFILE_CONFIG, "default", "[profile default]\naws_access_key_id=A", "A"},
        {PROFILE_CONFIG, "sso-session", "[sso-session]\naws_access_key_id=A", NULL},
        {PROFILE_CREDENTIALS, "x", "\xEF\xBB\xBF[x]\r\nAWS_Access_Key_Id\t=\tA\t\r\n", "A"},
        {PROFILE_CREDENTIALS, "x", "[x]\naws_access_key_id=A # c\n", "A"},
        {PROFILE_CREDENTIALS, "x", "[x]\naws_access_key_id=A#;c\n", "A#;c"},
        {PROFILE_CREDENTIALS, "x", "[x]\naws_access_key_id=A=B\n", "A=B"},
        {PROFILE_CREDENTIALS, "x", "#[x]\n;\n[x]\n  aws_access_key_id=A\n  region=b\n", "A"},
        {PROFILE_CREDENTIALS, "x", "[x]\naws_access_key_id=A\naws_access_key_id=B", "B"},
        {PROFILE_CREDENTIALS, "x", "[x]\naws_access_key_id=A\n[y]\n[x]\nregion=b", "A"},
        {PROFILE_CREDENTIALS, "x", "[x]\ns3 =\n  aws_access_key_id=N\naws_access_key_id=A", "A"},
        {PROFILE_CREDENTIALS, "x", "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        profile p;
        shardy_error err;
        assert_ok(parse(cases[i].text, cases[i].kind, cases[i].name, &p, &err));
        if (p.found != (cases[i].key_id != NULL) ||
            (cases[i].key_id && strcmp(p.access_key_id, cases[i].key_id) != 0)) {
            fail_msg("%s: %d %s", cases[i].text, p.found, p.access_key_id ? p.access_key_id : "");
        }
        shardy__profile_free(&p);
    }
}

static void test_profile__all_settings_are_kept(void **state)
{
    (void)state;
    profile p;
    shardy_error err;
    assert_ok(parse("[x]\naws_access_key_id=A\naws_secret_access_key = s/+=\n"
                    "aws_session_token=t\nregion=r\nrole_arn=a:b\nrole_session_name=n\n"
                    "web_identity_token_file=/f g\nsource_profile=y\n",
        PROFILE_CREDENTIALS, "x", &p, &err));
    assert_string_equal(p.secret_access_key, "s/+=");
    assert_string_equal(p.session_token, "t");
    assert_string_equal(p.region, "r");
    assert_string_equal(p.role_arn, "a:b");
    assert_string_equal(p.role_session_name, "n");
    assert_string_equal(p.token_file, "/f g");
    assert_string_equal(p.unsupported, "source_profile");
    shardy__profile_free(&p);
    /* nothing is nothing */
    assert_ok(parse("[x]\naws_access_key_id=A\naws_access_key_id=\nsource_profile =\n",
        PROFILE_CREDENTIALS, "x", &p, &err));
    assert_null(p.access_key_id);
    assert_null(p.unsupported);
    shardy__profile_free(&p);
}

static void test_profile__a_wrong_line_is_named_and_not_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"[x\nregion=CANARY", "line 1 begins a profile"},
        {"\n[x] CANARY\n", "line 2 has something after"},
        {"[x]\nCANARY\n", "line 2 is no \"name = value\""},
        {"[y]\n\n=CANARY\n", "line 3 is no \"name = value\""},
        {"a=CANARY\n", "line 1 stands before"},
        {"[x]\naws_secret_access_key=CANARY\n CANARY\n", "line 3 continues a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        profile p;
        shardy_error err;
        assert_status(SHARDY_CONFIG, parse(cases[i].text, PROFILE_CREDENTIALS, "x", &p, &err));
        assert_memory_equal(err.message, cases[i].message, strlen(cases[i].message));
        assert_null(strstr(err.message, "CANARY"));
        shardy__profile_free(&p);
    }
}

static void test_profile__files_have_a_bound(void **state)
{
    (void)state;
    profile p;
    shardy_error err;
    char *dir = support_make_dir();
    const char *path = support_path(dir, "file");
    char *text = malloc(PROFILE_FILE_LEN_MAX + 1);
    memset(text, '#', PROFILE_FILE_LEN_MAX + 1);
    memset(&p, 0, sizeof p);
    assert_status(SHARDY_NOT_FOUND, shardy__profile_load(path, PROFILE_CONFIG, "x", &p, &err));
    support_write_file(path, text, PROFILE_FILE_LEN_MAX);
    assert_ok(shardy__profile_load(path, PROFILE_CONFIG, "x", &p, &err));
    support_write_file(path, text, PROFILE_FILE_LEN_MAX + 1);
    assert_status(SHARDY_CONFIG, shardy__profile_load(path, PROFILE_CONFIG, "x", &p, &err));
    assert_non_null(strstr(err.message, "more than"));
    support_write_file(path, "a\0b", 3);
    assert_status(SHARDY_CONFIG, shardy__profile_load(path, PROFILE_CONFIG, "x", &p, &err));
    assert_non_null(strstr(err.message, "zero byte"));
    assert_status(SHARDY_INVALID, shardy__profile_load(dir, PROFILE_CONFIG, "x", &p, &err));
    free(text);
    support_remove_dir(dir);
}

/* --- replies --------------------------------------------------------------------------------- */

#define KEYS "\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"S\", "

static void test_json__credentials_are_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        shardy_status status;
        const char *code;
    } cases[] = {
        {"{" KEYS "\"Token\": \"T\", \"Expiration\": \"2030-01-01T00:00:00Z\"}", SHARDY_OK, ""},
        {"{\"x\": [{}], " KEYS "\"Expiration\": \"2030-01-01T00:00:00Z\"}", SHARDY_OK, ""},
        {"{\"Code\": \"Failed\"}", SHARDY_OK, "Failed"},
        {"{\"Code\": \"a<b\"}", SHARDY_OK, "a"},
        {"{\"Code\": \"<b\"}", SHARDY_OK, "Unknown"},
        {"{" KEYS "\"Expiration\": \"soon CANARY\"}", SHARDY_CORRUPT, ""},
        {"{" KEYS "\"Token\": \"T\"}", SHARDY_CORRUPT, ""},
        {"{\"SecretAccessKey\": \"CANARY\", \"Expiration\": \"2030-01-01T00:00:00Z\"}",
            SHARDY_CORRUPT, ""},
        {"{" KEYS "\"Token\": \"\\u0000CANARY\", \"Expiration\": \"2030-01-01T00:00:00Z\"}",
            SHARDY_CORRUPT, ""},
        {"[]", SHARDY_CORRUPT, ""},
        {"", SHARDY_CORRUPT, ""},
        {"{\"CANARY", SHARDY_CORRUPT, ""},
        {"{" KEYS "\"Expiration\": \"2030-01-01T00:00:00Z\"} CANARY", SHARDY_CORRUPT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        credentials_reply reply;
        shardy_error err = {0};
        shardy_bytes text = {cases[i].text, strlen(cases[i].text)};
        assert_status(cases[i].status, shardy__credentials_parse_json(text, &reply, &err));
        assert_null(strstr(err.message, "CANARY"));
        if (cases[i].status == SHARDY_OK) {
            assert_string_equal(reply.code, cases[i].code);
        }
    }
}

static void test_xml__credentials_are_whole_or_refused(void **state)
{
    (void)state;
    static const char begin[] =
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
        "<Credentials><AccessKeyId>A</AccessKeyId>";
    static const char end[] = "</Credentials></AssumeRoleWithWebIdentityResult>"
                              "</AssumeRoleWithWebIdentityResponse>";
    static const struct {
        const char *middle;
        shardy_status status;
    } cases[] = {
        {"<SecretAccessKey>S</SecretAccessKey><Expiration>2030-01-01T00:00:00Z</Expiration>",
            SHARDY_OK},
        {"<SecretAccessKey>CANARY</SecretAccessKey>", SHARDY_CORRUPT},
        {"<SecretAccessKey>CANARY</SecretAccessKey><Expiration>CANARY</Expiration>",
            SHARDY_CORRUPT},
        {"<SecretAccessKey>CANARY", SHARDY_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        credentials_reply reply;
        shardy_error err = {0};
        snprintf(text, sizeof text, "%s%s%s", begin, cases[i].middle, end);
        shardy_bytes bytes = {text, strlen(text)};
        assert_status(cases[i].status, shardy__s3_parse_assumed(bytes, &reply, &err));
        assert_null(strstr(err.message, "CANARY"));
    }
}

/* --- addresses ------------------------------------------------------------------------------- */

static void test_url__an_authorization_goes_to_few_hosts_without_tls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int local; /* -1: no URL */
    } cases[] = {
        {"http://127.0.0.1/x", 1},
        {"http://127.255.0.9:80/x", 1},
        {"http://localhost:1/x", 1},
        {"http://[::1]:8080/", 1},
        {"http://169.254.170.2/v2/x", 1},
        {"http://169.254.170.23/v1/credentials", 1},
        {"http://[fd00:ec2::23]/v1/credentials", 1},
        {"http://[FD00:0EC2::0023]/v1/credentials", 1},
        {"http://169.254.169.254/x", 0},
        {"http://169.254.170.3/x", 0},
        {"http://10.0.0.1/x", 0},
        {"http://example.com/x", 0},
        {"http://127.0.0.1.example.com/x", 0},
        {"http://127.1/x", 0},
        {"http://2130706433/x", 0},
        {"http://0x7f000001/x", 0},
        {"http://localhost.example.com/x", 0},
        {"http://[fd00:ec2::24]/", 0},
        {"http://[::ffff:10.0.0.1]/", 0},
        {"https://example.com", 0},
        {"http://127.0.0.1@example.com/", -1},
        {"http://127.0.0.1:80@example.com/", -1},
        {"http://example.com\\@127.0.0.1/", -1},
        {"http://127.0.0.1#@example.com/", -1},
        {"http://127.0.0.1:/x", -1},
        {"http://127.0.0.1:99999/x", -1},
        {"http://127.0.0.1:+80/x", -1},
        {"http://[::1/x", -1},
        {"http://[::1]x/", -1},
        {"http://[127.0.0.1]/", -1},
        {"http://127.0.0.1../", -1},
        {"http://localhost./", 0},
        {"http:///x", -1},
        {"http://", -1},
        {"http://127.0.0.1/a b", -1},
        {"http://127.0.0.1/\n", -1},
        {"ftp://127.0.0.1/", -1},
        {"HTTP://127.0.0.1/", -1},
        {"//127.0.0.1/", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        service_url url;
        const char *problem = shardy__service_url_parse(cases[i].url, &url);
        int local = problem ? -1 : shardy__service_url_is_local(&url);
        if (local != cases[i].local) {
            fail_msg("%s: %d, %s", cases[i].url, local, problem ? problem : url.host);
        }
    }
}

/* --- finding --------------------------------------------------------------------------------- */

typedef struct world {
    shardy_context *context;
    char *dir;
} world;

static int setup(void **state)
{
    static const char *const variables[] = {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT"};
    shardy_error err;
    world *w = calloc(1, sizeof *w);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        unsetenv(variables[i]);
    }
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    assert_ok(shardy_context_new(NULL, &w->context, &err));
    w->dir = support_make_dir();
    setenv("HOME", w->dir, 1);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    shardy_context_free(w->context);
    support_remove_dir(w->dir);
    free(w);
    return 0;
}

static void write_file(const world *w, const char *variable, const char *text)
{
    const char *path = support_path(w->dir, variable);
    support_write_file(path, text, strlen(text));
    setenv(variable, path, 1);
}

/* The key id that is found, or the message; free it. */
static char *find(const world *w, const char *key_id, const char *name)
{
    static const http_options http = {"", NULL, 1, 1000, 1000, 1};
    const credentials_options options = {key_id, key_id ? "CANARY" : NULL, NULL, name, NULL, &http};
    credentials_source *source;
    shardy_error err;
    credentials *c;
    if (shardy__credentials_open(w->context, &options, &source, &err) < 0) {
        assert_int_equal(err.status, SHARDY_CONFIG);
        assert_null(source);
        assert_null(strstr(err.message, "CANARY"));
        return strdup(err.message);
    }
    uint64_t since = 0;
    assert_ok(shardy__credentials_get(source, NULL, &since, &c, &err));
    char *found = strdup(shardy__credentials_key_id(c));
    shardy__credentials_drop(c);
    shardy__credentials_close(source);
    return found;
}

static void check_finds(const world *w, const char *name, const char *part)
{
    char *found = find(w, NULL, name);
    if (!strstr(found, part)) {
        fail_msg("\"%s\" is not in: %s", part, found);
    }
    free(found);
}

static void test_find__a_profile_goes_before_the_environment_when_it_is_asked_for(void **state)
{
    const world *w = *state;
    write_file(w, "AWS_SHARED_CREDENTIALS_FILE",
        "[default]\naws_access_key_id=OF-DEFAULT\naws_secret_access_key=CANARY\n"
        "[other]\naws_access_key_id=OF-OTHER\naws_secret_access_key=CANARY\n"
        "[half]\naws_access_key_id=OF-HALF\n"
        "[bad]\naws_access_key_id=CAN ARY\naws_secret_access_key=CANARY\n");
    write_file(w, "AWS_CONFIG_FILE",
        "[profile third]\naws_access_key_id=OF-THIRD\naws_secret_access_key=CANARY\n"
        "[profile other]\naws_access_key_id=LATER\naws_secret_access_key=CANARY\n"
        "[profile half]\naws_secret_access_key=CANARY\n"
        "[profile role]\nrole_arn=arn\nsource_profile=other\n"
        "[profile alone]\nrole_arn=arn\n"
        "[profile process]\ncredential_process=/bin/CANARY\n"
        "[profile nothing]\nregion=x\n");
    check_finds(w, NULL, "OF-DEFAULT");
    check_finds(w, "other", "OF-OTHER");
    check_finds(w, "third", "OF-THIRD");
    check_finds(w, "half", "without its secret");
    check_finds(w, "bad", "\"bad\" of");
    check_finds(w, "role", "by source_profile, which is not supported");
    check_finds(w, "alone", "by role_arn alone");
    check_finds(w, "process", "by credential_process");
    check_finds(w, "missing", "there is no profile \"missing\" in");
    check_finds(
        w, "nothing", "there are no credentials; tried: options (none), profile \"nothing\"");
    setenv("AWS_PROFILE", "third", 1);
    check_finds(w, NULL, "OF-THIRD");
    check_finds(w, "other", "OF-OTHER");
    setenv("AWS_ACCESS_KEY_ID", "OF-ENVIRONMENT", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "CANARY", 1);
    check_finds(w, NULL, "OF-ENVIRONMENT");
    check_finds(w, "other", "OF-OTHER");
    char *found = find(w, "OF-OPTIONS", NULL);
    assert_string_equal(found, "OF-OPTIONS");
    free(found);
    found = find(w, "OF-OPTIONS", "other");
    assert_non_null(strstr(found, "expected one of them"));
    free(found);
    unsetenv("AWS_ACCESS_KEY_ID");
    check_finds(w, NULL, "has no access key id");
}

static void test_find__the_files_are_in_the_home_directory(void **state)
{
    const world *w = *state;
    static const char text[] = "[default]\naws_access_key_id=OF-HOME\naws_secret_access_key=x\n";
    assert_int_equal(mkdir(support_path(w->dir, ".aws"), 0700), 0);
    support_write_file(support_path(w->dir, ".aws/config"), text, sizeof text - 1);
    check_finds(w, NULL, "OF-HOME");
    support_write_file(support_path(w->dir, ".aws/credentials"), "[default]\nCANARY\n", 17);
    check_finds(w, NULL, ".aws/credentials\": line 2 is no");
    unsetenv("HOME");
    check_finds(w, NULL, "no file \"~/.aws/credentials\", no file \"~/.aws/config\"");
}

static void test_find__addresses_of_containers_are_checked(void **state)
{
    const world *w = *state;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/CANARY", 1);
    check_finds(w, NULL, "names the host \"example.com\" without https");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://user:CANARY@127.0.0.1/", 1);
    check_finds(w, NULL, "AWS_CONTAINER_CREDENTIALS_FULL_URI: the URL has credentials in front");
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/", 1);
    check_finds(w, NULL, "expected a path that begins with \"/\"");
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/a b", 1);
    check_finds(w, NULL, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: the URL has a character");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profile__is_read_from_either_file),
        cmocka_unit_test(test_profile__all_settings_are_kept),
        cmocka_unit_test(test_profile__a_wrong_line_is_named_and_not_shown),
        cmocka_unit_test(test_profile__files_have_a_bound),
        cmocka_unit_test(test_json__credentials_are_whole_or_refused),
        cmocka_unit_test(test_xml__credentials_are_whole_or_refused),
        cmocka_unit_test(test_url__an_authorization_goes_to_few_hosts_without_tls),
        cmocka_unit_test_setup_teardown(
            test_find__a_profile_goes_before_the_environment_when_it_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_find__the_files_are_in_the_home_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_find__addresses_of_containers_are_checked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
