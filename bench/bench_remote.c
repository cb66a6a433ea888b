/* bench_remote: round trips, requests and bytes of look-ups in a shard that is read by ranges.
 *
 *   bench_remote [--rows=N] [--dir=DIR]
 *
 * Nothing here is a time: a store around the directory of the snapshot writes down which read was
 * started after which had been answered, and hides that there are local files. The peer is sqlite3
 * on the same shard, each of its reads one range, with its own page cache of 2 MB; it is told the
 * file, so it need not find it by pointer and manifest.
 *
 * cold_get: from opening the reader to the first value. later_get, later_absent: one more key each,
 * drawn anew, the mean of 1,000. multi_get_near, multi_get_far: 1,000 keys that are neighbours, or
 * scattered, with a reader whose shard was asked once. */
#include "../tests/support/trip_store.h"
#include "support/bench.h"
#include "support/range_vfs.h"
#include "support/sqlite_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 1000u

typedef struct bench {
    const bench_options *options;
    uint8_t *keys; /* sorted */
    shardy_store *trips;
    char *object; /* key of the shard's file */
    shardy_reader *reader;
    sqlite3 *db;
    sqlite3_stmt *get;
} bench;

static void report(const bench *b, const char *what, trip_counts ours, trip_counts peer, double n)
{
    const struct {
        const char *unit;
        double ours;
        double peer;
    } figures[] = {{"round_trips", ours.steps, peer.steps},
        {"requests", ours.requests, peer.requests},
        {"kib", (double)ours.bytes / 1024, (double)peer.bytes / 1024}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char name[64];
        bench_sample sample;
        snprintf(name, sizeof name, "remote_%s_%s", what, figures[i].unit);
        sample.ours[0] = figures[i].ours / n;
        sample.peer[0] = figures[i].peer / n;
        const bench_line line = {
            name, "sqlite3_over_ranges", figures[i].unit, b->options->rows, 0, NULL};
        bench_report(&line, &sample, 1);
    }
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
    sqlite3_reset(b->get);
}

/* Where the key of the first look-up is: far from the ends of the file. */
static size_t first_key(const bench *b)
{
    return b->options->rows / 3 * BENCH_KEY_LEN;
}

static trip_counts ours_open(bench *b)
{
    shardy_error err;
    shardy_reader_options o;
    shardy_reader_options_init(&o, sizeof o);
    o.access = SHARDY_ACCESS_RANGE;
    o.store = b->trips;
    shardy_reader_close(b->reader);
    (void)trip_store_take(b->trips);
    bench_check(shardy_reader_open(NULL, NULL, &o, &b->reader, &err), "open", &err);
    ours_get(b, b->keys + first_key(b), SHARDY_OK);
    return trip_store_take(b->trips);
}

static trip_counts peer_open(bench *b)
{
    if (b->db) {
        sqlite3_finalize(b->get);
        sqlite3_close(b->db);
    }
    (void)trip_store_take(b->trips);
    b->db = bench_sqlite_open_ranges(b->trips, b->object);
    b->get = bench_prepare(b->db, "SELECT v FROM kv WHERE k = ?");
    peer_get(b, b->keys + first_key(b), SQLITE_ROW);
    return trip_store_take(b->trips);
}

static void later(bench *b, const char *what, int absent)
{
    uint8_t *asked = bench_alloc(KEYS, BENCH_KEY_LEN);
    bench_pick(b->keys, b->options->rows, asked, KEYS);
    for (size_t i = 0; absent && i < KEYS; i++) {
        asked[i * BENCH_KEY_LEN + BENCH_KEY_LEN - 1] ^= 1;
    }
    (void)trip_store_take(b->trips);
    for (size_t i = 0; i < KEYS; i++) {
        ours_get(b, asked + i * BENCH_KEY_LEN, absent ? SHARDY_NOT_FOUND : SHARDY_OK);
    }
    trip_counts ours = trip_store_take(b->trips);
    for (size_t i = 0; i < KEYS; i++) {
        peer_get(b, asked + i * BENCH_KEY_LEN, absent ? SQLITE_DONE : SQLITE_ROW);
    }
    trip_counts peer = trip_store_take(b->trips);
    report(b, what, ours, peer, KEYS);
    bench_need(ours.requests <= KEYS, "a later key takes at most one request");
    free(asked);
}

static void many(bench *b, const char *what, const uint8_t *asked)
{
    shardy_error err;
    shardy_values values;
    shardy_key *keys = bench_alloc(KEYS, sizeof *keys);
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = shardy_key_bytes(asked + i * BENCH_KEY_LEN, BENCH_KEY_LEN);
    }
    (void)ours_open(b);
    bench_check(
        shardy_reader_multi_get(b->reader, keys, KEYS, NULL, &values, &err), "multi_get", &err);
    for (size_t i = 0; i < KEYS; i++) {
        bench_need(values.values[i].status == SHARDY_OK, "multi_get: absent");
    }
    shardy_values_dispose(&values);
    trip_counts ours = trip_store_take(b->trips);
    (void)peer_open(b);
    for (size_t i = 0; i < KEYS; i++) {
        peer_get(b, asked + i * BENCH_KEY_LEN, SQLITE_ROW);
    }
    report(b, what, ours, trip_store_take(b->trips), 1);
    bench_need(ours.steps <= 3, "a multi_get takes at most three round trips");
    free(keys);
}

static void run(bench *b)
{
    trip_counts ours = ours_open(b);
    trip_counts peer = peer_open(b);
    report(b, "cold_get", ours, peer, 1);
    bench_need(ours.steps <= 7, "a first value takes at most seven round trips");
    later(b, "later_get", 0);
    (void)ours_open(b);
    (void)peer_open(b);
    later(b, "later_absent", 1);
    many(b, "multi_get_near", b->keys + (b->options->rows / 2) * BENCH_KEY_LEN);
    uint8_t *asked = bench_alloc(KEYS, BENCH_KEY_LEN);
    bench_pick(b->keys, b->options->rows, asked, KEYS);
    many(b, "multi_get_far", asked);
    free(asked);
}

int main(int argc, char **argv)
{
    bench_options options;
    bench_init(argc, argv, &options);
    bench_need(options.rows >= 4 * KEYS, "--rows is too small");
    bench b = {.options = &options};
    b.keys = bench_alloc(options.rows, BENCH_KEY_LEN);
    bench_random_keys(b.keys, options.rows);
    char *path = bench_fresh_dir(options.dir, "remote");
    bench_build_snapshot(path, b.keys, options.rows, NULL);
    bench_sort_keys(b.keys, options.rows);
    char *file = bench_shard_file(path);
    b.object = file + strlen(path) + 1;
    shardy_error err;
    shardy_store *store;
    bench_check(shardy_store_open_fs(NULL, path, NULL, &store, &err), "store", &err);
    bench_check(trip_store_open(store, &b.trips, &err), "store", &err);
    run(&b);
    sqlite3_finalize(b.get);
    sqlite3_close(b.db);
    shardy_reader_close(b.reader);
    shardy_store_close(b.trips);
    shardy_store_close(store);
    bench_remove(path);
    free(file);
    free(path);
    free(b.keys);
    return 0;
}
