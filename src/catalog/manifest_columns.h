/* manifest_columns.h: a manifest as columns of tables in Postgres, both ways. */
#ifndef SHARDY_CATALOG_MANIFEST_COLUMNS_H
#define SHARDY_CATALOG_MANIFEST_COLUMNS_H

#include "../base/bytebuf.h"
#include "../manifest/manifest.h"
#include "postgres.h"

/* Columns of a build row, as parameters: run_id, created_at, num_dbs, s3_prefix, key_col,
 * db_path_template, shard_prefix, key_encoding, sharding, custom; then all shard rows as one JSON
 * array, and the image. */
#define MANIFEST_PARAMS 12u

typedef struct manifest_columns {
    postgres_param params[MANIFEST_PARAMS];
    char created[SHARDY_TIME_TEXT_SIZE];
    char num_dbs[16];
    bytebuf shards;
} manifest_columns;

/* Borrows from `m` and `image`. Text bounds become NULL: the reference fails on them there. Free
 * it. Statuses: OK, INVALID (too large), NOMEM. */
shardy_status shardy__manifest_columns_make(
    const manifest *m, shardy_bytes image, manifest_columns *out, shardy_error *err);
void shardy__manifest_columns_free(manifest_columns *c);

/* What a query for one manifest has to answer, all text but the image: first a row with '0',
 * run_id, created_at, num_dbs, s3_prefix, key_col, db_path_template, shard_prefix, key_encoding,
 * sharding, custom, image; then for each shard, by db_id, '1', db_id, db_url, attempt, row_count,
 * db_bytes, checkpoint_id, min_key, max_key, writer_info. */
#define MANIFEST_IMAGE_COLUMN 11

/* The image of a manifest from such rows: the one that was published, once the rows say the same as
 * it does, or one that is made of the rows (written by the reference).
 * Statuses: OK; NOT_FOUND (the first row is not that of a build); CHECKSUM (rows and image differ);
 * CORRUPT (the image; shards that are not in order), NOMEM. Ownership: release *image_out. */
shardy_status shardy__manifest_columns_image(
    const postgres_rows *rows, shardy_buf *image_out, shardy_error *err);

#endif
