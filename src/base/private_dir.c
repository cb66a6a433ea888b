#include "private_dir.h"

#include "fault.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRIVATE_MODE   0700u
#define RIGHTS_OF_ALL  0777u
#define RIGHTS_OF_ELSE 0077u

shardy_status shardy__private_dir_check(int fd, const char *name, shardy_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return shardy__error_errno(err, errno, "fs", "cannot look at \"%.300s\"", name);
    }
    if (info.st_uid != geteuid()) {
        return shardy__error(err, SHARDY_AUTH, "fs",
            "the directory \"%.300s\" belongs to the user %lu, expected %lu", name,
            (unsigned long)info.st_uid, (unsigned long)geteuid());
    }
    if (info.st_mode & RIGHTS_OF_ELSE) {
        return shardy__error(err, SHARDY_AUTH, "fs",
            "the directory \"%.300s\" has the mode %04o, expected 0700: others have rights to it",
            name, (unsigned)info.st_mode & RIGHTS_OF_ALL);
    }
    return SHARDY_OK;
}

shardy_status shardy__private_dir_open(int parent, const char *name, int *fd_out, shardy_error *err)
{
    fs_root root = {parent, 0};
    *fd_out = -1;
    shardy_status st = shardy__root_open_dir(&root, name, fd_out, err);
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__at_make_dir(parent, name, PRIVATE_MODE, err);
        if (st < 0 && st != SHARDY_EXISTS) {
            return st;
        }
        shardy__error_clear(err); /* somebody else has just made it */
        st = shardy__root_open_dir(&root, name, fd_out, err);
    }
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a directory", name);
    }
    if (st == SHARDY_OK) {
        st = shardy__private_dir_check(*fd_out, name, err);
    }
    if (st < 0) {
        shardy__file_close(*fd_out);
        *fd_out = -1;
    }
    return st;
}

shardy_status shardy__private_file_set_modified(int fd, int64_t wall_us, shardy_error *err)
{
    int64_t us = wall_us < 0 ? 0 : wall_us;
    struct timespec times[2];
    times[0].tv_sec = times[1].tv_sec = (time_t)(us / 1000000);
    times[0].tv_nsec = times[1].tv_nsec = (long)(us % 1000000) * 1000;
    int failed = shardy__fault(SHARDY_FAULT_WRITE);
    if (failed) {
        errno = EIO;
    } else {
        failed = futimens(fd, times) != 0;
    }
    int e = errno;
    shardy__fault_passed(SHARDY_FAULT_WRITE);
    return failed ? shardy__error_errno(err, e, "fs", "cannot set the time of a file") : SHARDY_OK;
}
