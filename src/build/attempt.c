#include "attempt.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"
#include "../base/utf8.h"
#include "../sqlitefile/btree_write.h"
#include "row_check.h"
#include "upload.h"

#include <stdio.h>
#include <string.h>

/* Value lengths from here on need the largest page size anyway, so they are counted together. */
#define LENGTHS_MAX 16424u

/* --- figures for the choice of a page size ---------------------------------------------------- */

typedef struct length_stats {
    uint64_t p95;
    uint64_t key_len_max;
} length_stats;

static uint64_t percentile(const uint64_t *counts, uint64_t rows)
{
    uint64_t rank = shardy__page_size_percentile(rows);
    uint64_t seen = 0;
    for (uint32_t len = 0; len < LENGTHS_MAX; len++) {
        seen += counts[len];
        if (seen > rank) {
            return len;
        }
    }
    return LENGTHS_MAX;
}

/* Goes over the rows once without keeping them. */
static shardy_status measure(const attempt_job *job, length_stats *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    uint64_t *counts = shardy__calloc(LENGTHS_MAX + 1, sizeof *counts);
    if (!counts) {
        return shardy__error_nomem(err, "build");
    }
    spool_rows *rows = NULL;
    uint64_t total = 0;
    shardy_status st = shardy__spool_rows_open(job->spool, job->spool_db, &rows, err);
    spool_batch batch;
    while (st >= 0 && (st = shardy__spool_rows_next(rows, &batch, err)) == SHARDY_OK) {
        for (size_t i = 0; i < batch.count; i++) {
            size_t len = batch.values[i].len;
            counts[len < LENGTHS_MAX ? len : LENGTHS_MAX]++;
            size_t key_len = batch.keys[i].len;
            out->key_len_max = key_len > out->key_len_max ? key_len : out->key_len_max;
        }
        total += batch.count;
    }
    if (st >= 0 && total > 0) {
        out->p95 = percentile(counts, total);
    }
    shardy__spool_rows_close(rows);
    shardy__free(counts);
    return st < 0 ? st : SHARDY_OK;
}

/* --- rows and vectors ------------------------------------------------------------------------- */

/* A bound for the manifest: bytes keys only when they are text, the rest has no form there
 * (formats.md, T-5). */
static shardy_status set_bound(const shardy_plan *plan, shardy_bytes stored, int32_t *has_out,
    shardy_key *key_out, char **text_out, shardy_error *err)
{
    *has_out = 0;
    SHARDY_TRY(shardy__key_decode(stored, plan->options.key_encoding, key_out, err));
    if (key_out->type == SHARDY_KEY_INT || key_out->type == SHARDY_KEY_UINT) {
        *has_out = 1;
        return SHARDY_OK;
    }
    if (!shardy__utf8_valid(stored.data, stored.len)) {
        return SHARDY_OK;
    }
    shardy__free(*text_out);
    *text_out = shardy__strndup(stored.data, stored.len);
    if (!*text_out) {
        return shardy__error_nomem(err, "build");
    }
    *key_out = shardy_key_text(*text_out, stored.len);
    *has_out = 1;
    return SHARDY_OK;
}

static shardy_status put_batch(const attempt_job *job, engine_writer *w, const spool_batch *batch,
    attempt_output *output, shardy_error *err)
{
    shardy_engine_rows rows = {batch->count, batch->keys, batch->values};
    if (output->row_count == 0) {
        SHARDY_TRY(set_bound(job->plan, batch->keys[0], &output->has_min_key, &output->min_key,
            &output->min_text, err));
    }
    SHARDY_TRY(shardy__engine_put(w, &rows, err));
    output->row_count += batch->count;
    uint64_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        bytes += batch->keys[i].len + batch->values[i].len;
    }
    return job->ticker.tick ? job->ticker.tick(job->ticker.user, batch->count, bytes, err)
                            : SHARDY_OK;
}

/* Keeps the last key of each batch, so that the one of the last batch becomes the upper bound. */
static shardy_status keep_last(bytebuf *last, const spool_batch *batch, shardy_error *err)
{
    shardy_bytes key = batch->keys[batch->count - 1];
    shardy__bytebuf_clear(last);
    shardy__bytebuf_append(last, key.data, key.len);
    return shardy__bytebuf_check(last, "build", err);
}

static shardy_status put_rows(const attempt_job *job, engine_writer *w, spool_rows *rows,
    attempt_output *output, shardy_error *err)
{
    bytebuf last;
    shardy__bytebuf_init(&last, SHARDY_KEY_LEN_MAX);
    spool_batch batch;
    shardy_status st;
    while ((st = shardy__spool_rows_next(rows, &batch, err)) == SHARDY_OK) {
        st = put_batch(job, w, &batch, output, err);
        if (st >= 0) {
            st = keep_last(&last, &batch, err);
        }
        if (st < 0) {
            break;
        }
    }
    if (st == SHARDY_DONE && output->row_count > 0) {
        st = set_bound(job->plan, shardy__bytes(last.data, last.len), &output->has_max_key,
            &output->max_key, &output->max_text, err);
    }
    shardy__bytebuf_free(&last);
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status add_vector(const attempt_job *job, engine_writer *w, const spool_vector *v,
    attempt_output *output, shardy_error *err)
{
    shardy_bytes payload = v->payload;
    if (!v->has_payload) {
        payload = shardy__bytes(NULL, 0);
    }
    shardy_engine_vectors one = {1, v->vector, job->plan->options.dim, &v->id, &payload};
    SHARDY_TRY(shardy__engine_add_vectors(w, &one, err));
    output->vector_count++;
    return job->ticker.tick && output->vector_count % 64 == 0
               ? job->ticker.tick(job->ticker.user, 0,
                     (uint64_t)job->plan->options.dim * sizeof(float) * 64, err)
               : SHARDY_OK;
}

static shardy_status add_vectors(const attempt_job *job, engine_writer *w, const spool_rows *rows,
    attempt_output *output, shardy_error *err)
{
    uint64_t dead_count;
    const uint64_t *dead = shardy__spool_rows_dead(rows, &dead_count);
    spool_vectors *vectors = NULL;
    shardy_status st = shardy__spool_vectors_open(job->spool, job->spool_db, &vectors, err);
    spool_vector v;
    while (st >= 0 && (st = shardy__spool_vectors_next(vectors, &v, err)) == SHARDY_OK) {
        if (!dead || !(dead[v.number / 64] >> (v.number % 64) & 1)) {
            st = add_vector(job, w, &v, output, err);
        }
    }
    shardy__spool_vectors_close(vectors);
    return st < 0 ? st : SHARDY_OK;
}

/* --- one attempt ------------------------------------------------------------------------------ */

static shardy_status build_files(const attempt_job *job, const char *dir, spool_rows *rows,
    attempt_output *output, shardy_error *err)
{
    const shardy_plan *plan = job->plan;
    length_stats lengths = {0, 0};
    if (plan->options.page_size == 0) {
        SHARDY_TRY(measure(job, &lengths, err));
    }
    shardy_engine_writer_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.context = plan->context;
    spec.scratch_dir = dir;
    spec.page_size = plan->options.page_size;
    spec.dim = plan->options.dim;
    spec.metric = plan->options.metric;
    spec.sync = plan->options.sync;
    spec.value_len_p95 = lengths.p95;
    spec.key_len_max = lengths.key_len_max;
    spec.cancel = plan->options.cancel;
    spec.sidecar = plan->options.sidecar == SHARDY_SIDECAR_ALWAYS;
    engine_writer w;
    shardy_engine_files files = {NULL, 0};
    shardy_status st = shardy__engine_writer_open(plan->engine, &spec, &w, err);
    if (st >= 0) {
        st = put_rows(job, &w, rows, output, err);
    }
    if (st >= 0 && plan->options.dim > 0) {
        st = add_vectors(job, &w, rows, output, err);
    }
    if (st >= 0) {
        st = shardy__engine_finish(&w, &files, err);
    }
    if (st >= 0) {
        st = shardy__upload_files(job, &files, output, err);
    }
    shardy__engine_writer_free(&w);
    return st;
}

/* 1 when the shard has rows; a batch is read and forgotten, for a reader that is opened again
 * afterwards. */
static shardy_status has_rows(const attempt_job *job, int32_t *has_out, shardy_error *err)
{
    spool_rows *rows = NULL;
    spool_batch batch;
    *has_out = 0;
    SHARDY_TRY(shardy__spool_rows_open(job->spool, job->spool_db, &rows, err));
    shardy_status st = shardy__spool_rows_next(rows, &batch, err);
    *has_out = st == SHARDY_OK;
    shardy__spool_rows_close(rows);
    return st < 0 ? st : SHARDY_OK;
}

static void discard(const attempt_job *job, const attempt_output *output)
{
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 2];
    shardy_error ignored;
    const catalog after = shardy__catalog_after(&job->plan->catalog);
    snprintf(prefix, sizeof prefix, "%s/", output->path);
    if (output->object_count > 0 &&
        shardy__catalog_remove_prefix(&after, prefix, NULL, &ignored) < 0) {
        shardy__log(job->plan->context, SHARDY_LOG_WARN, "build",
            "what a failed attempt left in \"%s\" could not be removed: %s", prefix,
            ignored.message);
    }
}

static shardy_status build_in(
    const attempt_job *job, const char *dir, attempt_output *output, shardy_error *err)
{
    spool_rows *rows = NULL;
    SHARDY_TRY(shardy__dir_make(dir, 0700, 0, err));
    shardy_status st = shardy__spool_rows_open(job->spool, job->spool_db, &rows, err);
    if (st >= 0) {
        st = build_files(job, dir, rows, output, err);
    }
    shardy__spool_rows_close(rows);
    if (st < 0) {
        discard(job, output);
    }
    shardy_error ignored;
    shardy__dir_remove(dir, &ignored);
    return st;
}

shardy_status shardy__attempt_run(const attempt_job *job, attempt_result *result, shardy_error *err)
{
    const shardy_plan *plan = job->plan;
    memset(result, 0, sizeof *result);
    result->db_id = job->db_id;
    result->attempt = job->attempt;
    int32_t any;
    SHARDY_TRY(has_rows(job, &any, err));
    if (!any) {
        return SHARDY_OK;
    }
    int64_t began = shardy__monotonic_ns(plan->context);
    SHARDY_TRY(shardy__attempt_output_new(&result->output, err));
    shardy__plan_attempt_path(plan, job->db_id, job->attempt, result->output->path);
    shardy__rand_hex32(plan->context, result->output->checkpoint_id);
    char name[64];
    char *dir = NULL;
    snprintf(name, sizeof name, "db=%05u-attempt=%02u", job->db_id, job->attempt);
    shardy_status st = shardy__path_join(plan->scratch, name, &dir, err);
    if (st >= 0) {
        st = build_in(job, dir, result->output, err);
    }
    shardy__free(dir);
    result->output->duration_ms = (shardy__monotonic_ns(plan->context) - began) / 1000000;
    if (st < 0) {
        shardy__attempt_result_free(result);
        return shardy__error_prefix(err, st, "shard %u", job->db_id);
    }
    shardy__count(plan->context, SHARDY_METRIC_SHARDS_BUILT, 1);
    return SHARDY_OK;
}

shardy_status shardy__attempt_run_retry(
    const attempt_job *job, attempt_result *result, uint32_t *attempts_out, shardy_error *err)
{
    const shardy_writer_options *o = &job->plan->options;
    attempt_job next = *job;
    double pause_us = (double)o->retry_backoff_ms * 1000.0;
    shardy_error error;
    shardy__error_clear(&error);
    for (uint32_t i = 0;; i++) {
        shardy_status st = shardy__attempt_run(&next, result, &error);
        *attempts_out = i + 1;
        if (st >= 0) {
            shardy__log(job->plan->context, SHARDY_LOG_DEBUG, "build", "built shard %u, attempt %u",
                job->db_id, next.attempt);
            return st;
        }
        /* of a cancelled put it is not known what became of it, which looks like a lost answer */
        if (!error.retriable || st == SHARDY_CANCELLED || i >= o->max_retries ||
            next.attempt + 1 >= SHARDY_ATTEMPTS_MAX) {
            if (err) {
                *err = error;
            }
            return st;
        }
        shardy__log(job->plan->context, SHARDY_LOG_WARN, "build",
            "attempt %u of shard %u failed and is repeated: %s", next.attempt, job->db_id,
            error.message);
        shardy__count(job->plan->context, SHARDY_METRIC_SHARD_RETRIES, 1);
        SHARDY_TRY(shardy__check_time(job->plan->context, 0, o->cancel, "build", err));
        shardy__sleep_us(job->plan->context, (int64_t)pause_us);
        pause_us *= o->retry_multiplier;
        next.attempt++;
    }
}

/* --- an attempt for a scheduler --------------------------------------------------------------- */

/* Rows of one shard into a spool of one shard. */
static shardy_status take_rows(const shardy_plan *plan, uint32_t db_id, spool *s,
    shardy_next_row_fn next_row, void *user, shardy_error *err)
{
    router r = shardy__plan_router(plan);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    shardy_status st;
    while ((st = next_row(user, &row, err)) == SHARDY_OK) {
        SHARDY_TRY(shardy__row_check(&plan->options, &row, err));
        routed_row routed;
        shardy__routed_row_init(&routed);
        st = shardy__row_route(&routed, &r, &row, err);
        if (st >= 0 && routed.row.db_id != db_id) {
            char text[SHARDY_KEY_TEXT_SIZE];
            st = shardy__error(err, SHARDY_COVERAGE, "build",
                "key %s belongs to shard %u, not to shard %u", shardy__key_text(&row.key, text),
                routed.row.db_id, db_id);
        }
        routed.row.db_id = 0;
        if (st >= 0) {
            st = shardy__spool_add(s, &routed.row, err);
        }
        shardy__routed_row_free(&routed);
        SHARDY_TRY(st);
    }
    return st < 0 ? st : shardy__spool_seal(s, err);
}

static shardy_status build_attempt(const attempt_job *job, shardy_next_row_fn next_row, void *user,
    shardy_buf *result_json_out, shardy_error *err)
{
    SHARDY_TRY(take_rows(job->plan, job->db_id, job->spool, next_row, user, err));
    attempt_result result;
    SHARDY_TRY(shardy__attempt_run(job, &result, err));
    shardy_status st = shardy__attempt_to_json(&result, result_json_out, err);
    shardy__attempt_result_free(&result);
    return st;
}

shardy_status shardy_attempt_build(const shardy_plan *plan, uint32_t db_id, uint32_t attempt,
    shardy_next_row_fn next_row, void *user, shardy_buf *result_json_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan && next_row && result_json_out);
    memset(result_json_out, 0, sizeof *result_json_out);
    if (db_id >= plan->options.num_dbs || attempt >= SHARDY_ATTEMPTS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "shard %u, attempt %u: the plan has %u shards, and there are at most %u attempts",
            db_id, attempt, plan->options.num_dbs, SHARDY_ATTEMPTS_MAX);
    }
    spool_config config;
    memset(&config, 0, sizeof config);
    config.context = plan->context;
    config.scratch_dir = plan->scratch;
    config.num_dbs = 1;
    config.threads = 1;
    config.vectors = plan->options.dim > 0;
    config.dim = plan->options.dim;
    config.memory_budget = plan->options.memory_budget;
    config.cancel = plan->options.cancel;
    spool *s = NULL;
    SHARDY_TRY(shardy__pool_new(0, &config.pool, err));
    shardy_status st = shardy__spool_new(&config, &s, err);
    if (st >= 0) {
        attempt_job job = {plan, s, 0, db_id, attempt, {NULL, NULL, NULL}};
        st = build_attempt(&job, next_row, user, result_json_out, err);
    }
    shardy__spool_free(s);
    shardy__pool_free(config.pool);
    return st;
}
