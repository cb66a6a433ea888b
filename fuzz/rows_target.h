/* rows_target.h: what the fuzz targets for row sources share: bytes as the standard input, and what
 * holds for every row. */
#ifndef SHARDY_FUZZ_ROWS_TARGET_H
#define SHARDY_FUZZ_ROWS_TARGET_H

#include "base/json.h"
#include "base/utf8.h"

#include <shardyfusion/rows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

/* Makes the bytes the standard input of this process. */
static void become_stdin(const uint8_t *data, size_t size)
{
    static FILE *file;
    if (!file) {
        file = tmpfile();
        require(file != NULL && dup2(fileno(file), 0) == 0);
    }
    require(ftruncate(0, 0) == 0 && lseek(0, 0, SEEK_SET) == 0);
    while (size > 0) {
        ssize_t n = write(0, data, size);
        require(n > 0);
        data += n;
        size -= (size_t)n;
    }
    require(lseek(0, 0, SEEK_SET) == 0);
}

/* Text that is JSON as the library itself writes it in a style. */
static void check_json(shardy_bytes text, uint32_t style)
{
    bytebuf out;
    shardy__bytebuf_init(&out, 1u << 24);
    require(shardy__json_restyle(text, style, &out, NULL) == SHARDY_OK);
    require(out.len == text.len && memcmp(out.data, text.data, text.len) == 0);
    shardy__bytebuf_free(&out);
}

static void check_key(const shardy_key *key)
{
    require(key->type == SHARDY_KEY_INT || key->type == SHARDY_KEY_TEXT ||
            (key->type == SHARDY_KEY_UINT && key->u > INT64_MAX));
    require(key->type != SHARDY_KEY_TEXT || shardy__utf8_valid(key->bytes.data, key->bytes.len));
}

static void check_row(const shardy_row *row, const shardy_row_source_options *options)
{
    check_key(&row->key);
    require(shardy__utf8_valid(row->value.data, row->value.len));
    if (!options->value_column) {
        check_json(row->value, JSON_COMPACT);
    }
    require((row->vector != NULL) == (row->dim > 0));
    float sum = 0;
    for (uint32_t i = 0; i < row->dim; i++) {
        sum += row->vector[i];
    }
    (void)sum;
    if (row->has_vector_id) {
        check_key(&row->vector_id);
        require(row->vector != NULL && row->vector_id.type != SHARDY_KEY_UINT);
    }
    if (row->has_payload) {
        check_json(row->payload, JSON_PYTHON);
    }
    require(row->column_count == options->column_count);
    for (size_t i = 0; i < row->column_count; i++) {
        require(row->columns[i].type != SHARDY_COLUMN_TEXT ||
                shardy__utf8_valid(row->columns[i].bytes.data, row->columns[i].bytes.len));
    }
}

/* Reads all rows; `each` (may be NULL) sees them. Returns the status of the end. */
static shardy_status read_all(const shardy_row_source_options *options,
    void (*each)(void *user, const shardy_row *row), void *user)
{
    const char *path = "-";
    shardy_row_source *source;
    shardy_error err = {0};
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    require(shardy_row_source_open(NULL, &path, 1, options, &source, &err) == SHARDY_OK);
    uint64_t last_line = 0;
    shardy_status st;
    while ((st = shardy_row_source_next(source, &row, &err)) == SHARDY_OK) {
        const char *where;
        uint64_t line;
        shardy_row_source_position(source, &where, &line);
        require(strcmp(where, "<stdin>") == 0 && line > last_line);
        last_line = line;
        check_row(&row, options);
        if (each) {
            each(user, &row);
        }
    }
    require(st == SHARDY_DONE || st == SHARDY_INVALID);
    require(st == SHARDY_DONE || memcmp(err.message, "<stdin>:", 8) == 0);
    shardy_row_source_close(source);
    return st;
}

#endif
