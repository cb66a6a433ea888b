#include "snapshot.h"

#include "../base/alloc.h"
#include "engine_name.h"

#include <stdio.h>
#include <string.h>

void shardy__read_core_drop(read_core *core)
{
    if (core && atomic_fetch_sub_explicit(&core->refs, 1, memory_order_acq_rel) == 1) {
        shardy__pin_domain_destroy(&core->pins);
        shardy__rate_free(&core->rate);
        shardy__catalog_close(&core->catalog);
        shardy__page_cache_drop(core->pages);
        shardy__file_cache_close(core->files);
        shardy__context_drop(core->context);
        shardy__free(core);
    }
}

/* --- the engine ------------------------------------------------------------------------------- */

static shardy_status set_engine(shardy_snapshot *s, shardy_error *err)
{
    const char *name = s->core->engine;
    if (!name[0]) {
        SHARDY_TRY(shardy__engine_name(s->core->catalog.store, s->manifest, &name, err));
    }
    snprintf(s->engine_name, sizeof s->engine_name, "%s", name);
    shardy_status st = shardy__engine_find(name, &s->engine, err);
    /* Without its engine a snapshot still tells about itself; reads say what is missing. An engine
     * that nobody knows is an error of the manifest, or of the caller who named it. */
    if (st == SHARDY_UNSUPPORTED && !s->core->engine[0]) {
        return SHARDY_OK;
    }
    if (st == SHARDY_INVALID && !s->core->engine[0]) {
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    return st;
}

/* --- access ----------------------------------------------------------------------------------- */

/* Whether shards are read by ranges. By the sizes that the manifest knows: one that is not known
 * counts as 0, and AUTO without any shard is a download. */
static int wants_ranges(const shardy_snapshot *s)
{
    const shardy_reader_options *o = &s->core->options;
    if (shardy_store_caps(s->core->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) {
        return 0;
    }
    if (o->access != SHARDY_ACCESS_AUTO) {
        return o->access == SHARDY_ACCESS_RANGE;
    }
    uint64_t total = 0;
    int large = 0;
    for (uint32_t i = 0; i < s->manifest->shard_count; i++) {
        uint64_t bytes = s->manifest->shards[i].db_bytes;
        large |= bytes >= o->auto_shard_bytes;
        total = bytes < UINT64_MAX - total ? total + bytes : UINT64_MAX;
    }
    return s->manifest->shard_count > 0 && (large || total >= o->auto_total_bytes);
}

/* --- life ------------------------------------------------------------------------------------- */

static void free_open_shard(pin_retired *retired)
{
    open_shard *shard = (open_shard *)(void *)retired;
    shardy__engine_reader_close(&shard->engine);
    shardy__free(shard);
}

static void free_snapshot(shardy_snapshot *s)
{
    read_core *core = s->core;
    for (uint32_t i = 0; s->slots && i < s->slot_count; i++) {
        open_shard *shard = atomic_load(&s->slots[i].shard);
        if (shard) {
            free_open_shard(&shard->retired);
        }
    }
    shardy__condition_destroy(&s->opened);
    shardy__mutex_destroy(&s->lock);
    shardy__free(s->slots);
    shardy__free(s->slot_of);
    shardy__manifest_free(s->manifest);
    shardy__free(s);
    shardy__read_core_drop(core);
}

void shardy__snapshot_hold(shardy_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
}

void shardy__snapshot_drop(shardy_snapshot *snapshot)
{
    if (snapshot && atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) == 1) {
        shardy__count(snapshot->core->context, SHARDY_METRIC_SNAPSHOTS_RETIRED, 1);
        free_snapshot(snapshot);
    }
}

static shardy_status fill_tables(shardy_snapshot *s, shardy_error *err)
{
    const manifest *m = s->manifest;
    s->slot_count = m->shard_count;
    s->slots = shardy__calloc(m->shard_count, sizeof *s->slots);
    s->slot_of = shardy__malloc((size_t)m->num_dbs * sizeof *s->slot_of);
    if (!s->slots || !s->slot_of) {
        return shardy__error_nomem(err, "read");
    }
    memset(s->slot_of, 0xFF, (size_t)m->num_dbs * sizeof *s->slot_of);
    for (uint32_t i = 0; i < m->shard_count; i++) {
        if (m->shards[i].db_url) {
            s->slot_of[m->shards[i].db_id] = i;
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__snapshot_new_take(read_core *core, loaded_manifest *loaded,
    const char *manifest_ref, shardy_snapshot **snapshot_out, shardy_error *err)
{
    *snapshot_out = NULL;
    shardy_snapshot *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        shardy__manifest_free(loaded->manifest);
        loaded->manifest = NULL;
        return shardy__error_nomem(err, "read");
    }
    atomic_init(&s->refs, 1);
    atomic_fetch_add_explicit(&core->refs, 1, memory_order_relaxed);
    s->core = core;
    s->manifest = loaded->manifest;
    loaded->manifest = NULL;
    s->manifest_size = loaded->size;
    snprintf(s->ref, sizeof s->ref, "%s", loaded->ref);
    snprintf(s->manifest_ref, sizeof s->manifest_ref, "%s", manifest_ref);
    s->verified = loaded->verified && s->manifest->has_objects;
    s->router = (router){s->manifest->strategy, s->manifest->key_encoding, s->manifest->num_dbs};
    s->has_vectors = s->manifest->parsed.has_vector;
    shardy__mutex_init(&s->lock);
    shardy__condition_init(&s->opened);
    shardy_status st = fill_tables(s, err);
    if (st >= 0) {
        st = set_engine(s, err);
    }
    s->ranges = wants_ranges(s);
    if (st < 0) {
        free_snapshot(s);
        return st;
    }
    shardy__log(core->context, SHARDY_LOG_INFO, "read",
        "loaded run \"%s\", %u shards (%s, %u of them with rows), manifest \"%s\"%s",
        s->manifest->run_id, s->manifest->num_dbs, s->engine_name, s->slot_count, s->ref,
        s->verified ? "" : ", without digests");
    if (s->ranges && core->files) {
        shardy__log(core->context, SHARDY_LOG_INFO, "read",
            "the shards are read by ranges: nothing is kept in the cache of files");
    }
    *snapshot_out = s;
    return SHARDY_OK;
}

/* --- slots ------------------------------------------------------------------------------------ */

/* Takes open shards out of their slots until the bound is kept again, least recently used first
 * (clock). Those that were asked since the hand passed last get a second chance, but not a third:
 * shards that all threads ask all the time would stay open, however many they are. Called with the
 * lock. */
static pin_retired *choose_victims(shardy_snapshot *s, uint32_t keep)
{
    pin_retired *victims = NULL;
    uint32_t looked = 0;
    while (s->open_count > s->core->options.open_shards_max && looked < 2 * s->slot_count) {
        uint32_t i = s->hand;
        s->hand = (s->hand + 1) % s->slot_count;
        looked++;
        shard_slot *slot = &s->slots[i];
        int used = atomic_exchange_explicit(&slot->used, 0, memory_order_relaxed) != 0;
        if (i == keep || (used && looked <= s->slot_count)) {
            continue;
        }
        open_shard *shard = atomic_exchange(&slot->shard, NULL);
        if (shard) {
            shard->retired.next = victims;
            victims = &shard->retired;
            s->open_count--;
        }
    }
    return victims;
}

static void evict(shardy_snapshot *s, uint32_t keep)
{
    shardy__mutex_lock(&s->lock);
    pin_retired *victims = choose_victims(s, keep);
    shardy__mutex_unlock(&s->lock);
    while (victims) {
        pin_retired *next = victims->next;
        shardy__count(s->core->context, SHARDY_METRIC_SHARD_EVICTIONS, 1);
        shardy__pin_retire(&s->core->pins, victims);
        victims = next;
    }
}

int shardy__snapshot_distrust(shardy_snapshot *s, uint32_t slot, open_shard *shard)
{
    shard_slot *at = &s->slots[slot];
    if (!shard || !s->core->files || s->ranges || shard->checked) {
        return 0;
    }
    atomic_store(&at->distrusted, 1);
    shardy__mutex_lock(&s->lock);
    open_shard *expected = shard;
    int mine = atomic_compare_exchange_strong(&at->shard, &expected, NULL);
    s->open_count -= mine ? 1 : 0;
    shardy__mutex_unlock(&s->lock);
    if (mine) {
        shardy__pin_retire(&s->core->pins, &shard->retired);
    }
    return 1;
}

shardy_status shardy__snapshot_engine_spec(shardy_snapshot *s, uint32_t slot,
    char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_engine_reader_spec *spec,
    shardy_error *err)
{
    const manifest_shard *row = &s->manifest->shards[slot];
    memset(spec, 0, sizeof *spec);
    SHARDY_TRY(shardy__manifest_shard_path(s->manifest, row, path_out, err));
    spec->struct_size = sizeof *spec;
    spec->context = s->core->context;
    spec->store = s->core->catalog.shards;
    spec->shard_path = path_out;
    spec->digests = s->manifest->objects;
    spec->digest_count = s->manifest->object_count;
    spec->verified = s->manifest->has_objects;
    spec->io = s->core->options.io;
    spec->dim = s->manifest->parsed.dim;
    spec->metric = s->manifest->parsed.metric;
    spec->page_cache = s->ranges ? s->core->pages : NULL;
    spec->file_cache = s->ranges ? NULL : s->core->files;
    return SHARDY_OK;
}

static shardy_status open_engine(shardy_snapshot *s, uint32_t slot, const call_limits *limits,
    open_shard *shard, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_engine_reader_spec spec;
    SHARDY_TRY(shardy__snapshot_engine_spec(s, slot, path, &spec, err));
    spec.deadline_ns = limits->deadline_ns;
    spec.cancel = limits->cancel;
    spec.check_files = atomic_load(&s->slots[slot].distrusted) != 0;
    shardy_status st = shardy__engine_reader_open(s->engine, &spec, &shard->engine, err);
    if (st == SHARDY_CHECKSUM && spec.file_cache && !spec.check_files) {
        /* The file may have been damaged in the cache: if so, it is replaced now. */
        shardy__error_clear(err);
        atomic_store(&s->slots[slot].distrusted, 1);
        spec.check_files = 1;
        st = shardy__engine_reader_open(s->engine, &spec, &shard->engine, err);
    }
    shard->checked = spec.check_files;
    return st;
}

static shardy_status open_shard_now(shardy_snapshot *s, uint32_t slot, const call_limits *limits,
    open_shard **shard_out, shardy_error *err)
{
    open_shard *shard = shardy__calloc(1, sizeof *shard);
    if (!shard) {
        return shardy__error_nomem(err, "read");
    }
    shard->core = s->core;
    shard->retired.free = free_open_shard;
    shardy_status st = open_engine(s, slot, limits, shard, err);
    if (st < 0) {
        shardy__free(shard);
        return st;
    }
    shardy__count(s->core->context, SHARDY_METRIC_SHARD_OPENS, 1);
    shardy__log(s->core->context, SHARDY_LOG_DEBUG, "read", "opened shard %u of run \"%s\"",
        s->manifest->shards[slot].db_id, s->manifest->run_id);
    *shard_out = shard;
    return SHARDY_OK;
}

/* Waits until the thread that opens the shard has ended. Called with the lock. */
static shardy_status wait_for_opening(
    shardy_snapshot *s, const shard_slot *slot, const call_limits *limits, shardy_error *err)
{
    while (slot->opening) {
        shardy_status st =
            shardy__check_time(s->core->context, limits->deadline_ns, limits->cancel, "read", err);
        if (st < 0) {
            return st;
        }
        /* Woken at least every 50 ms, to notice a cancellation. */
        shardy__condition_wait_ns(&s->opened, &s->lock, 50000000);
    }
    return SHARDY_OK;
}

shardy_status shardy__snapshot_shard(shardy_snapshot *s, uint32_t slot, const call_limits *limits,
    open_shard **shard_out, int32_t *opened_out, shardy_error *err)
{
    shard_slot *at = &s->slots[slot];
    open_shard *shard = atomic_load(&at->shard);
    if (shard) {
        if (!atomic_load_explicit(&at->used, memory_order_relaxed)) {
            atomic_store_explicit(&at->used, 1, memory_order_relaxed);
        }
        *shard_out = shard;
        return SHARDY_OK;
    }
    *shard_out = NULL;
    if (!s->engine) {
        const shardy_engine_ops *none;
        return shardy__engine_find(s->engine_name, &none, err);
    }
    shardy__mutex_lock(&s->lock);
    shardy_status st = wait_for_opening(s, at, limits, err);
    shard = atomic_load(&at->shard);
    if (st < 0 || shard) {
        shardy__mutex_unlock(&s->lock);
        *shard_out = shard;
        return shard ? SHARDY_OK : st;
    }
    at->opening = 1;
    shardy__mutex_unlock(&s->lock);

    st = open_shard_now(s, slot, limits, &shard, err);

    shardy__mutex_lock(&s->lock);
    at->opening = 0;
    if (st >= 0) {
        atomic_store_explicit(&at->used, 1, memory_order_relaxed);
        atomic_store(&at->shard, shard);
        s->open_count++;
    }
    int over = s->open_count > s->core->options.open_shards_max;
    shardy__condition_broadcast(&s->opened);
    shardy__mutex_unlock(&s->lock);
    if (over) {
        evict(s, slot);
    }
    if (opened_out && st >= 0) {
        *opened_out = 1;
    }
    *shard_out = shard;
    return st;
}

void shardy__snapshot_note(shardy_snapshot *s, shardy_status st)
{
    if (st == SHARDY_GONE) {
        atomic_store(&s->gone, 1);
    }
}

int shardy__snapshot_is_cold(const shardy_snapshot *s, uint32_t slot)
{
    return atomic_load_explicit(&s->slots[slot].shard, memory_order_relaxed) == NULL;
}

shard_spread shardy__snapshot_spread(const shardy_snapshot *s, uint32_t shards, int cold, int worth)
{
    const shardy_context *context = s->core->context;
    shard_spread spread = {NULL, 0};
    int local = (shardy_store_caps(s->core->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    if (shards < 2) {
        return spread;
    }
    if (s->ranges || (cold && !local)) {
        spread.pool = context->waiters;
        spread.waits = shards < CONTEXT_WAITERS ? shards : CONTEXT_WAITERS;
    } else if (worth && context->threads > 1) {
        spread.pool = context->pool;
    }
    return spread;
}

call_limits shardy__call_limits(const read_core *core, const shardy_read_options *options)
{
    call_limits limits = {0, NULL};
    uint32_t timeout =
        options && options->timeout_ms ? options->timeout_ms : core->options.timeout_ms;
    limits.deadline_ns = shardy__deadline_ns(core->context, timeout);
    limits.cancel = options ? options->cancel : NULL;
    return limits;
}
