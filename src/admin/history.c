/* history.c: the manifests that can be rolled back to, and which of them is current. */
#include "admin_options.h"

#include "../base/alloc.h"
#include "../base/arena.h"

#include <stdio.h>
#include <string.h>

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

/* What the pointer says: the ref of the current manifest ("" when it cannot be told), and what refs
 * begin with as the pointer's does. */
typedef struct current_place {
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char prefix[SHARDY_URL_LEN_MAX + 2];
} current_place;

static shardy_status find_current(const catalog *c, current_place *out, shardy_error *err)
{
    pointer p;
    shardy_etag version;
    shardy_error ignored;
    out->ref[0] = '\0';
    shardy_status st = shardy__manifest_store_load_current(&c->manifests, &p, &version, err);
    int known = st == SHARDY_OK &&
                shardy__manifest_store_ref(&c->manifests, p.manifest_ref, out->ref, &ignored) >= 0;
    shardy__manifest_store_place(&c->manifests, known ? p.manifest_ref : "", c->url, out->prefix);
    return st == SHARDY_CORRUPT ? SHARDY_OK : st;
}

static char *copy_ref(arena *a, const char *prefix, const char *ref)
{
    size_t size = strlen(prefix) + strlen(ref) + 1;
    char *text = shardy__arena_alloc(a, size);
    if (text) {
        snprintf(text, size, "%s%s", prefix, ref);
    }
    return text;
}

/* Fates that are read at once. */
#define FATES_AT_ONCE 32u

/* The pins in the fate of a run. One that is damaged leaves `pins` NULL: no reason to hide the
 * history. A run that is condemned loses its ref: it is no snapshot any more, its shards are gone
 * or going, and its manifest may have come when they were. */
static shardy_status fill_pins(
    arena *a, shardy_history_entry *e, const shardy_store_read *read, shardy_error *err)
{
    static const char *const none[1] = {NULL};
    fate f;
    shardy_error ignored;
    memset(&f, 0, sizeof f);
    if (read->status == SHARDY_INVALID) {
        return SHARDY_OK; /* a name that no fate of ours can have */
    }
    if (read->status < 0) {
        if (err) {
            *err = read->error;
        }
        return (shardy_status)read->status;
    }
    e->pins = none;
    if (read->status == SHARDY_NOT_FOUND) {
        return SHARDY_OK;
    }
    shardy_status st =
        shardy__fate_parse((shardy_bytes){read->body.data, read->body.len}, &f, &ignored);
    if (st < 0) {
        e->pins = NULL;
        return st == SHARDY_NOMEM ? shardy__error_nomem(err, "admin") : SHARDY_OK;
    }
    if (f.state == FATE_CONDEMNED && !e->current) {
        e->ref = NULL;
        return SHARDY_OK;
    }
    const char **pins = shardy__arena_calloc(a, f.pin_count + 1u, sizeof *pins);
    if (!pins) {
        return shardy__error_nomem(err, "admin");
    }
    for (uint32_t i = 0; i < f.pin_count; i++) {
        pins[i] = shardy__arena_strdup(a, f.pins[i]);
        if (!pins[i]) {
            return shardy__error_nomem(err, "admin");
        }
    }
    e->pins = pins;
    e->pin_count = f.pin_count;
    return SHARDY_OK;
}

static shardy_status read_pins(
    const catalog *c, arena *a, shardy_history_entry *entries, size_t count, shardy_error *err)
{
    shardy_store_read reads[FATES_AT_ONCE];
    char keys[FATES_AT_ONCE][SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_status st = SHARDY_OK;
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < count; i++) {
        shardy__fate_key(entries[i].run_id, keys[i]);
        reads[i].key = (shardy_bytes){keys[i], strlen(keys[i])};
        reads[i].len = SHARDY_FATE_LEN_MAX;
        reads[i].whole = 1;
    }
    shardy_store_read_all(c->store, reads, count);
    for (size_t i = 0; i < count; i++) {
        if (st >= 0) {
            st = fill_pins(a, &entries[i], &reads[i], err);
        }
        shardy_buf_release(&reads[i].body);
    }
    return st;
}

static shardy_status fill_history(const catalog *c, const shardy_manifest_list *list,
    const current_place *current, shardy_history *out, shardy_error *err)
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
    for (size_t i = 0; i < list->count; i += FATES_AT_ONCE) {
        size_t left = list->count - i;
        SHARDY_TRY(
            read_pins(c, a, entries + i, left < FATES_AT_ONCE ? left : (size_t)FATES_AT_ONCE, err));
    }
    for (size_t i = 0; i < list->count; i++) {
        if (entries[i].ref) {
            entries[out->count++] = entries[i];
        }
    }
    out->entries = entries;
    return SHARDY_OK;
}

static shardy_status list_history(
    const catalog *c, uint32_t limit, shardy_history *out, shardy_error *err)
{
    current_place current;
    SHARDY_TRY(find_current(c, &current, err));
    shardy_manifest_list list;
    SHARDY_TRY(shardy__manifest_store_list(&c->manifests, limit, &list, err));
    shardy_status st = fill_history(c, &list, &current, out, err);
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
    shardy_status st = shardy__admin_open_catalog(held, url, &o, &c, err);
    if (st >= 0) {
        st = list_history(&c, limit, history_out, err);
        shardy__catalog_close(&c);
    }
    shardy__context_drop(held);
    return st;
}
