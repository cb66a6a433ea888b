/* page_remote.h: a page source over ranges of an object of a store.
 *
 * Objects with a digest are read in whole 64 KiB chunks, each checked before a byte of it is used.
 * Others are read about page by page, and every range is bound to the version (ETag) that was seen
 * first: an object that changes is CHECKSUM, one that is gone is GONE.
 *
 * docs/performance.md, "Remote reads", has the requests and round trips. */
#ifndef SHARDY_SQLITEFILE_PAGE_REMOTE_H
#define SHARDY_SQLITEFILE_PAGE_REMOTE_H

#include "page_cache.h"

/* Opens an object: one round trip, which brings its first chunk, its chunk digests, and what is
 * likely to be its interior pages. `options->ranges` is the cache, which gets one more reference.
 * Statuses: OK; NOT_FOUND; CHECKSUM, CORRUPT (size or bytes are not what the options say); those of
 * the store, TIMEOUT, CANCELLED, NOMEM. Ownership: yours, close it. */
shardy_status shardy__page_remote_open(shardy_store *store, const char *key,
    const page_source_options *options, page_source **source_out, shardy_error *err);

/* What reading takes, as far as it can be told without doing it. */
typedef struct page_cost {
    uint32_t round_trips;
    uint32_t requests;
    uint64_t bytes;
    int32_t guessed; /* 1: it depends on what is in the object */
} page_cost;

/* Of opening an object by ranges, with a sidecar when the options have one that is used
 * (*sidecar_out); and of one page that is far from all others after that. Nothing is read. */
void shardy__page_remote_cost(const char *key, const page_source_options *options,
    page_cost *open_out, page_cost *page_out, int32_t *sidecar_out);

#endif
