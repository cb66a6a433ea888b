/* btree_read.h: reading SQLite files: their schema, look-ups and iteration over their B-trees.
 *
 * Every byte of the file is taken as hostile: each page that is visited is checked (type, cell
 * count, cell pointers, cells within the page, children within the file, depth), overflow chains
 * are bounded by the length they must have, and an iteration by the number of pages of the file.
 * What breaks the rules is CORRUPT.
 *
 * There is one walk (btree_walk). It is resumable: step() works with the pages that are at hand and
 * answers PENDING with the page it wants in walk->want; whoever drives it fetches the page (or many
 * pages of many walks at once) and steps again. get() is a loop of steps, get_many() goes round
 * over many walks.
 *
 * Threads: a btree_file is immutable after open: any thread, any time. A walk belongs to one thread
 * at a time. */
#ifndef SHARDY_SQLITEFILE_BTREE_READ_H
#define SHARDY_SQLITEFILE_BTREE_READ_H

#include "btree_cell.h"
#include "page_source.h"
#include "record.h"
#include "schema.h"

/* A tree of the largest file (2^32 pages) with the least fan-out that SQLite makes is not as
 * deep. */
#define BTREE_DEPTH_MAX 20u
/* Walks in flight of a batch over pages that are at hand: more than the misses a core can have open
 * at once. */
#define BTREE_BATCH_WALKS 24u
/* Walks in flight when pages have to be fetched: bounds the pages that are wanted at once. They go
 * level by level, so as many keys as this take one round trip for each level. At most 64 MiB are
 * held for them, if each wants another chunk. */
#define BTREE_BATCH_FETCHES 1024u

/* What look-ups have found out about a tree, for speed alone: wrong or missing hints do no harm. A
 * tree has the place root % BTREE_HINTS; trees with the same place take it from each other. */
#define BTREE_HINTS 8u

typedef struct btree_hint {
    _Atomic uint64_t depth; /* root << 8 | depth of the leaves */
    struct btree_fence *_Atomic fence;
    struct fence_maker *maker; /* guarded by `busy` */
    _Atomic int busy;
    _Atomic int done; /* the fence is made, or cannot be */
} btree_hint;

typedef struct btree_file {
    page_source *source;
    uint32_t page_size;
    uint32_t usable; /* bytes of a page less the reserved ones at its end */
    uint32_t page_count;
    uint32_t freelist_count;
    uint32_t index_local_max; /* longest payload that lies wholly on an index page */
    uint32_t table_local_max; /* the same for leaves of tables */
    uint32_t local_min;
    uint32_t user_version;
    uint32_t application_id;
    uint32_t schema_cookie;
    uint32_t object_count;
    btree_hint *hints; /* BTREE_HINTS of them */
    /* 1, the default: frequent look-ups may build a short cut (btree_fence.h). Set before it is
     * shared */
    int32_t fences;
    schema_object *objects; /* in the order of sqlite_schema */
    void *text;             /* what the names and sql of the objects point into */
} btree_file;

typedef enum btree_kind {
    BTREE_TABLE = 1, /* rows by rowid */
    BTREE_INDEX = 2  /* records in their own order: indexes and WITHOUT ROWID tables */
} btree_kind;

/* A tree of a file; a plain value. The windows are 8 bytes of the keys of the first and last cell
 * of its root page, for a first guess, when keys of class `window_type` are looked for. */
typedef struct btree_tree {
    const btree_file *file;
    uint32_t root;
    int32_t kind;
    uint64_t low_window;
    uint64_t high_window;
    int32_t window_type; /* RECORD_BLOB, RECORD_TEXT, RECORD_INT (rowids); RECORD_NULL: not known */
    uint32_t fetches_max; /* keys of a batch that wait at once; 0, as it is made: the bound above */
    /* of whatever waits for pages of it; NULL, as it is made: none. Borrowed */
    const page_limits *limits;
} btree_tree;

/* Opens a file: checks its header (magic, page size, UTF-8, rollback journal, length = pages x
 * size) and reads its schema. The source is taken always, also on failure.
 * Statuses: OK; CORRUPT (not such a file, or a broken one); UNSUPPORTED (WAL, UTF-16); CHECKSUM;
 * IO; NOMEM.
 * Ownership: yours, shardy__btree_close(). */
shardy_status shardy__btree_open_take(
    page_source *source, btree_file **file_out, shardy_error *err);
/* The same, but waits no longer than that: also TIMEOUT, CANCELLED. */
shardy_status shardy__btree_open_limited_take(
    page_source *source, const page_limits *limits, btree_file **file_out, shardy_error *err);
/* Closes the source too. NULL is fine. */
void shardy__btree_close(btree_file *file);

/* The object of that kind (SCHEMA_TABLE, ...) and name (ASCII case does not matter), or NULL.
 * Borrowed. */
const schema_object *shardy__btree_object(const btree_file *file, int32_t kind, const char *name);
/* The tree of a table or index. OK; NOT_FOUND; CORRUPT (root out of range); UNSUPPORTED (a view or
 * virtual table of that name, columns that we do not read). *object_out may be NULL. */
shardy_status shardy__btree_table(const btree_file *file, const char *name, btree_tree *tree_out,
    const schema_object **object_out, shardy_error *err);
shardy_status shardy__btree_index(
    const btree_file *file, const char *name, btree_tree *tree_out, shardy_error *err);

/* --- the walk --------------------------------------------------------------------------------- */

/* What to look for: in BTREE_TABLE trees an RECORD_INT, the rowid; in BTREE_INDEX trees a
 * RECORD_BLOB, RECORD_TEXT or RECORD_INT that is compared with the first column by SQLite's order.
 * The bytes are borrowed until the walk is over. */
typedef struct btree_key {
    int32_t type;
    int64_t integer;
    const void *data;
    size_t len;
} btree_key;

/* The entry on which a walk stands. The local part of its payload is borrowed from the page: it
 * stays until the walk moves on or ends, and for sources that lend (page_source.h) as long as the
 * source is held. */
typedef struct btree_cell {
    const uint8_t *local;
    uint32_t local_len;
    uint32_t overflow; /* first overflow page; 0: the payload is `local` */
    uint64_t payload_len;
    int64_t rowid; /* BTREE_TABLE only */
} btree_cell;

typedef struct btree_level {
    uint32_t page;
    uint32_t cell; /* the child that was taken, 0..cells; on leaves the entry */
} btree_level;

/* What a walk knows about a neighbour of the key: the nearest smaller or greater entry it has
 * passed. */
typedef struct btree_bound {
    uint64_t window; /* its 8 bytes from walk->skip; rowids in an order-preserving form */
    /* When `window` is that of the key, so that the difference lies behind it: leading bytes in
     * common with the key, and the 8 bytes from there. */
    uint64_t tail;
    size_t match;
} btree_bound;

/* Private but for `tree`, `cell` and `want`. */
typedef struct btree_walk {
    page_source *source;
    const uint8_t *page; /* of the current level; NULL: to be got */
    uint32_t usable;
    uint32_t index_local_max;
    uint32_t local_min;
    uint32_t key_is_text; /* 1 text, 0 blob, 2 neither */
    uint32_t page_no;
    uint32_t header; /* bytes of the page before its cell pointers */
    uint32_t cells;
    uint32_t first; /* the answer is a position in [first, last] */
    uint32_t last;
    uint32_t guess;
    uint8_t stage;
    uint8_t goal;
    uint8_t leaf;
    uint8_t probes; /* guesses made on this page */
    uint8_t known;  /* bits: 1 `low`, 2 `high` have a window */
    uint8_t key_type;
    uint8_t depth;      /* levels in use */
    uint8_t leaf_depth; /* of the tree, 0 when not known yet */
    cell_form form;     /* of the cells that were compared last */
    uint64_t window;    /* 8 bytes of the key from `skip`, big-endian, padded with zeros */
    btree_bound low;
    btree_bound high;
    const uint8_t *key;
    size_t key_len;
    size_t skip; /* leading bytes that all entries in reach have in common with the key */
    int64_t integer;
    uint64_t budget; /* pages that may still be entered */
    btree_tree tree;
    page_ref ref;
    page_want want;    /* after PENDING: the page to fetch */
    void *far;         /* comparison with a key that lies on overflow pages */
    uint8_t *loaded;   /* payload put together by shardy__btree_walk_payload() */
    uint32_t interior; /* 1: stands on a cell of an interior page */
    uint32_t reserved;
    btree_cell cell;
    btree_level levels[BTREE_DEPTH_MAX];
} btree_walk;

/* A walk over a tree, standing nowhere. End it always. One walk may be started again and again. */
void shardy__btree_walk_init(btree_walk *walk, const btree_tree *tree);
void shardy__btree_walk_end(btree_walk *walk);

/* Start, without I/O. find: the entry with that key; seek: the first whose key is not smaller;
 * first: the first of all; next: the one after the entry on which a seek, first or next stands (not
 * after find). */
void shardy__btree_walk_find(btree_walk *walk, const btree_key *key);
void shardy__btree_walk_seek(btree_walk *walk, const btree_key *key);
void shardy__btree_walk_first(btree_walk *walk);
void shardy__btree_walk_next(btree_walk *walk);

/* Goes on with the pages that are at hand. OK: stands on an entry (walk->cell); NOT_FOUND (find);
 * DONE (no more entries);
 * PENDING: fetch walk->want (shardy__page_fetch) and call again; CORRUPT, CHECKSUM. */
shardy_status shardy__btree_walk_step(btree_walk *walk, shardy_error *err);
/* The same but fetches what is wanted and waits; never PENDING. A scan asks for the next leaves
 * together with the one it needs, when the source can do that. */
shardy_status shardy__btree_walk_run(btree_walk *walk, shardy_error *err);

/* --- payloads --------------------------------------------------------------------------------- */

/* Pieces of a payload, straight from the pages. Private but for `want`. */
typedef struct btree_payload {
    const btree_file *file;
    const uint8_t *local;
    uint32_t local_left;
    uint32_t overflow;         /* next overflow page */
    uint64_t chain_left;       /* payload bytes in overflow pages not yet passed */
    uint64_t skip;             /* bytes before the range that is wanted */
    uint64_t left;             /* bytes of the range still to come */
    const page_limits *limits; /* of run(); NULL, as it is started: none. Borrowed */
    page_want want;
    page_ref ref;
} btree_payload;

/* The bytes [offset, offset + len) of the payload of a cell; cut at its end. CORRUPT when the chain
 * would need more pages than the file has. The cell's page must stay pinned (the walk must not
 * move) while local bytes are read. */
shardy_status shardy__btree_payload_start(btree_payload *payload, const btree_file *file,
    const btree_cell *cell, uint64_t offset, uint64_t len, shardy_error *err);
/* The next piece: OK, DONE, PENDING (fetch payload->want), CORRUPT, CHECKSUM. A piece stays until
 * the next call; for sources that lend, as long as the source is held. */
shardy_status shardy__btree_payload_next(
    btree_payload *payload, const uint8_t **data_out, size_t *len_out, shardy_error *err);
/* The same but fetches and waits; never PENDING. */
shardy_status shardy__btree_payload_run(
    btree_payload *payload, const uint8_t **data_out, size_t *len_out, shardy_error *err);
void shardy__btree_payload_end(btree_payload *payload);

/* Copies a part of the payload of a cell of that tree; waits. The part must lie within it. */
shardy_status shardy__btree_read(const btree_tree *tree, const btree_cell *cell, uint64_t offset,
    void *dest, size_t len, shardy_error *err);

/* The whole payload of the entry in one piece: on its page, or copied into memory of the walk that
 * stays until it moves. Waits. Longer ones than `len_max` are CORRUPT. */
shardy_status shardy__btree_walk_payload(
    btree_walk *walk, size_t len_max, shardy_bytes *payload_out, shardy_error *err);

/* Where a field of the entry's record lies in its payload; waits only when the header of the record
 * is on overflow pages. */
shardy_status shardy__btree_walk_field(
    btree_walk *walk, uint32_t field, record_column *column_out, shardy_error *err);

/* The first `count` fields of the entry's record. Text and blobs are borrowed as in
 * shardy__btree_walk_payload(). A column that is an alias of the rowid is NULL here; see
 * walk->cell.rowid. */
shardy_status shardy__btree_walk_record(
    btree_walk *walk, size_t len_max, record_value *values, size_t count, shardy_error *err);

/* --- values ----------------------------------------------------------------------------------- */

/* Bytes of one field (text or blob; anything else is CORRUPT) of the entry with that key.
 * Statuses: OK; NOT_FOUND; CORRUPT; CHECKSUM; IO; NOMEM.
 * Ownership: release *value_out; it is lent by the source (no copy, and it keeps the file's memory
 * alive) unless it lies on overflow pages or the source does not lend. No allocation for a value
 * that is lent. */
shardy_status shardy__btree_get(const btree_tree *tree, const btree_key *key, uint32_t field,
    shardy_buf *value_out, shardy_error *err);

/* Where the answers to many look-ups go: one of each for each key. */
typedef struct btree_answers {
    shardy_buf *values;
    int32_t *statuses;
} btree_answers;

/* The same for many keys at once: values and statuses (OK or NOT_FOUND) in the order of the keys,
 * which need not be sorted. Values that can be lent are *borrowed* (`release` is NULL): take one
 * hold on the source for the whole batch (shardy__page_source_hold) if they are to outlive it. On a
 * failure nothing is left to release. `keys` are of type `key_type` (RECORD_BLOB or RECORD_TEXT).
 * Statuses as shardy__btree_get(), without NOT_FOUND. With limits that have a context also TIMEOUT
 * and CANCELLED, whether it waits or not. */
shardy_status shardy__btree_get_many(const btree_tree *tree, int32_t key_type,
    const shardy_bytes *keys, size_t count, uint32_t field, btree_answers answers,
    shardy_error *err);
/* The same by rowid. */
shardy_status shardy__btree_get_rows(const btree_tree *tree, const int64_t *rowids, size_t count,
    uint32_t field, btree_answers answers, shardy_error *err);
/* Brings the pages of these rows into the cache of the source, but makes no values. */
shardy_status shardy__btree_touch_rows(const btree_tree *tree, const int64_t *rowids, size_t count,
    btree_answers answers, shardy_error *err);
/* Releases `count` values. */
void shardy__btree_values_clear(shardy_buf *values, size_t count);

#endif
