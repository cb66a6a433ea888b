/* The text of CREATE TABLE, taken apart without SQLite.
 *
 * Properties: nothing but no memory is a failure; a text that is read has columns, whose fields are
 * a permutation within the record, and a key or a rowid; each column is found by its name. */
#include "sqlitefile/schema.h"
#include "faults.h"

static void check_columns(const schema_object *o)
{
    static uint8_t taken[SCHEMA_COLUMNS_MAX];
    memset(taken, 0, sizeof taken);
    for (uint32_t i = 0; i < o->column_count; i++) {
        const schema_column *c = &o->columns[i];
        require(c->field < o->column_count && !taken[c->field], "each column has its own field");
        taken[c->field] = 1;
        if (i >= 64 && i + 64 < o->column_count) {
            continue; /* a look-up goes through all columns */
        }
        int32_t found = shardy__schema_column(o, c->name);
        require(found >= 0 && (uint32_t)found <= i, "a column is found");
        require(shardy__schema_same_name(o->columns[found].name, c->name), "by its name");
    }
    require(shardy__schema_column(o, "no such column in any table") == -1, "no other is found");
}

static void check_object(const schema_object *o)
{
    require(o->column_count <= SCHEMA_COLUMNS_MAX, "there are not too many columns");
    if (o->unreadable) {
        return;
    }
    require(o->column_count > 0, "a table has columns");
    require(!o->without_rowid || o->key_fields > 0, "without a rowid there is a key");
    require(o->key_fields <= o->column_count, "a key is made of columns");
    require(
        o->rowid_column == -1 || (!o->without_rowid && (uint32_t)o->rowid_column < o->column_count),
        "the alias of a rowid is a column");
    check_columns(o);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    schema_object object;
    memset(&object, 0, sizeof object);
    object.rowid_column = -1;
    shardy_status st = shardy__schema_parse_table((const char *)data, size, &object, err);
    require(st == SHARDY_OK || st == SHARDY_NOMEM, "a text is taken apart");
    if (st == SHARDY_OK) {
        check_object(&object);
    }
    shardy__schema_object_clear(&object);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_error err;
    memset(&err, 0, sizeof err);
    require(run(data, size, &err) == SHARDY_OK, "there is memory");
    run_with_fault(data, size, run);
    return 0;
}
