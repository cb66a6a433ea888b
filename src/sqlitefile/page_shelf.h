/* page_shelf.h: pages that btree_write puts aside until the end of the file: the first ones stay in
 * memory, the others go into a scratch file without a name. */
#ifndef SHARDY_SQLITEFILE_PAGE_SHELF_H
#define SHARDY_SQLITEFILE_PAGE_SHELF_H

#include "../base/error.h"

#include <stdint.h>

/* What the pages in memory may take: all of those of a file of 100 MiB of small rows. */
#define PAGE_SHELF_KEPT_LEN (4u << 20)

typedef struct page_shelf {
    uint32_t page_size;
    const char *dir; /* of the scratch file, borrowed; NULL: everything stays in memory */
    int fd;          /* -1: not needed so far */
    uint8_t **kept;  /* by place; NULL: not put yet */
    uint32_t kept_room;
    uint32_t kept_max;
    uint8_t *loaded; /* a page that came back from the file */
} page_shelf;

void shardy__page_shelf_init(page_shelf *shelf, uint32_t page_size, const char *dir);
void shardy__page_shelf_free(page_shelf *shelf);
/* Copies a page to its place, from 0 on; also in the place of what is there. OK; NOMEM; NO_SPACE,
 * IO. */
shardy_status shardy__page_shelf_put(
    page_shelf *shelf, uint32_t place, const uint8_t *page, shardy_error *err);
/* The page of a place, valid until the next call; to change it, change these bytes and put them
 * back. OK; NOMEM, IO. */
shardy_status shardy__page_shelf_get(
    page_shelf *shelf, uint32_t place, uint8_t **page_out, shardy_error *err);

#endif
