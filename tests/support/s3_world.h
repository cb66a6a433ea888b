/* s3_world.h: our S3 server, which checks every signature and checksum and spoils replies by
 * script, and a store in it. */
#ifndef SHARDY_TESTS_S3_WORLD_H
#define SHARDY_TESTS_S3_WORLD_H

#include "store/store.h"
#include "support/store_fixture.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX    "a prefix/with+signs"
#define URL       "s3://" SERVER_BUCKET "/" PREFIX
#define PART_SIZE ((size_t)5 << 20)

static server *s3;

static MAYBE_UNUSED int start_s3(void **state)
{
    (void)state;
    s3 = server_start_s3(NULL);
    return 0;
}

static MAYBE_UNUSED int stop_s3(void **state)
{
    (void)state;
    server_stop(s3);
    return 0;
}

static MAYBE_UNUSED void fill_options(shardy_store_s3_options *options)
{
    shardy_store_s3_options_init(options, sizeof *options);
    options->max_attempts = 1;
    options->endpoint_url = server_url(s3);
    options->region = SERVER_REGION;
    options->access_key_id = SERVER_ACCESS_KEY;
    options->secret_access_key = SERVER_SECRET_KEY;
    options->proxy = "";
    options->part_size = PART_SIZE;
}

static MAYBE_UNUSED shardy_store *open_with(const shardy_store_s3_options *options)
{
    shardy_error err = {0};
    shardy_store *store = NULL;
    assert_ok(shardy_store_open_s3(NULL, URL, options, &store, &err));
    return store;
}

static MAYBE_UNUSED int open_store(void **state)
{
    shardy_store_s3_options options;
    fill_options(&options);
    server_reset(s3);
    shardy_store *store = open_with(&options);
    fixture_empty(store);
    server_reset(s3);
    *state = store;
    return 0;
}

static MAYBE_UNUSED int close_store(void **state)
{
    shardy_store_close(*state);
    return 0;
}

static MAYBE_UNUSED shardy_status get(
    shardy_store *store, const char *key, uint64_t offset, uint64_t len, shardy_error *err)
{
    shardy_buf body;
    memset(err, 0, sizeof *err);
    shardy_status st = shardy_store_get(store, key, offset, len, &body, NULL, err);
    shardy_buf_release(&body);
    return st;
}

static MAYBE_UNUSED char *random_bytes(size_t len)
{
    char *data = malloc(len);
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)support_rand_u64(&rand);
    }
    return data;
}

static MAYBE_UNUSED char *random_text(size_t len)
{
    char *text = random_bytes(len + 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('a' + (unsigned char)text[i] % 26);
    }
    text[len] = '\0';
    return text;
}

static MAYBE_UNUSED void set_rule(const char *members)
{
    char rules[600];
    snprintf(rules, sizeof rules, "[{%s}]", members);
    server_faults(s3, rules);
}

#endif
