/* Kernels of every level this processor has, exact scores, and the choice of candidates, against
 * long double arithmetic and plain sorting. */
#include "simd/exact.h"
#include "simd/kernels.h"
#include "simd/screen.h"
#include "support/support.h"

#include <shardyfusion/vector.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DIM_MAX    1100u
#define ROWS_MAX   9u
#define METRICS    3
#define SCAN_ROWS  400u
#define BATCH_MAX  7u
#define LEVEL_LAST SIMD_AVX512

enum kind {
    KIND_NORMAL,   /* about 1 */
    KIND_MIXED,    /* exponents from 2^-20 to 2^20 */
    KIND_DENORMAL, /* below 2^-126 and a little above */
    KIND_HUGE,     /* near FLT_MAX: products and sums overflow */
    KIND_TINY,     /* about 2^-60: products are lost, lengths are out of the trusted range */
    KIND_SAME,     /* nearly the query: cancellation */
    KIND_COUNT
};

static float random_unit(support_rand *rand)
{
    return (float)((double)(support_rand_u64(rand) >> 11) * 0x1p-52 - 1.0);
}

static float random_float(support_rand *rand, enum kind kind, float query)
{
    float unit = random_unit(rand);
    switch (kind) {
    case KIND_MIXED:
        return ldexpf(unit, (int)support_rand_below(rand, 41) - 20);
    case KIND_DENORMAL:
        return ldexpf(unit, -149 + (int)support_rand_below(rand, 26));
    case KIND_HUGE:
        return ldexpf(unit, 60 + (int)support_rand_below(rand, 68));
    case KIND_TINY:
        return ldexpf(unit, -60 - (int)support_rand_below(rand, 10));
    case KIND_SAME:
        return query * (1.0f + unit * 0x1p-18f);
    case KIND_NORMAL:
    case KIND_COUNT:
        break;
    }
    return unit;
}

/* --- split rows ------------------------------------------------------------------------------- */

#define PARTS_MAX (DIM_MAX / 64u + 2u)

/* Rows some of which are copied into parts, each a block of memory of its own at an odd address, so
 * that sanitizers see a read too far. */
typedef struct split_rows {
    const void *at[SCAN_ROWS];
    const simd_part *lists[SCAN_ROWS];
    simd_part parts[SCAN_ROWS][PARTS_MAX];
    unsigned char *blocks[SCAN_ROWS][PARTS_MAX];
} split_rows;

static void split_row(split_rows *s, size_t r, uint32_t dim, support_rand *rand)
{
    const unsigned char *row = s->at[r];
    size_t done = 0;
    size_t n = 1 + (size_t)support_rand_below(rand, dim);
    for (unsigned p = 0; done < dim; p++) {
        size_t shift = 1 + (size_t)support_rand_below(rand, 16);
        s->blocks[r][p] = malloc(shift + n * sizeof(float));
        memcpy(s->blocks[r][p] + shift, row + done * sizeof(float), n * sizeof(float));
        s->parts[r][p].at = s->blocks[r][p] + shift;
        s->parts[r][p].count = n;
        done += n;
        n = 64 + (size_t)support_rand_below(rand, 200);
        n = n < dim - done ? n : dim - done;
    }
    s->lists[r] = s->parts[r];
    s->at[r] = s->parts[r][0].at;
}

static split_rows *split_some(const void *const *at, size_t count, uint32_t dim, support_rand *rand)
{
    split_rows *s = calloc(1, sizeof *s);
    for (size_t r = 0; r < count; r++) {
        s->at[r] = at[r];
        if (support_rand_below(rand, 3) == 0) {
            split_row(s, r, dim, rand);
        }
    }
    return s;
}

static void free_split(split_rows *s)
{
    for (size_t r = 0; r < SCAN_ROWS; r++) {
        for (unsigned p = 0; p < PARTS_MAX; p++) {
            free(s->blocks[r][p]);
        }
    }
    free(s);
}

/* --- kernels ---------------------------------------------------------------------------------- */

/* Rows that end with their block of memory and begin at odd addresses, so that sanitizers see a
 * read too far. */
typedef struct sample {
    uint32_t dim;
    float *queries[SIMD_BATCH];
    float *values[ROWS_MAX]; /* the same rows, aligned */
    unsigned char *blocks[ROWS_MAX];
    const void *at[ROWS_MAX];
    split_rows *split;
    simd_rows rows;
} sample;

static void make_sample(sample *s, support_rand *rand, enum kind kind)
{
    s->dim = 1 + (uint32_t)support_rand_below(rand, support_rand_below(rand, 2) ? DIM_MAX : 40);
    for (unsigned j = 0; j < SIMD_BATCH; j++) {
        enum kind of_query = kind == KIND_SAME ? KIND_MIXED : kind;
        s->queries[j] = malloc(s->dim * sizeof(float));
        for (uint32_t i = 0; i < s->dim; i++) {
            s->queries[j][i] = random_float(rand, of_query, 0);
        }
    }
    for (unsigned r = 0; r < ROWS_MAX; r++) {
        size_t shift = support_rand_below(rand, 17);
        s->values[r] = malloc(s->dim * sizeof(float));
        s->blocks[r] = malloc(s->dim * sizeof(float) + shift);
        for (uint32_t i = 0; i < s->dim; i++) {
            s->values[r][i] = random_float(rand, kind, s->queries[0][i]);
        }
        memcpy(s->blocks[r] + shift, s->values[r], s->dim * sizeof(float));
        s->at[r] = s->blocks[r] + shift;
    }
    s->split = split_some(s->at, ROWS_MAX, s->dim, rand);
    s->rows.at = s->split->at;
    s->rows.parts = support_rand_below(rand, 4) ? s->split->lists : NULL;
    if (!s->rows.parts) {
        s->rows.at = s->at;
    }
    s->rows.dim = s->dim;
    s->rows.count = 1 + (size_t)support_rand_below(rand, ROWS_MAX);
}

static void free_sample(sample *s)
{
    free_split(s->split);
    for (unsigned j = 0; j < SIMD_BATCH; j++) {
        free(s->queries[j]);
    }
    for (unsigned r = 0; r < ROWS_MAX; r++) {
        free(s->values[r]);
        free(s->blocks[r]);
    }
}

static long double true_dot(const float *a, const float *b, uint32_t dim)
{
    long double sum = 0;
    for (uint32_t i = 0; i < dim; i++) {
        sum += (long double)a[i] * (long double)b[i];
    }
    return sum;
}

static long double true_l2sq(const float *a, const float *b, uint32_t dim)
{
    long double sum = 0;
    for (uint32_t i = 0; i < dim; i++) {
        long double d = (long double)a[i] - (long double)b[i];
        sum += d * d;
    }
    return sum;
}

static unsigned finite_results;
static unsigned all_results;

static void check_near(
    float got, long double expected, double margin, const char *what, const char *level)
{
    all_results++;
    if (!isfinite(got)) {
        assert_true(fabsl(expected) > 0x1p100L || margin > 0x1p100);
        return;
    }
    finite_results++;
    if (fabsl((long double)got - expected) > (long double)margin) {
        fail_msg(
            "%s of %s is %a, expected %La within %a", what, level, (double)got, expected, margin);
    }
}

static void check_row(
    const sample *s, const float *query, unsigned r, const float *got, const char *level)
{
    const float *row = s->values[r];
    long double qq = true_dot(query, query, s->dim);
    long double vv = true_dot(row, row, s->dim);
    double q_norm = (double)sqrtl(qq);
    double v_norm = (double)sqrtl(vv);
    double margin = shardy__simd_margin_dot(s->dim, q_norm, v_norm);
    long double product = true_dot(query, row, s->dim);
    long double distance = true_l2sq(query, row, s->dim);
    check_near(got[0], product, margin, "dot", level);
    check_near(got[1], distance, shardy__simd_margin_l2sq(s->dim, (double)distance), "l2sq", level);
    check_near(got[2], product, margin, "dot_norm", level);
    check_near(got[3], vv, shardy__simd_margin_dot(s->dim, v_norm, v_norm), "norm", level);
    if (isfinite(got[1])) {
        double from_result = shardy__simd_margin_l2sq(s->dim, (double)got[1]);
        check_near(got[1], distance, from_result, "l2sq from its result", level);
    }
    if (q_norm > SIMD_NORM_MIN * 2 && q_norm < SIMD_NORM_MAX / 2 && v_norm > SIMD_NORM_MIN * 2 &&
        v_norm < SIMD_NORM_MAX / 2) {
        float cosine = got[2] / ((float)q_norm * sqrtf(got[3]));
        check_near(
            cosine, product / sqrtl(qq * vv), shardy__simd_margin_cosine(s->dim), "cosine", level);
    }
}

/* dot, l2sq, dot_norm and norm of each row from the functions for one and for four queries. */
static void check_sample(const sample *s, const simd_kernels *k)
{
    float one[4][ROWS_MAX];
    float four[3][SIMD_BATCH][ROWS_MAX];
    float norms[ROWS_MAX];
    float *dots[SIMD_BATCH], *squares[SIMD_BATCH], *others[SIMD_BATCH];
    for (unsigned j = 0; j < SIMD_BATCH; j++) {
        dots[j] = four[0][j];
        squares[j] = four[1][j];
        others[j] = four[2][j];
    }
    const float *const *queries = (const float *const *)s->queries;
    k->dot4(&s->rows, queries, dots);
    k->l2sq4(&s->rows, queries, squares);
    k->dot_norm4(&s->rows, queries, others, norms);
    for (unsigned j = 0; j < SIMD_BATCH; j++) {
        k->dot(&s->rows, s->queries[j], one[0]);
        k->l2sq(&s->rows, s->queries[j], one[1]);
        k->dot_norm(&s->rows, s->queries[j], one[2], one[3]);
        for (unsigned r = 0; r < s->rows.count; r++) {
            const float from_one[4] = {one[0][r], one[1][r], one[2][r], one[3][r]};
            const float from_four[4] = {four[0][j][r], four[1][j][r], four[2][j][r], norms[r]};
            check_row(s, s->queries[j], r, from_one, k->name);
            check_row(s, s->queries[j], r, from_four, k->name);
        }
    }
}

static void test_kernels__every_result_is_within_its_margin(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (unsigned round = 0; round < 240; round++) {
        sample s;
        make_sample(&s, &rand, (enum kind)(round % KIND_COUNT));
        for (int level = SIMD_AUTO; level <= LEVEL_LAST; level++) {
            const simd_kernels *k = shardy__simd_kernels((simd_level)level);
            if (k) {
                check_sample(&s, k);
            }
        }
        free_sample(&s);
    }
    assert_true(finite_results > all_results / 2);
}

static void test_kernels__every_dimension_is_summed_to_its_end(void **state)
{
    (void)state;
    float row[301];
    float query[301];
    const void *at[1] = {row};
    for (uint32_t dim = 1; dim <= 300; dim++) {
        const simd_rows rows = {at, 1, dim, NULL};
        float expected = 0;
        for (uint32_t i = 0; i <= dim; i++) {
            row[i] = (float)(i + 1);
            query[i] = 2;
            expected += i < dim ? (float)(2 * (i + 1)) : 0.0f; /* exact: below 2^24 */
        }
        for (int level = SIMD_AUTO; level <= LEVEL_LAST; level++) {
            const simd_kernels *k = shardy__simd_kernels((simd_level)level);
            float got;
            if (k) {
                k->dot(&rows, query, &got);
                assert_true(got == expected);
            }
        }
    }
}

static void test_kernels__automatic_and_portable_levels_are_always_there(void **state)
{
    (void)state;
    assert_non_null(shardy__simd_kernels(SIMD_AUTO));
    assert_string_equal("portable", shardy__simd_kernels(SIMD_PORTABLE)->name);
    print_message("level of this processor: %s\n", shardy__simd_kernels(SIMD_AUTO)->name);
}

/* --- exact scores ----------------------------------------------------------------------------- */

/* The definition, in the order that is promised: component i goes to sum i % 4. */
static double plain_score(const float *q, const float *v, uint32_t dim, int metric)
{
    volatile double sums[3][4] = {{0}};
    for (uint32_t i = 0; i < dim; i++) {
        double a = (double)q[i];
        double b = (double)v[i];
        volatile double products[3] = {a * b, b * b, a * a};
        if (metric == SHARDY_VECTOR_METRIC_L2) {
            volatile double d = a - b;
            products[0] = d * d;
        }
        for (int j = 0; j < 3; j++) {
            sums[j][i % 4] = sums[j][i % 4] + products[j];
        }
    }
    double totals[3];
    for (int j = 0; j < 3; j++) {
        totals[j] = (sums[j][0] + sums[j][1]) + (sums[j][2] + sums[j][3]);
    }
    if (metric == SHARDY_VECTOR_METRIC_L2) {
        return sqrt(totals[0]);
    }
    if (metric == SHARDY_VECTOR_METRIC_DOT) {
        return 1.0 - totals[0];
    }
    double score = 1.0 - totals[0] / (sqrt(totals[2]) * sqrt(totals[1]));
    return score < 0 ? 0 : score;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void test_exact__scores_have_the_bits_of_the_plain_definition(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (unsigned round = 0; round < 120; round++) {
        sample s;
        make_sample(&s, &rand, (enum kind)(round % KIND_COUNT));
        for (int metric = 1; metric <= METRICS; metric++) {
            exact_query q;
            shardy__exact_prepare(&q, s.queries[0], s.dim, metric);
            for (unsigned r = 0; r < ROWS_MAX && q.comparable; r++) {
                double expected = plain_score(s.queries[0], s.values[r], s.dim, metric);
                double got = shardy__exact_score(&q, s.at[r]);
                assert_true(isnan(expected) ? isnan(got) : bits_of(expected) == bits_of(got));
            }
        }
        free_sample(&s);
    }
}

/* Fixed numbers, computed by Python: another compiler or processor has to find the same. */
static void test_exact__scores_of_a_fixed_pair_are_known(void **state)
{
    (void)state;
    float a[11];
    float b[11];
    for (int i = 0; i < 11; i++) {
        a[i] = 1.0f / (float)(i + 3);
        b[i] = 0.1f * (float)(i - 4);
    }
    static const uint64_t expected[METRICS + 1] = {
        0, 0x3ff1f4309b10a914u, 0x3ff4c1e3915dc031u, 0x3ff137adf4769e08u};
    for (int metric = 1; metric <= METRICS; metric++) {
        exact_query q;
        shardy__exact_prepare(&q, a, 11, metric);
        uint64_t got = bits_of(shardy__exact_score(&q, b));
        if (got != expected[metric]) {
            fail_msg("metric %d: 0x%llx", metric, (unsigned long long)got);
        }
    }
}

static void test_exact__what_cannot_be_compared_is_nan(void **state)
{
    (void)state;
    const float good[3] = {1, 0, 2};
    const float zero[3] = {0, 0, 0};
    const float bad[3][3] = {{1, INFINITY, 2}, {NAN, 0, 0}, {1, -INFINITY, INFINITY}};
    for (int metric = 1; metric <= METRICS; metric++) {
        exact_query q;
        for (int i = 0; i < 3; i++) {
            shardy__exact_prepare(&q, good, 3, metric);
            assert_true(isnan(shardy__exact_score(&q, bad[i])));
            shardy__exact_prepare(&q, bad[i], 3, metric);
            assert_false(q.comparable);
            assert_true(isnan(shardy__exact_score(&q, good)));
        }
        const int is_cosine = metric == SHARDY_VECTOR_METRIC_COSINE;
        shardy__exact_prepare(&q, good, 3, metric);
        assert_int_equal(is_cosine, isnan(shardy__exact_score(&q, zero)));
        shardy__exact_prepare(&q, zero, 3, metric);
        assert_int_equal(!is_cosine, q.comparable);
        assert_int_equal(is_cosine, isnan(shardy__exact_score(&q, good)));
    }
}

static void test_exact__a_vector_is_at_no_distance_from_itself(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (unsigned round = 0; round < 60; round++) {
        sample s;
        exact_query q;
        make_sample(&s, &rand, (enum kind)(round % KIND_COUNT));
        shardy__exact_prepare(&q, s.queries[0], s.dim, SHARDY_VECTOR_METRIC_COSINE);
        double score = shardy__exact_score(&q, s.queries[0]);
        assert_true(!q.comparable || (score >= 0 && score < 1e-15));
        shardy__exact_prepare(&q, s.queries[0], s.dim, SHARDY_VECTOR_METRIC_L2);
        assert_true(shardy__exact_score(&q, s.queries[0]) == 0);
        free_sample(&s);
    }
}

/* --- candidates ------------------------------------------------------------------------------- */

typedef struct scan_case {
    uint32_t dim;
    int metric;
    size_t rows;
    size_t queries;
    size_t k;
    unsigned char *memory; /* the rows, one after another from an odd address */
    const void *at[SCAN_ROWS];
    split_rows *split;
    uint64_t ids[SCAN_ROWS];
    float *query[BATCH_MAX];
} scan_case;

static void make_row(
    float *row, uint32_t dim, support_rand *rand, const float *query, enum kind kind)
{
    for (uint32_t i = 0; i < dim; i++) {
        row[i] = random_float(rand, kind, query[i]);
    }
    switch (support_rand_below(rand, 40)) {
    case 0:
        memset(row, 0, dim * sizeof *row);
        break;
    case 1:
        row[support_rand_below(rand, dim)] = NAN;
        break;
    case 2:
        row[support_rand_below(rand, dim)] = INFINITY;
        break;
    default:
        break;
    }
}

static void make_case(scan_case *c, support_rand *rand, unsigned round)
{
    const enum kind kind = (enum kind)(round % (KIND_COUNT + 1)); /* the last: all of them */
    float row[DIM_MAX];
    c->dim = 1 + (uint32_t)support_rand_below(rand, round % 2 ? 70 : DIM_MAX);
    c->metric = 1 + (int)support_rand_below(rand, METRICS);
    c->rows = (size_t)support_rand_below(rand, SCAN_ROWS + 1);
    c->queries = 1 + (size_t)support_rand_below(rand, BATCH_MAX);
    c->k = (size_t)support_rand_below(rand, round % 4 ? 12 : SCAN_ROWS + 50);
    c->memory = malloc(SCAN_ROWS * c->dim * sizeof(float) + 3);
    for (size_t j = 0; j < c->queries; j++) {
        enum kind of_query = kind == KIND_SAME || kind == KIND_COUNT ? KIND_NORMAL : kind;
        if (support_rand_below(rand, 20) == 0) {
            of_query = (enum kind)support_rand_below(rand, KIND_SAME);
        }
        c->query[j] = malloc(c->dim * sizeof(float));
        for (uint32_t i = 0; i < c->dim; i++) {
            c->query[j][i] = random_float(rand, of_query, 0);
        }
    }
    for (size_t r = 0; r < c->rows; r++) {
        unsigned char *at = c->memory + 3 + r * c->dim * sizeof(float);
        enum kind of_row =
            kind == KIND_COUNT ? (enum kind)support_rand_below(rand, KIND_COUNT) : kind;
        if (r > 0 && support_rand_below(rand, 4) == 0) { /* ties */
            size_t other = (size_t)support_rand_below(rand, r);
            memcpy(at, c->at[other], c->dim * sizeof(float));
        } else {
            make_row(row, c->dim, rand, c->query[r % c->queries], of_row);
            memcpy(at, row, c->dim * sizeof(float));
        }
        c->at[r] = at;
        c->ids[r] = 1000 + 3 * r;
    }
    c->split = split_some(c->at, c->rows, c->dim, rand);
}

static void free_case(scan_case *c)
{
    free_split(c->split);
    for (size_t j = 0; j < c->queries; j++) {
        free(c->query[j]);
    }
    free(c->memory);
}

/* The same by the exact scores of all rows. */
static void check_query(const scan_case *c, const screen_query *q, topk *got)
{
    shardy_error err = {0};
    topk all;
    shardy__topk_init(&all, c->k, SCAN_ROWS);
    for (size_t r = 0; r < c->rows; r++) {
        double score = shardy__exact_score(&q->exact, c->at[r]);
        assert_ok(shardy__topk_add(&all, c->ids[r], score, &err));
    }
    assert_ok(shardy__topk_finish(&all, &err));
    assert_ok(shardy__topk_finish(got, &err));
    assert_int_equal(all.count, got->count);
    for (size_t i = 0; i < all.count; i++) {
        assert_true(all.entries[i].row == got->entries[i].row);
        assert_true(bits_of(all.entries[i].score) == bits_of(got->entries[i].score));
    }
    shardy__topk_free(&all);
}

/* Scans in two parts, as a reader of pages does. */
static void check_scan(const scan_case *c, const simd_kernels *kernels)
{
    shardy_error err = {0};
    screen_query queries[BATCH_MAX];
    topk collectors[BATCH_MAX];
    const screen_batch batch = {kernels, queries, collectors, c->queries};
    for (size_t j = 0; j < c->queries; j++) {
        shardy__screen_prepare(&queries[j], c->query[j], c->dim, c->metric);
        shardy__topk_init(&collectors[j], c->k, SCAN_ROWS);
    }
    const size_t half = c->rows / 3;
    const simd_rows first = {c->split->at, half, c->dim, c->split->lists};
    const simd_rows rest = {c->split->at + half, c->rows - half, c->dim, c->split->lists + half};
    assert_ok(shardy__screen_scan(&batch, &first, c->ids, &err));
    assert_ok(shardy__screen_scan(&batch, &rest, c->ids + half, &err));
    for (size_t j = 0; j < c->queries; j++) {
        check_query(c, &queries[j], &collectors[j]);
        shardy__topk_free(&collectors[j]);
    }
}

static void test_screen__the_result_is_that_of_exact_scores_of_all_rows(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (unsigned round = 0; round < 280; round++) {
        scan_case c;
        make_case(&c, &rand, round);
        for (int level = SIMD_PORTABLE; level <= LEVEL_LAST; level++) {
            const simd_kernels *kernels = shardy__simd_kernels((simd_level)level);
            if (kernels) {
                check_scan(&c, kernels);
            }
        }
        free_case(&c);
    }
}

/* Rows that single precision sees in the wrong order, though one is exactly better by little. With
 * `heads` accumulators each of them begins with 1 and then takes terms of about half a unit in its
 * last place, each of which is lost (dot, cosine) or rounded up to a whole one (l2): all errors go
 * one way, against the better row, and its distance from the other is less than their sum. The
 * worse row comes so often that collectors have its score for their bound when the better one
 * comes. */
#define NEAR_DIM  4096u
#define NEAR_ROWS 120u

static void fill_near(float *row, uint32_t heads, double tail)
{
    for (uint32_t i = 0; i < NEAR_DIM; i++) {
        row[i] = i < heads ? 1.0f : (float)tail;
    }
}

static void make_near(scan_case *c, int metric, uint32_t heads, size_t queries)
{
    static const double worse[] = {
        [SHARDY_VECTOR_METRIC_COSINE] = 0.5,
        [SHARDY_VECTOR_METRIC_L2] = 1.118,
        [SHARDY_VECTOR_METRIC_DOT] = 0.75,
    };
    const int is_l2 = metric == SHARDY_VECTOR_METRIC_L2;
    const double tail = sqrt(0x1p-24 * (is_l2 ? 1 + 0x1p-10 : 1 - 0x1p-10));
    memset(c, 0, sizeof *c);
    c->dim = NEAR_DIM;
    c->metric = metric;
    c->rows = NEAR_ROWS;
    c->queries = queries;
    c->k = 1;
    c->memory = aligned_alloc(64, 2 * NEAR_DIM * sizeof(float));
    c->split = calloc(1, sizeof *c->split);
    float *worse_row = (float *)(void *)c->memory;
    float *better_row = worse_row + NEAR_DIM;
    fill_near(worse_row, heads, tail * worse[metric]);
    fill_near(better_row, heads, tail);
    for (size_t r = 0; r < c->rows; r++) {
        c->at[r] = r + 1 < c->rows ? worse_row : better_row;
        c->split->at[r] = c->at[r];
        c->ids[r] = r;
    }
    for (size_t j = 0; j < queries; j++) {
        c->query[j] = calloc(NEAR_DIM, sizeof(float)); /* l2: distances from the origin */
        if (!is_l2) {
            memcpy(c->query[j], better_row, NEAR_DIM * sizeof(float));
        }
    }
}

static void test_screen__rows_nearer_than_single_precision_tells_are_all_scored(void **state)
{
    (void)state;
    for (int metric = 1; metric <= METRICS; metric++) {
        for (uint32_t heads = 4; heads <= 128; heads *= 2) {
            for (size_t queries = 1; queries <= SIMD_BATCH; queries += SIMD_BATCH - 1) {
                scan_case c;
                make_near(&c, metric, heads, queries);
                for (int level = SIMD_PORTABLE; level <= LEVEL_LAST; level++) {
                    const simd_kernels *kernels = shardy__simd_kernels((simd_level)level);
                    if (kernels) {
                        check_scan(&c, kernels);
                    }
                }
                free_case(&c);
            }
        }
    }
}

/* The rule behind it, for all rows and not only near the k-th. */
static void test_screen__no_floor_is_above_the_limit_of_the_score(void **state)
{
    (void)state;
    support_rand rand = {support_seed() + 1};
    for (unsigned round = 0; round < 140; round++) {
        scan_case c;
        screen_query q;
        float floors[SCAN_ROWS];
        make_case(&c, &rand, round);
        const simd_rows rows = {c.split->at, c.rows, c.dim, c.split->lists};
        shardy__screen_prepare(&q, c.query[0], c.dim, c.metric);
        for (int level = SIMD_PORTABLE; level <= LEVEL_LAST; level++) {
            const simd_kernels *kernels = shardy__simd_kernels((simd_level)level);
            if (!kernels) {
                continue;
            }
            shardy__screen_floors(kernels, &q, &rows, floors);
            for (size_t r = 0; r < c.rows; r++) {
                double score = shardy__exact_score(&q.exact, c.at[r]);
                assert_false(!isnan(score) && floors[r] > shardy__screen_limit(&q, score));
            }
        }
        free_case(&c);
    }
}

/* Margins that are too wide would be safe and useless: ordinary rows have floors within a
 * ten-thousandth of their limits. */
static void test_screen__floors_of_ordinary_rows_are_near_their_limits(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (unsigned round = 0; round < 90; round++) {
        sample s;
        screen_query q;
        float floors[ROWS_MAX];
        make_sample(&s, &rand, KIND_NORMAL);
        shardy__screen_prepare(&q, s.queries[0], s.dim, 1 + (int)(round % METRICS));
        assert_false(q.exact_only);
        shardy__screen_floors(shardy__simd_kernels(SIMD_AUTO), &q, &s.rows, floors);
        for (size_t r = 0; r < s.rows.count; r++) {
            double score = shardy__exact_score(&q.exact, s.at[r]);
            double size = 1;
            if (q.exact.metric == SHARDY_VECTOR_METRIC_L2) {
                size = score * score;
            } else if (q.exact.metric == SHARDY_VECTOR_METRIC_DOT) {
                size = q.exact.norm * (double)sqrtl(true_dot(s.values[r], s.values[r], s.dim));
            }
            double width = (double)shardy__screen_limit(&q, score) - (double)floors[r];
            assert_true(width >= 0 && width < 1e-4 * size + 1e-10);
        }
        free_sample(&s);
    }
}

/* The first product is -2^130, which single precision makes -INFINITY; nine of 2^127 outweigh it.
 * They are added to it one by one: 64 is a multiple of the lanes of all levels. */
static void test_screen__a_sum_that_overflows_on_the_way_is_not_trusted(void **state)
{
    (void)state;
    shardy_error err = {0};
    static float query[640];
    static float rows[100][640];
    const void *at[100];
    for (int i = 0; i < 640; i++) {
        query[i] = 0x1p100f;
        rows[99][i] = i == 0 ? -0x1p30f : i % 64 == 0 ? 0x1p27f : 0.0f;
    }
    for (int r = 0; r < 100; r++) {
        at[r] = rows[r];
    }
    for (int level = SIMD_PORTABLE; level <= LEVEL_LAST; level++) {
        const simd_rows all = {at, 100, 640, NULL};
        screen_query q;
        topk best;
        const screen_batch batch = {shardy__simd_kernels((simd_level)level), &q, &best, 1};
        if (!batch.kernels) {
            continue;
        }
        shardy__screen_prepare(&q, query, 640, SHARDY_VECTOR_METRIC_DOT);
        shardy__topk_init(&best, 1, 100);
        assert_ok(shardy__screen_scan(&batch, &all, NULL, &err));
        assert_ok(shardy__topk_finish(&best, &err));
        assert_int_equal(1, best.count);
        assert_int_equal(99, best.entries[0].row);
        assert_true(best.entries[0].score == -0x1p127);
        shardy__topk_free(&best);
    }
}

static void test_screen__limits_rise_with_scores(void **state)
{
    (void)state;
    const float vector[2] = {1, 2};
    for (int metric = 1; metric <= METRICS; metric++) {
        screen_query q;
        shardy__screen_prepare(&q, vector, 2, metric);
        float last = -INFINITY;
        for (double score = metric == SHARDY_VECTOR_METRIC_DOT ? -1e60 : 0; score < 1e60;
             score = score < -1e-3  ? score / 3
                     : score < 1e-3 ? score + 1e-3
                                    : score * 3) {
            float limit = shardy__screen_limit(&q, score);
            assert_true(limit >= last);
            last = limit;
        }
        assert_true(shardy__screen_limit(&q, (double)INFINITY) == INFINITY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels__every_result_is_within_its_margin),
        cmocka_unit_test(test_kernels__every_dimension_is_summed_to_its_end),
        cmocka_unit_test(test_kernels__automatic_and_portable_levels_are_always_there),
        cmocka_unit_test(test_exact__scores_have_the_bits_of_the_plain_definition),
        cmocka_unit_test(test_exact__scores_of_a_fixed_pair_are_known),
        cmocka_unit_test(test_exact__what_cannot_be_compared_is_nan),
        cmocka_unit_test(test_exact__a_vector_is_at_no_distance_from_itself),
        cmocka_unit_test(test_screen__the_result_is_that_of_exact_scores_of_all_rows),
        cmocka_unit_test(test_screen__rows_nearer_than_single_precision_tells_are_all_scored),
        cmocka_unit_test(test_screen__no_floor_is_above_the_limit_of_the_score),
        cmocka_unit_test(test_screen__floors_of_ordinary_rows_are_near_their_limits),
        cmocka_unit_test(test_screen__a_sum_that_overflows_on_the_way_is_not_trusted),
        cmocka_unit_test(test_screen__limits_rise_with_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
