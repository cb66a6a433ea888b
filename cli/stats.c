/* stats.c: what a command asked of its store, as the context has counted it. */
#include "cli.h"

#include "out_table.h"

#include <unistd.h>

/* One figure. Requests are known where there is a network: those of a directory are calls of the
 * system. */
typedef struct stats_row {
    const char *object; /* member of the JSON object that has it; NULL: the object itself */
    const char *name;
    int32_t metric;
    int in_bucket;
    const char *text;
} stats_row;

static const stats_row rows[] = {
    {NULL, "round_trips", SHARDY_METRIC_ROUND_TRIPS, 1, "round trips, one after the other"},
    {"requests", "get", SHARDY_METRIC_REQUESTS_GET, 1, "requests: GET"},
    {"requests", "head", SHARDY_METRIC_REQUESTS_HEAD, 1, "requests: HEAD"},
    {"requests", "put", SHARDY_METRIC_REQUESTS_PUT, 1, "requests: PUT"},
    {"requests", "list", SHARDY_METRIC_REQUESTS_LIST, 1, "requests: LIST"},
    {"requests", "delete", SHARDY_METRIC_REQUESTS_DELETE, 1, "requests: DELETE"},
    {"requests", "failed", SHARDY_METRIC_REQUESTS_FAILED, 1, "requests that failed"},
    {NULL, "bytes_received", SHARDY_METRIC_REQUEST_BYTES_RECEIVED, 1, "bytes received"},
    {NULL, "bytes_sent", SHARDY_METRIC_REQUEST_BYTES_SENT, 1, "bytes sent"},
    {"store", "reads", SHARDY_METRIC_STORE_READS, 0, "store: reads"},
    {"store", "read_bytes", SHARDY_METRIC_STORE_READ_BYTES, 0, "store: bytes read"},
    {"store", "heads", SHARDY_METRIC_STORE_HEADS, 0, "store: look-ups"},
    {"store", "puts", SHARDY_METRIC_STORE_PUTS, 0, "store: objects written"},
    {"store", "put_bytes", SHARDY_METRIC_STORE_PUT_BYTES, 0, "store: bytes written"},
    {"store", "lists", SHARDY_METRIC_STORE_LISTS, 0, "store: pages listed"},
    {"store", "deletes", SHARDY_METRIC_STORE_DELETES, 0, "store: objects removed"},
    {"store", "opens", SHARDY_METRIC_STORE_OPENS, 0, "store: files opened"},
    {NULL, "retries", SHARDY_METRIC_STORE_RETRIES, 0, "retries"},
    {NULL, "retries_refused", SHARDY_METRIC_STORE_RETRIES_REFUSED, 0, "retries beyond the budget"},
    {NULL, "limit_waits", SHARDY_METRIC_LIMIT_WAITS, 0, "waits for a limit"},
    {NULL, "limit_wait_us", SHARDY_METRIC_LIMIT_WAIT_US, 0, "microseconds of these waits"},
    {"page_cache", "hits", SHARDY_METRIC_PAGE_CACHE_HITS, 0, "page cache: hits"},
    {"page_cache", "misses", SHARDY_METRIC_PAGE_CACHE_MISSES, 0, "page cache: misses"},
    {"file_cache", "hits", SHARDY_METRIC_FILE_CACHE_HITS, 0, "cache of files: hits"},
    {"file_cache", "fills", SHARDY_METRIC_FILE_CACHE_FILLS, 0, "cache of files: files downloaded"},
    {"file_cache", "bypasses", SHARDY_METRIC_FILE_CACHE_BYPASSES, 0,
        "cache of files: objects read without it"},
};

enum {
    ROW_COUNT = sizeof rows / sizeof rows[0]
};

static void add_json(const cli *c, strbuf *b, double ms)
{
    json_out j;
    const char *object = NULL;
    out_json_begin(c, &j, b, "stats");
    json_name(&j, "command");
    json_text(&j, c->opts.command ? c->opts.command->name : NULL);
    json_name(&j, "elapsed_ms");
    json_double(&j, ms, 3);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const stats_row *row = &rows[i];
        if (row->object != object) {
            if (object) {
                json_object_end(&j);
            }
            if (row->object) {
                json_name(&j, row->object);
                json_object(&j);
            }
            object = row->object;
        }
        json_name(&j, row->name);
        if (row->in_bucket && !c->in_bucket) {
            json_null(&j);
        } else {
            json_uint(&j, shardy_context_metric(c->context, row->metric));
        }
    }
    if (object) {
        json_object_end(&j);
    }
    json_object_end(&j);
    strbuf_putc(b, '\n');
}

/* Figures that are 0 say nothing to people. */
static void add_table(const cli *c, strbuf *b, double ms)
{
    static const table_column columns[] = {{"what", 0, 0, 0}, {"count", 0, 1, 0}};
    out_table t;
    strbuf text = {0};
    table_begin(&t, columns, 2);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        uint64_t value = shardy_context_metric(c->context, rows[i].metric);
        if (value > 0) {
            table_cell_text(&t, rows[i].text);
            table_cell_uint(&t, value);
        }
    }
    strbuf_printf(&text, "%.1f", ms);
    table_cell_text(&t, "milliseconds");
    table_cell_text(&t, strbuf_text(&text));
    strbuf_free(&text);
    table_end(&t, b, c->colour_err);
}

void stats_print(const cli *c, int64_t since_ns)
{
    if (!opt_given(&c->opts, OPT_STATS) || !c->context) {
        return;
    }
    double ms = (double)(sys_now_ns() - since_ns) / 1e6;
    int for_people = c->format == OUT_TABLE || c->format == OUT_TEXT ||
                     (!opt_given(&c->opts, OPT_OUTPUT_FORMAT) && isatty(STDERR_FILENO));
    strbuf b = {0};
    if (for_people) {
        add_table(c, &b, ms);
    } else {
        add_json(c, &b, ms);
    }
    out_write_error(&b);
    strbuf_free(&b);
}
