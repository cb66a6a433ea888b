/* A writer is killed at each of its operations that write: what is left is the old or the new
 * object, and the next writer can go on. */
#include "support/store_fixture.h"

#include <shardyfusion/sys/testing.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POINTS_MAX 2000

/* What the killed writer does, in order: each step is one object, from its old to its new content.
 * NULL: it is not there. */
typedef struct step {
    const char *key;
    const char *before;
    const char *after;
} step;

static const step steps[] = {
    {"always", "old always", "new always, longer"},
    {"a/b/created", NULL, "created"},
    {"cas", "old cas", "new cas"},
    {"s/streamed", NULL, "part part part "},
    {"t/taken", NULL, "from the scratch"},
    {"copied", "old copied", "from outside"},
    {"r/removed/x", "to be removed", NULL},
};
enum {
    STEPS = sizeof steps / sizeof steps[0]
};

static shardy_status put_in_scratch(shardy_store *store, shardy_error *err)
{
    const char *scratch;
    shardy_status st = shardy_store_scratch(store, &scratch, err);
    if (st < 0) {
        return st;
    }
    const char *file = support_path(scratch, "made");
    support_write_file(file, steps[4].after, strlen(steps[4].after));
    shardy_store_put put = put_of(steps[4].key, SHARDY_PUT_IF_ABSENT, "");
    put.file_path = file;
    return shardy_store_put_object(store, &put, NULL, err);
}

static shardy_status put_copy(shardy_store *store, const char *file, shardy_error *err)
{
    shardy_store_put put = put_of(steps[5].key, SHARDY_PUT_ALWAYS, "");
    put.file_path = file;
    return shardy_store_put_object(store, &put, NULL, err);
}

static shardy_status put_version(shardy_store *store, shardy_error *err)
{
    shardy_object_meta meta;
    shardy_status st = shardy_store_head(store, steps[2].key, &meta, err);
    return st < 0 ? st
                  : put_text(store, steps[2].key, SHARDY_PUT_IF_MATCH, meta.etag.text,
                        steps[2].after, NULL, err);
}

static shardy_status do_step(shardy_store *store, size_t i, const char *input, shardy_error *err)
{
    stream parts = {"part ", 3, SHARDY_DONE};
    shardy_store_put put;
    switch (i) {
    case 0:
        return put_text(store, steps[0].key, SHARDY_PUT_ALWAYS, NULL, steps[0].after, NULL, err);
    case 1:
        return put_text(store, steps[1].key, SHARDY_PUT_IF_ABSENT, NULL, steps[1].after, NULL, err);
    case 2:
        return put_version(store, err);
    case 3:
        put = put_of(steps[3].key, SHARDY_PUT_IF_ABSENT, "");
        put.next = next_part;
        put.next_user = &parts;
        return shardy_store_put_object(store, &put, NULL, err);
    case 4:
        return put_in_scratch(store, err);
    case 5:
        return put_copy(store, input, err);
    default:
        return remove_key(store, steps[6].key, err);
    }
}

static shardy_store *open_store(const char *root, shardy_error *err)
{
    shardy_store *store = NULL;
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    return shardy_store_open_fs(NULL, root, &options, &store, err) == SHARDY_OK ? store : NULL;
}

/* The child: does all steps, unless it is killed. Its exit status tells the step that failed. */
static void run_writer(const char *root, const char *input, uint64_t nth, int32_t after)
{
    shardy_error err = {0};
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, nth, after);
    shardy_store *store = open_store(root, &err);
    if (!store) {
        _exit(100);
    }
    for (size_t i = 0; i < STEPS; i++) {
        if (do_step(store, i, input, &err) < 0) {
            fprintf(stderr, "step %zu: %s\n", i, err.message);
            _exit(101 + (int)i);
        }
    }
    shardy_store_close(store);
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, 0, 0);
    _exit(0);
}

static int content_is(shardy_store *store, const char *key, const char *content)
{
    shardy_error err = {0};
    shardy_buf body;
    shardy_status st = shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err);
    if (st == SHARDY_NOT_FOUND) {
        return content == NULL;
    }
    assert_ok(st);
    int same = content && body.len == strlen(content) && !memcmp(body.data, content, body.len);
    shardy_buf_release(&body);
    return same;
}

/* Each object is old or new; all steps before one that was not done were done. Returns how many
 * were done. */
static size_t check_objects(shardy_store *store, uint64_t nth)
{
    size_t done = 0;
    for (size_t i = 0; i < STEPS; i++) {
        int is_old = content_is(store, steps[i].key, steps[i].before);
        int is_new = content_is(store, steps[i].key, steps[i].after);
        if (!is_old && !is_new) {
            fail_msg("killed at %llu: \"%s\" is neither old nor new", (unsigned long long)nth,
                steps[i].key);
        }
        if (is_new && done != i) {
            fail_msg("killed at %llu: step %zu was done, step %zu was not", (unsigned long long)nth,
                i, done);
        }
        done += is_new ? 1 : 0;
    }
    return done;
}

/* The listing has the objects that can be read and nothing else. */
static void check_listing(shardy_store *store, size_t done)
{
    static const size_t by_key[STEPS] = {1, 0, 2, 5, 6, 3, 4};
    char expected[300] = "";
    size_t len = 0;
    for (size_t n = 0; n < STEPS; n++) {
        size_t i = by_key[n];
        if (i < done ? steps[i].after != NULL : steps[i].before != NULL) {
            len += (size_t)snprintf(expected + len, sizeof expected - len, "%s ", steps[i].key);
        }
    }
    assert_listing(store, "", 0, expected);
}

/* Somebody else goes on: does what was not done, and takes the dead one's scratch away. */
static void check_next_writer(const char *root, const char *input, size_t done)
{
    shardy_error err = {0};
    shardy_store *store = fixture_open_fs(root, 0);
    for (size_t i = done; i < STEPS; i++) {
        assert_ok(do_step(store, i, input, &err));
    }
    assert_ok(put_version(store, &err));
    assert_int_equal(check_objects(store, 0), STEPS);
    assert_int_equal(support_count_entries(support_path(root, ".shardyfusion/tmp")), 1);
    shardy_store_close(store);
    assert_int_equal(support_count_entries(support_path(root, ".shardyfusion/tmp")), 0);
    assert_int_equal(support_count_entries(support_path(root, ".shardyfusion")), 2);
}

/* One run; returns 1 when the writer came to its end. */
static int run_killed(uint64_t nth, int32_t after, size_t *done_out)
{
    char *root = support_make_dir();
    char *dir = support_make_dir();
    char input[600];
    snprintf(input, sizeof input, "%s", support_path(dir, "input"));
    support_write_file(input, steps[5].after, strlen(steps[5].after));
    shardy_store *store = fixture_open_fs(root, 0);
    for (size_t i = 0; i < STEPS; i++) {
        if (steps[i].before) {
            put_ok(store, steps[i].key, steps[i].before);
        }
    }
    shardy_store_close(store);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_writer(root, input, nth, after);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    int ended = WIFEXITED(status);
    if (ended) {
        assert_int_equal(WEXITSTATUS(status), 0);
    } else {
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    store = fixture_open_fs(root, 0);
    *done_out = check_objects(store, nth);
    check_listing(store, *done_out);
    shardy_store_close(store);
    check_next_writer(root, input, *done_out);
    support_remove_dir(root);
    support_remove_dir(dir);
    return ended;
}

static void run_all(int32_t after)
{
    if (!shardy_testing_fault_points()) {
        print_message("skipped: this build has no fault points\n");
        skip();
    }
    size_t last = 0;
    size_t seen[STEPS + 1] = {0};
    uint64_t nth = 1;
    for (;; nth++) {
        size_t done;
        int ended = run_killed(nth, after, &done);
        assert_true(done >= last);
        seen[done]++;
        last = done;
        if (ended) {
            break;
        }
        assert_true(nth < POINTS_MAX);
    }
    /* a kill can come before, between and after all steps, and the whole was done once */
    assert_int_equal(last, STEPS);
    assert_true(nth > 3 * STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        assert_true(seen[i] > 0);
    }
    print_message("killed %s %llu operations that write\n", after ? "after" : "before",
        (unsigned long long)nth - 1);
}

static void test_kill__before_each_write_leaves_whole_objects(void **state)
{
    (void)state;
    run_all(0);
}

static void test_kill__after_each_write_leaves_whole_objects(void **state)
{
    (void)state;
    run_all(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill__before_each_write_leaves_whole_objects),
        cmocka_unit_test(test_kill__after_each_write_leaves_whole_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
