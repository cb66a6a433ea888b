/* attempt.h: building one attempt of one shard, and what is known about it afterwards. */
#ifndef SHARDY_BUILD_ATTEMPT_H
#define SHARDY_BUILD_ATTEMPT_H

#include "../sort/spool.h"
#include "plan.h"

/* One object of an attempt. */
typedef struct attempt_object {
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* relative to the root */
    uint64_t size;
    sha256 digest;
} attempt_object;

#define ATTEMPT_OBJECTS_MAX 4u

/* What an attempt with rows made. */
typedef struct attempt_output {
    uint64_t row_count;
    uint64_t vector_count;
    uint64_t db_bytes;
    int64_t duration_ms;
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* relative */
    char checkpoint_id[33];
    int32_t has_min_key;
    int32_t has_max_key;
    shardy_key min_key; /* text points into min_text */
    shardy_key max_key;
    char *min_text;
    char *max_text;
    attempt_object objects[ATTEMPT_OBJECTS_MAX];
    uint32_t object_count;
} attempt_output;

/* An attempt that was made. Small, because a snapshot may have a million shards, most of them
 * empty. */
typedef struct attempt_result {
    uint32_t db_id;
    uint32_t attempt;
    attempt_output *output; /* NULL: no rows, nothing was uploaded */
} attempt_result;

shardy_status shardy__attempt_output_new(attempt_output **output_out, shardy_error *err);
void shardy__attempt_result_free(attempt_result *result);
/* Frees an array of results with what they hold. NULL is fine when count is 0. */
void shardy__attempt_results_free(attempt_result *results, size_t count);

/* Called now and then by the thread that builds; a failure stops the attempt. */
typedef struct attempt_ticker {
    shardy_status (*tick)(void *user, uint64_t rows, uint64_t bytes, shardy_error *err);
    void *user;
} attempt_ticker;

typedef struct attempt_job {
    const shardy_plan *plan;
    spool *spool;
    uint32_t spool_db; /* the shard's number in the spool */
    uint32_t db_id;
    uint32_t attempt;
    attempt_ticker ticker;
} attempt_job;

/* Builds and uploads one attempt. Whatever it uploaded before a failure is removed again. Statuses:
 * OK and those of engines and stores, CANCELLED. Ownership: free *result. */
shardy_status shardy__attempt_run(
    const attempt_job *job, attempt_result *result, shardy_error *err);

/* The same, repeated after retriable failures with growing pauses, as the plan says. *attempts_out
 * counts them. */
shardy_status shardy__attempt_run_retry(
    const attempt_job *job, attempt_result *result, uint32_t *attempts_out, shardy_error *err);

#endif
