/* A process that publishes, rolls back, pins or cleans up in a bucket dies at each of its requests:
 * before the server got it, after the server did what was asked and before the answer came, or
 * while the request is on its way, so that it takes effect when others have gone on. (A death after
 * an answer is one before the next request.) The next reader sees the old or the new snapshot,
 * whole; what was begun can be run again.
 *
 * The server holds the request until the process is dead; nothing here depends on time. The quick
 * set has some requests of each operation, SHARDY_TORTURE=1 all. */
#include "support/bucket.h"
#include "support/dataset.h"
#include "support/support.h"
#include "support/sweep.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEW    "run-new"
#define AGAIN  "run-later"
#define HANG_S 120u
/* Requests of an operation in the quick set. */
#define QUICK 4u
/* No lease and no patience lasts so long. */
#define DAYS_US ((int64_t)3 * 86400 * 1000000)

typedef enum death {
    BEFORE = 0, /* the request never comes */
    AFTER,      /* it was done, and the answer did not come */
    LATE,       /* it is done after the others have gone on */
    CLEANED,    /* the same, and a cleanup took the dead one for dead meanwhile */
    DEATHS
} death;

static const char *const death_names[DEATHS] = {
    "before", "after", "with a late", "cleaned up after, with a late"};

typedef struct operation {
    const char *name;
    const char *after; /* the snapshot that is current once it is done */
    int writes_run;    /* it is of a run of its own, which a cleanup may take for dead */
    /* Before; may be NULL. */
    void (*prepare)(void);
    shardy_status (*run)(shardy_context *context, shardy_store *store, shardy_error *err);
    /* What it may answer when it is run again after it was done, or cleaned up; OK always. */
    shardy_status again[2];
} operation;

/* --- the operations --------------------------------------------------------------------------- */

static shardy_status build_run(
    shardy_context *context, shardy_store *store, const char *run_id, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.store = store;
    return dataset_build(context, BUCKET_URL, run_id, &options, err);
}

static shardy_status run_build(shardy_context *context, shardy_store *store, shardy_error *err)
{
    return build_run(context, store, NEW, err);
}

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
    dataset_plan_options(&options, NEW);
    assert_ok(shardy_plan_new(NULL, BUCKET_URL, &options, &plan, &err));
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, NEW, i);
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

static shardy_status run_publish(shardy_context *context, shardy_store *store, shardy_error *err)
{
    shardy_plan *plan;
    (void)store;
    shardy_bytes json = {plan_json.data, plan_json.len};
    shardy_status st = shardy_plan_from_json(context, BUCKET_URL, json, &plan, err);
    if (st >= 0) {
        st = shardy_plan_publish(
            plan, (shardy_bytes){winners_json.data, winners_json.len}, NULL, err);
        shardy_plan_free(plan);
    }
    return st;
}

static shardy_status run_rollback(shardy_context *context, shardy_store *store, shardy_error *err)
{
    return dataset_rollback(context, BUCKET_URL, BUCKET_OLD, store, err);
}

static shardy_status clean(
    shardy_context *context, shardy_store *store, uint32_t keep_last, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = keep_last;
    options.include_old_runs = keep_last == 0;
    options.admin.store = store;
    shardy_status st = shardy_cleanup(context, BUCKET_URL, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

static shardy_status run_cleanup(shardy_context *context, shardy_store *store, shardy_error *err)
{
    return clean(context, store, 1, err);
}

static shardy_status run_pin(shardy_context *context, shardy_store *store, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    shardy_admin_options_init(&options, sizeof options);
    options.store = store;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = BUCKET_OLD;
    return shardy_pin_add(context, BUCKET_URL, "keep", &target, &options, NULL, err);
}

static const operation build_operation = {"build", NEW, 1, NULL, run_build, {SHARDY_EXISTS}};
/* What was published, and what a cleanup has condemned, is not published again. */
static const operation publish_operation = {
    "publish", NEW, 1, prepare_publish, run_publish, {SHARDY_MISUSE, SHARDY_FENCED}};
static const operation rollback_operation = {
    "rollback", BUCKET_OLD, 0, NULL, run_rollback, {SHARDY_OK}};
static const operation cleanup_operation = {
    "cleanup", BUCKET_NOW, 0, NULL, run_cleanup, {SHARDY_OK}};
static const operation pin_operation = {"pin", BUCKET_NOW, 0, NULL, run_pin, {SHARDY_OK}};

/* --- a trial ---------------------------------------------------------------------------------- */

typedef struct trial {
    const operation *op;
    char name[120];
} trial;

static int64_t later_wall(void *user)
{
    struct timespec now;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + DAYS_US;
}

static shardy_context *new_context(int later)
{
    shardy_error err = {0};
    shardy_context *context;
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.threads = 1;
    options.clock.wall_us = later ? later_wall : NULL;
    assert_ok(shardy_context_new(&options, &context, &err));
    return context;
}

/* One at a time, so that the requests come in one order. */
static shardy_status with_store(
    shardy_status (*run)(shardy_context *, shardy_store *, shardy_error *), int later,
    shardy_error *err)
{
    static const bucket_store_options options = {30000, 3, 1};
    shardy_context *context = new_context(later);
    shardy_store *inner;
    shardy_store *store = bucket_open(context, &options, &inner);
    shardy_status st = run(context, store, err);
    shardy_store_close(store);
    shardy_store_close(inner);
    shardy_context_free(context);
    return st;
}

static pid_t start_child(const operation *op)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        shardy_error err = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(with_store(op->run, 0, &err) < 0 ? 1 : 0);
    }
    return child;
}

/* How the child ended: its exit code, or minus its signal. */
static int end_of(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static unsigned count_requests(const operation *op)
{
    bucket_restore(BUCKET_IS_NOW);
    if (op->prepare) {
        op->prepare();
    }
    server_faults(bucket_server(), "{\"kind\": \"delay\", \"ms\": 0}");
    assert_int_equal(end_of(start_child(op)), 0);
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

static shardy_status build_later(shardy_context *context, shardy_store *store, shardy_error *err)
{
    return build_run(context, store, AGAIN, err);
}

static shardy_status clean_dead(shardy_context *context, shardy_store *store, shardy_error *err)
{
    return clean(context, store, 0, err);
}

/* A cleanup days later. The server is to take its signatures. */
static void clean_up_days_later(const trial *t)
{
    shardy_error err = {0};
    server_settings(bucket_server(), "{\"auth\": \"off\"}");
    must(t, with_store(clean_dead, 1, &err), &err, "a cleanup");
    server_settings(bucket_server(), "{\"auth\": \"strict\"}");
}

/* The operation again, and then another build. */
static void run_again(const trial *t, int is_over)
{
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    shardy_status st = with_store(t->op->run, 0, &err);
    int fits = st >= 0;
    for (size_t i = 0; i < 2 && is_over; i++) {
        fits |= st == t->op->again[i];
    }
    if (!fits) {
        must(t, st, &err, "run again");
    }
    check_whole(t, "run again", stamp);
    if (st >= 0) {
        assert_string_equal(stamp, t->op->after);
    }
    must(t, with_store(build_later, 0, &err), &err, "the next build");
    check_whole(t, "after the next build", stamp);
    assert_string_equal(stamp, AGAIN);
}

static void run_trial(const operation *op, unsigned nth, death how)
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
    pid_t child = start_child(op);
    server_wait_held(bucket_server(), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(end_of(child), -SIGKILL);
    assert_int_equal(server_faults_used(bucket_server()), 1);
    server_faults(bucket_server(), NULL);
    check_whole(&t, "afterwards", stamp);
    if (strcmp(stamp, op->after) != 0 && strcmp(stamp, BUCKET_NOW) != 0) {
        fail_msg("%s: the snapshot is \"%s\"", t.name, stamp);
    }
    if (how == CLEANED) {
        clean_up_days_later(&t);
        check_whole(&t, "after a cleanup", stamp);
    }
    /* a run id that was claimed stays taken; whatever else was begun can be finished */
    run_again(&t, how == CLEANED || op == &build_operation || strcmp(stamp, op->after) == 0);
    if (how == LATE || how == CLEANED) {
        server_release(bucket_server(), 0);
        check_whole(&t, "after the late request", stamp);
        assert_string_equal(stamp, AGAIN);
        shardy_error err = {0};
        must(&t, with_store(run_cleanup, 0, &err), &err, "the last cleanup");
        check_whole(&t, "after the last cleanup", stamp);
    }
    support_watch(NULL, 0);
}

static void run_operation(const operation *op)
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
        cmocka_unit_test(test_crash__a_pin_is_there_or_not),
    };
    return cmocka_run_group_tests(tests, bucket_setup, bucket_teardown);
}
