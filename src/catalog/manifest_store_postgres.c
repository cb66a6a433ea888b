/* manifest_store_postgres.c: manifests and the pointer as rows of the reference's tables. A ref is
 * the run id. The pointer is the newest row of an append-only table; its version is the time of
 * that row, which grows with every change, and how many rows have that time. */
#include "manifest_columns.h"
#include "manifest_store.h"
#include "postgres_answer.h"
#include "postgres_tables.h"

#include "../base/alloc.h"
#include "../store/store_bound.h"

#include <shardyfusion/limits.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SQL_MAX 4096u
/* Time to find out, after the deadline, whether a COMMIT that was not answered was done. */
#define RESOLVE_MS 500u
/* Longest pause between two attempts. */
#define PAUSE_US_MAX 50000u

/* A time as text, to the microsecond and free of any setting of the session. */
#define TIME_OF(column)                                                                            \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* A build of a time that has no text (infinity, a year beyond 9999 or before Christ) is one all the
 * same: it is listed as of the first or the last moment that has one. Whoever loads it is told. */
#define LISTED_TIME                                                                                \
    "least(greatest(created_at, '0001-01-01 00:00:00+00'::timestamptz), "                          \
    "'9999-12-31 23:59:59.999999+00'::timestamptz)"
/* More than a document may have: what is longer is not fetched to its end. */
#define DOCUMENT_MAX "65537"
static_assert(SHARDY_CURRENT_LEN_MAX == 65536u, "DOCUMENT_MAX is one more");
/* The longest text of a run. Of values of other types what they take in the table is looked at:
 * nothing is converted for that. */
#define LONGEST_OF_RUN                                                                             \
    "SELECT greatest((SELECT max(greatest(octet_length(b.s3_prefix), octet_length(b.key_col), "    \
    "octet_length(b.db_path_template), octet_length(b.shard_prefix), "                             \
    "octet_length(b.key_encoding), octet_length(b.sharding::text), octet_length(b.custom::text)))" \
    " FROM %s b WHERE b.run_id = $1), (SELECT max(greatest(octet_length(s.db_url), "               \
    "octet_length(s.checkpoint_id), pg_column_size(s.min_key), pg_column_size(s.max_key), "        \
    "pg_column_size(s.writer_info))) FROM %s s WHERE s.run_id = $1)) AS len"

#define ONLY(table) (1u << (table))
#define TO_PUBLISH  ((1u << TABLE_COUNT) - 1)

typedef struct postgres_manifest_store postgres_manifest_store;

struct postgres_manifest_store {
    shardy_context *context;
    postgres *db;
    uint32_t timeout_ms;
    shardy_store_limits operation;        /* all transactions are over by then */
    const postgres_manifest_store *whole; /* itself, or whose operation this one is there to end */
    postgres_tables tables;
};

/* --- transactions ----------------------------------------------------------------------------- */

/* What is done in a transaction; it may be done again from the start. */
typedef shardy_status (*work_fn)(postgres_session *session, void *job, shardy_error *err);

typedef struct transaction {
    postgres_mode mode;
    work_fn work;
    void *job;
    shardy_store_limits limits;
    int32_t again;   /* after a failure: repeating it may help */
    int32_t unknown; /* after a failure: nobody knows whether it was committed */
} transaction;

static shardy_status attempt(const postgres_manifest_store *m, transaction *t, shardy_error *err)
{
    postgres_session session;
    shardy_status st = shardy__postgres_begin(m->db, t->mode, &t->limits, &session, err);
    if (st >= 0) {
        st = t->work(&session, t->job, err);
    }
    if (st >= 0 && (t->mode == POSTGRES_SERIALIZABLE || t->mode == POSTGRES_DEFINE)) {
        shardy_status committed = shardy__postgres_commit(&session, err);
        st = committed < 0 ? committed : st;
    }
    t->again = st < 0 && session.again;
    t->unknown = st < 0 && session.lost && session.committing;
    shardy__postgres_end(&session);
    return st;
}

/* Of one transaction. One that ends an operation is not given up because of what that was given up
 * for, but has to be short (store_bound.h). */
static shardy_store_limits limits_of(const postgres_manifest_store *m)
{
    shardy_store_limits l = m->whole->operation;
    uint32_t timeout_ms = m->timeout_ms;
    if (m->whole != m && shardy_cancel_requested(l.cancel)) {
        timeout_ms = timeout_ms < STORE_ENDING_MS ? timeout_ms : STORE_ENDING_MS;
        l.cancel = NULL;
    }
    int64_t deadline = shardy__deadline_ns(m->context, timeout_ms);
    l.deadline_ns = l.deadline_ns && l.deadline_ns < deadline ? l.deadline_ns : deadline;
    return l;
}

static shardy_status transact(const postgres_manifest_store *m, postgres_mode mode, work_fn work,
    void *job, int32_t *unknown_out, shardy_error *err)
{
    transaction t = {mode, work, job, limits_of(m), 1, 0};
    shardy_status st = SHARDY_OK;
    shardy_error error; /* only of the last attempt */
    for (uint32_t tries = 0; t.again && tries < POSTGRES_ATTEMPTS_MAX; tries++) {
        if (tries > 1) {
            uint32_t most = tries < 16 ? 1u << tries : PAUSE_US_MAX;
            most = most < PAUSE_US_MAX ? most : PAUSE_US_MAX;
            shardy__sleep_us(m->context, (int64_t)(shardy__rand_u64(m->context) % most));
        }
        shardy__error_clear(&error);
        st = attempt(m, &t, &error);
    }
    if (st < 0 && err) {
        *err = error;
    }
    if (unknown_out) {
        *unknown_out = t.unknown;
    }
    return st;
}

static void sql_init(bytebuf *sql)
{
    shardy__bytebuf_init(sql, SQL_MAX);
}

/* Runs the SQL that was put together, and frees it. */
static shardy_status run_sql(postgres_session *session, bytebuf *sql, const postgres_param *params,
    size_t count, postgres_rows **rows_out, shardy_error *err)
{
    *rows_out = NULL;
    shardy_status st = shardy__bytebuf_check(sql, "postgres", err);
    if (st >= 0) {
        st = shardy__postgres_run(session, sql->data, params, count, rows_out, err);
    }
    shardy__bytebuf_free(sql);
    return st;
}

/* --- the pointer ------------------------------------------------------------------------------ */

static shardy_status query_current(postgres_session *session, const postgres_tables *tables,
    uint32_t found, int is_pointer, postgres_current *current, shardy_error *err)
{
    const char *table = tables->names[TABLE_POINTER];
    const char *builds = tables->names[TABLE_BUILDS];
    int documents = (found & ONLY(TABLE_DOCUMENTS)) != 0;
    bytebuf sql;
    postgres_rows *rows;
    sql_init(&sql);
    if (is_pointer) {
        shardy__bytebuf_printf(&sql,
            "SELECT " TIME_OF("p.updated_at") ", p.manifest_ref, "
                                              "(SELECT count(*)::text FROM %s q WHERE q.updated_at "
                                              "= p.updated_at), %s "
                                              "FROM %s p %s%s%s ORDER BY p.updated_at DESC, "
                                              "p.manifest_ref DESC LIMIT 1",
            table, documents ? "left(d.document, " DOCUMENT_MAX ")" : "NULL::text", table,
            documents ? "LEFT JOIN " : "", documents ? tables->names[TABLE_DOCUMENTS] : "",
            documents ? " d ON d.updated_at = p.updated_at" : "");
    } else {
        shardy__bytebuf_printf(&sql,
            "SELECT " TIME_OF(
                "b.created_at") ", b.run_id, "
                                "(SELECT count(*)::text FROM %s q WHERE q.created_at = "
                                "b.created_at), NULL::text "
                                "FROM %s b ORDER BY b.created_at DESC, b.run_id LIMIT 1",
            builds, builds);
    }
    const postgres_param none = {NULL, 0, 0};
    SHARDY_TRY(run_sql(session, &sql, &none, 0, &rows, err));
    shardy_status st = shardy__answer_current(rows, is_pointer, current, err);
    shardy__postgres_rows_free(rows);
    return st;
}

/* The newest pointer row, else the newest build, as the reference reads it. */
static shardy_status read_current(postgres_session *session, const postgres_tables *tables,
    uint32_t found, postgres_current *current, shardy_error *err)
{
    shardy_status st = SHARDY_NOT_FOUND;
    shardy__answer_forget(current);
    if (found & ONLY(TABLE_POINTER)) {
        st = query_current(session, tables, found, 1, current, err);
    }
    if (st == SHARDY_NOT_FOUND && (found & ONLY(TABLE_BUILDS))) {
        st = query_current(session, tables, found, 0, current, err);
    }
    return st;
}

typedef struct current_job {
    postgres_manifest_store *store;
    postgres_current current;
} current_job;

static shardy_status work_current(postgres_session *session, void *data, shardy_error *err)
{
    current_job *job = data;
    postgres_tables *t = &job->store->tables;
    uint32_t found;
    SHARDY_TRY(shardy__postgres_tables_find(t, session, &found, err));
    SHARDY_TRY(
        shardy__postgres_tables_require(t, found, ONLY(TABLE_POINTER) | ONLY(TABLE_BUILDS), err));
    return read_current(session, t, found, &job->current, err);
}

static shardy_status postgres_load_current(
    void *store, shardy_manifest_current *current_out, shardy_error *err)
{
    current_job job;
    memset(&job, 0, sizeof job);
    job.store = store;
    shardy_status st = transact(store, POSTGRES_READ, work_current, &job, NULL, err);
    current_out->version = job.current.version;
    if (st == SHARDY_OK) {
        st = shardy__answer_document(&job.current, &current_out->body, err);
    }
    shardy__answer_forget(&job.current);
    return st;
}

/* --- reading manifests ------------------------------------------------------------------------ */

typedef struct load_job {
    postgres_manifest_store *store;
    const char *ref;
    shardy_buf image;
} load_job;

/* Rows of three kinds: '0' the build, first, '1' its shards, one more than there may be at most; or
 * '2' alone, when a text is longer than any of a manifest. */
static void put_load(bytebuf *sql, const postgres_tables *t, int images)
{
    const char *builds = t->names[TABLE_BUILDS];
    const char *shards = t->names[TABLE_SHARDS];
    shardy__bytebuf_printf(sql, "WITH longest AS (" LONGEST_OF_RUN ") ", builds, shards);
    shardy__bytebuf_printf(sql,
        "SELECT '0', b.run_id, " TIME_OF(
            "b.created_at") ", b.num_dbs::text, b.s3_prefix, "
                            "b.key_col, b.db_path_template, b.shard_prefix, b.key_encoding, "
                            "b.sharding::text, "
                            "b.custom::text, %s, NULL::integer FROM %s b %s%s%s WHERE b.run_id = "
                            "$1 AND (SELECT len FROM longest) <= %u ",
        images ? "i.image" : "NULL::bytea", builds, images ? "LEFT JOIN " : "",
        images ? t->names[TABLE_IMAGES] : "", images ? " i ON i.run_id = b.run_id" : "",
        SHARDY_CUSTOM_LEN_MAX);
    shardy__bytebuf_printf(sql,
        "UNION ALL (SELECT '1', s.db_id::text, s.db_url, s.attempt::text, s.row_count::text, "
        "s.db_bytes::text, s.checkpoint_id, s.min_key::text, s.max_key::text, "
        "s.writer_info::text, NULL::text, NULL::bytea, s.db_id FROM %s s WHERE s.run_id = $1 "
        "AND (SELECT len FROM longest) <= %u ORDER BY s.db_id LIMIT (SELECT "
        "greatest(max(b.num_dbs), 0)::bigint + 1 FROM %s b WHERE b.run_id = $1)) ",
        shards, SHARDY_CUSTOM_LEN_MAX, builds);
    shardy__bytebuf_printf(sql,
        "UNION ALL SELECT '2', len::text, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
        "NULL::bytea, NULL::integer FROM longest WHERE len > %u ORDER BY 13 NULLS FIRST",
        SHARDY_CUSTOM_LEN_MAX);
}

static shardy_status work_load(postgres_session *session, void *job, shardy_error *err)
{
    load_job *load = job;
    const postgres_tables *t = &load->store->tables;
    uint32_t found;
    uint32_t needed = ONLY(TABLE_BUILDS) | ONLY(TABLE_SHARDS);
    SHARDY_TRY(shardy__postgres_tables_find(&load->store->tables, session, &found, err));
    SHARDY_TRY(shardy__postgres_tables_require(t, found, needed, err));
    if ((found & needed) != needed) {
        return SHARDY_NOT_FOUND;
    }
    bytebuf sql;
    postgres_rows *rows;
    sql_init(&sql);
    put_load(&sql, t, (found & ONLY(TABLE_IMAGES)) != 0);
    const postgres_param ref = {load->ref, 0, 0};
    SHARDY_TRY(run_sql(session, &sql, &ref, 1, &rows, err));
    size_t count = shardy__postgres_row_count(rows);
    const char *kind = count ? shardy__postgres_value(rows, 0, 0, NULL) : NULL;
    shardy_status st = SHARDY_NOT_FOUND;
    if (kind && kind[0] == '2') {
        const char *len = shardy__postgres_value(rows, 0, 1, NULL);
        st = shardy__error(err, SHARDY_CORRUPT, "manifest",
            "a column of run \"%.128s\" has %.20s bytes, the limit is %u", load->ref, len,
            SHARDY_CUSTOM_LEN_MAX);
    } else if (kind && kind[0] == '0') {
        st = shardy__manifest_columns_image(rows, &load->image, err);
    }
    shardy__postgres_rows_free(rows);
    return st;
}

static shardy_status postgres_load(
    void *store, const char *ref, shardy_buf *image_out, shardy_error *err)
{
    load_job job = {store, ref, {0}};
    shardy_status st = transact(store, POSTGRES_READ, work_load, &job, NULL, err);
    if (st == SHARDY_OK) {
        *image_out = job.image;
    }
    return st;
}

typedef struct list_job {
    postgres_manifest_store *store;
    size_t limit;
    shardy_manifest_list *list;
} list_job;

static shardy_status work_list(postgres_session *session, void *job, shardy_error *err)
{
    list_job *list = job;
    const postgres_tables *t = &list->store->tables;
    uint32_t found;
    char limit[24];
    shardy__manifest_list_dispose(list->list);
    SHARDY_TRY(shardy__postgres_tables_find(&list->store->tables, session, &found, err));
    SHARDY_TRY(shardy__postgres_tables_require(t, found, ONLY(TABLE_BUILDS), err));
    if (!(found & ONLY(TABLE_BUILDS))) {
        return SHARDY_OK;
    }
    snprintf(limit, sizeof limit, "%zu", list->limit);
    bytebuf sql;
    postgres_rows *rows;
    sql_init(&sql);
    shardy__bytebuf_printf(&sql,
        "SELECT run_id, " TIME_OF(LISTED_TIME) " FROM %s "
                                               "ORDER BY created_at DESC, run_id LIMIT $1::bigint",
        t->names[TABLE_BUILDS]);
    const postgres_param param = {limit, 0, 0};
    SHARDY_TRY(run_sql(session, &sql, &param, 1, &rows, err));
    shardy_status st = shardy__answer_list(rows, list->limit, list->list, err);
    shardy__postgres_rows_free(rows);
    return st;
}

static shardy_status postgres_list(
    void *store, size_t limit, shardy_manifest_list *list_out, shardy_error *err)
{
    list_job job = {store, limit, list_out};
    shardy_status st = transact(store, POSTGRES_READ, work_list, &job, NULL, err);
    if (st < 0) {
        shardy__manifest_list_dispose(list_out);
    }
    return st;
}

/* --- changing --------------------------------------------------------------------------------- */

/* A publish, an add (`move` NULL), or a move of the pointer (`columns` NULL). */
typedef struct write_job {
    postgres_manifest_store *store;
    const char *ref;
    const manifest_columns *columns;
    shardy_manifest_move *move;
    const char *document;
    postgres_current now;
    int32_t conflict;            /* the pointer was not moved: somebody else had moved it */
    char at[POSTGRES_TIME_SIZE]; /* of the new pointer row */
    char xid[POSTGRES_NUMBER_SIZE];
} write_job;

static shardy_status work_create(postgres_session *session, void *job, shardy_error *err)
{
    const postgres_manifest_store *m = job;
    return shardy__postgres_tables_create(&m->tables, session, err);
}

static shardy_status work_find(postgres_session *session, void *job, shardy_error *err)
{
    postgres_manifest_store *m = job;
    uint32_t found;
    SHARDY_TRY(shardy__postgres_tables_find(&m->tables, session, &found, err));
    SHARDY_TRY(shardy__postgres_tables_require(&m->tables, found, TO_PUBLISH, err));
    return found == TO_PUBLISH ? SHARDY_OK : SHARDY_NOT_FOUND;
}

/* All tables, created if they may be. */
static shardy_status ensure_tables(postgres_manifest_store *m, shardy_error *err)
{
    if (atomic_load(&m->tables.all_there)) {
        return SHARDY_OK;
    }
    shardy_status st = transact(m, POSTGRES_READ, work_find, m, NULL, err);
    if (st == SHARDY_NOT_FOUND) {
        st = transact(m, POSTGRES_DEFINE, work_create, m, NULL, err);
        if (st < 0) {
            return shardy__error_prefix(err, st, "the tables cannot be created");
        }
    }
    return st;
}

static shardy_status insert_manifest(
    postgres_session *session, const write_job *job, shardy_error *err)
{
    const postgres_tables *t = &job->store->tables;
    bytebuf sql;
    postgres_rows *rows;
    sql_init(&sql);
    shardy__bytebuf_printf(&sql,
        "WITH b AS (INSERT INTO %s (run_id, created_at, num_dbs, s3_prefix, key_col, "
        "db_path_template, shard_prefix, key_encoding, sharding, custom) VALUES ($1, "
        "$2::timestamptz, $3::integer, $4, $5, $6, $7, $8, $9::jsonb, $10::jsonb) "
        "ON CONFLICT (run_id) DO NOTHING RETURNING run_id), ",
        t->names[TABLE_BUILDS]);
    shardy__bytebuf_printf(&sql,
        "s AS (INSERT INTO %s (run_id, db_id, db_url, attempt, row_count, db_bytes, "
        "checkpoint_id, min_key, max_key, writer_info) SELECT b.run_id, x.db_id, x.db_url, "
        "x.attempt, x.row_count, x.db_bytes, x.checkpoint_id, x.min_key, x.max_key, "
        "x.writer_info FROM b, jsonb_to_recordset($11::jsonb) AS x (db_id integer, db_url text, "
        "attempt integer, row_count integer, db_bytes bigint, checkpoint_id text, min_key jsonb, "
        "max_key jsonb, writer_info jsonb)), ",
        t->names[TABLE_SHARDS]);
    shardy__bytebuf_printf(&sql,
        "i AS (INSERT INTO %s (run_id, image) SELECT b.run_id, $12::bytea FROM b) "
        "SELECT count(*)::text FROM b",
        t->names[TABLE_IMAGES]);
    SHARDY_TRY(run_sql(session, &sql, job->columns->params, MANIFEST_PARAMS, &rows, err));
    int taken = shardy__answer_count(rows) == 0;
    shardy__postgres_rows_free(rows);
    return !taken ? SHARDY_OK
                  : shardy__error(err, SHARDY_EXISTS, "manifest",
                        "there is a manifest of the run \"%.128s\"", job->ref);
}

/* A new row, later than every other: by the server's clock, or where that one is behind, by a
 * microsecond. Nothing when there is no build of that run. */
static shardy_status insert_pointer(postgres_session *session, write_job *job, shardy_error *err)
{
    const postgres_tables *t = &job->store->tables;
    const char *table = t->names[TABLE_POINTER];
    bytebuf sql;
    postgres_rows *rows;
    sql_init(&sql);
    shardy__bytebuf_printf(&sql,
        "WITH t AS (SELECT greatest(clock_timestamp(), (SELECT max(updated_at) FROM %s) + "
        "interval '1 microsecond') AS at FROM %s WHERE run_id = $1), "
        "p AS (INSERT INTO %s (updated_at, manifest_ref) SELECT t.at, $1 FROM t), "
        "d AS (INSERT INTO %s (updated_at, document) SELECT t.at, $2 FROM t) "
        "SELECT " TIME_OF("t.at") ", txid_current()::text FROM t",
        table, t->names[TABLE_BUILDS], table, t->names[TABLE_DOCUMENTS]);
    const postgres_param params[] = {{job->ref, 0, 0}, {job->document, 0, 0}};
    shardy_status st = run_sql(session, &sql, params, 2, &rows, err);
    if (st == SHARDY_EXISTS) {
        session->again = 1; /* a row of the same microsecond: the next attempt sees it */
    }
    SHARDY_TRY(st);
    if (shardy__postgres_row_count(rows) == 0) {
        st = shardy__error(err, SHARDY_GONE, "manifest",
            "there is no manifest of the run \"%.128s\" any more", job->ref);
    } else {
        st = shardy__answer_text(rows, 0, "time", job->at, sizeof job->at, err);
    }
    if (st >= 0) {
        st = shardy__answer_text(rows, 1, "transaction", job->xid, sizeof job->xid, err);
    }
    shardy__postgres_rows_free(rows);
    return st;
}

static shardy_status work_write(postgres_session *session, void *data, shardy_error *err)
{
    write_job *job = data;
    job->conflict = 0;
    job->at[0] = '\0';
    if (job->move) {
        shardy_status st = read_current(session, &job->store->tables, TO_PUBLISH, &job->now, err);
        if (st == SHARDY_CORRUPT && job->now.found) {
            st = SHARDY_OK; /* a damaged pointer does not stop a good one */
        }
        SHARDY_TRY(st);
        job->conflict = strcmp(job->now.version.text, job->move->expected->text) != 0;
    }
    if (job->conflict && (!job->columns || !job->now.is_pointer)) {
        /* Without a pointer row the newest build is current: none is added then. */
        return shardy__error(
            err, SHARDY_CONFLICT, "manifest", "the pointer has another version by now");
    }
    if (job->columns) {
        SHARDY_TRY(insert_manifest(session, job, err));
    }
    return job->move && !job->conflict ? insert_pointer(session, job, err) : SHARDY_OK;
}

/* Whether a COMMIT that was not answered was done: 1 yes, 0 no, -1 not known. */
typedef struct resolve_job {
    const write_job *write;
    int32_t answer;
} resolve_job;

static shardy_status work_resolve(postgres_session *session, void *data, shardy_error *err)
{
    resolve_job *job = data;
    const postgres_param params[] = {
        {job->write->xid, 0, 0}, {job->write->at, 0, 0}, {job->write->document, 0, 0}};
    postgres_rows *rows;
    bytebuf sql;
    job->answer = -1;
    /* The server may still be at work on it. */
    SHARDY_TRY(
        shardy__postgres_run(session, "SELECT txid_status($1::bigint)", params, 1, &rows, err));
    const char *status = shardy__postgres_value(rows, 0, 0, NULL);
    int running = status && strcmp(status, "in progress") == 0;
    int aborted = status && strcmp(status, "aborted") == 0;
    shardy__postgres_rows_free(rows);
    session->again = running;
    if (running) {
        return shardy__error(err, SHARDY_TIMEOUT, "postgres", "the COMMIT is still being done");
    }
    /* Not the status but the nonce tells: after a fail-over it is another history. */
    sql_init(&sql);
    shardy__bytebuf_printf(&sql,
        "SELECT count(*)::text FROM %s WHERE updated_at = $1::timestamptz AND document = $2",
        job->write->store->tables.names[TABLE_DOCUMENTS]);
    SHARDY_TRY(run_sql(session, &sql, params + 1, 2, &rows, err));
    job->answer = shardy__answer_count(rows) > 0 ? 1 : aborted ? 0 : -1;
    shardy__postgres_rows_free(rows);
    return SHARDY_OK;
}

static int resolve(const write_job *job)
{
    static const postgres_manifest_store unlimited = {0};
    postgres_manifest_store brief = {0};
    shardy_error ignored;
    resolve_job question = {job, -1};
    brief.context = job->store->context;
    brief.db = job->store->db;
    brief.timeout_ms = RESOLVE_MS;
    brief.whole = &unlimited;
    if (!job->at[0] ||
        transact(&brief, POSTGRES_READ_LATEST, work_resolve, &question, NULL, &ignored) < 0) {
        return -1;
    }
    return question.answer;
}

static shardy_status write_now(write_job *job, shardy_error *err)
{
    int32_t unknown = 0;
    shardy_status st = transact(job->store, POSTGRES_SERIALIZABLE, work_write, job, &unknown, err);
    int moving = job->move && !job->conflict;
    if (unknown && moving) {
        int done = resolve(job);
        st = done == 1 ? SHARDY_OK : st;
        job->move->open = done < 0;
    }
    if (job->move) {
        /* rolled back, unless nobody knows or only the pointer was refused */
        job->move->added = job->columns && (st >= 0 || unknown);
    }
    if (st >= 0 && job->conflict) {
        return shardy__error(
            err, SHARDY_CONFLICT, "manifest", "the pointer has another version by now");
    }
    if (st >= 0 && moving) {
        snprintf(job->move->version.text, sizeof job->move->version.text, "%s-1", job->at);
    }
    return st;
}

/* The pointer document as a text with a zero behind it, and the ref in it. */
static shardy_status take_document(write_job *job, char **text_out, pointer *p, shardy_error *err)
{
    *text_out = NULL;
    SHARDY_TRY(shardy__pointer_parse(job->move->body, p, err));
    *text_out = shardy__strndup(job->move->body.data, job->move->body.len);
    job->document = *text_out;
    return *text_out ? SHARDY_OK : shardy__error_nomem(err, "manifest");
}

static shardy_status write_checked(write_job *job, shardy_error *err)
{
    char *document = NULL;
    pointer p;
    if (job->move) {
        shardy_status st = take_document(job, &document, &p, err);
        if (st >= 0 && job->ref && strcmp(p.manifest_ref, job->ref) != 0) {
            st = shardy__error(err, SHARDY_INVALID, "manifest",
                "the pointer names \"%.128s\", the manifest is \"%.128s\"", p.manifest_ref,
                job->ref);
        }
        if (st < 0) {
            shardy__free(document);
            return st;
        }
        job->ref = p.manifest_ref;
    }
    shardy_status st = ensure_tables(job->store, err);
    if (st >= 0) {
        st = write_now(job, err);
    }
    shardy__free(document);
    shardy__answer_forget(&job->now);
    return st;
}

/* Adds the manifest and, with `move`, moves the pointer to it. */
static shardy_status write_manifest(postgres_manifest_store *m, const char *ref, shardy_bytes image,
    shardy_manifest_move *move, shardy_error *err)
{
    manifest *model = NULL;
    manifest_columns columns;
    SHARDY_TRY(shardy__manifest_parse(image, &model, err));
    shardy_status st = SHARDY_OK;
    if (strcmp(model->run_id, ref) != 0) {
        st = shardy__error(err, SHARDY_INVALID, "manifest",
            "the manifest is of the run \"%.128s\", its ref here cannot be \"%.128s\"",
            model->run_id, ref);
    }
    if (st >= 0) {
        st = shardy__manifest_columns_make(model, image, &columns, err);
    }
    if (st >= 0) {
        write_job job;
        memset(&job, 0, sizeof job);
        job.store = m;
        job.ref = ref;
        job.columns = &columns;
        job.move = move;
        st = write_checked(&job, err);
        shardy__manifest_columns_free(&columns);
    }
    shardy__manifest_free(model);
    return st;
}

static shardy_status postgres_add(
    void *store, const char *ref, shardy_bytes image, shardy_error *err)
{
    return write_manifest(store, ref, image, NULL, err);
}

static shardy_status postgres_publish(
    void *store, const char *ref, shardy_bytes image, shardy_manifest_move *move, shardy_error *err)
{
    return write_manifest(store, ref, image, move, err);
}

static shardy_status postgres_set_current(
    void *store, shardy_manifest_move *move, shardy_error *err)
{
    write_job job;
    memset(&job, 0, sizeof job);
    job.store = store;
    job.move = move;
    return write_checked(&job, err);
}

/* --- removing --------------------------------------------------------------------------------- */

typedef struct remove_job {
    postgres_manifest_store *store;
    const char *ref;
    uint64_t removed;
} remove_job;

static shardy_status work_remove(postgres_session *session, void *data, shardy_error *err)
{
    remove_job *job = data;
    const postgres_tables *t = &job->store->tables;
    static const postgres_table order[] = {TABLE_IMAGES, TABLE_SHARDS, TABLE_BUILDS};
    uint32_t found;
    SHARDY_TRY(shardy__postgres_tables_find(&job->store->tables, session, &found, err));
    job->removed = 0;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const postgres_param ref = {job->ref, 0, 0};
        postgres_rows *rows;
        bytebuf sql;
        if (!(found & ONLY(order[i]))) {
            continue;
        }
        sql_init(&sql);
        shardy__bytebuf_printf(&sql,
            "WITH gone AS (DELETE FROM %s WHERE run_id = $1 RETURNING 1) "
            "SELECT count(*)::text FROM gone",
            t->names[order[i]]);
        SHARDY_TRY(run_sql(session, &sql, &ref, 1, &rows, err));
        job->removed += shardy__answer_count(rows);
        shardy__postgres_rows_free(rows);
    }
    return SHARDY_OK;
}

static shardy_status postgres_remove(
    void *store, const char *ref, uint64_t *removed_out, shardy_error *err)
{
    remove_job job = {store, ref, 0};
    shardy_status st = transact(store, POSTGRES_SERIALIZABLE, work_remove, &job, NULL, err);
    *removed_out = st >= 0 ? job.removed : 0;
    return st;
}

/* --- life ------------------------------------------------------------------------------------- */

static void postgres_limit(void *store, shardy_store_limits limits)
{
    postgres_manifest_store *m = store;
    m->operation = limits;
}

static void postgres_close(void *store)
{
    postgres_manifest_store *m = store;
    if (m->whole == m) {
        shardy__postgres_close(m->db);
    }
    shardy__free(m);
}

static const shardy_manifest_store_ops postgres_ops = {
    .abi = SHARDY_MANIFEST_STORE_ABI,
    .struct_size = sizeof(shardy_manifest_store_ops),
    .name = "postgres",
    .refs_are_run_ids = 1,
    .load_current = postgres_load_current,
    .load = postgres_load,
    .list = postgres_list,
    .add = postgres_add,
    .set_current = postgres_set_current,
    .close = postgres_close,
    .remove = postgres_remove,
    .publish = postgres_publish,
};

shardy_status shardy__manifest_store_open_postgres(shardy_context *context,
    const shardy_manifest_store_options *options, const postgres_options *connection,
    manifest_store *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    if (!connection->dsn || !connection->dsn[0]) {
        return shardy__error(err, SHARDY_CONFIG, "postgres",
            "the manifest store \"postgres\" needs a connection string (dsn)");
    }
    postgres_manifest_store *m = shardy__calloc(1, sizeof *m);
    if (!m) {
        return shardy__error_nomem(err, "manifest");
    }
    m->context = context;
    m->timeout_ms = connection->timeout_ms;
    m->operation.cancel = connection->cancel;
    m->whole = m;
    shardy_status st = shardy__postgres_tables_init(&m->tables, options, err);
    if (st >= 0) {
        st = shardy__postgres_open(context, connection, &m->db, err);
    }
    postgres_manifest_store *after = NULL;
    if (st >= 0) {
        after = shardy__calloc(1, sizeof *after);
        st = after ? SHARDY_OK : shardy__error_nomem(err, "manifest");
    }
    if (after) {
        *after = *m; /* and the same connection */
    }
    if (st < 0) {
        shardy__postgres_close(m->db);
        shardy__free(m);
        return st;
    }
    out->ops = &postgres_ops;
    out->state = m;
    out->after = after;
    out->limit = postgres_limit;
    return SHARDY_OK;
}
