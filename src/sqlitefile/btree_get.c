#include "btree_read.h"

#include "../base/alloc.h"
#include "../base/bytes.h"
#include "../base/clock.h"
#include "btree_cell.h"
#include "btree_fence.h"
#include "btree_leaf.h"
#include "btree_step.h"

#include <stddef.h>
#include <string.h>

/* Overflow pages of an entry that are asked for when it is touched. */
#define TOUCH_AHEAD 15u

/* Keys of a batch after which time and cancellation are looked at: far more than the clock
 * costs. */
#define LOOK_AFTER 1024u

/* A value that cannot be lent while it is put together from the pieces of its payload. */
typedef struct value_copy {
    btree_payload payload;
    uint8_t *bytes;
    size_t len;
    int32_t active; /* 0: the rest means nothing */
} value_copy;

/* What all look-ups of a call have in common. */
typedef struct lookup_spec {
    page_source *source;
    uint32_t field;
    int32_t lends;
    int32_t touch; /* 1: the pages are wanted, not the values */
} lookup_spec;

static void end_copy(value_copy *copy)
{
    if (copy->active) {
        shardy__btree_payload_end(&copy->payload);
        shardy__free(copy->bytes);
        copy->active = 0;
    }
}

/* The walk stands on the entry. OK when *value_out is filled (release NULL: borrowed), WALK_MORE
 * when it has to be copied. */
static WALK_INLINE shardy_status take_value(btree_walk *w, value_copy *copy,
    const lookup_spec *spec, shardy_buf *value_out, shardy_error *err)
{
    record_column column;
    const btree_cell *cell = &w->cell;
    if (!shardy__cell_find_field(
            cell->local, cell->local_len, cell->payload_len, spec->field, &column)) {
        SHARDY_TRY(shardy__btree_walk_field(w, spec->field, &column, err));
        if (column.serial < 12) {
            return shardy__error(err, SHARDY_CORRUPT, "sqlite",
                "field %u is of serial type %llu, expected a blob or text", spec->field,
                (unsigned long long)column.serial);
        }
    }
    if (spec->lends && column.offset + column.len <= w->cell.local_len) {
        value_out->data = w->cell.local + column.offset;
        value_out->len = (size_t)column.len;
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__btree_payload_start(
        &copy->payload, w->tree.file, &w->cell, column.offset, column.len, err));
    copy->payload.limits = w->tree.limits;
    copy->bytes = shardy__malloc((size_t)column.len);
    copy->len = 0;
    copy->active = 1;
    return copy->bytes ? WALK_MORE : shardy__error_nomem(err, "sqlite");
}

static void release_copy(shardy_buf *buf)
{
    shardy__free(buf->owner);
}

/* Goes on copying with the pages that are at hand. */
static shardy_status copy_value(value_copy *copy, shardy_buf *value_out, shardy_error *err)
{
    const uint8_t *piece = NULL;
    size_t len = 0;
    shardy_status st = shardy__btree_payload_next(&copy->payload, &piece, &len, err);
    while (st == SHARDY_OK) {
        memcpy(copy->bytes + copy->len, piece, len);
        copy->len += len;
        st = shardy__btree_payload_next(&copy->payload, &piece, &len, err);
    }
    if (st != SHARDY_DONE) {
        return st;
    }
    value_out->data = copy->bytes;
    value_out->len = copy->len;
    value_out->owner = copy->bytes;
    value_out->release = release_copy;
    copy->bytes = NULL;
    return SHARDY_OK;
}

static page_want *want_of(btree_walk *w, value_copy *copy)
{
    return copy->active ? &copy->payload.want : &w->want;
}

static shardy_status run_lookup(btree_walk *w, value_copy *copy, const lookup_spec *spec,
    shardy_buf *value_out, shardy_error *err)
{
    for (;;) {
        shardy_status st;
        if (copy->active) {
            st = copy_value(copy, value_out, err);
        } else {
            st = shardy__btree_walk_step(w, err);
            st = st == SHARDY_OK ? take_value(w, copy, spec, value_out, err) : st;
        }
        if (st == SHARDY_PENDING) {
            page_want *const wants[1] = {want_of(w, copy)};
            SHARDY_TRY(shardy__page_fetch(spec->source, wants, 1, w->tree.limits, err));
        } else if (st != WALK_MORE) {
            return st;
        }
    }
}

static shardy_status get_by_walk(const btree_tree *tree, const btree_key *key,
    const lookup_spec *spec, shardy_buf *value_out, shardy_error *err)
{
    btree_walk walk;
    value_copy copy;
    copy.active = 0;
    shardy__btree_walk_init(&walk, tree);
    shardy__btree_walk_find(&walk, key);
    shardy_status st = run_lookup(&walk, &copy, spec, value_out, err);
    end_copy(&copy);
    shardy__btree_walk_end(&walk);
    return st;
}

/* The fence of a tree if it is of use for keys of that class, which it counts. */
static const btree_fence *fence_for(const btree_tree *tree, int32_t key_type, size_t count)
{
    if (!shardy__page_source_lends(tree->file->source)) {
        return NULL;
    }
    shardy__fence_count(tree, count < UINT32_MAX ? (uint32_t)count : UINT32_MAX);
    const btree_fence *fence = shardy__fence_of(tree);
    return fence && tree->kind == BTREE_INDEX && fence->key_type == key_type ? fence : NULL;
}

shardy_status shardy__btree_get(const btree_tree *tree, const btree_key *key, uint32_t field,
    shardy_buf *value_out, shardy_error *err)
{
    *value_out = (shardy_buf){0};
    page_source *source = tree->file->source;
    int32_t status = LEAF_UNKNOWN;
    const btree_fence *fence = fence_for(tree, key->type, 1);
    if (fence) {
        const shardy_bytes bytes = {key->data, key->len};
        const leaf_call call = {tree, fence, &bytes, 1, field, {value_out, &status}};
        status = shardy__leaf_get(&call);
    }
    shardy_status st = (shardy_status)status;
    if (status == LEAF_UNKNOWN) {
        const lookup_spec spec = {source, field, shardy__page_source_lends(source), 0};
        st = get_by_walk(tree, key, &spec, value_out, err);
    }
    if (st == SHARDY_OK && !value_out->release) {
        page_hold *hold = shardy__page_source_hold(source, 1);
        shardy__page_source_lend(hold, value_out->data, value_out->len, value_out);
    }
    return st;
}

/* --- many keys -------------------------------------------------------------------------------- */

/* A batch: keys that a fence places are looked up by btree_leaf.c, the others by walks. The walks
 * in flight take turns, one step each, until all keys are done. A step ends at a memory access
 * whose line was just asked for, so by the time it is that walk's turn again the line is there.
 * Walks that wait for pages which are not at hand stand aside until all do; then their pages are
 * fetched together. */
typedef struct batch {
    const btree_tree *tree;
    lookup_spec spec;
    int32_t key_type;
    const shardy_bytes *keys; /* or */
    const int64_t *rowids;
    size_t count;
    btree_answers answers; /* LEAF_UNKNOWN: for a walk */
    size_t left;           /* keys for which no walk was started yet */
    size_t next;           /* where to look for the next of them */
    size_t active;         /* walks in flight; the arrays below have one element for each */
    btree_walk *walks;
    value_copy *copies;
    shardy_status *statuses;
    size_t *at; /* index of the key */
    page_want **wants;
} batch;

static WALK_INLINE void start_next(batch *b, size_t i)
{
    while (b->answers.statuses[b->next] != LEAF_UNKNOWN) {
        b->next++;
    }
    size_t at = b->next++;
    b->left--;
    btree_key key = {b->key_type, 0, NULL, 0};
    if (b->keys) {
        key.data = b->keys[at].data;
        key.len = b->keys[at].len;
    } else {
        key.integer = b->rowids[at];
    }
    b->at[i] = at;
    b->statuses[i] = WALK_MORE;
    shardy__btree_walk_find(&b->walks[i], &key);
}

/* The key of walk i is done with: another one takes its place, or the last walk does. 1 when place
 * i is in use. */
static int finish_key(batch *b, size_t i, shardy_status st)
{
    b->answers.statuses[b->at[i]] = st;
    end_copy(&b->copies[i]);
    if (b->left > 0) {
        start_next(b, i);
        return 1;
    }
    shardy__btree_walk_end(&b->walks[i]);
    size_t last = --b->active;
    if (i == last) {
        return 0;
    }
    b->walks[i] = b->walks[last];
    b->copies[i] = b->copies[last];
    b->statuses[i] = b->statuses[last];
    b->at[i] = b->at[last];
    return 0;
}

/* The walk stands on an entry whose value somebody will want: asks for the rest of it. */
static void touch_entry(const btree_walk *w)
{
    const uint32_t pages[1] = {w->cell.overflow};
    const uint32_t ahead[1] = {TOUCH_AHEAD};
    shardy__page_start(w->source, pages, ahead, w->cell.overflow != 0, w->tree.limits);
}

/* What walk i has come to. WALK_MORE, PENDING, or the end of its key. */
static WALK_INLINE shardy_status settle(batch *b, size_t i, shardy_error *err)
{
    shardy_buf *value = &b->answers.values[b->at[i]];
    if (b->copies[i].active) {
        return copy_value(&b->copies[i], value, err);
    }
    if (b->statuses[i] != SHARDY_OK) {
        return b->statuses[i];
    }
    if (b->spec.touch) {
        touch_entry(&b->walks[i]);
        return SHARDY_OK;
    }
    shardy_status st = take_value(&b->walks[i], &b->copies[i], &b->spec, value, err);
    if (st == SHARDY_OK) {
        __builtin_prefetch(value->data);
        __builtin_prefetch((const char *)value->data + 64);
    }
    return st;
}

/* One turn of all walks; *waiting_out gets how many wait for pages. */
static shardy_status turn(batch *b, size_t *waiting_out, shardy_error *err)
{
    shardy__walk_turn(b->walks, b->statuses, b->active, err);
    size_t waiting = 0;
    for (size_t i = 0; i < b->active;) {
        shardy_status st = b->statuses[i];
        if (st == WALK_MORE && !b->copies[i].active) {
            i++;
            continue;
        }
        if (st != SHARDY_PENDING) {
            st = settle(b, i, err);
            b->statuses[i] = st == WALK_MORE ? SHARDY_OK : st;
        }
        if (st < 0) {
            return st;
        }
        if (st == SHARDY_OK || st == SHARDY_NOT_FOUND) {
            i += (size_t)finish_key(b, i, st);
        } else {
            waiting += st == SHARDY_PENDING;
            i++;
        }
    }
    *waiting_out = waiting;
    return SHARDY_OK;
}

static shardy_status fetch_all(batch *b, shardy_error *err)
{
    for (size_t i = 0; i < b->active; i++) {
        b->wants[i] = want_of(&b->walks[i], &b->copies[i]);
        b->statuses[i] = b->copies[i].active ? SHARDY_OK : WALK_MORE;
    }
    return shardy__page_fetch(b->spec.source, b->wants, b->active, b->tree->limits, err);
}

static shardy_status make_walks(batch *b, size_t walks, shardy_error *err)
{
    b->walks = shardy__malloc(walks * sizeof *b->walks);
    b->copies = shardy__malloc(walks * sizeof *b->copies);
    b->statuses = shardy__malloc(walks * sizeof *b->statuses);
    b->at = shardy__malloc(walks * sizeof *b->at);
    b->wants = shardy__malloc(walks * sizeof(page_want *));
    if (!b->walks || !b->copies || !b->statuses || !b->at || !b->wants) {
        return shardy__error_nomem(err, "sqlite");
    }
    for (; b->active < walks; b->active++) {
        shardy__btree_walk_init(&b->walks[b->active], b->tree);
        b->copies[b->active].active = 0;
        start_next(b, b->active);
    }
    return SHARDY_OK;
}

static shardy_status look_at_time(const batch *b, shardy_error *err)
{
    const page_limits *l = b->tree->limits;
    return l && l->context ? shardy__check_time(l->context, l->deadline_ns, l->cancel, "read", err)
                           : SHARDY_OK;
}

static shardy_status run_walks(batch *b, shardy_error *err)
{
    const uint32_t most = b->tree->fetches_max;
    size_t fetches = most > 0 && most < BTREE_BATCH_FETCHES ? most : BTREE_BATCH_FETCHES;
    size_t walks = b->spec.lends ? BTREE_BATCH_WALKS : fetches;
    shardy_status st = make_walks(b, b->left < walks ? b->left : walks, err);
    size_t left = b->left; /* when time was looked at */
    while (st >= 0 && b->active > 0) {
        size_t waiting = 0;
        st = turn(b, &waiting, err);
        if (st >= 0 && b->active > 0 && waiting == b->active) {
            st = fetch_all(b, err);
        }
        if (st >= 0 && left - b->left >= LOOK_AFTER) {
            left = b->left;
            st = look_at_time(b, err);
        }
    }
    for (size_t i = 0; i < b->active; i++) {
        end_copy(&b->copies[i]);
        shardy__btree_walk_end(&b->walks[i]);
    }
    shardy__free(b->walks);
    shardy__free(b->copies);
    shardy__free(b->statuses);
    shardy__free(b->at);
    shardy__free(b->wants);
    return st;
}

/* Looks up by the fence what it can. */
static shardy_status run_fence(batch *b, shardy_error *err)
{
    const btree_fence *fence = fence_for(b->tree, b->key_type, b->count);
    if (!fence) {
        return SHARDY_OK;
    }
    b->left = 0;
    for (size_t i = 0; i < b->count; i += LOOK_AFTER) {
        const size_t n = b->count - i < LOOK_AFTER ? b->count - i : LOOK_AFTER;
        const btree_answers answers = {b->answers.values + i, b->answers.statuses + i};
        const leaf_call call = {b->tree, fence, b->keys + i, n, b->spec.field, answers};
        if (i > 0) {
            SHARDY_TRY(look_at_time(b, err));
        }
        b->left += shardy__leaf_get_many(&call);
    }
    return SHARDY_OK;
}

static shardy_status run_batch(batch *b, const btree_tree *tree, uint32_t field, shardy_error *err)
{
    b->tree = tree;
    b->spec.source = tree->file->source;
    b->spec.field = field;
    b->spec.lends = shardy__page_source_lends(b->spec.source);
    b->left = b->count;
    const btree_answers answers = b->answers;
    for (size_t i = 0, count = b->count; i < count; i++) {
        answers.values[i] = (shardy_buf){0};
        answers.statuses[i] = LEAF_UNKNOWN;
    }
    shardy_status st = run_fence(b, err);
    if (st >= 0 && b->left > 0) {
        st = run_walks(b, err);
    }
    if (st < 0) {
        shardy__btree_values_clear(b->answers.values, b->count);
        return st;
    }
    return SHARDY_OK;
}

shardy_status shardy__btree_get_many(const btree_tree *tree, int32_t key_type,
    const shardy_bytes *keys, size_t count, uint32_t field, btree_answers answers,
    shardy_error *err)
{
    batch b = {.key_type = key_type, .keys = keys, .count = count, .answers = answers};
    return run_batch(&b, tree, field, err);
}

shardy_status shardy__btree_get_rows(const btree_tree *tree, const int64_t *rowids, size_t count,
    uint32_t field, btree_answers answers, shardy_error *err)
{
    batch b = {.key_type = RECORD_INT, .rowids = rowids, .count = count, .answers = answers};
    return run_batch(&b, tree, field, err);
}

shardy_status shardy__btree_touch_rows(const btree_tree *tree, const int64_t *rowids, size_t count,
    btree_answers answers, shardy_error *err)
{
    batch b = {.key_type = RECORD_INT, .rowids = rowids, .count = count, .answers = answers};
    b.spec.touch = 1;
    return run_batch(&b, tree, 0, err);
}

void shardy__btree_values_clear(shardy_buf *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shardy_buf_release(&values[i]);
    }
}
