#include "btree_read.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "btree_fence.h"
#include "btree_page.h"
#include "btree_step.h"

#include <string.h>

static shardy_status corrupt(shardy_error *err, const char *what, uint32_t value)
{
    return shardy__error(
        err, SHARDY_CORRUPT, "sqlite", "not a usable SQLite file: %s (%u)", what, value);
}

/* --- the header ------------------------------------------------------------------------------- */

static shardy_status read_page_size(btree_file *file, const uint8_t *h, shardy_error *err)
{
    uint32_t size = shardy__get_be16(h + 16);
    size = size == 1 ? PAGE_SIZE_MAX : size;
    if (size < PAGE_SIZE_MIN || (size & (size - 1)) != 0) {
        return corrupt(err, "page size", size);
    }
    uint32_t reserved = h[20];
    if (size - reserved < PAGE_USABLE_MIN) {
        return corrupt(err, "reserved bytes", reserved);
    }
    file->page_size = size;
    file->usable = size - reserved;
    file->index_local_max = shardy__page_index_local_max(file->usable);
    file->table_local_max = shardy__page_table_local_max(file->usable);
    file->local_min = shardy__page_local_min(file->usable);
    return SHARDY_OK;
}

/* The count in the header holds when the last writer knew of it; the file must have just these
 * pages. */
static shardy_status read_page_count(btree_file *file, const uint8_t *h, shardy_error *err)
{
    uint64_t size = file->source->size;
    uint64_t pages = size / file->page_size;
    uint32_t count = shardy__get_be32(h + 28);
    int holds = count != 0 && shardy__get_be32(h + 24) == shardy__get_be32(h + 92);
    if (size % file->page_size != 0 || pages == 0 || pages > UINT32_MAX - 1 ||
        (holds && count != pages)) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "file has %llu bytes, expected %u pages of %u", (unsigned long long)size, count,
            file->page_size);
    }
    file->page_count = (uint32_t)pages;
    return SHARDY_OK;
}

static shardy_status read_file_header(
    btree_file *file, const page_limits *limits, shardy_error *err)
{
    uint8_t h[FILE_HEADER];
    SHARDY_TRY(shardy__page_source_head(file->source, h, sizeof h, limits, err));
    if (memcmp(h, FILE_MAGIC, sizeof FILE_MAGIC) != 0) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "file does not begin with \"" FILE_MAGIC "\": not a SQLite file");
    }
    SHARDY_TRY(read_page_size(file, h, err));
    if (h[18] == 2 || h[19] == 2) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sqlite",
            "file uses a write-ahead log, expected a rollback journal");
    }
    if (h[18] != 1 || h[19] != 1) {
        return corrupt(err, "file format version", h[18] != 1 ? h[18] : h[19]);
    }
    if (h[21] != 64 || h[22] != 32 || h[23] != 32) {
        return corrupt(err, "payload fraction", h[21]);
    }
    SHARDY_TRY(read_page_count(file, h, err));
    uint32_t format = shardy__get_be32(h + 44);
    if (format > 4) {
        return corrupt(err, "schema format", format);
    }
    uint32_t encoding = shardy__get_be32(h + 56);
    if (encoding == 2 || encoding == 3) {
        return shardy__error(
            err, SHARDY_UNSUPPORTED, "sqlite", "text encoding is UTF-16, expected UTF-8");
    }
    if (encoding > 1) {
        return corrupt(err, "text encoding", encoding);
    }
    file->freelist_count = shardy__get_be32(h + 36);
    file->schema_cookie = shardy__get_be32(h + 40);
    file->user_version = shardy__get_be32(h + 60);
    file->application_id = shardy__get_be32(h + 68);
    return shardy__page_source_set_pages(file->source, file->page_size, file->page_count, err);
}

/* --- the schema ------------------------------------------------------------------------------- */

enum {
    SCHEMA_TYPE,
    SCHEMA_NAME,
    SCHEMA_TBL_NAME,
    SCHEMA_ROOT,
    SCHEMA_SQL,
    SCHEMA_FIELDS
};

/* Objects while they are read. Texts are kept by offset until their buffer stops growing; 0 is the
 * text of nobody. */
typedef struct schema_load {
    btree_file *file;
    bytebuf text;
    schema_object *objects;
    size_t *offsets; /* three for each object: name, table, sql */
    uint32_t count;
    uint32_t room;
} schema_load;

static int text_is(const record_value *v, const char *text)
{
    return v->type == RECORD_TEXT && v->len == strlen(text) && memcmp(v->data, text, v->len) == 0;
}

static shardy_status object_kind(const record_value *values, int32_t *kind_out, shardy_error *err)
{
    static const struct {
        const char *type;
        int32_t kind;
    } kinds[] = {{"table", SCHEMA_TABLE}, {"index", SCHEMA_INDEX}, {"view", SCHEMA_VIEW},
        {"trigger", SCHEMA_TRIGGER}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (text_is(&values[SCHEMA_TYPE], kinds[i].type)) {
            *kind_out = kinds[i].kind;
            return SHARDY_OK;
        }
    }
    return shardy__error(
        err, SHARDY_CORRUPT, "sqlite", "sqlite_schema has an object of unknown type");
}

static shardy_status keep_text(
    schema_load *load, const record_value *v, size_t *offset_out, shardy_error *err)
{
    if (v->type != RECORD_TEXT || memchr(v->data, '\0', v->len)) {
        return shardy__error(
            err, SHARDY_CORRUPT, "sqlite", "sqlite_schema has a name that is not text");
    }
    *offset_out = load->text.len;
    shardy__bytebuf_append(&load->text, v->data, v->len);
    shardy__bytebuf_putc(&load->text, '\0');
    if (load->text.status == SHARDY_INVALID) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "sqlite_schema has more than %u bytes of text", SCHEMA_TEXT_LEN_MAX);
    }
    return shardy__bytebuf_check(&load->text, "sqlite", err);
}

static shardy_status grow_objects(schema_load *load, shardy_error *err)
{
    if (load->count < load->room) {
        return SHARDY_OK;
    }
    if (load->count == SCHEMA_OBJECTS_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "sqlite_schema has more than %u objects", SCHEMA_OBJECTS_MAX);
    }
    uint32_t room = load->room ? load->room * 2 : 16;
    schema_object *objects = shardy__realloc(load->objects, room * sizeof *objects);
    if (objects) {
        load->objects = objects;
    }
    size_t *offsets = shardy__realloc(load->offsets, room * 3 * sizeof *offsets);
    if (offsets) {
        load->offsets = offsets;
    }
    if (!objects || !offsets) {
        return shardy__error_nomem(err, "sqlite");
    }
    load->room = room;
    return SHARDY_OK;
}

static shardy_status read_object(schema_load *load, btree_walk *walk, shardy_error *err)
{
    record_value values[SCHEMA_FIELDS];
    SHARDY_TRY(shardy__btree_walk_record(walk, SCHEMA_TEXT_LEN_MAX, values, SCHEMA_FIELDS, err));
    SHARDY_TRY(grow_objects(load, err));
    schema_object *object = &load->objects[load->count];
    size_t *offsets = &load->offsets[3 * (size_t)load->count];
    memset(object, 0, sizeof *object);
    memset(offsets, 0, 3 * sizeof *offsets);
    object->rowid_column = -1;
    SHARDY_TRY(object_kind(values, &object->kind, err));
    SHARDY_TRY(keep_text(load, &values[SCHEMA_NAME], &offsets[0], err));
    SHARDY_TRY(keep_text(load, &values[SCHEMA_TBL_NAME], &offsets[1], err));
    if (values[SCHEMA_SQL].type != RECORD_NULL) {
        SHARDY_TRY(keep_text(load, &values[SCHEMA_SQL], &offsets[2], err));
        object->sql_len = values[SCHEMA_SQL].len;
    }
    int64_t root = values[SCHEMA_ROOT].type == RECORD_INT ? values[SCHEMA_ROOT].integer : 0;
    if (object->kind == SCHEMA_TABLE && root == 0) {
        object->kind = SCHEMA_VIRTUAL;
    }
    if (object->kind == SCHEMA_TABLE || object->kind == SCHEMA_INDEX) {
        if (root < 2 || root > load->file->page_count) {
            return shardy__error(err, SHARDY_CORRUPT, "sqlite",
                "sqlite_schema names root page %lld, expected 2 to %u", (long long)root,
                load->file->page_count);
        }
        object->root = (uint32_t)root;
    }
    load->count++;
    return SHARDY_OK;
}

/* Texts to pointers, and the columns of tables. */
static shardy_status finish_objects(schema_load *load, shardy_error *err)
{
    btree_file *file = load->file;
    file->objects = load->objects;
    file->text = load->text.data;
    file->object_count = load->count;
    char *text = load->text.data;
    load->objects = NULL;
    load->text.data = NULL;
    for (uint32_t i = 0; i < file->object_count; i++) {
        schema_object *object = &file->objects[i];
        const size_t *offsets = &load->offsets[3 * (size_t)i];
        object->name = text + offsets[0];
        object->table = text + offsets[1];
        object->sql = offsets[2] ? text + offsets[2] : NULL;
        if (object->kind == SCHEMA_TABLE) {
            if (!object->sql) {
                object->unreadable = "no CREATE TABLE text";
                continue;
            }
            SHARDY_TRY(shardy__schema_parse_table(object->sql, object->sql_len, object, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status read_schema(btree_file *file, const page_limits *limits, shardy_error *err)
{
    schema_load load;
    memset(&load, 0, sizeof load);
    load.file = file;
    shardy__bytebuf_init(&load.text, SCHEMA_TEXT_LEN_MAX);
    btree_tree tree = {file, 1, BTREE_TABLE, 0, 0, RECORD_NULL, 0, limits};
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    shardy__btree_walk_first(&walk);
    shardy_status st = shardy__btree_walk_run(&walk, err);
    while (st == SHARDY_OK) {
        st = read_object(&load, &walk, err);
        if (st == SHARDY_OK) {
            shardy__btree_walk_next(&walk);
            st = shardy__btree_walk_run(&walk, err);
        }
    }
    shardy__btree_walk_end(&walk);
    if (st == SHARDY_DONE) {
        st = finish_objects(&load, err);
    }
    shardy__bytebuf_free(&load.text);
    shardy__free(load.objects);
    shardy__free(load.offsets);
    return st;
}

/* --- opening and looking up ------------------------------------------------------------------- */

shardy_status shardy__btree_open_take(page_source *source, btree_file **file_out, shardy_error *err)
{
    return shardy__btree_open_limited_take(source, NULL, file_out, err);
}

shardy_status shardy__btree_open_limited_take(
    page_source *source, const page_limits *limits, btree_file **file_out, shardy_error *err)
{
    *file_out = NULL;
    btree_file *file = shardy__calloc(1, sizeof *file);
    if (!file) {
        shardy__page_source_close(source);
        return shardy__error_nomem(err, "sqlite");
    }
    file->source = source;
    file->fences = 1;
    file->hints = shardy__calloc(BTREE_HINTS, sizeof *file->hints);
    shardy_status st = file->hints ? SHARDY_OK : shardy__error_nomem(err, "sqlite");
    if (st >= 0) {
        st = read_file_header(file, limits, err);
    }
    if (st >= 0) {
        st = read_schema(file, limits, err);
    }
    if (st < 0) {
        shardy__btree_close(file);
        return st;
    }
    *file_out = file;
    return SHARDY_OK;
}

void shardy__btree_close(btree_file *file)
{
    if (!file) {
        return;
    }
    for (uint32_t i = 0; i < file->object_count; i++) {
        shardy__schema_object_clear(&file->objects[i]);
    }
    shardy__free(file->objects);
    shardy__free(file->text);
    for (uint32_t i = 0; file->hints && i < BTREE_HINTS; i++) {
        shardy__fence_free(&file->hints[i]);
    }
    shardy__free(file->hints);
    shardy__page_source_close(file->source);
    shardy__free(file);
}

const schema_object *shardy__btree_object(const btree_file *file, int32_t kind, const char *name)
{
    for (uint32_t i = 0; i < file->object_count; i++) {
        const schema_object *object = &file->objects[i];
        if (object->kind == kind && shardy__schema_same_name(object->name, name)) {
            return object;
        }
    }
    return NULL;
}

shardy_status shardy__btree_table(const btree_file *file, const char *name, btree_tree *tree_out,
    const schema_object **object_out, shardy_error *err)
{
    memset(tree_out, 0, sizeof *tree_out);
    if (object_out) {
        *object_out = NULL;
    }
    const schema_object *object = shardy__btree_object(file, SCHEMA_TABLE, name);
    if (!object) {
        if (shardy__btree_object(file, SCHEMA_VIEW, name) ||
            shardy__btree_object(file, SCHEMA_VIRTUAL, name)) {
            return shardy__error(err, SHARDY_UNSUPPORTED, "sqlite",
                "\"%s\" is a view or virtual table, expected a table", name);
        }
        return SHARDY_NOT_FOUND;
    }
    if (object->unreadable) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sqlite", "table \"%s\" cannot be read: %s",
            name, object->unreadable);
    }
    tree_out->file = file;
    tree_out->root = object->root;
    tree_out->kind = object->without_rowid ? BTREE_INDEX : BTREE_TABLE;
    shardy__walk_learn(tree_out);
    if (object_out) {
        *object_out = object;
    }
    return SHARDY_OK;
}

shardy_status shardy__btree_index(
    const btree_file *file, const char *name, btree_tree *tree_out, shardy_error *err)
{
    (void)err;
    memset(tree_out, 0, sizeof *tree_out);
    const schema_object *object = shardy__btree_object(file, SCHEMA_INDEX, name);
    if (!object) {
        return SHARDY_NOT_FOUND;
    }
    tree_out->file = file;
    tree_out->root = object->root;
    tree_out->kind = BTREE_INDEX;
    shardy__walk_learn(tree_out);
    return SHARDY_OK;
}
