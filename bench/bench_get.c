/* bench_get: single gets, batches of 1000 and absent keys through the public reader, against
 * sqlite3 on the same shard file and against LMDB with the same rows.
 *
 *   bench_get [--rows=N] [--rounds=N] [--dir=DIR]
 *   bench_get --mode=KIND --count=N    counted by valgrind: one of the names of `kinds` below
 *   bench_get --mode=build             the snapshot and the LMDB file that those read
 *   bench_get --mode=versions          of the peers
 *
 * 16-byte keys, 100-byte values, uniform hits, one shard, everything warm: before the first round
 * each side has been asked for each key, so that chunks are checked and pages mapped. sqlite3 has
 * the file mapped whole, opened as immutable, one prepared statement and one read transaction
 * around all; LMDB its file mapped, as it always is, and one read transaction. Each value that is
 * found is touched at both ends. Each measurement asks for other keys than the one before it, and
 * every second round measures in the opposite order. */
#include "support/bench.h"
#include "support/sqlite_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SHARDY_BENCH_HAVE_LMDB
#include <lmdb.h>
#endif

#define BATCH 1000u
#define ASKED 200000u

/* Values are added up here, so that no compiler leaves their reading out. */
static volatile uint64_t touched;

static uint64_t touch(const void *data, size_t len)
{
    const uint8_t *p = data;
    return (uint64_t)p[0] + p[len - 1];
}

typedef struct bench {
    const bench_options *options;
    const shardy_reader *reader;
    sqlite3 *sqlite;
    sqlite3_stmt *sqlite_get;
    sqlite3_stmt *sqlite_in; /* k IN (?, ... 1000 of them) */
#ifdef SHARDY_BENCH_HAVE_LMDB
    MDB_env *lmdb;
    MDB_txn *lmdb_txn;
    MDB_dbi lmdb_dbi;
#endif
    uint8_t *keys; /* sorted */
    uint8_t *asked;
} bench;

/* --- ours ------------------------------------------------------------------------------------- */

static void ours_get(bench *b, const uint8_t *keys, size_t n, int present)
{
    uint64_t sum = 0;
    shardy_status expect = present ? SHARDY_OK : SHARDY_NOT_FOUND;
    for (size_t i = 0; i < n; i++) {
        shardy_key key = shardy_key_bytes(keys + i * BENCH_KEY_LEN, BENCH_KEY_LEN);
        shardy_buf value;
        shardy_status st = shardy_reader_get(b->reader, &key, NULL, &value, NULL);
        bench_need(st == expect, "get");
        if (st == SHARDY_OK) {
            sum += touch(value.data, value.len);
        }
        shardy_buf_release(&value);
    }
    touched += sum;
}

static void ours_multi_get(bench *b, const uint8_t *keys, size_t n, int present)
{
    static shardy_key batch[BATCH];
    uint64_t sum = 0;
    shardy_status expect = present ? SHARDY_OK : SHARDY_NOT_FOUND;
    for (size_t i = 0; i < n; i += BATCH) {
        size_t count = n - i < BATCH ? n - i : BATCH;
        for (size_t j = 0; j < count; j++) {
            batch[j] = shardy_key_bytes(keys + (i + j) * BENCH_KEY_LEN, BENCH_KEY_LEN);
        }
        shardy_values values;
        bench_need(
            shardy_reader_multi_get(b->reader, batch, count, NULL, &values, NULL) == SHARDY_OK,
            "multi_get");
        for (size_t j = 0; j < count; j++) {
            bench_need(values.values[j].status == expect, "multi_get: a key");
            if (present) {
                sum += touch(values.values[j].bytes.data, values.values[j].bytes.len);
            }
        }
        shardy_values_dispose(&values);
    }
    touched += sum;
}

/* --- sqlite3 ---------------------------------------------------------------------------------- */

static void sqlite_open(bench *b, const char *file)
{
    b->sqlite = bench_sqlite_open(file);
    bench_sql(b->sqlite, "PRAGMA cache_size=-262144");
    bench_sql(b->sqlite, "BEGIN");
    b->sqlite_get = bench_prepare(b->sqlite, "SELECT v FROM kv WHERE k = ?");
    size_t size = 2 * BATCH + 64;
    char *sql = bench_alloc(size, 1);
    size_t len = (size_t)snprintf(sql, size, "SELECT k, v FROM kv WHERE k IN (?");
    for (size_t i = 1; i < BATCH; i++) {
        memcpy(sql + len, ",?", 2);
        len += 2;
    }
    sql[len] = ')';
    b->sqlite_in = bench_prepare(b->sqlite, sql);
    free(sql);
}

static void sqlite_get(bench *b, const uint8_t *keys, size_t n, int present)
{
    uint64_t sum = 0;
    sqlite3_stmt *statement = b->sqlite_get;
    for (size_t i = 0; i < n; i++) {
        sqlite3_bind_blob(statement, 1, keys + i * BENCH_KEY_LEN, BENCH_KEY_LEN, SQLITE_STATIC);
        int row = sqlite3_step(statement) == SQLITE_ROW;
        bench_need(row == present, "sqlite3 get");
        if (row) {
            sum += touch(
                sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
        }
        sqlite3_reset(statement);
    }
    touched += sum;
}

static void sqlite_get_in(bench *b, const uint8_t *keys, size_t n, int present)
{
    uint64_t sum = 0;
    sqlite3_stmt *statement = b->sqlite_in;
    bench_need(n % BATCH == 0, "whole batches");
    for (size_t i = 0; i < n; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            sqlite3_bind_blob(statement, (int)j + 1, keys + (i + j) * BENCH_KEY_LEN, BENCH_KEY_LEN,
                SQLITE_STATIC);
        }
        int rows = 0;
        while (sqlite3_step(statement) == SQLITE_ROW) {
            sum += touch(sqlite3_column_blob(statement, 0), BENCH_KEY_LEN);
            sum += touch(
                sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));
            rows++;
        }
        bench_need((rows > 0) == present, "sqlite3 IN");
        sqlite3_reset(statement);
    }
    touched += sum;
}

static void sqlite_close(bench *b)
{
    sqlite3_finalize(b->sqlite_get);
    sqlite3_finalize(b->sqlite_in);
    sqlite3_close(b->sqlite);
}

/* --- LMDB ------------------------------------------------------------------------------------- */

#ifdef SHARDY_BENCH_HAVE_LMDB
static void lmdb_build(const bench *b)
{
    char *path = bench_fresh_dir(b->options->dir, "lmdb");
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    bench_need(mdb_env_create(&env) == 0, "mdb_env_create");
    mdb_env_set_mapsize(env, (1u << 20) + b->options->rows * 256);
    bench_need(mdb_env_open(env, path, MDB_NOSYNC, 0644) == 0, "mdb_env_open");
    bench_need(mdb_txn_begin(env, NULL, 0, &txn) == 0, "mdb_txn_begin");
    bench_need(mdb_dbi_open(txn, NULL, 0, &dbi) == 0, "mdb_dbi_open");
    uint8_t value[BENCH_VALUE_LEN];
    for (size_t i = 0; i < b->options->rows; i++) {
        uint8_t copy[BENCH_KEY_LEN];
        memcpy(copy, b->keys + i * BENCH_KEY_LEN, sizeof copy);
        bench_value(copy, value);
        MDB_val k = {sizeof copy, copy};
        MDB_val v = {sizeof value, value};
        bench_need(mdb_put(txn, dbi, &k, &v, MDB_APPEND) == 0, "mdb_put");
    }
    bench_need(mdb_txn_commit(txn) == 0, "mdb_txn_commit");
    mdb_env_close(env);
    free(path);
}

static void lmdb_open(bench *b)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/lmdb", b->options->dir);
    bench_need(mdb_env_create(&b->lmdb) == 0, "mdb_env_create");
    bench_need(mdb_env_open(b->lmdb, path, MDB_RDONLY | MDB_NOLOCK, 0644) == 0, "mdb_env_open");
    bench_need(mdb_txn_begin(b->lmdb, NULL, MDB_RDONLY, &b->lmdb_txn) == 0, "mdb_txn_begin");
    bench_need(mdb_dbi_open(b->lmdb_txn, NULL, 0, &b->lmdb_dbi) == 0, "mdb_dbi_open");
}

static void lmdb_get(bench *b, const uint8_t *keys, size_t n, int present)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t copy[BENCH_KEY_LEN];
        memcpy(copy, keys + i * BENCH_KEY_LEN, sizeof copy);
        MDB_val k = {sizeof copy, copy};
        MDB_val v;
        int found = mdb_get(b->lmdb_txn, b->lmdb_dbi, &k, &v) == 0;
        bench_need(found == present, "mdb_get");
        if (found) {
            sum += touch(v.mv_data, v.mv_size);
        }
    }
    touched += sum;
}

static void lmdb_close(bench *b)
{
    mdb_txn_abort(b->lmdb_txn);
    mdb_env_close(b->lmdb);
}
#endif

/* --- rounds ----------------------------------------------------------------------------------- */

enum {
    OURS_GET,
    OURS_MULTI,
    OURS_ABSENT,
    OURS_MULTI_ABSENT,
    SQLITE_GET,
    SQLITE_IN,
    SQLITE_ABSENT,
    LMDB_GET,
    LMDB_ABSENT,
    KINDS
};

typedef struct kind {
    const char *name; /* NULL: not in this build */
    void (*ask)(bench *b, const uint8_t *keys, size_t n, int present);
    int present;
} kind;

static const kind kinds[KINDS] = {
    [OURS_GET] = {"ours-get", ours_get, 1},
    [OURS_MULTI] = {"ours-multi_get", ours_multi_get, 1},
    [OURS_ABSENT] = {"ours-absent", ours_get, 0},
    [OURS_MULTI_ABSENT] = {"ours-multi_get_absent", ours_multi_get, 0},
    [SQLITE_GET] = {"sqlite-get", sqlite_get, 1},
    [SQLITE_IN] = {"sqlite-in", sqlite_get_in, 1},
    [SQLITE_ABSENT] = {"sqlite-absent", sqlite_get, 0},
#ifdef SHARDY_BENCH_HAVE_LMDB
    [LMDB_GET] = {"lmdb-get", lmdb_get, 1},
    [LMDB_ABSENT] = {"lmdb-absent", lmdb_get, 0},
#endif
};

/* What is compared. The goals are stated for 1 and 10 million rows. */
static const struct {
    const char *name;
    const char *peer_name;
    int ours;
    int peer;
    double goal_1m;
    double goal_10m;
} pairs[] = {{"get", "sqlite3", OURS_GET, SQLITE_GET, 4, 3},
    {"multi_get_1000", "sqlite3, one by one", OURS_MULTI, SQLITE_GET, 10, 8},
    {"multi_get_1000", "sqlite3, k IN (1000)", OURS_MULTI, SQLITE_IN, 10, 8},
    {"get_absent", "sqlite3", OURS_ABSENT, SQLITE_ABSENT, 0, 0},
    {"get_absent", "our get of present keys", OURS_ABSENT, OURS_GET, 1, 1},
    {"multi_get_1000_absent", "our multi_get of present keys", OURS_MULTI_ABSENT, OURS_MULTI, 1, 1},
    {"get", "lmdb", OURS_GET, LMDB_GET, 0, 0},
    {"multi_get_1000", "lmdb, one by one", OURS_MULTI, LMDB_GET, 0, 0},
    {"get_absent", "lmdb", OURS_ABSENT, LMDB_ABSENT, 0, 0}};

/* Nanoseconds per key. */
static double measure(bench *b, const kind *k)
{
    if (k->present) {
        bench_pick(b->keys, b->options->rows, b->asked, ASKED);
    } else {
        bench_random_keys(b->asked, ASKED);
    }
    double start = bench_now_ns();
    k->ask(b, b->asked, ASKED, k->present);
    return (bench_now_ns() - start) / ASKED;
}

static void run_rounds(bench *b)
{
    double(*cost)[BENCH_ROUNDS_MAX] = bench_alloc(KINDS, sizeof *cost);
    for (int r = -1; r < b->options->rounds; r++) {
        for (int i = 0; i < KINDS; i++) {
            int which = r % 2 == 0 ? i : KINDS - 1 - i;
            if (kinds[which].name) {
                cost[which][r < 0 ? 0 : r] = measure(b, &kinds[which]); /* -1: to warm up */
            }
        }
    }
    size_t rows = b->options->rows;
    bench_sample *sample = bench_alloc(1, sizeof *sample);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!kinds[pairs[i].peer].name) {
            continue;
        }
        memcpy(sample->ours, cost[pairs[i].ours], sizeof sample->ours);
        memcpy(sample->peer, cost[pairs[i].peer], sizeof sample->peer);
        bench_line line = {pairs[i].name, pairs[i].peer_name, "ns", rows, 0, NULL};
        line.goal = rows == 1000000 ? pairs[i].goal_1m : rows == 10000000 ? pairs[i].goal_10m : 0;
        bench_report(&line, sample, b->options->rounds);
    }
    free(sample);
    free(cost);
}

/* One of a mode of its own is all that this process does: bench/run subtracts a run of fewer keys
 * from one of more. What is done once, above all checking digests, is done for each chunk before
 * that by asking for a key in every 32 KiB, and so is in both. */
static void run_mode(bench *b)
{
    const kind *k = NULL;
    size_t n = b->options->count;
    for (int i = 0; i < KINDS; i++) {
        if (kinds[i].name && strcmp(kinds[i].name, b->options->mode) == 0) {
            k = &kinds[i];
        }
    }
    bench_need(k != NULL, b->options->mode);
    for (size_t i = 0; k->ask == ours_get && i < b->options->rows; i += 256) {
        ours_get(b, b->keys + i * BENCH_KEY_LEN, 1, 1);
    }
    for (size_t i = 0; k->ask == ours_multi_get && i < b->options->rows; i += 256) {
        ours_multi_get(b, b->keys + i * BENCH_KEY_LEN, 1, 1);
    }
    uint8_t *asked = bench_alloc(n, BENCH_KEY_LEN);
    if (k->present) {
        bench_pick(b->keys, b->options->rows, asked, n);
    } else {
        bench_random_keys(asked, n);
    }
    k->ask(b, asked, n, k->present);
    free(asked);
}

static void print_versions(void)
{
#ifdef __clang__
    const char *compiler = __VERSION__; /* begins with its name */
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    printf("{\"compiler\":\"%s\",\"sqlite3\":\"%s\"", compiler, sqlite3_libversion());
#ifdef SHARDY_BENCH_HAVE_LMDB
    printf(",\"lmdb\":\"%d.%d.%d\"", MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH);
#endif
    printf("}\n");
}

static void build(bench *b, const char *path)
{
    free(bench_fresh_dir(b->options->dir, "get"));
    bench_build_snapshot(path, b->keys, b->options->rows, NULL);
#ifdef SHARDY_BENCH_HAVE_LMDB
    lmdb_build(b);
#endif
}

static void read_all(bench *b, const char *path)
{
    shardy_error err;
    shardy_reader *reader;
    bench_check(shardy_reader_open(NULL, path, NULL, &reader, &err), "open", &err);
    b->reader = reader;
    char *file = bench_shard_file(path);
    sqlite_open(b, file);
#ifdef SHARDY_BENCH_HAVE_LMDB
    lmdb_open(b);
#endif
    if (b->options->mode) {
        run_mode(b);
    } else {
        ours_get(b, b->keys, b->options->rows, 1);
        sqlite_get(b, b->keys, b->options->rows, 1);
#ifdef SHARDY_BENCH_HAVE_LMDB
        lmdb_get(b, b->keys, b->options->rows, 1);
#endif
        run_rounds(b);
    }
#ifdef SHARDY_BENCH_HAVE_LMDB
    lmdb_close(b);
#endif
    sqlite_close(b);
    shardy_reader_close(reader);
    free(file);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench b;
    char path[4096];
    bench_init(argc, argv, &o);
    if (o.mode && strcmp(o.mode, "versions") == 0) {
        print_versions();
        return 0;
    }
    bench_pin_to_one_core();
    memset(&b, 0, sizeof b);
    b.options = &o;
    b.keys = bench_alloc(o.rows, BENCH_KEY_LEN);
    b.asked = bench_alloc(ASKED, BENCH_KEY_LEN);
    bench_random_keys(b.keys, o.rows);
    bench_sort_keys(b.keys, o.rows);
    snprintf(path, sizeof path, "%s/get", o.dir);
    int build_only = o.mode && strcmp(o.mode, "build") == 0;
    if (!o.mode || build_only) {
        build(&b, path);
    }
    if (!build_only) {
        read_all(&b, path);
    }
    free(b.keys);
    free(b.asked);
    return 0;
}
