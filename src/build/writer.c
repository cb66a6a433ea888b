/* writer.c: a build in one process, over the steps of a plan that a scheduler can also take one by
 * one.
 *
 * Design. The thread that owns the writer hands rows in. The first one settles what the options
 * left open (the encoding of keys, the dimension); each is checked, routed to its shard and put
 * into the spool, which sorts and spills within the budget. Where the number of shards follows from
 * that of the rows, they wait in a log until they are counted. finish() seals the spool; then the
 * threads of the pool and this one build shards, each the next one that nobody has taken, so that
 * shards of unlike sizes keep all of them busy. The first failure stops the others and is the one
 * that is told. Publishing begins when every shard is in the store. */
#include "../base/alloc.h"
#include "../base/rate.h"
#include "../base/thread.h"
#include "../sort/rowlog.h"
#include "attempt.h"
#include "publish_plan.h"
#include "row_check.h"
#include "winners.h"

#include <stdio.h>
#include <string.h>

/* Rows between two looks at the clock while rows are taken. */
#define TICK_ROWS 4096u
/* Progress is told at most this often. */
#define TICK_NS 100000000

enum {
    WRITER_TAKING,
    WRITER_FAILED,
    WRITER_DONE
};

struct shardy_writer {
    shardy_plan *plan;
    pool *pool;   /* of this build; the thread that calls us works too */
    spool *spool; /* NULL until the first row, or while rows go to `log` */
    rowlog *log;  /* builds with max_keys_per_shard: NULL otherwise */
    uint32_t threads;
    int32_t state;
    int32_t engine_given;
    int32_t is_limited; /* 1: rows wait for `rate` */
    rate_limit rate;    /* of rows, and their bytes */
    shardy_error why;   /* the last failure; status 0: none */
    uint64_t why_after; /* rows taken before it */
    uint64_t rows;
    uint64_t bytes;
    uint32_t ticks;
    int64_t began_ns;
    int64_t told_ns; /* when progress was told last */
    const char *phase;
    pthread_t owner;
    _Atomic uint64_t rows_built;
    _Atomic uint64_t bytes_built;
    _Atomic uint64_t bytes_uploaded;
    _Atomic uint64_t bytes_to_upload;
    _Atomic uint32_t shards_done;
    _Atomic int32_t stop;      /* a shard failed or the build was cancelled */
    _Atomic int32_t was_ended; /* by whoever is told of its progress */
};

/* --- progress, heartbeat, cancellation -------------------------------------------------------- */

static shardy_status tell(shardy_writer *w, shardy_error *err)
{
    const shardy_writer_options *o = &w->plan->options;
    if (!o->progress) {
        return SHARDY_OK;
    }
    shardy_progress p;
    memset(&p, 0, sizeof p);
    p.phase = w->phase;
    p.rows = w->rows;
    p.bytes = w->bytes;
    p.rows_built = atomic_load(&w->rows_built);
    p.bytes_built = atomic_load(&w->bytes_built);
    p.shards_done = atomic_load(&w->shards_done);
    p.shards_total = o->num_dbs;
    p.bytes_uploaded = atomic_load(&w->bytes_uploaded);
    p.bytes_to_upload = atomic_load(&w->bytes_to_upload);
    if (o->progress(o->progress_user, &p) != 0) {
        atomic_store(&w->was_ended, 1);
    }
    if (atomic_load(&w->was_ended)) {
        return shardy__error(err, SHARDY_CANCELLED, "build", "the build was cancelled");
    }
    return SHARDY_OK;
}

static shardy_status enter_phase(shardy_writer *w, const char *phase, shardy_error *err)
{
    w->phase = phase;
    w->told_ns = shardy__monotonic_ns(w->plan->context);
    return tell(w, err);
}

/* Called often, by any thread of the build. */
static shardy_status tick(shardy_writer *w, shardy_error *err)
{
    const shardy_writer_options *o = &w->plan->options;
    if (atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        return shardy__error(err, SHARDY_CANCELLED, "build", "another shard failed");
    }
    if (atomic_load_explicit(&w->was_ended, memory_order_relaxed)) {
        return shardy__error(err, SHARDY_CANCELLED, "build", "the build was cancelled");
    }
    SHARDY_TRY(shardy__check_time(w->plan->context, 0, o->cancel, "build", err));
    if (!pthread_equal(pthread_self(), w->owner)) {
        return SHARDY_OK;
    }
    int64_t now = shardy__monotonic_ns(w->plan->context);
    if (now - w->told_ns < TICK_NS) {
        return SHARDY_OK;
    }
    w->told_ns = now;
    shardy__timer_poll(w->plan->context->timer);
    return tell(w, err);
}

/* --- life ------------------------------------------------------------------------------------- */

shardy_status shardy_writer_open(shardy_context *context, const char *url,
    const shardy_writer_options *options, shardy_writer **writer_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(writer_out);
    *writer_out = NULL;
    shardy_writer_options o;
    shardy_writer_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.store);
    shardy_writer *w = shardy__calloc(1, sizeof *w);
    if (!w) {
        return shardy__error_nomem(err, "build");
    }
    shardy_status st = shardy__plan_open(context, url, &o, 0, &w->plan, err);
    if (st < 0) {
        shardy__free(w);
        return st;
    }
    w->owner = pthread_self();
    w->engine_given = o.engine != NULL || o.dim > 0;
    w->threads = o.threads ? o.threads : w->plan->context->threads;
    w->began_ns = shardy__monotonic_ns(w->plan->context);
    w->is_limited = o.max_rows_per_second > 0 || o.max_row_bytes_per_second > 0;
    shardy__rate_init(
        &w->rate, w->plan->context, o.max_rows_per_second, o.max_row_bytes_per_second);
    st = shardy__pool_new(w->threads - 1, &w->pool, err);
    if (st >= 0 && o.max_keys_per_shard > 0) {
        st = shardy__rowlog_new(w->plan->scratch, &w->log, err);
    } else if (st >= 0 && o.num_dbs == 0) {
        w->plan->options.num_dbs = 1;
    }
    if (st >= 0) {
        st = enter_phase(w, "read", err);
    }
    if (st < 0) {
        shardy_writer_close(w);
        return st;
    }
    *writer_out = w;
    return SHARDY_OK;
}

void shardy_writer_close(shardy_writer *w)
{
    if (!w || w->plan->context->process != shardy__process_generation()) {
        return; /* a copy in a child process: the build is the parent's */
    }
    shardy__spool_free(w->spool);
    shardy__rowlog_free(w->log);
    shardy__pool_free(w->pool);
    shardy__rate_free(&w->rate);
    if (w->state != WRITER_DONE) {
        if (w->why.status >= 0 || w->why_after != w->rows) {
            shardy__error(&w->why, SHARDY_CANCELLED, "build", "the build was abandoned");
        }
        shardy__plan_fail(w->plan, w->why.status, &w->why);
    }
    shardy_plan_free(w->plan);
    shardy__free(w);
}

/* --- taking rows ------------------------------------------------------------------------------ */

static shardy_status refuse_vector(const shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    char what[160];
    if (w->engine_given) {
        snprintf(what, sizeof what, "it has a vector, but the engine %s holds none",
            w->plan->engine->name);
    } else {
        snprintf(what, sizeof what,
            "it has a vector, but rows before it had none; give the dimension or the engine %s",
            shardy__engine_default(1)->name);
    }
    return shardy__row_refuse(row, what, err);
}

/* What the first row, or the first row with a vector, decides. */
typedef struct settled {
    const shardy_engine_ops *engine;
    int32_t key_encoding;
    uint32_t dim;
} settled;

static settled settled_so_far(const shardy_writer *w)
{
    const shardy_writer_options *o = &w->plan->options;
    return (settled){w->plan->engine, o->key_encoding, o->dim};
}

/* A row that was not taken decides nothing. */
static void unsettle(shardy_writer *w, const settled *before)
{
    w->plan->engine = before->engine;
    w->plan->options.key_encoding = before->key_encoding;
    w->plan->options.dim = before->dim;
    if (w->rows == 0) { /* that may be for vectors, or not */
        shardy__spool_free(w->spool);
        w->spool = NULL;
    } else if (w->spool) {
        shardy__spool_set_dim(w->spool, before->dim);
    }
}

static shardy_status settle(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    shardy_writer_options *o = &w->plan->options;
    if (o->key_encoding == SHARDY_KEY_ENCODING_AUTO) {
        o->key_encoding = shardy__key_encoding_for(&row->key);
    }
    if (row->vector && o->dim == 0) {
        if (!w->engine_given && w->rows == 0) {
            w->plan->engine = shardy__engine_default(1);
        }
        if (!(w->plan->engine->caps & SHARDY_ENGINE_CAP_VECTOR)) {
            return refuse_vector(w, row, err);
        }
        if (row->dim == 0 || row->dim > SHARDY_DIM_MAX) {
            return shardy__row_refuse(row, "its vector has no dimension from 1 to 8192", err);
        }
        o->dim = row->dim;
        if (w->spool) {
            shardy__spool_set_dim(w->spool, o->dim);
        }
    }
    return SHARDY_OK;
}

static shardy_status open_spool(shardy_writer *w, shardy_error *err)
{
    const shardy_plan *plan = w->plan;
    spool_config config;
    memset(&config, 0, sizeof config);
    config.context = plan->context;
    config.pool = w->pool;
    config.scratch_dir = plan->scratch;
    config.num_dbs = plan->options.num_dbs;
    config.threads = w->threads;
    config.vectors = (plan->engine->caps & SHARDY_ENGINE_CAP_VECTOR) != 0;
    config.dim = plan->options.dim;
    config.memory_budget = plan->options.memory_budget;
    config.cancel = plan->options.cancel;
    return shardy__spool_new(&config, &w->spool, err);
}

static shardy_status add_row(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    const shardy_writer_options *o = &w->plan->options;
    router r = shardy__plan_router(w->plan);
    if (w->log) {
        r.num_dbs = 1; /* not known yet */
    }
    routed_row routed;
    shardy__routed_row_init(&routed);
    shardy_status st = shardy__row_route(&routed, &r, row, err);
    if (st >= 0 && w->log) {
        uint64_t hash = 0;
        shardy_key routing;
        st = shardy__key_for_routing(&row->key, o->key_encoding, &routing, err);
        if (st >= 0) {
            st = shardy__hash_key(&routing, &hash, err);
        }
        if (st >= 0) {
            st = shardy__rowlog_add(w->log, &routed.row, hash, o->dim, err);
            st =
                st < 0 ? shardy__error_prefix(err, st, "scratch \"%.300s\"", w->plan->scratch) : st;
        }
    } else if (st >= 0) {
        st = shardy__spool_add(w->spool, &routed.row, err);
    }
    shardy__routed_row_free(&routed);
    return st;
}

static shardy_status check_row(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    SHARDY_TRY(settle(w, row, err));
    return shardy__row_check(&w->plan->options, row, err);
}

static shardy_status fail(shardy_writer *w, shardy_status st)
{
    w->state = WRITER_FAILED;
    return st;
}

static uint64_t row_bytes(const shardy_row *row)
{
    return row->key.bytes.len + row->value.len + (uint64_t)row->dim * sizeof(float);
}

static inline shardy_status add_checked(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    SHARDY_TRY(check_row(w, row, err));
    if (w->is_limited) {
        const shardy_writer_options *o = &w->plan->options;
        rate_units units = {{1, row_bytes(row)}};
        SHARDY_TRY(shardy__rate_take(&w->rate, units, 0, o->cancel, err));
    }
    if (!w->spool && !w->log) {
        shardy_status opened = open_spool(w, err);
        if (opened < 0) {
            return fail(w, opened);
        }
    }
    shardy_status st = add_row(w, row, err);
    return st < 0 && st != SHARDY_INVALID ? fail(w, st) : st;
}

static shardy_status take_row(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    const settled before = settled_so_far(w);
    shardy_status st = add_checked(w, row, err);
    if (st < 0) {
        unsettle(w, &before);
        return st;
    }
    w->rows++;
    w->bytes += row_bytes(row);
    if (++w->ticks >= TICK_ROWS || row->value.len > 65536) {
        w->ticks = 0;
        st = tick(w, err);
        if (st < 0) {
            return fail(w, st);
        }
    }
    return SHARDY_OK;
}

/* A build that is given up now was given up because of this. */
static void note_why(shardy_writer *w, const shardy_error *error)
{
    w->why = *error;
    w->why_after = w->rows;
}

shardy_status shardy_writer_put(shardy_writer *w, const shardy_row *row, shardy_error *err)
{
    SHARDY_CHECK_ARG(w && row);
    SHARDY_TRY(shardy__check_process(w->plan->context->process, err));
    if (w->state != WRITER_TAKING) {
        return shardy__error(err, SHARDY_MISUSE, "build",
            "the writer has %s and takes no more rows",
            w->state == WRITER_DONE ? "finished" : "failed");
    }
    shardy_error *error = err ? err : &w->why;
    shardy_status st = take_row(w, row, error);
    if (st < 0) {
        note_why(w, error);
    }
    return st;
}

shardy_status shardy_writer_put_rows(shardy_writer *w, const shardy_row *rows, size_t row_count,
    size_t *taken_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(w && (rows || row_count == 0));
    shardy_status st = SHARDY_OK;
    size_t i = 0;
    while (i < row_count && (st = shardy_writer_put(w, &rows[i], err)) >= 0) {
        i++;
    }
    if (taken_out) {
        *taken_out = i;
    }
    return st;
}

shardy_status shardy_writer_put_source(
    shardy_writer *w, shardy_row_source *source, shardy_error *err)
{
    SHARDY_CHECK_ARG(w && source);
    shardy_error own;
    shardy_error *error = err ? err : &own;
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    shardy_status st;
    while ((st = shardy_row_source_next(source, &row, error)) == SHARDY_OK) {
        st = shardy_writer_put(w, &row, error);
        if (st < 0) {
            const char *path;
            uint64_t line;
            shardy_row_source_position(source, &path, &line);
            shardy__error_prefix(error, st, "%.200s:%llu", path, (unsigned long long)line);
            break;
        }
    }
    if (st < 0 && st != SHARDY_MISUSE) {
        note_why(w, error);
    }
    return st < 0 ? st : SHARDY_OK;
}

/* --- finishing -------------------------------------------------------------------------------- */

/* Now that the rows are counted: spreads them over as many shards as they need. */
static shardy_status replay_log(shardy_writer *w, shardy_error *err)
{
    shardy_writer_options *o = &w->plan->options;
    uint64_t shards = (w->rows + o->max_keys_per_shard - 1) / o->max_keys_per_shard;
    if (shards > SHARDY_NUM_DBS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "%llu rows at %llu keys per shard need %llu shards, the limit is %u",
            (unsigned long long)w->rows, (unsigned long long)o->max_keys_per_shard,
            (unsigned long long)shards, SHARDY_NUM_DBS_MAX);
    }
    o->num_dbs = shards ? (uint32_t)shards : 1;
    SHARDY_TRY(open_spool(w, err));
    spool_row row;
    shardy_key id;
    uint64_t hash;
    uint64_t taken = 0;
    shardy_status st;
    while ((st = shardy__rowlog_next(w->log, &row, &id, &hash, o->dim, err)) == SHARDY_OK) {
        row.db_id = (uint32_t)(hash % o->num_dbs);
        SHARDY_TRY(shardy__spool_add(w->spool, &row, err));
        if (++taken % TICK_ROWS == 0) {
            SHARDY_TRY(tick(w, err));
        }
    }
    shardy__rowlog_free(w->log);
    w->log = NULL;
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status settle_without_rows(shardy_writer *w, shardy_error *err)
{
    shardy_writer_options *o = &w->plan->options;
    if (o->key_encoding == SHARDY_KEY_ENCODING_AUTO) {
        /* the reference's default; there is no row to ask */
        o->key_encoding = SHARDY_KEY_ENCODING_U64BE;
    }
    uint64_t caps = w->plan->engine->caps;
    if ((caps & SHARDY_ENGINE_CAP_VECTOR) && !(caps & SHARDY_ENGINE_CAP_NO_DIM) && o->dim == 0) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "the engine \"%s\" needs the dimension of the vectors, and no row had one",
            w->plan->engine->name);
    }
    return w->spool ? SHARDY_OK : open_spool(w, err);
}

/* Threads that build shards take the next one each, until none is left or one has failed. */
typedef struct shard_crew {
    shardy_writer *writer;
    attempt_result *results; /* one for each shard */
    _Atomic uint32_t next;
    _Atomic uint32_t attempts;
    mutex lock; /* rank: leaf; guards what follows */
    shardy_status status;
    shardy_error error;
} shard_crew;

typedef struct shard_worker {
    pool_task task; /* first member */
    shard_crew *crew;
} shard_worker;

static shardy_status tick_shard(void *user, uint64_t rows, uint64_t bytes, shardy_error *err)
{
    shardy_writer *w = user;
    atomic_fetch_add_explicit(&w->rows_built, rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes_built, bytes, memory_order_relaxed);
    return tick(w, err);
}

/* A put cannot be ended from here: what the caller says to the progress of an upload counts
 * afterwards. */
static void note_upload(void *user, int64_t sent, int64_t to_send)
{
    shardy_writer *w = user;
    shardy_error ignored;
    atomic_fetch_add_explicit(&w->bytes_uploaded, (uint64_t)sent, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes_to_upload, (uint64_t)to_send, memory_order_relaxed);
    (void)tick(w, &ignored);
}

/* Keeps the failure that stopped the build, not that of a shard that only stopped because of it. */
static void note_failure(shard_crew *crew, shardy_status st, const shardy_error *error)
{
    shardy__mutex_lock(&crew->lock);
    if (crew->status >= 0 || (crew->status == SHARDY_CANCELLED && st != SHARDY_CANCELLED)) {
        crew->status = st;
        crew->error = *error;
    }
    shardy__mutex_unlock(&crew->lock);
    atomic_store(&crew->writer->stop, 1);
}

static shardy_status run_shard(shard_crew *crew, uint32_t db_id, shardy_error *err)
{
    shardy_writer *w = crew->writer;
    SHARDY_TRY(tick(w, err));
    attempt_job job = {w->plan, w->spool, db_id, db_id, 0, {tick_shard, note_upload, w}};
    uint32_t attempts = 0;
    shardy_status st = shardy__attempt_run_retry(&job, &crew->results[db_id], &attempts, err);
    atomic_fetch_add(&crew->attempts, attempts);
    SHARDY_TRY(st);
    shardy__spool_shard_done(w->spool, db_id);
    atomic_fetch_add(&w->shards_done, 1);
    shardy_error ignored;
    tick(w, &ignored); /* a cancellation is noticed by the next shard */
    return SHARDY_OK;
}

static void run_worker(pool_task *task)
{
    shard_crew *crew = ((shard_worker *)(void *)task)->crew;
    uint32_t count = crew->writer->plan->options.num_dbs;
    shardy_status st = SHARDY_OK;
    uint32_t db_id;
    while (st >= 0 && (db_id = atomic_fetch_add(&crew->next, 1)) < count) {
        shardy_error error;
        st = run_shard(crew, db_id, &error);
        if (st < 0) {
            note_failure(crew, st, &error);
        }
    }
}

static shardy_status build_shards(
    shardy_writer *w, attempt_result *results, uint32_t *attempts_out, shardy_error *err)
{
    uint32_t shards = w->plan->options.num_dbs;
    uint32_t n = w->threads < shards ? w->threads : shards;
    shard_worker *workers = shardy__calloc(n, sizeof *workers);
    if (!workers) {
        return shardy__error_nomem(err, "build");
    }
    shard_crew crew;
    memset(&crew, 0, sizeof crew);
    crew.writer = w;
    crew.results = results;
    shardy__mutex_init(&crew.lock);
    pool_group group;
    shardy__pool_group_init(&group, w->pool);
    for (uint32_t i = 0; i < n; i++) {
        workers[i].crew = &crew;
        workers[i].task.run = run_worker;
        shardy__pool_submit(&group, &workers[i].task);
    }
    shardy__pool_wait(&group, 0);
    shardy__mutex_destroy(&crew.lock);
    shardy__free(workers);
    *attempts_out = atomic_load(&crew.attempts);
    if (crew.status < 0 && err) {
        *err = crew.error;
    }
    return crew.status;
}

static shardy_status build_and_publish(
    shardy_writer *w, shardy_build_result *result, shardy_error *err)
{
    uint32_t n = w->plan->options.num_dbs;
    size_t count = n;
    attempt_result *results = shardy__calloc(n, sizeof *results);
    if (!results) {
        return shardy__error_nomem(err, "build");
    }
    int64_t build_ns = shardy__monotonic_ns(w->plan->context);
    uint32_t attempts = 0;
    shardy_status st = build_shards(w, results, &attempts, err);
    if (st >= 0) {
        st = shardy__winners_choose(w->plan, results, &count, err);
    }
    int64_t publish_ns = shardy__monotonic_ns(w->plan->context);
    if (st >= 0) {
        st = enter_phase(w, "publish", err);
    }
    if (st >= 0) {
        st = shardy__plan_publish(w->plan, results, count, result, err);
    }
    int64_t end_ns = shardy__monotonic_ns(w->plan->context);
    if (st >= 0 && result) {
        result->rows_taken = w->rows;
        result->attempts = attempts;
        result->build_ms = (publish_ns - build_ns) / 1000000;
        result->publish_ms = (end_ns - publish_ns) / 1000000;
        result->total_ms = (end_ns - w->began_ns) / 1000000;
        result->read_ms = (build_ns - w->began_ns) / 1000000;
    }
    shardy__attempt_results_free(results, n);
    return st;
}

static shardy_status finish(shardy_writer *w, shardy_build_result *result, shardy_error *err)
{
    if (w->rows == 0 && !w->plan->options.allow_empty) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "no row was put, and nothing is published: an empty snapshot was not asked for "
            "(allow_empty)");
    }
    if (w->log) {
        SHARDY_TRY(replay_log(w, err));
    }
    SHARDY_TRY(settle_without_rows(w, err));
    SHARDY_TRY(shardy__spool_seal(w->spool, err));
    SHARDY_TRY(enter_phase(w, "build", err));
    return build_and_publish(w, result, err);
}

shardy_status shardy_writer_finish(
    shardy_writer *w, shardy_build_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(w);
    if (result_out) {
        memset(result_out, 0, sizeof *result_out);
    }
    SHARDY_TRY(shardy__check_process(w->plan->context->process, err));
    if (w->state != WRITER_TAKING) {
        return shardy__error(err, SHARDY_MISUSE, "build", "the writer has %s",
            w->state == WRITER_DONE ? "finished" : "failed");
    }
    shardy_error error;
    shardy__error_clear(&error);
    shardy_build_result result;
    memset(&result, 0, sizeof result);
    shardy_status st = finish(w, &result, &error);
    shardy__count(w->plan->context, SHARDY_METRIC_ROWS_WRITTEN, w->rows);
    if (st < 0) {
        w->state = st == SHARDY_CONFLICT ? WRITER_DONE : WRITER_FAILED;
        if (st != SHARDY_CONFLICT) {
            shardy__plan_fail(w->plan, st, &error);
        }
        shardy_build_result_dispose(&result);
        if (err) {
            *err = error;
        }
        return st;
    }
    w->state = WRITER_DONE;
    enter_phase(w, "done", NULL);
    if (result_out) {
        *result_out = result;
    } else {
        shardy_build_result_dispose(&result);
    }
    return SHARDY_OK;
}
