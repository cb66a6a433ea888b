/* The reader: headers, hostile pages, pieces of payloads, resumable walks. */
#include "base/bytes.h"
#include "base/context.h"
#include "support/hand_clock.h"
#include "support/sqlite_testing.h"
#include "support/sums_testing.h"
#include "sqlitefile/btree_check.h"
#include "sqlitefile/btree_fence.h"
#include "sqlitefile/btree_page.h"

/* --- a small file ----------------------------------------------------------------------------- */

enum {
    ROWS = 60
};

static uint8_t blob[5000];

static size_t value_len_of(size_t i)
{
    return i % 17 == 3 ? 1500 + i : 10 + i % 23;
}

static void key_of(size_t i, uint8_t key[8])
{
    uint64_t n = __builtin_bswap64((uint64_t)i * 1000003);
    memcpy(key, &n, 8);
}

/* Page size 512, so that there are interior pages and overflow chains: kv and a table by rowid. */
static image make_file(void)
{
    shardy_error err = {0};
    const btree_object objects[] = {
        KV_OBJECT, {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a, b)", 0}};
    image img;
    btree_writer *writer = open_writer(&img, 512, objects, 2);
    for (size_t i = 0; i < sizeof blob; i++) {
        blob[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < ROWS; i++) {
        uint8_t key[8];
        key_of(i, key);
        shardy_bytes k = {key, 8};
        shardy_bytes v = {blob + i, value_len_of(i)};
        assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
        record_value values[2] = {
            shardy__record_int((int64_t)i), shardy__record_blob(blob + i, value_len_of(i))};
        assert_ok(shardy__btree_put_row(writer, 1, (int64_t)i * 3, values, 2, &err));
    }
    finish_writer(writer, &img);
    return img;
}

/* Gets all rows. `trusted`: the answers are right. */
static void get_everything(const btree_tree *kv, int trusted)
{
    shardy_error err = {0};
    for (size_t i = 0; i < ROWS; i++) {
        uint8_t key_bytes[8];
        key_of(i, key_bytes);
        btree_key key = {RECORD_BLOB, 0, key_bytes, 8};
        shardy_buf value;
        shardy_status st = shardy__btree_get(kv, &key, 1, &value, &err);
        if (trusted) {
            assert_ok(st);
            assert_int_equal(value.len, value_len_of(i));
            assert_memory_equal(value.data, blob + i, value.len);
        } else if (st == SHARDY_OK && value.len) {
            volatile uint8_t sum = ((const uint8_t *)value.data)[value.len - 1];
            (void)sum;
        }
        shardy_buf_release(&value);
    }
}

/* Reads all of a file in every way. Counts what was answered and what was refused; asserts nothing
 * but that `trusted` answers are right: with digests no other bytes than the promised ones can be
 * served. */
static void read_everything(page_source *source, int trusted)
{
    shardy_error err = {0};
    btree_file *file = NULL;
    btree_tree kv;
    btree_tree rows;
    if (shardy__btree_open_take(source, &file, &err) < 0) {
        assert_true(!trusted && err.message[0] != 0);
        return;
    }
    int has_kv = shardy__btree_table(file, "kv", &kv, NULL, &err) == SHARDY_OK;
    int has_rows = shardy__btree_table(file, "t", &rows, NULL, &err) == SHARDY_OK;
    assert_true(!trusted || (has_kv && has_rows));
    if (has_kv) {
        get_everything(&kv, trusted);
    }
    const btree_tree *trees[] = {has_kv ? &kv : NULL, has_rows ? &rows : NULL};
    for (int t = 0; t < 2; t++) {
        if (!trees[t]) {
            continue;
        }
        btree_walk walk;
        shardy__btree_walk_init(&walk, trees[t]);
        shardy__btree_walk_first(&walk);
        shardy_status st;
        uint64_t entries = 0;
        while ((st = shardy__btree_walk_run(&walk, &err)) == SHARDY_OK) {
            record_value values[3];
            st = shardy__btree_walk_record(&walk, 1 << 20, values, 3, &err);
            if (st < 0) {
                break;
            }
            entries++;
            shardy__btree_walk_next(&walk);
        }
        assert_true(st == SHARDY_DONE || st < 0);
        /* No more entries than cells that fit into all pages. */
        assert_true(entries <= (uint64_t)file->page_count * file->page_size / 4);
        assert_true(!trusted || entries == ROWS);
        shardy__btree_walk_end(&walk);
    }
    if (has_kv) {
        shardy__fence_make(&kv);
        assert_true(!trusted || shardy__fence_of(&kv));
        get_everything(&kv, trusted);
    }
    shardy__btree_close(file);
}

static void test_mutation__any_flipped_bit_is_survived(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    size_t step = getenv("SHARDY_TEST_LONG") ? 1 : 7;
    for (size_t bit = 0; bit < img.len * 8; bit += step) {
        img.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        page_source *source = NULL;
        assert_ok(shardy__page_source_memory(img.data, img.len, NULL, &source, &err));
        read_everything(source, 0);
        img.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free_image(&img);
}

static void test_mutation__with_digests_every_answer_is_right_or_an_error(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    chunk_digest sums;
    (void)sums_make(&sums, img.data, img.len);
    page_digests digests = {img.len, sums.sums, sums.count};
    page_source *source = NULL;
    assert_ok(shardy__page_source_memory(img.data, img.len, &digests, &source, &err));
    read_everything(source, 1);
    for (size_t bit = 0; bit < img.len * 8; bit += 101) {
        img.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_ok(shardy__page_source_memory(img.data, img.len, &digests, &source, &err));
        btree_file *file = NULL;
        assert_status(SHARDY_CHECKSUM, shardy__btree_open_take(source, &file, &err));
        img.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    shardy__chunk_digest_free(&sums);
    free_image(&img);
}

static void test_mutation__a_file_cut_anywhere_is_corrupt(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    for (size_t len = 0; len < img.len; len++) {
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, img.data, len);
        page_source *source = NULL;
        btree_file *file = NULL;
        assert_ok(shardy__page_source_memory(exact, len, NULL, &source, &err));
        assert_status(SHARDY_CORRUPT, shardy__btree_open_take(source, &file, &err));
        assert_null(file);
        free(exact);
    }
    free_image(&img);
}

/* Random bytes in random places, many at once. */
static void test_mutation__random_damage_is_survived(void **state)
{
    (void)state;
    shardy_error err = {0};
    support_rand rand = {support_seed()};
    image img = make_file();
    uint8_t *copy = malloc(img.len);
    int rounds = getenv("SHARDY_TEST_LONG") ? 200000 : 5000;
    for (int round = 0; round < rounds; round++) {
        memcpy(copy, img.data, img.len);
        for (uint64_t n = 1 + support_rand_below(&rand, 12); n > 0; n--) {
            size_t at = support_rand_below(&rand, img.len);
            /* Small numbers are page numbers and lengths: the nastiest. */
            copy[at] = (uint8_t)(support_rand_below(&rand, 2) ? support_rand_below(&rand, 40)
                                                              : support_rand_u64(&rand));
        }
        memcpy(copy, img.data, 100);
        page_source *source = NULL;
        assert_ok(shardy__page_source_memory(copy, img.len, NULL, &source, &err));
        read_everything(source, 0);
    }
    free(copy);
    free_image(&img);
}

/* --- headers ---------------------------------------------------------------------------------- */

static void test_header__what_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
        shardy_status status;
    } cases[] = {
        {"magic", 0, 's', SHARDY_CORRUPT},
        {"magic's zero", 15, 1, SHARDY_CORRUPT},
        {"page size 0", 16, 0, SHARDY_CORRUPT},
        {"page size 513", 17, 1, SHARDY_CORRUPT},
        {"page size 768", 16, 3, SHARDY_CORRUPT},
        {"page size 1024 of a file of 512", 16, 4, SHARDY_CORRUPT},
        {"write version WAL", 18, 2, SHARDY_UNSUPPORTED},
        {"read version WAL", 19, 2, SHARDY_UNSUPPORTED},
        {"read version 3", 19, 3, SHARDY_CORRUPT},
        {"write version 0", 18, 0, SHARDY_CORRUPT},
        {"reserved 33 of 512", 20, 33, SHARDY_CORRUPT},
        {"payload fraction", 21, 65, SHARDY_CORRUPT},
        {"leaf fraction", 23, 31, SHARDY_CORRUPT},
        {"page count", 31, 3, SHARDY_CORRUPT},
        {"schema format 5", 47, 5, SHARDY_CORRUPT},
        {"UTF-16le", 59, 2, SHARDY_UNSUPPORTED},
        {"UTF-16be", 59, 3, SHARDY_UNSUPPORTED},
        {"encoding 4", 59, 4, SHARDY_CORRUPT},
        {"page type", 100, 10, SHARDY_CORRUPT},
        {"cell count", 103, 200, SHARDY_CORRUPT},
    };
    image img = make_file();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shardy_error err = {0};
        uint8_t before = img.data[cases[i].at];
        img.data[cases[i].at] = cases[i].value;
        page_source *source = NULL;
        btree_file *file = NULL;
        assert_ok(shardy__page_source_memory(img.data, img.len, NULL, &source, &err));
        shardy_status st = shardy__btree_open_take(source, &file, &err);
        if (st != cases[i].status) {
            fail_msg("%s: %d %s", cases[i].what, st, err.message);
        }
        img.data[cases[i].at] = before;
    }
    /* A writer that did not know of the page count: then the size of the file counts. */
    img.data[27] ^= 1;
    img.data[31] = 77;
    btree_file *file = open_image(&img);
    assert_int_equal(file->page_count, img.len / 512);
    shardy__btree_close(file);
    free_image(&img);
}

/* --- hostile pages ---------------------------------------------------------------------------- */

typedef struct hostile {
    image img;
    btree_file *file;
    btree_tree tree;
} hostile;

static hostile open_hostile(void)
{
    hostile h;
    h.img = make_file();
    h.file = open_image(&h.img);
    h.tree = find_table(h.file, "kv");
    return h;
}

static void close_hostile(hostile *h)
{
    shardy__btree_close(h->file);
    free_image(&h->img);
}

static uint8_t *page_at(hostile *h, uint32_t page)
{
    return h->img.data + (size_t)(page - 1) * 512;
}

/* The status of looking for a key that is there, and of iterating. */
static shardy_status find_status(hostile *h, size_t row, shardy_error *err)
{
    uint8_t bytes[8];
    key_of(row, bytes);
    btree_key key = {RECORD_BLOB, 0, bytes, 8};
    shardy_buf value;
    shardy_status st = shardy__btree_get(&h->tree, &key, 1, &value, err);
    shardy_buf_release(&value);
    return st;
}

static shardy_status iterate_status(hostile *h, shardy_error *err)
{
    btree_walk walk;
    shardy__btree_walk_init(&walk, &h->tree);
    shardy__btree_walk_first(&walk);
    shardy_status st;
    while ((st = shardy__btree_walk_run(&walk, err)) == SHARDY_OK) {
        shardy_bytes payload;
        st = shardy__btree_walk_payload(&walk, 1 << 20, &payload, err);
        if (st < 0) {
            break;
        }
        shardy__btree_walk_next(&walk);
    }
    shardy__btree_walk_end(&walk);
    return st;
}

static void expect_corrupt(hostile *h, const char *message)
{
    shardy_error err = {0};
    assert_status(SHARDY_CORRUPT, iterate_status(h, &err));
    if (!strstr(err.message, message)) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, message);
    }
    int corrupt = 0;
    for (size_t i = 0; i < ROWS; i++) {
        shardy_status st = find_status(h, i, &err);
        assert_true(st == SHARDY_OK || st == SHARDY_NOT_FOUND || st == SHARDY_CORRUPT);
        corrupt += st == SHARDY_CORRUPT;
    }
    assert_true(corrupt > 0);
    close_hostile(h);
}

static void test_page__a_child_that_is_its_own_parent_is_corrupt(void **state)
{
    (void)state;
    hostile h = open_hostile();
    assert_int_equal(page_at(&h, 2)[0], 2);
    shardy__put_be32(page_at(&h, 2) + 8, 2);
    expect_corrupt(&h, "");
    h = open_hostile();
    uint32_t cell = shardy__get_be16(page_at(&h, 2) + 12);
    shardy__put_be32(page_at(&h, 2) + cell, 2);
    expect_corrupt(&h, "tree is too deep");
}

static void test_page__a_child_beyond_the_file_is_corrupt(void **state)
{
    (void)state;
    static const uint32_t children[] = {0, 100000, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        hostile h = open_hostile();
        shardy__put_be32(page_at(&h, 2) + 8, children[i]);
        expect_corrupt(&h, "is named");
    }
}

static void test_page__a_tree_with_one_page_many_times_ends(void **state)
{
    (void)state;
    shardy_error err = {0};
    /* All children are the first one: entries come again and again, but not more pages than the
     * file has. */
    hostile h = open_hostile();
    uint8_t *root = page_at(&h, 2);
    uint32_t cells = shardy__get_be16(root + 3);
    uint32_t child = shardy__get_be32(root + shardy__get_be16(root + 12));
    for (uint32_t i = 0; i < cells; i++) {
        shardy__put_be32(root + shardy__get_be16(root + 12 + 2 * i), child);
    }
    shardy_status st = iterate_status(&h, &err);
    assert_true(st == SHARDY_DONE || st == SHARDY_CORRUPT);
    close_hostile(&h);
}

/* Interior pages that all point at each other's level below: 30 ^ depth leaves from a handful of
 * pages. */
static void test_page__a_fan_of_shared_pages_ends(void **state)
{
    (void)state;
    shardy_error err = {0};
    enum {
        LEVELS = 12,
        FAN = 60
    };
    image img;
    btree_writer *writer = open_writer(&img, 1024, &KV_OBJECT, 1);
    finish_writer(writer, &img);
    size_t pages = 2 + LEVELS;
    img.data = realloc(img.data, pages * 1024);
    img.len = img.room = pages * 1024;
    memset(img.data + 1024, 0, (pages - 1) * 1024);
    for (uint32_t page = 2; page <= pages; page++) {
        uint8_t *p = img.data + (size_t)(page - 1) * 1024;
        int leaf = page == pages;
        uint32_t header = leaf ? 8 : 12;
        p[0] = leaf ? 10 : 2;
        shardy__put_be16(p + 3, leaf ? 1 : FAN);
        for (uint32_t i = 0; i < (leaf ? 1u : (uint32_t)FAN); i++) {
            uint32_t at = 1024 - 12 * (i + 1);
            uint8_t *cell = p + at;
            shardy__put_be16(p + header + 2 * i, (uint16_t)at);
            if (!leaf) {
                shardy__put_be32(cell, page + 1);
                cell += 4;
            }
            memcpy(cell, "\x05\x03\x0e\x0e\x11\x22", 6);
        }
        if (!leaf) {
            shardy__put_be32(p + 8, page + 1);
        }
    }
    shardy__put_be32(img.data + 28, (uint32_t)pages);
    hostile h = {img, open_image(&img), {0}};
    h.tree = find_table(h.file, "kv");
    assert_status(SHARDY_CORRUPT, iterate_status(&h, &err));
    assert_non_null(strstr(err.message, "more pages than the file"));
    shardy__fence_make(&h.tree);
    close_hostile(&h);
}

static void test_page__cell_pointers_beyond_the_page_are_corrupt(void **state)
{
    (void)state;
    static const uint16_t pointers[] = {0, 5, 20, 508, 511, 512, 65535};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        hostile h = open_hostile();
        uint8_t *root = page_at(&h, 2);
        uint32_t cells = shardy__get_be16(root + 3);
        for (uint32_t c = 0; c < cells; c++) {
            shardy__put_be16(root + 12 + 2 * c, pointers[i]);
        }
        shardy_error err = {0};
        assert_status(SHARDY_CORRUPT, iterate_status(&h, &err));
        assert_status(SHARDY_CORRUPT, find_status(&h, 30, &err));
        close_hostile(&h);
    }
}

static void test_page__more_cells_than_room_is_corrupt(void **state)
{
    (void)state;
    hostile h = open_hostile();
    shardy__put_be16(page_at(&h, 2) + 3, 251);
    expect_corrupt(&h, "more cells than it has room for");
    h = open_hostile();
    shardy__put_be16(page_at(&h, 2) + 3, 65535);
    expect_corrupt(&h, "more cells than it has room for");
}

static void test_page__a_page_of_another_tree_is_corrupt(void **state)
{
    (void)state;
    static const uint8_t types[] = {0, 1, 5, 13, 255};
    for (size_t i = 0; i < sizeof types; i++) {
        hostile h = open_hostile();
        page_at(&h, 2)[0] = types[i];
        expect_corrupt(&h, "type of another tree");
    }
}

/* The cell of a leaf whose payload overflows: its page, and where it starts. */
static uint8_t *find_overflow(hostile *h, uint32_t *end_out)
{
    for (uint32_t page = 3; page <= h->file->page_count; page++) {
        uint8_t *p = page_at(h, page);
        if (p[0] != 10) {
            continue;
        }
        for (uint32_t c = 0; c < shardy__get_be16(p + 3); c++) {
            uint8_t *cell = p + shardy__get_be16(p + 8 + 2 * c);
            uint64_t payload = 0;
            size_t n = shardy__varint_get(cell, 9, &payload);
            if (payload > 102) {
                uint32_t local = 39 + (uint32_t)((payload - 39) % 508);
                *end_out = (uint32_t)n + (local <= 102 ? local : 39);
                return cell;
            }
        }
    }
    fail();
    return NULL;
}

static void test_overflow__chains_are_bounded(void **state)
{
    (void)state;
    shardy_error err = {0};
    uint32_t end = 0;
    /* To a page that does not exist, to nothing, to itself. */
    static const uint32_t firsts[] = {0, 99999, 1};
    for (size_t i = 0; i < 3; i++) {
        hostile h = open_hostile();
        uint8_t *cell = find_overflow(&h, &end);
        uint32_t first = shardy__get_be32(cell + end);
        if (firsts[i] == 1) {
            shardy__put_be32(page_at(&h, first), first);
            shardy_status st = iterate_status(&h, &err);
            assert_true(st == SHARDY_DONE || st == SHARDY_CORRUPT);
        } else {
            shardy__put_be32(cell + end, firsts[i]);
            assert_status(SHARDY_CORRUPT, iterate_status(&h, &err));
        }
        close_hostile(&h);
    }
    /* A length that no file of this size can hold. */
    hostile h = open_hostile();
    uint8_t *cell = find_overflow(&h, &end);
    cell[0] = 0xFF;
    assert_status(SHARDY_CORRUPT, iterate_status(&h, &err));
    close_hostile(&h);
}

/* Rows that all claim the same long chain: reading them all stays within the size of the file. */
static void test_overflow__a_shared_chain_cannot_be_read_for_ever(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img;
    btree_writer *writer = open_writer(&img, 512, &KV_OBJECT, 1);
    uint8_t *big = calloc(1, 100000);
    for (uint8_t i = 0; i < 200; i++) {
        shardy_bytes k = {&i, 1};
        shardy_bytes v = {big, i == 0 ? 100000 : 200};
        assert_ok(shardy__btree_put_kv(writer, 0, k, v, &err));
    }
    free(big);
    finish_writer(writer, &img);
    uint32_t end = 0;
    hostile h = {img, open_image(&img), {0}};
    h.tree = find_table(h.file, "kv");
    uint8_t *cell = find_overflow(&h, &end);
    uint8_t length[3] = {cell[0], cell[1], cell[2]};
    uint32_t first = shardy__get_be32(cell + end);
    assert_true(length[0] >= 0x80 && length[1] >= 0x80);
    /* Put the long row's cell over all others of its page. */
    for (uint32_t page = 3; page <= h.file->page_count; page++) {
        uint8_t *p = page_at(&h, page);
        if (p[0] != 10) {
            continue;
        }
        for (uint32_t c = 0; c < shardy__get_be16(p + 3); c++) {
            uint8_t *other = p + shardy__get_be16(p + 8 + 2 * c);
            if (other + end + 4 <= p + 512) {
                memcpy(other, length, 3);
                shardy__put_be32(other + end, first);
            }
        }
    }
    assert_status(SHARDY_CORRUPT, iterate_status(&h, &err));
    close_hostile(&h);
}

static void test_find__a_value_that_is_no_text_or_blob_is_corrupt(void **state)
{
    (void)state;
    shardy_error err = {0};
    sqlite3 *db = new_db(4096);
    run_sql(db, "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;"
                "INSERT INTO kv VALUES(x'01', 5), (x'02', NULL), (x'03', 'text'), (x'04', x''), "
                "('text', x'07')");
    image img = take_image(db);
    btree_file *file = open_image(&img);
    btree_tree tree = find_table(file, "kv");
    static const shardy_status expected[] = {SHARDY_CORRUPT, SHARDY_CORRUPT, SHARDY_OK, SHARDY_OK};
    for (uint8_t i = 1; i <= 4; i++) {
        btree_key key = {RECORD_BLOB, 0, &i, 1};
        shardy_buf value;
        assert_status(expected[i - 1], shardy__btree_get(&tree, &key, 1, &value, &err));
        assert_int_equal(value.len, i == 3 ? 4 : 0);
        shardy_buf_release(&value);
        shardy_bytes keys[3] = {{&i, 1}, {"zz", 2}, {"", 0}};
        shardy_buf values[3];
        int32_t statuses[3];
        assert_status(expected[i - 1], shardy__btree_get_many(&tree, RECORD_BLOB, keys, 3, 1,
                                           (btree_answers){values, statuses}, &err));
        shardy__btree_values_clear(values, 3);
    }
    /* A text key is not the blob of the same bytes. */
    btree_key key = {RECORD_BLOB, 0, "text", 4};
    shardy_buf value;
    assert_status(SHARDY_NOT_FOUND, shardy__btree_get(&tree, &key, 1, &value, &err));
    key.type = RECORD_TEXT;
    assert_ok(shardy__btree_get(&tree, &key, 1, &value, &err));
    assert_int_equal(*(const uint8_t *)value.data, 7);
    shardy_buf_release(&value);
    shardy__btree_close(file);
    free_image(&img);
    sqlite3_close(db);
}

/* --- looking at every page -------------------------------------------------------------------- */

/* The first damage of the schema or a tree; *page_out is where. */
static shardy_status check_file(const btree_file *file, uint32_t *page_out, shardy_error *err)
{
    const btree_check_spec spec = {file, NULL, 0, NULL, NULL, NULL};
    const btree_visit visit = {NULL, NULL, 0, 0};
    btree_check c;
    uint64_t entries = 0;
    assert_int_equal(shardy__btree_check_init(&c, &spec, err), SHARDY_OK);
    shardy_status st = shardy__btree_check_tree(&c, NULL, &visit, &entries, err);
    for (uint32_t i = 0; i < file->object_count && st >= 0; i++) {
        assert_int_equal(entries, i == 0 ? file->object_count : ROWS);
        st = shardy__btree_check_tree(&c, &file->objects[i], &visit, &entries, err);
    }
    *page_out = c.page;
    shardy__btree_check_free(&c);
    return st;
}

/* Nothing tells the last page of a chain, whose bytes may be any, from one that is lost. */
static void test_check__finds_every_page_that_is_lost_but_the_last_of_a_payload(void **state)
{
    (void)state;
    shardy_error err = {0};
    hostile h = open_hostile();
    uint32_t damaged = 0;
    uint32_t last = 0;
    assert_ok(check_file(h.file, &damaged, &err));
    for (uint32_t page = 2; page <= h.file->page_count; page++) {
        uint8_t kept[512];
        memcpy(kept, page_at(&h, page), 512);
        const int ends_chain = shardy__get_be32(kept) == 0;
        memset(page_at(&h, page), 0, 512);
        assert_status(ends_chain ? SHARDY_OK : SHARDY_CORRUPT, check_file(h.file, &damaged, &err));
        const int next = kept[0] == 0 && damaged == shardy__get_be32(kept);
        assert_true(ends_chain || damaged == page || damaged == 0 || next);
        last += (uint32_t)ends_chain;
        memcpy(page_at(&h, page), kept, 512);
    }
    assert_int_equal(last, 8);
    close_hostile(&h);
}

static void must_find(hostile *h, uint8_t *at, uint8_t byte, const char *message)
{
    shardy_error err = {0};
    uint32_t page;
    const uint8_t kept = *at;
    *at = byte;
    assert_status(SHARDY_CORRUPT, check_file(h->file, &page, &err));
    if (!strstr(err.message, message)) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, message);
    }
    *at = kept;
}

static void test_check__finds_what_look_ups_would_pass_by(void **state)
{
    (void)state;
    hostile h = open_hostile();
    const btree_tree rows = find_table(h.file, "t");
    uint8_t *root = page_at(&h, rows.root);
    uint8_t *first = root + shardy__get_be16(root + PAGE_INTERIOR_HEADER);
    uint8_t *second = root + shardy__get_be16(root + PAGE_INTERIOR_HEADER + 2);
    assert_int_equal(root[0], PAGE_TABLE_INTERIOR);
    assert_true(first[4] < 0x80 - 3);
    must_find(&h, &second[3], first[3], "used by two");
    must_find(&h, &first[4], (uint8_t)(first[4] - 1), "rowids below it are greater");
    must_find(&h, &first[4], (uint8_t)(first[4] + 3), "rowids are not in order");
    uint32_t end = 0;
    const uint8_t *cell = find_overflow(&h, &end);
    uint8_t *overflow = page_at(&h, shardy__get_be32(cell + end));
    uint8_t *last = overflow;
    while (shardy__get_be32(last)) {
        last = page_at(&h, shardy__get_be32(last));
    }
    must_find(&h, &last[3], 2, "goes on behind the end of its payload");
    must_find(&h, &overflow[3], (uint8_t)h.tree.root, "used by two");
    must_find(&h, &overflow[0], 9, "leads to page");
    close_hostile(&h);
}

/* --- payloads --------------------------------------------------------------------------------- */

static void test_payload__pieces_are_the_bytes_and_lie_in_the_file(void **state)
{
    (void)state;
    shardy_error err = {0};
    size_t len = 1500000;
    uint8_t *big = malloc(len);
    support_rand rand = {support_seed()};
    for (size_t i = 0; i < len; i++) {
        big[i] = (uint8_t)support_rand_u64(&rand);
    }
    btree_object object = {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a, b)", 0};
    image img;
    btree_writer *writer = open_writer(&img, 4096, &object, 1);
    record_value values[2] = {shardy__record_int(5), shardy__record_blob(big, len)};
    assert_ok(shardy__btree_put_row(writer, 0, 1, values, 2, &err));
    finish_writer(writer, &img);
    for (int shy_pages = 0; shy_pages < 2; shy_pages++) {
        shy_source shy;
        btree_file *file = shy_pages ? open_shy(&shy, &img) : open_image(&img);
        btree_tree tree = find_table(file, "t");
        btree_walk walk;
        shardy__btree_walk_init(&walk, &tree);
        btree_key key = {RECORD_INT, 1, NULL, 0};
        shardy__btree_walk_find(&walk, &key);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        record_column column;
        assert_ok(shardy__btree_walk_field(&walk, 1, &column, &err));
        assert_int_equal(column.len, len);
        for (int round = 0; round < 20; round++) {
            uint64_t from = round ? support_rand_below(&rand, len) : 0;
            uint64_t want = round ? support_rand_below(&rand, len - from + 1) : len;
            btree_payload payload;
            assert_ok(shardy__btree_payload_start(
                &payload, file, &walk.cell, column.offset + from, want, &err));
            const uint8_t *piece = NULL;
            size_t n = 0;
            uint64_t at = from;
            shardy_status st;
            while ((st = shardy__btree_payload_run(&payload, &piece, &n, &err)) == SHARDY_OK) {
                assert_true(n > 0 && n <= 4092);
                assert_memory_equal(piece, big + at, n);
                if (!shy_pages) {
                    assert_true(piece >= img.data && piece + n <= img.data + img.len);
                }
                at += n;
            }
            assert_int_equal(st, SHARDY_DONE);
            assert_int_equal(at, from + want);
            shardy__btree_payload_end(&payload);
        }
        shardy__btree_walk_end(&walk);
        shardy__btree_close(file);
    }
    free(big);
    free_image(&img);
}

static void test_payload__a_header_on_overflow_pages_is_read(void **state)
{
    (void)state;
    shardy_error err = {0};
    enum {
        COLUMNS = 1500
    };
    record_value values[COLUMNS];
    record_value back[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        values[i] = shardy__record_text((const char *)blob, 70);
    }
    values[COLUMNS - 1] = shardy__record_blob("last", 4);
    btree_object object = {BTREE_OBJECT_TABLE, "t", NULL, "CREATE TABLE t(a)", 0};
    image img;
    btree_writer *writer = open_writer(&img, 512, &object, 1);
    assert_ok(shardy__btree_put_row(writer, 0, 1, values, COLUMNS, &err));
    finish_writer(writer, &img);
    shy_source shy;
    btree_file *file = open_shy(&shy, &img);
    btree_tree tree = find_table(file, "t");
    btree_key key = {RECORD_INT, 1, NULL, 0};
    shardy_buf value;
    assert_ok(shardy__btree_get(&tree, &key, COLUMNS - 1, &value, &err));
    assert_int_equal(value.len, 4);
    assert_memory_equal(value.data, "last", 4);
    shardy_buf_release(&value);
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    shardy__btree_walk_first(&walk);
    assert_ok(shardy__btree_walk_run(&walk, &err));
    assert_status(SHARDY_CORRUPT, shardy__btree_walk_record(&walk, 1000, back, COLUMNS, &err));
    assert_ok(shardy__btree_walk_record(&walk, 1 << 20, back, COLUMNS, &err));
    for (int i = 0; i < COLUMNS; i++) {
        assert_int_equal(shardy__record_compare(&values[i], &back[i]), 0);
    }
    shardy__btree_walk_end(&walk);
    shardy__btree_close(file);
    assert_int_equal(shy.held, 0);
    free_image(&img);
}

/* --- resumable walks -------------------------------------------------------------------------- */

static void test_walk__asks_for_one_page_of_each_level(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    shy_source shy;
    btree_file *file = open_shy(&shy, &img);
    btree_tree tree = find_table(file, "kv");
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    uint8_t bytes[8];
    key_of(1, bytes);
    btree_key key = {RECORD_BLOB, 0, bytes, 8};
    shardy__btree_walk_find(&walk, &key);
    uint32_t asked[10];
    int steps = 0;
    shardy_status st;
    while ((st = shardy__btree_walk_step(&walk, &err)) == SHARDY_PENDING) {
        assert_true(steps < 10);
        asked[steps++] = walk.want.page;
        /* Asking again without the page changes nothing. */
        assert_int_equal(shardy__btree_walk_step(&walk, &err), SHARDY_PENDING);
        assert_int_equal(walk.want.page, asked[steps - 1]);
        page_want *const wants[1] = {&walk.want};
        assert_ok(shardy__page_fetch(file->source, wants, 1, NULL, &err));
    }
    assert_int_equal(st, SHARDY_OK);
    assert_int_equal(asked[0], tree.root);
    assert_true(steps >= 2 && steps <= 3);
    assert_int_equal(shy.held, 1);
    shardy__btree_walk_end(&walk);
    assert_int_equal(shy.held, 0);
    /* Ended while it waits, with and without the page. */
    for (int fetched = 0; fetched < 2; fetched++) {
        shardy__btree_walk_find(&walk, &key);
        assert_int_equal(shardy__btree_walk_step(&walk, &err), SHARDY_PENDING);
        if (fetched) {
            page_want *const wants[1] = {&walk.want};
            assert_ok(shardy__page_fetch(file->source, wants, 1, NULL, &err));
        }
        shardy__btree_walk_end(&walk);
        assert_int_equal(shy.held, 0);
    }
    shardy__btree_close(file);
    free_image(&img);
}

static void test_batch__needs_one_fetch_for_each_level(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    shy_source shy;
    btree_file *file = open_shy(&shy, &img);
    btree_tree tree = find_table(file, "kv");
    uint8_t bytes[ROWS][8];
    shardy_bytes keys[ROWS];
    shardy_buf values[ROWS];
    int32_t statuses[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        key_of(i, bytes[i]);
        keys[i] = (shardy_bytes){bytes[i], 8};
    }
    shy.fetches = 0;
    assert_ok(shardy__btree_get_many(
        &tree, RECORD_BLOB, keys, ROWS, 1, (btree_answers){values, statuses}, &err));
    /* Two or three levels, and the longest chain of overflow pages: never one by one. */
    assert_in_range(shy.fetches, 2, 3 + 1600 / 508 + 1);
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(statuses[i], SHARDY_OK);
        assert_int_equal(values[i].len, value_len_of(i));
        assert_memory_equal(values[i].data, blob + i, values[i].len);
    }
    shardy__btree_values_clear(values, ROWS);
    assert_int_equal(shy.held, 0);
    shardy__btree_close(file);
    free_image(&img);
}

/* One after the other in one tree, by one walk: blobs and texts of the same bytes, whose cells do
 * not begin alike. */
static void test_walk__started_again_it_finds_keys_of_the_other_class(void **state)
{
    (void)state;
    shardy_error err = {0};
    sqlite3 *db = new_db(4096);
    run_sql(db, "CREATE TABLE kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;"
                "WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 399) "
                "INSERT INTO kv SELECT CAST(printf('%06d', i) AS BLOB), 'b' || i FROM n "
                "UNION ALL SELECT printf('%06d', i), 't' || i FROM n");
    image img = take_image(db);
    btree_file *file = open_image(&img);
    btree_tree tree = find_table(file, "kv");
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    for (int i = 0; i < 800; i++) {
        char bytes[16];
        char value[16];
        int is_text = i % 2;
        snprintf(bytes, sizeof bytes, "%06d", i / 2);
        size_t len = (size_t)snprintf(value, sizeof value, "%c%d", is_text ? 't' : 'b', i / 2);
        btree_key key = {is_text ? RECORD_TEXT : RECORD_BLOB, 0, bytes, 6};
        shardy__btree_walk_find(&walk, &key);
        assert_ok(shardy__btree_walk_run(&walk, &err));
        record_value values[2];
        assert_ok(shardy__btree_walk_record(&walk, 4096, values, 2, &err));
        assert_int_equal(values[1].len, len);
        assert_memory_equal(values[1].data, value, len);
    }
    shardy__btree_walk_end(&walk);
    shardy__btree_close(file);
    free_image(&img);
    sqlite3_close(db);
}

static void test_walk__misuse_is_told(void **state)
{
    (void)state;
    shardy_error err = {0};
    image img = make_file();
    btree_file *file = open_image(&img);
    btree_tree tree = find_table(file, "kv");
    btree_walk walk;
    shardy__btree_walk_init(&walk, &tree);
    assert_status(SHARDY_MISUSE, shardy__btree_walk_step(&walk, &err));
    shardy_bytes payload;
    assert_status(SHARDY_MISUSE, shardy__btree_walk_payload(&walk, 10, &payload, &err));
    uint8_t bytes[8];
    key_of(5, bytes);
    btree_key key = {RECORD_BLOB, 0, bytes, 8};
    shardy__btree_walk_find(&walk, &key);
    assert_ok(shardy__btree_walk_run(&walk, &err));
    assert_ok(shardy__btree_walk_run(&walk, &err)); /* still there */
    shardy__btree_walk_next(&walk);
    assert_status(SHARDY_MISUSE, shardy__btree_walk_step(&walk, &err));
    key.len = 0xFFFFFFFFu;
    shardy__btree_walk_find(&walk, &key);
    assert_status(SHARDY_INVALID, shardy__btree_walk_step(&walk, &err));
    shardy__btree_walk_end(&walk);
    shardy__btree_close(file);
    free_image(&img);
}

/* --- short cuts ------------------------------------------------------------------------------- */

/* Kinds of keys and files for which a fence is made. */
typedef struct fence_case {
    uint32_t page_size;
    int wild;           /* steps between keys of very different sizes */
    const char *prefix; /* of the key as text; NULL: 8 bytes */
    const char *suffix;
    uint32_t value_len; /* at least 8 */
    int ragged;         /* keys of many lengths */
} fence_case;

enum {
    FENCE_ROWS = 20000
};

static shardy_bytes fence_key(const fence_case *c, uint64_t n, char text[64])
{
    if (!c->prefix) {
        shardy__put_be64(text, n);
        return (shardy_bytes){text, 8};
    }
    size_t len =
        (size_t)snprintf(text, 64, "%s%016llx%s", c->prefix, (unsigned long long)n, c->suffix);
    size_t more = c->ragged ? n % 23 : 0;
    memset(text + len, 'x', more);
    return (shardy_bytes){text, len + more};
}

static image fence_file(const fence_case *c, support_rand *rand, uint64_t *numbers)
{
    static uint8_t bytes[4096];
    shardy_error err = {0};
    image img;
    btree_writer *writer = open_writer(&img, c->page_size, &KV_OBJECT, 1);
    uint64_t n = 0;
    for (size_t i = 0; i < FENCE_ROWS; i++) {
        char text[64];
        n += c->wild ? 2 + (support_rand_u64(rand) >> (45 + support_rand_below(rand, 18))) : 2;
        numbers[i] = n;
        memcpy(bytes, &numbers[i], 8);
        size_t len = i % 50 == 7 ? sizeof bytes : c->value_len;
        assert_ok(shardy__btree_put_kv(
            writer, 0, fence_key(c, n, text), (shardy_bytes){bytes, len}, &err));
    }
    finish_writer(writer, &img);
    return img;
}

/* Each row is found and what lies between two rows is not, one by one and in batches. */
static void check_fence_gets(const btree_tree *tree, const fence_case *c, const uint64_t *numbers)
{
    enum {
        BATCH = 250
    };
    shardy_error err = {0};
    char texts[BATCH][64];
    shardy_bytes keys[BATCH];
    shardy_buf values[BATCH];
    int32_t statuses[BATCH];
    for (size_t i = 0; i < FENCE_ROWS; i += BATCH / 2) {
        for (size_t j = 0; j < BATCH; j++) {
            /* in no order: 77 has no divisor in common with 250 */
            keys[j] =
                fence_key(c, numbers[i + j * 77 % BATCH / 2] + (j * 77 % BATCH) % 2, texts[j]);
        }
        assert_ok(shardy__btree_get_many(
            tree, RECORD_BLOB, keys, BATCH, 1, (btree_answers){values, statuses}, &err));
        for (size_t j = 0; j < BATCH; j++) {
            uint64_t at = i + j * 77 % BATCH / 2;
            int absent = (j * 77 % BATCH) % 2;
            btree_key key = {RECORD_BLOB, 0, keys[j].data, keys[j].len};
            shardy_buf value;
            shardy_status st = shardy__btree_get(tree, &key, 1, &value, &err);
            assert_int_equal(st, absent ? SHARDY_NOT_FOUND : SHARDY_OK);
            assert_int_equal(statuses[j], st);
            assert_int_equal(value.len, absent ? 0 : at % 50 == 7 ? 4096 : c->value_len);
            assert_int_equal(values[j].len, value.len);
            if (!absent) {
                assert_memory_equal(value.data, &numbers[at], 8);
                assert_memory_equal(values[j].data, value.data, value.len);
            }
            shardy_buf_release(&value);
        }
        shardy__btree_values_clear(values, BATCH);
    }
}

static void test_fence__answers_are_the_same(void **state)
{
    (void)state;
    static const fence_case cases[] = {
        {4096, 0, NULL, NULL, 8, 0},
        {512, 1, NULL, NULL, 8, 0},
        {4096, 1, NULL, NULL, 100, 0},
        {65536, 1, NULL, NULL, 20, 0},
        {4096, 0, "tenant/and/a/long/prefix/", "", 8, 0},
        {512, 1, "tenant/and/a/long/prefix/", "", 30, 0},
        {4096, 1, "", " and more than one window", 60, 0},
        {1024, 1, "", "", 300, 1},
    };
    shardy_error err = {0};
    support_rand rand = {support_seed()};
    uint64_t *numbers = calloc(FENCE_ROWS, sizeof *numbers);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        image img = fence_file(&cases[i], &rand, numbers);
        btree_file *file = open_image(&img);
        file->fences = 0; /* until it is made */
        btree_tree tree = find_table(file, "kv");
        check_fence_gets(&tree, &cases[i], numbers);
        assert_null(shardy__fence_of(&tree));
        file->fences = 1;
        shardy__fence_make(&tree);
        assert_non_null(shardy__fence_of(&tree));
        check_fence_gets(&tree, &cases[i], numbers);
        static const char *const strange[] = {"", "t", "tenant/and/a/long/prefix",
            "tenant/and/a/long/prefiy", "zzzz", "tenant/and/a/long/prefix/99999999999999999999999"};
        for (size_t k = 0; k < sizeof strange / sizeof *strange; k++) {
            btree_key key = {RECORD_BLOB, 0, strange[k], strlen(strange[k])};
            shardy_buf value;
            assert_status(SHARDY_NOT_FOUND, shardy__btree_get(&tree, &key, 1, &value, &err));
        }
        shardy__btree_close(file);
        free_image(&img);
    }
    free(numbers);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* Time goes on by a second whenever it is looked at. */
static void test_batch__of_pages_at_hand_ends_at_its_deadline_and_when_it_is_cancelled(void **state)
{
    (void)state;
    static const fence_case plain = {4096, 0, NULL, NULL, 8, 0};
    shardy_error err = {0};
    support_rand rand = {support_seed()};
    hand_clock clock;
    shardy_context *context = hand_clock_context(&clock);
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    uint64_t *numbers = calloc(FENCE_ROWS, sizeof *numbers);
    char(*texts)[64] = calloc(FENCE_ROWS, sizeof *texts);
    shardy_bytes *keys = calloc(FENCE_ROWS, sizeof *keys);
    shardy_buf *values = calloc(FENCE_ROWS, sizeof *values);
    int32_t *statuses = calloc(FENCE_ROWS, sizeof *statuses);
    assert_true(numbers && texts && keys && values && statuses);
    image img = fence_file(&plain, &rand, numbers);
    btree_file *file = open_image(&img);
    file->fences = 0; /* until it is made */
    btree_tree tree = find_table(file, "kv");
    for (size_t i = 0; i < FENCE_ROWS; i++) {
        keys[i] = fence_key(&plain, numbers[i], texts[i]);
    }
    for (int with_fence = 0; with_fence < 2; with_fence++) {
        const btree_answers answers = {values, statuses};
        page_limits limits = {0, NULL, context};
        tree.limits = &limits;
        clock.step_ns = 1000000000;
        limits.deadline_ns = clock.monotonic_ns + 3500000000;
        assert_status(SHARDY_TIMEOUT,
            shardy__btree_get_many(&tree, RECORD_BLOB, keys, FENCE_ROWS, 1, answers, &err));
        /* it was asked four times, not for each key and not only at the ends */
        assert_int_equal(limits.deadline_ns + 500000000, clock.monotonic_ns);
        limits.deadline_ns = clock.monotonic_ns + (int64_t)FENCE_ROWS / 100 * 1000000000;
        assert_ok(shardy__btree_get_many(&tree, RECORD_BLOB, keys, FENCE_ROWS, 1, answers, &err));
        shardy__btree_values_clear(values, FENCE_ROWS);
        limits = (page_limits){0, cancel, context};
        shardy_cancel_request(cancel);
        assert_status(SHARDY_CANCELLED,
            shardy__btree_get_many(&tree, RECORD_BLOB, keys, FENCE_ROWS, 1, answers, &err));
        shardy_cancel_free(cancel);
        assert_ok(shardy_cancel_new(&cancel, &err));
        file->fences = 1;
        shardy__fence_make(&tree);
        assert_non_null(shardy__fence_of(&tree));
    }
    shardy__btree_close(file);
    free_image(&img);
    free(statuses);
    free(values);
    free(keys);
    free(texts);
    free(numbers);
    shardy_cancel_free(cancel);
    shardy_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutation__any_flipped_bit_is_survived),
        cmocka_unit_test(test_mutation__with_digests_every_answer_is_right_or_an_error),
        cmocka_unit_test(test_mutation__a_file_cut_anywhere_is_corrupt),
        cmocka_unit_test(test_mutation__random_damage_is_survived),
        cmocka_unit_test(test_header__what_is_wrong_is_refused),
        cmocka_unit_test(test_page__a_child_that_is_its_own_parent_is_corrupt),
        cmocka_unit_test(test_page__a_child_beyond_the_file_is_corrupt),
        cmocka_unit_test(test_page__a_tree_with_one_page_many_times_ends),
        cmocka_unit_test(test_page__a_fan_of_shared_pages_ends),
        cmocka_unit_test(test_page__cell_pointers_beyond_the_page_are_corrupt),
        cmocka_unit_test(test_page__more_cells_than_room_is_corrupt),
        cmocka_unit_test(test_page__a_page_of_another_tree_is_corrupt),
        cmocka_unit_test(test_overflow__chains_are_bounded),
        cmocka_unit_test(test_overflow__a_shared_chain_cannot_be_read_for_ever),
        cmocka_unit_test(test_check__finds_every_page_that_is_lost_but_the_last_of_a_payload),
        cmocka_unit_test(test_check__finds_what_look_ups_would_pass_by),
        cmocka_unit_test(test_find__a_value_that_is_no_text_or_blob_is_corrupt),
        cmocka_unit_test(test_payload__pieces_are_the_bytes_and_lie_in_the_file),
        cmocka_unit_test(test_payload__a_header_on_overflow_pages_is_read),
        cmocka_unit_test(test_walk__asks_for_one_page_of_each_level),
        cmocka_unit_test(test_batch__needs_one_fetch_for_each_level),
        cmocka_unit_test(test_walk__started_again_it_finds_keys_of_the_other_class),
        cmocka_unit_test(test_walk__misuse_is_told),
        cmocka_unit_test(test_fence__answers_are_the_same),
        cmocka_unit_test(
            test_batch__of_pages_at_hand_ends_at_its_deadline_and_when_it_is_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
