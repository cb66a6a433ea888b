/* vec_tables.h: the tables by which sqlite-vec 0.1.9 keeps a vec0 index in a SQLite file, and those
 * of the reference beside them (formats.md, sections 6 and 19.8). */
#ifndef SHARDY_ENGINE_VEC_TABLES_H
#define SHARDY_ENGINE_VEC_TABLES_H

#include "../base/bytebuf.h"
#include "shard_file.h"

/* Vectors of one chunk. The chunk size of sqlite-vec, and the largest that is read. */
#define VEC_CHUNK_ROWS     1024u
#define VEC_CHUNK_ROWS_MAX 65536u

/* Objects of the file, in the order of sqlite_schema. */
enum {
    VEC_OBJECT_KV,
    VEC_OBJECT_INDEX,
    VEC_OBJECT_INFO,
    VEC_OBJECT_INFO_KEY,
    VEC_OBJECT_CHUNKS,
    VEC_OBJECT_SEQUENCE,
    VEC_OBJECT_ROWIDS,
    VEC_OBJECT_VECTORS,
    VEC_OBJECT_VECTORS_KEY,
    VEC_OBJECT_PAYLOADS,
    VEC_OBJECT_ID_MAP,
    VEC_OBJECT_COUNT
};

/* Writes the vector tables of a shard. */
typedef struct vec_writer {
    shard_file_writer file;
    uint32_t dim;
    uint64_t count;     /* vectors so far; the next rowid */
    float *chunk;       /* the vectors of the chunk that fills */
    uint32_t chunk_len; /* vectors in it */
    bytebuf text;
} vec_writer;

shardy_status shardy__vec_writer_open(
    vec_writer *w, const shardy_engine_writer_spec *spec, shardy_error *err);
shardy_status shardy__vec_writer_add(
    vec_writer *w, const shardy_engine_vectors *vectors, shardy_error *err);
shardy_status shardy__vec_writer_finish(
    vec_writer *w, shardy_engine_files *files_out, shardy_error *err);
void shardy__vec_writer_close(vec_writer *w);

/* Where the vectors of one chunk lie: bytes of the payload of one row of
 * vec_index_vector_chunks00. */
typedef struct vec_chunk {
    int64_t chunk_id;
    int64_t chunks_rowid;  /* of its row in vec_index_chunks */
    int64_t vectors_rowid; /* of its row in vec_index_vector_chunks00 */
    uint32_t rows;
    uint32_t vectors_overflow; /* first overflow page of that payload, and how many it needs */
    uint32_t vectors_pages;
    uint32_t rowids_overflow; /* the same of the row in vec_index_chunks */
    uint32_t rowids_pages;
    _Atomic(uint32_t *) pages; /* overflow pages of that payload; NULL: not walked yet */
} vec_chunk;

/* Reads the vector tables of a shard. */
typedef struct vec_tables {
    shardy_context *context; /* borrowed: for deadlines */
    shard_file file;
    uint32_t dim;
    int32_t metric;
    btree_tree chunks;
    btree_tree vectors;
    btree_tree id_map;
    btree_tree payloads;
    uint32_t vectors_field; /* fields in the records */
    uint32_t validity_field;
    uint32_t rowids_field;
    uint32_t id_field;
    uint32_t payload_field;
    vec_chunk *list; /* ascending chunk id */
    uint32_t count;
    uint64_t vector_count;
} vec_tables;

shardy_status shardy__vec_tables_open(
    vec_tables *t, const shardy_engine_reader_spec *spec, shardy_error *err);
/* The same for a source that is open; only context, dim and metric of the spec count. The source is
 * taken always, also on failure. */
shardy_status shardy__vec_tables_open_take(
    vec_tables *t, const shardy_engine_reader_spec *spec, page_source *source, shardy_error *err);
void shardy__vec_tables_close(vec_tables *t);

/* A chunk that is being read: which slots hold vectors, their rowids, and where the bytes are. */
typedef struct vec_view {
    const vec_tables *tables;
    btree_walk walk; /* stands on the row of the vectors */
    uint8_t *rowids; /* and behind them the validity */
    const uint8_t *validity;
    uint32_t room;        /* slots that fit */
    uint32_t slots;       /* up to the last valid one; 0: nothing is loaded */
    uint64_t blob_offset; /* of the vectors in the payload */
    const uint32_t *pages;
    uint32_t page_count;
} vec_view;

void shardy__vec_view_init(vec_view *v, const vec_tables *t);
void shardy__vec_view_free(vec_view *v);
/* OK; CORRUPT, CHECKSUM and those of the source. */
shardy_status shardy__vec_view_load(vec_view *v, uint32_t chunk, shardy_error *err);

static inline int shardy__vec_view_valid(const vec_view *v, uint32_t slot)
{
    return v->validity[slot / 8] >> (slot % 8) & 1;
}

int64_t shardy__vec_view_rowid(const vec_view *v, uint32_t slot);

/* Looks up ids. Every vector has an entry of its own in vec_id_map, so all ids together are not
 * longer than the file; `left` counts that down, which bounds the work whatever the file says. */
typedef struct vec_ids {
    const vec_tables *tables;
    bytebuf text;
    uint64_t left;
} vec_ids;

void shardy__vec_ids_init(vec_ids *ids, const vec_tables *t);
void shardy__vec_ids_free(vec_ids *ids);
/* The original id of a rowid; text is borrowed until the next call. Without an entry the rowid
 * itself. Statuses: OK; CORRUPT, CHECKSUM, those of the source, NOMEM. */
shardy_status shardy__vec_ids_get(
    vec_ids *ids, int64_t rowid, shardy_key *id_out, shardy_error *err);
/* OK or NOT_FOUND. NULL limits: none. */
shardy_status shardy__vec_payload(const vec_tables *t, int64_t rowid, const page_limits *limits,
    shardy_buf *payload_out, shardy_error *err);
/* Brings the pages of rows of a tree into the cache of its source, all of them together, before
 * they are read one by one; does nothing for sources whose pages are always at hand. Statuses as
 * shardy__btree_touch_rows(). */
shardy_status shardy__vec_rows_ahead(
    const btree_tree *tree, const uint64_t *rows, size_t count, shardy_error *err);
/* Sets the limits of all that is read through `t`, which is a copy; they are borrowed. */
void shardy__vec_tables_limit(vec_tables *t, const page_limits *limits);

#endif
