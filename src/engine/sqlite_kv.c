/* sqlite_kv.c: the engine "sqlite": key-value records in one SQLite file (formats.md 5.1). */
#include "engine.h"
#include "shard_check.h"

#include "../base/alloc.h"

static shardy_status kv_writer_open(
    const shardy_engine_writer_spec *spec, void **writer_out, shardy_error *err)
{
    *writer_out = NULL;
    shard_file_writer *w = shardy__calloc(1, sizeof *w);
    if (!w) {
        return shardy__error_nomem(err, "engine");
    }
    page_size_cell cell = {spec->value_len_p95, spec->key_len_max};
    uint32_t page_size = spec->page_size ? spec->page_size : shardy__page_size_recommend(&cell, 1);
    btree_object kv = {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL, SHARD_FILE_KV_SQL, 1};
    shardy_status st = shardy__shard_file_create(w, spec, page_size, &kv, 1, err);
    if (st < 0) {
        shardy__shard_file_close_writer(w);
        shardy__free(w);
        return st;
    }
    *writer_out = w;
    return SHARDY_OK;
}

static shardy_status kv_put(void *writer, const shardy_engine_rows *rows, shardy_error *err)
{
    return shardy__shard_file_put(writer, rows, err);
}

static shardy_status kv_finish_writer(
    void *writer, shardy_engine_files *files_out, shardy_error *err)
{
    return shardy__shard_file_finish(writer, files_out, err);
}

static void kv_writer_free(void *writer)
{
    if (writer) {
        shardy__shard_file_close_writer(writer);
        shardy__free(writer);
    }
}

static shardy_status kv_reader_open(
    const shardy_engine_reader_spec *spec, void **reader_out, shardy_error *err)
{
    *reader_out = NULL;
    shard_file *f = shardy__calloc(1, sizeof *f);
    if (!f) {
        return shardy__error_nomem(err, "engine");
    }
    shardy_status st = shardy__shard_file_open(f, spec, err);
    if (st < 0) {
        shardy__free(f);
        return st;
    }
    *reader_out = f;
    return SHARDY_OK;
}

static shardy_status kv_get_now(
    void *reader, shardy_bytes key, shardy_buf *value_out, shardy_error *err)
{
    const shard_file *f = reader;
    return shardy__page_source_lends(f->source)
               ? shardy__shard_file_get(f, key, NULL, value_out, err)
               : SHARDY_PENDING;
}

/* The only operation is a batch of look-ups, which needs no state of its own: the request is the
 * operation. */
static shardy_status kv_get_start(
    void *reader, shardy_engine_get *request, void **op_out, shardy_error *err)
{
    (void)reader;
    (void)err;
    *op_out = request;
    return SHARDY_OK;
}

static shardy_status kv_step(void *reader, void *op, shardy_error *err)
{
    return shardy__shard_file_get_many(reader, op, err);
}

static shardy_status kv_fetch(void *reader, void *op, shardy_error *err)
{
    (void)reader;
    (void)op;
    return shardy__error(err, SHARDY_INTERNAL, "engine", "nothing was pending");
}

static void kv_finish(void *reader, void *op)
{
    (void)reader;
    (void)op;
}

static shardy_status kv_check(void *reader, const shardy_engine_check *request, shardy_error *err)
{
    return shardy__shard_check(reader, NULL, request, err);
}

static uint64_t kv_vector_count(void *reader)
{
    (void)reader;
    return 0;
}

static void kv_reader_close(void *reader)
{
    shardy__shard_file_close(reader);
    shardy__free(reader);
}

const shardy_engine_ops shardy__engine_sqlite = {
    .abi = SHARDY_ENGINE_ABI,
    .struct_size = sizeof(shardy_engine_ops),
    .name = "sqlite",
    .caps = SHARDY_ENGINE_CAP_KV | SHARDY_ENGINE_CAP_REMOTE,
    .writer_open = kv_writer_open,
    .writer_put = kv_put,
    .writer_finish = kv_finish_writer,
    .writer_free = kv_writer_free,
    .reader_open = kv_reader_open,
    .get_now = kv_get_now,
    .get_start = kv_get_start,
    .step = kv_step,
    .fetch = kv_fetch,
    .finish = kv_finish,
    .check = kv_check,
    .vector_count = kv_vector_count,
    .reader_close = kv_reader_close,
};
