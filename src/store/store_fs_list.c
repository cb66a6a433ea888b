/* store_fs_list.c: listing a directory as keys in byte order.
 *
 * Directories are walked depth first. In each, names are taken in the order of the keys they begin:
 * a directory counts as its name with a slash, so "a-b" comes before what is in "a". A page needs
 * at most limit + 1 names of a directory, so no more are kept while it is read, whatever its size;
 * when they turn out to be directories without objects, it is read again from there on. One
 * directory is open at a time. */
#include "store_fs.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/uri.h"

#include <stdlib.h>
#include <string.h>

/* Directories still to look into when it is asked whether there is any object below one. With more
 * than these, all without a file so far, the answer is yes. */
#define PENDING_MAX 10000u

/* One directory on the way down. */
typedef struct list_level {
    size_t path_len; /* its key with a slash is that much of lister.key */
    char **names;    /* while being read: a heap, largest first; then in order */
    size_t count;
    size_t next;
    int32_t cut; /* names after the last one were left out */
} list_level;

typedef struct list_page {
    arena arena;
    shardy_store_entry *entries;
    size_t count;
    size_t room;
} list_page;

typedef struct lister {
    const fs_store *store;
    const char *token; /* NULL: from the start */
    const char *after; /* while a directory is read again: names up to this one are known */
    int32_t rolls_up;
    int32_t full;
    size_t limit;
    list_level *levels;
    size_t depth;
    size_t levels_room;
    int fd; /* of the deepest directory, -1: not open now */
    list_page *page;
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 2];
} lister;

/* --- names of one directory --------------------------------------------------------------- */

static void swap_names(char **names, size_t a, size_t b)
{
    char *name = names[a];
    names[a] = names[b];
    names[b] = name;
}

static void sift_up(char **names, size_t at)
{
    while (at > 0 && strcmp(names[(at - 1) / 2], names[at]) < 0) {
        swap_names(names, (at - 1) / 2, at);
        at = (at - 1) / 2;
    }
}

static void sift_down(char **names, size_t count)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && strcmp(names[child], names[child + 1]) < 0) {
            child++;
        }
        if (strcmp(names[at], names[child]) >= 0) {
            return;
        }
        swap_names(names, at, child);
        at = child;
    }
}

/* Whether anything that begins with this key comes after the token. */
static int is_after_token(const lister *l, const char *key, int is_dir)
{
    if (!l->token || strcmp(key, l->token) > 0) {
        return 1;
    }
    return is_dir && !l->rolls_up && strncmp(key, l->token, strlen(key)) == 0;
}

static shardy_status keep_name(lister *l, list_level *level, const char *name, shardy_error *err)
{
    size_t room = l->limit + 1;
    if (level->count == room) {
        level->cut = 1;
        if (strcmp(name, level->names[0]) >= 0) {
            return SHARDY_OK;
        }
    }
    char *copy = shardy__strdup(name);
    if (!copy) {
        return shardy__error_nomem(err, "store");
    }
    if (level->count == room) {
        shardy__free(level->names[0]);
        level->names[0] = copy;
        sift_down(level->names, level->count);
    } else {
        level->names[level->count] = copy;
        sift_up(level->names, level->count);
        level->count++;
    }
    return SHARDY_OK;
}

static shardy_status see_entry(void *user, const char *entry, file_kind kind, shardy_error *err)
{
    lister *l = user;
    list_level *level = &l->levels[l->depth - 1];
    size_t len = strlen(entry);
    char name[258];
    int is_dir = kind == FILE_DIR;
    if ((!is_dir && kind != FILE_REGULAR) || len > 255 ||
        level->path_len + len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return SHARDY_OK;
    }
    memcpy(name, entry, len + 1);
    memcpy(l->key + level->path_len, name, len + 1);
    if (shardy__key_problem(l->key, level->path_len + len)) {
        return SHARDY_OK; /* cannot be read either */
    }
    if (is_dir) {
        memcpy(name + len, "/", 2);
        memcpy(l->key + level->path_len + len, "/", 2);
    }
    if ((l->after && strcmp(name, l->after) <= 0) || !is_after_token(l, l->key, is_dir)) {
        return SHARDY_OK;
    }
    /* The heap grows with what is found: a small directory does not cost a page. */
    if (level->count < l->limit + 1 && (level->count & (level->count - 1)) == 0) {
        size_t room = level->count ? level->count * 2 : 1;
        char **names = shardy__realloc(level->names, room * sizeof *names);
        if (!names) {
            return shardy__error_nomem(err, "store");
        }
        level->names = names;
    }
    return keep_name(l, level, name, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Opens the deepest directory. NOT_FOUND when it is not there (any more). */
static shardy_status open_level(lister *l, shardy_error *err)
{
    if (l->fd >= 0) {
        return SHARDY_OK;
    }
    size_t len = l->levels[l->depth - 1].path_len;
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 2];
    memcpy(path, l->key, len);
    path[len ? len - 1 : 0] = '\0';
    return shardy__root_open_dir(&l->store->root, path, &l->fd, err);
}

static void close_dir(lister *l)
{
    shardy__file_close(l->fd);
    l->fd = -1;
}

static void free_names(list_level *level)
{
    for (size_t i = 0; i < level->count; i++) {
        shardy__free(level->names[i]);
    }
    shardy__free(level->names);
    level->names = NULL;
    level->count = 0;
    level->next = 0;
}

/* Reads the first names of the deepest directory, after `after`. */
static shardy_status read_names(lister *l, const char *after, shardy_error *err)
{
    list_level *level = &l->levels[l->depth - 1];
    level->cut = 0;
    shardy_status st = open_level(l, err);
    if (st == SHARDY_OK) {
        l->after = after;
        st = shardy__dir_each(l->fd, see_entry, l, err);
        l->after = NULL;
    }
    if (st == SHARDY_OK && level->count > 1) {
        qsort(level->names, level->count, sizeof *level->names, compare_names);
    }
    return st;
}

/* --- going down and up -------------------------------------------------------------------- */

static void leave(lister *l)
{
    close_dir(l);
    free_names(&l->levels[--l->depth]);
}

/* Goes into the directory whose key, with its slash, is the first path_len bytes of l->key. */
static shardy_status enter(lister *l, size_t path_len, shardy_error *err)
{
    close_dir(l);
    if (l->depth == l->levels_room) {
        /* Bounded by the length of a key: a segment takes two bytes of it at least. */
        size_t room = l->levels_room ? l->levels_room * 2 : 8;
        list_level *levels = shardy__realloc(l->levels, room * sizeof *levels);
        if (!levels) {
            return shardy__error_nomem(err, "store");
        }
        l->levels = levels;
        l->levels_room = room;
    }
    list_level *level = &l->levels[l->depth++];
    memset(level, 0, sizeof *level);
    level->path_len = path_len;
    return read_names(l, NULL, err);
}

/* Reads on in a directory of which not all names were kept. */
static shardy_status read_on(lister *l, shardy_error *err)
{
    list_level *level = &l->levels[l->depth - 1];
    char *last = level->names[level->count - 1];
    level->names[level->count - 1] = NULL;
    free_names(level);
    shardy_status st = read_names(l, last, err);
    shardy__free(last);
    return st;
}

/* --- common prefixes ---------------------------------------------------------------------- */

/* Directories to look into. */
typedef struct search {
    char **paths;
    size_t count;
    size_t room;
    const char *path; /* of the one being read */
    int32_t found;
} search;

static shardy_status search_entry(void *user, const char *entry, file_kind kind, shardy_error *err)
{
    search *s = user;
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    size_t above = strlen(s->path);
    size_t len = strlen(entry);
    if ((kind != FILE_REGULAR && kind != FILE_DIR) || above + 1 + len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return SHARDY_OK;
    }
    memcpy(path, s->path, above);
    path[above] = '/';
    memcpy(path + above + 1, entry, len + 1);
    if (shardy__key_problem(path, above + 1 + len)) {
        return SHARDY_OK;
    }
    if (kind == FILE_REGULAR || s->count == PENDING_MAX) {
        s->found = 1;
        return SHARDY_DONE;
    }
    if (s->count == s->room) {
        size_t room = s->room ? s->room * 2 : 8;
        char **paths = shardy__realloc(s->paths, room * sizeof *paths);
        if (!paths) {
            return shardy__error_nomem(err, "store");
        }
        s->paths = paths;
        s->room = room;
    }
    s->paths[s->count] = shardy__strdup(path);
    if (!s->paths[s->count]) {
        return shardy__error_nomem(err, "store");
    }
    s->count++;
    return SHARDY_OK;
}

/* Whether there is an object below a directory: an empty one is not a prefix of anything. */
static shardy_status has_object(
    const fs_store *store, const char *key, int32_t *found_out, shardy_error *err)
{
    search s;
    memset(&s, 0, sizeof s);
    char *path = shardy__strndup(key, strlen(key) - 1);
    shardy_status st = path ? SHARDY_OK : shardy__error_nomem(err, "store");
    while (st >= 0 && path && !s.found) {
        int fd;
        st = shardy__root_open_dir(&store->root, path, &fd, err);
        if (st == SHARDY_OK) {
            s.path = path;
            st = shardy__dir_each(fd, search_entry, &s, err);
            shardy__file_close(fd);
        }
        shardy__free(path);
        path = s.count ? s.paths[--s.count] : NULL;
    }
    shardy__free(path);
    for (size_t i = 0; i < s.count; i++) {
        shardy__free(s.paths[i]);
    }
    shardy__free(s.paths);
    *found_out = s.found;
    return st < 0 ? st : SHARDY_OK;
}

/* --- the page ----------------------------------------------------------------------------- */

static void dispose_page(shardy_store_page *page)
{
    list_page *p = page->owner;
    shardy__arena_free(&p->arena);
    shardy__free(p->entries);
    shardy__free(p);
}

static shardy_status add_entry(lister *l, const file_info *info, shardy_error *err)
{
    list_page *p = l->page;
    if (p->count == l->limit) {
        l->full = 1;
        return SHARDY_OK;
    }
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        shardy_store_entry *entries = shardy__realloc(p->entries, room * sizeof *entries);
        if (!entries) {
            return shardy__error_nomem(err, "store");
        }
        p->entries = entries;
        p->room = room;
    }
    shardy_store_entry *e = &p->entries[p->count];
    memset(e, 0, sizeof *e);
    e->key = shardy__arena_strdup(&p->arena, l->key);
    if (!e->key) {
        return shardy__error_nomem(err, "store");
    }
    e->is_prefix = info == NULL;
    e->size = info ? info->size : 0;
    e->modified_us = info ? info->modified_us : 0;
    p->count++;
    return SHARDY_OK;
}

/* The next name of the deepest directory: a file is listed, a directory listed or entered. */
static shardy_status take_name(lister *l, shardy_error *err)
{
    list_level *level = &l->levels[l->depth - 1];
    const char *name = level->names[level->next++];
    size_t len = strlen(name);
    memcpy(l->key + level->path_len, name, len + 1);
    if (name[len - 1] != '/') {
        file_info info = {0};
        shardy_status st = open_level(l, err);
        if (st == SHARDY_OK) {
            st = shardy__at_stat(l->fd, name, &info, err);
        }
        return st == SHARDY_OK && info.kind == FILE_REGULAR ? add_entry(l, &info, err) : st;
    }
    if (!l->rolls_up) {
        return enter(l, level->path_len + len, err);
    }
    int32_t found;
    SHARDY_TRY(has_object(l->store, l->key, &found, err));
    return found ? add_entry(l, NULL, err) : SHARDY_OK;
}

static shardy_status fill_page(lister *l, const char *prefix, shardy_error *err)
{
    size_t len = strlen(prefix);
    memcpy(l->key, prefix, len + 1);
    shardy_status st = enter(l, len, err);
    /* Not being found is no failure: a file or directory that has gone meanwhile is not listed. */
    while (st >= 0 && l->depth > 0 && !l->full) {
        const list_level *level = &l->levels[l->depth - 1];
        if (level->next < level->count) {
            st = take_name(l, err);
        } else if (level->cut) {
            st = read_on(l, err);
        } else {
            leave(l);
        }
    }
    return st < 0 ? st : SHARDY_OK;
}

shardy_status shardy__store_fs_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    lister l;
    memset(&l, 0, sizeof l);
    l.store = store;
    l.token = what->token;
    l.rolls_up = what->delimiter == '/';
    l.limit = what->limit;
    l.fd = -1;
    l.page = shardy__calloc(1, sizeof *l.page);
    if (!l.page) {
        return shardy__error_nomem(err, "store");
    }
    shardy__arena_init(&l.page->arena);
    page_out->owner = l.page;
    page_out->dispose = dispose_page;
    shardy_status st = fill_page(&l, what->prefix, err);
    while (l.depth > 0) {
        leave(&l);
    }
    close_dir(&l);
    shardy__free(l.levels);
    if (st < 0) {
        shardy_store_page_dispose(page_out);
        return shardy__error_prefix(err, st, "list \"%.300s\"", what->prefix);
    }
    page_out->entries = l.page->entries;
    page_out->count = l.page->count;
    page_out->next_token = l.full ? l.page->entries[l.page->count - 1].key : NULL;
    return SHARDY_OK;
}
