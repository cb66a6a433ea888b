#if defined(__linux__)
#define _GNU_SOURCE
#endif
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
    unsigned kinds;
    uint64_t nth;
    int persistent;
    call_fate fate;
    int error_number;
    uint64_t seen;
    uint64_t met;
} plan;

/* Inodes are used again once a file is gone, numbers are not. */
typedef struct known_object {
    uint64_t inode;
    uint64_t number;
} known_object;

static struct {
    int on;
    call_log log;
    size_t room;
    known_object *objects;
    size_t object_count;
    size_t object_room;
    uint64_t next_number;
} recorder;

/* --- what happens to a call ------------------------------------------------------------------- */

void calls_set(unsigned kinds, uint64_t nth, int persistent, call_fate fate, int error_number)
{
    pthread_mutex_lock(&lock);
    plan.kinds = kinds;
    plan.nth = nth;
    plan.persistent = persistent;
    plan.fate = fate;
    plan.error_number = error_number;
    plan.seen = plan.met = 0;
    pthread_mutex_unlock(&lock);
}

void calls_counts(uint64_t *seen_out, uint64_t *met_out)
{
    pthread_mutex_lock(&lock);
    *seen_out = plan.seen;
    *met_out = plan.met;
    pthread_mutex_unlock(&lock);
}

/* Called with the lock. A fate that is not DONE has set errno. */
static call_fate fate_of(call_kind kind)
{
    if (!(plan.kinds & CALL_BIT(kind))) {
        return CALL_DONE;
    }
    plan.seen++;
    if (plan.nth == 0 || plan.seen < plan.nth || (plan.seen > plan.nth && !plan.persistent)) {
        return CALL_DONE;
    }
    if (plan.fate == CALL_SHORT && kind != CALL_WRITE) {
        return CALL_DONE;
    }
    plan.met++;
    errno = plan.fate == CALL_INTERRUPTED ? EINTR : plan.error_number;
    return plan.fate;
}

/* --- recording -------------------------------------------------------------------------------- */

static void *grow(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return items;
    }
    *room = *room ? 2 * *room : 256;
    void *more = realloc(items, *room * size);
    if (!more) {
        abort();
    }
    return more;
}

static uint64_t add_object(uint64_t inode)
{
    recorder.objects = grow(
        recorder.objects, recorder.object_count, &recorder.object_room, sizeof *recorder.objects);
    recorder.objects[recorder.object_count].inode = inode;
    recorder.objects[recorder.object_count].number = ++recorder.next_number;
    recorder.object_count++;
    return recorder.next_number;
}

uint64_t calls_object(uint64_t inode)
{
    for (size_t i = recorder.object_count; i > 0; i--) {
        if (recorder.objects[i - 1].inode == inode) {
            return recorder.objects[i - 1].number;
        }
    }
    return add_object(inode);
}

void calls_record_start(void)
{
    pthread_mutex_lock(&lock);
    recorder.log.records = NULL;
    recorder.log.count = recorder.room = 0;
    recorder.on = 1;
    pthread_mutex_unlock(&lock);
}

void calls_record_stop(call_log *log_out)
{
    pthread_mutex_lock(&lock);
    *log_out = recorder.log;
    recorder.on = 0;
    free(recorder.objects);
    recorder.objects = NULL;
    recorder.object_count = recorder.object_room = 0;
    pthread_mutex_unlock(&lock);
}

void calls_log_free(call_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        free(log->records[i].data);
    }
    free(log->records);
    memset(log, 0, sizeof *log);
}

static call_record *add_record(call_kind kind)
{
    recorder.log.records = grow(
        recorder.log.records, recorder.log.count, &recorder.room, sizeof *recorder.log.records);
    call_record *r = &recorder.log.records[recorder.log.count++];
    memset(r, 0, sizeof *r);
    r->kind = kind;
    return r;
}

/* The directory and the name of a path that is relative to an open directory. */
static uint64_t split(int dir, const char *path, char name[256])
{
    char parent[4096];
    struct stat st;
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len >= sizeof parent || strlen(slash ? slash + 1 : path) > 255) {
        abort();
    }
    memcpy(parent, path, len);
    parent[len] = '\0';
    const char *last = slash ? slash + 1 : path;
    memcpy(name, last, strlen(last) + 1);
    int rc = len ? fstatat(dir, parent, &st, 0) : fstatat(dir, slash ? "/" : ".", &st, 0);
    return rc == 0 ? calls_object((uint64_t)st.st_ino) : 0;
}

static uint64_t object_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? calls_object((uint64_t)st.st_ino) : 0;
}

static uint64_t object_at(int dir, const char *path)
{
    struct stat st;
    return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? calls_object((uint64_t)st.st_ino)
                                                             : 0;
}

static void record_new(call_kind kind, int dir, const char *path, int fd)
{
    struct stat st;
    int rc = fd >= 0 ? fstat(fd, &st) : fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW);
    if (recorder.on && rc == 0) {
        call_record *r = add_record(kind);
        r->object = add_object((uint64_t)st.st_ino);
        r->dir = path ? split(dir, path, r->name) : 0;
    }
}

static void record_write(int fd, const uint64_t *offset, const void *data, size_t len)
{
    if (!recorder.on) {
        return;
    }
    call_record *r = add_record(CALL_WRITE);
    r->object = object_of(fd);
    r->offset = offset ? *offset : (uint64_t)lseek(fd, 0, SEEK_CUR) - len;
    r->data = malloc(len + 1);
    if (!r->data) {
        abort();
    }
    memcpy(r->data, data, len);
    r->len = len;
}

static void record_fd(call_kind kind, int fd, uint64_t offset)
{
    if (recorder.on) {
        call_record *r = add_record(kind);
        r->object = object_of(fd);
        r->offset = offset;
    }
}

/* --- the wrapped calls ------------------------------------------------------------------------ */

/* Defines what the library calls instead of a function of the C library. */
#define WRAP(result, name, ...)                                                                    \
    result __real_##name(__VA_ARGS__);                                                             \
    result __wrap_##name(__VA_ARGS__);                                                             \
    result __wrap_##name(__VA_ARGS__)

/* Begins a call and ends it: between the two nobody else changes files. */
static call_fate begin(call_kind kind)
{
    pthread_mutex_lock(&lock);
    return fate_of(kind);
}

static void end(void)
{
    int e = errno;
    pthread_mutex_unlock(&lock);
    errno = e;
}

static size_t part_of(call_fate fate, size_t len)
{
    return fate == CALL_SHORT && len > 1 ? len / 2 : len;
}

WRAP(ssize_t, write, int fd, const void *data, size_t len)
{
    call_fate fate = begin(CALL_WRITE);
    ssize_t n = -1;
    if (fate == CALL_DONE || fate == CALL_SHORT) {
        n = __real_write(fd, data, part_of(fate, len));
        if (n > 0) {
            record_write(fd, NULL, data, (size_t)n);
        }
    }
    end();
    return n;
}

WRAP(ssize_t, pwrite64, int fd, const void *data, size_t len, off_t offset)
{
    call_fate fate = begin(CALL_WRITE);
    ssize_t n = -1;
    if (fate == CALL_DONE || fate == CALL_SHORT) {
        uint64_t at = (uint64_t)offset;
        n = __real_pwrite64(fd, data, part_of(fate, len), offset);
        if (n > 0) {
            record_write(fd, &at, data, (size_t)n);
        }
    }
    end();
    return n;
}

WRAP(int, fsync, int fd)
{
    int rc = begin(CALL_SYNC) == CALL_DONE ? __real_fsync(fd) : -1;
    if (rc == 0) {
        record_fd(CALL_SYNC, fd, 0);
    }
    end();
    return rc;
}

WRAP(int, ftruncate64, int fd, off_t size)
{
    int rc = begin(CALL_TRUNCATE) == CALL_DONE ? __real_ftruncate64(fd, size) : -1;
    if (rc == 0) {
        record_fd(CALL_TRUNCATE, fd, (uint64_t)size);
    }
    end();
    return rc;
}

WRAP(int, fchmod, int fd, mode_t mode)
{
    int rc = begin(CALL_OTHER) == CALL_DONE ? __real_fchmod(fd, mode) : -1;
    end();
    return rc;
}

WRAP(int, fallocate64, int fd, int mode, off_t offset, off_t len)
{
    int rc = begin(CALL_OTHER) == CALL_DONE ? __real_fallocate64(fd, mode, offset, len) : -1;
    end();
    return rc;
}

WRAP(int, sync_file_range, int fd, off_t offset, off_t len, unsigned flags)
{
    int rc = begin(CALL_OTHER) == CALL_DONE ? __real_sync_file_range(fd, offset, len, flags) : -1;
    end();
    return rc;
}

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = va_arg(args, mode_t); /* the library gives it always */
    va_end(args);
    int unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    if (!(flags & O_CREAT) && !unnamed) {
        return __real_openat64(dir, path, flags, mode);
    }
    struct stat st;
    int fd = -1;
    if (begin(CALL_CREATE) == CALL_DONE) {
        int there = !unnamed && fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
        fd = __real_openat64(dir, path, flags, mode);
        if (fd >= 0 && !there) {
            record_new(CALL_CREATE, dir, unnamed ? NULL : path, fd);
        }
    }
    end();
    return fd;
}

WRAP(int, mkstemp64, char *path)
{
    int fd = begin(CALL_CREATE) == CALL_DONE ? __real_mkstemp64(path) : -1;
    if (fd >= 0) {
        record_new(CALL_CREATE, AT_FDCWD, path, fd);
    }
    end();
    return fd;
}

int __real_mkdirat(int dir, const char *path, mode_t mode);

static int make_dir(int dir, const char *path, mode_t mode)
{
    int rc = begin(CALL_MKDIR) == CALL_DONE ? __real_mkdirat(dir, path, mode) : -1;
    if (rc == 0) {
        record_new(CALL_MKDIR, dir, path, -1);
    }
    end();
    return rc;
}

WRAP(int, mkdirat, int dir, const char *path, mode_t mode)
{
    return make_dir(dir, path, mode);
}

WRAP(int, mkdir, const char *path, mode_t mode)
{
    return make_dir(AT_FDCWD, path, mode);
}

int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
long __real_syscall(long number, ...);

static int move_name(
    call_kind kind, int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    call_record r;
    memset(&r, 0, sizeof r);
    if (begin(kind) != CALL_DONE) {
        end();
        return -1;
    }
    if (recorder.on) {
        r.kind = kind;
        r.object = object_at(from_dir, from);
        r.dir = split(from_dir, from, r.name);
        r.to_dir = split(to_dir, to, r.to_name);
    }
    int rc = kind == CALL_LINK
                 ? __real_linkat(from_dir, from, to_dir, to, 0)
                 : (int)__real_syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (rc == 0 && recorder.on) {
        *add_record(kind) = r;
    }
    end();
    return rc;
}

WRAP(int, renameat, int from_dir, const char *from, int to_dir, const char *to)
{
    return move_name(CALL_RENAME, from_dir, from, to_dir, to, 0);
}

WRAP(int, linkat, int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    (void)flags; /* the library has none */
    return move_name(CALL_LINK, from_dir, from, to_dir, to, 0);
}

/* Of the calls that have no function in the C library only renameat2(2) changes anything. */
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(args, long);
    }
    va_end(args);
    if (number == SYS_renameat2) {
        return move_name(CALL_RENAME, (int)a[0], (const char *)a[1], (int)a[2], (const char *)a[3],
            (unsigned)a[4]);
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_unlinkat(int dir, const char *path, int flags);

static int take_name(int dir, const char *path, int flags)
{
    call_record r;
    memset(&r, 0, sizeof r);
    if (begin(CALL_UNLINK) != CALL_DONE) {
        end();
        return -1;
    }
    if (recorder.on) {
        r.kind = CALL_UNLINK;
        r.object = object_at(dir, path);
        r.dir = split(dir, path, r.name);
    }
    int rc = __real_unlinkat(dir, path, flags);
    if (rc == 0 && recorder.on) {
        *add_record(CALL_UNLINK) = r;
    }
    end();
    return rc;
}

WRAP(int, unlinkat, int dir, const char *path, int flags)
{
    return take_name(dir, path, flags);
}

WRAP(int, unlink, const char *path)
{
    return take_name(AT_FDCWD, path, 0);
}

WRAP(int, rmdir, const char *path)
{
    return take_name(AT_FDCWD, path, AT_REMOVEDIR);
}
