/* spool_impl.h: the inside of a spool, shared by spool.c (adding) and merge.c (reading). */
#ifndef SHARDY_SORT_SPOOL_IMPL_H
#define SHARDY_SORT_SPOOL_IMPL_H

#include "block.h"
#include "spool.h"

#include <stdatomic.h>

/* One sorted run in a scratch file: records, then 2 * num_dbs + 1 offsets (from `offset`): slice
 * i holds the rows of shard i, slice num_dbs + i its vectors. */
typedef struct spool_run {
    int fd;
    uint64_t offset;
    uint64_t records_len;
    size_t front_max; /* the longest row without its value */
} spool_run;

typedef struct spool_file {
    int fd;
    uint64_t len;
} spool_file;

typedef struct spool_block {
    pool_task task; /* first member */
    block block;
    spool *spool;
    struct spool_block *next;
    size_t front_max; /* of its rows */
    int32_t busy;     /* a task works on it */
    int32_t write_it; /* the task writes a run after sorting */
    shardy_status status;
    shardy_error error;
} spool_block;

struct spool {
    spool_config config;
    size_t key_offset; /* from the place of a row to its key */
    size_t block_size;
    uint32_t block_max;
    uint32_t block_count;
    spool_block **blocks;
    uint64_t held; /* bytes of all blocks, of which one may be larger for a single large row */
    spool_block *current;
    pool_group group;
    int32_t writing; /* 1: runs are written; 0: everything is still in memory */
    int32_t sealed;
    /* Scratch files, one for each thread that may write, as a file takes one write at a time; runs
     * go to them in turn. Empty until something is written; they have no names any more. */
    spool_file *files;
    uint32_t file_count;
    spool_run *runs; /* by number */
    uint32_t run_count;
    uint32_t run_room;
    uint64_t *vector_counts; /* by shard; NULL without vectors */
    spool_stats stats;
};

/* Memory that one reader of a shard may use for its buffers. */
size_t shardy__spool_reader_budget(const spool *s);

#endif
