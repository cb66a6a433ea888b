/* context.h: the inside of a context. Everything a call needs from its surroundings comes from
 * here. */
#ifndef SHARDY_BASE_CONTEXT_H
#define SHARDY_BASE_CONTEXT_H

#include "clock.h"
#include "error.h"
#include "options.h"
#include "pool.h"
#include "process.h"
#include "timer.h"

#include <shardyfusion/context.h>

#include <pthread.h>
#include <stdatomic.h>

/* Threads for work that waits for a store most of its time, each of it with several requests. */
#define CONTEXT_WAITERS 64u

/* Something of a higher layer that lasts as long as the context: `end` frees it. */
typedef struct context_part {
    void (*end)(struct context_part *part);
} context_part;

struct shardy_context {
    _Atomic uint32_t refs;
    uint32_t threads; /* resolved: at least 1 */
    shardy_context_options options;
    _Atomic uint64_t rand_state;
    uint64_t process; /* generation in which it was made */
    pool *pool;
    pool *waiters; /* CONTEXT_WAITERS threads, whatever `threads` is */
    timer *timer;
    pthread_mutex_t part_lock; /* rank: above all others, held while the part is made */
    context_part *transfers;
    timer *read_timer; /* passes on reads that stores hold back: its tasks wait for nothing */
    _Atomic uint64_t metrics[SHARDY_METRIC_COUNT_];
};

/* `context` with one more reference, or a new private one when it is NULL. Statuses: OK, NOMEM,
 * EXHAUSTED; FORKED for one of another process. */
shardy_status shardy__context_hold(
    shardy_context *context, shardy_context **context_out, shardy_error *err);
void shardy__context_drop(shardy_context *context);

/* The transfer engine of the context, made by `make` when it is first asked for. Borrowed; it ends
 * with the context, before its timer and pool do. Any thread. */
typedef shardy_status (*context_make_fn)(
    const shardy_context *context, context_part **part_out, shardy_error *err);
shardy_status shardy__context_transfers(
    shardy_context *context, context_make_fn make, context_part **part_out, shardy_error *err);

static inline void shardy__count(const shardy_context *context, shardy_metric metric, uint64_t n)
{
    atomic_fetch_add_explicit(
        &((shardy_context *)(uintptr_t)context)->metrics[metric], n, memory_order_relaxed);
}

/* Requests between these two, on any threads: the number of the step that one begins, and its end,
 * before which nothing can have been sent that depends on its reply. */
static inline uint64_t shardy__round_trip_begin(const shardy_context *context)
{
    return 1 + atomic_load(&context->metrics[SHARDY_METRIC_ROUND_TRIPS]);
}

static inline void shardy__round_trip_end(const shardy_context *context, uint64_t step)
{
    _Atomic uint64_t *most =
        &((shardy_context *)(uintptr_t)context)->metrics[SHARDY_METRIC_ROUND_TRIPS];
    uint64_t seen = atomic_load(most);
    while (seen < step && !atomic_compare_exchange_weak(most, &seen, step)) {
        /* another request has ended meanwhile */
    }
}

/* One line to the log sink; formatted only when the level is wanted. */
void shardy__log(const shardy_context *context, int32_t level, const char *component,
    const char *format, ...) SHARDY_PRINTF(4, 5);

/* The next number of the context's generator. Not for secrets. */
uint64_t shardy__rand_u64(const shardy_context *context);
/* 32 lower-case hex digits and a zero. */
void shardy__rand_hex32(const shardy_context *context, char text_out[33]);

#endif
