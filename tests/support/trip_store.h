/* trip_store.h: a store that passes reads on and writes down which of them waited for which.
 *
 * A round trip is a step of dependence: a read is one step after the last step of all that had been
 * answered when it was started. Reads that are started together are one step. Nothing is delayed,
 * and no time is looked at. The store has no local files, whatever `inner` has.
 *
 * Where a store answers at once (mem), a read that nobody waits for is answered before the next is
 * started, so what is read ahead counts as if it had been waited for: the count is exact for
 * look-ups and an upper bound for scans. */
#ifndef SHARDY_TESTS_TRIP_STORE_H
#define SHARDY_TESTS_TRIP_STORE_H

#include <shardyfusion/sys/store.h>

#define TRIP_READS_MAX 8192u

typedef struct trip_read {
    char key[160];
    uint64_t offset;
    uint64_t received;
    uint32_t step; /* from 1 */
    int32_t status;
    int32_t conditional; /* 1: If-Match was sent */
} trip_read;

typedef struct trip_counts {
    uint32_t steps;    /* round trips: the longest chain */
    uint32_t requests; /* reads and heads */
    uint64_t bytes;
} trip_counts;

/* A store around `inner` (borrowed). Ownership: yours, close it. */
shardy_status trip_store_open(shardy_store *inner, shardy_store **store_out, shardy_error *err);
/* Forgets what was written down; returns it. Nothing may be under way. */
trip_counts trip_store_take(shardy_store *store);
/* Reads since the last take: the first TRIP_READS_MAX. Borrowed. */
const trip_read *trip_store_reads(shardy_store *store, uint32_t *count_out);

#endif
