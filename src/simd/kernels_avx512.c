#include "kernels_avx512.h"

#if SHARDY_SIMD_X86
#include "kernels_body.h"

const simd_kernels shardy__simd_avx512 = SIMD_FUNCTIONS("avx512");
#endif
