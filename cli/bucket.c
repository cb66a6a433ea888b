/* bucket.c: the store of an s3:// URL, as credentials.toml, --s3-option and the environment say. */
#include "cli.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Seconds; there is no "no timeout": 0 is the default. */
static void set_timeout(uint32_t *ms, int64_t seconds)
{
    if (seconds > 0) {
        *ms = seconds > 86400 ? 86400000u : (uint32_t)seconds * 1000u;
    }
}

static void set_options(shardy_store_s3_options *o, const credentials *found)
{
    const int64_t most = SHARDY_ATTEMPTS_MAX;
    o->endpoint_url = found->endpoint_url;
    o->region = found->region;
    o->access_key_id = found->access_key_id;
    o->secret_access_key = found->secret_access_key;
    o->session_token = found->session_token;
    o->profile = found->aws_profile;
    o->ca_bundle = found->ca_bundle;
    o->addressing = (int32_t)found->addressing_style;
    o->verify_ssl = found->verify_ssl != 0;
    set_timeout(&o->connect_timeout_ms, found->connect_timeout);
    set_timeout(&o->read_timeout_ms, found->read_timeout);
    o->max_attempts = (uint32_t)(found->max_attempts < most ? found->max_attempts : most);
}

static int check_set(cli *c)
{
    const credentials *found = &c->found;
    shardy_error err;
    if (!found->access_key_id == !found->secret_access_key) {
        return EXIT_OK;
    }
    out_set_error(&err, SHARDY_CONFIG, "%.400s: the profile \"%.200s\" has %s",
        found->path ? found->path : "credentials.toml", c->cfg.credentials_profile,
        found->access_key_id ? "an access key id without its secret access key"
                             : "a secret access key without its access key id");
    return out_fail(c, &err, NULL);
}

/* The URL without the name of a pointer, which begins with '_'. Free with sys_free(). */
static char *root_of(const char *url)
{
    const char *last = strrchr(url, '/');
    int is_pointer = last && last[1] == '_' && strlen(url) > strlen("s3://") && last[-1] != '/';
    return is_pointer ? sys_strndup(url, (size_t)(last - url)) : sys_strdup(url);
}

/* Below a limit calls are not repeated: that is done above it, so that all requests are limited. */
static int open_bucket(cli *c, const char *url, int limited, uint32_t *attempts_out)
{
    shardy_error err = {0};
    shardy_store_s3_options options;
    int rc = check_set(c);
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_store_s3_options_init(&options, sizeof options);
    set_options(&options, &c->found);
    *attempts_out = options.max_attempts;
    if (limited) {
        options.max_attempts = 1;
    }
    char *root = root_of(url);
    shardy_status st = shardy_store_open_s3(c->context, root, &options, &c->store, &err);
    sys_free(root);
    c->in_bucket = 1;
    return st < 0 ? out_fail(c, &err, NULL) : EXIT_OK;
}

/* The path of a directory, without the name of a pointer. Free with sys_free(). */
static char *directory_of(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : url;
    if (!path) {
        return sys_strdup(url);
    }
    const char *last = strrchr(path, '/');
    const char *name = last ? last + 1 : path;
    if (name[0] != '_') {
        return sys_strdup(path);
    }
    return name == path ? sys_strdup(".") : sys_strndup(path, (size_t)(name - path));
}

static int open_directory(cli *c, const char *url)
{
    shardy_error err = {0};
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    options.create = c->opts.command && c->opts.command->id == CMD_BUILD;
    options.allow_network_fs = opt_given(&c->opts, OPT_NETWORK_FS);
    char *path = directory_of(url);
    shardy_status st = shardy_store_open_fs(c->context, path, &options, &c->store, &err);
    sys_free(path);
    if (st == SHARDY_NOT_FOUND) {
        return EXIT_OK; /* the library says it in the way of the command */
    }
    return st < 0 ? out_fail(c, &err, NULL) : EXIT_OK;
}

/* Puts a store around c->store. */
static int put_around(cli *c, shardy_status st, shardy_store *around, const shardy_error *err)
{
    if (st < 0) {
        return out_fail(c, err, NULL);
    }
    c->below[c->below_count++] = c->store;
    c->store = around;
    return EXIT_OK;
}

static int limit_store(cli *c, uint32_t attempts)
{
    const opt_value *v = c->opts.values;
    shardy_error err = {0};
    shardy_store *around = NULL;
    shardy_limit_options limit;
    shardy_limit_options_init(&limit, sizeof limit);
    limit.requests_per_second = (double)v[OPT_MAX_REQUESTS].number;
    limit.bytes_per_second = (double)v[OPT_MAX_BYTES].number;
    if (c->opts.command && c->opts.command->id == CMD_BUILD) {
        limit.cancel = c->cancel; /* there are seconds to take back what was uploaded */
    }
    shardy_status st = shardy_store_wrap_limit(c->context, c->store, &limit, &around, &err);
    int rc = put_around(c, st, around, &err);
    if (rc != EXIT_OK || attempts == 1) {
        return rc;
    }
    shardy_retry_options retry;
    shardy_retry_options_init(&retry, sizeof retry);
    retry.max_attempts = attempts;
    st = shardy_store_wrap_retry(c->context, c->store, &retry, &around, &err);
    return put_around(c, st, around, &err);
}

int bucket_open(cli *c, const char *url)
{
    if (c->store) {
        return EXIT_OK; /* of the session */
    }
    int limited = opt_given(&c->opts, OPT_MAX_REQUESTS) || opt_given(&c->opts, OPT_MAX_BYTES);
    uint32_t attempts = 1; /* a directory does not fail in passing */
    int rc = EXIT_OK;
    if (url && (url[0] == 's' || url[0] == 'S') && strncmp(url + 1, "3://", 4) == 0) {
        rc = open_bucket(c, url, limited, &attempts);
    } else if (url && limited) {
        rc = open_directory(c, url);
    }
    return rc == EXIT_OK && limited && c->store ? limit_store(c, attempts) : rc;
}

void bucket_close(cli *c)
{
    shardy_store_close(c->store);
    while (c->below_count > 0) {
        shardy_store_close(c->below[--c->below_count]);
    }
    c->store = NULL;
}
