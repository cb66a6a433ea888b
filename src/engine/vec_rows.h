/* vec_rows.h: the vectors of the chunks of a shard, some at a time, read where they lie.
 *
 * A window is a run of slots of one chunk whose vectors take no more than VEC_WINDOW_BYTES. Only
 * the pages of one window are held at a time, which bounds what a search pins. A vector that is
 * split over pages is a list of parts; a float that is split itself is put together and is a part
 * of its own; only a vector that would need too many parts (kernels.h) is copied. */
#ifndef SHARDY_ENGINE_VEC_ROWS_H
#define SHARDY_ENGINE_VEC_ROWS_H

#include "../simd/kernels.h"
#include "vec_tables.h"

/* Large enough that calls cost nothing beside the work, small enough to stay in a near cache. */
#define VEC_WINDOW_ROWS  512u
#define VEC_WINDOW_BYTES (512u << 10)

/* A vector that begins on the page of the row of the chunk. */
#define VEC_PLACE_LOCAL UINT32_MAX

typedef struct vec_rows {
    const vec_tables *tables;
    simd_rows window;  /* the vectors at hand; window.at and window.parts are ours */
    uint64_t *numbers; /* the rowid of each */

    /* private */
    vec_view view;
    uint32_t chunk;     /* number of the next chunk */
    uint32_t asked;     /* chunks before this one were asked for */
    uint64_t ahead_max; /* bytes on their way or waiting to be compared */
    uint32_t slot;      /* next one of the view */
    uint32_t row_len;
    uint32_t per_page; /* payload bytes of an overflow page */
    const void **at;
    const simd_part **part_lists;
    uint64_t *offsets; /* of each vector in the payload */
    uint32_t *places;  /* the page in `pages` where it begins, or VEC_PLACE_LOCAL */
    simd_part *parts;
    size_t parts_max;
    size_t part_count;
    page_ref *pages; /* of the window, from overflow page `first_page` of the chunk on */
    page_want *wants;
    page_want **want_list;
    size_t pages_max;
    uint32_t first_page;
    uint32_t page_count;
    float *floats; /* split floats, then copied vectors */
    size_t float_count;
    size_t floats_max;
} vec_rows;

/* Statuses: OK, NOMEM. Free it in any case. */
shardy_status shardy__vec_rows_init(vec_rows *r, const vec_tables *t, shardy_error *err);
void shardy__vec_rows_free(vec_rows *r);

/* Back to the first chunk. */
void shardy__vec_rows_restart(vec_rows *r);

/* The next window, which has a vector at least; the one before is given back. Waits for pages.
 * Statuses: OK; DONE; CORRUPT, CHECKSUM and those of the source, NOMEM. */
shardy_status shardy__vec_rows_next(vec_rows *r, shardy_error *err);

/* Row i of the window in one piece: where it lies, or copied into `room`, which has dim floats. */
const void *shardy__vec_rows_whole(const vec_rows *r, size_t i, float *room);

#endif
