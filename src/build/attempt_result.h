/* attempt_result.h: what is known about an attempt once it was made, and its JSON, which is how it
 * travels from the process that built a shard to the one that chooses winners. */
#ifndef SHARDY_BUILD_ATTEMPT_RESULT_H
#define SHARDY_BUILD_ATTEMPT_RESULT_H

#include "../base/digest.h"
#include "../base/error.h"

#include <shardyfusion/key.h>
#include <shardyfusion/limits.h>

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

/* One result, or an array of them. OK, INVALID (too long), NOMEM. Ownership: release *json_out. */
shardy_status shardy__attempt_to_json(
    const attempt_result *result, shardy_buf *json_out, shardy_error *err);
shardy_status shardy__attempts_to_json(
    const attempt_result *results, size_t count, shardy_buf *json_out, shardy_error *err);

/* OK; INVALID: not the result of an attempt; NOMEM. Ownership: free *result_out, also after a
 * failure. */
shardy_status shardy__attempt_from_json(
    shardy_bytes json, attempt_result *result_out, shardy_error *err);
/* The same for an array. Ownership: shardy__attempt_results_free(). */
shardy_status shardy__attempts_from_json(
    shardy_bytes json, attempt_result **results_out, size_t *count_out, shardy_error *err);

#endif
