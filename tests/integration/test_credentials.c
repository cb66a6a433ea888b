/* Credentials of services: asked for, kept, replaced before they expire; none of them in a message
 * or in the log. Each test ends with a look at every text that the library has given out. */
#include "support/credentials_world.h"

#include <sys/wait.h>
#include <unistd.h>

#define NOTHING "http://127.0.0.1:1" /* nobody listens there */

/* --- opening and getting ---------------------------------------------------------------------- */

static shardy_status open_source(world *w, credentials_source **source, shardy_error *err)
{
    credentials_options options = {NULL, NULL, NULL, NULL, NULL, &w->http};
    shardy__error_clear(err);
    shardy_status st = shardy__credentials_open(w->context, &options, source, err);
    tell(err->message);
    return st;
}

static credentials_source *open_ok(world *w)
{
    shardy_error err;
    credentials_source *source;
    assert_ok(open_source(w, &source, &err));
    return source;
}

static shardy_status get_within(credentials_source *source, int64_t deadline_ns,
    const shardy_cancel *cancel, credentials **c, shardy_error *err)
{
    uint64_t since = 0;
    const shardy_store_limits limits = {deadline_ns, cancel};
    return shardy__credentials_get(source, &limits, &since, c, err);
}

static shardy_status get(credentials_source *source, credentials **c, shardy_error *err)
{
    shardy__error_clear(err);
    shardy_status st = get_within(source, 0, NULL, c, err);
    tell(err->message);
    return st;
}

/* The key id of what is got. */
static void check_get(credentials_source *source, const char *key_id)
{
    shardy_error err;
    credentials *c;
    assert_ok(get(source, &c, &err));
    assert_string_equal(shardy__credentials_key_id(c), key_id);
    assert_non_null(shardy__credentials_secret(c));
    shardy__credentials_drop(c);
}

static void check_fails(
    credentials_source *source, shardy_status status, int retriable, const char *part)
{
    shardy_error err;
    credentials *c;
    assert_status(status, get(source, &c, &err));
    assert_null(c);
    if (!strstr(err.message, part) || err.retriable != retriable) {
        fail_msg("retriable %d, \"%s\" not in: %s", err.retriable, part, err.message);
    }
}

/* The key id is one of the stub, and the other texts belong to it. */
static void check_of_stub(credentials_source *source)
{
    shardy_error err;
    credentials *c;
    assert_ok(get(source, &c, &err));
    const char *number = shardy__credentials_key_id(c) + strlen("ACCESS-");
    assert_memory_equal(shardy__credentials_key_id(c), "ACCESS-", 7);
    assert_string_equal(shardy__credentials_secret(c) + strlen("SECRET-"), number);
    assert_string_equal(shardy__credentials_token(c) + strlen("TOKEN-"), number);
    shardy__credentials_drop(c);
}

/* --- each of the services --------------------------------------------------------------------- */

static void test_container__is_asked_with_its_token(void **state)
{
    world *w = *state;
    use_container();
    credentials_source *source = open_ok(w);
    assert_int_equal(asked_for(), 0);
    check_of_stub(source);
    check_of_stub(source);
    assert_int_equal(asked_for(), 1);
    shardy__credentials_close(source);
    /* the file goes before the variable, and is read again each time */
    const char *path = support_path(w->dir, "token");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CANARY-wrong", 1);
    source = open_ok(w);
    check_fails(source, SHARDY_CONFIG, 0, "no file");
    support_write_file(path, "CANARY-old", 10);
    check_fails(source, SHARDY_AUTH, 0, "answered 401");
    support_write_file(path, "CANARY\r\nx: y", 12);
    check_fails(source, SHARDY_CONFIG, 0, "control characters");
    support_write_file(path, CONTAINER_TOKEN "\r\n", strlen(CONTAINER_TOKEN) + 2);
    check_of_stub(source);
    shardy__credentials_close(source);
}

static void test_container__a_message_has_its_address_without_the_query(void **state)
{
    world *w = *state;
    char part[200];
    use_container();
    snprintf(part, sizeof part, "\"%s/container\" answered 403", server_url(services));
    server_faults(services, "{\"kind\": \"status\", \"status\": 403}");
    credentials_source *source = open_ok(w);
    check_fails(source, SHARDY_AUTH, 0, part);
    shardy__credentials_close(source);
    shardy_error err;
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container?of=CANARY", 1);
    assert_status(SHARDY_CONFIG, open_source(w, &source, &err));
    assert_non_null(strstr(err.message, "is \"container\", expected a path"));
}

static void check_told(world *w, const char *part)
{
    told.len = 0;
    told.text[0] = '\0';
    shardy__credentials_close(open_ok(w));
    char line[400];
    snprintf(line, sizeof line, "credentials: those of %s\n", part);
    if (!strstr(told.text, line)) {
        fail_msg("\"%s\" is not in: %s", line, told.text);
    }
    check_output();
}

static void test_credentials__the_log_tells_whose_they_are(void **state)
{
    world *w = *state;
    char line[300];
    use_instance();
    check_told(w, "instance metadata");
    use_container();
    check_told(w, "container metadata");
    use_identity(w);
    check_told(w, "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)");
    static const char profile[] = "[default]\naws_access_key_id = CANARY-id\n"
                                  "aws_secret_access_key = CANARY-secret\n";
    const char *path = support_path(w->dir, "profiles");
    support_write_file(path, profile, sizeof profile - 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    snprintf(line, sizeof line, "the profile \"default\" of \"%s\"", path);
    check_told(w, line);
    setenv("AWS_ACCESS_KEY_ID", "CANARY-id", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "CANARY-secret", 1);
    setenv("AWS_SESSION_TOKEN", "CANARY-token", 1);
    check_told(w, "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)");
}

static void test_identity__is_exchanged_for_credentials(void **state)
{
    world *w = *state;
    use_identity(w);
    credentials_source *source = open_ok(w);
    check_of_stub(source);
    assert_int_equal(server_count(services, "operation.assume_role", NULL), 1);
    shardy__credentials_close(source);
    unsetenv("AWS_ROLE_ARN");
    shardy_error err;
    assert_status(SHARDY_CONFIG, open_source(w, &source, &err));
    assert_non_null(strstr(err.message, "without AWS_ROLE_ARN"));
    setenv("AWS_ROLE_ARN", "arn", 1);
    setenv("AWS_ROLE_SESSION_NAME", "a b", 1);
    assert_status(SHARDY_CONFIG, open_source(w, &source, &err));
    assert_non_null(strstr(err.message, "\"a b\""));
    unsetenv("AWS_ROLE_SESSION_NAME");
    source = open_ok(w);
    support_write_file(support_path(w->dir, "token"), "CANARY-other", 12);
    check_fails(source, SHARDY_AUTH, 0, "400 InvalidIdentityToken");
    server_faults(services, "[{\"kind\": \"status\", \"status\": 503, \"code\": \"CANARY\"}]");
    check_fails(source, SHARDY_THROTTLED, 1, "answered 503");
    shardy__credentials_close(source);
}

static void test_identity__can_be_that_of_a_profile(void **state)
{
    world *w = *state;
    char text[1024];
    use_identity(w);
    unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
    unsetenv("AWS_ROLE_ARN");
    support_write_file(support_path(w->dir, "token2"), IDENTITY_TOKEN, strlen(IDENTITY_TOKEN));
    snprintf(text, sizeof text,
        "[profile who]\nrole_arn = arn\nweb_identity_token_file = %s\nregion = eu-south-9\n",
        support_path(w->dir, "token2"));
    support_write_file(support_path(w->dir, "config"), text, strlen(text));
    setenv("AWS_CONFIG_FILE", support_path(w->dir, "config"), 1);
    setenv("AWS_PROFILE", "who", 1);
    credentials_source *source = open_ok(w);
    assert_string_equal(shardy__credentials_region(source), "eu-south-9");
    check_of_stub(source);
    shardy__credentials_close(source);
}

static void test_instance__is_asked_for_a_token_a_role_and_its_credentials(void **state)
{
    world *w = *state;
    use_instance();
    credentials_source *source = open_ok(w);
    check_of_stub(source);
    assert_int_equal(server_count(services, "requests", NULL), 3);
    assert_int_equal(server_count(services, "operation.imds_token", NULL), 1);
    assert_int_equal(server_count(services, "operation.imds_role", NULL), 1);
    assert_int_equal(server_count(services, "operation.imds_credentials", NULL), 1);
    shardy__credentials_close(source);
}

static void test_instance__that_has_none_is_told_with_all_that_was_tried(void **state)
{
    world *w = *state;
    shardy_error err;
    credentials_source *source;
    use_instance();
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", NOTHING "/", 1);
    source = open_ok(w);
    static const char *const parts[] = {"options (none)", "environment (no S3_ACCESS_KEY_ID",
        "profile \"default\"", "/.aws/credentials", "/.aws/config", "web identity (no ",
        "container (no ", "instance metadata (PUT \"http://127.0.0.1:1/latest/api/token\""};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        check_fails(source, SHARDY_CONFIG, 0, parts[i]);
    }
    shardy__credentials_close(source);
    /* no role */
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server_url(services), 1);
    server_settings(services, "{\"role\": \"\"}");
    source = open_ok(w);
    check_fails(source, SHARDY_CONFIG, 0, "answered 404");
    shardy__credentials_close(source);
    server_settings(services, "{\"role\": \"test-role\"}");
    /* a failure that passes */
    server_faults(services, "[{\"kind\": \"status\", \"status\": 503}]");
    source = open_ok(w);
    check_fails(source, SHARDY_THROTTLED, 1, "answered 503");
    server_faults(services, NULL);
    check_of_stub(source);
    shardy__credentials_close(source);
    setenv("AWS_EC2_METADATA_DISABLED", "True", 1);
    assert_status(SHARDY_CONFIG, open_source(w, &source, &err));
    assert_non_null(strstr(err.message, "AWS_EC2_METADATA_DISABLED"));
    assert_null(source);
}

static void test_instance__of_the_first_version_is_not_used(void **state)
{
    world *w = *state;
    use_instance();
    server_faults(
        services, "[{\"operation\": \"imds_token\", \"kind\": \"status\", \"status\": 404}]");
    credentials_source *source = open_ok(w);
    check_fails(source, SHARDY_CONFIG, 0, "answered 404");
    assert_int_equal(server_count(services, "requests", NULL), 1);
    shardy__credentials_close(source);
}

static void test_order__the_first_that_says_anything_counts(void **state)
{
    world *w = *state;
    static const char file[] = "[default]\naws_access_key_id = OF-FILE\n"
                               "aws_secret_access_key = wJalrFile\n";
    use_instance();
    use_container();
    use_identity(w);
    support_write_file(support_path(w->dir, "keys"), file, sizeof file - 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", support_path(w->dir, "keys"), 1);
    setenv("AWS_ACCESS_KEY_ID", "OF-AWS", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "wJalrAws", 1);
    setenv("S3_ACCESS_KEY_ID", "OF-S3", 1);
    setenv("S3_SECRET_ACCESS_KEY", "wJalrS3", 1);
    static const struct {
        const char *key_id;
        const char *take_away[2];
    } steps[] = {{"OF-S3", {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"}},
        {"OF-AWS", {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}},
        {"OF-FILE", {"AWS_SHARED_CREDENTIALS_FILE", "none"}}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        credentials_source *source = open_ok(w);
        check_get(source, steps[i].key_id);
        shardy__credentials_close(source);
        unsetenv(steps[i].take_away[0]);
        unsetenv(steps[i].take_away[1]);
    }
    static const struct {
        const char *operation;
        const char *take_away;
    } asked[] = {{"operation.assume_role", "AWS_WEB_IDENTITY_TOKEN_FILE"},
        {"operation.container_credentials", "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
        {"operation.imds_credentials", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        assert_int_equal(server_count(services, asked[i].operation, NULL), 0);
        credentials_source *source = open_ok(w);
        check_of_stub(source);
        shardy__credentials_close(source);
        assert_int_equal(server_count(services, asked[i].operation, NULL), 1);
        unsetenv(asked[i].take_away);
    }
}

/* --- expiry ----------------------------------------------------------------------------------- */

static void test_expiry__others_are_asked_for_before(void **state)
{
    world *w = *state; /* it is 2023-11-14T22:13:20Z */
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1}};
    use_container();
    use_answers(answers, 1, "{\"from\": 2, \"kind\": \"hold\"}");
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    pass(w, 3600 - 301);
    check_get(source, "FIRST");
    assert_int_equal(asked_for(), 1);
    /* five minutes before the end; meanwhile the old ones are used */
    pass(w, 2);
    for (int i = 0; i < 10; i++) {
        check_get(source, "FIRST");
    }
    server_wait_held(services, 1);
    check_get(source, "FIRST");
    server_release(services, 0);
    pass(w, 300);
    check_of_stub(source);
    assert_int_equal(asked_for(), 2);
    shardy__credentials_close(source);
}

static void *get_many(void *arg)
{
    size_t *failures = calloc(1, sizeof *failures);
    for (int i = 0; i < 200; i++) {
        credentials *c = NULL;
        *failures += get_within(arg, 0, NULL, &c, NULL) != SHARDY_OK ||
                     strcmp(shardy__credentials_key_id(c), "FIRST") != 0;
        shardy__credentials_drop(c);
    }
    return failures;
}

static void test_expiry__one_asks_while_the_others_go_on_with_the_old_ones(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1}};
    pthread_t threads[4];
    use_container();
    use_answers(answers, 1, "{\"from\": 2, \"kind\": \"hold\"}");
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    pass(w, 3500);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, get_many, source), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failures;
        assert_int_equal(pthread_join(threads[i], &failures), 0);
        assert_int_equal(*(size_t *)failures, 0);
        free(failures);
    }
    server_wait_held(services, 1);
    /* once the old ones are over, whoever asks waits */
    pass(w, 200);
    shardy_error err;
    credentials *c;
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    assert_status(SHARDY_CANCELLED, get_within(source, 0, cancel, &c, &err));
    assert_non_null(strstr(err.message, "container metadata"));
    assert_status(SHARDY_TIMEOUT, get_within(source, 1, NULL, &c, &err));
    shardy_cancel_free(cancel);
    server_release(services, 0);
    check_of_stub(source);
    assert_int_equal(asked_for(), 2);
    shardy__credentials_close(source);
}

static void test_expiry__a_failure_is_tolerated_while_the_old_ones_hold(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1},
        {OPERATION, "SECOND", "2023-11-15T01:13:20Z", 4, 99}};
    use_container();
    use_answers(answers, 2,
        "{\"operation\": \"" OPERATION "\", \"from\": 2, \"to\": 3, \"kind\": \"status\", "
        "\"status\": 500, \"message\": \"CANARY\"}");
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    pass(w, 3600 - 200);
    check_get(source, "FIRST");
    wait_until_told("no new credentials, the old ones are used until they expire");
    for (int i = 0; i < 10; i++) {
        check_get(source, "FIRST");
    }
    assert_int_equal(asked_for(), 2); /* nobody is asked again in the next minute */
    pass(w, 200);
    shardy_error err;
    credentials *c = NULL;
    unsigned failures = 0;
    while (get(source, &c, &err) < 0) {
        assert_int_equal(err.status, SHARDY_IO);
        assert_int_equal(err.retriable, 1);
        assert_non_null(strstr(err.message, "container metadata"));
        failures++;
        /* the first request ends right after it was told, perhaps only now */
        assert_true(failures <= 2);
    }
    assert_true(failures >= 1);
    assert_string_equal(shardy__credentials_key_id(c), "SECOND");
    shardy__credentials_drop(c);
    assert_int_equal(asked_for(), 4);
    shardy__credentials_close(source);
}

static void test_expiry__either_clock_ends_them(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1},
        {OPERATION, "SECOND", "2023-11-15T00:13:20Z", 2, 2},
        {OPERATION, "THIRD", "2023-11-15T02:13:20Z", 3, 3}};
    use_container();
    use_answers(answers, 3, NULL);
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    w->clock.wall_us += INT64_C(3600) * 1000000; /* the machine slept */
    check_get(source, "SECOND");
    w->clock.wall_us -= INT64_C(7200) * 1000000; /* somebody set the clock back */
    check_get(source, "SECOND");
    w->clock.monotonic_ns += INT64_C(3600) * 1000000000;
    check_get(source, "THIRD");
    shardy__credentials_close(source);
}

static void test_expiry__credentials_that_are_over_when_they_come_are_refused(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T22:13:20Z", 1, 1}};
    use_container();
    use_answers(answers, 1, NULL);
    credentials_source *source = open_ok(w);
    check_fails(source, SHARDY_AUTH, 0, "expired already, at 2023-11-14T22:13:20Z");
    shardy__credentials_close(source);
}

/* --- what services may not do ----------------------------------------------------------------- */

static void test_replies__that_are_wrong_are_refused(void **state)
{
    world *w = *state;
    static const struct {
        const char *rule;
        shardy_status status;
        const char *part;
    } cases[] = {
        {"{\"kind\": \"body\", \"body\": \"CANARY\"}", SHARDY_CORRUPT, "no object"},
        {"{\"kind\": \"body\", \"body\": \"\"}", SHARDY_CORRUPT, "no object"},
        {"{\"kind\": \"body\", \"body\": \"{\\\"AccessKeyId\\\": \\\"CANARY\\\"}\"}",
            SHARDY_CORRUPT, "no access key"},
        {"{\"kind\": \"body\", \"body\": \"{\\\"Code\\\": \\\"Busy<CANARY>\\\"}\"}", SHARDY_AUTH,
            "answered 200 Busy"},
        {"{\"kind\": \"long\", \"bytes\": 40000}", SHARDY_IO, "longer than"},
        {"{\"kind\": \"cut\", \"after\": 20}", SHARDY_IO, "GET"},
        {"{\"kind\": \"drop\"}", SHARDY_IO, "GET"},
        {"{\"kind\": \"garbage\"}", SHARDY_IO, "GET"},
        {"{\"kind\": \"huge_headers\"}", SHARDY_IO, "head"},
        {"{\"kind\": \"status\", \"status\": 403, \"message\": \"CANARY\"}", SHARDY_AUTH, "403"},
        {"{\"kind\": \"status\", \"status\": 206}", SHARDY_IO, "206"},
    };
    use_container();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char rules[512];
        shardy_error err;
        credentials *c;
        snprintf(rules, sizeof rules, "[%s]", cases[i].rule);
        server_faults(services, rules);
        credentials_source *source = open_ok(w);
        shardy_status st = get(source, &c, &err);
        if (st != cases[i].status || !strstr(err.message, cases[i].part)) {
            fail_msg("%s: status %d, %s", rules, st, err.message);
        }
        shardy__credentials_close(source);
    }
}

static void test_redirects__are_not_followed(void **state)
{
    world *w = *state;
    char rules[512];
    snprintf(rules, sizeof rules,
        "[{\"kind\": \"status\", \"status\": 307, \"location\": \"%s/container\"}]",
        server_url(evil));
    use_container();
    server_faults(services, rules);
    credentials_source *source = open_ok(w);
    check_fails(source, SHARDY_IO, 0, "not followed");
    shardy__credentials_close(source);
    unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    use_identity(w);
    source = open_ok(w);
    check_fails(source, SHARDY_IO, 0, "not followed");
    shardy__credentials_close(source);
    assert_int_equal(server_count(evil, "requests", NULL), 0);
}

static void test_metadata__are_never_asked_for_through_a_proxy(void **state)
{
    world *w = *state;
    setenv("http_proxy", server_url(evil), 1);
    w->http.proxy = server_url(evil);
    use_container();
    credentials_source *source = open_ok(w);
    check_of_stub(source);
    shardy__credentials_close(source);
    assert_int_equal(server_count(evil, "requests", NULL), 0);
}

static void test_close__cancels_a_request_under_way(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1}};
    use_container();
    use_answers(answers, 1, "{\"from\": 2, \"kind\": \"hang\"}");
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    pass(w, 3500);
    check_get(source, "FIRST");
    shardy__credentials_close(source);
}

static void test_fork__a_child_closes_its_copy_while_credentials_are_asked_for(void **state)
{
    world *w = *state;
    static const answer answers[] = {{OPERATION, "FIRST", "2023-11-14T23:13:20Z", 1, 1}};
    use_container();
    use_answers(answers, 1, "{\"from\": 2, \"kind\": \"hold\"}");
    credentials_source *source = open_ok(w);
    check_get(source, "FIRST");
    pass(w, 3500);
    check_get(source, "FIRST");
    server_wait_held(services, 1);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        shardy__credentials_close(source);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    shardy__credentials_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_container__is_asked_with_its_token, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_container__a_message_has_its_address_without_the_query, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_credentials__the_log_tells_whose_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_identity__is_exchanged_for_credentials, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity__can_be_that_of_a_profile, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_instance__is_asked_for_a_token_a_role_and_its_credentials, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_instance__that_has_none_is_told_with_all_that_was_tried, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_instance__of_the_first_version_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_order__the_first_that_says_anything_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry__others_are_asked_for_before, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_expiry__one_asks_while_the_others_go_on_with_the_old_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_expiry__a_failure_is_tolerated_while_the_old_ones_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry__either_clock_ends_them, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_expiry__credentials_that_are_over_when_they_come_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replies__that_are_wrong_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirects__are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_metadata__are_never_asked_for_through_a_proxy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close__cancels_a_request_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_fork__a_child_closes_its_copy_while_credentials_are_asked_for, setup, teardown),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
