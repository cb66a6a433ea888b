/* history.c: listing manifests and moving the pointer. */
#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../catalog/catalog.h"

#include <shardyfusion/admin.h>

#include <stdio.h>
#include <string.h>

void shardy_admin_options_init(shardy_admin_options *options, size_t struct_size)
{
    shardy_admin_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.timeout_ms = 30000;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy_rollback_target_init(shardy_rollback_target *target, size_t struct_size)
{
    shardy_rollback_target defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.offset = -1;
    shardy__options_init(target, struct_size, &defaults, sizeof defaults);
}

void shardy_history_dispose(shardy_history *history)
{
    if (history) {
        if (history->owner) {
            shardy__arena_free(history->owner);
            shardy__free(history->owner);
        }
        memset(history, 0, sizeof *history);
    }
}

static shardy_status open_catalog(shardy_context *context, const char *url,
    const shardy_admin_options *options, catalog *out, shardy_error *err)
{
    catalog_options o = {0, 1, options->allow_network_fs, options->store};
    return shardy__catalog_open(context, url, &o, out, err);
}

/* What the pointer says: the relative ref of the current manifest ("" when it cannot be told), and
 * the URL of the place where the snapshot is served, which refs begin with as the pointer's does.
 */
typedef struct current_place {
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char prefix[SHARDY_URL_LEN_MAX + 1];
} current_place;

static shardy_status find_current(const catalog *c, current_place *out, shardy_error *err)
{
    pointer p;
    shardy_etag version;
    out->ref[0] = '\0';
    snprintf(out->prefix, sizeof out->prefix, "%s", c->url);
    shardy_status st = shardy__mstore_load_current(&c->manifests, &p, &version, err);
    shardy_error ignored;
    if (st == SHARDY_OK && shardy__catalog_ref(p.manifest_ref, out->ref, &ignored) >= 0) {
        size_t ref_len = strlen(out->ref);
        size_t len = strlen(p.manifest_ref);
        if (len > ref_len + 1) {
            snprintf(
                out->prefix, sizeof out->prefix, "%.*s", (int)(len - ref_len - 1), p.manifest_ref);
        }
    }
    return st == SHARDY_CORRUPT ? SHARDY_OK : st;
}

static char *copy_ref(arena *a, const char *prefix, const char *ref)
{
    size_t prefix_len = strlen(prefix);
    size_t ref_len = strlen(ref);
    char *text = shardy__arena_alloc(a, prefix_len + ref_len + 2);
    if (text) {
        snprintf(text, prefix_len + ref_len + 2, "%s/%s", prefix, ref);
    }
    return text;
}

static shardy_status fill_history(const shardy_manifest_list *list, const current_place *current,
    shardy_history *out, shardy_error *err)
{
    arena *a = shardy__calloc(1, sizeof *a);
    if (!a) {
        return shardy__error_nomem(err, "admin");
    }
    out->owner = a;
    shardy_history_entry *entries = shardy__arena_calloc(a, list->count, sizeof *entries);
    if (!entries) {
        return shardy__error_nomem(err, "admin");
    }
    for (size_t i = 0; i < list->count; i++) {
        char published[SHARDY_TIME_TEXT_SIZE];
        shardy__time_format_micros(list->entries[i].published_us, published);
        entries[i].offset = (uint32_t)i;
        entries[i].run_id = shardy__arena_strdup(a, list->entries[i].run_id);
        entries[i].published_at = shardy__arena_strdup(a, published);
        entries[i].ref = copy_ref(a, current->prefix, list->entries[i].ref);
        entries[i].current = strcmp(list->entries[i].ref, current->ref) == 0;
        if (!entries[i].run_id || !entries[i].published_at || !entries[i].ref) {
            return shardy__error_nomem(err, "admin");
        }
    }
    out->entries = entries;
    out->count = list->count;
    return SHARDY_OK;
}

static shardy_status list_history(
    const catalog *c, uint32_t limit, shardy_history *out, shardy_error *err)
{
    current_place current;
    SHARDY_TRY(find_current(c, &current, err));
    shardy_manifest_list list;
    SHARDY_TRY(shardy__mstore_list(&c->manifests, limit, &list, err));
    shardy_status st = fill_history(&list, &current, out, err);
    shardy__manifest_list_dispose(&list);
    if (st < 0) {
        shardy_history_dispose(out);
    }
    return st;
}

shardy_status shardy_history_list(shardy_context *context, const char *url, uint32_t limit,
    const shardy_admin_options *options, shardy_history *history_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(history_out);
    memset(history_out, 0, sizeof *history_out);
    shardy_admin_options o;
    shardy_admin_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.store);
    if (limit == 0 || limit > SHARDY_HISTORY_LIMIT_MAX) {
        return shardy__error(err, SHARDY_INVALID, "admin", "limit is %u, expected 1 to %u", limit,
            SHARDY_HISTORY_LIMIT_MAX);
    }
    shardy_context *held = NULL;
    SHARDY_TRY(shardy__context_hold(context, &held, err));
    catalog c;
    shardy_status st = open_catalog(held, url, &o, &c, err);
    if (st >= 0) {
        st = list_history(&c, limit, history_out, err);
        shardy__catalog_close(&c);
    }
    shardy__context_drop(held);
    return st;
}

/* --- rollback --------------------------------------------------------------------------------- */

static shardy_status find_target(const catalog *c, const shardy_rollback_target *target,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    if (target->ref) {
        return shardy__catalog_ref(target->ref, ref_out, err);
    }
    shardy_manifest_list list;
    SHARDY_TRY(shardy__mstore_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
    const char *found = NULL;
    for (size_t i = 0; i < list.count && !found; i++) {
        if (target->run_id ? strcmp(list.entries[i].run_id, target->run_id) == 0
                           : (int64_t)i == target->offset) {
            found = list.entries[i].ref;
        }
    }
    if (found) {
        snprintf(ref_out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "%s", found);
    }
    size_t count = list.count;
    shardy__manifest_list_dispose(&list);
    if (found) {
        return SHARDY_OK;
    }
    if (target->run_id) {
        return shardy__error(err, SHARDY_INVALID, "rollback",
            "no manifest is of the run \"%.128s\"; there are %zu", target->run_id, count);
    }
    return shardy__error(err, SHARDY_INVALID, "rollback",
        "offset %lld is out of range: there are %zu manifests", (long long)target->offset, count);
}

static shardy_status roll_back(
    const catalog *c, const shardy_rollback_target *target, shardy_buf *ref_out, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "";
    SHARDY_TRY(find_target(c, target, ref, err));
    /* made before, so that nothing can fail once the pointer has moved */
    char *url = shardy__malloc(SHARDY_URL_LEN_MAX + 1);
    if (!url) {
        return shardy__error_nomem(err, "rollback");
    }
    shardy_status st = shardy__publish_rollback(c, ref, url, err);
    if (st < 0 || !ref_out) {
        shardy__free(url);
        return st;
    }
    shardy__buf_own(url, strlen(url), ref_out);
    return st;
}

shardy_status shardy_rollback(shardy_context *context, const char *url,
    const shardy_rollback_target *target, const shardy_admin_options *options, shardy_buf *ref_out,
    shardy_error *err)
{
    if (ref_out) {
        memset(ref_out, 0, sizeof *ref_out);
    }
    SHARDY_CHECK_ARG(target);
    shardy_rollback_target t;
    shardy_rollback_target_init(&t, sizeof t);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&t, target, err));
    shardy_admin_options o;
    shardy_admin_options_init(&o, sizeof o);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&o, options, err));
    SHARDY_CHECK_ARG(url || o.store);
    if ((t.ref != NULL) + (t.run_id != NULL) + (t.offset >= 0) != 1) {
        return shardy__error(err, SHARDY_INVALID, "rollback",
            "the target is named %d times, expected exactly one of ref, run_id and offset",
            (t.ref != NULL) + (t.run_id != NULL) + (t.offset >= 0));
    }
    shardy_context *held = NULL;
    SHARDY_TRY(shardy__context_hold(context, &held, err));
    catalog c;
    shardy_status st = open_catalog(held, url, &o, &c, err);
    if (st >= 0) {
        st = roll_back(&c, &t, ref_out, err);
        shardy__catalog_close(&c);
    }
    shardy__context_drop(held);
    return st;
}
