/* bench_build: rows in random order into a snapshot of 8 shards through the public writer, against
 * sqlite3 inserting the same rows, in that order and sorted.
 *
 *   bench_build [--rows=N] [--rounds=N] [--budget=BYTES] [--dir=DIR]
 *
 * Each build runs in a process of its own (the program calls itself with --mode), so that its peak
 * resident memory is its own: the maximum that the system kept for the process, from wait4. A build
 * takes rows from a generator: its cost is on both sides. Ours: routing, sorting, digests, manifest
 * and pointer included. sqlite3: one file with the schema of a shard, one transaction, one prepared
 * statement, no journal, a page cache as large as our budget and the file mapped beside it (which
 * spares reads of pages that left the cache), on one thread; sorted keys are sorted before the
 * clock starts. "durable" means that everything has been synced when the clock stops; an
 * sqlite3 process looks at the clock before its fsync and after it. Everything is written back
 * before a process starts, so that none waits for what another one wrote.
 *
 * Goals are stated for 10 million rows. The peak is compared with the budget and 64 MiB: that line
 * does not depend on time, and bench/run fails when its goal is not reached. */
#define _GNU_SOURCE /* wait4 */
#include "support/bench.h"
#include "support/sqlite_peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARDS 8u

#define PEAK_OVER_BUDGET_MIB 64

/* What one build in a process of its own came to. */
typedef struct figures {
    double seconds;         /* until everything was written */
    double durable_seconds; /* and synced; ours: only when it was told to sync */
    double peak_mib;
} figures;

/* --- in the child ----------------------------------------------------------------------------- */

static figures build_ours(const bench_options *o, const char *path)
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
    double seconds = (bench_now_ns() - start) / 1e9;
    return (figures){seconds, seconds, 0};
}

static void insert_all(sqlite3 *db, const bench_options *o, const uint8_t *sorted)
{
    sqlite3_stmt *insert = bench_prepare(db, "INSERT INTO kv VALUES(?, ?)");
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

static figures build_sqlite(const bench_options *o, const char *path, int in_order)
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
    bench_sql(db, pragma);
    bench_sql(db, "PRAGMA mmap_size=1099511627776");
    bench_sql(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
                  "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID; BEGIN");
    insert_all(db, o, sorted);
    bench_sql(db, "COMMIT");
    sqlite3_close(db);
    double seconds = (bench_now_ns() - start) / 1e9;
    int fd = open(file, O_RDWR);
    bench_need(fd >= 0 && fsync(fd) == 0 && close(fd) == 0, "fsync");
    double durable_seconds = (bench_now_ns() - start) / 1e9;
    free(sorted);
    return (figures){seconds, durable_seconds, 0};
}

static int run_mode(const bench_options *o)
{
    if (o->threads == 1) {
        bench_pin_to_one_core();
    }
    char *path = bench_fresh_dir(o->dir, o->mode);
    figures f = strcmp(o->mode, "ours") == 0
                    ? build_ours(o, path)
                    : build_sqlite(o, path, strcmp(o->mode, "sqlite-sorted") == 0);
    printf("%.9g %.9g\n", f.seconds, f.durable_seconds);
    fflush(stdout);
    bench_remove(path);
    free(path);
    return 0;
}

/* --- in the parent ---------------------------------------------------------------------------- */

static const char *program;

static figures run_child(const bench_options *o, const char *mode, uint32_t threads, int durable)
{
    char arguments[7][256];
    char *argv[9];
    int ends[2];
    snprintf(arguments[0], sizeof arguments[0], "--mode=%s", mode);
    snprintf(arguments[1], sizeof arguments[1], "--rows=%zu", o->rows);
    snprintf(arguments[2], sizeof arguments[2], "--threads=%u", threads);
    snprintf(arguments[3], sizeof arguments[3], "--sync=%d", durable);
    snprintf(arguments[4], sizeof arguments[4], "--budget=%llu", (unsigned long long)o->budget);
    snprintf(arguments[5], sizeof arguments[5], "--dir=%s", o->dir);
    snprintf(arguments[6], sizeof arguments[6], "%s", program);
    argv[0] = arguments[6];
    for (int i = 0; i < 6; i++) {
        argv[i + 1] = arguments[i];
    }
    argv[7] = NULL;
    sync();
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
    char *end;
    figures f = {strtod(text, &end), 0, (double)usage.ru_maxrss / 1024};
    f.durable_seconds = strtod(end, NULL);
    return f;
}

enum {
    OURS_2,
    OURS_1,
    OURS_2_DURABLE,
    SQLITE_UNSORTED,
    SQLITE_SORTED,
    KINDS
};

static const struct {
    const char *mode;
    uint32_t threads;
    int sync;
} kinds[KINDS] = {
    [OURS_2] = {"ours", 2, 0},
    [OURS_1] = {"ours", 1, 0},
    [OURS_2_DURABLE] = {"ours", 2, 1},
    [SQLITE_UNSORTED] = {"sqlite", 1, 1},
    [SQLITE_SORTED] = {"sqlite-sorted", 1, 1},
};

/* What is compared, with the goal for 10 million rows. */
static const struct {
    const char *name;
    const char *peer_name;
    int ours;
    int peer;
    int durable;
    double goal;
} pairs[] = {{"build_2_threads", "sqlite3, unsorted", OURS_2, SQLITE_UNSORTED, 0, 15},
    {"build_2_threads", "sqlite3, sorted", OURS_2, SQLITE_SORTED, 0, 3},
    {"build_2_threads", "our build with 1 thread", OURS_2, OURS_1, 0, 1.7},
    {"build_1_thread", "sqlite3, unsorted", OURS_1, SQLITE_UNSORTED, 0, 0},
    {"build_1_thread", "sqlite3, sorted", OURS_1, SQLITE_SORTED, 0, 0},
    {"build_2_threads_durable", "sqlite3, unsorted", OURS_2_DURABLE, SQLITE_UNSORTED, 1, 0},
    {"build_2_threads_durable", "sqlite3, sorted", OURS_2_DURABLE, SQLITE_SORTED, 1, 0}};

static double ns_per_row(const bench_options *o, const figures *f, int durable)
{
    return (durable ? f->durable_seconds : f->seconds) / (double)o->rows * 1e9;
}

static void report_pairs(const bench_options *o, const figures (*f)[KINDS])
{
    bench_sample *s = bench_alloc(1, sizeof *s);
    char more[64];
    snprintf(more, sizeof more, ",\"budget_mib\":%llu", (unsigned long long)(o->budget >> 20));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        for (int r = 0; r < o->rounds; r++) {
            s->ours[r] = ns_per_row(o, &f[r][pairs[i].ours], pairs[i].durable);
            s->peer[r] = ns_per_row(o, &f[r][pairs[i].peer], pairs[i].durable);
        }
        bench_line line = {pairs[i].name, pairs[i].peer_name, "ns", o->rows,
            o->rows == 10000000 ? pairs[i].goal : 0, more};
        bench_report(&line, s, o->rounds);
    }
    free(s);
}

/* The greatest peak of our builds in each round, against what is allowed. */
static void report_peak(const bench_options *o, const figures (*f)[KINDS])
{
    bench_sample *s = bench_alloc(1, sizeof *s);
    char more[200];
    char name[64];
    double budget = (double)(o->budget >> 20);
    for (int r = 0; r < o->rounds; r++) {
        s->ours[r] = 0;
        s->peer[r] = budget + PEAK_OVER_BUDGET_MIB;
        for (int i = OURS_2; i <= OURS_2_DURABLE; i++) {
            s->ours[r] = f[r][i].peak_mib > s->ours[r] ? f[r][i].peak_mib : s->ours[r];
        }
    }
    snprintf(name, sizeof name, "budget + %d MiB", PEAK_OVER_BUDGET_MIB);
    snprintf(more, sizeof more, ",\"exact\":true,\"budget_mib\":%.0f,\"peak_over_budget_mib\":%.0f",
        budget, bench_median(s->ours, o->rounds) - budget);
    bench_line line = {"build_peak_memory", name, "mib", o->rows, 1, more};
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
        for (int i = 0; i < KINDS; i++) {
            int which = r % 2 == 0 ? i : KINDS - 1 - i;
            f[r][which] = run_child(&o, kinds[which].mode, kinds[which].threads, kinds[which].sync);
        }
    }
    const figures(*all)[KINDS] = (const figures(*)[KINDS])(void *)f;
    report_pairs(&o, all);
    report_peak(&o, all);
    free(f);
    return 0;
}
