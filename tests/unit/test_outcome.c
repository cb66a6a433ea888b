/* Who does not get the answer to the write that counts says that it may have been done. */
#include "support/dataset.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>

#include <string.h>

static shardy_error err;

typedef enum operation {
    PUBLISH = 0,
    ROLLBACK,
    PIN,
    UNPIN,
    OPERATIONS
} operation;

static shardy_status run(operation what, shardy_store *store)
{
    dataset_options options;
    shardy_rollback_target target;
    shardy_admin_options admin;
    memset(&err, 0, sizeof err);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "old";
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    switch (what) {
    case PUBLISH:
        dataset_options_init(&options);
        options.store = store;
        return dataset_build(NULL, NULL, "next", &options, &err);
    case ROLLBACK:
        return shardy_rollback(NULL, NULL, &target, &admin, NULL, &err);
    case PIN:
        return shardy_pin_add(NULL, NULL, "name", &target, &admin, NULL, &err);
    default:
        return shardy_pin_remove(NULL, NULL, "name", &target, &admin, NULL, &err);
    }
}

/* Whether it was done. */
static int is_done(operation what, shardy_store *store)
{
    static const char *const current[] = {"next", "old", "", ""};
    shardy_admin_options admin;
    shardy_history history;
    int done = 0;
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    assert_ok(shardy_history_list(NULL, NULL, 100, &admin, &history, &err));
    for (size_t i = 0; i < history.count; i++) {
        const shardy_history_entry *e = &history.entries[i];
        if (what == PUBLISH || what == ROLLBACK) {
            done |= e->current && strcmp(e->run_id, current[what]) == 0;
        } else if (strcmp(e->run_id, "old") == 0) {
            done = e->pin_count == (what == PIN);
        }
    }
    shardy_history_dispose(&history);
    return done;
}

/* A data set with an old and a new run; the old one is pinned for who is to unpin it. */
static shardy_store *make(operation what)
{
    shardy_store *store;
    dataset_options options;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    dataset_options_init(&options);
    options.store = store;
    assert_ok(dataset_build(NULL, NULL, "old", &options, &err));
    assert_ok(dataset_build(NULL, NULL, "now", &options, &err));
    if (what == UNPIN) {
        assert_ok(run(PIN, store));
    }
    return store;
}

static void test_outcome__an_answer_that_is_lost_is_told_as_a_change_that_may_have_been_made(
    void **state)
{
    (void)state;
    for (int what = 0; what < OPERATIONS; what++) {
        unsigned told = 0;
        unsigned not_done = 0;
        shardy_status st = SHARDY_IO;
        for (uint64_t nth = 1; st < 0; nth++) {
            shardy_store *store = make((operation)what);
            shardy_store *faults;
            assert_ok(shardy_store_wrap_fault(NULL, store, &faults, &err));
            shardy_store_fault_set(faults, nth, 1, SHARDY_FAULT_AFTER, SHARDY_UNAVAILABLE);
            st = run((operation)what, faults);
            char message[sizeof err.message];
            memcpy(message, err.message, sizeof message);
            int done = is_done((operation)what, store);
            if (st < 0) {
                int said = strstr(message, "all the same (`shardy history` tells)") != NULL;
                assert_int_equal(said, done);
                told += (unsigned)said;
                not_done += !done;
            }
            assert_true(st < 0 || done);
            shardy_store_close(faults);
            shardy_store_close(store);
        }
        assert_true(told > 0 && not_done > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_outcome__an_answer_that_is_lost_is_told_as_a_change_that_may_have_been_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
