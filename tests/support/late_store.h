/* late_store.h: a store whose reads are answered later, by a thread of its own, one by one and in
 * no order, as those of a remote store are. Answers can be held back. It has no local files. */
#ifndef SHARDY_TESTS_LATE_STORE_H
#define SHARDY_TESTS_LATE_STORE_H

#include <shardyfusion/sys/store.h>

/* A store around `inner` (borrowed). Ownership: yours, close it after its last read was
 * answered. */
shardy_status late_store_open(shardy_store *inner, shardy_store **store_out, shardy_error *err);
/* While `hold` is set no read is answered, but one that is cancelled. */
void late_store_hold(shardy_store *store, int hold);
/* The next `count` reads fail with that status. */
void late_store_fail(shardy_store *store, uint32_t count, shardy_status status);
/* Reads that were started since it was opened. */
uint32_t late_store_reads(shardy_store *store);

#endif
