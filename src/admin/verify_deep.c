#include "verify_deep.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/clock.h"
#include "../engine/engine.h"
#include "../read/engine_name.h"
#include "../route/router.h"
#include "../sqlitefile/page_cache.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/reader.h>

#include <stdatomic.h>
#include <string.h>

/* What a thread keeps of the shard that it walks, in a bucket: room for what is read ahead
 * (btree_check.c), and for the pages above. */
#define CACHE_BYTES (32u << 20)

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

/* --- one shard -------------------------------------------------------------------------------- */

typedef struct deep_scan {
    deep_check *check;
    int32_t leads;      /* 1: on the calling thread */
    damage_place place; /* of the next finding */
    const char *path;
    router router;
    uint32_t db_id;
    uint64_t rows;
    bytebuf first;
    bytebuf last;
    int32_t has_last;
} deep_scan;

static shardy_status check_key(void *user, shardy_bytes stored, shardy_error *err)
{
    deep_scan *scan = user;
    shardy_key key;
    routed_key routed;
    size_t common = scan->last.len < stored.len ? scan->last.len : stored.len;
    int order = scan->has_last && common ? memcmp(scan->last.data, stored.data, common) : 0;
    if (scan->has_last && (order > 0 || (order == 0 && scan->last.len >= stored.len))) {
        return shardy__error(err, SHARDY_CORRUPT, "verify", "row %llu is not in order",
            (unsigned long long)scan->rows);
    }
    if (!scan->has_last) {
        shardy__bytebuf_append(&scan->first, stored.data, stored.len);
        SHARDY_TRY(shardy__bytebuf_check(&scan->first, "verify", err));
    }
    scan->has_last = 1;
    shardy__bytebuf_clear(&scan->last);
    shardy__bytebuf_append(&scan->last, stored.data, stored.len);
    SHARDY_TRY(shardy__bytebuf_check(&scan->last, "verify", err));
    if (scan->router.strategy == SHARDY_SHARDING_HASH) {
        SHARDY_TRY(shardy__key_decode(stored, scan->router.key_encoding, &key, err));
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

static shardy_status note_damage(
    void *user, uint64_t offset, const shardy_error *error, shardy_error *err)
{
    deep_scan *scan = user;
    shardy_status st = shardy__damage_add(
        scan->check->damage, scan->place, scan->path, offset, error->message, err);
    scan->place.part++;
    return st;
}

static shardy_status tell_caller(const verify_deep_spec *spec, shardy_error *err)
{
    return spec->tell ? spec->tell(spec->tell_user, spec->bytes, err) : SHARDY_OK;
}

static shardy_status tick(void *user, shardy_error *err)
{
    const deep_scan *scan = user;
    const verify_deep_spec *spec = scan->check->spec;
    if (atomic_load_explicit(&scan->check->stop, memory_order_relaxed)) {
        return shardy__error(err, SHARDY_CANCELLED, "verify", "another shard could not be read");
    }
    return scan->leads ? tell_caller(spec, err)
                       : shardy__check_time(spec->context, 0, spec->cancel, "verify", err);
}

static shardy_status open_shard(const deep_check *c, const char *path, page_cache *cache,
    engine_reader *reader, shardy_error *err)
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
    spec.deadline_ns = shardy__deadline_ns(c->spec->context, c->spec->timeout_ms);
    spec.cancel = c->spec->cancel;
    spec.page_cache = cache;
    spec.no_sidecar = 1;
    return shardy__engine_reader_open(c->engine, &spec, reader, err);
}

/* All that is in the shard, and what the manifest says of it. */
static shardy_status check_shard(
    const engine_reader *reader, const manifest_shard *shard, deep_scan *scan, shardy_error *err)
{
    const verify_deep_spec *spec = scan->check->spec;
    const shardy_engine_check request = {
        check_key, note_damage, tick, scan, spec->context, spec->timeout_ms, spec->cancel};
    SHARDY_TRY(shardy__engine_check(reader, &request, err));
    if (scan->place.part > 0) {
        return SHARDY_OK; /* there are rows that were not seen */
    }
    SHARDY_TRY(check_bounds(shard, scan, err));
    /* The reference counts rows that were overwritten. */
    if (spec->manifest->has_objects ? scan->rows != shard->row_count
                                    : scan->rows > shard->row_count) {
        return shardy__error(err, SHARDY_CORRUPT, "verify",
            "there are %llu rows, the manifest says %llu", (unsigned long long)scan->rows,
            (unsigned long long)shard->row_count);
    }
    return SHARDY_OK;
}

static shardy_status walk(const manifest_shard *shard, deep_scan *scan, shardy_error *err)
{
    page_cache *cache = NULL;
    engine_reader reader;
    SHARDY_TRY(shardy__page_cache_new(CACHE_BYTES, &cache, err));
    shardy_status st = open_shard(scan->check, scan->path, cache, &reader, err);
    if (st >= 0) {
        st = check_shard(&reader, shard, scan, err);
        shardy__engine_reader_close(&reader);
    }
    shardy__page_cache_drop(cache);
    return st;
}

static shardy_status walk_shard(deep_check *c, uint32_t number, int32_t leads, shardy_error *err)
{
    const manifest *m = c->spec->manifest;
    const manifest_shard *shard = &m->shards[number];
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error error;
    deep_scan scan;
    memset(&scan, 0, sizeof scan);
    shardy__error_clear(&error);
    scan.check = c;
    scan.leads = leads;
    scan.place = (damage_place){c->spec->stage, 0, number};
    scan.path = path;
    scan.router = (router){m->strategy, m->key_encoding, m->num_dbs};
    scan.db_id = shard->db_id;
    if (!shard->db_url) {
        /* Readers take it as empty. */
        return shard->row_count == 0
                   ? SHARDY_OK
                   : shardy__damage_add(c->damage, scan.place, c->spec->manifest_path, 0,
                         "a shard has rows, but no URL where they are", err);
    }
    shardy__bytebuf_init(&scan.first, SHARDY_KEY_LEN_MAX);
    shardy__bytebuf_init(&scan.last, SHARDY_KEY_LEN_MAX);
    shardy_status st = shardy__manifest_shard_path(m, shard, path, &error);
    if (st >= 0) {
        st = walk(shard, &scan, &error);
    }
    shardy__bytebuf_free(&scan.first);
    shardy__bytebuf_free(&scan.last);
    return st < 0 ? shardy__damage_note(c->damage, scan.place, path, st, &error, err) : SHARDY_OK;
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

/* Walks the next shard. False when there is none, or this one failed. */
static int walk_next(deep_check *c, int32_t leads)
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
    shardy_status st = walk_shard(c, number, leads, &error);
    if (st < 0) {
        fail(c, st, &error);
    }
    return st >= 0;
}

typedef struct deep_task {
    pool_task task; /* first member */
    deep_check *check;
} deep_task;

static void help(pool_task *task)
{
    while (walk_next(((deep_task *)(void *)task)->check, 0)) {
    }
}

static void lead(deep_check *c)
{
    while (walk_next(c, 1)) {
        shardy_error error;
        shardy__error_clear(&error);
        shardy_status st = tell_caller(c->spec, &error);
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
