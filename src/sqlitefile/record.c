#include "record.h"

#include "../base/bytes.h"

#include <math.h>
#include <string.h>

size_t shardy__varint_put(uint8_t *p, uint64_t value)
{
    size_t len = shardy__varint_len(value);
    if (len == RECORD_VARINT_MAX) {
        p[8] = (uint8_t)value;
        value >>= 8;
        for (size_t i = 8; i-- > 0;) {
            p[i] = (uint8_t)(value | 0x80);
            value >>= 7;
        }
        return len;
    }
    for (size_t i = len; i-- > 0;) {
        p[i] = (uint8_t)((value & 0x7F) | (i + 1 < len ? 0x80u : 0u));
        value >>= 7;
    }
    return len;
}

record_type shardy__serial_type(uint64_t serial)
{
    if (serial >= 12) {
        return serial & 1 ? RECORD_TEXT : RECORD_BLOB;
    }
    if (serial == 0) {
        return RECORD_NULL;
    }
    return serial == 7 ? RECORD_REAL : RECORD_INT;
}

static shardy_status broken(shardy_error *err, const char *what)
{
    return shardy__error(err, SHARDY_CORRUPT, "sqlite", "record is broken: %s", what);
}

/* Length of the header of a record, with the length of that varint itself. */
static shardy_status read_header_len(const uint8_t *record, size_t len, uint64_t record_len,
    uint64_t *header_len_out, size_t *at_out, shardy_error *err)
{
    size_t n = shardy__varint_get(record, len, header_len_out);
    *at_out = n;
    if (n == 0) {
        return len < record_len && len < RECORD_VARINT_MAX
                   ? SHARDY_PENDING
                   : broken(err, "length of the header is cut off");
    }
    if (*header_len_out < n || *header_len_out > record_len) {
        return broken(err, "header is longer than the record");
    }
    return *header_len_out > len ? SHARDY_PENDING : SHARDY_OK;
}

shardy_status shardy__record_find(const uint8_t *record, size_t len, uint64_t record_len,
    uint32_t column, record_column *column_out, shardy_error *err)
{
    memset(column_out, 0, sizeof *column_out);
    uint64_t header_len = 0;
    size_t at = 0;
    shardy_status st = read_header_len(record, len, record_len, &header_len, &at, err);
    if (st != SHARDY_OK) {
        return st;
    }
    uint64_t offset = header_len;
    for (uint32_t i = 0; at < header_len; i++) {
        uint64_t serial = 0;
        size_t n = shardy__varint_get(record + at, (size_t)(header_len - at), &serial);
        if (n == 0) {
            return broken(err, "serial type is cut off");
        }
        at += n;
        uint64_t column_len = shardy__serial_len(serial);
        if (column_len > record_len - offset) {
            return broken(err, "column ends beyond the record");
        }
        if (i == column) {
            column_out->serial = serial;
            column_out->offset = offset;
            column_out->len = column_len;
            return SHARDY_OK;
        }
        offset += column_len;
    }
    return SHARDY_OK;
}

static int64_t read_int(uint64_t serial, const uint8_t *p)
{
    switch (serial) {
    case 1:
        return (int8_t)p[0];
    case 2:
        return (int16_t)shardy__get_be16(p);
    case 3:
        return (int32_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8) >> 8;
    case 4:
        return (int32_t)shardy__get_be32(p);
    case 5:
        return (int64_t)((uint64_t)shardy__get_be16(p) << 48 | (uint64_t)shardy__get_be32(p + 2)
                                                                   << 16) >>
               16;
    case 6:
        return (int64_t)shardy__get_be64(p);
    default: /* 8 and 9: the constants 0 and 1 */
        return (int64_t)serial - 8;
    }
}

shardy_status shardy__record_value(
    uint64_t serial, const uint8_t *data, record_value *value_out, shardy_error *err)
{
    memset(value_out, 0, sizeof *value_out);
    if (serial >= 12) {
        value_out->type = (int32_t)shardy__serial_type(serial);
        value_out->data = data;
        value_out->len = (size_t)shardy__serial_len(serial);
        return SHARDY_OK;
    }
    if (serial == 10 || serial == 11) {
        return broken(err, "reserved serial type");
    }
    if (serial == 7) {
        uint64_t bits = shardy__get_be64(data);
        memcpy(&value_out->real, &bits, sizeof bits);
        /* SQLite reads a stored NaN as NULL. */
        value_out->type = isnan(value_out->real) ? RECORD_NULL : RECORD_REAL;
    } else if (serial != 0) {
        value_out->type = RECORD_INT;
        value_out->integer = read_int(serial, data);
    }
    return SHARDY_OK;
}

shardy_status shardy__record_parse(const uint8_t *record, size_t len, record_value *values,
    size_t count, size_t *columns_out, shardy_error *err)
{
    if (columns_out) {
        *columns_out = 0;
    }
    memset(values, 0, count * sizeof *values);
    uint64_t header_len = 0;
    size_t at = 0;
    shardy_status st = read_header_len(record, len, len, &header_len, &at, err);
    if (st != SHARDY_OK) {
        return st < 0 ? st : broken(err, "header is cut off");
    }
    size_t offset = (size_t)header_len;
    size_t i = 0;
    for (; at < header_len; i++) {
        uint64_t serial = 0;
        size_t n = shardy__varint_get(record + at, (size_t)(header_len - at), &serial);
        if (n == 0) {
            return broken(err, "serial type is cut off");
        }
        at += n;
        uint64_t column_len = shardy__serial_len(serial);
        if (column_len > len - offset) {
            return broken(err, "column ends beyond the record");
        }
        if (i < count) {
            SHARDY_TRY(shardy__record_value(serial, record + offset, &values[i], err));
        }
        offset += (size_t)column_len;
    }
    if (columns_out) {
        *columns_out = i;
    }
    return SHARDY_OK;
}

/* Integer against real by value, exactly: a double has 53 bits, so neither conversion alone will
 * do. */
static int compare_int_real(int64_t i, double r)
{
    if (r < -9223372036854775808.0) {
        return 1;
    }
    if (r >= 9223372036854775808.0) {
        return -1;
    }
    int64_t whole = (int64_t)r;
    if (i != whole) {
        return i < whole ? -1 : 1;
    }
    double d = (double)i;
    return (d > r) - (d < r);
}

static int compare_numbers(const record_value *a, const record_value *b)
{
    if (a->type == RECORD_INT && b->type == RECORD_INT) {
        return (a->integer > b->integer) - (a->integer < b->integer);
    }
    if (a->type == RECORD_REAL && b->type == RECORD_REAL) {
        return (a->real > b->real) - (a->real < b->real);
    }
    return a->type == RECORD_INT ? compare_int_real(a->integer, b->real)
                                 : -compare_int_real(b->integer, a->real);
}

/* NULL, numbers, text, blobs. */
static int sort_class(int32_t type)
{
    return type == RECORD_REAL ? RECORD_INT : type;
}

int shardy__record_compare(const record_value *a, const record_value *b)
{
    int class_a = sort_class(a->type);
    int class_b = sort_class(b->type);
    if (class_a != class_b) {
        return class_a < class_b ? -1 : 1;
    }
    if (class_a == RECORD_NULL) {
        return 0;
    }
    if (class_a == RECORD_INT) {
        return compare_numbers(a, b);
    }
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = shorter ? memcmp(a->data, b->data, shorter) : 0;
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static uint64_t int_serial(int64_t i)
{
    if (i == 0 || i == 1) {
        return 8 + (uint64_t)i;
    }
    uint64_t size = i < 0 ? ~(uint64_t)i : (uint64_t)i;
    if (size <= 0x7F) {
        return 1;
    }
    if (size <= 0x7FFF) {
        return 2;
    }
    if (size <= 0x7FFFFF) {
        return 3;
    }
    if (size <= 0x7FFFFFFF) {
        return 4;
    }
    return size <= 0x7FFFFFFFFFFF ? 5 : 6;
}

uint64_t shardy__record_serial(const record_value *value)
{
    switch (value->type) {
    case RECORD_INT:
        return int_serial(value->integer);
    case RECORD_REAL:
        return isnan(value->real) ? 0 : 7;
    case RECORD_TEXT:
        return (uint64_t)value->len * 2 + 13;
    case RECORD_BLOB:
        return (uint64_t)value->len * 2 + 12;
    default:
        return 0;
    }
}

/* Length of the header with its own length in front. */
static uint64_t header_len_of(const record_value *values, size_t count)
{
    uint64_t types = 0;
    for (size_t i = 0; i < count; i++) {
        types += shardy__varint_len(shardy__record_serial(&values[i]));
    }
    uint64_t len = types + 1;
    while (shardy__varint_len(len) + types > len) {
        len = shardy__varint_len(len) + types;
    }
    return len;
}

uint64_t shardy__record_len(const record_value *values, size_t count)
{
    uint64_t len = header_len_of(values, count);
    for (size_t i = 0; i < count; i++) {
        len += shardy__serial_len(shardy__record_serial(&values[i]));
    }
    return len;
}

/* The types of all values and the bytes of the first `bodies`. */
static void put_record(const record_value *values, size_t count, size_t bodies, uint8_t *dest)
{
    uint64_t header_len = header_len_of(values, count);
    uint8_t *type_at = dest + shardy__varint_put(dest, header_len);
    uint8_t *body_at = dest + header_len;
    for (size_t i = 0; i < count; i++) {
        const record_value *v = &values[i];
        uint64_t serial = shardy__record_serial(v);
        type_at += shardy__varint_put(type_at, serial);
        size_t len = i < bodies ? (size_t)shardy__serial_len(serial) : 0;
        if (serial >= 12) {
            if (len) {
                memcpy(body_at, v->data, len);
            }
        } else if (len) {
            uint8_t image[8];
            uint64_t bits = (uint64_t)v->integer;
            if (serial == 7) {
                memcpy(&bits, &v->real, sizeof bits);
            }
            shardy__put_be64(image, bits);
            memcpy(body_at, image + 8 - len, len);
        }
        body_at += len;
    }
}

void shardy__record_put(const record_value *values, size_t count, uint8_t *dest)
{
    put_record(values, count, count, dest);
}

void shardy__record_put_front(const record_value *values, size_t count, uint8_t *dest)
{
    put_record(values, count, count - 1, dest);
}
