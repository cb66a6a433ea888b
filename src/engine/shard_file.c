#include "shard_file.h"

#include "../base/alloc.h"
#include "../base/context.h"
#include "../sqlitefile/btree_step.h"
#include "shard_object.h"

#include <shardyfusion/reader.h>

#include <string.h>

/* --- writing ---------------------------------------------------------------------------------- */

static shardy_status write_sink(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    shard_file_writer *w = user;
    shardy_status st = shardy__file_write_at(w->fd, offset, data, len, err);
    if (st >= 0 && w->sync) {
        st = shardy__file_flow(w->fd, &w->flow, offset + len, err);
    }
    return st < 0 ? shardy__error_prefix(err, st, "\"%.300s\"", w->path) : SHARDY_OK;
}

shardy_status shardy__shard_file_create(shard_file_writer *w, const shardy_engine_writer_spec *spec,
    uint32_t page_size, const btree_object *objects, size_t object_count, shardy_error *err)
{
    memset(w, 0, sizeof *w);
    w->fd = -1;
    w->sidecar_fd = -1;
    w->sync = spec->sync;
    w->dir = shardy__strdup(spec->scratch_dir);
    if (!w->dir) {
        return shardy__error_nomem(err, "engine");
    }
    SHARDY_TRY(shardy__path_join(w->dir, SHARD_FILE_NAME, &w->path, err));
    SHARDY_TRY(shardy__file_create(w->path, 0666, &w->fd, err));
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    options.page_size = page_size;
    options.sink.write = write_sink;
    options.sink.user = w;
    options.objects = objects;
    options.object_count = object_count;
    options.sidecar = spec->sidecar;
    options.scratch_dir = w->dir;
    w->sidecar = spec->sidecar;
    w->context = spec->context;
    if (w->sidecar) {
        SHARDY_TRY(shardy__path_join(w->dir, SHARD_SIDECAR_NAME, &w->sidecar_path, err));
    }
    return shardy__btree_writer_open(&options, &w->btree, err);
}

shardy_status shardy__shard_file_put(
    shard_file_writer *w, const shardy_engine_rows *rows, shardy_error *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        SHARDY_TRY(shardy__btree_put_kv(w->btree, 0, rows->keys[i], rows->values[i], err));
    }
    return SHARDY_OK;
}

static shardy_status write_sidecar(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    const shard_file_writer *w = user;
    return shardy__file_write_at(w->sidecar_fd, offset, data, len, err);
}

/* A shard whose index is too large for a sidecar has none. */
static shardy_status add_sidecar(
    shard_file_writer *w, shardy_engine_files *files_out, shardy_error *err)
{
    shardy_error error;
    uint64_t len = 0;
    const btree_sink sink = {write_sidecar, w};
    shardy__error_clear(&error);
    shardy_status st = shardy__file_create(w->sidecar_path, 0666, &w->sidecar_fd, &error);
    if (st >= 0) {
        st = shardy__btree_writer_sidecar(w->btree, &sink, &len, &error);
    }
    if (st == SHARDY_UNSUPPORTED) {
        shardy__log(
            w->context, SHARDY_LOG_INFO, "engine", "a shard gets no sidecar: %s", error.message);
        return SHARDY_OK;
    }
    if (st < 0) {
        if (err) {
            *err = error;
        }
        return shardy__error_prefix(err, st, "\"%.300s\"", w->sidecar_path);
    }
    shardy_engine_file *file = &w->files[files_out->count++];
    file->name = SHARD_SIDECAR_NAME;
    file->path = w->sidecar_path;
    file->content_type = "application/octet-stream";
    file->size = len;
    file->is_sidecar = 1;
    return SHARDY_OK;
}

shardy_status shardy__shard_file_finish(
    shard_file_writer *w, shardy_engine_files *files_out, shardy_error *err)
{
    SHARDY_TRY(shardy__btree_writer_finish(w->btree, &w->stats, err));
    shardy_status st = w->sync ? shardy__file_sync(w->fd, err) : SHARDY_OK;
    if (st < 0) {
        return shardy__error_prefix(err, st, "\"%.300s\"", w->path);
    }
    w->files[0].name = SHARD_FILE_NAME;
    w->files[0].path = w->path;
    w->files[0].content_type = SHARD_FILE_CONTENT_TYPE;
    w->files[0].size = w->stats.size;
    w->files[0].sums = (const uint8_t *)w->stats.sums;
    w->files[0].sum_count = w->stats.sum_count;
    files_out->files = w->files;
    files_out->count = 1;
    return w->sidecar ? add_sidecar(w, files_out, err) : SHARDY_OK;
}

void shardy__shard_file_close_writer(shard_file_writer *w)
{
    shardy__btree_writer_close(w->btree);
    if (w->fd >= 0) {
        shardy__file_close(w->fd);
    }
    shardy__file_close(w->sidecar_fd);
    shardy__free(w->sidecar_path);
    shardy__free(w->path);
    shardy__free(w->dir);
    memset(w, 0, sizeof *w);
    w->fd = -1;
    w->sidecar_fd = -1;
}

/* Interior pages are asked for when a shard is opened, if they take no more than four requests:
 * then a look-up goes from the root to its leaf in two round trips, however many levels there
 * are. */
#define INTERIORS_MAX (4u << 20)

/* --- reading ---------------------------------------------------------------------------------- */

/* Checks that kv is what it has to be: a table WITHOUT ROWID whose key is k alone, with a column
 * v. */
static shardy_status find_kv(shard_file *f, shardy_error *err)
{
    const schema_object *table = NULL;
    shardy_status st = shardy__btree_table(f->btree, "kv", &f->kv, &table, err);
    if (st < 0) {
        return st;
    }
    int32_t k = st == SHARDY_OK ? shardy__schema_column(table, "k") : -1;
    int32_t v = st == SHARDY_OK ? shardy__schema_column(table, "v") : -1;
    if (k < 0 || v < 0 || f->kv.kind != BTREE_INDEX || table->key_fields != 1 ||
        table->columns[k].field != 0) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "there is no table kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
    }
    f->value_field = table->columns[v].field;
    return SHARDY_OK;
}

shardy_status shardy__shard_file_open_take(
    shard_file *f, page_source *source, const page_limits *limits, shardy_error *err)
{
    memset(f, 0, sizeof *f);
    shardy_status st = shardy__btree_open_limited_take(source, limits, &f->btree, err);
    if (st >= 0) {
        f->source = source;
        f->context = limits ? limits->context : NULL;
        st = find_kv(f, err);
    }
    if (st >= 0 && source->verified) { /* a file of ours */
        shardy__walk_ask_interiors(&f->kv, INTERIORS_MAX, limits);
    }
    if (st < 0) {
        shardy__shard_file_close(f);
        return st;
    }
    return SHARDY_OK;
}

shardy_status shardy__shard_file_open(
    shard_file *f, const shardy_engine_reader_spec *spec, shardy_error *err)
{
    page_source *source = NULL;
    memset(f, 0, sizeof *f);
    SHARDY_TRY(shardy__shard_object_open(spec, SHARD_FILE_NAME,
        spec->io == SHARDY_IO_PREAD ? PAGE_IO_PREAD : PAGE_IO_AUTO, &source, err));
    const page_limits limits = shardy__open_limits(spec);
    shardy_status st = shardy__shard_file_open_take(f, source, &limits, err);
    return st < 0 ? shardy__error_prefix(err, st, "%.300s/%s", spec->shard_path, SHARD_FILE_NAME)
                  : SHARDY_OK;
}

void shardy__shard_file_close(shard_file *f)
{
    shardy__btree_close(f->btree); /* closes the source */
    memset(f, 0, sizeof *f);
}

shardy_status shardy__shard_file_get(const shard_file *f, shardy_bytes key,
    const page_limits *limits, shardy_buf *value_out, shardy_error *err)
{
    btree_key wanted = {RECORD_BLOB, 0, key.data, key.len};
    if (!limits) {
        return shardy__btree_get(&f->kv, &wanted, f->value_field, value_out, err);
    }
    btree_tree kv = f->kv;
    kv.limits = limits;
    return shardy__btree_get(&kv, &wanted, f->value_field, value_out, err);
}

static void release_hold(shardy_buf *buf)
{
    shardy__page_hold_drop(buf->owner, 1);
}

shardy_status shardy__shard_file_get_many(
    const shard_file *f, shardy_engine_get *request, shardy_error *err)
{
    memset(&request->hold, 0, sizeof request->hold);
    const page_limits limits = shardy__page_limits(&request->limits, f->context);
    int lends = shardy__page_source_lends(f->source);
    if (request->count == 1 && !lends) {
        shardy_status st =
            shardy__shard_file_get(f, request->keys[0], &limits, &request->values_out[0], err);
        request->statuses_out[0] = st;
        return st < 0 ? st : SHARDY_OK;
    }
    const btree_answers answers = {request->values_out, request->statuses_out};
    btree_tree kv = f->kv;
    kv.limits = &limits;
    kv.fetches_max = request->fetches_max;
    SHARDY_TRY(shardy__btree_get_many(
        &kv, RECORD_BLOB, request->keys, request->count, f->value_field, answers, err));
    if (lends) {
        request->hold.owner = shardy__page_source_hold(f->source, 1);
        request->hold.release = release_hold;
    }
    return SHARDY_OK;
}
