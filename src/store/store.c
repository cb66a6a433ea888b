#include "store.h"

#include "../base/alloc.h"
#include "../base/thread.h"
#include "../base/uri.h"

#include <shardyfusion/limits.h>

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* --- making and closing ------------------------------------------------------------------- */

/* NULL, or what is missing in a table. */
static const char *table_problem(const shardy_store_ops *ops, void *state)
{
    if (!ops->caps || !ops->read || !ops->head || !ops->put || !ops->list || !ops->remove) {
        return "lacks a slot that every store has";
    }
    uint64_t caps = ops->caps(state);
    if ((caps & SHARDY_STORE_CAP_OPEN_LOCAL) && !ops->open_local) {
        return "has CAP_OPEN_LOCAL without open_local";
    }
    if ((caps & SHARDY_STORE_CAP_TAKE_FILE) && !ops->scratch) {
        return "has CAP_TAKE_FILE without scratch";
    }
    return NULL;
}

static shardy_status new_store(shardy_context *context, const shardy_store_ops *ops, void *state,
    shardy_store **store_out, shardy_error *err)
{
    shardy_store *store = shardy__calloc(1, sizeof *store);
    if (!store) {
        return shardy__error_nomem(err, "store");
    }
    shardy_status st = shardy__context_hold(context, &store->context, err);
    if (st >= 0) {
        st = shardy__process_watch(err);
    }
    if (st < 0) {
        shardy__context_drop(store->context);
        shardy__free(store);
        return st;
    }
    store->ops = ops;
    store->state = state;
    store->generation = shardy__process_generation();
    *store_out = store;
    return SHARDY_OK;
}

shardy_status shardy_store_new_take(shardy_context *context, const shardy_store_ops *ops,
    void *state, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(ops);
    size_t known = offsetof(shardy_store_ops, close) + sizeof ops->close;
    if (ops->abi != SHARDY_STORE_ABI || ops->struct_size < known || !ops->close) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "the table of a store has ABI %u and %u bytes, expected %d and %zu with a close slot",
            ops->abi, ops->struct_size, SHARDY_STORE_ABI, known);
    }
    const char *problem = table_problem(ops, state);
    shardy_status st =
        problem ? shardy__error(err, SHARDY_INVALID, "store", "the table of the store \"%.40s\" %s",
                      ops->name ? ops->name : "", problem)
                : new_store(context, ops, state, store_out, err);
    if (st < 0) {
        ops->close(state);
    }
    return st;
}

shardy_status shardy__store_new_wrapper_take(shardy_context *context, const shardy_store_ops *ops,
    void *state, shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    SHARDY_TRY(shardy_store_new_take(context, ops, state, store_out, err));
    (*store_out)->inner = inner;
    return SHARDY_OK;
}

void shardy__store_own_inner(shardy_store *around)
{
    around->owns_inner = 1;
}

/* The store of an s3:// URL, with all that belongs around it. */
static shardy_status open_bucket(
    shardy_context *context, const char *url, shardy_store **store_out, shardy_error *err)
{
    return shardy_store_open_s3(context, url, NULL, store_out, err);
}

shardy_status shardy__store_open_url(shardy_context *context, const char *url,
    const store_url_options *options, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    uri u;
    SHARDY_TRY(shardy__uri_parse(url, &u, err));
    if (u.kind == URI_S3) {
        return open_bucket(context, url, store_out, err);
    }
    if (u.kind == URI_OTHER) {
        return shardy__error(err, SHARDY_INVALID, "url",
            "the scheme \"%.*s\" is not known, expected a directory, file:///path or "
            "s3://bucket/prefix",
            SHARDY_BYTES_FMT(u.scheme));
    }
    shardy_store_fs_options fs;
    shardy_store_fs_options_init(&fs, sizeof fs);
    if (options) {
        fs.create = options->create;
        fs.sync = options->sync;
        fs.allow_network_fs = options->allow_network_fs;
    }
    char path[SHARDY_URL_LEN_MAX + 2];
    memcpy(path, u.path.data, u.path.len);
    path[u.path.len] = '\0';
    return shardy_store_open_fs(context, u.path.len ? path : "/", &fs, store_out, err);
}

void shardy_store_close(shardy_store *store)
{
    while (store) {
        shardy_store *inner = store->owns_inner ? store->inner : NULL;
        store->ops->close(store->state);
        shardy__context_drop(store->context);
        shardy__free(store);
        store = inner;
    }
}

uint64_t shardy_store_caps(const shardy_store *store)
{
    return store ? store->ops->caps(store->state) : 0;
}

const char *shardy_store_name(const shardy_store *store)
{
    return store && store->ops->name ? store->ops->name : "";
}

const char *shardy__store_place(const shardy_store *store)
{
    while (store->inner) {
        store = store->inner;
    }
    const shardy_store_ops *ops = store->ops;
    int has_slot = ops->struct_size >= offsetof(shardy_store_ops, place) + sizeof ops->place;
    return has_slot && ops->place ? ops->place(store->state) : NULL;
}

/* --- checks ------------------------------------------------------------------------------- */

shardy_status shardy__store_check_key(shardy_bytes key, shardy_error *err)
{
    const char *problem = key.data ? shardy__key_problem(key.data, key.len) : "is empty";
    if (!problem) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_INVALID, "store",
        "the key \"%.*s\" of %zu bytes %s, expected segments separated by single slashes, at most "
        "%u bytes",
        SHARDY_BYTES_FMT(key), key.len, problem, SHARDY_OBJECT_KEY_LEN_MAX);
}

const char *shardy__store_key_text(shardy_bytes key, char text_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    memcpy(text_out, key.data, key.len);
    text_out[key.len] = '\0';
    return text_out;
}

static shardy_bytes text_key(const char *key)
{
    shardy_bytes bytes = {key, key ? strlen(key) : 0};
    return bytes;
}

/* Whether the call may be made at all: a store, of this process. */
#define CHECK_STORE(store)                                                                         \
    do {                                                                                           \
        SHARDY_CHECK_ARG(store);                                                                   \
        SHARDY_TRY(shardy__check_process((store)->generation, err));                               \
    } while (0)

static void count(const shardy_store *store, shardy_metric metric, uint64_t n)
{
    if (!store->inner) {
        shardy__count(store->context, metric, n);
    }
}

/* Sees to it that a failure has a message and that an answer is one that the slot may give. A store
 * may be somebody else's code: what it breaks must not break us. */
static shardy_status check_answer(
    const shardy_store *store, const char *slot, shardy_status st, shardy_error *err)
{
    if (st < 0 && err->message[0] == '\0') {
        return shardy__error(err, st, "store", "%s of the store \"%.40s\" failed without a message",
            slot, shardy_store_name(store));
    }
    if (st < 0 || st == SHARDY_OK || st == SHARDY_NOT_FOUND) {
        return st;
    }
    return shardy__error(err, SHARDY_INTERNAL, "store",
        "%s of the store \"%.40s\" answered %d, which it must not", slot, shardy_store_name(store),
        (int)st);
}

/* A call of a slot has an error struct of its own: the caller's is left alone by a call that
 * succeeds, and whether the slot has set a message can be told. */
static void begin_call(shardy_error *own)
{
    own->status = 0;
    own->retriable = 0;
    own->native = 0;
    own->retry_after_ms = 0;
    own->message[0] = '\0';
}

static shardy_status end_call(shardy_status st, const shardy_error *own, shardy_error *err)
{
    if (st < 0 && err) {
        *err = *own;
    }
    return st;
}

/* --- reads -------------------------------------------------------------------------------- */

/* Reads that were started together. */
typedef struct read_call {
    shardy_store *store;
    shardy_store_done_fn done;
    void *user;
    int32_t on_heap;
    _Atomic size_t left; /* used when on_heap */
} read_call;

static void fail_read(shardy_store_read *read, shardy_status st)
{
    shardy_buf_release(&read->body);
    read->received = 0;
    read->status = st;
}

/* Fewer bytes than there are, by the size that came with them: a torn answer must not be taken for
 * a damaged object. */
static shardy_status check_complete(const shardy_store *store, shardy_store_read *read)
{
    uint64_t left = read->offset < read->meta.size ? read->meta.size - read->offset : 0;
    uint64_t expected = left < read->len ? left : read->len;
    if (read->received >= expected) {
        return SHARDY_OK;
    }
    return shardy__error_native(&read->error, SHARDY_IO, 1, 0, "store",
        "read of \"%.*s\" from the store \"%.40s\" gave %llu of %llu bytes",
        SHARDY_BYTES_FMT(read->key), shardy_store_name(store), (unsigned long long)read->received,
        (unsigned long long)expected);
}

/* What a store must have done when it says that a read is done. */
static void check_read(const shardy_store *store, shardy_store_read *read)
{
    if (read->status == SHARDY_NOT_MODIFIED && read->if_none_match) {
        fail_read(read, SHARDY_NOT_MODIFIED);
        return;
    }
    shardy_status st = check_answer(store, "read", (shardy_status)read->status, &read->error);
    int wrong = st == SHARDY_OK &&
                (read->received > read->len ||
                    (read->dest ? read->body.data != NULL : read->body.len != read->received) ||
                    !memchr(read->meta.etag.text, 0, sizeof read->meta.etag.text));
    if (wrong) {
        st = shardy__error(&read->error, SHARDY_INTERNAL, "store",
            "read of the store \"%.40s\" gave %llu of %llu bytes wanted, %zu in its buffer",
            shardy_store_name(store), (unsigned long long)read->received,
            (unsigned long long)read->len, read->body.len);
    } else if (st == SHARDY_OK) {
        st = check_complete(store, read);
    }
    if (st != SHARDY_OK) {
        fail_read(read, st);
    }
}

/* The last use of `call` for this read: when it is not on the heap, its owner may be gone as soon
 * as `done` has been told of the last read. */
static void finish_read(read_call *call, shardy_store_read *read)
{
    int32_t on_heap = call->on_heap;
    call->done(call->user, read);
    if (on_heap && atomic_fetch_sub_explicit(&call->left, 1, memory_order_acq_rel) == 1) {
        shardy__free(call);
    }
}

static void read_done(void *user, shardy_store_read *read)
{
    read_call *call = user;
    check_read(call->store, read);
    count(call->store, SHARDY_METRIC_STORE_READ_BYTES, read->received);
    finish_read(call, read);
}

static void clear_read(shardy_store_read *read)
{
    read->status = SHARDY_OK;
    read->reserved = 0;
    read->received = 0;
    memset(&read->body, 0, sizeof read->body);
    memset(&read->meta, 0, sizeof read->meta);
    shardy__error_clear(&read->error);
}

const char *shardy__etag_problem(const char *etag)
{
    size_t len = strnlen(etag, SHARDY_ETAG_LEN_MAX + 1);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)etag[i] < 0x20 || etag[i] == 0x7F) { /* it becomes a header */
            return "has a control character";
        }
    }
    return len == 0 ? "has 0 bytes" : len > SHARDY_ETAG_LEN_MAX ? "has too many bytes" : NULL;
}

static shardy_status check_etag(const char *etag, const char *what, shardy_error *err)
{
    const char *problem = shardy__etag_problem(etag ? etag : "");
    return problem ? shardy__error(err, SHARDY_INVALID, "store",
                         "the ETag of %s %s, expected 1 to %u bytes", what, problem,
                         SHARDY_ETAG_LEN_MAX)
                   : SHARDY_OK;
}

static shardy_status check_read_args(const shardy_store *store, shardy_store_read *read)
{
    shardy_error *err = &read->error;
    SHARDY_TRY(shardy__check_process(store->generation, err));
    SHARDY_TRY(shardy__store_check_key(read->key, err));
    if (read->if_match) {
        SHARDY_TRY(check_etag(read->if_match, "if_match", err));
    }
    if (read->if_none_match) {
        SHARDY_TRY(check_etag(read->if_none_match, "if_none_match", err));
    }
    if (read->dest && (read->len == SHARDY_READ_TO_END || read->len > SIZE_MAX)) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "a read of \"%.*s\" to the end has a destination of its own, expected a length",
            SHARDY_BYTES_FMT(read->key));
    }
    return shardy__check_time(store->context, read->deadline_ns, read->cancel, "store", err);
}

/* Passes reads on, in runs of those whose arguments are right. */
static void start_reads(read_call *call, shardy_store_read *reads, size_t n)
{
    shardy_store *store = call->store;
    count(store, SHARDY_METRIC_STORE_READS, n);
    for (size_t i = 0; i < n; i++) {
        clear_read(&reads[i]);
        reads[i].status = check_read_args(store, &reads[i]);
    }
    /* Statuses of what was passed on are not looked at again: those reads may be done and gone. */
    size_t at = 0;
    while (at < n) {
        size_t end = at;
        while (end < n && reads[end].status == SHARDY_OK) {
            end++;
        }
        shardy_store_read *wrong = end < n ? &reads[end] : NULL;
        if (end > at) {
            store->ops->read(store->state, reads + at, end - at, read_done, call);
        }
        if (wrong) {
            finish_read(call, wrong);
            end++;
        }
        at = end;
    }
}

/* Without a store or memory there is nothing that could be started. */
static void refuse_reads(
    shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user, int has_store)
{
    for (size_t i = 0; i < n; i++) {
        clear_read(&reads[i]);
        reads[i].status = has_store ? shardy__error_nomem(&reads[i].error, "store")
                                    : shardy__error(&reads[i].error, SHARDY_INVALID, "argument",
                                          "argument check failed: store");
        done(user, &reads[i]);
    }
}

void shardy_store_read_start(
    shardy_store *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    if (n == 0 || !reads || !done) {
        return;
    }
    read_call *call = store ? shardy__malloc(sizeof *call) : NULL;
    if (!call) {
        refuse_reads(reads, n, done, user, store != NULL);
        return;
    }
    call->store = store;
    call->done = done;
    call->user = user;
    call->on_heap = 1;
    atomic_init(&call->left, n);
    start_reads(call, reads, n);
}

/* Counts down to zero. */
typedef struct latch {
    mutex lock;
    condition zero;
    size_t left;
} latch;

static void latch_done(void *user, shardy_store_read *read)
{
    latch *l = user;
    (void)read;
    shardy__mutex_lock(&l->lock);
    l->left--;
    if (l->left == 0) {
        shardy__condition_signal(&l->zero);
    }
    shardy__mutex_unlock(&l->lock);
}

/* The deadlines are the store's to keep: it writes into these structs until it says done. */
void shardy_store_read_all(shardy_store *store, shardy_store_read *reads, size_t n)
{
    if (n == 0 || !reads) {
        return;
    }
    latch l;
    shardy__mutex_init(&l.lock);
    shardy__condition_init(&l.zero);
    l.left = n;
    if (store) {
        read_call call = {store, latch_done, &l, 0, 0};
        start_reads(&call, reads, n);
        shardy__mutex_lock(&l.lock);
        while (l.left > 0) {
            shardy__condition_wait(&l.zero, &l.lock);
        }
        shardy__mutex_unlock(&l.lock);
    } else {
        refuse_reads(reads, n, latch_done, &l, 0);
    }
    shardy__condition_destroy(&l.zero);
    shardy__mutex_destroy(&l.lock);
}

static shardy_status get(shardy_store *store, shardy_store_read *read, shardy_buf *body_out,
    shardy_object_meta *meta_out, shardy_error *err)
{
    shardy_store_read_all(store, read, 1);
    *body_out = read->body;
    if (meta_out) {
        *meta_out = read->meta;
    }
    if (read->status < 0 && err) {
        *err = read->error;
    }
    return (shardy_status)read->status;
}

shardy_status shardy_store_get(shardy_store *store, const char *key, uint64_t offset, uint64_t len,
    shardy_buf *body_out, shardy_object_meta *meta_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(body_out);
    memset(body_out, 0, sizeof *body_out);
    if (meta_out) {
        memset(meta_out, 0, sizeof *meta_out);
    }
    SHARDY_CHECK_ARG(store && key);
    shardy_store_read read = {.key = text_key(key), .offset = offset, .len = len};
    return get(store, &read, body_out, meta_out, err);
}

shardy_status shardy__store_get_whole(shardy_store *store, const char *key, uint64_t len_max,
    shardy_buf *body_out, shardy_object_meta *meta_out, shardy_error *err)
{
    shardy_store_read read = {.key = text_key(key), .len = len_max, .whole = 1};
    return get(store, &read, body_out, meta_out, err);
}

/* --- the other calls ---------------------------------------------------------------------- */

static const shardy_store_limits no_limits = {0, NULL};

shardy_status shardy_store_head_within(shardy_store *store, const char *key,
    const shardy_store_limits *limits, shardy_object_meta *meta_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(meta_out);
    memset(meta_out, 0, sizeof *meta_out);
    CHECK_STORE(store);
    limits = limits ? limits : &no_limits;
    SHARDY_TRY(shardy__store_check_key(text_key(key), err));
    SHARDY_TRY(
        shardy__check_time(store->context, limits->deadline_ns, limits->cancel, "store", err));
    count(store, SHARDY_METRIC_STORE_HEADS, 1);
    shardy_error own;
    begin_call(&own);
    shardy_status st = store->ops->head(store->state, text_key(key), limits, meta_out, &own);
    return end_call(check_answer(store, "head", st, &own), &own, err);
}

shardy_status shardy_store_head(
    shardy_store *store, const char *key, shardy_object_meta *meta_out, shardy_error *err)
{
    return shardy_store_head_within(store, key, NULL, meta_out, err);
}

static shardy_status check_put(
    const shardy_store *store, const shardy_store_put *put, shardy_error *err)
{
    SHARDY_TRY(shardy__store_check_key(put->key, err));
    if (put->condition < SHARDY_PUT_ALWAYS || put->condition > SHARDY_PUT_IF_MATCH) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "condition %d of the put of \"%.*s\" is not known", put->condition,
            SHARDY_BYTES_FMT(put->key));
    }
    if ((put->file_path && put->next) || ((put->file_path || put->next) && put->body.len > 0) ||
        (!put->body.data && put->body.len > 0)) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "the put of \"%.*s\" has more than one body, or a body without bytes",
            SHARDY_BYTES_FMT(put->key));
    }
    if (put->condition == SHARDY_PUT_IF_MATCH) {
        SHARDY_TRY(check_etag(put->etag, "a put with IF_MATCH", err));
    }
    uint64_t need = put->condition == SHARDY_PUT_IF_MATCH    ? SHARDY_STORE_CAP_PUT_IF_MATCH
                    : put->condition == SHARDY_PUT_IF_ABSENT ? SHARDY_STORE_CAP_PUT_IF_ABSENT
                                                             : 0;
    if ((shardy_store_caps(store) & need) != need) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "store",
            "the store \"%.40s\" cannot put \"%.*s\" under a condition (a directory on a network "
            "file system can with allow_network_fs)",
            shardy_store_name(store), SHARDY_BYTES_FMT(put->key));
    }
    return shardy__check_time(store->context, put->deadline_ns, put->cancel, "store", err);
}

shardy_status shardy_store_put_object(shardy_store *store, const shardy_store_put *put,
    shardy_object_meta *meta_out, shardy_error *err)
{
    shardy_object_meta own;
    shardy_object_meta *meta = meta_out ? meta_out : &own;
    memset(meta, 0, sizeof *meta);
    SHARDY_CHECK_ARG(put);
    CHECK_STORE(store);
    SHARDY_TRY(check_put(store, put, err));
    count(store, SHARDY_METRIC_STORE_PUTS, 1);
    shardy_error own_err;
    begin_call(&own_err);
    shardy_status st = store->ops->put(store->state, put, meta, &own_err);
    st = check_answer(store, "put", st, &own_err);
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__error(&own_err, SHARDY_INTERNAL, "store",
            "put of the store \"%.40s\" answered NOT_FOUND", shardy_store_name(store));
    }
    if (st == SHARDY_OK) {
        count(store, SHARDY_METRIC_STORE_PUT_BYTES, meta->size);
    } else {
        memset(meta, 0, sizeof *meta);
    }
    return end_call(st, &own_err, err);
}

static shardy_status check_prefix(const char *prefix, shardy_error *err)
{
    size_t len = strlen(prefix);
    if (len == 0) {
        return SHARDY_OK;
    }
    const char *problem =
        prefix[len - 1] == '/' ? shardy__key_problem(prefix, len - 1) : "does not end in '/'";
    return problem ? shardy__error(
                         err, SHARDY_INVALID, "store", "the prefix \"%.300s\" %s", prefix, problem)
                   : SHARDY_OK;
}

/* Entries are in ascending order, below the prefix, and not more than were asked for. */
static int page_is_right(const shardy_store_page *page, const char *prefix, size_t limit)
{
    size_t len = strlen(prefix);
    if (page->count > limit || (page->next_token && page->count == 0)) {
        return 0;
    }
    for (size_t i = 0; i < page->count; i++) {
        const char *key = page->entries[i].key;
        if (strncmp(key, prefix, len) != 0 ||
            (i > 0 && strcmp(page->entries[i - 1].key, key) >= 0)) {
            return 0;
        }
    }
    return 1;
}

shardy_status shardy_store_list_within(shardy_store *store, const shardy_store_listing *what,
    shardy_store_page *page_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(page_out);
    memset(page_out, 0, sizeof *page_out);
    SHARDY_CHECK_ARG(what && what->prefix);
    CHECK_STORE(store);
    SHARDY_TRY(check_prefix(what->prefix, err));
    if (what->delimiter != 0 && what->delimiter != '/') {
        return shardy__error(err, SHARDY_INVALID, "store",
            "the delimiter of a listing is character %d, expected '/' or 0", (int)what->delimiter);
    }
    if (what->limit == 0 || what->limit > SHARDY_LIST_LIMIT_MAX) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "a page of a listing is to have %zu entries, expected 1 to %u", what->limit,
            SHARDY_LIST_LIMIT_MAX);
    }
    SHARDY_TRY(shardy__check_time(
        store->context, what->limits.deadline_ns, what->limits.cancel, "store", err));
    count(store, SHARDY_METRIC_STORE_LISTS, 1);
    shardy_error own;
    begin_call(&own);
    shardy_status st = store->ops->list(store->state, what, page_out, &own);
    st = check_answer(store, "list", st, &own);
    if (st == SHARDY_NOT_FOUND ||
        (st == SHARDY_OK && !page_is_right(page_out, what->prefix, what->limit))) {
        st = shardy__error(&own, SHARDY_INTERNAL, "store",
            "list of the store \"%.40s\" gave a page out of order, or of something else",
            shardy_store_name(store));
    }
    if (st < 0) {
        shardy_store_page_dispose(page_out);
    }
    return end_call(st, &own, err);
}

shardy_status shardy_store_list(shardy_store *store, const char *prefix, char delimiter,
    const char *token, size_t limit, shardy_store_page *page_out, shardy_error *err)
{
    const shardy_store_listing what = {prefix, token, limit, no_limits, delimiter};
    return shardy_store_list_within(store, &what, page_out, err);
}

void shardy_store_page_dispose(shardy_store_page *page)
{
    if (page) {
        if (page->dispose) {
            page->dispose(page);
        }
        memset(page, 0, sizeof *page);
    }
}

shardy_status shardy_store_remove_within(shardy_store *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(n == 0 || (keys && results_out));
    for (size_t i = 0; i < n; i++) {
        results_out[i] = SHARDY_INVALID;
    }
    CHECK_STORE(store);
    limits = limits ? limits : &no_limits;
    for (size_t i = 0; i < n; i++) {
        SHARDY_TRY(shardy__store_check_key(keys[i], err));
    }
    if (n == 0) {
        return SHARDY_OK;
    }
    shardy_status in_time =
        shardy__check_time(store->context, limits->deadline_ns, limits->cancel, "store", err);
    if (in_time < 0) {
        for (size_t i = 0; i < n; i++) {
            results_out[i] = in_time;
        }
        return in_time;
    }
    count(store, SHARDY_METRIC_STORE_DELETES, n);
    shardy_error own;
    begin_call(&own);
    shardy_status st = store->ops->remove(store->state, keys, n, limits, results_out, &own);
    st = check_answer(store, "remove", st, &own);
    return st == SHARDY_NOT_FOUND ? SHARDY_OK : end_call(st, &own, err);
}

shardy_status shardy_store_remove(shardy_store *store, const shardy_bytes *keys, size_t n,
    int32_t *results_out, shardy_error *err)
{
    return shardy_store_remove_within(store, keys, n, NULL, results_out, err);
}

shardy_status shardy_store_open_local(
    shardy_store *store, const char *key, shardy_local_file *file_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(file_out);
    memset(file_out, 0, sizeof *file_out);
    file_out->fd = -1;
    CHECK_STORE(store);
    SHARDY_TRY(shardy__store_check_key(text_key(key), err));
    if (!(shardy_store_caps(store) & SHARDY_STORE_CAP_OPEN_LOCAL)) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "store",
            "objects of the store \"%.40s\" are not local files", shardy_store_name(store));
    }
    count(store, SHARDY_METRIC_STORE_OPENS, 1);
    shardy_error own;
    begin_call(&own);
    shardy_status st = store->ops->open_local(store->state, text_key(key), file_out, &own);
    st = check_answer(store, "open_local", st, &own);
    if (st != SHARDY_OK) {
        file_out->fd = -1;
    }
    return end_call(st, &own, err);
}

shardy_status shardy_store_scratch(shardy_store *store, const char **path_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(path_out);
    *path_out = NULL;
    CHECK_STORE(store);
    if (!(shardy_store_caps(store) & SHARDY_STORE_CAP_TAKE_FILE)) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "store",
            "the store \"%.40s\" has no directory for scratch files", shardy_store_name(store));
    }
    shardy_error own;
    begin_call(&own);
    shardy_status st = store->ops->scratch(store->state, path_out, &own);
    return end_call(check_answer(store, "scratch", st, &own), &own, err);
}
