/* Sources of pages: mapped, in memory, through a cache, over a store; digests; what outlives
 * them. */
#include "base/bytebuf.h"
#include "base/thread.h"
#include "sqlitefile/page_object.h"
#include "store/store.h"
#include "support/sqlite_testing.h"
#include "support/store_fixture.h"
#include "support/sums_testing.h"

#include <fcntl.h>
#include <unistd.h>

#define FILE_LEN (5u * SHARDY_CHUNK_LEN + 1024u)

typedef struct file_fixture {
    char *dir;
    char path[512];
    uint8_t *data;
    chunk_digest sums;
    sha256 digest;
    page_digests digests;
} file_fixture;

static int setup(void **state)
{
    file_fixture *f = calloc(1, sizeof *f);
    support_rand rand = {7};
    f->dir = support_make_dir();
    f->data = malloc(FILE_LEN);
    for (size_t i = 0; i < FILE_LEN; i++) {
        f->data[i] = (uint8_t)support_rand_u64(&rand);
    }
    snprintf(f->path, sizeof f->path, "%s/file", f->dir);
    support_write_file(f->path, f->data, FILE_LEN);
    f->digest = sums_make(&f->sums, f->data, FILE_LEN);
    f->digests = (page_digests){FILE_LEN, f->sums.sums, f->sums.count};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    file_fixture *f = *state;
    shardy__chunk_digest_free(&f->sums);
    support_remove_dir(f->dir);
    free(f->data);
    free(f);
    return 0;
}

static shardy_local_file open_local(const file_fixture *f)
{
    shardy_local_file file = {open(f->path, O_RDONLY), FILE_LEN, 0};
    assert_true(file.fd >= 0);
    return file;
}

typedef enum kind {
    MAPPED,
    MEMORY,
    PREAD,
    KINDS
} kind;

static page_source *open_kind(const file_fixture *f, kind k, const page_digests *digests)
{
    shardy_error err = {0};
    page_source *source = NULL;
    shardy_local_file file;
    switch (k) {
    case MAPPED:
        file = open_local(f);
        assert_ok(shardy__page_source_map_take(&file, digests, &source, &err));
        break;
    case MEMORY:
        assert_ok(shardy__page_source_memory(f->data, FILE_LEN, digests, &source, &err));
        break;
    default:
        file = open_local(f);
        assert_ok(
            shardy__page_source_pread_take(&file, digests, 2 * SHARDY_CHUNK_LEN, &source, &err));
    }
    return source;
}

static shardy_status get_waiting(
    page_source *source, uint32_t page, page_ref *ref, shardy_error *err)
{
    shardy_status st = shardy__page_get(source, page, ref, err);
    if (st != SHARDY_PENDING) {
        return st;
    }
    page_want want = {page, 0, {NULL, NULL}};
    page_want *const wants[1] = {&want};
    st = shardy__page_fetch(source, wants, 1, NULL, err);
    *ref = want.ref;
    return st;
}

static void test_source__every_kind_gives_the_bytes_of_the_file(void **state)
{
    file_fixture *f = *state;
    for (int k = 0; k < KINDS; k++) {
        for (int checked = 0; checked < 2; checked++) {
            for (uint32_t size = 512; size <= 1024; size *= 2) {
                shardy_error err = {0};
                page_source *source = open_kind(f, (kind)k, checked ? &f->digests : NULL);
                assert_int_equal(source->verified, checked);
                uint8_t head[100];
                assert_ok(shardy__page_source_head(source, head, sizeof head, NULL, &err));
                assert_memory_equal(head, f->data, sizeof head);
                assert_ok(shardy__page_source_set_pages(source, size, FILE_LEN / size, &err));
                for (uint32_t page = 1; page <= FILE_LEN / size; page++) {
                    page_ref ref;
                    assert_ok(get_waiting(source, page, &ref, &err));
                    assert_memory_equal(ref.data, f->data + (size_t)(page - 1) * size, size);
                    shardy__page_unpin(source, &ref);
                    assert_null(ref.data);
                }
                page_ref ref;
                assert_status(SHARDY_CORRUPT, get_waiting(source, 0, &ref, &err));
                assert_status(SHARDY_CORRUPT, get_waiting(source, FILE_LEN / size + 1, &ref, &err));
                assert_status(SHARDY_CORRUPT, get_waiting(source, UINT32_MAX, &ref, &err));
                shardy__page_source_close(source);
            }
        }
    }
}

static void test_source__a_changed_chunk_is_a_checksum_error_and_others_are_not(void **state)
{
    file_fixture *f = *state;
    f->data[2 * SHARDY_CHUNK_LEN + 77] ^= 1;
    support_write_file(f->path, f->data, FILE_LEN);
    for (int k = 0; k < KINDS; k++) {
        shardy_error err = {0};
        page_source *source = open_kind(f, (kind)k, &f->digests);
        assert_ok(shardy__page_source_set_pages(source, 1024, FILE_LEN / 1024, &err));
        for (int round = 0; round < 2; round++) {
            for (uint32_t page = 1; page <= FILE_LEN / 1024; page++) {
                page_ref ref;
                int bad = (page - 1) / 64 == 2;
                shardy_status st = get_waiting(source, page, &ref, &err);
                assert_int_equal(st, bad ? SHARDY_CHECKSUM : SHARDY_OK);
                if (bad) {
                    assert_non_null(strstr(err.message, "offset 131072"));
                } else {
                    shardy__page_unpin(source, &ref);
                }
            }
        }
        if (k != PREAD) {
            assert_status(SHARDY_CHECKSUM, shardy__page_source_verify_all(source, &err));
        }
        shardy__page_source_close(source);
    }
}

static void test_source__a_size_or_list_that_was_not_promised_is_a_checksum_error(void **state)
{
    file_fixture *f = *state;
    for (int k = 0; k < KINDS; k++) {
        for (int wrong = 0; wrong < 2; wrong++) {
            shardy_error err = {0};
            page_digests digests = f->digests;
            if (wrong) {
                digests.count--;
            } else {
                digests.size--;
            }
            page_source *source = NULL;
            shardy_local_file file = {-1, FILE_LEN, 0};
            shardy_status st;
            if (k == MEMORY) {
                st = shardy__page_source_memory(f->data, FILE_LEN, &digests, &source, &err);
            } else {
                file = open_local(f);
                st = k == MAPPED
                         ? shardy__page_source_map_take(&file, &digests, &source, &err)
                         : shardy__page_source_pread_take(&file, &digests, 1, &source, &err);
                assert_int_equal(fcntl(file.fd, F_GETFD), -1); /* taken */
            }
            assert_int_equal(st, SHARDY_CHECKSUM);
            assert_null(source);
        }
    }
}

static void test_source__pages_beyond_the_file_cannot_be_set(void **state)
{
    file_fixture *f = *state;
    shardy_error err = {0};
    page_source *source = open_kind(f, MEMORY, NULL);
    assert_status(
        SHARDY_INVALID, shardy__page_source_set_pages(source, 1024, FILE_LEN / 1024 + 1, &err));
    assert_status(SHARDY_INVALID, shardy__page_source_set_pages(source, 256, 1, &err));
    assert_status(SHARDY_INVALID, shardy__page_source_set_pages(source, 1000, 1, &err));
    assert_status(SHARDY_INVALID, shardy__page_source_set_pages(source, 131072, 1, &err));
    shardy__page_source_close(source);
    assert_ok(shardy__page_source_memory(f->data, 511, NULL, &source, &err));
    uint8_t head[100];
    assert_status(SHARDY_CORRUPT, shardy__page_source_head(source, head, 100, NULL, &err));
    shardy__page_source_close(source);
    assert_ok(shardy__page_source_memory(NULL, 0, NULL, &source, &err));
    assert_status(SHARDY_CORRUPT, shardy__page_source_head(source, head, 100, NULL, &err));
    shardy__page_source_close(source);
}

/* 1 when this process has the file mapped. */
static int is_mapped(const char *path)
{
    size_t len = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    char *text = malloc(1 << 20);
    len = fread(text, 1, (1 << 20) - 1, maps);
    text[len] = 0;
    fclose(maps);
    int found = strstr(text, path) != NULL;
    free(text);
    return found;
}

static void test_mapping__stays_until_the_last_value_is_given_back(void **state)
{
    file_fixture *f = *state;
    for (int closed_first = 0; closed_first < 2; closed_first++) {
        page_source *source = open_kind(f, MAPPED, &f->digests);
        shardy_buf lent[40];
        for (size_t i = 0; i < 40; i++) {
            page_hold *hold = shardy__page_source_hold(source, 1);
            shardy__page_source_lend(hold, source->base + 1000 * i, 500, &lent[i]);
        }
        page_hold *many = shardy__page_source_hold(source, 7);
        shardy__page_hold_drop(many, 3);
        if (closed_first) {
            shardy__page_source_close(source);
        }
        for (size_t i = 0; i < 40; i++) {
            assert_true(is_mapped(f->path));
            assert_memory_equal(lent[i].data, f->data + 1000 * i, 500);
            shardy_buf_release(&lent[i]);
        }
        assert_true(is_mapped(f->path));
        shardy__page_hold_drop(many, 4);
        assert_int_equal(is_mapped(f->path), !closed_first);
        if (!closed_first) {
            shardy__page_source_close(source);
        }
        assert_false(is_mapped(f->path));
    }
}

typedef struct lender {
    page_source *source;
    const uint8_t *data;
    shardy_buf lent[2000];
} lender;

static void *lend_many(void *arg)
{
    lender *l = arg;
    for (size_t i = 0; i < 2000; i++) {
        page_hold *hold = shardy__page_source_hold(l->source, 1);
        shardy__page_source_lend(hold, l->source->base + i, 64, &l->lent[i]);
        if (i % 3 == 0) {
            shardy_buf_release(&l->lent[i]);
        }
    }
    return NULL;
}

static void *release_many(void *arg)
{
    lender *l = arg;
    for (size_t i = 0; i < 2000; i++) {
        if (l->lent[i].data) {
            assert_memory_equal(l->lent[i].data, l->data + i, 64);
        }
        shardy_buf_release(&l->lent[i]);
    }
    return NULL;
}

/* Values are taken by some threads and given back by others while the source is closed. */
static void test_mapping__is_counted_over_threads(void **state)
{
    file_fixture *f = *state;
    shardy_error err = {0};
    enum {
        THREADS = 6
    };
    lender *lenders = calloc(THREADS, sizeof *lenders);
    thread threads[THREADS];
    page_source *source = open_kind(f, MAPPED, NULL);
    for (int i = 0; i < THREADS; i++) {
        lenders[i].source = source;
        lenders[i].data = f->data;
        assert_ok(shardy__thread_start(&threads[i], lend_many, &lenders[i], "lend", &err));
    }
    for (int i = 0; i < THREADS; i++) {
        shardy__thread_join(threads[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_ok(shardy__thread_start(&threads[i], release_many, &lenders[i], "release", &err));
    }
    shardy__page_source_close(source);
    for (int i = 0; i < THREADS; i++) {
        shardy__thread_join(threads[i]);
    }
    assert_false(is_mapped(f->path));
    free(lenders);
}

typedef struct page_reader {
    page_source *source;
    const uint8_t *data;
    uint64_t seed;
    int failures;
} page_reader;

static void *read_pages(void *arg)
{
    page_reader *r = arg;
    support_rand rand = {r->seed};
    for (int i = 0; i < 3000; i++) {
        page_ref refs[3];
        uint32_t pages[3];
        for (int j = 0; j < 3; j++) {
            pages[j] = 1 + (uint32_t)support_rand_below(&rand, FILE_LEN / 1024);
            r->failures += get_waiting(r->source, pages[j], &refs[j], NULL) != SHARDY_OK;
        }
        for (int j = 0; j < 3; j++) {
            r->failures += memcmp(refs[j].data, r->data + (size_t)(pages[j] - 1) * 1024, 1024) != 0;
            shardy__page_unpin(r->source, &refs[j]);
        }
    }
    return NULL;
}

static void test_pread__threads_share_a_cache_smaller_than_what_they_hold(void **state)
{
    file_fixture *f = *state;
    for (int k = 0; k < KINDS; k++) {
        shardy_error err = {0};
        enum {
            THREADS = 6
        };
        page_reader readers[THREADS];
        thread threads[THREADS];
        page_source *source = open_kind(f, (kind)k, &f->digests);
        assert_ok(shardy__page_source_set_pages(source, 1024, FILE_LEN / 1024, &err));
        for (uint64_t i = 0; i < THREADS; i++) {
            readers[i] = (page_reader){source, f->data, i, 0};
            assert_ok(shardy__thread_start(&threads[i], read_pages, &readers[i], "read", &err));
        }
        for (int i = 0; i < THREADS; i++) {
            shardy__thread_join(threads[i]);
            assert_int_equal(readers[i].failures, 0);
        }
        shardy__page_source_close(source);
    }
}

static void test_pread__a_file_that_gets_shorter_is_an_error(void **state)
{
    file_fixture *f = *state;
    shardy_error err = {0};
    page_source *source = open_kind(f, PREAD, NULL);
    assert_ok(shardy__page_source_set_pages(source, 1024, FILE_LEN / 1024, &err));
    page_ref ref;
    assert_ok(get_waiting(source, 1, &ref, &err));
    assert_int_equal(truncate(f->path, 70000), 0);
    assert_memory_equal(ref.data, f->data, 1024);
    shardy__page_unpin(source, &ref);
    assert_status(SHARDY_CORRUPT, get_waiting(source, 65 + 10, &ref, &err));
    assert_status(SHARDY_CORRUPT, get_waiting(source, 300, &ref, &err));
    assert_ok(get_waiting(source, 2, &ref, &err)); /* still in the cache */
    shardy__page_unpin(source, &ref);
    shardy__page_source_close(source);
}

/* --- objects of a store ----------------------------------------------------------------------- */

static void put(shardy_store *store, const char *key, const void *data, size_t len)
{
    shardy_error err = {0};
    shardy_store_put p = {0};
    p.key = (shardy_bytes){key, strlen(key)};
    p.condition = SHARDY_PUT_ALWAYS;
    p.body = (shardy_bytes){data, len};
    assert_ok(shardy_store_put_object(store, &p, NULL, &err));
}

static void check_object(shardy_store *store, const file_fixture *f, int io)
{
    shardy_error err = {0};
    page_source_options options;
    page_source *source = NULL;
    shardy__page_source_options_init(&options);
    options.io = io;
    assert_status(
        SHARDY_NOT_FOUND, shardy__page_source_open_object(store, "none", &options, &source, &err));
    /* Unverified. */
    assert_ok(shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    assert_int_equal(source->verified, 0);
    shardy__page_source_close(source);
    /* With and without the list beside it. */
    options.digest = &f->digest;
    options.size = FILE_LEN;
    for (int with_list = 0; with_list < 2; with_list++) {
        assert_ok(shardy__page_source_open_object(store, "a/object", &options, &source, &err));
        assert_int_equal(source->verified, 1);
        assert_ok(shardy__page_source_set_pages(source, 1024, FILE_LEN / 1024, &err));
        page_ref ref;
        assert_ok(get_waiting(source, 100, &ref, &err));
        assert_memory_equal(ref.data, f->data + 99 * 1024, 1024);
        shardy__page_unpin(source, &ref);
        shardy__page_source_close(source);
        put(store, "a/object.sums", f->sums.sums, f->sums.count * sizeof(sha256));
    }
    /* A list that is not the promised one, even if only longer. */
    sha256 *list = calloc(f->sums.count + 1, sizeof *list);
    memcpy(list, f->sums.sums, f->sums.count * sizeof *list);
    put(store, "a/object.sums", list, (f->sums.count + 1) * sizeof *list);
    assert_status(SHARDY_CHECKSUM,
        shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    list[1].bytes[3] ^= 1;
    put(store, "a/object.sums", list, f->sums.count * sizeof *list);
    assert_status(SHARDY_CHECKSUM,
        shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    put(store, "a/object.sums", "", 0);
    assert_status(SHARDY_CHECKSUM,
        shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    free(list);
    put(store, "a/object.sums", f->sums.sums, f->sums.count * sizeof(sha256));
    /* Sizes. */
    options.size = FILE_LEN - 1;
    assert_status(SHARDY_CHECKSUM,
        shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    options.size = UINT64_MAX;
    options.size_max = FILE_LEN - 1;
    assert_status(SHARDY_CORRUPT,
        shardy__page_source_open_object(store, "a/object", &options, &source, &err));
    options.size_max = UINT64_MAX;
    assert_null(source);
}

static void check_small_object(shardy_store *store, int io)
{
    shardy_error err = {0};
    page_source_options options;
    page_source *source = NULL;
    sha256 digest;
    uint8_t small[2048] = {1};
    assert_ok(shardy__object_digest(small, sizeof small, &digest, &err));
    put(store, "a/small", small, sizeof small);
    shardy__page_source_options_init(&options);
    options.io = io;
    options.digest = &digest;
    assert_ok(shardy__page_source_open_object(store, "a/small", &options, &source, &err));
    assert_int_equal(source->verified, 1);
    shardy__page_source_close(source);
    small[7] = 9;
    put(store, "a/small", small, sizeof small);
    assert_status(SHARDY_CHECKSUM,
        shardy__page_source_open_object(store, "a/small", &options, &source, &err));
    assert_null(source);
}

static void test_object__is_checked_against_its_digest_whatever_the_store(void **state)
{
    file_fixture *f = *state;
    for (int local = 0; local < 2; local++) {
        for (int io = PAGE_IO_AUTO; io <= PAGE_IO_MEMORY; io++) {
            shardy_error err = {0};
            char *root = support_make_dir();
            shardy_store *store = NULL;
            if (local) {
                store = fixture_open_fs(root, 0);
            } else {
                assert_ok(shardy_store_open_mem(NULL, &store, &err));
            }
            put(store, "a/object", f->data, FILE_LEN);
            check_object(store, f, io);
            check_small_object(store, io);
            shardy_store_close(store);
            support_remove_dir(root);
        }
    }
}

/* A cleanup may take it between the opening of its file and the reading of its bytes. */
static void test_object__that_goes_while_it_is_hashed_is_gone_and_not_damaged(void **state)
{
    file_fixture *f = *state;
    shardy_error err = {0};
    shardy_store *store = NULL;
    page_source_options options;
    chunk_digest digests;
    shardy__page_source_options_init(&options);
    options.digest = &f->digest;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    shardy__chunk_digest_init(&digests);
    assert_status(SHARDY_GONE,
        shardy__object_hash_whole(store, "a/object", FILE_LEN, &options, &digests, &err));
    shardy__chunk_digest_free(&digests);
    put(store, "a/object", f->data, FILE_LEN - 1);
    shardy__chunk_digest_init(&digests);
    assert_status(SHARDY_CHECKSUM,
        shardy__object_hash_whole(store, "a/object", FILE_LEN, &options, &digests, &err));
    shardy__chunk_digest_free(&digests);
    shardy_store_close(store);
}

/* A bit turned on the way of the next reads of one key. */
typedef struct turned_bit {
    shardy_store *inner;
    const char *key;
    uint32_t times;
} turned_bit;

static uint64_t turned_caps(void *store)
{
    (void)store;
    return 0;
}

static void turned_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    turned_bit *t = store;
    shardy_error err = {0};
    for (size_t i = 0; i < n; i++) {
        shardy_store_read *read = &reads[i];
        shardy_store_read_all(t->inner, read, 1);
        if (t->times > 0 && read->key.len == strlen(t->key) &&
            memcmp(read->key.data, t->key, read->key.len) == 0) {
            shardy_buf copy;
            t->times--;
            assert_ok(shardy__buf_copy(read->body.data, read->body.len, &copy, &err));
            ((uint8_t *)(uintptr_t)copy.data)[20] ^= 4;
            shardy_buf_release(&read->body);
            read->body = copy;
        }
        done(user, read);
    }
}

static void turned_close(void *store)
{
    (void)store;
}

static void test_object__that_differs_on_its_way_is_asked_for_once_more(void **state)
{
    static const struct {
        const char *key;
        const char *turned;
        size_t len;
        int has_list;
    } cases[] = {
        {"a/object", "a/object", FILE_LEN, 1},
        {"a/object", "a/object.sums", FILE_LEN, 1},
        {"a/object", "a/object", FILE_LEN, 0},
        {"a/small", "a/small", 2048, 0},
    };
    file_fixture *f = *state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        shardy_error err = {0};
        const char *key = cases[i / 2].key;
        const size_t len = cases[i / 2].len;
        const sha256 digest = sums_digest(f->data, len);
        turned_bit turned = {NULL, cases[i / 2].turned, (uint32_t)(1 + i % 2)};
        page_source_options options;
        page_source *source = NULL;
        page_ref ref;
        shardy_store *store = NULL;
        assert_ok(shardy_store_open_mem(NULL, &turned.inner, &err));
        put(turned.inner, key, f->data, len);
        if (cases[i / 2].has_list) {
            put(turned.inner, "a/object.sums", f->sums.sums, f->sums.count * sizeof(sha256));
        }
        shardy_store_ops ops = *turned.inner->ops;
        ops.caps = turned_caps;
        ops.read = turned_read;
        ops.close = turned_close;
        assert_ok(shardy_store_new_take(NULL, &ops, &turned, &store, &err));
        shardy__page_source_options_init(&options);
        options.digest = &digest;
        options.size = len;
        shardy_status st = shardy__page_source_open_object(store, key, &options, &source, &err);
        /* what differs from a list for good is told when it is touched */
        const int late = i % 2 && i / 2 == 0;
        assert_status(i % 2 && !late ? SHARDY_CHECKSUM : SHARDY_OK, st);
        if (st == SHARDY_OK) {
            assert_ok(shardy__page_source_set_pages(source, 1024, (uint32_t)(len / 1024), &err));
            assert_status(late ? SHARDY_CHECKSUM : SHARDY_OK, get_waiting(source, 1, &ref, &err));
            if (!late) {
                assert_memory_equal(ref.data, f->data, 1024);
                shardy__page_unpin(source, &ref);
            }
        }
        shardy__page_source_close(source);
        shardy_store_close(store);
        shardy_store_close(turned.inner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_source__every_kind_gives_the_bytes_of_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_source__a_changed_chunk_is_a_checksum_error_and_others_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_source__a_size_or_list_that_was_not_promised_is_a_checksum_error, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_source__pages_beyond_the_file_cannot_be_set, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_mapping__stays_until_the_last_value_is_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mapping__is_counted_over_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_pread__threads_share_a_cache_smaller_than_what_they_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_pread__a_file_that_gets_shorter_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_object__is_checked_against_its_digest_whatever_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_object__that_goes_while_it_is_hashed_is_gone_and_not_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_object__that_differs_on_its_way_is_asked_for_once_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
