/* attempt.h: building one attempt of one shard. */
#ifndef SHARDY_BUILD_ATTEMPT_H
#define SHARDY_BUILD_ATTEMPT_H

#include "../sort/spool.h"
#include "attempt_result.h"
#include "plan.h"

/* Called now and then by the thread that builds; a failure stops the attempt. */
typedef struct attempt_ticker {
    shardy_status (*tick)(void *user, uint64_t rows, uint64_t bytes, shardy_error *err);
    /* The same while files are uploaded: so many more bytes than before were sent, and are to be
     * sent, which may be less than none. May be NULL. */
    void (*uploading)(void *user, int64_t sent, int64_t to_send);
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
