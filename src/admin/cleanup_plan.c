#include "cleanup_impl.h"

#include "../base/alloc.h"
#include "../catalog/run_layout.h"
#include "../store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_PAGE 1000u

/* --- runs ------------------------------------------------------------------------------------- */

static shardy_status add_run(
    cleaner *k, const char *run_id, size_t len, cleanup_run **out, shardy_error *err)
{
    *out = shardy__map_get(&k->runs, run_id, len);
    if (*out) {
        return SHARDY_OK;
    }
    if (k->run_count == k->run_room) {
        size_t room = k->run_room ? 2 * k->run_room : 64;
        cleanup_run **list = shardy__realloc(k->list, room * sizeof(void *));
        if (!list) {
            return shardy__error_nomem(err, "cleanup");
        }
        k->list = list;
        k->run_room = room;
    }
    cleanup_run *run = shardy__arena_alloc(k->arena, sizeof *run);
    char *id = shardy__arena_strndup(k->arena, run_id, len);
    if (!run || !id) {
        return shardy__error_nomem(err, "cleanup");
    }
    run->run_id = id;
    SHARDY_TRY(shardy__map_put(&k->runs, run_id, len, run, NULL, err));
    k->list[k->run_count++] = run;
    *out = run;
    return SHARDY_OK;
}

/* What a listing says about a directory or an object. `name` is without prefix and slash. */
typedef shardy_status (*entry_fn)(
    cleaner *k, const char *key, const char *name, size_t len, shardy_error *err);

static shardy_status add_run_dir(
    cleaner *k, const char *name, size_t len, cleanup_run **run_out, shardy_error *err)
{
    size_t mark = strlen(RUN_DIR_MARK);
    *run_out = NULL;
    if (len <= mark || memcmp(name, RUN_DIR_MARK, mark) != 0) {
        return SHARDY_OK; /* not of a run */
    }
    return add_run(k, name + mark, len - mark, run_out, err);
}

static shardy_status add_shards(
    cleaner *k, const char *key, const char *name, size_t len, shardy_error *err)
{
    cleanup_run *run;
    (void)key;
    SHARDY_TRY(add_run_dir(k, name, len, &run, err));
    if (run) {
        run->has_shards = 1;
    }
    return SHARDY_OK;
}

static shardy_status add_vector_meta(
    cleaner *k, const char *key, const char *name, size_t len, shardy_error *err)
{
    cleanup_run *run;
    (void)key;
    SHARDY_TRY(add_run_dir(k, name, len, &run, err));
    if (run) {
        run->has_vector_meta = 1;
    }
    return SHARDY_OK;
}

static shardy_status add_record(
    cleaner *k, const char *key, const char *name, size_t len, shardy_error *err)
{
    cleanup_run *run;
    const char *run_id;
    size_t run_id_len;
    if (!shardy__layout_record_dir(name, len, &run_id, &run_id_len)) {
        return SHARDY_OK; /* the directory of a fate, or not of a run */
    }
    SHARDY_TRY(add_run(k, run_id, run_id_len, &run, err));
    cleanup_record *record = shardy__arena_alloc(k->arena, sizeof *record);
    char *dir = shardy__arena_strdup(k->arena, key);
    if (!record || !dir) {
        return shardy__error_nomem(err, "cleanup");
    }
    record->dir = dir;
    record->next = run->records;
    run->records = record;
    return SHARDY_OK;
}

/* Of what is one level below the prefix: the directories, or the objects. */
static shardy_status list_level(
    cleaner *k, const char *prefix, int dirs, entry_fn each, shardy_error *err)
{
    char *token = NULL;
    shardy_status st = SHARDY_OK;
    size_t skip = strlen(prefix);
    do {
        shardy_store_page page = {0};
        st = shardy__cleanup_tell(k, err);
        if (st >= 0) {
            st = shardy_store_list(k->catalog.store, prefix, '/', token, LIST_PAGE, &page, err);
        }
        shardy__free(token);
        token = NULL;
        for (size_t i = 0; st >= 0 && i < page.count; i++) {
            const char *key = page.entries[i].key;
            size_t len = strlen(key);
            len = len > skip + (size_t)dirs ? len - skip - (size_t)dirs : 0;
            if ((page.entries[i].is_prefix != 0) == dirs && len > 0) {
                st = each(k, key, key + skip, len, err);
            }
        }
        if (st >= 0 && page.next_token) {
            token = shardy__strdup(page.next_token);
            st = token ? SHARDY_OK : shardy__error_nomem(err, "cleanup");
        }
        shardy_store_page_dispose(&page);
    } while (st >= 0 && token);
    shardy__free(token);
    return st;
}

static shardy_status find_runs(cleaner *k, shardy_error *err)
{
    char prefix[300];
    for (size_t i = 0; i < k->reach.count; i++) {
        reach_manifest *m = k->reach.manifests[i];
        cleanup_run *run = NULL;
        SHARDY_TRY(add_run(k, m->run_id, strlen(m->run_id), &run, err));
        if (run && !run->manifest) {
            run->manifest = m; /* they come newest first */
        }
    }
    snprintf(prefix, sizeof prefix, "%.255s/", k->options->shard_prefix);
    SHARDY_TRY(list_level(k, prefix, 1, add_shards, err));
    SHARDY_TRY(list_level(k, "vector_meta/", 1, add_vector_meta, err));
    snprintf(prefix, sizeof prefix, "%.255s/", k->options->run_registry_prefix);
    return list_level(k, prefix, 1, add_record, err);
}

/* --- other pointers --------------------------------------------------------------------------- */

/* Both names are in every pointer, so that one that is damaged has one of them still. */
static int is_like_pointer(const char *text, size_t len)
{
    static const char *const names[] = {"\"manifest_ref\"", "\"manifest_content_type\""};
    for (size_t at = 0; at < len; at++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            size_t n = strlen(names[i]);
            if (n <= len - at && memcmp(text + at, names[i], n) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* What is longer than any pointer is none, like marks that other programs leave ("_SUCCESS"). */
static shardy_status refuse_pointer(
    cleaner *k, const char *key, const char *name, size_t len, shardy_error *err)
{
    shardy_buf body = {0};
    shardy_object_meta meta;
    (void)len;
    if (name[0] != '_' || strcmp(name, k->catalog.pointer_key) == 0) {
        return SHARDY_OK;
    }
    shardy_status st = shardy__store_get_whole(
        k->catalog.store, key, SHARDY_CURRENT_LEN_MAX + 1, &body, &meta, err);
    int refused = st == SHARDY_OK && body.len <= SHARDY_CURRENT_LEN_MAX &&
                  is_like_pointer(body.data, body.len);
    shardy_buf_release(&body);
    if (st < 0) {
        return shardy__error_prefix(
            err, st, "nothing is removed while \"%.300s\" cannot be read", key);
    }
    return refused ? shardy__error(err, SHARDY_INVALID, "cleanup",
                         "\"%.300s\" in \"%.300s\" is another pointer beside \"%s\": what it names "
                         "would not be kept",
                         key, k->catalog.url, k->catalog.pointer_key)
                   : SHARDY_OK;
}

/* Manifests and shards do not tell of which pointer they are. */
static shardy_status check_pointers(cleaner *k, shardy_error *err)
{
    return k->catalog.manifests.ops->refs_are_run_ids ? SHARDY_OK
                                                      : list_level(k, "", 0, refuse_pointer, err);
}

/* --- retention -------------------------------------------------------------------------------- */

int shardy__cleanup_wants_runs(const cleaner *k)
{
    const shardy_cleanup_options *o = k->options;
    return o->include_old_runs || o->older_than_s >= 0 || o->keep_last > 0;
}

int shardy__cleanup_lets_go(const cleaner *k, const cleanup_run *run)
{
    const shardy_cleanup_options *o = k->options;
    const reach_manifest *m = run->manifest;
    if (!shardy__cleanup_wants_runs(k) || strcmp(run->run_id, k->current) == 0 ||
        strcmp(run->run_id, k->target) == 0) {
        return 0;
    }
    if (!m || m->fate_state == FATE_CONDEMNED) {
        return 1; /* its fate and its lease decide */
    }
    if (o->include_old_runs) {
        return 0; /* it lets go of none that was published, whatever the others do */
    }
    if (o->older_than_s >= 0 && m->published_us >= k->now_us - o->older_than_s * 1000000) {
        return 0;
    }
    return !run->is_last;
}

int shardy__cleanup_is_unsettled(const cleanup_run *run)
{
    return run->manifest && run->manifest->fate_state == FATE_PUBLISHING;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Run id in the ref of a manifest. */
static shardy_status run_of_ref(const cleaner *k, const char *ref,
    char run_id_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    if (shardy__manifest_store_ref_run_id(&k->catalog.manifests, ref, run_id_out)) {
        return SHARDY_OK;
    }
    return shardy__error(
        err, SHARDY_INVALID, "cleanup", "\"%.300s\" has no name that a manifest can have", ref);
}

static shardy_status find_current(cleaner *k, shardy_error *err)
{
    pointer p;
    shardy_etag version;
    loaded_manifest loaded;
    shardy_status st = shardy__catalog_load_current(&k->catalog, &p, &version, &loaded, err);
    if (st == SHARDY_NOT_FOUND) {
        return SHARDY_OK;
    }
    SHARDY_TRY(st);
    st = run_of_ref(k, loaded.ref, k->current, err);
    const int ours = loaded.manifest->parsed.engine[0] != '\0';
    shardy__manifest_free(loaded.manifest);
    if (st >= 0 && ours && !shardy__manifest_store_is_pointer(&k->catalog.manifests, &version)) {
        return shardy__error(err, SHARDY_CONFIG, "cleanup",
            "%s has no row, but run \"%.128s\" was published with one: is pointer_table_name the "
            "right one?",
            k->catalog.pointer_key, k->current);
    }
    if (st < 0) {
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    if (strcmp(k->current, p.run_id) != 0) {
        return shardy__error(err, SHARDY_CORRUPT, "cleanup",
            "the pointer is of run \"%.128s\" and names a manifest of run \"%.128s\"", p.run_id,
            k->current);
    }
    k->has_current = 1;
    snprintf(k->target_ref, sizeof k->target_ref, "%s", loaded.ref);
    snprintf(k->target, sizeof k->target, "%s", k->current);
    return SHARDY_OK;
}

static shardy_status find_target(cleaner *k, shardy_error *err)
{
    SHARDY_TRY(find_current(k, err));
    if (k->options->ref) {
        SHARDY_TRY(
            shardy__manifest_store_ref(&k->catalog.manifests, k->options->ref, k->target_ref, err));
        return run_of_ref(k, k->target_ref, k->target, err);
    }
    if (!k->has_current && !shardy__cleanup_wants_runs(k)) {
        return shardy__catalog_no_pointer(&k->catalog, "cleanup", err);
    }
    return SHARDY_OK;
}

/* The run is not judged by a manifest that is not there. */
static void forget_missing(const cleaner *k, cleanup_run *run)
{
    run->manifest = NULL;
    for (size_t i = 0; i < k->reach.count && !run->manifest; i++) {
        reach_manifest *m = k->reach.manifests[i];
        run->manifest = !m->missing && strcmp(m->run_id, run->run_id) == 0 ? m : NULL;
    }
}

/* A manifest that cannot be understood might name anything, unless it goes itself. A run whose fate
 * cannot be believed goes nowhere, so what its manifest names has to be known. */
static shardy_status load_manifest(cleaner *k, reach_manifest *m, shardy_error *err)
{
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__reach_load(&k->reach, &k->catalog, m, &error);
    cleanup_run *run = shardy__map_get(&k->runs, m->run_id, strlen(m->run_id));
    if (run && m->missing) {
        forget_missing(k, run);
    } else if (run && m->fate_state != FATE_CONDEMNED && k->last_count < k->options->keep_last) {
        run->is_last = 1; /* they come newest first */
        k->last_count++;
    }
    if (st >= 0) {
        return SHARDY_OK;
    }
    int damaged = st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION;
    if (damaged && !m->fate_open && run && shardy__cleanup_lets_go(k, run)) {
        return SHARDY_OK;
    }
    if (err) {
        *err = error;
    }
    return shardy__error_prefix(err, st,
        "nothing is removed while %s of run \"%.128s\" cannot be read",
        m->fate_open ? "the fate" : "a manifest", m->run_id);
}

shardy_status shardy__cleanup_plan(cleaner *k, shardy_error *err)
{
    SHARDY_TRY(check_pointers(k, err));
    SHARDY_TRY(find_target(k, err));
    SHARDY_TRY(shardy__reach_list_twice(&k->reach, &k->catalog, err));
    if (k->target_ref[0] &&
        !shardy__map_get(&k->reach.refs, k->target_ref, strlen(k->target_ref))) {
        return shardy__error(
            err, SHARDY_INVALID, "cleanup", "there is no manifest \"%.300s\"", k->target_ref);
    }
    if (shardy__cleanup_wants_runs(k)) {
        SHARDY_TRY(find_runs(k, err));
    }
    for (size_t i = 0; i < k->reach.count; i++) {
        SHARDY_TRY(shardy__cleanup_tell(k, err));
        SHARDY_TRY(load_manifest(k, k->reach.manifests[i], err));
    }
    return SHARDY_OK;
}
