/* out_table.h: tables of text for people: a header, dashes, one line per row. Columns are as wide
 * as their widest cell, counted in terminal columns. */
#ifndef SHARDY_CLI_OUT_TABLE_H
#define SHARDY_CLI_OUT_TABLE_H

#include "strbuf.h"

typedef struct table_column {
    const char *title;
    size_t width_min;
    int right;  /* aligned to the right */
    int ragged; /* last column only: its cells do not count for the width */
} table_column;

typedef struct out_table {
    const table_column *columns;
    size_t column_count;
    char **cells; /* row after row */
    size_t cell_count;
    size_t cell_room;
} out_table;

void table_begin(out_table *t, const table_column *columns, size_t column_count);
/* The next cell, row by row. Control characters are made visible. */
void table_cell(out_table *t, const char *text, size_t len);
void table_cell_text(out_table *t, const char *text);
void table_cell_uint(out_table *t, uint64_t value);
/* Appends the table to `out`, the header in bold when `colour` is set, and frees it. */
void table_end(out_table *t, strbuf *out, int colour);

/* "name  value" lines with the names padded to one width. */
typedef struct out_pair {
    const char *name;
    const char *value;
} out_pair;
void table_pairs(strbuf *out, const out_pair *pairs, size_t count, int colour);

#endif
