/* spool.h: the external merge sort of a build: rows on their way from the caller to the shards are
 * sorted by shard and key within a memory budget.
 *
 * Rows are copied into blocks of memory. A full block is sorted by (shard, key) on a worker thread
 * and written to a scratch file as one sorted run, while the next block fills. When everything fits
 * into memory nothing is written. To build a shard, its slices of all runs are merged; the slices
 * of a run lie one after the other, with an index at the end of the file, so the number of shards
 * costs no memory here.
 *
 * Rows with equal keys come out in the order in which they were added. Vectors go beside the rows:
 * they are not sorted, but come out in the order in which they were added, each with its number
 * within its shard.
 *
 * Threads: one thread adds and seals; then any number of threads may read different shards. */
#ifndef SHARDY_SORT_SPOOL_H
#define SHARDY_SORT_SPOOL_H

#include "../base/context.h"
#include "../base/error.h"
#include "../base/pool.h"

#include <shardyfusion/key.h>
#include <shardyfusion/limits.h>

/* A merge reads each run through a buffer of at least this size. */
#define SPOOL_BUFFER_LEN_MIN 4096u

typedef struct spool spool;

typedef struct spool_config {
    shardy_context *context;
    pool *pool;
    const char *scratch_dir;
    uint32_t num_dbs;
    uint32_t threads; /* that will read shards at once */
    int32_t vectors;  /* 1: rows may have vectors */
    uint32_t dim;     /* 0: not known yet */
    uint64_t memory_budget;
    const shardy_cancel *cancel;
} spool_config;

/* A row to add. */
typedef struct spool_row {
    uint32_t db_id;
    shardy_bytes key; /* stored form */
    shardy_bytes value;
    const float *vector;  /* NULL: none */
    const shardy_key *id; /* of the vector; int or text */
    int32_t id_is_key;    /* 1: the vector belongs to the key and goes with the row */
    int32_t has_payload;
    shardy_bytes payload;
} spool_row;

/* A vector as it comes out. */
typedef struct spool_vector {
    uint64_t number; /* within its shard, in the order of adding */
    shardy_key id;
    const float *vector; /* dim floats; alignment of a float */
    shardy_bytes payload;
    int32_t has_payload;
    int32_t reserved;
} spool_vector;

typedef struct spool_stats {
    uint64_t rows;
    uint64_t bytes; /* of keys, values, vectors, payloads */
    uint32_t runs;  /* written to scratch files */
} spool_stats;

/* Statuses: OK, INVALID (budget), NOMEM. Ownership: yours. */
shardy_status shardy__spool_new(const spool_config *config, spool **spool_out, shardy_error *err);
/* Statuses: OK; CANCELLED, NO_SPACE, IO, NOMEM: then the spool can only be freed. */
shardy_status shardy__spool_add(spool *s, const spool_row *row, shardy_error *err);
/* Sets the dimension, before the first vector is added. */
void shardy__spool_set_dim(spool *s, uint32_t dim);
/* No more rows: sorts what is left. Statuses as shardy__spool_add(). */
shardy_status shardy__spool_seal(spool *s, shardy_error *err);
void shardy__spool_get_stats(const spool *s, spool_stats *stats_out);
/* Frees memory and scratch files. NULL is fine. */
void shardy__spool_free(spool *s);

/* The rows of one shard in the order of their keys; of equal keys only the last. */
typedef struct spool_rows spool_rows;

typedef struct spool_batch {
    size_t count;
    const shardy_bytes *keys; /* valid until the next call */
    const shardy_bytes *values;
} spool_batch;

/* Statuses: OK, IO, CORRUPT (a scratch file was changed), NOMEM. */
shardy_status shardy__spool_rows_open(
    spool *s, uint32_t db_id, spool_rows **rows_out, shardy_error *err);
/* OK with at least one row, or DONE. */
shardy_status shardy__spool_rows_next(spool_rows *rows, spool_batch *batch_out, shardy_error *err);
/* After DONE: bitmap of the vectors (by number) that went away with a row that was replaced; NULL
 * when there is none. Borrowed until close. */
const uint64_t *shardy__spool_rows_dead(const spool_rows *rows, uint64_t *dead_count_out);
void shardy__spool_rows_close(spool_rows *rows);
/* A shard is built and will not be read again: gives back what its rows take in the scratch file,
 * memory of the page cache and space on the disk. No reader of this shard may be open. */
void shardy__spool_shard_done(spool *s, uint32_t db_id);

/* Vectors of one shard in the order of adding. */
typedef struct spool_vectors spool_vectors;
shardy_status shardy__spool_vectors_open(
    spool *s, uint32_t db_id, spool_vectors **vectors_out, shardy_error *err);
/* The next vector, borrowed until the next call; DONE after the last. */
shardy_status shardy__spool_vectors_next(
    spool_vectors *vectors, spool_vector *vector_out, shardy_error *err);
void shardy__spool_vectors_close(spool_vectors *vectors);
/* How many vectors were added to a shard. */
uint64_t shardy__spool_vector_count(const spool *s, uint32_t db_id);

#endif
