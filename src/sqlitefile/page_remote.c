#include "page_remote.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/bytes.h"
#include "../base/error.h"
#include "../store/store.h"
#include "page_object.h"
#include "sidecar.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Ranges are merged when no more than this lies between them. A request takes a connection for
 * about 30 ms (25 to 60 at object stores, whatever its size up to about 1 MB); with 64 connections
 * that is a request each half millisecond, in which a link of 1 Gbit/s carries 60 KB and one of
 * 10 Gbit/s 600 KB. Passing over two chunks costs less than asking once more on any link above
 * 2 Gbit/s, and a fifth of a millisecond per request more on slower ones. */
#define REMOTE_GAP (2u * SHARDY_CHUNK_LEN)
/* Longer runs are split, so that they come side by side: up to here the time of a request hardly
 * depends on its length. */
#define REMOTE_RUN_MAX (1u << 20)
/* Interior pages are all together at the end of files of ours, upper levels first. They are one
 * part in 25 to 35 of a file of small rows, so this part of it is read when it is opened: but not
 * more than four requests of full length, nor more of the cache than 1/16. */
#define REMOTE_TAIL_PART 24u
#define REMOTE_TAIL_MAX  (4u << 20)
#define REMOTE_TAIL_RUNS (REMOTE_TAIL_MAX / REMOTE_RUN_MAX + 1)
/* Sidecars whose length is not known are not read beyond this: that of a shard of some 4 GB. */
#define REMOTE_SIDECAR_MAX (64u << 20)
/* Units of objects without digests are pages, but not smaller ones than this. */
#define REMOTE_UNIT_SHIFT_MIN 12u

typedef struct remote_file {
    shardy_store *store; /* borrowed */
    char *key;
    size_t key_len;
    char *if_match; /* NULL: chunks are checked by their digests, or the store has no versions */
    uint64_t size;
    shardy_cancel *closing; /* of all requests: not the caller's, who may be gone before they are */
    cache_file *file;
    page_cache *cache;
    sidecar *side; /* NULL: none; counted in `cache` */
} remote_file;

/* --- loading ---------------------------------------------------------------------------------- */

static shardy_status refuse_change(const remote_file *f, shardy_error *err)
{
    return shardy__error(err, SHARDY_CHECKSUM, "read",
        "\"%.300s\" changed: it is not the version that was opened", f->key);
}

/* What a range of the object must be. `read->error` becomes the reason when it is not. */
static shardy_status check_range(const remote_file *f, shardy_store_read *read)
{
    shardy_error *err = &read->error;
    switch (read->status) {
    case SHARDY_OK:
        break;
    case SHARDY_NOT_FOUND:
        return shardy__error(
            err, SHARDY_GONE, "read", "there is no object \"%.300s\" any more", f->key);
    case SHARDY_CONFLICT:
        return refuse_change(f, err);
    default:
        return read->status < 0
                   ? (shardy_status)read->status
                   : shardy__error(err, SHARDY_INTERNAL, "read",
                         "a range of \"%.300s\" was answered by status %d", f->key, read->status);
    }
    return read->meta.size == f->size && read->received == read->len ? SHARDY_OK
                                                                     : refuse_change(f, err);
}

static void range_done(void *user, shardy_store_read *read)
{
    cache_load *load = user;
    const shardy_store_read *reads = load->memory;
    const remote_file *f = shardy__cache_load_state(load);
    shardy_status st = check_range(f, read);
    shardy__cache_run_done(load, (size_t)(read - reads), st, &read->error);
}

static void remote_load(void *state, cache_load *load, const page_limits *limits)
{
    remote_file *f = state;
    size_t count = load->count;
    shardy_store_read *reads = shardy__calloc(count, sizeof *reads);
    load->memory = reads;
    for (size_t i = 0; i < count; i++) {
        if (!reads) {
            shardy_error error;
            shardy__error_clear(&error);
            shardy_status st = shardy__error_nomem(&error, "sqlite");
            shardy__cache_run_done(load, i, st, &error);
            continue;
        }
        const cache_run *run = &load->runs[i];
        reads[i].key = shardy__bytes(f->key, f->key_len);
        reads[i].offset = run->offset;
        reads[i].len = run->len;
        reads[i].dest = run->dest;
        reads[i].if_match = f->if_match;
        reads[i].deadline_ns = limits ? limits->deadline_ns : 0;
        reads[i].cancel = f->closing;
    }
    if (reads) {
        shardy_store_read_start(f->store, reads, count, range_done, load);
    }
}

static const cache_loader REMOTE_LOADER = {
    .load = remote_load, .gap = REMOTE_GAP, .run_max = REMOTE_RUN_MAX, .async = 1};

/* --- the source ------------------------------------------------------------------------------- */

/* Bytes of a page that the sidecar has, or NULL. */
static const uint8_t *side_bytes(const remote_file *f, uint64_t offset, size_t len)
{
    if (!f->side) {
        return NULL;
    }
    uint32_t size = shardy__sidecar_page_size(f->side);
    uint64_t number = offset / size + 1;
    if (offset % size != 0 || len > size || number > UINT32_MAX) {
        return NULL;
    }
    return shardy__sidecar_page(f->side, (uint32_t)number);
}

static shardy_status remote_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    const remote_file *f = state;
    const uint8_t *bytes = side_bytes(f, offset, len);
    if (bytes) {
        ref_out->data = bytes;
        ref_out->pin = NULL;
        return SHARDY_OK;
    }
    return shardy__cache_get(f->file, offset, ref_out, err);
}

/* What is likely to be wanted after the first page of an overflow chain, where the sidecar knows
 * that it does not lie behind that page: asks for it where it is. A guess like any other: the links
 * in the pages decide. */
static void start_chain(
    const remote_file *f, size_t page_size, page_want *want, const page_limits *limits)
{
    page_want wants[PAGE_START_MAX];
    page_want *list[PAGE_START_MAX];
    const sidecar_chain chain = shardy__sidecar_chain(f->side, want->page);
    size_t count = chain.count <= want->ahead ? chain.count : (size_t)want->ahead + 1;
    size_t row = 1;
    while (row < count && chain.pages[row] == chain.pages[row - 1] + 1) {
        row++;
    }
    if (row >= count) {
        return;
    }
    want->ahead = 0;
    for (size_t at = 0; at < count;) {
        size_t n = 0;
        while (at < count && n < PAGE_START_MAX) {
            wants[n] = (page_want){chain.pages[at++], 0, {NULL, NULL}};
            list[n] = &wants[n];
            n++;
        }
        shardy__cache_start(f->file, page_size, list, n, limits);
    }
}

static shardy_status remote_fetch(void *state, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err)
{
    const remote_file *f = state;
    if (count == 1) { /* of many, nobody wants what get() would have given */
        uint64_t offset = (uint64_t)(wants[0]->page - 1) * page_size;
        wants[0]->ref.data = side_bytes(f, offset, page_size);
        if (wants[0]->ref.data) {
            return SHARDY_OK;
        }
    }
    int chains = f->side && shardy__sidecar_page_size(f->side) == page_size;
    for (size_t i = 0; chains && i < count; i++) {
        if (wants[i]->ahead > 0) {
            start_chain(f, page_size, wants[i], limits);
        }
    }
    return shardy__cache_fetch(f->file, page_size, wants, count, limits, err);
}

static void remote_start(
    void *state, size_t page_size, page_want *const *wants, size_t count, const page_limits *limits)
{
    const remote_file *f = state;
    page_want *others[PAGE_START_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count && n < PAGE_START_MAX; i++) {
        if (!side_bytes(f, (uint64_t)(wants[i]->page - 1) * page_size, page_size)) {
            others[n++] = wants[i];
        }
    }
    if (n > 0) {
        shardy__cache_start(f->file, page_size, others, n, limits);
    }
}

static void remote_unpin(void *state, page_ref *ref)
{
    const remote_file *f = state;
    shardy__cache_unpin(f->file, ref);
}

static void drop_side(page_cache *cache, sidecar *side)
{
    if (side) {
        shardy__page_cache_release(cache, shardy__sidecar_memory(side));
        shardy__sidecar_free(side);
    }
}

static void remote_close(void *state)
{
    remote_file *f = state;
    if (!f) {
        return;
    }
    shardy_cancel_request(f->closing); /* of what was asked for and not waited for */
    shardy__cache_file_close(f->file);
    shardy_cancel_free(f->closing);
    drop_side(f->cache, f->side);
    shardy__page_cache_drop(f->cache);
    shardy__free(f->if_match);
    shardy__free(f->key);
    shardy__free(f);
}

static const page_source_ops REMOTE_OPS = {.get = remote_get,
    .fetch = remote_fetch,
    .unpin = remote_unpin,
    .close = remote_close,
    .start = remote_start};

/* --- opening ---------------------------------------------------------------------------------- */

/* The first reads of an object, which are made together. */
typedef struct remote_open {
    shardy_store *store;
    const char *key;
    const page_source_options *options;
    sums_name sums;
    /* places in `reads`; READ_NONE: not asked for */
    size_t head_at;
    size_t sums_at;
    size_t side_at;
    shardy_store_read reads[3 + REMOTE_TAIL_RUNS];
    size_t count;
    uint64_t size;
    sidecar *side;
} remote_open;

#define READ_NONE SIZE_MAX

static void add_read(remote_open *o, const char *key, uint64_t offset, uint64_t len)
{
    shardy_store_read *read = &o->reads[o->count++];
    memset(read, 0, sizeof *read);
    read->key = shardy__bytes(key, strlen(key));
    read->offset = offset;
    read->len = len;
    if (o->options->limits) {
        read->deadline_ns = o->options->limits->deadline_ns;
        read->cancel = o->options->limits->cancel;
    }
}

/* The end of a file of ours, from a multiple of a chunk on. */
static void add_tail(remote_open *o, uint64_t size)
{
    uint64_t most = shardy__page_cache_budget(o->options->ranges) / 16;
    uint64_t part = size / REMOTE_TAIL_PART;
    most = most < REMOTE_TAIL_MAX ? most : REMOTE_TAIL_MAX;
    part = part < most ? part : most;
    uint64_t at = (size - part) & ~(uint64_t)(SHARDY_CHUNK_LEN - 1);
    at = at < SHARDY_CHUNK_LEN ? SHARDY_CHUNK_LEN : at;
    for (; at < size; at += REMOTE_RUN_MAX) {
        uint64_t left = size - at;
        add_read(o, o->key, at, left < REMOTE_RUN_MAX ? left : REMOTE_RUN_MAX);
    }
}

/* 1 when there is a sidecar to try, and room for it in the budget of the cache. */
static int wants_sidecar(const remote_open *o)
{
    const page_source_options *options = o->options;
    uint64_t size = options->sidecar_digest ? options->sidecar_size : 0;
    if (!options->sidecar_key || !shardy__page_cache_reserve(options->ranges, size)) {
        return 0;
    }
    shardy__page_cache_release(options->ranges, size);
    return size < REMOTE_SIDECAR_MAX;
}

static void add_sidecar(remote_open *o)
{
    const page_source_options *options = o->options;
    o->side_at = o->count;
    add_read(o, options->sidecar_key, 0,
        options->sidecar_digest ? options->sidecar_size + 1 : REMOTE_SIDECAR_MAX);
}

/* With a sidecar no page is needed before the first leaf; but without digests the version of the
 * object has to be seen, so its start is read as well. One chunk needs nothing else. */
static void plan_reads(remote_open *o, int with_sidecar)
{
    uint64_t size = o->options->size;
    int known = o->options->digest && size != UINT64_MAX;
    int large = known && shardy__chunk_count(size) > 1 && size <= o->options->size_max;
    with_sidecar = with_sidecar && wants_sidecar(o) &&
                   (large ? o->options->sidecar_digest != NULL : !o->options->digest);
    if (!known || !with_sidecar) {
        o->head_at = o->count;
        add_read(o, o->key, 0, SHARDY_CHUNK_LEN);
    }
    if (large && o->sums_at == READ_NONE && shardy__sums_name(o->key, &o->sums)) {
        o->sums_at = o->count;
        add_read(o, o->sums.text, 0, shardy__chunk_count(size) * SHARDY_SHA256_LEN + 1);
    }
    if (with_sidecar) {
        add_sidecar(o);
    } else if (large) {
        add_tail(o, size);
    }
}

/* What came of the reads from number `first` on. NOT_FOUND: there is no such object. */
static shardy_status judge_reads(remote_open *o, size_t first, shardy_error *err)
{
    for (size_t i = first; i < o->count; i++) {
        const shardy_store_read *read = &o->reads[i];
        if (i == o->side_at || (i != o->head_at && read->status == SHARDY_NOT_FOUND)) {
            continue; /* no sidecar or list; or no object, which the first chunk says better */
        }
        if (read->status != SHARDY_OK) {
            if (read->status < 0 && err) {
                *err = read->error;
            }
            return (shardy_status)read->status;
        }
        if (i == o->head_at) {
            o->size = read->meta.size;
            SHARDY_TRY(shardy__object_check_size(o->key, o->size, o->options, err));
        }
    }
    return SHARDY_OK;
}

/* --- the sidecar ------------------------------------------------------------------------------ */

static shardy_status check_sidecar(const remote_open *o, shardy_error *err)
{
    const shardy_store_read *read = &o->reads[o->side_at];
    const sha256 *expected = o->options->sidecar_digest;
    if (read->status < 0) {
        if (err) {
            *err = read->error;
        }
        return (shardy_status)read->status;
    }
    if (read->status != SHARDY_OK || read->received != read->meta.size) {
        return shardy__error(err, SHARDY_GONE, "read", "it is not there, or too long");
    }
    if (!expected) {
        return SHARDY_OK;
    }
    sha256 digest;
    SHARDY_TRY(shardy__object_digest(read->body.data, read->body.len, &digest, err));
    if (memcmp(&digest, expected, sizeof digest) != 0) {
        return shardy__error(
            err, SHARDY_CHECKSUM, "read", "it differs from the digest it was published with");
    }
    return SHARDY_OK;
}

/* A sidecar that cannot be used is as if there were none: the file has all that is in it. */
static shardy_status take_sidecar(remote_open *o, shardy_error *err)
{
    shardy_context *context = o->options->context;
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = check_sidecar(o, &error);
    if (st >= 0) {
        const shardy_store_read *read = &o->reads[o->side_at];
        sidecar_expect expect = {.file_size = o->size,
            .bound = o->options->digest != NULL,
            .tag = o->head_at == READ_NONE ? NULL : o->reads[o->head_at].meta.etag.text,
            .memory_max = (size_t)shardy__page_cache_budget(o->options->ranges)};
        expect.memory_max =
            expect.memory_max < SHARDY_SIDECAR_LEN_MAX ? expect.memory_max : SHARDY_SIDECAR_LEN_MAX;
        st = shardy__sidecar_parse(
            shardy__bytes(read->body.data, read->body.len), &expect, &o->side, &error);
    }
    if (st >= 0 &&
        !shardy__page_cache_reserve(o->options->ranges, shardy__sidecar_memory(o->side))) {
        st = shardy__error(
            &error, SHARDY_EXHAUSTED, "read", "half of page_cache_bytes is taken by others");
        shardy__sidecar_free(o->side);
        o->side = NULL;
    }
    if (st == SHARDY_NOMEM || st == SHARDY_TIMEOUT || st == SHARDY_CANCELLED) {
        if (err) {
            *err = error;
        }
        return st;
    }
    if (st >= 0) {
        shardy__count(context, SHARDY_METRIC_SIDECARS_USED, 1);
        return SHARDY_OK;
    }
    shardy__count(context, SHARDY_METRIC_SIDECARS_UNUSED, 1);
    /* Nobody promised that a snapshot of the reference has them. */
    shardy__log(context,
        st == SHARDY_GONE && !o->options->digest ? SHARDY_LOG_DEBUG : SHARDY_LOG_WARN, "read",
        "the sidecar \"%s\" is not used: %s", o->options->sidecar_key, error.message);
    return SHARDY_OK;
}

/* The first reads, all at once; once more without the sidecar when that was in vain. */
static shardy_status read_first(remote_open *o, shardy_error *err)
{
    plan_reads(o, 1);
    shardy_store_read_all(o->store, o->reads, o->count);
    shardy_status st = judge_reads(o, 0, err);
    if (st != SHARDY_OK || o->side_at == READ_NONE) {
        return st;
    }
    if (o->head_at == READ_NONE) {
        o->size = o->options->size;
    }
    SHARDY_TRY(take_sidecar(o, err));
    if (o->side || o->head_at != READ_NONE) {
        return SHARDY_OK;
    }
    size_t first = o->count;
    plan_reads(o, 0);
    shardy_store_read_all(o->store, o->reads + first, o->count - first);
    return judge_reads(o, first, err);
}

/* The chunk digests: from the list, from the only chunk, or by reading everything once. */
static shardy_status take_sums(remote_open *o, sha256 **sums_out, shardy_error *err)
{
    const page_source_options *options = o->options;
    const shardy_store_read *list = o->sums_at == READ_NONE ? NULL : &o->reads[o->sums_at];
    size_t count = (size_t)shardy__chunk_count(o->size);
    sha256 *sums = shardy__malloc((count ? count : 1) * sizeof *sums);
    *sums_out = NULL;
    if (!sums) {
        return shardy__error_nomem(err, "sqlite");
    }
    shardy_status st = SHARDY_OK;
    if (list && list->status == SHARDY_OK) {
        st = shardy__sums_check(&o->sums, shardy__bytes(list->body.data, list->body.len), o->size,
            options->digest, err);
        if (st >= 0) {
            memcpy(sums, list->body.data, count * sizeof *sums);
        }
    } else {
        chunk_digest computed;
        memset(&computed, 0, sizeof computed);
        const shardy_buf *head = o->head_at == READ_NONE ? NULL : &o->reads[o->head_at].body;
        st = head && head->len == o->size
                 ? shardy__object_hash_bytes(o->key, shardy__bytes(head->data, head->len),
                       options->digest, &computed, err)
                 : shardy__object_hash_whole(o->store, o->key, o->size, options, &computed, err);
        if (st >= 0 && count > 0) {
            memcpy(sums, computed.sums, count * sizeof *sums);
        }
        shardy__chunk_digest_free(&computed);
    }
    if (st < 0) {
        shardy__free(sums);
        return st;
    }
    *sums_out = sums;
    return SHARDY_OK;
}

/* Units of an object without digests: its pages, from the header of the file. Whoever opens it will
 * see whether that is one. */
static uint32_t unit_shift(const remote_open *o)
{
    const shardy_store_read *head = &o->reads[o->head_at];
    const uint8_t *bytes = head->body.data;
    uint32_t page_size = head->received >= 18 ? shardy__get_be16(bytes + 16) : 0;
    page_size = page_size == 1 ? SHARDY_CHUNK_LEN : page_size;
    uint32_t shift = REMOTE_UNIT_SHIFT_MIN;
    while (shift < SHARDY_CHUNK_SHIFT && page_size > (1u << shift)) {
        shift++;
    }
    return shift;
}

static shardy_status new_remote(remote_open *o, remote_file **file_out, shardy_error *err)
{
    *file_out = NULL;
    remote_file *f = shardy__calloc(1, sizeof *f);
    if (!f) {
        return shardy__error_nomem(err, "sqlite");
    }
    const char *etag = o->options->digest ? "" : o->reads[o->head_at].meta.etag.text;
    f->store = o->store;
    f->cache = shardy__page_cache_hold(o->options->ranges);
    f->size = o->size;
    f->key_len = strlen(o->key);
    f->key = shardy__strdup(o->key);
    f->if_match = etag[0] ? shardy__strdup(etag) : NULL;
    shardy_status st = f->key && (f->if_match || !etag[0]) ? shardy_cancel_new(&f->closing, err)
                                                           : shardy__error_nomem(err, "sqlite");
    cache_file_spec spec = {.context = o->store->context,
        .loader = &REMOTE_LOADER,
        .state = f,
        .size = o->size,
        .unit_shift = o->options->digest ? SHARDY_CHUNK_SHIFT : unit_shift(o)};
    if (st >= 0 && o->options->digest) {
        st = take_sums(o, &spec.sums, err);
    }
    if (st >= 0) {
        st = shardy__cache_file_open(o->options->ranges, &spec, &f->file, err);
    }
    if (st < 0) {
        remote_close(f);
        return st;
    }
    *file_out = f;
    return SHARDY_OK;
}

static void init_open(
    remote_open *o, shardy_store *store, const char *key, const page_source_options *options)
{
    o->store = store;
    o->key = key;
    o->options = options;
    o->head_at = READ_NONE;
    o->sums_at = READ_NONE;
    o->side_at = READ_NONE;
    o->count = 0;
    o->size = 0;
    o->side = NULL;
}

void shardy__page_remote_cost(const char *key, const page_source_options *options,
    page_cost *open_out, page_cost *page_out, int32_t *sidecar_out)
{
    remote_open o;
    const uint64_t size = options->size;
    const int known = options->digest && size != UINT64_MAX;
    init_open(&o, NULL, key, options);
    plan_reads(&o, 1);
    *sidecar_out = o.side_at != READ_NONE;
    *open_out = (page_cost){1, (uint32_t)o.count, 0, !known};
    for (size_t i = 0; i < o.count; i++) {
        uint64_t len = o.reads[i].len;
        if (i == o.head_at) {
            len = known && size < len ? size : len;
        } else if (i == o.sums_at || i == o.side_at) {
            len--; /* one more is asked for than is expected */
        }
        open_out->bytes += i == o.side_at && !options->sidecar_digest ? 0 : len;
    }
    memset(page_out, 0, sizeof *page_out);
    if (known && shardy__chunk_count(size) <= 1) {
        return; /* it has come as a whole */
    }
    *page_out = (page_cost){1, 1, known ? SHARDY_CHUNK_LEN : 1u << REMOTE_UNIT_SHIFT_MIN, 1};
    /* With the index at hand, exactly this. Else the page may have come already, or, where the end
     * of the file that was read is not all of its interior pages, one of these is missing. */
    page_out->guessed = !*sidecar_out || !known;
}

shardy_status shardy__page_remote_open(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    remote_open o;
    init_open(&o, store, key, options);
    remote_file *f = NULL;
    shardy_status st = read_first(&o, err);
    if (st == SHARDY_OK) {
        st = new_remote(&o, &f, err);
    }
    if (f) {
        f->side = o.side;
    } else {
        drop_side(options->ranges, o.side);
    }
    for (size_t i = 0; i < o.count; i++) {
        if (f && i != o.sums_at && i != o.side_at && o.reads[i].status == SHARDY_OK) {
            shardy__cache_put(
                f->file, o.reads[i].offset, o.reads[i].body.data, (size_t)o.reads[i].received);
        }
        shardy_buf_release(&o.reads[i].body);
    }
    if (st != SHARDY_OK) {
        return st;
    }
    return shardy__page_source_custom_take(
        &REMOTE_OPS, f, f->size, options->digest != NULL, source_out, err);
}
