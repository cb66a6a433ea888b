/* cache_entry.h: what a file of the cache looks like.
 *
 *   the bytes of the object
 *   SHA-256 of each of its 64 KiB chunks, 32 bytes each
 *   a tail of CACHE_TAIL_LEN bytes, little-endian:
 *     0   24  "shardyfusion cache 1", filled up with zeros
 *     24   8  size of the object
 *     32  32  name of the entry
 *     64  32  digest of the object: SHA-256 of the chunks' digests
 *
 * One file, so that one rename makes it, and nothing about it is said elsewhere. */
#ifndef SHARDY_STORE_CACHE_ENTRY_H
#define SHARDY_STORE_CACHE_ENTRY_H

#include "../base/digest.h"

#define CACHE_TAIL_LEN 96u

typedef struct cache_tail {
    uint64_t size;
    sha256 name;
    sha256 digest;
} cache_tail;

void shardy__cache_tail_write(const cache_tail *tail, uint8_t out[CACHE_TAIL_LEN]);
/* False when it is none, or not the tail of a file of so many bytes. */
int shardy__cache_tail_parse(
    const uint8_t bytes[CACHE_TAIL_LEN], uint64_t file_size, cache_tail *tail_out);

/* Length of the file for an object of a size. False when there is no such length. */
int shardy__cache_entry_len(uint64_t size, uint64_t *len_out);

#endif
