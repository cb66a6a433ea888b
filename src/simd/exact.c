#include "exact.h"

#include <shardyfusion/vector.h>

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Products of two floats are exact in double, and no sum or square of floats is too large or too
 * small for it. Component i goes to sum i % 4; the order of operations is part of the result. This
 * file is compiled with -ffp-contract=off, since fused operations would give other bits. */
_Static_assert(FLT_EVAL_METHOD == 0, "double arithmetic must not keep extra precision");

typedef double pair __attribute__((vector_size(16)));
typedef float pair_f __attribute__((vector_size(8)));

/* Sums 0 and 1, 2 and 3: plain additions in each place. */
typedef struct sums4 {
    pair low, high;
} sums4;

static double total(const sums4 *sums)
{
    return (sums->low[0] + sums->low[1]) + (sums->high[0] + sums->high[1]);
}

/* Four components as doubles. Behind the end are zeros: x + 0 * 0 is x for every sum here, because
 * sums begin at +0 and so are never -0. */
static inline void load4(const unsigned char *v, size_t i, size_t dim, sums4 *out)
{
    pair_f c[2] = {{0, 0}, {0, 0}};
    const size_t n = dim - i < 4 ? dim - i : 4;
    if (n == 4) {
        memcpy(c, v + i * sizeof(float), sizeof c);
    } else {
        memcpy(c, v + i * sizeof(float), n * sizeof(float));
    }
    out->low = __builtin_convertvector(c[0], pair);
    out->high = __builtin_convertvector(c[1], pair);
}

/* a . b, and b . b, which costs little beside it. */
static double dot(const unsigned char *a, const unsigned char *b, size_t dim, double *square_out)
{
    sums4 sums = {{0, 0}, {0, 0}};
    sums4 squares = {{0, 0}, {0, 0}};
    for (size_t i = 0; i < dim; i += 4) {
        sums4 x;
        sums4 y;
        load4(a, i, dim, &x);
        load4(b, i, dim, &y);
        sums.low += x.low * y.low;
        sums.high += x.high * y.high;
        squares.low += y.low * y.low;
        squares.high += y.high * y.high;
    }
    *square_out = total(&squares);
    return total(&sums);
}

static double square_distance(const unsigned char *a, const unsigned char *b, size_t dim)
{
    sums4 sums = {{0, 0}, {0, 0}};
    for (size_t i = 0; i < dim; i += 4) {
        sums4 x;
        sums4 y;
        load4(a, i, dim, &x);
        load4(b, i, dim, &y);
        x.low -= y.low;
        x.high -= y.high;
        sums.low += x.low * x.low;
        sums.high += x.high * x.high;
    }
    return total(&sums);
}

void shardy__exact_prepare(exact_query *q, const float *vector, uint32_t dim, int32_t metric)
{
    q->vector = vector;
    q->dim = dim;
    q->metric = metric;
    double square;
    (void)dot((const unsigned char *)vector, (const unsigned char *)vector, dim, &square);
    q->norm = sqrt(square);
    q->comparable = isfinite(q->norm) && (metric != SHARDY_VECTOR_METRIC_COSINE || q->norm > 0);
    if (!q->comparable && !(q->norm == 0)) {
        q->norm = (double)NAN;
    }
}

/* Infinity and NaN in a row or a query, and 0 / 0, always reach the result. */
static double finite_or_nan(double score)
{
    return isfinite(score) ? score : (double)NAN;
}

double shardy__exact_score(const exact_query *q, const void *row)
{
    if (!q->comparable) {
        return (double)NAN;
    }
    const unsigned char *query = (const unsigned char *)q->vector;
    if (q->metric == SHARDY_VECTOR_METRIC_L2) {
        return finite_or_nan(sqrt(square_distance(query, row, q->dim)));
    }
    double square;
    double product = dot(query, row, q->dim, &square);
    if (q->metric == SHARDY_VECTOR_METRIC_DOT) {
        return finite_or_nan(1.0 - product);
    }
    double norm = sqrt(square);
    double score = finite_or_nan(1.0 - product / (q->norm * norm));
    return score < 0.0 ? 0.0 : score; /* rounding: equal directions are at distance 0 */
}
