/* The public operations with each allocation, store call, file operation and thread start made to
 * fail: the failure is told, nothing is leaked, the published snapshot is the old or the new one,
 * and the next call works. */
#include "support/dataset.h"
#include "support/origin.h"
#include "support/store_fixture.h"
#include "support/sweep.h"
#include "support/trip_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Points per kind and mode that are tried in the quick set. */
#define QUICK 14u

/* Keys of a call that is spread over threads. */
#define MANY 4800u

#define NEW "run-new"

#define KINDS_LOCAL (SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ))
#define KINDS_FILES (KINDS_LOCAL | SWEEP_BIT(SWEEP_WRITE))
#define KINDS_STORE (SWEEP_BIT(SWEEP_STORE_BEFORE) | SWEEP_BIT(SWEEP_STORE_AFTER))
#define KINDS_SHORT SWEEP_BIT(SWEEP_STORE_SHORT)
/* What is read ahead of need may fail unnoticed: it is asked for again when it is needed. */
#define AHEAD (SWEEP_BIT(SWEEP_ALLOC) | KINDS_STORE | KINDS_SHORT)

/* How a state is made. */
typedef struct trial_shape {
    int by_store;    /* through a fault store, else by the path */
    int ranges;      /* which has no local files and is read by ranges */
    int told;        /* the reader knows its first key, and the pointer where its shard is */
    int with_reader; /* a reader is open */
    int warm;        /* and its shards are */
    int fresh;       /* an empty directory instead of a clone of the origin */
    int changes;     /* the operation changes the directory, which is then copied first */
    uint32_t threads;
    uint64_t max_keys_per_shard;
    uint32_t open_shards_max;
    int32_t io;
    int32_t sync;
    int32_t sidecar;
} trial_shape;

typedef struct trial {
    const trial_shape *shape;
    char *dir; /* to remove; NULL: works on the origin */
    const char *url;
    shardy_context *context;
    shardy_store *store;
    shardy_store *hides;  /* around `store`, without its local files; NULL: they may be used */
    shardy_store *faults; /* around these; NULL: by the path */
    shardy_reader *reader;
    char answer[DATASET_STAMP_MAX]; /* stamp of what the operation read */
} trial;

static void open_reader(trial *t)
{
    shardy_error err = {0};
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = t->faults;
    options.access = t->shape->ranges ? SHARDY_ACCESS_RANGE : SHARDY_ACCESS_AUTO;
    options.io = t->shape->io ? t->shape->io : SHARDY_IO_MMAP;
    options.open_shards_max = t->shape->open_shards_max ? t->shape->open_shards_max : 1024;
    assert_ok(shardy_reader_open(t->context, t->url, &options, &t->reader, &err));
    for (uint32_t i = 0; t->shape->warm && i < DATASET_ROWS; i++) {
        char text[16];
        shardy_buf value;
        shardy_key key = dataset_key(i, text);
        assert_ok(shardy_reader_get(t->reader, &key, NULL, &value, &err));
        shardy_buf_release(&value);
    }
}

/* A snapshot whose shards have sidecars and more than one chunk, so that its pointer tells where
 * they are. */
static char *indexed;

static const char *indexed_dir(void)
{
    if (!indexed) {
        shardy_error err = {0};
        dataset_options options;
        indexed = support_make_dir();
        dataset_options_init(&options);
        options.sidecar = SHARDY_SIDECAR_ALWAYS;
        options.value_len = 400000 / DATASET_ROWS;
        assert_ok(dataset_build(NULL, indexed, NOW, &options, &err));
    }
    return indexed;
}

static int remove_dirs(void **state)
{
    support_remove_dir(indexed);
    return origin_teardown(state);
}

static void *trial_new(const void *param)
{
    shardy_error err = {0};
    trial *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->shape = param;
    t->url = t->shape->told ? indexed_dir() : origin_dir();
    if (t->shape->changes || t->shape->fresh) {
        t->dir = support_make_dir();
        t->url = t->dir;
        assert_true(t->shape->fresh || dataset_clone(origin_dir(), t->dir));
    }
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.threads = t->shape->threads ? t->shape->threads : 1;
    assert_ok(shardy_context_new(&options, &t->context, &err));
    if (t->shape->by_store) {
        shardy_store_fs_options fs;
        shardy_store_fs_options_init(&fs, sizeof fs);
        fs.sync = t->shape->sync;
        assert_ok(shardy_store_open_fs(t->context, t->url, &fs, &t->store, &err));
        if (t->shape->ranges) {
            assert_ok(trip_store_open(t->store, &t->hides, &err));
        }
        shardy_store *inner = t->hides ? t->hides : t->store;
        assert_ok(shardy_store_wrap_fault(t->context, inner, &t->faults, &err));
    }
    if (t->shape->with_reader) {
        open_reader(t);
    }
    return t;
}

static void trial_free(void *state)
{
    trial *t = state;
    shardy_reader_close(t->reader);
    shardy_store_close(t->faults);
    shardy_store_close(t->hides);
    shardy_store_close(t->store);
    shardy_context_free(t->context);
    assert_int_equal(count_leftovers(t->url), 0);
    support_remove_dir(t->dir);
    free(t);
}

static shardy_store *trial_faults(void *state)
{
    trial *t = state;
    return t->faults;
}

/* --- trials in a table ------------------------------------------------------------------------ */

typedef struct trial_case {
    const char *name;
    shardy_status (*operation)(void *state, shardy_error *err);
    trial_shape shape;
    unsigned kinds;
    unsigned absorbs;
    uint32_t quick; /* 0: all points always */
} trial_case;

typedef void (*check_fn)(void *state, shardy_status status, const shardy_error *err);

static void sweep_trials(
    const trial_case *cases, size_t count, void *(*setup)(const void *param), check_fn check)
{
    for (size_t i = 0; i < count; i++) {
        const sweep_case c = {
            .name = cases[i].name,
            .kinds = cases[i].kinds,
            .absorbs = cases[i].absorbs,
            .setup = setup,
            .operation = cases[i].operation,
            .check = check,
            .teardown = trial_free,
            .fault_store = trial_faults,
            .param = &cases[i].shape,
            .quick = cases[i].quick,
        };
        sweep_run(&c);
    }
}

/* What readers see now. Fails the test when it is not whole. */
static void current_stamp(const trial *t, char stamp_out[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    if (!dataset_check(t->url, DATASET_ROWS, stamp_out, &problem)) {
        fail_msg("%s", problem.text);
    }
}

/* --- build ------------------------------------------------------------------------------------ */

static shardy_status build(trial *t, const char *stamp, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.store = t->faults;
    options.threads = t->shape->threads ? t->shape->threads : 1;
    options.max_keys_per_shard = t->shape->max_keys_per_shard;
    options.sync = t->shape->sync;
    options.sidecar = t->shape->sidecar;
    return dataset_build(t->context, t->url, stamp, &options, err);
}

static shardy_status op_build(void *state, shardy_error *err)
{
    return build(state, NEW, err);
}

/* A failure that does not say that it is open what became of it has changed nothing. */
static void check_pointer(const trial *t, shardy_status status, const shardy_error *err,
    const char *before, const char *after)
{
    char stamp[DATASET_STAMP_MAX];
    current_stamp(t, stamp);
    if (status >= 0) {
        assert_string_equal(stamp, after);
    } else if (strcmp(stamp, after) != 0 || !err->retriable) {
        assert_string_equal(stamp, before);
    }
}

/* Objects of the run that failed, other than its fate and its record. */
static void check_nothing_visible(const trial *t, const char *stamp, const char *failure)
{
    shardy_error err = {0};
    shardy_history history;
    char path[200];
    assert_ok(shardy_history_list(NULL, t->url, 100, NULL, &history, &err));
    for (size_t i = 0; i < history.count; i++) {
        if (strcmp(history.entries[i].run_id, stamp) == 0) {
            fail_msg("after \"%s\" the manifest of the run is there", failure);
        }
    }
    shardy_history_dispose(&history);
    snprintf(path, sizeof path, "shards/run_id=%s", stamp);
    if (access(support_path(t->url, path), F_OK) == 0) {
        fail_msg("after \"%s\" shards of the run are there", failure);
    }
}

static void check_build(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    char stamp[DATASET_STAMP_MAX];
    if (status < 0 && !err->retriable && !sweep_is_persistent()) {
        check_nothing_visible(t, NEW, err->message);
    }
    if (t->shape->fresh) {
        dataset_problem problem;
        int there = access(support_path(t->url, "_CURRENT"), F_OK) == 0;
        if (status >= 0 || there) {
            assert_true(there && (status >= 0 || err->retriable));
            assert_true(dataset_check(t->url, DATASET_ROWS, stamp, &problem));
            assert_string_equal(stamp, NEW);
        }
    } else {
        check_pointer(t, status, err, NOW, NEW);
    }
    shardy_error next = {0};
    shardy_status st = build(t, "run-next", &next);
    if (st < 0) {
        fail_msg("after \"%s\" the next build fails: %s", err->message, next.message);
    }
    current_stamp(t, stamp);
    assert_string_equal(stamp, "run-next");
}

static void test_build__survives_faults_of_the_machine(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"build", op_build, {.changes = 1}, KINDS_FILES, KINDS_FILES, 3 * QUICK},
        {"build (synced)", op_build, {.changes = 1, .sync = 1}, SWEEP_BIT(SWEEP_WRITE),
            SWEEP_BIT(SWEEP_WRITE), QUICK},
        {"build (first, by keys per shard)", op_build, {.fresh = 1, .max_keys_per_shard = 10},
            KINDS_FILES, KINDS_FILES, QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_build);
}

static void test_build__survives_faults_with_sidecars(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"build (sidecars)", op_build, {.changes = 1, .sync = 1, .sidecar = SHARDY_SIDECAR_ALWAYS},
            KINDS_FILES, KINDS_FILES, 3 * QUICK},
        {"build (sidecars, store)", op_build,
            {.changes = 1, .by_store = 1, .sidecar = SHARDY_SIDECAR_ALWAYS},
            KINDS_STORE | KINDS_SHORT, KINDS_STORE, 2 * QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_build);
}

static void test_build__needs_no_threads(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"build (threads)", op_build, {.changes = 1, .threads = 4}, SWEEP_BIT(SWEEP_THREAD),
            SWEEP_BIT(SWEEP_THREAD), 0},
    };
    sweep_trials(cases, 1, trial_new, check_build);
}

static void test_build__survives_faults_of_the_store(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"build (store)", op_build, {.changes = 1, .by_store = 1}, KINDS_STORE | KINDS_SHORT,
            KINDS_STORE, 4 * QUICK},
    };
    sweep_trials(cases, 1, trial_new, check_build);
}

/* --- rollback --------------------------------------------------------------------------------- */

static shardy_status op_rollback(void *state, shardy_error *err)
{
    trial *t = state;
    return dataset_rollback(t->context, t->url, OLD, t->faults, err);
}

static void check_rollback(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    shardy_error next = {0};
    char stamp[DATASET_STAMP_MAX];
    check_pointer(t, status, err, NOW, OLD);
    /* to another one, and to the same again, which may have been left in between */
    if (dataset_rollback(t->context, t->url, NOW, t->faults, &next) < 0 ||
        dataset_rollback(t->context, t->url, OLD, t->faults, &next) < 0 ||
        dataset_rollback(t->context, t->url, OLD, t->faults, &next) < 0) {
        fail_msg("after \"%s\" the next rollback fails: %s", err->message, next.message);
    }
    current_stamp(t, stamp);
    assert_string_equal(stamp, OLD);
}

static void test_rollback__survives_faults(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"rollback", op_rollback, {.changes = 1}, KINDS_FILES, KINDS_FILES, 2 * QUICK},
        {"rollback (store)", op_rollback, {.changes = 1, .by_store = 1}, KINDS_STORE | KINDS_SHORT,
            KINDS_STORE, 2 * QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_rollback);
}

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_status op_open(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_reader_options options;
    char text[16];
    const shardy_key key = dataset_key(0, text);
    shardy_reader_options_init(&options, sizeof options);
    options.store = t->faults;
    if (t->shape->told) {
        options.access = SHARDY_ACCESS_RANGE;
        options.first_key = &key;
    }
    shardy_status st = shardy_reader_open(t->context, t->url, &options, &t->reader, err);
    assert_true((st == SHARDY_OK) == (t->reader != NULL));
    return st;
}

static shardy_status op_get(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < 4; i++) {
        char text[16];
        shardy_buf value;
        dataset_problem problem;
        shardy_key key = dataset_key(i, text);
        st = shardy_reader_get(t->reader, &key, NULL, &value, err);
        assert_int_not_equal(st, SHARDY_NOT_FOUND);
        if (st == SHARDY_OK &&
            !dataset_value_stamp(i, (shardy_bytes){value.data, value.len}, t->answer, &problem)) {
            fail_msg("%s", problem.text);
        }
        assert_true(st == SHARDY_OK || !value.data);
        shardy_buf_release(&value);
    }
    return st;
}

static shardy_status op_open_and_get(void *state, shardy_error *err)
{
    shardy_status st = op_open(state, err);
    return st < 0 ? st : op_get(state, err);
}

/* All rows, over and over, in one call. */
static shardy_status multi_get(trial *t, uint32_t count, shardy_error *err)
{
    static char texts[MANY][16];
    static shardy_key keys[MANY];
    static uint32_t rows[MANY];
    shardy_values values;
    dataset_problem problem;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = i % DATASET_ROWS;
        keys[i] = dataset_key(rows[i], texts[i]);
    }
    shardy_status st = shardy_reader_multi_get(t->reader, keys, count, NULL, &values, err);
    if (st == SHARDY_OK && !dataset_values_stamp(rows, &values, t->answer, &problem)) {
        fail_msg("%s", problem.text);
    }
    assert_int_equal(values.count, st == SHARDY_OK ? count : 0);
    shardy_values_dispose(&values);
    return st;
}

static shardy_status op_multi_get(void *state, shardy_error *err)
{
    return multi_get(state, DATASET_ROWS, err);
}

static shardy_status op_multi_get_many(void *state, shardy_error *err)
{
    return multi_get(state, MANY, err);
}

static shardy_status op_search(void *state, shardy_error *err)
{
    trial *t = state;
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    dataset_problem problem;
    dataset_query(vector, &query);
    shardy_status st = shardy_reader_search(t->reader, &query, NULL, &hits, err);
    if (st == SHARDY_OK && !dataset_hits_stamp(&hits, query.top_k, t->answer, &problem)) {
        fail_msg("%s", problem.text);
    }
    assert_true(st == SHARDY_OK || !hits.hits);
    shardy_hits_dispose(&hits);
    return st;
}

static shardy_status op_refresh(void *state, shardy_error *err)
{
    trial *t = state;
    return shardy_reader_refresh(t->reader, NULL, err);
}

static shardy_status op_info(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_snapshot_info info;
    shardy_shard_details details;
    shardy_status st = shardy_reader_snapshot_info(t->reader, &info, err);
    if (st == SHARDY_OK) {
        st = shardy_reader_shard_details(t->reader, &details, err);
        assert_true(st < 0 || details.count == 2);
        shardy_shard_details_dispose(&details);
        assert_string_equal(info.run_id, NOW);
    }
    shardy_snapshot_info_dispose(&info);
    return st;
}

static shardy_status op_history(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_admin_options options;
    shardy_history history;
    shardy_admin_options_init(&options, sizeof options);
    options.store = t->faults;
    shardy_status st = shardy_history_list(t->context, t->url, 10, &options, &history, err);
    assert_int_equal(history.count, st == SHARDY_OK ? 2 : 0);
    assert_true(st == SHARDY_OK || !history.owner);
    shardy_history_dispose(&history);
    return st;
}

static shardy_status op_verify(void *state, shardy_error *err)
{
    trial *t = state;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.admin.store = t->faults;
    shardy_status st = shardy_verify(t->context, t->url, &options, &result, err);
    assert_true(st == SHARDY_OK || !result.owner);
    shardy_verify_result_dispose(&result);
    return st;
}

/* The reader goes on, or one can be opened now, and what it answers is right. */
static void check_reading(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    shardy_error next = {0};
    (void)status;
    if (!t->reader) {
        shardy_status opened = op_open(t, &next);
        if (opened < 0) {
            fail_msg("after \"%s\" the next open fails: %s", err->message, next.message);
        }
    }
    if (op_get(t, &next) < 0 || op_multi_get(t, &next) < 0 || op_search(t, &next) < 0 ||
        op_refresh(t, &next) < 0) {
        fail_msg("after \"%s\" the next call fails: %s", err->message, next.message);
    }
    assert_string_equal(t->answer, NOW);
}

static void test_reading__survives_faults_of_the_machine(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"open", op_open, {0}, KINDS_LOCAL, 0, QUICK},
        {"get", op_get, {.with_reader = 1}, KINDS_LOCAL, 0, QUICK},
        {"get (pread)", op_get, {.with_reader = 1, .io = SHARDY_IO_PREAD}, KINDS_LOCAL, 0, QUICK},
        {"get (eviction)", op_get, {.with_reader = 1, .warm = 1, .open_shards_max = 1}, KINDS_LOCAL,
            0, QUICK},
        {"multi_get", op_multi_get, {.with_reader = 1}, KINDS_LOCAL, 0, QUICK},
        {"multi_get (pread)", op_multi_get, {.with_reader = 1, .io = SHARDY_IO_PREAD}, KINDS_LOCAL,
            0, QUICK},
        {"multi_get (eviction)", op_multi_get, {.with_reader = 1, .warm = 1, .open_shards_max = 1},
            KINDS_LOCAL, 0, QUICK},
        {"search", op_search, {.with_reader = 1}, KINDS_LOCAL, 0, QUICK},
        {"search (pread)", op_search, {.with_reader = 1, .io = SHARDY_IO_PREAD}, KINDS_LOCAL, 0,
            QUICK},
        {"get (ranges)", op_get, {.by_store = 1, .ranges = 1, .with_reader = 1}, KINDS_LOCAL, AHEAD,
            QUICK},
        {"multi_get (ranges)", op_multi_get, {.by_store = 1, .ranges = 1, .with_reader = 1},
            KINDS_LOCAL, AHEAD, QUICK},
        {"search (ranges)", op_search, {.by_store = 1, .ranges = 1, .with_reader = 1}, KINDS_LOCAL,
            AHEAD, QUICK},
        {"open and get (told)", op_open_and_get, {.by_store = 1, .ranges = 1, .told = 1},
            KINDS_LOCAL, AHEAD | SWEEP_BIT(SWEEP_READ), QUICK},
        {"search (warm)", op_search, {.with_reader = 1, .warm = 1}, SWEEP_BIT(SWEEP_ALLOC), 0,
            QUICK},
        {"info", op_info, {.with_reader = 1}, SWEEP_BIT(SWEEP_ALLOC), 0, QUICK},
        {"history", op_history, {0}, KINDS_LOCAL, 0, QUICK},
        {"verify", op_verify, {0}, KINDS_LOCAL, 0, QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_reading);
}

static void test_reading__needs_no_threads(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"multi_get (threads)", op_multi_get_many, {.with_reader = 1, .threads = 4},
            SWEEP_BIT(SWEEP_THREAD), SWEEP_BIT(SWEEP_THREAD), QUICK},
        {"multi_get (ranges, threads)", op_multi_get,
            {.by_store = 1, .ranges = 1, .with_reader = 1}, SWEEP_BIT(SWEEP_THREAD),
            SWEEP_BIT(SWEEP_THREAD), QUICK},
        {"search (ranges, threads)", op_search, {.by_store = 1, .ranges = 1, .with_reader = 1},
            SWEEP_BIT(SWEEP_THREAD), SWEEP_BIT(SWEEP_THREAD), QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_reading);
}

static void test_reading__survives_faults_of_the_store(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"open (store)", op_open, {.by_store = 1}, KINDS_STORE | KINDS_SHORT, 0, QUICK},
        {"get (store)", op_get, {.by_store = 1, .with_reader = 1}, KINDS_STORE, 0, QUICK},
        {"get (store, pread)", op_get, {.by_store = 1, .with_reader = 1, .io = SHARDY_IO_PREAD},
            KINDS_STORE, 0, QUICK},
        {"multi_get (store)", op_multi_get, {.by_store = 1, .with_reader = 1}, KINDS_STORE, 0,
            QUICK},
        {"search (store)", op_search, {.by_store = 1, .with_reader = 1}, KINDS_STORE, 0, QUICK},
        {"get (ranges, store)", op_get, {.by_store = 1, .ranges = 1, .with_reader = 1},
            KINDS_STORE | KINDS_SHORT, AHEAD, QUICK},
        {"multi_get (ranges, store)", op_multi_get, {.by_store = 1, .ranges = 1, .with_reader = 1},
            KINDS_STORE | KINDS_SHORT, AHEAD, QUICK},
        {"search (ranges, store)", op_search, {.by_store = 1, .ranges = 1, .with_reader = 1},
            KINDS_STORE | KINDS_SHORT, AHEAD, QUICK},
        {"open and get (told, store)", op_open_and_get, {.by_store = 1, .ranges = 1, .told = 1},
            KINDS_STORE | KINDS_SHORT, AHEAD, QUICK},
        {"history (store)", op_history, {.by_store = 1}, KINDS_STORE, 0, QUICK},
        {"verify (store)", op_verify, {.by_store = 1}, KINDS_STORE | KINDS_SHORT, 0, QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], trial_new, check_reading);
}

/* --- refresh ---------------------------------------------------------------------------------- */

/* The reader is open at NOW when the pointer moves to OLD. */
static void *refresh_setup(const void *param)
{
    shardy_error err = {0};
    trial *t = trial_new(param);
    open_reader(t);
    assert_ok(dataset_rollback(NULL, t->url, OLD, NULL, &err));
    return t;
}

static void check_refresh(void *state, shardy_status status, const shardy_error *err)
{
    trial *t = state;
    shardy_error next = {0};
    if (op_search(t, &next) < 0 || op_get(t, &next) < 0) {
        fail_msg("after \"%s\" the next call fails: %s", err->message, next.message);
    }
    assert_string_equal(t->answer, status == SHARDY_OK ? OLD : NOW);
    shardy_health health;
    assert_int_equal(shardy_reader_health(t->reader, -1, &health, &next), SHARDY_OK);
    assert_int_equal(health.refresh_status, status < 0 ? status : SHARDY_OK);
    assert_int_equal(health.status, status < 0 ? SHARDY_DEGRADED : SHARDY_HEALTHY);
    shardy_status st = op_refresh(t, &next);
    if (st != (status == SHARDY_OK ? SHARDY_NOT_MODIFIED : SHARDY_OK)) {
        fail_msg("after \"%s\" the next refresh answers %s: %s", err->message,
            shardy_status_name(st), next.message);
    }
    assert_int_equal(op_multi_get(t, &next), SHARDY_OK);
    assert_string_equal(t->answer, OLD);
}

static void test_refresh__survives_faults(void **state)
{
    (void)state;
    static const trial_case cases[] = {
        {"refresh", op_refresh, {.changes = 1}, KINDS_LOCAL, 0, QUICK},
        {"refresh (store)", op_refresh, {.changes = 1, .by_store = 1}, KINDS_STORE | KINDS_SHORT, 0,
            QUICK},
    };
    sweep_trials(cases, sizeof cases / sizeof cases[0], refresh_setup, check_refresh);
}

/* --- the whole -------------------------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build__survives_faults_of_the_machine),
        cmocka_unit_test(test_build__survives_faults_with_sidecars),
        cmocka_unit_test(test_build__needs_no_threads),
        cmocka_unit_test(test_build__survives_faults_of_the_store),
        cmocka_unit_test(test_rollback__survives_faults),
        cmocka_unit_test(test_reading__survives_faults_of_the_machine),
        cmocka_unit_test(test_reading__needs_no_threads),
        cmocka_unit_test(test_reading__survives_faults_of_the_store),
        cmocka_unit_test(test_refresh__survives_faults),
    };
    const char *only = getenv("SHARDY_TEST_ONLY");
    if (only) {
        cmocka_set_test_filter(only);
    }
    return cmocka_run_group_tests(tests, origin_setup, remove_dirs);
}
