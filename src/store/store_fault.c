/* store_fault.c: a store around a store whose calls can be made to fail. */
#include "store.h"

#include "../base/alloc.h"
#include "../base/thread.h"

#include <shardyfusion/limits.h>

#include <string.h>

typedef struct fault_store {
    shardy_store *inner; /* borrowed */
    mutex lock;          /* rank: leaf; guards the rest */
    uint64_t nth;        /* 0: none */
    int32_t persistent;
    int32_t kind;
    int32_t status;
    uint64_t calls;
    uint64_t failed;
} fault_store;

/* What is to happen to a call. */
typedef struct fault_plan {
    int32_t kind; /* 0: nothing */
    int32_t status;
    uint64_t number;
} fault_plan;

/* Keys come checked, so they have at most SHARDY_OBJECT_KEY_LEN_MAX bytes. */
static const char *key_text(shardy_bytes key, char text[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    memcpy(text, key.data, key.len);
    text[key.len] = '\0';
    return text;
}

static fault_plan next_call(fault_store *s)
{
    fault_plan plan = {0, 0, 0};
    shardy__mutex_lock(&s->lock);
    plan.number = ++s->calls;
    if (s->nth != 0 && (s->calls == s->nth || (s->persistent && s->calls > s->nth))) {
        plan.kind = s->kind;
        plan.status = s->status;
        s->failed++;
    }
    shardy__mutex_unlock(&s->lock);
    return plan;
}

static shardy_status injected(const fault_plan *plan, shardy_error *err)
{
    return shardy__error(err, (shardy_status)plan->status, "fault",
        "store call %llu was made to fail", (unsigned long long)plan->number);
}

static uint64_t fault_caps(void *store)
{
    const fault_store *s = store;
    return shardy_store_caps(s->inner);
}

static void fail_read(const fault_plan *plan, shardy_store_read *read)
{
    if (plan->kind == SHARDY_FAULT_SHORT) {
        if (read->status == SHARDY_OK) {
            read->received /= 2;
            read->body.len /= 2;
        }
        return;
    }
    shardy_buf_release(&read->body);
    read->received = 0;
    read->status = injected(plan, &read->error);
}

static void fault_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    fault_store *s = store;
    for (size_t i = 0; i < n; i++) {
        fault_plan plan = next_call(s);
        if (plan.kind != SHARDY_FAULT_BEFORE) {
            shardy_store_read_all(s->inner, &reads[i], 1);
        }
        if (plan.kind != 0) {
            fail_read(&plan, &reads[i]);
        }
        done(user, &reads[i]);
    }
}

/* The call itself has been done (or not): its answer, or the injected failure. */
static shardy_status answer(const fault_plan *plan, shardy_status st, shardy_error *err)
{
    return plan->kind == 0 ? st : injected(plan, err);
}

static shardy_status fault_head(
    void *store, shardy_bytes key, shardy_object_meta *meta_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind == 0) {
        char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        st = shardy_store_head(s->inner, key_text(key, text), meta_out, err);
    }
    return answer(&plan, st, err);
}

static shardy_status fault_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind != SHARDY_FAULT_BEFORE && plan.kind != SHARDY_FAULT_SHORT) {
        st = shardy_store_put_object(s->inner, put, meta_out, err);
    }
    return answer(&plan, st, err);
}

static shardy_status fault_list(void *store, const char *prefix, char delimiter, const char *token,
    size_t limit, shardy_store_page *page_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind == 0) {
        st = shardy_store_list(s->inner, prefix, delimiter, token, limit, page_out, err);
    }
    return answer(&plan, st, err);
}

static shardy_status fault_remove(
    void *store, const shardy_bytes *keys, size_t n, int32_t *results_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind != SHARDY_FAULT_BEFORE && plan.kind != SHARDY_FAULT_SHORT) {
        st = shardy_store_remove(s->inner, keys, n, results_out, err);
    }
    for (size_t i = 0; plan.kind != 0 && i < n; i++) {
        results_out[i] = plan.status;
    }
    return answer(&plan, st, err);
}

static shardy_status fault_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind == 0) {
        char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        st = shardy_store_open_local(s->inner, key_text(key, text), file_out, err);
    }
    return answer(&plan, st, err);
}

static shardy_status fault_scratch(void *store, const char **path_out, shardy_error *err)
{
    fault_store *s = store;
    fault_plan plan = next_call(s);
    shardy_status st = SHARDY_OK;
    if (plan.kind == 0) {
        st = shardy_store_scratch(s->inner, path_out, err);
    }
    return answer(&plan, st, err);
}

static void fault_close(void *store)
{
    fault_store *s = store;
    shardy__mutex_destroy(&s->lock);
    shardy__free(s);
}

static const shardy_store_ops fault_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "fault",
    .caps = fault_caps,
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
    SHARDY_CHECK_ARG(inner && store_out);
    *store_out = NULL;
    fault_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    shardy__mutex_init(&s->lock);
    return shardy__store_new_wrapper_take(context, &fault_ops, s, store_out, err);
}

void shardy_store_fault_set(
    shardy_store *fault, uint64_t nth, int32_t persistent, int32_t kind, int32_t status)
{
    if (!fault || fault->ops != &fault_ops) {
        return;
    }
    fault_store *s = fault->state;
    shardy__mutex_lock(&s->lock);
    s->nth = nth;
    s->persistent = persistent;
    s->kind = kind;
    s->status = status;
    s->calls = 0;
    s->failed = 0;
    shardy__mutex_unlock(&s->lock);
}

void shardy_store_fault_counts(const shardy_store *fault, uint64_t *calls_out, uint64_t *failed_out)
{
    *calls_out = 0;
    *failed_out = 0;
    if (!fault || fault->ops != &fault_ops) {
        return;
    }
    fault_store *s = fault->state;
    shardy__mutex_lock(&s->lock);
    *calls_out = s->calls;
    *failed_out = s->failed;
    shardy__mutex_unlock(&s->lock);
}
