#include "engine.h"

#include <stdio.h>
#include <string.h>

/* Defaults are chosen, and messages name them, in this order. */
static const shardy_engine_ops *const engines[] = {
    &shardy__engine_sqlite,
    &shardy__engine_sqlite_vec,
    &shardy__engine_mem,
};

/* Engines of snapshots that exist, but which later versions will read. */
static const char *const engines_to_come[] = {
    "slatedb", "lancedb", "sqlite+lancedb", "slatedb+lancedb"};

const shardy_engine_ops *const *shardy_engine_list(size_t *count_out)
{
    if (count_out) {
        *count_out = sizeof engines / sizeof engines[0];
    }
    return engines;
}

const shardy_engine_ops *shardy__engine_default(int vectors)
{
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        uint64_t caps = engines[i]->caps;
        int fits = ((caps & SHARDY_ENGINE_CAP_VECTOR) != 0) == (vectors != 0);
        if (fits && !(caps & SHARDY_ENGINE_CAP_TESTING)) {
            return engines[i];
        }
    }
    return engines[0];
}

/* "a, b and c": the engines that are offered. */
static void name_engines(char *out, size_t size)
{
    const char *names[sizeof engines / sizeof engines[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        if (!(engines[i]->caps & SHARDY_ENGINE_CAP_TESTING)) {
            names[count++] = engines[i]->name;
        }
    }
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && len < size; i++) {
        const char *before = i == 0 ? "" : i + 1 == count ? " and " : ", ";
        len += (size_t)snprintf(out + len, size - len, "%s%s", before, names[i]);
    }
}

shardy_status shardy__engine_find(
    const char *name, const shardy_engine_ops **ops_out, shardy_error *err)
{
    char names[256];
    *ops_out = NULL;
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        if (strcmp(engines[i]->name, name) == 0) {
            *ops_out = engines[i];
            return SHARDY_OK;
        }
    }
    name_engines(names, sizeof names);
    for (size_t i = 0; i < sizeof engines_to_come / sizeof engines_to_come[0]; i++) {
        if (strcmp(engines_to_come[i], name) == 0) {
            return shardy__error(err, SHARDY_UNSUPPORTED, "engine",
                "the engine \"%s\" is not in this build, which has %s", name, names);
        }
    }
    return shardy__error(
        err, SHARDY_INVALID, "engine", "unknown engine \"%.64s\", known are %s", name, names);
}

/* --- building --------------------------------------------------------------------------------- */

shardy_status shardy__engine_writer_open(const shardy_engine_ops *ops,
    const shardy_engine_writer_spec *spec, engine_writer *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    SHARDY_CHECK_ARG(ops->abi == SHARDY_ENGINE_ABI);
    if (spec->dim > 0 && !(ops->caps & SHARDY_ENGINE_CAP_VECTOR)) {
        return shardy__error(err, SHARDY_INVALID, "engine",
            "the engine \"%s\" cannot hold vectors; %s can", ops->name,
            shardy__engine_default(1)->name);
    }
    SHARDY_TRY(ops->writer_open(spec, &out->state, err));
    out->ops = ops;
    return SHARDY_OK;
}

shardy_status shardy__engine_put(
    engine_writer *w, const shardy_engine_rows *rows, shardy_error *err)
{
    SHARDY_CHECK_ARG(!w->vectors_began && !w->finished);
    return rows->count ? w->ops->writer_put(w->state, rows, err) : SHARDY_OK;
}

shardy_status shardy__engine_add_vectors(
    engine_writer *w, const shardy_engine_vectors *vectors, shardy_error *err)
{
    SHARDY_CHECK_ARG(!w->finished);
    w->vectors_began = 1;
    return vectors->count ? w->ops->writer_add_vectors(w->state, vectors, err) : SHARDY_OK;
}

shardy_status shardy__engine_finish(
    engine_writer *w, shardy_engine_files *files_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(!w->finished);
    w->finished = 1;
    return w->ops->writer_finish(w->state, files_out, err);
}

void shardy__engine_writer_free(engine_writer *w)
{
    if (w->ops) {
        w->ops->writer_free(w->state);
    }
    memset(w, 0, sizeof *w);
}

/* --- reading ---------------------------------------------------------------------------------- */

shardy_status shardy__engine_reader_open(const shardy_engine_ops *ops,
    const shardy_engine_reader_spec *spec, engine_reader *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    SHARDY_CHECK_ARG(ops->abi == SHARDY_ENGINE_ABI);
    shardy_status st = ops->reader_open(spec, &out->state, err);
    /* The path comes from a manifest: what cannot be is a fault of the data. */
    SHARDY_TRY(st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st);
    out->ops = ops;
    return SHARDY_OK;
}

void shardy__engine_reader_close(engine_reader *r)
{
    if (r->ops) {
        r->ops->reader_close(r->state);
    }
    memset(r, 0, sizeof *r);
}

/* Steps an operation to its end. */
static shardy_status run_operation(const engine_reader *r, void *op, shardy_error *err)
{
    shardy_status st;
    while ((st = r->ops->step(r->state, op, err)) == SHARDY_PENDING) {
        SHARDY_TRY(r->ops->fetch(r->state, op, err));
    }
    return st;
}

shardy_status shardy__engine_get_now(
    const engine_reader *r, shardy_bytes key, shardy_buf *value_out, shardy_error *err)
{
    return r->ops->get_now(r->state, key, value_out, err);
}

shardy_status shardy__engine_get(const engine_reader *r, shardy_bytes key,
    const shardy_engine_limits *limits, shardy_buf *value_out, shardy_error *err)
{
    shardy_status st = shardy__engine_get_now(r, key, value_out, err);
    if (st != SHARDY_PENDING) {
        return st;
    }
    int32_t found = SHARDY_NOT_FOUND;
    shardy_engine_get request;
    memset(&request, 0, sizeof request);
    request.keys = &key;
    request.count = 1;
    request.values_out = value_out;
    request.statuses_out = &found;
    if (limits) {
        request.limits = *limits;
    }
    st = shardy__engine_get_many(r, &request, err);
    if (st >= 0 && found == SHARDY_OK && !value_out->release) {
        *value_out =
            (shardy_buf){value_out->data, value_out->len, request.hold.release, request.hold.owner};
    } else {
        shardy_buf_release(&request.hold);
    }
    return st < 0 ? st : (shardy_status)found;
}

shardy_status shardy__engine_get_many(
    const engine_reader *r, shardy_engine_get *request, shardy_error *err)
{
    void *op = NULL;
    SHARDY_TRY(r->ops->get_start(r->state, request, &op, err));
    shardy_status st = run_operation(r, op, err);
    r->ops->finish(r->state, op);
    return st;
}

shardy_status shardy__engine_search(
    const engine_reader *r, shardy_engine_search *request, void **op_out, shardy_error *err)
{
    *op_out = NULL;
    if (!(r->ops->caps & SHARDY_ENGINE_CAP_VECTOR)) {
        return shardy__error(
            err, SHARDY_UNSUPPORTED, "engine", "the engine \"%s\" has no vectors", r->ops->name);
    }
    SHARDY_TRY(r->ops->search_start(r->state, request, op_out, err));
    return run_operation(r, *op_out, err);
}

void shardy__engine_search_finish(const engine_reader *r, void *op)
{
    if (op) {
        r->ops->finish(r->state, op);
    }
}

shardy_status shardy__engine_payload(const engine_reader *r, uint64_t row,
    const shardy_engine_limits *limits, shardy_buf *payload_out, shardy_error *err)
{
    memset(payload_out, 0, sizeof *payload_out);
    return r->ops->payload(r->state, row, limits, payload_out, err);
}

void shardy__engine_payloads_ahead(
    const engine_reader *r, const uint64_t *rows, size_t count, const shardy_engine_limits *limits)
{
    if (r->ops->struct_size >= sizeof *r->ops && r->ops->payloads_ahead) {
        r->ops->payloads_ahead(r->state, rows, count, limits);
    }
}

shardy_status shardy__engine_check(
    const engine_reader *r, const shardy_engine_check *request, shardy_error *err)
{
    return r->ops->check(r->state, request, err);
}

uint64_t shardy__engine_vector_count(const engine_reader *r)
{
    return r->ops->vector_count ? r->ops->vector_count(r->state) : 0;
}
