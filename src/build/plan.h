/* plan.h: the inside of a plan: everything about a build that does not change while it runs. */
#ifndef SHARDY_BUILD_PLAN_H
#define SHARDY_BUILD_PLAN_H

#include "../base/arena.h"
#include "../catalog/catalog.h"
#include "../catalog/run_record.h"
#include "../engine/engine.h"
#include "../manifest/template.h"
#include "../route/router.h"

#include <shardyfusion/writer.h>

struct shardy_plan {
    arena arena;             /* strings */
    shardy_context *context; /* one reference */
    catalog catalog;
    publish_run run;
    run_record record; /* its times and its object are the heartbeat's until it was stopped */
    int32_t has_record;
    timer_task heartbeat;
    /* strings are copies; numbers are resolved but for num_dbs, dim, encoding of a writer that has
     * seen no row */
    shardy_writer_options options;
    const char *run_id;
    const char *prefix; /* recorded, normalised: join keys to it with shardy__uri_join() */
    char *scratch;      /* directory for this build, removed with the plan when `own_scratch` */
    int scratch_lock;   /* of scratch.h; -1: none */
    int32_t own_scratch;
    int32_t has_failed; /* it was given up */
    const shardy_engine_ops *engine;
    int64_t manifest_us; /* when its manifest was first made; 0: not yet */
    /* 1: it came as JSON, and its manifests are not where that leads to */
    int32_t manifests_elsewhere;
};

/* Checks options that need no row. `whole` is 1 for a plan whose attempts are built elsewhere: then
 * num_dbs and key_encoding must be known. Claims the run id. */
shardy_status shardy__plan_open(shardy_context *context, const char *url,
    const shardy_writer_options *options, int whole, shardy_plan **plan_out, shardy_error *err);

/* An empty plan. OK, NOMEM. */
shardy_status shardy__plan_alloc(
    shardy_context *context, shardy_plan **plan_out, shardy_error *err);
/* Fills a plan whose run was claimed elsewhere; `prefix` is the recorded one. Statuses as
 * shardy_writer_open(). */
shardy_status shardy__plan_adopt(shardy_plan *plan, const char *url,
    const shardy_writer_options *options, const char *prefix, shardy_error *err);

/* Path of an attempt relative to the root: "<shard_prefix>/run_id=<id>/<db>/attempt=NN". */
void shardy__plan_attempt_path(const shardy_plan *plan, uint32_t db_id, uint32_t attempt,
    char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1]);

/* Writes how the run ended into its record, once, and stops the heartbeat. `manifest_ref` and
 * `error` may be NULL. */
void shardy__plan_end_record(
    shardy_plan *plan, shardy_status st, const char *manifest_ref, const shardy_error *error);

/* Gives the run of a plan up: condemns it, removes what it uploaded, marks its record. */
void shardy__plan_fail(shardy_plan *plan, shardy_status st, const shardy_error *error);

router shardy__plan_router(const shardy_plan *plan);

#endif
