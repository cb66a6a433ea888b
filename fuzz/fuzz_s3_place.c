/* Where the objects of a bucket are: the input is a URL, an endpoint (none: Amazon's), a region and
 * how the bucket is addressed, a line each.
 *
 * Properties: what is accepted leads to a host that can be one, and to keys of that bucket below
 * that prefix and no others; what is encoded is decoded to what it was. */
#include "store/s3_place.h"
#include "require.h"

#include "base/host.h"

#include <shardyfusion/sys/store.h>

static char *take_line(char **rest)
{
    char *line = *rest;
    char *end = line + strcspn(line, "\n");
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

static int is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void check_encoding(const char *text, size_t len)
{
    bytebuf out;
    for (int with_slash = 0; with_slash < 2; with_slash++) {
        shardy__bytebuf_init(&out, 3 * len + 1);
        shardy__s3_encode(&out, shardy__bytes(text, len), with_slash);
        require_that(shardy__bytebuf_check(&out, "s3", NULL) == SHARDY_OK);
        for (size_t i = 0; i < out.len; i++) {
            require(strchr("-._~%/", out.data[i]) || is_alnum(out.data[i]),
                "nothing else is in a path");
        }
        require(!with_slash || !out.len || !memchr(out.data, '/', out.len), "no slash");
        size_t back = shardy__s3_decode(out.data, out.len);
        require(same_bytes(out.data, back, text, len), "decoding undoes encoding");
        shardy__bytebuf_free(&out);
    }
}

static void check_place(const char *url, const s3_place_options *o, const s3_place *p)
{
    uri u;
    require_that(shardy__uri_parse(url, &u, NULL) == SHARDY_OK && u.kind == URI_S3);
    require(same_bytes(u.authority.data, u.authority.len, p->bucket, strlen(p->bucket)),
        "it is the bucket that was named");
    require(strcmp(p->scheme, "http") == 0 || strcmp(p->scheme, "https") == 0, "a scheme of HTTP");
    require(o->endpoint_url || strcmp(p->scheme, "https") == 0, "Amazon's is with TLS");
    require(!shardy__host_problem(p->host, strlen(p->host), NULL), "a host that can be one");
    size_t bucket = strlen(p->bucket);
    size_t base = strlen(p->base);
    int in_host = strncmp(p->host, p->bucket, bucket) == 0 && p->host[bucket] == '.' &&
                  o->addressing != SHARDY_S3_ADDRESSING_PATH;
    int in_path = base > bucket && p->base[base - bucket - 1] == '/' &&
                  strcmp(p->base + base - bucket, p->bucket) == 0;
    require(in_host || in_path, "the bucket is in the address");
    require(base == 0 || (p->base[0] == '/' && p->base[base - 1] != '/'), "a path, or none");
    char path[S3_BASE_SIZE + 1];
    snprintf(path, sizeof path, "%s/", p->base);
    require(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../") &&
                !strpbrk(path, "?#%@\\"),
        "a path that no server reads as another");
    require(p->prefix_len == strlen(p->prefix), "the prefix has its length");
    if (p->prefix_len) {
        require(p->prefix[p->prefix_len - 1] == '/' && p->prefix[0] != '/', "a prefix is closed");
        require(
            same_bytes((const char *)u.path.data + 1, u.path.len - 1, p->prefix, p->prefix_len - 1),
            "it is the prefix that was named");
    } else {
        require(u.path.len == 0, "no prefix was named");
    }
    check_encoding(p->prefix, p->prefix_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size);
    check_encoding(text, size);
    char *copy = malloc(size ? size : 1); /* a byte beyond it is seen */
    require_that(copy != NULL);
    memcpy(copy, text, size);
    require(shardy__s3_decode(copy, size) <= size, "decoding makes nothing longer");
    free(copy);
    char *rest = text;
    const char *url = take_line(&rest);
    const char *endpoint = take_line(&rest);
    const char *region = take_line(&rest);
    s3_place_options o = {endpoint[0] ? endpoint : NULL, region, rest[0] % 3};
    s3_place place;
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__s3_place_find(url, &o, &place, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID || st == SHARDY_CONFIG, "three outcomes");
    require((st == SHARDY_OK) == (err.message[0] == '\0'), "a refusal has a message");
    if (st == SHARDY_OK) {
        check_place(url, &o, &place);
    }
    free(text);
    return 0;
}
