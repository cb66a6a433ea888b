/* kernels_body.h: the kernels of one level, for the file that includes it once after a header that
 * defines
 *
 *   SIMD_TARGET         attribute of each function
 *   SIMD_INLINE         the same and always inlined
 *   vec                 a vector of SIMD_WIDTH (4 .. 16) floats
 *   vec_zero, vec_load, vec_load_part (the first n < SIMD_WIDTH floats, then zeros; reads no more),
 *   vec_fma(v, a, b) (v + a * b), vec_add, vec_sub, vec_sum
 *
 * Rounding, which kernels.c bounds: a component is rounded once per step of its own accumulator, at
 * most ceil(n / 4) times for each part of n floats, and at most 16 times elsewhere (difference
 * squared: 2, product: 1, joining accumulators: 2, vec_sum: 4). There are at most dim / 64 + 2
 * parts. */
#ifndef SHARDY_SIMD_KERNELS_BODY_H
#define SHARDY_SIMD_KERNELS_BODY_H

#include <stdbool.h>

/* Chosen by bench/micro_simd.c: how far ahead rows are asked for with four queries; what may lie
 * between rows that follow one another. */
#define PREFETCH4_BYTES 6144u
#define NEAR_BYTES      64u

enum kernel_mode {
    KERNEL_DOT,
    KERNEL_L2SQ,
    KERNEL_DOT_NORM
};

SIMD_INLINE static void step(vec *sum, vec v, vec q, enum kernel_mode mode)
{
    if (mode == KERNEL_L2SQ) {
        vec d = vec_sub(v, q);
        *sum = vec_fma(*sum, d, d);
    } else {
        *sum = vec_fma(*sum, v, q);
    }
}

SIMD_INLINE static void step_norm(vec *sum, vec v, enum kernel_mode mode)
{
    if (mode == KERNEL_DOT_NORM) {
        *sum = vec_fma(*sum, v, v);
    }
}

/* Accumulators of one query and one row: four, to hide the latency of additions. */
typedef struct sums1q {
    vec a, b, c, d;
    vec an, bn, cn, dn; /* of the squared length */
} sums1q;

SIMD_INLINE static void step_both(
    vec *sum, vec *norm, const unsigned char *row, const float *query, enum kernel_mode mode)
{
    vec v = vec_load(row);
    step(sum, v, vec_load(query), mode);
    step_norm(norm, v, mode);
}

/* The first n < SIMD_WIDTH floats. */
SIMD_INLINE static void step_part(
    sums1q *s, const unsigned char *row, const float *query, size_t n, enum kernel_mode mode)
{
    vec v = vec_load_part(row, n);
    step(&s->b, v, vec_load_part(query, n), mode);
    step_norm(&s->bn, v, mode);
}

/* One part of a row. Vectors that cross a cache line cost twice, and all rows in a page do: so a
 * few floats are taken first, up to where the rest of the row is aligned. */
SIMD_INLINE static void add_part(
    sums1q *s, const unsigned char *row, size_t n, const float *query, enum kernel_mode mode)
{
    const size_t w = SIMD_WIDTH;
    size_t i = (0 - (uintptr_t)row) / sizeof(float) % w;
    if (n < 4 * w || SIMD_WIDTH < 8u) {
        i = 0;
    } else if (i) {
        step_part(s, row, query, i, mode);
    }
    for (; i + 4 * w <= n; i += 4 * w) {
        const unsigned char *r = row + i * sizeof(float);
        step_both(&s->a, &s->an, r, query + i, mode);
        step_both(&s->b, &s->bn, r + w * sizeof(float), query + i + w, mode);
        step_both(&s->c, &s->cn, r + 2 * w * sizeof(float), query + i + 2 * w, mode);
        step_both(&s->d, &s->dn, r + 3 * w * sizeof(float), query + i + 3 * w, mode);
    }
    for (; i + w <= n; i += w) {
        step_both(&s->a, &s->an, row + i * sizeof(float), query + i, mode);
    }
    if (i < n) {
        step_part(s, row + i * sizeof(float), query + i, n - i, mode);
    }
}

/* Rows that lie in memory one after another are fetched ahead by the processor, and best so; for
 * others it is told. */
SIMD_INLINE static void fetch_ahead(const simd_rows *rows, size_t i)
{
    if (i + 2 >= rows->count) {
        return;
    }
    const size_t len = rows->dim * sizeof(float);
    const unsigned char *row = rows->at[i + 2];
    if ((uintptr_t)row - (uintptr_t)rows->at[i] <= 2 * len + NEAR_BYTES) {
        return;
    }
    for (size_t at = 0; at < len; at += 64) {
        __builtin_prefetch(row + at, 0, 3);
    }
}

SIMD_INLINE static void all_rows(
    const simd_rows *rows, const float *query, enum kernel_mode mode, float *out, float *norms)
{
    const vec z = vec_zero();
    for (size_t i = 0; i < rows->count; i++) {
        sums1q s = {z, z, z, z, z, z, z, z};
        simd_part whole = {rows->at[i], rows->dim};
        const simd_part *part = rows->parts && rows->parts[i] ? rows->parts[i] : &whole;
        fetch_ahead(rows, i);
        for (size_t done = 0; done < rows->dim; done += part++->count) {
            add_part(&s, part->at, part->count, query + done, mode);
        }
        out[i] = vec_sum(vec_add(vec_add(s.a, s.b), vec_add(s.c, s.d)));
        if (mode == KERNEL_DOT_NORM) {
            norms[i] = vec_sum(vec_add(vec_add(s.an, s.bn), vec_add(s.cn, s.dn)));
        }
    }
}

/* Accumulators of four queries for one row. */
typedef struct sums4q {
    vec q0, q1, q2, q3, norm;
} sums4q;

SIMD_INLINE static void finish4(
    const sums4q *s, float *const *outs, size_t i, enum kernel_mode mode, float *norms)
{
    outs[0][i] = vec_sum(s->q0);
    outs[1][i] = vec_sum(s->q1);
    outs[2][i] = vec_sum(s->q2);
    outs[3][i] = vec_sum(s->q3);
    if (mode == KERNEL_DOT_NORM) {
        norms[i] = vec_sum(s->norm);
    }
}

SIMD_INLINE static void step4(
    sums4q *s, sums4q *t, vec v, vec w, const vec *queries, enum kernel_mode mode)
{
    step(&s->q0, v, queries[0], mode);
    step(&t->q0, w, queries[0], mode);
    step(&s->q1, v, queries[1], mode);
    step(&t->q1, w, queries[1], mode);
    step(&s->q2, v, queries[2], mode);
    step(&t->q2, w, queries[2], mode);
    step(&s->q3, v, queries[3], mode);
    step(&t->q3, w, queries[3], mode);
    step_norm(&s->norm, v, mode);
    step_norm(&t->norm, w, mode);
}

SIMD_INLINE static void step4_row(
    sums4q *s, vec v, const float *const *p, size_t k, enum kernel_mode mode)
{
    step(&s->q0, v, vec_load(p[0] + k), mode);
    step(&s->q1, v, vec_load(p[1] + k), mode);
    step(&s->q2, v, vec_load(p[2] + k), mode);
    step(&s->q3, v, vec_load(p[3] + k), mode);
    step_norm(&s->norm, v, mode);
}

SIMD_INLINE static void step4_row_part(
    sums4q *s, vec v, const float *const *p, size_t k, size_t n, enum kernel_mode mode)
{
    step(&s->q0, v, vec_load_part(p[0] + k, n), mode);
    step(&s->q1, v, vec_load_part(p[1] + k, n), mode);
    step(&s->q2, v, vec_load_part(p[2] + k, n), mode);
    step(&s->q3, v, vec_load_part(p[3] + k, n), mode);
    step_norm(&s->norm, v, mode);
}

/* Four queries and one row in parts. */
SIMD_INLINE static void split_row4(const simd_rows *rows, size_t i, const float *const *queries,
    float *const *outs, enum kernel_mode mode, float *norms)
{
    sums4q s = {vec_zero(), vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    const simd_part *part = rows->parts[i];
    for (size_t done = 0; done < rows->dim; done += part++->count) {
        const unsigned char *row = part->at;
        size_t k = 0;
        for (; k + SIMD_WIDTH <= part->count; k += SIMD_WIDTH) {
            __builtin_prefetch(row + k * sizeof(float) + PREFETCH4_BYTES, 0, 3);
            step4_row(&s, vec_load(row + k * sizeof(float)), queries, done + k, mode);
        }
        if (k < part->count) {
            size_t n = part->count - k;
            vec v = vec_load_part(row + k * sizeof(float), n);
            step4_row_part(&s, v, queries, done + k, n, mode);
        }
    }
    finish4(&s, outs, i, mode, norms);
}

/* Four queries and two rows, pair[0] and pair[1] (which may be the same): eight products for six
 * loads. */
SIMD_INLINE static void two_rows4(const simd_rows *rows, const size_t *pair,
    const float *const *queries, float *const *outs, enum kernel_mode mode, float *norms)
{
    const unsigned char *row = rows->at[pair[0]];
    const unsigned char *other = rows->at[pair[1]];
    const float *p0 = queries[0], *p1 = queries[1], *p2 = queries[2], *p3 = queries[3];
    const sums4q zero = {vec_zero(), vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    const size_t dim = rows->dim;
    sums4q s = zero;
    sums4q t = zero;
    size_t k = 0;
    for (; k + SIMD_WIDTH <= dim; k += SIMD_WIDTH) {
        const vec q[4] = {vec_load(p0 + k), vec_load(p1 + k), vec_load(p2 + k), vec_load(p3 + k)};
        vec v = vec_load(row + k * sizeof(float));
        vec w = vec_load(other + k * sizeof(float));
        __builtin_prefetch(row + k * sizeof(float) + PREFETCH4_BYTES, 0, 3);
        __builtin_prefetch(other + k * sizeof(float) + PREFETCH4_BYTES, 0, 3);
        step4(&s, &t, v, w, q, mode);
    }
    if (k < dim) {
        const size_t n = dim - k;
        const vec q[4] = {vec_load_part(p0 + k, n), vec_load_part(p1 + k, n),
            vec_load_part(p2 + k, n), vec_load_part(p3 + k, n)};
        vec v = vec_load_part(row + k * sizeof(float), n);
        vec w = vec_load_part(other + k * sizeof(float), n);
        step4(&s, &t, v, w, q, mode);
    }
    finish4(&s, outs, pair[0], mode, norms);
    finish4(&t, outs, pair[1], mode, norms);
}

SIMD_INLINE static bool is_split(const simd_rows *rows, size_t i)
{
    return rows->parts && rows->parts[i];
}

SIMD_INLINE static void all_rows4(const simd_rows *rows, const float *const *queries,
    enum kernel_mode mode, float *const *outs, float *norms)
{
    size_t pair[2] = {0, 0};
    bool waiting = false; /* pair[0] is a whole row without a partner */
    for (size_t i = 0; i < rows->count; i++) {
        if (is_split(rows, i)) {
            split_row4(rows, i, queries, outs, mode, norms);
            continue;
        }
        pair[waiting] = i;
        if (waiting) {
            two_rows4(rows, pair, queries, outs, mode, norms);
        }
        waiting = !waiting;
    }
    if (waiting) {
        pair[1] = pair[0];
        two_rows4(rows, pair, queries, outs, mode, norms);
    }
}

SIMD_TARGET static void dot(const simd_rows *rows, const float *query, float *out)
{
    all_rows(rows, query, KERNEL_DOT, out, out);
}

SIMD_TARGET static void l2sq(const simd_rows *rows, const float *query, float *out)
{
    all_rows(rows, query, KERNEL_L2SQ, out, out);
}

SIMD_TARGET static void dot_norm(
    const simd_rows *rows, const float *query, float *out, float *norms_sq)
{
    all_rows(rows, query, KERNEL_DOT_NORM, out, norms_sq);
}

SIMD_TARGET static void dot4(const simd_rows *rows, const float *const *queries, float *const *outs)
{
    all_rows4(rows, queries, KERNEL_DOT, outs, outs[0]);
}

SIMD_TARGET static void l2sq4(
    const simd_rows *rows, const float *const *queries, float *const *outs)
{
    all_rows4(rows, queries, KERNEL_L2SQ, outs, outs[0]);
}

SIMD_TARGET static void dot_norm4(
    const simd_rows *rows, const float *const *queries, float *const *outs, float *norms_sq)
{
    all_rows4(rows, queries, KERNEL_DOT_NORM, outs, norms_sq);
}

/* The table, without its name. */
#define SIMD_FUNCTIONS(name)                                                                       \
    {                                                                                              \
        name, dot, l2sq, dot_norm, dot4, l2sq4, dot_norm4                                          \
    }

#endif
