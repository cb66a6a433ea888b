#include "script_store.h"

#include "support.h"

#include <string.h>

static int random_fails(script_store *s, script_step *out)
{
    uint32_t percent = atomic_load(&s->fail_percent);
    if (percent == 0) {
        return 0;
    }
    support_rand r = {atomic_fetch_add(&s->rand, 0x9E3779B97F4A7C15u)};
    uint64_t x = support_rand_u64(&r);
    if (x % 100 < percent) {
        out->kind = (x >> 32) & 1 ? SHARDY_FAULT_BEFORE : SHARDY_FAULT_AFTER;
        out->status = SHARDY_UNAVAILABLE;
    }
    return 1;
}

static script_step next_step(script_store *s, script_op op)
{
    script_step step = {0};
    atomic_fetch_add(&s->calls[op], 1);
    if (random_fails(s, &step)) {
        return step;
    }
    size_t at = atomic_fetch_add(&s->step_at, 1);
    if (at < atomic_load(&s->step_count)) {
        step = s->steps[at];
    }
    if (step.before) {
        step.before(step.user);
    }
    return step;
}

static shardy_status refuse(const script_step *step, shardy_error *err)
{
    memset(err, 0, sizeof *err);
    err->status = step->status;
    err->retriable = !step->final;
    err->retry_after_ms = step->retry_after_ms;
    static const char text[] = "as the script says";
    memcpy(err->message, text, sizeof text);
    return (shardy_status)step->status;
}

static uint64_t script_caps(void *store)
{
    return shardy_store_caps(((script_store *)store)->mem);
}

static void script_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    script_store *s = store;
    for (size_t i = 0; i < n; i++) {
        script_step step = next_step(s, SCRIPT_READ);
        if (step.kind != SHARDY_FAULT_BEFORE) {
            shardy_store_read_all(s->mem, &reads[i], 1);
        }
        if (step.kind == SHARDY_FAULT_SHORT && reads[i].status == SHARDY_OK) {
            reads[i].received /= 2;
            reads[i].body.len = reads[i].dest ? 0 : (size_t)reads[i].received;
        } else if (step.kind) {
            shardy_buf_release(&reads[i].body);
            reads[i].received = 0;
            reads[i].status = refuse(&step, &reads[i].error);
        }
        done(user, &reads[i]);
    }
}

static const char *text_of(shardy_bytes key, char text_out[1025])
{
    memcpy(text_out, key.data, key.len);
    text_out[key.len] = '\0';
    return text_out;
}

static shardy_status script_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    script_store *s = store;
    char text[1025];
    script_step step = next_step(s, SCRIPT_HEAD);
    shardy_status st = shardy_store_head_within(s->mem, text_of(key, text), limits, meta_out, err);
    return step.kind ? refuse(&step, err) : st;
}

static shardy_status script_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    script_store *s = store;
    script_step step = next_step(s, SCRIPT_PUT);
    if (step.kind == SHARDY_FAULT_BEFORE) {
        return refuse(&step, err);
    }
    shardy_status st = shardy_store_put_object(s->mem, put, meta_out, err);
    return step.kind ? refuse(&step, err) : st;
}

static shardy_status script_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    script_store *s = store;
    script_step step = next_step(s, SCRIPT_LIST);
    return step.kind ? refuse(&step, err) : shardy_store_list_within(s->mem, what, page_out, err);
}

static shardy_status script_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    script_store *s = store;
    script_step step = next_step(s, SCRIPT_REMOVE);
    if (step.kind == SHARDY_FAULT_BEFORE) {
        return refuse(&step, err);
    }
    shardy_status st = shardy_store_remove_within(s->mem, keys, n, limits, results_out, err);
    return step.kind ? refuse(&step, err) : st;
}

static void script_closed(void *store)
{
    atomic_fetch_add(&((script_store *)store)->closed, 1);
}

static const shardy_store_ops script_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "script",
    .caps = script_caps,
    .read = script_read,
    .head = script_head,
    .put = script_put,
    .list = script_list,
    .remove = script_remove,
    .close = script_closed,
};

void script_store_open(script_store *s, shardy_context *context)
{
    shardy_error err = {0};
    memset(s, 0, sizeof *s);
    atomic_store(&s->rand, 1);
    assert_ok(shardy_store_open_mem(context, &s->mem, &err));
    assert_ok(shardy_store_new_take(context, &script_ops, s, &s->store, &err));
}

void script_store_close(script_store *s)
{
    shardy_store_close(s->store);
    shardy_store_close(s->mem);
    assert_int_equal(atomic_load(&s->closed), 1);
}

void script_store_set(script_store *s, const script_step *steps, size_t count)
{
    assert_true(count <= SCRIPT_STEPS);
    for (size_t i = 0; i < count; i++) {
        s->steps[i] = steps[i];
    }
    atomic_store(&s->step_at, 0);
    atomic_store(&s->step_count, count);
    for (size_t i = 0; i < SCRIPT_OP_COUNT; i++) {
        atomic_store(&s->calls[i], 0);
    }
}

uint64_t script_store_calls(const script_store *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SCRIPT_OP_COUNT; i++) {
        sum += atomic_load(&s->calls[i]);
    }
    return sum;
}
