#if defined(__linux__)
#define _GNU_SOURCE /* O_TMPFILE, O_PATH */
#endif
#include "fs.h"

#include "alloc.h"
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/vfs.h>
#if defined(SYS_openat2) && defined(__has_include)
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#define HAVE_OPENAT2 1
#endif
#endif
#endif

/* Enough for scratch directories and small enough that removing a tree needs no memory. */
#define DIR_DEPTH_MAX 24
/* One system call moves at most this much (Linux stops a little below 2 GiB). */
#define IO_LEN_MAX (1u << 30)
/* openat2(2) gives up when a directory is renamed meanwhile. */
#define OPEN_TRIES_MAX 8
#define NEW_DIR_MODE   0777 /* less the umask */

#if defined(O_PATH)
#define STEP_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#else
#define STEP_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#endif
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* Not blocking on a fifo and not becoming anybody's terminal; no difference to regular files. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int fails(shardy_fault_kind kind, int error_number)
{
    if (!shardy__fault(kind)) {
        return 0;
    }
    errno = error_number;
    return 1;
}

/* Passes on the result of an operation that writes; tests may kill the process here. */
static int written(int result)
{
    int e = errno;
    shardy__fault_passed(SHARDY_FAULT_WRITE);
    errno = e;
    return result;
}

/* --- paths -------------------------------------------------------------------------------- */

shardy_status shardy__path_join(const char *a, const char *b, char **path_out, shardy_error *err)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    *path_out = NULL;
    while (a_len > 1 && a[a_len - 1] == '/') {
        a_len--;
    }
    char *path = shardy__malloc(a_len + b_len + 2);
    if (!path) {
        return shardy__error_nomem(err, "fs");
    }
    memcpy(path, a, a_len);
    size_t len = a_len;
    if (b_len) {
        if (a_len == 0 || a[a_len - 1] != '/') {
            path[len++] = '/';
        }
        memcpy(path + len, b, b_len);
    }
    path[len + b_len] = '\0';
    *path_out = path;
    return SHARDY_OK;
}

shardy_status shardy__path_real(const char *path, char **real_out, shardy_error *err)
{
    *real_out = NULL;
    char buf[PATH_MAX];
    char *real = fails(SHARDY_FAULT_READ, EIO) ? NULL : realpath(path, buf);
    if (!real) {
        int e = errno;
        return e == ENOENT || e == ENOTDIR
                   ? SHARDY_NOT_FOUND
                   : shardy__error_errno(err, e, "fs", "cannot resolve \"%.300s\"", path);
    }
    *real_out = shardy__strdup(real);
    return *real_out ? SHARDY_OK : shardy__error_nomem(err, "fs");
}

/* --- files by path ------------------------------------------------------------------------ */

/* open(2) with the patience it needs on file systems that can be interrupted. */
static int open_at(int dir, const char *path, int flags, uint32_t mode)
{
    int fd;
    do {
        fd = openat(dir, path, flags, (mode_t)mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

shardy_status shardy__file_open(const char *path, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    int fd = fails(SHARDY_FAULT_READ, EIO) ? -1 : open_at(AT_FDCWD, path, READ_FLAGS, 0);
    if (fd < 0) {
        int e = errno;
        return e == ENOENT || e == ENOTDIR
                   ? SHARDY_NOT_FOUND
                   : shardy__error_errno(err, e, "fs", "cannot open \"%.300s\"", path);
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a regular file", path);
    }
    *fd_out = fd;
    return SHARDY_OK;
}

shardy_status shardy__file_create(const char *path, uint32_t mode, int *fd_out, shardy_error *err)
{
    return shardy__at_create(AT_FDCWD, path, mode, fd_out, err);
}

shardy_status shardy__file_open_unnamed(const char *dir, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    if (fails(SHARDY_FAULT_WRITE, ENOSPC)) {
        return shardy__error_errno(err, errno, "fs", "cannot create a file in \"%.300s\"", dir);
    }
#if defined(O_TMPFILE)
    int fd = written(open_at(AT_FDCWD, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd >= 0) {
        *fd_out = fd;
        return SHARDY_OK;
    }
#endif
    /* File systems without unnamed files: a name that is given up at once. */
    char *path = NULL;
    SHARDY_TRY(shardy__path_join(dir, "spool-XXXXXX", &path, err));
    int named = mkstemp(path);
    int e = errno;
    if (named >= 0) {
        unlink(path);
        fcntl(named, F_SETFD, FD_CLOEXEC);
    }
    shardy__free(path);
    if (named < 0) {
        return shardy__error_errno(err, e, "fs", "cannot create a file in \"%.300s\"", dir);
    }
    *fd_out = named;
    return SHARDY_OK;
}

/* --- open files --------------------------------------------------------------------------- */

void shardy__file_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static file_kind kind_of(mode_t mode)
{
    if (S_ISREG(mode)) {
        return FILE_REGULAR;
    }
    if (S_ISDIR(mode)) {
        return FILE_DIR;
    }
    return S_ISLNK(mode) ? FILE_LINK : FILE_OTHER;
}

static void fill_info(const struct stat *st, file_info *info)
{
#if defined(__APPLE__)
    struct timespec modified = st->st_mtimespec;
#else
    struct timespec modified = st->st_mtim;
#endif
    info->kind = kind_of(st->st_mode);
    info->mode = (uint32_t)st->st_mode & 07777u;
    info->size = (uint64_t)st->st_size;
    info->modified_us = (int64_t)modified.tv_sec * 1000000 + modified.tv_nsec / 1000;
    info->links = (uint64_t)st->st_nlink;
    info->inode = (uint64_t)st->st_ino;
}

shardy_status shardy__file_stat(int fd, file_info *info_out, shardy_error *err)
{
    struct stat st;
    memset(info_out, 0, sizeof *info_out);
    if (fails(SHARDY_FAULT_READ, EIO) || fstat(fd, &st) != 0) {
        return shardy__error_errno(err, errno, "fs", "cannot look at an open file");
    }
    fill_info(&st, info_out);
    return SHARDY_OK;
}

shardy_status shardy__file_size(int fd, uint64_t *size_out, shardy_error *err)
{
    file_info info;
    shardy_status st = shardy__file_stat(fd, &info, err);
    *size_out = info.size;
    return st;
}

static shardy_status check_range(uint64_t offset, size_t len, shardy_error *err)
{
    uint64_t end;
    if (!shardy__add_u64(offset, len, &end) || end > INT64_MAX) {
        return shardy__error(err, SHARDY_INVALID, "fs",
            "%zu bytes at offset %llu are beyond what a file can hold", len,
            (unsigned long long)offset);
    }
    return SHARDY_OK;
}

shardy_status shardy__file_read_at(
    int fd, uint64_t offset, void *dest, size_t len, shardy_error *err)
{
    uint8_t *p = dest;
    SHARDY_TRY(check_range(offset, len, err));
    while (len > 0) {
        ssize_t n = fails(SHARDY_FAULT_READ, EIO)
                        ? -1
                        : pread(fd, p, len < IO_LEN_MAX ? len : IO_LEN_MAX, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return shardy__error_errno(err, errno, "fs", "cannot read");
        }
        if (n == 0) {
            return shardy__error(err, SHARDY_CORRUPT, "fs",
                "a file ended at byte %llu, %zu more were expected", (unsigned long long)offset,
                len);
        }
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return SHARDY_OK;
}

shardy_status shardy__file_read(int fd, void *dest, size_t len, size_t *read_out, shardy_error *err)
{
    *read_out = 0;
    if (fails(SHARDY_FAULT_READ, EIO)) {
        return shardy__error_errno(err, errno, "fs", "cannot read");
    }
    ssize_t n;
    do {
        n = read(fd, dest, len < IO_LEN_MAX ? len : IO_LEN_MAX);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return shardy__error_errno(err, errno, "fs", "cannot read");
    }
    *read_out = (size_t)n;
    return SHARDY_OK;
}

/* Writes all bytes; where the descriptor stands when `offset` is NULL. */
static shardy_status write_all(
    int fd, const uint64_t *offset, const void *data, size_t len, shardy_error *err)
{
    const uint8_t *p = data;
    uint64_t at = offset ? *offset : 0;
    SHARDY_TRY(check_range(at, len, err));
    while (len > 0) {
        size_t part = len < IO_LEN_MAX ? len : IO_LEN_MAX;
        ssize_t n = -1;
        if (!fails(SHARDY_FAULT_WRITE, ENOSPC)) {
            n = offset ? pwrite(fd, p, part, (off_t)at) : write(fd, p, part);
            written(0);
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return shardy__error_errno(err, n < 0 ? errno : EIO, "fs", "cannot write");
        }
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return SHARDY_OK;
}

shardy_status shardy__file_write_at(
    int fd, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    return write_all(fd, &offset, data, len, err);
}

shardy_status shardy__file_write(int fd, const void *data, size_t len, shardy_error *err)
{
    return write_all(fd, NULL, data, len, err);
}

shardy_status shardy__file_truncate(int fd, uint64_t size, shardy_error *err)
{
    SHARDY_TRY(check_range(size, 0, err));
    if (fails(SHARDY_FAULT_WRITE, ENOSPC) || written(ftruncate(fd, (off_t)size)) != 0) {
        return shardy__error_errno(
            err, errno, "fs", "cannot make a file %llu bytes long", (unsigned long long)size);
    }
    return SHARDY_OK;
}

shardy_status shardy__file_set_mode(int fd, uint32_t mode, shardy_error *err)
{
    if (fails(SHARDY_FAULT_WRITE, EIO) || written(fchmod(fd, (mode_t)mode)) != 0) {
        return shardy__error_errno(err, errno, "fs", "cannot set the permissions of a file");
    }
    return SHARDY_OK;
}

shardy_status shardy__file_sync(int fd, shardy_error *err)
{
    int result;
    do {
        result = fails(SHARDY_FAULT_WRITE, EIO) ? -1 : written(fsync(fd));
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        return shardy__error_errno(err, errno, "fs", "cannot sync");
    }
    return SHARDY_OK;
}

/* Parts of a file that goes to the disk while it grows: as large as keeps a disk busy. */
#define FLOW_LEN (4u << 20)

#if defined(__linux__)
/* Two parts behind the end, the disk has had time: waits for what it still has to do. The wait
 * takes the failure of a write away from the next fsync(), so it has to be told here. */
static shardy_status flow_out(int fd, uint64_t offset, uint64_t len, shardy_error *err)
{
    int result = fails(SHARDY_FAULT_WRITE, EIO)
                     ? -1
                     : written(sync_file_range(fd, (off_t)offset, (off_t)len,
                           SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                               SYNC_FILE_RANGE_WAIT_AFTER));
    if (result == 0) {
        (void)posix_fadvise(fd, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    } else if (errno != ENOSYS && errno != EINVAL && errno != ESPIPE) { /* those: not here */
        return shardy__error_errno(err, errno, "fs", "cannot write to the disk");
    }
    return SHARDY_OK;
}
#endif

shardy_status shardy__file_flow(int fd, file_flow *flow, uint64_t end, shardy_error *err)
{
#if defined(__linux__)
    if (end < flow->asked + FLOW_LEN) {
        return SHARDY_OK;
    }
    if (flow->asked >= flow->gone + 2 * FLOW_LEN) {
        SHARDY_TRY(flow_out(fd, flow->gone, flow->asked - flow->gone, err));
        flow->gone = flow->asked;
    }
    shardy__fault_mark(SHARDY_FAULT_WRITE);
    (void)written(
        sync_file_range(fd, (off_t)flow->asked, (off_t)(end - flow->asked), SYNC_FILE_RANGE_WRITE));
    flow->asked = end;
#else
    (void)fd;
    (void)flow;
    (void)end;
    (void)err;
#endif
    return SHARDY_OK;
}

void shardy__file_discard(int fd, uint64_t offset, uint64_t len)
{
#if defined(FALLOC_FL_PUNCH_HOLE)
    shardy__fault_mark(SHARDY_FAULT_WRITE);
    (void)written(
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len));
#else
    (void)fd;
    (void)offset;
    (void)len;
#endif
}

shardy_status shardy__file_map(int fd, size_t len, const void **base_out, shardy_error *err)
{
    *base_out = NULL;
    if (len == 0) {
        return SHARDY_OK;
    }
    void *base = MAP_FAILED;
    if (!fails(SHARDY_FAULT_READ, ENODEV)) {
        base = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (base == MAP_FAILED) {
        return shardy__error_errno(err, errno, "fs", "cannot map a file of %zu bytes", len);
    }
    *base_out = base;
    return SHARDY_OK;
}

void shardy__file_unmap(const void *base, size_t len)
{
    if (base) {
        munmap((void *)(uintptr_t)base, len);
    }
}

shardy_status shardy__file_try_lock(int fd, int32_t *taken_out, shardy_error *err)
{
    *taken_out = 0;
    int result;
    do {
        result = fails(SHARDY_FAULT_READ, EIO) ? -1 : flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EWOULDBLOCK) {
        return shardy__error_errno(err, errno, "fs", "cannot lock a file");
    }
    *taken_out = result == 0;
    return SHARDY_OK;
}

void shardy__file_unlock_close(int fd)
{
    if (fd >= 0) {
        flock(fd, LOCK_UN);
        close(fd);
    }
}

shardy_status shardy__file_writer_init(file_writer *w, int fd, size_t room, shardy_error *err)
{
    memset(w, 0, sizeof *w);
    w->fd = fd;
    w->room = room;
    w->buf = shardy__malloc(room);
    return w->buf ? SHARDY_OK : shardy__error_nomem(err, "fs");
}

shardy_status shardy__file_writer_put(
    file_writer *w, const void *data, size_t len, shardy_error *err)
{
    const uint8_t *p = data;
    w->size += len;
    while (len > 0) {
        if (w->len == w->room) {
            SHARDY_TRY(shardy__file_writer_flush(w, err));
        }
        if (w->len == 0 && len > w->room) {
            size_t whole = len - len % w->room;
            SHARDY_TRY(shardy__file_write(w->fd, p, whole, err));
            p += whole;
            len -= whole;
            continue;
        }
        size_t part = w->room - w->len < len ? w->room - w->len : len;
        memcpy(w->buf + w->len, p, part);
        w->len += part;
        p += part;
        len -= part;
    }
    return SHARDY_OK;
}

shardy_status shardy__file_writer_flush(file_writer *w, shardy_error *err)
{
    SHARDY_TRY(shardy__file_write(w->fd, w->buf, w->len, err));
    w->len = 0;
    return SHARDY_OK;
}

void shardy__file_writer_free(file_writer *w)
{
    shardy__free(w->buf);
    memset(w, 0, sizeof *w);
    w->fd = -1;
}

/* --- directories -------------------------------------------------------------------------- */

static shardy_status make_one(const char *path, uint32_t mode, shardy_error *err)
{
    if (fails(SHARDY_FAULT_WRITE, ENOSPC) || written(mkdir(path, (mode_t)mode)) != 0) {
        int e = errno;
        struct stat st;
        if (e == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            return SHARDY_OK;
        }
        return shardy__error_errno(err, e, "fs", "cannot make the directory \"%.300s\"", path);
    }
    return SHARDY_OK;
}

/* Makes the entry of a directory durable. `path` is as it was on return. */
static shardy_status sync_entry(char *path, shardy_error *err)
{
    int fd;
    char *slash = strrchr(path, '/');
    const char *parent = slash ? path : ".";
    char *end = slash == path ? path + 1 : slash;
    char kept = end ? *end : '\0';
    if (end) {
        *end = '\0';
    }
    shardy_status st = shardy__dir_open(parent, &fd, err);
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__error(err, SHARDY_IO, "fs", "\"%.300s\" has been removed", parent);
    }
    if (st == SHARDY_OK) {
        st = shardy__file_sync(fd, err);
        shardy__file_close(fd);
    }
    if (end) {
        *end = kept;
    }
    return st;
}

static shardy_status make_and_sync(char *path, uint32_t mode, int32_t sync, shardy_error *err)
{
    shardy_status st = make_one(path, mode, err);
    return st == SHARDY_OK && sync ? sync_entry(path, err) : st;
}

shardy_status shardy__dir_make(const char *path, uint32_t mode, int32_t sync, shardy_error *err)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        return SHARDY_OK;
    }
    char *copy = shardy__strdup(path);
    if (!copy) {
        return shardy__error_nomem(err, "fs");
    }
    shardy_status st = SHARDY_OK;
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/') {
        copy[--len] = '\0';
    }
    for (char *p = copy + 1; st >= 0 && len > 0 && *p; p++) {
        if (*p == '/' && p[-1] != '/') {
            *p = '\0';
            if (stat(copy, &info) != 0) {
                st = make_and_sync(copy, mode, sync, err);
            }
            *p = '/';
        }
    }
    if (st >= 0) {
        st = make_and_sync(copy, mode, sync, err);
    }
    shardy__free(copy);
    return st;
}

/* Opens a directory below another without following links. */
static DIR *open_dir_at(int parent, const char *name)
{
    int fd = open_at(parent, name, DIR_FLAGS, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !dir) {
        close(fd);
    }
    return dir;
}

typedef struct tree_level {
    DIR *dir;
    char name[256];
} tree_level;

/* Removes the entries of the deepest open directory; returns 1 when it found another to go into. */
static int remove_entries(tree_level *level, tree_level *next)
{
    struct dirent *entry;
    while ((entry = readdir(level->dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            shardy__at_discard(dirfd(level->dir), entry->d_name)) {
            continue;
        }
        next->dir = open_dir_at(dirfd(level->dir), entry->d_name);
        if (next->dir) {
            snprintf(next->name, sizeof next->name, "%s", entry->d_name);
            return 1;
        }
    }
    return 0;
}

/* Removes what is below a directory, as far as that can be done. */
static void empty_tree(int parent, const char *name)
{
    tree_level levels[DIR_DEPTH_MAX];
    int depth = 0;
    levels[0].dir = open_dir_at(parent, name);
    if (levels[0].dir) {
        depth = 1;
    }
    while (depth > 0) {
        tree_level *level = &levels[depth - 1];
        if (depth < DIR_DEPTH_MAX && remove_entries(level, &levels[depth])) {
            depth++;
            continue;
        }
        closedir(level->dir);
        depth--;
        if (depth > 0) {
            shardy__at_discard_dir(dirfd(levels[depth - 1].dir), level->name);
        }
    }
}

shardy_status shardy__dir_remove(const char *path, shardy_error *err)
{
    empty_tree(AT_FDCWD, path);
    shardy__fault_mark(SHARDY_FAULT_WRITE);
    if (written(rmdir(path)) != 0 && errno != ENOENT) {
        return shardy__error_errno(err, errno, "fs", "cannot remove \"%.300s\"", path);
    }
    return SHARDY_OK;
}

shardy_status shardy__dir_open(const char *path, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = fails(SHARDY_FAULT_READ, EIO) ? -1 : open_at(AT_FDCWD, path, flags, 0);
    if (fd < 0) {
        int e = errno;
        if (e == ENOENT) {
            return SHARDY_NOT_FOUND;
        }
        if (e == ENOTDIR) {
            return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a directory", path);
        }
        return shardy__error_errno(err, e, "fs", "cannot open the directory \"%.300s\"", path);
    }
    *fd_out = fd;
    return SHARDY_OK;
}

uint64_t shardy__disk_free(const char *path)
{
    struct statvfs st;
    uint64_t bytes;
    if (statvfs(path, &st) != 0 ||
        !shardy__mul_u64((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, &bytes)) {
        return UINT64_MAX;
    }
    return bytes;
}

const char *shardy__fs_network_magic(uint64_t magic)
{
    /* f_type of statfs(2): linux/magic.h, and those that are only in their own sources. */
    static const struct {
        uint32_t magic;
        const char *name;
    } table[] = {
        {0x00006969u, "nfs"},
        {0x0000517Bu, "smb"},
        {0xFF534D42u, "cifs"},
        {0xFE534D42u, "smb2"},
        {0x65735546u, "fuse"},
        {0x01021997u, "9p"},
        {0x00C36400u, "ceph"},
        {0x5346414Fu, "afs"},
        {0x6B414653u, "kafs"},
        {0x73757245u, "coda"},
        {0x0BD00BD0u, "lustre"},
        {0x47504653u, "gpfs"},
        {0x20030528u, "orangefs"},
        {0xAAD7AAEAu, "panfs"},
        {0x786F4256u, "vboxsf"},
        {0x0000564Cu, "ncp"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].magic == (uint32_t)magic) {
            return table[i].name;
        }
    }
    return NULL;
}

const char *shardy__fs_network(int fd)
{
#if defined(__linux__)
    struct statfs st;
    return fstatfs(fd, &st) == 0 ? shardy__fs_network_magic((uint64_t)st.f_type) : NULL;
#elif defined(__APPLE__)
    struct statfs st;
    return fstatfs(fd, &st) == 0 && !(st.f_flags & MNT_LOCAL) ? "network" : NULL;
#else
    (void)fd;
    return NULL;
#endif
}

static file_kind entry_kind(int dir, const struct dirent *entry)
{
#if defined(DT_UNKNOWN)
    switch (entry->d_type) {
    case DT_REG:
        return FILE_REGULAR;
    case DT_DIR:
        return FILE_DIR;
    case DT_LNK:
        return FILE_LINK;
    case DT_UNKNOWN:
        break;
    default:
        return FILE_OTHER;
    }
#endif
    struct stat st;
    return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? kind_of(st.st_mode)
                                                                      : FILE_OTHER;
}

shardy_status shardy__dir_each(int dir, dir_visit_fn visit, void *user, shardy_error *err)
{
    /* A description of its own: the position of a shared one would be shared too. */
    DIR *stream = fails(SHARDY_FAULT_READ, EIO) ? NULL : open_dir_at(dir, ".");
    if (!stream) {
        return shardy__error_errno(err, errno, "fs", "cannot list a directory");
    }
    shardy_status st = SHARDY_OK;
    while (st == SHARDY_OK) {
        errno = 0;
        struct dirent *entry = fails(SHARDY_FAULT_READ, EIO) ? NULL : readdir(stream);
        if (!entry) {
            if (errno != 0) {
                st = shardy__error_errno(err, errno, "fs", "cannot list a directory");
            }
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            st = visit(user, entry->d_name, entry_kind(dirfd(stream), entry), err);
        }
    }
    closedir(stream);
    return st;
}

/* --- entries of an open directory ----------------------------------------------------------- */

shardy_status shardy__at_create(
    int dir, const char *name, uint32_t mode, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = fails(SHARDY_FAULT_WRITE, ENOSPC) ? -1 : written(open_at(dir, name, flags, mode));
    if (fd < 0) {
        int e = errno;
        if (e == EEXIST) {
            return shardy__error(err, SHARDY_EXISTS, "fs", "\"%.300s\" exists", name);
        }
        if (e == ENOENT && dir != AT_FDCWD) {
            return SHARDY_NOT_FOUND;
        }
        return shardy__error_errno(err, e, "fs", "cannot create \"%.300s\"", name);
    }
    *fd_out = fd;
    return SHARDY_OK;
}

shardy_status shardy__at_open_or_create(
    int dir, const char *name, uint32_t mode, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = fails(SHARDY_FAULT_WRITE, ENOSPC) ? -1 : written(open_at(dir, name, flags, mode));
    if (fd < 0 && errno != ELOOP && errno != EISDIR && errno != ENXIO) {
        return shardy__error_errno(err, errno, "fs", "cannot open \"%.300s\"", name);
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        shardy__file_close(fd);
        return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a regular file", name);
    }
    *fd_out = fd;
    return SHARDY_OK;
}

shardy_status shardy__at_stat(int dir, const char *name, file_info *info_out, shardy_error *err)
{
    struct stat st;
    memset(info_out, 0, sizeof *info_out);
    if (fails(SHARDY_FAULT_READ, EIO) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        int e = errno;
        return e == ENOENT || e == ENAMETOOLONG
                   ? SHARDY_NOT_FOUND
                   : shardy__error_errno(err, e, "fs", "cannot look at \"%.300s\"", name);
    }
    fill_info(&st, info_out);
    return SHARDY_OK;
}

shardy_status shardy__at_make_dir(int dir, const char *name, uint32_t mode, shardy_error *err)
{
    if (!fails(SHARDY_FAULT_WRITE, ENOSPC) && written(mkdirat(dir, name, (mode_t)mode)) == 0) {
        return SHARDY_OK;
    }
    int e = errno;
    if (e == EEXIST) {
        return shardy__error(err, SHARDY_EXISTS, "fs", "\"%.300s\" exists", name);
    }
    if (e == ENOENT) {
        return SHARDY_NOT_FOUND;
    }
    return shardy__error_errno(err, e, "fs", "cannot make the directory \"%.300s\"", name);
}

shardy_status shardy__at_remove(int dir, const char *name, shardy_error *err)
{
    if (fails(SHARDY_FAULT_WRITE, EIO) || written(unlinkat(dir, name, 0)) != 0) {
        int e = errno;
        return e == ENOENT ? SHARDY_NOT_FOUND
                           : shardy__error_errno(err, e, "fs", "cannot remove \"%.300s\"", name);
    }
    return SHARDY_OK;
}

int shardy__at_discard(int dir, const char *name)
{
    shardy__fault_mark(SHARDY_FAULT_WRITE);
    return written(unlinkat(dir, name, 0)) == 0 || errno == ENOENT;
}

int shardy__at_discard_dir(int dir, const char *name)
{
    shardy__fault_mark(SHARDY_FAULT_WRITE);
    return written(unlinkat(dir, name, AT_REMOVEDIR)) == 0 || errno == ENOENT;
}

void shardy__at_discard_tree(int dir, const char *name)
{
    empty_tree(dir, name);
    shardy__at_discard_dir(dir, name);
}

/* Gives a file a second name and takes the first away. link(2) never replaces anything. */
static int rename_by_link(at_name from, at_name to)
{
    int result = written(linkat(from.dir, from.name, to.dir, to.name, 0));
    if (result == 0) {
        shardy__at_discard(from.dir, from.name);
    }
    return result;
}

static int rename_to_new(at_name from, at_name to)
{
#if defined(SYS_renameat2)
    unsigned no_replace = 1; /* RENAME_NOREPLACE */
    int result =
        (int)written((int)syscall(SYS_renameat2, from.dir, from.name, to.dir, to.name, no_replace));
    if (result == 0 || (errno != EINVAL && errno != ENOSYS && errno != EPERM)) {
        return result;
    }
    /* Not on this file system, or not in this sandbox. */
#endif
    return rename_by_link(from, to);
}

shardy_status shardy__at_rename(at_name from, at_name to, rename_mode mode, shardy_error *err)
{
    int result = -1;
    if (!fails(SHARDY_FAULT_WRITE, ENOSPC)) {
        if (mode == RENAME_OVER) {
            result = written(renameat(from.dir, from.name, to.dir, to.name));
        } else {
            result = mode == RENAME_TO_NEW ? rename_to_new(from, to) : rename_by_link(from, to);
        }
    }
    if (result == 0) {
        return SHARDY_OK;
    }
    int e = errno;
    switch (e) {
    case ENOENT:
        return SHARDY_NOT_FOUND;
    case EXDEV:
        return shardy__error(err, SHARDY_UNSUPPORTED, "fs",
            "\"%.300s\" and \"%.300s\" are not on one file system", from.name, to.name);
    case EISDIR:
    case ENOTDIR:
        return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is a directory", to.name);
    case EEXIST:
    case ENOTEMPTY:
        return shardy__error(err, SHARDY_EXISTS, "fs", "\"%.300s\" exists", to.name);
    default:
        return shardy__error_errno(err, e, "fs", "cannot rename to \"%.300s\"", to.name);
    }
}

/* --- below a root --------------------------------------------------------------------------- */

/* The length of the segment at the start; -1 when it is none that may be in a path. */
static int segment_len(const char *path)
{
    size_t len = strcspn(path, "/");
    if (len == 0 || len > 255 || (len == 1 && path[0] == '.') ||
        (len == 2 && path[0] == '.' && path[1] == '.')) {
        return -1;
    }
    return (int)len;
}

/* 0, or the errno of a path that may not be used below a root. The kernel is not asked about it:
 * it would accept "a/../b". */
static int path_problem(const char *path)
{
    while (*path) {
        size_t len = strcspn(path, "/");
        if (len > 255) {
            return ENAMETOOLONG;
        }
        if (segment_len(path) < 0 || (path[len] == '/' && path[len + 1] == '\0')) {
            return EXDEV;
        }
        path += len + (path[len] == '/');
    }
    return 0;
}

/* With O_NOFOLLOW and O_DIRECTORY a link is ENOTDIR; say what it is. */
static int open_step(int dir, const char *name, int flags)
{
    int fd = open_at(dir, name, flags | O_NOFOLLOW, 0);
    if (fd < 0 && errno == ENOTDIR) {
        struct stat st;
        int e = errno;
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
            e = ELOOP;
        }
        errno = e;
    }
    return fd;
}

/* Opens a path segment by segment; each must be a directory and no link. */
static int open_by_steps(int root, const char *path, int flags)
{
    int dir = root;
    int fd = -1;
    while (*path) {
        char name[256];
        int len = segment_len(path);
        memcpy(name, path, (size_t)len);
        name[len] = '\0';
        path += len;
        int last = *path == '\0';
        fd = open_step(dir, name, last ? flags : STEP_FLAGS);
        int e = errno;
        if (dir != root) {
            close(dir);
        }
        errno = e;
        if (fd < 0 || last) {
            break;
        }
        dir = fd;
        path++;
    }
    return fd;
}

#if defined(HAVE_OPENAT2)
static int open_by_kernel(int root, const char *path, int flags)
{
    struct open_how how;
    memset(&how, 0, sizeof how);
    /* Without O_NOFOLLOW, with which a link in place of a directory would be ENOTDIR and not ELOOP:
     * no link is followed either way. */
    how.flags = (uint64_t)(unsigned)(flags & ~O_NOFOLLOW);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    for (int i = 0; i < OPEN_TRIES_MAX; i++) {
        int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) {
            return fd;
        }
    }
    return open_by_steps(root, path, flags);
}
#endif

static int open_below(const fs_root *root, const char *path, int flags)
{
    errno = path_problem(path);
    if (errno != 0) {
        return -1;
    }
    if (*path == '\0') {
        return open_at(root->fd, ".", flags, 0);
    }
#if defined(HAVE_OPENAT2)
    if (!root->portable) {
        return open_by_kernel(root->fd, path, flags);
    }
#endif
    return open_by_steps(root->fd, path, flags);
}

static shardy_status below_error(int e, const char *path, shardy_error *err)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return SHARDY_NOT_FOUND;
    case ELOOP:
        return shardy__error(err, SHARDY_INVALID, "fs",
            "\"%.300s\" is reached by a symbolic link, which is not followed", path);
    case EXDEV:
        return shardy__error(
            err, SHARDY_INVALID, "fs", "\"%.300s\" is no path below its root", path);
    case ENXIO: /* a socket, a device that is not there */
        return shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a regular file", path);
    default:
        return shardy__error_errno(err, e, "fs", "cannot open \"%.300s\"", path);
    }
}

shardy_status shardy__root_open(
    const char *path, int32_t portable, fs_root *root_out, shardy_error *err)
{
    root_out->portable = portable;
    shardy_status st = shardy__dir_open(path, &root_out->fd, err);
    if (st != SHARDY_OK) {
        return st;
    }
#if defined(HAVE_OPENAT2)
    int probe = portable ? -1 : open_by_kernel(root_out->fd, ".", DIR_FLAGS);
    if (probe < 0) {
        root_out->portable = 1;
    }
    shardy__file_close(probe);
#else
    root_out->portable = 1;
#endif
    return SHARDY_OK;
}

void shardy__root_close(fs_root *root)
{
    shardy__file_close(root->fd);
    root->fd = -1;
}

shardy_status shardy__root_open_file(
    const fs_root *root, const char *path, int *fd_out, file_info *info_out, shardy_error *err)
{
    *fd_out = -1;
    memset(info_out, 0, sizeof *info_out);
    int fd = fails(SHARDY_FAULT_READ, EIO) ? -1 : open_below(root, path, READ_FLAGS);
    if (fd < 0) {
        return below_error(errno, path, err);
    }
    shardy_status st = shardy__file_stat(fd, info_out, err);
    if (st >= 0 && info_out->kind == FILE_DIR) {
        st = SHARDY_NOT_FOUND;
    } else if (st >= 0 && info_out->kind != FILE_REGULAR) {
        st = shardy__error(err, SHARDY_INVALID, "fs", "\"%.300s\" is not a regular file", path);
    }
    if (st != SHARDY_OK) {
        close(fd);
        return st;
    }
    *fd_out = fd;
    return SHARDY_OK;
}

shardy_status shardy__root_open_dir(
    const fs_root *root, const char *path, int *fd_out, shardy_error *err)
{
    int fd = fails(SHARDY_FAULT_READ, EIO) ? -1 : open_below(root, path, DIR_FLAGS);
    *fd_out = fd;
    return fd < 0 ? below_error(errno, path, err) : SHARDY_OK;
}

static int is_durable(const durable_dirs *durable, uint64_t inode)
{
    for (size_t i = 0; i < sizeof durable->inodes / sizeof durable->inodes[0]; i++) {
        if (atomic_load_explicit(&durable->inodes[i], memory_order_relaxed) == inode) {
            return 1;
        }
    }
    return 0;
}

/* Makes the entry of a directory `fd` in `dir` durable, unless it is known to be. */
static shardy_status make_durable(
    int dir, int fd, int made, durable_dirs *durable, shardy_error *err)
{
    file_info info;
    SHARDY_TRY(shardy__file_stat(fd, &info, err));
    if (!made && is_durable(durable, info.inode)) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__file_sync(dir, err));
    uint32_t at = atomic_fetch_add_explicit(&durable->next, 1, memory_order_relaxed);
    atomic_store_explicit(
        &durable->inodes[at % (sizeof durable->inodes / sizeof durable->inodes[0])], info.inode,
        memory_order_relaxed);
    return SHARDY_OK;
}

/* Opens one segment, making it when it is missing. */
static shardy_status enter_dir(
    int dir, const char *name, durable_dirs *durable, int *fd_out, shardy_error *err)
{
    int made = 0;
    int fd = open_step(dir, name, DIR_FLAGS);
    if (fd < 0 && errno == ENOENT) {
        shardy_status st = shardy__at_make_dir(dir, name, NEW_DIR_MODE, err);
        if (st != SHARDY_OK && st != SHARDY_EXISTS) {
            return st;
        }
        made = st == SHARDY_OK;
        fd = open_step(dir, name, DIR_FLAGS);
    }
    if (fd >= 0 && durable) {
        shardy_status st = make_durable(dir, fd, made, durable, err);
        if (st < 0) {
            close(fd);
            return st;
        }
    }
    *fd_out = fd;
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) {
        return shardy__error(err, SHARDY_INVALID, "fs",
            "\"%.300s\" is a %s, a directory is needed there", name,
            errno == ELOOP ? "symbolic link" : "file");
    }
    if (fd < 0 && errno == ENOENT) {
        return SHARDY_NOT_FOUND;
    }
    return fd < 0 ? shardy__error_errno(err, errno, "fs", "cannot open \"%.300s\"", name)
                  : SHARDY_OK;
}

shardy_status shardy__root_make_dir(
    const fs_root *root, const char *path, durable_dirs *durable, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    int problem = path_problem(path);
    if (problem == ENAMETOOLONG) {
        return shardy__error_errno(err, problem, "fs", "cannot make \"%.300s\"", path);
    }
    if (problem != 0) {
        return below_error(problem, path, err);
    }
    int dir = -1;
    shardy_status st = SHARDY_OK;
    if (*path == '\0') {
        return shardy__root_open_dir(root, path, fd_out, err);
    }
    while (st == SHARDY_OK && *path) {
        char name[256];
        int len = segment_len(path);
        memcpy(name, path, (size_t)len);
        name[len] = '\0';
        path += len + (path[len] == '/');
        int next = -1;
        st = enter_dir(dir < 0 ? root->fd : dir, name, durable, &next, err);
        shardy__file_close(dir);
        dir = next;
    }
    *fd_out = dir;
    return st;
}
