/* The protocol by which a snapshot becomes current, on a directory and in memory: who loses a race
 * is told by whom, what is missing or damaged is not rolled back to, and nothing outside of the
 * data set is opened. */
#include "support/event_store.h"
#include "support/hand_clock.h"
#include "support/script_store.h"
#include "support/store_fixture.h"

#include "base/bytebuf.h"
#include "base/context.h"
#include "base/digest.h"
#include "catalog/catalog.h"
#include "catalog/run_record.h"
#include "store/store_single.h"

#include <shardyfusion/admin.h>
#include <shardyfusion/reader.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

#define PREFIX "s3://bucket/set"

/* A data set whose clock can play a trick: what `on_time` does happens when the library next asks
 * for the time, as if another process had done it. */
typedef struct world {
    shardy_context *context;
    catalog c;
    shardy_store *store;
    int64_t now_us;
    void (*on_time)(struct world *w);
} world;

static int64_t world_time(void *user)
{
    world *w = user;
    if (w->on_time) {
        void (*trick)(world *) = w->on_time;
        w->on_time = NULL;
        trick(w);
    }
    return w->now_us++;
}

static world *open_world(const fixture *f)
{
    world *w = calloc(1, sizeof *w);
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.threads = 1;
    options.seed = 7;
    options.clock.wall_us = world_time;
    options.clock.user = w;
    w->now_us = 1767323045000000;
    w->store = f->store;
    assert_ok(shardy_context_new(&options, &w->context, &err));
    const catalog_options catalog_opts = {.store = f->store};
    assert_ok(shardy__catalog_open(w->context, NULL, &catalog_opts, &w->c, &err));
    return w;
}

static void close_world(world *w)
{
    shardy__catalog_close(&w->c);
    shardy_context_free(w->context);
    free(w);
}

static const char *ref_of(const char *run_id)
{
    static char refs[8][200];
    static int next;
    char *ref = refs[next++ % 8];
    snprintf(ref, sizeof refs[0], "manifests/2026-01-02T03:04:05.0000%02uZ_run_id=%.100s/manifest",
        (unsigned)(run_id[0] - 'a' + 10), run_id);
    return ref;
}

static const char *url_of(const char *run_id)
{
    static char urls[8][300];
    static int next;
    char *url = urls[next++ % 8];
    snprintf(url, sizeof urls[0], PREFIX "/%s", ref_of(run_id));
    return url;
}

/* Image of a manifest with one shard; `db_url` NULL: one where it belongs. */
static shardy_buf make_image(const char *run_id, const char *prefix, const char *db_url)
{
    manifest *m;
    manifest_shard shard;
    char url[300];
    shardy_buf image;
    memset(&shard, 0, sizeof shard);
    snprintf(url, sizeof url, "%s/shards/run_id=%s/db=00000/attempt=00", prefix, run_id);
    shard.db_url = db_url ? db_url : url;
    shard.row_count = 1;
    assert_ok(shardy__manifest_new(&m, &err));
    m->run_id = run_id;
    m->created_at = "2026-01-02T03:04:05Z";
    m->s3_prefix = prefix;
    m->key_col = "_key";
    m->db_path_template = "db={db_id:05d}";
    m->shard_prefix = "shards";
    m->num_dbs = 1;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    m->custom = "{\"shardyfusion\": {\"engine\": \"sqlite\", \"version\": 1}}";
    m->shards = &shard;
    m->shard_count = 1;
    assert_ok(shardy__manifest_render(m, &image, &err));
    shardy__manifest_free(m);
    return image;
}

static publish_run begin(world *w, const char *run_id)
{
    publish_run run;
    assert_ok(shardy__publish_begin(&w->c, run_id, "shards", "test", &run, &err));
    char key[200];
    snprintf(key, sizeof key, "shards/run_id=%s/db=00000/attempt=00/shard.db", run_id);
    put_ok(w->store, key, run_id);
    return run;
}

static shardy_status commit(world *w, publish_run *run)
{
    shardy_buf image = make_image(run->fate.run_id, PREFIX, NULL);
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__publish_commit(&w->c, run, ref_of(run->fate.run_id),
        url_of(run->fate.run_id), shardy__bytes(image.data, image.len), &err);
    shardy_buf_release(&image);
    return st;
}

static void publish(world *w, const char *run_id)
{
    publish_run run = begin(w, run_id);
    assert_ok(commit(w, &run));
}

static pointer load_pointer(const world *w)
{
    pointer p;
    shardy_etag version;
    assert_ok(shardy__manifest_store_load_current(&w->c.manifests, &p, &version, &err));
    return p;
}

static void assert_current(const world *w, const char *run_id, uint64_t generation)
{
    pointer p = load_pointer(w);
    assert_string_equal(p.run_id, run_id);
    assert_string_equal(p.manifest_ref, url_of(run_id));
    assert_true(p.generation == generation);
    shardy_etag version;
    loaded_manifest loaded;
    assert_ok(shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err));
    assert_string_equal(loaded.manifest->run_id, run_id);
    assert_int_equal(loaded.verified, 1);
    shardy__manifest_free(loaded.manifest);
}

static void assert_fate(const world *w, const char *run_id, int32_t state)
{
    fate f;
    assert_ok(shardy__fate_load(w->store, run_id, &f, &err));
    assert_string_equal(shardy__fate_state_name(f.state), shardy__fate_state_name(state));
}

static void set_fate(world *w, const char *run_id, int32_t state)
{
    fate f;
    shardy_error error;
    assert_int_equal(shardy__fate_load(w->store, run_id, &f, &error), SHARDY_OK);
    assert_int_equal(shardy__fate_change(w->context, w->store, &f, state, &error), SHARDY_OK);
}

/* Changes one byte of an object, that behind the words or, without them, in the middle. */
static void damage_behind(const world *w, const char *key, const char *words)
{
    shardy_buf body;
    shardy_object_meta meta;
    assert_ok(shardy_store_get(w->store, key, 0, SHARDY_READ_TO_END, &body, &meta, &err));
    char *copy = malloc(body.len + 1);
    memcpy(copy, body.data, body.len);
    copy[body.len] = '\0';
    char *at = words ? strstr(copy, words) : NULL;
    *(at ? at + strlen(words) : copy + body.len / 2) ^= 1;
    shardy_store_put put = put_of(key, SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(copy, body.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    shardy_buf_release(&body);
    free(copy);
}

static void damage(const world *w, const char *key)
{
    damage_behind(w, key, NULL);
}

static void damage_fate(const world *w, const char *run_id)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(run_id, key);
    damage_behind(w, key, "\"generation\":");
}

static void assert_message(const char *expected)
{
    if (!strstr(err.message, expected)) {
        fail_msg("\"%s\" is not in \"%s\"", expected, err.message);
    }
}

static shardy_status roll_back(world *w, const char *ref)
{
    char url[SHARDY_URL_LEN_MAX + 1];
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__publish_rollback(&w->c, ref, url, &err);
    if (st == SHARDY_OK) {
        char expected[SHARDY_URL_LEN_MAX + 1];
        snprintf(expected, sizeof expected, PREFIX "/%.300s", ref);
        assert_string_equal(url, expected);
    }
    return st;
}

/* --- publishing ------------------------------------------------------------------------------- */

static void test_publish__moves_the_pointer_and_ends_the_fate(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    assert_current(w, "a", 1);
    assert_fate(w, "a", FATE_PUBLISHED);
    publish(w, "b");
    assert_current(w, "b", 2);
    fate f;
    assert_ok(shardy__fate_load(w->store, "b", &f, &err));
    assert_int_equal(f.generation, 3); /* WRITING, PUBLISHING, PUBLISHED */
    assert_string_equal(f.manifest_ref, ref_of("b"));
    assert_string_equal(f.writer, "test");
    pointer p = load_pointer(w);
    assert_memory_equal(&p.manifest_digest, &f.manifest_digest, sizeof(sha256));
    assert_int_equal(strlen(p.nonce), POINTER_NONCE_LEN);
    close_world(w);
}

static void test_publish__a_run_id_is_taken_by_a_fate_a_manifest_or_a_shard(void **state)
{
    world *w = open_world(*state);
    publish_run run = begin(w, "a");
    publish_run second;
    assert_status(
        SHARDY_EXISTS, shardy__publish_begin(&w->c, "a", "shards", "test", &second, &err));
    assert_string_equal(
        err.message, "the run id \"a\" is taken: another build has used it (a shard is there)");
    assert_status(SHARDY_EXISTS, shardy__publish_begin(&w->c, "a", "other", "test", &second, &err));
    assert_string_equal(
        err.message, "the run id \"a\" is taken: another build has used it (its fate is there)");
    put_ok(w->store, ref_of("m"), "x");
    assert_status(
        SHARDY_EXISTS, shardy__publish_begin(&w->c, "m", "shards", "test", &second, &err));
    assert_string_equal(
        err.message, "the run id \"m\" is taken: another build has used it (a manifest is there)");
    /* a longer id is another one */
    assert_ok(shardy__publish_begin(&w->c, "ab", "shards", "test", &second, &err));
    assert_ok(commit(w, &run));
    close_world(w);
}

static void test_publish__the_loser_is_told_by_whom_and_stays_a_target(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run slow = begin(w, "slow");
    publish_run fast = begin(w, "fast");
    assert_ok(commit(w, &fast));
    assert_int_equal(commit(w, &slow), SHARDY_CONFLICT);
    assert_string_equal(err.message, "run \"slow\" is complete, a rollback to it makes it current: "
                                     "somebody else moved the pointer "
                                     "to run \"fast\" while run \"slow\" was at work");
    assert_current(w, "fast", 2);
    assert_fate(w, "slow", FATE_PUBLISHED);
    assert_ok(roll_back(w, ref_of("slow")));
    assert_current(w, "slow", 3);
    close_world(w);
}

static void test_publish__of_two_first_publishers_one_loses(void **state)
{
    world *w = open_world(*state);
    publish_run a = begin(w, "a");
    publish_run b = begin(w, "b");
    assert_ok(commit(w, &b));
    assert_int_equal(commit(w, &a), SHARDY_CONFLICT);
    assert_message("to run \"b\" while run \"a\"");
    assert_current(w, "b", 1);
    close_world(w);
}

static void test_publish__who_replaces_moves_the_pointer_past_what_is_older(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run slow = begin(w, "slow"); /* refs have the order of their first letters */
    publish_run back = begin(w, "back");
    publish_run fast = begin(w, "fast");
    assert_ok(commit(w, &fast));
    back.replaces = 1;
    assert_int_equal(commit(w, &back), SHARDY_CONFLICT); /* it is older */
    assert_message("to run \"fast\" while run \"back\"");
    assert_current(w, "fast", 2);
    slow.replaces = 1;
    assert_ok(commit(w, &slow));
    assert_int_equal(slow.replaced, 1);
    assert_string_equal(slow.seen_run_id, "fast");
    assert_int_equal(back.replaced, 0);
    assert_current(w, "slow", 3);
    assert_fate(w, "slow", FATE_PUBLISHED);
    close_world(w);
}

static void condemn_slow(world *w)
{
    set_fate(w, "slow", FATE_CONDEMNED);
}

static void then_condemn_slow(world *w)
{
    w->on_time = condemn_slow;
}

static void test_publish__who_replaces_has_to_have_its_run_still(void **state)
{
    world *w = open_world(*state);
    publish_run slow = begin(w, "slow");
    publish_run fast = begin(w, "fast");
    assert_ok(commit(w, &fast));
    slow.replaces = 1;
    w->on_time = then_condemn_slow; /* first the fate is taken, then the pointer made */
    assert_int_equal(commit(w, &slow), SHARDY_FENCED);
    assert_current(w, "fast", 1);
    assert_fate(w, "slow", FATE_CONDEMNED);
    close_world(w);
}

/* A store far away that may not honour a condition. */
static shardy_status begin_on_plan(const fixture *f, event_plan plan, int32_t single_writer)
{
    static event_log log;
    shardy_store *store;
    catalog c;
    publish_run run;
    memset(&log, 0, sizeof log);
    memset(&err, 0, sizeof err);
    assert_ok(event_store_open(f->store, &log, &plan, &store, &err));
    const catalog_options o = {.store = store, .single_writer = single_writer};
    assert_ok(shardy__catalog_open(NULL, NULL, &o, &c, &err));
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    assert_ok(shardy_context_new(&options, &c.context, &err));
    char id[32];
    static int number;
    snprintf(id, sizeof id, "probe-%d", number++);
    shardy_status st = shardy__publish_begin(&c, id, "shards", "test", &run, &err);
    shardy_context_free(c.context);
    shardy__catalog_close(&c);
    shardy_store_close(store);
    return st;
}

static shardy_status begin_on(const fixture *f, int32_t ignores, int32_t single_writer)
{
    const event_plan plan = {.ignores = ignores};
    return begin_on_plan(f, plan, single_writer);
}

static void test_publish__a_single_writer_needs_no_conditions_of_the_store(void **state)
{
    const fixture *f = *state;
    static event_log log;
    const event_plan refuses = {.refuses = 1};
    shardy_store *refusing;
    shardy_store *store;
    shardy_object_meta meta;
    if (f->scenario != MEM) {
        return;
    }
    assert_status(SHARDY_UNSUPPORTED, begin_on_plan(f, refuses, 0));
    assert_ok(begin_on_plan(f, refuses, 1));
    /* conditions are kept all the same, as long as nobody comes between */
    memset(&log, 0, sizeof log);
    assert_ok(event_store_open(f->store, &log, &refuses, &refusing, &err));
    assert_ok(shardy__store_wrap_single(refusing, &store, &err));
    assert_ok(put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "1", &meta, &err));
    assert_status(SHARDY_EXISTS, put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "2", NULL, &err));
    assert_status(
        SHARDY_CONFLICT, put_text(store, "k", SHARDY_PUT_IF_MATCH, "\"other\"", "2", NULL, &err));
    assert_object(store, "k", "1");
    assert_ok(put_text(store, "k", SHARDY_PUT_IF_MATCH, meta.etag.text, "2", NULL, &err));
    assert_status(SHARDY_CONFLICT,
        put_text(store, "no", SHARDY_PUT_IF_MATCH, meta.etag.text, "2", NULL, &err));
    assert_object(store, "k", "2");
    shardy_store_close(store);
    shardy_store_close(refusing);
}

static void test_publish__asks_a_store_far_away_whether_it_honours_conditions(void **state)
{
    const fixture *f = *state;
    if (f->scenario != MEM) {
        return; /* local files are known to */
    }
    assert_ok(begin_on(f, 0, 0));
    assert_status(SHARDY_UNSUPPORTED, begin_on(f, SHARDY_PUT_IF_ABSENT, 0));
    assert_message("created an object that was there");
    assert_message("unsafe_single_writer");
    assert_status(SHARDY_UNSUPPORTED, begin_on(f, SHARDY_PUT_IF_MATCH, 0));
    assert_message("replaced a version that was not there");
    assert_ok(begin_on(f, SHARDY_PUT_IF_MATCH, 1));
    /* who was refused left nothing, and can take the same run id again */
    assert_listing(f->store, "", 0, "runs/run_id=probe-0/fate runs/run_id=probe-3/fate ");
}

static void test_publish__asks_again_when_the_answer_about_conditions_is_lost(void **state)
{
    const fixture *f = *state;
    if (f->scenario != MEM) {
        return;
    }
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    shardy_store *faults;
    shardy_store *store;
    catalog c;
    assert_ok(shardy_store_wrap_fault(context, f->store, &faults, &err));
    assert_ok(shardy_store_wrap_retry(context, faults, NULL, &store, &err));
    const catalog_options o = {.store = store};
    assert_ok(shardy__catalog_open(NULL, NULL, &o, &c, &err));
    shardy_context *own = c.context;
    c.context = context;
    uint64_t calls = UINT64_MAX;
    for (uint64_t nth = 1; nth <= calls; nth++) {
        publish_run run;
        uint64_t failed;
        char id[32];
        snprintf(id, sizeof id, "lost-%u", (unsigned)nth);
        shardy_store_fault_set(faults, nth, 0, SHARDY_FAULT_AFTER, SHARDY_IO);
        assert_ok(shardy__publish_begin(&c, id, "shards", "test", &run, &err));
        shardy_store_fault_counts(faults, &calls, &failed);
        assert_int_equal(failed, nth <= calls);
    }
    assert_true(calls > 5);
    c.context = own;
    shardy__catalog_close(&c);
    shardy_store_close(store);
    shardy_store_close(faults);
    shardy_context_free(context);
}

static void test_publish__a_condemned_run_is_fenced_and_shows_nothing(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run = begin(w, "late");
    set_fate(w, "late", FATE_CONDEMNED);
    assert_int_equal(commit(w, &run), SHARDY_FENCED);
    assert_string_equal(
        err.message, "run \"late\" was condemned by its writer or a cleanup and cannot publish");
    assert_no_object(w->store, ref_of("late"));
    assert_current(w, "a", 1);
    close_world(w);
}

/* Two who have the same plan. */
static void test_publish__what_somebody_else_has_published_is_done(void **state)
{
    world *w = open_world(*state);
    publish_run run = begin(w, "a");
    publish_run copy = run;
    assert_ok(commit(w, &run));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(commit(w, &copy), SHARDY_MISUSE);
        assert_string_equal(
            err.message, "run \"a\" cannot be published again: its fate is PUBLISHED");
    }
    assert_int_equal(copy.manifest_tried, 0);
    assert_current(w, "a", 1);
    run = begin(w, "b");
    set_fate(w, "b", FATE_PUBLISHING);
    assert_int_equal(commit(w, &run), SHARDY_CONFLICT);
    assert_string_equal(err.message,
        "run \"b\" is being published by somebody else, or was by a call that failed (its fate is "
        "PUBLISHING now): its plan can be published again from its JSON");
    assert_int_equal(run.manifest_tried, 0);
    close_world(w);
}

/* Whoever has the run does nothing with it: neither publishes it nor gives it up. */
static void test_publish__a_run_whose_fate_cannot_be_believed_is_left_alone(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    publish_run run = begin(w, "c");
    damage_fate(w, "c");
    assert_int_equal(commit(w, &run), SHARDY_CHECKSUM);
    assert_message("runs/run_id=c/fate: the fate of a run was changed after it was written");
    shardy__publish_abandon(&w->c, &run, "shards");
    assert_object(w->store, "shards/run_id=c/db=00000/attempt=00/shard.db", "c");
    assert_no_object(w->store, ref_of("c"));
    assert_current(w, "b", 2);
    /* nor does a rollback take it for one without a fate; the pointer can go elsewhere */
    damage_fate(w, "a");
    assert_int_equal(roll_back(w, ref_of("a")), SHARDY_CHECKSUM);
    assert_message("runs/run_id=a/fate: ");
    assert_status(SHARDY_EXISTS, shardy__publish_begin(&w->c, "a", "shards", "test", &run, &err));
    assert_current(w, "b", 2);
    /* one that was moved away from is in nobody's way */
    damage_fate(w, "b");
    publish(w, "d");
    assert_current(w, "d", 3);
    close_world(w);
}

static shardy_status load_current(const world *w)
{
    pointer p;
    shardy_etag version;
    loaded_manifest loaded;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err);
    shardy__manifest_free(loaded.manifest);
    return st;
}

/* It may be somebody else's file, or name what a newer version knows. */
static void test_publish__what_is_no_pointer_is_replaced_by_a_rollback_only(void **state)
{
    world *w = open_world(*state);
    static const struct {
        const char *text;
        shardy_status status;
        const char *word;
    } cases[] = {{"hello", SHARDY_CORRUPT, "nothing is published over a pointer (_CURRENT)"},
        {"{broken", SHARDY_CORRUPT, "roll back to a run of the history"},
        {"", SHARDY_CORRUPT, "remove it or publish elsewhere"},
        {"{\"format_version\":2,\"manifest\":[]}", SHARDY_FORMAT_VERSION, "format version 2"}};
    publish(w, "a");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        publish_run run;
        put_ok(w->store, "_CURRENT", cases[i].text);
        memset(&err, 0, sizeof err);
        assert_status(
            cases[i].status, shardy__publish_begin(&w->c, "refused", "shards", "test", &run, &err));
        assert_message(cases[i].word);
        assert_int_equal(load_current(w), cases[i].status);
        shardy_status st = roll_back(w, ref_of("a"));
        assert_int_equal(st, cases[i].status == SHARDY_CORRUPT ? SHARDY_OK : cases[i].status);
    }
    /* the reference's pointer: no member of ours, so the count begins anew */
    put_ok(w->store, "_CURRENT",
        "{\"format_version\":1,\"manifest_content_type\":\"application/x-sqlite3\","
        "\"manifest_ref\":\"s3://bucket/set/manifests/x/manifest\",\"run_id\":\"x\","
        "\"updated_at\":\"2026-01-02T03:04:05Z\"}");
    publish(w, "refused"); /* its run id is still free */
    assert_current(w, "refused", 1);
    close_world(w);
}

static void test_publish__abandoning_removes_the_run_and_no_other(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish_run run = begin(w, "ab");
    publish_run sibling = begin(w, "abc");
    shardy__publish_abandon(&w->c, &run, "shards");
    assert_fate(w, "ab", FATE_CONDEMNED);
    assert_listing(w->store, "shards/", 0,
        "shards/run_id=a/db=00000/attempt=00/shard.db "
        "shards/run_id=abc/db=00000/attempt=00/shard.db ");
    assert_current(w, "a", 1);
    assert_ok(commit(w, &sibling));
    shardy__publish_abandon(&w->c, &sibling, "shards");
    assert_fate(w, "abc", FATE_PUBLISHED);
    assert_current(w, "abc", 2);
    /* a condemned id stays taken */
    assert_status(SHARDY_EXISTS, shardy__publish_begin(&w->c, "ab", "shards", "test", &run, &err));
    close_world(w);
}

/* --- rollback --------------------------------------------------------------------------------- */

static void test_rollback__moves_the_pointer_back_and_forth(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    assert_ok(roll_back(w, ref_of("a")));
    assert_current(w, "a", 3);
    assert_fate(w, "a", FATE_PUBLISHED);
    assert_ok(roll_back(w, ref_of("b")));
    assert_current(w, "b", 4);
    close_world(w);
}

static void put_long_pointer(const world *w, size_t len)
{
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, ' ', len);
    shardy_store_put put = put_of("_CURRENT", SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(text, len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    free(text);
}

static void test_rollback__replaces_a_pointer_that_is_too_long(void **state)
{
    const fixture *f = *state;
    world *w = open_world(*state);
    publish(w, "a");
    static const size_t lens[] = {
        SHARDY_CURRENT_LEN_MAX + 1, SHARDY_CURRENT_LEN_MAX + 2, SHARDY_FS_ETAG_LEN_MAX};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        put_long_pointer(w, lens[i]);
        assert_ok(roll_back(w, ref_of("a")));
        assert_current(w, "a", 1);
    }
    publish_run run;
    put_long_pointer(w, SHARDY_FS_ETAG_LEN_MAX);
    assert_status(SHARDY_CORRUPT, shardy__publish_begin(&w->c, "b", "shards", "test", &run, &err));
    assert_message("bytes, the limit is 65536; nothing is published over a pointer");
    /* a directory tells no version of a larger one: it has to be taken away */
    put_long_pointer(w, SHARDY_FS_ETAG_LEN_MAX + 1);
    if (fixture_has_files(f)) {
        assert_int_equal(roll_back(w, ref_of("a")), SHARDY_CORRUPT);
        assert_message("_CURRENT has 1048576 bytes, the limit is 65536");
        assert_ok(remove_key(w->store, "_CURRENT", &err));
    }
    assert_ok(roll_back(w, ref_of("a")));
    assert_current(w, "a", 1);
    close_world(w);
}

static void test_rollback__refuses_what_is_missing_damaged_or_something_else(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    assert_status(SHARDY_INVALID, roll_back(w, ref_of("x")));
    assert_string_equal(err.message,
        "there is no manifest \"manifests/2026-01-02T03:04:05.000033Z_run_id=x/manifest\"");
    assert_status(SHARDY_INVALID, roll_back(w, "manifests/d/manifest"));
    assert_string_equal(err.message, "\"manifests/d/manifest\" is not the ref of a manifest");
    damage(w, ref_of("a"));
    assert_status(SHARDY_CHECKSUM, roll_back(w, ref_of("a")));
    assert_message("differs from the digest it was published with");
    put_ok(w->store, ref_of("a"), "short");
    assert_status(SHARDY_CHECKSUM, roll_back(w, ref_of("a")));
    assert_message("has 5 bytes, ");
    /* without a fate there is no digest: the image itself tells */
    put_ok(w->store, ref_of("r"), "no manifest of the reference");
    assert_status(SHARDY_CORRUPT, roll_back(w, ref_of("r")));
    shardy_buf image = make_image("other", PREFIX, NULL);
    shardy_store_put put = put_of(ref_of("s"), SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(image.data, image.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    assert_status(SHARDY_CORRUPT, roll_back(w, ref_of("s")));
    assert_message("is of the run \"other\"");
    shardy_buf_release(&image);
    assert_current(w, "b", 2);
    close_world(w);
}

static void test_rollback__refuses_runs_that_are_condemned_or_at_work(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    set_fate(w, "a", FATE_CONDEMNED);
    assert_status(SHARDY_GONE, roll_back(w, ref_of("a")));
    assert_string_equal(err.message,
        "run \"a\" was condemned by its writer or a cleanup: its shards are gone or going");
    set_fate(w, "a", FATE_WRITING);
    assert_status(SHARDY_INVALID, roll_back(w, ref_of("a")));
    assert_string_equal(err.message, "run \"a\" is still being written");
    assert_current(w, "b", 2);
    close_world(w);
}

static void test_rollback__takes_over_what_a_crash_left(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    set_fate(w, "a", FATE_PUBLISHING);
    assert_ok(roll_back(w, ref_of("a")));
    assert_current(w, "a", 3);
    assert_fate(w, "a", FATE_PUBLISHED);
    close_world(w);
}

static void test_rollback__adopts_runs_of_the_reference(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    shardy_buf image = make_image("ref", PREFIX, NULL);
    shardy_store_put put = put_of(ref_of("ref"), SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(image.data, image.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    shardy_buf_release(&image);
    assert_ok(roll_back(w, ref_of("ref")));
    assert_current(w, "ref", 2);
    fate f;
    assert_ok(shardy__fate_load(w->store, "ref", &f, &err));
    assert_int_equal(f.state, FATE_PUBLISHED);
    assert_string_equal(f.writer, "reference");
    assert_int_equal(f.has_manifest, 1);
    close_world(w);
}

static void publish_meanwhile(world *w)
{
    shardy_error kept = err;
    publish(w, "meanwhile");
    err = kept;
}

static void test_rollback__that_lost_a_race_is_told_by_whom(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    w->on_time = publish_meanwhile; /* after the rollback has looked at the pointer */
    assert_status(SHARDY_CONFLICT, roll_back(w, ref_of("a")));
    assert_string_equal(err.message,
        "somebody else moved the pointer to run \"meanwhile\" while run \"a\" was at work");
    assert_current(w, "meanwhile", 3);
    assert_fate(w, "a", FATE_PUBLISHED);
    close_world(w);
}

static void condemn_meanwhile(world *w)
{
    set_fate(w, "a", FATE_CONDEMNED);
}

static void test_rollback__to_a_run_that_is_condemned_meanwhile_says_it_is_gone(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    w->on_time = condemn_meanwhile; /* before the rollback has taken the fate */
    assert_status(SHARDY_GONE, roll_back(w, ref_of("a")));
    assert_current(w, "b", 2);
    close_world(w);
}

static void take_meanwhile(world *w)
{
    set_fate(w, "a", FATE_PUBLISHING);
}

static void test_rollback__that_lost_its_target_is_told_which(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    publish(w, "b");
    w->on_time = take_meanwhile; /* before the rollback has taken the fate */
    assert_status(SHARDY_CONFLICT, roll_back(w, ref_of("a")));
    assert_string_equal(err.message, "somebody else moves the pointer to run \"a\" at this moment "
                                     "(its fate is PUBLISHING now)");
    assert_current(w, "b", 2);
    close_world(w);
}

static void adopt_meanwhile(world *w)
{
    shardy_error kept = err;
    assert_ok(roll_back(w, ref_of("ref")));
    err = kept;
}

static void test_rollback__may_find_the_run_of_the_reference_adopted_meanwhile(void **state)
{
    world *w = open_world(*state);
    publish(w, "a");
    shardy_buf image = make_image("ref", PREFIX, NULL);
    shardy_store_put put = put_of(ref_of("ref"), SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(image.data, image.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    shardy_buf_release(&image);
    w->on_time = adopt_meanwhile; /* when it was seen that there is no fate */
    assert_status(SHARDY_CONFLICT, roll_back(w, ref_of("ref")));
    assert_string_equal(err.message,
        "somebody else moved the pointer to run \"ref\" while run \"ref\" was at work");
    assert_current(w, "ref", 2);
    assert_fate(w, "ref", FATE_PUBLISHED);
    close_world(w);
}

/* --- contexts with the same seed -------------------------------------------------------------- */

/* Their nonces are the same, which must not make one take the write of the other for its own. */
static void test_publish__writers_with_the_same_seed_are_told_apart(void **state)
{
    world *first = open_world(*state);
    world *second = open_world(*state);
    publish_run a = begin(first, "a");
    publish_run b = begin(second, "b");
    assert_ok(commit(first, &a));
    assert_status(SHARDY_CONFLICT, commit(second, &b));
    assert_current(first, "a", 1);
    close_world(first);
    close_world(second);
}

static void test_fate__changes_with_the_same_seed_are_told_apart(void **state)
{
    world *setter = open_world(*state);
    publish(setter, "a");
    world *first = open_world(*state);
    world *second = open_world(*state);
    second->now_us += 7;
    fate mine;
    fate other;
    assert_ok(shardy__fate_load(first->store, "a", &mine, &err));
    other = mine;
    assert_ok(shardy__fate_change(first->context, first->store, &mine, FATE_PUBLISHING, &err));
    assert_status(SHARDY_CONFLICT,
        shardy__fate_change(second->context, second->store, &other, FATE_PUBLISHING, &err));
    close_world(setter);
    close_world(first);
    close_world(second);
}

/* --- the run record --------------------------------------------------------------------------- */

static run_record watched;

static void end_meanwhile(world *w)
{
    run_record ended = watched;
    ended.status = RUN_SUCCEEDED;
    assert_ok(shardy__run_record_write(w->context, w->store, &ended, &err));
}

/* Between its look at the record and its write somebody else ends the run. */
static void test_run_record__a_heartbeat_does_not_undo_the_end_of_a_run(void **state)
{
    world *w = open_world(*state);
    shardy_buf body;
    run_record now;
    memset(&watched, 0, sizeof watched);
    snprintf(watched.run_id, sizeof watched.run_id, "a");
    snprintf(watched.writer_type, sizeof watched.writer_type, "c");
    snprintf(watched.s3_prefix, sizeof watched.s3_prefix, PREFIX);
    snprintf(watched.shard_prefix, sizeof watched.shard_prefix, "shards");
    snprintf(watched.db_path_template, sizeof watched.db_path_template, "db={db_id:05d}");
    shardy__run_record_begin(w->context, "runs", &watched);
    assert_ok(shardy__run_record_write(w->context, w->store, &watched, &err));
    w->on_time = end_meanwhile;
    assert_ok(shardy__run_record_beat(w->context, w->store, &watched, &err));
    assert_null(w->on_time);
    assert_ok(shardy_store_get(w->store, watched.key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
    assert_ok(shardy__run_record_parse(shardy__bytes(body.data, body.len), &now, &err));
    shardy_buf_release(&body);
    assert_int_equal(now.status, RUN_SUCCEEDED);
    close_world(w);
}

/* --- loading ---------------------------------------------------------------------------------- */

static void remove_ok(const world *w, const char *key)
{
    assert_ok(remove_key(w->store, key, &err));
}

static void put_pointer(const world *w, const char *manifest_ref, const char *run_id)
{
    char text[2000];
    snprintf(text, sizeof text,
        "{\"format_version\":1,\"manifest_content_type\":\"application/x-sqlite3\","
        "\"manifest_ref\":\"%s\",\"run_id\":\"%s\",\"updated_at\":\"2026-01-02T03:04:05Z\"}",
        manifest_ref, run_id);
    put_ok(w->store, "_CURRENT", text);
}

static void test_load__a_promised_manifest_is_the_one_or_none(void **state)
{
    world *w = open_world(*state);
    assert_int_equal(load_current(w), SHARDY_NOT_FOUND);
    publish(w, "a");
    /* the reference wrote the pointer: the fate's digest still counts */
    put_pointer(w, url_of("a"), "a");
    pointer p;
    shardy_etag version;
    loaded_manifest loaded;
    assert_ok(shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err));
    assert_int_equal(loaded.verified, 1);
    shardy__manifest_free(loaded.manifest);
    damage(w, ref_of("a"));
    assert_int_equal(load_current(w), SHARDY_CHECKSUM);
    remove_ok(w, ref_of("a"));
    assert_int_equal(load_current(w), SHARDY_GONE);
    assert_message("which is not there");
    /* without a fate nothing was promised */
    remove_ok(w, "runs/run_id=a/fate");
    assert_int_equal(load_current(w), SHARDY_CORRUPT);
    assert_message("which is not there");
    close_world(w);
}

/* Somebody publishes and cleans up between the reading of the pointer and that of its manifest. */
static void publish_b_and_remove_a(void *user)
{
    world *w = user;
    publish(w, "b");
    remove_ok(w, ref_of("a"));
}

static void test_load__a_manifest_that_goes_when_the_pointer_moves_is_no_failure(void **state)
{
    (void)state;
    script_store s;
    script_store_open(&s, NULL);
    const fixture f = {.store = s.store};
    world *w = open_world(&f);
    publish(w, "a");
    const script_step steps[] = {{0}, {.before = publish_b_and_remove_a, .user = w}};
    script_store_set(&s, steps, 2);
    pointer p;
    shardy_etag version;
    loaded_manifest loaded;
    assert_ok(shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err));
    assert_string_equal(loaded.manifest->run_id, "b");
    assert_string_equal(p.run_id, "b");
    shardy__manifest_free(loaded.manifest);
    close_world(w);
    script_store_close(&s);
}

static void put_manifest(const world *w, const char *run_id, const char *prefix, const char *db_url)
{
    shardy_buf image = make_image(run_id, prefix, db_url);
    shardy_store_put put = put_of(ref_of(run_id), SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(image.data, image.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    shardy_buf_release(&image);
}

/* A reader on the same store. */
static shardy_status open_reader(const world *w, shardy_reader **reader)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = w->store;
    memset(&err, 0, sizeof err);
    return shardy_reader_open(w->context, NULL, &options, reader, &err);
}

static void put_rendered(const world *w, const pointer *p)
{
    shardy_buf text;
    assert_ok(shardy__pointer_render(p, &text, &err));
    shardy_store_put put = put_of("_CURRENT", SHARDY_PUT_ALWAYS, "");
    put.body = shardy__bytes(text.data, text.len);
    assert_ok(shardy_store_put_object(w->store, &put, NULL, &err));
    shardy_buf_release(&text);
}

static void test_load__a_pointer_of_ours_is_of_the_run_of_its_manifest(void **state)
{
    world *w = open_world(*state);
    shardy_etag version;
    loaded_manifest loaded;
    publish(w, "a");
    publish(w, "b");
    pointer p = load_pointer(w);
    snprintf(p.run_id, sizeof p.run_id, "a");
    put_rendered(w, &p);
    assert_status(SHARDY_CORRUPT, shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err));
    assert_string_equal(
        err.message, "the pointer is of run \"a\" and names a manifest of run \"b\"");
    assert_null(loaded.manifest);
    assert_int_equal(roll_back(w, ref_of("a")), SHARDY_OK);
    assert_current(w, "a", 3);
    /* the reference takes the run from the first "run_id=" in the URL, a prefix for example */
    p = load_pointer(w);
    p.has_ours = 0;
    snprintf(p.run_id, sizeof p.run_id, "prefix");
    put_rendered(w, &p);
    assert_ok(shardy__catalog_load_current(&w->c, &p, &version, &loaded, &err));
    assert_string_equal(loaded.manifest->run_id, "a");
    shardy__manifest_free(loaded.manifest);
    close_world(w);
}

static void test_load__nothing_outside_of_the_root_is_named_by_a_manifest(void **state)
{
    world *w = open_world(*state);
    static const char *const elsewhere[] = {"s3://bucket/other/shards/x", "s3://other/set/x",
        "s3://bucket/set/../other/x", "s3://bucket/set", "/etc/passwd", "file:///etc/passwd",
        "file:///bucket/set/x", "http://169.254.169.254/x", "s3://bucket/set/x?y", "../x",
        "s3://bucket/set%2f..%2fx"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        shardy_reader *reader;
        put_manifest(w, "evil", PREFIX, elsewhere[i]);
        put_pointer(w, url_of("evil"), "evil");
        if (open_reader(w, &reader) != SHARDY_CORRUPT) {
            fail_msg("\"%s\" was let through", elsewhere[i]);
        }
        assert_message("shard 0: ");
        assert_null(reader);
        assert_status(SHARDY_CORRUPT, roll_back(w, ref_of("evil")));
    }
    close_world(w);
}

static void test_load__a_pointer_to_another_data_set_is_refused(void **state)
{
    world *w = open_world(*state);
    static const char *const refs[] = {"s3://bucket/other/", "s3://other/set/",
        "file:///bucket/set/", "/bucket/set/", "https://bucket/set/", "s3://bucket/set/../set/",
        "../", "s3://bucket/set/x/", "s3://bucket/set//"};
    publish(w, "a");
    remove_ok(w, "runs/run_id=a/fate");
    for (size_t i = 0; i < sizeof refs / sizeof refs[0]; i++) {
        char ref[400];
        snprintf(ref, sizeof ref, "%s%s", refs[i], ref_of("a"));
        put_pointer(w, ref, "a");
        if (load_current(w) != SHARDY_CORRUPT) {
            fail_msg("\"%s\" was let through", ref);
        }
    }
    /* what is meant by the same name */
    static const char *const same[] = {"S3://bucket/set/", ""};
    for (size_t i = 0; i < 2; i++) {
        char ref[400];
        snprintf(ref, sizeof ref, "%s%s", same[i], ref_of("a"));
        put_pointer(w, ref, "a");
        assert_int_equal(load_current(w), SHARDY_OK);
    }
    close_world(w);
}

static void test_load__a_manifest_of_another_version_or_prefix_is_refused(void **state)
{
    world *w = open_world(*state);
    put_manifest(w, "a", "s3://bucket/moved", NULL);
    put_pointer(w, url_of("a"), "a");
    assert_int_equal(load_current(w), SHARDY_CORRUPT);
    assert_message("named by another prefix than it records");
    static const char *const prefixes[] = {"", "bucket", "s3://", "s3://bucket//set",
        "s3://bucket/set?x", "https://user:secret@bucket/set"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        put_manifest(w, "a", prefixes[i], NULL);
        put_pointer(w, ref_of("a"), "a");
        shardy_status st = load_current(w);
        assert_int_equal(st, strcmp(prefixes[i], "bucket") == 0 ? SHARDY_OK : SHARDY_CORRUPT);
        assert_null(strstr(err.message, "secret"));
    }
    close_world(w);
}

/* --- fallback --------------------------------------------------------------------------------- */

static void test_fallback__serves_the_newest_older_manifest_that_promised_nothing(void **state)
{
    world *w = open_world(*state);
    static const char *const runs[] = {"a", "b", "c", "d"}; /* in the order of their times */
    for (size_t i = 0; i < 4; i++) {
        put_manifest(w, runs[i], PREFIX, NULL);
    }
    damage(w, ref_of("c"));
    put_ok(w->store, ref_of("b"), "damaged too");
    put_ok(w->store, ref_of("c"), "damaged");
    put_pointer(w, url_of("c"), "c");
    shardy_reader *reader;
    assert_ok(open_reader(w, &reader));
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_string_equal(info.run_id, "a"); /* never the newer d */
    assert_int_equal(info.verified, 0);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    /* a promise is kept or broken, never replaced */
    publish(w, "e");
    publish(w, "f");
    put_ok(w->store, ref_of("f"), "damaged");
    assert_int_equal(open_reader(w, &reader), SHARDY_CHECKSUM);
    put_pointer(w, url_of("f"), "f");
    assert_int_equal(open_reader(w, &reader), SHARDY_CHECKSUM);
    assert_null(reader);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_publish__moves_the_pointer_and_ends_the_fate),
        STORE_TEST(test_publish__a_run_id_is_taken_by_a_fate_a_manifest_or_a_shard),
        STORE_TEST(test_publish__the_loser_is_told_by_whom_and_stays_a_target),
        STORE_TEST(test_publish__of_two_first_publishers_one_loses),
        STORE_TEST(test_publish__who_replaces_moves_the_pointer_past_what_is_older),
        STORE_TEST(test_publish__who_replaces_has_to_have_its_run_still),
        STORE_TEST(test_publish__asks_a_store_far_away_whether_it_honours_conditions),
        STORE_TEST(test_publish__a_single_writer_needs_no_conditions_of_the_store),
        STORE_TEST(test_publish__asks_again_when_the_answer_about_conditions_is_lost),
        STORE_TEST(test_publish__a_condemned_run_is_fenced_and_shows_nothing),
        STORE_TEST(test_publish__what_somebody_else_has_published_is_done),
        STORE_TEST(test_publish__a_run_whose_fate_cannot_be_believed_is_left_alone),
        STORE_TEST(test_publish__what_is_no_pointer_is_replaced_by_a_rollback_only),
        STORE_TEST(test_publish__abandoning_removes_the_run_and_no_other),
        STORE_TEST(test_rollback__moves_the_pointer_back_and_forth),
        STORE_TEST(test_rollback__replaces_a_pointer_that_is_too_long),
        STORE_TEST(test_rollback__refuses_what_is_missing_damaged_or_something_else),
        STORE_TEST(test_rollback__refuses_runs_that_are_condemned_or_at_work),
        STORE_TEST(test_rollback__takes_over_what_a_crash_left),
        STORE_TEST(test_rollback__adopts_runs_of_the_reference),
        STORE_TEST(test_rollback__that_lost_a_race_is_told_by_whom),
        STORE_TEST(test_rollback__to_a_run_that_is_condemned_meanwhile_says_it_is_gone),
        STORE_TEST(test_rollback__that_lost_its_target_is_told_which),
        STORE_TEST(test_rollback__may_find_the_run_of_the_reference_adopted_meanwhile),
        STORE_TEST(test_publish__writers_with_the_same_seed_are_told_apart),
        STORE_TEST(test_fate__changes_with_the_same_seed_are_told_apart),
        STORE_TEST(test_run_record__a_heartbeat_does_not_undo_the_end_of_a_run),
        STORE_TEST(test_load__a_promised_manifest_is_the_one_or_none),
        STORE_TEST(test_load__a_manifest_that_goes_when_the_pointer_moves_is_no_failure),
        STORE_TEST(test_load__a_pointer_of_ours_is_of_the_run_of_its_manifest),
        STORE_TEST(test_load__nothing_outside_of_the_root_is_named_by_a_manifest),
        STORE_TEST(test_load__a_pointer_to_another_data_set_is_refused),
        STORE_TEST(test_load__a_manifest_of_another_version_or_prefix_is_refused),
        STORE_TEST(test_fallback__serves_the_newest_older_manifest_that_promised_nothing),
    };
    const scenario stores[] = {FS, MEM};
    return fixture_run(tests, sizeof tests / sizeof tests[0], stores, 2);
}
