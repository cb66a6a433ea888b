#include "manifest.h"

#include "../base/clock.h"
#include "../base/uri.h"
#include "../base/utf8.h"
#include "../sqlitefile/btree_read.h"
#include "sharding.h"
#include "invalid.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A longer text in one column of a manifest is not one of ours or the reference's. */
#define COLUMN_LEN_MAX SHARDY_CUSTOM_LEN_MAX

/* Columns that are asked for, of one table. */
#define PLACES_MAX 16u

/* A table whose rows are being read, by column names. */
typedef struct table_reader {
    const btree_file *file;
    const schema_object *table;
    btree_walk walk;
    record_value *values; /* of the current row, in stored order */
    size_t value_count;
    const char *name;
    /* Where columns are, by the address of the name they were asked for with: each is looked for
     * once, and not in each row. */
    struct {
        const char *name;
        int32_t place;
    } places[PLACES_MAX];
    size_t place_count;
} table_reader;

static shardy_status table_open(
    table_reader *t, manifest *m, const btree_file *file, const char *name, shardy_error *err)
{
    memset(t, 0, sizeof *t);
    btree_tree tree;
    shardy_status st = shardy__btree_table(file, name, &tree, &t->table, err);
    if (st != SHARDY_OK) {
        return st < 0 ? st
                      : shardy__error(
                            err, SHARDY_CORRUPT, "manifest", "there is no table \"%s\"", name);
    }
    t->file = file;
    t->name = name;
    t->value_count = t->table->column_count;
    t->values = shardy__arena_calloc(&m->arena, t->value_count, sizeof *t->values);
    if (!t->values) {
        return shardy__error_nomem(err, "manifest");
    }
    shardy__btree_walk_init(&t->walk, &tree);
    shardy__btree_walk_first(&t->walk);
    return SHARDY_OK;
}

static void table_close(table_reader *t)
{
    if (t->file) {
        shardy__btree_walk_end(&t->walk);
    }
}

/* OK with the next row in t->values, or DONE. */
static shardy_status table_next(table_reader *t, int first, shardy_error *err)
{
    if (!first) {
        shardy__btree_walk_next(&t->walk);
    }
    shardy_status st = shardy__btree_walk_run(&t->walk, err);
    if (st == SHARDY_OK) {
        st = shardy__btree_walk_record(
            &t->walk, SHARDY_MANIFEST_LEN_MAX, t->values, t->value_count, err);
    }
    return st;
}

static int32_t find_column(table_reader *t, const char *name)
{
    for (size_t i = 0; i < t->place_count; i++) {
        if (t->places[i].name == name) {
            return t->places[i].place;
        }
    }
    int32_t place = shardy__schema_column(t->table, name);
    if (t->place_count < PLACES_MAX) {
        t->places[t->place_count].name = name;
        t->places[t->place_count].place = place;
        t->place_count++;
    }
    return place;
}

/* The value of a column of the current row. CORRUPT when the table has no such column. */
static shardy_status column(table_reader *t, const char *name, record_value *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    int32_t i = find_column(t, name);
    if (i < 0) {
        return shardy__error(
            err, SHARDY_CORRUPT, "manifest", "table \"%s\" has no column \"%s\"", t->name, name);
    }
    if (i == t->table->rowid_column) {
        out->type = RECORD_INT;
        out->integer = t->walk.cell.rowid;
        return SHARDY_OK;
    }
    *out = t->values[t->table->columns[i].field];
    return SHARDY_OK;
}

/* A text column, copied; NULL allowed when `optional`. */
static shardy_status text_column(table_reader *t, manifest *m, const char *name, int optional,
    const char **out, shardy_error *err)
{
    record_value v;
    *out = NULL;
    SHARDY_TRY(column(t, name, &v, err));
    if (v.type == RECORD_NULL && optional) {
        return SHARDY_OK;
    }
    if (v.type != RECORD_TEXT || v.len > COLUMN_LEN_MAX || memchr(v.data, '\0', v.len)) {
        return shardy__invalid_column(err, t->name, name, &v,
            v.type != RECORD_TEXT    ? "a text"
            : v.len > COLUMN_LEN_MAX ? "a shorter text"
                                     : "a text without a zero byte");
    }
    if (!shardy__utf8_valid(v.data, v.len)) {
        return shardy__invalid_column(err, t->name, name, &v, "valid UTF-8");
    }
    *out = shardy__arena_strndup(&m->arena, v.data, v.len);
    return *out ? SHARDY_OK : shardy__error_nomem(err, "manifest");
}

/* Integers, integral reals and numeric text, as the reference's lax parsing takes them. */
static int value_as_u64(const record_value *v, uint64_t *out)
{
    if (v->type == RECORD_INT) {
        *out = (uint64_t)v->integer;
        return v->integer >= 0;
    }
    if (v->type == RECORD_REAL) {
        if (!(v->real >= 0 && v->real < 9007199254740992.0) ||
            v->real != (double)(uint64_t)v->real) {
            return 0;
        }
        *out = (uint64_t)v->real;
        return 1;
    }
    if (v->type != RECORD_TEXT || v->len == 0 || v->len > 18) {
        return 0;
    }
    *out = 0;
    for (size_t i = 0; i < v->len; i++) {
        if (v->data[i] < '0' || v->data[i] > '9') {
            return 0;
        }
        *out = *out * 10 + (uint64_t)(v->data[i] - '0');
    }
    return 1;
}

static shardy_status u64_column(
    table_reader *t, const char *name, uint64_t max, uint64_t *out, shardy_error *err)
{
    record_value v;
    *out = 0;
    SHARDY_TRY(column(t, name, &v, err));
    if (!value_as_u64(&v, out) || *out > max) {
        char expected[64];
        snprintf(expected, sizeof expected, "an integer from 0 to %llu", (unsigned long long)max);
        return shardy__invalid_column(err, t->name, name, &v, expected);
    }
    return SHARDY_OK;
}

static shardy_status parse_custom(table_reader *t, manifest *m, shardy_error *err)
{
    const char *text = NULL;
    SHARDY_TRY(text_column(t, m, "custom", 1, &text, err));
    shardy_buf canonical = {0};
    shardy_bytes bytes = {text, text ? strlen(text) : 0};
    SHARDY_TRY(shardy__custom_parse(bytes, &m->parsed, &canonical, err));
    m->custom = shardy__arena_strndup(&m->arena, canonical.data, canonical.len);
    shardy_buf_release(&canonical);
    return m->custom ? SHARDY_OK : shardy__error_nomem(err, "manifest");
}

static shardy_status parse_build_row(table_reader *t, manifest *m, shardy_error *err)
{
    uint64_t n;
    SHARDY_TRY(u64_column(t, "format_version", UINT32_MAX, &n, err));
    if (n != SHARDY_MANIFEST_FORMAT_VERSION) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "manifest",
            "the manifest has format version %llu, this version reads %d", (unsigned long long)n,
            SHARDY_MANIFEST_FORMAT_VERSION);
    }
    SHARDY_TRY(text_column(t, m, "run_id", 0, &m->run_id, err));
    SHARDY_TRY(text_column(t, m, "created_at", 0, &m->created_at, err));
    if (!shardy__time_parse(m->created_at, strlen(m->created_at), &m->created_us)) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "build_meta.created_at is \"%.64s\", expected a time", m->created_at);
    }
    SHARDY_TRY(u64_column(t, "num_dbs", SHARDY_NUM_DBS_MAX, &n, err));
    if (n == 0) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "build_meta.num_dbs is 0, expected 1 to %u", SHARDY_NUM_DBS_MAX);
    }
    m->num_dbs = (uint32_t)n;
    SHARDY_TRY(text_column(t, m, "s3_prefix", 0, &m->s3_prefix, err));
    SHARDY_TRY(text_column(t, m, "key_col", 0, &m->key_col, err));
    SHARDY_TRY(text_column(t, m, "db_path_template", 0, &m->db_path_template, err));
    SHARDY_TRY(text_column(t, m, "shard_prefix", 0, &m->shard_prefix, err));
    const char *text;
    SHARDY_TRY(text_column(t, m, "key_encoding", 0, &text, err));
    shardy_error ignored;
    if (shardy_key_encoding_parse(text, &m->key_encoding, &ignored) < 0 ||
        m->key_encoding == SHARDY_KEY_ENCODING_AUTO) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "build_meta.key_encoding is \"%.64s\", expected u64be, u32be, utf8 or raw", text);
    }
    SHARDY_TRY(text_column(t, m, "sharding", 0, &text, err));
    SHARDY_TRY(shardy__sharding_parse(m, text, err));
    return parse_custom(t, m, err);
}

static shardy_status parse_build(manifest *m, const btree_file *file, shardy_error *err)
{
    table_reader t;
    shardy_status st = table_open(&t, m, file, "build_meta", err);
    if (st >= 0) {
        st = table_next(&t, 1, err);
        if (st == SHARDY_DONE) {
            st = shardy__error(err, SHARDY_CORRUPT, "manifest", "table \"build_meta\" has no row");
        }
    }
    if (st >= 0) {
        st = parse_build_row(&t, m, err);
    }
    table_close(&t);
    return st;
}

/* A bound of a shard: JSON null, an integer (true is 1, 1.0 is 1) or a text. Integers beyond 64
 * bits are legal in the format but not keys that we could hold: they count as absent. */
static shardy_status parse_bound_value(manifest *m, const shardy_json_value *value,
    const char *name, int32_t *has_out, shardy_key *key_out, shardy_error *err)
{
    int64_t i;
    uint64_t u;
    double d;
    *has_out = 1;
    switch (shardy_json_type_of(value)) {
    case SHARDY_JSON_NULL:
        *has_out = 0;
        return SHARDY_OK;
    case SHARDY_JSON_BOOL:
        *key_out = shardy_key_int(shardy_json_bool(value));
        return SHARDY_OK;
    case SHARDY_JSON_STRING: {
        shardy_bytes text = shardy_json_string(value);
        char *copy = shardy__arena_strndup(&m->arena, text.data, text.len);
        *key_out = shardy_key_text(copy, text.len);
        return copy ? SHARDY_OK : shardy__error_nomem(err, "manifest");
    }
    case SHARDY_JSON_NUMBER:
        if (shardy_json_int64(value, &i)) {
            *key_out = shardy_key_int(i);
            return SHARDY_OK;
        }
        if (shardy_json_uint64(value, &u)) {
            *key_out = shardy_key_uint(u);
            return SHARDY_OK;
        }
        if (shardy_json_double(value, &d)) {
            if (d >= -9007199254740992.0 && d <= 9007199254740992.0 && d == (double)(int64_t)d) {
                *key_out = shardy_key_int((int64_t)d);
                return SHARDY_OK;
            }
            shardy_bytes text = shardy_json_string(value);
            if (!memchr(text.data, '.', text.len) && !memchr(text.data, 'e', text.len) &&
                !memchr(text.data, 'E', text.len) && !memchr(text.data, 'N', text.len) &&
                !memchr(text.data, 'I', text.len)) {
                *has_out = 0;
                return SHARDY_OK;
            }
        }
        break;
    default:
        break;
    }
    return shardy__invalid_json(err, name, value, "null, an integer or a text");
}

static shardy_status parse_bound(table_reader *t, manifest *m, const char *name, int32_t *has_out,
    shardy_key *key_out, shardy_error *err)
{
    const char *text;
    *has_out = 0;
    SHARDY_TRY(text_column(t, m, name, 1, &text, err));
    if (!text) {
        return SHARDY_OK;
    }
    shardy_json *json = NULL;
    shardy_bytes bytes = {text, strlen(text)};
    shardy_status st = shardy_json_parse(bytes, &json, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "shards.%s", name);
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    char where[64];
    snprintf(where, sizeof where, "shards.%s", name);
    st = parse_bound_value(m, shardy_json_root(json), where, has_out, key_out, err);
    shardy_json_free(json);
    return st;
}

/* Integers, and null for what only some writers know. */
static shardy_status parse_info_value(
    const shardy_json_value *root, manifest_shard *shard, shardy_error *err)
{
    static const struct {
        const char *name;
        const char *where;
        int nullable;
    } fields[] = {
        {"attempt", "shards.writer_info.attempt", 0},
        {"duration_ms", "shards.writer_info.duration_ms", 0},
        {"stage_id", "shards.writer_info.stage_id", 1},
        {"task_attempt_id", "shards.writer_info.task_attempt_id", 1},
    };
    if (shardy_json_type_of(root) != SHARDY_JSON_OBJECT) {
        return shardy__invalid_json(err, "shards.writer_info", root, "an object");
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const shardy_json_value *value = shardy_json_get(root, fields[i].name);
        int64_t n = 0;
        if (!value || (fields[i].nullable && shardy_json_type_of(value) == SHARDY_JSON_NULL)) {
            continue;
        }
        if (!shardy_json_int64(value, &n)) {
            return shardy__invalid_json(err, fields[i].where, value,
                fields[i].nullable ? "an integer or null" : "an integer");
        }
        if (i == 1) {
            shard->duration_ms = n;
        }
    }
    return SHARDY_OK;
}

static shardy_status parse_writer_info(
    table_reader *t, manifest *m, manifest_shard *shard, shardy_error *err)
{
    const char *text;
    SHARDY_TRY(text_column(t, m, "writer_info", 0, &text, err));
    shardy_json *json = NULL;
    shardy_bytes bytes = {text, strlen(text)};
    shardy_status st = shardy_json_parse(bytes, &json, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "shards.writer_info");
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    st = parse_info_value(shardy_json_root(json), shard, err);
    shardy_json_free(json);
    return st;
}

static shardy_status parse_shard_row(
    table_reader *t, manifest *m, manifest_shard *shard, shardy_error *err)
{
    uint64_t n;
    SHARDY_TRY(u64_column(t, "db_id", UINT32_MAX, &n, err));
    if (n >= m->num_dbs) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "shards.db_id is %llu, expected less than num_dbs, %u", (unsigned long long)n,
            m->num_dbs);
    }
    shard->db_id = (uint32_t)n;
    SHARDY_TRY(u64_column(t, "attempt", UINT32_MAX, &n, err));
    shard->attempt = (uint32_t)n;
    SHARDY_TRY(text_column(t, m, "db_url", 1, &shard->db_url, err));
    SHARDY_TRY(u64_column(t, "row_count", INT64_MAX, &shard->row_count, err));
    SHARDY_TRY(u64_column(t, "db_bytes", INT64_MAX, &shard->db_bytes, err));
    SHARDY_TRY(text_column(t, m, "checkpoint_id", 1, &shard->checkpoint_id, err));
    SHARDY_TRY(parse_bound(t, m, "min_key", &shard->has_min_key, &shard->min_key, err));
    SHARDY_TRY(parse_bound(t, m, "max_key", &shard->has_max_key, &shard->max_key, err));
    return parse_writer_info(t, m, shard, err);
}

/* One more place at the end of an array that grows by doubling inside the arena. */
static void *grow(
    manifest *m, void *array, size_t count, size_t *room, size_t size, shardy_error *err)
{
    if (count < *room) {
        return array;
    }
    size_t room_new = *room ? *room * 2 : 16;
    void *bigger = shardy__arena_calloc(&m->arena, room_new, size);
    if (!bigger) {
        shardy__error_nomem(err, "manifest");
        return NULL;
    }
    if (count) {
        memcpy(bigger, array, count * size);
    }
    *room = room_new;
    return bigger;
}

static shardy_status read_shards(table_reader *t, manifest *m, shardy_error *err)
{
    size_t room = 0;
    for (;;) {
        shardy_status st = table_next(t, m->shard_count == 0, err);
        if (st != SHARDY_OK) {
            return st == SHARDY_DONE ? SHARDY_OK : st;
        }
        if (m->shard_count >= m->num_dbs) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "table \"shards\" has more than num_dbs rows, expected at most %u", m->num_dbs);
        }
        m->shards = grow(m, m->shards, m->shard_count, &room, sizeof *m->shards, err);
        if (!m->shards) {
            return SHARDY_NOMEM;
        }
        SHARDY_TRY(parse_shard_row(t, m, &m->shards[m->shard_count], err));
        m->shard_count++;
    }
}

static int compare_shards(const void *a, const void *b)
{
    const manifest_shard *left = a;
    const manifest_shard *right = b;
    return (left->db_id > right->db_id) - (left->db_id < right->db_id);
}

/* Rows come by rowid, which the reference declares as db_id; in a table that does not, they may be
 * in any order. */
static shardy_status order_shards(manifest *m, shardy_error *err)
{
    if (m->shard_count > 1) {
        qsort(m->shards, m->shard_count, sizeof *m->shards, compare_shards);
    }
    for (uint32_t i = 1; i < m->shard_count; i++) {
        if (m->shards[i].db_id == m->shards[i - 1].db_id) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "shards.db_id is %u twice, expected once", m->shards[i].db_id);
        }
    }
    return SHARDY_OK;
}

static shardy_status parse_object_row(
    table_reader *t, manifest *m, shardy_object_digest *object, shardy_error *err)
{
    uint64_t n;
    record_value v;
    SHARDY_TRY(text_column(t, m, "path", 0, &object->path, err));
    const char *problem = shardy__key_problem(object->path, strlen(object->path));
    if (problem) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "shardy_objects has the path \"%.300s\", which %s", object->path, problem);
    }
    SHARDY_TRY(u64_column(t, "size", INT64_MAX, &object->size, err));
    SHARDY_TRY(u64_column(t, "chunk_bytes", UINT32_MAX, &n, err));
    SHARDY_TRY(column(t, "sha256", &v, err));
    if (n != SHARDY_CHUNK_LEN || v.type != RECORD_BLOB || v.len != SHARDY_SHA256_LEN) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "the digest of \"%.300s\" is not a SHA-256 over chunks of %u bytes", object->path,
            SHARDY_CHUNK_LEN);
    }
    memcpy(object->sha256, v.data, SHARDY_SHA256_LEN);
    return SHARDY_OK;
}

static shardy_status read_objects(table_reader *t, manifest *m, shardy_error *err)
{
    size_t room = 0;
    for (;;) {
        shardy_status st = table_next(t, m->object_count == 0, err);
        if (st != SHARDY_OK) {
            return st == SHARDY_DONE ? SHARDY_OK : st;
        }
        m->objects = grow(m, m->objects, m->object_count, &room, sizeof *m->objects, err);
        if (!m->objects) {
            return SHARDY_NOMEM;
        }
        shardy_object_digest *object = &m->objects[m->object_count];
        SHARDY_TRY(parse_object_row(t, m, object, err));
        if (m->object_count > 0 && strcmp(object[-1].path, object->path) >= 0) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "shardy_objects is not in order at \"%.300s\"", object->path);
        }
        m->object_count++;
    }
}

static shardy_status parse_table(manifest *m, const btree_file *file, const char *name,
    shardy_status (*read)(table_reader *t, manifest *m, shardy_error *err), shardy_error *err)
{
    table_reader t;
    shardy_status st = table_open(&t, m, file, name, err);
    if (st >= 0) {
        st = read(&t, m, err);
    }
    table_close(&t);
    return st;
}

static shardy_status parse_file(manifest *m, const btree_file *file, shardy_error *err)
{
    SHARDY_TRY(parse_build(m, file, err));
    SHARDY_TRY(parse_table(m, file, "shards", read_shards, err));
    SHARDY_TRY(order_shards(m, err));
    m->has_objects = shardy__btree_object(file, SCHEMA_TABLE, "shardy_objects") != NULL;
    if (m->has_objects) {
        SHARDY_TRY(parse_table(m, file, "shardy_objects", read_objects, err));
    }
    return SHARDY_OK;
}

shardy_status shardy__manifest_parse(shardy_bytes image, manifest **out, shardy_error *err)
{
    *out = NULL;
    if (image.len > SHARDY_MANIFEST_LEN_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "the manifest has %zu bytes, the limit is %u", image.len, SHARDY_MANIFEST_LEN_MAX);
    }
    page_source *source = NULL;
    btree_file *file = NULL;
    manifest *m = NULL;
    SHARDY_TRY(shardy__page_source_memory(image.data, image.len, NULL, &source, err));
    shardy_status st = shardy__btree_open_take(source, &file, err);
    if (st >= 0) {
        st = shardy__manifest_new(&m, err);
    }
    if (st >= 0) {
        st = parse_file(m, file, err);
    }
    /* A journal mode, an encoding, a view: SQLite has them, no reader accepts them in a
     * manifest. */
    if (st == SHARDY_UNSUPPORTED) {
        st = shardy__error_as(err, SHARDY_CORRUPT);
    }
    shardy__btree_close(file);
    if (st < 0) {
        shardy__manifest_free(m);
        return st;
    }
    *out = m;
    return SHARDY_OK;
}
