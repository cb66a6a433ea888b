/* The timer of a context: its thread, and polls where there is none. */
#include "base/context.h"
#include "base/thread.h"
#include "support/hand_clock.h"
#include "support/support.h"

#include <shardyfusion/sys/testing.h>

#include <string.h>

#define SECOND_NS 1000000000ll

/* A task that counts its runs, and whoever waits for a number of them. */
typedef struct counted {
    timer_task task; /* first member */
    mutex lock;
    condition changed;
    uint64_t runs;
} counted;

static void count_run(timer_task *task)
{
    counted *c = (counted *)(void *)task;
    shardy__mutex_lock(&c->lock);
    c->runs++;
    shardy__condition_broadcast(&c->changed);
    shardy__mutex_unlock(&c->lock);
}

static void counted_init(counted *c, int64_t period_ns)
{
    memset(c, 0, sizeof *c);
    c->task.run = count_run;
    c->task.period_ns = period_ns;
    shardy__mutex_init(&c->lock);
    shardy__condition_init(&c->changed);
}

static void counted_free(counted *c)
{
    shardy__condition_destroy(&c->changed);
    shardy__mutex_destroy(&c->lock);
}

static void wait_for(counted *c, uint64_t runs)
{
    shardy__mutex_lock(&c->lock);
    while (c->runs < runs) {
        shardy__condition_wait(&c->changed, &c->lock);
    }
    shardy__mutex_unlock(&c->lock);
}

static void test_timer__runs_what_is_due_on_its_own_thread(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    counted soon;
    counted never;
    assert_ok(shardy_context_new(NULL, &context, &err));
    counted_init(&soon, 1);
    counted_init(&never, 3600 * SECOND_NS);
    shardy__timer_add(context->timer, &never.task);
    shardy__timer_add(context->timer, &soon.task);
    wait_for(&soon, 3);
    shardy__timer_remove(context->timer, &soon.task);
    uint64_t runs = soon.runs; /* nobody writes it any more */
    shardy__timer_poll(context->timer);
    shardy__timer_remove(context->timer, &soon.task);
    assert_int_equal(soon.runs, runs);
    /* again */
    shardy__timer_add(context->timer, &soon.task);
    wait_for(&soon, runs + 2);
    shardy__timer_remove(context->timer, &soon.task);
    shardy__timer_remove(context->timer, &never.task);
    assert_int_equal(never.runs, 0);
    counted_free(&soon);
    counted_free(&never);
    shardy_context_free(context);
}

static void test_timer__has_no_thread_under_a_clock_of_the_caller(void **state)
{
    (void)state;
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    counted a;
    counted b;
    counted_init(&a, 10 * SECOND_NS);
    counted_init(&b, 15 * SECOND_NS);
    uint64_t threads = shardy_testing_live_threads();
    shardy__timer_add(context->timer, &a.task);
    shardy__timer_add(context->timer, &b.task);
    assert_int_equal(shardy_testing_live_threads(), threads);
    shardy__timer_poll(context->timer);
    assert_int_equal(a.runs + b.runs, 0);
    clock.monotonic_ns += 10 * SECOND_NS - 1;
    shardy__timer_poll(context->timer);
    assert_int_equal(a.runs + b.runs, 0);
    clock.monotonic_ns += 1;
    shardy__timer_poll(context->timer);
    shardy__timer_poll(context->timer);
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 0);
    /* after a long time each is due once, not once for each period */
    clock.monotonic_ns += 1000 * SECOND_NS;
    for (int i = 0; i < 5; i++) {
        shardy__timer_poll(context->timer);
    }
    assert_int_equal(a.runs, 2);
    assert_int_equal(b.runs, 1);
    shardy__timer_remove(context->timer, &a.task);
    shardy__timer_remove(context->timer, &b.task);
    counted_free(&a);
    counted_free(&b);
    shardy_context_free(context);
}

static void test_timer__without_a_thread_polls_do_the_work(void **state)
{
    (void)state;
    if (!shardy_testing_fault_points()) {
        print_message("skipped: this build has no fault points\n");
        skip();
    }
    shardy_error err = {0};
    shardy_context *context;
    counted c;
    assert_ok(shardy_context_new(NULL, &context, &err));
    counted_init(&c, 0);
    shardy_testing_fault_set(SHARDY_FAULT_THREAD, 1, 1);
    shardy__timer_add(context->timer, &c.task);
    shardy_testing_fault_set(SHARDY_FAULT_THREAD, 0, 0);
    shardy__timer_poll(context->timer);
    shardy__timer_poll(context->timer);
    assert_int_equal(c.runs, 2);
    shardy__timer_remove(context->timer, &c.task);
    counted_free(&c);
    shardy_context_free(context);
}

/* Asks for its next run while it runs. */
typedef struct waking {
    counted counted; /* first member */
    timer *timer;
} waking;

static void run_and_wake(timer_task *task)
{
    waking *w = (waking *)(void *)task;
    count_run(task);
    shardy__timer_wake(w->timer, task, 0);
}

static void test_timer__a_task_is_woken_before_its_time(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    waking w;
    assert_ok(shardy_context_new(NULL, &context, &err));
    counted_init(&w.counted, 3600 * SECOND_NS);
    w.timer = context->timer;
    w.counted.task.run = run_and_wake;
    shardy__timer_add(context->timer, &w.counted.task);
    assert_true(shardy__timer_has_thread(context->timer));
    shardy__timer_wake(context->timer, &w.counted.task, 0);
    wait_for(&w.counted, 3);
    shardy__timer_remove(context->timer, &w.counted.task);
    counted_free(&w.counted);
    shardy_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer__runs_what_is_due_on_its_own_thread),
        cmocka_unit_test(test_timer__a_task_is_woken_before_its_time),
        cmocka_unit_test(test_timer__has_no_thread_under_a_clock_of_the_caller),
        cmocka_unit_test(test_timer__without_a_thread_polls_do_the_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
