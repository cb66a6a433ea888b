/* The collector of the k best, against sorting everything. */
#include "simd/topk.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

static int compare_entries(const void *a, const void *b)
{
    const topk_entry *x = a;
    const topk_entry *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

/* The k best of the scores that are numbers and their ties, by sorting. */
static size_t expected_best(const double *scores, size_t n, size_t k, topk_entry *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isnan(scores[i])) {
            out[count].score = scores[i];
            out[count++].row = i;
        }
    }
    qsort(out, count, sizeof *out, compare_entries);
    if (k == 0) {
        return 0;
    }
    size_t kept = count < k ? count : k;
    while (kept < count && out[kept].score == out[k - 1].score) {
        kept++;
    }
    return kept;
}

static void check_best(const double *scores, size_t n, size_t k)
{
    shardy_error err = {0};
    topk t;
    topk_entry *expected = malloc((n + 1) * sizeof *expected);
    size_t count = expected_best(scores, n, k, expected);
    shardy__topk_init(&t, k, n);
    for (size_t i = 0; i < n; i++) {
        assert_ok(shardy__topk_add(&t, i, scores[i], &err));
    }
    assert_ok(shardy__topk_finish(&t, &err));
    assert_int_equal(count, t.count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(expected[i].row, t.entries[i].row);
        assert_true(expected[i].score == t.entries[i].score);
    }
    if (k > 0 && count >= k) {
        assert_true(t.bound == expected[k - 1].score);
    }
    shardy__topk_free(&t);
    assert_int_equal(0, t.count);
    free(expected);
}

static void test_topk__the_k_best_and_their_ties_are_kept(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    double scores[3000];
    for (int round = 0; round < 300; round++) {
        size_t n = (size_t)support_rand_below(&rand, 3000);
        size_t k = (size_t)support_rand_below(&rand, round % 3 ? 40 : 3200);
        uint64_t values = round % 2 ? 8 : 1u << 30; /* few values: many ties */
        int order = round % 5;
        for (size_t i = 0; i < n; i++) {
            double random = (double)support_rand_below(&rand, values) - 3.0;
            scores[i] = order == 3 ? (double)i : order == 4 ? -(double)i : random;
            if (round % 7 == 0 && support_rand_below(&rand, 10) == 0) {
                scores[i] = (double)NAN;
            }
        }
        check_best(scores, n, k);
    }
}

static void test_topk__k_of_zero_keeps_nothing(void **state)
{
    (void)state;
    double scores[100] = {0};
    check_best(scores, 100, 0);
}

static void test_topk__fewer_rows_than_k_are_all_kept(void **state)
{
    (void)state;
    const double scores[4] = {3, -1, (double)NAN, 2};
    check_best(scores, 4, 10);
    check_best(scores, 0, 10);
    check_best(scores, 4, 3);
}

static void test_topk__equal_scores_beyond_the_maximum_overflow(void **state)
{
    (void)state;
    shardy_error err = {0};
    topk t;
    shardy__topk_init(&t, 5, 100);
    for (uint64_t i = 0; i < 101; i++) {
        assert_ok(shardy__topk_add(&t, i, 1.0, &err));
    }
    assert_status(SHARDY_EXHAUSTED, shardy__topk_finish(&t, &err));
    assert_true(t.overflow);
    assert_true(t.bound == 1.0);
    assert_ok(shardy__topk_add(&t, 7, 0.0, &err));
    assert_int_equal(0, t.count);
    shardy__topk_free(&t);
    assert_false(t.overflow);

    for (uint64_t i = 0; i < 100; i++) {
        assert_ok(shardy__topk_add(&t, i, 1.0, &err));
    }
    assert_ok(shardy__topk_finish(&t, &err));
    assert_int_equal(100, t.count);
    for (uint64_t i = 0; i < 5; i++) {
        assert_ok(shardy__topk_add(&t, 100 + i, 0.5, &err));
    }
    assert_ok(shardy__topk_finish(&t, &err));
    assert_int_equal(5, t.count);
    shardy__topk_free(&t);
}

static void test_topk__memory_stays_within_its_bound(void **state)
{
    (void)state;
    shardy_error err = {0};
    topk t;
    shardy__topk_init(&t, 10, 50);
    for (uint64_t i = 0; i < 100000; i++) {
        assert_ok(shardy__topk_add(&t, i, (double)(100000 - i), &err));
    }
    assert_true(t.room <= 2 * 50 + 16);
    assert_ok(shardy__topk_finish(&t, &err));
    assert_int_equal(10, t.count);
    shardy__topk_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topk__the_k_best_and_their_ties_are_kept),
        cmocka_unit_test(test_topk__k_of_zero_keeps_nothing),
        cmocka_unit_test(test_topk__fewer_rows_than_k_are_all_kept),
        cmocka_unit_test(test_topk__equal_scores_beyond_the_maximum_overflow),
        cmocka_unit_test(test_topk__memory_stays_within_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
