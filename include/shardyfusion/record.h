/* record.h: one row as a writer takes it: key, value, optional vector, typed columns.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_RECORD_H
#define SHARDYFUSION_RECORD_H

#include <shardyfusion/key.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shardy_column_type {
    SHARDY_COLUMN_NULL = 0,
    SHARDY_COLUMN_INT = 1,
    SHARDY_COLUMN_UINT = 2,
    SHARDY_COLUMN_DOUBLE = 3,
    SHARDY_COLUMN_BOOL = 4,
    SHARDY_COLUMN_TEXT = 5,
    SHARDY_COLUMN_BYTES = 6,
    SHARDY_COLUMN_TYPE_RESERVED_ = 32767
} shardy_column_type;

/* A named, typed value: a column of a row, or one entry of a routing context. Borrowed. */
typedef struct shardy_column {
    const char *name; /* zero-terminated UTF-8 */
    int32_t type;     /* shardy_column_type; says which of the fields below counts */
    int32_t b;
    int64_t i;
    uint64_t u;
    double d;
    shardy_bytes bytes; /* text and bytes */
} shardy_column;

/* A row. Everything it points at is borrowed for the call it is passed to. Clear the struct with
 * shardy_row_init() before filling it, so that fields of later versions have their defaults. */
typedef struct shardy_row {
    size_t struct_size;
    shardy_key key;
    shardy_bytes value;
    const float *vector;   /* NULL: this row has none; else `dim` floats, all finite */
    uint32_t dim;          /* number of floats at `vector` */
    int32_t has_vector_id; /* 0: the id of the vector is the key */
    shardy_key vector_id;  /* int or text */
    int32_t has_payload;   /* 0: no payload */
    int32_t reserved;
    shardy_bytes payload; /* one JSON text, stored as it is */
    const shardy_column *columns;
    size_t column_count;
} shardy_row;

/* Clears the struct. */
SHARDY_API void shardy_row_init(shardy_row *row, size_t struct_size);

#ifdef __cplusplus
}
#endif
#endif
