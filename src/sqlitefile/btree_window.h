/* btree_window.h: keys as 8-byte big-endian numbers, which compare as the bytes do. */
#ifndef SHARDY_SQLITEFILE_BTREE_WINDOW_H
#define SHARDY_SQLITEFILE_BTREE_WINDOW_H

#include "../base/bytes.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The first `bytes` bytes of a window, zeros after them. */
static inline uint64_t shardy__window_keep(uint64_t window, size_t bytes)
{
    return bytes >= 8 ? window : bytes == 0 ? 0 : window & ~(UINT64_MAX >> (8 * bytes));
}

/* How many of the first `len` bytes of two keys are the same. */
static inline size_t shardy__key_common(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;
    while (len - i >= 8) {
        uint64_t differ = shardy__get_le64(a + i) ^ shardy__get_le64(b + i);
        if (differ) {
            return i + ((size_t)__builtin_ctzll(differ) >> 3);
        }
        i += 8;
    }
    while (i < len && a[i] == b[i]) {
        i++;
    }
    return i;
}

#endif
