/* read_queue.h: reads that a wrapped store holds back for a while and then passes on.
 *
 * They are passed on by a timer of the context that does nothing else, never by the thread that
 * brings an answer. Where the timer has no thread (see ../base/timer.h) the thread that asked for
 * the reads passes them on, and does not return before all of them are answered. */
#ifndef SHARDY_STORE_READ_QUEUE_H
#define SHARDY_STORE_READ_QUEUE_H

#include "store.h"

#include "../base/rate.h"
#include "../base/thread.h"

#include <stdatomic.h>

/* One read on its way. */
typedef struct read_slot {
    shardy_store_read *read;
    struct read_batch *batch;
    struct read_slot *next; /* while it is held back */
    int64_t due_ns;
    int32_t started; /* 1: it was passed on */
    /* the wrapped store's, zero at first: */
    uint32_t failures;
    int64_t failed_ns;
    char *last;
    rate_place place;
} read_slot;

/* What the wrapped store decides. All may be called from any thread. */
typedef struct read_queue_hooks {
    /* When a read may be passed on for the first time; a failure, also set in the read's error, is
     * the answer of the read. NULL: at once. */
    shardy_status (*admit)(void *owner, read_slot *slot, int64_t *due_out);
    /* A read is passed on now. NULL: nothing. */
    void (*begins)(void *owner, read_slot *slot);
    /* An answer has come, or the read was cancelled while it was held back (then `started` is 0 if
     * it never left). 1: pass it on again at *due_out. */
    int (*answered)(void *owner, read_slot *slot, int64_t *due_out);
} read_queue_hooks;

typedef struct read_queue {
    const shardy_context *context;
    shardy_store *inner; /* borrowed */
    const read_queue_hooks *hooks;
    void *owner;
    int driven; /* 1: by the threads that ask */
    timer_task task;
    mutex lock; /* rank: above the timer's; guards what is held back */
    condition changed;
    read_slot *waiting;
} read_queue;

/* Cannot fail. */
void shardy__read_queue_init(read_queue *q, const shardy_context *context, shardy_store *inner,
    const read_queue_hooks *hooks, void *owner);
/* All reads must have been answered. */
void shardy__read_queue_free(read_queue *q);
/* The slot `read` of a store. */
void shardy__read_queue_start(
    read_queue *q, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user);

#endif
