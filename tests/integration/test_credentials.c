/* Credentials of services: asked for, kept, replaced before they expire; none of them in a message
 * or in the log. Each test ends with a look at every text that the library has given out. */
#include "base/clock.h"
#include "base/context.h"
#include "store/credentials.h"
#include "support/hand_clock.h"
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/sys/store.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER_TOKEN "CANARY-container"
#define IDENTITY_TOKEN  "CANARY.identity.token"
#define NOTHING         "http://127.0.0.1:1" /* nobody listens there */

static server *services;
static server *evil;

static const char *const variables[] = {"S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY",
    "S3_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "S3_REGION",
    "AWS_DEFAULT_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "http_proxy", "https_proxy",
    "no_proxy"};

/* All that the library tells. */
typedef struct output {
    pthread_mutex_t lock;
    pthread_cond_t more;
    char text[256 << 10];
    size_t len;
} output;

static output told;

static void tell(const char *text)
{
    pthread_mutex_lock(&told.lock);
    size_t len = strlen(text);
    assert_true(told.len + len + 2 < sizeof told.text);
    memcpy(told.text + told.len, text, len);
    told.len += len;
    told.text[told.len++] = '\n';
    told.text[told.len] = '\0';
    pthread_cond_broadcast(&told.more);
    pthread_mutex_unlock(&told.lock);
}

static void wait_until_told(const char *part)
{
    pthread_mutex_lock(&told.lock);
    while (!strstr(told.text, part)) {
        pthread_cond_wait(&told.more, &told.lock);
    }
    pthread_mutex_unlock(&told.lock);
}

static void on_log(void *user, const shardy_log_record *record)
{
    (void)user;
    tell(record->text);
}

typedef struct world {
    hand_clock clock;
    shardy_context *context;
    char *dir; /* HOME */
    http_options http;
} world;

static int start_servers(void **state)
{
    static const char *const arguments[] = {"--record-headers", "--container-token",
        CONTAINER_TOKEN, "--web-identity-token", IDENTITY_TOKEN, NULL};
    (void)state;
    pthread_mutex_init(&told.lock, NULL);
    pthread_cond_init(&told.more, NULL);
    services = server_start_credentials(arguments);
    evil = server_start_evil();
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    server_stop(services);
    server_stop(evil);
    return 0;
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        unsetenv(variables[i]);
    }
    w->context = hand_clock_context_with_log(&w->clock, on_log, NULL);
    w->dir = support_make_dir();
    w->http = (http_options){"", NULL, 1, 5000, 5000, 8};
    setenv("HOME", w->dir, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    server_reset(services);
    server_reset(evil);
    told.len = 0;
    told.text[0] = '\0';
    *state = w;
    return 0;
}

/* No secret is in what was told. */
static void check_output(void)
{
    static const char *const secrets[] = {
        "CANARY", "SECRET-", "TOKEN-", "imds-token", "wJalr", NULL};
    for (size_t i = 0; secrets[i]; i++) {
        if (strstr(told.text, secrets[i])) {
            fail_msg("\"%s\" was told: %s", secrets[i], told.text);
        }
    }
}

static int teardown(void **state)
{
    world *w = *state;
    check_output();
    shardy_context_free(w->context);
    support_remove_dir(w->dir);
    free(w);
    return 0;
}

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

static shardy_status get(credentials_source *source, credentials **c, shardy_error *err)
{
    shardy__error_clear(err);
    shardy_status st = shardy__credentials_get(source, 0, NULL, c, err);
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

static void use_container(void)
{
    char url[160];
    snprintf(url, sizeof url, "%s/container?of=test", server_url(services));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN, 1);
}

static void use_instance(void)
{
    unsetenv("AWS_EC2_METADATA_DISABLED");
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server_url(services), 1);
}

static void use_identity(const world *w)
{
    const char *path = support_path(w->dir, "token");
    support_write_file(path, IDENTITY_TOKEN "\n", strlen(IDENTITY_TOKEN) + 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::123:role/a b", 1);
    setenv("AWS_ENDPOINT_URL_STS", server_url(services), 1);
}

/* A rule by which the service answers these credentials; `further` ones go before. */
typedef struct answer {
    const char *operation;
    const char *key_id;
    const char *expires;
    unsigned from;
    unsigned to;
} answer;

static void use_answers(const answer *answers, size_t count, const char *further)
{
    char rules[4096];
    snprintf(rules, sizeof rules, "[%s", further ? further : "");
    for (size_t i = 0; i < count; i++) {
        const answer *a = &answers[i];
        size_t len = strlen(rules);
        snprintf(rules + len, sizeof rules - len,
            "%s{\"operation\": \"%s\", \"from\": %u, \"to\": %u, \"kind\": \"body\", \"body\": "
            "\"{\\\"AccessKeyId\\\": \\\"%s\\\", \\\"SecretAccessKey\\\": \\\"SECRET-x\\\", "
            "\\\"Token\\\": \\\"TOKEN-x\\\", \\\"Expiration\\\": \\\"%s\\\"}\"}",
            i || further ? ", " : "", a->operation, a->from, a->to, a->key_id, a->expires);
    }
    size_t len = strlen(rules);
    snprintf(rules + len, sizeof rules - len, "]");
    server_faults(services, rules);
}

static void pass(world *w, int64_t seconds)
{
    w->clock.wall_us += seconds * 1000000;
    w->clock.monotonic_ns += seconds * 1000000000;
}

static uint64_t asked_for(void)
{
    return server_count(services, "operation.container_credentials", NULL);
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

#define OPERATION "container_credentials"

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
        *failures += shardy__credentials_get(arg, 0, NULL, &c, NULL) != SHARDY_OK ||
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
    assert_status(SHARDY_CANCELLED, shardy__credentials_get(source, 0, cancel, &c, &err));
    assert_non_null(strstr(err.message, "container metadata"));
    assert_status(SHARDY_TIMEOUT, shardy__credentials_get(source, 1, NULL, &c, &err));
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
    assert_status(
        SHARDY_NOT_FOUND, shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
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
static bucket open_bucket(int over)
{
    shardy_error err;
    shardy_store_s3_options options;
    bucket b = {server_start_s3(NULL), NULL, NULL};
    use_container();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_container__is_asked_with_its_token, setup, teardown),
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
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
