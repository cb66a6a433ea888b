#include "kernels_avx2.h"

#if SHARDY_SIMD_X86
#include "kernels_body.h"

const simd_kernels shardy__simd_avx2 = SIMD_FUNCTIONS("avx2");
#endif
