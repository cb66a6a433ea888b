#include "exact.h"

#include <shardyfusion/vector.h>

#include <math.h>

/* Products of floats are exact in double. Four sums side by side, added in one order at the end:
 * the order is part of the result, so it never depends on the processor. No contraction to fused
 * operations: x86-64 without options has none, and this file is compiled with -ffp-contract=off. */
typedef struct sums4 {
    double s[4];
} sums4;

static double total(const sums4 *sums)
{
    return (sums->s[0] + sums->s[1]) + (sums->s[2] + sums->s[3]);
}

static double dot(const float *a, const float *b, uint32_t dim)
{
    sums4 sums = {{0, 0, 0, 0}};
    for (uint32_t i = 0; i < dim; i++) {
        sums.s[i & 3] += (double)a[i] * (double)b[i];
    }
    return total(&sums);
}

static double square_distance(const float *a, const float *b, uint32_t dim)
{
    sums4 sums = {{0, 0, 0, 0}};
    for (uint32_t i = 0; i < dim; i++) {
        double d = (double)a[i] - (double)b[i];
        sums.s[i & 3] += d * d;
    }
    return total(&sums);
}

void shardy__exact_prepare(exact_query *q, const float *vector, uint32_t dim, int32_t metric)
{
    q->vector = vector;
    q->dim = dim;
    q->metric = metric;
    q->norm = sqrt(dot(vector, vector, dim));
}

double shardy__exact_score(const exact_query *q, const float *row)
{
    if (q->metric == SHARDY_VECTOR_METRIC_L2) {
        return sqrt(square_distance(q->vector, row, q->dim));
    }
    double product = dot(q->vector, row, q->dim);
    if (q->metric == SHARDY_VECTOR_METRIC_DOT) {
        return 1.0 - product;
    }
    double norm = sqrt(dot(row, row, q->dim));
    double score = 1.0 - product / (q->norm * norm);
    return score < 0.0 ? 0.0 : score; /* rounding: equal directions are at distance 0 */
}
