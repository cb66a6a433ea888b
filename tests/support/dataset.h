/* dataset.h: snapshots in which every value and every payload carries the stamp of its snapshot, so
 * that an answer from another snapshot, or from two, is seen.
 *
 * The stamp is the run id. Nothing here asserts: the functions may run in threads and in child
 * processes. */
#ifndef SHARDY_TESTS_DATASET_H
#define SHARDY_TESTS_DATASET_H

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

/* Where a data set is. */
typedef struct dataset_place {
    const char *url;
    shardy_store *store; /* NULL: from the URL; borrowed */
    /* NULL: manifests and pointer are objects of the store */
    const shardy_manifest_store_options *manifests;
} dataset_place;

#define DATASET_ROWS      24u
#define DATASET_DIM       4u
#define DATASET_SHARDS    2u
#define DATASET_STAMP_MAX 40u
#define DATASET_VALUE_MAX 4096u

typedef struct dataset_options {
    shardy_store *store;                            /* NULL: from the URL */
    const shardy_manifest_store_options *manifests; /* NULL: objects of the store */
    const char *scratch_dir;
    uint32_t num_dbs;
    uint32_t threads;
    uint32_t rows;
    uint32_t value_len;          /* values are at least that long */
    uint64_t max_keys_per_shard; /* not 0: instead of num_dbs */
    int32_t sync;
    int32_t sidecar; /* shardy_sidecar_mode */
    shardy_progress_fn progress;
    void *progress_user;
} dataset_options;

/* Two shards, one thread, DATASET_ROWS rows, without syncing. */
void dataset_options_init(dataset_options *options);

/* Builds and publishes a snapshot with that stamp. */
shardy_status dataset_build(shardy_context *context, const char *url, const char *stamp,
    const dataset_options *options, shardy_error *err);

/* The same in steps, as a scheduler does it. */
shardy_status dataset_build_steps(
    const char *url, const char *stamp, int32_t sync, shardy_error *err);

/* The options of a plan for the same snapshot in steps. */
void dataset_plan_options(shardy_writer_options *options, const char *stamp);

/* What a row points at. */
typedef struct dataset_row_texts {
    char key[16];
    char value[DATASET_VALUE_MAX];
    char payload[DATASET_STAMP_MAX + 32];
    float vector[DATASET_DIM];
} dataset_row_texts;

/* A row whose value is at least that long; it points into `texts`. */
void dataset_fill_row(const char *stamp, uint32_t number, uint32_t value_len,
    dataset_row_texts *texts, shardy_row *row);

/* The rows of one shard, for shardy_attempt_build(): dataset_next_row() with this as `user`. */
typedef struct dataset_feed {
    const char *stamp;
    uint32_t db_id;
    uint32_t next;
    dataset_row_texts texts;
} dataset_feed;

void dataset_feed_init(dataset_feed *feed, const char *stamp, uint32_t db_id);
shardy_status dataset_next_row(void *user, shardy_row *row_out, shardy_error *err);

/* Rolls back to the snapshot of that stamp. */
shardy_status dataset_rollback(shardy_context *context, const char *url, const char *stamp,
    shardy_store *store, shardy_error *err);

shardy_status dataset_rollback_at(const dataset_place *place, const char *stamp, shardy_error *err);

/* What was wrong; "" when nothing was. */
typedef struct dataset_problem {
    char text[400];
} dataset_problem;

/* The stamp that an answer carries, which must be that of all its parts. NOT 0: it is whole. */
int dataset_value_stamp(
    uint32_t row, shardy_bytes value, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem);
int dataset_values_stamp(const uint32_t *rows, const shardy_values *values,
    char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem);
int dataset_hits_stamp(const shardy_hits *hits, size_t hit_count, char stamp_out[DATASET_STAMP_MAX],
    dataset_problem *problem);

/* Key of a row; the text lives in `text_out`. */
shardy_key dataset_key(uint32_t row, char text_out[16]);
/* A query that finds rows of all shards. */
void dataset_query(float vector_out[DATASET_DIM], shardy_query *query_out);

/* Reads all of a held snapshot: values and hits must carry `stamp`. NOT 0: all is well. */
int dataset_check_snapshot(
    const shardy_snapshot *snapshot, const char *stamp, uint32_t rows, dataset_problem *problem);
/* Opens a data set and reads all of its current snapshot, whose stamp goes to stamp_out. NOT 0: all
 * is well. */
int dataset_check_current(
    const char *url, uint32_t rows, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem);
int dataset_check_current_at(const dataset_place *place, uint32_t rows,
    char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem);
/* Opens a data set, reads all of its current snapshot, verifies it deeply and looks at every
 * manifest in its history: pointer and manifests must never name what is not there. The stamp of
 * the current snapshot goes to stamp_out. NOT 0: all is well. */
int dataset_check(
    const char *url, uint32_t rows, char stamp_out[DATASET_STAMP_MAX], dataset_problem *problem);
int dataset_check_at(const dataset_place *place, uint32_t rows, char stamp_out[DATASET_STAMP_MAX],
    dataset_problem *problem);

/* A copy of a directory by hard links, without the store's own files: good because published files
 * are replaced and never changed. 0 when it failed. */
int dataset_clone(const char *from, const char *to);

#endif
