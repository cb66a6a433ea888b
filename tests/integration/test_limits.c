/* Declared limits (limits.h): what is just below and what is exactly at a limit works, what is just
 * above it is refused with a message that names it. Limits of stores and parsers are tested with
 * them. */
#include "support/hand_clock.h"
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static shardy_error err;

typedef struct limits_fixture {
    hand_clock clock;
    shardy_context *context;
    shardy_store *store;
    shardy_writer_options options;
} limits_fixture;

static int setup(void **state)
{
    limits_fixture *f = calloc(1, sizeof *f);
    f->context = hand_clock_context(&f->clock);
    assert_ok(shardy_store_open_mem(f->context, &f->store, &err));
    shardy_writer_options_init(&f->options, sizeof f->options);
    f->options.store = f->store;
    f->options.sync = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    limits_fixture *f = *state;
    shardy_store_close(f->store);
    shardy_context_free(f->context);
    free(f);
    return 0;
}

static shardy_row text_row(const char *key, size_t key_len)
{
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.key = shardy_key_text(key, key_len);
    row.value.data = "v";
    row.value.len = 1;
    return row;
}

static shardy_writer *open_writer(limits_fixture *f)
{
    shardy_writer *w;
    assert_ok(shardy_writer_open(f->context, NULL, &f->options, &w, &err));
    return w;
}

static shardy_reader *finish_and_open(limits_fixture *f, shardy_writer *w)
{
    shardy_reader_options options;
    shardy_reader *reader;
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    shardy_reader_options_init(&options, sizeof options);
    options.store = f->store;
    assert_ok(shardy_reader_open(f->context, NULL, &options, &reader, &err));
    return reader;
}

/* A name with so many letters, in a buffer of its own. */
static char *letters(size_t len)
{
    char *text = malloc(len + 1);
    memset(text, 'a', len);
    text[len] = '\0';
    return text;
}

static void assert_names(uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    if (!strstr(err.message, text)) {
        fail_msg("the message does not name %s: %s", text, err.message);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static void test_limits__keys_of_every_allowed_length_are_found_again(void **state)
{
    limits_fixture *f = *state;
    f->options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    shardy_writer *w = open_writer(f);
    char *key = letters(SHARDY_KEY_LEN_MAX + 1);
    for (size_t len = SHARDY_KEY_LEN_MAX - 1; len <= SHARDY_KEY_LEN_MAX + 1; len++) {
        shardy_row row = text_row(key, len);
        assert_status(len <= SHARDY_KEY_LEN_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_writer_put(w, &row, &err));
    }
    assert_names(SHARDY_KEY_LEN_MAX);
    shardy_reader *reader = finish_and_open(f, w);
    for (size_t len = SHARDY_KEY_LEN_MAX - 2; len <= SHARDY_KEY_LEN_MAX; len++) {
        shardy_key k = shardy_key_text(key, len);
        shardy_buf value;
        assert_status(len > SHARDY_KEY_LEN_MAX - 2 ? SHARDY_OK : SHARDY_NOT_FOUND,
            shardy_reader_get(reader, &k, NULL, &value, &err));
        shardy_buf_release(&value);
    }
    shardy_key longer = shardy_key_text(key, SHARDY_KEY_LEN_MAX + 1);
    shardy_buf value;
    assert_status(SHARDY_INVALID, shardy_reader_get(reader, &longer, NULL, &value, &err));
    shardy_reader_close(reader);
    free(key);
}

/* The value itself is never touched: it is refused by its length. */
static void test_limits__values_above_the_limit_are_refused_before_they_are_copied(void **state)
{
    limits_fixture *f = *state;
    shardy_writer *w = open_writer(f);
    size_t len = (size_t)SHARDY_VALUE_LEN_MAX + 1;
    void *value = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(value != MAP_FAILED);
    shardy_row row = text_row("a", 1);
    row.value.data = value;
    row.value.len = len;
    assert_status(SHARDY_INVALID, shardy_writer_put(w, &row, &err));
    assert_names(SHARDY_VALUE_LEN_MAX);
    munmap(value, len);
    shardy_writer_close(w);
}

static void skip_unless_torture(const char *what)
{
    if (!getenv("SHARDY_TORTURE")) {
        print_message("%s: only with SHARDY_TORTURE=1\n", what);
        skip();
    }
}

static void test_limits__values_of_the_greatest_length_are_found_again(void **state)
{
    limits_fixture *f = *state;
    skip_unless_torture("5 GB of memory");
    for (size_t len = (size_t)SHARDY_VALUE_LEN_MAX - 1; len <= SHARDY_VALUE_LEN_MAX; len++) {
        shardy_key key = shardy_key_text("a", 1);
        shardy_row row = text_row("a", 1);
        shardy_writer *w = open_writer(f);
        char *text = letters(len);
        row.value.data = text;
        row.value.len = len;
        text[len - 1] = 'z';
        assert_ok(shardy_writer_put(w, &row, &err));
        free(text);
        shardy_reader *reader = finish_and_open(f, w);
        shardy_buf value;
        assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
        assert_int_equal(value.len, len);
        assert_int_equal(((const char *)value.data)[len - 2], 'a');
        assert_int_equal(((const char *)value.data)[len - 1], 'z');
        shardy_buf_release(&value);
        shardy_reader_close(reader);
    }
}

static void test_limits__vectors_of_every_allowed_dimension_are_searched(void **state)
{
    limits_fixture *f = *state;
    float *vector = calloc(SHARDY_DIM_MAX + 1, sizeof *vector);
    vector[0] = 3.0f;
    for (uint32_t dim = SHARDY_DIM_MAX - 1; dim <= SHARDY_DIM_MAX + 1; dim++) {
        char run[32];
        snprintf(run, sizeof run, "dim-%u", dim);
        f->options.run_id = run;
        shardy_writer *w = open_writer(f);
        shardy_row row = text_row("a", 1);
        row.vector = vector;
        row.dim = dim;
        if (dim > SHARDY_DIM_MAX) {
            assert_status(SHARDY_INVALID, shardy_writer_put(w, &row, &err));
            assert_names(SHARDY_DIM_MAX);
            shardy_writer_close(w);
            break;
        }
        assert_ok(shardy_writer_put(w, &row, &err));
        shardy_reader *reader = finish_and_open(f, w);
        shardy_query query;
        shardy_hits hits;
        shardy_query_init(&query, sizeof query);
        query.vectors = vector;
        query.count = 1;
        query.dim = dim;
        assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
        assert_int_equal(hits.offsets[1], 1);
        shardy_hits_dispose(&hits);
        shardy_reader_close(reader);
    }
    f->options.dim = SHARDY_DIM_MAX + 1;
    shardy_writer *w;
    assert_status(SHARDY_INVALID, shardy_writer_open(f->context, NULL, &f->options, &w, &err));
    assert_names(SHARDY_DIM_MAX);
    free(vector);
}

/* --- reads ------------------------------------------------------------------------------------ */

static shardy_reader *one_vector(limits_fixture *f)
{
    static const float vector[2] = {1.0f, 2.0f};
    shardy_writer *w = open_writer(f);
    shardy_row row = text_row("a", 1);
    row.vector = vector;
    row.dim = 2;
    assert_ok(shardy_writer_put(w, &row, &err));
    return finish_and_open(f, w);
}

static void test_limits__hits_and_queries_of_one_search(void **state)
{
    limits_fixture *f = *state;
    shardy_reader *reader = one_vector(f);
    float *vectors = malloc((SHARDY_QUERIES_MAX + 1) * 2 * sizeof *vectors);
    for (size_t i = 0; i < (SHARDY_QUERIES_MAX + 1) * 2; i++) {
        vectors[i] = 1.0f;
    }
    shardy_query query;
    shardy_hits hits;
    shardy_query_init(&query, sizeof query);
    query.vectors = vectors;
    query.dim = 2;
    query.top_k = 1;
    for (size_t n = SHARDY_QUERIES_MAX - 1; n <= SHARDY_QUERIES_MAX + 1; n++) {
        query.count = n;
        assert_status(n <= SHARDY_QUERIES_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_reader_search(reader, &query, NULL, &hits, &err));
        if (n <= SHARDY_QUERIES_MAX) {
            assert_int_equal(hits.offsets[n], n);
        }
        shardy_hits_dispose(&hits);
    }
    assert_names(SHARDY_QUERIES_MAX);
    query.count = 1;
    for (uint32_t k = SHARDY_TOP_K_MAX - 1; k <= SHARDY_TOP_K_MAX + 1; k++) {
        query.top_k = k;
        assert_status(k <= SHARDY_TOP_K_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_reader_search(reader, &query, NULL, &hits, &err));
        shardy_hits_dispose(&hits);
    }
    assert_names(SHARDY_TOP_K_MAX);
    free(vectors);
    shardy_reader_close(reader);
}

static void test_limits__keys_of_one_multi_get(void **state)
{
    limits_fixture *f = *state;
    shardy_reader *reader = one_vector(f);
    size_t count = (size_t)SHARDY_MULTI_GET_MAX + 1;
    shardy_values values;
    /* never read: the number is refused */
    void *keys = mmap(NULL, count * sizeof(shardy_key), PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(keys != MAP_FAILED);
    assert_status(
        SHARDY_INVALID, shardy_reader_multi_get(reader, keys, count, NULL, &values, &err));
    assert_names(SHARDY_MULTI_GET_MAX);
    munmap(keys, count * sizeof(shardy_key));
    shardy_reader_close(reader);
}

static void test_limits__as_many_keys_as_allowed_are_looked_up_at_once(void **state)
{
    limits_fixture *f = *state;
    skip_unless_torture("3 GB of memory");
    shardy_reader *reader = one_vector(f);
    shardy_key *keys = malloc(SHARDY_MULTI_GET_MAX * sizeof *keys);
    for (size_t i = 0; i < SHARDY_MULTI_GET_MAX; i++) {
        keys[i] = shardy_key_text("none", 4);
    }
    for (size_t count = SHARDY_MULTI_GET_MAX - 1; count <= SHARDY_MULTI_GET_MAX; count++) {
        shardy_values values;
        assert_ok(shardy_reader_multi_get(reader, keys, count, NULL, &values, &err));
        assert_int_equal(values.count, count);
        assert_int_equal(values.values[count - 1].status, SHARDY_NOT_FOUND);
        shardy_values_dispose(&values);
    }
    free(keys);
    shardy_reader_close(reader);
}

/* --- snapshots -------------------------------------------------------------------------------- */

static void test_limits__a_million_shards_are_built_routed_and_read(void **state)
{
    limits_fixture *f = *state;
    f->options.num_dbs = SHARDY_NUM_DBS_MAX + 1;
    shardy_writer *w;
    assert_status(SHARDY_INVALID, shardy_writer_open(f->context, NULL, &f->options, &w, &err));
    assert_names(SHARDY_NUM_DBS_MAX);
    f->options.num_dbs = SHARDY_NUM_DBS_MAX - 1;
    shardy_writer_close(open_writer(f));
    f->options.num_dbs = SHARDY_NUM_DBS_MAX;
    w = open_writer(f);
    for (int i = 0; i < 9; i++) {
        char key[2] = {(char)('a' + i), '\0'};
        shardy_row row = text_row(key, 1);
        assert_ok(shardy_writer_put(w, &row, &err));
    }
    shardy_reader *reader = finish_and_open(f, w);
    shardy_snapshot_info info;
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    assert_int_equal(info.num_dbs, SHARDY_NUM_DBS_MAX);
    assert_int_equal(info.row_count, 9);
    shardy_snapshot_info_dispose(&info);
    shardy_buf value;
    shardy_key found = shardy_key_text("c", 1);
    shardy_key absent = shardy_key_text("z", 1);
    assert_ok(shardy_reader_get(reader, &found, NULL, &value, &err));
    shardy_buf_release(&value);
    assert_status(SHARDY_NOT_FOUND, shardy_reader_get(reader, &absent, NULL, &value, &err));
    shardy_reader_close(reader);
}

static void test_limits__names_of_runs(void **state)
{
    limits_fixture *f = *state;
    for (size_t len = SHARDY_RUN_ID_LEN_MAX - 1; len <= SHARDY_RUN_ID_LEN_MAX + 1; len++) {
        char *run = letters(len);
        shardy_writer *w;
        f->options.run_id = run;
        shardy_status st = shardy_writer_open(f->context, NULL, &f->options, &w, &err);
        assert_int_equal(st, len <= SHARDY_RUN_ID_LEN_MAX ? SHARDY_OK : SHARDY_INVALID);
        if (st == SHARDY_OK) {
            shardy_reader_close(finish_and_open(f, w));
        }
        free(run);
    }
    assert_names(SHARDY_RUN_ID_LEN_MAX);
}

/* A JSON object of so many bytes. */
static char *custom_of(size_t len)
{
    char *text = letters(len);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + len - 2, "\"}", 2);
    return text;
}

static shardy_status open_with_custom(limits_fixture *f, char *text)
{
    shardy_writer *w;
    f->options.custom = text;
    shardy_status st = shardy_writer_open(f->context, NULL, &f->options, &w, &err);
    if (st == SHARDY_OK) {
        shardy_reader *reader = finish_and_open(f, w);
        shardy_snapshot_info info;
        assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
        assert_true(strlen(info.custom) >= strlen(text));
        shardy_snapshot_info_dispose(&info);
        shardy_reader_close(reader);
    }
    free(text);
    return st;
}

/* The greatest length is found by bisecting, as ours take some room. */
static void test_limits__user_fields_that_are_accepted_are_published(void **state)
{
    limits_fixture *f = *state;
    size_t good = SHARDY_CUSTOM_LEN_MAX - 1000;
    size_t bad = SHARDY_CUSTOM_LEN_MAX;
    while (bad - good > 1) {
        size_t len = good + (bad - good) / 2;
        char *text = custom_of(len);
        shardy_writer *w;
        f->options.custom = text;
        if (shardy_writer_open(f->context, NULL, &f->options, &w, &err) == SHARDY_OK) {
            shardy_writer_close(w);
            good = len;
        } else {
            bad = len;
        }
        free(text);
    }
    assert_status(SHARDY_OK, open_with_custom(f, custom_of(good - 1)));
    assert_status(SHARDY_OK, open_with_custom(f, custom_of(good)));
    assert_status(SHARDY_INVALID, open_with_custom(f, custom_of(good + 1)));
    assert_names(SHARDY_CUSTOM_LEN_MAX);
}

static void test_limits__user_fields_count_as_they_are_stored(void **state)
{
    limits_fixture *f = *state;
    /* each of these takes two bytes here and six in the manifest */
    char *text = custom_of(SHARDY_CUSTOM_LEN_MAX / 2);
    for (size_t i = 6; i + 4 < SHARDY_CUSTOM_LEN_MAX / 2; i += 2) {
        memcpy(text + i, "\xc3\xa9", 2);
    }
    assert_status(SHARDY_INVALID, open_with_custom(f, text));
    assert_names(SHARDY_CUSTOM_LEN_MAX);
}

static void put_current(limits_fixture *f, size_t len)
{
    char *text = letters(len);
    shardy_store_put put = {0};
    put.key.data = "_CURRENT";
    put.key.len = 8;
    put.body.data = text;
    put.body.len = len;
    assert_ok(shardy_store_put_object(f->store, &put, NULL, &err));
    free(text);
}

static void test_limits__pointers_that_are_too_long_are_not_parsed(void **state)
{
    limits_fixture *f = *state;
    for (size_t len = SHARDY_CURRENT_LEN_MAX - 1; len <= SHARDY_CURRENT_LEN_MAX + 1; len++) {
        shardy_reader_options options;
        shardy_reader *reader;
        shardy_reader_options_init(&options, sizeof options);
        options.store = f->store;
        put_current(f, len);
        assert_status(
            SHARDY_CORRUPT, shardy_reader_open(f->context, NULL, &options, &reader, &err));
        char limit[16];
        snprintf(limit, sizeof limit, "%u", SHARDY_CURRENT_LEN_MAX);
        assert_int_equal(strstr(err.message, limit) != NULL, len > SHARDY_CURRENT_LEN_MAX);
    }
}

static void test_limits__memory_budgets_of_builds(void **state)
{
    limits_fixture *f = *state;
    const uint64_t least = SHARDY_MEMORY_BUDGET_MIN;
    for (uint64_t budget = least - 1; budget <= least + 1; budget++) {
        shardy_writer *w;
        f->options.memory_budget = budget;
        shardy_status st = shardy_writer_open(f->context, NULL, &f->options, &w, &err);
        assert_int_equal(st, budget >= least ? SHARDY_OK : SHARDY_INVALID);
        if (st == SHARDY_OK) {
            shardy_reader_close(finish_and_open(f, w));
        } else {
            assert_names(least);
        }
    }
}

/* Opening a reader with one byte less than `least`, with that, and with one more, in the member of
 * its options that is `offset` bytes from their begin. */
static void check_least_bytes(limits_fixture *f, size_t offset, uint64_t least)
{
    shardy_reader_close(finish_and_open(f, open_writer(f)));
    for (uint64_t bytes = least - 1; bytes <= least + 1; bytes++) {
        shardy_reader_options options;
        shardy_reader *reader;
        shardy_reader_options_init(&options, sizeof options);
        options.store = f->store;
        memcpy((char *)&options + offset, &bytes, sizeof bytes);
        assert_status(bytes >= least ? SHARDY_OK : SHARDY_INVALID,
            shardy_reader_open(f->context, NULL, &options, &reader, &err));
        if (bytes >= least) {
            shardy_reader_close(reader);
        } else {
            assert_names(least);
        }
    }
}

static void test_limits__page_caches_of_readers(void **state)
{
    check_least_bytes(
        *state, offsetof(shardy_reader_options, page_cache_bytes), SHARDY_PAGE_CACHE_BYTES_MIN);
}

static void test_limits__files_kept_by_readers(void **state)
{
    check_least_bytes(
        *state, offsetof(shardy_reader_options, cache_bytes), SHARDY_FILE_CACHE_BYTES_MIN);
}

static void test_limits__threads_of_a_context(void **state)
{
    (void)state;
    for (uint32_t n = SHARDY_THREADS_MAX - 1; n <= SHARDY_THREADS_MAX + 1; n++) {
        shardy_context_options options;
        shardy_context *context;
        shardy_context_options_init(&options, sizeof options);
        options.threads = n;
        assert_status(n <= SHARDY_THREADS_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_context_new(&options, &context, &err));
        shardy_context_free(context);
    }
    assert_names(SHARDY_THREADS_MAX);
}

static void test_limits__connections_of_a_bucket(void **state)
{
    limits_fixture *f = *state;
    for (uint32_t n = SHARDY_CONNECTIONS_MAX - 1; n <= SHARDY_CONNECTIONS_MAX + 1; n++) {
        shardy_store_s3_options options;
        shardy_store *store;
        shardy_store_s3_options_init(&options, sizeof options);
        options.access_key_id = "AKIDEXAMPLE";
        options.secret_access_key = "secret";
        options.connections_max = n;
        assert_status(n <= SHARDY_CONNECTIONS_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_store_open_s3(f->context, "s3://bucket/prefix", &options, &store, &err));
        shardy_store_close(store);
    }
    assert_names(SHARDY_CONNECTIONS_MAX);
}

static void test_limits__manifests_of_a_history(void **state)
{
    limits_fixture *f = *state;
    shardy_admin_options admin;
    shardy_history history;
    shardy_reader_close(finish_and_open(f, open_writer(f)));
    shardy_admin_options_init(&admin, sizeof admin);
    admin.store = f->store;
    assert_status(SHARDY_INVALID, shardy_history_list(f->context, NULL, 0, &admin, &history, &err));
    for (uint32_t n = SHARDY_HISTORY_LIMIT_MAX - 1; n <= SHARDY_HISTORY_LIMIT_MAX + 1; n++) {
        assert_status(n <= SHARDY_HISTORY_LIMIT_MAX ? SHARDY_OK : SHARDY_INVALID,
            shardy_history_list(f->context, NULL, n, &admin, &history, &err));
        assert_int_equal(history.count, n <= SHARDY_HISTORY_LIMIT_MAX);
        shardy_history_dispose(&history);
    }
    assert_names(SHARDY_HISTORY_LIMIT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_limits__keys_of_every_allowed_length_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__values_above_the_limit_are_refused_before_they_are_copied, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__values_of_the_greatest_length_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__vectors_of_every_allowed_dimension_are_searched, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__hits_and_queries_of_one_search, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__keys_of_one_multi_get, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__as_many_keys_as_allowed_are_looked_up_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__a_million_shards_are_built_routed_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__names_of_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__user_fields_that_are_accepted_are_published, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__user_fields_count_as_they_are_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_limits__pointers_that_are_too_long_are_not_parsed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__memory_budgets_of_builds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__page_caches_of_readers, setup, teardown),
        cmocka_unit_test(test_limits__threads_of_a_context),
        cmocka_unit_test_setup_teardown(test_limits__files_kept_by_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__connections_of_a_bucket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits__manifests_of_a_history, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
