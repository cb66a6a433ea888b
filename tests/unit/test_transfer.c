/* Downloads in ranges, over a store that answers at once and over one that answers from another
 * thread and in any order. */
#include "base/context.h"
#include "base/thread.h"
#include "store/transfer.h"
#include "support/script_store.h"
#include "support/store_fixture.h"
#include "support/sums_testing.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANGE    SHARDY_CHUNK_LEN
#define PARALLEL 4u
#define WAITING  64u

/* --- a store that answers late ---------------------------------------------------------------- */

typedef struct late_read {
    shardy_store_read *read;
    shardy_store_done_fn done;
    void *user;
} late_read;

typedef struct late_store {
    shardy_store *inner;
    shardy_store *store;
    support_rand rand;
    mutex lock;
    condition changed;
    late_read waiting[WAITING];
    size_t count;
    size_t most; /* reads at once */
    int stopping;
    thread thread;
} late_store;

static void *answer_late(void *arg)
{
    late_store *s = arg;
    shardy__mutex_lock(&s->lock);
    while (!s->stopping || s->count > 0) {
        if (s->count == 0) {
            shardy__condition_wait(&s->changed, &s->lock);
            continue;
        }
        size_t at = (size_t)support_rand_below(&s->rand, s->count);
        late_read r = s->waiting[at];
        s->waiting[at] = s->waiting[--s->count];
        shardy__mutex_unlock(&s->lock);
        shardy_store_read_all(s->inner, r.read, 1);
        r.done(r.user, r.read);
        shardy__mutex_lock(&s->lock);
    }
    shardy__mutex_unlock(&s->lock);
    return NULL;
}

static void late_start(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    late_store *s = store;
    shardy__mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        s->waiting[s->count++] = (late_read){&reads[i], done, user};
    }
    s->most = s->count > s->most ? s->count : s->most;
    shardy__condition_signal(&s->changed);
    shardy__mutex_unlock(&s->lock);
}

static uint64_t late_caps(void *store)
{
    (void)store;
    return 0;
}

static void late_closed(void *store)
{
    (void)store;
}

/* The other slots are those of the store below, and never called. */
static void late_open(late_store *s, shardy_store *inner, shardy_store_ops *ops)
{
    shardy_error err = {0};
    memset(s, 0, sizeof *s);
    s->inner = inner;
    s->rand.state = support_seed();
    shardy__mutex_init(&s->lock);
    shardy__condition_init(&s->changed);
    *ops = *inner->ops;
    ops->name = "late";
    ops->caps = late_caps;
    ops->read = late_start;
    ops->close = late_closed;
    assert_ok(shardy_store_new_take(NULL, ops, s, &s->store, &err));
    assert_ok(shardy__thread_start(&s->thread, answer_late, s, "late", &err));
}

static void late_close(late_store *s)
{
    shardy__mutex_lock(&s->lock);
    s->stopping = 1;
    shardy__condition_signal(&s->changed);
    shardy__mutex_unlock(&s->lock);
    shardy__thread_join(s->thread);
    shardy_store_close(s->store);
    shardy__condition_destroy(&s->changed);
    shardy__mutex_destroy(&s->lock);
}

/* --- the object and the file ------------------------------------------------------------------ */

typedef struct stage {
    script_store script;
    char *dir;
    int fd;
    uint8_t *data;
    size_t len;
    chunk_digest sums;
} stage;

static void put_object(stage *s)
{
    shardy_error err = {0};
    shardy_store_put put = put_of("o", SHARDY_PUT_ALWAYS, "");
    put.body = (shardy_bytes){s->data, s->len};
    assert_ok(shardy_store_put_object(s->script.mem, &put, NULL, &err));
}

static void stage_open(stage *s, size_t len)
{
    support_rand r = {1};
    memset(s, 0, sizeof *s);
    script_store_open(&s->script, NULL);
    s->dir = support_make_dir();
    s->fd = open(support_path(s->dir, "file"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(s->fd >= 0);
    s->len = len;
    s->data = calloc(1, len + 1);
    for (size_t i = 0; i < len; i++) {
        s->data[i] = (uint8_t)support_rand_u64(&r);
    }
    (void)sums_make(&s->sums, s->data, len);
    put_object(s);
}

static void stage_close(stage *s)
{
    script_store_close(&s->script);
    shardy__chunk_digest_free(&s->sums);
    close(s->fd);
    support_remove_dir(s->dir);
    free(s->data);
}

static transfer_options options_of(const stage *s)
{
    transfer_options o;
    shardy__transfer_options_init(&o);
    o.range_len = RANGE;
    o.parallel = PARALLEL;
    o.size = s->len;
    o.sums = s->sums.sums;
    return o;
}

static void assert_file(const stage *s)
{
    size_t len;
    char *is = support_read_file(support_path(s->dir, "file"), &len);
    assert_int_equal(len, s->len);
    assert_memory_equal(is, s->data, len);
    free(is);
}

/* --- what comes ------------------------------------------------------------------------------- */

static void test_download__gives_objects_of_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, RANGE - 1, RANGE, RANGE + 1, 4 * RANGE, 9 * RANGE + 17};
    shardy_error err = {0};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        stage s;
        shardy_object_meta meta;
        stage_open(&s, sizes[i / 2]);
        transfer_options o = options_of(&s);
        if (i % 2) {
            o.size = TRANSFER_SIZE_UNKNOWN;
            o.sums = NULL;
        }
        assert_ok(shardy__transfer_download(s.script.store, "o", s.fd, &o, &meta, &err));
        assert_int_equal(meta.size, s.len);
        assert_true(meta.etag.text[0] != '\0');
        assert_file(&s);
        size_t ranges = s.len ? (s.len + RANGE - 1) / RANGE : 1;
        assert_int_equal(script_store_calls(&s.script), ranges);
        stage_close(&s);
    }
}

typedef struct told {
    uint64_t done;
    uint64_t total;
    uint32_t calls;
    uint32_t cancel_at;
} told;

static int32_t tell(void *user, uint64_t done, uint64_t total)
{
    told *t = user;
    assert_true(done > t->done);
    t->done = done;
    t->total = total;
    return ++t->calls == t->cancel_at;
}

static void test_download__reads_a_few_ranges_at_once_in_any_order(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    late_store late;
    shardy_store_ops ops;
    stage_open(&s, 60 * RANGE + 5);
    late_open(&late, s.script.store, &ops);
    for (int i = 0; i < 5; i++) {
        told t = {0};
        transfer_options o = options_of(&s);
        o.progress = tell;
        o.progress_user = &t;
        assert_int_equal(ftruncate(s.fd, 0), 0);
        assert_ok(shardy__transfer_download(late.store, "o", s.fd, &o, NULL, &err));
        assert_file(&s);
        assert_int_equal(t.done, s.len);
        assert_int_equal(t.total, s.len);
        assert_int_equal(t.calls, 61);
    }
    assert_in_range(late.most, 2, PARALLEL);
    late_close(&late);
    stage_close(&s);
}

static void test_download__goes_on_where_ranges_are_read_again(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    late_store late;
    shardy_store_ops ops;
    shardy_store *retry;
    shardy_retry_options options;
    stage_open(&s, 40 * RANGE);
    shardy_retry_options_init(&options, sizeof options);
    options.initial_backoff_ms = 0;
    options.max_attempts = 50;
    atomic_store(&s.script.fail_percent, 30);
    late_open(&late, s.script.store, &ops);
    assert_ok(shardy_store_wrap_retry(NULL, late.store, &options, &retry, &err));
    transfer_options o = options_of(&s);
    assert_ok(shardy__transfer_download(retry, "o", s.fd, &o, NULL, &err));
    assert_file(&s);
    assert_true(script_store_calls(&s.script) > 40);
    shardy_store_close(retry);
    late_close(&late);
    stage_close(&s);
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void change_object(void *user)
{
    stage *s = user;
    s->data[s->len - 1] ^= 1;
    put_object(s);
}

static void test_download__is_of_one_version_or_none(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (size_t at = 1; at < 6; at++) {
        stage s;
        stage_open(&s, 6 * RANGE);
        script_step steps[6] = {{0}};
        steps[at] = (script_step){.before = change_object, .user = &s};
        script_store_set(&s.script, steps, 6);
        transfer_options o = options_of(&s);
        o.sums = NULL;
        assert_status(
            SHARDY_CONFLICT, shardy__transfer_download(s.script.store, "o", s.fd, &o, NULL, &err));
        stage_close(&s);
    }
    /* the version that is wanted */
    stage s;
    shardy_object_meta meta;
    stage_open(&s, 2 * RANGE);
    assert_ok(shardy_store_head(s.script.mem, "o", &meta, &err));
    transfer_options o = options_of(&s);
    o.if_match = meta.etag.text;
    assert_ok(shardy__transfer_download(s.script.store, "o", s.fd, &o, NULL, &err));
    change_object(&s);
    assert_status(
        SHARDY_CONFLICT, shardy__transfer_download(s.script.store, "o", s.fd, &o, NULL, &err));
    stage_close(&s);
}

typedef struct growing {
    shardy_store *store;
    shardy_bytes body;
} growing;

static int32_t grow(void *user, uint64_t done, uint64_t total)
{
    shardy_error err = {0};
    const growing *g = user;
    (void)total;
    if (done == RANGE) {
        shardy_store_put put = put_of("o", SHARDY_PUT_ALWAYS, "");
        put.body = g->body;
        assert_ok(shardy_store_put_object(g->store, &put, NULL, &err));
    }
    return 0;
}

/* A directory tells no versions of large objects. */
static void test_download__of_a_directory_sees_another_size(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    char *root = support_make_dir();
    shardy_store *fs = fixture_open_fs(root, 0);
    stage_open(&s, 40 * RANGE);
    shardy_store_put put = put_of("o", SHARDY_PUT_ALWAYS, "");
    put.body = (shardy_bytes){s.data, s.len};
    assert_ok(shardy_store_put_object(fs, &put, NULL, &err));
    transfer_options o = options_of(&s);
    assert_ok(shardy__transfer_download(fs, "o", s.fd, &o, NULL, &err));
    assert_file(&s);
    o.size--;
    assert_status(SHARDY_CHECKSUM, shardy__transfer_download(fs, "o", s.fd, &o, NULL, &err));
    /* replaced while it is downloaded */
    growing g = {fs, {s.data, s.len + 1}};
    o = options_of(&s);
    o.sums = NULL;
    o.parallel = 1;
    o.progress = grow;
    o.progress_user = &g;
    assert_status(SHARDY_CONFLICT, shardy__transfer_download(fs, "o", s.fd, &o, NULL, &err));
    shardy_store_close(fs);
    support_remove_dir(root);
    stage_close(&s);
}

static void test_download__writes_no_byte_that_differs_from_its_digest(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (size_t at = 0; at < 5 * RANGE + 9; at += RANGE - 1) {
        stage s;
        stage_open(&s, 5 * RANGE + 9);
        transfer_options o = options_of(&s);
        o.range_len = 2 * RANGE;
        s.data[at] ^= 0x10;
        put_object(&s);
        assert_status(
            SHARDY_CHECKSUM, shardy__transfer_download(s.script.store, "o", s.fd, &o, NULL, &err));
        uint8_t byte = (uint8_t)(s.data[at] ^ 0x10);
        uint8_t is = byte;
        assert_true(pread(s.fd, &is, 1, (off_t)at) <= 0 || is == byte || is == 0);
        stage_close(&s);
    }
}

typedef struct turned_bit {
    shardy_store *inner;
    uint64_t offset; /* of the read whose first byte is changed */
    uint32_t times;
} turned_bit;

static void turned_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    turned_bit *t = store;
    for (size_t i = 0; i < n; i++) {
        shardy_store_read_all(t->inner, &reads[i], 1);
        if (reads[i].offset == t->offset && t->times > 0) {
            t->times--;
            *(uint8_t *)reads[i].dest ^= 1;
        }
        done(user, &reads[i]);
    }
}

static void test_download__what_differs_from_its_digest_is_asked_for_once_more(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (uint32_t in_memory = 0; in_memory < 2; in_memory++) {
        for (uint32_t range = 0; range < 3; range++) {
            for (uint32_t times = 1; times <= 2; times++) {
                stage s;
                stage_open(&s, 2 * RANGE + 9);
                turned_bit turned = {s.script.store, (uint64_t)range * RANGE, times};
                shardy_store_ops ops = *s.script.store->ops;
                shardy_store *store;
                ops.caps = late_caps;
                ops.read = turned_read;
                ops.close = late_closed;
                assert_ok(shardy_store_new_take(NULL, &ops, &turned, &store, &err));
                uint8_t *room = malloc(s.len);
                assert_non_null(room);
                transfer_options o = options_of(&s);
                o.dest = in_memory ? room : NULL;
                shardy_status st = shardy__transfer_download(store, "o", s.fd, &o, NULL, &err);
                assert_status(times == 1 ? SHARDY_OK : SHARDY_CHECKSUM, st);
                assert_true(times > 1 || script_store_calls(&s.script) == 4);
                if (times == 1 && in_memory) {
                    assert_memory_equal(room, s.data, s.len);
                } else if (times == 1) {
                    assert_file(&s);
                }
                free(room);
                shardy_store_close(store);
                stage_close(&s);
            }
        }
    }
}

/* The same ranges, right where they belong, and nothing is asked for that is there. */
static void test_download__into_memory_goes_on_from_a_first_range(void **state)
{
    (void)state;
    shardy_error err = {0};
    for (size_t len = RANGE + 1; len < 6 * RANGE; len += RANGE - 77) {
        for (int is_begun = 0; is_begun < 2; is_begun++) {
            stage s;
            stage_open(&s, len);
            uint8_t *room = malloc(len);
            transfer_options o = options_of(&s);
            shardy_store_read first;
            memset(&first, 0, sizeof first);
            first.key = (shardy_bytes){"o", 1};
            first.len = RANGE;
            shardy_store_read_all(s.script.store, &first, 1);
            assert_int_equal(first.status, SHARDY_OK);
            script_store_set(&s.script, NULL, 0);
            o.dest = room;
            o.first = is_begun ? &first : NULL;
            assert_ok(shardy__transfer_download(s.script.store, "o", -1, &o, NULL, &err));
            assert_memory_equal(room, s.data, len);
            assert_int_equal(
                script_store_calls(&s.script), (len + RANGE - 1) / RANGE - (size_t)is_begun);
            /* another version than that of the first range, and a byte of it that is wrong */
            if (is_begun) {
                ((uint8_t *)(uintptr_t)first.body.data)[5] ^= 1;
                assert_ok(shardy__transfer_download(s.script.store, "o", -1, &o, NULL, &err));
                assert_memory_equal(room, s.data, len);
                ((uint8_t *)(uintptr_t)first.body.data)[5] ^= 1;
                s.data[len - 1] ^= 1;
                put_object(&s);
                assert_status(SHARDY_CONFLICT,
                    shardy__transfer_download(s.script.store, "o", -1, &o, NULL, &err));
            }
            shardy_buf_release(&first.body);
            free(room);
            stage_close(&s);
        }
    }
    transfer_options o;
    shardy__transfer_options_init(&o);
    o.dest = &o;
    assert_status(SHARDY_INVALID, shardy__transfer_download(NULL, "o", -1, &o, NULL, &err));
}

static void test_download__ends_early_when_told_to(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    late_store late;
    shardy_store_ops ops;
    stage_open(&s, 30 * RANGE);
    late_open(&late, s.script.store, &ops);
    told t = {.cancel_at = 3};
    transfer_options o = options_of(&s);
    o.progress = tell;
    o.progress_user = &t;
    script_store_set(&s.script, NULL, 0);
    assert_status(
        SHARDY_CANCELLED, shardy__transfer_download(late.store, "o", s.fd, &o, NULL, &err));
    assert_int_equal(t.calls, 3);
    assert_true(script_store_calls(&s.script) <= 3 + PARALLEL);
    o = options_of(&s);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    o.cancel = cancel;
    assert_status(
        SHARDY_CANCELLED, shardy__transfer_download(late.store, "o", s.fd, &o, NULL, &err));
    shardy_cancel_free(cancel);
    o = options_of(&s);
    o.deadline_ns = 1;
    assert_status(SHARDY_TIMEOUT, shardy__transfer_download(late.store, "o", s.fd, &o, NULL, &err));
    o = options_of(&s);
    assert_int_equal(
        shardy__transfer_download(late.store, "none", s.fd, &o, NULL, &err), SHARDY_NOT_FOUND);
    /* a file that cannot be written, with ranges on their way */
    int fd = open(support_path(s.dir, "file"), O_RDONLY | O_CLOEXEC);
    assert_true(shardy__transfer_download(late.store, "o", fd, &o, NULL, &err) < 0);
    close(fd);
    late_close(&late);
    stage_close(&s);
}

static void test_download__options_are_checked(void **state)
{
    (void)state;
    shardy_error err = {0};
    stage s;
    stage_open(&s, 1);
    transfer_options wrong[6];
    for (size_t i = 0; i < 6; i++) {
        wrong[i] = options_of(&s);
    }
    wrong[0].range_len = 0;
    wrong[1].range_len = RANGE + 1;
    wrong[2].range_len = 3u << 30;
    wrong[3].parallel = 0;
    wrong[4].parallel = 65;
    wrong[5].size = TRANSFER_SIZE_UNKNOWN;
    for (size_t i = 0; i < 6; i++) {
        assert_status(SHARDY_INVALID,
            shardy__transfer_download(s.script.store, "o", s.fd, &wrong[i], NULL, &err));
    }
    assert_int_equal(script_store_calls(&s.script), 0);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_download__gives_objects_of_any_size),
        cmocka_unit_test(test_download__reads_a_few_ranges_at_once_in_any_order),
        cmocka_unit_test(test_download__goes_on_where_ranges_are_read_again),
        cmocka_unit_test(test_download__is_of_one_version_or_none),
        cmocka_unit_test(test_download__of_a_directory_sees_another_size),
        cmocka_unit_test(test_download__writes_no_byte_that_differs_from_its_digest),
        cmocka_unit_test(test_download__what_differs_from_its_digest_is_asked_for_once_more),
        cmocka_unit_test(test_download__into_memory_goes_on_from_a_first_range),
        cmocka_unit_test(test_download__ends_early_when_told_to),
        cmocka_unit_test(test_download__options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
