#include "credentials.h"

#include "../base/alloc.h"
#include "../base/environment.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <string.h>

struct credentials {
    _Atomic uint32_t refs;
    char *key_id;
    char *secret;
    char *token;
};

struct credentials_source {
    credentials *fixed;
};

/* One set as somebody gave it. */
typedef struct key_set {
    const char *where;
    const char *key_id;
    const char *secret;
    const char *token;
} key_set;

const char *shardy__credentials_key_id(const credentials *c)
{
    return c->key_id;
}

const char *shardy__credentials_secret(const credentials *c)
{
    return c->secret;
}

const char *shardy__credentials_token(const credentials *c)
{
    return c->token;
}

static void free_secret(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        shardy__free(text);
    }
}

void shardy__credentials_drop(credentials *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        shardy__free(c->key_id);
        free_secret(c->secret);
        free_secret(c->token);
        shardy__free(c);
    }
}

/* They go into headers: a line end in one of them would begin another. Not quoted. */
static int is_header_text(const char *text)
{
    for (; text && *text; text++) {
        if ((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7F) {
            return 0;
        }
    }
    return 1;
}

static shardy_status make_credentials(
    const key_set *set, credentials **credentials_out, shardy_error *err)
{
    if (!set->key_id || !set->secret || !set->key_id[0] || !set->secret[0]) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "%s name an access key id without its secret access key, or the other way round",
            set->where);
    }
    if (!is_header_text(set->key_id) || !is_header_text(set->token)) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "%s have an access key id or a session token with spaces or control characters",
            set->where);
    }
    credentials *c = shardy__calloc(1, sizeof *c);
    if (!c) {
        return shardy__error_nomem(err, "s3");
    }
    atomic_init(&c->refs, 1);
    int has_token = set->token && set->token[0];
    c->key_id = shardy__strdup(set->key_id);
    c->secret = shardy__strdup(set->secret);
    c->token = has_token ? shardy__strdup(set->token) : NULL;
    if (!c->key_id || !c->secret || (has_token && !c->token)) {
        shardy__credentials_drop(c);
        return shardy__error_nomem(err, "s3");
    }
    *credentials_out = c;
    return SHARDY_OK;
}

/* The first set of which anything is there. */
static int find_set(const credentials_options *o, key_set *set)
{
    const key_set sets[] = {
        {"the options", o->access_key_id, o->secret_access_key, o->session_token},
        {"the variables S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY",
            shardy__environment("S3_ACCESS_KEY_ID"), shardy__environment("S3_SECRET_ACCESS_KEY"),
            shardy__environment("S3_SESSION_TOKEN")},
        {"the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            shardy__environment("AWS_ACCESS_KEY_ID"), shardy__environment("AWS_SECRET_ACCESS_KEY"),
            shardy__environment("AWS_SESSION_TOKEN")}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        if (sets[i].key_id || sets[i].secret) {
            *set = sets[i];
            return 1;
        }
    }
    return 0;
}

shardy_status shardy__credentials_open(shardy_context *context, const credentials_options *options,
    credentials_source **source_out, shardy_error *err)
{
    (void)context;
    *source_out = NULL;
    key_set set;
    if (!find_set(options, &set)) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "there are no credentials: no options, no S3_ACCESS_KEY_ID, no AWS_ACCESS_KEY_ID in "
            "the environment");
    }
    credentials_source *source = shardy__calloc(1, sizeof *source);
    if (!source) {
        return shardy__error_nomem(err, "s3");
    }
    shardy_status st = make_credentials(&set, &source->fixed, err);
    if (st < 0) {
        shardy__free(source);
        return st;
    }
    *source_out = source;
    return SHARDY_OK;
}

void shardy__credentials_close(credentials_source *source)
{
    if (source) {
        shardy__credentials_drop(source->fixed);
        shardy__free(source);
    }
}

shardy_status shardy__credentials_get(credentials_source *source, int64_t deadline_ns,
    const shardy_cancel *cancel, credentials **credentials_out, shardy_error *err)
{
    (void)deadline_ns;
    (void)cancel;
    (void)err;
    atomic_fetch_add_explicit(&source->fixed->refs, 1, memory_order_relaxed);
    *credentials_out = source->fixed;
    return SHARDY_OK;
}
