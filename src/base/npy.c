#include "npy.h"

#include "alloc.h"
#include "ascii.h"
#include "bytes.h"
#include "number.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
#define MAGIC_LEN 6u

static const struct {
    const char *name;
    int32_t type;
    uint32_t item_len;
} types[] = {
    {"<f4", NPY_F4, 4},
    {"<f8", NPY_F8, 8},
    {">f4", NPY_F4_BIG, 4},
    {">f8", NPY_F8_BIG, 8},
    {"<f2", NPY_F2, 2},
    {"|i1", NPY_I1, 1},
    {"<i4", NPY_I4, 4},
    {"<i8", NPY_I8, 8},
};

static shardy_status invalid(shardy_error *err, const char *problem)
{
    return shardy__error(err, SHARDY_INVALID, "npy", "%s", problem);
}

/* --- the header ------------------------------------------------------------------------------- */

shardy_status shardy__npy_header_len(shardy_bytes prefix, size_t *len_out, shardy_error *err)
{
    *len_out = 0;
    const uint8_t *p = prefix.data;
    if (prefix.len < 10 || memcmp(p, magic, MAGIC_LEN) != 0) {
        return invalid(err, "not a .npy file: its first bytes are not \\x93NUMPY");
    }
    uint8_t version = p[MAGIC_LEN];
    if (version < 1 || version > 3 || p[MAGIC_LEN + 1] != 0) {
        return shardy__error(err, SHARDY_INVALID, "npy",
            "format version %u.%u is unknown: expected 1.0, 2.0 or 3.0", version, p[MAGIC_LEN + 1]);
    }
    size_t start = version == 1 ? 10 : 12;
    if (prefix.len < start) {
        return invalid(err, "the file ends in its header");
    }
    uint32_t len = version == 1 ? (uint32_t)(p[8] | p[9] << 8) : shardy__get_le32(p + 8);
    if (len > NPY_HEADER_LEN_MAX - NPY_PREFIX_LEN) {
        return shardy__error(err, SHARDY_INVALID, "npy",
            "a header of %u bytes is longer than the limit of %u", len,
            NPY_HEADER_LEN_MAX - NPY_PREFIX_LEN);
    }
    *len_out = start + len;
    return SHARDY_OK;
}

/* The dictionary of a header, a Python literal. It is read with the few rules that its writers
 * follow. */
typedef struct dict_reader {
    const char *p;
    const char *end;
} dict_reader;

static void skip_space(dict_reader *d)
{
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\n' || *d->p == '\t' || *d->p == '\r')) {
        d->p++;
    }
}

static bool take_char(dict_reader *d, char c)
{
    skip_space(d);
    if (d->p < d->end && *d->p == c) {
        d->p++;
        return true;
    }
    return false;
}

/* Text in single or double quotes, without escapes. */
static bool take_string(dict_reader *d, shardy_bytes *text_out)
{
    skip_space(d);
    if (d->p == d->end || (*d->p != '\'' && *d->p != '"')) {
        return false;
    }
    const char *start = d->p + 1;
    const char *quote = memchr(start, *d->p, (size_t)(d->end - start));
    if (!quote || memchr(start, '\\', (size_t)(quote - start))) {
        return false;
    }
    *text_out = shardy__bytes(start, (size_t)(quote - start));
    d->p = quote + 1;
    return true;
}

static bool take_word(dict_reader *d, const char *word)
{
    skip_space(d);
    size_t len = strlen(word);
    if ((size_t)(d->end - d->p) < len || memcmp(d->p, word, len) != 0) {
        return false;
    }
    d->p += len;
    return true;
}

static bool equals(shardy_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static shardy_status take_type(dict_reader *d, npy_header *h, shardy_error *err)
{
    shardy_bytes name;
    if (!take_string(d, &name)) {
        return invalid(err, "the 'descr' in the header is not a simple type");
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (equals(name, types[i].name)) {
            h->type = types[i].type;
            h->item_len = types[i].item_len;
            return SHARDY_OK;
        }
    }
    return shardy__error(err, SHARDY_INVALID, "npy",
        "numbers of type \"%.*s\" are not read: expected <f4, <f8, >f4, >f8, <f2, |i1, <i4 or <i8",
        SHARDY_BYTES_FMT(name));
}

/* A shape: (n,) or (n, m). */
static shardy_status take_shape(dict_reader *d, npy_header *h, shardy_error *err)
{
    uint64_t shape[2] = {0, 1};
    bool good = take_char(d, '(');
    bool comma = true;
    while (good && !take_char(d, ')')) {
        const char *start = d->p; /* behind the space: take_char() has skipped it */
        while (d->p < d->end && shardy__is_digit(*d->p)) {
            d->p++;
        }
        good = comma && d->p > start;
        if (good && h->dims == 2) {
            return invalid(err, "more than two dimensions");
        }
        if (good && !shardy__parse_uint64(start, (size_t)(d->p - start), &shape[h->dims])) {
            return invalid(err, "a dimension is too large");
        }
        h->dims += good;
        comma = take_char(d, ',');
    }
    if (!good || (h->dims == 1 && !comma)) {
        return invalid(err, "the 'shape' in the header is not a tuple of numbers");
    }
    if (h->dims == 0) {
        return invalid(err, "an array without dimensions");
    }
    h->rows = shape[0];
    h->cols = shape[1];
    return SHARDY_OK;
}

enum {
    SEEN_DESCR = 1,
    SEEN_ORDER = 2,
    SEEN_SHAPE = 4
};

static shardy_status take_entry(dict_reader *d, npy_header *h, int *seen, shardy_error *err)
{
    shardy_bytes name;
    if (!take_string(d, &name) || !take_char(d, ':')) {
        return invalid(err, "the header is not a dictionary");
    }
    int what = equals(name, "descr")           ? SEEN_DESCR
               : equals(name, "fortran_order") ? SEEN_ORDER
               : equals(name, "shape")         ? SEEN_SHAPE
                                               : 0;
    if (what == 0 || (*seen & what) != 0) {
        return shardy__error(err, SHARDY_INVALID, "npy",
            "\"%.*s\" in the header: expected descr, fortran_order and shape, once each",
            SHARDY_BYTES_FMT(name));
    }
    *seen |= what;
    if (what == SEEN_DESCR) {
        return take_type(d, h, err);
    }
    if (what == SEEN_SHAPE) {
        return take_shape(d, h, err);
    }
    h->fortran = take_word(d, "True");
    return h->fortran || take_word(d, "False")
               ? SHARDY_OK
               : invalid(err, "the 'fortran_order' in the header is neither True nor False");
}

static shardy_status read_dict(dict_reader *d, npy_header *h, shardy_error *err)
{
    int seen = 0;
    bool comma = true;
    if (!take_char(d, '{')) {
        return invalid(err, "the header is not a dictionary");
    }
    while (!take_char(d, '}')) {
        if (!comma) {
            return invalid(err, "the header is not a dictionary");
        }
        SHARDY_TRY(take_entry(d, h, &seen, err));
        comma = take_char(d, ',');
    }
    skip_space(d);
    if (d->p != d->end) {
        return invalid(err, "something follows the dictionary in the header");
    }
    return seen == (SEEN_DESCR | SEEN_ORDER | SEEN_SHAPE)
               ? SHARDY_OK
               : invalid(err, "the header lacks descr, fortran_order or shape");
}

shardy_status shardy__npy_parse_header(
    shardy_bytes start, uint64_t file_len, npy_header *header_out, shardy_error *err)
{
    memset(header_out, 0, sizeof *header_out);
    size_t len;
    SHARDY_TRY(shardy__npy_header_len(start, &len, err));
    if (start.len < len || file_len < len) {
        return invalid(err, "the file ends in its header");
    }
    const char *text = start.data;
    npy_header h = {0};
    dict_reader d = {text + ((uint8_t)text[MAGIC_LEN] == 1 ? 10 : 12), text + len};
    SHARDY_TRY(read_dict(&d, &h, err));
    h.data_at = len;
    uint64_t count;
    if (!shardy__mul_u64(h.rows, h.cols, &count) ||
        !shardy__mul_u64(count, h.item_len, &h.data_len) || h.data_len > INT64_MAX) {
        return invalid(err, "the shape is too large");
    }
    if (file_len - len != h.data_len) {
        return shardy__error(err, SHARDY_INVALID, "npy",
            "the shape needs %llu bytes of numbers, the file has %llu",
            (unsigned long long)h.data_len, (unsigned long long)(file_len - len));
    }
    h.fortran = h.fortran && h.dims == 2;
    *header_out = h;
    return SHARDY_OK;
}

/* --- the numbers ------------------------------------------------------------------------------ */

/* A float16, exactly. */
static double half_to_double(uint16_t half)
{
    int exponent = half >> 10 & 31;
    int mantissa = half & 1023;
    double value;
    if (exponent == 31) {
        value = mantissa == 0 ? (double)INFINITY : (double)NAN;
    } else if (exponent == 0) {
        value = ldexp(mantissa, -24);
    } else {
        value = ldexp(mantissa + 1024, exponent - 25);
    }
    return half >> 15 ? -value : value;
}

static float float_from(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double double_from(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The number at `p`, of any type but int64, as a double. */
static double number_at(int32_t type, const uint8_t *p)
{
    switch (type) {
    case NPY_F2:
        return half_to_double((uint16_t)(p[0] | p[1] << 8));
    case NPY_F4:
        return (double)float_from(shardy__get_le32(p));
    case NPY_F8:
        return double_from(shardy__get_le64(p));
    case NPY_F4_BIG:
        return (double)float_from(shardy__get_be32(p));
    case NPY_F8_BIG:
        return double_from(shardy__get_be64(p));
    case NPY_I1:
        return (int8_t)p[0];
    default:
        return (int32_t)shardy__get_le32(p);
    }
}

void shardy__npy_to_floats(const npy_header *header, const void *data, size_t count, float *out)
{
    const uint8_t *p = data;
    if (header->type == NPY_F4) {
        if (count > 0) {
            memcpy(out, data, count * sizeof *out);
        }
        return;
    }
    for (size_t i = 0; i < count; i++, p += header->item_len) {
        /* Not by way of double, which would round twice. */
        out[i] = header->type == NPY_I8 ? (float)(int64_t)shardy__get_le64(p)
                                        : shardy__to_float(number_at(header->type, p));
    }
}

void shardy__npy_to_doubles(const npy_header *header, const void *data, size_t count, double *out)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < count; i++, p += header->item_len) {
        out[i] = header->type == NPY_I8 ? (double)(int64_t)shardy__get_le64(p)
                                        : number_at(header->type, p);
    }
}

shardy_status shardy__npy_read(shardy_bytes file, npy_array *array_out, shardy_error *err)
{
    memset(array_out, 0, sizeof *array_out);
    npy_header h;
    SHARDY_TRY(shardy__npy_parse_header(file, file.len, &h, err));
    size_t size;
    double *values = NULL;
    if (shardy__mul_size((size_t)h.rows * (size_t)h.cols, sizeof *values, &size)) {
        values = shardy__malloc(size);
    }
    if (!values) {
        return shardy__error_nomem(err, "npy");
    }
    const uint8_t *data = (const uint8_t *)file.data + h.data_at;
    if (!h.fortran || h.data_len == 0) {
        shardy__npy_to_doubles(&h, data, (size_t)(h.rows * h.cols), values);
    } else {
        for (size_t i = 0; i < h.rows; i++) {
            for (size_t j = 0; j < h.cols; j++) {
                shardy__npy_to_doubles(
                    &h, data + (j * h.rows + i) * h.item_len, 1, values + i * h.cols + j);
            }
        }
    }
    array_out->header = h;
    array_out->values = values;
    return SHARDY_OK;
}

void shardy__npy_free(npy_array *array)
{
    shardy__free(array->values);
    memset(array, 0, sizeof *array);
}

shardy_status shardy__npy_write_floats(const float *values, uint64_t rows, uint64_t cols,
    uint32_t dims, bytebuf *out, shardy_error *err)
{
    SHARDY_CHECK_ARG(dims == 1 || dims == 2);
    cols = dims == 1 ? 1 : cols;
    uint64_t size;
    if (!shardy__mul_u64(rows, cols, &size) || !shardy__mul_u64(size, sizeof *values, &size) ||
        size > INT64_MAX) {
        return invalid(err, "the shape is too large");
    }
    bytebuf dict;
    shardy__bytebuf_init(&dict, 256);
    shardy__bytebuf_printf(&dict, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu,",
        (unsigned long long)rows);
    if (dims == 2) {
        shardy__bytebuf_printf(&dict, " %llu", (unsigned long long)cols);
    }
    shardy__bytebuf_puts(&dict, "), }");
    /* As NumPy does: room for the first dimension to grow to 21 digits, then up to a multiple of 64
     * bytes, where 64 stand for none. */
    size_t padding = 21;
    for (uint64_t n = rows; padding > 0 && (n > 0 || padding == 21); n /= 10) {
        padding--;
    }
    padding += 64 - (10 + dict.len + padding + 1) % 64;
    shardy__bytebuf_printf(&dict, "%*s", (int)padding, "");
    shardy__bytebuf_putc(&dict, '\n');
    shardy_status st = shardy__bytebuf_check(&dict, "npy", err);
    if (st >= 0) {
        uint8_t version_and_len[4] = {1, 0, (uint8_t)dict.len, (uint8_t)(dict.len >> 8)};
        shardy__bytebuf_append(out, magic, MAGIC_LEN);
        shardy__bytebuf_append(out, version_and_len, sizeof version_and_len);
        shardy__bytebuf_append(out, dict.data, dict.len);
        shardy__bytebuf_append(out, values, (size_t)size);
        st = shardy__bytebuf_check(out, "npy", err);
    }
    shardy__bytebuf_free(&dict);
    return st;
}
