#include "vec_best.h"

#include "../base/alloc.h"

#include <stdlib.h>
#include <string.h>

int shardy__vec_hit_compare(const void *a, const void *b)
{
    const shardy_engine_hit *x = a;
    const shardy_engine_hit *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    int order = shardy_key_compare(&x->id, &y->id);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

shardy_status shardy__vec_best_init(
    vec_best *b, const vec_tables *t, size_t k, double bound, shardy_error *err)
{
    memset(b, 0, sizeof *b);
    b->k = k;
    b->bound = bound;
    shardy__vec_ids_init(&b->ids, t);
    b->hits = shardy__calloc(k, sizeof *b->hits);
    return b->hits ? SHARDY_OK : shardy__error_nomem(err, "engine");
}

static void free_id(shardy_engine_hit *hit)
{
    if (hit->id.type == SHARDY_KEY_TEXT) {
        shardy__free((void *)(uintptr_t)hit->id.bytes.data);
    }
}

void shardy__vec_best_free(vec_best *b)
{
    for (size_t i = 0; i < b->count; i++) {
        free_id(&b->hits[i]);
    }
    shardy__free(b->hits);
    shardy__vec_ids_free(&b->ids);
    memset(b, 0, sizeof *b);
}

static void swap(shardy_engine_hit *a, shardy_engine_hit *b)
{
    shardy_engine_hit kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(shardy_engine_hit *hits, size_t i)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (shardy__vec_hit_compare(&hits[i], &hits[parent]) <= 0) {
            return;
        }
        swap(&hits[i], &hits[parent]);
        i = parent;
    }
}

static void sift_down(shardy_engine_hit *hits, size_t count)
{
    for (size_t i = 0; 2 * i + 1 < count;) {
        size_t child = 2 * i + 1;
        if (child + 1 < count && shardy__vec_hit_compare(&hits[child + 1], &hits[child]) > 0) {
            child++;
        }
        if (shardy__vec_hit_compare(&hits[child], &hits[i]) <= 0) {
            return;
        }
        swap(&hits[child], &hits[i]);
        i = child;
    }
}

shardy_status shardy__vec_best_offer(vec_best *b, double score, int64_t rowid, shardy_error *err)
{
    if (score > b->bound) {
        return SHARDY_OK;
    }
    shardy_engine_hit hit;
    memset(&hit, 0, sizeof hit);
    hit.score = score;
    hit.row = (uint64_t)rowid;
    SHARDY_TRY(shardy__vec_ids_get(&b->ids, rowid, &hit.id, err));
    const int full = b->count == b->k;
    if (full && shardy__vec_hit_compare(&hit, &b->hits[0]) >= 0) {
        return SHARDY_OK;
    }
    if (hit.id.type == SHARDY_KEY_TEXT) {
        hit.id.bytes.data = shardy__strndup(hit.id.bytes.data, hit.id.bytes.len);
        if (!hit.id.bytes.data) {
            return shardy__error_nomem(err, "engine");
        }
    }
    if (full) {
        free_id(&b->hits[0]);
        b->hits[0] = hit;
        sift_down(b->hits, b->count);
    } else {
        b->hits[b->count++] = hit;
        sift_up(b->hits, b->count - 1);
    }
    if (b->count == b->k && b->hits[0].score < b->bound) {
        b->bound = b->hits[0].score;
    }
    return SHARDY_OK;
}

void shardy__vec_best_finish(vec_best *b)
{
    if (b->count > 1) {
        qsort(b->hits, b->count, sizeof *b->hits, shardy__vec_hit_compare);
    }
}
