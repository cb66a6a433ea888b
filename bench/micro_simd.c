/* micro_simd: nanoseconds per vector of comparing rows with queries, for each level of the
 * processor.
 *
 *   micro_simd [--dim N] [--rows N] [--k N] [--rounds N]
 *
 * 20,000 rows of 384 dimensions (30 MB) and k = 10 unless told otherwise; the median and the best
 * of the rounds (default 15) after one to warm up. One JSON line for each measurement: `read`
 * touches the rows, as a measure of the memory; `exact` scores all of them; `kernel` is kernels
 * alone; `scan` is a whole search, for one query and for batches. ns_per_vector is per query and
 * vector, gb_per_s is of the best round. */
#include "simd/screen.h"
#include "support/bench.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERIES_MAX 16

typedef struct bench {
    uint32_t dim;
    size_t rows;
    size_t k;
    int rounds;
    float *memory;
    const void **at;
    float *out[SIMD_BATCH];
    float *norms;
    float *queries[QUERIES_MAX];
} bench;

typedef struct task {
    const bench *b;
    const simd_kernels *kernels;
    int metric;
    size_t queries;
} task;

/* --- what is measured ------------------------------------------------------------------------- */

static volatile uint64_t sink;

/* One load for each cache line is enough to bring the rows here. */
static void run_read(const task *t)
{
    const bench *b = t->b;
    const uint32_t *words = (const uint32_t *)(const void *)b->memory;
    uint64_t sums[4] = {0};
    const size_t count = b->rows * b->dim;
    for (size_t i = 0; i + 64 <= count; i += 64) {
        sums[0] += words[i];
        sums[1] += words[i + 16];
        sums[2] += words[i + 32];
        sums[3] += words[i + 48];
    }
    sink = sums[0] + sums[1] + sums[2] + sums[3];
}

static void run_kernel(const task *t)
{
    const bench *b = t->b;
    const simd_rows rows = {b->at, b->rows, b->dim, NULL};
    const float *const *queries = (const float *const *)b->queries;
    if (t->metric == SHARDY_VECTOR_METRIC_L2) {
        if (t->queries == 1) {
            t->kernels->l2sq(&rows, queries[0], b->out[0]);
        } else {
            t->kernels->l2sq4(&rows, queries, b->out);
        }
    } else if (t->queries == 1) {
        t->kernels->dot_norm(&rows, queries[0], b->out[0], b->norms);
    } else {
        t->kernels->dot_norm4(&rows, queries, b->out, b->norms);
    }
}

static void run_scan(const task *t)
{
    const bench *b = t->b;
    const simd_rows rows = {b->at, b->rows, b->dim, NULL};
    screen_query queries[QUERIES_MAX];
    topk collectors[QUERIES_MAX];
    const screen_batch batch = {t->kernels, queries, collectors, t->queries};
    shardy_error err;
    for (size_t j = 0; j < t->queries; j++) {
        shardy__screen_prepare(&queries[j], b->queries[j], b->dim, t->metric);
        shardy__topk_init(&collectors[j], b->k, b->rows);
    }
    if (shardy__screen_scan(&batch, &rows, NULL, &err) < 0) {
        fprintf(stderr, "micro_simd: %s\n", err.message);
    }
    for (size_t j = 0; j < t->queries; j++) {
        if (shardy__topk_finish(&collectors[j], &err) < 0) {
            fprintf(stderr, "micro_simd: %s\n", err.message);
        }
        sink += collectors[j].count;
        shardy__topk_free(&collectors[j]);
    }
}

static void run_exact(const task *t)
{
    const bench *b = t->b;
    exact_query q;
    shardy__exact_prepare(&q, b->queries[0], b->dim, t->metric);
    double sum = 0;
    for (size_t i = 0; i < b->rows; i++) {
        sum += shardy__exact_score(&q, b->at[i]);
    }
    sink += sum > 0;
}

static void measure(const char *name, void (*run)(const task *), const task *t)
{
    const bench *b = t->b;
    double times[BENCH_ROUNDS_MAX];
    double least = 1e300;
    for (int i = -1; i < b->rounds; i++) {
        double start = bench_now_ns();
        run(t);
        double ns = bench_now_ns() - start;
        times[i < 0 ? 0 : i] = ns;
        least = ns < least ? ns : least;
    }
    const double median = bench_median(times, b->rounds);
    const double vectors = (double)b->rows * (double)t->queries;
    printf("{\"what\": \"%s\", \"level\": \"%s\", \"metric\": \"%s\", \"queries\": %zu, "
           "\"rows\": %zu, \"dim\": %u, \"ms\": %.3f, \"ms_min\": %.3f, "
           "\"ns_per_vector\": %.1f, \"ns_per_vector_min\": %.1f, \"gb_per_s\": %.1f}\n",
        name, t->kernels->name, shardy_vector_metric_name(t->metric), t->queries, b->rows, b->dim,
        median / 1e6, least / 1e6, median / vectors, least / vectors,
        (double)(b->rows * b->dim * sizeof(float)) / least);
}

static void measure_level(const bench *b, const simd_kernels *kernels)
{
    static const int metrics[] = {SHARDY_VECTOR_METRIC_COSINE, SHARDY_VECTOR_METRIC_L2};
    static const size_t batches[] = {1, SIMD_BATCH, QUERIES_MAX};
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        for (size_t j = 0; j < sizeof batches / sizeof batches[0]; j++) {
            const task t = {b, kernels, metrics[i], batches[j]};
            if (batches[j] <= SIMD_BATCH) {
                measure("kernel", run_kernel, &t);
            }
            measure("scan", run_scan, &t);
        }
    }
}

/* --- the program ------------------------------------------------------------------------------ */

static float random_float(uint64_t *state)
{
    float sum = 0; /* of four, nearly a normal distribution */
    for (int i = 0; i < 4; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(*state >> 40) * 0x1p-24f - 0.5f;
    }
    return sum;
}

static int fill(bench *b)
{
    uint64_t state = 1;
    b->memory = malloc((b->rows * b->dim + 1) * sizeof(float));
    b->at = malloc(b->rows * sizeof *b->at);
    b->norms = malloc(b->rows * sizeof(float));
    int ok = b->memory && b->at && b->norms;
    for (size_t j = 0; ok && j < SIMD_BATCH; j++) {
        b->out[j] = malloc(b->rows * sizeof(float));
        ok = b->out[j] != NULL;
    }
    for (size_t j = 0; ok && j < QUERIES_MAX; j++) {
        b->queries[j] = malloc(b->dim * sizeof(float));
        ok = b->queries[j] != NULL;
        for (size_t i = 0; ok && i < b->dim; i++) {
            b->queries[j][i] = random_float(&state);
        }
    }
    for (size_t i = 0; ok && i < b->rows * b->dim + 1; i++) {
        b->memory[i] = random_float(&state);
    }
    for (size_t i = 0; ok && i < b->rows; i++) {
        b->at[i] = b->memory + 1 + i * b->dim; /* not at the begin of a cache line */
    }
    return ok;
}

static void release(bench *b)
{
    for (size_t j = 0; j < QUERIES_MAX; j++) {
        free(b->queries[j]);
    }
    for (size_t j = 0; j < SIMD_BATCH; j++) {
        free(b->out[j]);
    }
    free(b->norms);
    free(b->at);
    free(b->memory);
}

static int parse(bench *b, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--dim") == 0) {
            b->dim = (uint32_t)value;
        } else if (strcmp(argv[i], "--rows") == 0) {
            b->rows = value;
        } else if (strcmp(argv[i], "--k") == 0) {
            b->k = value;
        } else if (strcmp(argv[i], "--rounds") == 0) {
            b->rounds = (int)value;
        } else {
            return 0;
        }
    }
    return argc % 2 == 1 && b->dim >= 1 && b->dim <= SHARDY_DIM_MAX && b->rows >= 1 &&
           b->rows <= 10000000 && b->rounds >= 1 && b->rounds <= BENCH_ROUNDS_MAX;
}

int main(int argc, char **argv)
{
    bench b = {.dim = 384, .rows = 20000, .k = 10, .rounds = 15};
    if (!parse(&b, argc, argv)) {
        fprintf(stderr, "usage: micro_simd [--dim N] [--rows N] [--k N] [--rounds N]\n");
        return 2;
    }
    if (!fill(&b)) {
        fprintf(stderr, "micro_simd: out of memory\n");
        release(&b);
        return 1;
    }
    const task plain = {&b, shardy__simd_kernels(SIMD_PORTABLE), SHARDY_VECTOR_METRIC_COSINE, 1};
    measure("read", run_read, &plain);
    measure("exact", run_exact, &plain);
    for (int level = SIMD_PORTABLE; level <= SIMD_AVX512; level++) {
        const simd_kernels *kernels = shardy__simd_kernels((simd_level)level);
        if (kernels) {
            measure_level(&b, kernels);
        }
    }
    release(&b);
    return 0;
}
