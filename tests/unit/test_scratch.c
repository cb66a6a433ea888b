/* Scratch of builds outside of a store: that of the dead is removed, that of the living, and what
 * is not known to be scratch of this user, never. */
#include "build/scratch.h"

#include "base/alloc.h"
#include "support/support.h"

#include <shardyfusion/context.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOME_HEX "0123456789abcdef0123456789abcdef"

static _Thread_local shardy_error err;

typedef struct scratch {
    char *path;
    int lock;
} scratch;

static scratch make(const char *base)
{
    scratch s;
    shardy_context *context = NULL;
    assert_ok(shardy_context_new(NULL, &context, &err));
    assert_ok(shardy__scratch_make(context, base, &s.path, &s.lock, &err));
    assert_true(s.lock >= 0);
    shardy_context_free(context);
    return s;
}

static void end(scratch *s)
{
    shardy__scratch_remove(s->path, s->lock);
    shardy__free(s->path);
}

/* Makes one with files in it and dies. */
static void make_and_die(const char *base)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        shardy_context *context = NULL;
        scratch s;
        char name[300];
        if (shardy_context_new(NULL, &context, NULL) < 0 ||
            shardy__scratch_make(context, base, &s.path, &s.lock, NULL) < 0 ||
            snprintf(name, sizeof name, "%s/db=00000", s.path) < 0 || mkdir(name, 0700) != 0) {
            _exit(1);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_scratch__of_a_killed_build_is_removed_by_the_next(void **state)
{
    (void)state;
    char *base = support_make_dir();
    for (int i = 0; i < 3; i++) {
        make_and_die(base);
        assert_int_equal(support_count_entries(base), 1);
    }
    scratch s = make(base);
    assert_int_equal(support_count_entries(base), 1);
    end(&s);
    assert_int_equal(support_count_entries(base), 0);
    support_remove_dir(base);
}

static void test_scratch__of_a_living_build_stays(void **state)
{
    (void)state;
    char *base = support_make_dir();
    scratch one = make(base);
    scratch two = make(base);
    assert_int_equal(support_count_entries(base), 2);
    end(&one);
    assert_int_equal(support_count_entries(base), 1);
    end(&two);
    support_remove_dir(base);
}

/* A directory with a lock file that nobody holds, and something in it. */
static void make_dead(const char *base, const char *name, mode_t mode)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", base, name);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
    support_write_file(support_path(path, "lock"), "", 0);
    support_write_file(support_path(path, "rows"), "rows", 4);
}

static void test_scratch__what_is_not_surely_that_of_this_user_stays(void **state)
{
    (void)state;
    char *base = support_make_dir();
    char *elsewhere = support_make_dir();
    char path[300];
    make_dead(base, "shardy-build-" SOME_HEX, 0700); /* the only one that goes */
    make_dead(base, "shardy-build-" SOME_HEX "0", 0700);
    make_dead(base, "shardy-build-x123456789abcdef0123456789abcdef", 0700);
    make_dead(base, "someone-else-" SOME_HEX, 0700);
    make_dead(base, "shardy-build-1123456789abcdef0123456789abcdef", 0755); /* open to others */
    make_dead(elsewhere, "there", 0700);
    snprintf(path, sizeof path, "%s/shardy-build-2123456789abcdef0123456789abcdef", base);
    assert_int_equal(symlink(support_path(elsewhere, "there"), path), 0);
    /* with something in it and without a lock nobody knows whether its build is alive */
    snprintf(path, sizeof path, "%s/shardy-build-3123456789abcdef0123456789abcdef", base);
    assert_int_equal(mkdir(path, 0700), 0);
    support_write_file(support_path(path, "rows"), "rows", 4);
    scratch s = make(base);
    end(&s);
    assert_int_equal(support_count_entries(base), 6);
    snprintf(path, sizeof path, "%s/shardy-build-" SOME_HEX, base);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(support_count_entries(support_path(elsewhere, "there")), 2);
    support_remove_dir(elsewhere);
    support_remove_dir(base);
}

/* Its build was killed before it made the lock. */
static void test_scratch__an_empty_one_without_a_lock_is_removed(void **state)
{
    (void)state;
    char *base = support_make_dir();
    assert_int_equal(mkdir(support_path(base, "shardy-build-" SOME_HEX), 0700), 0);
    assert_int_equal(
        mkdir(support_path(base, "shardy-build-1123456789abcdef0123456789abcdef"), 0755), 0);
    scratch s = make(base);
    end(&s);
    assert_int_equal(support_count_entries(base), 1); /* that is open to others */
    support_remove_dir(base);
}

#define BUILDS 4
#define ROUNDS 50

static void *make_often(void *base)
{
    for (int i = 0; i < ROUNDS; i++) {
        scratch s = make(base);
        char lock[300];
        snprintf(lock, sizeof lock, "%s/lock", s.path);
        assert_int_equal(access(lock, F_OK), 0);
        end(&s);
    }
    return NULL;
}

static void test_scratch__builds_that_begin_at_once_do_not_take_it_from_each_other(void **state)
{
    (void)state;
    char *base = support_make_dir();
    pthread_t threads[BUILDS];
    for (size_t i = 0; i < BUILDS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_often, base), 0);
    }
    for (size_t i = 0; i < BUILDS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(support_count_entries(base), 0);
    support_remove_dir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scratch__of_a_killed_build_is_removed_by_the_next),
        cmocka_unit_test(test_scratch__of_a_living_build_stays),
        cmocka_unit_test(test_scratch__what_is_not_surely_that_of_this_user_stays),
        cmocka_unit_test(test_scratch__an_empty_one_without_a_lock_is_removed),
        cmocka_unit_test(test_scratch__builds_that_begin_at_once_do_not_take_it_from_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
