/* reader.c: the public calls of a reader, and what opening and refreshing it takes.
 *
 * Design. A call looks whether it is in the process that opened the reader, waits for its turn
 * where reads are limited, and then works on one snapshot between pin and unpin: no lock is taken
 * and nothing is counted in a line that threads share. A refresh, one at a time under `state_lock`,
 * loads the manifest that the pointer names now, swaps `current`, and drops the old snapshot once
 * no call is left that may have seen it (pin.h). What a call does is in snapshot_get.c and
 * snapshot_search.c; which manifest may take the place of a damaged one is decided here. */
#include "reader.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../store/store_ahead.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void shardy_reader_options_init(shardy_reader_options *options, size_t struct_size)
{
    shardy_reader_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.io = SHARDY_IO_MMAP;
    defaults.open_shards_max = 1024;
    defaults.fallback_max = 3;
    defaults.timeout_ms = 30000;
    defaults.access = SHARDY_ACCESS_AUTO;
    defaults.auto_shard_bytes = 16u << 20;
    defaults.auto_total_bytes = (uint64_t)2 << 30;
    defaults.page_cache_bytes = 64u << 20;
    defaults.cache_bytes = (uint64_t)10 << 30;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy_read_options_init(shardy_read_options *options, size_t struct_size)
{
    shardy_read_options defaults;
    memset(&defaults, 0, sizeof defaults);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

/* --- opening ---------------------------------------------------------------------------------- */

static shardy_status check_options(const shardy_reader_options *o, shardy_error *err)
{
    if (o->io != SHARDY_IO_MMAP && o->io != SHARDY_IO_PREAD) {
        return shardy__error(
            err, SHARDY_INVALID, "read", "io is %d, expected mmap or pread", o->io);
    }
    if (o->open_shards_max == 0) {
        return shardy__error(
            err, SHARDY_INVALID, "read", "open_shards_max is 0, expected 1 or more");
    }
    if (o->access < SHARDY_ACCESS_AUTO || o->access > SHARDY_ACCESS_RANGE) {
        return shardy__error(err, SHARDY_INVALID, "read",
            "access is %d, expected auto, download or range", o->access);
    }
    if (o->page_cache_bytes < SHARDY_PAGE_CACHE_BYTES_MIN) {
        return shardy__error(err, SHARDY_INVALID, "read",
            "page_cache_bytes is %llu, expected %u or more",
            (unsigned long long)o->page_cache_bytes, SHARDY_PAGE_CACHE_BYTES_MIN);
    }
    if (o->cache_bytes < SHARDY_FILE_CACHE_BYTES_MIN) {
        return shardy__error(err, SHARDY_INVALID, "read",
            "cache_bytes is %llu, expected %u or more", (unsigned long long)o->cache_bytes,
            SHARDY_FILE_CACHE_BYTES_MIN);
    }
    if (o->timeout_ms == 0) {
        return shardy__error(err, SHARDY_INVALID, "read", "timeout_ms is 0, expected 1 or more");
    }
    return shardy__rate_check(o->max_reads_per_second, "max_reads_per_second", err);
}

/* The cache of files, where shards may become files. */
static shardy_status open_files(read_core *core, const shardy_reader_options *o, shardy_error *err)
{
    int is_local = (shardy_store_caps(core->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    if (!o->cache_dir || is_local || o->access == SHARDY_ACCESS_RANGE) {
        return SHARDY_OK;
    }
    return shardy__file_cache_open(core->context, o->cache_dir, o->cache_bytes, &core->files, err);
}

static shardy_status new_core(shardy_context *context, const char *url,
    const shardy_reader_options *options, read_core **core_out, shardy_error *err)
{
    *core_out = NULL;
    read_core *core = shardy__aligned_alloc(64, sizeof *core);
    if (!core) {
        return shardy__error_nomem(err, "read");
    }
    memset(core, 0, sizeof *core);
    atomic_init(&core->refs, 1);
    core->process = shardy__process_generation();
    core->options = *options;
    shardy__pin_domain_init(&core->pins);
    shardy_status st = shardy__context_hold(context, &core->context, err);
    if (st >= 0) {
        core->process = shardy__process_generation();
        int ahead =
            options->first_key && !options->ref && options->access != SHARDY_ACCESS_DOWNLOAD;
        catalog_options catalog_opts = {.sync = 1,
            .allow_network_fs = 1,
            .store = options->store,
            .manifests = options->manifest_store,
            .timeout_ms = options->timeout_ms,
            .ahead = ahead,
            .bound = CATALOG_IN_TIME};
        st = shardy__catalog_open(core->context, url, &catalog_opts, &core->catalog, err);
    }
    if (st >= 0) {
        st = shardy__page_cache_new(options->page_cache_bytes, &core->pages, err);
    }
    if (st >= 0) {
        st = open_files(core, options, err);
    }
    if (st >= 0 && options->engine) {
        const shardy_engine_ops *ops;
        snprintf(core->engine, sizeof core->engine, "%s", options->engine);
        st = shardy__engine_find(core->engine, &ops, err);
    }
    if (st < 0) {
        shardy__pin_domain_destroy(&core->pins);
        if (core->catalog.manifests.ops) {
            shardy__catalog_close(&core->catalog);
        }
        shardy__page_cache_drop(core->pages);
        shardy__file_cache_close(core->files);
        shardy__context_drop(core->context);
        shardy__free(core);
        return st;
    }
    core->options.ref = NULL;
    core->options.engine = NULL;
    core->is_limited = options->max_reads_per_second > 0;
    shardy__rate_init(&core->rate, core->context, options->max_reads_per_second, 0);
    core->options.first_key = NULL;
    core->options.manifest_store = NULL;
    core->options.cache_dir = NULL;
    core->options.open_cancel = NULL;
    *core_out = core;
    return SHARDY_OK;
}

/* Failures of the content of a manifest, after which an older one may serve. Not CHECKSUM: where a
 * digest was recorded nothing else may take the place of what it promises. */
static int may_fall_back(shardy_status st)
{
    return st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION;
}

/* Tries manifests older than `ref`, newest first. The first error stays when none can be used. */
static shardy_status load_fallback(
    read_core *core, const char *ref, shardy_status first, loaded_manifest *out, shardy_error *err)
{
    shardy_manifest_list list;
    shardy_error ignored;
    if (shardy__manifest_store_list(
            &core->catalog.manifests, SHARDY_HISTORY_LIMIT_MAX, &list, &ignored) < 0) {
        return first;
    }
    int64_t before_us = INT64_MIN;
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.entries[i].ref, ref) == 0) {
            before_us = list.entries[i].published_us;
        }
    }
    uint32_t tries = 0;
    shardy_status st = first;
    for (size_t i = 0; i < list.count && tries < core->options.fallback_max && st < 0; i++) {
        const shardy_manifest_entry *e = &list.entries[i];
        if (e->published_us >= before_us) {
            continue; /* never newer than the pointer: after a rollback that would undo it */
        }
        tries++;
        manifest_promise promise;
        if (shardy__catalog_promise(&core->catalog, e->run_id, e->ref, &promise, &ignored) >= 0 &&
            shardy__catalog_load(&core->catalog, e->ref, &promise, NULL, out, &ignored) ==
                SHARDY_OK) {
            st = SHARDY_OK;
        }
    }
    shardy__manifest_list_dispose(&list);
    if (st >= 0) {
        shardy__log(core->context, SHARDY_LOG_WARN, "read",
            "the current manifest cannot be used, serving the older \"%s\": %s", out->ref,
            err ? err->message : "");
        shardy__error_clear(err);
    }
    return st;
}

/* Whether the pointer still names what is served; NOT_MODIFIED then. *seen is the version of the
 * pointer that was seen last. */
static shardy_status ask_pointer(
    read_core *core, const shardy_snapshot *current, shardy_etag *seen, shardy_error *err)
{
    pointer p;
    shardy_etag version;
    shardy_status st = shardy__manifest_store_load_newer(
        &core->catalog.manifests, current->fallback ? NULL : seen, &p, &version, err);
    if (st == SHARDY_OK && strcmp(p.manifest_ref, current->manifest_ref) == 0 &&
        !current->fallback) {
        *seen = version;
        return SHARDY_NOT_MODIFIED;
    }
    return st;
}

/* Loads what the pointer names now into a new snapshot. `current` (may be NULL) is what is served:
 * NOT_MODIFIED when the pointer still names it. *seen becomes the version of the pointer whose
 * snapshot is served. */
static shardy_status load_current(read_core *core, const shardy_snapshot *current,
    int allow_fallback, shardy_etag *seen, shardy_snapshot **snapshot_out, shardy_error *err)
{
    pointer p;
    shardy_etag version;
    loaded_manifest loaded;
    memset(&loaded, 0, sizeof loaded);
    *snapshot_out = NULL;
    if (current) {
        shardy_status st = ask_pointer(core, current, seen, err);
        if (st != SHARDY_OK && st != SHARDY_NOT_FOUND) {
            return st;
        }
    }
    shardy_status st = shardy__catalog_load_current(&core->catalog, &p, &version, &loaded, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__catalog_no_pointer(&core->catalog, "read", err);
    }
    int fallback = 0;
    if (may_fall_back(st) && allow_fallback && core->options.fallback_max > 0 && !p.has_ours &&
        p.manifest_ref[0]) {
        char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        shardy_error ignored;
        if (shardy__manifest_store_ref(&core->catalog.manifests, p.manifest_ref, ref, &ignored) >=
            0) {
            st = load_fallback(core, ref, st, &loaded, err);
            fallback = st >= 0;
        }
    }
    SHARDY_TRY(st);
    st = shardy__snapshot_new_take(core, &loaded, p.manifest_ref, snapshot_out, err);
    if (st >= 0) {
        (*snapshot_out)->generation = p.has_ours ? p.generation : 0;
        (*snapshot_out)->fallback = fallback;
        *seen = version;
        (*snapshot_out)->pointer_size = p.size;
        (*snapshot_out)->pointer_ours = p.has_ours;
        (*snapshot_out)->hint = p.hint;
    }
    return st;
}

/* The ref that a name stands for: a ref, "-N", or a run id (its newest manifest). */
static shardy_status resolve_ref(read_core *core, const char *name,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    if (strchr(name, '/')) {
        return shardy__manifest_store_ref(&core->catalog.manifests, name, ref_out, err);
    }
    uint64_t offset = 0;
    int is_offset = name[0] == '-' && name[1] != '\0';
    for (const char *p = name + 1; is_offset && *p; p++) {
        is_offset = shardy__is_digit(*p) && offset < SHARDY_HISTORY_LIMIT_MAX;
        offset = offset * 10 + (uint64_t)(*p - '0');
    }
    shardy_manifest_list list;
    SHARDY_TRY(shardy__manifest_store_list(
        &core->catalog.manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
    const char *found = NULL;
    for (size_t i = 0; i < list.count && !found; i++) {
        if (is_offset ? i == offset : strcmp(list.entries[i].run_id, name) == 0) {
            found = list.entries[i].ref;
        }
    }
    ref_out[0] = '\0';
    if (found) {
        snprintf(ref_out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "%s", found);
    }
    size_t count = list.count;
    shardy__manifest_list_dispose(&list);
    return found ? SHARDY_OK
                 : shardy__error(err, SHARDY_INVALID, "read",
                       "no manifest is named \"%.300s\" (%zu in the history)", name, count);
}

static shardy_status load_named(
    read_core *core, const char *name, shardy_snapshot **snapshot_out, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    *snapshot_out = NULL;
    SHARDY_TRY(resolve_ref(core, name, ref, err));
    char id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    (void)shardy__manifest_store_ref_run_id(&core->catalog.manifests, ref, id);
    manifest_promise promise = {0};
    if (id[0]) {
        SHARDY_TRY(shardy__catalog_promise(&core->catalog, id, ref, &promise, err));
    }
    loaded_manifest loaded;
    shardy_status st = shardy__catalog_load(&core->catalog, ref, &promise, NULL, &loaded, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, promise.has_digest ? SHARDY_GONE : SHARDY_INVALID, "read",
            "there is no manifest \"%.300s\"", ref);
    }
    SHARDY_TRY(st);
    return shardy__snapshot_new_take(core, &loaded, ref, snapshot_out, err);
}

shardy_status shardy_reader_open(shardy_context *context, const char *url,
    const shardy_reader_options *options, shardy_reader **reader_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader_out);
    *reader_out = NULL;
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.store);
    SHARDY_TRY(check_options(&o, err));
    shardy_reader *reader = shardy__calloc(1, sizeof *reader);
    if (!reader) {
        return shardy__error_nomem(err, "read");
    }
    reader->pinned_ref = o.ref != NULL;
    shardy_snapshot *snapshot = NULL;
    shardy_status st = new_core(context, url, &o, &reader->core, err);
    if (st < 0) {
        shardy__free(reader);
        return st;
    }
    shardy__mutex_init(&reader->state_lock);
    shardy__condition_init(&reader->refreshed);
    const catalog_ahead ahead = {o.first_key,
        o.access == SHARDY_ACCESS_AUTO ? o.auto_shard_bytes : 0,
        o.access == SHARDY_ACCESS_AUTO ? o.auto_total_bytes : 0};
    reader->core->catalog.ahead = o.first_key ? &ahead : NULL;
    call_limits limits = shardy__call_limits(reader->core, NULL);
    shardy__catalog_limit(&reader->core->catalog, limits.deadline_ns, o.open_cancel);
    st = o.ref ? load_named(reader->core, o.ref, &snapshot, err)
               : load_current(reader->core, NULL, 1, &reader->seen, &snapshot, err);
    reader->core->catalog.ahead = NULL;
    shardy__catalog_limit(&reader->core->catalog, 0, NULL);
    atomic_init(&reader->current, snapshot);
    if (st < 0) {
        shardy_reader_close(reader);
        return st;
    }
    *reader_out = reader;
    return SHARDY_OK;
}

void shardy_reader_close(shardy_reader *reader)
{
    if (!reader || reader->core->process != shardy__process_generation()) {
        /* a copy in a child process: its threads are gone, its locks may be held for ever */
        return;
    }
    shardy_snapshot *snapshot = atomic_load(&reader->current);
    shardy__pin_reclaim(&reader->core->pins);
    shardy__snapshot_drop(snapshot);
    shardy__condition_destroy(&reader->refreshed);
    shardy__mutex_destroy(&reader->state_lock);
    shardy__read_core_drop(reader->core);
    shardy__free(reader);
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Waits for the turn of so many look-ups, before anything is pinned. What is left of the time of
 * the call is in *left, which takes the place of its options. */
static shardy_status wait_for_turn(read_core *core, size_t units,
    const shardy_read_options **options, shardy_read_options *left, shardy_error *err)
{
    SHARDY_TRY(shardy__check_process(core->process, err));
    shardy_read_options_init(left, sizeof *left);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(left, *options, err));
    call_limits limits = shardy__call_limits(core, left);
    SHARDY_TRY(shardy__rate_take(
        &core->rate, (rate_units){{units, 0}}, limits.deadline_ns, limits.cancel, err));
    int64_t ms = (limits.deadline_ns - shardy__monotonic_ns(core->context) + 999999) / 1000000;
    left->timeout_ms = ms > 0 ? (uint32_t)ms : 1;
    *options = left;
    return SHARDY_OK;
}

/* What every read begins with: nothing is left of what was counted before, and it waits for its
 * turn where there is a limit. */
static inline shardy_status begin_read(read_core *core, size_t units,
    const shardy_read_options **options, shardy_read_options *left, shardy_error *err)
{
    if (*options && (*options)->stats) {
        memset((*options)->stats, 0, sizeof *(*options)->stats);
    }
    if (__builtin_expect(core->is_limited, 0)) {
        return wait_for_turn(core, units, options, left, err);
    }
    return SHARDY_OK;
}

/* Every call on a reader works on the snapshot that is current when it begins, between pin and
 * unpin. */
shardy_status shardy__reader_begin(
    const shardy_reader *reader, pin *pin_out, shardy_snapshot **snapshot_out, shardy_error *err)
{
    if (__builtin_expect(reader->core->process != shardy__process_generation(), 0)) {
        (void)shardy__check_process(reader->core->process, err); /* for its message */
        return SHARDY_FORKED;
    }
    *pin_out = shardy__pin(&reader->core->pins);
    /* model: call_load */
    *snapshot_out = atomic_load(&reader->current);
    return SHARDY_OK;
}

shardy_status shardy_reader_get(const shardy_reader *reader, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && key && value_out);
    memset(value_out, 0, sizeof *value_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(reader->core, 1, &options, &left, err));
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    shardy_status st = shardy__snapshot_get(s, key, options, value_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_reader_multi_get(const shardy_reader *reader, const shardy_key *keys,
    size_t key_count, const shardy_read_options *options, shardy_values *values_out,
    shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && (keys || key_count == 0) && values_out);
    memset(values_out, 0, sizeof *values_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(reader->core, key_count, &options, &left, err));
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    shardy_status st = shardy__snapshot_multi_get(s, keys, key_count, options, values_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_reader_search(const shardy_reader *reader, const shardy_query *query,
    const shardy_read_options *options, shardy_hits *hits_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && query && hits_out);
    memset(hits_out, 0, sizeof *hits_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(reader->core, query->count, &options, &left, err));
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    shardy_status st = shardy__snapshot_search(s, query, options, hits_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_reader_pin(
    const shardy_reader *reader, shardy_snapshot **snapshot_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && snapshot_out);
    *snapshot_out = NULL;
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    /* The pin keeps the snapshot alive until it has a reference more. */
    shardy__snapshot_hold(s);
    shardy__unpin(p);
    *snapshot_out = s;
    return SHARDY_OK;
}

void shardy_snapshot_close(shardy_snapshot *snapshot)
{
    if (snapshot && snapshot->core->process == shardy__process_generation()) {
        shardy__snapshot_drop(snapshot);
    }
}

/* A held snapshot is alive, but its open shards can be evicted: pin for the call. */
static shardy_status begin_held(const shardy_snapshot *snapshot, pin *pin_out, shardy_error *err)
{
    SHARDY_TRY(shardy__check_process(snapshot->core->process, err));
    *pin_out = shardy__pin(&snapshot->core->pins);
    return SHARDY_OK;
}

/* The caller's handle is const because any number of threads may use it; the slots inside are
 * atomic. */
static shardy_snapshot *unconst(const shardy_snapshot *snapshot)
{
    return (shardy_snapshot *)(uintptr_t)snapshot;
}

shardy_status shardy_snapshot_get(const shardy_snapshot *snapshot, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(snapshot && key && value_out);
    memset(value_out, 0, sizeof *value_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(snapshot->core, 1, &options, &left, err));
    pin p;
    SHARDY_TRY(begin_held(snapshot, &p, err));
    shardy_status st = shardy__snapshot_get(unconst(snapshot), key, options, value_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_snapshot_multi_get(const shardy_snapshot *snapshot, const shardy_key *keys,
    size_t key_count, const shardy_read_options *options, shardy_values *values_out,
    shardy_error *err)
{
    SHARDY_CHECK_ARG(snapshot && (keys || key_count == 0) && values_out);
    memset(values_out, 0, sizeof *values_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(snapshot->core, key_count, &options, &left, err));
    pin p;
    SHARDY_TRY(begin_held(snapshot, &p, err));
    shardy_status st =
        shardy__snapshot_multi_get(unconst(snapshot), keys, key_count, options, values_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_snapshot_search(const shardy_snapshot *snapshot, const shardy_query *query,
    const shardy_read_options *options, shardy_hits *hits_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(snapshot && query && hits_out);
    memset(hits_out, 0, sizeof *hits_out);
    shardy_read_options left;
    SHARDY_TRY(begin_read(snapshot->core, query->count, &options, &left, err));
    pin p;
    SHARDY_TRY(begin_held(snapshot, &p, err));
    shardy_status st = shardy__snapshot_search(unconst(snapshot), query, options, hits_out, err);
    shardy__unpin(p);
    return st;
}

shardy_status shardy_reader_route_key(const shardy_reader *reader, const shardy_key *key,
    const shardy_read_options *options, uint32_t *db_id_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && key && db_id_out);
    *db_id_out = 0;
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    routed_key routed;
    shardy_status st =
        shardy__router_route(&s->router, key, options ? options->routing_context : NULL,
            options ? options->routing_context_count : 0, &routed, err);
    *db_id_out = st < 0 ? 0 : routed.db_id;
    shardy__unpin(p);
    return st;
}

/* --- refresh and health ----------------------------------------------------------------------- */

static void note_refresh(shardy_reader *reader, shardy_status st, const shardy_error *error)
{
    shardy__mutex_lock(&reader->state_lock);
    reader->refresh_status = st < 0 ? st : SHARDY_OK;
    snprintf(reader->refresh_message, sizeof reader->refresh_message, "%.511s",
        st < 0 ? error->message : "");
    shardy__mutex_unlock(&reader->state_lock);
    if (st < 0) {
        shardy__count(reader->core->context, SHARDY_METRIC_REFRESH_FAILURES, 1);
        shardy__log(reader->core->context, SHARDY_LOG_WARN, "read",
            "refresh failed, the old snapshot stays in service: %s", error->message);
    }
}

/* Waits until no other thread refreshes. Not a mutex, because a refresh may take long and this one
 * has a deadline of its own. */
static shardy_status begin_refresh(
    shardy_reader *reader, const call_limits *limits, shardy_error *err)
{
    const shardy_context *context = reader->core->context;
    shardy__mutex_lock(&reader->state_lock);
    shardy_status st =
        shardy__check_time(context, limits->deadline_ns, limits->cancel, "read", err);
    while (st >= 0 && reader->refreshing) {
        /* Woken at least every 50 ms, to notice a cancellation. */
        shardy__condition_wait_ns(&reader->refreshed, &reader->state_lock, 50000000);
        st = shardy__check_time(context, limits->deadline_ns, limits->cancel, "read", err);
    }
    reader->refreshing |= st >= 0;
    shardy__mutex_unlock(&reader->state_lock);
    return st;
}

static void end_refresh(shardy_reader *reader)
{
    shardy__mutex_lock(&reader->state_lock);
    reader->refreshing = 0;
    shardy__condition_signal(&reader->refreshed);
    shardy__mutex_unlock(&reader->state_lock);
}

static void free_retired_snapshot(pin_retired *retired)
{
    shardy__snapshot_drop((shardy_snapshot *)(void *)retired);
}

/* Installs what the pointer names now, unless it is served already. */
static shardy_status load_next(shardy_reader *reader, shardy_error *err)
{
    shardy_snapshot *next = NULL;
    shardy_snapshot *old = atomic_load(&reader->current); /* stays: only a refresh replaces it */
    shardy_status st = load_current(reader->core, old, 0, &reader->seen, &next, err);
    if (st == SHARDY_OK) {
        shardy__store_ahead_clear(reader->core->catalog.shards); /* of the old snapshot */
        old->retired.free = free_retired_snapshot;
        /* model: retire_swap */
        atomic_store(&reader->current, next);
        shardy__pin_retire(&reader->core->pins, &old->retired);
        shardy__count(reader->core->context, SHARDY_METRIC_REFRESHES, 1);
    }
    return st;
}

shardy_status shardy_reader_refresh(
    const shardy_reader *const_reader, const shardy_read_options *options, shardy_error *err)
{
    SHARDY_CHECK_ARG(const_reader);
    shardy_reader *reader = (shardy_reader *)(uintptr_t)const_reader;
    SHARDY_TRY(shardy__check_process(reader->core->process, err));
    if (reader->pinned_ref) {
        return shardy__error(err, SHARDY_MISUSE, "read",
            "the reader was opened at a fixed manifest and cannot be refreshed");
    }
    shardy_error error;
    shardy__error_clear(&error);
    call_limits limits = shardy__call_limits(reader->core, options);
    shardy_status st = begin_refresh(reader, &limits, &error);
    int has_turn = st >= 0;
    if (has_turn) {
        shardy__catalog_limit(&reader->core->catalog, limits.deadline_ns, limits.cancel);
        st = load_next(reader, &error);
        shardy__catalog_limit(&reader->core->catalog, 0, NULL);
    }
    note_refresh(reader, st, &error); /* before the next one can have something to note */
    if (has_turn) {
        end_refresh(reader);
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}

static void judge(
    const shardy_reader *reader, const shardy_snapshot *s, double threshold, shardy_health *out)
{
    const int gone = atomic_load(&s->gone) != 0;
    (void)reader;
    if (s->manifest->shard_count > 0 && !s->engine) {
        out->status = SHARDY_UNHEALTHY;
        snprintf(out->reason, sizeof out->reason, "the engine \"%s\" is not in this build",
            s->engine_name);
    } else if (gone) {
        out->status = SHARDY_UNHEALTHY;
        snprintf(out->reason, sizeof out->reason,
            "objects of the snapshot are gone: a refresh takes the one that is current now");
    } else if (out->refresh_status < 0) {
        out->status = SHARDY_DEGRADED;
        snprintf(out->reason, sizeof out->reason, "the last refresh failed: %.200s",
            out->refresh_message);
    } else if (s->fallback) {
        out->status = SHARDY_DEGRADED;
        snprintf(out->reason, sizeof out->reason,
            "the current manifest cannot be used, an older one is served");
    } else if (threshold >= 0 && out->age_seconds > threshold) {
        out->status = SHARDY_DEGRADED;
        snprintf(out->reason, sizeof out->reason,
            "the snapshot is %.3f seconds old, the threshold is %.3f", out->age_seconds, threshold);
    }
}

shardy_status shardy_reader_health(const shardy_reader *reader, double staleness_threshold_seconds,
    shardy_health *health_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(reader && health_out);
    memset(health_out, 0, sizeof *health_out);
    pin p;
    shardy_snapshot *s;
    SHARDY_TRY(shardy__reader_begin(reader, &p, &s, err));
    shardy_reader *r = (shardy_reader *)(uintptr_t)reader;
    shardy__mutex_lock(&r->state_lock);
    health_out->refresh_status = r->refresh_status;
    snprintf(
        health_out->refresh_message, sizeof health_out->refresh_message, "%s", r->refresh_message);
    shardy__mutex_unlock(&r->state_lock);
    health_out->status = SHARDY_HEALTHY;
    health_out->verified = s->verified;
    health_out->fallback = s->fallback;
    health_out->num_shards = s->manifest->num_dbs;
    shardy__mutex_lock(&s->lock);
    health_out->open_shards = s->open_count;
    shardy__mutex_unlock(&s->lock);
    double age = (double)(shardy__wall_us(reader->core->context) - s->manifest->created_us) / 1e6;
    health_out->age_seconds = age < 0 ? 0 : age;
    snprintf(health_out->manifest_ref, sizeof health_out->manifest_ref, "%.1279s", s->manifest_ref);
    judge(reader, s, staleness_threshold_seconds, health_out);
    shardy__unpin(p);
    return SHARDY_OK;
}
