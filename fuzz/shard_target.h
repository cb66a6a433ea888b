/* shard_target.h: what the fuzz targets of shards share: the bytes as a source whose pages are
 * counted, so that work beyond all bounds is seen. */
#ifndef SHARDY_FUZZ_SHARD_TARGET_H
#define SHARDY_FUZZ_SHARD_TARGET_H

#include "base/bytebuf.h"
#include "engine/shard_file.h"

#include <shardyfusion/limits.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "property does not hold: %s\n", what);
        abort();
    }
}

/* The bytes, of which each page that is asked for counts. */
typedef struct counted {
    const uint8_t *data;
    size_t size;
    uint64_t pages;
    uint64_t pages_max;
} counted;

static shardy_status counted_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    (void)err;
    counted *c = state;
    require(offset + len <= c->size, "pages lie within the file");
    require(++c->pages <= c->pages_max, "the work is bounded by the size of the file");
    ref_out->data = c->data + offset;
    return SHARDY_OK;
}

static shardy_status counted_fetch(
    void *state, size_t page_size, page_want *const *wants, size_t count, shardy_error *err)
{
    for (size_t i = 0; i < count; i++) {
        SHARDY_TRY(counted_get(
            state, (uint64_t)(wants[i]->page - 1) * page_size, page_size, &wants[i]->ref, err));
    }
    return SHARDY_OK;
}

static void counted_unpin(void *state, page_ref *ref)
{
    (void)state;
    (void)ref;
}

static void counted_close(void *state)
{
    (void)state;
}

/* NULL when there is no memory. */
static page_source *open_counted(counted *c, const uint8_t *data, size_t size)
{
    static const page_source_ops ops = {counted_get, counted_fetch, counted_unpin, counted_close};
    page_source *source = NULL;
    c->data = data;
    c->size = size;
    c->pages = 0;
    c->pages_max = UINT64_MAX;
    (void)shardy__page_source_custom_take(&ops, c, size, 0, &source, NULL);
    return source;
}

/* From here on, at most so many pages for each byte of the file. */
static void allow(counted *c, uint64_t pages_per_byte)
{
    c->pages = 0;
    c->pages_max = pages_per_byte * c->size + 10000;
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
