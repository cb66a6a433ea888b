#include "screen.h"

#include "../base/error.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/vector.h>

#include <float.h>
#include <math.h>
#include <string.h>

/* Keys have the order of exact scores, smaller is better: cosine: -cos; l2: squared distance; dot:
 * -dot. The floor of a row is its key as computed in single precision less a margin, so at most its
 * true key; the limit of a score is at least the true key of every row of this or a better score.
 *
 * Exact scores are rounded, too, so rows of nearly equal keys can tie or change their order: by at
 * most (dim + 16) * 2^-53 < 2^-39 relative to the sum of the terms, and for 1 - x by 2^-52 more.
 * SLACK on either side covers it. */
#define SLACK 0x1p-36
#define UNIT  0x1p-24

/* Rows are taken in blocks that stay in a near cache while all queries are compared with them. */
#define BLOCK_ROWS  64u
#define BLOCK_BYTES (128u << 10)

/* Results of one block; what stands behind the last row is finite and not used. */
typedef struct block {
    float raw[SIMD_BATCH][BLOCK_ROWS]; /* what the kernel gave, for each query */
    float norms_sq[BLOCK_ROWS];
    float sizes[BLOCK_ROWS]; /* cosine: 1 / length of the row, dot: length */
    float floors[BLOCK_ROWS];
} block;

void shardy__screen_prepare(screen_query *q, const float *vector, uint32_t dim, int32_t metric)
{
    memset(q, 0, sizeof *q);
    shardy__exact_prepare(&q->exact, vector, dim, metric);
    const double norm = q->exact.norm;
    const double gamma = shardy__simd_margin_dot(dim, 1.0, 1.0);
    double slope = 0;
    double fixed = 0x1p-100; /* more than underflow can lose, see kernels.c */
    if (metric == SHARDY_VECTOR_METRIC_L2) {
        slope = shardy__simd_margin_l2sq(dim, 1.0) + 4.0 * UNIT + SLACK;
    } else if (metric == SHARDY_VECTOR_METRIC_COSINE) {
        fixed = shardy__simd_margin_cosine(dim) + 4.0 * UNIT + SLACK;
        q->exact_only = !(norm >= SIMD_NORM_MIN && norm <= SIMD_NORM_MAX);
    } else {
        /* The length of the row is known up to a factor of 1 + gamma; the 8 units are for rounding
         * that length, the margin and the difference. A query within SIMD_NORM_MAX cannot make
         * products overflow unless norms_sq does: then the margin is infinite, too. */
        slope = norm * (gamma * (1.0 + 2.0 * gamma) + 8.0 * UNIT + SLACK);
        q->exact_only = !(norm <= SIMD_NORM_MAX);
    }
    if (!q->exact.comparable) {
        q->exact_only = true;
    }
    if (!q->exact_only) {
        q->scale = metric == SHARDY_VECTOR_METRIC_COSINE ? (float)(1.0 / norm) : 1.0f;
        q->slope = (float)slope;
        q->fixed = (float)fixed;
    }
}

float shardy__screen_limit(const screen_query *q, double score)
{
    double key = score - 1.0;
    double slack = SLACK + fabs(key) * SLACK;
    if (q->exact.metric == SHARDY_VECTOR_METRIC_L2) {
        key = score * score;
        slack = key * SLACK;
    }
    double limit = key + slack;
    if (!(limit < (double)FLT_MAX)) {
        return INFINITY;
    }
    return limit < -(double)FLT_MAX ? -FLT_MAX : nextafterf((float)limit, INFINITY);
}

/* --- floors of a block ------------------------------------------------------------------------
 * Loops of BLOCK_ROWS steps without a branch, which compilers turn into vector code. What is not
 * finite gives NaN or -INFINITY, which are above no limit. */

static void floors_cosine(const screen_query *q, const float *restrict dots,
    const float *restrict inverse, float *restrict floors)
{
    const float scale = -q->scale;
    const float fixed = q->fixed;
    for (unsigned i = 0; i < BLOCK_ROWS; i++) {
        floors[i] = dots[i] * scale * inverse[i] - fixed;
    }
}

static void floors_dot(const screen_query *q, const float *restrict dots,
    const float *restrict lengths, float *restrict floors)
{
    const float slope = q->slope;
    const float fixed = q->fixed;
    for (unsigned i = 0; i < BLOCK_ROWS; i++) {
        floors[i] = -dots[i] - (slope * lengths[i] + fixed);
    }
}

static void floors_l2(const screen_query *q, const float *restrict squares, float *restrict floors)
{
    const float slope = q->slope;
    const float fixed = q->fixed;
    for (unsigned i = 0; i < BLOCK_ROWS; i++) {
        floors[i] = squares[i] - (slope * squares[i] + fixed);
    }
}

static void floors_of(block *b, const screen_query *q, unsigned slot, size_t count)
{
    if (q->exact_only) {
        for (unsigned i = 0; i < BLOCK_ROWS; i++) {
            b->floors[i] = NAN;
        }
    } else if (q->exact.metric == SHARDY_VECTOR_METRIC_COSINE) {
        floors_cosine(q, b->raw[slot], b->sizes, b->floors);
    } else if (q->exact.metric == SHARDY_VECTOR_METRIC_L2) {
        floors_l2(q, b->raw[slot], b->floors);
    } else {
        floors_dot(q, b->raw[slot], b->sizes, b->floors);
    }
    for (size_t i = count; i < BLOCK_ROWS; i++) {
        b->floors[i] = INFINITY;
    }
}

/* Lengths of rows, once for all queries; for cosine NaN outside of the range where margins hold. */
static void sizes_of(block *b, int32_t metric)
{
    const float low = (float)(SIMD_NORM_MIN * SIMD_NORM_MIN);
    const float high = (float)(SIMD_NORM_MAX * SIMD_NORM_MAX);
    if (metric == SHARDY_VECTOR_METRIC_COSINE) {
        for (unsigned i = 0; i < BLOCK_ROWS; i++) {
            float n = b->norms_sq[i];
            b->sizes[i] = n >= low && n <= high ? 1.0f / sqrtf(n) : NAN;
        }
    } else if (metric == SHARDY_VECTOR_METRIC_DOT) {
        for (unsigned i = 0; i < BLOCK_ROWS; i++) {
            /* 2^-100: squares that were lost by underflow. */
            b->sizes[i] = sqrtf(b->norms_sq[i] + 0x1p-100f);
        }
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Entries that the kernel does not write. */
static void clear_tail(block *b, size_t count)
{
    for (size_t i = count; i < BLOCK_ROWS; i++) {
        b->norms_sq[i] = 1.0f;
        for (unsigned slot = 0; slot < SIMD_BATCH; slot++) {
            b->raw[slot][i] = 0.0f;
        }
    }
}

static void run_one(
    const simd_kernels *kernels, const screen_query *q, const simd_rows *rows, block *b)
{
    if (q->exact.metric == SHARDY_VECTOR_METRIC_L2) {
        kernels->l2sq(rows, q->exact.vector, b->raw[0]);
    } else {
        kernels->dot_norm(rows, q->exact.vector, b->raw[0], b->norms_sq);
    }
    sizes_of(b, q->exact.metric);
}

/* Two to four queries; places that are left compute the first one again. */
static void run_four(const simd_kernels *kernels, const screen_query *const *queries, size_t count,
    const simd_rows *rows, block *b)
{
    const float *vectors[SIMD_BATCH];
    float *outs[SIMD_BATCH];
    for (unsigned slot = 0; slot < SIMD_BATCH; slot++) {
        vectors[slot] = queries[slot < count ? slot : 0]->exact.vector;
        outs[slot] = b->raw[slot];
    }
    if (queries[0]->exact.metric == SHARDY_VECTOR_METRIC_L2) {
        kernels->l2sq4(rows, vectors, outs);
    } else {
        kernels->dot_norm4(rows, vectors, outs, b->norms_sq);
    }
    sizes_of(b, queries[0]->exact.metric);
}

static simd_rows rows_between(const simd_rows *rows, size_t from, size_t count_max)
{
    simd_rows part = *rows;
    part.at += from;
    part.parts = rows->parts ? rows->parts + from : NULL;
    part.count = rows->count - from < count_max ? rows->count - from : count_max;
    return part;
}

void shardy__screen_floors(
    const simd_kernels *kernels, const screen_query *q, const simd_rows *rows, float *floors)
{
    block b;
    simd_rows part = *rows;
    for (size_t i = 0; i < rows->count; i += part.count) {
        part = rows_between(rows, i, BLOCK_ROWS);
        clear_tail(&b, part.count);
        run_one(kernels, q, &part, &b);
        floors_of(&b, q, 0, part.count);
        memcpy(floors + i, b.floors, part.count * sizeof *floors);
    }
}

/* Whether some floor is not above the limit. */
static int any_within(const float *floors, float limit)
{
    int any = 0;
    for (unsigned i = 0; i < BLOCK_ROWS; i++) {
        any |= !(floors[i] > limit);
    }
    return any;
}

/* The exact score of a row that is split over pages. Few rows are scored, so it may be copied. */
static double split_score(const screen_query *q, const simd_part *part)
{
    float row[SHARDY_DIM_MAX];
    for (size_t done = 0; done < q->exact.dim; done += part++->count) {
        memcpy(row + done, part->at, part->count * sizeof *row);
    }
    return shardy__exact_score(&q->exact, row);
}

static double score_of(const screen_query *q, const simd_rows *rows, size_t i)
{
    if (rows->parts && rows->parts[i]) {
        return split_score(q, rows->parts[i]);
    }
    return shardy__exact_score(&q->exact, rows->at[i]);
}

/* Scores the rows exactly that may be among the best. ids: of these rows. */
static shardy_status admit(const screen_query *q, const float *floors, const simd_rows *rows,
    const uint64_t *ids, topk *collector, shardy_error *err)
{
    double bound = collector->bound;
    float limit = shardy__screen_limit(q, bound);
    if (!any_within(floors, limit)) {
        return SHARDY_OK;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (floors[i] > limit) {
            continue;
        }
        double score = score_of(q, rows, i);
        SHARDY_TRY(shardy__topk_add(collector, ids[i], score, err));
        if (collector->bound < bound) {
            bound = collector->bound;
            limit = shardy__screen_limit(q, bound);
        }
    }
    return SHARDY_OK;
}

/* One block for all queries, up to four at once. */
static shardy_status scan_block(
    const screen_batch *batch, const simd_rows *rows, const uint64_t *ids, shardy_error *err)
{
    block b;
    clear_tail(&b, rows->count);
    for (size_t i = 0; i < batch->count;) {
        const screen_query *queries[SIMD_BATCH];
        topk *collectors[SIMD_BATCH];
        size_t n = 0;
        for (; i < batch->count && n < SIMD_BATCH; i++) {
            const topk *t = &batch->collectors[i];
            if (!t->overflow && t->k && batch->queries[i].exact.comparable) {
                queries[n] = &batch->queries[i];
                collectors[n++] = &batch->collectors[i];
            }
        }
        if (n == 1) {
            run_one(batch->kernels, queries[0], rows, &b);
        } else if (n > 1) {
            run_four(batch->kernels, queries, n, rows, &b);
        }
        for (unsigned slot = 0; slot < n; slot++) {
            floors_of(&b, queries[slot], slot, rows->count);
            SHARDY_TRY(admit(queries[slot], b.floors, rows, ids, collectors[slot], err));
        }
    }
    return SHARDY_OK;
}

static size_t block_rows(const simd_rows *rows)
{
    size_t n = BLOCK_BYTES / sizeof(float) / rows->dim;
    return n > BLOCK_ROWS ? BLOCK_ROWS : n;
}

shardy_status shardy__screen_scan(
    const screen_batch *batch, const simd_rows *rows, const uint64_t *ids, shardy_error *err)
{
    uint64_t numbers[BLOCK_ROWS];
    const size_t n = block_rows(rows);
    simd_rows part = *rows;
    for (size_t i = 0; i < rows->count; i += part.count) {
        part = rows_between(rows, i, n);
        for (size_t j = 0; j < part.count && !ids; j++) {
            numbers[j] = i + j;
        }
        SHARDY_TRY(scan_block(batch, &part, ids ? ids + i : numbers, err));
    }
    return SHARDY_OK;
}
