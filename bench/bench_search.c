/* bench_search: the 10 nearest of 20,000 vectors of 384 dimensions under cosine distance, exact,
 * one query at a time and in batches of 4 and 16, against sqlite-vec on the same shard file.
 *
 *   bench_search [--data=DIR] [--vec0=FILE] [--rounds=N] [--dir=DIR] [--rows=N]
 *
 * With --data the vectors and queries come from DIR/vectors.f32.npy and DIR/queries.f32.npy;
 * otherwise N of them (default 20,000) are generated, in clusters. Both sides run on one thread and
 * are warm; sqlite-vec has the file mapped and immutable and one prepared statement. It has no
 * batches: its cost per query is the same in all lines. Before the rounds the answers of both sides
 * are compared with a scan in double precision: `recall` is the share of hits no farther away than
 * the tenth best, with a tolerance of 1e-6. */
#include "support/bench.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP_K      10u
#define DIM        384u
#define CHECKED    50u
#define PER_ROUND  16u
#define NPY_HEADER 128u
#define TOLERANCE  1e-6

typedef struct matrix {
    float *data;
    size_t rows;
} matrix;

/* --- vectors ---------------------------------------------------------------------------------- */

/* Reads what numpy writes for a C-contiguous float32 array of DIM columns. */
static matrix read_npy(const char *dir, const char *name)
{
    char path[4096];
    char header[NPY_HEADER + 1] = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    bench_need(f != NULL, path);
    bench_need(fread(header, 1, NPY_HEADER, f) == NPY_HEADER, path);
    bench_need(memcmp(header, "\x93NUMPY\x01\0\x76\0", 10) == 0 && strstr(header + 10, "'<f4'") &&
                   strstr(header + 10, "'fortran_order': False"),
        path);
    const char *shape = strstr(header + 10, "'shape': (");
    char *end = NULL;
    size_t rows = shape ? strtoull(shape + strlen("'shape': ("), &end, 10) : 0;
    bench_need(rows > 0 && strtoull(end + 1, NULL, 10) == DIM, path);
    matrix m = {bench_alloc(rows * DIM, sizeof(float)), rows};
    bench_need(fread(m.data, sizeof(float) * DIM, rows, f) == rows, path);
    fclose(f);
    return m;
}

static float random_float(void)
{
    return (float)((double)(bench_random() >> 11) * 0x1p-53 * 2 - 1);
}

/* Unit vectors around one of 64 centres: real embeddings are not spread evenly. */
static matrix make_vectors(size_t rows)
{
    static float centres[64][DIM];
    matrix m = {bench_alloc(rows * DIM, sizeof(float)), rows};
    if (centres[0][0] == 0) {
        for (size_t i = 0; i < 64 * DIM; i++) {
            centres[i / DIM][i % DIM] = random_float();
        }
    }
    for (size_t i = 0; i < rows; i++) {
        float *row = m.data + i * DIM;
        const float *centre = centres[bench_random() % 64];
        double norm = 0;
        for (size_t d = 0; d < DIM; d++) {
            row[d] = centre[d] + random_float();
            norm += (double)row[d] * (double)row[d];
        }
        for (size_t d = 0; d < DIM; d++) {
            row[d] = (float)((double)row[d] / sqrt(norm));
        }
    }
    return m;
}

static double exact_distance(const float *a, const float *b)
{
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (size_t d = 0; d < DIM; d++) {
        dot += (double)a[d] * (double)b[d];
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
    }
    return 1 - dot / sqrt(aa * bb);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* --- both sides ------------------------------------------------------------------------------- */

typedef struct bench {
    shardy_reader *reader;
    sqlite3 *db;
    sqlite3_stmt *match;
    matrix vectors;
    matrix queries;
} bench;

/* Row numbers of the hits of `count` queries from query `first` on; microseconds per query. */
static double ours(bench *b, size_t first, uint32_t count, uint32_t batch, int64_t *ids)
{
    shardy_error err;
    double start = bench_now_ns();
    for (size_t i = 0; i < count; i += batch) {
        shardy_query query;
        shardy_query_init(&query, sizeof query);
        query.vectors = b->queries.data + (first + i) * DIM;
        query.count = batch;
        query.dim = DIM;
        query.top_k = TOP_K;
        shardy_hits hits;
        bench_check(shardy_reader_search(b->reader, &query, NULL, &hits, &err), "search", &err);
        bench_need(hits.offsets[batch] == (size_t)batch * TOP_K, "ten hits for each query");
        for (size_t h = 0; ids && h < hits.offsets[batch]; h++) {
            ids[i * TOP_K + h] = hits.hits[h].id.i;
        }
        shardy_hits_dispose(&hits);
    }
    return (bench_now_ns() - start) / 1e3 / (double)count;
}

static double sqlite_vec(bench *b, size_t first, uint32_t count, int64_t *ids)
{
    double start = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_blob(b->match, 1, b->queries.data + (first + i) * DIM,
            (int)(DIM * sizeof(float)), SQLITE_STATIC);
        size_t hits = 0;
        while (sqlite3_step(b->match) == SQLITE_ROW) {
            int64_t id = sqlite3_column_int64(b->match, 0); /* numbered like the rows */
            if (ids && hits < TOP_K) {
                ids[i * TOP_K + hits] = id;
            }
            hits++;
        }
        bench_need(hits == TOP_K, "ten hits of sqlite-vec");
        sqlite3_reset(b->match);
    }
    return (bench_now_ns() - start) / 1e3 / (double)count;
}

static double recall(const bench *b, const int64_t *ids)
{
    double *distances = bench_alloc(b->vectors.rows, sizeof *distances);
    double *sorted = bench_alloc(b->vectors.rows, sizeof *sorted);
    size_t good = 0;
    for (size_t q = 0; q < CHECKED; q++) {
        for (size_t i = 0; i < b->vectors.rows; i++) {
            distances[i] = exact_distance(b->queries.data + q * DIM, b->vectors.data + i * DIM);
        }
        memcpy(sorted, distances, b->vectors.rows * sizeof *sorted);
        qsort(sorted, b->vectors.rows, sizeof *sorted, compare_doubles);
        for (size_t h = 0; h < TOP_K; h++) {
            int64_t id = ids[q * TOP_K + h];
            bench_need(id >= 0 && (size_t)id < b->vectors.rows, "a hit is none of the vectors");
            good += distances[id] <= sorted[TOP_K - 1] + TOLERANCE;
        }
    }
    free(distances);
    free(sorted);
    return (double)good / (CHECKED * TOP_K);
}

/* --- making and opening ----------------------------------------------------------------------- */

static void build(const char *path, const matrix *m)
{
    shardy_error err;
    shardy_writer_options options;
    shardy_writer *writer;
    shardy_writer_options_init(&options, sizeof options);
    options.dim = DIM;
    bench_check(shardy_writer_open(NULL, path, &options, &writer, &err), "open a writer", &err);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    for (size_t i = 0; i < m->rows; i++) {
        row.key = shardy_key_int((int64_t)i);
        row.value.data = "";
        row.vector = m->data + i * DIM;
        row.dim = DIM;
        bench_check(shardy_writer_put(writer, &row, &err), "put", &err);
    }
    bench_check(shardy_writer_finish(writer, NULL, &err), "finish", &err);
    shardy_writer_close(writer);
}

static void open_peer(bench *b, const char *file, const char *vec0)
{
    char uri[4200];
    snprintf(uri, sizeof uri, "file:%s?immutable=1", file);
    bench_need(
        sqlite3_open_v2(uri, &b->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) == SQLITE_OK,
        "sqlite3_open_v2");
    sqlite3_enable_load_extension(b->db, 1);
    bench_need(sqlite3_load_extension(b->db, vec0, NULL, NULL) == SQLITE_OK, vec0);
    bench_need(
        sqlite3_exec(b->db, "PRAGMA mmap_size=1099511627776; BEGIN", NULL, NULL, NULL) == SQLITE_OK,
        "pragma");
    bench_need(sqlite3_prepare_v2(b->db,
                   "SELECT rowid, distance FROM vec_index WHERE embedding MATCH ? AND k = 10", -1,
                   &b->match, NULL) == SQLITE_OK,
        sqlite3_errmsg(b->db));
}

static void run_rounds(bench *b, int rounds)
{
    bench_sample *samples = bench_alloc(3, sizeof *samples);
    static const uint32_t batches[3] = {1, 4, PER_ROUND};
    static const char *const names[3] = {"search", "search_batch_4", "search_batch_16"};
    int64_t *ids = bench_alloc((size_t)CHECKED * TOP_K, sizeof *ids);
    char more[128];
    ours(b, 0, CHECKED, 1, ids);
    double our_recall = recall(b, ids);
    sqlite_vec(b, 0, CHECKED, ids);
    snprintf(
        more, sizeof more, ",\"recall\":%.4f,\"peer_recall\":%.4f", our_recall, recall(b, ids));
    for (int r = 0; r < rounds; r++) {
        size_t first = (size_t)r * PER_ROUND % (b->queries.rows - PER_ROUND);
        double peer = sqlite_vec(b, first, PER_ROUND, NULL);
        for (int i = 0; i < 3; i++) {
            samples[i].ours[r] = ours(b, first, PER_ROUND, batches[i], NULL);
            samples[i].peer[r] = peer;
        }
    }
    for (int i = 0; i < 3; i++) {
        bench_line line = {names[i], "sqlite-vec", "us", b->vectors.rows, i == 0 ? 5 : 0, more};
        bench_report(&line, &samples[i], rounds);
    }
    bench_need(our_recall == 1, "a search that is exact finds all of the nearest");
    free(ids);
    free(samples);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    bench_pin_to_one_core();
    bench b;
    memset(&b, 0, sizeof b);
    if (o.data) {
        b.vectors = read_npy(o.data, "vectors.f32.npy");
        b.queries = read_npy(o.data, "queries.f32.npy");
    } else {
        b.vectors = make_vectors(o.rows == 1000000 ? 20000 : o.rows);
        b.queries = make_vectors(200);
    }
    char *path = bench_fresh_dir(o.dir, "search");
    build(path, &b.vectors);
    shardy_error err;
    shardy_context_options context_options;
    shardy_context *context;
    shardy_context_options_init(&context_options, sizeof context_options);
    context_options.threads = 1;
    bench_check(shardy_context_new(&context_options, &context, &err), "context", &err);
    bench_check(shardy_reader_open(context, path, NULL, &b.reader, &err), "open", &err);
    char *file = bench_shard_file(path);
    open_peer(&b, file, o.vec0);
    run_rounds(&b, o.rounds);
    sqlite3_finalize(b.match);
    sqlite3_close(b.db);
    shardy_reader_close(b.reader);
    shardy_context_free(context);
    free(file);
    free(path);
    free(b.vectors.data);
    free(b.queries.data);
    return 0;
}
