/* hint.h: what a pointer says about the snapshot that it names, so that a reader can ask for the
 * manifest and for the index of a shard at the same time.
 *
 * A hint is a guess. All that is read by it is checked against the manifest afterwards, as if it
 * had been asked for then; a wrong hint costs requests and nothing else. */
#ifndef SHARDY_CATALOG_HINT_H
#define SHARDY_CATALOG_HINT_H

#include <shardyfusion/key.h>
#include <shardyfusion/limits.h>

#include <stdint.h>

struct manifest;

typedef struct pointer_hint {
    uint32_t num_dbs; /* 0: there is no hint */
    int32_t key_encoding;
    uint64_t shard_bytes; /* of the largest shard.db */
    uint64_t total_bytes; /* of all of them */
    /* of a shard, relative to the root, with {db_id} or {db_id:0Nd} in it */
    char shard_path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
} pointer_hint;

/* The hint for a manifest: empty unless keys are routed by their hash, shards have sidecars, and
 * all shards are the first attempts of its own run. */
void shardy__hint_make(const struct manifest *m, pointer_hint *out);

/* 1 and the path of the shard that the key belongs to; 0 when the hint cannot tell. A text of
 * digits stands for the number where keys are numbers. */
int shardy__hint_shard(
    const pointer_hint *hint, const shardy_key *key, char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1]);

#endif
