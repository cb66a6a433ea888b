/* btree_step.h: what btree_walk.c offers to btree_get.c: steps so small that a batch can take turns
 * between them. */
#ifndef SHARDY_SQLITEFILE_BTREE_STEP_H
#define SHARDY_SQLITEFILE_BTREE_STEP_H

#include "btree_read.h"

/* The functions of the hot path are small for their readers and one function for the compiler. */
#define WALK_INLINE inline __attribute__((always_inline))

/* Guesses by interpolation on one page before bisection. */
#define WALK_GUESSES 4u

/* Bytes on either side of where a cell is expected that are asked for before the page has come: as
 * many lines as misses are free for a look-up by itself, few when others have misses open too. */
#define WALK_REACH       320u
#define WALK_REACH_BATCH 64u

/* A step was made and there are more. Never leaves this layer. */
#define WALK_MORE ((shardy_status)1000)

typedef enum walk_stage {
    WALK_IDLE = 0, /* not started, or failed */
    WALK_PAGE,     /* the page page_no is needed */
    WALK_POINTER,  /* the cell pointer of `guess` is on its way */
    WALK_PROBE,    /* the cell `guess` is on its way */
    WALK_FAR,      /* compares with overflow pages */
    WALK_NEXT,     /* goes on from the entry on which it stood */
    WALK_BACK,     /* a page above is needed again */
    WALK_REFUSED,  /* the key is too long */
    WALK_STANDS,
    WALK_OVER
} walk_stage;

typedef enum walk_goal {
    WALK_FIND = 0,
    WALK_SEEK,
    WALK_FIRST
} walk_goal;

/* One step of each walk whose status is WALK_MORE, ending at the next memory access that is worth
 * waiting for elsewhere. The statuses become those of shardy__btree_walk_step(), or stay
 * WALK_MORE. */
void shardy__walk_turn(btree_walk *walks, shardy_status *statuses, size_t count, shardy_error *err);

/* Sets the windows of a tree from its root, when that is at hand. */
void shardy__walk_learn(btree_tree *tree);

#endif
