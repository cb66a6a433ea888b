/* btree_walk.c: walks through a tree, from the root or from where a fence leads to, to an entry and
 * on from it. What a step is, which lines it touches and why it ends where it does is told in
 * btree_step.h, the interface to btree_get.c, which runs many walks in turns. Pages of any content
 * are survived: each offset is checked against the page before it is followed. */
#include "btree_read.h"

#include "../base/alloc.h"
#include "btree_cell.h"
#include "btree_fence.h"
#include "btree_page.h"
#include "btree_step.h"
#include "btree_window.h"

#include <shardyfusion/limits.h>

#include <stddef.h>
#include <string.h>

static shardy_status broken_page(const btree_walk *w, shardy_error *err, const char *what)
{
    return shardy__error(err, SHARDY_CORRUPT, "sqlite", "page %u is broken: %s", w->page_no, what);
}

/* --- pages ------------------------------------------------------------------------------------ */

static WALK_INLINE shardy_status take_page(btree_walk *w, shardy_error *err)
{
    if (w->want.page) {
        uint32_t wanted = w->want.page;
        w->want.page = 0;
        if (w->want.ref.data && wanted == w->page_no) {
            w->ref = w->want.ref;
            w->want.ref.data = NULL;
            w->want.ref.pin = NULL;
            w->page = w->ref.data;
            return SHARDY_OK;
        }
        shardy__page_unpin(w->source, &w->want.ref);
    }
    shardy_status st = shardy__page_get(w->source, w->page_no, &w->ref, err);
    if (st == SHARDY_OK) {
        w->page = w->ref.data;
    } else if (st == SHARDY_PENDING) {
        w->want.page = w->page_no;
        w->want.ahead = 0;
    }
    return st;
}

static WALK_INLINE shardy_status read_header(btree_walk *w, shardy_error *err)
{
    uint32_t base = w->page_no == 1 ? FILE_HEADER : 0;
    const uint8_t *p = w->page + base;
    uint32_t leaf_type = w->tree.kind == BTREE_TABLE ? PAGE_TABLE_LEAF : PAGE_INDEX_LEAF;
    uint32_t type = p[0];
    w->leaf = type == leaf_type;
    if (!w->leaf && type != leaf_type - (PAGE_TABLE_LEAF - PAGE_TABLE_INTERIOR)) {
        return broken_page(w, err, "type of another tree");
    }
    w->header = base + (w->leaf ? PAGE_LEAF_HEADER : PAGE_INTERIOR_HEADER);
    w->cells = shardy__get_be16(p + 3);
    if (w->header + 2 * w->cells > w->usable) {
        return broken_page(w, err, "more cells than it has room for");
    }
    w->levels[w->depth - 1].page = w->page_no;
    return SHARDY_OK;
}

static WALK_INLINE uint32_t cell_pointer(const btree_walk *w, uint32_t cell)
{
    return shardy__get_be16(w->page + w->header + 2 * cell);
}

/* 1 when a cell may start there. */
static WALK_INLINE int cell_in_page(const btree_walk *w, uint32_t at)
{
    return at >= w->header + 2 * w->cells && at + 4 <= w->usable;
}

static WALK_INLINE void leave_page(btree_walk *w)
{
    shardy__page_unpin(w->source, &w->ref);
    w->page = NULL;
}

/* Asks for the header of the next page and its first cell pointers. */
static WALK_INLINE void ask_for_page(const btree_walk *w)
{
    const uint8_t *hint = shardy__page_hint(w->source, w->page_no);
    if (hint) {
        __builtin_prefetch(hint);
        __builtin_prefetch(hint + 64);
    }
}

/* Where the number of the child of position `i`, 0 to cells, is; 0 when that is beyond the page. */
static WALK_INLINE uint32_t child_at(const btree_walk *w, uint32_t i)
{
    if (i == w->cells) {
        return w->header - 4;
    }
    uint32_t at = cell_pointer(w, i);
    return cell_in_page(w, at) ? at : 0;
}

static WALK_INLINE shardy_status descend(btree_walk *w, uint32_t i, shardy_error *err)
{
    uint32_t at = child_at(w, i);
    if (at == 0) {
        return broken_page(w, err, "cell beyond the page");
    }
    if (w->depth == BTREE_DEPTH_MAX) {
        return broken_page(w, err, "tree is too deep");
    }
    w->levels[w->depth - 1].cell = i;
    w->depth++;
    w->page_no = shardy__get_be32(w->page + at);
    leave_page(w);
    w->stage = WALK_PAGE;
    ask_for_page(w);
    return WALK_MORE;
}

/* --- cells ------------------------------------------------------------------------------------ */

/* Length of the payload and what of it is on the page: `p` and `room` are from the payload length
 * on. Sets *at_out to where the payload starts, behind the rowid in tables. */
static shardy_status parse_cell(btree_walk *w, const uint8_t *p, uint32_t room, size_t *at_out,
    btree_cell *cell_out, shardy_error *err)
{
    const btree_file *file = w->tree.file;
    uint64_t payload = 0;
    size_t n = shardy__varint_get(p, room, &payload);
    cell_out->rowid = 0;
    if (n && w->tree.kind == BTREE_TABLE) {
        uint64_t rowid = 0;
        size_t m = shardy__varint_get(p + n, room - n, &rowid);
        cell_out->rowid = (int64_t)rowid;
        n = m ? n + m : 0;
    }
    if (n == 0) {
        return broken_page(w, err, "cell is cut off");
    }
    uint32_t local_max =
        w->tree.kind == BTREE_TABLE ? file->table_local_max : file->index_local_max;
    uint32_t local = payload <= local_max ? (uint32_t)payload
                                          : shardy__page_local_split(w->usable, local_max, payload);
    cell_out->overflow = 0;
    size_t end = n + local;
    if (payload > local) {
        if (end + 4 > room) {
            return broken_page(w, err, "payload beyond the page");
        }
        cell_out->overflow = shardy__get_be32(p + end);
        if (cell_out->overflow == 0) {
            return broken_page(w, err, "payload without its overflow pages");
        }
    } else if (end > room) {
        return broken_page(w, err, "payload beyond the page");
    }
    cell_out->local = p + n;
    cell_out->local_len = local;
    cell_out->payload_len = payload;
    *at_out = n;
    return SHARDY_OK;
}

/* Makes cell `i` of this page the entry on which the walk stands. */
static shardy_status stand_on(btree_walk *w, uint32_t i, shardy_error *err)
{
    uint32_t at = cell_pointer(w, i);
    if (!cell_in_page(w, at)) {
        return broken_page(w, err, "cell beyond the page");
    }
    uint32_t child = w->leaf ? 0 : 4;
    size_t payload_at = 0;
    SHARDY_TRY(
        parse_cell(w, w->page + at + child, w->usable - at - child, &payload_at, &w->cell, err));
    w->levels[w->depth - 1].cell = i;
    w->interior = !w->leaf;
    w->stage = WALK_STANDS;
    return SHARDY_OK;
}

/* --- comparing -------------------------------------------------------------------------------- */

static btree_bound *bound_of(btree_walk *w, int order)
{
    return order < 0 ? &w->low : &w->high;
}

static void learn_bound(btree_walk *w, int less)
{
    w->known = (uint8_t)(w->known | (less ? 1 : 2));
}

/* Windows are equal: the rest decides. */
static shardy_status compare_rest(
    btree_walk *w, const uint8_t *key, size_t len, int *order_out, shardy_error *err)
{
    size_t shorter = len < w->key_len ? len : w->key_len;
    size_t at = w->skip + 8 < shorter ? w->skip + 8 : shorter;
    at += shardy__key_common(key + at, w->key + at, shorter - at);
    if (at == shorter && len == w->key_len) {
        *order_out = 0;
        size_t taken = w->skip < shorter ? w->skip : shorter;
        if (taken && memcmp(key, w->key, taken) != 0) {
            return broken_page(w, err, "keys are out of order");
        }
        return SHARDY_OK;
    }
    int less = at < shorter ? key[at] < w->key[at] : len < w->key_len;
    *order_out = less ? -1 : 1;
    btree_bound *bound = bound_of(w, *order_out);
    bound->window = w->window;
    bound->tail = shardy__key_window(key + at, len - at);
    bound->match = at;
    learn_bound(w, less);
    return SHARDY_OK;
}

/* A key of the right class that lies on its page as a whole. */
static shardy_status compare_key(btree_walk *w, const uint8_t *key, uint32_t len, uint32_t room,
    int *order_out, shardy_error *err)
{
    const cell_key entry = {key, len, room};
    uint64_t window = shardy__cell_window(&entry, w->skip);
    if (window == w->window) {
        return compare_rest(w, key, len, order_out, err);
    }
    int less = window < w->window;
    *order_out = less ? -1 : 1;
    bound_of(w, *order_out)->window = window;
    learn_bound(w, less);
    return SHARDY_OK;
}

/* The bound on that side is one of which nothing is known. */
static void forget_bound(btree_walk *w, int order)
{
    w->known = (uint8_t)(w->known & (order < 0 ? 2 : 1));
}

/* A comparison that has to read overflow pages; made when it is first needed. */
typedef struct far_key {
    btree_payload payload;
    uint64_t len; /* of the entry's key */
    size_t at;    /* bytes found equal */
} far_key;

/* Goes on with such a comparison. OK with the order, PENDING, or a failure. */
static shardy_status compare_far(btree_walk *w, int *order_out, shardy_error *err)
{
    far_key *f = w->far;
    f->payload.want = w->want;
    memset(&w->want, 0, sizeof w->want);
    for (;;) {
        if (f->at == w->key_len || f->at == f->len) {
            *order_out = (f->len > w->key_len) - (f->len < w->key_len);
            break;
        }
        const uint8_t *piece = NULL;
        size_t len = 0;
        shardy_status st = shardy__btree_payload_next(&f->payload, &piece, &len, err);
        if (st == SHARDY_PENDING) {
            w->want = f->payload.want;
            memset(&f->payload.want, 0, sizeof f->payload.want);
        }
        if (st != SHARDY_OK) {
            return st == SHARDY_DONE ? broken_page(w, err, "key ends too early") : st;
        }
        size_t shorter = w->key_len - f->at < len ? w->key_len - f->at : len;
        size_t same = shardy__key_common(piece, w->key + f->at, shorter);
        if (same < shorter) {
            *order_out = piece[same] < w->key[f->at + same] ? -1 : 1;
            break;
        }
        f->at += shorter;
    }
    shardy__btree_payload_end(&f->payload);
    forget_bound(w, *order_out);
    return SHARDY_OK;
}

static shardy_status start_far(
    btree_walk *w, const btree_cell *cell, uint64_t key_at, uint64_t key_len, shardy_error *err)
{
    if (!w->far) {
        w->far = shardy__calloc(1, sizeof(far_key));
        if (!w->far) {
            return shardy__error_nomem(err, "sqlite");
        }
    }
    far_key *f = w->far;
    f->len = key_len;
    f->at = 0;
    SHARDY_TRY(shardy__btree_payload_start(&f->payload, w->tree.file, cell, key_at, key_len, err));
    w->stage = WALK_FAR;
    return SHARDY_OK;
}

/* The class of the key is another one than the first column's, or both are numbers. */
static shardy_status compare_values(
    btree_walk *w, uint64_t serial, const uint8_t *data, int *order_out, shardy_error *err)
{
    record_value entry;
    SHARDY_TRY(shardy__record_value(serial, data, &entry, err));
    record_value key = {w->key_type, 0, w->integer, 0, w->key, w->key_len};
    int order = shardy__record_compare(&entry, &key);
    *order_out = order < 0 ? -1 : order > 0;
    forget_bound(w, *order_out);
    return SHARDY_OK;
}

/* Any record: `p` from the payload length on. WALK_MORE when the comparison goes on in stage
 * WALK_FAR. */
static shardy_status probe_record(
    btree_walk *w, const uint8_t *p, uint32_t room, int *order_out, shardy_error *err)
{
    btree_cell cell;
    size_t at = 0;
    SHARDY_TRY(parse_cell(w, p, room, &at, &cell, err));
    uint64_t header_len = 0;
    uint64_t serial = 0;
    size_t n = shardy__varint_get(cell.local, cell.local_len, &header_len);
    size_t m = n ? shardy__varint_get(cell.local + n, cell.local_len - n, &serial) : 0;
    uint64_t len = shardy__serial_len(serial);
    if (m == 0 || header_len < n + m || header_len > cell.payload_len ||
        len > cell.payload_len - header_len) {
        return broken_page(w, err, "record is broken");
    }
    int same_class = serial >= 12 && (int)shardy__serial_type(serial) == w->key_type;
    if (header_len + (serial >= 12 && !same_class ? 0 : len) <= cell.local_len) {
        const uint8_t *key = cell.local + header_len;
        if (same_class) {
            return compare_key(
                w, key, (uint32_t)len, cell.local_len - (uint32_t)header_len, order_out, err);
        }
        return compare_values(w, serial, key, order_out, err);
    }
    if (!same_class) {
        /* The class alone decides, unless a number lies behind a header that is longer than the
         * page's part. */
        if (serial < 12 && w->key_type == RECORD_INT) {
            return broken_page(w, err, "header of the record is too long");
        }
        int less = (int)shardy__serial_type(serial) < w->key_type;
        *order_out = less ? -1 : 1;
        forget_bound(w, *order_out);
        return SHARDY_OK;
    }
    SHARDY_TRY(start_far(w, &cell, header_len, len, err));
    return WALK_MORE;
}

static WALK_INLINE int find_rowid(
    const btree_walk *w, const uint8_t *p, uint32_t room, uint64_t *window_out)
{
    size_t n = 0;
    if (w->leaf) {
        n = shardy__varint_get(p, room, window_out);
        if (n == 0) {
            return 0;
        }
    }
    size_t m = shardy__varint_get(p + n, room - n, window_out);
    *window_out ^= (uint64_t)1 << 63;
    return m != 0;
}

/* --- searching a page ------------------------------------------------------------------------- */

/* Leading bytes that a bound has in common with the key. */
static WALK_INLINE size_t bound_match(const btree_walk *w, const btree_bound *bound)
{
    uint64_t differ = bound->window ^ w->window;
    return differ ? w->skip + ((size_t)__builtin_clzll(differ) >> 3) : bound->match;
}

/* The same bound from a later start: bytes in common with the key, then its own. */
static void shift_bound(
    btree_bound *bound, size_t match, size_t skip, uint64_t tail, uint64_t window)
{
    size_t same = match - skip;
    bound->window = same >= 8 ? window : shardy__window_keep(window, same) | (tail >> (8 * same));
    bound->tail = tail;
    bound->match = match;
}

static uint64_t bound_tail(const btree_walk *w, const btree_bound *bound, size_t match)
{
    return bound->window != w->window ? bound->window << (8 * (match - w->skip)) : bound->tail;
}

/* Moves the window when both neighbours share so many bytes with the key that little of it would be
 * left. */
static WALK_INLINE void move_window(btree_walk *w)
{
    if (w->known != 3 || w->tree.kind == BTREE_TABLE) {
        return;
    }
    size_t low = bound_match(w, &w->low);
    size_t high = bound_match(w, &w->high);
    size_t skip = low < high ? low : high;
    if (skip < w->skip + 4) {
        return;
    }
    uint64_t low_tail = bound_tail(w, &w->low, low);
    uint64_t high_tail = bound_tail(w, &w->high, high);
    w->skip = skip;
    w->window = skip < w->key_len ? shardy__key_window(w->key + skip, w->key_len - skip) : 0;
    shift_bound(&w->low, low, skip, low_tail, w->window);
    shift_bound(&w->high, high, skip, high_tail, w->window);
}

/* Where between its neighbours the key is expected: 0 to 1, or less than 0 when that is not
 * known. */
static WALK_INLINE double share_of(const btree_walk *w)
{
    uint64_t span = (w->high.window - w->low.window) >> 1;
    uint64_t part = (w->window - w->low.window) >> 1;
    if (w->known != 3 || part > span || span == 0) {
        return -1;
    }
    return (double)(int64_t)part / (double)(int64_t)span;
}

/* The position in [first, last) to look at next. Of n entries
 * between two known keys, entry i is expected at (i + 1) / (n + 1) of the way. */
static uint32_t next_cell(const btree_walk *w)
{
    uint32_t n = w->last - w->first;
    double share = w->probes < WALK_GUESSES && n > 2 ? share_of(w) : -1;
    if (share < 0) {
        return w->first + n / 2;
    }
    double place = share * (double)(n + 1) - 0.5;
    uint32_t i = place > 0 ? (uint32_t)(int32_t)place : 0;
    return w->first + (i < n ? i : n - 1);
}

/* The search of this page is over: the answer is w->first. */
static WALK_INLINE shardy_status end_page(btree_walk *w, shardy_error *err)
{
    if (!w->leaf) {
        return descend(w, w->first, err);
    }
    if (w->goal == WALK_FIND) {
        w->stage = WALK_OVER;
        return SHARDY_NOT_FOUND;
    }
    if (w->first < w->cells) {
        return stand_on(w, w->first, err);
    }
    w->levels[w->depth - 1].cell = w->cells;
    w->interior = 0;
    w->stage = WALK_NEXT;
    return WALK_MORE;
}

static WALK_INLINE void ask_for_cell(const btree_walk *w, uint32_t cell)
{
    __builtin_prefetch(w->page + cell_pointer(w, cell));
}

/* Chooses what to compare first on a page and asks for its lines. */
static WALK_INLINE shardy_status start_search(btree_walk *w)
{
    w->guess = next_cell(w);
    w->stage = WALK_PROBE;
    uint32_t at = w->header + 2 * w->guess;
    if (at >= 128) {
        /* The pointers of large pages take many lines. */
        __builtin_prefetch(w->page + at);
        w->stage = WALK_POINTER;
        return WALK_MORE;
    }
    ask_for_cell(w, w->guess);
    return WALK_MORE;
}

/* Remembers for other look-ups how deep the leaves are. Relaxed: the number stands for itself. */
static void learn_depth(btree_walk *w)
{
    w->leaf_depth = w->depth;
    btree_hint *hint = &w->tree.file->hints[w->tree.root % BTREE_HINTS];
    atomic_store_explicit(
        &hint->depth, (uint64_t)w->tree.root << 8 | w->depth, memory_order_relaxed);
}

static WALK_INLINE shardy_status step_page(btree_walk *w, shardy_error *err)
{
    shardy_status st = take_page(w, err);
    if (st != SHARDY_OK) {
        return st;
    }
    if (w->budget-- == 0) {
        return broken_page(w, err, "tree has more pages than the file");
    }
    SHARDY_TRY(read_header(w, err));
    w->first = 0;
    w->last = w->cells;
    w->probes = 0;
    if (w->leaf && w->leaf_depth != w->depth) {
        learn_depth(w);
    }
    if (w->goal == WALK_FIRST || w->cells == 0) {
        w->last = 0;
        return end_page(w, err);
    }
    move_window(w);
    if (w->depth == 1 && w->last > 3 && w->tree.window_type == w->key_type &&
        w->tree.low_window < w->window && w->window < w->tree.high_window) {
        /* Remembered from when the tree was opened. */
        w->low.window = w->tree.low_window;
        w->high.window = w->tree.high_window;
        w->known = 3;
        w->first = 1;
        w->last--;
    }
    return start_search(w);
}

/* The order of the cell w->guess is known: -1, 0, 1. WALK_MORE: w->guess is the next to compare, or
 * the walk went on. */
static shardy_status apply_order(btree_walk *w, int order, shardy_error *err)
{
    uint32_t tried = w->guess;
    w->probes = (uint8_t)(w->probes + (w->probes < UINT8_MAX));
    if (order < 0) {
        w->first = tried + 1;
    } else {
        w->last = tried;
    }
    if (order == 0) {
        if (w->goal == WALK_FIND && (w->leaf || w->tree.kind == BTREE_INDEX)) {
            return stand_on(w, tried, err);
        }
        if (w->tree.kind == BTREE_TABLE) {
            /* The key of an interior cell is the greatest below it. */
            w->first = tried;
        }
    }
    if (w->first >= w->last) {
        return end_page(w, err);
    }
    w->guess = next_cell(w);
    ask_for_cell(w, w->guess);
    return WALK_MORE;
}

/* Where cell `i` starts, behind its child; 0 when that is beyond the page. */
static WALK_INLINE uint32_t cell_start(const btree_walk *w, uint32_t i)
{
    uint32_t at = cell_pointer(w, i) + (w->leaf ? 0u : 4u);
    /* The smallest interior cell of a table has five bytes: the child and one of the rowid. */
    uint32_t least = w->tree.kind == BTREE_TABLE ? 1 : 4;
    return at >= w->header + 2 * w->cells && at + least <= w->usable ? at : 0;
}

/* Compares one cell. WALK_MORE: the search, or the comparison (stage WALK_FAR), goes on. */
static shardy_status probe_one(btree_walk *w, shardy_error *err)
{
    uint32_t at = cell_start(w, w->guess);
    if (at == 0) {
        return broken_page(w, err, "cell beyond the page");
    }
    const uint8_t *p = w->page + at;
    uint32_t room = w->usable - at;
    int order = 0;
    if (w->tree.kind == BTREE_INDEX) {
        shardy_status st = probe_record(w, p, room, &order, err);
        return st == SHARDY_OK ? apply_order(w, order, err) : st;
    }
    uint64_t window = 0;
    if (!find_rowid(w, p, room, &window)) {
        return broken_page(w, err, "cell is cut off");
    }
    if (window != w->window) {
        order = window < w->window ? -1 : 1;
        bound_of(w, order)->window = window;
        learn_bound(w, order < 0);
    }
    return apply_order(w, order, err);
}

/* Compares one cell. Short keys are told apart by their windows. */
static WALK_INLINE shardy_status step_probe(btree_walk *w, shardy_error *err)
{
    uint32_t at = cell_start(w, w->guess);
    if (at == 0 || w->tree.kind != BTREE_INDEX) {
        return probe_one(w, err);
    }
    const uint8_t *p = w->page + at;
    uint32_t room = w->usable - at;
    const cell_rules rules = {w->index_local_max, w->local_min, w->key_is_text};
    cell_key key;
    if (!shardy__cell_has_form(&w->form, p, room, &key) &&
        !shardy__cell_find_key(&rules, p, room, &w->form, &key)) {
        return probe_one(w, err);
    }
    uint64_t window = shardy__cell_window(&key, w->skip);
    if (window == w->window) {
        return probe_one(w, err);
    }
    int order = window < w->window ? -1 : 1;
    bound_of(w, order)->window = window;
    learn_bound(w, order < 0);
    return apply_order(w, order, err);
}

/* --- moving on -------------------------------------------------------------------------------- */

/* From the end of a page to the level above. */
static shardy_status go_up(btree_walk *w)
{
    leave_page(w);
    w->depth--;
    if (w->depth == 0) {
        w->stage = WALK_OVER;
        return SHARDY_DONE;
    }
    w->page_no = w->levels[w->depth - 1].page;
    w->stage = WALK_BACK;
    return WALK_MORE;
}

static shardy_status step_next(btree_walk *w, shardy_error *err)
{
    uint32_t i = w->levels[w->depth - 1].cell + 1;
    w->goal = WALK_FIRST;
    if (w->interior) {
        w->interior = 0;
        return descend(w, i, err);
    }
    return i < w->cells ? stand_on(w, i, err) : go_up(w);
}

/* On a page again whose child w->levels[].cell is done with. */
static shardy_status step_back(btree_walk *w, shardy_error *err)
{
    shardy_status st = take_page(w, err);
    if (st != SHARDY_OK) {
        return st;
    }
    SHARDY_TRY(read_header(w, err));
    if (w->leaf) {
        return broken_page(w, err, "leaf with children");
    }
    uint32_t i = w->levels[w->depth - 1].cell;
    if (i >= w->cells) {
        return go_up(w);
    }
    w->goal = WALK_FIRST;
    return w->tree.kind == BTREE_INDEX ? stand_on(w, i, err) : descend(w, i + 1, err);
}

static shardy_status step_far(btree_walk *w, shardy_error *err)
{
    int order = 0;
    shardy_status st = compare_far(w, &order, err);
    if (st != SHARDY_OK) {
        return st;
    }
    w->stage = WALK_PROBE;
    return apply_order(w, order, err);
}

static shardy_status step_rare(btree_walk *w, shardy_error *err)
{
    switch (w->stage) {
    case WALK_POINTER:
        ask_for_cell(w, w->guess);
        w->stage = WALK_PROBE;
        return WALK_MORE;
    case WALK_FAR:
        return step_far(w, err);
    case WALK_NEXT:
        return step_next(w, err);
    case WALK_BACK:
        return step_back(w, err);
    case WALK_STANDS:
        return SHARDY_OK;
    case WALK_REFUSED:
        return shardy__error(err, SHARDY_INVALID, "sqlite", "key of %zu bytes, expected at most %u",
            w->key_len, SHARDY_VALUE_LEN_MAX);
    case WALK_OVER:
        return w->goal == WALK_FIND ? SHARDY_NOT_FOUND : SHARDY_DONE;
    default:
        return shardy__error(err, SHARDY_MISUSE, "sqlite", "walk was not started");
    }
}

/* One step, which ends at a memory access that is worth waiting for elsewhere. */
static WALK_INLINE shardy_status micro_step(btree_walk *w, shardy_error *err)
{
    if (w->stage == WALK_PROBE) {
        return step_probe(w, err);
    }
    if (w->stage == WALK_PAGE) {
        return step_page(w, err);
    }
    return step_rare(w, err);
}

void shardy__walk_turn(btree_walk *walks, shardy_status *statuses, size_t count, shardy_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (statuses[i] == WALK_MORE) {
            btree_walk *w = &walks[i];
            do {
                statuses[i] = micro_step(w, err);
            } while (statuses[i] == WALK_MORE && w->depth + 2 <= w->leaf_depth);
        }
    }
}

shardy_status shardy__btree_walk_step(btree_walk *walk, shardy_error *err)
{
    shardy_status st;
    do {
        st = micro_step(walk, err);
    } while (st == WALK_MORE);
    if (st < 0) {
        walk->stage = WALK_IDLE;
    }
    return st;
}

/* A scan has come to a page that is not at hand: asks for its next siblings too, which the page
 * above names. */
static void ask_for_siblings(const btree_walk *w)
{
    if (w->goal != WALK_FIRST || w->stage != WALK_PAGE || w->depth < 2 ||
        !shardy__page_source_starts(w->source)) {
        return;
    }
    const btree_level *above = &w->levels[w->depth - 2];
    page_ref ref;
    if (shardy__page_get(w->source, above->page, &ref, NULL) != SHARDY_OK) {
        return;
    }
    uint32_t pages[PAGE_START_MAX];
    size_t count = 0;
    uint32_t base = above->page == 1 ? FILE_HEADER : 0;
    uint32_t header = base + PAGE_INTERIOR_HEADER;
    uint32_t cells = shardy__get_be16(ref.data + base + 3);
    int sound = header + 2 * cells <= w->usable;
    for (uint32_t i = above->cell; sound && i <= cells && count < PAGE_START_MAX; i++) {
        uint32_t at = i < cells ? shardy__get_be16(ref.data + header + 2 * i) : header - 4;
        if (at + 4 <= w->usable) {
            pages[count++] = shardy__get_be32(ref.data + at);
        }
    }
    shardy__page_unpin(w->source, &ref);
    shardy__page_start(w->source, pages, NULL, count, w->tree.limits);
}

shardy_status shardy__btree_walk_run(btree_walk *walk, shardy_error *err)
{
    for (;;) {
        shardy_status st = shardy__btree_walk_step(walk, err);
        if (st != SHARDY_PENDING) {
            return st;
        }
        ask_for_siblings(walk);
        page_want *const wants[1] = {&walk->want};
        SHARDY_TRY(shardy__page_fetch(walk->source, wants, 1, walk->tree.limits, err));
    }
}

/* --- separators ------------------------------------------------------------------------------- */

/* The key of the first field of a cell's record, when it is a text or blob that lies on the page;
 * its class, else RECORD_NULL. */
static int32_t key_of_cell(
    btree_walk *w, uint32_t i, const uint8_t **key_out, size_t *len_out, uint64_t *rowid_out)
{
    uint32_t at = cell_start(w, i);
    if (at == 0) {
        return RECORD_NULL;
    }
    const uint8_t *p = w->page + at;
    uint32_t room = w->usable - at;
    if (w->tree.kind == BTREE_TABLE) {
        return find_rowid(w, p, room, rowid_out) ? RECORD_INT : RECORD_NULL;
    }
    btree_cell cell;
    record_column column;
    size_t payload_at = 0;
    if (parse_cell(w, p, room, &payload_at, &cell, NULL) != SHARDY_OK ||
        shardy__record_find(cell.local, cell.local_len, cell.payload_len, 0, &column, NULL) !=
            SHARDY_OK ||
        column.serial < 12 || column.offset + column.len > cell.local_len) {
        return RECORD_NULL;
    }
    *key_out = cell.local + column.offset;
    *len_out = (size_t)column.len;
    return (int32_t)shardy__serial_type(column.serial);
}

static int32_t cell_window(btree_walk *w, uint32_t i, uint64_t *window_out)
{
    const uint8_t *key = NULL;
    size_t len = 0;
    int32_t type = key_of_cell(w, i, &key, &len, window_out);
    if (type >= RECORD_TEXT) {
        *window_out = shardy__key_window(key, len);
    }
    return type;
}

void shardy__walk_learn(btree_tree *tree)
{
    tree->window_type = RECORD_NULL;
    btree_walk w;
    shardy__btree_walk_init(&w, tree);
    w.page_no = tree->root;
    w.depth = 1;
    if (take_page(&w, NULL) == SHARDY_OK && read_header(&w, NULL) == SHARDY_OK && w.cells > 0) {
        int32_t low = cell_window(&w, 0, &tree->low_window);
        int32_t high = cell_window(&w, w.cells - 1, &tree->high_window);
        tree->window_type = low == high ? low : RECORD_NULL;
    }
    w.want.page = 0;
    shardy__btree_walk_end(&w);
}

void shardy__walk_ask_interiors(
    const btree_tree *tree, uint64_t bytes_max, const page_limits *limits)
{
    page_source *source = tree->file->source;
    if (!shardy__page_source_starts(source)) {
        return;
    }
    btree_walk w;
    shardy__btree_walk_init(&w, tree);
    w.page_no = tree->root;
    w.depth = 1;
    if (take_page(&w, NULL) == SHARDY_OK && read_header(&w, NULL) == SHARDY_OK && !w.leaf &&
        w.cells > 0 && cell_in_page(&w, cell_pointer(&w, 0))) {
        const uint32_t first[1] = {shardy__get_be32(w.page + cell_pointer(&w, 0))};
        const uint32_t pages = tree->file->page_count;
        if (first[0] > pages / 2 && first[0] <= pages &&
            (uint64_t)(pages - first[0] + 1) * tree->file->page_size <= bytes_max) {
            const uint32_t ahead[1] = {pages - first[0]};
            shardy__page_start(source, first, ahead, 1, limits);
        }
    }
    w.want.page = 0;
    shardy__btree_walk_end(&w);
}

int shardy__walk_interior(const btree_tree *tree, uint32_t page_no, walk_page *page_out)
{
    btree_walk w;
    shardy__btree_walk_init(&w, tree);
    w.page_no = page_no;
    w.depth = 1;
    if (take_page(&w, NULL) != SHARDY_OK || read_header(&w, NULL) != SHARDY_OK || w.leaf) {
        return 0;
    }
    page_out->data = w.page;
    page_out->header = w.header;
    page_out->cells = w.cells;
    page_out->right = shardy__get_be32(w.page + w.header - 4);
    return 1;
}

int shardy__walk_separator(
    const btree_tree *tree, const walk_page *page, uint32_t i, walk_separator *separator_out)
{
    btree_walk w;
    shardy__btree_walk_init(&w, tree);
    w.page = page->data;
    w.page_no = 0; /* not told: whoever asks makes no message */
    w.header = page->header;
    w.cells = page->cells;
    w.leaf = 0;
    memset(separator_out, 0, sizeof *separator_out);
    if (key_of_cell(&w, i, &separator_out->key, &separator_out->len, &separator_out->rowid) !=
        tree->window_type) {
        return 0;
    }
    separator_out->child = shardy__get_be32(w.page + cell_pointer(&w, i));
    return 1;
}

/* --- one page --------------------------------------------------------------------------------- */

shardy_status shardy__walk_page(btree_walk *w, uint32_t page_no, shardy_error *err)
{
    w->page_no = page_no;
    w->depth = 1;
    shardy_status st = take_page(w, err);
    return st == SHARDY_OK ? read_header(w, err) : st;
}

shardy_status shardy__walk_child(
    const btree_walk *w, uint32_t i, uint32_t *page_out, shardy_error *err)
{
    uint32_t at = child_at(w, i);
    if (at == 0) {
        return broken_page(w, err, "cell beyond the page");
    }
    *page_out = shardy__get_be32(w->page + at);
    return SHARDY_OK;
}

shardy_status shardy__walk_cell(btree_walk *w, uint32_t i, shardy_error *err)
{
    if (w->leaf || w->tree.kind == BTREE_INDEX) {
        return stand_on(w, i, err);
    }
    uint64_t rowid = 0;
    uint32_t at = cell_start(w, i);
    if (at == 0 || !find_rowid(w, w->page + at, w->usable - at, &rowid)) {
        return broken_page(w, err, "cell beyond the page");
    }
    w->cell.rowid = (int64_t)(rowid ^ (uint64_t)1 << 63);
    return SHARDY_OK;
}

/* --- starting and ending ---------------------------------------------------------------------- */

void shardy__btree_walk_init(btree_walk *walk, const btree_tree *tree)
{
    /* Field by field: what a start sets is left alone. */
    walk->tree = *tree;
    walk->source = tree->file->source;
    walk->usable = tree->file->usable;
    walk->index_local_max = tree->file->index_local_max;
    walk->local_min = tree->file->local_min;
    shardy__cell_form_init(&walk->form);
    walk->key_is_text = 2;
    walk->stage = WALK_IDLE;
    walk->goal = WALK_FIND;
    walk->page = NULL;
    walk->ref.data = NULL;
    walk->ref.pin = NULL;
    walk->want.page = 0;
    walk->want.ref.data = NULL;
    walk->want.ref.pin = NULL;
    walk->far = NULL;
    walk->loaded = NULL;
    walk->key = NULL;
    walk->key_len = 0;
}

/* Gives back what belongs to the entry or page where the walk is. */
static void let_go(btree_walk *w)
{
    if (w->want.page) {
        shardy__page_unpin(w->source, &w->want.ref);
        w->want.page = 0;
    }
    shardy__page_unpin(w->source, &w->ref);
    w->page = NULL;
    if (w->far) {
        shardy__btree_payload_end(&((far_key *)w->far)->payload);
    }
    if (w->loaded) {
        shardy__free(w->loaded);
        w->loaded = NULL;
    }
}

void shardy__btree_walk_end(btree_walk *walk)
{
    let_go(walk);
    shardy__free(walk->far);
    walk->far = NULL;
    walk->stage = WALK_IDLE;
}

static void start(btree_walk *w, uint8_t goal)
{
    let_go(w);
    w->goal = goal;
    w->stage = WALK_PAGE;
    w->depth = 1;
    w->interior = 0;
    w->page_no = w->tree.root;
    w->budget = 2 * (uint64_t)w->tree.file->page_count + 16;
    uint64_t hint = atomic_load_explicit(
        &w->tree.file->hints[w->tree.root % BTREE_HINTS].depth, memory_order_relaxed);
    w->leaf_depth = hint >> 8 == w->tree.root ? (uint8_t)hint : 0;
}

static void start_key(btree_walk *w, uint8_t goal, const btree_key *key)
{
    start(w, goal);
    w->key = key->data;
    w->key_len = key->len;
    w->key_type = (uint8_t)key->type;
    /* Numbers are not compared by their bytes: no type bit is 2. */
    const uint8_t is_text = key->type == RECORD_TEXT ? 1 : key->type == RECORD_BLOB ? 0 : 2;
    if (w->key_is_text != is_text) {
        shardy__cell_form_init(&w->form); /* it was that of cells with keys of the other class */
        w->key_is_text = is_text;
    }
    w->integer = key->integer;
    w->skip = 0;
    w->known = 0;
    w->low.window = 0;
    w->high.window = 0;
    w->window = w->tree.kind == BTREE_TABLE ? (uint64_t)key->integer ^ (uint64_t)1 << 63
                                            : shardy__key_window(key->data, key->len);
    if (key->len > SHARDY_VALUE_LEN_MAX) {
        w->stage = WALK_REFUSED;
    }
}

/* Begins below the fence of the tree instead of at the root, if the fence can tell where for
 * sure. */
static WALK_INLINE void start_at_fence(btree_walk *w, const btree_fence *f)
{
    if (f->key_type != w->key_type || w->key_len < f->skip ||
        (f->skip && memcmp(w->key, f->prefix, f->skip) != 0)) {
        return;
    }
    uint64_t window =
        f->skip ? shardy__key_window(w->key + f->skip, w->key_len - f->skip) : w->window;
    uint32_t i = shardy__fence_place(f, window);
    if (f->posts[i].window == window && w->tree.kind == BTREE_INDEX) {
        return;
    }
    if (f->skip && (i == 0 || i == f->count)) {
        /* What is outside of the first and the last separator need not begin as they do. */
        return;
    }
    if (f->skip) {
        w->skip = f->skip;
        w->window = window;
    }
    if (i > 0) {
        w->low.window = f->posts[i - 1].window;
        w->known = 1;
    }
    if (i < f->count) {
        w->high.window = f->posts[i].window;
        w->known = (uint8_t)(w->known | 2);
    }
    w->page_no = f->posts[i].page;
    w->depth = (uint8_t)f->depth;
    ask_for_page(w);
}

void shardy__btree_walk_find(btree_walk *walk, const btree_key *key)
{
    start_key(walk, WALK_FIND, key);
    const btree_fence *fence = shardy__fence_of(&walk->tree);
    if (fence && walk->stage == WALK_PAGE) {
        start_at_fence(walk, fence);
    }
}

void shardy__btree_walk_seek(btree_walk *walk, const btree_key *key)
{
    start_key(walk, WALK_SEEK, key);
}

void shardy__btree_walk_first(btree_walk *walk)
{
    start(walk, WALK_FIRST);
}

void shardy__btree_walk_next(btree_walk *walk)
{
    if (walk->stage == WALK_STANDS && walk->goal != WALK_FIND) {
        if (walk->loaded) {
            shardy__free(walk->loaded);
            walk->loaded = NULL;
        }
        walk->stage = WALK_NEXT;
    } else if (walk->stage != WALK_OVER) {
        walk->stage = WALK_IDLE;
    }
}
