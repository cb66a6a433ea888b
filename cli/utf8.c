/* wcwidth() belongs to the X/Open extension */
#define _XOPEN_SOURCE 700
#include "utf8.h"

#include <locale.h>
#include <string.h>
#include <wchar.h>

static int continuation(const unsigned char *p, size_t i, size_t len)
{
    return i < len && (p[i] & 0xC0) == 0x80;
}

/* Length of a sequence from its first byte and the bounds of the second byte; 0: not a first
 * byte. */
static size_t lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (c >= 0xC2 && c <= 0xDF) {
        return 2;
    }
    if (c >= 0xE0 && c <= 0xEF) {
        *low = c == 0xE0 ? 0xA0 : 0x80;
        *high = c == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        *low = c == 0xF0 ? 0x90 : 0x80;
        *high = c == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *code_out)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) {
        *code_out = p[0];
        return 1;
    }
    *code_out = UINT32_MAX;
    unsigned char low;
    unsigned char high;
    size_t need = lead(p[0], &low, &high);
    if (need == 0 || len < 2 || p[1] < low || p[1] > high) {
        return 1;
    }
    uint32_t code = p[0] & (0x7Fu >> need);
    code = code << 6 | (p[1] & 0x3Fu);
    for (size_t i = 2; i < need; i++) {
        if (!continuation(p, i, len)) {
            return i;
        }
        code = code << 6 | (p[i] & 0x3Fu);
    }
    *code_out = code;
    return need;
}

int utf8_valid(const char *text, size_t len)
{
    uint32_t code;
    for (size_t i = 0; i < len;) {
        i += utf8_decode(text + i, len - i, &code);
        if (code == UINT32_MAX) {
            return 0;
        }
    }
    return 1;
}

void utf8_add_replaced(strbuf *b, const char *text, size_t len)
{
    uint32_t code;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_decode(text + i, len - i, &code);
        if (code == UINT32_MAX) {
            strbuf_puts(b, "\xEF\xBF\xBD");
        } else {
            strbuf_add(b, text + i, n);
        }
        i += n;
    }
}

/* C0 and C1 controls and DEL: a terminal would act on them. */
static int is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

void utf8_add_visible(strbuf *b, const char *text, size_t len, int keep_lines)
{
    uint32_t code;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_decode(text + i, len - i, &code);
        if (code == UINT32_MAX) {
            strbuf_puts(b, "\xEF\xBF\xBD");
        } else if (!is_control(code) || (keep_lines && (code == '\n' || code == '\t'))) {
            strbuf_add(b, text + i, n);
        } else if (code == '\n' || code == '\t' || code == '\r') {
            strbuf_puts(b, code == '\n' ? "\\n" : code == '\t' ? "\\t" : "\\r");
        } else {
            strbuf_printf(b, "\\x%02x", (unsigned)code);
        }
        i += n;
    }
}

size_t utf8_width(const char *text, size_t len)
{
    size_t width = 0;
    uint32_t code;
    for (size_t i = 0; i < len;) {
        i += utf8_decode(text + i, len - i, &code);
        int w = code == UINT32_MAX ? 1 : wcwidth((wchar_t)code);
        width += w < 0 ? 1 : (size_t)w;
    }
    return width;
}

void utf8_init(void)
{
    /* The output is UTF-8 whatever the locale says; without such a locale every character counts
     * as one column. */
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        setlocale(LC_CTYPE, "");
    }
}

int utf8_wanted(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = sys_env(names[i]);
        if (value) {
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "UTF8") ||
                   strstr(value, "utf-8");
        }
    }
    return 0;
}
