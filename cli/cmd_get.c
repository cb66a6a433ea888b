#include "cli.h"

#include <string.h>

static void add_json(const cli *c, strbuf *b, const char *key, const shardy_buf *value)
{
    json_out j;
    out_json_begin(c, &j, b, "get");
    json_name(&j, "key");
    json_text(&j, key);
    json_name(&j, "found");
    json_bool(&j, value != NULL);
    json_name(&j, "value");
    if (value) {
        strbuf text = {0};
        value_encode(&text, c->encoding, value->data, value->len);
        json_text_n(&j, strbuf_text(&text), text.len);
        strbuf_free(&text);
    } else {
        json_text(&j, c->cfg.null_repr);
    }
    json_object_end(&j);
}

static void add_text(const cli *c, strbuf *b, const char *key, const shardy_buf *value)
{
    out_add_text(b, key, strlen(key));
    strbuf_putc(b, '=');
    if (value) {
        strbuf text = {0};
        value_encode(&text, c->encoding, value->data, value->len);
        out_add_text(b, strbuf_text(&text), text.len);
        strbuf_free(&text);
    } else {
        strbuf_puts(b, c->cfg.null_repr);
    }
    strbuf_putc(b, '\n');
}

/* `value` is NULL when there is no such key. */
static int print_value(const cli *c, const char *key, const shardy_buf *value)
{
    if (opt_given(&c->opts, OPT_RAW)) {
        if (value) {
            return out_write_bytes(c, value->data, value->len);
        }
        strbuf text = {0};
        strbuf_puts(&text, "key \"");
        strbuf_puts(&text, key);
        strbuf_puts(&text, "\" was not found");
        out_warn(c, strbuf_text(&text));
        strbuf_free(&text);
        return EXIT_OK;
    }
    strbuf b = {0};
    if (c->format == OUT_TEXT) {
        add_text(c, &b, key, value);
    } else {
        add_json(c, &b, key, value);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

static int look_up(cli *c, const shardy_reader *reader, const shardy_read_options *options)
{
    const char *text = c->opts.args[0];
    shardy_error err = {0};
    shardy_key key;
    char *owned = NULL;
    int rc = key_from_argument(c, reader, text, strlen(text), &key, &owned);
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_buf value = {0};
    shardy_status st = shardy_reader_get(reader, &key, options, &value, &err);
    if (st < 0) {
        rc = out_fail(c, &err, text);
    } else {
        rc = print_value(c, text, st == SHARDY_OK ? &value : NULL);
        if (rc == EXIT_OK && st == SHARDY_NOT_FOUND && opt_given(&c->opts, OPT_STRICT)) {
            rc = EXIT_ERROR;
        }
    }
    shardy_buf_release(&value);
    sys_free(owned);
    return rc;
}

int cmd_get(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_column *columns = NULL;
    size_t count = 0;
    char *owned = NULL;
    int rc = target_routing_context(c, &columns, &count, &owned);
    rc = rc == EXIT_OK ? target_open_for(c, c->opts.args[0], strlen(c->opts.args[0]), &reader) : rc;
    if (rc == EXIT_OK) {
        shardy_read_options options;
        target_read_options(c, columns, count, &options);
        rc = look_up(c, reader, &options);
    }
    target_close(c, reader);
    sys_free(columns);
    sys_free(owned);
    return rc;
}
