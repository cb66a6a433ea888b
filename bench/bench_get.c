/* bench_get: single gets, batches of 1000 and absent keys through the public reader, against
 * sqlite3 on the same shard file and against LMDB with the same rows.
 *
 *   bench_get [--rows=N] [--rounds=N] [--dir=DIR]
 *   bench_get --mode=ours-get|ours-multi_get|sqlite-get --count=N    counted by valgrind
 *
 * 16-byte keys, 100-byte values, uniform hits, one shard, everything warm: before the first round
 * each chunk of the shard has been checked and each page read. sqlite3 has the file mapped whole,
 * opened as immutable, one prepared statement and one read transaction around all; LMDB one read
 * transaction. Each value that is found is touched at both ends. */
#include "support/bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SHARDY_BENCH_HAVE_LMDB
#include <lmdb.h>
#endif

#define BATCH 1000u
#define ASKED 200000u

static volatile uint64_t touched;

static uint64_t touch(const void *data, size_t len)
{
    const uint8_t *p = data;
    return (uint64_t)p[0] + p[len - 1];
}

/* --- ours ------------------------------------------------------------------------------------- */

static double ours_get(
    const shardy_reader *reader, const uint8_t *keys, size_t n, shardy_status expect)
{
    uint64_t sum = 0;
    double start = bench_now_ns();
    for (size_t i = 0; i < n; i++) {
        shardy_key key = shardy_key_bytes(keys + i * BENCH_KEY_LEN, BENCH_KEY_LEN);
        shardy_buf value;
        shardy_status st = shardy_reader_get(reader, &key, NULL, &value, NULL);
        bench_need(st == expect, "get");
        if (st == SHARDY_OK) {
            sum += touch(value.data, value.len);
        }
        shardy_buf_release(&value);
    }
    touched += sum;
    return (bench_now_ns() - start) / (double)n;
}

static double ours_multi_get(const shardy_reader *reader, const uint8_t *keys, size_t n)
{
    static shardy_key batch[BATCH];
    uint64_t sum = 0;
    double start = bench_now_ns();
    for (size_t i = 0; i + BATCH <= n; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            batch[j] = shardy_key_bytes(keys + (i + j) * BENCH_KEY_LEN, BENCH_KEY_LEN);
        }
        shardy_values values;
        bench_need(shardy_reader_multi_get(reader, batch, BATCH, NULL, &values, NULL) == SHARDY_OK,
            "multi_get");
        for (size_t j = 0; j < BATCH; j++) {
            bench_need(values.values[j].status == SHARDY_OK, "multi_get: a key is absent");
            sum += touch(values.values[j].bytes.data, values.values[j].bytes.len);
        }
        shardy_values_dispose(&values);
    }
    touched += sum;
    return (bench_now_ns() - start) / (double)(n / BATCH * BATCH);
}

/* --- sqlite3 ---------------------------------------------------------------------------------- */

typedef struct sqlite_peer {
    sqlite3 *db;
    sqlite3_stmt *get;
    sqlite3_stmt *get_in; /* k IN (?, ... 1000 of them) */
} sqlite_peer;

static void run_sql(sqlite3 *db, const char *sql)
{
    bench_need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static void sqlite_open(sqlite_peer *peer, const char *file)
{
    char uri[4200];
    snprintf(uri, sizeof uri, "file:%s?immutable=1", file);
    bench_need(sqlite3_open_v2(uri, &peer->db,
                   SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK,
        "sqlite3_open_v2");
    run_sql(peer->db, "PRAGMA mmap_size=1099511627776");
    run_sql(peer->db, "PRAGMA cache_size=-262144");
    run_sql(peer->db, "BEGIN");
    bench_need(sqlite3_prepare_v2(peer->db, "SELECT v FROM kv WHERE k = ?", -1, &peer->get, NULL) ==
                   SQLITE_OK,
        "prepare");
    size_t size = 2 * BATCH + 64;
    char *sql = bench_alloc(size, 1);
    size_t len = (size_t)snprintf(sql, size, "SELECT k, v FROM kv WHERE k IN (?");
    for (size_t i = 1; i < BATCH; i++) {
        memcpy(sql + len, ",?", 2);
        len += 2;
    }
    sql[len] = ')';
    bench_need(
        sqlite3_prepare_v2(peer->db, sql, -1, &peer->get_in, NULL) == SQLITE_OK, "prepare in");
    free(sql);
}

static double sqlite_get(const sqlite_peer *peer, const uint8_t *keys, size_t n, int expect)
{
    uint64_t sum = 0;
    sqlite3_stmt *statement = peer->get;
    double start = bench_now_ns();
    for (size_t i = 0; i < n; i++) {
        sqlite3_bind_blob(statement, 1, keys + i * BENCH_KEY_LEN, BENCH_KEY_LEN, SQLITE_STATIC);
        int row = sqlite3_step(statement) == SQLITE_ROW;
        bench_need(row == expect, "sqlite3 get");
        if (row) {
            sum += touch(
                sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
        }
        sqlite3_reset(statement);
    }
    touched += sum;
    return (bench_now_ns() - start) / (double)n;
}

static double sqlite_get_in(const sqlite_peer *peer, const uint8_t *keys, size_t n)
{
    uint64_t sum = 0;
    sqlite3_stmt *statement = peer->get_in;
    double start = bench_now_ns();
    for (size_t i = 0; i + BATCH <= n; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            sqlite3_bind_blob(statement, (int)j + 1, keys + (i + j) * BENCH_KEY_LEN, BENCH_KEY_LEN,
                SQLITE_STATIC);
        }
        while (sqlite3_step(statement) == SQLITE_ROW) {
            sum += touch(
                sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));
        }
        sqlite3_reset(statement);
    }
    touched += sum;
    return (bench_now_ns() - start) / (double)(n / BATCH * BATCH);
}

static void sqlite_close(sqlite_peer *peer)
{
    sqlite3_finalize(peer->get);
    sqlite3_finalize(peer->get_in);
    sqlite3_close(peer->db);
}

/* --- LMDB ------------------------------------------------------------------------------------- */

#ifdef SHARDY_BENCH_HAVE_LMDB
typedef struct lmdb_peer {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
} lmdb_peer;

static void lmdb_open(lmdb_peer *peer, const char *dir, const uint8_t *sorted, size_t rows)
{
    char *path = bench_fresh_dir(dir, "lmdb");
    bench_need(mdb_env_create(&peer->env) == 0, "mdb_env_create");
    mdb_env_set_mapsize(peer->env, 1u << 20 | rows * 256);
    bench_need(mdb_env_open(peer->env, path, MDB_NOSYNC, 0644) == 0, "mdb_env_open");
    bench_need(mdb_txn_begin(peer->env, NULL, 0, &peer->txn) == 0, "mdb_txn_begin");
    bench_need(mdb_dbi_open(peer->txn, NULL, 0, &peer->dbi) == 0, "mdb_dbi_open");
    uint8_t value[BENCH_VALUE_LEN];
    for (size_t i = 0; i < rows; i++) {
        uint8_t copy[BENCH_KEY_LEN];
        memcpy(copy, sorted + i * BENCH_KEY_LEN, sizeof copy);
        bench_value(copy, value);
        MDB_val k = {sizeof copy, copy};
        MDB_val v = {sizeof value, value};
        bench_need(mdb_put(peer->txn, peer->dbi, &k, &v, MDB_APPEND) == 0, "mdb_put");
    }
    bench_need(mdb_txn_commit(peer->txn) == 0, "mdb_txn_commit");
    bench_need(mdb_txn_begin(peer->env, NULL, MDB_RDONLY, &peer->txn) == 0, "mdb_txn_begin");
    free(path);
}

static double lmdb_get(const lmdb_peer *peer, const uint8_t *keys, size_t n, int expect)
{
    uint64_t sum = 0;
    double start = bench_now_ns();
    for (size_t i = 0; i < n; i++) {
        uint8_t copy[BENCH_KEY_LEN];
        memcpy(copy, keys + i * BENCH_KEY_LEN, sizeof copy);
        MDB_val k = {sizeof copy, copy};
        MDB_val v;
        int found = mdb_get(peer->txn, peer->dbi, &k, &v) == 0;
        bench_need(found == expect, "mdb_get");
        if (found) {
            sum += touch(v.mv_data, v.mv_size);
        }
    }
    touched += sum;
    return (bench_now_ns() - start) / (double)n;
}

static void lmdb_close(lmdb_peer *peer)
{
    mdb_txn_abort(peer->txn);
    mdb_env_close(peer->env);
}
#endif

/* --- rounds ----------------------------------------------------------------------------------- */

typedef struct samples {
    bench_sample get;
    bench_sample multi;
    bench_sample multi_in;
    bench_sample absent;
    bench_sample present_absent; /* ours: absent, as peer: present */
    bench_sample lmdb_get;
    bench_sample lmdb_multi;
    bench_sample lmdb_absent;
} samples;

typedef struct bench {
    const bench_options *options;
    const shardy_reader *reader;
    sqlite_peer sqlite;
    uint8_t *keys; /* sorted */
    uint8_t *asked;
    uint8_t *absent;
} bench;

static void run_round(bench *b, samples *s, int at)
{
    size_t rows = b->options->rows;
    bench_pick(b->keys, rows, b->asked, ASKED);
    s->get.peer[at] = sqlite_get(&b->sqlite, b->asked, ASKED, 1);
    bench_pick(b->keys, rows, b->asked, ASKED);
    s->get.ours[at] = ours_get(b->reader, b->asked, ASKED, SHARDY_OK);
    bench_pick(b->keys, rows, b->asked, ASKED);
    s->multi_in.peer[at] = sqlite_get_in(&b->sqlite, b->asked, ASKED);
    bench_pick(b->keys, rows, b->asked, ASKED);
    s->multi.ours[at] = ours_multi_get(b->reader, b->asked, ASKED);
    s->absent.peer[at] = sqlite_get(&b->sqlite, b->absent, ASKED, 0);
    s->absent.ours[at] = ours_get(b->reader, b->absent, ASKED, SHARDY_NOT_FOUND);
    s->multi.peer[at] = s->get.peer[at];
    s->multi_in.ours[at] = s->multi.ours[at];
    s->present_absent.ours[at] = s->absent.ours[at];
    s->present_absent.peer[at] = s->get.ours[at];
}

static void report(const bench_options *o, const samples *s)
{
    size_t rows = o->rows;
    bench_line lines[] = {{"get", "sqlite3", "ns", rows, rows < 5000000 ? 4 : 3, NULL},
        {"multi_get_1000", "sqlite3, one by one", "ns", rows, rows < 5000000 ? 10 : 8, NULL},
        {"multi_get_1000", "sqlite3, k IN (1000)", "ns", rows, 0, NULL},
        {"get_absent", "sqlite3", "ns", rows, 0, NULL},
        {"get_absent", "our get of present keys", "ns", rows, 1, NULL}};
    bench_report(&lines[0], &s->get, o->rounds);
    bench_report(&lines[1], &s->multi, o->rounds);
    bench_report(&lines[2], &s->multi_in, o->rounds);
    bench_report(&lines[3], &s->absent, o->rounds);
    bench_report(&lines[4], &s->present_absent, o->rounds);
#ifdef SHARDY_BENCH_HAVE_LMDB
    bench_line lmdb[] = {{"get", "lmdb", "ns", rows, 0, NULL},
        {"multi_get_1000", "lmdb, one by one", "ns", rows, 0, NULL},
        {"get_absent", "lmdb", "ns", rows, 0, NULL}};
    bench_report(&lmdb[0], &s->lmdb_get, o->rounds);
    bench_report(&lmdb[1], &s->lmdb_multi, o->rounds);
    bench_report(&lmdb[2], &s->lmdb_absent, o->rounds);
#endif
}

static void compare(bench *b)
{
    samples *s = bench_alloc(1, sizeof *s);
#ifdef SHARDY_BENCH_HAVE_LMDB
    lmdb_peer lmdb;
    lmdb_open(&lmdb, b->options->dir, b->keys, b->options->rows);
#endif
    for (int r = -1; r < b->options->rounds; r++) {
        int at = r < 0 ? 0 : r; /* one round to warm up */
        run_round(b, s, at);
#ifdef SHARDY_BENCH_HAVE_LMDB
        bench_pick(b->keys, b->options->rows, b->asked, ASKED);
        s->lmdb_get.peer[at] = lmdb_get(&lmdb, b->asked, ASKED, 1);
        s->lmdb_absent.peer[at] = lmdb_get(&lmdb, b->absent, ASKED, 0);
        s->lmdb_get.ours[at] = s->get.ours[at];
        s->lmdb_multi.peer[at] = s->lmdb_get.peer[at];
        s->lmdb_multi.ours[at] = s->multi.ours[at];
        s->lmdb_absent.ours[at] = s->absent.ours[at];
#endif
    }
    report(b->options, s);
#ifdef SHARDY_BENCH_HAVE_LMDB
    lmdb_close(&lmdb);
#endif
    free(s);
}

/* Only `count` operations of one kind: bench/run subtracts a run of fewer from one of more. */
static void run_mode(bench *b)
{
    size_t n = b->options->count;
    const char *mode = b->options->mode;
    uint8_t *asked = bench_alloc(n, BENCH_KEY_LEN);
    bench_pick(b->keys, b->options->rows, asked, n);
    if (strcmp(mode, "ours-get") == 0) {
        ours_get(b->reader, asked, n, SHARDY_OK);
    } else if (strcmp(mode, "ours-multi_get") == 0) {
        ours_multi_get(b->reader, asked, n);
    } else if (strcmp(mode, "sqlite-get") == 0) {
        sqlite_get(&b->sqlite, asked, n, 1);
    } else {
        bench_need(strcmp(mode, "build") == 0, "an unknown mode");
    }
    free(asked);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    bench_pin_to_one_core();
    bench b = {&o, NULL, {NULL, NULL, NULL}, bench_alloc(o.rows, BENCH_KEY_LEN),
        bench_alloc(ASKED, BENCH_KEY_LEN), bench_alloc(ASKED, BENCH_KEY_LEN)};
    bench_random_keys(b.keys, o.rows);
    bench_random_keys(b.absent, ASKED);
    bench_sort_keys(b.keys, o.rows);
    char path[4096];
    snprintf(path, sizeof path, "%s/get", o.dir);
    if (!o.mode || strcmp(o.mode, "build") == 0) {
        free(bench_fresh_dir(o.dir, "get"));
        bench_build_snapshot(path, b.keys, o.rows, NULL);
    }
    shardy_error err;
    shardy_reader *reader;
    bench_check(shardy_reader_open(NULL, path, NULL, &reader, &err), "open", &err);
    b.reader = reader;
    char *file = bench_shard_file(path);
    sqlite_open(&b.sqlite, file);
    if (o.mode) {
        run_mode(&b);
    } else {
        /* Every key once: all chunks are checked, all pages are in memory. */
        ours_get(reader, b.keys, o.rows, SHARDY_OK);
        sqlite_get(&b.sqlite, b.keys, o.rows, 1);
        compare(&b);
    }
    sqlite_close(&b.sqlite);
    shardy_reader_close(reader);
    free(file);
    free(b.keys);
    free(b.asked);
    free(b.absent);
    return 0;
}
