/* utf8.h: UTF-8 of arguments, keys and values: decoding, width on a terminal, safe display.
 *
 * It stands beside the hidden src/base/utf8.h because the command sees the public headers only. */
#ifndef SHARDY_CLI_UTF8_H
#define SHARDY_CLI_UTF8_H

#include "strbuf.h"

/* Decodes one character. Returns its length and sets *code_out; for malformed bytes returns the
 * length of the part that is to be replaced by one U+FFFD and sets *code_out to UINT32_MAX. `len`
 * must not be 0. */
size_t utf8_decode(const char *text, size_t len, uint32_t *code_out);

int utf8_valid(const char *text, size_t len);

/* Appends the text with malformed parts replaced by U+FFFD. */
void utf8_add_replaced(strbuf *b, const char *text, size_t len);

/* Appends the text for a table cell or a terminal: malformed parts become U+FFFD, control
 * characters \n, \t, \x1b and so on. With `keep_lines` newlines and tabs stay as they are. */
void utf8_add_visible(strbuf *b, const char *text, size_t len, int keep_lines);

/* Columns that a text takes on a terminal. */
size_t utf8_width(const char *text, size_t len);

/* Chooses the UTF-8 character table of the C library. Call once at the start. */
void utf8_init(void);

/* 1 when the environment asks for UTF-8 on its terminal. */
int utf8_wanted(void);

#endif
