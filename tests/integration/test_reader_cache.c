/* Readers that keep the shards which they download: how often the store is asked, and what becomes
 * of damaged files. */
#include "base/context.h"
#include "support/dataset.h"
#include "support/store_fixture.h"
#include "support/support.h"
#include "support/sweep.h"
#include "support/trip_store.h"

#include <shardyfusion/limits.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS  1200u
#define STAMP "run-cache"
#define CHUNK 65536u

typedef struct set {
    shardy_context *context;
    shardy_store *memory;
    shardy_store *trips;
    char *dir;
    shardy_reader_options options;
} set;

static void set_open(set *s)
{
    shardy_error err = {0};
    dataset_options o;
    char *scratch = support_make_dir();
    memset(s, 0, sizeof *s);
    assert_ok(shardy_context_new(NULL, &s->context, &err));
    assert_ok(shardy_store_open_mem(s->context, &s->memory, &err));
    dataset_options_init(&o);
    o.store = s->memory;
    o.scratch_dir = scratch;
    o.rows = ROWS;
    o.value_len = 300;
    assert_ok(dataset_build(s->context, NULL, STAMP, &o, &err));
    assert_ok(trip_store_open(s->memory, &s->trips, &err));
    support_remove_dir(scratch);
    s->dir = support_make_dir();
    shardy_reader_options_init(&s->options, sizeof s->options);
    s->options.store = s->trips;
    s->options.cache_dir = s->dir;
    s->options.access = SHARDY_ACCESS_DOWNLOAD;
}

static void set_close(set *s)
{
    shardy_store_close(s->trips);
    shardy_store_close(s->memory);
    shardy_context_free(s->context);
    support_remove_dir(s->dir);
}

static shardy_reader *open_reader(const set *s)
{
    shardy_error err = {0};
    shardy_reader *reader = NULL;
    assert_ok(shardy_reader_open(s->context, NULL, &s->options, &reader, &err));
    (void)trip_store_take(s->trips);
    return reader;
}

/* Every value one by one and all at once, and hits with payloads. */
static void check_reader(const shardy_reader *reader)
{
    shardy_error err = {0};
    shardy_snapshot *snapshot = NULL;
    dataset_problem problem;
    assert_ok(shardy_reader_pin(reader, &snapshot, &err));
    if (!dataset_check_snapshot(snapshot, STAMP, ROWS, &problem)) {
        fail_msg("%s", problem.text);
    }
    shardy_snapshot_close(snapshot);
}

static uint64_t metric(const set *s, int32_t m)
{
    return shardy_context_metric(s->context, m);
}

static void test_reader_cache__a_second_reader_downloads_nothing(void **state)
{
    (void)state;
    set s;
    set_open(&s);
    shardy_reader *reader = open_reader(&s);
    check_reader(reader);
    assert_int_equal(trip_store_take(s.trips).requests, 4); /* a list and a file of each shard */
    shardy_reader_close(reader);
    for (int32_t io = SHARDY_IO_MMAP; io <= SHARDY_IO_PREAD; io++) {
        s.options.io = io;
        reader = open_reader(&s);
        check_reader(reader);
        assert_int_equal(trip_store_take(s.trips).requests, 0);
        shardy_reader_close(reader);
    }
    assert_int_equal(metric(&s, SHARDY_METRIC_FILE_CACHE_FILLS), DATASET_SHARDS);
    assert_int_equal(metric(&s, SHARDY_METRIC_FILE_CACHE_HITS), 2 * DATASET_SHARDS);
    set_close(&s);
}

static void test_reader_cache__who_needs_none_makes_none(void **state)
{
    (void)state;
    set s;
    shardy_error err = {0};
    set_open(&s);
    s.options.access = SHARDY_ACCESS_RANGE;
    shardy_reader *reader = open_reader(&s);
    check_reader(reader);
    shardy_reader_close(reader);
    assert_int_equal(support_count_entries(s.dir), 0);

    dataset_options o;
    dataset_options_init(&o);
    char *root = support_make_dir();
    assert_ok(dataset_build(s.context, root, STAMP, &o, &err));
    s.options.store = NULL;
    s.options.access = SHARDY_ACCESS_DOWNLOAD;
    assert_ok(shardy_reader_open(s.context, root, &s.options, &reader, &err));
    shardy_reader_close(reader);
    assert_int_equal(support_count_entries(s.dir), 0);
    support_remove_dir(root);
    set_close(&s);
}

static void test_reader_cache__options_are_checked(void **state)
{
    (void)state;
    set s;
    shardy_error err = {0};
    shardy_reader *reader = NULL;
    set_open(&s);
    s.options.cache_bytes = SHARDY_FILE_CACHE_BYTES_MIN - 1;
    assert_status(SHARDY_INVALID, shardy_reader_open(s.context, NULL, &s.options, &reader, &err));
    s.options.cache_bytes = SHARDY_FILE_CACHE_BYTES_MIN;
    support_write_file(support_path(s.dir, "shardyfusion-1"), "x", 1);
    assert_status(SHARDY_INVALID, shardy_reader_open(s.context, NULL, &s.options, &reader, &err));
    assert_non_null(strstr(err.message, s.dir));
    assert_null(reader);
    set_close(&s);
}

/* --- damage ----------------------------------------------------------------------------------- */

typedef struct files {
    char paths[DATASET_SHARDS][600];
    size_t count;
} files;

static void list_files(const set *s, files *f)
{
    char dir[600];
    snprintf(dir, sizeof dir, "%s", support_path(s->dir, "shardyfusion-1/files"));
    DIR *d = opendir(dir);
    struct dirent *entry;
    f->count = 0;
    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] != '.') {
            assert_true(f->count < DATASET_SHARDS);
            snprintf(
                f->paths[f->count++], sizeof f->paths[0], "%s", support_path(dir, entry->d_name));
        }
    }
    closedir(d);
}

static void flip_byte(const char *path, uint64_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* All answers of a reader that meets the damage are right, and the files are replaced. (A part that
 * was checked and is altered while it is mapped is beyond that, as in any local file.) */
static void check_damage(const set *s, const files *f, uint64_t at)
{
    uint64_t fills = metric(s, SHARDY_METRIC_FILE_CACHE_FILLS);
    for (size_t i = 0; i < f->count; i++) {
        flip_byte(f->paths[i], at);
    }
    for (int i = 0; i < 2; i++) {
        shardy_reader *reader = open_reader(s);
        check_reader(reader);
        assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_FILLS), fills + f->count);
        shardy_reader_close(reader);
    }
}

static void test_reader_cache__a_damaged_chunk_is_replaced_and_the_answer_is_right(void **state)
{
    (void)state;
    set s;
    files f;
    struct stat info;
    set_open(&s);
    shardy_reader *reader = open_reader(&s);
    check_reader(reader);
    shardy_reader_close(reader);
    list_files(&s, &f);
    assert_int_equal(f.count, DATASET_SHARDS);
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < f.count; i++) {
        assert_int_equal(stat(f.paths[i], &info), 0);
        least = (uint64_t)info.st_size < least ? (uint64_t)info.st_size : least;
    }
    assert_true(least > 2 * CHUNK);
    for (uint64_t at = 100; at < least; at += CHUNK) {
        check_damage(&s, &f, at);
    }
    check_damage(&s, &f, least - 1);
    set_close(&s);
}

/* Each way to ask alone meets the damage first. */
static void test_reader_cache__each_call_gets_over_damage_by_itself(void **state)
{
    (void)state;
    set s;
    files f;
    shardy_error err = {0};
    struct stat info;
    set_open(&s);
    shardy_reader *reader = open_reader(&s);
    check_reader(reader);
    shardy_reader_close(reader);
    list_files(&s, &f);
    shardy_key keys[ROWS];
    char(*texts)[16] = calloc(ROWS, sizeof *texts);
    assert_non_null(texts);
    for (uint32_t row = 0; row < ROWS; row++) {
        keys[row] = dataset_key(row, texts[row]);
    }
    for (int call = 0; call < 3; call++) {
        for (uint64_t at = 100;; at += CHUNK) {
            assert_int_equal(stat(f.paths[0], &info), 0);
            if (at >= (uint64_t)info.st_size) {
                break;
            }
            reader = open_reader(&s);
            flip_byte(f.paths[0], at);
            shardy_values values = {0};
            shardy_hits hits = {0};
            shardy_query query;
            float vector[DATASET_DIM];
            shardy_buf value;
            switch (call) {
            case 0:
                for (uint32_t row = 0; row < ROWS; row++) {
                    assert_ok(shardy_reader_get(reader, &keys[row], NULL, &value, &err));
                    shardy_buf_release(&value);
                }
                break;
            case 1:
                assert_ok(shardy_reader_multi_get(reader, keys, ROWS, NULL, &values, &err));
                assert_int_equal(values.partial, 0);
                shardy_values_dispose(&values);
                break;
            default:
                dataset_query(vector, &query);
                query.top_k = ROWS; /* with all payloads */
                assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
                assert_int_equal(hits.partial, 0);
                assert_int_equal(hits.offsets[1], ROWS);
                shardy_hits_dispose(&hits);
            }
            check_reader(reader);
            shardy_reader_close(reader);
        }
    }
    free(texts);
    set_close(&s);
}

/* --- a bucket --------------------------------------------------------------------------------- */

#define GOLDEN "kv_sqlite_hash_u32" /* of the Python implementation: without digests */
#define KEYS   100

/* Puts a golden snapshot into the bucket; `shards` gets the keys of its shards. */
static void upload_golden(server *s, char shards[3][300])
{
    shardy_error err = {0};
    shardy_store_page page = {0};
    size_t found = 0;
    shardy_store *from = fixture_open_fs(support_source("tests/golden/snapshots/" GOLDEN), 0);
    assert_ok(shardy_store_list(from, "", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        char name[300];
        shardy_buf body;
        assert_ok(shardy_store_get(from, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        snprintf(name, sizeof name, GOLDEN "/%s", key);
        server_put_object(s, SERVER_BUCKET, name, body.data, body.len);
        shardy_buf_release(&body);
        if (strncmp(key, "shards/", 7) == 0) {
            assert_true(found < 3);
            memcpy(shards[found++], name, sizeof name);
        }
    }
    assert_int_equal(found, 3);
    shardy_store_page_dispose(&page);
    shardy_store_close(from);
}

/* Looks up all keys with a reader of its own; returns the number of those found, which have their
 * values. */
static int read_golden(const server *s, const char *dir)
{
    shardy_error err = {0};
    shardy_reader_options o;
    shardy_reader *reader = NULL;
    int found = 0;
    shardy_store *store = fixture_open_s3(s, "s3://" SERVER_BUCKET "/" GOLDEN);
    shardy_reader_options_init(&o, sizeof o);
    o.store = store;
    o.access = SHARDY_ACCESS_DOWNLOAD;
    o.cache_dir = dir;
    assert_ok(shardy_reader_open(NULL, NULL, &o, &reader, &err));
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        shardy_buf value;
        const shardy_key key = shardy_key_int(i);
        int len = snprintf(expected, sizeof expected, "u32-%d", i);
        shardy_status st = shardy_reader_get(reader, &key, NULL, &value, &err);
        if (st == SHARDY_NOT_FOUND) {
            continue;
        }
        assert_ok(st);
        assert_int_equal(value.len, len);
        assert_memory_equal(value.data, expected, value.len);
        shardy_buf_release(&value);
        found++;
    }
    shardy_reader_close(reader);
    shardy_store_close(store);
    return found;
}

static uint64_t requests_of(server *s, const char *what)
{
    uint64_t count = server_count(s, what, "key=*shard.db");
    server_reset(s);
    return count;
}

static void test_bucket__versions_without_digests_are_kept_by_etag(void **state)
{
    (void)state;
    char shards[3][300];
    char kept[600];
    size_t len;
    server *s = server_start_s3(NULL);
    char *dir = support_make_dir();
    upload_golden(s, shards);
    server_reset(s);
    assert_int_equal(read_golden(s, dir), KEYS);
    assert_int_equal(requests_of(s, "method.GET"), 6); /* which version, and all of it */
    assert_int_equal(read_golden(s, dir), KEYS);
    assert_int_equal(requests_of(s, "method.GET"), 3);
    snprintf(kept, sizeof kept, "%s", support_path(dir, "shardyfusion-1/files"));
    assert_int_equal(support_count_entries(kept), 3);
    /* overwritten by something as long, under the same key: what was kept is not served */
    char *other = server_get_object(s, SERVER_BUCKET, shards[1], &len);
    server_put_object(s, SERVER_BUCKET, shards[0], other, len);
    int found = read_golden(s, dir);
    assert_true(found > 0 && found < KEYS);
    assert_int_equal(support_count_entries(kept), 4);
    free(other);
    support_remove_dir(dir);
    server_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_cache__a_second_reader_downloads_nothing),
        cmocka_unit_test(test_reader_cache__who_needs_none_makes_none),
        cmocka_unit_test(test_reader_cache__options_are_checked),
        cmocka_unit_test(test_reader_cache__a_damaged_chunk_is_replaced_and_the_answer_is_right),
        cmocka_unit_test(test_reader_cache__each_call_gets_over_damage_by_itself),
        cmocka_unit_test(test_bucket__versions_without_digests_are_kept_by_etag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
