#include "store_bound.h"
#include "store_pass.h"

#include "../base/alloc.h"

#include <stdatomic.h>
#include <string.h>

typedef struct bound_store bound_store;

struct bound_store {
    shardy_store *inner; /* first: store_pass.h */
    uint32_t call_ms;
    bound_store *whole;  /* itself, or whose operation this is the store to end with */
    shardy_store *after; /* that store; NULL for itself */
    /* when calls through it have to be over, once the operation is cancelled; 0: not yet known */
    _Atomic int64_t over_ns;
    shardy_context *context;       /* borrowed: the store has a reference */
    shardy_store_limits operation; /* on the clock of `inner` */
    shardy_store_ops ops;          /* a copy, with the name of the inner store */
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The limits of the operation. Those of its end: none of its calls is given up because of what the
 * operation was given up for, but all together have to be short. */
static shardy_store_limits operation_limits(bound_store *s)
{
    shardy_store_limits l = s->whole->operation;
    if (s->whole != s && shardy_cancel_requested(l.cancel)) {
        int64_t none = 0;
        int64_t over = shardy__deadline_ns(s->inner->context, STORE_ENDING_MS);
        if (!atomic_compare_exchange_strong(&s->over_ns, &none, over)) {
            over = none;
        }
        l.deadline_ns = earlier(l.deadline_ns, over);
        l.cancel = NULL;
    }
    return l;
}

/* What a call has to keep that brings limits of its own. Of two tokens its own counts: the
 * operation is over when its calls are. */
static shardy_store_limits limits_of(
    bound_store *s, int64_t deadline_ns, const shardy_cancel *cancel)
{
    const shardy_store_limits operation = operation_limits(s);
    int64_t call = s->call_ms ? shardy__deadline_ns(s->inner->context, s->call_ms) : 0;
    shardy_store_limits l = {earlier(earlier(operation.deadline_ns, call), deadline_ns),
        cancel ? cancel : operation.cancel};
    return l;
}

static void bound_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    bound_store *s = store;
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
    bound_store *s = store;
    const shardy_store_limits l = limits_of(s, limits->deadline_ns, limits->cancel);
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_head_within(s->inner, shardy__store_key_text(key, text), &l, meta_out, err);
}

static shardy_status bound_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    bound_store *s = store;
    const shardy_store_limits l = limits_of(s, put->deadline_ns, put->cancel);
    shardy_store_put limited = *put;
    limited.deadline_ns = l.deadline_ns;
    limited.cancel = l.cancel;
    return shardy_store_put_object(s->inner, &limited, meta_out, err);
}

static shardy_status bound_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    bound_store *s = store;
    shardy_store_listing limited = *what;
    limited.limits = limits_of(s, what->limits.deadline_ns, what->limits.cancel);
    return shardy_store_list_within(s->inner, &limited, page_out, err);
}

static shardy_status bound_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    bound_store *s = store;
    const shardy_store_limits l = limits_of(s, limits->deadline_ns, limits->cancel);
    return shardy_store_remove_within(s->inner, keys, n, &l, results_out, err);
}

static void bound_close(void *store)
{
    bound_store *s = store;
    shardy_store_close(s->after);
    shardy__free(s);
}

static const shardy_store_ops bound_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .caps = shardy__pass_caps,
    .read = bound_read,
    .head = bound_head,
    .put = bound_put,
    .list = bound_list,
    .remove = bound_remove,
    .open_local = shardy__pass_open_local,
    .scratch = shardy__pass_scratch,
    .close = bound_close,
};

/* `whole`: NULL, or the store whose operation it is there to end. */
static shardy_status wrap(shardy_context *context, shardy_store *inner, uint32_t call_ms,
    bound_store *whole, shardy_store **store_out, shardy_error *err)
{
    bound_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    s->call_ms = call_ms;
    s->whole = whole ? whole : s;
    s->context = context ? context : inner->context;
    s->ops = bound_ops;
    s->ops.name = shardy_store_name(inner);
    return shardy__store_new_wrapper_take(s->context, &s->ops, s, inner, store_out, err);
}

static bound_store *bound_of(shardy_store *store)
{
    return store->ops->close == bound_close ? store->state : NULL;
}

shardy_status shardy__store_wrap_bound(shardy_context *context, shardy_store *inner,
    uint32_t call_ms, shardy_store **store_out, shardy_error *err)
{
    shardy_store *store = NULL;
    *store_out = NULL;
    SHARDY_TRY(wrap(context, inner, call_ms, NULL, &store, err));
    bound_store *s = bound_of(store);
    shardy_status st = wrap(context, inner, call_ms, s, &s->after, err);
    if (st < 0) {
        shardy_store_close(store);
        return st;
    }
    *store_out = store;
    return SHARDY_OK;
}

shardy_store *shardy__store_bound_after(shardy_store *store)
{
    const bound_store *s = bound_of(store);
    return s && s->after ? s->after : store;
}

void shardy__store_bound_set(shardy_store *bound, shardy_store_limits limits)
{
    bound_store *s = bound_of(bound);
    if (!s) {
        return;
    }
    s->operation = limits;
    if (limits.deadline_ns) { /* the store that is inside may have another clock */
        int64_t left = limits.deadline_ns - shardy__monotonic_ns(s->context);
        int64_t deadline = shardy__monotonic_ns(s->inner->context) + left;
        s->operation.deadline_ns = deadline ? deadline : -1;
    }
    if (s->after) {
        atomic_store(&bound_of(s->after)->over_ns, 0);
    }
}
