/* sidecar_testing.h: what has to be in the sidecar of a file, as SQLite's own table dbstat tells
 * it. */
#ifndef SHARDY_TESTS_SIDECAR_TESTING_H
#define SHARDY_TESTS_SIDECAR_TESTING_H

#include "base/bytes.h"
#include "sqlitefile/sidecar_write.h"
#include "support/sqlite_testing.h"

static MAYBE_UNUSED uint32_t page_size_of(const image *img)
{
    uint32_t size = shardy__get_be16(img->data + 16);
    return size == 1 ? 65536 : size;
}

static MAYBE_UNUSED const uint8_t *page_of(const image *img, uint32_t number)
{
    return img->data + (size_t)(number - 1) * page_size_of(img);
}

/* Pages and chains from dbstat; the caller frees *links_out after the list. */
static MAYBE_UNUSED void list_by_dbstat(
    const image *img, sqlite3 *db, sidecar_list *list, uint32_t **links_out)
{
    size_t pages = img->len / page_size_of(img);
    uint8_t *overflow = calloc(pages + 1, 1); /* 1: an overflow page, 2: somebody's successor */
    uint32_t *links = calloc(pages + 1, sizeof *links);
    assert_non_null(overflow);
    assert_non_null(links);
    shardy__sidecar_list_init(list, page_size_of(img));
    sqlite3_stmt *rows = prepare(db, "SELECT pageno, pagetype, name IN ('sqlite_master', "
                                     "'sqlite_schema') FROM dbstat ORDER BY pageno DESC");
    while (sqlite3_step(rows) == SQLITE_ROW) {
        uint32_t number = (uint32_t)sqlite3_column_int64(rows, 0);
        const char *type = (const char *)sqlite3_column_text(rows, 1);
        if (strcmp(type, "internal") == 0 || sqlite3_column_int(rows, 2)) {
            shardy__sidecar_list_page(list, number, page_of(img, number));
        }
        overflow[number] = strcmp(type, "overflow") == 0;
    }
    sqlite3_finalize(rows);
    for (uint32_t p = 1; p <= pages; p++) {
        uint32_t next = overflow[p] ? shardy__get_be32(page_of(img, p)) : 0;
        if (next && next <= pages && overflow[next]) {
            overflow[next] |= 2;
        }
    }
    size_t at = 0;
    for (uint32_t p = 1; p <= pages; p++) {
        if (overflow[p] == 1) {
            size_t begin = at;
            for (uint32_t q = p; q; q = shardy__get_be32(page_of(img, q))) {
                links[at++] = q;
            }
            shardy__sidecar_list_chain(list, p, (uint32_t)(at - begin));
        }
    }
    list->links = links;
    *links_out = links;
    free(overflow);
}

/* The sidecar of any file. */
static MAYBE_UNUSED image sidecar_by_dbstat(const image *img)
{
    shardy_error err = {0};
    sidecar_list list;
    uint32_t *links = NULL;
    image out = {0};
    btree_sink sink = {write_image, &out};
    uint64_t len = 0;
    sqlite3 *db = open_db(img);
    list_by_dbstat(img, db, &list, &links);
    assert_ok(shardy__sidecar_write(&list, &sink, &len, &err));
    assert_int_equal(len, out.len);
    shardy__sidecar_list_free(&list);
    free(links);
    sqlite3_close(db);
    return out;
}

/* All that a sidecar says is true of the file: pages outside their gaps, and links. */
static MAYBE_UNUSED void check_sidecar(const sidecar *s, const image *img)
{
    uint32_t size = page_size_of(img);
    assert_int_equal(shardy__sidecar_page_size(s), size);
    for (size_t i = 0; i < shardy__sidecar_page_count(s); i++) {
        uint32_t number = shardy__sidecar_page_number(s, i);
        const uint8_t *page = shardy__sidecar_page(s, number);
        const uint8_t *expected = page_of(img, number);
        sidecar_gap gap;
        assert_non_null(page);
        assert_true(shardy__sidecar_gap(expected, size, number, size, &gap));
        assert_memory_equal(page, expected, gap.at);
        for (uint32_t b = gap.at; b < gap.at + gap.len; b++) {
            assert_int_equal(page[b], 0);
        }
        if (gap.at + gap.len < size) {
            assert_memory_equal(
                page + gap.at + gap.len, expected + gap.at + gap.len, size - gap.at - gap.len);
        }
    }
    for (size_t i = 0; i < shardy__sidecar_chain_count(s); i++) {
        sidecar_chain chain = shardy__sidecar_chain_at(s, i);
        for (size_t c = 0; c < chain.count; c++) {
            uint32_t next = c + 1 < chain.count ? chain.pages[c + 1] : 0;
            assert_int_equal(shardy__get_be32(page_of(img, chain.pages[c])), next);
        }
        sidecar_chain again = shardy__sidecar_chain(s, chain.pages[0]);
        assert_ptr_equal(again.pages, chain.pages);
        assert_int_equal(again.count, chain.count);
    }
}

#endif
