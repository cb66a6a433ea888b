/* private_dir.h: directories that nobody but their owner can write to or look into. What is in one
 * was put there by this user, so it can be trusted as far as he can. */
#ifndef SHARDY_BASE_PRIVATE_DIR_H
#define SHARDY_BASE_PRIVATE_DIR_H

#include "fs.h"

/* Opens the directory `name` (one segment) of an open directory, and makes it with mode 0700 when
 * it is missing. Follows no link. What it says was looked up on the descriptor that is returned.
 * INVALID when there is a link or something else of that name; AUTH when it belongs to somebody
 * else, or when others have any right to it. Other statuses as in fs.h. */
shardy_status shardy__private_dir_open(
    int parent, const char *name, int *fd_out, shardy_error *err);

/* Of an open directory, named `name` in messages: AUTH when it belongs to somebody else, or when
 * others have any right to it; IO. */
shardy_status shardy__private_dir_check(int fd, const char *name, shardy_error *err);

/* Sets the time at which an own file was changed last. */
shardy_status shardy__private_file_set_modified(int fd, int64_t wall_us, shardy_error *err);

#endif
