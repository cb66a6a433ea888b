/* Varints and records. */
#include "support/sqlite_testing.h"

#include <math.h>

static void test_varint__every_length_comes_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455,
        268435456, 34359738367, 34359738368, 4398046511103, 4398046511104, 562949953421311,
        562949953421312, 72057594037927935, 72057594037927936, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t bytes[RECORD_VARINT_MAX + 1];
        uint64_t back = 0;
        size_t len = shardy__varint_put(bytes, values[i]);
        assert_int_equal(len, shardy__varint_len(values[i]));
        assert_int_equal(shardy__varint_get(bytes, len, &back), len);
        assert_true(back == values[i]);
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *exact = malloc(cut + 1);
            memcpy(exact, bytes, cut);
            assert_int_equal(shardy__varint_get(exact, cut, &back), 0);
            free(exact);
        }
    }
}

static void test_serial__lengths_are_those_of_the_format(void **state)
{
    (void)state;
    static const uint64_t lens[] = {
        0, 1, 2, 3, 4, 6, 8, 8, 0, 0, UINT64_MAX, UINT64_MAX, 0, 0, 1, 1};
    for (uint64_t i = 0; i < 16; i++) {
        assert_true(shardy__serial_len(i) == lens[i]);
    }
}

static record_value random_value(support_rand *rand, uint8_t *bytes, size_t room)
{
    switch (support_rand_below(rand, 6)) {
    case 0:
        return shardy__record_null();
    case 1:
        return shardy__record_int(
            (int64_t)(support_rand_u64(rand) >> support_rand_below(rand, 64)));
    case 2:
        return shardy__record_int(
            -(int64_t)(support_rand_u64(rand) >> (1 + support_rand_below(rand, 63))));
    case 3:
        return shardy__record_real((double)(int64_t)support_rand_u64(rand) / 1e6);
    case 4:
        return shardy__record_text((const char *)bytes, support_rand_below(rand, room));
    default:
        return shardy__record_blob(bytes, support_rand_below(rand, room));
    }
}

static void test_record__random_rows_come_back(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)support_rand_u64(&rand);
    }
    for (int round = 0; round < 2000; round++) {
        shardy_error err = {0};
        record_value in[70];
        record_value out[71];
        size_t count = 1 + support_rand_below(&rand, 70);
        for (size_t i = 0; i < count; i++) {
            in[i] = random_value(&rand, bytes, sizeof bytes);
        }
        size_t len = (size_t)shardy__record_len(in, count);
        uint8_t *record = malloc(len);
        shardy__record_put(in, count, record);
        size_t columns = 0;
        assert_ok(shardy__record_parse(record, len, out, count + 1, &columns, &err));
        assert_int_equal(columns, count);
        assert_int_equal(out[count].type, RECORD_NULL);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(out[i].type, in[i].type);
            assert_int_equal(shardy__record_compare(&out[i], &in[i]), 0);
            record_column column;
            assert_ok(shardy__record_find(record, len, len, (uint32_t)i, &column, &err));
            record_value again;
            assert_ok(shardy__record_value(column.serial, record + column.offset, &again, &err));
            assert_int_equal(shardy__record_compare(&again, &in[i]), 0);
        }
        /* The header may come in parts, the bytes may not be there at all. */
        record_column column;
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *part = malloc(cut + 1);
            memcpy(part, record, cut);
            shardy_status st = shardy__record_find(part, cut, len, 0, &column, &err);
            assert_true(st == SHARDY_PENDING || st == SHARDY_OK);
            assert_true(shardy__record_parse(part, cut, out, count, NULL, &err) < 0);
            free(part);
        }
        free(record);
    }
}

static void test_record__broken_headers_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint8_t bytes[12];
        size_t len;
    } cases[] = {
        {"no bytes", {0}, 0},
        {"header of length 0", {0, 1, 1}, 3},
        {"header longer than the record", {9, 1, 1}, 3},
        {"serial type cut off", {2, 0x81, 1}, 3},
        {"column beyond the record", {2, 4, 1, 2}, 4},
        {"reserved type 10", {2, 10, 1, 2}, 4},
        {"reserved type 11", {2, 11, 1, 2}, 4},
        {"huge blob", {10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1}, 12},
        {"huge header", {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1}, 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shardy_error err = {0};
        record_value value;
        shardy_status st =
            shardy__record_parse(cases[i].bytes, cases[i].len, &value, 1, NULL, &err);
        if (st != SHARDY_CORRUPT) {
            fail_msg("%s: %d", cases[i].what, st);
        }
        assert_true(err.message[0] != 0);
    }
}

static void test_record__integers_and_reals_compare_exactly(void **state)
{
    (void)state;
    static const struct {
        int64_t i;
        double r;
        int order;
    } cases[] = {{0, 0.0, 0}, {1, 0.5, 1}, {-1, -0.5, -1}, {INT64_MAX, 9223372036854775807.0, -1},
        {INT64_MIN, -9223372036854775808.0, 0}, {9007199254740993, 9007199254740992.0, 1},
        {9007199254740991, 9007199254740992.0, -1}, {INT64_MAX, INFINITY, -1},
        {INT64_MIN, -INFINITY, 1}, {3, 3.5, -1}, {-3, -3.5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        record_value a = shardy__record_int(cases[i].i);
        record_value b = shardy__record_real(cases[i].r);
        assert_int_equal(shardy__record_compare(&a, &b), cases[i].order);
        assert_int_equal(shardy__record_compare(&b, &a), -cases[i].order);
    }
}

static void test_record__classes_sort_as_null_numbers_text_blobs(void **state)
{
    (void)state;
    record_value sorted[] = {shardy__record_null(), shardy__record_real(-INFINITY),
        shardy__record_int(5), shardy__record_real(5.5), shardy__record_text("", 0),
        shardy__record_text("a", 1), shardy__record_text("a\0", 2), shardy__record_text("b", 1),
        shardy__record_blob("", 0), shardy__record_blob("a", 1), shardy__record_blob("b", 1)};
    size_t n = sizeof sorted / sizeof *sorted;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            int order = shardy__record_compare(&sorted[i], &sorted[j]);
            assert_true(i == j ? order == 0 : i < j ? order < 0 : order > 0);
        }
    }
}

static void test_record__a_nan_is_null_as_in_sqlite(void **state)
{
    (void)state;
    shardy_error err = {0};
    record_value nan_value = shardy__record_real(NAN);
    assert_true(shardy__record_serial(&nan_value) == 0);
    uint8_t bytes[8] = {0x7F, 0xF8};
    record_value out;
    assert_ok(shardy__record_value(7, bytes, &out, &err));
    assert_int_equal(out.type, RECORD_NULL);
}

static void test_record__sqlite_reads_what_we_encode_and_the_other_way(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)('a' + support_rand_below(&rand, 26));
    }
    btree_object object = {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a,b,c)", 0};
    image img;
    btree_writer *writer = open_writer(&img, 4096, &object, 1);
    shardy_error err = {0};
    sqlite3 *peer = new_db(4096);
    run_sql(peer, "CREATE TABLE t(a,b,c)");
    sqlite3_stmt *insert = prepare(peer, "INSERT INTO t VALUES(?,?,?)");
    for (int64_t row = 1; row <= 500; row++) {
        record_value values[3];
        for (int c = 0; c < 3; c++) {
            values[c] = random_value(&rand, bytes, sizeof bytes);
            const record_value *v = &values[c];
            switch (v->type) {
            case RECORD_NULL:
                sqlite3_bind_null(insert, c + 1);
                break;
            case RECORD_INT:
                sqlite3_bind_int64(insert, c + 1, v->integer);
                break;
            case RECORD_REAL:
                sqlite3_bind_double(insert, c + 1, v->real);
                break;
            case RECORD_TEXT:
                sqlite3_bind_text(insert, c + 1, (const char *)v->data, (int)v->len, SQLITE_STATIC);
                break;
            default:
                sqlite3_bind_blob(insert, c + 1, v->data, (int)v->len, SQLITE_STATIC);
            }
        }
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
        assert_ok(shardy__btree_put_row(writer, 0, row, values, 3, &err));
    }
    sqlite3_finalize(insert);
    finish_writer(writer, &img);
    /* Both databases hold the same rows, and the payloads are the same bytes. */
    image theirs = take_image(peer);
    btree_file *a = open_image(&img);
    btree_file *b = open_image(&theirs);
    btree_tree ta = find_table(a, "t");
    btree_tree tb = find_table(b, "t");
    btree_walk wa;
    btree_walk wb;
    shardy__btree_walk_init(&wa, &ta);
    shardy__btree_walk_init(&wb, &tb);
    shardy__btree_walk_first(&wa);
    shardy__btree_walk_first(&wb);
    int rows = 0;
    while (shardy__btree_walk_run(&wa, &err) == SHARDY_OK) {
        assert_ok(shardy__btree_walk_run(&wb, &err));
        shardy_bytes pa;
        shardy_bytes pb;
        assert_ok(shardy__btree_walk_payload(&wa, 10000, &pa, &err));
        assert_ok(shardy__btree_walk_payload(&wb, 10000, &pb, &err));
        assert_int_equal(pa.len, pb.len);
        assert_memory_equal(pa.data, pb.data, pa.len);
        assert_true(wa.cell.rowid == wb.cell.rowid);
        shardy__btree_walk_next(&wa);
        shardy__btree_walk_next(&wb);
        rows++;
    }
    assert_int_equal(rows, 500);
    shardy__btree_walk_end(&wa);
    shardy__btree_walk_end(&wb);
    shardy__btree_close(a);
    shardy__btree_close(b);
    sqlite3_close(peer);
    free_image(&img);
    free_image(&theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint__every_length_comes_back),
        cmocka_unit_test(test_serial__lengths_are_those_of_the_format),
        cmocka_unit_test(test_record__random_rows_come_back),
        cmocka_unit_test(test_record__broken_headers_are_corrupt),
        cmocka_unit_test(test_record__integers_and_reals_compare_exactly),
        cmocka_unit_test(test_record__classes_sort_as_null_numbers_text_blobs),
        cmocka_unit_test(test_record__a_nan_is_null_as_in_sqlite),
        cmocka_unit_test(test_record__sqlite_reads_what_we_encode_and_the_other_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
