/* steps.c: the steps of a build one by one, for schedulers that distribute them. A plan and the
 * result of an attempt travel as JSON. */
#include "intake.h"
#include "winners.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/json.h"
#include "../base/uri.h"
#include "../catalog/document.h"

#include <shardyfusion/sys/text.h>

#include <stdio.h>
#include <string.h>

static const char plan_what[] = "the plan";
static const char attempt_what[] = "the result of an attempt";

/* --- plans ------------------------------------------------------------------------------------ */

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

static void write_options(json_writer *w, const shardy_plan *plan)
{
    const shardy_writer_options *o = &plan->options;
    const struct {
        const char *name;
        const char *text;
    } texts[] = {
        {"run_id", plan->run_id},
        {"engine", plan->engine->name},
        {"key_encoding", shardy_key_encoding_name(o->key_encoding)},
        {"metric", shardy_vector_metric_name(o->metric)},
        {"key_column", o->key_column},
        {"shard_prefix", o->shard_prefix},
        {"run_registry_prefix", o->run_registry_prefix},
        {"db_path_template", o->db_path_template},
        {"custom", o->custom ? o->custom : "{}"},
        {"prefix", plan->prefix},
        {"record_key", plan->has_record ? plan->record.key : ""},
        {"seen", plan->run.seen.text},
    };
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"version", 1},
        {"num_dbs", o->num_dbs},
        {"dim", o->dim},
        {"page_size", o->page_size},
        {"memory_budget", o->memory_budget},
        {"sync", o->sync != 0},
        {"has_current", plan->run.has_current != 0},
        {"generation", plan->run.generation},
        {"record_started_us", (uint64_t)plan->record.started_us},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        shardy__json_name(w, texts[i].name);
        shardy__json_string(w, texts[i].text);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        shardy__json_name(w, numbers[i].name);
        shardy__json_uint(w, numbers[i].number);
    }
}

shardy_status shardy_plan_to_json(const shardy_plan *plan, shardy_buf *json_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan && json_out);
    memset(json_out, 0, sizeof *json_out);
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, (size_t)SHARDY_CUSTOM_LEN_MAX * 8);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    shardy__json_begin_object(&w);
    write_options(&w, plan);
    shardy__json_end_object(&w);
    return shardy__document_finish(&w, &out, json_out, err);
}

/* Texts of a plan that is being read. */
typedef struct plan_texts {
    char run_id[SHARDY_RUN_ID_LEN_MAX + 1];
    char engine[32];
    char encoding[16];
    char metric[16];
    char key_column[256];
    char shard_prefix[128];
    char registry[128];
    char template_text[256];
    char prefix[SHARDY_URL_LEN_MAX + 1];
    char record_key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char seen[SHARDY_ETAG_LEN_MAX + 1];
} plan_texts;

static shardy_status read_texts(const shardy_json_value *root, plan_texts *t, shardy_error *err)
{
    const struct {
        const char *name;
        char *out;
        size_t size;
    } texts[] = {
        {"run_id", t->run_id, sizeof t->run_id},
        {"engine", t->engine, sizeof t->engine},
        {"key_encoding", t->encoding, sizeof t->encoding},
        {"metric", t->metric, sizeof t->metric},
        {"key_column", t->key_column, sizeof t->key_column},
        {"shard_prefix", t->shard_prefix, sizeof t->shard_prefix},
        {"run_registry_prefix", t->registry, sizeof t->registry},
        {"db_path_template", t->template_text, sizeof t->template_text},
        {"prefix", t->prefix, sizeof t->prefix},
        {"record_key", t->record_key, sizeof t->record_key},
        {"seen", t->seen, sizeof t->seen},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        SHARDY_TRY(shardy__document_text(
            root, plan_what, texts[i].name, texts[i].out, texts[i].size, err));
    }
    return SHARDY_OK;
}

static shardy_status read_numbers(
    const shardy_json_value *root, shardy_plan *plan, shardy_error *err)
{
    shardy_writer_options *o = &plan->options;
    static const char *const names[] = {"version", "num_dbs", "dim", "page_size", "memory_budget",
        "sync", "has_current", "generation", "record_started_us"};
    uint64_t n[9];
    for (size_t i = 0; i < 9; i++) {
        SHARDY_TRY(shardy__document_u64(root, plan_what, names[i], &n[i], err));
    }
    if (n[0] != 1) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "build",
            "the plan has version %llu, this version reads 1", (unsigned long long)n[0]);
    }
    if (n[1] == 0 || n[1] > SHARDY_NUM_DBS_MAX || n[2] > SHARDY_DIM_MAX || n[3] > 65536) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "the plan has num_dbs %llu, dim %llu and page_size %llu", (unsigned long long)n[1],
            (unsigned long long)n[2], (unsigned long long)n[3]);
    }
    o->num_dbs = (uint32_t)n[1];
    o->dim = (uint32_t)n[2];
    o->page_size = (uint32_t)n[3];
    o->memory_budget = n[4];
    o->sync = n[5] != 0;
    plan->run.has_current = n[6] != 0;
    plan->run.generation = n[7];
    plan->record.started_us = (int64_t)n[8];
    return SHARDY_OK;
}

static shardy_status read_plan(
    const shardy_json_value *root, const char *url, shardy_plan *plan, shardy_error *err)
{
    plan_texts t;
    shardy_writer_options o;
    SHARDY_TRY(read_texts(root, &t, err));
    shardy_writer_options_init(&o, sizeof o);
    plan->options = o;
    SHARDY_TRY(read_numbers(root, plan, err));
    o = plan->options;
    o.run_id = t.run_id;
    o.engine = t.engine;
    o.key_column = t.key_column;
    o.shard_prefix = t.shard_prefix;
    o.run_registry_prefix = t.registry;
    o.db_path_template = t.template_text;
    o.published_as = t.prefix;
    SHARDY_TRY(shardy_key_encoding_parse(t.encoding, &o.key_encoding, err));
    SHARDY_TRY(shardy_vector_metric_parse(t.metric, &o.metric, err));
    shardy_bytes custom = shardy_json_string(shardy_json_get(root, "custom"));
    char *text = shardy__strndup(custom.data, custom.len);
    if (!text) {
        return shardy__error_nomem(err, "build");
    }
    o.custom = text;
    shardy_status st = shardy__plan_adopt(plan, url, &o, t.prefix, err);
    shardy__free(text);
    SHARDY_TRY(st);
    SHARDY_TRY(shardy__fate_load(plan->catalog.store, plan->run_id, &plan->run.fate, err));
    snprintf(plan->run.seen.text, sizeof plan->run.seen.text, "%s", t.seen);
    plan->has_record = t.record_key[0] != '\0';
    snprintf(plan->record.key, sizeof plan->record.key, "%s", t.record_key);
    return SHARDY_OK;
}

shardy_status shardy_plan_from_json(shardy_context *context, const char *url, shardy_bytes json,
    shardy_plan **plan_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(url && plan_out);
    *plan_out = NULL;
    shardy_json *doc = NULL;
    shardy_status st = shardy__document_parse(json, plan_what, &doc, err);
    if (st < 0) {
        return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
    }
    shardy_plan *plan = NULL;
    st = shardy__plan_alloc(context, &plan, err);
    if (st >= 0) {
        st = read_plan(shardy_json_root(doc), url, plan, err);
    }
    shardy_json_free(doc);
    if (st < 0) {
        shardy_plan_free(plan);
        return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
    }
    *plan_out = plan;
    return SHARDY_OK;
}

/* --- attempts --------------------------------------------------------------------------------- */

static void write_key(json_writer *w, const char *name, int32_t has, const shardy_key *key)
{
    shardy__json_name(w, name);
    if (!has) {
        shardy__json_null(w);
    } else if (key->type == SHARDY_KEY_INT) {
        shardy__json_int(w, key->i);
    } else if (key->type == SHARDY_KEY_UINT) {
        shardy__json_uint(w, key->u);
    } else {
        shardy__json_string_bytes(w, key->bytes);
    }
}

static void write_attempt(json_writer *w, const attempt_result *result)
{
    static const attempt_output none;
    const attempt_output *r = result->output ? result->output : &none;
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {{"db_id", result->db_id}, {"attempt", result->attempt},
        {"row_count", r->row_count}, {"vector_count", r->vector_count}, {"db_bytes", r->db_bytes},
        {"duration_ms", (uint64_t)r->duration_ms}};
    shardy__json_begin_object(w);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        shardy__json_name(w, numbers[i].name);
        shardy__json_uint(w, numbers[i].number);
    }
    shardy__json_name(w, "path");
    shardy__json_string(w, r->path);
    shardy__json_name(w, "checkpoint_id");
    shardy__json_string(w, r->checkpoint_id);
    write_key(w, "min_key", r->has_min_key, &r->min_key);
    write_key(w, "max_key", r->has_max_key, &r->max_key);
    shardy__json_name(w, "objects");
    shardy__json_begin_array(w);
    for (uint32_t i = 0; i < r->object_count; i++) {
        char digest[65];
        shardy__sha256_hex(&r->objects[i].digest, digest);
        shardy__json_begin_object(w);
        shardy__json_name(w, "path");
        shardy__json_string(w, r->objects[i].path);
        shardy__json_name(w, "size");
        shardy__json_uint(w, r->objects[i].size);
        shardy__json_name(w, "sha256");
        shardy__json_string(w, digest);
        shardy__json_end_object(w);
    }
    shardy__json_end_array(w);
    shardy__json_end_object(w);
}

static shardy_status results_to_json(const attempt_result *results, size_t count, int as_array,
    shardy_buf *json_out, shardy_error *err)
{
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, (size_t)SHARDY_CUSTOM_LEN_MAX * 64);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    if (as_array) {
        shardy__json_begin_array(&w);
    }
    for (size_t i = 0; i < count; i++) {
        write_attempt(&w, &results[i]);
    }
    if (as_array) {
        shardy__json_end_array(&w);
    }
    return shardy__document_finish(&w, &out, json_out, err);
}

static shardy_status read_key(const shardy_json_value *root, const char *name, int32_t *has_out,
    shardy_key *key_out, char **text_out, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(root, name);
    int64_t i;
    uint64_t u;
    *has_out = 1;
    if (!value || shardy_json_type_of(value) == SHARDY_JSON_NULL) {
        *has_out = 0;
    } else if (shardy_json_int64(value, &i)) {
        *key_out = shardy_key_int(i);
    } else if (shardy_json_uint64(value, &u)) {
        *key_out = shardy_key_uint(u);
    } else if (shardy_json_type_of(value) == SHARDY_JSON_STRING) {
        shardy_bytes text = shardy_json_string(value);
        *text_out = shardy__strndup(text.data, text.len);
        if (!*text_out) {
            return shardy__error_nomem(err, "build");
        }
        *key_out = shardy_key_text(*text_out, text.len);
    } else {
        return shardy__error(
            err, SHARDY_CORRUPT, "build", "%s has no key \"%s\"", attempt_what, name);
    }
    return SHARDY_OK;
}

static shardy_status read_objects(
    const shardy_json_value *root, attempt_output *r, shardy_error *err)
{
    const shardy_json_value *objects = shardy_json_get(root, "objects");
    size_t count = shardy_json_count(objects);
    if (shardy_json_type_of(objects) != SHARDY_JSON_ARRAY || count > ATTEMPT_OBJECTS_MAX) {
        return shardy__error(
            err, SHARDY_CORRUPT, "build", "%s has no list of objects", attempt_what);
    }
    for (size_t i = 0; i < count; i++) {
        attempt_object *o = &r->objects[i];
        const shardy_json_value *object = shardy_json_at(objects, i);
        SHARDY_TRY(
            shardy__document_text(object, attempt_what, "path", o->path, sizeof o->path, err));
        SHARDY_TRY(shardy__document_u64(object, attempt_what, "size", &o->size, err));
        SHARDY_TRY(shardy__document_digest(object, attempt_what, "sha256", &o->digest, err));
        size_t len = strlen(r->path);
        if (shardy__key_problem(o->path, strlen(o->path)) || len == 0 ||
            strncmp(o->path, r->path, len) != 0 || o->path[len] != '/') {
            return shardy__error(err, SHARDY_CORRUPT, "build",
                "%s has the object \"%.200s\", which is not below its path", attempt_what, o->path);
        }
        r->object_count++;
    }
    return SHARDY_OK;
}

static shardy_status read_output(
    const shardy_json_value *root, attempt_output *r, shardy_error *err)
{
    uint64_t n;
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "row_count", &r->row_count, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "vector_count", &r->vector_count, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "db_bytes", &r->db_bytes, err));
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "duration_ms", &n, err));
    r->duration_ms = (int64_t)n;
    SHARDY_TRY(shardy__document_text(root, attempt_what, "path", r->path, sizeof r->path, err));
    SHARDY_TRY(shardy__document_text(
        root, attempt_what, "checkpoint_id", r->checkpoint_id, sizeof r->checkpoint_id, err));
    SHARDY_TRY(read_key(root, "min_key", &r->has_min_key, &r->min_key, &r->min_text, err));
    SHARDY_TRY(read_key(root, "max_key", &r->has_max_key, &r->max_key, &r->max_text, err));
    return read_objects(root, r, err);
}

static shardy_status read_attempt(
    const shardy_json_value *root, attempt_result *r, shardy_error *err)
{
    uint64_t n;
    memset(r, 0, sizeof *r);
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "db_id", &n, err));
    r->db_id = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    SHARDY_TRY(shardy__document_u64(root, attempt_what, "attempt", &n, err));
    r->attempt = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    const shardy_json_value *path = shardy_json_get(root, "path");
    if (shardy_json_type_of(path) == SHARDY_JSON_STRING && shardy_json_string(path).len == 0) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__attempt_output_new(&r->output, err));
    return read_output(root, r->output, err);
}

/* Rows of one shard into a spool of one shard. */
static shardy_status take_rows(const shardy_plan *plan, uint32_t db_id, spool *s,
    shardy_next_row_fn next_row, void *user, shardy_error *err)
{
    router r = shardy__plan_router(plan);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    shardy_status st;
    while ((st = next_row(user, &row, err)) == SHARDY_OK) {
        SHARDY_TRY(shardy__intake_check(&plan->options, &row, err));
        intake in;
        shardy__intake_init(&in);
        st = shardy__intake_take(&in, &r, &row, err);
        if (st >= 0 && in.row.db_id != db_id) {
            char text[SHARDY_KEY_TEXT_SIZE];
            st = shardy__error(err, SHARDY_COVERAGE, "build",
                "key %s belongs to shard %u, not to shard %u", shardy__key_text(&row.key, text),
                in.row.db_id, db_id);
        }
        in.row.db_id = 0;
        if (st >= 0) {
            st = shardy__spool_add(s, &in.row, err);
        }
        shardy__intake_free(&in);
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
    shardy_status st = results_to_json(&result, 1, 0, result_json_out, err);
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
        attempt_job job = {plan, s, 0, db_id, attempt, {NULL, NULL}};
        st = build_attempt(&job, next_row, user, result_json_out, err);
    }
    shardy__spool_free(s);
    shardy__pool_free(config.pool);
    return st;
}

/* --- winners ---------------------------------------------------------------------------------- */

static void free_results(attempt_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shardy__attempt_result_free(&results[i]);
    }
    shardy__free(results);
}

static shardy_status as_argument(shardy_status st, shardy_error *err)
{
    return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
}

shardy_status shardy_winners_select(const shardy_plan *plan, const shardy_bytes *results_json,
    size_t count, shardy_buf *winners_json_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan && (results_json || count == 0) && winners_json_out);
    memset(winners_json_out, 0, sizeof *winners_json_out);
    attempt_result *results = shardy__calloc(count, sizeof *results);
    if (!results) {
        return shardy__error_nomem(err, "build");
    }
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < count; i++) {
        shardy_json *json = NULL;
        st = shardy__document_parse(results_json[i], attempt_what, &json, err);
        if (st >= 0) {
            st = read_attempt(shardy_json_root(json), &results[i], err);
        }
        shardy_json_free(json);
        st = as_argument(st, err);
    }
    size_t kept = count;
    if (st >= 0) {
        st = shardy__winners_choose(plan, results, &kept, err);
    }
    if (st >= 0) {
        st = results_to_json(results, kept, 1, winners_json_out, err);
    }
    free_results(results, count);
    return st;
}

static shardy_status read_winners(
    const shardy_json_value *root, attempt_result **out, size_t *count_out, shardy_error *err)
{
    size_t count = shardy_json_count(root);
    if (shardy_json_type_of(root) != SHARDY_JSON_ARRAY) {
        return shardy__error(err, SHARDY_INVALID, "build", "the winners are not a JSON array");
    }
    *out = shardy__calloc(count, sizeof **out);
    if (!*out) {
        return shardy__error_nomem(err, "build");
    }
    *count_out = count;
    for (size_t i = 0; i < count; i++) {
        SHARDY_TRY(as_argument(read_attempt(shardy_json_at(root, i), &(*out)[i], err), err));
    }
    return SHARDY_OK;
}

shardy_status shardy_plan_publish(const shardy_plan *plan, shardy_bytes winners_json,
    shardy_build_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan);
    if (result_out) {
        memset(result_out, 0, sizeof *result_out);
    }
    shardy_json *json = NULL;
    attempt_result *winners = NULL;
    size_t count = 0;
    shardy_status st = shardy_json_parse(winners_json, &json, err);
    if (st >= 0) {
        st = read_winners(shardy_json_root(json), &winners, &count, err);
    }
    size_t kept = count;
    if (st >= 0) {
        st = shardy__winners_choose(plan, winners, &kept, err);
    }
    if (st >= 0) {
        /* The run moves on, which is no change of what was planned. */
        st =
            shardy__winners_publish((shardy_plan *)(uintptr_t)plan, winners, kept, result_out, err);
    }
    free_results(winners, count);
    shardy_json_free(json);
    if (st < 0) {
        shardy_build_result_dispose(result_out);
    }
    return st;
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
