/* Shards of the engine "sqlite-vec": the input is the file; dimension and metric are those that its
 * schema names.
 *
 * Properties: opening, look-ups and searches end within a number of pages that is bounded by the
 * size of the file, with an answer or as corrupt. The scores of the hits are the least of all
 * vectors as they are read one by one through the B-tree, bit for bit; hits are in order; a batch
 * of queries gives what each gives alone. Ids and payloads of all vectors can be asked for. A
 * search gives the same hits when pages have to be fetched; if ids decide between hits, only when
 * the ids stand in order: what a look-up finds in a tree out of order depends on its way. What a
 * check passes can be searched. */
#include "shard_target.h"

#include "engine/vec_best.h"
#include "engine/vec_search.h"
#include "simd/exact.h"

#include <math.h>

#define VECTORS_MAX 4096u
#define QUERIES     3u

/* What the schema says, so that mutants of the schema are tried as well. */
static void guess_spec(const uint8_t *data, size_t size, shardy_engine_reader_spec *spec)
{
    static const char mark[] = "embedding float[";
    memset(spec, 0, sizeof *spec);
    spec->dim = 4;
    spec->metric = SHARDY_VECTOR_METRIC_COSINE;
    for (size_t i = 0; i + 64 < size; i++) {
        if (memcmp(data + i, mark, sizeof mark - 1) == 0) {
            uint32_t dim = 0;
            for (i += sizeof mark - 1; data[i] >= '0' && data[i] <= '9' && i + 32 < size; i++) {
                dim = dim * 10 + (uint32_t)(data[i] - '0');
                dim = dim > SHARDY_DIM_MAX ? SHARDY_DIM_MAX : dim;
            }
            spec->dim = dim;
            spec->metric = memcmp(data + i, "] distance_metric=l2", 20) == 0
                               ? SHARDY_VECTOR_METRIC_L2
                               : SHARDY_VECTOR_METRIC_COSINE;
            return;
        }
    }
}

/* --- all vectors, one by one ------------------------------------------------------------------ */

typedef struct all_vectors {
    float *data;
    int64_t *rowids;
    size_t count;
    int complete; /* 0: there were failures, or too many */
} all_vectors;

/* Bytes of one field of a row, through the plain reader of payloads. */
static shardy_status read_field(
    const btree_tree *tree, int64_t rowid, uint32_t field, uint64_t offset, void *dest, size_t len)
{
    btree_walk walk;
    btree_key key = {RECORD_INT, rowid, NULL, 0};
    record_column column;
    shardy__btree_walk_init(&walk, tree);
    shardy__btree_walk_find(&walk, &key);
    shardy_status st = shardy__btree_walk_run(&walk, NULL);
    if (st == SHARDY_OK) {
        st = shardy__btree_walk_field(&walk, field, &column, NULL);
    }
    if (st == SHARDY_OK && (offset > column.len || len > column.len - offset)) {
        st = SHARDY_CORRUPT;
    }
    if (st == SHARDY_OK) {
        st = shardy__btree_read(tree, &walk.cell, column.offset + offset, dest, len, NULL);
    }
    shardy__btree_walk_end(&walk);
    return st;
}

static void read_chunk(const vec_tables *t, const vec_chunk *chunk, all_vectors *all)
{
    for (uint32_t slot = 0; slot < chunk->rows; slot++) {
        uint8_t bits = 0;
        size_t len = t->dim * sizeof(float);
        if (read_field(&t->chunks, chunk->chunks_rowid, t->validity_field, slot / 8, &bits, 1) !=
                SHARDY_OK ||
            all->count == VECTORS_MAX) {
            all->complete = 0;
            return;
        }
        if (!(bits >> (slot % 8) & 1)) {
            continue;
        }
        if (read_field(&t->chunks, chunk->chunks_rowid, t->rowids_field, (uint64_t)slot * 8,
                &all->rowids[all->count], 8) != SHARDY_OK ||
            read_field(&t->vectors, chunk->vectors_rowid, t->vectors_field, (uint64_t)slot * len,
                all->data + all->count * t->dim, len) != SHARDY_OK) {
            all->complete = 0;
            return;
        }
        all->count++;
    }
}

static all_vectors read_all(const vec_tables *t, counted *c)
{
    all_vectors all = {malloc((size_t)VECTORS_MAX * t->dim * sizeof(float)),
        malloc(VECTORS_MAX * sizeof(int64_t)), 0, 1};
    /* One look-up for each vector and field, each of which may follow a whole chain: this is the
     * slow way on purpose, for small files only. */
    c->pages_max = UINT64_MAX;
    if (!all.data || !all.rowids || t->vector_count > VECTORS_MAX || c->size > 100000) {
        all.complete = 0;
        return all;
    }
    for (uint32_t i = 0; i < t->count && all.complete; i++) {
        read_chunk(t, &t->list[i], &all);
    }
    return all;
}

/* --- searching -------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x;
    double y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int is_scored(
    const vec_tables *t, const all_vectors *all, const exact_query *q, const shardy_engine_hit *hit)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->rowids[i] == (int64_t)hit->row &&
            shardy__exact_score(q, all->data + i * t->dim) == hit->score) {
            return 1;
        }
    }
    return 0;
}

static void check_hits(const vec_tables *t, const all_vectors *all, const float *query,
    const shardy_engine_hit *hits, size_t count, uint32_t k)
{
    exact_query q;
    double *scores = malloc((all->count + 1) * sizeof *scores);
    size_t comparable = 0;
    if (!scores) {
        return;
    }
    shardy__exact_prepare(&q, query, t->dim, t->metric);
    for (size_t i = 0; i < all->count; i++) {
        scores[comparable] = shardy__exact_score(&q, all->data + i * t->dim);
        comparable += isnan(scores[comparable]) ? 0 : 1;
    }
    qsort(scores, comparable, sizeof *scores, compare_doubles);
    require(count == (comparable < k ? comparable : k), "there are min(k, vectors) hits");
    for (size_t i = 0; i < count; i++) {
        require(hits[i].score == scores[i], "the scores are the least ones");
        require(is_scored(t, all, &q, &hits[i]), "a hit has the exact score of its vector");
        require(i == 0 || hits[i - 1].score < hits[i].score ||
                    shardy_key_compare(&hits[i - 1].id, &hits[i].id) <= 0,
            "hits are in order");
    }
    free(scores);
}

/* Offers all vectors one by one: the same hits. */
static void check_best(const vec_tables *t, counted *c, const all_vectors *all, const float *query,
    const shardy_engine_hit *hits, size_t count, uint32_t k)
{
    exact_query q;
    vec_best best;
    shardy_status st = SHARDY_OK;
    shardy__exact_prepare(&q, query, t->dim, t->metric);
    c->pages_max = UINT64_MAX;
    if (k == 0 || shardy__vec_best_init(&best, t, k, (double)INFINITY, NULL) < 0) {
        return;
    }
    for (size_t i = 0; i < all->count && st >= 0; i++) {
        double score = shardy__exact_score(&q, all->data + i * t->dim);
        st = isnan(score) ? SHARDY_OK : shardy__vec_best_offer(&best, score, all->rowids[i], NULL);
    }
    shardy__vec_best_finish(&best);
    require(st < 0 || best.count == count, "one by one gives as many hits");
    for (size_t i = 0; st >= 0 && i < count; i++) {
        require(best.hits[i].row == hits[i].row && best.hits[i].score == hits[i].score,
            "one by one gives the same hits");
    }
    shardy__vec_best_free(&best);
}

static shardy_status search(
    const vec_tables *t, counted *c, shardy_engine_search *request, vec_search **search_out)
{
    shardy_error err = {0};
    *search_out = NULL;
    allow(c, 100 * request->query_count);
    shardy_status st = shardy__vec_search_new(t, request, search_out, &err);
    if (st >= 0) {
        st = shardy__vec_search_run(*search_out, &err);
    }
    require_outcome(st);
    require_message(st, &err);
    return st;
}

/* A batch, then each of its queries alone. */
static void check_search(
    const vec_tables *t, counted *c, const all_vectors *all, const float *queries, uint32_t k)
{
    shardy_engine_search batch;
    vec_search *of_batch;
    memset(&batch, 0, sizeof batch);
    batch.queries = queries;
    batch.query_count = QUERIES;
    batch.stride = t->dim;
    batch.k = k;
    shardy_status st = search(t, c, &batch, &of_batch);
    require(st < 0 || !all->complete || batch.vectors_scanned == (k ? all->count : 0),
        "all vectors are looked at");
    for (size_t i = 0; i < QUERIES; i++) {
        shardy_engine_search one = batch;
        vec_search *of_one;
        one.queries = queries + i * t->dim;
        one.query_count = 1;
        shardy_status alone = search(t, c, &one, &of_one);
        require(st < 0 || alone >= 0, "what works in a batch works alone");
        if (st >= 0) {
            size_t count = batch.offsets[i + 1] - batch.offsets[i];
            require(one.offsets[1] == count, "a batch has the hits of each query");
            for (size_t j = 0; j < count; j++) {
                const shardy_engine_hit *hit = &batch.hits[batch.offsets[i] + j];
                require(hit->row == one.hits[j].row && hit->score == one.hits[j].score,
                    "a batch has the hits of each query");
            }
            if (all->complete) {
                check_hits(t, all, one.queries, one.hits, count, k);
                check_best(t, c, all, one.queries, one.hits, count, k < 10 ? k : 0);
            }
        }
        shardy__vec_search_free(of_one);
    }
    shardy__vec_search_free(of_batch);
}

/* So many queries that few ties are kept for each: a query with more needs a second scan. Only the
 * first one asks for what many vectors may have, as that takes long. */
static void check_ties(const vec_tables *t, counted *c)
{
    const size_t queries = 16384;
    shardy_engine_search many;
    vec_search *of_many = NULL;
    float *values = malloc(queries * sizeof *values);
    for (size_t i = 0; values && i < queries; i++) {
        values[i] = i == 0 ? 1.0f : -1000.0f;
    }
    memset(&many, 0, sizeof many);
    many.queries = values;
    many.query_count = queries;
    many.stride = 1;
    many.k = 3;
    shardy_status st = values ? search(t, c, &many, &of_many) : SHARDY_NOMEM;
    for (size_t i = 0; values && i < 2; i++) {
        shardy_engine_search one = many;
        vec_search *of_one = NULL;
        one.queries = values + i;
        one.query_count = 1;
        shardy_status alone = search(t, c, &one, &of_one);
        require(st < 0 || alone >= 0, "what works for many queries works alone");
        size_t count = st < 0 ? 0 : one.offsets[1];
        require(st < 0 || many.offsets[i + 1] - many.offsets[i] == count, "with as many hits");
        for (size_t j = 0; j < count; j++) {
            require(many.hits[many.offsets[i] + j].row == one.hits[j].row, "with the same hits");
        }
        shardy__vec_search_free(of_one);
    }
    shardy__vec_search_free(of_many);
    free(values);
}

static void ask_for_all(const vec_tables *t, counted *c, const all_vectors *all)
{
    vec_ids ids;
    shardy__vec_ids_init(&ids, t);
    for (size_t i = 0; i < all->count; i++) {
        shardy_error err = {0};
        shardy_key id;
        shardy_buf payload;
        allow(c, 1);
        shardy_status st = shardy__vec_ids_get(&ids, all->rowids[i], &id, &err);
        require_outcome(st);
        require_message(st, &err);
        st = shardy__vec_payload(t, all->rowids[i], NULL, &payload, &err);
        require_outcome(st);
        shardy_buf_release(&payload);
    }
    shardy__vec_ids_free(&ids);
}

static void check(const vec_tables *t, counted *c, const uint8_t *data, size_t size)
{
    all_vectors all = read_all(t, c);
    float *queries = calloc((size_t)QUERIES * t->dim, sizeof *queries);
    for (size_t i = 0; queries && i < (size_t)QUERIES * t->dim; i++) {
        queries[i] = (float)data[(i * 31) % size] - 99.5f;
    }
    if (queries && all.count > 0) {
        memcpy(queries, all.data, t->dim * sizeof *queries);
    }
    if (queries && all.data && all.rowids) {
        check_search(t, c, &all, queries, 3);
        check_search(t, c, &all, queries, 1000);
        ask_for_all(t, c, &all);
        /* A second of work: for the first inputs of a process only. */
        static unsigned times;
        if (t->dim == 1 && all.count > 67 && all.count < 80 && times < 8) {
            times++;
            check_ties(t, c);
        }
    }
    free(queries);
    free(all.data);
    free(all.rowids);
}

/* Whether a look-up from the root finds each entry of a scan, and those ascend. */
static int ids_in_order(const vec_tables *t, counted *c)
{
    btree_walk scan;
    btree_walk find;
    int64_t last = INT64_MIN;
    int in_order = 1;
    c->pages_max = UINT64_MAX;
    shardy__btree_walk_init(&scan, &t->id_map);
    shardy__btree_walk_init(&find, &t->id_map);
    shardy__btree_walk_first(&scan);
    shardy_status st = shardy__btree_walk_run(&scan, NULL);
    for (uint32_t i = 0; st == SHARDY_OK && in_order; i++) {
        const btree_key key = {RECORD_INT, scan.cell.rowid, NULL, 0};
        in_order = i == 0 || last < key.integer;
        last = key.integer;
        shardy__btree_walk_find(&find, &key);
        in_order &= shardy__btree_walk_run(&find, NULL) == SHARDY_OK;
        shardy__btree_walk_next(&scan);
        st = shardy__btree_walk_run(&scan, NULL);
    }
    shardy__btree_walk_end(&scan);
    shardy__btree_walk_end(&find);
    return in_order && st == SHARDY_DONE;
}

/* The first vectors once more when no page is at hand: the same hits. */
static void check_late(const vec_tables *at_hand, counted *c, const shardy_engine_reader_spec *spec)
{
    counted c_late;
    vec_tables t;
    vec_search *here;
    vec_search *late;
    shardy_engine_search a;
    float *query = calloc(at_hand->dim, sizeof *query);
    page_source *source = query ? open_counted(&c_late, c->data, c->size, 1) : NULL;
    memset(&a, 0, sizeof a);
    if (!source) {
        free(query);
        return;
    }
    allow(&c_late, 4);
    require(shardy__vec_tables_open_take(&t, spec, source, NULL) == SHARDY_OK, "it opens again");
    query[0] = 1.0f;
    a.queries = query;
    a.query_count = 1;
    a.stride = t.dim;
    a.k = 20;
    shardy_engine_search b = a;
    b.ahead_max = (uint64_t)64 << 10;
    shardy_status st_here = search(at_hand, c, &a, &here);
    shardy_status st_late = search(&t, &c_late, &b, &late);
    const int in_order = ids_in_order(at_hand, c);
    require(!in_order || st_here == st_late, "a search ends alike when pages are fetched");
    const size_t count = st_here < 0 || st_late < 0 ? 0 : a.offsets[1];
    require(count == 0 || b.offsets[1] == count, "with as many hits");
    for (size_t i = 0; i < count; i++) {
        require(a.hits[i].score == b.hits[i].score, "with the same scores");
        require(!in_order || a.hits[i].row == b.hits[i].row, "with the same hits");
    }
    shardy__vec_search_free(here);
    shardy__vec_search_free(late);
    shardy__vec_tables_close(&t);
    free(query);
}

/* What a check passes can be searched, to the last id. */
static void check_passed(const vec_tables *t, counted *c)
{
    shardy_error err = {0};
    shardy_engine_search request;
    vec_search *s;
    int32_t damaged = 0;
    float *query = calloc(t->dim, sizeof *query);
    if (!query) {
        return;
    }
    allow(c, 64);
    require(check_shard(&t->file, t, &damaged, &err) == SHARDY_OK, "it can be checked");
    query[0] = 1.0f;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = t->dim;
    request.k = 1000;
    shardy_status st = search(t, c, &request, &s);
    require(damaged || st >= 0, "after a check without damage a search does not fail");
    shardy__vec_search_free(s);
    free(query);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    vec_tables t;
    vec_search *s = NULL;
    int32_t damaged = 0;
    shardy_engine_reader_spec spec;
    shardy_engine_search request;
    page_source *source = NULL;
    guess_spec(data, size, &spec);
    SHARDY_TRY(shardy__page_source_memory(data, size, NULL, &source, err));
    SHARDY_TRY(shardy__vec_tables_open_take(&t, &spec, source, err));
    float *query = calloc(t.dim, sizeof *query);
    shardy_status st = SHARDY_OK;
    if (query) {
        query[0] = 1.0f;
        memset(&request, 0, sizeof request);
        request.queries = query;
        request.query_count = 1;
        request.stride = t.dim;
        request.k = 2;
        st = shardy__vec_search_new(&t, &request, &s, err);
        st = st >= 0 ? shardy__vec_search_run(s, err) : st;
        shardy__vec_search_free(s);
        st = st >= 0 ? check_shard(&t.file, &t, &damaged, err) : st;
    }
    free(query);
    shardy__vec_tables_close(&t);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    counted c;
    vec_tables t;
    shardy_engine_reader_spec spec;
    shardy_error err = {0};
    page_source *source = open_counted(&c, data, size, 0);
    if (!source) {
        return 0;
    }
    guess_spec(data, size, &spec);
    allow(&c, 4);
    shardy_status st = shardy__vec_tables_open_take(&t, &spec, source, &err);
    require_outcome(st);
    require_message(st, &err);
    if (st >= 0) {
        check(&t, &c, data, size);
        check_late(&t, &c, &spec);
        check_passed(&t, &c);
        shardy__vec_tables_close(&t);
    }
    run_with_fault(data, size, run);
    return 0;
}
