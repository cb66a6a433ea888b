/* A rollback to a run that is not whole any more is refused before the pointer is moved: on a
 * directory, in memory and in a bucket. */
#include "support/dataset.h"
#include "support/store_fixture.h"

#include <shardyfusion/shardyfusion.h>

#include <string.h>

static shardy_error err;

static shardy_status roll_back(shardy_store *store, const char *run_id)
{
    shardy_rollback_target target;
    shardy_admin_options admin;
    memset(&err, 0, sizeof err);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = run_id;
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    return shardy_rollback(NULL, NULL, &target, &admin, NULL, &err);
}

static void assert_current(shardy_store *store, const char *run_id)
{
    shardy_admin_options admin;
    shardy_history history;
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    shardy_error error;
    assert_int_equal(shardy_history_list(NULL, NULL, 100, &admin, &history, &error), SHARDY_OK);
    for (size_t i = 0; i < history.count; i++) {
        const shardy_history_entry *e = &history.entries[i];
        assert_int_equal(e->current, strcmp(e->run_id, run_id) == 0);
    }
    shardy_history_dispose(&history);
}

static void test_rollback__to_a_run_whose_shards_are_gone_is_refused(void **state)
{
    static const char *const gone[] = {"shards/run_id=old/db=00001/attempt=00/shard.db",
        "shards/run_id=old/db=00000/attempt=00/shard.db"};
    const fixture *f = *state;
    dataset_options options;
    dataset_options_init(&options);
    options.store = f->store;
    assert_ok(dataset_build(NULL, NULL, "old", &options, &err));
    assert_ok(dataset_build(NULL, NULL, "now", &options, &err));
    for (size_t i = 0; i < 2; i++) {
        assert_ok(remove_key(f->store, gone[i], &err));
        assert_status(SHARDY_GONE, roll_back(f->store, "old"));
        assert_non_null(strstr(err.message, gone[i]));
        assert_non_null(strstr(err.message, "is missing"));
        assert_current(f->store, "now");
    }
    assert_ok(roll_back(f->store, "now"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_rollback__to_a_run_whose_shards_are_gone_is_refused),
    };
    static const scenario list[] = {FS, MEM, S3};
    return fixture_run(tests, sizeof tests / sizeof tests[0], list, sizeof list / sizeof list[0]);
}
