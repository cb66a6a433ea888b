/* Every golden snapshot of the reference that this version reads answers as its expected.json
 * says. */
#include "sqlitefile/btree_read.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>
#include <shardyfusion/sys/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

/* A snapshot and what is expected of it. */
typedef struct golden {
    const char *name;
    shardy_reader *reader;
    shardy_json *json;
    const shardy_json_value *root;
    char *text;
} golden;

static void open_golden(golden *g, const char *name)
{
    char path[512];
    size_t len;
    memset(g, 0, sizeof *g);
    g->name = name;
    snprintf(path, sizeof path, "%s/tests/golden/snapshots/%s", SHARDY_SOURCE_DIR, name);
    assert_ok(shardy_reader_open(NULL, path, NULL, &g->reader, &err));
    g->text = support_read_file(support_path(path, "expected.json"), &len);
    shardy_bytes bytes = {g->text, len};
    assert_ok(shardy_json_parse(bytes, &g->json, &err));
    g->root = shardy_json_root(g->json);
}

static void close_golden(golden *g)
{
    shardy_reader_close(g->reader);
    shardy_json_free(g->json);
    free(g->text);
}

static uint8_t base64_value(char c)
{
    const char *alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = strchr(alphabet, c);
    return p && c ? (uint8_t)(p - alphabet) : 0;
}

/* Decoded bytes; free(). */
static uint8_t *base64_decode(shardy_bytes text, size_t *len_out)
{
    const char *p = text.data;
    uint8_t *out = malloc(text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i + 3 < text.len; i += 4) {
        uint32_t v = (uint32_t)base64_value(p[i]) << 18 | (uint32_t)base64_value(p[i + 1]) << 12 |
                     (uint32_t)base64_value(p[i + 2]) << 6 | base64_value(p[i + 3]);
        out[n++] = (uint8_t)(v >> 16);
        if (p[i + 2] != '=') {
            out[n++] = (uint8_t)(v >> 8);
        }
        if (p[i + 3] != '=') {
            out[n++] = (uint8_t)v;
        }
    }
    *len_out = n;
    return out;
}

/* The text, or the decoded base64, of a member "name" or "name_b64". *owned_out is to be freed. */
static shardy_bytes bytes_member(
    const shardy_json_value *object, const char *name, uint8_t **owned_out)
{
    char encoded[64];
    snprintf(encoded, sizeof encoded, "%s_b64", name);
    const shardy_json_value *value = shardy_json_get(object, encoded);
    *owned_out = NULL;
    if (!value) {
        return shardy_json_string(shardy_json_get(object, name));
    }
    size_t len;
    *owned_out = base64_decode(shardy_json_string(value), &len);
    shardy_bytes bytes = {*owned_out, len};
    return bytes;
}

static shardy_key key_member(const shardy_json_value *record, uint8_t **owned_out)
{
    const shardy_json_value *value = shardy_json_get(record, "key");
    *owned_out = NULL;
    if (value && shardy_json_type_of(value) == SHARDY_JSON_NUMBER) {
        uint64_t number = 0;
        assert_true(shardy_json_uint64(value, &number));
        return shardy_key_uint(number);
    }
    int is_bytes = value == NULL;
    shardy_bytes bytes = bytes_member(record, "key", owned_out);
    return is_bytes ? shardy_key_bytes(bytes.data, bytes.len)
                    : shardy_key_text(bytes.data, bytes.len);
}

static void check_records(const golden *g)
{
    const shardy_json_value *records = shardy_json_get(g->root, "records");
    size_t count = shardy_json_count(records);
    for (size_t i = 0; i < count; i++) {
        const shardy_json_value *record = shardy_json_at(records, i);
        uint8_t *owned_key;
        uint8_t *owned_value;
        shardy_key key = key_member(record, &owned_key);
        shardy_bytes expected = bytes_member(record, "value", &owned_value);
        int64_t shard = -1;
        uint32_t db_id;
        shardy_buf value;
        assert_ok(shardy_reader_get(g->reader, &key, NULL, &value, &err));
        assert_int_equal(value.len, expected.len);
        assert_memory_equal(value.data, expected.data, expected.len);
        shardy_buf_release(&value);
        assert_true(shardy_json_int64(shardy_json_get(record, "shard"), &shard));
        assert_ok(shardy_reader_route_key(g->reader, &key, NULL, &db_id, &err));
        assert_int_equal(db_id, shard);
        free(owned_key);
        free(owned_value);
    }
}

/* All keys, present and absent, in one call. */
static void check_multi_get(const golden *g)
{
    const shardy_json_value *records = shardy_json_get(g->root, "records");
    const shardy_json_value *absent = shardy_json_get(g->root, "absent_keys");
    size_t present = shardy_json_count(records);
    size_t count = present + shardy_json_count(absent);
    shardy_key *keys = calloc(count + 1, sizeof *keys);
    uint8_t **owned = calloc(count + 1, sizeof *owned);
    shardy_values values;
    for (size_t i = 0; i < count; i++) {
        keys[i] = key_member(
            i < present ? shardy_json_at(records, i) : shardy_json_at(absent, i - present),
            &owned[i]);
    }
    assert_ok(shardy_reader_multi_get(g->reader, keys, count, NULL, &values, &err));
    assert_int_equal(values.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(values.values[i].status, i < present ? SHARDY_OK : SHARDY_NOT_FOUND);
        if (i < present) {
            uint8_t *owned_value;
            shardy_bytes expected = bytes_member(shardy_json_at(records, i), "value", &owned_value);
            assert_int_equal(values.values[i].bytes.len, expected.len);
            assert_memory_equal(values.values[i].bytes.data, expected.data, expected.len);
            free(owned_value);
        }
        free(owned[i]);
    }
    shardy_values_dispose(&values);
    free(owned);
    free(keys);
}

static void check_absent(const golden *g)
{
    const shardy_json_value *absent = shardy_json_get(g->root, "absent_keys");
    for (size_t i = 0; i < shardy_json_count(absent); i++) {
        uint8_t *owned;
        shardy_key key = key_member(shardy_json_at(absent, i), &owned);
        shardy_buf value;
        assert_status(SHARDY_NOT_FOUND, shardy_reader_get(g->reader, &key, NULL, &value, &err));
        assert_null(value.data);
        free(owned);
    }
}

static void check_info(const golden *g)
{
    const shardy_json_value *info = shardy_json_get(g->root, "info");
    shardy_snapshot_info got;
    int64_t n = 0;
    assert_ok(shardy_reader_snapshot_info(g->reader, &got, &err));
    assert_true(shardy_json_int64(shardy_json_get(info, "num_dbs"), &n));
    assert_int_equal(got.num_dbs, n);
    assert_true(shardy_json_int64(shardy_json_get(info, "row_count"), &n));
    assert_int_equal(got.row_count, n);
    shardy_bytes text = shardy_json_string(shardy_json_get(info, "run_id"));
    assert_int_equal(strlen(got.run_id), text.len);
    assert_memory_equal(got.run_id, text.data, text.len);
    text = shardy_json_string(shardy_json_get(info, "key_encoding"));
    assert_int_equal(strlen(shardy_key_encoding_name(got.key_encoding)), text.len);
    assert_memory_equal(shardy_key_encoding_name(got.key_encoding), text.data, text.len);
    assert_int_equal(got.strategy, SHARDY_SHARDING_HASH);
    assert_int_equal(got.verified, 0); /* the reference records no digests */
    shardy_snapshot_info_dispose(&got);
}

static void check_bound(const shardy_json_value *expected, int32_t has, const shardy_key *key)
{
    if (shardy_json_type_of(expected) == SHARDY_JSON_NULL) {
        assert_false(has);
        return;
    }
    assert_true(has);
    if (shardy_json_type_of(expected) == SHARDY_JSON_NUMBER) {
        int64_t number = 0;
        assert_true(shardy_json_int64(expected, &number));
        assert_int_equal(key->type, SHARDY_KEY_INT);
        assert_true(key->i == number);
        return;
    }
    shardy_bytes text = shardy_json_string(expected);
    assert_int_equal(key->type, SHARDY_KEY_TEXT);
    assert_int_equal(key->bytes.len, text.len);
    assert_memory_equal(key->bytes.data, text.data, text.len);
}

static void check_shards(const golden *g)
{
    const shardy_json_value *shards = shardy_json_get(g->root, "shards");
    shardy_shard_details got;
    size_t seen = 0;
    assert_ok(shardy_reader_shard_details(g->reader, &got, &err));
    for (size_t i = 0; i < got.count; i++) {
        const shardy_shard_detail *detail = &got.shards[i];
        assert_int_equal(detail->db_id, i);
        if (!detail->db_url) {
            assert_int_equal(detail->row_count, 0);
            continue;
        }
        const shardy_json_value *row = shardy_json_at(shards, seen++);
        int64_t n = 0;
        assert_true(shardy_json_int64(shardy_json_get(row, "db_id"), &n));
        assert_int_equal(n, i);
        assert_true(shardy_json_int64(shardy_json_get(row, "attempt"), &n));
        assert_int_equal(detail->attempt, n);
        assert_true(shardy_json_int64(shardy_json_get(row, "row_count"), &n));
        assert_int_equal(detail->row_count, n);
        assert_true(shardy_json_int64(shardy_json_get(row, "db_bytes"), &n));
        assert_int_equal(detail->db_bytes, n);
        shardy_bytes url = shardy_json_string(shardy_json_get(row, "db_url"));
        assert_int_equal(strlen(detail->db_url), url.len);
        assert_memory_equal(detail->db_url, url.data, url.len);
        check_bound(shardy_json_get(row, "min_key"), detail->has_min_key, &detail->min_key);
        check_bound(shardy_json_get(row, "max_key"), detail->has_max_key, &detail->max_key);
    }
    assert_int_equal(seen, shardy_json_count(shards));
    shardy_shard_details_dispose(&got);
}

static void check_whole(const char *name)
{
    golden g;
    open_golden(&g, name);
    check_info(&g);
    check_shards(&g);
    check_records(&g);
    check_absent(&g);
    check_multi_get(&g);
    close_golden(&g);
}

#define WHOLE(name)                                                                                \
    static void test_golden__##name##_answers_as_the_reference(void **state)                       \
    {                                                                                              \
        (void)state;                                                                               \
        check_whole(#name);                                                                        \
    }

WHOLE(kv_sqlite_hash_int)
WHOLE(kv_sqlite_hash_str_bytes)
WHOLE(kv_sqlite_hash_u32)
WHOLE(kv_sqlite_raw_bytes)
WHOLE(kv_sqlite_page_auto)
WHOLE(kv_sqlite_sidecar)
WHOLE(kv_sqlite_duplicates)
WHOLE(kv_sqlite_retries)
WHOLE(limits_empty_shards)
WHOLE(limits_no_rows)
WHOLE(unified_sqlite_vec_cosine)
WHOLE(unified_sqlite_vec_l2)
WHOLE(history_rollback)

static int same_id(const shardy_json_value *expected, const shardy_key *id)
{
    if (shardy_json_type_of(expected) == SHARDY_JSON_NUMBER) {
        int64_t number = 0;
        return shardy_json_int64(expected, &number) && id->type == SHARDY_KEY_INT &&
               id->i == number;
    }
    shardy_bytes text = shardy_json_string(expected);
    return id->type == SHARDY_KEY_TEXT && id->bytes.len == text.len &&
           memcmp(id->bytes.data, text.data, text.len) == 0;
}

static void check_query(const golden *g, const shardy_json_value *expected)
{
    float vector[64];
    uint32_t shard_ids[16];
    const shardy_json_value *numbers = shardy_json_get(expected, "query");
    const shardy_json_value *ids = shardy_json_get(expected, "shard_ids");
    const shardy_json_value *exact = shardy_json_get(expected, "exact");
    shardy_query query;
    shardy_hits hits;
    int64_t k = 0;
    shardy_query_init(&query, sizeof query);
    for (size_t i = 0; i < shardy_json_count(numbers); i++) {
        double d = 0;
        assert_true(shardy_json_double(shardy_json_at(numbers, i), &d));
        vector[i] = (float)d;
    }
    for (size_t i = 0; i < shardy_json_count(ids); i++) {
        int64_t id = 0;
        assert_true(shardy_json_int64(shardy_json_at(ids, i), &id));
        shard_ids[i] = (uint32_t)id;
    }
    assert_true(shardy_json_int64(shardy_json_get(expected, "k"), &k));
    query.vectors = vector;
    query.count = 1;
    query.dim = (uint32_t)shardy_json_count(numbers);
    query.top_k = (uint32_t)k;
    if (ids && shardy_json_type_of(ids) == SHARDY_JSON_ARRAY) {
        query.shard_ids = shard_ids;
        query.shard_id_count = shardy_json_count(ids);
    }
    assert_ok(shardy_reader_search(g->reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], shardy_json_count(exact));
    for (size_t i = 0; i < hits.offsets[1]; i++) {
        const shardy_json_value *pair = shardy_json_at(exact, i);
        double distance = 0;
        assert_true(shardy_json_double(shardy_json_at(pair, 1), &distance));
        assert_true(fabs(hits.hits[i].score - distance) < 1e-9);
        assert_true(same_id(shardy_json_at(pair, 0), &hits.hits[i].id));
    }
    shardy_hits_dispose(&hits);
}

static void check_queries(const char *name)
{
    golden g;
    open_golden(&g, name);
    const shardy_json_value *queries = shardy_json_get(g.root, "queries");
    assert_true(shardy_json_count(queries) >= 5);
    for (size_t i = 0; i < shardy_json_count(queries); i++) {
        check_query(&g, shardy_json_at(queries, i));
    }
    close_golden(&g);
}

static void test_golden__cosine_search_finds_the_exact_neighbours(void **state)
{
    (void)state;
    check_queries("unified_sqlite_vec_cosine");
}

static void test_golden__l2_search_finds_the_exact_neighbours(void **state)
{
    (void)state;
    check_queries("unified_sqlite_vec_l2");
}

/* Payloads come back as they were written. */
static void test_golden__payloads_of_hits_are_those_of_their_records(void **state)
{
    (void)state;
    golden g;
    open_golden(&g, "unified_sqlite_vec_cosine");
    const shardy_json_value *records = shardy_json_get(g.root, "records");
    for (size_t i = 0; i < 50; i++) {
        const shardy_json_value *record = shardy_json_at(records, i);
        const shardy_json_value *numbers = shardy_json_get(record, "vector");
        float vector[64];
        for (size_t d = 0; d < shardy_json_count(numbers); d++) {
            double x = 0;
            assert_true(shardy_json_double(shardy_json_at(numbers, d), &x));
            vector[d] = (float)x;
        }
        shardy_query query;
        shardy_hits hits;
        shardy_query_init(&query, sizeof query);
        query.vectors = vector;
        query.count = 1;
        query.dim = (uint32_t)shardy_json_count(numbers);
        query.top_k = 1;
        assert_ok(shardy_reader_search(g.reader, &query, NULL, &hits, &err));
        assert_int_equal(hits.offsets[1], 1);
        assert_true(same_id(shardy_json_get(record, "vector_id"), &hits.hits[0].id));
        const shardy_json_value *payload = shardy_json_get(record, "payload");
        assert_int_equal(
            hits.hits[0].has_payload, shardy_json_type_of(payload) == SHARDY_JSON_OBJECT);
        if (hits.hits[0].has_payload) {
            shardy_json *json;
            int64_t got = 0;
            int64_t expected = 0;
            assert_ok(shardy_json_parse(hits.hits[0].payload, &json, &err));
            assert_true(shardy_json_int64(shardy_json_get(shardy_json_root(json), "n"), &got));
            assert_true(shardy_json_int64(shardy_json_get(payload, "n"), &expected));
            assert_true(got == expected);
            shardy_json_free(json);
        }
        shardy_hits_dispose(&hits);
    }
    close_golden(&g);
}

/* Its only shard is a SlateDB database: the snapshot tells about itself, a read says which engine
 * is missing. */
static void test_golden__limits_one_shard_needs_an_engine_that_is_not_in_this_build(void **state)
{
    (void)state;
    golden g;
    open_golden(&g, "limits_one_shard");
    check_info(&g);
    check_shards(&g);
    shardy_key key = shardy_key_cstr("key1");
    shardy_buf value;
    uint32_t db_id;
    assert_ok(shardy_reader_route_key(g.reader, &key, NULL, &db_id, &err));
    assert_int_equal(db_id, 0);
    assert_status(SHARDY_UNSUPPORTED, shardy_reader_get(g.reader, &key, NULL, &value, &err));
    assert_non_null(strstr(err.message, "slatedb"));
    close_golden(&g);
}

static void test_golden__history_lists_the_runs_and_marks_the_current_one(void **state)
{
    (void)state;
    golden g;
    open_golden(&g, "history_rollback");
    char path[512];
    shardy_history history;
    shardy_snapshot_info info;
    snprintf(path, sizeof path, "%s/tests/golden/snapshots/history_rollback", SHARDY_SOURCE_DIR);
    assert_ok(shardy_reader_snapshot_info(g.reader, &info, &err));
    assert_ok(shardy_history_list(NULL, path, 10, NULL, &history, &err));
    assert_int_equal(history.count, 4);
    int current = 0;
    for (size_t i = 0; i < history.count; i++) {
        if (history.entries[i].current) {
            current++;
            assert_string_equal(history.entries[i].run_id, info.run_id);
        }
        assert_true(i == 0 || strcmp(history.entries[i - 1].published_at,
                                  history.entries[i].published_at) > 0);
    }
    assert_int_equal(current, 1);
    assert_false(history.entries[0].current); /* it was rolled back */
    shardy_history_dispose(&history);
    shardy_snapshot_info_dispose(&info);
    close_golden(&g);
}

/* --- verification ----------------------------------------------------------------------------- */

/* A golden snapshot in memory, where its objects can be changed. */
static shardy_store *copy_golden(const char *name)
{
    char path[512];
    shardy_store *from;
    shardy_store *to;
    shardy_store_page page;
    snprintf(path, sizeof path, "%s/tests/golden/snapshots/%s", SHARDY_SOURCE_DIR, name);
    assert_ok(shardy_store_open_fs(NULL, path, NULL, &from, &err));
    assert_ok(shardy_store_open_mem(NULL, &to, &err));
    assert_ok(shardy_store_list(from, "", 0, NULL, 1000, &page, &err));
    assert_true(page.count > 0 && !page.next_token);
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        shardy_buf body;
        shardy_store_put put;
        memset(&put, 0, sizeof put);
        assert_ok(shardy_store_get(from, key, 0, UINT64_MAX, &body, NULL, &err));
        put.key = (shardy_bytes){key, strlen(key)};
        put.body = (shardy_bytes){body.data, body.len};
        put.condition = SHARDY_PUT_ALWAYS;
        assert_ok(shardy_store_put_object(to, &put, NULL, &err));
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
    shardy_store_close(from);
    return to;
}

/* FNV-1a: answers are compared, not kept. */
static void add_answer(uint64_t *sum, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        *sum = (*sum ^ bytes[i]) * 0x100000001B3u;
    }
    *sum = (*sum ^ len) * 0x100000001B3u;
}

static void add_hits(uint64_t *sum, const shardy_hits *hits)
{
    for (size_t i = 0; i < hits->offsets[hits->query_count]; i++) {
        const shardy_hit *hit = &hits->hits[i];
        add_answer(sum, &hit->id.i, sizeof hit->id.i);
        add_answer(sum, hit->id.bytes.data, hit->id.bytes.len);
        add_answer(sum, &hit->score, sizeof hit->score);
        add_answer(sum, hit->payload.data, hit->payload.len);
    }
}

/* All rows, and all vectors with their payloads, as seen from one of them. */
static uint64_t answers(shardy_store *store, const golden *g)
{
    uint64_t sum = 0xCBF29CE484222325u;
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_error ignored;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    if (shardy_reader_open(NULL, NULL, &options, &reader, &ignored) < 0) {
        return 0;
    }
    const shardy_json_value *records = shardy_json_get(g->root, "records");
    for (size_t i = 0; i < shardy_json_count(records); i++) {
        uint8_t *owned;
        shardy_buf value;
        shardy_key key = key_member(shardy_json_at(records, i), &owned);
        int32_t st = shardy_reader_get(reader, &key, NULL, &value, &ignored);
        add_answer(&sum, &st, sizeof st);
        add_answer(&sum, value.data, value.len);
        shardy_buf_release(&value);
        free(owned);
    }
    float vector[16] = {1.0f, -0.5f};
    shardy_query query;
    shardy_hits hits;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = 16;
    query.top_k = 1000;
    int32_t st = shardy_reader_search(reader, &query, NULL, &hits, &ignored);
    add_answer(&sum, &st, sizeof st);
    if (st >= 0) {
        add_hits(&sum, &hits);
        shardy_hits_dispose(&hits);
    }
    shardy_reader_close(reader);
    return sum;
}

/* Whether a deep verification says which table or index of the object is damaged, or that it cannot
 * be opened as a file of SQLite. */
static int is_named(shardy_store *store, const char *key)
{
    shardy_verify_options options;
    shardy_verify_result result;
    int named = 0;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.admin.store = store;
    assert_ok(shardy_verify(NULL, NULL, &options, &result, &err));
    for (size_t i = 0; i < result.damaged_count; i++) {
        const shardy_damage *d = &result.damaged[i];
        assert_memory_equal(d->path, key, strlen(d->path));
        named = named || strstr(d->reason, "table ") || strstr(d->reason, "index ") ||
                strstr(d->reason, "not a SQLite file");
        if (!named) {
            print_message("%s: %s\n", d->path, d->reason);
        }
    }
    assert_int_equal(
        result.status, result.damaged_count ? SHARDY_VERIFY_DAMAGED : SHARDY_VERIFY_UNVERIFIED);
    shardy_verify_result_dispose(&result);
    return named;
}

/* Zeroes each page of an object in turn. */
static void lose_pages(shardy_store *store, const golden *g, const char *key, uint32_t *named)
{
    const uint64_t whole = answers(store, g);
    shardy_buf body;
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    assert_ok(shardy_store_get(store, key, 0, UINT64_MAX, &body, NULL, &err));
    char *changed = malloc(body.len);
    put.key = (shardy_bytes){key, strlen(key)};
    put.body = (shardy_bytes){changed, body.len};
    put.condition = SHARDY_PUT_ALWAYS;
    for (size_t at = 0; at < body.len; at += 4096) {
        memcpy(changed, body.data, body.len);
        memset(changed + at, 0, 4096);
        assert_ok(shardy_store_put_object(store, &put, NULL, &err));
        const int is = is_named(store, key);
        *named += (uint32_t)is;
        if (!is && answers(store, g) != whole) {
            fail_msg("page %zu of %s is lost and not named", at / 4096 + 1, key);
        }
    }
    memcpy(changed, body.data, body.len);
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    free(changed);
    shardy_buf_release(&body);
}

static void test_golden__a_deep_verification_names_what_lost_a_page_that_an_answer_needs(
    void **state)
{
    (void)state;
    golden g;
    shardy_store_page page;
    uint32_t named = 0;
    open_golden(&g, "unified_sqlite_vec_cosine");
    shardy_store *store = copy_golden(g.name);
    assert_false(is_named(store, ""));
    assert_ok(shardy_store_list(store, "shards/", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        if (strcmp(key + strlen(key) - 8, "shard.db") == 0) {
            lose_pages(store, &g, key, &named);
        }
    }
    print_message("%u pages were named\n", named);
    assert_true(named >= 4 * 11); /* the roots of all tables and indexes at least */
    shardy_store_page_dispose(&page);
    shardy_store_close(store);
    close_golden(&g);
}

/* Takes the last entry off a table or index of one page; what is said of it comes from its
 * count. */
static void lose_entry(shardy_store *store, const char *key, const char *name)
{
    shardy_buf body;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_store_put put;
    page_source *source = NULL;
    btree_file *file = NULL;
    memset(&put, 0, sizeof put);
    assert_ok(shardy_store_get(store, key, 0, UINT64_MAX, &body, NULL, &err));
    char *changed = malloc(body.len);
    memcpy(changed, body.data, body.len);
    assert_ok(shardy__page_source_memory(body.data, body.len, NULL, &source, &err));
    assert_ok(shardy__btree_open_take(source, &file, &err));
    const int is_index = strncmp(name, "sqlite_auto", 11) == 0;
    const schema_object *object =
        shardy__btree_object(file, is_index ? SCHEMA_INDEX : SCHEMA_TABLE, name);
    assert_non_null(object);
    changed[(size_t)(object->root - 1) * 4096 + 4]--;
    put.key = (shardy_bytes){key, strlen(key)};
    put.body = (shardy_bytes){changed, body.len};
    put.condition = SHARDY_PUT_ALWAYS;
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.admin.store = store;
    assert_ok(shardy_verify(NULL, NULL, &options, &result, &err));
    assert_int_equal(result.damaged_count, 1);
    assert_non_null(strstr(result.damaged[0].reason, name));
    assert_non_null(strstr(result.damaged[0].reason, "entries"));
    shardy_verify_result_dispose(&result);
    put.body = (shardy_bytes){body.data, body.len};
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    shardy__btree_close(file);
    shardy_buf_release(&body);
    free(changed);
}

static void test_golden__a_deep_verification_counts_what_must_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"vec_id_map", "vec_index_rowids",
        "sqlite_autoindex_vec_index_info_1", "sqlite_autoindex_vec_index_vector_chunks00_1"};
    shardy_store *store = copy_golden("unified_sqlite_vec_cosine");
    shardy_store_page page;
    assert_ok(shardy_store_list(store, "shards/", 0, NULL, 1000, &page, &err));
    const char *key = page.entries[0].key;
    assert_string_equal(key + strlen(key) - 8, "shard.db");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lose_entry(store, key, names[i]);
    }
    shardy_store_page_dispose(&page);
    shardy_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__kv_sqlite_hash_int_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_hash_str_bytes_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_hash_u32_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_raw_bytes_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_page_auto_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_sidecar_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_duplicates_answers_as_the_reference),
        cmocka_unit_test(test_golden__kv_sqlite_retries_answers_as_the_reference),
        cmocka_unit_test(test_golden__limits_empty_shards_answers_as_the_reference),
        cmocka_unit_test(test_golden__limits_no_rows_answers_as_the_reference),
        cmocka_unit_test(test_golden__unified_sqlite_vec_cosine_answers_as_the_reference),
        cmocka_unit_test(test_golden__unified_sqlite_vec_l2_answers_as_the_reference),
        cmocka_unit_test(test_golden__history_rollback_answers_as_the_reference),
        cmocka_unit_test(test_golden__cosine_search_finds_the_exact_neighbours),
        cmocka_unit_test(test_golden__l2_search_finds_the_exact_neighbours),
        cmocka_unit_test(test_golden__payloads_of_hits_are_those_of_their_records),
        cmocka_unit_test(test_golden__limits_one_shard_needs_an_engine_that_is_not_in_this_build),
        cmocka_unit_test(test_golden__history_lists_the_runs_and_marks_the_current_one),
        cmocka_unit_test(
            test_golden__a_deep_verification_names_what_lost_a_page_that_an_answer_needs),
        cmocka_unit_test(test_golden__a_deep_verification_counts_what_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
