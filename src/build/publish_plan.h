/* publish_plan.h: the last step of a build: the manifest of the winners, what the caller is told of
 * them, and making it visible. */
#ifndef SHARDY_BUILD_PUBLISH_PLAN_H
#define SHARDY_BUILD_PUBLISH_PLAN_H

#include "attempt_result.h"
#include "plan.h"

/* Publishes the manifest of the winners and marks the run. Statuses as shardy_writer_finish().
 * *result (may be NULL) gets ids and counts. */
shardy_status shardy__plan_publish(shardy_plan *plan, const attempt_result *winners, size_t count,
    shardy_build_result *result, shardy_error *err);

#endif
