#include "manifest_columns.h"

#include "../base/arena.h"
#include "../base/clock.h"
#include "../base/json.h"
#include "../base/number.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

/* --- a manifest as columns -------------------------------------------------------------------- */

static void put_bound(json_writer *w, const char *name, int32_t has, const shardy_key *key)
{
    shardy__json_name(w, name);
    if (has && key->type == SHARDY_KEY_INT) {
        shardy__json_int(w, key->i);
    } else if (has && key->type == SHARDY_KEY_UINT) {
        shardy__json_uint(w, key->u);
    } else {
        shardy__json_null(w);
    }
}

static void put_shard(json_writer *w, const manifest_shard *shard, bytebuf *info)
{
    shardy__bytebuf_clear(info);
    shardy__manifest_writer_info(shard, info);
    shardy__json_begin_object(w);
    shardy__json_name(w, "db_id");
    shardy__json_uint(w, shard->db_id);
    shardy__json_name(w, "db_url");
    shardy__json_string(w, shard->db_url);
    shardy__json_name(w, "attempt");
    shardy__json_uint(w, shard->attempt);
    shardy__json_name(w, "row_count");
    shardy__json_uint(w, shard->row_count);
    shardy__json_name(w, "db_bytes");
    shardy__json_uint(w, shard->db_bytes);
    shardy__json_name(w, "checkpoint_id");
    shardy__json_string(w, shard->checkpoint_id);
    put_bound(w, "min_key", shard->has_min_key, &shard->min_key);
    put_bound(w, "max_key", shard->has_max_key, &shard->max_key);
    shardy__json_name(w, "writer_info");
    shardy__json_text(w, (shardy_bytes){info->data, info->len});
    shardy__json_end_object(w);
}

shardy_status shardy__manifest_columns_make(
    const manifest *m, shardy_bytes image, manifest_columns *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    bytebuf info;
    json_writer w;
    shardy__bytebuf_init(&info, 512);
    shardy__bytebuf_init(&out->shards, SHARDY_MANIFEST_LEN_MAX);
    shardy__json_writer_init(&w, &out->shards, JSON_COMPACT);
    shardy__json_begin_array(&w);
    for (uint32_t i = 0; i < m->shard_count && info.status >= 0; i++) {
        put_shard(&w, &m->shards[i], &info);
    }
    shardy__json_end_array(&w);
    shardy_status st = shardy__bytebuf_check(&info, "manifest", err);
    if (st >= 0) {
        st = shardy__json_writer_finish(&w, "manifest", err);
    }
    shardy__json_writer_free(&w);
    shardy__bytebuf_free(&info);
    if (st < 0) {
        shardy__manifest_columns_free(out);
        return st;
    }
    shardy__time_format_micros(m->created_us, out->created);
    snprintf(out->num_dbs, sizeof out->num_dbs, "%u", m->num_dbs);
    const char *const texts[] = {m->run_id, out->created, out->num_dbs, m->s3_prefix, m->key_col,
        m->db_path_template, m->shard_prefix, shardy_key_encoding_name(m->key_encoding),
        shardy__manifest_sharding(m), m->custom ? m->custom : "{}", out->shards.data};
    for (size_t i = 0; i < MANIFEST_PARAMS - 1; i++) {
        out->params[i].data = texts[i];
    }
    out->params[MANIFEST_PARAMS - 1] = (postgres_param){image.data, image.len, 1};
    return SHARDY_OK;
}

void shardy__manifest_columns_free(manifest_columns *c)
{
    shardy__bytebuf_free(&c->shards);
}

/* --- columns as a manifest -------------------------------------------------------------------- */

static record_value text_value(const char *text)
{
    return text ? shardy__record_text(text, strlen(text)) : shardy__record_null();
}

/* An integer, or what is there instead of one, for the parser to refuse. */
static record_value int_value(const char *text)
{
    int64_t n;
    if (text && shardy__parse_int64(text, strlen(text), &n)) {
        return shardy__record_int(n);
    }
    return text_value(text);
}

/* What the reference takes for "nothing is known". */
static record_value info_value(const char *text)
{
    static const char *const nothing[] = {"null", "false", "0", "\"\"", "[]", "{}"};
    int none = text == NULL;
    for (size_t i = 0; !none && i < sizeof nothing / sizeof nothing[0]; i++) {
        none = strcmp(text, nothing[i]) == 0;
    }
    return text_value(none ? "{}" : text);
}

static void build_values(const postgres_rows *rows, char created[SHARDY_TIME_TEXT_SIZE],
    record_value out[MANIFEST_BUILD_COLUMNS])
{
    const char *v[MANIFEST_IMAGE_COLUMN];
    int64_t us;
    for (int i = 0; i < MANIFEST_IMAGE_COLUMN; i++) {
        v[i] = shardy__postgres_value(rows, 0, i, NULL);
    }
    if (v[2] && shardy__time_parse(v[2], strlen(v[2]), &us)) {
        shardy__time_format_iso(us, created);
        v[2] = created;
    }
    const record_value values[MANIFEST_BUILD_COLUMNS] = {text_value(v[1]), text_value(v[2]),
        int_value(v[3]), text_value(v[4]), text_value(v[5]), text_value(v[9]), text_value(v[6]),
        text_value(v[7]), shardy__record_int(SHARDY_MANIFEST_FORMAT_VERSION), text_value(v[8]),
        text_value(v[10])};
    memcpy(out, values, sizeof values);
}

static void shard_values(const postgres_rows *rows, size_t row, int64_t *db_id_out,
    record_value out[MANIFEST_SHARD_COLUMNS])
{
    const char *v[10];
    for (int i = 1; i < 10; i++) {
        v[i] = shardy__postgres_value(rows, row, i, NULL);
    }
    *db_id_out = -1;
    if (v[1]) {
        (void)shardy__parse_int64(v[1], strlen(v[1]), db_id_out);
    }
    const record_value values[MANIFEST_SHARD_COLUMNS] = {shardy__record_null(), text_value(v[2]),
        int_value(v[3]), int_value(v[4]), int_value(v[5]), text_value(v[7]), text_value(v[8]),
        text_value(v[6]), info_value(v[9])};
    memcpy(out, values, sizeof values);
}

static shardy_status image_of_rows(
    const postgres_rows *rows, shardy_buf *image_out, shardy_error *err)
{
    size_t count = shardy__postgres_row_count(rows) - 1;
    char created[SHARDY_TIME_TEXT_SIZE];
    arena a;
    manifest_rows found;
    memset(&found, 0, sizeof found);
    shardy__arena_init(&a);
    int64_t *ids = shardy__arena_calloc(&a, count + 1, sizeof *ids);
    record_value(*shards)[MANIFEST_SHARD_COLUMNS] =
        shardy__arena_calloc(&a, count + 1, sizeof *shards);
    shardy_status st = ids && shards ? SHARDY_OK : shardy__error_nomem(err, "manifest");
    if (st >= 0) {
        build_values(rows, created, found.build);
        for (size_t i = 0; i < count; i++) {
            shard_values(rows, i + 1, &ids[i], shards[i]);
        }
        found.shard_count = count;
        found.db_ids = ids;
        found.shards = (const record_value(*)[MANIFEST_SHARD_COLUMNS])shards;
        st = shardy__manifest_render_rows(&found, image_out, err);
        st = st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    shardy__arena_free(&a);
    return st;
}

static int same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Text bounds are not in the rows. */
static int same_bound(
    int32_t has, const shardy_key *key, int32_t row_has, const shardy_key *row_key)
{
    if (!has || key->type == SHARDY_KEY_TEXT || key->type == SHARDY_KEY_BYTES) {
        return !row_has;
    }
    return row_has && key->type == row_key->type &&
           (key->type == SHARDY_KEY_UINT ? key->u == row_key->u : key->i == row_key->i);
}

static int same_shard(const manifest_shard *a, const manifest_shard *b)
{
    return a->db_id == b->db_id && a->attempt == b->attempt && a->row_count == b->row_count &&
           a->db_bytes == b->db_bytes && same_text(a->db_url, b->db_url) &&
           same_text(a->checkpoint_id, b->checkpoint_id) &&
           same_bound(a->has_min_key, &a->min_key, b->has_min_key, &b->min_key) &&
           same_bound(a->has_max_key, &a->max_key, b->has_max_key, &b->max_key);
}

static int same_custom(const manifest_custom *a, const manifest_custom *b)
{
    return a->has_vector == b->has_vector && a->unified == b->unified && a->dim == b->dim &&
           a->metric == b->metric && a->has_sidecar == b->has_sidecar &&
           same_text(a->backend, b->backend) && same_text(a->kv_backend, b->kv_backend) &&
           same_text(a->engine, b->engine);
}

/* The name of the first column in which the rows say something else than the image; NULL: none. */
static const char *first_difference(const manifest *image, const manifest *rows)
{
    const struct {
        const char *name;
        int same;
    } columns[] = {
        {"run_id", same_text(image->run_id, rows->run_id)},
        {"created_at", image->created_us == rows->created_us},
        {"num_dbs", image->num_dbs == rows->num_dbs},
        {"s3_prefix", same_text(image->s3_prefix, rows->s3_prefix)},
        {"key_col", same_text(image->key_col, rows->key_col)},
        {"db_path_template", same_text(image->db_path_template, rows->db_path_template)},
        {"shard_prefix", same_text(image->shard_prefix, rows->shard_prefix)},
        {"key_encoding", image->key_encoding == rows->key_encoding},
        {"sharding", same_text(image->sharding, rows->sharding)},
        {"custom", same_custom(&image->parsed, &rows->parsed)},
        {"shards", image->shard_count == rows->shard_count},
    };
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (!columns[i].same) {
            return columns[i].name;
        }
    }
    for (uint32_t i = 0; i < image->shard_count; i++) {
        if (!same_shard(&image->shards[i], &rows->shards[i])) {
            return "shards";
        }
    }
    return NULL;
}

/* Both were written in one transaction: when they differ, somebody has changed one of them, for
 * example by publishing the run again. */
static shardy_status check_rows(shardy_bytes image, shardy_bytes from_rows, shardy_error *err)
{
    manifest *published = NULL;
    manifest *found = NULL;
    shardy_status st = shardy__manifest_parse(image, &published, err);
    if (st >= 0) {
        st = shardy__manifest_parse(from_rows, &found, err);
        if (st < 0 && st != SHARDY_NOMEM) {
            st = shardy__error_prefix(err, st, "rows that were changed after they were published");
        }
    }
    if (st >= 0) {
        const char *column = first_difference(published, found);
        st = !column ? SHARDY_OK
                     : shardy__error(err, SHARDY_CHECKSUM, "manifest",
                           "the rows of run \"%.128s\" were changed after they were published: "
                           "\"%s\" differs from the image",
                           published->run_id, column);
    }
    shardy__manifest_free(published);
    shardy__manifest_free(found);
    return st;
}

shardy_status shardy__manifest_columns_image(
    const postgres_rows *rows, shardy_buf *image_out, shardy_error *err)
{
    size_t len;
    const char *kind = shardy__postgres_value(rows, 0, 0, NULL);
    const char *image = shardy__postgres_value(rows, 0, MANIFEST_IMAGE_COLUMN, &len);
    shardy_buf made = {0};
    memset(image_out, 0, sizeof *image_out);
    if (!kind || kind[0] != '0') {
        return SHARDY_NOT_FOUND;
    }
    SHARDY_TRY(image_of_rows(rows, &made, err));
    if (!image) {
        *image_out = made;
        return SHARDY_OK;
    }
    shardy_status st =
        check_rows(shardy__bytes(image, len), shardy__bytes(made.data, made.len), err);
    shardy_buf_release(&made);
    return st < 0 ? st : shardy__buf_copy(image, len, image_out, err);
}
