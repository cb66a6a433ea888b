#include "shard_check.h"

#include "../base/alloc.h"
#include "../sqlitefile/btree_check.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Of the begin of a row of kv: its header and the longest key. */
#define KV_RECORD_MAX ((size_t)SHARDY_KEY_LEN_MAX + 64)
#define NOT_COUNTED   UINT64_MAX /* entries of an object that is damaged */

typedef struct shard_check {
    const shard_file *file;
    const shardy_engine_check *request;
    btree_check pages;
    uint64_t *entries; /* of each object of the schema */
    int32_t has_vectors;
    vec_tables vectors; /* a copy, with the limits of `pages` */
    vec_ids ids;
} shard_check;

/* --- rows ------------------------------------------------------------------------------------- */

static shardy_status check_kv(
    void *user, const btree_cell *cell, shardy_bytes record, shardy_error *err)
{
    const shard_check *c = user;
    record_column key;
    record_column value;
    SHARDY_TRY(shardy__record_find(record.data, record.len, cell->payload_len, 0, &key, err));
    SHARDY_TRY(shardy__record_find(
        record.data, record.len, cell->payload_len, c->file->value_field, &value, err));
    const record_type type = shardy__serial_type(value.serial);
    if (shardy__serial_type(key.serial) != RECORD_BLOB ||
        (type != RECORD_BLOB && type != RECORD_TEXT)) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite", "a row of kv is not (blob, blob)");
    }
    if (key.len > SHARDY_KEY_LEN_MAX || key.offset + key.len > record.len ||
        value.len > SHARDY_VALUE_LEN_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "a row has %llu bytes of key and %llu of value, expected at most %u and %u",
            (unsigned long long)key.len, (unsigned long long)value.len, SHARDY_KEY_LEN_MAX,
            SHARDY_VALUE_LEN_MAX);
    }
    const uint8_t *begin = record.data;
    return c->request->key(
        c->request->user, shardy__bytes(begin + key.offset, (size_t)key.len), err);
}

/* An id must be found by its rowid, and be one. */
static shardy_status check_id(
    void *user, const btree_cell *cell, shardy_bytes record, shardy_error *err)
{
    (void)record;
    shard_check *c = user;
    shardy_key id;
    shardy__btree_check_renew(&c->pages);
    return shardy__vec_ids_get(&c->ids, cell->rowid, &id, err);
}

/* The rows of the chunks as a search reads them, overflow pages included. */
static shardy_status check_chunks(shard_check *c, shardy_error *err)
{
    vec_view view;
    shardy_status st = SHARDY_OK;
    shardy__vec_view_init(&view, &c->vectors);
    for (uint32_t i = 0; i < c->vectors.count && st >= 0; i++) {
        shardy__btree_check_renew(&c->pages);
        st = shardy__vec_view_load(&view, i, err);
        for (uint32_t page = 0; page < view.page_count && st >= 0; page++) {
            st = shardy__btree_check_use(&c->pages, view.pages[page], err);
        }
    }
    shardy__vec_view_free(&view);
    return st;
}

/* --- objects ---------------------------------------------------------------------------------- */

static int is_table(const schema_object *object, const char *name)
{
    return object->kind == SCHEMA_TABLE && shardy__schema_same_name(object->name, name);
}

/* What is to be seen of an object beside its pages. */
static btree_visit visit_of(shard_check *c, const schema_object *object)
{
    btree_visit visit = {NULL, c, 0, 0};
    if (is_table(object, "kv")) {
        visit.entry = check_kv;
        visit.record_max = KV_RECORD_MAX;
    } else if (c->has_vectors && is_table(object, "vec_id_map")) {
        visit.entry = check_id;
    } else if (c->has_vectors && is_table(object, "vec_index_vector_chunks00")) {
        visit.no_chains = 1;
    }
    return visit;
}

/* Tells of damage; OK when the check can go on. */
static shardy_status tell(shard_check *c, const schema_object *object, shardy_status st,
    shardy_error *error, shardy_error *err)
{
    if (st != SHARDY_CORRUPT && st != SHARDY_CHECKSUM) {
        if (st < 0 && err) {
            *err = *error;
        }
        return st;
    }
    const char *kind = object && object->kind == SCHEMA_INDEX ? "index" : "table";
    const char *name = object ? object->name : "sqlite_schema";
    const uint32_t page = c->pages.page;
    (void)shardy__error_prefix(error, st, "%s %.100s", kind, name);
    const uint64_t offset = page ? (uint64_t)(page - 1) * c->file->btree->page_size : 0;
    return c->request->damaged(c->request->user, offset, error, err);
}

static shardy_status check_object(
    shard_check *c, const schema_object *object, uint64_t *entries_out, shardy_error *err)
{
    const btree_visit none = {NULL, NULL, 0, 0};
    const btree_visit visit = object ? visit_of(c, object) : none;
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__btree_check_tree(&c->pages, object, &visit, entries_out, &error);
    if (st >= 0 && visit.no_chains) {
        st = check_chunks(c, &error);
    }
    if (st < 0) {
        *entries_out = NOT_COUNTED;
    }
    return tell(c, object, st, &error, err);
}

/* --- what the tables say to each other -------------------------------------------------------- */

static shardy_status compare(
    shard_check *c, uint32_t number, uint64_t expected, const char *of, shardy_error *err)
{
    const uint64_t entries = c->entries[number];
    shardy_error error;
    if (entries == NOT_COUNTED || expected == NOT_COUNTED || entries == expected) {
        return SHARDY_OK;
    }
    shardy__error_clear(&error);
    c->pages.page = 0;
    shardy_status st =
        shardy__error(&error, SHARDY_CORRUPT, "sqlite", "it has %llu entries, %.100s has %llu",
            (unsigned long long)entries, of, (unsigned long long)expected);
    return tell(c, &c->file->btree->objects[number], st, &error, err);
}

/* Those without a text, which belong to a constraint, have an entry for each row. */
static shardy_status compare_index(shard_check *c, uint32_t number, shardy_error *err)
{
    const btree_file *file = c->file->btree;
    const schema_object *table =
        shardy__btree_object(file, SCHEMA_TABLE, file->objects[number].table);
    return table && !file->objects[number].sql
               ? compare(c, number, c->entries[table - file->objects], table->name, err)
               : SHARDY_OK;
}

static shardy_status compare_all(shard_check *c, shardy_error *err)
{
    const btree_file *file = c->file->btree;
    for (uint32_t i = 0; i < file->object_count; i++) {
        const schema_object *object = &file->objects[i];
        if (object->kind == SCHEMA_INDEX) {
            SHARDY_TRY(compare_index(c, i, err));
        } else if (c->has_vectors &&
                   (is_table(object, "vec_index_rowids") || is_table(object, "vec_id_map"))) {
            SHARDY_TRY(compare(c, i, c->vectors.vector_count, "the index of the vectors", err));
        }
    }
    return SHARDY_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

static shardy_status check_all(shard_check *c, shardy_error *err)
{
    const btree_file *file = c->file->btree;
    uint64_t ignored = 0;
    SHARDY_TRY(check_object(c, NULL, &ignored, err));
    for (uint32_t i = 0; i < file->object_count; i++) {
        c->entries[i] = NOT_COUNTED;
        if (file->objects[i].root) {
            SHARDY_TRY(check_object(c, &file->objects[i], &c->entries[i], err));
        }
    }
    return compare_all(c, err);
}

shardy_status shardy__shard_check(const shard_file *file, const vec_tables *vectors,
    const shardy_engine_check *request, shardy_error *err)
{
    const btree_check_spec spec = {file->btree, request->context, request->timeout_ms,
        request->cancel, request->tick, request->user};
    shard_check c;
    memset(&c, 0, sizeof c);
    c.file = file;
    c.request = request;
    if (vectors) {
        c.has_vectors = 1;
        c.vectors = *vectors;
        shardy__vec_tables_limit(&c.vectors, &c.pages.limits);
        shardy__vec_ids_init(&c.ids, &c.vectors);
    }
    c.entries = shardy__calloc((size_t)file->btree->object_count + 1, sizeof *c.entries);
    shardy_status st = shardy__btree_check_init(&c.pages, &spec, err);
    if (st >= 0) {
        st = c.entries ? check_all(&c, err) : shardy__error_nomem(err, "engine");
    }
    shardy__btree_check_free(&c.pages);
    shardy__free(c.entries);
    if (vectors) {
        shardy__vec_ids_free(&c.ids);
    }
    return st;
}
