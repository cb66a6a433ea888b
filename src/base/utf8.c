#include "utf8.h"

#include "bytes.h"

size_t shardy__utf8_len(const uint8_t *p, const uint8_t *end)
{
    uint8_t first = p[0];
    if (first < 0x80) {
        return 1;
    }
    size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || (size_t)(end - p) < n) {
        return 0;
    }
    /* What the second byte must be rules out overlong forms, surrogates and what is above
     * U+10FFFF. */
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return n;
}

uint32_t shardy__utf8_decode(const uint8_t *p, size_t len)
{
    switch (len) {
    case 1:
        return p[0];
    case 2:
        return (uint32_t)(p[0] & 0x1F) << 6 | (uint32_t)(p[1] & 0x3F);
    case 3:
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 |
               (uint32_t)(p[2] & 0x3F);
    default:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
               (uint32_t)(p[2] & 0x3F) << 6 | (uint32_t)(p[3] & 0x3F);
    }
}

size_t shardy__utf8_encode(uint32_t code, char text_out[4])
{
    uint8_t *p = (uint8_t *)text_out;
    if (code < 0x80) {
        p[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        p[0] = (uint8_t)(0xC0 | code >> 6);
        p[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        p[0] = (uint8_t)(0xE0 | code >> 12);
        p[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        p[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    p[0] = (uint8_t)(0xF0 | code >> 18);
    p[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    p[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    p[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
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
        size_t n = shardy__utf8_len(p, end);
        if (n == 0) {
            return 0;
        }
        p += n;
    }
    return 1;
}
