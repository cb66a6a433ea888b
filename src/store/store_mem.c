/* store_mem.c: a store in memory, for tests and for data that are not to touch a disk. */
#include "store.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/digest.h"
#include "../base/fs.h"
#include "../base/map.h"
#include "../base/thread.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY_LEN (1u << 20)

/* An object: its bytes are never changed, a put replaces the whole. */
typedef struct mem_object {
    uint8_t *data;
    size_t len;
    int64_t modified_us;
    shardy_etag etag;
} mem_object;

typedef struct mem_store {
    shardy_context *context; /* one reference */
    mutex lock;              /* rank: leaf; guards the rest */
    map objects;
    uint64_t versions; /* given out so far: no two objects share an ETag */
} mem_store;

static void free_object(mem_object *o)
{
    if (o) {
        shardy__free(o->data);
        shardy__free(o);
    }
}

static uint64_t mem_caps(void *store)
{
    (void)store;
    return SHARDY_STORE_CAP_PUT_IF_ABSENT | SHARDY_STORE_CAP_PUT_IF_MATCH;
}

static void fill_meta(const mem_object *o, shardy_object_meta *meta)
{
    meta->size = o->len;
    meta->modified_us = o->modified_us;
    meta->etag = o->etag;
}

/* Called with the lock. */
static shardy_status read_object(const mem_object *o, shardy_store_read *r)
{
    if (!o) {
        return SHARDY_NOT_FOUND;
    }
    fill_meta(o, &r->meta);
    if (r->if_none_match && strcmp(r->if_none_match, o->etag.text) == 0) {
        return SHARDY_NOT_MODIFIED;
    }
    if (r->if_match && strcmp(r->if_match, o->etag.text) != 0) {
        return shardy__error(&r->error, SHARDY_CONFLICT, "store",
            "the object \"%.*s\" has another version", SHARDY_BYTES_FMT(r->key));
    }
    uint64_t left = r->offset < o->len ? o->len - r->offset : 0;
    size_t len = (size_t)(r->len < left ? r->len : left);
    const uint8_t *from = len ? o->data + r->offset : o->data;
    if (!r->dest) {
        SHARDY_TRY(shardy__buf_copy(from, len, &r->body, &r->error));
    } else if (len) {
        memcpy(r->dest, from, len);
    }
    r->received = len;
    return SHARDY_OK;
}

static void mem_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    mem_store *s = store;
    for (size_t i = 0; i < n; i++) {
        shardy__mutex_lock(&s->lock);
        reads[i].status = read_object(
            shardy__map_get(&s->objects, reads[i].key.data, reads[i].key.len), &reads[i]);
        shardy__mutex_unlock(&s->lock);
        done(user, &reads[i]);
    }
}

static shardy_status mem_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    mem_store *s = store;
    (void)limits; /* nothing waits */
    (void)err;
    shardy__mutex_lock(&s->lock);
    const mem_object *o = shardy__map_get(&s->objects, key.data, key.len);
    if (o) {
        fill_meta(o, meta_out);
    }
    shardy__mutex_unlock(&s->lock);
    return o ? SHARDY_OK : SHARDY_NOT_FOUND;
}

/* --- writing ---------------------------------------------------------------------------------- */

static shardy_status collect_file(const char *path, bytebuf *out, shardy_error *err)
{
    int fd;
    shardy_status st = shardy__file_open(path, &fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "store", "there is no file \"%.300s\"", path);
    }
    SHARDY_TRY(st);
    size_t n = 1;
    while (st >= 0 && n > 0) {
        void *room = shardy__bytebuf_reserve(out, COPY_LEN);
        st = shardy__bytebuf_check(out, "store", err);
        if (st >= 0) {
            st = shardy__file_read(fd, room, COPY_LEN, &n, err);
        }
        if (st >= 0) {
            out->len += n;
        }
    }
    shardy__file_close(fd);
    return st;
}

static shardy_status collect_body(const shardy_store_put *put, bytebuf *out, shardy_error *err)
{
    if (put->file_path) {
        return collect_file(put->file_path, out, err);
    }
    if (!put->next) {
        shardy__bytebuf_append(out, put->body.data, put->body.len);
        return shardy__bytebuf_check(out, "store", err);
    }
    shardy_status st;
    shardy_bytes part;
    while ((st = put->next(put->next_user, &part, err)) == SHARDY_OK) {
        shardy__bytebuf_append(out, part.data, part.len);
        SHARDY_TRY(shardy__bytebuf_check(out, "store", err));
    }
    return st < 0 ? st : SHARDY_OK;
}

/* Called with the lock. */
static shardy_status place(
    mem_store *s, const shardy_store_put *put, mem_object *o, shardy_error *err)
{
    const mem_object *now = shardy__map_get(&s->objects, put->key.data, put->key.len);
    if (put->condition == SHARDY_PUT_IF_ABSENT && now) {
        return shardy__error(
            err, SHARDY_EXISTS, "store", "the object \"%.*s\" exists", SHARDY_BYTES_FMT(put->key));
    }
    if (put->condition == SHARDY_PUT_IF_MATCH && (!now || strcmp(now->etag.text, put->etag) != 0)) {
        return shardy__error(err, SHARDY_CONFLICT, "store", "the object \"%.*s\" %s",
            SHARDY_BYTES_FMT(put->key),
            now ? "was changed by somebody else" : "is not there any more");
    }
    snprintf(o->etag.text, sizeof o->etag.text, "v%llu", (unsigned long long)++s->versions);
    void *old = NULL;
    SHARDY_TRY(shardy__map_put(&s->objects, put->key.data, put->key.len, o, &old, err));
    free_object(old);
    return SHARDY_OK;
}

static shardy_status mem_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    mem_store *s = store;
    bytebuf body;
    shardy__bytebuf_init(&body, SIZE_MAX / 4);
    shardy_status st = collect_body(put, &body, err);
    mem_object *o = st >= 0 ? shardy__calloc(1, sizeof *o) : NULL;
    if (st >= 0 && !o) {
        st = shardy__error_nomem(err, "store");
    }
    if (o) {
        o->data = (uint8_t *)body.data;
        o->len = body.len;
        o->modified_us = shardy__wall_us(s->context);
        body.data = NULL;
        shardy__mutex_lock(&s->lock);
        st = place(s, put, o, err);
        if (st >= 0) {
            fill_meta(o, meta_out);
        }
        shardy__mutex_unlock(&s->lock);
    }
    shardy__bytebuf_free(&body);
    if (st < 0) {
        free_object(o);
    }
    return st;
}

static shardy_status mem_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    mem_store *s = store;
    (void)limits; /* nothing waits */
    (void)err;
    for (size_t i = 0; i < n; i++) {
        shardy__mutex_lock(&s->lock);
        void *old = shardy__map_remove(&s->objects, keys[i].data, keys[i].len);
        shardy__mutex_unlock(&s->lock);
        free_object(old);
        results_out[i] = SHARDY_OK;
    }
    return SHARDY_OK;
}

/* --- listing ---------------------------------------------------------------------------------- */

static void dispose_page(shardy_store_page *page)
{
    shardy__arena_free(page->owner);
    shardy__free(page->owner);
}

static int compare_entries(const void *a, const void *b)
{
    const shardy_store_entry *x = a;
    const shardy_store_entry *y = b;
    return strcmp(x->key, y->key);
}

/* Every key below the prefix, rolled up, in any order and with repetitions. Called with the
 * lock. */
static shardy_status gather(const mem_store *s, const char *prefix, char delimiter, arena *a,
    shardy_store_entry *entries, size_t *count_out, shardy_error *err)
{
    size_t prefix_len = strlen(prefix);
    size_t pos = 0;
    const map_entry *e;
    *count_out = 0;
    while ((e = shardy__map_next(&s->objects, &pos)) != NULL) {
        if (e->key_len <= prefix_len || memcmp(e->key, prefix, prefix_len) != 0) {
            continue;
        }
        const char *cut = delimiter ? strchr(e->key + prefix_len, delimiter) : NULL;
        size_t len = cut ? (size_t)(cut - e->key) + 1 : e->key_len;
        const mem_object *o = e->value;
        shardy_store_entry *entry = &entries[(*count_out)++];
        entry->key = shardy__arena_strndup(a, e->key, len);
        if (!entry->key) {
            return shardy__error_nomem(err, "store");
        }
        entry->is_prefix = cut != NULL;
        entry->size = cut ? 0 : o->len;
        entry->modified_us = cut ? 0 : o->modified_us;
    }
    return SHARDY_OK;
}

static shardy_status mem_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    mem_store *s = store;
    arena *a = shardy__calloc(1, sizeof *a);
    if (!a) {
        return shardy__error_nomem(err, "store");
    }
    page_out->owner = a;
    page_out->dispose = dispose_page;
    size_t count = 0;
    shardy_status st;
    shardy__mutex_lock(&s->lock);
    shardy_store_entry *entries = shardy__arena_calloc(a, s->objects.count, sizeof *entries);
    st = entries ? gather(s, what->prefix, what->delimiter, a, entries, &count, err)
                 : shardy__error_nomem(err, "store");
    shardy__mutex_unlock(&s->lock);
    if (st < 0) {
        shardy_store_page_dispose(page_out);
        return st;
    }
    if (count > 1) {
        qsort(entries, count, sizeof *entries, compare_entries);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if ((what->token && strcmp(entries[i].key, what->token) <= 0) ||
            (kept > 0 && strcmp(entries[kept - 1].key, entries[i].key) == 0)) {
            continue;
        }
        if (kept == what->limit) {
            page_out->next_token = entries[kept - 1].key;
            break;
        }
        entries[kept++] = entries[i];
    }
    page_out->entries = entries;
    page_out->count = kept;
    return SHARDY_OK;
}

static void mem_close(void *store)
{
    mem_store *s = store;
    size_t pos = 0;
    const map_entry *e;
    while ((e = shardy__map_next(&s->objects, &pos)) != NULL) {
        free_object(e->value);
    }
    shardy__map_free(&s->objects);
    shardy__mutex_destroy(&s->lock);
    shardy__context_drop(s->context);
    shardy__free(s);
}

static const shardy_store_ops mem_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "mem",
    .caps = mem_caps,
    .read = mem_read,
    .head = mem_head,
    .put = mem_put,
    .list = mem_list,
    .remove = mem_remove,
    .close = mem_close,
};

shardy_status shardy_store_open_mem(
    shardy_context *context, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    mem_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    shardy_status st = shardy__context_hold(context, &s->context, err);
    if (st < 0) {
        shardy__free(s);
        return st;
    }
    shardy__mutex_init(&s->lock);
    shardy__map_init(&s->objects);
    return shardy_store_new_take(s->context, &mem_ops, s, store_out, err);
}
