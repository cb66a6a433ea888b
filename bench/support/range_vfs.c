#include "range_vfs.h"

#include "bench.h"

#include <string.h>

#define VFS_NAME "ranges"

typedef struct range_file {
    sqlite3_file base; /* first member */
    shardy_store *store;
    const char *key;
    uint64_t size;
} range_file;

/* What the next open is of. */
static range_file next_file;

static int range_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int range_read(sqlite3_file *file, void *dest, int len, sqlite3_int64 offset)
{
    const range_file *f = (const range_file *)(const void *)file;
    shardy_buf body;
    shardy_error err;
    shardy_status st =
        shardy_store_get(f->store, f->key, (uint64_t)offset, (uint64_t)len, &body, NULL, &err);
    if (st != SHARDY_OK) {
        return SQLITE_IOERR_READ;
    }
    size_t n = body.len;
    memset(dest, 0, (size_t)len);
    memcpy(dest, body.data, n);
    shardy_buf_release(&body);
    return n < (size_t)len ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int range_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    (void)file;
    (void)data;
    (void)len;
    (void)offset;
    return SQLITE_READONLY;
}

static int range_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    (void)file;
    (void)size;
    return SQLITE_READONLY;
}

static int range_number(sqlite3_file *file, int number)
{
    (void)file;
    (void)number;
    return SQLITE_OK;
}

static int range_size(sqlite3_file *file, sqlite3_int64 *size_out)
{
    const range_file *f = (const range_file *)(const void *)file;
    *size_out = (sqlite3_int64)f->size;
    return SQLITE_OK;
}

static int range_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int range_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int range_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int range_traits(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods RANGE_METHODS = {.iVersion = 1,
    .xClose = range_close,
    .xRead = range_read,
    .xWrite = range_write,
    .xTruncate = range_truncate,
    .xSync = range_number,
    .xFileSize = range_size,
    .xLock = range_number,
    .xUnlock = range_number,
    .xCheckReservedLock = range_reserved,
    .xFileControl = range_control,
    .xSectorSize = range_sector,
    .xDeviceCharacteristics = range_traits};

static int range_open(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
    (void)vfs;
    (void)name;
    if (!(flags & SQLITE_OPEN_MAIN_DB)) {
        return SQLITE_CANTOPEN;
    }
    range_file *f = (range_file *)(void *)file;
    *f = next_file;
    f->base.pMethods = &RANGE_METHODS;
    if (flags_out) {
        *flags_out = flags;
    }
    return SQLITE_OK;
}

static int range_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *out = 0;
    return SQLITE_OK;
}

sqlite3 *bench_sqlite_open_ranges(shardy_store *store, const char *key)
{
    static sqlite3_vfs vfs;
    if (!vfs.zName) {
        vfs = *sqlite3_vfs_find(NULL);
        vfs.szOsFile = (int)sizeof(range_file);
        vfs.zName = VFS_NAME;
        vfs.pNext = NULL;
        vfs.xOpen = range_open;
        vfs.xAccess = range_access;
        bench_need(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK, "register the VFS");
    }
    shardy_object_meta meta;
    shardy_error err;
    bench_check(shardy_store_head(store, key, &meta, &err), "head", &err);
    next_file = (range_file){{NULL}, store, key, meta.size};
    sqlite3 *db = NULL;
    bench_need(
        sqlite3_open_v2("file:shard?immutable=1", &db,
            SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, VFS_NAME) == SQLITE_OK,
        "open by ranges");
    return db;
}
