#include "cli.h"

static int prepare(
    cli *c, shardy_rollback_target *target, int *named_out, shardy_admin_options *options)
{
    int rc = target_named(c, target, named_out);
    return rc == EXIT_OK ? target_admin(c, 0, options) : rc;
}

int cmd_pin(cli *c)
{
    const char *name = c->opts.args[0];
    shardy_rollback_target target;
    shardy_admin_options options;
    int named;
    int rc = prepare(c, &target, &named, &options);
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    shardy_buf ref = {0};
    if (shardy_pin_add(
            c->context, c->snapshot, name, named ? &target : NULL, &options, &ref, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        json_out j;
        out_json_begin(c, &j, &b, "pin");
        json_name(&j, "name");
        json_text(&j, name);
        json_name(&j, "ref");
        json_text_n(&j, ref.data, ref.len);
        json_object_end(&j);
    } else {
        strbuf_printf(&b, "pinned %s: ", name);
        out_add_text(&b, ref.data, ref.len);
        strbuf_putc(&b, '\n');
    }
    rc = out_report(c, &b, "the pin \"%.100s\" is on \"%.*s\" now", name,
        ref.len < 300 ? (int)ref.len : 300, (const char *)ref.data);
    strbuf_free(&b);
    shardy_buf_release(&ref);
    return rc;
}

int cmd_unpin(cli *c)
{
    const char *name = c->opts.args[0];
    shardy_rollback_target target;
    shardy_admin_options options;
    int named;
    int rc = prepare(c, &target, &named, &options);
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    uint32_t removed = 0;
    shardy_status st = shardy_pin_remove(
        c->context, c->snapshot, name, named ? &target : NULL, &options, &removed, &err);
    if (st == SHARDY_NOT_FOUND) {
        return out_fail_text(c, st, "no snapshot has a pin of that name", NULL);
    }
    if (st < 0) {
        return out_fail(c, &err, NULL);
    }
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        json_out j;
        out_json_begin(c, &j, &b, "unpin");
        json_name(&j, "name");
        json_text(&j, name);
        json_name(&j, "removed");
        json_uint(&j, removed);
        json_object_end(&j);
    } else {
        strbuf_printf(
            &b, "unpinned %s from %u snapshot%s\n", name, (unsigned)removed, out_s(removed));
    }
    rc = out_report(c, &b, "the pin \"%.100s\" was taken from %u snapshot%s", name,
        (unsigned)removed, out_s(removed));
    strbuf_free(&b);
    return rc;
}
