#include "manifest.h"

#include "../base/alloc.h"
#include "../base/uri.h"

#include <shardyfusion/limits.h>

#include <string.h>

shardy_status shardy__manifest_new(manifest **out, shardy_error *err)
{
    *out = shardy__calloc(1, sizeof **out);
    if (!*out) {
        return shardy__error_nomem(err, "manifest");
    }
    shardy__arena_init(&(*out)->arena);
    return SHARDY_OK;
}

void shardy__manifest_free(manifest *m)
{
    if (m) {
        shardy__arena_free(&m->arena);
        shardy__free(m);
    }
}

const manifest_shard *shardy__manifest_shard(const manifest *m, uint32_t db_id)
{
    uint32_t low = 0;
    uint32_t high = m->shard_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->shards[middle].db_id < db_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->shard_count && m->shards[low].db_id == db_id ? &m->shards[low] : NULL;
}

const shardy_object_digest *shardy__manifest_object(const manifest *m, const char *path)
{
    size_t low = 0;
    size_t high = m->object_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(m->objects[middle].path, path);
        if (order == 0) {
            return &m->objects[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

uint64_t shardy__manifest_row_count(const manifest *m)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        rows += m->shards[i].row_count;
    }
    return rows;
}

shardy_status shardy__manifest_shard_path(
    const manifest *m, const manifest_shard *shard, char *path_out, shardy_error *err)
{
    shardy_status st = shardy__uri_strip(m->s3_prefix, shard->db_url, path_out, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "shard %u", shard->db_id);
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    return SHARDY_OK;
}

shardy_status shardy__manifest_check_urls(const manifest *m, shardy_error *err)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    for (uint32_t i = 0; i < m->shard_count; i++) {
        if (m->shards[i].db_url) {
            SHARDY_TRY(shardy__manifest_shard_path(m, &m->shards[i], path, err));
        }
    }
    return SHARDY_OK;
}
