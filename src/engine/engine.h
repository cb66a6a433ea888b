/* engine.h: the engines of this build, and the only place that calls them. */
#ifndef SHARDY_ENGINE_ENGINE_H
#define SHARDY_ENGINE_ENGINE_H

#include "../base/error.h"

#include <shardyfusion/sys/engine.h>

/* Tables of the engines that are compiled in. */
extern const shardy_engine_ops shardy__engine_sqlite;
extern const shardy_engine_ops shardy__engine_sqlite_vec;
extern const shardy_engine_ops shardy__engine_mem;

/* The engine of a name, which comes from an option or a manifest. UNSUPPORTED for one that exists
 * but is not in this build; INVALID, naming the known ones, for any other. */
shardy_status shardy__engine_find(
    const char *name, const shardy_engine_ops **ops_out, shardy_error *err);
/* The engine of a build that names none: the first of this build with vectors, or without. */
const shardy_engine_ops *shardy__engine_default(int vectors);

/* --- building: arguments are checked and calls put in order ----------------------------------- */

typedef struct engine_writer {
    const shardy_engine_ops *ops;
    void *state;
    int32_t vectors_began;
    int32_t finished;
} engine_writer;

shardy_status shardy__engine_writer_open(const shardy_engine_ops *ops,
    const shardy_engine_writer_spec *spec, engine_writer *out, shardy_error *err);
shardy_status shardy__engine_put(
    engine_writer *w, const shardy_engine_rows *rows, shardy_error *err);
shardy_status shardy__engine_add_vectors(
    engine_writer *w, const shardy_engine_vectors *vectors, shardy_error *err);
shardy_status shardy__engine_finish(
    engine_writer *w, shardy_engine_files *files_out, shardy_error *err);
void shardy__engine_writer_free(engine_writer *w);

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct engine_reader {
    const shardy_engine_ops *ops;
    void *state;
} engine_reader;

shardy_status shardy__engine_reader_open(const shardy_engine_ops *ops,
    const shardy_engine_reader_spec *spec, engine_reader *out, shardy_error *err);
void shardy__engine_reader_close(engine_reader *r);
/* One look-up with what is at hand: OK, NOT_FOUND or PENDING. */
shardy_status shardy__engine_get_now(
    const engine_reader *r, shardy_bytes key, shardy_buf *value_out, shardy_error *err);
/* One look-up that waits for what it needs. NULL limits: none. */
shardy_status shardy__engine_get(const engine_reader *r, shardy_bytes key,
    const shardy_engine_limits *limits, shardy_buf *value_out, shardy_error *err);
shardy_status shardy__engine_get_many(
    const engine_reader *r, shardy_engine_get *request, shardy_error *err);
/* Runs a search to its end. *op_out keeps the result alive; finish it (also after a failure). */
shardy_status shardy__engine_search(
    const engine_reader *r, shardy_engine_search *request, void **op_out, shardy_error *err);
void shardy__engine_search_finish(const engine_reader *r, void *op);
shardy_status shardy__engine_payload(const engine_reader *r, uint64_t row,
    const shardy_engine_limits *limits, shardy_buf *payload_out, shardy_error *err);
void shardy__engine_payloads_ahead(
    const engine_reader *r, const uint64_t *rows, size_t count, const shardy_engine_limits *limits);
shardy_status shardy__engine_check(
    const engine_reader *r, const shardy_engine_check *request, shardy_error *err);
uint64_t shardy__engine_vector_count(const engine_reader *r);

#endif
