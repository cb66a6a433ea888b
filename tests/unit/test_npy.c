/* NumPy files. tests/golden/make_text_cases.py wrote the golden ones with NumPy. */
#include "base/npy.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file with the given dictionary, padded as NumPy does, and `data_len` zero bytes. */
static shardy_bytes make_file(bytebuf *buf, uint8_t version, const char *dict, size_t data_len)
{
    shardy__bytebuf_clear(buf);
    size_t prefix = version == 1 ? 10 : 12;
    size_t len = strlen(dict) + 1;
    len += (64 - (prefix + len) % 64) % 64;
    uint8_t head[12] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', version, 0, (uint8_t)len, (uint8_t)(len >> 8)};
    shardy__bytebuf_append(buf, head, prefix);
    shardy__bytebuf_printf(buf, "%-*s\n", (int)len - 1, dict);
    for (size_t i = 0; i < data_len; i++) {
        shardy__bytebuf_putc(buf, '\0');
    }
    return shardy__bytes(buf->data, buf->len);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void read_golden(const char *name, npy_array *array)
{
    shardy_error err = {0};
    char path[200];
    size_t len;
    snprintf(path, sizeof path, "tests/golden/files/%s", name);
    char *file = support_read_file(support_source(path), &len);
    assert_ok(shardy__npy_read(shardy__bytes(file, len), array, &err));
    free(file);
}

static void test_read__every_type_gives_the_numbers_of_numpy(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int type;
        uint32_t dims;
        int fortran;
    } cases[] = {{"f4", NPY_F4, 2, 0}, {"f8", NPY_F8, 2, 0}, {"f4big", NPY_F4_BIG, 2, 0},
        {"f8big", NPY_F8_BIG, 2, 0}, {"f2", NPY_F2, 2, 0}, {"i1", NPY_I1, 2, 0},
        {"i4", NPY_I4, 2, 0}, {"i8", NPY_I8, 2, 0}, {"fortran", NPY_F4, 2, 1},
        {"one", NPY_F4, 1, 0}, {"empty", NPY_F4, 2, 0}, {"v2", NPY_F4, 2, 0}, {"v3", NPY_F4, 2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[100];
        npy_array got;
        npy_array expected;
        snprintf(name, sizeof name, "text/npy_%s.npy", cases[i].name);
        read_golden(name, &got);
        snprintf(name, sizeof name, "text/npy_%s.f8.npy", cases[i].name);
        read_golden(name, &expected);
        assert_int_equal(cases[i].type, got.header.type);
        assert_int_equal(cases[i].dims, got.header.dims);
        assert_int_equal(cases[i].fortran, got.header.fortran);
        assert_int_equal(NPY_F8, expected.header.type);
        assert_int_equal(expected.header.rows, got.header.rows);
        assert_int_equal(expected.header.cols, got.header.cols);
        for (size_t j = 0; j < got.header.rows * got.header.cols; j++) {
            assert_true(bits_of(expected.values[j]) == bits_of(got.values[j]));
        }
        shardy__npy_free(&got);
        shardy__npy_free(&expected);
    }
}

static void test_read__the_artifacts_of_the_reference(void **state)
{
    (void)state;
    npy_array array;
    read_golden("centroids_f8_2x3.npy", &array);
    assert_int_equal(2, array.header.rows);
    assert_int_equal(3, array.header.cols);
    assert_int_equal(NPY_F8, array.header.type);
    shardy__npy_free(&array);
    read_golden("hyperplanes_8x4_seed42.npy", &array);
    assert_int_equal(8, array.header.rows);
    assert_int_equal(4, array.header.cols);
    assert_int_equal(NPY_F4, array.header.type);
    assert_int_equal(128, array.header.data_at);
    shardy__npy_free(&array);
}

static void test_write__bytes_are_those_of_numpy(void **state)
{
    (void)state;
    static const char *const names[] = {
        "text/npy_f4.npy", "text/npy_one.npy", "text/npy_empty.npy", "hyperplanes_8x4_seed42.npy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        shardy_error err = {0};
        char path[200];
        size_t len;
        npy_header h;
        bytebuf out;
        float floats[64];
        snprintf(path, sizeof path, "tests/golden/files/%s", names[i]);
        char *file = support_read_file(support_source(path), &len);
        assert_ok(shardy__npy_parse_header(shardy__bytes(file, len), len, &h, &err));
        shardy__npy_to_floats(&h, file + h.data_at, (size_t)(h.rows * h.cols), floats);
        shardy__bytebuf_init(&out, 4096);
        assert_ok(shardy__npy_write_floats(floats, h.rows, h.cols, h.dims, &out, &err));
        assert_int_equal(len, out.len);
        assert_memory_equal(file, out.data, len);
        shardy__bytebuf_free(&out);
        free(file);
    }
}

static void test_write__what_is_too_large_is_invalid(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf out;
    float one = 1;
    shardy__bytebuf_init(&out, 200);
    assert_status(
        SHARDY_INVALID, shardy__npy_write_floats(&one, (uint64_t)1 << 40, 1u << 30, 2, &out, &err));
    assert_status(SHARDY_INVALID, shardy__npy_write_floats(&one, 1000, 1, 1, &out, &err));
    assert_status(SHARDY_INVALID, shardy__npy_write_floats(&one, 1, 1, 3, &out, &err));
    shardy__bytebuf_free(&out);
}

static void test_header__good_dictionaries(void **state)
{
    (void)state;
    static const struct {
        uint8_t version;
        const char *dict;
        size_t data_len;
        uint64_t rows;
        uint64_t cols;
    } cases[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24, 2, 3},
        {2, "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3)}", 48, 2, 3},
        {3, "{'shape': (5,), 'descr': '|i1', 'fortran_order': True}", 5, 5, 1},
        {1, "{\"descr\":\"<f2\",\"fortran_order\":False,\"shape\":(0,7)}", 0, 0, 7},
        {1, "  { 'descr' : '<i8' , 'fortran_order' : False , 'shape' : ( 1 , 1 , ) , }", 8, 1, 1},
    };
    bytebuf buf;
    shardy__bytebuf_init(&buf, 100000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        npy_header h;
        shardy_bytes file = make_file(&buf, cases[i].version, cases[i].dict, cases[i].data_len);
        assert_ok(shardy__npy_parse_header(file, file.len, &h, &err));
        assert_int_equal(cases[i].rows, h.rows);
        assert_int_equal(cases[i].cols, h.cols);
        assert_int_equal(file.len - cases[i].data_len, h.data_at);
    }
    shardy__bytebuf_free(&buf);
}

static void test_header__bad_dictionaries_are_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *dict;
        size_t data_len;
        const char *message;
    } cases[] = {
        {"", 0, "not a dictionary"},
        {"{", 0, "not a dictionary"},
        {"{}", 0, "lacks"},
        {"{'descr': '<f4', 'fortran_order': False}", 0, "lacks"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4, "not a dictionary"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4, "not a dictionary"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4, "follows"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, "type \"|O\""},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "type \"<c8\""},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (1,)}", 20, "type \"<U5\""},
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (1,)}", 4, "type \">i4\""},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, "simple type"},
        {"{'descr': '<f\\x34', 'fortran_order': False, 'shape': (1,)}", 4, "simple type"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, "neither True nor False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, "without dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,1)}", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", 4, "not a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1)}", 4, "two dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}", 4,
            "a dimension is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615,)}", 4,
            "shape is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296)}", 4,
            "shape is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3000000000,3000000000)}", 4,
            "shape is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 4, "needs 8 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 8, "needs 4 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592,)}", 4, "the file has 4"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "once each"},
        {"{'descr': '<f4', 'other': 1, 'fortran_order': False, 'shape': (1,)}", 4, "\"other\""},
    };
    bytebuf buf;
    shardy__bytebuf_init(&buf, 100000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        npy_header h;
        shardy_bytes file = make_file(&buf, 1, cases[i].dict, cases[i].data_len);
        assert_status(SHARDY_INVALID, shardy__npy_parse_header(file, file.len, &h, &err));
        if (!strstr(err.message, cases[i].message)) {
            fail_msg(
                "%s: \"%s\" does not say \"%s\"", cases[i].dict, err.message, cases[i].message);
        }
        assert_int_equal(0, h.rows);
    }
    shardy__bytebuf_free(&buf);
}

static void test_header__a_huge_one_is_refused_before_it_is_read(void **state)
{
    (void)state;
    shardy_error err = {0};
    size_t len;
    static const uint8_t huge[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 0xFF, 0xFF, 0xFF, 0x7F};
    assert_status(SHARDY_INVALID, shardy__npy_header_len(shardy__bytes(huge, 12), &len, &err));
    assert_non_null(strstr(err.message, "limit of 10000"));
    static const uint8_t large[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0x11, 0x27, 0, 0};
    assert_status(SHARDY_INVALID, shardy__npy_header_len(shardy__bytes(large, 12), &len, &err));
    static const uint8_t limit[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0x10, 0x27, 0, 0};
    assert_ok(shardy__npy_header_len(shardy__bytes(limit, 12), &len, &err));
    assert_int_equal(10010, len);
}

static void test_header__every_cut_of_a_file_is_invalid(void **state)
{
    (void)state;
    bytebuf buf;
    shardy__bytebuf_init(&buf, 100000);
    for (uint8_t version = 1; version <= 3; version++) {
        shardy_bytes file = make_file(
            &buf, version, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 24);
        for (size_t len = 0; len < file.len; len++) {
            /* A copy of that length, so that a sanitizer sees reading beyond it. */
            char *copy = malloc(len ? len : 1);
            assert_non_null(copy);
            memcpy(copy, file.data, len);
            shardy_error err = {0};
            npy_array array;
            assert_status(SHARDY_INVALID, shardy__npy_read(shardy__bytes(copy, len), &array, &err));
            assert_null(array.values);
            free(copy);
        }
    }
    shardy__bytebuf_free(&buf);
}

static void test_header__unknown_magic_and_versions_are_invalid(void **state)
{
    (void)state;
    shardy_error err = {0};
    bytebuf buf;
    npy_header h;
    shardy__bytebuf_init(&buf, 100000);
    const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
    make_file(&buf, 4, dict, 4);
    assert_status(SHARDY_INVALID,
        shardy__npy_parse_header(shardy__bytes(buf.data, buf.len), buf.len, &h, &err));
    make_file(&buf, 1, dict, 4);
    buf.data[7] = 1;
    assert_status(SHARDY_INVALID,
        shardy__npy_parse_header(shardy__bytes(buf.data, buf.len), buf.len, &h, &err));
    make_file(&buf, 1, dict, 4);
    buf.data[0] = 'N';
    assert_status(SHARDY_INVALID,
        shardy__npy_parse_header(shardy__bytes(buf.data, buf.len), buf.len, &h, &err));
    shardy__bytebuf_free(&buf);
}

static void test_read__a_shape_with_a_zero_is_done_at_once(void **state)
{
    (void)state;
    static const char *const dicts[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1000000000000000000, 0), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 1000000000000000000), }"};
    bytebuf buf;
    shardy__bytebuf_init(&buf, 100000);
    for (size_t i = 0; i < 2; i++) {
        shardy_error err = {0};
        npy_array array;
        assert_ok(shardy__npy_read(make_file(&buf, 1, dicts[i], 0), &array, &err));
        shardy__npy_free(&array);
    }
    shardy__bytebuf_free(&buf);
}

/* What a float16 means, by the definition and not by the code under test. */
static double half_value(uint32_t half)
{
    double sign = half & 0x8000 ? -1.0 : 1.0;
    uint32_t exponent = half >> 10 & 31;
    double fraction = (half & 1023) / 1024.0;
    if (exponent == 31) {
        return fraction > 0 ? (double)NAN : sign * (double)INFINITY;
    }
    return exponent == 0 ? sign * fraction * pow(2, -14)
                         : sign * (1 + fraction) * pow(2, (double)exponent - 15);
}

static void test_float16__all_65536_are_exact(void **state)
{
    (void)state;
    npy_header h = {.type = NPY_F2, .item_len = 2};
    for (uint32_t half = 0; half < 65536; half++) {
        uint8_t bytes[2] = {(uint8_t)half, (uint8_t)(half >> 8)};
        double d;
        float f;
        shardy__npy_to_doubles(&h, bytes, 1, &d);
        shardy__npy_to_floats(&h, bytes, 1, &f);
        double expected = half_value(half);
        assert_true(isnan(expected) ? isnan(d) && isnan(f)
                                    : bits_of(d) == bits_of(expected) && (double)f == expected);
    }
}

static void test_floats__are_rounded_once_and_overflow_to_infinity(void **state)
{
    (void)state;
    float f[3];
    npy_header h = {.type = NPY_I8, .item_len = 8};
    /* By way of double this would round down first and then to even: 2^53. */
    int64_t odd[1] = {((int64_t)1 << 53) + ((int64_t)1 << 29) + 1};
    shardy__npy_to_floats(&h, odd, 1, f);
    assert_true(f[0] == (float)(((int64_t)1 << 53) + ((int64_t)1 << 30)));
    h.type = NPY_F8;
    double d[3] = {1e300, -1e300, 0.1};
    shardy__npy_to_floats(&h, d, 3, f);
    assert_true(isinf(f[0]) && f[0] > 0 && isinf(f[1]) && f[1] < 0 && f[2] == 0.1f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read__every_type_gives_the_numbers_of_numpy),
        cmocka_unit_test(test_read__the_artifacts_of_the_reference),
        cmocka_unit_test(test_write__bytes_are_those_of_numpy),
        cmocka_unit_test(test_write__what_is_too_large_is_invalid),
        cmocka_unit_test(test_header__good_dictionaries),
        cmocka_unit_test(test_header__bad_dictionaries_are_invalid),
        cmocka_unit_test(test_header__a_huge_one_is_refused_before_it_is_read),
        cmocka_unit_test(test_header__every_cut_of_a_file_is_invalid),
        cmocka_unit_test(test_header__unknown_magic_and_versions_are_invalid),
        cmocka_unit_test(test_read__a_shape_with_a_zero_is_done_at_once),
        cmocka_unit_test(test_float16__all_65536_are_exact),
        cmocka_unit_test(test_floats__are_rounded_once_and_overflow_to_infinity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
