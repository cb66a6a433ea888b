/* Records of SQLite, the bytes of one row. The input is a record; its first byte says where a
 * second one begins.
 *
 * Properties: a record is taken apart or corrupt; each column that is found alone is the one of the
 * whole; a longer beginning of a record never gives another answer than a shorter one; what is
 * written of the values reads back as the same; the order of values is an order. */
#include "sqlitefile/record.h"
#include "require.h"

#include <math.h>

#define COLUMNS 24u

typedef struct parsed {
    record_value values[COLUMNS];
    size_t count; /* of the record; at most COLUMNS are in values */
} parsed;

static void require_outcome(shardy_status st, const shardy_error *err)
{
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "taking apart has two outcomes");
    require((st == SHARDY_OK) == (err->message[0] == '\0'), "a refusal has a message");
}

static int same_value(const record_value *a, const record_value *b)
{
    switch (a->type == b->type ? a->type : -1) {
    case RECORD_NULL:
        return 1;
    case RECORD_INT:
        return a->integer == b->integer;
    case RECORD_REAL:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    case RECORD_TEXT:
    case RECORD_BLOB:
        return same_bytes(a->data, a->len, b->data, b->len);
    default:
        return 0;
    }
}

static int parse(const uint8_t *data, size_t size, parsed *out)
{
    shardy_error err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__record_parse(data, size, out->values, COLUMNS, &out->count, &err);
    require_outcome(st, &err);
    return st == SHARDY_OK;
}

/* The column from the beginning of the record that is just long enough. */
static shardy_status find(const uint8_t *data, size_t size, uint32_t column, record_column *out)
{
    shardy_status st = SHARDY_PENDING;
    for (size_t len = 0; st == SHARDY_PENDING; len++) {
        require(len <= size, "a whole record is enough");
        st = shardy__record_find(data, len, size, column, out, NULL);
    }
    require(st == SHARDY_OK || st == SHARDY_CORRUPT, "finding has three outcomes");
    return st;
}

static void check_columns(const uint8_t *data, size_t size, const parsed *p)
{
    for (uint32_t i = 0; i < COLUMNS; i++) {
        record_column column;
        record_column again;
        record_value value;
        shardy_status st = find(data, size, i, &column);
        require(shardy__record_find(data, size, size, i, &again, NULL) == st,
            "more bytes give no other answer");
        require(st == SHARDY_OK, "a good record has its columns");
        require(memcmp(&column, &again, sizeof column) == 0, "a column is in one place");
        require(column.offset <= size && column.len <= size - column.offset,
            "a column lies in its record");
        require(
            shardy__record_value(column.serial, data + column.offset, &value, NULL) == SHARDY_OK,
            "a column of a good record has a value");
        require(same_value(&value, &p->values[i]), "a column has one value");
        require(value.type == RECORD_NULL ||
                    shardy__serial_type(column.serial) == (record_type)value.type,
            "a value is of the type of its serial");
    }
}

static void check_written(const parsed *p)
{
    parsed again;
    size_t count = p->count < COLUMNS ? p->count : COLUMNS;
    uint64_t len = shardy__record_len(p->values, count);
    uint8_t *bytes = malloc((size_t)len);
    if (!bytes) {
        return;
    }
    shardy__record_put(p->values, count, bytes);
    require(parse(bytes, (size_t)len, &again) && again.count == count, "what was written is read");
    for (size_t i = 0; i < count; i++) {
        require(same_value(&p->values[i], &again.values[i]), "a value stays");
    }
    free(bytes);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void check_order(const record_value *a, const record_value *b, const record_value *c)
{
    int ab = sign(shardy__record_compare(a, b));
    int bc = sign(shardy__record_compare(b, c));
    require(shardy__record_compare(a, a) == 0, "a value is itself");
    require(ab == -sign(shardy__record_compare(b, a)), "the order has two directions");
    require(ab != bc || sign(shardy__record_compare(a, c)) == ab, "the order goes through");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parsed a;
    parsed b;
    size_t cut = size > 1 ? data[0] % size : 0;
    if (size == 0) {
        return 0;
    }
    const uint8_t *second = data + 1 + cut;
    size_t second_len = size - 1 - cut;
    if (parse(data + 1, cut, &a)) {
        check_columns(data + 1, cut, &a);
        check_written(&a);
        if (parse(second, second_len, &b)) {
            for (size_t i = 0; i + 1 < COLUMNS; i++) {
                check_order(&a.values[i], &b.values[i], &a.values[i + 1]);
            }
        }
    } else {
        for (uint32_t i = 0; i < COLUMNS; i++) {
            record_column column;
            (void)find(data + 1, cut, i, &column);
        }
    }
    return 0;
}
