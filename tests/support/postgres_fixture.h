/* postgres_fixture.h: a Postgres for the tests of a program, with SQL beside the library: what the
 * reference or an operator would do. */
#ifndef SHARDY_TESTS_POSTGRES_FIXTURE_H
#define SHARDY_TESTS_POSTGRES_FIXTURE_H

#include "support.h"

#include "catalog/manifest_store.h"
#include "catalog/postgres.h"
#include "manifest/manifest.h"

/* Group set-up and tear-down: one server for all tests. */
int postgres_group_setup(void **state);
int postgres_group_teardown(void **state);

/* The server, and its connection string. */
struct server *postgres_running(void);
const char *postgres_dsn(void);
/* A name for tables that no test had before. Valid until the next eight calls. */
const char *postgres_new_name(void);

/* Runs statements; each "%T" in them becomes the table name, each "%P" that of the pointer table.
 * Fails the test when one fails. Returns the first value of the last one ("" for NULL or none);
 * valid until the next eight calls. */
const char *postgres_sql(const char *table, const char *pointer, const char *sql);
/* The same on a connection of its own (PGconn). */
void *postgres_connect(void);
void postgres_disconnect(void *conn);
const char *postgres_sql_on(void *conn, const char *table, const char *pointer, const char *sql);

/* A manifest store over tables of these names. */
void postgres_open_store(shardy_context *context, const char *table, const char *pointer,
    const postgres_options *connection, manifest_store *out);

/* --- manifests -------------------------------------------------------------------------------- */

/* What is in the manifest of manifest_image(). */
#define MANIFEST_PREFIX "s3://bucket/set"

/* A manifest with three shards of which two have rows, one with bounds of integers, one with those
 * of texts, and digests of objects. */
shardy_buf manifest_image(const char *run_id, int64_t created_us);
/* A pointer to it. */
void manifest_pointer(const manifest_store *m, const char *ref, const char *run_id,
    shardy_bytes image, uint64_t generation, pointer *out);

#endif
