/* A process that builds, publishes or rolls back is killed at each of its operations that write:
 * the next one sees the old or the new snapshot, and can go on. */
#include "support/dataset.h"
#include "support/origin.h"
#include "support/store_fixture.h"
#include "support/sweep.h"

#include <shardyfusion/sys/testing.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEW "run-new"

/* Points of each operation that are tried in the quick set. */
#define QUICK 4u

/* What the child does. `dir` is a clone of the origin. */
typedef shardy_status (*operation_fn)(const char *dir, shardy_error *err);

static shardy_status do_build(const char *dir, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.sync = 1;
    return dataset_build(NULL, dir, NEW, &options, err);
}

static shardy_status do_rollback(const char *dir, shardy_error *err)
{
    return dataset_rollback(NULL, dir, OLD, NULL, err);
}

/* A build that is given up: what it made goes away. */
static shardy_status do_abandon(const char *dir, shardy_error *err)
{
    shardy_writer_options options;
    shardy_writer *w;
    shardy_writer_options_init(&options, sizeof options);
    options.run_id = NEW;
    options.num_dbs = 2;
    options.sync = 0;
    shardy_status st = shardy_writer_open(NULL, dir, &options, &w, err);
    if (st >= 0) {
        shardy_writer_close(w);
    }
    return st;
}

/* The same build in steps, as a scheduler does it. */
static shardy_status do_steps(const char *dir, shardy_error *err)
{
    return dataset_build_steps(dir, NEW, 0, err);
}

/* A cleanup of all but what is current; the origin has an attempt that nobody names as well. */
static shardy_status do_cleanup(const char *dir, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = 1;
    shardy_status st = shardy_cleanup(NULL, dir, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

static shardy_status do_pin(const char *dir, shardy_error *err)
{
    shardy_status st = shardy_pin_add(NULL, dir, "keep", NULL, NULL, NULL, err);
    return st < 0 ? st : shardy_pin_remove(NULL, dir, "keep", NULL, NULL, NULL, err);
}

/* Rows that do not fit into memory, and shards that flow to the disk while they grow. */
static shardy_status do_large(const char *dir, shardy_error *err)
{
    static char value[2u << 20];
    shardy_writer_options options;
    shardy_writer *w;
    dataset_plan_options(&options, NEW);
    options.threads = 1;
    options.sync = 1;
    shardy_status st = shardy_writer_open(NULL, dir, &options, &w, err);
    for (uint32_t i = 0; st >= 0 && i < DATASET_ROWS; i++) {
        dataset_row_texts texts;
        shardy_row row;
        dataset_fill_row(NEW, i, 0, &texts, &row);
        memcpy(value, row.value.data, row.value.len);
        row.value = (shardy_bytes){value, sizeof value};
        st = shardy_writer_put(w, &row, err);
    }
    if (st >= 0) {
        st = shardy_writer_finish(w, NULL, err);
    }
    shardy_writer_close(w);
    return st;
}

typedef struct kill_case {
    const char *name;
    operation_fn run;
    const char *after; /* the snapshot that is current once the operation is done */
    int adds;          /* it claims the run NEW */
    int is_large;      /* few points in the quick set */
    int removes_old;   /* the snapshot OLD is whole, or refused */
} kill_case;

/* --- one run ---------------------------------------------------------------------------------- */

/* The child: tells through the pipe how many operations it did, when it comes to its end. */
static void run_child(
    const kill_case *c, const char *dir, uint64_t nth, int32_t after, int pipe_end)
{
    shardy_error err = {0};
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, nth, after);
    shardy_status st = c->run(dir, &err);
    uint64_t count = shardy_testing_kill_count(SHARDY_FAULT_WRITE);
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, 0, 0);
    if (st < 0) {
        fprintf(stderr, "%s: %s\n", c->name, err.message);
        _exit(1);
    }
    _exit(write(pipe_end, &count, sizeof count) == (ssize_t)sizeof count ? 0 : 2);
}

/* 1 when the child came to its end. */
static int fork_and_kill(
    const kill_case *c, const char *dir, uint64_t nth, int32_t after, uint64_t *count_out)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_child(c, dir, nth, after, ends[1]);
    }
    close(ends[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    int ended = WIFEXITED(status);
    if (ended) {
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(read(ends[0], count_out, sizeof *count_out), sizeof *count_out);
    } else {
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    close(ends[0]);
    return ended;
}

static void check_whole(const char *dir, const char *where, char stamp[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    if (!dataset_check(dir, DATASET_ROWS, stamp, &problem)) {
        fail_msg("%s: %s", where, problem.text);
    }
}

static void must(shardy_status st, const shardy_error *err, const char *where, const char *what)
{
    if (st < 0) {
        fail_msg("%s: %s fails: %s", where, what, err->message);
    }
}

/* The run that was killed: its id is taken or free, and a rollback to it brings it back whole or is
 * refused. */
static void check_killed_run(const char *dir, const char *where)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    shardy_status st = dataset_rollback(NULL, dir, NEW, NULL, &err);
    if (st < 0 && st != SHARDY_INVALID && st != SHARDY_GONE) {
        fail_msg("%s: a rollback to the killed run answers %s: %s", where, shardy_status_name(st),
            err.message);
    }
    check_whole(dir, where, stamp);
    if (st >= 0) {
        assert_string_equal(stamp, NEW);
    }
    st = dataset_build(NULL, dir, NEW, &options, &err);
    if (st != SHARDY_OK && st != SHARDY_EXISTS) {
        fail_msg("%s: the run id is neither taken nor free: %s", where, err.message);
    }
}

/* OLD is there as a whole, or a rollback to it is refused; the next cleanup removes it. */
static void check_removed(const char *dir, const char *where)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_error err = {0};
    shardy_status st = dataset_rollback(NULL, dir, OLD, NULL, &err);
    if (st < 0 && st != SHARDY_INVALID && st != SHARDY_GONE) {
        fail_msg("%s: a rollback to the removed run answers %s: %s", where, shardy_status_name(st),
            err.message);
    }
    check_whole(dir, where, stamp);
    assert_string_equal(stamp, st >= 0 ? OLD : "run-next");
    if (st >= 0) {
        must(dataset_rollback(NULL, dir, "run-next", NULL, &err), &err, where, "a rollback");
    }
    must(do_cleanup(dir, &err), &err, where, "the next cleanup");
    shardy_store *store = fixture_open_fs(dir, 0);
    assert_listing(store, "shards/", '/', "shards/run_id=run-next/ ");
    char *manifests = list_text(store, "manifests/", 0, 1000);
    assert_non_null(strstr(manifests, "_run_id=run-next/manifest "));
    assert_null(strchr(strchr(manifests, ' ') + 1, ' '));
    free(manifests);
    shardy_store_close(store);
    check_whole(dir, where, stamp);
    assert_string_equal(stamp, "run-next");
}

/* 1 when the operation came to its end. */
static int run_killed(const kill_case *c, uint64_t nth, int32_t after, uint64_t *count_out)
{
    char where[100];
    char stamp[DATASET_STAMP_MAX];
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    char *dir = support_make_dir();
    assert_true(dataset_clone(origin_dir(), dir));
    snprintf(where, sizeof where, "%s killed %s write %llu", c->name, after ? "after" : "before",
        (unsigned long long)nth);
    int ended = fork_and_kill(c, dir, nth, after, count_out);
    check_whole(dir, where, stamp);
    if (strcmp(stamp, c->after) != 0 && (ended || strcmp(stamp, NOW) != 0)) {
        fail_msg("%s: the snapshot is \"%s\"", where, stamp);
    }
    if (c->adds) {
        check_killed_run(dir, where);
    }
    must(dataset_build(NULL, dir, "run-next", &options, &err), &err, where, "the next build");
    check_whole(dir, where, stamp);
    assert_string_equal(stamp, "run-next");
    if (c->removes_old) {
        check_removed(dir, where);
    } else {
        must(dataset_rollback(NULL, dir, OLD, NULL, &err), &err, where, "the next rollback");
        check_whole(dir, where, stamp);
        assert_string_equal(stamp, OLD);
    }
    /* the scratch of the dead one was taken away by those who came after it */
    assert_int_equal(support_count_entries(support_path(dir, ".shardyfusion/tmp")), 0);
    support_remove_dir(dir);
    return ended;
}

/* All points, or some that are spread over them. */
static void run_points(const kill_case *c, int32_t after)
{
    uint64_t count = 0;
    uint64_t tried = 0;
    assert_true(run_killed(c, UINT64_MAX, after, &count));
    assert_true(count > 0);
    uint64_t quick = c->is_large ? 2 : QUICK;
    uint64_t step = sweep_torture() || count <= quick ? 1 : count / quick;
    for (uint64_t nth = after ? step : 1; nth <= count; nth += step) {
        uint64_t ignored;
        assert_false(run_killed(c, nth, after, &ignored));
        tried++;
    }
    print_message("kill: %s: %llu operations that write, killed %s %llu of them\n", c->name,
        (unsigned long long)count, after ? "after" : "before", (unsigned long long)tried);
    assert_true(tried > 0);
}

static void run_case(const kill_case *c)
{
    if (!shardy_testing_fault_points()) {
        print_message("skipped: this build has no fault points\n");
        skip();
    }
    run_points(c, 0);
    run_points(c, 1);
}

static const kill_case build_case = {"build", do_build, NEW, 1, 0, 0};
static const kill_case steps_case = {"steps", do_steps, NEW, 1, 0, 0};
static const kill_case abandon_case = {"abandon", do_abandon, NOW, 1, 0, 0};
static const kill_case rollback_case = {"rollback", do_rollback, OLD, 0, 0, 0};
static const kill_case large_case = {"large", do_large, NEW, 1, 1, 0};
static const kill_case cleanup_case = {"cleanup", do_cleanup, NOW, 0, 0, 1};
static const kill_case pin_case = {"pin", do_pin, NOW, 0, 0, 0};

static void test_kill__a_build_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    run_case(&build_case);
}

static void test_kill__a_build_in_steps_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    run_case(&steps_case);
}

static void test_kill__an_abandoned_build_changes_nothing(void **state)
{
    (void)state;
    run_case(&abandon_case);
}

static void test_kill__a_rollback_is_done_or_not(void **state)
{
    (void)state;
    run_case(&rollback_case);
}

static void test_kill__a_cleanup_leaves_no_manifest_without_its_shards(void **state)
{
    (void)state;
    run_case(&cleanup_case);
}

static void test_kill__a_pin_is_there_or_not(void **state)
{
    (void)state;
    run_case(&pin_case);
}

static void test_kill__a_large_build_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    run_case(&large_case);
}

/* For kill_points.py, which counts the system calls of such a run: `origin` makes the data set,
 * anything else is done to it, and the number of points is printed. */
static int run_once(const char *name, const char *dir)
{
    static const kill_case *const cases[] = {&build_case, &steps_case, &abandon_case,
        &rollback_case, &large_case, &cleanup_case, &pin_case};
    shardy_error err = {0};
    if (strcmp(name, "origin") == 0) {
        dataset_options options;
        dataset_options_init(&options);
        return dataset_build(NULL, dir, OLD, &options, &err) < 0 ||
               dataset_build(NULL, dir, NOW, &options, &err) < 0;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i]->name, name) == 0) {
            shardy_testing_kill_at(SHARDY_FAULT_WRITE, UINT64_MAX, 0);
            shardy_status st = cases[i]->run(dir, &err);
            uint64_t count = shardy_testing_kill_count(SHARDY_FAULT_WRITE);
            shardy_testing_kill_at(SHARDY_FAULT_WRITE, 0, 0);
            printf("%llu\n", (unsigned long long)count);
            return st < 0;
        }
    }
    return 2;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return run_once(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill__a_build_is_published_whole_or_not_at_all),
        cmocka_unit_test(test_kill__a_build_in_steps_is_published_whole_or_not_at_all),
        cmocka_unit_test(test_kill__an_abandoned_build_changes_nothing),
        cmocka_unit_test(test_kill__a_rollback_is_done_or_not),
        cmocka_unit_test(test_kill__a_cleanup_leaves_no_manifest_without_its_shards),
        cmocka_unit_test(test_kill__a_pin_is_there_or_not),
        cmocka_unit_test(test_kill__a_large_build_is_published_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, origin_setup, origin_teardown);
}
