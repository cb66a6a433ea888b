/* plan_json.c: a plan as JSON, which is how it travels from the process that made it to those that
 * build shards. */
#include "plan.h"

#include "../base/alloc.h"
#include "../base/clock.h"
#include "../base/json.h"
#include "../base/options.h"
#include "../catalog/document.h"
#include "../catalog/run_layout.h"
#include "../store/store.h"

#include <shardyfusion/sys/text.h>

#include <stdio.h>
#include <string.h>

static const char plan_what[] = "the plan";

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
        {"replaces", o->on_conflict == SHARDY_ON_CONFLICT_REPLACE},
        {"sidecar", (uint64_t)o->sidecar},
        {"has_current", plan->run.has_current != 0},
        {"generation", plan->run.generation},
        {"record_started_us", (uint64_t)plan->record.started_us},
        {"manifests_elsewhere",
            plan->manifests_elsewhere || plan->catalog.manifests.ops->refs_are_run_ids},
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

/* Missing in the plans of older versions: then the number stays as it is. */
static shardy_status read_newer(
    const shardy_json_value *root, const char *name, uint64_t *number, shardy_error *err)
{
    return shardy_json_type_of(shardy_json_get(root, name)) == SHARDY_JSON_NULL
               ? SHARDY_OK
               : shardy__document_u64(root, plan_what, name, number, err);
}

static shardy_status read_numbers(
    const shardy_json_value *root, shardy_plan *plan, shardy_error *err)
{
    shardy_writer_options *o = &plan->options;
    static const char *const names[] = {"version", "num_dbs", "dim", "page_size", "memory_budget",
        "sync", "has_current", "generation", "sidecar"};
    uint64_t n[9];
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        SHARDY_TRY(shardy__document_u64(root, plan_what, names[i], &n[i], err));
    }
    if (n[0] != 1) {
        return shardy__error(err, SHARDY_FORMAT_VERSION, "build",
            "the plan has version %llu, this version reads 1", (unsigned long long)n[0]);
    }
    if (n[8] > SHARDY_SIDECAR_NEVER) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "the plan has sidecar %llu, expected 0 to 2", (unsigned long long)n[8]);
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
    uint64_t replaces = o->on_conflict == SHARDY_ON_CONFLICT_REPLACE;
    uint64_t elsewhere = 0;
    SHARDY_TRY(read_newer(root, "replaces", &replaces, err));
    SHARDY_TRY(read_newer(root, "manifests_elsewhere", &elsewhere, err));
    o->on_conflict = replaces ? SHARDY_ON_CONFLICT_REPLACE : SHARDY_ON_CONFLICT_FAIL;
    plan->manifests_elsewhere = elsewhere != 0;
    o->sidecar = (int32_t)n[8];
    plan->run.has_current = n[6] != 0;
    plan->run.generation = n[7];
    return SHARDY_OK;
}

/* The record is written when the run ends: one that is not of the run is somebody else's object. */
static shardy_status take_record(shardy_plan *plan, const char *key, shardy_error *err)
{
    const char *registry = plan->options.run_registry_prefix;
    size_t registry_len = strlen(registry);
    const char *dir = key + registry_len + 1;
    const char *run_id = NULL;
    size_t run_id_len = 0;
    if (strncmp(key, registry, registry_len) != 0 || key[registry_len] != '/' ||
        !shardy__layout_record_dir(dir, strcspn(dir, "/"), &run_id, &run_id_len) ||
        run_id_len != strlen(plan->run_id) || memcmp(run_id, plan->run_id, run_id_len) != 0 ||
        strcmp(dir + strcspn(dir, "/"), "/run.yaml") != 0) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "the plan's \"record_key\" \"%.300s\" is no run record of \"%s\"", key, plan->run_id);
    }
    size_t stamp_len = (size_t)(run_id - dir) - strlen("_" RUN_DIR_MARK);
    shardy__time_parse(dir, stamp_len, &plan->record.started_us);
    snprintf(plan->record.key, sizeof plan->record.key, "%s", key);
    plan->has_record = 1;
    return SHARDY_OK;
}

/* What the process that made the plan has left in the store and seen there. */
static shardy_status take_run(shardy_plan *plan, const plan_texts *t, shardy_error *err)
{
    const char *problem = t->seen[0] ? shardy__etag_problem(t->seen) : NULL;
    if (problem) {
        return shardy__error(
            err, SHARDY_INVALID, "build", "the plan's \"seen\" %s, expected an ETag", problem);
    }
    snprintf(plan->run.seen.text, sizeof plan->run.seen.text, "%s", t->seen);
    if (t->record_key[0]) {
        SHARDY_TRY(take_record(plan, t->record_key, err));
    }
    shardy_status st = shardy__fate_load(plan->catalog.store, plan->run_id, &plan->run.fate, err);
    return st != SHARDY_NOT_FOUND ? st
                                  : shardy__error(err, SHARDY_INVALID, "build",
                                        "the plan's run \"%s\" was not begun in \"%.300s\"",
                                        plan->run_id, plan->catalog.url);
}

/* The database of the manifests, which the options lead to, or nobody. */
static shardy_status check_manifests(shardy_plan *plan, shardy_error *err)
{
    const int in_database = plan->catalog.manifests.ops->refs_are_run_ids;
    if (in_database && !plan->manifests_elsewhere) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "the manifests of run \"%s\" are objects, as it was planned, not in a database",
            plan->run_id);
    }
    plan->manifests_elsewhere = plan->manifests_elsewhere && !in_database;
    return SHARDY_OK;
}

static shardy_status read_plan(const shardy_json_value *root, const char *url,
    const shardy_plan_options *surroundings, shardy_plan *plan, shardy_error *err)
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
    o.store = surroundings->store;
    o.manifest_store = surroundings->manifest_store;
    o.scratch_dir = surroundings->scratch_dir;
    o.cancel = surroundings->cancel;
    o.allow_network_fs = surroundings->allow_network_fs;
    o.unsafe_single_writer = surroundings->unsafe_single_writer;
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
    SHARDY_TRY(check_manifests(plan, err));
    return take_run(plan, &t, err);
}

void shardy_plan_options_init(shardy_plan_options *options, size_t struct_size)
{
    shardy_plan_options defaults;
    memset(&defaults, 0, sizeof defaults);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

shardy_status shardy_plan_from_json(shardy_context *context, const char *url, shardy_bytes json,
    const shardy_plan_options *options, shardy_plan **plan_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(url && plan_out);
    *plan_out = NULL;
    shardy_plan_options surroundings;
    shardy_plan_options_init(&surroundings, sizeof surroundings);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&surroundings, options, err));
    shardy_json *doc = NULL;
    shardy_status st = shardy__document_parse(json, plan_what, &doc, err);
    if (st < 0) {
        return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
    }
    shardy_plan *plan = NULL;
    st = shardy__plan_alloc(context, &plan, err);
    if (st >= 0) {
        st = read_plan(shardy_json_root(doc), url, &surroundings, plan, err);
    }
    shardy_json_free(doc);
    if (st < 0) {
        shardy_plan_free(plan);
        return st == SHARDY_CORRUPT ? shardy__error_as(err, SHARDY_INVALID) : st;
    }
    *plan_out = plan;
    return SHARDY_OK;
}
