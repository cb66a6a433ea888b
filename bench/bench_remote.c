/* bench_remote: round trips, requests and bytes of look-ups in a bucket, and what a budget of
 * retries costs.
 *
 *   bench_remote --url=URL [--rows=N]        URL: of tests/servers/s3_server.py, see bench/run
 *
 * Nothing here is a time. The server answers each request 20 ms after it came and writes down which
 * came when; round trips are the longest chain of requests each of which came after the answer to
 * the one before. One of 64 shards has all rows but a few; one value in a thousand overflows its
 * page. The peer is sqlite3 on the same shard, each of its reads one request for a range, with its
 * own page cache of 2 MB; it is told the file, so it need not find it by pointer and manifest.
 *
 * first_value: from a new process (context, store, reader) to the first value; with a sidecar, with
 * a sidecar and the first key told when the reader is opened, and without a sidecar. later_*: one
 * more key each. multi_get_*: 1,000 keys that are neighbours, or scattered, of a shard that is not
 * open. shards_64: a key of each shard, none of which is open. refresh: with nothing new. */
#include "support/bench.h"
#include "support/range_vfs.h"
#include "support/s3.h"
#include "support/sqlite_peer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHARDS     64u
#define SHARD      21u /* the large one */
#define OTHER_ROWS 50u /* of each of the others */
#define KEYS       1000u
#define LATER      200u
#define OVERFLOWS  1000u /* one value in so many */
#define LONG_VALUE 9000u
#define CALLS      10000u

/* A snapshot in the bucket. */
typedef struct place {
    const char *url;
    int32_t sidecar;
    char object[SHARDY_OBJECT_KEY_LEN_MAX + 1]; /* the file of the large shard */
} place;

typedef struct bench {
    const bench_options *options;
    uint8_t *keys;                          /* of the large shard, sorted */
    uint8_t others[SHARDS * BENCH_KEY_LEN]; /* one of each shard */
    shardy_context *context;
    shardy_store *store;
    shardy_reader *reader;
    shardy_store *peer_store;
    sqlite3 *db;
    sqlite3_stmt *get;
    uint32_t connections; /* of the next store of ours; 0: the default */
} bench;

/* --- figures ---------------------------------------------------------------------------------- */

/* A count that has a bound: a ratio of 1 or more keeps it. */
static void at_most(const bench *b, const char *what, const char *unit, double ours, double most)
{
    char name[80];
    bench_sample sample;
    snprintf(name, sizeof name, "remote_%s_%s", what, unit);
    sample.ours[0] = ours;
    sample.peer[0] = most;
    const bench_line line = {name, "at most", "count", b->options->rows, 1, ",\"exact\":true"};
    bench_report(&line, &sample, 1);
}

static void beside(
    const bench *b, const char *what, bench_trips ours, bench_trips peer, const char *who)
{
    const char *const names[] = {"round_trips", "requests", "kib"};
    const double we[] = {ours.steps, ours.requests, ours.bytes / 1024};
    const double they[] = {peer.steps, peer.requests, peer.bytes / 1024};
    for (size_t i = 0; i < sizeof we / sizeof *we; i++) {
        char name[80];
        bench_sample sample;
        snprintf(name, sizeof name, "remote_%s_%s", what, names[i]);
        sample.ours[0] = we[i];
        sample.peer[0] = they[i];
        const bench_line line = {name, who, i == 2 ? "kib" : "count", b->options->rows, 0, NULL};
        bench_report(&line, &sample, 1);
    }
}

static bench_trips take(const bench *b)
{
    return bench_trips_take(b->options->url);
}

static bench_trips mean(bench_trips sum, double n)
{
    return (bench_trips){sum.steps / n, sum.requests / n, sum.bytes / n};
}

/* --- the data --------------------------------------------------------------------------------- */

static uint32_t shard_of(const uint8_t *key)
{
    shardy_error err;
    uint32_t db_id = 0;
    shardy_key k = shardy_key_bytes(key, BENCH_KEY_LEN);
    bench_check(shardy_hash_route(&k, SHARDS, &db_id, &err), "route", &err);
    return db_id;
}

static int overflows(size_t row)
{
    return row % OVERFLOWS == OVERFLOWS / 2;
}

static void put(shardy_writer *w, const uint8_t *key, size_t value_len)
{
    static uint8_t value[LONG_VALUE];
    shardy_error err;
    shardy_row row;
    bench_value(key, value);
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_bytes(key, BENCH_KEY_LEN);
    row.value.data = value;
    row.value.len = value_len;
    bench_check(shardy_writer_put(w, &row, &err), "put", &err);
}

/* Random keys, as many as the large shard shall have, and the few of the others. */
static void make_keys(bench *b, uint8_t *others, size_t *other_count)
{
    uint32_t counts[SHARDS] = {0};
    size_t rows = 0;
    *other_count = 0;
    while (rows < b->options->rows || *other_count < (SHARDS - 1) * OTHER_ROWS) {
        uint8_t key[BENCH_KEY_LEN];
        bench_random_keys(key, 1);
        uint32_t shard = shard_of(key);
        if (shard == SHARD && rows < b->options->rows) {
            memcpy(b->keys + rows++ * BENCH_KEY_LEN, key, BENCH_KEY_LEN);
        } else if (shard != SHARD && counts[shard] < OTHER_ROWS) {
            counts[shard]++;
            memcpy(others + (*other_count)++ * BENCH_KEY_LEN, key, BENCH_KEY_LEN);
            memcpy(b->others + shard * BENCH_KEY_LEN, key, BENCH_KEY_LEN);
        }
    }
    bench_sort_keys(b->keys, rows);
    memcpy(b->others + SHARD * BENCH_KEY_LEN, b->keys + rows / 5 * BENCH_KEY_LEN, BENCH_KEY_LEN);
}

static void build(bench *b, place *p, const uint8_t *others, size_t other_count)
{
    shardy_error err;
    shardy_writer *w;
    shardy_writer_options o;
    shardy_build_result result = {0};
    shardy_store *store = bench_s3_open(NULL, b->options->url, p->url, 0);
    shardy_writer_options_init(&o, sizeof o);
    o.num_dbs = SHARDS;
    o.store = store;
    o.scratch_dir = b->options->dir;
    o.sidecar = p->sidecar;
    bench_check(shardy_writer_open(NULL, NULL, &o, &w, &err), "open a writer", &err);
    for (size_t i = 0; i < b->options->rows; i++) {
        put(w, b->keys + i * BENCH_KEY_LEN, overflows(i) ? LONG_VALUE : BENCH_VALUE_LEN);
    }
    for (size_t i = 0; i < other_count; i++) {
        put(w, others + i * BENCH_KEY_LEN, BENCH_VALUE_LEN);
    }
    bench_check(shardy_writer_finish(w, &result, &err), "finish", &err);
    snprintf(p->object, sizeof p->object, "shards/run_id=%s/db=%05u/attempt=00/shard.db",
        result.run_id, SHARD);
    shardy_build_result_dispose(&result);
    shardy_writer_close(w);
    shardy_store_close(store);
}

/* --- both sides ------------------------------------------------------------------------------- */

/* A process that has just started: nothing of what was read before is there. */
static void open_ours(bench *b, const place *p, const uint8_t *first_key)
{
    shardy_error err;
    shardy_reader_options o;
    shardy_key key;
    shardy_reader_close(b->reader);
    shardy_store_close(b->store);
    shardy_context_free(b->context);
    bench_check(shardy_context_new(NULL, &b->context, &err), "context", &err);
    b->store = bench_s3_open(b->context, b->options->url, p->url, b->connections);
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    o.store = b->store;
    if (first_key) {
        key = shardy_key_bytes(first_key, BENCH_KEY_LEN);
        o.first_key = &key;
    }
    bench_check(shardy_reader_open(b->context, NULL, &o, &b->reader, &err), "open", &err);
}

static void open_peer(bench *b, const place *p)
{
    if (b->db) {
        sqlite3_finalize(b->get);
        sqlite3_close(b->db);
        shardy_store_close(b->peer_store);
    }
    b->peer_store = bench_s3_open(NULL, b->options->url, p->url, 0);
    b->db = bench_sqlite_open_ranges(b->peer_store, p->object);
    b->get = bench_prepare(b->db, "SELECT v FROM kv WHERE k = ?");
}

static void ours_get(const bench *b, const uint8_t *key, shardy_status expected)
{
    shardy_error err;
    shardy_buf value;
    shardy_key k = shardy_key_bytes(key, BENCH_KEY_LEN);
    shardy_status st = shardy_reader_get(b->reader, &k, NULL, &value, &err);
    bench_check(st, "get", &err);
    bench_need(st == expected, "get");
    shardy_buf_release(&value);
}

static void peer_get(const bench *b, const uint8_t *key, int expected)
{
    sqlite3_bind_blob(b->get, 1, key, BENCH_KEY_LEN, SQLITE_STATIC);
    bench_need(sqlite3_step(b->get) == expected, "sqlite3 get");
    if (expected == SQLITE_ROW) {
        bench_need(sqlite3_column_blob(b->get, 0) != NULL, "sqlite3 value");
    }
    sqlite3_reset(b->get);
}

static void ours_multi_get(const bench *b, const uint8_t *asked, size_t count)
{
    shardy_error err;
    shardy_values values;
    shardy_key *keys = bench_alloc(count, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        keys[i] = shardy_key_bytes(asked + i * BENCH_KEY_LEN, BENCH_KEY_LEN);
    }
    bench_check(
        shardy_reader_multi_get(b->reader, keys, count, NULL, &values, &err), "multi_get", &err);
    for (size_t i = 0; i < count; i++) {
        bench_need(values.values[i].status == SHARDY_OK, "multi_get: absent");
    }
    shardy_values_dispose(&values);
    free(keys);
}

/* --- what is counted -------------------------------------------------------------------------- */

/* Rows in the middle, with a value that does not overflow. */
static const uint8_t *middle_key(const bench *b)
{
    return b->keys + b->options->rows / 3 * BENCH_KEY_LEN;
}

static void first_value(bench *b, const place *p, const char *name, int told, double most)
{
    const uint8_t *key = middle_key(b);
    (void)take(b);
    open_ours(b, p, told ? key : NULL);
    ours_get(b, key, SHARDY_OK);
    bench_trips ours = take(b);
    open_peer(b, p);
    peer_get(b, key, SQLITE_ROW);
    at_most(b, name, "round_trips", ours.steps, most);
    beside(b, name, ours, take(b), "sqlite3 over ranges");
}

typedef enum later_kind {
    LATER_PRESENT,
    LATER_ABSENT,
    LATER_OVERFLOW
} later_kind;

/* Keys drawn anew, one after the other. Returns the mean of ours. */
static bench_trips later(bench *b, const place *p, const char *name, later_kind kind)
{
    bench_trips sum = {0, 0, 0};
    double requests_most = 0;
    uint8_t *asked = bench_alloc(LATER, BENCH_KEY_LEN);
    open_ours(b, p, NULL);
    ours_get(b, middle_key(b), SHARDY_OK);
    open_peer(b, p);
    peer_get(b, middle_key(b), SQLITE_ROW);
    for (size_t i = 0; i < LATER; i++) {
        size_t row = bench_random() % b->options->rows;
        row = row / OVERFLOWS * OVERFLOWS + (kind == LATER_OVERFLOW ? OVERFLOWS / 2 : row % 400);
        row = row < b->options->rows ? row : OVERFLOWS / 2;
        memcpy(asked + i * BENCH_KEY_LEN, b->keys + row * BENCH_KEY_LEN, BENCH_KEY_LEN);
        if (kind == LATER_ABSENT) {
            /* between two keys of that shard: routing would send most others elsewhere */
            do {
                uint64_t low = bench_random();
                memcpy(asked + i * BENCH_KEY_LEN + BENCH_KEY_LEN - 8, &low, 8);
            } while (shard_of(asked + i * BENCH_KEY_LEN) != SHARD);
        }
    }
    (void)take(b);
    for (size_t i = 0; i < LATER; i++) {
        ours_get(b, asked + i * BENCH_KEY_LEN, kind == LATER_ABSENT ? SHARDY_NOT_FOUND : SHARDY_OK);
        bench_trips one = take(b);
        sum = (bench_trips){
            sum.steps + one.steps, sum.requests + one.requests, sum.bytes + one.bytes};
        requests_most = one.requests > requests_most ? one.requests : requests_most;
    }
    for (size_t i = 0; i < LATER; i++) {
        peer_get(b, asked + i * BENCH_KEY_LEN, kind == LATER_ABSENT ? SQLITE_DONE : SQLITE_ROW);
    }
    char most_name[64];
    snprintf(most_name, sizeof most_name, "%s_most", name);
    at_most(b, most_name, "requests", requests_most, kind == LATER_OVERFLOW ? 2 : 1);
    beside(b, name, mean(sum, LATER), mean(take(b), LATER), "sqlite3 over ranges");
    free(asked);
    return mean(sum, LATER);
}

static bench_trips ours_many(bench *b, const place *p, const uint8_t *asked)
{
    open_ours(b, p, NULL);
    (void)take(b);
    ours_multi_get(b, asked, KEYS);
    return take(b);
}

static bench_trips peer_many(bench *b, const place *p, const uint8_t *asked)
{
    open_peer(b, p);
    for (size_t i = 0; i < KEYS; i++) {
        peer_get(b, asked + i * BENCH_KEY_LEN, SQLITE_ROW);
    }
    return take(b);
}

static void neighbours(bench *b, const place *p)
{
    const char *name = "multi_get_near";
    bench_trips ours = ours_many(b, p, middle_key(b));
    at_most(b, name, "round_trips", ours.steps, 3);
    at_most(b, name, "requests", ours.requests, KEYS / 4.0);
    beside(b, name, ours, peer_many(b, p, middle_key(b)), "sqlite3 over ranges");
}

/* Each of some 200 ranges is a request, so what they take depends on how many requests a store may
 * have on their way: by default all of them; with fewer they go in waves. */
static void scattered(bench *b, const place *p)
{
    const char *name = "multi_get_far";
    uint8_t *asked = bench_alloc(KEYS, BENCH_KEY_LEN);
    bench_pick(b->keys, b->options->rows, asked, KEYS);
    bench_trips peer = peer_many(b, p, asked);
    bench_trips ours = ours_many(b, p, asked);
    at_most(b, name, "round_trips", ours.steps, 3);
    beside(b, name, ours, peer, "sqlite3 over ranges");
    b->connections = 64;
    beside(b, "multi_get_far_64_connections", ours_many(b, p, asked), peer, "sqlite3 over ranges");
    b->connections = 0;
    free(asked);
}

static void all_shards(bench *b, const place *p)
{
    open_ours(b, p, NULL);
    (void)take(b);
    ours_multi_get(b, b->others + SHARD * BENCH_KEY_LEN, 1);
    bench_trips one = take(b);
    open_ours(b, p, NULL);
    (void)take(b);
    ours_multi_get(b, b->others, SHARDS);
    beside(b, "shards_64", take(b), one, "a key of one shard");
}

static void refresh(bench *b, const place *p)
{
    shardy_error err;
    open_ours(b, p, NULL);
    (void)take(b);
    bench_need(shardy_reader_refresh(b->reader, NULL, &err) == SHARDY_NOT_MODIFIED, "refresh");
    bench_trips ours = take(b);
    at_most(b, "refresh", "requests", ours.requests, 1);
    bench_need(ours.bytes == 0, "a refresh with nothing new has no body");
}

/* --- the budget of retries -------------------------------------------------------------------- */

/* Waits are not waited for, they only pass. */
static int64_t hand_monotonic(void *user)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + atomic_load((_Atomic int64_t *)user);
}

static int64_t hand_wall(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void hand_sleep(void *user, int64_t us)
{
    atomic_fetch_add((_Atomic int64_t *)user, us * 1000);
}

static void budget(bench *b, const place *p)
{
    static _Atomic int64_t skipped;
    shardy_error err;
    shardy_context *context;
    shardy_context_options o;
    unsigned failed = 0;
    shardy_context_options_init(&o, sizeof o);
    o.clock = (shardy_clock){hand_wall, hand_monotonic, hand_sleep, &skipped};
    bench_check(shardy_context_new(&o, &context, &err), "context", &err);
    shardy_store *store = bench_s3_open(context, b->options->url, p->url, 0);
    bench_control(b->options->url, "PUT", "faults",
        "{\"kind\": \"status\", \"status\": 503, \"percent\": 50, \"seed\": 7}");
    (void)take(b);
    for (unsigned i = 0; i < CALLS; i++) {
        shardy_buf body;
        memset(&err, 0, sizeof err);
        shardy_status st = shardy_store_get(store, "_CURRENT", 0, 65536, &body, NULL, &err);
        shardy_buf_release(&body);
        bench_need(st >= 0 || (err.status == st && err.message[0] && err.retriable),
            "what fails has a typed error");
        failed += st < 0;
    }
    bench_trips ours = take(b);
    bench_control(b->options->url, "DELETE", "faults", NULL);
    char more[64];
    bench_sample sample = {{ours.requests}, {CALLS * 1.2 + 100}};
    snprintf(more, sizeof more, ",\"exact\":true,\"failed\":%u", failed);
    const bench_line line = {
        "remote_retry_budget_requests", "1.2 x 10,000 calls + 100 tokens", "count", CALLS, 1, more};
    bench_report(&line, &sample, 1);
    shardy_store_close(store);
    shardy_context_free(context);
}

static void run(bench *b, const place *with, const place *without)
{
    bench_control(b->options->url, "POST", "settings", "{\"delay_ms\": 20}");
    first_value(b, with, "first_value_sidecar", 0, 4);
    first_value(b, with, "first_value_told", 1, 3);
    first_value(b, without, "first_value_plain", 0, 7);
    bench_trips present = later(b, with, "later_get", LATER_PRESENT);
    bench_trips absent = later(b, with, "later_absent", LATER_ABSENT);
    at_most(b, "absent_and_present", "requests", absent.requests, present.requests * 1.1 + 0.1);
    (void)later(b, with, "later_overflow", LATER_OVERFLOW);
    neighbours(b, with);
    scattered(b, with);
    all_shards(b, with);
    refresh(b, with);
    bench_control(b->options->url, "POST", "settings", "{\"delay_ms\": 0}");
    budget(b, with);
}

int main(int argc, char **argv)
{
    bench_options options;
    bench_init(argc, argv, &options);
    bench_need(options.rows >= 4 * KEYS, "--rows is too small");
    bench_need(options.url != NULL, "--url is needed");
    bench b = {.options = &options};
    place with = {.url = BENCH_BUCKET "/sidecar", .sidecar = SHARDY_SIDECAR_AUTO};
    place without = {.url = BENCH_BUCKET "/plain", .sidecar = SHARDY_SIDECAR_NEVER};
    size_t other_count;
    uint8_t *others = bench_alloc((SHARDS - 1) * OTHER_ROWS, BENCH_KEY_LEN);
    b.keys = bench_alloc(options.rows, BENCH_KEY_LEN);
    make_keys(&b, others, &other_count);
    build(&b, &with, others, other_count);
    build(&b, &without, others, other_count);
    run(&b, &with, &without);
    sqlite3_finalize(b.get);
    sqlite3_close(b.db);
    shardy_store_close(b.peer_store);
    shardy_reader_close(b.reader);
    shardy_store_close(b.store);
    shardy_context_free(b.context);
    free(others);
    free(b.keys);
    return 0;
}
