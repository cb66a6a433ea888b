#include "vec_search.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/context.h"
#include "../simd/exact.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row that may be among the nearest. */
typedef struct candidate {
    double score;
    int64_t rowid;
} candidate;

/* The nearest of one query so far. */
typedef struct nearest {
    candidate *list;
    size_t count;
    size_t room;
    double bound; /* rows beyond it are not among the k nearest */
} nearest;

struct vec_search {
    const vec_tables *tables;
    shardy_engine_search *request;
    nearest *queries;
    exact_query *prepared;
    float *row;  /* a row that is split over pages, put together */
    arena arena; /* of the result */
};

shardy_status shardy__vec_search_new(const vec_tables *tables, shardy_engine_search *request,
    vec_search **search_out, shardy_error *err)
{
    *search_out = NULL;
    vec_search *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "engine");
    }
    shardy__arena_init(&s->arena);
    s->tables = tables;
    s->request = request;
    s->queries = shardy__calloc(request->query_count, sizeof *s->queries);
    s->prepared = shardy__calloc(request->query_count, sizeof *s->prepared);
    s->row = shardy__malloc((size_t)tables->dim * sizeof(float));
    if (!s->queries || !s->prepared || !s->row) {
        shardy__vec_search_free(s);
        return shardy__error_nomem(err, "engine");
    }
    *search_out = s;
    return SHARDY_OK;
}

void shardy__vec_search_free(vec_search *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; s->queries && i < s->request->query_count; i++) {
        shardy__free(s->queries[i].list);
    }
    shardy__free(s->queries);
    shardy__free(s->prepared);
    shardy__free(s->row);
    shardy__arena_free(&s->arena);
    shardy__free(s);
}

/* --- the nearest so far ----------------------------------------------------------------------- */

static int compare_scores(const void *a, const void *b)
{
    const candidate *x = a;
    const candidate *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

/* Drops what is beyond the k-th score; what is equal to it stays, because ids decide then. */
static void cut(nearest *n, uint32_t k)
{
    if (n->count <= k) {
        return;
    }
    qsort(n->list, n->count, sizeof *n->list, compare_scores);
    n->bound = n->list[k - 1].score;
    while (n->count > k && n->list[n->count - 1].score > n->bound) {
        n->count--;
    }
}

static shardy_status keep(nearest *n, uint32_t k, double score, int64_t rowid, shardy_error *err)
{
    if (n->count < n->room) {
        n->list[n->count].score = score;
        n->list[n->count].rowid = rowid;
        n->count++;
        return SHARDY_OK;
    }
    cut(n, k);
    /* ties, or the first time: more room, so that cutting stays rare */
    if (n->count >= n->room / 2) {
        size_t room = n->room ? n->room * 2 : (size_t)k * 2 + 64;
        candidate *list = shardy__realloc(n->list, room * sizeof *list);
        if (!list) {
            return shardy__error_nomem(err, "engine");
        }
        n->list = list;
        n->room = room;
    }
    if (score <= n->bound) {
        n->list[n->count].score = score;
        n->list[n->count].rowid = rowid;
        n->count++;
    }
    return SHARDY_OK;
}

/* --- scanning --------------------------------------------------------------------------------- */

static shardy_status scan_row(vec_search *s, const float *row, int64_t rowid, shardy_error *err)
{
    const shardy_engine_search *r = s->request;
    for (size_t q = 0; q < r->query_count; q++) {
        double score = shardy__exact_score(&s->prepared[q], row);
        if (isfinite(score) && score <= s->queries[q].bound) {
            SHARDY_TRY(keep(&s->queries[q], r->k, score, rowid, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status scan_chunk(vec_search *s, const vec_view *view, shardy_error *err)
{
    size_t row_len = (size_t)s->tables->dim * sizeof(float);
    for (uint32_t slot = 0; slot < view->slots; slot++) {
        if (!shardy__vec_view_valid(view, slot)) {
            continue;
        }
        SHARDY_TRY(shardy__vec_view_read(view, (uint64_t)slot * row_len, s->row, row_len, err));
        SHARDY_TRY(scan_row(s, s->row, shardy__vec_view_rowid(view, slot), err));
        s->request->vectors_scanned++;
    }
    return SHARDY_OK;
}

static shardy_status scan(vec_search *s, shardy_error *err)
{
    const shardy_engine_search *r = s->request;
    vec_view view;
    shardy__vec_view_init(&view, s->tables);
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < s->tables->count; i++) {
        st = shardy__check_time(s->tables->context, r->deadline_ns, r->cancel, "search", err);
        if (st >= 0) {
            st = shardy__vec_view_load(&view, i, err);
        }
        if (st >= 0) {
            st = scan_chunk(s, &view, err);
        }
    }
    shardy__vec_view_free(&view);
    return st;
}

/* --- the result ------------------------------------------------------------------------------- */

static int compare_hits(const void *a, const void *b)
{
    const shardy_engine_hit *x = a;
    const shardy_engine_hit *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    int order = shardy_key_compare(&x->id, &y->id);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

/* Ids of the candidates of one query, in the order of hits; the first k of them are the result. */
static shardy_status name_hits(
    vec_search *s, nearest *n, shardy_engine_hit *hits, size_t *count_out, shardy_error *err)
{
    bytebuf text;
    shardy__bytebuf_init(&text, SHARDY_KEY_LEN_MAX);
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < n->count; i++) {
        hits[i].score = n->list[i].score;
        hits[i].row = (uint64_t)n->list[i].rowid;
        st = shardy__vec_id(s->tables, n->list[i].rowid, &text, &hits[i].id, err);
        if (st >= 0 && hits[i].id.type == SHARDY_KEY_TEXT) {
            hits[i].id.bytes.data =
                shardy__arena_strndup(&s->arena, hits[i].id.bytes.data, hits[i].id.bytes.len);
            st = hits[i].id.bytes.data ? SHARDY_OK : shardy__error_nomem(err, "engine");
        }
    }
    shardy__bytebuf_free(&text);
    if (st >= 0 && n->count > 1) {
        qsort(hits, n->count, sizeof *hits, compare_hits);
    }
    *count_out = n->count < s->request->k ? n->count : s->request->k;
    return st;
}

static shardy_status collect(vec_search *s, shardy_error *err)
{
    shardy_engine_search *r = s->request;
    size_t total = 0;
    for (size_t q = 0; q < r->query_count; q++) {
        cut(&s->queries[q], r->k);
        total += s->queries[q].count;
    }
    size_t *offsets = shardy__arena_calloc(&s->arena, r->query_count + 1, sizeof *offsets);
    shardy_engine_hit *hits = shardy__arena_calloc(&s->arena, total, sizeof *hits);
    if (!offsets || !hits) {
        return shardy__error_nomem(err, "engine");
    }
    for (size_t q = 0; q < r->query_count; q++) {
        size_t count;
        SHARDY_TRY(name_hits(s, &s->queries[q], hits + offsets[q], &count, err));
        offsets[q + 1] = offsets[q] + count;
    }
    r->hits = hits;
    r->offsets = offsets;
    return SHARDY_OK;
}

shardy_status shardy__vec_search_run(vec_search *s, shardy_error *err)
{
    shardy_engine_search *r = s->request;
    r->vectors_scanned = 0;
    for (size_t q = 0; q < r->query_count; q++) {
        s->queries[q].bound = (double)INFINITY;
        s->queries[q].count = 0;
        shardy__exact_prepare(
            &s->prepared[q], r->queries + q * r->stride, s->tables->dim, s->tables->metric);
    }
    if (r->k > 0) {
        SHARDY_TRY(scan(s, err));
    }
    return collect(s, err);
}
