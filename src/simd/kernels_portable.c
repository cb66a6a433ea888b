#include "kernels_portable.h"

#include "kernels_body.h"

const simd_kernels shardy__simd_portable = SIMD_FUNCTIONS("portable");
