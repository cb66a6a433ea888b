/* Finding an engine by its name, and what is offered when there is none of it. */
#include "engine/engine.h"
#include "support/support.h"

#include <string.h>

static shardy_error err;

static void test_engine__an_unknown_name_is_answered_with_those_that_are_offered(void **state)
{
    (void)state;
    const shardy_engine_ops *ops;
    assert_status(SHARDY_INVALID, shardy__engine_find("sqlit", &ops, &err));
    assert_null(ops);
    assert_string_equal(err.message, "unknown engine \"sqlit\", known are sqlite and sqlite-vec");
}

static void test_engine__one_of_other_builds_is_not_unknown(void **state)
{
    (void)state;
    const shardy_engine_ops *ops;
    assert_status(SHARDY_UNSUPPORTED, shardy__engine_find("slatedb", &ops, &err));
    assert_string_equal(err.message,
        "the engine \"slatedb\" is not in this build, which has sqlite and sqlite-vec");
}

static void test_engine__that_of_tests_is_found_by_its_name_only(void **state)
{
    (void)state;
    size_t count;
    const shardy_engine_ops *ops;
    const shardy_engine_ops *const *engines = shardy_engine_list(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ok(shardy__engine_find(engines[i]->name, &ops, &err));
        assert_ptr_equal(engines[i], ops);
        if (ops->caps & SHARDY_ENGINE_CAP_TESTING) {
            assert_ptr_not_equal(ops, shardy__engine_default(0));
            assert_ptr_not_equal(ops, shardy__engine_default(1));
        }
    }
}

static void test_engine__the_default_holds_vectors_when_there_are_any(void **state)
{
    (void)state;
    assert_string_equal(shardy__engine_default(0)->name, "sqlite");
    assert_string_equal(shardy__engine_default(1)->name, "sqlite-vec");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine__an_unknown_name_is_answered_with_those_that_are_offered),
        cmocka_unit_test(test_engine__one_of_other_builds_is_not_unknown),
        cmocka_unit_test(test_engine__that_of_tests_is_found_by_its_name_only),
        cmocka_unit_test(test_engine__the_default_holds_vectors_when_there_are_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
