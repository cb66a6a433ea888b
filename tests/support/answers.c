#include "answers.h"

#include "support.h"

#include <stdio.h>
#include <string.h>

#define PASSES_MAX 150u
#define KEYS       6u

typedef struct answers {
    const dataset_place *place;
    event_log *log;
    support_rand rand;
    shardy_reader *reader; /* NULL: to be opened */
    dataset_problem mixed;
} answers;

static shardy_status mix(answers *a, const char *what, const char *found, const char *run_id)
{
    snprintf(a->mixed.text, sizeof a->mixed.text, "%.100s: %.60s in an answer of %.60s", what,
        found, run_id);
    return SHARDY_INTERNAL;
}

/* The snapshot of now, by the reader that is there or by a new one. */
static shardy_status take_reader(answers *a, shardy_error *err)
{
    if (a->reader && support_rand_below(&a->rand, 4) == 0) {
        shardy_reader_close(a->reader);
        a->reader = NULL;
    }
    if (a->reader) {
        return shardy_reader_refresh(a->reader, NULL, err);
    }
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = a->place->store;
    options.manifest_store = a->place->manifests;
    options.fallback_max = 0; /* an older snapshot is not the current one */
    options.access =
        support_rand_below(&a->rand, 2) == 0 ? SHARDY_ACCESS_RANGE : SHARDY_ACCESS_DOWNLOAD;
    return shardy_reader_open(NULL, a->place->url, &options, &a->reader, err);
}

static shardy_status ask_one(
    answers *a, const shardy_snapshot *s, const char *run_id, shardy_error *err)
{
    char text[16];
    char stamp[DATASET_STAMP_MAX] = "";
    shardy_buf value;
    dataset_problem problem;
    uint32_t row = (uint32_t)support_rand_below(&a->rand, DATASET_ROWS);
    shardy_key key = dataset_key(row, text);
    shardy_status st = shardy_snapshot_get(s, &key, NULL, &value, err);
    if (st == SHARDY_NOT_FOUND) {
        return mix(a, "a key is not found", text, run_id);
    }
    if (st < 0) {
        return st;
    }
    int ok = dataset_value_stamp(row, (shardy_bytes){value.data, value.len}, stamp, &problem);
    shardy_buf_release(&value);
    return ok && strcmp(stamp, run_id) == 0 ? SHARDY_OK : mix(a, "a value", stamp, run_id);
}

static shardy_status ask_many(
    answers *a, const shardy_snapshot *s, const char *run_id, shardy_error *err)
{
    char texts[KEYS][16];
    char stamp[DATASET_STAMP_MAX] = "";
    uint32_t rows[KEYS];
    shardy_key keys[KEYS];
    shardy_values values;
    dataset_problem problem;
    for (uint32_t i = 0; i < KEYS; i++) {
        rows[i] = (uint32_t)support_rand_below(&a->rand, DATASET_ROWS);
        keys[i] = dataset_key(rows[i], texts[i]);
    }
    shardy_status st = shardy_snapshot_multi_get(s, keys, KEYS, NULL, &values, err);
    if (st >= 0 &&
        (!dataset_values_stamp(rows, &values, stamp, &problem) || strcmp(stamp, run_id) != 0)) {
        st = mix(a, "values", stamp, run_id);
    }
    shardy_values_dispose(&values);
    return st;
}

static shardy_status ask_search(
    answers *a, const shardy_snapshot *s, const char *run_id, shardy_error *err)
{
    float vector[DATASET_DIM];
    char stamp[DATASET_STAMP_MAX] = "";
    shardy_query query;
    shardy_hits hits;
    dataset_problem problem;
    dataset_query(vector, &query);
    shardy_status st = shardy_snapshot_search(s, &query, NULL, &hits, err);
    if (st >= 0 &&
        (!dataset_hits_stamp(&hits, query.top_k, stamp, &problem) || strcmp(stamp, run_id) != 0)) {
        st = mix(a, "hits", stamp, run_id);
    }
    shardy_hits_dispose(&hits);
    return st;
}

static shardy_status ask(
    answers *a, const shardy_snapshot *s, const char *run_id, shardy_error *err)
{
    shardy_status st = ask_one(a, s, run_id, err);
    st = st < 0 ? st : ask_many(a, s, run_id, err);
    st = st < 0 ? st : ask_search(a, s, run_id, err);
    return st < 0 ? st : ask_one(a, s, run_id, err);
}

static shardy_status hold_and_ask(answers *a, event *e, shardy_error *err)
{
    shardy_snapshot *held;
    shardy_snapshot_info info;
    shardy_status st = shardy_reader_pin(a->reader, &held, err);
    if (st < 0) {
        return st;
    }
    e->held = atomic_fetch_add(&a->log->clock, 1) + 1;
    st = shardy_reader_snapshot_info(a->reader, &info, err); /* nobody else refreshes it */
    if (st >= 0) {
        snprintf(e->run_id, sizeof e->run_id, "%.63s", info.run_id);
        st = ask(a, held, e->run_id, err);
        shardy_snapshot_info_dispose(&info);
    }
    shardy_snapshot_close(held);
    return st;
}

static shardy_status read_once(answers *a)
{
    static const char name[] = "answer";
    shardy_error err = {0};
    event *e = event_begin(a->place->store, EVENT_ANSWER, (shardy_bytes){name, sizeof name - 1});
    shardy_status st = take_reader(a, &err);
    if (st >= 0) {
        st = hold_and_ask(a, e, &err);
    }
    if (st < 0) {
        snprintf(e->ref, sizeof e->ref, "%.20s: %.270s", shardy_status_name(st),
            a->mixed.text[0] ? a->mixed.text : err.message);
        shardy_reader_close(a->reader);
        a->reader = NULL;
    }
    event_end(a->place->store, e, st < 0 ? st : SHARDY_OK);
    return st;
}

uint64_t answers_read(const dataset_place *place, event_log *log, uint64_t seed)
{
    answers a = {place, log, {seed}, NULL, {""}};
    uint64_t whole = 0;
    for (uint32_t i = 0; i < PASSES_MAX && !a.mixed.text[0]; i++) {
        int last = atomic_load(&log->stop) != 0; /* once more, when all have ended */
        whole += read_once(&a) >= 0;
        if (last) {
            break;
        }
    }
    shardy_reader_close(a.reader);
    return whole;
}
