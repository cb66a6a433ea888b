/* Files written by the reference, read by our reader and by libsqlite3: the same objects, rows and answers; and rewritten by
 * our writer: the same again. */
#include "support/sqlite_testing.h"

static const char *const files[] = {"kv4096.shard.db", "kv65536.shard.db", "vec8cosine.shard.db", "manifest_hash.sqlite",
    "manifest_cel_categorical.sqlite"};

static image read_golden(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "tests/golden/files/%s", name);
    image img = {0};
    img.data = (uint8_t *)support_read_file(support_source(path), &img.len);
    return img;
}

static void compare_value(sqlite3_stmt *statement, int at, const record_value *v)
{
    switch (sqlite3_column_type(statement, at)) {
    case SQLITE_NULL:
        assert_int_equal(v->type, RECORD_NULL);
        break;
    case SQLITE_INTEGER:
        assert_int_equal(v->type, RECORD_INT);
        assert_true(v->integer == sqlite3_column_int64(statement, at));
        break;
    case SQLITE_FLOAT:
        assert_int_equal(v->type, RECORD_REAL);
        assert_true(v->real == sqlite3_column_double(statement, at));
        break;
    default:
        assert_int_equal(v->type, sqlite3_column_type(statement, at) == SQLITE_TEXT ? RECORD_TEXT : RECORD_BLOB);
        assert_int_equal(v->len, sqlite3_column_bytes(statement, at));
        if (v->len) {
            assert_memory_equal(v->data, sqlite3_column_blob(statement, at), v->len);
        }
    }
}

/* All rows of a table, in the order of its tree. */
static int64_t compare_table(sqlite3 *db, const btree_file *file, const schema_object *object)
{
    shardy_error err = {0};
    btree_tree tree;
    char sql[300];
    snprintf(sql, sizeof sql, object->without_rowid ? "SELECT * FROM \"%s\" ORDER BY 1" : "SELECT * FROM \"%s\" NOT INDEXED",
        object->name);
    sqlite3_stmt *rows = prepare(db, sql);
    assert_int_equal(sqlite3_column_count(rows), object->column_count);
    assert_ok(shardy__btree_table(file, object->name, &tree, NULL, &err));
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    shardy__btree_walk_first(&walk);
    int64_t count = 0;
    while (sqlite3_step(rows) == SQLITE_ROW) {
        record_value values[20];
        assert_true(object->column_count <= 20);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        assert_ok(shardy__btree_walk_record(&walk, 1 << 24, values, 20, &err));
        for (uint32_t c = 0; c < object->column_count; c++) {
            assert_string_equal(sqlite3_column_name(rows, (int)c), object->columns[c].name);
            record_value v = values[object->columns[c].field];
            if (object->rowid_column == (int32_t)c) {
                v = shardy__record_int(walk.cell.rowid);
            }
            compare_value(rows, (int)c, &v);
        }
        count++;
        shardy__btree_walk_next(&walk);
    }
    assert_status(SHARDY_DONE, shardy__btree_walk_run(&walk, &err));
    shardy__btree_walk_end(&walk);
    sqlite3_finalize(rows);
    return count;
}

static void test_golden__every_row_is_the_one_that_sqlite_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        image img = read_golden(files[i]);
        btree_file *file = open_image(&img);
        sqlite3 *db = open_db(&img);
        int64_t rows = 0;
        for (uint32_t t = 0; t < file->object_count; t++) {
            if (file->objects[t].kind == SCHEMA_TABLE) {
                assert_null(file->objects[t].unreadable);
                rows += compare_table(db, file, &file->objects[t]);
            }
        }
        assert_true(rows > 0);
        sqlite3_close(db);
        shardy__btree_close(file);
        free_image(&img);
    }
}

static void test_golden__every_key_of_a_shard_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        shardy_error err = {0};
        image img = read_golden(files[i]);
        btree_file *file = open_image(&img);
        btree_tree tree = find_table(file, "kv");
        sqlite3 *db = open_db(&img);
        sqlite3_stmt *rows = prepare(db, "SELECT k, v FROM kv");
        size_t count = 0;
        while (sqlite3_step(rows) == SQLITE_ROW) {
            btree_key key = {RECORD_BLOB, 0, sqlite3_column_blob(rows, 0), (size_t)sqlite3_column_bytes(rows, 0)};
            shardy_buf value;
            assert_ok(shardy__btree_get(&tree, &key, 1, &value, &err));
            assert_int_equal(value.len, sqlite3_column_bytes(rows, 1));
            assert_memory_equal(value.data, sqlite3_column_blob(rows, 1), value.len);
            shardy_buf_release(&value);
            count++;
        }
        assert_true(count > 0);
        sqlite3_finalize(rows);
        sqlite3_close(db);
        shardy__btree_close(file);
        free_image(&img);
    }
}

/* The objects of a file as the writer wants them. */
static btree_object *objects_of(const btree_file *file)
{
    btree_object *objects = calloc(file->object_count, sizeof *objects);
    for (uint32_t i = 0; i < file->object_count; i++) {
        const schema_object *o = &file->objects[i];
        objects[i] = (btree_object){BTREE_OBJECT_TABLE, o->name, o->table, o->sql, o->key_fields};
        if (o->kind == SCHEMA_INDEX) {
            objects[i].kind = BTREE_OBJECT_INDEX;
        } else if (o->kind == SCHEMA_VIRTUAL) {
            objects[i].kind = BTREE_OBJECT_VIRTUAL;
        } else if (o->without_rowid) {
            objects[i].kind = BTREE_OBJECT_WITHOUT_ROWID;
        }
    }
    return objects;
}

static void copy_tree(btree_writer *writer, const btree_file *file, uint32_t at)
{
    shardy_error err = {0};
    const schema_object *o = &file->objects[at];
    btree_tree tree;
    if (o->kind == SCHEMA_VIRTUAL) {
        return;
    }
    if (o->kind == SCHEMA_INDEX) {
        assert_ok(shardy__btree_index(file, o->name, &tree, &err));
    } else {
        assert_ok(shardy__btree_table(file, o->name, &tree, NULL, &err));
    }
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    shardy__btree_walk_first(&walk);
    while (shardy__btree_walk_run(&walk, &err) == SHARDY_OK) {
        record_value values[20];
        shardy_bytes payload;
        size_t count = 0;
        assert_ok(shardy__btree_walk_payload(&walk, 1 << 24, &payload, &err));
        assert_ok(shardy__record_parse(payload.data, payload.len, values, 20, &count, &err));
        if (tree.kind == BTREE_TABLE) {
            assert_ok(shardy__btree_put_row(writer, at, walk.cell.rowid, values, count, &err));
        } else {
            assert_ok(shardy__btree_put_record(writer, at, values, count, &err));
        }
        shardy__btree_walk_next(&walk);
    }
    shardy__btree_walk_end(&walk);
}

static void test_golden__rewritten_by_us_sqlite_reads_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (uint32_t size = 512; size <= 65536; size *= 2) {
            image img = read_golden(files[i]);
            image ours;
            btree_file *file = open_image(&img);
            btree_object *objects = objects_of(file);
            btree_writer *writer = open_writer(&ours, size, objects, file->object_count);
            for (uint32_t t = 0; t < file->object_count; t++) {
                copy_tree(writer, file, t);
            }
            finish_writer(writer, &ours);
            sqlite3 *db = open_db(&ours);
            check_integrity(db);
            for (uint32_t t = 0; t < file->object_count; t++) {
                if (file->objects[t].kind == SCHEMA_TABLE) {
                    compare_table(db, file, &file->objects[t]);
                }
            }
            sqlite3_close(db);
            shardy__btree_close(file);
            free(objects);
            free_image(&ours);
            free_image(&img);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__every_row_is_the_one_that_sqlite_reads),
        cmocka_unit_test(test_golden__every_key_of_a_shard_is_found),
        cmocka_unit_test(test_golden__rewritten_by_us_sqlite_reads_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
