/* block.h: rows in one block of memory: added at the lower end, their sort entries at the upper
 * end. Private to the spool.
 *
 * A key-value row is: sort_row, the number of its vector plus 1 (only in builds with vectors; 0:
 * none), key, value. A vector is: block_vector, the floats, id bytes, payload. Both are filled up
 * to a multiple of 8, so that a place is a number of 8-byte units. Runs on disk hold the same bytes
 * in sorted order. */
#ifndef SHARDY_SORT_BLOCK_H
#define SHARDY_SORT_BLOCK_H

#include "sort.h"
#include "spool.h"

/* Entries of vectors carry this bit in their shard id, so that they sort after all rows, and their
 * place as cached key, so that they keep their order. */
#define BLOCK_VECTOR_BIT 0x80000000u

typedef struct block_vector {
    uint64_t number;
    int64_t id_int;
    int32_t id_type;
    uint32_t id_len;
    uint32_t payload_len;
    int32_t has_payload;
} block_vector;

typedef struct block {
    uint8_t *data;
    size_t size;
    size_t used;        /* bytes of rows */
    size_t entry_count; /* entries end at data + size */
    uint32_t number;    /* in the order of filling */
    int32_t sorted;
} block;

/* Bytes of a row in a block without its entry. */
static inline size_t shardy__block_row_len(size_t key_offset, size_t key_len, size_t value_len)
{
    return (key_offset + key_len + value_len + 7) & ~(size_t)7;
}

static inline size_t shardy__block_vector_len(uint32_t dim, size_t id_len, size_t payload_len)
{
    return (sizeof(block_vector) + (size_t)dim * 4 + id_len + payload_len + 7) & ~(size_t)7;
}

static inline sort_entry *shardy__block_entries(const block *b)
{
    return (sort_entry *)(void *)(b->data + b->size) - b->entry_count;
}

/* First entry of a sorted block whose shard id (with the bit of vectors) is not below `db_id`. */
size_t shardy__block_find(const block *b, uint32_t db_id);

/* Bytes of the record at a place. */
size_t shardy__block_record_len(
    const uint8_t *record, int32_t is_vector, size_t key_offset, uint32_t dim);

/* A vector record as it goes out. */
void shardy__block_vector_view(const uint8_t *record, uint32_t dim, spool_vector *out);

#endif
