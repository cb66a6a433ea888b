/* bucket.c: the store of an s3:// URL, as credentials.toml, --s3-option and the environment say. */
#include "cli.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* What the library calls differently than the files. */
static int32_t addressing_of(const char *style)
{
    int choice = style ? opt_choice("path|virtual", style) : -1;
    return choice == 0   ? SHARDY_S3_ADDRESSING_PATH
           : choice == 1 ? SHARDY_S3_ADDRESSING_VIRTUAL
                         : SHARDY_S3_ADDRESSING_AUTO;
}

/* Seconds; there is no "no timeout": 0 is the default. */
static void set_timeout(uint32_t *ms, int64_t seconds)
{
    if (seconds > 0) {
        *ms = seconds > 86400 ? 86400000u : (uint32_t)seconds * 1000u;
    }
}

static void set_attempts(shardy_store_s3_options *o, int64_t attempts)
{
    const int64_t most = SHARDY_ATTEMPTS_MAX;
    o->max_attempts = (uint32_t)(attempts < 1 ? 1 : attempts < most ? attempts : most);
}

static void set_from_file(shardy_store_s3_options *o, const credentials *found)
{
    if (!found->path) {
        return;
    }
    o->endpoint_url = found->endpoint_url;
    o->region = found->region;
    o->access_key_id = found->access_key_id;
    o->secret_access_key = found->secret_access_key;
    o->session_token = found->session_token;
    o->profile = found->aws_profile;
    o->ca_bundle = found->ca_bundle;
    o->addressing = addressing_of(found->addressing_style);
    o->verify_ssl = found->verify_ssl != 0;
    set_timeout(&o->connect_timeout_ms, found->connect_timeout);
    set_timeout(&o->read_timeout_ms, found->read_timeout);
    set_attempts(o, found->max_attempts);
}

/* One KEY=VALUE that s3_option_check() has let pass. */
static void set_from_option(shardy_store_s3_options *o, const char *text)
{
    const char *value = strchr(text, '=') + 1;
    size_t len = (size_t)(value - text) - 1;
    uint64_t number = 0;
    (void)opt_parse_uint(value, &number);
    int64_t seconds = number > 86400 ? 86400 : (int64_t)number;
    if (strncmp(text, "endpoint_url", len) == 0) {
        o->endpoint_url = value;
    } else if (strncmp(text, "region_name", len) == 0) {
        o->region = value;
    } else if (strncmp(text, "aws_profile", len) == 0) {
        o->profile = value;
        o->access_key_id = o->secret_access_key = o->session_token = NULL;
    } else if (strncmp(text, "addressing_style", len) == 0) {
        o->addressing = addressing_of(value);
    } else if (strncmp(text, "verify_ssl", len) == 0) {
        o->verify_ssl = opt_choice("true|1|yes|false|0|no", value) < 3;
    } else if (strncmp(text, "connect_timeout", len) == 0) {
        set_timeout(&o->connect_timeout_ms, seconds);
    } else if (strncmp(text, "read_timeout", len) == 0) {
        set_timeout(&o->read_timeout_ms, seconds);
    } else if (strncmp(text, "max_attempts", len) == 0) {
        set_attempts(o, seconds);
    }
}

/* The URL without the name of a pointer, which begins with '_'. Free with sys_free(). */
static char *root_of(const char *url)
{
    const char *last = strrchr(url, '/');
    int is_pointer = last && last[1] == '_' && strlen(url) > strlen("s3://") && last[-1] != '/';
    return is_pointer ? sys_strndup(url, (size_t)(last - url)) : sys_strdup(url);
}

int bucket_open(cli *c, const char *url)
{
    if (!url || (url[0] != 's' && url[0] != 'S') || strncmp(url + 1, "3://", 4) != 0) {
        return EXIT_OK;
    }
    const opt_value *given = &c->opts.values[OPT_S3_OPTION];
    shardy_error err = {0};
    shardy_store_s3_options options;
    shardy_store_s3_options_init(&options, sizeof options);
    set_from_file(&options, &c->found);
    for (size_t i = 0; i < given->list_count; i++) {
        set_from_option(&options, given->list[i]);
    }
    char *root = root_of(url);
    shardy_status st = shardy_store_open_s3(c->context, root, &options, &c->store, &err);
    sys_free(root);
    return st < 0 ? out_fail(c, &err, NULL) : EXIT_OK;
}
