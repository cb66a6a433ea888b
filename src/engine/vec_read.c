/* vec_read.c: reading the tables of vec_tables.h. */
#include "vec_tables.h"

#include "../base/alloc.h"
#include "../base/bytes.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

#include <string.h>

static shardy_status corrupt(shardy_error *err, const char *what)
{
    return shardy__error(err, SHARDY_CORRUPT, "sqlite-vec", "%s", what);
}

/* A table and the fields of the columns that are needed from it. */
static shardy_status open_table(const vec_tables *t, const char *name, btree_tree *tree_out,
    const char *const *columns, uint32_t *const *fields, size_t count, shardy_error *err)
{
    const schema_object *table = NULL;
    shardy_status st = shardy__btree_table(t->file.btree, name, tree_out, &table, err);
    if (st < 0) {
        return st;
    }
    if (st != SHARDY_OK || tree_out->kind != BTREE_TABLE) {
        return shardy__error(
            err, SHARDY_CORRUPT, "sqlite-vec", "there is no rowid table \"%s\"", name);
    }
    for (size_t i = 0; i < count; i++) {
        int32_t column = shardy__schema_column(table, columns[i]);
        if (column < 0) {
            return shardy__error(err, SHARDY_CORRUPT, "sqlite-vec",
                "table \"%s\" has no column \"%s\"", name, columns[i]);
        }
        *fields[i] = table->columns[column].field;
    }
    return SHARDY_OK;
}

static shardy_status open_tables(
    vec_tables *t, uint32_t *size_field, uint32_t *chunk_field, shardy_error *err)
{
    static const char *const chunk_columns[] = {"size", "validity", "rowids"};
    static const char *const vector_columns[] = {"rowid", "vectors"};
    static const char *const id_columns[] = {"original_id"};
    static const char *const payload_columns[] = {"payload"};
    uint32_t *const chunk_fields[] = {size_field, &t->validity_field, &t->rowids_field};
    uint32_t *const vector_fields[] = {chunk_field, &t->vectors_field};
    uint32_t *const id_fields[] = {&t->id_field};
    uint32_t *const payload_fields[] = {&t->payload_field};
    SHARDY_TRY(open_table(t, "vec_index_chunks", &t->chunks, chunk_columns, chunk_fields, 3, err));
    SHARDY_TRY(open_table(
        t, "vec_index_vector_chunks00", &t->vectors, vector_columns, vector_fields, 2, err));
    SHARDY_TRY(open_table(t, "vec_id_map", &t->id_map, id_columns, id_fields, 1, err));
    return open_table(t, "vec_payloads", &t->payloads, payload_columns, payload_fields, 1, err);
}

static shardy_status int_field(btree_walk *walk, uint32_t field, int64_t *out, shardy_error *err)
{
    record_column column;
    uint8_t bytes[8];
    record_value value;
    SHARDY_TRY(shardy__btree_walk_field(walk, field, &column, err));
    if (column.len > sizeof bytes) {
        return corrupt(err, "a chunk has a field that is not an integer");
    }
    SHARDY_TRY(shardy__btree_read(
        &walk->tree, &walk->cell, column.offset, bytes, (size_t)column.len, err));
    SHARDY_TRY(shardy__record_value(column.serial, bytes, &value, err));
    if (value.type != RECORD_INT) {
        return corrupt(err, "a chunk has a field that is not an integer");
    }
    *out = value.integer;
    return SHARDY_OK;
}

/* One more place in the list. */
static shardy_status grow(vec_tables *t, uint32_t *room, shardy_error *err)
{
    if (t->count < *room) {
        return SHARDY_OK;
    }
    uint32_t bigger = *room ? *room * 2 : 16;
    vec_chunk *list = shardy__realloc(t->list, bigger * sizeof *list);
    if (!list) {
        return shardy__error_nomem(err, "engine");
    }
    t->list = list;
    *room = bigger;
    return SHARDY_OK;
}

/* A blob field of a known length, copied. */
static shardy_status read_blob(
    btree_walk *walk, uint32_t field, void *dest, size_t len, shardy_error *err)
{
    record_column column;
    SHARDY_TRY(shardy__btree_walk_field(walk, field, &column, err));
    if (shardy__serial_type(column.serial) != RECORD_BLOB || column.len != len) {
        return corrupt(err, "validity or rowids of a chunk do not have the length of its size");
    }
    return shardy__btree_read(&walk->tree, &walk->cell, column.offset, dest, len, err);
}

/* Counts the vectors of a chunk. */
static shardy_status count_valid(vec_tables *t, btree_walk *walk, uint32_t rows, shardy_error *err)
{
    uint8_t validity[VEC_CHUNK_ROWS_MAX / 8];
    SHARDY_TRY(read_blob(walk, t->validity_field, validity, rows / 8, err));
    for (uint32_t i = 0; i < rows / 8; i++) {
        t->vector_count += (uint64_t)__builtin_popcount(validity[i]);
    }
    return SHARDY_OK;
}

/* Takes the overflow pages of an entry off those that the file can have. No page belongs to two
 * chunks; this bounds the work of a search by the size of the file, whatever the file says. */
static shardy_status spend_pages(
    const btree_walk *walk, uint64_t *left, uint32_t *pages_out, shardy_error *err)
{
    uint32_t per_page = walk->tree.file->usable - 4;
    uint64_t beyond = walk->cell.payload_len - walk->cell.local_len;
    uint64_t pages = beyond / per_page + (beyond % per_page != 0);
    if (pages > *left) {
        return corrupt(err, "the chunks need more overflow pages than the file has");
    }
    *left -= pages;
    *pages_out = (uint32_t)pages;
    return SHARDY_OK;
}

/* Chunks by ascending id (the rowid of vec_index_chunks). */
static shardy_status list_chunks(
    vec_tables *t, uint32_t size_field, uint64_t *pages_left, shardy_error *err)
{
    btree_walk walk;
    uint32_t room = 0;
    shardy__btree_walk_init(&walk, &t->chunks);
    shardy__btree_walk_first(&walk);
    shardy_status st;
    while ((st = shardy__btree_walk_run(&walk, err)) == SHARDY_OK) {
        int64_t size;
        uint32_t pages = 0;
        st = int_field(&walk, size_field, &size, err);
        if (st >= 0 && (size < 8 || size > VEC_CHUNK_ROWS_MAX || size % 8 != 0)) {
            st = corrupt(err, "a chunk has a size that is no multiple of 8 up to 65536");
        }
        if (st >= 0 && t->count > 0 && t->list[t->count - 1].chunk_id >= walk.cell.rowid) {
            st = corrupt(err, "the chunks are not in the order of their ids");
        }
        if (st >= 0) {
            st = spend_pages(&walk, pages_left, &pages, err);
        }
        if (st >= 0) {
            st = count_valid(t, &walk, (uint32_t)size, err);
        }
        if (st >= 0) {
            st = grow(t, &room, err);
        }
        if (st < 0) {
            break;
        }
        vec_chunk *chunk = &t->list[t->count++];
        memset(chunk, 0, sizeof *chunk);
        chunk->chunk_id = walk.cell.rowid;
        chunk->chunks_rowid = walk.cell.rowid;
        chunk->vectors_rowid = INT64_MIN;
        chunk->rows = (uint32_t)size;
        chunk->rowids_overflow = walk.cell.overflow;
        chunk->rowids_pages = pages;
        shardy__btree_walk_next(&walk);
    }
    shardy__btree_walk_end(&walk);
    return st < 0 ? st : SHARDY_OK;
}

static vec_chunk *find_chunk(vec_tables *t, int64_t chunk_id)
{
    uint32_t low = 0;
    uint32_t high = t->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->list[middle].chunk_id < chunk_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < t->count && t->list[low].chunk_id == chunk_id ? &t->list[low] : NULL;
}

/* Which row of vec_index_vector_chunks00 holds the vectors of which chunk. */
static shardy_status match_vectors(
    vec_tables *t, uint32_t chunk_field, uint64_t *pages_left, shardy_error *err)
{
    btree_walk walk;
    int64_t last = INT64_MIN;
    shardy__btree_walk_init(&walk, &t->vectors);
    shardy__btree_walk_first(&walk);
    shardy_status st;
    while ((st = shardy__btree_walk_run(&walk, err)) == SHARDY_OK) {
        int64_t chunk_id;
        uint32_t pages = 0;
        st = spend_pages(&walk, pages_left, &pages, err);
        if (st >= 0) {
            st = int_field(&walk, chunk_field, &chunk_id, err);
        }
        if (st < 0) {
            break;
        }
        vec_chunk *chunk = find_chunk(t, chunk_id);
        if (!chunk || chunk->vectors_rowid != INT64_MIN) {
            st =
                corrupt(err, "vec_index_vector_chunks00 has a chunk that vec_index_chunks has not");
            break;
        }
        if (walk.cell.rowid <= last) {
            st = corrupt(err, "vec_index_vector_chunks00 is not in the order of its rowids");
            break;
        }
        last = chunk->vectors_rowid = walk.cell.rowid;
        chunk->vectors_overflow = walk.cell.overflow;
        chunk->vectors_pages = pages;
        shardy__btree_walk_next(&walk);
    }
    shardy__btree_walk_end(&walk);
    for (uint32_t i = 0; st >= 0 && i < t->count; i++) {
        if (t->list[i].vectors_rowid == INT64_MIN) {
            st = corrupt(err, "vec_index_vector_chunks00 lacks a chunk of vec_index_chunks");
        }
    }
    return st < 0 ? st : SHARDY_OK;
}

/* Everything but the file, which is open. */
static shardy_status load_tables(vec_tables *t, const page_limits *limits, shardy_error *err)
{
    uint64_t pages_left = t->file.btree->page_count;
    uint32_t size_field = 0;
    uint32_t chunk_field = 0;
    if (t->dim < 1 || t->dim > SHARDY_DIM_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite-vec",
            "the vectors have dimension %u, expected 1 to %u", t->dim, SHARDY_DIM_MAX);
    }
    SHARDY_TRY(open_tables(t, &size_field, &chunk_field, err));
    shardy__vec_tables_limit(t, limits);
    const char *table = "vec_index_chunks";
    shardy_status st = list_chunks(t, size_field, &pages_left, err);
    if (st >= 0) {
        table = "vec_index_vector_chunks00";
        st = match_vectors(t, chunk_field, &pages_left, err);
    }
    if (st < 0) {
        shardy__error_prefix(err, st, "table %s", table);
    }
    shardy__vec_tables_limit(t, NULL);
    return st;
}

static void set_figures(vec_tables *t, const shardy_engine_reader_spec *spec)
{
    memset(t, 0, sizeof *t);
    t->context = spec->context;
    t->dim = spec->dim;
    t->metric = spec->metric;
}

shardy_status shardy__vec_tables_open_take(
    vec_tables *t, const shardy_engine_reader_spec *spec, page_source *source, shardy_error *err)
{
    set_figures(t, spec);
    const page_limits limits = shardy__open_limits(spec);
    shardy_status st = shardy__shard_file_open_take(&t->file, source, &limits, err);
    if (st >= 0) {
        st = load_tables(t, &limits, err);
    }
    if (st < 0) {
        shardy__vec_tables_close(t);
        return st;
    }
    return SHARDY_OK;
}

shardy_status shardy__vec_tables_open(
    vec_tables *t, const shardy_engine_reader_spec *spec, shardy_error *err)
{
    set_figures(t, spec);
    SHARDY_TRY(shardy__shard_file_open(&t->file, spec, err));
    const page_limits limits = shardy__open_limits(spec);
    shardy_status st = load_tables(t, &limits, err);
    if (st < 0) {
        shardy__vec_tables_close(t);
        return shardy__error_prefix(err, st, "%.300s", spec->shard_path);
    }
    return SHARDY_OK;
}

void shardy__vec_tables_close(vec_tables *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        shardy__free(atomic_load(&t->list[i].pages));
    }
    shardy__free(t->list);
    shardy__shard_file_close(&t->file);
    memset(t, 0, sizeof *t);
}

/* --- one chunk -------------------------------------------------------------------------------- */

void shardy__vec_view_init(vec_view *v, const vec_tables *t)
{
    memset(v, 0, sizeof *v);
    v->tables = t;
    shardy__btree_walk_init(&v->walk, &t->vectors);
}

void shardy__vec_view_free(vec_view *v)
{
    shardy__btree_walk_end(&v->walk);
    shardy__free(v->rowids);
    memset(v, 0, sizeof *v);
}

int64_t shardy__vec_view_rowid(const vec_view *v, uint32_t slot)
{
    return (int64_t)shardy__get_le64(v->rowids + (size_t)slot * 8);
}

static shardy_status find_row(btree_walk *walk, int64_t rowid, shardy_error *err)
{
    btree_key key = {RECORD_INT, rowid, NULL, 0};
    shardy__btree_walk_find(walk, &key);
    shardy_status st = shardy__btree_walk_run(walk, err);
    return st == SHARDY_NOT_FOUND ? corrupt(err, "a row of a chunk is not where it was") : st;
}

static shardy_status load_slots(vec_view *v, const vec_chunk *chunk, shardy_error *err)
{
    const vec_tables *t = v->tables;
    v->slots = 0;
    if (chunk->rows > v->room) {
        shardy__free(v->rowids);
        v->room = 0;
        v->rowids = shardy__malloc((size_t)chunk->rows * 8 + chunk->rows / 8);
        if (!v->rowids) {
            return shardy__error_nomem(err, "engine");
        }
        v->room = chunk->rows;
    }
    uint8_t *validity = v->rowids + (size_t)chunk->rows * 8;
    v->validity = validity;
    btree_walk walk;
    shardy__btree_walk_init(&walk, &t->chunks);
    shardy_status st = find_row(&walk, chunk->chunks_rowid, err);
    if (st >= 0) {
        st = read_blob(&walk, t->validity_field, validity, chunk->rows / 8, err);
    }
    if (st >= 0) {
        st = read_blob(&walk, t->rowids_field, v->rowids, (size_t)chunk->rows * 8, err);
    }
    shardy__btree_walk_end(&walk);
    if (st < 0) {
        return st;
    }
    for (uint32_t slot = chunk->rows; slot > 0 && v->slots == 0; slot--) {
        if (shardy__vec_view_valid(v, slot - 1)) {
            v->slots = slot;
        }
    }
    return SHARDY_OK;
}

/* Follows an overflow chain once and notes its pages, so that any row of the chunk can be reached
 * at once afterwards: 4 bytes per page. The chain must be exactly as long as the payload needs,
 * which also ends a cycle. */
static shardy_status walk_chain(const vec_view *v, uint32_t *pages, shardy_error *err)
{
    page_source *source = v->tables->file.source;
    uint32_t next = v->walk.cell.overflow;
    for (uint32_t i = 0; i < v->page_count; i++) {
        /* Chains of files that were written in one go have their pages one after the other. */
        page_want want = {next, v->page_count - i - 1, {NULL, NULL}};
        shardy_status st = shardy__page_get(source, next, &want.ref, err);
        if (st == SHARDY_PENDING) {
            page_want *wants[1] = {&want};
            st = shardy__page_fetch(source, wants, 1, v->tables->vectors.limits, err);
        }
        if (st < 0) {
            return shardy__error_prefix(err, st, "overflow page of a chunk");
        }
        pages[i] = next;
        next = shardy__get_be32(want.ref.data);
        shardy__page_unpin(source, &want.ref);
    }
    return next == 0 ? SHARDY_OK : corrupt(err, "the overflow chain of a chunk is too long");
}

static shardy_status load_pages(vec_view *v, vec_chunk *chunk, shardy_error *err)
{
    uint64_t beyond = v->walk.cell.payload_len - v->walk.cell.local_len;
    uint32_t per_page = v->tables->file.btree->usable - 4;
    uint64_t count = (beyond + per_page - 1) / per_page;
    if (count > v->tables->file.btree->page_count) {
        return corrupt(err, "a chunk needs more overflow pages than the file has");
    }
    v->page_count = (uint32_t)count;
    v->pages = atomic_load(&chunk->pages);
    if (v->pages || count == 0) {
        return SHARDY_OK;
    }
    uint32_t *pages = shardy__malloc((size_t)count * sizeof *pages);
    if (!pages) {
        return shardy__error_nomem(err, "engine");
    }
    shardy_status st = walk_chain(v, pages, err);
    uint32_t *expected = NULL;
    if (st < 0 || !atomic_compare_exchange_strong(&chunk->pages, &expected, pages)) {
        shardy__free(pages); /* another thread was first */
    }
    v->pages = atomic_load(&chunk->pages);
    return st;
}

shardy_status shardy__vec_view_load(vec_view *v, uint32_t number, shardy_error *err)
{
    const vec_tables *t = v->tables;
    vec_chunk *chunk = &t->list[number];
    SHARDY_TRY(load_slots(v, chunk, err));
    SHARDY_TRY(find_row(&v->walk, chunk->vectors_rowid, err));
    record_column column;
    SHARDY_TRY(shardy__btree_walk_field(&v->walk, t->vectors_field, &column, err));
    uint64_t len = (uint64_t)chunk->rows * t->dim * sizeof(float);
    if (shardy__serial_type(column.serial) != RECORD_BLOB || column.len != len) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite-vec",
            "the vectors of chunk %lld have %llu bytes, dimension %u needs %llu",
            (long long)chunk->chunk_id, (unsigned long long)column.len, t->dim,
            (unsigned long long)len);
    }
    v->blob_offset = column.offset;
    return load_pages(v, chunk, err);
}

/* --- ids and payloads ------------------------------------------------------------------------- */

/* Integers of Python have no limit: beyond 64 bits they are their digits. */
static int is_whole(const shardy_json_value *value)
{
    shardy_bytes text = shardy_json_string(value);
    const char *p = text.data;
    int whole = shardy_json_type_of(value) == SHARDY_JSON_NUMBER && text.len > 0;
    for (size_t i = 0; whole && i < text.len; i++) {
        whole = p[i] == '-' || (p[i] >= '0' && p[i] <= '9');
    }
    return whole;
}

static shardy_status parse_id(
    shardy_bytes text, bytebuf *keep, shardy_key *id_out, shardy_error *err)
{
    shardy_json *json = NULL;
    shardy_status st = shardy_json_parse(text, &json, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "vec_id_map");
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    const shardy_json_value *value = shardy_json_get(shardy_json_root(json), "v");
    shardy_bytes type = shardy_json_string(shardy_json_get(shardy_json_root(json), "t"));
    const int is_int = type.len == 3 && memcmp(type.data, "int", 3) == 0;
    int64_t number;
    uint64_t large;
    if (is_int && shardy_json_int64(value, &number)) {
        *id_out = shardy_key_int(number);
    } else if (is_int && shardy_json_uint64(value, &large)) {
        *id_out = shardy_key_uint(large);
    } else if (shardy_json_type_of(value) == SHARDY_JSON_STRING || (is_int && is_whole(value))) {
        shardy_bytes id = shardy_json_string(value);
        shardy__bytebuf_clear(keep);
        shardy__bytebuf_append(keep, id.data, id.len);
        st = shardy__bytebuf_check(keep, "engine", err);
        *id_out = shardy_key_text(keep->data, id.len);
    } else {
        st = corrupt(err, "an entry of vec_id_map has neither an integer nor a text");
    }
    shardy_json_free(json);
    return st;
}

void shardy__vec_ids_init(vec_ids *ids, const vec_tables *t)
{
    ids->tables = t;
    ids->left = t->file.source->size;
    /* the hex digits of the longest key of bytes */
    shardy__bytebuf_init(&ids->text, (size_t)SHARDY_KEY_LEN_MAX * 2);
}

void shardy__vec_ids_free(vec_ids *ids)
{
    shardy__bytebuf_free(&ids->text);
}

shardy_status shardy__vec_ids_get(
    vec_ids *ids, int64_t rowid, shardy_key *id_out, shardy_error *err)
{
    const vec_tables *t = ids->tables;
    btree_key key = {RECORD_INT, rowid, NULL, 0};
    shardy_buf value = {0};
    *id_out = shardy_key_int(rowid);
    shardy_status st = shardy__btree_get(&t->id_map, &key, t->id_field, &value, err);
    if (st == SHARDY_OK && value.len > ids->left) {
        st = corrupt(err, "the ids of the vectors are longer than the file");
    }
    if (st == SHARDY_OK) {
        ids->left -= value.len;
        st = parse_id(shardy__bytes(value.data, value.len), &ids->text, id_out, err);
    }
    shardy_buf_release(&value);
    return st < 0 ? st : SHARDY_OK;
}

shardy_status shardy__vec_payload(const vec_tables *t, int64_t rowid, const page_limits *limits,
    shardy_buf *payload_out, shardy_error *err)
{
    btree_key key = {RECORD_INT, rowid, NULL, 0};
    btree_tree payloads = t->payloads;
    payloads.limits = limits;
    return shardy__btree_get(&payloads, &key, t->payload_field, payload_out, err);
}

/* --- reading ahead ---------------------------------------------------------------------------- */

shardy_status shardy__vec_rows_ahead(
    const btree_tree *tree, const uint64_t *rows, size_t count, shardy_error *err)
{
    if (count == 0 || !shardy__page_source_starts(tree->file->source)) {
        return SHARDY_OK;
    }
    size_t room = count < BTREE_BATCH_FETCHES ? count : BTREE_BATCH_FETCHES;
    int64_t *rowids = shardy__malloc(room * sizeof *rowids);
    int32_t *statuses = shardy__malloc(room * sizeof *statuses);
    shardy_buf *values = shardy__malloc(room * sizeof *values);
    shardy_status st =
        rowids && statuses && values ? SHARDY_OK : shardy__error_nomem(err, "engine");
    for (size_t done = 0; st >= 0 && done < count;) {
        size_t n = count - done < room ? count - done : room;
        for (size_t i = 0; i < n; i++) {
            rowids[i] = (int64_t)rows[done + i];
        }
        const btree_answers answers = {values, statuses};
        st = shardy__btree_touch_rows(tree, rowids, n, answers, err);
        done += n;
    }
    shardy__free(rowids);
    shardy__free(statuses);
    shardy__free(values);
    return st;
}

void shardy__vec_tables_limit(vec_tables *t, const page_limits *limits)
{
    t->chunks.limits = limits;
    t->vectors.limits = limits;
    t->id_map.limits = limits;
    t->payloads.limits = limits;
}
