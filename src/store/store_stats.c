/* store_stats.c: a store around a store that counts. */
#include "store.h"

#include "../base/alloc.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>
#include <string.h>

typedef struct stats_store {
    shardy_store *inner; /* borrowed */
    _Atomic uint64_t reads;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t heads;
    _Atomic uint64_t puts;
    _Atomic uint64_t put_bytes;
    _Atomic uint64_t lists;
    _Atomic uint64_t removes;
    _Atomic uint64_t opens;
} stats_store;

/* Keys come checked, so they have at most SHARDY_OBJECT_KEY_LEN_MAX bytes. */
static const char *key_text(shardy_bytes key, char text[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    memcpy(text, key.data, key.len);
    text[key.len] = '\0';
    return text;
}

static uint64_t stats_caps(void *store)
{
    const stats_store *s = store;
    return shardy_store_caps(s->inner);
}

/* A read on its way through: the inner store reports to this, this to the caller. */
typedef struct stats_read {
    stats_store *store;
    shardy_store_done_fn done;
    void *user;
} stats_read;

static void count_bytes(void *user, shardy_store_read *read)
{
    const stats_read *r = user;
    atomic_fetch_add(&r->store->read_bytes, read->received);
    r->done(r->user, read);
}

static void stats_read_all(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    stats_store *s = store;
    atomic_fetch_add(&s->reads, n);
    for (size_t i = 0; i < n; i++) {
        /* One at a time and to its end, so that what counts can stay on this stack. */
        stats_read r = {s, done, user};
        shardy_store_read_all(s->inner, &reads[i], 1);
        count_bytes(&r, &reads[i]);
    }
}

static shardy_status stats_head(
    void *store, shardy_bytes key, shardy_object_meta *meta_out, shardy_error *err)
{
    stats_store *s = store;
    atomic_fetch_add(&s->heads, 1);
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_head(s->inner, key_text(key, text), meta_out, err);
}

static shardy_status stats_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    stats_store *s = store;
    atomic_fetch_add(&s->puts, 1);
    shardy_status st = shardy_store_put_object(s->inner, put, meta_out, err);
    atomic_fetch_add(&s->put_bytes, st >= 0 ? meta_out->size : 0);
    return st;
}

static shardy_status stats_list(void *store, const char *prefix, char delimiter, const char *token,
    size_t limit, shardy_store_page *page_out, shardy_error *err)
{
    stats_store *s = store;
    atomic_fetch_add(&s->lists, 1);
    return shardy_store_list(s->inner, prefix, delimiter, token, limit, page_out, err);
}

static shardy_status stats_remove(
    void *store, const shardy_bytes *keys, size_t n, int32_t *results_out, shardy_error *err)
{
    stats_store *s = store;
    atomic_fetch_add(&s->removes, n);
    return shardy_store_remove(s->inner, keys, n, results_out, err);
}

static shardy_status stats_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    stats_store *s = store;
    atomic_fetch_add(&s->opens, 1);
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_open_local(s->inner, key_text(key, text), file_out, err);
}

static shardy_status stats_scratch(void *store, const char **path_out, shardy_error *err)
{
    const stats_store *s = store;
    return shardy_store_scratch(s->inner, path_out, err);
}

static void stats_close(void *store)
{
    shardy__free(store);
}

static const shardy_store_ops stats_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "stats",
    .caps = stats_caps,
    .read = stats_read_all,
    .head = stats_head,
    .put = stats_put,
    .list = stats_list,
    .remove = stats_remove,
    .open_local = stats_open_local,
    .scratch = stats_scratch,
    .close = stats_close,
};

shardy_status shardy_store_wrap_stats(
    shardy_context *context, shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(inner && store_out);
    *store_out = NULL;
    stats_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    return shardy__store_new_wrapper_take(context, &stats_ops, s, store_out, err);
}

void shardy_store_stats(const shardy_store *stats, shardy_store_counts *counts_out)
{
    memset(counts_out, 0, sizeof *counts_out);
    if (!stats || stats->ops != &stats_ops) {
        return;
    }
    stats_store *s = stats->state;
    counts_out->reads = atomic_load(&s->reads);
    counts_out->read_bytes = atomic_load(&s->read_bytes);
    counts_out->heads = atomic_load(&s->heads);
    counts_out->puts = atomic_load(&s->puts);
    counts_out->put_bytes = atomic_load(&s->put_bytes);
    counts_out->lists = atomic_load(&s->lists);
    counts_out->removes = atomic_load(&s->removes);
    counts_out->opens = atomic_load(&s->opens);
}
