/* btree_step.h: what btree_walk.c offers to btree_get.c, steps so small that a batch can take turns
 * between them, and to btree_check.c, single pages. */
#ifndef SHARDY_SQLITEFILE_BTREE_STEP_H
#define SHARDY_SQLITEFILE_BTREE_STEP_H

#include "btree_cell.h"
#include "btree_read.h"

/* Design. What a walk touches on each page: the line with the page header and the first 26 cell
 * pointers, sometimes the line after it, then one line for each cell that is compared (a second one
 * when the key straddles). The page of the level above has told the keys on both sides, so the
 * first cell is a guess by interpolation on 8 key bytes, and most pages take two or three instead
 * of five; bisection takes over after WALK_GUESSES of them, so keys that are not evenly spread cost
 * at most that many more. A step ends after each prefetch, so that the waits of many walks overlap.
 * Most keys of files that are asked often do not come here: see btree_leaf.c.
 *
 * Keys are compared as 8-byte big-endian integers from `skip` on: both neighbours known share
 * `skip` bytes with the key, hence so does everything between them. Prefixes that all keys have in
 * common are passed over that way. In a file whose keys are out of order this may lead astray but
 * never to a wrong row, because the whole key is compared before a row is reported. */

/* Guesses by interpolation on one page before bisection. */
#define WALK_GUESSES 4u

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

/* An interior page, checked. */
typedef struct walk_page {
    const uint8_t *data;
    uint32_t header; /* bytes before the cell pointers */
    uint32_t cells;
    uint32_t right; /* the right-most child */
} walk_page;

/* An interior page of a tree that lies in memory for as long as its source is open: 1, or 0 when it
 * is not at hand, not an interior page, or broken. */
int shardy__walk_interior(const btree_tree *tree, uint32_t page_no, walk_page *page_out);
/* A cell of an interior page. The key stays where it is for as long as the source is open. */
typedef struct walk_separator {
    const uint8_t *key; /* index: of the tree's `window_type`, wholly on the page */
    size_t len;
    uint64_t rowid; /* table: order-preserving */
    uint32_t child;
} walk_separator;

/* Cell `i` of such a page: 1, or 0 when it has no such key. */
int shardy__walk_separator(
    const btree_tree *tree, const walk_page *page, uint32_t i, walk_separator *separator_out);

/* Asks for all interior pages, if the source can do so without waiting, the root is at hand, and
 * they are where btree_write puts them: together at the end of the file, from the first child of
 * the root on. Not if they take more than `bytes_max`. */
void shardy__walk_ask_interiors(
    const btree_tree *tree, uint64_t bytes_max, const page_limits *limits);

/* For whoever looks at every page: puts a walk, which is not started, on a page of its tree and
 * reads the header. Sets walk->leaf and walk->cells. OK, PENDING (fetch walk->want and call again),
 * CORRUPT, CHECKSUM. */
shardy_status shardy__walk_page(btree_walk *w, uint32_t page_no, shardy_error *err);
/* Then: the child of position `i`, 0 to walk->cells, of an interior page; and cell `i` as the entry
 * on which the walk stands, of interior pages of tables only its rowid. OK, CORRUPT. */
shardy_status shardy__walk_child(
    const btree_walk *w, uint32_t i, uint32_t *page_out, shardy_error *err);
shardy_status shardy__walk_cell(btree_walk *w, uint32_t i, shardy_error *err);

/* Sets the windows of a tree from its root, when that is at hand. */
void shardy__walk_learn(btree_tree *tree);

#endif
