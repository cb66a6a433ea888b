#include "sidecar_write.h"

#include "../base/alloc.h"
#include "btree_page.h"

#include <shardyfusion/limits.h>

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL   3 /* of the reference */
#define OUT_LEN ((size_t)64 << 10)

/* --- the list --------------------------------------------------------------------------------- */

void shardy__sidecar_list_init(sidecar_list *list, uint32_t page_size)
{
    memset(list, 0, sizeof *list);
    list->page_size = page_size;
}

void shardy__sidecar_list_free(sidecar_list *list)
{
    for (size_t i = 0; i < list->item_count; i++) {
        if (list->items[i].owned) {
            union {
                const uint8_t *data;
                void *block;
            } owned = {list->items[i].data};
            shardy__free(owned.block);
        }
    }
    shardy__free(list->items);
    shardy__free(list->runs);
    memset(list, 0, sizeof *list);
}

/* Room for one more in an array; NULL when there is no memory. */
static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return array;
    }
    size_t bytes;
    size_t more = *room ? *room * 2 : 64;
    void *grown = shardy__mul_size(more, size, &bytes) ? shardy__realloc(array, bytes) : NULL;
    *room = grown ? more : *room;
    return grown;
}

static void add_page(sidecar_list *list, const sidecar_item *item)
{
    sidecar_item *items =
        grow(list->items, list->item_count, &list->item_room, sizeof *list->items);
    if (!items) {
        list->status = SHARDY_NOMEM;
        return;
    }
    list->items = items;
    items[list->item_count++] = *item;
}

void shardy__sidecar_list_page(sidecar_list *list, uint32_t number, const uint8_t *data)
{
    if (list->status >= 0) {
        add_page(list, &(sidecar_item){number, 0, data, 0});
    }
}

void shardy__sidecar_list_shelved(sidecar_list *list, uint32_t number, uint32_t place)
{
    if (list->status >= 0) {
        add_page(list, &(sidecar_item){number, 0, NULL, place});
    }
}

void shardy__sidecar_list_copy(sidecar_list *list, uint32_t number, const uint8_t *data)
{
    if (list->status < 0) {
        return;
    }
    uint8_t *copy = shardy__malloc(list->page_size);
    if (!copy) {
        list->status = SHARDY_NOMEM;
        return;
    }
    memcpy(copy, data, list->page_size);
    add_page(list, &(sidecar_item){number, 1, copy, 0});
    if (list->status < 0) {
        shardy__free(copy);
    }
}

void shardy__sidecar_list_chain(sidecar_list *list, uint32_t first, uint32_t count)
{
    if (list->status < 0) {
        return;
    }
    sidecar_run *runs = grow(list->runs, list->run_count, &list->run_room, sizeof *list->runs);
    if (!runs) {
        list->status = SHARDY_NOMEM;
        return;
    }
    list->runs = runs;
    runs[list->run_count++] = (sidecar_run){first, count};
}

static int compare_items(const void *a, const void *b)
{
    uint32_t x = ((const sidecar_item *)a)->number;
    uint32_t y = ((const sidecar_item *)b)->number;
    return (x > y) - (x < y);
}

/* --- the body --------------------------------------------------------------------------------- */

typedef struct packer {
    ZSTD_CCtx *encoder;
    const btree_sink *sink;
    uint8_t *out;
    uint64_t offset;
    uint32_t words[256]; /* numbers that were not given to the encoder yet */
    size_t word_count;
} packer;

static shardy_status refused(size_t code, shardy_error *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation) {
        return shardy__error_nomem(err, "sidecar");
    }
    return shardy__error(err, SHARDY_INTERNAL, "sidecar", "Zstandard: %s", ZSTD_getErrorName(code));
}

static shardy_status pack(
    packer *p, const void *data, size_t len, ZSTD_EndDirective end, shardy_error *err)
{
    ZSTD_inBuffer in = {data, len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {p->out, OUT_LEN, 0};
        left = ZSTD_compressStream2(p->encoder, &out, &in, end);
        if (ZSTD_isError(left)) {
            return refused(left, err);
        }
        if (out.pos > 0) {
            SHARDY_TRY(p->sink->write(p->sink->user, p->offset, p->out, out.pos, err));
            p->offset += out.pos;
        }
    } while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return SHARDY_OK;
}

static shardy_status flush_words(packer *p, shardy_error *err)
{
    size_t len = p->word_count * sizeof p->words[0];
    p->word_count = 0;
    return len ? pack(p, p->words, len, ZSTD_e_continue, err) : SHARDY_OK;
}

static shardy_status pack_word(packer *p, uint32_t word, shardy_error *err)
{
    p->words[p->word_count++] = word;
    return p->word_count == sizeof p->words / sizeof p->words[0] ? flush_words(p, err) : SHARDY_OK;
}

/* The bytes of a page, until those of the next one are asked for, and what is left out of them. */
static shardy_status open_item(const sidecar_list *list, const sidecar_item *item,
    const uint8_t **data_out, sidecar_gap *gap, shardy_error *err)
{
    uint8_t *shelved = NULL;
    if (!item->data) {
        SHARDY_TRY(shardy__page_shelf_get(list->shelf, item->place, &shelved, err));
    }
    *data_out = item->data ? item->data : shelved;
    if (!shardy__sidecar_gap(*data_out, list->page_size, item->number, list->page_size, gap)) {
        return shardy__error(
            err, SHARDY_CORRUPT, "sidecar", "page \"%u\" is not one of a tree", item->number);
    }
    return SHARDY_OK;
}

static shardy_status pack_pages(const sidecar_list *list, packer *p, shardy_error *err)
{
    SHARDY_TRY(pack_word(p, (uint32_t)list->item_count, err));
    for (size_t i = 0; i < list->item_count; i++) {
        SHARDY_TRY(pack_word(p, list->items[i].number, err));
    }
    uint32_t offset = 0;
    SHARDY_TRY(pack_word(p, offset, err));
    for (size_t i = 0; i < list->item_count; i++) {
        sidecar_gap gap;
        const uint8_t *data;
        SHARDY_TRY(open_item(list, &list->items[i], &data, &gap, err));
        offset += list->page_size - gap.len;
        SHARDY_TRY(pack_word(p, offset, err));
    }
    return SHARDY_OK;
}

static shardy_status pack_chains(const sidecar_list *list, packer *p, shardy_error *err)
{
    SHARDY_TRY(pack_word(p, (uint32_t)list->run_count, err));
    for (size_t i = 0; i < list->run_count; i++) {
        SHARDY_TRY(pack_word(p, list->runs[i].first, err));
    }
    uint32_t end = 0;
    SHARDY_TRY(pack_word(p, end, err));
    for (size_t i = 0; i < list->run_count; i++) {
        end += list->runs[i].count;
        SHARDY_TRY(pack_word(p, end, err));
    }
    uint32_t lock_page = FILE_LOCK_BYTE / list->page_size + 1;
    const uint32_t *link = list->links;
    for (size_t i = 0; i < list->run_count; i++) {
        uint32_t number = list->runs[i].first;
        for (uint32_t n = 0; n < list->runs[i].count; n++) {
            SHARDY_TRY(pack_word(p, link ? *link++ : number, err));
            number++;
            number += number == lock_page;
        }
    }
    return flush_words(p, err);
}

static shardy_status pack_blob(const sidecar_list *list, packer *p, shardy_error *err)
{
    for (size_t i = 0; i < list->item_count; i++) {
        sidecar_gap gap;
        const uint8_t *data;
        SHARDY_TRY(open_item(list, &list->items[i], &data, &gap, err));
        uint32_t behind = gap.at + gap.len;
        SHARDY_TRY(pack(p, data, gap.at, ZSTD_e_continue, err));
        SHARDY_TRY(pack(p, data + behind, list->page_size - behind, ZSTD_e_continue, err));
    }
    return pack(p, NULL, 0, ZSTD_e_end, err);
}

/* The length of the body. UNSUPPORTED when no reader would take it. */
static shardy_status measure(const sidecar_list *list, uint64_t *len_out, shardy_error *err)
{
    uint64_t blob = 0;
    uint64_t links = 0;
    for (size_t i = 0; i < list->item_count; i++) {
        sidecar_gap gap;
        const uint8_t *data;
        SHARDY_TRY(open_item(list, &list->items[i], &data, &gap, err));
        blob += list->page_size - gap.len;
    }
    for (size_t i = 0; i < list->run_count; i++) {
        links += list->runs[i].count;
    }
    uint64_t tables =
        4 * (4 + 2 * (uint64_t)list->item_count + 2 * (uint64_t)list->run_count + links);
    uint64_t whole = tables + (uint64_t)list->item_count * list->page_size;
    *len_out = tables + blob;
    if (blob > SIDECAR_BLOB_MAX || whole + *len_out > SHARDY_SIDECAR_LEN_MAX) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sidecar",
            "the index of the file takes %llu bytes, more than half the limit of %u",
            (unsigned long long)whole, SHARDY_SIDECAR_LEN_MAX);
    }
    return SHARDY_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

static shardy_status open_packer(packer *p, uint64_t body_len, shardy_error *err)
{
    p->out = shardy__malloc(OUT_LEN);
    p->encoder = ZSTD_createCCtx();
    if (!p->out || !p->encoder) {
        return shardy__error_nomem(err, "sidecar");
    }
    size_t code = ZSTD_CCtx_setParameter(p->encoder, ZSTD_c_compressionLevel, LEVEL);
    if (!ZSTD_isError(code)) {
        code = ZSTD_CCtx_setParameter(p->encoder, ZSTD_c_checksumFlag, 1);
    }
    if (!ZSTD_isError(code)) {
        code = ZSTD_CCtx_setPledgedSrcSize(p->encoder, body_len);
    }
    return ZSTD_isError(code) ? refused(code, err) : SHARDY_OK;
}

static shardy_status write_prefix(
    const sidecar_list *list, packer *p, uint64_t body_len, shardy_error *err)
{
    uint8_t prefix[SIDECAR_PREFIX_LEN];
    memcpy(prefix, SIDECAR_MAGIC, 4);
    prefix[4] = SIDECAR_VERSION;
    shardy__put_le64(prefix + 5, body_len);
    shardy__put_le32(prefix + 13, list->page_size);
    prefix[17] = 0;
    p->offset = sizeof prefix;
    return p->sink->write(p->sink->user, 0, prefix, sizeof prefix, err);
}

shardy_status shardy__sidecar_write(
    sidecar_list *list, const btree_sink *sink, uint64_t *len_out, shardy_error *err)
{
    *len_out = 0;
    if (list->status == SHARDY_UNSUPPORTED) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "sidecar",
            "the schema has overflow pages with numbers of more than 24 bits");
    }
    if (list->status < 0) {
        return shardy__error_nomem(err, "sidecar");
    }
    uint64_t body_len;
    packer p;
    memset(&p, 0, sizeof p);
    p.sink = sink;
    if (list->item_count > 0) {
        qsort(list->items, list->item_count, sizeof *list->items, compare_items);
    }
    SHARDY_TRY(measure(list, &body_len, err));
    shardy_status st = open_packer(&p, body_len, err);
    if (st >= 0) {
        st = write_prefix(list, &p, body_len, err);
    }
    if (st >= 0) {
        st = pack_pages(list, &p, err);
    }
    if (st >= 0) {
        st = pack_chains(list, &p, err);
    }
    if (st >= 0) {
        st = pack_blob(list, &p, err);
    }
    *len_out = p.offset;
    ZSTD_freeCCtx(p.encoder);
    shardy__free(p.out);
    return st;
}

size_t shardy__sidecar_tag(
    const uint8_t *prefix, const char *tag, uint8_t out[SIDECAR_PREFIX_LEN + SIDECAR_TAG_MAX])
{
    size_t len = strlen(tag);
    len = len <= SIDECAR_TAG_MAX ? len : 0;
    memcpy(out, prefix, SIDECAR_PREFIX_LEN);
    out[SIDECAR_PREFIX_LEN - 1] = (uint8_t)len;
    memcpy(out + SIDECAR_PREFIX_LEN, tag, len);
    return SIDECAR_PREFIX_LEN + len;
}
