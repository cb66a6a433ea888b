/* Manifests: what is wrong with one is told with the value and what was expected; what we write is
 * what libsqlite3 and we read. */
#include "support/sqlite_testing.h"

#include "base/bytebuf.h"
#include "base/clock.h"
#include "manifest/manifest.h"

#include <shardyfusion/limits.h>

static shardy_error err;

static const char build_sql[] =
    "CREATE TABLE build_meta (run_id TEXT NOT NULL, created_at TEXT NOT NULL, num_dbs INTEGER NOT "
    "NULL, s3_prefix TEXT NOT NULL, key_col TEXT NOT NULL, sharding TEXT NOT NULL, "
    "db_path_template TEXT NOT NULL, shard_prefix TEXT NOT NULL, format_version INTEGER NOT NULL, "
    "key_encoding TEXT NOT NULL, custom TEXT NOT NULL DEFAULT '{}')";
/* without the constraints, so that anything can be put into the columns */
static const char loose_build_sql[] =
    "CREATE TABLE build_meta (run_id, created_at, num_dbs, s3_prefix, key_col, sharding, "
    "db_path_template, shard_prefix, format_version, key_encoding, custom)";
static const char shards_sql[] =
    "CREATE TABLE shards (db_id INTEGER NOT NULL PRIMARY KEY, db_url TEXT, attempt INTEGER NOT "
    "NULL, row_count INTEGER NOT NULL, db_bytes INTEGER NOT NULL, min_key TEXT, max_key TEXT, "
    "checkpoint_id TEXT, writer_info TEXT NOT NULL DEFAULT '{}')";
static const char loose_shards_sql[] =
    "CREATE TABLE shards (db_id, db_url, attempt, row_count, db_bytes, min_key, max_key, "
    "checkpoint_id, writer_info)";
static const char rows_sql[] =
    "INSERT INTO build_meta VALUES('r', '2026-01-02T03:04:05Z', 4, 's3://b/p', '_key', "
    "'{\"cel_columns\": null, \"cel_expr\": null, \"hash_algorithm\": \"xxh3_64\", "
    "\"routing_values\": null, \"strategy\": \"hash\"}', 'db={db_id:05d}', 'shards', 4, 'u64be', "
    "'{}');"
    "INSERT INTO shards VALUES(0, 's3://b/p/x0', 0, 1, 2, '3', '4', 'c', '{}');"
    "INSERT INTO shards VALUES(2, 's3://b/p/x2', 1, 5, 6, NULL, NULL, NULL, "
    "'{\"attempt\": 1, \"duration_ms\": 7, \"stage_id\": null, \"task_attempt_id\": 8}');";

/* The image of a manifest with one change. */
static image changed_image(int loose, const char *change)
{
    sqlite3 *db = new_db(4096);
    run_sql(db, loose ? loose_build_sql : build_sql);
    run_sql(db, loose ? loose_shards_sql : shards_sql);
    run_sql(db, rows_sql);
    run_sql(db, change);
    image img = take_image(db);
    sqlite3_close(db);
    return img;
}

static manifest *parse_changed(int loose, const char *change)
{
    image img = changed_image(loose, change);
    manifest *m = NULL;
    if (shardy__manifest_parse(shardy__bytes(img.data, img.len), &m, &err) < 0) {
        fail_msg("%s: %s", change, err.message);
    }
    free_image(&img);
    return m;
}

static void assert_refused(shardy_status status, int loose, const char *change, const char *message)
{
    image img = changed_image(loose, change);
    manifest *m = (manifest *)&err;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__manifest_parse(shardy__bytes(img.data, img.len), &m, &err);
    if (st != status || strcmp(err.message, message) != 0) {
        fail_msg("%s:\n  got %d \"%s\"\n  not %d \"%s\"", change, (int)st, err.message, (int)status,
            message);
    }
    assert_null(m);
    free_image(&img);
}

/* --- each rule -------------------------------------------------------------------------------- */

static void test_manifest__bytes_that_are_no_sqlite_database_are_corrupt(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "SQLite format 3", "no manifest, but longer than a magic", "{\"format_version\": 4}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        manifest *m;
        memset(&err, 0, sizeof err);
        assert_status(SHARDY_CORRUPT,
            shardy__manifest_parse(shardy__bytes(texts[i], strlen(texts[i])), &m, &err));
        assert_null(m);
        assert_true(err.message[0] != '\0');
    }
}

static void test_manifest__a_wal_image_is_corrupt(void **state)
{
    (void)state;
    image img = changed_image(0, "");
    manifest *m;
    img.data[18] = 2;
    img.data[19] = 2;
    assert_status(
        SHARDY_CORRUPT, shardy__manifest_parse(shardy__bytes(img.data, img.len), &m, &err));
    assert_non_null(strstr(err.message, "write-ahead"));
    free_image(&img);
}

static void test_manifest__missing_tables_columns_and_rows_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        const char *message;
    } cases[] = {
        {"DROP TABLE build_meta", "there is no table \"build_meta\""},
        {"DROP TABLE shards", "there is no table \"shards\""},
        {"DELETE FROM build_meta", "table \"build_meta\" has no row"},
        {"ALTER TABLE build_meta RENAME COLUMN key_col TO other",
            "table \"build_meta\" has no column \"key_col\""},
        {"ALTER TABLE shards DROP COLUMN max_key", "table \"shards\" has no column \"max_key\""},
        {"DROP TABLE shards; CREATE VIEW shards AS SELECT 1 AS db_id",
            "\"shards\" is a view or virtual table, expected a table"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(SHARDY_CORRUPT, 0, cases[i].change, cases[i].message);
    }
}

static void test_manifest__only_format_version_4_is_read(void **state)
{
    (void)state;
    assert_refused(SHARDY_FORMAT_VERSION, 1, "UPDATE build_meta SET format_version = 3",
        "the manifest has format version 3, this version reads 4");
    assert_refused(SHARDY_FORMAT_VERSION, 1, "UPDATE build_meta SET format_version = 5",
        "the manifest has format version 5, this version reads 4");
    assert_refused(SHARDY_CORRUPT, 1, "UPDATE build_meta SET format_version = 'four'",
        "build_meta.format_version is \"four\", expected an integer from 0 to 4294967295");
    /* also before anything else is looked at */
    assert_refused(SHARDY_FORMAT_VERSION, 1,
        "UPDATE build_meta SET format_version = 3, run_id = NULL, sharding = 'x'",
        "the manifest has format version 3, this version reads 4");
}

static void test_manifest__wrong_fields_of_the_build_name_value_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        const char *message;
    } cases[] = {
        {"run_id = 5", "build_meta.run_id is 5, expected a text"},
        {"run_id = NULL", "build_meta.run_id is NULL, expected a text"},
        {"run_id = x'00ff'", "build_meta.run_id is a blob of 2 bytes, expected a text"},
        {"run_id = 'a' || char(0) || 'b'",
            "build_meta.run_id is \"a\", expected a text without a zero byte"},
        {"run_id = CAST(x'61ff' AS TEXT)",
            "build_meta.run_id is a text of 2 bytes, expected valid UTF-8"},
        {"created_at = 'yesterday'", "build_meta.created_at is \"yesterday\", expected a time"},
        {"created_at = '2026-13-01T00:00:00Z'",
            "build_meta.created_at is \"2026-13-01T00:00:00Z\", expected a time"},
        {"created_at = '0000-12-31T00:00:00Z'",
            "build_meta.created_at is \"0000-12-31T00:00:00Z\", expected a time"},
        {"created_at = '0001-01-01T00:00:00+01:00'",
            "build_meta.created_at is \"0001-01-01T00:00:00+01:00\", expected a time"},
        {"created_at = '999999999999999'",
            "build_meta.created_at is \"999999999999999\", expected a time"},
        {"num_dbs = ' 4'", "build_meta.num_dbs is \" 4\", expected an integer from 0 to 1048576"},
        {"created_at = 1.5", "build_meta.created_at is 1.5, expected a text"},
        {"num_dbs = 0", "build_meta.num_dbs is 0, expected 1 to 1048576"},
        {"num_dbs = -1", "build_meta.num_dbs is -1, expected an integer from 0 to 1048576"},
        {"num_dbs = 1048577",
            "build_meta.num_dbs is 1048577, expected an integer from 0 to 1048576"},
        {"num_dbs = 1.5", "build_meta.num_dbs is 1.5, expected an integer from 0 to 1048576"},
        {"num_dbs = 'many'",
            "build_meta.num_dbs is \"many\", expected an integer from 0 to 1048576"},
        {"num_dbs = NULL", "build_meta.num_dbs is NULL, expected an integer from 0 to 1048576"},
        {"s3_prefix = NULL", "build_meta.s3_prefix is NULL, expected a text"},
        {"key_col = 1", "build_meta.key_col is 1, expected a text"},
        {"db_path_template = 1", "build_meta.db_path_template is 1, expected a text"},
        {"shard_prefix = 1", "build_meta.shard_prefix is 1, expected a text"},
        {"key_encoding = 'U64BE'",
            "build_meta.key_encoding is \"U64BE\", expected u64be, u32be, utf8 or raw"},
        {"key_encoding = 'auto'",
            "build_meta.key_encoding is \"auto\", expected u64be, u32be, utf8 or raw"},
        {"sharding = NULL", "build_meta.sharding is NULL, expected a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[300];
        snprintf(sql, sizeof sql, "UPDATE build_meta SET %s", cases[i].change);
        assert_refused(SHARDY_CORRUPT, 1, sql, cases[i].message);
    }
}

static void assert_sharding_refused(const char *sharding, uint32_t num_dbs, const char *message)
{
    char sql[2000];
    snprintf(
        sql, sizeof sql, "UPDATE build_meta SET num_dbs = %u, sharding = '%s'", num_dbs, sharding);
    assert_refused(SHARDY_CORRUPT, 1, sql, message);
}

#define CEL_WITH(values)                                                                           \
    "{\"strategy\": \"cel\", \"hash_algorithm\": \"xxh3_64\", \"cel_expr\": \"r\", "               \
    "\"cel_columns\": {\"r\": \"string\"}, \"routing_values\": " values "}"

static void test_manifest__wrong_sharding_names_value_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *sharding;
        const char *message;
    } cases[] = {
        {"{", "sharding: line 1, column 2: the text ends in an object"},
        {"[]", "sharding is an array, expected an object"},
        {"{\"hash_algorithm\": \"xxh3_64\", \"extra\": 1}",
            "sharding has the unknown key \"extra\", expected strategy, hash_algorithm, "
            "routing_values, cel_expr and cel_columns"},
        {"{}", "sharding.hash_algorithm is missing, expected \"xxh3_64\""},
        {"{\"hash_algorithm\": \"md5\"}",
            "sharding.hash_algorithm is \"md5\", expected \"xxh3_64\""},
        {"{\"hash_algorithm\": 64}", "sharding.hash_algorithm is 64, expected \"xxh3_64\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": \"range\"}",
            "sharding.strategy is \"range\", expected \"hash\" or \"cel\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": null}",
            "sharding.strategy is null, expected \"hash\" or \"cel\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"routing_values\": []}",
            "sharding.routing_values is an array, expected null with the strategy \"hash\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"cel_expr\": \"key\"}",
            "sharding.cel_expr is \"key\", expected null with the strategy \"hash\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"cel_columns\": {}}",
            "sharding.cel_columns is an object, expected null with the strategy \"hash\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": \"cel\"}",
            "sharding.cel_expr is missing, expected a text that is not empty with the strategy "
            "\"cel\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": \"cel\", \"cel_expr\": \"\"}",
            "sharding.cel_expr is \"\", expected a text that is not empty with the strategy "
            "\"cel\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": \"cel\", \"cel_expr\": \"r\", "
         "\"cel_columns\": {}}",
            "sharding.cel_columns is an object, expected an object that is not empty with the "
            "strategy \"cel\""},
        {"{\"hash_algorithm\": \"xxh3_64\", \"strategy\": \"cel\", \"cel_expr\": \"r\", "
         "\"cel_columns\": null}",
            "sharding.cel_columns is null, expected an object that is not empty with the strategy "
            "\"cel\""},
        {CEL_WITH("{}"), "sharding.routing_values is an object, expected an array or null"},
        {CEL_WITH("[\"a\", \"b\", \"c\"]"),
            "build_meta.num_dbs is 4, expected 3, the number of routing values"},
        {CEL_WITH("[]"), "build_meta.num_dbs is 4, expected 1, the number of routing values"},
        {CEL_WITH("[\"a\", \"b\", null, \"c\"]"),
            "sharding.routing_values[2] is null, expected an integer or a text"},
        {CEL_WITH("[\"a\", \"b\", [], \"c\"]"),
            "sharding.routing_values[2] is an array, expected an integer or a text"},
        {CEL_WITH("[1, 2, 1.5, 4]"),
            "sharding.routing_values[2] is 1.5, expected an integer or a text"},
        {CEL_WITH("[1, 2, NaN, 4]"),
            "sharding.routing_values[2] is NaN, expected an integer or a text"},
        {CEL_WITH("[1, 2, \"3\", 4]"),
            "sharding.routing_values[2] is \"3\", expected an integer as those before it"},
        {CEL_WITH("[\"a\", \"b\", \"c\", 4]"),
            "sharding.routing_values[3] is 4, expected a text as those before it"},
        {CEL_WITH("[\"a\", \"b\", \"c\", \"b\"]"),
            "sharding.routing_values[3] is \"b\", expected a value that is not there twice"},
        {CEL_WITH("[0, 1, 2, true]"),
            "sharding.routing_values[3] is true, expected a value that is not there twice"},
        {CEL_WITH("[0, 1, 2, 2.0]"),
            "sharding.routing_values[3] is 2.0, expected a value that is not there twice"},
        {CEL_WITH("[0, 1, 2, -0]"),
            "sharding.routing_values[3] is -0, expected a value that is not there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_sharding_refused(cases[i].sharding, 4, cases[i].message);
    }
}

static void test_manifest__wrong_shards_name_value_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        const char *message;
    } cases[] = {
        {"UPDATE shards SET db_id = 4 WHERE db_id = 2",
            "shards.db_id is 4, expected less than num_dbs, 4"},
        {"UPDATE shards SET db_id = -1 WHERE db_id = 2",
            "shards.db_id is -1, expected an integer from 0 to 4294967295"},
        {"UPDATE shards SET db_id = 0 WHERE db_id = 2", "shards.db_id is 0 twice, expected once"},
        {"UPDATE build_meta SET num_dbs = 1; UPDATE shards SET db_id = 0",
            "table \"shards\" has more than num_dbs rows, expected at most 1"},
        {"UPDATE shards SET attempt = -1",
            "shards.attempt is -1, expected an integer from 0 to 4294967295"},
        {"UPDATE shards SET row_count = -5",
            "shards.row_count is -5, expected an integer from 0 to 9223372036854775807"},
        {"UPDATE shards SET db_bytes = 'x'",
            "shards.db_bytes is \"x\", expected an integer from 0 to 9223372036854775807"},
        {"UPDATE shards SET db_url = 5", "shards.db_url is 5, expected a text"},
        {"UPDATE shards SET checkpoint_id = 5", "shards.checkpoint_id is 5, expected a text"},
        {"UPDATE shards SET min_key = 5", "shards.min_key is 5, expected a text"},
        {"UPDATE shards SET min_key = '1.5'",
            "shards.min_key is 1.5, expected null, an integer or a text"},
        {"UPDATE shards SET max_key = '[1]'",
            "shards.max_key is an array, expected null, an integer or a text"},
        {"UPDATE shards SET max_key = '{}'",
            "shards.max_key is an object, expected null, an integer or a text"},
        {"UPDATE shards SET max_key = 'NaN'",
            "shards.max_key is NaN, expected null, an integer or a text"},
        {"UPDATE shards SET max_key = '\"a'",
            "shards.max_key: line 1, column 1: a string does not end"},
        {"UPDATE shards SET writer_info = NULL", "shards.writer_info is NULL, expected a text"},
        {"UPDATE shards SET writer_info = 'null'",
            "shards.writer_info is null, expected an object"},
        {"UPDATE shards SET writer_info = '[]'",
            "shards.writer_info is an array, expected an object"},
        {"UPDATE shards SET writer_info = '{\"attempt\": \"x\"}'",
            "shards.writer_info.attempt is \"x\", expected an integer"},
        {"UPDATE shards SET writer_info = '{\"duration_ms\": null}'",
            "shards.writer_info.duration_ms is null, expected an integer"},
        {"UPDATE shards SET writer_info = '{\"stage_id\": 1.5}'",
            "shards.writer_info.stage_id is 1.5, expected an integer or null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(SHARDY_CORRUPT, 1, cases[i].change, cases[i].message);
    }
}

static void assert_custom_refused(shardy_status status, const char *custom, const char *message)
{
    char sql[1000];
    snprintf(sql, sizeof sql, "UPDATE build_meta SET custom = '%s'", custom);
    assert_refused(status, 1, sql, message);
}

static void test_manifest__wrong_custom_fields_name_value_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *custom;
        const char *message;
    } cases[] = {
        {"[]", "custom is an array, expected an object"},
        {"null", "custom is null, expected an object"},
        {"{\"vector\": 5}", "custom.vector is 5, expected an object"},
        {"{\"vector\": null}", "custom.vector is null, expected an object"},
        {"{\"vector\": {}}", "custom.vector.dim is missing, expected an integer from 1 to 8192"},
        {"{\"vector\": {\"dim\": 0}}",
            "custom.vector.dim is 0, expected an integer from 1 to 8192"},
        {"{\"vector\": {\"dim\": 8193}}",
            "custom.vector.dim is 8193, expected an integer from 1 to 8192"},
        {"{\"vector\": {\"dim\": -3}}",
            "custom.vector.dim is -3, expected an integer from 1 to 8192"},
        {"{\"vector\": {\"dim\": \"8\"}}",
            "custom.vector.dim is \"8\", expected an integer from 1 to 8192"},
        {"{\"vector\": {\"dim\": 8}}", "custom.vector.metric is missing, expected a short text"},
        {"{\"vector\": {\"dim\": 8, \"metric\": 2}}",
            "custom.vector.metric is 2, expected a short text"},
        {"{\"vector\": {\"dim\": 8, \"metric\": \"hamming\"}}",
            "custom.vector.metric is \"hamming\", expected cosine, l2 or dot_product"},
        {"{\"vector\": {\"dim\": 8, \"metric\": \"l2\", \"unified\": \"yes\"}}",
            "custom.vector.unified is \"yes\", expected true or false"},
        {"{\"vector\": {\"dim\": 8, \"metric\": \"l2\", \"backend\": 1}}",
            "custom.vector.backend is 1, expected a short text"},
        {"{\"vector\": {\"dim\": 8, \"metric\": \"l2\", \"backend\": \"\"}}",
            "custom.vector.backend is \"\", expected a short text"},
        {"{\"vector\": {\"dim\": 8, \"metric\": \"l2\", \"kv_backend\": []}}",
            "custom.vector.kv_backend is an array, expected a short text"},
        {"{\"shardyfusion\": 1}", "custom.shardyfusion is 1, expected an object"},
        {"{\"shardyfusion\": {}}", "custom.shardyfusion.version is missing, expected an integer"},
        {"{\"shardyfusion\": {\"version\": \"1\"}}",
            "custom.shardyfusion.version is \"1\", expected an integer"},
        {"{\"shardyfusion\": {\"version\": 1}}",
            "custom.shardyfusion.engine is missing, expected a short text"},
        {"{\"shardyfusion\": {\"version\": 1, \"engine\": 7}}",
            "custom.shardyfusion.engine is 7, expected a short text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_custom_refused(SHARDY_CORRUPT, cases[i].custom, cases[i].message);
    }
    assert_custom_refused(SHARDY_FORMAT_VERSION,
        "{\"shardyfusion\": {\"version\": 2, \"engine\": \"sqlite\"}}",
        "custom.shardyfusion has version 2, this version reads 1");
}

static void test_manifest__what_is_harmless_is_taken_as_the_reference_takes_it(void **state)
{
    (void)state;
    manifest *m = parse_changed(1,
        "UPDATE build_meta SET custom = NULL, num_dbs = '4', format_version = 4.0;"
        "ALTER TABLE build_meta ADD COLUMN more DEFAULT 1; ALTER TABLE shards ADD COLUMN x;"
        "CREATE TABLE other (a); INSERT INTO other VALUES (1);"
        "INSERT INTO build_meta (run_id) VALUES ('second');"
        "UPDATE shards SET row_count = '12', min_key = 'true', max_key = '1.0' WHERE db_id = 0;"
        "UPDATE shards SET db_url = NULL WHERE db_id = 2");
    assert_string_equal(m->run_id, "r");
    assert_string_equal(m->custom, "{}");
    assert_int_equal(m->num_dbs, 4);
    assert_int_equal(m->shards[0].row_count, 12);
    assert_int_equal(m->shards[0].min_key.i, 1);
    assert_int_equal(m->shards[0].max_key.i, 1);
    assert_null(m->shards[1].db_url);
    assert_ok(shardy__manifest_check_urls(m, &err));
    shardy__manifest_free(m);
    m = parse_changed(1, "UPDATE build_meta SET custom = ''; DELETE FROM shards");
    assert_string_equal(m->custom, "{}");
    assert_int_equal(m->shard_count, 0);
    shardy__manifest_free(m);
    /* rows in any order; integers of any size; null in place of SQL's NULL */
    m = parse_changed(1,
        "UPDATE shards SET db_id = 3 WHERE db_id = 0;"
        "UPDATE shards SET min_key = '18446744073709551615', max_key = "
        "'340282366920938463463374607431768211456' WHERE db_id = 3;"
        "UPDATE shards SET min_key = 'null', max_key = '\"\\u0000\"' WHERE db_id = 2");
    assert_int_equal(m->shards[0].db_id, 2);
    assert_int_equal(m->shards[0].has_min_key, 0);
    assert_int_equal(m->shards[0].max_key.bytes.len, 1);
    assert_int_equal(m->shards[1].db_id, 3);
    assert_int_equal(m->shards[1].min_key.type, SHARDY_KEY_UINT);
    assert_true(m->shards[1].min_key.u == UINT64_MAX);
    assert_int_equal(m->shards[1].has_max_key, 0);
    shardy__manifest_free(m);
    m = parse_changed(0, "");
    assert_int_equal(m->shards[1].duration_ms, 7);
    shardy__manifest_free(m);
}

static void test_manifest__all_number_forms_of_routing_values_are_read(void **state)
{
    (void)state;
    manifest *m =
        parse_changed(1, "UPDATE build_meta SET sharding = '" CEL_WITH(
                             "[true, 0, 2.0, 340282366920938463463374607431768211456]") "'");
    assert_int_equal(m->strategy, SHARDY_SHARDING_CEL);
    assert_string_equal(m->cel_expr, "r");
    shardy__manifest_free(m);
    m = parse_changed(1,
        "DELETE FROM shards; UPDATE build_meta SET num_dbs = 1, sharding = '" CEL_WITH("[]") "'");
    assert_int_equal(m->num_dbs, 1);
    shardy__manifest_free(m);
}

/* --- URLs ------------------------------------------------------------------------------------- */

static void test_manifest__urls_outside_of_the_prefix_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"s3://b/q/x", "s3://b/p", "s3://b/p/", "s3://b/pp/x",
        "s3://b/p2", "s3://other/p/x", "s3://b/p/../q/x", "s3://b/p/..", "s3://b/p/./x",
        "s3://b/p//x", "s3://b//p/x", "s3://b/p/x?versionId=1", "s3://b/p/x#y",
        "s3://user:secret@b/p/x", "https://b/p/x", "http://169.254.169.254/latest/meta-data",
        "gs://b/p/x", "file:///b/p/x", "file:///etc/passwd", "/etc/passwd", "/b/p/x", "p/x", "../x",
        "", "s3:b/p/x", "s3://b\\p\\x", "s3://b%2Fp/x", "s3://b/p%2F..%2Fq",
        "s3://b/p/.shardyfusion/tmp/x", "s3://b/p/x\ny"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char sql[300];
        snprintf(sql, sizeof sql, "UPDATE shards SET db_url = '%s' WHERE db_id = 2", bad[i]);
        manifest *m = parse_changed(0, sql);
        char path[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "x";
        memset(&err, 0, sizeof err);
        if (shardy__manifest_check_urls(m, &err) != SHARDY_CORRUPT) {
            fail_msg("\"%s\" was let through", bad[i]);
        }
        assert_int_equal(strncmp(err.message, "shard 2: ", 9), 0);
        assert_null(strstr(err.message, "secret"));
        assert_status(SHARDY_CORRUPT, shardy__manifest_shard_path(m, &m->shards[1], path, &err));
        assert_string_equal(path, "");
        assert_ok(shardy__manifest_shard_path(m, &m->shards[0], path, &err));
        assert_string_equal(path, "x0");
        shardy__manifest_free(m);
    }
}

static void test_manifest__percent_signs_in_urls_are_literal(void **state)
{
    (void)state;
    manifest *m = parse_changed(0, "UPDATE shards SET db_url = 's3://b/p/%2e%2e/%2F' "
                                   "WHERE db_id = 2");
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__manifest_check_urls(m, &err));
    assert_ok(shardy__manifest_shard_path(m, &m->shards[1], path, &err));
    assert_string_equal(path, "%2e%2e/%2F");
    shardy__manifest_free(m);
}

static void test_manifest__a_trailing_slash_of_the_prefix_is_kept_and_means_nothing(void **state)
{
    (void)state;
    manifest *m = parse_changed(0, "UPDATE build_meta SET s3_prefix = 's3://b/p/'");
    char path[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_string_equal(m->s3_prefix, "s3://b/p/");
    assert_ok(shardy__manifest_shard_path(m, &m->shards[0], path, &err));
    assert_string_equal(path, "x0");
    shardy__manifest_free(m);
}

/* --- the table of digests --------------------------------------------------------------------- */

#define OBJECTS                                                                                    \
    "CREATE TABLE shardy_objects (path TEXT PRIMARY KEY, size INTEGER NOT NULL, chunk_bytes "      \
    "INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;"

static void test_manifest__wrong_digests_name_value_and_expectation(void **state)
{
    (void)state;
    static const struct {
        const char *rows;
        const char *message;
    } cases[] = {
        {"('../x', 1, 65536, zeroblob(32))",
            "shardy_objects has the path \"../x\", which has a segment \".\" or \"..\""},
        {"('/etc/passwd', 1, 65536, zeroblob(32))",
            "shardy_objects has the path \"/etc/passwd\", which has an empty segment"},
        {"('', 1, 65536, zeroblob(32))", "shardy_objects has the path \"\", which is empty"},
        {"('.shardyfusion/lock', 1, 65536, zeroblob(32))",
            "shardy_objects has the path \".shardyfusion/lock\", which begins with "
            "\".shardyfusion\", which stores keep for themselves"},
        {"('x', -1, 65536, zeroblob(32))",
            "shardy_objects.size is -1, expected an integer from 0 to 9223372036854775807"},
        {"('x', 1, 4096, zeroblob(32))",
            "the digest of \"x\" is not a SHA-256 over chunks of 65536 bytes"},
        {"('x', 1, 65536, zeroblob(31))",
            "the digest of \"x\" is not a SHA-256 over chunks of 65536 bytes"},
        {"('x', 1, 65536, 'zz')",
            "the digest of \"x\" is not a SHA-256 over chunks of 65536 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[600];
        snprintf(sql, sizeof sql, OBJECTS "INSERT INTO shardy_objects VALUES %s", cases[i].rows);
        assert_refused(SHARDY_CORRUPT, 0, sql, cases[i].message);
    }
    /* a table that is no b-tree of paths: the same path twice, or not in order */
    assert_refused(SHARDY_CORRUPT, 0,
        "CREATE TABLE shardy_objects (path, size, chunk_bytes, sha256); INSERT INTO shardy_objects "
        "VALUES ('x', 1, 65536, zeroblob(32)), ('x', 1, 65536, zeroblob(32))",
        "shardy_objects is not in order at \"x\"");
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A model with `shards` shards of `num_dbs`, one object each, strings in its arena. */
static manifest *make_manifest(uint32_t num_dbs, uint32_t shards, const char *custom)
{
    manifest *m;
    assert_ok(shardy__manifest_new(&m, &err));
    m->run_id = "run-1";
    m->created_at = "2026-01-02T03:04:05.000006Z";
    m->s3_prefix = "s3://bucket/prefix";
    m->key_col = "_key";
    m->db_path_template = "db={db_id:05d}";
    m->shard_prefix = "shards";
    m->num_dbs = num_dbs;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    m->custom = custom;
    m->shards = shardy__arena_calloc(&m->arena, shards + 1, sizeof *m->shards);
    m->objects = shardy__arena_calloc(&m->arena, shards + 1, sizeof *m->objects);
    for (uint32_t i = 0; i < shards; i++) {
        char text[200];
        manifest_shard *s = &m->shards[i];
        s->db_id = shards == num_dbs ? i : i * 2;
        s->attempt = i % 3;
        s->row_count = i + 1;
        s->db_bytes = 4096 + i;
        s->duration_ms = i * 10;
        snprintf(text, sizeof text, "shards/run_id=run-1/db=%05u/attempt=%02u/shard.db", s->db_id,
            s->attempt);
        m->objects[i].path = shardy__arena_strdup(&m->arena, text);
        m->objects[i].size = s->db_bytes;
        memset(m->objects[i].sha256, (int)(i & 0xFF), SHARDY_SHA256_LEN);
        snprintf(text, sizeof text, "s3://bucket/prefix/shards/run_id=run-1/db=%05u/attempt=%02u",
            s->db_id, s->attempt);
        s->db_url = shardy__arena_strdup(&m->arena, text);
        s->checkpoint_id = i % 2 ? "c" : NULL;
        s->has_min_key = i % 4 != 0;
        s->has_max_key = i % 4 != 0;
        s->min_key = i % 4 == 1   ? shardy_key_int(-(int64_t)i)
                     : i % 4 == 2 ? shardy_key_uint(UINT64_MAX - i)
                                  : shardy_key_text("\0\"\xc3\xa9\xf0\x9f\x98\x80", 8);
        s->max_key = i % 4 == 1   ? shardy_key_int(i)
                     : i % 4 == 2 ? shardy_key_uint(UINT64_MAX)
                                  : shardy_key_text("z", 1);
    }
    m->shard_count = shards;
    m->object_count = shards;
    return m;
}

static void assert_same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a) {
        assert_string_equal(a, b);
    }
}

static void assert_same_shard(const manifest_shard *a, const manifest_shard *b)
{
    assert_int_equal(a->db_id, b->db_id);
    assert_int_equal(a->attempt, b->attempt);
    assert_true(a->row_count == b->row_count && a->db_bytes == b->db_bytes);
    assert_true(a->duration_ms == b->duration_ms);
    assert_same_text(a->db_url, b->db_url);
    assert_same_text(a->checkpoint_id, b->checkpoint_id);
    assert_int_equal(a->has_min_key, b->has_min_key);
    assert_int_equal(a->has_max_key, b->has_max_key);
    if (a->has_min_key) {
        assert_int_equal(a->min_key.type, b->min_key.type);
        assert_int_equal(shardy_key_compare(&a->min_key, &b->min_key), 0);
        assert_int_equal(shardy_key_compare(&a->max_key, &b->max_key), 0);
    }
}

static void assert_same_manifest(const manifest *a, const manifest *b)
{
    assert_same_text(a->run_id, b->run_id);
    assert_same_text(a->created_at, b->created_at);
    assert_same_text(a->s3_prefix, b->s3_prefix);
    assert_same_text(a->key_col, b->key_col);
    assert_same_text(a->db_path_template, b->db_path_template);
    assert_same_text(a->shard_prefix, b->shard_prefix);
    assert_same_text(a->cel_expr, b->cel_expr);
    assert_int_equal(a->num_dbs, b->num_dbs);
    assert_int_equal(a->strategy, b->strategy);
    assert_int_equal(a->key_encoding, b->key_encoding);
    assert_int_equal(a->shard_count, b->shard_count);
    for (uint32_t i = 0; i < a->shard_count; i++) {
        assert_same_shard(&a->shards[i], &b->shards[i]);
    }
    assert_int_equal(a->object_count, b->object_count);
    for (size_t i = 0; i < a->object_count; i++) {
        assert_string_equal(a->objects[i].path, b->objects[i].path);
        assert_true(a->objects[i].size == b->objects[i].size);
        assert_memory_equal(a->objects[i].sha256, b->objects[i].sha256, SHARDY_SHA256_LEN);
    }
}

static void test_manifest__what_is_written_is_read_back_for_any_number_of_shards(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 3, 10, 33, 34, 100, 999, 1000, 10000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (uint32_t spread = 1; spread <= 2; spread++) {
            uint32_t num_dbs = counts[i] ? counts[i] * spread : spread;
            manifest *m = make_manifest(num_dbs, counts[i], "{}");
            shardy_buf first;
            shardy_buf second;
            manifest *again;
            assert_ok(shardy__manifest_render(m, &first, &err));
            assert_ok(shardy__manifest_render(m, &second, &err));
            assert_int_equal(first.len, second.len);
            assert_memory_equal(first.data, second.data, first.len);
            assert_ok(shardy__manifest_parse(shardy__bytes(first.data, first.len), &again, &err));
            assert_same_manifest(m, again);
            assert_int_equal(again->has_objects, 1);
            assert_ok(shardy__manifest_check_urls(again, &err));
            for (uint32_t k = 0; k < counts[i]; k += 7) {
                assert_ptr_equal(
                    shardy__manifest_shard(again, m->shards[k].db_id), &again->shards[k]);
                assert_ptr_equal(
                    shardy__manifest_object(again, m->objects[k].path), &again->objects[k]);
            }
            assert_null(shardy__manifest_shard(again, num_dbs));
            assert_null(shardy__manifest_object(again, "shards"));
            shardy_buf_release(&second);
            assert_ok(shardy__manifest_render(again, &second, &err));
            assert_int_equal(first.len, second.len);
            assert_memory_equal(first.data, second.data, first.len);
            shardy_buf_release(&first);
            shardy_buf_release(&second);
            shardy__manifest_free(m);
            shardy__manifest_free(again);
        }
    }
}

static char *render_custom(const char *user, int vectors)
{
    manifest_custom custom;
    memset(&custom, 0, sizeof custom);
    snprintf(custom.engine, sizeof custom.engine, "%s", vectors ? "sqlite-vec" : "sqlite");
    custom.has_vector = vectors;
    custom.unified = 1;
    custom.dim = 8;
    custom.metric = 1;
    snprintf(custom.backend, sizeof custom.backend, "sqlite-vec");
    snprintf(custom.kv_backend, sizeof custom.kv_backend, "sqlite-vec");
    bytebuf text;
    shardy__bytebuf_init(&text, 1 << 20);
    assert_ok(shardy__custom_render(user, &custom, &text, &err));
    char *copy = strdup(text.data);
    shardy__bytebuf_free(&text);
    return copy;
}

static void test_manifest__custom_fields_are_written_sorted_beside_ours(void **state)
{
    (void)state;
    char *text = render_custom("{\"zone\": 1.50, \"a\": {\"y\": 340282366920938463463374607431768, "
                               "\"x\": \"\xc3\xa9\"}}",
        1);
    assert_string_equal(text,
        "{\"a\": {\"x\": \"\\u00e9\", \"y\": 340282366920938463463374607431768}, "
        "\"shardyfusion\": {\"engine\": \"sqlite-vec\", \"version\": 1}, "
        "\"vector\": {\"backend\": \"sqlite-vec\", \"dim\": 8, \"index_type\": \"flat\", "
        "\"kv_backend\": \"sqlite-vec\", \"metric\": \"cosine\", \"quantization\": null, "
        "\"unified\": true}, \"zone\": 1.50}");
    manifest *m = make_manifest(1, 0, text);
    shardy_buf first;
    manifest *again;
    assert_ok(shardy__manifest_render(m, &first, &err));
    assert_ok(shardy__manifest_parse(shardy__bytes(first.data, first.len), &again, &err));
    assert_string_equal(again->parsed.engine, "sqlite-vec");
    assert_int_equal(again->parsed.dim, 8);
    assert_int_equal(again->parsed.metric, 1);
    assert_int_equal(again->parsed.unified, 1);
    assert_string_equal(again->parsed.backend, "sqlite-vec");
    shardy_buf_release(&first);
    shardy__manifest_free(m);
    shardy__manifest_free(again);
    free(text);
    text = render_custom(NULL, 0);
    assert_string_equal(text, "{\"shardyfusion\": {\"engine\": \"sqlite\", \"version\": 1}}");
    free(text);
}

static void test_manifest__reserved_custom_fields_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *user;
        const char *message;
    } cases[] = {
        {"{\"vector\": 1}", "a custom field must not be named \"vector\": that name is reserved"},
        {"{\"a\": 1, \"sqlite_sidecar\": {}}",
            "a custom field must not be named \"sqlite_sidecar\": that name is reserved"},
        {"{\"shardyfusion\": null}",
            "a custom field must not be named \"shardyfusion\": that name is reserved"},
        {"[1]", "the custom fields are not a JSON object"},
        {"{\"a\":}", "custom fields: line 1, column 6: expected a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&err, 0, sizeof err);
        assert_status(SHARDY_INVALID, shardy__custom_check_user(cases[i].user, &err));
        assert_string_equal(err.message, cases[i].message);
    }
    assert_ok(shardy__custom_check_user(NULL, &err));
    assert_ok(shardy__custom_check_user("{}", &err));
    assert_ok(shardy__custom_check_user("{\"Vector\": {\"vector\": 1}}", &err));
}

/* --- libsqlite3 and the statements of the reference ------------------------------------------- */

static void assert_column(sqlite3_stmt *row, const char *name, const char *expected)
{
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        if (strcmp(sqlite3_column_name(row, i), name) == 0) {
            const char *got = (const char *)sqlite3_column_text(row, i);
            assert_same_text(got, expected);
            return;
        }
    }
    fail_msg("no column %s", name);
}

static void test_manifest__the_statements_of_the_reference_read_what_we_write(void **state)
{
    (void)state;
    manifest *m = make_manifest(20000, 10000,
        "{\"shardyfusion\": {\"engine\": \"sqlite\", "
        "\"version\": 1}}");
    shardy_buf buf;
    assert_ok(shardy__manifest_render(m, &buf, &err));
    image img = {malloc(buf.len), buf.len, buf.len};
    memcpy(img.data, buf.data, buf.len);
    shardy_buf_release(&buf);
    assert_memory_equal(img.data, "SQLite format 3", 16);
    assert_int_equal(img.data[18], 1);
    assert_int_equal(img.data[19], 1);
    sqlite3 *db = open_db(&img);
    sqlite3_stmt *row = prepare(db, "PRAGMA integrity_check");
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_column(row, "integrity_check", "ok");
    sqlite3_finalize(row);
    row = prepare(db, "SELECT * FROM build_meta LIMIT 1");
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_count(row), 11);
    assert_column(row, "run_id", "run-1");
    assert_column(row, "created_at", "2026-01-02T03:04:05.000006Z");
    assert_column(row, "num_dbs", "20000");
    assert_column(row, "s3_prefix", "s3://bucket/prefix");
    assert_column(row, "key_col", "_key");
    assert_column(row, "sharding",
        "{\"cel_columns\": null, \"cel_expr\": null, \"hash_algorithm\": \"xxh3_64\", "
        "\"routing_values\": null, \"strategy\": \"hash\"}");
    assert_column(row, "db_path_template", "db={db_id:05d}");
    assert_column(row, "shard_prefix", "shards");
    assert_column(row, "format_version", "4");
    assert_column(row, "key_encoding", "utf8");
    assert_column(row, "custom", m->custom);
    sqlite3_finalize(row);
    row = prepare(db, "SELECT * FROM shards ORDER BY db_id");
    for (uint32_t i = 0; i < 10000; i++) {
        char info[200];
        assert_int_equal(sqlite3_step(row), SQLITE_ROW);
        assert_int_equal(sqlite3_column_count(row), 9);
        assert_int_equal(sqlite3_column_int(row, 0), i * 2);
        assert_column(row, "db_url", m->shards[i].db_url);
        assert_int_equal(sqlite3_column_int(row, 2), i % 3);
        assert_int_equal(sqlite3_column_int64(row, 3), i + 1);
        assert_int_equal(sqlite3_column_int64(row, 4), 4096 + i);
        assert_column(row, "checkpoint_id", m->shards[i].checkpoint_id);
        snprintf(info, sizeof info,
            "{\"attempt\": %u, \"duration_ms\": %u, \"stage_id\": null, \"task_attempt_id\": "
            "null}",
            i % 3, i * 10);
        assert_column(row, "writer_info", info);
        if (i % 4 == 3) {
            assert_column(row, "min_key", "\"\\u0000\\\"\\u00e9\\ud83d\\ude00\"");
            assert_column(row, "max_key", "\"z\"");
        } else if (i % 4 == 0) {
            assert_column(row, "min_key", NULL);
        }
    }
    assert_int_equal(sqlite3_step(row), SQLITE_DONE);
    sqlite3_finalize(row);
    row = prepare(db, "SELECT * FROM shards WHERE db_id = ?");
    sqlite3_bind_int(row, 1, 7776);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_column(row, "db_url", m->shards[3888].db_url);
    sqlite3_reset(row);
    sqlite3_bind_int(row, 1, 7777);
    assert_int_equal(sqlite3_step(row), SQLITE_DONE);
    sqlite3_finalize(row);
    row = prepare(db, "SELECT size, chunk_bytes, hex(sha256) AS digest FROM shardy_objects "
                      "WHERE path = ?");
    sqlite3_bind_text(row, 1, m->objects[5].path, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(row, 0), 4101);
    assert_int_equal(sqlite3_column_int(row, 1), 65536);
    assert_column(
        row, "digest", "0505050505050505050505050505050505050505050505050505050505050505");
    sqlite3_finalize(row);
    sqlite3_close(db);
    free_image(&img);
    shardy__manifest_free(m);
}

/* Every byte changed in turn: parsed or refused, never more. */
static void test_manifest__no_changed_byte_and_no_cut_does_more_than_fail(void **state)
{
    (void)state;
    manifest *m = make_manifest(3, 3, "{}");
    shardy_buf buf;
    assert_ok(shardy__manifest_render(m, &buf, &err));
    uint8_t *copy = malloc(buf.len);
    size_t refused = 0;
    for (size_t i = 0; i < buf.len; i++) {
        manifest *got = NULL;
        memcpy(copy, buf.data, buf.len);
        copy[i] ^= (uint8_t)(1u << (i % 8));
        shardy_status st = shardy__manifest_parse(shardy__bytes(copy, buf.len), &got, &err);
        assert_true(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION);
        assert_int_equal(got != NULL, st == SHARDY_OK);
        refused += st != SHARDY_OK;
        shardy__manifest_free(got);
    }
    assert_true(refused > 100);
    for (size_t len = 0; len < buf.len; len += 61) {
        manifest *got;
        memcpy(copy, buf.data, len);
        assert_status(SHARDY_CORRUPT, shardy__manifest_parse(shardy__bytes(copy, len), &got, &err));
    }
    free(copy);
    shardy_buf_release(&buf);
    shardy__manifest_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest__bytes_that_are_no_sqlite_database_are_corrupt),
        cmocka_unit_test(test_manifest__a_wal_image_is_corrupt),
        cmocka_unit_test(test_manifest__missing_tables_columns_and_rows_are_named),
        cmocka_unit_test(test_manifest__only_format_version_4_is_read),
        cmocka_unit_test(test_manifest__wrong_fields_of_the_build_name_value_and_expectation),
        cmocka_unit_test(test_manifest__wrong_sharding_names_value_and_expectation),
        cmocka_unit_test(test_manifest__wrong_shards_name_value_and_expectation),
        cmocka_unit_test(test_manifest__wrong_custom_fields_name_value_and_expectation),
        cmocka_unit_test(test_manifest__what_is_harmless_is_taken_as_the_reference_takes_it),
        cmocka_unit_test(test_manifest__all_number_forms_of_routing_values_are_read),
        cmocka_unit_test(test_manifest__urls_outside_of_the_prefix_are_refused),
        cmocka_unit_test(test_manifest__percent_signs_in_urls_are_literal),
        cmocka_unit_test(test_manifest__a_trailing_slash_of_the_prefix_is_kept_and_means_nothing),
        cmocka_unit_test(test_manifest__wrong_digests_name_value_and_expectation),
        cmocka_unit_test(test_manifest__what_is_written_is_read_back_for_any_number_of_shards),
        cmocka_unit_test(test_manifest__custom_fields_are_written_sorted_beside_ours),
        cmocka_unit_test(test_manifest__reserved_custom_fields_are_refused_by_name),
        cmocka_unit_test(test_manifest__the_statements_of_the_reference_read_what_we_write),
        cmocka_unit_test(test_manifest__no_changed_byte_and_no_cut_does_more_than_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
