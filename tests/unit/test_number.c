/* Numbers as text. Expected results come from Python: tests/golden/make_text_cases.py. */
#include "base/number.h"
#include "support/support.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double double_from_hex(const char *hex)
{
    char digits[17];
    memcpy(digits, hex, 16);
    digits[16] = '\0';
    uint64_t bits = strtoull(digits, NULL, 16);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Calls `check` for each line "bits text" of a file; returns the number of lines. */
static size_t each_line(const char *name, void (*check)(double value, const char *text, size_t len))
{
    size_t len;
    char *file = support_read_file(support_source(name), &len);
    size_t lines = 0;
    for (char *line = file; line < file + len; lines++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        check(double_from_hex(line), line + 17, (size_t)(end - line - 17));
        line = end + 1;
    }
    free(file);
    return lines;
}

static void check_parse(double value, const char *text, size_t len)
{
    double got;
    assert_int_equal(1, shardy__parse_double(text, len, &got));
    if (bits_of(got) != bits_of(value)) {
        fail_msg("\"%.100s\" was read as %a, expected %a", text, got, value);
    }
    assert_true(bits_of(shardy__number_value(text, len)) == bits_of(value));
}

static void check_format(double value, const char *text, size_t len)
{
    char got[SHARDY_DOUBLE_TEXT_MAX];
    assert_int_equal(len, shardy__format_double(value, got));
    assert_string_equal(text, got);
    check_parse(value, text, len);
}

static void test_double__text_is_that_of_pythons_repr(void **state)
{
    (void)state;
    assert_true(each_line("tests/golden/files/text/doubles.txt", check_format) > 1000);
}

static void test_double__is_the_nearest_to_its_text_as_in_python(void **state)
{
    (void)state;
    assert_true(each_line("tests/golden/files/text/decimals.txt", check_parse) > 400);
}

static void test_double__random_bits_survive_text(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = support_rand_u64(&rand);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        char text[SHARDY_DOUBLE_TEXT_MAX];
        size_t len = shardy__format_double(value, text);
        check_parse(value, text, len);
        assert_true(bits_of(strtod(text, NULL)) == bits);
    }
}

static void test_double__all_powers_of_two_survive_text_with_at_most_17_digits(void **state)
{
    (void)state;
    for (int e = -1074; e < 1024; e++) {
        char text[SHARDY_DOUBLE_TEXT_MAX];
        size_t len = shardy__format_double(ldexp(1, e), text);
        check_parse(ldexp(1, e), text, len);
        assert_true(len <= 24);
    }
}

static void test_double__special_values_have_the_names_of_json_in_python(void **state)
{
    (void)state;
    char text[SHARDY_DOUBLE_TEXT_MAX];
    shardy__format_double((double)NAN, text);
    assert_string_equal("NaN", text);
    shardy__format_double(-(double)INFINITY, text);
    assert_string_equal("-Infinity", text);
    double value;
    assert_int_equal(1, shardy__parse_double("NaN", 3, &value));
    assert_true(isnan(value));
    assert_int_equal(1, shardy__parse_double("Infinity", 8, &value));
    assert_true(isinf(value) && value > 0);
    assert_int_equal(1, shardy__parse_double("-Infinity", 9, &value));
    assert_true(isinf(value) && value < 0);
}

static void test_double__text_that_is_no_number_of_json_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+",
        "0x10", "1_000", " 1", "1 ", "1,5", "inf", "nan", "-NaN", "infinity", "--1", "1e5.0", "e5",
        "1f"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        double value = 1;
        assert_int_equal(0, shardy__parse_double(texts[i], strlen(texts[i]), &value));
        assert_true(value == 0);
    }
}

static void test_double__does_not_depend_on_the_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    size_t i = 0;
    while (i < sizeof names / sizeof names[0] && !setlocale(LC_NUMERIC, names[i])) {
        i++;
    }
    if (i == sizeof names / sizeof names[0]) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    char text[SHARDY_DOUBLE_TEXT_MAX];
    double value;
    shardy__format_double(1234.5, text);
    int good = shardy__parse_double("1234.5678901234567890123", 24, &value);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal("1234.5", text);
    assert_int_equal(1, good);
    assert_true(value == 1234.5678901234567890123);
}

static void test_integer__fits_or_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int fits_int64;
        int64_t i;
        int fits_uint64;
        uint64_t u;
    } cases[] = {
        {"0", 1, 0, 1, 0},
        {"-0", 1, 0, 1, 0},
        {"7", 1, 7, 1, 7},
        {"-1", 1, -1, 0, 0},
        {"9223372036854775807", 1, INT64_MAX, 1, INT64_MAX},
        {"9223372036854775808", 0, 0, 1, (uint64_t)1 << 63},
        {"-9223372036854775808", 1, INT64_MIN, 0, 0},
        {"-9223372036854775809", 0, 0, 0, 0},
        {"18446744073709551615", 0, 0, 1, UINT64_MAX},
        {"18446744073709551616", 0, 0, 0, 0},
        {"99999999999999999999999", 0, 0, 0, 0},
        {"", 0, 0, 0, 0},
        {"-", 0, 0, 0, 0},
        {"+1", 0, 0, 0, 0},
        {"01", 0, 0, 0, 0},
        {"-01", 0, 0, 0, 0},
        {"1.0", 0, 0, 0, 0},
        {"1e3", 0, 0, 0, 0},
        {" 1", 0, 0, 0, 0},
        {"1 ", 0, 0, 0, 0},
        {"--1", 0, 0, 0, 0},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        int64_t i = 5;
        uint64_t u = 5;
        size_t len = strlen(cases[n].text);
        assert_int_equal(cases[n].fits_int64, shardy__parse_int64(cases[n].text, len, &i));
        assert_int_equal(cases[n].fits_uint64, shardy__parse_uint64(cases[n].text, len, &u));
        assert_true(!cases[n].fits_int64 || i == cases[n].i);
        assert_true(!cases[n].fits_uint64 || u == cases[n].u);
    }
}

static void test_number__span_is_the_longest_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {{"", 0}, {"-", 0}, {"a", 0}, {"0", 1}, {"01", 1}, {"12,", 2}, {"-3]", 2},
        {"1.5}", 3}, {"1.", 1}, {"1.x", 1}, {"1e", 1}, {"1e+", 1}, {"1e+5", 4}, {"1E-05 ", 5},
        {"0.0e0", 5}, {"-.5", 0}, {"NaN", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(cases[i].len, shardy__number_span(cases[i].text, strlen(cases[i].text)));
    }
}

static void test_float__is_the_nearest_and_infinite_beyond_the_largest(void **state)
{
    (void)state;
    assert_true(shardy__to_float(0.1) == 0.1f);
    assert_true(shardy__to_float((double)FLT_MAX) == FLT_MAX);
    assert_true(shardy__to_float(0x1.fffffeffffffp+127) == FLT_MAX);
    assert_true(isinf(shardy__to_float(0x1.ffffffp+127)));
    assert_true(shardy__to_float(-1e300) < 0 && isinf(shardy__to_float(-1e300)));
    assert_true(isnan(shardy__to_float((double)NAN)));
    assert_true(shardy__to_float(1e-60) == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double__text_is_that_of_pythons_repr),
        cmocka_unit_test(test_double__is_the_nearest_to_its_text_as_in_python),
        cmocka_unit_test(test_double__random_bits_survive_text),
        cmocka_unit_test(test_double__all_powers_of_two_survive_text_with_at_most_17_digits),
        cmocka_unit_test(test_double__special_values_have_the_names_of_json_in_python),
        cmocka_unit_test(test_double__text_that_is_no_number_of_json_is_refused),
        cmocka_unit_test(test_double__does_not_depend_on_the_locale),
        cmocka_unit_test(test_integer__fits_or_is_refused),
        cmocka_unit_test(test_number__span_is_the_longest_number),
        cmocka_unit_test(test_float__is_the_nearest_and_infinite_beyond_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
