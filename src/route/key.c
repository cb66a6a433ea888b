#include "key.h"

#include "../base/bytes.h"
#include "../base/utf8.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

shardy_key shardy_key_int(int64_t value)
{
    shardy_key key;
    memset(&key, 0, sizeof key);
    key.type = SHARDY_KEY_INT;
    key.i = value;
    return key;
}

shardy_key shardy_key_uint(uint64_t value)
{
    if (value <= INT64_MAX) {
        return shardy_key_int((int64_t)value);
    }
    shardy_key key;
    memset(&key, 0, sizeof key);
    key.type = SHARDY_KEY_UINT;
    key.u = value;
    return key;
}

static shardy_key key_of_bytes(int32_t type, const void *data, size_t len)
{
    shardy_key key;
    memset(&key, 0, sizeof key);
    key.type = type;
    key.bytes.data = data;
    key.bytes.len = len;
    return key;
}

shardy_key shardy_key_text(const char *text, size_t len)
{
    return key_of_bytes(SHARDY_KEY_TEXT, text, len);
}

shardy_key shardy_key_cstr(const char *text)
{
    return key_of_bytes(SHARDY_KEY_TEXT, text, strlen(text));
}

shardy_key shardy_key_bytes(const void *data, size_t len)
{
    return key_of_bytes(SHARDY_KEY_BYTES, data, len);
}

static const char *const encoding_names[] = {"auto", "u64be", "u32be", "utf8", "raw"};

const char *shardy_key_encoding_name(int32_t encoding)
{
    return encoding >= SHARDY_KEY_ENCODING_AUTO && encoding <= SHARDY_KEY_ENCODING_RAW
               ? encoding_names[encoding]
               : "unknown";
}

shardy_status shardy_key_encoding_parse(const char *name, int32_t *encoding_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(name && encoding_out);
    for (int32_t i = SHARDY_KEY_ENCODING_AUTO; i <= SHARDY_KEY_ENCODING_RAW; i++) {
        if (strcmp(name, encoding_names[i]) == 0) {
            *encoding_out = i;
            return SHARDY_OK;
        }
    }
    *encoding_out = SHARDY_KEY_ENCODING_AUTO;
    return shardy__error(err, SHARDY_INVALID, "key",
        "unknown key encoding \"%.64s\", known are u64be, u32be, utf8, raw and auto", name);
}

static int compare_bytes(shardy_bytes a, shardy_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* int and uint are one kind: an unsigned key is above every int. */
static int key_rank(const shardy_key *key)
{
    return key->type == SHARDY_KEY_TEXT ? 1 : key->type == SHARDY_KEY_BYTES ? 2 : 0;
}

int shardy_key_compare(const shardy_key *a, const shardy_key *b)
{
    int rank_a = key_rank(a);
    int rank_b = key_rank(b);
    if (rank_a != rank_b) {
        return rank_a < rank_b ? -1 : 1;
    }
    if (rank_a > 0) {
        return compare_bytes(a->bytes, b->bytes);
    }
    if (a->type != b->type) {
        return a->type == SHARDY_KEY_INT ? -1 : 1;
    }
    return a->type == SHARDY_KEY_INT ? (a->i > b->i) - (a->i < b->i)
                                     : (a->u > b->u) - (a->u < b->u);
}

const char *shardy__key_text(const shardy_key *key, char text_out[SHARDY_KEY_TEXT_SIZE])
{
    size_t n = key->bytes.len < 64 ? key->bytes.len : 64;
    const uint8_t *p = key->bytes.data;
    const char *more = n < key->bytes.len ? "..." : "";
    switch (key->type) {
    case SHARDY_KEY_INT:
        snprintf(text_out, SHARDY_KEY_TEXT_SIZE, "%lld", (long long)key->i);
        break;
    case SHARDY_KEY_UINT:
        snprintf(text_out, SHARDY_KEY_TEXT_SIZE, "%llu", (unsigned long long)key->u);
        break;
    case SHARDY_KEY_TEXT:
        snprintf(text_out, SHARDY_KEY_TEXT_SIZE, "\"%.*s%s\"", (int)n, (const char *)p, more);
        break;
    default:
        snprintf(text_out, SHARDY_KEY_TEXT_SIZE, "0x");
        for (size_t i = 0; i < n; i++) {
            snprintf(text_out + 2 + 2 * i, SHARDY_KEY_TEXT_SIZE - 2 - 2 * i, "%02x", p[i]);
        }
        snprintf(text_out + 2 + 2 * n, SHARDY_KEY_TEXT_SIZE - 2 - 2 * n, "%s", more);
        break;
    }
    return text_out;
}

static shardy_status wrong_key(
    const shardy_key *key, int32_t encoding, const char *expected, shardy_error *err)
{
    char text[SHARDY_KEY_TEXT_SIZE];
    return shardy__error(err, SHARDY_INVALID, "key",
        "key %s does not fit the encoding %s: expected %s", shardy__key_text(key, text),
        shardy_key_encoding_name(encoding), expected);
}

int32_t shardy__key_encoding_for(const shardy_key *key)
{
    return key->type == SHARDY_KEY_TEXT    ? SHARDY_KEY_ENCODING_UTF8
           : key->type == SHARDY_KEY_BYTES ? SHARDY_KEY_ENCODING_RAW
                                           : SHARDY_KEY_ENCODING_U64BE;
}

static shardy_status encode_u64(const shardy_key *key, encoded_key *out, shardy_error *err)
{
    if (key->type == SHARDY_KEY_BYTES && key->bytes.len == 8) {
        out->bytes = key->bytes;
        return SHARDY_OK;
    }
    if (key->type == SHARDY_KEY_UINT || (key->type == SHARDY_KEY_INT && key->i >= 0)) {
        shardy__put_be64(out->small, key->type == SHARDY_KEY_UINT ? key->u : (uint64_t)key->i);
        out->bytes.data = out->small;
        out->bytes.len = 8;
        return SHARDY_OK;
    }
    return wrong_key(key, SHARDY_KEY_ENCODING_U64BE,
        "an integer from 0 to 2^64-1, or to 2^63-1 where keys are routed by hash", err);
}

static shardy_status encode_u32(const shardy_key *key, encoded_key *out, shardy_error *err)
{
    if (key->type == SHARDY_KEY_BYTES && key->bytes.len == 4) {
        out->bytes = key->bytes;
        return SHARDY_OK;
    }
    if (key->type == SHARDY_KEY_INT && key->i >= 0 && key->i <= (int64_t)UINT32_MAX) {
        shardy__put_be32(out->small, (uint32_t)key->i);
        out->bytes.data = out->small;
        out->bytes.len = 4;
        return SHARDY_OK;
    }
    return wrong_key(key, SHARDY_KEY_ENCODING_U32BE, "an integer from 0 to 2^32-1", err);
}

static shardy_status encode_bytes(
    const shardy_key *key, int32_t encoding, encoded_key *out, shardy_error *err)
{
    if (key->type != SHARDY_KEY_TEXT && key->type != SHARDY_KEY_BYTES) {
        return wrong_key(key, encoding, "text or bytes", err);
    }
    if (key->bytes.len > SHARDY_KEY_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "key", "a key of %zu bytes, the limit is %u",
            key->bytes.len, SHARDY_KEY_LEN_MAX);
    }
    if (key->type == SHARDY_KEY_TEXT && !shardy__utf8_valid(key->bytes.data, key->bytes.len)) {
        shardy_key as_bytes = shardy_key_bytes(key->bytes.data, key->bytes.len);
        return wrong_key(&as_bytes, encoding, "valid UTF-8", err);
    }
    out->bytes = key->bytes;
    return SHARDY_OK;
}

shardy_status shardy__key_encode(
    const shardy_key *key, int32_t encoding, encoded_key *out, shardy_error *err)
{
    out->bytes.data = NULL;
    out->bytes.len = 0;
    switch (encoding) {
    case SHARDY_KEY_ENCODING_U64BE:
        return encode_u64(key, out, err);
    case SHARDY_KEY_ENCODING_U32BE:
        return encode_u32(key, out, err);
    case SHARDY_KEY_ENCODING_UTF8:
    case SHARDY_KEY_ENCODING_RAW:
        return encode_bytes(key, encoding, out, err);
    default:
        return shardy__error(
            err, SHARDY_INVALID, "key", "key encoding %d is not known", (int)encoding);
    }
}

shardy_status shardy__key_decode(
    shardy_bytes stored, int32_t encoding, shardy_key *out, shardy_error *err)
{
    size_t width = encoding == SHARDY_KEY_ENCODING_U64BE   ? 8
                   : encoding == SHARDY_KEY_ENCODING_U32BE ? 4
                                                           : 0;
    if (width && stored.len != width) {
        return shardy__error(err, SHARDY_CORRUPT, "key",
            "a stored key has %zu bytes, the encoding %s has %zu", stored.len,
            shardy_key_encoding_name(encoding), width);
    }
    if (width == 8) {
        *out = shardy_key_uint(shardy__get_be64(stored.data));
    } else if (width == 4) {
        *out = shardy_key_int(shardy__get_be32(stored.data));
    } else if (encoding == SHARDY_KEY_ENCODING_UTF8) {
        *out = shardy_key_text(stored.data, stored.len);
    } else {
        *out = shardy_key_bytes(stored.data, stored.len);
    }
    return SHARDY_OK;
}

shardy_status shardy__key_for_routing(
    const shardy_key *key, int32_t encoding, shardy_key *out, shardy_error *err)
{
    *out = *key;
    if (key->type == SHARDY_KEY_BYTES && shardy__key_is_integer(encoding)) {
        return shardy__key_decode(key->bytes, encoding, out, err) < 0
                   ? wrong_key(key, encoding, "an integer, or its stored bytes", err)
                   : SHARDY_OK;
    }
    return SHARDY_OK;
}
