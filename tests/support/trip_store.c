#include "trip_store.h"

#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trip_store {
    shardy_store *inner;
    pthread_mutex_t lock;
    uint32_t answered; /* the last step that was answered */
    trip_counts counts;
    uint32_t read_count;
    trip_read reads[TRIP_READS_MAX];
} trip_store;

typedef struct trip_call {
    trip_store *store;
    shardy_store_done_fn done;
    void *user;
    shardy_store_read *reads;
    uint32_t step;
    uint32_t first; /* its place in store->reads */
    size_t left;
} trip_call;

static uint64_t trip_caps(void *store)
{
    const trip_store *s = store;
    return shardy_store_caps(s->inner) &
           ~(uint64_t)(SHARDY_STORE_CAP_OPEN_LOCAL | SHARDY_STORE_CAP_TAKE_FILE);
}

static void note_answer(trip_store *s, uint32_t step)
{
    s->answered = step > s->answered ? step : s->answered;
}

static uint32_t note_start(trip_store *s, uint32_t requests)
{
    uint32_t step = s->answered + 1;
    s->counts.steps = step > s->counts.steps ? step : s->counts.steps;
    s->counts.requests += requests;
    return step;
}

static void trip_done(void *user, shardy_store_read *read)
{
    trip_call *call = user;
    trip_store *s = call->store;
    size_t at = call->first + (size_t)(read - call->reads);
    pthread_mutex_lock(&s->lock);
    note_answer(s, call->step);
    s->counts.bytes += read->received;
    if (at < TRIP_READS_MAX) {
        s->reads[at].received = read->received;
        s->reads[at].status = read->status;
    }
    size_t left = --call->left;
    pthread_mutex_unlock(&s->lock);
    shardy_store_done_fn done = call->done;
    void *done_user = call->user;
    if (left == 0) {
        free(call);
    }
    done(done_user, read);
}

static void note_read(trip_store *s, const shardy_store_read *read, uint32_t step)
{
    if (s->read_count < TRIP_READS_MAX) {
        trip_read *r = &s->reads[s->read_count];
        memset(r, 0, sizeof *r);
        snprintf(r->key, sizeof r->key, "%.*s", (int)read->key.len, (const char *)read->key.data);
        r->offset = read->offset;
        r->step = step;
        r->conditional = read->if_match != NULL;
    }
    s->read_count++;
}

/* All of a call are passed on together, so the step of none is counted as answered before the
 * others were started. */
static void trip_read_start(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    trip_store *s = store;
    trip_call *call = malloc(sizeof *call);
    if (!call) {
        abort();
    }
    pthread_mutex_lock(&s->lock);
    *call = (trip_call){s, done, user, reads, note_start(s, (uint32_t)n), s->read_count, n};
    for (size_t i = 0; i < n; i++) {
        note_read(s, &reads[i], call->step);
    }
    pthread_mutex_unlock(&s->lock);
    shardy_store_read_start(s->inner, reads, n, trip_done, call);
}

static const char *key_text(shardy_bytes key, char *text, size_t size)
{
    snprintf(text, size, "%.*s", (int)key.len, (const char *)key.data);
    return text;
}

static shardy_status trip_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    trip_store *s = store;
    char text[1100];
    pthread_mutex_lock(&s->lock);
    uint32_t step = note_start(s, 1);
    pthread_mutex_unlock(&s->lock);
    shardy_status st =
        shardy_store_head_within(s->inner, key_text(key, text, sizeof text), limits, meta_out, err);
    pthread_mutex_lock(&s->lock);
    note_answer(s, step);
    pthread_mutex_unlock(&s->lock);
    return st;
}

static shardy_status trip_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    const trip_store *s = store;
    return shardy_store_put_object(s->inner, put, meta_out, err);
}

static shardy_status trip_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    trip_store *s = store;
    pthread_mutex_lock(&s->lock);
    uint32_t step = note_start(s, 1);
    pthread_mutex_unlock(&s->lock);
    shardy_status st = shardy_store_list_within(s->inner, what, page_out, err);
    pthread_mutex_lock(&s->lock);
    note_answer(s, step);
    pthread_mutex_unlock(&s->lock);
    return st;
}

static shardy_status trip_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    const trip_store *s = store;
    return shardy_store_remove_within(s->inner, keys, n, limits, results_out, err);
}

static const char *trip_place(void *store)
{
    const trip_store *s = store;
    return shardy__store_place(s->inner);
}

static void trip_close(void *store)
{
    trip_store *s = store;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const shardy_store_ops TRIP_OPS = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "trips",
    .caps = trip_caps,
    .read = trip_read_start,
    .head = trip_head,
    .put = trip_put,
    .list = trip_list,
    .remove = trip_remove,
    .close = trip_close,
    .place = trip_place,
};

shardy_status trip_store_open(shardy_store *inner, shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    trip_store *s = calloc(1, sizeof *s);
    if (!s) {
        return SHARDY_NOMEM;
    }
    s->inner = inner;
    pthread_mutex_init(&s->lock, NULL);
    return shardy_store_new_take(inner->context, &TRIP_OPS, s, store_out, err);
}

trip_counts trip_store_take(shardy_store *store)
{
    trip_store *s = store->state;
    pthread_mutex_lock(&s->lock);
    trip_counts counts = s->counts;
    memset(&s->counts, 0, sizeof s->counts);
    s->answered = 0;
    s->read_count = 0;
    pthread_mutex_unlock(&s->lock);
    return counts;
}

const trip_read *trip_store_reads(shardy_store *store, uint32_t *count_out)
{
    const trip_store *s = store->state;
    *count_out = s->read_count < TRIP_READS_MAX ? s->read_count : TRIP_READS_MAX;
    return s->reads;
}
