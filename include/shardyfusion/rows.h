/* rows.h: row sources: JSON lines, CSV and NumPy files as rows for a writer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_ROWS_H
#define SHARDYFUSION_ROWS_H

#include <shardyfusion/context.h>
#include <shardyfusion/record.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of the fields of a row:
 *
 * JSON lines: one object a line; blank lines are skipped. JSON is what Python's json.loads takes
 * (of members with the same name the last one counts), but NaN, Infinity, lone surrogates and more
 * than SHARDY_JSON_DEPTH_MAX levels are INVALID.
 *
 * - key: a string (text) or an integer from -2^63 to 2^64-1; everything else is INVALID.
 * - value: a string gives its UTF-8, anything else compact JSON with sorted keys, whose numbers
 *   keep their text. Without a value column: the row without key, vector and payload, in that
 *   form.
 * - vector: an array of numbers; null or no such field: the row has none. Its id: a string or an
 *   integer; a row with a vector must have it when there is a column for it.
 * - payload: any JSON, written again as Python's json.dumps does, members in their order; null
 *   or no such field: none.
 * - further columns: null (also when there is no such field), bool, int, uint, double or text;
 *   arrays and objects are INVALID.
 *
 * CSV: RFC 4180 with a header line, in each file; blank lines are skipped. Every field is text;
 * keys are integers when the key encoding is an integer one. Vectors are JSON arrays, payloads must
 * parse as JSON; an empty field is none. Without a value column the value is an object of texts.
 * Every named column must be in the header.
 *
 * A byte order mark at the start of a file is skipped. A row is at most SHARDY_INPUT_ROW_LEN_MAX
 * bytes. Files ending in .zst are decompressed; "-" is the standard input, as it is. Messages begin
 * with "file:line:column: ", columns in bytes. */
typedef struct shardy_row_source shardy_row_source;

typedef enum shardy_rows_format {
    SHARDY_ROWS_AUTO = 0, /* .csv is CSV, everything else (also the standard input) JSON lines */
    SHARDY_ROWS_JSONL = 1,
    SHARDY_ROWS_CSV = 2,
    SHARDY_ROWS_FORMAT_RESERVED_ = 32767
} shardy_rows_format;

typedef struct shardy_row_source_options {
    size_t struct_size;
    int32_t format;            /* shardy_rows_format; default AUTO */
    int32_t key_encoding;      /* CSV: an integer encoding makes keys integers; default AUTO */
    const char *key_column;    /* default "key" */
    const char *value_column;  /* default NULL: the row as JSON without key, vector and payload */
    const char *vector_column; /* default NULL: no vectors in the rows */
    const char *vector_id_column; /* default NULL: the id is the key */
    const char *payload_column;   /* default NULL: no payloads */
    /* default NULL; a .npy file of shape (rows, dim), in order with the rows */
    const char *vectors_path;
    /* default NULL: names of further fields to pass on as typed columns */
    const char *const *columns;
    size_t column_count;
} shardy_row_source_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_row_source_options_init(
    shardy_row_source_options *options, size_t struct_size);

/* Opens `path_count` files that are read one after the other. The context may be NULL; NULL
 * options: the defaults. The options and paths are copied. The files must exist now; they are read
 * as rows are asked for.
 * Statuses: OK; INVALID (unknown file, unusable .npy, both kinds of vectors, a column named twice);
 * IO; NOMEM. Ownership: yours. Threads: construction only. */
SHARDY_API shardy_status shardy_row_source_open(shardy_context *context, const char *const *paths,
    size_t path_count, const shardy_row_source_options *options, shardy_row_source **source_out,
    shardy_error *err) SHARDY_MUST_USE;

/* The next row, borrowed until the next call. *row_out must have been set by shardy_row_init()
 * once; it is cleared first. DONE after the last one; then it has been checked that a vectors
 * file held exactly as many rows (INVALID with both counts if not, and as soon as it has too
 * few). Statuses: OK, DONE; INVALID with file, line and column; CORRUPT (a .zst file is damaged,
 * the vectors file became shorter); IO; NOMEM. After a failure every further call answers the
 * same. Threads: one thread at a time per handle. */
SHARDY_API shardy_status shardy_row_source_next(
    shardy_row_source *source, shardy_row *row_out, shardy_error *err) SHARDY_MUST_USE;

/* How far reading has come, for progress: bytes of the input files consumed (compressed bytes
 * for .zst) and their total, 0 when unknown (standard input). Threads: one thread at a time per
 * handle. */
SHARDY_API void shardy_row_source_progress(
    const shardy_row_source *source, uint64_t *bytes_read_out, uint64_t *bytes_total_out);

/* Where the row that was returned last begins: file name (borrowed until close; never NULL) and
 * line, from 1; ("", 0) before the first. */
SHARDY_API void shardy_row_source_position(
    const shardy_row_source *source, const char **path_out, uint64_t *line_out);

/* Dimension of the vectors when it is known before the first row (a vectors file), else 0. */
SHARDY_API uint32_t shardy_row_source_dim(const shardy_row_source *source);

SHARDY_API void shardy_row_source_close(shardy_row_source *source); /* NULL is fine; cannot fail */

#ifdef __cplusplus
}
#endif
#endif
