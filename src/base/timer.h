/* timer.h: work that comes again and again while something lasts, on one thread of a context.
 *
 * The thread is started with the first task and ends with the timer. There is none where it cannot
 * be started, and none for a context with a clock of the caller's, where nothing may happen by
 * itself: then tasks run in shardy__timer_poll(), which whoever has a task calls now and then. */
#ifndef SHARDY_BASE_TIMER_H
#define SHARDY_BASE_TIMER_H

#include "error.h"

#include <shardyfusion/context.h>

#include <stdint.h>

typedef struct timer timer;

/* Owned by whoever adds it until it was removed. */
typedef struct timer_task {
    void (*run)(struct timer_task *task); /* on the timer's thread, or in a poll; never twice at
                                           * once; must not add or remove tasks */
    int64_t period_ns;                    /* between the end of a run and the next */
    /* the timer's: */
    struct timer_task *next;
    int64_t due_ns;
    int64_t woken_ns; /* the earliest time asked for while it ran */
    int running;
} timer_task;

/* `context` owns the timer. OK or NOMEM. */
shardy_status shardy__timer_new(
    const shardy_context *context, timer **timer_out, shardy_error *err);
/* All tasks must have been removed. NULL is fine. */
void shardy__timer_free(timer *t);
/* The task runs for the first time after one period. */
void shardy__timer_add(timer *t, timer_task *task);
/* The task does not run any more once this returns; waits for a run to end. A task that was not
 * added is fine. */
void shardy__timer_remove(timer *t, timer_task *task);
/* The task runs at that time, or before. Also from within a run: then it is about the next one. */
void shardy__timer_wake(timer *t, timer_task *task, int64_t due_ns);
/* 1 when tasks run by themselves: the timer has a thread. */
int shardy__timer_has_thread(timer *t);
/* Runs what is due on the calling thread, unless the timer has a thread. */
void shardy__timer_poll(timer *t);

#endif
