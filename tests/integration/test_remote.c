/* Snapshots in a store without local files: right answers by ranges, and how many requests and
 * round trips they take. Counts are exact: no time is looked at. */
#include "support/support.h"
#include "support/trip_store.h"

#include <shardyfusion/shardyfusion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIM 24u

typedef struct shape {
    uint32_t rows;
    uint32_t num_dbs;
    uint32_t page_size;
    uint32_t value_len;
    uint32_t long_every; /* each so-many-th value is `long_len` long; 0: none */
    uint32_t long_len;
    int vectors;
    int32_t sidecar; /* shardy_sidecar_mode */
} shape;

typedef struct remote {
    shape shape;
    shardy_store *memory;
    shardy_store *trips;
    shardy_context *context;
    shardy_reader *reader;
    const shardy_key *first_key; /* of the next open */
} remote;

static size_t value_len(const shape *s, uint32_t row)
{
    return s->long_every && row % s->long_every == 0 ? s->long_len : s->value_len;
}

static void fill_value(const shape *s, uint32_t row, char *value)
{
    size_t len = value_len(s, row);
    for (size_t i = 0; i < len; i++) {
        value[i] = (char)('a' + (row * 7u + (uint32_t)i * 13u + (row >> 5)) % 26u);
    }
}

static shardy_key key_of(uint32_t row, char text[24])
{
    int len = snprintf(text, 24, "key-%012u", row * 10);
    return shardy_key_text(text, (size_t)len);
}

static void vector_of(uint32_t row, float vector[DIM])
{
    for (uint32_t i = 0; i < DIM; i++) {
        vector[i] = (float)((row * 2654435761u + i * 40503u) >> 8 & 0xffff) / 65536.0f + 0.01f;
    }
}

static void build(shardy_store *store, const shape *s)
{
    shardy_error err = {0};
    shardy_writer_options o;
    shardy_writer *w = NULL;
    char *scratch = support_make_dir();
    char *value = malloc((s->long_len > s->value_len ? s->long_len : s->value_len) + 1u);
    assert_non_null(value);
    shardy_writer_options_init(&o, sizeof o);
    o.num_dbs = s->num_dbs;
    o.page_size = s->page_size;
    o.store = store;
    o.scratch_dir = scratch;
    o.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    o.sync = 0;
    o.dim = s->vectors ? DIM : 0;
    o.sidecar = s->sidecar;
    o.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    assert_ok(shardy_writer_open(NULL, NULL, &o, &w, &err));
    for (uint32_t i = 0; i < s->rows; i++) {
        char text[24];
        char payload[32];
        float vector[DIM];
        shardy_row row;
        memset(&row, 0, sizeof row);
        row.key = key_of(i, text);
        fill_value(s, i, value);
        row.value = (shardy_bytes){value, value_len(s, i)};
        if (s->vectors) {
            vector_of(i, vector);
            row.vector = vector;
            row.dim = DIM;
            row.has_payload = 1;
            row.payload.data = payload;
            row.payload.len = (size_t)snprintf(payload, sizeof payload, "{\"row\":%u}", i);
        }
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    shardy_build_result result = {0};
    assert_ok(shardy_writer_finish(w, &result, &err));
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
    free(value);
    support_remove_dir(scratch);
}

static void remote_make(remote *r, const shape *s)
{
    shardy_error err = {0};
    memset(r, 0, sizeof *r);
    r->shape = *s;
    assert_ok(shardy_context_new(NULL, &r->context, &err));
    assert_ok(shardy_store_open_mem(NULL, &r->memory, &err));
    build(r->memory, s);
    assert_ok(trip_store_open(r->memory, &r->trips, &err));
}

static void remote_open(remote *r, const shardy_reader_options *options)
{
    shardy_error err = {0};
    shardy_reader_options o = *options;
    o.store = r->trips;
    o.first_key = r->first_key;
    shardy_reader_close(r->reader);
    r->reader = NULL;
    (void)trip_store_take(r->trips);
    assert_ok(shardy_reader_open(r->context, NULL, &o, &r->reader, &err));
}

static void remote_open_ranges(remote *r)
{
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    remote_open(r, &o);
}

static void remote_free(remote *r)
{
    shardy_reader_close(r->reader);
    shardy_store_close(r->trips);
    shardy_store_close(r->memory);
    shardy_context_free(r->context);
}

static void check_get(const remote *r, uint32_t row)
{
    shardy_error err = {0};
    char text[24];
    shardy_buf value;
    shardy_key key = key_of(row, text);
    assert_ok(shardy_reader_get(r->reader, &key, NULL, &value, &err));
    size_t len = value_len(&r->shape, row);
    char *expected = malloc(len + 1);
    assert_non_null(expected);
    fill_value(&r->shape, row, expected);
    assert_int_equal(value.len, len);
    assert_memory_equal(value.data, expected, len);
    free(expected);
    shardy_buf_release(&value);
}

/* A key between two others. */
static void check_absent(const remote *r, uint32_t row)
{
    shardy_error err = {0};
    char text[24];
    int len = snprintf(text, sizeof text, "key-%012u", row * 10 + 5);
    shardy_buf value;
    shardy_key key = shardy_key_text(text, (size_t)len);
    assert_status(SHARDY_NOT_FOUND, shardy_reader_get(r->reader, &key, NULL, &value, &err));
}

static void check_many(const remote *r, const uint32_t *rows, uint32_t count)
{
    shardy_error err = {0};
    char(*texts)[24] = calloc(count, sizeof *texts);
    shardy_key *keys = calloc(count, sizeof *keys);
    char *expected = malloc(r->shape.value_len + r->shape.long_len + 1);
    assert_true(texts && keys && expected);
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = key_of(rows[i], texts[i]);
    }
    shardy_values values;
    assert_ok(shardy_reader_multi_get(r->reader, keys, count, NULL, &values, &err));
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(values.values[i].status, SHARDY_OK);
        fill_value(&r->shape, rows[i], expected);
        assert_int_equal(values.values[i].bytes.len, value_len(&r->shape, rows[i]));
        assert_memory_equal(values.values[i].bytes.data, expected, values.values[i].bytes.len);
    }
    shardy_values_dispose(&values);
    free(expected);
    free(keys);
    free(texts);
}

static void print_counts(const char *what, trip_counts c)
{
    print_message("%s: %u round trips, %u requests, %llu bytes\n", what, c.steps, c.requests,
        (unsigned long long)c.bytes);
}

/* --- round trips ------------------------------------------------------------------------------ */

/* Five levels of pages in one shard of 9 MB, whose interior pages are read when it is opened. */
static const shape DEEP = {60000, 1, 512, 60, 97, 3000, 0, SHARDY_SIDECAR_NEVER};
static const shape DEEP_SIDECAR = {60000, 4, 512, 60, 97, 3000, 0, SHARDY_SIDECAR_AUTO};

static void test_remote__a_first_value_takes_five_round_trips_and_a_later_one_a_request(
    void **state)
{
    (void)state;
    remote r;
    remote_make(&r, &DEEP);
    remote_open_ranges(&r);
    check_get(&r, 31001);
    trip_counts cold = trip_store_take(r.trips);
    print_counts("cold get", cold);
    /* pointer, manifest, first chunk and digests, interior pages, leaf */
    assert_true(cold.steps <= 5);
    assert_true(cold.requests <= 8);
    support_rand rng = {support_seed()};
    for (int i = 0; i < 300; i++) {
        uint32_t row = (uint32_t)support_rand_below(&rng, DEEP.rows);
        check_get(&r, row);
        trip_counts later = trip_store_take(r.trips);
        uint32_t most = value_len(&DEEP, row) > 100 ? 2 : 1;
        assert_true(later.requests <= most && later.steps <= most);
        check_absent(&r, row);
        assert_true(trip_store_take(r.trips).requests <= 1);
    }
    remote_free(&r);
}

static uint64_t metric(const remote *r, shardy_metric number)
{
    return shardy_context_metric(r->context, number);
}

static void test_remote__with_a_sidecar_a_first_value_takes_four_round_trips(void **state)
{
    (void)state;
    remote r;
    remote_make(&r, &DEEP_SIDECAR);
    remote_open_ranges(&r);
    check_get(&r, 31001);
    trip_counts cold = trip_store_take(r.trips);
    print_counts("cold get with a sidecar", cold);
    /* pointer; manifest; sidecar and digests; leaf */
    assert_int_equal(cold.steps, 4);
    assert_int_equal(cold.requests, 5);
    assert_int_equal(metric(&r, SHARDY_METRIC_SIDECARS_USED), 1);
    assert_int_equal(metric(&r, SHARDY_METRIC_SIDECARS_UNUSED), 0);
    for (uint32_t row = 0; row < 400; row++) {
        check_get(&r, row * 149 % DEEP_SIDECAR.rows);
        check_absent(&r, row * 151 % DEEP_SIDECAR.rows);
    }
    assert_int_equal(metric(&r, SHARDY_METRIC_SIDECARS_USED), 4);
    (void)trip_store_take(r.trips);
    remote_free(&r);
}

static void test_remote__a_reader_that_knows_its_first_key_takes_three_round_trips(void **state)
{
    (void)state;
    remote r;
    char text[24];
    shardy_key key = key_of(31001, text);
    remote_make(&r, &DEEP_SIDECAR);
    r.first_key = &key;
    remote_open_ranges(&r);
    check_get(&r, 31001);
    trip_counts cold = trip_store_take(r.trips);
    print_counts("cold get of a key that was told", cold);
    /* pointer; manifest, sidecar and digests; leaf */
    assert_int_equal(cold.steps, 3);
    assert_int_equal(cold.requests, 5);
    check_get(&r, 31001);
    assert_int_equal(trip_store_take(r.trips).requests, 0);
    /* Another key than was told: right, and no more round trips than without. */
    for (uint32_t row = 5; row < 25; row++) {
        remote_open_ranges(&r);
        check_get(&r, row * 1999);
        trip_counts other = trip_store_take(r.trips);
        assert_true(other.steps <= 4 && other.requests <= 8);
    }
    /* A key that cannot be one of the snapshot. */
    shardy_key number = shardy_key_int(-5);
    r.first_key = &number;
    remote_open_ranges(&r);
    check_get(&r, 31001);
    assert_int_equal(trip_store_take(r.trips).steps, 4);
    remote_free(&r);
}

/* Replaces an object by other bytes. */
static void spoil(const remote *r, const char *name, int how)
{
    shardy_error err = {0};
    shardy_store_page page = {0};
    assert_ok(shardy_store_list(r->memory, "shards/", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        shardy_bytes bytes = {key, strlen(key)};
        int32_t result;
        shardy_buf body;
        if (!strstr(key, name)) {
            continue;
        }
        assert_ok(shardy_store_get(r->memory, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        assert_ok(shardy_store_remove(r->memory, &bytes, 1, &result, &err));
        if (how > 0) {
            char *copy = malloc(body.len);
            memcpy(copy, body.data, body.len);
            copy[body.len / 2] ^= 4;
            shardy_store_put put = {0};
            put.key = bytes;
            put.body = (shardy_bytes){copy, how == 1 ? body.len : body.len / 3};
            assert_ok(shardy_store_put_object(r->memory, &put, NULL, &err));
            free(copy);
        }
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
}

static void test_remote__a_sidecar_that_cannot_be_used_is_as_if_there_were_none(void **state)
{
    (void)state;
    /* missing, changed, cut off */
    for (int how = 0; how < 3; how++) {
        remote r;
        char text[24];
        shardy_key key = key_of(77, text);
        remote_make(&r, &DEEP_SIDECAR);
        spoil(&r, "shard.sidecar", how);
        for (int told = 0; told < 2; told++) {
            r.first_key = told ? &key : NULL;
            uint64_t before = metric(&r, SHARDY_METRIC_SIDECARS_UNUSED);
            remote_open_ranges(&r);
            for (uint32_t row = 77; row < 2000; row += 77) {
                check_get(&r, row);
                check_absent(&r, row);
            }
            assert_int_equal(metric(&r, SHARDY_METRIC_SIDECARS_UNUSED) - before, 4);
            assert_int_equal(metric(&r, SHARDY_METRIC_SIDECARS_USED), 0);
        }
        remote_free(&r);
    }
}

static void test_remote__what_was_read_ahead_is_checked_as_well(void **state)
{
    (void)state;
    remote r;
    shardy_error err = {0};
    char text[24];
    shardy_buf value;
    shardy_key key = key_of(77, text);
    remote_make(&r, &DEEP_SIDECAR);
    spoil(&r, "shard.db.sums", 1);
    r.first_key = &key;
    remote_open_ranges(&r);
    assert_status(SHARDY_CHECKSUM, shardy_reader_get(r.reader, &key, NULL, &value, &err));
    remote_free(&r);
}

static void test_remote__sidecars_have_their_place_in_the_budget(void **state)
{
    (void)state;
    remote r;
    shardy_reader_options o;
    remote_make(&r, &DEEP_SIDECAR);
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    o.page_cache_bytes = SHARDY_PAGE_CACHE_BYTES_MIN;
    remote_open(&r, &o);
    for (uint32_t row = 0; row < 2000; row += 7) {
        check_get(&r, row);
    }
    print_message("%llu sidecars in a small cache\n",
        (unsigned long long)metric(&r, SHARDY_METRIC_SIDECARS_USED));
    assert_true(metric(&r, SHARDY_METRIC_SIDECARS_USED) < 4);
    remote_free(&r);
}

static void test_remote__an_absent_key_costs_no_more_than_a_present_one(void **state)
{
    (void)state;
    remote r;
    remote_make(&r, &DEEP);
    remote_open_ranges(&r);
    check_get(&r, 41001);
    trip_counts present = trip_store_take(r.trips);
    remote_open_ranges(&r);
    check_absent(&r, 41001);
    trip_counts absent = trip_store_take(r.trips);
    assert_true(absent.steps <= present.steps);
    assert_true(absent.requests <= present.requests);
    remote_free(&r);
}

static void test_remote__a_thousand_neighbours_take_three_round_trips_and_few_requests(void **state)
{
    (void)state;
    remote r;
    uint32_t rows[1000];
    remote_make(&r, &DEEP);
    remote_open_ranges(&r);
    trip_counts opened = trip_store_take(r.trips);
    for (uint32_t i = 0; i < 1000; i++) {
        rows[i] = 22000 + i;
    }
    check_many(&r, rows, 1000);
    trip_counts counts = trip_store_take(r.trips);
    print_counts("1000 neighbours", counts);
    assert_true(opened.steps <= 2);
    /* opening the shard, the leaves, what overflows beyond them */
    assert_true(counts.steps <= 3);
    assert_true(counts.requests <= 250);
    assert_true(counts.requests <= 12);
    remote_free(&r);
}

static void test_remote__a_thousand_scattered_keys_go_level_by_level(void **state)
{
    (void)state;
    remote r;
    uint32_t rows[1000];
    remote_make(&r, &DEEP);
    remote_open_ranges(&r);
    (void)trip_store_take(r.trips);
    support_rand rng = {support_seed()};
    for (uint32_t i = 0; i < 1000; i++) {
        rows[i] = (uint32_t)support_rand_below(&rng, DEEP.rows);
    }
    check_many(&r, rows, 1000);
    trip_counts counts = trip_store_take(r.trips);
    print_counts("1000 scattered", counts);
    assert_true(counts.steps <= 3);
    remote_free(&r);
}

static void test_remote__a_small_cache_gives_the_same_values(void **state)
{
    (void)state;
    static const shape small = {20000, 3, 1024, 90, 50, 9000, 0, 0};
    remote r;
    uint32_t rows[3000];
    remote_make(&r, &small);
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    o.page_cache_bytes = SHARDY_PAGE_CACHE_BYTES_MIN;
    remote_open(&r, &o);
    support_rand rng = {support_seed()};
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 3000; i++) {
            rows[i] = (uint32_t)support_rand_below(&rng, small.rows);
        }
        check_many(&r, rows, 3000);
        for (uint32_t i = 0; i < 100; i++) {
            check_get(&r, rows[i]);
            check_absent(&r, rows[i]);
        }
    }
    remote_free(&r);
}

/* --- modes ------------------------------------------------------------------------------------ */

/* Bytes that a first get reads: few by ranges, all of the shard when it is read whole. */
static uint64_t bytes_of_get(remote *r, const shardy_reader_options *options)
{
    remote_open(r, options);
    check_get(r, 100);
    return trip_store_take(r->trips).bytes;
}

static void test_remote__auto_reads_by_ranges_from_the_thresholds_on(void **state)
{
    (void)state;
    static const shape two = {40000, 2, 4096, 100, 0, 0, 0, 0};
    remote r;
    remote_make(&r, &two);
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    uint64_t ranges = bytes_of_get(&r, &o);
    o.access = SHARDY_ACCESS_DOWNLOAD;
    uint64_t whole = bytes_of_get(&r, &o);
    assert_true(whole > 1000000 && ranges < whole / 2);

    shardy_error err = {0};
    shardy_shard_details details;
    assert_ok(shardy_reader_shard_details(r.reader, &details, &err));
    uint64_t total = 0;
    uint64_t largest = 0;
    for (size_t i = 0; i < details.count; i++) {
        total += details.shards[i].db_bytes;
        largest = details.shards[i].db_bytes > largest ? details.shards[i].db_bytes : largest;
    }
    shardy_shard_details_dispose(&details);

    o.access = SHARDY_ACCESS_AUTO;
    assert_int_equal(bytes_of_get(&r, &o), whole); /* far below the defaults */
    o.auto_shard_bytes = largest + 1;
    o.auto_total_bytes = total + 1;
    assert_int_equal(bytes_of_get(&r, &o), whole);
    o.auto_shard_bytes = largest;
    assert_int_equal(bytes_of_get(&r, &o), ranges);
    o.auto_shard_bytes = largest + 1;
    o.auto_total_bytes = total;
    assert_int_equal(bytes_of_get(&r, &o), ranges);
    remote_free(&r);
}

static void test_remote__a_download_takes_one_round_trip_for_each_shard(void **state)
{
    (void)state;
    static const shape one = {5000, 1, 4096, 100, 0, 0, 0, 0};
    remote r;
    remote_make(&r, &one);
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_DOWNLOAD;
    remote_open(&r, &o);
    trip_counts opened = trip_store_take(r.trips);
    assert_int_equal(opened.steps, 2);
    check_get(&r, 17);
    trip_counts first = trip_store_take(r.trips);
    assert_int_equal(first.steps, 1);
    assert_int_equal(first.requests, 2); /* the file and its digests */
    check_get(&r, 4000);
    assert_int_equal(trip_store_take(r.trips).requests, 0);
    remote_free(&r);
}

static void test_remote__options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_reader *reader = NULL;
    shardy_reader_options o;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    shardy_reader_options_init(&o, sizeof o);
    assert_int_equal(o.access, SHARDY_ACCESS_AUTO);
    assert_true(o.auto_shard_bytes == 16u << 20);
    assert_true(o.auto_total_bytes == (uint64_t)2 << 30);
    o.store = store;
    o.access = 4;
    assert_status(SHARDY_INVALID, shardy_reader_open(NULL, NULL, &o, &reader, &err));
    assert_non_null(strstr(err.message, "expected auto, download or range"));
    o.access = SHARDY_ACCESS_RANGE;
    o.page_cache_bytes = SHARDY_PAGE_CACHE_BYTES_MIN - 1;
    assert_status(SHARDY_INVALID, shardy_reader_open(NULL, NULL, &o, &reader, &err));
    assert_non_null(strstr(err.message, "page_cache_bytes"));
    shardy_store_close(store);
}

/* --- search ----------------------------------------------------------------------------------- */

static shardy_hits search(const remote *r, const float *vectors, size_t count)
{
    shardy_error err = {0};
    shardy_hits hits;
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = vectors;
    query.count = count;
    query.dim = DIM;
    query.top_k = 20;
    assert_ok(shardy_reader_search(r->reader, &query, NULL, &hits, &err));
    return hits;
}

static void assert_same_hits(const shardy_hits *a, const shardy_hits *b)
{
    assert_int_equal(a->query_count, b->query_count);
    size_t count = a->offsets[a->query_count];
    assert_int_equal(count, b->offsets[b->query_count]);
    for (size_t i = 0; i < count; i++) {
        assert_true(a->hits[i].score == b->hits[i].score);
        assert_int_equal(shardy_key_compare(&a->hits[i].id, &b->hits[i].id), 0);
        assert_int_equal(a->hits[i].payload.len, b->hits[i].payload.len);
        assert_memory_equal(
            a->hits[i].payload.data, b->hits[i].payload.data, a->hits[i].payload.len);
    }
}

static void test_remote__vectors_are_searched_as_they_arrive(void **state)
{
    (void)state;
    static const shape vectors = {30000, 1, 4096, 20, 0, 0, 1, 0};
    remote r;
    float queries[3][DIM];
    remote_make(&r, &vectors);
    for (uint32_t i = 0; i < 3; i++) {
        vector_of(1000000 + i, queries[i]);
    }
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_DOWNLOAD;
    remote_open(&r, &o);
    shardy_hits whole = search(&r, queries[0], 3);
    uint64_t all = trip_store_take(r.trips).bytes;
    o.access = SHARDY_ACCESS_RANGE;
    o.page_cache_bytes = 2 * SHARDY_PAGE_CACHE_BYTES_MIN; /* less than the vectors take */
    remote_open(&r, &o);
    (void)trip_store_take(r.trips);
    shardy_hits ranges = search(&r, queries[0], 3);
    trip_counts counts = trip_store_take(r.trips);
    print_counts("search of 30 chunks", counts);
    assert_same_hits(&whole, &ranges);
    assert_true(counts.bytes < 2 * all);
    assert_true(counts.requests < 120);
    shardy_hits_dispose(&whole);
    shardy_hits_dispose(&ranges);
    remote_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_remote__a_first_value_takes_five_round_trips_and_a_later_one_a_request),
        cmocka_unit_test(test_remote__with_a_sidecar_a_first_value_takes_four_round_trips),
        cmocka_unit_test(test_remote__a_reader_that_knows_its_first_key_takes_three_round_trips),
        cmocka_unit_test(test_remote__a_sidecar_that_cannot_be_used_is_as_if_there_were_none),
        cmocka_unit_test(test_remote__what_was_read_ahead_is_checked_as_well),
        cmocka_unit_test(test_remote__sidecars_have_their_place_in_the_budget),
        cmocka_unit_test(test_remote__an_absent_key_costs_no_more_than_a_present_one),
        cmocka_unit_test(
            test_remote__a_thousand_neighbours_take_three_round_trips_and_few_requests),
        cmocka_unit_test(test_remote__a_thousand_scattered_keys_go_level_by_level),
        cmocka_unit_test(test_remote__a_small_cache_gives_the_same_values),
        cmocka_unit_test(test_remote__auto_reads_by_ranges_from_the_thresholds_on),
        cmocka_unit_test(test_remote__a_download_takes_one_round_trip_for_each_shard),
        cmocka_unit_test(test_remote__options_that_cannot_be_are_refused),
        cmocka_unit_test(test_remote__vectors_are_searched_as_they_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
