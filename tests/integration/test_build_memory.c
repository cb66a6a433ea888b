/* The peak of memory of a process that builds more than its budget holds: what the system counted,
 * code, stacks and libraries included, is at most the budget and 64 MiB, and a row for each thread
 * where rows are large. */
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUDGET   SHARDY_MEMORY_BUDGET_MIN
#define OVER_MIB 64u
#define DIM      64u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTED 0 /* shadow memory counts as well */
#else
#define COUNTED 1
#endif

static shardy_error err;

typedef struct memory_shape {
    uint32_t rows;
    uint32_t value_len;
    uint32_t num_dbs;
    uint32_t threads;
    int vectors;
} memory_shape;

/* Much more than the budget, in random order. */
static int build(const char *dir, const memory_shape *shape, uint64_t seed)
{
    char *value = calloc(1, shape->value_len);
    float vector[DIM];
    support_rand rand = {seed};
    shardy_writer *w;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = shape->num_dbs;
    options.threads = shape->threads;
    options.memory_budget = BUDGET;
    options.sync = 0;
    shardy_status st = shardy_writer_open(NULL, dir, &options, &w, &err);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.value = (shardy_bytes){value, shape->value_len};
    for (uint32_t i = 0; st >= 0 && i < shape->rows; i++) {
        row.key = shardy_key_int((int64_t)(support_rand_u64(&rand) >> 1));
        memset(value, (int)(i & 0xff), shape->value_len);
        for (uint32_t d = 0; shape->vectors && d < DIM; d++) {
            vector[d] = (float)(support_rand_below(&rand, 2000) + 1);
        }
        if (shape->vectors) {
            row.vector = vector;
            row.dim = DIM;
        }
        st = shardy_writer_put(w, &row, &err);
    }
    st = st >= 0 ? shardy_writer_finish(w, NULL, &err) : st;
    shardy_writer_close(w);
    free(value);
    return st >= 0;
}

static void check_peak(const memory_shape *shape)
{
    char *dir = support_make_dir();
    uint64_t seed = support_seed();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(build(dir, shape, seed) ? 0 : 1);
    }
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_int_equal(status, 0);
    uint64_t peak_mib = (uint64_t)usage.ru_maxrss >> 10;
    uint64_t rows_mib = (uint64_t)shape->value_len * shape->threads >> 20;
    uint64_t allowed_mib = (BUDGET >> 20) + OVER_MIB + rows_mib;
    print_message(
        "peak %llu MiB of %llu\n", (unsigned long long)peak_mib, (unsigned long long)allowed_mib);
    assert_true(!COUNTED || peak_mib <= allowed_mib);
    shardy_reader *reader;
    shardy_snapshot_info info;
    assert_ok(shardy_reader_open(NULL, dir, NULL, &reader, &err));
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_int_equal(info.row_count, shape->rows);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    support_remove_dir(dir);
}

static void test_memory__of_a_build_of_small_rows_is_bounded(void **state)
{
    (void)state;
    check_peak(&(memory_shape){1500000, 100, 8, 2, 0});
}

static void test_memory__of_a_build_of_large_rows_into_many_shards_is_bounded(void **state)
{
    (void)state;
    check_peak(&(memory_shape){60000, 4000, 200, 4, 0});
}

/* Four rows fill a page: a fifth of the pages are interior ones, 100 MB. */
static void test_memory__of_a_build_of_rows_that_nearly_fill_pages_is_bounded(void **state)
{
    (void)state;
    check_peak(&(memory_shape){500000, 900, 2, 2, 0});
}

static void test_memory__of_a_build_of_rows_of_megabytes_is_bounded(void **state)
{
    (void)state;
    check_peak(&(memory_shape){70, 4 << 20, 2, 2, 0});
    check_peak(&(memory_shape){20, 16 << 20, 4, 4, 0});
}

static void test_memory__of_a_build_with_vectors_is_bounded(void **state)
{
    (void)state;
    check_peak(&(memory_shape){600000, 40, 4, 2, 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory__of_a_build_of_small_rows_is_bounded),
        cmocka_unit_test(test_memory__of_a_build_of_large_rows_into_many_shards_is_bounded),
        cmocka_unit_test(test_memory__of_a_build_of_rows_that_nearly_fill_pages_is_bounded),
        cmocka_unit_test(test_memory__of_a_build_of_rows_of_megabytes_is_bounded),
        cmocka_unit_test(test_memory__of_a_build_with_vectors_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
