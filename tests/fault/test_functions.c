/* Every public function that can fail, one by one, with each allocation, file operation, store call
 * and thread start below it made to fail. What the function needs is made without faults before, so
 * that the points are its own.
 *
 * The last test reads the public headers and fails when a function is swept nowhere here. */
#include "base/context.h"
#include "catalog/run_record.h"
#include "support/crash.h"
#include "support/dataset.h"
#include "support/hand_clock.h"
#include "support/origin.h"
#include "support/store_fixture.h"
#include "support/sweep.h"

#include <shardyfusion/sys/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Points per kind and mode that are tried in the quick set. */
#define QUICK 3u
/* The same of what takes a second, in the full set. */
#define LARGE 40u

#define NEW "run-new"

#define MEMORY  SWEEP_BIT(SWEEP_ALLOC)
#define READS   (MEMORY | SWEEP_BIT(SWEEP_READ))
#define WRITES  SWEEP_BIT(SWEEP_WRITE)
#define FILES   (READS | WRITES)
#define THREADS SWEEP_BIT(SWEEP_THREAD)
#define CALLS   (SWEEP_BIT(SWEEP_STORE_BEFORE) | SWEEP_BIT(SWEEP_STORE_AFTER))
#define CUT     SWEEP_BIT(SWEEP_STORE_SHORT)

/* Keys of a call that is spread over threads. */
#define MANY 4800u
/* Queries that are worth it for a data set of SEARCHED_ROWS. */
#define QUERIES       32768u
#define SEARCHED_ROWS 96u
/* Rows that do not fit into the least memory budget. */
#define LONG_ROWS  (4 * DATASET_ROWS)
#define LONG_VALUE 400000u

/* --- the stage -------------------------------------------------------------------------------- */

/* What is there before the operation begins. */
typedef struct stage_shape {
    int changes; /* a directory of its own instead of the origin */
    int by_store;
    int reader;
    int snapshot;
    int writer; /* 1: opened, 2: with all rows */
    int plan;   /* 1: made, 2: its shards built, 3: winners chosen */
    uint32_t threads;
    int long_rows;           /* 1: the rows that go into a writer have long values */
    int hand_clock;          /* 1: time passes by hand */
    uint32_t published_rows; /* of NOW, in a directory of its own; 0: a clone of the origin */
    const char *after;       /* the snapshot that the operation makes current; NULL: NOW */
} stage_shape;

typedef struct stage {
    const char *function;
    const stage_shape *shape;
    char *dir; /* to remove; NULL: the origin */
    char *input_dir;
    char input[600];
    const char *url;
    shardy_context *context;
    shardy_store *store;
    shardy_store *faults; /* around `store`; NULL: by the path */
    shardy_reader *reader;
    shardy_snapshot *snapshot;
    shardy_writer *writer;
    shardy_plan *plan;
    shardy_buf plan_json;
    shardy_buf attempts[DATASET_SHARDS];
    shardy_buf winners;
    shardy_row_source *source;
    hand_clock clock;
} stage;

static const char input_text[] = "{\"key\":\"a\",\"v\":[1,2,3,4],\"p\":{\"stamp\":\"x\"}}\n{"
                                 "\"key\":\"b\",\"z\":[1,{\"y\":2}]}\n";

static shardy_bytes bytes_in(const shardy_buf *buf)
{
    return (shardy_bytes){buf->data, buf->len};
}

static void writer_options(const stage *s, shardy_writer_options *options)
{
    dataset_plan_options(options, NEW);
    options->threads = s->shape->threads ? s->shape->threads : 1;
    options->store = s->faults;
    options->sync = 1;
}

/* Gives a row a long value, good until the next one. */
static void make_long(const stage *s, shardy_row *row)
{
    static char value[LONG_VALUE];
    if (s->shape->long_rows) {
        memcpy(value, row->value.data, row->value.len);
        row->value.data = value;
        row->value.len = sizeof value;
    }
}

static shardy_status put_all(stage *s, int at_once, shardy_error *err)
{
    static dataset_row_texts texts[DATASET_ROWS];
    shardy_row rows[DATASET_ROWS];
    shardy_status st = SHARDY_OK;
    uint32_t count = s->shape->long_rows ? LONG_ROWS : DATASET_ROWS;
    for (uint32_t first = 0; st >= 0 && first < count; first += DATASET_ROWS) {
        for (uint32_t i = 0; i < DATASET_ROWS; i++) {
            dataset_fill_row(NEW, first + i, 0, &texts[i], &rows[i]);
        }
        if (at_once) {
            size_t taken;
            st = SWEEP_CALL(shardy_writer_put_rows, s->writer, rows, DATASET_ROWS, &taken, err);
            assert_true((st >= 0) == (taken == DATASET_ROWS));
        }
        for (uint32_t i = 0; !at_once && st >= 0 && i < DATASET_ROWS; i++) {
            make_long(s, &rows[i]);
            st = SWEEP_CALL(shardy_writer_put, s->writer, &rows[i], err);
        }
    }
    return st;
}

static shardy_status build_attempts(stage *s, uint32_t attempt, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, NEW, i);
        shardy_buf_release(&s->attempts[i]);
        st = SWEEP_CALL(shardy_attempt_build, s->plan, i, attempt, dataset_next_row, &feed,
            &s->attempts[i], err);
        assert_true((st == SHARDY_OK) == (s->attempts[i].data != NULL));
    }
    return st;
}

static shardy_status select_winners(stage *s, shardy_error *err)
{
    shardy_bytes results[DATASET_SHARDS];
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        results[i] = bytes_in(&s->attempts[i]);
    }
    shardy_buf_release(&s->winners);
    shardy_status st =
        SWEEP_CALL(shardy_winners_select, s->plan, results, DATASET_SHARDS, &s->winners, err);
    assert_true((st == SHARDY_OK) == (s->winners.data != NULL));
    return st;
}

static void open_reader(stage *s)
{
    shardy_error err = {0};
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = s->faults;
    assert_ok(shardy_reader_open(s->context, s->url, &options, &s->reader, &err));
    if (s->shape->snapshot) {
        assert_ok(shardy_reader_pin(s->reader, &s->snapshot, &err));
    }
}

static void make_plan(stage *s)
{
    shardy_error err = {0};
    shardy_writer_options options;
    writer_options(s, &options);
    assert_ok(shardy_plan_new(s->context, s->url, &options, &s->plan, &err));
    assert_ok(shardy_plan_to_json(s->plan, &s->plan_json, &err));
    if (s->shape->plan >= 2) {
        assert_ok(build_attempts(s, 0, &err));
    }
    if (s->shape->plan >= 3) {
        assert_ok(select_winners(s, &err));
    }
}

static void make_writer(stage *s)
{
    shardy_error err = {0};
    shardy_writer_options options;
    writer_options(s, &options);
    assert_ok(shardy_writer_open(s->context, s->url, &options, &s->writer, &err));
    if (s->shape->writer >= 2) {
        assert_ok(put_all(s, 0, &err));
    }
}

static void open_stores(stage *s)
{
    shardy_error err = {0};
    shardy_store_fs_options options;
    shardy_store_fs_options_init(&options, sizeof options);
    assert_ok(shardy_store_open_fs(s->context, s->url, &options, &s->store, &err));
    assert_ok(shardy_store_wrap_fault(s->context, s->store, &s->faults, &err));
}

static void make_published(stage *s)
{
    shardy_error err = {0};
    dataset_options options;
    if (s->shape->published_rows == 0) {
        assert_true(dataset_clone(origin_dir(), s->dir));
        return;
    }
    dataset_options_init(&options);
    options.rows = s->shape->published_rows;
    assert_ok(dataset_build(NULL, s->dir, NOW, &options, &err));
}

static void *stage_new(const void *param)
{
    shardy_error err = {0};
    stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->shape = param;
    s->url = origin_dir();
    s->input_dir = support_make_dir();
    snprintf(s->input, sizeof s->input, "%s", support_path(s->input_dir, "rows.jsonl"));
    support_write_file(s->input, input_text, strlen(input_text));
    if (s->shape->changes) {
        s->dir = support_make_dir();
        s->url = s->dir;
        make_published(s);
    }
    shardy_context_options options;
    shardy_context_options_init(&options, sizeof options);
    options.threads = s->shape->threads ? s->shape->threads : 1;
    if (s->shape->hand_clock) {
        s->context = hand_clock_context(&s->clock);
    } else {
        assert_ok(shardy_context_new(&options, &s->context, &err));
    }
    if (s->shape->by_store) {
        open_stores(s);
    }
    if (s->shape->reader) {
        open_reader(s);
    }
    if (s->shape->plan) {
        make_plan(s);
    }
    if (s->shape->writer) {
        make_writer(s);
    }
    return s;
}

static void stage_free(void *state)
{
    stage *s = state;
    shardy_row_source_close(s->source);
    shardy_writer_close(s->writer);
    shardy_plan_free(s->plan);
    shardy_buf_release(&s->plan_json);
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&s->attempts[i]);
    }
    shardy_buf_release(&s->winners);
    shardy_snapshot_close(s->snapshot);
    shardy_reader_close(s->reader);
    shardy_store_close(s->faults);
    shardy_store_close(s->store);
    shardy_context_free(s->context);
    assert_int_equal(count_leftovers(s->url), 0);
    support_remove_dir(s->dir);
    support_remove_dir(s->input_dir);
    free(s);
}

static shardy_store *stage_faults(void *state)
{
    stage *s = state;
    return s->faults;
}

/* --- what must hold afterwards ---------------------------------------------------------------- */

/* The published snapshot is whole: NOW, or the next one when the call was done or does not know. */
static void check_published(const stage *s, shardy_status status, const shardy_error *err)
{
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    const char *after = s->shape->after ? s->shape->after : NOW;
    uint32_t before_rows =
        s->shape->published_rows ? s->shape->published_rows : (uint32_t)DATASET_ROWS;
    int ok = dataset_check_current(s->url, before_rows, stamp, &problem);
    if (!ok && s->shape->long_rows) {
        ok = dataset_check_current(s->url, LONG_ROWS, stamp, &problem);
    }
    if (!ok) {
        fail_msg("after \"%s\": %s", err->message, problem.text);
    }
    if (status >= 0) {
        assert_string_equal(stamp, after);
    } else if (strcmp(stamp, after) != 0 || !err->retriable) {
        assert_string_equal(stamp, NOW);
    }
}

static shardy_status read_some(const stage *s, shardy_error *err);

/* Somebody else can build now. */
static void check_next_build(const stage *s, const shardy_error *err)
{
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    dataset_options options;
    shardy_error next = {0};
    dataset_options_init(&options);
    if (dataset_build(NULL, s->url, "run-next", &options, &next) < 0) {
        fail_msg("after \"%s\" the next build fails: %s", err->message, next.message);
    }
    if (!dataset_check_current(s->url, DATASET_ROWS, stamp, &problem)) {
        fail_msg("after \"%s\": %s", err->message, problem.text);
    }
    assert_string_equal(stamp, "run-next");
}

/* What is published is whole, what is open can be read on, and somebody else can build. */
static void check_stage(void *state, shardy_status status, const shardy_error *err)
{
    stage *s = state;
    shardy_error next = {0};
    check_published(s, status, err);
    if (s->reader && read_some(s, &next) < 0) {
        fail_msg("after \"%s\" the next read fails: %s", err->message, next.message);
    }
    if (s->shape->changes) {
        check_next_build(s, err);
    }
}

/* --- operations: base ------------------------------------------------------------------------- */

static shardy_status op_context_new(void *state, shardy_error *err)
{
    shardy_context *context;
    (void)state;
    shardy_status st = SWEEP_CALL(shardy_context_new, NULL, &context, err);
    assert_true((st == SHARDY_OK) == (context != NULL));
    shardy_context_free(context);
    return st;
}

static shardy_status op_cancel_new(void *state, shardy_error *err)
{
    shardy_cancel *cancel;
    (void)state;
    shardy_status st = SWEEP_CALL(shardy_cancel_new, &cancel, err);
    assert_true((st == SHARDY_OK) == (cancel != NULL));
    shardy_cancel_free(cancel);
    return st;
}

static shardy_status op_json_parse(void *state, shardy_error *err)
{
    shardy_json *json;
    (void)state;
    shardy_bytes text = bytes_of("{\"a\":[1,\"\\u00e9\",{\"b\":null}]}");
    shardy_status st = SWEEP_CALL(shardy_json_parse, text, &json, err);
    assert_true((st == SHARDY_OK) == (json != NULL));
    shardy_json_free(json);
    return st;
}

static shardy_status op_yaml_parse(void *state, shardy_error *err)
{
    shardy_yaml *yaml;
    (void)state;
    shardy_bytes text = bytes_of("a: [1, \"\\u00e9\", {b: null}]\nc: |\n  text\n");
    shardy_status st = SWEEP_CALL(shardy_yaml_parse, text, &yaml, err);
    assert_true((st == SHARDY_OK) == (yaml != NULL));
    shardy_yaml_free(yaml);
    return st;
}

/* Nothing is needed but the arguments. */
static shardy_status op_names(void *state, shardy_error *err)
{
    int32_t encoding;
    int32_t metric;
    uint32_t db_id;
    shardy_key key = shardy_key_cstr("a");
    (void)state;
    shardy_status st = SWEEP_CALL(shardy_key_encoding_parse, "utf8", &encoding, err);
    if (st >= 0) {
        st = SWEEP_CALL(shardy_vector_metric_parse, "l2", &metric, err);
    }
    return st < 0 ? st : SWEEP_CALL(shardy_hash_route, &key, 7, &db_id, err);
}

/* --- operations: row sources ------------------------------------------------------------------ */

static shardy_status open_source(stage *s, shardy_error *err)
{
    const char *paths[1] = {s->input};
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    options.vector_column = "v";
    options.payload_column = "p";
    shardy_row_source_close(s->source);
    return SWEEP_CALL(shardy_row_source_open, s->context, paths, 1, &options, &s->source, err);
}

static shardy_status op_source_open(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_status st = open_source(s, err);
    assert_true((st == SHARDY_OK) == (s->source != NULL));
    return st;
}

static void *source_setup(const void *param)
{
    shardy_error err = {0};
    stage *s = stage_new(param);
    assert_ok(open_source(s, &err));
    return s;
}

static shardy_status op_source_next(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    shardy_status st;
    while ((st = SWEEP_CALL(shardy_row_source_next, s->source, &row, err)) == SHARDY_OK) {
    }
    if (st < 0) {
        /* it stays where it failed */
        shardy_error again = {0};
        assert_int_equal(shardy_row_source_next(s->source, &row, &again), st);
        assert_string_equal(again.message, err->message);
    }
    return st;
}

/* --- operations: reading ---------------------------------------------------------------------- */

static shardy_status op_reader_open(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = s->faults;
    shardy_status st = SWEEP_CALL(shardy_reader_open, s->context, s->url, &options, &reader, err);
    assert_true((st == SHARDY_OK) == (reader != NULL));
    shardy_reader_close(reader);
    return st;
}

/* Gets all rows, by the reader or by the snapshot that is held. */
static shardy_status get_all(const stage *s, int held, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st == SHARDY_OK && i < 4; i++) {
        char text[16];
        char stamp[DATASET_STAMP_MAX];
        dataset_problem problem;
        shardy_buf value;
        shardy_key key = dataset_key(i, text);
        st = held ? SWEEP_CALL(shardy_snapshot_get, s->snapshot, &key, NULL, &value, err)
                  : SWEEP_CALL(shardy_reader_get, s->reader, &key, NULL, &value, err);
        assert_int_not_equal(st, SHARDY_NOT_FOUND);
        assert_true(st == SHARDY_OK || !value.data);
        if (st == SHARDY_OK && !dataset_value_stamp(i, bytes_in(&value), stamp, &problem)) {
            fail_msg("%s", problem.text);
        }
        shardy_buf_release(&value);
    }
    return st;
}

static shardy_status op_reader_get(void *state, shardy_error *err)
{
    return get_all(state, 0, err);
}

static shardy_status op_snapshot_get(void *state, shardy_error *err)
{
    return get_all(state, 1, err);
}

static shardy_status multi_get(const stage *s, int held, uint32_t count, shardy_error *err)
{
    static char texts[MANY][16];
    static shardy_key keys[MANY];
    static uint32_t rows[MANY];
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_values values;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = i % DATASET_ROWS;
        keys[i] = dataset_key(rows[i], texts[i]);
    }
    shardy_status st =
        held ? SWEEP_CALL(shardy_snapshot_multi_get, s->snapshot, keys, count, NULL, &values, err)
             : SWEEP_CALL(shardy_reader_multi_get, s->reader, keys, count, NULL, &values, err);
    assert_int_equal(values.count, st == SHARDY_OK ? count : 0);
    if (st == SHARDY_OK && !dataset_values_stamp(rows, &values, stamp, &problem)) {
        fail_msg("%s", problem.text);
    }
    shardy_values_dispose(&values);
    return st;
}

static shardy_status op_reader_multi_get(void *state, shardy_error *err)
{
    return multi_get(state, 0, DATASET_ROWS, err);
}

static shardy_status op_reader_multi_get_many(void *state, shardy_error *err)
{
    return multi_get(state, 0, MANY, err);
}

static shardy_status op_snapshot_multi_get(void *state, shardy_error *err)
{
    return multi_get(state, 1, DATASET_ROWS, err);
}

static shardy_status search(const stage *s, int held, shardy_error *err)
{
    float vector[DATASET_DIM];
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_query query;
    shardy_hits hits;
    dataset_query(vector, &query);
    shardy_status st =
        held ? SWEEP_CALL(shardy_snapshot_search, s->snapshot, &query, NULL, &hits, err)
             : SWEEP_CALL(shardy_reader_search, s->reader, &query, NULL, &hits, err);
    assert_true((st == SHARDY_OK) == (hits.hits != NULL));
    if (st == SHARDY_OK && !dataset_hits_stamp(&hits, query.top_k, stamp, &problem)) {
        fail_msg("%s", problem.text);
    }
    shardy_hits_dispose(&hits);
    return st;
}

static shardy_status op_reader_search(void *state, shardy_error *err)
{
    return search(state, 0, err);
}

/* So many queries that the shards are spread over threads. */
static shardy_status op_reader_search_many(void *state, shardy_error *err)
{
    stage *s = state;
    static float vectors[QUERIES][DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    for (size_t i = 0; i < QUERIES; i++) {
        dataset_query(vectors[i], &query);
    }
    query.vectors = vectors[0];
    query.count = QUERIES;
    query.top_k = 1;
    shardy_status st = SWEEP_CALL(shardy_reader_search, s->reader, &query, NULL, &hits, err);
    assert_true(st < 0 || hits.offsets[QUERIES] == QUERIES);
    shardy_hits_dispose(&hits);
    return st;
}

static shardy_status op_snapshot_search(void *state, shardy_error *err)
{
    return search(state, 1, err);
}

static shardy_status op_reader_pin(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_snapshot *snapshot;
    shardy_status st = SWEEP_CALL(shardy_reader_pin, s->reader, &snapshot, err);
    assert_true((st == SHARDY_OK) == (snapshot != NULL));
    shardy_snapshot_close(snapshot);
    return st;
}

/* The pointer has moved since the reader was opened. */
static void *refresh_setup(const void *param)
{
    shardy_error err = {0};
    stage *s = stage_new(param);
    assert_ok(dataset_rollback(NULL, s->url, OLD, NULL, &err));
    return s;
}

static shardy_status op_reader_refresh(void *state, shardy_error *err)
{
    stage *s = state;
    return SWEEP_CALL(shardy_reader_refresh, s->reader, NULL, err);
}

static void check_refreshed(void *state, shardy_status status, const shardy_error *err)
{
    stage *s = state;
    shardy_error next = {0};
    shardy_health health;
    assert_int_equal(shardy_reader_health(s->reader, -1, &health, &next), SHARDY_OK);
    assert_int_equal(health.refresh_status, status);
    assert_string_equal(health.refresh_message, status < 0 ? err->message : "");
    if (read_some(s, &next) < 0 || shardy_reader_refresh(s->reader, NULL, &next) < 0 ||
        read_some(s, &next) < 0) {
        fail_msg("after \"%s\" the next call fails: %s", err->message, next.message);
    }
}

static shardy_status op_snapshot_info(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_snapshot_info info;
    shardy_status st = SWEEP_CALL(shardy_reader_snapshot_info, s->reader, &info, err);
    assert_true((st == SHARDY_OK) == (info.run_id != NULL));
    shardy_snapshot_info_dispose(&info);
    return st;
}

static shardy_status op_shard_details(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_shard_details details;
    shardy_status st = SWEEP_CALL(shardy_reader_shard_details, s->reader, &details, err);
    assert_int_equal(details.count, st == SHARDY_OK ? DATASET_SHARDS : 0);
    shardy_shard_details_dispose(&details);
    return st;
}

/* What is answered from memory that is there. */
static shardy_status op_route_and_health(void *state, shardy_error *err)
{
    stage *s = state;
    char text[16];
    uint32_t db_id;
    shardy_health health;
    shardy_key key = dataset_key(1, text);
    shardy_status st = SWEEP_CALL(shardy_reader_route_key, s->reader, &key, NULL, &db_id, err);
    if (st >= 0) {
        st = SWEEP_CALL(shardy_reader_health, s->reader, -1, &health, err);
    }
    shardy_explanation explanation;
    return st < 0 ? st : SWEEP_CALL(shardy_reader_explain, s->reader, NULL, &explanation, err);
}

static shardy_status read_some(const stage *s, shardy_error *err)
{
    shardy_status st = get_all(s, 0, err);
    if (st >= 0) {
        st = multi_get(s, 0, DATASET_ROWS, err);
    }
    if (st >= 0) {
        st = search(s, 0, err);
    }
    return st < 0 || !s->snapshot ? st : get_all(s, 1, err);
}

/* --- operations: building --------------------------------------------------------------------- */

static shardy_status op_writer_open(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_writer_options options;
    writer_options(s, &options);
    shardy_status st =
        SWEEP_CALL(shardy_writer_open, s->context, s->url, &options, &s->writer, err);
    assert_true((st == SHARDY_OK) == (s->writer != NULL));
    return st;
}

static shardy_status op_writer_put(void *state, shardy_error *err)
{
    return put_all(state, 0, err);
}

static shardy_status op_writer_put_rows(void *state, shardy_error *err)
{
    return put_all(state, 1, err);
}

static shardy_status op_writer_put_source(void *state, shardy_error *err)
{
    stage *s = state;
    return SWEEP_CALL(shardy_writer_put_source, s->writer, s->source, err);
}

static shardy_status op_writer_finish(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_build_result result;
    shardy_status st = SWEEP_CALL(shardy_writer_finish, s->writer, &result, err);
    assert_true((st == SHARDY_OK) == (result.manifest_ref != NULL));
    shardy_build_result_dispose(&result);
    return st;
}

/* A run that could not be written in the background is told by a later call. */
static shardy_status op_put_and_finish(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_status st = put_all(state, 0, err);
    if (st >= 0) {
        st = op_writer_finish(state, err);
    }
    if (st >= 0) {
        assert_true(shardy_context_metric(s->context, SHARDY_METRIC_RUNS_SPILLED) > 1);
    }
    return st;
}

/* The lease of the run is renewed by a call on its writer; that may fail. */
static shardy_status op_heartbeat(void *state, shardy_error *err)
{
    stage *s = state;
    dataset_row_texts texts;
    shardy_row row;
    dataset_fill_row(NEW, 0, 0, &texts, &row);
    make_long(s, &row);
    s->clock.wall_us += 2 * RUN_RECORD_HEARTBEAT_US;
    s->clock.monotonic_ns += 2 * RUN_RECORD_HEARTBEAT_US * 1000;
    return SWEEP_CALL(shardy_writer_put, s->writer, &row, err);
}

static void check_heartbeat(void *state, shardy_status status, const shardy_error *err)
{
    stage *s = state;
    shardy_error next = {0};
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    if (status >= 0) {
        if (op_writer_finish(s, &next) < 0 || !dataset_check_current(s->url, 1, stamp, &problem)) {
            fail_msg("after \"%s\" the build fails: %s", err->message, next.message);
        }
        assert_string_equal(stamp, NEW);
    }
    check_next_build(s, err);
}

/* Closing cannot fail, whatever fails below it. */
static shardy_status op_writer_close(void *state, shardy_error *err)
{
    stage *s = state;
    (void)err;
    shardy_writer_close(s->writer);
    s->writer = NULL;
    return SHARDY_OK;
}

static shardy_status op_plan_new(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_writer_options options;
    writer_options(s, &options);
    shardy_status st = SWEEP_CALL(shardy_plan_new, s->context, s->url, &options, &s->plan, err);
    assert_true((st == SHARDY_OK) == (s->plan != NULL));
    return st;
}

static shardy_status op_plan_to_json(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_buf json;
    shardy_status st = SWEEP_CALL(shardy_plan_to_json, s->plan, &json, err);
    assert_true((st == SHARDY_OK) == (json.data != NULL));
    shardy_buf_release(&json);
    return st;
}

static shardy_status op_plan_from_json(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_plan *plan;
    shardy_bytes json = bytes_in(&s->plan_json);
    shardy_status st =
        SWEEP_CALL(shardy_plan_from_json, s->context, s->url, json, NULL, &plan, err);
    assert_true((st == SHARDY_OK) == (plan != NULL));
    shardy_plan_free(plan);
    return st;
}

static shardy_status op_attempt_build(void *state, shardy_error *err)
{
    return build_attempts(state, 0, err);
}

static shardy_status op_winners_select(void *state, shardy_error *err)
{
    return select_winners(state, err);
}

static shardy_status op_plan_publish(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_build_result result;
    shardy_status st =
        SWEEP_CALL(shardy_plan_publish, s->plan, bytes_in(&s->winners), &result, err);
    assert_true((st == SHARDY_OK) == (result.manifest_ref != NULL));
    shardy_build_result_dispose(&result);
    return st;
}

/* A plan whose step failed is good for the next try of the step, and for those after it. */
static void check_step(void *state, shardy_status status, const shardy_error *err)
{
    stage *s = state;
    shardy_error next = {0};
    check_published(s, status, err);
    if (build_attempts(s, 1, &next) < 0 || select_winners(s, &next) < 0 ||
        op_plan_publish(s, &next) < 0) {
        fail_msg("after \"%s\" the next steps fail: %s", err->message, next.message);
    }
    check_next_build(s, err);
}

static shardy_status op_verify_routing(void *state, shardy_error *err)
{
    stage *s = state;
    char text[16];
    uint32_t db_id;
    shardy_key key = dataset_key(1, text);
    shardy_status st = shardy_hash_route(&key, DATASET_SHARDS, &db_id, err);
    return st < 0 ? st : SWEEP_CALL(shardy_verify_routing, s->plan, &key, &db_id, 1, err);
}

/* --- operations: administration --------------------------------------------------------------- */

static shardy_status op_history_list(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_admin_options options;
    shardy_history history;
    shardy_admin_options_init(&options, sizeof options);
    options.store = s->faults;
    shardy_status st =
        SWEEP_CALL(shardy_history_list, s->context, s->url, 10, &options, &history, err);
    assert_int_equal(history.count, st == SHARDY_OK ? 2 : 0);
    shardy_history_dispose(&history);
    return st;
}

static shardy_status op_rollback(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_admin_options options;
    shardy_rollback_target target;
    shardy_buf ref;
    shardy_admin_options_init(&options, sizeof options);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = OLD;
    options.store = s->faults;
    shardy_status st =
        SWEEP_CALL(shardy_rollback, s->context, s->url, &target, &options, &ref, err);
    assert_true((st == SHARDY_OK) == (ref.data != NULL));
    shardy_buf_release(&ref);
    return st;
}

static shardy_status op_verify(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.admin.store = s->faults;
    shardy_status st = SWEEP_CALL(shardy_verify, s->context, s->url, &options, &result, err);
    assert_true((st == SHARDY_OK) == (result.manifest_ref != NULL));
    assert_true(st != SHARDY_OK || result.status == SHARDY_VERIFY_OK);
    shardy_verify_result_dispose(&result);
    return st;
}

static void cleanup_options(shardy_cleanup_options *options, shardy_store *store)
{
    shardy_cleanup_options_init(options, sizeof *options);
    options->keep_last = 1;
    options->settle_after_s = 0;
    options->max_retries = 0; /* each would be waited for */
    options->admin.store = store;
}

static shardy_status op_cleanup(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    cleanup_options(&options, s->faults);
    shardy_status st = SWEEP_CALL(shardy_cleanup, s->context, s->url, &options, &result, err);
    assert_true(result.objects_deleted <= result.objects);
    assert_true(st < 0 || (result.failures == 0 && result.objects_deleted == result.objects));
    shardy_cleanup_result_dispose(&result);
    return st;
}

/* What is current is whole, and the next cleanup does the rest. */
static void check_cleanup(void *state, shardy_status status, const shardy_error *err)
{
    stage *s = state;
    shardy_error next = {0};
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_history history;
    cleanup_options(&options, NULL);
    if (shardy_cleanup(NULL, s->url, &options, &result, &next) < 0) {
        fail_msg("after \"%s\" the next cleanup fails: %s", err->message, next.message);
    }
    shardy_cleanup_result_dispose(&result);
    assert_int_equal(shardy_history_list(NULL, s->url, 10, NULL, &history, &next), SHARDY_OK);
    assert_int_equal(history.count, 1);
    assert_string_equal(history.entries[0].run_id, NOW);
    shardy_history_dispose(&history);
    check_stage(state, status, err);
}

static shardy_status op_pin_add(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_admin_options options;
    shardy_buf ref;
    shardy_admin_options_init(&options, sizeof options);
    options.store = s->faults;
    shardy_status st =
        SWEEP_CALL(shardy_pin_add, s->context, s->url, "keep", NULL, &options, &ref, err);
    assert_true((st == SHARDY_OK) == (ref.data != NULL));
    shardy_buf_release(&ref);
    return st;
}

/* Beside the pointer is what might be another. */
static void *cleanup_setup(const void *param)
{
    stage *s = stage_new(param);
    char path[700];
    snprintf(path, sizeof path, "%s/_SUCCESS", s->url);
    support_write_file(path, "", 0);
    return s;
}

static void *settle_setup(const void *param)
{
    stage *s = stage_new(param);
    shardy_error err = {0};
    const crash_call call = {s->context, {s->url, s->store, NULL}, 0, 0};
    assert_ok(crash_die_publishing(&call, &err));
    return s;
}

static void *unpin_setup(const void *param)
{
    stage *s = stage_new(param);
    shardy_error err = {0};
    assert_ok(shardy_pin_add(NULL, s->url, "keep", NULL, NULL, NULL, &err));
    return s;
}

static shardy_status op_pin_remove(void *state, shardy_error *err)
{
    stage *s = state;
    shardy_admin_options options;
    uint32_t removed;
    shardy_admin_options_init(&options, sizeof options);
    options.store = s->faults;
    shardy_status st =
        SWEEP_CALL(shardy_pin_remove, s->context, s->url, "keep", NULL, &options, &removed, err);
    assert_true(removed == 1 || st != SHARDY_OK); /* of two, one may be done */
    return st;
}

/* --- the sweeps ------------------------------------------------------------------------------- */

typedef struct function_case {
    const char *function;
    const char *how;
    shardy_status (*operation)(void *state, shardy_error *err);
    stage_shape shape;
    unsigned kinds;
    unsigned absorbs;
    void *(*setup)(const void *param);
    void (*check)(void *state, shardy_status status, const shardy_error *err);
} function_case;

/* Sorting 40 MB, or tens of thousands of queries: of these the quick set takes a few points. */
static int is_large_case(const stage_shape *shape)
{
    return (shape->long_rows && !shape->hand_clock) || shape->published_rows > 0;
}

static void sweep_functions(const function_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s%s", cases[i].function, cases[i].how);
        int is_large = is_large_case(&cases[i].shape);
        unsigned kinds = cases[i].kinds;
        if (is_large && !sweep_torture()) {
            kinds &= WRITES | THREADS;
        }
        const sweep_case c = {
            .name = name,
            .kinds = kinds,
            .absorbs = cases[i].absorbs,
            .setup = cases[i].setup ? cases[i].setup : stage_new,
            .operation = cases[i].operation,
            .check = cases[i].check ? cases[i].check : check_stage,
            .teardown = stage_free,
            .fault_store = stage_faults,
            .param = &cases[i].shape,
            .quick = is_large ? 1 : QUICK,
            .most = is_large ? LARGE : 0,
        };
        sweep_run(&c);
    }
}

static void test_base__functions_survive_faults(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"shardy_context_new", "", op_context_new, {0}, MEMORY, 0, NULL, NULL},
        {"shardy_cancel_new", "", op_cancel_new, {0}, MEMORY, 0, NULL, NULL},
        {"shardy_json_parse", "", op_json_parse, {0}, MEMORY, 0, NULL, NULL},
        {"shardy_yaml_parse", "", op_yaml_parse, {0}, MEMORY, 0, NULL, NULL},
        {"shardy_row_source_open", "", op_source_open, {0}, READS, 0, NULL, NULL},
        {"shardy_row_source_next", "", op_source_next, {0}, READS, 0, source_setup, NULL},
    };
    sweep_functions(cases, sizeof cases / sizeof cases[0]);
}

static void test_reading__functions_survive_faults(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"shardy_reader_open", "", op_reader_open, {.by_store = 1}, READS | CALLS | CUT, 0, NULL,
            NULL},
        {"shardy_reader_get", "", op_reader_get, {.by_store = 1, .reader = 1}, READS | CALLS, 0,
            NULL, NULL},
        {"shardy_reader_multi_get", "", op_reader_multi_get, {.by_store = 1, .reader = 1},
            READS | CALLS, 0, NULL, NULL},
        {"shardy_reader_multi_get", " (threads)", op_reader_multi_get_many,
            {.threads = 4, .reader = 1}, READS | THREADS, THREADS, NULL, NULL},
        {"shardy_reader_search", "", op_reader_search, {.by_store = 1, .reader = 1}, READS | CALLS,
            0, NULL, NULL},
        {"shardy_reader_search", " (threads)", op_reader_search_many,
            {.threads = 4, .reader = 1, .changes = 1, .published_rows = SEARCHED_ROWS},
            READS | THREADS, THREADS, NULL, NULL},
        {"shardy_reader_refresh", "", op_reader_refresh, {.by_store = 1, .reader = 1, .changes = 1},
            READS | CALLS | CUT, 0, refresh_setup, check_refreshed},
        {"shardy_snapshot_get", "", op_snapshot_get, {.by_store = 1, .reader = 1, .snapshot = 1},
            READS | CALLS, 0, NULL, NULL},
        {"shardy_snapshot_multi_get", "", op_snapshot_multi_get,
            {.by_store = 1, .reader = 1, .snapshot = 1}, READS | CALLS, 0, NULL, NULL},
        {"shardy_snapshot_search", "", op_snapshot_search,
            {.by_store = 1, .reader = 1, .snapshot = 1}, READS | CALLS, 0, NULL, NULL},
        {"shardy_reader_snapshot_info", "", op_snapshot_info, {.reader = 1}, MEMORY, 0, NULL, NULL},
        {"shardy_reader_shard_details", "", op_shard_details, {.reader = 1}, MEMORY, 0, NULL, NULL},
    };
    sweep_functions(cases, sizeof cases / sizeof cases[0]);
}

/* Scratch of dead writers that cannot be looked for, a record that cannot be written, a call whose
 * reply was lost and that is asked about: such failures may go unnoticed. */
#define NOT_NEEDED (FILES | CALLS | THREADS)

static void test_building__functions_survive_faults(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"shardy_writer_open", "", op_writer_open, {.by_store = 1, .changes = 1},
            FILES | CALLS | CUT | THREADS, NOT_NEEDED, NULL, NULL},
        {"shardy_writer_put", "", op_writer_put, {.changes = 1, .writer = 1}, MEMORY, 0, NULL,
            NULL},
        {"shardy_writer_put", " (spilled)", op_put_and_finish,
            {.changes = 1, .writer = 1, .threads = 4, .long_rows = 1, .after = NEW},
            MEMORY | WRITES | THREADS, NOT_NEEDED, NULL, NULL},
        {"shardy_writer_put_rows", "", op_writer_put_rows, {.changes = 1, .writer = 1}, MEMORY, 0,
            NULL, NULL},
        {"shardy_writer_put_source", "", op_writer_put_source, {.changes = 1, .writer = 1}, READS,
            0, source_setup, NULL},
        {"shardy_writer_finish", "", op_writer_finish,
            {.by_store = 1, .changes = 1, .writer = 2, .after = NEW}, FILES | CALLS, NOT_NEEDED,
            NULL, NULL},
        {"shardy_writer_finish", " (threads)", op_writer_finish,
            {.threads = 4, .changes = 1, .writer = 2, .after = NEW}, FILES | THREADS, NOT_NEEDED,
            NULL, NULL},
        {"shardy_writer_finish", " (spilled)", op_writer_finish,
            {.changes = 1, .writer = 2, .threads = 4, .long_rows = 1, .after = NEW}, READS,
            NOT_NEEDED, NULL, NULL},
        {"shardy_writer_put", " (heartbeat)", op_heartbeat,
            {.by_store = 1, .changes = 1, .writer = 1, .long_rows = 1, .hand_clock = 1},
            FILES | CALLS, NOT_NEEDED, NULL, check_heartbeat},
        {"shardy_writer_close", "", op_writer_close, {.by_store = 1, .changes = 1, .writer = 2},
            FILES | CALLS, NOT_NEEDED, NULL, NULL},
    };
    sweep_functions(cases, sizeof cases / sizeof cases[0]);
}

static void test_steps__survive_faults(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"shardy_plan_new", "", op_plan_new, {.by_store = 1, .changes = 1},
            FILES | CALLS | CUT | THREADS, NOT_NEEDED, NULL, NULL},
        {"shardy_plan_to_json", "", op_plan_to_json, {.changes = 1, .plan = 1}, MEMORY, 0, NULL,
            check_step},
        {"shardy_plan_from_json", "", op_plan_from_json, {.changes = 1, .plan = 1}, FILES,
            NOT_NEEDED, NULL, check_step},
        {"shardy_attempt_build", "", op_attempt_build, {.by_store = 1, .changes = 1, .plan = 1},
            FILES | CALLS, NOT_NEEDED, NULL, check_step},
        {"shardy_winners_select", "", op_winners_select, {.changes = 1, .plan = 2}, MEMORY, 0, NULL,
            check_step},
        {"shardy_plan_publish", "", op_plan_publish,
            {.by_store = 1, .changes = 1, .plan = 3, .after = NEW}, FILES | CALLS, NOT_NEEDED, NULL,
            NULL},
    };
    sweep_functions(cases, sizeof cases / sizeof cases[0]);
}

static void test_administration__survives_faults(void **state)
{
    (void)state;
    static const function_case cases[] = {
        {"shardy_history_list", "", op_history_list, {.by_store = 1}, READS | CALLS | CUT, 0, NULL,
            NULL},
        {"shardy_rollback", "", op_rollback, {.by_store = 1, .changes = 1, .after = OLD},
            FILES | CALLS | CUT, NOT_NEEDED, NULL, NULL},
        {"shardy_verify", "", op_verify, {.by_store = 1, .threads = 4}, READS | CALLS | CUT, 0,
            NULL, NULL},
        {"shardy_cleanup", "", op_cleanup, {.by_store = 1, .changes = 1}, FILES | CALLS | CUT,
            NOT_NEEDED, cleanup_setup, check_cleanup},
        {"shardy_cleanup", " (settles)", op_cleanup, {.by_store = 1, .changes = 1},
            FILES | CALLS | CUT, NOT_NEEDED, settle_setup, check_cleanup},
        {"shardy_pin_add", "", op_pin_add, {.by_store = 1, .changes = 1}, FILES | CALLS | CUT,
            NOT_NEEDED, NULL, NULL},
        {"shardy_pin_remove", "", op_pin_remove, {.by_store = 1, .changes = 1}, FILES | CALLS | CUT,
            NOT_NEEDED, unpin_setup, NULL},
    };
    sweep_functions(cases, sizeof cases / sizeof cases[0]);
}

/* --- all of them ------------------------------------------------------------------------------ */

/* What answers from what is there meets no point at all. */
static void test_memory__is_all_that_some_functions_need(void **state)
{
    (void)state;
    static const stage_shape nothing = {0};
    static const stage_shape reader = {.reader = 1};
    static const stage_shape plan = {.changes = 1, .plan = 1};
    static const struct {
        const stage_shape *shape;
        shardy_status (*operation)(void *state, shardy_error *err);
    } cases[] = {{&nothing, op_names}, {&reader, op_reader_pin}, {&reader, op_route_and_health},
        {&plan, op_verify_routing}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sweep_case c = {
            .name = "memory",
            .setup = stage_new,
            .operation = cases[i].operation,
            .teardown = stage_free,
            .param = cases[i].shape,
        };
        sweep_without_points(&c);
    }
}

static void test_functions__that_can_fail_were_all_made_to(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {"store.h", NULL}; /* test_store.c */
    size_t count = sweep_check_headers("include/shardyfusion", elsewhere) +
                   sweep_check_headers("include/shardyfusion/sys", elsewhere);
    assert_true(count > 30 || !shardy_testing_fault_points());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base__functions_survive_faults),
        cmocka_unit_test(test_reading__functions_survive_faults),
        cmocka_unit_test(test_building__functions_survive_faults),
        cmocka_unit_test(test_steps__survive_faults),
        cmocka_unit_test(test_administration__survives_faults),
        cmocka_unit_test(test_memory__is_all_that_some_functions_need),
        cmocka_unit_test(test_functions__that_can_fail_were_all_made_to),
    };
    return cmocka_run_group_tests(tests, origin_setup, origin_teardown);
}
