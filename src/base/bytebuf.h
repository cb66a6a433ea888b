/* bytebuf.h: a byte buffer that grows up to a maximum which its owner must name.
 *
 * Errors stick: after the first failed append all others do nothing, and bytebuf_status() tells. So
 * a text can be put together without a check after each piece. */
#ifndef SHARDY_BASE_BYTEBUF_H
#define SHARDY_BASE_BYTEBUF_H

#include "error.h"

#include <shardyfusion/base.h>

typedef struct bytebuf {
    char *data; /* zero-terminated once anything was appended */
    size_t len;
    size_t room;
    size_t len_max;
    shardy_status status; /* OK, NOMEM, or INVALID when len_max would be exceeded */
} bytebuf;

void shardy__bytebuf_init(bytebuf *buf, size_t len_max);
void shardy__bytebuf_free(bytebuf *buf); /* content; leaves an empty buffer with the same maximum */
void shardy__bytebuf_clear(bytebuf *buf); /* keeps the memory; forgets a failure */
void shardy__bytebuf_append(bytebuf *buf, const void *data, size_t len);
void shardy__bytebuf_puts(bytebuf *buf, const char *text);
void shardy__bytebuf_putc(bytebuf *buf, char c);
void shardy__bytebuf_printf(bytebuf *buf, const char *format, ...) SHARDY_PRINTF(2, 3);
/* Room for `len` more bytes and a pointer to it, or NULL; commit with `buf->len += n`. */
void *shardy__bytebuf_reserve(bytebuf *buf, size_t len);
/* Puts bytes at that offset, with zeros before them where there was nothing. */
void shardy__bytebuf_write(bytebuf *buf, uint64_t offset, const void *data, size_t len);
/* OK, or the sticky failure as an error. */
shardy_status shardy__bytebuf_check(const bytebuf *buf, const char *domain, shardy_error *err);
/* Hands the memory over to a shardy_buf and leaves an empty buffer. */
void shardy__bytebuf_give(bytebuf *buf, shardy_buf *out);

/* A shardy_buf that owns a copy of the bytes. */
shardy_status shardy__buf_copy(const void *data, size_t len, shardy_buf *out, shardy_error *err);
/* A shardy_buf that owns `block`, which came from shardy__malloc(). */
void shardy__buf_own(void *block, size_t len, shardy_buf *out);

static inline shardy_bytes shardy__bytes(const void *data, size_t len)
{
    shardy_bytes b = {data, len};
    return b;
}

#endif
