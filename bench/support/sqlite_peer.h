/* sqlite_peer.h: sqlite3 as fast as it reads a finished file. */
#ifndef SHARDY_BENCH_SUPPORT_SQLITE_PEER_H
#define SHARDY_BENCH_SUPPORT_SQLITE_PEER_H

#include <sqlite3.h>

/* Runs statements without rows; ends the program when they fail. */
void bench_sql(sqlite3 *db, const char *sql);
sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql);

/* Opens a file for reading by one thread: immutable, so that no lock is taken and no change looked
 * for; mapped whole, which is asserted, so that no page is copied. */
sqlite3 *bench_sqlite_open(const char *file);

#endif
