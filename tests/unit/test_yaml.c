/* Run records as YAML. */
#include "base/yaml.h"
#include "support/support.h"

#include <shardyfusion/limits.h>

#include <stdlib.h>
#include <string.h>

static shardy_status parse(const char *text, yaml_map **map, shardy_error *err)
{
    return shardy__yaml_parse(shardy__bytes(text, strlen(text)), map, err);
}

static void check_entry(const yaml_map *map, const char *name, int kind, const char *text)
{
    const yaml_entry *entry = shardy__yaml_get(map, name);
    assert_non_null(entry);
    assert_int_equal(kind, entry->kind);
    assert_int_equal(strlen(text), entry->text.len);
    assert_string_equal(text, entry->text.data);
}

static void test_parse__the_run_record_of_the_reference(void **state)
{
    (void)state;
    shardy_error err = {0};
    yaml_map *map;
    size_t len;
    char *file = support_read_file(support_source("tests/golden/files/run_running.yaml"), &len);
    assert_ok(shardy__yaml_parse(shardy__bytes(file, len), &map, &err));
    assert_int_equal(13, shardy__yaml_count(map));
    assert_string_equal("db_path_template", shardy__yaml_at(map, 0)->name);
    assert_string_equal("writer_type", shardy__yaml_at(map, 12)->name);
    assert_null(shardy__yaml_at(map, 13));
    check_entry(map, "db_path_template", YAML_PLAIN, "db={db_id:05d}");
    check_entry(map, "error_message", YAML_NULL, "");
    check_entry(map, "format_version", YAML_PLAIN, "1");
    check_entry(map, "lease_expires_at", YAML_QUOTED, "2026-01-02T03:14:05.000006Z");
    check_entry(map, "run_id", YAML_PLAIN, "0123456789abcdef0123456789abcdef");
    check_entry(map, "s3_prefix", YAML_PLAIN, "s3://b/p");
    assert_null(shardy__yaml_get(map, "other"));
    shardy__yaml_free(map);
    free(file);
    shardy__yaml_free(NULL);
}

static void test_write__the_run_record_of_the_reference_byte_by_byte(void **state)
{
    (void)state;
    shardy_error err = {0};
    size_t len;
    char *file = support_read_file(support_source("tests/golden/files/run_running.yaml"), &len);
    /* In another order: they are sorted. */
    const yaml_field fields[] = {
        {"writer_type", YAML_FIELD_TEXT, 0, "python"},
        {"format_version", YAML_FIELD_INT, 1, NULL},
        {"db_path_template", YAML_FIELD_TEXT, 0, "db={db_id:05d}"},
        {"error_message", YAML_FIELD_TEXT, 0, NULL},
        {"error_type", YAML_FIELD_TEXT, 0, NULL},
        {"lease_expires_at", YAML_FIELD_TIME, 0, "2026-01-02T03:14:05.000006Z"},
        {"manifest_ref", YAML_FIELD_TEXT, 0, NULL},
        {"run_id", YAML_FIELD_TEXT, 0, "0123456789abcdef0123456789abcdef"},
        {"s3_prefix", YAML_FIELD_TEXT, 0, "s3://b/p"},
        {"shard_prefix", YAML_FIELD_TEXT, 0, "shards"},
        {"started_at", YAML_FIELD_TIME, 0, "2026-01-02T03:04:05.000006Z"},
        {"status", YAML_FIELD_TEXT, 0, "running"},
        {"updated_at", YAML_FIELD_TIME, 0, "2026-01-02T03:04:05.000006Z"},
    };
    bytebuf out;
    shardy__bytebuf_init(&out, SHARDY_RUN_RECORD_LEN_MAX);
    assert_ok(shardy__yaml_write(fields, sizeof fields / sizeof fields[0], &out, &err));
    assert_string_equal(file, out.data);
    shardy__bytebuf_free(&out);
    free(file);
}

/* Writes one text, expects the given line and that reading gives the text back, as a string. */
static void check_text(const char *text, const char *expected)
{
    shardy_error err = {0};
    yaml_map *map;
    bytebuf out;
    yaml_field field = {"k", YAML_FIELD_TEXT, 0, text};
    shardy__bytebuf_init(&out, SHARDY_RUN_RECORD_LEN_MAX);
    assert_ok(shardy__yaml_write(&field, 1, &out, &err));
    if (expected) {
        assert_memory_equal("k: ", out.data, 3);
        assert_int_equal('\n', out.data[out.len - 1]);
        out.data[out.len - 1] = '\0';
        assert_string_equal(expected, out.data + 3);
        out.data[out.len - 1] = '\n';
    }
    assert_ok(shardy__yaml_parse(shardy__bytes(out.data, out.len), &map, &err));
    assert_int_equal(1, shardy__yaml_count(map));
    const yaml_entry *entry = shardy__yaml_get(map, "k");
    assert_non_null(entry);
    assert_true(entry->kind == YAML_PLAIN || entry->kind == YAML_QUOTED);
    assert_string_equal(text, entry->text.data);
    shardy__yaml_free(map);
    shardy__bytebuf_free(&out);
}

static void test_write__text_is_quoted_when_yaml_could_read_something_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *line;
    } cases[] = {
        {"plain", "plain"},
        {"two words", "two words"},
        {"a: b", "'a: b'"},
        {"a:b", "a:b"},
        {"a #b", "'a #b'"},
        {"a#b", "a#b"},
        {"end:", "'end:'"},
        {"end ", "'end '"},
        {" start", "' start'"},
        {"", "''"},
        {"it's", "it's"},
        {"'quoted'", "'''quoted'''"},
        {"say \"x\"", "say \"x\""},
        {"\"x\"", "'\"x\"'"},
        {"1", "'1'"},
        {"-1", "'-1'"},
        {"+1", "'+1'"},
        {"0123", "'0123'"},
        {"0x1F", "'0x1F'"},
        {"0b101", "'0b101'"},
        {"0o17", "'0o17'"},
        {"1_000", "'1_000'"},
        {"1.5", "'1.5'"},
        {".5", "'.5'"},
        {".inf", "'.inf'"},
        {"-.INF", "'-.INF'"},
        {".nan", "'.nan'"},
        {"1e5", "'1e5'"},
        {"1E+5", "'1E+5'"},
        {"12345e67", "'12345e67'"},
        {"00000000000000000000000000000000", "'00000000000000000000000000000000'"},
        {"1234e56700000000000000000000000a", "1234e56700000000000000000000000a"},
        {"190:20:30", "'190:20:30'"},
        {"2026-01-02", "'2026-01-02'"},
        {"2026-01-02T03:04:05Z", "'2026-01-02T03:04:05Z'"},
        {"2026-01-02 03:04:05 +1", "'2026-01-02 03:04:05 +1'"},
        {"null", "'null'"},
        {"Null", "'Null'"},
        {"~", "'~'"},
        {"true", "'true'"},
        {"FALSE", "'FALSE'"},
        {"yes", "'yes'"},
        {"No", "'No'"},
        {"on", "'on'"},
        {"OFF", "'OFF'"},
        {"y", "'y'"},
        {"N", "'N'"},
        {"nullable", "nullable"},
        {"only", "only"},
        {"=", "'='"},
        {"<<", "'<<'"},
        {"- a", "'- a'"},
        {"-a", "'-a'"},
        {"---", "'---'"},
        {"...", "'...'"},
        {"? a", "'? a'"},
        {"[a]", "'[a]'"},
        {"{a}", "'{a}'"},
        {"&a", "'&a'"},
        {"*a", "'*a'"},
        {"!a", "'!a'"},
        {"|", "'|'"},
        {">", "'>'"},
        {"%a", "'%a'"},
        {"@a", "'@a'"},
        {"`a`", "'`a`'"},
        {"#a", "'#a'"},
        {",a", "',a'"},
        {"line\nline", "\"line\\nline\""},
        {"tab\tq\"b\\", "\"tab\\tq\\\"b\\\\\""},
        {"\xC3\xA9", "\"\\xE9\""},
        {"\xE2\x82\xAC", "\"\\u20AC\""},
        {"\xF0\x9F\x98\x80", "\"\\U0001F600\""},
        {"\x01\x7F\x1B", "\"\\x01\\x7F\\e\""},
        {"it's \xC3\xA9", "\"it's \\xE9\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_text(cases[i].text, cases[i].line);
    }
}

static void test_write__any_text_comes_back(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "0", "1e5", " ", ":", "#", "-", "'", "\"", "\\", "\n",
        "\t", "\xC3\xA9", "\xE2\x80\xA8", "\xF0\x9F\x98\x80", "\x01", "\x7F", "{", "]", ",", "&",
        "*", "!", "|", ">", "%", "@", "null", "true", ".", "~", "\r", "\xC2\x85", "\xEF\xBF\xBD"};
    support_rand rand = {support_seed()};
    for (int i = 0; i < 5000; i++) {
        bytebuf text;
        shardy__bytebuf_init(&text, 200);
        shardy__bytebuf_puts(&text, "");
        for (size_t n = support_rand_below(&rand, 9); n > 0; n--) {
            shardy__bytebuf_puts(
                &text, pieces[support_rand_below(&rand, sizeof pieces / sizeof pieces[0])]);
        }
        check_text(text.data, NULL);
        shardy__bytebuf_free(&text);
    }
}

static void test_write__what_cannot_be_written_is_invalid(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf out;
    shardy__bytebuf_init(&out, 20);
    yaml_field field = {"k", YAML_FIELD_TEXT, 0, "bad \xFF"};
    assert_status(SHARDY_INVALID, shardy__yaml_write(&field, 1, &out, &err));
    assert_non_null(strstr(err.message, "\"k\""));
    field.text = "longer than the maximum of the buffer";
    assert_status(SHARDY_INVALID, shardy__yaml_write(&field, 1, &out, &err));
    shardy__bytebuf_free(&out);
    shardy__bytebuf_init(&out, 20);
    assert_status(SHARDY_INVALID, shardy__yaml_write(&field, YAML_FIELDS_MAX + 1, &out, &err));
    assert_ok(shardy__yaml_write(&field, 0, &out, &err));
    shardy__bytebuf_free(&out);
}

static void test_parse__kinds_of_scalars(void **state)
{
    (void)state;
    shardy_error err = {0};
    yaml_map *map;
    assert_ok(parse(
        "# comment\n---\na: 1e5\nb: '1e5'\nc: \"x\\ny\"\nd: |\n  block\ne:\nf: ~\ng: Null\n"
        "h: 'null'\ni: [1, {x: y}]\nj: {a: b}\nk: two\n  lines\nl: nULL\n'm n': 2026-01-02\n...\n",
        &map, &err));
    check_entry(map, "a", YAML_PLAIN, "1e5");
    check_entry(map, "b", YAML_QUOTED, "1e5");
    check_entry(map, "c", YAML_QUOTED, "x\ny");
    check_entry(map, "d", YAML_QUOTED, "block\n");
    check_entry(map, "e", YAML_NULL, "");
    check_entry(map, "f", YAML_NULL, "");
    check_entry(map, "g", YAML_NULL, "");
    check_entry(map, "h", YAML_QUOTED, "null");
    check_entry(map, "i", YAML_NESTED, "");
    check_entry(map, "j", YAML_NESTED, "");
    check_entry(map, "k", YAML_PLAIN, "two lines");
    check_entry(map, "l", YAML_PLAIN, "nULL");
    check_entry(map, "m n", YAML_PLAIN, "2026-01-02");
    shardy__yaml_free(map);
    assert_ok(parse("{a: 1, b: 'x'}", &map, &err));
    assert_int_equal(2, shardy__yaml_count(map));
    shardy__yaml_free(map);
    assert_ok(parse("a: [[[1]]]", &map, &err));
    shardy__yaml_free(map);
}

static void test_parse__what_is_more_than_data_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "empty"},
        {"# nothing\n", "empty"},
        {"just text", "line 1, column 1: expected a mapping"},
        {"- a\n- b\n", "line 1, column 1: expected a mapping"},
        {"a: &x 1\n", "line 1, column 4: anchors"},
        {"a: &x [1]\n", "anchors"},
        {"a: &x {b: c}\n", "anchors"},
        {"&x a: 1\n", "anchors"},
        {"a: 1\nb: *a\n", "line 2, column 4: aliases"},
        {"a: [*b]\n", "aliases"},
        {"<<: *a\n", "aliases"},
        {"a: !!str 1\n", "line 1, column 4: tags"},
        {"a: !x [1]\n", "tags"},
        {"!!map {a: 1}\n", "tags"},
        {"a: !!python/object:os.system x\n", "tags"},
        {"a: 1\na: 2\n", "line 2, column 1: \"a\" is there twice"},
        {"a: 1\n---\nb: 2\n", "one document"},
        {"[a]: 1\n", "expected a name"},
        {"{a: b}: 1\n", "expected a name"},
        {"a: [[[[1]]]]\n", "too many levels"},
        {"a: {b: {c: {d: {}}}}\n", "too many levels"},
        {"a: 'x\n", "line"},
        {"a: b: c\n", "line 1"},
        {"\"a\\0b\": 1\n", "zero byte"},
        {"a: \xFF\n", "byte 3"},
        {"a: \x01\n", "byte 3"},
        {"\t- x", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        yaml_map *map;
        assert_status(SHARDY_INVALID, parse(cases[i].text, &map, &err));
        assert_null(map);
        if (!strstr(err.message, cases[i].message)) {
            fail_msg(
                "%s: \"%s\" does not say \"%s\"", cases[i].text, err.message, cases[i].message);
        }
    }
}

static void test_parse__is_bounded(void **state)
{
    (void)state;
    shardy_error err = {0};
    yaml_map *map;
    bytebuf text;
    shardy__bytebuf_init(&text, 1u << 20);
    /* Too long. */
    shardy__bytebuf_puts(&text, "a: ");
    while (text.len <= SHARDY_RUN_RECORD_LEN_MAX) {
        shardy__bytebuf_putc(&text, 'x');
    }
    assert_status(
        SHARDY_INVALID, shardy__yaml_parse(shardy__bytes(text.data, text.len), &map, &err));
    assert_non_null(strstr(err.message, "limit"));
    assert_ok(shardy__yaml_parse(shardy__bytes(text.data, SHARDY_RUN_RECORD_LEN_MAX), &map, &err));
    shardy__yaml_free(map);
    /* Too many names. */
    shardy__bytebuf_clear(&text);
    for (int i = 0; i < 257; i++) {
        shardy__bytebuf_printf(&text, "n%d: 1\n", i);
    }
    assert_status(
        SHARDY_INVALID, shardy__yaml_parse(shardy__bytes(text.data, text.len), &map, &err));
    assert_non_null(strstr(err.message, "more names"));
    assert_ok(shardy__yaml_parse(shardy__bytes(text.data, text.len - 8), &map, &err));
    assert_int_equal(256, shardy__yaml_count(map));
    shardy__yaml_free(map);
    /* Ten thousand levels. */
    shardy__bytebuf_clear(&text);
    shardy__bytebuf_puts(&text, "a: ");
    for (int i = 0; i < 10000; i++) {
        shardy__bytebuf_putc(&text, '[');
    }
    assert_status(
        SHARDY_INVALID, shardy__yaml_parse(shardy__bytes(text.data, text.len), &map, &err));
    shardy__bytebuf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__the_run_record_of_the_reference),
        cmocka_unit_test(test_write__the_run_record_of_the_reference_byte_by_byte),
        cmocka_unit_test(test_write__text_is_quoted_when_yaml_could_read_something_else),
        cmocka_unit_test(test_write__any_text_comes_back),
        cmocka_unit_test(test_write__what_cannot_be_written_is_invalid),
        cmocka_unit_test(test_parse__kinds_of_scalars),
        cmocka_unit_test(test_parse__what_is_more_than_data_is_invalid),
        cmocka_unit_test(test_parse__is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
