/* The power goes after each call that changes files, and what was not synced is lost: the next
 * reader sees the old or the new snapshot, whole, and the new one once the call has answered.
 *
 * The calls of one run are recorded, and replayed on a model of a disk that keeps as little as
 * POSIX promises (support/disk.h). That the model and the checks find something is tested by syncs
 * that are left out or come too late. */
#include "support/calls.h"
#include "support/dataset.h"
#include "support/disk.h"
#include "support/origin.h"
#include "support/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW   "run-new"
#define BELOW "made/too"

typedef struct power_case {
    const char *name;
    shardy_status (*run)(const char *dir, shardy_error *err);
    const char *before; /* the current snapshot; NULL: there is none */
    const char *after;
    int only_end;      /* 1: begins with calls that promise nothing */
    const char *below; /* where the data set is; NULL: in the directory itself */
} power_case;

static shardy_status build(const char *dir, const char *stamp, int32_t sync, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.sync = sync;
    return dataset_build(NULL, dir, stamp, &options, err);
}

static shardy_status run_build(const char *dir, shardy_error *err)
{
    return build(dir, NEW, 1, err);
}

static shardy_status run_rollback(const char *dir, shardy_error *err)
{
    return dataset_rollback(NULL, dir, OLD, NULL, err);
}

/* Into a directory that is made, and one above it. */
static shardy_status run_build_below(const char *dir, shardy_error *err)
{
    return build(support_path(dir, BELOW), NEW, 1, err);
}

/* What is not synced by one build is none of the next one's business, but the way to its own
 * objects is. */
static shardy_status run_after_unsynced(const char *dir, shardy_error *err)
{
    shardy_status st = build(dir, "run-unsynced", 0, err);
    return st < 0 ? st : build(dir, NEW, 1, err);
}

/* Somebody was killed after he had made the directories, and before they were synced. */
static shardy_status run_after_killed(const char *dir, shardy_error *err)
{
    static const char *const made[] = {"manifests", "runs", "shards", "shards/run_id=" NEW,
        "shards/run_id=" NEW "/db=00000", "shards/run_id=" NEW "/db=00001"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        mkdir(support_path(dir, made[i]), 0777);
    }
    return build(dir, NEW, 1, err);
}

static shardy_status run_build_in_steps(const char *dir, shardy_error *err)
{
    return dataset_build_steps(dir, NEW, 1, err);
}

/* --- recording -------------------------------------------------------------------------------- */

typedef struct recording {
    const power_case *c;
    disk *before;
    call_log log;
} recording;

static void record(const power_case *c, recording *r)
{
    shardy_error err = {0};
    char *dir = support_make_dir();
    r->c = c;
    assert_true(!c->before || dataset_clone(origin_dir(), dir));
    r->before = disk_new(dir);
    calls_record_start();
    shardy_status st = c->run(dir, &err);
    calls_record_stop(&r->log);
    assert_ok(st);
    support_remove_dir(dir);
}

static void forget_recording(recording *r)
{
    disk_free(r->before);
    calls_log_free(&r->log);
}

/* --- what must be there afterwards ------------------------------------------------------------ */

/* Who comes next can build and roll back. */
static int go_on(const char *dir, dataset_problem *problem)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_error err = {0};
    int ok = build(dir, "run-next", 0, &err) >= 0;
    if (ok && access(support_path(dir, "shards/run_id=" OLD), F_OK) == 0) {
        ok = dataset_rollback(NULL, dir, OLD, NULL, &err) >= 0;
    }
    ok = ok && dataset_rollback(NULL, dir, "run-next", NULL, &err) >= 0;
    if (!ok) {
        snprintf(problem->text, sizeof problem->text, "the next call: %.300s", err.message);
        return 0;
    }
    return dataset_check_current(dir, DATASET_ROWS, stamp, problem);
}

/* 1 when what is left of the disk is as it has to be. */
static int is_whole(const disk *d, const power_case *c, disk_loss loss, support_rand *rand,
    int done, int further, dataset_problem *problem)
{
    char stamp[DATASET_STAMP_MAX] = "";
    char *dir = support_make_dir();
    problem->text[0] = '\0';
    disk_write(d, loss, rand, dir);
    char url[600];
    snprintf(url, sizeof url, "%s", c->below ? support_path(dir, c->below) : dir);
    int ok = 1;
    if (done || c->before || access(support_path(url, "_CURRENT"), F_OK) == 0) {
        ok = c->only_end ? dataset_check_current(url, DATASET_ROWS, stamp, problem)
                         : dataset_check(url, DATASET_ROWS, stamp, problem);
        if (ok && strcmp(stamp, c->after) != 0 && (done || strcmp(stamp, c->before) != 0)) {
            snprintf(problem->text, sizeof problem->text, "the snapshot is \"%s\"", stamp);
            ok = 0;
        }
    }
    if (ok && further) {
        ok = go_on(url, problem);
    }
    support_remove_dir(dir);
    return ok;
}

typedef struct power_counts {
    uint64_t points;
    uint64_t disks;
} power_counts;

static const char *const loss_names[DISK_LOSS_COUNT] = {
    "all", "content", "content but its length", "names", "some"};

/* Tries one state of the disk with all that can be lost. */
static int try_losses(const disk *d, const power_case *c, size_t at, int done, support_rand *rand,
    power_counts *counts, dataset_problem *problem)
{
    for (int loss = 0; loss < DISK_LOSS_COUNT; loss++) {
        int rounds = loss == DISK_LOSES_SOME && sweep_torture() ? 20 : 1;
        for (int i = 0; i < rounds; i++) {
            int further = i == 0 && (sweep_torture() || at % 16 == 0);
            counts->disks++;
            if (!is_whole(d, c, (disk_loss)loss, rand, done, further, problem)) {
                char text[sizeof problem->text];
                memcpy(text, problem->text, sizeof text);
                snprintf(problem->text, sizeof problem->text, "%s, call %zu, %s lost: %.250s",
                    c->name, at, loss_names[loss], text);
                return 0;
            }
        }
    }
    return 1;
}

/* The power goes after each call. 0 and the problem when something was lost that may not be. The
 * quick set takes all calls that are no writes, and the last writes before them. */
static int survives(const recording *r, power_counts *counts, dataset_problem *problem)
{
    support_rand rand = {support_seed()};
    disk *d = disk_copy(r->before);
    int ok = 1;
    memset(counts, 0, sizeof *counts);
    for (size_t i = 0; ok && i < r->log.count; i++) {
        int done = i + 1 == r->log.count;
        disk_apply(d, &r->log.records[i], 0);
        if (!done && (r->c->only_end || (!sweep_torture() && i % 3 != 0 &&
                                            r->log.records[i].kind != CALL_RENAME))) {
            continue;
        }
        counts->points++;
        ok = try_losses(d, r->c, i + 1, done, &rand, counts, problem);
    }
    disk_free(d);
    return ok;
}

static void run_case(const power_case *c)
{
    recording r;
    power_counts counts;
    dataset_problem problem;
    record(c, &r);
    if (!survives(&r, &counts, &problem)) {
        fail_msg("%s", problem.text);
    }
    print_message("power loss: %s: %zu calls, at %llu of them, %llu disks\n", c->name, r.log.count,
        (unsigned long long)counts.points, (unsigned long long)counts.disks);
    forget_recording(&r);
}

static const power_case build_case = {"build", run_build, NOW, NEW, 0, NULL};

static void test_power_loss__leaves_the_old_or_the_new_snapshot(void **state)
{
    (void)state;
    static const power_case cases[] = {
        {"steps", run_build_in_steps, NOW, NEW, 0, NULL},
        {"rollback", run_rollback, NOW, OLD, 0, NULL},
        {"first build", run_build, NULL, NEW, 0, NULL},
        {"first build in a new directory", run_build_below, NULL, NEW, 0, BELOW},
        {"build after one that was killed", run_after_killed, NULL, NEW, 0, NULL},
        {"build after one that was not synced", run_after_unsynced, NULL, NEW, 1, NULL},
    };
    run_case(&build_case);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_case(&cases[i]);
    }
}

/* --- what the model must find ----------------------------------------------------------------- */

/* The disk at the end, when the syncs of one file or directory (or all of a sort) were not done,
 * and all is lost. */
static int survives_without(const recording *r, uint64_t object, int dirs, int files)
{
    dataset_problem problem;
    support_rand rand = {1};
    disk *d = disk_copy(r->before);
    for (size_t i = 0; i < r->log.count; i++) {
        const call_record *record = &r->log.records[i];
        int of_dir = disk_is_dir(d, record->object);
        disk_apply(d, record, record->object == object || (of_dir ? dirs : files));
    }
    int ok = is_whole(d, r->c, DISK_LOSES_ALL, &rand, 1, 0, &problem);
    disk_free(d);
    return ok;
}

/* Where a file or directory was made or has its name in the end. */
static const char *name_in_log(const call_log *log, uint64_t object)
{
    for (size_t i = log->count; i > 0; i--) {
        const call_record *r = &log->records[i - 1];
        if (r->object == object && r->kind == CALL_RENAME) {
            return r->to_name;
        }
        if (r->object == object && r->kind == CALL_MKDIR) {
            return r->name;
        }
    }
    return "a directory that was there";
}

/* The shards, the manifest, the pointer: nothing of a snapshot may be missing. */
static int belongs_to_snapshot(const char *name)
{
    return strcmp(name, "_CURRENT") == 0 || strcmp(name, "manifest") == 0 ||
           strncmp(name, "shard.", 6) == 0;
}

/* 1 when an earlier record synced the same. */
static int seen_before(const call_log *log, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (log->records[i].kind == CALL_SYNC &&
            log->records[i].object == log->records[at].object) {
            return 1;
        }
    }
    return 0;
}

static void test_power_loss__finds_each_sync_that_is_left_out(void **state)
{
    (void)state;
    recording r;
    size_t all = 0;
    size_t found = 0;
    size_t of_snapshot = 0;
    record(&build_case, &r);
    assert_true(survives_without(&r, 0, 0, 0));
    assert_false(survives_without(&r, 0, 1, 0));
    assert_false(survives_without(&r, 0, 0, 1));
    for (size_t i = 0; i < r.log.count; i++) {
        const call_record *sync = &r.log.records[i];
        if (sync->kind != CALL_SYNC || seen_before(&r.log, i)) {
            continue;
        }
        const char *name = name_in_log(&r.log, sync->object);
        int missed = !survives_without(&r, sync->object, 0, 0);
        assert_true(missed || !belongs_to_snapshot(name));
        all++;
        found += missed ? 1 : 0;
        of_snapshot += belongs_to_snapshot(name) ? 1 : 0;
    }
    print_message("power loss: a build syncs %zu files and directories; %zu are missed when left "
                  "out, among them all %zu files of the snapshot\n",
        all, found, of_snapshot);
    assert_true(of_snapshot >= DATASET_SHARDS + 2);
    assert_true(found > of_snapshot);
    forget_recording(&r);
}

/* The order counts: a sync of the manifest that comes after the pointer has moved is too late. */
static void test_power_loss__finds_a_sync_that_comes_too_late(void **state)
{
    (void)state;
    recording r;
    power_counts counts;
    dataset_problem problem;
    size_t late = 0;
    record(&build_case, &r);
    for (size_t i = 0; i < r.log.count; i++) {
        const call_record *record = &r.log.records[i];
        int is_pointer = record->kind == CALL_RENAME && strcmp(record->to_name, "_CURRENT") == 0;
        if (record->kind == CALL_SYNC &&
            strcmp(name_in_log(&r.log, record->object), "manifest") == 0) {
            late = i;
        }
        if (is_pointer) {
            assert_true(late > 0);
            call_record moved = r.log.records[late];
            memmove(&r.log.records[late], &r.log.records[late + 1], (i - late) * sizeof moved);
            r.log.records[i] = moved;
            break;
        }
    }
    assert_false(survives(&r, &counts, &problem));
    print_message("found: %s\n", problem.text);
    forget_recording(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_loss__leaves_the_old_or_the_new_snapshot),
        cmocka_unit_test(test_power_loss__finds_each_sync_that_is_left_out),
        cmocka_unit_test(test_power_loss__finds_a_sync_that_comes_too_late),
    };
    return cmocka_run_group_tests(tests, origin_setup, origin_teardown);
}
