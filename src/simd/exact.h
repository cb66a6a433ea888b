/* exact.h: scores of vectors in double precision, in one fixed order of operations, so that every
 * processor and compiler gives the same bits. Lower is better (shardyfusion/vector.h). */
#ifndef SHARDY_SIMD_EXACT_H
#define SHARDY_SIMD_EXACT_H

#include <stdbool.h>
#include <stdint.h>

/* A query with what can be computed beforehand. The vector is borrowed. */
typedef struct exact_query {
    const float *vector;
    uint32_t dim;
    int32_t metric;  /* shardy_vector_metric */
    double norm;     /* Euclidean length; NaN when a component is not finite */
    bool comparable; /* false: components that are not finite, a zero query under cosine; then every
                      * score is NaN */
} exact_query;

void shardy__exact_prepare(exact_query *q, const float *vector, uint32_t dim, int32_t metric);

/* The score of a row of q->dim floats at any address; finite, or NaN when it cannot be compared:
 * components that are not finite, a zero row or query under cosine. */
double shardy__exact_score(const exact_query *q, const void *row);

#endif
