#include "cli.h"

static int print_ref(const cli *c, const shardy_buf *ref)
{
    const char *text = ref->data ? ref->data : "";
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        json_out j;
        out_json_begin(c, &j, &b, "rollback");
        json_name(&j, "ref");
        json_text_n(&j, text, ref->len);
        json_object_end(&j);
    } else {
        strbuf_puts(&b, "Rolled back _CURRENT to: ");
        out_add_text(&b, text, ref->len);
        strbuf_putc(&b, '\n');
    }
    int rc =
        out_report(c, &b, "current is now \"%.*s\"", ref->len < 300 ? (int)ref->len : 300, text);
    strbuf_free(&b);
    return rc;
}

int cmd_rollback(cli *c)
{
    shardy_rollback_target target;
    shardy_admin_options options;
    int named;
    int rc = target_named(c, &target, &named);
    if (rc == EXIT_OK && !named) {
        rc = out_usage(c, "exactly one of --ref, --run-id and --offset is needed");
    }
    rc = rc == EXIT_OK ? target_admin(c, 0, &options) : rc;
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    shardy_buf ref = {0};
    if (shardy_rollback(c->context, c->snapshot, &target, &options, &ref, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    rc = print_ref(c, &ref);
    shardy_buf_release(&ref);
    return rc;
}
