#include "cli.h"

#include "out_table.h"
#include "utf8.h"

#include <string.h>

static void add_key(strbuf *b, const shardy_key *key)
{
    if (key->type == SHARDY_KEY_INT) {
        strbuf_printf(b, "%lld", (long long)key->i);
    } else if (key->type == SHARDY_KEY_UINT) {
        strbuf_printf(b, "%llu", (unsigned long long)key->u);
    } else if (key->type == SHARDY_KEY_TEXT || utf8_valid(key->bytes.data, key->bytes.len)) {
        strbuf_add(b, key->bytes.data ? key->bytes.data : "", key->bytes.len);
    } else {
        strbuf_puts(b, "hex:");
        value_encode(b, VALUE_HEX, key->bytes.data, key->bytes.len);
    }
}

static void add_json(const cli *c, strbuf *b, const shardy_shard_details *details)
{
    json_out j;
    out_json_begin(c, &j, b, "shards");
    json_name(&j, "shards");
    json_array(&j);
    for (size_t i = 0; i < details->count; i++) {
        const shardy_shard_detail *s = &details->shards[i];
        json_object(&j);
        json_name(&j, "db_id");
        json_uint(&j, s->db_id);
        json_name(&j, "row_count");
        json_uint(&j, s->row_count);
        json_name(&j, "min_key");
        if (s->has_min_key) {
            json_key(&j, &s->min_key);
        } else {
            json_null(&j);
        }
        json_name(&j, "max_key");
        if (s->has_max_key) {
            json_key(&j, &s->max_key);
        } else {
            json_null(&j);
        }
        json_name(&j, "db_url");
        json_text(&j, s->db_url);
        json_name(&j, "db_bytes");
        json_uint(&j, s->db_bytes);
        json_name(&j, "attempt");
        json_uint(&j, s->attempt);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}

static void add_named_key(strbuf *b, const char *name, const shardy_key *key)
{
    strbuf text = {0};
    add_key(&text, key);
    strbuf_printf(b, "  %s=", name);
    out_add_text(b, strbuf_text(&text), text.len);
    strbuf_free(&text);
}

static void add_text(strbuf *b, const shardy_shard_details *details)
{
    for (size_t i = 0; i < details->count; i++) {
        const shardy_shard_detail *s = &details->shards[i];
        strbuf_printf(
            b, "db_id=%u  rows=%llu", (unsigned)s->db_id, (unsigned long long)s->row_count);
        if (s->has_min_key) {
            add_named_key(b, "min", &s->min_key);
        }
        if (s->has_max_key) {
            add_named_key(b, "max", &s->max_key);
        }
        strbuf_putc(b, '\n');
    }
}

static void add_key_cell(out_table *table, int has, const shardy_key *key)
{
    strbuf text = {0};
    if (has) {
        add_key(&text, key);
    }
    table_cell(table, strbuf_text(&text), text.len);
    strbuf_free(&text);
}

static void add_table(const cli *c, strbuf *b, const shardy_shard_details *details)
{
    static const table_column columns[] = {{"DB_ID", 5, 1, 0}, {"ROWS", 8, 1, 0},
        {"MIN_KEY", 10, 1, 0}, {"MAX_KEY", 10, 1, 0}, {"URL", 3, 0, 1}};
    out_table table;
    table_begin(&table, columns, 5);
    for (size_t i = 0; i < details->count; i++) {
        const shardy_shard_detail *s = &details->shards[i];
        table_cell_uint(&table, s->db_id);
        table_cell_uint(&table, s->row_count);
        add_key_cell(&table, s->has_min_key, &s->min_key);
        add_key_cell(&table, s->has_max_key, &s->max_key);
        table_cell_text(&table, s->db_url ? s->db_url : "(empty)");
    }
    table_end(&table, b, c->colour_out);
}

int cmd_shards(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_error err = {0};
    shardy_shard_details details = {0};
    int rc = target_open(c, &reader);
    if (rc == EXIT_OK && shardy_reader_shard_details(reader, &details, &err) < 0) {
        rc = out_fail(c, &err, NULL);
    } else if (rc == EXIT_OK) {
        strbuf b = {0};
        if (c->format == OUT_TEXT) {
            add_text(&b, &details);
        } else if (c->format == OUT_TABLE) {
            add_table(c, &b, &details);
        } else {
            add_json(c, &b, &details);
        }
        rc = out_write(c, &b);
        strbuf_free(&b);
    }
    shardy_shard_details_dispose(&details);
    target_close(c, reader);
    return rc;
}
