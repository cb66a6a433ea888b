#include "cli.h"

#include "out_table.h"

#include <string.h>

/* Missing when there are none, as the reference has no such member. */
static void add_pins_json(json_out *j, const shardy_history_entry *e)
{
    if (e->pins && e->pin_count == 0) {
        return;
    }
    json_name(j, "pins");
    if (!e->pins) {
        json_null(j);
        return;
    }
    json_array(j);
    for (uint32_t i = 0; i < e->pin_count; i++) {
        json_text(j, e->pins[i]);
    }
    json_array_end(j);
}

static void add_pins_text(strbuf *b, const shardy_history_entry *e)
{
    for (uint32_t i = 0; i < e->pin_count; i++) {
        strbuf_puts(b, i ? "," : "");
        strbuf_puts(b, e->pins[i]);
    }
}

static void add_json(const cli *c, strbuf *b, const shardy_history *history)
{
    json_out j;
    out_json_begin(c, &j, b, "history");
    json_name(&j, "manifests");
    json_array(&j);
    for (size_t i = 0; i < history->count; i++) {
        const shardy_history_entry *e = &history->entries[i];
        char *published = out_time(e->published_at);
        json_object(&j);
        json_name(&j, "offset");
        json_uint(&j, e->offset);
        json_name(&j, "run_id");
        json_text(&j, e->run_id);
        json_name(&j, "published_at");
        json_text(&j, published);
        json_name(&j, "ref");
        json_text(&j, e->ref);
        json_name(&j, "current");
        json_bool(&j, e->current);
        add_pins_json(&j, e);
        json_object_end(&j);
        sys_free(published);
    }
    json_array_end(&j);
    json_object_end(&j);
}

static void add_text(strbuf *b, const shardy_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        const shardy_history_entry *e = &history->entries[i];
        char *published = out_time(e->published_at);
        strbuf_printf(b, "[%u] %s  run_id=", (unsigned)e->offset, published);
        out_add_text(b, e->run_id, strlen(e->run_id));
        strbuf_puts(b, e->current ? "  current" : "");
        strbuf_puts(b, e->pin_count ? "  pins=" : "");
        add_pins_text(b, e);
        strbuf_putc(b, '\n');
        sys_free(published);
    }
    if (history->count == 0) {
        strbuf_puts(b, "(no manifests)\n");
    }
}

static void add_table(const cli *c, strbuf *b, const shardy_history *history)
{
    static const table_column columns[] = {{"#", 3, 1, 0}, {"PUBLISHED_AT", 26, 1, 0},
        {"RUN_ID", 6, 0, 0}, {"CURRENT", 7, 0, 0}, {"PINS", 4, 0, 0}};
    out_table table;
    size_t column_count = 4;
    for (size_t i = 0; i < history->count; i++) {
        column_count = history->entries[i].pin_count ? 5 : column_count;
    }
    table_begin(&table, columns, column_count);
    for (size_t i = 0; i < history->count; i++) {
        const shardy_history_entry *e = &history->entries[i];
        char *published = out_time(e->published_at);
        table_cell_uint(&table, e->offset);
        table_cell_text(&table, published);
        table_cell_text(&table, e->run_id);
        table_cell_text(&table, e->current ? "*" : "");
        if (column_count == 5) {
            strbuf pins = {0};
            add_pins_text(&pins, e);
            table_cell_text(&table, strbuf_text(&pins));
            strbuf_free(&pins);
        }
        sys_free(published);
    }
    table_end(&table, b, c->colour_out);
}

int cmd_history(cli *c)
{
    const opt_value *limit = &c->opts.values[OPT_LIMIT];
    shardy_admin_options options;
    int rc = target_admin(c, 0, &options);
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    shardy_history history = {0};
    uint32_t count = limit->count ? (uint32_t)limit->number : 10;
    if (shardy_history_list(c->context, c->snapshot, count, &options, &history, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    strbuf b = {0};
    if (c->format == OUT_TEXT) {
        add_text(&b, &history);
    } else if (c->format == OUT_TABLE) {
        add_table(c, &b, &history);
    } else {
        add_json(c, &b, &history);
    }
    rc = out_write(c, &b);
    strbuf_free(&b);
    shardy_history_dispose(&history);
    return rc;
}
