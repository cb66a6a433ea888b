/* store_fs.c: a directory as a store.
 *
 * Keys are resolved one segment at a time, each opened relative to the one before and never through
 * a symbolic link, so no key and no link planted below the root leads out of it. An object becomes
 * visible by one rename from `.shardyfusion/tmp`, after its content is synced; then the directory
 * is synced. Replacing an object happens under a lock file, so that compare-and-swap is atomic
 * among all processes of one machine. What a killed process leaves in tmp is removed by a later
 * writer: the lock of its directory is free then. */
#if defined(__linux__)
#define _GNU_SOURCE /* renameat2 */
#endif
#include "store_fs.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/digest.h"
#include "../base/fault.h"
#include "../base/fs.h"
#include "../base/thread.h"

#include <shardyfusion/limits.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/vfs.h>
#endif

#define OWN_DIR  ".shardyfusion"
#define COPY_LEN (1u << 20)
/* A directory may vanish under a put, because a remove prunes empty ones; more often than this it
 * is not that. */
#define PUT_TRIES 16

static int fails(shardy_fault_kind kind, int error_number)
{
    (void)kind; /* without fault injection the check below is a constant */
    if (!shardy__fault(kind)) {
        return 0;
    }
    errno = error_number;
    return 1;
}

void shardy_store_fs_options_init(shardy_store_fs_options *options, size_t struct_size)
{
    shardy_store_fs_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.sync = 1;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

/* --- resolving keys --------------------------------------------------------------------------- */

static int is_own(shardy_bytes key)
{
    size_t len = strlen(OWN_DIR);
    const char *p = key.data;
    return key.len >= len && memcmp(p, OWN_DIR, len) == 0 && (key.len == len || p[len] == '/');
}

static shardy_status check_key(shardy_bytes key, shardy_error *err)
{
    if (is_own(key)) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "the object key \"%.*s\" is in the store's own directory", SHARDY_BYTES_FMT(key));
    }
    return SHARDY_OK;
}

static int sync_fd(const fs_store *s, int fd)
{
    if (!s->options.sync) {
        return 0;
    }
    return fails(SHARDY_FAULT_WRITE, EIO) ? -1 : fsync(fd);
}

/* Opens a directory in another one, making it when wanted. The new entry is made durable. */
static int open_dir_at(const fs_store *s, int parent, const char *name, int create)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = fails(SHARDY_FAULT_READ, EIO) ? -1 : openat(parent, name, flags);
    if (fd >= 0 || errno != ENOENT || !create) {
        return fd;
    }
    if (fails(SHARDY_FAULT_WRITE, ENOSPC) ||
        (mkdirat(parent, name, 0777) != 0 && errno != EEXIST) || sync_fd(s, parent) != 0) {
        return -1;
    }
    return openat(parent, name, flags);
}

/* Opens the directory that holds a key and copies its last segment. -1 and errno when it is not
 * there or is no directory. */
static int open_parent(const fs_store *s, shardy_bytes key, int create, char name_out[NAME_MAX + 1])
{
    const char *p = key.data;
    const char *end = p + key.len;
    int dir = dup(s->root);
    if (dir >= 0) {
        fcntl(dir, F_SETFD, FD_CLOEXEC);
    }
    while (dir >= 0) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t len = (size_t)((slash ? slash : end) - p);
        if (len > NAME_MAX) {
            close(dir);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name_out, p, len);
        name_out[len] = '\0';
        if (!slash) {
            return dir;
        }
        int next = open_dir_at(s, dir, name_out, create);
        int e = errno;
        close(dir);
        errno = e;
        dir = next;
        p = slash + 1;
    }
    return -1;
}

/* errno values that mean: there is no such object. */
static int is_absent(int e)
{
    return e == ENOENT || e == ENOTDIR || e == ELOOP;
}

/* Opens an object. NOT_FOUND also for anything that is not a regular file. */
static shardy_status open_object(
    const fs_store *s, shardy_bytes key, int *fd_out, struct stat *info, shardy_error *err)
{
    char name[NAME_MAX + 1];
    *fd_out = -1;
    SHARDY_TRY(check_key(key, err));
    int dir = open_parent(s, key, 0, name);
    int fd = -1;
    if (dir >= 0) {
        fd = fails(SHARDY_FAULT_READ, EIO)
                 ? -1
                 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    int e = errno;
    if (dir >= 0) {
        close(dir);
    }
    if (fd < 0) {
        return is_absent(e) ? SHARDY_NOT_FOUND
                            : shardy__error_errno(
                                  err, e, "store", "cannot open \"%.*s\"", SHARDY_BYTES_FMT(key));
    }
    if (fails(SHARDY_FAULT_READ, EIO) || fstat(fd, info) != 0) {
        e = errno;
        close(fd);
        return shardy__error_errno(
            err, e, "store", "cannot look at \"%.*s\"", SHARDY_BYTES_FMT(key));
    }
    if (!S_ISREG(info->st_mode)) {
        close(fd);
        return SHARDY_NOT_FOUND;
    }
    *fd_out = fd;
    return SHARDY_OK;
}

/* Version of a small object: the digest of its content. */
static shardy_status etag_of(int fd, uint64_t size, shardy_etag *etag, shardy_error *err)
{
    etag->text[0] = '\0';
    if (size > SHARDY_FS_ETAG_LEN_MAX) {
        return SHARDY_OK;
    }
    uint8_t *data = shardy__malloc((size_t)size);
    if (!data) {
        return shardy__error_nomem(err, "store");
    }
    sha256 digest;
    shardy_status st = shardy__file_read_at(fd, 0, data, (size_t)size, err);
    if (st >= 0) {
        st = shardy__sha256(data, (size_t)size, &digest, err);
    }
    if (st >= 0) {
        shardy__sha256_hex(&digest, etag->text);
    }
    shardy__free(data);
    return st;
}

static void fill_meta(const struct stat *info, shardy_object_meta *meta)
{
    meta->size = (uint64_t)info->st_size;
    meta->modified_us = (int64_t)info->st_mtim.tv_sec * 1000000 + info->st_mtim.tv_nsec / 1000;
}

/* --- reading ---------------------------------------------------------------------------------- */

static uint64_t fs_caps(void *store)
{
    const fs_store *s = store;
    uint64_t caps = SHARDY_STORE_CAP_OPEN_LOCAL | SHARDY_STORE_CAP_TAKE_FILE;
    if (!s->network || s->options.allow_network_fs) {
        caps |= SHARDY_STORE_CAP_PUT_IF_ABSENT | SHARDY_STORE_CAP_PUT_IF_MATCH;
    }
    return caps;
}

static shardy_status read_range(int fd, shardy_store_read *r)
{
    uint64_t size = r->meta.size;
    uint64_t left = r->offset < size ? size - r->offset : 0;
    size_t len = (size_t)(r->len < left ? r->len : left);
    void *dest = r->dest;
    if (!dest) {
        dest = shardy__malloc(len);
        if (!dest) {
            return shardy__error_nomem(&r->error, "store");
        }
        shardy__buf_own(dest, len, &r->body);
    }
    SHARDY_TRY(shardy__file_read_at(fd, r->offset, dest, len, &r->error));
    r->received = len;
    return SHARDY_OK;
}

static shardy_status read_one(const fs_store *s, shardy_store_read *r)
{
    int fd;
    struct stat info;
    shardy_status st = open_object(s, r->key, &fd, &info, &r->error);
    if (st != SHARDY_OK) {
        return st;
    }
    fill_meta(&info, &r->meta);
    st = etag_of(fd, r->meta.size, &r->meta.etag, &r->error);
    if (st >= 0 && r->if_none_match && strcmp(r->if_none_match, r->meta.etag.text) == 0 &&
        r->meta.etag.text[0]) {
        st = SHARDY_NOT_MODIFIED;
    } else if (st >= 0 && r->if_match && strcmp(r->if_match, r->meta.etag.text) != 0) {
        st = shardy__error(&r->error, SHARDY_CONFLICT, "store",
            "the object \"%.*s\" has another version", SHARDY_BYTES_FMT(r->key));
    } else if (st >= 0) {
        st = read_range(fd, r);
    }
    close(fd);
    return st;
}

static void fs_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    for (size_t i = 0; i < n; i++) {
        reads[i].status = read_one(store, &reads[i]);
        if (reads[i].status < 0) {
            shardy_buf_release(&reads[i].body);
        }
        done(user, &reads[i]);
    }
}

static shardy_status fs_head(
    void *store, shardy_bytes key, shardy_object_meta *meta_out, shardy_error *err)
{
    int fd;
    struct stat info;
    shardy_status st = open_object(store, key, &fd, &info, err);
    if (st != SHARDY_OK) {
        return st;
    }
    fill_meta(&info, meta_out);
    st = etag_of(fd, meta_out->size, &meta_out->etag, err);
    close(fd);
    return st;
}

static shardy_status fs_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    struct stat info;
    shardy_status st = open_object(store, key, &file_out->fd, &info, err);
    if (st == SHARDY_OK) {
        shardy_object_meta meta;
        fill_meta(&info, &meta);
        file_out->size = meta.size;
        file_out->modified_us = meta.modified_us;
    }
    return st;
}

/* --- the store's own directory ---------------------------------------------------------------- */

/* Opens (and makes) a directory of ours, private to the user. */
static int open_own_dir(int parent, const char *name)
{
    if (fails(SHARDY_FAULT_WRITE, ENOSPC) ||
        (mkdirat(parent, name, 0700) != 0 && errno != EEXIST)) {
        return -1;
    }
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Takes the lock that orders all writers of the directory. -1 on failure. */
static int take_lock(const fs_store *s)
{
    int rc;
    do {
        rc = fails(SHARDY_FAULT_WRITE, EIO) ? -1 : flock(s->lock_fd, LOCK_EX);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

static void drop_lock(const fs_store *s)
{
    flock(s->lock_fd, LOCK_UN);
}

/* Removes directories in tmp that no living process holds. Called with the lock. */
static void sweep_tmp(int tmp_fd, const char *tmp_path)
{
    DIR *dir = fdopendir(dup(tmp_fd));
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char lock_name[NAME_MAX + 16];
        char path[PATH_MAX];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(lock_name, sizeof lock_name, "%s/lock", entry->d_name);
        int fd = openat(tmp_fd, lock_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT) {
            continue;
        }
        int held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
        shardy_error ignored;
        int n = snprintf(path, sizeof path, "%s/%s", tmp_path, entry->d_name);
        if (!held && n > 0 && (size_t)n < sizeof path) {
            shardy__dir_remove(path, &ignored);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static shardy_status own_error(shardy_error *err, const fs_store *s, const char *what)
{
    return shardy__error_errno(
        err, errno, "store", "cannot %s in \"%.300s/" OWN_DIR "\"", what, s->path);
}

/* Makes the directory of this process in tmp and holds its lock. Called with the lock. */
static shardy_status make_scratch(fs_store *s, int tmp_fd, shardy_error *err)
{
    char hex[33];
    shardy__rand_hex32(s->context, hex);
    int n = snprintf(s->scratch, sizeof s->scratch, "%s/" OWN_DIR "/tmp/%s", s->path, hex);
    if (n < 0 || (size_t)n >= sizeof s->scratch) {
        return shardy__error(
            err, SHARDY_INVALID, "store", "the path \"%.300s\" is too long", s->path);
    }
    s->scratch_fd = open_own_dir(tmp_fd, hex);
    if (s->scratch_fd < 0) {
        return own_error(err, s, "make a scratch directory");
    }
    s->scratch_lock = fails(SHARDY_FAULT_WRITE, ENOSPC)
                          ? -1
                          : openat(s->scratch_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->scratch_lock < 0 || flock(s->scratch_lock, LOCK_EX | LOCK_NB) != 0) {
        return own_error(err, s, "lock a scratch directory");
    }
    return SHARDY_OK;
}

static shardy_status open_own(fs_store *s, shardy_error *err)
{
    int own = open_own_dir(s->root, OWN_DIR);
    int tmp = own >= 0 ? open_own_dir(own, "tmp") : -1;
    if (tmp >= 0) {
        s->lock_fd = fails(SHARDY_FAULT_WRITE, ENOSPC)
                         ? -1
                         : openat(own, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    shardy_status st = SHARDY_OK;
    if (s->lock_fd < 0 || take_lock(s) != 0) {
        st = own_error(err, s, "take the lock");
    } else {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%.3000s/" OWN_DIR "/tmp", s->path);
        sweep_tmp(tmp, path);
        st = make_scratch(s, tmp, err);
        drop_lock(s);
    }
    if (own >= 0) {
        close(own);
    }
    if (tmp >= 0) {
        close(tmp);
    }
    return st;
}

static void close_own(fs_store *s)
{
    if (s->scratch_fd >= 0) {
        close(s->scratch_fd);
        shardy_error ignored;
        shardy__dir_remove(s->scratch, &ignored);
    }
    if (s->scratch_lock >= 0) {
        close(s->scratch_lock);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    s->scratch_fd = s->scratch_lock = s->lock_fd = -1;
}

/* The first write of a store makes its own directory. */
static shardy_status begin_writing(fs_store *s, shardy_error *err)
{
    shardy__mutex_lock(&s->own_lock);
    shardy_status st = SHARDY_OK;
    if (s->scratch_fd < 0) {
        st = open_own(s, err);
        if (st < 0) {
            close_own(s);
        }
    }
    shardy__mutex_unlock(&s->own_lock);
    return st;
}

static shardy_status fs_scratch(void *store, const char **path_out, shardy_error *err)
{
    fs_store *s = store;
    SHARDY_TRY(begin_writing(s, err));
    *path_out = s->scratch;
    return SHARDY_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A new object before it gets its name. */
typedef struct new_object {
    int dir;             /* of the file */
    char name[PATH_MAX]; /* in it; for files that are moved, their path */
    int fd;
    uint64_t size;
    int32_t is_moved; /* the caller's file */
} new_object;

static shardy_status write_parts(const shardy_store_put *put, new_object *o, shardy_error *err)
{
    if (!put->next) {
        o->size = put->body.len;
        return shardy__file_write_at(o->fd, 0, put->body.data, put->body.len, err);
    }
    shardy_status st;
    shardy_bytes part;
    while ((st = put->next(put->next_user, &part, err)) == SHARDY_OK) {
        SHARDY_TRY(shardy__file_write_at(o->fd, o->size, part.data, part.len, err));
        o->size += part.len;
    }
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status copy_file(int from, new_object *o, shardy_error *err)
{
    uint8_t *buf = shardy__malloc(COPY_LEN);
    if (!buf) {
        return shardy__error_nomem(err, "store");
    }
    shardy_status st = SHARDY_OK;
    for (;;) {
        size_t n;
        st = shardy__file_read(from, buf, COPY_LEN, &n, err);
        if (st < 0 || n == 0) {
            break;
        }
        st = shardy__file_write_at(o->fd, o->size, buf, n, err);
        if (st < 0) {
            break;
        }
        o->size += n;
    }
    shardy__free(buf);
    return st;
}

static shardy_status create_temp(fs_store *s, new_object *o, shardy_error *err)
{
    uint64_t number = atomic_fetch_add(&s->put_count, 1);
    o->dir = s->scratch_fd;
    snprintf(o->name, sizeof o->name, "put-%llu", (unsigned long long)number);
    o->fd = fails(SHARDY_FAULT_WRITE, ENOSPC)
                ? -1
                : openat(o->dir, o->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    return o->fd < 0 ? own_error(err, s, "create a file") : SHARDY_OK;
}

/* Whether a file can be moved into the root by a rename: it is on the same file system. */
static int same_file_system(const fs_store *s, int fd)
{
    struct stat a;
    struct stat b;
    return fstat(fd, &a) == 0 && fstat(s->root, &b) == 0 && a.st_dev == b.st_dev;
}

static shardy_status prepare_file(
    fs_store *s, const shardy_store_put *put, new_object *o, shardy_error *err)
{
    int from;
    shardy_status st = shardy__file_open(put->file_path, &from, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_INVALID, "store", "there is no file \"%.300s\"", put->file_path);
    }
    SHARDY_TRY(st);
    int n = snprintf(o->name, sizeof o->name, "%s", put->file_path);
    if (same_file_system(s, from) && n > 0 && (size_t)n < sizeof o->name) {
        o->is_moved = 1;
        o->dir = AT_FDCWD;
        o->fd = from;
        return shardy__file_size(from, &o->size, err);
    }
    st = create_temp(s, o, err);
    if (st >= 0) {
        st = copy_file(from, o, err);
    }
    shardy__file_close(from);
    return st;
}

/* Makes the content complete and durable under a temporary name. */
static shardy_status prepare(
    fs_store *s, const shardy_store_put *put, new_object *o, shardy_error *err)
{
    memset(o, 0, sizeof *o);
    o->fd = -1;
    if (put->file_path) {
        SHARDY_TRY(prepare_file(s, put, o, err));
    } else {
        SHARDY_TRY(create_temp(s, o, err));
        SHARDY_TRY(write_parts(put, o, err));
    }
    if (put->sync && sync_fd(s, o->fd) != 0) {
        return shardy__error_errno(
            err, errno, "store", "cannot sync \"%.*s\"", SHARDY_BYTES_FMT(put->key));
    }
    return SHARDY_OK;
}

/* Gives a file a name that nobody has. */
static int rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    if (fails(SHARDY_FAULT_WRITE, ENOSPC)) {
        return -1;
    }
#if defined(RENAME_NOREPLACE)
    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
#endif
    /* File systems that cannot: a second name, which fails when there is one, then the first one
     * goes. */
    if (linkat(from_dir, from, to_dir, to, 0) != 0) {
        return -1;
    }
    unlinkat(from_dir, from, 0);
    return 0;
}

/* CONFLICT unless the object has the expected version. Called with the lock. */
static shardy_status compare_version(
    const fs_store *s, const shardy_store_put *put, shardy_error *err)
{
    int fd;
    struct stat info;
    shardy_object_meta meta;
    memset(&meta, 0, sizeof meta);
    shardy_status st = open_object(s, put->key, &fd, &info, err);
    SHARDY_TRY(st);
    if (st == SHARDY_OK) {
        st = etag_of(fd, (uint64_t)info.st_size, &meta.etag, err);
        close(fd);
        SHARDY_TRY(st);
        if ((uint64_t)info.st_size > SHARDY_FS_ETAG_LEN_MAX) {
            return shardy__error(err, SHARDY_UNSUPPORTED, "store",
                "\"%.*s\" is too large to be replaced under a condition",
                SHARDY_BYTES_FMT(put->key));
        }
        if (strcmp(meta.etag.text, put->etag) == 0) {
            return SHARDY_OK;
        }
    }
    return shardy__error(err, SHARDY_CONFLICT, "store", "the object \"%.*s\" %s",
        SHARDY_BYTES_FMT(put->key),
        st == SHARDY_OK ? "was changed by somebody else" : "is not there any more");
}

static shardy_status place_error(shardy_error *err, const shardy_store_put *put)
{
    int e = errno;
    if (e == EEXIST) {
        return shardy__error(
            err, SHARDY_EXISTS, "store", "the object \"%.*s\" exists", SHARDY_BYTES_FMT(put->key));
    }
    return shardy__error_errno(
        err, e, "store", "cannot write \"%.*s\"", SHARDY_BYTES_FMT(put->key));
}

/* Renames the new object into its directory. ENOENT: the directory has just gone. */
static shardy_status place_in(fs_store *s, const shardy_store_put *put, const new_object *o,
    int dir, const char *name, int *retry_out, shardy_error *err)
{
    int rc;
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        rc = rename_new(o->dir, o->name, dir, name);
    } else {
        if (take_lock(s) != 0) {
            return own_error(err, s, "take the lock");
        }
        shardy_status st =
            put->condition == SHARDY_PUT_IF_MATCH ? compare_version(s, put, err) : SHARDY_OK;
        rc =
            st < 0 || fails(SHARDY_FAULT_WRITE, ENOSPC) ? -1 : renameat(o->dir, o->name, dir, name);
        int e = errno;
        drop_lock(s);
        errno = e;
        SHARDY_TRY(st);
    }
    if (rc != 0) {
        *retry_out = errno == ENOENT;
        return place_error(err, put);
    }
    if (put->sync && sync_fd(s, dir) != 0) {
        /* Visible, but not known to be durable. */
        return place_error(err, put);
    }
    return SHARDY_OK;
}

static shardy_status place(
    fs_store *s, const shardy_store_put *put, const new_object *o, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    for (int i = 0; i < PUT_TRIES; i++) {
        char name[NAME_MAX + 1];
        int retry = 0;
        int dir = open_parent(s, put->key, 1, name);
        if (dir < 0) {
            retry = errno == ENOENT;
            st = place_error(err, put);
        } else {
            st = place_in(s, put, o, dir, name, &retry, err);
            close(dir);
        }
        if (!retry) {
            break;
        }
    }
    return st;
}

static shardy_status fs_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    fs_store *s = store;
    SHARDY_TRY(check_key(put->key, err));
    SHARDY_TRY(begin_writing(s, err));
    new_object o;
    shardy_status st = prepare(s, put, &o, err);
    if (st >= 0) {
        meta_out->size = o.size;
        st = etag_of(o.fd, o.size, &meta_out->etag, err);
    }
    if (st >= 0) {
        st = place(s, put, &o, err);
    }
    if (o.fd >= 0) {
        close(o.fd);
    }
    if (st < 0 && !o.is_moved && o.name[0]) {
        unlinkat(s->scratch_fd, o.name, 0); /* gone already when it was placed */
    }
    return st;
}

/* --- removing --------------------------------------------------------------------------------- */

/* Removes directories that have become empty, upwards from the one that held the key. */
static void prune(const fs_store *s, shardy_bytes key)
{
    size_t len = key.len;
    const char *p = key.data;
    for (;;) {
        while (len > 0 && p[len - 1] != '/') {
            len--;
        }
        if (len <= 1) {
            return;
        }
        len--;
        char name[NAME_MAX + 1];
        int dir = open_parent(s, shardy__bytes(p, len), 0, name);
        if (dir < 0) {
            return;
        }
        int rc = unlinkat(dir, name, AT_REMOVEDIR);
        close(dir);
        if (rc != 0) {
            return;
        }
    }
}

static shardy_status remove_one(const fs_store *s, shardy_bytes key, shardy_error *err)
{
    char name[NAME_MAX + 1];
    SHARDY_TRY(check_key(key, err));
    int dir = open_parent(s, key, 0, name);
    int rc = -1;
    if (dir >= 0) {
        rc = fails(SHARDY_FAULT_WRITE, EIO) ? -1 : unlinkat(dir, name, 0);
    }
    int e = errno;
    if (rc == 0) {
        /* an object that comes back after a crash is deleted again by who deletes */
        sync_fd(s, dir);
    }
    if (dir >= 0) {
        close(dir);
    }
    if (rc == 0) {
        prune(s, key);
        return SHARDY_OK;
    }
    return is_absent(e) || e == EISDIR ? SHARDY_OK
                                       : shardy__error_errno(err, e, "store",
                                             "cannot remove \"%.*s\"", SHARDY_BYTES_FMT(key));
}

static shardy_status fs_remove(
    void *store, const shardy_bytes *keys, size_t n, int32_t *results_out, shardy_error *err)
{
    shardy_status first = SHARDY_OK;
    for (size_t i = 0; i < n; i++) {
        shardy_error error;
        shardy_status st = remove_one(store, keys[i], &error);
        results_out[i] = st;
        if (st < 0 && first >= 0) {
            first = st;
            if (err) {
                *err = error;
            }
        }
    }
    return first;
}

/* --- life ------------------------------------------------------------------------------------- */

/* File systems on which locks or exclusive renames are not what they are on a local one. */
static int is_network(int fd)
{
#if defined(__linux__)
    static const long magics[] = {0x6969 /* NFS */, 0x517B /* SMB */, 0xFF534D42 /* CIFS */,
        0xFE534D42 /* SMB2 */, 0x5346414F /* AFS */, 0x73757245 /* Coda */, 0x01021997 /* 9P */,
        0x00C36400 /* Ceph */, 0x0BD00BD0 /* Lustre */, 0x47504653 /* GPFS */};
    struct statfs info;
    if (fstatfs(fd, &info) != 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        if ((long)info.f_type == magics[i]) {
            return 1;
        }
    }
#else
    (void)fd;
#endif
    return 0;
}

static void fs_close(void *store)
{
    fs_store *s = store;
    close_own(s);
    if (s->root >= 0) {
        close(s->root);
    }
    shardy__mutex_destroy(&s->own_lock);
    shardy__context_drop(s->context);
    shardy__free(s);
}

static const shardy_store_ops fs_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "fs",
    .caps = fs_caps,
    .read = fs_read,
    .head = fs_head,
    .put = fs_put,
    .list = shardy__store_fs_list,
    .remove = fs_remove,
    .open_local = fs_open_local,
    .scratch = fs_scratch,
    .close = fs_close,
};

static shardy_status open_root(fs_store *s, const char *root, shardy_error *err)
{
    if (s->options.create) {
        SHARDY_TRY(shardy__dir_make(root, 0777, err));
    }
    s->root = fails(SHARDY_FAULT_READ, EIO) ? -1 : open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root < 0) {
        int e = errno;
        if (e == ENOENT) {
            return SHARDY_NOT_FOUND;
        }
        return e == ENOTDIR ? shardy__error(err, SHARDY_INVALID, "store",
                                  "\"%.300s\" is not a directory", root)
                            : shardy__error_errno(err, e, "store", "cannot open \"%.300s\"", root);
    }
    if (!realpath(root, s->path)) {
        return shardy__error_errno(err, errno, "store", "cannot resolve \"%.300s\"", root);
    }
    s->network = is_network(s->root);
    return SHARDY_OK;
}

shardy_status shardy_store_open_fs(shardy_context *context, const char *root,
    const shardy_store_fs_options *options, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(root && store_out);
    *store_out = NULL;
    fs_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->root = s->scratch_fd = s->scratch_lock = s->lock_fd = -1;
    shardy__mutex_init(&s->own_lock);
    shardy_store_fs_options_init(&s->options, sizeof s->options);
    shardy_status st = SHARDY__OPTIONS_COPY(&s->options, options, err);
    if (st >= 0) {
        st = shardy__context_hold(context, &s->context, err);
    }
    if (st >= 0) {
        st = open_root(s, root, err);
    }
    if (st != SHARDY_OK) {
        fs_close(s);
        return st;
    }
    return shardy_store_new_take(s->context, &fs_ops, s, store_out, err);
}
