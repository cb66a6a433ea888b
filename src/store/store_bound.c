#include "store_bound.h"

#include "../base/alloc.h"

#include <string.h>

typedef struct bound_store {
    shardy_store *inner;
    uint32_t call_ms;
    shardy_context *context;       /* borrowed: the store has a reference */
    shardy_store_limits operation; /* on the clock of `inner` */
    shardy_store_ops ops;          /* a copy, with the name of the inner store */
} bound_store;

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What a call has to keep that brings limits of its own. Of two tokens its own counts: the
 * operation is over when its calls are. */
static shardy_store_limits limits_of(
    const bound_store *s, int64_t deadline_ns, const shardy_cancel *cancel)
{
    int64_t call = s->call_ms ? shardy__deadline_ns(s->inner->context, s->call_ms) : 0;
    shardy_store_limits l = {earlier(earlier(s->operation.deadline_ns, call), deadline_ns),
        cancel ? cancel : s->operation.cancel};
    return l;
}

static uint64_t bound_caps(void *store)
{
    const bound_store *s = store;
    return shardy_store_caps(s->inner);
}

static void bound_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    const bound_store *s = store;
    for (size_t i = 0; i < n; i++) {
        shardy_store_limits l = limits_of(s, reads[i].deadline_ns, reads[i].cancel);
        reads[i].deadline_ns = l.deadline_ns;
        reads[i].cancel = l.cancel;
    }
    shardy_store_read_start(s->inner, reads, n, done, user);
}

static shardy_status bound_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    const bound_store *s = store;
    const shardy_store_limits l = limits_of(s, limits->deadline_ns, limits->cancel);
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_head_within(s->inner, shardy__store_key_text(key, text), &l, meta_out, err);
}

static shardy_status bound_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    const bound_store *s = store;
    const shardy_store_limits l = limits_of(s, put->deadline_ns, put->cancel);
    shardy_store_put limited = *put;
    limited.deadline_ns = l.deadline_ns;
    limited.cancel = l.cancel;
    return shardy_store_put_object(s->inner, &limited, meta_out, err);
}

static shardy_status bound_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    const bound_store *s = store;
    shardy_store_listing limited = *what;
    limited.limits = limits_of(s, what->limits.deadline_ns, what->limits.cancel);
    return shardy_store_list_within(s->inner, &limited, page_out, err);
}

static shardy_status bound_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    const bound_store *s = store;
    const shardy_store_limits l = limits_of(s, limits->deadline_ns, limits->cancel);
    return shardy_store_remove_within(s->inner, keys, n, &l, results_out, err);
}

static shardy_status bound_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    const bound_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_open_local(s->inner, shardy__store_key_text(key, text), file_out, err);
}

static shardy_status bound_scratch(void *store, const char **path_out, shardy_error *err)
{
    const bound_store *s = store;
    return shardy_store_scratch(s->inner, path_out, err);
}

static void bound_close(void *store)
{
    bound_store *s = store;
    shardy__free(s);
}

static const shardy_store_ops bound_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .caps = bound_caps,
    .read = bound_read,
    .head = bound_head,
    .put = bound_put,
    .list = bound_list,
    .remove = bound_remove,
    .open_local = bound_open_local,
    .scratch = bound_scratch,
    .close = bound_close,
};

shardy_status shardy__store_wrap_bound(shardy_context *context, shardy_store *inner,
    uint32_t call_ms, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    bound_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    s->call_ms = call_ms;
    s->context = context ? context : inner->context;
    s->ops = bound_ops;
    s->ops.name = shardy_store_name(inner);
    return shardy__store_new_wrapper_take(s->context, &s->ops, s, inner, store_out, err);
}

void shardy__store_bound_set(shardy_store *bound, shardy_store_limits limits)
{
    if (bound->ops->close == bound_close) {
        bound_store *s = bound->state;
        s->operation = limits;
        if (limits.deadline_ns) { /* the store that is inside may have another clock */
            int64_t left = limits.deadline_ns - shardy__monotonic_ns(s->context);
            int64_t deadline = shardy__monotonic_ns(s->inner->context) + left;
            s->operation.deadline_ns = deadline ? deadline : -1;
        }
    }
}
