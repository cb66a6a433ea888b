#include "page_out.h"

#include "../base/alloc.h"
#include "btree_page.h"

#include <string.h>

/* One write: a few chunks, so that a system call costs nothing beside the copy. */
#define OUT_BUFFER_LEN ((size_t)4 << SHARDY_CHUNK_SHIFT)

shardy_status shardy__page_out_init(page_out *out, const btree_sink *sink, uint32_t page_size,
    uint32_t roots, int32_t digests, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    out->sink = *sink;
    out->page_size = page_size;
    out->digests = digests;
    out->next_page = roots + 1;
    out->lock_page = FILE_LOCK_BYTE / page_size + 1;
    uint64_t chunks = shardy__chunk_count((uint64_t)roots * page_size);
    out->head_len = chunks << SHARDY_CHUNK_SHIFT;
    out->offset = out->head_len;
    out->head = shardy__calloc(1, (size_t)out->head_len);
    out->buffer = shardy__malloc(OUT_BUFFER_LEN);
    if (digests) {
        out->sum_count = (size_t)chunks;
        out->sum_room = (size_t)chunks + 64;
        out->sums = shardy__calloc(out->sum_room, sizeof *out->sums);
    }
    if (!out->head || !out->buffer || (digests && !out->sums)) {
        shardy__page_out_free(out);
        return shardy__error_nomem(err, "sqlite");
    }
    return SHARDY_OK;
}

void shardy__page_out_free(page_out *out)
{
    shardy__free(out->head);
    shardy__free(out->buffer);
    shardy__free(out->sums);
    memset(out, 0, sizeof *out);
}

uint8_t *shardy__page_out_root(page_out *out, uint32_t number)
{
    return out->head + (size_t)(number - 1) * out->page_size;
}

static shardy_status add_sums(page_out *out, const uint8_t *data, size_t len, shardy_error *err)
{
    size_t chunks = (size_t)shardy__chunk_count(len);
    if (out->sum_count + chunks > out->sum_room) {
        size_t room = 2 * out->sum_room + chunks;
        sha256 *sums = shardy__realloc(out->sums, room * sizeof *sums);
        if (!sums) {
            return shardy__error_nomem(err, "sqlite");
        }
        out->sums = sums;
        out->sum_room = room;
    }
    for (size_t at = 0; at < len; at += SHARDY_CHUNK_LEN) {
        size_t n = len - at < SHARDY_CHUNK_LEN ? len - at : SHARDY_CHUNK_LEN;
        SHARDY_TRY(shardy__sha256(data + at, n, &out->sums[out->sum_count++], err));
    }
    return SHARDY_OK;
}

static shardy_status flush(page_out *out, shardy_error *err)
{
    if (out->buffered == 0) {
        return SHARDY_OK;
    }
    if (out->digests) {
        SHARDY_TRY(add_sums(out, out->buffer, out->buffered, err));
    }
    SHARDY_TRY(out->sink.write(out->sink.user, out->offset, out->buffer, out->buffered, err));
    out->offset += out->buffered;
    out->buffered = 0;
    return SHARDY_OK;
}

/* Room for the page `number`, which is the one after the last. */
static shardy_status place_page(
    page_out *out, uint32_t number, uint8_t **bytes_out, shardy_error *err)
{
    uint64_t at = (uint64_t)(number - 1) * out->page_size;
    if (at < out->head_len) {
        *bytes_out = out->head + at;
        return SHARDY_OK;
    }
    if (out->buffered == OUT_BUFFER_LEN) {
        SHARDY_TRY(flush(out, err));
    }
    *bytes_out = out->buffer + out->buffered;
    out->buffered += out->page_size;
    return SHARDY_OK;
}

shardy_status shardy__page_out_next(
    page_out *out, uint32_t *number_out, uint8_t **bytes_out, shardy_error *err)
{
    if (out->next_page == out->lock_page) {
        uint8_t *unused = NULL;
        SHARDY_TRY(place_page(out, out->next_page++, &unused, err));
        memset(unused, 0, out->page_size);
    }
    if (out->next_page >= UINT32_MAX - 1) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "file has more pages than SQLite can number, choose a larger page size");
    }
    *number_out = out->next_page++;
    return place_page(out, *number_out, bytes_out, err);
}

uint32_t shardy__page_out_peek(const page_out *out, uint32_t *state)
{
    uint32_t number = *state ? *state : out->next_page;
    number += number == out->lock_page;
    *state = number + 1;
    return number;
}

shardy_status shardy__page_out_finish(page_out *out, shardy_error *err)
{
    SHARDY_TRY(flush(out, err));
    uint64_t size = (uint64_t)(out->next_page - 1) * out->page_size;
    size_t len = size < out->head_len ? (size_t)size : (size_t)out->head_len;
    if (out->digests) {
        size_t count = out->sum_count;
        out->sum_count = 0;
        SHARDY_TRY(add_sums(out, out->head, len, err));
        out->sum_count = count;
    }
    return out->sink.write(out->sink.user, 0, out->head, len, err);
}
