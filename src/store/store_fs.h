/* store_fs.h: the inside of the fs store, shared by its files: store_fs.c (the table, reading),
 * store_fs_write.c (its own directory, putting, removing), store_fs_list.c (listing).
 *
 * What is where:
 *   <root>/<key>                            an object
 *   <root>/.shardyfusion/lock               held while an object is replaced or removed
 *   <root>/.shardyfusion/tmp/<32 hex>/      of one writer: files being written, scratch
 *   <root>/.shardyfusion/tmp/<32 hex>/lock  held as long as that writer lives */
#ifndef SHARDY_STORE_STORE_FS_H
#define SHARDY_STORE_STORE_FS_H

#include "../base/fs.h"
#include "../base/thread.h"
#include "store.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>

/* The directory of this writer; made by the first call that writes. */
typedef struct fs_own {
    int dir;         /* .shardyfusion */
    int tmp;         /* .shardyfusion/tmp */
    fs_root scratch; /* .shardyfusion/tmp/<name> */
    int lock;        /* of `scratch`, held */
    char name[33];
    char *path;    /* of `scratch`, absolute */
    uint32_t mode; /* of published files: what the umask leaves of 0666 */
} fs_own;

typedef struct fs_store {
    shardy_context *context; /* one reference */
    fs_root root;
    char *path; /* absolute, without links */
    int32_t sync;
    const char *network; /* NULL, or the kind of network file system it is on */
    int32_t conditional; /* 1: puts under a condition can be trusted */
    uint64_t generation; /* of the process it was opened in */
    mutex own_lock;      /* rank: outer; guards the making of `own` */
    int32_t has_own;
    fs_own own; /* does not change once has_own */
    /* rank: inner; one thread of this process at a time waits for .shardyfusion/lock */
    mutex replace_lock;
    _Atomic uint64_t puts;
    durable_dirs durable;
} fs_store;

/* A key as text, and where its last segment begins. */
typedef struct fs_key {
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char parent[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* "" for the root */
    const char *name;                           /* in `text` */
} fs_key;

void shardy__store_fs_split_key(shardy_bytes key, fs_key *out);

/* Version of an open object: "" when it is too large. */
shardy_status shardy__store_fs_etag(
    int fd, uint64_t size, shardy_etag *etag_out, shardy_error *err);
shardy_status shardy__store_fs_etag_of_bytes(
    const void *data, size_t len, shardy_etag *etag_out, shardy_error *err);

/* Slots of the table. */
shardy_status shardy__store_fs_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err);
shardy_status shardy__store_fs_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err);
shardy_status shardy__store_fs_scratch(void *store, const char **path_out, shardy_error *err);
shardy_status shardy__store_fs_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err);

/* Removes the directory of this writer, unless this is a child of the process that made it. */
void shardy__store_fs_close_own(fs_store *s);

#endif
