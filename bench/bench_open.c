/* bench_open: opening a shard and getting its first value, what an idle open shard costs, and what
 * checking digests costs when pages are touched for the first time.
 *
 *   bench_open [--rows=N] [--rounds=N] [--dir=DIR]
 *
 * open_and_get: one shard, its file in the page cache. Ours reads the pointer and the manifest,
 * opens the shard and checks the chunks it touches; sqlite3 opens the file, prepares and steps.
 * idle_shard: resident memory per open shard of a snapshot of 1,000 shards, of which each has been
 * asked once; for sqlite3 a connection per file. first_touch: one get in each of the 64 KiB chunks
 * of the shard by a new reader, against the same gets again. */
#include "support/bench.h"

#include <malloc.h>
#include <sqlite3.h>
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
    char uri[4200];
    sqlite3 *db;
    snprintf(uri, sizeof uri, "file:%s?immutable=1", file);
    bench_need(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) == SQLITE_OK,
        "sqlite3_open_v2");
    bench_need(sqlite3_exec(db, "PRAGMA mmap_size=1099511627776", NULL, NULL, NULL) == SQLITE_OK,
        "pragma");
    bench_need(
        sqlite3_prepare_v2(db, "SELECT v FROM kv WHERE k = ?", -1, get_out, NULL) == SQLITE_OK,
        "prepare");
    return db;
}

static void sqlite_get(sqlite3_stmt *get, const uint8_t *key)
{
    sqlite3_bind_blob(get, 1, key, BENCH_KEY_LEN, SQLITE_STATIC);
    bench_need(sqlite3_step(get) == SQLITE_ROW, "sqlite3 get");
    sqlite3_reset(get);
}

static double sqlite_open(const bench *b)
{
    double start = bench_now_ns();
    for (int i = 0; i < OPENS; i++) {
        sqlite3_stmt *get;
        sqlite3 *db = open_sqlite(b->file, &get);
        sqlite_get(get, b->keys + bench_random() % b->options->rows * BENCH_KEY_LEN);
        sqlite3_finalize(get);
        sqlite3_close(db);
    }
    return (bench_now_ns() - start) / 1e3 / OPENS;
}

static void compare_opens(const bench *b)
{
    bench_sample s;
    ours_open(b);
    sqlite_open(b);
    for (int r = 0; r < b->options->rounds; r++) {
        s.ours[r] = ours_open(b);
        s.peer[r] = sqlite_open(b);
    }
    bench_line line = {"open_and_get", "sqlite3", "us", b->options->rows, 0, NULL};
    bench_report(&line, &s, b->options->rounds);
}

/* --- first touch ------------------------------------------------------------------------------ */

/* Keys in order, one about every 32 KiB: each chunk of the leaves is met. */
static double touch_chunks(const bench *b, const shardy_reader *reader)
{
    size_t step = 32768 / (BENCH_KEY_LEN + BENCH_VALUE_LEN + 8);
    double start = bench_now_ns();
    for (size_t i = 0; i < b->options->rows; i += step) {
        get_one(reader, b->keys + i * BENCH_KEY_LEN);
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
        double first = touch_chunks(b, reader);
        double again = touch_chunks(b, reader);
        s.ours[r] = (first - again) / 1e3 / chunks;
        shardy_reader_close(reader);
    }
    char more[64];
    snprintf(more, sizeof more, ",\"chunks\":%.0f", chunks);
    bench_figure("first_touch_of_a_chunk", b->options->rows, "us",
        bench_median(s.ours, b->options->rounds), more);
}

/* --- many shards ------------------------------------------------------------------------------ */

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

static void measure_idle(const bench *b)
{
    shardy_error err;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = MANY_SHARDS;
    options.sync = 0;
    size_t rows = b->options->rows < 100000 ? b->options->rows : 100000;
    char *path = bench_fresh_dir(b->options->dir, "many");
    bench_build_snapshot(path, b->keys, rows, &options);
    shardy_reader *reader = open_reader(b->context, path);
    shardy_snapshot_info info;
    bench_check(shardy_reader_snapshot_info(reader, &info, &err), "info", &err);
    malloc_trim(0);
    double before = resident_bytes();
    for (size_t i = 0; i < rows; i++) {
        get_one(reader, b->keys + i * BENCH_KEY_LEN);
    }
    bench_sample s;
    s.ours[0] = (resident_bytes() - before) / MANY_SHARDS;
    sqlite3 **dbs = bench_alloc(MANY_SHARDS, sizeof *dbs);
    sqlite3_stmt **gets = bench_alloc(MANY_SHARDS, sizeof *gets);
    uint32_t opened = 0;
    before = resident_bytes();
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
    s.peer[0] = (resident_bytes() - before) / opened;
    bench_line line = {"idle_shard", "sqlite3", "bytes", rows, 0, NULL};
    bench_report(&line, &s, 1);
    for (uint32_t i = 0; i < opened; i++) {
        sqlite3_finalize(gets[i]);
        sqlite3_close(dbs[i]);
    }
    free(dbs);
    free(gets);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    bench_remove(path);
    free(path);
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
    measure_idle(&b);
    shardy_context_free(b.context);
    bench_remove(b.path);
    free(b.path);
    free(b.file);
    free(keys);
    return 0;
}
