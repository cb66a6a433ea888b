/* pins.c: keeping snapshots by name, whatever cleanups are told. */
#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../catalog/condemn.h"
#include "admin_options.h"

#include <string.h>

#define NAME_LEN_MAX 63u

/* What a call of this file is about. */
typedef struct pin_request {
    const char *name;
    const shardy_rollback_target *target; /* NULL: none was named */
} pin_request;

static shardy_status check_request(
    const char *name, const shardy_rollback_target *target, shardy_error *err)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    if (len == 0 || len > NAME_LEN_MAX || strspn(name, letters) != len) {
        return shardy__error(err, SHARDY_INVALID, "pin",
            "the name of a pin is \"%.100s\", expected 1 to %u of A-Z a-z 0-9 . _ -", name,
            NAME_LEN_MAX);
    }
    return target ? shardy__admin_check_target(target, err) : SHARDY_OK;
}

/* The manifest that is named, loaded and checked; without a target the current one. */
static shardy_status load_target(
    const catalog *c, const pin_request *r, loaded_manifest *out, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_status st;
    if (!r->target) {
        pointer p;
        shardy_etag version;
        st = shardy__catalog_load_current(c, &p, &version, out, err);
        return st == SHARDY_NOT_FOUND ? shardy__catalog_no_pointer(c, "pin", err) : st;
    }
    memset(out, 0, sizeof *out);
    SHARDY_TRY(shardy__admin_find_target(c, r->target, ref, err));
    st = shardy__catalog_load(c, ref, NULL, NULL, out, err);
    return st == SHARDY_NOT_FOUND
               ? shardy__error(err, SHARDY_INVALID, "pin", "there is no manifest \"%.300s\"", ref)
               : st;
}

static shardy_status add_pin(
    const catalog *c, const pin_request *r, shardy_buf *ref_out, shardy_error *err)
{
    loaded_manifest target;
    char url[SHARDY_URL_LEN_MAX + 1];
    shardy_status st = load_target(c, r, &target, err);
    if (st >= 0 && ref_out) {
        st = shardy__manifest_store_full_ref(
            &c->manifests, target.manifest->s3_prefix, target.ref, url, err);
    }
    if (st >= 0 && ref_out) {
        st = shardy__buf_copy(url, strlen(url), ref_out, err);
    }
    if (st >= 0) {
        st = shardy__pin_add(c, &target, r->name, err);
    }
    shardy__manifest_free(target.manifest);
    if (st < 0 && ref_out) {
        shardy_buf_release(ref_out);
    }
    return st;
}

/* A fate that is damaged keeps nobody from taking the pin off the others: `first` has its error. */
static shardy_status remove_pin(
    const catalog *c, const char *run_id, const char *name, shardy_error *first, shardy_error *err)
{
    shardy_error error;
    shardy__error_clear(&error);
    shardy_status st = shardy__pin_remove(c, run_id, name, &error);
    if (shardy__fate_is_damaged(st)) {
        if (first->status >= 0) {
            *first = error;
        }
        return SHARDY_NOT_FOUND;
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}

static shardy_status remove_pins(
    const catalog *c, const pin_request *r, uint32_t *removed, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "";
    shardy_manifest_list list;
    shardy_error damaged;
    shardy__error_clear(&damaged);
    if (r->target) {
        SHARDY_TRY(shardy__admin_find_target(c, r->target, ref, err));
    }
    SHARDY_TRY(shardy__manifest_store_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < list.count; i++) {
        const shardy_manifest_entry *e = &list.entries[i];
        if ((ref[0] && strcmp(e->ref, ref) != 0) || strlen(e->run_id) > SHARDY_RUN_ID_LEN_MAX) {
            continue;
        }
        st = remove_pin(c, e->run_id, r->name, &damaged, err);
        *removed += st == SHARDY_OK;
    }
    shardy__manifest_list_dispose(&list);
    if (st >= 0 && damaged.status < 0) {
        if (err) {
            *err = damaged;
        }
        return damaged.status;
    }
    return st < 0 ? st : *removed ? SHARDY_OK : SHARDY_NOT_FOUND;
}

/* Takes over target and options, opens the data set. */
typedef struct pin_call {
    shardy_rollback_target target;
    shardy_admin_options options;
    pin_request request;
    shardy_context *context;
    catalog catalog;
} pin_call;

static shardy_status begin_call(pin_call *p, shardy_context *context, const char *url,
    const shardy_admin_options *options, shardy_error *err)
{
    const shardy_rollback_target *target = p->request.target;
    shardy_rollback_target_init(&p->target, sizeof p->target);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&p->target, target, err));
    p->request.target = target ? &p->target : NULL;
    shardy_admin_options_init(&p->options, sizeof p->options);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&p->options, options, err));
    SHARDY_CHECK_ARG(url || p->options.store);
    SHARDY_TRY(check_request(p->request.name, p->request.target, err));
    SHARDY_TRY(shardy__context_hold(context, &p->context, err));
    shardy_status st = shardy__admin_open_catalog(p->context, url, &p->options, &p->catalog, err);
    if (st < 0) {
        shardy__context_drop(p->context);
    }
    return st;
}

static void end_call(pin_call *p)
{
    shardy__catalog_close(&p->catalog);
    shardy__context_drop(p->context);
}

shardy_status shardy_pin_add(shardy_context *context, const char *url, const char *name,
    const shardy_rollback_target *target, const shardy_admin_options *options, shardy_buf *ref_out,
    shardy_error *err)
{
    pin_call p = {.request = {name, target}};
    if (ref_out) {
        memset(ref_out, 0, sizeof *ref_out);
    }
    SHARDY_CHECK_ARG(name);
    SHARDY_TRY(begin_call(&p, context, url, options, err));
    shardy_status st = add_pin(&p.catalog, &p.request, ref_out, err);
    end_call(&p);
    return st;
}

shardy_status shardy_pin_remove(shardy_context *context, const char *url, const char *name,
    const shardy_rollback_target *target, const shardy_admin_options *options,
    uint32_t *removed_out, shardy_error *err)
{
    pin_call p = {.request = {name, target}};
    uint32_t removed = 0;
    if (removed_out) {
        *removed_out = 0;
    }
    SHARDY_CHECK_ARG(name);
    SHARDY_TRY(begin_call(&p, context, url, options, err));
    shardy_status st = remove_pins(&p.catalog, &p.request, &removed, err);
    end_call(&p);
    if (removed_out) {
        *removed_out = removed;
    }
    return st;
}
