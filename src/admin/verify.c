/* verify.c: reading every byte of a snapshot and comparing it with what was promised, from the
 * pointer down. */
#include "../base/alloc.h"
#include "../base/arena.h"
#include "../catalog/catalog.h"
#include "damage.h"
#include "verify_deep.h"
#include "verify_objects.h"

#include <shardyfusion/admin.h>

#include <stdio.h>
#include <string.h>

/* Another thread is not worth its start for less. */
#define BYTES_PER_THREAD (4u << 20)

typedef struct verifier {
    shardy_context *context;
    const shardy_verify_options *options;
    catalog catalog;
    arena *arena; /* of the result */
    damage_list damage;
    shardy_verify_result *result;
    uint32_t threads;
    uint64_t bytes_total;      /* of the objects that the manifest names */
    const char *manifest_path; /* in the arena, or static */
} verifier;

void shardy_verify_options_init(shardy_verify_options *options, size_t struct_size)
{
    shardy_verify_options defaults;
    memset(&defaults, 0, sizeof defaults);
    shardy_admin_options_init(&defaults.admin, sizeof defaults.admin);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy_verify_result_dispose(shardy_verify_result *result)
{
    if (result) {
        if (result->owner) {
            shardy__arena_free(result->owner);
            shardy__free(result->owner);
        }
        memset(result, 0, sizeof *result);
    }
}

/* Stages of the result: what was found first comes first. */
enum {
    STAGE_CATALOG,
    STAGE_OBJECTS,
    STAGE_SHARDS
};

static shardy_status add_damage(
    verifier *v, const char *path, const char *reason, shardy_error *err)
{
    const damage_place place = {STAGE_CATALOG, 0, 0};
    return shardy__damage_add(&v->damage, place, path, 0, reason, err);
}

static shardy_status note(
    verifier *v, const char *path, shardy_status st, const shardy_error *error, shardy_error *err)
{
    const damage_place place = {STAGE_CATALOG, 0, 0};
    return shardy__damage_note(&v->damage, place, path, st, error, err);
}

static shardy_status tell(void *user, uint64_t bytes, shardy_error *err)
{
    const verifier *v = user;
    const shardy_verify_options *o = v->options;
    SHARDY_TRY(shardy__check_time(v->context, 0, o->admin.cancel, "verify", err));
    if (o->progress && o->progress(o->progress_user, bytes, v->bytes_total) != 0) {
        return shardy__error(err, SHARDY_CANCELLED, "verify", "the verification was cancelled");
    }
    return SHARDY_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* The manifest to verify: damage of pointer or manifest is a result, with *manifest_out NULL. */
static shardy_status load_target(verifier *v, loaded_manifest *loaded, shardy_error *err)
{
    shardy_error error;
    shardy_status st;
    const char *path = v->catalog.pointer_key;
    memset(loaded, 0, sizeof *loaded);
    shardy__error_clear(&error);
    if (v->options->ref) {
        char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        SHARDY_TRY(shardy__manifest_store_ref(&v->catalog.manifests, v->options->ref, ref, err));
        manifest_promise promise = {0};
        char id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        (void)shardy__manifest_store_ref_run_id(&v->catalog.manifests, ref, id);
        SHARDY_TRY(shardy__catalog_promise(&v->catalog, id, ref, &promise, err));
        st = shardy__catalog_load(&v->catalog, ref, &promise, NULL, loaded, &error);
        path = v->options->ref;
        if (st == SHARDY_INVALID) {
            if (err) {
                *err = error;
            }
            return st;
        }
        if (st == SHARDY_NOT_FOUND) {
            return shardy__error(
                err, SHARDY_INVALID, "verify", "there is no manifest \"%.300s\"", ref);
        }
    } else {
        pointer p;
        shardy_etag version;
        st = shardy__catalog_load_current(&v->catalog, &p, &version, loaded, &error);
        if (st == SHARDY_NOT_FOUND) {
            return shardy__catalog_no_pointer(&v->catalog, "verify", err);
        }
        v->result->objects++;
        if (p.stranger[0] && !p.has_ours) {
            char reason[200];
            snprintf(reason, sizeof reason,
                "\"%s\" is no member that a pointer has: its own may have been lost", p.stranger);
            SHARDY_TRY(add_damage(v, v->catalog.pointer_key, reason, err));
        }
        if (p.manifest_ref[0]) {
            path = shardy__arena_strdup(v->arena, p.manifest_ref);
            if (!path) {
                return shardy__error_nomem(err, "verify");
            }
            char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
            shardy_error ignored;
            v->result->manifest_ref = path;
            if (shardy__manifest_store_ref(&v->catalog.manifests, path, ref, &ignored) >= 0) {
                path = shardy__arena_strdup(v->arena, ref);
            }
        }
    }
    v->result->objects++;
    v->result->bytes += loaded->size;
    v->manifest_path = path ? path : "manifest";
    return st < 0 ? note(v, v->manifest_path, st, &error, err) : SHARDY_OK;
}

/* Bytes of the objects, or of the shards of a snapshot without digests. What it claims may be any
 * number. */
static uint64_t total_bytes(const manifest *m)
{
    uint64_t total = 0;
    for (size_t i = 0; i < m->object_count; i++) {
        total += m->objects[i].size < UINT64_MAX - total ? m->objects[i].size : 0;
    }
    for (uint32_t i = 0; m->object_count == 0 && i < m->shard_count; i++) {
        const uint64_t bytes = m->shards[i].db_bytes;
        total += bytes < UINT64_MAX - total ? bytes : 0;
    }
    return total;
}

static shardy_status verify_objects(verifier *v, const manifest *m, shardy_error *err)
{
    const verify_objects_spec spec = {v->context, v->catalog.shards, m->objects, m->object_count,
        v->threads, v->options->admin.timeout_ms, v->options->admin.cancel, tell, v, STAGE_OBJECTS};
    verify_objects_counts counts;
    shardy_status st = shardy__verify_objects(&spec, &v->damage, &counts, err);
    v->result->objects += counts.objects;
    v->result->bytes += counts.bytes;
    return st;
}

static shardy_status verify_deep(verifier *v, const manifest *m, shardy_error *err)
{
    const verify_deep_spec spec = {v->context, v->catalog.store, v->catalog.shards, m,
        v->manifest_path, v->threads, v->options->admin.timeout_ms, v->options->admin.cancel, tell,
        v, v->result->bytes, STAGE_SHARDS};
    return shardy__verify_deep(&spec, &v->damage, err);
}

static shardy_status verify_snapshot(verifier *v, shardy_error *err)
{
    loaded_manifest loaded;
    shardy_status st = load_target(v, &loaded, err);
    manifest *m = loaded.manifest;
    if (st < 0 || !m) {
        shardy__manifest_free(m);
        return st;
    }
    v->bytes_total = total_bytes(m);
    const uint64_t worth = 1 + v->bytes_total / BYTES_PER_THREAD;
    v->threads = worth < v->threads ? (uint32_t)worth : v->threads;
    if (!v->result->manifest_ref) {
        v->result->manifest_ref = shardy__arena_strdup(v->arena, loaded.ref);
        st = v->result->manifest_ref ? SHARDY_OK : shardy__error_nomem(err, "verify");
    }
    if (st >= 0) {
        st = verify_objects(v, m, err);
    }
    if (st >= 0 && (v->options->deep || !m->has_objects)) {
        st = verify_deep(v, m, err);
        if (st == SHARDY_UNSUPPORTED && !v->options->deep) {
            /* an engine that is not in this build: nothing can be said about its shards */
            st = SHARDY_OK;
        }
    }
    v->result->status =
        loaded.verified && m->has_objects ? SHARDY_VERIFY_OK : SHARDY_VERIFY_UNVERIFIED;
    shardy__manifest_free(m);
    return st;
}

static shardy_status run(verifier *v, const char *url, shardy_error *err)
{
    const shardy_admin_options *admin = &v->options->admin;
    const catalog_options o = {.sync = 1,
        .allow_network_fs = 1,
        .store = admin->store,
        .manifests = admin->manifest_store,
        .timeout_ms = admin->timeout_ms,
        .cancel = admin->cancel,
        .bound = CATALOG_IN_TIME};
    SHARDY_TRY(shardy__catalog_open(v->context, url, &o, &v->catalog, err));
    shardy_status st = verify_snapshot(v, err);
    if (st >= 0) {
        st = shardy__damage_take(&v->damage, &v->result->damaged, &v->result->damaged_count, err);
    }
    if (v->result->damaged_count) {
        v->result->status = SHARDY_VERIFY_DAMAGED;
    }
    shardy__catalog_close(&v->catalog);
    return st;
}

shardy_status shardy_verify(shardy_context *context, const char *url,
    const shardy_verify_options *options, shardy_verify_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(result_out);
    memset(result_out, 0, sizeof *result_out);
    shardy_verify_options o;
    shardy_verify_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.admin.store);
    verifier v;
    memset(&v, 0, sizeof v);
    v.options = &o;
    v.result = result_out;
    SHARDY_TRY(shardy__context_hold(context, &v.context, err));
    v.threads = o.threads ? o.threads : v.context->threads;
    v.arena = shardy__calloc(1, sizeof *v.arena);
    result_out->owner = v.arena;
    shardy__damage_init(&v.damage, v.arena);
    shardy_status st = v.arena ? run(&v, url, err) : shardy__error_nomem(err, "verify");
    shardy__damage_free(&v.damage);
    shardy__context_drop(v.context);
    if (st < 0) {
        shardy_verify_result_dispose(result_out);
    }
    return st < 0 ? st : SHARDY_OK;
}
