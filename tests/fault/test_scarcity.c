/* Hostile neighbours: a file size limit, a full disk, few descriptors, fork() with open handles.
 * Each runs in a child process, which answers through its exit status. */
#define _GNU_SOURCE
#include "support/dataset.h"
#include "support/store_fixture.h"
#include "support/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD "run-old"
#define NEW "run-new"

enum {
    CHILD_OK = 0,
    CHILD_SKIP = 77
};

/* Says on stderr what was wrong in the child. */
static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "in the child: %s: %s\n", what, detail);
    return 1;
}

/* Runs a function in a child; its answer is the exit status. */
static void run_in_child(int (*run)(const char *dir), const char *dir)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(run(dir));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIP) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static char *make_old(const char *dir)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    char *made = dir ? strdup(dir) : support_make_dir();
    assert_ok(dataset_build(NULL, made, OLD, &options, &err));
    return made;
}

/* --- no room ---------------------------------------------------------------------------------- */

/* A build that finds no room: it says so and names the place, and leaves the old snapshot and
 * nothing else. */
static int build_without_room(const char *dir, uint32_t rows)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    options.rows = rows;
    options.value_len = 4000;
    shardy_status st = dataset_build(NULL, dir, NEW, &options, &err);
    if (st != SHARDY_NO_SPACE) {
        return complain("the build answers", st < 0 ? err.message : shardy_status_name(st));
    }
    if (!strstr(err.message, dir)) {
        return complain("the message names no path", err.message);
    }
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    if (!dataset_check(dir, DATASET_ROWS, stamp, &problem)) {
        return complain("the old snapshot", problem.text);
    }
    if (strcmp(stamp, OLD) != 0) {
        return complain("the snapshot is", stamp);
    }
    if (access(support_path(dir, "shards/run_id=" NEW), F_OK) == 0) {
        return complain("shards are left of", NEW);
    }
    return count_leftovers(dir) == 0 ? CHILD_OK : complain("scratch is left of", NEW);
}

static int build_with_small_files(const char *dir)
{
    struct rlimit limit = {65536, 65536};
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN; /* as a program that wants an error has to */
    if (sigaction(SIGXFSZ, &ignore, NULL) != 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return complain("setrlimit", strerror(errno));
    }
    return build_without_room(dir, 200);
}

static void test_scarcity__a_file_size_limit_is_no_space(void **state)
{
    (void)state;
    char *dir = make_old(NULL);
    run_in_child(build_with_small_files, dir);
    support_remove_dir(dir);
}

static int build_on_full_disk(const char *dir)
{
    return build_without_room(dir, 400);
}

/* A directory that is a small file system; skips the test aloud where that cannot be made. */
static char *make_small_disk(const char *size)
{
    char *dir = support_make_dir();
    if (mount("shardy", dir, "tmpfs", MS_NOSUID | MS_NODEV, size) != 0) {
        print_message("skipped: cannot mount a small tmpfs: %s\n", strerror(errno));
        support_remove_dir(dir);
        skip();
    }
    return dir;
}

/* Rows that need more room than their scratch has are refused before the disk is full. */
static void test_scarcity__scratch_is_asked_for_room_first(void **state)
{
    (void)state;
    shardy_error err = {0};
    char *dir = make_old(NULL);
    char *scratch = make_small_disk("size=4m");
    dataset_options options;
    dataset_options_init(&options);
    options.rows = 12000;
    options.value_len = 4000;
    options.scratch_dir = scratch;
    shardy_status st = dataset_build(NULL, dir, NEW, &options, &err);
    size_t left = support_count_entries(scratch);
    int unmounted = umount(scratch) == 0;
    int named = strstr(err.message, scratch) != NULL;
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    int whole = dataset_check(dir, DATASET_ROWS, stamp, &problem);
    support_remove_dir(scratch);
    support_remove_dir(dir);
    assert_true(unmounted);
    assert_status(SHARDY_NO_SPACE, st);
    assert_non_null(strstr(err.message, "bytes left"));
    assert_true(named && whole);
    assert_string_equal(stamp, OLD);
    assert_int_equal(left, 0);
}

static void test_scarcity__a_full_disk_is_no_space(void **state)
{
    (void)state;
    char *dir = make_small_disk("size=768k");
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    dataset_options options;
    dataset_options_init(&options);
    free(make_old(dir));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        _exit(build_on_full_disk(dir));
    }
    int status = -1;
    waitpid(child, &status, 0);
    /* room again: the same works */
    shardy_status st = dataset_build(NULL, dir, "run-next", &options, &err);
    int whole = dataset_check(dir, DATASET_ROWS, stamp, &problem);
    int unmounted = umount(dir) == 0;
    support_remove_dir(dir);
    assert_true(unmounted);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
    assert_int_equal(st, SHARDY_OK);
    assert_true(whole);
    assert_string_equal(stamp, "run-next");
}

/* --- few descriptors -------------------------------------------------------------------------- */

#define MANY_SHARDS 64u
#define MANY_ROWS   256u

/* From the lowest free number on so many descriptors can be had. */
static int limit_descriptors(int more)
{
    int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (lowest < 0) {
        return 0;
    }
    close(lowest);
    struct rlimit limit = {(rlim_t)(lowest + more), (rlim_t)(lowest + more)};
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static int read_all(const shardy_reader *reader, shardy_status *failure_out, shardy_error *err)
{
    *failure_out = SHARDY_OK;
    for (uint32_t i = 0; i < MANY_ROWS; i++) {
        char text[16];
        char stamp[DATASET_STAMP_MAX];
        dataset_problem problem;
        shardy_buf value;
        shardy_key key = dataset_key(i, text);
        shardy_status st = shardy_reader_get(reader, &key, NULL, &value, err);
        if (st < 0) {
            *failure_out = st;
            return 1;
        }
        int ok = st == SHARDY_OK &&
                 dataset_value_stamp(i, (shardy_bytes){value.data, value.len}, stamp, &problem);
        shardy_buf_release(&value);
        if (!ok) {
            return 0;
        }
    }
    return 1;
}

static int read_with_few_descriptors(const char *dir, int32_t io, uint32_t open_shards_max)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_status failure;
    shardy_reader_options_init(&options, sizeof options);
    options.io = io;
    options.open_shards_max = open_shards_max;
    if (shardy_reader_open(NULL, dir, &options, &reader, &err) < 0) {
        return complain("open", err.message);
    }
    int ok = read_all(reader, &failure, &err);
    if (!ok || (failure < 0 && failure != SHARDY_EXHAUSTED)) {
        return complain("get", ok ? err.message : "a wrong value");
    }
    /* within a bound of open shards all can be read */
    if (failure < 0 && open_shards_max < MANY_SHARDS) {
        return complain("get within a bound", err.message);
    }
    if (failure == SHARDY_EXHAUSTED) {
        char text[16];
        shardy_buf value;
        shardy_key key = dataset_key(0, text);
        if (!err.retriable || shardy_reader_get(reader, &key, NULL, &value, &err) != SHARDY_OK) {
            return complain("the next get", err.message);
        }
        shardy_buf_release(&value);
    }
    shardy_reader_close(reader);
    return CHILD_OK;
}

static int use_few_descriptors(const char *dir)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_options_init(&options);
    options.rows = MANY_ROWS;
    options.num_dbs = MANY_SHARDS;
    options.threads = 2;
    if (!limit_descriptors(24)) {
        return complain("setrlimit", strerror(errno));
    }
    if (dataset_build(NULL, dir, NEW, &options, &err) < 0) {
        return complain("a build with few descriptors", err.message);
    }
    int wrong = read_with_few_descriptors(dir, SHARDY_IO_MMAP, 1024) ||
                read_with_few_descriptors(dir, SHARDY_IO_PREAD, 1024) ||
                read_with_few_descriptors(dir, SHARDY_IO_PREAD, 8) ||
                read_with_few_descriptors(dir, SHARDY_IO_MMAP, 8);
    if (wrong) {
        return 1;
    }
    /* and none at all */
    shardy_reader *reader = NULL;
    shardy_status st;
    if (!limit_descriptors(0)) {
        return complain("setrlimit", strerror(errno));
    }
    st = shardy_reader_open(NULL, dir, NULL, &reader, &err);
    if (st != SHARDY_EXHAUSTED || err.message[0] == '\0') {
        return complain("open without descriptors", shardy_status_name(st));
    }
    st = dataset_build(NULL, dir, "run-none", &options, &err);
    return st == SHARDY_EXHAUSTED ? CHILD_OK
                                  : complain("build without descriptors", shardy_status_name(st));
}

static void test_scarcity__few_descriptors_are_enough_or_it_is_said(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    run_in_child(use_few_descriptors, dir);
    support_remove_dir(dir);
}

/* --- fork ------------------------------------------------------------------------------------- */

typedef struct family {
    shardy_reader *reader;
    shardy_snapshot *snapshot;
    shardy_writer *writer;
    shardy_context *context;
    shardy_row row;
    char key[16];
    const char *dir;
    _Atomic int stop;
} family;

/* What is opened with the context of the parent would have no threads, and its random numbers. */
static int context_is_refused(const family *f)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_store *store;
    shardy_history history;
    dataset_options options;
    dataset_options_init(&options);
    return shardy_reader_open(f->context, f->dir, NULL, &reader, &err) == SHARDY_FORKED &&
           shardy_store_open_fs(f->context, f->dir, NULL, &store, &err) == SHARDY_FORKED &&
           shardy_history_list(f->context, f->dir, 1, NULL, &history, &err) == SHARDY_FORKED &&
           dataset_build(f->context, f->dir, "run-child", &options, &err) == SHARDY_FORKED &&
           dataset_rollback(f->context, f->dir, "run-a", NULL, &err) == SHARDY_FORKED;
}

/* All inherited handles say so, closing them touches nothing of the parent's, and the child can
 * open its own. */
static int use_in_child(family *f)
{
    shardy_error err = {0};
    shardy_buf value;
    shardy_snapshot *pinned;
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    int forked =
        shardy_reader_get(f->reader, &f->row.key, NULL, &value, &err) == SHARDY_FORKED &&
        shardy_snapshot_get(f->snapshot, &f->row.key, NULL, &value, &err) == SHARDY_FORKED &&
        shardy_reader_pin(f->reader, &pinned, &err) == SHARDY_FORKED &&
        shardy_reader_refresh(f->reader, NULL, &err) == SHARDY_FORKED &&
        shardy_writer_put(f->writer, &f->row, &err) == SHARDY_FORKED &&
        shardy_writer_finish(f->writer, NULL, &err) == SHARDY_FORKED;
    if (!forked) {
        return complain("an inherited handle does not say so", err.message);
    }
    if (!context_is_refused(f)) {
        return complain("an inherited context can be used", err.message);
    }
    shardy_snapshot_close(f->snapshot);
    shardy_reader_close(f->reader);
    shardy_writer_close(f->writer);
    shardy_context_free(f->context);
    return dataset_check_current(f->dir, DATASET_ROWS, stamp, &problem)
               ? CHILD_OK
               : complain("a reader of the child", problem.text);
}

static void *read_on(void *arg)
{
    family *f = arg;
    while (!atomic_load(&f->stop)) {
        shardy_error err = {0};
        shardy_buf value;
        if (shardy_reader_get(f->reader, &f->row.key, NULL, &value, &err) != SHARDY_OK ||
            shardy_reader_refresh(f->reader, NULL, &err) < 0) {
            return arg;
        }
        shardy_buf_release(&value);
    }
    return NULL;
}

/* Whether threads may be at work while the process forks: the allocator of AddressSanitizer does
 * not bring its locks over, so that the child could not allocate. */
#ifdef __SANITIZE_ADDRESS__
#define READ_WHILE_FORKING 0
#else
#define READ_WHILE_FORKING 1
#endif

static void fork_and_use(family *f)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(use_in_child(f));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static void test_fork__leaves_readers_and_builds_of_the_parent_alone(void **state)
{
    (void)state;
    shardy_error err = {0};
    family f;
    memset(&f, 0, sizeof f);
    char *dir = make_old(NULL);
    f.dir = dir;
    shardy_row_init(&f.row, sizeof f.row);
    f.row.key = dataset_key(1, f.key);
    f.row.value = (shardy_bytes){"v", 1};
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.run_id = NEW;
    options.num_dbs = 1;
    options.sync = 0;
    assert_ok(shardy_context_new(NULL, &f.context, &err));
    assert_ok(shardy_reader_open(f.context, dir, NULL, &f.reader, &err));
    assert_ok(shardy_reader_pin(f.reader, &f.snapshot, &err));
    assert_ok(shardy_writer_open(f.context, dir, &options, &f.writer, &err));
    assert_ok(shardy_writer_put(f.writer, &f.row, &err));
    pthread_t thread;
    atomic_store(&f.stop, !READ_WHILE_FORKING);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &f), 0);
    for (int i = 0; i < (sweep_torture() ? 500 : 10); i++) {
        fork_and_use(&f);
    }
    atomic_store(&f.stop, 1);
    void *failed = NULL;
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    /* the build goes on as if nothing had been */
    assert_ok(shardy_writer_finish(f.writer, NULL, &err));
    shardy_writer_close(f.writer);
    assert_ok(shardy_reader_refresh(f.reader, NULL, &err));
    shardy_buf value;
    assert_ok(shardy_reader_get(f.reader, &f.row.key, NULL, &value, &err));
    assert_int_equal(value.len, 1);
    shardy_buf_release(&value);
    shardy_snapshot_close(f.snapshot);
    shardy_reader_close(f.reader);
    shardy_context_free(f.context);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scarcity__a_file_size_limit_is_no_space),
        cmocka_unit_test(test_scarcity__a_full_disk_is_no_space),
        cmocka_unit_test(test_scarcity__scratch_is_asked_for_room_first),
        cmocka_unit_test(test_scarcity__few_descriptors_are_enough_or_it_is_said),
        cmocka_unit_test(test_fork__leaves_readers_and_builds_of_the_parent_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
