#include "kernels_impl.h"

#if SHARDY_SIMD_X86

static const simd_kernels *avx2(void)
{
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &shardy__simd_avx2;
    }
    return NULL;
}

static const simd_kernels *avx512(void)
{
    return avx2() && __builtin_cpu_supports("avx512f") ? &shardy__simd_avx512 : NULL;
}

#else

static const simd_kernels *avx2(void)
{
    return NULL;
}

static const simd_kernels *avx512(void)
{
    return NULL;
}

#endif

const simd_kernels *shardy__simd_kernels(simd_level level)
{
    switch (level) {
    case SIMD_PORTABLE:
        return &shardy__simd_portable;
    case SIMD_AVX2:
        return avx2();
    case SIMD_AVX512:
        return avx512();
    case SIMD_AUTO:
        break;
    }
    const simd_kernels *best = avx512();
    if (!best) {
        best = avx2();
    }
    return best ? best : &shardy__simd_portable;
}
