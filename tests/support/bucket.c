#include "bucket.h"

#include "dataset.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server *running;
static char *pointers[BUCKET_STATES];

server *bucket_server(void)
{
    return running;
}

const char *bucket_pointer(bucket_state state)
{
    return pointers[state];
}

static const char *saved_prefix(bucket_state state)
{
    static const char *const names[BUCKET_STATES] = {
        "saved-now/", "saved-next/", "saved-old/", "saved-again/"};
    return names[state];
}

static void save(bucket_state state)
{
    assert_true(
        server_copy_objects(running, SERVER_BUCKET, BUCKET_PREFIX, saved_prefix(state)) > 0);
    pointers[state] = server_get_object(running, SERVER_BUCKET, BUCKET_PREFIX "_CURRENT", NULL);
    assert_non_null(pointers[state]);
}

void bucket_become(bucket_state state)
{
    assert_true(
        server_copy_objects(running, SERVER_BUCKET, saved_prefix(state), BUCKET_PREFIX) > 0);
}

void bucket_restore(bucket_state state)
{
    server_reset(running);
    bucket_become(state);
}

static void use_environment(void)
{
    setenv("AWS_ENDPOINT_URL", server_url(running), 1);
    setenv("AWS_REGION", SERVER_REGION, 1);
    setenv("AWS_ACCESS_KEY_ID", SERVER_ACCESS_KEY, 1);
    setenv("AWS_SECRET_ACCESS_KEY", SERVER_SECRET_KEY, 1);
    unsetenv("S3_ACCESS_KEY_ID");
    unsetenv("AWS_SESSION_TOKEN");
    setenv("no_proxy", "127.0.0.1", 1);
}

void bucket_start(void)
{
    running = server_start_s3(NULL);
    use_environment();
}

int bucket_setup(void **state)
{
    (void)state;
    shardy_error err = {0};
    dataset_options options;
    bucket_start();
    dataset_options_init(&options);
    assert_ok(dataset_build(NULL, BUCKET_URL, BUCKET_OLD, &options, &err));
    assert_ok(dataset_build(NULL, BUCKET_URL, BUCKET_NOW, &options, &err));
    save(BUCKET_IS_NOW);
    assert_ok(dataset_build(NULL, BUCKET_URL, BUCKET_NEXT, &options, &err));
    save(BUCKET_IS_NEXT);
    bucket_restore(BUCKET_IS_NOW);
    assert_ok(dataset_rollback(NULL, BUCKET_URL, BUCKET_OLD, NULL, &err));
    save(BUCKET_IS_OLD);
    assert_ok(dataset_rollback(NULL, BUCKET_URL, BUCKET_NOW, NULL, &err));
    save(BUCKET_IS_AGAIN);
    return 0;
}

int bucket_teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < BUCKET_STATES; i++) {
        free(pointers[i]);
        pointers[i] = NULL;
    }
    server_stop(running);
    running = NULL;
    return 0;
}

static shardy_store *repeated(
    shardy_context *context, const bucket_store_options *options, shardy_store *inner)
{
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_retry_options r;
    shardy_retry_options_init(&r, sizeof r);
    r.max_attempts = options->max_attempts;
    r.initial_backoff_ms = options->backoff_ms;
    r.max_backoff_ms = options->backoff_ms;
    assert_ok(shardy_store_wrap_retry(context, inner, &r, &store, &err));
    return store;
}

shardy_store *bucket_open(
    shardy_context *context, const bucket_store_options *options, shardy_store **inner_out)
{
    shardy_error err = {0};
    shardy_store_s3_options o;
    shardy_store_s3_options_init(&o, sizeof o);
    o.endpoint_url = server_url(running);
    o.region = SERVER_REGION;
    o.access_key_id = SERVER_ACCESS_KEY;
    o.secret_access_key = SERVER_SECRET_KEY;
    o.proxy = "";
    o.read_timeout_ms = options->read_timeout_ms;
    o.max_attempts = 1;
    assert_ok(shardy_store_open_s3(context, BUCKET_URL, &o, inner_out, &err));
    return repeated(context, options, *inner_out);
}
