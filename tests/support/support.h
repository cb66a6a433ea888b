/* support.h: what every test program needs. */
#ifndef SHARDY_TESTS_SUPPORT_H
#define SHARDY_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shardyfusion/base.h>
#include <shardyfusion/status.h>

/* Of functions in headers, which not every program calls. */
#define MAYBE_UNUSED __attribute__((unused))

/* Asserts the status of a call and prints the error message when it is another one. */
#define assert_status(expected, call)                                                              \
    support_assert_status((expected), (call), &err, #call, __FILE__, __LINE__)
#define assert_ok(call) assert_status(SHARDY_OK, call)

void support_assert_status(
    int expected, int got, const shardy_error *err, const char *call, const char *file, int line);

/* A new empty directory of its own for a test; removed by support_remove_dir(). */
char *support_make_dir(void);
/* Removes a directory with all it holds and frees the name. */
void support_remove_dir(char *path);
/* Entries of a directory; 0 when there is none. */
size_t support_count_entries(const char *path);
/* Path of a file below a directory; borrowed until the next eight calls. */
const char *support_path(const char *dir, const char *name);

/* Whole content of a file, zero-terminated; fails the test when there is none. Free with free(). */
char *support_read_file(const char *path, size_t *len_out);
void support_write_file(const char *path, const void *data, size_t len);

/* Ends the program, naming what it does, should that last so many seconds. NULL: it is done. For
 * what would hang if something were wrong; not for measuring. */
void support_watch(const char *what, unsigned seconds);

/* Seeded random numbers (splitmix64): print the seed when a randomised test fails. */
typedef struct support_rand {
    uint64_t state;
} support_rand;
uint64_t support_rand_u64(support_rand *rand);
/* 0 .. bound - 1 */
uint64_t support_rand_below(support_rand *rand, uint64_t bound);
/* The seed of this run: SHARDY_TEST_SEED from the environment or 1; printed. */
uint64_t support_seed(void);

/* A file of this repository, e.g. support_source("tests/golden/..."). */
const char *support_source(const char *relative);

/* Path of the oracle sqlite-vec (a loadable extension of SQLite). Without it the test is skipped
 * with a printed reason, or fails when the environment says CI=true. */
const char *support_vec0(void);

#endif
