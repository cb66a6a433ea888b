#include "postgres_tables.h"

#include "../base/ascii.h"
#include "../base/bytebuf.h"

#include <stdio.h>
#include <string.h>

#define SQL_MAX 8192u

/* --- names ------------------------------------------------------------------------------------ */

/* One identifier as the server reads it without quotes: in small letters. 0: it is none. */
static int fold_name(const char *text, size_t len, char out[TABLE_NAME_MAX + 1])
{
    if (len == 0 || len > TABLE_NAME_MAX || shardy__is_digit(text[0])) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (!shardy__is_alnum(text[i]) && text[i] != '_') {
            return 0;
        }
        out[i] = shardy__to_lower(text[i]);
    }
    out[len] = '\0';
    return 1;
}

/* The only place where a name gets into SQL: letters, digits and '_' only, between quotes. */
static void quote_name(const char *schema, const char *before, const char *name, const char *behind,
    char out[TABLE_QUOTED_MAX])
{
    snprintf(out, TABLE_QUOTED_MAX, "%s%s%s\"%s%s%s\"", schema[0] ? "\"" : "", schema,
        schema[0] ? "\"." : "", before, name, behind);
}

typedef struct split_name {
    char schema[TABLE_NAME_MAX + 1];
    char name[TABLE_NAME_MAX + 1];
} split_name;

static shardy_status split(const char *text, const char *what, split_name *out, shardy_error *err)
{
    const char *dot = text ? strchr(text, '.') : NULL;
    const char *name = dot ? dot + 1 : text;
    out->schema[0] = '\0';
    if (!text || !fold_name(name, strlen(name), out->name) ||
        (dot && !fold_name(text, (size_t)(dot - text), out->schema))) {
        return shardy__error(err, SHARDY_INVALID, "postgres",
            "%s is \"%.200s\", expected [schema.]name of A-Z a-z 0-9 _, not beginning with a "
            "digit, each at most %u bytes",
            what, text ? text : "", TABLE_NAME_MAX);
    }
    return SHARDY_OK;
}

shardy_status shardy__postgres_tables_init(
    postgres_tables *t, const shardy_manifest_store_options *options, shardy_error *err)
{
    split_name table;
    split_name pointer;
    SHARDY_TRY(split(options->table_name, "table_name", &table, err));
    SHARDY_TRY(split(options->pointer_table_name, "pointer_table_name", &pointer, err));
    quote_name(table.schema, "", table.name, "_builds", t->names[TABLE_BUILDS]);
    quote_name(table.schema, "", table.name, "_shards", t->names[TABLE_SHARDS]);
    quote_name(table.schema, "", table.name, "_images", t->names[TABLE_IMAGES]);
    quote_name(pointer.schema, "", pointer.name, "", t->names[TABLE_POINTER]);
    quote_name(pointer.schema, "", pointer.name, "_documents", t->names[TABLE_DOCUMENTS]);
    /* an index is in the schema of its table */
    quote_name("", "idx_", pointer.name, "_updated_at", t->index);
    t->ensure = options->ensure_table;
    atomic_init(&t->all_there, 0);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(t->names[i], t->names[k]) == 0) {
                return shardy__error(err, SHARDY_INVALID, "postgres",
                    "table_name and pointer_table_name both stand for the table %s", t->names[i]);
            }
        }
    }
    return SHARDY_OK;
}

/* --- tables ----------------------------------------------------------------------------------- */

shardy_status shardy__postgres_tables_find(
    postgres_tables *t, postgres_session *session, uint32_t *found_out, shardy_error *err)
{
    postgres_param params[TABLE_COUNT];
    postgres_rows *rows = NULL;
    *found_out = 0;
    if (atomic_load(&t->all_there)) {
        *found_out = (1u << TABLE_COUNT) - 1;
        return SHARDY_OK;
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        params[i] = (postgres_param){t->names[i], 0, 0};
    }
    SHARDY_TRY(shardy__postgres_run(session,
        "SELECT to_regclass($1)::text, to_regclass($2)::text, to_regclass($3)::text, "
        "to_regclass($4)::text, to_regclass($5)::text",
        params, TABLE_COUNT, &rows, err));
    for (int i = 0; i < TABLE_COUNT; i++) {
        *found_out |= shardy__postgres_value(rows, 0, i, NULL) ? 1u << i : 0;
    }
    shardy__postgres_rows_free(rows);
    if (*found_out == (1u << TABLE_COUNT) - 1) {
        atomic_store(&t->all_there, 1);
    }
    return SHARDY_OK;
}

shardy_status shardy__postgres_tables_require(
    const postgres_tables *t, uint32_t found, uint32_t needed, shardy_error *err)
{
    for (uint32_t i = 0; i < TABLE_COUNT && !t->ensure; i++) {
        if ((needed & ~found) & (1u << i)) {
            return shardy__error(err, SHARDY_CONFIG, "postgres",
                "there is no table %s, and ensure_table is off", t->names[i]);
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__postgres_tables_create(
    const postgres_tables *t, postgres_session *session, shardy_error *err)
{
    const char *builds = t->names[TABLE_BUILDS];
    const char *pointer = t->names[TABLE_POINTER];
    bytebuf sql;
    shardy__bytebuf_init(&sql, SQL_MAX);
    shardy__bytebuf_printf(&sql,
        "CREATE TABLE IF NOT EXISTS %s (run_id TEXT PRIMARY KEY, "
        "created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), num_dbs INTEGER NOT NULL, "
        "s3_prefix TEXT NOT NULL, key_col TEXT NOT NULL DEFAULT '_key', "
        "db_path_template TEXT NOT NULL DEFAULT 'db={db_id:05d}', "
        "shard_prefix TEXT NOT NULL DEFAULT 'shards', "
        "key_encoding TEXT NOT NULL DEFAULT 'u64be', sharding JSONB NOT NULL, "
        "custom JSONB NOT NULL DEFAULT '{}'); ",
        builds);
    shardy__bytebuf_printf(&sql,
        "CREATE TABLE IF NOT EXISTS %s (run_id TEXT NOT NULL REFERENCES %s(run_id), "
        "db_id INTEGER NOT NULL, db_url TEXT, attempt INTEGER NOT NULL DEFAULT 0, "
        "row_count INTEGER NOT NULL DEFAULT 0, db_bytes BIGINT NOT NULL DEFAULT 0, "
        "checkpoint_id TEXT, min_key JSONB, max_key JSONB, writer_info JSONB, "
        "PRIMARY KEY (run_id, db_id)); ",
        t->names[TABLE_SHARDS], builds);
    shardy__bytebuf_printf(&sql,
        "CREATE TABLE IF NOT EXISTS %s (updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), "
        "manifest_ref TEXT NOT NULL); "
        "CREATE INDEX IF NOT EXISTS %s ON %s (updated_at DESC); ",
        pointer, t->index, pointer);
    shardy__bytebuf_printf(&sql,
        "CREATE TABLE IF NOT EXISTS %s (run_id TEXT PRIMARY KEY REFERENCES %s(run_id) "
        "ON DELETE CASCADE, image BYTEA NOT NULL); "
        "CREATE TABLE IF NOT EXISTS %s (updated_at TIMESTAMPTZ PRIMARY KEY, "
        "document TEXT NOT NULL)",
        t->names[TABLE_IMAGES], builds, t->names[TABLE_DOCUMENTS]);
    shardy_status st = shardy__bytebuf_check(&sql, "postgres", err);
    if (st >= 0) {
        st = shardy__postgres_run(session, sql.data, NULL, 0, NULL, err);
        /* somebody else creates them at the same moment */
        session->again |= strcmp(session->sqlstate, "23505") == 0 ||
                          strcmp(session->sqlstate, "42P07") == 0 ||
                          strcmp(session->sqlstate, "42710") == 0;
    }
    shardy__bytebuf_free(&sql);
    return st;
}
