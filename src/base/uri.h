/* uri.h: where data sets and objects are: URLs, paths of directories, and keys below them.
 *
 * Everything is literal: a percent sign is a percent sign, in file:// URLs too, because the
 * formats compare and store URLs as text. Nothing is looked up on a disk here. */
#ifndef SHARDY_BASE_URI_H
#define SHARDY_BASE_URI_H

#include "error.h"

#include <shardyfusion/limits.h>

/* First segment of the keys that stores keep for their own files. */
#define SHARDY_STORE_OWN_DIR ".shardyfusion"

typedef enum uri_kind {
    URI_PATH = 1, /* no scheme: a path of the file system, as it is */
    URI_FILE = 2, /* file:///path */
    URI_S3 = 3,   /* s3://bucket/prefix */
    URI_OTHER = 4 /* any other scheme */
} uri_kind;

/* The pieces of a URL, borrowed from its text. */
typedef struct uri {
    uri_kind kind;
    shardy_bytes scheme;    /* as written; empty for a path */
    shardy_bytes authority; /* the bucket of s3; empty for file and paths */
    /* "" or "/a/b", without a trailing slash; for a path whatever was written, without trailing
     * slashes unless it is "/" */
    shardy_bytes path;
} uri;

/* Takes a URL or path apart. INVALID: empty, longer than SHARDY_URL_LEN_MAX, not UTF-8, with
 * control characters; a URL with '?', '#', credentials, without the host or path it needs, with a
 * host or port that cannot be (host.h), or with segments that are empty, "." or "..". One trailing
 * slash is fine. A path without a scheme is what the user says: only its characters are checked. */
shardy_status shardy__uri_parse(const char *text, uri *uri_out, shardy_error *err);

/* The one spelling of a URL: scheme in lower case, no trailing slash, no "localhost". */
shardy_status shardy__uri_normalize(
    const char *text, char text_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err);

/* The URL of a key below a base, normalised. INVALID when either breaks its rules or the result is
 * too long. */
shardy_status shardy__uri_join(
    const char *base, const char *key, char text_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err);

/* The one resolver: the key of a URL relative to a prefix, by segments ("a" is no prefix of "ab").
 * A key that comes out obeys shardy__key_problem(), so it names something below the prefix. INVALID
 * when the URL is not below the prefix or one of them is malformed. */
shardy_status shardy__uri_strip(const char *prefix, const char *url,
    char key_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err);

/* INVALID unless the text can be recorded as the place where a snapshot is served: s3://bucket/x
 * with a prefix that is not empty, which is what other readers of the format expect, file:///x, or
 * an absolute path with segments as in a URL. */
shardy_status shardy__uri_check_published(const char *text, shardy_error *err);

/* NULL when the bytes are a key (sys/store.h), else what is wrong with them, as the end of a
 * sentence: "is empty". */
const char *shardy__key_problem(const void *key, size_t len);

#endif
