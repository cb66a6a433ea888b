/* manifest_store.h: manifest stores, and the only place that calls them. */
#ifndef SHARDY_CATALOG_MANIFEST_STORE_H
#define SHARDY_CATALOG_MANIFEST_STORE_H

#include "../base/context.h"
#include "pointer.h"

#include <shardyfusion/manifest_store.h>
#include <shardyfusion/sys/manifest_store.h>
#include <shardyfusion/sys/store.h>

#define MANIFEST_DIR  "manifests/"
#define MANIFEST_NAME "/manifest"

typedef struct manifest_store {
    const shardy_manifest_store_ops *ops;
    void *state;
    void *after; /* NULL, or what shardy__manifest_store_after() works with */
    /* NULL, or called with the limits of the operation (shardy__catalog_limit()), where those of
     * the store do not do */
    void (*limit)(void *state, shardy_store_limits limits);
} manifest_store;

/* Manifests and pointer as objects: "manifests/<timestamp>_run_id=<id>/manifest" and `pointer_key`.
 * The store is borrowed. OK or NOMEM. */
shardy_status shardy__manifest_store_open_object(shardy_store *store, const char *pointer_key,
    int32_t sync, manifest_store *out, shardy_error *err);

/* Manifests and pointer as rows in Postgres, refs are run ids. The options are complete. Nothing is
 * sent yet. Statuses: OK; INVALID (a table name), CONFIG (the connection string), NOMEM. Only in
 * builds with libpq. */
struct postgres_options;
shardy_status shardy__manifest_store_open_postgres(shardy_context *context,
    const shardy_manifest_store_options *options, const struct postgres_options *connection,
    manifest_store *out, shardy_error *err);

void shardy__manifest_store_close(manifest_store *m);

/* The same manifest store for what has to be done when an operation was cancelled
 * (store_bound.h). Borrowed from `m`. */
manifest_store shardy__manifest_store_after(const manifest_store *m);

/* The pointer and its version. OK; NOT_FOUND; CORRUPT, FORMAT_VERSION and those of the store. */
shardy_status shardy__manifest_store_load_current(
    const manifest_store *m, pointer *out, shardy_etag *version_out, shardy_error *err);
/* The same; NOT_MODIFIED when it still has the version `known`, which costs no more than asking. A
 * store that cannot tell answers OK. */
shardy_status shardy__manifest_store_load_newer(const manifest_store *m, const shardy_etag *known,
    pointer *out, shardy_etag *version_out, shardy_error *err);
/* What the versions of builds begin with that count as current, and those of pointers do not. */
#define MANIFEST_BUILD_VERSION "build-"
/* 1: that version is of a pointer; 0: of the newest build, which a manifest store of rows takes for
 * current where there is no pointer (formats.md, section 13). */
int shardy__manifest_store_is_pointer(const manifest_store *m, const shardy_etag *version);
/* Of objects so much is asked for at first: with it comes the length, and what is too long is read
 * no further. The rest comes in ranges of this length. Most manifests of 80,000 shards fit. */
#define MANIFEST_BEGIN_LEN (32u << 20)
/* The image of a manifest. OK; NOT_FOUND; INVALID (a ref that cannot name a manifest); CORRUPT (too
 * large); CHECKSUM (it changed while it was read). */
shardy_status shardy__manifest_store_load(
    const manifest_store *m, const char *ref, shardy_buf *image_out, shardy_error *err);
shardy_status shardy__manifest_store_list(
    const manifest_store *m, size_t limit, shardy_manifest_list *list_out, shardy_error *err);
void shardy__manifest_list_dispose(shardy_manifest_list *list);
shardy_status shardy__manifest_store_add(
    const manifest_store *m, const char *ref, shardy_bytes image, shardy_error *err);
/* Removes a manifest whose run is condemned; fine when it is not there. *removed_out (may be NULL)
 * counts objects. UNSUPPORTED when the manifest store cannot. */
shardy_status shardy__manifest_store_remove(
    const manifest_store *m, const char *ref, uint64_t *removed_out, shardy_error *err);
/* Replaces the pointer if it still has the expected version. When the reply is lost the pointer is
 * read again: with our nonce in it, it was replaced. CONFLICT names the run that the pointer has
 * now. *open_out becomes 1 when a failure leaves it open whether the pointer was, or will be,
 * replaced. */
shardy_status shardy__manifest_store_set_current(const manifest_store *m, const pointer *p,
    const shardy_etag *expected, int32_t *open_out, shardy_error *err);

/* A manifest and the pointer that makes it current. */
typedef struct manifest_publish {
    const char *ref;
    shardy_bytes image;
    const pointer *pointer;
    const shardy_etag *expected;
} manifest_publish;

/* Adds a manifest, then replaces the pointer as set_current() does; in one transaction where the
 * store has them. *added_out becomes 0 when the manifest is known not to be there, or to be
 * somebody else's. Statuses: OK; EXISTS; CONFLICT (the manifest was added); those of the store. */
shardy_status shardy__manifest_store_publish(const manifest_store *m, const manifest_publish *what,
    int32_t *added_out, int32_t *open_out, shardy_error *err);

/* --- refs: nobody else knows what they look like ---------------------------------------------- */

/* The ref that a text names: a ref as it is, or as a pointer has it ("s3://bucket/prefix/<ref>").
 * INVALID when it cannot name a manifest. */
shardy_status shardy__manifest_store_ref(const manifest_store *m, const char *text,
    char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err);
/* Whether a run id can be a ref. */
int shardy__manifest_is_run_id(const char *text);
/* The time in the name of a manifest. 0: there is none. */
int shardy__manifest_store_ref_time(const manifest_store *m, const char *ref, int64_t *us_out);
/* The run id in a ref. 0 when there is none. */
int shardy__manifest_store_ref_run_id(
    const manifest_store *m, const char *ref, char run_id_out[SHARDY_OBJECT_KEY_LEN_MAX + 1]);
/* The ref of a manifest that is to be added now. */
shardy_status shardy__manifest_store_name(const manifest_store *m, const char *run_id,
    int64_t now_us, char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err);
/* What a pointer says for a ref in a data set whose URL is `prefix`. */
shardy_status shardy__manifest_store_full_ref(const manifest_store *m, const char *prefix,
    const char *ref, char out[SHARDY_URL_LEN_MAX + 1], shardy_error *err);

/* What refs are shown behind: the place that the pointer speaks of, else the data set's own, with a
 * slash; "" where refs are shown as they are. `manifest_ref` is the pointer's, or "". */
void shardy__manifest_store_place(const manifest_store *m, const char *manifest_ref,
    const char *url, char out[SHARDY_URL_LEN_MAX + 2]);

/* Ref of an object from a manifest_ref of a pointer
 * ("s3://bucket/prefix/manifests/<dir>/manifest", or already relative). INVALID when it is none. */
shardy_status shardy__catalog_ref(
    const char *manifest_ref, char ref_out[SHARDY_OBJECT_KEY_LEN_MAX + 1], shardy_error *err);

/* Takes "<timestamp>_run_id=<id>" apart (formats.md 2.1). 0 when it is not a name of a manifest
 * directory. */
int shardy__manifest_dir_parse(
    const char *name, size_t len, const char **run_id_out, size_t *run_id_len_out, int64_t *us_out);

#endif
