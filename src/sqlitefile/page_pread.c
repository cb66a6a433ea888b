/* page_pread.c: the `pread` kind of page_source: chunks of a descriptor in a cache of its own. */
#include "page_cache.h"

#include "../base/alloc.h"
#include "../base/error.h"
#include "../base/fs.h"

typedef struct pread_file {
    int fd;
    cache_file *file;
} pread_file;

static void pread_load(void *state, cache_load *load, const page_limits *limits)
{
    (void)limits; /* a local file answers at once */
    const pread_file *f = state;
    size_t count = load->count;
    for (size_t i = 0; i < count; i++) {
        const cache_run *run = &load->runs[i];
        shardy_error error;
        shardy__error_clear(&error);
        shardy_status st = shardy__file_read_at(f->fd, run->offset, run->dest, run->len, &error);
        shardy__cache_run_done(load, i, st, &error);
    }
}

/* Chunks are read one by one: a call costs little, a longer buffer would have to be copied. */
static const cache_loader PREAD_LOADER = {.load = pread_load};

static shardy_status pread_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    (void)len;
    const pread_file *f = state;
    return shardy__cache_get(f->file, offset, ref_out, err);
}

static shardy_status pread_fetch(void *state, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err)
{
    const pread_file *f = state;
    return shardy__cache_fetch(f->file, page_size, wants, count, limits, err);
}

static void pread_unpin(void *state, page_ref *ref)
{
    const pread_file *f = state;
    shardy__cache_unpin(f->file, ref);
}

static void pread_close(void *state)
{
    pread_file *f = state;
    shardy__cache_file_close(f->file);
    shardy__file_close(f->fd);
    shardy__free(f);
}

static const page_source_ops PREAD_OPS = {
    .get = pread_get, .fetch = pread_fetch, .unpin = pread_unpin, .close = pread_close};

shardy_status shardy__page_pread_new_take(int fd, uint64_t size, sha256 *sums, uint64_t cache_bytes,
    page_source **source_out, shardy_error *err)
{
    *source_out = NULL;
    page_cache *cache = NULL;
    pread_file *f = shardy__calloc(1, sizeof *f);
    shardy_status st =
        f ? shardy__page_cache_new(cache_bytes, &cache, err) : shardy__error_nomem(err, "sqlite");
    if (st < 0) {
        shardy__free(sums);
        shardy__file_close(fd);
        shardy__free(f);
        return st;
    }
    const cache_file_spec spec = {.loader = &PREAD_LOADER,
        .state = f,
        .size = size,
        .unit_shift = SHARDY_CHUNK_SHIFT,
        .sums = sums};
    f->fd = fd;
    int verified = sums != NULL;
    st = shardy__cache_file_open(cache, &spec, &f->file, err);
    shardy__page_cache_drop(cache); /* the file has a reference */
    if (st < 0) {
        pread_close(f);
        return st;
    }
    return shardy__page_source_custom_take(&PREAD_OPS, f, size, verified, source_out, err);
}
