/* fate.h: the fate of a run: one small object per run, changed only by conditional writes, that
 * decides between publishers, rollbacks and cleanups.
 *
 *   WRITING -> PUBLISHING -> PUBLISHED -> PUBLISHING (rollback) -> ...      or -> CONDEMNED, for
 *   ever
 *
 * The steps and their names are those of the model in tests/model. */
#ifndef SHARDY_CATALOG_FATE_H
#define SHARDY_CATALOG_FATE_H

#include "../base/context.h"
#include "../base/digest.h"
#include "pointer.h"

#include <shardyfusion/sys/store.h>

#define FATE_FORMAT_VERSION 1
#define FATE_PINS_MAX       64u

typedef enum fate_state {
    FATE_WRITING = 1,
    FATE_PUBLISHING = 2,
    FATE_PUBLISHED = 3,
    FATE_CONDEMNED = 4
} fate_state;

typedef struct fate {
    char run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char writer[64];
    int32_t state;
    uint64_t generation; /* 1 at the creation, one more with each change */
    int64_t updated_us;
    char nonce[POINTER_NONCE_LEN + 1];
    int32_t has_manifest;
    char manifest_ref[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* relative to the root */
    sha256 manifest_digest;
    uint64_t manifest_size;
    char pins[FATE_PINS_MAX][64]; /* names by which an operator keeps the snapshot */
    uint32_t pin_count;
    shardy_etag version; /* of the object this was read from or written to */
} fate;

const char *shardy__fate_state_name(int32_t state);

/* Statuses: OK; CHECKSUM (it differs from its own "check": it was changed after it was written);
 * CORRUPT, FORMAT_VERSION, NOMEM. Nothing comes out of a failure; `version` is left alone. */
shardy_status shardy__fate_parse(shardy_bytes text, fate *out, shardy_error *err);
/* Ownership: release *text_out. */
shardy_status shardy__fate_render(const fate *f, shardy_buf *text_out, shardy_error *err);

/* A fate for a run that has none, because a writer without fates wrote it: the receiver sets state
 * and manifest as they were found. */
void shardy__fate_adopted(const char *run_id, fate *out);
/* Whether it came about so: the run may have gone on since then without changing it. */
int shardy__fate_is_adopted(const fate *f);

/* Key of the object: "<registry>/run_id=<id>/fate" with registry "runs" always. */
void shardy__fate_key(const char *run_id, char key_out[SHARDY_OBJECT_KEY_LEN_MAX + 1]);

/* 1 for those statuses of reading a fate that say that it is there and cannot be believed. What
 * becomes of its run is for an operator to decide: nobody writes over it, adopts or condemns the
 * run. */
int shardy__fate_is_damaged(shardy_status st);

/* Reads a fate. OK, NOT_FOUND, and those of parsing, which name the object, and of the store. */
shardy_status shardy__fate_load(
    shardy_store *store, const char *run_id, fate *out, shardy_error *err);
/* Creates the object: EXISTS when the run has a fate. Sets nonce, generation, time and version. */
shardy_status shardy__fate_create(
    shardy_context *context, shardy_store *store, fate *f, shardy_error *err);
/* Compare-and-swap from f->version to `state`, with a new nonce. Sets version and generation.
 * CONFLICT when somebody else changed it first. A reply that was lost is resolved by reading the
 * object again and looking for the nonce. */
shardy_status shardy__fate_change(
    shardy_context *context, shardy_store *store, fate *f, int32_t state, shardy_error *err);

#endif
