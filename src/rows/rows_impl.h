/* rows_impl.h: the inside of a row source, shared by row_source.c (the public functions, file after
 * file), rows_jsonl.c, rows_csv.c, rows_npy.c (the formats) and rows.c (what becomes of a value,
 * and a row of its fields). */
#ifndef SHARDY_ROWS_ROWS_IMPL_H
#define SHARDY_ROWS_ROWS_IMPL_H

#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/json.h"
#include "../base/map.h"
#include "../base/npy.h"
#include "rows_input.h"

#include <shardyfusion/rows.h>

/* From this many fields on they are found in a map. */
#define ROWS_MANY_FIELDS 16u

/* What a field of the input is for; a field may have several uses. */
enum {
    ROW_KEY = 1,
    ROW_VALUE = 2,
    ROW_VECTOR = 4,
    ROW_VECTOR_ID = 8,
    ROW_PAYLOAD = 16,
    ROW_COLUMN = 32,
    ROW_MEMBER = 64 /* of the JSON object that is the value when there is no value column */
};

typedef struct row_field {
    shardy_bytes name;
    uint32_t uses;
    size_t column; /* with ROW_COLUMN */
} row_field;

/* A NumPy file read beside the rows. */
typedef struct rows_npy {
    const char *path;
    int fd; /* -1: there is none */
    npy_header header;
    size_t row_len;     /* bytes of a row in the file */
    uint64_t next_row;  /* row numbers of the file, from 0 */
    uint64_t block_row; /* the first row in `block` */
    size_t block_rows;  /* rows in `block` */
    size_t block_room;  /* in rows */
    uint8_t *block;
    float *floats; /* one row, converted */
} rows_npy;

/* A field of the current CSV record. */
typedef struct csv_field {
    const char *start; /* behind the opening quote, if there is one */
    size_t len;
    uint64_t line; /* where it begins */
    uint64_t column;
    bool quoted;
    bool doubled; /* there are doubled quotes in it */
} csv_field;

/* A column of the current CSV file. */
typedef struct csv_column {
    shardy_bytes name;
    const row_field *field; /* what it is for; NULL: nothing, or a member of the value */
} csv_column;

typedef struct rows_csv {
    arena arena; /* of the current file: the header */
    csv_column *columns;
    size_t column_count;
    size_t *members; /* numbers of the columns that are members of the value, sorted by name */
    size_t member_count;
    csv_field *fields; /* of the current record */
    size_t field_count;
    size_t field_room;
} rows_csv;

struct shardy_row_source {
    shardy_row_source_options options; /* names point into `arena` */
    arena arena;
    const char **paths;
    size_t path_count;
    size_t next_path;
    uint64_t bytes_total;
    rows_input input;
    const char *path;     /* of the current file as messages name it; "" before the first */
    bool csv;             /* the current file is CSV */
    uint64_t line;        /* of the current file: where the next record begins, from 1 */
    uint64_t record_line; /* of the row that is put together */
    size_t scanned;       /* JSON lines: bytes of the window known to hold no line end */

    row_field *fields;
    size_t field_count;
    map field_map; /* only when there are many fields */

    /* The row that is put together; what it points at is in the window or in these. */
    shardy_row row;
    shardy_column *columns;
    bytebuf *column_texts; /* one for each column */
    uint32_t seen;         /* ROW_... that this row has had */
    uint64_t rows;         /* complete rows so far */
    bytebuf name_text;
    bytebuf key_text;
    bytebuf id_text;
    bytebuf value;
    bytebuf payload;
    json_writer value_writer;
    json_writer payload_writer;
    float *vector;
    size_t vector_room;
    rows_npy npy;
    rows_csv csv_state;

    const char *row_path; /* of the row that was returned last; "" and 0: none */
    uint64_t row_line;
    shardy_status end; /* OK: there is more; DONE; or the failure that is repeated */
    shardy_error failure;
};

/* An error was set: puts "file:line:column: " before it. */
shardy_status shardy__rows_at(const shardy_row_source *s, uint64_t line, uint64_t column,
    shardy_status st, shardy_error *err);

/* INVALID with this text, which has no place yet. */
shardy_status shardy__rows_refuse(shardy_error *err, const char *text);

/* More bytes into the window; errors name the file and the line. */
shardy_status shardy__rows_fill(shardy_row_source *s, shardy_error *err);

/* What a field is for; NULL: nothing. `text` and `flags` are those of a name of JSON. NOMEM. */
shardy_status shardy__rows_find_field(shardy_row_source *s, shardy_bytes text, uint32_t flags,
    const row_field **field_out, shardy_error *err);

/* Clears the row that is put together. */
void shardy__rows_begin(shardy_row_source *s);
/* The reader is at the first token of the value of a field: takes it for one use (ROW_KEY to
 * ROW_COLUMN) and goes to its last token. After a failure the place of the problem is
 * r->problem_at when r->problem is set, else r->token_start; the message has no place. */
shardy_status shardy__rows_take_json(
    shardy_row_source *s, json_reader *r, uint32_t use, const row_field *field, shardy_error *err);
/* After the last field: checks that all is there, adds the vector of the NumPy file. The message
 * has no place. */
shardy_status shardy__rows_finish(shardy_row_source *s, shardy_error *err);

/* The next record of the current file as a row in s->row: OK, or DONE at its end. */
shardy_status shardy__rows_jsonl_next(shardy_row_source *s, shardy_error *err);
shardy_status shardy__rows_csv_next(shardy_row_source *s, shardy_error *err);
/* Reads the header line of a CSV file. */
shardy_status shardy__rows_csv_begin(shardy_row_source *s, shardy_error *err);
void shardy__rows_csv_free(shardy_row_source *s);

/* The vectors file: opened when options.vectors_path is set. */
shardy_status shardy__rows_npy_open(shardy_row_source *s, shardy_error *err);
/* The vector of the row that is put together. INVALID when there is none left. */
shardy_status shardy__rows_npy_next(shardy_row_source *s, shardy_error *err);
/* At the end of the rows: INVALID when vectors are left. */
shardy_status shardy__rows_npy_finish(const shardy_row_source *s, shardy_error *err);
void shardy__rows_npy_free(shardy_row_source *s);

#endif
