/* Who changes something in a data set refuses a store far away that does not honour the conditions
 * of writes, whatever it is that is changed. */
#include "support/dataset.h"
#include "support/event_store.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>

#include <string.h>

static shardy_error err;

/* The store is told to ignore `condition`. */
static shardy_status change(
    shardy_store *inner, const char *what, int32_t condition, int32_t single_writer)
{
    static event_log log;
    const event_plan plan = {.ignores = condition};
    shardy_store *store;
    shardy_rollback_target target;
    shardy_admin_options admin;
    shardy_cleanup_options cleanup;
    shardy_cleanup_result result;
    shardy_status st;
    memset(&log, 0, sizeof log);
    memset(&err, 0, sizeof err);
    assert_ok(event_store_open(inner, &log, &plan, &store, &err));
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "old";
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    admin.unsafe_single_writer = single_writer;
    if (strcmp(what, "rollback") == 0) {
        st = shardy_rollback(NULL, NULL, &target, &admin, NULL, &err);
    } else if (strcmp(what, "pin") == 0) {
        st = shardy_pin_add(NULL, NULL, "name", &target, &admin, NULL, &err);
    } else if (strcmp(what, "unpin") == 0) {
        st = shardy_pin_remove(NULL, NULL, "name", &target, &admin, NULL, &err);
    } else {
        shardy_cleanup_options_init(&cleanup, sizeof cleanup);
        cleanup.admin = admin;
        cleanup.keep_last = 1;
        st = shardy_cleanup(NULL, NULL, &cleanup, &result, &err);
        shardy_cleanup_result_dispose(&result);
    }
    shardy_store_close(store);
    return st;
}

/* How many runs there are; the newest is current, the oldest has so many pins. */
static size_t count_runs(shardy_store *store, uint32_t pins)
{
    shardy_admin_options admin;
    shardy_history history;
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    assert_ok(shardy_history_list(NULL, NULL, 100, &admin, &history, &err));
    size_t count = history.count;
    assert_true(history.entries[0].current);
    assert_int_equal(history.entries[count - 1].pin_count, pins);
    shardy_history_dispose(&history);
    return count;
}

static void test_conditions__whoever_changes_something_asks_whether_they_are_honoured(void **state)
{
    static const char *const operations[] = {"rollback", "pin", "unpin", "cleanup"};
    dataset_options options;
    shardy_store *store;
    (void)state;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    dataset_options_init(&options);
    options.store = store;
    assert_ok(dataset_build(NULL, NULL, "old", &options, &err));
    assert_ok(dataset_build(NULL, NULL, "new", &options, &err));
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const char *what = operations[i];
        const uint32_t pins = strcmp(what, "unpin") == 0;
        assert_status(SHARDY_UNSUPPORTED, change(store, what, SHARDY_PUT_IF_ABSENT, 0));
        assert_non_null(strstr(err.message, "created an object that was there"));
        assert_non_null(strstr(err.message, "unsafe_single_writer"));
        assert_status(SHARDY_UNSUPPORTED, change(store, what, SHARDY_PUT_IF_MATCH, 0));
        assert_non_null(strstr(err.message, "replaced a version that was not there"));
        assert_int_equal(count_runs(store, pins), 2);
        if (strcmp(what, "rollback") != 0) {
            assert_ok(change(store, what, SHARDY_PUT_IF_MATCH, 1));
        }
    }
    assert_int_equal(count_runs(store, 0), 1);
    shardy_store_close(store);
}

/* What goes without a change of any fate: attempts of the current run that did not win. */
static void test_conditions__attempts_are_removed_only_where_they_are_honoured(void **state)
{
    static const char key[] = "shards/run_id=new/db=00000/attempt=07/shard.db";
    dataset_options options;
    shardy_store *store;
    shardy_buf body;
    (void)state;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    dataset_options_init(&options);
    options.store = store;
    assert_ok(dataset_build(NULL, NULL, "new", &options, &err));
    shardy_store_put put = {0};
    put.key = (shardy_bytes){key, strlen(key)};
    put.body = (shardy_bytes){"x", 1};
    put.content_type = "application/x-sqlite3";
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    assert_status(SHARDY_UNSUPPORTED, change(store, "cleanup", SHARDY_PUT_IF_MATCH, 0));
    assert_ok(shardy_store_get(store, key, 0, 1, &body, NULL, &err));
    shardy_buf_release(&body);
    assert_ok(change(store, "cleanup", SHARDY_PUT_IF_MATCH, 1));
    assert_status(SHARDY_NOT_FOUND, shardy_store_get(store, key, 0, 1, &body, NULL, &err));
    shardy_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions__whoever_changes_something_asks_whether_they_are_honoured),
        cmocka_unit_test(test_conditions__attempts_are_removed_only_where_they_are_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
