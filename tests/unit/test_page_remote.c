/* Pages of objects of a store, by ranges: what is asked for, what is checked, who waits for whom,
 * and what is kept. */
#include "support/hand_clock.h"
#include "support/late_store.h"
#include "support/sums_testing.h"
#include "support/trip_store.h"

#include "sqlitefile/page_cache.h"
#include "sqlitefile/page_remote.h"
#include "sqlitefile/sidecar_write.h"
#include "store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE   4096u
#define CHUNKS 64u
#define SIZE   (CHUNKS * SHARDY_CHUNK_LEN + 3u * PAGE)
#define PAGES  (SIZE / PAGE)
#define KEY    "shards/one/shard.db"

typedef struct object {
    hand_clock clock;
    shardy_context *context;
    uint8_t *bytes;
    sha256 digest;
    shardy_store *memory;
    shardy_store *store; /* around it */
    page_cache *cache;
    page_source *source;
} object;

static void put_object(object *o, const char *key, const void *data, size_t len)
{
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_store_put put;
    memset(&put, 0, sizeof put);
    put.key = (shardy_bytes){key, strlen(key)};
    put.body = (shardy_bytes){data, len};
    assert_ok(shardy_store_put_object(o->memory, &put, &meta, &err));
}

static void object_make(object *o, uint64_t budget)
{
    shardy_error err = {0};
    memset(o, 0, sizeof *o);
    o->context = hand_clock_context(&o->clock);
    o->bytes = malloc(SIZE);
    assert_non_null(o->bytes);
    support_rand rng = {7};
    for (size_t i = 0; i < SIZE; i += 8) {
        uint64_t value = support_rand_u64(&rng);
        memcpy(o->bytes + i, &value, 8);
    }
    o->bytes[16] = PAGE >> 8; /* the size of its pages, where a SQLite file has it */
    o->bytes[17] = 0;
    assert_ok(shardy_store_open_mem(o->context, &o->memory, &err));
    put_object(o, KEY, o->bytes, SIZE);
    chunk_digest digests;
    o->digest = sums_make(&digests, o->bytes, SIZE);
    put_object(o, KEY ".sums", digests.sums, digests.count * sizeof *digests.sums);
    shardy__chunk_digest_free(&digests);
    assert_ok(shardy__page_cache_new(budget, &o->cache, &err));
}

static shardy_status object_open(object *o, int verified, shardy_error *err)
{
    page_source_options options;
    shardy__page_source_options_init(&options);
    options.ranges = o->cache;
    if (verified) {
        options.digest = &o->digest;
        options.size = SIZE;
    }
    shardy_status st = shardy__page_source_open_object(o->store, KEY, &options, &o->source, err);
    return st != SHARDY_OK ? st : shardy__page_source_set_pages(o->source, PAGE, PAGES, err);
}

/* In a store around that in memory: trip_store_open() or late_store_open(). */
typedef shardy_status (*around_fn)(
    shardy_store *inner, shardy_store **store_out, shardy_error *err);

static void object_begin(object *o, uint64_t budget, around_fn around, int verified)
{
    shardy_error err = {0};
    object_make(o, budget);
    assert_ok(around(o->memory, &o->store, &err));
    assert_ok(object_open(o, verified, &err));
}

static void object_free(object *o)
{
    shardy__page_source_close(o->source);
    assert_true(!o->cache || shardy__page_cache_bytes(o->cache) == 0);
    shardy__page_cache_drop(o->cache);
    shardy_store_close(o->store);
    shardy_store_close(o->memory);
    shardy_context_free(o->context);
    free(o->bytes);
}

static shardy_status fetch_pages(object *o, const uint32_t *pages, size_t count, uint32_t ahead,
    const page_limits *limits, shardy_error *err)
{
    page_want *wants = calloc(count, sizeof *wants);
    page_want **list = calloc(count, sizeof(page_want *));
    assert_true(wants && list);
    for (size_t i = 0; i < count; i++) {
        wants[i].page = pages[i];
        wants[i].ahead = ahead;
        list[i] = &wants[i];
    }
    shardy_status st = shardy__page_fetch(o->source, list, count, limits, err);
    for (size_t i = 0; i < count; i++) {
        if (wants[i].ref.data) {
            assert_memory_equal(wants[i].ref.data, o->bytes + (size_t)(pages[i] - 1) * PAGE, PAGE);
        }
        assert_true(st < 0 || wants[i].ref.data);
        shardy__page_unpin(o->source, &wants[i].ref);
    }
    free(list);
    free(wants);
    return st;
}

static shardy_status fetch_page(object *o, uint32_t page, shardy_error *err)
{
    return fetch_pages(o, &page, 1, 0, NULL, err);
}

/* Page `n` of a chunk. */
static uint32_t page_of(uint32_t chunk, uint32_t n)
{
    return chunk * (SHARDY_CHUNK_LEN / PAGE) + n + 1;
}

/* --- requests --------------------------------------------------------------------------------- */

static void test_page_remote__an_object_with_a_digest_is_opened_in_one_round_trip(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 20, trip_store_open, 1);
    trip_counts counts = trip_store_take(o.store);
    assert_int_equal(counts.steps, 1);
    assert_int_equal(counts.requests, 3); /* first chunk, digests, end */
    page_ref ref;
    assert_status(SHARDY_OK, shardy__page_get(o.source, 1, &ref, &err));
    shardy__page_unpin(o.source, &ref);
    assert_status(SHARDY_OK, shardy__page_get(o.source, PAGES, &ref, &err));
    shardy__page_unpin(o.source, &ref);
    assert_status(SHARDY_PENDING, shardy__page_get(o.source, page_of(30, 0), &ref, &err));
    assert_int_equal(trip_store_take(o.store).requests, 0);
    object_free(&o);
}

static void test_page_remote__neighbours_are_one_request_and_the_rest_comes_at_the_same_time(
    void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 20, trip_store_open, 1);
    (void)trip_store_take(o.store);
    /* In no order: 10 and 11 and, two chunks on, 14 are one; three further on is another; many
     * pages of one chunk are one chunk. */
    const uint32_t pages[] = {page_of(18, 3), page_of(11, 0), page_of(14, 15), page_of(10, 2),
        page_of(10, 3), page_of(10, 15), page_of(40, 7)};
    assert_ok(fetch_pages(&o, pages, 7, 0, NULL, &err));
    uint32_t count = 0;
    const trip_read *reads = trip_store_reads(o.store, &count);
    assert_int_equal(count, 3);
    assert_int_equal(reads[0].offset, 10u << 16);
    assert_int_equal(reads[0].received, 5u << 16);
    assert_int_equal(reads[1].offset, 18u << 16);
    assert_int_equal(reads[1].received, 1u << 16);
    assert_int_equal(reads[2].offset, 40u << 16);
    assert_int_equal(trip_store_take(o.store).steps, 1);
    /* What lay between was not kept, what was wanted was. */
    page_ref ref;
    assert_status(SHARDY_PENDING, shardy__page_get(o.source, page_of(12, 0), &ref, &err));
    assert_ok(fetch_pages(&o, pages, 7, 0, NULL, &err));
    assert_int_equal(trip_store_take(o.store).requests, 0);
    object_free(&o);
}

static void test_page_remote__long_runs_are_split(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 64u << 20, trip_store_open, 1);
    (void)trip_store_take(o.store);
    const uint32_t first = page_of(1, 0);
    assert_ok(fetch_pages(&o, &first, 1, 47 * 16, NULL, &err)); /* chunks 1 to 48 */
    trip_counts counts = trip_store_take(o.store);
    assert_int_equal(counts.requests, 3);
    assert_int_equal(counts.steps, 1);
    assert_int_equal(counts.bytes, 48u << 16);
    object_free(&o);
}

/* --- chains ----------------------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t data[4096];
    size_t len;
} bytes;

static shardy_status write_bytes(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    bytes *b = user;
    (void)err;
    assert_true(offset + len <= sizeof b->data);
    memcpy(b->data + offset, data, len);
    b->len = (size_t)offset + len > b->len ? (size_t)offset + len : b->len;
    return SHARDY_OK;
}

/* Opens the object with a sidecar that knows of one overflow chain. */
static void open_with_chain(object *o, const uint32_t *links, uint32_t count)
{
    shardy_error err = {0};
    sidecar_list list;
    bytes side = {{0}, 0};
    uint64_t len;
    const btree_sink sink = {write_bytes, &side};
    shardy__sidecar_list_init(&list, PAGE);
    shardy__sidecar_list_chain(&list, links[0], count);
    list.links = links;
    assert_ok(shardy__sidecar_write(&list, &sink, &len, &err));
    shardy__sidecar_list_free(&list);
    const sha256 digest = sums_digest(side.data, side.len);
    put_object(o, "shards/one/shard.sidecar", side.data, side.len);
    page_source_options options;
    shardy__page_source_options_init(&options);
    options.ranges = o->cache;
    options.digest = &o->digest;
    options.size = SIZE;
    options.sidecar_key = "shards/one/shard.sidecar";
    options.sidecar_digest = &digest;
    options.sidecar_size = side.len;
    options.context = o->context;
    assert_ok(shardy__page_source_open_object(o->store, KEY, &options, &o->source, &err));
    assert_ok(shardy__page_source_set_pages(o->source, PAGE, PAGES, &err));
    assert_int_equal(shardy_context_metric(o->context, SHARDY_METRIC_SIDECARS_USED), 1);
}

#define LINKS 12u

static void test_page_remote__a_chain_is_read_where_the_sidecar_says_it_is(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_make(&o, 16u << 20);
    assert_ok(trip_store_open(o.memory, &o.store, &err));
    /* each page of the chain is far from the last, also backwards */
    uint32_t links[LINKS];
    for (uint32_t i = 0; i < LINKS; i++) {
        links[i] = page_of(i % 2 ? 4 * i : 60 - 4 * i, i);
    }
    open_with_chain(&o, links, LINKS);
    (void)trip_store_take(o.store);
    assert_ok(fetch_pages(&o, links, 1, LINKS - 1, NULL, &err));
    trip_counts counts = trip_store_take(o.store);
    assert_int_equal(counts.steps, 1);
    assert_true(counts.requests <= LINKS);
    for (uint32_t i = 0; i < LINKS; i++) {
        assert_ok(fetch_page(&o, links[i], &err));
    }
    assert_int_equal(trip_store_take(o.store).requests, 0);
    /* another page, whose chain it does not know: what follows it */
    const uint32_t other = page_of(5, 3);
    assert_ok(fetch_pages(&o, &other, 1, 16, NULL, &err));
    assert_ok(fetch_page(&o, page_of(6, 3), &err));
    counts = trip_store_take(o.store);
    assert_int_equal(counts.steps, 1);
    object_free(&o);
}

static void test_page_remote__of_a_chain_only_what_is_wanted_is_read(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_make(&o, 16u << 20);
    assert_ok(trip_store_open(o.memory, &o.store, &err));
    const uint32_t links[] = {page_of(10, 0), page_of(30, 0), page_of(50, 0), page_of(20, 0)};
    open_with_chain(&o, links, 4);
    (void)trip_store_take(o.store);
    /* a part of the value; then the first page alone */
    assert_ok(fetch_pages(&o, links, 1, 1, NULL, &err));
    page_ref ref;
    assert_status(SHARDY_PENDING, shardy__page_get(o.source, links[2], &ref, &err));
    assert_int_equal(trip_store_take(o.store).requests, 2);
    assert_ok(fetch_page(&o, links[0], &err));
    assert_int_equal(trip_store_take(o.store).requests, 0);
    object_free(&o);
}

static void test_page_remote__an_object_without_digests_is_read_by_pages_of_one_version(
    void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 20, trip_store_open, 0);
    assert_int_equal(trip_store_take(o.store).requests, 1);
    assert_ok(fetch_page(&o, page_of(20, 5), &err));
    uint32_t count = 0;
    const trip_read *reads = trip_store_reads(o.store, &count);
    assert_int_equal(count, 1);
    assert_int_equal(reads[0].received, PAGE);
    assert_int_equal(reads[0].conditional, 1);
    object_free(&o);
}

/* --- what is checked -------------------------------------------------------------------------- */

static void test_page_remote__a_changed_object_is_told(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (int verified = 0; verified < 2; verified++) {
        object o;
        object_begin(&o, 8u << 20, trip_store_open, verified);
        uint8_t *other = malloc(SIZE);
        assert_non_null(other);
        memcpy(other, o.bytes, SIZE);
        other[(30u << 16) + 5] ^= 1;
        put_object(&o, KEY, other, SIZE);
        free(other);
        assert_status(SHARDY_CHECKSUM, fetch_page(&o, page_of(30, 9), &err));
        assert_non_null(strstr(err.message, verified ? "differ from their digest" : "changed"));
        /* Where each byte is checked, what is as it was may be used. */
        assert_status(verified ? SHARDY_OK : SHARDY_CHECKSUM, fetch_page(&o, page_of(31, 0), &err));
        put_object(&o, KEY, o.bytes, SIZE - PAGE);
        assert_status(SHARDY_CHECKSUM, fetch_page(&o, page_of(33, 0), &err));
        assert_non_null(strstr(err.message, "changed"));
        const shardy_bytes key = {KEY, strlen(KEY)};
        int32_t result;
        assert_ok(shardy_store_remove(o.memory, &key, 1, &result, &err));
        assert_status(SHARDY_GONE, fetch_page(&o, page_of(35, 0), &err));
        object_free(&o);
    }
}

static void test_page_remote__an_object_that_is_not_what_was_published_is_not_opened(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_make(&o, 8u << 20);
    assert_ok(trip_store_open(o.memory, &o.store, &err));
    put_object(&o, KEY, o.bytes, SIZE - 1);
    assert_status(SHARDY_CHECKSUM, object_open(&o, 1, &err));
    put_object(&o, KEY, o.bytes, SIZE);
    put_object(&o, KEY ".sums", o.bytes, 65 * 32);
    assert_status(SHARDY_CHECKSUM, object_open(&o, 1, &err));
    assert_non_null(strstr(err.message, ".sums"));
    /* Without the list everything is read once. */
    const shardy_bytes sums = {KEY ".sums", strlen(KEY ".sums")};
    int32_t result;
    assert_ok(shardy_store_remove(o.memory, &sums, 1, &result, &err));
    assert_ok(object_open(&o, 1, &err));
    assert_ok(fetch_page(&o, page_of(35, 0), &err));
    shardy__page_source_close(o.source);
    o.source = NULL;
    const shardy_bytes key = {KEY, strlen(KEY)};
    assert_ok(shardy_store_remove(o.memory, &key, 1, &result, &err));
    assert_status(SHARDY_NOT_FOUND, object_open(&o, 1, &err));
    assert_status(SHARDY_NOT_FOUND, object_open(&o, 0, &err));
    object_free(&o);
}

/* --- the cache -------------------------------------------------------------------------------- */

static void test_page_remote__pinned_pages_stay_and_the_budget_is_kept(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 16, trip_store_open, 1);
    page_want held[20];
    for (uint32_t i = 0; i < 20; i++) {
        held[i] = (page_want){page_of(i, i % 16), 0, {NULL, NULL}};
        page_want *const list[1] = {&held[i]};
        assert_ok(shardy__page_fetch(o.source, list, 1, NULL, &err));
    }
    for (uint32_t i = 20; i < CHUNKS; i++) {
        assert_ok(fetch_page(&o, page_of(i, 0), &err));
    }
    assert_true(shardy__page_cache_bytes(o.cache) >= 20u << 16);
    for (uint32_t i = 0; i < 20; i++) {
        assert_memory_equal(held[i].ref.data, o.bytes + (size_t)(held[i].page - 1) * PAGE, PAGE);
        shardy__page_unpin(o.source, &held[i].ref);
    }
    assert_true(shardy__page_cache_bytes(o.cache) <= 8u << 16);
    object_free(&o);
}

static void test_page_remote__what_is_read_ahead_stays_within_the_budget(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 16, late_store_open, 1);
    late_store_hold(o.store, 1);
    for (uint32_t i = 1; i + 4 < CHUNKS; i += 4) {
        const uint32_t pages[1] = {page_of(i, 0)};
        const uint32_t ahead[1] = {4 * SHARDY_CHUNK_LEN / PAGE - 1};
        shardy__page_start(o.source, pages, ahead, 1, NULL);
        assert_true(shardy__page_cache_bytes(o.cache) <= 8u << 16);
    }
    assert_true(late_store_reads(o.store) > 1);
    late_store_hold(o.store, 0);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_ok(fetch_page(&o, page_of(i, 1), &err));
    }
    object_free(&o);
}

static void test_page_remote__two_objects_share_one_budget(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 16, trip_store_open, 1);
    page_source *first = o.source;
    assert_ok(object_open(&o, 0, &err));
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_ok(fetch_page(&o, page_of(i, 3), &err));
        page_source *other = o.source;
        o.source = first;
        assert_ok(fetch_page(&o, page_of(i, 5), &err));
        o.source = other;
        assert_true(shardy__page_cache_bytes(o.cache) <= 8u << 16);
    }
    shardy__page_source_close(first);
    object_free(&o);
}

/* --- threads ---------------------------------------------------------------------------------- */

typedef struct fetcher {
    pthread_t thread;
    object *o;
    uint32_t page;
    shardy_status status;
    shardy_error err;
} fetcher;

static void *run_fetcher(void *arg)
{
    fetcher *f = arg;
    f->status = fetch_page(f->o, f->page, &f->err);
    return NULL;
}

static void start_fetcher(fetcher *f, object *o, uint32_t page)
{
    memset(f, 0, sizeof *f);
    f->o = o;
    f->page = page;
    assert_int_equal(pthread_create(&f->thread, NULL, run_fetcher, f), 0);
}

static void test_page_remote__a_chunk_that_several_want_is_asked_for_once(void **state)
{
    (void)state;
    object o;
    fetcher fetchers[6];
    object_begin(&o, 8u << 20, late_store_open, 1);
    uint32_t before = late_store_reads(o.store);
    late_store_hold(o.store, 1);
    for (uint32_t i = 0; i < 6; i++) {
        start_fetcher(&fetchers[i], &o, page_of(30, i));
    }
    late_store_hold(o.store, 0);
    for (uint32_t i = 0; i < 6; i++) {
        pthread_join(fetchers[i].thread, NULL);
        assert_int_equal(fetchers[i].status, SHARDY_OK);
    }
    assert_int_equal(late_store_reads(o.store) - before, 1);
    object_free(&o);
}

static void test_page_remote__who_waited_for_a_request_that_failed_makes_his_own(void **state)
{
    (void)state;
    object o;
    fetcher fetchers[6];
    object_begin(&o, 8u << 20, late_store_open, 1);
    late_store_hold(o.store, 1);
    late_store_fail(o.store, 2, SHARDY_IO);
    for (uint32_t i = 0; i < 6; i++) {
        start_fetcher(&fetchers[i], &o, page_of(30, i));
    }
    late_store_hold(o.store, 0);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < 6; i++) {
        pthread_join(fetchers[i].thread, NULL);
        if (fetchers[i].status != SHARDY_OK) {
            assert_int_equal(fetchers[i].status, SHARDY_IO);
            assert_string_equal(fetchers[i].err.message, "made to fail");
            failed++;
        }
    }
    assert_int_equal(failed, 2);
    object_free(&o);
}

static void test_page_remote__nobody_waits_beyond_his_deadline_or_a_cancellation(void **state)
{
    (void)state;
    shardy_error err = {0};
    object o;
    object_begin(&o, 8u << 20, late_store_open, 1);
    late_store_hold(o.store, 1);
    fetcher patient;
    start_fetcher(&patient, &o, page_of(30, 0));
    const uint32_t page = page_of(30, 1);
    page_limits limits = {o.clock.monotonic_ns, NULL, NULL};
    assert_status(SHARDY_TIMEOUT, fetch_pages(&o, &page, 1, 0, &limits, &err));
    limits.deadline_ns = 0;
    shardy_cancel *cancel = NULL;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    limits.cancel = cancel;
    assert_status(SHARDY_CANCELLED, fetch_pages(&o, &page, 1, 0, &limits, &err));
    shardy_cancel_free(cancel); /* what they asked for goes on without them */
    late_store_hold(o.store, 0);
    pthread_join(patient.thread, NULL);
    assert_int_equal(patient.status, SHARDY_OK);
    assert_ok(fetch_page(&o, page, &err));
    object_free(&o);
}

static void test_page_remote__closing_ends_what_was_read_ahead(void **state)
{
    (void)state;
    object o;
    object_begin(&o, 8u << 20, late_store_open, 1);
    late_store_hold(o.store, 1);
    const uint32_t pages[2] = {page_of(20, 0), page_of(40, 0)};
    const uint32_t ahead[2] = {64, 64};
    shardy__page_start(o.source, pages, ahead, 2, NULL);
    object_free(&o);
}

typedef struct reader {
    pthread_t thread;
    object *o;
    uint64_t seed;
    uint32_t failures;
} reader;

static void *run_reader(void *arg)
{
    reader *r = arg;
    support_rand rng = {r->seed};
    uint32_t pages[24];
    for (int round = 0; round < 60; round++) {
        shardy_error err = {0};
        size_t count = 1 + (size_t)support_rand_below(&rng, 24);
        for (size_t i = 0; i < count; i++) {
            pages[i] = 1 + (uint32_t)support_rand_below(&rng, PAGES);
        }
        uint32_t ahead = (uint32_t)support_rand_below(&rng, 40);
        r->failures += fetch_pages(r->o, pages, count, ahead, NULL, &err) != SHARDY_OK;
        page_ref ref;
        if (shardy__page_get(r->o->source, pages[0], &ref, &err) == SHARDY_OK) {
            assert_memory_equal(ref.data, r->o->bytes + (size_t)(pages[0] - 1) * PAGE, PAGE);
            shardy__page_unpin(r->o->source, &ref);
        }
    }
    return NULL;
}

static void test_page_remote__many_threads_see_the_right_pages_in_a_small_cache(void **state)
{
    (void)state;
    uint64_t seed = support_seed();
    for (int verified = 0; verified < 2; verified++) {
        object o;
        reader readers[4];
        object_begin(&o, 12u << 16, late_store_open, verified);
        for (uint32_t i = 0; i < 4; i++) {
            readers[i] = (reader){.o = &o, .seed = seed * 10 + i};
            assert_int_equal(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]), 0);
        }
        for (uint32_t i = 0; i < 4; i++) {
            pthread_join(readers[i].thread, NULL);
            assert_int_equal(readers[i].failures, 0);
        }
        object_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_remote__an_object_with_a_digest_is_opened_in_one_round_trip),
        cmocka_unit_test(
            test_page_remote__neighbours_are_one_request_and_the_rest_comes_at_the_same_time),
        cmocka_unit_test(test_page_remote__long_runs_are_split),
        cmocka_unit_test(test_page_remote__a_chain_is_read_where_the_sidecar_says_it_is),
        cmocka_unit_test(test_page_remote__of_a_chain_only_what_is_wanted_is_read),
        cmocka_unit_test(
            test_page_remote__an_object_without_digests_is_read_by_pages_of_one_version),
        cmocka_unit_test(test_page_remote__a_changed_object_is_told),
        cmocka_unit_test(test_page_remote__an_object_that_is_not_what_was_published_is_not_opened),
        cmocka_unit_test(test_page_remote__pinned_pages_stay_and_the_budget_is_kept),
        cmocka_unit_test(test_page_remote__what_is_read_ahead_stays_within_the_budget),
        cmocka_unit_test(test_page_remote__two_objects_share_one_budget),
        cmocka_unit_test(test_page_remote__a_chunk_that_several_want_is_asked_for_once),
        cmocka_unit_test(test_page_remote__who_waited_for_a_request_that_failed_makes_his_own),
        cmocka_unit_test(test_page_remote__nobody_waits_beyond_his_deadline_or_a_cancellation),
        cmocka_unit_test(test_page_remote__closing_ends_what_was_read_ahead),
        cmocka_unit_test(test_page_remote__many_threads_see_the_right_pages_in_a_small_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
