/* bench_build: rows in random order into a snapshot of 8 shards through the public writer, against
 * sqlite3 inserting the same rows, in that order and sorted.
 *
 *   bench_build [--rows=N] [--rounds=N] [--budget=BYTES] [--dir=DIR]
 *
 * Each build runs in a process of its own (the program calls itself with --mode), so that its peak
 * resident memory is its own. A build takes rows from a generator: its cost is on both sides. Ours:
 * routing, sorting, digests, manifest and pointer included. sqlite3: one file with the schema of a
 * shard, one transaction, no journal, a page cache as large as our budget, on one thread; sorted
 * keys are sorted before the clock starts. "durable" means that everything has been synced when the
 * clock stops. `peak_over_budget_mib` is the peak resident memory less the budget. */
#define _GNU_SOURCE /* wait4 */
#include "support/bench.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARDS 8u

/* What one build in a process of its own came to. */
typedef struct figures {
    double seconds;
    double peak_mib;
} figures;

/* --- in the child ----------------------------------------------------------------------------- */

static double build_ours(const bench_options *o, const char *path)
{
    shardy_error err;
    shardy_writer_options options;
    shardy_writer *writer;
    double start = bench_now_ns();
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = SHARDS;
    options.threads = o->threads;
    options.memory_budget = o->budget;
    options.sync = o->sync;
    bench_check(shardy_writer_open(NULL, path, &options, &writer, &err), "open a writer", &err);
    uint8_t key[BENCH_KEY_LEN];
    uint8_t value[BENCH_VALUE_LEN];
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    for (size_t i = 0; i < o->rows; i++) {
        bench_random_keys(key, 1);
        bench_value(key, value);
        row.key = shardy_key_bytes(key, sizeof key);
        row.value.data = value;
        row.value.len = sizeof value;
        bench_check(shardy_writer_put(writer, &row, &err), "put", &err);
    }
    bench_check(shardy_writer_finish(writer, NULL, &err), "finish", &err);
    shardy_writer_close(writer);
    return (bench_now_ns() - start) / 1e9;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    bench_need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static void insert_all(sqlite3 *db, const bench_options *o, const uint8_t *sorted)
{
    sqlite3_stmt *insert = NULL;
    bench_need(
        sqlite3_prepare_v2(db, "INSERT INTO kv VALUES(?, ?)", -1, &insert, NULL) == SQLITE_OK,
        "prepare");
    uint8_t key[BENCH_KEY_LEN];
    uint8_t value[BENCH_VALUE_LEN];
    for (size_t i = 0; i < o->rows; i++) {
        if (sorted) {
            memcpy(key, sorted + i * BENCH_KEY_LEN, BENCH_KEY_LEN);
        } else {
            bench_random_keys(key, 1);
        }
        bench_value(key, value);
        sqlite3_bind_blob(insert, 1, key, sizeof key, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 2, value, sizeof value, SQLITE_STATIC);
        bench_need(sqlite3_step(insert) == SQLITE_DONE, "insert");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

static double build_sqlite(const bench_options *o, const char *path, int in_order)
{
    char file[4200];
    char pragma[64];
    uint8_t *sorted = NULL;
    sqlite3 *db;
    snprintf(file, sizeof file, "%s/peer.db", path);
    if (in_order) {
        sorted = bench_alloc(o->rows, BENCH_KEY_LEN);
        bench_random_keys(sorted, o->rows);
        bench_sort_keys(sorted, o->rows);
    }
    double start = bench_now_ns();
    bench_need(sqlite3_open(file, &db) == SQLITE_OK, file);
    snprintf(
        pragma, sizeof pragma, "PRAGMA cache_size=-%llu", (unsigned long long)(o->budget >> 10));
    run_sql(db, pragma);
    run_sql(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
                "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID; BEGIN");
    insert_all(db, o, sorted);
    run_sql(db, "COMMIT");
    sqlite3_close(db);
    if (o->sync) {
        int fd = open(file, O_RDWR);
        bench_need(fd >= 0 && fsync(fd) == 0 && close(fd) == 0, "fsync");
    }
    double seconds = (bench_now_ns() - start) / 1e9;
    free(sorted);
    return seconds;
}

static int run_mode(const bench_options *o)
{
    if (o->threads == 1) {
        bench_pin_to_one_core();
    }
    char *path = bench_fresh_dir(o->dir, o->mode);
    double seconds = strcmp(o->mode, "ours") == 0
                         ? build_ours(o, path)
                         : build_sqlite(o, path, strcmp(o->mode, "sqlite-sorted") == 0);
    printf("%.9g\n", seconds);
    fflush(stdout);
    bench_remove(path);
    free(path);
    return 0;
}

/* --- in the parent ---------------------------------------------------------------------------- */

static const char *program;

static figures run_child(const bench_options *o, const char *mode, uint32_t threads, int sync)
{
    char arguments[7][256];
    char *argv[9];
    int ends[2];
    snprintf(arguments[0], sizeof arguments[0], "--mode=%s", mode);
    snprintf(arguments[1], sizeof arguments[1], "--rows=%zu", o->rows);
    snprintf(arguments[2], sizeof arguments[2], "--threads=%u", threads);
    snprintf(arguments[3], sizeof arguments[3], "--sync=%d", sync);
    snprintf(arguments[4], sizeof arguments[4], "--budget=%llu", (unsigned long long)o->budget);
    snprintf(arguments[5], sizeof arguments[5], "--dir=%s", o->dir);
    snprintf(arguments[6], sizeof arguments[6], "%s", program);
    argv[0] = arguments[6];
    for (int i = 0; i < 6; i++) {
        argv[i + 1] = arguments[i];
    }
    argv[7] = NULL;
    bench_need(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    bench_need(child >= 0, "fork");
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        execv(program, argv);
        _exit(127);
    }
    close(ends[1]);
    char text[64] = {0};
    ssize_t got = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    int status = 0;
    struct rusage usage;
    bench_need(wait4(child, &status, 0, &usage) == child && status == 0 && got > 0, mode);
    figures f = {strtod(text, NULL), (double)usage.ru_maxrss / 1024};
    return f;
}

enum {
    OURS_2,
    OURS_1,
    OURS_2_UNSYNCED,
    SQLITE_UNSORTED,
    SQLITE_SORTED,
    SQLITE_UNSORTED_UNSYNCED,
    KINDS
};

static void report_pair(const bench_options *o, const char *name, const char *peer,
    const figures (*f)[KINDS], const int pair[2], double goal)
{
    bench_sample *s = bench_alloc(1, sizeof *s);
    double peak = 0;
    char more[160];
    for (int r = 0; r < o->rounds; r++) {
        s->ours[r] = f[r][pair[0]].seconds / (double)o->rows * 1e9;
        s->peer[r] = f[r][pair[1]].seconds / (double)o->rows * 1e9;
        peak = f[r][pair[0]].peak_mib > peak ? f[r][pair[0]].peak_mib : peak;
    }
    snprintf(more, sizeof more,
        ",\"budget_mib\":%.0f,\"peak_mib\":%.0f,\"peak_over_budget_mib\":%.0f",
        (double)(o->budget >> 20), peak, peak - (double)(o->budget >> 20));
    bench_line line = {name, peer, "ns", o->rows, goal, more};
    bench_report(&line, s, o->rounds);
    free(s);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    if (o.mode) {
        return run_mode(&o);
    }
    program = argv[0];
    figures(*f)[KINDS] = bench_alloc((size_t)o.rounds, sizeof *f);
    for (int r = 0; r < o.rounds; r++) {
        f[r][OURS_2] = run_child(&o, "ours", 2, 1);
        f[r][SQLITE_UNSORTED] = run_child(&o, "sqlite", 1, 1);
        f[r][OURS_1] = run_child(&o, "ours", 1, 1);
        f[r][SQLITE_SORTED] = run_child(&o, "sqlite-sorted", 1, 1);
        f[r][OURS_2_UNSYNCED] = run_child(&o, "ours", 2, 0);
        f[r][SQLITE_UNSORTED_UNSYNCED] = run_child(&o, "sqlite", 1, 0);
    }
    const figures(*all)[KINDS] = (const figures(*)[KINDS])(void *)f;
    report_pair(&o, "build_2_threads_durable", "sqlite3, unsorted", all,
        (const int[2]){OURS_2, SQLITE_UNSORTED}, 15);
    report_pair(&o, "build_2_threads_durable", "sqlite3, sorted", all,
        (const int[2]){OURS_2, SQLITE_SORTED}, 3);
    report_pair(&o, "build_2_threads", "sqlite3, unsorted", all,
        (const int[2]){OURS_2_UNSYNCED, SQLITE_UNSORTED_UNSYNCED}, 0);
    report_pair(&o, "build_1_thread_durable", "sqlite3, unsorted", all,
        (const int[2]){OURS_1, SQLITE_UNSORTED}, 0);
    report_pair(&o, "build_1_thread_durable", "sqlite3, sorted", all,
        (const int[2]){OURS_1, SQLITE_SORTED}, 0);
    report_pair(&o, "build_2_threads_durable", "our build with 1 thread", all,
        (const int[2]){OURS_2, OURS_1}, 1.8);
    free(f);
    return 0;
}
