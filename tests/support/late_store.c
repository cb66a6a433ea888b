#include "late_store.h"

#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAITING_MAX 4096u

typedef struct late_read {
    shardy_store_read *read;
    shardy_store_done_fn done;
    void *user;
    shardy_status failure;
} late_read;

typedef struct late_store {
    shardy_store *inner;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    late_read waiting[WAITING_MAX];
    uint32_t count;
    uint32_t started;
    uint32_t failures;
    shardy_status failure;
    uint64_t random;
    int hold;
    int closing;
} late_store;

static uint64_t late_caps(void *store)
{
    const late_store *s = store;
    return shardy_store_caps(s->inner) &
           ~(uint64_t)(SHARDY_STORE_CAP_OPEN_LOCAL | SHARDY_STORE_CAP_TAKE_FILE);
}

/* One read to answer now: any of them, or while answers are held a cancelled one. Called with the
 * lock. */
static int choose_read(late_store *s, late_read *out)
{
    for (uint32_t i = 0; s->hold && i < s->count; i++) {
        if (shardy_cancel_requested(s->waiting[i].read->cancel)) {
            *out = s->waiting[i];
            out->failure = SHARDY_CANCELLED;
            s->waiting[i] = s->waiting[--s->count];
            return 1;
        }
    }
    if (s->hold || s->count == 0) {
        return 0;
    }
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    uint32_t i = (uint32_t)((s->random >> 33) % s->count);
    *out = s->waiting[i];
    s->waiting[i] = s->waiting[--s->count];
    return 1;
}

static void answer(const late_store *s, const late_read *late)
{
    shardy_store_read *read = late->read;
    if (late->failure != SHARDY_OK) {
        read->status = late->failure;
        read->error.status = late->failure;
        snprintf(read->error.message, sizeof read->error.message, "made to fail");
    } else {
        shardy_store_read own = *read;
        shardy_store_read_all(s->inner, &own, 1);
        read->status = own.status;
        read->received = own.received;
        read->body = own.body;
        read->meta = own.meta;
        read->error = own.error;
    }
    late->done(late->user, read);
}

static void *answer_all(void *arg)
{
    late_store *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->closing || s->count > 0) {
        late_read late;
        if (choose_read(s, &late)) {
            pthread_mutex_unlock(&s->lock);
            answer(s, &late);
            pthread_mutex_lock(&s->lock);
            continue;
        }
        /* a cancellation wakes nobody */
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 2000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void late_read_start(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    late_store *s = store;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        if (s->count == WAITING_MAX) {
            abort();
        }
        late_read *late = &s->waiting[s->count++];
        *late = (late_read){&reads[i], done, user, SHARDY_OK};
        if (s->failures > 0) {
            s->failures--;
            late->failure = s->failure;
        }
        s->started++;
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static shardy_status late_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    const late_store *s = store;
    char text[1100];
    snprintf(text, sizeof text, "%.*s", (int)key.len, (const char *)key.data);
    return shardy_store_head_within(s->inner, text, limits, meta_out, err);
}

static shardy_status late_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    const late_store *s = store;
    return shardy_store_put_object(s->inner, put, meta_out, err);
}

static shardy_status late_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    const late_store *s = store;
    return shardy_store_list_within(s->inner, what, page_out, err);
}

static shardy_status late_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    const late_store *s = store;
    return shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
}

static void late_close(void *store)
{
    late_store *s = store;
    pthread_mutex_lock(&s->lock);
    s->closing = 1;
    s->hold = 0;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const shardy_store_ops LATE_OPS = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "late",
    .caps = late_caps,
    .read = late_read_start,
    .head = late_head,
    .put = late_put,
    .list = late_list,
    .remove = late_remove,
    .close = late_close,
};

shardy_status late_store_open(shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    late_store *s = calloc(1, sizeof *s);
    if (!s) {
        return SHARDY_NOMEM;
    }
    s->inner = inner;
    s->random = 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, answer_all, s) != 0) {
        free(s);
        return SHARDY_EXHAUSTED;
    }
    return shardy_store_new_take(inner->context, &LATE_OPS, s, store_out, err);
}

void late_store_hold(shardy_store *store, int hold)
{
    late_store *s = store->state;
    pthread_mutex_lock(&s->lock);
    s->hold = hold;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void late_store_fail(shardy_store *store, uint32_t count, shardy_status status)
{
    late_store *s = store->state;
    pthread_mutex_lock(&s->lock);
    s->failures = count;
    s->failure = status;
    pthread_mutex_unlock(&s->lock);
}

uint32_t late_store_reads(shardy_store *store)
{
    late_store *s = store->state;
    pthread_mutex_lock(&s->lock);
    uint32_t started = s->started;
    pthread_mutex_unlock(&s->lock);
    return started;
}
