/* key.h: keys as bytes: the form that is stored in shards, and the form that is hashed for routing.
 * The two are independent of each other (formats.md, section 4). */
#ifndef SHARDY_ROUTE_KEY_H
#define SHARDY_ROUTE_KEY_H

#include "../base/error.h"

#include <shardyfusion/key.h>

/* A key in its stored form. `bytes` points into the key itself or at `small`: do not copy the
 * struct. */
typedef struct encoded_key {
    uint8_t small[8];
    shardy_bytes bytes;
} encoded_key;

/* Stored form of a key. A bytes key of exactly 8 (4) bytes under u64be (u32be) is an integer that
 * is already encoded. Statuses: OK; INVALID (type, range, length, text that is not UTF-8). */
shardy_status shardy__key_encode(
    const shardy_key *key, int32_t encoding, encoded_key *out, shardy_error *err);

/* The key behind its stored form: int for u64be and u32be (uint above 2^63-1), text for utf8, bytes
 * for raw. CORRUPT when the length is not that of the encoding. */
shardy_status shardy__key_decode(
    shardy_bytes stored, int32_t encoding, shardy_key *out, shardy_error *err);

/* NOT 0: the encoding stores integers. */
static inline int shardy__key_is_integer(int32_t encoding)
{
    return encoding == SHARDY_KEY_ENCODING_U64BE || encoding == SHARDY_KEY_ENCODING_U32BE;
}

/* The key whose canonical bytes are hashed: under an integer encoding a bytes key becomes the
 * integer it encodes, so that it is found where the integer was written. */
shardy_status shardy__key_for_routing(
    const shardy_key *key, int32_t encoding, shardy_key *out, shardy_error *err);

/* The text of a key for messages: at most 64 bytes of it, bytes as hex. */
#define SHARDY_KEY_TEXT_SIZE 160
const char *shardy__key_text(const shardy_key *key, char text_out[SHARDY_KEY_TEXT_SIZE]);

/* The encoding that fits the type of a first key. */
int32_t shardy__key_encoding_for(const shardy_key *key);

#endif
