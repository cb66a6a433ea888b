/* writer.h: building and publishing a snapshot.
 *
 * A writer takes rows in any order, routes each to a shard, sorts, builds the shards, uploads them,
 * publishes the manifest and moves the pointer. Nothing is visible to readers before the pointer
 * has moved; a build that fails removes what it wrote, but for the record of its run.
 *
 * The steps are public one by one as well, so that a scheduler can distribute them:
 *   shardy_plan_new -> shardy_attempt_build (once per shard) -> shardy_winners_select
 *     -> shardy_plan_publish
 * A plan and an attempt result travel between machines as JSON.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_WRITER_H
#define SHARDYFUSION_WRITER_H

#include <shardyfusion/context.h>
#include <shardyfusion/manifest_store.h>
#include <shardyfusion/record.h>
#include <shardyfusion/rows.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a build stands; passed to the progress callback. */
typedef struct shardy_progress {
    const char *phase; /* "read", "build", "publish", "done" */
    uint64_t rows;     /* rows taken */
    uint64_t bytes;    /* key, value and vector bytes taken */
    uint64_t rows_built;
    uint64_t bytes_built;
    uint32_t shards_done;
    uint32_t shards_total; /* 0 while it is not known */
    /* Of shards whose upload was begun; 0 where shards are local files. */
    uint64_t bytes_uploaded;
    uint64_t bytes_to_upload;
} shardy_progress;

/* Called from the thread that uses the writer, at most about ten times a second and at each change
 * of phase. Anything but 0 cancels the build. */
typedef int32_t (*shardy_progress_fn)(void *user, const shardy_progress *progress);

typedef enum shardy_on_conflict {
    /* CONFLICT: the pointer stays, the snapshot can be rolled back to */
    SHARDY_ON_CONFLICT_FAIL = 0,
    /* the pointer is moved all the same when the manifest that it names now has an older name,
     * which begins with its time; else CONFLICT */
    SHARDY_ON_CONFLICT_REPLACE = 1,
    SHARDY_ON_CONFLICT_RESERVED_ = 32767
} shardy_on_conflict;

/* Whether a shard of SQLite gets a sidecar: its index as one small object beside it, with which a
 * reader that fetches pages by range needs no request for each level of the tree. */
typedef enum shardy_sidecar_mode {
    SHARDY_SIDECAR_AUTO = 0, /* where shards are not local files */
    SHARDY_SIDECAR_ALWAYS = 1,
    SHARDY_SIDECAR_NEVER = 2
} shardy_sidecar_mode;

typedef struct shardy_writer_options {
    size_t struct_size;
    const char *run_id; /* default NULL: 32 random hex digits; [A-Za-z0-9._-]{1,128} */
    const char *engine; /* default NULL: "sqlite-vec" with a dimension, else "sqlite" */
    uint32_t num_dbs;   /* default 0: from max_keys_per_shard */
    /* default 0: not used; with neither this nor num_dbs there is one shard */
    uint64_t max_keys_per_shard;
    int32_t key_encoding; /* default AUTO: u64be for integer keys, utf8 for text, raw for bytes */
    /* default 4096; 512 to 65536, a power of two; 0: chosen per shard ("auto") */
    uint32_t page_size;
    uint32_t dim;           /* default 0: from the first vector */
    int32_t metric;         /* default cosine */
    const char *key_column; /* default "_key": recorded in the manifest */
    /* default "shards"; not "runs", "manifests", "vector_meta" or the run_registry_prefix */
    const char *shard_prefix;
    const char *run_registry_prefix; /* default "runs" */
    const char *db_path_template;    /* default "db={db_id:05d}" */
    /* default NULL; else the URL prefix to record, e.g. "s3://bucket/prefix" */
    const char *published_as;
    const char *custom; /* default NULL; a JSON object of user fields for the manifest */
    uint32_t threads;   /* default 0: the context's */
    /* default 256 MiB: spool, sort and page buffers of all threads; beside it each thread may have
     * one row, a chunk of 1,024 vectors and 8 MiB. At least SHARDY_MEMORY_BUDGET_MIN */
    uint64_t memory_budget;
    const char *scratch_dir; /* default NULL: beside the destination when it is a directory */
    uint32_t max_retries;    /* default 3: further attempts of a shard after a retriable failure */
    uint32_t retry_backoff_ms;   /* default 1000: before the first retry */
    double retry_multiplier;     /* default 2.0 */
    int32_t sync;                /* default 1: files and directories are synced before they count */
    int32_t allow_network_fs;    /* default 0: publishing on a network file system is refused */
    shardy_progress_fn progress; /* default NULL */
    void *progress_user;
    const shardy_cancel *cancel; /* default NULL */
    /* default NULL: from the URL; else write to this one (sys/store.h) */
    struct shardy_store *store;
    /* default FAIL: what becomes of a build when somebody else moved the pointer meanwhile */
    int32_t on_conflict;
    /* default 0: a store that does not honour conditional writes is refused; 1: it is not asked,
     * one that refuses them is looked at before each such write, and nobody else may publish, roll
     * back or clean up there while this goes on */
    int32_t unsafe_single_writer;
    int32_t sidecar; /* default auto: shardy_sidecar_mode */
    /* default 0: no limit. Rows that a writer takes, and the bytes of their keys, values and
     * vectors: a put waits for its turn. Attempts that are built one by one are not limited. */
    double max_rows_per_second;
    double max_row_bytes_per_second;
    /* default NULL: objects beside the shards; else where manifest and pointer go */
    const struct shardy_manifest_store_options *manifest_store;
    /* default 1: a writer that was given no row publishes an empty snapshot; 0: finish is INVALID,
     * for rows of a source whose end may be that of a failure */
    int32_t allow_empty;
} shardy_writer_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_writer_options_init(shardy_writer_options *options, size_t struct_size);

/* What was built. Strings are owned by the struct. */
typedef struct shardy_build_result {
    const char *run_id;
    const char *manifest_ref;
    const char *run_record_ref; /* NULL when the run record could not be written */
    const char *engine;
    uint32_t num_dbs;
    uint32_t shard_count; /* shards that hold rows */
    uint64_t rows_taken;  /* rows put */
    uint64_t row_count;   /* distinct keys */
    uint64_t vector_count;
    uint64_t db_bytes;
    uint32_t attempts; /* shard attempts made */
    int64_t read_ms;   /* routing and spooling */
    int64_t build_ms;  /* sorting and building */
    int64_t publish_ms;
    int64_t total_ms;
    /* the run that became current during the build and was replaced (on_conflict); NULL: none */
    const char *replaced_run_id;
    void *owner;
} shardy_build_result;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_build_result_dispose(shardy_build_result *result);

typedef struct shardy_writer shardy_writer;

/* Begins a build into `url`, a directory path or file:// URL (created when it does not exist) or
 * s3://bucket/prefix, or that of the pointer there, which is called _CURRENT or _CURRENT...:
 * another name with '_' first is INVALID, and means a place with a trailing slash only ("_a/").
 * Statuses: OK; INVALID or CONFIG (options, URL; manifests in Postgres: what is current there is of
 * another data set); EXISTS (the run id is taken); CORRUPT, FORMAT_VERSION (the pointer cannot be
 * read: a rollback replaces a damaged one); UNSUPPORTED (scheme, engine, network file system);
 * NO_SPACE, IO, NOMEM. Ownership: yours. Threads: construction only. */
SHARDY_API shardy_status shardy_writer_open(shardy_context *context, const char *url,
    const shardy_writer_options *options, shardy_writer **writer_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Takes one row; everything is copied. The last row with a key wins, for its vector as well when
 * the id of the vector is the key.
 * Statuses: OK; INVALID (key against the encoding, dimension, a component that is not finite, zero
 * vector under cosine, invalid UTF-8, limits); CANCELLED, NO_SPACE, IO, NOMEM. After INVALID the
 * row was not taken and the writer can go on; after another failure only close is allowed. Threads:
 * one thread at a time per handle. */
SHARDY_API shardy_status shardy_writer_put(
    shardy_writer *writer, const shardy_row *row, shardy_error *err) SHARDY_MUST_USE;

/* Takes many rows in order; *taken_out (may be NULL) gets how many were taken when one is
 * refused. */
SHARDY_API shardy_status shardy_writer_put_rows(shardy_writer *writer, const shardy_row *rows,
    size_t row_count, size_t *taken_out, shardy_error *err) SHARDY_MUST_USE;

/* Takes all rows of a source. A refused row fails the call with file and line. */
SHARDY_API shardy_status shardy_writer_put_source(
    shardy_writer *writer, shardy_row_source *source, shardy_error *err) SHARDY_MUST_USE;

/* Builds the shards and publishes the snapshot.
 * Statuses: OK; INVALID; COVERAGE; EXHAUSTED (the memory budget is too small for so many rows: the
 * message names the least); CONFLICT (somebody else moved the pointer meanwhile: the snapshot is
 * complete and can be rolled back to, the message names the winner); FENCED (a cleanup took the
 * writer for dead and condemned the run); EXISTS (another manifest of that name is there); GONE
 * (manifests in Postgres: somebody removed that of the run); CORRUPT, CHECKSUM, FORMAT_VERSION (the
 * fate of the run was changed and cannot be read; CORRUPT: a scratch file was changed); MISUSE (the
 * writer has failed or finished before); CANCELLED, NO_SPACE, IO, NOMEM; failures of the stores
 * (AUTH, UNAVAILABLE, TIMEOUT, THROTTLED, UNSUPPORTED). Where it is not known whether the pointer
 * was moved, the message says that the run may have become current all the same.
 * Ownership: dispose of *result_out (may be NULL). Threads: one thread at a time per handle. */
SHARDY_API shardy_status shardy_writer_finish(
    shardy_writer *writer, shardy_build_result *result_out, shardy_error *err) SHARDY_MUST_USE;

/* Ends a writer. Without a successful finish the build is abandoned and what it left is removed. In
 * a child process nothing is done: the build is the parent's. NULL is fine; cannot fail. Threads:
 * construction only. */
SHARDY_API void shardy_writer_close(shardy_writer *writer);

/* --- the steps one by one --------------------------------------------------------------------- */

/* A validated configuration with its run id: everything that an attempt or a publish needs to
 * know. */
typedef struct shardy_plan shardy_plan;

/* Makes a plan and claims its run id (fate object and run record in the store). `num_dbs` must be
 * given; `dim` as well if there are vectors; key_encoding must not be AUTO. Statuses as
 * shardy_writer_open(). */
SHARDY_API shardy_status shardy_plan_new(shardy_context *context, const char *url,
    const shardy_writer_options *options, shardy_plan **plan_out,
    shardy_error *err) SHARDY_MUST_USE;

/* What the JSON of a plan does not carry, as it is a secret or differs between machines. */
typedef struct shardy_plan_options {
    size_t struct_size;
    /* default NULL: from the URL; else write to this one (sys/store.h) */
    struct shardy_store *store;
    /* default NULL: objects beside the shards. Who builds attempts only can leave it out where the
     * manifests are in a database; without it publishing is UNSUPPORTED there */
    const struct shardy_manifest_store_options *manifest_store;
    const char *scratch_dir;      /* default NULL: beside the destination when it is a directory */
    const shardy_cancel *cancel;  /* default NULL */
    int32_t allow_network_fs;     /* default 0, as in shardy_writer_options */
    int32_t unsafe_single_writer; /* default 0, as in shardy_writer_options */
} shardy_plan_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_plan_options_init(shardy_plan_options *options, size_t struct_size);

/* The plan as JSON, and back, in any process that reaches the same store; NULL options are the
 * defaults. Statuses of reading it: OK; INVALID (what the JSON says, when it would change what is
 * not of its run, a run that was not begun in this store, a database for a plan whose manifests are
 * objects); FORMAT_VERSION; UNSUPPORTED (engine, network file system, a build without Postgres);
 * failures of stores; NOMEM. Ownership: release *json_out; free *plan_out. */
SHARDY_API shardy_status shardy_plan_to_json(
    const shardy_plan *plan, shardy_buf *json_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_plan_from_json(shardy_context *context, const char *url,
    shardy_bytes json, const shardy_plan_options *options, shardy_plan **plan_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_plan_free(shardy_plan *plan);

/* Gives the next row of a shard: OK, DONE or a failure. The row is borrowed until the next call. */
typedef shardy_status (*shardy_next_row_fn)(void *user, shardy_row *row_out, shardy_error *err);

/* Builds one attempt of one shard from rows in any order and uploads it. Every row must belong to
 * the shard (COVERAGE otherwise). The result is JSON, to be given to shardy_winners_select().
 * Threads: any thread, any time (several attempts may run on one plan). */
SHARDY_API shardy_status shardy_attempt_build(const shardy_plan *plan, uint32_t db_id,
    uint32_t attempt, shardy_next_row_fn next_row, void *user, shardy_buf *result_json_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Chooses one attempt per shard: an attempt with data before an empty one, then the smallest
 * (attempt, task id, URL). The result is a JSON array in the order of the shards. COVERAGE when a
 * shard is out of range or missing. */
SHARDY_API shardy_status shardy_winners_select(const shardy_plan *plan,
    const shardy_bytes *results_json, size_t count, shardy_buf *winners_json_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Publishes the winners, once. Statuses as shardy_writer_finish(); MISUSE for a plan that was
 * published, or begun to be with other winners; UNSUPPORTED for one from JSON whose manifests are
 * in a database and that was read without it. Threads: one at a time. */
SHARDY_API shardy_status shardy_plan_publish(const shardy_plan *plan, shardy_bytes winners_json,
    shardy_build_result *result_out, shardy_error *err) SHARDY_MUST_USE;

/* Recomputes the shard of each key and compares. COVERAGE names the first keys that differ. */
SHARDY_API shardy_status shardy_verify_routing(const shardy_plan *plan, const shardy_key *keys,
    const uint32_t *db_ids, size_t count, shardy_error *err) SHARDY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
