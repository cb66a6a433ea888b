/* manifest.h: the model of a manifest, and its image: a SQLite database of format version 4
 * (formats.md, section 3) with one table more, `shardy_objects`, that holds the digest of every
 * object. */
#ifndef SHARDY_MANIFEST_MANIFEST_H
#define SHARDY_MANIFEST_MANIFEST_H

#include "../base/arena.h"
#include "../base/digest.h"
#include "../base/error.h"
#include "../sqlitefile/record.h"
#include "custom.h"

#include <shardyfusion/key.h>
#include <shardyfusion/sharding.h>
#include <shardyfusion/sys/engine.h>

#define SHARDY_MANIFEST_FORMAT_VERSION 4
#define SHARDY_MANIFEST_CONTENT_TYPE   "application/x-sqlite3"

/* One row of `shards`: a shard that holds rows. */
typedef struct manifest_shard {
    uint32_t db_id;
    uint32_t attempt;
    uint64_t row_count;
    uint64_t db_bytes;
    const char *db_url; /* as recorded; NULL: the shard is empty */
    const char *checkpoint_id;
    int32_t has_min_key;
    int32_t has_max_key;
    shardy_key min_key; /* int, uint or text */
    shardy_key max_key;
    int64_t duration_ms;
} manifest_shard;

/* Strings and arrays live in the arena. */
typedef struct manifest {
    arena arena;
    const char *run_id;
    const char *created_at;
    int64_t created_us;
    const char *s3_prefix; /* as recorded, a trailing slash kept */
    const char *key_col;
    const char *db_path_template;
    const char *shard_prefix;
    const char *cel_expr; /* NULL under hash sharding */
    const char *sharding; /* JSON as the reference writes it; NULL: hash sharding */
    uint32_t num_dbs;
    int32_t strategy;
    int32_t key_encoding;
    const char *custom;     /* JSON object, compact, keys sorted */
    manifest_custom parsed; /* what of it concerns us */
    manifest_shard *shards; /* ascending db_id */
    uint32_t shard_count;
    int32_t has_objects;           /* 1: the table of digests is there */
    shardy_object_digest *objects; /* rows of `shardy_objects`, ascending path */
    size_t object_count;
} manifest;

/* Reads and validates an image (all rules of formats.md 3.6). The image is not kept.
 * Statuses: OK; CORRUPT (with what is wrong and where); FORMAT_VERSION; NOMEM. Ownership: free
 * *out. */
shardy_status shardy__manifest_parse(shardy_bytes image, manifest **out, shardy_error *err);

/* The image of a manifest; the same model gives the same bytes. Ownership: release *image_out. */
shardy_status shardy__manifest_render(const manifest *m, shardy_buf *image_out, shardy_error *err);

/* A manifest as rows of its two tables, values as they were found: nothing of them is checked. */
#define MANIFEST_BUILD_COLUMNS 11u
#define MANIFEST_SHARD_COLUMNS 9u
typedef struct manifest_rows {
    /* run_id, created_at, num_dbs, s3_prefix, key_col, sharding, db_path_template, shard_prefix,
     * format_version, key_encoding, custom */
    record_value build[MANIFEST_BUILD_COLUMNS];
    size_t shard_count;
    const int64_t *db_ids; /* ascending */
    /* NULL for db_id, db_url, attempt, row_count, db_bytes, min_key, max_key, checkpoint_id,
     * writer_info */
    const record_value (*shards)[MANIFEST_SHARD_COLUMNS];
} manifest_rows;

/* The image of such rows, for shardy__manifest_parse() to check. The same rows give the same bytes:
 * digests of them are recorded in fates, so the layout must never change (golden test). Ownership:
 * release *image_out. */
shardy_status shardy__manifest_render_rows(
    const manifest_rows *rows, shardy_buf *image_out, shardy_error *err);

/* The JSON of `sharding`, as the reference writes it. */
const char *shardy__manifest_sharding(const manifest *m);
/* The JSON of `writer_info`, appended. */
void shardy__manifest_writer_info(const manifest_shard *shard, bytebuf *out);

/* An empty model, for building one. */
shardy_status shardy__manifest_new(manifest **out, shardy_error *err);
void shardy__manifest_free(manifest *m); /* NULL is fine */

/* The row of a shard, NULL when it is empty. */
const manifest_shard *shardy__manifest_shard(const manifest *m, uint32_t db_id);
/* The digest of an object, NULL when none is recorded. */
const shardy_object_digest *shardy__manifest_object(const manifest *m, const char *path);
uint64_t shardy__manifest_row_count(const manifest *m);

/* Checks that every URL lies under the recorded prefix. CORRUPT naming the first that does not. A
 * reader opens shards by these relative paths only, so that nothing outside its root is touched. */
shardy_status shardy__manifest_check_urls(const manifest *m, shardy_error *err);
/* Path of a shard relative to the root, into `path_out` (room for SHARDY_OBJECT_KEY_LEN_MAX + 1).
 * CORRUPT as above. */
shardy_status shardy__manifest_shard_path(
    const manifest *m, const manifest_shard *shard, char *path_out, shardy_error *err);

#endif
