/* A process that publishes, rolls back, pins or cleans up in a bucket dies at each of its requests:
 * before the server got it, after the server did what was asked and before the answer came, or
 * while the request is on its way, so that it takes effect when others have gone on. (A death after
 * an answer is one before the next request.) The next reader sees the old or the new snapshot,
 * whole; what was begun can be run again.
 *
 * The server holds the request until the process is dead; nothing here depends on time. The quick
 * set has some requests of each operation, SHARDY_TORTURE=1 all. */
#include "support/bucket.h"
#include "support/crash.h"
#include "support/support.h"
#include "support/sweep.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANG_S 120u
/* Requests of an operation in the quick set. */
#define QUICK 4u

typedef enum death {
    BEFORE = 0, /* the request never comes */
    AFTER,      /* it was done, and the answer did not come */
    LATE,       /* it is done after the others have gone on */
    CLEANED,    /* the same, and a cleanup took the dead one for dead meanwhile */
    DEATHS
} death;

static const char *const death_names[DEATHS] = {
    "before", "after", "with a late", "cleaned up after, with a late"};

/* --- the operations --------------------------------------------------------------------------- */

/* A plan with its winners, as a scheduler keeps them. */
static shardy_buf plan_json;
static shardy_buf winners_json;

static void forget_plan(void)
{
    shardy_buf_release(&plan_json);
    shardy_buf_release(&winners_json);
}

static void prepare_publish(void)
{
    shardy_error err = {0};
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_buf attempts[DATASET_SHARDS] = {{0}};
    shardy_bytes results[DATASET_SHARDS];
    forget_plan();
    dataset_plan_options(&options, CRASH_NEW);
    assert_ok(shardy_plan_new(NULL, BUCKET_URL, &options, &plan, &err));
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, CRASH_NEW, i);
        assert_ok(shardy_attempt_build(plan, i, 0, dataset_next_row, &feed, &attempts[i], &err));
        results[i] = (shardy_bytes){attempts[i].data, attempts[i].len};
    }
    assert_ok(shardy_winners_select(plan, results, DATASET_SHARDS, &winners_json, &err));
    assert_ok(shardy_plan_to_json(plan, &plan_json, &err));
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&attempts[i]);
    }
    shardy_plan_free(plan);
}

static shardy_status run_publish(const crash_call *call, shardy_error *err)
{
    shardy_plan *plan;
    shardy_bytes json = {plan_json.data, plan_json.len};
    shardy_status st = shardy_plan_from_json(call->context, BUCKET_URL, json, NULL, &plan, err);
    if (st >= 0) {
        st = shardy_plan_publish(
            plan, (shardy_bytes){winners_json.data, winners_json.len}, NULL, err);
        shardy_plan_free(plan);
    }
    return st;
}

static const crash_operation build_operation = {
    "build", CRASH_NOW, CRASH_NEW, 1, 1, NULL, crash_build_new, {SHARDY_EXISTS}};
/* What was published, and what a cleanup has condemned, is not published again. */
static const crash_operation publish_operation = {"publish", CRASH_NOW, CRASH_NEW, 1, 0,
    prepare_publish, run_publish, {SHARDY_MISUSE, SHARDY_FENCED}};
static const crash_operation rollback_operation = {
    "rollback", CRASH_NOW, CRASH_OLD, 0, 0, NULL, crash_roll_back, {SHARDY_OK}};
static const crash_operation cleanup_operation = {
    "cleanup", CRASH_NOW, CRASH_NOW, 0, 0, NULL, crash_clean, {SHARDY_OK}};
static void prepare_settle(void);
static const crash_operation settle_operation = {
    "settle", CRASH_NOW, CRASH_NOW, 0, 0, prepare_settle, crash_clean_dead, {SHARDY_OK}};
static const crash_operation pin_operation = {
    "pin", CRASH_NOW, CRASH_NOW, 0, 0, NULL, crash_pin, {SHARDY_OK}};

/* --- a trial ---------------------------------------------------------------------------------- */

typedef struct trial {
    const crash_operation *op;
    char name[120];
} trial;

/* One at a time, so that the requests come in one order. */
static shardy_status with_store(crash_fn run, int later, shardy_error *err)
{
    static const bucket_store_options options = {30000, 3, 1};
    shardy_store *inner;
    crash_call call = {crash_context(later), {BUCKET_URL, NULL, NULL}, 0, 0};
    shardy_store *store = bucket_open(call.context, &options, &inner);
    call.at.store = store;
    shardy_status st = run(&call, err);
    shardy_store_close(store);
    shardy_store_close(inner);
    shardy_context_free(call.context);
    return st;
}

static void prepare_settle(void)
{
    shardy_error err = {0};
    assert_ok(with_store(crash_die_publishing, 0, &err));
}

static shardy_status run_operation_of(const void *what, shardy_error *err)
{
    const crash_operation *op = what;
    return with_store(op->run, 0, err);
}

static unsigned count_requests(const crash_operation *op)
{
    bucket_restore(BUCKET_IS_NOW);
    if (op->prepare) {
        op->prepare();
    }
    server_faults(bucket_server(), "{\"kind\": \"delay\", \"ms\": 0}");
    assert_int_equal(crash_end(crash_start(run_operation_of, op)), 0);
    return (unsigned)server_faults_used(bucket_server());
}

static void check_whole(const trial *t, const char *when, char stamp[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    if (!dataset_check(BUCKET_URL, DATASET_ROWS, stamp, &problem)) {
        fail_msg("%s: %s: %s", t->name, when, problem.text);
    }
}

static void must(const trial *t, shardy_status st, const shardy_error *err, const char *what)
{
    if (st < 0) {
        fail_msg("%s: %s: %s: %s", t->name, what, shardy_status_name(st), err->message);
    }
}

/* A cleanup days later. The server is to take its signatures. */
static void clean_up_days_later(const trial *t)
{
    shardy_error err = {0};
    server_settings(bucket_server(), "{\"auth\": \"off\"}");
    must(t, with_store(crash_clean_dead, 1, &err), &err, "a cleanup");
    server_settings(bucket_server(), "{\"auth\": \"strict\"}");
}

/* The operation again, and then another build. */
static void run_again(const trial *t, int is_over)
{
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    shardy_status st = with_store(t->op->run, 0, &err);
    if (!crash_fits_again(t->op, is_over, st)) {
        must(t, st, &err, "run again");
    }
    check_whole(t, "run again", stamp);
    if (st >= 0) {
        assert_string_equal(stamp, t->op->after);
    }
    must(t, with_store(crash_build_later, 0, &err), &err, "the next build");
    check_whole(t, "after the next build", stamp);
    assert_string_equal(stamp, CRASH_LATER);
}

static void run_trial(const crash_operation *op, unsigned nth, death how)
{
    trial t = {op, ""};
    char rule[128];
    char stamp[DATASET_STAMP_MAX];
    snprintf(t.name, sizeof t.name, "%s killed %s request %u", op->name, death_names[how], nth);
    support_watch(t.name, HANG_S);
    bucket_restore(BUCKET_IS_NOW);
    if (op->prepare) {
        op->prepare();
    }
    snprintf(rule, sizeof rule, "{\"kind\": \"hold\", \"from\": %u, \"to\": %u%s}", nth, nth,
        how == AFTER ? ", \"applied\": true" : "");
    server_faults(bucket_server(), rule);
    pid_t child = crash_start(run_operation_of, op);
    server_wait_held(bucket_server(), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(crash_end(child), -SIGKILL);
    assert_int_equal(server_faults_used(bucket_server()), 1);
    server_faults(bucket_server(), NULL);
    check_whole(&t, "afterwards", stamp);
    if (strcmp(stamp, op->after) != 0 && strcmp(stamp, CRASH_NOW) != 0) {
        fail_msg("%s: the snapshot is \"%s\"", t.name, stamp);
    }
    if (how == CLEANED) {
        clean_up_days_later(&t);
        check_whole(&t, "after a cleanup", stamp);
    }
    /* a run id that was claimed stays taken; whatever else was begun can be finished */
    run_again(&t, how == CLEANED || op->claims || strcmp(stamp, op->after) == 0);
    if (how == LATE || how == CLEANED) {
        server_release(bucket_server(), 0);
        check_whole(&t, "after the late request", stamp);
        assert_string_equal(stamp, CRASH_LATER);
        shardy_error err = {0};
        must(&t, with_store(crash_clean, 0, &err), &err, "the last cleanup");
        check_whole(&t, "after the last cleanup", stamp);
    }
    support_watch(NULL, 0);
}

static void run_operation(const crash_operation *op)
{
    unsigned n = count_requests(op);
    unsigned tried = 0;
    unsigned step = sweep_torture() || n <= QUICK ? 1 : n / QUICK;
    assert_true(n > 1);
    for (unsigned nth = 1; nth <= n; nth++) {
        if (nth != n && nth % step != 0) {
            continue;
        }
        for (unsigned how = 0; how < DEATHS; how++) {
            if (how == CLEANED && !op->writes_run) {
                continue;
            }
            /* the quick set has each death at each other request */
            if (sweep_torture() || nth == n || (nth / step + how) % 2 == 0) {
                run_trial(op, nth, (death)how);
                tried++;
            }
        }
    }
    forget_plan();
    print_message("crash: %s: %u requests, killed %u times\n", op->name, n, tried);
}

static void test_crash__a_build_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    run_operation(&build_operation);
}

static void test_crash__a_publish_is_finished_by_whoever_runs_it_again(void **state)
{
    (void)state;
    run_operation(&publish_operation);
}

static void test_crash__a_rollback_is_done_or_not(void **state)
{
    (void)state;
    run_operation(&rollback_operation);
}

static void test_crash__a_cleanup_leaves_no_manifest_without_its_shards(void **state)
{
    (void)state;
    run_operation(&cleanup_operation);
}

static void test_crash__a_run_whose_publisher_died_is_settled_by_the_next(void **state)
{
    (void)state;
    run_operation(&settle_operation);
}

static void test_crash__a_pin_is_there_or_not(void **state)
{
    (void)state;
    run_operation(&pin_operation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash__a_build_is_published_whole_or_not_at_all),
        cmocka_unit_test(test_crash__a_publish_is_finished_by_whoever_runs_it_again),
        cmocka_unit_test(test_crash__a_rollback_is_done_or_not),
        cmocka_unit_test(test_crash__a_cleanup_leaves_no_manifest_without_its_shards),
        cmocka_unit_test(test_crash__a_run_whose_publisher_died_is_settled_by_the_next),
        cmocka_unit_test(test_crash__a_pin_is_there_or_not),
    };
    return cmocka_run_group_tests(tests, bucket_setup, bucket_teardown);
}
