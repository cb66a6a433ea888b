/* vec_write.c: writing the tables of vec_tables.h. */
#include "vec_tables.h"

#include "../base/alloc.h"
#include "../base/bytes.h"
#include "../base/json.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

#define VALIDITY_LEN (VEC_CHUNK_ROWS / 8)
#define ROWIDS_LEN   (VEC_CHUNK_ROWS * 8)

static const char info_sql[] = "CREATE TABLE \"vec_index_info\" (key text primary key, value any)";
static const char chunks_sql[] =
    "CREATE TABLE \"vec_index_chunks\"(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "size INTEGER NOT NULL,validity BLOB NOT NULL,rowids BLOB NOT NULL)";
static const char sequence_sql[] = "CREATE TABLE sqlite_sequence(name,seq)";
static const char rowids_sql[] =
    "CREATE TABLE \"vec_index_rowids\"(rowid INTEGER PRIMARY KEY AUTOINCREMENT,id,"
    "chunk_id INTEGER,chunk_offset INTEGER)";
static const char vectors_sql[] =
    "CREATE TABLE \"vec_index_vector_chunks00\"(rowid PRIMARY KEY,vectors BLOB NOT NULL)";
static const char payloads_sql[] =
    "CREATE TABLE vec_payloads (rowid INTEGER PRIMARY KEY, payload TEXT NOT NULL)";
static const char id_map_sql[] =
    "CREATE TABLE vec_id_map (internal_id INTEGER PRIMARY KEY, original_id TEXT NOT NULL)";

static record_value text_value(const char *text)
{
    return shardy__record_text(text, strlen(text));
}

static shardy_status put_info(vec_writer *w, shardy_error *err)
{
    static const char *const keys[] = {
        "CREATE_VERSION", "CREATE_VERSION_MAJOR", "CREATE_VERSION_MINOR", "CREATE_VERSION_PATCH"};
    for (int i = 0; i < 4; i++) {
        static const int64_t numbers[] = {0, 0, 1, 9};
        record_value row[] = {
            text_value(keys[i]), i == 0 ? text_value("v0.1.9") : shardy__record_int(numbers[i])};
        record_value key[] = {text_value(keys[i]), shardy__record_int(i + 1)};
        SHARDY_TRY(shardy__btree_put_row(w->file.btree, VEC_OBJECT_INFO, i + 1, row, 2, err));
        SHARDY_TRY(shardy__btree_put_record(w->file.btree, VEC_OBJECT_INFO_KEY, key, 2, err));
    }
    return SHARDY_OK;
}

shardy_status shardy__vec_writer_open(
    vec_writer *w, const shardy_engine_writer_spec *spec, shardy_error *err)
{
    memset(w, 0, sizeof *w);
    w->file.fd = -1;
    w->file.sidecar_fd = -1;
    w->dim = spec->dim;
    shardy__bytebuf_init(&w->text, (size_t)SHARDY_KEY_LEN_MAX * 16);
    char index_sql[160];
    snprintf(index_sql, sizeof index_sql,
        "CREATE VIRTUAL TABLE vec_index USING vec0(embedding float[%u] distance_metric=%s)",
        spec->dim, spec->metric == SHARDY_VECTOR_METRIC_L2 ? "l2" : "cosine");
    const btree_object objects[VEC_OBJECT_COUNT] = {
        {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL, SHARD_FILE_KV_SQL, 1},
        {BTREE_OBJECT_VIRTUAL, "vec_index", NULL, index_sql, 0},
        {BTREE_OBJECT_TABLE, "vec_index_info", NULL, info_sql, 0},
        {BTREE_OBJECT_INDEX, "sqlite_autoindex_vec_index_info_1", "vec_index_info", NULL, 0},
        {BTREE_OBJECT_TABLE, "vec_index_chunks", NULL, chunks_sql, 0},
        {BTREE_OBJECT_TABLE, "sqlite_sequence", NULL, sequence_sql, 0},
        {BTREE_OBJECT_TABLE, "vec_index_rowids", NULL, rowids_sql, 0},
        {BTREE_OBJECT_TABLE, "vec_index_vector_chunks00", NULL, vectors_sql, 0},
        {BTREE_OBJECT_INDEX, "sqlite_autoindex_vec_index_vector_chunks00_1",
            "vec_index_vector_chunks00", NULL, 0},
        {BTREE_OBJECT_TABLE, "vec_payloads", NULL, payloads_sql, 0},
        {BTREE_OBJECT_TABLE, "vec_id_map", NULL, id_map_sql, 0},
    };
    page_size_cell cells[] = {
        {spec->value_len_p95, spec->key_len_max}, {(uint64_t)spec->dim * 4 + 16, 9}};
    uint32_t page_size = spec->page_size ? spec->page_size : shardy__page_size_recommend(cells, 2);
    w->chunk = shardy__malloc((size_t)spec->dim * VEC_CHUNK_ROWS * sizeof(float));
    if (!w->chunk) {
        return shardy__error_nomem(err, "engine");
    }
    SHARDY_TRY(
        shardy__shard_file_create(&w->file, spec, page_size, objects, VEC_OBJECT_COUNT, err));
    return put_info(w, err);
}

/* Rows of a full or last chunk. The unused tail is zero, as sqlite-vec leaves it. */
static shardy_status put_chunk(vec_writer *w, shardy_error *err)
{
    uint8_t validity[VALIDITY_LEN] = {0};
    uint8_t rowids[ROWIDS_LEN] = {0};
    uint64_t first = w->count - w->chunk_len;
    int64_t chunk_id = (int64_t)(first / VEC_CHUNK_ROWS) + 1;
    for (uint32_t i = 0; i < w->chunk_len; i++) {
        validity[i / 8] = (uint8_t)(validity[i / 8] | 1u << (i % 8));
        shardy__put_le64(rowids + (size_t)i * 8, first + i);
    }
    size_t row_len = (size_t)w->dim * sizeof(float);
    memset(w->chunk + (size_t)w->chunk_len * w->dim, 0, (VEC_CHUNK_ROWS - w->chunk_len) * row_len);
    record_value chunk[] = {shardy__record_null(), shardy__record_int(VEC_CHUNK_ROWS),
        shardy__record_blob(validity, sizeof validity), shardy__record_blob(rowids, sizeof rowids)};
    record_value vectors[] = {
        shardy__record_int(chunk_id), shardy__record_blob(w->chunk, VEC_CHUNK_ROWS * row_len)};
    record_value key[] = {shardy__record_int(chunk_id), shardy__record_int(chunk_id)};
    btree_writer *b = w->file.btree;
    SHARDY_TRY(shardy__btree_put_row(b, VEC_OBJECT_CHUNKS, chunk_id, chunk, 4, err));
    SHARDY_TRY(shardy__btree_put_row(b, VEC_OBJECT_VECTORS, chunk_id, vectors, 2, err));
    SHARDY_TRY(shardy__btree_put_record(b, VEC_OBJECT_VECTORS_KEY, key, 2, err));
    w->chunk_len = 0;
    return SHARDY_OK;
}

/* {"v": 1, "t": "int"} as the reference writes it. */
static shardy_status render_id(bytebuf *text, const shardy_key *id, shardy_error *err)
{
    json_writer j;
    shardy__bytebuf_clear(text);
    shardy__json_writer_init(&j, text, JSON_PYTHON);
    shardy__json_begin_object(&j);
    shardy__json_name(&j, "v");
    if (id->type == SHARDY_KEY_INT) {
        shardy__json_int(&j, id->i);
    } else {
        shardy__json_string_bytes(&j, id->bytes);
    }
    shardy__json_name(&j, "t");
    shardy__json_string(&j, id->type == SHARDY_KEY_INT ? "int" : "str");
    shardy__json_end_object(&j);
    shardy_status st = shardy__json_writer_finish(&j, "engine", err);
    shardy__json_writer_free(&j);
    return st;
}

static shardy_status add_one(vec_writer *w, const float *vector, const shardy_key *id,
    shardy_bytes payload, shardy_error *err)
{
    int64_t rowid = (int64_t)w->count;
    btree_writer *b = w->file.btree;
    memcpy(w->chunk + (size_t)w->chunk_len * w->dim, vector, (size_t)w->dim * sizeof(float));
    record_value row[] = {shardy__record_null(), shardy__record_null(),
        shardy__record_int(rowid / VEC_CHUNK_ROWS + 1), shardy__record_int(w->chunk_len)};
    SHARDY_TRY(shardy__btree_put_row(b, VEC_OBJECT_ROWIDS, rowid, row, 4, err));
    if (payload.data) {
        record_value value[] = {
            shardy__record_null(), shardy__record_text(payload.data, payload.len)};
        SHARDY_TRY(shardy__btree_put_row(b, VEC_OBJECT_PAYLOADS, rowid, value, 2, err));
    }
    SHARDY_TRY(render_id(&w->text, id, err));
    record_value map[] = {shardy__record_null(), shardy__record_text(w->text.data, w->text.len)};
    SHARDY_TRY(shardy__btree_put_row(b, VEC_OBJECT_ID_MAP, rowid, map, 2, err));
    w->count++;
    w->chunk_len++;
    return w->chunk_len == VEC_CHUNK_ROWS ? put_chunk(w, err) : SHARDY_OK;
}

shardy_status shardy__vec_writer_add(
    vec_writer *w, const shardy_engine_vectors *vectors, shardy_error *err)
{
    for (size_t i = 0; i < vectors->count; i++) {
        SHARDY_TRY(add_one(w, vectors->vectors + i * vectors->stride, &vectors->ids[i],
            vectors->payloads[i], err));
    }
    return SHARDY_OK;
}

static shardy_status put_sequence(vec_writer *w, shardy_error *err)
{
    if (w->count == 0) {
        return SHARDY_OK;
    }
    int64_t chunks = (int64_t)((w->count + VEC_CHUNK_ROWS - 1) / VEC_CHUNK_ROWS);
    record_value rowids[] = {
        text_value("vec_index_rowids"), shardy__record_int((int64_t)w->count - 1)};
    record_value chunk[] = {text_value("vec_index_chunks"), shardy__record_int(chunks)};
    SHARDY_TRY(shardy__btree_put_row(w->file.btree, VEC_OBJECT_SEQUENCE, 1, rowids, 2, err));
    return shardy__btree_put_row(w->file.btree, VEC_OBJECT_SEQUENCE, 2, chunk, 2, err);
}

shardy_status shardy__vec_writer_finish(
    vec_writer *w, shardy_engine_files *files_out, shardy_error *err)
{
    if (w->chunk_len > 0) {
        SHARDY_TRY(put_chunk(w, err));
    }
    SHARDY_TRY(put_sequence(w, err));
    return shardy__shard_file_finish(&w->file, files_out, err);
}

void shardy__vec_writer_close(vec_writer *w)
{
    shardy__shard_file_close_writer(&w->file);
    shardy__free(w->chunk);
    shardy__bytebuf_free(&w->text);
    w->chunk = NULL;
}
