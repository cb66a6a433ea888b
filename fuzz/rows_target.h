/* rows_target.h: what the fuzz targets for row sources share: bytes as the standard input, and what
 * holds for every row. */
#ifndef SHARDY_FUZZ_ROWS_TARGET_H
#define SHARDY_FUZZ_ROWS_TARGET_H

#include "faults.h"

#include "base/json.h"
#include "base/utf8.h"

#include <shardyfusion/rows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Makes the bytes the standard input of this process. */
static void become_stdin(const uint8_t *data, size_t size)
{
    static FILE *file;
    if (!file) {
        file = tmpfile();
        require_that(file != NULL && dup2(fileno(file), 0) == 0);
    }
    require_that(ftruncate(0, 0) == 0 && lseek(0, 0, SEEK_SET) == 0);
    while (size > 0) {
        ssize_t n = write(0, data, size);
        require_that(n > 0);
        data += n;
        size -= (size_t)n;
    }
    require_that(lseek(0, 0, SEEK_SET) == 0);
}

/* Text that is JSON as the library itself writes it in a style. */
static void check_json(shardy_bytes text, uint32_t style)
{
    bytebuf out;
    shardy__bytebuf_init(&out, 1u << 24);
    require_that(shardy__json_restyle(text, style, &out, NULL) == SHARDY_OK);
    require_that(out.len == text.len && memcmp(out.data, text.data, text.len) == 0);
    shardy__bytebuf_free(&out);
}

static void check_key(const shardy_key *key)
{
    require_that(key->type == SHARDY_KEY_INT || key->type == SHARDY_KEY_TEXT ||
                 (key->type == SHARDY_KEY_UINT && key->u > INT64_MAX));
    require_that(
        key->type != SHARDY_KEY_TEXT || shardy__utf8_valid(key->bytes.data, key->bytes.len));
}

static void check_row(const shardy_row *row, const shardy_row_source_options *options)
{
    check_key(&row->key);
    require_that(shardy__utf8_valid(row->value.data, row->value.len));
    if (!options->value_column) {
        check_json(row->value, JSON_COMPACT);
    }
    require_that((row->vector != NULL) == (row->dim > 0));
    float sum = 0;
    for (uint32_t i = 0; i < row->dim; i++) {
        sum += row->vector[i];
    }
    (void)sum;
    if (row->has_vector_id) {
        check_key(&row->vector_id);
        require_that(row->vector != NULL && row->vector_id.type != SHARDY_KEY_UINT);
    }
    if (row->has_payload) {
        check_json(row->payload, JSON_PYTHON);
    }
    require_that(row->column_count == options->column_count);
    for (size_t i = 0; i < row->column_count; i++) {
        require_that(row->columns[i].type != SHARDY_COLUMN_TEXT ||
                     shardy__utf8_valid(row->columns[i].bytes.data, row->columns[i].bytes.len));
    }
}

/* Reads all rows of a file; `each` (may be NULL) sees them. Returns the status of the end. */
static shardy_status read_file(const char *path, const shardy_row_source_options *options,
    void (*each)(void *user, const shardy_row *row), void *user)
{
    const char *name = strcmp(path, "-") == 0 ? "<stdin>" : path;
    shardy_row_source *source;
    shardy_error err = {0};
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    require_that(shardy_row_source_open(NULL, &path, 1, options, &source, &err) == SHARDY_OK);
    uint64_t last_line = 0;
    shardy_status st;
    while ((st = shardy_row_source_next(source, &row, &err)) == SHARDY_OK) {
        const char *where;
        uint64_t line;
        shardy_row_source_position(source, &where, &line);
        require_that(strcmp(where, name) == 0 && line > last_line);
        last_line = line;
        check_row(&row, options);
        if (each) {
            each(user, &row);
        }
    }
    require_that(st == SHARDY_DONE || st == SHARDY_INVALID || st == SHARDY_CORRUPT);
    require_that(st == SHARDY_DONE || memcmp(err.message, name, strlen(name)) == 0);
    shardy_row_source_close(source);
    return st;
}

/* The same of the standard input, which is never damaged. */
static shardy_status read_all(const shardy_row_source_options *options,
    void (*each)(void *user, const shardy_row *row), void *user)
{
    shardy_status st = read_file("-", options, each, user);
    require_that(st != SHARDY_CORRUPT);
    return st;
}

/* --- without memory, and with a disk that fails ----------------------------------------------- */

static shardy_status run_rows(const shardy_row_source_options *options, shardy_error *err)
{
    const char *path = "-";
    shardy_row_source *source;
    shardy_row row;
    shardy_status st;
    shardy_row_init(&row, sizeof row);
    require_that(lseek(0, 0, SEEK_SET) == 0);
    SHARDY_TRY(shardy_row_source_open(NULL, &path, 1, options, &source, err));
    do {
        st = shardy_row_source_next(source, &row, err);
    } while (st == SHARDY_OK);
    shardy_row_source_close(source);
    return st == SHARDY_DONE ? SHARDY_OK : st;
}

static void run_rows_with_faults(const uint8_t *data, size_t size, fault_run run)
{
    become_stdin(data, size);
    run_with_fault(data, size, run);
    if (shardy_testing_fault_points()) {
        run_with_fault_of(SHARDY_FAULT_READ, SHARDY_IO, data, size, run);
    }
}

#endif
