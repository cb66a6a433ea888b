/* fs.h: files and directories, with errors that name the path and points where tests make an
 * operation fail. fs.c is where Linux is special: elsewhere its portable ways are used.
 *
 * Statuses, unless a function says more: OK; NO_SPACE (full disk, quota, file size limit),
 * EXHAUSTED (no descriptors), AUTH (permissions), IO (the rest), NOMEM. What is opened is
 * close-on-exec. All functions may be called from any thread. */
#ifndef SHARDY_BASE_FS_H
#define SHARDY_BASE_FS_H

#include "error.h"

#include <stdatomic.h>
#include <stdint.h>

/* --- paths -------------------------------------------------------------------------------- */

/* "a/b" in new memory; `b` may be empty. NOMEM. */
shardy_status shardy__path_join(const char *a, const char *b, char **path_out, shardy_error *err);
/* The absolute path without links of something that exists, in new memory. NOT_FOUND. */
shardy_status shardy__path_real(const char *path, char **real_out, shardy_error *err);

/* --- files by path: paths of the user, links are followed --------------------------------- */

/* Opens for reading. NOT_FOUND when there is none; INVALID when it is not a regular file. */
shardy_status shardy__file_open(const char *path, int *fd_out, shardy_error *err);
/* Makes a new file for reading and writing. EXISTS when there is one. */
shardy_status shardy__file_create(const char *path, uint32_t mode, int *fd_out, shardy_error *err);
/* A new file without a name in a directory, gone when it is closed. */
shardy_status shardy__file_open_unnamed(const char *dir, int *fd_out, shardy_error *err);

/* --- open files --------------------------------------------------------------------------- */

typedef enum file_kind {
    FILE_REGULAR = 1,
    FILE_DIR = 2,
    FILE_LINK = 3,
    FILE_OTHER = 4
} file_kind;

typedef struct file_info {
    file_kind kind;
    uint32_t mode; /* permission bits */
    uint64_t size;
    int64_t modified_us;
    uint64_t links;
    uint64_t inode;
} file_info;

void shardy__file_close(int fd); /* -1 is fine */
shardy_status shardy__file_stat(int fd, file_info *info_out, shardy_error *err);
shardy_status shardy__file_size(int fd, uint64_t *size_out, shardy_error *err);
/* Reads exactly `len` bytes; CORRUPT when the file ends before. */
shardy_status shardy__file_read_at(
    int fd, uint64_t offset, void *dest, size_t len, shardy_error *err);
/* Reads up to `len` bytes from where the descriptor stands (also pipes); *read_out is 0 at the
 * end. */
shardy_status shardy__file_read(
    int fd, void *dest, size_t len, size_t *read_out, shardy_error *err);
/* Write all bytes: at an offset, or where the descriptor stands. */
shardy_status shardy__file_write_at(
    int fd, uint64_t offset, const void *data, size_t len, shardy_error *err);
shardy_status shardy__file_write(int fd, const void *data, size_t len, shardy_error *err);
shardy_status shardy__file_truncate(int fd, uint64_t size, shardy_error *err);
shardy_status shardy__file_set_mode(int fd, uint32_t mode, shardy_error *err);
/* Makes the content of a file, or the entries of a directory, durable. A failure is final: what
 * the disk holds is not known any more, and asking again would only hide that. */
shardy_status shardy__file_sync(int fd, shardy_error *err);
/* A large file on its way to the disk: the pages before `gone` are on it and out of the page cache,
 * the disk was asked for those before `asked`. Start with zeros. */
typedef struct file_flow {
    uint64_t asked;
    uint64_t gone;
} file_flow;
/* Call it when a file that is written from front to back, and synced at its end, has reached a
 * length of `end` bytes: the disk works while the rest is made, little is left to sync, and the
 * page cache keeps what others read. Waits when the disk is behind. Fails as
 * shardy__file_sync(). */
shardy_status shardy__file_flow(int fd, file_flow *flow, uint64_t end, shardy_error *err);
/* Tells the system that this part of a file is not needed any more: it may read as zeros from now
 * on. No promise, and nothing that could fail. */
void shardy__file_discard(int fd, uint64_t offset, uint64_t len);
/* Maps a file for reading; *base_out is NULL for 0 bytes. Unmap takes NULL. */
shardy_status shardy__file_map(int fd, size_t len, const void **base_out, shardy_error *err);
void shardy__file_unmap(const void *base, size_t len);
/* An advisory lock of this open file description, given back when it is closed; does not wait.
 * *taken_out is 0 when somebody else holds it. */
shardy_status shardy__file_try_lock(int fd, int32_t *taken_out, shardy_error *err);
/* Gives the lock back and closes the file, also when a child process has a copy of the
 * descriptor. -1 is fine. */
void shardy__file_unlock_close(int fd);

/* Gathers small writes to a file, from where the descriptor stands, into large ones at multiples
 * of `room`. As long as no more than `room` bytes were put, nothing is written before flush, and
 * all of them are in `buf`. */
typedef struct file_writer {
    int fd; /* borrowed */
    uint8_t *buf;
    size_t len;
    size_t room;
    uint64_t size; /* bytes put */
} file_writer;

shardy_status shardy__file_writer_init(file_writer *w, int fd, size_t room, shardy_error *err);
shardy_status shardy__file_writer_put(
    file_writer *w, const void *data, size_t len, shardy_error *err);
shardy_status shardy__file_writer_flush(file_writer *w, shardy_error *err);
void shardy__file_writer_free(file_writer *w); /* does not flush */

/* --- directories -------------------------------------------------------------------------- */

/* Makes a directory and those above it that are missing. With `sync` what was made is durable. */
shardy_status shardy__dir_make(const char *path, uint32_t mode, int32_t sync, shardy_error *err);
/* Removes a directory with all below it; follows no link, goes no deeper than 24 levels. OK also
 * when there is none. */
shardy_status shardy__dir_remove(const char *path, shardy_error *err);
/* NOT_FOUND when there is nothing, INVALID when it is not a directory; follows links. */
shardy_status shardy__dir_open(const char *path, int *fd_out, shardy_error *err);
/* Bytes that can be written to the file system of a path; UINT64_MAX when it cannot be told. */
uint64_t shardy__disk_free(const char *path);
/* What kind of network file system a file or directory is on ("nfs"), or NULL when it is a local
 * one. FUSE counts as one: what is behind it cannot be told. */
const char *shardy__fs_network(int fd);
/* The same of a number of statfs(2). */
const char *shardy__fs_network_magic(uint64_t magic);

/* Calls visit() for each entry but "." and "..", in no order, until it answers something else than
 * OK, which is returned. `kind` is that of the entry itself, not of what a link points to. */
typedef shardy_status (*dir_visit_fn)(
    void *user, const char *name, file_kind kind, shardy_error *err);
shardy_status shardy__dir_each(int dir, dir_visit_fn visit, void *user, shardy_error *err);

/* --- entries of an open directory: `name` is one segment, links are never followed ---------- */

/* A new file. EXISTS; NOT_FOUND when the directory was removed. */
shardy_status shardy__at_create(
    int dir, const char *name, uint32_t mode, int *fd_out, shardy_error *err);
/* A file for writing, made when missing. INVALID when it is not a regular file. */
shardy_status shardy__at_open_or_create(
    int dir, const char *name, uint32_t mode, int *fd_out, shardy_error *err);
/* NOT_FOUND when there is none. */
shardy_status shardy__at_stat(int dir, const char *name, file_info *info_out, shardy_error *err);
/* EXISTS when there is one of that name, of any kind. NOT_FOUND when `dir` was removed. */
shardy_status shardy__at_make_dir(int dir, const char *name, uint32_t mode, shardy_error *err);
/* Removes a file; NOT_FOUND when there is none. */
shardy_status shardy__at_remove(int dir, const char *name, shardy_error *err);
/* Cleaning up: remove a file, an empty directory, a tree, if that can be done. 1 when done; for a
 * directory also when there is none. */
int shardy__at_discard(int dir, const char *name);
int shardy__at_discard_dir(int dir, const char *name);
void shardy__at_discard_tree(int dir, const char *name);

typedef enum rename_mode {
    RENAME_OVER = 0,       /* takes the place of what is there */
    RENAME_TO_NEW = 1,     /* EXISTS when there is something */
    RENAME_TO_NEW_LINK = 2 /* the same by a link and an unlink: the portable way */
} rename_mode;

typedef struct at_name {
    int dir;
    const char *name;
} at_name;

/* EXISTS; NOT_FOUND when one of the directories or `from` was removed; INVALID when a directory
 * is in the way; UNSUPPORTED when they are not on one file system. */
shardy_status shardy__at_rename(at_name from, at_name to, rename_mode mode, shardy_error *err);

/* --- below a root --------------------------------------------------------------------------- */

/* A directory that nothing leaves: paths below it have no ".." and no links. Paths are relative,
 * segments separated by single slashes; "" is the root itself where a directory is wanted. */
typedef struct fs_root {
    int fd;
    int32_t portable; /* 1: segment by segment and by link(2), without Linux's own calls */
} fs_root;

/* `portable` 0 becomes 1 where the kernel does not have, or does not allow, its own calls. */
shardy_status shardy__root_open(
    const char *path, int32_t portable, fs_root *root_out, shardy_error *err);
void shardy__root_close(fs_root *root);
/* A regular file for reading. NOT_FOUND when there is none or a directory; INVALID when a link is
 * on the way, or something else that is no regular file. */
shardy_status shardy__root_open_file(
    const fs_root *root, const char *path, int *fd_out, file_info *info_out, shardy_error *err);
/* NOT_FOUND when there is none (or a file); INVALID when a link is on the way. */
shardy_status shardy__root_open_dir(
    const fs_root *root, const char *path, int *fd_out, shardy_error *err);
/* Directories whose entries are known to be durable, by their inodes. Others may exist without
 * being it: whoever made them was stopped before he could sync them, or did not want to. The oldest
 * give way; what was forgotten is synced once more. Any thread, any time. Clear it before use. */
typedef struct durable_dirs {
    _Atomic uint64_t inodes[64];
    _Atomic uint32_t next;
} durable_dirs;

/* Opens a directory and makes it, and those above it, when missing. Unless `durable` is NULL, all
 * entries on the way are durable then. INVALID when something else is in the way. */
shardy_status shardy__root_make_dir(
    const fs_root *root, const char *path, durable_dirs *durable, int *fd_out, shardy_error *err);

#endif
