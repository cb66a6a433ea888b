/* Row sources and the text parsers below them when memory or reading fails. */
#include "base/bytebuf.h"
#include "base/json.h"
#include "base/npy.h"
#include "base/yaml.h"
#include "support/support.h"
#include "support/sweep.h"

#include <shardyfusion/rows.h>

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

/* --- row sources ------------------------------------------------------------------------------ */

/* What a source reads: files and options; `rows` is how many rows there are. */
typedef struct rows_input_case {
    const char *name;
    const char *text;
    int vectors; /* with a vectors file */
    int packed;  /* compressed */
    int columns; /* all columns are used */
    size_t rows;
} rows_input_case;

typedef struct rows_state {
    char *dir;
    char *path;
    char *vectors_path;
    const rows_input_case *input;
    size_t rows;
} rows_state;

static char *write_new(const char *dir, const char *name, const void *data, size_t len)
{
    const char *path = support_path(dir, name);
    support_write_file(path, data, len);
    return strdup(path);
}

static void *rows_setup(const void *param)
{
    rows_state *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->input = param;
    s->dir = support_make_dir();
    const char *text = s->input->text;
    size_t len = strlen(text);
    char packed[4096];
    if (s->input->packed) {
        len = ZSTD_compress(packed, sizeof packed, text, len, 1);
        text = packed;
    }
    s->path = write_new(s->dir, s->input->name, text, len);
    if (s->input->vectors) {
        shardy_error err = {0};
        bytebuf out;
        const float floats[6] = {1, 2, 3, 4, 5, 6};
        shardy__bytebuf_init(&out, 4096);
        assert_ok(shardy__npy_write_floats(floats, 3, 2, 2, &out, &err));
        s->vectors_path = write_new(s->dir, "vectors.npy", out.data, out.len);
        shardy__bytebuf_free(&out);
    }
    return s;
}

static shardy_status rows_operation(void *state, shardy_error *err)
{
    static const char *const columns[] = {"c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9",
        "c10", "c11", "c12", "c13", "c14", "c15", "key"};
    rows_state *s = state;
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    options.vectors_path = s->vectors_path;
    if (s->input->columns) {
        options.columns = columns;
        options.column_count = sizeof columns / sizeof columns[0];
        options.vector_column = "v";
        options.vector_id_column = "id";
        options.payload_column = "p";
    }
    const char *paths[2] = {s->path, s->path};
    shardy_row_source *source;
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    s->rows = 0;
    shardy_status st =
        shardy_row_source_open(NULL, paths, s->input->vectors ? 1 : 2, &options, &source, err);
    while (st == SHARDY_OK) {
        st = shardy_row_source_next(source, &row, err);
        s->rows += st == SHARDY_OK;
    }
    shardy_row_source_close(source);
    return st;
}

static void rows_check(void *state, shardy_status status, const shardy_error *err)
{
    rows_state *s = state;
    size_t rows = s->input->vectors ? s->input->rows : 2 * s->input->rows;
    if (status == SHARDY_DONE) {
        assert_int_equal(rows, s->rows);
    } else {
        assert_true(s->rows < rows || s->rows == rows);
        assert_true(err->message[0] != '\0');
    }
}

static void rows_teardown(void *state)
{
    rows_state *s = state;
    support_remove_dir(s->dir);
    free(s->path);
    free(s->vectors_path);
    free(s);
}

static void sweep_rows(const rows_input_case *input)
{
    const sweep_case c = {
        .name = input->name,
        .kinds = SWEEP_BIT(SWEEP_ALLOC) | SWEEP_BIT(SWEEP_READ),
        .setup = rows_setup,
        .operation = rows_operation,
        .check = rows_check,
        .teardown = rows_teardown,
        .param = input,
    };
    sweep_run(&c);
}

static void test_rows__json_lines_survive_faults(void **state)
{
    (void)state;
    static const rows_input_case plain = {
        .name = "a.jsonl",
        .text = "{\"key\":\"a\\n\",\"z\":\"x\",\"b\":{\"y\":1,\"x\":2,\"y\":3}}\n{\"key\":2}\n",
        .rows = 2,
    };
    static const rows_input_case used = {
        .name = "b.jsonl",
        .text = "{\"key\":\"\\u0041\",\"id\":\"\\u0042\",\"v\":[1,2,3],\"p\":{\"b\":1,\"a\":2},"
                "\"c1\":\"\\u0043\",\"\\u0063\\u0032\":5}\n{\"key\":1,\"id\":2,\"v\":[1]}\n",
        .columns = 1,
        .rows = 2,
    };
    static const rows_input_case vectors = {
        .name = "c.jsonl",
        .text = "{\"key\":1}\n{\"key\":2}\n{\"key\":3}\n",
        .vectors = 1,
        .rows = 3,
    };
    sweep_rows(&plain);
    sweep_rows(&used);
    sweep_rows(&vectors);
}

static void test_rows__csv_survives_faults(void **state)
{
    (void)state;
    static const rows_input_case plain = {
        .name = "a.csv",
        .text = "key,z,b\n1,\"x\"\"y\",\n2,,\"l\n\"\n",
        .rows = 2,
    };
    static const rows_input_case used = {
        .name = "b.csv",
        .text = "c1,c2,c3,c4,c5,c6,c7,c8,c9,c10,c11,c12,c13,c14,c15,key,v,id,p,m\n"
                "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,k,\"[1,2]\",i,\"{\"\"b\"\":1}\",n\n",
        .columns = 1,
        .rows = 1,
    };
    sweep_rows(&plain);
    sweep_rows(&used);
}

static void test_rows__compressed_files_survive_faults(void **state)
{
    (void)state;
    static const rows_input_case packed = {
        .name = "a.jsonl.zst",
        .text = "{\"key\":1}\n{\"key\":2}\n",
        .packed = 1,
        .rows = 2,
    };
    sweep_rows(&packed);
}

/* --- parsers ---------------------------------------------------------------------------------- */

static const char json_text[] =
    "{\"z\":[1,[2],{\"b\":\"\\u00e9\\n\",\"a\":1,\"b\":2}],\"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,"
    "\"k5\":5,\"k6\":6,\"k7\":7,\"k8\":8,\"k1\":9,\"\\u006b9\":\"text\"}";

static shardy_status parse_document(void *state, shardy_error *err)
{
    (void)state;
    shardy_json *json;
    shardy_status st =
        shardy_json_parse(shardy__bytes(json_text, sizeof json_text - 1), &json, err);
    assert_true((st == SHARDY_OK) == (json != NULL));
    shardy_json_free(json);
    return st;
}

static shardy_status restyle_text(void *state, shardy_error *err)
{
    (void)state;
    bytebuf out;
    shardy__bytebuf_init(&out, 10000);
    shardy_status st = shardy__json_restyle(
        shardy__bytes(json_text, sizeof json_text - 1), JSON_COMPACT, &out, err);
    shardy__bytebuf_free(&out);
    return st;
}

static shardy_status parse_yaml(void *state, shardy_error *err)
{
    (void)state;
    static const char text[] = "a: 1\nb: 'two'\nc: [1, {x: y}]\nd: ~\n";
    yaml_map *map;
    shardy_status st = shardy__yaml_parse(shardy__bytes(text, sizeof text - 1), &map, err);
    assert_true((st == SHARDY_OK) == (map != NULL));
    shardy__yaml_free(map);
    return st;
}

static shardy_status write_yaml(void *state, shardy_error *err)
{
    (void)state;
    const yaml_field fields[] = {{"b", YAML_FIELD_TEXT, 0, "text \xC3\xA9"},
        {"a", YAML_FIELD_INT, 7, NULL}, {"c", YAML_FIELD_TIME, 0, NULL}};
    bytebuf out;
    shardy__bytebuf_init(&out, 10000);
    shardy_status st = shardy__yaml_write(fields, 3, &out, err);
    shardy__bytebuf_free(&out);
    return st;
}

static shardy_status write_and_read_npy(void *state, shardy_error *err)
{
    (void)state;
    const float floats[4] = {1, 2, 3, 4};
    bytebuf out;
    npy_array array = {0};
    shardy__bytebuf_init(&out, 10000);
    shardy_status st = shardy__npy_write_floats(floats, 2, 2, 2, &out, err);
    if (st >= 0) {
        st = shardy__npy_read(shardy__bytes(out.data, out.len), &array, err);
    }
    assert_true((st == SHARDY_OK) == (array.values != NULL));
    shardy__npy_free(&array);
    shardy__bytebuf_free(&out);
    return st;
}

static void test_parsers__survive_faults(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        shardy_status (*operation)(void *state, shardy_error *err);
    } cases[] = {{"document", parse_document}, {"restyle", restyle_text}, {"yaml", parse_yaml},
        {"yaml writing", write_yaml}, {"npy", write_and_read_npy}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sweep_case c = {
            .name = cases[i].name,
            .kinds = SWEEP_BIT(SWEEP_ALLOC),
            .operation = cases[i].operation,
        };
        sweep_run(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows__json_lines_survive_faults),
        cmocka_unit_test(test_rows__csv_survives_faults),
        cmocka_unit_test(test_rows__compressed_files_survive_faults),
        cmocka_unit_test(test_parsers__survive_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
