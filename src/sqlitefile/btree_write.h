/* btree_write.h: writing SQLite files bottom-up from sorted rows.
 *
 * Layout: page 1 (header and sqlite_schema), then the roots of the trees in the order of their
 * declaration (so kv is page 2), then leaves and overflow pages as they fill, then all interior
 * pages of all trees together, upper levels first. The head (page 1 and the roots, rounded up to
 * whole 64 KiB chunks) is kept back and written last, so a file that was not finished has no
 * header. Everything before it is written in order, in pieces of whole chunks. The bytes depend on
 * the rows alone.
 *
 * Memory: a page per level of each tree, the head, an output buffer, and 4 MiB of interior pages
 * (about 1 part in 30 of a file of small rows at page size 4096, 1 in 5 where four rows fill a
 * page); more of them go into a scratch file without a name (page_shelf.h).
 *
 * Threads: one thread at a time per writer. */
#ifndef SHARDY_SQLITEFILE_BTREE_WRITE_H
#define SHARDY_SQLITEFILE_BTREE_WRITE_H

#include "../base/digest.h"
#include "record.h"

/* Where the bytes go. Offsets rise except for the last write, which is the head at 0. */
typedef struct btree_sink {
    shardy_status (*write)(
        void *user, uint64_t offset, const void *data, size_t len, shardy_error *err);
    void *user;
} btree_sink;

typedef enum btree_object_kind {
    BTREE_OBJECT_TABLE = 1, /* rows by rowid: shardy__btree_put_row() */
    /* records by key: shardy__btree_put_kv(), shardy__btree_put_record() */
    BTREE_OBJECT_WITHOUT_ROWID = 2,
    BTREE_OBJECT_INDEX = 3,  /* records by all their columns: shardy__btree_put_record() */
    BTREE_OBJECT_VIRTUAL = 4 /* a row in sqlite_schema with root 0 and nothing else */
} btree_object_kind;

typedef struct btree_object {
    int32_t kind;
    const char *name;
    const char *table; /* for indexes: the table; NULL: the name itself */
    const char *sql;   /* NULL for automatic indexes */
    /* WITHOUT_ROWID: how many of the first fields are the key. Not for others */
    uint32_t key_fields;
} btree_object;

typedef struct btree_writer_options {
    uint32_t page_size; /* a power of two, 512 to 65536; default 4096 */
    int32_t digests;    /* default 1: compute the chunk digests */
    int32_t sidecar;    /* default 0; 1: keep what shardy__btree_writer_sidecar() needs */
    btree_sink sink;
    const btree_object *objects; /* in the order of sqlite_schema; borrowed until open returns */
    size_t object_count;
    const char *scratch_dir; /* borrowed until close; default NULL: all stays in memory */
} btree_writer_options;

void shardy__btree_writer_options_init(btree_writer_options *options);

typedef struct btree_writer btree_writer;

/* Objects are named from now on by their position in `objects`.
 * Statuses: OK, INVALID, NOMEM. Ownership: yours, shardy__btree_writer_close(). */
shardy_status shardy__btree_writer_open(
    const btree_writer_options *options, btree_writer **writer_out, shardy_error *err);

/* Append a row. Rows of one tree come in the order of their keys; trees may take turns. Everything
 * is copied.
 * Statuses: OK; INVALID: key not greater than the one before it (the message has the row number,
 * from 0), wrong kind of object, too long; NOMEM; those of the sink; NO_SPACE, IO of the scratch
 * file. After a failure the writer can only be closed. */
/* A row (key BLOB, value BLOB) of a WITHOUT ROWID table whose key is the first field alone. */
shardy_status shardy__btree_put_kv(
    btree_writer *writer, uint32_t object, shardy_bytes key, shardy_bytes value, shardy_error *err);
/* A record of a WITHOUT ROWID table (fields in stored order: key first) or of an index. */
shardy_status shardy__btree_put_record(btree_writer *writer, uint32_t object,
    const record_value *values, size_t count, shardy_error *err);
/* A row of a table; the column that is an alias of the rowid is given as NULL. */
shardy_status shardy__btree_put_row(btree_writer *writer, uint32_t object, int64_t rowid,
    const record_value *values, size_t count, shardy_error *err);

typedef struct btree_file_stats {
    uint64_t size; /* bytes */
    uint32_t page_count;
    uint32_t reserved;
    uint64_t rows;
    sha256 digest; /* of the object (digest.h); zeros without `digests` */
    /* One per 64 KiB chunk. Borrowed from the writer until it is closed; NULL without `digests`. */
    const sha256 *sums;
    size_t sum_count;
} btree_file_stats;

/* Writes what is left: last leaves, interior pages, the head. Once. Statuses: OK, NOMEM, those of
 * the sink; NO_SPACE, IO of the scratch file. */
shardy_status shardy__btree_writer_finish(
    btree_writer *writer, btree_file_stats *stats_out, shardy_error *err);

/* Writes the sidecar of the finished file (sidecar_write.h) from offset 0 of another sink on. Only
 * with the option `sidecar`.
 * Statuses: OK; UNSUPPORTED: the file is too large for one, so it has none; NOMEM; those of the
 * sink. */
shardy_status shardy__btree_writer_sidecar(
    btree_writer *writer, const btree_sink *sink, uint64_t *len_out, shardy_error *err);

/* Gives everything back; finished or not. NULL is fine; cannot fail. */
void shardy__btree_writer_close(btree_writer *writer);

/* --- choosing a page size --------------------------------------------------------------------- */

/* What the choice depends on. The value length is the 95th percentile: of n lengths sorted
 * ascending, the one at the 0-based index max(0, ceil(n * 0.95) - 1). */
typedef struct page_size_cell {
    uint64_t value_len;
    uint64_t key_len; /* of the longest key */
} page_size_cell;

/* Position of the 95th percentile among `rows` sorted lengths. */
uint64_t shardy__page_size_percentile(uint64_t rows);

/* The smallest page size from 4096 to 65536 at which every one of these cells lies on its page
 * without overflow, floor((size - 12) * 64 / 255) - 23 >= value_len + key_len + 12, else 65536.
 * With no cells: 4096. */
uint32_t shardy__page_size_recommend(const page_size_cell *cells, size_t count);

#endif
