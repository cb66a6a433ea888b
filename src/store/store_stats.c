/* store_stats.c: a store that passes everything on and counts calls and bytes. */
#include "store.h"
#include "store_pass.h"

#include "../base/alloc.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>
#include <string.h>

typedef struct stats_store {
    shardy_store *inner; /* first: store_pass.h; borrowed */
    _Atomic uint64_t reads;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t heads;
    _Atomic uint64_t puts;
    _Atomic uint64_t put_bytes;
    _Atomic uint64_t lists;
    _Atomic uint64_t removes;
    _Atomic uint64_t opens;
} stats_store;

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Reads that were passed on together. */
typedef struct stats_reads {
    stats_store *stats;
    shardy_store_done_fn done;
    void *user;
    _Atomic size_t left;
} stats_reads;

static void finish_read(void *user, shardy_store_read *read)
{
    stats_reads *call = user;
    add(&call->stats->read_bytes, read->received);
    call->done(call->user, read);
    if (atomic_fetch_sub_explicit(&call->left, 1, memory_order_acq_rel) == 1) {
        shardy__free(call);
    }
}

static void stats_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    stats_store *s = store;
    add(&s->reads, n);
    stats_reads *call = shardy__malloc(sizeof *call);
    if (!call) {
        for (size_t i = 0; i < n; i++) {
            reads[i].status = shardy__error_nomem(&reads[i].error, "store");
            done(user, &reads[i]);
        }
        return;
    }
    call->stats = s;
    call->done = done;
    call->user = user;
    atomic_init(&call->left, n);
    shardy_store_read_start(s->inner, reads, n, finish_read, call);
}

static shardy_status stats_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    stats_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    add(&s->heads, 1);
    return shardy_store_head_within(
        s->inner, shardy__store_key_text(key, text), limits, meta_out, err);
}

static shardy_status stats_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    stats_store *s = store;
    add(&s->puts, 1);
    shardy_status st = shardy_store_put_object(s->inner, put, meta_out, err);
    if (st == SHARDY_OK) {
        add(&s->put_bytes, meta_out->size);
    }
    return st;
}

static shardy_status stats_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    stats_store *s = store;
    add(&s->lists, 1);
    return shardy_store_list_within(s->inner, what, page_out, err);
}

static shardy_status stats_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    stats_store *s = store;
    add(&s->removes, n);
    return shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
}

static shardy_status stats_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    stats_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    add(&s->opens, 1);
    return shardy_store_open_local(s->inner, shardy__store_key_text(key, text), file_out, err);
}

static void stats_close(void *store)
{
    shardy__free(store);
}

static const shardy_store_ops stats_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "stats",
    .caps = shardy__pass_caps,
    .read = stats_read,
    .head = stats_head,
    .put = stats_put,
    .list = stats_list,
    .remove = stats_remove,
    .open_local = stats_open_local,
    .scratch = shardy__pass_scratch,
    .close = stats_close,
};

shardy_status shardy_store_wrap_stats(
    shardy_context *context, shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(inner);
    stats_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    return shardy__store_new_wrapper_take(
        context ? context : inner->context, &stats_ops, s, inner, store_out, err);
}

void shardy_store_stats(const shardy_store *stats_store_handle, shardy_store_counts *counts_out)
{
    memset(counts_out, 0, sizeof *counts_out);
    if (!stats_store_handle || stats_store_handle->ops != &stats_ops) {
        return;
    }
    const stats_store *s = stats_store_handle->state;
    counts_out->reads = atomic_load(&s->reads);
    counts_out->read_bytes = atomic_load(&s->read_bytes);
    counts_out->heads = atomic_load(&s->heads);
    counts_out->puts = atomic_load(&s->puts);
    counts_out->put_bytes = atomic_load(&s->put_bytes);
    counts_out->lists = atomic_load(&s->lists);
    counts_out->removes = atomic_load(&s->removes);
    counts_out->opens = atomic_load(&s->opens);
}
