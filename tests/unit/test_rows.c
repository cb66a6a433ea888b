/* Row sources. Expected results for CSV come from Python's csv: make_text_cases.py. */
#include "base/bytebuf.h"
#include "base/npy.h"
#include "support/support.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/rows.h>
#include <shardyfusion/sys/testing.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

/* --- rows as text ----------------------------------------------------------------------------- */

static void show_key(bytebuf *out, const shardy_key *key)
{
    switch (key->type) {
    case SHARDY_KEY_INT:
        shardy__bytebuf_printf(out, "i%lld", (long long)key->i);
        break;
    case SHARDY_KEY_UINT:
        shardy__bytebuf_printf(out, "u%llu", (unsigned long long)key->u);
        break;
    default:
        shardy__bytebuf_putc(out, 't');
        shardy__bytebuf_append(out, key->bytes.data, key->bytes.len);
        break;
    }
}

static void show_column(bytebuf *out, const shardy_column *c)
{
    shardy__bytebuf_printf(out, " %s=", c->name);
    switch (c->type) {
    case SHARDY_COLUMN_NULL:
        shardy__bytebuf_puts(out, "null");
        break;
    case SHARDY_COLUMN_INT:
        shardy__bytebuf_printf(out, "i%lld", (long long)c->i);
        break;
    case SHARDY_COLUMN_UINT:
        shardy__bytebuf_printf(out, "u%llu", (unsigned long long)c->u);
        break;
    case SHARDY_COLUMN_DOUBLE:
        shardy__bytebuf_printf(out, "d%g", c->d);
        break;
    case SHARDY_COLUMN_BOOL:
        shardy__bytebuf_printf(out, "b%d", c->b);
        break;
    default:
        shardy__bytebuf_putc(out, 't');
        shardy__bytebuf_append(out, c->bytes.data, c->bytes.len);
        break;
    }
}

/* "key value [vector] #id !payload column=..." of a row. */
static void show_row(bytebuf *out, const shardy_row *row)
{
    show_key(out, &row->key);
    shardy__bytebuf_putc(out, ' ');
    shardy__bytebuf_append(out, row->value.data, row->value.len);
    if (row->vector) {
        shardy__bytebuf_puts(out, " [");
        for (uint32_t i = 0; i < row->dim; i++) {
            shardy__bytebuf_printf(out, "%s%g", i ? "," : "", (double)row->vector[i]);
        }
        shardy__bytebuf_putc(out, ']');
    } else {
        assert_int_equal(0, row->dim);
    }
    if (row->has_vector_id) {
        shardy__bytebuf_puts(out, " #");
        show_key(out, &row->vector_id);
    }
    if (row->has_payload) {
        shardy__bytebuf_puts(out, " !");
        shardy__bytebuf_append(out, row->payload.data, row->payload.len);
    }
    for (size_t i = 0; i < row->column_count; i++) {
        show_column(out, &row->columns[i]);
    }
    shardy__bytebuf_putc(out, '\n');
}

/* Reads all rows of files; the text of the rows, and the status and error of the end. */
static shardy_status read_files(const char *const *paths, size_t count,
    const shardy_row_source_options *options, bytebuf *out, shardy_error *err)
{
    shardy_row_source *source;
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    shardy__bytebuf_clear(out);
    shardy__bytebuf_append(out, "", 0);
    shardy_status st = shardy_row_source_open(NULL, paths, count, options, &source, err);
    if (st < 0) {
        assert_null(source);
        return st;
    }
    while ((st = shardy_row_source_next(source, &row, err)) == SHARDY_OK) {
        show_row(out, &row);
    }
    /* The end repeats itself. */
    shardy_error again = {0};
    assert_int_equal(st, shardy_row_source_next(source, &row, &again));
    if (st < 0) {
        assert_string_equal(err->message, again.message);
        assert_int_equal(st, again.status);
    }
    shardy_row_source_close(source);
    return st;
}

typedef struct fixture {
    char *dir;
    bytebuf out;
    shardy_row_source_options options;
    shardy_error err;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->dir = support_make_dir();
    shardy__bytebuf_init(&f->out, 1u << 28);
    shardy_row_source_options_init(&f->options, sizeof f->options);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    shardy__bytebuf_free(&f->out);
    support_remove_dir(f->dir);
    free(f);
    return 0;
}

static shardy_status read_text(fixture *f, const char *name, const char *text)
{
    const char *path = support_path(f->dir, name);
    support_write_file(path, text, strlen(text));
    return read_files(&path, 1, &f->options, &f->out, &f->err);
}

static void check_rows(fixture *f, const char *name, const char *text, const char *expected)
{
    shardy_error err = {0};
    shardy_status st = read_text(f, name, text);
    err = f->err;
    assert_status(SHARDY_DONE, st);
    assert_string_equal(expected, f->out.data);
}

/* INVALID, and the message is the path of the file and `message`. */
static void check_invalid(fixture *f, const char *name, const char *text, const char *message)
{
    char expected[2000];
    snprintf(expected, sizeof expected, "%s/%s%s", f->dir, name, message);
    assert_int_equal(SHARDY_INVALID, read_text(f, name, text));
    assert_string_equal(expected, f->err.message);
    assert_string_equal("rows", f->err.domain);
}

/* --- JSON lines ------------------------------------------------------------------------------- */

static void test_jsonl__value_is_the_row_without_the_key(void **state)
{
    check_rows(*state, "a.jsonl",
        "{\"key\":\"a\",\"z\":1,\"b\":[1, 2],\"\xC3\xA9\":null}\n"
        "{\"key\":7}\n"
        "{\"n\":1.50,\"key\":18446744073709551615,\"n\":2.50}\n"
        "{\"\\u006bey\":\"q\\u0041\\n\",\"s\":\"\xC3\xA9\\/\"}",
        "ta {\"b\":[1,2],\"z\":1,\"\\u00e9\":null}\n"
        "i7 {}\n"
        "u18446744073709551615 {\"n\":2.50}\n"
        "tqA\n {\"s\":\"\\u00e9/\"}\n");
}

static void test_jsonl__value_column_is_utf8_or_compact_json(void **state)
{
    fixture *f = *state;
    f->options.value_column = "v";
    check_rows(f, "a.jsonl",
        "{\"key\":1,\"v\":\"text \xC3\xA9\"}\n"
        "{\"key\":2,\"v\":\"esc\\u00e9\\t\"}\n"
        "{\"key\":3,\"v\":{\"b\": 1, \"a\": [true, \"\xC3\xA9\"]}}\n"
        "{\"key\":4,\"v\":null,\"x\":{\"deep\":[[]]}}\n"
        "{\"key\":5,\"v\":1e5}\n"
        "{\"key\":6,\"v\":\"first\",\"v\":\"\"}\n"
        "{\"key\":7,\"v\":[1],\"v\":[2 ,3]}\n",
        "i1 text \xC3\xA9\n"
        "i2 esc\xC3\xA9\t\n"
        "i3 {\"a\":[true,\"\\u00e9\"],\"b\":1}\n"
        "i4 null\n"
        "i5 1e5\n"
        "i6 \n"
        "i7 [2,3]\n");
}

static void test_jsonl__key_column_has_any_name(void **state)
{
    fixture *f = *state;
    f->options.key_column = "id \xC3\xA9";
    f->options.value_column = "v";
    check_rows(f, "a.jsonl", "{\"id \xC3\xA9\":-5,\"v\":\"\"}\n{\"id \\u00e9\":\"x\",\"v\":\"\"}\n",
        "i-5 \ntx \n");
}

static void test_jsonl__keys_are_strings_or_integers_that_fit(void **state)
{
    static const struct {
        const char *key;
        const char *message;
    } cases[] = {
        {"1.5", ":1:8: key \"1.5\""},
        {"1e3", ":1:8: key \"1e3\""},
        {"1.0", ":1:8: key \"1.0\""},
        {"true", ":1:8: key \"true\""},
        {"null", ":1:8: key \"null\""},
        {"[1, 2]", ":1:8: key \"[1, 2]\""},
        {"{}", ":1:8: key \"{}\""},
        {"18446744073709551616", ":1:8: key \"18446744073709551616\""},
        {"-9223372036854775809", ":1:8: key \"-9223372036854775809\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[200];
        char message[300];
        snprintf(line, sizeof line, "{\"key\":%s}", cases[i].key);
        snprintf(message, sizeof message,
            "%s in the field \"key\": expected a string or an integer from -2^63 to 2^64-1",
            cases[i].message);
        check_invalid(*state, "a.jsonl", line, message);
    }
    check_rows(*state, "a.jsonl",
        "{\"key\":-9223372036854775808}\n{\"key\":9223372036854775807}\n"
        "{\"key\":9223372036854775808}\n{\"key\":-0}\n{\"key\":\"\"}\n",
        "i-9223372036854775808 {}\ni9223372036854775807 {}\nu9223372036854775808 {}\ni0 {}\nt "
        "{}\n");
}

static void test_jsonl__errors_name_file_line_and_column(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"{\"key\":1}\n{\"key\":2 \"b\":1}\n", ":2:10: expected ',' or '}' in an object"},
        {"\n \r\n{\"key\":1}\n[1]\n",
            ":4:1: expected an object of JSON: a row is {\"name\": value, ...}"},
        {"{\"key\":1}\n{\"key\":1} x\n", ":2:11: expected nothing after the value"},
        {"{\"key\":1}{\"key\":2}\n", ":1:10: expected nothing after the value"},
        {"{\"key\":1\n}\n", ":1:9: the text ends in an object"},
        {"{\"a\":1}\n", ":1:1: the row has no field \"key\" for its key"},
        {"{\"key\":\"\xFF\"}\n", ":1:9: invalid UTF-8 in a string"},
        {"{\"key\":1,\"b\":[1,{\"c\":}]}\n", ":1:22: expected a value"},
        {"{\"key\":1,\"b\":\"x\n", ":1:14: a string does not end"},
        {"x", ":1:1: expected an object of JSON: a row is {\"name\": value, ...}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_invalid(*state, "rows.jsonl", cases[i].text, cases[i].message);
    }
    fixture *f = *state;
    f->options.value_column = "v";
    check_invalid(
        f, "rows.jsonl", "{\"key\":1,\"v\":[1,2}\n", ":1:18: expected ',' or ']' in an array");
    check_invalid(
        f, "rows.jsonl", "{\"key\":1,\"x\":[1,2}\n", ":1:18: expected ',' or ']' in an array");
    check_invalid(
        f, "rows.jsonl", "{\"key\":1}\n", ":1:1: the row has no field \"v\" for its value");
}

static void test_jsonl__blank_lines_and_a_byte_order_mark_are_skipped(void **state)
{
    check_rows(*state, "a.jsonl", "\xEF\xBB\xBF{\"key\":1}\r\n\r\n  \n\t\n{\"key\":2}\n\n",
        "i1 {}\ni2 {}\n");
    check_rows(*state, "a.jsonl", "", "");
    check_rows(*state, "a.jsonl", "\n\n", "");
    check_rows(*state, "a.jsonl", "\xEF\xBB\xBF", "");
    check_invalid(*state, "a.jsonl", "{\"key\":1}\n\xEF\xBB\xBF{\"key\":2}\n",
        ":2:1: expected an object of JSON: a row is {\"name\": value, ...}");
}

static void test_jsonl__vectors_payloads_and_ids(void **state)
{
    fixture *f = *state;
    f->options.vector_column = "vec";
    f->options.payload_column = "meta";
    f->options.vector_id_column = "vid";
    check_rows(f, "a.jsonl",
        "{\"key\":1,\"vec\":[1, "
        "-2.5e0,3],\"vid\":\"x\\u0041\",\"meta\":{\"b\":1,\"a\":\"\xC3\xA9\"}}\n"
        "{\"key\":2,\"vec\":null,\"meta\":null,\"vid\":5}\n"
        "{\"key\":3,\"a\":1}\n"
        "{\"key\":4,\"vec\":[1e60,-2.5,-1e60],\"vid\":9223372036854775807,\"meta\":[1 , 2]}\n"
        "{\"key\":5,\"vec\":[1],\"vid\":1,\"vec\":null,\"meta\":1,\"meta\":null}\n",
        "i1 {\"vid\":\"xA\"} [1,-2.5,3] #txA !{\"b\": 1, \"a\": \"\\u00e9\"}\n"
        "i2 {\"vid\":5}\n"
        "i3 {\"a\":1}\n"
        "i4 {\"vid\":9223372036854775807} [inf,-2.5,-inf] #i9223372036854775807 ![1, 2]\n"
        "i5 {\"vid\":1}\n");
    static const struct {
        const char *line;
        const char *message;
    } cases[] = {
        {"{\"key\":1,\"vid\":1,\"vec\":[1,\"2\"]}",
            ":1:27: vector element \"\"2\"\" in the field \"vec\": expected a number"},
        {"{\"key\":1,\"vid\":1,\"vec\":[1,true]}",
            ":1:27: vector element \"true\" in the field \"vec\": expected a number"},
        {"{\"key\":1,\"vid\":1,\"vec\":[[1]]}",
            ":1:25: vector element \"[1]\" in the field \"vec\": expected a number"},
        {"{\"key\":1,\"vid\":1,\"vec\":[1,]}", ":1:27: expected a value"},
        {"{\"key\":1,\"vid\":1,\"vec\":1}",
            ":1:24: vector \"1\" in the field \"vec\": expected an array of numbers or null"},
        {"{\"key\":1,\"vid\":1,\"vec\":[]}",
            ":1:25: the vector in the field \"vec\" is empty: expected numbers, or null for none"},
        {"{\"key\":1,\"vec\":[1]}", ":1:1: the row has a vector, but no field \"vid\" for its id"},
        {"{\"key\":1,\"vec\":[1],\"vid\":null}",
            ":1:1: the row has a vector, but no field \"vid\" for its id"},
        {"{\"key\":1,\"vec\":[1],\"vid\":1.5}",
            ":1:26: vector id \"1.5\" in the field \"vid\": expected a string or an integer from "
            "-2^63 to 2^63-1"},
        {"{\"key\":1,\"vec\":[1],\"vid\":false}",
            ":1:26: vector id \"false\" in the field \"vid\": expected a string or an integer from "
            "-2^63 to 2^63-1"},
        {"{\"key\":1,\"vec\":[1],\"vid\":9223372036854775808}",
            ":1:26: vector id \"9223372036854775808\" in the field \"vid\": expected a string or "
            "an "
            "integer from -2^63 to 2^63-1"},
        {"{\"key\":1,\"meta\":{\"a\":}}", ":1:22: expected a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_invalid(f, "a.jsonl", cases[i].line, cases[i].message);
    }
}

static void test_jsonl__a_vector_has_at_most_as_many_numbers_as_the_limit(void **state)
{
    fixture *f = *state;
    f->options.vector_column = "v";
    for (size_t n = SHARDY_DIM_MAX; n <= SHARDY_DIM_MAX + 1; n++) {
        bytebuf text;
        shardy__bytebuf_init(&text, 1u << 20);
        shardy__bytebuf_puts(&text, "{\"key\":1,\"v\":[0");
        for (size_t i = 1; i < n; i++) {
            shardy__bytebuf_puts(&text, ",0");
        }
        shardy__bytebuf_puts(&text, "]}");
        assert_int_equal(
            n > SHARDY_DIM_MAX ? SHARDY_INVALID : SHARDY_DONE, read_text(f, "a.jsonl", text.data));
        shardy__bytebuf_free(&text);
    }
    assert_non_null(strstr(f->err.message, "limit of 8192"));
}

static void test_jsonl__what_python_takes_for_numbers_is_refused(void **state)
{
    static const struct {
        const char *line;
        const char *place;
    } cases[] = {
        {"{\"key\":1,\"a\":NaN}", ":1:14: NaN"},
        {"{\"key\":1,\"a\":[0,-Infinity]}", ":1:17: -Infinity"},
        {"{\"key\":1,\"vec\":[1,NaN]}", ":1:19: NaN"},
        {"{\"key\":1,\"meta\":{\"x\":Infinity}}", ":1:22: Infinity"},
        {"{\"key\":1,\"vec\":[1],\"vid\":NaN}", ":1:26: NaN"},
        {"{\"key\":1,\"both\":[NaN]}", ":1:18: NaN"},
        {"{\"key\":-Infinity}", ":1:8: -Infinity"},
    };
    static const char *const columns[] = {"both"};
    fixture *f = *state;
    f->options.vector_column = "vec";
    f->options.payload_column = "meta";
    f->options.vector_id_column = "vid";
    f->options.columns = columns;
    f->options.column_count = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[100];
        snprintf(message, sizeof message, "%s is no value of JSON", cases[i].place);
        check_invalid(f, "a.jsonl", cases[i].line, message);
    }
    f->options.column_count = 0;
    f->options.vector_id_column = NULL;
    check_invalid(f, "a.csv", "key,vec,meta\n1,\"[1,NaN]\",\n",
        ":2:3: the field \"vec\" is not JSON: byte 4: NaN is no value of JSON");
    check_invalid(f, "a.csv", "key,vec,meta\n1,[1],-Infinity\n",
        ":2:7: the field \"meta\" is not JSON: byte 1: -Infinity is no value of JSON");
}

static void test_jsonl__extra_columns_are_typed(void **state)
{
    fixture *f = *state;
    static const char *const columns[] = {"n", "s", "key"};
    f->options.columns = columns;
    f->options.column_count = 3;
    f->options.value_column = "s";
    check_rows(f, "a.jsonl",
        "{\"key\":1,\"n\":-3,\"s\":\"a\\\"b\"}\n"
        "{\"key\":\"k\",\"n\":18446744073709551615,\"s\":\"\"}\n"
        "{\"key\":3,\"n\":2.5,\"s\":null}\n"
        "{\"key\":4,\"n\":true,\"s\":true}\n"
        "{\"key\":5,\"n\":1,\"n\":null,\"s\":1e3}\n",
        "i1 a\"b n=i-3 s=ta\"b key=i1\n"
        "tk  n=u18446744073709551615 s=t key=tk\n"
        "i3 null n=d2.5 s=null key=i3\n"
        "i4 true n=b1 s=b1 key=i4\n"
        "i5 1e3 n=null s=d1000 key=i5\n");
    check_invalid(f, "a.jsonl", "{\"key\":1,\"s\":1,\"n\":[1]}\n",
        ":1:20: column value \"[1]\" in the field \"n\": expected a string, a number, true, false "
        "or null");
    check_invalid(f, "a.jsonl", "{\"key\":1,\"s\":1,\"n\":18446744073709551616}\n",
        ":1:20: integer \"18446744073709551616\" in the field \"n\": expected one from -2^63 to "
        "2^64-1");
    f->options.value_column = NULL;
    check_rows(f, "a.jsonl", "{\"s\":\"x\",\"key\":1,\"n\":2,\"a\":3}\n",
        "i1 {\"a\":3,\"n\":2,\"s\":\"x\"} n=i2 s=tx key=i1\n");
}

static void test_jsonl__many_columns_are_found_too(void **state)
{
    fixture *f = *state;
    static char names[40][8];
    const char *columns[40];
    bytebuf text;
    bytebuf expected;
    shardy__bytebuf_init(&text, 10000);
    shardy__bytebuf_init(&expected, 10000);
    shardy__bytebuf_puts(&text, "{\"key\":1");
    shardy__bytebuf_puts(&expected, "i1 v");
    for (size_t i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "c%zu", i);
        columns[i] = names[i];
        /* Some names with escapes: \u0063 is c. */
        shardy__bytebuf_printf(&text, ",\"%s%zu\":%zu", i % 3 ? "c" : "\\u0063", i, i * i);
        shardy__bytebuf_printf(&expected, " c%zu=i%zu", i, i * i);
    }
    shardy__bytebuf_puts(&text, ",\"c40\":1,\"v\":\"v\"}");
    shardy__bytebuf_puts(&expected, "\n");
    f->options.columns = columns;
    f->options.column_count = 40;
    f->options.value_column = "v";
    check_rows(f, "a.jsonl", text.data, expected.data);
    shardy__bytebuf_free(&text);
    shardy__bytebuf_free(&expected);
}

static void test_jsonl__long_lines_and_many_lines_pass_the_blocks(void **state)
{
    fixture *f = *state;
    bytebuf text;
    bytebuf expected;
    shardy__bytebuf_init(&text, 1u << 26);
    shardy__bytebuf_init(&expected, 1u << 26);
    support_rand rand = {support_seed()};
    f->options.value_column = "v";
    for (int i = 0; i < 3000; i++) {
        /* Mostly short; some longer than a block of 256 KiB. */
        size_t len = i % 1000 == 500 ? 700000 : support_rand_below(&rand, 300);
        shardy__bytebuf_printf(&text, "{\"key\":%d,\"v\":\"", i);
        shardy__bytebuf_printf(&expected, "i%d ", i);
        for (size_t j = 0; j < len; j++) {
            char c = (char)('a' + support_rand_below(&rand, 26));
            shardy__bytebuf_putc(&text, c);
            shardy__bytebuf_putc(&expected, c);
        }
        shardy__bytebuf_puts(&text, i % 2 ? "\"}\n" : "\"}\r\n\n");
        shardy__bytebuf_putc(&expected, '\n');
    }
    check_rows(f, "a.jsonl", text.data, expected.data);
    shardy__bytebuf_free(&text);
    shardy__bytebuf_free(&expected);
}

/* --- CSV -------------------------------------------------------------------------------------- */

/* Compares with lines "key TAB value" that Python made. */
static void check_csv_file(fixture *f, const char *name)
{
    char relative[200];
    snprintf(relative, sizeof relative, "tests/golden/files/text/%s.csv", name);
    const char *path = support_source(relative);
    shardy_error err = {0};
    shardy_status st = read_files(&path, 1, &f->options, &f->out, &err);
    assert_status(SHARDY_DONE, st);
    snprintf(relative, sizeof relative, "tests/golden/files/text/%s.expected", name);
    char *expected = support_read_file(support_source(relative), NULL);
    /* "k TAB v" is "tk v" here. */
    bytebuf text;
    shardy__bytebuf_init(&text, 1u << 20);
    for (char *line = expected; *line;) {
        char *end = strchr(line, '\n');
        char *tab = strchr(line, '\t');
        *tab = ' ';
        shardy__bytebuf_putc(&text, 't');
        shardy__bytebuf_append(&text, line, (size_t)(end + 1 - line));
        line = end + 1;
    }
    assert_string_equal(text.data, f->out.data);
    shardy__bytebuf_free(&text);
    free(expected);
}

static void test_csv__rows_are_those_of_pythons_csv(void **state)
{
    check_csv_file(*state, "rows_lf");
    check_csv_file(*state, "rows_crlf");
}

static void test_csv__columns_have_uses(void **state)
{
    fixture *f = *state;
    static const char *const columns[] = {"tag", "key"};
    f->options.value_column = "v";
    f->options.vector_column = "vec";
    f->options.payload_column = "meta";
    f->options.vector_id_column = "vid";
    f->options.columns = columns;
    f->options.column_count = 2;
    check_rows(f, "a.csv",
        "\xEF\xBB\xBFtag,v,key,vec,meta,vid,other\n"
        "red,text,1,\"[1, 2.5]\",\"{\"\"b\"\":1,\"\"a\"\":2}\",x,zzz\n"
        ",\"\",k\xC3\xA9,,,,\n"
        "\"a\"\"b\",\"l1\nl2\",3,null,null,,\n",
        "t1 text [1,2.5] #tx !{\"b\": 1, \"a\": 2} tag=tred key=t1\n"
        "tk\xC3\xA9  tag=t key=tk\xC3\xA9\n"
        "t3 l1\nl2 tag=ta\"b key=t3\n");
}

static void test_csv__integer_encodings_make_integer_keys(void **state)
{
    fixture *f = *state;
    f->options.value_column = "v";
    check_rows(f, "a.csv", "key,v\n12,a\n", "t12 a\n");
    static const int encodings[] = {SHARDY_KEY_ENCODING_U64BE, SHARDY_KEY_ENCODING_U32BE};
    for (size_t i = 0; i < 2; i++) {
        f->options.key_encoding = encodings[i];
        check_rows(f, "a.csv", "key,v\n12,a\n18446744073709551615,b\n-1,c\n",
            "i12 a\nu18446744073709551615 b\ni-1 c\n");
        static const char *const bad[] = {
            "", "x", "1.5", "01", " 1", "18446744073709551616", "1e3"};
        for (size_t j = 0; j < sizeof bad / sizeof bad[0]; j++) {
            char text[100];
            char message[300];
            snprintf(text, sizeof text, "v,key\na,1\nbb,%s\n", bad[j]);
            snprintf(message, sizeof message,
                ":3:4: key \"%s\" in the field \"key\": expected an integer from -2^63 to 2^64-1 "
                "without leading zeros",
                bad[j]);
            check_invalid(f, "a.csv", text, message);
        }
    }
}

static void test_csv__errors_name_file_line_and_column(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", ":1:1: the file is empty: expected a header line"},
        {"\n\r\n", ":1:1: the file is empty: expected a header line"},
        {"a,b\n1,2\n", ":1:1: the header has no column \"key\""},
        {"key,a,key\n", ":1:7: the header has the column \"key\" twice"},
        {"key,a\n1\n", ":2:1: the record has 1 fields, the header has 2"},
        {"key,a\n\n1,2\n1,2,3\n", ":4:1: the record has 3 fields, the header has 2"},
        {"key,a\n1,x\"y\n", ":2:4: a quote in a field that does not begin with one"},
        {"key,a\n1,\"x\" y\n", ":2:6: expected ',' or the end of the line after a quoted field"},
        {"key,a\n\"1\n2\",\"x\"y\n",
            ":3:7: expected ',' or the end of the line after a quoted field"},
        {"key,a\n1,\"x\n\n", ":2:3: a field in quotes does not end"},
        {"key,a\n1,x\ry\n", ":2:4: a carriage return without a line feed outside of quotes"},
        {"key,a\n1,\xFF\n", ":2:1: invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_invalid(*state, "a.csv", cases[i].text, cases[i].message);
    }
    fixture *f = *state;
    f->options.vector_column = "v";
    f->options.payload_column = "p";
    check_invalid(f, "a.csv", "key,v,p\n1,\"[1,2\",\n",
        ":2:3: the field \"v\" is not JSON: byte 5: the text ends in an array");
    check_invalid(f, "a.csv", "key,v,p\n1,[1] x,\n",
        ":2:3: the field \"v\" is not JSON: byte 5: expected nothing after the value");
    check_invalid(f, "a.csv", "key,v,p\n\"a\n\"\"b\",\"[\"\"x\"\"]\",\n",
        ":3:6: vector element \"\"x\"\" in the field \"v\": expected a number");
    check_invalid(f, "a.csv", "key,v,p\n1,,{x}\n",
        ":2:4: the field \"p\" is not JSON: byte 2: expected a name in quotes or '}'");
    check_invalid(f, "a.csv", "key,p\n1,\n", ":1:1: the header has no column \"v\"");
}

static void test_csv__line_ends_and_the_last_line(void **state)
{
    check_rows(*state, "a.csv", "key,a\r\n1,x\r\n\r\n2,\"y\"\r\n3,",
        "t1 {\"a\":\"x\"}\nt2 {\"a\":\"y\"}\nt3 {\"a\":\"\"}\n");
    check_rows(*state, "a.csv", "key\n\"\"\n\nx\r", "t {}\ntx {}\n");
    check_rows(*state, "a.csv", "key,a", "");
    check_rows(*state, "a.csv", "key,a\n1,\"x\"", "t1 {\"a\":\"x\"}\n");
}

static void test_csv__records_pass_the_blocks(void **state)
{
    fixture *f = *state;
    bytebuf text;
    bytebuf expected;
    shardy__bytebuf_init(&text, 1u << 26);
    shardy__bytebuf_init(&expected, 1u << 26);
    support_rand rand = {support_seed()};
    static const char *const pieces[] = {"abcdefghij", "\"\"", ",", "\n", "\r\n", "\xC3\xA9", "x"};
    static const char *const values[] = {"abcdefghij", "\"", ",", "\n", "\r\n", "\xC3\xA9", "x"};
    f->options.value_column = "v";
    shardy__bytebuf_puts(&text, "v,key\n");
    for (int i = 0; i < 4000; i++) {
        size_t n = i % 1000 == 900 ? 200000 : support_rand_below(&rand, 60);
        shardy__bytebuf_putc(&text, '"');
        shardy__bytebuf_printf(&expected, "tk%d ", i);
        for (size_t j = 0; j < n; j++) {
            size_t p = support_rand_below(&rand, 7);
            shardy__bytebuf_puts(&text, pieces[p]);
            shardy__bytebuf_puts(&expected, values[p]);
        }
        shardy__bytebuf_printf(&text, "\",k%d\n", i);
        shardy__bytebuf_putc(&expected, '\n');
    }
    check_rows(f, "a.csv", text.data, expected.data);
    shardy__bytebuf_free(&text);
    shardy__bytebuf_free(&expected);
}

/* A source of a file with that text, which is freed, and a row for it. */
static shardy_row_source *open_text(
    const fixture *f, const char *name, bytebuf *text, shardy_row *row)
{
    shardy_error err = {0};
    shardy_row_source *source;
    const char *path = support_path(f->dir, name);
    support_write_file(path, text->data, text->len);
    shardy__bytebuf_free(text);
    shardy_row_init(row, sizeof *row);
    assert_ok(shardy_row_source_open(NULL, &path, 1, &f->options, &source, &err));
    return source;
}

/* Files are read in blocks of so many bytes. */
#define BLOCK_LEN 262144u

typedef struct cut_case {
    const char *name;
    const char *head; /* its last five bytes end a filler that is put before them */
    const char *record;
    const char *last; /* the record after it */
    const char *expected;
    uint64_t last_line;
} cut_case;

/* Reads a file with a record that is cut by the end of the first block at each of its bytes. */
static void check_cuts(fixture *f, const cut_case *c)
{
    for (size_t cut = 0; cut <= strlen(c->record); cut++) {
        bytebuf text;
        shardy__bytebuf_init(&text, 1u << 20);
        shardy__bytebuf_append(&text, c->head, strlen(c->head) - 5);
        while (text.len < BLOCK_LEN - cut - 5) {
            shardy__bytebuf_putc(&text, 'x');
        }
        shardy__bytebuf_puts(&text, c->head + strlen(c->head) - 5);
        shardy__bytebuf_puts(&text, c->record);
        shardy__bytebuf_puts(&text, c->last);
        shardy_error err = {0};
        shardy_row row;
        shardy_row_source *source = open_text(f, c->name, &text, &row);
        assert_ok(shardy_row_source_next(source, &row, &err));
        assert_ok(shardy_row_source_next(source, &row, &err));
        shardy__bytebuf_clear(&f->out);
        show_row(&f->out, &row);
        assert_string_equal(c->expected, f->out.data);
        assert_ok(shardy_row_source_next(source, &row, &err));
        const char *path;
        uint64_t line;
        shardy_row_source_position(source, &path, &line);
        assert_int_equal(c->last_line, line);
        assert_status(SHARDY_DONE, shardy_row_source_next(source, &row, &err));
        shardy_row_source_close(source);
    }
}

static void test_source__a_row_may_be_cut_anywhere_by_the_end_of_a_block(void **state)
{
    fixture *f = *state;
    f->options.value_column = "v";
    static const cut_case cases[] = {
        {"a.csv", "key,v\nk,\"\"\r\n\r\n", "\"k\"\"2\"\"\",\"a\"\"\r\n\"\"\"\r\n\r\n", "k,v",
            "tk\"2\" a\"\r\n\"\n", 7},
        {"a.csv", "key,v\nk,\n\n\n\n\n", "k,v\r\n", "k,v", "tk v\n", 8},
        {"a.jsonl", "{\"v\":\"\",\"key\":\"\"}\r\n\n", "{\"key\":\"\\u00e9\",\"v\":12}\r\n",
            "{\"key\":1,\"v\":1}", "t\xC3\xA9 12\n", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_cuts(f, &cases[i]);
    }
}

/* --- vectors files ---------------------------------------------------------------------------- */

static const char *write_vectors(fixture *f, uint64_t rows, uint64_t cols, uint32_t dims)
{
    bytebuf out;
    shardy__bytebuf_init(&out, 1u << 24);
    float *values = calloc((size_t)(rows * cols) + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < rows * cols; i++) {
        values[i] = (float)i / 2;
    }
    shardy_error err = {0};
    assert_ok(shardy__npy_write_floats(values, rows, cols, dims, &out, &err));
    const char *path = support_path(f->dir, "vectors.npy");
    support_write_file(path, out.data, out.len);
    shardy__bytebuf_free(&out);
    free(values);
    return path;
}

static void test_npy__vectors_come_in_order_with_the_rows(void **state)
{
    fixture *f = *state;
    f->options.vectors_path = write_vectors(f, 3, 2, 2);
    check_rows(f, "a.jsonl", "{\"key\":1}\n\n{\"key\":2}\n{\"key\":3}\n",
        "i1 {} [0,0.5]\ni2 {} [1,1.5]\ni3 {} [2,2.5]\n");
    f->options.vector_id_column = "vid";
    check_rows(f, "a.csv", "key,vid\n1,a\n2,b\n3,c\n",
        "t1 {\"vid\":\"a\"} [0,0.5] #ta\nt2 {\"vid\":\"b\"} [1,1.5] #tb\n"
        "t3 {\"vid\":\"c\"} [2,2.5] #tc\n");
    check_invalid(f, "a.jsonl", "{\"key\":1}\n",
        ":1:1: the row has a vector, but no field \"vid\" for its id");
}

static void test_npy__every_type_is_read(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"f4", "f8", "f4big", "f8big", "i1", "v2", "v3"};
    const char *text =
        "{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n"
        "{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n{\"key\":1}\n"
        "{\"key\":1}\n";
    char first[4000] = "";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char relative[200];
        snprintf(relative, sizeof relative, "tests/golden/files/text/npy_%s.npy", names[i]);
        f->options.vectors_path = support_source(relative);
        assert_int_equal(SHARDY_DONE, read_text(f, "a.jsonl", text));
        if (i == 0) {
            assert_true(f->out.len < sizeof first);
            memcpy(first, f->out.data, f->out.len + 1);
        } else if (strcmp(names[i], "i1") != 0) {
            assert_string_equal(first, f->out.data);
        }
    }
}

static void test_npy__another_number_of_rows_is_invalid_with_both_counts(void **state)
{
    fixture *f = *state;
    char expected[1000];
    f->options.vectors_path = write_vectors(f, 2, 3, 2);
    check_rows(f, "a.jsonl", "{\"key\":1}\n{\"key\":2}\n", "i1 {} [0,0.5,1]\ni2 {} [1.5,2,2.5]\n");
    snprintf(expected, sizeof expected,
        "%s/a.jsonl:3:1: \"%s/vectors.npy\" has 2 vectors, but this is row 3", f->dir, f->dir);
    assert_int_equal(
        SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n{\"key\":2}\n{\"key\":3}\n"));
    assert_string_equal(expected, f->err.message);
    snprintf(expected, sizeof expected,
        "\"%s/vectors.npy\" has 2 vectors, but the number of rows is 1", f->dir);
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_string_equal(expected, f->err.message);
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", ""));
}

static void test_npy__arrays_that_cannot_be_used_are_invalid(void **state)
{
    fixture *f = *state;
    f->options.vectors_path = write_vectors(f, 4, 1, 1);
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "vectors.npy: an array with one dimension"));
    f->options.vectors_path = write_vectors(f, 2, 0, 2);
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "vectors with 0 dimensions"));
    f->options.vectors_path = write_vectors(f, 1, SHARDY_DIM_MAX + 1, 2);
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "vectors with 8193 dimensions"));
    f->options.vectors_path = support_source("tests/golden/files/text/npy_fortran.npy");
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "Fortran order"));
    f->options.vectors_path = support_path(f->dir, "none.npy");
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "there is no file"));
    f->options.vectors_path = support_path(f->dir, "a.jsonl");
    assert_int_equal(SHARDY_INVALID, read_text(f, "a.jsonl", "{\"key\":1}\n"));
    assert_non_null(strstr(f->err.message, "not a .npy file"));
}

static void test_npy__many_rows_pass_the_blocks(void **state)
{
    fixture *f = *state;
    const uint64_t rows = 2500;
    const uint64_t cols = 100;
    f->options.vectors_path = write_vectors(f, rows, cols, 2);
    f->options.value_column = "v";
    bytebuf text;
    shardy__bytebuf_init(&text, 1u << 20);
    for (uint64_t i = 0; i < rows; i++) {
        shardy__bytebuf_printf(&text, "{\"key\":%llu,\"v\":\"\"}\n", (unsigned long long)i);
    }
    shardy_error err = {0};
    shardy_row row;
    shardy_row_source *source = open_text(f, "a.jsonl", &text, &row);
    assert_int_equal(cols, shardy_row_source_dim(source));
    for (uint64_t i = 0; i < rows; i++) {
        assert_ok(shardy_row_source_next(source, &row, &err));
        assert_int_equal(cols, row.dim);
        assert_true(row.vector[0] == (float)(i * cols) / 2);
        assert_true(row.vector[cols - 1] == (float)(i * cols + cols - 1) / 2);
    }
    assert_status(SHARDY_DONE, shardy_row_source_next(source, &row, &err));
    shardy_row_source_close(source);
}

/* --- files ------------------------------------------------------------------------------------ */

static void test_source__files_are_read_one_after_the_other(void **state)
{
    fixture *f = *state;
    const char *paths[4];
    static const char *const names[] = {"1.jsonl", "2.csv", "3.jsonl", "4.csv"};
    static const char *const texts[] = {
        "{\"key\":1,\"v\":\"a\"}\n{\"key\":2,\"v\":\"b\"}", "key,v\n3,c\n", "\n", "v,key\nd,4\n"};
    for (size_t i = 0; i < 4; i++) {
        paths[i] = support_path(f->dir, names[i]);
        support_write_file(paths[i], texts[i], strlen(texts[i]));
    }
    f->options.value_column = "v";
    shardy_error err = {0};
    shardy_status st = read_files(paths, 4, &f->options, &f->out, &err);
    assert_status(SHARDY_DONE, st);
    assert_string_equal("i1 a\ni2 b\nt3 c\nt4 d\n", f->out.data);
}

static void test_source__tells_position_and_progress(void **state)
{
    fixture *f = *state;
    const char *paths[2] = {support_path(f->dir, "1.jsonl"), support_path(f->dir, "2.csv")};
    support_write_file(paths[0], "\n{\"key\":1}\n\n{\"key\":2}\n", 22);
    support_write_file(paths[1], "key\n\"a\nb\"\nc\n", 12);
    shardy_error err = {0};
    shardy_row_source *source;
    shardy_row row;
    const char *path;
    uint64_t line;
    uint64_t bytes;
    uint64_t total;
    shardy_row_init(&row, sizeof row);
    assert_ok(shardy_row_source_open(NULL, paths, 2, &f->options, &source, &err));
    shardy_row_source_position(source, &path, &line);
    assert_string_equal("", path);
    assert_int_equal(0, line);
    assert_int_equal(0, shardy_row_source_dim(source));
    shardy_row_source_progress(source, &bytes, &total);
    assert_int_equal(0, bytes);
    assert_int_equal(34, total);
    static const struct {
        size_t file;
        uint64_t line;
        uint64_t bytes;
    } expected[] = {{0, 2, 11}, {0, 4, 22}, {1, 2, 32}, {1, 4, 34}};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(shardy_row_source_next(source, &row, &err));
        shardy_row_source_position(source, &path, &line);
        assert_string_equal(paths[expected[i].file], path);
        assert_int_equal(expected[i].line, line);
        shardy_row_source_progress(source, &bytes, &total);
        assert_int_equal(expected[i].bytes, bytes);
    }
    assert_status(SHARDY_DONE, shardy_row_source_next(source, &row, &err));
    shardy_row_source_position(source, &path, &line);
    assert_int_equal(4, line);
    shardy_row_source_progress(source, &bytes, &total);
    assert_int_equal(34, bytes);
    shardy_row_source_close(source);
}

static void test_source__the_standard_input(void **state)
{
    fixture *f = *state;
    const char *text = "{\"key\":1}\n{\"key\":\"two\"}\n{\"key\":1.5}";
    int ends[2];
    assert_int_equal(0, pipe(ends));
    assert_int_equal((ssize_t)strlen(text), write(ends[1], text, strlen(text)));
    close(ends[1]);
    int saved = dup(0);
    dup2(ends[0], 0);
    close(ends[0]);
    const char *path = "-";
    shardy_error err = {0};
    shardy_status st = read_files(&path, 1, &f->options, &f->out, &err);
    dup2(saved, 0);
    close(saved);
    assert_status(SHARDY_INVALID, st);
    assert_string_equal("i1 {}\nttwo {}\n", f->out.data);
    assert_memory_equal("<stdin>:3:8: key \"1.5\"", err.message, 22);
}

static void test_source__options_are_checked(void **state)
{
    fixture *f = *state;
    const char *path = support_path(f->dir, "a.jsonl");
    support_write_file(path, "", 0);
    static const char *const twice[] = {"a", "b", "a"};
    static const char *const empty[] = {""};
    static const char *const bad[] = {"\xFF"};
    static const char *const null[] = {NULL};
    shardy_row_source_options defaults = f->options;
    for (int i = 0; i < 12; i++) {
        shardy_row_source_options o = defaults;
        switch (i) {
        case 0:
            o.format = 3;
            break;
        case 1:
            o.key_encoding = 5;
            break;
        case 2:
            o.key_column = NULL;
            break;
        case 3:
            o.key_column = "";
            break;
        case 4:
            o.vector_column = "v";
            o.vectors_path = "v.npy";
            break;
        case 5:
            o.columns = twice;
            o.column_count = 3;
            break;
        case 6:
            o.columns = empty;
            o.column_count = 1;
            break;
        case 7:
            o.columns = bad;
            o.column_count = 1;
            break;
        case 8:
            o.columns = null;
            o.column_count = 1;
            break;
        case 9:
            o.column_count = 1;
            break;
        case 10:
            o.columns = twice;
            o.column_count = SHARDY_COLUMNS_MAX + 1;
            break;
        default:
            o.struct_size = 0;
            break;
        }
        f->err.message[0] = '\0';
        assert_int_equal(SHARDY_INVALID, read_files(&path, 1, &o, &f->out, &f->err));
        assert_true(f->err.message[0] != '\0');
    }
    shardy_error err = {0};
    shardy_row_source *source;
    const char *two_inputs[] = {"-", "-"};
    assert_status(SHARDY_INVALID, shardy_row_source_open(NULL, two_inputs, 2, NULL, &source, &err));
    assert_status(SHARDY_INVALID, shardy_row_source_open(NULL, &path, 0, NULL, &source, &err));
    const char *none = support_path(f->dir, "none.jsonl");
    assert_status(SHARDY_INVALID, shardy_row_source_open(NULL, &none, 1, NULL, &source, &err));
    assert_non_null(strstr(err.message, "there is no file"));
    const char *dir = f->dir;
    assert_status(SHARDY_INVALID, shardy_row_source_open(NULL, &dir, 1, NULL, &source, &err));
    assert_ok(shardy_row_source_open(NULL, &path, 1, NULL, &source, &err));
    shardy_row row = {0};
    assert_status(SHARDY_INVALID, shardy_row_source_next(source, &row, &err));
    shardy_row_source_close(source);
    shardy_row_source_close(NULL);
}

static void test_source__a_row_struct_of_an_older_caller_is_filled_as_far_as_it_goes(void **state)
{
    fixture *f = *state;
    const char *path = support_path(f->dir, "a.jsonl");
    support_write_file(path, "{\"key\":5}\n", 10);
    shardy_error err = {0};
    shardy_row_source *source;
    union {
        shardy_row row;
        unsigned char bytes[sizeof(shardy_row)];
    } small;
    size_t size = offsetof(shardy_row, value);
    memset(&small, 0xAA, sizeof small);
    shardy_row_init(&small.row, size);
    assert_ok(shardy_row_source_open(NULL, &path, 1, NULL, &source, &err));
    assert_ok(shardy_row_source_next(source, &small.row, &err));
    assert_int_equal(5, small.row.key.i);
    assert_int_equal(size, small.row.struct_size);
    for (size_t i = size; i < sizeof small; i++) {
        assert_int_equal(0xAA, small.bytes[i]);
    }
    shardy_row_source_close(source);
}

static void test_zst__is_decompressed(void **state)
{
    fixture *f = *state;
    bytebuf text;
    bytebuf expected;
    shardy__bytebuf_init(&text, 1u << 26);
    shardy__bytebuf_init(&expected, 1u << 26);
    for (int i = 0; i < 40000; i++) {
        shardy__bytebuf_printf(&text, "{\"key\":%d,\"v\":\"value of row %d\"}\n", i, i);
        shardy__bytebuf_printf(&expected, "i%d value of row %d\n", i, i);
    }
    size_t room = ZSTD_compressBound(text.len) + 100;
    char *packed = malloc(room);
    assert_non_null(packed);
    /* Three frames, one of them empty, cut in the middle of a line. */
    size_t half = text.len / 2;
    size_t n = ZSTD_compress(packed, room, text.data, half, 1);
    n += ZSTD_compress(packed + n, room - n, "", 0, 1);
    n += ZSTD_compress(packed + n, room - n, text.data + half, text.len - half, 1);
    const char *path = support_path(f->dir, "a.jsonl.zst");
    support_write_file(path, packed, n);
    f->options.value_column = "v";
    shardy_error err = {0};
    shardy_status st = read_files(&path, 1, &f->options, &f->out, &err);
    assert_status(SHARDY_DONE, st);
    assert_string_equal(expected.data, f->out.data);
    /* Cut, broken, not Zstandard at all. */
    support_write_file(path, packed, n - 10);
    assert_int_equal(SHARDY_CORRUPT, read_files(&path, 1, &f->options, &f->out, &err));
    assert_non_null(strstr(err.message, "ends in the middle"));
    support_write_file(path, "{\"key\":1}\n", 10);
    assert_int_equal(SHARDY_CORRUPT, read_files(&path, 1, &f->options, &f->out, &err));
    assert_non_null(strstr(err.message, "not Zstandard"));
    support_write_file(path, packed, 0);
    st = read_files(&path, 1, &f->options, &f->out, &err);
    assert_status(SHARDY_DONE, st);
    free(packed);
    shardy__bytebuf_free(&text);
    shardy__bytebuf_free(&expected);
}

static void test_zst__csv_is_known_by_the_name_below(void **state)
{
    fixture *f = *state;
    char packed[100];
    size_t n = ZSTD_compress(packed, sizeof packed, "key\nx\n", 6, 1);
    const char *paths[2] = {support_path(f->dir, "a.csv.zst"), support_path(f->dir, "b.jsonl")};
    support_write_file(paths[0], packed, n);
    support_write_file(paths[1], "{\"key\":1}", 9);
    shardy_error err = {0};
    shardy_status st = read_files(paths, 2, &f->options, &f->out, &err);
    assert_status(SHARDY_DONE, st);
    assert_string_equal("tx {}\ni1 {}\n", f->out.data);
}

static void test_source__rows_of_the_same_kind_need_no_memory(void **state)
{
    fixture *f = *state;
    if (!shardy_testing_fault_points()) {
        print_message("skipped: built without fault points, so that nothing counts allocations\n");
        skip();
    }
    static const char *const names[] = {"a.jsonl", "a.csv"};
    static const char *const heads[] = {"", "key,s,vec,p,c\n"};
    static const char *const lines[] = {
        "{\"key\":\"k\\u0041\",\"s\":{\"b\":\"x\\n\",\"a\":[1,2]},\"vec\":[1,2,3],\"p\":{\"z\":1,"
        "\"y\":2},\"c\":\"t\\t\"}\n",
        "k,\"quoted \"\"text\"\"\",\"[1,2,3]\",\"{\"\"z\"\":1}\",c\n"};
    static const char *const columns[] = {"c"};
    f->options.vector_column = "vec";
    f->options.payload_column = "p";
    f->options.columns = columns;
    f->options.column_count = 1;
    for (size_t i = 0; i < 2; i++) {
        bytebuf text;
        shardy__bytebuf_init(&text, 1u << 24);
        shardy__bytebuf_puts(&text, heads[i]);
        for (int j = 0; j < 20000; j++) {
            shardy__bytebuf_puts(&text, lines[i]);
        }
        shardy_error err = {0};
        shardy_row row;
        shardy_row_source *source = open_text(f, names[i], &text, &row);
        assert_ok(shardy_row_source_next(source, &row, &err));
        shardy_testing_fault_set(SHARDY_FAULT_ALLOC, 0, 0);
        for (int j = 1; j < 20000; j++) {
            assert_ok(shardy_row_source_next(source, &row, &err));
        }
        uint64_t seen;
        uint64_t failed;
        shardy_testing_fault_counts(SHARDY_FAULT_ALLOC, &seen, &failed);
        assert_int_equal(0, seen);
        shardy_row_source_close(source);
    }
}

static void test_source__the_format_can_be_given(void **state)
{
    fixture *f = *state;
    f->options.format = SHARDY_ROWS_CSV;
    check_rows(f, "a.txt", "key\nx\n", "tx {}\n");
    f->options.format = SHARDY_ROWS_JSONL;
    check_rows(f, "a.csv", "{\"key\":1}\n", "i1 {}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_jsonl__value_is_the_row_without_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__value_column_is_utf8_or_compact_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jsonl__key_column_has_any_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__keys_are_strings_or_integers_that_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__errors_name_file_line_and_column, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__blank_lines_and_a_byte_order_mark_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jsonl__vectors_payloads_and_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__a_vector_has_at_most_as_many_numbers_as_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__what_python_takes_for_numbers_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jsonl__extra_columns_are_typed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_jsonl__many_columns_are_found_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_jsonl__long_lines_and_many_lines_pass_the_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_csv__rows_are_those_of_pythons_csv, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_csv__columns_have_uses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_csv__integer_encodings_make_integer_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_csv__errors_name_file_line_and_column, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_csv__line_ends_and_the_last_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_csv__records_pass_the_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_source__a_row_may_be_cut_anywhere_by_the_end_of_a_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_npy__vectors_come_in_order_with_the_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_npy__every_type_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_npy__another_number_of_rows_is_invalid_with_both_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_npy__arrays_that_cannot_be_used_are_invalid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_npy__many_rows_pass_the_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_source__files_are_read_one_after_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_source__tells_position_and_progress, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_source__the_standard_input, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_source__options_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_source__a_row_struct_of_an_older_caller_is_filled_as_far_as_it_goes, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_source__rows_of_the_same_kind_need_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_source__the_format_can_be_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_zst__is_decompressed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_zst__csv_is_known_by_the_name_below, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
