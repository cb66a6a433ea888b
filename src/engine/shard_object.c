#include "shard_object.h"

#include "../store/file_cache.h"
#include "../store/transfer.h"
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

/* The options by which an object of a shard is opened, and what they point at. */
typedef struct shard_object {
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char sidecar[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    sha256 digest;
    sha256 sidecar_digest;
    page_limits limits;
    page_source_options options;
} shard_object;

static shardy_status describe(const shardy_engine_reader_spec *spec, const char *name, int32_t io,
    shard_object *o, shardy_error *err)
{
    int n = snprintf(o->path, sizeof o->path, "%s/%s", spec->shard_path, name);
    if (n < 0 || (size_t)n >= sizeof o->path) {
        return shardy__error(err, SHARDY_INVALID, "engine", "the shard path is too long");
    }
    page_source_options *options = &o->options;
    shardy__page_source_options_init(options);
    options->io = io;
    if (spec->verified) {
        const shardy_object_digest *expected = find_digest(spec, o->path);
        if (!expected) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "no digest is recorded for \"%.300s\", but the snapshot has digests", o->path);
        }
        memcpy(o->digest.bytes, expected->sha256, sizeof o->digest.bytes);
        options->digest = &o->digest;
        options->size = expected->size;
    }
    if (spec->page_cache && !spec->no_sidecar && name_sidecar(spec, o->sidecar)) {
        const shardy_object_digest *expected = find_digest(spec, o->sidecar);
        if (expected) {
            memcpy(o->sidecar_digest.bytes, expected->sha256, sizeof o->sidecar_digest.bytes);
            options->sidecar_digest = &o->sidecar_digest;
            options->sidecar_size = expected->size;
        }
        options->sidecar_key = expected || !spec->verified ? o->sidecar : NULL;
    }
    o->limits = (page_limits){spec->deadline_ns, spec->cancel, spec->context};
    options->limits = &o->limits;
    options->context = spec->context;
    options->ranges = spec->page_cache;
    options->files = spec->file_cache;
    options->check_files = spec->check_files;
    return SHARDY_OK;
}

shardy_status shardy__shard_object_open(const shardy_engine_reader_spec *spec, const char *name,
    int32_t io, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    shard_object o;
    SHARDY_TRY(describe(spec, name, io, &o, err));
    shardy_status st =
        shardy__page_source_open_object(spec->store, o.path, &o.options, source_out, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_GONE, "read", "there is no object \"%.300s\"", o.path);
    }
    return st;
}

shardy_status shardy__shard_object_cost(
    const shardy_engine_reader_spec *spec, const char *name, shard_cost *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    shard_object o;
    SHARDY_TRY(describe(spec, name, PAGE_IO_AUTO, &o, err));
    if (shardy_store_caps(spec->store) & SHARDY_STORE_CAP_OPEN_LOCAL) {
        return SHARDY_OK;
    }
    out->sidecar_bytes = o.options.sidecar_digest ? o.options.sidecar_size : 0;
    if (spec->page_cache) {
        shardy__page_remote_cost(o.path, &o.options, &out->open, &out->page, &out->sidecar);
        return SHARDY_OK;
    }
    const int known = o.options.digest && o.options.size != UINT64_MAX;
    const uint64_t chunks = known ? shardy__chunk_count(o.options.size) : 0;
    const uint64_t ranges = known ? 1 + (o.options.size - 1) / TRANSFER_RANGE_LEN : 1;
    if (spec->file_cache && known &&
        shardy__file_cache_has(spec->file_cache, o.options.digest, o.options.size)) {
        return SHARDY_OK; /* a file of this machine */
    }
    /* The list of digests together with the first range, then all others. With more of them than
     * are asked for at once those that come first decide how many steps there are. Without a
     * digest a file is made of the version that was asked for before. */
    const uint32_t lists = chunks > 1;
    const uint32_t asks = spec->file_cache && !known;
    const uint32_t steps = (ranges > 1 ? 2u : 1u) + asks;
    const int guessed = !known || ranges > 1 + TRANSFER_PARALLEL;
    out->open =
        (page_cost){steps, lists + asks + (uint32_t)ranges, known ? o.options.size : 0, guessed};
    out->open.bytes += chunks > 1 ? chunks * SHARDY_SHA256_LEN : 0;
    return SHARDY_OK;
}
