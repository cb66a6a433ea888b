/* verify_objects.h: comparing all objects of a manifest with their digests, at the speed of the
 * store or of the digest, whichever is lower.
 *
 * Objects are read in pieces, several of which are always on their way, whatever object they belong
 * to; threads take those that have come and compute their chunk digests. When the last piece of an
 * object is done, its chunk digests are compared with the promised digest and with the list that
 * lies beside the object. */
#ifndef SHARDY_ADMIN_VERIFY_OBJECTS_H
#define SHARDY_ADMIN_VERIFY_OBJECTS_H

#include "../base/context.h"
#include "../manifest/manifest.h"
#include "damage.h"

#include <shardyfusion/sys/store.h>

typedef struct verify_objects_spec {
    shardy_context *context;
    shardy_store *store;
    const shardy_object_digest *objects;
    size_t count;
    uint32_t threads;    /* the calling one among them */
    uint32_t timeout_ms; /* of one read */
    const shardy_cancel *cancel;
    /* NULL, or called on the calling thread with the bytes read so far; a failure ends it all */
    shardy_status (*tell)(void *user, uint64_t bytes, shardy_error *err);
    void *tell_user;
    uint32_t stage; /* for the places of findings */
} verify_objects_spec;

typedef struct verify_objects_counts {
    uint64_t objects; /* read, lists of digests included */
    uint64_t bytes;
} verify_objects_counts;

/* Statuses: OK, also when there is damage; failures of the store, CANCELLED, TIMEOUT, NOMEM. */
shardy_status shardy__verify_objects(const verify_objects_spec *spec, damage_list *damage,
    verify_objects_counts *counts_out, shardy_error *err);

#endif
