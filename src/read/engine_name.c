#include "engine_name.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

static shardy_status object_exists(
    shardy_store *store, const char *path, const char *name, int32_t *exists_out, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 64];
    shardy_object_meta meta;
    *exists_out = 0;
    snprintf(key, sizeof key, "%s/%s", path, name);
    shardy_status st = shardy_store_head(store, key, &meta, err);
    if (st >= 0) {
        *exists_out = st == SHARDY_OK;
    }
    return st < 0 ? st : SHARDY_OK;
}

/* Snapshots of the reference do not name their engine: what the objects of the first shard are
 * tells. */
static shardy_status probe_engine(
    shardy_store *store, const manifest *m, const char **name_out, shardy_error *err)
{
    int standalone_vectors = m->parsed.has_vector && !m->parsed.unified;
    const manifest_shard *shard = NULL;
    for (uint32_t i = 0; i < m->shard_count && !shard; i++) {
        shard = m->shards[i].db_url ? &m->shards[i] : NULL;
    }
    *name_out = standalone_vectors ? "sqlite-vec" : "sqlite";
    if (!shard || (m->parsed.has_sidecar && !standalone_vectors)) {
        return SHARDY_OK;
    }
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int32_t exists;
    SHARDY_TRY(shardy__manifest_shard_path(m, shard, path, err));
    SHARDY_TRY(object_exists(store, path, "shard.db", &exists, err));
    if (!exists) {
        *name_out = standalone_vectors ? "lancedb" : "slatedb";
        if (!standalone_vectors) {
            /* A SlateDB database has manifests of its own; without them the shard is simply
             * gone. */
            shardy_store_page page = {0};
            char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 16];
            snprintf(prefix, sizeof prefix, "%s/manifest/", path);
            SHARDY_TRY(shardy_store_list(store, prefix, 0, NULL, 1, &page, err));
            *name_out = page.count ? "slatedb" : "sqlite";
            shardy_store_page_dispose(&page);
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__engine_name(
    shardy_store *store, const manifest *m, const char **name_out, shardy_error *err)
{
    const manifest_custom *custom = &m->parsed;
    if (custom->engine[0]) {
        *name_out = custom->engine;
        return SHARDY_OK;
    }
    if (custom->has_vector && custom->unified) {
        if (strcmp(custom->backend, "sqlite-vec") == 0) {
            *name_out = "sqlite-vec";
            return SHARDY_OK;
        }
        if (custom->backend[0] == '\0' || strcmp(custom->backend, "lancedb") == 0) {
            *name_out = strncmp(custom->kv_backend, "sqlite", 6) == 0 ? "sqlite+lancedb"
                                                                      : "slatedb+lancedb";
            return SHARDY_OK;
        }
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "custom.vector.backend is \"%s\", expected sqlite-vec or lancedb", custom->backend);
    }
    return probe_engine(store, m, name_out, err);
}
