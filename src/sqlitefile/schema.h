/* schema.h: what sqlite_schema says: the objects of a file, and the columns of its tables.
 *
 * Columns come from the text of CREATE TABLE by a bounded tokenizer; nothing is executed. A table
 * whose text uses what we do not read (generated columns, descending or collated primary keys of
 * WITHOUT ROWID tables, CREATE TABLE AS) is listed but `unreadable` says why, and looking it up is
 * UNSUPPORTED. */
#ifndef SHARDY_SQLITEFILE_SCHEMA_H
#define SHARDY_SQLITEFILE_SCHEMA_H

#include "../base/error.h"

#include <stdint.h>

/* Bounds, so that a hostile schema costs little: SQLite's own limit of columns, and far more
 * objects and text than any file of ours or the reference's has. */
#define SCHEMA_COLUMNS_MAX  2000u
#define SCHEMA_OBJECTS_MAX  4096u
#define SCHEMA_SQL_LEN_MAX  (1u << 20)
#define SCHEMA_TEXT_LEN_MAX (8u << 20)

typedef enum schema_kind {
    SCHEMA_TABLE = 1,   /* rowid or WITHOUT ROWID */
    SCHEMA_INDEX = 2,   /* records (indexed columns..., rowid or primary key...) */
    SCHEMA_VIRTUAL = 3, /* CREATE VIRTUAL TABLE: root 0 */
    SCHEMA_VIEW = 4,
    SCHEMA_TRIGGER = 5
} schema_kind;

typedef struct schema_column {
    const char *name; /* zero-terminated, quotes removed */
    uint32_t field;   /* where it is in the stored record */
} schema_column;

typedef struct schema_object {
    int32_t kind;
    uint32_t root; /* 0 for views, triggers, virtual tables */
    const char *name;
    const char *table; /* the table it belongs to; its own name for tables */
    const char *sql;   /* NULL for automatic indexes */
    size_t sql_len;
    int32_t without_rowid;
    int32_t rowid_column; /* column that is an alias of the rowid (stored as NULL), or -1 */
    /* WITHOUT ROWID: the first this many fields of the record are the key */
    uint32_t key_fields;
    uint32_t column_count;
    schema_column *columns; /* tables only, in the order of their declaration */
    const char *unreadable; /* NULL, or why the columns could not be told */
} schema_object;

/* Takes the text of CREATE TABLE apart. Fills without_rowid, rowid_column, key_fields, columns and
 * unreadable of *object, whose other members are left alone. OK also for text that is not
 * understood (see `unreadable`); NOMEM.
 * Ownership: shardy__schema_object_clear(). */
shardy_status shardy__schema_parse_table(
    const char *sql, size_t len, schema_object *object, shardy_error *err);
/* Frees columns (names live in the same block). */
void shardy__schema_object_clear(schema_object *object);

/* Position of a column by name (ASCII case does not matter, as in SQLite), or -1. */
int32_t shardy__schema_column(const schema_object *object, const char *name);
/* 1 when two names are the same to SQLite: ASCII case does not matter. */
int shardy__schema_same_name(const char *a, const char *b);

#endif
