/* kernels_avx512.h: vectors of sixteen floats with AVX-512F, for kernels_body.h. */
#ifndef SHARDY_SIMD_KERNELS_AVX512_H
#define SHARDY_SIMD_KERNELS_AVX512_H

#include "kernels_impl.h"

#if SHARDY_SIMD_X86

#include <immintrin.h>

#define SIMD_TARGET __attribute__((target("avx512f,avx2,fma")))
#define SIMD_INLINE __attribute__((target("avx512f,avx2,fma"), always_inline)) inline
#define SIMD_WIDTH  16u

typedef __m512 vec;

SIMD_INLINE static vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

SIMD_INLINE static vec vec_load(const void *p)
{
    return _mm512_loadu_ps(p);
}

SIMD_INLINE static vec vec_load_part(const void *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}

SIMD_INLINE static vec vec_fma(vec v, vec a, vec b)
{
    return _mm512_fmadd_ps(a, b, v);
}

SIMD_INLINE static vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

SIMD_INLINE static vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

SIMD_INLINE static float vec_sum(vec v)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#endif

#endif
