/* router.h: from a key to its shard. */
#ifndef SHARDY_ROUTE_ROUTER_H
#define SHARDY_ROUTE_ROUTER_H

#include "key.h"

#include <shardyfusion/sharding.h>

/* What routing needs to know about a snapshot. Immutable, copied by value. */
typedef struct router {
    int32_t strategy; /* shardy_sharding_strategy */
    int32_t key_encoding;
    uint32_t num_dbs;
} router;

/* A key, routed and in its stored form. */
typedef struct routed_key {
    uint32_t db_id;
    encoded_key stored;
} routed_key;

/* The hash that routes a key: XXH3_64 of its canonical bytes. INVALID for unsigned keys of 2^63 or
 * more. */
shardy_status shardy__hash_key(const shardy_key *key, uint64_t *hash_out, shardy_error *err);

/* Routes and encodes. `context` is the routing context of the call (may be NULL).
 * Statuses: OK; INVALID (the key does not fit the encoding); ROUTE (a routing context for a hash
 * snapshot); UNSUPPORTED (a strategy that this version cannot evaluate). */
shardy_status shardy__router_route(const router *r, const shardy_key *key,
    const shardy_column *context, size_t context_count, routed_key *out, shardy_error *err);

#endif
