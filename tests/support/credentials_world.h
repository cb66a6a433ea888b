/* credentials_world.h: a home directory, servers that give credentials, and all that the library
 * has said, in which no secret may be. */
#ifndef SHARDY_TESTS_CREDENTIALS_WORLD_H
#define SHARDY_TESTS_CREDENTIALS_WORLD_H

#include "base/clock.h"
#include "base/context.h"
#include "store/credentials.h"
#include "support/hand_clock.h"
#include "support/server.h"
#include "support/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER_TOKEN "CANARY-container"
#define IDENTITY_TOKEN  "CANARY.identity.token"
#define OPERATION       "container_credentials" /* of the server */

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

static MAYBE_UNUSED void tell(const char *text)
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

static MAYBE_UNUSED void wait_until_told(const char *part)
{
    pthread_mutex_lock(&told.lock);
    while (!strstr(told.text, part)) {
        pthread_cond_wait(&told.more, &told.lock);
    }
    pthread_mutex_unlock(&told.lock);
}

static MAYBE_UNUSED void on_log(void *user, const shardy_log_record *record)
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

static MAYBE_UNUSED int start_servers(void **state)
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

static MAYBE_UNUSED int stop_servers(void **state)
{
    (void)state;
    server_stop(services);
    server_stop(evil);
    return 0;
}

static MAYBE_UNUSED int setup(void **state)
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
static MAYBE_UNUSED void check_output(void)
{
    static const char *const secrets[] = {
        "CANARY", "SECRET-", "TOKEN-", "imds-token", "wJalr", NULL};
    for (size_t i = 0; secrets[i]; i++) {
        if (strstr(told.text, secrets[i])) {
            fail_msg("\"%s\" was told: %s", secrets[i], told.text);
        }
    }
}

static MAYBE_UNUSED int teardown(void **state)
{
    world *w = *state;
    check_output();
    shardy_context_free(w->context);
    support_remove_dir(w->dir);
    free(w);
    return 0;
}

static MAYBE_UNUSED void use_container(void)
{
    char url[160];
    snprintf(url, sizeof url, "%s/container?of=CANARY-query", server_url(services));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN, 1);
}

static MAYBE_UNUSED void use_instance(void)
{
    unsetenv("AWS_EC2_METADATA_DISABLED");
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server_url(services), 1);
}

static MAYBE_UNUSED void use_identity(const world *w)
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

static MAYBE_UNUSED void use_answers(const answer *answers, size_t count, const char *further)
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

static MAYBE_UNUSED void pass(world *w, int64_t seconds)
{
    w->clock.wall_us += seconds * 1000000;
    w->clock.monotonic_ns += seconds * 1000000000;
}

static MAYBE_UNUSED uint64_t asked_for(void)
{
    return server_count(services, "operation.container_credentials", NULL);
}

#endif
