#include "utf8.h"

#include "bytes.h"

#include <stdint.h>

/* Length of the well-formed character at p, 0 when there is none. */
static size_t character_len(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF && left >= 2 && (p[1] & 0xC0) == 0x80) {
        return 2;
    }
    if (p[0] >= 0xE0 && p[0] <= 0xEF && left >= 3) {
        uint8_t low = p[0] == 0xE0 ? 0xA0 : 0x80;
        uint8_t high = p[0] == 0xED ? 0x9F : 0xBF;
        return p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 ? 3 : 0;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4 && left >= 4) {
        uint8_t low = p[0] == 0xF0 ? 0x90 : 0x80;
        uint8_t high = p[0] == 0xF4 ? 0x8F : 0xBF;
        return p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80 ? 4
                                                                                             : 0;
    }
    return 0;
}

int shardy__utf8_valid(const void *text, size_t len)
{
    const uint8_t *p = text;
    const uint8_t *end = p + len;
    while (p < end) {
        /* Eight ASCII bytes at a time: most text is. */
        if (end - p >= 8 && (shardy__get_le64(p) & 0x8080808080808080u) == 0) {
            p += 8;
            continue;
        }
        size_t n = character_len(p, end);
        if (n == 0) {
            return 0;
        }
        p += n;
    }
    return 1;
}
