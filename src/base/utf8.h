/* utf8.h: checks of text that comes from outside. */
#ifndef SHARDY_BASE_UTF8_H
#define SHARDY_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* 1 when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most
 * U+10FFFF). */
int shardy__utf8_valid(const void *text, size_t len);

/* Length of the well-formed character at `p`, which is before `end`; 0 when there is none. */
size_t shardy__utf8_len(const uint8_t *p, const uint8_t *end);
/* The code point of the well-formed character of `len` bytes at `p`. */
uint32_t shardy__utf8_decode(const uint8_t *p, size_t len);
/* Writes the UTF-8 of a code point (no surrogate) and returns its length. */
size_t shardy__utf8_encode(uint32_t code, char text_out[4]);

#endif
