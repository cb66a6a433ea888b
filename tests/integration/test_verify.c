/* Verification with several threads: what it finds, and the order in which it tells it, do not
 * depend on how many there are. Small snapshots, which one thread verifies, are flipped bit by bit
 * in tests/fault/test_bit_flips.c. */
#include "support/dataset.h"
#include "support/support.h"
#include "support/trip_store.h"

#include <shardyfusion/shardyfusion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static shardy_error err;

#define SHARDS    5u
#define VALUE_LEN 8000u
#define ROWS      3000u /* 24 MB in all: several pieces an object, enough for all threads */

typedef struct fixture {
    char *dir;
    char shards[SHARDS][300]; /* directories, relative to the root */
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    shardy_writer_options options;
    shardy_writer *w;
    shardy_build_result result;
    support_rand rand = {support_seed()};
    static uint8_t value[VALUE_LEN];
    f->dir = support_make_dir();
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = SHARDS;
    options.run_id = "one";
    options.sync = 0;
    assert_ok(shardy_writer_open(NULL, f->dir, &options, &w, &err));
    for (uint32_t i = 0; i < ROWS; i++) {
        char key[16];
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_text(key, (size_t)snprintf(key, sizeof key, "key%u", i));
        for (size_t at = 0; at < VALUE_LEN; at += 8) {
            uint64_t r = support_rand_u64(&rand);
            memcpy(value + at, &r, 8);
        }
        row.value.data = value;
        row.value.len = VALUE_LEN;
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    assert_ok(shardy_writer_finish(w, &result, &err));
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
    for (uint32_t i = 0; i < SHARDS; i++) {
        snprintf(f->shards[i], sizeof f->shards[i], "shards/run_id=one/db=%05u/attempt=00", i);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    support_remove_dir(f->dir);
    free(f);
    return 0;
}

static const char *path_of(const fixture *f, uint32_t shard, const char *name)
{
    static char path[700];
    snprintf(path, sizeof path, "%s/%s/%s", f->dir, f->shards[shard], name);
    return path;
}

static void change_byte(const char *path, size_t offset)
{
    size_t len;
    char *bytes = support_read_file(path, &len);
    bytes[offset < len ? offset : len - 1] ^= 1;
    support_write_file(path, bytes, len);
    free(bytes);
}

static shardy_verify_result verify(const fixture *f, uint32_t threads, int deep)
{
    shardy_context_options context_options;
    shardy_context *context;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_context_options_init(&context_options, sizeof context_options);
    context_options.threads = threads;
    assert_ok(shardy_context_new(&context_options, &context, &err));
    shardy_verify_options_init(&options, sizeof options);
    options.deep = deep;
    assert_ok(shardy_verify(context, f->dir, &options, &result, &err));
    shardy_context_free(context);
    return result;
}

typedef struct expected_damage {
    uint32_t shard;
    const char *name;
    uint64_t offset;
} expected_damage;

static void check(const fixture *f, uint32_t threads, const expected_damage *expected, size_t count)
{
    shardy_verify_result result = verify(f, threads, 0);
    assert_int_equal(result.status, count ? SHARDY_VERIFY_DAMAGED : SHARDY_VERIFY_OK);
    assert_int_equal(result.damaged_count, count);
    for (size_t i = 0; i < count; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", f->shards[expected[i].shard], expected[i].name);
        assert_string_equal(result.damaged[i].path, path);
        assert_int_equal(result.damaged[i].offset, expected[i].offset);
    }
    shardy_verify_result_dispose(&result);
}

static void test_verify__reads_every_byte_once_whatever_the_number_of_threads(void **state)
{
    const fixture *f = *state;
    uint64_t bytes = 0;
    uint64_t objects = 0;
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        shardy_verify_result result = verify(f, threads, 1);
        assert_int_equal(result.status, SHARDY_VERIFY_OK);
        assert_true(result.bytes > (uint64_t)ROWS * VALUE_LEN);
        assert_true(threads == 1 || (result.bytes == bytes && result.objects == objects));
        bytes = result.bytes;
        objects = result.objects;
        shardy_verify_result_dispose(&result);
    }
}

static void test_verify__names_all_damage_in_the_order_of_the_objects(void **state)
{
    const fixture *f = *state;
    size_t len;
    /* the last byte, one in the middle, two in one object, a list of digests, a byte too many */
    free(support_read_file(path_of(f, 0, "shard.db"), &len));
    change_byte(path_of(f, 0, "shard.db"), len - 1);
    change_byte(path_of(f, 1, "shard.db"), 3u << 20);
    change_byte(path_of(f, 1, "shard.db"), 2u << 20);
    change_byte(path_of(f, 2, "shard.db.sums"), 40);
    change_byte(path_of(f, 3, "shard.db.sums"), 40);
    change_byte(path_of(f, 3, "shard.db"), 100000);
    assert_int_equal(unlink(path_of(f, 4, "shard.db")), 0);
    const expected_damage expected[] = {
        {0, "shard.db", (len - 1) & ~(uint64_t)0xffff},
        {1, "shard.db", 2u << 20},
        {2, "shard.db.sums", 0},
        {3, "shard.db.sums", 0},
        {3, "shard.db", 0}, /* which chunk it is cannot be told without the list */
        {4, "shard.db", 0},
    };
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        check(f, threads, expected, sizeof expected / sizeof expected[0]);
    }
}

static void test_verify__does_without_the_lists_of_digests(void **state)
{
    const fixture *f = *state;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(unlink(path_of(f, i, "shard.db.sums")), 0);
    }
    check(f, 4, NULL, 0);
    change_byte(path_of(f, 3, "shard.db"), 3u << 20);
    const expected_damage expected = {3, "shard.db", 0};
    check(f, 4, &expected, 1);
}

static void test_verify__an_object_of_another_size_is_not_read_to_its_end(void **state)
{
    const fixture *f = *state;
    size_t len;
    char *bytes = support_read_file(path_of(f, 2, "shard.db"), &len);
    support_write_file(path_of(f, 2, "shard.db"), bytes, len - 1);
    free(bytes);
    const expected_damage expected = {2, "shard.db", len - 1};
    check(f, 1, &expected, 1);
    check(f, 4, &expected, 1);
}

typedef struct progress_seen {
    pthread_t thread;
    uint64_t last;
    int calls;
    int stop_after;
} progress_seen;

static int32_t on_progress(void *user, uint64_t done, uint64_t total)
{
    progress_seen *seen = user;
    assert_true(pthread_equal(seen->thread, pthread_self()));
    assert_true(done >= seen->last && done <= total + total / 100 + 1);
    seen->last = done;
    return ++seen->calls == seen->stop_after;
}

static void test_verify__tells_its_progress_on_the_calling_thread_and_can_be_stopped(void **state)
{
    const fixture *f = *state;
    for (int stop_after = 0; stop_after <= 2; stop_after++) {
        progress_seen seen = {pthread_self(), 0, 0, stop_after};
        shardy_verify_options options;
        shardy_verify_result result;
        shardy_verify_options_init(&options, sizeof options);
        options.threads = 4;
        options.deep = 1;
        options.progress = on_progress;
        options.progress_user = &seen;
        assert_status(stop_after ? SHARDY_CANCELLED : SHARDY_OK,
            shardy_verify(NULL, f->dir, &options, &result, &err));
        assert_true(seen.calls >= (stop_after ? stop_after : 1));
        shardy_verify_result_dispose(&result);
    }
}

static void test_verify__every_failing_read_is_told_and_nothing_is_leaked(void **state)
{
    const fixture *f = *state;
    uint64_t calls = 1;
    uint64_t failed = 1;
    for (uint64_t nth = 1; failed > 0; nth++) {
        shardy_store *inner;
        shardy_store *store;
        shardy_verify_options options;
        shardy_verify_result result;
        assert_ok(shardy_store_open_fs(NULL, f->dir, NULL, &inner, &err));
        assert_ok(shardy_store_wrap_fault(NULL, inner, &store, &err));
        shardy_store_fault_set(store, nth, 0, SHARDY_FAULT_BEFORE, SHARDY_IO);
        shardy_verify_options_init(&options, sizeof options);
        options.threads = 4;
        options.admin.store = store;
        shardy_status st = shardy_verify(NULL, NULL, &options, &result, &err);
        shardy_store_fault_counts(store, &calls, &failed);
        assert_int_equal(st, failed ? SHARDY_IO : SHARDY_OK);
        shardy_verify_result_dispose(&result);
        shardy_store_close(store);
        shardy_store_close(inner);
    }
    assert_true(calls > 30);
}

/* --- shards in a bucket ----------------------------------------------------------------------- */

typedef struct bucket_shape {
    const char *what;
    uint32_t rows;
    uint32_t value_len; /* one in 16 is twice as long */
    uint32_t dim;
} bucket_shape;

/* A snapshot of one shard below `dir`, which is read through a store without local files. */
static void build_one(const char *dir, const bucket_shape *shape)
{
    shardy_writer_options options;
    shardy_writer *w;
    support_rand rand = {support_seed()};
    uint8_t *value = malloc(2 * (size_t)shape->value_len + 8);
    float vector[256];
    for (size_t at = 0; at < 2 * (size_t)shape->value_len; at += 8) {
        uint64_t r = support_rand_u64(&rand);
        memcpy(value + at, &r, 8);
    }
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 1;
    options.sync = 0;
    assert_ok(shardy_writer_open(NULL, dir, &options, &w, &err));
    for (uint32_t i = 0; i < shape->rows; i++) {
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_int(i);
        row.value = (shardy_bytes){value, shape->value_len * (i % 16 ? 1 : 2)};
        for (uint32_t d = 0; d < shape->dim; d++) {
            vector[d] = (float)(1 + (i + d) % 7);
        }
        row.vector = shape->dim ? vector : NULL;
        row.dim = shape->dim;
        row.has_payload = shape->dim > 0;
        row.payload = (shardy_bytes){"{\"a\": 1}", 8};
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    free(value);
}

static shardy_verify_result verify_bucket(const char *dir, int deep, trip_counts *counts_out)
{
    shardy_store *files;
    shardy_store *bucket;
    shardy_verify_options options;
    shardy_verify_result result;
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &files, &err));
    assert_ok(trip_store_open(files, &bucket, &err));
    shardy_verify_options_init(&options, sizeof options);
    options.deep = deep;
    options.threads = 1;
    options.admin.store = bucket;
    assert_ok(shardy_verify(NULL, NULL, &options, &result, &err));
    *counts_out = trip_store_take(bucket);
    shardy_store_close(bucket);
    shardy_store_close(files);
    return result;
}

static const bucket_shape bucket_shapes[] = {
    {"small rows", 500000, 60, 0},
    {"values of 1 KB", 10000, 1000, 0},
    {"values of two pages", 5000, 8000, 0},
    {"values of 30 KB", 1200, 30000, 0},
    {"values of 100 KB", 400, 100000, 0},
    {"values of 3 MB", 16, 3000000, 0},
    {"vectors", 40000, 100, 256},
};

static void test_verify__a_deep_one_reads_a_bucket_once_by_large_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bucket_shapes / sizeof *bucket_shapes; i++) {
        const bucket_shape *shape = &bucket_shapes[i];
        trip_counts flat;
        trip_counts deep;
        char *dir = support_make_dir();
        build_one(dir, shape);
        shardy_verify_result result = verify_bucket(dir, 0, &flat);
        assert_int_equal(result.status, SHARDY_VERIFY_OK);
        shardy_verify_result_dispose(&result);
        result = verify_bucket(dir, 1, &deep);
        assert_int_equal(result.status, SHARDY_VERIFY_OK);
        const uint64_t bytes = deep.bytes - flat.bytes;
        const uint32_t requests = deep.requests - flat.requests;
        print_message("%s: %llu bytes by digests in %u requests, then %llu in %u\n", shape->what,
            (unsigned long long)flat.bytes, flat.requests, (unsigned long long)bytes, requests);
        assert_true(flat.bytes > 30u << 20);
        assert_true(bytes <= flat.bytes + flat.bytes / 4);
        assert_true(requests <= 20 + 4 * (flat.bytes >> 20));
        shardy_verify_result_dispose(&result);
        support_remove_dir(dir);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTED 0 /* shadow memory counts as well */
#else
#define COUNTED 1
#endif

static const bucket_shape LARGE = {"larger than what is held", 150000, 900, 0};

static void build_large(const char *dir)
{
    build_one(dir, &LARGE);
}

static void verify_large(const char *dir)
{
    trip_counts counts;
    shardy_verify_result result = verify_bucket(dir, 1, &counts);
    assert_int_equal(result.status, SHARDY_VERIFY_OK);
    assert_true(result.bytes > 130u << 20);
    shardy_verify_result_dispose(&result);
}

/* The most memory that a process of its own took, in MiB. */
static uint64_t peak_of(void (*work)(const char *dir), const char *dir)
{
    pid_t child = fork();
    int status;
    struct rusage usage;
    assert_true(child >= 0);
    if (child == 0) {
        work(dir);
        _exit(0);
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_int_equal(status, 0);
    return (uint64_t)usage.ru_maxrss >> 10;
}

static void test_verify__a_deep_one_of_a_bucket_holds_a_part_of_a_shard_only(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    (void)peak_of(build_large, dir);
    const uint64_t mib = peak_of(verify_large, dir);
    print_message("peak %llu MiB\n", (unsigned long long)mib);
    assert_true(!COUNTED || mib <= 96); /* a shard has more than 130 */
    support_remove_dir(dir);
}

typedef struct walk_seen {
    uint64_t bytes; /* of all objects: so many have been read when the walk begins */
    uint32_t calls; /* since then */
    uint32_t stop;  /* not 0: the call that stops it */
    shardy_cancel *cancel;
} walk_seen;

static int32_t on_walk(void *user, uint64_t done, uint64_t total)
{
    walk_seen *seen = user;
    (void)total;
    if (done >= seen->bytes && ++seen->calls == seen->stop) {
        if (!seen->cancel) {
            return 1;
        }
        shardy_cancel_request(seen->cancel);
    }
    return 0;
}

static void test_verify__a_deep_one_tells_its_progress_within_a_shard_and_stops_there(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    shardy_cancel *cancel;
    trip_counts counts;
    build_one(dir, &bucket_shapes[1]);
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_verify_result result = verify_bucket(dir, 0, &counts);
    walk_seen seen[] = {{0, 0, 0, NULL}, {0, 0, 10, NULL}, {0, 0, 10, cancel}};
    for (size_t i = 0; i < 3; i++) {
        shardy_verify_options options;
        shardy_verify_result walked;
        seen[i].bytes = result.bytes;
        shardy_verify_options_init(&options, sizeof options);
        options.deep = 1;
        options.threads = 1;
        options.progress = on_walk;
        options.progress_user = &seen[i];
        options.admin.cancel = cancel;
        assert_status(seen[i].stop ? SHARDY_CANCELLED : SHARDY_OK,
            shardy_verify(NULL, dir, &options, &walked, &err));
        assert_true(seen[i].stop ? seen[i].calls == seen[i].stop : seen[i].calls > 30);
        shardy_verify_result_dispose(&walked);
    }
    shardy_verify_result_dispose(&result);
    shardy_cancel_free(cancel);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_verify__reads_every_byte_once_whatever_the_number_of_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_verify__names_all_damage_in_the_order_of_the_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_verify__does_without_the_lists_of_digests, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_verify__an_object_of_another_size_is_not_read_to_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_verify__tells_its_progress_on_the_calling_thread_and_can_be_stopped, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_verify__every_failing_read_is_told_and_nothing_is_leaked, setup, teardown),
        cmocka_unit_test(test_verify__a_deep_one_reads_a_bucket_once_by_large_ranges),
        cmocka_unit_test(test_verify__a_deep_one_of_a_bucket_holds_a_part_of_a_shard_only),
        cmocka_unit_test(test_verify__a_deep_one_tells_its_progress_within_a_shard_and_stops_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
