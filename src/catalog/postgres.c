#include "postgres.h"

#include "../base/alloc.h"
#include "../base/fault.h"
#include "../base/thread.h"
#include "../base/utf8.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Longest wait without a look at the cancel token. */
#define POLL_MS 50
/* What is kept of a message of the server. */
#define MESSAGE_MAX 400u
/* Settings of the connection string, and ours behind them. */
#define KEYWORDS_MAX 96u

static const char domain[] = "postgres";

struct postgres {
    shardy_context *context; /* borrowed */
    PQconninfoOption *parsed;
    const char *keywords[KEYWORDS_MAX];
    const char *values[KEYWORDS_MAX];
    postgres_step_fn step;
    void *step_user;
    uint64_t process;
    mutex lock;   /* rank: leaf; guards what follows */
    PGconn *idle; /* NULL: there is none */
};

/* --- life ------------------------------------------------------------------------------------- */

static shardy_status fill_settings(postgres *db, shardy_error *err)
{
    static const char *const ours[][2] = {
        {"client_encoding", "UTF8"},
        {"fallback_application_name", "libshardyfusion"},
    };
    size_t n = 0;
    for (const PQconninfoOption *o = db->parsed; o->keyword; o++) {
        if (!o->val) {
            continue;
        }
        if (n + 1 + sizeof ours / sizeof ours[0] >= KEYWORDS_MAX) {
            return shardy__error(
                err, SHARDY_CONFIG, domain, "the connection string has too many settings");
        }
        db->keywords[n] = o->keyword;
        db->values[n++] = o->val;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        db->keywords[n] = ours[i][0];
        db->values[n++] = ours[i][1];
    }
    return SHARDY_OK;
}

/* Whether a URL has more than the one "@" before its host: a part of the password is taken for the
 * host then, or for the database, and the messages about these show it. */
static int is_ambiguous(const char *dsn)
{
    const char *rest = strncmp(dsn, "postgresql://", 13) == 0 ? dsn + 13
                       : strncmp(dsn, "postgres://", 11) == 0 ? dsn + 11
                                                              : "";
    const char *end = rest + strcspn(rest, "@/");
    rest = *end == '@' ? end + 1 : rest;
    return memchr(rest, '@', strcspn(rest, "?")) != NULL;
}

shardy_status shardy__postgres_open(
    shardy_context *context, const postgres_options *options, postgres **out, shardy_error *err)
{
    *out = NULL;
    if (is_ambiguous(options->dsn)) {
        return shardy__error(err, SHARDY_CONFIG, domain,
            "the connection string (dsn) has an \"@\" too many: in a user, password or name of a "
            "database an \"@\" is written %%40, and a \"/\" %%2F");
    }
    postgres *db = shardy__calloc(1, sizeof *db);
    if (!db) {
        return shardy__error_nomem(err, domain);
    }
    char *ignored = NULL; /* it may quote the string, and with it the password */
    db->parsed = PQconninfoParse(options->dsn, &ignored);
    PQfreemem(ignored);
    shardy_status st =
        db->parsed ? fill_settings(db, err)
                   : shardy__error(err, SHARDY_CONFIG, domain,
                         "the connection string (dsn) cannot be parsed; expected \"host=... "
                         "dbname=... user=...\" or \"postgresql://user@host/dbname\"");
    if (st < 0) {
        PQconninfoFree(db->parsed);
        shardy__free(db);
        return st;
    }
    db->context = context;
    db->step = options->step;
    db->step_user = options->step_user;
    db->process = shardy__process_generation();
    shardy__mutex_init(&db->lock);
    *out = db;
    return SHARDY_OK;
}

void shardy__postgres_close(postgres *db)
{
    if (!db) {
        return;
    }
    if (db->process == shardy__process_generation()) {
        /* in a child process the connection is still the parent's */
        PQfinish(db->idle);
        shardy__mutex_destroy(&db->lock);
    }
    PQconninfoFree(db->parsed);
    shardy__free(db);
}

/* --- messages --------------------------------------------------------------------------------- */

static int holds_secret(const postgres *db, const PGconn *conn, const char *text)
{
    const char *password = conn ? PQpass(conn) : NULL;
    if (password && password[0] && strstr(text, password)) {
        return 1;
    }
    for (const PQconninfoOption *o = db->parsed; o->keyword; o++) {
        int secret = strcmp(o->keyword, "password") == 0 || strcmp(o->keyword, "sslpassword") == 0;
        if (secret && o->val && o->val[0] && strstr(text, o->val)) {
            return 1;
        }
    }
    return 0;
}

/* One line of valid UTF-8 without the password. */
static void clean_message(
    const postgres *db, const PGconn *conn, const char *text, char out[MESSAGE_MAX])
{
    size_t n = 0;
    int blank = 1;
    if (!text || holds_secret(db, conn, text)) {
        snprintf(out, MESSAGE_MAX, "%s",
            text ? "(the message is not shown: it holds a password)" : "(no message)");
        return;
    }
    int utf8 = shardy__utf8_valid(text, strlen(text));
    for (const char *p = text; *p && n < MESSAGE_MAX - 1; p++) {
        int is_blank = *p == ' ' || (*p >= '\t' && *p <= '\r');
        if (!is_blank) {
            out[n++] = !utf8 && (*p & 0x80) ? '?' : *p;
        } else if (!blank) {
            out[n++] = ' ';
        }
        blank = is_blank;
    }
    int cut = n == MESSAGE_MAX - 1; /* perhaps in the middle of a character */
    while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == '.' || (cut && (out[n - 1] & 0x80)))) {
        n--;
    }
    out[n] = '\0';
}

/* The connection is gone, or was never made. */
static shardy_status drop(postgres_session *s)
{
    PQfinish(s->conn);
    s->conn = NULL;
    s->lost = 1;
    s->again = s->reused && !s->committing;
    return SHARDY_UNAVAILABLE;
}

static shardy_status connect_failed(postgres_session *s, shardy_error *err)
{
    char message[MESSAGE_MAX];
    int refused = PQconnectionUsedPassword(s->conn) || PQconnectionNeedsPassword(s->conn);
    clean_message(s->db, s->conn, PQerrorMessage(s->conn), message);
    drop(s);
    if (refused) {
        return shardy__error(
            err, SHARDY_AUTH, domain, "the server refused the connection: %s", message);
    }
    return shardy__error_native(
        err, SHARDY_UNAVAILABLE, 1, 0, domain, "cannot connect: %s", message);
}

static shardy_status connection_lost(postgres_session *s, shardy_error *err)
{
    char message[MESSAGE_MAX];
    clean_message(s->db, s->conn, PQerrorMessage(s->conn), message);
    drop(s);
    return shardy__error_native(
        err, SHARDY_UNAVAILABLE, 1, 0, domain, "the connection was lost: %s", message);
}

/* What the server means by a SQLSTATE. */
typedef struct state_meaning {
    const char *prefix; /* the longest first */
    shardy_status status;
    int32_t retriable;
} state_meaning;

static const state_meaning meanings[] = {
    {"23505", SHARDY_EXISTS, 0},
    {"25006", SHARDY_CONFIG, 0}, /* a server that only reads */
    {"3D000", SHARDY_CONFIG, 0},
    {"3F000", SHARDY_CONFIG, 0},
    {"42501", SHARDY_AUTH, 0},
    {"42P01", SHARDY_CONFIG, 0},
    {"42703", SHARDY_CONFIG, 0}, /* a table of that name that is another one */
    {"42804", SHARDY_CONFIG, 0},
    {"53100", SHARDY_NO_SPACE, 0},
    {"57014", SHARDY_TIMEOUT, 1},
    {"XX001", SHARDY_CORRUPT, 0},
    {"XX002", SHARDY_CORRUPT, 0},
    {"08", SHARDY_UNAVAILABLE, 1},
    {"22", SHARDY_INVALID, 0},
    {"28", SHARDY_AUTH, 0},
    {"40", SHARDY_EXHAUSTED, 1},
    {"53", SHARDY_EXHAUSTED, 1},
    {"54", SHARDY_INVALID, 0},
    {"57", SHARDY_UNAVAILABLE, 1},
};

static shardy_status statement_failed(
    postgres_session *s, const PGresult *result, shardy_error *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char message[MESSAGE_MAX];
    if (PQstatus(s->conn) == CONNECTION_BAD) {
        return connection_lost(s, err);
    }
    clean_message(s->db, s->conn, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), message);
    snprintf(s->sqlstate, sizeof s->sqlstate, "%s", state ? state : "");
    s->again = strcmp(s->sqlstate, "40001") == 0 || strcmp(s->sqlstate, "40P01") == 0;
    shardy_status st = SHARDY_IO;
    int retriable = 0;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strncmp(s->sqlstate, meanings[i].prefix, strlen(meanings[i].prefix)) == 0) {
            st = meanings[i].status;
            retriable = meanings[i].retriable;
            break;
        }
    }
    return shardy__error_native(
        err, st, retriable, 0, domain, "%s (SQLSTATE %s)", message, s->sqlstate);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Until the socket is ready. The connection is dropped when the time is over: the server gives up
 * by its own timeouts, which were set when the transaction began. */
static shardy_status wait_socket(
    postgres_session *s, short events, short *ready_out, shardy_error *err)
{
    *ready_out = 0;
    for (;;) {
        shardy_status st = shardy__check_time(
            s->db->context, s->limits.deadline_ns, s->limits.cancel, domain, err);
        if (st < 0) {
            drop(s);
            s->again = 0;
            return st;
        }
        struct pollfd fd = {PQsocket(s->conn), events, 0};
        int n = poll(&fd, 1, POLL_MS);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return connection_lost(s, err);
        }
        if (n > 0) {
            *ready_out = fd.revents;
            return SHARDY_OK;
        }
    }
}

static shardy_status fault_drop(postgres_session *s, shardy_error *err)
{
    drop(s);
    return shardy__error_native(
        err, SHARDY_UNAVAILABLE, 1, 0, domain, "the connection was lost: a test wants it so");
}

static void ignore_notice(void *user, const PGresult *result)
{
    (void)user;
    (void)result;
}

static shardy_status connect_now(postgres_session *s, shardy_error *err)
{
    if (shardy__fault(SHARDY_FAULT_DATABASE)) {
        return fault_drop(s, err);
    }
    s->conn = PQconnectStartParams(s->db->keywords, s->db->values, 0);
    if (!s->conn) {
        return shardy__error_nomem(err, domain);
    }
    PQsetNoticeReceiver(s->conn, ignore_notice, NULL);
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (PQstatus(s->conn) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
           state != PGRES_POLLING_FAILED) {
        short ready;
        SHARDY_TRY(wait_socket(s, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, &ready, err));
        state = PQconnectPoll(s->conn);
    }
    if (PQstatus(s->conn) != CONNECTION_OK || PQsetnonblocking(s->conn, 1) != 0) {
        return connect_failed(s, err);
    }
    return SHARDY_OK;
}

/* Sends what is to be sent; reads meanwhile, so that neither side waits for the other. */
static shardy_status flush_all(postgres_session *s, shardy_error *err)
{
    int left;
    while ((left = PQflush(s->conn)) > 0) {
        short ready;
        SHARDY_TRY(wait_socket(s, POLLIN | POLLOUT, &ready, err));
        if ((ready & POLLIN) && !PQconsumeInput(s->conn)) {
            return connection_lost(s, err);
        }
    }
    return left < 0 ? connection_lost(s, err) : SHARDY_OK;
}

/* The first failure, else the last answer. */
static shardy_status take_result(postgres_session *s, PGresult **result_out, shardy_error *err)
{
    *result_out = NULL;
    for (;;) {
        while (PQisBusy(s->conn)) {
            short ready;
            SHARDY_TRY(wait_socket(s, POLLIN, &ready, err));
            if (!PQconsumeInput(s->conn)) {
                return connection_lost(s, err);
            }
        }
        PGresult *next = PQgetResult(s->conn);
        if (!next) {
            return SHARDY_OK;
        }
        if (*result_out && PQresultStatus(*result_out) == PGRES_FATAL_ERROR) {
            PQclear(next);
        } else {
            PQclear(*result_out);
            *result_out = next;
        }
    }
}

/* Sends one statement, or without parameters several, and waits for the answer. */
static shardy_status exchange(postgres_session *s, const char *sql, const postgres_param *params,
    size_t count, PGresult **result_out, shardy_error *err)
{
    const char *values[POSTGRES_PARAMS_MAX];
    int lengths[POSTGRES_PARAMS_MAX];
    int formats[POSTGRES_PARAMS_MAX];
    *result_out = NULL;
    for (size_t i = 0; i < count; i++) {
        if (params[i].len > INT32_MAX) {
            return shardy__error(
                err, SHARDY_INVALID, domain, "a value has %zu bytes", params[i].len);
        }
        values[i] = params[i].data;
        lengths[i] = (int)params[i].len;
        formats[i] = params[i].binary;
    }
    if (s->db->step) {
        s->db->step(s->db->step_user, sql);
    }
    if (shardy__fault(SHARDY_FAULT_DATABASE)) {
        return fault_drop(s, err);
    }
    int sent = params
                   ? PQsendQueryParams(s->conn, sql, (int)count, NULL, values, lengths, formats, 1)
                   : PQsendQuery(s->conn, sql);
    if (!sent) {
        return connection_lost(s, err);
    }
    SHARDY_TRY(flush_all(s, err));
    shardy_status st = take_result(s, result_out, err);
    if (st >= 0 && shardy__fault(SHARDY_FAULT_DATABASE)) {
        /* done, but the answer does not arrive */
        st = fault_drop(s, err);
    }
    if (st >= 0 && !*result_out) {
        st = connection_lost(s, err);
    }
    return st;
}

shardy_status shardy__postgres_run(postgres_session *s, const char *sql,
    const postgres_param *params, size_t count, postgres_rows **rows_out, shardy_error *err)
{
    PGresult *result = NULL;
    if (rows_out) {
        *rows_out = NULL;
    }
    s->again = 0;
    s->sqlstate[0] = '\0';
    SHARDY_CHECK_ARG(s->conn && count <= POSTGRES_PARAMS_MAX);
    shardy_status st = exchange(s, sql, params, count, &result, err);
    if (st >= 0) {
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
            s->reused = 0;
        } else {
            st = statement_failed(s, result, err);
        }
    }
    if (st >= 0 && rows_out) {
        *rows_out = result;
    } else {
        PQclear(result);
    }
    return st;
}

void shardy__postgres_rows_free(postgres_rows *rows)
{
    PQclear(rows);
}

size_t shardy__postgres_row_count(const postgres_rows *rows)
{
    return (size_t)PQntuples(rows);
}

const char *shardy__postgres_value(
    const postgres_rows *rows, size_t row, int column, size_t *len_out)
{
    int is_null = PQgetisnull(rows, (int)row, column);
    if (len_out) {
        *len_out = is_null ? 0 : (size_t)PQgetlength(rows, (int)row, column);
    }
    return is_null ? NULL : PQgetvalue(rows, (int)row, column);
}

/* --- transactions ----------------------------------------------------------------------------- */

static PGconn *take_idle(postgres *db)
{
    shardy__mutex_lock(&db->lock);
    PGconn *conn = db->idle;
    db->idle = NULL;
    shardy__mutex_unlock(&db->lock);
    return conn;
}

static shardy_status send_begin(postgres_session *s, postgres_mode mode, shardy_error *err)
{
    static const char *const begins[] = {
        "ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "ISOLATION LEVEL READ COMMITTED READ ONLY",
        "ISOLATION LEVEL SERIALIZABLE READ WRITE",
        "ISOLATION LEVEL READ COMMITTED READ WRITE",
    };
    /* The server gives up when we do, also while we are not there any more. */
    int64_t left_ms = (s->limits.deadline_ns - shardy__monotonic_ns(s->db->context)) / 1000000;
    left_ms = left_ms < 1 ? 1 : left_ms > INT32_MAX ? INT32_MAX : left_ms;
    char sql[300];
    snprintf(sql, sizeof sql,
        "BEGIN %s; SET LOCAL statement_timeout = %lld; "
        "SET LOCAL idle_in_transaction_session_timeout = %lld",
        begins[mode], (long long)left_ms, (long long)left_ms);
    return shardy__postgres_run(s, sql, NULL, 0, NULL, err);
}

shardy_status shardy__postgres_begin(postgres *db, postgres_mode mode,
    const shardy_store_limits *limits, postgres_session *s, shardy_error *err)
{
    memset(s, 0, sizeof *s);
    s->db = db;
    s->limits = *limits;
    SHARDY_TRY(shardy__check_process(db->process, err));
    SHARDY_TRY(shardy__check_time(db->context, limits->deadline_ns, limits->cancel, domain, err));
    s->conn = take_idle(db);
    s->reused = s->conn != NULL;
    if (!s->conn) {
        SHARDY_TRY(connect_now(s, err));
    }
    return send_begin(s, mode, err);
}

shardy_status shardy__postgres_commit(postgres_session *s, shardy_error *err)
{
    PGresult *result = NULL;
    s->committing = 1;
    shardy_status st = shardy__postgres_run(s, "COMMIT", NULL, 0, &result, err);
    s->committing = s->lost;
    if (st >= 0 && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        st = shardy__error(err, SHARDY_INTERNAL, domain, "a failed transaction was committed");
    }
    PQclear(result);
    return st;
}

void shardy__postgres_end(postgres_session *s)
{
    postgres *db = s->db;
    if (s->conn && PQtransactionStatus(s->conn) != PQTRANS_IDLE) {
        int32_t again = s->again;
        char sqlstate[sizeof s->sqlstate];
        shardy_error ignored;
        memcpy(sqlstate, s->sqlstate, sizeof sqlstate);
        (void)shardy__postgres_run(s, "ROLLBACK", NULL, 0, NULL, &ignored);
        memcpy(s->sqlstate, sqlstate, sizeof sqlstate);
        s->again = again;
    }
    if (!s->conn) {
        return;
    }
    PGconn *spare = s->conn;
    s->conn = NULL;
    if (PQstatus(spare) == CONNECTION_OK && PQtransactionStatus(spare) == PQTRANS_IDLE) {
        shardy__mutex_lock(&db->lock);
        PGconn *other = db->idle;
        db->idle = spare;
        spare = other;
        shardy__mutex_unlock(&db->lock);
    }
    PQfinish(spare);
}
