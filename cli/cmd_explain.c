#include "cli.h"

#include "out_table.h"

#include <string.h>

static const char *const access_names[] = {"local", "", "download", "range"};

/* What is explained, with its name. */
typedef struct explained {
    const char *what;
    const char *key; /* NULL: of no key */
    shardy_explanation e;
} explained;

static void add_cost(json_out *j, const char *name, const shardy_cost *cost)
{
    json_name(j, name);
    json_object(j);
    json_name(j, "round_trips");
    json_uint(j, cost->round_trips);
    json_name(j, "requests");
    json_uint(j, cost->requests);
    json_name(j, "bytes");
    json_uint(j, cost->bytes);
    json_object_end(j);
}

static void add_json(const cli *c, strbuf *b, const explained *x)
{
    json_out j;
    out_json_begin(c, &j, b, "explain");
    json_name(&j, "what");
    json_text(&j, x->what);
    json_name(&j, "key");
    json_text(&j, x->key);
    json_name(&j, "db_id");
    if (x->key) {
        json_uint(&j, x->e.db_id);
    } else {
        json_null(&j);
    }
    json_name(&j, "shards");
    json_uint(&j, x->e.shards);
    json_name(&j, "access");
    json_text(&j, access_names[x->e.access]);
    json_name(&j, "sidecar");
    json_bool(&j, x->e.sidecar);
    json_name(&j, "hint");
    json_bool(&j, x->e.hint);
    json_name(&j, "exact");
    json_bool(&j, x->e.exact);
    add_cost(&j, "open", &x->e.open);
    add_cost(&j, "cold", &x->e.cold);
    add_cost(&j, "warm", &x->e.warm);
    json_object_end(&j);
}

static void add_table(const cli *c, strbuf *b, const explained *x)
{
    static const table_column columns[] = {
        {"", 0, 0, 0}, {"round trips", 0, 1, 0}, {"requests", 0, 1, 0}, {"bytes", 0, 1, 0}};
    static const char *const names[] = {"open", "cold", "warm"};
    const shardy_cost *const costs[] = {&x->e.open, &x->e.cold, &x->e.warm};
    out_table t;
    table_begin(&t, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < 3; i++) {
        table_cell_text(&t, names[i]);
        table_cell_uint(&t, costs[i]->round_trips);
        table_cell_uint(&t, costs[i]->requests);
        table_cell_uint(&t, costs[i]->bytes);
    }
    table_end(&t, b, c->colour_out);
    strbuf_printf(b, "access=%s  shards=%u  sidecar=%s  hint=%s  %s\n", access_names[x->e.access],
        (unsigned)x->e.shards, x->e.sidecar ? "yes" : "no", x->e.hint ? "yes" : "no",
        x->e.exact ? "exact" : "an estimate");
}

/* The call that the arguments name, and its key. EXIT_OK, or the exit code after a message. */
static int read_arguments(const cli *c, explained *x, int32_t *what_out)
{
    static const char *const names[] = {"open", "get", "search"};
    static const int32_t calls[] = {SHARDY_EXPLAIN_OPEN, SHARDY_EXPLAIN_GET, SHARDY_EXPLAIN_SEARCH};
    int which = opt_choice("open|get|search", c->opts.args[0]);
    int wants_key = which == 1;
    if (which < 0) {
        return out_usage(c, "what is to be explained must be open, get KEY or search");
    }
    if (c->opts.arg_count != (wants_key ? 2u : 1u)) {
        return out_usage(c, wants_key ? "explain get needs a key"
                                      : "explain open and explain search take nothing else");
    }
    x->what = names[which];
    x->key = wants_key ? c->opts.args[1] : NULL;
    *what_out = calls[which];
    return EXIT_OK;
}

static int explain(
    cli *c, const shardy_reader *reader, shardy_explain_request *request, explained *x)
{
    shardy_error err = {0};
    shardy_key key;
    char *owned = NULL;
    int rc = EXIT_OK;
    if (x->key) {
        rc = key_from_argument(c, reader, x->key, strlen(x->key), &key, &owned);
        request->key = &key;
    }
    if (rc == EXIT_OK && shardy_reader_explain(reader, request, &x->e, &err) < 0) {
        rc = out_fail(c, &err, x->key);
    }
    request->key = NULL;
    if (rc == EXIT_OK) {
        strbuf b = {0};
        if (c->format == OUT_JSON || c->format == OUT_JSONL) {
            add_json(c, &b, x);
        } else {
            add_table(c, &b, x);
        }
        rc = out_write(c, &b);
        strbuf_free(&b);
    }
    sys_free(owned);
    return rc;
}

int cmd_explain(cli *c)
{
    shardy_reader *reader = NULL;
    shardy_column *columns = NULL;
    size_t count = 0;
    char *owned = NULL;
    explained x;
    shardy_read_options options;
    shardy_explain_request request;
    memset(&x, 0, sizeof x);
    shardy_explain_request_init(&request, sizeof request);
    int rc = read_arguments(c, &x, &request.what);
    rc = rc == EXIT_OK ? target_routing_context(c, &columns, &count, &owned) : rc;
    rc = rc == EXIT_OK ? target_open(c, &reader) : rc;
    if (rc == EXIT_OK) {
        target_read_options(c, columns, count, &options);
        request.options = &options;
        rc = explain(c, reader, &request, &x);
    }
    target_close(c, reader);
    sys_free(columns);
    sys_free(owned);
    return rc;
}
