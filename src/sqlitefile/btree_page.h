/* btree_page.h: the facts about pages that reader and writer share. */
#ifndef SHARDY_SQLITEFILE_BTREE_PAGE_H
#define SHARDY_SQLITEFILE_BTREE_PAGE_H

#include "../base/bytes.h"

#include <stdint.h>

/* The first byte of a page. */
#define PAGE_INDEX_INTERIOR 2u
#define PAGE_TABLE_INTERIOR 5u
#define PAGE_INDEX_LEAF     10u
#define PAGE_TABLE_LEAF     13u

#define PAGE_LEAF_HEADER     8u
#define PAGE_INTERIOR_HEADER 12u
#define FILE_HEADER          100u              /* before the page header of page 1 */
#define FILE_MAGIC           "SQLite format 3" /* with its terminating zero */
#define PAGE_SIZE_MIN        512u
#define PAGE_SIZE_MAX        65536u
#define PAGE_USABLE_MIN      480u
/* The byte that SQLite locks; the page that holds it is left unused. */
#define FILE_LOCK_BYTE 0x40000000u

/* Longest payloads that lie wholly on their page, and the least that stays there of longer ones. */
static inline uint32_t shardy__page_table_local_max(uint32_t usable)
{
    return usable - 35;
}

static inline uint32_t shardy__page_index_local_max(uint32_t usable)
{
    return (usable - 12) * 64 / 255 - 23;
}

static inline uint32_t shardy__page_local_min(uint32_t usable)
{
    return (usable - 12) * 32 / 255 - 23;
}

/* Bytes of a payload longer than `local_max` that stay on the page. */
static inline uint32_t shardy__page_local_split(
    uint32_t usable, uint32_t local_max, uint64_t payload)
{
    uint32_t local_min = shardy__page_local_min(usable);
    uint32_t want = local_min + (uint32_t)((payload - local_min) % (usable - 4));
    return want <= local_max ? want : local_min;
}

#endif
