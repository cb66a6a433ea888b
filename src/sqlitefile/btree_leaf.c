/* btree_leaf.c: look-ups in groups, so that their waits for memory overlap.
 *
 * Design, for a tree of 16-byte keys and 100-byte values at page size 4096 (34 rows to a page): a
 * look-up needs a line of the fence's buckets, one of its posts, one or two with the header and
 * cell pointers of the leaf, then one for each cell that is compared (two or three by
 * interpolation), one or two of the value. Each depends on the one before, but not on those of
 * other keys. A group of LEAF_GROUP look-ups therefore goes through the stages together: each stage
 * asks for the lines of the next one (a prefetch) and goes on to the next look-up; when it is this
 * one's turn again, its line has come. In a group no line is asked for on a guess, because ten
 * prefetched lines cost as much time as one that is waited for. A look-up by itself has nothing
 * else to do while it waits, and guesses: see "one" below.
 *
 *   place    window of the key -> bucket -> post        3 passes over the group
 *   page     header of the leaf -> cell pointer
 *   compare  cell -> next cell pointer, until the search of the page is over
 *
 * The state of a group stays in the first-level cache. */
#include "btree_leaf.h"

#include "btree_cell.h"
#include "btree_page.h"
#include "btree_window.h"

#include <string.h>

/* More look-ups than misses that a core can have open, so that some may end early. */
#define LEAF_GROUP 48u
/* The status of a look-up that goes on. */
#define LEAF_MORE (LEAF_UNKNOWN + 1)
/* Guesses by interpolation before bisection. */
#define LEAF_GUESSES 4u
/* What is compared of a cell ends about here: length of the payload (2 bytes), header of the record
 * (4), a key of 16. */
#define LEAF_KEY_END 24u
#define LEAF_LINE    64

typedef struct leaf_probe {
    const uint8_t *page;
    const uint8_t *key;
    uint64_t window; /* 8 bytes of the key behind the prefix of the fence */
    uint64_t low;    /* of the neighbours of the key: the nearest that are known */
    uint64_t high;
    size_t len;
    uint32_t at; /* index of the key */
    uint32_t bucket;
    uint32_t leaf; /* number of its page */
    uint32_t cells;
    uint32_t first; /* the cell is in [first, last) */
    uint32_t last;
    uint32_t guess;
    uint32_t guesses;
} leaf_probe;

/* What all look-ups of a call have in common. */
typedef struct leaf_search {
    const leaf_call *call;
    const btree_fence *fence;
    page_source *source;
    cell_rules rules;
    cell_form form; /* that cells were seen to have */
    uint32_t usable;
} leaf_search;

/* --- place ------------------------------------------------------------------------------------ */

/* 0: the fence cannot tell. */
static WALK_INLINE int begin_probe(const leaf_search *s, uint32_t at, leaf_probe *p)
{
    const btree_fence *f = s->fence;
    const shardy_bytes *key = &s->call->keys[at];
    if (key->len < f->skip || (f->skip && memcmp(key->data, f->prefix, f->skip) != 0)) {
        return 0;
    }
    p->at = at;
    p->key = key->data;
    p->len = key->len;
    p->window = key->len > f->skip ? shardy__key_window(p->key + f->skip, key->len - f->skip) : 0;
    p->bucket = shardy__fence_bucket(f, p->window);
    __builtin_prefetch(&f->buckets[p->bucket]);
    return 1;
}

static WALK_INLINE void ask_posts(const leaf_search *s, const leaf_probe *p)
{
    const fence_post *first = &s->fence->posts[s->fence->buckets[p->bucket].first];
    __builtin_prefetch(first);
    __builtin_prefetch(first + FENCE_RUN);
}

/* Where between its neighbours the key is expected, 0 to 1. */
static WALK_INLINE double share_of(const leaf_probe *p)
{
    uint64_t span = (p->high - p->low) >> 1;
    uint64_t part = (p->window - p->low) >> 1;
    return part > span || span == 0 ? 0.5 : (double)(int64_t)part / (double)(int64_t)span;
}

/* From the fence to the address of the leaf. 0: the fence cannot tell. */
static WALK_INLINE int find_leaf(const leaf_search *s, leaf_probe *p)
{
    const btree_fence *f = s->fence;
    uint32_t place = shardy__fence_place(f, p->window);
    if (f->posts[place].window == p->window || (f->skip && (place == 0 || place == f->count))) {
        /* It may be the separator, or begin with other bytes than all separators do. */
        return 0;
    }
    p->low = place > 0 ? f->posts[place - 1].window : 0;
    p->high = place < f->count ? f->posts[place].window : UINT64_MAX;
    p->leaf = f->posts[place].page;
    p->page = shardy__page_hint(s->source, p->leaf);
    return p->page != NULL;
}

/* --- page ------------------------------------------------------------------------------------- */

static WALK_INLINE uint32_t cell_at(const leaf_probe *p, uint32_t cell)
{
    return shardy__get_be16(p->page + PAGE_LEAF_HEADER + 2 * cell);
}

/* Chooses the cell to compare next and asks for its line. Of n entries between two known keys,
 * entry i is expected at (i + 1) / (n + 1) of the way. */
static WALK_INLINE void guess_next(leaf_probe *p)
{
    uint32_t n = p->last - p->first;
    uint32_t i = n / 2;
    if (p->guesses++ < LEAF_GUESSES) {
        double place = share_of(p) * (double)(n + 1) - 0.5;
        i = place > 0 ? (uint32_t)(int32_t)place : 0;
        i = i < n ? i : n - 1;
    }
    p->guess = p->first + i;
    const uint8_t *cell = p->page + cell_at(p, p->guess);
    __builtin_prefetch(cell);
    __builtin_prefetch(cell + LEAF_KEY_END); /* the key may go on in the next line */
}

/* Reads the header of the leaf. 0: it is not at hand, no such leaf, or broken. */
static WALK_INLINE int open_leaf(const leaf_search *s, leaf_probe *p)
{
    page_ref ref;
    if (p->leaf == 1 || shardy__page_get(s->source, p->leaf, &ref, NULL) != SHARDY_OK) {
        return 0;
    }
    p->page = ref.data; /* a source that lends has nothing to unpin */
    p->cells = shardy__get_be16(p->page + 3);
    if (p->page[0] != PAGE_INDEX_LEAF || p->cells == 0 ||
        PAGE_LEAF_HEADER + 2 * p->cells > s->usable) {
        return 0;
    }
    p->first = 0;
    p->last = p->cells;
    p->guesses = 0;
    return 1;
}

/* --- compare ---------------------------------------------------------------------------------- */

/* The cell at `at` has the key: takes its value. 0 when that is not wholly on the page. */
static int take_value(const leaf_search *s, const leaf_probe *p, uint32_t at)
{
    const uint8_t *cell = p->page + at;
    uint32_t n = cell[0] & 0x80 ? 2 : 1;
    uint32_t payload = n == 1 ? cell[0] : (cell[0] & 0x7Fu) << 7 | cell[1];
    record_column column;
    if (payload > s->rules.local_max || n + payload > s->usable - at ||
        !shardy__cell_find_field(cell + n, payload, payload, s->call->field, &column)) {
        return 0;
    }
    shardy_buf *value = &s->call->answers.values[p->at];
    value->data = cell + n + column.offset;
    value->len = (size_t)column.len;
    __builtin_prefetch(value->data);
    __builtin_prefetch((const char *)value->data + 64);
    return 1;
}

/* Windows are equal: the order of the cell's key and the one looked for. */
static int compare_whole(const cell_key *key, const leaf_probe *p)
{
    size_t shorter = key->len < p->len ? key->len : p->len;
    size_t same = shardy__key_common(key->data, p->key, shorter);
    return same < shorter ? (int)key->data[same] - (int)p->key[same]
                          : (key->len > p->len) - (key->len < p->len);
}

/* Compares one cell. LEAF_MORE while the search goes on. */
static WALK_INLINE int32_t compare(leaf_search *s, leaf_probe *p)
{
    uint32_t at = cell_at(p, p->guess);
    if (at < PAGE_LEAF_HEADER + 2 * p->cells || at + 4 > s->usable) {
        return LEAF_UNKNOWN;
    }
    cell_key key;
    if (!shardy__cell_has_form(&s->form, p->page + at, s->usable - at, &key) &&
        !shardy__cell_find_key(&s->rules, p->page + at, s->usable - at, &s->form, &key)) {
        return LEAF_UNKNOWN;
    }
    uint64_t window = shardy__cell_window(&key, s->fence->skip);
    int less = window < p->window;
    if (__builtin_expect(window == p->window, 0)) {
        int order = compare_whole(&key, p);
        if (order == 0) {
            return take_value(s, p, at) ? SHARDY_OK : LEAF_UNKNOWN;
        }
        less = order < 0;
    }
    if (less) {
        p->first = p->guess + 1;
        p->low = window;
    } else {
        p->last = p->guess;
        p->high = window;
    }
    if (p->first >= p->last) {
        return SHARDY_NOT_FOUND;
    }
    guess_next(p);
    return LEAF_MORE;
}

/* --- many ------------------------------------------------------------------------------------- */

typedef struct leaf_group {
    leaf_search search;
    uint32_t active;
    leaf_probe *turn[LEAF_GROUP]; /* the look-ups that go on */
    leaf_probe probes[LEAF_GROUP];
} leaf_group;

static void init_search(leaf_search *s, const leaf_call *call)
{
    const btree_file *file = call->tree->file;
    s->call = call;
    s->fence = call->fence;
    s->source = file->source;
    s->rules = (cell_rules){
        file->index_local_max, file->local_min, call->fence->key_type == RECORD_TEXT ? 1 : 0};
    s->usable = file->usable;
    shardy__cell_form_init(&s->form);
}

/* The look-up whose turn is `i` is over: the last one has its turn now. */
static WALK_INLINE void leave(leaf_group *g, uint32_t i, int32_t status)
{
    g->search.call->answers.statuses[g->turn[i]->at] = status;
    g->turn[i] = g->turn[--g->active];
}

static void run_group(leaf_group *g, size_t first, size_t count)
{
    g->active = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)(first + i);
        g->search.call->answers.statuses[at] = LEAF_UNKNOWN;
        g->turn[g->active] = &g->probes[g->active];
        g->active += (uint32_t)begin_probe(&g->search, at, &g->probes[g->active]);
    }
    for (uint32_t i = 0; i < g->active; i++) {
        ask_posts(&g->search, g->turn[i]);
    }
    for (uint32_t i = 0; i < g->active;) {
        leaf_probe *p = g->turn[i];
        if (!find_leaf(&g->search, p)) {
            leave(g, i, LEAF_UNKNOWN);
            continue;
        }
        __builtin_prefetch(p->page);
        __builtin_prefetch(p->page + 64);
        i++;
    }
    for (uint32_t i = 0; i < g->active;) {
        leaf_probe *p = g->turn[i];
        if (!open_leaf(&g->search, p)) {
            leave(g, i, LEAF_UNKNOWN);
            continue;
        }
        guess_next(p);
        i++;
    }
    while (g->active > 0) {
        for (uint32_t i = 0; i < g->active;) {
            int32_t status = compare(&g->search, g->turn[i]);
            if (status == LEAF_MORE) {
                i++;
            } else {
                leave(g, i, status);
            }
        }
    }
}

size_t shardy__leaf_get_many(const leaf_call *call)
{
    leaf_group g;
    init_search(&g.search, call);
    for (size_t i = 0; i < call->count; i += LEAF_GROUP) {
        run_group(&g, i, call->count - i < LEAF_GROUP ? call->count - i : LEAF_GROUP);
    }
    size_t unknown = 0;
    for (size_t i = 0; i < call->count; i++) {
        unknown += call->answers.statuses[i] == LEAF_UNKNOWN;
    }
    return unknown;
}

/* --- one -------------------------------------------------------------------------------------- */

/* A look-up by itself waits for each of its lines, so it asks for more than it needs while it has
 * nothing else to do: a page near the one that the posts will name (writers put the leaves one
 * after the other, and to translate the address of the first of neighbouring pages takes longer
 * than to read a line), then the lines where the cell is expected in a page of rows of about the
 * same length, which writers fill from its end downwards in the order of the keys.
 *
 * Ten lines are asked for there, what one that is waited for costs: LEAF_REACH bytes, three rows of
 * the design, to either side of the place. LEAF_POINTERS is what the header and the cell pointers
 * of such a page take: the rows lie behind it. */
#define LEAF_REACH    (5 * LEAF_LINE)
#define LEAF_POINTERS (2 * LEAF_LINE)

static WALK_INLINE void ask_near(const leaf_search *s, const leaf_probe *p)
{
    const uint8_t *near = shardy__page_hint(s->source, s->fence->buckets[p->bucket].page);
    if (near) {
        __builtin_prefetch(near);
    }
}

static WALK_INLINE void ask_around(const leaf_search *s, const leaf_probe *p)
{
    __builtin_prefetch(p->page);
    __builtin_prefetch(p->page + LEAF_LINE);
    int32_t room = (int32_t)s->usable - LEAF_POINTERS;
    int32_t end = (int32_t)s->usable - (int32_t)(share_of(p) * (double)room);
    int32_t at = end - LEAF_LINE - LEAF_REACH; /* a line back: the middle of the row, not its end */
    const uint8_t *from = p->page + (at > 0 ? at : 0);
    for (int i = 0; i < 2 * LEAF_REACH; i += LEAF_LINE) {
        __builtin_prefetch(from + i);
    }
}

int32_t shardy__leaf_get(const leaf_call *call)
{
    leaf_search s;
    leaf_probe p;
    init_search(&s, call);
    if (!begin_probe(&s, 0, &p)) {
        return LEAF_UNKNOWN;
    }
    ask_posts(&s, &p);
    ask_near(&s, &p);
    if (!find_leaf(&s, &p)) {
        return LEAF_UNKNOWN;
    }
    ask_around(&s, &p);
    if (!open_leaf(&s, &p)) {
        return LEAF_UNKNOWN;
    }
    guess_next(&p);
    int32_t status;
    do {
        status = compare(&s, &p);
    } while (status == LEAF_MORE);
    return status;
}
