/* winners.h: choosing one attempt per shard. */
#ifndef SHARDY_BUILD_WINNERS_H
#define SHARDY_BUILD_WINNERS_H

#include "attempt_result.h"
#include "plan.h"

/* Puts results in the order of their shards and drops those that lost: of the attempts of a shard,
 * one with data comes before an empty one, then the smallest attempt number. *count is changed.
 * COVERAGE when a shard is out of range or none of its attempts is there. */
shardy_status shardy__winners_choose(
    const shardy_plan *plan, attempt_result *results, size_t *count, shardy_error *err);

#endif
