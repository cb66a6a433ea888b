/* The contract of sys/store.h, for each store that the library has. */
#include "support/store_fixture.h"

#include <shardyfusion/limits.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ETAG_LIMIT SHARDY_FS_ETAG_LEN_MAX

/* --- putting and reading ------------------------------------------------------------------ */

static void test_put__an_object_can_be_read_at_once(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta put;
    shardy_object_meta head;
    assert_no_object(f->store, "runs/a/file");
    assert_ok(
        put_text(f->store, "runs/a/file", SHARDY_PUT_ALWAYS, NULL, "hello world", &put, &err));
    assert_object(f->store, "runs/a/file", "hello world");
    assert_ok(shardy_store_head(f->store, "runs/a/file", &head, &err));
    assert_int_equal(put.size, 11);
    assert_int_equal(head.size, 11);
    assert_true(head.modified_us > 1500000000000000);
    /* S3 does not tell when it took an object */
    assert_int_equal(put.modified_us, fixture_is_remote(f) ? 0 : head.modified_us);
    assert_true(put.etag.text[0] != '\0');
    assert_string_equal(put.etag.text, head.etag.text);
    /* a directory is not an object */
    assert_no_object(f->store, "runs/a");
    assert_no_object(f->store, "runs");
    assert_no_object(f->store, "runs/a/file/below");
}

static void test_put__an_empty_object_is_one(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    assert_ok(put_text(f->store, "empty", SHARDY_PUT_IF_ABSENT, NULL, "", &meta, &err));
    assert_int_equal(meta.size, 0);
    assert_true(meta.etag.text[0] != '\0');
    assert_object(f->store, "empty", "");
    assert_status(
        SHARDY_EXISTS, put_text(f->store, "empty", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
    assert_ok(
        put_text(f->store, "empty", SHARDY_PUT_IF_MATCH, meta.etag.text, "now full", NULL, &err));
    assert_object(f->store, "empty", "now full");
}

static void test_put__always_replaces_and_gives_another_version(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta first;
    shardy_object_meta second;
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "one, longer", &first, &err));
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "two", &second, &err));
    assert_object(f->store, "k", "two");
    assert_string_not_equal(first.etag.text, second.etag.text);
}

static void test_put__if_absent_never_replaces(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    assert_ok(put_text(f->store, "k", SHARDY_PUT_IF_ABSENT, NULL, "one", NULL, &err));
    assert_status(
        SHARDY_EXISTS, put_text(f->store, "k", SHARDY_PUT_IF_ABSENT, NULL, "two", NULL, &err));
    assert_non_null(strstr(err.message, "\"k\""));
    assert_object(f->store, "k", "one");
    assert_ok(remove_key(f->store, "k", &err));
    assert_ok(put_text(f->store, "k", SHARDY_PUT_IF_ABSENT, NULL, "three", NULL, &err));
    assert_object(f->store, "k", "three");
}

static void test_put__if_match_replaces_that_version_only(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta v1;
    shardy_object_meta v2;
    assert_status(
        SHARDY_CONFLICT, put_text(f->store, "k", SHARDY_PUT_IF_MATCH, "abc", "x", NULL, &err));
    assert_no_object(f->store, "k");
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "one", &v1, &err));
    assert_ok(put_text(f->store, "k", SHARDY_PUT_IF_MATCH, v1.etag.text, "two", &v2, &err));
    assert_object(f->store, "k", "two");
    assert_status(SHARDY_CONFLICT,
        put_text(f->store, "k", SHARDY_PUT_IF_MATCH, v1.etag.text, "three", NULL, &err));
    assert_object(f->store, "k", "two");
    assert_ok(put_text(f->store, "k", SHARDY_PUT_IF_MATCH, v2.etag.text, "four", NULL, &err));
    assert_object(f->store, "k", "four");
    assert_ok(remove_key(f->store, "k", &err));
    assert_status(SHARDY_CONFLICT,
        put_text(f->store, "k", SHARDY_PUT_IF_MATCH, v2.etag.text, "five", NULL, &err));
    assert_no_object(f->store, "k");
}

static void test_put__if_match_needs_a_version(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "k", "one");
    assert_status(
        SHARDY_INVALID, put_text(f->store, "k", SHARDY_PUT_IF_MATCH, NULL, "x", NULL, &err));
    assert_status(
        SHARDY_INVALID, put_text(f->store, "k", SHARDY_PUT_IF_MATCH, "", "x", NULL, &err));
    char long_etag[300];
    memset(long_etag, 'e', sizeof long_etag - 1);
    long_etag[sizeof long_etag - 1] = '\0';
    assert_status(
        SHARDY_INVALID, put_text(f->store, "k", SHARDY_PUT_IF_MATCH, long_etag, "x", NULL, &err));
    shardy_store_put put = put_of("k", (shardy_put_condition)7, "x");
    assert_status(SHARDY_INVALID, shardy_store_put_object(f->store, &put, NULL, &err));
    assert_object(f->store, "k", "one");
}

static void test_put__a_stream_is_put_together(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta meta;
    stream parts = {"0123456789", 30000, SHARDY_DONE};
    shardy_store_put put = put_of("s", SHARDY_PUT_IF_ABSENT, "");
    put.next = next_part;
    put.next_user = &parts;
    assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
    assert_int_equal(meta.size, 300000);
    shardy_buf body;
    shardy_object_meta got;
    assert_ok(shardy_store_get(f->store, "s", 0, SHARDY_READ_TO_END, &body, &got, &err));
    assert_int_equal(body.len, 300000);
    for (size_t i = 0; i < body.len; i++) {
        assert_int_equal(((const char *)body.data)[i], '0' + (int)(i % 10));
    }
    assert_string_equal(got.etag.text, meta.etag.text);
    shardy_buf_release(&body);
    stream none = {"", 0, SHARDY_DONE};
    put = put_of("nothing", SHARDY_PUT_IF_ABSENT, "");
    put.next = next_part;
    put.next_user = &none;
    assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
    assert_object(f->store, "nothing", "");
}

static void test_put__a_stream_that_fails_leaves_nothing(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    static const size_t lengths[] = {0, 1, 40000};
    put_ok(f->store, "old", "kept");
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof lengths[0]; i++) {
        stream parts = {"0123456789", lengths[i / 2], SHARDY_UNAVAILABLE};
        const char *key = i % 2 ? "old" : "dir/new";
        shardy_store_put put = put_of(key, SHARDY_PUT_ALWAYS, "");
        put.next = next_part;
        put.next_user = &parts;
        assert_status(SHARDY_UNAVAILABLE, shardy_store_put_object(f->store, &put, NULL, &err));
        assert_non_null(strstr(err.message, "the stream broke"));
    }
    assert_no_object(f->store, "dir/new");
    assert_object(f->store, "old", "kept");
    assert_listing(f->store, "", 0, "old ");
    assert_listing(f->store, "", '/', "old ");
    if (fixture_has_files(f)) {
        assert_int_equal(count_leftovers(f->root), 0);
    }
}

static void test_put__a_file_is_copied_from_outside_of_the_scratch(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    char *dir = support_make_dir();
    const char *path = support_path(dir, "input");
    support_write_file(path, "from a file", 11);
    shardy_object_meta meta;
    shardy_store_put put = put_of("f", SHARDY_PUT_IF_ABSENT, "");
    put.file_path = path;
    assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
    assert_int_equal(meta.size, 11);
    assert_object(f->store, "f", "from a file");
    size_t len;
    char *content = support_read_file(path, &len);
    assert_string_equal(content, "from a file");
    free(content);
    /* what is done to the file later is not seen */
    support_write_file(path, "CHANGED THERE", 13);
    assert_object(f->store, "f", "from a file");
    put.key = bytes_of("g");
    put.file_path = support_path(dir, "missing");
    assert_true(shardy_store_put_object(f->store, &put, &meta, &err) < 0);
    assert_non_null(strstr(err.message, "missing"));
    assert_no_object(f->store, "g");
    support_remove_dir(dir);
}

static void test_put__a_body_is_given_in_one_way(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    stream parts = {"x", 1, SHARDY_DONE};
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "body");
    put.next = next_part;
    put.next_user = &parts;
    assert_status(SHARDY_INVALID, shardy_store_put_object(f->store, &put, NULL, &err));
    put.body = bytes_of("");
    put.file_path = "/etc/hostname";
    assert_status(SHARDY_INVALID, shardy_store_put_object(f->store, &put, NULL, &err));
    put = put_of("k", SHARDY_PUT_ALWAYS, "");
    put.body.data = NULL;
    put.body.len = 3;
    assert_status(SHARDY_INVALID, shardy_store_put_object(f->store, &put, NULL, &err));
    assert_no_object(f->store, "k");
}

static void test_put__a_large_object_is_whole(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    size_t len = ETAG_LIMIT + 1;
    char *data = malloc(len);
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)support_rand_u64(&rand);
    }
    /* at the limit a version is known, above it is not on files */
    for (size_t cut = 0; cut < 2; cut++) {
        shardy_object_meta meta;
        shardy_store_put put = put_of("large", SHARDY_PUT_ALWAYS, "");
        put.body.data = data;
        put.body.len = len - cut;
        assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
        assert_int_equal(meta.size, len - cut);
        assert_int_equal(meta.etag.text[0] != '\0', !fixture_has_files(f) || cut == 1);
        shardy_buf body;
        shardy_object_meta got;
        assert_ok(shardy_store_get(f->store, "large", 0, SHARDY_READ_TO_END, &body, &got, &err));
        assert_int_equal(body.len, len - cut);
        assert_memory_equal(body.data, data, body.len);
        shardy_buf_release(&body);
        assert_ok(shardy_store_head(f->store, "large", &got, &err));
        assert_string_equal(got.etag.text, meta.etag.text);
        if (meta.etag.text[0]) {
            assert_ok(put_text(
                f->store, "large", SHARDY_PUT_IF_MATCH, meta.etag.text, "small", NULL, &err));
            assert_object(f->store, "large", "small");
        } else {
            shardy_status st =
                put_text(f->store, "large", SHARDY_PUT_IF_MATCH, "abc", "small", NULL, &err);
            assert_true(st == SHARDY_UNSUPPORTED);
        }
    }
    free(data);
}

/* --- ranges and conditions of reads ------------------------------------------------------- */

static void test_put__an_object_of_several_parts_is_whole(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    size_t len = 2 * FIXTURE_PART_SIZE + 1; /* so that it needs three */
    char *data = malloc(len);
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)support_rand_u64(&rand);
    }
    shardy_object_meta meta;
    shardy_store_put put = put_of("parts", SHARDY_PUT_IF_ABSENT, "");
    put.body.data = data;
    put.body.len = len;
    assert_ok(shardy_store_put_object(f->store, &put, &meta, &err));
    assert_int_equal(meta.size, len);
    shardy_buf body;
    shardy_object_meta got;
    assert_ok(shardy_store_get(f->store, "parts", 0, SHARDY_READ_TO_END, &body, &got, &err));
    assert_int_equal(body.len, len);
    assert_memory_equal(body.data, data, len);
    assert_string_equal(got.etag.text, meta.etag.text);
    shardy_buf_release(&body);
    free(data);
}

static void test_read__ranges_end_with_the_object(void **state)
{
    fixture *f = *state;
    static const struct {
        uint64_t offset;
        uint64_t len;
        const char *expected;
    } cases[] = {{0, 3, "012"}, {3, 4, "3456"}, {9, 1, "9"}, {9, 2, "9"}, {10, 1, ""}, {11, 5, ""},
        {0, 0, ""}, {5, 0, ""}, {0, 10, "0123456789"}, {0, 11, "0123456789"},
        {2, SHARDY_READ_TO_END, "23456789"}, {10, SHARDY_READ_TO_END, ""}, {UINT64_MAX, 5, ""},
        {UINT64_MAX, SHARDY_READ_TO_END, ""}, {UINT64_MAX - 3, 10, ""}, {INT64_MAX, 1, ""},
        {4, UINT64_MAX - 1, "456789"}};
    put_ok(f->store, "r", "0123456789");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        shardy_buf body;
        shardy_object_meta meta;
        assert_ok(
            shardy_store_get(f->store, "r", cases[i].offset, cases[i].len, &body, &meta, &err));
        assert_int_equal(body.len, strlen(cases[i].expected));
        assert_memory_equal(body.len ? body.data : "", cases[i].expected, body.len);
        assert_int_equal(meta.size, 10);
        shardy_buf_release(&body);
        char dest[12] = "...........";
        shardy_store_read read;
        memset(&read, 0, sizeof read);
        read.key = bytes_of("r");
        read.offset = cases[i].offset;
        read.len = cases[i].len;
        read.dest = dest;
        if (cases[i].len > 11) {
            continue;
        }
        shardy_store_read_all(f->store, &read, 1);
        err = read.error;
        assert_ok((shardy_status)read.status);
        assert_int_equal(read.received, strlen(cases[i].expected));
        assert_memory_equal(dest, cases[i].expected, (size_t)read.received);
        assert_int_equal(dest[read.received], '.');
        assert_null(read.body.data);
    }
}

static void test_read__to_the_end_needs_a_body_of_the_store(void **state)
{
    fixture *f = *state;
    char dest[4];
    put_ok(f->store, "r", "0123456789");
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("r");
    read.len = SHARDY_READ_TO_END;
    read.dest = dest;
    shardy_store_read_all(f->store, &read, 1);
    assert_int_equal(read.status, SHARDY_INVALID);
    assert_true(read.error.message[0] != '\0');
}

static shardy_store_read read_if(
    fixture *f, const char *key, const char *if_match, const char *if_none_match)
{
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of(key);
    read.len = 2;
    read.if_match = if_match;
    read.if_none_match = if_none_match;
    shardy_store_read_all(f->store, &read, 1);
    return read;
}

static void test_read__conditions_compare_versions(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_object_meta v1;
    shardy_object_meta v2;
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "one", &v1, &err));
    shardy_store_read r = read_if(f, "k", v1.etag.text, NULL);
    assert_int_equal(r.status, SHARDY_OK);
    assert_string_equal(r.meta.etag.text, v1.etag.text);
    shardy_buf_release(&r.body);
    r = read_if(f, "k", NULL, v1.etag.text);
    assert_int_equal(r.status, SHARDY_NOT_MODIFIED);
    assert_int_equal(r.received, 0);
    assert_null(r.body.data);
    assert_ok(put_text(f->store, "k", SHARDY_PUT_ALWAYS, NULL, "two", &v2, &err));
    r = read_if(f, "k", v1.etag.text, NULL);
    assert_int_equal(r.status, SHARDY_CONFLICT);
    assert_true(r.error.message[0] != '\0');
    assert_null(r.body.data);
    r = read_if(f, "k", NULL, v1.etag.text);
    assert_int_equal(r.status, SHARDY_OK);
    assert_int_equal(r.received, 2);
    assert_memory_equal(r.body.data, "tw", 2);
    assert_string_equal(r.meta.etag.text, v2.etag.text);
    shardy_buf_release(&r.body);
    r = read_if(f, "missing", v1.etag.text, NULL);
    assert_int_equal(r.status, SHARDY_NOT_FOUND);
    r = read_if(f, "k", "", NULL);
    assert_int_equal(r.status, SHARDY_INVALID);
}

typedef struct done_count {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t calls;
    shardy_store_read *first;
    unsigned seen[8];
} done_count;

static void count_done(void *user, shardy_store_read *read)
{
    done_count *d = user;
    pthread_mutex_lock(&d->lock);
    d->calls++;
    d->seen[read - d->first]++;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

static void test_read__each_of_many_is_answered_once_and_on_its_own(void **state)
{
    fixture *f = *state;
    put_ok(f->store, "a", "AAAA");
    put_ok(f->store, "d/b", "BBBB");
    const char *keys[8] = {"a", "missing", "d/b", "../a", "a", "", "d/b", "d"};
    const int expected[8] = {SHARDY_OK, SHARDY_NOT_FOUND, SHARDY_OK, SHARDY_INVALID, SHARDY_OK,
        SHARDY_INVALID, SHARDY_OK, SHARDY_NOT_FOUND};
    shardy_store_read reads[8];
    for (int with_start = 0; with_start <= 1; with_start++) {
        memset(reads, 0, sizeof reads);
        for (size_t i = 0; i < 8; i++) {
            reads[i].key = bytes_of(keys[i]);
            reads[i].len = 1 + i % 3;
        }
        done_count d = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, reads, {0}};
        if (with_start) {
            shardy_store_read_start(f->store, reads, 8, count_done, &d);
            pthread_mutex_lock(&d.lock);
            /* other stores answer before the call returns */
            assert_true(fixture_is_remote(f) || d.calls == 8);
            while (d.calls < 8) {
                pthread_cond_wait(&d.changed, &d.lock);
            }
            pthread_mutex_unlock(&d.lock);
        } else {
            shardy_store_read_all(f->store, reads, 8);
        }
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(reads[i].status, expected[i]);
            assert_int_equal(reads[i].received, expected[i] == SHARDY_OK ? 1 + i % 3 : 0);
            assert_int_equal(d.seen[i], with_start);
            shardy_buf_release(&reads[i].body);
        }
    }
}

static void test_read__a_cancelled_or_late_call_does_nothing(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    put_ok(f->store, "k", "one");
    shardy_store_put put = put_of("k", SHARDY_PUT_ALWAYS, "two");
    put.cancel = cancel;
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("k");
    read.len = 3;
    read.cancel = cancel;
    shardy_store_read_all(f->store, &read, 1);
    assert_int_equal(read.status, SHARDY_OK);
    shardy_buf_release(&read.body);
    shardy_cancel_request(cancel);
    shardy_store_read_all(f->store, &read, 1);
    assert_int_equal(read.status, SHARDY_CANCELLED);
    assert_status(SHARDY_CANCELLED, shardy_store_put_object(f->store, &put, NULL, &err));
    put.cancel = read.cancel = NULL;
    put.deadline_ns = read.deadline_ns = 1;
    shardy_store_read_all(f->store, &read, 1);
    assert_int_equal(read.status, SHARDY_TIMEOUT);
    assert_status(SHARDY_TIMEOUT, shardy_store_put_object(f->store, &put, NULL, &err));
    assert_object(f->store, "k", "one");
    shardy_cancel_free(cancel);
}

/* --- keys --------------------------------------------------------------------------------- */

/* No call takes this key. */
static void assert_key_refused(shardy_store *store, shardy_bytes key)
{
    shardy_error err = {0};
    shardy_store_put put = put_of("", SHARDY_PUT_ALWAYS, "x");
    put.key = key;
    assert_status(SHARDY_INVALID, shardy_store_put_object(store, &put, NULL, &err));
    assert_true(err.message[0] != '\0');
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = key;
    read.len = 1;
    shardy_store_read_all(store, &read, 1);
    assert_int_equal(read.status, SHARDY_INVALID);
    int32_t result = SHARDY_OK;
    assert_status(SHARDY_INVALID, shardy_store_remove(store, &key, 1, &result, &err));
    assert_int_equal(result, SHARDY_INVALID);
    if (key.data && !memchr(key.data, 0, key.len)) {
        char *text = strndup(key.data, key.len);
        shardy_object_meta meta;
        shardy_local_file file;
        assert_status(SHARDY_INVALID, shardy_store_head(store, text, &meta, &err));
        assert_status(SHARDY_INVALID, shardy_store_open_local(store, text, &file, &err));
        assert_int_equal(file.fd, -1);
        free(text);
    }
}

static void test_key__what_is_no_key_is_refused_by_every_call(void **state)
{
    fixture *f = *state;
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/.",
        "a/..", "a/./b", "a/../b", "a/../../b", "\x01", "a\nb", "a\x7f", "a/\x1f/b", "\xff",
        "a\xc3", "\xed\xa0\x80", "\xc0\xaf", ".shardyfusion", ".shardyfusion/x",
        ".shardyfusion/tmp/x", ".shardyfusion/lock"};
    put_ok(f->store, "a", "untouched");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_key_refused(f->store, bytes_of(bad[i]));
    }
    shardy_bytes nul = {"a\0b", 3};
    assert_key_refused(f->store, nul);
    shardy_bytes null = {NULL, 0};
    assert_key_refused(f->store, null);
    char *longest = malloc(SHARDY_OBJECT_KEY_LEN_MAX + 2);
    memset(longest, 'k', SHARDY_OBJECT_KEY_LEN_MAX + 1);
    longest[SHARDY_OBJECT_KEY_LEN_MAX + 1] = '\0';
    for (size_t i = 200; i < SHARDY_OBJECT_KEY_LEN_MAX; i += 200) {
        longest[i] = '/';
    }
    assert_key_refused(f->store, bytes_of(longest));
    longest[SHARDY_OBJECT_KEY_LEN_MAX] = '\0';
    put_ok(f->store, longest, "at the limit");
    assert_object(f->store, longest, "at the limit");
    char *text = list_text(f->store, "", 0, 10);
    assert_int_equal(strlen(text), SHARDY_OBJECT_KEY_LEN_MAX + 3);
    free(text);
    free(longest);
    assert_object(f->store, "a", "untouched");
}

static void test_key__odd_names_are_names(void **state)
{
    fixture *f = *state;
    static const char *const good[] = {"...", "..a", "a..", ".hidden", "a b", "-", "~", "*", "%2e",
        "a=b&c", "\xc3\xa4/\xe6\x97\xa5", "x/.shardyfusion/y", ".shardyfusion2", "back\\slash",
        "quote\"'"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        put_ok(f->store, good[i], good[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        shardy_error err = {0};
        assert_object(f->store, good[i], good[i]);
        assert_ok(remove_key(f->store, good[i], &err));
        assert_no_object(f->store, good[i]);
    }
    assert_listing(f->store, "", 0, "");
}

static void test_key__a_long_segment_is_an_error_at_most(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    char key[300];
    memset(key, 's', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_no_object(f->store, key);
    shardy_status st = put_text(f->store, key, SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err);
    assert_int_equal(st, fixture_has_files(f) ? SHARDY_INVALID : SHARDY_OK);
    st = put_text(f->store, support_path(key, "x"), SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err);
    assert_int_equal(st, fixture_has_files(f) ? SHARDY_INVALID : SHARDY_OK);
    assert_ok(remove_key(f->store, key, &err));
}

/* --- removing ----------------------------------------------------------------------------- */

static void test_remove__is_idempotent_and_answers_for_each_key(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "a/b/c", "1");
    put_ok(f->store, "a/d", "2");
    put_ok(f->store, "e", "3");
    shardy_bytes keys[] = {bytes_of("a/b/c"), bytes_of("missing"), bytes_of("a/b/c"),
        bytes_of("no/such/dir"), bytes_of("e"), bytes_of("e/below"), bytes_of("a")};
    int32_t results[7];
    for (size_t i = 0; i < 7; i++) {
        results[i] = SHARDY_INTERNAL;
    }
    assert_ok(shardy_store_remove(f->store, keys, 7, results, &err));
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(results[i], SHARDY_OK);
    }
    assert_listing(f->store, "", 0, "a/d ");
    assert_object(f->store, "a/d", "2");
    assert_ok(shardy_store_remove(f->store, NULL, 0, NULL, &err));
}

static void test_remove__nothing_is_removed_when_one_key_is_none(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "a", "1");
    shardy_bytes keys[] = {bytes_of("a"), bytes_of("../b")};
    int32_t results[2];
    assert_status(SHARDY_INVALID, shardy_store_remove(f->store, keys, 2, results, &err));
    assert_object(f->store, "a", "1");
}

/* --- listing ------------------------------------------------------------------------------ */

static void test_list__keys_are_in_byte_order(void **state)
{
    fixture *f = *state;
    static const char *const keys[] = {"b", "a/b", "a-b", "a/", "a0", "a.b", "a/a/a", "B", "a/c-d",
        "a/c/d", "a/c.d", "a/c0", "\xc3\xa4", "z/z"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (keys[i][strlen(keys[i]) - 1] != '/') {
            put_ok(f->store, keys[i], "x");
        }
    }
    assert_listing(
        f->store, "", 0, "B a-b a.b a/a/a a/b a/c-d a/c.d a/c/d a/c0 a0 b z/z \xc3\xa4 ");
    assert_listing(f->store, "", '/', "B a-b a.b a/ a0 b z/ \xc3\xa4 ");
    assert_listing(f->store, "a/", 0, "a/a/a a/b a/c-d a/c.d a/c/d a/c0 ");
    assert_listing(f->store, "a/", '/', "a/a/ a/b a/c-d a/c.d a/c/ a/c0 ");
    assert_listing(f->store, "a/c/", '/', "a/c/d ");
    assert_listing(f->store, "nothing/", 0, "");
    assert_listing(f->store, "b/", '/', "");
}

static void test_list__siblings_are_not_below_each_other(void **state)
{
    fixture *f = *state;
    put_ok(f->store, "shards/run_id=a/x", "1");
    put_ok(f->store, "shards/run_id=a/y/z", "1");
    put_ok(f->store, "shards/run_id=ab/x", "1");
    put_ok(f->store, "shards/run_id=a-1/x", "1");
    put_ok(f->store, "shardsx", "1");
    assert_listing(f->store, "shards/run_id=a/", 0, "shards/run_id=a/x shards/run_id=a/y/z ");
    assert_listing(f->store, "shards/run_id=a/", '/', "shards/run_id=a/x shards/run_id=a/y/ ");
    assert_listing(
        f->store, "shards/", '/', "shards/run_id=a-1/ shards/run_id=a/ shards/run_id=ab/ ");
    assert_listing(f->store, "", '/', "shards/ shardsx ");
}

static void test_list__entries_have_size_and_time(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    shardy_store_page page;
    shardy_object_meta meta;
    put_ok(f->store, "d/five", "12345");
    put_ok(f->store, "d/e/x", "1");
    assert_ok(shardy_store_head(f->store, "d/five", &meta, &err));
    assert_ok(shardy_store_list(f->store, "d/", '/', NULL, 10, &page, &err));
    assert_int_equal(page.count, 2);
    assert_string_equal(page.entries[0].key, "d/e/");
    assert_int_equal(page.entries[0].is_prefix, 1);
    assert_int_equal(page.entries[0].size, 0);
    assert_string_equal(page.entries[1].key, "d/five");
    assert_int_equal(page.entries[1].size, 5);
    assert_int_equal(page.entries[1].modified_us, meta.modified_us);
    assert_null(page.next_token);
    shardy_store_page_dispose(&page);
    assert_null(page.entries);
    shardy_store_page_dispose(&page);
}

static void test_list__a_removed_object_leaves_no_prefix(void **state)
{
    fixture *f = *state;
    shardy_error err = {0};
    put_ok(f->store, "a/b/c/d", "1");
    assert_listing(f->store, "a/", '/', "a/b/ ");
    assert_ok(remove_key(f->store, "a/b/c/d", &err));
    assert_listing(f->store, "", '/', "");
    assert_listing(f->store, "a/", '/', "");
    assert_listing(f->store, "", 0, "");
    put_ok(f->store, "a", "now an object");
    assert_object(f->store, "a", "now an object");
}

static void test_list__wrong_arguments_are_refused(void **state)
{
    fixture *f = *state;
    static const char *const bad[] = {
        "a", "/", "a//", "../", "a/../", ".shardyfusion/", ".shardyfusion/tmp/", "\n/"};
    shardy_error err = {0};
    shardy_store_page page;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(
            SHARDY_INVALID, shardy_store_list(f->store, bad[i], 0, NULL, 10, &page, &err));
        assert_null(page.entries);
    }
    assert_status(SHARDY_INVALID, shardy_store_list(f->store, "", 'x', NULL, 10, &page, &err));
    assert_status(SHARDY_INVALID, shardy_store_list(f->store, "", 0, NULL, 0, &page, &err));
    assert_status(SHARDY_INVALID,
        shardy_store_list(f->store, "", 0, NULL, SHARDY_LIST_LIMIT_MAX + 1, &page, &err));
}

static void test_list__many_keys_come_in_pages(void **state)
{
    fixture *f = *state;
    /* a page for each key is a request for each key */
    size_t count = fixture_is_remote(f) ? 150 : 1500;
    char key[64];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        /* an order that is not that of making them */
        snprintf(key, sizeof key, "p/%04zu%s", (i * 7) % count, i % 3 ? "" : "/x");
        put_ok(f->store, key, "");
        total += strlen(key) + 1;
    }
    const size_t limits[] = {1, 7, 100, count - 1, count, 10000};
    char *expected = list_text(f->store, "", 0, SHARDY_LIST_LIMIT_MAX);
    assert_int_equal(strlen(expected), total);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char *text = list_text(f->store, i % 2 ? "" : "p/", 0, limits[i]);
        assert_string_equal(text, expected);
        free(text);
    }
    free(expected);
}

/* Random keys in a small alphabet: the listing is the sorted set of what was put. */
static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void test_list__random_keys_are_listed_as_a_sorted_set(void **state)
{
    fixture *f = *state;
    support_rand rand = {support_seed()};
    enum {
        COUNT = 300
    };
    char *keys[COUNT];
    static const char letters[] = "-.a/0b=";
    for (size_t n = 0; n < COUNT; n++) {
        char key[40];
        size_t len = 0;
        size_t segments = 1 + support_rand_below(&rand, 3);
        for (size_t s = 0; s < segments; s++) {
            len += (size_t)snprintf(key + len, sizeof key - len, "%sd%c%c", s ? "/" : "",
                letters[support_rand_below(&rand, 3)], letters[4 + support_rand_below(&rand, 3)]);
        }
        /* objects end in a letter that no directory ends in */
        snprintf(key + len, sizeof key - len, "%cf", letters[support_rand_below(&rand, 4)]);
        keys[n] = strdup(key);
        put_ok(f->store, key, key);
    }
    qsort(keys, COUNT, sizeof keys[0], compare_strings);
    char *expected = calloc(1, COUNT * 41);
    size_t len = 0;
    for (size_t n = 0; n < COUNT; n++) {
        if (n == 0 || strcmp(keys[n], keys[n - 1]) != 0) {
            len += (size_t)snprintf(expected + len, COUNT * 41 - len, "%s ", keys[n]);
        }
    }
    assert_listing(f->store, "", 0, expected);
    for (size_t n = 0; n < COUNT; n++) {
        free(keys[n]);
    }
    free(expected);
}

/* --- threads ------------------------------------------------------------------------------ */

enum {
    THREADS = 8,
    ROUNDS = 40
};

typedef struct worker {
    pthread_t thread;
    shardy_store *store;
    int number;
    int won[ROUNDS];
    shardy_status failed;
    shardy_error error;
} worker;

static void run_workers(fixture *f, worker workers[THREADS], void *(*run)(void *))
{
    memset(workers, 0, THREADS * sizeof workers[0]);
    for (int i = 0; i < THREADS; i++) {
        workers[i].store = f->store;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        shardy_error err = workers[i].error;
        assert_ok(workers[i].failed);
    }
}

static void *create_all(void *arg)
{
    worker *w = arg;
    char key[32];
    char body[32];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "dir%d/k", i);
        snprintf(body, sizeof body, "worker %d", w->number);
        shardy_status st =
            put_text(w->store, key, SHARDY_PUT_IF_ABSENT, NULL, body, NULL, &w->error);
        w->won[i] = st == SHARDY_OK;
        if (st < 0 && st != SHARDY_EXISTS) {
            w->failed = st;
            break;
        }
    }
    return NULL;
}

/* moto compares and replaces in two steps, between which another request may come; and answers 500
 * when an object is replaced while it reads it. */
static void skip_if_moto(const fixture *f)
{
    if (f->scenario == S3_MOTO) {
        skip();
    }
}

static void test_threads__exactly_one_creates_a_key(void **state)
{
    fixture *f = *state;
    static worker workers[THREADS];
    skip_if_moto(f);
    run_workers(f, workers, create_all);
    for (int i = 0; i < ROUNDS; i++) {
        char key[32];
        char body[32];
        int winners = 0;
        snprintf(key, sizeof key, "dir%d/k", i);
        for (int w = 0; w < THREADS; w++) {
            if (workers[w].won[i]) {
                winners++;
                snprintf(body, sizeof body, "worker %d", w);
            }
        }
        assert_int_equal(winners, 1);
        assert_object(f->store, key, body);
    }
}

/* Adds one to the number in an object until it was this thread that did it. */
static shardy_status increment(shardy_store *store, shardy_error *err)
{
    for (;;) {
        shardy_buf body;
        shardy_object_meta meta;
        shardy_status st =
            shardy_store_get(store, "counter", 0, SHARDY_READ_TO_END, &body, &meta, err);
        if (st != SHARDY_OK) {
            return st < 0 ? st : SHARDY_INTERNAL;
        }
        char text[32];
        snprintf(text, sizeof text, "%.*s", (int)body.len, (const char *)body.data);
        shardy_buf_release(&body);
        snprintf(text, sizeof text, "%d", (int)strtol(text, NULL, 10) + 1);
        st = put_text(store, "counter", SHARDY_PUT_IF_MATCH, meta.etag.text, text, NULL, err);
        if (st != SHARDY_CONFLICT) {
            return st;
        }
    }
}

static void *increment_often(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < ROUNDS && w->failed >= 0; i++) {
        w->failed = increment(w->store, &w->error);
    }
    return NULL;
}

static void test_threads__no_update_under_a_condition_is_lost(void **state)
{
    fixture *f = *state;
    skip_if_moto(f);
    static worker workers[THREADS];
    char expected[32];
    put_ok(f->store, "counter", "0");
    run_workers(f, workers, increment_often);
    snprintf(expected, sizeof expected, "%d", THREADS * ROUNDS);
    assert_object(f->store, "counter", expected);
}

/* Objects that come and go in one directory, which a store of files removes when it is empty. */
static void *come_and_go(void *arg)
{
    worker *w = arg;
    char key[32];
    snprintf(key, sizeof key, "x/y/z/%d", w->number);
    for (int i = 0; i < ROUNDS && w->failed >= 0; i++) {
        w->failed = put_text(w->store, key, i % 2 ? SHARDY_PUT_ALWAYS : SHARDY_PUT_IF_ABSENT, NULL,
            "here", NULL, &w->error);
        if (w->failed >= 0) {
            shardy_bytes bytes = bytes_of(key);
            int32_t result;
            w->failed = shardy_store_remove(w->store, &bytes, 1, &result, &w->error);
        }
    }
    return NULL;
}

static void test_threads__directories_that_vanish_do_not_matter(void **state)
{
    fixture *f = *state;
    static worker workers[THREADS];
    run_workers(f, workers, come_and_go);
    assert_listing(f->store, "", 0, "");
    assert_listing(f->store, "", '/', "");
}

/* A reader sees one of the versions, never a mixture. */
static void *write_or_read_whole(void *arg)
{
    worker *w = arg;
    enum {
        LEN = 20000
    };
    char *data = malloc(LEN + 1);
    for (int i = 0; i < ROUNDS && w->failed >= 0; i++) {
        if (w->number % 2) {
            memset(data, 'a' + w->number, LEN);
            data[LEN] = '\0';
            w->failed = put_text(w->store, "whole", SHARDY_PUT_ALWAYS, NULL, data, NULL, &w->error);
            continue;
        }
        shardy_buf body;
        shardy_object_meta meta;
        shardy_status st =
            shardy_store_get(w->store, "whole", 0, SHARDY_READ_TO_END, &body, &meta, &w->error);
        const char *p = body.data;
        if (st == SHARDY_OK && (body.len != LEN || memcmp(p, p + 1, LEN - 1) != 0)) {
            snprintf(w->error.message, sizeof w->error.message, "a mixture");
            st = SHARDY_CORRUPT;
        }
        w->failed = st < 0 ? st : SHARDY_OK;
        shardy_buf_release(&body);
    }
    free(data);
    return NULL;
}

static void test_threads__a_reader_sees_whole_objects(void **state)
{
    fixture *f = *state;
    static worker workers[THREADS];
    skip_if_moto(f);
    run_workers(f, workers, write_or_read_whole);
}

/* --- running ------------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_put__an_object_can_be_read_at_once),
        STORE_TEST(test_put__an_empty_object_is_one),
        STORE_TEST(test_put__always_replaces_and_gives_another_version),
        STORE_TEST(test_put__if_absent_never_replaces),
        STORE_TEST(test_put__if_match_replaces_that_version_only),
        STORE_TEST(test_put__if_match_needs_a_version),
        STORE_TEST(test_put__a_stream_is_put_together),
        STORE_TEST(test_put__a_stream_that_fails_leaves_nothing),
        STORE_TEST(test_put__a_file_is_copied_from_outside_of_the_scratch),
        STORE_TEST(test_put__a_body_is_given_in_one_way),
        STORE_TEST(test_put__a_large_object_is_whole),
        STORE_TEST(test_put__an_object_of_several_parts_is_whole),
        STORE_TEST(test_read__ranges_end_with_the_object),
        STORE_TEST(test_read__to_the_end_needs_a_body_of_the_store),
        STORE_TEST(test_read__conditions_compare_versions),
        STORE_TEST(test_read__each_of_many_is_answered_once_and_on_its_own),
        STORE_TEST(test_read__a_cancelled_or_late_call_does_nothing),
        STORE_TEST(test_key__what_is_no_key_is_refused_by_every_call),
        STORE_TEST(test_key__odd_names_are_names),
        STORE_TEST(test_key__a_long_segment_is_an_error_at_most),
        STORE_TEST(test_remove__is_idempotent_and_answers_for_each_key),
        STORE_TEST(test_remove__nothing_is_removed_when_one_key_is_none),
        STORE_TEST(test_list__keys_are_in_byte_order),
        STORE_TEST(test_list__siblings_are_not_below_each_other),
        STORE_TEST(test_list__entries_have_size_and_time),
        STORE_TEST(test_list__a_removed_object_leaves_no_prefix),
        STORE_TEST(test_list__wrong_arguments_are_refused),
        STORE_TEST(test_list__many_keys_come_in_pages),
        STORE_TEST(test_list__random_keys_are_listed_as_a_sorted_set),
        STORE_TEST(test_threads__exactly_one_creates_a_key),
        STORE_TEST(test_threads__no_update_under_a_condition_is_lost),
        STORE_TEST(test_threads__directories_that_vanish_do_not_matter),
        STORE_TEST(test_threads__a_reader_sees_whole_objects),
    };
    static const scenario list[] = {FS, FS_PORTABLE, MEM, STATS_MEM, FAULT_FS, S3, S3_MOTO};
    return fixture_run(tests, sizeof tests / sizeof tests[0], list, sizeof list / sizeof list[0]);
}
