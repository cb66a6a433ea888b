/* file_cache.h: objects of stores as local files, shared by all processes of a user.
 *
 * What is where:
 *   <dir>/shardyfusion-1/                 0700, of this user
 *   <dir>/shardyfusion-1/lock             held while files are counted and removed
 *   <dir>/shardyfusion-1/files/<64 hex>   an entry (cache_entry.h), never changed
 *   <dir>/shardyfusion-1/fill/<64 hex>    an entry that is being filled; who does it holds its lock
 *
 * The name of an entry says what is in it, wherever it came from:
 *   an object with a digest   the digest. Two objects with one name are the same bytes.
 *   one without               SHA-256 of the place of the store, the key, the ETag and the size. So
 *                             it is as good as the promise of the server that what it overwrites
 *                             gets another ETag or another size: a server that gives one strong
 *                             ETag to two contents of the same length and key serves either of them
 *                             to those who ask with If-Match as well. Weak ETags ("W/...") promise
 *                             less than that, such objects are not kept.
 *
 * No byte of an entry is believed because it is there. The list of digests in it must have the
 * digest that the manifest promises (for objects without one: that of its own tail, which was
 * computed when it was filled); whoever reads the bytes checks them against the list.
 *
 * Filling. The file gets its full length first, then the bytes, then its name, by one rename: so a
 * process that is killed leaves a file in fill/ whose lock is free. The next one who wants that
 * entry takes it over and begins anew; any other removes it when he looks for room.
 *
 * Room. The lengths of all files in files/ and fill/ are what the budget bounds; a file that is
 * being filled counts in full from its beginning. Entries go by the time they were last opened.
 * A reader keeps what he has open: a removed file stays on the disk until the last mapping of it is
 * gone, but is counted no more, so the disk holds the budget and what readers have open at most.
 *
 * What is wrong with the local disk fails no read: shardy__file_cache_get() answers DONE, and the
 * caller reads the object without the cache. */
#ifndef SHARDY_STORE_FILE_CACHE_H
#define SHARDY_STORE_FILE_CACHE_H

#include "store.h"

#include "../base/digest.h"

typedef struct file_cache file_cache;

/* Opens the cache below a directory; both are made when they are missing.
 * Statuses: OK; INVALID (no directory, or a symbolic link where the cache should be), AUTH (it is
 * somebody else's, or open to others), NO_SPACE, EXHAUSTED, IO, NOMEM. Ownership: yours, close it.
 * Threads: any, also for all that follows. */
shardy_status shardy__file_cache_open(shardy_context *context, const char *dir, uint64_t budget,
    file_cache **cache_out, shardy_error *err);
void shardy__file_cache_close(file_cache *cache); /* NULL is fine */

typedef struct file_cache_request {
    shardy_store *store;
    const char *key;
    uint64_t size;        /* of the object */
    const sha256 *digest; /* NULL: the next says which version it is */
    const char *etag;     /* without a digest */
    /* With a digest: reads the first TRANSFER_RANGE_LEN bytes of the object, or all of it, and at
     * once the list of its chunk digests, checked against the digest; an empty one when there is
     * none, then the object is hashed as a whole. The bodies are the caller's. NOT_FOUND: there is
     * no such object. NULL: only the object is read. */
    shardy_status (*load_begin)(
        void *user, shardy_store_read *first_out, shardy_buf *sums_out, shardy_error *err);
    void *user;
    int64_t deadline_ns;
    const shardy_cancel *cancel;
    /* 1: every byte of an entry that is there is read and checked first */
    int32_t check_all;
} file_cache_request;

typedef struct cached_file {
    shardy_local_file file; /* the object is what comes first in it */
    sha256 *sums;           /* free with shardy__free() */
    size_t sum_count;
} cached_file;

/* The file of an object: it is there, or is downloaded now, or somebody else does so and is waited
 * for as long as he gets on.
 * Statuses: OK; DONE (not by the cache: not there and larger than the budget, no strong ETag, no
 * place, a local failure, somebody who does not get on); NOT_FOUND (no such object); those of
 * shardy__transfer_download() and load_begin. Ownership of *file_out: the caller closes the file
 * and frees the sums. */
shardy_status shardy__file_cache_get(
    file_cache *cache, const file_cache_request *request, cached_file *file_out, shardy_error *err);

/* Whether there is an entry for an object with this digest and size. It is not opened: it may be
 * damaged, or gone by the time it is. */
int shardy__file_cache_has(const file_cache *cache, const sha256 *digest, uint64_t size);

#endif
