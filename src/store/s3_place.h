/* s3_place.h: where the objects of an s3:// URL are: the server, the bucket, the prefix of keys. */
#ifndef SHARDY_STORE_S3_PLACE_H
#define SHARDY_STORE_S3_PLACE_H

#include "../base/bytebuf.h"
#include "../base/uri.h"

/* Places that an address has room for: scheme and host; the path in front of keys. */
#define S3_HOST_SIZE 640u
#define S3_BASE_SIZE 1024u

typedef struct s3_place {
    char bucket[256];
    char scheme[6];          /* "http" or "https" */
    char host[S3_HOST_SIZE]; /* with the port, when there is one */
    char base[S3_BASE_SIZE]; /* encoded: "", "/bucket" or a path of the endpoint before it */
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 2]; /* "", or it ends in '/' */
    size_t prefix_len;
} s3_place;

typedef struct s3_place_options {
    const char *endpoint_url; /* NULL: Amazon's, of the region */
    const char *region;
    int32_t addressing; /* SHARDY_S3_ADDRESSING_... */
} s3_place_options;

/* INVALID for a URL that is not s3://bucket/prefix; CONFIG for an endpoint or region that cannot
 * be. */
shardy_status shardy__s3_place_find(
    const char *url, const s3_place_options *options, s3_place *place_out, shardy_error *err);

/* Appends percent-encoded bytes: all but letters, digits, '-', '.', '_', '~', and '/' when
 * `with_slash` is 0. */
void shardy__s3_encode(bytebuf *out, shardy_bytes text, int with_slash);
/* Undoes it, in place; '+' is a space, as in listings. Returns the length. What is no encoding is
 * left as it is. */
size_t shardy__s3_decode(char *text, size_t len);

#endif
