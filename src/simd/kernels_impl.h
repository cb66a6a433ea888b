/* kernels_impl.h: the tables of the levels, for dispatch.c. */
#ifndef SHARDY_SIMD_KERNELS_IMPL_H
#define SHARDY_SIMD_KERNELS_IMPL_H

#include "kernels.h"

#if defined(__x86_64__)
#define SHARDY_SIMD_X86 1
#else
#define SHARDY_SIMD_X86 0
#endif

extern const simd_kernels shardy__simd_portable;
#if SHARDY_SIMD_X86
extern const simd_kernels shardy__simd_avx2;
extern const simd_kernels shardy__simd_avx512;
#endif

#endif
