/* vec_best.h: the k best hits of a query in the order of hits (score, id, row), in bounded memory,
 * for a shard in which more vectors tie than can be kept. */
#ifndef SHARDY_ENGINE_VEC_BEST_H
#define SHARDY_ENGINE_VEC_BEST_H

#include "vec_tables.h"

/* The order of hits, for qsort. */
int shardy__vec_hit_compare(const void *a, const void *b);

/* A heap, the worst hit on top. Texts of ids belong to it. */
typedef struct vec_best {
    shardy_engine_hit *hits;
    size_t count;
    size_t k;
    double bound; /* what is above it is not among the best */
    vec_ids ids;
} vec_best;

/* k is at least 1. No score above `bound` is among the best. Statuses: OK, NOMEM. Free it in any
 * case. */
shardy_status shardy__vec_best_init(
    vec_best *b, const vec_tables *t, size_t k, double bound, shardy_error *err);
void shardy__vec_best_free(vec_best *b);

/* A vector with its score, which is not NaN. Its id is looked up when that decides. Statuses: OK;
 * those of shardy__vec_ids_get(). */
shardy_status shardy__vec_best_offer(vec_best *b, double score, int64_t rowid, shardy_error *err);

/* Sorts hits[0 .. count - 1]; nothing can be offered afterwards. */
void shardy__vec_best_finish(vec_best *b);

#endif
