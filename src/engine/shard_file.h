/* shard_file.h: the file of a shard that is one SQLite database, for the engines that have one. */
#ifndef SHARDY_ENGINE_SHARD_FILE_H
#define SHARDY_ENGINE_SHARD_FILE_H

#include "../base/fs.h"
#include "../sqlitefile/btree_read.h"
#include "../sqlitefile/btree_write.h"

#include <shardyfusion/sys/engine.h>

#define SHARD_FILE_NAME         "shard.db"
#define SHARD_FILE_CONTENT_TYPE "application/x-sqlite3"
#define SHARD_SIDECAR_NAME      "shard.sidecar"

/* Schema text of the key-value table, as the reference's files have it (formats.md 5.1). */
#define SHARD_FILE_KV_SQL "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"

/* A database file that is being written in a scratch directory. */
typedef struct shard_file_writer {
    char *dir; /* for what does not fit into memory */
    char *path;
    int fd;
    int32_t sync;
    shardy_context *context;
    file_flow flow; /* when `sync` */
    btree_writer *btree;
    btree_file_stats stats;
    int32_t sidecar;
    char *sidecar_path;
    int sidecar_fd;
    shardy_engine_file files[2]; /* the database, and its sidecar when there is one */
} shard_file_writer;

/* Statuses: OK, INVALID, EXISTS, NO_SPACE, IO, NOMEM. Close it in any case. */
shardy_status shardy__shard_file_create(shard_file_writer *w, const shardy_engine_writer_spec *spec,
    uint32_t page_size, const btree_object *objects, size_t object_count, shardy_error *err);
/* Appends rows to the key-value table, which is object 0. */
shardy_status shardy__shard_file_put(
    shard_file_writer *w, const shardy_engine_rows *rows, shardy_error *err);
shardy_status shardy__shard_file_finish(
    shard_file_writer *w, shardy_engine_files *files_out, shardy_error *err);
void shardy__shard_file_close_writer(shard_file_writer *w);

/* A database file that is being read. */
typedef struct shard_file {
    btree_file *btree;
    page_source *source;
    btree_tree kv;
    uint32_t value_field;          /* of column v in the records of kv */
    const shardy_context *context; /* borrowed: for deadlines; NULL: none */
} shard_file;

/* Opens the file of a shard with its digest, and its table kv.
 * Statuses: OK; GONE (there is no such object); CORRUPT, CHECKSUM, UNSUPPORTED, IO, EXHAUSTED,
 * NOMEM. */
shardy_status shardy__shard_file_open(
    shard_file *f, const shardy_engine_reader_spec *spec, shardy_error *err);
/* The same for a source that is open. The source is taken always, also on failure. NULL limits:
 * none; the context of the limits is that of later look-ups, too. */
shardy_status shardy__shard_file_open_take(
    shard_file *f, page_source *source, const page_limits *limits, shardy_error *err);
void shardy__shard_file_close(shard_file *f);

/* Limits as the layer below takes them; those of NULL are none. */
static inline page_limits shardy__page_limits(
    const shardy_engine_limits *limits, const shardy_context *context)
{
    page_limits l = {limits ? limits->deadline_ns : 0, limits ? limits->cancel : NULL, context};
    return l;
}
/* Those of opening. */
static inline page_limits shardy__open_limits(const shardy_engine_reader_spec *spec)
{
    page_limits l = {spec->deadline_ns, spec->cancel, spec->context};
    return l;
}

/* The parts of the engine contract that are about kv alone. NULL limits: none. */
shardy_status shardy__shard_file_get(const shard_file *f, shardy_bytes key,
    const page_limits *limits, shardy_buf *value_out, shardy_error *err);
shardy_status shardy__shard_file_get_many(
    const shard_file *f, shardy_engine_get *request, shardy_error *err);

#endif
