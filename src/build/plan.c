#include "plan.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"
#include "../base/rate.h"
#include "../base/uri.h"
#include "../catalog/run_layout.h"
#include "../store/store.h"
#include "scratch.h"

#include <shardyfusion/limits.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_BUDGET (256ull << 20)
/* A transaction in the manifest store. */
#define MANIFEST_TIMEOUT_MS 30000u

void shardy_writer_options_init(shardy_writer_options *options, size_t struct_size)
{
    shardy_writer_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.key_encoding = SHARDY_KEY_ENCODING_AUTO;
    defaults.page_size = 4096;
    defaults.metric = SHARDY_VECTOR_METRIC_COSINE;
    defaults.key_column = "_key";
    defaults.shard_prefix = "shards";
    defaults.run_registry_prefix = "runs";
    defaults.db_path_template = "db={db_id:05d}";
    defaults.memory_budget = MEMORY_BUDGET;
    defaults.max_retries = 3;
    defaults.retry_backoff_ms = 1000;
    defaults.retry_multiplier = 2.0;
    defaults.sync = 1;
    defaults.allow_empty = 1;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

/* --- names ------------------------------------------------------------------------------------ */

/* One path segment of [A-Za-z0-9._-] that keys can have. */
static int is_safe_segment(const char *text, size_t len_max)
{
    size_t len = strlen(text);
    if (len > len_max || shardy__key_problem(text, len)) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!shardy__is_alnum(c) && c != '.' && c != '_' && c != '-') {
            return 0;
        }
    }
    return 1;
}

static shardy_status check_segment(
    const char *text, size_t len_max, const char *what, shardy_error *err)
{
    if (!text || !is_safe_segment(text, len_max)) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "%s is \"%.200s\", expected 1 to %zu of A-Z a-z 0-9 . _ -", what, text ? text : "",
            len_max);
    }
    return SHARDY_OK;
}

void shardy__plan_attempt_path(const shardy_plan *plan, uint32_t db_id, uint32_t attempt,
    char path_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    char db[SHARDY_OBJECT_KEY_LEN_MAX / 2];
    shardy__template_format(plan->options.db_path_template, db_id, db, sizeof db);
    snprintf(path_out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "%s/run_id=%s/%s/attempt=%02u",
        plan->options.shard_prefix, plan->run_id, db, attempt);
}

router shardy__plan_router(const shardy_plan *plan)
{
    router r = {SHARDY_SHARDING_HASH, plan->options.key_encoding, plan->options.num_dbs};
    return r;
}

/* --- options ---------------------------------------------------------------------------------- */

static shardy_status check_numbers(const shardy_writer_options *o, int whole, shardy_error *err)
{
    if (o->num_dbs > SHARDY_NUM_DBS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "build", "num_dbs is %u, the limit is %u",
            o->num_dbs, SHARDY_NUM_DBS_MAX);
    }
    if (o->num_dbs > 0 && o->max_keys_per_shard > 0) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "num_dbs and max_keys_per_shard are both given, expected one of them");
    }
    if (whole && (o->num_dbs == 0 || o->key_encoding == SHARDY_KEY_ENCODING_AUTO)) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "a plan needs num_dbs and key_encoding before it sees a row");
    }
    if (o->key_encoding < SHARDY_KEY_ENCODING_AUTO || o->key_encoding > SHARDY_KEY_ENCODING_RAW) {
        return shardy__error(
            err, SHARDY_INVALID, "build", "key encoding %d is not known", o->key_encoding);
    }
    if (o->page_size != 0 &&
        (o->page_size < 512 || o->page_size > 65536 || (o->page_size & (o->page_size - 1)) != 0)) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "page_size is %u, expected a power of two from 512 to 65536, or 0 for auto",
            o->page_size);
    }
    if (o->dim > SHARDY_DIM_MAX) {
        return shardy__error(
            err, SHARDY_INVALID, "build", "dim is %u, the limit is %u", o->dim, SHARDY_DIM_MAX);
    }
    if (o->metric != SHARDY_VECTOR_METRIC_COSINE && o->metric != SHARDY_VECTOR_METRIC_L2) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "metric is %d (\"%s\"), the engines of this build have cosine and l2", o->metric,
            shardy_vector_metric_name(o->metric));
    }
    if (o->memory_budget < SHARDY_MEMORY_BUDGET_MIN) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "memory_budget is %llu bytes, the least is %llu", (unsigned long long)o->memory_budget,
            SHARDY_MEMORY_BUDGET_MIN);
    }
    if (o->threads > SHARDY_THREADS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "build", "threads is %u, the limit is %u",
            o->threads, SHARDY_THREADS_MAX);
    }
    if (o->max_retries >= SHARDY_ATTEMPTS_MAX || !(o->retry_multiplier >= 1.0)) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "max_retries is %u and retry_multiplier %g, expected less than %u and at least 1",
            o->max_retries, o->retry_multiplier, SHARDY_ATTEMPTS_MAX);
    }
    SHARDY_TRY(shardy__rate_check(o->max_rows_per_second, "max_rows_per_second", err));
    return shardy__rate_check(o->max_row_bytes_per_second, "max_row_bytes_per_second", err);
}

static shardy_status check_on_conflict(const shardy_writer_options *o, shardy_error *err)
{
    if (o->on_conflict != SHARDY_ON_CONFLICT_FAIL && o->on_conflict != SHARDY_ON_CONFLICT_REPLACE) {
        return shardy__error(
            err, SHARDY_INVALID, "build", "on_conflict %d is not known", o->on_conflict);
    }
    return SHARDY_OK;
}

static shardy_status check_choices(const shardy_writer_options *o, shardy_error *err)
{
    SHARDY_TRY(check_on_conflict(o, err));
    SHARDY_TRY(check_segment(o->shard_prefix, 64, "shard_prefix", err));
    SHARDY_TRY(check_segment(o->run_registry_prefix, 64, "run_registry_prefix", err));
    if (!shardy__layout_can_hold_shards(o->shard_prefix, o->run_registry_prefix)) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "shard_prefix is \"%.64s\", where no shards can be", o->shard_prefix);
    }
    if (o->run_id) {
        SHARDY_TRY(check_segment(o->run_id, SHARDY_RUN_ID_LEN_MAX, "run_id", err));
    }
    if (o->sidecar < SHARDY_SIDECAR_AUTO || o->sidecar > SHARDY_SIDECAR_NEVER) {
        return shardy__error(
            err, SHARDY_INVALID, "build", "sidecar is %d, expected 0 to 2", o->sidecar);
    }
    SHARDY_CHECK_ARG(o->key_column && o->db_path_template);
    SHARDY_TRY(shardy__template_check(o->db_path_template, err));
    if (o->published_as) {
        SHARDY_TRY(shardy__uri_check_published(o->published_as, err));
    }
    return shardy__custom_check_user(o->custom, err);
}

/* --- making a plan ---------------------------------------------------------------------------- */

static const char *keep(arena *a, const char *text, int *failed)
{
    char *copy = text ? shardy__arena_strdup(a, text) : NULL;
    *failed |= text && !copy;
    return copy;
}

static shardy_status copy_options(
    shardy_plan *plan, const shardy_writer_options *o, shardy_error *err)
{
    int failed = 0;
    arena *a = &plan->arena;
    plan->options = *o;
    plan->options.run_id = keep(a, o->run_id, &failed);
    plan->options.engine = keep(a, o->engine, &failed);
    plan->options.key_column = keep(a, o->key_column, &failed);
    plan->options.shard_prefix = keep(a, o->shard_prefix, &failed);
    plan->options.run_registry_prefix = keep(a, o->run_registry_prefix, &failed);
    plan->options.db_path_template = keep(a, o->db_path_template, &failed);
    plan->options.published_as = keep(a, o->published_as, &failed);
    plan->options.custom = keep(a, o->custom, &failed);
    plan->options.scratch_dir = keep(a, o->scratch_dir, &failed);
    plan->options.manifest_store = NULL; /* the catalog has what it needs of it */
    char hex[33];
    shardy__rand_hex32(plan->context, hex);
    plan->run_id = o->run_id ? plan->options.run_id : keep(a, hex, &failed);
    return failed ? shardy__error_nomem(err, "build") : SHARDY_OK;
}

/* The URL of the directory that is written to. A path with characters that no URL has here is
 * recorded as the path it is. */
static shardy_status directory_prefix(
    const shardy_plan *plan, char out[SHARDY_URL_LEN_MAX + 1], shardy_error *err)
{
    uri u;
    char *real = NULL;
    bytebuf text;
    SHARDY_TRY(shardy__uri_parse(plan->catalog.url, &u, err));
    shardy__bytebuf_init(&text, SHARDY_URL_LEN_MAX * 4);
    shardy__bytebuf_printf(
        &text, "%.*s", (int)u.path.len, u.path.len ? (const char *)u.path.data : "");
    if (u.path.len == 0) {
        shardy__bytebuf_puts(&text, "/");
    }
    shardy_status st = shardy__bytebuf_check(&text, "build", err);
    if (st >= 0) {
        st = shardy__path_real(text.data, &real, err);
    }
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__error(
            err, SHARDY_INVALID, "build", "there is no directory \"%.300s\"", plan->catalog.url);
    }
    if (st >= 0) {
        shardy__bytebuf_clear(&text);
        shardy__bytebuf_printf(&text, "%s%s", strpbrk(real, "?#") ? "" : "file://", real);
        st = shardy__bytebuf_check(&text, "build", err);
    }
    if (st >= 0) {
        st = shardy__uri_normalize(text.data, out, err);
        if (st < 0) {
            shardy__error_prefix(err, st, "where the directory is cannot be recorded");
        }
    }
    shardy__bytebuf_free(&text);
    shardy__free(real);
    return st;
}

/* The prefix to record: where the snapshot will be served, else the bucket or directory that is
 * written to. */
static shardy_status set_prefix(shardy_plan *plan, const char *url, shardy_error *err)
{
    uri u;
    /* A store of the caller's around a directory is one as well, when the URL says which. */
    const int in_directory =
        !plan->options.store ||
        (url && (shardy_store_caps(plan->options.store) & SHARDY_STORE_CAP_OPEN_LOCAL));
    char text[SHARDY_URL_LEN_MAX + 1] = "mem://snapshot";
    SHARDY_TRY(shardy__uri_parse(plan->catalog.url, &u, err));
    if (plan->options.published_as) {
        SHARDY_TRY(shardy__uri_normalize(plan->options.published_as, text, err));
    } else if (u.kind == URI_S3) {
        SHARDY_TRY(shardy__uri_check_published(plan->catalog.url, err));
        SHARDY_TRY(shardy__uri_normalize(plan->catalog.url, text, err));
    } else if (in_directory) {
        SHARDY_TRY(directory_prefix(plan, text, err));
    }
    plan->prefix = shardy__arena_strdup(&plan->arena, text);
    return plan->prefix ? SHARDY_OK : shardy__error_nomem(err, "build");
}

/* Below that of the store, which looks after it when this process dies. */
static shardy_status set_scratch_of_store(shardy_plan *plan, const char *base, shardy_error *err)
{
    char name[64];
    char hex[33];
    shardy__rand_hex32(plan->context, hex);
    snprintf(name, sizeof name, "build-%s", hex);
    SHARDY_TRY(shardy__path_join(base, name, &plan->scratch, err));
    SHARDY_TRY(shardy__dir_make(plan->scratch, 0700, 0, err));
    plan->own_scratch = 1;
    return SHARDY_OK;
}

static shardy_status set_scratch(shardy_plan *plan, shardy_error *err)
{
    const char *base = plan->options.scratch_dir;
    if (!base && (shardy_store_caps(plan->catalog.store) & SHARDY_STORE_CAP_TAKE_FILE)) {
        SHARDY_TRY(shardy_store_scratch(plan->catalog.store, &base, err));
        return set_scratch_of_store(plan, base, err);
    }
    SHARDY_TRY(shardy__scratch_make(
        plan->context, base ? base : "/tmp", &plan->scratch, &plan->scratch_lock, err));
    plan->own_scratch = 1;
    return SHARDY_OK;
}

static void fill_record(shardy_plan *plan)
{
    run_record *r = &plan->record;
    r->status = RUN_RUNNING;
    snprintf(r->run_id, sizeof r->run_id, "%s", plan->run_id);
    snprintf(r->writer_type, sizeof r->writer_type, "c");
    snprintf(r->s3_prefix, sizeof r->s3_prefix, "%s", plan->prefix);
    snprintf(r->shard_prefix, sizeof r->shard_prefix, "%s", plan->options.shard_prefix);
    snprintf(r->db_path_template, sizeof r->db_path_template, "%s", plan->options.db_path_template);
}

/* Keeps the lease of the run record fresh. */
static void beat(timer_task *task)
{
    shardy_plan *plan = (shardy_plan *)(void *)((char *)task - offsetof(shardy_plan, heartbeat));
    shardy_error error;
    shardy_status st =
        shardy__run_record_beat(plan->context, plan->catalog.store, &plan->record, &error);
    if (st < 0 && st != SHARDY_CANCELLED) {
        shardy__log(plan->context, SHARDY_LOG_WARN, "build",
            "the run record could not be updated: %s", error.message);
    }
}

static void stop_heartbeat(shardy_plan *plan)
{
    shardy__timer_remove(plan->context->timer, &plan->heartbeat);
}

static void begin_record(shardy_plan *plan)
{
    run_record *r = &plan->record;
    shardy_error error;
    fill_record(plan);
    shardy__run_record_begin(plan->context, plan->options.run_registry_prefix, r);
    shardy_status st = shardy__run_record_write(plan->context, plan->catalog.store, r, &error);
    plan->has_record = st >= 0;
    if (st < 0 && st != SHARDY_CANCELLED) {
        shardy__log(plan->context, SHARDY_LOG_WARN, "build",
            "the run record could not be written: %s", error.message);
    }
    if (st < 0) {
        return;
    }
    plan->heartbeat.run = beat;
    plan->heartbeat.period_ns = RUN_RECORD_HEARTBEAT_US * 1000;
    shardy__timer_add(plan->context->timer, &plan->heartbeat);
}

void shardy__plan_end_record(
    shardy_plan *plan, shardy_status st, const char *manifest_ref, const shardy_error *error)
{
    run_record *r = &plan->record;
    shardy_error ignored;
    const catalog after = shardy__catalog_after(&plan->catalog);
    stop_heartbeat(plan);
    if (!plan->has_record || r->status != RUN_RUNNING) {
        return;
    }
    r->status = st >= 0 ? RUN_SUCCEEDED : RUN_FAILED;
    snprintf(r->manifest_ref, sizeof r->manifest_ref, "%s", manifest_ref ? manifest_ref : "");
    if (st < 0) {
        snprintf(r->error_type, sizeof r->error_type, "%s", shardy_status_name(st));
        snprintf(r->error_message, sizeof r->error_message, "%s", error ? error->message : "");
    }
    /* whoever condemned the run may have removed its record, which is not made anew then */
    shardy_status written = plan->run.fenced
                                ? shardy__run_record_beat(plan->context, after.store, r, &ignored)
                                : shardy__run_record_write(plan->context, after.store, r, &ignored);
    if (written < 0) {
        shardy__log(plan->context, SHARDY_LOG_WARN, "build",
            "the run record could not be updated: %s", ignored.message);
    }
}

static shardy_status set_engine(shardy_plan *plan, shardy_error *err)
{
    if (!plan->options.engine) {
        plan->engine = shardy__engine_default(plan->options.dim > 0);
        return SHARDY_OK;
    }
    return shardy__engine_find(plan->options.engine, &plan->engine, err);
}

/* What "auto" means for this destination. */
static void set_sidecar(shardy_plan *plan)
{
    if (plan->options.sidecar == SHARDY_SIDECAR_AUTO) {
        int local = (shardy_store_caps(plan->catalog.store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
        plan->options.sidecar = local ? SHARDY_SIDECAR_NEVER : SHARDY_SIDECAR_ALWAYS;
    }
}

/* With `create` the directory of the data set is made when it is missing. */
static shardy_status set_up(shardy_plan *plan, const char *url,
    const shardy_writer_options *options, int whole, int create, shardy_error *err)
{
    SHARDY_TRY(check_numbers(options, whole, err));
    SHARDY_TRY(check_choices(options, err));
    SHARDY_TRY(copy_options(plan, options, err));
    SHARDY_TRY(set_engine(plan, err));
    const catalog_options catalog_opts = {.create = create,
        .sync = options->sync,
        .allow_network_fs = options->allow_network_fs,
        .store = options->store,
        .manifests = options->manifest_store,
        .timeout_ms = MANIFEST_TIMEOUT_MS,
        .cancel = options->cancel,
        .bound = CATALOG_CANCELLABLE,
        .single_writer = options->unsafe_single_writer};
    SHARDY_TRY(shardy__catalog_open(plan->context, url, &catalog_opts, &plan->catalog, err));
    set_sidecar(plan);
    return SHARDY_OK;
}

static shardy_status fill_plan(shardy_plan *plan, const char *url,
    const shardy_writer_options *options, int whole, shardy_error *err)
{
    SHARDY_TRY(set_up(plan, url, options, whole, 1, err));
    SHARDY_TRY(set_prefix(plan, url, err));
    SHARDY_TRY(set_scratch(plan, err));
    /* the last that can fail: a build that is refused has not used up its run id */
    SHARDY_TRY(shardy__publish_begin(&plan->catalog, plan->run_id, plan->options.shard_prefix,
        "libshardyfusion " SHARDY_VERSION, &plan->run, err));
    begin_record(plan);
    return SHARDY_OK;
}

shardy_status shardy__plan_adopt(shardy_plan *plan, const char *url,
    const shardy_writer_options *options, const char *prefix, shardy_error *err)
{
    shardy_writer_options checked = *options;
    checked.published_as = NULL; /* what was recorded is recorded */
    SHARDY_TRY(set_up(plan, url, &checked, 1, 0, err));
    char text[SHARDY_URL_LEN_MAX + 1];
    SHARDY_TRY(shardy__uri_normalize(prefix, text, err));
    plan->prefix = shardy__arena_strdup(&plan->arena, text);
    if (!plan->prefix) {
        return shardy__error_nomem(err, "build");
    }
    fill_record(plan);
    return set_scratch(plan, err);
}

shardy_status shardy__plan_alloc(shardy_context *context, shardy_plan **plan_out, shardy_error *err)
{
    *plan_out = NULL;
    shardy_plan *plan = shardy__calloc(1, sizeof *plan);
    if (!plan) {
        return shardy__error_nomem(err, "build");
    }
    plan->scratch_lock = -1;
    shardy__arena_init(&plan->arena);
    shardy_status st = shardy__context_hold(context, &plan->context, err);
    if (st < 0) {
        shardy__free(plan);
        return st;
    }
    *plan_out = plan;
    return SHARDY_OK;
}

shardy_status shardy__plan_open(shardy_context *context, const char *url,
    const shardy_writer_options *options, int whole, shardy_plan **plan_out, shardy_error *err)
{
    *plan_out = NULL;
    shardy_plan *plan = NULL;
    SHARDY_TRY(shardy__plan_alloc(context, &plan, err));
    shardy_status st = fill_plan(plan, url, options, whole, err);
    if (st < 0) {
        shardy_plan_free(plan);
        return st;
    }
    *plan_out = plan;
    return SHARDY_OK;
}

shardy_status shardy_plan_new(shardy_context *context, const char *url,
    const shardy_writer_options *options, shardy_plan **plan_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan_out);
    *plan_out = NULL;
    shardy_writer_options o;
    shardy_writer_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.store);
    return shardy__plan_open(context, url, &o, 1, plan_out, err);
}

void shardy__plan_fail(shardy_plan *plan, shardy_status st, const shardy_error *error)
{
    if (plan->has_failed) {
        return;
    }
    plan->has_failed = 1;
    shardy__publish_abandon(&plan->catalog, &plan->run, plan->options.shard_prefix);
    shardy__plan_end_record(plan, st, NULL, error);
}

void shardy_plan_free(shardy_plan *plan)
{
    if (!plan) {
        return;
    }
    if (plan->context->process != shardy__process_generation()) {
        return; /* a copy in a child process: the run and its scratch are the parent's */
    }
    stop_heartbeat(plan);
    if (plan->own_scratch) {
        shardy__scratch_remove(plan->scratch, plan->scratch_lock);
    }
    if (plan->catalog.manifests.ops) {
        shardy__catalog_close(&plan->catalog);
    }
    shardy__free(plan->scratch);
    shardy__arena_free(&plan->arena);
    shardy__context_drop(plan->context);
    shardy__free(plan);
}

shardy_status shardy_verify_routing(const shardy_plan *plan, const shardy_key *keys,
    const uint32_t *db_ids, size_t count, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan && ((keys && db_ids) || count == 0));
    router r = shardy__plan_router(plan);
    for (size_t i = 0; i < count; i++) {
        routed_key routed;
        SHARDY_TRY(shardy__router_route(&r, &keys[i], NULL, 0, &routed, err));
        if (routed.db_id != db_ids[i]) {
            char text[SHARDY_KEY_TEXT_SIZE];
            return shardy__error(err, SHARDY_COVERAGE, "build",
                "key %s was put into shard %u, it belongs to shard %u",
                shardy__key_text(&keys[i], text), db_ids[i], routed.db_id);
        }
    }
    return SHARDY_OK;
}
