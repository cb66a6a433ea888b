#include "read_queue.h"

#include "../base/alloc.h"

#include <stddef.h>

/* How often held back reads with a token are looked at. */
#define CANCEL_LOOK_NS 20000000
#define IDLE_NS        3600000000000

/* Reads that were asked for together. */
typedef struct read_batch {
    read_queue *queue;
    shardy_store_done_fn done;
    void *user;
    const shardy_store_read *first;
    _Atomic size_t left; /* open reads, and 1 for the thread that asked */
    read_slot slots[];
} read_batch;

static void release_batch(read_batch *batch)
{
    if (atomic_fetch_sub_explicit(&batch->left, 1, memory_order_acq_rel) == 1) {
        shardy__free(batch);
    }
}

/* Tells of an answer. The store may be closed as soon as it was told of the last, unless a thread
 * is still in its call. */
static void finish(const read_slot *slot)
{
    read_batch *batch = slot->batch;
    read_queue *q = batch->queue;
    int driven = q->driven;
    batch->done(batch->user, slot->read);
    if (!driven) {
        release_batch(batch);
        return;
    }
    shardy__mutex_lock(&q->lock);
    release_batch(batch);
    shardy__condition_broadcast(&q->changed);
    shardy__mutex_unlock(&q->lock);
}

/* When to look at a held back read again. */
static int64_t look_ns(const read_slot *slot, int64_t now)
{
    int64_t look = now + CANCEL_LOOK_NS;
    return slot->read->cancel && look < slot->due_ns ? look : slot->due_ns;
}

/* The timer is told with the lock: it takes the lock before it passes the read on, so that the
 * queue is there until this is done. */
static void hold_back(read_slot *slot, int64_t due_ns)
{
    read_queue *q = slot->batch->queue;
    shardy__mutex_lock(&q->lock);
    slot->due_ns = due_ns;
    slot->next = q->waiting;
    q->waiting = slot;
    if (q->driven) {
        shardy__condition_broadcast(&q->changed);
    } else {
        shardy__timer_wake(
            q->context->read_timer, &q->task, look_ns(slot, shardy__monotonic_ns(q->context)));
    }
    shardy__mutex_unlock(&q->lock);
}

static void settle(read_slot *slot)
{
    read_queue *q = slot->batch->queue;
    int64_t due;
    if (q->hooks->answered(q->owner, slot, &due)) {
        hold_back(slot, due);
    } else {
        finish(slot);
    }
}

static void answered(void *user, shardy_store_read *read)
{
    read_batch *batch = user;
    settle(&batch->slots[read - batch->first]);
}

static void pass_on(read_slot *slot)
{
    read_batch *batch = slot->batch;
    read_queue *q = batch->queue;
    shardy_store_read *read = slot->read;
    shardy_status st =
        shardy__check_time(q->context, read->deadline_ns, read->cancel, "store", &read->error);
    if (st < 0) {
        read->status = st;
        settle(slot);
        return;
    }
    if (q->hooks->begins) {
        q->hooks->begins(q->owner, slot);
    }
    slot->started = 1;
    shardy_store_read_start(q->inner, read, 1, answered, batch);
}

/* Takes out the read that is due first, of one batch (NULL: of all). Without one that is due,
 * *look_out is when to look again; INT64_MAX when none is held back. Called with the lock. */
static read_slot *take_due(read_queue *q, const read_batch *batch, int64_t *look_out)
{
    int64_t now = shardy__monotonic_ns(q->context);
    read_slot **due = NULL;
    *look_out = INT64_MAX;
    for (read_slot **at = &q->waiting; *at; at = &(*at)->next) {
        if (batch && (*at)->batch != batch) {
            continue;
        }
        int64_t look = look_ns(*at, now);
        int ready = (*at)->due_ns <= now || shardy_cancel_requested((*at)->read->cancel);
        if (ready && (!due || (*at)->due_ns <= (*due)->due_ns)) { /* the older of two */
            due = at;
        }
        *look_out = look < *look_out ? look : *look_out;
    }
    read_slot *slot = due ? *due : NULL;
    if (slot) {
        *due = slot->next;
    }
    return slot;
}

static void run_due(timer_task *task)
{
    read_queue *q = (read_queue *)(void *)((char *)task - offsetof(read_queue, task));
    read_slot *slot;
    int64_t look;
    do {
        shardy__mutex_lock(&q->lock);
        slot = take_due(q, NULL, &look);
        shardy__mutex_unlock(&q->lock);
        if (slot) {
            pass_on(slot);
        }
    } while (slot);
    if (look != INT64_MAX) {
        shardy__timer_wake(q->context->read_timer, &q->task, look);
    }
}

/* Passes reads of a batch on until all are answered. */
static void drive(read_queue *q, read_batch *batch)
{
    shardy__mutex_lock(&q->lock);
    while (atomic_load(&batch->left) > 1) {
        int64_t look;
        read_slot *slot = take_due(q, batch, &look);
        if (!slot && look == INT64_MAX) {
            shardy__condition_wait(&q->changed, &q->lock);
            continue;
        }
        shardy__mutex_unlock(&q->lock);
        if (slot) {
            pass_on(slot);
        } else {
            (void)shardy__sleep_until(q->context, look, NULL, "store", NULL);
        }
        shardy__mutex_lock(&q->lock);
    }
    shardy__mutex_unlock(&q->lock);
}

void shardy__read_queue_init(read_queue *q, const shardy_context *context, shardy_store *inner,
    const read_queue_hooks *hooks, void *owner)
{
    q->context = context;
    q->inner = inner;
    q->hooks = hooks;
    q->owner = owner;
    q->waiting = NULL;
    shardy__mutex_init(&q->lock);
    shardy__condition_init(&q->changed);
    q->task.run = run_due;
    q->task.period_ns = IDLE_NS;
    shardy__timer_add(context->read_timer, &q->task);
    q->driven = !shardy__timer_has_thread(context->read_timer);
}

void shardy__read_queue_free(read_queue *q)
{
    if (q->context->process != shardy__process_generation()) {
        return; /* in a child: whoever holds a lock, or runs the task, is not there */
    }
    shardy__timer_remove(q->context->read_timer, &q->task);
    shardy__condition_destroy(&q->changed);
    shardy__mutex_destroy(&q->lock);
}

static read_batch *new_batch(
    read_queue *q, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    size_t size;
    if (!shardy__mul_size(n, sizeof(read_slot), &size) ||
        !shardy__add_size(size, sizeof(read_batch), &size)) {
        return NULL;
    }
    read_batch *batch = shardy__calloc(1, size);
    if (batch) {
        batch->queue = q;
        batch->done = done;
        batch->user = user;
        batch->first = reads;
        atomic_init(&batch->left, n + 1);
        for (size_t i = 0; i < n; i++) {
            batch->slots[i].read = &reads[i];
            batch->slots[i].batch = batch;
        }
    }
    return batch;
}

static void start_admitted(read_slot *slot)
{
    read_queue *q = slot->batch->queue;
    int64_t due;
    shardy_status st = q->hooks->admit(q->owner, slot, &due);
    if (st < 0) {
        slot->read->status = st;
        finish(slot);
    } else if (due <= shardy__monotonic_ns(q->context)) {
        pass_on(slot);
    } else {
        hold_back(slot, due);
    }
}

void shardy__read_queue_start(
    read_queue *q, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    read_batch *batch = new_batch(q, reads, n, done, user);
    if (!batch) {
        for (size_t i = 0; i < n; i++) {
            reads[i].status = shardy__error_nomem(&reads[i].error, "store");
            done(user, &reads[i]);
        }
        return;
    }
    int driven = q->driven;
    if (q->hooks->admit) {
        for (size_t i = 0; i < n; i++) {
            start_admitted(&batch->slots[i]);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            batch->slots[i].started = 1;
        }
        shardy_store_read_start(q->inner, reads, n, answered, batch);
    }
    if (driven) {
        drive(q, batch);
    }
    release_batch(batch);
}
