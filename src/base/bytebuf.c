#include "bytebuf.h"

#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void shardy__bytebuf_init(bytebuf *buf, size_t len_max)
{
    memset(buf, 0, sizeof *buf);
    buf->len_max = len_max;
}

void shardy__bytebuf_free(bytebuf *buf)
{
    shardy__free(buf->data);
    shardy__bytebuf_init(buf, buf->len_max);
}

void shardy__bytebuf_clear(bytebuf *buf)
{
    buf->len = 0;
    buf->status = SHARDY_OK;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void *shardy__bytebuf_reserve(bytebuf *buf, size_t len)
{
    if (buf->status < 0) {
        return NULL;
    }
    if (len > buf->len_max || buf->len > buf->len_max - len) {
        buf->status = SHARDY_INVALID;
        return NULL;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->room) {
        size_t room = buf->room ? buf->room : 64;
        while (room < need) {
            room = room > buf->len_max / 2 ? buf->len_max + 1 : room * 2;
        }
        char *data = shardy__realloc(buf->data, room);
        if (!data) {
            buf->status = SHARDY_NOMEM;
            return NULL;
        }
        buf->data = data;
        buf->room = room;
    }
    return buf->data + buf->len;
}

void shardy__bytebuf_append(bytebuf *buf, const void *data, size_t len)
{
    void *dest = shardy__bytebuf_reserve(buf, len);
    if (!dest) {
        return;
    }
    if (len) {
        memcpy(dest, data, len);
    }
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void shardy__bytebuf_write(bytebuf *buf, uint64_t offset, const void *data, size_t len)
{
    if (offset > buf->len_max || len > buf->len_max - offset) {
        buf->status = buf->status < 0 ? buf->status : SHARDY_INVALID;
    }
    if (buf->status < 0 || len == 0) {
        return;
    }
    size_t end = (size_t)offset + len;
    if (end > buf->len) {
        size_t more = end - buf->len;
        void *room = shardy__bytebuf_reserve(buf, more);
        if (!room) {
            return;
        }
        memset(room, 0, more);
        buf->len = end;
        buf->data[end] = '\0';
    }
    memcpy(buf->data + offset, data, len);
}

void shardy__bytebuf_puts(bytebuf *buf, const char *text)
{
    shardy__bytebuf_append(buf, text, strlen(text));
}

void shardy__bytebuf_putc(bytebuf *buf, char c)
{
    shardy__bytebuf_append(buf, &c, 1);
}

void shardy__bytebuf_printf(bytebuf *buf, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (wanted < 0) {
        buf->status = SHARDY_INVALID;
        return;
    }
    if ((size_t)wanted < sizeof small) {
        shardy__bytebuf_append(buf, small, (size_t)wanted);
        return;
    }
    char *dest = shardy__bytebuf_reserve(buf, (size_t)wanted);
    if (dest) {
        va_start(args, format);
        vsnprintf(dest, (size_t)wanted + 1, format, args);
        va_end(args);
        buf->len += (size_t)wanted;
    }
}

shardy_status shardy__bytebuf_check(const bytebuf *buf, const char *domain, shardy_error *err)
{
    if (buf->status >= 0) {
        return SHARDY_OK;
    }
    if (buf->status == SHARDY_NOMEM) {
        return shardy__error_nomem(err, domain);
    }
    return shardy__error(
        err, buf->status, domain, "text is longer than the limit of %zu bytes", buf->len_max);
}

static void release_block(shardy_buf *buf)
{
    shardy__free(buf->owner);
}

void shardy__buf_own(void *block, size_t len, shardy_buf *out)
{
    out->data = block;
    out->len = len;
    out->release = release_block;
    out->owner = block;
}

void shardy__bytebuf_give(bytebuf *buf, shardy_buf *out)
{
    shardy__buf_own(buf->data, buf->len, out);
    buf->data = NULL;
    shardy__bytebuf_free(buf);
}

shardy_status shardy__buf_copy(const void *data, size_t len, shardy_buf *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    void *copy = shardy__malloc(len);
    if (!copy) {
        return shardy__error_nomem(err, "memory");
    }
    if (len) {
        memcpy(copy, data, len);
    }
    shardy__buf_own(copy, len, out);
    return SHARDY_OK;
}
