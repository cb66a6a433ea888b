#include "cli.h"

#include "out_table.h"
#include "term.h"

#include <string.h>

static const char *status_name(int32_t status)
{
    return status == SHARDY_VERIFY_OK        ? "ok"
           : status == SHARDY_VERIFY_DAMAGED ? "damaged"
                                             : "unverified";
}

static void add_json(const cli *c, strbuf *b, const shardy_verify_result *r)
{
    json_out j;
    out_json_begin(c, &j, b, "verify");
    json_name(&j, "status");
    json_text(&j, status_name(r->status));
    json_name(&j, "objects");
    json_uint(&j, r->objects);
    json_name(&j, "bytes");
    json_uint(&j, r->bytes);
    json_name(&j, "damaged");
    json_array(&j);
    for (size_t i = 0; i < r->damaged_count; i++) {
        json_object(&j);
        json_name(&j, "path");
        json_text(&j, r->damaged[i].path);
        json_name(&j, "offset");
        json_uint(&j, r->damaged[i].offset);
        json_name(&j, "reason");
        json_text(&j, r->damaged[i].reason);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_name(&j, "manifest_ref");
    json_text(&j, r->manifest_ref);
    json_object_end(&j);
}

static void add_text(const cli *c, strbuf *b, const shardy_verify_result *r)
{
    strbuf_puts(b, "status=");
    term_style(b, c->colour_out,
        r->status == SHARDY_VERIFY_OK        ? TERM_GREEN
        : r->status == SHARDY_VERIFY_DAMAGED ? TERM_RED
                                             : TERM_YELLOW);
    strbuf_puts(b, status_name(r->status));
    term_style(b, c->colour_out, TERM_PLAIN);
    strbuf_printf(b, "  objects=%llu  bytes=%llu  damaged=%zu\n", (unsigned long long)r->objects,
        (unsigned long long)r->bytes, r->damaged_count);
    for (size_t i = 0; c->format == OUT_TEXT && i < r->damaged_count; i++) {
        const shardy_damage *d = &r->damaged[i];
        strbuf_puts(b, "path=");
        out_add_text(b, d->path, strlen(d->path));
        strbuf_printf(b, "  offset=%llu  reason=", (unsigned long long)d->offset);
        out_add_text(b, d->reason, strlen(d->reason));
        strbuf_putc(b, '\n');
    }
}

static void add_table(const cli *c, strbuf *b, const shardy_verify_result *r)
{
    static const table_column columns[] = {
        {"PATH", 4, 0, 0}, {"OFFSET", 6, 1, 0}, {"REASON", 6, 0, 1}};
    out_table table;
    if (r->damaged_count == 0) {
        return;
    }
    table_begin(&table, columns, 3);
    for (size_t i = 0; i < r->damaged_count; i++) {
        table_cell_text(&table, r->damaged[i].path);
        table_cell_uint(&table, r->damaged[i].offset);
        table_cell_text(&table, r->damaged[i].reason);
    }
    table_end(&table, b, c->colour_out);
}

static int print_result(const cli *c, const shardy_verify_result *result)
{
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        add_json(c, &b, result);
    } else {
        add_text(c, &b, result);
        if (c->format == OUT_TABLE) {
            add_table(c, &b, result);
        }
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc == EXIT_OK && result->status == SHARDY_VERIFY_DAMAGED ? EXIT_ERROR : rc;
}

static int32_t on_progress(void *user, uint64_t bytes_done, uint64_t bytes_total)
{
    cli *c = user;
    progress_view view = {.label = "verifying", .fraction = -1, .bytes = bytes_done};
    if (bytes_total) {
        view.fraction = (double)bytes_done / (double)bytes_total;
    }
    progress_update(&c->bar, &view);
    return 0;
}

int cmd_verify(cli *c)
{
    const opt_values *v = &c->opts;
    uint32_t threads = (uint32_t)v->values[OPT_THREADS].number;
    char *ref = NULL;
    shardy_verify_options options;
    shardy_verify_options_init(&options, sizeof options);
    int rc = target_admin(c, threads, &options.admin);
    rc = rc == EXIT_OK ? target_ref(c, &ref) : rc;
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    shardy_verify_result result = {0};
    options.ref = ref;
    options.deep = opt_given(v, OPT_DEEP);
    options.threads = threads;
    options.progress = on_progress;
    options.progress_user = c;
    progress_begin(&c->bar, !opt_given(v, OPT_QUIET), c->verbose, c->colour_err);
    shardy_status st = shardy_verify(c->context, c->snapshot, &options, &result, &err);
    progress_end(&c->bar);
    rc = st < 0 ? out_fail(c, &err, NULL) : print_result(c, &result);
    shardy_verify_result_dispose(&result);
    sys_free(ref);
    return rc;
}
