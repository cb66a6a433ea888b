/* Sidecars: what our writer makes is what dbstat says, and whatever does not hold is refused. */
#include "sqlitefile/page_shelf.h"
#include "support/sidecar_testing.h"
#include "support/sweep.h"

#include <shardyfusion/limits.h>

#include <zstd.h>

/* --- made by our writer ----------------------------------------------------------------------- */

static sidecar *parse_bound(const image *side, uint64_t file_size)
{
    shardy_error err = {0};
    sidecar *s = NULL;
    sidecar_expect expect = {.file_size = file_size, .bound = 1};
    assert_ok(shardy__sidecar_parse((shardy_bytes){side->data, side->len}, &expect, &s, &err));
    return s;
}

typedef struct made {
    image file;
    image side;
} made;

static void free_made(made *m)
{
    free_image(&m->file);
    free_image(&m->side);
}

static const char *made_scratch; /* NULL: all interior pages stay in memory */

static btree_writer *open_made(
    made *m, uint32_t page_size, const btree_object *objects, size_t count)
{
    shardy_error err = {0};
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    memset(m, 0, sizeof *m);
    options.page_size = page_size;
    options.sidecar = 1;
    options.sink.write = write_image;
    options.sink.user = &m->file;
    options.objects = objects;
    options.object_count = count;
    options.scratch_dir = made_scratch;
    btree_writer *writer = NULL;
    assert_ok(shardy__btree_writer_open(&options, &writer, &err));
    return writer;
}

static void finish_made(btree_writer *writer, made *m)
{
    shardy_error err = {0};
    btree_file_stats stats;
    uint64_t len = 0;
    btree_sink sink = {write_image, &m->side};
    assert_status(SHARDY_MISUSE, shardy__btree_writer_sidecar(writer, &sink, &len, &err));
    assert_ok(shardy__btree_writer_finish(writer, &stats, &err));
    assert_ok(shardy__btree_writer_sidecar(writer, &sink, &len, &err));
    assert_int_equal(len, m->side.len);
    shardy__btree_writer_close(writer);
}

/* A file of the table kv with `rows` rows; every `long_every`th value is of up to `long_len`
 * bytes. */
static void make_kv(
    made *m, uint32_t page_size, uint32_t rows, uint32_t long_every, size_t long_len)
{
    shardy_error err = {0};
    support_rand rand = {page_size + rows};
    uint8_t *value = calloc(1, long_len + 100);
    btree_writer *writer = open_made(m, page_size, &KV_OBJECT, 1);
    for (uint32_t i = 0; i < rows; i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "key%08u", i);
        size_t room = long_every && i % long_every == 0 ? long_len : 60;
        size_t len = (size_t)support_rand_below(&rand, room + 1);
        memset(value, (int)(i & 0xFF), len);
        assert_ok(shardy__btree_put_kv(
            writer, 0, (shardy_bytes){key, (size_t)n}, (shardy_bytes){value, len}, &err));
    }
    finish_made(writer, m);
    free(value);
}

/* Four rows fill a page, so that one page in five is an interior one. */
static void test_sidecar__is_the_same_when_interior_pages_do_not_fit_into_memory(void **state)
{
    (void)state;
    shardy_error err = {0};
    char *dir = support_make_dir();
    const uint8_t value[190] = {1};
    made m[2];
    for (int i = 0; i < 2; i++) {
        made_scratch = i ? dir : NULL;
        btree_writer *writer = open_made(&m[i], 1024, &KV_OBJECT, 1);
        for (uint64_t n = 0; n < 130000; n++) {
            uint64_t key = __builtin_bswap64(n);
            assert_ok(shardy__btree_put_kv(writer, 0, (shardy_bytes){&key, sizeof key},
                (shardy_bytes){value, sizeof value - n % 7}, &err));
        }
        finish_made(writer, &m[i]);
    }
    made_scratch = NULL;
    sidecar *s = parse_bound(&m[1].side, m[1].file.len);
    assert_true(shardy__sidecar_page_count(s) > PAGE_SHELF_KEPT_LEN / 1024 + 500);
    shardy__sidecar_free(s);
    assert_int_equal(m[0].file.len, m[1].file.len);
    assert_memory_equal(m[0].file.data, m[1].file.data, m[0].file.len);
    assert_int_equal(m[0].side.len, m[1].side.len);
    assert_memory_equal(m[0].side.data, m[1].side.data, m[0].side.len);
    free_made(&m[0]);
    free_made(&m[1]);
    support_remove_dir(dir);
}

/* The writer knows what dbstat would list, to the byte. */
static void compare_made(const made *m)
{
    image expected = sidecar_by_dbstat(&m->file);
    assert_int_equal(m->side.len, expected.len);
    assert_memory_equal(m->side.data, expected.data, expected.len);
    sidecar *s = parse_bound(&m->side, m->file.len);
    check_sidecar(s, &m->file);
    assert_non_null(shardy__sidecar_page(s, 1));
    assert_null(shardy__sidecar_page(s, 0));
    assert_null(shardy__sidecar_page(s, UINT32_MAX));
    assert_int_equal(shardy__sidecar_chain(s, 1).count, 0);
    shardy__sidecar_free(s);
    free_image(&expected);
}

static void test_sidecar__of_our_files_has_what_dbstat_lists(void **state)
{
    (void)state;
    static const struct {
        uint32_t page_size;
        uint32_t rows;
        uint32_t long_every;
        size_t long_len;
    } cases[] = {{512, 0, 0, 0}, {512, 1, 0, 0}, {512, 3000, 0, 0}, {512, 2000, 7, 9000},
        {4096, 0, 0, 0}, {4096, 20000, 0, 0}, {4096, 3000, 5, 30000}, {8192, 4000, 11, 40000},
        {65536, 1, 0, 0}, {65536, 12000, 100, 300000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made m;
        make_kv(&m, cases[i].page_size, cases[i].rows, cases[i].long_every, cases[i].long_len);
        compare_made(&m);
        free_made(&m);
    }
}

/* Text that makes sqlite_schema long, so that it has leaves and overflow pages of its own. */
static char *long_sql(const char *name, size_t comment)
{
    char *sql = malloc(comment + 200);
    int n = snprintf(sql, 200, "CREATE TABLE %s (k BLOB PRIMARY KEY, v BLOB NOT NULL /* ", name);
    memset(sql + n, 'x', comment);
    snprintf(sql + (size_t)n + comment, 100, " */) WITHOUT ROWID");
    return sql;
}

static void test_sidecar__has_the_whole_schema_and_all_trees(void **state)
{
    (void)state;
    shardy_error err = {0};
    btree_object objects[30];
    char names[30][8];
    for (size_t i = 0; i < 30; i++) {
        snprintf(names[i], sizeof names[i], "t%zu", i);
        objects[i] = (btree_object){
            BTREE_OBJECT_WITHOUT_ROWID, names[i], NULL, long_sql(names[i], i * 97), 1};
    }
    made m;
    btree_writer *writer = open_made(&m, 512, objects, 30);
    static uint8_t value[1000];
    for (uint32_t i = 0; i < 600; i++) {
        uint8_t key[4];
        shardy__put_be32(key, i);
        for (uint32_t t = 0; t < 3; t++) {
            assert_ok(shardy__btree_put_kv(writer, t * 10, (shardy_bytes){key, 4},
                (shardy_bytes){value, i % 50 == 0 ? 1000 : 20}, &err));
        }
    }
    finish_made(writer, &m);
    compare_made(&m);
    sidecar *s = parse_bound(&m.side, m.file.len);
    assert_true(shardy__sidecar_page_count(s) > 60);
    assert_true(shardy__sidecar_chain_count(s) > 36);
    shardy__sidecar_free(s);
    free_made(&m);
    for (size_t i = 0; i < 30; i++) {
        free((void *)(uintptr_t)objects[i].sql);
    }
}

static void test_sidecar__of_the_same_rows_has_the_same_bytes(void **state)
{
    (void)state;
    made a;
    made b;
    make_kv(&a, 4096, 5000, 9, 20000);
    make_kv(&b, 4096, 5000, 9, 20000);
    assert_int_equal(a.side.len, b.side.len);
    assert_memory_equal(a.side.data, b.side.data, a.side.len);
    free_made(&a);
    free_made(&b);
}

/* --- tags ------------------------------------------------------------------------------------- */

static image tagged(const image *side, const char *tag)
{
    uint8_t start[SIDECAR_PREFIX_LEN + SIDECAR_TAG_MAX];
    size_t n = shardy__sidecar_tag(side->data, tag, start);
    image out = {0};
    write_image(&out, 0, start, n, NULL);
    write_image(&out, n, side->data + SIDECAR_PREFIX_LEN, side->len - SIDECAR_PREFIX_LEN, NULL);
    return out;
}

static void test_sidecar__is_used_only_for_the_version_it_names(void **state)
{
    (void)state;
    shardy_error err = {0};
    made m;
    sidecar *s = NULL;
    make_kv(&m, 512, 500, 0, 0);
    char long_tag[300];
    memset(long_tag, 'e', sizeof long_tag - 1);
    long_tag[sizeof long_tag - 1] = '\0';
    image ours = tagged(&m.side, "\"abc\"");
    image unbound = tagged(&m.side, long_tag);
    long_tag[255] = '\0';
    image longest = tagged(&m.side, long_tag);
    shardy_bytes bytes = {ours.data, ours.len};
    sidecar_expect expect = {.file_size = m.file.len, .tag = "\"abc\""};
    assert_ok(shardy__sidecar_parse(bytes, &expect, &s, &err));
    check_sidecar(s, &m.file);
    shardy__sidecar_free(s);
    static const char *const others[] = {"\"abd\"", "abc", "\"abc", "\"abc\"x", "", NULL};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        expect.tag = others[i];
        assert_status(SHARDY_CONFLICT, shardy__sidecar_parse(bytes, &expect, &s, &err));
        assert_null(s);
    }
    expect.bound = 1;
    assert_ok(shardy__sidecar_parse(bytes, &expect, &s, &err));
    shardy__sidecar_free(s);
    expect.bound = 0;
    expect.tag = long_tag;
    bytes = (shardy_bytes){longest.data, longest.len};
    assert_ok(shardy__sidecar_parse(bytes, &expect, &s, &err));
    shardy__sidecar_free(s);
    assert_int_equal(unbound.data[17], 0);
    bytes = (shardy_bytes){unbound.data, unbound.len};
    assert_status(SHARDY_CONFLICT, shardy__sidecar_parse(bytes, &expect, &s, &err));
    free_image(&ours);
    free_image(&unbound);
    free_image(&longest);
    free_made(&m);
}

/* --- what is refused -------------------------------------------------------------------------- */

/* A sidecar whose body can be changed. */
typedef struct body {
    uint32_t *words;
    size_t len;
    uint32_t pages;    /* how many */
    uint32_t *numbers; /* words of the body */
    uint32_t *offsets;
    uint32_t *chains; /* how many */
    uint32_t *heads;
    uint32_t *ends;
    uint32_t *links;
    uint8_t *blob;
} body;

static body unpack(const image *side)
{
    body b = {0};
    b.len = (size_t)shardy__get_le64(side->data + 5);
    b.words = malloc(b.len + 100);
    size_t n = ZSTD_decompress(
        b.words, b.len, side->data + SIDECAR_PREFIX_LEN, side->len - SIDECAR_PREFIX_LEN);
    assert_int_equal(n, b.len);
    b.pages = b.words[0];
    b.numbers = b.words + 1;
    b.offsets = b.numbers + b.pages;
    b.chains = b.offsets + b.pages + 1;
    b.heads = b.chains + 1;
    b.ends = b.heads + *b.chains;
    b.links = b.ends + *b.chains + 1;
    b.blob = (uint8_t *)(b.links + b.ends[*b.chains]);
    return b;
}

static image repack(const body *b, uint32_t page_size)
{
    image out = {0};
    out.room = ZSTD_compressBound(b->len) + SIDECAR_PREFIX_LEN;
    out.data = malloc(out.room);
    memcpy(out.data, "SQPC\10", 5);
    shardy__put_le64(out.data + 5, b->len);
    shardy__put_le32(out.data + 13, page_size);
    out.data[17] = 0;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(
        c, out.data + SIDECAR_PREFIX_LEN, out.room - SIDECAR_PREFIX_LEN, b->words, b->len);
    assert_false(ZSTD_isError(n));
    ZSTD_freeCCtx(c);
    out.len = SIDECAR_PREFIX_LEN + n;
    return out;
}

static uint64_t refused_file_size;

/* Refused with a word of the message. */
static void refused(const image *side, shardy_status status, const char *word)
{
    shardy_error err = {0};
    sidecar *s = NULL;
    sidecar_expect expect = {.file_size = refused_file_size, .bound = 1};
    shardy_bytes bytes = {side->data, side->len};
    assert_status(status, shardy__sidecar_parse(bytes, &expect, &s, &err));
    assert_null(s);
    if (!strstr(err.message, word)) {
        fail_msg("\"%s\" is not in \"%s\"", word, err.message);
    }
}

static void refused_body(const body *b, const char *word)
{
    image side = repack(b, 512);
    refused(&side, SHARDY_CORRUPT, word);
    free_image(&side);
}

static void test_sidecar__with_a_broken_table_is_refused(void **state)
{
    (void)state;
    made m;
    make_kv(&m, 512, 2000, 7, 9000);
    refused_file_size = m.file.len;
    uint32_t last = (uint32_t)(m.file.len / 512);
    body b = unpack(&m.side);
    assert_true(b.pages > 10 && *b.chains > 10 && b.ends[1] > 1);
    /* One word of a table, another value, and what the message has to say. */
    const struct {
        uint32_t *word;
        uint32_t value;
        const char *says;
    } cases[] = {
        {b.words, last + 1, "more pages than the file has"},
        {b.words, b.pages + 1, "("},
        {b.numbers, 0, "do not ascend"},
        {b.numbers + 3, b.numbers[2], "do not ascend"},
        {b.numbers + b.pages - 1, last + 1, "do not ascend"},
        {b.offsets, 1, "overlaps"},
        {b.offsets + 4, b.offsets[3] - 1, "overlaps"},
        {b.offsets + 4, b.offsets[3] + 513, "longer than a page"},
        {b.offsets + b.pages, b.offsets[b.pages] - 1, "another length than their offsets"},
        {b.offsets + 4, b.offsets[4] - 1, "cannot be made whole"},
        {b.offsets + 1, 107, "cannot be made whole"},
        {b.chains, last + 1, "more overflow chains"},
        {b.chains, UINT32_MAX, "more overflow chains"},
        {b.heads + 2, b.heads[1], "do not ascend"},
        {b.heads, 0, "do not ascend"},
        {b.heads + *b.chains - 1, last + 1, "do not ascend"},
        {b.heads + 1, b.heads[1] + 1, "does not begin with its first page"},
        {b.ends, 1, "more overflow pages"},
        {b.ends + *b.chains, last + 1, "more overflow pages"},
        {b.ends + 2, b.ends[1], "has no page, or too many"},
        {b.ends + 1, UINT32_MAX, "has no page, or too many"},
        {b.links, b.links[0] + 1, "does not begin with its first page"},
        {b.links + 1, 0, "is not in the file"},
        {b.links + 1, last + 1, "is not in the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t kept = *cases[i].word;
        *cases[i].word = cases[i].value;
        refused_body(&b, cases[i].says);
        *cases[i].word = kept;
    }
    /* Cell pointers that end behind the first cell; and page 1 of another page size. */
    uint8_t *page = b.blob + b.offsets[2];
    uint8_t kept = page[3];
    page[3] = 0x7F;
    refused_body(&b, "cannot be made whole");
    page[3] = kept;
    b.blob[16] = 0x10;
    refused_body(&b, "another page size");
    b.blob[16] = 2;
    /* Cut off, and longer. */
    size_t len = b.len;
    for (b.len = 16; b.len < len; b.len += b.len < 300 ? 1 : 97) {
        refused_body(&b, "(");
    }
    b.len = len + 1;
    refused_body(&b, "another length than their offsets");
    free(b.words);
    free_made(&m);
}

static void test_sidecar__with_a_broken_header_or_frame_is_refused(void **state)
{
    (void)state;
    made m;
    make_kv(&m, 512, 500, 0, 0);
    refused_file_size = m.file.len;
    const struct {
        size_t at;
        uint8_t value;
        shardy_status status;
        const char *says;
    } cases[] = {
        {0, 'X', SHARDY_CORRUPT, "do not begin with"},
        {4, 7, SHARDY_FORMAT_VERSION, "version \"7\""},
        {4, 9, SHARDY_FORMAT_VERSION, "version \"9\""},
        {5, (uint8_t)(m.side.data[5] + 1), SHARDY_CORRUPT, "another length"},
        {12, 1, SHARDY_CORRUPT, "does not fit"},
        {14, 3, SHARDY_CORRUPT, "power of two"},
        {14, 1, SHARDY_CORRUPT, "power of two"},
        {15, 2, SHARDY_CORRUPT, "power of two"},
        {14, 4, SHARDY_CORRUPT, ""},
        {17, 3, SHARDY_CORRUPT, "not a frame"},
        {18, 0, SHARDY_CORRUPT, "not a frame"},
        {22, (uint8_t)(m.side.data[22] & ~4), SHARDY_CORRUPT, "no checksum"},
        {22, (uint8_t)(m.side.data[22] | 1), SHARDY_CORRUPT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t kept = m.side.data[cases[i].at];
        m.side.data[cases[i].at] = cases[i].value;
        refused(&m.side, cases[i].status, cases[i].says);
        m.side.data[cases[i].at] = kept;
    }
    /* Every length, and every byte with a bit turned: refused, or, where nothing depends on it,
     * the same. */
    size_t len = m.side.len;
    for (m.side.len = 0; m.side.len < len; m.side.len++) {
        refused(&m.side, SHARDY_CORRUPT, "");
    }
    for (size_t i = SIDECAR_PREFIX_LEN; i < len; i++) {
        shardy_error err = {0};
        sidecar *s = NULL;
        sidecar_expect expect = {.file_size = m.file.len, .bound = 1};
        m.side.data[i] ^= 0x10;
        shardy_status st =
            shardy__sidecar_parse((shardy_bytes){m.side.data, len}, &expect, &s, &err);
        m.side.data[i] ^= 0x10;
        if (st == SHARDY_OK) {
            check_sidecar(s, &m.file);
            shardy__sidecar_free(s);
        }
    }
    free_made(&m);
}

static void test_sidecar__frames_that_are_bombs_are_refused(void **state)
{
    (void)state;
    made m;
    make_kv(&m, 512, 500, 0, 0);
    refused_file_size = m.file.len;
    body b = unpack(&m.side);
    /* Two frames; a frame without its length; a window of 2^28. */
    image side = repack(&b, 512);
    image two = {0};
    write_image(&two, 0, side.data, side.len, NULL);
    write_image(&two, two.len, side.data + SIDECAR_PREFIX_LEN, side.len - SIDECAR_PREFIX_LEN, NULL);
    refused(&two, SHARDY_CORRUPT, "not the last thing");
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    side.len = SIDECAR_PREFIX_LEN + ZSTD_compress2(c, side.data + SIDECAR_PREFIX_LEN,
                                        side.room - SIDECAR_PREFIX_LEN, b.words, b.len);
    refused(&side, SHARDY_CORRUPT, "does not tell its length");
    ZSTD_freeCCtx(c);
    uint8_t window[] = {0x28, 0xB5, 0x2F, 0xFD, 0xC4, 18 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0};
    shardy__put_le64(window + 6, b.len);
    memcpy(side.data + SIDECAR_PREFIX_LEN, window, sizeof window);
    refused(&side, SHARDY_CORRUPT, "window of more than 2^27");
    window[5] = (17 << 3) | 1;
    memcpy(side.data + SIDECAR_PREFIX_LEN, window, sizeof window);
    refused(&side, SHARDY_CORRUPT, "window of more than 2^27");
    free_image(&two);
    free_image(&side);
    free(b.words);
    free_made(&m);
}

static void test_sidecar__takes_no_more_memory_than_allowed(void **state)
{
    (void)state;
    shardy_error err = {0};
    sidecar *s = NULL;
    made m;
    make_kv(&m, 512, 3000, 0, 0);
    body b = unpack(&m.side);
    shardy_bytes bytes = {m.side.data, m.side.len};
    size_t tables = (size_t)(b.blob - (uint8_t *)b.words);
    size_t needed = b.len + tables + (size_t)b.pages * 512;
    sidecar_expect expect = {.file_size = m.file.len, .bound = 1, .memory_max = needed};
    assert_ok(shardy__sidecar_parse(bytes, &expect, &s, &err));
    shardy__sidecar_free(s);
    expect.memory_max = needed - 1;
    assert_status(SHARDY_UNSUPPORTED, shardy__sidecar_parse(bytes, &expect, &s, &err));
    assert_non_null(strstr(err.message, "more than the limit"));
    expect.memory_max = b.len - 1;
    assert_status(SHARDY_UNSUPPORTED, shardy__sidecar_parse(bytes, &expect, &s, &err));
    /* What the decoder takes besides. */
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    assert_true(ZSTD_sizeof_DCtx(decoder) < 1u << 20);
    ZSTD_freeDCtx(decoder);
    /* The file is the bound of what a header can ask for. */
    expect.memory_max = 0;
    expect.file_size = 512;
    assert_status(SHARDY_CORRUPT, shardy__sidecar_parse(bytes, &expect, &s, &err));
    assert_non_null(strstr(err.message, "does not fit"));
    expect.file_size = m.file.len;
    expect.page_size = 1024;
    assert_status(SHARDY_CORRUPT, shardy__sidecar_parse(bytes, &expect, &s, &err));
    assert_non_null(strstr(err.message, "is not that of the file"));
    free(b.words);
    free_made(&m);
}

static shardy_status write_and_parse(void *state, shardy_error *err)
{
    (void)state;
    static uint8_t value[3000];
    made m;
    uint64_t len = 0;
    sidecar *s = NULL;
    btree_file_stats stats;
    btree_writer_options options;
    btree_writer *writer = NULL;
    memset(&m, 0, sizeof m);
    shardy__btree_writer_options_init(&options);
    options.page_size = 512;
    options.sidecar = 1;
    options.sink = (btree_sink){write_image, &m.file};
    options.objects = &KV_OBJECT;
    options.object_count = 1;
    shardy_status st = shardy__btree_writer_open(&options, &writer, err);
    for (uint32_t i = 0; st >= 0 && i < 400; i++) {
        uint8_t key[4];
        shardy__put_be32(key, i);
        st = shardy__btree_put_kv(
            writer, 0, (shardy_bytes){key, 4}, (shardy_bytes){value, i % 3 ? 40 : 3000}, err);
    }
    btree_sink sink = {write_image, &m.side};
    st = st < 0 ? st : shardy__btree_writer_finish(writer, &stats, err);
    st = st < 0 ? st : shardy__btree_writer_sidecar(writer, &sink, &len, err);
    shardy__btree_writer_close(writer);
    if (st >= 0) {
        sidecar_expect expect = {.file_size = m.file.len, .bound = 1};
        st = shardy__sidecar_parse((shardy_bytes){m.side.data, m.side.len}, &expect, &s, err);
        assert_true((st == SHARDY_OK) == (s != NULL));
        shardy__sidecar_free(s);
    }
    free_made(&m);
    return st;
}

static void test_sidecar__survives_faults_of_memory(void **state)
{
    (void)state;
    static const sweep_case faults = {
        .name = "sidecar", .kinds = SWEEP_BIT(SWEEP_ALLOC), .operation = write_and_parse};
    sweep_run(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sidecar__of_our_files_has_what_dbstat_lists),
        cmocka_unit_test(test_sidecar__is_the_same_when_interior_pages_do_not_fit_into_memory),
        cmocka_unit_test(test_sidecar__has_the_whole_schema_and_all_trees),
        cmocka_unit_test(test_sidecar__of_the_same_rows_has_the_same_bytes),
        cmocka_unit_test(test_sidecar__is_used_only_for_the_version_it_names),
        cmocka_unit_test(test_sidecar__with_a_broken_table_is_refused),
        cmocka_unit_test(test_sidecar__with_a_broken_header_or_frame_is_refused),
        cmocka_unit_test(test_sidecar__frames_that_are_bombs_are_refused),
        cmocka_unit_test(test_sidecar__takes_no_more_memory_than_allowed),
        cmocka_unit_test(test_sidecar__survives_faults_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
