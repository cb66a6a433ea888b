#include "cli.h"

#include "lists.h"
#include "out_table.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* EXIT_OK, or the exit code after a message. */
static int read_stdin(const cli *c, strbuf *out)
{
    char chunk[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
        if (n < 0 && errno != EINTR) {
            shardy_error err;
            out_set_error(&err, SHARDY_IO, "cannot read the standard input: %s", strerror(errno));
            return out_fail(c, &err, NULL);
        }
        if (n == 0) {
            return EXIT_OK;
        }
        if (n > 0) {
            strbuf_add(out, chunk, (size_t)n);
        }
    }
}

/* The keys; `input_out` is what those of the standard input borrow from. */
static int gather(const cli *c, key_list *list, char **input_out)
{
    /* the standard input of a session is not for keys: there a dash is one */
    if (c->session || c->opts.arg_count != 1 || strcmp(c->opts.args[0], "-") != 0) {
        for (size_t i = 0; i < c->opts.arg_count; i++) {
            key_list_add(list, c->opts.args[i], strlen(c->opts.args[i]));
        }
        return EXIT_OK;
    }
    strbuf input = {0};
    int rc = read_stdin(c, &input);
    size_t len = input.len;
    *input_out = strbuf_take(&input);
    if (rc == EXIT_OK) {
        key_list_add_lines(list, *input_out, len);
        if (list->count == 0) {
            rc = out_usage(c, "no keys were given on the standard input");
        }
    }
    return rc;
}

/* --- output ----------------------------------------------------------------------------------- */

static const char *data_of(shardy_bytes b)
{
    return b.data ? b.data : "";
}

static void add_json(const cli *c, strbuf *b, const key_list *list, const shardy_values *values)
{
    json_out j;
    out_json_begin(c, &j, b, "multiget");
    json_name(&j, "results");
    json_array(&j);
    for (size_t i = 0; i < list->count; i++) {
        const shardy_value *v = &values->values[i];
        json_object(&j);
        json_name(&j, "key");
        json_text_n(&j, data_of(list->texts[i]), list->texts[i].len);
        json_name(&j, "found");
        json_bool(&j, v->status == SHARDY_OK);
        if (v->status == SHARDY_OK) {
            strbuf text = {0};
            value_encode(&text, c->encoding, v->bytes.data, v->bytes.len);
            json_name(&j, "value");
            json_text_n(&j, strbuf_text(&text), text.len);
            strbuf_free(&text);
        }
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}

static void add_lines(const cli *c, strbuf *b, const key_list *list, const shardy_values *values)
{
    static const table_column columns[] = {{"KEY", 3, 0, 0}, {"VALUE", 5, 0, 0}};
    out_table table;
    table_begin(&table, columns, 2);
    for (size_t i = 0; i < list->count; i++) {
        const shardy_value *v = &values->values[i];
        strbuf text = {0};
        if (v->status == SHARDY_OK) {
            value_encode(&text, c->encoding, v->bytes.data, v->bytes.len);
        } else {
            strbuf_puts(&text, c->cfg.null_repr);
        }
        if (c->format == OUT_TABLE) {
            table_cell(&table, data_of(list->texts[i]), list->texts[i].len);
            table_cell(&table, strbuf_text(&text), text.len);
        } else {
            out_add_text(b, data_of(list->texts[i]), list->texts[i].len);
            strbuf_putc(b, '=');
            out_add_text(b, strbuf_text(&text), text.len);
            strbuf_putc(b, '\n');
        }
        strbuf_free(&text);
    }
    if (c->format == OUT_TABLE) {
        table_end(&table, b, c->colour_out);
    }
}

static int print_values(const cli *c, const key_list *list, const shardy_values *values)
{
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        add_json(c, &b, list, values);
    } else {
        add_lines(c, &b, list, values);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    for (size_t i = 0; i < values->count && rc == EXIT_OK; i++) {
        if (values->values[i].status != SHARDY_OK && opt_given(&c->opts, OPT_STRICT)) {
            rc = EXIT_ERROR;
        }
    }
    return rc;
}

/* --- look-up ---------------------------------------------------------------------------------- */

static int look_up(
    cli *c, const shardy_reader *reader, const key_list *list, const shardy_read_options *options)
{
    shardy_key *keys = sys_alloc(list->count, sizeof *keys);
    char **owned = sys_alloc(list->count, sizeof *owned);
    shardy_error err = {0};
    shardy_values values = {0};
    int rc = EXIT_OK;
    for (size_t i = 0; i < list->count && rc == EXIT_OK; i++) {
        const shardy_bytes *text = &list->texts[i];
        rc = key_from_argument(c, reader, data_of(*text), text->len, &keys[i], &owned[i]);
    }
    if (rc == EXIT_OK) {
        if (shardy_reader_multi_get(reader, keys, list->count, options, &values, &err) < 0) {
            rc = out_fail(c, &err, NULL);
        } else {
            rc = print_values(c, list, &values);
        }
    }
    shardy_values_dispose(&values);
    for (size_t i = 0; i < list->count; i++) {
        sys_free(owned[i]);
    }
    sys_free(owned);
    sys_free(keys);
    return rc;
}

int cmd_multiget(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_column *columns = NULL;
    size_t count = 0;
    char *owned = NULL;
    char *input = NULL;
    key_list list = {0};
    int rc = target_routing_context(c, &columns, &count, &owned);
    rc = rc == EXIT_OK ? gather(c, &list, &input) : rc;
    if (rc == EXIT_OK) {
        const shardy_bytes none = {NULL, 0};
        const shardy_bytes first = list.count ? list.texts[0] : none;
        rc = target_open_for(c, first.data, first.len, &reader);
    }
    if (rc == EXIT_OK) {
        shardy_read_options options;
        target_read_options(c, columns, count, &options);
        rc = look_up(c, reader, &list, &options);
    }
    target_close(c, reader);
    key_list_free(&list);
    sys_free(input);
    sys_free(columns);
    sys_free(owned);
    return rc;
}
