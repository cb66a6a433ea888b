#include "btree_read.h"

#include "../base/alloc.h"
#include "btree_page.h"
#include "btree_step.h"

#include <string.h>

/* Pages of a chain that are asked for beyond the next one: enough for a value of 4 MiB in pages of
 * 4 KiB to come in one round trip. */
#define PAYLOAD_AHEAD_MAX 1024u

/* --- pieces ----------------------------------------------------------------------------------- */

shardy_status shardy__btree_payload_start(btree_payload *payload, const btree_file *file,
    const btree_cell *cell, uint64_t offset, uint64_t len, shardy_error *err)
{
    memset(payload, 0, sizeof *payload);
    payload->file = file;
    payload->local = cell->local;
    payload->local_left = cell->local_len;
    payload->overflow = cell->overflow;
    payload->chain_left = cell->payload_len - cell->local_len;
    payload->skip = offset;
    uint64_t rest = offset < cell->payload_len ? cell->payload_len - offset : 0;
    payload->left = len < rest ? len : rest;
    uint64_t page_room = file->usable - 4;
    uint64_t pages = (payload->chain_left + page_room - 1) / page_room;
    if (pages > file->page_count) {
        payload->left = 0;
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "payload of %llu bytes needs %llu overflow pages, the file has %u",
            (unsigned long long)cell->payload_len, (unsigned long long)pages, file->page_count);
    }
    return SHARDY_OK;
}

/* Cuts a run of payload bytes to the part that is wanted; 1 when there is any. */
static int cut_piece(
    btree_payload *p, const uint8_t *data, uint64_t len, const uint8_t **data_out, size_t *len_out)
{
    if (p->skip >= len) {
        p->skip -= len;
        return 0;
    }
    uint64_t n = len - p->skip;
    n = n < p->left ? n : p->left;
    *data_out = data + p->skip;
    *len_out = (size_t)n;
    p->skip = 0;
    p->left -= n;
    return 1;
}

static shardy_status take_overflow(btree_payload *p, shardy_error *err)
{
    page_source *source = p->file->source;
    if (p->want.page) {
        p->want.page = 0;
        if (p->want.ref.data) {
            p->ref = p->want.ref;
            memset(&p->want.ref, 0, sizeof p->want.ref);
            return SHARDY_OK;
        }
    }
    shardy_status st = shardy__page_get(source, p->overflow, &p->ref, err);
    if (st == SHARDY_PENDING) {
        /* Chains of files that were written in one go have their pages one after the other. */
        uint64_t room = p->file->usable - 4;
        uint64_t need = p->skip + p->left < p->chain_left ? p->skip + p->left : p->chain_left;
        uint64_t ahead = need > room ? (need - 1) / room : 0;
        p->want.page = p->overflow;
        p->want.ahead = ahead < PAYLOAD_AHEAD_MAX ? (uint32_t)ahead : PAYLOAD_AHEAD_MAX;
    }
    return st;
}

shardy_status shardy__btree_payload_next(
    btree_payload *payload, const uint8_t **data_out, size_t *len_out, shardy_error *err)
{
    btree_payload *p = payload;
    page_source *source = p->file->source;
    *data_out = NULL;
    *len_out = 0;
    if (p->local_left > 0 && p->left > 0) {
        uint32_t len = p->local_left;
        p->local_left = 0;
        if (cut_piece(p, p->local, len, data_out, len_out)) {
            return SHARDY_OK;
        }
    }
    uint64_t page_room = p->file->usable - 4;
    while (p->left > 0) {
        shardy__page_unpin(source, &p->ref);
        shardy_status st = take_overflow(p, err);
        if (st != SHARDY_OK) {
            return st;
        }
        uint64_t len = p->chain_left < page_room ? p->chain_left : page_room;
        p->chain_left -= len;
        p->overflow = shardy__get_be32(p->ref.data);
        const uint8_t *hint = shardy__page_hint(source, p->overflow);
        if (hint) {
            __builtin_prefetch(hint);
        }
        if (cut_piece(p, p->ref.data + 4, len, data_out, len_out)) {
            return SHARDY_OK;
        }
    }
    return SHARDY_DONE;
}

shardy_status shardy__btree_payload_run(
    btree_payload *payload, const uint8_t **data_out, size_t *len_out, shardy_error *err)
{
    for (;;) {
        shardy_status st = shardy__btree_payload_next(payload, data_out, len_out, err);
        if (st != SHARDY_PENDING) {
            return st;
        }
        page_want *const wants[1] = {&payload->want};
        SHARDY_TRY(shardy__page_fetch(payload->file->source, wants, 1, payload->limits, err));
    }
}

void shardy__btree_payload_end(btree_payload *payload)
{
    if (!payload->file) {
        return;
    }
    shardy__page_unpin(payload->file->source, &payload->ref);
    shardy__page_unpin(payload->file->source, &payload->want.ref);
    payload->want.page = 0;
    payload->left = 0;
}

shardy_status shardy__btree_read(const btree_tree *tree, const btree_cell *cell, uint64_t offset,
    void *dest, size_t len, shardy_error *err)
{
    if (offset > cell->payload_len || len > cell->payload_len - offset) {
        return shardy__error(err, SHARDY_INVALID, "sqlite",
            "%zu bytes at %llu of a payload of %llu", len, (unsigned long long)offset,
            (unsigned long long)cell->payload_len);
    }
    btree_payload p;
    shardy_status st = shardy__btree_payload_start(&p, tree->file, cell, offset, len, err);
    p.limits = tree->limits;
    uint8_t *to = dest;
    while (st == SHARDY_OK) {
        const uint8_t *piece = NULL;
        size_t n = 0;
        st = shardy__btree_payload_run(&p, &piece, &n, err);
        if (st == SHARDY_OK) {
            memcpy(to, piece, n);
            to += n;
        }
    }
    shardy__btree_payload_end(&p);
    return st == SHARDY_DONE ? SHARDY_OK : st;
}

/* --- the entry of a walk ---------------------------------------------------------------------- */

shardy_status shardy__btree_walk_payload(
    btree_walk *walk, size_t len_max, shardy_bytes *payload_out, shardy_error *err)
{
    payload_out->data = NULL;
    payload_out->len = 0;
    if (walk->stage != WALK_STANDS) {
        return shardy__error(err, SHARDY_MISUSE, "sqlite", "walk does not stand on an entry");
    }
    btree_cell *cell = &walk->cell;
    if (cell->payload_len > len_max) {
        return shardy__error(err, SHARDY_CORRUPT, "sqlite",
            "payload of %llu bytes, expected at most %zu", (unsigned long long)cell->payload_len,
            len_max);
    }
    const btree_file *file = walk->tree.file;
    size_t len = (size_t)cell->payload_len;
    int spilled = cell->payload_len > cell->local_len;
    if (spilled && !walk->loaded) {
        uint64_t pages = (cell->payload_len - cell->local_len) / (file->usable - 4) + 1;
        if (pages > walk->budget) {
            return shardy__error(err, SHARDY_CORRUPT, "sqlite",
                "payloads need more overflow pages than the file has");
        }
        walk->budget -= pages;
        uint8_t *loaded = shardy__malloc(len);
        if (!loaded) {
            return shardy__error_nomem(err, "sqlite");
        }
        shardy_status st = shardy__btree_read(&walk->tree, cell, 0, loaded, len, err);
        if (st < 0) {
            shardy__free(loaded);
            return st;
        }
        walk->loaded = loaded;
    }
    payload_out->data = spilled ? walk->loaded : cell->local;
    payload_out->len = len;
    return SHARDY_OK;
}

shardy_status shardy__btree_walk_field(
    btree_walk *walk, uint32_t field, record_column *column_out, shardy_error *err)
{
    memset(column_out, 0, sizeof *column_out);
    if (walk->stage != WALK_STANDS) {
        return shardy__error(err, SHARDY_MISUSE, "sqlite", "walk does not stand on an entry");
    }
    const btree_cell *cell = &walk->cell;
    shardy_status st = shardy__record_find(
        cell->local, cell->local_len, cell->payload_len, field, column_out, err);
    if (st != SHARDY_PENDING) {
        return st;
    }
    shardy_bytes payload;
    SHARDY_TRY(shardy__btree_walk_payload(walk, SIZE_MAX, &payload, err));
    return shardy__record_find(payload.data, payload.len, payload.len, field, column_out, err);
}

shardy_status shardy__btree_walk_record(
    btree_walk *walk, size_t len_max, record_value *values, size_t count, shardy_error *err)
{
    memset(values, 0, count * sizeof *values);
    shardy_bytes payload;
    SHARDY_TRY(shardy__btree_walk_payload(walk, len_max, &payload, err));
    return shardy__record_parse(payload.data, payload.len, values, count, NULL, err);
}
