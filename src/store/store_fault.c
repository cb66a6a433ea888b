/* store_fault.c: a store that passes everything on, until a call that is to fail. */
#include "store.h"
#include "store_pass.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>
#include <string.h>

typedef struct fault_store {
    shardy_store *inner;  /* first: store_pass.h; borrowed */
    _Atomic uint64_t nth; /* 0: none */
    _Atomic int32_t persistent;
    _Atomic int32_t kind;
    _Atomic int32_t status;
    _Atomic uint64_t calls;
    _Atomic uint64_t failed;
} fault_store;

/* Counts a call. 0, or how it has to fail. What has no bytes is not cut short. */
static int32_t next_fault(fault_store *s, int has_bytes)
{
    uint64_t nth = atomic_load(&s->nth);
    uint64_t call = atomic_fetch_add(&s->calls, 1) + 1;
    int32_t kind = atomic_load(&s->kind);
    if (nth == 0 || call < nth || (call > nth && !atomic_load(&s->persistent)) ||
        (kind == SHARDY_FAULT_SHORT && !has_bytes)) {
        return 0;
    }
    atomic_fetch_add(&s->failed, 1);
    return kind;
}

static shardy_status fault_error(const fault_store *s, const char *slot, shardy_error *err)
{
    shardy_status st = (shardy_status)atomic_load(&s->status);
    if (st >= 0) {
        return st;
    }
    return shardy__error_native(
        err, st, 1, 0, "store", "%s was made to fail by a fault store", slot);
}

/* --- reads -------------------------------------------------------------------------------- */

/* A read that fails after it was done, or is cut short; `kind` is kept in `reserved`, which the
 * inner store clears, so in an array beside the reads. */
typedef struct fault_reads {
    fault_store *faults;
    shardy_store_done_fn done;
    void *user;
    const shardy_store_read *first;
    _Atomic size_t left;
    uint8_t kinds[];
} fault_reads;

/* What brought nothing, as of an object that is not there, did not fail. */
static void cut_short(fault_store *s, shardy_store_read *read)
{
    if (read->status != SHARDY_OK || read->received == 0) {
        atomic_fetch_sub(&s->failed, 1);
        return;
    }
    read->received /= 2;
    if (!read->dest) {
        read->body.len = (size_t)read->received;
    }
}

static void fail_after(const fault_store *s, shardy_store_read *read)
{
    shardy_buf_release(&read->body);
    read->received = 0;
    read->status = fault_error(s, "read", &read->error);
}

static void finish_read(void *user, shardy_store_read *read)
{
    fault_reads *call = user;
    switch (call->kinds[read - call->first]) {
    case SHARDY_FAULT_AFTER:
        fail_after(call->faults, read);
        break;
    case SHARDY_FAULT_SHORT:
        cut_short(call->faults, read);
        break;
    default:
        break;
    }
    call->done(call->user, read);
    if (atomic_fetch_sub_explicit(&call->left, 1, memory_order_acq_rel) == 1) {
        shardy__free(call);
    }
}

static void refuse(shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    for (size_t i = 0; i < n; i++) {
        reads[i].status = shardy__error_nomem(&reads[i].error, "store");
        done(user, &reads[i]);
    }
}

static void fault_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    fault_store *s = store;
    size_t size;
    fault_reads *call = shardy__add_size(n, sizeof *call, &size) ? shardy__calloc(1, size) : NULL;
    if (!call) {
        refuse(reads, n, done, user);
        return;
    }
    call->faults = s;
    call->done = done;
    call->user = user;
    call->first = reads;
    atomic_init(&call->left, n + 1); /* one for this function */
    for (size_t i = 0; i < n; i++) {
        call->kinds[i] = (uint8_t)next_fault(s, reads[i].len > 0);
    }
    for (size_t i = 0; i < n; i++) {
        if (call->kinds[i] == SHARDY_FAULT_BEFORE) {
            reads[i].status = fault_error(s, "read", &reads[i].error);
            finish_read(call, &reads[i]);
        } else {
            shardy_store_read_start(s->inner, &reads[i], 1, finish_read, call);
        }
    }
    if (atomic_fetch_sub_explicit(&call->left, 1, memory_order_acq_rel) == 1) {
        shardy__free(call);
    }
}

/* --- the other calls ---------------------------------------------------------------------- */

static shardy_status fault_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    fault_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int32_t fault = next_fault(s, 0);
    if (fault == SHARDY_FAULT_BEFORE) {
        return fault_error(s, "head", err);
    }
    shardy_status st = shardy_store_head_within(
        s->inner, shardy__store_key_text(key, text), limits, meta_out, err);
    return fault ? fault_error(s, "head", err) : st;
}

static shardy_status fault_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    fault_store *s = store;
    int32_t fault = next_fault(s, 0);
    if (fault == SHARDY_FAULT_BEFORE) {
        return fault_error(s, "put", err);
    }
    shardy_status st = shardy_store_put_object(s->inner, put, meta_out, err);
    return fault ? fault_error(s, "put", err) : st;
}

static shardy_status fault_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    fault_store *s = store;
    int32_t fault = next_fault(s, 0);
    if (fault == SHARDY_FAULT_BEFORE) {
        return fault_error(s, "list", err);
    }
    shardy_status st = shardy_store_list_within(s->inner, what, page_out, err);
    if (!fault) {
        return st;
    }
    shardy_store_page_dispose(page_out);
    return fault_error(s, "list", err);
}

static shardy_status fault_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    fault_store *s = store;
    int32_t fault = next_fault(s, 0);
    shardy_status st = SHARDY_OK;
    if (fault != SHARDY_FAULT_BEFORE) {
        st = shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
    }
    if (!fault) {
        return st;
    }
    st = fault_error(s, "remove", err);
    for (size_t i = 0; i < n; i++) {
        results_out[i] = st;
    }
    return st;
}

static shardy_status fault_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    fault_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int32_t fault = next_fault(s, 0);
    if (fault == SHARDY_FAULT_BEFORE) {
        return fault_error(s, "open_local", err);
    }
    shardy_status st =
        shardy_store_open_local(s->inner, shardy__store_key_text(key, text), file_out, err);
    if (!fault) {
        return st;
    }
    shardy__file_close(file_out->fd);
    file_out->fd = -1;
    return fault_error(s, "open_local", err);
}

static shardy_status fault_scratch(void *store, const char **path_out, shardy_error *err)
{
    fault_store *s = store;
    int32_t fault = next_fault(s, 0);
    if (fault == SHARDY_FAULT_BEFORE) {
        return fault_error(s, "scratch", err);
    }
    shardy_status st = shardy_store_scratch(s->inner, path_out, err);
    if (fault) {
        *path_out = NULL;
        st = fault_error(s, "scratch", err);
    }
    return st;
}

static void fault_close(void *store)
{
    shardy__free(store);
}

static const shardy_store_ops fault_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "fault",
    .caps = shardy__pass_caps,
    .read = fault_read,
    .head = fault_head,
    .put = fault_put,
    .list = fault_list,
    .remove = fault_remove,
    .open_local = fault_open_local,
    .scratch = fault_scratch,
    .close = fault_close,
};

shardy_status shardy_store_wrap_fault(
    shardy_context *context, shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(inner);
    fault_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    return shardy__store_new_wrapper_take(
        context ? context : inner->context, &fault_ops, s, inner, store_out, err);
}

static fault_store *faults_of(const shardy_store *store)
{
    return store && store->ops == &fault_ops ? store->state : NULL;
}

void shardy_store_fault_set(
    shardy_store *store, uint64_t nth, int32_t persistent, int32_t kind, int32_t status)
{
    fault_store *s = faults_of(store);
    if (!s) {
        return;
    }
    atomic_store(&s->nth, 0);
    atomic_store(&s->persistent, persistent);
    atomic_store(&s->kind, kind);
    atomic_store(&s->status, status);
    atomic_store(&s->calls, 0);
    atomic_store(&s->failed, 0);
    atomic_store(&s->nth, nth);
}

void shardy_store_fault_counts(const shardy_store *store, uint64_t *calls_out, uint64_t *failed_out)
{
    const fault_store *s = faults_of(store);
    if (calls_out) {
        *calls_out = s ? atomic_load(&s->calls) : 0;
    }
    if (failed_out) {
        *failed_out = s ? atomic_load(&s->failed) : 0;
    }
}
