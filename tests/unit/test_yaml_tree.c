/* The public YAML parser: the tree of a document. What it refuses is tested with the run records
 * that are read through it (test_yaml.c). */
#include "support/support.h"

#include <shardyfusion/sys/text.h>

#include <string.h>

static shardy_yaml *parse_ok(const char *text)
{
    shardy_yaml *yaml = NULL;
    shardy_error err = {0};
    assert_ok(shardy_yaml_parse((shardy_bytes){text, strlen(text)}, &yaml, &err));
    return yaml;
}

static void check_text(const shardy_yaml_node *node, int32_t type, const char *text)
{
    assert_int_equal(shardy_yaml_type_of(node), type);
    assert_string_equal(shardy_yaml_text(node).data, text);
    assert_int_equal(shardy_yaml_text(node).len, strlen(text));
}

static void test_tree__a_script_has_its_names_texts_and_places(void **state)
{
    (void)state;
    shardy_yaml *yaml = parse_ok("on_error: stop\n"
                                 "commands:\n"
                                 "  - op: get\n"
                                 "    key: 007\n"
                                 "  - {op: multiget, keys: [a, '', ~, \"null\"]}\n"
                                 "  - plain\n");
    const shardy_yaml_node *root = shardy_yaml_root(yaml);
    assert_int_equal(shardy_yaml_type_of(root), SHARDY_YAML_MAPPING);
    assert_int_equal(shardy_yaml_count(root), 2);
    check_text(shardy_yaml_get(root, "on_error"), SHARDY_YAML_PLAIN, "stop");
    const shardy_yaml_node *commands = shardy_yaml_at(root, 1);
    assert_ptr_equal(commands, shardy_yaml_get(root, "commands"));
    assert_string_equal(shardy_yaml_name(commands).data, "commands");
    assert_int_equal(shardy_yaml_type_of(commands), SHARDY_YAML_SEQUENCE);
    assert_int_equal(shardy_yaml_count(commands), 3);
    check_text(shardy_yaml_get(shardy_yaml_at(commands, 0), "key"), SHARDY_YAML_PLAIN, "007");
    const shardy_yaml_node *keys = shardy_yaml_get(shardy_yaml_at(commands, 1), "keys");
    assert_int_equal(shardy_yaml_count(keys), 4);
    check_text(shardy_yaml_at(keys, 0), SHARDY_YAML_PLAIN, "a");
    check_text(shardy_yaml_at(keys, 1), SHARDY_YAML_QUOTED, "");
    check_text(shardy_yaml_at(keys, 2), SHARDY_YAML_NULL, "");
    check_text(shardy_yaml_at(keys, 3), SHARDY_YAML_QUOTED, "null");
    assert_string_equal(shardy_yaml_name(shardy_yaml_at(keys, 3)).data, "");
    assert_null(shardy_yaml_at(keys, 4));
    check_text(shardy_yaml_at(commands, 2), SHARDY_YAML_PLAIN, "plain");
    uint64_t line;
    uint64_t column;
    shardy_yaml_place(shardy_yaml_get(shardy_yaml_at(commands, 0), "key"), &line, &column);
    assert_int_equal(line, 4);
    assert_int_equal(column, 5);
    shardy_yaml_place(shardy_yaml_at(keys, 1), &line, &column);
    assert_int_equal(line, 5);
    shardy_yaml_free(yaml);
}

static void test_tree__any_node_may_be_the_root(void **state)
{
    (void)state;
    shardy_yaml *yaml = parse_ok("text");
    check_text(shardy_yaml_root(yaml), SHARDY_YAML_PLAIN, "text");
    shardy_yaml_free(yaml);
    yaml = parse_ok("[]");
    assert_int_equal(shardy_yaml_type_of(shardy_yaml_root(yaml)), SHARDY_YAML_SEQUENCE);
    assert_int_equal(shardy_yaml_count(shardy_yaml_root(yaml)), 0);
    assert_null(shardy_yaml_at(shardy_yaml_root(yaml), 0));
    assert_null(shardy_yaml_get(shardy_yaml_root(yaml), "a"));
    shardy_yaml_free(yaml);
}

static void test_tree__a_name_is_taken_once_in_each_mapping(void **state)
{
    (void)state;
    shardy_yaml *yaml = parse_ok("a: {b: 1}\nb: {b: 2}\n");
    const shardy_yaml_node *root = shardy_yaml_root(yaml);
    check_text(shardy_yaml_get(shardy_yaml_get(root, "b"), "b"), SHARDY_YAML_PLAIN, "2");
    shardy_yaml_free(yaml);
    shardy_error err = {0};
    static const char twice[] = "a:\n- {b: 1, b: 2}\n";
    assert_status(
        SHARDY_INVALID, shardy_yaml_parse((shardy_bytes){twice, strlen(twice)}, &yaml, &err));
    assert_null(yaml);
    assert_non_null(strstr(err.message, "line 2, column 10: \"b\" is there twice"));
}

static void test_tree__nothing_is_answered_for_no_node(void **state)
{
    (void)state;
    uint64_t line;
    uint64_t column;
    shardy_yaml_free(NULL);
    assert_null(shardy_yaml_root(NULL));
    assert_int_equal(shardy_yaml_type_of(NULL), 0);
    assert_int_equal(shardy_yaml_count(NULL), 0);
    assert_null(shardy_yaml_at(NULL, 0));
    assert_null(shardy_yaml_get(NULL, "a"));
    assert_string_equal(shardy_yaml_name(NULL).data, "");
    assert_string_equal(shardy_yaml_text(NULL).data, "");
    shardy_yaml_place(NULL, &line, &column);
    assert_int_equal(line, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__a_script_has_its_names_texts_and_places),
        cmocka_unit_test(test_tree__any_node_may_be_the_root),
        cmocka_unit_test(test_tree__a_name_is_taken_once_in_each_mapping),
        cmocka_unit_test(test_tree__nothing_is_answered_for_no_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
