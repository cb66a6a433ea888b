#include "btree_check.h"

#include "../base/alloc.h"
#include "../base/clock.h"
#include "btree_page.h"
#include "btree_step.h"

#include <string.h>

/* What is asked for at once at most where pages are read onwards: four requests of full length. */
#define AHEAD_BYTES (4u << 20)
/* What a run begins with: what it asks for, and what may be passed over, each time twice as
 * much. */
#define RUN_STEP      (64u << 10)
#define RUN_GAP       (64u << 10)
#define RUN_STEPS_MAX 6u
/* Files up to here are asked for as a whole: no more than half of the cache takes. */
#define WHOLE_BYTES (16u << 20)
/* Children no farther from one another than this lie one after the other. */
#define GAP_BYTES  (256u << 10)
#define TICK_BYTES (1u << 20)
/* Children or chains after which the next ones are asked for, twice as many together. */
#define BELOW_AHEAD (PAGE_START_MAX / 2)

static shardy_status broken(const btree_check *c, shardy_error *err, const char *what)
{
    return shardy__error(err, SHARDY_CORRUPT, "sqlite", "page %u is broken: %s", c->page, what);
}

/* --- pages ------------------------------------------------------------------------------------ */

shardy_status shardy__btree_check_use(btree_check *c, uint32_t page, shardy_error *err)
{
    const btree_file *file = c->spec.file;
    if (page == 0 || page > file->page_count) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "page %u leads to page %u, expected 1 to %u", c->page, page, file->page_count);
    }
    const uint64_t bit = (uint64_t)1 << (page - 1) % 64;
    uint64_t *word = &c->used[(page - 1) / 64];
    c->page = page;
    if (*word & bit) {
        return broken(c, err, "it is used by two");
    }
    *word |= bit;
    if (++c->ticked < TICK_BYTES / file->page_size || !c->spec.tick) {
        return SHARDY_OK;
    }
    c->ticked = 0;
    return c->spec.tick(c->spec.user, err);
}

void shardy__btree_check_renew(btree_check *c)
{
    if (c->spec.timeout_ms) {
        c->limits.deadline_ns = shardy__deadline_ns(c->spec.context, c->spec.timeout_ms);
    }
}

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* A page that is not at hand takes the run on behind whose end it lies: by more each time, and over
 * a wider gap, because runs that went on so far will. 0: it is not of this run. */
static int take_on(btree_check *c, check_run *run, uint32_t page)
{
    const btree_file *file = c->spec.file;
    const uint32_t most = AHEAD_BYTES / file->page_size;
    const uint32_t gap = GAP_BYTES / file->page_size;
    if (page >= run->begin && page < run->end) {
        return 1; /* it was asked for */
    }
    if (page < run->end ||
        page - run->end > least(gap, (uint64_t)RUN_GAP / file->page_size << run->steps)) {
        return 0;
    }
    const uint32_t first[1] = {run->end};
    const uint32_t ahead[1] = {
        page - run->end + least(most, (uint64_t)RUN_STEP / file->page_size << run->steps)};
    run->begin = run->end > run->begin + most ? run->end - most : run->begin;
    run->end = least((uint64_t)first[0] + ahead[0] + 1, file->page_count + 1);
    run->steps += run->steps < RUN_STEPS_MAX;
    shardy__page_start(file->source, first, ahead, 1, &c->limits);
    return 1;
}

/* Gets a page. Of an overflow chain the rest, `ahead` pages, is likely to lie behind it, and no run
 * begins there: it would read what lies behind the chain. */
static shardy_status fetch(btree_check *c, page_want *want, uint64_t ahead, shardy_error *err)
{
    uint32_t i = 0;
    shardy__btree_check_renew(c);
    while (i < BTREE_CHECK_RUNS && !take_on(c, &c->runs[i], want->page)) {
        i++;
    }
    want->ahead = i == BTREE_CHECK_RUNS ? least(ahead, AHEAD_BYTES / c->spec.file->page_size) : 0;
    if (i == BTREE_CHECK_RUNS && ahead == 0) {
        c->runs[c->run] = (check_run){want->page, want->page + 1, 0};
        c->run = (c->run + 1) % BTREE_CHECK_RUNS;
    }
    page_want *const wants[1] = {want};
    return shardy__page_fetch(c->spec.file->source, wants, 1, &c->limits, err);
}

/* Pages that lie scattered are asked for together; where they lie one after the other, runs take
 * larger steps. */
static void ask_for(btree_check *c, const uint32_t *pages, const uint32_t *ahead, size_t count)
{
    const uint32_t gap = GAP_BYTES / c->spec.file->page_size;
    size_t onwards = 1;
    for (size_t i = 1; i < count; i++) {
        onwards += pages[i] > pages[i - 1] && pages[i] - pages[i - 1] - ahead[i - 1] <= gap;
    }
    if (count > 0 && onwards < count - count / 4) {
        shardy__btree_check_renew(c);
        shardy__page_start(c->spec.file->source, pages, ahead, count, &c->limits);
    }
}

static uint64_t chain_pages(const btree_check *c, const btree_cell *cell)
{
    const uint64_t page_room = c->spec.file->usable - 4;
    return (cell->payload_len - cell->local_len + page_room - 1) / page_room;
}

/* What is below a page: children of an interior one, first pages of chains and what lies behind
 * them of a leaf. From cell `first` on. */
static void ask_for_below(btree_check *c, btree_walk *w, uint32_t first)
{
    uint32_t pages[PAGE_START_MAX];
    uint32_t ahead[PAGE_START_MAX] = {0};
    size_t count = 0;
    if (first % BELOW_AHEAD != 0 || !shardy__page_source_starts(w->source)) {
        return;
    }
    const uint32_t most = AHEAD_BYTES / BELOW_AHEAD / c->spec.file->page_size;
    for (uint32_t i = first; i <= w->cells && count < PAGE_START_MAX; i++) {
        if (!w->leaf) {
            if (shardy__walk_child(w, i, &pages[count], NULL) != SHARDY_OK) {
                break;
            }
            count++;
        } else if (i < w->cells && shardy__walk_cell(w, i, NULL) == SHARDY_OK && w->cell.overflow) {
            ahead[count] = least(chain_pages(c, &w->cell) - 1, most);
            pages[count++] = w->cell.overflow;
        }
    }
    ask_for(c, pages, ahead, count);
}

/* --- payloads --------------------------------------------------------------------------------- */

static void keep(btree_check *c, const uint8_t *data, uint64_t len)
{
    const size_t room = c->visit->record_max - c->record.len;
    if (room > 0) {
        shardy__bytebuf_append(&c->record, data, len < room ? (size_t)len : room);
    }
}

/* Follows an overflow chain to its end, and keeps the begin of the payload. */
static shardy_status follow_chain(btree_check *c, const btree_cell *cell, shardy_error *err)
{
    page_source *source = c->spec.file->source;
    const uint64_t page_room = c->spec.file->usable - 4;
    uint64_t left = cell->payload_len - cell->local_len;
    uint32_t next = cell->overflow;
    while (left > 0) {
        SHARDY_TRY(shardy__btree_check_use(c, next, err));
        page_want want = {next, 0, {NULL, NULL}};
        shardy_status st = shardy__page_get(source, next, &want.ref, err);
        if (st == SHARDY_PENDING) {
            st = fetch(c, &want, (left + page_room - 1) / page_room, err);
        }
        SHARDY_TRY(st);
        const uint64_t len = left < page_room ? left : page_room;
        keep(c, want.ref.data + 4, len);
        next = shardy__get_be32(want.ref.data);
        left -= len;
        shardy__page_unpin(source, &want.ref);
    }
    return next == 0 ? SHARDY_OK
                     : broken(c, err, "the chain goes on behind the end of its payload");
}

static shardy_status visit_entry(btree_check *c, const btree_cell *cell, shardy_error *err)
{
    shardy_bytes record = {cell->local, cell->local_len};
    if (c->tree.kind == BTREE_TABLE) {
        if (c->has_floor && cell->rowid <= c->floor) {
            return broken(c, err, "its rowids are not in order");
        }
        c->has_floor = 1;
        c->floor = cell->rowid;
    }
    if (cell->payload_len > cell->local_len && !c->visit->no_chains) {
        const uint32_t page = c->page;
        shardy__bytebuf_clear(&c->record);
        keep(c, cell->local, cell->local_len);
        SHARDY_TRY(follow_chain(c, cell, err));
        SHARDY_TRY(shardy__bytebuf_check(&c->record, "sqlite", err));
        if (c->record.len > record.len) {
            record = shardy__bytes(c->record.data, c->record.len);
        }
        c->page = page;
    }
    c->entries++;
    return c->visit->entry ? c->visit->entry(c->visit->user, cell, record, err) : SHARDY_OK;
}

/* --- trees ------------------------------------------------------------------------------------ */

static shardy_status enter(btree_check *c, uint32_t page, shardy_error *err)
{
    SHARDY_TRY(shardy__btree_check_use(c, page, err));
    if (c->depth == BTREE_DEPTH_MAX) {
        return broken(c, err, "tree is too deep");
    }
    check_level *level = &c->levels[c->depth++];
    level->next = 0;
    shardy__btree_walk_init(&level->walk, &c->tree);
    shardy_status st;
    while ((st = shardy__walk_page(&level->walk, page, err)) == SHARDY_PENDING) {
        SHARDY_TRY(fetch(c, &level->walk.want, 0, err));
    }
    SHARDY_TRY(st);
    if (level->walk.leaf) {
        c->leaf_depth = c->leaf_depth ? c->leaf_depth : c->depth;
        return c->leaf_depth == c->depth ? SHARDY_OK : broken(c, err, "leaf at another depth");
    }
    return SHARDY_OK;
}

static void leave(btree_check *c)
{
    shardy__btree_walk_end(&c->levels[--c->depth].walk);
}

/* An interior cell: of an index an entry like any other, of a table the greatest rowid to its
 * left. */
static shardy_status visit_cell(btree_check *c, btree_walk *w, uint32_t i, shardy_error *err)
{
    c->page = w->page_no;
    SHARDY_TRY(shardy__walk_cell(w, i, err));
    if (w->leaf || c->tree.kind == BTREE_INDEX) {
        return visit_entry(c, &w->cell, err);
    }
    if (c->has_floor && w->cell.rowid < c->floor) {
        return broken(c, err, "rowids below it are greater than it says");
    }
    c->has_floor = 1;
    c->floor = w->cell.rowid;
    return SHARDY_OK;
}

static shardy_status step(btree_check *c, shardy_error *err)
{
    check_level *level = &c->levels[c->depth - 1];
    btree_walk *w = &level->walk;
    const uint32_t at = level->next++;
    if (at > 2 * w->cells || (w->leaf && at == w->cells)) {
        leave(c);
        return SHARDY_OK;
    }
    if (w->leaf && !c->visit->no_chains) {
        ask_for_below(c, w, at);
    }
    if (w->leaf || at % 2) {
        return visit_cell(c, w, w->leaf ? at : at / 2, err);
    }
    uint32_t child = 0;
    c->page = w->page_no;
    ask_for_below(c, w, at / 2);
    SHARDY_TRY(shardy__walk_child(w, at / 2, &child, err));
    return enter(c, child, err);
}

/* The kind of a table whose text is not understood is that of its root page. */
static shardy_status find_kind(btree_check *c, const schema_object *object, shardy_error *err)
{
    page_source *source = c->spec.file->source;
    page_want want = {object->root, 0, {NULL, NULL}};
    c->page = object->root;
    shardy_status st = shardy__page_get(source, object->root, &want.ref, err);
    if (st == SHARDY_PENDING) {
        st = fetch(c, &want, 0, err);
    }
    SHARDY_TRY(st);
    const uint32_t type = want.ref.data[0];
    c->tree.kind =
        type == PAGE_INDEX_LEAF || type == PAGE_INDEX_INTERIOR ? BTREE_INDEX : BTREE_TABLE;
    shardy__page_unpin(source, &want.ref);
    return SHARDY_OK;
}

shardy_status shardy__btree_check_tree(btree_check *c, const schema_object *object,
    const btree_visit *visit, uint64_t *entries_out, shardy_error *err)
{
    const int is_index = object && (object->kind == SCHEMA_INDEX || object->without_rowid);
    c->tree = (btree_tree){c->spec.file, object ? object->root : 1,
        is_index ? BTREE_INDEX : BTREE_TABLE, 0, 0, RECORD_NULL, 0, &c->limits};
    c->visit = visit;
    c->entries = 0;
    c->leaf_depth = 0;
    c->has_floor = 0;
    c->record.len_max = visit->record_max;
    shardy_status st = object && object->unreadable ? find_kind(c, object, err) : SHARDY_OK;
    if (st >= 0) {
        st = enter(c, c->tree.root, err);
    }
    while (st >= 0 && c->depth > 0) {
        st = step(c, err);
    }
    while (c->depth > 0) {
        leave(c);
    }
    *entries_out = c->entries;
    return st < 0 ? st : SHARDY_OK;
}

shardy_status shardy__btree_check_init(
    btree_check *c, const btree_check_spec *spec, shardy_error *err)
{
    memset(c, 0, sizeof *c);
    c->spec = *spec;
    c->limits.cancel = spec->cancel;
    shardy__bytebuf_init(&c->record, 0);
    const uint32_t pages = spec->file->page_count;
    for (uint32_t i = 0; i < BTREE_CHECK_RUNS; i++) {
        c->runs[i] = (check_run){1, 1, 0};
    }
    c->used = shardy__calloc((size_t)pages / 64 + 1, sizeof *c->used);
    c->levels = shardy__calloc(BTREE_DEPTH_MAX, sizeof *c->levels);
    if (!c->used || !c->levels) {
        return shardy__error_nomem(err, "sqlite");
    }
    if (spec->file->source->size <= WHOLE_BYTES) {
        const uint32_t first[1] = {1};
        const uint32_t ahead[1] = {pages - 1};
        shardy__btree_check_renew(c);
        shardy__page_start(spec->file->source, first, ahead, 1, &c->limits);
        c->runs[0] = (check_run){1, pages + 1, 0};
    }
    return SHARDY_OK;
}

void shardy__btree_check_free(btree_check *c)
{
    shardy__free(c->used);
    shardy__free(c->levels);
    shardy__bytebuf_free(&c->record);
    memset(c, 0, sizeof *c);
}
