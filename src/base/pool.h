/* pool.h: worker threads that run tasks.
 *
 * Threads are started when a task first needs one. When none can be started, or all of them are at
 * work for others, tasks run on the thread that waits for them: work is never lost for lack of a
 * thread, it only gets slower. That thread runs no tasks but those that it waits for, so that no
 * call is held up by what another one does; a task may submit a group of its own and wait for it.
 * Groups take turns: threads take one task of each, in the order in which they were submitted. */
#ifndef SHARDY_BASE_POOL_H
#define SHARDY_BASE_POOL_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pool pool;

/* One piece of work. Owned by whoever submits it until `group` was waited for. */
typedef struct pool_task {
    void (*run)(struct pool_task *task);
    struct pool_group *group;
    struct pool_task *next;
    int done;
} pool_task;

/* Tasks that are submitted and waited for together, by one thread. */
typedef struct pool_group {
    pool *pool;
    uint32_t open;    /* tasks submitted and not finished */
    pool_task *first; /* of the tasks that nobody has taken; NULL: there are none */
    pool_task *last;
    struct pool_group *before; /* in the ring of groups that have some */
    struct pool_group *after;
} pool_group;

shardy_status shardy__pool_new(uint32_t threads_max, pool **pool_out, shardy_error *err);
/* All groups must have been waited for. NULL is fine. */
void shardy__pool_free(pool *p);

void shardy__pool_group_init(pool_group *group, pool *p);
/* Queues a task. Never blocks, never fails. */
void shardy__pool_submit(pool_group *group, pool_task *task);
/* Runs queued tasks of the group on the calling thread until at most `open_max` of it are left. */
void shardy__pool_wait(pool_group *group, uint32_t open_max);
/* Runs queued tasks of the group on the calling thread until that one is finished. */
void shardy__pool_wait_task(pool_group *group, const pool_task *task);
/* Runs `count` tasks whose pool_task are `stride` bytes apart, from the first one on, and waits for
 * them: on the threads of the pool and the calling one, or in order on this one when `p` is
 * NULL. */
void shardy__pool_run(
    pool *p, pool_task *first, size_t count, size_t stride, void (*run)(pool_task *task));
/* Tasks of the group that are not finished. */
uint32_t shardy__pool_open(pool_group *group);

#endif
