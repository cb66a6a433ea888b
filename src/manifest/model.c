#include "manifest.h"

#include "../base/alloc.h"

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

const manifest_object *shardy__manifest_object(const manifest *m, const char *path)
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

static size_t len_without_slashes(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/') {
        len--;
    }
    return len;
}

shardy_status shardy__manifest_shard_path(
    const manifest *m, const manifest_shard *shard, char *path_out, shardy_error *err)
{
    path_out[0] = '\0';
    size_t prefix = len_without_slashes(m->s3_prefix);
    size_t url = len_without_slashes(shard->db_url);
    if (url <= prefix || strncmp(shard->db_url, m->s3_prefix, prefix) != 0 ||
        shard->db_url[prefix] != '/') {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "shard %u is at \"%.300s\", which is not below the prefix \"%.300s\"", shard->db_id,
            shard->db_url, m->s3_prefix);
    }
    size_t len = url - prefix - 1;
    if (len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "the path of shard %u has %zu bytes, the limit is %u", shard->db_id, len,
            SHARDY_OBJECT_KEY_LEN_MAX);
    }
    memcpy(path_out, shard->db_url + prefix + 1, len);
    path_out[len] = '\0';
    if (!shardy__path_is_safe(path_out)) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "shard %u is at \"%.300s\": empty, \".\" and \"..\" segments are not allowed",
            shard->db_id, shard->db_url);
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

int shardy__path_is_safe(const char *path)
{
    const char *segment = path;
    for (;;) {
        size_t len = strcspn(segment, "/");
        if (len == 0 || (len == 1 && segment[0] == '.') ||
            (len == 2 && segment[0] == '.' && segment[1] == '.')) {
            return 0;
        }
        for (size_t i = 0; i < len; i++) {
            if ((unsigned char)segment[i] < 0x20 || segment[i] == 0x7F) {
                return 0;
            }
        }
        if (segment[len] == '\0') {
            return 1;
        }
        segment += len + 1;
    }
}
