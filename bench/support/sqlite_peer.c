#include "sqlite_peer.h"

#include "bench.h"

#include <stdio.h>
#include <sys/stat.h>

void bench_sql(sqlite3 *db, const char *sql)
{
    bench_need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

sqlite3_stmt *bench_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    bench_need(
        sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) == SQLITE_OK,
        sqlite3_errmsg(db));
    return statement;
}

sqlite3 *bench_sqlite_open(const char *file)
{
    char uri[4200];
    sqlite3 *db;
    struct stat info;
    snprintf(uri, sizeof uri, "file:%s?immutable=1", file);
    bench_need(sqlite3_open_v2(uri, &db,
                   SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK,
        "sqlite3_open_v2");
    /* The answer is what the library was compiled to allow: less would leave a part unmapped. */
    sqlite3_stmt *map = bench_prepare(db, "PRAGMA mmap_size=1099511627776");
    bench_need(sqlite3_step(map) == SQLITE_ROW && stat(file, &info) == 0 &&
                   sqlite3_column_int64(map, 0) >= info.st_size,
        "sqlite3 does not map the whole file");
    sqlite3_finalize(map);
    return db;
}
