/* What store.c checks for every store, opening by URL, and the stores that wrap another. */
#include "store/store.h"
#include "support/store_fixture.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t metric(shardy_context *context, int32_t which)
{
    return (int64_t)shardy_context_metric(context, which);
}

/* --- a store that answers what a test wants ----------------------------------------------- */

typedef struct odd_store {
    uint64_t caps;
    shardy_status answer;
    int closed;
    int read_len;     /* bytes that a read claims */
    const char *keys; /* of a page, separated by spaces */
    shardy_store_entry entries[4];
    char names[4][16];
} odd_store;

static uint64_t odd_caps(void *store)
{
    return ((odd_store *)store)->caps;
}

static void odd_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    const odd_store *s = store;
    /* backwards, as nothing says that reads are answered in order */
    for (size_t i = n; i-- > 0;) {
        reads[i].status = s->answer;
        reads[i].received = (uint64_t)s->read_len;
        done(user, &reads[i]);
    }
}

static shardy_status odd_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    (void)limits;
    (void)key;
    (void)meta_out;
    (void)err;
    return ((odd_store *)store)->answer;
}

static shardy_status odd_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    (void)put;
    (void)meta_out;
    (void)err;
    return ((odd_store *)store)->answer;
}

static shardy_status odd_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    odd_store *s = store;
    (void)what;
    (void)err;
    const char *p = s->keys;
    while (p && *p && page_out->count < 4) {
        size_t len = strcspn(p, " ");
        snprintf(s->names[page_out->count], sizeof s->names[0], "%.*s", (int)len, p);
        s->entries[page_out->count].key = s->names[page_out->count];
        page_out->count++;
        p += len + (p[len] == ' ');
    }
    page_out->entries = s->entries;
    return s->answer;
}

static shardy_status odd_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    (void)limits;
    (void)keys;
    (void)n;
    (void)results_out;
    (void)err;
    return ((odd_store *)store)->answer;
}

static void odd_close(void *store)
{
    ((odd_store *)store)->closed++;
}

static shardy_store_ops odd_ops(void)
{
    shardy_store_ops ops;
    memset(&ops, 0, sizeof ops);
    ops.abi = SHARDY_STORE_ABI;
    ops.struct_size = sizeof ops;
    ops.name = "odd";
    ops.caps = odd_caps;
    ops.read = odd_read;
    ops.head = odd_head;
    ops.put = odd_put;
    ops.list = odd_list;
    ops.remove = odd_remove;
    ops.close = odd_close;
    return ops;
}

static void test_new_take__a_table_without_a_slot_is_refused_and_its_state_closed(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (int i = 0; i < 10; i++) {
        odd_store s = {.caps = 0};
        shardy_store_ops ops = odd_ops();
        shardy_store *store = (shardy_store *)&ops;
        int closes = 1;
        switch (i) {
        case 0:
            ops.abi = SHARDY_STORE_ABI + 1;
            closes = 0;
            break;
        case 1:
            ops.struct_size = 16;
            closes = 0;
            break;
        case 2:
            ops.close = NULL;
            closes = 0;
            break;
        case 3:
            ops.caps = NULL;
            break;
        case 4:
            ops.read = NULL;
            break;
        case 5:
            ops.put = NULL;
            break;
        case 6:
            ops.list = NULL;
            break;
        case 7:
            ops.remove = NULL;
            break;
        case 8:
            s.caps = SHARDY_STORE_CAP_OPEN_LOCAL;
            break;
        default:
            s.caps = SHARDY_STORE_CAP_TAKE_FILE;
            break;
        }
        assert_status(SHARDY_INVALID, shardy_store_new_take(NULL, &ops, &s, &store, &err));
        assert_null(store);
        assert_true(err.message[0] != '\0');
        assert_int_equal(s.closed, closes);
    }
}

static void test_calls__an_answer_that_no_slot_may_give_is_internal(void **state)
{
    (void)state;
    shardy_error err = {0};
    odd_store s = {.answer = SHARDY_PENDING};
    shardy_store_ops ops = odd_ops();
    shardy_store *store;
    assert_ok(shardy_store_new_take(NULL, &ops, &s, &store, &err));
    shardy_object_meta meta;
    shardy_buf body;
    shardy_store_page page;
    int32_t result;
    shardy_bytes key = bytes_of("k");
    /* nobody asked whether it was modified */
    static const shardy_status answers[] = {SHARDY_PENDING, SHARDY_NOT_MODIFIED, SHARDY_DONE};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        s.answer = answers[i];
        assert_status(SHARDY_INTERNAL, shardy_store_head(store, "k", &meta, &err));
        assert_status(
            SHARDY_INTERNAL, put_text(store, "k", SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err));
        assert_status(SHARDY_INTERNAL, shardy_store_get(store, "k", 0, 9, &body, NULL, &err));
        assert_status(SHARDY_INTERNAL, shardy_store_list(store, "", 0, NULL, 1, &page, &err));
        assert_status(SHARDY_INTERNAL, shardy_store_remove(store, &key, 1, &result, &err));
    }
    /* a failure without a message gets one */
    s.answer = SHARDY_THROTTLED;
    memset(&err, 0, sizeof err);
    assert_status(SHARDY_THROTTLED, shardy_store_head(store, "k", &meta, &err));
    assert_non_null(strstr(err.message, "odd"));
    memset(&err, 0, sizeof err);
    assert_status(SHARDY_THROTTLED, shardy_store_get(store, "k", 0, 9, &body, NULL, &err));
    assert_non_null(strstr(err.message, "odd"));
    /* more bytes than were asked for, or not in the buffer */
    s.answer = SHARDY_OK;
    s.read_len = 10;
    assert_status(SHARDY_INTERNAL, shardy_store_get(store, "k", 0, 9, &body, NULL, &err));
    s.read_len = 5;
    assert_status(SHARDY_INTERNAL, shardy_store_get(store, "k", 0, 9, &body, NULL, &err));
    s.read_len = 0;
    assert_ok(shardy_store_get(store, "k", 0, 9, &body, NULL, &err));
    shardy_store_close(store);
    assert_int_equal(s.closed, 1);
}

static void test_list__a_page_out_of_order_is_internal(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        const char *prefix;
        size_t limit;
        shardy_status expected;
    } cases[] = {{"a b c", "", 3, SHARDY_OK}, {"", "", 3, SHARDY_OK},
        {"a b c", "", 2, SHARDY_INTERNAL}, {"b a", "", 3, SHARDY_INTERNAL},
        {"a a", "", 3, SHARDY_INTERNAL}, {"p/a q/b", "p/", 3, SHARDY_INTERNAL},
        {"p/a p/b", "p/", 3, SHARDY_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        odd_store s = {.keys = cases[i].keys};
        shardy_store_ops ops = odd_ops();
        shardy_store *store;
        shardy_store_page page;
        assert_ok(shardy_store_new_take(NULL, &ops, &s, &store, &err));
        assert_status(cases[i].expected,
            shardy_store_list(store, cases[i].prefix, 0, NULL, cases[i].limit, &page, &err));
        shardy_store_close(store);
    }
}

static void test_calls__conditions_need_their_capability(void **state)
{
    (void)state;
    shardy_error err = {0};
    odd_store s = {.caps = SHARDY_STORE_CAP_PUT_IF_ABSENT};
    shardy_store_ops ops = odd_ops();
    shardy_store *store;
    assert_ok(shardy_store_new_take(NULL, &ops, &s, &store, &err));
    assert_ok(put_text(store, "k", SHARDY_PUT_ALWAYS, NULL, "x", NULL, &err));
    assert_ok(put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
    assert_status(
        SHARDY_UNSUPPORTED, put_text(store, "k", SHARDY_PUT_IF_MATCH, "e", "x", NULL, &err));
    s.caps = 0;
    assert_status(
        SHARDY_UNSUPPORTED, put_text(store, "k", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
    shardy_store_close(store);
}

static void test_calls__null_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_object_meta meta;
    shardy_buf body;
    shardy_store_page page;
    shardy_store *store;
    assert_status(SHARDY_INVALID, shardy_store_head(NULL, "k", &meta, &err));
    assert_status(SHARDY_INVALID, shardy_store_get(NULL, "k", 0, 1, &body, NULL, &err));
    assert_status(SHARDY_INVALID, shardy_store_list(NULL, "", 0, NULL, 1, &page, &err));
    assert_status(SHARDY_INVALID, shardy_store_wrap_stats(NULL, NULL, &store, &err));
    assert_null(store);
    assert_status(SHARDY_INVALID, shardy_store_wrap_fault(NULL, NULL, &store, &err));
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    shardy_store_read_all(NULL, &read, 1);
    assert_int_equal(read.status, SHARDY_INVALID);
    shardy_store_close(NULL);
    shardy_store_page_dispose(NULL);
    assert_int_equal(shardy_store_caps(NULL), 0);
    assert_string_equal(shardy_store_name(NULL), "");
    shardy_store_fault_set(NULL, 1, 0, 1, -1);
    shardy_store_counts counts;
    shardy_store_stats(NULL, &counts);
    assert_int_equal(counts.reads, 0);
}

static void test_calls__are_counted_once_at_the_innermost_store(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_context *context;
    shardy_store *mem;
    shardy_store *stats;
    shardy_store *faults;
    assert_ok(shardy_context_new(NULL, &context, &err));
    assert_ok(shardy_store_open_mem(context, &mem, &err));
    assert_ok(shardy_store_wrap_stats(context, mem, &stats, &err));
    assert_ok(shardy_store_wrap_fault(context, stats, &faults, &err));
    put_ok(faults, "d/k", "12345");
    put_ok(faults, "e", "123");
    assert_object(faults, "d/k", "12345");
    shardy_object_meta meta;
    assert_ok(shardy_store_head(faults, "e", &meta, &err));
    shardy_store_read reads[3];
    memset(reads, 0, sizeof reads);
    for (size_t i = 0; i < 3; i++) {
        reads[i].key = bytes_of(i == 1 ? "missing" : "d/k");
        reads[i].len = 2;
    }
    shardy_store_read_all(faults, reads, 3);
    for (size_t i = 0; i < 3; i++) {
        shardy_buf_release(&reads[i].body);
    }
    shardy_store_counts before;
    shardy_store_stats(stats, &before);
    assert_int_equal(before.reads, 4);
    shardy_store_read_all(stats, reads, 3);
    for (size_t i = 0; i < 3; i++) {
        shardy_buf_release(&reads[i].body);
    }
    assert_listing(faults, "", 0, "d/k e ");
    shardy_bytes keys[] = {bytes_of("e"), bytes_of("missing")};
    int32_t results[2];
    assert_ok(shardy_store_remove(faults, keys, 2, results, &err));
    shardy_store_counts counts;
    shardy_store_stats(stats, &counts);
    assert_int_equal(counts.reads, 7);
    assert_int_equal(counts.read_bytes, 13);
    assert_int_equal(counts.heads, 1);
    assert_int_equal(counts.puts, 2);
    assert_int_equal(counts.put_bytes, 8);
    assert_int_equal(counts.removes, 2);
    assert_true(counts.lists > 0);
    assert_int_equal(counts.opens, 0);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_READS), 7);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_READ_BYTES), 13);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_HEADS), 1);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_PUTS), 2);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_PUT_BYTES), 8);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_LISTS), counts.lists);
    assert_int_equal(metric(context, SHARDY_METRIC_STORE_DELETES), 2);
    shardy_store_close(faults);
    shardy_store_close(stats);
    shardy_store_close(mem);
    shardy_context_free(context);
}

/* --- the fault store ---------------------------------------------------------------------- */

typedef struct faulty {
    shardy_store *mem;
    shardy_store *store;
} faulty;

static faulty open_faulty(void)
{
    shardy_error err = {0};
    faulty f;
    assert_ok(shardy_store_open_mem(NULL, &f.mem, &err));
    assert_ok(shardy_store_wrap_fault(NULL, f.mem, &f.store, &err));
    put_ok(f.mem, "k", "0123456789");
    return f;
}

static void close_faulty(faulty *f)
{
    shardy_store_close(f->store);
    shardy_store_close(f->mem);
}

static void assert_counts(const faulty *f, uint64_t calls, uint64_t failed)
{
    uint64_t calls_got;
    uint64_t failed_got;
    shardy_store_fault_counts(f->store, &calls_got, &failed_got);
    assert_int_equal(calls_got, calls);
    assert_int_equal(failed_got, failed);
}

static void test_fault__before_fails_without_doing_it(void **state)
{
    (void)state;
    shardy_error err = {0};
    faulty f = open_faulty();
    shardy_store_fault_set(f.store, 2, 0, SHARDY_FAULT_BEFORE, SHARDY_UNAVAILABLE);
    put_ok(f.store, "one", "1");
    assert_status(
        SHARDY_UNAVAILABLE, put_text(f.store, "two", SHARDY_PUT_ALWAYS, NULL, "2", NULL, &err));
    assert_non_null(strstr(err.message, "fault"));
    put_ok(f.store, "three", "3");
    assert_no_object(f.mem, "two");
    assert_counts(&f, 3, 1);
    shardy_store_fault_set(f.store, 1, 1, SHARDY_FAULT_BEFORE, SHARDY_IO);
    shardy_bytes key = bytes_of("one");
    int32_t result = SHARDY_OK;
    shardy_object_meta meta;
    shardy_store_page page;
    assert_status(SHARDY_IO, shardy_store_remove(f.store, &key, 1, &result, &err));
    assert_int_equal(result, SHARDY_IO);
    assert_status(SHARDY_IO, shardy_store_head(f.store, "one", &meta, &err));
    assert_status(SHARDY_IO, shardy_store_list(f.store, "", 0, NULL, 5, &page, &err));
    assert_counts(&f, 3, 3);
    assert_object(f.mem, "one", "1");
    close_faulty(&f);
}

static void test_fault__after_fails_having_done_it(void **state)
{
    (void)state;
    shardy_error err = {0};
    faulty f = open_faulty();
    shardy_store_fault_set(f.store, 1, 1, SHARDY_FAULT_AFTER, SHARDY_TIMEOUT);
    assert_status(
        SHARDY_TIMEOUT, put_text(f.store, "k", SHARDY_PUT_ALWAYS, NULL, "new", NULL, &err));
    assert_int_equal(err.retriable, 1);
    shardy_buf body;
    assert_status(
        SHARDY_TIMEOUT, shardy_store_get(f.store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    assert_null(body.data);
    shardy_store_page page;
    assert_status(SHARDY_TIMEOUT, shardy_store_list(f.store, "", 0, NULL, 5, &page, &err));
    assert_null(page.entries);
    assert_object(f.mem, "k", "new");
    shardy_bytes key = bytes_of("k");
    int32_t result = SHARDY_OK;
    assert_status(SHARDY_TIMEOUT, shardy_store_remove(f.store, &key, 1, &result, &err));
    assert_int_equal(result, SHARDY_TIMEOUT);
    assert_no_object(f.mem, "k");
    close_faulty(&f);
}

static void test_fault__a_short_read_is_told_from_a_short_object(void **state)
{
    (void)state;
    shardy_error err = {0};
    faulty f = open_faulty();
    shardy_buf body;
    shardy_store_fault_set(f.store, 2, 0, SHARDY_FAULT_SHORT, SHARDY_IO);
    assert_ok(shardy_store_get(f.store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    assert_int_equal(body.len, 10);
    shardy_buf_release(&body);
    assert_status(
        SHARDY_IO, shardy_store_get(f.store, "k", 0, SHARDY_READ_TO_END, &body, NULL, &err));
    assert_non_null(strstr(err.message, "\"k\""));
    assert_non_null(strstr(err.message, "5 of 10 bytes"));
    assert_int_equal(err.retriable, 1);
    assert_null(body.data);
    assert_counts(&f, 2, 1);
    char dest[8] = "";
    shardy_store_read read;
    memset(&read, 0, sizeof read);
    read.key = bytes_of("k");
    read.offset = 2;
    read.len = 6;
    read.dest = dest;
    shardy_store_fault_set(f.store, 1, 1, SHARDY_FAULT_SHORT, SHARDY_IO);
    /* calls that are no reads go on */
    put_ok(f.store, "other", "x");
    shardy_store_read_all(f.store, &read, 1);
    assert_int_equal(read.status, SHARDY_IO);
    assert_int_equal(read.received, 0);
    assert_non_null(strstr(read.error.message, "3 of 6 bytes"));
    assert_counts(&f, 2, 1);
    close_faulty(&f);
}

static void test_fault__each_read_of_many_is_a_call(void **state)
{
    (void)state;
    faulty f = open_faulty();
    for (uint64_t nth = 0; nth <= 5; nth++) {
        for (int32_t kind = SHARDY_FAULT_BEFORE; kind <= SHARDY_FAULT_AFTER; kind++) {
            shardy_store_read reads[4];
            memset(reads, 0, sizeof reads);
            for (size_t i = 0; i < 4; i++) {
                reads[i].key = bytes_of("k");
                reads[i].len = 4;
            }
            shardy_store_fault_set(f.store, nth, 0, kind, SHARDY_AUTH);
            shardy_store_read_all(f.store, reads, 4);
            for (size_t i = 0; i < 4; i++) {
                int failed = nth == i + 1;
                assert_int_equal(reads[i].status, failed ? SHARDY_AUTH : SHARDY_OK);
                assert_int_equal(reads[i].received, failed ? 0 : 4);
                shardy_buf_release(&reads[i].body);
            }
            assert_counts(&f, 4, nth >= 1 && nth <= 4);
        }
    }
    close_faulty(&f);
}

/* --- opening ------------------------------------------------------------------------------ */

static void test_open_url__knows_directories_and_names_what_it_does_not(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store;
    char *dir = support_make_dir();
    char url[700];
    assert_ok(shardy__store_open_url(NULL, dir, NULL, &store, &err));
    assert_string_equal(shardy_store_name(store), "fs");
    put_ok(store, "k", "x");
    shardy_store_close(store);
    snprintf(url, sizeof url, "file://%s/", dir);
    assert_ok(shardy__store_open_url(NULL, url, NULL, &store, &err));
    assert_object(store, "k", "x");
    shardy_store_close(store);
    snprintf(url, sizeof url, "%s/missing/deep", dir);
    assert_status(SHARDY_NOT_FOUND, shardy__store_open_url(NULL, url, NULL, &store, &err));
    assert_null(store);
    store_url_options options = {.create = 1, .sync = 0, .allow_network_fs = 0};
    assert_ok(shardy__store_open_url(NULL, url, &options, &store, &err));
    shardy_store_close(store);
    snprintf(url, sizeof url, "%s/k", dir);
    assert_status(SHARDY_INVALID, shardy__store_open_url(NULL, url, NULL, &store, &err));
    unsetenv("S3_ACCESS_KEY_ID");
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("S3_SECRET_ACCESS_KEY");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    setenv("HOME", dir, 1); /* where there are no profiles */
    assert_status(SHARDY_CONFIG, shardy__store_open_url(NULL, "s3://bucket/p", NULL, &store, &err));
    assert_non_null(strstr(err.message, "credentials"));
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    assert_ok(shardy__store_open_url(NULL, "s3://bucket/p", NULL, &store, &err));
    assert_string_equal(shardy_store_name(store), "retry");
    shardy_store_close(store);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    static const char *const bad[] = {"", "http://x/y", "file://relative", "s3://", "s3:///x",
        "s3://b/a//b", "s3://b/../c", "s3://b/x?y", "s3://b/x#y", "ftp://x", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shardy_status st = shardy__store_open_url(NULL, bad[i], NULL, &store, &err);
        assert_true(st == SHARDY_INVALID || st == SHARDY_UNSUPPORTED);
        assert_true(err.message[0] != '\0');
        assert_null(store);
    }
    support_remove_dir(dir);
}

static void test_open_fs__conditions_on_a_network_file_system_are_refused(void **state)
{
    (void)state;
    shardy_error err = {0};
    char *dir = support_make_dir();
    for (int32_t allow = 0; allow <= 1; allow++) {
        shardy_store *store;
        shardy_store_fs_options options;
        shardy_store_fs_options_init(&options, sizeof options);
        options.allow_network_fs = allow;
        store_fs_quirks quirks = {.network = 1};
        assert_ok(shardy__store_open_fs_quirks(NULL, dir, &options, &quirks, &store, &err));
        put_ok(store, "k", "x");
        uint64_t both = SHARDY_STORE_CAP_PUT_IF_ABSENT | SHARDY_STORE_CAP_PUT_IF_MATCH;
        assert_int_equal(shardy_store_caps(store) & both, allow ? both : 0);
        shardy_status expected = allow ? SHARDY_OK : SHARDY_UNSUPPORTED;
        assert_status(
            expected, put_text(store, "new", SHARDY_PUT_IF_ABSENT, NULL, "x", NULL, &err));
        if (!allow) {
            assert_non_null(strstr(err.message, "allow_network_fs"));
        }
        shardy_store_close(store);
    }
    support_remove_dir(dir);
}

static void test_open_fs__options_of_another_size_are_understood(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store;
    char *dir = support_make_dir();
    char sub[700];
    struct {
        shardy_store_fs_options options;
        int32_t later[4];
    } bigger;
    snprintf(sub, sizeof sub, "%s/sub", dir);
    shardy_store_fs_options_init(&bigger.options, sizeof bigger);
    bigger.options.create = 1;
    assert_ok(shardy_store_open_fs(NULL, sub, &bigger.options, &store, &err));
    shardy_store_close(store);
    bigger.later[2] = 1;
    assert_status(
        SHARDY_UNSUPPORTED, shardy_store_open_fs(NULL, sub, &bigger.options, &store, &err));
    memset(&bigger, 0, sizeof bigger);
    assert_status(SHARDY_INVALID, shardy_store_open_fs(NULL, sub, &bigger.options, &store, &err));
    support_remove_dir(dir);
}

/* --- fork --------------------------------------------------------------------------------- */

static void test_fork__a_handle_of_the_parent_is_refused_and_its_scratch_stays(void **state)
{
    (void)state;
    shardy_error err = {0};
    shardy_store *store;
    const char *scratch;
    char *dir = support_make_dir();
    assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
    put_ok(store, "k", "x");
    assert_ok(shardy_store_scratch(store, &scratch, &err));
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        shardy_object_meta meta;
        shardy_buf body;
        int ok = shardy_store_head(store, "k", &meta, &err) == SHARDY_FORKED &&
                 shardy_store_get(store, "k", 0, 1, &body, NULL, &err) == SHARDY_FORKED &&
                 put_text(store, "k", SHARDY_PUT_ALWAYS, NULL, "y", NULL, &err) == SHARDY_FORKED;
        shardy_store_close(store);
        _exit(ok ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(access(scratch, W_OK), 0);
    put_ok(store, "k", "still works");
    shardy_store_close(store);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_take__a_table_without_a_slot_is_refused_and_its_state_closed),
        cmocka_unit_test(test_calls__an_answer_that_no_slot_may_give_is_internal),
        cmocka_unit_test(test_list__a_page_out_of_order_is_internal),
        cmocka_unit_test(test_calls__conditions_need_their_capability),
        cmocka_unit_test(test_calls__null_is_an_error_and_not_a_crash),
        cmocka_unit_test(test_calls__are_counted_once_at_the_innermost_store),
        cmocka_unit_test(test_fault__before_fails_without_doing_it),
        cmocka_unit_test(test_fault__after_fails_having_done_it),
        cmocka_unit_test(test_fault__a_short_read_is_told_from_a_short_object),
        cmocka_unit_test(test_fault__each_read_of_many_is_a_call),
        cmocka_unit_test(test_open_url__knows_directories_and_names_what_it_does_not),
        cmocka_unit_test(test_open_fs__conditions_on_a_network_file_system_are_refused),
        cmocka_unit_test(test_open_fs__options_of_another_size_are_understood),
        cmocka_unit_test(test_fork__a_handle_of_the_parent_is_refused_and_its_scratch_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
