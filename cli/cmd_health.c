#include "cli.h"

#include "term.h"

#include <string.h>

static const char *status_name(int32_t status)
{
    return status == SHARDY_HEALTHY    ? "healthy"
           : status == SHARDY_DEGRADED ? "degraded"
                                       : "unhealthy";
}

static void add_json(const cli *c, strbuf *b, const shardy_health *h)
{
    json_out j;
    out_json_begin(c, &j, b, "health");
    json_name(&j, "status");
    json_text(&j, status_name(h->status));
    json_name(&j, "manifest_ref");
    json_text(&j, h->manifest_ref);
    json_name(&j, "manifest_age_seconds");
    json_double(&j, h->age_seconds, 1);
    json_name(&j, "num_shards");
    json_uint(&j, h->num_shards);
    json_name(&j, "is_closed");
    json_bool(&j, 0);
    json_name(&j, "verified");
    json_bool(&j, h->verified);
    json_name(&j, "fallback");
    json_bool(&j, h->fallback);
    json_name(&j, "reason");
    json_text(&j, h->reason[0] ? h->reason : NULL);
    json_object_end(&j);
}

static void add_text(const cli *c, strbuf *b, const shardy_health *h)
{
    strbuf_puts(b, "status=");
    term_style(b, c->colour_out,
        h->status == SHARDY_HEALTHY    ? TERM_GREEN
        : h->status == SHARDY_DEGRADED ? TERM_YELLOW
                                       : TERM_RED);
    strbuf_puts(b, status_name(h->status));
    term_style(b, c->colour_out, TERM_PLAIN);
    strbuf_printf(b, "  manifest_age=%.1fs  shards=%u", h->age_seconds, (unsigned)h->num_shards);
    if (h->reason[0]) {
        strbuf_puts(b, "  reason=");
        out_add_text(b, h->reason, strlen(h->reason));
    }
    strbuf_putc(b, '\n');
}

int cmd_health(cli *c)
{
    const opt_value *threshold = &c->opts.values[OPT_STALENESS];
    shardy_reader *reader = NULL;
    shardy_error err = {0};
    shardy_health health;
    memset(&health, 0, sizeof health);
    int rc = target_open(c, &reader);
    if (rc != EXIT_OK) {
        return rc;
    }
    if (shardy_reader_health(reader, threshold->count ? threshold->seconds : -1.0, &health, &err) <
        0) {
        out_fail(c, &err, NULL);
        rc = EXIT_USAGE;
    } else {
        strbuf b = {0};
        if (c->format == OUT_JSON || c->format == OUT_JSONL) {
            add_json(c, &b, &health);
        } else {
            add_text(c, &b, &health);
        }
        rc = out_write(c, &b);
        strbuf_free(&b);
        if (rc == EXIT_OK && !c->session) {
            rc = health.status == SHARDY_HEALTHY    ? EXIT_OK
                 : health.status == SHARDY_DEGRADED ? EXIT_ERROR
                                                    : EXIT_USAGE;
        }
    }
    target_close(c, reader);
    return rc;
}
