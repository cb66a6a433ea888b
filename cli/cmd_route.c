#include "cli.h"

#include <string.h>

static int print_route(const cli *c, const char *key, uint32_t db_id)
{
    strbuf b = {0};
    if (c->format == OUT_TEXT) {
        out_add_text(&b, key, strlen(key));
        strbuf_printf(&b, " -> shard %u\n", (unsigned)db_id);
    } else {
        json_out j;
        out_json_begin(c, &j, &b, "route");
        json_name(&j, "key");
        json_text(&j, key);
        json_name(&j, "db_id");
        json_uint(&j, db_id);
        json_object_end(&j);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

int cmd_route(cli *c)
{
    const char *text = c->opts.args[0];
    shardy_reader *reader = NULL;
    shardy_column *columns = NULL;
    size_t count = 0;
    char *owned = NULL;
    char *owned_key = NULL;
    shardy_key key;
    int rc = target_routing_context(c, &columns, &count, &owned);
    rc = rc == EXIT_OK ? target_open(c, &reader) : rc;
    rc = rc == EXIT_OK ? key_from_argument(c, reader, text, strlen(text), &key, &owned_key) : rc;
    if (rc == EXIT_OK) {
        shardy_error err = {0};
        shardy_read_options options;
        uint32_t db_id = 0;
        target_read_options(c, columns, count, &options);
        shardy_status st = shardy_reader_route_key(reader, &key, &options, &db_id, &err);
        rc = st < 0 ? out_fail(c, &err, text) : print_route(c, text, db_id);
    }
    target_close(c, reader);
    sys_free(owned_key);
    sys_free(columns);
    sys_free(owned);
    return rc;
}
