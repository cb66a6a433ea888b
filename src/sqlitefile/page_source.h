/* page_source.h: the pages of one immutable file, wherever it is.
 *
 * A source is bytes of a fixed size, cut into pages once the reader of the file knows their size.
 * Kinds:
 *   mapped  a local file in the address space; a page is at hand always (a page fault at worst);
 *   memory  bytes that are borrowed or owned; likewise;
 *   pread   a descriptor and a bounded cache of 64 KiB chunks, for files that others can truncate;
 *           a page is at hand while its chunk is in the cache;
 *   remote  an object of a store, in the cache that a reader has for all its shards
 *           (page_remote.h); a page is at hand while it is in the cache;
 *   custom  a table of functions (page_source_ops): tests, and the two before.
 * Mapped and memory sources have `base` set and take no indirect call; all others go through the
 * table.
 *
 * Reading is split so that nothing waits unasked: shardy__page_get() answers PENDING when a page is
 * not at hand, shardy__page_fetch() goes and gets all that are wanted.
 *
 * A source with digests serves no byte of a 64 KiB chunk that was not checked: mapped and memory
 * chunks when they are first touched (a bitmap remembers), the others when the cache is filled.
 *
 * Threads: one thread opens, sets the page size and closes; between that, any number of threads may
 * get, fetch, unpin, hold and lend. */
#ifndef SHARDY_SQLITEFILE_PAGE_SOURCE_H
#define SHARDY_SQLITEFILE_PAGE_SOURCE_H

#include "../base/digest.h"

#include <shardyfusion/base.h>
#include <shardyfusion/sys/store.h>

#include <stdatomic.h>

typedef struct page_source page_source;

/* A page that is at hand. `data` stays until shardy__page_unpin(). */
typedef struct page_ref {
    const uint8_t *data;
    void *pin; /* NULL: nothing to unpin */
} page_ref;

/* A page that somebody waits for. fetch() fills `ref`, which belongs to the waiter from then on. */
typedef struct page_want {
    uint32_t page;  /* from 1; 0: nothing is wanted */
    uint32_t ahead; /* so many pages after it are likely to be wanted next: a hint */
    page_ref ref;
} page_want;

/* How long a caller waits. NULL: for ever. */
typedef struct page_limits {
    int64_t deadline_ns; /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel;
    const shardy_context *context; /* NULL: time is looked at only where something is waited for */
} page_limits;

/* Digests of a file: size and one SHA-256 for each 64 KiB chunk of it. */
typedef struct page_digests {
    uint64_t size;
    const sha256 *sums;
    size_t count;
} page_digests;

/* How a custom source works. Offsets and lengths always lie within the size given when it was made,
 * and never cross a multiple of 64 KiB. All slots but close() are called from any number of threads
 * at once. */
typedef struct page_source_ops {
    /* OK with *ref_out set, PENDING, or a failure. Does no I/O. */
    shardy_status (*get)(
        void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err);
    /* Sets wants[i].ref of all; on a failure those that were set stay the caller's. `page_size`
     * tells where a page is: (page - 1) * page_size. */
    shardy_status (*fetch)(void *state, size_t page_size, page_want *const *wants, size_t count,
        const page_limits *limits, shardy_error *err);
    void (*unpin)(void *state, page_ref *ref);
    void (*close)(void *state);
    /* MAY. Asks for pages without waiting for them: a fetch that comes later finds them on their
     * way. Nothing is pinned, failures are forgotten. */
    void (*start)(void *state, size_t page_size, page_want *const *wants, size_t count,
        const page_limits *limits);
} page_source_ops;

/* One cell of the sharded count of holders, on a cache line of its own. */
typedef struct page_hold {
    _Atomic int64_t count;
    page_source *source;
    _Atomic uint32_t gets; /* look-ups, roughly: see btree_fence.h */
    char pad[64 - sizeof(_Atomic int64_t) - sizeof(page_source *) - sizeof(_Atomic uint32_t)];
} page_hold;

#define PAGE_HOLD_CELLS 16u

/* The first members are what the inline functions below need; the rest is private to
 * page_source.c. */
struct page_source {
    const uint8_t *base;       /* mapped and memory: the first byte; else NULL */
    uint32_t page_count;       /* 0 until the page size is set */
    uint32_t page_shift;       /* log2 of the page size */
    _Atomic uint64_t *checked; /* one bit per chunk; NULL: nothing to check */
    const page_source_ops *ops;
    void *state;
    uint64_t size;
    int32_t verified; /* 1: bytes are checked against digests */
    int32_t mapped;   /* 1: `base` came from mmap */
    sha256 *sums;
    shardy_buf owned; /* memory that belongs to the source */
    page_hold *holds; /* PAGE_HOLD_CELLS of them, aligned */
    _Atomic uint32_t live_holds;
};

/* Local files. The descriptor is taken always, also on failure. `digests` may be NULL and is
 * copied. The size must be the one of the digests (CHECKSUM if not).
 * Statuses: OK, CHECKSUM, EXHAUSTED, IO, NOMEM. Ownership: yours, close it. */
shardy_status shardy__page_source_map_take(const shardy_local_file *file,
    const page_digests *digests, page_source **source_out, shardy_error *err);
/* `cache_bytes` bounds the chunks that are kept (at least one is); chunks in use at the same time
 * may exceed it. A file that gets shorter while it is read is CORRUPT. */
shardy_status shardy__page_source_pread_take(const shardy_local_file *file,
    const page_digests *digests, size_t cache_bytes, page_source **source_out, shardy_error *err);

/* Memory: borrowed until the source is closed and all that was lent from it is given back; or taken
 * always, also on failure. */
shardy_status shardy__page_source_memory(const void *data, size_t len, const page_digests *digests,
    page_source **source_out, shardy_error *err);
shardy_status shardy__page_source_memory_take(
    shardy_buf *buf, const page_digests *digests, page_source **source_out, shardy_error *err);

/* A source of another kind; `state` is taken always. It checks digests itself, if there are any
 * (`verified`). */
shardy_status shardy__page_source_custom_take(const page_source_ops *ops, void *state,
    uint64_t size, int32_t verified, page_source **source_out, shardy_error *err);

typedef enum page_io {
    PAGE_IO_AUTO = 0,  /* mapped when the store has local files, else whole in memory */
    PAGE_IO_PREAD = 1, /* pread when the store has local files, else whole in memory */
    PAGE_IO_MEMORY = 2 /* whole in memory always */
} page_io;

typedef struct page_source_options {
    const sha256 *digest; /* digest of the object (digest.h); NULL: unverified */
    uint64_t size;        /* the size it must have; UINT64_MAX: not known */
    uint64_t size_max;    /* refuse larger ones before reading (CORRUPT); UINT64_MAX: any size */
    int32_t io;           /* page_io */
    size_t cache_bytes;   /* for PAGE_IO_PREAD */
    /* not NULL: an object that is no local file is read by ranges into this cache (borrowed), not
     * whole; not with PAGE_IO_MEMORY */
    struct page_cache *ranges;
    const page_limits *limits; /* of opening */
    /* with `ranges`: the sidecar of the object (sidecar.h), which need not be there; NULL: there is
     * none. With `digest` it must have a digest as well */
    const char *sidecar_key;
    const sha256 *sidecar_digest;
    uint64_t sidecar_size;
    shardy_context *context; /* for the log and the metrics; with `sidecar_key` */
    /* not NULL: an object that is no local file and is read whole becomes one in this cache
     * (borrowed while opening); not with PAGE_IO_MEMORY */
    struct file_cache *files;
    int32_t check_files; /* 1: all bytes of a file that is there are checked first */
} page_source_options;

/* Defaults: no digest, any size, PAGE_IO_AUTO, 8 MiB. */
void shardy__page_source_options_init(page_source_options *options);

/* An object of a store. With a digest, an object of one chunk is hashed now; one of several gets
 * its chunk digests from `<key>.sums`, which must have the given digest (CHECKSUM if not), or is
 * hashed whole now when there is no such object.
 * Statuses: OK, NOT_FOUND, CHECKSUM (size or bytes differ from what was promised), CORRUPT, those
 * of the store, NOMEM. Ownership: yours, close it. Threads: any. */
shardy_status shardy__page_source_open_object(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err);

/* NULL is fine; cannot fail. No get, fetch or pin may be under way; what was lent may be, and keeps
 * the memory alive. */
void shardy__page_source_close(page_source *source);

/* Reads bytes from the start, for the header of a file, before pages are known; checks digests;
 * waits. CORRUPT when the source is shorter. */
shardy_status shardy__page_source_head(
    page_source *source, void *dest, size_t len, const page_limits *limits, shardy_error *err);

/* Sets the size (a power of two, 512 to 65536) and number of pages. INVALID when they exceed the
 * source. */
shardy_status shardy__page_source_set_pages(
    page_source *source, uint32_t page_size, uint32_t page_count, shardy_error *err);

/* Checks every chunk now; a no-op without digests. Waits. OK or CHECKSUM. Only for sources with
 * `base`. */
shardy_status shardy__page_source_verify_all(page_source *source, shardy_error *err);

/* --- the inline fast path --------------------------------------------------------------------- */

/* What page_get does when there is more to do than to return an address. Do not call. */
shardy_status shardy__page_get_slow(
    page_source *source, uint32_t page, page_ref *ref_out, shardy_error *err);
void shardy__page_unpin_slow(page_source *source, page_ref *ref);

/* The page `page` (from 1). OK; PENDING when it is not at hand; CORRUPT when there is no such page;
 * CHECKSUM when the bytes are not those that were promised. Unpin *ref_out after OK. */
static inline shardy_status shardy__page_get(
    page_source *source, uint32_t page, page_ref *ref_out, shardy_error *err)
{
    if (__builtin_expect(source->base && page - 1 < source->page_count, 1)) {
        size_t offset = (size_t)(page - 1) << source->page_shift;
        size_t chunk = offset >> SHARDY_CHUNK_SHIFT;
        if (!source->checked ||
            (atomic_load_explicit(&source->checked[chunk >> 6], memory_order_acquire) >>
                    (chunk & 63) &
                1)) {
            ref_out->data = source->base + offset;
            ref_out->pin = NULL;
            return SHARDY_OK;
        }
    }
    return shardy__page_get_slow(source, page, ref_out, err);
}

static inline void shardy__page_unpin(page_source *source, page_ref *ref)
{
    if (ref->pin) {
        shardy__page_unpin_slow(source, ref);
    }
    ref->data = NULL;
    ref->pin = NULL;
}

/* Address of a page for a prefetch, or NULL: no promise that it exists, nothing is checked, do not
 * read. */
static inline const uint8_t *shardy__page_hint(const page_source *source, uint32_t page)
{
    if (!source->base || page - 1 >= source->page_count) {
        return NULL;
    }
    return source->base + ((size_t)(page - 1) << source->page_shift);
}

/* Gets all wanted pages and waits for them; each want's `ref` is set and is the caller's. TIMEOUT
 * and CANCELLED as the limits say. */
shardy_status shardy__page_fetch(page_source *source, page_want *const *wants, size_t count,
    const page_limits *limits, shardy_error *err);

/* Asks for pages that are likely to be wanted, if the source can do so without waiting. Pages that
 * the file does not have are passed over. At most PAGE_START_MAX of them. */
#define PAGE_START_MAX 256u
void shardy__page_start(page_source *source, const uint32_t *pages, const uint32_t *ahead,
    size_t count, const page_limits *limits);
/* 1 when that does something. */
static inline int shardy__page_source_starts(const page_source *source)
{
    return source->ops && source->ops->start;
}

/* --- values that outlive the source ----------------------------------------------------------- */

/* 1 when bytes of pages may be lent: they stay where they are for as long as the source is held. */
static inline int shardy__page_source_lends(const page_source *source)
{
    return source->base != NULL;
}

/* Adds `count` holders. The source must be open. Each is given back by shardy__page_source_drop()
 * on the same cell. */
page_hold *shardy__page_source_hold(page_source *source, int64_t count);
void shardy__page_hold_drop(page_hold *hold, int64_t count);

/* A buffer over bytes of a page which gives one holder of `hold` back when it is released. */
void shardy__page_source_lend(page_hold *hold, const void *data, size_t len, shardy_buf *buf_out);

#endif
