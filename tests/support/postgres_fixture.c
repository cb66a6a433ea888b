#include "postgres_fixture.h"

#include "server.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS 8

static server *running;
static PGconn *beside;
static shardy_error err;

int postgres_group_setup(void **state)
{
    (void)state;
    running = server_start_postgres();
    beside = postgres_connect();
    return 0;
}

int postgres_group_teardown(void **state)
{
    (void)state;
    PQfinish(beside);
    server_stop(running);
    beside = NULL;
    running = NULL;
    return 0;
}

server *postgres_running(void)
{
    return running;
}

const char *postgres_dsn(void)
{
    return server_conninfo(running, 1);
}

const char *postgres_new_name(void)
{
    static char names[TEXTS][32];
    static unsigned count;
    char *name = names[count % TEXTS];
    snprintf(name, sizeof names[0], "t%u", count++);
    return name;
}

static void ignore_notice(void *user, const PGresult *result)
{
    (void)user;
    (void)result;
}

void *postgres_connect(void)
{
    PGconn *conn = PQconnectdb(postgres_dsn());
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    return conn;
}

void postgres_disconnect(void *conn)
{
    PQfinish(conn);
}

const char *postgres_sql(const char *table, const char *pointer_table, const char *sql)
{
    return postgres_sql_on(beside, table, pointer_table, sql);
}

const char *postgres_sql_on(
    void *conn, const char *table, const char *pointer_table, const char *sql)
{
    static char texts[TEXTS][4096];
    static unsigned count;
    char *text = texts[count++ % TEXTS];
    char *full = calloc(1, strlen(sql) * 32 + 1);
    size_t n = 0;
    assert_non_null(full);
    for (const char *p = sql; *p; p++) {
        const char *name = p[0] != '%'   ? NULL
                           : p[1] == 'T' ? table
                           : p[1] == 'P' ? pointer_table
                                         : NULL;
        if (name) {
            n += (size_t)snprintf(full + n, strlen(name) + 1, "%s", name);
            p++;
        } else {
            full[n++] = *p;
        }
    }
    PGresult *result = PQexec(conn, full);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", full, PQerrorMessage(conn));
    }
    text[0] = '\0';
    if (PQntuples(result) > 0 && PQnfields(result) > 0) {
        snprintf(text, sizeof texts[0], "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    free(full);
    return text;
}

void postgres_open_store(shardy_context *context, const char *table, const char *pointer_table,
    const postgres_options *connection, manifest_store *out)
{
    shardy_manifest_store_options options;
    postgres_options with = {0};
    if (connection) {
        with = *connection;
    }
    with.dsn = with.dsn ? with.dsn : postgres_dsn();
    with.timeout_ms = with.timeout_ms ? with.timeout_ms : 30000;
    shardy_manifest_store_options_init(&options, sizeof options);
    options.kind = SHARDY_MANIFEST_POSTGRES;
    options.dsn = with.dsn;
    options.table_name = table;
    options.pointer_table_name = pointer_table;
    assert_ok(shardy__manifest_store_open_postgres(context, &options, &with, out, &err));
}

/* --- manifests -------------------------------------------------------------------------------- */

shardy_buf manifest_image(const char *run_id, int64_t created_us)
{
    manifest *m;
    manifest_shard shards[2];
    shardy_object_digest object;
    char urls[2][300];
    char created[SHARDY_TIME_TEXT_SIZE];
    shardy_buf image;
    memset(shards, 0, sizeof shards);
    memset(&object, 0, sizeof object);
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(urls[i], sizeof urls[i],
            MANIFEST_PREFIX "/shards/run_id=%.100s/db=0000%u/attempt=00", run_id, i * 2);
        shards[i].db_id = i * 2;
        shards[i].db_url = urls[i];
        shards[i].row_count = 7 + i;
        shards[i].db_bytes = 5000000000u + i;
        shards[i].checkpoint_id = "0123456789abcdef0123456789abcdef";
        shards[i].has_min_key = 1;
        shards[i].has_max_key = 1;
    }
    shards[0].min_key = shardy_key_int(-3);
    shards[0].max_key = shardy_key_uint(UINT64_MAX);
    shards[1].min_key = shardy_key_text("17", 2);
    shards[1].max_key = shardy_key_text("z\xC3\xA9", 3);
    object.path = "shards/x";
    object.size = 9;
    shardy__time_format_iso(created_us, created);
    assert_ok(shardy__manifest_new(&m, &err));
    m->run_id = run_id;
    m->created_at = created;
    m->created_us = created_us;
    m->s3_prefix = MANIFEST_PREFIX;
    m->key_col = "_key";
    m->db_path_template = "db={db_id:05d}";
    m->shard_prefix = "shards";
    m->num_dbs = 3;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    m->custom = "{\"big\":1e5,\"n\":1.50,\"shardyfusion\":{\"engine\":\"sqlite\",\"version\":1}}";
    m->shards = shards;
    m->shard_count = 2;
    m->has_objects = 1;
    m->objects = &object;
    m->object_count = 1;
    assert_ok(shardy__manifest_render(m, &image, &err));
    shardy__manifest_free(m);
    return image;
}

void manifest_pointer(const manifest_store *m, const char *ref, const char *run_id,
    shardy_bytes image, uint64_t generation, pointer *out)
{
    static unsigned count;
    memset(out, 0, sizeof *out);
    assert_ok(shardy__manifest_store_full_ref(m, MANIFEST_PREFIX, ref, out->manifest_ref, &err));
    snprintf(out->manifest_content_type, sizeof out->manifest_content_type, "%s",
        SHARDY_MANIFEST_CONTENT_TYPE);
    snprintf(out->run_id, sizeof out->run_id, "%s", run_id);
    out->updated_us = 1767323045000000;
    out->has_ours = 1;
    out->generation = generation;
    out->manifest_size = image.len;
    assert_ok(shardy__object_digest(image.data, image.len, &out->manifest_digest, &err));
    snprintf(out->nonce, sizeof out->nonce, "%032u", count++);
}
