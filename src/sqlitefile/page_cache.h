/* page_cache.h: 64 KiB chunks of a descriptor in a bounded cache: the `pread` kind of
 * page_source. */
#ifndef SHARDY_SQLITEFILE_PAGE_CACHE_H
#define SHARDY_SQLITEFILE_PAGE_CACHE_H

#include "page_source.h"

/* The table of functions; its state is a page_cache. */
extern const page_source_ops shardy__page_cache_ops;

/* `fd` and `sums` (may be NULL; one per chunk) are taken always, also on failure. */
shardy_status shardy__page_cache_new_take(
    int fd, uint64_t size, sha256 *sums, size_t cache_bytes, void **cache_out, shardy_error *err);

#endif
