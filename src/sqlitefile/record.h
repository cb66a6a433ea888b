/* record.h: SQLite's varints and records (rows as bytes).
 *
 * A record is a header (its own length, then a serial type per column) and the columns' bytes.
 * Nothing here allocates; text and blobs point into the record. */
#ifndef SHARDY_SQLITEFILE_RECORD_H
#define SHARDY_SQLITEFILE_RECORD_H

#include "../base/error.h"

#include <shardyfusion/base.h>

/* In SQLite's sort order; integers and reals sort among each other by value. */
typedef enum record_type {
    RECORD_NULL = 0,
    RECORD_INT = 1,
    RECORD_REAL = 2,
    RECORD_TEXT = 3,
    RECORD_BLOB = 4
} record_type;

typedef struct record_value {
    int32_t type; /* record_type */
    uint32_t reserved;
    int64_t integer;     /* RECORD_INT */
    double real;         /* RECORD_REAL */
    const uint8_t *data; /* RECORD_TEXT (UTF-8, not checked), RECORD_BLOB */
    size_t len;
} record_value;

/* Where a column lies in a record. */
typedef struct record_column {
    uint64_t serial; /* serial type; 0 (NULL) for columns that the record does not have */
    uint64_t offset; /* of its bytes from the start of the record */
    uint64_t len;    /* of its bytes */
} record_column;

#define RECORD_VARINT_MAX 9u

/* Length of a varint in bytes (1..9) with its value, or 0 when it is not complete within `len`
 * bytes. */
static inline size_t shardy__varint_get(const uint8_t *p, size_t len, uint64_t *value_out)
{
    if (len > 0 && p[0] < 0x80) {
        *value_out = p[0];
        return 1;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < len && i < 8; i++) {
        value = value << 7 | (p[i] & 0x7Fu);
        if (p[i] < 0x80) {
            *value_out = value;
            return i + 1;
        }
    }
    if (len < RECORD_VARINT_MAX) {
        *value_out = 0;
        return 0;
    }
    *value_out = value << 8 | p[8];
    return RECORD_VARINT_MAX;
}

/* Bytes that a value takes as a varint. */
static inline size_t shardy__varint_len(uint64_t value)
{
    if (value < 0x80) {
        return 1;
    }
    size_t bits = 64u - (size_t)__builtin_clzll(value);
    return bits > 56 ? RECORD_VARINT_MAX : (bits + 6) / 7;
}

/* Writes the shortest form; returns its length. `p` has room for RECORD_VARINT_MAX bytes. */
size_t shardy__varint_put(uint8_t *p, uint64_t value);

/* Bytes of a column of that serial type; UINT64_MAX for the reserved types 10 and 11. */
static inline uint64_t shardy__serial_len(uint64_t serial)
{
    if (serial >= 12) {
        return (serial - 12) >> 1;
    }
    static const uint8_t lens[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 255, 255};
    return lens[serial] == 255 ? UINT64_MAX : lens[serial];
}

/* The class of a serial type. */
record_type shardy__serial_type(uint64_t serial);

/* Finds column `column` of a record of `record_len` bytes from its first `len` bytes. OK; PENDING
 * when the header is longer than `len` (give more of the record); CORRUPT. A column beyond the last
 * is NULL. */
shardy_status shardy__record_find(const uint8_t *record, size_t len, uint64_t record_len,
    uint32_t column, record_column *column_out, shardy_error *err);

/* The value of a column from its bytes (`len` = shardy__serial_len(serial)). CORRUPT for reserved
 * types. */
shardy_status shardy__record_value(
    uint64_t serial, const uint8_t *data, record_value *value_out, shardy_error *err);

/* Takes a whole record apart: the first `count` columns; those that it does not have become NULL.
 * *columns_out (may be NULL) gets the number of columns in the record. OK or CORRUPT. */
shardy_status shardy__record_parse(const uint8_t *record, size_t len, record_value *values,
    size_t count, size_t *columns_out, shardy_error *err);

/* <0, 0, >0 by SQLite's order with binary collation: NULL, numbers, text, blobs. */
int shardy__record_compare(const record_value *a, const record_value *b);

/* The shortest serial type of a value, as SQLite chooses it in schema format 4. */
uint64_t shardy__record_serial(const record_value *value);

/* Length of the record of these columns, and its bytes into `dest`, which has room for them. */
uint64_t shardy__record_len(const record_value *values, size_t count);
void shardy__record_put(const record_value *values, size_t count, uint8_t *dest);
/* The same without the bytes of the last value, which is a text or a blob and comes behind. */
void shardy__record_put_front(const record_value *values, size_t count, uint8_t *dest);

/* Shorthand for the builders of rows. */
static inline record_value shardy__record_null(void)
{
    record_value v = {RECORD_NULL, 0, 0, 0, NULL, 0};
    return v;
}

static inline record_value shardy__record_int(int64_t integer)
{
    record_value v = {RECORD_INT, 0, integer, 0, NULL, 0};
    return v;
}

static inline record_value shardy__record_real(double real)
{
    record_value v = {RECORD_REAL, 0, 0, real, NULL, 0};
    return v;
}

static inline record_value shardy__record_text(const char *text, size_t len)
{
    record_value v = {RECORD_TEXT, 0, 0, 0, (const uint8_t *)text, len};
    return v;
}

static inline record_value shardy__record_blob(const void *data, size_t len)
{
    record_value v = {RECORD_BLOB, 0, 0, 0, data, len};
    return v;
}

#endif
