#include "strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void reserve(strbuf *b, size_t more)
{
    if (more >= SIZE_MAX / 2 - b->len) {
        sys_die("out of memory");
    }
    size_t need = b->len + more + 1;
    if (need > b->room) {
        size_t room = b->room ? b->room * 2 : 256;
        b->room = room < need ? need : room;
        b->data = sys_resize(b->data, b->room, 1);
    }
}

void strbuf_add(strbuf *b, const void *data, size_t len)
{
    reserve(b, len);
    if (len) {
        memcpy(b->data + b->len, data, len);
    }
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_puts(strbuf *b, const char *text)
{
    strbuf_add(b, text, strlen(text));
}

void strbuf_putc(strbuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_fill(strbuf *b, char c, size_t count)
{
    reserve(b, count);
    memset(b->data + b->len, c, count);
    b->len += count;
    b->data[b->len] = '\0';
}

void strbuf_printf(strbuf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len <= 0) {
        return;
    }
    reserve(b, (size_t)len);
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
}

const char *strbuf_text(const strbuf *b)
{
    return b->data ? b->data : "";
}

char *strbuf_take(strbuf *b)
{
    char *text = b->data ? b->data : sys_strdup("");
    *b = (strbuf){0};
    return text;
}

void strbuf_free(strbuf *b)
{
    sys_free(b->data);
    *b = (strbuf){0};
}
