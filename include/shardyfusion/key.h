/* key.h: typed keys. Routing hashes the typed key, so an integer and its bytes are different keys.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_KEY_H
#define SHARDYFUSION_KEY_H

#include <shardyfusion/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shardy_key_type {
    SHARDY_KEY_INT = 1,   /* i */
    SHARDY_KEY_UINT = 2,  /* u: only for values above 2^63-1, which some encodings can store */
    SHARDY_KEY_TEXT = 3,  /* bytes: valid UTF-8 */
    SHARDY_KEY_BYTES = 4, /* bytes */
    SHARDY_KEY_TYPE_RESERVED_ = 32767
} shardy_key_type;

/* A key, or the id of a vector. Text and bytes are borrowed. */
typedef struct shardy_key {
    int32_t type; /* shardy_key_type */
    int32_t reserved;
    int64_t i;
    uint64_t u;
    shardy_bytes bytes;
} shardy_key;

/* Keys from values. Text and bytes are borrowed. Cannot fail. Threads: any thread, any time. */
SHARDY_API shardy_key shardy_key_int(int64_t value);
/* Becomes an int when the value fits. */
SHARDY_API shardy_key shardy_key_uint(uint64_t value);
SHARDY_API shardy_key shardy_key_text(const char *text, size_t len);
SHARDY_API shardy_key shardy_key_cstr(const char *text);
SHARDY_API shardy_key shardy_key_bytes(const void *data, size_t len);

/* How keys are stored in a shard (formats: u64be, u32be, utf8, raw). */
typedef enum shardy_key_encoding {
    SHARDY_KEY_ENCODING_AUTO = 0,  /* build only: from the type of the first key */
    SHARDY_KEY_ENCODING_U64BE = 1, /* integers as 8 bytes, big-endian */
    SHARDY_KEY_ENCODING_U32BE = 2, /* integers below 2^32 as 4 bytes, big-endian */
    SHARDY_KEY_ENCODING_UTF8 = 3,  /* text as its UTF-8; bytes as they are */
    SHARDY_KEY_ENCODING_RAW = 4,   /* bytes as they are; text as its UTF-8 */
    SHARDY_KEY_ENCODING_RESERVED_ = 32767
} shardy_key_encoding;

/* "u64be", "u32be", "utf8", "raw", "auto"; "unknown" for other values. Never NULL. */
SHARDY_API const char *shardy_key_encoding_name(int32_t encoding);

/* The encoding of a name; INVALID with the known names when there is none. */
SHARDY_API shardy_status shardy_key_encoding_parse(
    const char *name, int32_t *encoding_out, shardy_error *err) SHARDY_MUST_USE;

/* Total order of keys and ids: integers before text before bytes; then by value.
 * Returns <0, 0 or >0. Threads: any thread, any time. */
SHARDY_API int shardy_key_compare(const shardy_key *a, const shardy_key *b);

#ifdef __cplusplus
}
#endif
#endif
