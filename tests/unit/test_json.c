/* JSON: reader, writer, documents. Expected bytes come from Python: make_text_cases.py. */
#include "base/alloc.h"
#include "base/json.h"
#include "support/support.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_bytes bytes_of(const char *text)
{
    return shardy__bytes(text, strlen(text));
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The tokens of a text as letters: n t f 0 s k [ ] { }. */
static shardy_status read_tokens(shardy_bytes text, char *letters, size_t room, shardy_error *err)
{
    static const char names[] = {'.', 'n', 'f', 't', '0', 's', 'k', '[', ']', '{', '}'};
    json_reader r;
    shardy__json_reader_init(&r, text);
    size_t n = 0;
    for (;;) {
        shardy_status st = shardy__json_next(&r, err);
        letters[n] = '\0';
        if (st < 0 || r.token == JSON_END) {
            return st;
        }
        assert_true(n + 1 < room);
        letters[n++] = names[r.token];
    }
}

static void test_reader__gives_the_tokens_of_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *tokens;
    } cases[] = {
        {"null", "n"},
        {" true ", "t"},
        {"\r\n\tfalse\n", "f"},
        {"0", "0"},
        {"-12.5e+7", "0"},
        {"NaN", "0"},
        {"-Infinity", "0"},
        {"[Infinity,NaN]", "[00]"},
        {"\"\"", "s"},
        {"[]", "[]"},
        {"[ ]", "[]"},
        {"{}", "{}"},
        {"[1,[2,[]],{}]", "[0[0[]]{}]"},
        {"{\"a\":1,\"b\":[null,true],\"c\":{\"d\":\"e\"}}", "{k0k[nt]k{ks}}"},
        {" { \"a\" : [ 1 , 2 ] , \"b\" : { } } ", "{k[00]k{}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char letters[64];
        shardy_error err = {0};
        assert_ok(read_tokens(bytes_of(cases[i].text), letters, sizeof letters, &err));
        assert_string_equal(cases[i].tokens, letters);
    }
}

static void test_reader__refuses_what_is_not_json_and_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "line 1, column 1: the text ends where a value is expected"},
        {"  ", "line 1, column 3: the text ends where a value is expected"},
        {"nul", "line 1, column 1: expected a value"},
        {"nulL", "line 1, column 1: expected a value"},
        {"nan", "line 1, column 1: expected a value"},
        {"-NaN", "line 1, column 1: expected a value"},
        {"-Inf", "line 1, column 1: expected a value"},
        {"+1", "line 1, column 1: expected a value"},
        {"01", "line 1, column 2: expected nothing after the value"},
        {"1.", "line 1, column 2: expected nothing after the value"},
        {"'a'", "line 1, column 1: expected a value"},
        {"1 2", "line 1, column 3: expected nothing after the value"},
        {"[] ]", "line 1, column 4: expected nothing after the value"},
        {"\xEF\xBB\xBF{}", "line 1, column 1: expected a value"},
        {"[1 2]", "line 1, column 4: expected ',' or ']' in an array"},
        {"[1,]", "line 1, column 4: expected a value"},
        {"[,1]", "line 1, column 2: expected a value"},
        {"[1,", "line 1, column 4: expected a value after ','"},
        {"[1", "line 1, column 3: the text ends in an array"},
        {"[", "line 1, column 2: the text ends in an array"},
        {"[1}", "line 1, column 3: expected ',' or ']' in an array"},
        {"{\n \"a\":1]", "line 2, column 7: expected ',' or '}' in an object"},
        {"{", "line 1, column 2: the text ends in an object"},
        {"{\"a\":1", "line 1, column 7: the text ends in an object"},
        {"{\"a\":1,", "line 1, column 8: expected a name in quotes after ','"},
        {"{\"a\":1,}", "line 1, column 8: expected a name in quotes after ','"},
        {"{a:1}", "line 1, column 2: expected a name in quotes or '}'"},
        {"{1:1}", "line 1, column 2: expected a name in quotes or '}'"},
        {"{\"a\" 1}", "line 1, column 6: expected ':' after a name"},
        {"{\"a\"", "line 1, column 5: expected ':' after a name"},
        {"{\"a\":", "line 1, column 6: the text ends where a value is expected"},
        {"{\"a\":}", "line 1, column 6: expected a value"},
        {"[1] /* */", "line 1, column 5: expected nothing after the value"},
        {"\"abc", "line 1, column 1: a string does not end"},
        {"[\"a\nb\"]", "line 1, column 4: a control character must be escaped in a string"},
        {"\"\\x\"", "line 1, column 2: expected one of \"\\/bfnrtu after '\\' in a string"},
        {"\"\\", "line 1, column 2: expected one of \"\\/bfnrtu after '\\' in a string"},
        {"\"\\u12\"", "line 1, column 2: expected four hexadecimal digits after '\\u'"},
        {"\"\\u12g4\"", "line 1, column 2: expected four hexadecimal digits after '\\u'"},
        {"\"\\ud800\"", "line 1, column 2: a lone surrogate has no UTF-8"},
        {"\"\\ud800x\"", "line 1, column 2: a lone surrogate has no UTF-8"},
        {"\"\\ud800\\u0041\"", "line 1, column 2: a lone surrogate has no UTF-8"},
        {"\"\\udc00\\ud800\"", "line 1, column 2: a lone surrogate has no UTF-8"},
        {"\"ab\x80\"", "line 1, column 4: invalid UTF-8 in a string"},
        {"\"\xC3\xA9\xC3\"", "line 1, column 4: invalid UTF-8 in a string"},
        {"\"\xED\xA0\x80\"", "line 1, column 2: invalid UTF-8 in a string"},
        {"\"\xC0\x80\"", "line 1, column 2: invalid UTF-8 in a string"},
        {"\"\xF4\x90\x80\x80\"", "line 1, column 2: invalid UTF-8 in a string"},
        {"[1,\n2,\n  x]", "line 3, column 3: expected a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char letters[64];
        shardy_error err = {0};
        /* A copy without a zero behind it, so that a sanitizer sees reading beyond the end. */
        size_t len = strlen(cases[i].text);
        char *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, cases[i].text, len);
        assert_status(
            SHARDY_INVALID, read_tokens(shardy__bytes(copy, len), letters, sizeof letters, &err));
        assert_string_equal(cases[i].message, err.message);
        free(copy);
    }
}

static void test_reader__a_zero_byte_is_no_json(void **state)
{
    (void)state;
    char letters[8];
    shardy_error err = {0};
    assert_status(SHARDY_INVALID, read_tokens(shardy__bytes("1\0", 2), letters, 8, &err));
    assert_status(SHARDY_INVALID, read_tokens(shardy__bytes("\"\0\"", 3), letters, 8, &err));
}

static void test_reader__allows_64_levels_and_no_more(void **state)
{
    (void)state;
    char text[200];
    char letters[200];
    shardy_error err = {0};
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_ok(read_tokens(shardy__bytes(text, 128), letters, sizeof letters, &err));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_status(
        SHARDY_INVALID, read_tokens(shardy__bytes(text, 130), letters, sizeof letters, &err));
    assert_non_null(strstr(err.message, "limit of 64"));
}

static void test_reader__stays_at_a_failure(void **state)
{
    (void)state;
    json_reader r;
    shardy_error err = {0};
    shardy__json_reader_init(&r, bytes_of("[1,x]"));
    assert_ok(shardy__json_next(&r, &err));
    assert_ok(shardy__json_next(&r, &err));
    for (int i = 0; i < 3; i++) {
        assert_status(SHARDY_INVALID, shardy__json_next(&r, &err));
        assert_string_equal("line 1, column 4: expected a value", err.message);
    }
}

static void test_reader__tells_what_is_in_a_string(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t flags;
        const char *decoded;
        size_t len;
    } cases[] = {
        {"\"plain\"", 0, "plain", 5},
        {"\"a\\nb\\\"\\\\\"", JSON_HAS_ESCAPES, "a\nb\"\\", 5},
        {"\"\\/\"", JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL, "/", 1},
        {"\"\\u0041\"", JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL, "A", 1},
        {"\"x\\u0000y\"", JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL, "x\0y", 3},
        {"\"\\uD83D\\ude00\"", JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL, "\xF0\x9F\x98\x80", 4},
        {"\"\\uFFFF\\u07ff\"", JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL, "\xEF\xBF\xBF\xDF\xBF", 5},
        {"\"\xC3\xA9\"", JSON_HAS_NON_ASCII, "\xC3\xA9", 2},
        {"\"\x7F\"", JSON_HAS_NON_ASCII, "\x7F", 1},
        {"\"\xC3\xA9\\t\\u00e9\"", JSON_HAS_NON_ASCII | JSON_HAS_ESCAPES | JSON_HAS_UNUSUAL,
            "\xC3\xA9\t\xC3\xA9", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_reader r;
        shardy_error err = {0};
        bytebuf buf;
        shardy__bytebuf_init(&buf, 100);
        shardy__json_reader_init(&r, bytes_of(cases[i].text));
        assert_ok(shardy__json_next(&r, &err));
        assert_int_equal(JSON_STRING, r.token);
        assert_int_equal(cases[i].flags, r.flags);
        shardy__json_decode(r.text, &buf);
        assert_int_equal(cases[i].len, buf.len);
        assert_memory_equal(cases[i].decoded, buf.data, buf.len);
        assert_true(shardy__json_text_equals(r.text, r.flags, cases[i].decoded, cases[i].len));
        assert_false(shardy__json_text_equals(r.text, r.flags, cases[i].decoded, cases[i].len - 1));
        assert_false(shardy__json_text_equals(r.text, r.flags, "plainz", 6));
        shardy__bytebuf_free(&buf);
    }
}

static void test_reader__finds_every_special_byte_at_every_place(void **state)
{
    (void)state;
    /* The scanner takes eight bytes at a time: each byte value at each place of a long string. */
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 20; at++) {
            char text[24];
            memset(text, 'a', sizeof text);
            text[0] = '"';
            text[21] = '"';
            text[1 + at] = (char)c;
            json_reader r;
            shardy__json_reader_init(&r, shardy__bytes(text, 22));
            shardy_status st = shardy__json_next(&r, NULL);
            if (c == '"') {
                assert_int_equal(SHARDY_OK, st);
                assert_int_equal(at, r.text.len);
            } else if (c < 0x20 || c == '\\' || c >= 0x80) {
                assert_int_equal(SHARDY_INVALID, st);
                /* A backslash before the last quote escapes it. */
                bool last = c == '\\' && at == 19;
                assert_true(r.problem_at == (last ? text : text + 1 + at));
            } else {
                assert_int_equal(SHARDY_OK, st);
                assert_int_equal(20, r.text.len);
            }
        }
    }
}

static void test_skip__gives_the_text_of_a_value_as_it_is_written(void **state)
{
    (void)state;
    json_reader r;
    shardy_error err = {0};
    shardy_bytes raw;
    shardy__json_reader_init(
        &r, bytes_of("{\"a\": {\"x\" : [1, 2]} , \"b\":\"q\\n\",\"c\":-1.50}"));
    static const char *const raws[] = {"{\"x\" : [1, 2]}", "\"q\\n\"", "-1.50"};
    assert_ok(shardy__json_next(&r, &err));
    for (size_t i = 0; i < 3; i++) {
        assert_ok(shardy__json_next(&r, &err));
        assert_int_equal(JSON_NAME, r.token);
        assert_ok(shardy__json_next(&r, &err));
        assert_ok(shardy__json_skip(&r, &raw, &err));
        assert_int_equal(strlen(raws[i]), raw.len);
        assert_memory_equal(raws[i], raw.data, raw.len);
    }
    assert_ok(shardy__json_next(&r, &err));
    assert_int_equal(JSON_OBJECT_END, r.token);
    assert_ok(shardy__json_next(&r, &err));
    assert_int_equal(JSON_END, r.token);
    assert_ok(shardy__json_next(&r, &err));
    assert_int_equal(JSON_END, r.token);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void check_style(const char *text, uint32_t style, const char *expected)
{
    shardy_error err = {0};
    bytebuf out;
    shardy__bytebuf_init(&out, 1u << 20);
    assert_ok(shardy__json_restyle(bytes_of(text), style, &out, &err));
    assert_string_equal(expected, out.data);
    /* The same by way of a document. */
    shardy_json *json;
    json_writer w;
    assert_ok(shardy_json_parse(bytes_of(text), &json, &err));
    shardy__bytebuf_clear(&out);
    shardy__json_writer_init(&w, &out, style);
    shardy__json_value(&w, shardy_json_root(json));
    assert_ok(shardy__json_writer_finish(&w, "test", &err));
    assert_string_equal(expected, out.data);
    shardy__json_writer_free(&w);
    shardy_json_free(json);
    shardy__bytebuf_free(&out);
}

static void test_writer__styles_are_byte_by_byte_those_of_python(void **state)
{
    (void)state;
    size_t len;
    char *file = support_read_file(support_source("tests/golden/files/text/json_styles.txt"), &len);
    static const uint32_t styles[] = {
        JSON_PYTHON, JSON_SORTED, JSON_COMPACT, JSON_COMPACT | JSON_KEEP_UTF8};
    size_t groups = 0;
    for (char *line = file; line < file + len; groups++) {
        char *lines[5];
        for (size_t i = 0; i < 5; i++) {
            lines[i] = line;
            line = strchr(line, '\n');
            assert_non_null(line);
            *line++ = '\0';
        }
        for (size_t i = 0; i < 4; i++) {
            check_style(lines[0], styles[i], lines[1 + i]);
        }
    }
    assert_true(groups > 200);
    free(file);
}

static void test_writer__numbers_keep_their_text(void **state)
{
    (void)state;
    check_style("[1.50, 1E5, -0, 123456789012345678901234567890, 0.1e-7]", JSON_COMPACT,
        "[1.50,1E5,-0,123456789012345678901234567890,0.1e-7]");
}

static void test_writer__builds_values_piece_by_piece(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, 1000);
    shardy__json_writer_init(&w, &out, JSON_PYTHON);
    shardy__json_begin_object(&w);
    shardy__json_name(&w, "z");
    shardy__json_int(&w, INT64_MIN);
    shardy__json_name(&w, "a");
    shardy__json_begin_array(&w);
    shardy__json_uint(&w, UINT64_MAX);
    shardy__json_double(&w, 1e16);
    shardy__json_double(&w, (double)NAN);
    shardy__json_bool(&w, 1);
    shardy__json_bool(&w, 0);
    shardy__json_null(&w);
    shardy__json_string(&w, "tab\t\xC3\xA9");
    shardy__json_string(&w, NULL);
    shardy__json_text(&w, bytes_of("{\"b\":1,\"a\":[]}"));
    shardy__json_end_array(&w);
    shardy__json_end_object(&w);
    assert_ok(shardy__json_writer_finish(&w, "test", &err));
    assert_string_equal(
        "{\"z\": -9223372036854775808, \"a\": [18446744073709551615, 1e+16, NaN, true, "
        "false, null, \"tab\\t\\u00e9\", null, {\"b\": 1, \"a\": []}]}",
        out.data);
    shardy__bytebuf_clear(&out);
    shardy__json_writer_reset(&w, &out);
    shardy__json_string(&w, "again");
    assert_ok(shardy__json_writer_finish(&w, "test", &err));
    assert_string_equal("\"again\"", out.data);
    shardy__json_writer_free(&w);
    shardy__bytebuf_free(&out);
}

static void test_writer__appends_to_what_is_in_the_buffer(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf out;
    shardy__bytebuf_init(&out, 1000);
    shardy__bytebuf_puts(&out, "x=");
    assert_ok(
        shardy__json_restyle(bytes_of("{\"b\":1,\"a\":2,\"b\":3}"), JSON_COMPACT, &out, &err));
    assert_string_equal("x={\"a\":2,\"b\":3}", out.data);
    shardy__bytebuf_free(&out);
}

static void finish_fails(void (*write)(json_writer *w), shardy_status expected, size_t len_max)
{
    shardy_error err = {0};
    bytebuf out;
    json_writer w;
    shardy__bytebuf_init(&out, len_max);
    shardy__json_writer_init(&w, &out, JSON_COMPACT);
    write(&w);
    assert_status(expected, shardy__json_writer_finish(&w, "test", &err));
    shardy__json_writer_free(&w);
    shardy__bytebuf_free(&out);
}

static void write_bad_utf8(json_writer *w)
{
    shardy__json_begin_array(w);
    shardy__json_string(w, "a\xFF");
    shardy__json_end_array(w);
}

static void write_bad_utf8_name(json_writer *w)
{
    shardy__json_begin_object(w);
    shardy__json_name(w, "\xC3");
    shardy__json_null(w);
    shardy__json_end_object(w);
}

static void write_too_deep(json_writer *w)
{
    for (int i = 0; i < 65; i++) {
        shardy__json_begin_array(w);
    }
    for (int i = 0; i < 65; i++) {
        shardy__json_end_array(w);
    }
}

static void write_two(json_writer *w)
{
    shardy__json_null(w);
    shardy__json_null(w);
}

static void write_open(json_writer *w)
{
    shardy__json_begin_array(w);
}

static void write_crossed(json_writer *w)
{
    shardy__json_begin_array(w);
    shardy__json_end_object(w);
}

static void write_no_name(json_writer *w)
{
    shardy__json_begin_object(w);
    shardy__json_null(w);
    shardy__json_end_object(w);
}

static void write_no_value(json_writer *w)
{
    shardy__json_begin_object(w);
    shardy__json_name(w, "a");
    shardy__json_end_object(w);
}

static void write_no_json(json_writer *w)
{
    shardy__json_text(w, shardy__bytes("[1] 2", 5));
}

static void write_long(json_writer *w)
{
    shardy__json_begin_object(w);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        shardy__json_name(w, name);
        shardy__json_string(w, "0123456789");
    }
    shardy__json_end_object(w);
}

static void write_nothing(json_writer *w)
{
    (void)w;
}

static void test_writer__failures_stick_and_are_told_at_the_end(void **state)
{
    (void)state;
    finish_fails(write_bad_utf8, SHARDY_INVALID, 1000);
    finish_fails(write_bad_utf8_name, SHARDY_INVALID, 1000);
    finish_fails(write_too_deep, SHARDY_INVALID, 1000);
    finish_fails(write_no_json, SHARDY_INVALID, 1000);
    finish_fails(write_long, SHARDY_INVALID, 100);
    finish_fails(write_two, SHARDY_INTERNAL, 1000);
    finish_fails(write_open, SHARDY_INTERNAL, 1000);
    finish_fails(write_crossed, SHARDY_INTERNAL, 1000);
    finish_fails(write_no_name, SHARDY_INTERNAL, 1000);
    finish_fails(write_no_value, SHARDY_INTERNAL, 1000);
    finish_fails(write_nothing, SHARDY_INTERNAL, 1000);
}

static void test_writer__fits_exactly_into_its_maximum(void **state)
{
    (void)state;
    shardy_error err = {0};
    const char *text = "{\"b\":\"\xC3\xA9\",\"a\":[1,2]}";
    const char *expected = "{\"a\":[1,2],\"b\":\"\\u00e9\"}";
    for (size_t max = 0; max < 40; max++) {
        bytebuf out;
        shardy__bytebuf_init(&out, max);
        shardy_status st = shardy__json_restyle(bytes_of(text), JSON_COMPACT, &out, &err);
        assert_int_equal(max < strlen(expected) ? SHARDY_INVALID : SHARDY_OK, st);
        if (st == SHARDY_OK) {
            assert_string_equal(expected, out.data);
        }
        shardy__bytebuf_free(&out);
    }
}

static void test_restyle__says_where_the_text_is_wrong(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf out;
    shardy__bytebuf_init(&out, 100);
    assert_status(
        SHARDY_INVALID, shardy__json_restyle(bytes_of("{\"a\":1,\n}"), JSON_COMPACT, &out, &err));
    assert_string_equal("line 2, column 1: expected a name in quotes after ','", err.message);
    shardy__bytebuf_clear(&out);
    assert_status(
        SHARDY_INVALID, shardy__json_restyle(bytes_of("[1] x"), JSON_COMPACT, &out, &err));
    shardy__bytebuf_free(&out);
}

/* --- documents -------------------------------------------------------------------------------- */

static void test_document__members_are_found_by_name(void **state)
{
    (void)state;
    shardy_error err = {0};
    /* Below and above the number of members from which there is an index. */
    for (size_t n = 0; n < 40; n++) {
        bytebuf text;
        shardy__bytebuf_init(&text, 10000);
        shardy__bytebuf_putc(&text, '{');
        for (size_t i = 0; i < n; i++) {
            shardy__bytebuf_printf(
                &text, "%s\"m%zu\":%zu", i ? "," : "", i * 7 % (n ? n : 1) + 100 * i, i);
        }
        shardy__bytebuf_putc(&text, '}');
        shardy_json *json;
        assert_ok(shardy_json_parse(shardy__bytes(text.data, text.len), &json, &err));
        const shardy_json_value *root = shardy_json_root(json);
        assert_int_equal(SHARDY_JSON_OBJECT, shardy_json_type_of(root));
        assert_int_equal(n, shardy_json_count(root));
        for (size_t i = 0; i < n; i++) {
            char name[32];
            int64_t value;
            snprintf(name, sizeof name, "m%zu", i * 7 % n + 100 * i);
            assert_int_equal(1, shardy_json_int64(shardy_json_get(root, name), &value));
            assert_int_equal(i, value);
            shardy_bytes at = shardy_json_name_at(root, i);
            assert_int_equal(strlen(name), at.len);
            assert_memory_equal(name, at.data, at.len);
            assert_ptr_equal(shardy_json_at(root, i), shardy_json_get(root, name));
        }
        assert_null(shardy_json_get(root, "m"));
        assert_null(shardy_json_get(root, ""));
        assert_null(shardy_json_at(root, n));
        assert_int_equal(0, shardy_json_name_at(root, n).len);
        shardy_json_free(json);
        shardy__bytebuf_free(&text);
    }
}

static void test_document__the_last_of_equal_names_counts(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_json *json;
    int64_t value;
    assert_ok(shardy_json_parse(
        bytes_of("{\"a\":1,\"b\":2,\"\\u0061\":3,\"c\":4,\"b\":5}"), &json, &err));
    const shardy_json_value *root = shardy_json_root(json);
    assert_int_equal(3, shardy_json_count(root));
    assert_int_equal(1, shardy_json_int64(shardy_json_get(root, "a"), &value));
    assert_int_equal(3, value);
    assert_int_equal(1, shardy_json_int64(shardy_json_get(root, "b"), &value));
    assert_int_equal(5, value);
    assert_memory_equal("c", shardy_json_name_at(root, 2).data, 1);
    shardy_json_free(json);
}

static void test_document__members_of_large_objects_are_found_when_names_repeat(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf text;
    shardy_json *json;
    shardy__bytebuf_init(&text, 10000);
    /* n29 ... n0 three times, with the values 0 ... 89. */
    for (int i = 0; i < 90; i++) {
        shardy__bytebuf_printf(&text, "%c\"n%d\":%d", i ? ',' : '{', 29 - i % 30, i);
    }
    shardy__bytebuf_putc(&text, '}');
    assert_ok(shardy_json_parse(shardy__bytes(text.data, text.len), &json, &err));
    const shardy_json_value *root = shardy_json_root(json);
    assert_int_equal(30, shardy_json_count(root));
    for (int i = 0; i < 30; i++) {
        char name[16];
        int64_t value;
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(1, shardy_json_int64(shardy_json_get(root, name), &value));
        assert_int_equal(89 - i, value);
        assert_ptr_equal(shardy_json_at(root, (size_t)(29 - i)), shardy_json_get(root, name));
    }
    shardy_json_free(json);
    shardy__bytebuf_free(&text);
}

static void test_document__values_have_types(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_json *json;
    assert_ok(shardy_json_parse(
        bytes_of("[null,true,false,18446744073709551615,-1.5,\"x\\u0000\",[],{},NaN]"), &json,
        &err));
    const shardy_json_value *root = shardy_json_root(json);
    static const int types[] = {SHARDY_JSON_NULL, SHARDY_JSON_BOOL, SHARDY_JSON_BOOL,
        SHARDY_JSON_NUMBER, SHARDY_JSON_NUMBER, SHARDY_JSON_STRING, SHARDY_JSON_ARRAY,
        SHARDY_JSON_OBJECT, SHARDY_JSON_NUMBER};
    assert_int_equal(9, shardy_json_count(root));
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(types[i], shardy_json_type_of(shardy_json_at(root, i)));
    }
    assert_int_equal(1, shardy_json_bool(shardy_json_at(root, 1)));
    assert_int_equal(0, shardy_json_bool(shardy_json_at(root, 2)));
    int64_t i;
    uint64_t u;
    double d;
    assert_int_equal(0, shardy_json_int64(shardy_json_at(root, 3), &i));
    assert_int_equal(1, shardy_json_uint64(shardy_json_at(root, 3), &u));
    assert_true(u == UINT64_MAX);
    assert_int_equal(0, shardy_json_int64(shardy_json_at(root, 4), &i));
    assert_int_equal(1, shardy_json_double(shardy_json_at(root, 4), &d));
    assert_true(d == -1.5);
    assert_memory_equal("-1.5", shardy_json_string(shardy_json_at(root, 4)).data, 4);
    assert_int_equal(2, shardy_json_string(shardy_json_at(root, 5)).len);
    assert_memory_equal("x\0", shardy_json_string(shardy_json_at(root, 5)).data, 2);
    assert_int_equal(0, shardy_json_count(shardy_json_at(root, 6)));
    assert_int_equal(0, shardy_json_count(shardy_json_at(root, 7)));
    assert_null(shardy_json_get(shardy_json_at(root, 7), "a"));
    assert_int_equal(1, shardy_json_double(shardy_json_at(root, 8), &d));
    assert_true(isnan(d));
    assert_int_equal(0, shardy_json_type_of(NULL));
    assert_int_equal(0, shardy_json_double(shardy_json_at(root, 5), &d));
    assert_int_equal(0, shardy_json_string(shardy_json_at(root, 1)).len);
    assert_null(shardy_json_get(root, "a"));
    assert_null(shardy_json_at(shardy_json_at(root, 5), 0));
    shardy_json_free(json);
    shardy_json_free(NULL);
    assert_null(shardy_json_root(NULL));
}

static void test_document__text_that_is_not_json_is_invalid(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_json *json;
    assert_status(SHARDY_INVALID, shardy_json_parse(bytes_of("{\"a\":[1,2}"), &json, &err));
    assert_null(json);
    assert_string_equal("line 1, column 10: expected ',' or ']' in an array", err.message);
    assert_status(SHARDY_INVALID, shardy_json_parse(shardy__bytes(NULL, 0), &json, &err));
    assert_status(SHARDY_INVALID, shardy_json_parse(shardy__bytes(NULL, 3), &json, &err));
    assert_status(SHARDY_INVALID,
        shardy_json_parse(shardy__bytes("x", SHARDY_JSON_LEN_MAX + 1u), &json, &err));
    assert_non_null(strstr(err.message, "limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader__gives_the_tokens_of_a_text),
        cmocka_unit_test(test_reader__refuses_what_is_not_json_and_says_where),
        cmocka_unit_test(test_reader__a_zero_byte_is_no_json),
        cmocka_unit_test(test_reader__allows_64_levels_and_no_more),
        cmocka_unit_test(test_reader__stays_at_a_failure),
        cmocka_unit_test(test_reader__tells_what_is_in_a_string),
        cmocka_unit_test(test_reader__finds_every_special_byte_at_every_place),
        cmocka_unit_test(test_skip__gives_the_text_of_a_value_as_it_is_written),
        cmocka_unit_test(test_writer__styles_are_byte_by_byte_those_of_python),
        cmocka_unit_test(test_writer__numbers_keep_their_text),
        cmocka_unit_test(test_writer__builds_values_piece_by_piece),
        cmocka_unit_test(test_writer__appends_to_what_is_in_the_buffer),
        cmocka_unit_test(test_writer__failures_stick_and_are_told_at_the_end),
        cmocka_unit_test(test_writer__fits_exactly_into_its_maximum),
        cmocka_unit_test(test_restyle__says_where_the_text_is_wrong),
        cmocka_unit_test(test_document__members_are_found_by_name),
        cmocka_unit_test(test_document__the_last_of_equal_names_counts),
        cmocka_unit_test(test_document__members_of_large_objects_are_found_when_names_repeat),
        cmocka_unit_test(test_document__values_have_types),
        cmocka_unit_test(test_document__text_that_is_not_json_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
