/* sqlite_vec.c: the engine "sqlite-vec": key-value records and a vec0 index in one SQLite file
 * (formats.md, section 6). */
#include "engine.h"
#include "shard_check.h"
#include "vec_search.h"
#include "vec_tables.h"

#include "../base/alloc.h"

#include <string.h>

static shardy_status vec_writer_new(
    const shardy_engine_writer_spec *spec, void **writer_out, shardy_error *err)
{
    *writer_out = NULL;
    if (spec->dim == 0) {
        return shardy__error(err, SHARDY_INVALID, "engine",
            "the engine \"sqlite-vec\" needs the dimension of the vectors");
    }
    if (spec->metric != SHARDY_VECTOR_METRIC_COSINE && spec->metric != SHARDY_VECTOR_METRIC_L2) {
        return shardy__error(err, SHARDY_INVALID, "engine",
            "metric is \"%s\", the engine sqlite-vec has cosine and l2",
            shardy_vector_metric_name(spec->metric));
    }
    vec_writer *w = shardy__calloc(1, sizeof *w);
    if (!w) {
        return shardy__error_nomem(err, "engine");
    }
    shardy_status st = shardy__vec_writer_open(w, spec, err);
    if (st < 0) {
        shardy__vec_writer_close(w);
        shardy__free(w);
        return st;
    }
    *writer_out = w;
    return SHARDY_OK;
}

static shardy_status vec_put(void *writer, const shardy_engine_rows *rows, shardy_error *err)
{
    vec_writer *w = writer;
    return shardy__shard_file_put(&w->file, rows, err);
}

static shardy_status vec_add(void *writer, const shardy_engine_vectors *vectors, shardy_error *err)
{
    return shardy__vec_writer_add(writer, vectors, err);
}

static shardy_status vec_finish_writer(
    void *writer, shardy_engine_files *files_out, shardy_error *err)
{
    return shardy__vec_writer_finish(writer, files_out, err);
}

static void vec_writer_delete(void *writer)
{
    if (writer) {
        shardy__vec_writer_close(writer);
        shardy__free(writer);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_status vec_reader_open(
    const shardy_engine_reader_spec *spec, void **reader_out, shardy_error *err)
{
    *reader_out = NULL;
    vec_tables *t = shardy__calloc(1, sizeof *t);
    if (!t) {
        return shardy__error_nomem(err, "engine");
    }
    shardy_status st = shardy__vec_tables_open(t, spec, err);
    if (st < 0) {
        shardy__free(t);
        return st;
    }
    *reader_out = t;
    return SHARDY_OK;
}

static shardy_status vec_get_now(
    void *reader, shardy_bytes key, shardy_buf *value_out, shardy_error *err)
{
    const vec_tables *t = reader;
    return shardy__page_source_lends(t->file.source)
               ? shardy__shard_file_get(&t->file, key, NULL, value_out, err)
               : SHARDY_PENDING;
}

/* An operation is a batch of look-ups or a search. */
typedef struct vec_op {
    shardy_engine_get *get;
    vec_search *search;
} vec_op;

static shardy_status new_op(vec_op **op_out, shardy_error *err)
{
    *op_out = shardy__calloc(1, sizeof **op_out);
    return *op_out ? SHARDY_OK : shardy__error_nomem(err, "engine");
}

static shardy_status vec_get_start(
    void *reader, shardy_engine_get *request, void **op_out, shardy_error *err)
{
    (void)reader;
    vec_op *op = NULL;
    *op_out = NULL;
    SHARDY_TRY(new_op(&op, err));
    op->get = request;
    *op_out = op;
    return SHARDY_OK;
}

static shardy_status vec_search_start(
    void *reader, shardy_engine_search *request, void **op_out, shardy_error *err)
{
    vec_op *op = NULL;
    *op_out = NULL;
    SHARDY_TRY(new_op(&op, err));
    shardy_status st = shardy__vec_search_new(reader, request, &op->search, err);
    if (st < 0) {
        shardy__free(op);
        return st;
    }
    *op_out = op;
    return SHARDY_OK;
}

static shardy_status vec_step(void *reader, void *op, shardy_error *err)
{
    const vec_tables *t = reader;
    vec_op *o = op;
    return o->search ? shardy__vec_search_run(o->search, err)
                     : shardy__shard_file_get_many(&t->file, o->get, err);
}

static shardy_status vec_fetch(void *reader, void *op, shardy_error *err)
{
    (void)reader;
    (void)op;
    return shardy__error(err, SHARDY_INTERNAL, "engine", "nothing was pending");
}

static void vec_finish(void *reader, void *op)
{
    (void)reader;
    vec_op *o = op;
    if (o) {
        shardy__vec_search_free(o->search);
        shardy__free(o);
    }
}

static shardy_status vec_payload_of(void *reader, uint64_t row, const shardy_engine_limits *limits,
    shardy_buf *payload_out, shardy_error *err)
{
    const vec_tables *t = reader;
    const page_limits l = shardy__page_limits(limits, t->context);
    return shardy__vec_payload(t, (int64_t)row, limits ? &l : NULL, payload_out, err);
}

static void vec_payloads_ahead(
    void *reader, const uint64_t *rows, size_t count, const shardy_engine_limits *limits)
{
    const vec_tables *t = reader;
    const page_limits l = shardy__page_limits(limits, t->context);
    btree_tree tree = t->payloads;
    tree.limits = limits ? &l : NULL;
    (void)shardy__vec_rows_ahead(&tree, rows, count, NULL);
}

static shardy_status vec_check(void *reader, const shardy_engine_check *request, shardy_error *err)
{
    const vec_tables *t = reader;
    return shardy__shard_check(&t->file, t, request, err);
}

static uint64_t vec_count(void *reader)
{
    const vec_tables *t = reader;
    return t->vector_count;
}

static void vec_reader_close(void *reader)
{
    shardy__vec_tables_close(reader);
    shardy__free(reader);
}

const shardy_engine_ops shardy__engine_sqlite_vec = {
    .abi = SHARDY_ENGINE_ABI,
    .struct_size = sizeof(shardy_engine_ops),
    .name = "sqlite-vec",
    .caps = SHARDY_ENGINE_CAP_KV | SHARDY_ENGINE_CAP_VECTOR | SHARDY_ENGINE_CAP_REMOTE,
    .writer_open = vec_writer_new,
    .writer_put = vec_put,
    .writer_add_vectors = vec_add,
    .writer_finish = vec_finish_writer,
    .writer_free = vec_writer_delete,
    .reader_open = vec_reader_open,
    .get_now = vec_get_now,
    .get_start = vec_get_start,
    .search_start = vec_search_start,
    .step = vec_step,
    .fetch = vec_fetch,
    .finish = vec_finish,
    .payload = vec_payload_of,
    .payloads_ahead = vec_payloads_ahead,
    .check = vec_check,
    .vector_count = vec_count,
    .reader_close = vec_reader_close,
};
