/* scratch.h: the directory of a build for what nobody else reads, where that is not the store's own
 * (a store far away, or a directory that the caller names).
 *
 * It is called "shardy-build-<32 hex digits>" and holds a file "lock", which is locked as long as
 * the build lives. A build that was killed leaves its directory: the next one below the same base
 * finds the lock free, takes it, and removes what was left. Directories of other users, open to
 * others, or without such a file, are left alone. */
#ifndef SHARDY_BUILD_SCRATCH_H
#define SHARDY_BUILD_SCRATCH_H

#include "../base/context.h"

/* Removes what the dead have left below `base`, which is made when it is missing, and makes a new
 * directory. *path_out is new memory; *lock_out is the open lock file, or -1 where the file system
 * has no locks: then nobody else ever removes it.
 * Statuses: OK, those of files, NOMEM. */
shardy_status shardy__scratch_make(const shardy_context *context, const char *base, char **path_out,
    int *lock_out, shardy_error *err);

/* Removes it with all it holds, then gives the lock back. */
void shardy__scratch_remove(const char *path, int lock);

#endif
