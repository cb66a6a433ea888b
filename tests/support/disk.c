#include "disk.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE 4096u

/* Content: as it is, and as it was at the last sync. */
typedef struct disk_object {
    int is_dir;
    uint8_t *now;
    size_t len;
    uint8_t *durable;
    size_t durable_len;
} disk_object;

/* What a name in a directory stands for, now and durably; 0: nothing. */
typedef struct disk_name {
    uint64_t dir;
    char name[256];
    uint64_t now;
    uint64_t durable;
} disk_name;

struct disk {
    uint64_t root;
    disk_object *objects; /* by number */
    size_t object_count;
    disk_name *names;
    size_t name_count;
};

/* --- what is there ---------------------------------------------------------------------------- */

static disk_object *object(disk *d, uint64_t number)
{
    if (number >= d->object_count) {
        size_t count = (size_t)number * 2 + 64;
        d->objects = realloc(d->objects, count * sizeof *d->objects);
        assert_non_null(d->objects);
        memset(d->objects + d->object_count, 0, (count - d->object_count) * sizeof *d->objects);
        d->object_count = count;
    }
    return &d->objects[number];
}

static disk_name *name_of(disk *d, uint64_t dir, const char *name)
{
    for (size_t i = 0; i < d->name_count; i++) {
        if (d->names[i].dir == dir && strcmp(d->names[i].name, name) == 0) {
            return &d->names[i];
        }
    }
    d->names = realloc(d->names, (d->name_count + 1) * sizeof *d->names);
    assert_non_null(d->names);
    disk_name *n = &d->names[d->name_count++];
    memset(n, 0, sizeof *n);
    n->dir = dir;
    snprintf(n->name, sizeof n->name, "%s", name);
    return n;
}

static uint64_t number_of(const char *path, int *is_dir_out)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    *is_dir_out = S_ISDIR(st.st_mode);
    return calls_object((uint64_t)st.st_ino);
}

static void load_file(disk_object *o, const char *path)
{
    char *content = support_read_file(path, &o->len);
    o->now = (uint8_t *)content;
    o->durable = malloc(o->len + 1);
    memcpy(o->durable, content, o->len);
    o->durable_len = o->len;
}

typedef struct pending_dir {
    uint64_t number;
    char path[1024];
} pending_dir;

#define PENDING_MAX 200

/* Reads one directory; those in it are left for later. */
static void load_dir(disk *d, const pending_dir *from, pending_dir *pending, size_t *count)
{
    DIR *dir = opendir(from->path);
    struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[1024];
        int is_dir;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        assert_true(snprintf(path, sizeof path, "%s/%s", from->path, entry->d_name) < 1024);
        uint64_t number = number_of(path, &is_dir);
        disk_name *n = name_of(d, from->number, entry->d_name);
        n->now = n->durable = number;
        disk_object *o = object(d, number);
        o->is_dir = is_dir;
        if (is_dir) {
            assert_true(*count < PENDING_MAX);
            pending[*count].number = number;
            memcpy(pending[*count].path, path, sizeof path);
            (*count)++;
        } else if (!o->now) {
            load_file(o, path);
        }
    }
    closedir(dir);
}

disk *disk_new(const char *root)
{
    static pending_dir pending[PENDING_MAX];
    size_t count = 1;
    int is_dir;
    disk *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->root = number_of(root, &is_dir);
    object(d, d->root)->is_dir = 1;
    pending[0].number = d->root;
    snprintf(pending[0].path, sizeof pending[0].path, "%s", root);
    for (size_t i = 0; i < count; i++) {
        load_dir(d, &pending[i], pending, &count);
    }
    return d;
}

static uint8_t *copy_bytes(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = bytes ? malloc(len + 1) : NULL;
    if (copy) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

disk *disk_copy(const disk *d)
{
    disk *copy = malloc(sizeof *copy);
    assert_non_null(copy);
    *copy = *d;
    copy->objects = malloc(d->object_count * sizeof *d->objects);
    copy->names = malloc((d->name_count + 1) * sizeof *d->names);
    assert_true(copy->objects && copy->names);
    memcpy(copy->objects, d->objects, d->object_count * sizeof *d->objects);
    if (d->names) { /* not an empty directory */
        memcpy(copy->names, d->names, d->name_count * sizeof *d->names);
    }
    for (size_t i = 0; i < d->object_count; i++) {
        disk_object *o = &copy->objects[i];
        o->now = copy_bytes(o->now, o->len);
        o->durable = copy_bytes(o->durable, o->durable_len);
    }
    return copy;
}

void disk_free(disk *d)
{
    for (size_t i = 0; i < d->object_count; i++) {
        free(d->objects[i].now);
        free(d->objects[i].durable);
    }
    free(d->objects);
    free(d->names);
    free(d);
}

/* --- what happens to it ----------------------------------------------------------------------- */

static void set_len(disk_object *o, size_t len)
{
    o->now = realloc(o->now, len + 1);
    assert_non_null(o->now);
    if (len > o->len) {
        memset(o->now + o->len, 0, len - o->len);
    }
    o->len = len;
}

static void sync_object(disk *d, uint64_t number)
{
    disk_object *o = object(d, number);
    if (o->is_dir) {
        for (size_t i = 0; i < d->name_count; i++) {
            if (d->names[i].dir == number) {
                d->names[i].durable = d->names[i].now;
            }
        }
        return;
    }
    o->durable = realloc(o->durable, o->len + 1);
    assert_non_null(o->durable);
    if (o->len) {
        memcpy(o->durable, o->now, o->len);
    }
    o->durable_len = o->len;
}

void disk_apply(disk *d, const call_record *r, int forget)
{
    disk_object *o = object(d, r->object);
    switch (r->kind) {
    case CALL_CREATE:
    case CALL_MKDIR:
        o->is_dir = r->kind == CALL_MKDIR;
        if (r->dir) {
            name_of(d, r->dir, r->name)->now = r->object;
        }
        break;
    case CALL_WRITE:
        if (r->offset + r->len > o->len) {
            set_len(o, (size_t)r->offset + r->len);
        }
        memcpy(o->now + r->offset, r->data, r->len);
        break;
    case CALL_TRUNCATE:
        set_len(o, (size_t)r->offset);
        break;
    case CALL_SYNC:
        if (!forget) {
            sync_object(d, r->object);
        }
        break;
    case CALL_RENAME:
        name_of(d, r->dir, r->name)->now = 0;
        name_of(d, r->to_dir, r->to_name)->now = r->object;
        break;
    case CALL_LINK:
        name_of(d, r->to_dir, r->to_name)->now = r->object;
        break;
    case CALL_UNLINK:
        name_of(d, r->dir, r->name)->now = 0;
        break;
    default:
        break;
    }
}

/* --- what is left of it ----------------------------------------------------------------------- */

static uint64_t object_after(const disk_name *n, disk_loss loss, support_rand *rand)
{
    int keep = loss == DISK_LOSES_CONTENT || loss == DISK_LOSES_LENGTH ||
               (loss == DISK_LOSES_SOME && support_rand_below(rand, 2));
    return keep ? n->now : n->durable;
}

static void write_file(const disk_object *o, disk_loss loss, support_rand *rand, const char *path)
{
    int keeps = loss == DISK_LOSES_NAMES;
    int mixes = loss == DISK_LOSES_SOME;
    int pads = loss == DISK_LOSES_LENGTH || (mixes && support_rand_below(rand, 2));
    size_t len = keeps || pads ? o->len : o->durable_len;
    uint8_t *out = calloc(1, len + PAGE);
    assert_non_null(out);
    for (size_t at = 0; at < len; at += PAGE) {
        int now = keeps || (mixes && support_rand_below(rand, 2));
        const uint8_t *from = now ? o->now : o->durable;
        size_t have = now ? o->len : o->durable_len;
        if (at < have) {
            memcpy(out + at, from + at, have - at < PAGE ? have - at : PAGE);
        }
    }
    support_write_file(path, out, len);
    free(out);
}

void disk_write(const disk *d, disk_loss loss, support_rand *rand, const char *dest)
{
    static pending_dir pending[PENDING_MAX];
    size_t count = 1;
    pending[0].number = d->root;
    snprintf(pending[0].path, sizeof pending[0].path, "%s", dest);
    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; n < d->name_count; n++) {
            uint64_t number =
                d->names[n].dir == pending[i].number ? object_after(&d->names[n], loss, rand) : 0;
            if (number == 0) {
                continue;
            }
            char path[1024];
            assert_true(
                snprintf(path, sizeof path, "%.700s/%s", pending[i].path, d->names[n].name) < 1024);
            if (!d->objects[number].is_dir) {
                write_file(&d->objects[number], loss, rand, path);
                continue;
            }
            assert_true(count < PENDING_MAX && mkdir(path, 0700) == 0);
            pending[count].number = number;
            memcpy(pending[count].path, path, sizeof path);
            count++;
        }
    }
}

int disk_is_dir(const disk *d, uint64_t number)
{
    return number < d->object_count && d->objects[number].is_dir;
}
