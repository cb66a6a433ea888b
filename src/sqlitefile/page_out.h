/* page_out.h: the output of btree_write: numbers pages, keeps the head back, collects the rest into
 * large writes and hashes it. */
#ifndef SHARDY_SQLITEFILE_PAGE_OUT_H
#define SHARDY_SQLITEFILE_PAGE_OUT_H

#include "btree_write.h"

typedef struct page_out {
    btree_sink sink;
    uint32_t page_size;
    uint32_t next_page; /* the number that is given out next */
    uint32_t lock_page; /* never given out: SQLite locks a byte of it */
    int32_t digests;
    uint8_t *head; /* the first head_len bytes of the file, written last */
    uint64_t head_len;
    uint8_t *buffer; /* bytes of the file from `offset` on that were not written */
    size_t buffered;
    uint64_t offset;
    sha256 *sums; /* of the chunks so far; those of the head are filled last */
    size_t sum_count;
    size_t sum_room;
} page_out;

/* Pages 1 to `roots` belong to the caller (shardy__page_out_root()); the others are given out from
 * roots + 1 on. */
shardy_status shardy__page_out_init(page_out *out, const btree_sink *sink, uint32_t page_size,
    uint32_t roots, int32_t digests, shardy_error *err);
void shardy__page_out_free(page_out *out);

/* The next page: its number and `page_size` bytes to fill before the next call, with anything in
 * them. */
shardy_status shardy__page_out_next(
    page_out *out, uint32_t *number_out, uint8_t **bytes_out, shardy_error *err);

/* The number that the next call will give, without giving it out; calls with the same *state, which
 * starts as 0, go on from there. */
uint32_t shardy__page_out_peek(const page_out *out, uint32_t *state);

/* A page that was kept back from the start: zeros at first. `number` is 1 to `roots`. */
uint8_t *shardy__page_out_root(page_out *out, uint32_t number);

/* Writes everything, the head last. */
shardy_status shardy__page_out_finish(page_out *out, shardy_error *err);

#endif
