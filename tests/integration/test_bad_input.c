/* What hostile or odd data cannot do: leave the root of its snapshot, or become something else on
 * the way. Errors of the command for bad input are in tests/cli/cases/bad_input.case. */
#include "support/store_fixture.h"

#include "base/bytebuf.h"
#include "manifest/manifest.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static shardy_error err;

static void build(const char *dir, shardy_store *store, const shardy_row *rows, size_t count,
    int32_t encoding, shardy_build_result *result)
{
    shardy_writer_options options;
    shardy_writer *w;
    shardy_writer_options_init(&options, sizeof options);
    options.store = store;
    options.key_encoding = encoding;
    options.sync = 0;
    options.run_id = "run";
    options.metric = SHARDY_VECTOR_METRIC_L2;
    assert_ok(shardy_writer_open(NULL, dir, &options, &w, &err));
    for (size_t i = 0; i < count; i++) {
        assert_ok(shardy_writer_put(w, &rows[i], &err));
    }
    assert_ok(shardy_writer_finish(w, result, &err));
    shardy_writer_close(w);
}

static shardy_row make_row(shardy_key key)
{
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    row.key = key;
    row.value.data = "value";
    row.value.len = 5;
    return row;
}

/* T-5: the reference cannot publish bytes that are not UTF-8 as bounds, and gives others back as
 * text. */
static void test_bad_input__bounds_of_bytes_keys_are_texts_or_none(void **state)
{
    (void)state;
    shardy_store *store;
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_shard_details details;
    const shardy_row rows[] = {make_row(shardy_key_bytes("abc", 3)),
        make_row(shardy_key_bytes("b\0c", 3)), make_row(shardy_key_bytes("\xff\0", 2))};
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    build(NULL, store, rows, 3, SHARDY_KEY_ENCODING_RAW, NULL);
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    assert_ok(shardy_reader_shard_details(reader, &details, &err));
    assert_int_equal(details.count, 1);
    assert_int_equal(details.shards[0].has_min_key, 1);
    assert_int_equal(details.shards[0].min_key.type, SHARDY_KEY_TEXT);
    assert_int_equal(details.shards[0].min_key.bytes.len, 3);
    assert_memory_equal(details.shards[0].min_key.bytes.data, "abc", 3);
    assert_int_equal(details.shards[0].has_max_key, 0);
    shardy_shard_details_dispose(&details);
    for (size_t i = 0; i < 3; i++) {
        shardy_buf value;
        assert_ok(shardy_reader_get(reader, &rows[i].key, NULL, &value, &err));
        shardy_buf_release(&value);
    }
    shardy_reader_close(reader);
    shardy_store_close(store);
}

/* T-17: the reference stores all ids of a batch as texts when one of them is. */
static void test_bad_input__ids_of_vectors_keep_their_types_side_by_side(void **state)
{
    (void)state;
    shardy_store *store;
    shardy_reader *reader;
    shardy_reader_options options;
    static const float vectors[4][2] = {{1, 0}, {2, 0}, {3, 0}, {4, 0}};
    shardy_row rows[4];
    const shardy_key ids[] = {shardy_key_int(1), shardy_key_cstr("1"), shardy_key_int(INT64_MAX),
        shardy_key_text("a\0", 2)};
    for (size_t i = 0; i < 4; i++) {
        rows[i] = make_row(shardy_key_int((int64_t)i));
        rows[i].vector = vectors[i];
        rows[i].dim = 2;
        rows[i].has_vector_id = 1;
        rows[i].vector_id = ids[i];
    }
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    build(NULL, store, rows, 4, SHARDY_KEY_ENCODING_U64BE, NULL);
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    shardy_query query;
    shardy_hits hits;
    float zero[2] = {0, 0};
    shardy_query_init(&query, sizeof query);
    query.vectors = zero;
    query.count = 1;
    query.dim = 2;
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(hits.hits[i].id.type, ids[i].type);
        assert_int_equal(shardy_key_compare(&hits.hits[i].id, &ids[i]), 0);
    }
    shardy_hits_dispose(&hits);
    shardy_reader_close(reader);
    shardy_store_close(store);
}

/* The default id of a vector is its key; of bytes their hex digits. */
static void check_hex_id(shardy_key key, const char *expected)
{
    shardy_store *store;
    shardy_reader *reader;
    shardy_reader_options options;
    static const float vector[2] = {1, 0};
    shardy_row row = make_row(key);
    row.vector = vector;
    row.dim = 2;
    assert_ok(shardy_store_open_mem(NULL, &store, &err));
    build(NULL, store, &row, 1, SHARDY_KEY_ENCODING_RAW, NULL);
    shardy_reader_options_init(&options, sizeof options);
    options.store = store;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    shardy_query query;
    shardy_hits hits;
    shardy_query_init(&query, sizeof query);
    query.vectors = vector;
    query.count = 1;
    query.dim = 2;
    assert_ok(shardy_reader_search(reader, &query, NULL, &hits, &err));
    assert_int_equal(hits.offsets[1], 1);
    assert_int_equal(hits.hits[0].id.type, SHARDY_KEY_TEXT);
    assert_int_equal(hits.hits[0].id.bytes.len, strlen(expected));
    assert_memory_equal(hits.hits[0].id.bytes.data, expected, strlen(expected));
    shardy_hits_dispose(&hits);
    shardy_reader_close(reader);
    shardy_store_close(store);
}

static void test_bad_input__a_vector_of_a_bytes_key_has_its_hex_digits_as_id(void **state)
{
    (void)state;
    check_hex_id(shardy_key_bytes("\0\xAB", 2), "00ab");
    char *key = malloc(SHARDY_KEY_LEN_MAX);
    char *digits = malloc(2 * (size_t)SHARDY_KEY_LEN_MAX + 1);
    assert_true(key && digits);
    memset(key, 0xCC, SHARDY_KEY_LEN_MAX);
    memset(digits, 'c', 2 * (size_t)SHARDY_KEY_LEN_MAX);
    digits[2 * (size_t)SHARDY_KEY_LEN_MAX] = '\0';
    check_hex_id(shardy_key_bytes(key, SHARDY_KEY_LEN_MAX), digits);
    free(key);
    free(digits);
}

/* --- a directory with a secret beside it ------------------------------------------------------ */

typedef struct place {
    char *dir;  /* holds both */
    char *root; /* "<dir>/set": the snapshot */
} place;

static place make_place(void)
{
    place p;
    const shardy_row row = make_row(shardy_key_cstr("key"));
    p.dir = support_make_dir();
    p.root = strdup(support_path(p.dir, "set"));
    build(p.root, NULL, &row, 1, SHARDY_KEY_ENCODING_UTF8, NULL);
    /* the secret is a good shard with the same key */
    char path[1200];
    snprintf(path, sizeof path, "%s/secret", p.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    size_t len;
    snprintf(path, sizeof path, "%s/shards/run_id=run/db=00000/attempt=00/shard.db", p.root);
    char *shard = support_read_file(path, &len);
    support_write_file(support_path(p.dir, "secret/shard.db"), shard, len);
    free(shard);
    return p;
}

static void free_place(place *p)
{
    support_remove_dir(p->dir);
    free(p->root);
}

/* Replaces what is published by a manifest of the reference's kind (nothing has a digest) with this
 * URL of its one shard. */
static void publish_url(const place *p, const char *prefix, const char *db_url)
{
    manifest *m;
    manifest_shard shard;
    shardy_buf image;
    char pointer[1000];
    memset(&shard, 0, sizeof shard);
    shard.db_url = db_url;
    shard.row_count = 1;
    assert_ok(shardy__manifest_new(&m, &err));
    m->run_id = "evil";
    m->created_at = "2026-01-02T03:04:05Z";
    m->s3_prefix = prefix;
    m->key_col = "_key";
    m->db_path_template = "db={db_id:05d}";
    m->shard_prefix = "shards";
    m->num_dbs = 1;
    m->strategy = SHARDY_SHARDING_HASH;
    m->key_encoding = SHARDY_KEY_ENCODING_UTF8;
    m->custom = "{\"shardyfusion\": {\"engine\": \"sqlite\", \"version\": 1}}";
    m->shards = &shard;
    m->shard_count = 1;
    assert_ok(shardy__manifest_render(m, &image, &err));
    shardy__manifest_free(m);
    char folder[1000];
    snprintf(
        folder, sizeof folder, "%s/manifests/2027-01-02T03:04:05.000000Z_run_id=evil", p->root);
    (void)mkdir(folder, 0755);
    support_write_file(support_path(folder, "manifest"), image.data, image.len);
    shardy_buf_release(&image);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(support_path(folder, "manifest"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE shardy_objects", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    snprintf(pointer, sizeof pointer,
        "{\"format_version\":1,\"manifest_content_type\":\"application/x-sqlite3\","
        "\"manifest_ref\":\"manifests/2027-01-02T03:04:05.000000Z_run_id=evil/manifest\","
        "\"run_id\":\"evil\",\"updated_at\":\"2027-01-02T03:04:05Z\"}");
    support_write_file(support_path(p->root, "_CURRENT"), pointer, strlen(pointer));
}

/* The status of opening and getting the key, and whether it was opened. */
static shardy_status get_key(const place *p, int *opened)
{
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.fallback_max = 0;
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_open(NULL, p->root, &options, &reader, &err);
    *opened = st >= 0;
    if (st < 0) {
        return st;
    }
    shardy_buf value;
    shardy_key key = shardy_key_cstr("key");
    st = shardy_reader_get(reader, &key, NULL, &value, &err);
    shardy_buf_release(&value);
    shardy_reader_close(reader);
    return st;
}

static void test_bad_input__no_url_of_a_manifest_leads_out_of_the_root(void **state)
{
    (void)state;
    place p = make_place();
    char secret[1000];
    char up[1000];
    char file[1010];
    char root_url[1010];
    int opened;
    snprintf(secret, sizeof secret, "%s/secret", p.dir);
    snprintf(up, sizeof up, "file://%s/../secret", p.root);
    snprintf(file, sizeof file, "file://%s", secret);
    snprintf(root_url, sizeof root_url, "file://%s", p.root);
    const char *const urls[] = {secret, file, up, "../secret", "file:///etc",
        "http://169.254.169.254/latest", "s3://bucket/secret"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        publish_url(&p, root_url, urls[i]);
        assert_int_equal(get_key(&p, &opened), SHARDY_CORRUPT);
        assert_int_equal(opened, 0);
    }
    /* literal percent signs: below the root, where there is nothing */
    char encoded[1100];
    snprintf(encoded, sizeof encoded, "file://%s/%%2e%%2e/secret", p.root);
    publish_url(&p, root_url, encoded);
    assert_true(get_key(&p, &opened) < 0);
    assert_int_equal(opened, 1);
    assert_non_null(strstr(err.message, "%2e%2e/secret"));
    /* the prefix may be anything: what counts is the root that was opened */
    publish_url(&p, "s3://elsewhere/x", "s3://elsewhere/x/shards/run_id=run/db=00000/attempt=00");
    assert_int_equal(get_key(&p, &opened), SHARDY_OK);
    free_place(&p);
}

static void test_bad_input__links_out_of_the_root_are_not_followed(void **state)
{
    (void)state;
    place p = make_place();
    char link_name[1000];
    char target[1000];
    int opened;
    snprintf(link_name, sizeof link_name, "%s/linked", p.root);
    snprintf(target, sizeof target, "%s/secret", p.dir);
    assert_int_equal(symlink(target, link_name), 0);
    publish_url(&p, "s3://b/p", "s3://b/p/linked");
    assert_true(get_key(&p, &opened) < 0);
    assert_int_equal(unlink(link_name), 0);
    assert_int_equal(mkdir(link_name, 0755), 0);
    char file_link[1100];
    snprintf(file_link, sizeof file_link, "%s/shard.db", link_name);
    snprintf(target, sizeof target, "%s/secret/shard.db", p.dir);
    assert_int_equal(symlink(target, file_link), 0);
    assert_true(get_key(&p, &opened) < 0);
    assert_int_equal(unlink(file_link), 0);
    assert_int_equal(link(target, file_link), 0); /* a name of its own is its own file */
    assert_int_equal(get_key(&p, &opened), SHARDY_OK);
    free_place(&p);
}

static void test_bad_input__a_manifest_cut_at_any_place_is_corrupt(void **state)
{
    (void)state;
    place p = make_place();
    int opened;
    size_t len;
    publish_url(&p, "s3://b/p", "s3://b/p/shards/run_id=run/db=00000/attempt=00");
    assert_int_equal(get_key(&p, &opened), SHARDY_OK);
    char path[1100];
    snprintf(
        path, sizeof path, "%s/manifests/2027-01-02T03:04:05.000000Z_run_id=evil/manifest", p.root);
    char *image = support_read_file(path, &len);
    for (size_t cut = 0; cut < len; cut += 509) {
        support_write_file(path, image, cut);
        assert_int_equal(get_key(&p, &opened), SHARDY_CORRUPT);
        assert_int_equal(opened, 0);
        assert_true(err.message[0] != '\0');
    }
    free(image);
    free_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_input__bounds_of_bytes_keys_are_texts_or_none),
        cmocka_unit_test(test_bad_input__ids_of_vectors_keep_their_types_side_by_side),
        cmocka_unit_test(test_bad_input__a_vector_of_a_bytes_key_has_its_hex_digits_as_id),
        cmocka_unit_test(test_bad_input__no_url_of_a_manifest_leads_out_of_the_root),
        cmocka_unit_test(test_bad_input__links_out_of_the_root_are_not_followed),
        cmocka_unit_test(test_bad_input__a_manifest_cut_at_any_place_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
