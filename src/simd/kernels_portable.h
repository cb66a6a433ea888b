/* kernels_portable.h: vectors of four floats by the compiler, for kernels_body.h. */
#ifndef SHARDY_SIMD_KERNELS_PORTABLE_H
#define SHARDY_SIMD_KERNELS_PORTABLE_H

#include "kernels_impl.h"

#include <string.h>

/* Vectors of the compiler: SSE2 or NEON where there is one, plain code elsewhere. */
#define SIMD_TARGET
#define SIMD_INLINE __attribute__((always_inline)) inline
#define SIMD_WIDTH  4u

typedef float vec __attribute__((vector_size(16)));

SIMD_INLINE static vec vec_zero(void)
{
    return (vec){0, 0, 0, 0};
}

SIMD_INLINE static vec vec_load(const void *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

SIMD_INLINE static vec vec_load_part(const void *p, size_t n)
{
    vec v = {0, 0, 0, 0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

SIMD_INLINE static vec vec_fma(vec v, vec a, vec b)
{
    return v + a * b;
}

SIMD_INLINE static vec vec_add(vec a, vec b)
{
    return a + b;
}

SIMD_INLINE static vec vec_sub(vec a, vec b)
{
    return a - b;
}

SIMD_INLINE static float vec_sum(vec v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

#endif
