/* Snapshots whose manifests are in Postgres, through the public interface; with the SQL of the
 * reference on the other side (formats.md, section 13): what it writes is read, and what we write
 * obeys the rules by which it reads. */
#include "support/dataset.h"
#include "support/postgres_world.h"

#include "base/context.h"
#include "catalog/fate.h"
#include "catalog/postgres_tables.h"

#include <libpq-fe.h>
#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the life of a data set ------------------------------------------------------------------- */

static void test_life__build_read_refresh_roll_back_history_and_verify(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    assert_status(SHARDY_INVALID, open_reader(w, NULL, &reader));
    build_ok(w, "one", "first");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "first");
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(reader, NULL, &err));
    build_ok(w, "two", "second");
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    assert_value(reader, "second");
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.manifest_ref, "two");
    assert_int_equal(info.verified, 1);
    assert_int_equal(info.generation, 2);
    shardy_snapshot_info_dispose(&info);
    assert_ok(roll_back(w, "one"));
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    assert_value(reader, "first");
    shardy_reader_close(reader);
    assert_ok(open_reader(w, "two", &reader));
    assert_value(reader, "second");
    shardy_reader_close(reader);
    shardy_admin_options options;
    shardy_history history;
    shardy_admin_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    assert_ok(shardy_history_list(NULL, w->dir, 10, &options, &history, &err));
    assert_int_equal(history.count, 2);
    assert_string_equal(history.entries[0].ref, "two");
    assert_int_equal(history.entries[0].current, 0);
    assert_string_equal(history.entries[1].run_id, "one");
    assert_int_equal(history.entries[1].current, 1);
    shardy_history_dispose(&history);
    assert_int_equal(verify(w, NULL, 1), SHARDY_VERIFY_OK);
    assert_int_equal(verify(w, "two", 1), SHARDY_VERIFY_OK);
    assert_status(SHARDY_INVALID, roll_back(w, "three"));
    assert_status(SHARDY_INVALID, roll_back(w, "a/b"));
    assert_status(SHARDY_EXISTS, build(w, "one", "again", &err));
    /* no object is a manifest */
    assert_int_equal(support_count_entries(support_path(w->dir, "manifests")), 0);
}

/* --- ours, by the SQL of the reference -------------------------------------------------------- */

static void assert_sql(const world *w, const char *query, const char *expected)
{
    const char *got = sql(w, query);
    if (strcmp(got, expected) != 0) {
        fail_msg("%s: got \"%s\", expected \"%s\"", query, got, expected);
    }
}

static void test_ours__obeys_the_rules_by_which_the_reference_reads(void **state)
{
    const world *w = *state;
    build_ok(w, "one", "first");
    build_ok(w, "two", "second");
    assert_sql(w, "SELECT manifest_ref FROM %P ORDER BY updated_at DESC LIMIT 1", "two");
    assert_sql(w,
        "SELECT count(*) FROM (SELECT run_id, created_at, num_dbs, s3_prefix, key_col, "
        "db_path_template, shard_prefix, key_encoding, sharding, custom FROM %T_builds) b",
        "2");
    /* every rule of formats.md 3.6 that columns can break */
    assert_sql(w,
        "SELECT count(*) FROM %T_builds WHERE num_dbs <= 0 OR key_encoding NOT IN ('u64be', "
        "'u32be', 'utf8', 'raw') OR jsonb_typeof(custom) <> 'object' OR jsonb_typeof(sharding) <> "
        "'object' OR (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(sharding) k) <> "
        "'cel_columns,cel_expr,hash_algorithm,routing_values,strategy' OR sharding ->> 'strategy' "
        "<> 'hash' OR sharding ->> 'hash_algorithm' <> 'xxh3_64' OR (sharding ->> "
        "'routing_values') IS NOT NULL OR (sharding ->> 'cel_expr') IS NOT NULL OR (sharding ->> "
        "'cel_columns') IS NOT NULL OR created_at > now() OR created_at < now() - interval '1 day'",
        "0");
    assert_sql(w,
        "SELECT count(*) FROM %T_shards s JOIN %T_builds b USING (run_id) WHERE s.db_id < 0 OR "
        "s.db_id >= b.num_dbs OR attempt < 0 OR row_count < 0 OR db_bytes < 0 OR db_url NOT LIKE "
        "b.s3_prefix || '/shards/run_id=' || run_id || '/%%' OR checkpoint_id IS NULL OR "
        "jsonb_typeof(writer_info) <> 'object' OR jsonb_typeof(writer_info -> 'attempt') <> "
        "'number'",
        "0");
    assert_sql(w, "SELECT count(*) FROM %T_shards", "4");
    assert_sql(w, "SELECT sum(row_count) FROM %T_shards WHERE run_id = 'one'", "20");
    /* texts would be decoded twice (T-7) */
    assert_sql(
        w, "SELECT count(*) FROM %T_shards WHERE min_key IS NOT NULL OR max_key IS NOT NULL", "0");
    assert_sql(w, "SELECT run_id FROM %T_builds ORDER BY created_at DESC LIMIT 1", "two");
    assert_sql(w, "SELECT custom ->> 'note' FROM %T_builds WHERE run_id = 'one'", "\xC3\xA9");
}

static void test_ours__bounds_of_integers_are_numbers_and_come_back(void **state)
{
    const world *w = *state;
    manifest_store m;
    shardy_context *context;
    shardy_buf image = manifest_image("r", 1767323045000000);
    assert_ok(shardy_context_new(NULL, &context, &err));
    postgres_open_store(context, w->table, w->pointer_table, NULL, &m);
    assert_ok(shardy__manifest_store_add(&m, "r", shardy__bytes(image.data, image.len), &err));
    assert_sql(w, "SELECT min_key::text || ' ' || max_key::text FROM %T_shards WHERE db_id = 0",
        "-3 18446744073709551615");
    assert_sql(w,
        "SELECT count(*) FROM %T_shards WHERE db_id = 2 AND min_key IS NULL AND max_key IS NULL",
        "1");
    assert_sql(w, "SELECT db_bytes FROM %T_shards WHERE db_id = 2", "5000000001");
    shardy__manifest_store_close(&m);
    shardy_context_free(context);
    shardy_buf_release(&image);
}

/* A rollback by the reference, whose row has no document of ours. */
static void test_ours__is_rolled_back_by_the_reference_and_stays_verified(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    build_ok(w, "one", "first");
    build_ok(w, "two", "second");
    assert_ok(open_reader(w, NULL, &reader));
    sql(w, "INSERT INTO %P (manifest_ref) VALUES ('one')");
    assert_ok(shardy_reader_refresh(reader, NULL, &err));
    assert_value(reader, "first");
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_int_equal(info.verified, 1);
    assert_int_equal(info.generation, 0);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    assert_int_equal(verify(w, NULL, 0), SHARDY_VERIFY_OK);
    build_ok(w, "three", "third");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "third");
    shardy_reader_close(reader);
}

/* The reference publishes the same run again: ON CONFLICT DO UPDATE. */
static void test_ours__rows_that_are_changed_afterwards_are_found_out(void **state)
{
    const world *w = *state;
    static const char *const changes[][2] = {
        {"UPDATE %T_builds SET num_dbs = 3", "num_dbs"},
        {"UPDATE %T_builds SET num_dbs = 2, s3_prefix = s3_prefix || 'x'", "s3_prefix"},
        {"UPDATE %T_builds SET s3_prefix = left(s3_prefix, -1), custom = '{}'", "custom"},
        {"UPDATE %T_builds SET created_at = created_at - interval '1 microsecond'", "created_at"},
        {"UPDATE %T_shards SET row_count = row_count + 1 WHERE db_id = 1", "shards"},
        {"DELETE FROM %T_shards WHERE db_id = 1", "shards"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        shardy_reader *reader;
        char run_id[16];
        snprintf(run_id, sizeof run_id, "run-%zu", i);
        sql(w, i == 0 ? "SELECT 1" : "TRUNCATE %T_builds CASCADE; TRUNCATE %P");
        build_ok(w, run_id, "v");
        assert_ok(open_reader(w, NULL, &reader));
        shardy_reader_close(reader);
        if (i == 1 || i == 2) {
            sql(w, i == 1 ? "SELECT 1" : "UPDATE %T_builds SET s3_prefix = s3_prefix || 'x'");
        }
        sql(w, changes[i][0]);
        assert_status(SHARDY_CHECKSUM, open_reader(w, NULL, &reader));
        if (!strstr(err.message, changes[i][1])) {
            fail_msg("%s: %s", changes[i][0], err.message);
        }
    }
}

/* --- the reference's, read by us -------------------------------------------------------------- */

static const char *column_text(sqlite3_stmt *row, int i)
{
    return (const char *)sqlite3_column_text(row, i);
}

static void run_params(
    PGconn *conn, const world *w, const char *text, int count, const char *const *values)
{
    char full[2048];
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (p[0] == '%') {
            n += (size_t)snprintf(
                full + n, sizeof full - n, "%s", p[1] == 'T' ? w->table : w->pointer_table);
            p++;
        } else {
            full[n++] = *p;
        }
    }
    full[n] = '\0';
    PGresult *r = PQexecParams(conn, full, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", full, PQerrorMessage(conn));
    }
    PQclear(r);
}

static void make_reference_tables(const world *w)
{
    sql(w,
        "CREATE TABLE IF NOT EXISTS %T_builds (run_id TEXT PRIMARY KEY, "
        "created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), num_dbs INTEGER NOT NULL, s3_prefix TEXT "
        "NOT NULL, key_col TEXT NOT NULL DEFAULT '_key', db_path_template TEXT NOT NULL DEFAULT "
        "'db={db_id:05d}', shard_prefix TEXT NOT NULL DEFAULT 'shards', key_encoding TEXT NOT NULL "
        "DEFAULT 'u64be', sharding JSONB NOT NULL, custom JSONB NOT NULL DEFAULT '{}'); "
        "CREATE TABLE IF NOT EXISTS %T_shards (run_id TEXT NOT NULL REFERENCES %T_builds(run_id), "
        "db_id INTEGER NOT NULL, db_url TEXT, attempt INTEGER NOT NULL DEFAULT 0, row_count "
        "INTEGER "
        "NOT NULL DEFAULT 0, db_bytes BIGINT NOT NULL DEFAULT 0, checkpoint_id TEXT, min_key "
        "JSONB, "
        "max_key JSONB, writer_info JSONB, PRIMARY KEY (run_id, db_id)); "
        "CREATE TABLE IF NOT EXISTS %P (updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), "
        "manifest_ref TEXT NOT NULL); "
        "CREATE INDEX IF NOT EXISTS idx_%P_updated_at ON %P (updated_at DESC)");
}

/* Publishes a manifest of the reference as it does, from what SQLite reads in the image. */
static void publish_as_reference(const world *w, const shardy_buf *image, char run_id[64])
{
    sqlite3 *db;
    sqlite3_stmt *row;
    PGconn *conn = postgres_connect();
    unsigned char *copy = sqlite3_malloc64(image->len);
    memcpy(copy, image->data, image->len);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_deserialize(db, "main", copy, (sqlite3_int64)image->len,
                         (sqlite3_int64)image->len, SQLITE_DESERIALIZE_FREEONCLOSE),
        SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
            "SELECT run_id, created_at, num_dbs, s3_prefix, key_col, db_path_template, "
            "shard_prefix, key_encoding, sharding, custom FROM build_meta",
            -1, &row, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    const char *build_row[10];
    for (int i = 0; i < 10; i++) {
        build_row[i] = column_text(row, i);
    }
    snprintf(run_id, 64, "%s", build_row[0]);
    run_params(conn, w, "BEGIN", 0, NULL);
    run_params(conn, w,
        "INSERT INTO %T_builds (run_id, created_at, num_dbs, s3_prefix, key_col, db_path_template, "
        "shard_prefix, key_encoding, sharding, custom) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
        "$10) ON CONFLICT (run_id) DO UPDATE SET created_at = EXCLUDED.created_at, num_dbs = "
        "EXCLUDED.num_dbs, s3_prefix = EXCLUDED.s3_prefix, key_col = EXCLUDED.key_col, "
        "db_path_template = EXCLUDED.db_path_template, shard_prefix = EXCLUDED.shard_prefix, "
        "key_encoding = EXCLUDED.key_encoding, sharding = EXCLUDED.sharding, custom = "
        "EXCLUDED.custom",
        10, build_row);
    sqlite3_finalize(row);
    const char *id[] = {run_id};
    run_params(conn, w, "DELETE FROM %T_shards WHERE run_id = $1", 1, id);
    assert_int_equal(
        sqlite3_prepare_v2(db,
            "SELECT db_id, db_url, attempt, row_count, db_bytes, checkpoint_id, min_key, max_key, "
            "writer_info FROM shards ORDER BY db_id",
            -1, &row, NULL),
        SQLITE_OK);
    while (sqlite3_step(row) == SQLITE_ROW) {
        const char *values[10] = {run_id};
        for (int i = 0; i < 9; i++) {
            values[i + 1] = column_text(row, i);
            if (values[i + 1] && strstr(values[i + 1], "\\u0000")) {
                values[i + 1] = NULL; /* JSONB has no such text: the reference fails here */
            }
        }
        run_params(conn, w,
            "INSERT INTO %T_shards (run_id, db_id, db_url, attempt, row_count, db_bytes, "
            "checkpoint_id, min_key, max_key, writer_info) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, "
            "$9, $10)",
            10, values);
    }
    sqlite3_finalize(row);
    run_params(conn, w, "INSERT INTO %P (manifest_ref) VALUES ($1)", 1, id);
    run_params(conn, w, "COMMIT", 0, NULL);
    sqlite3_close(db);
    postgres_disconnect(conn);
}

/* Copies the objects of a golden snapshot, and publishes its manifests, the oldest first. */
static void adopt_golden(const world *w, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tests/golden/snapshots/%s", SHARDY_SOURCE_DIR, name);
    shardy_store *from = fixture_open_fs(path, 0);
    shardy_store *to = fixture_open_fs(w->dir, 0);
    shardy_store_page page = {0};
    make_reference_tables(w);
    assert_ok(shardy_store_list(from, "", 0, NULL, 1000, &page, &err));
    assert_null(page.next_token);
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        size_t len = strlen(key);
        shardy_buf body;
        shardy_object_meta meta;
        char run_id[64];
        assert_ok(shardy_store_get(from, key, 0, SHARDY_READ_TO_END, &body, &meta, &err));
        if (strncmp(key, "manifests/", 10) == 0 && strcmp(key + len - 9, "/manifest") == 0) {
            publish_as_reference(w, &body, run_id);
        } else if (strncmp(key, "shards/", 7) == 0) {
            shardy_store_put put = {0};
            put.key = shardy__bytes(key, len);
            put.condition = SHARDY_PUT_ALWAYS;
            put.body = shardy__bytes(body.data, body.len);
            assert_ok(shardy_store_put_object(to, &put, &meta, &err));
        }
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
    shardy_store_close(from);
    shardy_store_close(to);
}

/* A snapshot of objects and one of rows say the same. */
static void assert_same_snapshot(const world *w, const char *name, const char *ref)
{
    char path[600];
    shardy_reader *readers[2];
    shardy_snapshot_info info[2];
    shardy_shard_details details[2];
    shardy_reader_options options;
    snprintf(path, sizeof path, "%s/tests/golden/snapshots/%s", SHARDY_SOURCE_DIR, name);
    shardy_reader_options_init(&options, sizeof options);
    options.ref = ref;
    assert_ok(shardy_reader_open(NULL, path, &options, &readers[0], &err));
    assert_ok(open_reader(w, ref, &readers[1]));
    for (int i = 0; i < 2; i++) {
        assert_ok(shardy_reader_snapshot_info(readers[i], &info[i], &err));
        assert_ok(shardy_reader_shard_details(readers[i], &details[i], &err));
    }
    assert_string_equal(info[0].run_id, info[1].run_id);
    assert_string_equal(info[0].created_at, info[1].created_at);
    assert_string_equal(info[0].s3_prefix, info[1].s3_prefix);
    assert_int_equal(info[0].num_dbs, info[1].num_dbs);
    assert_int_equal(info[0].row_count, info[1].row_count);
    assert_int_equal(info[0].key_encoding, info[1].key_encoding);
    assert_int_equal(details[0].count, details[1].count);
    for (size_t i = 0; i < details[0].count; i++) {
        const shardy_shard_detail *a = &details[0].shards[i];
        const shardy_shard_detail *b = &details[1].shards[i];
        assert_int_equal(a->db_id, b->db_id);
        assert_int_equal(a->row_count, b->row_count);
        assert_int_equal(a->db_bytes, b->db_bytes);
        assert_true(a->has_min_key >= b->has_min_key);
        assert_true((a->db_url == NULL) == (b->db_url == NULL));
        if (a->db_url) {
            assert_string_equal(a->db_url, b->db_url);
        }
        if (b->has_min_key && a->min_key.type == SHARDY_KEY_TEXT) {
            /* T-7: the reference itself cannot read these back */
            assert_int_equal(b->min_key.type, SHARDY_KEY_TEXT);
            assert_int_equal(a->min_key.bytes.len, b->min_key.bytes.len);
        }
    }
    for (int i = 0; i < 2; i++) {
        shardy_snapshot_info_dispose(&info[i]);
        shardy_shard_details_dispose(&details[i]);
        shardy_reader_close(readers[i]);
    }
}

static void test_reference__golden_snapshots_are_the_same_from_rows(void **state)
{
    world *w = *state;
    static const char *const names[] = {"kv_sqlite_duplicates", "kv_sqlite_hash_int",
        "kv_sqlite_hash_str_bytes", "kv_sqlite_hash_u32", "kv_sqlite_page_auto",
        "kv_sqlite_raw_bytes", "kv_sqlite_retries", "kv_sqlite_sidecar", "limits_empty_shards",
        "limits_no_rows", "limits_one_shard", "unified_sqlite_vec_cosine", "unified_sqlite_vec_l2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        world *one = NULL;
        (void)setup((void **)&one);
        adopt_golden(one, names[i]);
        const char *ref = postgres_sql(one->table, one->pointer_table,
            "SELECT manifest_ref FROM %P ORDER BY updated_at DESC LIMIT 1");
        assert_same_snapshot(one, names[i], ref);
        /* this one has shards of SlateDB */
        int deep = strcmp(names[i], "limits_one_shard") != 0;
        assert_int_equal(verify(one, NULL, deep), SHARDY_VERIFY_UNVERIFIED);
        (void)teardown((void **)&one);
    }
    (void)w;
}

static void test_reference__a_history_is_rolled_back_and_adopted(void **state)
{
    const world *w = *state;
    shardy_admin_options options;
    shardy_history history;
    shardy_reader *reader;
    adopt_golden(w, "history_rollback");
    shardy_admin_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    assert_ok(shardy_history_list(NULL, w->dir, 10, &options, &history, &err));
    assert_int_equal(history.count, 4);
    assert_int_equal(history.entries[0].current, 1);
    /* as the reference's command line did: back to the one before */
    char target[64];
    snprintf(target, sizeof target, "%s", history.entries[1].run_id);
    for (size_t i = 0; i < history.count; i++) {
        assert_same_snapshot(w, "history_rollback", history.entries[i].run_id);
    }
    shardy_history_dispose(&history);
    assert_ok(roll_back(w, target));
    assert_sql(w, "SELECT manifest_ref FROM %P ORDER BY updated_at DESC LIMIT 1", target);
    assert_ok(open_reader(w, NULL, &reader));
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.run_id, target);
    assert_int_equal(info.generation, 1);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    /* it has a fate now, which promises what was found */
    fate f;
    shardy_store *store = fixture_open_fs(w->dir, 0);
    assert_ok(shardy__fate_load(store, target, &f, &err));
    assert_int_equal(f.state, FATE_PUBLISHED);
    assert_int_equal(f.has_manifest, 1);
    assert_string_equal(f.manifest_ref, target);
    shardy_store_close(store);
    /* and is held to it */
    sql(w, "UPDATE %T_shards SET row_count = row_count + 1");
    assert_status(SHARDY_CHECKSUM, open_reader(w, NULL, &reader));
}

/* The digest of an image that is made of rows is recorded in fates: it must never change. */
static void test_reference__the_image_of_rows_is_always_the_same(void **state)
{
    const world *w = *state;
    manifest_store m;
    shardy_context *context;
    make_reference_tables(w);
    sql(w,
        "INSERT INTO %T_builds VALUES ('r', '2026-01-02T03:04:05.000006Z', 3, 's3://b/p', '_key', "
        "'db={db_id:05d}', 'shards', 'utf8', '{\"strategy\": \"hash\", \"hash_algorithm\": "
        "\"xxh3_64\"}', '{\"b\": [1.50, null], \"a\": \"\xC3\xA9\"}'); "
        "INSERT INTO %T_shards VALUES ('r', 0, 's3://b/p/shards/run_id=r/db=00000/attempt=00', 0, "
        "7, 4096, 'c', '\"17\"', '\"z\"', NULL), ('r', 2, NULL, 1, 0, 0, NULL, '-5', 'null', "
        "'{\"attempt\": 1, \"duration_ms\": 12}')");
    assert_ok(shardy_context_new(NULL, &context, &err));
    postgres_open_store(context, w->table, w->pointer_table, NULL, &m);
    shardy_buf image;
    sha256 digest;
    char hex[65];
    assert_ok(shardy__manifest_store_load(&m, "r", &image, &err));
    assert_ok(shardy__sha256(image.data, image.len, &digest, &err));
    shardy__sha256_hex(&digest, hex);
    assert_string_equal(hex, "99d7dba97828cc7b0bf43f162268746debab4c7ce42e509e641996952b81cc06");
    manifest *parsed;
    assert_ok(shardy__manifest_parse(shardy__bytes(image.data, image.len), &parsed, &err));
    assert_string_equal(parsed->created_at, "2026-01-02T03:04:05.000006Z");
    assert_int_equal(parsed->shard_count, 2);
    assert_int_equal(parsed->shards[0].min_key.type, SHARDY_KEY_TEXT);
    assert_int_equal(parsed->shards[0].min_key.bytes.len, 2);
    assert_int_equal(parsed->shards[1].min_key.i, -5);
    assert_int_equal(parsed->shards[1].has_max_key, 0);
    assert_int_equal(parsed->shards[1].duration_ms, 12);
    shardy__manifest_free(parsed);
    shardy_buf_release(&image);
    shardy__manifest_store_close(&m);
    shardy_context_free(context);
}

static void test_reference__without_a_pointer_row_the_newest_build_is_current(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    adopt_golden(w, "history_rollback");
    sql(w, "DELETE FROM %P");
    const char *newest = sql(w, "SELECT run_id FROM %T_builds ORDER BY created_at DESC LIMIT 1");
    assert_ok(open_reader(w, NULL, &reader));
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.run_id, newest);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    build_ok(w, "mine", "v");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "v");
    shardy_reader_close(reader);
}

/* Readers need to read only, and the tables of the reference only. */
static void test_reference__a_role_that_may_only_read_reads_its_tables(void **state)
{
    world *w = *state;
    char dsn[512];
    shardy_reader *reader;
    adopt_golden(w, "kv_sqlite_hash_int");
    sql(w, "DROP ROLE IF EXISTS reader_only; CREATE ROLE reader_only LOGIN; "
           "GRANT SELECT ON %T_builds, %T_shards, %P TO reader_only");
    snprintf(dsn, sizeof dsn, "%s", postgres_dsn());
    char *user = strstr(dsn, "user=test");
    assert_non_null(user);
    char rest[256];
    snprintf(rest, sizeof rest, "%s", user + strlen("user=test"));
    snprintf(user, sizeof dsn - (size_t)(user - dsn), "user=reader_only%s", rest);
    w->manifests.dsn = dsn;
    assert_ok(open_reader(w, NULL, &reader));
    shardy_reader_close(reader);
    assert_status(SHARDY_AUTH, build(w, "mine", "v", &err));
    sql(w, "DROP OWNED BY reader_only; DROP ROLE reader_only");
}

/* --- damage ----------------------------------------------------------------------------------- */

static void test_damage__rows_that_break_a_rule_are_refused_by_name(void **state)
{
    const world *w = *state;
    static const struct {
        const char *change;
        const char *word;
    } cases[] = {
        {"UPDATE %T_builds SET num_dbs = 0", "num_dbs"},
        {"UPDATE %T_builds SET num_dbs = -1", "num_dbs"},
        {"UPDATE %T_builds SET key_encoding = 'U64BE'", "key_encoding"},
        {"UPDATE %T_builds SET sharding = '{\"strategy\": \"hash\"}'", "hash_algorithm"},
        {"UPDATE %T_builds SET sharding = '[]'", "sharding"},
        {"UPDATE %T_builds SET custom = '[1]'", "custom"},
        {"UPDATE %T_builds SET created_at = 'infinity'", "created_at"},
        {"UPDATE %T_builds SET created_at = '20000-01-01'", "created_at"},
        {"UPDATE %T_shards SET db_id = -1 WHERE db_id = 0", "db_id"},
        {"UPDATE %T_shards SET db_id = 100000 WHERE db_id = 0", "db_id"},
        {"UPDATE %T_shards SET attempt = -1", "attempt"},
        {"UPDATE %T_shards SET min_key = '[]'", "min_key"},
        {"UPDATE %T_shards SET max_key = '1.5'", "max_key"},
        {"UPDATE %T_shards SET writer_info = '[1]'", "writer_info"},
        {"UPDATE %T_shards SET db_url = 's3://elsewhere/x'", "is not below"},
        {"UPDATE %T_builds SET key_col = repeat('x', 50000000)",
            "has 50000000 bytes, the limit is 16777216"},
        {"UPDATE %T_builds SET custom = to_jsonb(repeat('x', 17000000))", "has 17000002 bytes"},
        {"UPDATE %T_shards SET db_url = repeat('x', 17000000) WHERE db_id = 0",
            "has 17000000 bytes"},
        {"INSERT INTO %T_shards (run_id, db_id) SELECT run_id, g FROM %T_builds, "
         "generate_series(1000, 100000) g",
            "more than num_dbs rows"},
    };
    adopt_golden(w, "kv_sqlite_hash_int");
    sql(w, "CREATE TABLE %T_keep AS SELECT * FROM %T_builds; "
           "CREATE TABLE %T_keep2 AS SELECT * FROM %T_shards");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_reader *reader;
        sql(w, cases[i].change);
        assert_status(SHARDY_CORRUPT, open_reader(w, NULL, &reader));
        if (!strstr(err.message, cases[i].word)) {
            fail_msg("%s: %s", cases[i].change, err.message);
        }
        sql(w, "DELETE FROM %T_shards; DELETE FROM %T_builds; INSERT INTO %T_builds SELECT * FROM "
               "%T_keep; INSERT INTO %T_shards SELECT * FROM %T_keep2");
        assert_ok(open_reader(w, NULL, &reader));
        shardy_reader_close(reader);
    }
}

/* A list without it would hide a build from a rollback, and its shards from a cleanup. */
static void test_damage__a_build_of_a_time_that_is_none_is_listed(void **state)
{
    const world *w = *state;
    static const struct {
        const char *time;
        const char *listed;
        size_t at;
    } cases[] = {{"infinity", "9999-12-31T23:59:59.999999Z", 0},
        {"20000-01-01 00:00:00+00", "9999-12-31T23:59:59.999999Z", 0},
        {"-infinity", "0001-01-01T00:00:00.000000Z", 1},
        {"0044-03-15 00:00:00+00 BC", "0001-01-01T00:00:00.000000Z", 1}};
    shardy_history history;
    shardy_admin_options options;
    shardy_admin_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    build_ok(w, "one", "first");
    build_ok(w, "two", "second");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "UPDATE %%T_builds SET created_at = '%s' WHERE run_id = 'one'",
            cases[i].time);
        sql(w, text);
        assert_ok(shardy_history_list(NULL, w->dir, 10, &options, &history, &err));
        assert_int_equal(history.count, 2);
        assert_string_equal(history.entries[cases[i].at].run_id, "one");
        assert_string_equal(history.entries[cases[i].at].published_at, cases[i].listed);
        shardy_history_dispose(&history);
        /* it is not what was published, which is told; nobody else is kept from anything */
        shardy_status st = roll_back(w, "one");
        assert_true(st == SHARDY_CHECKSUM || st == SHARDY_CORRUPT);
        assert_non_null(strstr(err.message, "created_at"));
        assert_ok(roll_back(w, "two"));
    }
    build_ok(w, "three", "third");
}

static void test_damage__a_pointer_that_names_nothing_or_nonsense(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    build_ok(w, "one", "first");
    static const char *const refs[] = {"none", "a/../b", "", "manifests/x/manifest"};
    for (size_t i = 0; i < sizeof refs / sizeof refs[0]; i++) {
        char text[200];
        snprintf(text, sizeof text,
            "INSERT INTO %%P (updated_at, manifest_ref) VALUES "
            "(clock_timestamp(), '%s')",
            refs[i]);
        sql(w, text);
        assert_status(SHARDY_CORRUPT, open_reader(w, NULL, &reader));
    }
    sql(w, "INSERT INTO %P VALUES ('infinity', 'one')");
    assert_status(SHARDY_CORRUPT, open_reader(w, NULL, &reader));
    sql(w, "DELETE FROM %P WHERE updated_at = 'infinity'");
    /* a damaged document is a damaged pointer, which a rollback replaces */
    sql(w, "DELETE FROM %P WHERE manifest_ref <> 'one'");
    sql(w, "UPDATE %P_documents SET document = replace(document, '\"generation\":1', "
           "'\"generation\":7')");
    assert_status(SHARDY_CORRUPT, open_reader(w, NULL, &reader));
    assert_status(SHARDY_CORRUPT, build(w, "refused", "v", &err));
    assert_names("roll back to a run", w->pointer_table);
    assert_ok(roll_back(w, "one"));
    build_ok(w, "two", "second");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "second");
    shardy_reader_close(reader);
}

static void test_damage__a_damaged_image_is_found_out(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    build_ok(w, "one", "first");
    sql(w, "UPDATE %T_images SET image = set_byte(image, 30, 1 - get_byte(image, 30) % 2)");
    shardy_status st = open_reader(w, NULL, &reader);
    assert_true(st == SHARDY_CHECKSUM || st == SHARDY_CORRUPT);
    /* without the image the rows would be another one than was promised */
    sql(w, "DELETE FROM %T_images");
    assert_status(SHARDY_CHECKSUM, open_reader(w, NULL, &reader));
}

/* --- settings --------------------------------------------------------------------------------- */

static void test_settings__names_of_tables_are_checked_and_folded(void **state)
{
    world *w = *state;
    postgres_tables t;
    shardy_manifest_store_options o = w->manifests;
    static const char *const bad[] = {"", ".", "a.", ".a", "a.b.c", "1a", "a-b", "a b", "a\"b",
        "a;b", "\xC3\xA9", "a.1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.table_name = bad[i];
        assert_status(SHARDY_INVALID, shardy__postgres_tables_init(&t, &o, &err));
        o.table_name = "t";
        o.pointer_table_name = bad[i];
        assert_status(SHARDY_INVALID, shardy__postgres_tables_init(&t, &o, &err));
        o.pointer_table_name = "p";
    }
    o.table_name = "Public.Some_Table1";
    assert_ok(shardy__postgres_tables_init(&t, &o, &err));
    assert_string_equal(t.names[TABLE_BUILDS], "\"public\".\"some_table1_builds\"");
    assert_string_equal(t.names[TABLE_DOCUMENTS], "\"p_documents\"");
    o.table_name = "a";
    o.pointer_table_name = "a_images";
    assert_status(SHARDY_INVALID, shardy__postgres_tables_init(&t, &o, &err));
    /* as the reference, which does not quote, finds them */
    char name[64];
    snprintf(name, sizeof name, "PUBLIC.%s", w->table);
    name[7] = 'T';
    w->manifests.table_name = name;
    build_ok(w, "one", "first");
    assert_sql(w, "SELECT run_id FROM %T_builds", "one");
}

static void test_settings__without_ensure_table_the_tables_must_be_there(void **state)
{
    world *w = *state;
    shardy_reader *reader;
    w->manifests.ensure_table = 0;
    assert_status(SHARDY_CONFIG, open_reader(w, NULL, &reader));
    assert_non_null(strstr(err.message, w->table));
    assert_status(SHARDY_CONFIG, build(w, "one", "first", &err));
    w->manifests.ensure_table = 1;
    build_ok(w, "one", "first");
    w->manifests.ensure_table = 0;
    build_ok(w, "two", "second");
    assert_ok(open_reader(w, NULL, &reader));
    assert_value(reader, "second");
    shardy_reader_close(reader);
}

static shardy_plan_options publisher_options(const world *w)
{
    shardy_plan_options options;
    shardy_plan_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    return options;
}

/* A plan whose manifests are objects is not published in a database. */
static void test_steps__a_plan_is_read_with_the_manifest_store_it_was_made_for(void **state)
{
    const world *w = *state;
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_plan *copy;
    shardy_buf json;
    dataset_plan_options(&options, "run-objects");
    assert_ok(shardy_plan_new(NULL, w->dir, &options, &plan, &err));
    assert_ok(shardy_plan_to_json(plan, &json, &err));
    shardy_plan_options with = publisher_options(w);
    assert_status(SHARDY_INVALID,
        shardy_plan_from_json(NULL, w->dir, bytes_of(json.data), &with, &copy, &err));
    assert_non_null(strstr(err.message, "run-objects"));
    assert_null(copy);
    assert_ok(shardy_plan_from_json(NULL, w->dir, bytes_of(json.data), NULL, &copy, &err));
    shardy_buf_release(&json);
    shardy_plan_free(copy);
    shardy_plan_free(plan);
}

/* The JSON of a plan has no connection: who has none builds; who has one publishes. */
static void test_steps__a_plan_from_json_is_published_by_who_has_the_database(void **state)
{
    const world *w = *state;
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_plan *copy;
    shardy_buf json;
    shardy_buf again;
    shardy_buf winners;
    shardy_buf attempts[DATASET_SHARDS] = {{0}};
    shardy_bytes results[DATASET_SHARDS];
    dataset_plan_options(&options, "run-steps");
    options.manifest_store = &w->manifests;
    assert_ok(shardy_plan_new(NULL, w->dir, &options, &plan, &err));
    assert_ok(shardy_plan_to_json(plan, &json, &err));
    shardy_plan_free(plan);
    assert_ok(shardy_plan_from_json(NULL, w->dir, bytes_of(json.data), NULL, &copy, &err));
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, "run-steps", i);
        assert_ok(shardy_attempt_build(copy, i, 0, dataset_next_row, &feed, &attempts[i], &err));
        results[i] = (shardy_bytes){attempts[i].data, attempts[i].len};
    }
    assert_ok(shardy_winners_select(copy, results, DATASET_SHARDS, &winners, &err));
    assert_ok(shardy_plan_to_json(copy, &again, &err));
    assert_string_equal(again.data, json.data);
    shardy_bytes chosen = {winners.data, winners.len};
    assert_status(SHARDY_UNSUPPORTED, shardy_plan_publish(copy, chosen, NULL, &err));
    assert_non_null(strstr(err.message, "run-steps"));
    assert_int_equal(support_count_entries(support_path(w->dir, "manifests")), 0);
    shardy_plan_options with = publisher_options(w);
    assert_ok(shardy_plan_from_json(NULL, w->dir, bytes_of(json.data), &with, &plan, &err));
    shardy_buf_release(&again);
    assert_ok(shardy_plan_to_json(plan, &again, &err));
    assert_string_equal(again.data, json.data);
    assert_ok(shardy_plan_publish(plan, chosen, NULL, &err));
    assert_int_equal(support_count_entries(support_path(w->dir, "manifests")), 0);
    dataset_place place = {w->dir, NULL, &w->manifests};
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    assert_true(dataset_check_at(&place, DATASET_ROWS, stamp, &problem));
    assert_string_equal(stamp, "run-steps");
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&attempts[i]);
    }
    shardy_buf_release(&again);
    shardy_buf_release(&json);
    shardy_buf_release(&winners);
    shardy_plan_free(copy);
    shardy_plan_free(plan);
}

static void test_settings__a_kind_that_is_none_is_refused(void **state)
{
    world *w = *state;
    shardy_reader *reader;
    w->manifests.kind = 7;
    assert_status(SHARDY_INVALID, open_reader(w, NULL, &reader));
    w->manifests.kind = SHARDY_MANIFEST_POSTGRES;
    w->manifests.dsn = NULL;
    assert_status(SHARDY_CONFIG, open_reader(w, NULL, &reader));
}

/* --- secrets, deadlines ----------------------------------------------------------------------- */

#define CANARY "canary-of-a-secret"

typedef struct lines {
    char text[8192];
} lines;

static void take_line(void *user, const shardy_log_record *record)
{
    lines *l = user;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s\n", record->text);
}

static void test_secrets__are_in_no_message(void **state)
{
    world *w = *state;
    char dsn[9][600];
    snprintf(dsn[0], sizeof dsn[0], "%s password=" CANARY " sslpassword=" CANARY, postgres_dsn());
    snprintf(dsn[1], sizeof dsn[1], "host=127.0.0.1 port=1 user=u password=" CANARY);
    snprintf(dsn[2], sizeof dsn[2], "postgresql://u:" CANARY "@127.0.0.1:1/db?bad" CANARY "=1");
    snprintf(dsn[3], sizeof dsn[3], "host=x password='" CANARY);
    snprintf(dsn[4], sizeof dsn[4], CANARY);
    /* even where the server says it: the name of the database is the password */
    snprintf(dsn[5], sizeof dsn[5], "%s password=" CANARY " dbname=" CANARY, postgres_dsn());
    /* what is not escaped in a URL would be taken for the host, its port or the database */
    snprintf(dsn[6], sizeof dsn[6], "postgresql://u:secret@" CANARY "@127.0.0.1:1/db");
    snprintf(dsn[7], sizeof dsn[7], "postgres://u:" CANARY "/x@127.0.0.1:1/db");
    snprintf(dsn[8], sizeof dsn[8], "postgresql://u:a@" CANARY "/" CANARY "@127.0.0.1:1/db");
    for (size_t i = 0; i < sizeof dsn / sizeof dsn[0]; i++) {
        lines said = {""};
        shardy_context *context;
        shardy_context_options options;
        shardy_context_options_init(&options, sizeof options);
        options.log = take_line;
        options.log_user = &said;
        options.log_level = SHARDY_LOG_DEBUG;
        assert_ok(shardy_context_new(&options, &context, &err));
        shardy_reader_options reader_options;
        shardy_reader *reader = NULL;
        shardy_reader_options_init(&reader_options, sizeof reader_options);
        w->manifests.dsn = dsn[i];
        reader_options.manifest_store = &w->manifests;
        shardy_status st = shardy_reader_open(context, w->dir, &reader_options, &reader, &err);
        assert_true(st < 0);
        assert_null(strstr(err.message, CANARY));
        assert_null(strchr(err.message, '\n'));
        assert_null(strstr(said.text, CANARY));
        assert_int_equal(strstr(err.message, "%40") != NULL, i > 5);
        assert_true(i == 0   ? st == SHARDY_INVALID
                    : i == 1 ? st == SHARDY_UNAVAILABLE
                    : i == 5 ? st == SHARDY_UNAVAILABLE || st == SHARDY_AUTH
                             : st == SHARDY_CONFIG);
        shardy_context_free(context);
    }
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void test_deadlines__hold_while_the_server_does_not_answer(void **state)
{
    const world *w = *state;
    shardy_reader *reader;
    shardy_reader_options options;
    build_ok(w, "one", "first");
    void *blocker = postgres_connect();
    postgres_sql_on(blocker, w->table, w->pointer_table, "BEGIN; LOCK TABLE %P");
    shardy_reader_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    options.timeout_ms = 200;
    int64_t began = now_ms();
    assert_status(SHARDY_TIMEOUT, shardy_reader_open(NULL, w->dir, &options, &reader, &err));
    assert_true(now_ms() - began < 1200);
    /* cancelled, the same */
    shardy_admin_options admin;
    shardy_cancel *cancel;
    shardy_history history;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_admin_options_init(&admin, sizeof admin);
    admin.manifest_store = &w->manifests;
    admin.cancel = cancel;
    shardy_cancel_request(cancel);
    assert_status(SHARDY_CANCELLED, shardy_history_list(NULL, w->dir, 1, &admin, &history, &err));
    shardy_cancel_free(cancel);
    postgres_sql_on(blocker, "", "", "ROLLBACK");
    postgres_disconnect(blocker);
    assert_ok(open_reader(w, NULL, &reader));
    shardy_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_life__build_read_refresh_roll_back_history_and_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_ours__obeys_the_rules_by_which_the_reference_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_ours__bounds_of_integers_are_numbers_and_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_ours__is_rolled_back_by_the_reference_and_stays_verified, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_ours__rows_that_are_changed_afterwards_are_found_out, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reference__golden_snapshots_are_the_same_from_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reference__a_history_is_rolled_back_and_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reference__the_image_of_rows_is_always_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reference__without_a_pointer_row_the_newest_build_is_current, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_reference__a_role_that_may_only_read_reads_its_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_damage__rows_that_break_a_rule_are_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_damage__a_build_of_a_time_that_is_none_is_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_damage__a_pointer_that_names_nothing_or_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage__a_damaged_image_is_found_out, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_settings__names_of_tables_are_checked_and_folded, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_settings__without_ensure_table_the_tables_must_be_there, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_settings__a_kind_that_is_none_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_steps__a_plan_from_json_is_published_by_who_has_the_database, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_steps__a_plan_is_read_with_the_manifest_store_it_was_made_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets__are_in_no_message, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_deadlines__hold_while_the_server_does_not_answer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, postgres_group_setup, postgres_group_teardown);
}
