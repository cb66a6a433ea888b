/* cache_room.c: who may write to the cache, and what has to go. */
#include "cache_room.h"

#include "../base/alloc.h"

#include <string.h>

#define FILE_MODE 0600
/* Somebody who has a lock and does nothing for so long is stopped, or waits for a server that we
 * can ask ourselves. */
#define STALL_NS      ((int64_t)5 * 1000000000)
#define PAUSE_US      1000
#define PAUSE_US_MAX  20000
#define LOCK_TRIES    100
#define NAME_LEN      64u
#define VICTIMS       32u
#define LOCK_FILENAME "lock"

/* --- locks ------------------------------------------------------------------------------------ */

/* OK when the lock is ours, DONE when who has it does not get on. */
static shardy_status wait_for_lock(
    const cache_dirs *dirs, int fd, const cache_wait *wait, shardy_error *err)
{
    file_info last;
    memset(&last, 0, sizeof last);
    int64_t since = shardy__monotonic_ns(dirs->context);
    int64_t pause = PAUSE_US;
    for (;;) {
        int32_t taken;
        file_info now;
        SHARDY_TRY(shardy__file_try_lock(fd, &taken, err));
        if (taken) {
            return SHARDY_OK;
        }
        SHARDY_TRY(
            shardy__check_time(dirs->context, wait->deadline_ns, wait->cancel, "store", err));
        SHARDY_TRY(shardy__file_stat(fd, &now, err));
        if (now.modified_us != last.modified_us || now.size != last.size) {
            last = now;
            since = shardy__monotonic_ns(dirs->context);
        }
        if (shardy__monotonic_ns(dirs->context) - since >= STALL_NS) {
            return SHARDY_DONE;
        }
        shardy__sleep_us(dirs->context, pause);
        pause = pause * 2 < PAUSE_US_MAX ? pause * 2 : PAUSE_US_MAX;
    }
}

/* 1 when the open file is the one of that name. */
static int is_named(int fd, int dir, const char *name)
{
    file_info mine;
    file_info there;
    return shardy__file_stat(fd, &mine, NULL) == SHARDY_OK &&
           shardy__at_stat(dir, name, &there, NULL) == SHARDY_OK && mine.inode == there.inode;
}

shardy_status shardy__cache_lock(const cache_dirs *dirs, int dir, const char *name,
    const cache_wait *wait, int *fd_out, shardy_error *err)
{
    int fd;
    *fd_out = -1;
    SHARDY_TRY(shardy__at_open_or_create(dir, name, FILE_MODE, &fd, err));
    shardy_status st = wait_for_lock(dirs, fd, wait, err);
    if (st == SHARDY_OK && !is_named(fd, dir, name)) {
        st = SHARDY_NOT_FOUND; /* it has been finished or removed meanwhile */
    }
    if (st != SHARDY_OK) {
        shardy__file_unlock_close(fd);
        return st;
    }
    *fd_out = fd;
    return SHARDY_OK;
}

/* --- what is there ---------------------------------------------------------------------------- */

typedef struct cache_file {
    char name[NAME_LEN + 1];
    int64_t used_us;
    uint64_t len;
} cache_file;

/* What is in the cache: how much, and the files that were used least recently. */
typedef struct survey {
    const cache_dirs *dirs;
    uint64_t bytes;
    cache_file oldest[VICTIMS]; /* by their time, then by their name */
    size_t count;
} survey;

static void count_bytes(survey *s, uint64_t len)
{
    s->bytes = len < UINT64_MAX - s->bytes ? s->bytes + len : UINT64_MAX;
}

static int is_older(const cache_file *a, const cache_file *b)
{
    return a->used_us != b->used_us ? a->used_us < b->used_us : strcmp(a->name, b->name) < 0;
}

static void keep_oldest(survey *s, const cache_file *file)
{
    size_t at = s->count;
    while (at > 0 && is_older(file, &s->oldest[at - 1])) {
        at--;
    }
    if (at == VICTIMS) {
        return;
    }
    size_t last = s->count < VICTIMS ? s->count++ : VICTIMS - 1;
    memmove(&s->oldest[at + 1], &s->oldest[at], (last - at) * sizeof s->oldest[0]);
    s->oldest[at] = *file;
}

static shardy_status see_entry(void *user, const char *name, file_kind kind, shardy_error *err)
{
    survey *s = user;
    file_info info;
    cache_file file;
    if (kind != FILE_REGULAR || strlen(name) != NAME_LEN) {
        return SHARDY_OK; /* not ours */
    }
    shardy_status st = shardy__at_stat(s->dirs->files.fd, name, &info, err);
    if (st != SHARDY_OK) {
        return st == SHARDY_NOT_FOUND ? SHARDY_OK : st;
    }
    memcpy(file.name, name, NAME_LEN + 1);
    file.used_us = info.modified_us;
    file.len = info.size;
    count_bytes(s, info.size);
    keep_oldest(s, &file);
    return SHARDY_OK;
}

/* Counts a file that is being filled; removes it when nobody does. */
static shardy_status see_fill(void *user, const char *name, file_kind kind, shardy_error *err)
{
    survey *s = user;
    const fs_root *fill = &s->dirs->fill;
    file_info info;
    int32_t taken = 0;
    int fd;
    (void)err;
    if (kind != FILE_REGULAR || shardy__root_open_file(fill, name, &fd, &info, NULL) != SHARDY_OK) {
        return SHARDY_OK;
    }
    /* Who has just made the file and not locked it yet waits for us, and sees that it is gone. */
    if (shardy__file_try_lock(fd, &taken, NULL) == SHARDY_OK && taken &&
        is_named(fd, fill->fd, name) && shardy__at_discard(fill->fd, name)) {
        info.size = 0;
    }
    count_bytes(s, info.size);
    if (taken) {
        shardy__file_unlock_close(fd);
    } else {
        shardy__file_close(fd);
    }
    return SHARDY_OK;
}

void shardy__cache_remove_dead(const cache_dirs *dirs)
{
    survey s;
    s.dirs = dirs;
    s.bytes = 0;
    s.count = 0;
    (void)shardy__dir_each(dirs->fill.fd, see_fill, &s, NULL);
}

static shardy_status look_around(const cache_dirs *dirs, survey *s, shardy_error *err)
{
    s->dirs = dirs;
    s->bytes = 0;
    s->count = 0;
    SHARDY_TRY(shardy__dir_each(dirs->fill.fd, see_fill, s, err));
    return shardy__dir_each(dirs->files.fd, see_entry, s, err);
}

/* --- room ------------------------------------------------------------------------------------- */

/* Removes entries until there is room. Returns how many bytes are still in the way. */
static uint64_t evict(survey *s, uint64_t most)
{
    for (size_t i = 0; i < s->count && s->bytes > most; i++) {
        const cache_file *file = &s->oldest[i];
        if (shardy__at_discard(s->dirs->files.fd, file->name)) {
            s->bytes -= file->len;
            shardy__count(s->dirs->context, SHARDY_METRIC_FILE_CACHE_EVICTIONS, 1);
        }
    }
    return s->bytes > most ? s->bytes - most : 0;
}

/* Called with the lock of the cache. */
static shardy_status make_room(const cache_dirs *dirs, uint64_t len, shardy_error *err)
{
    survey *s = shardy__malloc(sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    shardy_status st;
    uint64_t left = UINT64_MAX;
    uint64_t before;
    do {
        before = left;
        st = look_around(dirs, s, err);
        left = st < 0 ? 0 : evict(s, dirs->budget - len);
    } while (left > 0 && left < before);
    shardy__free(s);
    return st < 0 ? st : left > 0 ? SHARDY_DONE : SHARDY_OK;
}

shardy_status shardy__cache_reserve(
    const cache_dirs *dirs, int fd, uint64_t len, const cache_wait *wait, shardy_error *err)
{
    if (len > dirs->budget) {
        return SHARDY_DONE;
    }
    int lock = -1;
    shardy_status st = SHARDY_NOT_FOUND;
    for (int i = 0; st == SHARDY_NOT_FOUND && i < LOCK_TRIES; i++) {
        st = shardy__cache_lock(dirs, dirs->top, LOCK_FILENAME, wait, &lock, err);
    }
    if (st == SHARDY_OK) {
        st = make_room(dirs, len, err);
        if (st == SHARDY_OK) {
            st = shardy__file_truncate(fd, len, err);
        }
        shardy__file_unlock_close(lock);
    }
    return st == SHARDY_NOT_FOUND ? SHARDY_DONE : st;
}
