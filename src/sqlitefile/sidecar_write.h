/* sidecar_write.h: making the sidecar of a SQLite file (sidecar.h) from what its writer knows.
 *
 * The bytes depend on the pages and chains alone (and on the version of the compressor). */
#ifndef SHARDY_SQLITEFILE_SIDECAR_WRITE_H
#define SHARDY_SQLITEFILE_SIDECAR_WRITE_H

#include "btree_write.h"
#include "page_shelf.h"
#include "sidecar.h"

/* A page that goes into the sidecar. */
typedef struct sidecar_item {
    uint32_t number;
    uint32_t owned; /* 1: `data` is freed with the list */
    const uint8_t *data;
    uint32_t place; /* on the shelf, when `data` is NULL */
} sidecar_item;

/* An overflow chain. */
typedef struct sidecar_run {
    uint32_t first;
    uint32_t count;
} sidecar_run;

/* What goes in. Errors stick, so that a list can be filled without a check after each call. */
typedef struct sidecar_list {
    uint32_t page_size;
    shardy_status status;
    sidecar_item *items;
    size_t item_count;
    size_t item_room;
    sidecar_run *runs;
    size_t run_count;
    size_t run_room;
    /* The pages of the chains, one chain after the other, borrowed; NULL: they follow one another
     * in the file, but for the page with the byte that SQLite locks */
    const uint32_t *links;
    page_shelf *shelf; /* borrowed */
} sidecar_list;

void shardy__sidecar_list_init(sidecar_list *list, uint32_t page_size);
void shardy__sidecar_list_free(sidecar_list *list);
/* A page, whole, borrowed until the list is freed; or copied. In any order, each once. */
void shardy__sidecar_list_page(sidecar_list *list, uint32_t number, const uint8_t *data);
void shardy__sidecar_list_copy(sidecar_list *list, uint32_t number, const uint8_t *data);
/* A page that is on the shelf of the list. */
void shardy__sidecar_list_shelved(sidecar_list *list, uint32_t number, uint32_t place);
/* A chain. First pages ascend. */
void shardy__sidecar_list_chain(sidecar_list *list, uint32_t first, uint32_t count);

/* Writes the sidecar, without a tag, from offset 0 of the sink on.
 * Statuses: OK; UNSUPPORTED: it would be larger than the format, or a reader, allows, so there is
 * none; CORRUPT: a page that cannot be one of the file; NOMEM; those of the sink. */
shardy_status shardy__sidecar_write(
    sidecar_list *list, const btree_sink *sink, uint64_t *len_out, shardy_error *err);

/* The start of a sidecar with a tag, from the first SIDECAR_PREFIX_LEN bytes of one without: gives
 * its length. What follows the start stays as it is. A tag that is too long gives none. */
size_t shardy__sidecar_tag(
    const uint8_t *prefix, const char *tag, uint8_t out[SIDECAR_PREFIX_LEN + SIDECAR_TAG_MAX]);

#endif
