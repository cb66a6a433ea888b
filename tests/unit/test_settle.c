/* Runs whose publisher died, or seems to have: a cleanup ends their PUBLISHING, and whoever comes
 * too late moves no pointer. On a directory and in memory. */
#include "support/cleanup_testing.h"
#include "support/event_store.h"

#define WEEK (7 * 24 * HOUR)

static shardy_etag pointer_version(world *w)
{
    pointer p;
    shardy_etag version;
    assert_ok(shardy__manifest_store_load_current(&w->c.manifests, &p, &version, &err));
    return version;
}

static void assert_current(world *w, const char *run_id)
{
    pointer p;
    shardy_etag version;
    assert_ok(shardy__manifest_store_load_current(&w->c.manifests, &p, &version, &err));
    assert_string_equal(p.run_id, run_id);
}

/* A publisher that died once it had its fate, with its manifest or without. */
static publish_run die_publishing(world *w, const char *run_id, int with_manifest)
{
    publish_run run = begin(w, run_id);
    fate *f = &run.fate;
    shardy_buf image = make_image(run_id, &plain);
    const shardy_bytes bytes = shardy__bytes(image.data, image.len);
    f->has_manifest = 1;
    snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", ref_now(w, run_id));
    assert_ok(shardy__object_digest(bytes.data, bytes.len, &f->manifest_digest, &err));
    f->manifest_size = bytes.len;
    assert_ok(shardy__fate_change(w->context, w->store, f, FATE_PUBLISHING, &err));
    if (with_manifest) {
        assert_ok(shardy__manifest_store_add(&w->c.manifests, f->manifest_ref, bytes, &err));
    }
    shardy_buf_release(&image);
    w->clock.wall_us += HOUR;
    return run;
}

static void set_state(world *w, const char *run_id, int32_t state)
{
    fate f;
    assert_ok(shardy__fate_load(w->store, run_id, &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, state, &err));
}

static void assert_settled(const world *w, size_t i, const char *run_id, const char *state)
{
    assert_true(i < w->result.action_count);
    const shardy_cleanup_action *a = &w->result.actions[i];
    assert_int_equal(a->kind, SHARDY_CLEANUP_SETTLE);
    assert_string_equal(a->run_id, run_id);
    assert_string_equal(a->fate, state);
    assert_int_equal(a->objects, 0);
}

/* --- what becomes of a run -------------------------------------------------------------------- */

static void test_settle__a_run_without_a_manifest_is_condemned_and_goes(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    die_publishing(w, "b", 0);
    const shardy_etag before = pointer_version(w);
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    assert_kept(w, "b", "died while doing so");
    assert_string_equal(left_of(w, "b"), "sr");
    w->clock.wall_us += WEEK;
    assert_ok(clean(w));
    assert_int_equal(w->result.settled, 1);
    assert_int_equal(w->result.action_count, 2);
    assert_settled(w, 0, "b", "CONDEMNED");
    assert_int_equal(w->result.actions[1].kind, SHARDY_CLEANUP_RUN);
    assert_int_equal(w->result.actions[1].objects_deleted, 3);
    assert_int_equal(w->result.kept_count, 0);
    assert_int_equal(state_of(w, "b"), FATE_CONDEMNED);
    assert_string_equal(left_of(w, "b"), "");
    assert_current(w, "a");
    assert_string_not_equal(pointer_version(w).text, before.text);
    assert_ok(clean(w)); /* nothing is left to do */
    assert_int_equal(w->result.action_count, 0);
    close_world(w);
}

static void test_settle__a_complete_run_is_published_and_stays_for_this_time(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    die_publishing(w, "b", 1);
    publish(w, "c");
    publish(w, "d");
    w->clock.wall_us += WEEK;
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_settled(w, 0, "b", "PUBLISHED");
    assert_int_equal(w->result.settled, 1);
    assert_int_equal(w->result.action_count, 2); /* "a" goes */
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHED);
    assert_string_equal(left_of(w, "b"), "msr");
    assert_ok(clean(w));
    assert_int_equal(w->result.settled, 0);
    assert_string_equal(left_of(w, "b"), ""); /* like any other snapshot */
    close_world(w);
}

static void test_settle__whatever_the_retention_says_of_a_run_with_a_manifest(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    die_publishing(w, "b", 1);
    publish(w, "c");
    w->options.include_old_runs = 1;
    assert_ok(clean(w)); /* not yet, and nobody asked for it */
    assert_int_equal(w->result.kept_count, 0);
    assert_int_equal(w->result.action_count, 0);
    w->clock.wall_us += WEEK;
    assert_ok(clean(w));
    assert_settled(w, 0, "b", "PUBLISHED");
    assert_int_equal(w->result.action_count, 1);
    roll_back(w, "b"); /* a snapshot like any other */
    assert_current(w, "b");
    close_world(w);
}

static void test_settle__the_current_run_needs_no_fence(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    set_state(w, "b", FATE_PUBLISHING); /* its publisher died after it had moved the pointer */
    const shardy_etag before = pointer_version(w);
    w->clock.wall_us += 2 * WEEK;
    w->options.keep_last = 5;
    assert_ok(clean(w));
    assert_settled(w, 0, "b", "PUBLISHED");
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHED);
    assert_string_equal(pointer_version(w).text, before.text);
    assert_string_equal(left_of(w, "b"), "msr");
    close_world(w);
}

static void test_settle__a_run_that_a_rollback_left_keeps_what_its_manifest_names(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    saying s = plain;
    s.urls[0] = PREFIX "/shards/run_id=a/db=00000/attempt=00";
    publish_saying(w, "b", &s);
    publish(w, "c");
    set_state(w, "b", FATE_PUBLISHING);
    w->clock.wall_us += 2 * WEEK;
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHED);
    assert_int_equal(state_of(w, "a"), FATE_CONDEMNED);
    assert_object(w->store, "shards/run_id=a/db=00000/attempt=00/shard.db", "a");
    assert_no_object(w->store, "shards/run_id=a/db=00001/attempt=00/shard.db");
    close_world(w);
}

static void test_settle__a_manifest_that_is_damaged_leaves_the_run_as_it_is(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run = die_publishing(w, "b", 1);
    put_ok(w->store, run.fate.manifest_ref, "damaged");
    publish(w, "c");
    w->clock.wall_us += WEEK;
    w->options.keep_last = 1; /* lets go of it, so that it does not stop the cleanup */
    assert_status(SHARDY_CHECKSUM, clean(w));
    assert_int_equal(w->result.failures, 1);
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHING);
    assert_string_equal(left_of(w, "b"), "msr");
    assert_string_equal(left_of(w, "a"), "");
    close_world(w);
}

/* --- when it may not be ----------------------------------------------------------------------- */

static void test_settle__who_is_at_work_or_pinned_or_never_is_left_alone(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    fate f;
    assert_ok(shardy__fate_load(w->store, "a", &f, &err));
    snprintf(f.pins[f.pin_count++], sizeof f.pins[0], "keep");
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_PUBLISHING, &err));
    die_publishing(w, "c", 0);
    w->options.keep_last = 1;
    w->options.settle_after_s = 0;
    put_record(w, "c", RUN_RUNNING); /* a beat of its heart */
    assert_ok(clean(w));
    assert_kept(w, "a", "pinned");
    assert_kept(w, "c", "somebody publishes it");
    w->clock.wall_us += 1000 * WEEK;
    w->options.settle_after_s = -1;
    assert_ok(clean(w));
    assert_kept(w, "a", "pinned");
    assert_kept(w, "c", "somebody publishes it");
    assert_int_equal(w->result.settled, 0);
    assert_int_equal(state_of(w, "c"), FATE_PUBLISHING);
    w->options.settle_after_s = -2;
    assert_status(SHARDY_INVALID, clean(w));
    assert_string_equal(err.message, "settle_after_s is -2, expected -1 or 0 to 3162240000");
    close_world(w);
}

static void test_settle__a_run_without_a_pointer_waits_until_there_is_one(void **state)
{
    world *w = open_world(*state);
    die_publishing(w, "a", 0);
    w->clock.wall_us += WEEK;
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    assert_kept(w, "a", "without a pointer");
    assert_int_equal(state_of(w, "a"), FATE_PUBLISHING);
    publish(w, "b");
    assert_ok(clean(w));
    assert_int_equal(state_of(w, "a"), FATE_CONDEMNED);
    close_world(w);
}

static void test_settle__a_pointer_of_another_program_is_not_written_anew(void **state)
{
    world *w = open_world(*state);
    char text[2000];
    char *at;
    shardy_buf body;
    publish(w, "a");
    die_publishing(w, "b", 0);
    assert_ok(shardy_store_get(w->store, POINTER_KEY, 0, sizeof text, &body, NULL, &err));
    snprintf(text, sizeof text, "%.*s", (int)body.len, (const char *)body.data);
    shardy_buf_release(&body);
    at = strstr(text, "\"shardyfusion\":{");
    assert_non_null(at);
    memmove(at, strchr(at, '}') + 2, strlen(strchr(at, '}') + 2) + 1);
    put_ok(w->store, POINTER_KEY, text);
    w->clock.wall_us += WEEK;
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    assert_kept(w, "b", "another program's form");
    assert_object(w->store, POINTER_KEY, text);
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHING);
    close_world(w);
}

/* A run that no pointer names needs a fence, the current one its fate only. A directory of this
 * machine is not asked. */
static void test_settle__a_store_that_ignores_conditions_is_refused_before_anything_is_written(
    void **state)
{
    const fixture *f = *state;
    const int local = (shardy_store_caps(f->store) & SHARDY_STORE_CAP_OPEN_LOCAL) != 0;
    for (int32_t named = 0; named < 2 && !local; named++) {
        world *w = open_world(f);
        event_log *log = calloc(1, sizeof *log);
        const event_plan plan = {.ignores = SHARDY_PUT_IF_MATCH};
        const char *run_id = named ? "named" : "left";
        shardy_store *careless;
        assert_non_null(log);
        publish(w, named ? run_id : "current");
        if (named) {
            set_state(w, run_id, FATE_PUBLISHING);
        } else {
            die_publishing(w, run_id, 1);
        }
        const shardy_etag before = pointer_version(w);
        w->clock.wall_us += 2 * WEEK;
        w->options.keep_last = 5;
        assert_ok(event_store_open(w->store, log, &plan, &careless, &err));
        w->options.admin.store = careless;
        assert_status(SHARDY_UNSUPPORTED, clean(w));
        assert_non_null(strstr(err.message, "replaced a version that was not there"));
        assert_string_equal(pointer_version(w).text, before.text);
        assert_int_equal(state_of(w, run_id), FATE_PUBLISHING);
        w->options.admin.unsafe_single_writer = 1;
        assert_ok(clean(w));
        assert_settled(w, 0, run_id, "PUBLISHED");
        assert_string_equal(left_of(w, run_id), "msr");
        shardy_store_close(careless);
        free(log);
        close_world(w);
    }
}

/* --- who lives after all ---------------------------------------------------------------------- */

static void clean_a_week_later(void *user)
{
    world *w = user;
    w->clock.wall_us += WEEK + HOUR;
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
}

/* Publishes "b", and is stopped before the manifest or before the pointer for more than a week. */
static shardy_status publish_stalled(world *w, int at_manifest)
{
    event_log *log = calloc(1, sizeof *log);
    const event_plan plan = {.arrive = clean_a_week_later, .user = w, .at_manifest = at_manifest};
    shardy_store *stalling;
    const catalog own = w->c;
    publish_run run = begin(w, "b");
    assert_non_null(log);
    assert_ok(event_store_open(w->store, log, &plan, &stalling, &err));
    const catalog_options o = {.store = stalling};
    assert_ok(shardy__catalog_open(w->context, NULL, &o, &w->c, &err));
    shardy_status st = commit(w, &run, &plain);
    if (st < 0) {
        shardy__publish_abandon(&w->c, &run, "shards");
    }
    shardy__catalog_close(&w->c);
    w->c = own;
    shardy_store_close(stalling);
    free(log);
    return st;
}

static void test_late__a_publisher_that_was_condemned_is_told_and_leaves_nothing(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    assert_status(SHARDY_FENCED, publish_stalled(w, 1));
    assert_non_null(strstr(err.message, "\"b\" was condemned"));
    assert_current(w, "a");
    assert_int_equal(state_of(w, "b"), FATE_CONDEMNED);
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

static void test_late__a_publisher_whose_run_was_complete_has_lost_the_pointer_only(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    assert_status(SHARDY_CONFLICT, publish_stalled(w, 0));
    assert_current(w, "a");
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHED);
    assert_string_equal(left_of(w, "b"), "msr");
    roll_back(w, "b");
    assert_current(w, "b");
    close_world(w);
}

/* What it began with is current, as before: nobody has published meanwhile. */
static void test_late__a_build_that_was_at_work_meanwhile_publishes_all_the_same(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    die_publishing(w, "b", 1);
    w->clock.wall_us += WEEK;
    publish_run at_work = begin(w, "c");
    w->options.keep_last = 9;
    assert_ok(clean(w));
    assert_settled(w, 0, "b", "PUBLISHED");
    assert_ok(commit(w, &at_work, &plain));
    assert_int_equal(at_work.replaced, 0);
    assert_current(w, "c");
    assert_int_equal(state_of(w, "c"), FATE_PUBLISHED);
    close_world(w);
}

/* What it began with is current again, but somebody wanted that. */
static void test_late__a_build_whose_pointer_was_moved_and_rolled_back_has_lost(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run at_work = begin(w, "c");
    publish(w, "b");
    roll_back(w, "a");
    assert_status(SHARDY_CONFLICT, commit(w, &at_work, &plain));
    assert_current(w, "a");
    close_world(w);
}

static void test_late__the_first_pointer_may_still_be_made(void **state)
{
    world *w = open_world(*state);
    assert_ok(publish_stalled(w, 1));
    assert_kept(w, "b", "without a pointer");
    assert_current(w, "b");
    assert_string_equal(left_of(w, "b"), "msr");
    close_world(w);
}

static void test_late__a_manifest_is_in_no_history_and_goes_with_the_next_cleanup(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run = die_publishing(w, "b", 0);
    clean_a_week_later(w);
    shardy_buf image = make_image("b", &plain);
    assert_ok(shardy__manifest_store_add(&w->c.manifests, run.fate.manifest_ref,
        shardy__bytes(image.data, image.len), &err)); /* a request that was long on its way */
    shardy_buf_release(&image);
    assert_string_equal(left_of(w, "b"), "m");
    shardy_history history;
    assert_ok(shardy_history_list(w->context, NULL, 10, &w->options.admin, &history, &err));
    assert_int_equal(history.count, 1);
    assert_string_equal(history.entries[0].run_id, "a");
    assert_int_equal(history.entries[0].offset, 1); /* as rollbacks count */
    shardy_history_dispose(&history);
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

/* --- the plan and what comes of it ------------------------------------------------------------ */

static void test_dry_run__settles_nothing_and_shows_what_would_be(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    die_publishing(w, "b", 0);
    die_publishing(w, "c", 1);
    publish(w, "d");
    w->clock.wall_us += WEEK;
    w->options.keep_last = 2;
    w->options.dry_run = 1;
    const shardy_etag before = pointer_version(w);
    assert_ok(clean(w));
    assert_string_equal(pointer_version(w).text, before.text);
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHING);
    assert_int_equal(state_of(w, "c"), FATE_PUBLISHING);
    shardy_cleanup_result plan = w->result;
    memset(&w->result, 0, sizeof w->result);
    w->options.dry_run = 0;
    assert_ok(clean(w));
    assert_int_equal(plan.settled, 2);
    assert_int_equal(w->result.settled, 2);
    assert_int_equal(plan.action_count, w->result.action_count);
    for (size_t i = 0; i < plan.action_count; i++) {
        assert_int_equal(plan.actions[i].kind, w->result.actions[i].kind);
        assert_string_equal(plan.actions[i].run_id, w->result.actions[i].run_id);
        assert_int_equal(plan.actions[i].objects, w->result.actions[i].objects_deleted);
    }
    shardy_cleanup_result_dispose(&plan);
    close_world(w);
}

/* The store fails from each call on, or does it and the answer is lost. */
static void test_settle__whoever_stops_on_the_way_is_followed_by_the_next(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    w->options.max_retries = 0;
    for (uint32_t when = 0; when < 2; when++) {
        uint64_t failed = 1;
        for (uint64_t nth = 1; failed; nth++) {
            char bare[32];
            char complete[32];
            shardy_store *faults;
            uint64_t calls;
            snprintf(bare, sizeof bare, "bare-%u-%u", when, (unsigned)nth);
            snprintf(complete, sizeof complete, "whole-%u-%u", when, (unsigned)nth);
            die_publishing(w, bare, 0);
            die_publishing(w, complete, 1);
            w->clock.wall_us += WEEK;
            assert_ok(shardy_store_wrap_fault(NULL, w->store, &faults, &err));
            shardy_store_fault_set(
                faults, nth, !when, when ? SHARDY_FAULT_AFTER : SHARDY_FAULT_BEFORE, SHARDY_IO);
            w->options.include_old_runs = 1;
            w->options.admin.store = faults;
            (void)!clean(w);
            shardy_store_fault_counts(faults, &calls, &failed);
            assert_true(state_of(w, complete) != FATE_CONDEMNED);
            assert_current(w, "a");
            w->options.admin.store = w->store;
            shardy_store_close(faults);
            assert_ok(clean(w));
            assert_int_equal(state_of(w, bare), FATE_CONDEMNED);
            assert_int_equal(state_of(w, complete), FATE_PUBLISHED);
            assert_string_equal(left_of(w, bare), "");
            assert_string_equal(left_of(w, complete), "msr");
            w->options.include_old_runs = 0;
            w->options.older_than_s = 0;
            assert_ok(clean(w)); /* each trial begins with what was there at first */
            w->options.older_than_s = -1;
            assert_true(nth < 200);
        }
    }
    close_world(w);
}

/* --- who else has the run --------------------------------------------------------------------- */

/* While a rollback to "b" has its fate and its write of the pointer is on its way, the plan of "b"
 * is published again, and a cleanup comes. */
typedef struct second_holder {
    world *w;
    publish_run run; /* what the plan says */
    int ran;
} second_holder;

static void publish_again_and_clean(void *user)
{
    second_holder *t = user;
    world *w = t->w;
    char url[400];
    publish_run again = t->run;
    if (t->ran++) {
        return;
    }
    assert_ok(shardy__fate_load(w->store, "b", &again.fate, &err));
    assert_int_equal(again.fate.state, FATE_PUBLISHING);
    again.seen_us = 0; /* a plan does not say it */
    again.seen_run_id[0] = '\0';
    shardy_buf image = make_image("b", &plain);
    snprintf(url, sizeof url, "%s/%.300s", PREFIX, t->run.fate.manifest_ref);
    assert_status(SHARDY_CONFLICT, shardy__publish_commit(&w->c, &again, t->run.fate.manifest_ref,
                                       url, shardy__bytes(image.data, image.len), &err));
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHING);
    shardy_buf_release(&image);
    w->options.keep_last = 1;
    assert_ok(clean(w));
}

static void test_holders__a_plan_published_again_leaves_a_rollback_its_fate(void **state)
{
    world *w = open_world(*state);
    second_holder t = {.w = w};
    event_log *log = calloc(1, sizeof *log);
    const event_plan plan = {.arrive = publish_again_and_clean, .user = &t};
    shardy_store *stalling;
    assert_non_null(log);
    publish(w, "a");
    t.run = die_publishing(w, "b", 1);
    publish(w, "c");
    assert_ok(event_store_open(w->store, log, &plan, &stalling, &err));
    shardy_admin_options o = w->options.admin;
    o.store = stalling;
    shardy_rollback_target target;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "b";
    assert_ok(shardy_rollback(w->context, NULL, &target, &o, NULL, &err));
    assert_int_equal(t.ran, 1);
    assert_current(w, "b");
    assert_string_equal(left_of(w, "b"), "msr");
    shardy_store_close(stalling);
    free(log);
    close_world(w);
}

/* A publisher in memory whose store fails at its n-th call. */
typedef struct failing_world {
    fixture own;
    world *w;
    shardy_store *mem;
    event_log *log;
    shardy_store *hooked;
    shardy_store *faults;
    shardy_store *retrying;
    catalog c;
} failing_world;

static void open_failing(failing_world *f, void (*before_read)(void *user), int32_t retries)
{
    shardy_retry_options retry;
    memset(f, 0, sizeof *f);
    assert_ok(shardy_store_open_mem(NULL, &f->mem, &err));
    f->own.store = f->mem;
    f->w = open_world(&f->own);
    f->log = calloc(1, sizeof *f->log);
    assert_non_null(f->log);
    const event_plan plan = {.before_read = before_read, .user = f->w};
    assert_ok(event_store_open(f->mem, f->log, &plan, &f->hooked, &err));
    assert_ok(shardy_store_wrap_fault(NULL, f->hooked, &f->faults, &err));
    shardy_retry_options_init(&retry, sizeof retry);
    retry.max_attempts = retries ? retry.max_attempts : 1;
    assert_ok(shardy_store_wrap_retry(f->w->context, f->faults, &retry, &f->retrying, &err));
    const catalog_options o = {.store = f->retrying};
    assert_ok(shardy__catalog_open(f->w->context, NULL, &o, &f->c, &err));
}

static void close_failing(failing_world *f)
{
    shardy__catalog_close(&f->c);
    shardy_store_close(f->retrying);
    shardy_store_close(f->faults);
    shardy_store_close(f->hooked);
    free(f->log);
    close_world(f->w);
    shardy_store_close(f->mem);
}

/* The pointer was moved to "b": a cleanup that settles another run writes it anew. */
static void fence_once(void *user)
{
    world *w = user;
    pointer p;
    shardy_etag version;
    int32_t open;
    shardy_error e;
    if (shardy__manifest_store_load_current(&w->c.manifests, &p, &version, &e) == SHARDY_OK &&
        strcmp(p.run_id, "b") == 0 && p.generation == 2) {
        p.generation++;
        shardy__rand_hex32(w->context, p.nonce);
        assert_ok(shardy__manifest_store_set_current(&w->c.manifests, &p, &version, &open, &e));
    }
}

static void test_fence__does_not_make_a_loser_of_whose_answer_was_lost(void **state)
{
    uint64_t failed = 1;
    (void)state;
    for (uint64_t nth = 1; failed; nth++) {
        failing_world f;
        uint64_t calls;
        open_failing(&f, fence_once, 1);
        publish(f.w, "a");
        publish_run run = begin(f.w, "b");
        shardy_store_fault_set(f.faults, nth, 0, SHARDY_FAULT_AFTER, SHARDY_UNAVAILABLE);
        world publisher = *f.w;
        publisher.c = f.c;
        assert_ok(commit(&publisher, &run, &plain));
        shardy_store_fault_counts(f.faults, &calls, &failed);
        assert_current(f.w, "b");
        close_failing(&f);
        assert_true(nth < 100);
    }
}

static void test_publish__who_lost_has_lost_when_asked_again(void **state)
{
    uint64_t failed = 1;
    (void)state;
    for (uint64_t nth = 1; failed; nth++) {
        failing_world f;
        uint64_t calls;
        char url[400];
        char ref[300];
        open_failing(&f, NULL, 0);
        publish(f.w, "a");
        publish_run run = begin(f.w, "b");
        publish(f.w, "c");
        shardy_buf image = make_image("b", &plain);
        const shardy_bytes bytes = shardy__bytes(image.data, image.len);
        snprintf(ref, sizeof ref, "%s", ref_now(f.w, "b"));
        snprintf(url, sizeof url, "%s/%s", PREFIX, ref);
        shardy_store_fault_set(f.faults, nth, 0, SHARDY_FAULT_BEFORE, SHARDY_UNAVAILABLE);
        assert_true(shardy__publish_commit(&f.c, &run, ref, url, bytes, &err) < 0);
        shardy_store_fault_counts(f.faults, &calls, &failed);
        assert_true(shardy__publish_commit(&f.c, &run, ref, url, bytes, &err) < 0);
        assert_current(f.w, "c");
        shardy_buf_release(&image);
        close_failing(&f);
        assert_true(nth < 100);
    }
}

/* --- whether the store was asked -------------------------------------------------------------- */

static void pin_a(void *user)
{
    world *w = user;
    shardy_rollback_target target;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "a";
    assert_ok(shardy_pin_add(w->context, NULL, "keep", &target, &w->options.admin, NULL, &err));
}

/* Versions of this store count: one that is tried out must not become the next one. */
static void test_conditions__trying_them_out_meets_no_version_to_come(void **state)
{
    (void)state;
    for (char last = '0'; last <= '9'; last++) {
        failing_world f;
        shardy_cleanup_result result;
        shardy_store *hooked;
        fate a;
        open_failing(&f, NULL, 0);
        world *w = f.w;
        publish(w, "a");
        publish(w, "b");
        assert_ok(shardy__fate_load(w->store, "a", &a, &err));
        while (a.version.text[strlen(a.version.text) - 1] != last) {
            assert_ok(shardy__fate_change(w->context, w->store, &a, FATE_PUBLISHED, &err));
        }
        const event_plan plan = {.arrive = pin_a, .user = w, .at_adoption = 1};
        assert_ok(event_store_open(w->store, f.log, &plan, &hooked, &err));
        shardy_cleanup_options o = w->options;
        o.older_than_s = 0;
        o.admin.store = hooked;
        assert_ok(shardy_cleanup(w->context, NULL, &o, &result, &err));
        shardy_cleanup_result_dispose(&result);
        assert_ok(shardy__fate_load(w->store, "a", &a, &err));
        assert_int_equal(a.pin_count, 1);
        assert_string_equal(left_of(w, "a"), "msr");
        shardy_store_close(hooked);
        close_failing(&f);
    }
}

/* --- manifests elsewhere ---------------------------------------------------------------------- */

/* What a publish whose manifests are in a database leaves beside its shards is a fate that names
 * the manifest by the run id. */
static void test_settle__a_run_whose_manifest_is_in_another_store_is_not_judged(void **state)
{
    static const int32_t states[] = {FATE_PUBLISHED, FATE_PUBLISHING};
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "c");
    for (size_t i = 0; i < 2; i++) {
        const char *run_id = i ? "moving" : "moved";
        publish_run run = begin(w, run_id);
        fate *f = &run.fate;
        f->has_manifest = 1;
        snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", run_id);
        f->manifest_size = 4096;
        assert_ok(shardy__fate_change(w->context, w->store, f, states[i], &err));
    }
    w->clock.wall_us += 2 * WEEK;
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    for (size_t i = 0; i < 2; i++) {
        const char *run_id = i ? "moving" : "moved";
        assert_int_equal(state_of(w, run_id), states[i]);
        assert_string_equal(left_of(w, run_id), "sr");
        assert_kept(w, run_id, "is none of this manifest store");
    }
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_settle__a_run_without_a_manifest_is_condemned_and_goes),
        STORE_TEST(test_settle__a_complete_run_is_published_and_stays_for_this_time),
        STORE_TEST(test_settle__whatever_the_retention_says_of_a_run_with_a_manifest),
        STORE_TEST(test_settle__the_current_run_needs_no_fence),
        STORE_TEST(test_settle__a_run_that_a_rollback_left_keeps_what_its_manifest_names),
        STORE_TEST(test_settle__a_manifest_that_is_damaged_leaves_the_run_as_it_is),
        STORE_TEST(test_settle__who_is_at_work_or_pinned_or_never_is_left_alone),
        STORE_TEST(
            test_settle__a_store_that_ignores_conditions_is_refused_before_anything_is_written),
        STORE_TEST(test_settle__a_run_without_a_pointer_waits_until_there_is_one),
        STORE_TEST(test_settle__a_pointer_of_another_program_is_not_written_anew),
        STORE_TEST(test_late__a_publisher_that_was_condemned_is_told_and_leaves_nothing),
        STORE_TEST(test_late__a_publisher_whose_run_was_complete_has_lost_the_pointer_only),
        STORE_TEST(test_late__a_build_that_was_at_work_meanwhile_publishes_all_the_same),
        STORE_TEST(test_late__a_build_whose_pointer_was_moved_and_rolled_back_has_lost),
        STORE_TEST(test_late__the_first_pointer_may_still_be_made),
        STORE_TEST(test_late__a_manifest_is_in_no_history_and_goes_with_the_next_cleanup),
        STORE_TEST(test_dry_run__settles_nothing_and_shows_what_would_be),
        STORE_TEST(test_settle__whoever_stops_on_the_way_is_followed_by_the_next),
        STORE_TEST(test_holders__a_plan_published_again_leaves_a_rollback_its_fate),
        STORE_TEST(test_settle__a_run_whose_manifest_is_in_another_store_is_not_judged),
        cmocka_unit_test(test_fence__does_not_make_a_loser_of_whose_answer_was_lost),
        cmocka_unit_test(test_publish__who_lost_has_lost_when_asked_again),
        cmocka_unit_test(test_conditions__trying_them_out_meets_no_version_to_come),
    };
    static const scenario list[] = {FS, MEM};
    return fixture_run(tests, sizeof tests / sizeof tests[0], list, 2);
}
