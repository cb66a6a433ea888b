/* custom.h: the `custom` object of a manifest: user fields, and ours (formats.md, section 9). */
#ifndef SHARDY_MANIFEST_CUSTOM_H
#define SHARDY_MANIFEST_CUSTOM_H

#include "../base/bytebuf.h"
#include "../base/error.h"

#include <stdint.h>

/* What readers need from it. */
typedef struct manifest_custom {
    int32_t has_vector; /* custom["vector"] is there */
    int32_t unified;    /* key-value records and vectors are in one snapshot */
    uint32_t dim;
    int32_t metric;      /* shardy_vector_metric */
    char backend[32];    /* "sqlite-vec", "lancedb"; "" when it is not recorded */
    char kv_backend[32]; /* "sqlite", "sqlite-vec", "slatedb"; "" when it is not recorded */
    char engine[32];     /* custom["shardyfusion"]["engine"]; "" in snapshots of the reference */
    int32_t has_sidecar; /* custom["sqlite_sidecar"] is there */
    uint32_t sidecar_page_size; /* only when it is written; 0: "auto" */
} manifest_custom;

/* Reads the text of `custom`; *canonical_out gets it compact with sorted keys (release it). NULL or
 * empty text is an empty object. CORRUPT when it is not an object, or `vector` or `shardyfusion` in
 * it have missing keys, wrong types or values; FORMAT_VERSION when `shardyfusion.version` is not 1;
 * NOMEM. */
shardy_status shardy__custom_parse(
    shardy_bytes text, manifest_custom *out, shardy_buf *canonical_out, shardy_error *err);

/* Checks user fields: a JSON object without the names vector, sqlite_sidecar, shardyfusion. INVALID
 * otherwise. NULL is an empty object. */
shardy_status shardy__custom_check_user(const char *user, shardy_error *err);

/* The text to write: user fields (may be NULL), `shardyfusion` and, with has_vector, `vector`, with
 * has_sidecar `sqlite_sidecar`. Sorted as the reference writes it. */
shardy_status shardy__custom_render(
    const char *user, const manifest_custom *custom, bytebuf *out, shardy_error *err);

#endif
