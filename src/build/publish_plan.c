#include "publish_plan.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/uri.h"
#include "upload.h"
#include "winners.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the manifest ----------------------------------------------------------------------------- */

static shardy_status add_shard(
    const shardy_plan *plan, manifest *m, const attempt_result *result, shardy_error *err)
{
    const attempt_output *r = result->output;
    manifest_shard *shard = &m->shards[m->shard_count++];
    char url[SHARDY_URL_LEN_MAX + 1];
    SHARDY_TRY(shardy__uri_join(plan->prefix, r->path, url, err));
    shard->db_url = shardy__arena_strdup(&m->arena, url);
    shard->checkpoint_id = shardy__arena_strdup(&m->arena, r->checkpoint_id);
    if (!shard->db_url || !shard->checkpoint_id) {
        return shardy__error_nomem(err, "build");
    }
    shard->db_id = result->db_id;
    shard->attempt = result->attempt;
    shard->row_count = r->row_count;
    shard->db_bytes = r->db_bytes;
    shard->duration_ms = r->duration_ms;
    shard->has_min_key = r->has_min_key;
    shard->has_max_key = r->has_max_key;
    shard->min_key = r->min_key;
    shard->max_key = r->max_key;
    for (uint32_t i = 0; i < r->object_count; i++) {
        shardy_object_digest *object = &m->objects[m->object_count++];
        object->path = r->objects[i].path;
        object->size = r->objects[i].size;
        memcpy(object->sha256, r->objects[i].digest.bytes, sizeof object->sha256);
    }
    return SHARDY_OK;
}

static int compare_objects(const void *a, const void *b)
{
    const shardy_object_digest *x = a;
    const shardy_object_digest *y = b;
    return strcmp(x->path, y->path);
}

static shardy_status fill_custom(const shardy_plan *plan, const attempt_result *winners,
    size_t count, manifest *m, shardy_error *err)
{
    const char *engine = plan->engine->name;
    manifest_custom custom;
    memset(&custom, 0, sizeof custom);
    snprintf(custom.engine, sizeof custom.engine, "%s", engine);
    if (plan->engine->caps & SHARDY_ENGINE_CAP_VECTOR && plan->options.dim > 0) {
        custom.has_vector = 1;
        custom.unified = 1;
        custom.dim = plan->options.dim;
        custom.metric = plan->options.metric;
        snprintf(custom.backend, sizeof custom.backend, "%s", engine);
        snprintf(custom.kv_backend, sizeof custom.kv_backend, "%s", engine);
    }
    /* Announced when there are some, not when they were asked for. */
    for (size_t i = 0; i < count && !custom.has_sidecar; i++) {
        custom.has_sidecar = winners[i].output && shardy__upload_has_sidecar(winners[i].output);
    }
    custom.sidecar_page_size = plan->options.page_size;
    bytebuf text;
    shardy__bytebuf_init(&text, SHARDY_CUSTOM_LEN_MAX);
    shardy_status st = shardy__custom_render(plan->options.custom, &custom, &text, err);
    if (st >= 0) {
        m->custom = shardy__arena_strndup(&m->arena, text.data, text.len);
        st = m->custom ? SHARDY_OK : shardy__error_nomem(err, "build");
    }
    shardy__bytebuf_free(&text);
    return st;
}

/* When the manifest is made. One that was begun before, perhaps by a process that died, is made
 * again as it was, so that the run never has two. Not every ref tells: then the plan remembers. */
static int64_t manifest_time(shardy_plan *plan)
{
    const fate *f = &plan->run.fate;
    const int begun = f->state == FATE_PUBLISHING && f->has_manifest;
    int64_t us;
    if (begun && shardy__manifest_store_ref_time(&plan->catalog.manifests, f->manifest_ref, &us)) {
        return us;
    }
    if (!begun || plan->manifest_us == 0) {
        plan->manifest_us = shardy__wall_us(plan->context);
    }
    return plan->manifest_us;
}

static shardy_status fill_manifest(
    shardy_plan *plan, const attempt_result *winners, size_t count, manifest *m, shardy_error *err)
{
    char created[SHARDY_TIME_TEXT_SIZE];
    m->created_us = manifest_time(plan);
    shardy__time_format_iso(m->created_us, created);
    m->created_at = shardy__arena_strdup(&m->arena, created);
    m->run_id = plan->run_id;
    m->s3_prefix = plan->prefix;
    m->key_col = plan->options.key_column;
    m->db_path_template = plan->options.db_path_template;
    m->shard_prefix = plan->options.shard_prefix;
    m->num_dbs = plan->options.num_dbs;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = plan->options.key_encoding;
    size_t with_rows = 0;
    for (size_t i = 0; i < count; i++) {
        with_rows += winners[i].output != NULL;
    }
    m->shards = shardy__arena_calloc(&m->arena, with_rows, sizeof *m->shards);
    m->objects =
        shardy__arena_calloc(&m->arena, with_rows * ATTEMPT_OBJECTS_MAX, sizeof *m->objects);
    if (!m->created_at || !m->shards || !m->objects) {
        return shardy__error_nomem(err, "build");
    }
    for (size_t i = 0; i < count; i++) {
        if (winners[i].output) {
            SHARDY_TRY(add_shard(plan, m, &winners[i], err));
        }
    }
    if (m->object_count > 1) {
        qsort(m->objects, m->object_count, sizeof *m->objects, compare_objects);
    }
    return fill_custom(plan, winners, count, m, err);
}

/* --- publishing ------------------------------------------------------------------------------- */

/* Ref of the manifest, and what the pointer says. */
typedef struct manifest_name {
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char url[SHARDY_URL_LEN_MAX + 1];
} manifest_name;

static shardy_status name_manifest(
    const shardy_plan *plan, int64_t created_us, manifest_name *name, shardy_error *err)
{
    const manifest_store *m = &plan->catalog.manifests;
    SHARDY_TRY(shardy__manifest_store_name(m, plan->run_id, created_us, name->ref, err));
    return shardy__manifest_store_full_ref(m, plan->prefix, name->ref, name->url, err);
}

static shardy_status publish_image(
    shardy_plan *plan, const manifest *m, const manifest_name *name, shardy_error *err)
{
    shardy_buf image;
    SHARDY_TRY(shardy__manifest_render(m, &image, err));
    plan->run.replaces = plan->options.on_conflict == SHARDY_ON_CONFLICT_REPLACE;
    shardy_status st = shardy__publish_commit(&plan->catalog, &plan->run, name->ref, name->url,
        shardy__bytes(image.data, image.len), err);
    shardy_buf_release(&image);
    return st;
}

/* What a result owns. Whom the run replaced, if anybody, turns out when the pointer is moved, after
 * which nothing may fail: there is room for it before. */
typedef struct result_memory {
    arena arena;
    char replaced_run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
} result_memory;

static shardy_status fill_result(const shardy_plan *plan, const manifest *m, const char *url,
    const attempt_result *winners, size_t count, shardy_build_result *out, shardy_error *err)
{
    result_memory *memory = shardy__calloc(1, sizeof *memory);
    if (!memory) {
        return shardy__error_nomem(err, "build");
    }
    arena *a = &memory->arena;
    out->owner = memory;
    out->run_id = shardy__arena_strdup(a, plan->run_id);
    out->manifest_ref = shardy__arena_strdup(a, url);
    out->engine = plan->engine->name;
    if (plan->has_record) {
        char record[SHARDY_URL_LEN_MAX + 1];
        SHARDY_TRY(shardy__uri_join(plan->prefix, plan->record.key, record, err));
        out->run_record_ref = shardy__arena_strdup(a, record);
        if (!out->run_record_ref) {
            return shardy__error_nomem(err, "build");
        }
    }
    out->num_dbs = m->num_dbs;
    out->shard_count = m->shard_count;
    for (size_t i = 0; i < count; i++) {
        const attempt_output *output = winners[i].output;
        if (output) {
            out->row_count += output->row_count;
            out->vector_count += output->vector_count;
            out->db_bytes += output->db_bytes;
        }
    }
    return out->run_id && out->manifest_ref ? SHARDY_OK : shardy__error_nomem(err, "build");
}

static void tell_replaced(const shardy_plan *plan, shardy_build_result *out)
{
    if (plan->run.replaced) {
        result_memory *memory = out->owner;
        memcpy(memory->replaced_run_id, plan->run.seen_run_id, sizeof memory->replaced_run_id);
        out->replaced_run_id = memory->replaced_run_id;
    }
}

void shardy_build_result_dispose(shardy_build_result *result)
{
    if (result) {
        result_memory *memory = result->owner;
        if (memory) {
            shardy__arena_free(&memory->arena);
            shardy__free(memory);
        }
        memset(result, 0, sizeof *result);
    }
}

shardy_status shardy__plan_publish(shardy_plan *plan, const attempt_result *winners, size_t count,
    shardy_build_result *result, shardy_error *err)
{
    manifest *m = NULL;
    manifest_name name = {"", ""};
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__manifest_new(&m, &error);
    if (st >= 0) {
        st = fill_manifest(plan, winners, count, m, &error);
    }
    if (st >= 0) {
        st = name_manifest(plan, m->created_us, &name, &error);
    }
    /* before anything becomes visible, so that nothing can fail after it */
    if (st >= 0 && result) {
        st = fill_result(plan, m, name.url, winners, count, result, &error);
    }
    if (st >= 0) {
        shardy__hint_make(m, &plan->run.hint);
        st = publish_image(plan, m, &name, &error);
    }
    if (st >= 0 && result) {
        tell_replaced(plan, result);
    }
    if (st == SHARDY_CONFLICT && plan->run.manifest_tried) {
        /* The snapshot is complete, only not current. Without its manifest somebody else has the
         * run, and the record is his. */
        shardy__plan_end_record(plan, st, name.url, &error);
    } else if (st == SHARDY_FENCED) {
        shardy__plan_fail(plan, st, &error);
    } else if (st >= 0) {
        shardy__plan_end_record(plan, st, name.url, NULL);
    }
    shardy__manifest_free(m);
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}

shardy_status shardy_plan_publish(const shardy_plan *plan, shardy_bytes winners_json,
    shardy_build_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(plan);
    if (result_out) {
        memset(result_out, 0, sizeof *result_out);
    }
    if (plan->manifests_elsewhere) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "build",
            "the manifests of run \"%.128s\" are in a database, which the JSON of a plan does not "
            "name: it has to be read with the manifest store",
            plan->run_id);
    }
    attempt_result *winners = NULL;
    size_t count = 0;
    shardy_status st = shardy__attempts_from_json(winners_json, &winners, &count, err);
    size_t kept = count;
    if (st >= 0) {
        st = shardy__winners_choose(plan, winners, &kept, err);
    }
    if (st >= 0) {
        /* The run moves on, which is no change of what was planned. */
        st = shardy__plan_publish((shardy_plan *)(uintptr_t)plan, winners, kept, result_out, err);
    }
    shardy__attempt_results_free(winners, count);
    if (st < 0) {
        shardy_build_result_dispose(result_out);
    }
    return st;
}
