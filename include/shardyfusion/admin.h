/* admin.h: what operators do with published snapshots: history, rollback, verify, cleanup, pins.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_ADMIN_H
#define SHARDYFUSION_ADMIN_H

#include <shardyfusion/context.h>
#include <shardyfusion/manifest_store.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shardy_admin_options {
    size_t struct_size;
    /* default 30000: of the call; of each request of shardy_verify() and shardy_cleanup(), which
     * may take long, and of each transaction where manifests are in a database */
    uint32_t timeout_ms;
    const shardy_cancel *cancel; /* default NULL */
    int32_t allow_network_fs;    /* default 0: publishing on a network file system is refused */
    /* default 0: whoever is to change something refuses a store that does not honour conditional
     * writes (UNSUPPORTED); 1: as in shardy_writer_options */
    int32_t unsafe_single_writer;
    struct shardy_store *store; /* default NULL: from the URL */
    /* default NULL: objects beside the shards; else where manifest and pointer are */
    const struct shardy_manifest_store_options *manifest_store;
} shardy_admin_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_admin_options_init(shardy_admin_options *options, size_t struct_size);

typedef struct shardy_history_entry {
    uint32_t offset; /* 0 is the newest; runs that are condemned count, and are left out */
    const char *run_id;
    const char *published_at; /* ISO 8601 with six digits of fraction */
    const char *ref;          /* URL of the manifest, at the place that the pointer speaks of */
    int32_t current;          /* 1: the pointer names it */
    const char *const *pins;  /* names by which it is kept; NULL when it could not be told */
    uint32_t pin_count;
} shardy_history_entry;

typedef struct shardy_history {
    const shardy_history_entry *entries; /* newest first */
    size_t count;
    void *owner;
} shardy_history;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_history_dispose(shardy_history *history);

/* The newest manifests, at most `limit`. Statuses: OK, INVALID, IO, NOMEM and those of stores.
 * Threads: any thread, any time. */
SHARDY_API shardy_status shardy_history_list(shardy_context *context, const char *url,
    uint32_t limit, const shardy_admin_options *options, shardy_history *history_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Which snapshot to go back to; exactly one of them. */
typedef struct shardy_rollback_target {
    size_t struct_size;
    const char *ref;    /* a manifest ref: as shardy_history_list() gives it, or the part of it
                           from "manifests/" on */
    const char *run_id; /* the newest manifest of that run */
    int64_t offset;     /* >= 0: the N-th newest manifest; default -1 */
} shardy_rollback_target;

/* Writes the defaults: no selector is chosen. */
SHARDY_API void shardy_rollback_target_init(shardy_rollback_target *target, size_t struct_size);

/* Moves the pointer to an older (or newer) snapshot. The manifest is loaded and checked first: a
 * missing or damaged one is refused. *ref_out gets the ref that is current now, as the pointer says
 * it; release it.
 * Statuses: OK; INVALID (no such manifest, not exactly one selector); GONE (its run was condemned,
 * or an object of it is missing); CORRUPT, CHECKSUM, FORMAT_VERSION (of the manifest, or of the
 * fate of its run); UNSUPPORTED (the store does not honour conditional writes); CONFIG (manifests
 * in Postgres: its shards are elsewhere); CONFLICT (somebody else moved the pointer; says to whom);
 * store failures. */
SHARDY_API shardy_status shardy_rollback(shardy_context *context, const char *url,
    const shardy_rollback_target *target, const shardy_admin_options *options, shardy_buf *ref_out,
    shardy_error *err) SHARDY_MUST_USE;

typedef enum shardy_verify_status {
    SHARDY_VERIFY_OK = 0,
    SHARDY_VERIFY_DAMAGED = 1,
    SHARDY_VERIFY_UNVERIFIED = 2, /* nothing wrong was found, but no digests were recorded */
    SHARDY_VERIFY_RESERVED_ = 32767
} shardy_verify_status;

typedef struct shardy_damage {
    const char *path; /* relative to the root of the snapshot */
    uint64_t offset;  /* of the first damaged chunk or page */
    const char *reason;
} shardy_damage;

typedef struct shardy_verify_result {
    int32_t status;
    uint64_t objects;
    uint64_t bytes;
    const shardy_damage *damaged;
    size_t damaged_count;
    const char *manifest_ref;
    void *owner;
} shardy_verify_result;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_verify_result_dispose(shardy_verify_result *result);

typedef struct shardy_verify_options {
    size_t struct_size;
    const char *ref; /* default NULL: what the pointer names */
    /* default 0; 1: also look at every page of every table and index, count rows, check order and
     * routing. All of it is read once more; of a shard in a bucket a thread holds 32 MiB */
    int32_t deep;
    uint32_t threads; /* default 0: the context's */
    shardy_admin_options admin;
    /* default NULL; not 0 cancels. Called on the calling thread; with `deep` it goes on to be
     * called with the same figures, for each mebibyte that this thread walks through */
    int32_t (*progress)(void *user, uint64_t bytes_done, uint64_t bytes_total);
    void *progress_user;
} shardy_verify_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_verify_options_init(shardy_verify_options *options, size_t struct_size);

/* Reads every byte of a snapshot and compares it with its digest, from the pointer down; without
 * digests it is as `deep`. Damage is a result, not a failure. Statuses: OK; INVALID (no pointer);
 * store failures other than missing objects.
 * Ownership: dispose of *result_out. Threads: any thread, any time. */
SHARDY_API shardy_status shardy_verify(shardy_context *context, const char *url,
    const shardy_verify_options *options, shardy_verify_result *result_out,
    shardy_error *err) SHARDY_MUST_USE;

/* --- cleanup ---------------------------------------------------------------------------------- */

typedef enum shardy_cleanup_kind {
    SHARDY_CLEANUP_STALE_ATTEMPT = 1, /* of a run that stays: an attempt that no manifest names */
    SHARDY_CLEANUP_RUN = 2,           /* a run with all that is of it */
    SHARDY_CLEANUP_SETTLE = 3,        /* the fate of a run whose publisher died; no objects */
    SHARDY_CLEANUP_KIND_RESERVED_ = 32767
} shardy_cleanup_kind;

/* What is removed or settled, or would be. */
typedef struct shardy_cleanup_action {
    int32_t kind;
    const char *run_id;
    int64_t db_id;          /* shard of a stale attempt; -1 when no manifest tells, and for runs */
    const char *prefix_url; /* of its objects; ends in '/' */
    uint64_t objects;       /* that are to go */
    uint64_t bytes;         /* of them */
    uint64_t objects_deleted; /* that are gone; 0 in a dry run */
    const char *error;        /* why some are left; NULL: none is */
    /* of SHARDY_CLEANUP_SETTLE: "PUBLISHED"; "CONDEMNED", then the run follows; else NULL */
    const char *fate;
} shardy_cleanup_action;

/* A run that the options let go of, and that stays all the same. */
typedef struct shardy_cleanup_kept {
    const char *run_id;
    const char *reason;
    int32_t failed; /* 1: it could not be found out whether it may go */
} shardy_cleanup_kept;

typedef struct shardy_cleanup_result {
    int32_t dry_run;
    const char *run_id; /* of the manifest whose stale attempts were looked for; NULL: of none */
    const shardy_cleanup_action *actions;
    size_t action_count;
    const shardy_cleanup_kept *kept;
    size_t kept_count;
    uint64_t objects; /* sums of the actions */
    uint64_t bytes;
    uint64_t objects_deleted;
    uint64_t settled;  /* actions of SHARDY_CLEANUP_SETTLE */
    uint64_t failures; /* actions and runs with an error */
    void *owner;
} shardy_cleanup_result;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_cleanup_result_dispose(shardy_cleanup_result *result);

typedef struct shardy_cleanup_options {
    size_t struct_size;
    const char *ref; /* default NULL: stale attempts of the run that is current; else of this one */
    int32_t dry_run; /* default 0; 1: say what would be removed */
    int32_t include_old_runs; /* default 0; 1: also runs that have no manifest, and none that has */
    /* default -1: not used; >= 0: also runs that are older than so many seconds */
    int64_t older_than_s;
    /* default 604800, a week: a run that is PUBLISHING is settled when its publisher has given no
     * sign of life for so many seconds; -1: never */
    int64_t settle_after_s;
    uint32_t keep_last;   /* default 0: not used; else also runs but the N newest with a manifest */
    uint32_t max_retries; /* default 3: further tries of a removal after a retriable failure */
    int32_t force;        /* default 0; 1: also objects whose names no writer gives */
    /* Where shards and run records are, as in shardy_writer_options. A manifest that says something
     * else is an error: it never decides where anything is deleted. */
    const char *shard_prefix;        /* default "shards" */
    const char *run_registry_prefix; /* default "runs" */
    shardy_admin_options admin;
    /* default NULL; not 0 cancels. `objects` is what was found to go so far. */
    int32_t (*progress)(void *user, uint64_t objects_deleted, uint64_t objects);
    void *progress_user;
} shardy_cleanup_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_cleanup_options_init(shardy_cleanup_options *options, size_t struct_size);

/* Removes what no reader, rollback or writer can need: attempts that no manifest names, runs that
 * failed, and with keep_last or older_than_s runs that were published. A run goes only if every
 * criterion given lets go of it, so with include_old_runs no run that was published. What is
 * current, pinned, at work, about to become current, or named by a manifest that stays is never
 * removed. Each run is condemned first, then its manifest goes, then its shards: who stops in
 * between leaves objects behind, never a manifest without its shards.
 *
 * Where runs are to go, those whose publisher died are settled, whatever the criteria say of them:
 * the pointer is written anew as it is, so that no late write of the publisher can move it; then a
 * run that has a manifest is PUBLISHED, and stays this time, and one without is condemned and goes.
 *
 * Failures before anything is removed: INVALID (options, no pointer; with manifests as objects
 * another pointer beside it, under a name that begins with '_': what it names would not be kept);
 * CORRUPT, CHECKSUM, FORMAT_VERSION, GONE (the pointer, or a manifest or fate of what stays, cannot
 * be read: it might name anything); EXHAUSTED (SHARDY_HISTORY_LIMIT_MAX manifests or more); CONFIG
 * (manifests in Postgres: the shards of one are elsewhere); failures of stores. Later ones are
 * noted, the other runs are done, and the first one is returned, but for those that end all:
 * UNSUPPORTED (the store does not honour conditional writes), CANCELLED, NOMEM. *result_out is
 * filled in both cases, with what really happened.
 * Ownership: dispose of *result_out. Threads: any thread, any time, any number of processes. */
SHARDY_API shardy_status shardy_cleanup(shardy_context *context, const char *url,
    const shardy_cleanup_options *options, shardy_cleanup_result *result_out,
    shardy_error *err) SHARDY_MUST_USE;

/* --- pins ------------------------------------------------------------------------------------- */

/* Keeps a snapshot: no cleanup removes it until the pin is taken off. `name` is
 * [A-Za-z0-9._-]{1,63}; several snapshots may have a pin of the same name. target NULL: the current
 * one. *ref_out (may be NULL) gets the URL of the manifest that was pinned; release it.
 * Statuses: OK, also when it has that pin; INVALID (name, no such manifest, a run still at work);
 * GONE (it was condemned); CONFLICT (somebody else published, rolled back to or pinned that run at
 * this moment: try again); EXHAUSTED (too many pins); CORRUPT, CHECKSUM, FORMAT_VERSION (its
 * manifest or fate is damaged); CONFIG (its shards are elsewhere); UNSUPPORTED (the store does not
 * honour conditional writes); store failures. */
SHARDY_API shardy_status shardy_pin_add(shardy_context *context, const char *url, const char *name,
    const shardy_rollback_target *target, const shardy_admin_options *options, shardy_buf *ref_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Takes a pin off. target NULL: off every snapshot that has it. *removed_out (may be NULL) counts
 * them. Statuses: OK; NOT_FOUND (no snapshot has it); INVALID; CONFLICT (somebody else changed a
 * fate at this moment: try again); CORRUPT, CHECKSUM, FORMAT_VERSION (a fate is damaged: whether it
 * has the pin is not known, all others are done); UNSUPPORTED (the store does not honour
 * conditional writes); store failures. */
SHARDY_API shardy_status shardy_pin_remove(shardy_context *context, const char *url,
    const char *name, const shardy_rollback_target *target, const shardy_admin_options *options,
    uint32_t *removed_out, shardy_error *err) SHARDY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
