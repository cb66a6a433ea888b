/* Keys, their stored forms, and the shard they go to. */
#include "support/support.h"

#include "base/bytebuf.h"
#include "route/router.h"

#include <shardyfusion/limits.h>

#include <stdlib.h>
#include <string.h>

static shardy_error err;

static void test_key__each_encoding_takes_its_types_and_names_the_others(void **state)
{
    (void)state;
    static const struct {
        shardy_key key;
        int32_t encoding;
        const char *stored; /* NULL: refused */
        size_t len;
        const char *message;
    } cases[] = {
        {{SHARDY_KEY_INT, 0, 0, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_U64BE, "\0\0\0\0\0\0\0\0", 8,
            ""},
        {{SHARDY_KEY_INT, 0, INT64_MAX, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_U64BE,
            "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, ""},
        {{SHARDY_KEY_UINT, 0, 0, UINT64_MAX, {NULL, 0}}, SHARDY_KEY_ENCODING_U64BE,
            "\xff\xff\xff\xff\xff\xff\xff\xff", 8, ""},
        {{SHARDY_KEY_INT, 0, -1, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_U64BE, NULL, 0,
            "key -1 does not fit the encoding u64be: expected an integer from 0 to 2^64-1, "
            "or to 2^63-1 where keys are routed by hash"},
        {{SHARDY_KEY_TEXT, 0, 0, 0, {"12345678", 8}}, SHARDY_KEY_ENCODING_U64BE, NULL, 0,
            "key \"12345678\" does not fit the encoding u64be: expected an integer from 0 to "
            "2^64-1, or to 2^63-1 where keys are routed by hash"},
        {{SHARDY_KEY_BYTES, 0, 0, 0, {"12345678", 8}}, SHARDY_KEY_ENCODING_U64BE, "12345678", 8,
            ""},
        {{SHARDY_KEY_BYTES, 0, 0, 0, {"\x01\x02", 2}}, SHARDY_KEY_ENCODING_U64BE, NULL, 0,
            "key 0x0102 does not fit the encoding u64be: expected an integer from 0 to 2^64-1, "
            "or to 2^63-1 where keys are routed by hash"},
        {{SHARDY_KEY_INT, 0, UINT32_MAX, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_U32BE,
            "\xff\xff\xff\xff", 4, ""},
        {{SHARDY_KEY_INT, 0, 4294967296, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_U32BE, NULL, 0,
            "key 4294967296 does not fit the encoding u32be: expected an integer from 0 to "
            "2^32-1"},
        {{SHARDY_KEY_UINT, 0, 0, UINT64_MAX, {NULL, 0}}, SHARDY_KEY_ENCODING_U32BE, NULL, 0,
            "key 18446744073709551615 does not fit the encoding u32be: expected an integer from 0 "
            "to 2^32-1"},
        {{SHARDY_KEY_TEXT, 0, 0, 0, {"", 0}}, SHARDY_KEY_ENCODING_UTF8, "", 0, ""},
        {{SHARDY_KEY_TEXT, 0, 0, 0, {"\xc3\xa9", 2}}, SHARDY_KEY_ENCODING_UTF8, "\xc3\xa9", 2, ""},
        {{SHARDY_KEY_BYTES, 0, 0, 0, {"\xff\0", 2}}, SHARDY_KEY_ENCODING_UTF8, "\xff\0", 2, ""},
        {{SHARDY_KEY_TEXT, 0, 0, 0, {"a\xff", 2}}, SHARDY_KEY_ENCODING_UTF8, NULL, 0,
            "key 0x61ff does not fit the encoding utf8: expected valid UTF-8"},
        {{SHARDY_KEY_TEXT, 0, 0, 0, {"\xed\xa0\x80", 3}}, SHARDY_KEY_ENCODING_RAW, NULL, 0,
            "key 0xeda080 does not fit the encoding raw: expected valid UTF-8"},
        {{SHARDY_KEY_INT, 0, 5, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_UTF8, NULL, 0,
            "key 5 does not fit the encoding utf8: expected text or bytes"},
        {{SHARDY_KEY_INT, 0, 5, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_RAW, NULL, 0,
            "key 5 does not fit the encoding raw: expected text or bytes"},
        {{SHARDY_KEY_INT, 0, 5, 0, {NULL, 0}}, SHARDY_KEY_ENCODING_AUTO, NULL, 0,
            "key encoding 0 is not known"},
        {{SHARDY_KEY_INT, 0, 5, 0, {NULL, 0}}, 9, NULL, 0, "key encoding 9 is not known"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        encoded_key stored;
        memset(&err, 0, sizeof err);
        assert_status(cases[i].stored ? SHARDY_OK : SHARDY_INVALID,
            shardy__key_encode(&cases[i].key, cases[i].encoding, &stored, &err));
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(stored.bytes.len, cases[i].len);
        if (cases[i].len) {
            assert_memory_equal(stored.bytes.data, cases[i].stored, cases[i].len);
        }
    }
}

static void test_key__the_longest_is_taken_and_one_more_byte_is_not(void **state)
{
    (void)state;
    char *text = malloc(SHARDY_KEY_LEN_MAX + 1);
    encoded_key stored;
    memset(text, 'k', SHARDY_KEY_LEN_MAX + 1);
    shardy_key key = shardy_key_text(text, SHARDY_KEY_LEN_MAX);
    assert_ok(shardy__key_encode(&key, SHARDY_KEY_ENCODING_UTF8, &stored, &err));
    key = shardy_key_bytes(text, SHARDY_KEY_LEN_MAX + 1);
    assert_status(SHARDY_INVALID, shardy__key_encode(&key, SHARDY_KEY_ENCODING_RAW, &stored, &err));
    assert_string_equal(err.message, "a key of 1048577 bytes, the limit is 1048576");
    free(text);
}

static void test_key__stored_forms_of_another_length_are_corrupt(void **state)
{
    (void)state;
    shardy_key key;
    assert_status(SHARDY_CORRUPT,
        shardy__key_decode(shardy__bytes("1234", 4), SHARDY_KEY_ENCODING_U64BE, &key, &err));
    assert_string_equal(err.message, "a stored key has 4 bytes, the encoding u64be has 8");
    assert_status(SHARDY_CORRUPT,
        shardy__key_decode(shardy__bytes("", 0), SHARDY_KEY_ENCODING_U32BE, &key, &err));
    assert_ok(shardy__key_decode(
        shardy__bytes("\x80\0\0\0\0\0\0\0", 8), SHARDY_KEY_ENCODING_U64BE, &key, &err));
    assert_int_equal(key.type, SHARDY_KEY_UINT);
    assert_true(key.u == (uint64_t)1 << 63);
}

static void test_key__names_of_encodings_are_exact(void **state)
{
    (void)state;
    static const char *const names[] = {"auto", "u64be", "u32be", "utf8", "raw"};
    for (int32_t i = 0; i < 5; i++) {
        int32_t encoding;
        assert_string_equal(shardy_key_encoding_name(i), names[i]);
        assert_ok(shardy_key_encoding_parse(names[i], &encoding, &err));
        assert_int_equal(encoding, i);
    }
    int32_t encoding = 7;
    assert_string_equal(shardy_key_encoding_name(5), "unknown");
    assert_string_equal(shardy_key_encoding_name(-1), "unknown");
    assert_status(SHARDY_INVALID, shardy_key_encoding_parse("U64BE", &encoding, &err));
    assert_string_equal(
        err.message, "unknown key encoding \"U64BE\", known are u64be, u32be, utf8, raw and auto");
    assert_int_equal(encoding, SHARDY_KEY_ENCODING_AUTO);
}

static void test_key__the_order_is_integers_text_bytes_then_values(void **state)
{
    (void)state;
    const shardy_key ordered[] = {shardy_key_int(INT64_MIN), shardy_key_int(-1), shardy_key_int(0),
        shardy_key_int(INT64_MAX), shardy_key_uint((uint64_t)1 << 63), shardy_key_uint(UINT64_MAX),
        shardy_key_cstr(""), shardy_key_text("\0", 1), shardy_key_cstr("a"), shardy_key_cstr("ab"),
        shardy_key_cstr("b"), shardy_key_cstr("\xc3\xa9"), shardy_key_cstr("\xef\xbf\xbd"),
        shardy_key_cstr("\xf0\x9f\x98\x80"), shardy_key_bytes("", 0), shardy_key_bytes("\0", 1),
        shardy_key_bytes("a", 1), shardy_key_bytes("\xff", 1)};
    size_t count = sizeof ordered / sizeof ordered[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            int order = shardy_key_compare(&ordered[i], &ordered[k]);
            assert_true(i < k ? order < 0 : i > k ? order > 0 : order == 0);
        }
    }
    shardy_key small = shardy_key_uint(5);
    assert_int_equal(small.type, SHARDY_KEY_INT);
}

static void test_key__texts_for_messages_are_short(void **state)
{
    (void)state;
    char text[SHARDY_KEY_TEXT_SIZE];
    char long_text[100];
    memset(long_text, 'a', sizeof long_text);
    shardy_key key = shardy_key_text(long_text, sizeof long_text);
    assert_int_equal(strlen(shardy__key_text(&key, text)), 2 + 64 + 3);
    key = shardy_key_bytes(long_text, sizeof long_text);
    assert_int_equal(strlen(shardy__key_text(&key, text)), 2 + 128 + 3);
    key = shardy_key_bytes("", 0);
    assert_string_equal(shardy__key_text(&key, text), "0x");
}

static void test_route__integers_from_two_to_the_63_cannot_be_hashed(void **state)
{
    (void)state;
    shardy_key key = shardy_key_uint((uint64_t)1 << 63);
    uint64_t hash = 1;
    assert_status(SHARDY_INVALID, shardy__hash_key(&key, &hash, &err));
    assert_string_equal(
        err.message, "key 9223372036854775808 cannot be routed by hash: integers go up to 2^63-1");
    assert_int_equal(hash, 0);
    uint32_t db_id = 1;
    key = shardy_key_int(1);
    assert_status(SHARDY_INVALID, shardy_hash_route(&key, 0, &db_id, &err));
    assert_string_equal(err.message, "num_dbs is 0, expected 1 or more");
    assert_int_equal(db_id, 0);
}

/* T-10: the reference hashes the eight bytes and looks into the wrong shard. */
static void test_route__a_stored_integer_is_found_where_the_integer_is(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    for (int i = 0; i < 1000; i++) {
        int wide = i % 2;
        router r = {SHARDY_SHARDING_HASH,
            wide ? SHARDY_KEY_ENCODING_U64BE : SHARDY_KEY_ENCODING_U32BE, 1 + (uint32_t)i};
        routed_key by_int;
        routed_key by_bytes;
        shardy_key key =
            shardy_key_int((int64_t)support_rand_below(&rand, wide ? INT64_MAX : UINT32_MAX));
        assert_ok(shardy__router_route(&r, &key, NULL, 0, &by_int, &err));
        shardy_key bytes = shardy_key_bytes(by_int.stored.bytes.data, by_int.stored.bytes.len);
        assert_ok(shardy__router_route(&r, &bytes, NULL, 0, &by_bytes, &err));
        assert_int_equal(by_int.db_id, by_bytes.db_id);
    }
    router r = {SHARDY_SHARDING_HASH, SHARDY_KEY_ENCODING_U64BE, 3};
    routed_key routed;
    shardy_key key = shardy_key_bytes("abc", 3);
    assert_status(SHARDY_INVALID, shardy__router_route(&r, &key, NULL, 0, &routed, &err));
    assert_string_equal(err.message, "key 0x616263 does not fit the encoding u64be: expected an "
                                     "integer, or its stored bytes");
}

static void test_route__text_and_bytes_of_the_same_content_are_one_key(void **state)
{
    (void)state;
    router r = {SHARDY_SHARDING_HASH, SHARDY_KEY_ENCODING_UTF8, 1000};
    routed_key a;
    routed_key b;
    shardy_key text = shardy_key_cstr("abc");
    shardy_key bytes = shardy_key_bytes("abc", 3);
    assert_ok(shardy__router_route(&r, &text, NULL, 0, &a, &err));
    assert_ok(shardy__router_route(&r, &bytes, NULL, 0, &b, &err));
    assert_int_equal(a.db_id, b.db_id);
}

static void test_route__contexts_and_other_strategies_are_told_apart(void **state)
{
    (void)state;
    shardy_column column;
    memset(&column, 0, sizeof column);
    column.name = "region";
    routed_key routed;
    shardy_key key = shardy_key_cstr("k");
    router hash = {SHARDY_SHARDING_HASH, SHARDY_KEY_ENCODING_UTF8, 3};
    assert_status(SHARDY_ROUTE, shardy__router_route(&hash, &key, &column, 1, &routed, &err));
    assert_string_equal(err.message, "a routing context (\"region\") was given, but this snapshot "
                                     "routes by the hash of the key");
    assert_ok(shardy__router_route(&hash, &key, &column, 0, &routed, &err));
    router cel = {SHARDY_SHARDING_CEL, SHARDY_KEY_ENCODING_UTF8, 3};
    assert_status(SHARDY_UNSUPPORTED, shardy__router_route(&cel, &key, NULL, 0, &routed, &err));
    assert_string_equal(err.message, "this version cannot route in a snapshot with cel sharding");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key__each_encoding_takes_its_types_and_names_the_others),
        cmocka_unit_test(test_key__the_longest_is_taken_and_one_more_byte_is_not),
        cmocka_unit_test(test_key__stored_forms_of_another_length_are_corrupt),
        cmocka_unit_test(test_key__names_of_encodings_are_exact),
        cmocka_unit_test(test_key__the_order_is_integers_text_bytes_then_values),
        cmocka_unit_test(test_key__texts_for_messages_are_short),
        cmocka_unit_test(test_route__integers_from_two_to_the_63_cannot_be_hashed),
        cmocka_unit_test(test_route__a_stored_integer_is_found_where_the_integer_is),
        cmocka_unit_test(test_route__text_and_bytes_of_the_same_content_are_one_key),
        cmocka_unit_test(test_route__contexts_and_other_strategies_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
