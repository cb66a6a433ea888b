/* sort.h: sorting rows in memory by shard and key.
 *
 * Rows stay where they are; what is sorted are 16-byte entries that name them. An entry caches 8
 * bytes of the key as one number, so that most comparisons touch no row. The sort is a radix sort
 * in place, most significant byte first (McIlroy, Bostic, McIlroy 1993, "American flag sort"); when
 * the cached bytes of a bucket are used up, the next 8 bytes of the keys are cached. Rows with
 * equal keys keep the order in which they were added. */
#ifndef SHARDY_SORT_SORT_H
#define SHARDY_SORT_SORT_H

#include "../base/bytes.h"
#include "../base/error.h"

#include <stdint.h>

/* A row in a block of memory: at block + 8 * place. */
typedef struct sort_entry {
    uint64_t cached; /* sort_prefix() of the key */
    uint32_t db_id;
    uint32_t place; /* grows with the order of adding */
} sort_entry;

/* What stands at a place; the key follows. */
typedef struct sort_row {
    uint32_t key_len;
    uint32_t value_len;
} sort_row;

/* Work space of one sort; reused. */
typedef struct sorter {
    struct sort_task *tasks;
    size_t task_room;
} sorter;

/* Work space for sorts of at most `count_max` rows. OK or NOMEM. */
shardy_status shardy__sorter_init(sorter *s, size_t count_max, shardy_error *err);
void shardy__sorter_free(sorter *s);
/* Sorts by (db_id, key, place). `key_offset` is the distance from the place of a row to its key;
 * `db_id_max` bounds the shard ids. Cannot fail. */
void shardy__sort_rows(sorter *s, sort_entry *entries, size_t count, const uint8_t *block,
    size_t key_offset, uint32_t db_id_max);

#endif
