/* Sidecars. The first byte chooses what the rest is: a sidecar; the body of one, which is wrapped
 * into a frame that holds; or rows, from which a file and its sidecar are made.
 *
 * Properties: no, with a message, or tables that are in order, within the file, and whole pages; no
 * more memory than allowed; a sidecar that was made says of each page and chain what the file
 * says. */
#include "faults.h"

#include "base/bytes.h"
#include "sqlitefile/sidecar_write.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define MEMORY_MAX ((size_t)1 << 20)
#define FILE_MAX   ((size_t)1 << 19)

static void check_tables(const sidecar *s, uint64_t file_size)
{
    uint32_t size = shardy__sidecar_page_size(s);
    uint64_t pages = file_size / size;
    size_t count = shardy__sidecar_page_count(s);
    require_that(count <= pages && count * size <= MEMORY_MAX);
    uint32_t last = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = shardy__sidecar_page_number(s, i);
        const uint8_t *page = shardy__sidecar_page(s, number);
        require_that(number > last && number <= pages && page != NULL);
        for (uint32_t b = 0; b < size; b++) {
            sum += page[b];
        }
        last = number;
    }
    last = 0;
    size_t links = 0;
    for (size_t i = 0; i < shardy__sidecar_chain_count(s); i++) {
        sidecar_chain chain = shardy__sidecar_chain_at(s, i);
        require_that(chain.count > 0 && chain.pages[0] > last);
        last = chain.pages[0];
        require_that(shardy__sidecar_chain(s, last).pages == chain.pages);
        for (size_t c = 0; c < chain.count; c++) {
            require_that(chain.pages[c] > 0 && chain.pages[c] <= pages);
        }
        links += chain.count;
    }
    require_that(links <= pages);
    require_that(sum < UINT64_MAX);
    require_that(shardy__sidecar_page(s, 0) == NULL);
    require_that(shardy__sidecar_chain(s, 0).count == 0);
}

static shardy_status parse(
    shardy_bytes bytes, uint64_t file_size, sidecar **sidecar_out, shardy_error *err)
{
    sidecar_expect expect = {.file_size = file_size, .bound = 1, .memory_max = MEMORY_MAX};
    return shardy__sidecar_parse(bytes, &expect, sidecar_out, err);
}

static void check_bytes(const uint8_t *data, size_t size, uint64_t file_size)
{
    shardy_error err = {0};
    sidecar *s = NULL;
    shardy_status st = parse((shardy_bytes){data, size}, file_size, &s, &err);
    require_that(st == SHARDY_OK || st == SHARDY_CORRUPT || st == SHARDY_FORMAT_VERSION ||
                 st == SHARDY_UNSUPPORTED);
    if (st < 0) {
        require_that(s == NULL && err.message[0] != '\0');
        return;
    }
    check_tables(s, file_size);
    shardy__sidecar_free(s);
    /* Bound by its tag it is used for that tag only. */
    sidecar_expect expect = {.file_size = file_size, .tag = "\"e\"", .memory_max = MEMORY_MAX};
    st = shardy__sidecar_parse((shardy_bytes){data, size}, &expect, &s, &err);
    int same = data[17] == 3 && memcmp(data + SIDECAR_PREFIX_LEN, "\"e\"", 3) == 0;
    require_that(st == (same ? SHARDY_OK : SHARDY_CONFLICT));
    shardy__sidecar_free(s);
}

/* A sidecar with this body; free it. */
static uint8_t *wrap(const uint8_t *body, size_t size, uint32_t page_size, size_t *len_out)
{
    size_t room = SIDECAR_PREFIX_LEN + ZSTD_compressBound(size);
    uint8_t *out = malloc(room);
    static ZSTD_CCtx *c;
    c = c ? c : ZSTD_createCCtx();
    require_that(out != NULL && c != NULL);
    memcpy(out, SIDECAR_MAGIC, 4);
    out[4] = SIDECAR_VERSION;
    shardy__put_le64(out + 5, size);
    shardy__put_le32(out + 13, page_size);
    out[17] = 0;
    ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(c, out + SIDECAR_PREFIX_LEN, room - SIDECAR_PREFIX_LEN, body, size);
    require_that(!ZSTD_isError(n));
    *len_out = SIDECAR_PREFIX_LEN + n;
    return out;
}

/* --- rows ------------------------------------------------------------------------------------- */

typedef struct image {
    uint8_t *data;
    size_t len;
} image;

static shardy_status write_image(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    image *img = user;
    size_t end = (size_t)offset + len;
    if (end > FILE_MAX) {
        return shardy__error(err, SHARDY_NO_SPACE, "fuzz", "the file gets too large");
    }
    memcpy(img->data + offset, data, len);
    img->len = end > img->len ? end : img->len;
    return SHARDY_OK;
}

static shardy_status put_rows(
    btree_writer *writer, const uint8_t *data, size_t size, shardy_error *err)
{
    static const uint8_t value[65536];
    uint32_t number = 0;
    for (size_t i = 0; i + 2 <= size; i += 2) {
        size_t len = (size_t)data[i] << (data[i + 1] & 7);
        for (uint32_t n = 0; n <= data[i + 1] >> 3; n++) {
            uint8_t key[4];
            shardy__put_be32(key, number++);
            SHARDY_TRY(shardy__btree_put_kv(
                writer, 0, (shardy_bytes){key, 4}, (shardy_bytes){value, len}, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status make(
    const uint8_t *data, size_t size, image *file, image *side, shardy_error *err)
{
    static const btree_object kv = {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL,
        "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID", 1};
    btree_writer_options options;
    btree_writer *writer = NULL;
    btree_file_stats stats;
    uint64_t len;
    shardy__btree_writer_options_init(&options);
    options.page_size = 512u << (size ? data[0] & 3 : 0);
    options.sidecar = 1;
    options.sink = (btree_sink){write_image, file};
    options.objects = &kv;
    options.object_count = 1;
    btree_sink sink = {write_image, side};
    shardy_status st = shardy__btree_writer_open(&options, &writer, err);
    st = st < 0 ? st : put_rows(writer, data, size, err);
    st = st < 0 ? st : shardy__btree_writer_finish(writer, &stats, err);
    st = st < 0 ? st : shardy__btree_writer_sidecar(writer, &sink, &len, err);
    shardy__btree_writer_close(writer);
    return st;
}

static void check_made(const image *file, const image *side)
{
    sidecar *s = NULL;
    sidecar_expect expect = {.file_size = file->len, .bound = 1, .memory_max = 4 * FILE_MAX};
    require_that(shardy__sidecar_parse((shardy_bytes){side->data, side->len}, &expect, &s, NULL) ==
                 SHARDY_OK);
    uint32_t size = shardy__sidecar_page_size(s);
    require_that(shardy__sidecar_page(s, 1) != NULL);
    for (size_t i = 0; i < shardy__sidecar_page_count(s); i++) {
        uint32_t number = shardy__sidecar_page_number(s, i);
        const uint8_t *page = shardy__sidecar_page(s, number);
        const uint8_t *expected = file->data + (size_t)(number - 1) * size;
        sidecar_gap gap;
        require_that(shardy__sidecar_gap(expected, size, number, size, &gap));
        uint32_t behind = gap.at + gap.len;
        require_that(memcmp(page, expected, gap.at) == 0);
        require_that(memcmp(page + behind, expected + behind, size - behind) == 0);
    }
    for (size_t i = 0; i < shardy__sidecar_chain_count(s); i++) {
        sidecar_chain chain = shardy__sidecar_chain_at(s, i);
        for (size_t c = 0; c < chain.count; c++) {
            uint32_t next = c + 1 < chain.count ? chain.pages[c + 1] : 0;
            require_that(
                shardy__get_be32(file->data + (size_t)(chain.pages[c] - 1) * size) == next);
        }
    }
    shardy__sidecar_free(s);
}

static void check_rows(const uint8_t *data, size_t size)
{
    static uint8_t file_bytes[FILE_MAX];
    static uint8_t side_bytes[FILE_MAX];
    image file = {file_bytes, 0};
    image side = {side_bytes, 0};
    if (make(data, size, &file, &side, NULL) >= 0) {
        check_made(&file, &side);
    }
}

/* ---------------------------------------------------------------------------------------------- */

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    sidecar *s = NULL;
    shardy_status st = parse((shardy_bytes){data, size}, 64 * 512, &s, err);
    shardy__sidecar_free(s);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    uint32_t page_size = 512u << (data[0] >> 5);
    uint64_t file_size = (uint64_t)data[1] * page_size;
    if ((data[0] & 3) == 2) {
        check_rows(data + 1, size - 1);
    } else if ((data[0] & 3) == 0) {
        check_bytes(data + 2, size - 2, file_size);
        run_with_fault(data + 2, size - 2, run);
    } else {
        size_t len;
        uint8_t *side = wrap(data + 2, size - 2, page_size, &len);
        check_bytes(side, len, file_size);
        run_with_fault(side, len, run);
        free(side);
    }
    return 0;
}
