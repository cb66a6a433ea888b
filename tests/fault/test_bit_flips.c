/* Every bit of a snapshot, flipped one at a time: verify names the object, and whatever is read is
 * right or an error. The same of the fate of a run: nobody does anything to the run. In snapshots
 * without digests: no crash, no hang, no read out of bounds.
 *
 * The quick set takes every 61st bit, or fewer, by chance; SHARDY_TORTURE=1 takes all of them, but
 * for larger snapshots of ours and of the reference. */
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
#define SHORT_VALUE 40u
#define LONG_VALUE  2900u /* of all rows: more than a chunk */

static shardy_error err;

/* Of all calls, as most of the time of a million small ones would be that of starting threads. */
static shardy_context *context;

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
    size_t value_len;
} snapshot_fixture;

/* What came of look-ups and searches. */
typedef struct answers {
    uint32_t right;
    uint32_t refused;
} answers;

static size_t step_of_run(void)
{
    return getenv("SHARDY_TORTURE") ? 1 : 61;
}

/* --- the snapshot ----------------------------------------------------------------------------- */

typedef struct row_text {
    char key[32];
    char value[LONG_VALUE + 1];
    char payload[32];
    float vector[DIM];
} row_text;

static void make_row(uint32_t i, size_t value_len, row_text *row)
{
    memset(row, 0, sizeof *row);
    snprintf(row->key, sizeof row->key, "key-%u", i);
    snprintf(row->payload, sizeof row->payload, "{\"row\": %u}", i);
    for (size_t at = 0; at < value_len; at += 10) {
        snprintf(row->value + at, value_len - at + 1, "value %02u, ", i);
    }
    for (uint32_t d = 0; d < DIM; d++) {
        row->vector[d] = (float)((i * 7 + d * 3) % 11) - 4.5f;
    }
}

static void put_rows(shardy_writer *w, size_t value_len)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        row_text text;
        make_row(i, value_len, &text);
        shardy_row row;
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_text(text.key, strlen(text.key));
        row.value.data = text.value;
        row.value.len = value_len;
        row.vector = text.vector;
        row.dim = DIM;
        row.has_payload = 1;
        row.payload.data = text.payload;
        row.payload.len = strlen(text.payload);
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

static void build(const snapshot_fixture *f, const char *run_id, uint32_t num_dbs)
{
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.store = f->store;
    options.num_dbs = num_dbs;
    options.run_id = run_id;
    options.page_size = 512;
    options.published_as = "s3://bucket/flip";
    shardy_writer *w;
    assert_ok(shardy_writer_open(context, NULL, &options, &w, &err));
    put_rows(w, f->value_len);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
}

static snapshot_fixture *new_fixture(uint32_t num_dbs, size_t value_len)
{
    snapshot_fixture *f = calloc(1, sizeof *f);
    f->value_len = value_len;
    assert_ok(shardy_store_open_mem(NULL, &f->store, &err));
    build(f, "flip", num_dbs);
    load_objects(f);
    return f;
}

static int setup(void **state)
{
    *state = new_fixture(2, SHORT_VALUE);
    return 0;
}

/* One shard of two chunks, so that it has a list of their digests. */
static int setup_chunks(void **state)
{
    *state = new_fixture(1, LONG_VALUE);
    return 0;
}

static const shardy_rollback_target old_run = {
    .struct_size = sizeof(shardy_rollback_target), .run_id = "old", .offset = -1};

static shardy_admin_options admin_of(const snapshot_fixture *f)
{
    shardy_admin_options options;
    shardy_admin_options_init(&options, sizeof options);
    options.store = f->store;
    return options;
}

/* Two runs: an older one, which is pinned, and the current one. */
static int setup_runs(void **state)
{
    snapshot_fixture *f = calloc(1, sizeof *f);
    f->value_len = SHORT_VALUE;
    assert_ok(shardy_store_open_mem(NULL, &f->store, &err));
    build(f, "old", 1);
    build(f, "flip", 1);
    const shardy_admin_options options = admin_of(f);
    assert_ok(shardy_pin_add(context, NULL, "keep", &old_run, &options, NULL, &err));
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

/* --- reading ---------------------------------------------------------------------------------- */

/* Failures that may come of damaged bytes. */
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

/* Checks how a call of a snapshot with digests ended, and counts it. The pointer has no digest: its
 * damage may look like anything. Elsewhere nothing but the digest may be what is found wrong. */
static void count_end(shardy_status st, const object *damaged, answers *a, const char *where)
{
    check_read(st, where);
    if (st == SHARDY_OK) {
        a->right++;
        return;
    }
    if (st != SHARDY_CHECKSUM && (!damaged || strcmp(damaged->key, "_CURRENT") != 0)) {
        fail_msg("%s: %s: %s", where, shardy_status_name(st), err.message);
    }
    if (!damaged || !belongs_to_snapshot(damaged)) {
        fail_msg("%s: refused: %s", where, err.message);
    }
    a->refused++;
}

static int has_bytes(shardy_bytes got, const char *text, size_t len)
{
    return got.len == len && memcmp(got.data, text, len) == 0;
}

/* A reader of a snapshot, one object of which may be damaged. */
typedef struct reading {
    const shardy_reader *reader;
    size_t value_len;
    const object *damaged; /* NULL: none */
    answers *answers;
    const char *where;
} reading;

static void check_get(const reading *r, uint32_t i)
{
    row_text row;
    shardy_buf got;
    make_row(i, r->value_len, &row);
    shardy_key key = shardy_key_text(row.key, strlen(row.key));
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_get(r->reader, &key, NULL, &got, &err);
    const shardy_bytes bytes = {got.data, got.len};
    if (st == SHARDY_OK && !has_bytes(bytes, row.value, r->value_len)) {
        fail_msg("%s: \"%s\" has another value", r->where, row.key);
    }
    count_end(st, r->damaged, r->answers, r->where);
    shardy_buf_release(&got);
}

/* The row that is found for the vector of row `i`: of those with the same one the first id. */
static void make_nearest(uint32_t i, size_t value_len, row_text *nearest)
{
    make_row(i, value_len, nearest);
    for (uint32_t other = 0; other < ROWS; other++) {
        row_text row;
        make_row(other, value_len, &row);
        if (memcmp(row.vector, nearest->vector, sizeof row.vector) == 0 &&
            strcmp(row.key, nearest->key) < 0) {
            *nearest = row;
        }
    }
}

static void check_search(const reading *r, uint32_t i)
{
    row_text nearest;
    shardy_hits hits;
    shardy_query query;
    make_nearest(i, r->value_len, &nearest);
    shardy_query_init(&query, sizeof query);
    query.vectors = nearest.vector;
    query.count = 1;
    query.dim = DIM;
    query.top_k = 1;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_search(r->reader, &query, NULL, &hits, &err);
    if (st == SHARDY_OK) {
        const shardy_hit *hit = hits.hits;
        if (hits.offsets[1] != 1 || hit->score > 1e-6 || hit->id.type != SHARDY_KEY_TEXT ||
            !has_bytes(hit->id.bytes, nearest.key, strlen(nearest.key)) || !hit->has_payload ||
            !has_bytes(hit->payload, nearest.payload, strlen(nearest.payload))) {
            fail_msg(
                "%s: the search for the vector of \"%s\" answers otherwise", r->where, nearest.key);
        }
        shardy_hits_dispose(&hits);
    }
    count_end(st, r->damaged, r->answers, r->where);
}

/* Opens, gets and searches; whole and by ranges in turns. */
static void check_answers(const snapshot_fixture *f, const object *damaged, uint32_t number,
    answers *a, const char *where)
{
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.store = f->store;
    options.access = number % 2 ? SHARDY_ACCESS_RANGE : SHARDY_ACCESS_AUTO;
    shardy_reader *reader;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_open(context, NULL, &options, &reader, &err);
    if (st < 0) {
        count_end(st, damaged, a, where);
        return;
    }
    const reading r = {reader, f->value_len, damaged, a, where};
    check_get(&r, number % ROWS);
    check_get(&r, (number + ROWS / 2) % ROWS);
    check_search(&r, number % ROWS);
    shardy_reader_close(reader);
}

/* What nobody changed is answered, all of it. */
static void check_unchanged(const snapshot_fixture *f, const char *where)
{
    answers a = {0, 0};
    for (uint32_t i = 0; i < 2 * ROWS; i++) {
        check_answers(f, NULL, i, &a, where);
    }
    assert_int_equal(a.right, 2 * ROWS * 3);
    assert_int_equal(a.refused, 0);
}

/* --- our snapshots ---------------------------------------------------------------------------- */

static void check_verify(shardy_store *store, const object *o, const char *where)
{
    shardy_verify_options options;
    shardy_verify_options_init(&options, sizeof options);
    options.admin.store = store;
    shardy_verify_result result;
    memset(&err, 0, sizeof err);
    assert_ok(shardy_verify(context, NULL, &options, &result, &err));
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

static int ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

/* So that nothing passes because nothing was answered, or nothing refused: what is damaged in a
 * shard is needed for some answers; without the objects named here there is none; nobody needs the
 * others: without its sidecar a shard is read another way. */
static void check_counts(const object *o, uint32_t flips, const answers *a)
{
    int is_shard = ends_with(o->key, "/shard.db");
    int is_needed = ends_with(o->key, ".sums") || ends_with(o->key, "/manifest") ||
                    strcmp(o->key, "_CURRENT") == 0;
    printf(
        "bit flips: %s: %u, %u right answers, %u refused\n", o->key, flips, a->right, a->refused);
    assert_true(flips > 0);
    assert_true(a->right > 0 || is_needed);
    assert_true(is_shard || is_needed ? a->refused > 0 : a->refused == 0);
}

/* The next bit to flip, about one of `step`, by chance. */
static size_t next_bit(support_rand *rand, size_t bit, size_t step)
{
    return bit + 1 + (size_t)support_rand_below(rand, 2 * step - 1);
}

static void flip_object(snapshot_fixture *f, object *o, size_t step, support_rand *rand)
{
    answers a = {0, 0};
    uint32_t flips = 0;
    for (size_t bit = support_rand_below(rand, step); bit < o->len * 8;
         bit = next_bit(rand, bit, step)) {
        char where[300];
        snprintf(where, sizeof where, "%.200s, bit %zu of byte %zu", o->key, bit % 8, bit / 8);
        o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        put_object(f, o);
        check_verify(f->store, o, where);
        check_answers(f, o, flips, &a, where);
        o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        flips++;
    }
    put_object(f, o);
    check_counts(o, flips, &a);
}

static void test_snapshot__each_flipped_bit_is_named_and_never_believed(void **state)
{
    snapshot_fixture *f = *state;
    support_rand rand = {support_seed()};
    check_unchanged(f, "unchanged");
    for (size_t i = 0; i < f->count; i++) {
        flip_object(f, &f->objects[i], step_of_run(), &rand);
    }
    check_unchanged(f, "unchanged again");
}

/* Some bits, because of the size, also with SHARDY_TORTURE=1: but for the list of digests, which no
 * smaller snapshot has. */
static void test_snapshot__each_flipped_bit_of_several_chunks_is_named_and_never_believed(
    void **state)
{
    snapshot_fixture *f = *state;
    support_rand rand = {support_seed() + 1};
    uint32_t lists = 0;
    check_unchanged(f, "several chunks");
    for (size_t i = 0; i < f->count; i++) {
        object *o = &f->objects[i];
        int is_list = ends_with(o->key, ".sums");
        const int all = step_of_run() == 1;
        const size_t some = 1 + o->len * 8 / (all ? 10000 : 100);
        const size_t few = all ? 1 : 5;
        flip_object(f, o, is_list ? few : some, &rand);
        lists += (uint32_t)is_list;
    }
    assert_in_range(lists, 1, OBJECTS_MAX);
    check_unchanged(f, "several chunks again");
}

/* --- the fate of a run ------------------------------------------------------------------------ */

/* Each object is there as it was put last, and no other. */
static void check_untouched(const snapshot_fixture *f, const char *where)
{
    shardy_store_page page;
    assert_ok(shardy_store_list(f->store, "", 0, NULL, 1000, &page, &err));
    if (page.count != f->count) {
        fail_msg("%s: there are %zu objects, not %zu", where, page.count, f->count);
    }
    for (size_t i = 0; i < f->count; i++) {
        shardy_buf body;
        const object *o = &f->objects[i];
        assert_ok(shardy_store_get(f->store, o->key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        if (body.len != o->len || memcmp(body.data, o->data, o->len) != 0) {
            fail_msg("%s: \"%s\" was written", where, o->key);
        }
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
}

static void check_refused(shardy_status st, const char *what, const char *where)
{
    if (st >= 0 || !is_honest_failure(st) || !strstr(err.message, "runs/run_id=old/fate")) {
        fail_msg("%s: %s: %s: %s", where, what, shardy_status_name(st), err.message);
    }
    memset(&err, 0, sizeof err);
}

/* All that reads or changes the fate of a run. */
static void use_damaged_fate(const snapshot_fixture *f, const char *where)
{
    const shardy_admin_options admin = admin_of(f);
    shardy_cleanup_options clean;
    shardy_cleanup_result cleaned;
    shardy_history history;
    check_refused(shardy_rollback(context, NULL, &old_run, &admin, NULL, &err), "rollback", where);
    check_refused(
        shardy_pin_add(context, NULL, "another", &old_run, &admin, NULL, &err), "pin", where);
    check_refused(
        shardy_pin_remove(context, NULL, "keep", &old_run, &admin, NULL, &err), "unpin", where);
    shardy_cleanup_options_init(&clean, sizeof clean);
    clean.admin.store = f->store;
    clean.keep_last = 1;
    clean.force = 1;
    check_refused(shardy_cleanup(context, NULL, &clean, &cleaned, &err), "cleanup", where);
    shardy_cleanup_result_dispose(&cleaned);
    assert_ok(shardy_history_list(context, NULL, 10, &admin, &history, &err));
    assert_int_equal(history.count, 2);
    assert_string_equal(history.entries[1].run_id, "old");
    if (history.entries[1].pins) {
        fail_msg("%s: the history believes its pins", where);
    }
    shardy_history_dispose(&history);
    check_untouched(f, where);
}

static void test_fate__a_flipped_bit_keeps_everybody_off_its_run(void **state)
{
    snapshot_fixture *f = *state;
    support_rand rand = {support_seed()};
    object *o = find_object(f, "runs/run_id=old/fate");
    size_t step = step_of_run() == 1 ? 1 : 17;
    uint32_t flips = 0;
    for (size_t bit = support_rand_below(&rand, step); bit < o->len * 8;
         bit = next_bit(&rand, bit, step)) {
        char where[100];
        snprintf(where, sizeof where, "fate, bit %zu of byte %zu", bit % 8, bit / 8);
        o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        put_object(f, o);
        use_damaged_fate(f, where);
        o->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        flips++;
    }
    printf("bit flips: %s: %u\n", o->key, flips);
    put_object(f, o);
    const shardy_admin_options admin = admin_of(f);
    assert_ok(shardy_pin_remove(context, NULL, "keep", &old_run, &admin, NULL, &err));
    assert_ok(shardy_rollback(context, NULL, &old_run, &admin, NULL, &err));
}

/* --- the same snapshot without digests -------------------------------------------------------- */

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
    assert_ok(shardy_reader_open(context, NULL, &options, &reader, &err));
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
    shardy_status st = shardy_reader_open(context, NULL, &options, &reader, &err);
    check_read(st, where);
    if (st < 0) {
        return;
    }
    row_text row;
    shardy_buf got;
    shardy_hits hits;
    shardy_query query;
    make_row(number % ROWS, SHORT_VALUE, &row);
    shardy_key key = shardy_key_text(row.key, strlen(row.key));
    check_read(shardy_reader_get(reader, &key, NULL, &got, &err), where);
    shardy_buf_release(&got);
    shardy_query_init(&query, sizeof query);
    query.vectors = row.vector;
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
    check_read(shardy_verify(context, NULL, &verify, &result, &err), where);
    shardy_verify_result_dispose(&result);
}

static void test_snapshot__without_digests_never_breaks_a_reader(void **state)
{
    snapshot_fixture *f = *state;
    size_t step = step_of_run() == 1 ? 1 : 241;
    strip_digests(f);
    assert_int_equal(is_verified(f->store), 0);
    check_unchanged(f, "without digests");
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
    shardy_status st = shardy_reader_open(context, NULL, &options, &reader, &err);
    check_read(st, "open");
    if (st >= 0) {
        read_golden(reader, number);
        shardy_reader_close(reader);
    }
    check_read(shardy_verify(context, NULL, &verify, &result, &err), "verify");
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

static int open_context(void **state)
{
    (void)state;
    assert_ok(shardy_context_new(NULL, &context, &err));
    return 0;
}

static int free_context(void **state)
{
    (void)state;
    shardy_context_free(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_snapshot__each_flipped_bit_is_named_and_never_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_snapshot__each_flipped_bit_of_several_chunks_is_named_and_never_believed,
            setup_chunks, teardown),
        cmocka_unit_test_setup_teardown(
            test_fate__a_flipped_bit_keeps_everybody_off_its_run, setup_runs, teardown),
        cmocka_unit_test_setup_teardown(
            test_snapshot__without_digests_never_breaks_a_reader, setup, teardown),
        cmocka_unit_test(test_reference__flipped_bits_never_break_a_reader),
    };
    const char *only = getenv("SHARDY_TEST_ONLY");
    if (only) {
        cmocka_set_test_filter(only);
    }
    return cmocka_run_group_tests(tests, open_context, free_context);
}
