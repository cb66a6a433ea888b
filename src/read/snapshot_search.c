/* snapshot_search.c: nearest vectors: every shard finds its own, one merge puts them in order,
 * payloads are fetched for the winners. */
#include "snapshot.h"

#include "../base/alloc.h"
#include "../base/arena.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiplications below which shards are searched one after the other, unless they are far away:
 * about a millisecond of one core. */
#define PARALLEL_WORK_MIN (8u << 20)

void shardy_query_init(shardy_query *query, size_t struct_size)
{
    memset(query, 0, struct_size);
    if (struct_size >= sizeof *query) {
        query->top_k = 10;
    }
    memcpy(query, &struct_size, sizeof struct_size);
}

/* The search of one shard. */
typedef struct shard_search {
    pool_task task; /* first member */
    struct search_call *call;
    uint32_t slot;
    open_shard *shard;
    shardy_engine_search request;
    void *op;
    int32_t opened;
    shardy_status status;
    shardy_error error;
} shard_search;

typedef struct search_call {
    shardy_snapshot *snapshot;
    const shardy_query *query;
    call_limits limits;
    size_t stride;
    shard_search *shards;
    uint32_t shard_count;
    int again;          /* 1: a payload was damaged in the cache, which is mended now */
    uint64_t ahead_max; /* bytes that one shard reads ahead; 0: as it likes */
    struct payload_rows *parts;
    uint64_t *rows; /* of all parts */
} search_call;

/* What a shardy_hits owns. */
typedef struct hits_owner {
    arena arena;
    shardy_buf *payloads;
    size_t payload_count;
} hits_owner;

void shardy_hits_dispose(shardy_hits *hits)
{
    if (!hits) {
        return;
    }
    hits_owner *owner = hits->owner;
    if (owner) {
        for (size_t i = 0; i < owner->payload_count; i++) {
            shardy_buf_release(&owner->payloads[i]);
        }
        shardy__arena_free(&owner->arena);
        shardy__free(owner);
    }
    memset(hits, 0, sizeof *hits);
}

/* --- arguments -------------------------------------------------------------------------------- */

static shardy_status check_vector(
    const shardy_snapshot *s, const float *v, size_t number, shardy_error *err)
{
    uint32_t dim = s->manifest->parsed.dim;
    int zero = 1;
    for (uint32_t i = 0; i < dim; i++) {
        if (!isfinite(v[i])) {
            return shardy__error(err, SHARDY_INVALID, "search",
                "component %u of query %zu is not finite", i, number);
        }
        zero &= v[i] == 0.0f;
    }
    if (zero && s->manifest->parsed.metric == SHARDY_VECTOR_METRIC_COSINE) {
        return shardy__error(err, SHARDY_INVALID, "search",
            "query %zu is the zero vector, which has no cosine", number);
    }
    return SHARDY_OK;
}

static shardy_status check_query(
    const shardy_snapshot *s, const shardy_query *q, size_t *stride_out, shardy_error *err)
{
    uint32_t dim = s->manifest->parsed.dim;
    *stride_out = q->stride ? q->stride : q->dim;
    if (!s->has_vectors) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "search", "the snapshot has no vectors");
    }
    if (q->count > SHARDY_QUERIES_MAX || (q->count > 0 && !q->vectors)) {
        return shardy__error(err, SHARDY_INVALID, "search",
            "%zu queries in one call, the limit is %u", q->count, SHARDY_QUERIES_MAX);
    }
    if (q->top_k > SHARDY_TOP_K_MAX) {
        return shardy__error(err, SHARDY_INVALID, "search", "top_k is %u, the limit is %u",
            q->top_k, SHARDY_TOP_K_MAX);
    }
    if (q->dim != dim) {
        return shardy__error(err, SHARDY_INVALID, "search",
            "the query has dimension %u, the vectors have %u", q->dim, dim);
    }
    if (*stride_out < dim) {
        return shardy__error(err, SHARDY_INVALID, "search",
            "the stride of the queries is %zu, their dimension %u", *stride_out, dim);
    }
    for (size_t i = 0; i < q->count; i++) {
        SHARDY_TRY(check_vector(s, q->vectors + i * *stride_out, i, err));
    }
    return SHARDY_OK;
}

/* The shards to search, each once, in ascending order. */
static shardy_status choose_shards(
    search_call *call, arena *a, const shardy_read_options *options, shardy_error *err)
{
    const shardy_snapshot *s = call->snapshot;
    const shardy_query *q = call->query;
    if (options && options->routing_context_count > 0) {
        return shardy__error(err, SHARDY_ROUTE, "search",
            "a routing context was given, but this snapshot routes by the hash of the key");
    }
    uint8_t *wanted = shardy__arena_calloc(a, s->slot_count, 1);
    call->shards = shardy__arena_calloc(a, s->slot_count, sizeof *call->shards);
    if (!wanted || !call->shards) {
        return shardy__error_nomem(err, "search");
    }
    for (size_t i = 0; q->shard_ids && i < q->shard_id_count; i++) {
        if (q->shard_ids[i] >= s->manifest->num_dbs) {
            return shardy__error(err, SHARDY_INVALID, "search",
                "shard %u does not exist, the snapshot has %u", q->shard_ids[i],
                s->manifest->num_dbs);
        }
        uint32_t slot = s->slot_of[q->shard_ids[i]];
        if (slot != UINT32_MAX) {
            wanted[slot] = 1;
        }
    }
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (q->shard_ids ? wanted[i] : s->manifest->shards[i].db_url != NULL) {
            shard_search *shard = &call->shards[call->shard_count++];
            shard->call = call;
            shard->slot = i;
        }
    }
    return SHARDY_OK;
}

/* --- searching -------------------------------------------------------------------------------- */

/* Opens the shard and searches it. */
static shardy_status search_shard(shard_search *shard)
{
    const search_call *call = shard->call;
    SHARDY_TRY(shardy__snapshot_shard(
        call->snapshot, shard->slot, &call->limits, &shard->shard, &shard->opened, &shard->error));
    return shardy__engine_search(&shard->shard->engine, &shard->request, &shard->op, &shard->error);
}

static void run_shard(pool_task *task)
{
    shard_search *shard = (shard_search *)(void *)task;
    search_call *call = shard->call;
    shardy_snapshot *s = call->snapshot;
    shard->request.queries = call->query->vectors;
    shard->request.query_count = call->query->count;
    shard->request.stride = call->stride;
    shard->request.k = call->query->top_k;
    shard->request.ahead_max = call->ahead_max;
    shard->request.deadline_ns = call->limits.deadline_ns;
    shard->request.cancel = call->limits.cancel;
    shardy_status st = shardy__check_time(
        s->core->context, call->limits.deadline_ns, call->limits.cancel, "search", &shard->error);
    if (st >= 0) {
        st = search_shard(shard);
    }
    if (st == SHARDY_CHECKSUM && shardy__snapshot_distrust(s, shard->slot, shard->shard)) {
        shardy__engine_search_finish(&shard->shard->engine, shard->op);
        shard->op = NULL;
        shardy__error_clear(&shard->error);
        st = search_shard(shard);
    }
    shardy__snapshot_note(s, st);
    shard->status = st;
}

static void run_shards(search_call *call)
{
    const shardy_snapshot *s = call->snapshot;
    uint64_t rows = shardy__manifest_row_count(s->manifest);
    uint64_t work = rows * s->manifest->parsed.dim * call->query->count;
    int cold = 0;
    for (uint32_t i = 0; !cold && i < call->shard_count; i++) {
        cold = shardy__snapshot_is_cold(s, call->shards[i].slot);
    }
    const shard_spread spread =
        shardy__snapshot_spread(s, call->shard_count, cold, work >= PARALLEL_WORK_MIN);
    if (spread.waits > 0 && s->ranges) {
        /* together no more than the cache has room for beside what is compared */
        call->ahead_max = shardy__page_cache_budget(s->core->pages) / 2 / spread.waits;
    }
    shardy__pool_run(
        spread.pool, &call->shards->task, call->shard_count, sizeof *call->shards, run_shard);
}

/* --- merging ---------------------------------------------------------------------------------- */

/* A hit with where it came from. */
typedef struct merge_entry {
    const shardy_engine_hit *hit;
    const shard_search *shard;
    uint32_t db_id;
} merge_entry;

/* The one order of hits: score, then integer ids before text ids, then id, then shard. */
static int compare_entries(const void *a, const void *b)
{
    const merge_entry *x = a;
    const merge_entry *y = b;
    if (x->hit->score != y->hit->score) {
        return x->hit->score < y->hit->score ? -1 : 1;
    }
    int order = shardy_key_compare(&x->hit->id, &y->hit->id);
    if (order) {
        return order;
    }
    if (x->db_id != y->db_id) {
        return x->db_id < y->db_id ? -1 : 1;
    }
    return (x->hit->row > y->hit->row) - (x->hit->row < y->hit->row);
}

/* All hits of one query, in order; returns how many. */
static size_t gather(const search_call *call, size_t query, merge_entry *entries)
{
    size_t count = 0;
    for (uint32_t i = 0; i < call->shard_count; i++) {
        const shard_search *shard = &call->shards[i];
        if (shard->status < 0) {
            continue;
        }
        for (size_t h = shard->request.offsets[query]; h < shard->request.offsets[query + 1]; h++) {
            entries[count].hit = &shard->request.hits[h];
            entries[count].shard = shard;
            entries[count].db_id = call->snapshot->manifest->shards[shard->slot].db_id;
            count++;
        }
    }
    if (count > 1) {
        qsort(entries, count, sizeof *entries, compare_entries);
    }
    return count < call->query->top_k ? count : call->query->top_k;
}

static shardy_status copy_hit(search_call *call, const merge_entry *entry, hits_owner *owner,
    shardy_hit *out, shardy_error *err)
{
    const shardy_engine_limits limits = {call->limits.deadline_ns, call->limits.cancel};
    out->id = entry->hit->id;
    out->score = entry->hit->score;
    out->db_id = entry->db_id;
    if (out->id.type == SHARDY_KEY_TEXT) {
        out->id.bytes.data =
            shardy__arena_strndup(&owner->arena, out->id.bytes.data, out->id.bytes.len);
        if (!out->id.bytes.data) {
            return shardy__error_nomem(err, "search");
        }
    }
    shardy_buf *payload = &owner->payloads[owner->payload_count];
    shardy_status st = shardy__engine_payload(
        &entry->shard->shard->engine, entry->hit->row, &limits, payload, err);
    if (st == SHARDY_OK) {
        owner->payload_count++;
        out->has_payload = 1;
        out->payload.data = payload->data;
        out->payload.len = payload->len;
    }
    if (st == SHARDY_CHECKSUM) {
        call->again |=
            shardy__snapshot_distrust(call->snapshot, entry->shard->slot, entry->shard->shard);
    }
    return st < 0 ? shardy__error_prefix(err, st, "shard %u", entry->db_id) : SHARDY_OK;
}

/* Rows of one shard whose payloads are wanted. */
typedef struct payload_rows {
    pool_task task; /* first member */
    const open_shard *shard;
    shardy_engine_limits limits;
    const uint64_t *rows;
    size_t count;
} payload_rows;

static void run_payloads(pool_task *task)
{
    const payload_rows *p = (const payload_rows *)(const void *)task;
    shardy__engine_payloads_ahead(&p->shard->engine, p->rows, p->count, &p->limits);
}

/* Payloads of the hits of one query: each shard gets all that it needs at once, and all shards do
 * so together. */
static void payloads_ahead(const search_call *call, const merge_entry *entries, size_t count)
{
    uint64_t *rows = call->rows;
    uint32_t part_count = 0;
    for (uint32_t i = 0; i < call->shard_count; i++) {
        size_t n = 0;
        for (size_t k = 0; k < count; k++) {
            if (entries[k].shard == &call->shards[i]) {
                rows[n++] = entries[k].hit->row;
            }
        }
        if (n > 0) {
            payload_rows *part = &call->parts[part_count++];
            part->shard = call->shards[i].shard;
            part->limits = (shardy_engine_limits){call->limits.deadline_ns, call->limits.cancel};
            part->rows = rows;
            part->count = n;
            rows += n;
        }
    }
    const shard_spread spread = shardy__snapshot_spread(call->snapshot, part_count, 0, 0);
    shardy__pool_run(
        spread.pool, &call->parts->task, part_count, sizeof *call->parts, run_payloads);
}

static size_t most_hits(const search_call *call)
{
    size_t most = 0;
    for (size_t q = 0; q < call->query->count; q++) {
        size_t hits = 0;
        for (uint32_t i = 0; i < call->shard_count; i++) {
            const shard_search *shard = &call->shards[i];
            hits +=
                shard->status < 0 ? 0 : shard->request.offsets[q + 1] - shard->request.offsets[q];
        }
        most = hits > most ? hits : most;
    }
    return most;
}

static shardy_status merge(search_call *call, arena *scratch, shardy_hits *out, shardy_error *err)
{
    hits_owner *owner = out->owner;
    size_t queries = call->query->count;
    size_t most = most_hits(call);
    size_t per_query = most < call->query->top_k ? most : call->query->top_k;
    merge_entry *entries = shardy__arena_calloc(scratch, most, sizeof *entries);
    size_t *offsets = shardy__arena_calloc(&owner->arena, queries + 1, sizeof *offsets);
    size_t total = 0;
    if (!shardy__mul_size(queries, per_query, &total)) {
        return shardy__error_nomem(err, "search");
    }
    shardy_hit *hits = shardy__arena_calloc(&owner->arena, total, sizeof *hits);
    owner->payloads = shardy__arena_calloc(&owner->arena, total, sizeof *owner->payloads);
    call->parts = shardy__arena_calloc(scratch, call->shard_count, sizeof *call->parts);
    call->rows = shardy__arena_calloc(scratch, per_query, sizeof *call->rows);
    if (!entries || !offsets || !hits || !owner->payloads || !call->parts || !call->rows) {
        return shardy__error_nomem(err, "search");
    }
    out->hits = hits;
    out->offsets = offsets;
    out->query_count = queries;
    for (size_t q = 0; q < queries; q++) {
        size_t count = gather(call, q, entries);
        if (call->snapshot->ranges) {
            payloads_ahead(call, entries, count);
        }
        for (size_t i = 0; i < count; i++) {
            SHARDY_TRY(copy_hit(call, &entries[i], owner, &hits[offsets[q] + i], err));
        }
        offsets[q + 1] = offsets[q] + count;
    }
    return SHARDY_OK;
}

static void fill_stats(const search_call *call, shardy_read_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->shards = call->shard_count;
    for (uint32_t i = 0; i < call->shard_count; i++) {
        stats->shards_opened += (uint32_t)call->shards[i].opened;
        stats->vectors_scanned += call->shards[i].request.vectors_scanned;
    }
}

static shardy_status search_into(search_call *call, arena *scratch,
    const shardy_read_options *options, shardy_hits *out, shardy_error *err)
{
    SHARDY_TRY(choose_shards(call, scratch, options, err));
    run_shards(call);
    shardy_status st = SHARDY_OK;
    out->shards_searched = call->shard_count;
    for (uint32_t i = 0; i < call->shard_count; i++) {
        const shard_search *shard = &call->shards[i];
        if (shard->status < 0) {
            out->partial = 1;
            out->shards_searched--;
            if (st >= 0 && !(options && options->allow_partial)) {
                if (err) {
                    *err = shard->error;
                }
                st = shardy__error_prefix(err, shard->status, "shard %u",
                    call->snapshot->manifest->shards[shard->slot].db_id);
            }
        }
    }
    if (options && options->stats) {
        fill_stats(call, options->stats);
    }
    return st < 0 ? st : merge(call, scratch, out, err);
}

static shardy_status search_once(
    search_call *call, const shardy_read_options *options, shardy_hits *hits_out, shardy_error *err)
{
    hits_owner *owner = shardy__calloc(1, sizeof *owner);
    if (!owner) {
        return shardy__error_nomem(err, "search");
    }
    shardy__arena_init(&owner->arena);
    hits_out->owner = owner;
    arena scratch;
    shardy__arena_init(&scratch);
    call->again = 0;
    call->shard_count = 0;
    shardy_status st = search_into(call, &scratch, options, hits_out, err);
    for (uint32_t i = 0; i < call->shard_count; i++) {
        if (call->shards[i].shard) {
            shardy__engine_search_finish(&call->shards[i].shard->engine, call->shards[i].op);
        }
    }
    shardy__arena_free(&scratch);
    if (st < 0) {
        shardy_hits_dispose(hits_out);
    }
    return st;
}

shardy_status shardy__snapshot_search(shardy_snapshot *s, const shardy_query *query,
    const shardy_read_options *options, shardy_hits *hits_out, shardy_error *err)
{
    search_call call;
    memset(&call, 0, sizeof call);
    call.snapshot = s;
    call.query = query;
    SHARDY_TRY(check_query(s, query, &call.stride, err));
    call.limits = shardy__call_limits(s->core, options);
    shardy_status st = search_once(&call, options, hits_out, err);
    /* This can happen once to each shard. */
    for (uint32_t i = 0; st == SHARDY_CHECKSUM && call.again && i < s->slot_count; i++) {
        shardy__error_clear(err);
        st = search_once(&call, options, hits_out, err);
    }
    return st;
}
