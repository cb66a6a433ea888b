/* file_cache.c: looking for entries, and filling them. */
#include "file_cache.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/private_dir.h"
#include "cache_entry.h"
#include "cache_room.h"
#include "transfer.h"

#include <string.h>

#define CACHE_DIR_NAME "shardyfusion-1"
#define PARENT_MODE    0700
#define HASH_LEN       (16u * SHARDY_CHUNK_LEN)
/* How often somebody else may finish, fail or be evicted while we wait for him. */
#define FILL_TRIES 100

struct file_cache {
    shardy_context *context; /* one reference */
    cache_dirs dirs;
};

/* --- opening ---------------------------------------------------------------------------------- */

static shardy_status open_dirs(file_cache *cache, const char *dir, shardy_error *err)
{
    cache_dirs *d = &cache->dirs;
    int parent;
    shardy_status st = shardy__dir_open(dir, &parent, err);
    if (st == SHARDY_NOT_FOUND) {
        SHARDY_TRY(shardy__dir_make(dir, PARENT_MODE, 0, err));
        st = shardy__dir_open(dir, &parent, err);
    }
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "store", "it is no directory");
    }
    SHARDY_TRY(st);
    st = shardy__private_dir_open(parent, CACHE_DIR_NAME, &d->top, err);
    shardy__file_close(parent);
    SHARDY_TRY(st);
    SHARDY_TRY(shardy__private_dir_open(d->top, "files", &d->files.fd, err));
    return shardy__private_dir_open(d->top, "fill", &d->fill.fd, err);
}

shardy_status shardy__file_cache_open(shardy_context *context, const char *dir, uint64_t budget,
    file_cache **cache_out, shardy_error *err)
{
    *cache_out = NULL;
    file_cache *cache = shardy__calloc(1, sizeof *cache);
    if (!cache) {
        return shardy__error_nomem(err, "store");
    }
    cache->dirs.top = cache->dirs.files.fd = cache->dirs.fill.fd = -1;
    cache->dirs.budget = budget;
    shardy_status st = shardy__context_hold(context, &cache->context, err);
    cache->dirs.context = cache->context;
    if (st >= 0) {
        st = open_dirs(cache, dir, err);
        if (st < 0) {
            st = shardy__error_prefix(err, st, "cache \"%.300s\"", dir);
        }
    }
    if (st < 0) {
        shardy__file_cache_close(cache);
        return st;
    }
    shardy__cache_remove_dead(&cache->dirs);
    *cache_out = cache;
    return SHARDY_OK;
}

void shardy__file_cache_close(file_cache *cache)
{
    if (cache) {
        shardy__file_close(cache->dirs.fill.fd);
        shardy__file_close(cache->dirs.files.fd);
        shardy__file_close(cache->dirs.top);
        shardy__context_drop(cache->context);
        shardy__free(cache);
    }
}

/* --- names ------------------------------------------------------------------------------------ */

typedef struct entry_name {
    sha256 hash;
    char text[65];
} entry_name;

/* One request on its way through the cache. */
typedef struct job {
    const file_cache *cache;
    const file_cache_request *request;
    entry_name name;
    uint64_t len; /* of the entry */
    cached_file found;
    int damage_told; /* 1: the log has that what was found is damaged */
} job;

/* Each part with the zero at its end: no two lists of parts are the same bytes. */
static shardy_status name_version(const file_cache_request *r, sha256 *hash_out, shardy_error *err)
{
    const char *place = shardy__store_place(r->store);
    const char *parts[] = {"object", place, r->key, r->etag};
    uint8_t size[8];
    for (size_t i = 0; i < sizeof size; i++) {
        size[i] = (uint8_t)(r->size >> (8 * i));
    }
    sha256_state *state;
    shardy_status st = shardy__sha256_begin(&state, err);
    for (size_t i = 0; st >= 0 && i < sizeof parts / sizeof parts[0]; i++) {
        st = shardy__sha256_add(state, parts[i], strlen(parts[i]) + 1, err);
    }
    if (st >= 0) {
        st = shardy__sha256_add(state, size, sizeof size, err);
    }
    if (st >= 0) {
        st = shardy__sha256_finish(state, hash_out, err);
    }
    shardy__sha256_free(state);
    return st;
}

static shardy_status name_entry(job *j, shardy_error *err)
{
    const file_cache_request *r = j->request;
    if (r->digest) {
        j->name.hash = *r->digest;
    } else {
        int is_strong = r->etag && r->etag[0] && strncmp(r->etag, "W/", 2) != 0;
        if (!is_strong || !shardy__store_place(r->store)) {
            return SHARDY_DONE;
        }
        SHARDY_TRY(name_version(r, &j->name.hash, err));
    }
    shardy__sha256_hex(&j->name.hash, j->name.text);
    return shardy__cache_entry_len(r->size, &j->len) ? SHARDY_OK : SHARDY_DONE;
}

/* --- an entry that is there ------------------------------------------------------------------- */

static void drop_found(cached_file *f)
{
    shardy__file_close(f->file.fd);
    shardy__free(f->sums);
    memset(f, 0, sizeof *f);
    f->file.fd = -1;
}

/* Reads the object in the file from front to back. */
static shardy_status hash_file(int fd, uint64_t size, chunk_digest *digests, shardy_error *err)
{
    uint8_t *room = shardy__malloc(HASH_LEN);
    shardy_status st = room ? SHARDY_OK : shardy__error_nomem(err, "store");
    for (uint64_t at = 0; st >= 0 && at < size; at += HASH_LEN) {
        size_t len = size - at < HASH_LEN ? (size_t)(size - at) : HASH_LEN;
        st = shardy__file_read_at(fd, at, room, len, err);
        if (st >= 0) {
            st = shardy__chunk_digest_add(digests, room, len, err);
        }
    }
    shardy__free(room);
    return st;
}

/* OK, or NOT_FOUND when the bytes of the file are not those of its list. */
static shardy_status check_bytes(const cached_file *f, const sha256 *expected, shardy_error *err)
{
    chunk_digest digests;
    sha256 digest;
    shardy__chunk_digest_init(&digests);
    shardy_status st = hash_file(f->file.fd, f->file.size, &digests, err);
    if (st >= 0) {
        st = shardy__chunk_digest_finish(&digests, &digest, err);
    }
    shardy__chunk_digest_free(&digests);
    if (st < 0) {
        return st;
    }
    return memcmp(&digest, expected, sizeof digest) == 0 ? SHARDY_OK : SHARDY_NOT_FOUND;
}

/* Reads what an entry says about itself. NOT_FOUND when it is not what its name says. */
static shardy_status read_entry(job *j, uint64_t file_len, shardy_error *err)
{
    const file_cache_request *r = j->request;
    cached_file *f = &j->found;
    uint8_t bytes[CACHE_TAIL_LEN];
    cache_tail tail;
    sha256 digest;
    if (file_len != j->len) {
        return SHARDY_NOT_FOUND;
    }
    SHARDY_TRY(
        shardy__file_read_at(f->file.fd, file_len - CACHE_TAIL_LEN, bytes, sizeof bytes, err));
    if (!shardy__cache_tail_parse(bytes, file_len, &tail) ||
        memcmp(&tail.name, &j->name.hash, sizeof tail.name) != 0 ||
        (r->digest && memcmp(&tail.digest, r->digest, sizeof digest) != 0)) {
        return SHARDY_NOT_FOUND;
    }
    f->file.size = tail.size;
    f->sum_count = (size_t)shardy__chunk_count(tail.size);
    size_t sums_len = f->sum_count * sizeof *f->sums;
    f->sums = shardy__malloc(sums_len);
    if (!f->sums) {
        return shardy__error_nomem(err, "store");
    }
    SHARDY_TRY(shardy__file_read_at(f->file.fd, tail.size, f->sums, sums_len, err));
    SHARDY_TRY(shardy__sums_digest(f->sums, f->sum_count, &digest, err));
    if (memcmp(&digest, &tail.digest, sizeof digest) != 0) {
        return SHARDY_NOT_FOUND;
    }
    return r->check_all ? check_bytes(f, &digest, err) : SHARDY_OK;
}

/* OK with j->found set; NOT_FOUND when there is no entry, or none that can be believed: who fills
 * it renames over what is there. */
static shardy_status find_entry(job *j, shardy_error *err)
{
    const file_cache *cache = j->cache;
    file_info info;
    int fd;
    shardy_status st = shardy__root_open_file(&cache->dirs.files, j->name.text, &fd, &info, err);
    if (st == SHARDY_INVALID) {
        shardy__error_clear(err);
        return SHARDY_NOT_FOUND; /* a link, a socket: it is none of ours */
    }
    if (st != SHARDY_OK) {
        return st;
    }
    j->found.file.fd = fd;
    j->found.file.modified_us = info.modified_us;
    st = read_entry(j, info.size, err);
    if (st != SHARDY_OK) {
        drop_found(&j->found);
    }
    if (st == SHARDY_NOT_FOUND || st == SHARDY_CORRUPT) {
        shardy__error_clear(err);
        if (!j->damage_told) {
            shardy__log(cache->context, SHARDY_LOG_WARN, "store",
                "the file \"%s\" of the cache is damaged and will be replaced", j->name.text);
        }
        j->damage_told = 1;
        return SHARDY_NOT_FOUND;
    }
    return st;
}

/* The time of the file is when it was used last. */
static void touch_entry(const file_cache *cache, int fd)
{
    (void)shardy__private_file_set_modified(fd, shardy__wall_us(cache->context), NULL);
}

static void use_entry(const job *j)
{
    shardy__count(j->cache->context, SHARDY_METRIC_FILE_CACHE_HITS, 1);
    touch_entry(j->cache, j->found.file.fd);
}

/* --- filling ---------------------------------------------------------------------------------- */

/* Digests of an object whose list nobody has: from the bytes that were downloaded. */
static shardy_status compute_sums(job *j, int fd, shardy_error *err)
{
    const file_cache_request *r = j->request;
    chunk_digest digests;
    sha256 digest;
    shardy__chunk_digest_init(&digests);
    shardy_status st = hash_file(fd, r->size, &digests, err);
    if (st >= 0) {
        st = shardy__chunk_digest_finish(&digests, &digest, err);
    }
    if (st >= 0 && r->digest && memcmp(&digest, r->digest, sizeof digest) != 0) {
        st = shardy__error(err, SHARDY_CHECKSUM, "store",
            "\"%.300s\" differs from the digest it was published with", r->key);
    }
    if (st >= 0) {
        j->found.sums = digests.sums;
        j->found.sum_count = digests.count;
        digests.sums = NULL;
    }
    shardy__chunk_digest_free(&digests);
    return st;
}

static shardy_status take_list(job *j, shardy_bytes list, shardy_error *err)
{
    cached_file *f = &j->found;
    f->sum_count = (size_t)shardy__chunk_count(j->request->size);
    if (list.len == 0 || list.len != f->sum_count * sizeof *f->sums) {
        return shardy__error(err, SHARDY_CHECKSUM, "store",
            "%zu bytes of digests for \"%.300s\" of %llu bytes", list.len, j->request->key,
            (unsigned long long)j->request->size);
    }
    f->sums = shardy__malloc(list.len);
    if (!f->sums) {
        return shardy__error_nomem(err, "store");
    }
    memcpy(f->sums, list.data, list.len);
    return SHARDY_OK;
}

static shardy_status download(job *j, int fd, shardy_error *err)
{
    const file_cache_request *r = j->request;
    shardy_store_read first;
    shardy_buf list;
    transfer_options options;
    memset(&first, 0, sizeof first);
    memset(&list, 0, sizeof list);
    shardy__transfer_options_init(&options);
    options.size = r->size;
    options.if_match = r->digest ? NULL : r->etag;
    options.deadline_ns = r->deadline_ns;
    options.cancel = r->cancel;
    shardy_status st = SHARDY_OK;
    if (r->digest && r->load_begin) {
        options.first = &first;
        st = r->load_begin(r->user, &first, &list, err);
    }
    if (st == SHARDY_OK && list.len > 0) {
        st = take_list(j, shardy__bytes(list.data, list.len), err);
    }
    if (st == SHARDY_OK) {
        options.sums = j->found.sums;
        st = shardy__transfer_download(r->store, r->key, fd, &options, NULL, err);
    }
    shardy_buf_release(&list);
    shardy_buf_release(&first.body);
    if (st != SHARDY_OK) {
        return st;
    }
    return j->found.sums ? SHARDY_OK : compute_sums(j, fd, err);
}

static shardy_status write_end(const job *j, int fd, shardy_error *err)
{
    const file_cache_request *r = j->request;
    const cached_file *f = &j->found;
    uint8_t bytes[CACHE_TAIL_LEN];
    cache_tail tail;
    size_t sums_len = f->sum_count * sizeof *f->sums;
    tail.size = r->size;
    tail.name = j->name.hash;
    SHARDY_TRY(shardy__sums_digest(f->sums, f->sum_count, &tail.digest, err));
    shardy__cache_tail_write(&tail, bytes);
    SHARDY_TRY(shardy__file_write_at(fd, r->size, f->sums, sums_len, err));
    return shardy__file_write_at(fd, r->size + sums_len, bytes, sizeof bytes, err);
}

/* Fills the file, which is locked, and gives it its name. */
static shardy_status fill_file(job *j, int fd, shardy_error *err)
{
    const cache_dirs *dirs = &j->cache->dirs;
    const file_cache_request *r = j->request;
    const cache_wait wait = {r->deadline_ns, r->cancel};
    file_info info;
    SHARDY_TRY(shardy__file_truncate(fd, 0, err)); /* what a dead process left */
    shardy_status st = shardy__cache_reserve(dirs, fd, j->len, &wait, err);
    if (st != SHARDY_OK) {
        return st;
    }
    st = download(j, fd, err);
    if (st != SHARDY_OK) {
        return st;
    }
    SHARDY_TRY(write_end(j, fd, err));
    /* Opened before anybody can evict it; for reading only, and without the lock. */
    st = shardy__root_open_file(&dirs->fill, j->name.text, &j->found.file.fd, &info, err);
    if (st != SHARDY_OK) {
        return st < 0 ? st : SHARDY_DONE;
    }
    j->found.file.size = r->size;
    j->found.file.modified_us = info.modified_us;
    touch_entry(j->cache, fd);
    const at_name from = {dirs->fill.fd, j->name.text};
    const at_name to = {dirs->files.fd, j->name.text};
    st = shardy__at_rename(from, to, RENAME_OVER, err);
    return st == SHARDY_NOT_FOUND ? SHARDY_DONE : st;
}

/* Whether a download that failed did so here, and not in the store. */
static int is_local(shardy_status st, const shardy_error *error)
{
    return st < 0 && st != SHARDY_NOMEM && strcmp(error->domain, "fs") == 0;
}

/* One turn: NOT_FOUND with *gone_out 0 when it is to be looked again. */
static shardy_status try_fill(job *j, int *gone_out, shardy_error *err)
{
    const cache_dirs *dirs = &j->cache->dirs;
    const cache_wait wait = {j->request->deadline_ns, j->request->cancel};
    int fd;
    *gone_out = 0;
    shardy_status st = shardy__cache_lock(dirs, dirs->fill.fd, j->name.text, &wait, &fd, err);
    if (st != SHARDY_OK) {
        return st;
    }
    int is_done = 0;
    st = find_entry(j, err); /* somebody may have finished it before the file was made */
    if (st == SHARDY_OK) {
        use_entry(j);
    } else if (st == SHARDY_NOT_FOUND) {
        st = fill_file(j, fd, err);
        *gone_out = st == SHARDY_NOT_FOUND;
        is_done = st == SHARDY_OK;
    }
    if (is_done) {
        shardy__count(j->cache->context, SHARDY_METRIC_FILE_CACHE_FILLS, 1);
        shardy__file_unlock_close(fd);
        return SHARDY_OK;
    }
    if (st != SHARDY_OK) {
        drop_found(&j->found);
    }
    (void)shardy__at_discard(dirs->fill.fd, j->name.text);
    shardy__file_unlock_close(fd);
    return st;
}

static shardy_status find_or_fill(job *j, shardy_error *err)
{
    shardy_status st = SHARDY_NOT_FOUND;
    for (int i = 0; st == SHARDY_NOT_FOUND && i < FILL_TRIES; i++) {
        int gone;
        st = find_entry(j, err);
        if (st == SHARDY_OK) {
            use_entry(j);
            return SHARDY_OK;
        }
        if (st == SHARDY_NOT_FOUND) {
            st = try_fill(j, &gone, err);
            if (gone) {
                return SHARDY_NOT_FOUND;
            }
        }
    }
    return st == SHARDY_NOT_FOUND ? SHARDY_DONE : st;
}

/* OK, or DONE: what is there is used whatever the budget is, what is larger is not made. */
static shardy_status find_within_budget(job *j, shardy_error *err)
{
    const uint64_t budget = j->cache->dirs.budget;
    if (j->len <= budget) {
        return find_or_fill(j, err);
    }
    shardy_status st = find_entry(j, err);
    if (st == SHARDY_OK) {
        use_entry(j);
    } else if (st == SHARDY_NOT_FOUND) {
        shardy__log(j->cache->context, SHARDY_LOG_WARN, "store",
            "the cache of files may have %llu bytes, \"%.300s\" takes %llu: it is read without it",
            (unsigned long long)budget, j->request->key, (unsigned long long)j->len);
        st = SHARDY_DONE;
    }
    return st;
}

/* What cannot be kept, is held up by others, or finds no room. */
static void tell_bypass(const job *j, const char *why)
{
    shardy__log(j->cache->context, SHARDY_LOG_INFO, "store",
        "\"%.300s\" is read without the cache of files: %s", j->request->key, why);
}

shardy_status shardy__file_cache_get(
    file_cache *cache, const file_cache_request *request, cached_file *file_out, shardy_error *err)
{
    job j;
    shardy_error error;
    shardy__error_clear(&error);
    memset(&j, 0, sizeof j);
    j.found.file.fd = -1;
    j.cache = cache;
    j.request = request;
    shardy_status st = name_entry(&j, &error);
    if (st == SHARDY_DONE) {
        tell_bypass(&j, "it has no digest, and no strong ETag in a place that has a name");
    } else if (st == SHARDY_OK) {
        st = find_within_budget(&j, &error);
        if (st == SHARDY_DONE && j.len <= cache->dirs.budget) {
            tell_bypass(&j, "there is no room, or somebody who has the lock does not get on");
        }
    }
    if (is_local(st, &error)) {
        shardy__log(cache->context, SHARDY_LOG_WARN, "store",
            "the cache of files cannot be used, \"%.300s\" is read without it: %s", request->key,
            error.message);
        st = SHARDY_DONE;
    }
    if (st == SHARDY_DONE) {
        shardy__count(cache->context, SHARDY_METRIC_FILE_CACHE_BYPASSES, 1);
    } else if (st < 0 && err) {
        *err = error;
    }
    *file_out = j.found;
    return st;
}

int shardy__file_cache_has(const file_cache *cache, const sha256 *digest, uint64_t size)
{
    char name[65];
    uint64_t len;
    file_info info;
    shardy__sha256_hex(digest, name);
    return shardy__cache_entry_len(size, &len) &&
           shardy__at_stat(cache->dirs.files.fd, name, &info, NULL) == SHARDY_OK &&
           info.size == len;
}
