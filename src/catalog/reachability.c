#include "reachability.h"

#include "../base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void shardy__reach_init(reachability *r, const char *shard_prefix)
{
    memset(r, 0, sizeof *r);
    shardy__arena_init(&r->arena);
    shardy__map_init(&r->refs);
    shardy__map_init(&r->paths);
    shardy__map_init(&r->dbs);
    r->shard_prefix = shard_prefix;
}

void shardy__reach_free(reachability *r)
{
    shardy__map_free(&r->refs);
    shardy__map_free(&r->paths);
    shardy__map_free(&r->dbs);
    shardy__free(r->manifests);
    shardy__arena_free(&r->arena);
    memset(r, 0, sizeof *r);
}

static shardy_status add_manifest(
    reachability *r, const shardy_manifest_entry *e, shardy_error *err)
{
    if (shardy__map_get(&r->refs, e->ref, strlen(e->ref))) {
        return SHARDY_OK;
    }
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        reach_manifest **manifests = shardy__realloc(r->manifests, room * sizeof(void *));
        if (!manifests) {
            return shardy__error_nomem(err, "cleanup");
        }
        r->manifests = manifests;
        r->room = room;
    }
    reach_manifest *m = shardy__arena_alloc(&r->arena, sizeof *m);
    if (!m) {
        return shardy__error_nomem(err, "cleanup");
    }
    m->ref = shardy__arena_strdup(&r->arena, e->ref);
    m->run_id = shardy__arena_strdup(&r->arena, e->run_id);
    m->published_us = e->published_us;
    if (!m->ref || !m->run_id) {
        return shardy__error_nomem(err, "cleanup");
    }
    SHARDY_TRY(shardy__map_put(&r->refs, m->ref, strlen(m->ref), m, NULL, err));
    r->manifests[r->count++] = m;
    return SHARDY_OK;
}

shardy_status shardy__reach_list(reachability *r, const catalog *c, shardy_error *err)
{
    shardy_manifest_list list;
    SHARDY_TRY(shardy__manifest_store_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
    shardy_status st = SHARDY_OK;
    if (list.count >= SHARDY_HISTORY_LIMIT_MAX) {
        st = shardy__error(err, SHARDY_EXHAUSTED, "cleanup",
            "there are %u manifests or more: not all of them can be looked at",
            SHARDY_HISTORY_LIMIT_MAX);
    }
    for (size_t i = 0; st >= 0 && i < list.count; i++) {
        st = add_manifest(r, &list.entries[i], err);
    }
    shardy__manifest_list_dispose(&list);
    return st;
}

/* As lists of manifests are ordered. */
static int compare_manifests(const void *a, const void *b)
{
    const reach_manifest *x = *(reach_manifest *const *)a;
    const reach_manifest *y = *(reach_manifest *const *)b;
    if (x->published_us != y->published_us) {
        return x->published_us > y->published_us ? -1 : 1;
    }
    return strcmp(x->ref, y->ref);
}

shardy_status shardy__reach_list_twice(reachability *r, const catalog *c, shardy_error *err)
{
    SHARDY_TRY(shardy__reach_list(r, c, err));
    SHARDY_TRY(shardy__reach_list(r, c, err));
    if (r->count > 1) {
        qsort(r->manifests, r->count, sizeof *r->manifests, compare_manifests);
    }
    return SHARDY_OK;
}

/* The counter of a path, made when it is new. */
static shardy_status note_path(
    reachability *r, const char *path, reach_manifest *m, shardy_error *err)
{
    size_t len = strlen(path);
    uint32_t *counter = shardy__map_get(&r->paths, path, len);
    if (!counter) {
        counter = shardy__arena_alloc(&r->arena, sizeof *counter);
        if (!counter) {
            return shardy__error_nomem(err, "cleanup");
        }
        SHARDY_TRY(shardy__map_put(&r->paths, path, len, counter, NULL, err));
    }
    m->paths[m->path_count++] = counter;
    return SHARDY_OK;
}

static shardy_status note_shard(
    reachability *r, const manifest *model, size_t i, reach_manifest *m, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    const manifest_shard *shard = &model->shards[i];
    if (!shard->db_url) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__manifest_shard_path(model, shard, path, err));
    const char *slash = strrchr(path, '/');
    if (slash) {
        void *number = (void *)(uintptr_t)((uint64_t)shard->db_id + 1);
        SHARDY_TRY(shardy__map_put(&r->dbs, path, (size_t)(slash - path), number, NULL, err));
    }
    return note_path(r, path, m, err);
}

static void count(reach_manifest *m, int32_t counts)
{
    if (!m->loaded || m->counts == counts) {
        return;
    }
    m->counts = counts;
    for (size_t i = 0; i < m->path_count; i++) {
        *m->paths[i] = counts ? *m->paths[i] + 1 : *m->paths[i] - 1;
    }
}

/* All of it is noted before any of it counts. */
static shardy_status note_manifest(
    reachability *r, const manifest *model, reach_manifest *m, shardy_error *err)
{
    size_t room;
    /* What is deleted is found by the prefix of the configuration alone; a manifest that says
     * something else is not understood. */
    if (strcmp(model->shard_prefix, r->shard_prefix) != 0) {
        return shardy__error(err, SHARDY_INVALID, "cleanup",
            "the manifest \"%.300s\" keeps its shards below \"%.128s\", the cleanup was told "
            "\"%.128s\"",
            m->ref, model->shard_prefix, r->shard_prefix);
    }
    if (!shardy__add_size(model->shard_count, model->object_count, &room)) {
        return shardy__error_nomem(err, "cleanup");
    }
    m->path_count = 0;
    m->paths = shardy__arena_calloc(&r->arena, room, sizeof(uint32_t *));
    if (!m->paths) {
        return shardy__error_nomem(err, "cleanup");
    }
    for (size_t i = 0; i < model->shard_count; i++) {
        SHARDY_TRY(note_shard(r, model, i, m, err));
    }
    for (size_t i = 0; i < model->object_count; i++) {
        SHARDY_TRY(note_path(r, model->objects[i].path, m, err));
    }
    m->loaded = 1;
    count(m, 1);
    return SHARDY_OK;
}

shardy_status shardy__reach_load(
    reachability *r, const catalog *c, reach_manifest *m, shardy_error *err)
{
    if (m->loaded) {
        return SHARDY_OK;
    }
    fate f;
    manifest_promise promise = {0};
    loaded_manifest loaded;
    if (strlen(m->run_id) <= SHARDY_RUN_ID_LEN_MAX) {
        shardy_status found = shardy__fate_load(c->store, m->run_id, &f, err);
        m->fate_open = found < 0;
        SHARDY_TRY(found);
        if (found == SHARDY_OK) {
            m->fate_state = f.state;
            promise.has_digest = f.has_manifest && strcmp(f.manifest_ref, m->ref) == 0;
            promise.digest = f.manifest_digest;
            promise.size = f.manifest_size;
        }
    }
    shardy_status st = shardy__catalog_load(c, m->ref, &promise, NULL, &loaded, err);
    if (st == SHARDY_NOT_FOUND) {
        m->missing = 1; /* somebody else has removed it, or the listing was wrong */
        return SHARDY_OK;
    }
    SHARDY_TRY(st);
    m->digest = loaded.digest;
    m->size = loaded.size;
    st = note_manifest(r, loaded.manifest, m, err);
    shardy__manifest_free(loaded.manifest);
    return st;
}

static void count_run(reachability *r, const char *run_id, int32_t counts)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->manifests[i]->run_id, run_id) == 0) {
            count(r->manifests[i], counts);
        }
    }
}

void shardy__reach_let_go(reachability *r, const char *run_id)
{
    count_run(r, run_id, 0);
}

void shardy__reach_keep(reachability *r, const char *run_id)
{
    count_run(r, run_id, 1);
}

int shardy__reach_covers(const reachability *r, const char *key)
{
    size_t len = strlen(key);
    for (size_t n = 1; n <= len; n++) {
        if (n == len || key[n] == '/') {
            const uint32_t *counter = shardy__map_get(&r->paths, key, n);
            if (counter && *counter) {
                return 1;
            }
        }
    }
    return 0;
}

int64_t shardy__reach_db_id(const reachability *r, const char *dir, size_t len)
{
    const void *number = shardy__map_get(&r->dbs, dir, len);
    return number ? (int64_t)(uintptr_t)number - 1 : -1;
}
