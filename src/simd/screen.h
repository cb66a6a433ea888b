/* screen.h: the best rows by exact score, without computing the exact score of each. Rows are
 * compared with the queries in single precision; only a row that may be better than the k-th so
 * far, whatever rounding did, is scored exactly, while it is still in the cache.
 *
 * Use: prepare each query, scan all rows, finish the collectors: they hold exact scores. */
#ifndef SHARDY_SIMD_SCREEN_H
#define SHARDY_SIMD_SCREEN_H

#include "exact.h"
#include "kernels.h"
#include "topk.h"

/* A prepared query; read-only afterwards, so threads may share it. */
typedef struct screen_query {
    exact_query exact;
    float scale;     /* cosine: 1 / length of the query */
    float slope;     /* margin for each unit of size */
    float fixed;     /* margin at least */
    bool exact_only; /* single precision cannot serve this query */
} screen_query;

/* The vector is borrowed. metric: shardy_vector_metric; dim: 1 .. SHARDY_DIM_MAX. */
void shardy__screen_prepare(screen_query *q, const float *vector, uint32_t dim, int32_t metric);

/* What decides on rows: a row whose floor is above the limit of a score has a worse exact score. A
 * floor is NaN or -INFINITY when single precision cannot tell. The rows are of the query's dim. */
void shardy__screen_floors(
    const simd_kernels *kernels, const screen_query *q, const simd_rows *rows, float *floors);
float shardy__screen_limit(const screen_query *q, double score);

/* Queries of one dimension and one metric, with a collector each. */
typedef struct screen_batch {
    const simd_kernels *kernels;
    const screen_query *queries;
    topk *collectors; /* those that overflowed are passed over */
    size_t count;
} screen_batch;

/* Offers rows to all collectors; row i is called ids[i] there, or i when ids is NULL. Any number of
 * rows; 64 or more at once are best. Rows that cannot be compared (exact.h) are left out. Statuses:
 * OK, NOMEM. */
shardy_status shardy__screen_scan(
    const screen_batch *batch, const simd_rows *rows, const uint64_t *ids, shardy_error *err);

#endif
