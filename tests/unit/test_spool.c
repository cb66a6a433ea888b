/* Rows on their way to the shards: sorted, merged, the last of a key kept; and the plan of a
 * build. */
#include "support/support.h"

#include "base/bytebuf.h"
#include "base/bytes.h"
#include "base/pool.h"
#include "base/uri.h"
#include "build/plan.h"
#include "sort/sort.h"
#include "sort/spool.h"

#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;

/* --- sorting ---------------------------------------------------------------------------------- */

static const uint8_t *sorted_block;

/* Key of the row at a place: its length, then its bytes. */
static int compare_places(const void *a, const void *b)
{
    const sort_entry *x = a;
    const sort_entry *y = b;
    sort_row rx;
    sort_row ry;
    memcpy(&rx, sorted_block + 8 * (size_t)x->place, sizeof rx);
    memcpy(&ry, sorted_block + 8 * (size_t)y->place, sizeof ry);
    if (x->db_id != y->db_id) {
        return x->db_id < y->db_id ? -1 : 1;
    }
    size_t n = rx.key_len < ry.key_len ? rx.key_len : ry.key_len;
    int order = memcmp(sorted_block + 8 * (size_t)x->place + sizeof rx,
        sorted_block + 8 * (size_t)y->place + sizeof ry, n);
    if (order == 0) {
        order = (rx.key_len > ry.key_len) - (rx.key_len < ry.key_len);
    }
    return order ? order : x->place < y->place ? -1 : 1;
}

/* Keys of few letters and common beginnings: many are equal, many are prefixes of others. */
static size_t random_key(support_rand *rand, uint8_t key[64])
{
    size_t common = support_rand_below(rand, 3) ? support_rand_below(rand, 30) : 0;
    size_t len = common + support_rand_below(rand, 6);
    memset(key, 'p', common);
    for (size_t i = common; i < len; i++) {
        key[i] = (uint8_t) "\0ab\xff"[support_rand_below(rand, 4)];
    }
    return len;
}

static void test_sort__is_the_order_of_shard_key_and_arrival(void **state)
{
    (void)state;
    support_rand rand = {support_seed()};
    static const size_t counts[] = {0, 1, 2, 3, 31, 32, 33, 1000, 20000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c];
        uint32_t shards = c % 2 ? 1 : 300;
        uint8_t *block = calloc(count + 1, 80);
        sort_entry *entries = calloc(count + 1, sizeof *entries);
        sort_entry *expected = calloc(count + 1, sizeof *expected);
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            uint8_t key[64];
            sort_row row = {(uint32_t)random_key(&rand, key), 0};
            memcpy(block + at, &row, sizeof row);
            memcpy(block + at + sizeof row, key, row.key_len);
            entries[i].db_id = (uint32_t)support_rand_below(&rand, shards);
            entries[i].place = (uint32_t)(at / 8);
            entries[i].cached = shardy__key_window(key, row.key_len);
            at += (sizeof row + row.key_len + 7) / 8 * 8;
        }
        memcpy(expected, entries, count * sizeof *entries);
        sorted_block = block;
        qsort(expected, count, sizeof *expected, compare_places);
        sorter s;
        assert_ok(shardy__sorter_init(&s, count, &err));
        shardy__sort_rows(&s, entries, count, block, sizeof(sort_row), shards - 1);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(entries[i].db_id, expected[i].db_id);
            assert_int_equal(entries[i].place, expected[i].place);
        }
        shardy__sorter_free(&s);
        free(block);
        free(entries);
        free(expected);
    }
}

/* --- the spool -------------------------------------------------------------------------------- */

typedef struct row {
    uint32_t db_id;
    uint32_t number; /* of arrival: its value begins with it */
    uint8_t key[64];
    size_t key_len;
    size_t value_len;
} row;

static int compare_rows(const void *a, const void *b)
{
    const row *x = a;
    const row *y = b;
    if (x->db_id != y->db_id) {
        return x->db_id < y->db_id ? -1 : 1;
    }
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp(x->key, y->key, n);
    if (order == 0) {
        order = (x->key_len > y->key_len) - (x->key_len < y->key_len);
    }
    return order ? order : x->number < y->number ? -1 : 1;
}

static int same_key(const row *a, const row *b)
{
    return a->db_id == b->db_id && a->key_len == b->key_len &&
           memcmp(a->key, b->key, a->key_len) == 0;
}

static spool_config make_config(shardy_context *context, const char *dir, pool *p)
{
    spool_config config;
    memset(&config, 0, sizeof config);
    config.context = context;
    config.pool = p;
    config.scratch_dir = dir;
    config.num_dbs = 5;
    config.threads = 2;
    config.memory_budget = SHARDY_MEMORY_BUDGET_MIN;
    return config;
}

/* Checks that the rows of a shard are the last of each key, in order; returns where the next shard
 * begins. */
static size_t check_shard(spool *s, uint32_t db_id, const row *rows, size_t at, size_t count)
{
    spool_rows *reader;
    spool_batch batch;
    shardy_status st;
    assert_ok(shardy__spool_rows_open(s, db_id, &reader, &err));
    while ((st = shardy__spool_rows_next(reader, &batch, &err)) == SHARDY_OK) {
        assert_true(batch.count > 0);
        for (size_t i = 0; i < batch.count; i++, at++) {
            while (at + 1 < count && same_key(&rows[at], &rows[at + 1])) {
                at++; /* a later row of the key took its place */
            }
            assert_true(at < count);
            assert_int_equal(rows[at].db_id, db_id);
            assert_int_equal(batch.keys[i].len, rows[at].key_len);
            assert_memory_equal(batch.keys[i].data, rows[at].key, rows[at].key_len);
            uint32_t number;
            const uint8_t *value = batch.values[i].data;
            memcpy(&number, value, sizeof number);
            assert_int_equal(number, rows[at].number);
            assert_int_equal(batch.values[i].len, rows[at].value_len);
            for (size_t k = sizeof number; k < rows[at].value_len; k++) {
                if (value[k] != (uint8_t)(number + k)) {
                    fail_msg("byte %zu of row %u", k, number);
                }
            }
        }
    }
    assert_int_equal(st, SHARDY_DONE);
    shardy__spool_rows_close(reader);
    assert_true(at == count || rows[at].db_id > db_id);
    return at;
}

/* `value_len` 0: some shorter than a buffer of the merge, some longer, some than a block. */
static size_t choose_len(support_rand *rand, size_t value_len)
{
    static const size_t lens[] = {10, 4000, 5000, 300000, 3000000, 5000000, 40000000};
    uint64_t dice = support_rand_below(rand, 100);
    size_t choice = dice < 40 ? 0 : dice < 60 ? 1 : dice < 80 ? 2 : dice < 90 ? 3 : 4 + dice % 3;
    return value_len ? value_len
                     : lens[choice == 6 && dice < 98 ? 5 : choice] + support_rand_below(rand, 9);
}

static void spool_and_check(size_t count, size_t value_len, int expect_runs)
{
    char *dir = support_make_dir();
    support_rand rand = {support_seed() + count};
    shardy_context *context;
    pool *p;
    spool *s;
    assert_ok(shardy_context_new(NULL, &context, &err));
    assert_ok(shardy__pool_new(1, &p, &err));
    spool_config config = make_config(context, dir, p);
    assert_ok(shardy__spool_new(&config, &s, &err));
    row *rows = calloc(count + 1, sizeof *rows);
    const size_t room = value_len ? value_len : 40000100;
    uint8_t *value = calloc(1, room);
    for (size_t i = 0; i < count; i++) {
        row *r = &rows[i];
        r->number = (uint32_t)i;
        r->key_len = random_key(&rand, r->key);
        r->db_id = (uint32_t)support_rand_below(&rand, 4); /* shard 4 stays empty */
        r->value_len = choose_len(&rand, value_len);
        for (size_t k = 0; k < r->value_len; k++) {
            value[k] = (uint8_t)(i + k);
        }
        memcpy(value, &r->number, sizeof r->number);
        spool_row in;
        memset(&in, 0, sizeof in);
        in.db_id = r->db_id;
        in.key = shardy__bytes(r->key, r->key_len);
        in.value = shardy__bytes(value, r->value_len);
        assert_ok(shardy__spool_add(s, &in, &err));
    }
    assert_ok(shardy__spool_seal(s, &err));
    spool_stats stats;
    shardy__spool_get_stats(s, &stats);
    assert_int_equal(stats.rows, count);
    assert_int_equal(stats.runs > 1, expect_runs);
    qsort(rows, count, sizeof *rows, compare_rows);
    size_t at = 0;
    for (uint32_t db_id = 0; db_id < 5; db_id++) {
        at = check_shard(s, db_id, rows, at, count);
        shardy__spool_shard_done(s, db_id); /* must not touch the shards that come */
    }
    assert_int_equal(at, count);
    shardy__spool_free(s);
    shardy__pool_free(p);
    shardy_context_free(context);
    free(rows);
    free(value);
    support_remove_dir(dir);
}

static void test_spool__gives_the_last_row_of_each_key_in_order(void **state)
{
    (void)state;
    spool_and_check(0, 4, 0);
    spool_and_check(1, 4, 0);
    spool_and_check(5000, 16, 0);
}

static void test_spool__merges_what_did_not_fit_into_memory(void **state)
{
    (void)state;
    spool_and_check(60000, 1500, 1);
}

static void test_spool__merges_values_longer_than_its_buffers_and_blocks(void **state)
{
    (void)state;
    spool_and_check(250, 0, 1);
}

static void test_spool__a_budget_that_is_too_small_is_refused(void **state)
{
    (void)state;
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    shardy_writer_options_init(&options, sizeof options);
    options.store = store;
    options.num_dbs = 1;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    options.memory_budget = SHARDY_MEMORY_BUDGET_MIN - 1;
    assert_status(SHARDY_INVALID, shardy_plan_new(NULL, "mem:", &options, &plan, &err));
    assert_string_equal(err.message, "memory_budget is 33554431 bytes, the least is 33554432");
    shardy_store_close(store);
}

/* Spools and merges 40 MB for so many readers that blocks are small and each wants a buffer for
 * each run. */
static shardy_status spool_for_many_readers(uint64_t budget)
{
    char *dir = support_make_dir();
    shardy_context *context;
    pool *p;
    spool *s;
    assert_ok(shardy_context_new(NULL, &context, &err));
    assert_ok(shardy__pool_new(0, &p, &err));
    spool_config config = make_config(context, dir, p);
    config.threads = 64;
    config.memory_budget = budget;
    assert_ok(shardy__spool_new(&config, &s, &err));
    static const char value[1000];
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t key = i * 2654435761u;
        spool_row in;
        memset(&in, 0, sizeof in);
        in.db_id = i % 5;
        in.key = shardy__bytes(&key, sizeof key);
        in.value = shardy__bytes(value, sizeof value);
        assert_ok(shardy__spool_add(s, &in, &err));
    }
    shardy_status st = shardy__spool_seal(s, &err);
    uint64_t rows = 0;
    for (uint32_t db_id = 0; st >= 0 && db_id < 5; db_id++) {
        spool_rows *reader;
        spool_batch batch;
        assert_ok(shardy__spool_rows_open(s, db_id, &reader, &err));
        while (shardy__spool_rows_next(reader, &batch, &err) == SHARDY_OK) {
            rows += batch.count;
        }
        shardy__spool_rows_close(reader);
    }
    assert_true(st < 0 || rows == 40000);
    shardy__spool_free(s);
    shardy__pool_free(p);
    shardy_context_free(context);
    support_remove_dir(dir);
    return st;
}

static void test_spool__more_runs_than_can_be_merged_exhaust_and_the_least_budget_named_does_not(
    void **state)
{
    (void)state;
    assert_int_equal(spool_for_many_readers(SHARDY_MEMORY_BUDGET_MIN), SHARDY_EXHAUSTED);
    const char *least = strstr(err.message, "the least is ");
    assert_non_null(least);
    uint64_t mib = strtoull(least + strlen("the least is "), NULL, 10);
    assert_true(mib > 32);
    assert_int_equal(spool_for_many_readers(mib << 20), SHARDY_OK);
}

/* --- plans ------------------------------------------------------------------------------------ */

static void test_plan__templates_have_one_placeholder(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *path; /* of shard 7; NULL: refused */
    } cases[] = {
        {"db={db_id:05d}", "db=00007"},
        {"{db_id}", "7"},
        {"a/{db_id:02d}/b", "a/07/b"},
        {"{db_id:020d}", "00000000000000000007"},
        {"{db_id:00d}", NULL},
        {"{db_id:021d}", NULL},
        {"{db_id:999999999d}", NULL},
        {"{db_id:5d}", NULL},
        {"{db_id:05x}", NULL},
        {"{db_id.__class__}", NULL},
        {"{db_id}{db_id}", NULL},
        {"{{db_id}}", NULL},
        {"{x}{db_id}", NULL},
        {"db", NULL},
        {"", NULL},
        {"%s%n{db_id}", "%s%n7"},
        {"/{db_id}", NULL},
        {"{db_id}/", NULL},
        {"a//{db_id}", NULL},
        {"../{db_id}", NULL},
        {"a/./{db_id}", NULL},
        {"a?{db_id}", NULL},
        {"a\n{db_id}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&err, 0, sizeof err);
        if (shardy__template_check(cases[i].text, &err) !=
            (cases[i].path ? SHARDY_OK : SHARDY_INVALID)) {
            fail_msg("\"%s\": %s", cases[i].text, err.message);
        }
        if (cases[i].path) {
            char path[200];
            shardy__template_format(cases[i].text, 7, path, sizeof path);
            assert_string_equal(path, cases[i].path);
        } else {
            assert_non_null(strstr(err.message, "db_path_template is \""));
        }
    }
    char path[64];
    shardy__template_format("db={db_id:05d}", 123456, path, sizeof path);
    assert_string_equal(path, "db=123456");
}

typedef struct bad_option {
    const char *message;
    void (*set)(shardy_writer_options *o);
} bad_option;

#define BAD_OPTION(name, statement)                                                                \
    static void name(shardy_writer_options *o)                                                     \
    {                                                                                              \
        statement;                                                                                 \
    }
BAD_OPTION(no_shards, o->num_dbs = 0)
BAD_OPTION(many_shards, o->num_dbs = SHARDY_NUM_DBS_MAX + 1)
BAD_OPTION(both_counts, o->max_keys_per_shard = 5)
BAD_OPTION(no_encoding, o->key_encoding = SHARDY_KEY_ENCODING_AUTO)
BAD_OPTION(bad_encoding, o->key_encoding = 5)
BAD_OPTION(odd_page, o->page_size = 5000)
BAD_OPTION(big_page, o->page_size = 131072)
BAD_OPTION(big_dim, o->dim = SHARDY_DIM_MAX + 1)
BAD_OPTION(dot_metric, o->metric = SHARDY_VECTOR_METRIC_DOT)
BAD_OPTION(many_threads, o->threads = SHARDY_THREADS_MAX + 1)
BAD_OPTION(many_retries, o->max_retries = SHARDY_ATTEMPTS_MAX)
BAD_OPTION(small_multiplier, o->retry_multiplier = 0.5)
BAD_OPTION(slash_in_run, o->run_id = "a/b")
BAD_OPTION(empty_run, o->run_id = "")
BAD_OPTION(dots_in_prefix, o->shard_prefix = "..")
BAD_OPTION(runs_as_prefix, o->shard_prefix = "runs")
BAD_OPTION(registry_as_prefix, o->shard_prefix = o->run_registry_prefix = "records")
BAD_OPTION(own_prefix, o->shard_prefix = ".shardyfusion")
BAD_OPTION(own_registry, o->run_registry_prefix = ".shardyfusion")
BAD_OPTION(bad_registry, o->run_registry_prefix = "a b")
BAD_OPTION(bad_template, o->db_path_template = "db")
BAD_OPTION(bad_place, o->published_as = "https://h/p")
BAD_OPTION(bad_custom, o->custom = "{\"vector\": 1}")
BAD_OPTION(no_engine, o->engine = "sqlit")

static void test_plan__each_wrong_option_names_value_and_expectation(void **state)
{
    (void)state;
    static const bad_option cases[] = {
        {"a plan needs num_dbs and key_encoding before it sees a row", no_shards},
        {"num_dbs is 1048577, the limit is 1048576", many_shards},
        {"num_dbs and max_keys_per_shard are both given, expected one of them", both_counts},
        {"a plan needs num_dbs and key_encoding before it sees a row", no_encoding},
        {"key encoding 5 is not known", bad_encoding},
        {"page_size is 5000, expected a power of two from 512 to 65536, or 0 for auto", odd_page},
        {"page_size is 131072, expected a power of two from 512 to 65536, or 0 for auto", big_page},
        {"dim is 8193, the limit is 8192", big_dim},
        {"metric is 3 (\"dot_product\"), the engines of this build have cosine and l2", dot_metric},
        {"threads is 257, the limit is 256", many_threads},
        {"max_retries is 100 and retry_multiplier 2, expected less than 100 and at least 1",
            many_retries},
        {"max_retries is 3 and retry_multiplier 0.5, expected less than 100 and at least 1",
            small_multiplier},
        {"run_id is \"a/b\", expected 1 to 128 of A-Z a-z 0-9 . _ -", slash_in_run},
        {"run_id is \"\", expected 1 to 128 of A-Z a-z 0-9 . _ -", empty_run},
        {"shard_prefix is \"..\", expected 1 to 64 of A-Z a-z 0-9 . _ -", dots_in_prefix},
        {"shard_prefix is \"runs\", where no shards can be", runs_as_prefix},
        {"shard_prefix is \"records\", where no shards can be", registry_as_prefix},
        {"shard_prefix is \".shardyfusion\", expected 1 to 64 of A-Z a-z 0-9 . _ -", own_prefix},
        {"run_registry_prefix is \".shardyfusion\", expected 1 to 64 of A-Z a-z 0-9 . _ -",
            own_registry},
        {"run_registry_prefix is \"a b\", expected 1 to 64 of A-Z a-z 0-9 . _ -", bad_registry},
        {"db_path_template is \"db\", expected {db_id} or {db_id:0Nd} in it, once", bad_template},
        {"\"https://h/p\" is no place of a snapshot, expected s3://bucket/prefix, file:///path or "
         "an absolute path",
            bad_place},
        {"a custom field must not be named \"vector\": that name is reserved", bad_custom},
        {"\"sqlit\"", no_engine},
    };
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shardy_writer_options options;
        shardy_plan *plan;
        shardy_writer_options_init(&options, sizeof options);
        options.store = store;
        options.num_dbs = 2;
        options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
        cases[i].set(&options);
        memset(&err, 0, sizeof err);
        assert_true(shardy_plan_new(NULL, "mem:", &options, &plan, &err) < 0);
        assert_null(plan);
        if (!strstr(err.message, cases[i].message)) {
            fail_msg("\"%s\" is not in \"%s\"", cases[i].message, err.message);
        }
    }
    /* nothing was claimed or written meanwhile */
    shardy_store_page page = {0};
    assert_ok(shardy_store_list(store, "", 0, NULL, 10, &page, &err));
    assert_int_equal(page.count, 0);
    shardy_store_page_dispose(&page);
    shardy_store_close(store);
}

static void test_plan__defaults_are_the_documented_ones(void **state)
{
    (void)state;
    shardy_writer_options o;
    memset(&o, 0xEE, sizeof o);
    shardy_writer_options_init(&o, sizeof o);
    assert_int_equal(o.struct_size, sizeof o);
    assert_null(o.run_id);
    assert_null(o.engine);
    assert_int_equal(o.num_dbs, 0);
    assert_true(o.max_keys_per_shard == 0);
    assert_int_equal(o.key_encoding, SHARDY_KEY_ENCODING_AUTO);
    assert_int_equal(o.page_size, 4096);
    assert_int_equal(o.dim, 0);
    assert_int_equal(o.metric, SHARDY_VECTOR_METRIC_COSINE);
    assert_string_equal(o.key_column, "_key");
    assert_string_equal(o.shard_prefix, "shards");
    assert_string_equal(o.run_registry_prefix, "runs");
    assert_string_equal(o.db_path_template, "db={db_id:05d}");
    assert_null(o.published_as);
    assert_null(o.custom);
    assert_int_equal(o.threads, 0);
    assert_true(o.memory_budget == 256u << 20);
    assert_null(o.scratch_dir);
    assert_int_equal(o.max_retries, 3);
    assert_int_equal(o.retry_backoff_ms, 1000);
    assert_true(o.retry_multiplier == 2.0);
    assert_int_equal(o.sync, 1);
    assert_int_equal(o.allow_network_fs, 0);
    assert_null(o.progress);
    assert_null(o.cancel);
    assert_null(o.store);
}

/* --- winners ---------------------------------------------------------------------------------- */

/* The result of an attempt as it travels; `path` "": it had no rows. */
static void attempt_json(char out[600], uint32_t db_id, uint32_t attempt, const char *path)
{
    char object[300] = "";
    if (path[0]) {
        snprintf(object, sizeof object,
            "{\"path\":\"%s/shard.db\",\"size\":1,\"sha256\":"
            "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}",
            path);
    }
    snprintf(out, 600,
        "{\"db_id\":%u,\"attempt\":%u,\"row_count\":1,\"vector_count\":0,\"db_bytes\":1,"
        "\"duration_ms\":0,\"path\":\"%s\",\"checkpoint_id\":\"c\",\"min_key\":null,"
        "\"max_key\":null,\"objects\":[%s]}",
        db_id, attempt, path, object);
}

static shardy_plan *mem_plan(shardy_store *store, uint32_t num_dbs)
{
    shardy_writer_options options;
    shardy_plan *plan;
    shardy_writer_options_init(&options, sizeof options);
    options.store = store;
    options.run_id = "r";
    options.num_dbs = num_dbs;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    assert_ok(shardy_plan_new(NULL, "mem:", &options, &plan, &err));
    return plan;
}

/* T-20: in the reference an empty attempt beats one with rows, and the shard disappears. */
static void test_winners__an_attempt_with_rows_beats_an_empty_one_then_the_smaller_number(
    void **state)
{
    (void)state;
    static const struct {
        uint32_t attempts[3];
        int have_rows[3];
        uint32_t winner;
    } cases[] = {
        {{0, 1, 2}, {0, 1, 1}, 1},
        {{1, 1, 1}, {0, 1, 0}, 1},
        {{2, 0, 1}, {1, 1, 1}, 0},
        {{3, 2, 9}, {1, 0, 1}, 3},
        {{0, 1, 2}, {0, 0, 0}, 0},
    };
    shardy_store *store;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    shardy_plan *plan = mem_plan(store, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char texts[3][600];
        shardy_bytes results[3];
        shardy_buf winners;
        char expected[32];
        for (int k = 0; k < 3; k++) {
            char path[64] = "";
            if (cases[i].have_rows[k]) {
                snprintf(path, sizeof path, "shards/run_id=r/db=00000/attempt=%02u",
                    cases[i].attempts[k]);
            }
            attempt_json(texts[k], 0, cases[i].attempts[k], path);
            results[k] = shardy__bytes(texts[k], strlen(texts[k]));
        }
        assert_ok(shardy_winners_select(plan, results, 3, &winners, &err));
        char text[1000];
        snprintf(text, sizeof text, "%.*s", (int)winners.len, (const char *)winners.data);
        snprintf(expected, sizeof expected, "\"attempt\":%u,", cases[i].winner);
        assert_non_null(strstr(text, expected));
        shardy_buf_release(&winners);
    }
    shardy_plan_free(plan);
    shardy_store_close(store);
}

static void test_winners__results_that_are_missing_or_of_no_shard_are_told(void **state)
{
    (void)state;
    shardy_store *store;
    shardy_buf winners;
    char texts[2][600];
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    shardy_plan *plan = mem_plan(store, 2);
    attempt_json(texts[0], 0, 0, "shards/run_id=r/db=00000/attempt=00");
    attempt_json(texts[1], 2, 0, "shards/run_id=r/db=00002/attempt=00");
    shardy_bytes results[2] = {
        shardy__bytes(texts[0], strlen(texts[0])), shardy__bytes(texts[1], strlen(texts[1]))};
    assert_status(SHARDY_COVERAGE, shardy_winners_select(plan, results, 1, &winners, &err));
    assert_string_equal(err.message, "there are results for 1 of 2 shards");
    assert_status(SHARDY_COVERAGE, shardy_winners_select(plan, results, 2, &winners, &err));
    assert_string_equal(err.message, "there is a result for shard 2, the plan has 2 shards");
    assert_status(SHARDY_COVERAGE, shardy_winners_select(plan, results + 1, 1, &winners, &err));
    attempt_json(texts[1], 1, 0, "../x");
    results[1].len = strlen(texts[1]);
    assert_status(SHARDY_INVALID, shardy_winners_select(plan, results, 2, &winners, &err));
    assert_non_null(strstr(err.message, "\"../x/shard.db\", which is not below its path"));
    shardy_plan_free(plan);
    shardy_store_close(store);
}

static void plan_in(const char *dir, const char *name, const char *expected)
{
    char path[600];
    char made[600];
    shardy_writer_options options;
    shardy_plan *plan;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(made, sizeof made, "%s/%s", dir, expected);
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 1;
    options.key_encoding = SHARDY_KEY_ENCODING_UTF8;
    options.sync = 0;
    assert_ok(shardy_plan_new(NULL, path, &options, &plan, &err));
    const char *prefix = plan->prefix;
    if (expected[0] != '?') {
        assert_int_equal(strncmp(prefix, "file://", 7), 0);
        prefix += 7;
        assert_string_equal(prefix, made);
    } else {
        assert_string_equal(prefix, path);
    }
    char url[SHARDY_URL_LEN_MAX + 1];
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    assert_ok(shardy__uri_join(plan->prefix, "shards/x", url, &err));
    assert_ok(shardy__uri_strip(plan->prefix, url, key, &err));
    assert_string_equal(key, "shards/x");
    shardy_plan_free(plan);
}

static void test_plan__records_where_the_directory_is(void **state)
{
    (void)state;
    char *dir = support_make_dir();
    char *real = realpath(dir, NULL);
    plan_in(real, "plain", "plain");
    plan_in(real, "a b%20c", "a b%20c");
    plan_in(real, "x/../up/", "up");
    plan_in(real, "what?", "?");
    plan_in(real, "hash#tag", "?");
    free(real);
    support_remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort__is_the_order_of_shard_key_and_arrival),
        cmocka_unit_test(test_spool__gives_the_last_row_of_each_key_in_order),
        cmocka_unit_test(test_spool__merges_what_did_not_fit_into_memory),
        cmocka_unit_test(test_spool__merges_values_longer_than_its_buffers_and_blocks),
        cmocka_unit_test(test_spool__a_budget_that_is_too_small_is_refused),
        cmocka_unit_test(
            test_spool__more_runs_than_can_be_merged_exhaust_and_the_least_budget_named_does_not),
        cmocka_unit_test(test_plan__templates_have_one_placeholder),
        cmocka_unit_test(test_plan__each_wrong_option_names_value_and_expectation),
        cmocka_unit_test(test_plan__defaults_are_the_documented_ones),
        cmocka_unit_test(
            test_winners__an_attempt_with_rows_beats_an_empty_one_then_the_smaller_number),
        cmocka_unit_test(test_winners__results_that_are_missing_or_of_no_shard_are_told),
        cmocka_unit_test(test_plan__records_where_the_directory_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
