#include "pool.h"

#include "alloc.h"
#include "thread.h"

#include <string.h>

struct pool {
    mutex lock; /* rank: leaf; guards everything below */
    condition work;
    condition finished;
    pool_task *first;
    pool_task *last;
    uint32_t queued; /* tasks that nobody has taken */
    uint32_t threads_max;
    uint32_t threads_started;
    uint32_t threads_idle;
    int stopping;
    thread *threads;
};

shardy_status shardy__pool_new(uint32_t threads_max, pool **pool_out, shardy_error *err)
{
    *pool_out = NULL;
    pool *p = shardy__calloc(1, sizeof *p);
    thread *threads = shardy__calloc(threads_max, sizeof *threads);
    if (!p || !threads) {
        shardy__free(threads);
        shardy__free(p);
        return shardy__error_nomem(err, "pool");
    }
    p->threads = threads;
    p->threads_max = threads_max;
    shardy__mutex_init(&p->lock);
    shardy__condition_init(&p->work);
    shardy__condition_init(&p->finished);
    *pool_out = p;
    return SHARDY_OK;
}

void shardy__pool_free(pool *p)
{
    if (!p) {
        return;
    }
    shardy__mutex_lock(&p->lock);
    p->stopping = 1;
    shardy__condition_broadcast(&p->work);
    shardy__mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->threads_started; i++) {
        shardy__thread_join(p->threads[i]);
    }
    shardy__condition_destroy(&p->work);
    shardy__condition_destroy(&p->finished);
    shardy__mutex_destroy(&p->lock);
    shardy__free(p->threads);
    shardy__free(p);
}

static pool_task *take_task(pool *p)
{
    pool_task *task = p->first;
    if (task) {
        p->queued--;
        p->first = task->next;
        if (!p->first) {
            p->last = NULL;
        }
    }
    return task;
}

/* Runs a task without the lock. */
static void run_task(pool *p, pool_task *task)
{
    /* The task may be gone once its group can see that it is finished, so it is not touched after
     * that. */
    pool_group *group = task->group;
    shardy__mutex_unlock(&p->lock);
    task->run(task);
    shardy__mutex_lock(&p->lock);
    task->done = 1;
    group->open--;
    shardy__condition_broadcast(&p->finished);
}

static void *work_loop(void *arg)
{
    pool *p = arg;
    shardy__thread_name("shardy-pool");
    shardy__mutex_lock(&p->lock);
    for (;;) {
        pool_task *task = take_task(p);
        if (task) {
            run_task(p, task);
        } else if (p->stopping) {
            break;
        } else {
            p->threads_idle++;
            shardy__condition_wait(&p->work, &p->lock);
            p->threads_idle--;
        }
    }
    shardy__mutex_unlock(&p->lock);
    return NULL;
}

void shardy__pool_group_init(pool_group *group, pool *p)
{
    group->pool = p;
    group->open = 0;
}

void shardy__pool_submit(pool_group *group, pool_task *task)
{
    pool *p = group->pool;
    task->group = group;
    task->next = NULL;
    task->done = 0;
    shardy__mutex_lock(&p->lock);
    group->open++;
    if (p->last) {
        p->last->next = task;
    } else {
        p->first = task;
    }
    p->last = task;
    p->queued++;
    /* An idle thread takes one of them; it counts as idle until it has woken up. */
    if (p->queued > p->threads_idle && p->threads_started < p->threads_max) {
        /* Failing to start one is no failure of the task: see the top of pool.h. */
        if (shardy__thread_start(
                &p->threads[p->threads_started], work_loop, p, "shardy-pool", NULL) >= 0) {
            p->threads_started++;
        }
    }
    shardy__condition_signal(&p->work);
    shardy__mutex_unlock(&p->lock);
}

void shardy__pool_wait(pool_group *group, uint32_t open_max)
{
    pool *p = group->pool;
    shardy__mutex_lock(&p->lock);
    while (group->open > open_max) {
        pool_task *task = take_task(p);
        if (task) {
            run_task(p, task);
        } else {
            shardy__condition_wait(&p->finished, &p->lock);
        }
    }
    shardy__mutex_unlock(&p->lock);
}

void shardy__pool_wait_task(pool_group *group, const pool_task *task)
{
    pool *p = group->pool;
    shardy__mutex_lock(&p->lock);
    while (!task->done) {
        pool_task *other = take_task(p);
        if (other) {
            run_task(p, other);
        } else {
            shardy__condition_wait(&p->finished, &p->lock);
        }
    }
    shardy__mutex_unlock(&p->lock);
}

void shardy__pool_run(
    pool *p, pool_task *first, size_t count, size_t stride, void (*run)(pool_task *task))
{
    char *at = (char *)first;
    if (!p) {
        for (size_t i = 0; i < count; i++) {
            run((pool_task *)(void *)(at + i * stride));
        }
        return;
    }
    pool_group group;
    shardy__pool_group_init(&group, p);
    for (size_t i = 0; i < count; i++) {
        pool_task *task = (pool_task *)(void *)(at + i * stride);
        task->run = run;
        shardy__pool_submit(&group, task);
    }
    shardy__pool_wait(&group, 0);
}

uint32_t shardy__pool_open(pool_group *group)
{
    shardy__mutex_lock(&group->pool->lock);
    uint32_t open = group->open;
    shardy__mutex_unlock(&group->pool->lock);
    return open;
}
