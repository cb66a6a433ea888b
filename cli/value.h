/* value.h: bytes as text and back: how values are printed, how keys are given. */
#ifndef SHARDY_CLI_VALUE_H
#define SHARDY_CLI_VALUE_H

#include "strbuf.h"

#include <shardyfusion/key.h>

typedef enum value_encoding {
    VALUE_BASE64 = 0,
    VALUE_UTF8 = 1, /* malformed parts become U+FFFD */
    VALUE_HEX = 2
} value_encoding;

void value_encode(strbuf *b, value_encoding encoding, const void *data, size_t len);

typedef enum key_format {
    KEY_FORMAT_TEXT = 0,
    KEY_FORMAT_HEX = 1,
    KEY_FORMAT_BASE64 = 2
} key_format;

/* A key from the command line or a line of the standard input. Text: a decimal integer when the
 * encoding (shardy_key_encoding) is one of integers, bytes when it is raw, else text. Bytes of hex
 * and base64 are decoded into *owned_out, which the key borrows: sys_free() it after the key.
 * Returns 0, or -1 with a message in `message`. */
int key_parse(const char *text, size_t len, key_format format, int32_t encoding,
    shardy_key *key_out, char **owned_out, strbuf *message);

/* Integer rules of the reference: surrounding blanks, a sign, single underscores between digits.
 * Returns 0, -1 when the text is not an integer, -2 when it does not fit. */
int key_parse_integer(const char *text, size_t len, shardy_key *key_out);

#endif
