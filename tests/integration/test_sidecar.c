/* Sidecars of a snapshot: made at build, promised by its manifest, checked by verify, and never
 * needed. */
#include "base/bytes.h"
#include "sqlitefile/sidecar_write.h"
#include "support/dataset.h"
#include "support/sqlite_testing.h"

#include <shardyfusion/admin.h>
#include <shardyfusion/sys/store.h>

static shardy_error err;

static const char STAMP[] = "run-sidecar";

static void build_into(const char *url, shardy_store *store, int32_t mode, uint32_t rows)
{
    dataset_options options;
    dataset_options_init(&options);
    options.sidecar = mode;
    options.store = store;
    options.rows = rows;
    options.value_len = 900;
    assert_ok(dataset_build(NULL, url, STAMP, &options, &err));
}

/* Where the object of a shard is. */
static const char *object_of(uint32_t db_id, const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "shards/run_id=%s/db=%05u/attempt=00/%s", STAMP, db_id, name);
    return path;
}

static image read_object(shardy_store *store, const char *key)
{
    shardy_buf body;
    assert_ok(shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
    image img = {malloc(body.len + 1), body.len, body.len};
    memcpy(img.data, body.data, body.len);
    shardy_buf_release(&body);
    return img;
}

static void check_parses(shardy_store *store, uint32_t db_id, const char *tag)
{
    image file = read_object(store, object_of(db_id, "shard.db"));
    image side = read_object(store, object_of(db_id, "shard.sidecar"));
    sidecar *s = NULL;
    sidecar_expect expect = {.file_size = file.len, .bound = !tag, .tag = tag};
    assert_ok(shardy__sidecar_parse((shardy_bytes){side.data, side.len}, &expect, &s, &err));
    assert_non_null(shardy__sidecar_page(s, 1));
    assert_int_equal(side.data[17], tag ? strlen(tag) : 0);
    shardy__sidecar_free(s);
    free_image(&file);
    free_image(&side);
}

static char *manifest_text(const char *dir, const char *sql)
{
    char path[700];
    char *text = calloc(1, 2000);
    shardy_store *store = NULL;
    shardy_store_page page = {0};
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    assert_ok(shardy_store_list(store, "manifests/", 0, NULL, 10, &page, &err));
    assert_int_equal(page.count, 1);
    snprintf(path, sizeof path, "%s/%s", dir, page.entries[0].key);
    shardy_store_page_dispose(&page);
    shardy_store_close(store);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_stmt *statement = prepare(db, sql);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, 2000, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return text;
}

static void test_sidecar__is_an_object_of_the_snapshot(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_store *store = NULL;
    build_into(dir, NULL, SHARDY_SIDECAR_ALWAYS, DATASET_ROWS);
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    check_parses(store, 0, NULL);
    check_parses(store, 1, NULL);
    char *text = manifest_text(dir, "SELECT custom FROM build_meta");
    assert_non_null(strstr(text, "\"sqlite_sidecar\": {\"codec\": \"zstd\", \"filename\": "
                                 "\"shard.sidecar\", \"format_version\": 8, \"page_size\": 4096}"));
    free(text);
    text = manifest_text(dir, "SELECT group_concat(path || ' ' || size || ' ' || length(sha256), "
                              "'|') FROM shardy_objects WHERE path LIKE '%sidecar'");
    assert_non_null(strstr(text, object_of(0, "shard.sidecar ")));
    assert_non_null(strstr(text, object_of(1, "shard.sidecar ")));
    free(text);
    text = manifest_text(dir, "SELECT sum(db_bytes) - (SELECT sum(size) FROM shardy_objects "
                              "WHERE path LIKE '%.db') FROM shards");
    assert_string_equal(text, "0");
    free(text);
    assert_true(dataset_check(dir, DATASET_ROWS, stamp, &problem));
    shardy_store_close(store);
    support_remove_dir(dir);
}

static void test_sidecar__is_not_made_in_a_directory_unless_asked(void **state)
{
    (void)state;
    static const int32_t modes[] = {SHARDY_SIDECAR_AUTO, SHARDY_SIDECAR_NEVER};
    for (size_t i = 0; i < 2; i++) {
        char *dir = support_make_dir();
        shardy_store *store = NULL;
        shardy_object_meta meta;
        build_into(dir, NULL, modes[i], DATASET_ROWS);
        assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
        assert_status(
            SHARDY_NOT_FOUND, shardy_store_head(store, object_of(0, "shard.sidecar"), &meta, &err));
        char *text = manifest_text(dir, "SELECT custom FROM build_meta");
        assert_null(strstr(text, "sqlite_sidecar"));
        free(text);
        shardy_store_close(store);
        support_remove_dir(dir);
    }
}

static void test_sidecar__elsewhere_names_the_version_of_its_shard(void **state)
{
    (void)state;
    shardy_store *store = NULL;
    shardy_object_meta meta;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    build_into(NULL, store, SHARDY_SIDECAR_AUTO, DATASET_ROWS);
    for (uint32_t db = 0; db < 2; db++) {
        assert_ok(shardy_store_head(store, object_of(db, "shard.db"), &meta, &err));
        assert_true(meta.etag.text[0] != '\0');
        check_parses(store, db, meta.etag.text);
    }
    shardy_store_close(store);
}

static void check_hint(shardy_store *store, const char *stamp)
{
    char expected[200];
    image text = read_object(store, "_CURRENT");
    text.data[text.len] = '\0';
    snprintf(expected, sizeof expected,
        "\"shard_path\":\"shards/run_id=%s/db={db_id:05d}/attempt=00\"", stamp);
    assert_non_null(strstr((const char *)text.data, expected));
    assert_non_null(strstr((const char *)text.data, "\"key_encoding\":\"utf8\",\"num_dbs\":2,"));
    free_image(&text);
}

static void test_sidecar__is_hinted_at_by_the_pointer(void **state)
{
    (void)state;
    shardy_store *store = NULL;
    dataset_options options;
    dataset_options_init(&options);
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    options.store = store;
    assert_ok(dataset_build(NULL, NULL, "run-one", &options, &err));
    check_hint(store, "run-one");
    assert_ok(dataset_build(NULL, NULL, "run-two", &options, &err));
    check_hint(store, "run-two");
    assert_ok(dataset_rollback(NULL, NULL, "run-one", store, &err));
    check_hint(store, "run-one");
    options.sidecar = SHARDY_SIDECAR_NEVER;
    assert_ok(dataset_build(NULL, NULL, "run-three", &options, &err));
    image text = read_object(store, "_CURRENT");
    text.data[text.len] = '\0';
    assert_null(strstr((const char *)text.data, "hint"));
    free_image(&text);
    shardy_store_close(store);
}

static void test_sidecar__damage_is_found_and_does_not_stop_readers(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char path[700];
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    build_into(dir, NULL, SHARDY_SIDECAR_ALWAYS, DATASET_ROWS);
    snprintf(path, sizeof path, "%s/%s", dir, object_of(1, "shard.sidecar"));
    size_t len;
    char *bytes = support_read_file(path, &len);
    bytes[len / 2] ^= 1;
    support_write_file(path, bytes, len);
    free(bytes);
    assert_false(dataset_check(dir, DATASET_ROWS, stamp, &problem));
    assert_non_null(strstr(problem.text, "shard.sidecar"));
    assert_true(dataset_check_current(dir, DATASET_ROWS, stamp, &problem));
    support_remove_dir(dir);
}

static void test_sidecar__is_the_same_for_the_same_rows(void **state)
{
    (void)state;
    image sides[2];
    for (size_t i = 0; i < 2; i++) {
        char *dir = support_make_dir();
        shardy_store *store = NULL;
        build_into(dir, NULL, SHARDY_SIDECAR_ALWAYS, 3000);
        assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
        check_parses(store, 0, NULL);
        sides[i] = read_object(store, object_of(0, "shard.sidecar"));
        shardy_store_close(store);
        support_remove_dir(dir);
    }
    assert_int_equal(sides[0].len, sides[1].len);
    assert_memory_equal(sides[0].data, sides[1].data, sides[0].len);
    free_image(&sides[0]);
    free_image(&sides[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sidecar__is_an_object_of_the_snapshot),
        cmocka_unit_test(test_sidecar__is_not_made_in_a_directory_unless_asked),
        cmocka_unit_test(test_sidecar__elsewhere_names_the_version_of_its_shard),
        cmocka_unit_test(test_sidecar__is_hinted_at_by_the_pointer),
        cmocka_unit_test(test_sidecar__damage_is_found_and_does_not_stop_readers),
        cmocka_unit_test(test_sidecar__is_the_same_for_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
