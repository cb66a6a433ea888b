/* The disk is full, a file may not grow, the disk fails, at each call that writes; calls are cut
 * short or interrupted; signals arrive all the time. A call that cannot be done is told and leaves
 * the old snapshot and nothing else; one that can be done is done. */
#include "support/calls.h"
#include "support/dataset.h"
#include "support/origin.h"
#include "support/store_fixture.h"
#include "support/sweep.h"

#include <shardyfusion/sys/testing.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEW "run-new"

/* Points of each operation that are tried in the quick set. */
#define QUICK 12u

typedef struct disk_case {
    const char *name;
    shardy_status (*run)(const char *dir, shardy_error *err);
    const char *after;
} disk_case;

static shardy_status run_build(const char *dir, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.sync = 1;
    return dataset_build(NULL, dir, NEW, &options, err);
}

static shardy_status run_rollback(const char *dir, shardy_error *err)
{
    return dataset_rollback(NULL, dir, OLD, NULL, err);
}

static const disk_case cases[] = {{"build", run_build, NEW}, {"rollback", run_rollback, OLD}};

#define CASES (sizeof cases / sizeof cases[0])

/* --- what must hold afterwards ---------------------------------------------------------------- */

static void check_stamp(const char *dir, const char *where, char stamp[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    if (!dataset_check(dir, DATASET_ROWS, stamp, &problem)) {
        fail_msg("%s: %s", where, problem.text);
    }
}

/* The snapshot is old, or new when that is not known; the next calls work; nothing is left over. */
static void check_after(const disk_case *c, const char *dir, shardy_status st,
    const shardy_error *err, const char *where)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_error next = {0};
    dataset_options options;
    check_stamp(dir, where, stamp);
    if (st >= 0) {
        assert_string_equal(stamp, c->after);
    } else if (strcmp(stamp, c->after) != 0 || !err->retriable) {
        assert_string_equal(stamp, NOW);
    }
    dataset_options_init(&options);
    if (dataset_build(NULL, dir, "run-next", &options, &next) < 0 ||
        dataset_rollback(NULL, dir, OLD, NULL, &next) < 0) {
        fail_msg("%s: the next call fails: %s", where, next.message);
    }
    assert_int_equal(count_leftovers(dir), 0);
}

/* --- calls that fail, are cut short, are interrupted ------------------------------------------ */

typedef struct call_fault {
    const char *name;
    call_fate fate;
    int error_number;
    int persistent;
    int is_harmless; /* the call of the library is done nevertheless */
    unsigned kinds;
} call_fault;

static int told_rightly(const call_fault *f, shardy_status st)
{
    int no_space =
        f->error_number == ENOSPC || f->error_number == EDQUOT || f->error_number == EFBIG;
    return st == SHARDY_NO_SPACE ? no_space : st == SHARDY_IO;
}

/* How many calls there were until the operation came to its end. */
static uint64_t run_call(const disk_case *c, const call_fault *f, uint64_t nth, uint64_t *met_out)
{
    char where[120];
    shardy_error err = {0};
    uint64_t seen;
    char *dir = support_make_dir();
    unsigned descriptors = sweep_open_descriptors();
    assert_true(dataset_clone(origin_dir(), dir));
    snprintf(where, sizeof where, "%s, call %llu: %s", c->name, (unsigned long long)nth, f->name);
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, UINT64_MAX, 0);
    calls_set(f->kinds, nth, f->persistent, f->fate, f->error_number);
    shardy_status st = c->run(dir, &err);
    calls_counts(&seen, met_out);
    calls_set(0, 0, 0, CALL_DONE, 0);
    if (f->kinds == CALL_ANY && shardy_testing_fault_points()) {
        /* which kill_points.py compares with the system calls: none goes past calls.c */
        assert_int_equal(seen, shardy_testing_kill_count(SHARDY_FAULT_WRITE));
    }
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, 0, 0);
    if (st < 0 &&
        (f->is_harmless || *met_out == 0 || err.message[0] == '\0' || !told_rightly(f, st))) {
        fail_msg("%s: %s: %s", where, shardy_status_name(st), err.message);
    }
    check_after(c, dir, st, &err, where);
    assert_int_equal(sweep_open_descriptors(), descriptors);
    support_remove_dir(dir);
    return seen;
}

static void sweep_calls(const disk_case *c, const call_fault *f)
{
    uint64_t met;
    uint64_t points = 0;
    uint64_t all = run_call(c, f, 0, &met);
    uint64_t step = sweep_torture() || all <= QUICK ? 1 : all / QUICK;
    for (uint64_t nth = 1; nth <= all; nth += step) {
        run_call(c, f, nth, &met);
        points += met > 0;
    }
    print_message("disk: %s: %s: %llu calls, %llu met it\n", c->name, f->name,
        (unsigned long long)all, (unsigned long long)points);
    assert_true(points > 0);
}

static void test_disk__failing_at_any_call_is_told(void **state)
{
    (void)state;
    static const call_fault faults[] = {
        {"ENOSPC", CALL_FAILS, ENOSPC, 0, 0, CALL_ANY},
        {"ENOSPC from then on", CALL_FAILS, ENOSPC, 1, 0, CALL_ANY},
        {"EFBIG", CALL_FAILS, EFBIG, 0, 0, CALL_ANY},
        {"EDQUOT", CALL_FAILS, EDQUOT, 1, 0, CALL_ANY},
        {"EIO", CALL_FAILS, EIO, 0, 0, CALL_ANY},
        {"EIO from then on", CALL_FAILS, EIO, 1, 0, CALL_ANY},
    };
    for (size_t i = 0; i < CASES; i++) {
        for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
            sweep_calls(&cases[i], &faults[f]);
        }
    }
}

/* --- a limit of the length of files ----------------------------------------------------------- */

/* In a child: the limit cannot be taken back. */
static int run_limited(const disk_case *c, const char *dir, uint64_t limit)
{
    struct rlimit r = {(rlim_t)limit, (rlim_t)limit};
    struct sigaction ignore;
    shardy_error err = {0};
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN; /* as a program that wants an error has to */
    if (sigaction(SIGXFSZ, &ignore, NULL) != 0 || setrlimit(RLIMIT_FSIZE, &r) != 0) {
        return 1;
    }
    shardy_status st = c->run(dir, &err);
    if (st >= 0) {
        return 2; /* the limit was below something that had to be written */
    }
    return st == SHARDY_NO_SPACE && err.message[0] && (!err.retriable || strstr(err.message, dir))
               ? 0
               : 3;
}

static void try_limit(const disk_case *c, uint64_t limit)
{
    char where[80];
    char stamp[DATASET_STAMP_MAX];
    shardy_error none = {0};
    char *dir = support_make_dir();
    assert_true(dataset_clone(origin_dir(), dir));
    snprintf(
        where, sizeof where, "%s, files of at most %llu bytes", c->name, (unsigned long long)limit);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(run_limited(c, dir, limit));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 2) {
        fail_msg("%s: the child answers %d", where, WEXITSTATUS(status));
    }
    check_stamp(dir, where, stamp);
    check_after(c, dir, WEXITSTATUS(status) == 2 ? SHARDY_OK : SHARDY_NO_SPACE, &none, where);
    support_remove_dir(dir);
}

/* Limits that lie within each of the writes of an operation. */
static void test_disk__a_limit_within_any_write_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        shardy_error err = {0};
        call_log log;
        size_t tried = 0;
        char *dir = support_make_dir();
        assert_true(dataset_clone(origin_dir(), dir));
        calls_record_start();
        shardy_status st = cases[i].run(dir, &err);
        calls_record_stop(&log);
        assert_ok(st);
        support_remove_dir(dir);
        size_t step = sweep_torture() ? 1 : 3;
        for (size_t r = 0; r < log.count; r++) {
            const call_record *w = &log.records[r];
            if (w->kind == CALL_WRITE && tried++ % step == 0) {
                try_limit(&cases[i], w->offset);
                try_limit(&cases[i], w->offset + w->len / 2);
                try_limit(&cases[i], w->offset + w->len - 1);
            }
        }
        print_message("disk: %s: limits within %zu writes\n", cases[i].name, tried);
        assert_true(tried > 2);
        calls_log_free(&log);
    }
}

/* Calls that a signal can interrupt on file systems that wait for somebody. */
#define SLOW (CALL_BIT(CALL_CREATE) | CALL_BIT(CALL_WRITE) | CALL_BIT(CALL_SYNC))

/* --- interruptions ---------------------------------------------------------------------------- */

static void test_calls__cut_short_or_interrupted_are_done_to_the_end(void **state)
{
    (void)state;
    static const call_fault faults[] = {
        {"half a write", CALL_SHORT, 0, 0, 1, CALL_BIT(CALL_WRITE)},
        {"half of each write", CALL_SHORT, 0, 1, 1, CALL_BIT(CALL_WRITE)},
        {"an interruption", CALL_INTERRUPTED, EINTR, 0, 1, SLOW},
    };
    for (size_t i = 0; i < CASES; i++) {
        for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
            sweep_calls(&cases[i], &faults[f]);
        }
    }
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal_number)
{
    (void)signal_number;
    alarms++;
}

/* What a process does with its signals. */
typedef struct signal_state {
    struct sigaction actions[65];
    sigset_t mask;
} signal_state;

static void take_signals(signal_state *s)
{
    memset(s, 0, sizeof *s);
    for (int n = 1; n <= 64; n++) {
        (void)sigaction(n, NULL, &s->actions[n]); /* some numbers are the C library's */
    }
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &s->mask), 0);
}

static void assert_same_signals(const signal_state *a, const signal_state *b)
{
    for (int n = 1; n <= 64; n++) {
        assert_ptr_equal(a->actions[n].sa_handler, b->actions[n].sa_handler);
        assert_int_equal(a->actions[n].sa_flags, b->actions[n].sa_flags);
        assert_int_equal(sigismember(&a->mask, n), sigismember(&b->mask, n));
    }
}

static void storm(int64_t period_us)
{
    struct itimerval timer;
    memset(&timer, 0, sizeof timer);
    timer.it_interval.tv_usec = period_us;
    timer.it_value.tv_usec = period_us;
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* A signal every 50 microseconds, whose handler interrupts system calls. */
static void test_signals__all_the_time_disturb_nothing(void **state)
{
    (void)state;
    signal_state before;
    signal_state after;
    struct sigaction action;
    struct sigaction old;
    size_t rounds = sweep_torture() ? 200 : 5;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_alarm; /* without SA_RESTART */
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    take_signals(&before);
    alarms = 0;
    for (size_t i = 0; i < rounds; i++) {
        char stamp[DATASET_STAMP_MAX] = "";
        dataset_problem problem;
        shardy_error err = {0};
        dataset_options options;
        dataset_options_init(&options);
        options.threads = 2;
        options.sync = 1;
        char *dir = support_make_dir();
        storm(50);
        shardy_status st = dataset_build(NULL, dir, OLD, &options, &err);
        if (st >= 0) {
            st = dataset_build(NULL, dir, NEW, &options, &err);
        }
        if (st >= 0) {
            st = dataset_rollback(NULL, dir, OLD, NULL, &err);
        }
        int ok = st >= 0 && dataset_check(dir, DATASET_ROWS, stamp, &problem);
        storm(0);
        if (!ok) {
            fail_msg("with signals all the time: %s", st < 0 ? err.message : problem.text);
        }
        assert_string_equal(stamp, OLD);
        support_remove_dir(dir);
    }
    take_signals(&after);
    assert_same_signals(&before, &after);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    print_message("signals: %d of them in %zu rounds\n", (int)alarms, rounds);
    assert_true(alarms > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk__failing_at_any_call_is_told),
        cmocka_unit_test(test_disk__a_limit_within_any_write_is_told),
        cmocka_unit_test(test_calls__cut_short_or_interrupted_are_done_to_the_end),
        cmocka_unit_test(test_signals__all_the_time_disturb_nothing),
    };
    return cmocka_run_group_tests(tests, origin_setup, origin_teardown);
}
