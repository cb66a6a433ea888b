/* micro_btree: our B-tree reader and writer against libsqlite3 on the same shard file.
 *
 * micro_btree [rows] [value bytes] [page size] [rounds] [directory] Writes a file of `rows` rows
 * (16-byte random keys) with our writer, then reads it in interleaved rounds: single gets, batches
 * of 1000, absent keys, for both. Prints one line of JSON: medians of the per-round ratios and
 * nanoseconds of each side. Every value that is read is touched. */
#include "base/alloc.h"
#include "sqlitefile/btree_read.h"
#include "sqlitefile/btree_write.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_LEN    16u
#define BATCH      1000u
#define ROUNDS_MAX 64

static uint64_t random_state = 42;

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void need(int ok, const char *what, const shardy_error *err)
{
    if (!ok) {
        fprintf(stderr, "micro_btree: %s: %s\n", what, err ? err->message : "");
        exit(1);
    }
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, KEY_LEN);
}

static shardy_status write_fd(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)err;
    int fd = *(int *)user;
    return pwrite(fd, data, len, (off_t)offset) == (ssize_t)len ? SHARDY_OK : SHARDY_IO;
}

static shardy_status write_nowhere(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)user;
    (void)offset;
    (void)data;
    (void)len;
    (void)err;
    return SHARDY_OK;
}

/* Nanoseconds per row. */
static double build(const uint8_t *keys, size_t rows, size_t value_len, uint32_t page_size,
    btree_sink sink, int digests)
{
    static const btree_object kv = {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL,
        "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID", 1};
    shardy_error err;
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    options.page_size = page_size;
    options.digests = digests;
    options.sink = sink;
    options.objects = &kv;
    options.object_count = 1;
    uint8_t *value = malloc(value_len + 16);
    memset(value, 7, value_len + 16);
    double start = now_ns();
    btree_writer *writer = NULL;
    need(shardy__btree_writer_open(&options, &writer, &err) == 0, "open writer", &err);
    for (size_t i = 0; i < rows; i++) {
        shardy_bytes k = {keys + i * KEY_LEN, KEY_LEN};
        shardy_bytes v = {value, value_len};
        memcpy(value, k.data, value_len < 8 ? value_len : 8);
        need(shardy__btree_put_kv(writer, 0, k, v, &err) == 0, "put", &err);
    }
    btree_file_stats stats;
    need(shardy__btree_writer_finish(writer, &stats, &err) == 0, "finish", &err);
    shardy__btree_writer_close(writer);
    double ns = (now_ns() - start) / (double)rows;
    free(value);
    return ns;
}

typedef struct sample {
    double ours[ROUNDS_MAX];
    double peer[ROUNDS_MAX];
} sample;

static volatile uint64_t touched;

static double ours_single(const btree_tree *tree, const uint8_t *keys, size_t n, int expect)
{
    shardy_error err;
    uint64_t sum = 0;
    double start = now_ns();
    for (size_t i = 0; i < n; i++) {
        btree_key key = {RECORD_BLOB, 0, keys + i * KEY_LEN, KEY_LEN};
        shardy_buf value;
        shardy_status st = shardy__btree_get(tree, &key, 1, &value, &err);
        need((st == SHARDY_OK) == expect, "get", NULL);
        if (st == SHARDY_OK) {
            const uint8_t *bytes = value.data;
            sum += (uint64_t)bytes[0] + bytes[value.len - 1];
        }
        shardy_buf_release(&value);
    }
    touched += sum;
    return (now_ns() - start) / (double)n;
}

static double ours_batch(const btree_tree *tree, const uint8_t *keys, size_t n)
{
    static shardy_buf values[BATCH];
    static int32_t statuses[BATCH];
    static shardy_bytes batch[BATCH];
    shardy_error err;
    uint64_t sum = 0;
    double start = now_ns();
    for (size_t i = 0; i + BATCH <= n; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            batch[j].data = keys + (i + j) * KEY_LEN;
            batch[j].len = KEY_LEN;
        }
        need(shardy__btree_get_many(
                 tree, RECORD_BLOB, batch, BATCH, 1, (btree_answers){values, statuses}, &err) == 0,
            "get_many", &err);
        for (size_t j = 0; j < BATCH; j++) {
            const uint8_t *v = values[j].data;
            sum += (uint64_t)v[0] + v[values[j].len - 1];
        }
        shardy__btree_values_clear(values, BATCH);
    }
    touched += sum;
    return (now_ns() - start) / (double)(n / BATCH * BATCH);
}

static double peer_single(sqlite3_stmt *statement, const uint8_t *keys, size_t n, int expect)
{
    uint64_t sum = 0;
    double start = now_ns();
    for (size_t i = 0; i < n; i++) {
        sqlite3_bind_blob(statement, 1, keys + i * KEY_LEN, KEY_LEN, SQLITE_STATIC);
        int row = sqlite3_step(statement) == SQLITE_ROW;
        need(row == expect, "sqlite get", NULL);
        if (row) {
            const uint8_t *v = sqlite3_column_blob(statement, 0);
            sum += (uint64_t)v[0] + v[sqlite3_column_bytes(statement, 0) - 1];
        }
        sqlite3_reset(statement);
    }
    touched += sum;
    return (now_ns() - start) / (double)n;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int n)
{
    double copy[ROUNDS_MAX];
    memcpy(copy, values, (size_t)n * sizeof *values);
    qsort(copy, (size_t)n, sizeof *copy, compare_doubles);
    return copy[n / 2];
}

static void report(const char *name, const sample *s, int rounds, const char *end)
{
    double ratio[ROUNDS_MAX];
    double low = 1e300;
    double high = 0;
    for (int i = 0; i < rounds; i++) {
        ratio[i] = s->peer[i] / s->ours[i];
        low = ratio[i] < low ? ratio[i] : low;
        high = ratio[i] > high ? ratio[i] : high;
    }
    printf("\"%s\":{\"ns\":%.0f,\"sqlite_ns\":%.0f,\"ratio\":%.2f,\"min\":%.2f,\"max\":%.2f}%s",
        name, median(s->ours, rounds), median(s->peer, rounds), median(ratio, rounds), low, high,
        end);
}

/* Copies of randomly chosen keys, so that reading the question costs no cache miss. */
static void pick(const uint8_t *keys, size_t rows, uint8_t *asked, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        memcpy(asked + i * KEY_LEN, keys + next_random() % rows * KEY_LEN, KEY_LEN);
    }
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    size_t value_len = argc > 2 ? strtoul(argv[2], NULL, 10) : 100;
    uint32_t page_size = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 4096;
    int rounds = argc > 4 ? atoi(argv[4]) : 5;
    const char *dir = argc > 5 ? argv[5] : "/tmp";
    size_t n = 200000;
    uint8_t *keys = malloc(rows * KEY_LEN);
    uint8_t *absent = malloc(n * KEY_LEN);
    uint8_t *asked = malloc(n * KEY_LEN);
    for (size_t i = 0; i < rows * 2; i++) {
        uint64_t r = next_random();
        memcpy(keys + i * 8, &r, 8);
    }
    for (size_t i = 0; i < n * 2; i++) {
        uint64_t r = next_random();
        memcpy(absent + i * 8, &r, 8);
    }
    qsort(keys, rows, KEY_LEN, compare_keys);
    char path[512];
    snprintf(path, sizeof path, "%s/micro_btree.%d.db", dir, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    need(fd >= 0, "create", NULL);
    btree_sink file_sink = {write_fd, &fd};
    btree_sink no_sink = {write_nowhere, NULL};
    double build_file = build(keys, rows, value_len, page_size, file_sink, 1);
    double build_pages = build(keys, rows, value_len, page_size, no_sink, 0);
    double build_pages_digest = build(keys, rows, value_len, page_size, no_sink, 1);

    shardy_error err;
    struct stat stat_buf;
    fstat(fd, &stat_buf);
    shardy_local_file local = {fd, (uint64_t)stat_buf.st_size, 0};
    page_source *source = NULL;
    btree_file *file = NULL;
    btree_tree tree;
    need(shardy__page_source_map_take(&local, NULL, &source, &err) == 0, "map", &err);
    need(shardy__btree_open_take(source, &file, &err) == 0, "open", &err);
    need(shardy__btree_table(file, "kv", &tree, NULL, &err) == 0, "table", &err);

    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    need(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == 0, "sqlite open", NULL);
    char pragma[128];
    snprintf(pragma, sizeof pragma, "PRAGMA mmap_size=%llu", 1ull << 36);
    sqlite3_exec(db, pragma, NULL, NULL, NULL);
    sqlite3_exec(db, "PRAGMA cache_size=-8000", NULL, NULL, NULL);
    /* One read transaction around all, so that the peer pays for no locks: the best case for it. */
    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    need(sqlite3_prepare_v2(db, "SELECT v FROM kv WHERE k = ?", -1, &statement, NULL) == 0,
        "prepare", NULL);
    sample single = {{0}, {0}};
    sample batch = {{0}, {0}};
    sample missing = {{0}, {0}};
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    for (int r = -1; r < rounds; r++) {
        int at = r < 0 ? 0 : r; /* one round to warm up */
        pick(keys, rows, asked, n);
        single.peer[at] = peer_single(statement, asked, n, 1);
        batch.peer[at] = single.peer[at];
        pick(keys, rows, asked, n);
        single.ours[at] = ours_single(&tree, asked, n, 1);
        pick(keys, rows, asked, n);
        batch.ours[at] = ours_batch(&tree, asked, n);
        missing.ours[at] = ours_single(&tree, absent, n, 0);
        missing.peer[at] = peer_single(statement, absent, n, 0);
    }
    printf("{\"bench\":\"micro_btree\",\"rows\":%zu,\"value_len\":%zu,\"page_size\":%u,", rows,
        value_len, page_size);
    printf("\"build_ns_row\":{\"file\":%.1f,\"pages\":%.1f,\"pages_and_digest\":%.1f},", build_file,
        build_pages, build_pages_digest);
    report("get", &single, rounds, ",");
    report("multi_get_1000", &batch, rounds, ",");
    report("absent", &missing, rounds, "}\n");
    sqlite3_finalize(statement);
    if (getenv("CHECK")) {
        sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL);
        sqlite3_step(statement);
        fprintf(stderr, "integrity_check: %s\n", (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    shardy__btree_close(file);
    unlink(path);
    free(keys);
    free(absent);
    free(asked);
    return 0;
}
