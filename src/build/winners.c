#include "winners.h"

#include "../base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* An attempt with data wins over an empty one (formats.md, T-20), then the smaller attempt number,
 * which says what its path is. */
static int compare_results(const void *a, const void *b)
{
    const attempt_result *x = a;
    const attempt_result *y = b;
    if (x->db_id != y->db_id) {
        return x->db_id < y->db_id ? -1 : 1;
    }
    if (!x->output != !y->output) {
        return x->output ? -1 : 1;
    }
    return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

/* A manifest that has shards of another run loses them when that one is removed. */
static shardy_status check_own(
    const shardy_plan *plan, const attempt_result *result, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (!result->output) {
        return SHARDY_OK;
    }
    shardy__plan_attempt_path(plan, result->db_id, result->attempt, path);
    return strcmp(result->output->path, path) == 0
               ? SHARDY_OK
               : shardy__error(err, SHARDY_INVALID, "build",
                     "the result of shard %u is in \"%.300s\", expected \"%.300s\"", result->db_id,
                     result->output->path, path);
}

shardy_status shardy__winners_choose(
    const shardy_plan *plan, attempt_result *results, size_t *count, shardy_error *err)
{
    uint32_t num_dbs = plan->options.num_dbs;
    size_t kept = 0;
    if (*count > 1) {
        qsort(results, *count, sizeof *results, compare_results);
    }
    for (size_t i = 0; i < *count; i++) {
        if (results[i].db_id >= num_dbs) {
            return shardy__error(err, SHARDY_COVERAGE, "build",
                "there is a result for shard %u, the plan has %u shards", results[i].db_id,
                num_dbs);
        }
        SHARDY_TRY(check_own(plan, &results[i], err));
        if (kept > 0 && results[kept - 1].db_id == results[i].db_id) {
            shardy__attempt_result_free(&results[i]);
            continue;
        }
        if (results[i].db_id != kept) {
            return shardy__error(
                err, SHARDY_COVERAGE, "build", "there is no result for shard %zu", kept);
        }
        if (i != kept) {
            results[kept] = results[i];
            memset(&results[i], 0, sizeof results[i]);
        }
        kept++;
    }
    *count = kept;
    if (kept != num_dbs) {
        return shardy__error(
            err, SHARDY_COVERAGE, "build", "there are results for %zu of %u shards", kept, num_dbs);
    }
    return SHARDY_OK;
}

shardy_status shardy_winners_select(const shardy_plan *plan, const shardy_bytes *results_json,
    size_t count, shardy_buf *winners_json_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan && (results_json || count == 0) && winners_json_out);
    memset(winners_json_out, 0, sizeof *winners_json_out);
    attempt_result *results = shardy__calloc(count, sizeof *results);
    if (!results) {
        return shardy__error_nomem(err, "build");
    }
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < count; i++) {
        st = shardy__attempt_from_json(results_json[i], &results[i], err);
    }
    size_t kept = count;
    if (st >= 0) {
        st = shardy__winners_choose(plan, results, &kept, err);
    }
    if (st >= 0) {
        st = shardy__attempts_to_json(results, kept, winners_json_out, err);
    }
    shardy__attempt_results_free(results, count);
    return st;
}
