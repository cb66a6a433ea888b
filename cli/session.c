/* session.c: many commands on one reader. The commands are those of the program: a line or an entry
 * of a script is parsed as a command line is, and runs the same function. */
#include "cli.h"

static int (*const runs[CMD_TABLE_COUNT])(cli *c) = {
    [CMD_BUILD] = cmd_build,
    [CMD_GET] = cmd_get,
    [CMD_MULTIGET] = cmd_multiget,
    [CMD_SEARCH] = cmd_search,
    [CMD_INFO] = cmd_info,
    [CMD_SHARDS] = cmd_shards,
    [CMD_HEALTH] = cmd_health,
    [CMD_ROUTE] = cmd_route,
    [CMD_HISTORY] = cmd_history,
    [CMD_ROLLBACK] = cmd_rollback,
    [CMD_VERIFY] = cmd_verify,
    [CMD_CLEANUP] = cmd_cleanup,
    [CMD_PIN] = cmd_pin,
    [CMD_UNPIN] = cmd_unpin,
    [CMD_EXPLAIN] = cmd_explain,
    [CMD_EXEC] = cmd_exec,
    [CMD_SCHEMA] = cmd_schema,
    [CMD_REFRESH] = cmd_refresh,
    [CMD_USE] = cmd_use,
    [CMD_HELP] = cmd_help,
    [CMD_QUIT] = cmd_quit,
    [CMD_EXIT] = cmd_quit,
};

int command_run(cli *c)
{
    return runs[c->opts.command->id](c);
}

int session_open(cli *c, cli_session *s)
{
    shardy_reader *reader = NULL;
    int rc = target_open(c, &reader);
    if (rc == EXIT_OK) {
        s->reader = reader;
        s->pinned = opt_given(&c->opts, OPT_REF) || opt_given(&c->opts, OPT_OFFSET);
        c->session = s;
    }
    return rc;
}

void session_close(cli *c)
{
    if (c->session) {
        shardy_reader_close(c->session->reader);
        c->session->reader = NULL;
        c->session = NULL;
    }
}

int session_switch(cli *c, const char *ref)
{
    shardy_reader *reader = NULL;
    int rc = target_open_ref(c, ref, &reader);
    if (rc == EXIT_OK) {
        shardy_reader_close(c->session->reader);
        c->session->reader = reader;
        c->session->pinned = ref != NULL;
    }
    return rc;
}

/* How the snapshot is reached was said when the program was started. */
static void inherit(opt_values *line, const opt_values *base)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (def->group == OPT_GROUP_SNAPSHOT && def->id != OPT_REF && def->id != OPT_OFFSET &&
            !line->values[i].count) {
            line->values[i] = base->values[i];
        }
    }
}

int session_run_line(cli *c, const opt_values *line)
{
    opt_values base = c->opts;
    out_format format = c->format;
    value_encoding encoding = c->encoding;
    c->opts = *line; /* its lists stay with `line` */
    inherit(&c->opts, &base);
    if (opt_given(line, OPT_OUTPUT_FORMAT)) {
        c->format = (out_format)line->values[OPT_OUTPUT_FORMAT].number;
    }
    if (opt_given(line, OPT_VALUE_ENCODING)) {
        c->encoding = (value_encoding)line->values[OPT_VALUE_ENCODING].number;
    }
    c->key_encoding = 0; /* another snapshot may have another one */
    int rc = command_run(c);
    c->opts = base;
    c->format = format;
    c->encoding = encoding;
    return rc;
}
