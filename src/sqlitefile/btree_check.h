/* btree_check.h: looking at every page of the trees of a file, each of them once.
 *
 * A look-up goes by the pages on its way; a check goes to all of them: interior pages, leaves, and
 * the overflow pages of every payload. Each page must be of the type and depth of its tree, each
 * cell and payload must lie within it, rowids must ascend and agree with the interior pages above,
 * overflow chains must be as long as their payloads, and no page may be used twice.
 *
 * Pages are read ahead: of files that were written in one go, which have them in about the order of
 * the walk, some mebibytes at a time; else the children of an interior page together. Of payloads
 * no more is kept than is asked for.
 *
 * Threads: one at a time. */
#ifndef SHARDY_SQLITEFILE_BTREE_CHECK_H
#define SHARDY_SQLITEFILE_BTREE_CHECK_H

#include "../base/bytebuf.h"
#include "btree_read.h"

/* Places in the file that are read onwards side by side: rows, their overflow pages, interior
 * pages. */
#define BTREE_CHECK_RUNS 4u

typedef struct check_run {
    uint32_t begin; /* pages [begin, end) were asked for */
    uint32_t end;
    uint32_t steps; /* so often it went on */
} check_run;

typedef struct check_level {
    btree_walk walk;
    uint32_t next; /* children are even, the cells between them odd; of leaves the cell */
} check_level;

typedef struct btree_check_spec {
    const btree_file *file;
    shardy_context *context; /* for deadlines; may be NULL without timeout_ms */
    uint32_t timeout_ms;     /* of each request; 0: none */
    const shardy_cancel *cancel;
    /* NULL, or called after each mebibyte of pages; a failure ends the check */
    shardy_status (*tick)(void *user, shardy_error *err);
    void *user;
} btree_check_spec;

typedef struct btree_check {
    btree_check_spec spec;
    page_limits limits; /* of what is fetched next; see shardy__btree_check_renew() */
    uint32_t page;      /* that was looked at last: where the damage is after a failure */

    /* private */
    uint64_t *used;  /* a bit for each page */
    uint32_t ticked; /* pages since the last tick */
    check_run runs[BTREE_CHECK_RUNS];
    uint32_t run; /* to be replaced next */
    const struct btree_visit *visit;
    btree_tree tree;
    uint64_t entries;
    uint32_t depth;
    uint32_t leaf_depth;
    int32_t has_floor; /* tables: there were rowids, `floor` being the greatest */
    int64_t floor;
    bytebuf record;
    check_level *levels; /* BTREE_DEPTH_MAX of them */
} btree_check;

/* The rows of a table, or the entries of an index. */
typedef struct btree_visit {
    /* NULL, or called for each entry in the order of the tree. `record` is the begin of its
     * payload: what is asked for, or all of it when it is not as long. Borrowed until it
     * returns. */
    shardy_status (*entry)(
        void *user, const btree_cell *cell, shardy_bytes record, shardy_error *err);
    void *user;
    size_t record_max; /* bytes of the payload that are asked for */
    /* 1: overflow pages are looked at by others: see shardy__btree_check_use() */
    int32_t no_chains;
} btree_visit;

/* Statuses: OK, NOMEM. Free it in any case. */
shardy_status shardy__btree_check_init(
    btree_check *c, const btree_check_spec *spec, shardy_error *err);
void shardy__btree_check_free(btree_check *c);

/* Looks at the tree of a table or index of the schema; NULL: at the schema itself. *entries_out
 * gets the number of its entries.
 * Statuses: OK; CORRUPT and CHECKSUM (also from `entry`); other failures of `entry` and `tick`;
 * those of the source. After each of them other trees may be looked at. */
shardy_status shardy__btree_check_tree(btree_check *c, const schema_object *object,
    const btree_visit *visit, uint64_t *entries_out, shardy_error *err);

/* Sets the deadline in `limits` anew, for others that read pages of the file by them. */
void shardy__btree_check_renew(btree_check *c);

/* Notes that the page is used, by whoever looks at it. CORRUPT when it does not exist or is used
 * already; failures of `tick`. */
shardy_status shardy__btree_check_use(btree_check *c, uint32_t page, shardy_error *err);

#endif
