/* Columns of tables from their CREATE TABLE text, compared with what libsqlite3 makes of the same
 * text. */
#include "support/sqlite_testing.h"

static const char *const readable[] = {
    "CREATE TABLE t(a)",
    "CREATE TABLE t(a,b)",
    "CREATE TABLE \"t\"(\"a b\", [c d], `e f`, 'g h')",
    "CREATE TABLE t(\"say \"\"hi\"\"\", b)",
    "create table if not exists t ( a integer primary key , b text not null default 'x,y)(' )",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
    "CREATE TABLE t(a INTEGER PRIMARY KEY ASC, b)",
    "CREATE TABLE t(a INTEGER PRIMARY KEY DESC, b)",
    "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b)",
    "CREATE TABLE t(a INTEGER CONSTRAINT pk PRIMARY KEY ON CONFLICT REPLACE, b)",
    "CREATE TABLE t(a INT PRIMARY KEY, b)",
    "CREATE TABLE t(a BIGINT PRIMARY KEY, b)",
    "CREATE TABLE t(a UNSIGNED INTEGER PRIMARY KEY, b)",
    "CREATE TABLE t(a INTEGER(4) PRIMARY KEY, b)",
    "CREATE TABLE t(a integer, b, PRIMARY KEY(a))",
    "CREATE TABLE t(a integer, b, PRIMARY KEY(a DESC))",
    "CREATE TABLE t(a integer, b, PRIMARY KEY(a,b))",
    "CREATE TABLE t(a, b, c, UNIQUE(a,b), CHECK(a>0 AND (b) IN (1,2)), FOREIGN KEY(c) REFERENCES "
    "x(y))",
    "CREATE TABLE t(a, b, CONSTRAINT one UNIQUE(a) CONSTRAINT two CHECK (b <> ','))",
    "CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID",
    "CREATE TABLE t(b, a PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE t(a,b,c,d, PRIMARY KEY(d,b)) WITHOUT ROWID",
    "CREATE TABLE t(a,b,c,d, PRIMARY KEY(d,b,d)) WITHOUT ROWID",
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b) WITHOUT ROWID",
    "CREATE TABLE t(a TEXT PRIMARY KEY, b INT) STRICT, WITHOUT ROWID",
    "CREATE TABLE t(a TEXT PRIMARY KEY, b INT) WITHOUT ROWID, STRICT",
    "CREATE TABLE t(a VARCHAR(10,2) NOT NULL DEFAULT (1+(2)), b DECIMAL(5) COLLATE NOCASE)",
    "CREATE TABLE t(a DEFAULT -5 PRIMARY KEY, b DEFAULT +1.5e3, c DEFAULT CURRENT_TIME)",
    "CREATE TABLE t(a REFERENCES other(\"x\") ON DELETE CASCADE, b)",
    "CREATE TABLE t(-- comment, with comma\n a, /* another ) */ b)",
    "CREATE TABLE t(key text primary key, value any)",
    "CREATE TABLE t(\"primary\" INTEGER, b)",
    "CREATE TABLE t(a, \"unique\", \"check\" int)",
    "CREATE TABLE t(\xC3\xA4\xC3\xB6, b)",
    "CREATE TABLE t(rowid PRIMARY KEY,vectors BLOB NOT NULL)",
    "CREATE TABLE t(a COLLATE BINARY PRIMARY KEY, b) WITHOUT ROWID",
};

/* What libsqlite3 says: names in order; which is the rowid alias: the column whose stored value is
 * NULL. */
static void compare_with_sqlite(const char *sql)
{
    shardy_error err = {0};
    sqlite3 *db = new_db(4096);
    run_sql(db, sql);
    sqlite3_stmt *info = prepare(db, "SELECT name, pk FROM pragma_table_info('t') ORDER BY cid");
    schema_object object;
    memset(&object, 0, sizeof object);
    assert_ok(shardy__schema_parse_table(sql, strlen(sql), &object, &err));
    if (object.unreadable) {
        fail_msg("%s: %s", sql, object.unreadable);
    }
    uint32_t columns = 0;
    uint32_t keys = 0;
    while (sqlite3_step(info) == SQLITE_ROW) {
        assert_true(columns < object.column_count);
        assert_string_equal(
            object.columns[columns].name, (const char *)sqlite3_column_text(info, 0));
        keys += sqlite3_column_int(info, 1) > 0;
        if (object.without_rowid && sqlite3_column_int(info, 1) > 0) {
            assert_true(object.columns[columns].field < object.key_fields);
        }
        columns++;
    }
    assert_int_equal(columns, object.column_count);
    sqlite3_finalize(info);
    if (object.without_rowid) {
        assert_int_equal(object.key_fields, keys);
    }
    shardy__schema_object_clear(&object);
    sqlite3_close(db);
}

static void test_schema__columns_are_those_that_sqlite_sees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof readable / sizeof *readable; i++) {
        compare_with_sqlite(readable[i]);
    }
}

/* Puts a row in with a different number in each column and looks where the reader finds them. */
static void test_schema__fields_are_where_sqlite_stores_the_columns(void **state)
{
    (void)state;
    static const char *const sqls[] = {
        "CREATE TABLE t(a,b,c,d)",
        "CREATE TABLE t(a,b,c INTEGER PRIMARY KEY,d)",
        "CREATE TABLE t(a,b,c INTEGER PRIMARY KEY DESC,d)",
        "CREATE TABLE t(a,b,c INTEGER(3) PRIMARY KEY,d)",
        "CREATE TABLE t(a,b,c integer,d, PRIMARY KEY(c DESC))",
        "CREATE TABLE t(a,b,c,d PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE t(a,b,c,d, PRIMARY KEY(d,b)) WITHOUT ROWID",
        "CREATE TABLE t(a,b,c,d, PRIMARY KEY(b,d,b)) WITHOUT ROWID",
        "CREATE TABLE t(a,b,c INTEGER PRIMARY KEY,d) WITHOUT ROWID",
    };
    for (size_t i = 0; i < sizeof sqls / sizeof *sqls; i++) {
        shardy_error err = {0};
        sqlite3 *db = new_db(4096);
        run_sql(db, sqls[i]);
        run_sql(db, "INSERT INTO t(a,b,c,d) VALUES(100,200,300,400)");
        image img = take_image(db);
        btree_file *file = open_image(&img);
        btree_tree tree;
        const schema_object *object = NULL;
        assert_ok(shardy__btree_table(file, "T", &tree, &object, &err));
        btree_walk walk;
        shardy__btree_walk_init(&walk, &tree);
        shardy__btree_walk_first(&walk);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        record_value values[4];
        assert_ok(shardy__btree_walk_record(&walk, 1000, values, 4, &err));
        static const char *const names[] = {"a", "B", "c", "d"};
        for (int c = 0; c < 4; c++) {
            int32_t column = shardy__schema_column(object, names[c]);
            assert_int_equal(column, c);
            const record_value *v = &values[object->columns[column].field];
            int64_t got = object->rowid_column == column ? walk.cell.rowid : v->integer;
            if (object->rowid_column == column) {
                assert_int_equal(v->type, RECORD_NULL);
            }
            assert_int_equal(got, 100 * (c + 1));
        }
        assert_int_equal(shardy__schema_column(object, "e"), -1);
        shardy__btree_walk_end(&walk);
        shardy__btree_close(file);
        free_image(&img);
        sqlite3_close(db);
    }
}

static void test_schema__what_cannot_be_read_is_told(void **state)
{
    (void)state;
    static const char *const unreadable[] = {
        "",
        "CREATE",
        "CREATE TABLE",
        "CREATE TABLE t",
        "CREATE TABLE t(",
        "CREATE TABLE t()",
        "CREATE TABLE t(a",
        "CREATE TABLE t(a,b",
        "CREATE TABLE t(\"a)",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW t AS SELECT 1",
        "CREATE VIRTUAL TABLE t USING fts5(a)",
        "CREATE TABLE t(a, b AS (a+1))",
        "CREATE TABLE t(a, b INT GENERATED ALWAYS AS (a+1) STORED)",
        "CREATE TABLE t(a,b) WITHOUT ROWID",
        "CREATE TABLE t(a,b) WITH ROWID",
        "CREATE TABLE t(a PRIMARY KEY DESC,b) WITHOUT ROWID",
        "CREATE TABLE t(a COLLATE NOCASE PRIMARY KEY,b) WITHOUT ROWID",
        "CREATE TABLE t(a,b, PRIMARY KEY(a COLLATE NOCASE)) WITHOUT ROWID",
        "CREATE TABLE t(a,b, PRIMARY KEY(x)) WITHOUT ROWID",
        "CREATE TABLE t(a,b, PRIMARY KEY(a+b))",
        "CREATE TABLE t(a,b, PRIMARY)",
        "CREATE TABLE t(a PRIMARY,b)",
    };
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++) {
        shardy_error err = {0};
        schema_object object;
        memset(&object, 0, sizeof object);
        assert_ok(shardy__schema_parse_table(unreadable[i], strlen(unreadable[i]), &object, &err));
        if (!object.unreadable) {
            fail_msg("readable: %s", unreadable[i]);
        }
        assert_int_equal(object.column_count, 0);
        shardy__schema_object_clear(&object);
    }
}

static void test_schema__a_text_cut_anywhere_is_handled(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof readable / sizeof *readable; i++) {
        size_t len = strlen(readable[i]);
        for (size_t cut = 0; cut <= len; cut++) {
            shardy_error err = {0};
            char *part = malloc(cut + 1);
            memcpy(part, readable[i], cut);
            schema_object object;
            memset(&object, 0, sizeof object);
            char *exact = realloc(part, cut ? cut : 1);
            assert_ok(shardy__schema_parse_table(exact, cut, &object, &err));
            shardy__schema_object_clear(&object);
            free(exact);
        }
    }
}

static void test_schema__the_number_of_columns_is_bounded(void **state)
{
    (void)state;
    shardy_error err = {0};
    size_t room = 20 + 8 * (SCHEMA_COLUMNS_MAX + 1);
    char *sql = malloc(room);
    for (uint32_t columns = SCHEMA_COLUMNS_MAX; columns <= SCHEMA_COLUMNS_MAX + 1; columns++) {
        size_t at = (size_t)snprintf(sql, room, "CREATE TABLE t(");
        for (uint32_t i = 0; i < columns; i++) {
            at += (size_t)snprintf(sql + at, room - at, "c%u%c", i, i + 1 < columns ? ',' : ')');
        }
        schema_object object;
        memset(&object, 0, sizeof object);
        assert_ok(shardy__schema_parse_table(sql, at, &object, &err));
        assert_int_equal(object.unreadable != NULL, columns > SCHEMA_COLUMNS_MAX);
        shardy__schema_object_clear(&object);
    }
    free(sql);
}

static void test_schema__all_kinds_of_objects_are_listed(void **state)
{
    (void)state;
    shardy_error err = {0};
    sqlite3 *db = new_db(512);
    run_sql(db, "CREATE TABLE one(a TEXT PRIMARY KEY, b);"
                "CREATE INDEX by_b ON one(b);"
                "CREATE VIEW seen AS SELECT * FROM one;"
                "CREATE TRIGGER moved AFTER INSERT ON one BEGIN SELECT 1; END;"
                "CREATE TABLE hidden(a, b AS (a));");
    for (int i = 0; i < 100; i++) {
        char sql[100];
        snprintf(sql, sizeof sql, "CREATE TABLE many%d(a, b, c, d)", i);
        run_sql(db, sql);
    }
    image img = take_image(db);
    btree_file *file = open_image(&img);
    assert_int_equal(file->object_count, 106);
    assert_non_null(shardy__btree_object(file, SCHEMA_TABLE, "ONE"));
    assert_non_null(shardy__btree_object(file, SCHEMA_INDEX, "by_b"));
    assert_non_null(shardy__btree_object(file, SCHEMA_INDEX, "sqlite_autoindex_one_1"));
    assert_null(shardy__btree_object(file, SCHEMA_INDEX, "sqlite_autoindex_one_1")->sql);
    assert_string_equal(shardy__btree_object(file, SCHEMA_INDEX, "by_b")->table, "one");
    assert_non_null(shardy__btree_object(file, SCHEMA_VIEW, "seen"));
    assert_non_null(shardy__btree_object(file, SCHEMA_TRIGGER, "moved"));
    assert_non_null(shardy__btree_object(file, SCHEMA_TABLE, "many99"));
    btree_tree tree;
    assert_status(SHARDY_UNSUPPORTED, shardy__btree_table(file, "seen", &tree, NULL, &err));
    assert_status(SHARDY_UNSUPPORTED, shardy__btree_table(file, "hidden", &tree, NULL, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__btree_table(file, "by_b", &tree, NULL, &err));
    assert_status(SHARDY_NOT_FOUND, shardy__btree_index(file, "one", &tree, &err));
    assert_ok(shardy__btree_index(file, "by_b", &tree, &err));
    shardy__btree_close(file);
    free_image(&img);
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema__columns_are_those_that_sqlite_sees),
        cmocka_unit_test(test_schema__fields_are_where_sqlite_stores_the_columns),
        cmocka_unit_test(test_schema__what_cannot_be_read_is_told),
        cmocka_unit_test(test_schema__a_text_cut_anywhere_is_handled),
        cmocka_unit_test(test_schema__the_number_of_columns_is_bounded),
        cmocka_unit_test(test_schema__all_kinds_of_objects_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
