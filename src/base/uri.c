#include "uri.h"

#include "utf8.h"

#include <shardyfusion/limits.h>

#include <string.h>

#define BUCKET_LEN_MIN 3
#define BUCKET_LEN_MAX 63

static shardy_status bad_url(const char *url, const char *why, shardy_error *err)
{
    return shardy__error(err, SHARDY_INVALID, "url", "\"%.300s\" %s", url, why);
}

/* What every address must be, whatever its scheme. */
static shardy_status check_text(const char *url, shardy_error *err)
{
    size_t len = strlen(url);
    if (len == 0) {
        return bad_url(
            url, "is empty, expected a directory, file:///path or s3://bucket/prefix", err);
    }
    if (len > SHARDY_URL_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "url",
            "\"%.100s...\" is %zu bytes long, at most %u are possible", url, len,
            SHARDY_URL_LEN_MAX);
    }
    if (!shardy__utf8_valid(url, len)) {
        return shardy__error(err, SHARDY_INVALID, "url", "a url is not valid UTF-8");
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)url[i];
        if (c < 0x20 || c == 0x7F) {
            return bad_url(url, "has a control character", err);
        }
    }
    return SHARDY_OK;
}

/* Checks segments separated by slashes; the last one may be empty. */
static shardy_status check_segments(const char *url, const char *p, shardy_error *err)
{
    if (strpbrk(url, "?#")) {
        return bad_url(url, "has a '?' or '#', which an address of a store cannot have", err);
    }
    while (*p) {
        size_t len = strcspn(p, "/");
        if (len == 0) {
            return bad_url(url, "has an empty segment", err);
        }
        if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.')) {
            return bad_url(url, "has a segment \".\" or \"..\"", err);
        }
        p += len + (p[len] == '/');
    }
    return SHARDY_OK;
}

/* The characters and lengths that S3 allows for buckets. */
static int is_bucket(const char *name, size_t len)
{
    if (len < BUCKET_LEN_MIN || len > BUCKET_LEN_MAX) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        int inner = name[i] == '-' || name[i] == '.';
        int alnum = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');
        if (!alnum && (!inner || i == 0 || i == len - 1)) {
            return 0;
        }
    }
    return 1;
}

static shardy_status parse_s3(const char *url, uri *out, shardy_error *err)
{
    const char *bucket = url + strlen("s3://");
    size_t len = strcspn(bucket, "/?#");
    if (len == 0) {
        return bad_url(url, "has no bucket, expected s3://bucket/prefix", err);
    }
    SHARDY_TRY(check_segments(url, bucket + len + (bucket[len] == '/'), err));
    if (!is_bucket(bucket, len)) {
        return bad_url(url,
            "has a bucket that is none: expected 3 to 63 lower-case letters, digits, '-' or '.'",
            err);
    }
    out->scheme = URI_S3;
    out->bucket = bucket;
    out->bucket_len = len;
    out->path = bucket + len + (bucket[len] == '/');
    return SHARDY_OK;
}

shardy_status shardy__uri_parse(const char *url, uri *uri_out, shardy_error *err)
{
    memset(uri_out, 0, sizeof *uri_out);
    SHARDY_TRY(check_text(url, err));
    const char *mark = strstr(url, "://");
    /* A scheme has no slash: "/a://b" is a path. */
    if (!mark || memchr(url, '/', (size_t)(mark - url))) {
        uri_out->scheme = URI_PATH;
        uri_out->path = url;
        return SHARDY_OK;
    }
    size_t scheme_len = (size_t)(mark - url);
    if (scheme_len == 2 && memcmp(url, "s3", 2) == 0) {
        return parse_s3(url, uri_out, err);
    }
    if (scheme_len != 4 || memcmp(url, "file", 4) != 0) {
        return shardy__error(err, SHARDY_INVALID, "url",
            "\"%.300s\" has the unknown scheme \"%.*s\", expected a directory, file:///path or "
            "s3://bucket/prefix",
            url, scheme_len > 40 ? 40 : (int)scheme_len, url);
    }
    if (mark[3] != '/') {
        return bad_url(url, "is not absolute, expected file:///path", err);
    }
    uri_out->scheme = URI_FILE;
    uri_out->path = mark + 3;
    return SHARDY_OK;
}

shardy_status shardy__uri_check_published(const char *url, shardy_error *err)
{
    uri u;
    SHARDY_TRY(shardy__uri_parse(url, &u, err));
    if (u.scheme == URI_S3) {
        return SHARDY_OK;
    }
    if (u.path[0] != '/') {
        return bad_url(url,
            "is not absolute, expected s3://bucket/prefix, file:///path or an absolute path", err);
    }
    return check_segments(url, u.path + 1, err);
}
