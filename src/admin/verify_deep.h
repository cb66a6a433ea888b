/* verify_deep.h: walking all shards of a snapshot: every page of every table, order of the rows,
 * routing of every key, counts, bounds. */
#ifndef SHARDY_ADMIN_VERIFY_DEEP_H
#define SHARDY_ADMIN_VERIFY_DEEP_H

#include "../base/context.h"
#include "../manifest/manifest.h"
#include "damage.h"

#include <shardyfusion/sys/store.h>

typedef struct verify_deep_spec {
    shardy_context *context;
    shardy_store *store;
    shardy_store *shards; /* the same for what is large */
    const manifest *manifest;
    const char *manifest_path; /* for findings about the manifest itself */
    uint32_t threads;          /* the calling one among them */
    uint32_t timeout_ms;       /* of each request */
    const shardy_cancel *cancel;
    /* NULL, or called on the calling thread from time to time; a failure ends it all */
    shardy_status (*tell)(void *user, uint64_t bytes, shardy_error *err);
    void *tell_user;
    uint64_t bytes; /* given to `tell`, which counts what was read before */
    uint32_t stage; /* for the places of findings */
} verify_deep_spec;

/* Shards are walked in parallel. Statuses: OK, also when there is damage; UNSUPPORTED when the
 * engine is not in this build; failures of the store, CANCELLED, TIMEOUT, NOMEM. */
shardy_status shardy__verify_deep(
    const verify_deep_spec *spec, damage_list *damage, shardy_error *err);

#endif
