#include "pool.h"

#include "alloc.h"
#include "thread.h"

#include <string.h>

struct pool {
    mutex lock; /* rank: leaf; guards everything below */
    condition work;
    condition finished;
    pool_group *turn; /* the next whose task a thread takes, in a ring of all that have some */
    uint32_t queued;  /* tasks that nobody has taken */
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

/* A group joins the ring when it gets a task to be taken, behind all others. */
static void join_ring(pool *p, pool_group *group)
{
    pool_group *turn = p->turn ? p->turn : group;
    group->after = turn;
    group->before = p->turn ? turn->before : group;
    group->before->after = group;
    turn->before = group;
    p->turn = turn;
}

/* The first task of a group that has one; it is another group's turn then. */
static pool_task *take_task(pool *p, pool_group *group)
{
    pool_task *task = group->first;
    p->queued--;
    group->first = task->next;
    if (p->turn == group) {
        p->turn = group->after;
    }
    if (!group->first) {
        group->before->after = group->after;
        group->after->before = group->before;
        p->turn = p->turn == group ? NULL : p->turn;
    }
    return task;
}

/* Runs the first task of a group that has one, without the lock. */
static void run_task(pool *p, pool_group *group)
{
    /* The task may be gone once its group can see that it is finished, so it is not touched after
     * that. */
    pool_task *task = take_task(p, group);
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
        if (p->turn) {
            run_task(p, p->turn);
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
    memset(group, 0, sizeof *group);
    group->pool = p;
}

void shardy__pool_submit(pool_group *group, pool_task *task)
{
    pool *p = group->pool;
    task->group = group;
    task->next = NULL;
    task->done = 0;
    shardy__mutex_lock(&p->lock);
    group->open++;
    if (group->first) {
        group->last->next = task;
    } else {
        group->first = task;
        join_ring(p, group);
    }
    group->last = task;
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

/* A step towards the end of a group: runs a task of it that nobody has taken, or waits for those
 * that others run. Never a task of another group, which may take as long as it likes. */
static void run_or_wait(pool *p, pool_group *group)
{
    if (group->first) {
        run_task(p, group);
    } else {
        shardy__condition_wait(&p->finished, &p->lock);
    }
}

void shardy__pool_wait(pool_group *group, uint32_t open_max)
{
    pool *p = group->pool;
    shardy__mutex_lock(&p->lock);
    while (group->open > open_max) {
        run_or_wait(p, group);
    }
    shardy__mutex_unlock(&p->lock);
}

void shardy__pool_wait_task(pool_group *group, const pool_task *task)
{
    pool *p = group->pool;
    shardy__mutex_lock(&p->lock);
    while (!task->done) {
        run_or_wait(p, group);
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
