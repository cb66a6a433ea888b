/* range_vfs.h: sqlite3 over an object of a store, in the plainest way: each read of sqlite3 is one
 * ranged read of the store, which is waited for. */
#ifndef SHARDY_BENCH_SUPPORT_RANGE_VFS_H
#define SHARDY_BENCH_SUPPORT_RANGE_VFS_H

#include <shardyfusion/sys/store.h>

#include <sqlite3.h>

/* Opens the object for reading; its size is asked for once. One at a time. Ends the program when it
 * fails. */
sqlite3 *bench_sqlite_open_ranges(shardy_store *store, const char *key);

#endif
