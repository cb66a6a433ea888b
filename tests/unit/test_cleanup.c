/* What a cleanup removes and what it never touches, on a directory and in memory. */
#include "support/cleanup_testing.h"

#include "catalog/run_layout.h"

/* --- stale attempts --------------------------------------------------------------------------- */

static void test_stale__attempts_that_no_manifest_names_are_removed(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    put_shard(w, "a", 0, 1); /* of another run: not asked for */
    put_shard(w, "b", 1, 1);
    put_shard(w, "b", 7, 100); /* a shard that came out empty */
    assert_ok(clean(w));
    assert_string_equal(w->result.run_id, "b");
    assert_int_equal(w->result.action_count, 2);
    assert_int_equal(w->result.actions[0].db_id, 1);
    assert_non_null(strstr(w->result.actions[0].prefix_url, "/run_id=b/db=00001/attempt=01/"));
    assert_int_equal(w->result.actions[0].objects_deleted, 1);
    assert_int_equal(w->result.actions[1].db_id, -1);
    assert_int_equal(w->result.objects_deleted, 2);
    assert_no_object(w->store, "shards/run_id=b/db=00001/attempt=01/shard.db");
    assert_object(w->store, "shards/run_id=b/db=00001/attempt=00/shard.db", "b");
    assert_object(w->store, "shards/run_id=a/db=00000/attempt=01/shard.db", "a");
    close_world(w);
}

static void test_stale__an_attempt_that_another_run_names_stays(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    put_shard(w, "a", 0, 1);
    saying s = plain;
    s.urls[0] = PREFIX "/shards/run_id=a/db=00000/attempt=01";
    publish_saying(w, "b", &s);
    roll_back(w, "a");
    assert_ok(clean(w));
    assert_int_equal(w->result.action_count, 0);
    assert_object(w->store, "shards/run_id=a/db=00000/attempt=01/shard.db", "a");
    close_world(w);
}

static void test_stale__those_of_a_run_that_is_not_yet_published_stay(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    fate f;
    assert_ok(shardy__fate_load(w->store, "a", &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_PUBLISHING, &err));
    put_shard(w, "a", 0, 1);
    assert_ok(clean(w));
    assert_kept(w, "a", "about to become current");
    assert_object(w->store, "shards/run_id=a/db=00000/attempt=01/shard.db", "a");
    close_world(w);
}

static void test_stale__more_than_a_page_of_them_go(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    for (unsigned i = 0; i < 2100; i++) {
        char key[200];
        snprintf(key, sizeof key, "shards/run_id=a/db=00000/attempt=%02u/wal/%05u", 1 + i % 2, i);
        put_ok(w->store, key, "x");
    }
    assert_ok(clean(w));
    assert_int_equal(w->result.action_count, 2);
    assert_int_equal(w->result.objects_deleted, 2100);
    assert_int_equal(w->result.actions[1].objects_deleted, 1050);
    assert_listing(w->store, "shards/", 0,
        "shards/run_id=a/db=00000/attempt=00/shard.db "
        "shards/run_id=a/db=00001/attempt=00/shard.db ");
    close_world(w);
}

/* --- retention -------------------------------------------------------------------------------- */

static void publish_three(world *w)
{
    publish(w, "a");
    publish(w, "b");
    publish(w, "c");
}

static void test_runs__only_the_newest_are_kept(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_int_equal(w->result.action_count, 1);
    assert_int_equal(w->result.actions[0].kind, SHARDY_CLEANUP_RUN);
    assert_string_equal(w->result.actions[0].run_id, "a");
    assert_int_equal(w->result.actions[0].objects, 4);
    assert_int_equal(w->result.actions[0].objects_deleted, 4);
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "msr");
    assert_string_equal(left_of(w, "c"), "msr");
    assert_int_equal(state_of(w, "a"), FATE_CONDEMNED); /* its name is taken for ever */
    publish_run run;
    assert_status(SHARDY_EXISTS, shardy__publish_begin(&w->c, "a", "shards", "test", &run, &err));
    shardy_history history;
    assert_ok(shardy_history_list(w->context, NULL, 10, &w->options.admin, &history, &err));
    assert_int_equal(history.count, 2);
    shardy_history_dispose(&history);
    assert_ok(clean(w)); /* nothing is left to do */
    assert_int_equal(w->result.action_count, 0);
    close_world(w);
}

static void test_runs__older_than_a_time_go(void **state)
{
    world *w = open_world(*state);
    publish_three(w); /* three, two and one hours ago */
    w->options.older_than_s = 9000;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "msr");
    w->options.older_than_s = 0;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "c"), "msr"); /* current */
    close_world(w);
}

static void test_runs__go_only_when_every_criterion_lets_go(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    w->options.older_than_s = 0;
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "msr");
    close_world(w);
}

static void test_runs__with_a_manifest_are_not_old_runs_by_themselves(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    w->clock.wall_us += 1000 * HOUR;
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    assert_int_equal(w->result.action_count, 0);
    assert_string_equal(left_of(w, "a"), "msr");
    close_world(w);
}

static void test_runs__that_were_published_stay_when_those_that_were_not_are_asked_for(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    begin(w, "d");
    w->clock.wall_us += 1000 * HOUR;
    w->options.include_old_runs = 1;
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "msr");
    assert_string_equal(left_of(w, "b"), "msr");
    assert_string_equal(left_of(w, "d"), "");
    w->options.include_old_runs = 0;
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "msr");
    close_world(w);
}

static void test_runs__what_is_current_stays_whatever_is_asked_for(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    roll_back(w, "a");
    w->options.keep_last = 1;
    shardy_history history;
    assert_ok(shardy_history_list(w->context, NULL, 10, &w->options.admin, &history, &err));
    w->options.ref = history.entries[1].ref; /* neither current nor the newest */
    assert_ok(clean(w));
    shardy_history_dispose(&history);
    assert_string_equal(w->result.run_id, "b");
    assert_string_equal(left_of(w, "a"), "msr");
    assert_string_equal(left_of(w, "b"), "msr");
    assert_string_equal(left_of(w, "c"), "msr");
    w->options.ref = NULL;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "msr");
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "c"), "msr");
    close_world(w);
}

static void test_runs__without_a_pointer_nothing_published_is_removed(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    assert_ok(remove_key(w->store, POINTER_KEY, &err));
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_kept(w, "a", "there is no pointer");
    assert_string_equal(left_of(w, "a"), "msr");
    w->options.keep_last = 0;
    assert_status(SHARDY_INVALID, clean(w));
    close_world(w);
}

static void test_runs__a_name_that_begins_like_another_is_another(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "ab");
    publish(w, "a-b");
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "ab"), "msr");
    assert_string_equal(left_of(w, "a-b"), "msr");
    close_world(w);
}

static void test_runs__shards_that_a_later_manifest_names_stay(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    saying s = plain;
    s.urls[0] = PREFIX "/shards/run_id=a/db=00000/attempt=00";
    publish_saying(w, "b", &s);
    publish(w, "c");
    roll_back(w, "b");
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "s");
    assert_object(w->store, "shards/run_id=a/db=00000/attempt=00/shard.db", "a");
    assert_no_object(w->store, "shards/run_id=a/db=00001/attempt=00/shard.db");
    assert_int_equal(w->result.action_count, 2);
    assert_int_equal(w->result.actions[0].kind, SHARDY_CLEANUP_STALE_ATTEMPT);
    assert_int_equal(w->result.actions[1].objects_deleted, 3);
    /* once nothing names them they go, in one cleanup with the run that did */
    publish(w, "d");
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "a"), "");
    close_world(w);
}

/* --- who is at work --------------------------------------------------------------------------- */

static void test_runs__of_a_writer_at_work_stay_until_its_lease_is_over(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run = begin(w, "b");
    w->options.include_old_runs = 1;
    assert_ok(clean(w));
    assert_kept(w, "b", "its lease ends at");
    assert_string_equal(left_of(w, "b"), "sr");
    w->clock.wall_us += HOUR;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_int_equal(w->result.objects_deleted, 3);
    /* the writer lives after all, and is told */
    assert_status(SHARDY_FENCED, commit(w, &run, &plain));
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

static void test_runs__that_failed_go(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    begin(w, "b");
    put_record(w, "c", RUN_FAILED); /* nothing but a record */
    put_shard(w, "c", 0, 0);
    w->clock.wall_us += HOUR;
    w->options.keep_last = 1;
    w->options.older_than_s = 2 * 3600;
    assert_ok(clean(w));
    assert_kept(w, "b", "younger");
    w->options.older_than_s = -1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "c"), "");
    assert_int_equal(state_of(w, "c"), FATE_CONDEMNED);
    close_world(w);
}

static void test_runs__without_a_record_are_given_a_day(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run;
    assert_ok(shardy__publish_begin(&w->c, "b", "shards", "test", &run, &err));
    w->options.include_old_runs = 1;
    put_shard(w, "b", 0, 0);
    assert_ok(clean(w));
    assert_kept(w, "b", "no run record");
    assert_string_equal(left_of(w, "b"), "s");
    w->clock.wall_us += 20000 * 24 * HOUR; /* objects have the time of the store */
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

static void test_runs__whose_record_cannot_be_read_stay_and_that_is_told(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    begin(w, "b");
    begin(w, "c");
    w->clock.wall_us += HOUR;
    put_ok(w->store,
        "runs/2026-01-02T03:04:05.000000Z_run_id=b_00112233445566778899aabbccddeeff/run.yaml",
        "lease_expires_at: for ever\n");
    w->options.include_old_runs = 1;
    assert_status(SHARDY_CORRUPT, clean(w));
    assert_int_equal(w->result.failures, 1);
    assert_kept(w, "b", "run record");
    assert_string_equal(left_of(w, "b"), "sr");
    assert_string_equal(left_of(w, "c"), "");
    assert_int_equal(w->result.objects_deleted, 3);
    close_world(w);
}

static void test_runs__about_to_become_current_stay_where_nothing_is_settled(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    fate f;
    assert_ok(shardy__fate_load(w->store, "a", &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_PUBLISHING, &err));
    w->options.keep_last = 1;
    w->options.settle_after_s = -1;
    w->clock.wall_us += 100000 * HOUR;
    assert_ok(clean(w));
    assert_kept(w, "a", "a rollback to it ends that");
    assert_string_equal(left_of(w, "a"), "msr");
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

typedef struct meanwhile {
    world *w;
    publish_run run;
    int calls;
} meanwhile;

/* Other pointers were looked for, and the manifests were listed. */
static int32_t publish_two(void *user, uint64_t deleted, uint64_t objects)
{
    meanwhile *m = user;
    (void)deleted;
    (void)objects;
    if (m->calls++ == 1) {
        assert_ok(commit(m->w, &m->run, &plain));
        publish(m->w, "c");
    }
    return 0;
}

static void test_runs__that_were_published_meanwhile_are_not_taken_for_failed_ones(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    meanwhile m = {.w = w, .run = begin(w, "b")};
    w->clock.wall_us += 100 * HOUR;
    w->options.include_old_runs = 1;
    w->options.progress = publish_two;
    w->options.progress_user = &m;
    assert_ok(clean(w));
    assert_kept(w, "b", "its manifest is there");
    assert_string_equal(left_of(w, "b"), "msr");
    assert_int_equal(state_of(w, "b"), FATE_PUBLISHED);
    assert_string_equal(left_of(w, "c"), "msr");
    close_world(w);
}

static void test_runs__half_removed_are_finished_by_the_next_cleanup(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    fate f;
    assert_ok(shardy__fate_load(w->store, "b", &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_CONDEMNED, &err));
    w->options.include_old_runs = 1; /* its manifest is there, but counts no more */
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "a"), "msr");
    close_world(w);
}

static void test_runs__of_the_reference_are_adopted_as_they_are(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    remove_fate(w, "a");
    remove_fate(w, "b");
    put_shard(w, "x", 0, 0); /* a run of it that failed long ago */
    put_record(w, "x", RUN_RUNNING);
    put_ok(w->store, "vector_meta/run_id=x/centroids.npy", "x");
    w->clock.wall_us += HOUR;
    w->options.keep_last = 2;
    w->options.dry_run = 1;
    assert_ok(clean(w));
    assert_int_equal(w->result.action_count, 2);
    assert_int_equal(state_of(w, "a"), 0); /* a dry run writes nothing */
    w->options.dry_run = 0;
    assert_ok(clean(w));
    assert_int_equal(state_of(w, "a"), FATE_CONDEMNED);
    assert_int_equal(state_of(w, "x"), FATE_CONDEMNED);
    assert_int_equal(state_of(w, "b"), 0);
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "x"), "");
    assert_no_object(w->store, "vector_meta/run_id=x/centroids.npy");
    assert_string_equal(left_of(w, "b"), "msr");
    close_world(w);
}

static void test_rollback__to_a_run_that_was_adopted_before_it_was_published_works(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    fate f;
    remove_fate(w, "a");
    shardy__fate_adopted("a", &f);
    f.state = FATE_WRITING;
    assert_ok(shardy__fate_create(w->context, w->store, &f, &err));
    roll_back(w, "a");
    assert_int_equal(state_of(w, "a"), FATE_PUBLISHED);
    close_world(w);
}

/* --- pins ------------------------------------------------------------------------------------- */

static shardy_status pin(world *w, const char *name, const char *run_id)
{
    shardy_rollback_target target;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = run_id;
    memset(&err, 0, sizeof err);
    return shardy_pin_add(
        w->context, NULL, name, run_id ? &target : NULL, &w->options.admin, NULL, &err);
}

static void test_pin__keeps_a_run_until_it_is_taken_off(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    assert_ok(pin(w, "audit-2026", "a"));
    assert_ok(pin(w, "audit-2026", "a")); /* it has it */
    assert_ok(pin(w, "good", NULL));
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_kept(w, "a", "\"audit-2026\"");
    assert_string_equal(left_of(w, "a"), "msr");
    assert_string_equal(left_of(w, "b"), "");
    shardy_history history;
    assert_ok(shardy_history_list(w->context, NULL, 10, &w->options.admin, &history, &err));
    assert_int_equal(history.entries[0].pin_count, 1);
    assert_string_equal(history.entries[0].pins[0], "good");
    assert_string_equal(history.entries[1].pins[0], "audit-2026");
    shardy_history_dispose(&history);
    roll_back(w, "a"); /* a rollback leaves the pin where it is */
    roll_back(w, "c");
    uint32_t removed;
    assert_ok(
        shardy_pin_remove(w->context, NULL, "audit-2026", NULL, &w->options.admin, &removed, &err));
    assert_int_equal(removed, 1);
    assert_status(SHARDY_NOT_FOUND,
        shardy_pin_remove(w->context, NULL, "audit-2026", NULL, &w->options.admin, &removed, &err));
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    close_world(w);
}

static void test_pin__several_have_their_limit_and_go_one_by_one(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    for (unsigned i = 0; i < FATE_PINS_MAX; i++) {
        char name[64];
        snprintf(name, sizeof name, "%063u", i);
        assert_ok(pin(w, name, "a"));
    }
    assert_status(SHARDY_EXHAUSTED, pin(w, "more", "a"));
    assert_status(SHARDY_INVALID, pin(w, "", "a"));
    assert_status(SHARDY_INVALID, pin(w, "a b", "a"));
    assert_status(SHARDY_INVALID,
        pin(w, "0000000000000000000000000000000000000000000000000000000000000000", "a"));
    assert_status(SHARDY_INVALID, pin(w, "x", "none"));
    char name[64];
    uint32_t removed;
    snprintf(name, sizeof name, "%063u", 7u);
    assert_ok(shardy_pin_remove(w->context, NULL, name, NULL, &w->options.admin, &removed, &err));
    fate f;
    assert_ok(shardy__fate_load(w->store, "a", &f, &err));
    assert_int_equal(f.pin_count, FATE_PINS_MAX - 1);
    assert_string_equal(f.pins[7] + 61, "08");
    assert_string_equal(f.pins[62] + 61, "63");
    close_world(w);
}

static void test_pin__adopts_runs_of_the_reference(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    remove_fate(w, "a");
    assert_ok(pin(w, "keep", "a"));
    assert_int_equal(state_of(w, "a"), FATE_PUBLISHED);
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_kept(w, "a", "\"keep\"");
    close_world(w);
}

static void test_pin__is_refused_for_what_is_condemned_or_at_work(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    fate f;
    assert_ok(shardy__fate_load(w->store, "a", &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_PUBLISHING, &err));
    assert_status(SHARDY_INVALID, pin(w, "keep", "a"));
    assert_ok(shardy__fate_load(w->store, "b", &f, &err));
    assert_ok(shardy__fate_change(w->context, w->store, &f, FATE_CONDEMNED, &err));
    assert_status(SHARDY_GONE, pin(w, "keep", "b"));
    close_world(w);
}

/* --- what is not understood ------------------------------------------------------------------- */

static void test_unknown__objects_stop_it_for_their_run_unless_forced(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    put_ok(w->store, "shards/run_id=a/db=00000/attempt=00/shard.index", "new");
    put_ok(w->store, "shards/run_id=c/notes.txt", "mine");
    put_shard(w, "c", 0, 1);
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_kept(w, "a", "shard.index");
    assert_kept(w, "c", "notes.txt");
    assert_string_equal(left_of(w, "a"), "msr");
    assert_int_equal(state_of(w, "a"), FATE_PUBLISHED);
    assert_object(w->store, "shards/run_id=c/db=00000/attempt=01/shard.db", "c");
    assert_string_equal(left_of(w, "b"), "");
    w->options.force = 1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_no_object(w->store, "shards/run_id=c/notes.txt");
    assert_no_object(w->store, "shards/run_id=c/db=00000/attempt=01/shard.db");
    assert_object(w->store, "shards/run_id=c/db=00000/attempt=00/shard.db", "c");
    close_world(w);
}

/* All keys, to see that nothing was touched. */
static void assert_untouched(world *w, shardy_status expected)
{
    char *before = list_text(w->store, "", 0, 1000);
    assert_status(expected, clean(w));
    char *after = list_text(w->store, "", 0, 1000);
    assert_string_equal(before, after);
    assert_int_equal(w->result.action_count, 0);
    free(before);
    free(after);
}

static void test_manifest__that_names_another_prefix_stops_it(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    put_ok(w->store, "other/run_id=d/db=00000/attempt=01/shard.db", "not ours");
    saying s = plain;
    s.shard_prefix = "other";
    publish_saying(w, "d", &s);
    w->options.keep_last = 1;
    assert_untouched(w, SHARDY_INVALID);
    assert_non_null(strstr(err.message, "\"other\""));
    roll_back(w, "c"); /* also when another one names it */
    w->options.keep_last = 0;
    assert_untouched(w, SHARDY_INVALID);
    close_world(w);
}

static void test_manifest__that_leads_out_of_its_prefix_stops_it(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    saying s = plain;
    s.urls[1] = "s3://bucket/settled/shards/run_id=a/db=00000/attempt=00";
    publish_run run = begin(w, "d");
    assert_ok(commit(w, &run, &s));
    w->options.keep_last = 1;
    assert_untouched(w, SHARDY_CORRUPT);
    close_world(w);
}

static void test_manifest__that_cannot_be_read_stops_it_unless_it_goes_itself(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    char ref[300] = "";
    char *all = list_text(w->store, "manifests/", 0, 1000);
    snprintf(ref, sizeof ref, "%.*s", (int)strcspn(all, " "), all);
    assert_non_null(strstr(ref, "run_id=a/"));
    free(all);
    put_ok(w->store, ref, "damaged");
    w->options.keep_last = 3;
    assert_untouched(w, SHARDY_CHECKSUM);
    w->options.keep_last = 2;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    close_world(w);
}

/* Changes a bit of a run's fate. */
static void damage_fate(world *w, const char *run_id)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char text[2000];
    shardy_buf body;
    shardy__fate_key(run_id, key);
    assert_ok(shardy_store_get(w->store, key, 0, sizeof text - 1, &body, NULL, &err));
    memcpy(text, body.data, body.len);
    text[body.len] = '\0';
    char *generation = strstr(text, "\"generation\":");
    assert_non_null(generation);
    generation[strlen("\"generation\":")] ^= 1;
    put_ok(w->store, key, text);
    shardy_buf_release(&body);
}

static void test_fate__that_cannot_be_believed_stops_it_until_it_is_taken_away(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    damage_fate(w, "a");
    w->options.keep_last = 1;
    w->options.force = 1;
    assert_untouched(w, SHARDY_CHECKSUM);
    assert_string_equal(err.message,
        "nothing is removed while the fate of run \"a\" cannot be read: runs/run_id=a/fate: the "
        "fate of a run was changed after it was written: it differs from its own digest \"check\"");
    w->options.keep_last = 3;
    assert_untouched(w, SHARDY_CHECKSUM);
    /* what operations.md says to do: then it is taken over as it is */
    remove_fate(w, "a");
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "");
    assert_int_equal(state_of(w, "a"), FATE_CONDEMNED);
    close_world(w);
}

static void test_fate__that_cannot_be_believed_keeps_a_run_that_has_no_manifest(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    begin(w, "b");
    begin(w, "c");
    damage_fate(w, "b");
    w->clock.wall_us += HOUR;
    w->options.include_old_runs = 1;
    assert_status(SHARDY_CHECKSUM, clean(w));
    assert_int_equal(w->result.failures, 1);
    assert_kept(w, "b", "runs/run_id=b/fate: ");
    assert_string_equal(left_of(w, "b"), "sr");
    assert_string_equal(left_of(w, "c"), "");
    close_world(w);
}

static void test_fate__that_cannot_be_believed_is_not_pinned_and_the_others_are(void **state)
{
    world *w = open_world(*state);
    uint32_t removed;
    publish_three(w);
    assert_ok(pin(w, "keep", "a"));
    assert_ok(pin(w, "keep", "b"));
    assert_ok(pin(w, "keep", "c"));
    damage_fate(w, "b");
    assert_status(SHARDY_CHECKSUM, pin(w, "more", "b"));
    assert_status(SHARDY_CHECKSUM,
        shardy_pin_remove(w->context, NULL, "keep", NULL, &w->options.admin, &removed, &err));
    assert_non_null(strstr(err.message, "runs/run_id=b/fate"));
    assert_int_equal(removed, 2);
    assert_status(SHARDY_CHECKSUM,
        shardy_pin_remove(w->context, NULL, "keep", NULL, &w->options.admin, &removed, &err));
    assert_int_equal(removed, 0);
    shardy_history history;
    assert_ok(shardy_history_list(w->context, NULL, 10, &w->options.admin, &history, &err));
    assert_non_null(history.entries[0].pins);
    assert_null(history.entries[1].pins); /* not known */
    assert_int_equal(history.entries[2].pin_count, 0);
    shardy_history_dispose(&history);
    close_world(w);
}

static void test_pointer__that_names_what_is_not_there_stops_it(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    uint64_t removed = 0;
    pointer p;
    shardy_etag version;
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__manifest_store_load_current(&w->c.manifests, &p, &version, &err));
    assert_ok(shardy__catalog_ref(p.manifest_ref, ref, &err));
    assert_ok(shardy__manifest_store_remove(&w->c.manifests, ref, &removed, &err));
    assert_int_equal(removed, 1);
    w->options.keep_last = 1;
    assert_untouched(w, SHARDY_GONE);
    put_ok(w->store, POINTER_KEY, "{}");
    assert_untouched(w, SHARDY_CORRUPT);
    close_world(w);
}

static void test_pointer__another_one_beside_it_stops_it(void **state)
{
    static const char *const damaged[] = {
        "{\"format_version\": 99, \"manifest_ref\": \"x\"}",
        "{\"manifest_ref\":7}",
        "{\"manifest_rdf\":\"x\",\"manifest_content_type\":\"application/x-sqlite3\"",
    };
    world *w = open_world(*state);
    shardy_buf pointer_text;
    shardy_object_meta meta;
    publish_three(w);
    w->options.keep_last = 1;
    w->options.force = 1;
    assert_ok(shardy_store_get(w->store, POINTER_KEY, 0, UINT64_MAX, &pointer_text, &meta, &err));
    char text[2000];
    assert_true(pointer_text.len < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)pointer_text.len, (const char *)pointer_text.data);
    put_ok(w->store, "_b", text);
    assert_untouched(w, SHARDY_INVALID);
    assert_non_null(strstr(err.message, "\"_b\" in "));
    assert_non_null(strstr(err.message, "is another pointer beside \"_CURRENT\""));
    w->options.dry_run = 1;
    assert_untouched(w, SHARDY_INVALID);
    w->options.dry_run = 0;
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        put_ok(w->store, "_b", damaged[i]);
        assert_untouched(w, SHARDY_INVALID);
    }
    assert_ok(remove_key(w->store, "_b", &err));
    put_ok(w->store, "_b/_CURRENT", text); /* of another place */
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "c"), "msr");
    shardy_buf_release(&pointer_text);
    close_world(w);
}

static void test_pointer__what_is_none_does_not_stop_it(void **state)
{
    world *w = open_world(*state);
    char *large = calloc(1, SHARDY_CURRENT_LEN_MAX + 2);
    assert_non_null(large);
    memset(large, ' ', SHARDY_CURRENT_LEN_MAX + 1);
    memcpy(large, "\"manifest_ref\"", 14);
    publish_three(w);
    put_ok(w->store, "_SUCCESS", "");
    put_ok(w->store, "_committed_7", "{\"added\":[\"part-0\"]}");
    put_ok(w->store, "_large", large);
    put_ok(w->store, "notes.json", "{\"manifest_ref\":\"no pointer has such a name\"}");
    w->options.keep_last = 1;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "b"), "");
    free(large);
    close_world(w);
}

static void test_options__that_make_no_sense_are_refused(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    w->options.shard_prefix = "shards/run_id=a";
    assert_status(SHARDY_INVALID, clean(w));
    w->options.shard_prefix = "..";
    assert_status(SHARDY_INVALID, clean(w));
    w->options.shard_prefix = "manifests";
    assert_status(SHARDY_INVALID, clean(w));
    w->options.shard_prefix = "shards";
    w->options.older_than_s = INT64_MAX;
    assert_status(SHARDY_INVALID, clean(w));
    w->options.older_than_s = -1;
    w->options.ref = "manifests/2026-01-02T03:04:05.000000Z_run_id=a/manifest";
    assert_status(SHARDY_INVALID, clean(w));
    close_world(w);
}

/* --- the plan and what comes of it ------------------------------------------------------------ */

static void test_dry_run__shows_the_plan_that_is_carried_out(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    put_shard(w, "c", 0, 1);
    assert_ok(pin(w, "keep", "b"));
    w->options.keep_last = 1;
    w->options.dry_run = 1;
    char *before = list_text(w->store, "", 0, 1000);
    assert_ok(clean(w));
    char *after = list_text(w->store, "", 0, 1000);
    assert_string_equal(before, after);
    assert_int_equal(state_of(w, "a"), FATE_PUBLISHED);
    free(before);
    free(after);
    shardy_cleanup_result plan = w->result;
    memset(&w->result, 0, sizeof w->result);
    assert_int_equal(plan.objects_deleted, 0);
    w->options.dry_run = 0;
    assert_ok(clean(w));
    assert_int_equal(plan.action_count, w->result.action_count);
    assert_int_equal(plan.kept_count, w->result.kept_count);
    assert_int_equal(plan.objects, w->result.objects_deleted);
    assert_int_equal(plan.bytes, w->result.bytes);
    for (size_t i = 0; i < plan.action_count; i++) {
        assert_string_equal(plan.actions[i].prefix_url, w->result.actions[i].prefix_url);
        assert_int_equal(plan.actions[i].objects, w->result.actions[i].objects_deleted);
    }
    shardy_cleanup_result_dispose(&plan);
    close_world(w);
}

/* A store that does not remove some keys. */
static void test_cleanup__counts_what_is_gone_and_is_finished_by_the_next(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    shardy_store *inner = w->store;
    shardy_store *faults;
    assert_ok(shardy_store_wrap_fault(NULL, inner, &faults, &err));
    w->options.keep_last = 1;
    w->options.max_retries = 2;
    w->options.admin.store = faults;
    uint64_t calls;
    uint64_t failed;
    w->options.dry_run = 1;
    assert_ok(clean(w));
    shardy_store_fault_counts(faults, &calls, &failed);
    w->options.dry_run = 0;
    uint64_t deleted = 0;
    uint64_t told = 0;
    for (uint64_t nth = 1; nth < 200; nth++) {
        shardy_store_fault_set(faults, nth, 0, SHARDY_FAULT_BEFORE, SHARDY_IO);
        shardy_status st = clean(w);
        deleted += w->result.objects_deleted;
        told += st < 0;
        uint64_t left = 0;
        for (size_t i = 0; i < w->result.action_count; i++) {
            const shardy_cleanup_action *a = &w->result.actions[i];
            left += a->objects - a->objects_deleted;
            assert_true(a->objects_deleted == a->objects || a->error || st == SHARDY_IO);
        }
        assert_true(left == 0 || st < 0);
        shardy_store_fault_counts(faults, &calls, &failed);
        if (failed == 0) {
            break;
        }
    }
    assert_true(told > 10);
    assert_int_equal(deleted, 8);
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "");
    assert_string_equal(left_of(w, "c"), "msr");
    shardy_store_close(faults);
    close_world(w);
}

static int32_t cancel_now(void *user, uint64_t deleted, uint64_t objects)
{
    (void)deleted;
    return objects >= *(uint64_t *)user;
}

static void test_progress__can_cancel_it_and_the_next_one_goes_on(void **state)
{
    world *w = open_world(*state);
    publish_three(w);
    uint64_t at = 1;
    w->options.keep_last = 1;
    w->options.progress = cancel_now;
    w->options.progress_user = &at;
    assert_status(SHARDY_CANCELLED, clean(w));
    w->options.progress = NULL;
    assert_ok(clean(w));
    assert_string_equal(left_of(w, "a"), "");
    assert_string_equal(left_of(w, "b"), "");
    close_world(w);
}

static void test_layout__tells_what_writers_name_from_what_they_do_not(void **state)
{
    (void)state;
    size_t len;
    const char *run_id;
    assert_true(shardy__layout_is_shard_object("db=00000/attempt=00/shard.db", &len));
    assert_int_equal(len, 19);
    assert_true(
        shardy__layout_is_shard_object("a/b/attempt=100/vector/vector_index.lance/x", &len));
    assert_true(shardy__layout_is_shard_object("db=1/attempt=1/manifest/0001.manifest", &len));
    assert_false(shardy__layout_is_shard_object("attempt=00/shard.db", &len));
    assert_false(shardy__layout_is_shard_object("db=1/attempt=/shard.db", &len));
    assert_false(shardy__layout_is_shard_object("db=1/attempt=1x/shard.db", &len));
    assert_false(shardy__layout_is_shard_object("db=1/attempt=1/shard.db.old", &len));
    assert_false(shardy__layout_is_shard_object("db=1/attempt=1/x/shard.db", &len));
    assert_false(shardy__layout_is_shard_object("db=1/shard.db", &len));
    static const char dir[] =
        "2026-01-02T03:04:05.000000Z_run_id=a_b_00112233445566778899aabbccddeeff";
    assert_true(shardy__layout_record_dir(dir, strlen(dir), &run_id, &len));
    assert_int_equal(len, 3);
    assert_false(shardy__layout_record_dir(dir, strlen(dir) - 1, &run_id, &len));
    assert_false(shardy__layout_record_dir("run_id=a", 8, &run_id, &len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_stale__attempts_that_no_manifest_names_are_removed),
        STORE_TEST(test_stale__an_attempt_that_another_run_names_stays),
        STORE_TEST(test_stale__those_of_a_run_that_is_not_yet_published_stay),
        STORE_TEST(test_stale__more_than_a_page_of_them_go),
        STORE_TEST(test_runs__only_the_newest_are_kept),
        STORE_TEST(test_runs__older_than_a_time_go),
        STORE_TEST(test_runs__go_only_when_every_criterion_lets_go),
        STORE_TEST(test_runs__with_a_manifest_are_not_old_runs_by_themselves),
        STORE_TEST(test_runs__that_were_published_stay_when_those_that_were_not_are_asked_for),
        STORE_TEST(test_runs__what_is_current_stays_whatever_is_asked_for),
        STORE_TEST(test_runs__without_a_pointer_nothing_published_is_removed),
        STORE_TEST(test_runs__a_name_that_begins_like_another_is_another),
        STORE_TEST(test_runs__shards_that_a_later_manifest_names_stay),
        STORE_TEST(test_runs__of_a_writer_at_work_stay_until_its_lease_is_over),
        STORE_TEST(test_runs__that_failed_go),
        STORE_TEST(test_runs__without_a_record_are_given_a_day),
        STORE_TEST(test_runs__whose_record_cannot_be_read_stay_and_that_is_told),
        STORE_TEST(test_runs__about_to_become_current_stay_where_nothing_is_settled),
        STORE_TEST(test_runs__that_were_published_meanwhile_are_not_taken_for_failed_ones),
        STORE_TEST(test_runs__half_removed_are_finished_by_the_next_cleanup),
        STORE_TEST(test_runs__of_the_reference_are_adopted_as_they_are),
        STORE_TEST(test_rollback__to_a_run_that_was_adopted_before_it_was_published_works),
        STORE_TEST(test_pin__keeps_a_run_until_it_is_taken_off),
        STORE_TEST(test_pin__several_have_their_limit_and_go_one_by_one),
        STORE_TEST(test_pin__adopts_runs_of_the_reference),
        STORE_TEST(test_pin__is_refused_for_what_is_condemned_or_at_work),
        STORE_TEST(test_unknown__objects_stop_it_for_their_run_unless_forced),
        STORE_TEST(test_manifest__that_names_another_prefix_stops_it),
        STORE_TEST(test_manifest__that_leads_out_of_its_prefix_stops_it),
        STORE_TEST(test_manifest__that_cannot_be_read_stops_it_unless_it_goes_itself),
        STORE_TEST(test_pointer__that_names_what_is_not_there_stops_it),
        STORE_TEST(test_pointer__another_one_beside_it_stops_it),
        STORE_TEST(test_pointer__what_is_none_does_not_stop_it),
        STORE_TEST(test_fate__that_cannot_be_believed_stops_it_until_it_is_taken_away),
        STORE_TEST(test_fate__that_cannot_be_believed_keeps_a_run_that_has_no_manifest),
        STORE_TEST(test_fate__that_cannot_be_believed_is_not_pinned_and_the_others_are),
        STORE_TEST(test_options__that_make_no_sense_are_refused),
        STORE_TEST(test_dry_run__shows_the_plan_that_is_carried_out),
        STORE_TEST(test_cleanup__counts_what_is_gone_and_is_finished_by_the_next),
        STORE_TEST(test_progress__can_cancel_it_and_the_next_one_goes_on),
        STORE_TEST(test_layout__tells_what_writers_name_from_what_they_do_not),
    };
    static const scenario list[] = {FS, MEM};
    return fixture_run(tests, sizeof tests / sizeof tests[0], list, 2);
}
