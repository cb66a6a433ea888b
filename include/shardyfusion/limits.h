/* limits.h: every bound that a user or a file can meet, with its reason. Exceeding one is a clear
 * error (INVALID for arguments, CORRUPT for data), never a crash.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_LIMITS_H
#define SHARDYFUSION_LIMITS_H

/* Keys of SQLite shards: nothing in the format limits them; this bound keeps a row within the
 * memory of every reader. */
#define SHARDY_KEY_LEN_MAX (1u << 20)
/* Values and payloads: SQLite's own default limit of a row (SQLITE_MAX_LENGTH, 10^9) less room for
 * the key. */
#define SHARDY_VALUE_LEN_MAX 997000000u
/* Vector dimension and hits: the limits of sqlite-vec 0.1.9, so that the reference can search as
 * well. */
#define SHARDY_DIM_MAX   8192u
#define SHARDY_TOP_K_MAX 4096u
/* Queries in one search call: bounds the memory of the candidate heaps. */
#define SHARDY_QUERIES_MAX 65536u
/* Keys in one multi_get: bounds the memory of the look-ups. */
#define SHARDY_MULTI_GET_MAX (1u << 24)
/* Shards of one snapshot: the goal set for routing tables. */
#define SHARDY_NUM_DBS_MAX (1u << 20)
/* One path segment that we write: the limit of every common file system, less room for suffixes. */
#define SHARDY_RUN_ID_LEN_MAX 128u
/* Object keys: S3's own limit. */
#define SHARDY_OBJECT_KEY_LEN_MAX 1024u
#define SHARDY_URL_LEN_MAX        2048u
/* Entries of one page of a listing: bounds its memory. */
#define SHARDY_LIST_LIMIT_MAX 10000u
/* Objects of a directory whose version (SHA-256 of the content) is told: what is replaced under a
 * condition is small, and telling must not cost more than reading. */
#define SHARDY_FS_ETAG_LEN_MAX (1u << 20)
/* Objects that are read whole before they are checked. */
#define SHARDY_CURRENT_LEN_MAX    (64u << 10)
#define SHARDY_FATE_LEN_MAX       (64u << 10)
#define SHARDY_RUN_RECORD_LEN_MAX (64u << 10)
#define SHARDY_MANIFEST_LEN_MAX   (1u << 30)
#define SHARDY_CUSTOM_LEN_MAX     (16u << 20)
/* Memory that the sidecar of one shard may take, while it is read: that of a shard of some 4 GB of
 * small rows. Larger ones are neither written nor used. */
#define SHARDY_SIDECAR_LEN_MAX (256u << 20)
/* Nesting of JSON and YAML: deep enough for data, shallow enough for a fixed stack. */
#define SHARDY_JSON_DEPTH_MAX 64u
#define SHARDY_YAML_DEPTH_MAX 4u
/* A YAML document read into memory as a whole: some hundred bytes for each node. */
#define SHARDY_YAML_LEN_MAX   (4u << 20)
#define SHARDY_YAML_NODES_MAX (1u << 20)
/* Names of one mapping: the look for repeated ones is linear. A run record has 13. */
#define SHARDY_YAML_NAMES_MAX 256u
/* A JSON document read into memory as a whole: it takes up to about 100 times its length
 * there. */
#define SHARDY_JSON_LEN_MAX (256u << 20)
/* One line of a JSONL or one record of a CSV input. */
#define SHARDY_INPUT_ROW_LEN_MAX (1u << 30)
/* Typed columns of one row. */
#define SHARDY_COLUMNS_MAX 1024u
/* Memory budget of a build: below this, sorting degenerates into tiny runs. */
#define SHARDY_MEMORY_BUDGET_MIN (32ull << 20)
/* Attempts of one shard before a build gives up: attempt directories have two digits by habit. */
#define SHARDY_ATTEMPTS_MAX 100u
/* Worker threads of one context. */
#define SHARDY_THREADS_MAX 256u
/* Requests of one store at once, each on a connection of its own: a batch of a thousand keys all
 * over a large shard needs some 200, more only wait in each other's way. */
#define SHARDY_CONNECTIONS_MAX 256u
/* Cache of a reader for shards that are read by ranges: a few chunks of 64 KiB, so that a look-up
 * does not drop what it has just read. */
#define SHARDY_PAGE_CACHE_BYTES_MIN (1u << 20)
/* Files that a reader keeps of shards that it downloads: room for a few small shards. */
#define SHARDY_FILE_CACHE_BYTES_MIN (1u << 20)
/* Manifests looked at by history and by fallback. */
#define SHARDY_HISTORY_LIMIT_MAX 100000u

#endif
