#include "shard_object.h"

#include "shard_file.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

/* The digests stand in the order of their paths. */
static const shardy_object_digest *find_digest(
    const shardy_engine_reader_spec *spec, const char *path)
{
    size_t first = 0;
    size_t end = spec->digest_count;
    while (first < end) {
        const size_t middle = first + (end - first) / 2;
        const int order = strcmp(spec->digests[middle].path, path);
        if (order == 0) {
            return &spec->digests[middle];
        }
        if (order < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return NULL;
}

static int name_sidecar(
    const shardy_engine_reader_spec *spec, char out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    int n =
        snprintf(out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "%s/" SHARD_SIDECAR_NAME, spec->shard_path);
    return n > 0 && (size_t)n <= SHARDY_OBJECT_KEY_LEN_MAX;
}

shardy_status shardy__shard_object_open(const shardy_engine_reader_spec *spec, const char *name,
    int32_t io, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int n = snprintf(path, sizeof path, "%s/%s", spec->shard_path, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return shardy__error(err, SHARDY_INVALID, "engine", "the shard path is too long");
    }
    page_source_options options;
    shardy__page_source_options_init(&options);
    options.io = io;
    sha256 digest;
    if (spec->verified) {
        const shardy_object_digest *expected = find_digest(spec, path);
        if (!expected) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "no digest is recorded for \"%.300s\", but the snapshot has digests", path);
        }
        memcpy(digest.bytes, expected->sha256, sizeof digest.bytes);
        options.digest = &digest;
        options.size = expected->size;
    }
    char sidecar[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    sha256 sidecar_digest;
    if (spec->page_cache && name_sidecar(spec, sidecar)) {
        const shardy_object_digest *expected = find_digest(spec, sidecar);
        if (expected) {
            memcpy(sidecar_digest.bytes, expected->sha256, sizeof sidecar_digest.bytes);
            options.sidecar_digest = &sidecar_digest;
            options.sidecar_size = expected->size;
        }
        options.sidecar_key = expected || !spec->verified ? sidecar : NULL;
    }
    const page_limits limits = {spec->deadline_ns, spec->cancel};
    options.limits = &limits;
    options.context = spec->context;
    options.ranges = spec->page_cache;
    options.files = spec->file_cache;
    options.check_files = spec->check_files;
    shardy_status st =
        shardy__page_source_open_object(spec->store, path, &options, source_out, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_GONE, "read", "there is no object \"%.300s\"", path);
    }
    return st;
}
