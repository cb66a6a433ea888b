/* The cache of files when memory, the disk or the store fail, with few descriptors, killed at any
 * of its writes, and filled by several processes at once: an answer is right or an error, and
 * nothing stands in the way of the next. */
#include "base/alloc.h"
#include "base/context.h"
#include "sqlitefile/page_source.h"
#include "store/cache_entry.h"
#include "store/file_cache.h"
#include "support/hand_clock.h"
#include "support/store_fixture.h"
#include "support/sums_testing.h"
#include "support/sweep.h"

#include <shardyfusion/sys/testing.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OBJECTS    6u
#define SIZE       (2u * SHARDY_CHUNK_LEN + 100u)
#define ENTRY      (SIZE + 3u * SHARDY_SHA256_LEN + CACHE_TAIL_LEN)
#define POINTS_MAX 2000u

/* --- a store with objects, and a cache -------------------------------------------------------- */

static uint8_t contents[OBJECTS][SIZE];
static sha256 digests[OBJECTS];
static uint8_t lists[OBJECTS][3 * SHARDY_SHA256_LEN];

/* Object 0 has no list, the others have one. */
static int make_contents(void **state)
{
    (void)state;
    support_rand rand = {11};
    for (size_t i = 0; i < OBJECTS; i++) {
        chunk_digest d;
        for (size_t b = 0; b < SIZE; b++) {
            contents[i][b] = (uint8_t)support_rand_u64(&rand);
        }
        digests[i] = sums_make(&d, contents[i], SIZE);
        memcpy(lists[i], d.sums, sizeof lists[i]);
        shardy__chunk_digest_free(&d);
    }
    return 0;
}

typedef struct scene {
    hand_clock clock;
    shardy_context *context;
    shardy_store *memory;
    shardy_store *faults;
    char *dir;
    uint64_t budget;
    int wrong; /* an answer that is neither right nor an error */
} scene;

static void key_of(size_t i, char key[32], char sums[40])
{
    snprintf(key, 32, "%zu/shard.db", i);
    snprintf(sums, 40, "%zu/shard.db.sums", i);
}

static shardy_status put_all(shardy_store *store, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < OBJECTS; i++) {
        char key[32];
        char sums[40];
        key_of(i, key, sums);
        shardy_store_put put = put_of(key, SHARDY_PUT_ALWAYS, "");
        put.body = (shardy_bytes){contents[i], SIZE};
        st = shardy_store_put_object(store, &put, NULL, err);
        if (st >= 0 && i > 0) {
            put.key = bytes_of(sums);
            put.body = (shardy_bytes){lists[i], sizeof lists[i]};
            st = shardy_store_put_object(store, &put, NULL, err);
        }
    }
    return st;
}

/* With a clock of a hand, whose sleeps take no time and are counted; `dir` stays the caller's. */
static shardy_status scene_open(scene *s, char *dir, uint64_t budget, shardy_error *err)
{
    memset(s, 0, sizeof *s);
    s->dir = dir;
    s->budget = budget;
    s->context = hand_clock_context(&s->clock);
    shardy_status st = shardy_store_open_mem(s->context, &s->memory, err);
    st = st < 0 ? st : put_all(s->memory, err);
    return st < 0 ? st : shardy_store_wrap_fault(s->context, s->memory, &s->faults, err);
}

static void scene_close(scene *s)
{
    shardy_store_close(s->faults);
    shardy_store_close(s->memory);
    shardy_context_free(s->context);
}

static shardy_status open_source(
    scene *s, file_cache *cache, size_t i, page_source **source_out, shardy_error *err)
{
    char key[32];
    char sums[40];
    page_source_options options;
    key_of(i, key, sums);
    shardy__page_source_options_init(&options);
    options.digest = &digests[i];
    options.size = SIZE;
    options.files = cache;
    return shardy__page_source_open_object(s->faults, key, &options, source_out, err);
}

/* Opens an object and reads all of it. */
static shardy_status read_object(scene *s, file_cache *cache, size_t i, shardy_error *err)
{
    page_source *source;
    shardy_status st = open_source(s, cache, i, &source, err);
    if (st != SHARDY_OK) {
        s->wrong |= st > 0;
        return st;
    }
    st = shardy__page_source_verify_all(source, err);
    s->wrong |= st >= 0 && (source->size != SIZE || memcmp(source->base, contents[i], SIZE) != 0);
    shardy__page_source_close(source);
    return st;
}

/* Two objects without evictions, one that takes the room of another, one that is there. */
static shardy_status work(scene *s, shardy_error *err)
{
    static const size_t order[] = {0, 1, 2, 2};
    file_cache *cache;
    shardy_status st = shardy__file_cache_open(s->context, s->dir, s->budget, &cache, err);
    for (size_t i = 0; st >= 0 && i < sizeof order / sizeof order[0]; i++) {
        st = read_object(s, cache, order[i], err);
    }
    shardy__file_cache_close(cache);
    return st;
}

static uint64_t sum_of_files(const char *dir, const char *folder)
{
    char name[40];
    uint64_t sum = 0;
    snprintf(name, sizeof name, "shardyfusion-1/%s", folder);
    char path[600];
    snprintf(path, sizeof path, "%s", support_path(dir, name));
    DIR *d = opendir(path);
    struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        struct stat info;
        if (stat(support_path(path, entry->d_name), &info) == 0 && S_ISREG(info.st_mode)) {
            sum += (uint64_t)info.st_size;
        }
    }
    if (d) {
        closedir(d);
    }
    return sum;
}

/* Whatever has happened in the directory before: everything is read right through it, without
 * waiting for anybody, and then only whole entries are there, within the budget. */
static void check_after(char *dir, uint64_t budget)
{
    shardy_error err = {0};
    scene s;
    file_cache *cache;
    assert_ok(scene_open(&s, dir, budget, &err));
    assert_ok(shardy__file_cache_open(s.context, dir, budget, &cache, &err));
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_ok(read_object(&s, cache, i, &err));
        assert_false(s.wrong);
    }
    assert_int_equal(shardy_context_metric(s.context, SHARDY_METRIC_FILE_CACHE_BYPASSES), 0);
    assert_int_equal(s.clock.sleeps, 0);
    assert_int_equal(support_count_entries(support_path(dir, "shardyfusion-1/fill")), 0);
    uint64_t sum = sum_of_files(dir, "files");
    assert_true(sum <= budget && sum % ENTRY == 0 && sum > 0);
    shardy__file_cache_close(cache);
    scene_close(&s);
}

/* --- failures --------------------------------------------------------------------------------- */

static void *setup_scene(const void *param)
{
    shardy_error err = {0};
    scene *s = malloc(sizeof *s);
    assert_non_null(s);
    assert_ok(scene_open(s, support_make_dir(), 2 * (uint64_t)ENTRY, &err));
    if (param) { /* a cache that is full */
        assert_ok(work(s, &err));
    }
    return s;
}

static shardy_status operation(void *state, shardy_error *err)
{
    return work(state, err);
}

static shardy_store *faults_of(void *state)
{
    scene *s = state;
    return s->faults;
}

static void check_scene(void *state, shardy_status status, const shardy_error *err)
{
    scene *s = state;
    (void)status;
    (void)err;
    assert_false(s->wrong);
    check_after(s->dir, s->budget);
}

static void teardown_scene(void *state)
{
    scene *s = state;
    char *dir = s->dir;
    scene_close(s);
    support_remove_dir(dir);
    free(s);
}

/* What fails on the disk is passed by: the answers are right, or the cache could not be opened.
 * Half of a list that is not there is no failure. */
static void test_fault__any_failure_is_told_or_passed_by(void **state)
{
    (void)state;
    sweep_case c = {.name = "an empty cache",
        .kinds = SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_WRITE) | SWEEP_BIT(SWEEP_READ) |
                 SWEEP_BIT(SWEEP_STORE_BEFORE) | SWEEP_BIT(SWEEP_STORE_AFTER) |
                 SWEEP_BIT(SWEEP_STORE_SHORT),
        .absorbs = SWEEP_BIT(SWEEP_WRITE) | SWEEP_BIT(SWEEP_READ) | SWEEP_BIT(SWEEP_STORE_SHORT),
        .setup = setup_scene,
        .operation = operation,
        .check = check_scene,
        .teardown = teardown_scene,
        .fault_store = faults_of};
    sweep_run(&c);
    c.name = "a full cache";
    c.param = "full";
    sweep_run(&c);
}

/* --- hostile neighbours ----------------------------------------------------------------------- */

static void run_in_child(int (*run)(char *dir), char *dir)
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
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "in the child: %s: %s\n", what, detail);
    return 1;
}

/* All objects at once, and then again with less and less room for descriptors. */
static int run_with_few_descriptors(char *dir)
{
    shardy_error err = {0};
    scene s;
    file_cache *cache;
    struct rlimit limit = {32, 32};
    page_source *sources[OBJECTS];
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return complain("setrlimit", strerror(errno));
    }
    if (scene_open(&s, dir, 2 * (uint64_t)ENTRY, &err) < 0 ||
        shardy__file_cache_open(s.context, dir, s.budget, &cache, &err) < 0) {
        return complain("opening", err.message);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (open_source(&s, cache, i, &sources[i], &err) != SHARDY_OK) {
            return complain("all at once", err.message);
        }
    }
    for (size_t i = 0; i < OBJECTS; i++) { /* most of them were evicted */
        if (shardy__page_source_verify_all(sources[i], &err) < 0 ||
            memcmp(sources[i]->base, contents[i], SIZE) != 0) {
            return complain("all at once", err.message);
        }
        shardy__page_source_close(sources[i]);
    }
    for (rlim_t most = 32; most > 0; most--) {
        limit.rlim_cur = most;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return complain("setrlimit", strerror(errno));
        }
        for (size_t i = 0; i < OBJECTS; i++) {
            if (read_object(&s, cache, i, &err) != SHARDY_OK || s.wrong) {
                return complain("with few descriptors", err.message);
            }
        }
    }
    int passed = shardy_context_metric(s.context, SHARDY_METRIC_FILE_CACHE_BYPASSES) > 0 ? 0 : 2;
    shardy__file_cache_close(cache);
    scene_close(&s);
    return passed;
}

static void test_scarcity__without_descriptors_objects_are_read_without_the_cache(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    run_in_child(run_with_few_descriptors, dir);
    check_after(dir, 2 * (uint64_t)ENTRY);
    support_remove_dir(dir);
}

static int run_with_small_files(char *dir)
{
    shardy_error err = {0};
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    if (sigaction(SIGXFSZ, &ignore, NULL) != 0) {
        return complain("sigaction", strerror(errno));
    }
    for (rlim_t most = ENTRY + 1; most > 0; most = most > 20000 ? most - 20000 : most - 1) {
        struct rlimit limit = {most, RLIM_INFINITY};
        scene s;
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
            return complain("setrlimit", strerror(errno));
        }
        if (scene_open(&s, dir, 2 * (uint64_t)ENTRY, &err) < 0 || work(&s, &err) < 0 || s.wrong) {
            return complain("with small files", err.message);
        }
        scene_close(&s);
        if (most < 20000) {
            break;
        }
    }
    return 0;
}

static void test_scarcity__a_limit_of_file_sizes_is_passed_by(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    run_in_child(run_with_small_files, dir);
    check_after(dir, 2 * (uint64_t)ENTRY);
    support_remove_dir(dir);
}

/* --- kills ------------------------------------------------------------------------------------ */

static void run_killed_child(char *dir, uint64_t nth, int32_t after)
{
    shardy_error err = {0};
    scene s;
    if (scene_open(&s, dir, 2 * (uint64_t)ENTRY, &err) < 0) {
        _exit(100);
    }
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, nth, after);
    shardy_status st = work(&s, &err);
    shardy_testing_kill_at(SHARDY_FAULT_WRITE, 0, 0);
    scene_close(&s);
    _exit(st < 0 || s.wrong ? 101 : 0);
}

/* Returns 1 when the child came to its end. */
static int run_killed(uint64_t nth, int32_t after, int is_full)
{
    shardy_error err = {0};
    char *dir = support_make_dir();
    if (is_full) {
        scene s;
        assert_ok(scene_open(&s, dir, 2 * (uint64_t)ENTRY, &err));
        assert_ok(work(&s, &err));
        scene_close(&s);
    }
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_killed_child(dir, nth, after);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    int ended = WIFEXITED(status);
    if (ended) {
        assert_int_equal(WEXITSTATUS(status), 0);
    } else {
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    check_after(dir, 2 * (uint64_t)ENTRY);
    support_remove_dir(dir);
    return ended;
}

static void run_all(int32_t after, int is_full)
{
    if (!shardy_testing_fault_points()) {
        print_message("skipped: this build has no fault points\n");
        skip();
    }
    uint64_t nth = 1;
    while (!run_killed(nth, after, is_full)) {
        nth++;
        assert_true(nth < POINTS_MAX);
    }
    assert_true(nth > 20); /* three fills, each of some writes, and an eviction */
    print_message("killed %s %llu operations that write, the cache %s\n",
        after ? "after" : "before", (unsigned long long)nth - 1, is_full ? "full" : "empty");
}

static void test_kill__before_or_after_any_write_leaves_nothing_in_the_way(void **state)
{
    (void)state;
    for (int32_t after = 0; after < 2; after++) {
        run_all(after, 0);
        run_all(after, 1);
    }
}

/* --- processes -------------------------------------------------------------------------------- */

enum {
    PROCESSES = 4,
    ROUNDS = 40
};

static int run_process(char *dir, int number)
{
    shardy_error err = {0};
    scene s;
    file_cache *cache;
    shardy_context *context; /* with real time: others have to get on while this one waits */
    support_rand rand = {(uint64_t)number + 1};
    if (scene_open(&s, dir, 3 * (uint64_t)ENTRY, &err) < 0 ||
        shardy_context_new(NULL, &context, &err) < 0) {
        return complain("opening", err.message);
    }
    for (int i = 0; i < ROUNDS; i++) {
        if (shardy__file_cache_open(context, dir, s.budget, &cache, &err) < 0) {
            return complain("the cache", err.message);
        }
        for (int k = 0; k < 3; k++) {
            size_t at = (size_t)support_rand_below(&rand, OBJECTS);
            if (read_object(&s, cache, at, &err) != SHARDY_OK || s.wrong) {
                return complain("reading", err.message);
            }
        }
        shardy__file_cache_close(cache);
    }
    shardy_context_free(context);
    scene_close(&s);
    return 0;
}

/* More objects than there is room for: all the time somebody fills, waits and removes. */
static void test_processes__that_fill_and_evict_at_once_read_right(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    pid_t children[PROCESSES];
    fflush(NULL);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(run_process(dir, i));
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    uint64_t sum = sum_of_files(dir, "files");
    assert_true(sum <= 3 * (uint64_t)ENTRY && sum % ENTRY == 0);
    check_after(dir, 3 * (uint64_t)ENTRY);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault__any_failure_is_told_or_passed_by),
        cmocka_unit_test(test_scarcity__without_descriptors_objects_are_read_without_the_cache),
        cmocka_unit_test(test_scarcity__a_limit_of_file_sizes_is_passed_by),
        cmocka_unit_test(test_kill__before_or_after_any_write_leaves_nothing_in_the_way),
        cmocka_unit_test(test_processes__that_fill_and_evict_at_once_read_right),
    };
    return cmocka_run_group_tests(tests, make_contents, NULL);
}
