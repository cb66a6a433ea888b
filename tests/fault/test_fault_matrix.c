/* Every fault of a server x every operation x once, three times, for ever, over our S3 server whose
 * replies are spoilt by script. The answer is right or a typed error comes, never a wrong answer,
 * never a hang; afterwards, without faults, a fresh reader sees the old or the new snapshot whole,
 * and the operation works when it is run again. Prints the matrix.
 *
 * The quick set spoils the first request of each operation that a fault fits; SHARDY_TORTURE=1 each
 * of them once, and three times and for ever from several on. */
#include "support/bucket.h"
#include "support/crash.h"
#include "support/dataset.h"
#include "support/hand_clock.h"
#include "support/support.h"
#include "support/sweep.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NEW   "run-new"
#define AGAIN "run-later"
/* No trial takes a tenth of it; one that does hang is named. */
#define HANG_S 120u
/* Enough for three failures. */
#define ATTEMPTS      5u
#define ATTEMPTS_SLOW 2u
#define LONG_MS       30000u
/* Positions of three times and for ever in the full set. */
#define SPREAD      4u
#define STATUS_SPAN 1000

typedef enum frequency {
    ONCE = 0,
    THRICE,
    FOR_EVER,
    FREQUENCIES
} frequency;

static const char *const frequency_names[FREQUENCIES] = {"once", "three times", "for ever"};

/* --- the faults ------------------------------------------------------------------------------- */

#define TYPED_MAX 8

typedef struct fault {
    const char *name;
    const char *rule;  /* kind and members, and which requests it fits */
    int passes;        /* 1: once or three times it is not noticed */
    int by_hand;       /* 1: on a clock by hand, as there is a wait that was asked for */
    uint32_t patience; /* not 0: read timeout, and deadline of those that go on for ever */
    int changes;       /* 1: objects are changed */
    /* What an operation may answer, besides that it was done. */
    shardy_status typed[TYPED_MAX];
} fault;

/* A failure that may pass. */
#define PASSING                                                                                    \
    {                                                                                              \
        SHARDY_IO, SHARDY_TIMEOUT, SHARDY_UNAVAILABLE                                              \
    }
#define BUSY                                                                                       \
    {                                                                                              \
        SHARDY_THROTTLED, SHARDY_TIMEOUT, SHARDY_UNAVAILABLE                                       \
    }
/* Replies that are not what is there: so is what they seem to say. */
#define SPOILT                                                                                     \
    {                                                                                              \
        SHARDY_IO, SHARDY_UNAVAILABLE, SHARDY_CORRUPT, SHARDY_CHECKSUM, SHARDY_FORMAT_VERSION,     \
            SHARDY_INVALID, SHARDY_TIMEOUT                                                         \
    }
/* Somebody else did something to the data set. */
#define MEDDLED                                                                                    \
    {                                                                                              \
        SHARDY_CORRUPT, SHARDY_CHECKSUM, SHARDY_CONFLICT, SHARDY_GONE, SHARDY_INVALID,             \
            SHARDY_FORMAT_VERSION                                                                  \
    }

#define STATUS(code) "\"kind\": \"status\", \"status\": " #code
#define RANGED       ", \"range\": \"bytes=*\""
#define WITH_BODY    ", \"operation\": [\"get_object\", \"list_objects\", \"delete_objects\"]"

static const fault faults[] = {
    {"500", STATUS(500), 1, 0, 0, 0, PASSING},
    {"500, done", STATUS(500) ", \"applied\": true", 1, 0, 0, 0, PASSING},
    {"503", STATUS(503), 1, 0, 0, 0, BUSY},
    {"503, retry after", STATUS(503) ", \"retry_after\": \"1\"", 1, 1, 0, 0, BUSY},
    {"error without XML", "\"kind\": \"body\", \"status\": 502, \"body\": \"<Err\"", 1, 0, 0, 0,
        PASSING},
    {"403", STATUS(403), 0, 0, 0, 0, {SHARDY_AUTH}},
    {"409", STATUS(409), 1, 0, 0, 0, PASSING},
    {"412", STATUS(412), 0, 0, 0, 0, {SHARDY_CONFLICT, SHARDY_EXISTS, SHARDY_CHECKSUM}},
    {"drop", "\"kind\": \"drop\"", 1, 0, 0, 0, PASSING},
    {"drop, done", "\"kind\": \"drop\", \"applied\": true", 1, 0, 0, 0, PASSING},
    {"reset", "\"kind\": \"reset\"", 1, 0, 0, 0, PASSING},
    {"hang", "\"kind\": \"hang\"", 1, 0, 250, 0, PASSING},
    {"hang, done", "\"kind\": \"hang\", \"applied\": true", 1, 0, 250, 0, PASSING},
    {"slow", "\"kind\": \"slow\", \"bytes_per_second\": 100000", 1, 0, 60000, 0, PASSING},
    {"cut", "\"kind\": \"cut\", \"after\": 10" WITH_BODY, 1, 0, 0, 0, PASSING},
    {"short", "\"kind\": \"short\"" WITH_BODY, 1, 0, 0, 0, SPOILT},
    {"long", "\"kind\": \"long\"" WITH_BODY, 1, 0, 0, 0, SPOILT},
    {"a bit turned",
        "\"kind\": \"corrupt\", \"at_byte\": 77, \"operation\": [\"get_object\", \"list_objects\"]",
        0, 0, 0, 0, SPOILT},
    {"wrong checksum",
        "\"kind\": \"header\", \"set\": {\"x-amz-checksum-sha256\": "
        "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"}",
        1, 0, 0, 0, SPOILT},
    {"garbage", "\"kind\": \"garbage\"", 1, 0, 0, 0, PASSING},
    {"huge headers", "\"kind\": \"huge_headers\"", 1, 0, 0, 0, PASSING},
    {"a page of a proxy",
        "\"kind\": \"body\", \"body\": \"<html>log in</html>\", \"method\": "
        "[\"GET\", \"POST\", \"PUT\", \"DELETE\"]",
        0, 0, 0, 0, SPOILT},
    {"404 of a balancer",
        "\"kind\": \"body\", \"status\": 404, \"body\": \"404 page not found\", \"method\": "
        "[\"GET\", \"POST\", \"PUT\", \"DELETE\"]",
        1, 0, 0, 0, PASSING},
    {"304, not asked", /* of the pointer it is asked */
        "\"kind\": \"body\", \"status\": 304, \"body\": \"\", \"key\": [\"\", \"*[!T]\"]", 1, 0, 0,
        0, PASSING},
    {"garbage XML",
        "\"kind\": \"body\", \"body\": \"<?xml version=\\\"1.0\\\"?><List\", \"operation\": "
        "[\"list_objects\", \"delete_objects\"]",
        1, 0, 0, 0, SPOILT},
    {"200 with an error", "\"kind\": \"error_200\", \"method\": \"POST\"", 1, 0, 0, 0, PASSING},
    {"keys not deleted", "\"kind\": \"delete_errors\", \"operation\": \"delete_objects\"", 1, 0, 0,
        0, PASSING},
    {"200, not 206", "\"kind\": \"full\"" RANGED, 1, 0, 0, 0, PASSING},
    {"another range", "\"kind\": \"range_shift\"" RANGED, 1, 0, 0, 0, PASSING},
    {"wrong Content-Range", "\"kind\": \"content_range\", \"value\": \"bytes 0-0/1\"" RANGED, 1, 0,
        0, 0, PASSING},
    {"no Content-Range", "\"kind\": \"content_range\", \"value\": null" RANGED, 1, 0, 0, 0,
        PASSING},
    {"multipart", "\"kind\": \"multipart\"" RANGED, 1, 0, 0, 0, PASSING},
    {"gzip", "\"kind\": \"gzip\"" WITH_BODY, 1, 0, 0, 0, SPOILT},
    {"object changed", "\"kind\": \"change\"", 0, 0, 0, 1, MEDDLED},
    {"object gone", "\"kind\": \"change\", \"delete\": true", 0, 0, 0, 1, MEDDLED},
};

#define FAULTS (sizeof faults / sizeof faults[0])

/* --- a trial ---------------------------------------------------------------------------------- */

typedef struct operation operation;

typedef struct trial {
    const operation *op;
    const fault *fault;
    char name[160];
    hand_clock clock;
    shardy_context *context;
    shardy_store *inner;
    shardy_store *store;
    uint32_t timeout_ms; /* of the calls under faults */
    shardy_reader *reader;
    shardy_plan *plan;
    shardy_buf plan_json;
    shardy_buf winners;
    int kept;                      /* 1: a cleanup has said that it keeps a run */
    char stamp[DATASET_STAMP_MAX]; /* that an answer carried */
} trial;

struct operation {
    const char *name;
    int writes;
    bucket_state from;
    const char *before; /* the snapshot that is current before, and after it was done */
    const char *after;
    /* Without faults; may be NULL. */
    void (*prepare)(trial *t);
    /* Under faults. An answer is looked at here. */
    shardy_status (*run)(trial *t, shardy_error *err);
    /* The same without faults, whatever came of it before. */
    void (*run_again)(trial *t, shardy_status before);
};

/* Ends a trial that has failed; the others are run all the same, so that the whole is seen. */
static jmp_buf next_trial;
static unsigned wrong_trials;

static _Noreturn void wrong(const trial *t, const char *what, const char *detail)
{
    print_error("%s: %s: %s\n", t->name, what, detail);
    wrong_trials++;
    longjmp(next_trial, 1);
}

static void must(const trial *t, shardy_status st, const shardy_error *err, const char *what)
{
    if (st < 0) {
        wrong(t, what, err->message);
    }
}

static void expect_stamp(trial *t, const char *found)
{
    snprintf(t->stamp, sizeof t->stamp, "%s", found);
    if (strcmp(found, t->op->after) != 0) {
        wrong(t, "the answer is of the snapshot", found);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static void open_reader(
    trial *t, uint32_t timeout_ms, int32_t access, shardy_status *st_out, shardy_error *err)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = t->store;
    options.access = access;
    options.timeout_ms = timeout_ms;
    *st_out = shardy_reader_open(t->context, BUCKET_URL, &options, &t->reader, err);
}

static void prepare_reader(trial *t, int32_t access)
{
    shardy_error err = {0};
    shardy_status st;
    open_reader(t, LONG_MS, access, &st, &err);
    must(t, st, &err, "open before");
}

static void prepare_ranges(trial *t)
{
    prepare_reader(t, SHARDY_ACCESS_RANGE);
}

static void prepare_download(trial *t)
{
    prepare_reader(t, SHARDY_ACCESS_DOWNLOAD);
}

static void call_options(const trial *t, shardy_read_options *options)
{
    shardy_read_options_init(options, sizeof *options);
    options->timeout_ms = t->timeout_ms;
}

static shardy_status run_get(trial *t, shardy_error *err)
{
    char text[16];
    char found[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_read_options options;
    shardy_key key = dataset_key(7, text);
    shardy_buf value;
    call_options(t, &options);
    shardy_status st = shardy_reader_get(t->reader, &key, &options, &value, err);
    if (st == SHARDY_NOT_FOUND) {
        wrong(t, "get", "the key is said not to be there");
    }
    if (st == SHARDY_OK) {
        if (!dataset_value_stamp(7, (shardy_bytes){value.data, value.len}, found, &problem)) {
            wrong(t, "get", problem.text);
        }
        expect_stamp(t, found);
    }
    shardy_buf_release(&value);
    return st;
}

static shardy_status run_open(trial *t, shardy_error *err)
{
    shardy_status st;
    shardy_reader_close(t->reader);
    open_reader(t, t->timeout_ms, SHARDY_ACCESS_RANGE, &st, err);
    if (st >= 0) {
        shardy_error own = {0};
        shardy_snapshot_info info;
        must(t, shardy_reader_snapshot_info(t->reader, &info, &own), &own, "info");
        expect_stamp(t, info.run_id);
        shardy_snapshot_info_dispose(&info);
    }
    return st;
}

static shardy_status run_multi_get(trial *t, shardy_error *err)
{
    char texts[DATASET_ROWS][16];
    shardy_key keys[DATASET_ROWS];
    uint32_t rows[DATASET_ROWS];
    char found[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_read_options options;
    shardy_values values;
    call_options(t, &options);
    for (uint32_t i = 0; i < DATASET_ROWS; i++) {
        rows[i] = i;
        keys[i] = dataset_key(i, texts[i]);
    }
    shardy_status st =
        shardy_reader_multi_get(t->reader, keys, DATASET_ROWS, &options, &values, err);
    if (st >= 0) {
        if (values.partial || values.count != DATASET_ROWS ||
            !dataset_values_stamp(rows, &values, found, &problem)) {
            wrong(t, "multi_get", values.partial ? "a part is missing" : problem.text);
        }
        expect_stamp(t, found);
    }
    shardy_values_dispose(&values);
    return st;
}

static shardy_status run_search(trial *t, shardy_error *err)
{
    float vector[DATASET_DIM];
    char found[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_read_options options;
    shardy_query query;
    shardy_hits hits;
    call_options(t, &options);
    dataset_query(vector, &query);
    query.top_k = DATASET_ROWS + 1;
    shardy_status st = shardy_reader_search(t->reader, &query, &options, &hits, err);
    if (st >= 0) {
        if (!dataset_hits_stamp(&hits, DATASET_ROWS, found, &problem)) {
            wrong(t, "search", problem.text);
        }
        expect_stamp(t, found);
    }
    shardy_hits_dispose(&hits);
    return st;
}

/* The reader is of NOW; NEXT was published since. */
static void prepare_refresh(trial *t)
{
    prepare_ranges(t);
    bucket_become(BUCKET_IS_NEXT);
}

static const char *stamp_of_reader(trial *t, char stamp_out[DATASET_STAMP_MAX])
{
    shardy_error err = {0};
    shardy_snapshot_info info;
    must(t, shardy_reader_snapshot_info(t->reader, &info, &err), &err, "info");
    snprintf(stamp_out, DATASET_STAMP_MAX, "%s", info.run_id);
    shardy_snapshot_info_dispose(&info);
    return stamp_out;
}

static shardy_status run_refresh(trial *t, shardy_error *err)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_read_options options;
    call_options(t, &options);
    shardy_status st = shardy_reader_refresh(t->reader, &options, err);
    stamp_of_reader(t, stamp);
    if (st == SHARDY_NOT_MODIFIED || strcmp(stamp, st >= 0 ? BUCKET_NEXT : BUCKET_NOW) != 0) {
        wrong(t, st < 0 ? "a refresh that failed shows" : "a refresh shows", stamp);
    }
    return st;
}

static void refresh_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    shardy_status st = shardy_reader_refresh(t->reader, NULL, &err);
    must(t, st, &err, "refresh again");
    if ((before >= 0) != (st == SHARDY_NOT_MODIFIED)) {
        wrong(t, "refresh again", shardy_status_name(st));
    }
    if (strcmp(stamp_of_reader(t, stamp), BUCKET_NEXT) != 0) {
        wrong(t, "refreshed again it shows", stamp);
    }
    must(t, run_get(t, &err), &err, "get after refresh");
}

static shardy_status run_verify(trial *t, shardy_error *err)
{
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = 1;
    options.threads = 1;
    options.admin.store = t->store;
    options.admin.timeout_ms = t->timeout_ms;
    shardy_status st = shardy_verify(t->context, BUCKET_URL, &options, &result, err);
    if (st >= 0 && result.status != SHARDY_VERIFY_OK) {
        /* what it was shown is damaged: that is an answer, here told like a failure */
        st = SHARDY_CORRUPT;
        err->status = st;
        snprintf(err->message, sizeof err->message, "damaged: %s: %s",
            result.damaged_count ? result.damaged[0].path : "",
            result.damaged_count ? result.damaged[0].reason : "not verified");
    }
    shardy_verify_result_dispose(&result);
    return st;
}

static void read_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    (void)before;
    t->timeout_ms = LONG_MS;
    must(t, t->op->run(t, &err), &err, "the same again, without faults");
}

/* --- writing ---------------------------------------------------------------------------------- */

static shardy_status build_run(trial *t, const char *run_id, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.store = t->store;
    return dataset_build(t->context, BUCKET_URL, run_id, &options, err);
}

static shardy_status run_build(trial *t, shardy_error *err)
{
    return build_run(t, NEW, err);
}

/* The run id is taken or free, and another run can be published. */
static void build_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    shardy_status st = build_run(t, NEW, &err);
    if (st != SHARDY_EXISTS && (st != SHARDY_OK || before >= 0)) {
        wrong(t, "built again", err.message);
    }
    must(t, build_run(t, AGAIN, &err), &err, "the next build");
}

static void prepare_publish(trial *t)
{
    shardy_error err = {0};
    shardy_writer_options options;
    shardy_buf attempts[DATASET_SHARDS] = {{0}};
    shardy_bytes results[DATASET_SHARDS];
    dataset_plan_options(&options, NEW);
    options.store = t->store;
    must(t, shardy_plan_new(t->context, BUCKET_URL, &options, &t->plan, &err), &err, "plan");
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, NEW, i);
        must(t, shardy_attempt_build(t->plan, i, 0, dataset_next_row, &feed, &attempts[i], &err),
            &err, "attempt");
        results[i] = (shardy_bytes){attempts[i].data, attempts[i].len};
    }
    must(t, shardy_winners_select(t->plan, results, DATASET_SHARDS, &t->winners, &err), &err,
        "winners");
    must(t, shardy_plan_to_json(t->plan, &t->plan_json, &err), &err, "plan");
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&attempts[i]);
    }
}

static shardy_status run_publish(trial *t, shardy_error *err)
{
    return shardy_plan_publish(t->plan, (shardy_bytes){t->winners.data, t->winners.len}, NULL, err);
}

/* As another process does it, which has the plan only. */
static shardy_status publish_from_json(trial *t, shardy_error *err)
{
    shardy_plan *plan;
    shardy_bytes json = {t->plan_json.data, t->plan_json.len};
    shardy_status st = shardy_plan_from_json(t->context, BUCKET_URL, json, NULL, &plan, err);
    if (st >= 0) {
        shardy_bytes winners = {t->winners.data, t->winners.len};
        st = shardy_plan_publish(plan, winners, NULL, err);
        shardy_plan_free(plan);
    }
    return st;
}

/* The plan that failed does not know whether its last write was done, and may say CONFLICT; who
 * takes it up finishes it. */
static void publish_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    /* what lost against somebody else is complete, and done with as well */
    int ended = before >= 0 || before == SHARDY_CONFLICT;
    shardy_status st = run_publish(t, &err);
    if (st == SHARDY_CONFLICT && !ended) {
        st = publish_from_json(t, &err);
    }
    int fits =
        st == SHARDY_MISUSE ? ended : st >= 0 || (st == SHARDY_CONFLICT && t->fault->changes);
    if (!fits) {
        wrong(t, "published again", err.message);
    }
    must(t, build_run(t, AGAIN, &err), &err, "the next build");
}

static void admin_options(const trial *t, shardy_admin_options *options)
{
    shardy_admin_options_init(options, sizeof *options);
    options->store = t->store;
    options->timeout_ms = t->timeout_ms;
}

static shardy_status roll_to(trial *t, const char *run_id, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    admin_options(t, &options);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = run_id;
    shardy_buf ref;
    shardy_status st = shardy_rollback(t->context, BUCKET_URL, &target, &options, &ref, err);
    shardy_buf_release(&ref);
    return st;
}

static shardy_status run_rollback(trial *t, shardy_error *err)
{
    return roll_to(t, BUCKET_OLD, err);
}

static void rollback_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    (void)before;
    must(t, roll_to(t, BUCKET_OLD, &err), &err, "rollback again");
    must(t, roll_to(t, BUCKET_NOW, &err), &err, "rollback back");
    must(t, build_run(t, AGAIN, &err), &err, "the next build");
}

static shardy_status run_cleanup(trial *t, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = 1;
    options.settle_after_s = 0;
    admin_options(t, &options.admin);
    shardy_status st = shardy_cleanup(t->context, BUCKET_URL, &options, &result, err);
    if (st >= 0 && (result.failures > 0 || result.objects != result.objects_deleted)) {
        wrong(t, "a cleanup that did not fail", "has left something");
    }
    t->kept = result.kept_count > 0;
    shardy_cleanup_result_dispose(&result);
    return st;
}

static unsigned history_count(const trial *t, const char *pinned)
{
    shardy_error err = {0};
    shardy_history history;
    unsigned pins = 0;
    must(t, shardy_history_list(NULL, BUCKET_URL, 100, NULL, &history, &err), &err, "history");
    unsigned count = (unsigned)history.count;
    for (size_t i = 0; i < history.count; i++) {
        pins += strcmp(history.entries[i].run_id, pinned) == 0 ? history.entries[i].pin_count : 0;
    }
    shardy_history_dispose(&history);
    return count * 10 + pins;
}

static void cleanup_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    unsigned count = history_count(t, "");
    if (before >= 0 && !t->kept && count != 10) {
        wrong(t, "cleanup", "the old snapshot is still in the history");
    }
    must(t, run_cleanup(t, &err), &err, "cleanup again");
    if (history_count(t, "") != 10) {
        wrong(t, "cleanup again", "the old snapshot is still in the history");
    }
    must(t, build_run(t, AGAIN, &err), &err, "the next build");
}

static void prepare_settle(trial *t)
{
    shardy_error err = {0};
    const crash_call call = {t->context, {BUCKET_URL, t->store, NULL}, 0, 0};
    must(t, crash_die_publishing(&call, &err), &err, "a publisher that died");
}

static void settle_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    shardy_store_page page;
    cleanup_again(t, before);
    must(t, shardy_store_list(t->store, "shards/run_id=" CRASH_DEAD "/", 0, NULL, 1, &page, &err),
        &err, "a listing");
    if (page.count > 0) {
        wrong(t, "settle again", "there is something left of the dead run");
    }
    shardy_store_page_dispose(&page);
}

static shardy_status run_pin(trial *t, shardy_error *err)
{
    shardy_admin_options options;
    shardy_rollback_target target;
    admin_options(t, &options);
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = BUCKET_OLD;
    return shardy_pin_add(t->context, BUCKET_URL, "keep", &target, &options, NULL, err);
}

static void pin_again(trial *t, shardy_status before)
{
    shardy_error err = {0};
    if (before >= 0 && history_count(t, BUCKET_OLD) != 21) {
        wrong(t, "pin", "it is not there");
    }
    must(t, run_pin(t, &err), &err, "pin again");
    must(t, run_cleanup(t, &err), &err, "a cleanup");
    if (history_count(t, BUCKET_OLD) != 21) {
        wrong(t, "pin", "a cleanup removed what is pinned");
    }
}

static const operation operations[] = {
    {"open", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, NULL, run_open, read_again},
    {"get", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, prepare_ranges, run_get, read_again},
    {"download", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, prepare_download, run_get, read_again},
    {"multi_get", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, prepare_ranges, run_multi_get,
        read_again},
    {"search", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, prepare_ranges, run_search, read_again},
    {"refresh", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NEXT, prepare_refresh, run_refresh,
        refresh_again},
    {"verify", 0, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, NULL, run_verify, read_again},
    {"build", 1, BUCKET_IS_NOW, BUCKET_NOW, NEW, NULL, run_build, build_again},
    {"publish", 1, BUCKET_IS_NOW, BUCKET_NOW, NEW, prepare_publish, run_publish, publish_again},
    {"rollback", 1, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_OLD, NULL, run_rollback, rollback_again},
    {"cleanup", 1, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, NULL, run_cleanup, cleanup_again},
    {"settle", 1, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, prepare_settle, run_cleanup, settle_again},
    {"pin", 1, BUCKET_IS_NOW, BUCKET_NOW, BUCKET_NOW, NULL, run_pin, pin_again},
};

#define OPERATIONS (sizeof operations / sizeof operations[0])

/* --- one trial -------------------------------------------------------------------------------- */

/* What all trials of a fault, an operation and a frequency came to. */
typedef struct cell {
    unsigned trials;
    unsigned right;
    unsigned failed[STATUS_SPAN];
} cell;

/* From the command line; NULL: all. */
static const char *chosen_fault;
static const char *chosen_operation;

static cell cells[FAULTS][OPERATIONS][FREQUENCIES];
static uint64_t injected;

static void begin_trial(trial *t, const operation *op, const fault *f, frequency often)
{
    bucket_store_options options = {LONG_MS, ATTEMPTS, 1};
    memset(t, 0, sizeof *t);
    t->op = op;
    t->fault = f;
    t->timeout_ms = LONG_MS;
    shardy_error err = {0};
    if (f && f->by_hand) {
        t->context = hand_clock_context(&t->clock);
        t->clock.wall_us = (int64_t)time(NULL) * 1000000; /* signatures have a date */
        options.backoff_ms = 200;
    } else {
        shardy_context_options o;
        shardy_context_options_init(&o, sizeof o);
        o.threads = 1;
        assert_ok(shardy_context_new(&o, &t->context, &err));
    }
    if (f && f->patience) {
        options.read_timeout_ms = f->patience;
        if (often == FOR_EVER) {
            options.max_attempts = ATTEMPTS_SLOW;
            t->timeout_ms = f->patience < 1000 ? f->patience : 100;
        }
    }
    bucket_restore(op->from);
    t->store = bucket_open(t->context, &options, &t->inner);
}

static void end_trial(trial *t)
{
    shardy_reader_close(t->reader);
    shardy_buf_release(&t->winners);
    shardy_buf_release(&t->plan_json);
    shardy_plan_free(t->plan);
    shardy_store_close(t->store);
    shardy_store_close(t->inner);
    shardy_context_free(t->context);
}

/* Who else changes objects changes those that are read; of a data set that is written only the
 * pointer, and validly. */
static void add_rule(const fault *f, const operation *op, unsigned from, const char *times)
{
    char rule[4096];
    if (f->changes && op->writes) {
        bucket_state other = op->run == run_cleanup ? BUCKET_IS_AGAIN : BUCKET_IS_OLD;
        char pointer[2048];
        size_t len = 0;
        for (const char *at = bucket_pointer(other); *at && len + 3 < sizeof pointer; at++) {
            if (*at == '"' || *at == '\\') {
                pointer[len++] = '\\';
            }
            pointer[len++] = *at;
        }
        pointer[len] = '\0';
        snprintf(rule, sizeof rule,
            "{\"kind\": \"change\", \"target\": \"" BUCKET_PREFIX
            "_CURRENT\", \"body\": \"%s\", \"from\": %u%s}",
            pointer, from, times);
    } else {
        snprintf(rule, sizeof rule, "{%s, \"from\": %u%s}", f->rule, from, times);
    }
    server_faults(bucket_server(), rule);
}

static void check_outcome(trial *t, shardy_status st, const shardy_error *err, frequency often)
{
    const fault *f = t->fault;
    int typed = 0;
    if (st >= 0) {
        return;
    }
    for (size_t i = 0; i < TYPED_MAX; i++) {
        typed |= f->typed[i] == st;
    }
    if (chosen_fault) {
        print_message("%s: %s: %s\n", t->name, shardy_status_name(st), err->message);
    }
    char text[1200];
    snprintf(text, sizeof text, "%s: %s", shardy_status_name(st), err->message);
    if (!typed || err->status != st || !err->message[0]) {
        wrong(t, "answers", text);
    }
    if (f->passes && often != FOR_EVER) {
        wrong(t, "is noticed", text);
    }
}

/* A fresh reader sees the one or the other, whole. */
static void check_data_set(const trial *t, shardy_status st)
{
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    if (!dataset_check(BUCKET_URL, DATASET_ROWS, stamp, &problem)) {
        wrong(t, "afterwards", problem.text);
    }
    int is_after = strcmp(stamp, t->op->after) == 0;
    int is_before = strcmp(stamp, t->op->before) == 0;
    int is_other = t->fault->changes && strcmp(stamp, BUCKET_OLD) == 0;
    if (!is_other && !is_after && (st >= 0 || !is_before)) {
        wrong(t, "afterwards there is the snapshot", stamp);
    }
}

static void run_trial(const operation *op, const fault *f, frequency often, unsigned from)
{
    static const char *const times[] = {", \"times\": 1", ", \"times\": 3", ""};
    trial t;
    shardy_error err = {0};
    begin_trial(&t, op, f, often);
    if (setjmp(next_trial)) {
        support_watch(NULL, 0);
        return;
    }
    snprintf(t.name, sizeof t.name, "%s, %s from request %u: %s", f->name, frequency_names[often],
        from, op->name);
    support_watch(t.name, HANG_S);
    if (op->prepare) {
        op->prepare(&t);
    }
    add_rule(f, op, from, times[often]);
    shardy_status st = op->run(&t, &err);
    uint64_t used = server_faults_used(bucket_server());
    server_reset(bucket_server());
    check_outcome(&t, st, &err, often);
    if ((often == ONCE && used > 1) || (often == THRICE && used > 3)) {
        wrong(&t, "the server counts", "too many faults");
    }
    t.timeout_ms = LONG_MS;
    if (op->writes) {
        check_data_set(&t, st);
    } else if (f->changes) {
        bucket_become(strcmp(op->after, BUCKET_NEXT) == 0 ? BUCKET_IS_NEXT : BUCKET_IS_NOW);
    }
    op->run_again(&t, st);
    if (op->writes) {
        char stamp[DATASET_STAMP_MAX];
        dataset_problem problem;
        if (!dataset_check(BUCKET_URL, DATASET_ROWS, stamp, &problem)) {
            wrong(&t, "run again", problem.text);
        }
    }
    support_watch(NULL, 0);
    end_trial(&t);
    injected += used;
    if (used > 0) {
        cell *c = &cells[f - faults][op - operations][often];
        c->trials++;
        c->right += st >= 0;
        if (st < 0) {
            c->failed[-st]++;
        }
    }
}

/* --- the matrix ------------------------------------------------------------------------------- */

/* The part of a rule that says which requests it fits, which comes last. */
static const char *matchers(const fault *f)
{
    static const char *const first[] = {
        ", \"operation\"", ", \"method\"", ", \"range\"", ", \"key\""};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        const char *at = strstr(f->rule, first[i]);
        if (at) {
            return at;
        }
    }
    return "";
}

/* How many requests of an operation the fault fits. */
static unsigned count_requests(const operation *op, const fault *f)
{
    trial t;
    shardy_error err = {0};
    char rule[1024];
    begin_trial(&t, op, NULL, ONCE);
    if (setjmp(next_trial)) {
        fail_msg("%s does not work without faults", op->name);
    }
    snprintf(t.name, sizeof t.name, "%s without faults", op->name);
    if (op->prepare) {
        op->prepare(&t);
    }
    snprintf(rule, sizeof rule, "{\"kind\": \"delay\", \"ms\": 0%s}", matchers(f));
    server_faults(bucket_server(), rule);
    must(&t, op->run(&t, &err), &err, "run");
    unsigned count = (unsigned)server_faults_used(bucket_server());
    server_reset(bucket_server());
    end_trial(&t);
    return count;
}

static void run_all_of(const operation *op, const fault *f)
{
    unsigned n = count_requests(op, f);
    unsigned step = (n + SPREAD - 1) / SPREAD;
    for (unsigned from = 1; from <= n; from++) {
        run_trial(op, f, ONCE, from);
        if ((from - 1) % step == 0) {
            run_trial(op, f, THRICE, from);
            run_trial(op, f, FOR_EVER, from);
        }
    }
}

static void print_cell(const cell *of)
{
    char text[64] = "";
    size_t len = 0;
    unsigned all = 0;
    for (unsigned i = 0; i < FREQUENCIES; i++) {
        all += of[i].trials;
        const char *gap = i ? " " : "";
        len += (size_t)(of[i].trials ? snprintf(text + len, sizeof text - len, "%s%u/%u", gap,
                                           of[i].right, of[i].trials)
                                     : snprintf(text + len, sizeof text - len, "%s-", gap));
    }
    print_message(" %-15s", all ? text : "");
}

static void print_matrix(void)
{
    uint64_t trials = 0;
    uint64_t right = 0;
    uint64_t failed[STATUS_SPAN] = {0};
    print_message("right answers of trials: once, three times, for ever\n%-20s", "");
    for (size_t o = 0; o < OPERATIONS; o++) {
        print_message(" %-15s", operations[o].name);
    }
    for (size_t f = 0; f < FAULTS; f++) {
        print_message("\n%-20s", faults[f].name);
        for (size_t o = 0; o < OPERATIONS; o++) {
            print_cell(cells[f][o]);
            for (size_t i = 0; i < FREQUENCIES; i++) {
                const cell *c = &cells[f][o][i];
                trials += c->trials;
                right += c->right;
                for (size_t s = 0; s < STATUS_SPAN; s++) {
                    failed[s] += c->failed[s];
                }
            }
        }
    }
    print_message("\n%llu trials with %llu faults: %llu right", (unsigned long long)trials,
        (unsigned long long)injected, (unsigned long long)right);
    for (size_t s = 0; s < STATUS_SPAN; s++) {
        if (failed[s]) {
            print_message(", %llu %s", (unsigned long long)failed[s],
                shardy_status_name((shardy_status)(-(int)s)));
        }
    }
    print_message("\n");
}

/* Each fault was met by an operation at least, and each operation by a fault; in the full set. */
static void check_all_were_tried(void)
{
    unsigned of_operations[OPERATIONS] = {0};
    for (size_t f = 0; f < FAULTS && sweep_torture() && !chosen_fault; f++) {
        unsigned of_fault = 0;
        for (size_t o = 0; o < OPERATIONS; o++) {
            of_fault += cells[f][o][ONCE].trials;
            of_operations[o] += cells[f][o][FOR_EVER].trials;
            assert_true(f + 1 < FAULTS || of_operations[o] > 0);
        }
        assert_true(of_fault > 0);
    }
}

static int is_chosen(const char *name, const char *chosen)
{
    return !chosen || strncmp(name, chosen, strlen(chosen)) == 0;
}

/* Of the operations that write every third in the quick set. */
static void run_some_of(size_t o, size_t f)
{
    if (!operations[o].writes || (o + f) % 3 == 0) {
        run_trial(&operations[o], &faults[f], (frequency)((f + o / 2) % FREQUENCIES), 1);
    }
}

static void test_matrix__each_answer_is_right_or_a_typed_error(void **state)
{
    (void)state;
    for (size_t f = 0; f < FAULTS; f++) {
        for (size_t o = 0; o < OPERATIONS; o++) {
            if (!is_chosen(faults[f].name, chosen_fault) ||
                !is_chosen(operations[o].name, chosen_operation)) {
                continue;
            }
            if (sweep_torture() || chosen_fault) {
                run_all_of(&operations[o], &faults[f]);
            } else {
                run_some_of(o, f);
            }
        }
    }
    print_matrix();
    check_all_were_tried();
    assert_int_equal(wrong_trials, 0);
}

static const fault *find_fault(const char *name)
{
    size_t f = 0;
    while (strcmp(faults[f].name, name) != 0) {
        f++;
    }
    return &faults[f];
}

/* Documents are read whole, which is when a checksum says something. */
static void test_matrix__a_wrong_checksum_of_a_document_is_asked_for_again_and_then_told(
    void **state)
{
    const fault *f = find_fault("wrong checksum");
    (void)state;
    for (size_t o = 0; o < OPERATIONS && !chosen_fault; o++) {
        const operation *op = &operations[o];
        if (op->run != run_open && op->run != run_refresh && op->run != run_verify) {
            continue;
        }
        cell *c = cells[f - faults][o];
        memset(c, 0, FREQUENCIES * sizeof *c);
        for (int often = 0; often < FREQUENCIES; often++) {
            run_trial(op, f, (frequency)often, 1);
            assert_int_equal(c[often].trials, 1);
            assert_int_equal(c[often].right, often != FOR_EVER);
        }
        assert_int_equal(
            c[FOR_EVER].failed[op->run == run_verify ? -SHARDY_CORRUPT : -SHARDY_CHECKSUM], 1);
    }
    assert_int_equal(wrong_trials, 0);
}

/* "FAULT [OPERATION]", or how they begin: only those, in full. */
int main(int argc, char **argv)
{
    chosen_fault = argc > 1 ? argv[1] : NULL;
    chosen_operation = argc > 2 ? argv[2] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix__each_answer_is_right_or_a_typed_error),
        cmocka_unit_test(
            test_matrix__a_wrong_checksum_of_a_document_is_asked_for_again_and_then_told),
    };
    return cmocka_run_group_tests(tests, bucket_setup, bucket_teardown);
}
