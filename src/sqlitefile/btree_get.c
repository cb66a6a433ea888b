#include "btree_read.h"

#include "../base/alloc.h"
#include "../base/bytes.h"
#include "btree_fence.h"
#include "btree_step.h"

#include <stddef.h>
#include <string.h>

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
} lookup_spec;

static void end_copy(value_copy *copy)
{
    if (copy->active) {
        shardy__btree_payload_end(&copy->payload);
        shardy__free(copy->bytes);
        copy->active = 0;
    }
}

/* The common case by hand: all header bytes before the field's take one byte each, the field's own
 * one or two. */
static WALK_INLINE int find_short(const btree_cell *cell, uint32_t field, record_column *column_out)
{
    const uint8_t *p = cell->local;
    uint32_t header_len = cell->local_len > 0 ? p[0] : 0;
    if (field > 3 || header_len >= 0x80 || header_len < field + 2 || header_len > cell->local_len) {
        return 0;
    }
    uint64_t offset = header_len;
    for (uint32_t i = 0; i < field; i++) {
        uint32_t serial = p[1 + i];
        if (serial < 12 || serial >= 0x80) {
            return 0;
        }
        offset += (serial - 12) >> 1;
    }
    uint32_t serial = p[1 + field];
    if (serial & 0x80) {
        if (header_len < field + 3 || (p[2 + field] & 0x80)) {
            return 0;
        }
        serial = (serial & 0x7F) << 7 | p[2 + field];
    }
    uint64_t len = (serial - 12) >> 1;
    if (serial < 12 || offset + len > cell->payload_len) {
        return 0;
    }
    column_out->serial = serial;
    column_out->offset = offset;
    column_out->len = len;
    return 1;
}

/* The walk stands on the entry. OK when *value_out is filled (release NULL: borrowed), WALK_MORE
 * when it has to be copied. */
static WALK_INLINE shardy_status take_value(btree_walk *w, value_copy *copy,
    const lookup_spec *spec, shardy_buf *value_out, shardy_error *err)
{
    record_column column;
    if (!find_short(&w->cell, spec->field, &column)) {
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
            SHARDY_TRY(shardy__page_fetch(spec->source, wants, 1, err));
        } else if (st != WALK_MORE) {
            return st;
        }
    }
}

shardy_status shardy__btree_get(const btree_tree *tree, const btree_key *key, uint32_t field,
    shardy_buf *value_out, shardy_error *err)
{
    memset(value_out, 0, sizeof *value_out);
    page_source *source = tree->file->source;
    lookup_spec spec = {source, field, shardy__page_source_lends(source)};
    btree_walk walk;
    value_copy copy;
    copy.active = 0;
    shardy__btree_walk_init(&walk, tree);
    shardy__btree_walk_find(&walk, key);
    shardy_status st = run_lookup(&walk, &copy, &spec, value_out, err);
    end_copy(&copy);
    shardy__btree_walk_end(&walk);
    if (spec.lends) {
        shardy__fence_count(tree, 1);
    }
    if (st == SHARDY_OK && !value_out->release) {
        page_hold *hold = shardy__page_source_hold(source, 1);
        shardy__page_source_lend(hold, value_out->data, value_out->len, value_out);
    }
    return st;
}

/* --- many keys -------------------------------------------------------------------------------- */

/* Keys from the one for which the fence is asked to the one that starts. */
#define FENCE_AHEAD 8u

/* A batch: the walks in flight take turns, one step each, until all keys are done. A step ends at a
 * memory access whose line was just asked for, so by the time it is that walk's turn again the line
 * is there. Walks that wait for pages which are not at hand stand aside until all do; then their
 * pages are fetched together. */
typedef struct batch {
    const btree_tree *tree;
    lookup_spec spec;
    int32_t key_type;
    const shardy_bytes *keys; /* or */
    const int64_t *rowids;
    const btree_fence *fence; /* or NULL */
    size_t count;
    size_t next; /* key to start next */
    btree_result *results;
    size_t active; /* walks in flight; the arrays below have one element for each */
    btree_walk *walks;
    value_copy *copies;
    shardy_status *statuses;
    size_t *at; /* index of the key */
    page_want **wants;
} batch;

/* Asks for what the fence will be asked about keys that come later: first the bucket, then, when
 * that has come, the post. */
static WALK_INLINE void ask_fence(const batch *b)
{
    const btree_fence *f = b->fence;
    if (!f || !b->keys || f->skip || b->next + FENCE_AHEAD >= b->count) {
        return;
    }
    const shardy_bytes *far = &b->keys[b->next + FENCE_AHEAD];
    const shardy_bytes *near = &b->keys[b->next + FENCE_AHEAD / 2];
    if (far->len >= 8 && near->len >= 8) {
        uint32_t bucket = shardy__fence_bucket(f, shardy__get_be64(far->data));
        __builtin_prefetch(&f->buckets[bucket]);
        bucket = shardy__fence_bucket(f, shardy__get_be64(near->data));
        __builtin_prefetch(&f->posts[f->buckets[bucket]]);
    }
}

static WALK_INLINE void start_next(batch *b, size_t i)
{
    ask_fence(b);
    size_t at = b->next++;
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
    b->results[b->at[i]].status = st;
    end_copy(&b->copies[i]);
    if (b->next < b->count) {
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

/* What walk i has come to. WALK_MORE, PENDING, or the end of its key. */
static WALK_INLINE shardy_status settle(batch *b, size_t i, shardy_error *err)
{
    btree_result *result = &b->results[b->at[i]];
    if (b->copies[i].active) {
        return copy_value(&b->copies[i], &result->value, err);
    }
    if (b->statuses[i] != SHARDY_OK) {
        return b->statuses[i];
    }
    shardy_status st = take_value(&b->walks[i], &b->copies[i], &b->spec, &result->value, err);
    if (st == SHARDY_OK) {
        __builtin_prefetch(result->value.data);
        __builtin_prefetch((const char *)result->value.data + 64);
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
    return shardy__page_fetch(b->spec.source, b->wants, b->active, err);
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
        b->walks[b->active].batch = 1;
        b->copies[b->active].active = 0;
        start_next(b, b->active);
    }
    return SHARDY_OK;
}

static shardy_status run_batch(batch *b, shardy_error *err)
{
    memset(b->results, 0, b->count * sizeof *b->results);
    if (b->spec.lends) {
        shardy__fence_count(b->tree, b->count < UINT32_MAX ? (uint32_t)b->count : UINT32_MAX);
    }
    b->fence = shardy__fence_of(b->tree);
    size_t walks = b->spec.lends ? BTREE_BATCH_WALKS : BTREE_BATCH_FETCHES;
    shardy_status st = make_walks(b, b->count < walks ? b->count : walks, err);
    while (st >= 0 && b->active > 0) {
        size_t waiting = 0;
        st = turn(b, &waiting, err);
        if (st >= 0 && b->active > 0 && waiting == b->active) {
            st = fetch_all(b, err);
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
    if (st < 0) {
        shardy__btree_results_clear(b->results, b->count);
        return st;
    }
    return SHARDY_OK;
}

static void init_batch(batch *b, const btree_tree *tree, uint32_t field)
{
    memset(b, 0, sizeof *b);
    b->tree = tree;
    b->spec.source = tree->file->source;
    b->spec.field = field;
    b->spec.lends = shardy__page_source_lends(b->spec.source);
}

shardy_status shardy__btree_get_many(const btree_tree *tree, int32_t key_type,
    const shardy_bytes *keys, size_t count, uint32_t field, btree_result *results,
    shardy_error *err)
{
    batch b;
    init_batch(&b, tree, field);
    b.key_type = key_type;
    b.keys = keys;
    b.count = count;
    b.results = results;
    return count ? run_batch(&b, err) : SHARDY_OK;
}

shardy_status shardy__btree_get_rows(const btree_tree *tree, const int64_t *rowids, size_t count,
    uint32_t field, btree_result *results, shardy_error *err)
{
    batch b;
    init_batch(&b, tree, field);
    b.key_type = RECORD_INT;
    b.rowids = rowids;
    b.count = count;
    b.results = results;
    return count ? run_batch(&b, err) : SHARDY_OK;
}

void shardy__btree_results_clear(btree_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shardy_buf_release(&results[i].value);
        memset(&results[i], 0, sizeof results[i]);
    }
}
