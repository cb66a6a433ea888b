#include "verify_deep.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../engine/engine.h"
#include "../read/engine_name.h"
#include "../route/router.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/reader.h>

#include <stdatomic.h>
#include <string.h>

/* --- one shard -------------------------------------------------------------------------------- */

typedef struct deep_scan {
    router router;
    uint32_t db_id;
    uint64_t rows;
    bytebuf first;
    bytebuf last;
    int32_t has_last;
} deep_scan;

static shardy_status check_row(void *user, const shardy_engine_row *row, shardy_error *err)
{
    deep_scan *scan = user;
    shardy_key key;
    routed_key routed;
    size_t common = scan->last.len < row->key.len ? scan->last.len : row->key.len;
    int order = scan->has_last && common ? memcmp(scan->last.data, row->key.data, common) : 0;
    if (scan->has_last && (order > 0 || (order == 0 && scan->last.len >= row->key.len))) {
        return shardy__error(err, SHARDY_CORRUPT, "verify", "row %llu is not in order",
            (unsigned long long)scan->rows);
    }
    if (!scan->has_last) {
        shardy__bytebuf_append(&scan->first, row->key.data, row->key.len);
        SHARDY_TRY(shardy__bytebuf_check(&scan->first, "verify", err));
    }
    scan->has_last = 1;
    shardy__bytebuf_clear(&scan->last);
    shardy__bytebuf_append(&scan->last, row->key.data, row->key.len);
    SHARDY_TRY(shardy__bytebuf_check(&scan->last, "verify", err));
    if (scan->router.strategy == SHARDY_SHARDING_HASH) {
        SHARDY_TRY(shardy__key_decode(row->key, scan->router.key_encoding, &key, err));
        SHARDY_TRY(shardy__router_route(&scan->router, &key, NULL, 0, &routed, err));
        if (routed.db_id != scan->db_id) {
            char text[SHARDY_KEY_TEXT_SIZE];
            return shardy__error(err, SHARDY_CORRUPT, "verify", "key %s belongs to shard %u",
                shardy__key_text(&key, text), routed.db_id);
        }
    }
    scan->rows++;
    return SHARDY_OK;
}

/* Whether a stored key is the one that the manifest names as a bound; 1 when it names none. */
static int is_bound(const router *r, bytebuf *stored, int32_t has, const shardy_key *bound)
{
    shardy_key key;
    shardy_error ignored;
    if (!has) {
        return 1;
    }
    if (shardy__key_decode(
            shardy__bytes(stored->data, stored->len), r->key_encoding, &key, &ignored) < 0) {
        return 0;
    }
    int is_number = key.type == SHARDY_KEY_INT || key.type == SHARDY_KEY_UINT;
    if (is_number) {
        return key.type == bound->type && key.i == bound->i && key.u == bound->u;
    }
    return key.bytes.len == bound->bytes.len &&
           (key.bytes.len == 0 || memcmp(key.bytes.data, bound->bytes.data, key.bytes.len) == 0);
}

/* The first and the last key must be those that the manifest names: whole pages may be lost without
 * a trace otherwise. */
static shardy_status check_bounds(const manifest_shard *shard, deep_scan *scan, shardy_error *err)
{
    if (scan->rows == 0) {
        return shard->row_count == 0 ? SHARDY_OK
                                     : shardy__error(err, SHARDY_CORRUPT, "verify",
                                           "there are no rows, the manifest says %llu",
                                           (unsigned long long)shard->row_count);
    }
    if (!is_bound(&scan->router, &scan->first, shard->has_min_key, &shard->min_key) ||
        !is_bound(&scan->router, &scan->last, shard->has_max_key, &shard->max_key)) {
        return shardy__error(err, SHARDY_CORRUPT, "verify",
            "the first or the last key is not the one that the manifest names");
    }
    return SHARDY_OK;
}

/* A search touches all vectors; its hits, as many as there may be, are looked up by their ids. */
static shardy_status search_all(const engine_reader *reader, uint32_t dim, shardy_error *err)
{
    if (dim == 0 || dim > SHARDY_DIM_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "verify", "the dimension is %u", dim);
    }
    float *query = shardy__calloc(dim, sizeof *query);
    if (!query) {
        return shardy__error_nomem(err, "verify");
    }
    query[0] = 1.0f;
    shardy_engine_search request;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = dim;
    request.k = SHARDY_TOP_K_MAX;
    void *op = NULL;
    shardy_status st = shardy__engine_search(reader, &request, &op, err);
    shardy__engine_search_finish(reader, op);
    shardy__free(query);
    return st;
}

/* What all shards share. */
typedef struct deep_check {
    const verify_deep_spec *spec;
    damage_list *damage;
    const shardy_engine_ops *engine;
    _Atomic uint32_t next; /* shard to be walked */
    _Atomic int32_t stop;  /* there was a failure */
    mutex lock;            /* guards the rest */
    shardy_status status;
    shardy_error error;
} deep_check;

static shardy_status walk(deep_check *c, const manifest_shard *shard, const char *path,
    deep_scan *scan, shardy_error *err)
{
    const manifest *m = c->spec->manifest;
    shardy_engine_reader_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.context = c->spec->context;
    spec.store = c->spec->shards;
    spec.shard_path = path;
    spec.digests = m->objects;
    spec.digest_count = m->object_count;
    spec.verified = m->has_objects;
    spec.io = SHARDY_IO_MMAP;
    spec.dim = m->parsed.dim;
    spec.metric = m->parsed.metric;
    engine_reader reader;
    SHARDY_TRY(shardy__engine_reader_open(c->engine, &spec, &reader, err));
    shardy_status st = shardy__engine_scan(&reader, check_row, scan, err);
    if (st >= 0) {
        st = check_bounds(shard, scan, err);
    }
    if (st >= 0 && m->parsed.has_vector) {
        st = search_all(&reader, m->parsed.dim, err);
    }
    shardy__engine_reader_close(&reader);
    /* The reference counts rows that were overwritten. */
    if (st >= 0 &&
        (m->has_objects ? scan->rows != shard->row_count : scan->rows > shard->row_count)) {
        st = shardy__error(err, SHARDY_CORRUPT, "verify",
            "there are %llu rows, the manifest says %llu", (unsigned long long)scan->rows,
            (unsigned long long)shard->row_count);
    }
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status walk_shard(deep_check *c, uint32_t number, shardy_error *err)
{
    const manifest *m = c->spec->manifest;
    const manifest_shard *shard = &m->shards[number];
    const damage_place place = {c->spec->stage, 0, number};
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error error;
    shardy__error_clear(&error);
    if (!shard->db_url) {
        /* Readers take it as empty. */
        return shard->row_count == 0 ? SHARDY_OK
                                     : shardy__damage_add(c->damage, place, c->spec->manifest_path,
                                           0, "a shard has rows, but no URL where they are", err);
    }
    deep_scan scan;
    memset(&scan, 0, sizeof scan);
    scan.router = (router){m->strategy, m->key_encoding, m->num_dbs};
    scan.db_id = shard->db_id;
    shardy__bytebuf_init(&scan.first, SHARDY_KEY_LEN_MAX);
    shardy__bytebuf_init(&scan.last, SHARDY_KEY_LEN_MAX);
    shardy_status st = shardy__manifest_shard_path(m, shard, path, &error);
    if (st >= 0) {
        st = walk(c, shard, path, &scan, &error);
    }
    shardy__bytebuf_free(&scan.first);
    shardy__bytebuf_free(&scan.last);
    return st < 0 ? shardy__damage_note(c->damage, place, path, st, &error, err) : SHARDY_OK;
}

/* --- all shards ------------------------------------------------------------------------------- */

static void fail(deep_check *c, shardy_status st, const shardy_error *error)
{
    atomic_store_explicit(&c->stop, 1, memory_order_relaxed);
    shardy__mutex_lock(&c->lock);
    if (c->status >= 0) {
        c->status = st;
        c->error = *error;
    }
    shardy__mutex_unlock(&c->lock);
}

/* Walks the next shard. False when there is none. */
static int walk_next(deep_check *c)
{
    if (atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        return 0;
    }
    const uint32_t number = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed);
    if (number >= c->spec->manifest->shard_count) {
        return 0;
    }
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = walk_shard(c, number, &error);
    if (st < 0) {
        fail(c, st, &error);
    }
    return 1;
}

typedef struct deep_task {
    pool_task task; /* first member */
    deep_check *check;
} deep_task;

static void help(pool_task *task)
{
    while (walk_next(((deep_task *)(void *)task)->check)) {
    }
}

static void lead(deep_check *c)
{
    while (walk_next(c)) {
        shardy_error error;
        shardy__error_clear(&error);
        shardy_status st =
            c->spec->tell ? c->spec->tell(c->spec->tell_user, c->spec->bytes, &error) : SHARDY_OK;
        if (st < 0) {
            fail(c, st, &error);
        }
    }
}

static shardy_status walk_all(deep_check *c, shardy_error *err)
{
    const verify_deep_spec *spec = c->spec;
    const uint32_t helpers = spec->threads > 1 ? spec->threads - 1 : 0;
    deep_task *tasks = shardy__calloc(helpers + 1, sizeof *tasks);
    if (!tasks) {
        return shardy__error_nomem(err, "verify");
    }
    pool_group group;
    shardy__pool_group_init(&group, spec->context->pool);
    for (uint32_t i = 0; i < helpers; i++) {
        tasks[i].task.run = help;
        tasks[i].check = c;
        shardy__pool_submit(&group, &tasks[i].task);
    }
    lead(c);
    shardy__pool_wait(&group, 0);
    shardy__free(tasks);
    if (c->status < 0 && err) {
        *err = c->error;
    }
    return c->status;
}

shardy_status shardy__verify_deep(
    const verify_deep_spec *spec, damage_list *damage, shardy_error *err)
{
    const char *name = NULL;
    shardy_error error;
    deep_check c;
    memset(&c, 0, sizeof c);
    shardy__error_clear(&error);
    c.spec = spec;
    c.damage = damage;
    shardy_status st = shardy__engine_name(spec->store, spec->manifest, &name, &error);
    if (st >= 0) {
        st = shardy__engine_find(name, &c.engine, &error);
    }
    if (st < 0) {
        const damage_place place = {spec->stage, 0, 0};
        return shardy__damage_note(damage, place, spec->manifest_path, st, &error, err);
    }
    shardy__mutex_init(&c.lock);
    st = walk_all(&c, err);
    shardy__mutex_destroy(&c.lock);
    return st;
}
