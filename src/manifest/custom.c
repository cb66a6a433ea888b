#include "custom.h"

#include "../base/json.h"
#include "invalid.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>
#include <shardyfusion/vector.h>

#include <stdio.h>
#include <string.h>

#define OURS_VERSION 1

static const char *const reserved_names[] = {"vector", "sqlite_sidecar", "shardyfusion"};

/* A text member of at most size - 1 bytes. Absent: "" when `optional`. */
static shardy_status get_text(const shardy_json_value *object, const char *name, const char *path,
    int optional, char *out, size_t size, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    out[0] = '\0';
    if (!value && optional) {
        return SHARDY_OK;
    }
    shardy_bytes text = shardy_json_string(value);
    if (shardy_json_type_of(value) != SHARDY_JSON_STRING || text.len >= size || text.len == 0 ||
        memchr(text.data, '\0', text.len)) {
        return shardy__invalid_json(err, path, value, "a short text");
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return SHARDY_OK;
}

static shardy_status parse_vector(
    const shardy_json_value *vector, manifest_custom *out, shardy_error *err)
{
    if (shardy_json_type_of(vector) != SHARDY_JSON_OBJECT) {
        return shardy__invalid_json(err, "custom.vector", vector, "an object");
    }
    out->has_vector = 1;
    uint64_t dim = 0;
    const shardy_json_value *value = shardy_json_get(vector, "dim");
    if (!shardy_json_uint64(value, &dim) || dim == 0 || dim > SHARDY_DIM_MAX) {
        return shardy__invalid_json(err, "custom.vector.dim", value, "an integer from 1 to 8192");
    }
    out->dim = (uint32_t)dim;
    char metric[32];
    SHARDY_TRY(get_text(vector, "metric", "custom.vector.metric", 0, metric, sizeof metric, err));
    shardy_error ignored;
    if (shardy_vector_metric_parse(metric, &out->metric, &ignored) < 0) {
        return shardy__invalid_json(err, "custom.vector.metric", shardy_json_get(vector, "metric"),
            "cosine, l2 or dot_product");
    }
    const shardy_json_value *unified = shardy_json_get(vector, "unified");
    if (unified && shardy_json_type_of(unified) != SHARDY_JSON_BOOL) {
        return shardy__invalid_json(err, "custom.vector.unified", unified, "true or false");
    }
    out->unified = unified ? shardy_json_bool(unified) : 0;
    SHARDY_TRY(get_text(
        vector, "backend", "custom.vector.backend", 1, out->backend, sizeof out->backend, err));
    return get_text(vector, "kv_backend", "custom.vector.kv_backend", 1, out->kv_backend,
        sizeof out->kv_backend, err);
}

static shardy_status parse_ours(
    const shardy_json_value *ours, manifest_custom *out, shardy_error *err)
{
    uint64_t version = 0;
    if (shardy_json_type_of(ours) != SHARDY_JSON_OBJECT) {
        return shardy__invalid_json(err, "custom.shardyfusion", ours, "an object");
    }
    const shardy_json_value *value = shardy_json_get(ours, "version");
    if (!shardy_json_uint64(value, &version)) {
        return shardy__invalid_json(err, "custom.shardyfusion.version", value, "an integer");
    }
    if (version != OURS_VERSION) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "manifest",
            "custom.shardyfusion has version %llu, this version reads %d",
            (unsigned long long)version, OURS_VERSION);
    }
    return get_text(
        ours, "engine", "custom.shardyfusion.engine", 0, out->engine, sizeof out->engine, err);
}

static shardy_status parse_root(
    const shardy_json_value *root, manifest_custom *out, shardy_error *err)
{
    if (shardy_json_type_of(root) != SHARDY_JSON_OBJECT) {
        return shardy__invalid_json(err, "custom", root, "an object");
    }
    const shardy_json_value *vector = shardy_json_get(root, "vector");
    const shardy_json_value *ours = shardy_json_get(root, "shardyfusion");
    out->has_sidecar =
        shardy_json_type_of(shardy_json_get(root, "sqlite_sidecar")) == SHARDY_JSON_OBJECT;
    if (vector) {
        SHARDY_TRY(parse_vector(vector, out, err));
    }
    return ours ? parse_ours(ours, out, err) : SHARDY_OK;
}

shardy_status shardy__custom_parse(
    shardy_bytes text, manifest_custom *out, shardy_buf *canonical_out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    memset(canonical_out, 0, sizeof *canonical_out);
    if (text.len == 0) {
        text = shardy__bytes("{}", 2);
    }
    shardy_json *json = NULL;
    shardy_status st = shardy_json_parse(text, &json, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "custom");
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    st = parse_root(shardy_json_root(json), out, err);
    shardy_json_free(json);
    if (st >= 0) {
        bytebuf buf;
        shardy__bytebuf_init(&buf, (size_t)SHARDY_CUSTOM_LEN_MAX * 8);
        st = shardy__json_restyle(text, JSON_COMPACT, &buf, err);
        if (st >= 0) {
            shardy__bytebuf_give(&buf, canonical_out);
        }
        shardy__bytebuf_free(&buf);
    }
    return st;
}

static shardy_status check_user(const shardy_json_value *root, shardy_error *err)
{
    if (shardy_json_type_of(root) != SHARDY_JSON_OBJECT) {
        return shardy__error(
            err, SHARDY_INVALID, "manifest", "the custom fields are not a JSON object");
    }
    for (size_t i = 0; i < sizeof reserved_names / sizeof reserved_names[0]; i++) {
        if (shardy_json_get(root, reserved_names[i])) {
            return shardy__error(err, SHARDY_INVALID, "manifest",
                "a custom field must not be named \"%s\": that name is reserved",
                reserved_names[i]);
        }
    }
    return SHARDY_OK;
}

static void write_vector(json_writer *w, const manifest_custom *custom)
{
    shardy__json_name(w, "vector");
    shardy__json_begin_object(w);
    shardy__json_name(w, "backend");
    shardy__json_string(w, custom->backend);
    shardy__json_name(w, "dim");
    shardy__json_uint(w, custom->dim);
    shardy__json_name(w, "index_type");
    shardy__json_string(w, "flat");
    shardy__json_name(w, "kv_backend");
    shardy__json_string(w, custom->kv_backend);
    shardy__json_name(w, "metric");
    shardy__json_string(w, shardy_vector_metric_name(custom->metric));
    shardy__json_name(w, "quantization");
    shardy__json_null(w);
    shardy__json_name(w, "unified");
    shardy__json_bool(w, custom->unified);
    shardy__json_end_object(w);
}

/* The user's members, one by one, among ours: the writer puts them in order. */
static void write_user(json_writer *w, const shardy_json_value *root)
{
    for (size_t i = 0; i < shardy_json_count(root); i++) {
        shardy__json_name_bytes(w, shardy_json_name_at(root, i));
        shardy__json_value(w, shardy_json_at(root, i));
    }
}

shardy_status shardy__custom_render(
    const char *user, const manifest_custom *custom, bytebuf *out, shardy_error *err)
{
    shardy_json *json = NULL;
    if (user) {
        SHARDY_TRY(shardy_json_parse(shardy__bytes(user, strlen(user)), &json, err));
    }
    json_writer w;
    shardy__json_writer_init(&w, out, JSON_SORTED);
    shardy__json_begin_object(&w);
    if (json) {
        write_user(&w, shardy_json_root(json));
    }
    shardy__json_name(&w, "shardyfusion");
    shardy__json_begin_object(&w);
    shardy__json_name(&w, "engine");
    shardy__json_string(&w, custom->engine);
    shardy__json_name(&w, "version");
    shardy__json_int(&w, OURS_VERSION);
    shardy__json_end_object(&w);
    if (custom->has_vector) {
        write_vector(&w, custom);
    }
    shardy__json_end_object(&w);
    shardy_status st = shardy__json_writer_finish(&w, "manifest", err);
    shardy__json_writer_free(&w);
    shardy_json_free(json);
    return st;
}

/* Whether the fields fit into the manifest together with ours, whatever those will be: it would be
 * late to find out when all shards are built. */
static shardy_status check_room(const char *user, shardy_error *err)
{
    manifest_custom greatest;
    bytebuf text;
    memset(&greatest, 0, sizeof greatest);
    greatest.has_vector = 1;
    greatest.dim = UINT32_MAX;
    greatest.metric = SHARDY_VECTOR_METRIC_DOT;
    memset(greatest.backend, 'x', sizeof greatest.backend - 1);
    memset(greatest.kv_backend, 'x', sizeof greatest.kv_backend - 1);
    memset(greatest.engine, 'x', sizeof greatest.engine - 1);
    shardy__bytebuf_init(&text, SHARDY_CUSTOM_LEN_MAX);
    shardy_status st = shardy__custom_render(user, &greatest, &text, err);
    const int too_long = text.status < 0 && text.status != SHARDY_NOMEM;
    shardy__bytebuf_free(&text);
    if (!too_long) {
        return st;
    }
    return shardy__error(err, SHARDY_INVALID, "manifest",
        "the custom fields have %zu bytes; as they are stored, together with ours, they have more "
        "than the limit of %u",
        strlen(user), SHARDY_CUSTOM_LEN_MAX);
}

shardy_status shardy__custom_check_user(const char *user, shardy_error *err)
{
    if (!user) {
        return SHARDY_OK;
    }
    shardy_json *json = NULL;
    shardy_status st = shardy_json_parse(shardy__bytes(user, strlen(user)), &json, err);
    if (st < 0) {
        return shardy__error_prefix(err, st, "custom fields");
    }
    st = check_user(shardy_json_root(json), err);
    shardy_json_free(json);
    return st < 0 ? st : check_room(user, err);
}
