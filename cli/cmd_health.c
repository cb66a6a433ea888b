#include "cli.h"

#include "term.h"

#include <string.h>

static const char *status_name(int32_t status)
{
    return status == SHARDY_HEALTHY    ? "healthy"
           : status == SHARDY_DEGRADED ? "degraded"
                                       : "unhealthy";
}

/* What is not known of a snapshot that could not be opened is null. */
static void add_json(const cli *c, strbuf *b, const shardy_health *h, const char *reason)
{
    json_out j;
    int is_open = h->manifest_ref[0] != '\0';
    out_json_begin(c, &j, b, "health");
    json_name(&j, "status");
    json_text(&j, status_name(h->status));
    json_name(&j, "manifest_ref");
    json_text(&j, is_open ? h->manifest_ref : NULL);
    json_name(&j, "manifest_age_seconds");
    if (is_open) {
        json_double(&j, h->age_seconds, 1);
    } else {
        json_null(&j);
    }
    json_name(&j, "num_shards");
    if (is_open) {
        json_uint(&j, h->num_shards);
    } else {
        json_null(&j);
    }
    json_name(&j, "is_closed");
    json_bool(&j, 0);
    json_name(&j, "verified");
    json_bool(&j, h->verified);
    json_name(&j, "fallback");
    json_bool(&j, h->fallback);
    json_name(&j, "reason");
    json_text(&j, reason[0] ? reason : NULL);
    json_object_end(&j);
}

static void add_text(const cli *c, strbuf *b, const shardy_health *h, const char *reason)
{
    strbuf_puts(b, "status=");
    term_style(b, c->colour_out,
        h->status == SHARDY_HEALTHY    ? TERM_GREEN
        : h->status == SHARDY_DEGRADED ? TERM_YELLOW
                                       : TERM_RED);
    strbuf_puts(b, status_name(h->status));
    term_style(b, c->colour_out, TERM_PLAIN);
    if (h->manifest_ref[0]) {
        strbuf_printf(
            b, "  manifest_age=%.1fs  shards=%u", h->age_seconds, (unsigned)h->num_shards);
    }
    if (reason[0]) {
        strbuf_puts(b, "  reason=");
        out_add_text(b, reason, strlen(reason));
    }
    strbuf_putc(b, '\n');
}

static int print_health(const cli *c, const shardy_health *h, const char *reason)
{
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        add_json(c, &b, h, reason);
    } else {
        add_text(c, &b, h, reason);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

int cmd_health(cli *c)
{
    const opt_value *threshold = &c->opts.values[OPT_STALENESS];
    shardy_reader *reader = NULL;
    shardy_error err = {0};
    shardy_health health;
    memset(&health, 0, sizeof health);
    c->failure = &err;
    int rc = target_open(c, &reader);
    c->failure = NULL;
    if (rc == EXIT_OK && shardy_reader_health(reader, threshold->count ? threshold->seconds : -1.0,
                             &health, &err) < 0) {
        rc = EXIT_ERROR;
    }
    if (rc == EXIT_ERROR) {
        health.status = SHARDY_UNHEALTHY;
    }
    if (rc == EXIT_OK || rc == EXIT_ERROR) {
        rc = print_health(c, &health, err.message[0] ? err.message : health.reason);
        if (!c->session) {
            /* 1 says that a snapshot is served: no failure may end with it */
            rc = rc != EXIT_OK || health.status == SHARDY_UNHEALTHY ? EXIT_USAGE
                 : health.status == SHARDY_DEGRADED                 ? EXIT_ERROR
                                                                    : EXIT_OK;
        }
    }
    target_close(c, reader);
    return rc;
}
