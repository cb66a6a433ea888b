#include "vec_search.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/context.h"
#include "../simd/screen.h"
#include "vec_best.h"
#include "vec_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Vectors that tie with the k-th of a query are kept until their ids decide: so many for all
 * queries of a search, but not fewer or more than these for each. 16 to 32 bytes each. A query with
 * more ties is answered by a second scan. */
#define TIES_KEPT     (1u << 20)
#define TIES_KEPT_MIN 64u
#define TIES_KEPT_MAX 4096u

/* Floats to a line of the cache. Queries that begin anywhere cross lines with every other load: in
 * batches, whose rows come from the cache, that took 8 percent of the time. */
#define LINE_FLOATS 16u

struct vec_search {
    vec_tables own; /* with the limits of the request */
    page_limits limits;
    const vec_tables *tables; /* `own` */
    shardy_engine_search *request;
    const simd_kernels *kernels;
    screen_query *queries;
    float *vectors; /* of the queries, each aligned to a line of the cache */
    topk *collectors;
    vec_best *tied; /* of the queries whose collector overflowed; NULL when there is none */
    float *row;     /* a split vector, put together; for the second scan */
    vec_rows rows;
    arena arena; /* of the result */
};

static size_t aligned_dim(const vec_search *s)
{
    return ((size_t)s->tables->dim + LINE_FLOATS - 1) & ~(size_t)(LINE_FLOATS - 1);
}

shardy_status shardy__vec_search_new(const vec_tables *tables, shardy_engine_search *request,
    vec_search **search_out, shardy_error *err)
{
    *search_out = NULL;
    vec_search *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "engine");
    }
    shardy__arena_init(&s->arena);
    s->limits = (page_limits){request->deadline_ns, request->cancel, tables->context};
    s->own = *tables;
    s->tables = &s->own;
    shardy__vec_tables_limit(&s->own, &s->limits);
    s->request = request;
    s->kernels = shardy__simd_kernels(SIMD_AUTO);
    s->queries = shardy__calloc(request->query_count, sizeof *s->queries);
    s->collectors = shardy__calloc(request->query_count, sizeof *s->collectors);
    s->vectors = shardy__aligned_alloc(
        LINE_FLOATS * sizeof(float), (request->query_count + 1) * aligned_dim(s) * sizeof(float));
    shardy_status st = s->queries && s->vectors && s->collectors
                           ? shardy__vec_rows_init(&s->rows, s->tables, err)
                           : shardy__error_nomem(err, "engine");
    if (st < 0) {
        shardy__vec_search_free(s);
        return st;
    }
    if (request->ahead_max > 0 && request->ahead_max < s->rows.ahead_max) {
        s->rows.ahead_max = request->ahead_max;
    }
    *search_out = s;
    return SHARDY_OK;
}

void shardy__vec_search_free(vec_search *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->request->query_count; i++) {
        if (s->collectors) {
            shardy__topk_free(&s->collectors[i]);
        }
        if (s->tied) {
            shardy__vec_best_free(&s->tied[i]);
        }
    }
    shardy__free(s->queries);
    shardy__free(s->vectors);
    shardy__free(s->collectors);
    shardy__free(s->tied);
    shardy__free(s->row);
    shardy__vec_rows_free(&s->rows);
    shardy__arena_free(&s->arena);
    shardy__free(s);
}

/* --- the first scan --------------------------------------------------------------------------- */

/* The next vectors, unless it is time to stop. */
static shardy_status next_rows(vec_search *s, shardy_error *err)
{
    const shardy_engine_search *r = s->request;
    SHARDY_TRY(shardy__check_time(s->tables->context, r->deadline_ns, r->cancel, "search", err));
    return shardy__vec_rows_next(&s->rows, err);
}

static void prepare(vec_search *s)
{
    const shardy_engine_search *r = s->request;
    size_t ties = r->query_count ? TIES_KEPT / r->query_count : 0;
    ties = ties > TIES_KEPT_MAX ? TIES_KEPT_MAX : ties < TIES_KEPT_MIN ? TIES_KEPT_MIN : ties;
    for (size_t q = 0; q < r->query_count; q++) {
        float *vector = s->vectors + q * aligned_dim(s);
        memcpy(vector, r->queries + q * r->stride, s->tables->dim * sizeof *vector);
        shardy__topk_init(&s->collectors[q], r->k, r->k + ties);
        shardy__screen_prepare(&s->queries[q], vector, s->tables->dim, s->tables->metric);
    }
}

/* All queries share one scan of the data. */
static shardy_status scan(vec_search *s, shardy_error *err)
{
    const screen_batch batch = {s->kernels, s->queries, s->collectors, s->request->query_count};
    shardy_status st;
    while ((st = next_rows(s, err)) == SHARDY_OK) {
        SHARDY_TRY(shardy__screen_scan(&batch, &s->rows.window, s->rows.numbers, err));
        s->request->vectors_scanned += s->rows.window.count;
    }
    return st < 0 ? st : SHARDY_OK;
}

/* --- the second scan, for queries with very many ties ----------------------------------------- */

static shardy_status offer_window(vec_search *s, size_t q, shardy_error *err)
{
    float floors[VEC_WINDOW_ROWS];
    const screen_query *query = &s->queries[q];
    vec_best *best = &s->tied[q];
    const vec_rows *rows = &s->rows;
    shardy__screen_floors(s->kernels, query, &rows->window, floors);
    double bound = best->bound;
    float limit = shardy__screen_limit(query, bound);
    for (size_t i = 0; i < rows->window.count; i++) {
        if (floors[i] > limit) {
            continue;
        }
        double score = shardy__exact_score(&query->exact, shardy__vec_rows_whole(rows, i, s->row));
        if (isnan(score)) {
            continue;
        }
        SHARDY_TRY(shardy__vec_best_offer(best, score, (int64_t)rows->numbers[i], err));
        if (best->bound < bound) {
            bound = best->bound;
            limit = shardy__screen_limit(query, bound);
        }
    }
    return SHARDY_OK;
}

static shardy_status start_ties(vec_search *s, size_t q, shardy_error *err)
{
    const shardy_engine_search *r = s->request;
    if (!s->tied) {
        s->tied = shardy__calloc(r->query_count, sizeof *s->tied);
        s->row = shardy__malloc((size_t)s->tables->dim * sizeof *s->row);
        if (!s->tied || !s->row) {
            return shardy__error_nomem(err, "engine");
        }
    }
    return shardy__vec_best_init(&s->tied[q], s->tables, r->k, s->collectors[q].bound, err);
}

static shardy_status scan_ties(vec_search *s, shardy_error *err)
{
    shardy_status st;
    shardy__vec_rows_restart(&s->rows);
    while ((st = next_rows(s, err)) == SHARDY_OK) {
        for (size_t q = 0; q < s->request->query_count; q++) {
            if (s->tied[q].hits) {
                SHARDY_TRY(offer_window(s, q, err));
            }
        }
    }
    return st < 0 ? st : SHARDY_OK;
}

/* Finishes the collectors. */
static shardy_status settle(vec_search *s, shardy_error *err)
{
    for (size_t q = 0; q < s->request->query_count; q++) {
        shardy_status st = shardy__topk_finish(&s->collectors[q], err);
        if (st == SHARDY_EXHAUSTED) {
            st = start_ties(s, q, err);
        }
        SHARDY_TRY(st);
    }
    return s->tied ? scan_ties(s, err) : SHARDY_OK;
}

/* --- the result ------------------------------------------------------------------------------- */

static shardy_status keep_text(arena *a, shardy_engine_hit *hit, shardy_error *err)
{
    if (hit->id.type != SHARDY_KEY_TEXT) {
        return SHARDY_OK;
    }
    hit->id.bytes.data = shardy__arena_strndup(a, hit->id.bytes.data, hit->id.bytes.len);
    return hit->id.bytes.data ? SHARDY_OK : shardy__error_nomem(err, "engine");
}

/* The pages of the ids of all candidates, together. */
static shardy_status ids_ahead(vec_search *s, const topk *t, shardy_error *err)
{
    if (!shardy__page_source_starts(s->tables->file.source)) {
        return SHARDY_OK;
    }
    uint64_t *rows = shardy__malloc((t->count ? t->count : 1) * sizeof *rows);
    if (!rows) {
        return shardy__error_nomem(err, "engine");
    }
    for (size_t i = 0; i < t->count; i++) {
        rows[i] = t->entries[i].row;
    }
    shardy_status st = shardy__vec_rows_ahead(&s->tables->id_map, rows, t->count, err);
    shardy__free(rows);
    return st;
}

/* Ids of all candidates, then their order. */
static shardy_status name_hits(
    vec_search *s, const topk *t, shardy_engine_hit *hits, arena *a, shardy_error *err)
{
    vec_ids ids;
    shardy__vec_ids_init(&ids, s->tables);
    shardy_status st = ids_ahead(s, t, err);
    for (size_t i = 0; st >= 0 && i < t->count; i++) {
        hits[i].score = t->entries[i].score;
        hits[i].row = t->entries[i].row;
        st = shardy__vec_ids_get(&ids, (int64_t)hits[i].row, &hits[i].id, err);
        if (st >= 0) {
            st = keep_text(a, &hits[i], err);
        }
    }
    shardy__vec_ids_free(&ids);
    if (st >= 0 && t->count > 1) {
        qsort(hits, t->count, sizeof *hits, shardy__vec_hit_compare);
    }
    return st;
}

/* The hits of a query that has more candidates than k. */
static shardy_status choose_hits(
    vec_search *s, const topk *t, shardy_engine_hit *hits, shardy_error *err)
{
    arena scratch;
    shardy__arena_init(&scratch);
    shardy_engine_hit *all = shardy__arena_calloc(&scratch, t->count, sizeof *all);
    shardy_status st =
        all ? name_hits(s, t, all, &scratch, err) : shardy__error_nomem(err, "engine");
    for (size_t i = 0; st >= 0 && i < t->k; i++) {
        hits[i] = all[i];
        st = keep_text(&s->arena, &hits[i], err);
    }
    shardy__arena_free(&scratch);
    return st;
}

static shardy_status take_tied(
    vec_search *s, vec_best *best, shardy_engine_hit *hits, shardy_error *err)
{
    shardy__vec_best_finish(best);
    for (size_t i = 0; i < best->count; i++) {
        hits[i] = best->hits[i];
        SHARDY_TRY(keep_text(&s->arena, &hits[i], err));
    }
    return SHARDY_OK;
}

static shardy_status collect(vec_search *s, shardy_error *err)
{
    shardy_engine_search *r = s->request;
    size_t *offsets = shardy__arena_calloc(&s->arena, r->query_count + 1, sizeof *offsets);
    if (!offsets) {
        return shardy__error_nomem(err, "engine");
    }
    for (size_t q = 0; q < r->query_count; q++) {
        size_t count = s->collectors[q].overflow ? s->tied[q].count : s->collectors[q].count;
        offsets[q + 1] = offsets[q] + (count < r->k ? count : r->k);
    }
    shardy_engine_hit *hits =
        shardy__arena_calloc(&s->arena, offsets[r->query_count], sizeof *hits);
    if (!hits) {
        return shardy__error_nomem(err, "engine");
    }
    for (size_t q = 0; q < r->query_count; q++) {
        const topk *t = &s->collectors[q];
        shardy_engine_hit *of_query = hits + offsets[q];
        if (t->overflow) {
            SHARDY_TRY(take_tied(s, &s->tied[q], of_query, err));
        } else if (t->count > t->k) {
            SHARDY_TRY(choose_hits(s, t, of_query, err));
        } else {
            SHARDY_TRY(name_hits(s, t, of_query, &s->arena, err));
        }
    }
    r->hits = hits;
    r->offsets = offsets;
    return SHARDY_OK;
}

shardy_status shardy__vec_search_run(vec_search *s, shardy_error *err)
{
    shardy_engine_search *r = s->request;
    r->vectors_scanned = 0;
    prepare(s);
    if (r->k > 0) {
        SHARDY_TRY(scan(s, err));
        SHARDY_TRY(settle(s, err));
    }
    return collect(s, err);
}
