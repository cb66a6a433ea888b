/* store_fs_list.c: listing a directory as keys in byte order.
 *
 * Directories are read one at a time on the way down, their entries sorted; a directory sorts as
 * its name with a slash, because that is how its keys begin. Memory: the entries of the directories
 * on one path. */
#include "store_fs.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/fault.h"

#include <shardyfusion/limits.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 128

typedef struct listed_entry {
    char *name; /* directories with a slash at the end */
    int32_t is_dir;
} listed_entry;

/* One directory that is being listed. */
typedef struct listed_dir {
    int fd;
    size_t prefix_len; /* of the key of this directory, with its slash */
    listed_entry *entries;
    size_t count;
    size_t next;
    arena arena;
} listed_dir;

typedef struct lister {
    const fs_store *store;
    const char *token;
    char delimiter;
    size_t limit;
    size_t skip; /* bytes of the prefix that was asked for: delimiters in it do not count */
    char key[SHARDY_OBJECT_KEY_LEN_MAX + NAME_MAX + 2];
    listed_dir *dirs;
    int depth;
    arena *arena; /* of the page */
    shardy_store_entry *entries;
    size_t count;
    size_t room;
    int32_t more;
} lister;

static int compare_names(const void *a, const void *b)
{
    const listed_entry *x = a;
    const listed_entry *y = b;
    return strcmp(x->name, y->name);
}

/* 1 for a directory, 0 for a regular file, -1 for anything else. */
static int kind_of(int dir, const struct dirent *entry)
{
    if (entry->d_type == DT_REG) {
        return 0;
    }
    if (entry->d_type == DT_DIR) {
        return 1;
    }
    struct stat info;
    if (entry->d_type != DT_UNKNOWN ||
        fstatat(dir, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }
    return S_ISREG(info.st_mode) ? 0 : S_ISDIR(info.st_mode) ? 1 : -1;
}

static shardy_status add_name(
    listed_dir *d, const char *name, int is_dir, size_t *room, shardy_error *err)
{
    if (d->count == *room) {
        size_t bigger = *room ? *room * 2 : 64;
        listed_entry *entries = shardy__realloc(d->entries, bigger * sizeof *entries);
        if (!entries) {
            return shardy__error_nomem(err, "store");
        }
        d->entries = entries;
        *room = bigger;
    }
    size_t len = strlen(name);
    char *copy = shardy__arena_alloc(&d->arena, len + 2);
    if (!copy) {
        return shardy__error_nomem(err, "store");
    }
    memcpy(copy, name, len);
    copy[len] = is_dir ? '/' : '\0';
    copy[len + 1] = '\0';
    d->entries[d->count].name = copy;
    d->entries[d->count].is_dir = is_dir;
    d->count++;
    return SHARDY_OK;
}

/* Reads the names of a directory and puts them in order. */
static shardy_status read_names(listed_dir *d, int is_root, shardy_error *err)
{
    int copy = shardy__fault(SHARDY_FAULT_READ) ? -1 : dup(d->fd);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        int e = errno;
        if (copy >= 0) {
            close(copy);
        }
        return shardy__error_errno(err, e ? e : EIO, "store", "cannot list a directory");
    }
    rewinddir(dir);
    size_t room = 0;
    shardy_status st = SHARDY_OK;
    struct dirent *entry;
    while (st >= 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            (is_root && strcmp(name, ".shardyfusion") == 0)) {
            continue;
        }
        int kind = kind_of(d->fd, entry);
        if (kind >= 0) {
            st = add_name(d, name, kind, &room, err);
        }
    }
    closedir(dir);
    if (st >= 0 && d->count > 1) {
        qsort(d->entries, d->count, sizeof *d->entries, compare_names);
    }
    return st;
}

static void leave(lister *l)
{
    listed_dir *d = &l->dirs[--l->depth];
    close(d->fd);
    shardy__free(d->entries);
    shardy__arena_free(&d->arena);
}

/* Goes into a directory whose key (with its slash) is the first `prefix_len` bytes of l->key. The
 * descriptor is taken. */
static shardy_status enter(lister *l, int fd, size_t prefix_len, shardy_error *err)
{
    if (l->depth == DEPTH_MAX) {
        close(fd);
        return shardy__error(
            err, SHARDY_INVALID, "store", "directories are nested deeper than %d", DEPTH_MAX);
    }
    listed_dir *d = &l->dirs[l->depth++];
    memset(d, 0, sizeof *d);
    d->fd = fd;
    d->prefix_len = prefix_len;
    shardy__arena_init(&d->arena);
    return read_names(d, prefix_len == 0, err);
}

/* 1 when there is a file somewhere below: only then is a common prefix listed. */
static int has_file(int parent, const char *name)
{
    int fds[DEPTH_MAX];
    DIR *dirs[DEPTH_MAX];
    int depth = 0;
    int found = 0;
    fds[0] = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dirs[0] = fds[0] >= 0 ? fdopendir(fds[0]) : NULL;
    depth = dirs[0] ? 1 : 0;
    while (depth > 0 && !found) {
        struct dirent *entry = readdir(dirs[depth - 1]);
        if (!entry) {
            closedir(dirs[--depth]);
            continue;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        int kind = kind_of(dirfd(dirs[depth - 1]), entry);
        found = kind == 0;
        if (kind == 1 && depth < DEPTH_MAX) {
            int fd = openat(dirfd(dirs[depth - 1]), entry->d_name,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
            if (dir) {
                dirs[depth++] = dir;
            } else if (fd >= 0) {
                close(fd);
            }
        }
    }
    while (depth > 0) {
        closedir(dirs[--depth]);
    }
    return found;
}

static shardy_status add_entry(
    lister *l, size_t key_len, int is_prefix, const struct stat *info, shardy_error *err)
{
    if (l->count == l->limit) {
        l->more = 1;
        return SHARDY_OK;
    }
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        shardy_store_entry *entries = shardy__arena_calloc(l->arena, room, sizeof *entries);
        if (!entries) {
            return shardy__error_nomem(err, "store");
        }
        if (l->count) {
            memcpy(entries, l->entries, l->count * sizeof *entries);
        }
        l->entries = entries;
        l->room = room;
    }
    shardy_store_entry *e = &l->entries[l->count];
    e->key = shardy__arena_strndup(l->arena, l->key, key_len);
    if (!e->key) {
        return shardy__error_nomem(err, "store");
    }
    e->is_prefix = is_prefix;
    if (info) {
        e->size = (uint64_t)info->st_size;
        e->modified_us = (int64_t)info->st_mtim.tv_sec * 1000000 + info->st_mtim.tv_nsec / 1000;
    }
    l->count++;
    return SHARDY_OK;
}

/* One entry of the current directory: goes into it, or lists it. */
static shardy_status visit(lister *l, shardy_error *err)
{
    listed_dir *d = &l->dirs[l->depth - 1];
    const listed_entry *e = &d->entries[d->next++];
    size_t len = strlen(e->name);
    if (d->prefix_len + len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return SHARDY_OK; /* nothing that could be a key */
    }
    memcpy(l->key + d->prefix_len, e->name, len + 1);
    size_t key_len = d->prefix_len + len;
    int rolled_up = e->is_dir && l->delimiter == '/';
    if (l->token) {
        int order = strcmp(l->key, l->token);
        int inside = e->is_dir && !rolled_up && strncmp(l->key, l->token, key_len) == 0;
        if (order <= 0 && !inside) {
            return SHARDY_OK;
        }
    }
    if (!e->is_dir) {
        struct stat info;
        return fstatat(d->fd, e->name, &info, AT_SYMLINK_NOFOLLOW) == 0
                   ? add_entry(l, key_len, 0, &info, err)
                   : SHARDY_OK; /* just removed */
    }
    char name[NAME_MAX + 2];
    memcpy(name, e->name, len);
    name[len - 1] = '\0';
    if (rolled_up) {
        return has_file(d->fd, name) ? add_entry(l, key_len, 1, NULL, err) : SHARDY_OK;
    }
    int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? enter(l, fd, key_len, err) : SHARDY_OK;
}

static void dispose_page(shardy_store_page *page)
{
    shardy__arena_free(page->owner);
    shardy__free(page->owner);
}

/* Opens the directory of the prefix; NOT_FOUND when there is none. */
static shardy_status open_prefix(lister *l, const char *prefix, shardy_error *err)
{
    int fd = dup(l->store->root);
    const char *p = prefix;
    while (fd >= 0 && *p) {
        char name[NAME_MAX + 1];
        size_t len = strcspn(p, "/");
        if (len > NAME_MAX) {
            close(fd);
            return SHARDY_NOT_FOUND;
        }
        memcpy(name, p, len);
        name[len] = '\0';
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int e = errno;
        close(fd);
        errno = e;
        fd = next;
        p += len + 1;
    }
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? SHARDY_NOT_FOUND
                   : shardy__error_errno(err, errno, "store", "cannot list \"%.300s\"", prefix);
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    size_t len = strlen(prefix);
    memcpy(l->key, prefix, len + 1);
    l->skip = len;
    return enter(l, fd, len, err);
}

static shardy_status fill_page(
    lister *l, const char *prefix, shardy_store_page *page, shardy_error *err)
{
    shardy_status st = open_prefix(l, prefix, err);
    while (st == SHARDY_OK && l->depth > 0 && !l->more) {
        listed_dir *d = &l->dirs[l->depth - 1];
        if (d->next == d->count) {
            leave(l);
        } else {
            st = visit(l, err);
        }
    }
    while (l->depth > 0) {
        leave(l);
    }
    page->entries = l->entries;
    page->count = l->count;
    page->next_token = l->more ? l->entries[l->count - 1].key : NULL;
    return st < 0 ? st : SHARDY_OK;
}

shardy_status shardy__store_fs_list(void *store, const char *prefix, char delimiter,
    const char *token, size_t limit, shardy_store_page *page_out, shardy_error *err)
{
    lister *l = shardy__calloc(1, sizeof *l);
    arena *a = shardy__calloc(1, sizeof *a);
    listed_dir *dirs = shardy__calloc(DEPTH_MAX, sizeof *dirs);
    shardy_status st = SHARDY_OK;
    if (!l || !a || !dirs) {
        st = shardy__error_nomem(err, "store");
    } else if (delimiter != 0 && delimiter != '/') {
        st = shardy__error(err, SHARDY_UNSUPPORTED, "store",
            "the delimiter \"%c\" is not supported, only '/' is", delimiter);
    } else {
        l->store = store;
        l->token = token;
        l->delimiter = delimiter;
        l->limit = limit;
        l->dirs = dirs;
        l->arena = a;
        page_out->owner = a;
        page_out->dispose = dispose_page;
        st = fill_page(l, prefix, page_out, err);
        if (st < 0) {
            shardy_store_page_dispose(page_out);
        }
        a = NULL;
    }
    shardy__free(dirs);
    shardy__free(a);
    shardy__free(l);
    return st;
}
