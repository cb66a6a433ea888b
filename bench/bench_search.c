/* bench_search: exact search through the public reader, against sqlite-vec on the same shard file.
 *
 *   bench_search VECTORS.npy QUERIES.npy VEC0 [--metric cosine|l2] [--k N] [--rounds N]
 *                [--page-size N]
 *
 * Builds a snapshot of one shard in a temporary directory, then takes turns: one query at a time
 * through sqlite-vec (the SQL of the reference), one at a time through the reader, in batches of 4
 * and of 16. One JSON line for each: the median over the rounds (default 7) of the ratio to
 * sqlite-vec, its least and greatest, and microseconds a query. Before that the hits are compared:
 * `same` is the part of the places at which both have the same distance. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <shardyfusion/shardyfusion.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef SHARDY_BENCH_HAVE_SQLITE3
int main(void)
{
    fprintf(stderr, "bench_search: built without libsqlite3\n");
    return 2;
}
#else
#include <sqlite3.h>

#define ROUNDS_MAX  101
#define QUERIES_MAX 64u /* of the file, for each round */
#define K_MAX       4096u

static shardy_error err;

static void need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_search: %s\n", what);
        exit(1);
    }
}

static void need_ok(shardy_status st)
{
    need(st >= 0, err.message);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- data ------------------------------------------------------------------------------------- */

typedef struct matrix {
    float *data;
    size_t rows;
    uint32_t dim;
} matrix;

/* A two-dimensional array of little-endian floats, format 1.0. */
static matrix read_npy(const char *path)
{
    unsigned char head[10];
    char text[4096] = {0};
    unsigned long rows = 0;
    unsigned long dim = 0;
    FILE *f = fopen(path, "rb");
    need(f != NULL, path);
    need(fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, "\x93NUMPY\x01", 7) == 0,
        "not a .npy file of version 1");
    size_t len = head[8] | (size_t)head[9] << 8;
    need(len < sizeof text && fread(text, 1, len, f) == len, "a damaged .npy file");
    const char *shape = strstr(text, "'shape': (");
    need(strstr(text, "'<f4'") && shape && sscanf(shape + 10, "%lu, %lu", &rows, &dim) == 2,
        "not an array of rows of float32");
    matrix m = {malloc(rows * dim * sizeof(float)), rows, (uint32_t)dim};
    need(m.data && fread(m.data, dim * sizeof(float), rows, f) == rows, "a damaged .npy file");
    fclose(f);
    return m;
}

typedef struct bench {
    matrix vectors;
    matrix queries;
    const char *vec0;
    int32_t metric;
    uint32_t k;
    int rounds;
    uint32_t page_size;
    char dir[64];
    char shard[256];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    shardy_reader *reader;
} bench;

static void build(bench *b)
{
    shardy_writer *w;
    shardy_writer_options options;
    snprintf(b->dir, sizeof b->dir, "/tmp/bench_search-XXXXXX");
    need(mkdtemp(b->dir) != NULL, "no temporary directory");
    shardy_writer_options_init(&options, sizeof options);
    options.dim = b->vectors.dim;
    options.metric = b->metric;
    options.num_dbs = 1;
    options.page_size = b->page_size;
    options.run_id = "bench";
    options.sync = 0;
    need_ok(shardy_writer_open(NULL, b->dir, &options, &w, &err));
    for (size_t i = 0; i < b->vectors.rows; i++) {
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_int((int64_t)i);
        row.vector = b->vectors.data + i * b->vectors.dim;
        row.dim = b->vectors.dim;
        need_ok(shardy_writer_put(w, &row, &err));
    }
    need_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    snprintf(
        b->shard, sizeof b->shard, "%s/shards/run_id=bench/db=00000/attempt=00/shard.db", b->dir);
}

static void open_both(bench *b)
{
    need(sqlite3_open_v2(b->shard, &b->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, b->shard);
    sqlite3_enable_load_extension(b->db, 1);
    need(sqlite3_load_extension(b->db, b->vec0, NULL, NULL) == SQLITE_OK, b->vec0);
    sqlite3_exec(b->db, "PRAGMA mmap_size=4294967296", NULL, NULL, NULL);
    need(sqlite3_prepare_v2(b->db,
             "SELECT rowid, distance FROM vec_index WHERE embedding MATCH ? AND k = ?", -1,
             &b->stmt, NULL) == SQLITE_OK,
        sqlite3_errmsg(b->db));
    need_ok(shardy_reader_open(NULL, b->dir, NULL, &b->reader, &err));
}

/* --- searching -------------------------------------------------------------------------------- */

static size_t search_peer(bench *b, size_t query, double *distances)
{
    size_t count = 0;
    sqlite3_bind_blob(b->stmt, 1, b->queries.data + query * b->queries.dim,
        (int)(b->queries.dim * sizeof(float)), SQLITE_STATIC);
    sqlite3_bind_int(b->stmt, 2, (int)b->k);
    while (sqlite3_step(b->stmt) == SQLITE_ROW && count < b->k) {
        distances[count++] = sqlite3_column_double(b->stmt, 1);
    }
    sqlite3_reset(b->stmt);
    return count;
}

static void search_ours(bench *b, size_t first, size_t count, shardy_hits *hits)
{
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = b->queries.data + first * b->queries.dim;
    query.count = count;
    query.dim = b->queries.dim;
    query.top_k = b->k;
    need_ok(shardy_reader_search(b->reader, &query, NULL, hits, &err));
}

/* The part of the places at which both found the same distance, but for rounding. Ids may differ
 * where vectors tie. */
static double agreement(bench *b, size_t queries)
{
    static double distances[K_MAX];
    size_t same = 0;
    size_t total = 0;
    for (size_t q = 0; q < queries; q++) {
        shardy_hits hits;
        size_t count = search_peer(b, q, distances);
        search_ours(b, q, 1, &hits);
        for (size_t i = 0; i < count && i < hits.offsets[1]; i++) {
            same += fabs(hits.hits[i].score - distances[i]) <= 1e-5 * (1 + fabs(distances[i]));
        }
        total += count;
        shardy_hits_dispose(&hits);
    }
    return total ? (double)same / (double)total : 1.0;
}

static double time_peer(bench *b, size_t queries)
{
    static double distances[K_MAX];
    double start = seconds();
    for (size_t q = 0; q < queries; q++) {
        need(search_peer(b, q, distances) > 0, "sqlite-vec found nothing");
    }
    return (seconds() - start) / (double)queries;
}

static double time_ours(bench *b, size_t queries, size_t batch)
{
    double start = seconds();
    for (size_t q = 0; q < queries; q += batch) {
        shardy_hits hits;
        search_ours(b, q, batch, &hits);
        shardy_hits_dispose(&hits);
    }
    return (seconds() - start) / (double)queries;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

static const size_t batches[] = {1, 4, 16};
#define BATCHES     (sizeof batches / sizeof batches[0])

static void measure(bench *b)
{
    double ratios[BATCHES][ROUNDS_MAX];
    double ours[BATCHES][ROUNDS_MAX];
    double peer[ROUNDS_MAX];
    size_t queries = b->queries.rows < QUERIES_MAX ? b->queries.rows / 16 * 16 : QUERIES_MAX;
    need(queries > 0, "too few queries, at least 16 are needed");
    double same = agreement(b, queries);
    for (int round = 0; round < b->rounds; round++) {
        peer[round] = time_peer(b, queries);
        for (size_t i = 0; i < BATCHES; i++) {
            ours[i][round] = time_ours(b, queries, batches[i]);
            ratios[i][round] = peer[round] / ours[i][round];
        }
    }
    qsort(peer, (size_t)b->rounds, sizeof peer[0], compare_doubles);
    for (size_t i = 0; i < BATCHES; i++) {
        qsort(ratios[i], (size_t)b->rounds, sizeof(double), compare_doubles);
        qsort(ours[i], (size_t)b->rounds, sizeof(double), compare_doubles);
        const double us = ours[i][b->rounds / 2] * 1e6;
        printf("{\"what\": \"search\", \"metric\": \"%s\", \"rows\": %zu, \"dim\": %u, \"k\": %u, "
               "\"page_size\": %u, \"batch\": %zu, \"us\": %.1f, \"sqlite_vec_us\": %.1f, "
               "\"ratio\": %.2f, \"ratio_min\": %.2f, \"ratio_max\": %.2f, \"gb_per_s\": %.1f, "
               "\"same\": %.5f}\n",
            shardy_vector_metric_name(b->metric), b->vectors.rows, b->vectors.dim, b->k,
            b->page_size, batches[i], us, peer[b->rounds / 2] * 1e6, ratios[i][b->rounds / 2],
            ratios[i][0], ratios[i][b->rounds - 1],
            (double)(b->vectors.rows * b->vectors.dim * sizeof(float)) / us / 1e3, same);
    }
}

/* --- the program ------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static int parse(bench *b, int argc, char **argv)
{
    for (int i = 4; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--metric") == 0) {
            need_ok(shardy_vector_metric_parse(argv[i + 1], &b->metric, &err));
        } else if (strcmp(argv[i], "--k") == 0) {
            b->k = (uint32_t)value;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            b->rounds = (int)value;
        } else if (strcmp(argv[i], "--page-size") == 0) {
            b->page_size = (uint32_t)value;
        } else {
            return 0;
        }
    }
    return argc >= 4 && argc % 2 == 0 && b->k >= 1 && b->k <= K_MAX && b->rounds >= 1 &&
           b->rounds <= ROUNDS_MAX;
}

int main(int argc, char **argv)
{
    bench b;
    memset(&b, 0, sizeof b);
    b.metric = SHARDY_VECTOR_METRIC_COSINE;
    b.k = 10;
    b.rounds = 7;
    b.page_size = 4096;
    if (!parse(&b, argc, argv)) {
        fprintf(stderr, "usage: bench_search VECTORS.npy QUERIES.npy VEC0 [--metric cosine|l2] "
                        "[--k N] [--rounds N] [--page-size N]\n");
        return 2;
    }
    b.vec0 = argv[3];
    b.vectors = read_npy(argv[1]);
    b.queries = read_npy(argv[2]);
    need(b.vectors.dim == b.queries.dim, "vectors and queries have different dimensions");
    build(&b);
    open_both(&b);
    measure(&b);
    sqlite3_finalize(b.stmt);
    sqlite3_close(b.db);
    shardy_reader_close(b.reader);
    nftw(b.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(b.vectors.data);
    free(b.queries.data);
    return 0;
}
#endif
