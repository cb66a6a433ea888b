/* attempt_json.h: the result of an attempt as JSON, which is how it travels from the process that
 * built a shard to the one that chooses winners. */
#ifndef SHARDY_BUILD_ATTEMPT_JSON_H
#define SHARDY_BUILD_ATTEMPT_JSON_H

#include "attempt.h"

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
