/* The pool has a thread for each task that is there at once, up to its bound. */
#include "base/pool.h"
#include "support/support.h"

#include <pthread.h>

static shardy_error err;

#define TASKS 4u

typedef struct meeting {
    pool_task task; /* first member */
    pthread_barrier_t *barrier;
} meeting;

static void meet(pool_task *task)
{
    pthread_barrier_wait(((meeting *)(void *)task)->barrier);
}

static void run_together(pool *p, uint32_t count)
{
    meeting tasks[TASKS];
    pool_group group;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, count + 1);
    shardy__pool_group_init(&group, p);
    for (uint32_t i = 0; i < count; i++) {
        tasks[i].task.run = meet;
        tasks[i].barrier = &barrier;
        shardy__pool_submit(&group, &tasks[i].task);
    }
    pthread_barrier_wait(&barrier); /* for ever, if one of them has no thread */
    shardy__pool_wait(&group, 0);
    pthread_barrier_destroy(&barrier);
}

/* Also when it was used before by fewer, so that it has idle threads which are not enough. */
static void test_pool__each_task_of_a_crowd_has_a_thread(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 50; round++) {
        pool *p;
        assert_ok(shardy__pool_new(TASKS, &p, &err));
        for (uint32_t count = 1; count <= TASKS; count++) {
            run_together(p, count);
        }
        run_together(p, TASKS);
        shardy__pool_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool__each_task_of_a_crowd_has_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
