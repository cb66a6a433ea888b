/* btree_leaf.h: look-ups of many keys that begin at a leaf, by the fence of their tree. */
#ifndef SHARDY_SQLITEFILE_BTREE_LEAF_H
#define SHARDY_SQLITEFILE_BTREE_LEAF_H

#include "btree_fence.h"

/* The status of a key that was not looked up. */
#define LEAF_UNKNOWN 1001

typedef struct leaf_call {
    const btree_tree *tree;   /* BTREE_INDEX, of a source that lends */
    const btree_fence *fence; /* of the same class as the keys */
    const shardy_bytes *keys;
    size_t count;
    uint32_t field;
    /* Values cleared by the caller, borrowed from the source. OK, NOT_FOUND, or LEAF_UNKNOWN: ask a
     * walk. */
    btree_answers answers;
} leaf_call;

/* Looks up what it can; returns how many keys it could not. Nothing is assumed of the file: what is
 * broken, rare or not at hand is LEAF_UNKNOWN, and a walk finds out. */
size_t shardy__leaf_get_many(const leaf_call *call);
/* The same for one key: its status. */
int32_t shardy__leaf_get(const leaf_call *call);

#endif
