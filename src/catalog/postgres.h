/* postgres.h: calls of a Postgres server: one transaction at a time on a connection of its own,
 * statements with a deadline, failures as statuses. Built with libpq; only what is behind it knows
 * libpq.
 *
 * Values are bound parameters always. Text passes as UTF-8. No message holds the password. */
#ifndef SHARDY_CATALOG_POSTGRES_H
#define SHARDY_CATALOG_POSTGRES_H

#include "../base/context.h"

#include <shardyfusion/sys/store.h>

/* Called before each statement is sent, with its text: tests take turns between sessions there. */
typedef void (*postgres_step_fn)(void *user, const char *sql);

/* Strings are copied. */
typedef struct postgres_options {
    const char *dsn;             /* "host=... dbname=..." or "postgresql://..." */
    uint32_t timeout_ms;         /* of a transaction with all its attempts */
    const shardy_cancel *cancel; /* may be NULL; borrowed */
    postgres_step_fn step;       /* may be NULL */
    void *step_user;
} postgres_options;

/* A server, with a connection that is kept between transactions. Any thread, any time. */
typedef struct postgres postgres;

/* Takes the connection string apart; nothing is sent. Statuses: OK; CONFIG (a string that cannot be
 * parsed: it is not shown); NOMEM. */
shardy_status shardy__postgres_open(
    shardy_context *context, const postgres_options *options, postgres **out, shardy_error *err);
void shardy__postgres_close(postgres *db); /* NULL is fine */

/* Attempts of one transaction in the face of serialization failures: far more than two writers ever
 * need, so that it ends also where the clock stands still. */
#define POSTGRES_ATTEMPTS_MAX 200u

/* Parameters of one statement. */
#define POSTGRES_PARAMS_MAX 16u

typedef enum postgres_mode {
    POSTGRES_READ = 0,     /* one snapshot for all its statements */
    POSTGRES_READ_LATEST,  /* each statement sees what was committed before it */
    POSTGRES_SERIALIZABLE, /* changes, as if nobody else were there */
    POSTGRES_DEFINE        /* creates tables */
} postgres_mode;

/* One transaction. One thread at a time. */
typedef struct postgres_session {
    postgres *db;
    struct pg_conn *conn;
    shardy_store_limits limits;
    int32_t reused;     /* 1: nothing was answered yet on a connection that had been idle */
    int32_t committing; /* 1: the COMMIT was sent and not answered */
    int32_t lost;       /* 1: the connection is gone */
    int32_t again;      /* 1: after a failure: nothing was changed, and repeating it may help */
    char sqlstate[6];   /* of the last failure; "" when the server did not say one */
} postgres_session;

/* Connects if there is no idle connection, and begins. Statuses: OK; UNAVAILABLE (retriable), AUTH,
 * TIMEOUT, CANCELLED, FORKED, NOMEM. Call shardy__postgres_end() in any case. */
shardy_status shardy__postgres_begin(postgres *db, postgres_mode mode,
    const shardy_store_limits *limits, postgres_session *session_out, shardy_error *err);

/* A parameter: text, or with `binary` a bytea. data NULL: NULL. */
typedef struct postgres_param {
    const char *data;
    size_t len; /* of bytea */
    int32_t binary;
} postgres_param;

/* The rows of a statement; columns must be text, or bytea. */
typedef struct pg_result postgres_rows;

/* Runs a statement. *rows_out (may be NULL) gets what it answered; free it.
 * Statuses: OK; EXISTS (unique key); EXHAUSTED with session->again (serialization, deadlock);
 * INVALID (a value that a column cannot hold); CONFIG (no such table, no such database); AUTH,
 * UNAVAILABLE, TIMEOUT, CANCELLED, NO_SPACE, CORRUPT, IO, NOMEM. */
shardy_status shardy__postgres_run(postgres_session *session, const char *sql,
    const postgres_param *params, size_t count, postgres_rows **rows_out, shardy_error *err);
void shardy__postgres_rows_free(postgres_rows *rows); /* NULL is fine */

size_t shardy__postgres_row_count(const postgres_rows *rows);
/* A value with a zero behind it; NULL for NULL. *len_out may be NULL. */
const char *shardy__postgres_value(
    const postgres_rows *rows, size_t row, int column, size_t *len_out);

/* Commits. When it fails with `lost` and `committing` set, nobody knows whether it was done. */
shardy_status shardy__postgres_commit(postgres_session *session, shardy_error *err);
/* Ends a session: what was not committed is rolled back. */
void shardy__postgres_end(postgres_session *session);

#endif
