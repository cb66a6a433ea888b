/* The check of a chunk when it is first touched, on every way to it: a bit is flipped in each chunk
 * of a shard of many chunks before it is opened, and then look-ups come from the root and, once the
 * shard was asked often enough for a fence (btree_fence.h), straight at the leaf. Keys whose
 * chunk was changed are refused, all others are answered, and nothing is answered wrongly.
 *
 * planted/plant.py leaves out one check after the other; each must be found here. */
#include "support/support.h"

#include "base/bytebuf.h"
#include "sqlitefile/btree_fence.h"

#include <shardyfusion/shardyfusion.h>
#include <shardyfusion/sys/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS      6000u
#define LONG_STEP 1000u /* each such row has a value on pages of its own, more than a chunk */
#define SHORT_LEN 90u
#define LONG_LEN  75000u
#define WORD_LEN  15u /* values repeat one */
#define PAGE_LEN  4096u
#define CHUNK_LEN 65536u
#define KEY_LEN   11u
/* More than are counted before a fence is made, and those that make it. */
#define WARM_GETS  (FENCE_GETS + 128u)
#define WARM_GROUP 32u
#define AROUND     4u /* rows before and after the one that was hit */
#define GROUP_MAX  (2u * (2u * AROUND + 1u) + 32u)
#define NOT_A_ROW  UINT32_MAX
#define CHUNKS_MAX 64u

static shardy_error err;

typedef struct fixture {
    shardy_store *local;
    shardy_store *memory;
    char *dir;
    char shard_key[200];
    uint8_t *shard;
    size_t shard_len;
    uint32_t chunks;
    uint8_t essential[CHUNKS_MAX]; /* has pages that every look-up needs */
    uint32_t chunk_of[ROWS];       /* where the key of the row is */
} fixture;

typedef enum flip_kind {
    FLIP_KEY = 0,
    FLIP_SEPARATOR, /* a key of an interior page */
    FLIP_VALUE,
    FLIP_ANY,
    FLIP_KINDS
} flip_kind;

typedef struct bit_flip {
    uint32_t chunk;
    flip_kind kind;
    size_t at;
    uint8_t bit;
    uint32_t row; /* the nearest that is known */
} bit_flip;

typedef struct read_way {
    const char *name;
    int local;
    int32_t io;
    int32_t access;
} read_way;

typedef struct counts {
    uint32_t right;
    uint32_t refused;
} counts;

/* --- the shard -------------------------------------------------------------------------------- */

/* Keys have even numbers: with its last bit flipped, a key is one that is absent. */
static void make_key(uint32_t row, char key[KEY_LEN + 2])
{
    snprintf(key, KEY_LEN + 2, "key-%07u", 2 * row);
}

static size_t make_value(uint32_t row, char value[LONG_LEN])
{
    size_t len = row % LONG_STEP == 7 ? LONG_LEN : SHORT_LEN;
    char word[32];
    snprintf(word, sizeof word, "value %07u, ", row);
    for (size_t at = 0; at < len; at += WORD_LEN) {
        memcpy(value + at, word, WORD_LEN);
    }
    return len;
}

static void put_rows(shardy_writer *w)
{
    static char value[LONG_LEN];
    for (uint32_t i = 0; i < ROWS; i++) {
        char key[KEY_LEN + 2];
        shardy_row row;
        make_key(i, key);
        shardy_row_init(&row, sizeof row);
        row.key = shardy_key_text(key, KEY_LEN);
        row.value.len = make_value(i, value);
        row.value.data = value;
        assert_ok(shardy_writer_put(w, &row, &err));
    }
}

static void build(shardy_store *store)
{
    shardy_writer_options options;
    shardy_writer *w;
    shardy_writer_options_init(&options, sizeof options);
    options.store = store;
    options.num_dbs = 1;
    options.run_id = "touch";
    options.page_size = PAGE_LEN;
    options.published_as = "s3://bucket/touch";
    assert_ok(shardy_writer_open(NULL, NULL, &options, &w, &err));
    put_rows(w);
    assert_ok(shardy_writer_finish(w, NULL, &err));
    shardy_writer_close(w);
}

static void put_object(shardy_store *store, const char *key, const void *data, size_t len)
{
    shardy_store_put put = {0};
    put.key.data = key;
    put.key.len = strlen(key);
    put.body.data = data;
    put.body.len = len;
    assert_ok(shardy_store_put_object(store, &put, NULL, &err));
}

/* Copies the snapshot to the directory and keeps its shard. */
static void copy_objects(fixture *f)
{
    shardy_store_page page;
    assert_ok(shardy_store_list(f->memory, "", 0, NULL, 1000, &page, &err));
    assert_null(page.next_token);
    for (size_t i = 0; i < page.count; i++) {
        const char *key = page.entries[i].key;
        shardy_buf body;
        assert_ok(shardy_store_get(f->memory, key, 0, SHARDY_READ_TO_END, &body, NULL, &err));
        put_object(f->local, key, body.data, body.len);
        size_t len = strlen(key);
        if (strncmp(key, "shards/", 7) == 0 && strcmp(key + len - 9, "/shard.db") == 0) {
            snprintf(f->shard_key, sizeof f->shard_key, "%s", key);
            f->shard = malloc(body.len);
            assert_non_null(f->shard);
            memcpy(f->shard, body.data, body.len);
            f->shard_len = body.len;
        }
        shardy_buf_release(&body);
    }
    shardy_store_page_dispose(&page);
    assert_non_null(f->shard);
}

/* The number behind `word` at `at`, or NOT_A_ROW. */
static uint32_t number_at(const fixture *f, size_t at, const char *word)
{
    size_t len = strlen(word);
    uint32_t number = 0;
    if (at + len + 7 > f->shard_len || memcmp(f->shard + at, word, len) != 0) {
        return NOT_A_ROW;
    }
    for (size_t i = at + len; i < at + len + 7; i++) {
        if (f->shard[i] < '0' || f->shard[i] > '9') {
            return NOT_A_ROW;
        }
        number = 10 * number + (uint32_t)(f->shard[i] - '0');
    }
    return number;
}

static void survey(fixture *f)
{
    f->chunks = (uint32_t)((f->shard_len + CHUNK_LEN - 1) / CHUNK_LEN);
    assert_in_range(f->chunks, 10, CHUNKS_MAX);
    memset(f->essential, 0, sizeof f->essential);
    f->essential[0] = 1;
    for (size_t at = PAGE_LEN; at < f->shard_len; at += PAGE_LEN) {
        /* An interior page of the tree of rows. What an overflow page begins with is the number of
         * a page, far below this. */
        f->essential[at / CHUNK_LEN] |= f->shard[at] == 2;
    }
    memset(f->chunk_of, 0xff, sizeof f->chunk_of);
    for (size_t at = 0; at < f->shard_len; at++) {
        uint32_t number = number_at(f, at, "key-");
        if (number != NOT_A_ROW) {
            assert_in_range(number / 2, 0, ROWS - 1);
            assert_int_equal(f->chunk_of[number / 2], NOT_A_ROW);
            f->chunk_of[number / 2] = (uint32_t)(at / CHUNK_LEN);
        }
    }
    uint32_t essential = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_int_not_equal(f->chunk_of[i], NOT_A_ROW);
    }
    for (uint32_t i = 0; i < f->chunks; i++) {
        essential += f->essential[i];
    }
    assert_in_range(essential, 1, 4);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->dir = support_make_dir();
    assert_ok(shardy_store_open_mem(NULL, &f->memory, &err));
    assert_ok(shardy_store_open_fs(NULL, f->dir, NULL, &f->local, &err));
    build(f->memory);
    copy_objects(f);
    survey(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    shardy_store_close(f->local);
    shardy_store_close(f->memory);
    support_remove_dir(f->dir);
    free(f->shard);
    free(f);
    return 0;
}

/* --- flips ------------------------------------------------------------------------------------ */

/* The row of the last `word` that begins at `at` or before it, in the same page. */
static uint32_t row_before(const fixture *f, size_t at, const char *word, uint32_t divisor)
{
    for (size_t from = at;; from--) {
        uint32_t number = number_at(f, from, word);
        if (number != NOT_A_ROW) {
            return number / divisor;
        }
        if (from % PAGE_LEN == 0) {
            return NOT_A_ROW;
        }
    }
}

/* Whether the text that begins at `at` is one of which that kind flips a digit. */
static int is_target(const fixture *f, flip_kind kind, size_t at)
{
    int interior = f->shard[at / PAGE_LEN * PAGE_LEN] == 2;
    return number_at(f, at, kind == FLIP_VALUE ? "value " : "key-") != NOT_A_ROW &&
           (interior || kind != FLIP_SEPARATOR);
}

/* A bit of that kind in that chunk, at a place by chance. 0: there is none. */
static int choose(const fixture *f, support_rand *rand, bit_flip *flip_out)
{
    size_t start = (size_t)flip_out->chunk * CHUNK_LEN;
    size_t len = f->shard_len - start < CHUNK_LEN ? f->shard_len - start : CHUNK_LEN;
    size_t from = support_rand_below(rand, len);
    flip_out->bit = (uint8_t)support_rand_below(rand, 8);
    flip_out->at = start + from;
    static const char *const words[] = {"key-", "value "};
    const char *word = words[flip_out->kind == FLIP_VALUE];
    if (flip_out->kind != FLIP_ANY) {
        size_t i = 0;
        while (i < len && !is_target(f, flip_out->kind, start + (from + i) % len)) {
            i++;
        }
        if (i == len) {
            return 0;
        }
        /* The last digit, so that the key is that of an absent one. */
        flip_out->at = start + (from + i) % len + strlen(word) + 6;
        flip_out->bit = 0;
        if (flip_out->at >= start + len) {
            return 0;
        }
    }
    flip_out->row = row_before(f, flip_out->at, words[0], 2);
    if (flip_out->row == NOT_A_ROW) {
        flip_out->row = row_before(f, flip_out->at, words[1], 1);
    }
    if (flip_out->row == NOT_A_ROW) { /* a page header: the first row behind it */
        size_t at = flip_out->at;
        while (at + 16 < f->shard_len && number_at(f, at, words[0]) == NOT_A_ROW) {
            at++;
        }
        uint32_t number = number_at(f, at, words[0]);
        flip_out->row = number == NOT_A_ROW ? ROWS - 1 : number / 2;
    }
    return 1;
}

static void apply(fixture *f, shardy_store *store, const bit_flip *flip)
{
    if (flip) {
        f->shard[flip->at] ^= (uint8_t)(1u << flip->bit);
    }
    put_object(store, f->shard_key, f->shard, f->shard_len);
    if (flip) {
        f->shard[flip->at] ^= (uint8_t)(1u << flip->bit);
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

/* A key to ask for: that of a row, or one that is absent behind it. */
typedef struct question {
    uint32_t row;
    int absent;
    char key[KEY_LEN + 2];
} question;

static question ask_for(uint32_t row, int absent)
{
    question q;
    memset(&q, 0, sizeof q);
    q.row = row;
    q.absent = absent;
    make_key(row, q.key);
    q.key[KEY_LEN - 1] = (char)(q.key[KEY_LEN - 1] + absent);
    return q;
}

/* What must come: OK (or NOT_FOUND) when all that is needed is whole, CHECKSUM when a chunk that is
 * needed is not; PENDING when that depends on the way of the look-up. */
static shardy_status expected(const fixture *f, const bit_flip *flip, const question *q)
{
    shardy_status whole = q->absent ? SHARDY_NOT_FOUND : SHARDY_OK;
    if (!flip) {
        return whole;
    }
    if (f->essential[flip->chunk]) {
        return SHARDY_PENDING;
    }
    uint32_t chunk = f->chunk_of[q->row];
    if (q->absent && f->essential[chunk]) {
        /* Behind a row of an interior page: in the next leaf, if there is one. */
        chunk = q->row + 1 < ROWS ? f->chunk_of[q->row + 1] : flip->chunk;
        return chunk == flip->chunk ? SHARDY_PENDING : whole;
    }
    if (chunk == flip->chunk) {
        return SHARDY_CHECKSUM;
    }
    return !q->absent && q->row % LONG_STEP == 7 ? SHARDY_PENDING : whole;
}

static void check_answer(const question *q, shardy_status want, shardy_status st, shardy_bytes got,
    counts *c, const char *where)
{
    static char value[LONG_LEN];
    size_t len = make_value(q->row, value);
    if (st == SHARDY_CHECKSUM) {
        c->refused++;
        if (want != SHARDY_PENDING && want != SHARDY_CHECKSUM) {
            fail_msg("%s: \"%s\" is refused: %s", where, q->key, err.message);
        }
        return;
    }
    if (q->absent ? st != SHARDY_NOT_FOUND
                  : st != SHARDY_OK || got.len != len || memcmp(got.data, value, len) != 0) {
        fail_msg("%s: a wrong answer: \"%s\": %s", where, q->key, shardy_status_name(st));
    }
    if (want == SHARDY_CHECKSUM) {
        fail_msg("%s: an unchecked answer: \"%s\"", where, q->key);
    }
    c->right++;
}

static void ask_one(const fixture *f, const shardy_reader *reader, const bit_flip *flip,
    const question *q, counts *c, const char *where)
{
    shardy_buf got;
    shardy_key key = shardy_key_text(q->key, strlen(q->key));
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_get(reader, &key, NULL, &got, &err);
    check_answer(q, expected(f, flip, q), st, shardy__bytes(got.data, got.len), c, where);
    shardy_buf_release(&got);
}

/* A group is refused as a whole when one of its keys is. */
static void ask_group(const fixture *f, const shardy_reader *reader, const bit_flip *flip,
    const question *qs, size_t count, counts *c, const char *where)
{
    shardy_key keys[GROUP_MAX] = {0};
    shardy_values values;
    shardy_status all = SHARDY_OK;
    for (size_t i = 0; i < count; i++) {
        shardy_status one = expected(f, flip, &qs[i]);
        keys[i] = shardy_key_text(qs[i].key, strlen(qs[i].key));
        all = all == SHARDY_CHECKSUM || one == SHARDY_CHECKSUM ? SHARDY_CHECKSUM
              : one == SHARDY_PENDING                          ? one
                                                               : all;
    }
    memset(&err, 0, sizeof err);
    shardy_status st = shardy_reader_multi_get(reader, keys, count, NULL, &values, &err);
    if (st == SHARDY_CHECKSUM) {
        c->refused++;
        if (all == SHARDY_OK) {
            fail_msg("%s: a group at \"%s\" is refused: %s", where, qs[0].key, err.message);
        }
        return;
    }
    assert_ok(st);
    for (size_t i = 0; i < count; i++) {
        shardy_status want = expected(f, flip, &qs[i]);
        check_answer(
            &qs[i], want, (shardy_status)values.values[i].status, values.values[i].bytes, c, where);
    }
    shardy_values_dispose(&values);
}

/* The rows around the one that was hit and the keys between them: each by get, by itself in a
 * multi_get, and all in a group. */
static void ask_around(const fixture *f, const shardy_reader *reader, const bit_flip *flip,
    counts *c, const char *where)
{
    question qs[GROUP_MAX] = {0};
    size_t count = 0;
    for (uint32_t i = 0; i <= 2 * AROUND; i++) {
        uint32_t row = i % 2 ? flip->row + (i + 1) / 2 : flip->row - i / 2; /* from it outwards */
        if (row < ROWS) {
            qs[count++] = ask_for(row, 0);
            qs[count++] = ask_for(row, 1);
        }
    }
    ask_group(f, reader, flip, qs, count, c, where);
    for (size_t i = 0; i < count; i++) {
        ask_one(f, reader, flip, &qs[i], c, where);
        ask_group(f, reader, flip, &qs[i], 1, c, where);
    }
}

/* Rows all over the shard, in groups. */
static void ask_elsewhere(const fixture *f, const shardy_reader *reader, const bit_flip *flip,
    counts *c, const char *where)
{
    for (uint32_t first = 0; first + 32 < ROWS; first += 199) {
        question qs[32];
        for (uint32_t i = 0; i < 32; i++) {
            qs[i] = ask_for(first + i, i % 4 == 3);
        }
        ask_group(f, reader, flip, qs, 32, c, where);
    }
}

/* Has the fence made by asking for a row of another chunk; in groups, refused as one. */
static void warm(const fixture *f, const shardy_reader *reader, const bit_flip *flip, counts *c,
    const char *where)
{
    uint32_t row = ROWS / 2;
    while (flip && f->chunk_of[row] == flip->chunk) {
        row++;
    }
    question qs[WARM_GROUP] = {0};
    for (uint32_t i = 0; i < WARM_GROUP; i++) {
        qs[i] = ask_for(row, 0);
    }
    for (uint32_t i = 0; i < WARM_GETS; i += WARM_GROUP) {
        ask_group(f, reader, flip, qs, WARM_GROUP, c, where);
    }
}

/* --- tests ------------------------------------------------------------------------------------ */

static shardy_reader *open_reader(const fixture *f, const read_way *way)
{
    shardy_reader_options options;
    shardy_reader *reader;
    shardy_reader_options_init(&options, sizeof options);
    options.store = way->local ? f->local : f->memory;
    options.io = way->io;
    options.access = way->access;
    assert_ok(shardy_reader_open(NULL, NULL, &options, &reader, &err));
    return reader;
}

static void flip_and_ask(fixture *f, const read_way *way, const bit_flip *flip, int cold, counts *c)
{
    char where[100];
    snprintf(where, sizeof where, "%s, bit %u of byte %zu, %s", way->name, flip->bit, flip->at,
        cold ? "from the root" : "by the fence");
    apply(f, way->local ? f->local : f->memory, flip);
    shardy_reader *reader = open_reader(f, way);
    if (!cold) {
        warm(f, reader, flip, c, where);
    }
    ask_around(f, reader, flip, c, where);
    ask_elsewhere(f, reader, flip, c, where);
    shardy_reader_close(reader);
}

/* What nobody changed is answered, all of it. */
static void ask_unchanged(fixture *f, const read_way *way)
{
    counts c = {0, 0};
    shardy_store *store = way->local ? f->local : f->memory;
    apply(f, store, NULL);
    shardy_reader *reader = open_reader(f, way);
    ask_elsewhere(f, reader, NULL, &c, way->name);
    warm(f, reader, NULL, &c, way->name);
    ask_elsewhere(f, reader, NULL, &c, way->name);
    shardy_reader_close(reader);
    assert_int_equal(c.refused, 0);
    assert_in_range(c.right, WARM_GETS + 1000, UINT32_MAX);
}

static void run_way(fixture *f, const read_way *way)
{
    support_rand rand = {support_seed()};
    uint32_t rounds = getenv("SHARDY_TORTURE") ? 20 : 1;
    uint32_t flips = 0;
    uint32_t chunks = 0;
    counts c = {0, 0};
    static int under_way; /* still: the way before has failed, which is enough */
    if (under_way) {
        skip();
    }
    under_way = 1;
    ask_unchanged(f, way);
    for (uint32_t chunk = 0; chunk < f->chunks; chunk++) {
        uint32_t before = flips;
        counts of_chunk = {0, 0};
        for (uint32_t i = 0; i < rounds * FLIP_KINDS; i++) {
            bit_flip flip = {.chunk = chunk, .kind = (flip_kind)(i % FLIP_KINDS)};
            if (choose(f, &rand, &flip)) {
                flip_and_ask(f, way, &flip, 0, &of_chunk);
                flip_and_ask(f, way, &flip, 1, &of_chunk);
                flips++;
            }
        }
        chunks += flips > before;
        assert_true(f->essential[chunk] || (of_chunk.right > 0 && of_chunk.refused > 0));
        c.right += of_chunk.right;
        c.refused += of_chunk.refused;
    }
    apply(f, way->local ? f->local : f->memory, NULL);
    assert_int_equal(chunks, f->chunks);
    under_way = 0;
    printf("first touch: %s: %u flips in %u chunks, %u right answers, %u refused\n", way->name,
        flips, chunks, c.right, c.refused);
}

static void test_mapped__no_chunk_is_believed_before_it_was_checked(void **state)
{
    const read_way way = {"mapped", 1, SHARDY_IO_MMAP, SHARDY_ACCESS_AUTO};
    run_way(*state, &way);
}

static void test_memory__no_chunk_is_believed_before_it_was_checked(void **state)
{
    const read_way way = {"in memory", 0, SHARDY_IO_MMAP, SHARDY_ACCESS_DOWNLOAD};
    run_way(*state, &way);
}

static void test_pread__no_chunk_is_believed_before_it_was_checked(void **state)
{
    const read_way way = {"pread", 1, SHARDY_IO_PREAD, SHARDY_ACCESS_AUTO};
    run_way(*state, &way);
}

static void test_ranges__no_chunk_is_believed_before_it_was_checked(void **state)
{
    const read_way way = {"ranges", 0, SHARDY_IO_MMAP, SHARDY_ACCESS_RANGE};
    run_way(*state, &way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped__no_chunk_is_believed_before_it_was_checked),
        cmocka_unit_test(test_memory__no_chunk_is_believed_before_it_was_checked),
        cmocka_unit_test(test_pread__no_chunk_is_believed_before_it_was_checked),
        cmocka_unit_test(test_ranges__no_chunk_is_believed_before_it_was_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
