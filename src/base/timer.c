#include "timer.h"

#include "alloc.h"
#include "context.h"
#include "thread.h"

/* Also when nothing is due for long: a bound for what a wait may be wrong by. */
#define WAIT_NS_MAX 3600000000000

struct timer {
    const shardy_context *context;
    int threads_allowed;
    mutex lock; /* rank: leaf; guards the rest and the timer's part of tasks */
    condition changed;
    timer_task *tasks;
    int stopping;
    int has_thread;
    thread thread;
};

shardy_status shardy__timer_new(const shardy_context *context, timer **timer_out, shardy_error *err)
{
    *timer_out = shardy__calloc(1, sizeof **timer_out);
    if (!*timer_out) {
        return shardy__error_nomem(err, "timer");
    }
    (*timer_out)->context = context;
    (*timer_out)->threads_allowed = !context->options.clock.monotonic_ns;
    shardy__mutex_init(&(*timer_out)->lock);
    shardy__condition_init(&(*timer_out)->changed);
    return SHARDY_OK;
}

/* A task that is due; *wait_out gets the time until there is one. Called with the lock. */
static timer_task *find_due(timer *t, int64_t *wait_out)
{
    timer_task *due = NULL;
    int64_t now = shardy__monotonic_ns(t->context);
    *wait_out = WAIT_NS_MAX;
    for (timer_task *task = t->tasks; task && !due; task = task->next) {
        if (task->running) {
            continue;
        }
        if (task->due_ns <= now) {
            due = task;
        } else if (task->due_ns - now < *wait_out) {
            *wait_out = task->due_ns - now;
        }
    }
    return due;
}

/* Runs a task without the lock. */
static void run_task(timer *t, timer_task *task)
{
    task->running = 1;
    shardy__mutex_unlock(&t->lock);
    task->run(task);
    shardy__mutex_lock(&t->lock);
    task->running = 0;
    task->due_ns = shardy__monotonic_ns(t->context) + task->period_ns;
    shardy__condition_broadcast(&t->changed);
}

static void *timer_loop(void *arg)
{
    timer *t = arg;
    int64_t wait;
    shardy__thread_name("shardy-timer");
    shardy__mutex_lock(&t->lock);
    while (!t->stopping) {
        timer_task *task = find_due(t, &wait);
        if (task) {
            run_task(t, task);
        } else if (t->tasks) {
            shardy__condition_wait_ns(&t->changed, &t->lock, wait);
        } else {
            shardy__condition_wait(&t->changed, &t->lock);
        }
    }
    shardy__mutex_unlock(&t->lock);
    return NULL;
}

void shardy__timer_free(timer *t)
{
    if (!t) {
        return;
    }
    shardy__mutex_lock(&t->lock);
    t->stopping = 1;
    shardy__condition_broadcast(&t->changed);
    shardy__mutex_unlock(&t->lock);
    if (t->has_thread) {
        shardy__thread_join(t->thread);
    }
    shardy__condition_destroy(&t->changed);
    shardy__mutex_destroy(&t->lock);
    shardy__free(t);
}

void shardy__timer_add(timer *t, timer_task *task)
{
    shardy__mutex_lock(&t->lock);
    task->running = 0;
    task->due_ns = shardy__monotonic_ns(t->context) + task->period_ns;
    task->next = t->tasks;
    t->tasks = task;
    if (t->threads_allowed && !t->has_thread) {
        /* Failing to start it is no failure: see the top of timer.h. */
        t->has_thread = shardy__thread_start(&t->thread, timer_loop, t, "shardy-timer", NULL) >= 0;
    }
    shardy__condition_broadcast(&t->changed);
    shardy__mutex_unlock(&t->lock);
}

void shardy__timer_remove(timer *t, timer_task *task)
{
    shardy__mutex_lock(&t->lock);
    timer_task **at = &t->tasks;
    while (*at && *at != task) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = task->next;
        while (task->running) {
            shardy__condition_wait(&t->changed, &t->lock);
        }
    }
    shardy__mutex_unlock(&t->lock);
}

void shardy__timer_poll(timer *t)
{
    int64_t wait;
    shardy__mutex_lock(&t->lock);
    if (!t->has_thread) {
        timer_task *task = find_due(t, &wait);
        if (task) {
            run_task(t, task);
        }
    }
    shardy__mutex_unlock(&t->lock);
}
