/* The store that repeats calls: what is repeated, when, how often, and what becomes of puts whose
 * answer was lost. Every request that reaches the inner store is counted. */
#include "base/context.h"
#include "base/thread.h"
#include "store/store.h"
#include "support/hand_clock.h"
#include "support/script_store.h"
#include "support/store_fixture.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS 1000000000ll
#define MIB       (1u << 20)

#define BEFORE                                                                                     \
    {                                                                                              \
        .kind = SHARDY_FAULT_BEFORE, .status = SHARDY_UNAVAILABLE                                  \
    }
#define LOST                                                                                       \
    {                                                                                              \
        .kind = SHARDY_FAULT_AFTER, .status = SHARDY_UNAVAILABLE                                   \
    }

typedef struct stage {
    hand_clock clock;
    shardy_context *context;
    script_store script;
    shardy_store *store; /* the retrying one */
} stage;

static void stage_open(stage *s, const shardy_retry_options *options)
{
    shardy_error err = {0};
    s->context = hand_clock_context(&s->clock);
    script_store_open(&s->script, s->context);
    assert_ok(shardy_store_wrap_retry(NULL, s->script.store, options, &s->store, &err));
    put_ok(s->script.mem, "k", "0123456789");
    assert_string_equal(shardy_store_name(s->store), "retry");
}

static void stage_close(stage *s)
{
    shardy_store_close(s->store);
    script_store_close(&s->script);
    shardy_context_free(s->context);
}

static void stage_set(stage *s, const script_step *steps, size_t count)
{
    script_store_set(&s->script, steps, count);
    s->clock.slept_us = 0;
    s->clock.sleeps = 0;
}

static uint64_t calls(const stage *s, script_op op)
{
    return atomic_load(&s->script.calls[op]);
}

static uint64_t retries(const stage *s)
{
    return shardy_context_metric(s->context, SHARDY_METRIC_STORE_RETRIES);
}

static shardy_status get_all(shardy_store *store, const char *key, shardy_error *err)
{
    shardy_buf body;
    shardy_status st = shardy_store_get(store, key, 0, SHARDY_READ_TO_END, &body, NULL, err);
    shardy_buf_release(&body);
    return st;
}

/* --- what is repeated ------------------------------------------------------------------------- */

static void test_retry__a_call_that_fails_in_passing_succeeds(void **state)
{
    (void)state;
    static const script_step twice[] = {BEFORE, BEFORE};
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_store_page page;
    shardy_bytes keys[] = {bytes_of("n"), bytes_of("none")};
    int32_t results[2];
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, twice, 2);
    assert_object(s.store, "k", "0123456789");
    assert_int_equal(calls(&s, SCRIPT_READ), 3);
    stage_set(&s, twice, 2);
    assert_ok(shardy_store_head(s.store, "k", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_HEAD), 3);
    stage_set(&s, twice, 2);
    put_ok(s.store, "n", "new");
    assert_int_equal(calls(&s, SCRIPT_PUT), 3);
    assert_int_equal(script_store_calls(&s.script), 3);
    stage_set(&s, twice, 2);
    assert_ok(shardy_store_list(s.store, "", 0, NULL, 10, &page, &err));
    assert_int_equal(page.count, 2);
    shardy_store_page_dispose(&page);
    assert_int_equal(calls(&s, SCRIPT_LIST), 3);
    stage_set(&s, twice, 2);
    assert_ok(shardy_store_remove(s.store, keys, 2, results, &err));
    assert_int_equal(results[0], SHARDY_OK);
    assert_int_equal(calls(&s, SCRIPT_REMOVE), 3);
    assert_no_object(s.script.mem, "n");
    assert_int_equal(retries(&s), 10);
    stage_close(&s);
}

static void test_retry__answers_are_not_repeated(void **state)
{
    (void)state;
    static const int32_t never[] = {SHARDY_EXISTS, SHARDY_CONFLICT, SHARDY_AUTH, SHARDY_INVALID,
        SHARDY_CANCELLED, SHARDY_NO_SPACE};
    shardy_error err = {0};
    stage s;
    stage_open(&s, NULL);
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        script_step step = BEFORE;
        step.status = never[i];
        step.final = never[i] == SHARDY_NO_SPACE; /* the others also when they say otherwise */
        stage_set(&s, &step, 1);
        assert_status(never[i], get_all(s.store, "k", &err));
        stage_set(&s, &step, 1);
        assert_status(
            never[i], put_text(s.store, "x", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
        assert_int_equal(script_store_calls(&s.script), 1);
    }
    stage_set(&s, NULL, 0);
    assert_status(SHARDY_NOT_FOUND, get_all(s.store, "none", &err));
    shardy_store_read read;
    shardy_object_meta meta;
    memset(&read, 0, sizeof read);
    assert_ok(shardy_store_head(s.script.mem, "k", &meta, &err));
    read.key = bytes_of("k");
    read.len = 1;
    read.if_none_match = meta.etag.text;
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_NOT_MODIFIED);
    assert_int_equal(calls(&s, SCRIPT_READ), 2);
    assert_int_equal(retries(&s), 0);
    assert_int_equal(s.clock.slept_us, 0);
    stage_close(&s);
}

static void test_retry__the_last_failure_is_the_answer(void **state)
{
    (void)state;
    script_step steps[10];
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    for (size_t i = 0; i < 10; i++) {
        steps[i] = (script_step)BEFORE;
    }
    stage_set(&s, steps, 10);
    assert_status(SHARDY_UNAVAILABLE, shardy_store_head(s.store, "k", &meta, &err));
    assert_string_equal(err.message, "after 6 attempts: as the script says");
    assert_int_equal(err.retriable, 1);
    assert_int_equal(calls(&s, SCRIPT_HEAD), 6);
    stage_set(&s, steps, 10);
    assert_status(SHARDY_UNAVAILABLE, get_all(s.store, "k", &err));
    assert_string_equal(err.message, "after 6 attempts: as the script says");
    assert_int_equal(calls(&s, SCRIPT_READ), 6);
    stage_close(&s);
}

static void test_retry__a_service_that_is_busy_is_asked_until_the_time_is_over(void **state)
{
    (void)state;
    script_step steps[60];
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    stage s;
    for (size_t i = 0; i < 60; i++) {
        steps[i] = (script_step)BEFORE;
        steps[i].status = SHARDY_THROTTLED;
    }
    stage_open(&s, NULL);
    int64_t begin = s.clock.monotonic_ns;
    stage_set(&s, steps, 60);
    assert_status(SHARDY_THROTTLED, get_all(s.store, "k", &err));
    int64_t took = s.clock.monotonic_ns - begin;
    assert_true(took <= 30 * SECOND_NS && took >= 26 * SECOND_NS);
    assert_true(calls(&s, SCRIPT_READ) > 6);
    stage_set(&s, steps, 12); /* longer than attempts alone would have lasted */
    assert_ok(get_all(s.store, "k", &err));
    stage_close(&s);
    /* what was said in the options goes before */
    options.max_attempts = 3;
    stage_open(&s, &options);
    stage_set(&s, steps, 60);
    assert_status(SHARDY_THROTTLED, get_all(s.store, "k", &err));
    assert_string_equal(err.message, "after 3 attempts: as the script says");
    assert_int_equal(calls(&s, SCRIPT_READ), 3);
    stage_close(&s);
}

/* --- when ------------------------------------------------------------------------------------- */

static void test_retry__waits_any_time_up_to_a_bound_that_doubles(void **state)
{
    (void)state;
    static const int64_t most_us[] = {200000, 400000, 800000, 1600000, 3200000, 4000000, 4000000};
    script_step steps[7];
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.max_attempts = 20;
    options.budget_percent = 1000;
    stage s;
    stage_open(&s, &options);
    for (size_t i = 0; i < 7; i++) {
        steps[i] = (script_step)BEFORE;
    }
    for (size_t n = 1; n <= 7; n++) {
        int64_t least = INT64_MAX;
        int64_t longest = 0;
        for (int round = 0; round < 200; round++) {
            shardy_object_meta meta;
            stage_set(&s, steps, n - 1);
            assert_ok(shardy_store_head(s.store, "k", &meta, &err));
            int64_t bound = 0;
            for (size_t i = 0; i + 1 < n; i++) {
                bound += most_us[i] + 1;
            }
            assert_true(s.clock.slept_us <= bound);
            least = s.clock.slept_us < least ? s.clock.slept_us : least;
            longest = s.clock.slept_us > longest ? s.clock.slept_us : longest;
        }
        if (n == 2) { /* over the whole of the first wait */
            assert_true(least < 20000 && longest > 180000);
        }
    }
    stage_close(&s);
}

static void test_retry__a_service_is_left_alone_as_long_as_it_asks(void **state)
{
    (void)state;
    script_step step = BEFORE;
    shardy_error err = {0};
    stage s;
    stage_open(&s, NULL);
    step.status = SHARDY_THROTTLED;
    step.retry_after_ms = 7000;
    stage_set(&s, &step, 1);
    assert_ok(get_all(s.store, "k", &err));
    assert_true(s.clock.slept_us >= 7000000 && s.clock.slept_us <= 7200001);
    stage_set(&s, &step, 1);
    put_ok(s.store, "p", "1");
    assert_true(s.clock.slept_us >= 7000000 && s.clock.slept_us <= 7200001);
    /* longer than a call may take: no wait at all */
    step.retry_after_ms = 31000;
    stage_set(&s, &step, 1);
    assert_status(SHARDY_THROTTLED, get_all(s.store, "k", &err));
    assert_int_equal(err.retry_after_ms, 31000);
    assert_int_equal(s.clock.slept_us, 0);
    stage_close(&s);
}

static void time_passes(void *user)
{
    ((hand_clock *)user)->monotonic_ns += 10 * SECOND_NS;
}

static void test_retry__who_ends_by_the_deadline_tells_what_went_wrong_before(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    const script_step steps[] = {BEFORE, BEFORE,
        {.kind = SHARDY_FAULT_BEFORE,
            .status = SHARDY_TIMEOUT,
            .before = time_passes,
            .user = &s.clock}};
    static const char said[] =
        "after 3 attempts: as the script says; the last failure: as the script says";
    stage_set(&s, steps, 3);
    shardy_store_read read = read_of("k", 0, 1);
    read.deadline_ns = s.clock.monotonic_ns + 5 * SECOND_NS;
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_TIMEOUT);
    assert_string_equal(read.error.message, said);
    stage_set(&s, steps, 3);
    const shardy_store_limits limits = {s.clock.monotonic_ns + 5 * SECOND_NS, NULL};
    assert_status(SHARDY_TIMEOUT, shardy_store_head_within(s.store, "k", &limits, &meta, &err));
    assert_string_equal(err.message, said);
    /* not when nothing else went wrong, nor when there is time yet */
    stage_set(&s, steps + 2, 1);
    read = read_of("k", 0, 1);
    read.deadline_ns = s.clock.monotonic_ns + 5 * SECOND_NS;
    shardy_store_read_all(s.store, &read, 1);
    assert_string_equal(read.error.message, "as the script says");
    stage_close(&s);
}

static void test_retry__no_wait_goes_beyond_the_deadline(void **state)
{
    (void)state;
    script_step steps[30];
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.max_attempts = 30;
    stage s;
    stage_open(&s, &options);
    for (size_t i = 0; i < 30; i++) {
        steps[i] = (script_step)BEFORE;
    }
    for (int64_t ms = 1; ms < 5000; ms = ms * 3 + 1) {
        stage_set(&s, steps, 30);
        shardy_store_read read = read_of("k", 0, 1);
        read.deadline_ns = s.clock.monotonic_ns + ms * 1000000;
        shardy_store_read_all(s.store, &read, 1);
        assert_int_equal(read.status, SHARDY_UNAVAILABLE);
        assert_true(s.clock.monotonic_ns <= read.deadline_ns);
        stage_set(&s, steps, 30);
        shardy_store_put put = put_of("p", SHARDY_PUT_ALWAYS, "x");
        put.deadline_ns = s.clock.monotonic_ns + ms * 1000000;
        assert_status(SHARDY_UNAVAILABLE, shardy_store_put_object(s.store, &put, NULL, &err));
        assert_true(s.clock.monotonic_ns <= put.deadline_ns);
    }
    /* without one, nothing begins after the time of the options */
    int64_t begin = s.clock.monotonic_ns;
    stage_set(&s, steps, 30);
    assert_status(SHARDY_UNAVAILABLE, get_all(s.store, "k", &err));
    assert_true(s.clock.monotonic_ns - begin <= 30 * SECOND_NS);
    stage_close(&s);
}

static void cancel_it(void *user)
{
    shardy_cancel_request(user);
}

static void test_retry__cancelling_ends_a_wait(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    script_step step = BEFORE;
    step.retry_after_ms = 20000;
    step.before = cancel_it;
    step.user = cancel;
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, &step, 1);
    shardy_store_read read = read_of("k", 0, 1);
    read.cancel = cancel;
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_CANCELLED);
    assert_true(s.clock.slept_us <= 20001);
    shardy_cancel_free(cancel);
    assert_ok(shardy_cancel_new(&cancel, &err));
    step.user = cancel;
    stage_set(&s, &step, 1);
    shardy_store_put put = put_of("p", SHARDY_PUT_IF_ABSENT, "x");
    put.cancel = cancel;
    assert_status(SHARDY_CANCELLED, shardy_store_put_object(s.store, &put, NULL, &err));
    assert_int_equal(err.retriable, 1); /* it is not known whether it was done */
    assert_true(s.clock.slept_us <= 20001);
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    shardy_cancel_free(cancel);
    stage_close(&s);
}

/* --- how often -------------------------------------------------------------------------------- */

#define REQUESTS 10000u
#define INITIAL  100u

/* With half of all requests failing there is always more to repeat than the budget has. */
static void test_budget__holds_the_load_of_many_failures_to_its_share(void **state)
{
    (void)state;
    shardy_error err = {0};
    uint64_t failed = 0;
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, NULL, 0);
    atomic_store(&s.script.fail_percent, 50);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        shardy_object_meta meta;
        shardy_status st =
            i % 2 ? get_all(s.store, "k", &err) : shardy_store_head(s.store, "k", &meta, &err);
        failed += st != SHARDY_OK;
        assert_true(st == SHARDY_OK || (st == SHARDY_UNAVAILABLE && err.message[0]));
    }
    uint64_t load = script_store_calls(&s.script);
    print_message("budget: %u requests, %llu failed for good, %llu reached the store\n", REQUESTS,
        (unsigned long long)failed, (unsigned long long)load);
    uint64_t most = REQUESTS + REQUESTS / 5 + INITIAL;
    assert_true(load <= most);
    assert_true(load >= most - 2); /* a part of a token may be left */
    assert_int_equal(load, REQUESTS + retries(&s));
    assert_true(
        shardy_context_metric(s.context, SHARDY_METRIC_STORE_RETRIES_REFUSED) > REQUESTS / 10);
    stage_close(&s);
}

static void test_budget__counts_the_requests_that_resolve_a_put(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, NULL, 0);
    atomic_store(&s.script.fail_percent, 50);
    for (uint32_t i = 0; i < 2000; i++) {
        char key[32];
        snprintf(key, sizeof key, "p/%u", i);
        shardy_status st = put_text(s.store, key, SHARDY_PUT_IF_ABSENT, NULL, key, NULL, &err);
        assert_true(st == SHARDY_OK || (st == SHARDY_UNAVAILABLE && err.retriable));
        if (st == SHARDY_OK) {
            assert_object(s.script.mem, key, key);
        }
    }
    assert_true(script_store_calls(&s.script) <= 2000 + 400 + INITIAL);
    assert_int_equal(script_store_calls(&s.script), 2000 + retries(&s));
    stage_close(&s);
}

static void test_budget__without_one_nothing_is_repeated(void **state)
{
    (void)state;
    static const script_step steps[] = {BEFORE};
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.budget_tokens = 0;
    stage s;
    stage_open(&s, &options);
    stage_set(&s, steps, 1);
    assert_status(SHARDY_UNAVAILABLE, get_all(s.store, "k", &err));
    assert_string_equal(err.message, "as the script says");
    assert_int_equal(calls(&s, SCRIPT_READ), 1);
    assert_int_equal(retries(&s), 0);
    assert_int_equal(shardy_context_metric(s.context, SHARDY_METRIC_STORE_RETRIES_REFUSED), 1);
    stage_close(&s);
}

/* A copy: a put clears what it is to fill. Good until the next call. */
static const char *etag_of(const shardy_object_meta *meta)
{
    static char text[SHARDY_ETAG_LEN_MAX + 1];
    memcpy(text, meta->etag.text, sizeof text);
    return text;
}

/* --- puts whose answer was lost --------------------------------------------------------------- */

static void test_put__whose_answer_was_lost_is_recognised(void **state)
{
    (void)state;
    static const script_step lost[] = {LOST};
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, lost, 1);
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_ABSENT, NULL, "nonce 1", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    assert_int_equal(calls(&s, SCRIPT_READ), 1);
    /* the version is the one that was written */
    stage_set(&s, lost, 1);
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "nonce 2", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "nonce 3", &meta, &err));
    assert_object(s.script.mem, "f", "nonce 3");
    /* of an empty object */
    stage_set(&s, lost, 1);
    assert_ok(put_text(s.store, "e", SHARDY_PUT_IF_ABSENT, NULL, "", &meta, &err));
    stage_close(&s);
}

static void test_put__that_was_not_done_is_repeated_once_that_is_known(void **state)
{
    (void)state;
    /* also when the look itself fails */
    static const script_step steps[] = {BEFORE, BEFORE, {0}};
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, steps, 1); /* a 409 is such a failure */
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_ABSENT, NULL, "1", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 2);
    assert_int_equal(calls(&s, SCRIPT_READ), 1);
    stage_set(&s, steps, 3);
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "2", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 2);
    assert_int_equal(calls(&s, SCRIPT_READ), 2);
    assert_object(s.script.mem, "f", "2");
    stage_close(&s);
}

/* Somebody else's put of "f". */
static void put_other(void *user)
{
    put_ok(user, "f", "other");
}

/* The earlier attempt of ours, on its way until now. */
static void put_late(void *user)
{
    put_ok(user, "f", "mine");
}

static void test_put__of_which_nothing_is_known_never_replaces_another(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    script_step other[] = {BEFORE, {.before = put_other, .user = s.script.mem}};
    stage_set(&s, other, 2);
    assert_status(
        SHARDY_EXISTS, put_text(s.store, "f", SHARDY_PUT_IF_ABSENT, NULL, "mine", &meta, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    assert_ok(shardy_store_head(s.script.mem, "f", &meta, &err));
    stage_set(&s, other, 2);
    assert_status(SHARDY_CONFLICT,
        put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "mine", NULL, &err));
    assert_object(s.script.mem, "f", "other");
    /* between the look and the second try */
    assert_ok(shardy_store_head(s.script.mem, "f", &meta, &err));
    script_step slow[] = {BEFORE, {0}, {.before = put_other, .user = s.script.mem}};
    stage_set(&s, slow, 3);
    assert_status(SHARDY_CONFLICT,
        put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "mine", NULL, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 2);
    assert_object(s.script.mem, "f", "other");
    /* the first attempt arrives just before the second */
    assert_ok(shardy_store_head(s.script.mem, "f", &meta, &err));
    script_step late[] = {BEFORE, {0}, {.before = put_late, .user = s.script.mem}};
    stage_set(&s, late, 3);
    assert_ok(put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "mine", &meta, &err));
    assert_object(s.script.mem, "f", "mine");
    assert_int_equal(calls(&s, SCRIPT_READ), 2);
    /* what was to be replaced has gone */
    shardy_bytes key = bytes_of("f");
    int32_t result;
    assert_ok(shardy_store_remove(s.script.mem, &key, 1, &result, &err));
    script_step before[] = {BEFORE};
    stage_set(&s, before, 1);
    assert_status(SHARDY_CONFLICT,
        put_text(s.store, "f", SHARDY_PUT_IF_MATCH, etag_of(&meta), "mine", NULL, &err));
    stage_close(&s);
}

static void test_put__of_much_is_compared_to_its_last_byte(void **state)
{
    (void)state;
    static const script_step lost[] = {LOST};
    static const script_step before[] = {BEFORE};
    shardy_error err = {0};
    size_t len = 2 * MIB + 17;
    uint8_t *body = malloc(len);
    char *dir = support_make_dir();
    support_rand r = {support_seed()};
    for (size_t i = 0; i < len; i++) {
        body[i] = (uint8_t)support_rand_u64(&r);
    }
    const char *path = support_path(dir, "file");
    support_write_file(path, body, len);
    stage s;
    stage_open(&s, NULL);
    for (int from_file = 0; from_file < 2; from_file++) {
        shardy_store_put put = put_of(from_file ? "f" : "b", SHARDY_PUT_IF_ABSENT, "");
        put.file_path = from_file ? path : NULL;
        put.body = from_file ? (shardy_bytes){NULL, 0} : (shardy_bytes){body, len};
        stage_set(&s, lost, 1);
        assert_ok(shardy_store_put_object(s.store, &put, NULL, &err));
        assert_int_equal(calls(&s, SCRIPT_PUT), 1);
        assert_int_equal(calls(&s, SCRIPT_READ), 3);
        /* another's differs in the last byte, or in its length */
        shardy_store_put other = put;
        other.file_path = NULL;
        other.condition = SHARDY_PUT_ALWAYS;
        body[len - 1] ^= 1;
        for (size_t cut = 0; cut < 2; cut++) {
            other.body = (shardy_bytes){body, len - cut};
            assert_ok(shardy_store_put_object(s.script.mem, &other, NULL, &err));
            body[len - 1] ^= !from_file && !cut;
            stage_set(&s, before, 1);
            assert_status(SHARDY_EXISTS, shardy_store_put_object(s.store, &put, NULL, &err));
        }
        body[len - 1] ^= (uint8_t)from_file;
    }
    stage_close(&s);
    free(body);
    support_remove_dir(dir);
}

static void test_put__of_a_stream_is_not_repeated_and_of_a_file_is(void **state)
{
    (void)state;
    static const script_step before[] = {BEFORE};
    shardy_error err = {0};
    char *dir = support_make_dir();
    const char *path = support_path(dir, "file");
    support_write_file(path, "in a file", 9);
    stage s;
    stage_open(&s, NULL);
    stream parts = {"part", 3, SHARDY_DONE};
    shardy_store_put put = put_of("s", SHARDY_PUT_ALWAYS, "");
    put.next = next_part;
    put.next_user = &parts;
    stage_set(&s, before, 1);
    assert_status(SHARDY_UNAVAILABLE, shardy_store_put_object(s.store, &put, NULL, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    put = put_of("s", SHARDY_PUT_ALWAYS, "");
    put.file_path = path;
    stage_set(&s, before, 1);
    assert_ok(shardy_store_put_object(s.store, &put, NULL, &err));
    assert_int_equal(calls(&s, SCRIPT_PUT), 2);
    assert_object(s.script.mem, "s", "in a file");
    /* a store may have taken it away */
    script_step gone = LOST;
    gone.before = (void (*)(void *))NULL;
    stage_set(&s, &gone, 1);
    assert_int_equal(unlink(path), 0);
    assert_true(shardy_store_put_object(s.store, &put, NULL, &err) < 0);
    assert_int_equal(calls(&s, SCRIPT_PUT), 1);
    stage_close(&s);
    support_remove_dir(dir);
}

/* --- reads ------------------------------------------------------------------------------------ */

static void test_reads__only_those_that_failed_are_repeated(void **state)
{
    (void)state;
    static const script_step steps[] = {{0}, BEFORE, {0}, BEFORE, {0}, BEFORE};
    stage s;
    stage_open(&s, NULL);
    stage_set(&s, steps, 6);
    shardy_store_read reads[5];
    char dest[5][2];
    for (size_t i = 0; i < 5; i++) {
        reads[i] = read_of(i == 4 ? "none" : "k", i, 2);
        reads[i].dest = i % 2 ? dest[i] : NULL;
    }
    shardy_store_read_all(s.store, reads, 5);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(reads[i].status, SHARDY_OK);
        assert_int_equal(reads[i].received, 2);
        assert_memory_equal(
            reads[i].dest ? reads[i].dest : reads[i].body.data, "0123456789" + i, 2);
        shardy_buf_release(&reads[i].body);
    }
    assert_int_equal(reads[4].status, SHARDY_NOT_FOUND);
    assert_int_equal(calls(&s, SCRIPT_READ), 8);
    stage_close(&s);
}

static void put_new_version(void *user)
{
    put_ok(user, "k", "abcdefghij");
}

static void test_reads__that_are_repeated_do_not_mix_versions(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_object_meta meta;
    stage s;
    stage_open(&s, NULL);
    assert_ok(shardy_store_head(s.script.mem, "k", &meta, &err));
    script_step steps[] = {
        {.kind = SHARDY_FAULT_SHORT}, {.before = put_new_version, .user = s.script.mem}};
    char dest[10];
    shardy_store_read read = read_of("k", 0, 10);
    read.dest = dest;
    stage_set(&s, steps, 2);
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_OK);
    assert_memory_equal(dest, "abcdefghij", 10);
    assert_int_equal(calls(&s, SCRIPT_READ), 2);
    /* the condition stays */
    put_ok(s.script.mem, "k", "0123456789");
    assert_ok(shardy_store_head(s.script.mem, "k", &meta, &err));
    read = read_of("k", 0, 10);
    read.if_match = meta.etag.text;
    stage_set(&s, steps, 2);
    shardy_store_read_all(s.store, &read, 1);
    assert_int_equal(read.status, SHARDY_CONFLICT);
    assert_int_equal(calls(&s, SCRIPT_READ), 2);
    stage_close(&s);
}

/* --- threads ---------------------------------------------------------------------------------- */

#define EACH 500u

static void open_threaded(shardy_context **context, script_store *script, shardy_store **store)
{
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    options.initial_backoff_ms = 0;
    assert_ok(shardy_context_new(NULL, context, &err));
    script_store_open(script, *context);
    assert_ok(shardy_store_wrap_retry(*context, script->store, &options, store, &err));
    put_ok(script->mem, "k", "0123456789");
}

static void test_threads__share_one_budget(void **state)
{
    (void)state;
    shardy_context *context;
    script_store script;
    shardy_store *store;
    open_threaded(&context, &script, &store);
    atomic_store(&script.fail_percent, 50);
    uint64_t failed = read_in_threads(store, EACH, SHARDY_UNAVAILABLE);
    uint64_t asked = 3u * READ_THREADS * EACH;
    uint64_t load = script_store_calls(&script);
    assert_true(failed < asked);
    assert_true(load <= asked + asked / 5 + INITIAL);
    assert_int_equal(load, asked + shardy_context_metric(context, SHARDY_METRIC_STORE_RETRIES));
    shardy_store_close(store);
    script_store_close(&script);
    shardy_context_free(context);
}

/* A task of the context's timer that reads, as a heartbeat does. */
typedef struct reading_task {
    timer_task task; /* first member */
    shardy_store *store;
    mutex lock;
    condition changed;
    int done;
} reading_task;

static void read_in_task(timer_task *task)
{
    reading_task *t = (reading_task *)(void *)task;
    shardy_error err;
    int ok = get_all(t->store, "k", &err) == SHARDY_OK;
    shardy__mutex_lock(&t->lock);
    t->done = ok ? 1 : -1;
    shardy__condition_broadcast(&t->changed);
    shardy__mutex_unlock(&t->lock);
}

static void test_threads__a_task_of_the_timer_may_read(void **state)
{
    (void)state;
    static const script_step twice[] = {BEFORE, BEFORE};
    shardy_context *context;
    script_store script;
    reading_task t;
    memset(&t, 0, sizeof t);
    open_threaded(&context, &script, &t.store);
    script_store_set(&script, twice, 2);
    shardy__mutex_init(&t.lock);
    shardy__condition_init(&t.changed);
    t.task.run = read_in_task;
    t.task.period_ns = 3600 * SECOND_NS;
    shardy__timer_add(context->timer, &t.task);
    shardy__timer_wake(context->timer, &t.task, 0);
    shardy__mutex_lock(&t.lock);
    while (!t.done) {
        shardy__condition_wait(&t.changed, &t.lock);
    }
    shardy__mutex_unlock(&t.lock);
    assert_int_equal(t.done, 1);
    shardy__timer_remove(context->timer, &t.task);
    shardy__condition_destroy(&t.changed);
    shardy__mutex_destroy(&t.lock);
    shardy_store_close(t.store);
    script_store_close(&script);
    shardy_context_free(context);
}

/* A call that is held up until the test lets it go on. */
typedef struct gate {
    mutex lock;
    condition changed;
    int entered;
    int open;
} gate;

static void wait_at_gate(void *user)
{
    gate *g = user;
    shardy__mutex_lock(&g->lock);
    g->entered = 1;
    shardy__condition_broadcast(&g->changed);
    while (!g->open) {
        shardy__condition_wait(&g->changed, &g->lock);
    }
    shardy__mutex_unlock(&g->lock);
}

/* A thread that reads once. */
typedef struct reading {
    shardy_store *store;
    shardy_status status;
    thread thread;
} reading;

static void *read_once(void *arg)
{
    reading *w = arg;
    shardy_error err;
    w->status = get_all(w->store, "k", &err);
    return NULL;
}

static void test_fork__a_child_closes_its_copy_while_a_read_is_repeated(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    script_store script;
    gate g;
    reading w;
    memset(&g, 0, sizeof g);
    memset(&w, 0, sizeof w);
    open_threaded(&context, &script, &w.store);
    shardy__mutex_init(&g.lock);
    shardy__condition_init(&g.changed);
    script_step steps[] = {BEFORE, {.before = wait_at_gate, .user = &g}};
    script_store_set(&script, steps, 2);
    assert_ok(shardy__thread_start(&w.thread, read_once, &w, "test", &err));
    shardy__mutex_lock(&g.lock);
    while (!g.entered) {
        shardy__condition_wait(&g.changed, &g.lock);
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        shardy_store_close(w.store);
        _exit(0);
    }
    g.open = 1;
    shardy__condition_broadcast(&g.changed);
    shardy__mutex_unlock(&g.lock);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    shardy__thread_join(w.thread);
    assert_int_equal(w.status, SHARDY_OK);
    shardy__condition_destroy(&g.changed);
    shardy__mutex_destroy(&g.lock);
    shardy_store_close(w.store);
    script_store_close(&script);
    shardy_context_free(context);
}

/* --- making one ------------------------------------------------------------------------------- */

static void test_retry__takes_the_store_when_asked_to(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    script_store script;
    shardy_store *store;
    script_store_open(&script, NULL);
    assert_ok(shardy__store_wrap_retry_take(NULL, script.store, NULL, &store, &err));
    shardy_store_close(store);
    assert_int_equal(atomic_load(&script.closed), 1);
    script.store = NULL;
    script_store_close(&script);
    script_store_open(&script, NULL);
    options.max_attempts = SHARDY_ATTEMPTS_MAX + 1;
    assert_status(
        SHARDY_INVALID, shardy__store_wrap_retry_take(NULL, script.store, &options, &store, &err));
    assert_null(store);
    script.store = NULL;
    script_store_close(&script);
}

static void test_retry__options_are_checked(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_retry_options options;
    shardy_retry_options_init(&options, sizeof options);
    script_store script;
    shardy_store *store;
    script_store_open(&script, NULL);
    options.max_attempts = SHARDY_ATTEMPTS_MAX + 1;
    assert_status(
        SHARDY_INVALID, shardy_store_wrap_retry(NULL, script.store, &options, &store, &err));
    assert_status(SHARDY_INVALID, shardy_store_wrap_retry(NULL, NULL, NULL, &store, &err));
    assert_null(store);
    script_store_close(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry__a_call_that_fails_in_passing_succeeds),
        cmocka_unit_test(test_retry__answers_are_not_repeated),
        cmocka_unit_test(test_retry__the_last_failure_is_the_answer),
        cmocka_unit_test(test_retry__a_service_that_is_busy_is_asked_until_the_time_is_over),
        cmocka_unit_test(test_retry__waits_any_time_up_to_a_bound_that_doubles),
        cmocka_unit_test(test_retry__a_service_is_left_alone_as_long_as_it_asks),
        cmocka_unit_test(test_retry__who_ends_by_the_deadline_tells_what_went_wrong_before),
        cmocka_unit_test(test_retry__no_wait_goes_beyond_the_deadline),
        cmocka_unit_test(test_retry__cancelling_ends_a_wait),
        cmocka_unit_test(test_budget__holds_the_load_of_many_failures_to_its_share),
        cmocka_unit_test(test_budget__counts_the_requests_that_resolve_a_put),
        cmocka_unit_test(test_budget__without_one_nothing_is_repeated),
        cmocka_unit_test(test_put__whose_answer_was_lost_is_recognised),
        cmocka_unit_test(test_put__that_was_not_done_is_repeated_once_that_is_known),
        cmocka_unit_test(test_put__of_which_nothing_is_known_never_replaces_another),
        cmocka_unit_test(test_put__of_much_is_compared_to_its_last_byte),
        cmocka_unit_test(test_put__of_a_stream_is_not_repeated_and_of_a_file_is),
        cmocka_unit_test(test_reads__only_those_that_failed_are_repeated),
        cmocka_unit_test(test_reads__that_are_repeated_do_not_mix_versions),
        cmocka_unit_test(test_threads__share_one_budget),
        cmocka_unit_test(test_threads__a_task_of_the_timer_may_read),
        cmocka_unit_test(test_fork__a_child_closes_its_copy_while_a_read_is_repeated),
        cmocka_unit_test(test_retry__takes_the_store_when_asked_to),
        cmocka_unit_test(test_retry__options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
