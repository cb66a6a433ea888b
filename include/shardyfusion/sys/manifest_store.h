/* sys/manifest_store.h: the contract of a manifest store: where manifests and the pointer live.
 *
 * This header may change with a minor version.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SYS_MANIFEST_STORE_H
#define SHARDYFUSION_SYS_MANIFEST_STORE_H

#include <shardyfusion/sys/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHARDY_MANIFEST_STORE_ABI 1

/* A manifest that a store lists. `ref` names it in that store: the path relative to the root,
 * "manifests/<timestamp>_run_id=<id>/manifest", or the run id where refs_are_run_ids. */
typedef struct shardy_manifest_entry {
    const char *ref;
    const char *run_id;
    int64_t published_us;
} shardy_manifest_entry;

typedef struct shardy_manifest_list {
    const shardy_manifest_entry *entries; /* newest first */
    size_t count;
    void *owner;
    void (*dispose)(struct shardy_manifest_list *list);
} shardy_manifest_list;

/* What makes a manifest current: the pointer document, and the version that the pointer must still
 * have ("": there is none). */
typedef struct shardy_manifest_move {
    shardy_bytes body; /* names the manifest by `manifest_ref` */
    const shardy_etag *expected;
    /* filled by the store */
    shardy_etag version; /* of the pointer after it was replaced */
    int32_t added;       /* publish: 1 unless it is known that the manifest is not there */
    int32_t open; /* 1: a failure leaves it open whether the pointer was, or will be, replaced */
} shardy_manifest_move;

/* The bytes of the pointer and their version. */
typedef struct shardy_manifest_current {
    shardy_buf body; /* the pointer document (formats.md, section 2); released by the receiver */
    shardy_etag version;
    /* set by the caller: NULL, or the version that it has read already */
    const shardy_etag *known;
} shardy_manifest_current;

typedef struct shardy_manifest_store_ops {
    uint32_t abi;         /* SHARDY_MANIFEST_STORE_ABI */
    uint32_t struct_size; /* sizeof(shardy_manifest_store_ops); grows by appending */
    const char *name;     /* "object", "postgres" */
    /* 0: a ref is a path below the root, and the pointer names it by its URL; 1: a ref is the run
     * id, and the pointer has it as it is */
    int32_t refs_are_run_ids;
    int32_t reserved;

    /* MUST. Any thread. OK, or NOT_FOUND when nothing was ever published. NOT_MODIFIED when the
     * pointer still has the version `known`: a store that cannot tell answers OK. */
    shardy_status (*load_current)(
        void *store, shardy_manifest_current *current_out, shardy_error *err);
    /* MUST. Any thread. The image of a manifest: OK, NOT_FOUND. Larger than
     * SHARDY_MANIFEST_LEN_MAX: CORRUPT. A store of rows makes an image of those of the reference,
     * the same one each time. */
    shardy_status (*load)(void *store, const char *ref, shardy_buf *image_out, shardy_error *err);
    /* MUST. Any thread. At most `limit` manifests, newest first. */
    shardy_status (*list)(
        void *store, size_t limit, shardy_manifest_list *list_out, shardy_error *err);
    /* MUST. Any thread. Adds a manifest: EXISTS when the ref is taken. */
    shardy_status (*add)(void *store, const char *ref, shardy_bytes image, shardy_error *err);
    /* MUST. Any thread. Replaces the pointer if its version is still the expected one: CONFLICT
     * otherwise. A failure that leaves it open whether it was replaced says so in `move->open`: the
     * caller reads the pointer again and looks for the nonce it wrote. */
    shardy_status (*set_current)(void *store, shardy_manifest_move *move, shardy_error *err);
    /* MUST. Once, after the last call has returned. */
    void (*close)(void *store);
    /* MUST for cleanups. Any thread. Removes a manifest with all that belongs to it, so that no
     * listing shows it any more; OK also when there is none. The pointer is not looked at: the
     * caller has condemned the run. *removed_out counts objects or rows. */
    shardy_status (*remove)(void *store, const char *ref, uint64_t *removed_out, shardy_error *err);
    /* MAY. Any thread. add() and set_current() in one transaction; without it they are called one
     * after the other. EXISTS: nothing was changed. CONFLICT: the pointer has moved; the manifest
     * was added all the same, unless `move->added` is 0. */
    shardy_status (*publish)(void *store, const char *ref, shardy_bytes image,
        shardy_manifest_move *move, shardy_error *err);
} shardy_manifest_store_ops;

#ifdef __cplusplus
}
#endif
#endif
