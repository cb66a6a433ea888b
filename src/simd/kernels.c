#include "kernels.h"

/* Error bounds, after Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3.
 *
 * u = 2^-24. A result of which each term was rounded at most h times is off by at most
 * gamma = h u / (1 - h u) times the sum of the absolute values of the terms, in whatever order the
 * terms were added and whether products were fused with additions or not. kernels_body.h tells why
 * h = ceil(dim / 4) + dim / 64 + 19 holds for every level.
 *
 *   dot:   sum |q_i v_i| <= |q| |v| (Cauchy-Schwarz), so the error is <= gamma |q| |v|.
 *   l2sq:  all terms are >= 0, so the error is <= gamma D for the true value D; and since the
 *          computed value d is >= (1 - gamma) D, it is <= gamma / (1 - gamma) d as well.
 *   norms_sq: a dot product of v with itself: error <= gamma |v|^2.
 *   cosine: the dot product is off by gamma in units of |q| |v|. The root of norms_sq is off by a
 *          factor within (1 - gamma)^(-1/2) <= 1 + gamma / 2 + gamma^2 of |v| (gamma < 0.1), and at
 *          most eight roundings follow: scaling, root, division, the rounded length of the query.
 *          So |c - cos| <= gamma + (1 + gamma) (gamma / 2 + gamma^2) + 9 u
 *                       <= 1.5 gamma + 2 gamma^2 + 9 u.
 *
 * Results below the normal range lose at most 2^-126 per operation, even when the thread flushes
 * them to zero; a row has at most 2 dim operations, and joining accumulators 8. Later roundings and
 * the underflow in norms_sq (a factor of less than 1 + 2^-50 above SIMD_NORM_MIN) are in the
 * rounding of these numbers upwards. */
#define UNIT 0x1p-24

/* Computing a bound in double rounds, too. */
#define UPWARDS (1.0 + 0x1p-20)

static double gamma_of(uint32_t dim)
{
    uint32_t sums = dim / 4u + dim / 64u + 20u;
    double hu = (double)sums * UNIT;
    return hu / (1.0 - hu);
}

static double underflow_of(uint32_t dim)
{
    return (2.0 * (double)dim + 32.0) * 0x1p-126;
}

double shardy__simd_margin_dot(uint32_t dim, double query_norm, double row_norm)
{
    return (gamma_of(dim) * query_norm * row_norm + underflow_of(dim)) * UPWARDS;
}

double shardy__simd_margin_l2sq(uint32_t dim, double distance_sq)
{
    double gamma = gamma_of(dim);
    return (gamma * distance_sq + underflow_of(dim)) / (1.0 - gamma) * UPWARDS;
}

double shardy__simd_margin_cosine(uint32_t dim)
{
    double gamma = gamma_of(dim);
    return (1.5 * gamma + 2.0 * gamma * gamma + 9.0 * UNIT) * UPWARDS;
}
