#include "page_source.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/thread.h"
#include "page_cache.h"

#include <string.h>

/* --- making and closing ----------------------------------------------------------------------- */

/* What a source with `base` points at when its file has no bytes, because an empty file cannot be
 * mapped. */
static const uint8_t no_bytes[1];

static void release_memory(page_source *source)
{
    if (source->mapped) {
        shardy__file_unmap(source->base, (size_t)source->size);
    }
    shardy_buf_release(&source->owned);
    shardy__free(source->sums);
    shardy__free(source->holds);
    shardy__free((void *)(uintptr_t)source->checked);
    shardy__free(source);
}

/* The sharded count of holders.
 *
 * Each cell is a reference count of its own which starts at 1, for the open source. hold() adds to
 * the cell of the calling thread, drop() subtracts from the very cell that was added to (the buffer
 * remembers it), so each cell is exact by itself and never goes below the number of holders that
 * were counted in it. close() subtracts the one of the open source from every cell. A cell that
 * reaches zero stays at zero, because hold() is only called while the source is open; so each cell
 * reaches zero once, and the thread that brings the last cell there, counted by live_holds, frees
 * the memory.
 *
 * Memory order. hold() is relaxed: whoever calls it has the source open, and the calls made while
 * it is open happen before close() by the contract of close(). drop() subtracts with release, so
 * that all reads of the lent bytes by this thread happen before the subtraction; the thread that
 * brings the cell to zero loads it again with acquire, which makes them happen before what it does
 * next (all subtractions from one cell are read-modify-writes of one object and thus form one
 * release sequence; a fence would do as well, but ThreadSanitizer does not know fences). It then
 * subtracts from live_holds with acq_rel: release passes on what it has seen of its cell, acquire
 * lets the last one see what all the others passed on. So every read of lent bytes happens before
 * the unmapping. There is no flag for "closing" that could be seen too late: it is the one
 * reference of each cell. */
page_hold *shardy__page_source_hold(page_source *source, int64_t count)
{
    page_hold *hold = &source->holds[shardy__thread_slot() % PAGE_HOLD_CELLS];
    atomic_fetch_add_explicit(&hold->count, count, memory_order_relaxed);
    return hold;
}

void shardy__page_hold_drop(page_hold *hold, int64_t count)
{
    page_source *source = hold->source;
    if (atomic_fetch_sub_explicit(&hold->count, count, memory_order_release) != count) {
        return;
    }
    (void)atomic_load_explicit(&hold->count, memory_order_acquire);
    if (atomic_fetch_sub_explicit(&source->live_holds, 1, memory_order_acq_rel) == 1) {
        release_memory(source);
    }
}

static void release_lent(shardy_buf *buf)
{
    shardy__page_hold_drop(buf->owner, 1);
}

void shardy__page_source_lend(page_hold *hold, const void *data, size_t len, shardy_buf *buf_out)
{
    buf_out->data = data;
    buf_out->len = len;
    buf_out->release = release_lent;
    buf_out->owner = hold;
}

void shardy__page_source_close(page_source *source)
{
    if (!source) {
        return;
    }
    if (source->ops) {
        source->ops->close(source->state);
        source->ops = NULL;
    }
    if (!source->holds) {
        release_memory(source);
        return;
    }
    /* The source may be gone after the last of these, so do not read it in between. */
    page_hold *holds = source->holds;
    for (size_t i = 0; i < PAGE_HOLD_CELLS; i++) {
        shardy__page_hold_drop(&holds[i], 1);
    }
}

static page_source *new_source(uint64_t size)
{
    page_source *source = shardy__calloc(1, sizeof *source);
    if (source) {
        source->size = size;
    }
    return source;
}

/* Makes the cells of a source with `base`. */
static shardy_status add_holds(page_source *source, shardy_error *err)
{
    source->holds = shardy__aligned_alloc(64, PAGE_HOLD_CELLS * sizeof(page_hold));
    if (!source->holds) {
        return shardy__error_nomem(err, "sqlite");
    }
    for (size_t i = 0; i < PAGE_HOLD_CELLS; i++) {
        atomic_init(&source->holds[i].count, 1);
        source->holds[i].source = source;
        atomic_init(&source->holds[i].gets, 0);
    }
    atomic_init(&source->live_holds, PAGE_HOLD_CELLS);
    return SHARDY_OK;
}

static shardy_status check_digests(const page_digests *digests, uint64_t size, shardy_error *err)
{
    if (!digests) {
        return SHARDY_OK;
    }
    if (digests->size != size) {
        return shardy__error(err, SHARDY_CHECKSUM, "sqlite", "file has %llu bytes, expected %llu",
            (unsigned long long)size, (unsigned long long)digests->size);
    }
    if (digests->count != shardy__chunk_count(size)) {
        return shardy__error(err, SHARDY_CHECKSUM, "sqlite",
            "%zu chunk digests for %llu bytes, expected %llu", digests->count,
            (unsigned long long)size, (unsigned long long)shardy__chunk_count(size));
    }
    return SHARDY_OK;
}

static shardy_status copy_sums(const page_digests *digests, sha256 **sums_out, shardy_error *err)
{
    *sums_out = NULL;
    if (!digests) {
        return SHARDY_OK;
    }
    *sums_out = shardy__malloc(digests->count * sizeof **sums_out);
    if (!*sums_out) {
        return shardy__error_nomem(err, "sqlite");
    }
    if (digests->count) {
        memcpy(*sums_out, digests->sums, digests->count * sizeof **sums_out);
    }
    return SHARDY_OK;
}

/* Digests and bitmap of a source with `base`. */
static shardy_status add_digests(
    page_source *source, const page_digests *digests, shardy_error *err)
{
    SHARDY_TRY(check_digests(digests, source->size, err));
    if (!digests) {
        return SHARDY_OK;
    }
    SHARDY_TRY(copy_sums(digests, &source->sums, err));
    source->checked = shardy__calloc(digests->count / 64 + 1, sizeof *source->checked);
    if (!source->checked) {
        return shardy__error_nomem(err, "sqlite");
    }
    source->verified = 1;
    return SHARDY_OK;
}

/* Finishes a source with `base`, or closes it. */
static shardy_status finish_base(
    page_source *source, const page_digests *digests, page_source **source_out, shardy_error *err)
{
    shardy_status st = add_digests(source, digests, err);
    if (st >= 0) {
        st = add_holds(source, err);
    }
    if (st < 0) {
        release_memory(source);
        return st;
    }
    *source_out = source;
    return SHARDY_OK;
}

static shardy_status map_file(const shardy_local_file *file, page_source *source, shardy_error *err)
{
    if (file->size == 0) {
        source->base = no_bytes;
        return SHARDY_OK;
    }
    if (file->size > SIZE_MAX) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sqlite",
            "file of %llu bytes does not fit into the address space",
            (unsigned long long)file->size);
    }
    const void *base;
    SHARDY_TRY(shardy__file_map(file->fd, (size_t)file->size, &base, err));
    source->base = base;
    source->mapped = 1;
    return SHARDY_OK;
}

shardy_status shardy__page_source_map_take(const shardy_local_file *file,
    const page_digests *digests, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    page_source *source = new_source(file->size);
    shardy_status st = source ? map_file(file, source, err) : shardy__error_nomem(err, "sqlite");
    shardy__file_close(file->fd); /* a mapping does not need it */
    if (st < 0) {
        shardy__free(source);
        return st;
    }
    return finish_base(source, digests, source_out, err);
}

shardy_status shardy__page_source_memory(const void *data, size_t len, const page_digests *digests,
    page_source **source_out, shardy_error *err)
{
    shardy_buf buf = {data, len, NULL, NULL};
    return shardy__page_source_memory_take(&buf, digests, source_out, err);
}

shardy_status shardy__page_source_memory_take(
    shardy_buf *buf, const page_digests *digests, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    page_source *source = new_source(buf->len);
    if (!source) {
        shardy_buf_release(buf);
        return shardy__error_nomem(err, "sqlite");
    }
    source->owned = *buf;
    source->base = buf->data ? buf->data : no_bytes;
    memset(buf, 0, sizeof *buf);
    return finish_base(source, digests, source_out, err);
}

shardy_status shardy__page_source_pread_take(const shardy_local_file *file,
    const page_digests *digests, size_t cache_bytes, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    sha256 *sums = NULL;
    shardy_status st = check_digests(digests, file->size, err);
    if (st >= 0) {
        st = copy_sums(digests, &sums, err);
    }
    if (st < 0) {
        shardy__file_close(file->fd);
        return st;
    }
    return shardy__page_pread_new_take(file->fd, file->size, sums, cache_bytes, source_out, err);
}

shardy_status shardy__page_source_custom_take(const page_source_ops *ops, void *state,
    uint64_t size, int32_t verified, page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    page_source *source = new_source(size);
    if (!source) {
        ops->close(state);
        return shardy__error_nomem(err, "sqlite");
    }
    source->ops = ops;
    source->state = state;
    source->verified = verified;
    *source_out = source;
    return SHARDY_OK;
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Hashes a chunk of a source with `base` unless that was done. Two threads may do it at the same
 * time: both come to the same answer. The bit is set with release and read with acquire, though
 * nothing but the bit passes between them: the bytes were there before any thread. */
static shardy_status check_chunk(page_source *source, size_t chunk, shardy_error *err)
{
    uint64_t bit = (uint64_t)1 << (chunk & 63);
    if (!source->checked ||
        (atomic_load_explicit(&source->checked[chunk >> 6], memory_order_acquire) & bit)) {
        return SHARDY_OK;
    }
    uint64_t offset = (uint64_t)chunk << SHARDY_CHUNK_SHIFT;
    uint64_t left = source->size - offset;
    size_t len = left < SHARDY_CHUNK_LEN ? (size_t)left : SHARDY_CHUNK_LEN;
    sha256 sum;
    SHARDY_TRY(shardy__sha256(source->base + offset, len, &sum, err));
    if (memcmp(&sum, &source->sums[chunk], sizeof sum) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "sqlite",
            "the %zu bytes at offset %llu differ from their digest", len,
            (unsigned long long)offset);
    }
    atomic_fetch_or_explicit(&source->checked[chunk >> 6], bit, memory_order_release);
    return SHARDY_OK;
}

shardy_status shardy__page_source_verify_all(page_source *source, shardy_error *err)
{
    if (!source->base) {
        return SHARDY_OK;
    }
    for (uint64_t chunk = 0; chunk < shardy__chunk_count(source->size); chunk++) {
        SHARDY_TRY(check_chunk(source, (size_t)chunk, err));
    }
    return SHARDY_OK;
}

static shardy_status check_page(const page_source *source, uint32_t page, shardy_error *err)
{
    if (page - 1 >= source->page_count) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite", "page %u is named, expected 1 to %u",
            page, source->page_count);
    }
    return SHARDY_OK;
}

shardy_status shardy__page_get_slow(
    page_source *source, uint32_t page, page_ref *ref_out, shardy_error *err)
{
    ref_out->data = NULL;
    ref_out->pin = NULL;
    SHARDY_TRY(check_page(source, page, err));
    uint64_t offset = (uint64_t)(page - 1) << source->page_shift;
    if (!source->base) {
        size_t len = (size_t)1 << source->page_shift;
        return source->ops->get(source->state, offset, len, ref_out, err);
    }
    SHARDY_TRY(check_chunk(source, (size_t)(offset >> SHARDY_CHUNK_SHIFT), err));
    ref_out->data = source->base + offset;
    return SHARDY_OK;
}

void shardy__page_unpin_slow(page_source *source, page_ref *ref)
{
    source->ops->unpin(source->state, ref);
}

shardy_status shardy__page_fetch(page_source *source, page_want *const *wants, size_t count,
    const page_limits *limits, shardy_error *err)
{
    for (size_t i = 0; i < count; i++) {
        wants[i]->ref.data = NULL;
        wants[i]->ref.pin = NULL;
        SHARDY_TRY(check_page(source, wants[i]->page, err));
    }
    if (!source->base) {
        return source->ops->fetch(
            source->state, (size_t)1 << source->page_shift, wants, count, limits, err);
    }
    for (size_t i = 0; i < count; i++) {
        SHARDY_TRY(shardy__page_get_slow(source, wants[i]->page, &wants[i]->ref, err));
    }
    return SHARDY_OK;
}

void shardy__page_start(page_source *source, const uint32_t *pages, const uint32_t *ahead,
    size_t count, const page_limits *limits)
{
    page_want wants[PAGE_START_MAX];
    page_want *list[PAGE_START_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count && n < PAGE_START_MAX; i++) {
        if (pages[i] - 1 < source->page_count) {
            wants[n] = (page_want){pages[i], ahead ? ahead[i] : 0, {NULL, NULL}};
            list[n] = &wants[n];
            n++;
        }
    }
    if (n > 0 && shardy__page_source_starts(source)) {
        source->ops->start(source->state, (size_t)1 << source->page_shift, list, n, limits);
    }
}

shardy_status shardy__page_source_set_pages(
    page_source *source, uint32_t page_size, uint32_t page_count, shardy_error *err)
{
    if (page_size < 512 || page_size > SHARDY_CHUNK_LEN || (page_size & (page_size - 1)) != 0 ||
        (uint64_t)page_size * page_count > source->size) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "%u pages of %u bytes in a file of %llu bytes", page_count, page_size,
            (unsigned long long)source->size);
    }
    source->page_shift = (uint32_t)__builtin_ctz(page_size);
    source->page_count = page_count;
    return SHARDY_OK;
}

shardy_status shardy__page_source_head(
    page_source *source, void *dest, size_t len, const page_limits *limits, shardy_error *err)
{
    /* As the first page of a file of the smallest pages there are. */
    if (len > 512 || source->size < 512) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "file has %llu bytes, expected at least 512", (unsigned long long)source->size);
    }
    SHARDY_TRY(shardy__page_source_set_pages(source, 512, 1, err));
    page_want want = {1, 0, {NULL, NULL}};
    page_want *const wants[1] = {&want};
    shardy_status st = shardy__page_fetch(source, wants, 1, limits, err);
    if (st >= 0) {
        memcpy(dest, want.ref.data, len);
        shardy__page_unpin(source, &want.ref);
    }
    source->page_count = 0;
    return st;
}

void shardy__page_source_options_init(page_source_options *options)
{
    memset(options, 0, sizeof *options);
    options->size = UINT64_MAX;
    options->size_max = UINT64_MAX;
    options->io = PAGE_IO_AUTO;
    options->cache_bytes = (size_t)8 << 20;
}
