/* store_retry.c: a store that repeats calls which failed and may succeed later.
 *
 * Lost answers of conditional puts are resolved here, for all objects, by comparing the whole body.
 * The catalog looks once more (fate.c, manifest_store.c) when a put is answered with a failure: it
 * also works on stores without this wrapper and on manifests that are no objects, it has to read
 * the object anyway to name who was faster, and here the search for the truth can end for want of
 * time or budget. */
#include "read_queue.h"
#include "store_pass.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <string.h>

/* Bytes of a body compared at a time. */
#define WINDOW (1u << 20)
/* Attempts of a call for which the options say nothing. A service that asks for fewer requests is
 * there and will answer; how long it is waited for is bounded by the time of a call alone. */
#define ATTEMPTS_DEFAULT   6u
#define ATTEMPTS_THROTTLED SHARDY_ATTEMPTS_MAX
/* Units of the budget that a retry costs; a call brings `budget_percent`. */
#define TOKEN 100

typedef struct retry_store {
    shardy_store *inner; /* first: store_pass.h */
    const shardy_context *context;
    shardy_retry_options options;
    _Atomic int64_t budget;
    read_queue reads;
} retry_store;

/* A call with its failures so far. */
typedef struct retry_call {
    uint32_t failures;
    int64_t failed_ns; /* the first failure */
    int64_t deadline_ns;
    const shardy_cancel *cancel;
    char *last; /* the message of the last one; NULL: none, or there was no memory for it */
} retry_call;

/* --- when to repeat --------------------------------------------------------------------------- */

static void add_to_budget(retry_store *s)
{
    int64_t most = (int64_t)s->options.budget_tokens * TOKEN;
    int64_t now = atomic_load(&s->budget);
    int64_t next;
    do {
        next = now + s->options.budget_percent;
        next = next < most ? next : most;
    } while (!atomic_compare_exchange_weak(&s->budget, &now, next));
}

static int take_token(retry_store *s)
{
    int64_t now = atomic_load(&s->budget);
    do {
        if (now < TOKEN) {
            shardy__count(s->context, SHARDY_METRIC_STORE_RETRIES_REFUSED, 1);
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&s->budget, &now, now - TOKEN));
    shardy__count(s->context, SHARDY_METRIC_STORE_RETRIES, 1);
    return 1;
}

/* Whether a later attempt can have another answer. A store may be somebody else's code: what it
 * says of an answer that is none is not believed. */
static int is_retriable(shardy_status st, const shardy_error *err)
{
    switch (st) {
    case SHARDY_EXISTS:
    case SHARDY_CONFLICT:
    case SHARDY_AUTH:
    case SHARDY_INVALID:
    case SHARDY_CANCELLED:
        return 0;
    default:
        return st < 0 && err->retriable;
    }
}

/* "Full jitter": any time up to the backoff, so that those who failed together do not come back
 * together. */
static int64_t random_wait(const retry_store *s, uint32_t failures)
{
    uint64_t most = (uint64_t)s->options.max_backoff_ms * 1000000;
    uint64_t wait = (uint64_t)s->options.initial_backoff_ms * 1000000;
    for (uint32_t i = 1; i < failures && wait < most; i++) {
        wait *= 2;
    }
    wait = wait < most ? wait : most;
    return (int64_t)(shardy__rand_u64(s->context) % (wait + 1));
}

static uint32_t attempts_max(const retry_store *s, shardy_status st)
{
    if (s->options.max_attempts > 0) {
        return s->options.max_attempts;
    }
    return st == SHARDY_THROTTLED ? ATTEMPTS_THROTTLED : ATTEMPTS_DEFAULT;
}

/* Why a call that has ended by its deadline was still at work. */
static void tell_last(const retry_call *c, int64_t now, shardy_status st, shardy_error *err)
{
    if (c->last && st == SHARDY_TIMEOUT && c->deadline_ns && now >= c->deadline_ns) {
        const shardy_error end = *err;
        shardy__error_native(err, st, end.retriable, end.native, end.domain,
            "%.400s; the last failure: %.400s", end.message, c->last);
    }
}

static void keep_last(retry_call *c, const char *message)
{
    shardy__free(c->last);
    c->last = message ? shardy__strdup(message) : NULL;
}

/* Whether a call that was answered so is made again, and when; then it is paid for. Otherwise the
 * error tells how often it was tried, and nothing is left of the call. */
static int plan_retry(
    retry_store *s, retry_call *c, shardy_status st, shardy_error *err, int64_t *due_out)
{
    if (!is_retriable(st, err)) {
        keep_last(c, NULL);
        return 0;
    }
    int64_t now = shardy__monotonic_ns(s->context);
    if (c->failures++ == 0) {
        c->failed_ns = now;
    }
    int64_t wait = random_wait(s, c->failures) + (int64_t)err->retry_after_ms * 1000000;
    int64_t due = now + wait;
    int in_time = due <= c->failed_ns + (int64_t)s->options.timeout_ms * 1000000 &&
                  (c->deadline_ns == 0 || due < c->deadline_ns);
    if (c->failures < attempts_max(s, st) && in_time && take_token(s)) {
        shardy__log(s->context, SHARDY_LOG_DEBUG, "store",
            "attempt %u failed, the next comes in %lld ms: %s", c->failures,
            (long long)(wait / 1000000), err->message);
        keep_last(c, err->message);
        *due_out = due;
        return 1;
    }
    tell_last(c, now, st, err);
    keep_last(c, NULL);
    if (c->failures > 1) {
        shardy__error_prefix(err, st, "after %u attempts", c->failures);
    }
    return 0;
}

/* The same for a call that waits. CANCELLED becomes its answer. */
static int wait_to_retry(retry_store *s, retry_call *c, shardy_status *st, shardy_error *err)
{
    int64_t due;
    if (!plan_retry(s, c, *st, err, &due)) {
        return 0;
    }
    shardy_status slept = shardy__sleep_until(s->context, due, c->cancel, "store", err);
    if (slept < 0) {
        keep_last(c, NULL);
        *st = slept;
    }
    return slept >= 0;
}

/* --- reads ------------------------------------------------------------------------------------ */

static int read_answered(void *owner, read_slot *slot, int64_t *due_out)
{
    retry_store *s = owner;
    shardy_store_read *read = slot->read;
    retry_call c = {slot->failures, slot->failed_ns, read->deadline_ns, read->cancel, slot->last};
    int again = plan_retry(s, &c, (shardy_status)read->status, &read->error, due_out);
    slot->failures = c.failures;
    slot->failed_ns = c.failed_ns;
    slot->last = c.last;
    return again;
}

static const read_queue_hooks read_hooks = {.answered = read_answered};

static void retry_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    retry_store *s = store;
    for (size_t i = 0; i < n; i++) {
        add_to_budget(s);
    }
    shardy__read_queue_start(&s->reads, reads, n, done, user);
}

/* --- puts ------------------------------------------------------------------------------------- */

typedef enum put_truth {
    PUT_OTHER = 0, /* somebody else's object is there */
    PUT_MINE,      /* it was done */
    PUT_OPEN       /* nothing was done yet */
} put_truth;

/* What is put, to compare with. */
typedef struct put_source {
    shardy_bytes body;
    int fd;        /* -1: the body */
    uint8_t *room; /* WINDOW bytes for parts of the file */
    uint64_t size;
} put_source;

static void source_close(put_source *source)
{
    shardy__file_close(source->fd);
    shardy__free(source->room);
}

static shardy_status source_open(const shardy_store_put *put, put_source *source, shardy_error *err)
{
    memset(source, 0, sizeof *source);
    source->fd = -1;
    source->body = put->body;
    source->size = put->body.len;
    if (!put->file_path) {
        return SHARDY_OK;
    }
    shardy_status st = shardy__file_open(put->file_path, &source->fd, err);
    if (st != SHARDY_OK) {
        source->fd = -1;
        return st;
    }
    source->room = shardy__malloc(WINDOW);
    st = source->room ? shardy__file_size(source->fd, &source->size, err)
                      : shardy__error_nomem(err, "store");
    if (st < 0) {
        source_close(source);
    }
    return st;
}

/* Whether these bytes are in the source. */
static shardy_status source_has(
    const put_source *source, uint64_t offset, shardy_bytes bytes, int *same_out, shardy_error *err)
{
    const uint8_t *mine = source->body.data;
    *same_out = 1;
    if (bytes.len == 0) {
        return SHARDY_OK;
    }
    if (source->fd >= 0) {
        SHARDY_TRY(shardy__file_read_at(source->fd, offset, source->room, bytes.len, err));
        mine = source->room;
    } else {
        mine += offset;
    }
    *same_out = memcmp(mine, bytes.data, bytes.len) == 0;
    return SHARDY_OK;
}

/* Compares a part of the object that is there. DONE: the truth is found. */
static shardy_status compare_part(retry_store *s, const shardy_store_put *put,
    const put_source *source, uint64_t offset, put_truth *truth_out, shardy_object_meta *meta,
    shardy_error *err)
{
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = put->key;
    read.offset = offset;
    read.len = WINDOW;
    read.if_match = offset > 0 && meta->etag.text[0] ? meta->etag.text : NULL;
    read.deadline_ns = put->deadline_ns;
    read.cancel = put->cancel;
    shardy_store_read_all(s->inner, &read, 1);
    shardy_status st = (shardy_status)read.status;
    if (st == SHARDY_NOT_FOUND || st == SHARDY_CONFLICT) {
        int open = st == SHARDY_NOT_FOUND && put->condition == SHARDY_PUT_IF_ABSENT;
        *truth_out = open ? PUT_OPEN : PUT_OTHER;
        return SHARDY_DONE;
    }
    if (st < 0) {
        *err = read.error;
        return st;
    }
    *meta = read.meta;
    int same = 0;
    if (offset == 0 && put->condition == SHARDY_PUT_IF_MATCH &&
        strcmp(meta->etag.text, put->etag) == 0) {
        *truth_out = PUT_OPEN;
    } else if (meta->size == source->size && read.received <= source->size - offset) {
        st = source_has(
            source, offset, (shardy_bytes){read.body.data, (size_t)read.received}, &same, err);
        *truth_out = same ? PUT_MINE : PUT_OTHER;
    }
    shardy_buf_release(&read.body);
    return st < 0 || same ? st : SHARDY_DONE;
}

/* What became of a put whose answer is not known. */
static shardy_status find_truth(retry_store *s, const shardy_store_put *put,
    const put_source *source, put_truth *truth_out, shardy_object_meta *meta_out, shardy_error *err)
{
    *truth_out = PUT_OTHER;
    shardy_status st = SHARDY_OK;
    for (uint64_t at = 0; st == SHARDY_OK && (at == 0 || at < source->size); at += WINDOW) {
        st = compare_part(s, put, source, at, truth_out, meta_out, err);
    }
    return st < 0 ? st : SHARDY_OK;
}

static shardy_status refuse_put(const shardy_store_put *put, shardy_error *err)
{
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        return shardy__error(err, SHARDY_EXISTS, "store",
            "the object \"%.*s\" exists with other content", SHARDY_BYTES_FMT(put->key));
    }
    return shardy__error(err, SHARDY_CONFLICT, "store",
        "the object \"%.*s\" was changed by somebody else", SHARDY_BYTES_FMT(put->key));
}

/* No more budget, with the end of the put not known. */
static shardy_status leave_open(const shardy_store_put *put, shardy_error *err)
{
    return shardy__error_native(err, SHARDY_UNAVAILABLE, 1, 0, "store",
        "the answer of a put of \"%.*s\" was lost, and the budget of retries is used up",
        SHARDY_BYTES_FMT(put->key));
}

/* Repeats a conditional put of which it is not known whether it was done. */
static shardy_status repeat_condition(retry_store *s, const shardy_store_put *put,
    const put_source *source, shardy_object_meta *meta_out, shardy_error *err)
{
    put_truth truth;
    SHARDY_TRY(find_truth(s, put, source, &truth, meta_out, err));
    if (truth == PUT_OPEN) {
        if (!take_token(s)) {
            return leave_open(put, err);
        }
        shardy_status st = shardy_store_put_object(s->inner, put, meta_out, err);
        if (st != SHARDY_EXISTS && st != SHARDY_CONFLICT) {
            return st;
        }
        /* by somebody else, or by the earlier attempt, which came late */
        if (!take_token(s)) {
            return leave_open(put, err);
        }
        SHARDY_TRY(find_truth(s, put, source, &truth, meta_out, err));
    }
    return truth == PUT_MINE ? SHARDY_OK : refuse_put(put, err);
}

static shardy_status repeat_put(retry_store *s, const shardy_store_put *put,
    const put_source *source, shardy_object_meta *meta_out, shardy_error *err)
{
    return put->condition == SHARDY_PUT_ALWAYS
               ? shardy_store_put_object(s->inner, put, meta_out, err)
               : repeat_condition(s, put, source, meta_out, err);
}

/* A put of which the store repeats single requests. */
typedef struct put_in_parts {
    retry_store *store;
    const shardy_store_put *put;
    int gave_up; /* 1: a request was repeated in vain, so the whole is not repeated */
} put_in_parts;

static int32_t part_answered(void *user, shardy_store_attempts *attempts, int32_t status,
    shardy_error *err, int64_t *due_out)
{
    put_in_parts *p = user;
    retry_call c = {
        attempts->failures, attempts->failed_ns, p->put->deadline_ns, p->put->cancel, NULL};
    if (c.failures == 0) {
        add_to_budget(p->store);
    }
    int again = plan_retry(p->store, &c, (shardy_status)status, err, due_out);
    attempts->failures = c.failures;
    attempts->failed_ns = c.failed_ns;
    keep_last(&c, NULL);
    p->gave_up |= !again && is_retriable((shardy_status)status, err);
    return again;
}

static shardy_status retry_put(
    void *store, const shardy_store_put *asked, shardy_object_meta *meta_out, shardy_error *err)
{
    retry_store *s = store;
    put_in_parts parts = {s, asked, 0};
    const shardy_store_repeat repeat = {&parts, part_answered};
    shardy_store_put put = *asked;
    put.repeat = &repeat;
    retry_call c = {0, 0, put.deadline_ns, put.cancel, NULL};
    put_source source;
    shardy_error ignored;
    add_to_budget(s);
    shardy_status st = shardy_store_put_object(s->inner, &put, meta_out, err);
    /* Parts that were given are gone, and so may be the file. */
    if (parts.gave_up || !is_retriable(st, err) || put.next ||
        source_open(&put, &source, &ignored) != SHARDY_OK) {
        return st;
    }
    while (!parts.gave_up && wait_to_retry(s, &c, &st, err)) {
        st = repeat_put(s, &put, &source, meta_out, err);
    }
    keep_last(&c, NULL);
    source_close(&source);
    if (st < 0 && st != SHARDY_EXISTS && st != SHARDY_CONFLICT) {
        err->retriable = 1; /* whatever ended this, an earlier attempt may have been done */
    }
    return st;
}

/* --- the other calls -------------------------------------------------------------------------- */

static shardy_status retry_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    retry_store *s = store;
    retry_call c = {0, 0, limits->deadline_ns, limits->cancel, NULL};
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_status st;
    shardy__store_key_text(key, text);
    add_to_budget(s);
    do {
        st = shardy_store_head_within(s->inner, text, limits, meta_out, err);
    } while (wait_to_retry(s, &c, &st, err));
    return st;
}

static shardy_status retry_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    retry_store *s = store;
    retry_call c = {0, 0, what->limits.deadline_ns, what->limits.cancel, NULL};
    shardy_status st;
    add_to_budget(s);
    do {
        st = shardy_store_list_within(s->inner, what, page_out, err);
    } while (wait_to_retry(s, &c, &st, err));
    return st;
}

static shardy_status retry_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    retry_store *s = store;
    retry_call c = {0, 0, limits->deadline_ns, limits->cancel, NULL};
    shardy_status st;
    add_to_budget(s);
    do {
        st = shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
    } while (wait_to_retry(s, &c, &st, err));
    return st;
}

static shardy_status retry_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    retry_store *s = store;
    retry_call c = {0};
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_status st;
    shardy__store_key_text(key, text);
    add_to_budget(s);
    do {
        st = shardy_store_open_local(s->inner, text, file_out, err);
    } while (wait_to_retry(s, &c, &st, err));
    return st;
}

static void retry_close(void *store)
{
    retry_store *s = store;
    shardy__read_queue_free(&s->reads);
    shardy__free(s);
}

static const shardy_store_ops retry_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "retry",
    .caps = shardy__pass_caps,
    .read = retry_read,
    .head = retry_head,
    .put = retry_put,
    .list = retry_list,
    .remove = retry_remove,
    .open_local = retry_open_local,
    .scratch = shardy__pass_scratch,
    .close = retry_close,
};

/* --- making one ------------------------------------------------------------------------------- */

void shardy_retry_options_init(shardy_retry_options *options, size_t struct_size)
{
    shardy_retry_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.initial_backoff_ms = 200;
    defaults.max_backoff_ms = 4000;
    defaults.timeout_ms = 30000;
    defaults.budget_tokens = 100;
    defaults.budget_percent = 20;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

static shardy_status check_options(const shardy_retry_options *options, shardy_error *err)
{
    if (options->max_attempts > SHARDY_ATTEMPTS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "max_attempts is %u, expected 1 to %u, or 0 for the default", options->max_attempts,
            SHARDY_ATTEMPTS_MAX);
    }
    return SHARDY_OK;
}

shardy_status shardy_store_wrap_retry(shardy_context *context, shardy_store *inner,
    const shardy_retry_options *options, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(inner);
    shardy_retry_options own;
    shardy_retry_options_init(&own, sizeof own);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&own, options, err));
    SHARDY_TRY(check_options(&own, err));
    SHARDY_TRY(shardy__check_process(inner->generation, err));
    retry_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    shardy_context *used = context ? context : inner->context;
    s->inner = inner;
    s->context = used;
    s->options = own;
    atomic_init(&s->budget, (int64_t)own.budget_tokens * TOKEN);
    shardy__read_queue_init(&s->reads, used, inner, &read_hooks, s);
    return shardy__store_new_wrapper_take(used, &retry_ops, s, inner, store_out, err);
}

shardy_status shardy__store_wrap_retry_take(shardy_context *context, shardy_store *inner,
    const shardy_retry_options *options, shardy_store **store_out, shardy_error *err)
{
    shardy_status st = shardy_store_wrap_retry(context, inner, options, store_out, err);
    if (st < 0) {
        shardy_store_close(inner);
        return st;
    }
    shardy__store_own_inner(*store_out);
    return st;
}
