/* utf8.h: checks of text that comes from outside. */
#ifndef SHARDY_BASE_UTF8_H
#define SHARDY_BASE_UTF8_H

#include <stddef.h>

/* 1 when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
int shardy__utf8_valid(const void *text, size_t len);

#endif
