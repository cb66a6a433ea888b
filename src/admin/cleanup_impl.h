/* cleanup_impl.h: one cleanup while it goes on. cleanup.c is its frame, cleanup_plan.c finds the
 * runs, cleanup_run.c looks at the objects of one and removes them. */
#ifndef SHARDY_ADMIN_CLEANUP_IMPL_H
#define SHARDY_ADMIN_CLEANUP_IMPL_H

#include "../catalog/condemn.h"
#include "../catalog/reachability.h"
#include "admin_options.h"

/* A directory of the run registry. */
typedef struct cleanup_record {
    const char *dir; /* "runs/<time>_run_id=<id>_<hex>/" */
    struct cleanup_record *next;
} cleanup_record;

/* A run of which there is anything. */
typedef struct cleanup_run {
    const char *run_id;
    reach_manifest *manifest; /* its newest; NULL: it has none */
    int32_t is_last;          /* 1: one of those that keep_last names */
    int32_t has_shards;
    int32_t has_vector_meta;
    cleanup_record *records;
} cleanup_run;

typedef struct cleaner {
    shardy_context *context;
    const shardy_cleanup_options *options;
    catalog catalog;
    reachability reach;
    arena *arena; /* of the result and of the plan */
    map runs;     /* run id -> cleanup_run */
    cleanup_run **list;
    size_t run_count;
    size_t run_room;
    uint32_t last_count; /* manifests that keep_last named so far */
    int32_t has_current;
    char current[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* run that the pointer names */
    char target[SHARDY_OBJECT_KEY_LEN_MAX + 1];  /* run whose stale attempts go; "": none */
    char target_ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int64_t now_us;
    shardy_cleanup_action *actions;
    size_t action_count;
    size_t action_room;
    shardy_cleanup_kept *kept;
    size_t kept_count;
    size_t kept_room;
    uint64_t objects;
    uint64_t objects_deleted;
    uint64_t failures;
    shardy_error first; /* the first failure that did not end it; status 0: none */
} cleaner;

/* --- cleanup_plan.c --------------------------------------------------------------------------- */

/* 1 when the options ask for more than stale attempts. */
int shardy__cleanup_wants_runs(const cleaner *k);
/* Reads the pointer, all manifests and, where runs are to go, the names of all runs. Nothing is
 * written. Statuses as shardy_cleanup() before anything is removed. */
shardy_status shardy__cleanup_plan(cleaner *k, shardy_error *err);
/* 1 when the retention of the options lets go of a run, as far as its manifest tells. */
int shardy__cleanup_lets_go(const cleaner *k, const cleanup_run *run);
/* 1 when a run with a manifest was PUBLISHING as the plan was made: it is looked at all the
 * same. */
int shardy__cleanup_is_unsettled(const cleanup_run *run);

/* --- cleanup_run.c ---------------------------------------------------------------------------- */

/* The attempts of the target that no manifest names. */
shardy_status shardy__cleanup_stale_attempts(cleaner *k, shardy_error *err);
/* One run that the retention lets go of, or that is settled only. A failure is one of this run. */
shardy_status shardy__cleanup_one_run(cleaner *k, const cleanup_run *run, shardy_error *err);

/* --- cleanup.c -------------------------------------------------------------------------------- */

/* A new action; its place may move with the next one. NULL: no memory. */
shardy_cleanup_action *shardy__cleanup_act(
    cleaner *k, int32_t kind, const char *run_id, const char *prefix, shardy_error *err);
/* Notes that a run stays. */
shardy_status shardy__cleanup_keep(
    cleaner *k, const char *run_id, const char *reason, int32_t failed, shardy_error *err);
/* Notes a failure that does not end the cleanup. */
void shardy__cleanup_note(cleaner *k, const shardy_error *error);
/* OK, or CANCELLED. */
shardy_status shardy__cleanup_tell(cleaner *k, shardy_error *err);

#endif
