/* store_fs_write.c: putting and removing objects of a directory, and the store's own directory in
 * it.
 *
 * Putting. The content is written to a file in the directory of this writer and synced. Then it
 * gets its name by one rename, and the directory is synced. So whenever the machine or the process
 * stops, the object is the old or the new one, whole, and at most a temporary file is left over.
 * The entries of the directories on the way are synced as well before the first object below them
 * counts, whoever made them.
 *   IF_ABSENT  renames so that nothing is replaced: of several, the kernel lets one win.
 *   ALWAYS     renames over what is there, holding the lock.
 *   IF_MATCH   holds the lock while it compares the version and renames.
 * Because everything that replaces or removes an object holds the lock, nothing changes between the
 * comparison and the rename. The lock is flock(2) on a description opened for each use: it excludes
 * other threads as well as other processes and ends with the process.
 *
 * Left-overs. Each writer has a directory of its own with a lock file that it holds as long as it
 * lives. Making one, and looking for those whose lock is free, are done under the lock of the
 * store, so nobody takes a directory that is just being made for a dead one. */
#include "store_fs.h"

#include "../base/alloc.h"
#include "../base/uri.h"

#include <stdio.h>
#include <string.h>

#define OWN_DIR_MODE 0700
#define OWN_MODE     0600
#define OBJECT_MODE  0666 /* less the umask */
/* How often a directory may vanish below a put, because a remove left it empty. */
#define PUT_TRIES_MAX 100
/* Directories of dead writers that one writer removes. */
#define DEAD_MAX 16
/* The lock is held for a rename and an fsync. Who waits longer than this waits for a process that
 * is stopped. */
#define LOCK_WAIT_MS 60000u
#define LOCK_STEP_US 10000
#define COPY_LEN     (1u << 20)

/* --- the lock ----------------------------------------------------------------------------- */

typedef struct wait_limit {
    int64_t deadline_ns;
    const shardy_cancel *cancel;
} wait_limit;

static shardy_status wait_for_lock(
    const fs_store *s, int fd, const wait_limit *limit, shardy_error *err)
{
    int64_t give_up = shardy__deadline_ns(s->context, LOCK_WAIT_MS);
    int64_t pause = 100;
    for (;;) {
        int32_t taken;
        SHARDY_TRY(shardy__file_try_lock(fd, &taken, err));
        if (taken) {
            return SHARDY_OK;
        }
        SHARDY_TRY(shardy__check_time(s->context, limit->deadline_ns, limit->cancel, "store", err));
        if (shardy__monotonic_ns(s->context) >= give_up) {
            return shardy__error(err, SHARDY_TIMEOUT, "store",
                "another process has held \"%.300s/" SHARDY_STORE_OWN_DIR "/lock\" for %u s",
                s->path, LOCK_WAIT_MS / 1000);
        }
        shardy__sleep_us(s->context, pause);
        pause = pause * 2 < LOCK_STEP_US ? pause * 2 : LOCK_STEP_US;
    }
}

/* Takes the lock of all writers. `dir` is .shardyfusion. */
static shardy_status take_lock(
    fs_store *s, int dir, const wait_limit *limit, int *fd_out, shardy_error *err)
{
    *fd_out = -1;
    shardy__mutex_lock(&s->replace_lock);
    shardy_status st = SHARDY_NOT_FOUND;
    for (int i = 0; st >= 0 && i < PUT_TRIES_MAX; i++) {
        int fd;
        file_info mine;
        file_info there;
        st = shardy__at_open_or_create(dir, "lock", OWN_MODE, &fd, err);
        if (st == SHARDY_OK) {
            st = wait_for_lock(s, fd, limit, err);
        }
        if (st == SHARDY_OK) {
            st = shardy__file_stat(fd, &mine, err);
        }
        if (st == SHARDY_OK) {
            st = shardy__at_stat(dir, "lock", &there, err);
        }
        if (st == SHARDY_OK && mine.inode == there.inode) {
            *fd_out = fd;
            return SHARDY_OK;
        }
        /* Somebody has removed the file meanwhile: others lock another one. */
        shardy__file_close(fd);
    }
    shardy__mutex_unlock(&s->replace_lock);
    return st < 0 ? st : shardy__error(err, SHARDY_IO, "store", "the lock file keeps vanishing");
}

static void drop_lock(fs_store *s, int fd)
{
    shardy__file_unlock_close(fd);
    shardy__mutex_unlock(&s->replace_lock);
}

/* --- the directory of this writer --------------------------------------------------------- */

/* Makes and opens a directory of the store itself. */
static shardy_status open_own_dir(
    fs_store *s, int parent, const char *name, const char *path, int *fd_out, shardy_error *err)
{
    shardy_status st = shardy__at_make_dir(parent, name, OWN_DIR_MODE, err);
    if (st < 0 && st != SHARDY_EXISTS) {
        return st;
    }
    st = shardy__root_open_dir(&s->root, path, fd_out, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_IO, "store", "\"%.300s/%s\" has just been removed", s->path, path);
    }
    return st;
}

/* Directories whose writer is dead; their locks are held until they are removed. */
typedef struct dead_dirs {
    const fs_own *own;
    char names[DEAD_MAX][256];
    int locks[DEAD_MAX];
    size_t count;
} dead_dirs;

static shardy_status see_writer(void *user, const char *name, file_kind kind, shardy_error *err)
{
    dead_dirs *d = user;
    size_t len = strlen(name);
    if (kind != FILE_DIR || len > 255 || strcmp(name, d->own->name) == 0) {
        return SHARDY_OK;
    }
    char path[264];
    fs_root tmp = {d->own->tmp, d->own->scratch.portable};
    file_info info;
    int fd;
    snprintf(path, sizeof path, "%s/lock", name);
    shardy_status st = shardy__root_open_file(&tmp, path, &fd, &info, err);
    int32_t taken = st == SHARDY_NOT_FOUND; /* killed between making the two */
    if (st == SHARDY_OK) {
        st = shardy__file_try_lock(fd, &taken, err);
    }
    if (st < 0 || !taken) {
        shardy__file_close(fd);
        return SHARDY_OK;
    }
    memcpy(d->names[d->count], name, len + 1);
    d->locks[d->count] = fd;
    d->count++;
    return d->count < DEAD_MAX ? SHARDY_OK : SHARDY_DONE;
}

/* What cannot be removed is left to the next writer; a put does not fail for it. */
static void remove_dead(const dead_dirs *d)
{
    for (size_t i = 0; i < d->count; i++) {
        shardy__at_discard_tree(d->own->tmp, d->names[i]);
        shardy__file_close(d->locks[i]);
    }
}

/* Finds out which permissions new files get, by making one: asking for the umask would change it
 * for the whole process. */
static shardy_status learn_mode(fs_own *own, shardy_error *err)
{
    int fd;
    file_info info;
    SHARDY_TRY(shardy__at_create(own->scratch.fd, "mode", OBJECT_MODE, &fd, err));
    shardy_status st = shardy__file_stat(fd, &info, err);
    shardy__file_close(fd);
    shardy__at_discard(own->scratch.fd, "mode");
    own->mode = info.mode;
    return st;
}

/* Called with the lock of the store. */
static shardy_status make_writer_dir(fs_store *s, fs_own *own, shardy_error *err)
{
    char path[128];
    shardy__rand_hex32(s->context, own->name);
    snprintf(path, sizeof path, SHARDY_STORE_OWN_DIR "/tmp/%s", own->name);
    SHARDY_TRY(shardy__path_join(s->path, path, &own->path, err));
    SHARDY_TRY(open_own_dir(s, own->tmp, own->name, path, &own->scratch.fd, err));
    own->scratch.portable = s->root.portable;
    shardy_status st = shardy__at_create(own->scratch.fd, "lock", OWN_MODE, &own->lock, err);
    int32_t taken = 0;
    if (st == SHARDY_OK) {
        st = shardy__file_try_lock(own->lock, &taken, err);
    }
    if (st >= 0 && !taken) {
        st = shardy__error(err, SHARDY_IO, "store", "cannot lock \"%.300s/lock\"", own->path);
    }
    return st < 0 ? st : learn_mode(own, err);
}

static void close_own(fs_own *own, int remove)
{
    if (remove && own->tmp >= 0 && own->scratch.fd >= 0) {
        shardy__at_discard_tree(own->tmp, own->name);
    }
    shardy__file_close(own->lock);
    shardy__root_close(&own->scratch);
    shardy__file_close(own->tmp);
    shardy__file_close(own->dir);
    shardy__free(own->path);
    own->path = NULL;
}

static shardy_status open_own(fs_store *s, fs_own *own, const wait_limit *limit, shardy_error *err)
{
    memset(own, 0, sizeof *own);
    own->dir = own->tmp = own->lock = own->scratch.fd = -1;
    shardy_status st =
        open_own_dir(s, s->root.fd, SHARDY_STORE_OWN_DIR, SHARDY_STORE_OWN_DIR, &own->dir, err);
    if (st == SHARDY_OK) {
        st = open_own_dir(s, own->dir, "tmp", SHARDY_STORE_OWN_DIR "/tmp", &own->tmp, err);
    }
    int lock;
    if (st == SHARDY_OK) {
        st = take_lock(s, own->dir, limit, &lock, err);
    }
    if (st == SHARDY_OK) {
        dead_dirs dead;
        dead.own = own;
        dead.count = 0;
        st = make_writer_dir(s, own, err);
        if (st == SHARDY_OK) {
            (void)shardy__dir_each(own->tmp, see_writer, &dead, NULL);
        }
        drop_lock(s, lock);
        remove_dead(&dead);
    }
    if (st < 0) {
        close_own(own, 1);
    }
    return st;
}

static shardy_status begin_writing(fs_store *s, const wait_limit *limit, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    shardy__mutex_lock(&s->own_lock);
    if (!s->has_own) {
        st = open_own(s, &s->own, limit, err);
        s->has_own = st == SHARDY_OK;
    }
    shardy__mutex_unlock(&s->own_lock);
    return st < 0 ? shardy__error_prefix(err, st, "\"%.300s/" SHARDY_STORE_OWN_DIR "\"", s->path)
                  : SHARDY_OK;
}

void shardy__store_fs_close_own(fs_store *s)
{
    if (s->has_own) {
        close_own(&s->own, s->generation == shardy__process_generation());
    }
}

shardy_status shardy__store_fs_scratch(void *store, const char **path_out, shardy_error *err)
{
    fs_store *s = store;
    wait_limit limit = {0, NULL};
    SHARDY_TRY(begin_writing(s, &limit, err));
    *path_out = s->own.path;
    return SHARDY_OK;
}

/* --- the content of a new object ------------------------------------------------------------ */

typedef struct new_object {
    int fd;
    int dir;     /* where it is now */
    int own_dir; /* 1 when `dir` is a descriptor of this put, which closes it */
    int moved;   /* 1: a file of the caller, which stays when the put fails */
    char name[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_object_meta meta;
} new_object;

static void close_object(new_object *o)
{
    shardy__file_close(o->fd);
    if (o->own_dir) {
        shardy__file_close(o->dir);
    }
}

static shardy_status create_temp(fs_store *s, new_object *o, shardy_error *err)
{
    unsigned long long number = atomic_fetch_add(&s->puts, 1);
    o->dir = s->own.scratch.fd;
    snprintf(o->name, sizeof o->name, "put-%llu", number);
    shardy_status st = shardy__at_create(o->dir, o->name, OBJECT_MODE, &o->fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_IO, "store", "\"%.300s\" has been removed", s->own.path);
    }
    return st;
}

static shardy_status write_bytes(new_object *o, shardy_bytes body, shardy_error *err)
{
    o->meta.size = body.len;
    SHARDY_TRY(shardy__file_write(o->fd, body.data, body.len, err));
    return body.len > SHARDY_FS_ETAG_LEN_MAX
               ? SHARDY_OK
               : shardy__store_fs_etag_of_bytes(body.data, body.len, &o->meta.etag, err);
}

static shardy_status write_parts(
    fs_store *s, const shardy_store_put *put, file_writer *w, shardy_error *err)
{
    for (;;) {
        shardy_bytes part = {NULL, 0};
        SHARDY_TRY(shardy__check_time(s->context, put->deadline_ns, put->cancel, "store", err));
        shardy_status st = put->next(put->next_user, &part, err);
        if (st != SHARDY_OK) {
            return st;
        }
        SHARDY_TRY(shardy__file_writer_put(w, part.data, part.len, err));
    }
}

static shardy_status copy_file(
    fs_store *s, const shardy_store_put *put, file_writer *w, shardy_error *err)
{
    int from;
    shardy_status st = shardy__file_open(put->file_path, &from, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_INVALID, "store", "there is no file \"%.300s\"", put->file_path);
    }
    SHARDY_TRY(st);
    uint8_t *buf = shardy__malloc(COPY_LEN);
    st = buf ? SHARDY_OK : shardy__error_nomem(err, "store");
    while (st == SHARDY_OK) {
        size_t n = 0;
        st = shardy__check_time(s->context, put->deadline_ns, put->cancel, "store", err);
        if (st == SHARDY_OK) {
            st = shardy__file_read(from, buf, COPY_LEN, &n, err);
        }
        if (st == SHARDY_OK && n == 0) {
            break;
        }
        if (st == SHARDY_OK) {
            st = shardy__file_writer_put(w, buf, n, err);
        }
    }
    shardy__free(buf);
    shardy__file_close(from);
    return st;
}

/* Content of unknown length: as long as it is small it stays in the buffer, where its version is
 * computed. */
static shardy_status write_stream(
    fs_store *s, const shardy_store_put *put, new_object *o, shardy_error *err)
{
    file_writer w;
    SHARDY_TRY(shardy__file_writer_init(&w, o->fd, SHARDY_FS_ETAG_LEN_MAX, err));
    shardy_status st = put->next ? write_parts(s, put, &w, err) : copy_file(s, put, &w, err);
    o->meta.size = w.size;
    if (st >= 0 && st != SHARDY_DONE && put->next) {
        st = shardy__error(err, SHARDY_INTERNAL, "store",
            "a source of parts answered %d, expected OK, DONE or a failure", (int)st);
    }
    if (st >= 0 && w.size <= SHARDY_FS_ETAG_LEN_MAX) {
        st = shardy__store_fs_etag_of_bytes(w.buf, w.len, &o->meta.etag, err);
    }
    if (st >= 0) {
        st = shardy__file_writer_flush(&w, err);
    }
    shardy__file_writer_free(&w);
    return st < 0 ? st : SHARDY_OK;
}

/* The path below the scratch directory of this writer, or NULL. */
static const char *path_in_scratch(const fs_store *s, const char *path)
{
    size_t len = strlen(s->own.path);
    if (!path || strncmp(path, s->own.path, len) != 0 || path[len] != '/') {
        return NULL;
    }
    path += len + 1;
    return shardy__key_problem(path, strlen(path)) ? NULL : path;
}

/* A file of the scratch directory becomes the object itself. NOT_FOUND when it is not one that can:
 * a link, or a file that somebody could go on writing to by another name. It is copied then. */
static shardy_status adopt_file(fs_store *s, const char *path, new_object *o, shardy_error *err)
{
    fs_key key;
    file_info info;
    shardy__store_fs_split_key((shardy_bytes){path, strlen(path)}, &key);
    SHARDY_TRY(shardy__root_open_dir(&s->own.scratch, key.parent, &o->dir, err));
    shardy_status st =
        o->dir < 0 ? SHARDY_NOT_FOUND : shardy__at_stat(o->dir, key.name, &info, err);
    if (st == SHARDY_OK && (info.kind != FILE_REGULAR || info.links != 1)) {
        st = SHARDY_NOT_FOUND;
    }
    if (st == SHARDY_OK) {
        st = shardy__root_open_file(&s->own.scratch, path, &o->fd, &info, err);
    }
    if (st != SHARDY_OK) {
        shardy__file_close(o->dir);
        o->dir = -1;
        return st;
    }
    o->own_dir = 1;
    o->moved = 1;
    memcpy(o->name, key.name, strlen(key.name) + 1);
    o->meta.size = info.size;
    if (info.mode != s->own.mode) {
        SHARDY_TRY(shardy__file_set_mode(o->fd, s->own.mode, err));
    }
    return shardy__store_fs_etag(o->fd, info.size, &o->meta.etag, err);
}

/* Everything but the name: the content, complete and, if wanted, durable. */
static shardy_status prepare(
    fs_store *s, const shardy_store_put *put, new_object *o, shardy_error *err)
{
    const char *scratch_path = path_in_scratch(s, put->file_path);
    shardy_status st = scratch_path ? adopt_file(s, scratch_path, o, err) : SHARDY_NOT_FOUND;
    SHARDY_TRY(st);
    if (st == SHARDY_NOT_FOUND) {
        SHARDY_TRY(create_temp(s, o, err));
        SHARDY_TRY(put->next || put->file_path ? write_stream(s, put, o, err)
                                               : write_bytes(o, put->body, err));
    }
    if (s->sync && put->sync) {
        SHARDY_TRY(shardy__file_sync(o->fd, err));
    }
    file_info info;
    SHARDY_TRY(shardy__file_stat(o->fd, &info, err));
    o->meta.modified_us = info.modified_us;
    return SHARDY_OK;
}

/* --- giving it its name ------------------------------------------------------------------- */

/* Removes the directories above a key that are empty, from the deepest one up; some may not have
 * been made. */
static void prune(const fs_store *s, const fs_key *key)
{
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    memcpy(path, key->parent, sizeof path);
    int gone = 1;
    while (gone && path[0]) {
        char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        int fd = -1;
        if (slash) {
            *slash = '\0';
        }
        shardy_status st = shardy__root_open_dir(&s->root, slash ? path : "", &fd, NULL);
        gone = st == SHARDY_OK ? shardy__at_discard_dir(fd, name) : st == SHARDY_NOT_FOUND;
        shardy__file_close(fd);
        if (!slash) {
            path[0] = '\0';
        }
    }
}

/* CONFLICT unless the object is of the version wanted. Called with the lock. */
static shardy_status compare_version(
    fs_store *s, const shardy_store_put *put, const fs_key *key, shardy_error *err)
{
    int fd;
    file_info info;
    shardy_etag etag;
    shardy_status st = shardy__root_open_file(&s->root, key->text, &fd, &info, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_CONFLICT, "store",
            "there is no object, expected version "
            "\"%.80s\"",
            put->etag);
    }
    SHARDY_TRY(st);
    st = shardy__store_fs_etag(fd, info.size, &etag, err);
    shardy__file_close(fd);
    SHARDY_TRY(st);
    if (etag.text[0] == '\0') {
        return shardy__error(err, SHARDY_UNSUPPORTED, "store",
            "the version of an object of %llu bytes is not told, the limit is %u",
            (unsigned long long)info.size, SHARDY_FS_ETAG_LEN_MAX);
    }
    if (strcmp(etag.text, put->etag) != 0) {
        return shardy__error(err, SHARDY_CONFLICT, "store",
            "the object has the version \"%s\", expected \"%.80s\"", etag.text, put->etag);
    }
    return SHARDY_OK;
}

/* One try in a directory that is open. NOT_FOUND: a directory has vanished. */
static shardy_status rename_in(fs_store *s, const shardy_store_put *put, const fs_key *key,
    const new_object *o, int dir, shardy_error *err)
{
    at_name from = {o->dir, o->name};
    at_name to = {dir, key->name};
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        rename_mode mode = s->root.portable ? RENAME_TO_NEW_LINK : RENAME_TO_NEW;
        return shardy__at_rename(from, to, mode, err);
    }
    int lock;
    wait_limit limit = {put->deadline_ns, put->cancel};
    SHARDY_TRY(take_lock(s, s->own.dir, &limit, &lock, err));
    shardy_status st =
        put->condition == SHARDY_PUT_IF_MATCH ? compare_version(s, put, key, err) : SHARDY_OK;
    if (st == SHARDY_OK) {
        st = shardy__at_rename(from, to, RENAME_OVER, err);
    }
    if (st == SHARDY_OK && s->sync && put->sync) {
        st = shardy__file_sync(dir, err);
        if (st < 0 && err) {
            err->retriable = 1; /* it is there, but for how long is not known */
        }
    }
    drop_lock(s, lock);
    return st;
}

/* What a failed rename means when a directory has the name of the object. An empty one is a
 * left-over and goes: NOT_FOUND, try again. */
static shardy_status blame_directory(
    int dir, const fs_key *key, shardy_status st, shardy_error *err)
{
    file_info info;
    if (shardy__at_stat(dir, key->name, &info, NULL) != SHARDY_OK || info.kind != FILE_DIR) {
        return st;
    }
    if (shardy__at_discard_dir(dir, key->name)) {
        return SHARDY_NOT_FOUND;
    }
    return shardy__error(err, SHARDY_INVALID, "store",
        "there are objects below \"%.300s/\", so it cannot be one itself", key->text);
}

static shardy_status try_name(fs_store *s, const shardy_store_put *put, const fs_key *key,
    const new_object *o, shardy_error *err)
{
    int dir;
    int32_t sync = s->sync && put->sync;
    shardy_status st = SHARDY_NOT_FOUND;
    if (!sync) {
        st = shardy__root_open_dir(&s->root, key->parent, &dir, err);
    }
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__root_make_dir(&s->root, key->parent, sync ? &s->durable : NULL, &dir, err);
    }
    if (st == SHARDY_OK) {
        st = rename_in(s, put, key, o, dir, err);
        if (st == SHARDY_EXISTS || st == SHARDY_INVALID) {
            st = blame_directory(dir, key, st, err);
        } else if (st == SHARDY_OK && sync && put->condition == SHARDY_PUT_IF_ABSENT) {
            st = shardy__file_sync(dir, err);
            if (st < 0 && err) {
                err->retriable = 1;
            }
        }
    }
    shardy__file_close(dir);
    return st;
}

static shardy_status give_name(fs_store *s, const shardy_store_put *put, const fs_key *key,
    const new_object *o, shardy_error *err)
{
    for (int i = 0; i < PUT_TRIES_MAX; i++) {
        shardy_status st = try_name(s, put, key, o, err);
        if (st != SHARDY_NOT_FOUND) {
            return st;
        }
        file_info info;
        st = shardy__at_stat(o->dir, o->name, &info, err);
        if (st == SHARDY_NOT_FOUND) {
            return shardy__error(
                err, SHARDY_IO, "store", "its file \"%.300s\" has been removed", o->name);
        }
        SHARDY_TRY(st);
    }
    return shardy__error(
        err, SHARDY_IO, "store", "the directory is removed again and again by somebody else");
}

/* EXISTS when the name of the object is taken already, before work is put into its content. */
static shardy_status check_absent(fs_store *s, const fs_key *key, shardy_error *err)
{
    int fd;
    file_info info;
    shardy_status st = shardy__root_open_dir(&s->root, key->parent, &fd, err);
    if (st == SHARDY_OK) {
        st = shardy__at_stat(fd, key->name, &info, err);
        shardy__file_close(fd);
        if (st == SHARDY_OK && info.kind != FILE_DIR) {
            return shardy__error(err, SHARDY_EXISTS, "store", "the object exists");
        }
    }
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status put_object(fs_store *s, const shardy_store_put *put, const fs_key *key,
    shardy_object_meta *meta_out, shardy_error *err)
{
    wait_limit limit = {put->deadline_ns, put->cancel};
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        SHARDY_TRY(check_absent(s, key, err));
    }
    SHARDY_TRY(begin_writing(s, &limit, err));
    new_object o;
    memset(&o, 0, sizeof o);
    o.fd = -1;
    o.dir = -1;
    shardy_status st = prepare(s, put, &o, err);
    if (st == SHARDY_OK) {
        st = shardy__check_time(s->context, put->deadline_ns, put->cancel, "store", err);
    }
    if (st == SHARDY_OK) {
        st = give_name(s, put, key, &o, err);
        if (st < 0) {
            prune(s, key);
        }
    }
    if (st < 0 && !o.moved && o.fd >= 0) {
        shardy__at_discard(o.dir, o.name); /* not there any more when only the last sync failed */
    }
    *meta_out = o.meta;
    close_object(&o);
    return st;
}

shardy_status shardy__store_fs_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    fs_key key;
    shardy__store_fs_split_key(put->key, &key);
    shardy_status st = put_object(store, put, &key, meta_out, err);
    return st < 0 ? shardy__error_prefix(err, st, "put \"%.300s\"", key.text) : st;
}

/* --- removing ----------------------------------------------------------------------------- */

/* Removes a file of an open directory. */
static shardy_status remove_in(
    fs_store *s, int dir, const fs_key *key, int32_t *removed_out, shardy_error *err)
{
    file_info info;
    *removed_out = 0;
    shardy_status st = shardy__at_stat(dir, key->name, &info, err);
    if (st != SHARDY_OK || info.kind == FILE_DIR) {
        return st < 0 ? st : SHARDY_OK;
    }
    if (info.kind != FILE_REGULAR) {
        return shardy__error(err, SHARDY_INVALID, "store", "not a regular file, so left alone");
    }
    wait_limit limit = {0, NULL};
    int lock = -1;
    st = begin_writing(s, &limit, err);
    if (st == SHARDY_OK) {
        st = take_lock(s, s->own.dir, &limit, &lock, err);
    }
    /* On a full disk nobody can replace an object either, and room can be made without the lock. */
    if (st < 0 && st != SHARDY_NO_SPACE) {
        return st;
    }
    st = shardy__at_remove(dir, key->name, err);
    if (lock >= 0) {
        drop_lock(s, lock);
    }
    *removed_out = st == SHARDY_OK;
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status remove_one(fs_store *s, shardy_bytes bytes, shardy_error *err)
{
    fs_key key;
    int dir;
    int32_t removed = 0;
    shardy__store_fs_split_key(bytes, &key);
    shardy_status st = shardy__root_open_dir(&s->root, key.parent, &dir, err);
    if (st == SHARDY_OK) {
        st = remove_in(s, dir, &key, &removed, err);
    }
    if (removed && s->sync) {
        /* What is deleted last must not be what is gone first after a crash. */
        st = shardy__file_sync(dir, err);
    }
    shardy__file_close(dir);
    if (removed) {
        prune(s, &key);
    }
    return st < 0 ? shardy__error_prefix(err, st, "remove \"%.300s\"", key.text) : SHARDY_OK;
}

shardy_status shardy__store_fs_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    shardy_status first = SHARDY_OK;
    (void)limits; /* files do not wait */
    for (size_t i = 0; i < n; i++) {
        shardy_error later;
        shardy__error_clear(&later);
        shardy_status st = remove_one(store, keys[i], first < 0 ? &later : err);
        results_out[i] = st;
        first = first < 0 ? first : st;
    }
    return first;
}
