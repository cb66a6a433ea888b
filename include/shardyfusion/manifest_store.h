/* manifest_store.h: where the manifests and the pointer of a data set are.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_MANIFEST_STORE_H
#define SHARDYFUSION_MANIFEST_STORE_H

#include <shardyfusion/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shardy_manifest_store_kind {
    SHARDY_MANIFEST_OBJECTS = 0,  /* objects beside the shards */
    SHARDY_MANIFEST_POSTGRES = 1, /* tables of a database; shards stay objects */
    SHARDY_MANIFEST_RESERVED_ = 32767
} shardy_manifest_store_kind;

typedef struct shardy_manifest_store_options {
    size_t struct_size;
    int32_t kind; /* default SHARDY_MANIFEST_OBJECTS, which has none of the options below */
    /* default 1: tables that are missing are created by the first publish, and count as empty
     * before; 0: they must be there */
    int32_t ensure_table;
    /* default NULL, an error: connection string of libpq, "host=... dbname=..." or
     * "postgresql://user@host/dbname"; shown nowhere. What it does not say comes from libpq's own
     * environment (PGHOST, PGPASSFILE, ...) */
    const char *dsn;
    /* default "shardyfusion_manifests": "[schema.]name", each of A-Z a-z 0-9 _ and at most 48
     * bytes; capitals count as small letters */
    const char *table_name;
    const char *pointer_table_name; /* default "shardyfusion_pointer": the same */
} shardy_manifest_store_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_manifest_store_options_init(
    shardy_manifest_store_options *options, size_t struct_size);

#ifdef __cplusplus
}
#endif
#endif
