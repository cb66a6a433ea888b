/* What a writer promises: retries, refusals, cancellation, conflicts, and that nothing of a build
 * that did not succeed is ever visible. */
#include "catalog/fate.h"
#include "support/hand_clock.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    300u
#define NUM_DBS 3u

static shardy_error err;

/* --- a store whose puts can be watched -------------------------------------------------------- */

typedef struct watched_store {
    shardy_store *inner;
    const char *fails_on; /* puts of keys that contain this fail ... */
    uint32_t failures;    /* ... so many times ... */
    int32_t status;       /* ... with this status */
    /* called before each put; may be NULL */
    void (*before_put)(void *user, const char *key);
    void *user;
    uint32_t failed;
} watched_store;

static uint64_t watched_caps(void *store)
{
    return shardy_store_caps(((watched_store *)store)->inner);
}

static void watched_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    shardy_store_read_start(((watched_store *)store)->inner, reads, n, done, user);
}

static shardy_status watched_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *error)
{
    return shardy_store_head_within(
        ((watched_store *)store)->inner, key.data, limits, meta_out, error);
}

static shardy_status watched_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *error)
{
    watched_store *w = store;
    char key[600];
    snprintf(key, sizeof key, "%.*s", (int)put->key.len, (const char *)put->key.data);
    if (w->before_put) {
        w->before_put(w->user, key);
    }
    if (w->fails_on && strstr(key, w->fails_on) && w->failed < w->failures) {
        w->failed++;
        error->status = w->status;
        error->retriable = w->status == SHARDY_UNAVAILABLE;
        snprintf(error->message, sizeof error->message, "made to fail");
        return w->status;
    }
    return shardy_store_put_object(w->inner, put, meta_out, error);
}

static shardy_status watched_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *error)
{
    return shardy_store_list_within(((watched_store *)store)->inner, what, page_out, error);
}

static shardy_status watched_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *error)
{
    return shardy_store_remove_within(
        ((watched_store *)store)->inner, keys, n, limits, results_out, error);
}

static void watched_close(void *store)
{
    (void)store;
}

static const shardy_store_ops watched_ops = {.abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "watched",
    .caps = watched_caps,
    .read = watched_read,
    .head = watched_head,
    .put = watched_put,
    .list = watched_list,
    .remove = watched_remove,
    .close = watched_close};

/* --- builds ----------------------------------------------------------------------------------- */

typedef struct writer_fixture {
    hand_clock clock;
    shardy_context *context;
    watched_store watched;
    shardy_store *store;
} writer_fixture;

static int setup(void **state)
{
    writer_fixture *f = calloc(1, sizeof *f);
    f->context = hand_clock_context(&f->clock);
    assert_ok(shardy_store_open_mem(f->context, &f->watched.inner, &err));
    assert_ok(shardy_store_new_take(f->context, &watched_ops, &f->watched, &f->store, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    writer_fixture *f = *state;
    shardy_store_close(f->store);
    shardy_store_close(f->watched.inner);
    shardy_context_free(f->context);
    free(f);
    return 0;
}

static void make_options(writer_fixture *f, const char *run, shardy_writer_options *options)
{
    shardy_writer_options_init(options, sizeof *options);
    options->run_id = run;
    options->num_dbs = NUM_DBS;
    options->store = f->store;
    options->sync = 0;
}

static shardy_status put_rows(shardy_writer *w, const char *run)
{
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; i < ROWS && st >= 0; i++) {
        char value[64];
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_int(i);
        row.value.len = (size_t)snprintf(value, sizeof value, "%s-%u", run, i);
        row.value.data = value;
        st = shardy_writer_put(w, &row, &err);
    }
    return st;
}

static shardy_status build(
    writer_fixture *f, const shardy_writer_options *options, shardy_build_result *result)
{
    shardy_writer *w;
    shardy_status st = shardy_writer_open(f->context, NULL, options, &w, &err);
    if (st >= 0) {
        st = put_rows(w, options->run_id);
    }
    if (st >= 0) {
        st = shardy_writer_finish(w, result, &err);
    }
    shardy_writer_close(w);
    return st;
}

static size_t count_keys(shardy_store *store, const char *part)
{
    shardy_store_page page;
    size_t count = 0;
    assert_ok(shardy_store_list(store, "", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        count += strstr(page.entries[i].key, part) != NULL;
    }
    shardy_store_page_dispose(&page);
    return count;
}

/* The text of the run record of a run. Free it. */
static char *run_record(shardy_store *store, const char *run)
{
    shardy_store_page page;
    char *text = NULL;
    assert_ok(shardy_store_list(store, "runs/", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count && !text; i++) {
        const char *key = page.entries[i].key;
        if (strstr(key, run) && strstr(key, "/run.yaml")) {
            shardy_buf body;
            assert_ok(shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
            text = strndup(body.data, body.len);
            shardy_buf_release(&body);
        }
    }
    shardy_store_page_dispose(&page);
    assert_non_null(text);
    return text;
}

static void check_nothing_visible(writer_fixture *f, const char *run, const char *status)
{
    char line[64];
    assert_int_equal(count_keys(f->watched.inner, "_CURRENT"), 0);
    assert_int_equal(count_keys(f->watched.inner, "manifests/"), 0);
    assert_int_equal(count_keys(f->watched.inner, "shards/"), 0);
    char *record = run_record(f->watched.inner, run);
    assert_non_null(strstr(record, "status: failed"));
    snprintf(line, sizeof line, "error_type: %s", status);
    if (!strstr(record, line)) {
        fail_msg("the record of the run does not say %s:\n%s", line, record);
    }
    free(record);
}

static void check_snapshot(writer_fixture *f, const char *run)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    options.store = f->watched.inner;
    assert_ok(shardy_reader_open(f->context, NULL, &options, &reader, &err));
    for (uint32_t i = 0; i < ROWS; i += 7) {
        char expected[64];
        shardy_buf value;
        shardy_key key = shardy_key_int(i);
        int len = snprintf(expected, sizeof expected, "%s-%u", run, i);
        assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
        assert_int_equal(value.len, len);
        assert_memory_equal(value.data, expected, (size_t)len);
        shardy_buf_release(&value);
    }
    shardy_reader_close(reader);
}

/* --- retries ---------------------------------------------------------------------------------- */

static void test_writer__repeats_a_shard_with_growing_pauses_and_removes_the_losers(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_build_result result;
    make_options(f, "retry", &options);
    f->watched.fails_on = "db=00001/";
    f->watched.failures = 2;
    f->watched.status = SHARDY_UNAVAILABLE;
    assert_ok(build(f, &options, &result));
    assert_int_equal(result.attempts, NUM_DBS + 2);
    assert_int_equal(f->clock.slept_us, 1000000 + 2000000);
    assert_int_equal(count_keys(f->watched.inner, "db=00001/attempt=02/shard.db"), 1);
    assert_int_equal(count_keys(f->watched.inner, "db=00001/attempt=02/shard.sidecar"), 1);
    assert_int_equal(count_keys(f->watched.inner, "db=00001/"), 2);
    assert_int_equal(shardy_context_metric(f->context, SHARDY_METRIC_SHARD_RETRIES), 2);
    shardy_build_result_dispose(&result);
    check_snapshot(f, "retry");
}

static void test_writer__gives_up_after_the_last_retry_and_leaves_nothing(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    make_options(f, "hopeless", &options);
    options.max_retries = 2;
    f->watched.fails_on = "db=00001/";
    f->watched.failures = UINT32_MAX;
    f->watched.status = SHARDY_UNAVAILABLE;
    assert_status(SHARDY_UNAVAILABLE, build(f, &options, NULL));
    assert_int_equal(f->watched.failed, 3);
    assert_non_null(strstr(err.message, "shard 1"));
    check_nothing_visible(f, "hopeless", "UNAVAILABLE");
}

static void test_writer__does_not_repeat_what_cannot_get_better(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    make_options(f, "denied", &options);
    f->watched.fails_on = "db=00002/";
    f->watched.failures = UINT32_MAX;
    f->watched.status = SHARDY_AUTH;
    assert_status(SHARDY_AUTH, build(f, &options, NULL));
    assert_int_equal(f->watched.failed, 1);
    assert_int_equal(f->clock.sleeps, 0);
    check_nothing_visible(f, "denied", "AUTH");
}

/* --- ends that are no success ----------------------------------------------------------------- */

typedef struct stopper {
    const char *phase; /* cancel in this one */
    char seen[64];     /* first letters of the phases, in order */
} stopper;

static int32_t stop_in_phase(void *user, const shardy_progress *progress)
{
    stopper *s = user;
    size_t len = strlen(s->seen);
    if ((len == 0 || s->seen[len - 1] != progress->phase[0]) && len + 1 < sizeof s->seen) {
        s->seen[len] = progress->phase[0];
    }
    assert_true(progress->shards_done <= NUM_DBS);
    return s->phase && strcmp(s->phase, progress->phase) == 0;
}

static void test_writer__tells_its_phases_in_order(void **state)
{
    writer_fixture *f = *state;
    stopper s = {NULL, ""};
    shardy_writer_options options;
    make_options(f, "phases", &options);
    options.progress = stop_in_phase;
    options.progress_user = &s;
    assert_ok(build(f, &options, NULL));
    assert_string_equal(s.seen, "rbpd");
}

static void test_writer__can_be_cancelled_in_each_phase(void **state)
{
    writer_fixture *f = *state;
    static const char *const phases[] = {"read", "build", "publish"};
    for (size_t i = 0; i < 3; i++) {
        stopper s = {phases[i], ""};
        shardy_writer_options options;
        make_options(f, phases[i], &options);
        options.progress = stop_in_phase;
        options.progress_user = &s;
        assert_status(SHARDY_CANCELLED, build(f, &options, NULL));
        check_nothing_visible(f, phases[i], "CANCELLED");
    }
    shardy_writer_options options;
    make_options(f, "after", &options);
    assert_ok(build(f, &options, NULL));
    check_snapshot(f, "after");
}

static void test_writer__closed_before_its_end_leaves_nothing(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_writer *w;
    make_options(f, "closed", &options);
    assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
    assert_ok(put_rows(w, "closed"));
    shardy_writer_close(w);
    check_nothing_visible(f, "closed", "CANCELLED");
}

static void test_writer__a_failure_while_publishing_leaves_the_old_snapshot(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    make_options(f, "old", &options);
    assert_ok(build(f, &options, NULL));
    static const char *const keys[] = {"manifests/", "_CURRENT"};
    for (size_t i = 0; i < 2; i++) {
        make_options(f, i == 0 ? "new-a" : "new-b", &options);
        f->watched.fails_on = keys[i];
        f->watched.failures = 1;
        f->watched.failed = 0;
        f->watched.status = SHARDY_AUTH;
        assert_status(SHARDY_AUTH, build(f, &options, NULL));
        assert_int_equal(f->watched.failed, 1);
        check_snapshot(f, "old");
    }
    assert_int_equal(count_keys(f->watched.inner, "new-a/db="), 0);
}

/* --- conflicts -------------------------------------------------------------------------------- */

static void publish_before_pointer(void *user, const char *key)
{
    writer_fixture *f = user;
    if (strcmp(key, "_CURRENT") == 0) {
        f->watched.before_put = NULL;
        shardy_writer_options options;
        make_options(f, "winner", &options);
        assert_ok(build(f, &options, NULL));
    }
}

static void test_writer__the_slower_of_two_is_told_by_whom(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    make_options(f, "loser", &options);
    f->watched.before_put = publish_before_pointer;
    f->watched.user = f;
    assert_status(SHARDY_CONFLICT, build(f, &options, NULL));
    assert_non_null(strstr(err.message, "winner"));
    check_snapshot(f, "winner");
    /* complete, and can be had */
    shardy_rollback_target target;
    shardy_admin_options admin;
    shardy_rollback_target_init(&target, sizeof target);
    shardy_admin_options_init(&admin, sizeof admin);
    target.run_id = "loser";
    admin.store = f->watched.inner;
    assert_ok(shardy_rollback(f->context, NULL, &target, &admin, NULL, &err));
    check_snapshot(f, "loser");
}

/* As a cleanup does it that took the writer for dead, while shards are uploaded. */
static void condemn_before_shards(void *user, const char *key)
{
    writer_fixture *f = user;
    shardy_store *store = f->watched.inner;
    shardy_store_page page;
    fate of_run;
    int32_t result;
    if (!strstr(key, "/shard.db")) {
        return;
    }
    f->watched.before_put = NULL;
    assert_ok(shardy__fate_load(store, "late", &of_run, &err));
    assert_ok(shardy__fate_change(f->context, store, &of_run, FATE_CONDEMNED, &err));
    assert_ok(shardy_store_list(store, "runs/", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        if (strstr(page.entries[i].key, "run.yaml")) {
            shardy_bytes gone = {page.entries[i].key, strlen(page.entries[i].key)};
            assert_ok(shardy_store_remove(store, &gone, 1, &result, &err));
        }
    }
    shardy_store_page_dispose(&page);
}

static void test_writer__a_run_that_was_condemned_and_cleaned_up_stays_gone(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    make_options(f, "late", &options);
    f->watched.before_put = condemn_before_shards;
    f->watched.user = f;
    assert_status(SHARDY_FENCED, build(f, &options, NULL));
    assert_int_equal(count_keys(f->watched.inner, "shards/"), 0);
    assert_int_equal(count_keys(f->watched.inner, "manifests/"), 0);
    assert_int_equal(count_keys(f->watched.inner, "run.yaml"), 0);
    assert_int_equal(count_keys(f->watched.inner, "/fate"), 1);
}

static void test_writer__a_run_id_belongs_to_one_run(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_writer *w;
    make_options(f, "once", &options);
    assert_ok(build(f, &options, NULL));
    assert_status(SHARDY_EXISTS, shardy_writer_open(f->context, NULL, &options, &w, &err));
    assert_non_null(strstr(err.message, "once"));
    assert_null(w);
    check_snapshot(f, "once");
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_writer__a_build_that_is_refused_has_not_used_up_its_run_id(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_writer *w;
    make_options(f, "again", &options);
    const char *good = options.scratch_dir;
    options.scratch_dir = "/dev/null/no directory";
    assert_true(shardy_writer_open(f->context, NULL, &options, &w, &err) < 0);
    options.scratch_dir = good;
    const uint32_t num_dbs = options.num_dbs;
    options.num_dbs = UINT32_MAX;
    assert_status(SHARDY_INVALID, shardy_writer_open(f->context, NULL, &options, &w, &err));
    options.num_dbs = num_dbs;
    assert_ok(build(f, &options, NULL));
    check_snapshot(f, "again");
}

static void test_writer__a_refused_row_is_not_taken_and_the_next_one_is(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_writer *w;
    make_options(f, "refusal", &options);
    options.key_encoding = SHARDY_KEY_ENCODING_U32BE;
    options.engine = "sqlite-vec";
    options.dim = 2;
    assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
    const float vectors[5][2] = {{1, 2}, {0, 0}, {1, 0}, {3, 4}, {5, 6}};
    shardy_row rows[5];
    for (size_t i = 0; i < 5; i++) {
        shardy_row_init(&rows[i], sizeof rows[i]);
        rows[i].key = shardy_key_int((int64_t)i);
        rows[i].value.data = "v";
        rows[i].value.len = 1;
        rows[i].vector = vectors[i];
        rows[i].dim = 2;
    }
    size_t taken = 99;
    assert_status(SHARDY_INVALID, shardy_writer_put_rows(w, rows, 5, &taken, &err));
    assert_int_equal(taken, 1);
    rows[2].key = shardy_key_int(INT64_C(1) << 32);
    assert_status(SHARDY_INVALID, shardy_writer_put(w, &rows[2], &err));
    assert_non_null(strstr(err.message, "4294967296"));
    rows[3].dim = 1;
    assert_status(SHARDY_INVALID, shardy_writer_put(w, &rows[3], &err));
    rows[3].dim = 2;
    rows[3].key = shardy_key_text("text", 4);
    assert_status(SHARDY_INVALID, shardy_writer_put(w, &rows[3], &err));
    assert_ok(shardy_writer_put(w, &rows[4], &err));
    shardy_build_result result;
    assert_ok(shardy_writer_finish(w, &result, &err));
    assert_int_equal(result.rows_taken, 2);
    assert_int_equal(result.row_count, 2);
    assert_int_equal(result.vector_count, 2);
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
}

static shardy_row small_row(shardy_key key, const float *vector, uint32_t dim)
{
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.key = key;
    row.value.data = "v";
    row.value.len = 1;
    row.vector = vector;
    row.dim = dim;
    return row;
}

/* Whether what decides is refused by the check, by the router or for its dimension. */
static void test_writer__a_refused_row_decides_nothing_for_those_after_it(void **state)
{
    writer_fixture *f = *state;
    const float nan_vector[4] = {NAN, 1, 1, 1};
    const float vector[4] = {1, 2, 3, 4};
    static char long_key[SHARDY_KEY_LEN_MAX + 1];
    const shardy_row refused[] = {small_row(shardy_key_cstr("a"), nan_vector, 4),
        small_row(shardy_key_text(long_key, sizeof long_key), vector, 4),
        small_row(shardy_key_cstr("a"), vector, SHARDY_DIM_MAX + 1)};
    memset(long_key, 'k', sizeof long_key);
    for (size_t i = 0; i < 2 * sizeof refused / sizeof refused[0]; i++) {
        shardy_writer_options options;
        shardy_build_result result;
        shardy_writer *w;
        char run_id[16];
        snprintf(run_id, sizeof run_id, "decide-%zu", i);
        make_options(f, run_id, &options);
        options.key_encoding = SHARDY_KEY_ENCODING_AUTO;
        options.num_dbs = i % 2 ? 0 : 2;
        options.max_keys_per_shard = i % 2 ? 10 : 0;
        assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
        assert_status(SHARDY_INVALID, shardy_writer_put(w, &refused[i / 2], &err));
        shardy_row row = small_row(shardy_key_int(7), i < 4 ? vector : NULL, i < 4 ? 3 : 0);
        assert_ok(shardy_writer_put(w, &row, &err));
        row.key = shardy_key_int(8);
        assert_ok(shardy_writer_put(w, &row, &err));
        row = small_row(shardy_key_int(9), nan_vector, i < 4 ? 3 : 4);
        assert_status(SHARDY_INVALID, shardy_writer_put(w, &row, &err));
        assert_ok(shardy_writer_finish(w, &result, &err));
        assert_int_equal(result.row_count, 2);
        assert_int_equal(result.vector_count, i < 4 ? 2 : 0);
        shardy_build_result_dispose(&result);
        shardy_writer_close(w);
    }
}

static void change_options(shardy_writer_options *o, size_t number)
{
    switch (number) {
    case 0:
        o->page_size = 1000;
        break;
    case 1:
        o->page_size = 131072;
        break;
    case 2:
        o->engine = "leveldb";
        break;
    case 3:
        o->run_id = "a/b";
        break;
    case 4:
        o->memory_budget = SHARDY_MEMORY_BUDGET_MIN - 1;
        break;
    case 5:
        o->custom = "{\"vector\": 1}";
        break;
    case 6:
        o->custom = "[1]";
        break;
    case 7:
        o->shard_prefix = "../up";
        break;
    case 8:
        o->max_keys_per_shard = 10; /* and num_dbs */
        break;
    case 9:
        o->retry_multiplier = 0.0;
        break;
    default:
        o->metric = 77;
    }
}

static void test_writer__without_rows_replaces_nothing_unless_it_may(void **state)
{
    writer_fixture *f = *state;
    shardy_writer_options options;
    shardy_writer *w;
    static const char *const runs[] = {"empty-1", "empty-2"};
    for (size_t i = 0; i < 2; i++) {
        make_options(f, runs[i], &options);
        assert_int_equal(options.allow_empty, 1);
        options.allow_empty = 0;
        assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
        assert_status(SHARDY_INVALID, shardy_writer_finish(w, NULL, &err));
        assert_non_null(strstr(err.message, "allow_empty"));
        shardy_writer_close(w);
        if (i == 0) {
            check_nothing_visible(f, runs[i], "INVALID");
            make_options(f, "full", &options);
            assert_ok(build(f, &options, NULL));
        }
        check_snapshot(f, "full");
    }
    make_options(f, "other", &options);
    options.allow_empty = 0; /* with rows it makes no difference */
    assert_ok(build(f, &options, NULL));
    check_snapshot(f, "other");
}

static void test_writer__options_that_make_no_sense_are_refused_before_anything_is_written(
    void **state)
{
    writer_fixture *f = *state;
    static const char *const named[] = {"1000", "131072", "leveldb", "a/b", "memory", "vector",
        "custom", "../up", "num_dbs", "retry_multiplier", "77"};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        shardy_writer_options options;
        shardy_writer *w;
        make_options(f, "options", &options);
        change_options(&options, i);
        shardy_status st = shardy_writer_open(f->context, NULL, &options, &w, &err);
        if ((st != SHARDY_INVALID && st != SHARDY_UNSUPPORTED && st != SHARDY_CONFIG) ||
            !strstr(err.message, named[i])) {
            fail_msg("case %zu: %s: %s", i, shardy_status_name(st), err.message);
        }
        assert_null(w);
        assert_int_equal(count_keys(f->watched.inner, ""), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_writer__repeats_a_shard_with_growing_pauses_and_removes_the_losers, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__gives_up_after_the_last_retry_and_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__does_not_repeat_what_cannot_get_better, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer__tells_its_phases_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__can_be_cancelled_in_each_phase, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__closed_before_its_end_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__a_failure_while_publishing_leaves_the_old_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__the_slower_of_two_is_told_by_whom, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__a_run_that_was_condemned_and_cleaned_up_stays_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer__a_run_id_belongs_to_one_run, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__a_build_that_is_refused_has_not_used_up_its_run_id, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__without_rows_replaces_nothing_unless_it_may, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__a_refused_row_decides_nothing_for_those_after_it, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__a_refused_row_is_not_taken_and_the_next_one_is, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_writer__options_that_make_no_sense_are_refused_before_anything_is_written, setup,
            teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
