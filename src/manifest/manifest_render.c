#include "manifest.h"

#include "../base/alloc.h"
#include "../base/json.h"
#include "../sqlitefile/btree_write.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* The declarations of the reference (formats.md 3.1), and our table of digests. */
static const char build_sql[] =
    "CREATE TABLE build_meta (run_id TEXT NOT NULL, created_at TEXT NOT NULL, "
    "num_dbs INTEGER NOT NULL, s3_prefix TEXT NOT NULL, key_col TEXT NOT NULL, "
    "sharding TEXT NOT NULL, db_path_template TEXT NOT NULL, shard_prefix TEXT NOT NULL, "
    "format_version INTEGER NOT NULL, key_encoding TEXT NOT NULL, "
    "custom TEXT NOT NULL DEFAULT '{}')";
static const char shards_sql[] =
    "CREATE TABLE shards (db_id INTEGER NOT NULL PRIMARY KEY, db_url TEXT, "
    "attempt INTEGER NOT NULL, row_count INTEGER NOT NULL, db_bytes INTEGER NOT NULL, "
    "min_key TEXT, max_key TEXT, checkpoint_id TEXT, writer_info TEXT NOT NULL DEFAULT '{}')";
static const char objects_sql[] =
    "CREATE TABLE shardy_objects (path TEXT PRIMARY KEY, size INTEGER NOT NULL, "
    "chunk_bytes INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID";

enum {
    TABLE_BUILD,
    TABLE_SHARDS,
    TABLE_OBJECTS,
    TABLE_COUNT
};

static record_value text_or_null(const char *text)
{
    return text ? shardy__record_text(text, strlen(text)) : shardy__record_null();
}

const char *shardy__manifest_sharding(const manifest *m)
{
    /* the five keys are always there */
    static const char hash_sharding[] =
        "{\"cel_columns\": null, \"cel_expr\": null, \"hash_algorithm\": \"xxh3_64\", "
        "\"routing_values\": null, \"strategy\": \"hash\"}";
    return m->sharding ? m->sharding : hash_sharding;
}

void shardy__manifest_writer_info(const manifest_shard *shard, bytebuf *out)
{
    shardy__bytebuf_printf(out,
        "{\"attempt\": %u, \"duration_ms\": %lld, \"stage_id\": null, \"task_attempt_id\": null}",
        shard->attempt, (long long)shard->duration_ms);
}

static shardy_status put_build(btree_writer *w, const manifest *m, shardy_error *err)
{
    record_value row[] = {
        text_or_null(m->run_id),
        text_or_null(m->created_at),
        shardy__record_int(m->num_dbs),
        text_or_null(m->s3_prefix),
        text_or_null(m->key_col),
        text_or_null(shardy__manifest_sharding(m)),
        text_or_null(m->db_path_template),
        text_or_null(m->shard_prefix),
        shardy__record_int(SHARDY_MANIFEST_FORMAT_VERSION),
        text_or_null(shardy_key_encoding_name(m->key_encoding)),
        text_or_null(m->custom),
    };
    return shardy__btree_put_row(w, TABLE_BUILD, 1, row, sizeof row / sizeof row[0], err);
}

/* JSON of a bound, appended to `out` behind a zero byte of its own; NULL when there is none. The
 * position is returned because the buffer may move. */
static void render_bound(bytebuf *out, int32_t has, const shardy_key *key)
{
    if (has) {
        json_writer w;
        shardy__json_writer_init(&w, out, JSON_PYTHON);
        if (key->type == SHARDY_KEY_INT) {
            shardy__json_int(&w, key->i);
        } else if (key->type == SHARDY_KEY_UINT) {
            shardy__json_uint(&w, key->u);
        } else {
            shardy__json_string_bytes(&w, key->bytes);
        }
        shardy_status st = shardy__json_writer_finish(&w, "manifest", NULL);
        if (st < 0 && out->status >= 0) {
            out->status = st;
        }
        shardy__json_writer_free(&w);
    }
}

static shardy_status put_shard(
    btree_writer *w, const manifest_shard *shard, bytebuf *text, shardy_error *err)
{
    shardy__bytebuf_clear(text);
    shardy__manifest_writer_info(shard, text);
    size_t info_len = text->len;
    render_bound(text, shard->has_min_key, &shard->min_key);
    size_t min_len = text->len - info_len;
    render_bound(text, shard->has_max_key, &shard->max_key);
    size_t max_len = text->len - info_len - min_len;
    SHARDY_TRY(shardy__bytebuf_check(text, "manifest", err));
    record_value row[] = {
        shardy__record_null(), /* db_id is the rowid */
        text_or_null(shard->db_url),
        shardy__record_int(shard->attempt),
        shardy__record_int((int64_t)shard->row_count),
        shardy__record_int((int64_t)shard->db_bytes),
        shard->has_min_key ? shardy__record_text(text->data + info_len, min_len)
                           : shardy__record_null(),
        shard->has_max_key ? shardy__record_text(text->data + info_len + min_len, max_len)
                           : shardy__record_null(),
        text_or_null(shard->checkpoint_id),
        shardy__record_text(text->data, info_len),
    };
    return shardy__btree_put_row(
        w, TABLE_SHARDS, shard->db_id, row, sizeof row / sizeof row[0], err);
}

static shardy_status put_rows(btree_writer *w, const manifest *m, shardy_error *err)
{
    SHARDY_TRY(put_build(w, m, err));
    bytebuf text;
    shardy__bytebuf_init(&text, (size_t)SHARDY_KEY_LEN_MAX * 16);
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < m->shard_count; i++) {
        st = put_shard(w, &m->shards[i], &text, err);
    }
    shardy__bytebuf_free(&text);
    for (size_t i = 0; st >= 0 && i < m->object_count; i++) {
        const shardy_object_digest *o = &m->objects[i];
        record_value row[] = {
            text_or_null(o->path),
            shardy__record_int((int64_t)o->size),
            shardy__record_int(SHARDY_CHUNK_LEN),
            shardy__record_blob(o->sha256, SHARDY_SHA256_LEN),
        };
        st = shardy__btree_put_record(w, TABLE_OBJECTS, row, sizeof row / sizeof row[0], err);
    }
    return st;
}

/* Collects the pages in memory; the head comes last and goes to the front. */
static shardy_status image_write(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    bytebuf *image = user;
    shardy__bytebuf_write(image, offset, data, len);
    return shardy__bytebuf_check(image, "manifest", err);
}

/* What puts the rows of an image. */
typedef shardy_status (*put_fn)(btree_writer *w, const void *what, shardy_error *err);

static shardy_status render(
    size_t tables, put_fn put, const void *what, shardy_buf *image_out, shardy_error *err)
{
    memset(image_out, 0, sizeof *image_out);
    btree_object objects[TABLE_COUNT] = {
        {BTREE_OBJECT_TABLE, "build_meta", NULL, build_sql, 0},
        {BTREE_OBJECT_TABLE, "shards", NULL, shards_sql, 0},
        {BTREE_OBJECT_WITHOUT_ROWID, "shardy_objects", NULL, objects_sql, 1},
    };
    bytebuf image;
    shardy__bytebuf_init(&image, SHARDY_MANIFEST_LEN_MAX);
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    options.digests = 0;
    options.sink.write = image_write;
    options.sink.user = &image;
    options.objects = objects;
    options.object_count = tables;
    btree_writer *w = NULL;
    shardy_status st = shardy__btree_writer_open(&options, &w, err);
    if (st >= 0) {
        st = put(w, what, err);
    }
    if (st >= 0) {
        btree_file_stats stats;
        st = shardy__btree_writer_finish(w, &stats, err);
    }
    shardy__btree_writer_close(w);
    if (st >= 0) {
        shardy__bytebuf_give(&image, image_out);
    }
    shardy__bytebuf_free(&image);
    return st;
}

static shardy_status put_model(btree_writer *w, const void *what, shardy_error *err)
{
    return put_rows(w, what, err);
}

shardy_status shardy__manifest_render(const manifest *m, shardy_buf *image_out, shardy_error *err)
{
    return render(TABLE_COUNT, put_model, m, image_out, err);
}

static shardy_status put_found(btree_writer *w, const void *what, shardy_error *err)
{
    const manifest_rows *rows = what;
    shardy_status st =
        shardy__btree_put_row(w, TABLE_BUILD, 1, rows->build, MANIFEST_BUILD_COLUMNS, err);
    for (size_t i = 0; st >= 0 && i < rows->shard_count; i++) {
        st = shardy__btree_put_row(
            w, TABLE_SHARDS, rows->db_ids[i], rows->shards[i], MANIFEST_SHARD_COLUMNS, err);
    }
    return st;
}

shardy_status shardy__manifest_render_rows(
    const manifest_rows *rows, shardy_buf *image_out, shardy_error *err)
{
    return render(TABLE_OBJECTS, put_found, rows, image_out, err);
}
