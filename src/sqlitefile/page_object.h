/* page_object.h: the digests of an object of a store, for the two ways to read one. */
#ifndef SHARDY_SQLITEFILE_PAGE_OBJECT_H
#define SHARDY_SQLITEFILE_PAGE_OBJECT_H

#include "page_source.h"

#include <shardyfusion/limits.h>

/* Name of the list of chunk digests beside an object. 0: too long, so there is none. */
typedef struct sums_name {
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 8];
} sums_name;
int shardy__sums_name(const char *key, sums_name *name_out);

/* CHECKSUM when the list is not the one with that digest, for an object of `size` bytes. */
shardy_status shardy__sums_check(const sums_name *name, shardy_bytes list, uint64_t size,
    const sha256 *expected, shardy_error *err);

/* CHECKSUM, CORRUPT: the size of an object is not what the options say. */
shardy_status shardy__object_check_size(
    const char *key, uint64_t size, const page_source_options *options, shardy_error *err);

/* Hashes the bytes of an object, and keeps the digests of its chunks. CHECKSUM when it is not the
 * expected one. */
shardy_status shardy__object_hash_bytes(const char *key, shardy_bytes bytes, const sha256 *expected,
    chunk_digest *digests, shardy_error *err);
/* The same for an object that is not in memory, piece by piece. GONE when it is removed
 * meanwhile. */
shardy_status shardy__object_hash_whole(shardy_store *store, const char *key, uint64_t size,
    const page_source_options *options, chunk_digest *digests, shardy_error *err);

#endif
