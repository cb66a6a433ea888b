/* reader.h: reading a published snapshot.
 *
 * A reader is an atomic pointer to one immutable snapshot. Every call works on the snapshot that
 * was current when it began, to its end; shardy_reader_refresh() installs a newer one. Any number
 * of threads may use one reader at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_READER_H
#define SHARDYFUSION_READER_H

#include <shardyfusion/context.h>
#include <shardyfusion/manifest.h>
#include <shardyfusion/manifest_store.h>
#include <shardyfusion/sharding.h>
#include <shardyfusion/vector.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shardy_reader shardy_reader;
typedef struct shardy_snapshot shardy_snapshot;

typedef enum shardy_io_mode {
    SHARDY_IO_MMAP = 1, /* local files are mapped; truncating a published file breaks its promise */
    /* pages are read into buffers, each fill checked: for directories others can write */
    SHARDY_IO_PREAD = 2,
    SHARDY_IO_RESERVED_ = 32767
} shardy_io_mode;

/* How shards that are no local files are read. (Local files are always read where they are.) */
typedef enum shardy_access {
    /* by ranges when a shard is large, or all together are; else whole */
    SHARDY_ACCESS_AUTO = 1,
    SHARDY_ACCESS_DOWNLOAD = 2, /* whole, in parallel ranges into memory, when first asked */
    SHARDY_ACCESS_RANGE = 3,    /* only the parts that are needed, into a bounded cache */
    SHARDY_ACCESS_RESERVED_ = 32767
} shardy_access;

typedef struct shardy_reader_options {
    size_t struct_size;
    /* default NULL: what the pointer names; else a manifest ref, a run id, or "-N" for the N-th
     * newest manifest (0 is the newest) */
    const char *ref;
    /* default NULL: found from the manifest and the objects; else an override */
    const char *engine;
    int32_t io;               /* default SHARDY_IO_MMAP */
    uint32_t open_shards_max; /* default 1024: open shards kept, at least 1 */
    uint32_t fallback_max;    /* default 3: older manifests tried when the current one is damaged */
    /* default 30000: deadline of calls that name none, and of open and refresh */
    uint32_t timeout_ms;
    /* default NULL: from the URL; else read from this one (sys/store.h); borrowed until the reader
     * and all it handed out are closed */
    struct shardy_store *store;
    int32_t access; /* default SHARDY_ACCESS_AUTO: see shardy_access */
    int32_t reserved;
    /* AUTO takes ranges when a shard has so many bytes: default 16 MiB */
    uint64_t auto_shard_bytes;
    /* or when all shards of the snapshot have so many: default 2 GiB */
    uint64_t auto_total_bytes;
    /* default 64 MiB: parts of shards that are read by ranges are kept, up to so many bytes for all
     * shards of the reader; at least SHARDY_PAGE_CACHE_BYTES_MIN */
    uint64_t page_cache_bytes;
    /* default 0: no limit. Keys and queries that the reader and its snapshots look up: a call waits
     * for its turn; TIMEOUT at once when that would come after its deadline. */
    double max_reads_per_second;
    /* default NULL; the key that will be asked for first: where shards are read by ranges, the
     * index of its shard is read together with the manifest. Not kept */
    const shardy_key *first_key;
    /* default NULL: objects beside the shards; else where manifest and pointer are */
    const struct shardy_manifest_store_options *manifest_store;
    /* default NULL: shards of a store without local files that are read whole are read into memory;
     * else they are kept as files below this directory, which all readers of this user may share.
     * Shards that are read by ranges are not: for large ones set `access` to DOWNLOAD.
     * It is made when it is missing; in it the directory "shardyfusion-1", which must be this
     * user's own and closed to others. A full or failing disk fails no read: those go on in
     * memory */
    const char *cache_dir;
    /* default 10 GiB: what these files may have together, at least SHARDY_FILE_CACHE_BYTES_MIN;
     * those that were opened least recently are removed. Files that readers have open stay on the
     * disk until they are closed, and are not counted any more */
    uint64_t cache_bytes;
    const shardy_cancel *open_cancel; /* default NULL; of opening: not kept */
} shardy_reader_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_reader_options_init(shardy_reader_options *options, size_t struct_size);

typedef struct shardy_read_stats {
    uint32_t shards;        /* shards that were asked */
    uint32_t shards_opened; /* of these, opened by this call */
    uint64_t rows_found;
    uint64_t rows_absent;
    uint64_t vectors_scanned;
} shardy_read_stats;

/* Options of every read. NULL means these defaults. */
typedef struct shardy_read_options {
    size_t struct_size;
    const shardy_column *routing_context; /* default NULL: route by the key */
    size_t routing_context_count;
    uint32_t timeout_ms;         /* default 0: the reader's */
    int32_t allow_partial;       /* default 0: one failing shard fails the call */
    const shardy_cancel *cancel; /* default NULL */
    shardy_read_stats *stats;    /* default NULL; filled also when the call fails */
} shardy_read_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_read_options_init(shardy_read_options *options, size_t struct_size);

/* Opens a snapshot. `url` is a directory path, a file:// or an s3:// URL: of the place that holds
 * `_CURRENT`, or of the pointer itself. One whose last part begins with '_' is that of a pointer,
 * with a trailing slash ("_a/") that of a place. NULL context: a private one.
 * Statuses: OK; NOT_FOUND is never returned: a missing pointer is INVALID naming the place;
 * CORRUPT, FORMAT_VERSION, CHECKSUM (and no usable older manifest); GONE (the manifest was
 * deleted); CONFIG (manifests in Postgres: the shards of this one are elsewhere); UNSUPPORTED
 * (scheme, engine); IO, AUTH, TIMEOUT, CANCELLED, NOMEM. Ownership: yours. Threads: construction
 * only. */
SHARDY_API shardy_status shardy_reader_open(shardy_context *context, const char *url,
    const shardy_reader_options *options, shardy_reader **reader_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Value of a key. NOT_FOUND is an outcome, not an error: no message is made. The value is not
 * copied when the shard is mapped; it stays valid until it is released, also across refresh and
 * close.
 * Statuses: OK, NOT_FOUND; INVALID (key type or size against the encoding); ROUTE (routing context
 * needed or not allowed); CORRUPT, CHECKSUM, GONE, IO, TIMEOUT, CANCELLED, EXHAUSTED, FORKED,
 * NOMEM.
 * Ownership: release *value_out. Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_get(const shardy_reader *reader, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err) SHARDY_MUST_USE;

typedef struct shardy_value {
    int32_t status; /* OK, NOT_FOUND; with allow_partial also the failure of its shard */
    uint32_t db_id;
    shardy_bytes bytes;
} shardy_value;

/* Values in the order of the keys, duplicates included. */
typedef struct shardy_values {
    const shardy_value *values;
    size_t count;
    int32_t partial; /* 1: a shard failed and allow_partial was set */
    void *owner;
} shardy_values;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_values_dispose(shardy_values *values);

/* Values of many keys from one snapshot. Statuses and threads as shardy_reader_get(), without
 * NOT_FOUND.
 * Ownership: dispose of *values_out. */
SHARDY_API shardy_status shardy_reader_multi_get(const shardy_reader *reader,
    const shardy_key *keys, size_t key_count, const shardy_read_options *options,
    shardy_values *values_out, shardy_error *err) SHARDY_MUST_USE;

/* Nearest vectors of one or many queries.
 * Statuses: OK; INVALID (dimension, not finite, zero query under cosine, top_k or shard id out of
 * range); UNSUPPORTED (snapshot without vectors); otherwise as shardy_reader_get().
 * Ownership: dispose of *hits_out. Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_search(const shardy_reader *reader,
    const shardy_query *query, const shardy_read_options *options, shardy_hits *hits_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Installs the snapshot that the pointer names now. OK: another one was installed; NOT_MODIFIED: it
 * is the same. A failure keeps the old snapshot in service and is remembered for
 * shardy_reader_health(). Only for readers opened without `ref` (MISUSE otherwise). Statuses as
 * shardy_reader_open().
 * Threads: any thread, any time; one refresh runs at a time, others wait for it. */
SHARDY_API shardy_status shardy_reader_refresh(const shardy_reader *reader,
    const shardy_read_options *options, shardy_error *err) SHARDY_MUST_USE;

/* Holds the current snapshot, so that several reads see the same data whatever is published
 * meanwhile.
 * Statuses: OK, MISUSE, FORKED. Ownership: yours, close it with shardy_snapshot_close().
 * Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_pin(
    const shardy_reader *reader, shardy_snapshot **snapshot_out, shardy_error *err) SHARDY_MUST_USE;

/* The reads of a reader on a snapshot that is held: statuses, ownership and threads as there. */
SHARDY_API shardy_status shardy_snapshot_get(const shardy_snapshot *snapshot, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_snapshot_multi_get(const shardy_snapshot *snapshot,
    const shardy_key *keys, size_t key_count, const shardy_read_options *options,
    shardy_values *values_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_snapshot_search(const shardy_snapshot *snapshot,
    const shardy_query *query, const shardy_read_options *options, shardy_hits *hits_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_snapshot_close(shardy_snapshot *snapshot); /* NULL is fine; cannot fail */

/* What the manifest says. Statuses: OK, NOMEM, FORKED. Ownership: dispose of the output.
 * Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_snapshot_info(
    const shardy_reader *reader, shardy_snapshot_info *info_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_reader_shard_details(const shardy_reader *reader,
    shardy_shard_details *details_out, shardy_error *err) SHARDY_MUST_USE;

/* The shard that holds a key if any does; nothing is read. Statuses: OK, INVALID, ROUTE,
 * UNKNOWN_TOKEN, FORKED.
 * Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_route_key(const shardy_reader *reader, const shardy_key *key,
    const shardy_read_options *options, uint32_t *db_id_out, shardy_error *err) SHARDY_MUST_USE;

typedef enum shardy_explain_what {
    SHARDY_EXPLAIN_OPEN = 1,
    SHARDY_EXPLAIN_GET = 2,
    SHARDY_EXPLAIN_SEARCH = 3, /* of all shards */
    SHARDY_EXPLAIN_RESERVED_ = 32767
} shardy_explain_what;

typedef struct shardy_explain_request {
    size_t struct_size;
    int32_t what; /* shardy_explain_what; default SHARDY_EXPLAIN_OPEN */
    int32_t reserved;
    const shardy_key *key;              /* of GET */
    const shardy_read_options *options; /* default NULL; of GET, for its routing context */
} shardy_explain_request;

/* Writes the defaults into every field. */
SHARDY_API void shardy_explain_request_init(shardy_explain_request *request, size_t struct_size);

/* What is asked of a store that is no directory. A round trip is a step that has to wait for the
 * reply to the one before. */
typedef struct shardy_cost {
    uint32_t round_trips;
    uint32_t requests;
    uint64_t bytes;
} shardy_cost;

typedef struct shardy_explanation {
    int32_t access;  /* shardy_access, but not AUTO; 0: local files, which take no requests */
    int32_t sidecar; /* 1: the index of the shard is an object that is read instead of its tree */
    /* 1: a reader that was told the key when it was opened reads that index with the manifest; then
     * `cold` is that of such a reader */
    int32_t hint;
    /* 1: so many steps and requests, and at most so many bytes; the metric ROUND_TRIPS may count
     * one more, when a request is sent after the reply to one that it did not wait for. By ranges
     * that is said where rows are short on average; a value that is much longer than the others and
     * than its page takes more. 0: an estimate, because it depends on what is in the shard; where
     * only that is not known, whether the row fits its page, at least so many */
    int32_t exact;
    uint32_t shards;  /* that are asked */
    uint32_t db_id;   /* of GET */
    shardy_cost open; /* shardy_reader_open() */
    shardy_cost cold; /* that, and the first call */
    shardy_cost warm; /* a call on shards that were asked before, for something else */
} shardy_explanation;

/* Predicts what a call on the current snapshot would ask of its store, from the manifest: nothing
 * is read.
 * Statuses: OK; INVALID, ROUTE (key); UNSUPPORTED (no vectors; an engine of which it is not known);
 * CORRUPT, FORKED. Threads: any thread, any time. */
SHARDY_API shardy_status shardy_reader_explain(const shardy_reader *reader,
    const shardy_explain_request *request, shardy_explanation *explanation_out,
    shardy_error *err) SHARDY_MUST_USE;

typedef enum shardy_health_status {
    SHARDY_HEALTHY = 0,
    /* serving, but older than the threshold, or a refresh failed, or on a fallback */
    SHARDY_DEGRADED = 1,
    /* cannot serve: there is no engine for it, or a call found objects of the snapshot gone */
    SHARDY_UNHEALTHY = 2,
    SHARDY_HEALTH_RESERVED_ = 32767
} shardy_health_status;

typedef struct shardy_health {
    int32_t status;      /* shardy_health_status */
    int32_t verified;    /* see shardy_snapshot_info */
    int32_t fallback;    /* 1: an older manifest than the pointer's is served */
    uint32_t num_shards; /* num_dbs, empty shards included */
    uint32_t open_shards;
    int32_t refresh_status; /* of the last refresh: OK when it succeeded or none ran */
    double age_seconds;     /* of the snapshot: since its manifest was created */
    char reason[256];       /* why it is not healthy; "" when it is */
    char manifest_ref[1280];
    char refresh_message[512];
} shardy_health;

/* State of a reader, as far as opening it and its calls have told: nothing is asked of the store. A
 * negative threshold means none; otherwise a snapshot older than that many
 * seconds is DEGRADED. Cannot fail for a reader that is open. Statuses: OK, FORKED. Threads: any
 * thread, any time. */
SHARDY_API shardy_status shardy_reader_health(const shardy_reader *reader,
    double staleness_threshold_seconds, shardy_health *health_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Closes a reader after its last call has returned. Values, snapshots and hits that are still held
 * stay valid. In a child process it leaves what it inherited alone. NULL is fine; cannot fail.
 * Threads: construction only. */
SHARDY_API void shardy_reader_close(shardy_reader *reader);

#ifdef __cplusplus
}
#endif
#endif
