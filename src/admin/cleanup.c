/* cleanup.c: removing what nobody can need any more. The plan and its execution are one: a dry run
 * does all but to condemn and to remove. */
#include "cleanup_impl.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/uri.h"
#include "../catalog/run_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above this no retention is meant: a hundred years. */
#define AGE_MAX (100ll * 366 * 24 * 3600)

void shardy_cleanup_options_init(shardy_cleanup_options *options, size_t struct_size)
{
    shardy_cleanup_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.older_than_s = -1;
    defaults.settle_after_s = 7 * 24 * 3600;
    defaults.max_retries = 3;
    defaults.shard_prefix = "shards";
    defaults.run_registry_prefix = "runs";
    shardy_admin_options_init(&defaults.admin, sizeof defaults.admin);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy_cleanup_result_dispose(shardy_cleanup_result *result)
{
    if (result) {
        if (result->owner) {
            shardy__arena_free(result->owner);
            shardy__free(result->owner);
        }
        memset(result, 0, sizeof *result);
    }
}

/* --- what is noted ---------------------------------------------------------------------------- */

shardy_cleanup_action *shardy__cleanup_act(
    cleaner *k, int32_t kind, const char *run_id, const char *prefix, shardy_error *err)
{
    if (k->action_count == k->action_room) {
        size_t room = k->action_room ? 2 * k->action_room : 32;
        shardy_cleanup_action *actions = shardy__realloc(k->actions, room * sizeof *actions);
        if (!actions) {
            shardy__error_nomem(err, "cleanup");
            return NULL;
        }
        k->actions = actions;
        k->action_room = room;
    }
    size_t size = strlen(k->catalog.url) + strlen(prefix) + 2;
    char *url = shardy__arena_alloc(k->arena, size);
    char *id = shardy__arena_strdup(k->arena, run_id);
    if (!url || !id) {
        shardy__error_nomem(err, "cleanup");
        return NULL;
    }
    snprintf(url, size, "%s/%s", k->catalog.url, prefix);
    shardy_cleanup_action *a = &k->actions[k->action_count++];
    memset(a, 0, sizeof *a);
    a->kind = kind;
    a->run_id = id;
    a->db_id = -1;
    a->prefix_url = url;
    return a;
}

void shardy__cleanup_note(cleaner *k, const shardy_error *error)
{
    if (k->first.status >= 0) {
        k->first = *error;
    }
}

shardy_status shardy__cleanup_keep(
    cleaner *k, const char *run_id, const char *reason, int32_t failed, shardy_error *err)
{
    if (k->kept_count == k->kept_room) {
        size_t room = k->kept_room ? 2 * k->kept_room : 32;
        shardy_cleanup_kept *kept = shardy__realloc(k->kept, room * sizeof *kept);
        if (!kept) {
            return shardy__error_nomem(err, "cleanup");
        }
        k->kept = kept;
        k->kept_room = room;
    }
    shardy_cleanup_kept *e = &k->kept[k->kept_count];
    e->run_id = shardy__arena_strdup(k->arena, run_id);
    e->reason = shardy__arena_strdup(k->arena, reason);
    e->failed = failed;
    if (!e->run_id || !e->reason) {
        return shardy__error_nomem(err, "cleanup");
    }
    k->kept_count++;
    return SHARDY_OK;
}

shardy_status shardy__cleanup_tell(cleaner *k, shardy_error *err)
{
    const shardy_cleanup_options *o = k->options;
    if (o->progress && o->progress(o->progress_user, k->objects_deleted, k->objects) != 0) {
        return shardy__error(err, SHARDY_CANCELLED, "cleanup", "the progress callback said so");
    }
    return shardy__check_time(k->context, 0, o->admin.cancel, "cleanup", err);
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Whether nothing can be done any more after a failure that was one of a single run. */
static int ends_all(shardy_status st)
{
    return st == SHARDY_NOMEM || st == SHARDY_CANCELLED || st == SHARDY_FORKED ||
           st == SHARDY_MISUSE || st == SHARDY_UNSUPPORTED;
}

/* The newest first: what an older run keeps because a newer one names it can go once that is
 * gone. Runs without a manifest come last, all in order of their names. */
static int compare_runs(const void *a, const void *b)
{
    const cleanup_run *x = *(cleanup_run *const *)a;
    const cleanup_run *y = *(cleanup_run *const *)b;
    int64_t x_us = x->manifest ? x->manifest->published_us : INT64_MIN;
    int64_t y_us = y->manifest ? y->manifest->published_us : INT64_MIN;
    if (x_us != y_us) {
        return x_us > y_us ? -1 : 1;
    }
    return strcmp(x->run_id, y->run_id);
}

/* A run that failed: half of it may be gone. */
static shardy_status note_run(
    cleaner *k, const cleanup_run *run, const shardy_error *error, shardy_error *err)
{
    shardy_cleanup_action *a = k->action_count ? &k->actions[k->action_count - 1] : NULL;
    shardy__cleanup_note(k, error);
    if (!a || a->kind != SHARDY_CLEANUP_RUN || strcmp(a->run_id, run->run_id) != 0) {
        k->failures++;
        return shardy__cleanup_keep(k, run->run_id, error->message, 1, err);
    }
    k->failures += a->error == NULL;
    a->error = a->error ? a->error : shardy__arena_strdup(k->arena, error->message);
    return a->error ? SHARDY_OK : shardy__error_nomem(err, "cleanup");
}

static shardy_status clean_runs(cleaner *k, shardy_error *err)
{
    if (k->run_count > 1) {
        qsort(k->list, k->run_count, sizeof(void *), compare_runs);
    }
    for (size_t i = 0; i < k->run_count; i++) {
        const cleanup_run *run = k->list[i];
        shardy_error error;
        if (!shardy__cleanup_lets_go(k, run) && !shardy__cleanup_is_unsettled(run)) {
            continue;
        }
        shardy__error_clear(&error);
        shardy_status st = shardy__cleanup_one_run(k, run, &error);
        if (st < 0 && ends_all(st)) {
            if (err) {
                *err = error;
            }
            return st;
        }
        if (st < 0) {
            SHARDY_TRY(note_run(k, run, &error, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status clean(cleaner *k, const char *url, shardy_error *err)
{
    SHARDY_TRY(shardy__admin_open_catalog(k->context, url, &k->options->admin, &k->catalog, err));
    /* many requests, each of them in time */
    shardy__catalog_limit(&k->catalog, 0, k->options->admin.cancel);
    shardy_status st = shardy__cleanup_plan(k, err);
    if (st >= 0 && !k->has_current && k->reach.count == 0) { /* perhaps the place is mistyped */
        shardy__log(k->context, SHARDY_LOG_WARN, "cleanup",
            "there is no pointer and no manifest in \"%.300s\": nothing was published there",
            k->catalog.url);
    }
    if (st >= 0 && k->target[0]) {
        st = shardy__cleanup_stale_attempts(k, err);
    }
    if (st >= 0 && shardy__cleanup_wants_runs(k)) {
        st = clean_runs(k, err);
    }
    return st;
}

/* Hands over what was noted. On a failure to do so nothing is told, although something was done. */
static shardy_status fill_result(cleaner *k, shardy_cleanup_result *out, shardy_error *err)
{
    shardy_cleanup_action *actions =
        shardy__arena_calloc(k->arena, k->action_count, sizeof *actions);
    shardy_cleanup_kept *kept = shardy__arena_calloc(k->arena, k->kept_count, sizeof *kept);
    char *run_id = k->target[0] ? shardy__arena_strdup(k->arena, k->target) : NULL;
    if (!actions || !kept || (k->target[0] && !run_id)) {
        return shardy__error_nomem(err, "cleanup");
    }
    for (size_t i = 0; i < k->action_count; i++) {
        actions[i] = k->actions[i];
        out->bytes += actions[i].bytes;
        out->objects += actions[i].objects;
        out->objects_deleted += actions[i].objects_deleted;
        out->settled += actions[i].kind == SHARDY_CLEANUP_SETTLE;
    }
    for (size_t i = 0; i < k->kept_count; i++) {
        kept[i] = k->kept[i];
    }
    out->dry_run = k->options->dry_run != 0;
    out->run_id = run_id;
    out->actions = actions;
    out->action_count = k->action_count;
    out->kept = kept;
    out->kept_count = k->kept_count;
    out->failures = k->failures;
    return SHARDY_OK;
}

static shardy_status run_cleanup(
    cleaner *k, const char *url, shardy_cleanup_result *out, shardy_error *err)
{
    shardy_error error;
    shardy__error_clear(&error);
    shardy__reach_init(&k->reach, k->options->shard_prefix);
    shardy__map_init(&k->runs);
    k->now_us = shardy__wall_us(k->context);
    shardy_status st = clean(k, url, &error);
    shardy_status filled = fill_result(k, out, st < 0 ? NULL : &error);
    if (st >= 0 && filled >= 0 && k->first.status < 0) {
        error = k->first;
        st = k->first.status;
    }
    st = st < 0 ? st : filled;
    if (st < 0 && err) {
        *err = error;
    }
    if (k->catalog.manifests.ops) {
        shardy__catalog_close(&k->catalog);
    }
    shardy__reach_free(&k->reach);
    shardy__map_free(&k->runs);
    shardy__free(k->list);
    shardy__free(k->actions);
    shardy__free(k->kept);
    return st;
}

/* A prefix is one segment, so that no option leads out of the root. */
static shardy_status check_prefix(const char *what, const char *text, shardy_error *err)
{
    size_t len = strlen(text);
    if (len > 255 || strchr(text, '/') || shardy__key_problem(text, len)) {
        return shardy__error(err, SHARDY_INVALID, "cleanup",
            "%s is \"%.200s\", expected one segment of a key", what, text);
    }
    return SHARDY_OK;
}

static shardy_status check_age(const char *what, int64_t seconds, shardy_error *err)
{
    if (seconds < -1 || seconds > AGE_MAX) {
        return shardy__error(err, SHARDY_INVALID, "cleanup", "%s is %lld, expected -1 or 0 to %lld",
            what, (long long)seconds, AGE_MAX);
    }
    return SHARDY_OK;
}

static shardy_status check_options(const shardy_cleanup_options *o, shardy_error *err)
{
    SHARDY_TRY(check_age("older_than_s", o->older_than_s, err));
    SHARDY_TRY(check_age("settle_after_s", o->settle_after_s, err));
    if (o->max_retries >= SHARDY_ATTEMPTS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "cleanup",
            "max_retries is %u, expected less than %u", o->max_retries, SHARDY_ATTEMPTS_MAX);
    }
    SHARDY_CHECK_ARG(o->shard_prefix && o->run_registry_prefix);
    SHARDY_TRY(check_prefix("shard_prefix", o->shard_prefix, err));
    SHARDY_TRY(check_prefix("run_registry_prefix", o->run_registry_prefix, err));
    return shardy__layout_can_hold_shards(o->shard_prefix, o->run_registry_prefix)
               ? SHARDY_OK
               : shardy__error(err, SHARDY_INVALID, "cleanup",
                     "shard_prefix is \"%.200s\", where no shards can be", o->shard_prefix);
}

shardy_status shardy_cleanup(shardy_context *context, const char *url,
    const shardy_cleanup_options *options, shardy_cleanup_result *result_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(result_out);
    memset(result_out, 0, sizeof *result_out);
    shardy_cleanup_options o;
    shardy_cleanup_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.admin.store);
    SHARDY_TRY(check_options(&o, err));
    shardy_context *held = NULL;
    SHARDY_TRY(shardy__context_hold(context, &held, err));
    cleaner *k = shardy__calloc(1, sizeof *k);
    arena *a = shardy__calloc(1, sizeof *a);
    shardy_status st = k && a ? SHARDY_OK : shardy__error_nomem(err, "cleanup");
    if (st >= 0) {
        shardy__arena_init(a);
        k->context = held;
        k->options = &o;
        k->arena = a;
        result_out->owner = a;
        a = NULL;
        st = run_cleanup(k, url, result_out, err);
    }
    shardy__free(a);
    shardy__free(k);
    shardy__context_drop(held);
    return st;
}
