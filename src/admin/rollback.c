/* rollback.c: moving the pointer back to a manifest that is there. */
#include "admin_options.h"

#include "../base/alloc.h"

#include <stdio.h>
#include <string.h>

void shardy_rollback_target_init(shardy_rollback_target *target, size_t struct_size)
{
    shardy_rollback_target defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.offset = -1;
    shardy__options_init(target, struct_size, &defaults, sizeof defaults);
}

shardy_status shardy__admin_check_target(const shardy_rollback_target *t, shardy_error *err)
{
    int count = (t->ref != NULL) + (t->run_id != NULL) + (t->offset >= 0);
    return count == 1 ? SHARDY_OK
                      : shardy__error(err, SHARDY_INVALID, "admin",
                            "the target is named %d times, expected exactly one of ref, run_id and "
                            "offset",
                            count);
}

shardy_status shardy__admin_find_target(const catalog *c, const shardy_rollback_target *target,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err)
{
    if (target->ref) {
        return shardy__manifest_store_ref(&c->manifests, target->ref, ref_out, err);
    }
    shardy_manifest_list list;
    SHARDY_TRY(shardy__manifest_store_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
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
        return shardy__error(err, SHARDY_INVALID, "admin",
            "no manifest is of the run \"%.128s\" (%zu in the history)", target->run_id, count);
    }
    return shardy__error(err, SHARDY_INVALID, "admin",
        "offset %lld is out of range (%zu in the history)", (long long)target->offset, count);
}

static shardy_status roll_back(
    const catalog *c, const shardy_rollback_target *target, shardy_buf *ref_out, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "";
    SHARDY_TRY(shardy__admin_find_target(c, target, ref, err));
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
    SHARDY_TRY(shardy__admin_check_target(&t, err));
    shardy_context *held = NULL;
    SHARDY_TRY(shardy__context_hold(context, &held, err));
    catalog c;
    shardy_status st = shardy__admin_open_catalog(held, url, &o, &c, err);
    if (st >= 0) {
        st = roll_back(&c, &t, ref_out, err);
        shardy__catalog_close(&c);
    }
    shardy__context_drop(held);
    return st;
}
