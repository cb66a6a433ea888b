/* store_limit.c: a store that passes everything on, but no faster than it was told. */
#include "read_queue.h"
#include "store_pass.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/rate.h"

#include <string.h>

/* Kinds of the rate. */
enum {
    REQUESTS = 0,
    BYTES = 1
};

typedef struct limit_store {
    shardy_store *inner;         /* first: store_pass.h */
    const shardy_cancel *cancel; /* NULL, or what ends the limit */
    rate_limit rate;
    read_queue reads;
} limit_store;

static rate_units units_of(uint64_t requests, uint64_t bytes)
{
    return (rate_units){{requests, bytes}};
}

static shardy_status take(
    limit_store *s, rate_units units, const shardy_store_limits *limits, shardy_error *err)
{
    return shardy_cancel_requested(s->cancel)
               ? SHARDY_OK
               : shardy__rate_take(&s->rate, units, limits->deadline_ns, limits->cancel, err);
}

/* --- reads ------------------------------------------------------------------------------------ */

/* A read is paid for as if all of it came; what goes to the end, or names a bound instead of a
 * length, is paid for once its length is known. */
static shardy_status admit_read(void *owner, read_slot *slot, int64_t *due_out)
{
    limit_store *s = owner;
    shardy_store_read *read = slot->read;
    if (shardy_cancel_requested(s->cancel)) {
        *due_out = shardy__monotonic_ns(s->inner->context);
        return SHARDY_OK;
    }
    int is_known = read->len != SHARDY_READ_TO_END && !read->whole;
    rate_units units = units_of(1, is_known ? read->len : 0);
    SHARDY_TRY(
        shardy__rate_reserve(&s->rate, units, read->deadline_ns, &slot->place, &read->error));
    *due_out = slot->place.due_ns;
    return SHARDY_OK;
}

static void read_begins(void *owner, read_slot *slot)
{
    limit_store *s = owner;
    shardy__rate_begin(&s->rate, &slot->place);
}

static int read_answered(void *owner, read_slot *slot, int64_t *due_out)
{
    limit_store *s = owner;
    uint64_t received = slot->read->received;
    uint64_t paid = slot->place.units.of[BYTES];
    (void)due_out;
    if (!slot->started) {
        shardy__rate_leave(&s->rate, &slot->place);
    } else if (received < paid) {
        shardy__rate_return(&s->rate, units_of(0, paid - received));
    } else if (received > paid) {
        shardy__rate_charge(&s->rate, units_of(0, received - paid));
    }
    return 0;
}

static const read_queue_hooks read_hooks = {admit_read, read_begins, read_answered};

static void limit_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    limit_store *s = store;
    shardy__read_queue_start(&s->reads, reads, n, done, user);
}

/* --- puts ------------------------------------------------------------------------------------- */

/* Parts of a put, given on no faster than the rate. */
typedef struct paced_parts {
    limit_store *store;
    const shardy_store_put *put;
} paced_parts;

static shardy_status next_paced(void *user, shardy_bytes *part_out, shardy_error *err)
{
    const paced_parts *parts = user;
    const shardy_store_put *put = parts->put;
    shardy_status st = put->next(put->next_user, part_out, err);
    if (st != SHARDY_OK) {
        return st;
    }
    const shardy_store_limits limits = {put->deadline_ns, put->cancel};
    return take(parts->store, units_of(0, part_out->len), &limits, err);
}

/* A file that cannot be looked at is left to the inner store to tell of. */
static uint64_t body_len(const shardy_store_put *put)
{
    int fd;
    uint64_t len = put->body.len;
    if (put->file_path) {
        len = 0;
        if (shardy__file_open(put->file_path, &fd, NULL) == SHARDY_OK) {
            if (shardy__file_size(fd, &len, NULL) < 0) {
                len = 0;
            }
            shardy__file_close(fd);
        }
    }
    return len;
}

static shardy_status limit_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    limit_store *s = store;
    const shardy_store_limits limits = {put->deadline_ns, put->cancel};
    SHARDY_TRY(take(s, units_of(1, body_len(put)), &limits, err));
    if (!put->next) {
        return shardy_store_put_object(s->inner, put, meta_out, err);
    }
    paced_parts parts = {s, put};
    shardy_store_put paced = *put;
    paced.next = next_paced;
    paced.next_user = &parts;
    return shardy_store_put_object(s->inner, &paced, meta_out, err);
}

/* --- the other calls -------------------------------------------------------------------------- */

static shardy_status limit_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    limit_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    SHARDY_TRY(take(s, units_of(1, 0), limits, err));
    return shardy_store_head_within(
        s->inner, shardy__store_key_text(key, text), limits, meta_out, err);
}

static shardy_status limit_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    limit_store *s = store;
    SHARDY_TRY(take(s, units_of(1, 0), &what->limits, err));
    return shardy_store_list_within(s->inner, what, page_out, err);
}

static shardy_status limit_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    limit_store *s = store;
    SHARDY_TRY(take(s, units_of(1, 0), limits, err));
    return shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
}

static shardy_status limit_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    limit_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    const shardy_store_limits none = {0, NULL};
    SHARDY_TRY(take(s, units_of(1, 0), &none, err));
    return shardy_store_open_local(s->inner, shardy__store_key_text(key, text), file_out, err);
}

static void limit_close(void *store)
{
    limit_store *s = store;
    shardy__read_queue_free(&s->reads);
    shardy__rate_free(&s->rate);
    shardy__free(s);
}

static const shardy_store_ops limit_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "limit",
    .caps = shardy__pass_caps,
    .read = limit_read,
    .head = limit_head,
    .put = limit_put,
    .list = limit_list,
    .remove = limit_remove,
    .open_local = limit_open_local,
    .scratch = shardy__pass_scratch,
    .close = limit_close,
};

/* --- making one ------------------------------------------------------------------------------- */

void shardy_limit_options_init(shardy_limit_options *options, size_t struct_size)
{
    shardy_limit_options defaults;
    memset(&defaults, 0, sizeof defaults);
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

shardy_status shardy_store_wrap_limit(shardy_context *context, shardy_store *inner,
    const shardy_limit_options *options, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(inner);
    shardy_limit_options own;
    shardy_limit_options_init(&own, sizeof own);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&own, options, err));
    SHARDY_TRY(shardy__rate_check(own.requests_per_second, "requests_per_second", err));
    SHARDY_TRY(shardy__rate_check(own.bytes_per_second, "bytes_per_second", err));
    SHARDY_TRY(shardy__check_process(inner->generation, err));
    limit_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    shardy_context *used = context ? context : inner->context;
    s->inner = inner;
    s->cancel = own.cancel;
    shardy__rate_init(&s->rate, used, own.requests_per_second, own.bytes_per_second);
    shardy__read_queue_init(&s->reads, used, inner, &read_hooks, s);
    return shardy__store_new_wrapper_take(used, &limit_ops, s, inner, store_out, err);
}
