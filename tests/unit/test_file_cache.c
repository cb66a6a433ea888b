/* The cache of files: what is believed, what is replaced, who waits for whom, what goes. */
#include "base/alloc.h"
#include "base/context.h"
#include "base/private_dir.h"
#include "base/thread.h"
#include "sqlitefile/page_source.h"
#include "store/cache_entry.h"
#include "store/file_cache.h"
#include "store/store.h"
#include "support/hand_clock.h"
#include "support/late_store.h"
#include "support/store_fixture.h"
#include "support/sums_testing.h"
#include "support/sweep.h"
#include "support/trip_store.h"

#include <shardyfusion/sys/testing.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE   (3u * SHARDY_CHUNK_LEN + 8192u) /* four chunks, the last one short */
#define BUDGET ((uint64_t)64 << 20)

/* --- objects ---------------------------------------------------------------------------------- */

typedef struct object {
    char key[64];
    uint8_t *data;
    size_t size;
    sha256 digest;
    uint8_t *sums;
    size_t sums_len;
} object;

typedef struct stage {
    hand_clock clock;
    shardy_context *context;
    shardy_store *memory;
    shardy_store_ops ops; /* of `named`: those of `memory`, with a place */
    shardy_store *named;
    shardy_store *trips;
    char *dir;
    file_cache *cache;
    atomic_int damage_told; /* lines of the log */
} stage;

static const char *place = "test://one";

static const char *named_place(void *store)
{
    (void)store;
    return place;
}

static void named_close(void *store)
{
    (void)store;
}

static void open_cache(stage *s, uint64_t budget)
{
    shardy_error err = {0};
    shardy__file_cache_close(s->cache);
    assert_ok(shardy__file_cache_open(s->context, s->dir, budget, &s->cache, &err));
}

static void count_damage(void *user, const shardy_log_record *record)
{
    stage *s = user;
    if (record->level == SHARDY_LOG_WARN && strstr(record->text, "is damaged")) {
        atomic_fetch_add(&s->damage_told, 1);
    }
}

static int set_up(void **state)
{
    shardy_error err = {0};
    stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    place = "test://one";
    s->context = hand_clock_context_with_log(&s->clock, count_damage, s);
    assert_ok(shardy_store_open_mem(s->context, &s->memory, &err));
    s->ops = *s->memory->ops;
    s->ops.struct_size = sizeof s->ops;
    s->ops.place = named_place;
    s->ops.close = named_close;
    assert_ok(shardy_store_new_take(s->context, &s->ops, s->memory->state, &s->named, &err));
    assert_ok(trip_store_open(s->named, &s->trips, &err));
    s->dir = support_make_dir();
    open_cache(s, BUDGET);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    stage *s = *state;
    shardy__file_cache_close(s->cache);
    shardy_store_close(s->trips);
    shardy_store_close(s->named);
    shardy_store_close(s->memory);
    shardy_context_free(s->context);
    support_remove_dir(s->dir);
    free(s);
    return 0;
}

static void object_make(object *o, const char *key, size_t size, uint64_t seed)
{
    support_rand rand = {seed};
    chunk_digest d;
    memset(o, 0, sizeof *o);
    snprintf(o->key, sizeof o->key, "%s", key);
    o->size = size;
    o->data = malloc(size + 8);
    assert_non_null(o->data);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t r = support_rand_u64(&rand);
        memcpy(o->data + i, &r, sizeof r);
    }
    o->digest = sums_make(&d, o->data, size);
    o->sums_len = d.count * sizeof *d.sums;
    o->sums = malloc(o->sums_len + 1);
    assert_non_null(o->sums);
    if (o->sums_len > 0) {
        memcpy(o->sums, d.sums, o->sums_len);
    }
    shardy__chunk_digest_free(&d);
}

static void object_free(object *o)
{
    free(o->data);
    free(o->sums);
}

static void put_bytes(const stage *s, const char *key, const void *data, size_t len)
{
    shardy_error err = {0};
    shardy_store_put put = put_of(key, SHARDY_PUT_ALWAYS, "");
    put.body.data = data;
    put.body.len = len;
    assert_ok(shardy_store_put_object(s->memory, &put, NULL, &err));
}

/* The object and the list beside it. */
static void object_put(const stage *s, const object *o)
{
    char name[80];
    put_bytes(s, o->key, o->data, o->size);
    if (o->sums_len > SHARDY_SHA256_LEN) {
        snprintf(name, sizeof name, "%s.sums", o->key);
        put_bytes(s, name, o->sums, o->sums_len);
    }
}

static void object_new(const stage *s, object *o, const char *key, size_t size, uint64_t seed)
{
    object_make(o, key, size, seed);
    object_put(s, o);
}

/* Path of the entry of an object with a digest. */
static const char *entry_path(const stage *s, const object *o, const char *folder)
{
    char name[140];
    char hex[65];
    shardy__sha256_hex(&o->digest, hex);
    snprintf(name, sizeof name, "shardyfusion-1/%s/%s", folder, hex);
    return support_path(s->dir, name);
}

static size_t count_in(const stage *s, const char *folder)
{
    char name[40];
    snprintf(name, sizeof name, "shardyfusion-1/%s", folder);
    return support_count_entries(support_path(s->dir, name));
}

/* Entries, by hand. */
static size_t entries(const stage *s)
{
    assert_int_equal(count_in(s, "fill"), 0);
    return count_in(s, "files");
}

static uint64_t metric(const stage *s, int32_t m)
{
    return shardy_context_metric(s->context, m);
}

/* --- opening ---------------------------------------------------------------------------------- */

typedef struct how {
    int unverified; /* 1: without the digest */
    int check_all;
    page_limits limits;
    shardy_store *store; /* NULL: trips */
} how;

static shardy_status open_object(
    const stage *s, const object *o, const how *h, page_source **source_out, shardy_error *err)
{
    static const how plain;
    page_source_options options;
    h = h ? h : &plain;
    shardy__page_source_options_init(&options);
    options.files = s->cache;
    options.check_files = h->check_all;
    options.limits = &h->limits;
    if (!h->unverified) {
        options.digest = &o->digest;
        options.size = o->size;
    }
    return shardy__page_source_open_object(
        h->store ? h->store : s->trips, o->key, &options, source_out, err);
}

static void assert_bytes(page_source *source, const object *o)
{
    shardy_error err = {0};
    assert_int_equal(source->size, o->size);
    assert_ok(shardy__page_source_verify_all(source, &err));
    assert_memory_equal(source->base, o->data, o->size);
}

/* Opens it, reads all of it, and closes it; returns how many requests that took. */
static uint32_t read_object(const stage *s, const object *o, const how *h)
{
    shardy_error err = {0};
    page_source *source;
    (void)trip_store_take(s->trips);
    assert_ok(open_object(s, o, h, &source, &err));
    assert_bytes(source, o);
    shardy__page_source_close(source);
    return trip_store_take(s->trips).requests;
}

static int is_file(const stage *s, const object *o)
{
    return access(entry_path(s, o, "files"), F_OK) == 0;
}

/* --- filling and finding ---------------------------------------------------------------------- */

static void test_cache__an_object_is_downloaded_once(void **state)
{
    stage *s = *state;
    object o;
    static const size_t sizes[] = {0, 1, 4096, SHARDY_CHUNK_LEN, SHARDY_CHUNK_LEN + 1, SIZE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        object_new(s, &o, "a/shard.db", sizes[i], i + 1);
        (void)trip_store_take(s->trips);
        shardy_error err = {0};
        page_source *source;
        assert_ok(open_object(s, &o, NULL, &source, &err));
        assert_bytes(source, &o);
        shardy__page_source_close(source);
        const trip_counts counts = trip_store_take(s->trips);
        assert_int_equal(counts.requests, sizes[i] > SHARDY_CHUNK_LEN ? 2 : 1);
        assert_int_equal(counts.steps, 1); /* the list and the object at once */
        assert_int_equal(entries(s), i + 1);
        assert_int_equal(read_object(s, &o, NULL), 0);
        open_cache(s, BUDGET); /* another process */
        assert_int_equal(read_object(s, &o, NULL), 0);
        object_free(&o);
    }
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_FILLS), 6);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_HITS), 12);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 0);
}

static void test_cache__an_object_without_its_list_is_hashed_as_a_whole(void **state)
{
    stage *s = *state;
    object o;
    object_make(&o, "a/shard.db", SIZE, 1);
    put_bytes(s, o.key, o.data, o.size);
    assert_int_equal(read_object(s, &o, NULL), 2); /* one of them for the list */
    assert_int_equal(read_object(s, &o, NULL), 0);
    object_free(&o);
}

static void test_cache__one_content_is_one_file_whatever_its_key(void **state)
{
    stage *s = *state;
    object a;
    object b;
    object_new(s, &a, "run_id=1/shard.db", SIZE, 7);
    object_make(&b, "run_id=2/shard.db", SIZE, 7);
    assert_true(read_object(s, &a, NULL) > 0);
    assert_int_equal(read_object(s, &b, NULL), 0);
    assert_int_equal(entries(s), 1);
    object_free(&a);
    object_free(&b);
}

static void test_cache__two_contents_of_one_key_are_two_files(void **state)
{
    stage *s = *state;
    object a;
    object b;
    object_new(s, &a, "shard=00000/shard.db", SIZE, 1);
    assert_int_equal(read_object(s, &a, NULL), 2);
    object_new(s, &b, "shard=00000/shard.db", SIZE, 2);
    assert_int_equal(read_object(s, &b, NULL), 2);
    assert_int_equal(read_object(s, &a, NULL), 0);
    assert_int_equal(read_object(s, &b, NULL), 0);
    object_free(&a);
    object_free(&b);
}

static void test_cache__bytes_that_were_not_promised_are_not_kept(void **state)
{
    stage *s = *state;
    object o;
    shardy_error err = {0};
    page_source *source;
    object_new(s, &o, "a/shard.db", SIZE, 1);
    o.data[SIZE / 2] ^= 1;
    put_bytes(s, o.key, o.data, o.size);
    assert_status(SHARDY_CHECKSUM, open_object(s, &o, NULL, &source, &err));
    assert_int_equal(entries(s), 0);
    object_free(&o);

    object_new(s, &o, "b/shard.db", 4096, 1); /* one chunk, which has no list */
    o.data[17] ^= 1;
    put_bytes(s, o.key, o.data, o.size);
    assert_status(SHARDY_CHECKSUM, open_object(s, &o, NULL, &source, &err));
    put_bytes(s, o.key, o.data, o.size - 1);
    assert_status(SHARDY_CHECKSUM, open_object(s, &o, NULL, &source, &err));
    assert_int_equal(entries(s), 0);
    object_free(&o);
}

static void test_cache__an_object_that_is_not_there_leaves_nothing(void **state)
{
    stage *s = *state;
    object o;
    shardy_error err = {0};
    page_source *source;
    object_make(&o, "a/shard.db", SIZE, 1);
    assert_status(SHARDY_NOT_FOUND, open_object(s, &o, NULL, &source, &err));
    assert_status(SHARDY_NOT_FOUND, open_object(s, &o, &(how){.unverified = 1}, &source, &err));
    assert_int_equal(entries(s), 0);
    object_free(&o);
}

/* --- objects without digests ------------------------------------------------------------------ */

static void test_cache__a_version_without_digest_is_asked_for_and_kept(void **state)
{
    stage *s = *state;
    object a;
    object b;
    const how unverified = {.unverified = 1};
    object_new(s, &a, "shard.db", SIZE, 1);
    assert_int_equal(read_object(s, &a, &unverified), 2);
    assert_int_equal(read_object(s, &a, &unverified), 1);
    object_new(s, &b, "shard.db", SIZE, 2); /* the next version: the same key and size */
    assert_int_equal(read_object(s, &b, &unverified), 2);
    assert_int_equal(read_object(s, &b, &unverified), 1);
    assert_int_equal(entries(s), 2);
    object_free(&a);
    object_free(&b);
}

static void test_cache__versions_of_two_places_are_two_files(void **state)
{
    stage *s = *state;
    object o;
    const how unverified = {.unverified = 1};
    object_new(s, &o, "shard.db", SIZE, 1);
    assert_int_equal(read_object(s, &o, &unverified), 2);
    place = "test://two";
    assert_int_equal(read_object(s, &o, &unverified), 2);
    assert_int_equal(entries(s), 2);
    place = NULL; /* nobody knows where it is: nothing is kept */
    assert_int_equal(read_object(s, &o, &unverified), 2);
    assert_int_equal(read_object(s, &o, &unverified), 2);
    assert_int_equal(entries(s), 2);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 2);
    object_free(&o);
}

/* --- the wrong answers that the reference gives ----------------------------------------------- */

/* C1: another object's file under the name. */
static void test_cache__another_entry_under_the_name_is_replaced(void **state)
{
    stage *s = *state;
    object a;
    object b;
    char from[600];
    object_new(s, &a, "a/shard.db", SIZE, 1);
    object_new(s, &b, "b/shard.db", SIZE, 2);
    assert_int_equal(read_object(s, &a, NULL), 2);
    assert_int_equal(read_object(s, &b, NULL), 2);
    snprintf(from, sizeof from, "%s", entry_path(s, &b, "files"));
    assert_int_equal(rename(from, entry_path(s, &a, "files")), 0);
    assert_int_equal(read_object(s, &a, NULL), 2);
    assert_int_equal(read_object(s, &a, NULL), 0);
    object_free(&a);
    object_free(&b);
}

/* Opens an object whose entry was tampered with: no byte of it is wrong, and after it was checked
 * as a whole it is right. */
static void assert_mended(const stage *s, const object *o, int *noticed_late)
{
    shardy_error err = {0};
    page_source *source;
    const how careful = {.check_all = 1};
    assert_ok(open_object(s, o, NULL, &source, &err));
    shardy_status st = shardy__page_source_verify_all(source, &err);
    if (st == SHARDY_OK) {
        assert_memory_equal(source->base, o->data, o->size);
    } else {
        assert_int_equal(st, SHARDY_CHECKSUM);
        *noticed_late += 1;
    }
    shardy__page_source_close(source);
    read_object(s, o, &careful);
    assert_int_equal(read_object(s, o, NULL), 0);
}

/* C2: what names the content is of one object, the content of another. */
static void test_cache__the_bytes_of_another_under_a_right_list_are_replaced(void **state)
{
    stage *s = *state;
    object a;
    object b;
    int noticed = 0;
    object_new(s, &a, "a/shard.db", SIZE, 1);
    object_make(&b, "b/shard.db", SIZE, 2);
    read_object(s, &a, NULL);
    int fd = open(entry_path(s, &a, "files"), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, b.data, b.size, 0), b.size);
    close(fd);
    assert_mended(s, &a, &noticed);
    assert_int_equal(noticed, 1);
    object_free(&a);
    object_free(&b);
}

/* C3: truncated, or altered in any block of 4 KiB, or in any byte of its end: noticed, and told
 * once in the log, each time. */
static void test_cache__a_truncated_or_altered_file_is_replaced(void **state)
{
    stage *s = *state;
    object o;
    int noticed = 0;
    object_new(s, &o, "a/shard.db", SIZE, 1);
    read_object(s, &o, NULL);
    struct stat info;
    assert_int_equal(stat(entry_path(s, &o, "files"), &info), 0);
    size_t len = (size_t)info.st_size;
    int altered = 0;
    assert_int_equal(len, SIZE + o.sums_len + CACHE_TAIL_LEN);
    for (size_t at = 0; at < len; at += at < SIZE ? 4096 : 1) {
        assert_int_equal(truncate(entry_path(s, &o, "files"), (off_t)at), 0);
        assert_mended(s, &o, &noticed);
        int fd = open(entry_path(s, &o, "files"), O_RDWR);
        uint8_t byte;
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        close(fd);
        assert_mended(s, &o, &noticed);
        altered += 2;
    }
    assert_int_equal(s->damage_told, altered);
    assert_int_equal(noticed, SIZE / 4096); /* by the byte; all others when it was opened */
    assert_int_equal(entries(s), 1);
    object_free(&o);
}

static void test_cache__what_is_no_file_is_not_followed(void **state)
{
    stage *s = *state;
    object o;
    object_new(s, &o, "a/shard.db", SIZE, 1);
    char *other = support_make_dir();
    support_write_file(support_path(other, "target"), "precious", 8);
    assert_int_equal(symlink(support_path(other, "target"), entry_path(s, &o, "files")), 0);
    assert_int_equal(read_object(s, &o, NULL), 2);
    assert_int_equal(read_object(s, &o, NULL), 0);
    assert_int_equal(unlink(entry_path(s, &o, "files")), 0);
    assert_int_equal(mkfifo(entry_path(s, &o, "files"), 0600), 0);
    assert_int_equal(read_object(s, &o, NULL), 2);
    assert_int_equal(read_object(s, &o, NULL), 0);
    /* where it is filled: refused, so it is read without the cache */
    assert_int_equal(unlink(entry_path(s, &o, "files")), 0);
    assert_int_equal(symlink(support_path(other, "target"), entry_path(s, &o, "fill")), 0);
    assert_true(read_object(s, &o, NULL) > 0);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    assert_int_equal(count_in(s, "files"), 0);
    /* a directory cannot be replaced */
    assert_int_equal(unlink(entry_path(s, &o, "fill")), 0);
    assert_int_equal(mkdir(entry_path(s, &o, "files"), 0700), 0);
    assert_true(read_object(s, &o, NULL) > 0);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 2);
    size_t len;
    char *text = support_read_file(support_path(other, "target"), &len);
    assert_string_equal(text, "precious");
    free(text);
    support_remove_dir(other);
    object_free(&o);
}

/* --- the directory ---------------------------------------------------------------------------- */

/* C4: who may have put something there. */
static void test_cache__a_directory_of_others_is_refused(void **state)
{
    stage *s = *state;
    shardy_error err = {0};
    file_cache *cache;
    struct stat info;
    char top[600];
    snprintf(top, sizeof top, "%s", support_path(s->dir, "shardyfusion-1"));
    assert_int_equal(stat(top, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    const unsigned modes[] = {0701, 0710, 0720, 0755, 0777};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(top, (mode_t)modes[i]), 0);
        assert_status(
            SHARDY_AUTH, shardy__file_cache_open(s->context, s->dir, BUDGET, &cache, &err));
        assert_non_null(strstr(err.message, s->dir));
    }
    assert_int_equal(chmod(top, 0700), 0);
    assert_int_equal(chmod(support_path(top, "files"), 0770), 0);
    assert_status(SHARDY_AUTH, shardy__file_cache_open(s->context, s->dir, BUDGET, &cache, &err));
    assert_int_equal(chmod(support_path(top, "files"), 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(top, 12345, 12345), 0);
        assert_status(
            SHARDY_AUTH, shardy__file_cache_open(s->context, s->dir, BUDGET, &cache, &err));
        assert_non_null(strstr(err.message, "12345"));
        assert_int_equal(chown(top, 0, 0), 0);
    }
    char moved[600];
    snprintf(moved, sizeof moved, "%s", support_path(s->dir, "elsewhere"));
    assert_int_equal(rename(top, moved), 0);
    assert_int_equal(symlink(moved, top), 0);
    assert_status(
        SHARDY_INVALID, shardy__file_cache_open(s->context, s->dir, BUDGET, &cache, &err));
    assert_int_equal(unlink(top), 0);
    support_write_file(top, "x", 1);
    assert_status(
        SHARDY_INVALID, shardy__file_cache_open(s->context, s->dir, BUDGET, &cache, &err));
}

static void test_cache__a_directory_is_made_when_it_is_missing(void **state)
{
    stage *s = *state;
    shardy_error err = {0};
    file_cache *cache;
    struct stat info;
    const char *dir = support_path(s->dir, "not/there");
    assert_ok(shardy__file_cache_open(s->context, dir, BUDGET, &cache, &err));
    shardy__file_cache_close(cache);
    assert_int_equal(stat(dir, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    support_write_file(support_path(s->dir, "file"), "x", 1);
    assert_status(SHARDY_INVALID,
        shardy__file_cache_open(s->context, support_path(s->dir, "file"), BUDGET, &cache, &err));
}

static void need_fault_points(void)
{
    if (!shardy_testing_fault_points()) {
        print_message("skipped: this build has no fault points\n");
        skip();
    }
}

static void test_cache__where_nothing_can_be_written_what_is_there_is_used(void **state)
{
    stage *s = *state;
    need_fault_points();
    object a;
    object b;
    object_new(s, &a, "a", SIZE, 1);
    object_new(s, &b, "b", SIZE, 2);
    read_object(s, &a, NULL);
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, 1, 1);
    open_cache(s, BUDGET);
    assert_int_equal(read_object(s, &a, NULL), 0);
    assert_true(read_object(s, &b, NULL) > 0);
    shardy_testing_fault_set(SHARDY_FAULT_WRITE, 0, 0);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    assert_int_equal(entries(s), 1);
    object_free(&a);
    object_free(&b);
}

/* --- room ------------------------------------------------------------------------------------- */

#define ENTRY (SIZE + 4u * SHARDY_SHA256_LEN + CACHE_TAIL_LEN)

static void make_objects(const stage *s, object *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%zu/shard.db", i);
        object_new(s, &list[i], key, SIZE, 100 + i);
    }
}

static void free_objects(object *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        object_free(&list[i]);
    }
}

static void test_room__those_used_least_recently_go_first(void **state)
{
    stage *s = *state;
    object o[5];
    open_cache(s, 3 * (uint64_t)ENTRY);
    make_objects(s, o, 5);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_object(s, &o[i], NULL), 2);
    }
    assert_int_equal(read_object(s, &o[0], NULL), 0);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_EVICTIONS), 0);
    assert_int_equal(read_object(s, &o[3], NULL), 2);
    assert_true(is_file(s, &o[0]) && !is_file(s, &o[1]) && is_file(s, &o[2]));
    assert_int_equal(read_object(s, &o[2], NULL), 0);
    assert_int_equal(read_object(s, &o[4], NULL), 2);
    assert_true(!is_file(s, &o[0]) && is_file(s, &o[2]) && is_file(s, &o[3]));
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_EVICTIONS), 2);
    assert_int_equal(entries(s), 3);
    free_objects(o, 5);
}

static void test_room__a_smaller_budget_removes_as_many_as_it_takes(void **state)
{
    stage *s = *state;
    enum {
        MANY = 80 /* more than are chosen at once */
    };
    object o[MANY];
    for (size_t i = 0; i < MANY; i++) {
        char key[32];
        snprintf(key, sizeof key, "%zu/shard.db", i);
        object_new(s, &o[i], key, 1000, 100 + i);
        if (i < MANY - 1) {
            read_object(s, &o[i], NULL);
        }
    }
    assert_int_equal(entries(s), MANY - 1);
    open_cache(s, 2 * (1000 + 32 + CACHE_TAIL_LEN) + 5);
    assert_int_equal(read_object(s, &o[MANY - 1], NULL), 1);
    assert_int_equal(entries(s), 2);
    assert_true(is_file(s, &o[MANY - 2]));
    free_objects(o, MANY);
}

static void test_room__an_object_larger_than_the_budget_is_read_without(void **state)
{
    stage *s = *state;
    object o[2];
    make_objects(s, o, 2);
    open_cache(s, ENTRY);
    assert_int_equal(read_object(s, &o[0], NULL), 2);
    open_cache(s, ENTRY - 1);
    assert_int_equal(read_object(s, &o[1], NULL), 2);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    assert_true(is_file(s, &o[0])); /* nothing had to go for that */
    /* what is there is used, whatever the budget is */
    assert_int_equal(read_object(s, &o[0], NULL), 0);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_HITS), 1);
    assert_true(shardy__file_cache_has(s->cache, &o[0].digest, o[0].size));
    assert_false(shardy__file_cache_has(s->cache, &o[0].digest, o[0].size - 1));
    assert_false(shardy__file_cache_has(s->cache, &o[1].digest, o[1].size));
    free_objects(o, 2);
}

static void test_room__a_reader_keeps_what_is_removed_under_him(void **state)
{
    stage *s = *state;
    object o[3];
    shardy_error err = {0};
    page_source *open_one;
    open_cache(s, ENTRY);
    make_objects(s, o, 3);
    assert_ok(open_object(s, &o[0], NULL, &open_one, &err));
    assert_int_equal(read_object(s, &o[1], NULL), 2);
    assert_false(is_file(s, &o[0]));
    assert_bytes(open_one, &o[0]); /* read for the first time now */
    assert_int_equal(read_object(s, &o[0], NULL), 2);
    assert_false(is_file(s, &o[1]));
    assert_bytes(open_one, &o[0]);
    shardy__page_source_close(open_one);
    free_objects(o, 3);
}

/* A file in fill/ whose lock is held, as by another process. */
static int hold_fill(const stage *s, const object *o, size_t len)
{
    shardy_error err = {0};
    int32_t taken;
    support_write_file(entry_path(s, o, "fill"), o->data, 0);
    assert_int_equal(truncate(entry_path(s, o, "fill"), (off_t)len), 0);
    int fd = open(entry_path(s, o, "fill"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(shardy__file_try_lock(fd, &taken, &err));
    assert_true(taken);
    return fd;
}

static void test_room__files_that_are_being_filled_count_in_full(void **state)
{
    stage *s = *state;
    object o[3];
    open_cache(s, 3 * (uint64_t)ENTRY - 1);
    make_objects(s, o, 3);
    read_object(s, &o[0], NULL);
    int other = hold_fill(s, &o[1], ENTRY);
    assert_int_equal(read_object(s, &o[2], NULL), 2);
    assert_false(is_file(s, &o[0]));
    assert_true(is_file(s, &o[2]));
    /* nothing can be removed for this one */
    open_cache(s, 2 * (uint64_t)ENTRY - 1);
    assert_int_equal(read_object(s, &o[0], NULL), 2);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    shardy__file_unlock_close(other);
    free_objects(o, 3);
}

/* --- others ----------------------------------------------------------------------------------- */

static void test_others__what_a_dead_one_left_is_taken_over_or_removed(void **state)
{
    stage *s = *state;
    object o[3];
    make_objects(s, o, 3);
    for (size_t i = 0; i < 2; i++) {
        support_write_file(entry_path(s, &o[i], "fill"), o[1 - i].data, SIZE / 2);
    }
    assert_int_equal(read_object(s, &o[0], NULL), 2); /* takes over its own, removes the other */
    assert_int_equal(entries(s), 1);
    support_write_file(entry_path(s, &o[1], "fill"), o[2].data, SIZE);
    open_cache(s, BUDGET); /* so does opening */
    assert_int_equal(entries(s), 1);
    assert_int_equal(read_object(s, &o[1], NULL), 2);
    free_objects(o, 3);
}

static void test_others__one_who_does_not_get_on_is_waited_for_five_seconds(void **state)
{
    stage *s = *state;
    object o;
    shardy_error err = {0};
    page_source *source;
    object_new(s, &o, "a", SIZE, 1);
    int other = hold_fill(s, &o, 100);
    int64_t before = s->clock.monotonic_ns;
    assert_int_equal(read_object(s, &o, NULL), 2); /* on our own */
    int64_t waited = s->clock.monotonic_ns - before;
    assert_true(waited >= 5000000000 && waited < 5100000000);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    assert_int_equal(count_in(s, "fill"), 1); /* his */

    how h = {.limits = {s->clock.monotonic_ns + 1000000000, NULL}};
    assert_status(SHARDY_TIMEOUT, open_object(s, &o, &h, &source, &err));
    assert_true(s->clock.monotonic_ns - h.limits.deadline_ns < 100000000);

    shardy_cancel *cancel = NULL;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    h.limits.deadline_ns = 0;
    h.limits.cancel = cancel;
    assert_status(SHARDY_CANCELLED, open_object(s, &o, &h, &source, &err));
    shardy_cancel_free(cancel);
    shardy__file_unlock_close(other);
    assert_int_equal(read_object(s, &o, NULL), 2);
    assert_int_equal(entries(s), 1);
    object_free(&o);
}

/* Somebody who holds the lock of the whole cache for ever. */
static void test_others__a_held_lock_of_the_cache_stops_no_reader(void **state)
{
    stage *s = *state;
    object o[2];
    shardy_error err = {0};
    int32_t taken;
    make_objects(s, o, 2);
    read_object(s, &o[0], NULL);
    int fd = open(support_path(s->dir, "shardyfusion-1/lock"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(shardy__file_try_lock(fd, &taken, &err));
    assert_true(taken);
    assert_int_equal(read_object(s, &o[0], NULL), 0);
    assert_int_equal(read_object(s, &o[1], NULL), 2);
    assert_int_equal(metric(s, SHARDY_METRIC_FILE_CACHE_BYPASSES), 1);
    shardy__file_unlock_close(fd);
    assert_int_equal(read_object(s, &o[1], NULL), 2);
    assert_int_equal(entries(s), 2);
    free_objects(o, 2);
}

typedef struct opener {
    const stage *s;
    const object *o;
    shardy_store *store;
    shardy_status status;
    int is_right;
} opener;

static void *open_in_thread(void *arg)
{
    opener *p = arg;
    shardy_error err = {0};
    page_source *source;
    const how h = {.store = p->store};
    p->status = open_object(p->s, p->o, &h, &source, &err);
    if (p->status == SHARDY_OK) {
        p->is_right = shardy__page_source_verify_all(source, &err) == SHARDY_OK &&
                      memcmp(source->base, p->o->data, p->o->size) == 0;
        shardy__page_source_close(source);
    }
    return NULL;
}

/* Each has a descriptor of his own, as each process has. */
static void test_others__one_downloads_while_the_others_wait(void **state)
{
    stage *s = *state;
    enum {
        THREADS = 6
    };
    object o;
    shardy_error err = {0};
    shardy_store *late;
    thread threads[THREADS];
    opener openers[THREADS];
    shardy_context *real;
    assert_ok(shardy_context_new(NULL, &real, &err));
    object_new(s, &o, "a", SIZE, 1);
    assert_ok(late_store_open(s->named, &late, &err));
    shardy__file_cache_close(s->cache);
    assert_ok(shardy__file_cache_open(real, s->dir, BUDGET, &s->cache, &err));
    for (size_t i = 0; i < THREADS; i++) {
        openers[i] = (opener){s, &o, late, SHARDY_OK, 0};
        assert_ok(shardy__thread_start(&threads[i], open_in_thread, &openers[i], "open", &err));
    }
    for (size_t i = 0; i < THREADS; i++) {
        shardy__thread_join(threads[i]);
        assert_int_equal(openers[i].status, SHARDY_OK);
        assert_true(openers[i].is_right);
    }
    assert_int_equal(late_store_reads(late), 2); /* the list and the object, once */
    assert_int_equal(shardy_context_metric(real, SHARDY_METRIC_FILE_CACHE_FILLS), 1);
    assert_int_equal(shardy_context_metric(real, SHARDY_METRIC_FILE_CACHE_HITS), THREADS - 1);
    assert_int_equal(entries(s), 1);
    shardy_store_close(late);
    shardy__file_cache_close(s->cache);
    s->cache = NULL;
    shardy_context_free(real);
    object_free(&o);
}

/* --- places ----------------------------------------------------------------------------------- */

static void test_place__is_that_of_the_innermost_store(void **state)
{
    stage *s = *state;
    shardy_error err = {0};
    shardy_store *wrapped[4];
    assert_ok(shardy_store_wrap_stats(NULL, s->named, &wrapped[0], &err));
    assert_ok(shardy_store_wrap_fault(NULL, wrapped[0], &wrapped[1], &err));
    assert_ok(shardy_store_wrap_retry(NULL, wrapped[1], NULL, &wrapped[2], &err));
    assert_ok(shardy_store_wrap_limit(NULL, wrapped[2], NULL, &wrapped[3], &err));
    assert_string_equal(shardy__store_place(wrapped[3]), "test://one");
    for (size_t i = 4; i > 0; i--) {
        shardy_store_close(wrapped[i - 1]);
    }
    assert_null(shardy__store_place(s->memory));
    /* a table of a program that does not know the slot */
    shardy_store *old;
    shardy_store_ops ops = s->ops;
    ops.struct_size = (uint32_t)offsetof(shardy_store_ops, place);
    assert_ok(shardy_store_new_take(NULL, &ops, s->memory->state, &old, &err));
    assert_null(shardy__store_place(old));
    shardy_store_close(old);
}

static void test_place__tells_buckets_and_prefixes_apart(void **state)
{
    (void)state;
    static const char *const urls[] = {"s3://bucket/a", "s3://bucket/b", "s3://other/a"};
    static const char *const places[] = {"http://localhost:9/bucket/a/",
        "http://localhost:9/bucket/b/", "http://localhost:9/other/a/"};
    shardy_error err = {0};
    shardy_store_s3_options o;
    shardy_store_s3_options_init(&o, sizeof o);
    o.endpoint_url = "http://localhost:9";
    o.access_key_id = "key";
    o.secret_access_key = "secret";
    for (size_t i = 0; i < 3; i++) {
        shardy_store *store;
        assert_ok(shardy_store_open_s3(NULL, urls[i], &o, &store, &err));
        assert_string_equal(shardy__store_place(store), places[i]);
        shardy_store_close(store);
    }
}

/* --- the form of an entry --------------------------------------------------------------------- */

static void test_entry__only_its_own_length_fits_a_tail(void **state)
{
    (void)state;
    uint8_t bytes[CACHE_TAIL_LEN];
    cache_tail in = {.size = SIZE};
    cache_tail out;
    uint64_t len;
    memset(&in.name, 1, sizeof in.name);
    memset(&in.digest, 2, sizeof in.digest);
    shardy__cache_tail_write(&in, bytes);
    assert_true(shardy__cache_entry_len(SIZE, &len));
    assert_true(shardy__cache_tail_parse(bytes, len, &out));
    assert_memory_equal(&in, &out, sizeof in);
    assert_false(shardy__cache_tail_parse(bytes, len + 1, &out));
    assert_false(shardy__cache_tail_parse(bytes, len - 1, &out));
    assert_false(shardy__cache_entry_len(UINT64_MAX, &len));
    assert_false(shardy__cache_entry_len(INT64_MAX, &len));
    in.size = UINT64_MAX;
    shardy__cache_tail_write(&in, bytes);
    assert_false(shardy__cache_tail_parse(bytes, CACHE_TAIL_LEN - 1, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_cache__an_object_is_downloaded_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__an_object_without_its_list_is_hashed_as_a_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__one_content_is_one_file_whatever_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__two_contents_of_one_key_are_two_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__bytes_that_were_not_promised_are_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__an_object_that_is_not_there_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__a_version_without_digest_is_asked_for_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__versions_of_two_places_are_two_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__another_entry_under_the_name_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__the_bytes_of_another_under_a_right_list_are_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__a_truncated_or_altered_file_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__what_is_no_file_is_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__a_directory_of_others_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__a_directory_is_made_when_it_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cache__where_nothing_can_be_written_what_is_there_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_room__those_used_least_recently_go_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_room__a_smaller_budget_removes_as_many_as_it_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_room__an_object_larger_than_the_budget_is_read_without, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_room__a_reader_keeps_what_is_removed_under_him, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_room__files_that_are_being_filled_count_in_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_others__what_a_dead_one_left_is_taken_over_or_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_others__one_who_does_not_get_on_is_waited_for_five_seconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_others__a_held_lock_of_the_cache_stops_no_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_others__one_downloads_while_the_others_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_place__is_that_of_the_innermost_store, set_up, tear_down),
        cmocka_unit_test(test_place__tells_buckets_and_prefixes_apart),
        cmocka_unit_test(test_entry__only_its_own_length_fits_a_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
