/* Declared limits (limits.h) of what comes from outside: one below and exactly the limit is read,
 * one above it is refused with a message that names it, before it costs memory. The limits of
 * builds and readers are in tests/integration/test_limits.c. */
#include "base/bytes.h"
#include "base/json.h"
#include "base/npy.h"
#include "base/uri.h"
#include "base/yaml.h"
#include "catalog/fate.h"
#include "manifest/manifest.h"
#include "sqlitefile/schema.h"
#include "sqlitefile/sidecar_write.h"
#include "support/support.h"

#include <shardyfusion/rows.h>
#include <shardyfusion/sys/testing.h>
#include <shardyfusion/sys/text.h>
#include <shardyfusion/writer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static shardy_error err;

/* Zeros that take no memory until they are touched. */
static char *zeros(size_t len)
{
    char *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static char *filled(size_t len, char c)
{
    char *text = malloc(len + 1);
    memset(text, c, len);
    text[len] = '\0';
    return text;
}

static void assert_names(uint64_t limit)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)limit);
    assert_non_null(strstr(err.message, text));
}

/* At most so many allocations since the counts were reset. */
static void assert_few_allocations(uint64_t most)
{
    uint64_t seen;
    shardy_testing_fault_counts(SHARDY_FAULT_ALLOC, &seen, NULL);
    assert_true(seen <= most);
}

static void test_json__has_64_levels_and_no_more(void **state)
{
    (void)state;
    for (size_t depth = SHARDY_JSON_DEPTH_MAX - 1; depth <= SHARDY_JSON_DEPTH_MAX + 1; depth++) {
        char text[2 * SHARDY_JSON_DEPTH_MAX + 2];
        shardy_json *json;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_status(depth <= SHARDY_JSON_DEPTH_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_json_parse(shardy__bytes(text, 2 * depth), &json, &err));
        shardy_json_free(json);
    }
    assert_names(SHARDY_JSON_DEPTH_MAX);
}

static void test_json__a_document_has_its_greatest_length(void **state)
{
    (void)state;
    char *text = filled(SHARDY_JSON_LEN_MAX + 1u, ' ');
    text[0] = '1';
    for (size_t len = SHARDY_JSON_LEN_MAX - 1; len <= SHARDY_JSON_LEN_MAX + 1; len++) {
        shardy_json *json;
        shardy_testing_fault_set(SHARDY_FAULT_ALLOC, 0, 0);
        assert_status(len <= SHARDY_JSON_LEN_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_json_parse(shardy__bytes(text, len), &json, &err));
        assert_few_allocations(len <= SHARDY_JSON_LEN_MAX ? 8 : 0);
        shardy_json_free(json);
    }
    assert_names(SHARDY_JSON_LEN_MAX);
    free(text);
}

static void test_yaml__has_four_levels_and_no_more(void **state)
{
    (void)state;
    for (size_t depth = SHARDY_YAML_DEPTH_MAX - 1; depth <= SHARDY_YAML_DEPTH_MAX + 1; depth++) {
        /* the mapping itself is the first level */
        char text[64] = "a: ";
        yaml_map *map;
        memset(text + 3, '[', depth - 1);
        memset(text + 3 + depth - 1, ']', depth - 1);
        assert_status(depth <= SHARDY_YAML_DEPTH_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy__yaml_parse(shardy__bytes(text, strlen(text)), &map, &err));
        shardy__yaml_free(map);
    }
    assert_non_null(strstr(err.message, "too many levels"));
}

static void test_yaml__has_256_names_and_no_more(void **state)
{
    (void)state;
    enum {
        NAMES_MAX = SHARDY_YAML_NAMES_MAX
    };
    char *text = malloc((size_t)(NAMES_MAX + 1) * 16);
    for (size_t count = NAMES_MAX - 1; count <= NAMES_MAX + 1; count++) {
        size_t len = 0;
        yaml_map *map;
        for (size_t i = 0; i < count; i++) {
            len += (size_t)snprintf(text + len, 16, "n%zu: 1\n", i);
        }
        assert_status(count <= NAMES_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy__yaml_parse(shardy__bytes(text, len), &map, &err));
        shardy__yaml_free(map);
    }
    assert_names(NAMES_MAX);
    free(text);
}

static void test_yaml__a_document_has_its_greatest_length_and_a_million_nodes(void **state)
{
    (void)state;
    shardy_yaml *yaml;
    char *text = malloc(SHARDY_YAML_LEN_MAX + 1);
    assert_non_null(text);
    memset(text, ' ', SHARDY_YAML_LEN_MAX + 1);
    text[0] = 'x';
    for (size_t len = SHARDY_YAML_LEN_MAX - 1; len <= SHARDY_YAML_LEN_MAX + 1; len++) {
        assert_status(len <= SHARDY_YAML_LEN_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_yaml_parse(shardy__bytes(text, len), &yaml, &err));
        shardy_yaml_free(yaml);
    }
    assert_names(SHARDY_YAML_LEN_MAX);
    /* the sequence itself is a node */
    for (size_t nodes = SHARDY_YAML_NODES_MAX - 1; nodes <= SHARDY_YAML_NODES_MAX + 1; nodes++) {
        text[0] = '[';
        for (size_t i = 0; i + 1 < nodes; i++) {
            memcpy(text + 1 + 2 * i, "x,", 2);
        }
        text[1 + 2 * (nodes - 1)] = ']';
        assert_status(nodes <= SHARDY_YAML_NODES_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_yaml_parse(shardy__bytes(text, 2 * nodes), &yaml, &err));
        assert_int_equal(shardy_yaml_count(shardy_yaml_root(yaml)),
            nodes <= SHARDY_YAML_NODES_MAX ? nodes - 1 : 0);
        shardy_yaml_free(yaml);
    }
    assert_non_null(strstr(err.message, "more nodes than the limit"));
    free(text);
}

static void test_run_record__of_its_greatest_length_is_read(void **state)
{
    (void)state;
    char *text = filled(SHARDY_RUN_RECORD_LEN_MAX + 1, '#');
    memcpy(text, "a: 1\n", 5);
    for (size_t len = SHARDY_RUN_RECORD_LEN_MAX - 1; len <= SHARDY_RUN_RECORD_LEN_MAX + 1; len++) {
        yaml_map *map;
        shardy_testing_fault_set(SHARDY_FAULT_ALLOC, 0, 0);
        assert_status(len <= SHARDY_RUN_RECORD_LEN_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy__yaml_parse(shardy__bytes(text, len), &map, &err));
        assert_few_allocations(len <= SHARDY_RUN_RECORD_LEN_MAX ? 64 : 0);
        shardy__yaml_free(map);
    }
    assert_names(SHARDY_RUN_RECORD_LEN_MAX);
    free(text);
}

/* A fate with so many pins. */
static char *fate_text(size_t pins)
{
    char *text = malloc(1000 + pins * 8);
    size_t len = (size_t)snprintf(text, 1000,
        "{\"format_version\":1,\"generation\":1,\"manifest\":null,\"nonce\":\"n\",\"run_id\":\"r\","
        "\"state\":\"WRITING\",\"updated_at\":\"2026-01-02T03:04:05Z\",\"writer\":\"w\",\"pins\":"
        "[");
    for (size_t i = 0; i < pins; i++) {
        len += (size_t)snprintf(text + len, 8, "%s\"p\"", i ? "," : "");
    }
    memcpy(text + len, "]}", 3);
    return text;
}

static void test_fate__of_its_greatest_length_is_read(void **state)
{
    (void)state;
    shardy_store *store;
    char *text = filled(SHARDY_FATE_LEN_MAX + 1, ' ');
    char *start = fate_text(0);
    memcpy(text, start, strlen(start));
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    for (size_t len = SHARDY_FATE_LEN_MAX - 1; len <= SHARDY_FATE_LEN_MAX + 1; len++) {
        fate f;
        shardy_store_put put = {0};
        put.key = shardy__bytes("runs/run_id=r/fate", 18);
        put.body = shardy__bytes(text, len);
        assert_ok(shardy_store_put_object(store, &put, NULL, &err));
        assert_status(len <= SHARDY_FATE_LEN_MAX ? SHARDY_OK : SHARDY_CORRUPT,
            shardy__fate_load(store, "r", &f, &err));
    }
    assert_names(SHARDY_FATE_LEN_MAX);
    shardy_store_close(store);
    free(start);
    free(text);
}

static void test_fate__has_64_pins_and_no_more(void **state)
{
    (void)state;
    for (size_t pins = FATE_PINS_MAX - 1; pins <= FATE_PINS_MAX + 1; pins++) {
        static fate f;
        char *text = fate_text(pins);
        assert_status(pins <= FATE_PINS_MAX ? SHARDY_OK : SHARDY_CORRUPT,
            shardy__fate_parse(shardy__bytes(text, strlen(text)), &f, &err));
        free(text);
    }
    assert_names(FATE_PINS_MAX);
}

/* A whole number of pages at all times: a file of another length is refused for that. */
static void test_manifest__of_its_greatest_length_is_read(void **state)
{
    (void)state;
    const size_t most = SHARDY_MANIFEST_LEN_MAX;
    const size_t page = 4096;
    size_t len;
    char *file = support_read_file(support_source("fuzz/corpus/manifest/hash.sqlite"), &len);
    char *image = zeros(most + page);
    memcpy(image, file, len);
    for (size_t n = most - page; n <= most + page; n += page) {
        manifest *m;
        shardy__put_be32((uint8_t *)image + 28, (uint32_t)(n / page));
        shardy_testing_fault_set(SHARDY_FAULT_ALLOC, 0, 0);
        assert_status(n <= most ? SHARDY_OK : SHARDY_CORRUPT,
            shardy__manifest_parse(shardy__bytes(image, n), &m, &err));
        assert_few_allocations(n <= most ? 1000 : 0);
        shardy__manifest_free(m);
    }
    assert_names(most);
    manifest *m;
    assert_status(SHARDY_CORRUPT, shardy__manifest_parse(shardy__bytes(image, most + 1), &m, &err));
    assert_names(most);
    munmap(image, most + page);
    free(file);
}

static shardy_status count_bytes(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *e)
{
    (void)data;
    (void)e;
    *(uint64_t *)user = offset + len;
    return SHARDY_OK;
}

/* Pages that have no gap, so that all memory is that of the body; when it is written, as much again
 * is kept for readers that have to make pages whole. */
static void test_sidecar__takes_256_mebibytes_and_no_more(void **state)
{
    (void)state;
    static const uint8_t page[65536];
    for (uint32_t n = 2047; n <= 2048; n++) {
        sidecar_list list;
        uint64_t end = 0;
        uint64_t len;
        const btree_sink sink = {count_bytes, &end};
        shardy__sidecar_list_init(&list, sizeof page);
        for (uint32_t i = 1; i <= n; i++) {
            shardy__sidecar_list_page(&list, i, page);
        }
        assert_status(n == 2047 ? SHARDY_OK : SHARDY_UNSUPPORTED,
            shardy__sidecar_write(&list, &sink, &len, &err));
        assert_int_equal(len, end);
        shardy__sidecar_list_free(&list);
    }
    assert_names(SHARDY_SIDECAR_LEN_MAX);
    for (uint64_t len = SHARDY_SIDECAR_LEN_MAX; len <= SHARDY_SIDECAR_LEN_MAX + 1; len++) {
        uint8_t bytes[64] = SIDECAR_MAGIC "\10";
        sidecar *s;
        sidecar_expect expect = {.file_size = 4ull * SHARDY_SIDECAR_LEN_MAX, .bound = 1};
        shardy__put_le64(bytes + 5, len);
        shardy__put_le32(bytes + 13, 4096);
        shardy_testing_fault_set(SHARDY_FAULT_ALLOC, 0, 0);
        assert_status(len == SHARDY_SIDECAR_LEN_MAX ? SHARDY_CORRUPT : SHARDY_UNSUPPORTED,
            shardy__sidecar_parse(shardy__bytes(bytes, sizeof bytes), &expect, &s, &err));
        assert_few_allocations(1);
    }
    assert_names(SHARDY_SIDECAR_LEN_MAX);
}

static void test_key__of_1024_bytes_is_a_key(void **state)
{
    (void)state;
    char *key = filled(SHARDY_OBJECT_KEY_LEN_MAX + 1, 'k');
    for (size_t len = SHARDY_OBJECT_KEY_LEN_MAX - 1; len <= SHARDY_OBJECT_KEY_LEN_MAX + 1; len++) {
        const char *problem = shardy__key_problem(key, len);
        assert_int_equal(problem == NULL, len <= SHARDY_OBJECT_KEY_LEN_MAX);
    }
    free(key);
}

static void test_url__of_2048_bytes_is_a_url(void **state)
{
    (void)state;
    for (size_t len = SHARDY_URL_LEN_MAX - 1; len <= SHARDY_URL_LEN_MAX + 1; len++) {
        uri u;
        char *url = filled(len, 'u');
        memcpy(url, "s3://", 5);
        url[8] = '/';
        assert_status(len <= SHARDY_URL_LEN_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy__uri_parse(url, &u, &err));
        free(url);
    }
    assert_names(SHARDY_URL_LEN_MAX);
}

static void test_list__a_page_has_ten_thousand_entries(void **state)
{
    (void)state;
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    for (size_t limit = SHARDY_LIST_LIMIT_MAX - 1; limit <= SHARDY_LIST_LIMIT_MAX + 1; limit++) {
        shardy_store_page page;
        assert_status(limit <= SHARDY_LIST_LIMIT_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_store_list(store, "", 0, NULL, limit, &page, &err));
        shardy_store_page_dispose(&page);
    }
    assert_names(SHARDY_LIST_LIMIT_MAX);
    shardy_store_close(store);
}

static void test_version__of_a_file_is_told_up_to_a_mebibyte(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char *data = filled(SHARDY_FS_ETAG_LEN_MAX + 1, 'd');
    shardy_store *store;
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    for (size_t len = SHARDY_FS_ETAG_LEN_MAX - 1; len <= SHARDY_FS_ETAG_LEN_MAX + 1; len++) {
        shardy_object_meta meta;
        shardy_buf body;
        shardy_store_put put = {0};
        put.key = shardy__bytes("k", 1);
        put.body = shardy__bytes(data, len);
        assert_ok(shardy_store_put_object(store, &put, NULL, &err));
        assert_ok(shardy_store_get(store, "k", 0, SHARDY_READ_TO_END, &body, &meta, &err));
        assert_int_equal(meta.etag.text[0] != '\0', len <= SHARDY_FS_ETAG_LEN_MAX);
        assert_true(strlen(meta.etag.text) <= SHARDY_ETAG_LEN_MAX);
        shardy_buf_release(&body);
    }
    shardy_store_close(store);
    free(data);
    support_remove_dir(dir);
}

static void test_rows__a_row_has_1024_columns(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    const char *path = support_path(dir, "rows.jsonl");
    char names[SHARDY_COLUMNS_MAX + 1][8];
    const char *columns[SHARDY_COLUMNS_MAX + 1];
    support_write_file(path, "{\"key\":1}\n", 10);
    for (size_t i = 0; i <= SHARDY_COLUMNS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "c%zu", i);
        columns[i] = names[i];
    }
    for (size_t count = SHARDY_COLUMNS_MAX - 1; count <= SHARDY_COLUMNS_MAX + 1; count++) {
        shardy_row_source_options options;
        shardy_row_source *source;
        shardy_row row;
        shardy_row_source_options_init(&options, sizeof options);
        options.columns = columns;
        options.column_count = count;
        shardy_row_init(&row, sizeof row);
        assert_status(count <= SHARDY_COLUMNS_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_row_source_open(NULL, &path, 1, &options, &source, &err));
        if (count <= SHARDY_COLUMNS_MAX) {
            assert_ok(shardy_row_source_next(source, &row, &err));
            assert_int_equal(row.column_count, count);
        }
        shardy_row_source_close(source);
    }
    assert_names(SHARDY_COLUMNS_MAX);
    support_remove_dir(dir);
}

/* A line that is one JSON object, with its line end. Its value is in a field that is not used, as
 * the row as a whole would be longer than a value may be. */
static shardy_status read_long_row(const char *path, size_t len)
{
    static const char *const columns[] = {"c"};
    static const char start[] = "{\"key\":1,\"v\":2,\"pad\":\"";
    char *text = filled(len, 'x');
    memcpy(text, start, sizeof start - 1);
    memcpy(text + len - 3, "\"}\n", 3);
    support_write_file(path, text, len);
    free(text);
    shardy_row_source_options options;
    shardy_row_source *source;
    shardy_row row;
    shardy_row_source_options_init(&options, sizeof options);
    options.value_column = "v";
    options.columns = columns;
    options.column_count = 1;
    shardy_row_init(&row, sizeof row);
    assert_ok(shardy_row_source_open(NULL, &path, 1, &options, &source, &err));
    shardy_status st = shardy_row_source_next(source, &row, &err);
    shardy_row_source_close(source);
    return st;
}

static void test_rows__a_line_has_a_gibibyte(void **state)
{
    (void)state;
    if (!getenv("SHARDY_TORTURE")) {
        print_message("3 GB of memory and of disk: only with SHARDY_TORTURE=1\n");
        skip();
    }
    char *dir = support_make_dir();
    const char *path = support_path(dir, "rows.jsonl");
    for (size_t len = SHARDY_INPUT_ROW_LEN_MAX - 1; len <= SHARDY_INPUT_ROW_LEN_MAX + 1; len++) {
        assert_status(
            len <= SHARDY_INPUT_ROW_LEN_MAX ? SHARDY_OK : SHARDY_INVALID, read_long_row(path, len));
    }
    assert_names(SHARDY_INPUT_ROW_LEN_MAX);
    support_remove_dir(dir);
}

static void test_npy__a_header_has_ten_thousand_bytes(void **state)
{
    (void)state;
    const uint32_t most = NPY_HEADER_LEN_MAX - 12;
    for (uint32_t len = most - 1; len <= most + 1; len++) {
        npy_array array;
        char *file = filled(12 + len, ' ');
        static const char start[] = "\x93NUMPY\x02\x00";
        static const char dict[] = "{'descr':'<f4','fortran_order':False,'shape':(0,)}";
        memcpy(file, start, 8);
        for (unsigned i = 0; i < 4; i++) {
            file[8 + i] = (char)(uint8_t)(len >> (8 * i));
        }
        memcpy(file + 12, dict, sizeof dict - 1);
        assert_status(len <= most ? SHARDY_OK : SHARDY_INVALID,
            shardy__npy_read(shardy__bytes(file, 12 + len), &array, &err));
        shardy__npy_free(&array);
        free(file);
    }
    assert_names(most);
}

static void test_schema__a_table_has_2000_columns(void **state)
{
    (void)state;
    for (size_t count = SCHEMA_COLUMNS_MAX - 1; count <= SCHEMA_COLUMNS_MAX + 1; count++) {
        schema_object object;
        char *sql = malloc(64 + count * 8);
        size_t len = (size_t)snprintf(sql, 64, "CREATE TABLE t (");
        for (size_t i = 0; i < count; i++) {
            len += (size_t)snprintf(sql + len, 8, "%sc%zu", i ? "," : "", i);
        }
        sql[len++] = ')';
        memset(&object, 0, sizeof object);
        assert_ok(shardy__schema_parse_table(sql, len, &object, &err));
        assert_int_equal(object.unreadable == NULL, count <= SCHEMA_COLUMNS_MAX);
        shardy__schema_object_clear(&object);
        free(sql);
    }
}

static void test_writer__an_attempt_is_made_a_hundred_times(void **state)
{
    (void)state;
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    /* An attempt is made once and then again: one retry less than attempts. */
    for (uint32_t retries = SHARDY_ATTEMPTS_MAX - 2; retries <= SHARDY_ATTEMPTS_MAX; retries++) {
        shardy_writer_options options;
        shardy_writer *w;
        shardy_writer_options_init(&options, sizeof options);
        options.store = store;
        options.sync = 0;
        options.max_retries = retries;
        assert_status(retries < SHARDY_ATTEMPTS_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_writer_open(NULL, NULL, &options, &w, &err));
        shardy_writer_close(w);
    }
    assert_names(SHARDY_ATTEMPTS_MAX);
    shardy_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__has_64_levels_and_no_more),
        cmocka_unit_test(test_json__a_document_has_its_greatest_length),
        cmocka_unit_test(test_yaml__has_four_levels_and_no_more),
        cmocka_unit_test(test_yaml__has_256_names_and_no_more),
        cmocka_unit_test(test_yaml__a_document_has_its_greatest_length_and_a_million_nodes),
        cmocka_unit_test(test_run_record__of_its_greatest_length_is_read),
        cmocka_unit_test(test_fate__of_its_greatest_length_is_read),
        cmocka_unit_test(test_fate__has_64_pins_and_no_more),
        cmocka_unit_test(test_manifest__of_its_greatest_length_is_read),
        cmocka_unit_test(test_sidecar__takes_256_mebibytes_and_no_more),
        cmocka_unit_test(test_key__of_1024_bytes_is_a_key),
        cmocka_unit_test(test_url__of_2048_bytes_is_a_url),
        cmocka_unit_test(test_list__a_page_has_ten_thousand_entries),
        cmocka_unit_test(test_version__of_a_file_is_told_up_to_a_mebibyte),
        cmocka_unit_test(test_rows__a_row_has_1024_columns),
        cmocka_unit_test(test_rows__a_line_has_a_gibibyte),
        cmocka_unit_test(test_npy__a_header_has_ten_thousand_bytes),
        cmocka_unit_test(test_schema__a_table_has_2000_columns),
        cmocka_unit_test(test_writer__an_attempt_is_made_a_hundred_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
