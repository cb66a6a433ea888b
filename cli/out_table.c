#include "out_table.h"

#include "term.h"
#include "utf8.h"

#include <string.h>

void table_begin(out_table *t, const table_column *columns, size_t column_count)
{
    memset(t, 0, sizeof *t);
    t->columns = columns;
    t->column_count = column_count;
}

void table_cell(out_table *t, const char *text, size_t len)
{
    if (t->cell_count == t->cell_room) {
        t->cell_room = t->cell_room ? t->cell_room * 2 : 64;
        t->cells = sys_resize(t->cells, t->cell_room, sizeof *t->cells);
    }
    strbuf cell = {0};
    utf8_add_visible(&cell, text, len, 0);
    t->cells[t->cell_count++] = strbuf_take(&cell);
}

void table_cell_text(out_table *t, const char *text)
{
    table_cell(t, text, strlen(text));
}

void table_cell_uint(out_table *t, uint64_t value)
{
    strbuf text = {0};
    strbuf_printf(&text, "%llu", (unsigned long long)value);
    table_cell(t, text.data, text.len);
    strbuf_free(&text);
}

static size_t column_width(const out_table *t, size_t column)
{
    const table_column *c = &t->columns[column];
    size_t width = strlen(c->title) > c->width_min ? strlen(c->title) : c->width_min;
    for (size_t i = column; !c->ragged && i < t->cell_count; i += t->column_count) {
        size_t w = utf8_width(t->cells[i], strlen(t->cells[i]));
        width = w > width ? w : width;
    }
    return width;
}

static void add_padded(strbuf *out, const char *text, size_t width, int right, int last)
{
    size_t w = utf8_width(text, strlen(text));
    size_t gap = width > w ? width - w : 0;
    if (right) {
        strbuf_fill(out, ' ', gap);
    }
    strbuf_puts(out, text);
    if (!right && !last) {
        strbuf_fill(out, ' ', gap);
    }
}

/* No blanks at the end of a line whose last cells are empty. */
static void end_line(strbuf *out)
{
    while (out->len > 0 && out->data[out->len - 1] == ' ') {
        out->len--;
    }
    strbuf_putc(out, '\n');
}

void table_end(out_table *t, strbuf *out, int colour)
{
    size_t total = 0;
    size_t *widths = sys_alloc(t->column_count, sizeof *widths);
    for (size_t c = 0; c < t->column_count; c++) {
        widths[c] = column_width(t, c);
        total += widths[c] + (c ? 2 : 0);
    }
    term_style(out, colour, TERM_BOLD);
    for (size_t c = 0; c < t->column_count; c++) {
        strbuf_puts(out, c ? "  " : "");
        int last = c + 1 == t->column_count;
        add_padded(out, t->columns[c].title, widths[c], t->columns[c].right, last);
    }
    term_style(out, colour, TERM_PLAIN);
    strbuf_putc(out, '\n');
    term_style(out, colour, TERM_DIM);
    strbuf_fill(out, '-', total);
    term_style(out, colour, TERM_PLAIN);
    strbuf_putc(out, '\n');
    size_t at = 0; /* column of the next cell */
    for (size_t i = 0; i < t->cell_count; i++) {
        int last = at + 1 == t->column_count;
        strbuf_puts(out, at ? "  " : "");
        add_padded(out, t->cells[i], widths[at], t->columns[at].right, last);
        sys_free(t->cells[i]);
        if (last) {
            end_line(out);
        }
        at = last ? 0 : at + 1;
    }
    sys_free(widths);
    sys_free(t->cells);
    memset(t, 0, sizeof *t);
}

void table_pairs(strbuf *out, const out_pair *pairs, size_t count, int colour)
{
    size_t width = 0;
    for (size_t i = 0; i < count; i++) {
        size_t w = strlen(pairs[i].name);
        width = w > width ? w : width;
    }
    for (size_t i = 0; i < count; i++) {
        term_style(out, colour, TERM_BOLD);
        strbuf_puts(out, pairs[i].name);
        term_style(out, colour, TERM_PLAIN);
        strbuf_fill(out, ' ', width - strlen(pairs[i].name) + 2);
        utf8_add_visible(out, pairs[i].value, strlen(pairs[i].value), 0);
        strbuf_putc(out, '\n');
    }
}
