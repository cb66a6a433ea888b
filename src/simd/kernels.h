/* kernels.h: dot products and squared distances of many rows in single precision, for each kind of
 * processor, and how far they can be from the true values.
 *
 * The results differ between processors in their last bits, so they only choose candidates
 * (screen.h); what a user sees is computed by exact.h. The processor must round to nearest; that
 * numbers below 2^-126 are flushed to zero, as in processes with a library that was linked with
 * -ffast-math, is within the margins. No function here fails or allocates; all are safe in any
 * number of threads. */
#ifndef SHARDY_SIMD_KERNELS_H
#define SHARDY_SIMD_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Queries that one pass over the rows serves at once. */
#define SIMD_BATCH 4u

typedef enum simd_level {
    SIMD_AUTO = 0, /* the best that this processor has */
    SIMD_PORTABLE = 1,
    SIMD_AVX2 = 2, /* with FMA */
    SIMD_AVX512 = 3
} simd_level;

/* Floats that lie together, in the byte order of the machine, at any address. */
typedef struct simd_part {
    const void *at;
    size_t count; /* at least 1 */
} simd_part;

/* Rows of dim floats. A row that is split over pages is a list of at most dim / 64 + 2 parts, in
 * order, which have dim floats together. Reading them where they are is much faster than copying
 * them first; of a row that is split within a float, that float is put together in a buffer and is
 * a part of its own. Nothing behind the last float of a row or part is read. Rows that lie one
 * after another in memory are read fastest. */
typedef struct simd_rows {
    const void *const *at; /* of a split row: its first part */
    size_t count;
    uint32_t dim;                  /* 1 .. SHARDY_DIM_MAX */
    const simd_part *const *parts; /* NULL, or for each row NULL when it is whole, or its parts */
} simd_rows;

/* Each function writes one float per row. Components that are not finite, and values beyond the
 * range of floats, give some infinity or NaN. dot_norm also gives the squared length of the row.
 * The functions with a 4 take four queries and four outputs. */
typedef struct simd_kernels {
    const char *name; /* "portable", "avx2", "avx512" */
    void (*dot)(const simd_rows *rows, const float *query, float *out);
    void (*l2sq)(const simd_rows *rows, const float *query, float *out);
    void (*dot_norm)(const simd_rows *rows, const float *query, float *out, float *norms_sq);
    void (*dot4)(const simd_rows *rows, const float *const *queries, float *const *outs);
    void (*l2sq4)(const simd_rows *rows, const float *const *queries, float *const *outs);
    void (*dot_norm4)(
        const simd_rows *rows, const float *const *queries, float *const *outs, float *norms_sq);
} simd_kernels;

/* The functions of a level; NULL when this processor or this build does not have it. AUTO and
 * PORTABLE are always there. Asking is cheap, but ask once per search, not per row. */
const simd_kernels *shardy__simd_kernels(simd_level level);

/* How far a result of any level is from the true value, at most, when the result is finite: dot for
 * a query and a row of at most these Euclidean lengths; l2sq for a true or a computed squared
 * distance of at most that much; cosine for dot / (length of the query * root of norms_sq), with
 * both lengths between SIMD_NORM_MIN and SIMD_NORM_MAX. */
double shardy__simd_margin_dot(uint32_t dim, double query_norm, double row_norm);
double shardy__simd_margin_l2sq(uint32_t dim, double distance_sq);
double shardy__simd_margin_cosine(uint32_t dim);

/* 2^-30 and 2^40: squares of lengths in between are far from both ends of the range of floats. */
#define SIMD_NORM_MIN 0x1p-30
#define SIMD_NORM_MAX 0x1p40

#endif
