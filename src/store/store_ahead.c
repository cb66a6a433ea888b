#include "store_ahead.h"
#include "store_pass.h"

#include "../base/alloc.h"
#include "../base/thread.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>
#include <string.h>

typedef struct ahead_object {
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf body;
    shardy_object_meta meta;
} ahead_object;

typedef struct ahead_store {
    shardy_store *inner; /* first: store_pass.h */
    mutex lock;          /* rank: leaf */
    _Atomic uint32_t count;
    ahead_object *objects[STORE_AHEAD_MAX]; /* guarded by `lock` */
} ahead_store;

static void free_object(ahead_object *object)
{
    if (object) {
        shardy_buf_release(&object->body);
        shardy__free(object);
    }
}

/* Takes the object out that answers a read, or gives NULL. */
static ahead_object *take_object(ahead_store *s, const shardy_store_read *read)
{
    ahead_object *found = NULL;
    if (atomic_load_explicit(&s->count, memory_order_acquire) == 0 || read->offset != 0 ||
        read->if_match || read->if_none_match) {
        return NULL;
    }
    shardy__mutex_lock(&s->lock);
    uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count && !found; i++) {
        ahead_object *object = s->objects[i];
        if (strlen(object->key) == read->key.len &&
            memcmp(object->key, read->key.data, read->key.len) == 0 &&
            read->len >= object->body.len) {
            found = object;
            s->objects[i] = s->objects[count - 1];
            atomic_store_explicit(&s->count, count - 1, memory_order_release);
        }
    }
    shardy__mutex_unlock(&s->lock);
    return found;
}

static void answer(shardy_store_read *read, ahead_object *object)
{
    read->status = SHARDY_OK;
    read->received = object->body.len;
    read->meta = object->meta;
    if (!read->dest) {
        read->body = object->body;
        memset(&object->body, 0, sizeof object->body);
    } else if (object->body.len) {
        memcpy(read->dest, object->body.data, object->body.len);
    }
    free_object(object);
}

static void ahead_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    ahead_store *s = store;
    size_t first = 0; /* of those that are passed on together */
    for (size_t i = 0; i < n; i++) {
        ahead_object *object = take_object(s, &reads[i]);
        if (object) {
            if (i > first) {
                shardy_store_read_start(s->inner, &reads[first], i - first, done, user);
            }
            first = i + 1;
            answer(&reads[i], object);
            done(user, &reads[i]);
        }
    }
    if (n > first) {
        shardy_store_read_start(s->inner, &reads[first], n - first, done, user);
    }
}

static shardy_status ahead_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    const ahead_store *s = store;
    return shardy_store_put_object(s->inner, put, meta_out, err);
}

static void clear(ahead_store *s)
{
    shardy__mutex_lock(&s->lock);
    uint32_t count = atomic_exchange(&s->count, 0);
    for (uint32_t i = 0; i < count; i++) {
        free_object(s->objects[i]);
    }
    shardy__mutex_unlock(&s->lock);
}

static void ahead_close(void *store)
{
    ahead_store *s = store;
    clear(s);
    shardy__mutex_destroy(&s->lock);
    shardy__free(s);
}

static const shardy_store_ops ahead_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "ahead",
    .caps = shardy__pass_caps,
    .read = ahead_read,
    .head = shardy__pass_head,
    .put = ahead_put,
    .list = shardy__pass_list,
    .remove = shardy__pass_remove,
    .open_local = shardy__pass_open_local,
    .scratch = shardy__pass_scratch,
    .close = ahead_close,
};

shardy_status shardy__store_wrap_ahead(
    shardy_context *context, shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    ahead_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    shardy__mutex_init(&s->lock);
    return shardy__store_new_wrapper_take(
        context ? context : inner->context, &ahead_ops, s, inner, store_out, err);
}

static void keep_object(ahead_store *s, const char *key, shardy_store_read *read)
{
    ahead_object *object = shardy__calloc(1, sizeof *object);
    if (!object) {
        return;
    }
    memcpy(object->key, key, strlen(key) + 1);
    object->meta = read->meta;
    object->body = read->body;
    memset(&read->body, 0, sizeof read->body);
    shardy__mutex_lock(&s->lock);
    uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    if (count < STORE_AHEAD_MAX) {
        s->objects[count] = object;
        object = NULL;
        atomic_store_explicit(&s->count, count + 1, memory_order_release);
    }
    shardy__mutex_unlock(&s->lock);
    free_object(object);
}

void shardy__store_ahead(
    shardy_store *ahead, const ahead_want *wants, size_t count, const shardy_store_limits *limits)
{
    shardy_store_read reads[STORE_AHEAD_MAX];
    if (ahead->ops != &ahead_ops) {
        return;
    }
    ahead_store *s = ahead->state;
    count = count < STORE_AHEAD_MAX ? count : STORE_AHEAD_MAX;
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < count; i++) {
        reads[i].key.data = wants[i].key;
        reads[i].key.len = strlen(wants[i].key);
        reads[i].len = wants[i].len_max;
        reads[i].whole = 1;
        reads[i].deadline_ns = limits->deadline_ns;
        reads[i].cancel = limits->cancel;
    }
    shardy_store_read_all(s->inner, reads, count);
    for (size_t i = 0; i < count; i++) {
        if (reads[i].status == SHARDY_OK && reads[i].received == reads[i].meta.size &&
            reads[i].key.len <= SHARDY_OBJECT_KEY_LEN_MAX) {
            keep_object(s, wants[i].key, &reads[i]);
        }
        shardy_buf_release(&reads[i].body);
    }
}

void shardy__store_ahead_clear(shardy_store *ahead)
{
    if (ahead->ops == &ahead_ops) {
        clear(ahead->state);
    }
}
