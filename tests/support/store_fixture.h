/* store_fixture.h: the stores that the library has, each in turn under the same tests. */
#ifndef SHARDY_TESTS_STORE_FIXTURE_H
#define SHARDY_TESTS_STORE_FIXTURE_H

#include "server.h"
#include "support.h"

#include <shardyfusion/sys/store.h>

typedef enum scenario {
    FS = 0,
    FS_PORTABLE,
    MEM,
    STATS_MEM,
    FAULT_FS,
    S3,
    S3_MOTO,
    SCENARIO_COUNT
} scenario;

typedef struct fixture {
    scenario scenario;
    char *root; /* NULL: no files */
    shardy_store *inner;
    shardy_store *store; /* `inner`, or a store around it */
} fixture;

/* Setup and teardown of a test: the state is a fixture of the scenario that is on. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define STORE_TEST(function)                                                                       \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

/* Runs the tests over each of the scenarios; returns how many failed. */
int fixture_run(const struct CMUnitTest *tests, size_t count, const scenario *list, size_t n);

int fixture_has_files(const fixture *f);
/* Each call is a request to a server. */
int fixture_is_remote(const fixture *f);
/* A store of a bucket of a test server, and what it holds. Objects of more than two parts are
 * uploaded in parts. */
#define FIXTURE_PART_SIZE ((size_t)5 << 20)
shardy_store *fixture_open_s3(const server *s, const char *url);
void fixture_empty(shardy_store *store);
/* A directory as a store, without syncing. */
shardy_store *fixture_open_fs(const char *root, int32_t portable);

shardy_bytes bytes_of(const char *text);
shardy_store_put put_of(const char *key, shardy_put_condition condition, const char *body);
shardy_store_read read_of(const char *key, uint64_t offset, uint64_t len);
shardy_status put_text(shardy_store *store, const char *key, shardy_put_condition condition,
    const char *etag, const char *body, shardy_object_meta *meta, shardy_error *err);
void put_ok(shardy_store *store, const char *key, const char *body);
shardy_status remove_key(shardy_store *store, const char *key, shardy_error *err);
void assert_object(shardy_store *store, const char *key, const char *expected);
void assert_no_object(shardy_store *store, const char *key);
/* Reads three parts of the object "k", which is "0123456789", `each` times in each of READ_THREADS
 * threads. Returns how many reads failed with `may_fail` (OK: none may); the test fails when one
 * ends otherwise, or with other bytes. */
#define READ_THREADS 8u
uint64_t read_in_threads(shardy_store *store, uint32_t each, shardy_status may_fail);
/* All keys of a listing, in pages of `limit`, as "a b/ c ". Free with free(). */
char *list_text(shardy_store *store, const char *prefix, char delimiter, size_t limit);
/* The listing is this text, whatever the size of its pages. */
void assert_listing(shardy_store *store, const char *prefix, char delimiter, const char *expected);
/* Files in the scratch directories of a root, but for locks. */
size_t count_leftovers(const char *root);

/* Parts of a stream: `count` times `text`, then DONE or a failure. */
typedef struct stream {
    const char *text;
    size_t count;
    shardy_status end;
} stream;

shardy_status next_part(void *user, shardy_bytes *part_out, shardy_error *err);

#endif
