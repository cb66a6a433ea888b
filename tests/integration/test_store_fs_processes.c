/* Several processes write to one directory: what holds for threads holds for them. */
#include "support/store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESSES = 4,
    ROUNDS = 60
};

typedef int (*run_fn)(shardy_store *store, int number);

/* Runs PROCESSES writers, each with a handle of its own, half of them without what only Linux has;
 * they all start at once. The exit status of each is what run() answers. */
static void run_processes(const char *root, run_fn run)
{
    pid_t children[PROCESSES];
    int gate[2];
    char byte;
    assert_int_equal(pipe(gate), 0);
    fflush(NULL);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            close(gate[1]);
            shardy_store *store = fixture_open_fs(root, i % 2);
            if (read(gate[0], &byte, 1) != 0) {
                _exit(100);
            }
            int answer = run(store, i);
            shardy_store_close(store);
            _exit(answer);
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* The number in an object and its version. */
static shardy_status read_number(
    shardy_store *store, const char *key, long *number_out, shardy_object_meta *meta)
{
    shardy_error err = {0};
    shardy_buf body;
    char text[32] = "";
    shardy_status st = shardy_store_get(store, key, 0, sizeof text - 1, &body, meta, &err);
    if (st == SHARDY_OK) {
        memcpy(text, body.data, body.len);
        *number_out = strtol(text, NULL, 10);
    }
    shardy_buf_release(&body);
    return st;
}

static int count_up(shardy_store *store, int number)
{
    (void)number;
    for (int done = 0; done < ROUNDS;) {
        shardy_error err = {0};
        shardy_object_meta meta;
        long value;
        char text[32];
        if (read_number(store, "counter", &value, &meta) != SHARDY_OK) {
            return 1;
        }
        snprintf(text, sizeof text, "%ld", value + 1);
        shardy_status st =
            put_text(store, "counter", SHARDY_PUT_IF_MATCH, meta.etag.text, text, NULL, &err);
        if (st != SHARDY_OK && st != SHARDY_CONFLICT) {
            fprintf(stderr, "%s\n", err.message);
            return 2;
        }
        done += st == SHARDY_OK;
    }
    return 0;
}

static void test_processes__lose_no_update_under_a_condition(void **state)
{
    fixture *f = *state;
    long value = 0;
    shardy_object_meta meta;
    put_ok(f->store, "counter", "0");
    run_processes(f->root, count_up);
    assert_int_equal(read_number(f->store, "counter", &value, &meta), SHARDY_OK);
    assert_int_equal(value, PROCESSES * ROUNDS);
}

static int create_all(shardy_store *store, int number)
{
    for (int i = 0; i < ROUNDS; i++) {
        shardy_error err = {0};
        char key[32];
        char mine[32];
        snprintf(key, sizeof key, "created/%d/k", i);
        shardy_status st = put_text(store, key, SHARDY_PUT_IF_ABSENT, NULL, "created", NULL, &err);
        if (st != SHARDY_OK && st != SHARDY_EXISTS) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        if (st == SHARDY_OK) {
            snprintf(mine, sizeof mine, "won/%d/%d", i, number);
            put_ok(store, mine, "x");
        }
    }
    return 0;
}

static void test_processes__exactly_one_creates_a_key(void **state)
{
    fixture *f = *state;
    run_processes(f->root, create_all);
    for (int i = 0; i < ROUNDS; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "won/%d/", i);
        char *text = list_text(f->store, prefix, 0, 100);
        size_t winners = 0;
        for (const char *p = text; *p; p++) {
            winners += *p == ' ';
        }
        assert_int_equal(winners, 1);
        free(text);
    }
}

/* Objects that come and go in a directory that is removed whenever it is empty. */
static int come_and_go(shardy_store *store, int number)
{
    char key[32];
    snprintf(key, sizeof key, "x/y/%d", number);
    for (int i = 0; i < ROUNDS; i++) {
        shardy_error err = {0};
        shardy_status st = put_text(
            store, key, i % 2 ? SHARDY_PUT_ALWAYS : SHARDY_PUT_IF_ABSENT, NULL, "here", NULL, &err);
        if (st == SHARDY_OK) {
            st = remove_key(store, key, &err);
        }
        if (st != SHARDY_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
    }
    return 0;
}

static void test_processes__may_remove_each_others_directories(void **state)
{
    fixture *f = *state;
    run_processes(f->root, come_and_go);
    assert_listing(f->store, "", 0, "");
    assert_int_equal(access(support_path(f->root, "x"), F_OK), -1);
}

/* Handles that are opened and closed all the time look for dead scratch and never take a living
 * one's. */
static int come_and_sweep(shardy_store *store, int number)
{
    shardy_error err = {0};
    const char *scratch;
    char file[4096];
    char root[4096];
    if (shardy_store_scratch(store, &scratch, &err) != SHARDY_OK) {
        return 1;
    }
    snprintf(file, sizeof file, "%s/kept", scratch);
    support_write_file(file, "x", 1);
    snprintf(root, sizeof root, "%s", scratch);
    *strstr(root, "/.shardyfusion") = '\0';
    for (int i = 0; i < ROUNDS; i++) {
        char key[32];
        shardy_store *other = fixture_open_fs(root, i % 2);
        snprintf(key, sizeof key, "%d/%d", number, i);
        put_ok(other, key, "x");
        shardy_store_close(other);
        if (access(file, F_OK) != 0) {
            return 2;
        }
    }
    return 0;
}

static void test_processes__never_sweep_a_living_ones_scratch(void **state)
{
    fixture *f = *state;
    run_processes(f->root, come_and_sweep);
    char *text = list_text(f->store, "", 0, 1000);
    size_t count = 0;
    for (const char *p = text; *p; p++) {
        count += *p == ' ';
    }
    assert_int_equal(count, PROCESSES * ROUNDS);
    free(text);
    assert_int_equal(count_leftovers(f->root), 0);
}

int main(void)
{
    static const scenario on_files[] = {FS};
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_processes__lose_no_update_under_a_condition),
        STORE_TEST(test_processes__exactly_one_creates_a_key),
        STORE_TEST(test_processes__may_remove_each_others_directories),
        STORE_TEST(test_processes__never_sweep_a_living_ones_scratch),
    };
    return fixture_run(tests, sizeof tests / sizeof tests[0], on_files, 1);
}
