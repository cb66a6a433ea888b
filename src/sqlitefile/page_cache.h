/* page_cache.h: parts of immutable files in memory, within one budget of bytes for all of them.
 *
 * A file is cut into units of one size, which are loaded, checked and dropped as a whole: 64 KiB
 * where there are digests, about a page where there are none. A unit that several threads want is
 * loaded once: the others wait for it. Units that belong together are loaded together: what is
 * missing of all pages that a call wants is sorted, and neighbours become one run.
 *
 * The loader of a file brings the bytes: pread() does so at once, a store whenever its answer
 * comes. No lock is held meanwhile, nor while bytes are hashed.
 *
 * Threads: any, any time, but for opening and closing. */
#ifndef SHARDY_SQLITEFILE_PAGE_CACHE_H
#define SHARDY_SQLITEFILE_PAGE_CACHE_H

#include "page_source.h"

#include <shardyfusion/context.h>

/* The budget and the table of all units. Reference counted. */
typedef struct page_cache page_cache;
typedef struct cache_file cache_file;
typedef struct cache_load cache_load;

/* `bytes` bounds the units that are kept (those in use at the same time may exceed it).
 * Statuses: OK, NOMEM. Ownership: one reference is yours. */
shardy_status shardy__page_cache_new(uint64_t bytes, page_cache **cache_out, shardy_error *err);
page_cache *shardy__page_cache_hold(page_cache *cache);
void shardy__page_cache_drop(page_cache *cache); /* NULL is fine */
uint64_t shardy__page_cache_budget(const page_cache *cache);
/* Bytes that are in it now. */
uint64_t shardy__page_cache_bytes(page_cache *cache);

/* Counts bytes that are kept elsewhere, the index of a file, against the budget: up to half of it.
 * 0: there is no room for so many, and nothing is counted; else 1, also for 0 bytes. */
int shardy__page_cache_reserve(page_cache *cache, uint64_t bytes);
void shardy__page_cache_release(page_cache *cache, uint64_t bytes);

/* Bytes of a file in one piece, to be put to `dest`. */
typedef struct cache_run {
    uint64_t offset;
    size_t len;
    uint8_t *dest;
    size_t first; /* private: its units */
    size_t count;
} cache_run;

/* Runs that are asked for together. */
struct cache_load {
    cache_run *runs;
    size_t count;
    void *memory; /* the loader's; freed with the load */
    /* private */
    cache_file *file;
    struct cache_unit **units;
    size_t unit_count;
    size_t unit_room;
    size_t refs;
    shardy_error error; /* of the first run that failed */
};

typedef struct cache_loader {
    /* Gets all runs, and calls shardy__cache_run_done() once for each: from any thread, possibly
     * before it returns. */
    void (*load)(void *state, cache_load *load, const page_limits *limits);
    uint64_t gap;     /* runs are merged when no more bytes than this lie between them */
    uint64_t run_max; /* but are not made longer than this; a single unit may be */
    int32_t async;    /* 1: load() does not wait */
} cache_loader;

/* The state of the file that a load is for. */
void *shardy__cache_load_state(const cache_load *load);
/* How run number `run` ended; `err` tells why, if it failed. */
void shardy__cache_run_done(
    cache_load *load, size_t run, shardy_status st, const shardy_error *err);

typedef struct cache_file_spec {
    shardy_context *context; /* for deadlines; NULL: none are kept */
    const cache_loader *loader;
    void *state; /* borrowed */
    uint64_t size;
    uint32_t unit_shift; /* log2 of the unit: 12 to 16 */
    sha256 *sums;        /* one for each unit, which is 64 KiB then; taken; NULL: none */
} cache_file_spec;

/* A file whose units `cache` keeps (one more reference). What the spec gives is taken always, also
 * on failure. OK, NOMEM. */
shardy_status shardy__cache_file_open(
    page_cache *cache, const cache_file_spec *spec, cache_file **file_out, shardy_error *err);
/* Waits for what is being loaded, then drops its units. Nothing may be pinned. NULL is fine. */
void shardy__cache_file_close(cache_file *file);

/* The slots of page_source_ops, for a state that has a cache_file. */
shardy_status shardy__cache_get(
    cache_file *file, uint64_t offset, page_ref *ref_out, shardy_error *err);
shardy_status shardy__cache_fetch(cache_file *file, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err);
void shardy__cache_start(cache_file *file, size_t page_size, page_want *const *wants, size_t count,
    const page_limits *limits);
void shardy__cache_unpin(cache_file *file, page_ref *ref);

/* Puts bytes that were read already: the units that lie wholly in [offset, offset + len), or end
 * with the file. They are checked when they are first used. Without memory for them nothing
 * happens. */
void shardy__cache_put(cache_file *file, uint64_t offset, const void *data, size_t len);

/* A source over a descriptor, with a cache of its own. `fd` and `sums` are taken always. */
shardy_status shardy__page_pread_new_take(int fd, uint64_t size, sha256 *sums, uint64_t cache_bytes,
    page_source **source_out, shardy_error *err);

#endif
