/* Sidecars that the reference wrote: we read them, they are bound to their files, what we would
 * write for the same files has the same body, and a reader of a bucket uses them. */
#include "support/server.h"
#include "support/sidecar_testing.h"

#include <openssl/evp.h>
#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>
#include <shardyfusion/sys/text.h>
#include <zstd.h>

static const char snapshot[] = "tests/golden/snapshots/";

/* shard.db and shard.sidecar beside each other. */
static const char *const shards[] = {
    "tests/golden/files/kv4096.",
    "tests/golden/files/kv65536.",
    "tests/golden/files/vec8cosine.",
};

static image read_image(const char *front, const char *name)
{
    char path[1500];
    snprintf(path, sizeof path, "%s%s", front, name);
    image img = {0};
    img.data = (uint8_t *)support_read_file(support_source(path), &img.len);
    return img;
}

/* What the reference's store gave as the ETag. */
static void etag_of(const image *img, char text[40])
{
    unsigned char md5[16];
    assert_int_equal(EVP_Digest(img->data, img->len, md5, NULL, EVP_md5(), NULL), 1);
    text[0] = '"';
    for (size_t i = 0; i < 16; i++) {
        snprintf(text + 1 + 2 * i, 4, "%02x\"", md5[i]);
    }
}

static uint8_t *body_of(const image *side, size_t *len_out)
{
    size_t start = SIDECAR_PREFIX_LEN + side->data[17];
    *len_out = (size_t)shardy__get_le64(side->data + 5);
    uint8_t *body = malloc(*len_out);
    assert_int_equal(
        ZSTD_decompress(body, *len_out, side->data + start, side->len - start), *len_out);
    return body;
}

/* Pages of a golden sidecar and chains of overflow pages. */
typedef struct seen {
    size_t sidecars;
    size_t pages;
    size_t chains;
} seen;

static void check_shard(const char *front, seen *total)
{
    shardy_error err = {0};
    char etag[40];
    sidecar *s = NULL;
    image file = read_image(front, "shard.db");
    image side = read_image(front, "shard.sidecar");
    etag_of(&file, etag);
    sidecar_expect expect = {.file_size = file.len, .page_size = page_size_of(&file), .tag = etag};
    shardy_bytes bytes = {side.data, side.len};
    assert_ok(shardy__sidecar_parse(bytes, &expect, &s, &err));
    check_sidecar(s, &file);
    assert_non_null(shardy__sidecar_page(s, 1));
    total->sidecars++;
    total->pages += shardy__sidecar_page_count(s);
    total->chains += shardy__sidecar_chain_count(s);
    shardy__sidecar_free(s);
    etag[5] ^= 1;
    assert_status(SHARDY_CONFLICT, shardy__sidecar_parse(bytes, &expect, &s, &err));

    /* Ours, made from what dbstat says. */
    image ours = sidecar_by_dbstat(&file);
    assert_memory_equal(ours.data, side.data, SIDECAR_PREFIX_LEN - 1);
    size_t len;
    size_t ours_len;
    uint8_t *body = body_of(&side, &len);
    uint8_t *ours_body = body_of(&ours, &ours_len);
    assert_int_equal(len, ours_len);
    assert_memory_equal(body, ours_body, len);
    free(body);
    free(ours_body);
    free_image(&ours);
    free_image(&file);
    free_image(&side);
}

static void test_golden__sidecars_are_read_and_made_again(void **state)
{
    (void)state;
    seen total = {0};
    for (size_t i = 0; i < sizeof shards / sizeof *shards; i++) {
        check_shard(shards[i], &total);
    }
    assert_int_equal(total.sidecars, 3);
    assert_true(total.chains >= 60);
}

static void test_golden__sidecars_of_snapshots_are_read_and_made_again(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t shards;
    } cases[] = {{"kv_sqlite_sidecar", 2}, {"kv_sqlite_page_auto", 2}, {"kv_sqlite_duplicates", 3},
        {"kv_sqlite_hash_int", 4}, {"kv_sqlite_hash_str_bytes", 4}, {"kv_sqlite_raw_bytes", 3},
        {"kv_sqlite_retries", 7}, {"limits_empty_shards", 5}, {"unified_sqlite_vec_cosine", 4},
        {"unified_sqlite_vec_l2", 3}};
    seen total = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shardy_error err = {0};
        char dir[300];
        shardy_store *store = NULL;
        shardy_store_page page = {0};
        size_t before = total.sidecars;
        snprintf(dir, sizeof dir, "%s%s", snapshot, cases[i].name);
        assert_ok(shardy_store_open_fs(NULL, support_source(dir), NULL, &store, &err));
        assert_ok(shardy_store_list(store, "shards/", 0, NULL, 1000, &page, &err));
        for (size_t e = 0; e < page.count; e++) {
            char *end = strstr(page.entries[e].key, "shard.sidecar");
            if (end) {
                char front[1400];
                snprintf(front, sizeof front, "%s/%.*s", dir, (int)(end - page.entries[e].key),
                    page.entries[e].key);
                check_shard(front, &total);
            }
        }
        shardy_store_page_dispose(&page);
        shardy_store_close(store);
        assert_int_equal(total.sidecars - before, cases[i].shards);
    }
    printf("%zu sidecars, %zu pages, %zu chains\n", total.sidecars, total.pages, total.chains);
    assert_true(total.chains > 0);
}

/* --- in a bucket ------------------------------------------------------------------------------ */

typedef struct bucket {
    server *s3;
    shardy_context *context;
    shardy_store *store;
    shardy_reader *reader;
} bucket;

/* A golden snapshot in a bucket, whose shards are read by ranges. */
static void open_bucket(bucket *b, const char *name)
{
    shardy_error err = {0};
    char dir[300];
    snprintf(dir, sizeof dir, "%s%s", snapshot, name);
    const char *const arguments[] = {"--preload", support_source(dir), NULL};
    b->s3 = server_start_s3(arguments);
    shardy_store_s3_options options;
    shardy_store_s3_options_init(&options, sizeof options);
    options.endpoint_url = server_url(b->s3);
    options.region = SERVER_REGION;
    options.access_key_id = SERVER_ACCESS_KEY;
    options.secret_access_key = SERVER_SECRET_KEY;
    options.proxy = "";
    assert_ok(shardy_context_new(NULL, &b->context, &err));
    assert_ok(shardy_store_open_s3(b->context, "s3://" SERVER_BUCKET, &options, &b->store, &err));
    shardy_reader_options reading;
    shardy_reader_options_init(&reading, sizeof reading);
    reading.store = b->store;
    reading.access = SHARDY_ACCESS_RANGE;
    assert_ok(shardy_reader_open(b->context, NULL, &reading, &b->reader, &err));
}

static void close_bucket(bucket *b)
{
    shardy_reader_close(b->reader);
    shardy_store_close(b->store);
    shardy_context_free(b->context);
    server_stop(b->s3);
}

static const char KEYED[] = "kv_sqlite_sidecar";

/* Looks each record up; gives how many shards were opened. */
static size_t check_records(const bucket *b)
{
    shardy_error err = {0};
    char path[400];
    size_t len;
    shardy_json *json = NULL;
    snprintf(path, sizeof path, "%s%s/expected.json", snapshot, KEYED);
    char *text = support_read_file(support_source(path), &len);
    assert_ok(shardy_json_parse((shardy_bytes){text, len}, &json, &err));
    const shardy_json_value *records = shardy_json_get(shardy_json_root(json), "records");
    size_t count = shardy_json_count(records);
    size_t opened = 0;
    uint64_t before = server_count(b->s3, "requests", NULL);
    assert_int_equal(count, 1500);
    for (size_t i = 0; i < count; i++) {
        const shardy_json_value *record = shardy_json_at(records, i);
        shardy_buf value;
        shardy_read_options options;
        shardy_read_stats stats = {0};
        const shardy_bytes key_text = shardy_json_string(shardy_json_get(record, "key"));
        const shardy_key key = shardy_key_text(key_text.data, key_text.len);
        const shardy_bytes expected = shardy_json_string(shardy_json_get(record, "value"));
        shardy_read_options_init(&options, sizeof options);
        options.stats = &stats;
        assert_ok(shardy_reader_get(b->reader, &key, &options, &value, &err));
        uint64_t after = server_count(b->s3, "requests", NULL);
        assert_int_equal(value.len, expected.len);
        assert_memory_equal(value.data, expected.data, value.len);
        shardy_buf_release(&value);
        /* opening a shard: its first bytes, which tell the version, and the sidecar; then a leaf,
         * and what overflows it */
        assert_true(after - before <= (stats.shards_opened ? 4u : 2u));
        before = after;
        opened += stats.shards_opened;
    }
    shardy_json_free(json);
    free(text);
    return opened;
}

static uint64_t metric(const bucket *b, shardy_metric number)
{
    return shardy_context_metric(b->context, number);
}

static void test_golden__sidecars_are_used_by_a_reader_of_a_bucket(void **state)
{
    (void)state;
    bucket b;
    open_bucket(&b, KEYED);
    uint64_t opening = server_count(b.s3, "requests", NULL);
    size_t opened = check_records(&b);
    uint64_t all = server_count(b.s3, "requests", NULL);
    print_message("%llu requests to open, %llu for 1500 values of %zu shards\n",
        (unsigned long long)opening, (unsigned long long)(all - opening), opened);
    assert_int_equal(opened, 2);
    assert_int_equal(metric(&b, SHARDY_METRIC_SIDECARS_USED), 2);
    assert_int_equal(metric(&b, SHARDY_METRIC_SIDECARS_UNUSED), 0);
    assert_int_equal(server_count(b.s3, "requests", "key=*shard.sidecar"), 2);
    close_bucket(&b);
}

static void test_golden__a_sidecar_of_another_version_of_its_shard_is_not_used(void **state)
{
    (void)state;
    bucket b;
    shardy_error err = {0};
    shardy_store_page page;
    open_bucket(&b, KEYED);
    assert_ok(shardy_store_list(b.store, "shards/", 0, NULL, 1000, &page, &err));
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        if (strstr(key, "shard.sidecar")) {
            size_t len;
            char *side = server_get_object(b.s3, SERVER_BUCKET, key, &len);
            assert_non_null(side);
            side[SIDECAR_PREFIX_LEN + 3] ^= 1; /* in the ETag that it names */
            server_put_object(b.s3, SERVER_BUCKET, key, side, len);
            free(side);
        }
    }
    shardy_store_page_dispose(&page);
    const shardy_key key = shardy_key_cstr("sidecar-key-654435761");
    shardy_buf value;
    assert_ok(shardy_reader_get(b.reader, &key, NULL, &value, &err));
    shardy_buf_release(&value);
    assert_int_equal(metric(&b, SHARDY_METRIC_SIDECARS_USED), 0);
    assert_int_equal(metric(&b, SHARDY_METRIC_SIDECARS_UNUSED), 1);
    close_bucket(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__sidecars_are_read_and_made_again),
        cmocka_unit_test(test_golden__sidecars_of_snapshots_are_read_and_made_again),
        cmocka_unit_test(test_golden__sidecars_are_used_by_a_reader_of_a_bucket),
        cmocka_unit_test(test_golden__a_sidecar_of_another_version_of_its_shard_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
