#include "store_single.h"
#include "store_pass.h"

#include "../base/alloc.h"

#include <string.h>

typedef struct single_store {
    shardy_store *inner;  /* first: store_pass.h */
    shardy_store_ops ops; /* a copy, with the name of the inner store */
} single_store;

static void single_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    const single_store *s = store;
    shardy_store_read_start(s->inner, reads, n, done, user);
}

/* Whether the condition of a put holds, by what is there now. */
static shardy_status look(const single_store *s, const shardy_store_put *put, shardy_error *err)
{
    const shardy_store_limits limits = {put->deadline_ns, put->cancel};
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_object_meta meta;
    shardy_status st = shardy_store_head_within(
        s->inner, shardy__store_key_text(put->key, text), &limits, &meta, err);
    if (st < 0) {
        return st;
    }
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        return st == SHARDY_NOT_FOUND
                   ? SHARDY_OK
                   : shardy__error(err, SHARDY_EXISTS, "store", "put \"%.*s\": the object exists",
                         SHARDY_BYTES_FMT(put->key));
    }
    if (st == SHARDY_OK && strcmp(meta.etag.text, put->etag) == 0) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_CONFLICT, "store", "put \"%.*s\": the object %s",
        SHARDY_BYTES_FMT(put->key),
        st == SHARDY_OK ? "has another version" : "is not there any more");
}

static shardy_status single_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    const single_store *s = store;
    shardy_status st = shardy_store_put_object(s->inner, put, meta_out, err);
    if (st != SHARDY_UNSUPPORTED || put->condition == SHARDY_PUT_ALWAYS || put->next) {
        return st;
    }
    SHARDY_TRY(look(s, put, err));
    shardy_store_put plain = *put;
    plain.condition = SHARDY_PUT_ALWAYS;
    plain.etag = NULL;
    return shardy_store_put_object(s->inner, &plain, meta_out, err);
}

static void single_close(void *store)
{
    shardy__free(store);
}

static const shardy_store_ops single_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .caps = shardy__pass_caps,
    .read = single_read,
    .head = shardy__pass_head,
    .put = single_put,
    .list = shardy__pass_list,
    .remove = shardy__pass_remove,
    .open_local = shardy__pass_open_local,
    .scratch = shardy__pass_scratch,
    .close = single_close,
};

shardy_status shardy__store_wrap_single(
    shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    single_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->inner = inner;
    s->ops = single_ops;
    s->ops.name = shardy_store_name(inner);
    return shardy__store_new_wrapper_take(inner->context, &s->ops, s, inner, store_out, err);
}
