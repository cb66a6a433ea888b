/* bench_search: the 10 nearest of 20,000 vectors of 384 dimensions under cosine distance, exact,
 * one query at a time and in batches of 4 and 16, against sqlite-vec on the same shard file.
 *
 *   bench_search [--data=DIR] [--rows=N] [--vec0=FILE] [--rounds=N] [--dir=DIR]
 *
 * With --data the vectors and queries come from DIR/vectors.f32.npy and DIR/queries.f32.npy;
 * otherwise N vectors and 200 queries are generated, in clusters. Both sides run on one thread and
 * are warm; sqlite-vec has the file mapped and immutable and one prepared statement. It has no
 * batches: its cost per query is the same in all lines. Every second round measures in the opposite
 * order.
 *
 * Before the rounds the answers of both sides are compared with a scan in double precision.
 * `recall` is the share of hits no farther away than the tenth best, which is fair where vectors
 * are equal, with a tolerance of 1e-6; `distance_error` the greatest difference of a distance that
 * was answered from the true one. The program fails when our recall is not 1. */
#include "support/bench.h"
#include "support/sqlite_peer.h"

#include <math.h>
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

static void need_file(int ok, const char *path, const char *expected)
{
    char message[4200];
    snprintf(message, sizeof message, "%s: expected %s", path, expected);
    bench_need(ok, message);
}

/* Reads what numpy writes for a C-contiguous float32 array of DIM columns. */
static matrix read_npy(const char *dir, const char *name)
{
    char path[4096];
    char header[NPY_HEADER + 1] = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    need_file(f != NULL, path, "a file that can be opened");
    need_file(fread(header, 1, NPY_HEADER, f) == NPY_HEADER, path, "an array of NumPy");
    need_file(memcmp(header, "\x93NUMPY\x01\0\x76\0", 10) == 0 && strstr(header + 10, "'<f4'") &&
                  strstr(header + 10, "'fortran_order': False"),
        path, "float32, little-endian, in C order, in NumPy's format 1.0");
    const char *shape = strstr(header + 10, "'shape': (");
    char *end = NULL;
    size_t rows = shape ? strtoull(shape + strlen("'shape': ("), &end, 10) : 0;
    need_file(rows > 0 && strtoull(end + 1, NULL, 10) == DIM, path, "384 columns");
    matrix m = {bench_alloc(rows * DIM, sizeof(float)), rows};
    need_file(fread(m.data, sizeof(float) * DIM, rows, f) == rows, path, "as many rows as it says");
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

/* What was answered: row number and distance. */
typedef struct answer {
    int64_t id;
    double distance;
} answer;

/* The hits of `count` queries from query `first` on; microseconds per query. */
static double ours(bench *b, size_t first, uint32_t count, uint32_t batch, answer *answers)
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
        for (size_t h = 0; answers && h < hits.offsets[batch]; h++) {
            answers[i * TOP_K + h] = (answer){hits.hits[h].id.i, hits.hits[h].score};
        }
        shardy_hits_dispose(&hits);
    }
    return (bench_now_ns() - start) / 1e3 / (double)count;
}

static double sqlite_vec(bench *b, size_t first, uint32_t count, answer *answers)
{
    double start = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_blob(b->match, 1, b->queries.data + (first + i) * DIM,
            (int)(DIM * sizeof(float)), SQLITE_STATIC);
        size_t hits = 0;
        while (sqlite3_step(b->match) == SQLITE_ROW) {
            answer hit = {sqlite3_column_int64(b->match, 0), /* numbered like the rows */
                sqlite3_column_double(b->match, 1)};
            if (answers && hits < TOP_K) {
                answers[i * TOP_K + hits] = hit;
            }
            hits++;
        }
        bench_need(hits == TOP_K, "ten hits of sqlite-vec");
        sqlite3_reset(b->match);
    }
    return (bench_now_ns() - start) / 1e3 / (double)count;
}

typedef struct verdict {
    double recall;
    double error; /* the greatest of a distance */
} verdict;

/* Of the answers to the first CHECKED queries. */
static verdict judge(const bench *b, const answer *answers)
{
    double *distances = bench_alloc(b->vectors.rows, sizeof *distances);
    double *sorted = bench_alloc(b->vectors.rows, sizeof *sorted);
    verdict v = {0, 0};
    for (size_t q = 0; q < CHECKED; q++) {
        for (size_t i = 0; i < b->vectors.rows; i++) {
            distances[i] = exact_distance(b->queries.data + q * DIM, b->vectors.data + i * DIM);
        }
        memcpy(sorted, distances, b->vectors.rows * sizeof *sorted);
        qsort(sorted, b->vectors.rows, sizeof *sorted, compare_doubles);
        for (size_t h = 0; h < TOP_K; h++) {
            answer a = answers[q * TOP_K + h];
            bench_need(a.id >= 0 && (size_t)a.id < b->vectors.rows, "a hit is none of the vectors");
            v.recall += distances[a.id] <= sorted[TOP_K - 1] + TOLERANCE;
            v.error = fmax(v.error, fabs(a.distance - distances[a.id]));
        }
    }
    free(distances);
    free(sorted);
    v.recall /= CHECKED * TOP_K;
    return v;
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
    b->db = bench_sqlite_open(file);
    sqlite3_enable_load_extension(b->db, 1);
    bench_need(sqlite3_load_extension(b->db, vec0, NULL, NULL) == SQLITE_OK, vec0);
    bench_sql(b->db, "PRAGMA cache_size=-262144; BEGIN");
    b->match = bench_prepare(
        b->db, "SELECT rowid, distance FROM vec_index WHERE embedding MATCH ? AND k = 10");
}

enum {
    SQLITE_VEC,
    SINGLE,
    BATCH_4,
    BATCH_16,
    KINDS
};

static const uint32_t batches[KINDS] = {[SINGLE] = 1, [BATCH_4] = 4, [BATCH_16] = PER_ROUND};

static void report(double (*cost)[BENCH_ROUNDS_MAX], int ours_kind, int peer_kind, int rounds,
    const bench_line *line)
{
    bench_sample *sample = bench_alloc(1, sizeof *sample);
    memcpy(sample->ours, cost[ours_kind], sizeof sample->ours);
    memcpy(sample->peer, cost[peer_kind], sizeof sample->peer);
    bench_report(line, sample, rounds);
    free(sample);
}

static void run_rounds(bench *b, int rounds, const char *more)
{
    double(*cost)[BENCH_ROUNDS_MAX] = bench_alloc(KINDS, sizeof *cost);
    for (int r = 0; r < rounds; r++) {
        size_t first = (size_t)r * PER_ROUND % (b->queries.rows - PER_ROUND);
        for (int i = 0; i < KINDS; i++) {
            int which = r % 2 == 0 ? i : KINDS - 1 - i;
            cost[which][r] = which == SQLITE_VEC ? sqlite_vec(b, first, PER_ROUND, NULL)
                                                 : ours(b, first, PER_ROUND, batches[which], NULL);
        }
    }
    size_t rows = b->vectors.rows;
    bench_line lines[] = {{"search", "sqlite-vec", "us", rows, rows == 20000 ? 5 : 0, more},
        {"search_batch_4", "sqlite-vec", "us", rows, 0, NULL},
        {"search_batch_16", "sqlite-vec", "us", rows, 0, NULL},
        {"search_batch_4", "our single queries", "us", rows, 1, NULL},
        {"search_batch_16", "our single queries", "us", rows, 1, NULL}};
    report(cost, SINGLE, SQLITE_VEC, rounds, &lines[0]);
    report(cost, BATCH_4, SQLITE_VEC, rounds, &lines[1]);
    report(cost, BATCH_16, SQLITE_VEC, rounds, &lines[2]);
    report(cost, BATCH_4, SINGLE, rounds, &lines[3]);
    report(cost, BATCH_16, SINGLE, rounds, &lines[4]);
    free(cost);
}

static void compare(bench *b, const bench_options *o)
{
    char more[200];
    answer *answers = bench_alloc((size_t)CHECKED * TOP_K, sizeof *answers);
    ours(b, 0, CHECKED, 1, answers);
    verdict we = judge(b, answers);
    sqlite_vec(b, 0, CHECKED, answers);
    verdict peer = judge(b, answers);
    snprintf(more, sizeof more,
        ",\"vectors\":\"%s\",\"recall\":%.4f,\"peer_recall\":%.4f,\"distance_error\":%.2g,"
        "\"peer_distance_error\":%.2g",
        o->data ? "real" : "generated", we.recall, peer.recall, we.error, peer.error);
    run_rounds(b, o->rounds, more);
    bench_need(we.recall == 1 && we.error < TOLERANCE,
        "an exact search finds all of the nearest, at their true distances");
    free(answers);
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
        b.vectors = make_vectors(o.rows);
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
    compare(&b, &o);
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
