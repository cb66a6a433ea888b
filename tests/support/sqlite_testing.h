/* sqlite_testing.h: what the tests of src/sqlitefile share: files in memory, written by our writer
 * and by libsqlite3. */
#ifndef SHARDY_TESTS_SQLITE_TESTING_H
#define SHARDY_TESTS_SQLITE_TESTING_H

#include "sqlitefile/btree_read.h"
#include "sqlitefile/btree_write.h"
#include "support/support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file as bytes. */
typedef struct image {
    uint8_t *data;
    size_t len;
    size_t room;
} image;

static MAYBE_UNUSED void free_image(image *img)
{
    free(img->data);
    memset(img, 0, sizeof *img);
}

static MAYBE_UNUSED shardy_status write_image(
    void *user, uint64_t offset, const void *data, size_t len, shardy_error *err)
{
    (void)err;
    image *img = user;
    size_t end = (size_t)offset + len;
    if (end > img->room) {
        size_t room = 2 * end;
        img->data = realloc(img->data, room);
        assert_non_null(img->data);
        img->room = room;
    }
    if (offset > img->len) {
        memset(img->data + img->len, 0xEE, (size_t)offset - img->len);
    }
    memcpy(img->data + offset, data, len);
    img->len = end > img->len ? end : img->len;
    return SHARDY_OK;
}

static MAYBE_UNUSED btree_writer *open_writer(
    image *img, uint32_t page_size, const btree_object *objects, size_t count)
{
    shardy_error err = {0};
    btree_writer_options options;
    shardy__btree_writer_options_init(&options);
    memset(img, 0, sizeof *img);
    options.page_size = page_size;
    options.sink.write = write_image;
    options.sink.user = img;
    options.objects = objects;
    options.object_count = count;
    btree_writer *writer = NULL;
    assert_ok(shardy__btree_writer_open(&options, &writer, &err));
    return writer;
}

static MAYBE_UNUSED btree_file_stats finish_writer(btree_writer *writer, image *img)
{
    shardy_error err = {0};
    btree_file_stats stats;
    assert_ok(shardy__btree_writer_finish(writer, &stats, &err));
    assert_int_equal(stats.size, img->len);
    sha256 digest;
    assert_ok(shardy__object_digest(img->data, img->len, &digest, &err));
    assert_memory_equal(&digest, &stats.digest, sizeof digest);
    assert_int_equal(stats.sum_count, shardy__chunk_count(img->len));
    shardy__btree_writer_close(writer);
    stats.sums = NULL;
    return stats;
}

static const btree_object KV_OBJECT MAYBE_UNUSED = {BTREE_OBJECT_WITHOUT_ROWID, "kv", NULL,
    "CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID", 1};

/* --- libsqlite3 ------------------------------------------------------------------------------- */

static MAYBE_UNUSED void run_sql(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
}

static MAYBE_UNUSED sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    return statement;
}

static MAYBE_UNUSED sqlite3 *new_db(uint32_t page_size)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA page_size=%u", page_size);
    run_sql(db, sql);
    return db;
}

/* The file that a database in memory would be. */
static MAYBE_UNUSED image take_image(sqlite3 *db)
{
    sqlite3_int64 len = 0;
    unsigned char *data = sqlite3_serialize(db, "main", &len, 0);
    assert_non_null(data);
    image img = {malloc((size_t)len), (size_t)len, (size_t)len};
    assert_non_null(img.data);
    memcpy(img.data, data, (size_t)len);
    sqlite3_free(data);
    return img;
}

static MAYBE_UNUSED sqlite3 *open_db(const image *img)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    unsigned char *copy = sqlite3_malloc64(img->len);
    assert_non_null(copy);
    memcpy(copy, img->data, img->len);
    assert_int_equal(
        sqlite3_deserialize(db, "main", copy, (sqlite3_int64)img->len, (sqlite3_int64)img->len,
            SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY),
        SQLITE_OK);
    return db;
}

static MAYBE_UNUSED void check_integrity(sqlite3 *db)
{
    sqlite3_stmt *statement = prepare(db, "PRAGMA integrity_check");
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
}

/* --- our reader ------------------------------------------------------------------------------- */

static MAYBE_UNUSED btree_file *open_image(const image *img)
{
    shardy_error err = {0};
    page_source *source = NULL;
    btree_file *file = NULL;
    assert_ok(shardy__page_source_memory(img->data, img->len, NULL, &source, &err));
    assert_ok(shardy__btree_open_take(source, &file, &err));
    return file;
}

static MAYBE_UNUSED btree_tree find_table(const btree_file *file, const char *name)
{
    shardy_error err = {0};
    btree_tree tree;
    assert_ok(shardy__btree_table(file, name, &tree, NULL, &err));
    return tree;
}

/* A source whose pages are at hand only after they were fetched, and are gone when nobody holds
 * them any more. Each page is a copy of its own, so that reading beyond it, or after giving it
 * back, is seen by AddressSanitizer. */
typedef struct shy_source {
    const image *img;
    size_t fetches; /* calls */
    size_t pages;   /* fetched */
    size_t held;
    size_t page_size;
    size_t *closed; /* set to 1 + held */
} shy_source;

static MAYBE_UNUSED shardy_status shy_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    (void)state;
    (void)offset;
    (void)len;
    (void)ref_out;
    (void)err;
    return SHARDY_PENDING;
}

static MAYBE_UNUSED shardy_status shy_fetch(void *state, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err)
{
    (void)limits;
    (void)err;
    shy_source *s = state;
    s->fetches++;
    for (size_t i = 0; i < count; i++) {
        uint8_t *copy = malloc(page_size);
        assert_non_null(copy);
        memcpy(copy, s->img->data + (size_t)(wants[i]->page - 1) * page_size, page_size);
        wants[i]->ref.data = copy;
        wants[i]->ref.pin = copy;
        s->held++;
        s->pages++;
    }
    return SHARDY_OK;
}

static MAYBE_UNUSED void shy_unpin(void *state, page_ref *ref)
{
    shy_source *s = state;
    s->held--;
    free(ref->pin);
}

static MAYBE_UNUSED void shy_close(void *state)
{
    (void)state;
}

static const page_source_ops SHY_OPS MAYBE_UNUSED = {
    shy_get, shy_fetch, shy_unpin, shy_close, NULL};

static MAYBE_UNUSED btree_file *open_shy(shy_source *shy, const image *img)
{
    shardy_error err = {0};
    page_source *source = NULL;
    btree_file *file = NULL;
    memset(shy, 0, sizeof *shy);
    shy->img = img;
    assert_ok(shardy__page_source_custom_take(&SHY_OPS, shy, img->len, 0, &source, &err));
    assert_ok(shardy__btree_open_take(source, &file, &err));
    return file;
}

#endif
