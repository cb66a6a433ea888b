/* rows.h: row sources: JSON lines, CSV and NumPy files as rows for a writer.
 *
 * JSON lines: one object a line. Strings give their UTF-8, anything else compact JSON with sorted
 * keys. A key is a string (text) or an integer; floats, booleans and null are INVALID.
 * CSV: RFC 4180 with a header line; every field is text; vectors are JSON arrays, payloads must
 * parse as JSON; keys are text unless the key encoding is an integer one.
 * Files ending in .zst are decompressed; "-" is the standard input.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_ROWS_H
#define SHARDYFUSION_ROWS_H

#include <shardyfusion/context.h>
#include <shardyfusion/record.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* Opens `path_count` files that are read one after the other. NULL context: a private one; NULL
 * options: the defaults. The options and paths are copied.
 * Statuses: OK; INVALID (unknown file, unusable .npy, both kinds of vectors); IO; UNSUPPORTED (.zst
 * in a build without zstd); NOMEM. Ownership: yours. Threads: construction only. */
SHARDY_API shardy_status shardy_row_source_open(shardy_context *context, const char *const *paths,
    size_t path_count, const shardy_row_source_options *options, shardy_row_source **source_out,
    shardy_error *err) SHARDY_MUST_USE;

/* The next row, borrowed until the next call. DONE after the last one; then it has been checked
 * that a vectors file held exactly as many rows (INVALID with both counts if not).
 * Statuses: OK, DONE; INVALID with file, line and column; IO; NOMEM. After a failure every further
 * call answers the same. Threads: one thread at a time per handle. */
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
