#include "scratch.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/private_dir.h"

#include <stdio.h>
#include <string.h>

#define NAME_BEGIN "shardy-build-"
#define HEX_LEN    32u
#define LOCK_NAME  "lock"
/* In place of the lock where the file system has none. */
#define UNLOCKED_NAME "unlocked"
/* Directories removed by one build: the rest is left to the next. */
#define DEAD_MAX 64u
/* A new directory whose lock somebody else was faster to try is given up. */
#define TRIES_MAX 8u

/* --- what the dead have left ------------------------------------------------------------------ */

/* Directories whose build is dead; their locks are held until they are removed. */
typedef struct dead_dirs {
    fs_root base;
    char names[DEAD_MAX][sizeof NAME_BEGIN + HEX_LEN];
    int locks[DEAD_MAX];
    size_t count;
} dead_dirs;

static int is_name(const char *name)
{
    const size_t begin = strlen(NAME_BEGIN);
    return strlen(name) == begin + HEX_LEN && memcmp(name, NAME_BEGIN, begin) == 0 &&
           strspn(name + begin, "0123456789abcdef") == HEX_LEN;
}

static int is_own(const fs_root *base, const char *name)
{
    int dir = -1;
    shardy_error ignored;
    int own = shardy__root_open_dir(base, name, &dir, &ignored) == SHARDY_OK &&
              shardy__private_dir_check(dir, name, &ignored) >= 0;
    shardy__file_close(dir);
    return own;
}

/* The lock of a directory of this user whose build is dead; -1: it is none. */
static int lock_dead(const fs_root *base, const char *name)
{
    fs_root dir = {-1, base->portable};
    file_info info;
    shardy_error ignored;
    int32_t taken = 0;
    int fd = -1;
    if (shardy__root_open_dir(base, name, &dir.fd, &ignored) != SHARDY_OK) {
        return -1;
    }
    if (shardy__private_dir_check(dir.fd, name, &ignored) < 0 ||
        shardy__root_open_file(&dir, LOCK_NAME, &fd, &info, &ignored) != SHARDY_OK ||
        shardy__file_try_lock(fd, &taken, &ignored) < 0 || !taken) {
        shardy__file_close(fd);
        fd = -1;
    }
    shardy__file_close(dir.fd);
    return fd;
}

static shardy_status see_dir(void *user, const char *name, file_kind kind, shardy_error *err)
{
    (void)err;
    dead_dirs *d = user;
    int lock = kind == FILE_DIR && is_name(name) ? lock_dead(&d->base, name) : -1;
    if (lock < 0) {
        /* One without a lock goes when it is empty and of this user: its build died before it made
         * one. Who is about to is told by what it does next that the directory is gone, and takes
         * another (lock_new). */
        if (kind == FILE_DIR && is_name(name) && is_own(&d->base, name)) {
            (void)shardy__at_discard_dir(d->base.fd, name);
        }
        return SHARDY_OK;
    }
    memcpy(d->names[d->count], name, strlen(name) + 1);
    d->locks[d->count] = lock;
    d->count++;
    return d->count < DEAD_MAX ? SHARDY_OK : SHARDY_DONE;
}

/* What cannot be removed is left to the next; a build does not fail for it. */
static void remove_dead(const char *base)
{
    dead_dirs dead;
    shardy_error ignored;
    dead.count = 0;
    if (shardy__root_open(base, 0, &dead.base, &ignored) != SHARDY_OK) {
        return;
    }
    (void)shardy__dir_each(dead.base.fd, see_dir, &dead, &ignored);
    for (size_t i = 0; i < dead.count; i++) {
        shardy__at_discard_tree(dead.base.fd, dead.names[i]);
        shardy__file_close(dead.locks[i]);
    }
    shardy__root_close(&dead.base);
}

/* --- a new one -------------------------------------------------------------------------------- */

/* Until the lock is held somebody else may take this build for a dead one. *kept_out 0: that is
 * what happened. */
static shardy_status lock_new(const char *path, int *lock_out, int32_t *kept_out, shardy_error *err)
{
    int dir;
    int fd = -1;
    file_info info;
    shardy_error ignored;
    *lock_out = -1;
    *kept_out = 0;
    shardy_status st = shardy__dir_open(path, &dir, err);
    if (st != SHARDY_OK) {
        return st == SHARDY_NOT_FOUND ? SHARDY_OK : st;
    }
    st = shardy__at_create(dir, LOCK_NAME, 0600, &fd, err);
    if (st == SHARDY_OK && shardy__file_try_lock(fd, kept_out, &ignored) < 0) {
        /* no locks here: it has neither a lock nor is it empty, and so it stays */
        int other = -1;
        st = shardy__at_create(dir, UNLOCKED_NAME, 0600, &other, err);
        shardy__file_close(other);
        shardy__at_discard(dir, LOCK_NAME);
        shardy__file_close(fd);
        fd = -1;
        *kept_out = 1;
    } else if (st == SHARDY_OK) {
        *kept_out = *kept_out && shardy__at_stat(dir, LOCK_NAME, &info, &ignored) == SHARDY_OK;
    }
    shardy__file_close(dir);
    if (st < 0 || !*kept_out) {
        shardy__file_close(fd);
        return st < 0 ? st : SHARDY_OK;
    }
    *lock_out = fd;
    return SHARDY_OK;
}

shardy_status shardy__scratch_make(const shardy_context *context, const char *base, char **path_out,
    int *lock_out, shardy_error *err)
{
    int32_t kept = 0;
    *path_out = NULL;
    *lock_out = -1;
    remove_dead(base);
    for (uint32_t i = 0; i < TRIES_MAX && !kept; i++) {
        char hex[33];
        char name[sizeof NAME_BEGIN + HEX_LEN];
        char *path = NULL;
        shardy__rand_hex32(context, hex);
        snprintf(name, sizeof name, NAME_BEGIN "%s", hex);
        SHARDY_TRY(shardy__path_join(base, name, &path, err));
        shardy_status st = shardy__dir_make(path, 0700, 0, err);
        if (st >= 0) {
            st = lock_new(path, lock_out, &kept, err);
            if (st < 0) {
                shardy_error ignored;
                (void)shardy__dir_remove(path, &ignored);
            }
        }
        if (st < 0 || !kept) {
            shardy__free(path);
            SHARDY_TRY(st);
        } else {
            *path_out = path;
        }
    }
    return kept ? SHARDY_OK
                : shardy__error(err, SHARDY_IO, "build",
                      "new scratch directories below \"%.300s\" keep vanishing", base);
}

void shardy__scratch_remove(const char *path, int lock)
{
    shardy_error ignored;
    (void)shardy__dir_remove(path, &ignored);
    shardy__file_unlock_close(lock);
}
