/* The run record of a build: its lease is renewed while the build lasts, and not after. */
#include "base/context.h"
#include "catalog/run_record.h"
#include "support/hand_clock.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

typedef struct beat_fixture {
    hand_clock clock;
    shardy_context *context;
    shardy_store *store;
} beat_fixture;

static int setup(void **state)
{
    beat_fixture *f = calloc(1, sizeof *f);
    f->context = hand_clock_context(&f->clock);
    assert_ok(shardy_store_open_mem(f->context, &f->store, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    beat_fixture *f = *state;
    shardy_store_close(f->store);
    shardy_context_free(f->context);
    free(f);
    return 0;
}

/* The only record there is. */
static void load_record(const beat_fixture *f, run_record *out)
{
    shardy_store_page page;
    size_t found = 0;
    memset(out, 0, sizeof *out);
    assert_ok(shardy_store_list(f->store, "runs/", 0, NULL, 10, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        shardy_buf body;
        if (!strstr(page.entries[i].key, "/run.yaml")) {
            continue;
        }
        assert_ok(shardy_store_get(
            f->store, page.entries[i].key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        assert_ok(shardy__run_record_parse((shardy_bytes){body.data, body.len}, out, &err));
        shardy_buf_release(&body);
        found++;
    }
    shardy_store_page_dispose(&page);
    assert_int_equal(found, 1);
}

static void pass(beat_fixture *f, int64_t us)
{
    f->clock.wall_us += us;
    f->clock.monotonic_ns += us * 1000;
}

/* A row that is so long that the writer looks at the clock. */
static void put_row(shardy_writer *w, int64_t key)
{
    static char value[70000];
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_int(key);
    row.value = (shardy_bytes){value, sizeof value};
    assert_ok(shardy_writer_put(w, &row, &err));
}

static shardy_writer_options options_of(const beat_fixture *f)
{
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.store = f->store;
    options.num_dbs = 1;
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    return options;
}

static void test_heartbeat__renews_the_lease_once_a_minute(void **state)
{
    beat_fixture *f = *state;
    shardy_writer_options options = options_of(f);
    shardy_writer *w;
    run_record first;
    run_record now;
    assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
    load_record(f, &first);
    assert_int_equal(first.status, RUN_RUNNING);
    assert_int_equal(first.lease_expires_us, first.updated_us + RUN_RECORD_LEASE_US);
    pass(f, RUN_RECORD_HEARTBEAT_US - 1000000);
    put_row(w, 1);
    load_record(f, &now);
    assert_int_equal(now.lease_expires_us, first.lease_expires_us);
    pass(f, 2000000);
    put_row(w, 2);
    load_record(f, &now);
    assert_true(now.lease_expires_us >= first.lease_expires_us + RUN_RECORD_HEARTBEAT_US);
    assert_int_equal(now.status, RUN_RUNNING);
    assert_int_equal(now.started_us, first.started_us);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    load_record(f, &now);
    assert_int_equal(now.status, RUN_SUCCEEDED);
    /* the writer is still open, its run is not */
    pass(f, 10 * RUN_RECORD_HEARTBEAT_US);
    shardy__timer_poll(f->context->timer);
    run_record later;
    load_record(f, &later);
    assert_int_equal(later.status, RUN_SUCCEEDED);
    assert_int_equal(later.updated_us, now.updated_us);
    shardy_writer_close(w);
}

static void test_heartbeat__stops_when_the_build_is_abandoned(void **state)
{
    beat_fixture *f = *state;
    shardy_writer_options options = options_of(f);
    shardy_writer *w;
    run_record now;
    assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
    shardy_writer_close(w);
    pass(f, 10 * RUN_RECORD_HEARTBEAT_US);
    shardy__timer_poll(f->context->timer);
    load_record(f, &now);
    assert_int_equal(now.status, RUN_FAILED);
}

/* A failed heartbeat is no failure of the build. */
static void test_heartbeat__may_fail_without_harm(void **state)
{
    beat_fixture *f = *state;
    shardy_writer_options options = options_of(f);
    shardy_writer *w;
    shardy_store *faults;
    assert_ok(shardy_store_wrap_fault(f->context, f->store, &faults, &err));
    options.store = faults;
    assert_ok(shardy_writer_open(f->context, NULL, &options, &w, &err));
    pass(f, 2 * RUN_RECORD_HEARTBEAT_US);
    shardy_store_fault_set(faults, 1, 1, SHARDY_FAULT_BEFORE, SHARDY_UNAVAILABLE);
    put_row(w, 1);
    uint64_t calls = 0;
    uint64_t failed = 0;
    shardy_store_fault_counts(faults, &calls, &failed);
    assert_true(failed > 0);
    shardy_store_fault_set(faults, 0, 0, SHARDY_FAULT_BEFORE, SHARDY_UNAVAILABLE);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    shardy_store_close(faults);
}

/* Who made the plan does not know that somebody else has ended its run. */
static void test_heartbeat__does_not_bring_an_ended_run_back(void **state)
{
    beat_fixture *f = *state;
    shardy_writer_options options = options_of(f);
    options.key_encoding = SHARDY_KEY_ENCODING_U64BE;
    shardy_plan *plan;
    run_record now;
    assert_ok(shardy_plan_new(f->context, NULL, &options, &plan, &err));
    load_record(f, &now);
    snprintf(now.key, sizeof now.key, "%s", "");
    shardy_store_page page;
    assert_ok(shardy_store_list(f->store, "runs/", 0, NULL, 10, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        if (strstr(page.entries[i].key, "/run.yaml")) {
            snprintf(now.key, sizeof now.key, "%s", page.entries[i].key);
        }
    }
    shardy_store_page_dispose(&page);
    now.status = RUN_SUCCEEDED;
    assert_ok(shardy__run_record_write(f->context, f->store, &now, &err));
    pass(f, 2 * RUN_RECORD_HEARTBEAT_US);
    shardy__timer_poll(f->context->timer);
    load_record(f, &now);
    assert_int_equal(now.status, RUN_SUCCEEDED);
    shardy_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_heartbeat__renews_the_lease_once_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_heartbeat__stops_when_the_build_is_abandoned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_heartbeat__may_fail_without_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_heartbeat__does_not_bring_an_ended_run_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
