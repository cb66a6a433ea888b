#include "cli.h"

#include "schema.h"

int cmd_schema(cli *c)
{
    const char *name = c->opts.arg_count ? c->opts.args[0] : NULL;
    strbuf b = {0};
    json_out j;
    /* indented unless one line was asked for: a schema is read by people as well */
    int one_line = opt_given(&c->opts, OPT_OUTPUT_FORMAT) && c->format == OUT_JSONL;
    json_begin(&j, &b, !one_line);
    int rc = EXIT_OK;
    if (schema_write(&j, name) == 0) {
        rc = out_write(c, &b);
    } else {
        size_t count = 0;
        while (schema_names()[count]) {
            count++;
        }
        const char *nearest = opt_nearest(name, schema_names(), count);
        strbuf message = {0};
        strbuf_printf(&message, "there is no output \"%.100s\"", name);
        if (nearest) {
            strbuf_printf(&message, "; did you mean \"%s\"?", nearest);
        }
        rc = out_usage(c, strbuf_text(&message));
        strbuf_free(&message);
    }
    strbuf_free(&b);
    return rc;
}
