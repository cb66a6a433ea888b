#include "run_record.h"

#include "../base/bytebuf.h"
#include "../base/yaml.h"
#include "../store/store.h"

#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {"", "running", "succeeded", "failed"};

static shardy_status wrong(shardy_error *err, const char *name, const char *expected)
{
    return shardy__error(
        err, SHARDY_CORRUPT, "catalog", "the run record has no \"%s\" (%s)", name, expected);
}

static shardy_status get_text(
    const yaml_map *map, const char *name, int optional, char *out, size_t size, shardy_error *err)
{
    const yaml_entry *e = shardy__yaml_get(map, name);
    out[0] = '\0';
    if (optional && (!e || e->kind == YAML_NULL)) {
        return SHARDY_OK;
    }
    if (!e || (e->kind != YAML_PLAIN && e->kind != YAML_QUOTED) || e->text.len >= size ||
        memchr(e->text.data, '\0', e->text.len)) {
        return wrong(err, name, "a text of bounded length");
    }
    memcpy(out, e->text.data, e->text.len);
    out[e->text.len] = '\0';
    return SHARDY_OK;
}

static shardy_status get_time(
    const yaml_map *map, const char *name, int64_t *out, shardy_error *err)
{
    const yaml_entry *e = shardy__yaml_get(map, name);
    *out = 0;
    if (!e || (e->kind != YAML_PLAIN && e->kind != YAML_QUOTED) ||
        !shardy__time_parse(e->text.data, e->text.len, out)) {
        return wrong(err, name, "a time");
    }
    return SHARDY_OK;
}

static shardy_status parse_map(const yaml_map *map, run_record *out, shardy_error *err)
{
    char status[32];
    SHARDY_TRY(get_text(map, "run_id", 0, out->run_id, sizeof out->run_id, err));
    SHARDY_TRY(get_text(map, "writer_type", 0, out->writer_type, sizeof out->writer_type, err));
    SHARDY_TRY(get_text(map, "s3_prefix", 0, out->s3_prefix, sizeof out->s3_prefix, err));
    SHARDY_TRY(get_text(map, "shard_prefix", 0, out->shard_prefix, sizeof out->shard_prefix, err));
    SHARDY_TRY(get_text(
        map, "db_path_template", 0, out->db_path_template, sizeof out->db_path_template, err));
    SHARDY_TRY(get_text(map, "manifest_ref", 1, out->manifest_ref, sizeof out->manifest_ref, err));
    SHARDY_TRY(get_text(map, "error_type", 1, out->error_type, sizeof out->error_type, err));
    SHARDY_TRY(
        get_text(map, "error_message", 1, out->error_message, sizeof out->error_message, err));
    SHARDY_TRY(get_time(map, "started_at", &out->started_us, err));
    SHARDY_TRY(get_time(map, "updated_at", &out->updated_us, err));
    SHARDY_TRY(get_time(map, "lease_expires_at", &out->lease_expires_us, err));
    SHARDY_TRY(get_text(map, "status", 0, status, sizeof status, err));
    for (int32_t i = RUN_RUNNING; i <= RUN_FAILED; i++) {
        if (strcmp(status, status_names[i]) == 0) {
            out->status = i;
            return SHARDY_OK;
        }
    }
    return wrong(err, "status", "running, succeeded or failed");
}

shardy_status shardy__run_record_parse(shardy_bytes text, run_record *out, shardy_error *err)
{
    yaml_map *map = NULL;
    shardy_status st = shardy__yaml_parse(text, &map, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "run record");
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    st = parse_map(map, out, err);
    shardy__yaml_free(map);
    return st;
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

shardy_status shardy__run_record_render(
    const run_record *r, shardy_buf *text_out, shardy_error *err)
{
    memset(text_out, 0, sizeof *text_out);
    char started[SHARDY_TIME_TEXT_SIZE];
    char updated[SHARDY_TIME_TEXT_SIZE];
    char lease[SHARDY_TIME_TEXT_SIZE];
    shardy__time_format_iso(r->started_us, started);
    shardy__time_format_iso(r->updated_us, updated);
    shardy__time_format_iso(r->lease_expires_us, lease);
    yaml_field fields[] = {
        {"db_path_template", YAML_FIELD_TEXT, 0, r->db_path_template},
        {"error_message", YAML_FIELD_TEXT, 0, or_null(r->error_message)},
        {"error_type", YAML_FIELD_TEXT, 0, or_null(r->error_type)},
        {"format_version", YAML_FIELD_INT, 1, NULL},
        {"lease_expires_at", YAML_FIELD_TIME, 0, lease},
        {"manifest_ref", YAML_FIELD_TEXT, 0, or_null(r->manifest_ref)},
        {"run_id", YAML_FIELD_TEXT, 0, r->run_id},
        {"s3_prefix", YAML_FIELD_TEXT, 0, r->s3_prefix},
        {"shard_prefix", YAML_FIELD_TEXT, 0, r->shard_prefix},
        {"started_at", YAML_FIELD_TIME, 0, started},
        {"status", YAML_FIELD_TEXT, 0, status_names[r->status]},
        {"updated_at", YAML_FIELD_TIME, 0, updated},
        {"writer_type", YAML_FIELD_TEXT, 0, r->writer_type},
    };
    bytebuf out;
    shardy__bytebuf_init(&out, SHARDY_RUN_RECORD_LEN_MAX);
    shardy_status st = shardy__yaml_write(fields, sizeof fields / sizeof fields[0], &out, err);
    if (st >= 0) {
        shardy__bytebuf_give(&out, text_out);
    }
    shardy__bytebuf_free(&out);
    return st;
}

void shardy__run_record_begin(shardy_context *context, const char *registry, run_record *r)
{
    char stamp[SHARDY_TIME_TEXT_SIZE];
    char hex[33];
    r->started_us = shardy__wall_us(context);
    r->status = RUN_RUNNING;
    shardy__time_format_micros(r->started_us, stamp);
    shardy__rand_hex32(context, hex);
    snprintf(
        r->key, sizeof r->key, "%.255s/%s_run_id=%s_%s/run.yaml", registry, stamp, r->run_id, hex);
}

/* `seen` is the version it must have; NULL: any, or none. */
static shardy_status write_record(shardy_context *context, shardy_store *store, run_record *r,
    const shardy_etag *seen, shardy_error *err)
{
    r->updated_us = shardy__wall_us(context);
    r->lease_expires_us = r->updated_us + (r->status == RUN_RUNNING ? RUN_RECORD_LEASE_US : 0);
    shardy_buf text;
    SHARDY_TRY(shardy__run_record_render(r, &text, err));
    shardy_store_put put = {0};
    put.key = shardy__bytes(r->key, strlen(r->key));
    put.condition = seen ? SHARDY_PUT_IF_MATCH : SHARDY_PUT_ALWAYS;
    put.etag = seen ? seen->text : NULL;
    put.body = shardy__bytes(text.data, text.len);
    put.content_type = "application/x-yaml";
    shardy_status st = shardy_store_put_object(store, &put, NULL, err);
    shardy_buf_release(&text);
    return st;
}

shardy_status shardy__run_record_write(
    shardy_context *context, shardy_store *store, run_record *r, shardy_error *err)
{
    return write_record(context, store, r, NULL, err);
}

shardy_status shardy__run_record_beat(
    shardy_context *context, shardy_store *store, run_record *r, shardy_error *err)
{
    shardy_buf body;
    shardy_object_meta meta;
    run_record now;
    shardy_status st =
        shardy__store_get_whole(store, r->key, SHARDY_RUN_RECORD_LEN_MAX, &body, &meta, err);
    if (st == SHARDY_OK) {
        st = shardy__run_record_parse(shardy__bytes(body.data, body.len), &now, err);
    }
    shardy_buf_release(&body);
    if (st == SHARDY_OK && now.status == RUN_RUNNING) {
        st = write_record(context, store, r, &meta.etag, err);
        /* whoever was faster has written what the record has to say */
        st = st == SHARDY_CONFLICT ? SHARDY_OK : st;
    }
    return st < 0 ? st : SHARDY_OK;
}
