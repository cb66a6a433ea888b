/* A build in steps, as a scheduler distributes it: plan, attempts, winners, publish. */
#include "support/dataset.h"
#include "support/event_store.h"
#include "support/hand_clock.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static shardy_error err;

#define SHARDS 3u
#define KEYS   200u

/* The rows of one shard, by number. */
typedef struct shard_rows {
    uint32_t db_id;
    uint32_t next;
    char key[32];
    char value[32];
} shard_rows;

static shardy_status next_row(void *user, shardy_row *row_out, shardy_error *error)
{
    shard_rows *rows = user;
    while (rows->next < KEYS) {
        int n = snprintf(rows->key, sizeof rows->key, "key-%u", rows->next++);
        uint32_t db_id;
        shardy_row_init(row_out, sizeof *row_out);
        row_out->key = shardy_key_text(rows->key, (size_t)n);
        shardy_status st = shardy_hash_route(&row_out->key, SHARDS, &db_id, error);
        if (st < 0) {
            return st;
        }
        if (db_id == rows->db_id) {
            row_out->value.data = rows->value;
            row_out->value.len =
                (size_t)snprintf(rows->value, sizeof rows->value, "value of %s", rows->key);
            return SHARDY_OK;
        }
    }
    return SHARDY_DONE;
}

static shardy_plan *new_plan(const char *dir)
{
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = SHARDS;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    options.run_id = "in-steps";
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    assert_ok(shardy_plan_new(NULL, dir, &options, &plan, &err));
    return plan;
}

static shardy_bytes as_bytes(const shardy_buf *buf)
{
    shardy_bytes bytes = {buf->data, buf->len};
    return bytes;
}

/* A plan whose shards are built, once each. */
typedef struct steps {
    char *dir;
    shardy_plan *plan;
    shardy_buf results[SHARDS];
} steps;

static void build_attempts(const shardy_plan *plan, shardy_buf *results)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        shard_rows rows = {i, 0, "", ""};
        assert_ok(shardy_attempt_build(plan, i, 0, next_row, &rows, &results[i], &err));
    }
}

static shardy_buf select_winners(const steps *s)
{
    shardy_bytes all[SHARDS];
    shardy_buf winners;
    for (uint32_t i = 0; i < SHARDS; i++) {
        all[i] = as_bytes(&s->results[SHARDS - 1 - i]); /* in any order */
    }
    assert_ok(shardy_winners_select(s->plan, all, SHARDS, &winners, &err));
    return winners;
}

static void begin(steps *s)
{
    memset(s, 0, sizeof *s);
    s->dir = support_make_dir();
    s->plan = new_plan(s->dir);
}

static void end(steps *s)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        shardy_buf_release(&s->results[i]);
    }
    shardy_plan_free(s->plan);
    support_remove_dir(s->dir);
}

/* The run of the plan is the only one, and current. */
static void assert_published_once(const steps *s)
{
    shardy_history history;
    assert_ok(shardy_history_list(NULL, s->dir, 10, NULL, &history, &err));
    assert_int_equal(history.count, 1);
    assert_int_equal(history.entries[0].current, 1);
    shardy_history_dispose(&history);
}

static void assert_published_already(shardy_plan *plan, const shardy_buf *winners)
{
    assert_status(SHARDY_MISUSE, shardy_plan_publish(plan, as_bytes(winners), NULL, &err));
    assert_string_equal(
        err.message, "run \"in-steps\" cannot be published again: its fate is PUBLISHED");
}

static void test_steps__a_plan_that_travelled_as_json_builds_and_publishes(void **state)
{
    steps s;
    shardy_plan *worker;
    shardy_buf json;
    shardy_build_result built;
    (void)state;
    begin(&s);
    assert_ok(shardy_plan_to_json(s.plan, &json, &err));
    assert_ok(shardy_plan_from_json(NULL, s.dir, as_bytes(&json), NULL, &worker, &err));
    build_attempts(worker, s.results);
    shardy_buf winners = select_winners(&s);
    assert_ok(shardy_plan_publish(s.plan, as_bytes(&winners), &built, &err));
    assert_int_equal(built.row_count, KEYS);
    shardy_reader *reader;
    assert_ok(shardy_reader_open(NULL, s.dir, NULL, &reader, &err));
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[32];
        char expected[64];
        shardy_buf value;
        snprintf(key, sizeof key, "key-%u", i);
        snprintf(expected, sizeof expected, "value of %s", key);
        shardy_key k = shardy_key_cstr(key);
        assert_ok(shardy_reader_get(reader, &k, NULL, &value, &err));
        assert_int_equal(value.len, strlen(expected));
        assert_memory_equal(value.data, expected, value.len);
        shardy_buf_release(&value);
    }
    shardy_reader_close(reader);
    shardy_build_result_dispose(&built);
    shardy_buf_release(&winners);
    shardy_buf_release(&json);
    shardy_plan_free(worker);
    end(&s);
}

static void test_steps__a_plan_is_published_once(void **state)
{
    steps s;
    (void)state;
    begin(&s);
    build_attempts(s.plan, s.results);
    shardy_buf winners = select_winners(&s);
    assert_ok(shardy_plan_publish(s.plan, as_bytes(&winners), NULL, &err));
    assert_published_already(s.plan, &winners);
    assert_published_once(&s);
    shardy_buf_release(&winners);
    end(&s);
}

/* What the record of the only run says. */
static char *record_of(const char *dir)
{
    shardy_store *store;
    shardy_store_page page;
    char *text = NULL;
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    assert_ok(shardy_store_list(store, "runs/", 0, NULL, 10, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        if (strstr(key, "/run.yaml")) {
            assert_null(text);
            text = support_read_file(support_path(dir, key), NULL);
        }
    }
    shardy_store_page_dispose(&page);
    shardy_store_close(store);
    assert_non_null(text);
    return text;
}

static void test_steps__a_plan_that_another_process_has_published_says_so(void **state)
{
    steps s;
    shardy_plan *copy;
    shardy_buf json;
    (void)state;
    begin(&s);
    assert_ok(shardy_plan_to_json(s.plan, &json, &err));
    assert_ok(shardy_plan_from_json(NULL, s.dir, as_bytes(&json), NULL, &copy, &err));
    build_attempts(s.plan, s.results);
    shardy_buf winners = select_winners(&s);
    assert_ok(shardy_plan_publish(s.plan, as_bytes(&winners), NULL, &err));
    assert_published_already(copy, &winners);
    assert_published_already(copy, &winners); /* also when it is asked again */
    char *record = record_of(s.dir);
    assert_non_null(strstr(record, "status: succeeded"));
    free(record);
    assert_published_once(&s);
    shardy_buf_release(&json);
    shardy_buf_release(&winners);
    shardy_plan_free(copy);
    end(&s);
}

/* The JSON of a plan with another value of a member. */
static shardy_buf with_member(const char *dir, const char *name, const char *value, char **text_out)
{
    shardy_plan *plan = new_plan(dir);
    shardy_buf json;
    char mark[64];
    assert_ok(shardy_plan_to_json(plan, &json, &err));
    shardy_plan_free(plan);
    const char *text = json.data;
    snprintf(mark, sizeof mark, "\"%s\":", name);
    const char *at = strstr(text, mark);
    assert_non_null(at);
    at += strlen(mark);
    const char *end = at[0] == '"' ? strchr(at + 1, '"') + 1 : at + strcspn(at, ",}");
    size_t size = json.len + strlen(value) + 1;
    *text_out = malloc(size);
    snprintf(*text_out, size, "%.*s%s%s", (int)(at - text), text, value, end);
    return json;
}

static void test_steps__a_plan_that_would_change_what_is_not_its_own_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        const char *expected;
    } cases[] = {
        {"record_key", "\"_CURRENT\"", "\"_CURRENT\" is no run record of \"in-steps\""},
        {"record_key", "\"runs/run_id=in-steps/fate\"", "is no run record of"},
        {"record_key",
            "\"runs/2026-01-02T03:04:05.000006Z_run_id=b_00000000000000000000000000000000/"
            "run.yaml\"",
            "is no run record of \"in-steps\""},
        {"record_key",
            "\"runs/2026-01-02T03:04:05.000006Z_run_id=in-steps_00000000000000000000000000000000/"
            "x\"",
            "is no run record of \"in-steps\""},
        {"record_key",
            "\"logs/2026-01-02T03:04:05.000006Z_run_id=in-steps_00000000000000000000000000000000/"
            "run.yaml\"",
            "is no run record of \"in-steps\""},
        {"run_registry_prefix", "\"logs\"", "is no run record of \"in-steps\""},
        {"run_id", "\"other\"", "is no run record of \"other\""},
        {"shard_prefix", "\"runs\"", "shard_prefix is \"runs\", where no shards can be"},
        {"shard_prefix", "\"manifests\"", "where no shards can be"},
        {"shard_prefix", "\".shardyfusion\"", "shard_prefix is \".shardyfusion\""},
        {"seen", "\"\\r\\nx-header: 1\"", "the plan's \"seen\" has a control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *dir = support_make_dir();
        char *text;
        shardy_plan *plan;
        shardy_buf json = with_member(dir, cases[i].name, cases[i].value, &text);
        shardy_bytes bytes = {text, strlen(text)};
        shardy_status st = shardy_plan_from_json(NULL, dir, bytes, NULL, &plan, &err);
        if (st != SHARDY_INVALID || !strstr(err.message, cases[i].expected)) {
            fail_msg("%s %s: %d %s", cases[i].name, cases[i].value, st, err.message);
        }
        assert_null(plan);
        free(text);
        shardy_buf_release(&json);
        support_remove_dir(dir);
    }
}

static void test_steps__a_plan_of_a_run_that_nobody_claimed_is_refused(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char *other = support_make_dir();
    shardy_plan *plan = new_plan(dir);
    shardy_plan *copy;
    shardy_buf json;
    assert_ok(shardy_plan_to_json(plan, &json, &err));
    assert_status(
        SHARDY_INVALID, shardy_plan_from_json(NULL, other, as_bytes(&json), NULL, &copy, &err));
    assert_non_null(strstr(err.message, "run \"in-steps\" was not begun"));
    shardy_buf_release(&json);
    shardy_plan_free(plan);
    support_remove_dir(dir);
    support_remove_dir(other);
}

static void test_steps__a_winner_that_is_not_the_runs_own_is_refused(void **state)
{
    steps s;
    (void)state;
    begin(&s);
    build_attempts(s.plan, s.results);
    shardy_buf winners = select_winners(&s);
    char *text = malloc(winners.len + 1);
    memcpy(text, winners.data, winners.len);
    text[winners.len] = '\0';
    static const char own[] = "run_id=in-steps";
    for (char *at = strstr(text, own); at; at = strstr(at, own)) {
        memcpy(at, "run_id=of-other", sizeof own - 1);
    }
    shardy_bytes foreign = {text, winners.len};
    assert_status(SHARDY_INVALID, shardy_plan_publish(s.plan, foreign, NULL, &err));
    assert_non_null(strstr(err.message, "\"shards/run_id=of-other/db=00000/attempt=00\""));
    assert_non_null(strstr(err.message, "\"shards/run_id=in-steps/db=00000/attempt=00\""));
    assert_ok(shardy_plan_publish(s.plan, as_bytes(&winners), NULL, &err));
    free(text);
    shardy_buf_release(&winners);
    end(&s);
}

static void test_steps__a_missing_shard_is_a_failure_of_coverage(void **state)
{
    steps s;
    shardy_buf winners;
    (void)state;
    begin(&s);
    build_attempts(s.plan, s.results);
    shardy_bytes two[2] = {as_bytes(&s.results[0]), as_bytes(&s.results[2])};
    assert_status(SHARDY_COVERAGE, shardy_winners_select(s.plan, two, 2, &winners, &err));
    assert_non_null(strstr(err.message, "shard 1"));
    end(&s);
}

static void test_steps__a_row_of_another_shard_is_a_failure_of_coverage(void **state)
{
    steps s;
    shard_rows rows = {0, 0, "", ""};
    shardy_buf result;
    (void)state;
    begin(&s);
    assert_status(
        SHARDY_COVERAGE, shardy_attempt_build(s.plan, 1, 0, next_row, &rows, &result, &err));
    assert_non_null(strstr(err.message, "belongs to shard 0"));
    end(&s);
}

/* `dim` floats, or a pointer only. */
static shardy_status next_vector(void *user, shardy_row *row_out, shardy_error *error)
{
    static const float vector[] = {1, 2};
    const uint32_t *dim = user;
    (void)error;
    shardy_row_init(row_out, sizeof *row_out);
    row_out->key = shardy_key_cstr("key-1");
    row_out->value.data = "v";
    row_out->value.len = 1;
    row_out->vector = vector;
    row_out->dim = *dim;
    return SHARDY_OK;
}

static void test_steps__a_vector_in_a_plan_without_is_refused(void **state)
{
    steps s;
    shardy_buf result;
    (void)state;
    begin(&s);
    for (uint32_t dim = 0; dim <= 2; dim++) {
        assert_status(
            SHARDY_INVALID, shardy_attempt_build(s.plan, 1, 0, next_vector, &dim, &result, &err));
        assert_string_equal(
            err.message, "row with key \"key-1\": it has a vector, the others have none");
    }
    end(&s);
}

static void test_steps__a_run_id_can_be_claimed_once(void **state)
{
    steps s;
    (void)state;
    begin(&s);
    shardy_plan *second;
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 1;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    options.run_id = "in-steps";
    assert_status(SHARDY_EXISTS, shardy_plan_new(NULL, s.dir, &options, &second, &err));
    assert_non_null(strstr(err.message, "in-steps"));
    end(&s);
}

static void test_steps__verify_routing_names_the_first_wrong_key(void **state)
{
    steps s;
    (void)state;
    begin(&s);
    shardy_key keys[2] = {shardy_key_cstr("a"), shardy_key_cstr("b")};
    uint32_t ids[2];
    for (size_t i = 0; i < 2; i++) {
        assert_ok(shardy_hash_route(&keys[i], SHARDS, &ids[i], &err));
    }
    assert_ok(shardy_verify_routing(s.plan, keys, ids, 2, &err));
    ids[1] = (ids[1] + 1) % SHARDS;
    assert_status(SHARDY_COVERAGE, shardy_verify_routing(s.plan, keys, ids, 2, &err));
    assert_non_null(strstr(err.message, "\"b\""));
    end(&s);
}

/* --- others who have the run ------------------------------------------------------------------ */

/* A plan that was read from its JSON, over the data set in `s->dir` with those events. */
static shardy_status publish_copy(
    const steps *s, const shardy_buf *json, const shardy_buf *winners, const event_plan *events)
{
    static event_log log;
    shardy_store *fs;
    shardy_store *store;
    shardy_plan *copy;
    shardy_plan_options options;
    assert_ok(shardy_store_open_fs(NULL, s->dir, NULL, &fs, &err));
    assert_ok(event_store_open(fs, &log, events, &store, &err));
    shardy_plan_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_plan_from_json(NULL, s->dir, as_bytes(json), &options, &copy, &err));
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_plan_publish(copy, as_bytes(winners), NULL, &err);
    shardy_plan_free(copy);
    shardy_store_close(store);
    shardy_store_close(fs);
    return st;
}

typedef struct again {
    const steps *s;
    shardy_buf json;
    shardy_buf winners;
} again;

/* Somebody has the run and is about to write: its plan is published once more, and a cleanup keeps
 * the newest snapshot only. */
static void publish_again_and_clean(void *user)
{
    const again *a = user;
    const event_plan nothing = {.arrive = NULL};
    shardy_cleanup_options cleanup;
    shardy_cleanup_result result;
    assert_status(SHARDY_CONFLICT, publish_copy(a->s, &a->json, &a->winners, &nothing));
    assert_non_null(strstr(err.message, "a rollback to it makes it current"));
    shardy_cleanup_options_init(&cleanup, sizeof cleanup);
    cleanup.keep_last = 1;
    assert_ok(shardy_cleanup(NULL, a->s->dir, &cleanup, &result, &err));
    shardy_cleanup_result_dispose(&result);
}

static void test_steps__a_plan_published_again_takes_nothing_from_a_rollback(void **state)
{
    static event_log log;
    steps s;
    again a = {.s = &s};
    shardy_store *fs;
    shardy_store *store;
    shardy_reader *reader;
    dataset_options data;
    shardy_admin_options admin;
    shardy_rollback_target target;
    (void)state;
    begin(&s);
    build_attempts(s.plan, s.results);
    a.winners = select_winners(&s);
    assert_ok(shardy_plan_to_json(s.plan, &a.json, &err));
    const event_plan broken = {.pointer_fails = 1};
    assert_status(SHARDY_IO, publish_copy(&s, &a.json, &a.winners, &broken));
    dataset_options_init(&data);
    assert_ok(dataset_build(NULL, s.dir, "newer", &data, &err));
    const event_plan stopped = {.arrive = publish_again_and_clean, .user = &a};
    assert_ok(shardy_store_open_fs(NULL, s.dir, NULL, &fs, &err));
    assert_ok(event_store_open(fs, &log, &stopped, &store, &err));
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = store;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = "in-steps";
    assert_ok(shardy_rollback(NULL, NULL, &target, &admin, NULL, &err));
    assert_ok(shardy_reader_open(NULL, s.dir, NULL, &reader, &err));
    shardy_key key = shardy_key_cstr("key-1");
    shardy_buf value;
    assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
    assert_int_equal(value.len, strlen("value of key-1"));
    shardy_buf_release(&value);
    shardy_reader_close(reader);
    shardy_store_close(store);
    shardy_store_close(fs);
    shardy_buf_release(&a.json);
    shardy_buf_release(&a.winners);
    end(&s);
}

/* A cleanup two weeks later settles the run. */
static void settle_later(void *user)
{
    const steps *s = user;
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    shardy_cleanup_options cleanup;
    shardy_cleanup_result result;
    clock.wall_us = ((int64_t)time(NULL) + 14 * 24 * 3600) * 1000000;
    shardy_cleanup_options_init(&cleanup, sizeof cleanup);
    cleanup.include_old_runs = 1;
    assert_ok(shardy_cleanup(context, s->dir, &cleanup, &result, &err));
    assert_int_equal(result.settled, 1);
    shardy_cleanup_result_dispose(&result);
    shardy_context_free(context);
}

static void test_steps__a_plan_that_was_fenced_takes_its_manifest_away_again(void **state)
{
    steps s;
    shardy_buf json;
    dataset_options data;
    (void)state;
    begin(&s);
    dataset_options_init(&data);
    assert_ok(dataset_build(NULL, s.dir, "current", &data, &err));
    build_attempts(s.plan, s.results);
    shardy_buf winners = select_winners(&s);
    assert_ok(shardy_plan_to_json(s.plan, &json, &err));
    const event_plan stopped = {.arrive = settle_later, .user = &s, .at_manifest = 1};
    for (int i = 0; i < 2; i++) { /* also when the plan is read once it is condemned */
        assert_status(SHARDY_FENCED, publish_copy(&s, &json, &winners, &stopped));
        assert_non_null(strstr(err.message, "run \"in-steps\" was condemned"));
        const char *manifests = support_path(s.dir, "manifests");
        assert_int_equal(support_count_entries(manifests), 1); /* that of "current" */
    }
    shardy_buf_release(&json);
    shardy_buf_release(&winners);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps__a_plan_that_travelled_as_json_builds_and_publishes),
        cmocka_unit_test(test_steps__a_plan_is_published_once),
        cmocka_unit_test(test_steps__a_plan_that_another_process_has_published_says_so),
        cmocka_unit_test(test_steps__a_plan_that_would_change_what_is_not_its_own_is_refused),
        cmocka_unit_test(test_steps__a_plan_of_a_run_that_nobody_claimed_is_refused),
        cmocka_unit_test(test_steps__a_winner_that_is_not_the_runs_own_is_refused),
        cmocka_unit_test(test_steps__a_missing_shard_is_a_failure_of_coverage),
        cmocka_unit_test(test_steps__a_row_of_another_shard_is_a_failure_of_coverage),
        cmocka_unit_test(test_steps__a_vector_in_a_plan_without_is_refused),
        cmocka_unit_test(test_steps__a_run_id_can_be_claimed_once),
        cmocka_unit_test(test_steps__verify_routing_names_the_first_wrong_key),
        cmocka_unit_test(test_steps__a_plan_published_again_takes_nothing_from_a_rollback),
        cmocka_unit_test(test_steps__a_plan_that_was_fenced_takes_its_manifest_away_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
