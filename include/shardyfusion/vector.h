/* vector.h: metrics, queries and hits of nearest-neighbour search.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_VECTOR_H
#define SHARDYFUSION_VECTOR_H

#include <shardyfusion/key.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Scores are distances: lower is better, whatever the engine. */
typedef enum shardy_vector_metric {
    SHARDY_VECTOR_METRIC_COSINE = 1, /* 1 - cos(query, vector) */
    SHARDY_VECTOR_METRIC_L2 = 2,     /* Euclidean distance, with the square root */
    SHARDY_VECTOR_METRIC_DOT = 3,    /* 1 - dot(query, vector); "dot_product" */
    SHARDY_VECTOR_METRIC_RESERVED_ = 32767
} shardy_vector_metric;

/* "cosine", "l2", "dot_product"; "unknown" for other values. Never NULL. */
SHARDY_API const char *shardy_vector_metric_name(int32_t metric);

/* The metric of a name; INVALID with the known names when there is none. */
SHARDY_API shardy_status shardy_vector_metric_parse(
    const char *name, int32_t *metric_out, shardy_error *err) SHARDY_MUST_USE;

/* One or many query vectors that are searched together. Borrowed for the call. */
typedef struct shardy_query {
    size_t struct_size;
    const float *vectors; /* `count` rows of `dim` floats, `stride` floats apart */
    size_t count;
    size_t stride; /* 0: dim */
    uint32_t dim;
    uint32_t top_k;            /* hits per query; 0 gives none */
    const uint32_t *shard_ids; /* NULL: all shards that the routing context allows */
    size_t shard_id_count;
} shardy_query;

/* Clears the struct; top_k becomes 10. */
SHARDY_API void shardy_query_init(shardy_query *query, size_t struct_size);

typedef struct shardy_hit {
    /* as it was written: int, uint (from 2^63) or text (the digits of what is larger) */
    shardy_key id;
    double score;
    uint32_t db_id;
    int32_t has_payload;
    shardy_bytes payload; /* JSON text as it was written */
} shardy_hit;

/* Hits of all queries, best first. Those of query q are hits[offsets[q]] up to hits[offsets[q + 1]
 * - 1]. Order: score, then integer ids before text ids, then id, then shard. A query has min(top_k,
 * vectors) hits. */
typedef struct shardy_hits {
    const shardy_hit *hits;
    const size_t *offsets; /* query_count + 1 of them */
    size_t query_count;
    uint32_t shards_searched;
    int32_t partial; /* 1: a shard failed and allow_partial was set */
    void *owner;
} shardy_hits;

/* Frees the content and clears the struct. NULL and cleared structs are fine. */
SHARDY_API void shardy_hits_dispose(shardy_hits *hits);

#ifdef __cplusplus
}
#endif
#endif
