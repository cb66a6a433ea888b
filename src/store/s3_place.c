#include "s3_place.h"

#include "../base/ascii.h"
#include "../base/host.h"

#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <string.h>

static int is_plain(char c)
{
    return shardy__is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void shardy__s3_encode(bytebuf *out, shardy_bytes text, int with_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *p = text.data;
    for (size_t i = 0; i < text.len; i++) {
        if (is_plain(p[i]) || (p[i] == '/' && !with_slash)) {
            shardy__bytebuf_putc(out, p[i]);
        } else {
            char code[3] = {'%', digits[(unsigned char)p[i] >> 4], digits[p[i] & 15]};
            shardy__bytebuf_append(out, code, sizeof code);
        }
    }
}

size_t shardy__s3_decode(char *text, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len; from++) {
        int high = text[from] == '%' && from + 2 < len ? shardy__hex_value(text[from + 1]) : -1;
        int low = high >= 0 ? shardy__hex_value(text[from + 2]) : -1;
        if (low >= 0) {
            text[to++] = (char)(high << 4 | low);
            from += 2;
        } else {
            text[to++] = text[from] == '+' ? ' ' : text[from];
        }
    }
    return to;
}

/* Whether a bucket can be a label of a host: with a dot no certificate fits it. */
static int fits_host(const char *bucket)
{
    size_t len = strlen(bucket);
    for (size_t i = 0; i < len; i++) {
        char c = bucket[i];
        int inner = c == '-' && i > 0 && i + 1 < len;
        if (!(c >= 'a' && c <= 'z') && !shardy__is_digit(c) && !inner) {
            return 0;
        }
    }
    return len >= 3 && len <= 63;
}

static int is_region(const char *region)
{
    size_t len = strlen(region);
    for (size_t i = 0; i < len; i++) {
        if (!is_plain(region[i])) {
            return 0;
        }
    }
    return len > 0 && len < 64;
}

static shardy_status bad_endpoint(const char *url, shardy_error *err)
{
    return shardy__error(err, SHARDY_CONFIG, "s3",
        "\"%.300s\" is no endpoint, expected http://host or https://host, with a port or a path of "
        "letters, digits and \"-._~\" if need be",
        url);
}

/* http://host:port/path, also with an address of IPv6 in brackets. */
static shardy_status split_endpoint(const char *url, s3_place *place, shardy_error *err)
{
    uri u;
    if (shardy__uri_parse(url, &u, err) < 0) {
        shardy__error_prefix(err, SHARDY_CONFIG, "the endpoint");
        return shardy__error_as(err, SHARDY_CONFIG);
    }
    const char *path = u.path.data;
    snprintf(place->scheme, sizeof place->scheme, "%.*s", (int)u.scheme.len,
        (const char *)u.scheme.data);
    for (char *p = place->scheme; *p; p++) {
        *p = shardy__to_lower(*p);
    }
    int wrong = (strcmp(place->scheme, "http") != 0 && strcmp(place->scheme, "https") != 0) ||
                u.scheme.len > 5 || u.path.len > 255;
    for (size_t i = 0; !wrong && i < u.path.len; i++) {
        wrong = !is_plain(path[i]) && path[i] != '/';
    }
    if (wrong) {
        return bad_endpoint(url, err);
    }
    snprintf(place->host, sizeof place->host, "%.*s", (int)u.authority.len,
        (const char *)u.authority.data);
    snprintf(place->base, sizeof place->base, "%.*s", (int)u.path.len, path);
    return SHARDY_OK;
}

static void amazon_endpoint(const char *region, s3_place *place)
{
    snprintf(place->scheme, sizeof place->scheme, "https");
    snprintf(place->host, sizeof place->host, "s3.%s.amazonaws.com%s", region,
        strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    place->base[0] = '\0';
}

/* Puts the bucket in front of the host, or into the path. Both have room for it. */
static shardy_status place_bucket(
    const s3_place_options *options, s3_place *place, shardy_error *err)
{
    int fits = fits_host(place->bucket);
    int virtual = options->addressing == SHARDY_S3_ADDRESSING_VIRTUAL ||
                  (options->addressing == SHARDY_S3_ADDRESSING_AUTO && !options->endpoint_url &&
                      fits);
    if (virtual && !fits) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "the bucket \"%s\" cannot be part of a host name, expected addressing by path",
            place->bucket);
    }
    if (virtual) {
        char host[256 + 64];
        snprintf(host, sizeof host, "%.319s", place->host);
        snprintf(place->host, sizeof place->host, "%s.%s", place->bucket, host);
    } else {
        size_t len = strlen(place->base);
        snprintf(place->base + len, sizeof place->base - len, "/%s", place->bucket);
    }
    const char *problem = shardy__host_problem(place->host, strlen(place->host), NULL);
    return problem ? shardy__error(err, SHARDY_CONFIG, "s3",
                         "the bucket \"%s\" would be at \"%.300s\", which %s", place->bucket,
                         place->host, problem)
                   : SHARDY_OK;
}

shardy_status shardy__s3_place_find(
    const char *url, const s3_place_options *options, s3_place *place_out, shardy_error *err)
{
    uri u;
    memset(place_out, 0, sizeof *place_out);
    SHARDY_TRY(shardy__uri_parse(url, &u, err));
    if (u.kind != URI_S3) {
        return shardy__error(
            err, SHARDY_INVALID, "s3", "\"%.300s\" is not s3://bucket/prefix", url);
    }
    if (u.path.len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "s3",
            "the prefix of \"%.300s\" has more than %u bytes", url, SHARDY_OBJECT_KEY_LEN_MAX);
    }
    if (!is_region(options->region)) {
        return shardy__error(
            err, SHARDY_CONFIG, "s3", "\"%.80s\" is no name of a region", options->region);
    }
    snprintf(place_out->bucket, sizeof place_out->bucket, "%.*s", (int)u.authority.len,
        (const char *)u.authority.data);
    if (u.path.len > 0) { /* "/a/b" */
        snprintf(place_out->prefix, sizeof place_out->prefix, "%.*s/", (int)u.path.len - 1,
            (const char *)u.path.data + 1);
    }
    place_out->prefix_len = strlen(place_out->prefix);
    if (options->endpoint_url) {
        SHARDY_TRY(split_endpoint(options->endpoint_url, place_out, err));
    } else {
        amazon_endpoint(options->region, place_out);
    }
    return place_bucket(options, place_out, err);
}
