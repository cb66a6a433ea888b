/* Sidecars that the reference wrote: we read them, they are bound to their files, and what we would
 * write for the same files has the same body. */
#include "support/sidecar_testing.h"

#include <openssl/evp.h>
#include <shardyfusion/sys/store.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__sidecars_are_read_and_made_again),
        cmocka_unit_test(test_golden__sidecars_of_snapshots_are_read_and_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
