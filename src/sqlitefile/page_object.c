/* page_object.c: a page source over an object of a store, with its digests. */
#include "page_source.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

static shardy_status check_size(
    const char *key, uint64_t size, const page_source_options *options, shardy_error *err)
{
    if (options->size != UINT64_MAX && size != options->size) {
        return shardy__error(err, SHARDY_CHECKSUM, "read",
            "\"%.300s\" has %llu bytes, %llu were published", key, (unsigned long long)size,
            (unsigned long long)options->size);
    }
    if (size > options->size_max) {
        return shardy__error(err, SHARDY_CORRUPT, "read",
            "\"%.300s\" has %llu bytes, the limit is %llu", key, (unsigned long long)size,
            (unsigned long long)options->size_max);
    }
    return SHARDY_OK;
}

/* The list of chunk digests that lies beside the object. NOT_FOUND when there is none; CHECKSUM
 * when it is not the promised one. */
static shardy_status load_sums(shardy_store *store, const char *key, uint64_t size,
    const sha256 *expected, shardy_buf *sums_out, shardy_error *err)
{
    char name[SHARDY_OBJECT_KEY_LEN_MAX + 8];
    uint64_t len = shardy__chunk_count(size) * SHARDY_SHA256_LEN;
    int n = snprintf(name, sizeof name, "%s.sums", key);
    if (n < 0 || (size_t)n > SHARDY_OBJECT_KEY_LEN_MAX) {
        return SHARDY_NOT_FOUND;
    }
    shardy_status st = shardy_store_get(store, name, 0, len + 1, sums_out, NULL, err);
    if (st != SHARDY_OK) {
        return st;
    }
    sha256 digest;
    st = shardy__sha256(sums_out->data, sums_out->len, &digest, err);
    if (st >= 0 &&
        (sums_out->len != len || memcmp(digest.bytes, expected->bytes, SHARDY_SHA256_LEN) != 0)) {
        st = shardy__error(err, SHARDY_CHECKSUM, "read",
            "\"%.300s\" differs from the digest that was published", name);
    }
    return st;
}

/* Hashes the whole object once, piece by piece. */
static shardy_status hash_whole(shardy_store *store, const char *key, uint64_t size,
    const sha256 *expected, chunk_digest *digests, shardy_error *err)
{
    uint64_t step = 16u * SHARDY_CHUNK_LEN;
    shardy_status st = SHARDY_OK;
    for (uint64_t at = 0; st >= 0 && at < size; at += step) {
        shardy_buf part = {0};
        st = shardy_store_get(store, key, at, step, &part, NULL, err);
        if (st == SHARDY_NOT_FOUND ||
            (st >= 0 && part.len != (size - at < step ? size - at : step))) {
            st = shardy__error(
                err, SHARDY_CHECKSUM, "read", "\"%.300s\" changed while it was read", key);
        }
        if (st >= 0) {
            st = shardy__chunk_digest_add(digests, part.data, part.len, err);
        }
        shardy_buf_release(&part);
    }
    sha256 digest;
    if (st >= 0) {
        st = shardy__chunk_digest_finish(digests, &digest, err);
    }
    if (st >= 0 && memcmp(digest.bytes, expected->bytes, SHARDY_SHA256_LEN) != 0) {
        st = shardy__error(err, SHARDY_CHECKSUM, "read",
            "\"%.300s\" differs from the digest it was published with", key);
    }
    return st;
}

/* Chunk digests of the object, all of them bound to the one that was promised. */
typedef struct object_sums {
    shardy_buf list;       /* from the store */
    chunk_digest computed; /* or computed here */
    page_digests digests;
} object_sums;

static void free_sums(object_sums *sums)
{
    shardy_buf_release(&sums->list);
    shardy__chunk_digest_free(&sums->computed);
}

static shardy_status find_sums(shardy_store *store, const char *key, uint64_t size,
    const sha256 *expected, object_sums *sums, shardy_error *err)
{
    sums->digests.size = size;
    if (shardy__chunk_count(size) > 1) {
        shardy_status st = load_sums(store, key, size, expected, &sums->list, err);
        if (st < 0) {
            return st;
        }
        if (st == SHARDY_OK) {
            sums->digests.sums = sums->list.data;
            sums->digests.count = sums->list.len / SHARDY_SHA256_LEN;
            return SHARDY_OK;
        }
    }
    SHARDY_TRY(hash_whole(store, key, size, expected, &sums->computed, err));
    sums->digests.sums = sums->computed.sums;
    sums->digests.count = sums->computed.count;
    return SHARDY_OK;
}

static shardy_status open_local(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    shardy_local_file file;
    shardy_status st = shardy_store_open_local(store, key, &file, err);
    if (st != SHARDY_OK) {
        return st;
    }
    object_sums sums;
    memset(&sums, 0, sizeof sums);
    st = check_size(key, file.size, options, err);
    if (st >= 0 && options->digest) {
        st = find_sums(store, key, file.size, options->digest, &sums, err);
    }
    if (st < 0) {
        shardy__file_close(file.fd);
    } else {
        const page_digests *digests = options->digest ? &sums.digests : NULL;
        st = options->io == PAGE_IO_PREAD
                 ? shardy__page_source_pread_take(
                       &file, digests, options->cache_bytes, source_out, err)
                 : shardy__page_source_map_take(&file, digests, source_out, err);
    }
    free_sums(&sums);
    return st;
}

static shardy_status open_memory(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    shardy_object_meta meta;
    shardy_status st = shardy_store_head(store, key, &meta, err);
    if (st != SHARDY_OK) {
        return st;
    }
    SHARDY_TRY(check_size(key, meta.size, options, err));
    object_sums sums;
    memset(&sums, 0, sizeof sums);
    shardy_buf body = {0};
    if (options->digest) {
        st = find_sums(store, key, meta.size, options->digest, &sums, err);
    }
    if (st >= 0) {
        st = shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, err);
    }
    if (st == SHARDY_OK) {
        st = shardy__page_source_memory_take(
            &body, options->digest ? &sums.digests : NULL, source_out, err);
    }
    free_sums(&sums);
    return st;
}

shardy_status shardy__page_source_open_object(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    int local = options->io != PAGE_IO_MEMORY &&
                (shardy_store_caps(store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    return local ? open_local(store, key, options, source_out, err)
                 : open_memory(store, key, options, source_out, err);
}
