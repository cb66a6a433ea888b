/* shard_target.h: what the fuzz targets of shards share: the bytes as a source whose pages are
 * counted, so that work beyond all bounds is seen. */
#ifndef SHARDY_FUZZ_SHARD_TARGET_H
#define SHARDY_FUZZ_SHARD_TARGET_H

#include "faults.h"

#include "base/bytebuf.h"
#include "engine/shard_check.h"

#include <shardyfusion/limits.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes, of which each page that is asked for counts. */
typedef struct counted {
    const uint8_t *data;
    size_t size;
    uint64_t pages;
    uint64_t pages_max;
    uint64_t pins;
    int late; /* no page is at hand: each has to be fetched */
} counted;

static void counted_page(counted *c, uint64_t offset, size_t len, page_ref *ref_out)
{
    require(offset + len <= c->size, "pages lie within the file");
    require(++c->pages <= c->pages_max, "the work is bounded by the size of the file");
    ref_out->data = c->data + offset;
    ref_out->pin = c->late ? c : NULL;
    c->pins += (uint64_t)c->late;
}

static shardy_status counted_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    counted *c = state;
    (void)err;
    if (c->late) {
        return SHARDY_PENDING;
    }
    counted_page(c, offset, len, ref_out);
    return SHARDY_OK;
}

static shardy_status counted_fetch(void *state, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err)
{
    (void)limits;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)(wants[i]->page - 1) * page_size;
        counted_page(state, offset, page_size, &wants[i]->ref);
    }
    return SHARDY_OK;
}

/* What is read ahead of need counts as work too, but nothing comes of it. */
static void counted_start(
    void *state, size_t page_size, page_want *const *wants, size_t count, const page_limits *limits)
{
    counted *c = state;
    (void)limits;
    for (size_t i = 0; i < count; i++) {
        require(wants[i]->page > 0 && (uint64_t)wants[i]->page * page_size <= c->size,
            "what is read ahead lies within the file");
        require(++c->pages <= c->pages_max, "reading ahead is bounded by the size of the file");
    }
}

static void counted_unpin(void *state, page_ref *ref)
{
    counted *c = state;
    require(ref->pin == c && c->pins > 0, "a page is given back once");
    c->pins--;
}

static void counted_close(void *state)
{
    counted *c = state;
    require(c->pins == 0, "all pages were given back");
}

/* NULL when there is no memory. With `late` no page is at hand: each is fetched and given back,
 * and pages are read ahead. */
static page_source *open_counted(counted *c, const uint8_t *data, size_t size, int late)
{
    static const page_source_ops at_hand = {
        counted_get, counted_fetch, counted_unpin, counted_close, NULL};
    static const page_source_ops on_its_way = {
        counted_get, counted_fetch, counted_unpin, counted_close, counted_start};
    page_source *source = NULL;
    c->data = data;
    c->size = size;
    c->late = late;
    c->pages = 0;
    c->pages_max = UINT64_MAX;
    c->pins = 0;
    (void)shardy__page_source_custom_take(late ? &on_its_way : &at_hand, c, size, 0, &source, NULL);
    return source;
}

/* From here on, at most so many pages for each byte of the file. */
static void allow(counted *c, uint64_t pages_per_byte)
{
    c->pages = 0;
    c->pages_max = pages_per_byte * c->size + 10000;
}

static shardy_status checked_key(void *user, shardy_bytes key, shardy_error *err)
{
    (void)user;
    (void)err;
    require(key.len <= SHARDY_KEY_LEN_MAX, "keys are not longer than they may be");
    return SHARDY_OK;
}

static shardy_status checked_damage(
    void *user, uint64_t offset, const shardy_error *found, shardy_error *err)
{
    int32_t *damaged = user;
    (void)offset;
    (void)err;
    require(found->status == SHARDY_CORRUPT && found->message[0] != '\0', "damage has a message");
    ++*damaged;
    return SHARDY_OK;
}

static shardy_status checked_piece(void *user, shardy_error *err)
{
    (void)user;
    (void)err;
    return SHARDY_OK;
}

/* A check of all that is in a shard; *damaged_out says how many parts are not as they must be. */
static shardy_status check_shard(
    const shard_file *f, const vec_tables *t, int32_t *damaged_out, shardy_error *err)
{
    const shardy_engine_check request = {
        checked_key, checked_damage, checked_piece, damaged_out, NULL, 0, NULL};
    *damaged_out = 0;
    return shardy__shard_check(f, t, &request, err);
}

/* What may come of reading bytes that anybody wrote. */
static void require_outcome(shardy_status st)
{
    require(st >= 0 || st == SHARDY_CORRUPT || st == SHARDY_UNSUPPORTED, "bad bytes are corrupt");
}

/* A message belongs to a failure, and a failure has one. */
static void require_message(shardy_status st, const shardy_error *err)
{
    require(st >= 0 || (err->message[0] != '\0' && err->status == st), "a failure has a message");
}

#endif
