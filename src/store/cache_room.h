/* cache_room.h: the directory of a cache of files, its locks, and the room in it. */
#ifndef SHARDY_STORE_CACHE_ROOM_H
#define SHARDY_STORE_CACHE_ROOM_H

#include "../base/context.h"
#include "../base/fs.h"

typedef struct cache_dirs {
    shardy_context *context; /* borrowed */
    int top;
    fs_root files;
    fs_root fill;
    uint64_t budget;
} cache_dirs;

typedef struct cache_wait {
    int64_t deadline_ns;
    const shardy_cancel *cancel;
} cache_wait;

/* Opens a file for writing in a directory of the cache, makes it when it is missing, and takes its
 * lock; gives up when whoever has the lock has not changed the file for five seconds (DONE).
 * OK: the lock is held, and the file is the one of that name. NOT_FOUND: it had the name no more
 * when the lock was free: look what has become of it. Besides: TIMEOUT, CANCELLED, those of
 * fs.h. */
shardy_status shardy__cache_lock(const cache_dirs *dirs, int dir, const char *name,
    const cache_wait *wait, int *fd_out, shardy_error *err);

/* Makes room for a file that is being filled, and gives it that length. Removes what dead processes
 * left. DONE when there is no room, or nobody could look for it. */
shardy_status shardy__cache_reserve(
    const cache_dirs *dirs, int fd, uint64_t len, const cache_wait *wait, shardy_error *err);

/* Removes what dead processes left in fill/, as far as that can be done. */
void shardy__cache_remove_dead(const cache_dirs *dirs);

#endif
