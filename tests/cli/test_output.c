/* JSON, tables, values, keys, query files, the line of progress. */
#include "npy_arg.h"
#include "out_json.h"
#include "out_table.h"
#include "progress.h"
#include "schema.h"
#include "utf8.h"
#include "value.h"

#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shardyfusion/sys/text.h>

static void test_json__both_layouts_are_those_of_the_reference(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "{\"op\": \"x\", \"list\": [1, \"a\"], \"none\": [], \"empty\": {}, \"n\": null, "
        "\"yes\": true}",
        "{\n  \"op\": \"x\",\n  \"list\": [\n    1,\n    \"a\"\n  ],\n  \"none\": [],\n"
        "  \"empty\": {},\n  \"n\": null,\n  \"yes\": true\n}"};
    for (int pretty = 0; pretty < 2; pretty++) {
        strbuf b = {0};
        json_out j;
        json_begin(&j, &b, pretty);
        json_object(&j);
        json_name(&j, "op");
        json_text(&j, "x");
        json_name(&j, "list");
        json_array(&j);
        json_int(&j, 1);
        json_text(&j, "a");
        json_array_end(&j);
        json_name(&j, "none");
        json_array(&j);
        json_array_end(&j);
        json_name(&j, "empty");
        json_object(&j);
        json_object_end(&j);
        json_name(&j, "n");
        json_text(&j, NULL);
        json_name(&j, "yes");
        json_bool(&j, 7);
        json_object_end(&j);
        assert_string_equal(strbuf_text(&b), expected[pretty]);
        strbuf_free(&b);
    }
}

static void assert_json_text(const char *text, size_t len, const char *expected)
{
    strbuf b = {0};
    json_out j;
    json_begin(&j, &b, 0);
    json_text_n(&j, text, len);
    assert_string_equal(strbuf_text(&b), expected);
    strbuf_free(&b);
}

static void test_json__text_is_escaped_and_always_valid_utf8(void **state)
{
    (void)state;
    assert_json_text("a\"\\\b\f\n\r\t\x01\x1f/", 11, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\"");
    assert_json_text("a\0b", 3, "\"a\\u0000b\"");
    assert_json_text(
        "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
    /* one replacement for each maximal malformed part, as Python does */
    assert_json_text(
        "x\xFFy\xE2\x82z\xC0\x80", 8, "\"x\xEF\xBF\xBDy\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json_text("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void assert_json_double(double value, int decimals, const char *expected)
{
    strbuf b = {0};
    json_out j;
    json_begin(&j, &b, 0);
    json_double(&j, value, decimals);
    assert_string_equal(strbuf_text(&b), expected);
    strbuf_free(&b);
}

static void test_json__doubles_read_back_as_the_same_number(void **state)
{
    (void)state;
    assert_json_double(0.1, -1, "0.1");
    assert_json_double(1, -1, "1.0");
    assert_json_double(-0.0, -1, "-0.0");
    assert_json_double(1.0 / 3, -1, "0.3333333333333333");
    assert_json_double(5e-324, -1, "4.94065645841247e-324");
    assert_json_double(1e300, 6, "1e+300");
    assert_json_double(0.1234567, 6, "0.123457");
    assert_json_double(2.5, 6, "2.5");
    assert_json_double(-1e-9, 6, "0.0");
    assert_json_double((double)NAN, 6, "null");
    assert_json_double((double)INFINITY, -1, "null");
    support_rand r = {support_seed()};
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = support_rand_u64(&r);
        double d;
        char text[40];
        memcpy(&d, &bits, sizeof d);
        if (isfinite(d)) {
            json_double_text(d, text);
            assert_true(strtod(text, NULL) == d);
        }
    }
}

static void assert_embed(const char *json, const char *expected)
{
    strbuf b = {0};
    json_out j;
    json_begin(&j, &b, 0);
    json_array(&j);
    json_embed(&j, (shardy_bytes){json, strlen(json)});
    json_array_end(&j);
    assert_string_equal(strbuf_text(&b), expected);
    strbuf_free(&b);
}

static void test_json__embedded_json_keeps_its_numbers(void **state)
{
    (void)state;
    assert_embed("{\"b\":[1,2.50,{}],\"a\":null}", "[{\"b\": [1, 2.50, {}], \"a\": null}]");
    assert_embed("123456789012345678901234567890", "[123456789012345678901234567890]");
    assert_embed("[NaN,-Infinity,1e5]", "[[null, null, 1e5]]");
    assert_embed("\"\\u00e9\"", "[\"\xC3\xA9\"]");
    assert_embed("[[],[[]],{\"\":{}}]", "[[[], [[]], {\"\": {}}]]");
    assert_embed("{broken", "[\"{broken\"]");
    assert_embed("", "[\"\"]");
}

static void test_json__keys_are_integers_text_or_hex(void **state)
{
    (void)state;
    shardy_key keys[] = {shardy_key_int(-5), shardy_key_uint(UINT64_MAX), shardy_key_cstr("k"),
        shardy_key_bytes("ab", 2), shardy_key_bytes("\xff\x00", 2)};
    strbuf b = {0};
    json_out j;
    json_begin(&j, &b, 0);
    json_array(&j);
    for (size_t i = 0; i < 5; i++) {
        json_key(&j, &keys[i]);
    }
    json_array_end(&j);
    assert_string_equal(
        strbuf_text(&b), "[-5, 18446744073709551615, \"k\", \"ab\", {\"hex\": \"ff00\"}]");
    strbuf_free(&b);
}

static void test_table__columns_are_as_wide_as_they_look(void **state)
{
    (void)state;
    static const table_column columns[] = {{"KEY", 3, 0, 0}, {"N", 4, 1, 0}, {"REST", 4, 0, 1}};
    out_table t;
    strbuf b = {0};
    utf8_init();
    table_begin(&t, columns, 3);
    table_cell_text(&t, "\xE6\x97\xA5\xE6\x9C\xAC"); /* two wide characters */
    table_cell_uint(&t, 7);
    table_cell_text(&t, "a rather long rest");
    table_cell(&t, "e\xCC\x81", 3); /* a letter and a combining accent */
    table_cell_uint(&t, 12345);
    table_cell(&t, "a\nb\x1b[31m\xff", 9);
    table_end(&t, &b, 0);
    assert_string_equal(strbuf_text(&b), "KEY       N  REST\n"
                                         "-----------------\n"
                                         "\xE6\x97\xA5\xE6\x9C\xAC      7  a rather long rest\n"
                                         "e\xCC\x81     12345  a\\nb\\x1b[31m\xEF\xBF\xBD\n");
    strbuf_free(&b);
}

static void test_table__no_rows_leave_the_header(void **state)
{
    (void)state;
    static const table_column columns[] = {{"A", 1, 0, 0}, {"B", 1, 0, 0}};
    out_table t;
    strbuf b = {0};
    table_begin(&t, columns, 2);
    table_end(&t, &b, 0);
    assert_string_equal(strbuf_text(&b), "A  B\n----\n");
    strbuf_free(&b);
}

static void assert_value(value_encoding e, const char *data, size_t len, const char *expected)
{
    strbuf b = {0};
    value_encode(&b, e, data, len);
    assert_string_equal(strbuf_text(&b), expected);
    strbuf_free(&b);
}

static void test_value__is_printed_in_every_encoding(void **state)
{
    (void)state;
    assert_value(VALUE_BASE64, "", 0, "");
    assert_value(VALUE_BASE64, "f", 1, "Zg==");
    assert_value(VALUE_BASE64, "fo", 2, "Zm8=");
    assert_value(VALUE_BASE64, "foo", 3, "Zm9v");
    assert_value(VALUE_BASE64, "\xff\xfe\xfd\xfc", 4, "//79/A==");
    assert_value(VALUE_HEX, "\x00\xAB", 2, "00ab");
    assert_value(VALUE_UTF8, "a\xFF", 2, "a\xEF\xBF\xBD");
    assert_value(VALUE_UTF8, NULL, 0, "");
}

static void assert_integer(const char *text, int rc, int64_t value)
{
    shardy_key key = {0};
    assert_int_equal(key_parse_integer(text, strlen(text), &key), rc);
    if (rc == 0) {
        assert_int_equal(key.type, SHARDY_KEY_INT);
        assert_int_equal(key.i, value);
    }
}

static void test_key__integers_follow_the_rules_of_the_reference(void **state)
{
    (void)state;
    assert_integer("42", 0, 42);
    assert_integer(" +1_000\n", 0, 1000);
    assert_integer("-0", 0, 0);
    assert_integer("007", 0, 7);
    assert_integer("-9223372036854775808", 0, INT64_MIN);
    assert_integer("9223372036854775807", 0, INT64_MAX);
    assert_integer("-9223372036854775809", -2, 0);
    assert_integer("18446744073709551616", -2, 0);
    const char *bad[] = {"", " ", "-", "+", "1_", "_1", "1__2", "1.0", "0x1", "a", "1 2", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_integer(bad[i], -1, 0);
    }
    shardy_key key = {0};
    assert_int_equal(key_parse_integer("18446744073709551615", 20, &key), 0);
    assert_int_equal(key.type, SHARDY_KEY_UINT);
    assert_true(key.u == UINT64_MAX);
}

static void assert_key(const char *text, key_format format, int32_t encoding, int32_t type,
    const char *bytes, size_t len)
{
    shardy_key key = {0};
    char *owned = NULL;
    strbuf message = {0};
    int rc = key_parse(text, strlen(text), format, encoding, &key, &owned, &message);
    assert_int_equal(rc, type ? 0 : -1);
    if (type) {
        assert_int_equal(key.type, type);
        assert_int_equal(key.bytes.len, len);
        assert_memory_equal(key.bytes.data, bytes, len);
    } else {
        assert_string_equal(strbuf_text(&message), bytes);
    }
    sys_free(owned);
    strbuf_free(&message);
}

static void test_key__is_read_in_every_format(void **state)
{
    (void)state;
    int32_t utf8 = SHARDY_KEY_ENCODING_UTF8;
    int32_t raw = SHARDY_KEY_ENCODING_RAW;
    int32_t bytes = SHARDY_KEY_BYTES;
    assert_key("abc", KEY_FORMAT_TEXT, utf8, SHARDY_KEY_TEXT, "abc", 3);
    assert_key("", KEY_FORMAT_TEXT, utf8, SHARDY_KEY_TEXT, "", 0);
    assert_key("abc", KEY_FORMAT_TEXT, raw, bytes, "abc", 3);
    assert_key("\xff", KEY_FORMAT_TEXT, raw, bytes, "\xff", 1);
    assert_key("00fF", KEY_FORMAT_HEX, raw, bytes, "\x00\xff", 2);
    assert_key("", KEY_FORMAT_HEX, raw, bytes, "", 0);
    assert_key("/_8=", KEY_FORMAT_BASE64, raw, bytes, "\xff\xff", 2);
    assert_key("Zm8", KEY_FORMAT_BASE64, raw, bytes, "fo", 2);
    assert_key("abc", KEY_FORMAT_HEX, raw, 0, "key \"abc\" is not hex", 0);
    assert_key("zz", KEY_FORMAT_HEX, raw, 0, "key \"zz\" is not hex", 0);
    assert_key("Zm9=", KEY_FORMAT_BASE64, raw, 0, "key \"Zm9=\" is not base64", 0);
    assert_key("Z", KEY_FORMAT_BASE64, raw, 0, "key \"Z\" is not base64", 0);
    assert_key("Zg=", KEY_FORMAT_BASE64, raw, 0, "key \"Zg=\" is not base64", 0);
    assert_key("Z g=", KEY_FORMAT_BASE64, raw, 0, "key \"Z g=\" is not base64", 0);
    assert_key("\xff", KEY_FORMAT_TEXT, utf8, 0,
        "key \"\xEF\xBF\xBD\" is not valid UTF-8; give bytes with --key-format hex", 0);
    assert_key("abc", KEY_FORMAT_TEXT, SHARDY_KEY_ENCODING_U64BE, 0,
        "key \"abc\" is not a valid integer (required by u64be encoding)", 0);
    assert_key("99999999999999999999", KEY_FORMAT_TEXT, SHARDY_KEY_ENCODING_U32BE, 0,
        "key \"99999999999999999999\" does not fit (required by u32be encoding)", 0);
}

/* --- query files ------------------------------------------------------------------------------ */

/* A version 1 file with a header and `count` floats 0, 1, 2, ... */
static size_t make_npy(char *out, const char *header, size_t count)
{
    size_t header_len = strlen(header);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)header_len;
    out[9] = 0;
    memcpy(out + 10, header, header_len);
    size_t at = 10 + header_len;
    for (size_t i = 0; i < count; i++) {
        float f = (float)i;
        memcpy(out + at, &f, 4);
        at += 4;
    }
    return at;
}

static void assert_npy_refused(const char *header, size_t count, const char *expected)
{
    char bytes[512];
    npy_array a;
    strbuf message = {0};
    size_t len = make_npy(bytes, header, count);
    assert_int_equal(npy_parse(bytes, len, &a, &message), -1);
    assert_string_equal(strbuf_text(&message), expected);
    npy_free(&a);
    strbuf_free(&message);
}

static void test_npy__one_and_two_dimensions(void **state)
{
    (void)state;
    char bytes[512];
    npy_array a;
    strbuf message = {0};
    size_t len =
        make_npy(bytes, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }   \n", 3);
    assert_int_equal(npy_parse(bytes, len, &a, &message), 0);
    assert_int_equal(a.rows, 1);
    assert_int_equal(a.dim, 3);
    assert_int_equal(a.one_dimension, 1);
    assert_true(a.data[2] == 2.0f);
    npy_free(&a);
    len = make_npy(bytes, "{\"shape\": (2, 3), 'fortran_order':False,'descr':'<f4'}", 6);
    assert_int_equal(npy_parse(bytes, len, &a, &message), 0);
    assert_int_equal(a.rows, 2);
    assert_int_equal(a.dim, 3);
    assert_int_equal(a.one_dimension, 0);
    assert_true(a.data[5] == 5.0f);
    npy_free(&a);
}

static void test_npy__a_file_of_numpy_itself_is_read(void **state)
{
    (void)state;
    npy_array a;
    strbuf message = {0};
    assert_int_equal(
        npy_load(support_source("tests/golden/files/centroids_f8_2x3.npy"), &a, &message), 0);
    assert_int_equal(a.rows, 2);
    assert_int_equal(a.dim, 3);
    npy_free(&a);
    assert_int_equal(
        npy_load(support_source("tests/golden/files/hyperplanes_8x4_seed42.npy"), &a, &message), 0);
    assert_int_equal(a.rows, 8);
    assert_int_equal(a.dim, 4);
    npy_free(&a);
    assert_int_equal(npy_load("/nonexistent.npy", &a, &message), -2);
    assert_string_equal(
        strbuf_text(&message), "cannot read \"/nonexistent.npy\": No such file or directory");
    strbuf_free(&message);
}

static void test_npy__unusable_files_say_why(void **state)
{
    (void)state;
    assert_npy_refused("{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}", 3,
        "its type is \"<i4\"; expected little-endian float32 or float64 (<f4, <f8)");
    assert_npy_refused("{'descr': '>f4', 'fortran_order': False, 'shape': (3,)}", 3,
        "its type is \">f4\"; expected little-endian float32 or float64 (<f4, <f8)");
    assert_npy_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3)}", 3,
        "its rows are in Fortran order; expected C order");
    assert_npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 1,
        "it has 0 dimensions; expected one or two");
    assert_npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 3)}", 3,
        "it has 3 dimensions; expected one or two");
    assert_npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", 3,
        "it holds 12 bytes of data where its shape needs 16");
    assert_npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 3,
        "it holds 12 bytes of data where its shape needs 8");
    assert_npy_refused(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9)}", 3,
        "its shape does not fit in memory");
    const char *bad[] = {"", "{", "{'descr': '<f4'}", "{'descr': '<f4', 'shape': (3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_npy_refused(bad[i], 3, "its header is malformed");
    }
}

static void test_npy__values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}";
    char bytes[512];
    npy_array a;
    strbuf message = {0};
    size_t len = make_npy(bytes, header, 4);
    memcpy(bytes + len - 4, "\x00\x00\xc0\x7f", 4);
    assert_int_equal(npy_parse(bytes, len, &a, &message), -1);
    assert_string_equal(strbuf_text(&message), "component 1 of row 1 is not a finite number");
    npy_free(&a);
    strbuf_free(&message);
}

static void test_npy__every_cut_is_refused(void **state)
{
    (void)state;
    char bytes[512];
    size_t len = make_npy(bytes, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 3);
    for (size_t cut = 0; cut < len; cut++) {
        char *copy = malloc(cut + 1); /* so that a sanitizer sees a read beyond the cut */
        memcpy(copy, bytes, cut);
        npy_array a;
        strbuf message = {0};
        assert_int_equal(npy_parse(copy, cut, &a, &message), -1);
        assert_true(message.len > 0);
        npy_free(&a);
        strbuf_free(&message);
        free(copy);
    }
}

/* --- progress --------------------------------------------------------------------------------- */

static void assert_line(const progress_view *view, double seconds, size_t width, const char *text)
{
    progress p;
    strbuf b = {0};
    progress_init(&p);
    progress_render(&p, view, seconds, width, &b);
    assert_string_equal(strbuf_text(&b), text);
    assert_true(b.len < width);
    strbuf_free(&b);
}

static void test_progress__the_line_fits_and_the_most_important_comes_first(void **state)
{
    (void)state;
    progress_view v = {.label = "reading",
        .fraction = 0.25,
        .rows = 1234567,
        .bytes = 92 << 20,
        .rows_per_second = 1};
    assert_line(
        &v, 4, 80, "reading   ###-------   25%  1.2M rows  308.6k rows/s  92.0 MiB  0:12 left");
    assert_line(&v, 4, 40, "reading   ###-------   25%  1.2M rows");
    assert_line(&v, 4, 20, "reading     25%");
    progress_view b = {.label = "building",
        .fraction = 0.5,
        .rows = 10,
        .shards_done = 3,
        .shards_total = 8,
        .rows_per_second = 1};
    assert_line(&b, 0.1, 70, "building  #####-----   50%  3/8 shards  10 rows  -:-- left");
    progress_view s = {.label = "building",
        .fraction = 1,
        .rows = 10,
        .shards_total = 1,
        .uploaded = 5 << 20,
        .to_upload = 54 << 20,
        .rows_per_second = 1};
    assert_line(&s, 0.1, 80,
        "building  ##########  100%  0/1 shard  5.0 MiB of 54.0 MiB uploaded  10 rows");
    progress_view u = {.label = "reading", .fraction = -1, .rows = 999, .rows_per_second = 1};
    assert_line(&u, 61, 80, "reading    999 rows  16 rows/s  1:01");
    progress_view o = {.label = "cleaning up", .fraction = -1, .rows = 1, .noun = "object"};
    assert_line(&o, 0.1, 80, "cleaning up 1 object");
}

static void test_progress__numbers_are_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *count;
        const char *bytes;
    } cases[] = {{0, "0", "0 B"}, {999, "999", "999 B"}, {1000, "1.0k", "1000 B"},
        {1024, "1.0k", "1.0 KiB"}, {999949, "999.9k", "976.5 KiB"}, {999951, "1.0M", "976.5 KiB"},
        {UINT64_C(5) << 40, "5.5T", "5.0 TiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strbuf b = {0};
        progress_add_count(&b, cases[i].value);
        assert_string_equal(strbuf_text(&b), cases[i].count);
        strbuf_free(&b);
        progress_add_bytes(&b, cases[i].value);
        assert_string_equal(strbuf_text(&b), cases[i].bytes);
        strbuf_free(&b);
    }
    strbuf b = {0};
    progress_add_time(&b, 3723.4);
    progress_add_time(&b, -1);
    progress_add_time(&b, (double)INFINITY);
    assert_string_equal(strbuf_text(&b), "1:02:030:0099:59:59");
    strbuf_free(&b);
}

static void test_schema__every_output_is_a_valid_document(void **state)
{
    (void)state;
    for (size_t i = 0; i == 0 || schema_names()[i - 1]; i++) {
        const char *name = i ? schema_names()[i - 1] : NULL;
        strbuf b = {0};
        json_out j;
        json_begin(&j, &b, 1);
        assert_int_equal(schema_write(&j, name), 0);
        assert_int_equal(j.depth, 0);
        shardy_json *json = NULL;
        shardy_error err;
        assert_ok(shardy_json_parse((shardy_bytes){b.data, b.len}, &json, &err));
        assert_non_null(shardy_json_get(shardy_json_root(json), name ? "properties" : "$defs"));
        shardy_json_free(json);
        strbuf_free(&b);
    }
    strbuf b = {0};
    json_out j;
    json_begin(&j, &b, 1);
    assert_int_equal(schema_write(&j, "nothing"), -1);
    strbuf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__both_layouts_are_those_of_the_reference),
        cmocka_unit_test(test_json__text_is_escaped_and_always_valid_utf8),
        cmocka_unit_test(test_json__doubles_read_back_as_the_same_number),
        cmocka_unit_test(test_json__embedded_json_keeps_its_numbers),
        cmocka_unit_test(test_json__keys_are_integers_text_or_hex),
        cmocka_unit_test(test_table__columns_are_as_wide_as_they_look),
        cmocka_unit_test(test_table__no_rows_leave_the_header),
        cmocka_unit_test(test_value__is_printed_in_every_encoding),
        cmocka_unit_test(test_key__integers_follow_the_rules_of_the_reference),
        cmocka_unit_test(test_key__is_read_in_every_format),
        cmocka_unit_test(test_npy__one_and_two_dimensions),
        cmocka_unit_test(test_npy__a_file_of_numpy_itself_is_read),
        cmocka_unit_test(test_npy__unusable_files_say_why),
        cmocka_unit_test(test_npy__values_that_are_not_finite_are_refused),
        cmocka_unit_test(test_npy__every_cut_is_refused),
        cmocka_unit_test(test_progress__the_line_fits_and_the_most_important_comes_first),
        cmocka_unit_test(test_progress__numbers_are_for_people),
        cmocka_unit_test(test_schema__every_output_is_a_valid_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
