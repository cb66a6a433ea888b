/* admin.h: what operators do with published snapshots: history, rollback, verify.
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
    uint32_t timeout_ms;         /* default 30000 for each store call */
    const shardy_cancel *cancel; /* default NULL */
    int32_t allow_network_fs;    /* default 0: publishing on a network file system is refused */
    struct shardy_store *store;  /* default NULL: from the URL */
    /* default NULL: objects beside the shards; else where manifest and pointer are */
    const struct shardy_manifest_store_options *manifest_store;
} shardy_admin_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_admin_options_init(shardy_admin_options *options, size_t struct_size);

typedef struct shardy_history_entry {
    uint32_t offset; /* 0 is the newest */
    const char *run_id;
    const char *published_at; /* ISO 8601 with six digits of fraction */
    const char *ref;          /* URL of the manifest, at the place that the pointer speaks of */
    int32_t current;          /* 1: the pointer names it */
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
 * missing or damaged one is refused. *ref_out gets the ref that is current now, as
 * the pointer says it; release it.
 * Statuses: OK; INVALID (no such manifest, not exactly one selector); GONE (its run was condemned);
 * CORRUPT, CHECKSUM, FORMAT_VERSION; CONFLICT (somebody else moved the pointer; says to whom);
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
    int32_t deep;    /* default 0; 1: also walk every B-tree, count rows, check order and routing */
    uint32_t threads; /* default 0: the context's */
    shardy_admin_options admin;
    /* default NULL; not 0 cancels */
    int32_t (*progress)(void *user, uint64_t bytes_done, uint64_t bytes_total);
    void *progress_user;
} shardy_verify_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_verify_options_init(shardy_verify_options *options, size_t struct_size);

/* Reads every byte of a snapshot and compares it with its digest, from the pointer down. Damage is
 * a result, not a failure. Statuses: OK; INVALID (no pointer); store failures other than missing
 * objects.
 * Ownership: dispose of *result_out. Threads: any thread, any time. */
SHARDY_API shardy_status shardy_verify(shardy_context *context, const char *url,
    const shardy_verify_options *options, shardy_verify_result *result_out,
    shardy_error *err) SHARDY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
