/* btree_fence.h: a short cut for look-ups: the separator keys of the interior pages of a tree in
 * one sorted array, so that a look-up begins at a leaf (or at the level above) instead of at the
 * root.
 *
 * It is made when a tree has been asked often enough, from pages that are at hand, a few at each
 * look-up, and takes about 20 bytes for each page that it points to (0.5 % of a file). Nothing
 * depends on it: a tree without one is walked from the root, and so is a key that a fence cannot
 * place for sure (equal to a separator in the bytes that it compares, or of another type). */
#ifndef SHARDY_SQLITEFILE_BTREE_FENCE_H
#define SHARDY_SQLITEFILE_BTREE_FENCE_H

#include "btree_read.h"

/* Separators of one fence: 9 MB with their buckets. */
#define FENCE_COUNT_MAX 524288u
/* Look-ups on one thread before a fence is worth making, and the pages that each look-up reads for
 * it from then on: about the time of twenty look-ups. */
#define FENCE_GETS  1024u
#define FENCE_PAGES 8u

/* A separator with the page of what comes before it. */
typedef struct fence_post {
    uint64_t window; /* 8 bytes of its key, or its rowid, in order-preserving form */
    uint32_t page;
    uint32_t reserved;
} fence_post;

/* Some posts that lie beside each other. So few buckets that they stay in the second-level cache,
 * because what a look-up of one key waits for adds up. */
#define FENCE_BUCKET 4u
typedef struct fence_bucket {
    uint32_t first; /* post of this bucket or of a later one */
    uint32_t page;  /* that it points to: the page of a key in this bucket is often near */
} fence_bucket;

/* Posts that are compared at once; so many behind the last one have the greatest window. */
#define FENCE_RUN 4u

typedef struct btree_fence {
    uint32_t root;
    int32_t key_type; /* RECORD_BLOB, RECORD_TEXT, or RECORD_INT for rowids */
    uint32_t count;   /* separators; there is one page more, in posts[count] */
    uint32_t depth;   /* of the pages; the root has depth 1 */
    uint32_t shift;   /* a window less `base`, shifted, is its bucket */
    uint32_t bucket_max;
    uint64_t base;         /* the window of the first separator */
    const uint8_t *prefix; /* that all keys begin with, in a page of the file */
    size_t skip;           /* its length */
    const fence_post *posts;
    const fence_bucket *buckets;
} btree_fence;

/* The bucket of a window; those beyond the last separator share the one behind the last bucket. */
static inline uint32_t shardy__fence_bucket(const btree_fence *f, uint64_t window)
{
    uint64_t bucket = window > f->base ? (window - f->base) >> f->shift : 0;
    return bucket < f->bucket_max ? (uint32_t)bucket : f->bucket_max;
}

/* The number of separators that are smaller than the window. */
static inline uint32_t shardy__fence_place(const btree_fence *f, uint64_t window)
{
    const fence_bucket *bucket = &f->buckets[shardy__fence_bucket(f, window)];
    uint32_t first = bucket[0].first;
    uint32_t n = bucket[1].first - first;
    while (n > FENCE_RUN) {
        uint32_t half = n / 2;
        first = f->posts[first + half - 1].window < window ? first + half : first;
        n -= half;
    }
    const fence_post *p = f->posts + first;
    return first + (p[0].window < window) + (p[1].window < window) + (p[2].window < window) +
           (p[3].window < window);
}

/* The fence of a tree, or NULL. Threads: any. */
static inline const btree_fence *shardy__fence_of(const btree_tree *tree)
{
    const btree_fence *fence = atomic_load_explicit(
        &tree->file->hints[tree->root % BTREE_HINTS].fence, memory_order_acquire);
    return fence && fence->root == tree->root ? fence : NULL;
}

/* Counts `gets` look-ups and makes the fence when it is time to. Cannot fail: without memory, or
 * with a tree that has no order, there is none. Only for sources with `base`. */
void shardy__fence_count(const btree_tree *tree, uint32_t gets);

/* Makes the fence now; what shardy__fence_count() does some day. */
void shardy__fence_make(const btree_tree *tree);

/* Frees what a place holds. */
void shardy__fence_free(btree_hint *hint);

#endif
