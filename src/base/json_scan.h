/* json_scan.h: what the JSON reader and the JSON writer share: finding the bytes of a string that
 * need attention, and taking escapes apart. Private to json*.c. */
#ifndef SHARDY_BASE_JSON_SCAN_H
#define SHARDY_BASE_JSON_SCAN_H

#include "bytes.h"

#include <stdbool.h>

/* True for the bytes that stand for themselves in every style: 0x20 to 0x7E but '"' and '\\'. */
static inline bool shardy__json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* The first byte in [p, end) that is not plain, or end. Eight bytes at a time: each test sets the
 * high bit of the bytes it looks for. A borrow or a carry can set others too, but it comes out of a
 * byte that is itself found, so the lowest bit is always right. */
static inline const char *shardy__json_skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t highs = 0x8080808080808080u;
    while (end - p >= 8) {
        uint64_t x = shardy__get_le64(p);
        uint64_t quotes = x ^ ones * '"';
        uint64_t slashes = x ^ ones * '\\';
        uint64_t found =
            (x | (x - ones * 0x20) | (x + ones) | (quotes - ones) | (slashes - ones)) & highs;
        if (found != 0) {
            return p + (unsigned)__builtin_ctzll(found) / 8;
        }
        p += 8;
    }
    while (p < end && shardy__json_is_plain((unsigned char)*p)) {
        p++;
    }
    return p;
}

/* The code point of the escape at `p` (its backslash) and the place behind it in *next_out; one of
 * a pair of surrogates is taken with its other half. -1 when there is no valid escape. */
int32_t shardy__json_unescape(const char *p, const char *end, const char **next_out);

#endif
