/* page_object.c: a page source over an object of a store, with its digests. */
#include "page_object.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/error.h"
#include "../base/fs.h"
#include "../store/file_cache.h"
#include "../store/transfer.h"
#include "page_remote.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

shardy_status shardy__object_check_size(
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

/* --- digests ---------------------------------------------------------------------------------- */

int shardy__sums_name(const char *key, sums_name *name_out)
{
    int n = snprintf(name_out->text, sizeof name_out->text, "%s.sums", key);
    return n > 0 && (size_t)n <= SHARDY_OBJECT_KEY_LEN_MAX;
}

shardy_status shardy__sums_check(const sums_name *name, shardy_bytes list, uint64_t size,
    const sha256 *expected, shardy_error *err)
{
    sha256 digest;
    SHARDY_TRY(shardy__sha256(list.data, list.len, &digest, err));
    if (list.len != shardy__chunk_count(size) * SHARDY_SHA256_LEN ||
        memcmp(digest.bytes, expected->bytes, SHARDY_SHA256_LEN) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "read",
            "\"%.300s\" differs from the digest that was published", name->text);
    }
    return SHARDY_OK;
}

static void limit_read(shardy_store_read *read, const page_source_options *options)
{
    if (options->limits) {
        read->deadline_ns = options->limits->deadline_ns;
        read->cancel = options->limits->cancel;
    }
}

static void plan_read(shardy_store_read *read, const char *key, uint64_t offset, uint64_t len,
    const page_source_options *options)
{
    memset(read, 0, sizeof *read);
    read->key = shardy__bytes(key, strlen(key));
    read->offset = offset;
    read->len = len;
    limit_read(read, options);
}

static shardy_status read_status(const shardy_store_read *read, shardy_error *err)
{
    if (read->status < 0 && err) {
        *err = read->error;
    }
    return (shardy_status)read->status;
}

/* The list of chunk digests that lies beside the object. NOT_FOUND when there is none; CHECKSUM
 * when it is not the promised one. */
static shardy_status load_sums(shardy_store *store, const char *key, uint64_t size,
    const page_source_options *options, shardy_buf *sums_out, shardy_error *err)
{
    sums_name name;
    if (!shardy__sums_name(key, &name)) {
        return SHARDY_NOT_FOUND;
    }
    shardy_store_read read;
    plan_read(&read, name.text, 0, shardy__chunk_count(size) * SHARDY_SHA256_LEN + 1, options);
    shardy_store_read_all(store, &read, 1);
    *sums_out = read.body;
    shardy_status st = read_status(&read, err);
    return st != SHARDY_OK ? st
                           : shardy__sums_check(&name, shardy__bytes(read.body.data, read.body.len),
                                 size, options->digest, err);
}

static shardy_status finish_digest(
    const char *key, const sha256 *expected, chunk_digest *digests, shardy_error *err)
{
    sha256 digest;
    SHARDY_TRY(shardy__chunk_digest_finish(digests, &digest, err));
    if (memcmp(digest.bytes, expected->bytes, SHARDY_SHA256_LEN) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "read",
            "\"%.300s\" differs from the digest it was published with", key);
    }
    return SHARDY_OK;
}

shardy_status shardy__object_hash_bytes(const char *key, shardy_bytes bytes, const sha256 *expected,
    chunk_digest *digests, shardy_error *err)
{
    SHARDY_TRY(shardy__chunk_digest_add(digests, bytes.data, bytes.len, err));
    return finish_digest(key, expected, digests, err);
}

shardy_status shardy__object_hash_whole(shardy_store *store, const char *key, uint64_t size,
    const page_source_options *options, chunk_digest *digests, shardy_error *err)
{
    uint64_t step = 16u * SHARDY_CHUNK_LEN;
    shardy_status st = SHARDY_OK;
    for (uint64_t at = 0; st >= 0 && at < size; at += step) {
        shardy_store_read read;
        plan_read(&read, key, at, step, options);
        shardy_store_read_all(store, &read, 1);
        st = read_status(&read, err);
        if (st == SHARDY_NOT_FOUND) { /* a cleanup took it, which is no damage */
            st = shardy__error(
                err, SHARDY_GONE, "read", "there is no object \"%.300s\" any more", key);
        } else if (st >= 0 && read.body.len != (size - at < step ? size - at : step)) {
            st = shardy__error(
                err, SHARDY_CHECKSUM, "read", "\"%.300s\" changed while it was read", key);
        }
        if (st >= 0) {
            st = shardy__chunk_digest_add(digests, read.body.data, read.body.len, err);
        }
        shardy_buf_release(&read.body);
    }
    return st < 0 ? st : finish_digest(key, options->digest, digests, err);
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

static void use_list(object_sums *sums)
{
    sums->digests.sums = sums->list.data;
    sums->digests.count = sums->list.len / SHARDY_SHA256_LEN;
}

static void use_computed(object_sums *sums)
{
    sums->digests.sums = sums->computed.sums;
    sums->digests.count = sums->computed.count;
}

static shardy_status find_sums(shardy_store *store, const char *key, uint64_t size,
    const page_source_options *options, object_sums *sums, shardy_error *err)
{
    sums->digests.size = size;
    if (shardy__chunk_count(size) > 1) {
        shardy_status st = load_sums(store, key, size, options, &sums->list, err);
        if (st < 0) {
            return st;
        }
        if (st == SHARDY_OK) {
            use_list(sums);
            return SHARDY_OK;
        }
    }
    SHARDY_TRY(shardy__object_hash_whole(store, key, size, options, &sums->computed, err));
    use_computed(sums);
    return SHARDY_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

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
    st = shardy__object_check_size(key, file.size, options, err);
    if (st >= 0 && options->digest) {
        st = find_sums(store, key, file.size, options, &sums, err);
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

/* An object on its way into memory. */
typedef struct download {
    shardy_store *store;
    const char *key;
    const page_source_options *options;
    shardy_store_read first; /* its begin, or all of it; and the list of its digests, at once */
    shardy_store_read list;
    sums_name name;
    object_sums sums;
} download;

static shardy_status read_begin(download *d, shardy_error *err)
{
    const page_source_options *o = d->options;
    /* Neither more than was promised nor more than is allowed is read into memory. */
    const uint64_t most = o->size < o->size_max ? o->size : o->size_max;
    const uint64_t len = most < TRANSFER_RANGE_LEN ? most : TRANSFER_RANGE_LEN;
    shardy_store_read reads[2];
    size_t count = 1;
    memset(&reads[1], 0, sizeof reads[1]);
    plan_read(&reads[0], d->key, 0, len ? len : 1, o);
    if (o->digest && o->size != UINT64_MAX && shardy__chunk_count(o->size) > 1 &&
        shardy__sums_name(d->key, &d->name)) {
        plan_read(
            &reads[1], d->name.text, 0, shardy__chunk_count(o->size) * SHARDY_SHA256_LEN + 1, o);
        count = 2;
    }
    shardy_store_read_all(d->store, reads, count);
    d->first = reads[0];
    d->list = reads[1];
    shardy_status st = read_status(&d->first, err);
    if (st == SHARDY_OK) {
        st = shardy__object_check_size(d->key, d->first.meta.size, o, err);
    }
    return st == SHARDY_OK && d->list.status < 0 ? read_status(&d->list, err) : st;
}

/* The list of digests, when there is one. */
static shardy_status take_list(download *d, shardy_error *err)
{
    d->sums.digests.size = d->first.meta.size;
    if (!d->list.body.data) {
        return SHARDY_OK;
    }
    d->sums.list = d->list.body;
    memset(&d->list.body, 0, sizeof d->list.body);
    SHARDY_TRY(shardy__sums_check(&d->name, shardy__bytes(d->sums.list.data, d->sums.list.len),
        d->sums.digests.size, d->options->digest, err));
    use_list(&d->sums);
    return SHARDY_OK;
}

/* All of a larger object, in ranges. What comes is checked now: later nobody could ask again. */
static shardy_status read_rest(download *d, shardy_error *err)
{
    transfer_options o;
    shardy__transfer_options_init(&o);
    o.sums = d->sums.digests.sums;
    if (d->options->limits) {
        o.deadline_ns = d->options->limits->deadline_ns;
        o.cancel = d->options->limits->cancel;
    }
    shardy_status st = shardy__transfer_rest(d->store, d->key, &d->first, &o, err);
    return st != SHARDY_CONFLICT ? st
                                 : shardy__error(err, SHARDY_CHECKSUM, "read",
                                       "\"%.300s\" changed while it was downloaded", d->key);
}

/* When all of it is there. Without a list the digests of its chunks are those computed. */
static shardy_status hash_all(download *d, shardy_error *err)
{
    if (!d->options->digest || d->first.body.len < d->first.meta.size) {
        return SHARDY_OK;
    }
    SHARDY_TRY(
        shardy__object_hash_bytes(d->key, shardy__bytes(d->first.body.data, d->first.body.len),
            d->options->digest, &d->sums.computed, err));
    if (!d->sums.digests.sums) {
        use_computed(&d->sums);
    }
    return SHARDY_OK;
}

static void drop_download(download *d)
{
    free_sums(&d->sums);
    shardy_buf_release(&d->first.body);
    shardy_buf_release(&d->list.body);
    memset(&d->sums, 0, sizeof d->sums);
}

/* The begin, or all of it, and the list; asked for once more when they are not as they must be.
 * What differs from a list for good is told when it is touched: other chunks can be used. */
static shardy_status read_first(download *d, shardy_error *err)
{
    shardy_status st = SHARDY_CHECKSUM;
    for (int tries = 0; tries < 2 && st == SHARDY_CHECKSUM; tries++) {
        drop_download(d);
        shardy__error_clear(err);
        st = read_begin(d, err);
        if (st == SHARDY_OK && d->options->digest) {
            st = take_list(d, err);
        }
        if (st == SHARDY_OK) {
            st = hash_all(d, err);
        }
    }
    if (st == SHARDY_CHECKSUM && d->sums.digests.sums) {
        shardy__error_clear(err);
        return SHARDY_OK;
    }
    return st;
}

static shardy_status read_all(download *d, shardy_error *err)
{
    shardy_status st = read_first(d, err);
    if (st != SHARDY_OK || d->first.body.len == d->first.meta.size) {
        return st;
    }
    SHARDY_TRY(read_rest(d, err));
    return d->sums.digests.sums ? SHARDY_OK : hash_all(d, err);
}

/* The whole object: in one round trip, or in two when it is large. */
static shardy_status open_memory(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    download d;
    memset(&d, 0, sizeof d);
    d.store = store;
    d.key = key;
    d.options = options;
    shardy_status st = read_all(&d, err);
    if (st == SHARDY_OK) {
        st = shardy__page_source_memory_take(
            &d.first.body, options->digest ? &d.sums.digests : NULL, source_out, err);
    }
    drop_download(&d);
    return st;
}

/* --- by way of the cache of files ------------------------------------------------------------- */

typedef struct begin_wanted {
    shardy_store *store;
    const char *key;
    const page_source_options *options;
} begin_wanted;

static shardy_status load_begin_for(
    void *user, shardy_store_read *first_out, shardy_buf *sums_out, shardy_error *err)
{
    const begin_wanted *w = user;
    download d;
    memset(&d, 0, sizeof d);
    d.store = w->store;
    d.key = w->key;
    d.options = w->options;
    shardy_status st = read_first(&d, err);
    *first_out = d.first;
    *sums_out = d.sums.list;
    shardy__chunk_digest_free(&d.sums.computed);
    shardy_buf_release(&d.list.body);
    return st;
}

/* Which version of an object without a digest there is now. A read, and not a look-up: it has a
 * deadline. */
static shardy_status find_version(shardy_store *store, const char *key,
    const page_source_options *options, shardy_object_meta *meta_out, shardy_error *err)
{
    shardy_store_read read;
    plan_read(&read, key, 0, 1, options);
    shardy_store_read_all(store, &read, 1);
    *meta_out = read.meta;
    shardy_buf_release(&read.body);
    shardy_status st = read_status(&read, err);
    return st == SHARDY_OK ? shardy__object_check_size(key, meta_out->size, options, err) : st;
}

/* Each chunk is checked when it is first touched, as with any local file: opening costs the list of
 * digests only, and a file that was damaged since it was filled is noticed. */
static shardy_status open_cached_take(
    cached_file *f, const page_source_options *options, page_source **source_out, shardy_error *err)
{
    const page_digests digests = {f->file.size, f->sums, f->sum_count};
    shardy_status st = options->io == PAGE_IO_PREAD
                           ? shardy__page_source_pread_take(
                                 &f->file, &digests, options->cache_bytes, source_out, err)
                           : shardy__page_source_map_take(&f->file, &digests, source_out, err);
    shardy__free(f->sums);
    return st;
}

static shardy_status open_file(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    shardy_object_meta meta;
    begin_wanted wanted = {store, key, options};
    file_cache_request request;
    memset(&request, 0, sizeof request);
    request.store = store;
    request.key = key;
    request.digest = options->digest;
    request.load_begin = load_begin_for;
    request.user = &wanted;
    request.size = options->size;
    request.check_all = options->check_files;
    if (options->limits) {
        request.deadline_ns = options->limits->deadline_ns;
        request.cancel = options->limits->cancel;
    }
    shardy_status st;
    if (!options->digest || options->size == UINT64_MAX) {
        st = find_version(store, key, options, &meta, err);
        request.size = meta.size;
        request.etag = meta.etag.text;
    } else {
        st = shardy__object_check_size(key, options->size, options, err);
    }
    if (st != SHARDY_OK) {
        return st;
    }
    cached_file file;
    st = shardy__file_cache_get(options->files, &request, &file, err);
    if (st == SHARDY_OK) {
        return open_cached_take(&file, options, source_out, err);
    }
    if (st == SHARDY_CONFLICT) {
        return shardy__error(
            err, SHARDY_CHECKSUM, "read", "\"%.300s\" changed while it was downloaded", key);
    }
    return st == SHARDY_DONE ? open_memory(store, key, options, source_out, err) : st;
}

shardy_status shardy__page_source_open_object(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    if (options->io == PAGE_IO_MEMORY) {
        return open_memory(store, key, options, source_out, err);
    }
    if (shardy_store_caps(store) & SHARDY_STORE_CAP_OPEN_LOCAL) {
        return open_local(store, key, options, source_out, err);
    }
    if (options->ranges) {
        return shardy__page_remote_open(store, key, options, source_out, err);
    }
    return options->files ? open_file(store, key, options, source_out, err)
                          : open_memory(store, key, options, source_out, err);
}
