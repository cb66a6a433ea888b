/* shard_object.h: an object of a shard, with the digest that the snapshot promised for it. */
#ifndef SHARDY_ENGINE_SHARD_OBJECT_H
#define SHARDY_ENGINE_SHARD_OBJECT_H

#include "../sqlitefile/page_remote.h"
#include "../sqlitefile/page_source.h"

#include <shardyfusion/sys/engine.h>

/* Opens the object `name` below the path of the shard. `io` is a page_io.
 * Statuses: OK; GONE (there is no such object); CORRUPT (it should have a digest and has none);
 * INVALID (the path is too long); those of shardy__page_source_open_object().
 * Ownership: yours, close it. */
shardy_status shardy__shard_object_open(const shardy_engine_reader_spec *spec, const char *name,
    int32_t io, page_source **source_out, shardy_error *err);

/* What reading an object of a shard takes: opening it, and one page more. Nothing for local
 * files. */
typedef struct shard_cost {
    page_cost open;
    page_cost page;
    uint64_t sidecar_bytes; /* 0: not known */
    int32_t sidecar;        /* 1: its index is read instead of the tree */
} shard_cost;

/* Predicts it from the digests of the spec; nothing is read. Statuses: OK, CORRUPT, INVALID as
 * above. */
shardy_status shardy__shard_object_cost(
    const shardy_engine_reader_spec *spec, const char *name, shard_cost *out, shardy_error *err);

#endif
