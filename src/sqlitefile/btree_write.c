#include "btree_write.h"

#include "../base/alloc.h"
#include "btree_page.h"
#include "page_out.h"
#include "page_shelf.h"
#include "schema.h"
#include "sidecar_write.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <string.h>

/* How trees grow. Level 0 is the leaf being filled, level i the interior page above it. A page that
 * is full is closed and goes up as an item (child, key) to the next level, where it becomes a cell:
 * "what is below `child` comes before `key`".
 *
 * In tables all rows are in leaves and the key is the last rowid of the child. In indexes the key
 * is a row of its own: the row that did not fit on a full leaf. So that no page is left without a
 * cell at the end, a row or item that does not fit waits (`pending`) until the next one comes: then
 * it goes up and the next one starts a page. If none comes, the last cell of the full page goes up
 * in its place and the waiting one starts the last page.
 *
 * An item that does not fit on an interior page is split by nature: its child becomes the
 * right-most child of the full page and its key goes up.
 *
 * Interior pages are put aside (page_shelf.h). Children of level 1 are leaves, whose page numbers
 * are known; children of higher levels are interior pages, named by their position in `interiors`
 * until all of them get their numbers at the end.
 *
 * Cost of a row of 16 + 100 bytes: a comparison of 8 key bytes, a copy of the key, of the row into
 * the leaf and of the leaf into the output; no allocation, no indirect call. */

#define CELL_MIN 4u /* SQLite gives every cell at least this many bytes */
/* SQLite's default limit of a row. */
#define PAYLOAD_MAX       1000000000u
#define LAST_VALUE_COPIED 4096u

typedef struct level {
    uint8_t *page; /* being filled; NULL: none yet */
    uint32_t cells;
    uint32_t content;  /* offset of the last cell */
    uint32_t last_len; /* its bytes */
    uint32_t interior; /* place of the page in `interiors` (not on level 0) */
    uint8_t *pending;
    uint32_t pending_len; /* 0: none */
} level;

#define LEVELS_MAX 20u

typedef struct tree {
    int32_t kind;     /* btree_object_kind */
    int32_t is_index; /* WITHOUT_ROWID or INDEX */
    uint32_t root;    /* 0: none */
    uint32_t key_fields;
    uint64_t rows;
    uint64_t last_window; /* first 8 bytes of the last key, padded with zeros */
    int64_t last_rowid;
    uint8_t *last; /* the last key (put_kv) or record (put_record) */
    size_t last_len;
    size_t last_room;
    int32_t last_is_record;
    uint32_t level_count;
    record_value *fields; /* of the last record */
    size_t field_room;
    char *name; /* with `table` and `sql` in one block */
    char *table;
    char *sql;
    level levels[LEVELS_MAX];
} tree;

/* An interior page; its bytes are on the shelf, at the same place. */
typedef struct interior {
    uint32_t tree;
    uint32_t number; /* page number, at the end */
    uint8_t level;
    uint8_t is_root;
    uint8_t is_full; /* it has no room for the header of the file */
} interior;

struct btree_writer {
    page_out out;
    uint32_t page_size;
    uint32_t index_local_max;
    uint32_t table_local_max;
    tree *trees; /* of the objects, then that of sqlite_schema */
    uint32_t object_count;
    interior *interiors;
    uint32_t interior_count;
    uint32_t interior_room;
    page_shelf shelf;
    uint8_t *scratch; /* records that overflow or have to be compared */
    size_t scratch_room;
    uint8_t *popped; /* a cell that was taken back off a page */
    int32_t sidecar;
    sidecar_list listed; /* pages of sqlite_schema and overflow chains, with `sidecar` */
    shardy_status failed;
    int32_t finished;
};

/* Pieces of a payload, one after the other. */
typedef struct pieces {
    shardy_bytes parts[3];
    uint32_t part;
    size_t at;
} pieces;

static void fill_from(pieces *from, uint8_t *dest, size_t len)
{
    while (len > 0) {
        const shardy_bytes *part = &from->parts[from->part];
        size_t n = part->len - from->at;
        if (n == 0) {
            from->part++;
            from->at = 0;
            continue;
        }
        n = n < len ? n : len;
        memcpy(dest, (const uint8_t *)part->data + from->at, n);
        from->at += n;
        dest += n;
        len -= n;
    }
}

/* --- pages ------------------------------------------------------------------------------------ */

static inline uint32_t header_len(uint32_t i)
{
    return i == 0 ? PAGE_LEAF_HEADER : PAGE_INTERIOR_HEADER;
}

static void clear_page(level *lv, uint32_t page_size)
{
    lv->cells = 0;
    lv->content = page_size;
    lv->last_len = 0;
}

/* Room for a cell of `len` bytes on the page of level i, or NULL. */
static inline uint8_t *place_cell(level *lv, uint32_t i, uint32_t len)
{
    uint32_t takes = len < CELL_MIN ? CELL_MIN : len;
    uint32_t pointer = header_len(i) + 2 * lv->cells;
    if (pointer + 2 + takes > lv->content) {
        return NULL;
    }
    lv->content -= takes;
    lv->last_len = len;
    lv->cells++;
    uint8_t *cell = lv->page + lv->content;
    if (takes != len) {
        memset(cell, 0, takes);
    }
    shardy__put_be16(lv->page + pointer, (uint16_t)lv->content);
    return cell;
}

/* Header and cell pointers of a sealed page. */
static uint32_t front_len(const uint8_t *image)
{
    int is_leaf = image[0] == PAGE_TABLE_LEAF || image[0] == PAGE_INDEX_LEAF;
    return header_len(!is_leaf) + 2 * (uint32_t)shardy__get_be16(image + 3);
}

static uint32_t content_of(const uint8_t *image)
{
    uint32_t content = shardy__get_be16(image + 5);
    return content ? content : PAGE_SIZE_MAX;
}

/* Whether a sealed page has room for the header of the file. */
static int fits_page_1(const uint8_t *image)
{
    return FILE_HEADER + front_len(image) <= content_of(image);
}

/* Writes a page header; what is between the pointers and the cells becomes zeros. */
static void seal_page(const tree *t, level *lv, uint32_t i)
{
    uint8_t *p = lv->page;
    uint32_t type = t->is_index ? PAGE_INDEX_LEAF : PAGE_TABLE_LEAF;
    p[0] = (uint8_t)(i == 0 ? type : type - (PAGE_TABLE_LEAF - PAGE_TABLE_INTERIOR));
    shardy__put_be16(p + 1, 0);
    shardy__put_be16(p + 3, (uint16_t)lv->cells);
    shardy__put_be16(p + 5, (uint16_t)lv->content); /* 65536 is written as 0 */
    p[7] = 0;
    uint32_t end = header_len(i) + 2 * lv->cells;
    memset(p + end, 0, lv->content - end);
}

static shardy_status add_interior(btree_writer *w, tree *t, uint32_t i, shardy_error *err)
{
    if (w->interior_count == w->interior_room) {
        uint32_t room = w->interior_room ? w->interior_room * 2 : 16;
        interior *interiors = shardy__realloc(w->interiors, room * sizeof *interiors);
        if (!interiors) {
            return shardy__error_nomem(err, "sqlite");
        }
        w->interiors = interiors;
        w->interior_room = room;
    }
    level *lv = &t->levels[i];
    lv->interior = w->interior_count;
    clear_page(lv, w->page_size);
    interior *in = &w->interiors[w->interior_count++];
    memset(in, 0, sizeof *in);
    in->tree = (uint32_t)(t - w->trees);
    in->level = (uint8_t)i;
    return SHARDY_OK;
}

static shardy_status open_level(btree_writer *w, tree *t, uint32_t i, shardy_error *err)
{
    if (i == LEVELS_MAX) {
        return shardy__error(err, SHARDY_INTERNAL, "sqlite", "tree of more than %u levels", i);
    }
    level *lv = &t->levels[i];
    lv->pending = shardy__malloc(t->is_index ? w->page_size : 32);
    if (!lv->pending) {
        return shardy__error_nomem(err, "sqlite");
    }
    lv->page = shardy__malloc(w->page_size);
    if (!lv->page) {
        return shardy__error_nomem(err, "sqlite");
    }
    clear_page(lv, w->page_size);
    if (i > 0) {
        SHARDY_TRY(add_interior(w, t, i, err));
    }
    t->level_count = i + 1;
    return SHARDY_OK;
}

/* The leaf goes out and gets its number; an empty one takes its place. */
static shardy_status close_leaf(btree_writer *w, tree *t, uint32_t *number_out, shardy_error *err)
{
    level *lv = &t->levels[0];
    uint8_t *bytes = NULL;
    seal_page(t, lv, 0);
    SHARDY_TRY(shardy__page_out_next(&w->out, number_out, &bytes, err));
    memcpy(bytes, lv->page, w->page_size);
    clear_page(lv, w->page_size);
    if (w->sidecar && t->root == 1) {
        shardy__sidecar_list_copy(&w->listed, *number_out, bytes);
    }
    return SHARDY_OK;
}

/* The interior page of level i is complete with this right-most child, and put aside. */
static shardy_status close_interior(
    btree_writer *w, tree *t, uint32_t i, uint32_t right, uint32_t *place_out, shardy_error *err)
{
    level *lv = &t->levels[i];
    seal_page(t, lv, i);
    shardy__put_be32(lv->page + 8, right);
    w->interiors[lv->interior].is_full = !fits_page_1(lv->page);
    *place_out = lv->interior;
    return shardy__page_shelf_put(&w->shelf, lv->interior, lv->page, err);
}

static void put_item(uint8_t *cell, uint32_t child, const uint8_t *key, uint32_t key_len)
{
    shardy__put_be32(cell, child);
    memcpy(cell + 4, key, key_len);
}

/* Brings an item to level `i`, and what becomes of it to those above. The key may lie in a
 * `pending` of a lower level: it is not touched before the key was copied. */
static shardy_status push_up(btree_writer *w, tree *t, uint32_t i, uint32_t child,
    const uint8_t *key, uint32_t key_len, shardy_error *err)
{
    for (;; i++) {
        if (i == t->level_count) {
            SHARDY_TRY(open_level(w, t, i, err));
        }
        level *lv = &t->levels[i];
        uint32_t len = 4 + key_len;
        uint8_t *cell = lv->pending_len ? NULL : place_cell(lv, i, len);
        if (cell) {
            put_item(cell, child, key, key_len);
            return SHARDY_OK;
        }
        if (!lv->pending_len) {
            put_item(lv->pending, child, key, key_len);
            lv->pending_len = len;
            return SHARDY_OK;
        }
        uint32_t closed = 0;
        SHARDY_TRY(close_interior(w, t, i, shardy__get_be32(lv->pending), &closed, err));
        SHARDY_TRY(add_interior(w, t, i, err));
        cell = place_cell(lv, i, len);
        if (!cell) {
            return shardy__error(
                err, SHARDY_INTERNAL, "sqlite", "item of %u bytes does not fit on a page", len);
        }
        put_item(cell, child, key, key_len);
        child = closed;
        key = lv->pending + 4;
        key_len = lv->pending_len - 4;
        lv->pending_len = 0;
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static shardy_status reserve_slow(
    btree_writer *w, tree *t, uint32_t len, uint8_t **cell_out, shardy_error *err)
{
    level *leaf = &t->levels[0];
    if (t->level_count == 0) {
        SHARDY_TRY(open_level(w, t, 0, err));
        *cell_out = place_cell(leaf, 0, len);
        return SHARDY_OK;
    }
    if (t->is_index && !leaf->pending_len) {
        leaf->pending_len = len;
        *cell_out = leaf->pending;
        return SHARDY_OK;
    }
    uint32_t number = 0;
    SHARDY_TRY(close_leaf(w, t, &number, err));
    if (t->is_index) {
        SHARDY_TRY(push_up(w, t, 1, number, leaf->pending, leaf->pending_len, err));
        leaf->pending_len = 0;
    } else {
        uint8_t key[RECORD_VARINT_MAX];
        uint32_t key_len = (uint32_t)shardy__varint_put(key, (uint64_t)t->last_rowid);
        SHARDY_TRY(push_up(w, t, 1, number, key, key_len, err));
    }
    *cell_out = place_cell(leaf, 0, len);
    return SHARDY_OK;
}

/* Where the next row of `len` bytes goes. */
static inline shardy_status reserve(
    btree_writer *w, tree *t, uint32_t len, uint8_t **cell_out, shardy_error *err)
{
    level *leaf = &t->levels[0];
    if (t->level_count > 0 && !leaf->pending_len) {
        *cell_out = place_cell(leaf, 0, len);
        if (*cell_out) {
            return SHARDY_OK;
        }
    }
    return reserve_slow(w, t, len, cell_out, err);
}

/* An overflow page of sqlite_schema: in sidecars like its other pages, unless the number of the
 * next page makes it look like a page of a tree. */
static void list_overflow(btree_writer *w, uint32_t number, const uint8_t *bytes)
{
    if (bytes[0] != 0 && w->listed.status >= 0) {
        w->listed.status = SHARDY_UNSUPPORTED;
    }
    shardy__sidecar_list_copy(&w->listed, number, bytes);
}

/* Writes what is left of a payload into overflow pages, one after the other. */
static shardy_status write_chain(btree_writer *w, const tree *t, pieces *from, uint64_t left,
    uint32_t *first_out, shardy_error *err)
{
    uint32_t state = 0;
    uint32_t count = 0;
    *first_out = shardy__page_out_peek(&w->out, &state);
    while (left > 0) {
        uint32_t number = 0;
        uint8_t *bytes = NULL;
        SHARDY_TRY(shardy__page_out_next(&w->out, &number, &bytes, err));
        size_t room = w->page_size - 4;
        size_t n = left < room ? (size_t)left : room;
        left -= n;
        state = 0;
        shardy__put_be32(bytes, left ? shardy__page_out_peek(&w->out, &state) : 0);
        fill_from(from, bytes + 4, n);
        memset(bytes + 4 + n, 0, room - n);
        count++;
        if (w->sidecar && t->root == 1) {
            list_overflow(w, number, bytes);
        }
    }
    if (w->sidecar) {
        shardy__sidecar_list_chain(&w->listed, *first_out, count);
    }
    return SHARDY_OK;
}

/* Any row: its payload from pieces, behind its rowid in tables. */
static shardy_status put_pieces(
    btree_writer *w, tree *t, int64_t rowid, pieces *from, uint64_t payload, shardy_error *err)
{
    uint8_t head[2 * RECORD_VARINT_MAX];
    size_t head_len = shardy__varint_put(head, payload);
    if (!t->is_index) {
        head_len += shardy__varint_put(head + head_len, (uint64_t)rowid);
    }
    uint32_t local_max = t->is_index ? w->index_local_max : w->table_local_max;
    uint32_t local = payload <= local_max
                         ? (uint32_t)payload
                         : shardy__page_local_split(w->page_size, local_max, payload);
    uint32_t chain = payload > local ? 4 : 0;
    uint32_t first = 0;
    if (chain) {
        pieces rest = *from;
        size_t skip = local;
        while (skip >= rest.parts[rest.part].len) {
            skip -= rest.parts[rest.part].len;
            rest.part++;
        }
        rest.at = skip;
        SHARDY_TRY(write_chain(w, t, &rest, payload - local, &first, err));
    }
    uint8_t *cell = NULL;
    SHARDY_TRY(reserve(w, t, (uint32_t)head_len + local + chain, &cell, err));
    memcpy(cell, head, head_len);
    fill_from(from, cell + head_len, local);
    if (chain) {
        shardy__put_be32(cell + head_len + local, first);
    }
    return SHARDY_OK;
}

static shardy_status keep_last(tree *t, const void *data, size_t len, shardy_error *err)
{
    if (len > t->last_room) {
        size_t room = len < 64 ? 64 : len + len / 2;
        uint8_t *last = shardy__realloc(t->last, room);
        if (!last) {
            return shardy__error_nomem(err, "sqlite");
        }
        t->last = last;
        t->last_room = room;
    }
    if (len) {
        memcpy(t->last, data, len);
    }
    t->last_len = len;
    return SHARDY_OK;
}

static shardy_status out_of_order(const tree *t, shardy_error *err)
{
    return shardy__error(err, SHARDY_INVALID, "sqlite",
        "key of row %llu of \"%s\" is not greater than the one before it",
        (unsigned long long)t->rows, t->name);
}

/* The tree of an object of one of two kinds, on which rows can be put; NULL when there is none. */
static tree *find_tree(btree_writer *w, uint32_t object, int32_t kind, int32_t other,
    shardy_status *status_out, shardy_error *err)
{
    *status_out = SHARDY_OK;
    if (w->failed < 0 || w->finished) {
        *status_out = shardy__error(err, SHARDY_MISUSE, "sqlite",
            "writer has failed or is finished, it can only be closed");
        return NULL;
    }
    if (object >= w->object_count ||
        (w->trees[object].kind != kind && w->trees[object].kind != other)) {
        *status_out = shardy__error(err, SHARDY_INVALID, "sqlite",
            "object %u of %u does not take rows of this kind", object, w->object_count);
        return NULL;
    }
    return &w->trees[object];
}

/* A failure leaves pages behind that nobody refers to: no more rows then. */
static inline shardy_status end_put(btree_writer *w, tree *t, shardy_status st)
{
    if (st < 0) {
        w->failed = st;
    } else {
        t->rows++;
    }
    return st;
}

static shardy_status check_key(tree *t, shardy_bytes key, shardy_error *err)
{
    uint64_t window = shardy__key_window(key.data, key.len);
    if (t->rows > 0 && window <= t->last_window) {
        size_t shorter = key.len < t->last_len ? key.len : t->last_len;
        int order = shorter ? memcmp(t->last, key.data, shorter) : 0;
        if (t->last_is_record || order > 0 || (order == 0 && t->last_len >= key.len)) {
            return out_of_order(t, err);
        }
    }
    t->last_window = window;
    return keep_last(t, key.data, key.len, err);
}

static shardy_status put_kv(
    btree_writer *w, tree *t, shardy_bytes key, shardy_bytes value, shardy_error *err)
{
    SHARDY_TRY(check_key(t, key, err));
    uint64_t key_type = (uint64_t)key.len * 2 + 12;
    uint64_t value_type = (uint64_t)value.len * 2 + 12;
    uint8_t types[1 + 2 * RECORD_VARINT_MAX];
    size_t types_len = 1;
    if (key_type < 0x80) {
        types[types_len++] = (uint8_t)key_type;
    } else {
        types_len += shardy__varint_put(types + types_len, key_type);
    }
    types_len += shardy__varint_put(types + types_len, value_type);
    types[0] = (uint8_t)types_len;
    uint64_t payload = types_len + key.len + value.len;
    if (payload > w->index_local_max) {
        pieces from = {{{types, types_len}, key, value}, 0, 0};
        return put_pieces(w, t, 0, &from, payload, err);
    }
    size_t len_len = shardy__varint_len(payload);
    uint8_t *cell = NULL;
    SHARDY_TRY(reserve(w, t, (uint32_t)(len_len + payload), &cell, err));
    cell += shardy__varint_put(cell, payload);
    memcpy(cell, types, types_len);
    cell += types_len;
    if (key.len) {
        memcpy(cell, key.data, key.len);
    }
    if (value.len) {
        memcpy(cell + key.len, value.data, value.len);
    }
    return SHARDY_OK;
}

shardy_status shardy__btree_put_kv(
    btree_writer *writer, uint32_t object, shardy_bytes key, shardy_bytes value, shardy_error *err)
{
    shardy_status st;
    tree *t = find_tree(writer, object, BTREE_OBJECT_WITHOUT_ROWID, 0, &st, err);
    if (!t) {
        return st;
    }
    if (t->key_fields != 1 || (t->rows > 0 && t->last_is_record)) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "\"%s\" has a key of several fields or rows of another form", t->name);
    }
    if (key.len > SHARDY_VALUE_LEN_MAX || value.len > SHARDY_VALUE_LEN_MAX ||
        key.len + value.len + 32 > PAYLOAD_MAX) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "row %llu of \"%s\" has %zu and %zu bytes, expected at most %u together",
            (unsigned long long)t->rows, t->name, key.len, value.len, PAYLOAD_MAX - 32);
    }
    return end_put(writer, t, put_kv(writer, t, key, value, err));
}

static shardy_status fit_scratch(btree_writer *w, size_t len, shardy_error *err)
{
    if (len <= w->scratch_room) {
        return SHARDY_OK;
    }
    size_t room = len < 4096 ? 4096 : len + len / 2;
    uint8_t *scratch = shardy__realloc(w->scratch, room);
    if (!scratch) {
        return shardy__error_nomem(err, "sqlite");
    }
    w->scratch = scratch;
    w->scratch_room = room;
    return SHARDY_OK;
}

/* Encodes a record into the scratch buffer. A long last value is not copied unless the record has
 * to be in one piece. */
static shardy_status encode(btree_writer *w, const tree *t, const record_value *values,
    size_t count, int in_one, pieces *from, shardy_error *err)
{
    uint64_t len = 0;
    for (size_t i = 0; i < count && len <= PAYLOAD_MAX; i++) {
        len += values[i].type >= RECORD_TEXT ? values[i].len : 8;
    }
    if (count == 0 || count > SCHEMA_COLUMNS_MAX || len > PAYLOAD_MAX - 32 * SCHEMA_COLUMNS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "row %llu of \"%s\" has %zu columns and %llu bytes or more, which is too many",
            (unsigned long long)t->rows, t->name, count, (unsigned long long)len);
    }
    const record_value *last = &values[count - 1];
    size_t behind =
        !in_one && last->type >= RECORD_TEXT && last->len > LAST_VALUE_COPIED ? last->len : 0;
    size_t front = (size_t)(shardy__record_len(values, count) - behind);
    SHARDY_TRY(fit_scratch(w, front, err));
    memset(from, 0, sizeof *from);
    from->parts[0] = (shardy_bytes){w->scratch, front};
    if (behind) {
        shardy__record_put_front(values, count, w->scratch);
        from->parts[1] = (shardy_bytes){last->data, behind};
    } else {
        shardy__record_put(values, count, w->scratch);
    }
    return SHARDY_OK;
}

/* Compares the key fields with those of the last record, which is kept encoded. */
static shardy_status check_record(
    tree *t, const record_value *values, size_t count, shardy_error *err)
{
    size_t fields = t->kind == BTREE_OBJECT_INDEX ? count : t->key_fields;
    if (fields > count) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "row %llu of \"%s\" has %zu columns, expected at least %zu",
            (unsigned long long)t->rows, t->name, count, fields);
    }
    if (fields > t->field_room) {
        record_value *room = shardy__realloc(t->fields, fields * sizeof *room);
        if (!room) {
            return shardy__error_nomem(err, "sqlite");
        }
        t->fields = room;
        t->field_room = fields;
    }
    if (t->rows == 0) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__record_parse(t->last, t->last_len, t->fields, fields, NULL, err));
    for (size_t i = 0; i < fields; i++) {
        int order = shardy__record_compare(&t->fields[i], &values[i]);
        if (order != 0) {
            return order < 0 ? SHARDY_OK : out_of_order(t, err);
        }
    }
    return out_of_order(t, err);
}

static shardy_status put_record(
    btree_writer *w, tree *t, const record_value *values, size_t count, shardy_error *err)
{
    pieces from;
    SHARDY_TRY(check_record(t, values, count, err));
    SHARDY_TRY(encode(w, t, values, count, 1, &from, err));
    SHARDY_TRY(keep_last(t, from.parts[0].data, from.parts[0].len, err));
    t->last_is_record = 1;
    return put_pieces(w, t, 0, &from, from.parts[0].len, err);
}

shardy_status shardy__btree_put_record(btree_writer *writer, uint32_t object,
    const record_value *values, size_t count, shardy_error *err)
{
    shardy_status st;
    tree *t = find_tree(writer, object, BTREE_OBJECT_WITHOUT_ROWID, BTREE_OBJECT_INDEX, &st, err);
    if (!t) {
        return st;
    }
    if (t->rows > 0 && !t->last_is_record) {
        return shardy__error(
            err, SHARDY_INVALID, "sqlite", "\"%s\" has rows of another form", t->name);
    }
    return end_put(writer, t, put_record(writer, t, values, count, err));
}

static shardy_status put_row(btree_writer *w, tree *t, int64_t rowid, const record_value *values,
    size_t count, shardy_error *err)
{
    if (t->rows > 0 && rowid <= t->last_rowid) {
        return out_of_order(t, err);
    }
    pieces from;
    SHARDY_TRY(encode(w, t, values, count, 0, &from, err));
    uint64_t len = (uint64_t)from.parts[0].len + from.parts[1].len;
    SHARDY_TRY(put_pieces(w, t, rowid, &from, len, err));
    t->last_rowid = rowid;
    return SHARDY_OK;
}

shardy_status shardy__btree_put_row(btree_writer *writer, uint32_t object, int64_t rowid,
    const record_value *values, size_t count, shardy_error *err)
{
    shardy_status st;
    tree *t = find_tree(writer, object, BTREE_OBJECT_TABLE, 0, &st, err);
    if (!t) {
        return st;
    }
    return end_put(writer, t, put_row(writer, t, rowid, values, count, err));
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Takes the last cell back off the page of level i; *cell_out stays until the next call. */
static void pop_cell(
    btree_writer *w, tree *t, uint32_t i, const uint8_t **cell_out, uint32_t *len_out)
{
    level *lv = &t->levels[i];
    memcpy(w->popped, lv->page + lv->content, lv->last_len);
    *cell_out = w->popped;
    *len_out = lv->last_len;
    lv->cells--;
    lv->content += lv->last_len < CELL_MIN ? CELL_MIN : lv->last_len;
}

static void place_pending(level *lv, uint32_t i)
{
    memcpy(place_cell(lv, i, lv->pending_len), lv->pending, lv->pending_len);
    lv->pending_len = 0;
}

/* A row still waits for its page: give it one. */
static shardy_status settle_leaf(btree_writer *w, tree *t, shardy_error *err)
{
    if (!t->levels[0].pending_len) {
        return SHARDY_OK;
    }
    const uint8_t *key = NULL;
    uint32_t key_len = 0;
    uint32_t number = 0;
    pop_cell(w, t, 0, &key, &key_len);
    SHARDY_TRY(close_leaf(w, t, &number, err));
    SHARDY_TRY(push_up(w, t, 1, number, key, key_len, err));
    place_pending(&t->levels[0], 0);
    return SHARDY_OK;
}

static shardy_status settle_interior(btree_writer *w, tree *t, uint32_t i, shardy_error *err)
{
    level *lv = &t->levels[i];
    if (!lv->pending_len) {
        return SHARDY_OK;
    }
    const uint8_t *cell = NULL;
    uint32_t len = 0;
    pop_cell(w, t, i, &cell, &len);
    uint32_t closed = 0;
    SHARDY_TRY(close_interior(w, t, i, shardy__get_be32(cell), &closed, err));
    SHARDY_TRY(add_interior(w, t, i, err));
    SHARDY_TRY(push_up(w, t, i + 1, closed, cell + 4, len - 4, err));
    place_pending(lv, i);
    return SHARDY_OK;
}

/* Copies a sealed page into its root; 0 when it does not fit beside the header of the file. */
static int write_root(btree_writer *w, const tree *t, const uint8_t *image)
{
    uint8_t *root = shardy__page_out_root(&w->out, t->root);
    if (t->root != 1) {
        memcpy(root, image, w->page_size);
        return 1;
    }
    if (!fits_page_1(image)) {
        return 0;
    }
    uint32_t front = front_len(image);
    uint32_t content = content_of(image);
    memcpy(root + FILE_HEADER, image, front);
    memcpy(root + content, image + content, w->page_size - content);
    return 1;
}

/* Page 1 without cells, as SQLite makes it: all is below its right-most child. */
static void write_bare_root(btree_writer *w, uint32_t child)
{
    uint8_t *p = shardy__page_out_root(&w->out, 1) + FILE_HEADER;
    p[0] = PAGE_TABLE_INTERIOR;
    shardy__put_be16(p + 5, (uint16_t)w->page_size);
    shardy__put_be32(p + 8, child);
}

/* Closes all levels of a tree. Its root is written now when it is a leaf, else with the interior
 * pages. */
static shardy_status finish_tree(btree_writer *w, tree *t, shardy_error *err)
{
    if (t->root == 0) {
        return SHARDY_OK;
    }
    if (t->level_count == 0) {
        SHARDY_TRY(open_level(w, t, 0, err));
    }
    SHARDY_TRY(settle_leaf(w, t, err));
    if (t->level_count == 1) {
        seal_page(t, &t->levels[0], 0);
        if (write_root(w, t, t->levels[0].page)) {
            return SHARDY_OK;
        }
    }
    uint32_t child = 0;
    SHARDY_TRY(close_leaf(w, t, &child, err));
    if (t->level_count == 1) {
        write_bare_root(w, child);
        return SHARDY_OK;
    }
    for (uint32_t i = 1; i < t->level_count; i++) {
        SHARDY_TRY(settle_interior(w, t, i, err));
        SHARDY_TRY(close_interior(w, t, i, child, &child, err));
    }
    w->interiors[child].is_root = 1;
    return SHARDY_OK;
}

/* Positions in `interiors` to page numbers, in the pages above level 1. */
static void patch_children(const btree_writer *w, uint8_t *image)
{
    uint32_t cells = shardy__get_be16(image + 3);
    for (uint32_t i = 0; i < cells; i++) {
        uint8_t *cell = image + shardy__get_be16(image + PAGE_INTERIOR_HEADER + 2 * i);
        shardy__put_be32(cell, w->interiors[shardy__get_be32(cell)].number);
    }
    shardy__put_be32(image + 8, w->interiors[shardy__get_be32(image + 8)].number);
}

/* 1 when the page keeps the number of its tree's root. */
static int goes_to_root(const btree_writer *w, const interior *in)
{
    return in->is_root && (w->trees[in->tree].root != 1 || !in->is_full);
}

/* Numbers all interior pages, upper levels first, then writes them in that order. */
static shardy_status write_interiors(btree_writer *w, shardy_error *err)
{
    uint32_t state = 0;
    for (uint32_t lv = LEVELS_MAX; lv-- > 1;) {
        for (uint32_t i = 0; i < w->interior_count; i++) {
            interior *in = &w->interiors[i];
            if (in->level == lv) {
                in->number = goes_to_root(w, in) ? w->trees[in->tree].root
                                                 : shardy__page_out_peek(&w->out, &state);
            }
        }
    }
    for (uint32_t lv = LEVELS_MAX; lv-- > 1;) {
        for (uint32_t i = 0; i < w->interior_count; i++) {
            interior *in = &w->interiors[i];
            if (in->level != lv) {
                continue;
            }
            uint8_t *image = NULL;
            SHARDY_TRY(shardy__page_shelf_get(&w->shelf, i, &image, err));
            if (lv > 1) {
                patch_children(w, image);
                SHARDY_TRY(shardy__page_shelf_put(&w->shelf, i, image, err));
            }
            if (goes_to_root(w, in)) {
                write_root(w, &w->trees[in->tree], image);
                continue;
            }
            uint32_t number = 0;
            uint8_t *bytes = NULL;
            SHARDY_TRY(shardy__page_out_next(&w->out, &number, &bytes, err));
            memcpy(bytes, image, w->page_size);
            if (in->is_root) {
                write_bare_root(w, number);
            }
        }
    }
    return SHARDY_OK;
}

static shardy_status put_schema(btree_writer *w, shardy_error *err)
{
    tree *schema = &w->trees[w->object_count];
    for (uint32_t i = 0; i < w->object_count; i++) {
        const tree *t = &w->trees[i];
        const char *type = t->kind == BTREE_OBJECT_INDEX ? "index" : "table";
        record_value values[5] = {shardy__record_text(type, strlen(type)),
            shardy__record_text(t->name, strlen(t->name)),
            shardy__record_text(t->table, strlen(t->table)), shardy__record_int(t->root),
            t->sql ? shardy__record_text(t->sql, strlen(t->sql)) : shardy__record_null()};
        SHARDY_TRY(end_put(w, schema, put_row(w, schema, (int64_t)i + 1, values, 5, err)));
    }
    return SHARDY_OK;
}

/* The header as SQLite 3.40.1 leaves it after one transaction. */
static void write_file_header(btree_writer *w)
{
    uint8_t *h = shardy__page_out_root(&w->out, 1);
    memcpy(h, FILE_MAGIC, sizeof FILE_MAGIC);
    shardy__put_be16(h + 16, (uint16_t)(w->page_size == PAGE_SIZE_MAX ? 1 : w->page_size));
    h[18] = 1; /* rollback journal */
    h[19] = 1;
    h[20] = 0; /* reserved bytes */
    h[21] = 64;
    h[22] = 32;
    h[23] = 32;
    shardy__put_be32(h + 24, 1); /* change counter */
    shardy__put_be32(h + 28, w->out.next_page - 1);
    shardy__put_be32(h + 40, 1); /* schema cookie */
    shardy__put_be32(h + 44, 4); /* schema format */
    shardy__put_be32(h + 56, 1); /* UTF-8 */
    shardy__put_be32(h + 92, 1); /* the change counter for which the page count holds */
    shardy__put_be32(h + 96, 3040001);
}

static shardy_status finish(btree_writer *w, btree_file_stats *stats, shardy_error *err)
{
    for (uint32_t i = 0; i < w->object_count; i++) {
        SHARDY_TRY(finish_tree(w, &w->trees[i], err));
        stats->rows += w->trees[i].rows;
    }
    SHARDY_TRY(put_schema(w, err));
    SHARDY_TRY(finish_tree(w, &w->trees[w->object_count], err));
    SHARDY_TRY(write_interiors(w, err));
    write_file_header(w);
    SHARDY_TRY(shardy__page_out_finish(&w->out, err));
    stats->page_count = w->out.next_page - 1;
    stats->size = (uint64_t)stats->page_count * w->page_size;
    if (w->out.digests) {
        stats->sums = w->out.sums;
        stats->sum_count = w->out.sum_count;
        SHARDY_TRY(shardy__sums_digest(stats->sums, stats->sum_count, &stats->digest, err));
    }
    return SHARDY_OK;
}

shardy_status shardy__btree_writer_finish(
    btree_writer *writer, btree_file_stats *stats_out, shardy_error *err)
{
    memset(stats_out, 0, sizeof *stats_out);
    if (writer->failed < 0 || writer->finished) {
        return shardy__error(err, SHARDY_MISUSE, "sqlite",
            "writer has failed or is finished, it can only be closed");
    }
    shardy_status st = finish(writer, stats_out, err);
    writer->finished = 1;
    writer->failed = st;
    return st;
}

shardy_status shardy__btree_writer_sidecar(
    btree_writer *writer, const btree_sink *sink, uint64_t *len_out, shardy_error *err)
{
    *len_out = 0;
    if (!writer->sidecar || !writer->finished || writer->failed < 0) {
        return shardy__error(
            err, SHARDY_MISUSE, "sqlite", "writer is not finished, or was not told of a sidecar");
    }
    shardy__sidecar_list_page(&writer->listed, 1, shardy__page_out_root(&writer->out, 1));
    for (uint32_t i = 0; i < writer->interior_count; i++) {
        const interior *in = &writer->interiors[i];
        if (in->number != 1) {
            shardy__sidecar_list_shelved(&writer->listed, in->number, i);
        }
    }
    return shardy__sidecar_write(&writer->listed, sink, len_out, err);
}

/* --- making and closing ----------------------------------------------------------------------- */

void shardy__btree_writer_options_init(btree_writer_options *options)
{
    memset(options, 0, sizeof *options);
    options->page_size = 4096;
    options->digests = 1;
}

static shardy_status check_object(const btree_object *object, size_t i, shardy_error *err)
{
    int known = object->kind >= BTREE_OBJECT_TABLE && object->kind <= BTREE_OBJECT_VIRTUAL;
    if (!known || !object->name || (!object->sql && object->kind != BTREE_OBJECT_INDEX) ||
        (object->kind == BTREE_OBJECT_INDEX && !object->table) ||
        (object->kind == BTREE_OBJECT_WITHOUT_ROWID && object->key_fields == 0)) {
        return shardy__error(
            err, SHARDY_INVALID, "sqlite", "object %zu lacks its kind, name, table, sql or key", i);
    }
    return SHARDY_OK;
}

static shardy_status init_tree(tree *t, const btree_object *object, shardy_error *err)
{
    const char *table = object->table ? object->table : object->name;
    size_t name_len = strlen(object->name) + 1;
    size_t table_len = strlen(table) + 1;
    size_t sql_len = object->sql ? strlen(object->sql) + 1 : 0;
    t->kind = object->kind;
    t->is_index = object->kind == BTREE_OBJECT_WITHOUT_ROWID || object->kind == BTREE_OBJECT_INDEX;
    t->key_fields = object->key_fields;
    t->name = shardy__malloc(name_len + table_len + sql_len);
    if (!t->name) {
        return shardy__error_nomem(err, "sqlite");
    }
    memcpy(t->name, object->name, name_len);
    t->table = t->name + name_len;
    memcpy(t->table, table, table_len);
    if (sql_len) {
        t->sql = t->table + table_len;
        memcpy(t->sql, object->sql, sql_len);
    }
    return SHARDY_OK;
}

static shardy_status init_writer(
    btree_writer *w, const btree_writer_options *options, shardy_error *err)
{
    w->page_size = options->page_size;
    w->sidecar = options->sidecar;
    shardy__sidecar_list_init(&w->listed, w->page_size);
    shardy__page_shelf_init(&w->shelf, w->page_size, options->scratch_dir);
    w->listed.shelf = &w->shelf;
    w->index_local_max = shardy__page_index_local_max(w->page_size);
    w->table_local_max = shardy__page_table_local_max(w->page_size);
    w->popped = shardy__malloc(w->page_size);
    w->trees = shardy__calloc(options->object_count + 1, sizeof *w->trees);
    if (!w->popped || !w->trees) {
        return shardy__error_nomem(err, "sqlite");
    }
    uint32_t roots = 1;
    for (size_t i = 0; i < options->object_count; i++) {
        SHARDY_TRY(check_object(&options->objects[i], i, err));
        SHARDY_TRY(init_tree(&w->trees[i], &options->objects[i], err));
        w->object_count++;
        if (options->objects[i].kind != BTREE_OBJECT_VIRTUAL) {
            w->trees[i].root = ++roots;
        }
    }
    static const btree_object schema = {BTREE_OBJECT_TABLE, "sqlite_schema", NULL, "", 0};
    SHARDY_TRY(init_tree(&w->trees[w->object_count], &schema, err));
    w->trees[w->object_count].root = 1;
    return shardy__page_out_init(
        &w->out, &options->sink, w->page_size, roots, options->digests, err);
}

shardy_status shardy__btree_writer_open(
    const btree_writer_options *options, btree_writer **writer_out, shardy_error *err)
{
    *writer_out = NULL;
    uint32_t size = options->page_size;
    if (size < PAGE_SIZE_MIN || size > PAGE_SIZE_MAX || (size & (size - 1)) != 0) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "page size %u, expected a power of two from 512 to 65536", size);
    }
    if (!options->sink.write || options->object_count > SCHEMA_OBJECTS_MAX) {
        return shardy__error(
            err, SHARDY_INVALID, "sqlite", "no sink, or more than %u objects", SCHEMA_OBJECTS_MAX);
    }
    btree_writer *w = shardy__calloc(1, sizeof *w);
    if (!w) {
        return shardy__error_nomem(err, "sqlite");
    }
    shardy_status st = init_writer(w, options, err);
    if (st < 0) {
        shardy__btree_writer_close(w);
        return st;
    }
    *writer_out = w;
    return SHARDY_OK;
}

static void free_tree(tree *t)
{
    shardy__free(t->name);
    shardy__free(t->last);
    shardy__free(t->fields);
    for (uint32_t i = 0; i < LEVELS_MAX; i++) {
        shardy__free(t->levels[i].page);
        shardy__free(t->levels[i].pending);
    }
}

void shardy__btree_writer_close(btree_writer *writer)
{
    if (!writer) {
        return;
    }
    for (uint32_t i = 0; writer->trees && i <= writer->object_count; i++) {
        free_tree(&writer->trees[i]);
    }
    shardy__page_shelf_free(&writer->shelf);
    shardy__free(writer->interiors);
    shardy__free(writer->trees);
    shardy__free(writer->scratch);
    shardy__free(writer->popped);
    shardy__sidecar_list_free(&writer->listed);
    shardy__page_out_free(&writer->out);
    shardy__free(writer);
}

/* --- choosing a page size --------------------------------------------------------------------- */

uint64_t shardy__page_size_percentile(uint64_t rows)
{
    /* ceil(rows * 0.95) - 1 as the reference computes it, in doubles. */
    double place = ceil((double)rows * 0.95);
    return place <= 1 ? 0 : (uint64_t)place - 1;
}

uint32_t shardy__page_size_recommend(const page_size_cell *cells, size_t count)
{
    uint32_t size = 4096;
    for (; size < PAGE_SIZE_MAX; size *= 2) {
        uint64_t room = shardy__page_index_local_max(size);
        size_t fits = 0;
        while (fits < count && cells[fits].value_len <= room && cells[fits].key_len <= room &&
               cells[fits].value_len + cells[fits].key_len + 12 <= room) {
            fits++;
        }
        if (fits == count) {
            return size;
        }
    }
    return size;
}
