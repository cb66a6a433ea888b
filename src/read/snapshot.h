/* snapshot.h: one immutable snapshot, and the core that a reader and all its snapshots share. */
#ifndef SHARDY_READ_SNAPSHOT_H
#define SHARDY_READ_SNAPSHOT_H

#include "../base/context.h"
#include "../base/rate.h"
#include "../catalog/catalog.h"
#include "../engine/engine.h"
#include "../route/router.h"
#include "../sqlitefile/page_cache.h"
#include "../store/file_cache.h"
#include "pin.h"

#include <shardyfusion/reader.h>

/* What outlives a reader as long as a snapshot of it is held. Reference counted. */
typedef struct read_core {
    _Atomic uint32_t refs;
    shardy_context *context; /* one reference */
    uint64_t process;        /* generation in which it was opened */
    catalog catalog;
    shardy_reader_options options; /* strings are not kept */
    char engine[32];               /* override; "" for none */
    pin_domain pins;
    page_cache *pages;  /* of all shards that are read by ranges */
    file_cache *files;  /* of shards that are read whole; NULL: in memory */
    int32_t is_limited; /* 1: look-ups wait for `rate` */
    rate_limit rate;
} read_core;

void shardy__read_core_drop(read_core *core);

/* An open shard. Retired through the pin domain when it is evicted. */
typedef struct open_shard {
    pin_retired retired; /* first member */
    read_core *core;
    engine_reader engine;
    int32_t checked; /* 1: all bytes of its files were checked when it was opened */
} open_shard;

/* Where the open shard of a shard is kept. */
typedef struct shard_slot {
    _Atomic(open_shard *) shard; /* NULL: not open */
    _Atomic uint32_t used;       /* clock bit: asked since the hand passed last */
    uint32_t opening;            /* guarded by snapshot.lock: a thread is at it */
    _Atomic uint32_t distrusted; /* its file in the cache was damaged once: check all of it */
} shard_slot;

/* All that is derived from one manifest. Immutable but for the slots. */
struct shardy_snapshot {
    pin_retired retired; /* first member */
    _Atomic uint32_t refs;
    read_core *core;
    manifest *manifest;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char manifest_ref[SHARDY_URL_LEN_MAX + 1]; /* as the pointer names it */
    uint64_t generation;                       /* of the pointer; 0: unknown */
    uint64_t manifest_size;                    /* bytes of the image */
    uint64_t pointer_size;                     /* of the document; 0: it was not asked */
    int32_t pointer_ours;                      /* it promised the digest of the manifest */
    pointer_hint hint;                         /* of the pointer */
    int32_t verified; /* objects have digests, and the manifest had the one that was promised */
    int32_t fallback; /* an older manifest than the pointer's */
    router router;
    char engine_name[32];
    const shardy_engine_ops *engine; /* NULL: not in this build */
    int32_t has_vectors;
    int32_t ranges;    /* 1: shards are read by ranges; decided once for all of them */
    uint32_t *slot_of; /* by db_id; UINT32_MAX: the shard is empty */
    shard_slot *slots; /* one per row of the manifest */
    uint32_t slot_count;
    mutex lock; /* rank: before the pin domain's; guards opening, open_count, hand */
    condition opened;
    uint32_t open_count;
    uint32_t hand;
    _Atomic int32_t gone; /* 1: a look-up found an object missing that the manifest names */
};

/* Takes over a loaded manifest (always). Statuses: OK; UNSUPPORTED or INVALID (engine override);
 * CORRUPT; those of the store (finding the engine may look for objects); NOMEM. One reference is
 * the caller's. */
shardy_status shardy__snapshot_new_take(read_core *core, loaded_manifest *loaded,
    const char *manifest_ref, shardy_snapshot **snapshot_out, shardy_error *err);
void shardy__snapshot_hold(shardy_snapshot *snapshot);
void shardy__snapshot_drop(shardy_snapshot *snapshot);

/* Deadline and cancellation of one call. */
typedef struct call_limits {
    int64_t deadline_ns;
    const shardy_cancel *cancel;
} call_limits;

/* What the engine of a shard is opened with. It points at `path_out`. CORRUPT when the manifest has
 * no path for it. */
shardy_status shardy__snapshot_engine_spec(shardy_snapshot *snapshot, uint32_t slot,
    char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_engine_reader_spec *spec,
    shardy_error *err);

/* The open shard of a slot; opened by one thread while others wait. The domain must be pinned: the
 * shard stays open until unpin. *opened_out (may be NULL) becomes 1 when this call opened it.
 * Errors do not name the shard: callers do. */
shardy_status shardy__snapshot_shard(shardy_snapshot *snapshot, uint32_t slot,
    const call_limits *limits, open_shard **shard_out, int32_t *opened_out, shardy_error *err);

/* For who has the outcome of a look-up in a shard: what is gone is told by the health. */
void shardy__snapshot_note(shardy_snapshot *snapshot, shardy_status st);

/* For who met bytes that differ from their digest in a shard (NULL: in none). A file of the cache
 * may have been damaged since it was filled: then the shard is taken out of its slot and 1 is the
 * answer, and who asks for it again gets it with a file that was checked or downloaded anew. 0: the
 * bytes are not from there, or were checked already. */
int shardy__snapshot_distrust(shardy_snapshot *snapshot, uint32_t slot, open_shard *shard);

/* How the work of one call is spread over its shards. */
typedef struct shard_spread {
    pool *pool;     /* NULL: one shard after the other, on the calling thread */
    uint32_t waits; /* shards at work at once that wait for a store; 0: they wait for none */
} shard_spread;

/* `cold`: one of the shards at least is not open. `worth`: the work is more than handing it to
 * other threads. Shards that are far away are asked all at once, whatever `worth` says, by threads
 * that are there to wait: round trips do not add up over shards. */
shard_spread shardy__snapshot_spread(
    const shardy_snapshot *snapshot, uint32_t shards, int cold, int worth);
int shardy__snapshot_is_cold(const shardy_snapshot *snapshot, uint32_t slot);

/* Reads of a snapshot that is pinned or held. Argument checks are done. */
shardy_status shardy__snapshot_get(shardy_snapshot *snapshot, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err);
shardy_status shardy__snapshot_multi_get(shardy_snapshot *snapshot, const shardy_key *keys,
    size_t key_count, const shardy_read_options *options, shardy_values *values_out,
    shardy_error *err);
shardy_status shardy__snapshot_search(shardy_snapshot *snapshot, const shardy_query *query,
    const shardy_read_options *options, shardy_hits *hits_out, shardy_error *err);

/* Limits of a call from its options. */
call_limits shardy__call_limits(const read_core *core, const shardy_read_options *options);

#endif
