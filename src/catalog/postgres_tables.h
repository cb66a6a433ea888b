/* postgres_tables.h: the tables of a data set in Postgres: their names, whether they are there, and
 * how they are made (formats.md, section 13; ours: docs/formats.md). */
#ifndef SHARDY_CATALOG_POSTGRES_TABLES_H
#define SHARDY_CATALOG_POSTGRES_TABLES_H

#include "postgres.h"

#include <shardyfusion/manifest_store.h>

#include <stdatomic.h>

/* An identifier of the server has at most 63 bytes; the longest that is made of a name is
 * "idx_<name>_updated_at". */
#define TABLE_NAME_MAX 48u
/* "schema"."name_suffix" and a zero. */
#define TABLE_QUOTED_MAX 128u

typedef enum postgres_table {
    TABLE_BUILDS = 0, /* <table_name>_builds */
    TABLE_SHARDS,     /* <table_name>_shards */
    TABLE_POINTER,    /* <pointer_table_name> */
    TABLE_IMAGES,     /* <table_name>_images: ours, the image of each manifest */
    TABLE_DOCUMENTS,  /* <pointer_table_name>_documents: ours, the document of each pointer row */
    TABLE_COUNT
} postgres_table;

typedef struct postgres_tables {
    char names[TABLE_COUNT][TABLE_QUOTED_MAX]; /* quoted: for SQL as they are */
    char index[TABLE_QUOTED_MAX];
    int32_t ensure;
    _Atomic int32_t all_there; /* 1: they were found once */
} postgres_tables;

/* INVALID when a name is not acceptable. */
shardy_status shardy__postgres_tables_init(
    postgres_tables *t, const shardy_manifest_store_options *options, shardy_error *err);

/* Which tables are there, as bits (1 << postgres_table). */
shardy_status shardy__postgres_tables_find(
    postgres_tables *t, postgres_session *session, uint32_t *found_out, shardy_error *err);

/* CONFIG naming the first table of `needed` that is not there, unless they may be missing. */
shardy_status shardy__postgres_tables_require(
    const postgres_tables *t, uint32_t found, uint32_t needed, shardy_error *err);

/* Creates what is missing, in the session's transaction. */
shardy_status shardy__postgres_tables_create(
    const postgres_tables *t, postgres_session *session, shardy_error *err);

#endif
