#include "router.h"

#include "../base/bytes.h"

#include <shardyfusion/limits.h>

#include <string.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wundef"
#include <xxhash.h>
#pragma GCC diagnostic pop

const char *shardy_sharding_strategy_name(int32_t strategy)
{
    return strategy == SHARDY_SHARDING_HASH  ? "hash"
           : strategy == SHARDY_SHARDING_CEL ? "cel"
                                             : "unknown";
}

shardy_status shardy__hash_key(const shardy_key *key, uint64_t *hash_out, shardy_error *err)
{
    uint8_t canonical[8];
    const void *data = key->bytes.data;
    size_t len = key->bytes.len;
    *hash_out = 0;
    if (key->type == SHARDY_KEY_INT) {
        shardy__put_le64(canonical, (uint64_t)key->i);
        data = canonical;
        len = sizeof canonical;
    } else if (key->type != SHARDY_KEY_TEXT && key->type != SHARDY_KEY_BYTES) {
        char text[SHARDY_KEY_TEXT_SIZE];
        return shardy__error(err, SHARDY_INVALID, "route",
            "key %s cannot be routed by hash: integers go up to 2^63-1",
            shardy__key_text(key, text));
    }
    *hash_out = XXH3_64bits(data, len);
    return SHARDY_OK;
}

shardy_status shardy_hash_route(
    const shardy_key *key, uint32_t num_dbs, uint32_t *db_id_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(key && db_id_out);
    *db_id_out = 0;
    if (num_dbs == 0) {
        return shardy__error(err, SHARDY_INVALID, "route", "num_dbs is 0, expected 1 or more");
    }
    uint64_t hash;
    SHARDY_TRY(shardy__hash_key(key, &hash, err));
    *db_id_out = (uint32_t)(hash % num_dbs);
    return SHARDY_OK;
}

shardy_status shardy__router_route(const router *r, const shardy_key *key,
    const shardy_column *context, size_t context_count, routed_key *out, shardy_error *err)
{
    out->db_id = 0;
    if (r->strategy != SHARDY_SHARDING_HASH) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "route",
            "this version cannot route in a snapshot with %s sharding",
            shardy_sharding_strategy_name(r->strategy));
    }
    if (context && context_count > 0) {
        return shardy__error(err, SHARDY_ROUTE, "route",
            "a routing context (\"%.64s\") was given, but this snapshot routes by the hash of the "
            "key",
            context[0].name);
    }
    shardy_key integer;
    const shardy_key *routing = key;
    if (key->type == SHARDY_KEY_BYTES && shardy__key_is_integer(r->key_encoding)) {
        SHARDY_TRY(shardy__key_for_routing(key, r->key_encoding, &integer, err));
        routing = &integer;
    }
    SHARDY_TRY(shardy__key_encode(key, r->key_encoding, &out->stored, err));
    uint64_t hash;
    SHARDY_TRY(shardy__hash_key(routing, &hash, err));
    out->db_id = (uint32_t)(hash % r->num_dbs);
    return SHARDY_OK;
}
