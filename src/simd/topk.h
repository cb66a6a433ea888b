/* topk.h: the k best of many scores, with all that tie with the k-th: which of these belong to the
 * result depends on ids, which nobody knows here. A collector belongs to one thread at a time. */
#ifndef SHARDY_SIMD_TOPK_H
#define SHARDY_SIMD_TOPK_H

#include <shardyfusion/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct topk_entry {
    double score; /* lower is better */
    uint64_t row;
} topk_entry;

/* The fields may be read. */
typedef struct topk {
    topk_entry *entries;
    size_t count;
    size_t room;
    size_t k;
    size_t kept_max;
    double bound;  /* scores above it are not among the best; it only falls */
    bool overflow; /* more than kept_max scores are within the bound: nothing is kept any more */
} topk;

/* No memory is taken before the first row. kept_max (raised to k when it is less) bounds what is
 * kept, and so the memory: 16 bytes for each of 2 * kept_max + 16 entries. k may be 0. */
void shardy__topk_init(topk *t, size_t k, size_t kept_max);
void shardy__topk_free(topk *t); /* leaves an empty collector for the same k */

/* A row with its score; NaN is left out. Statuses: OK, also when it overflows; NOMEM. */
shardy_status shardy__topk_add(topk *t, uint64_t row, double score, shardy_error *err);

/* Leaves the k best scores and those that are equal to the k-th in entries[0 .. count - 1], sorted
 * by score, then row. More rows may be added later. Statuses: OK; EXHAUSTED after an overflow: then
 * more than kept_max rows tie, and `bound` is not below the k-th score. */
shardy_status shardy__topk_finish(topk *t, shardy_error *err);

#endif
