/* sharding.h: how rows are spread over shards.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SHARDING_H
#define SHARDYFUSION_SHARDING_H

#include <shardyfusion/record.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shardy_sharding_strategy {
    SHARDY_SHARDING_HASH = 1, /* XXH3_64 of the typed key, modulo the number of shards */
    SHARDY_SHARDING_CEL = 2,  /* a CEL expression; read by later versions */
    SHARDY_SHARDING_STRATEGY_RESERVED_ = 32767
} shardy_sharding_strategy;

/* "hash", "cel"; "unknown" for other values. Never NULL. */
SHARDY_API const char *shardy_sharding_strategy_name(int32_t strategy);

/* The shard of a key under hash sharding: XXH3_64 (seed 0) of the canonical bytes of the key (int:
 * 8 bytes, little-endian, two's complement; text: its UTF-8; bytes: themselves) modulo num_dbs.
 * Statuses: OK; INVALID (num_dbs 0, an unsigned key of 2^63 or more, unknown type).
 * Threads: any thread, any time. */
SHARDY_API shardy_status shardy_hash_route(const shardy_key *key, uint32_t num_dbs,
    uint32_t *db_id_out, shardy_error *err) SHARDY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
