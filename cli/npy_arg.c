#include "npy_arg.h"

#include "utf8.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum {
    HEADER_LEN_MAX = 65536
};

/* The queries of one call are bounded by the library; a file beyond this is a mistake. */
static const size_t file_len_max = (size_t)4 << 30;

static int bad(strbuf *message, const char *what)
{
    strbuf_puts(message, what);
    return -1;
}

/* --- the header: a Python dictionary ---------------------------------------------------------- */

typedef struct header {
    char descr[16];
    int fortran_order; /* -1: not seen */
    uint64_t shape[2];
    size_t dimensions;
    int shape_seen;
} header;

typedef struct scanner {
    const char *p;
    const char *end;
} scanner;

static void skip_blanks(scanner *s)
{
    while (s->p < s->end && strchr(" \t\r\n", *s->p) && *s->p) {
        s->p++;
    }
}

static int take(scanner *s, char c)
{
    skip_blanks(s);
    if (s->p < s->end && *s->p == c) {
        s->p++;
        return 1;
    }
    return 0;
}

static int take_word(scanner *s, const char *word)
{
    skip_blanks(s);
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) >= n && memcmp(s->p, word, n) == 0) {
        s->p += n;
        return 1;
    }
    return 0;
}

/* 'text' or "text" without escapes. */
static int take_string(scanner *s, char *out, size_t room)
{
    skip_blanks(s);
    if (s->p >= s->end || (*s->p != '\'' && *s->p != '"')) {
        return 0;
    }
    char quote = *s->p++;
    const char *close = memchr(s->p, quote, (size_t)(s->end - s->p));
    if (!close || (size_t)(close - s->p) >= room) {
        return 0;
    }
    memcpy(out, s->p, (size_t)(close - s->p));
    out[close - s->p] = '\0';
    s->p = close + 1;
    return 1;
}

/* (3,) or (3, 4); more dimensions than two are counted only. */
static int take_shape(scanner *s, header *h)
{
    h->shape_seen = 1;
    if (!take(s, '(')) {
        return 0;
    }
    while (!take(s, ')')) {
        skip_blanks(s);
        uint64_t value = 0;
        const char *first = s->p;
        while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
            if (value > (UINT64_MAX - 9) / 10) {
                return 0;
            }
            value = value * 10 + (uint64_t)(*s->p++ - '0');
        }
        if (s->p == first) {
            return 0;
        }
        if (h->dimensions < 2) {
            h->shape[h->dimensions] = value;
        }
        h->dimensions++;
        if (!take(s, ',')) {
            return take(s, ')');
        }
    }
    return 1;
}

static int take_member(scanner *s, header *h)
{
    char name[24];
    if (!take_string(s, name, sizeof name) || !take(s, ':')) {
        return 0;
    }
    if (strcmp(name, "descr") == 0) {
        return take_string(s, h->descr, sizeof h->descr);
    }
    if (strcmp(name, "fortran_order") == 0) {
        h->fortran_order = take_word(s, "True") ? 1 : take_word(s, "False") ? 0 : -1;
        return h->fortran_order >= 0;
    }
    return strcmp(name, "shape") == 0 && take_shape(s, h);
}

static int parse_header(const char *text, size_t len, header *h)
{
    scanner s = {text, text + len};
    memset(h, 0, sizeof *h);
    h->fortran_order = -1;
    if (!take(&s, '{')) {
        return 0;
    }
    while (!take(&s, '}')) {
        if (!take_member(&s, h)) {
            return 0;
        }
        if (!take(&s, ',')) {
            if (!take(&s, '}')) {
                return 0;
            }
            break;
        }
    }
    skip_blanks(&s);
    return s.p == s.end && h->descr[0] && h->fortran_order >= 0 && h->shape_seen;
}

/* --- the data --------------------------------------------------------------------------------- */

static uint64_t get_le(const unsigned char *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = bytes; i > 0; i--) {
        v = v << 8 | p[i - 1];
    }
    return v;
}

static float get_float(const unsigned char *p, size_t item)
{
    if (item == 4) {
        uint32_t bits = (uint32_t)get_le(p, 4);
        float f;
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    uint64_t bits = get_le(p, 8);
    double d;
    memcpy(&d, &bits, sizeof d);
    /* a double beyond the range of float would be undefined to convert */
    return fabs(d) <= 3.4028235677973366e38 ? (float)d : (float)NAN;
}

static int read_data(const char *bytes, size_t len, size_t item, npy_array *out, strbuf *message)
{
    if (out->dim != 0 && out->rows > SIZE_MAX / item / out->dim) {
        return bad(message, "its shape does not fit in memory");
    }
    size_t count = out->rows * out->dim;
    if (len != count * item) {
        strbuf_printf(
            message, "it holds %zu bytes of data where its shape needs %zu", len, count * item);
        return -1;
    }
    out->data = sys_alloc(count, sizeof *out->data);
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < count; i++) {
        out->data[i] = get_float(p + i * item, item);
        if (!isfinite(out->data[i])) {
            strbuf_printf(message, "component %zu of row %zu is not a finite number", i % out->dim,
                i / out->dim);
            return -1;
        }
    }
    return 0;
}

/* What a query file may be. Returns the size of an item, or 0 after a message. */
static size_t check_header(const header *h, strbuf *message)
{
    size_t item = strcmp(h->descr, "<f4") == 0 ? 4 : strcmp(h->descr, "<f8") == 0 ? 8 : 0;
    if (item == 0) {
        strbuf_puts(message, "its type is \"");
        utf8_add_visible(message, h->descr, strlen(h->descr), 0);
        strbuf_puts(message, "\"; expected little-endian float32 or float64 (<f4, <f8)");
        return 0;
    }
    if (h->dimensions != 1 && h->dimensions != 2) {
        strbuf_printf(message, "it has %zu dimensions; expected one or two", h->dimensions);
        return 0;
    }
    if (h->fortran_order && h->dimensions == 2) {
        strbuf_puts(message, "its rows are in Fortran order; expected C order");
        return 0;
    }
    if (h->shape[0] > SIZE_MAX || h->shape[1] > SIZE_MAX) {
        strbuf_puts(message, "its shape does not fit in memory");
        return 0;
    }
    return item;
}

int npy_parse(const char *bytes, size_t len, npy_array *out, strbuf *message)
{
    memset(out, 0, sizeof *out);
    const unsigned char *p = (const unsigned char *)bytes;
    if (len < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        return bad(message, "it is not a NumPy file");
    }
    if (p[6] < 1 || p[6] > 3) {
        strbuf_printf(message, "its format version %u is not known", (unsigned)p[6]);
        return -1;
    }
    size_t at = p[6] == 1 ? 10 : 12;
    size_t header_len = len < at ? 0 : (size_t)get_le(p + 8, at - 8);
    header h;
    if (header_len == 0 || header_len > HEADER_LEN_MAX || header_len > len - at ||
        !parse_header(bytes + at, header_len, &h)) {
        return bad(message, "its header is malformed");
    }
    size_t item = check_header(&h, message);
    if (item == 0) {
        return -1;
    }
    out->one_dimension = h.dimensions == 1;
    out->rows = h.dimensions == 1 ? 1 : (size_t)h.shape[0];
    out->dim = (size_t)h.shape[h.dimensions - 1];
    return read_data(bytes + at + header_len, len - at - header_len, item, out, message);
}

int npy_load(const char *path, npy_array *out, strbuf *message)
{
    memset(out, 0, sizeof *out);
    char *bytes = NULL;
    size_t len = 0;
    strbuf why = {0};
    int rc = sys_read_file(path, file_len_max, &bytes, &len);
    if (rc != 0) {
        strbuf_puts(&why, rc == EFBIG ? "it is longer than 4 GiB" : strerror(rc));
        rc = -2;
    } else {
        rc = npy_parse(bytes, len, out, &why);
    }
    if (rc != 0) {
        strbuf_puts(message, rc == -2 ? "cannot read \"" : "cannot use \"");
        utf8_add_visible(message, path, strlen(path), 0);
        strbuf_printf(message, "\": %s", strbuf_text(&why));
    }
    strbuf_free(&why);
    sys_free(bytes);
    return rc;
}

void npy_free(npy_array *a)
{
    sys_free(a->data);
    memset(a, 0, sizeof *a);
}
