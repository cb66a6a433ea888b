/* strbuf.h: text that grows.
 *
 * It stands beside the hidden src/base/bytebuf.h because the command sees the public headers only;
 * when memory runs out it ends the program instead of keeping a status. */
#ifndef SHARDY_CLI_STRBUF_H
#define SHARDY_CLI_STRBUF_H

#include "sys.h"

/* `data` is zero-terminated once something was added; NULL before. */
typedef struct strbuf {
    char *data;
    size_t len;
    size_t room;
} strbuf;

void strbuf_add(strbuf *b, const void *data, size_t len);
void strbuf_puts(strbuf *b, const char *text);
void strbuf_putc(strbuf *b, char c);
void strbuf_fill(strbuf *b, char c, size_t count);
void strbuf_printf(strbuf *b, const char *format, ...) CLI_PRINTF(2, 3);
/* The text so far; "" when there is none. */
const char *strbuf_text(const strbuf *b);
/* The text so far, now yours; the buffer is empty again. */
char *strbuf_take(strbuf *b);
void strbuf_free(strbuf *b);

#endif
