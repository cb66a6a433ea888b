/* transfer.h: a large object of any store into a local file or into memory, in ranges that are read
 * at once. */
#ifndef SHARDY_STORE_TRANSFER_H
#define SHARDY_STORE_TRANSFER_H

#include "store.h"

#include "../base/digest.h"

#define TRANSFER_SIZE_UNKNOWN UINT64_MAX
#define TRANSFER_RANGE_LEN    (4u << 20)
#define TRANSFER_PARALLEL     8u

typedef struct transfer_options {
    /* default TRANSFER_RANGE_LEN; a multiple of SHARDY_CHUNK_LEN, at most 1 GiB */
    uint32_t range_len;
    /* default TRANSFER_PARALLEL: ranges at once, at most 64; each has range_len bytes of memory,
     * unless all of it is there (`dest`) */
    uint32_t parallel;
    /* default UINT64_MAX: what the store says; else CHECKSUM when the object is not as long */
    uint64_t size;
    const char *if_match; /* default NULL: the version that the first range had */
    /* default NULL; digests of its 64 KiB chunks, for which `size` is needed */
    const sha256 *sums;
    /* default NULL; memory for `size` bytes, which is written to in place of the file */
    void *dest;
    /* default NULL; a read of the first range_len bytes of the object that is done, with its body:
     * they are not asked for again, the others are of the same version. Borrowed */
    const shardy_store_read *first;
    int64_t deadline_ns; /* default 0: none */
    const shardy_cancel *cancel;
    /* Called by the thread that waits, after each range; anything but 0 cancels. May be NULL. */
    int32_t (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
} transfer_options;

void shardy__transfer_options_init(transfer_options *options);

/* Writes the object to `fd`, which is empty and stays the caller's (with `dest`: -1), and waits.
 * Every byte is of one version; with `sums` none is written to a file that differs from its digest,
 * and none is in memory after OK: a range with such a byte is asked for once more, then CHECKSUM.
 * After a failure file and memory hold nothing that could be used. The metadata of the object go to
 * *meta_out (may be NULL).
 * Statuses: OK, NOT_FOUND; GONE (the object was removed meanwhile), CONFLICT (it was changed, or is
 * not of version if_match), CHECKSUM, INVALID (options); TIMEOUT, CANCELLED, NO_SPACE, IO,
 * NOMEM. */
shardy_status shardy__transfer_download(shardy_store *store, const char *key, int fd,
    const transfer_options *options, shardy_object_meta *meta_out, shardy_error *err);

/* The rest of an object whose first `options->range_len` bytes `first` has read, into memory:
 * first->body is all of it then. Of the options `dest`, `first` and `size` are filled in.
 * Statuses: as above, but for NOT_FOUND. */
shardy_status shardy__transfer_rest(shardy_store *store, const char *key, shardy_store_read *first,
    const transfer_options *options, shardy_error *err);

#endif
