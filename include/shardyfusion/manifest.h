/* manifest.h: what is known about a snapshot and its shards.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_MANIFEST_H
#define SHARDYFUSION_MANIFEST_H

#include <shardyfusion/key.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A snapshot as its manifest describes it. Strings are owned by the struct. */
typedef struct shardy_snapshot_info {
    const char *run_id;
    const char *created_at;   /* ISO 8601, as written */
    const char *manifest_ref; /* as the pointer or the listing names it */
    const char *s3_prefix;    /* the prefix recorded by the writer */
    const char *engine;       /* "sqlite", "sqlite-vec", "slatedb", ... */
    const char *hash_algorithm;
    const char *cel_expr; /* NULL under hash sharding */
    const char *custom;   /* JSON object, compact, keys sorted */
    int32_t strategy;     /* shardy_sharding_strategy */
    int32_t key_encoding; /* shardy_key_encoding */
    uint32_t num_dbs;
    uint32_t shard_count; /* shards that hold rows */
    uint64_t row_count;
    uint64_t db_bytes;
    int32_t verified; /* 1: every object has a digest that is checked; 0: none were recorded */
    int32_t has_vectors;
    uint32_t dim;
    int32_t metric;      /* shardy_vector_metric; 0 without vectors */
    uint64_t generation; /* of the pointer; 0 when the pointer carries none */
    void *owner;
} shardy_snapshot_info;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_snapshot_info_dispose(shardy_snapshot_info *info);

/* One shard. Empty shards have no URL and no rows. */
typedef struct shardy_shard_detail {
    uint32_t db_id;
    uint32_t attempt;
    uint64_t row_count;
    uint64_t db_bytes;
    const char *db_url; /* as recorded; NULL: the shard is empty */
    const char *checkpoint_id;
    int32_t has_min_key;
    int32_t has_max_key;
    shardy_key min_key;
    shardy_key max_key;
} shardy_shard_detail;

/* All shards, num_dbs of them, in the order of their ids. */
typedef struct shardy_shard_details {
    const shardy_shard_detail *shards;
    size_t count;
    void *owner;
} shardy_shard_details;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_shard_details_dispose(shardy_shard_details *details);

#ifdef __cplusplus
}
#endif
#endif
