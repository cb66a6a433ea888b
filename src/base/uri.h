/* uri.h: where a store is: a path, file:///path or s3://bucket/prefix. */
#ifndef SHARDY_BASE_URI_H
#define SHARDY_BASE_URI_H

#include "error.h"

#include <stddef.h>

typedef enum uri_scheme {
    URI_PATH = 0,
    URI_FILE = 1,
    URI_S3 = 2
} uri_scheme;

/* Parts of a text that was parsed; they point into it. */
typedef struct uri {
    uri_scheme scheme;
    const char *path;   /* PATH: the text, FILE: from the slash on, S3: the prefix, may be "" */
    const char *bucket; /* S3 only, not zero-terminated */
    size_t bucket_len;
} uri;

/* Takes a URL apart. Statuses: OK; INVALID when the scheme is another one, a file:// URL is not
 * absolute, an S3 URL has no bucket, an empty segment, "." or "..", '?' or '#', or when there is a
 * control character, no valid UTF-8, nothing, or more than SHARDY_URL_LEN_MAX bytes. */
shardy_status shardy__uri_parse(const char *url, uri *uri_out, shardy_error *err);

/* Whether a URL can be the address under which a snapshot will be published: s3://bucket/prefix,
 * file:///path or an absolute path, without '?', '#', empty segments, "." and ".."; one slash at
 * the end is fine. Statuses: OK, INVALID saying what was expected. */
shardy_status shardy__uri_check_published(const char *url, shardy_error *err);

#endif
