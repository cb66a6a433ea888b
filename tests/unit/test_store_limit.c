/* The store that passes calls on no faster than it was told, and the rate limit below it. Time
 * passes by hand, so that every wait is exact. */
#include "base/context.h"
#include "base/rate.h"
#include "store/store.h"
#include "support/hand_clock.h"
#include "support/script_store.h"
#include "support/store_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000ll
#define KIB       1024u

typedef struct stage {
    hand_clock clock;
    shardy_context *context;
    script_store script;
    shardy_store *store; /* the limited one */
    int64_t began_ns;
} stage;

static void stage_open(stage *s, double requests, double bytes)
{
    shardy_error err = {0};
    shardy_limit_options options;
    shardy_limit_options_init(&options, sizeof options);
    options.requests_per_second = requests;
    options.bytes_per_second = bytes;
    s->context = hand_clock_context(&s->clock);
    script_store_open(&s->script, s->context);
    assert_ok(shardy_store_wrap_limit(NULL, s->script.store, &options, &s->store, &err));
    assert_string_equal(shardy_store_name(s->store), "limit");
    put_ok(s->script.mem, "k", "0123456789");
    s->began_ns = s->clock.monotonic_ns;
}

static void stage_close(stage *s)
{
    shardy_store_close(s->store);
    script_store_close(&s->script);
    shardy_context_free(s->context);
}

static int64_t passed_ms(const stage *s)
{
    return (s->clock.monotonic_ns - s->began_ns) / 1000000;
}

static void assert_passed(const stage *s, int64_t ms)
{
    int64_t is = passed_ms(s);
    if (is < ms - 1 || is > ms + 1) {
        fail_msg("%lld ms have passed, expected %lld", (long long)is, (long long)ms);
    }
}

static shardy_status read_one(shardy_store *store, const char *key, uint64_t len)
{
    shardy_store_read read = read_of(key, 0, len);
    shardy_store_read_all(store, &read, 1);
    shardy_buf_release(&read.body);
    return (shardy_status)read.status;
}

static void put_len(shardy_store *store, const char *key, size_t len)
{
    shardy_error err = {0};
    char *body = calloc(1, len);
    shardy_store_put put = put_of(key, SHARDY_PUT_ALWAYS, "");
    put.body = (shardy_bytes){body, len};
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
    free(body);
}

/* --- rates ------------------------------------------------------------------------------------ */

static void test_limit__requests_of_every_kind_keep_to_the_rate(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_store_page page;
    shardy_bytes keys[] = {bytes_of("a"), bytes_of("b")};
    int32_t results[2];
    stage s;
    stage_open(&s, 10, 0);
    for (int i = 0; i < 25; i++) {
        assert_int_equal(read_one(s.store, "k", 4), SHARDY_OK);
        assert_ok(shardy_store_head(s.store, "k", &meta, &err));
        put_ok(s.store, "a", "1");
        assert_ok(shardy_store_list(s.store, "", 0, NULL, 10, &page, &err));
        shardy_store_page_dispose(&page);
        assert_ok(shardy_store_remove(s.store, keys, 2, results, &err));
    }
    /* a second's worth at once, the others one by one */
    assert_passed(&s, (125 - 10) * 100);
    assert_int_equal(script_store_calls(&s.script), 125);
    assert_int_equal(shardy_context_metric(s.context, SHARDY_METRIC_LIMIT_WAITS), 115);
    assert_int_equal(shardy_context_metric(s.context, SHARDY_METRIC_LIMIT_WAIT_US), 115u * 100000);
    stage_close(&s);
}

static void test_limit__bytes_keep_to_the_rate(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, 0, 100 * KIB);
    for (int i = 0; i < 30; i++) {
        put_len(s.store, "p", 10 * KIB);
        assert_int_equal(read_one(s.store, "p", 10 * KIB), SHARDY_OK);
    }
    assert_passed(&s, 5000);
    stage_close(&s);
}

/* The reference waits for ever. */
static void test_limit__what_is_larger_than_a_second_passes(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, 0, 10 * KIB);
    put_len(s.store, "p", 50 * KIB); /* at once: the second's worth is there */
    assert_passed(&s, 0);
    assert_int_equal(read_one(s.store, "p", 50 * KIB), SHARDY_OK);
    assert_passed(&s, 5000);
    assert_int_equal(read_one(s.store, "p", KIB), SHARDY_OK);
    assert_passed(&s, 9100);
    stage_close(&s);
    /* a rate below one request */
    stage_open(&s, 0.25, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(read_one(s.store, "k", 1), SHARDY_OK);
    }
    assert_passed(&s, 16000);
    stage_close(&s);
    /* costs that no clock can count */
    stage_open(&s, 1e-300, 1e-300);
    assert_int_equal(read_one(s.store, "k", 1), SHARDY_OK);
    shardy_store_read read = read_of("k", 0, 1);
    read.deadline_ns = s.clock.monotonic_ns + 3600 * SECOND_NS;
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_TIMEOUT);
    stage_close(&s);
}

static void test_limit__idle_time_is_saved_up_for_a_second_only(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, 10, 0);
    s.clock.monotonic_ns += 3600 * SECOND_NS;
    s.began_ns = s.clock.monotonic_ns;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(read_one(s.store, "k", 1), SHARDY_OK);
    }
    assert_passed(&s, 1000);
    stage_close(&s);
}

static void test_limit__only_bytes_that_came_are_paid_for(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, 0, 1000);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(read_one(s.store, "k", 900), SHARDY_OK); /* of 10 bytes */
        assert_int_equal(read_one(s.store, "none", 1000), SHARDY_NOT_FOUND);
    }
    assert_true(passed_ms(&s) < 2000);
    stage_close(&s);
    /* to the end: known afterwards */
    stage_open(&s, 0, 1000);
    put_len(s.script.mem, "p", 3000);
    assert_int_equal(read_one(s.store, "p", SHARDY_READ_TO_END), SHARDY_OK);
    assert_passed(&s, 0);
    assert_int_equal(read_one(s.store, "k", 10), SHARDY_OK);
    assert_passed(&s, 2010);
    stage_close(&s);
}

/* A manifest of unknown size is asked for with a bound of many megabytes. */
static void test_limit__a_bound_is_no_length_to_pay_for(void **state)
{
    (void)state;
    shardy_store_read reads[20];
    stage s;
    stage_open(&s, 0, 1000);
    for (size_t i = 0; i < 20; i++) {
        reads[i] = read_of("k", 0, 32u << 20);
        reads[i].whole = 1;
    }
    shardy_store_read_all(s.store, reads, 20);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(reads[i].status, SHARDY_OK);
        shardy_buf_release(&reads[i].body);
    }
    assert_passed(&s, 0);
    /* what came is paid for: 200 bytes */
    assert_int_equal(read_one(s.store, "k", 10), SHARDY_OK);
    assert_passed(&s, 0);
    put_len(s.store, "p", 1000);
    assert_passed(&s, 210);
    stage_close(&s);
}

static void test_limit__parts_of_a_stream_are_held_back_one_by_one(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    stage_open(&s, 0, 10);
    stream parts = {"0123456789", 6, SHARDY_DONE};
    shardy_store_put put = put_of("s", SHARDY_PUT_ALWAYS, "");
    put.next = next_part;
    put.next_user = &parts;
    assert_ok(shardy_store_put_object(s.store, &put, NULL, &err));
    assert_passed(&s, 5000);
    /* a deadline in the middle leaves nothing */
    parts = (stream){"0123456789", 6, SHARDY_DONE};
    put.key = bytes_of("t");
    put.deadline_ns = s.clock.monotonic_ns + 3 * SECOND_NS + SECOND_NS / 2;
    assert_status(SHARDY_TIMEOUT, shardy_store_put_object(s.store, &put, NULL, &err));
    assert_true(s.clock.monotonic_ns < put.deadline_ns);
    assert_no_object(s.script.mem, "t");
    stage_close(&s);
}

/* --- ends of a wait --------------------------------------------------------------------------- */

static void test_limit__who_would_be_too_late_is_told_at_once(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    stage_open(&s, 1, 0);
    assert_int_equal(read_one(s.store, "k", 1), SHARDY_OK);
    shardy_store_read read = read_of("k", 0, 1);
    for (int i = 0; i < 50; i++) {
        read.deadline_ns = s.clock.monotonic_ns + SECOND_NS / 2;
        shardy_store_read_all(s.store, &read, 1);
        assert_int_equal(read.status, SHARDY_TIMEOUT);
        shardy_store_put put = put_of("p", SHARDY_PUT_ALWAYS, "1");
        put.deadline_ns = read.deadline_ns;
        assert_status(SHARDY_TIMEOUT, shardy_store_put_object(s.store, &put, NULL, &err));
    }
    assert_passed(&s, 0);
    /* and has not kept others waiting */
    assert_int_equal(read_one(s.store, "k", 1), SHARDY_OK);
    assert_passed(&s, 1000);
    assert_int_equal(script_store_calls(&s.script), 2);
    stage_close(&s);
}

/* A clock whose sleeps cancel. */
static shardy_cancel *cancelled_by_sleep;

static void sleep_and_cancel(void *user, int64_t us)
{
    hand_clock *c = user;
    c->monotonic_ns += us * 1000;
    shardy_cancel_request(cancelled_by_sleep);
}

static void test_limit__cancelling_ends_a_wait_and_gives_its_place_back(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    stage_open(&s, 0, 10);
    put_len(s.store, "p", 10);
    void (*sleep)(void *, int64_t) = s.context->options.clock.sleep_us;
    for (int i = 0; i < 4; i++) {
        assert_ok(shardy_cancel_new(&cancelled_by_sleep, &err));
        s.context->options.clock.sleep_us = sleep_and_cancel;
        if (i % 2) {
            shardy_store_read read = read_of("p", 0, 100);
            read.cancel = cancelled_by_sleep;
            shardy_store_read_all(s.store, &read, 1);
            assert_int_equal(read.status, SHARDY_CANCELLED);
        } else {
            shardy_store_put put = put_of("q", SHARDY_PUT_ALWAYS, "0123456789");
            put.cancel = cancelled_by_sleep;
            assert_status(SHARDY_CANCELLED, shardy_store_put_object(s.store, &put, NULL, &err));
        }
        s.context->options.clock.sleep_us = sleep;
        shardy_cancel_free(cancelled_by_sleep);
    }
    assert_true(passed_ms(&s) <= 81);
    assert_no_object(s.script.mem, "q");
    put_len(s.store, "p", 10);
    assert_true(passed_ms(&s) <= 1001);
    stage_close(&s);
}

/* Also where what they waited for were requests or bytes: each of them ten seconds and more. */
static void test_limit__reads_that_are_cancelled_in_the_queue_keep_no_time(void **state)
{
    (void)state;
    static const double rates[][2] = {{10, 0}, {0, 1000}, {10, 1000}, {1000, 1000}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        shardy_error err = {0};
        shardy_store_read reads[300];
        stage s;
        stage_open(&s, rates[i][0], rates[i][1]);
        assert_ok(shardy_cancel_new(&cancelled_by_sleep, &err));
        void (*sleep)(void *, int64_t) = s.context->options.clock.sleep_us;
        s.context->options.clock.sleep_us = sleep_and_cancel;
        for (size_t j = 0; j < 300; j++) {
            reads[j] = read_of("k", 0, 100);
            reads[j].cancel = cancelled_by_sleep;
        }
        shardy_store_read_all(s.store, reads, 300);
        s.context->options.clock.sleep_us = sleep;
        assert_int_equal(reads[299].status, SHARDY_CANCELLED);
        for (size_t j = 0; j < 300; j++) {
            shardy_buf_release(&reads[j].body);
        }
        shardy_store_read read = read_of("k", 0, 100);
        read.deadline_ns = s.clock.monotonic_ns + SECOND_NS / 2;
        shardy_store_read_all(s.store, &read, 1);
        assert_int_equal(read.status, SHARDY_OK);
        shardy_buf_release(&read.body);
        assert_true(passed_ms(&s) <= 500);
        shardy_cancel_free(cancelled_by_sleep);
        stage_close(&s);
    }
}

/* --- order ------------------------------------------------------------------------------------ */

typedef struct order {
    shardy_store_read *first;
    size_t at;
    size_t seen[50];
} order;

static void note_order(void *user, shardy_store_read *read)
{
    order *o = user;
    o->seen[o->at++] = (size_t)(read - o->first);
    shardy_buf_release(&read->body);
}

static void test_limit__tidying_up_after_a_cancellation_is_not_held_back(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_cancel *cancel;
    shardy_limit_options options;
    stage s;
    assert_ok(shardy_cancel_new(&cancel, &err));
    stage_open(&s, 1, 10);
    shardy_store_close(s.store);
    shardy_limit_options_init(&options, sizeof options);
    options.requests_per_second = 1;
    options.bytes_per_second = 10;
    options.cancel = cancel;
    assert_ok(shardy_store_wrap_limit(NULL, s.script.store, &options, &s.store, &err));
    put_ok(s.store, "large", "0123456789012345678901234567890123456789");
    assert_passed(&s, 0);
    assert_ok(remove_key(s.store, "no", &err));
    int64_t before = passed_ms(&s);
    assert_true(before >= 999);
    shardy_cancel_request(cancel);
    for (int i = 0; i < 10; i++) {
        shardy_store_page page;
        assert_ok(shardy_store_list(s.store, "", 0, NULL, 10, &page, &err));
        shardy_store_page_dispose(&page);
        put_ok(s.store, "condemned", "0123456789");
        assert_object(s.store, "condemned", "0123456789");
        assert_ok(remove_key(s.store, "condemned", &err));
    }
    assert_passed(&s, before);
    stage_close(&s);
    shardy_cancel_free(cancel);
}

static void test_limit__who_asked_first_is_served_first(void **state)
{
    (void)state;
    stage s;
    stage_open(&s, 100, 10 * KIB);
    put_len(s.script.mem, "p", 8 * KIB);
    put_ok(s.script.mem, "e", "");
    shardy_store_read reads[50];
    order o = {.first = reads};
    for (size_t i = 0; i < 50; i++) {
        /* those whose length is not known overtake none that waits for its bytes */
        reads[i] = i % 7 == 0 ? read_of("p", 0, 8 * KIB) : read_of("e", 0, SHARDY_READ_TO_END);
    }
    shardy_store_read_start(s.store, reads, 50, note_order, &o);
    assert_int_equal(o.at, 50);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(o.seen[i], i);
        assert_int_equal(reads[i].status, SHARDY_OK);
    }
    stage_close(&s);
}

/* --- any order of calls ----------------------------------------------------------------------- */

#define PLACES_MAX 400u

/* What a rate has been told, from which each time is found anew, without looking at anything that
 * the limit remembers. */
typedef enum entry_kind {
    BEGUN = 0,
    RETURNED,
    CHARGED
} entry_kind;

typedef struct entry {
    entry_kind kind;
    int64_t at_ns;
    rate_units units;
} entry;

typedef struct model {
    double ns_each[RATE_KINDS];
    entry done[PLACES_MAX * 2];
    size_t done_count;
    rate_place places[PLACES_MAX]; /* those that are held, in the order of asking */
    rate_place *waiting[PLACES_MAX];
    size_t place_count;
    size_t waiting_count;
} model;

static int64_t model_cost(const model *m, size_t kind, rate_units units)
{
    return (int64_t)((double)units.of[kind] * m->ns_each[kind]);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When a second's worth is there again after all that was done and all that waits. */
static int64_t model_full(const model *m, size_t kind)
{
    int64_t full = 0;
    for (size_t i = 0; i < m->done_count; i++) {
        const entry *e = &m->done[i];
        int64_t cost = model_cost(m, kind, e->units);
        full = e->kind == RETURNED ? full - cost : later(full, e->at_ns) + cost;
    }
    for (size_t i = 0; i < m->waiting_count; i++) {
        const rate_place *p = m->waiting[i];
        full = later(full, p->due_ns) + model_cost(m, kind, p->units);
    }
    return full;
}

static int64_t model_due(const model *m, rate_units units, int64_t now)
{
    int64_t due = m->waiting_count ? later(now, m->waiting[m->waiting_count - 1]->due_ns) : now;
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        int64_t cost = model_cost(m, kind, units);
        int64_t all = cost < SECOND_NS ? cost : SECOND_NS;
        due = cost ? later(due, model_full(m, kind) - SECOND_NS + all) : due;
    }
    return due;
}

static rate_place *model_take_out(model *m, size_t at)
{
    rate_place *p = m->waiting[at];
    m->waiting_count--;
    memmove(m->waiting + at, m->waiting + at + 1, (m->waiting_count - at) * sizeof m->waiting[0]);
    return p;
}

static void model_note(model *m, entry_kind kind, int64_t at, rate_units units)
{
    assert_true(m->done_count < sizeof m->done / sizeof m->done[0]);
    m->done[m->done_count++] = (entry){kind, at, units};
}

static rate_units random_units(support_rand *rand)
{
    static const uint64_t most[] = {1, 300, 3000};
    return (rate_units){
        {support_rand_below(rand, 3), support_rand_below(rand, most[support_rand_below(rand, 3)])}};
}

static void ask(rate_limit *r, model *m, support_rand *rand, int64_t now)
{
    shardy_error err = {0};
    rate_units units = random_units(rand);
    int64_t due = model_due(m, units, now);
    int64_t within = (int64_t)support_rand_below(rand, 20) * SECOND_NS / 2;
    int64_t deadline = support_rand_below(rand, 3) ? 0 : now + within + 1;
    rate_place *place = &m->places[m->place_count++];
    shardy_status st = shardy__rate_reserve(r, units, deadline, place, &err);
    assert_int_equal(place->due_ns, due);
    assert_int_equal(st, deadline == 0 || due < deadline ? SHARDY_OK : SHARDY_TIMEOUT);
    if (st >= 0) {
        m->waiting[m->waiting_count++] = place;
    }
}

/* Those whose time has come begin, in order or not; some give a part back, or cost more. */
static void begin_due(rate_limit *r, model *m, support_rand *rand, int64_t now, int adjust)
{
    for (size_t i = m->waiting_count; i > 0; i--) {
        size_t at = support_rand_below(rand, i);
        if (m->waiting[at]->due_ns > now) {
            continue;
        }
        rate_place *p = model_take_out(m, at);
        shardy__rate_begin(r, p);
        model_note(m, BEGUN, p->due_ns, p->units);
        rate_units more = {{0, support_rand_below(rand, 1 + p->units.of[1])}};
        if (adjust && support_rand_below(rand, 2)) {
            shardy__rate_return(r, more);
            model_note(m, RETURNED, 0, more);
        } else if (adjust) {
            shardy__rate_charge(r, more);
            model_note(m, CHARGED, now, more);
        }
    }
}

/* Between any two there is no more than the time between them gives, and a second's worth. */
static void check_rate(const model *m)
{
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        for (size_t i = 0; i < m->done_count; i++) {
            for (size_t j = 0; j < m->done_count; j++) {
                int64_t sum = 0;
                int64_t from = m->done[i].at_ns;
                int64_t to = m->done[j].at_ns;
                for (size_t k = 0; k < m->done_count; k++) {
                    int64_t at = m->done[k].at_ns;
                    sum += at >= from && at < to ? model_cost(m, kind, m->done[k].units) : 0;
                }
                assert_true(to <= from || !model_cost(m, kind, m->done[j].units) ||
                            sum <= to - from + SECOND_NS);
            }
        }
    }
}

static void run_any_order(uint64_t seed, int adjust)
{
    hand_clock clock;
    rate_limit r;
    support_rand rand = {seed};
    model *m = calloc(1, sizeof *m);
    shardy_context *context = hand_clock_context(&clock);
    shardy__rate_init(&r, context, 10, 1000);
    m->ns_each[0] = (double)SECOND_NS / 10;
    m->ns_each[1] = (double)SECOND_NS / 1000;
    while (m->place_count < PLACES_MAX - 1) {
        int64_t now = clock.monotonic_ns;
        uint64_t what = support_rand_below(&rand, 10);
        if (what < 6) {
            ask(&r, m, &rand, now);
        } else if (what < 8 && m->waiting_count) {
            size_t at = support_rand_below(&rand, m->waiting_count);
            shardy__rate_leave(&r, model_take_out(m, at));
        } else if (what == 8) {
            while (m->waiting_count && support_rand_below(&rand, 40)) { /* all those of a call */
                shardy__rate_leave(&r, model_take_out(m, 0));
            }
        } else {
            clock.monotonic_ns += (int64_t)support_rand_below(&rand, 3000) * 1000000;
            begin_due(&r, m, &rand, clock.monotonic_ns, adjust);
        }
    }
    if (!adjust) {
        check_rate(m);
    }
    while (m->waiting_count) { /* the last of them, too, has a time that comes */
        clock.monotonic_ns = later(clock.monotonic_ns, m->waiting[0]->due_ns);
        begin_due(&r, m, &rand, clock.monotonic_ns, 0);
    }
    assert_null(r.first);
    assert_null(r.last);
    shardy__rate_free(&r);
    shardy_context_free(context);
    free(m);
}

static void test_rate__in_any_order_of_calls_each_time_is_the_earliest_that_the_rate_allows(
    void **state)
{
    (void)state;
    uint64_t seed = support_seed();
    for (uint64_t i = 0; i < 100; i++) {
        run_any_order(seed * 1000 + i, i % 2 != 0);
    }
}

/* --- threads ---------------------------------------------------------------------------------- */

static void test_limit__many_threads_lose_nothing_and_do_not_hang(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    script_store script;
    shardy_store *limited;
    shardy_store *store;
    shardy_limit_options options;
    shardy_limit_options_init(&options, sizeof options);
    options.requests_per_second = 2000;
    options.bytes_per_second = 100000;
    shardy_retry_options retry;
    shardy_retry_options_init(&retry, sizeof retry);
    retry.budget_percent = 1000;
    retry.max_attempts = 100;
    retry.initial_backoff_ms = 0;
    retry.timeout_ms = 600000;
    assert_ok(shardy_context_new(NULL, &context, &err));
    script_store_open(&script, context);
    put_ok(script.mem, "k", "0123456789");
    atomic_store(&script.fail_percent, 20);
    /* as an S3 store is wrapped: limit next to it, retry around */
    assert_ok(shardy_store_wrap_limit(context, script.store, &options, &limited, &err));
    assert_ok(shardy_store_wrap_retry(context, limited, &retry, &store, &err));
    assert_int_equal(read_in_threads(store, 100, SHARDY_OK), 0);
    assert_true(shardy_context_metric(context, SHARDY_METRIC_LIMIT_WAITS) > 0);
    shardy_store_close(store);
    shardy_store_close(limited);
    script_store_close(&script);
    shardy_context_free(context);
}

/* --- making one ------------------------------------------------------------------------------- */

static void test_limit__options_are_checked(void **state)
{
    (void)state;
    static const double wrong[] = {-1, -0.001, NAN, INFINITY, -INFINITY};
    shardy_error err = {0};
    script_store script;
    shardy_store *store;
    script_store_open(&script, NULL);
    for (size_t i = 0; i < 2 * sizeof wrong / sizeof wrong[0]; i++) {
        shardy_limit_options options;
        shardy_limit_options_init(&options, sizeof options);
        *(i % 2 ? &options.requests_per_second : &options.bytes_per_second) = wrong[i / 2];
        assert_status(
            SHARDY_INVALID, shardy_store_wrap_limit(NULL, script.store, &options, &store, &err));
        assert_null(store);
        assert_non_null(
            strstr(err.message, i % 2 ? "requests_per_second is " : "bytes_per_second is "));
    }
    assert_status(SHARDY_INVALID, shardy_store_wrap_limit(NULL, NULL, NULL, &store, &err));
    assert_ok(shardy_store_wrap_limit(NULL, script.store, NULL, &store, &err));
    for (int i = 0; i < 100; i++) { /* no limit */
        assert_int_equal(read_one(store, "none", 1), SHARDY_NOT_FOUND);
    }
    shardy_store_close(store);
    script_store_close(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit__requests_of_every_kind_keep_to_the_rate),
        cmocka_unit_test(test_limit__bytes_keep_to_the_rate),
        cmocka_unit_test(test_limit__what_is_larger_than_a_second_passes),
        cmocka_unit_test(test_limit__idle_time_is_saved_up_for_a_second_only),
        cmocka_unit_test(test_limit__only_bytes_that_came_are_paid_for),
        cmocka_unit_test(test_limit__a_bound_is_no_length_to_pay_for),
        cmocka_unit_test(test_limit__parts_of_a_stream_are_held_back_one_by_one),
        cmocka_unit_test(test_limit__who_would_be_too_late_is_told_at_once),
        cmocka_unit_test(test_limit__cancelling_ends_a_wait_and_gives_its_place_back),
        cmocka_unit_test(test_limit__reads_that_are_cancelled_in_the_queue_keep_no_time),
        cmocka_unit_test(test_limit__tidying_up_after_a_cancellation_is_not_held_back),
        cmocka_unit_test(test_limit__who_asked_first_is_served_first),
        cmocka_unit_test(
            test_rate__in_any_order_of_calls_each_time_is_the_earliest_that_the_rate_allows),
        cmocka_unit_test(test_limit__many_threads_lose_nothing_and_do_not_hang),
        cmocka_unit_test(test_limit__options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
