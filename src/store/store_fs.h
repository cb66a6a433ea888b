/* store_fs.h: the inside of the fs store, shared by store_fs.c and store_fs_list.c. */
#ifndef SHARDY_STORE_STORE_FS_H
#define SHARDY_STORE_STORE_FS_H

#include "store.h"

#include "../base/thread.h"

#include <dirent.h>
#include <limits.h>
#include <stdatomic.h>

typedef struct fs_store {
    shardy_context *context; /* one reference */
    shardy_store_fs_options options;
    int root;            /* descriptor of the directory */
    char path[PATH_MAX]; /* its real path */
    int32_t network;     /* 1: on a network file system */
    mutex own_lock;      /* rank: leaf; guards the making of what follows */
    int lock_fd;
    int scratch_fd;
    int scratch_lock;
    char scratch[PATH_MAX];
    _Atomic uint64_t put_count;
} fs_store;

shardy_status shardy__store_fs_list(void *store, const char *prefix, char delimiter,
    const char *token, size_t limit, shardy_store_page *page_out, shardy_error *err);

#endif
