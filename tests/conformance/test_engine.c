/* The contract of an engine (sys/engine.h), for every engine of this build. */
#include "support/vec_testing.h"

#include <shardyfusion/limits.h>

#include <unistd.h>

static shardy_error err;
static const shardy_engine_ops *ops;

/* --- rows ------------------------------------------------------------------------------------- */

/* Sorted keys with prefixes, zeros, the empty key; values of all sizes. */
typedef struct rows {
    size_t count;
    shardy_bytes *keys;
    shardy_bytes *values;
    char *memory;
} rows;

static int compare_keys(const void *a, const void *b)
{
    const shardy_bytes *x = a;
    const shardy_bytes *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int order = n ? memcmp(x->data, y->data, n) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

#define VALUE_MAX 70000u

static rows make_rows(size_t count, support_rand *rand)
{
    rows r = {0, calloc(count + 1, sizeof(shardy_bytes)), calloc(count + 1, sizeof(shardy_bytes)),
        malloc(count * 40 + VALUE_MAX + 1)};
    for (size_t i = 0; i < VALUE_MAX; i++) {
        r.memory[count * 40 + i] = (char)support_rand_u64(rand);
    }
    for (size_t i = 0; i < count; i++) {
        char *key = r.memory + i * 40;
        size_t len = i == 0 ? 0 : 1 + support_rand_below(rand, 40);
        for (size_t j = 0; j < len; j++) {
            key[j] = (char)support_rand_below(rand, j < 8 ? 3 : 256);
        }
        r.keys[i] = (shardy_bytes){key, len};
    }
    qsort(r.keys, count, sizeof *r.keys, compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (r.count == 0 || compare_keys(&r.keys[r.count - 1], &r.keys[i]) != 0) {
            r.keys[r.count++] = r.keys[i];
        }
    }
    for (size_t i = 0; i < r.count; i++) {
        size_t len = i % 97 == 5 ? support_rand_below(rand, VALUE_MAX) : i % 50;
        r.values[i] =
            (shardy_bytes){r.memory + count * 40 + support_rand_below(rand, VALUE_MAX - len), len};
    }
    return r;
}

static void free_rows(rows *r)
{
    free(r->keys);
    free(r->values);
    free(r->memory);
}

/* --- one shard -------------------------------------------------------------------------------- */

static shardy_engine_writer_spec writer_spec(const char *dir)
{
    shardy_engine_writer_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.scratch_dir = dir;
    spec.page_size = 4096;
    spec.dim = ops->caps & SHARDY_ENGINE_CAP_VECTOR ? 4 : 0;
    spec.metric = SHARDY_VECTOR_METRIC_COSINE;
    return spec;
}

/* What a test works with: a shard in `dir`/s, and its digest. */
typedef struct shard {
    char *dir;
    char path[64]; /* of its object, below dir */
    shardy_store *store;
    shardy_object_digest digest;
    engine_reader reader;
} shard;

static void write_rows(shard *s, const rows *r)
{
    engine_writer w;
    shardy_engine_files files;
    memset(s, 0, sizeof *s);
    s->dir = support_make_dir();
    const char *inner = support_path(s->dir, "s");
    assert_int_equal(mkdir(inner, 0700), 0);
    shardy_engine_writer_spec spec = writer_spec(inner);
    assert_ok(shardy__engine_writer_open(ops, &spec, &w, &err));
    for (size_t done = 0; done < r->count;) {
        size_t n = r->count - done < 37 ? r->count - done : 37;
        shardy_engine_rows batch = {n, r->keys + done, r->values + done};
        assert_ok(shardy__engine_put(&w, &batch, &err));
        done += n;
    }
    assert_ok(shardy__engine_finish(&w, &files, &err));
    assert_int_equal(files.count, 1);
    snprintf(s->path, sizeof s->path, "s/%s", files.files[0].name);
    size_t len;
    char *data = support_read_file(files.files[0].path, &len);
    assert_int_equal(len, files.files[0].size);
    sha256 digest;
    sha256 of_sums;
    assert_ok(shardy__object_digest(data, len, &digest, &err));
    assert_ok(shardy__sums_digest((const sha256 *)(const void *)files.files[0].sums,
        files.files[0].sum_count, &of_sums, &err));
    assert_memory_equal(&digest, &of_sums, sizeof digest);
    free(data);
    shardy__engine_writer_free(&w);
    s->digest.path = s->path;
    s->digest.size = len;
    memcpy(s->digest.sha256, &digest, sizeof digest);
    assert_ok(shardy_store_open_fs(NULL, s->dir, NULL, &s->store, &err));
}

static shardy_status open_rows(shard *s, int32_t io)
{
    const shardy_engine_writer_spec w = writer_spec("");
    const vectors shape = {w.dim, w.metric, 0, NULL, NULL, NULL};
    shardy_engine_reader_spec spec = reader_spec(s->store, &shape, io);
    spec.digests = &s->digest;
    spec.digest_count = 1;
    spec.verified = 1;
    return shardy__engine_reader_open(ops, &spec, &s->reader, &err);
}

static void remove_shard(shard *s)
{
    shardy__engine_reader_close(&s->reader);
    shardy_store_close(s->store);
    support_remove_dir(s->dir);
}

static void check_value(const shardy_buf *value, shardy_bytes expected)
{
    assert_int_equal(value->len, expected.len);
    if (expected.len) {
        assert_memory_equal(value->data, expected.data, expected.len);
    }
}

/* --- look-ups --------------------------------------------------------------------------------- */

static void test_engine__every_key_is_found_and_no_other(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    static const size_t counts[] = {0, 1, 2, 3000};
    for (size_t i = 0; i < 8; i++) {
        rows r = make_rows(counts[i / 2], &rand);
        shard s;
        write_rows(&s, &r);
        assert_ok(open_rows(&s, i % 2 ? SHARDY_IO_PREAD : SHARDY_IO_MMAP));
        for (size_t k = 0; k < r.count; k++) {
            shardy_buf value;
            assert_ok(shardy__engine_get(&s.reader, r.keys[k], NULL, &value, &err));
            check_value(&value, r.values[k]);
            shardy_buf_release(&value);
            char other[50];
            memcpy(other, r.keys[k].data, r.keys[k].len);
            other[r.keys[k].len] = (char)200;
            shardy_bytes absent = {other, r.keys[k].len + 1};
            if (!bsearch(&absent, r.keys, r.count, sizeof absent, compare_keys)) {
                assert_status(
                    SHARDY_NOT_FOUND, shardy__engine_get(&s.reader, absent, NULL, &value, &err));
            }
        }
        assert_int_equal(shardy__engine_vector_count(&s.reader), 0);
        remove_shard(&s);
        free_rows(&r);
    }
}

static void check_batch(int32_t io)
{
    support_rand rand = {support_seed()};
    rows r = make_rows(2000, &rand);
    shard s;
    write_rows(&s, &r);
    assert_ok(open_rows(&s, io));
    enum {
        COUNT = 1500
    };
    shardy_bytes keys[COUNT];
    size_t places[COUNT];
    shardy_buf values[COUNT];
    int32_t statuses[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        places[i] = support_rand_below(&rand, r.count + 100);
        keys[i] = places[i] < r.count ? r.keys[places[i]] : (shardy_bytes){"\xff nothing", 9};
    }
    memset(values, 0, sizeof values);
    shardy_engine_get request;
    memset(&request, 0, sizeof request);
    request.keys = keys;
    request.count = COUNT;
    request.values_out = values;
    request.statuses_out = statuses;
    assert_ok(shardy__engine_get_many(&s.reader, &request, &err));
    shardy__engine_reader_close(&s.reader); /* what was handed out stays valid */
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(statuses[i], places[i] < r.count ? SHARDY_OK : SHARDY_NOT_FOUND);
        if (statuses[i] == SHARDY_OK) {
            check_value(&values[i], r.values[places[i]]);
        } else {
            assert_null(values[i].data);
        }
        shardy_buf_release(&values[i]);
    }
    shardy_buf_release(&request.hold);
    remove_shard(&s);
    free_rows(&r);
}

static void test_engine__a_batch_finds_keys_in_any_order_and_twice(void **state)
{
    (void)state;
    check_batch(SHARDY_IO_MMAP);
    check_batch(SHARDY_IO_PREAD);
}

static void test_engine__a_value_outlives_its_reader(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(200, &rand);
    shard s;
    write_rows(&s, &r);
    assert_ok(open_rows(&s, SHARDY_IO_MMAP));
    shardy_buf values[200];
    for (size_t k = 0; k < r.count; k++) {
        assert_ok(shardy__engine_get(&s.reader, r.keys[k], NULL, &values[k], &err));
    }
    remove_shard(&s);
    for (size_t k = 0; k < r.count; k++) {
        check_value(&values[k], r.values[k]);
        shardy_buf_release(&values[k]);
    }
    free_rows(&r);
}

typedef struct scan_state {
    const rows *rows;
    size_t at;
    size_t stop;
} scan_state;

static shardy_status check_next(void *user, shardy_bytes stored, shardy_error *error)
{
    (void)error;
    scan_state *s = user;
    assert_true(s->at < s->rows->count);
    shardy_buf key = {stored.data, stored.len, NULL, NULL};
    check_value(&key, s->rows->keys[s->at]);
    return ++s->at == s->stop ? SHARDY_CANCELLED : SHARDY_OK;
}

/* Damage ends it, here. */
static shardy_status take_damage(
    void *user, uint64_t offset, const shardy_error *found, shardy_error *error)
{
    (void)user;
    (void)offset;
    *error = *found;
    return found->status;
}

static shardy_status go_on(void *user, shardy_error *error)
{
    (void)user;
    (void)error;
    return SHARDY_OK;
}

static shardy_status check_all(const shard *s, scan_state *scan)
{
    const shardy_engine_check request = {check_next, take_damage, go_on, scan, NULL, 0, NULL};
    return shardy__engine_check(&s->reader, &request, &err);
}

static void test_engine__a_check_gives_all_keys_in_order_until_it_is_stopped(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(1000, &rand);
    shard s;
    write_rows(&s, &r);
    assert_ok(open_rows(&s, SHARDY_IO_MMAP));
    scan_state all = {&r, 0, SIZE_MAX};
    assert_ok(check_all(&s, &all));
    assert_int_equal(all.at, r.count);
    scan_state some = {&r, 0, 3};
    assert_int_equal(check_all(&s, &some), SHARDY_CANCELLED);
    assert_int_equal(some.at, 3);
    remove_shard(&s);
    free_rows(&r);
}

/* --- what must not be ------------------------------------------------------------------------- */

static void test_engine__keys_that_do_not_ascend_are_refused(void **state)
{
    (void)state;
    static const char *const orders[][2] = {{"b", "a"}, {"a", "a"}, {"ab", "a"}};
    for (size_t i = 0; i < 6; i++) {
        char *dir = support_make_dir();
        engine_writer w;
        shardy_engine_writer_spec spec = writer_spec(dir);
        assert_ok(shardy__engine_writer_open(ops, &spec, &w, &err));
        const char *const *order = orders[i / 2];
        shardy_bytes keys[2] = {{order[0], strlen(order[0])}, {order[1], strlen(order[1])}};
        shardy_bytes values[2] = {{"1", 1}, {"2", 1}};
        shardy_engine_rows both = {2, keys, values};
        shardy_engine_rows first = {1, keys, values};
        shardy_engine_rows second = {1, keys + 1, values};
        if (i % 2) {
            assert_status(SHARDY_INVALID, shardy__engine_put(&w, &both, &err));
        } else {
            assert_ok(shardy__engine_put(&w, &first, &err));
            assert_status(SHARDY_INVALID, shardy__engine_put(&w, &second, &err));
        }
        shardy__engine_writer_free(&w);
        support_remove_dir(dir);
    }
}

static void test_engine__an_object_that_is_missing_is_gone(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(10, &rand);
    shard s;
    write_rows(&s, &r);
    unlink(support_path(s.dir, s.path));
    assert_int_equal(open_rows(&s, SHARDY_IO_MMAP), SHARDY_GONE);
    remove_shard(&s);
    free_rows(&r);
}

/* Each byte of a small shard that is changed is noticed, when it is opened or read. */
static void test_engine__bytes_that_differ_from_their_digest_are_not_served(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(30, &rand);
    shard s;
    write_rows(&s, &r);
    size_t len;
    char *data = support_read_file(support_path(s.dir, s.path), &len);
    for (size_t i = 0; i < 50; i++) {
        size_t at = support_rand_below(&rand, len);
        data[at] = (char)(data[at] ^ 1);
        support_write_file(support_path(s.dir, s.path), data, len);
        data[at] = (char)(data[at] ^ 1);
        shardy_status st = open_rows(&s, SHARDY_IO_MMAP);
        scan_state all = {&r, 0, SIZE_MAX};
        if (st >= 0) {
            st = check_all(&s, &all);
            shardy__engine_reader_close(&s.reader);
        }
        assert_int_equal(st, SHARDY_CHECKSUM);
    }
    free(data);
    remove_shard(&s);
    free_rows(&r);
}

typedef struct sound {
    char *last;
    size_t len;
    int32_t damaged;
} sound;

/* As a verification does. */
static shardy_status keep_order(void *user, shardy_bytes stored, shardy_error *error)
{
    (void)error;
    sound *s = user;
    const shardy_bytes last = {s->last, s->len};
    s->damaged = s->damaged || (s->last && compare_keys(&last, &stored) >= 0);
    free(s->last);
    s->last = malloc(stored.len + 1);
    assert_non_null(s->last);
    s->len = stored.len;
    memcpy(s->last, stored.len ? stored.data : "", stored.len);
    return SHARDY_OK;
}

static shardy_status count_damage(
    void *user, uint64_t offset, const shardy_error *found, shardy_error *error)
{
    (void)offset;
    (void)error;
    sound *s = user;
    assert_true(found->status == SHARDY_CORRUPT && found->message[0] != '\0');
    s->damaged++;
    return SHARDY_OK;
}

static int passes_check(const engine_reader *reader)
{
    sound s = {NULL, 0, 0};
    const shardy_engine_check request = {keep_order, count_damage, go_on, &s, NULL, 0, NULL};
    assert_ok(shardy__engine_check(reader, &request, &err));
    free(s.last);
    return !s.damaged;
}

static void test_engine__after_a_check_without_damage_no_look_up_fails(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(600, &rand);
    shard s;
    write_rows(&s, &r);
    size_t len;
    uint32_t passed = 0;
    char *data = support_read_file(support_path(s.dir, s.path), &len);
    const shardy_engine_writer_spec w = writer_spec("");
    const vectors shape = {w.dim, w.metric, 0, NULL, NULL, NULL};
    shardy_engine_reader_spec spec = reader_spec(s.store, &shape, SHARDY_IO_MMAP);
    for (size_t i = 0; i < 400; i++) {
        size_t at = support_rand_below(&rand, i % 2 ? len : 4096) + (i % 4 == 0 ? len - 4096 : 0);
        char kept = data[at];
        data[at] = (char)(i % 3 ? data[at] ^ 1 : (char)support_rand_u64(&rand));
        support_write_file(support_path(s.dir, s.path), data, len);
        data[at] = kept;
        if (shardy__engine_reader_open(ops, &spec, &s.reader, &err) < 0) {
            continue;
        }
        const int passes = passes_check(&s.reader);
        passed += (uint32_t)passes;
        for (size_t k = 0; passes && k < r.count; k++) {
            shardy_buf value;
            assert_true(shardy__engine_get(&s.reader, r.keys[k], NULL, &value, &err) >= 0);
            shardy_buf_release(&value);
        }
        shardy__engine_reader_close(&s.reader);
    }
    print_message("%u of 400 changes passed\n", passed);
    assert_true(passed > 0 && passed < 400);
    free(data);
    remove_shard(&s);
    free_rows(&r);
}

static void test_engine__without_digests_any_bytes_are_read_or_refused(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    rows r = make_rows(60, &rand);
    shard s;
    write_rows(&s, &r);
    size_t len;
    char *data = support_read_file(support_path(s.dir, s.path), &len);
    const shardy_engine_writer_spec w = writer_spec("");
    const vectors shape = {w.dim, w.metric, 0, NULL, NULL, NULL};
    shardy_engine_reader_spec spec = reader_spec(s.store, &shape, SHARDY_IO_MMAP);
    for (size_t i = 0; i < 300; i++) {
        size_t at = support_rand_below(&rand, len);
        char kept = data[at];
        data[at] = (char)support_rand_u64(&rand);
        size_t cut = i % 5 == 0 ? support_rand_below(&rand, len) : len;
        support_write_file(support_path(s.dir, s.path), data, cut);
        data[at] = kept;
        shardy_status st = shardy__engine_reader_open(ops, &spec, &s.reader, &err);
        assert_true(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_UNSUPPORTED);
        for (size_t k = 0; st >= 0 && k < r.count; k++) {
            shardy_buf value;
            shardy_status found = shardy__engine_get(&s.reader, r.keys[k], NULL, &value, &err);
            assert_true(found >= 0 || found == SHARDY_CORRUPT);
            shardy_buf_release(&value);
        }
        shardy__engine_reader_close(&s.reader);
    }
    free(data);
    remove_shard(&s);
    free_rows(&r);
}

/* --- vectors ---------------------------------------------------------------------------------- */

static void compare_search(const engine_reader *r, const vectors *v, size_t queries, uint32_t k)
{
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = v->data + v->dim; /* queries one behind the other, as they are stored */
    request.query_count = queries;
    request.stride = v->dim;
    request.k = k;
    assert_ok(shardy__engine_search(r, &request, &op, &err));
    for (size_t q = 0; q < queries; q++) {
        naive_hit *all = naive_search(v, request.queries + q * v->dim);
        size_t expected = k < v->count ? k : v->count;
        assert_int_equal(request.offsets[q + 1] - request.offsets[q], expected);
        for (size_t i = 0; i < expected; i++) {
            const shardy_engine_hit *hit = &request.hits[request.offsets[q] + i];
            assert_true(hit->score == all[i].score);
            assert_int_equal(shardy_key_compare(&hit->id, all[i].id), 0);
            shardy_buf payload;
            shardy_status st = shardy__engine_payload(r, hit->row, NULL, &payload, &err);
            const shardy_bytes *stored = &v->payloads[all[i].index];
            assert_int_equal(st, stored->data ? SHARDY_OK : SHARDY_NOT_FOUND);
            if (st == SHARDY_OK) {
                check_value(&payload, *stored);
            }
            shardy_buf_release(&payload);
        }
        free(all);
    }
    shardy__engine_search_finish(r, op);
}

static void test_engine__search_gives_the_hits_of_a_naive_one(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    if (!(ops->caps & SHARDY_ENGINE_CAP_VECTOR)) {
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        vectors v = make_vectors(i < 2 ? 9 : 130,
            i % 2 ? SHARDY_VECTOR_METRIC_L2 : SHARDY_VECTOR_METRIC_COSINE, i < 2 ? 1500 : 200,
            &rand);
        char *dir = write_shard(ops, &v, 4096);
        shardy_store *store;
        engine_reader reader;
        assert_ok(shardy_store_open_fs(NULL, dir, NULL, &store, &err));
        shardy_engine_reader_spec spec = reader_spec(store, &v, SHARDY_IO_MMAP);
        assert_ok(shardy__engine_reader_open(ops, &spec, &reader, &err));
        assert_int_equal(shardy__engine_vector_count(&reader), v.count);
        compare_search(&reader, &v, 3, 1);
        compare_search(&reader, &v, 1, 0);
        compare_search(&reader, &v, 5, 4000);
        shardy__engine_reader_close(&reader);
        spec.dim++;
        shardy_status st = shardy__engine_reader_open(ops, &spec, &reader, &err);
        if (st >= 0) { /* the dimension may be noticed by the first search only */
            shardy_engine_search request;
            void *op;
            memset(&request, 0, sizeof request);
            request.queries = v.data;
            request.query_count = 1;
            request.stride = spec.dim;
            request.k = 1;
            st = shardy__engine_search(&reader, &request, &op, &err);
            shardy__engine_search_finish(&reader, op);
            shardy__engine_reader_close(&reader);
        }
        assert_int_equal(st, SHARDY_CORRUPT);
        shardy_store_close(store);
        support_remove_dir(dir);
        free_vectors(&v);
    }
}

static void test_engine__an_engine_without_vectors_says_so(void **state)
{
    (void)state;
    if (ops->caps & SHARDY_ENGINE_CAP_VECTOR) {
        return;
    }
    support_rand rand = {support_seed()};
    rows r = make_rows(3, &rand);
    shard s;
    write_rows(&s, &r);
    assert_ok(open_rows(&s, SHARDY_IO_MMAP));
    const float query[4] = {1, 2, 3, 4};
    shardy_engine_search request;
    void *op;
    memset(&request, 0, sizeof request);
    request.queries = query;
    request.query_count = 1;
    request.stride = 4;
    request.k = 1;
    assert_status(SHARDY_UNSUPPORTED, shardy__engine_search(&s.reader, &request, &op, &err));
    assert_null(op);
    shardy_engine_writer_spec spec = writer_spec(s.dir);
    engine_writer w;
    spec.dim = 4;
    assert_status(SHARDY_INVALID, shardy__engine_writer_open(ops, &spec, &w, &err));
    remove_shard(&s);
    free_rows(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine__every_key_is_found_and_no_other),
        cmocka_unit_test(test_engine__a_batch_finds_keys_in_any_order_and_twice),
        cmocka_unit_test(test_engine__a_value_outlives_its_reader),
        cmocka_unit_test(test_engine__a_check_gives_all_keys_in_order_until_it_is_stopped),
        cmocka_unit_test(test_engine__keys_that_do_not_ascend_are_refused),
        cmocka_unit_test(test_engine__an_object_that_is_missing_is_gone),
        cmocka_unit_test(test_engine__bytes_that_differ_from_their_digest_are_not_served),
        cmocka_unit_test(test_engine__after_a_check_without_damage_no_look_up_fails),
        cmocka_unit_test(test_engine__without_digests_any_bytes_are_read_or_refused),
        cmocka_unit_test(test_engine__search_gives_the_hits_of_a_naive_one),
        cmocka_unit_test(test_engine__an_engine_without_vectors_says_so),
    };
    size_t count;
    int failed = 0;
    const shardy_engine_ops *const *engines = shardy_engine_list(&count);
    assert_true(count >= 3);
    for (size_t i = 0; i < count; i++) {
        ops = engines[i];
        failed +=
            _cmocka_run_group_tests(ops->name, tests, sizeof tests / sizeof tests[0], NULL, NULL);
    }
    return failed;
}
