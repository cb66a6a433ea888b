/* Several processes publish to one directory and roll it back: of those that build on the same
 * snapshot one wins, the others are told by whom, and readers never see anything but a whole
 * snapshot. */
#include "support/dataset.h"
#include "support/support.h"
#include "support/sweep.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESSES = 4,
    ROUNDS = 3,
    TORTURE_ROUNDS = 60
};

/* What a process answers through its pipe. */
typedef struct answer {
    int32_t status;
    char stamp[DATASET_STAMP_MAX];
    char message[300];
} answer;

typedef struct process {
    pid_t pid;
    int ready;  /* becomes readable when it waits at the gate */
    int result; /* gives an answer */
} process;

static int rounds(void)
{
    return sweep_torture() ? TORTURE_ROUNDS : ROUNDS;
}

/* --- in the child ----------------------------------------------------------------------------- */

/* Where a build stands when the gate opens: all rows are put, the pointer was seen. */
typedef struct waiting {
    int ready;
    int gate;
} waiting;

static int32_t wait_at_gate(void *user, const shardy_progress *progress)
{
    waiting *w = user;
    char byte = 'r';
    if (strcmp(progress->phase, "publish") == 0) {
        if (write(w->ready, &byte, 1) != 1 || read(w->gate, &byte, 1) != 0) {
            return 1;
        }
    }
    return 0;
}

static shardy_status build_at_gate(
    const char *dir, const char *stamp, waiting *w, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.progress = wait_at_gate;
    options.progress_user = w;
    return dataset_build(NULL, dir, stamp, &options, err);
}

static shardy_status roll_at_gate(const char *dir, const char *stamp, waiting *w, shardy_error *err)
{
    char byte = 'r';
    if (write(w->ready, &byte, 1) != 1 || read(w->gate, &byte, 1) != 0) {
        return SHARDY_INTERNAL;
    }
    return dataset_rollback(NULL, dir, stamp, NULL, err);
}

static void run_child(const char *dir, const char *stamp, int rolls, waiting *w, int result)
{
    shardy_error err = {0};
    answer a;
    memset(&a, 0, sizeof a);
    snprintf(a.stamp, sizeof a.stamp, "%s", stamp);
    a.status = rolls ? roll_at_gate(dir, stamp, w, &err) : build_at_gate(dir, stamp, w, &err);
    snprintf(a.message, sizeof a.message, "%.299s", a.status < 0 ? err.message : "");
    _exit(write(result, &a, sizeof a) == (ssize_t)sizeof a ? 0 : 1);
}

/* --- in the parent ---------------------------------------------------------------------------- */

static process start(const char *dir, const char *stamp, int rolls, const int gate[2])
{
    process p;
    int ready[2];
    int result[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(result), 0);
    fflush(NULL);
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        close(gate[1]); /* else the gate would never open */
        waiting w = {ready[1], gate[0]};
        run_child(dir, stamp, rolls, &w, result[1]);
    }
    close(ready[1]);
    close(result[1]);
    p.ready = ready[0];
    p.result = result[0];
    return p;
}

/* Reads the data set again and again until all have answered: the pointer never dangles. */
static void watch(const char *dir, const process *all)
{
    struct pollfd polls[PROCESSES];
    int open = PROCESSES;
    for (int i = 0; i < PROCESSES; i++) {
        polls[i].fd = all[i].result;
        polls[i].events = POLLIN;
    }
    while (open > 0) {
        char stamp[DATASET_STAMP_MAX];
        dataset_problem problem;
        if (!dataset_check_current(dir, DATASET_ROWS, stamp, &problem)) {
            fail_msg("while others publish: %s", problem.text);
        }
        assert_true(poll(polls, PROCESSES, 0) >= 0);
        open = 0;
        for (int i = 0; i < PROCESSES; i++) {
            open += (polls[i].revents & (POLLIN | POLLHUP)) == 0;
        }
    }
}

/* One round: the first `builds` processes build, the others roll back. */
static void run_round(const char *dir, int round, int builds, answer answers[PROCESSES])
{
    process all[PROCESSES];
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        char stamp[DATASET_STAMP_MAX];
        if (i < builds) {
            snprintf(stamp, sizeof stamp, "run-%d-%d", round, i);
        } else {
            snprintf(stamp, sizeof stamp, "run-start-%d", i % 2);
        }
        all[i] = start(dir, stamp, i >= builds, gate);
    }
    for (int i = 0; i < PROCESSES; i++) {
        char byte;
        assert_int_equal(read(all[i].ready, &byte, 1), 1);
    }
    close(gate[0]);
    close(gate[1]);
    watch(dir, all);
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(read(all[i].result, &answers[i], sizeof answers[i]), sizeof answers[i]);
        assert_int_equal(waitpid(all[i].pid, &status, 0), all[i].pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        close(all[i].ready);
        close(all[i].result);
    }
}

static char *make_start(void)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    char *dir = support_make_dir();
    assert_ok(dataset_build(NULL, dir, "run-start-0", &options, &err));
    assert_ok(dataset_build(NULL, dir, "run-start-1", &options, &err));
    return dir;
}

static void check_whole(const char *dir, char stamp[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    if (!dataset_check(dir, DATASET_ROWS, stamp, &problem)) {
        fail_msg("%s", problem.text);
    }
}

static void test_processes__one_of_those_that_publish_at_once_wins(void **state)
{
    (void)state;
    char *dir = make_start();
    for (int round = 0; round < rounds(); round++) {
        answer answers[PROCESSES];
        char stamp[DATASET_STAMP_MAX];
        char quoted[DATASET_STAMP_MAX + 2];
        run_round(dir, round, PROCESSES, answers);
        check_whole(dir, stamp);
        snprintf(quoted, sizeof quoted, "\"%s\"", stamp);
        int winners = 0;
        for (int i = 0; i < PROCESSES; i++) {
            int won = answers[i].status == SHARDY_OK;
            winners += won;
            if (won ? strcmp(answers[i].stamp, stamp) != 0
                    : answers[i].status != SHARDY_CONFLICT || !strstr(answers[i].message, quoted)) {
                fail_msg("%s won, and %s was told %s: %s", stamp, answers[i].stamp,
                    shardy_status_name((shardy_status)answers[i].status), answers[i].message);
            }
        }
        assert_int_equal(winners, 1);
    }
    /* who has lost can be rolled back to */
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    for (int i = 0; i < PROCESSES; i++) {
        char wanted[DATASET_STAMP_MAX];
        snprintf(wanted, sizeof wanted, "run-0-%d", i);
        assert_ok(dataset_rollback(NULL, dir, wanted, NULL, &err));
        check_whole(dir, stamp);
        assert_string_equal(stamp, wanted);
    }
    support_remove_dir(dir);
}

/* A rollback reads the pointer when it begins, so more than one can succeed after the other; each
 * loser is told of somebody who has been current. */
static void test_processes__publish_and_roll_back_without_losing_the_pointer(void **state)
{
    (void)state;
    char *dir = make_start();
    for (int round = 0; round < rounds(); round++) {
        answer answers[PROCESSES];
        char stamp[DATASET_STAMP_MAX];
        int winners = 0;
        int current = 0;
        run_round(dir, round, 2, answers);
        check_whole(dir, stamp);
        for (int i = 0; i < PROCESSES; i++) {
            winners += answers[i].status == SHARDY_OK;
            current += answers[i].status == SHARDY_OK && strcmp(answers[i].stamp, stamp) == 0;
            if (answers[i].status < 0 &&
                (answers[i].status != SHARDY_CONFLICT || answers[i].message[0] == '\0')) {
                fail_msg("%s was told %s: %s", answers[i].stamp,
                    shardy_status_name((shardy_status)answers[i].status), answers[i].message);
            }
        }
        assert_true(winners >= 1 && current >= 1);
        assert_true(answers[0].status < 0 || answers[1].status < 0);
    }
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes__one_of_those_that_publish_at_once_wins),
        cmocka_unit_test(test_processes__publish_and_roll_back_without_losing_the_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
