/* transfer.h: a large object of any store into a local file, in ranges that are read at once. */
#ifndef SHARDY_STORE_TRANSFER_H
#define SHARDY_STORE_TRANSFER_H

#include "store.h"

#include "../base/digest.h"

#define TRANSFER_SIZE_UNKNOWN UINT64_MAX

typedef struct transfer_options {
    uint32_t range_len; /* default 4 MiB; a multiple of SHARDY_CHUNK_LEN, at most 1 GiB */
    /* default 8: ranges at once, at most 64; each has range_len bytes of memory */
    uint32_t parallel;
    /* default UINT64_MAX: what the store says; else CHECKSUM when the object is not as long */
    uint64_t size;
    const char *if_match; /* default NULL: the version that the first range had */
    /* default NULL; digests of its 64 KiB chunks, for which `size` is needed */
    const sha256 *sums;
    int64_t deadline_ns; /* default 0: none */
    const shardy_cancel *cancel;
    /* Called by the thread that waits, after each range; anything but 0 cancels. May be NULL. */
    int32_t (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
} transfer_options;

void shardy__transfer_options_init(transfer_options *options);

/* Writes the object to `fd`, which is empty and stays the caller's, and waits. Every byte is of one
 * version; with `sums` none is written that differs from its digest. After a failure the file holds
 * nothing that could be used. The metadata of the object go to *meta_out (may be NULL).
 * Statuses: OK, NOT_FOUND; CONFLICT (the object was changed, or is not of version if_match),
 * CHECKSUM, INVALID (options); TIMEOUT, CANCELLED, NO_SPACE, IO, NOMEM. */
shardy_status shardy__transfer_download(shardy_store *store, const char *key, int fd,
    const transfer_options *options, shardy_object_meta *meta_out, shardy_error *err);

#endif
