/* bytes.h: integers in byte order, and SQLite's varints, read and written without alignment. */
#ifndef SHARDY_BASE_BYTES_H
#define SHARDY_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t shardy__get_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap16(v);
}

static inline uint32_t shardy__get_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

static inline uint64_t shardy__get_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

/* The first 8 bytes of a key as a number that compares like the bytes; short keys are filled up
 * with zeros. */
static inline uint64_t shardy__key_window(const void *key, size_t len)
{
    if (len >= 8) {
        return shardy__get_be64(key);
    }
    uint8_t bytes[8] = {0};
    if (len) {
        memcpy(bytes, key, len);
    }
    return shardy__get_be64(bytes);
}

static inline uint32_t shardy__get_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t shardy__get_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void shardy__put_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof v);
}

static inline void shardy__put_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void shardy__put_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

static inline void shardy__put_le32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline void shardy__put_le64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian machines are supported"
#endif

#endif
