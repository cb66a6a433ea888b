/* Every bit of a snapshot, flipped one at a time: verify names the object, and whatever is read is
 * right or an error. In snapshots without digests: no crash, no hang, no read out of bounds.
 *
 * The quick set takes every 61st bit, or fewer; SHARDY_TORTURE=1 takes all of them, but for the
 * larger snapshots of the reference. */
#include "support/support.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS        24u
#define DIM         4u
#define OBJECTS_MAX 64u

static shardy_error err;

typedef struct object {
    char *key;
    uint8_t *data;
    size_t len;
} object;

/* A snapshot as a list of objects, and a store in memory that holds them. */
typedef struct snapshot_fixture {
    shardy_store *store;
    object objects[OBJECTS_MAX];
    size_t count;
} snapshot_fixture;

static size_t step_of_run(void)
{
    return getenv("SHARDY_TORTURE") ? 1 : 61;
}

/* --- the snapshot ----------------------------------------------------------------------------- */

static void make_row(uint32_t i, char key[32], char value[64], float vector[DIM])
{
    snprintf(key, 32, "key-%u", i);
    snprintf(value, 64, "value of %u, and of nothing else", i);
    for (uint32_t d = 0; d < DIM; d++) {
        vector[d] = (float)((i * 7 + d * 3) % 11) - 4.5f;
    }
}

static void put_rows(shardy_writer *w)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        char key[32];
        char value[64];
        float vector[DIM];
        make_row(i, key, value, vector);
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_text(key, strlen(key));
        row.value.data = value;
        row.value.len = strlen(value);
        row.vector = vector;
        row.dim = DIM;
        row.has_payload = 1;
        row.payload.data = "{\"a\": 1}";
        row.payload.len = 8;
        assert_ok(shardy_writer_put(w, &row, &err));
    }
}

static void put_object(const snapshot_fixture *f, const object *o)
{
    shardy_store_put put = {0};
    put.key.data = o->key;
    put.key.len = strlen(o->key);
    put.body.data = o->data;
    put.body.len = o->len;
    assert_ok(shardy_store_put_object(f->store, &put, NULL, &err));
}

static void load_objects(snapshot_fixture *f)
{
    shardy_store_page page;
    assert_ok(shardy_store_list(f->store, "", 0, NULL, 1000, &page, &err));
    assert_null(page.next_token);
    assert_in_range(page.count, 1, OBJECTS_MAX);
    for (size_t i = 0; i < page.count; i++) {
        object *o = &f->objects[f->count++];
        shardy_buf body;
        o->key = strdup(page.entries[i].key);
        assert_ok(shardy_store_get(f->store, o->key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        o->len = body.len;
        o->data = malloc(body.len + 1);
        memcpy(o->data, body.data, body.len);
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
}

static int setup(void **state)
{
    snapshot_fixture *f = calloc(1, sizeof *f);
    assert_ok(shardy_store_open_mem(NULL, &f->store, &err));
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.store = f->store;
    options.num_dbs = 2;
    options.run_id = "flip";
    options.page_size = 512;
    options.published_as = "s3://bucket/flip";
    shardy_writer *w;
    assert_ok(shardy_writer_open(NULL, NULL, &options, &w, &err));
    put_rows(w);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
    load_objects(f);
    *state = f;
    return 0;
}

static void free_fixture(snapshot_fixture *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->objects[i].key);
        free(f->objects[i].data);
    }
    shardy_store_close(f->store);
}

static int teardown(void **state)
{
    free_fixture(*state);
    free(*state);
    return 0;
}

/* Whether verify has to notice a change: what belongs to a run and not to a snapshot (its record,
 * its fate) is no part of what it answers for. */
static int belongs_to_snapshot(const object *o)
{
    return strcmp(o->key, "_CURRENT") == 0 || strncmp(o->key, "manifests/", 10) == 0 ||
           (strncmp(o->key, "shards/", 7) == 0);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int is_honest_failure(shardy_status st)
{
    return st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION ||
           st == SHARDY_GONE || st == SHARDY_INVALID || st == SHARDY_UNSUPPORTED;
}

static void check_read(shardy_status st, const char *where)
{
    if (st < 0 && !is_honest_failure(st)) {
        fail_msg("%s: %s: %s", where, shardy_status_name(st), err.message);
    }
    if (st < 0 && err.message[0] == '\0') {
        fail_msg("%s: %s without a message", where, shardy_status_name(st));
    }
}

static void check_get(const shardy_reader *reader, uint32_t i, const char *where)
{
    char key_text[32];
    char value[64];
    float vector[DIM];
    shardy_buf got;
    make_row(i, key_text, value, vector);
    shardy_key key = shardy_key_text(key_text, strlen(key_text));
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_get(reader, &key, NULL, &got, &err);
    check_read(st, where);
    if (st == SHARDY_NOT_FOUND) {
        fail_msg("%s: \"%s\" is not found", where, key_text);
    }
    if (st == SHARDY_OK && (got.len != strlen(value) || memcmp(got.data, value, got.len) != 0)) {
        fail_msg("%s: \"%s\" has another value", where, key_text);
    }
    shardy_buf_release(&got);
}

static void check_search(const shardy_reader *reader, uint32_t i, const char *where)
{
    char key[32];
    char value[64];
    float vector[DIM];
    make_row(i, key, value, vector);
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = DIM;
    query.top_k = 1;
    shardy_hits hits;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_search(reader, &query, NULL, &hits, &err);
    check_read(st, where);
    if (st == SHARDY_OK) {
        /* the distance to itself is zero, so is that of rows with the same vector */
        if (hits.offsets[1] != 1 || hits.hits[0].score > 1e-6 || hits.hits[0].payload.len != 8) {
            fail_msg("%s: the search for the vector of \"%s\" answers otherwise", where, key);
        }
        shardy_hits_dispose(&hits);
    }
}

/* Opens, gets and searches. */
static void check_answers(shardy_store *store, uint32_t number, const char *where)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    shardy_reader *reader;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_open(NULL, NULL, &options, &reader, &err);
    check_read(st, where);
    if (st < 0) {
        return;
    }
    check_get(reader, number % ROWS, where);
    check_get(reader, (number + ROWS / 2) % ROWS, where);
    check_search(reader, number % ROWS, where);
    shardy_reader_close(reader);
}

/* --- our snapshots ---------------------------------------------------------------------------- */

static void check_verify(shardy_store *store, const object *o, const char *where)
{
    shardy_verify_options options;
    shardy_verify_options_init(&options, sizeof options);
    options.admin.store = store;
    shardy_verify_result result;
    memset(&err, 0, sizeof err);
    assert_ok(shardy_verify(NULL, NULL, &options, &result, &err));
    if (!belongs_to_snapshot(o)) {
        assert_int_equal(result.damaged_count, 0);
    } else if (result.status != SHARDY_VERIFY_DAMAGED || result.damaged_count == 0) {
        fail_msg("%s: verify says that all is well", where);
    } else {
        int named = 0;
        for (size_t i = 0; i < result.damaged_count; i++) {
            named |= strcmp(result.damaged[i].path, o->key) == 0;
        }
        if (!named) {
            fail_msg("%s: verify names \"%s\": %s", where, result.damaged[0].path,
                result.damaged[0].reason);
        }
    }
    shardy_verify_result_dispose(&result);
}

static void test_snapshot__each_flipped_bit_is_named_and_never_believed(void **state)
{
    snapshot_fixture *f = *state;
    size_t step = step_of_run();
    for (size_t i = 0; i < f->count; i++) {
        object *o = &f->objects[i];
        uint32_t flips = 0;
        for (size_t bit = i % step; bit < o->len * 8; bit += step) {
            char where[300];
            snprintf(where, sizeof where, "%.200s, bit %zu of byte %zu", o->key, bit % 8, bit / 8);
            o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            put_object(f, o);
            check_verify(f->store, o, where);
            check_answers(f->store, flips, where);
            o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            flips++;
        }
        put_object(f, o);
        printf("bit flips: %s: %u\n", o->key, flips);
    }
}

/* --- the same snapshot without digests -------------------------------------------------------- */

static object *find_object(snapshot_fixture *f, const char *prefix)
{
    for (size_t i = 0; i < f->count; i++) {
        if (strncmp(f->objects[i].key, prefix, strlen(prefix)) == 0) {
            return &f->objects[i];
        }
    }
    fail_msg("there is no object \"%s\"", prefix);
    return NULL;
}

static void take_content(object *o, const void *data, size_t len)
{
    free(o->data);
    o->data = malloc(len + 1);
    assert_non_null(o->data);
    memcpy(o->data, data, len);
    o->len = len;
}

/* What only we write goes from the manifest. */
static void strip_manifest(object *o)
{
    static const char sql[] = "DROP TABLE shardy_objects;"
                              "UPDATE build_meta SET custom = "
                              "json_remove(custom, '$.shardyfusion');"
                              "VACUUM;";
    char *dir = support_make_dir();
    size_t len;
    sqlite3 *db;
    const char *path = support_path(dir, "manifest");
    support_write_file(path, o->data, o->len);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    char *data = support_read_file(path, &len);
    take_content(o, data, len);
    free(data);
    support_remove_dir(dir);
}

static void strip_pointer(object *o, const char *manifest_key)
{
    char text[600];
    int len = snprintf(text, sizeof text,
        "{\"manifest_ref\":\"s3://bucket/flip/%.300s\",\"manifest_content_type\":"
        "\"application/x-sqlite3\",\"run_id\":\"flip\","
        "\"updated_at\":\"2026-01-01T00:00:00.000000Z\",\"format_version\":1}",
        manifest_key);
    take_content(o, text, (size_t)len);
}

static void strip_digests(snapshot_fixture *f)
{
    object *manifest = find_object(f, "manifests/");
    object *pointer = find_object(f, "_CURRENT");
    strip_manifest(manifest);
    strip_pointer(pointer, manifest->key);
    put_object(f, manifest);
    put_object(f, pointer);
    shardy_bytes fate = {"runs/run_id=flip/fate", strlen("runs/run_id=flip/fate")};
    int32_t result;
    assert_ok(shardy_store_remove(f->store, &fate, 1, &result, &err));
}

static int is_verified(shardy_store *store)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_snapshot_info info;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    assert_ok(shardy_reader_snapshot_info(reader, &info, &err));
    int verified = info.verified;
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    return verified;
}

/* Nothing is promised but that all calls come back with an answer or an error. */
static void use_unverified(shardy_store *store, uint32_t number, const char *where)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_open(NULL, NULL, &options, &reader, &err);
    check_read(st, where);
    if (st < 0) {
        return;
    }
    char text[32];
    char value[64];
    float vector[DIM];
    shardy_buf got;
    shardy_hits hits;
    shardy_query query;
    make_row(number % ROWS, text, value, vector);
    shardy_key key = shardy_key_text(text, strlen(text));
    check_read(shardy_reader_get(reader, &key, NULL, &got, &err), where);
    shardy_buf_release(&got);
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = DIM;
    check_read(shardy_reader_search(reader, &query, NULL, &hits, &err), where);
    shardy_hits_dispose(&hits);
    shardy_reader_close(reader);
    shardy_verify_options verify;
    shardy_verify_result result;
    shardy_verify_options_init(&verify, sizeof verify);
    verify.admin.store = store;
    verify.deep = (int32_t)(number % 2);
    check_read(shardy_verify(NULL, NULL, &verify, &result, &err), where);
    shardy_verify_result_dispose(&result);
}

static void test_snapshot__without_digests_never_breaks_a_reader(void **state)
{
    snapshot_fixture *f = *state;
    size_t step = step_of_run() == 1 ? 1 : 241;
    strip_digests(f);
    assert_int_equal(is_verified(f->store), 0);
    check_answers(f->store, 1, "without digests");
    for (size_t i = 0; i < f->count; i++) {
        object *o = &f->objects[i];
        uint32_t flips = 0;
        for (size_t bit = i % step; belongs_to_snapshot(o) && bit < o->len * 8; bit += step) {
            char where[300];
            snprintf(where, sizeof where, "%.200s, bit %zu of byte %zu", o->key, bit % 8, bit / 8);
            o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            put_object(f, o);
            use_unverified(f->store, flips, where);
            o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            flips++;
        }
        put_object(f, o);
        printf("bit flips: without digests: %s: %u\n", o->key, flips);
    }
}

/* --- snapshots of the reference --------------------------------------------------------------- */

/* Copies a snapshot of a directory into a store in memory. */
static void load_golden(snapshot_fixture *f, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "tests/golden/snapshots/%s", name);
    shardy_store *memory;
    assert_ok(shardy_store_open_mem(NULL, &memory, &err));
    assert_ok(shardy_store_open_fs(NULL, support_source(path), NULL, &f->store, &err));
    load_objects(f);
    shardy_store_close(f->store);
    f->store = memory;
    for (size_t i = 0; i < f->count; i++) {
        put_object(f, &f->objects[i]);
    }
}

static void read_golden(const shardy_reader *reader, uint32_t number)
{
    char text[32];
    shardy_buf got;
    float vector[16] = {1.0f, -0.5f};
    snprintf(text, sizeof text, "doc-%u", number % 600);
    shardy_key keys[2] = {shardy_key_text(text, strlen(text)), shardy_key_int(number % 1000)};
    for (int i = 0; i < 2; i++) {
        check_read(shardy_reader_get(reader, &keys[i], NULL, &got, &err), text);
        shardy_buf_release(&got);
    }
    shardy_query query;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = 16;
    shardy_hits hits;
    check_read(shardy_reader_search(reader, &query, NULL, &hits, &err), "search");
    shardy_hits_dispose(&hits);
}

/* Nothing is promised but that all calls come back with an answer or an error. */
static void use_golden(shardy_store *store, uint32_t number)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    shardy_reader *reader;
    shardy_verify_options verify;
    shardy_verify_options_init(&verify, sizeof verify);
    verify.admin.store = store;
    shardy_verify_result result;
    shardy_status st = shardy_reader_open(NULL, NULL, &options, &reader, &err);
    check_read(st, "open");
    if (st >= 0) {
        read_golden(reader, number);
        shardy_reader_close(reader);
    }
    check_read(shardy_verify(NULL, NULL, &verify, &result, &err), "verify");
    shardy_verify_result_dispose(&result);
}

static void test_reference__flipped_bits_never_break_a_reader(void **state)
{
    (void)state;
    static const char *const names[] = {
        "kv_sqlite_hash_int", "unified_sqlite_vec_l2", "limits_empty_shards"};
    size_t step = step_of_run() == 1 ? 101 : 4001;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        snapshot_fixture f = {0};
        uint32_t flips = 0;
        load_golden(&f, names[n]);
        for (size_t i = 0; i < f.count; i++) {
            object *o = &f.objects[i];
            int is_read = strcmp(o->key, "expected.json") != 0; /* what the test is about */
            for (size_t bit = i; is_read && bit < o->len * 8; bit += step) {
                o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
                put_object(&f, o);
                use_golden(f.store, flips);
                o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
                flips++;
            }
            put_object(&f, o);
        }
        printf("bit flips: %s: %u\n", names[n], flips);
        free_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_snapshot__each_flipped_bit_is_named_and_never_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_snapshot__without_digests_never_breaks_a_reader, setup, teardown),
        cmocka_unit_test(test_reference__flipped_bits_never_break_a_reader),
    };
    const char *only = getenv("SHARDY_TEST_ONLY");
    if (only) {
        cmocka_set_test_filter(only);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
