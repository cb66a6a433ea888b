/* Finding credentials and asking for them while memory, reads and threads fail: each failure is
 * told, nothing is left behind, and no secret is in a message. */
#include "base/context.h"
#include "store/credentials.h"
#include "support/server.h"
#include "support/support.h"
#include "support/sweep.h"

#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY  SWEEP_BIT(SWEEP_ALLOC)
#define READS   SWEEP_BIT(SWEEP_READ)
#define THREADS SWEEP_BIT(SWEEP_THREAD)

static server *services;
static server *bucket;
static char *dir;
static char token_path[512];
static char file_path[512];

static int start(void **state)
{
    static const char file[] = "[default]\naws_access_key_id = KEY\n"
                               "aws_secret_access_key = SECRET-file\nregion = eu-west-3\n";
    (void)state;
    services = server_start_credentials(NULL);
    bucket = server_start_s3(NULL);
    server_settings(bucket, "{\"auth\": \"off\"}");
    server_put_object(bucket, SERVER_BUCKET, "p/k", "0123456789", 10);
    dir = support_make_dir();
    snprintf(token_path, sizeof token_path, "%s", support_path(dir, "token"));
    snprintf(file_path, sizeof file_path, "%s", support_path(dir, "file"));
    support_write_file(token_path, "SECRET-identity\n", 16);
    support_write_file(file_path, file, sizeof file - 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(services);
    server_stop(bucket);
    support_remove_dir(dir);
    return 0;
}

/* The variables of a case, "NAME=value"; "URL" is that of the stub. */
static void *set_variables(const void *param)
{
    static const char *const all[] = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_DISABLED"};
    const char *kind = param;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        unsetenv(all[i]);
    }
    setenv("HOME", dir, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    if (strcmp(kind, "file") == 0) {
        setenv("AWS_SHARED_CREDENTIALS_FILE", file_path, 1);
        setenv("AWS_CONFIG_FILE", file_path, 1);
    } else if (strcmp(kind, "identity") == 0) {
        setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token_path, 1);
        setenv("AWS_ROLE_ARN", "arn", 1);
        setenv("AWS_ENDPOINT_URL_STS", server_url(services), 1);
    } else if (strcmp(kind, "container") == 0) {
        char url[200];
        snprintf(url, sizeof url, "%s/container", server_url(services));
        setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
        setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_path, 1);
    } else if (strcmp(kind, "instance") == 0) {
        unsetenv("AWS_EC2_METADATA_DISABLED");
        setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server_url(services), 1);
    }
    return NULL;
}

static shardy_status open_and_get(shardy_context *context, shardy_error *err)
{
    credentials_source *source;
    credentials *c = NULL;
    uint64_t since = 0;
    const shardy_store_limits none = {0, NULL};
    const http_options http = {"", NULL, 1, 5000, 5000, 8};
    const credentials_options options = {NULL, NULL, NULL, NULL, NULL, &http};
    shardy_status st = shardy__credentials_open(context, &options, &source, err);
    if (st >= 0) {
        st = shardy__credentials_get(source, &none, &since, &c, err);
    }
    if (st >= 0 && shardy__credentials_refused(source, c)) {
        credentials *other = NULL;
        st = shardy__credentials_renewed(source, c, &none, &other, err);
        assert_true((st >= 0) == (other != NULL));
        shardy__credentials_drop(other);
    }
    shardy__credentials_drop(c);
    shardy__credentials_close(source);
    return st;
}

static shardy_status find_and_get(void *state, shardy_error *err)
{
    shardy_context *context;
    (void)state;
    shardy_status st = shardy_context_new(NULL, &context, err);
    if (st >= 0) {
        st = open_and_get(context, err);
        shardy_context_free(context);
    }
    return st;
}

static shardy_status open_and_read(shardy_context *context, shardy_error *err)
{
    shardy_store *store;
    shardy_buf body;
    shardy_store_s3_options options;
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(bucket);
    options.region = SERVER_REGION;
    options.proxy = "";
    options.max_attempts = 1;
    SHARDY_TRY(shardy_store_open_s3(context, "s3://" SERVER_BUCKET "/p", &options, &store, err));
    shardy_status st = shardy_store_get(store, "k", 0, 10, &body, NULL, err);
    if (st >= 0) {
        assert_int_equal(body.len, 10);
        shardy_buf_release(&body);
    }
    shardy_store_close(store);
    return st;
}

/* A read that waits for its credentials. */
static shardy_status read_with_them(void *state, shardy_error *err)
{
    shardy_context *context;
    (void)state;
    shardy_status st = shardy_context_new(NULL, &context, err);
    if (st >= 0) {
        st = open_and_read(context, err);
        shardy_context_free(context);
    }
    return st;
}

static void check_message(void *state, shardy_status status, const shardy_error *err)
{
    static const char *const secrets[] = {"SECRET-", "TOKEN-", "imds-token"};
    (void)state;
    for (size_t i = 0; status < 0 && i < sizeof secrets / sizeof secrets[0]; i++) {
        assert_null(strstr(err->message, secrets[i]));
    }
}

static void test_credentials__every_failure_is_told(void **state)
{
    (void)state;
    static const sweep_case cases[] = {
        {.name = "credentials of a file", .kinds = MEMORY | READS, .param = "file"},
        {.name = "credentials of a web identity",
            .kinds = MEMORY | READS | THREADS,
            .param = "identity"},
        {.name = "credentials of a container",
            .kinds = MEMORY | READS | THREADS,
            .param = "container"},
        {.name = "credentials of an instance", .kinds = MEMORY | THREADS, .param = "instance"},
        {.name = "a read with credentials of a container",
            .kinds = MEMORY | READS | THREADS,
            .operation = read_with_them,
            .param = "container"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sweep_case c = cases[i];
        c.setup = set_variables;
        c.operation = c.operation ? c.operation : find_and_get;
        c.check = check_message;
        sweep_run(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials__every_failure_is_told),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
