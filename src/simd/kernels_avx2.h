/* kernels_avx2.h: vectors of eight floats with AVX2 and FMA, for kernels_body.h. */
#ifndef SHARDY_SIMD_KERNELS_AVX2_H
#define SHARDY_SIMD_KERNELS_AVX2_H

#include "kernels_impl.h"

#if SHARDY_SIMD_X86

#include <immintrin.h>

#define SIMD_TARGET __attribute__((target("avx2,fma")))
#define SIMD_INLINE __attribute__((target("avx2,fma"), always_inline)) inline
#define SIMD_WIDTH  8u

typedef __m256 vec;

SIMD_INLINE static vec vec_zero(void)
{
    return _mm256_setzero_ps();
}

SIMD_INLINE static vec vec_load(const void *p)
{
    return _mm256_loadu_ps(p);
}

SIMD_INLINE static vec vec_load_part(const void *p, size_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}

SIMD_INLINE static vec vec_fma(vec v, vec a, vec b)
{
    return _mm256_fmadd_ps(a, b, v);
}

SIMD_INLINE static vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

SIMD_INLINE static vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

SIMD_INLINE static float vec_sum(vec v)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#endif

#endif
