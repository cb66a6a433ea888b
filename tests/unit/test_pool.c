/* The pool has a thread for each task that is there at once, up to its bound; who waits for tasks
 * runs those and no others. */
#include "base/pool.h"
#include "support/support.h"

#include <pthread.h>
#include <semaphore.h>

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

/* --- waiting ---------------------------------------------------------------------------------- */

/* A task that writes its number down. */
typedef struct noted {
    pool_task task; /* first member */
    struct notes *notes;
    uint32_t number;
} noted;

typedef struct notes {
    uint32_t count;
    uint32_t numbers[16]; /* of the tasks, in the order in which they ran */
    sem_t ran;
} notes;

static void note(pool_task *task)
{
    const noted *n = (const noted *)(const void *)task;
    n->notes->numbers[n->notes->count++] = n->number;
    sem_post(&n->notes->ran);
}

static void submit_noted(pool_group *group, noted *task, notes *ran, uint32_t number)
{
    task->task.run = note;
    task->notes = ran;
    task->number = number;
    shardy__pool_submit(group, &task->task);
}

static void init_notes(notes *n)
{
    n->count = 0;
    assert_int_equal(sem_init(&n->ran, 0, 0), 0);
}

static void test_pool__who_waits_for_a_group_runs_no_task_of_another_one(void **state)
{
    (void)state;
    pool *p;
    pool_group groups[2];
    noted tasks[6];
    notes ran;
    init_notes(&ran);
    assert_ok(shardy__pool_new(0, &p, &err));
    shardy__pool_group_init(&groups[0], p);
    shardy__pool_group_init(&groups[1], p);
    for (uint32_t i = 0; i < 6; i++) {
        submit_noted(&groups[i % 2], &tasks[i], &ran, i);
    }
    shardy__pool_wait_task(&groups[1], &tasks[3].task);
    assert_int_equal(ran.count, 2);
    shardy__pool_wait(&groups[1], 0);
    assert_int_equal(ran.count, 3);
    assert_int_equal(shardy__pool_open(&groups[0]), 3);
    shardy__pool_wait(&groups[0], 1);
    assert_int_equal(ran.count, 5);
    shardy__pool_wait(&groups[0], 0);
    static const uint32_t expected[6] = {1, 3, 5, 0, 2, 4};
    assert_int_equal(ran.count, 6);
    assert_memory_equal(ran.numbers, expected, sizeof expected);
    shardy__pool_free(p);
    sem_destroy(&ran.ran);
}

/* A task that submits a group of its own and waits for it. */
typedef struct outer {
    pool_task task; /* first member */
    pool *pool;
    uint32_t depth;
    uint32_t done; /* tasks in it */
} outer;

static void nest(pool_task *task)
{
    outer *o = (outer *)(void *)task;
    outer inner[3];
    for (uint32_t i = 0; o->depth > 0 && i < 3; i++) {
        inner[i].pool = o->pool;
        inner[i].depth = o->depth - 1;
        inner[i].done = 0;
    }
    if (o->depth > 0) {
        shardy__pool_run(o->pool, &inner[0].task, 3, sizeof *inner, nest);
    }
    for (uint32_t i = 0; o->depth > 0 && i < 3; i++) {
        o->done += inner[i].done;
    }
    o->done++;
}

static void test_pool__tasks_that_wait_for_tasks_end_with_any_number_of_threads(void **state)
{
    (void)state;
    for (uint32_t threads = 0; threads <= TASKS; threads++) {
        pool *p;
        assert_ok(shardy__pool_new(threads, &p, &err));
        outer all = {.pool = p, .depth = 5};
        shardy__pool_run(p, &all.task, 1, sizeof all, nest);
        assert_int_equal(all.done, 1 + 3 + 9 + 27 + 81 + 243);
        shardy__pool_free(p);
    }
}

/* A task that has its thread until it is let go. */
typedef struct holder {
    pool_task task; /* first member */
    sem_t begun;
    sem_t go;
} holder;

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) != 0) {
    }
}

static void hold(pool_task *task)
{
    holder *h = (holder *)(void *)task;
    sem_post(&h->begun);
    wait_for(&h->go);
}

static void submit_holder(pool_group *group, holder *h)
{
    h->task.run = hold;
    sem_init(&h->begun, 0, 0);
    sem_init(&h->go, 0, 0);
    shardy__pool_submit(group, &h->task);
}

static void end_holder(holder *h)
{
    sem_destroy(&h->begun);
    sem_destroy(&h->go);
}

static void test_pool__a_group_ends_while_others_hold_every_thread(void **state)
{
    (void)state;
    pool *p;
    pool_group held;
    pool_group own;
    holder holders[2];
    noted tasks[8];
    notes ran;
    init_notes(&ran);
    assert_ok(shardy__pool_new(1, &p, &err));
    shardy__pool_group_init(&held, p);
    shardy__pool_group_init(&own, p);
    submit_holder(&held, &holders[0]);
    wait_for(&holders[0].begun);
    submit_holder(&held, &holders[1]); /* queued before all of ours */
    for (uint32_t i = 0; i < 8; i++) {
        submit_noted(&own, &tasks[i], &ran, i);
    }
    shardy__pool_wait(&own, 0); /* for ever, if it runs what others have queued */
    assert_int_equal(ran.count, 8);
    sem_post(&holders[0].go);
    sem_post(&holders[1].go);
    shardy__pool_wait(&held, 0);
    shardy__pool_free(p);
    end_holder(&holders[0]);
    end_holder(&holders[1]);
    sem_destroy(&ran.ran);
}

static void test_pool__groups_take_turns(void **state)
{
    (void)state;
    pool *p;
    pool_group groups[3];
    holder holding;
    noted tasks[5];
    notes ran;
    init_notes(&ran);
    assert_ok(shardy__pool_new(1, &p, &err));
    for (uint32_t i = 0; i < 3; i++) {
        shardy__pool_group_init(&groups[i], p);
    }
    submit_holder(&groups[2], &holding);
    wait_for(&holding.begun);
    for (uint32_t i = 0; i < 5; i++) {
        submit_noted(&groups[i < 3 ? 0 : 1], &tasks[i], &ran, i);
    }
    sem_post(&holding.go);
    for (uint32_t i = 0; i < 5; i++) {
        wait_for(&ran.ran);
    }
    for (uint32_t i = 0; i < 3; i++) {
        shardy__pool_wait(&groups[i], 0);
    }
    static const uint32_t expected[5] = {0, 3, 1, 4, 2};
    assert_memory_equal(ran.numbers, expected, sizeof expected);
    shardy__pool_free(p);
    end_holder(&holding);
    sem_destroy(&ran.ran);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool__each_task_of_a_crowd_has_a_thread),
        cmocka_unit_test(test_pool__who_waits_for_a_group_runs_no_task_of_another_one),
        cmocka_unit_test(test_pool__tasks_that_wait_for_tasks_end_with_any_number_of_threads),
        cmocka_unit_test(test_pool__a_group_ends_while_others_hold_every_thread),
        cmocka_unit_test(test_pool__groups_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
