/* catalog.h: one data set: its store, its manifests, its pointer; and the protocol by which the
 * pointer moves. */
#ifndef SHARDY_CATALOG_CATALOG_H
#define SHARDY_CATALOG_CATALOG_H

#include "../base/context.h"
#include "../manifest/manifest.h"
#include "fate.h"
#include "manifest_store.h"
#include "pointer.h"

/* What a reader will want first: then the manifest and the index of its shard are read together,
 * when the pointer has a hint and shards are as large as this. */
typedef struct catalog_ahead {
    const shardy_key *key;
    uint64_t shard_bytes; /* of the largest shard at least, or */
    uint64_t total_bytes; /* of all shards at least */
} catalog_ahead;

typedef struct catalog {
    shardy_context *context; /* borrowed */
    shardy_store *store;     /* rooted at the data set; borrowed when `borrowed` */
    int32_t store_borrowed;
    /* the same without the limits of shardy__catalog_limit(): for shards, whose reads have their
     * own */
    shardy_store *shards;
    shardy_store_limits limits; /* see shardy__catalog_limit() */
    manifest_store manifests;
    char pointer_key[256];
    char manifests_key[256];          /* for messages: where the manifests are */
    char url[SHARDY_URL_LEN_MAX + 1]; /* of the root, normalised */
    /* 1: the store is not asked any more whether it honours conditional writes: a single writer
     * needs none, or it was asked */
    int32_t trusted;
    const catalog_ahead *ahead; /* NULL, or what shardy__catalog_load_current() reads ahead */
} catalog;

typedef enum catalog_bound {
    CATALOG_UNBOUND = 0,
    CATALOG_IN_TIME,    /* calls of the store end in time, and when they are cancelled */
    CATALOG_CANCELLABLE /* only the latter: a large object takes as long as it takes */
} catalog_bound;

typedef struct catalog_options {
    /* 1: for a build: the directory is made when it is missing, and a pointer has the name of
     * one */
    int32_t create;
    int32_t sync;
    int32_t allow_network_fs;
    shardy_store *store;   /* not NULL: use this one instead of opening the URL */
    int32_t single_writer; /* 1: publish also where the store does not honour conditions */
    int32_t ahead;         /* 1: objects can be read ahead, unless they are local files */
    const shardy_manifest_store_options *manifests; /* NULL: objects of the store */
    /* of each transaction of a manifest store that is no store of objects, and with `bound` of each
     * call of the store, unless shardy__catalog_limit() says until when all of them last */
    uint32_t timeout_ms;
    const shardy_cancel *cancel; /* of the same; may be NULL; borrowed */
    int32_t bound;               /* of catalog_bound */
} catalog_options;

/* Opens the data set that `url` names: a directory, a file:// URL, or that of the pointer in it.
 * Statuses: OK; INVALID (malformed, no such directory; for a build: a pointer that is not called
 * _CURRENT...), UNSUPPORTED (scheme), IO, NOMEM. Close it. */
shardy_status shardy__catalog_open(shardy_context *context, const char *url,
    const catalog_options *options, catalog *out, shardy_error *err);
void shardy__catalog_close(catalog *c);

/* Of a catalog that is bound: all its calls from now on end by `deadline_ns` or when `cancel` is
 * requested; 0 and NULL: only the timeout of each call counts. Not while another thread uses it. */
void shardy__catalog_limit(catalog *c, int64_t deadline_ns, const shardy_cancel *cancel);

/* The same catalog for what has to be done when its operation was cancelled (store_bound.h).
 * Borrowed from `c`. */
catalog shardy__catalog_after(const catalog *c);

/* A manifest that was loaded and checked. */
typedef struct loaded_manifest {
    manifest *manifest; /* the receiver's to free */
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    sha256 digest; /* of the image */
    uint64_t size;
    int32_t verified; /* 1: the image has the digest that was promised */
} loaded_manifest;

/* What a manifest must be. */
typedef struct manifest_promise {
    int32_t has_digest;
    sha256 digest;
    uint64_t size;
} manifest_promise;

/* Loads a manifest by its ref and checks digest, format, and that all its URLs lie below
 * its prefix. `named_as` (may be NULL) is what the pointer called it: the ref itself, or its URL
 * below the prefix that the manifest records.
 * Statuses: OK; NOT_FOUND; INVALID (it was named otherwise); CHECKSUM, CORRUPT, FORMAT_VERSION;
 * CONFIG (a manifest that is no object here records another prefix, and its shards are not here);
 * those of the store. */
shardy_status shardy__catalog_load(const catalog *c, const char *ref,
    const manifest_promise *promise, const char *named_as, loaded_manifest *out, shardy_error *err);

/* Loads what the pointer names. A pointer without our member takes the digest from the fate of the
 * run, if there is one.
 * Statuses: as shardy__catalog_load(), and NOT_FOUND when there is no pointer; GONE when the
 * manifest that a digest was recorded for is not there, and the pointer still names it: one that a
 * cleanup took after the pointer had moved on is no failure. *pointer_out and *version_out are
 * filled whenever the pointer could be read. */
shardy_status shardy__catalog_load_current(const catalog *c, pointer *pointer_out,
    shardy_etag *version_out, loaded_manifest *out, shardy_error *err);

/* INVALID, for who needs a pointer where there is none: says what may be meant. */
shardy_status shardy__catalog_no_pointer(const catalog *c, const char *domain, shardy_error *err);

/* Whether any object of a shard with rows is here. */
shardy_status shardy__catalog_find_shard(const catalog *c, const manifest *m,
    const manifest_shard *shard, int32_t *found_out, shardy_error *err);

/* The promise of a run's fate; has_digest 0 when there is no fate or no manifest in it. */
shardy_status shardy__catalog_promise(const catalog *c, const char *run_id, const char *ref,
    manifest_promise *out, shardy_error *err);

/* --- publishing (reliability: the protocol; the steps carry the names of the model) ----------- */

/* A run between begin and its end. */
typedef struct publish_run {
    fate fate;
    int32_t has_current;    /* there was a pointer when the run began */
    shardy_etag seen;       /* its version */
    uint64_t generation;    /* of the pointer that was seen; 0: none */
    int32_t manifest_tried; /* the manifest write was begun: it may be there */
    int32_t pointer_open;   /* the pointer write failed, but may have counted or still count */
    int32_t replaces;       /* set by the caller: who moved the pointer meanwhile is replaced when
                               its manifest is older */
    int32_t fenced;         /* found out when it was given up: somebody else had condemned it */
    int32_t replaced;       /* 1: he was, and `seen_run_id` is his run */
    int64_t seen_us;        /* when the pointer that was seen last was moved; 0: not known */
    /* of that pointer; "": none, or a damaged one */
    char seen_run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    pointer_hint hint; /* for the pointer */
} publish_run;

/* Whether the store honours conditional writes: UNSUPPORTED when not. Tried out on a fate that is
 * there, unless objects are local files or in memory or the catalog is trusted. For all that is to
 * change a fate or the pointer. */
shardy_status shardy__catalog_probe(const catalog *c, const fate *f, shardy_error *err);

/* Claims a run id: EXISTS when a fate, a manifest or any object of its shards is there. Reads the
 * pointer that the run builds on. UNSUPPORTED when the store does not honour conditional writes
 * (shardy__catalog_probe). CORRUPT or FORMAT_VERSION when there is a pointer
 * that cannot be read; CONFIG when manifests are no objects and the one that the pointer names is
 * of another data set. */
shardy_status shardy__publish_begin(const catalog *c, const char *run_id, const char *shard_prefix,
    const char *writer, publish_run *run, shardy_error *err);

/* Publishes the image. `ref` is its ref, `manifest_ref` what the pointer says.
 * Statuses: OK; FENCED (condemned meanwhile); CONFLICT (the pointer has moved: the snapshot is
 * complete and can be rolled back to); MISUSE (it was published or given up before); EXISTS; those
 * of the stores. */
shardy_status shardy__publish_commit(const catalog *c, publish_run *run, const char *ref,
    const char *manifest_ref, shardy_bytes image, shardy_error *err);

/* Gives a run up that was begun and did not publish: condemns it, then removes its manifest, if one
 * may be there, and its shards. What cannot be removed is left for a cleanup. Never touches a run
 * that may be current, or that reached PUBLISHED. One that somebody else has condemned loses what
 * was written since: nobody else would look for it again. */
void shardy__publish_abandon(const catalog *c, publish_run *run, const char *shard_prefix);

/* Moves the pointer to the manifest `ref`; url_out gets what the pointer says then.
 * Statuses: OK; INVALID (no such manifest; a run still at work); GONE (it was condemned, or an
 * object of it is missing); CORRUPT, CHECKSUM, FORMAT_VERSION (it is damaged); CONFLICT; those of
 * the stores. */
shardy_status shardy__publish_rollback(
    const catalog *c, const char *ref, char url_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err);

/* Removes all objects whose key begins with `prefix` (ends in '/'). *removed_out (may be NULL)
 * counts them. Returns the first failure; IO, too, when the listings go on showing what is gone. */
shardy_status shardy__catalog_remove_prefix(
    const catalog *c, const char *prefix, uint64_t *removed_out, shardy_error *err);

#endif
