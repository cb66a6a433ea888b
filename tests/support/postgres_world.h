/* postgres_world.h: a data set whose shards are in a directory and whose manifests are in Postgres,
 * built, read and changed through the public interface. */
#ifndef SHARDY_TESTS_POSTGRES_WORLD_H
#define SHARDY_TESTS_POSTGRES_WORLD_H

#include "support/postgres_fixture.h"
#include "support/store_fixture.h"

#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MAYBE_UNUSED shardy_error err;

/* A data set: shards in a directory, manifests in tables of its own. */
typedef struct world {
    char *dir;
    char table[32];
    char pointer_table[32];
    shardy_manifest_store_options manifests;
} world;

static MAYBE_UNUSED int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    w->dir = support_make_dir();
    snprintf(w->table, sizeof w->table, "%s", postgres_new_name());
    snprintf(w->pointer_table, sizeof w->pointer_table, "%s", postgres_new_name());
    shardy_manifest_store_options_init(&w->manifests, sizeof w->manifests);
    w->manifests.kind = SHARDY_MANIFEST_POSTGRES;
    w->manifests.dsn = postgres_dsn();
    w->manifests.table_name = w->table;
    w->manifests.pointer_table_name = w->pointer_table;
    *state = w;
    return 0;
}

static MAYBE_UNUSED int teardown(void **state)
{
    world *w = *state;
    support_remove_dir(w->dir);
    free(w);
    return 0;
}

static MAYBE_UNUSED const char *sql(const world *w, const char *text)
{
    return postgres_sql(w->table, w->pointer_table, text);
}

static MAYBE_UNUSED shardy_status build(
    const world *w, const char *run_id, const char *value, shardy_error *error)
{
    shardy_writer_options options;
    shardy_writer *writer = NULL;
    shardy_writer_options_init(&options, sizeof options);
    options.run_id = run_id;
    options.num_dbs = 2;
    options.sync = 0;
    options.custom = "{\"note\": \"\\u00e9\", \"n\": 1.50}";
    options.manifest_store = &w->manifests;
    shardy_status st = shardy_writer_open(NULL, w->dir, &options, &writer, error);
    for (int i = 0; st >= 0 && i < 20; i++) {
        char key[16];
        shardy_row row;
        memset(&row, 0, sizeof row);
        row.struct_size = sizeof row;
        snprintf(key, sizeof key, "key-%02d", i);
        row.key = shardy_key_text(key, strlen(key));
        row.value = bytes_of(value);
        st = shardy_writer_put(writer, &row, error);
    }
    if (st >= 0) {
        st = shardy_writer_finish(writer, NULL, error);
    }
    shardy_writer_close(writer);
    return st;
}

static MAYBE_UNUSED void build_ok(const world *w, const char *run_id, const char *value)
{
    assert_ok(build(w, run_id, value, &err));
}

static MAYBE_UNUSED shardy_status open_reader(
    const world *w, const char *ref, shardy_reader **reader)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    options.ref = ref;
    memset(&err, 0, sizeof err);
    return shardy_reader_open(NULL, w->dir, &options, reader, &err);
}

static MAYBE_UNUSED void assert_value(const shardy_reader *reader, const char *expected)
{
    shardy_buf value;
    shardy_key key = shardy_key_text("key-07", 6);
    assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
    assert_int_equal(value.len, strlen(expected));
    assert_memory_equal(value.data, expected, value.len);
    shardy_buf_release(&value);
}

static MAYBE_UNUSED shardy_status roll_back(const world *w, const char *run_id)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    shardy_admin_options_init(&options, sizeof options);
    options.manifest_store = &w->manifests;
    shardy_rollback_target_init(&target, sizeof target);
    target.ref = run_id;
    memset(&err, 0, sizeof err);
    return shardy_rollback(NULL, w->dir, &target, &options, NULL, &err);
}

static MAYBE_UNUSED int32_t verify(const world *w, const char *ref, int deep)
{
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.ref = ref;
    options.deep = deep;
    options.admin.manifest_store = &w->manifests;
    assert_ok(shardy_verify(NULL, w->dir, &options, &result, &err));
    for (size_t i = 0; i < result.damaged_count; i++) {
        print_message("%s: %s\n", result.damaged[i].path, result.damaged[i].reason);
    }
    int32_t status = result.status;
    shardy_verify_result_dispose(&result);
    return status;
}

static MAYBE_UNUSED void assert_names(const char *one, const char *other)
{
    if (!strstr(err.message, one) || !strstr(err.message, other)) {
        fail_msg("\"%s\" does not name \"%s\" and \"%s\"", err.message, one, other);
    }
}

#endif
