#include "attempt_result.h"

#include "../base/alloc.h"
#include "../base/json.h"
#include "../base/uri.h"
#include "../catalog/document.h"

#include <shardyfusion/sys/text.h>

#include <string.h>

#define JSON_LEN_MAX ((size_t)SHARDY_CUSTOM_LEN_MAX * 64)

static const char attempt_what[] = "the result of an attempt";

shardy_status shardy__attempt_output_new(attempt_output **output_out, shardy_error *err)
{
    *output_out = shardy__calloc(1, sizeof **output_out);
    return *output_out ? SHARDY_OK : shardy__error_nomem(err, "build");
}

void shardy__attempt_result_free(attempt_result *result)
{
    if (result->output) {
        shardy__free(result->output->min_text);
        shardy__free(result->output->max_text);
        shardy__free(result->output);
    }
    memset(result, 0, sizeof *result);
}

void shardy__attempt_results_free(attempt_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shardy__attempt_result_free(&results[i]);
    }
    shardy__free(results);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_key(json_writer *w, const char *name, int32_t has, const shardy_key *key)
{
    shardy__json_name(w, name);
    if (!has) {
        shardy__json_null(w);
    } else if (key->type == SHARDY_KEY_INT) {
        shardy__json_int(w, key->i);
    } else if (key->type == SHARDY_KEY_UINT) {
        shardy__json_uint(w, key->u);
    } else {
        shardy__json_string_bytes(w, key->bytes);
    }
}

static void write_attempt(json_writer *w, const attempt_result *result)
{
    static const attempt_output none;
    const attempt_output *r = result->output ? result->output : &none;
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {{"db_id", result->db_id}, {"attempt", result->attempt},
        {"row_count", r->row_count}, {"vector_count", r->vector_count}, {"db_bytes", r->db_bytes},
        {"duration_ms", (uint64_t)r->duration_ms}};
    shardy__json_begin_object(w);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        shardy__json_name(w, numbers[i].name);
        shardy__json_uint(w, numbers[i].number);
    }
    shardy__json_name(w, "path");
    shardy__json_string(w, r->path);
    shardy__json_name(w, "checkpoint_id");
    shardy__json_string(w, r->checkpoint_id);
    write_key(w, "min_key", r->has_min_key, &r->min_key);
    write_key(w, "max_key", r->has_max_key, &r->max_key);
    shardy__json_name(w, "objects");
    shardy__json_begin_array(w);
    for (uint32_t i = 0; i < r->object_count; i++) {
        char digest[65];
        shardy__sha256_hex(&r->objects[i].digest, digest);
        shardy__json_begin_object(w);
        shardy__json_name(w, "path");
        shardy__json_string(w, r->objects[i].path);
        shardy__json_name(w, "size");
        shardy__json_uint(w, r->objects[i].size);
        shardy__json_name(w, "sha256");
        shardy__json_string(w, digest);
        shardy__json_end_object(w);
    }
    shardy__json_end_array(w);
    shardy__json_end_object(w);
}

shardy_status shardy__attempt_to_json(
    const attempt_result *result, shardy_buf *json_out, shardy_error *err)
{
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, JSON_LEN_MAX);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    write_attempt(&w, result);
    return shardy__document_finish(&w, &out, json_out, err);
}

shardy_status shardy__attempts_to_json(
    const attempt_result *results, size_t count, shardy_buf *json_out, shardy_error *err)
{
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, JSON_LEN_MAX);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    shardy__json_begin_array(&w);
    for (size_t i = 0; i < count; i++) {
        write_attempt(&w, &results[i]);
    }
    shardy__json_end_array(&w);
    return shardy__document_finish(&w, &out, json_out, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_status read_key(const shardy_json_value *root, const char *name, int32_t *has_out,
    shardy_key *key_out, char **text_out, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(root, name);
    int64_t i;
    uint64_t u;
    *has_out = 1;
    if (!value || shardy_json_type_of(value) == SHARDY_JSON_NULL) {
        *has_out = 0;
    } else if (shardy_json_int64(value, &i)) {
        *key_out = shardy_key_int(i);
    } else if (shardy_json_uint64(value, &u)) {
        *key_out = shardy_key_uint(u);
    } else if (shardy_json_type_of(value) == SHARDY_JSON_STRING) {
        shardy_bytes text = shardy_json_string(value);
        *text_out = shardy__strndup(text.data, text.len);
        if (!*text_out) {
            return shardy__error_nomem(err, "build");
        }
        *key_out = shardy_key_text(*text_out, text.len);
    } else {
        return shardy__error(
            err, SHARDY_CORRUPT, "build", "%s has no key \"%s\"", attempt_what, name);
    }
    return SHARDY_OK;
}

static shardy_status read_objects(
    const shardy_json_value *root, attempt_output *r, shardy_error *err)
{
    const shardy_json_value *objects = shardy_json_get(root, "objects");
    size_t count = shardy_json_count(objects);
    if (shardy_json_type_of(objects) != SHARDY_JSON_ARRAY || count > ATTEMPT_OBJECTS_MAX) {
        return shardy__error(
            err, SHARDY_CORRUPT, "build", "%s has no list of objects", attempt_what);
    }
    for (size_t i = 0; i < count; i++) {
        attempt_object *o = &r->objects[i];
        const shardy_json_value *object = shardy_json_at(objects, i);
        SHARDY_TRY(
            shardy__document_text(object, attempt_what, "path", o->path, sizeof o->path, err));
        SHARDY_TRY(shardy__document_u64(object, attempt_what, "size", &o->size, err));
        SHARDY_TRY(shardy__document_digest(object, attempt_what, "sha256", &o->digest, err));
        size_t len = strlen(r->path);
        if (shardy__key_problem(o->path, strlen(o->path)) || len == 0 ||
            strncmp(o->path, r->path, len) != 0 || o->path[len] != '/') {
            return shardy__error(err, SHARDY_CORRUPT, "build",
                "%s has the object \"%.200s\", which is not below its path", attempt_what, o->path);
        }
        r->object_count++;
    }
    return SHARDY_OK;
}

static shardy_status read_output(
    const shardy_json_value *root, attempt_output *r, shardy_error *err)
{
    uint64_t n;
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "row_count", &r->row_count, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "vector_count", &r->vector_count, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "db_bytes", &r->db_bytes, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "duration_ms", &n, err));
    r->duration_ms = (int64_t)n;
    SHARDY_TRY(shardy__document_text(root, attempt_what, "path", r->path, sizeof r->path, err));
    SHARDY_TRY(shardy__document_text(
        root, attempt_what, "checkpoint_id", r->checkpoint_id, sizeof r->checkpoint_id, err));
    SHARDY_TRY(read_key(root, "min_key", &r->has_min_key, &r->min_key, &r->min_text, err));
    SHARDY_TRY(read_key(root, "max_key", &r->has_max_key, &r->max_key, &r->max_text, err));
    return read_objects(root, r, err);
}

static shardy_status read_attempt(
    const shardy_json_value *root, attempt_result *r, shardy_error *err)
{
    uint64_t n;
    memset(r, 0, sizeof *r);
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "db_id", &n, err));
    r->db_id = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "attempt", &n, err));
    r->attempt = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    const shardy_json_value *path = shardy_json_get(root, "path");
    if (shardy_json_type_of(path) == SHARDY_JSON_STRING && shardy_json_string(path).len == 0) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__attempt_output_new(&r->output, err));
    return read_output(root, r->output, err);
}

/* A text that cannot be read is an argument that is not what it should be. */
static shardy_status as_argument(shardy_status st, shardy_error *err)
{
    return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
}

shardy_status shardy__attempt_from_json(
    shardy_bytes json, attempt_result *result_out, shardy_error *err)
{
    memset(result_out, 0, sizeof *result_out);
    shardy_json *doc = NULL;
    shardy_status st = shardy__document_parse(json, attempt_what, &doc, err);
    if (st >= 0) {
        st = read_attempt(shardy_json_root(doc), result_out, err);
    }
    shardy_json_free(doc);
    return as_argument(st, err);
}

static shardy_status read_attempts(const shardy_json_value *root, attempt_result **results_out,
    size_t *count_out, shardy_error *err)
{
    size_t count = shardy_json_count(root);
    if (shardy_json_type_of(root) != SHARDY_JSON_ARRAY) {
        return shardy__error(err, SHARDY_INVALID, "build", "the winners are not a JSON array");
    }
    *results_out = shardy__calloc(count, sizeof **results_out);
    if (!*results_out) {
        return shardy__error_nomem(err, "build");
    }
    *count_out = count;
    for (size_t i = 0; i < count; i++) {
        SHARDY_TRY(
            as_argument(read_attempt(shardy_json_at(root, i), &(*results_out)[i], err), err));
    }
    return SHARDY_OK;
}

shardy_status shardy__attempts_from_json(
    shardy_bytes json, attempt_result **results_out, size_t *count_out, shardy_error *err)
{
    *results_out = NULL;
    *count_out = 0;
    shardy_json *doc = NULL;
    shardy_status st = shardy_json_parse(json, &doc, err);
    if (st >= 0) {
        st = read_attempts(shardy_json_root(doc), results_out, count_out, err);
    }
    shardy_json_free(doc);
    if (st < 0) {
        shardy__attempt_results_free(*results_out, *count_out);
        *results_out = NULL;
        *count_out = 0;
    }
    return st;
}
