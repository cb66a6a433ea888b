/* bench_open: opening a snapshot and getting its first value, what an idle open shard costs, and
 * what checking digests costs when pages are touched for the first time.
 *
 *   bench_open [--rows=N] [--rounds=N] [--dir=DIR]
 *
 * open_and_get: one shard, its file in the page cache. Ours reads the pointer and the manifest,
 * checks the manifest's digest, opens the shard and checks the chunks it touches. sqlite3 once does
 * what is needed to find the shard as well (pointer, manifest, shard; no digests), and once is told
 * the file: less than ours does, but what a program with a file of its own would do.
 *
 * idle_shard: memory of the process per open shard of a snapshot of 1,000 shards, of which each has
 * been asked; for sqlite3 a connection with a prepared statement per file. Pages of mapped files do
 * not count on either side. open_shard: the same for one shard with all rows, of which all were
 * asked.
 *
 * first_touch_of_a_chunk: one get in each of the 64 KiB chunks of the shard by a new reader, less
 * the same gets again; for sqlite3, which has no digests, what is left is faults of the mapping. */
#include "support/bench.h"
#include "support/sqlite_peer.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY_SHARDS 1000u
#define OPENS       50

typedef struct bench {
    const bench_options *options;
    const uint8_t *keys;
    shardy_context *context;
    char *path;
    char *file;
} bench;

static void get_one(const shardy_reader *reader, const uint8_t *key)
{
    shardy_error err;
    shardy_buf value;
    shardy_key k = shardy_key_bytes(key, BENCH_KEY_LEN);
    shardy_status st = shardy_reader_get(reader, &k, NULL, &value, &err);
    bench_check(st, "get", &err);
    bench_need(st == SHARDY_OK, "get: absent");
    shardy_buf_release(&value);
}

static shardy_reader *open_reader(shardy_context *context, const char *path)
{
    shardy_error err;
    shardy_reader *reader;
    bench_check(shardy_reader_open(context, path, NULL, &reader, &err), "open", &err);
    return reader;
}

static double ours_open(const bench *b)
{
    double start = bench_now_ns();
    for (int i = 0; i < OPENS; i++) {
        shardy_reader *reader = open_reader(b->context, b->path);
        get_one(reader, b->keys + bench_random() % b->options->rows * BENCH_KEY_LEN);
        shardy_reader_close(reader);
    }
    return (bench_now_ns() - start) / 1e3 / OPENS;
}

static sqlite3 *open_sqlite(const char *file, sqlite3_stmt **get_out)
{
    sqlite3 *db = bench_sqlite_open(file);
    *get_out = bench_prepare(db, "SELECT v FROM kv WHERE k = ?");
    return db;
}

static void sqlite_get(sqlite3_stmt *get, const uint8_t *key)
{
    sqlite3_bind_blob(get, 1, key, BENCH_KEY_LEN, SQLITE_STATIC);
    bench_need(sqlite3_step(get) == SQLITE_ROW, "sqlite3 get");
    sqlite3_reset(get);
}

/* The file of the only shard, as a reader without our library finds it. */
static void find_shard(const bench *b, char *file, size_t size)
{
    char path[4200];
    char pointer[4096] = {0};
    snprintf(path, sizeof path, "%s/_CURRENT", b->path);
    FILE *f = fopen(path, "rb");
    bench_need(f && fread(pointer, 1, sizeof pointer - 1, f) > 0, path);
    fclose(f);
    char *ref = strstr(pointer, "manifests/");
    bench_need(ref != NULL, "a ref in the pointer");
    snprintf(path, sizeof path, "%s/%.*s", b->path, (int)strcspn(ref, "\""), ref);
    sqlite3 *db = bench_sqlite_open(path);
    sqlite3_stmt *shards = bench_prepare(db, "SELECT db_url FROM shards");
    bench_need(sqlite3_step(shards) == SQLITE_ROW, "a shard in the manifest");
    const char *below = strstr((const char *)sqlite3_column_text(shards, 0), "/shards/");
    bench_need(below != NULL, "a shard's URL");
    snprintf(file, size, "%s%s/shard.db", b->path, below);
    sqlite3_finalize(shards);
    sqlite3_close(db);
}

static double sqlite_open(const bench *b, int by_pointer)
{
    double start = bench_now_ns();
    for (int i = 0; i < OPENS; i++) {
        char file[4200];
        sqlite3_stmt *get;
        if (by_pointer) {
            find_shard(b, file, sizeof file);
        }
        sqlite3 *db = open_sqlite(by_pointer ? file : b->file, &get);
        sqlite_get(get, b->keys + bench_random() % b->options->rows * BENCH_KEY_LEN);
        sqlite3_finalize(get);
        sqlite3_close(db);
    }
    return (bench_now_ns() - start) / 1e3 / OPENS;
}

static void compare_opens(const bench *b)
{
    bench_sample found;
    bench_sample told;
    ours_open(b);
    sqlite_open(b, 1);
    for (int r = 0; r < b->options->rounds; r++) {
        found.ours[r] = ours_open(b);
        found.peer[r] = sqlite_open(b, 1);
        told.peer[r] = sqlite_open(b, 0);
        told.ours[r] = found.ours[r];
    }
    size_t rows = b->options->rows;
    bench_line lines[] = {{"open_and_get", "sqlite3, by pointer and manifest", "us", rows, 0, NULL},
        {"open_and_get", "sqlite3, told the file", "us", rows, 0, NULL}};
    bench_report(&lines[0], &found, b->options->rounds);
    bench_report(&lines[1], &told, b->options->rounds);
}

/* --- first touch ------------------------------------------------------------------------------ */

/* Keys in order, one about every 32 KiB: each chunk of the leaves is met. */
static size_t touch_step(void)
{
    return 32768 / (BENCH_KEY_LEN + BENCH_VALUE_LEN + 8);
}

static double touch_ours(const bench *b, const shardy_reader *reader)
{
    double start = bench_now_ns();
    for (size_t i = 0; i < b->options->rows; i += touch_step()) {
        get_one(reader, b->keys + i * BENCH_KEY_LEN);
    }
    return bench_now_ns() - start;
}

static double touch_sqlite(const bench *b, sqlite3_stmt *get)
{
    double start = bench_now_ns();
    for (size_t i = 0; i < b->options->rows; i += touch_step()) {
        sqlite_get(get, b->keys + i * BENCH_KEY_LEN);
    }
    return bench_now_ns() - start;
}

static void measure_first_touch(const bench *b)
{
    bench_sample s;
    struct stat file;
    bench_need(stat(b->file, &file) == 0, b->file);
    double chunks = (double)((file.st_size + 65535) / 65536);
    for (int r = 0; r < b->options->rounds; r++) {
        shardy_reader *reader = open_reader(b->context, b->path);
        double first = touch_ours(b, reader);
        s.ours[r] = (first - touch_ours(b, reader)) / 1e3 / chunks;
        shardy_reader_close(reader);
        sqlite3_stmt *get;
        sqlite3 *db = open_sqlite(b->file, &get);
        first = touch_sqlite(b, get);
        s.peer[r] = (first - touch_sqlite(b, get)) / 1e3 / chunks;
        sqlite3_finalize(get);
        sqlite3_close(db);
    }
    char more[128];
    int rounds = b->options->rounds;
    double us = bench_median(s.ours, rounds);
    snprintf(more, sizeof more,
        ",\"chunks\":%.0f,\"checked_mb_per_s\":%.0f,\"sqlite3_without_digests_us\":%.3g", chunks,
        65536 / us, bench_median(s.peer, rounds));
    bench_figure("first_touch_of_a_chunk", b->options->rows, "us", us, more);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Resident, without pages of files. */
static double resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[128] = {0};
    char *end;
    bench_need(f && fgets(line, sizeof line, f), "/proc/self/statm");
    fclose(f);
    strtoull(line, &end, 10);
    unsigned long long resident = strtoull(end, &end, 10);
    unsigned long long shared = strtoull(end, NULL, 10);
    return (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE);
}

/* Of a reader that has been asked for each of the first `rows` keys. Memory that an earlier
 * measurement gave back is not reused: it went to the system before. */
static double our_memory(const bench *b, const char *path, size_t rows)
{
    malloc_trim(0);
    shardy_reader *reader = open_reader(b->context, path);
    double before = resident_bytes();
    for (size_t i = 0; i < rows; i++) {
        get_one(reader, b->keys + i * BENCH_KEY_LEN);
    }
    double bytes = resident_bytes() - before;
    shardy_reader_close(reader);
    return bytes;
}

/* Per connection to each shard of the snapshot at `path` that holds rows. */
static double sqlite_memory(const bench *b, const char *path)
{
    sqlite3 **dbs = bench_alloc(MANY_SHARDS, sizeof *dbs);
    sqlite3_stmt **gets = bench_alloc(MANY_SHARDS, sizeof *gets);
    shardy_error err;
    shardy_snapshot_info info;
    shardy_reader *reader = open_reader(b->context, path);
    bench_check(shardy_reader_snapshot_info(reader, &info, &err), "info", &err);
    uint32_t opened = 0;
    malloc_trim(0);
    double before = resident_bytes();
    for (uint32_t i = 0; i < MANY_SHARDS; i++) {
        char file[4400];
        snprintf(file, sizeof file, "%s/shards/run_id=%s/db=%05u/attempt=00/shard.db", path,
            info.run_id, i);
        if (access(file, R_OK) == 0) {
            dbs[opened] = open_sqlite(file, &gets[opened]);
            sqlite3_bind_blob(gets[opened], 1, b->keys, BENCH_KEY_LEN, SQLITE_STATIC);
            bench_need(sqlite3_step(gets[opened]) >= SQLITE_ROW, "sqlite3 get");
            sqlite3_reset(gets[opened]);
            opened++;
        }
    }
    double bytes = (resident_bytes() - before) / opened;
    for (uint32_t i = 0; i < opened; i++) {
        sqlite3_finalize(gets[i]);
        sqlite3_close(dbs[i]);
    }
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    free(dbs);
    free(gets);
    return bytes;
}

static void measure_memory(const bench *b)
{
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = MANY_SHARDS;
    options.sync = 0;
    size_t rows = b->options->rows < 100000 ? b->options->rows : 100000;
    char *path = bench_fresh_dir(b->options->dir, "many");
    bench_build_snapshot(path, b->keys, rows, &options);
    bench_sample s;
    for (int r = 0; r < b->options->rounds; r++) {
        s.ours[r] = our_memory(b, path, rows) / MANY_SHARDS;
        s.peer[r] = sqlite_memory(b, path);
    }
    bench_line line = {"idle_shard", "sqlite3", "bytes", rows, 0, ",\"shards\":1000"};
    bench_report(&line, &s, b->options->rounds);
    bench_remove(path);
    free(path);
    char more[64];
    double bytes = our_memory(b, b->path, b->options->rows);
    snprintf(
        more, sizeof more, ",\"bytes_per_1000_rows\":%.0f", bytes / (double)b->options->rows * 1e3);
    bench_figure("open_shard", b->options->rows, "bytes", bytes, more);
}

int main(int argc, char **argv)
{
    bench_options o;
    shardy_error err;
    bench_init(argc, argv, &o);
    bench_pin_to_one_core();
    uint8_t *keys = bench_alloc(o.rows, BENCH_KEY_LEN);
    bench_random_keys(keys, o.rows);
    bench_sort_keys(keys, o.rows);
    bench b = {&o, keys, NULL, bench_fresh_dir(o.dir, "open"), NULL};
    bench_check(shardy_context_new(NULL, &b.context, &err), "context", &err);
    bench_build_snapshot(b.path, keys, o.rows, NULL);
    b.file = bench_shard_file(b.path);
    compare_opens(&b);
    measure_first_touch(&b);
    measure_memory(&b);
    shardy_context_free(b.context);
    bench_remove(b.path);
    free(b.path);
    free(b.file);
    free(keys);
    return 0;
}
