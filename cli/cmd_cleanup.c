#include "cli.h"

#include "out_table.h"

#include <string.h>

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_action(json_out *j, const shardy_cleanup_action *a)
{
    json_object(j);
    if (a->kind == SHARDY_CLEANUP_RUN) {
        json_name(j, "run_id");
        json_text(j, a->run_id);
    } else {
        json_name(j, "db_id");
        if (a->db_id < 0) {
            json_null(j);
        } else {
            json_int(j, a->db_id);
        }
    }
    json_name(j, "prefix_url");
    json_text(j, a->prefix_url);
    json_name(j, "objects_deleted");
    json_uint(j, a->objects_deleted);
    json_name(j, "objects");
    json_uint(j, a->objects);
    json_name(j, "bytes");
    json_uint(j, a->bytes);
    if (a->error) {
        json_name(j, "error");
        json_text(j, a->error);
    }
    json_object_end(j);
}

static void add_actions(json_out *j, const char *name, int32_t kind, const shardy_cleanup_result *r)
{
    json_name(j, name);
    json_array(j);
    for (size_t i = 0; i < r->action_count; i++) {
        if (r->actions[i].kind == kind) {
            add_action(j, &r->actions[i]);
        }
    }
    json_array_end(j);
}

static void add_settled(json_out *j, const shardy_cleanup_result *r)
{
    json_name(j, "settled");
    json_array(j);
    for (size_t i = 0; i < r->action_count; i++) {
        if (r->actions[i].kind == SHARDY_CLEANUP_SETTLE) {
            json_object(j);
            json_name(j, "run_id");
            json_text(j, r->actions[i].run_id);
            json_name(j, "fate");
            json_text(j, r->actions[i].fate);
            json_object_end(j);
        }
    }
    json_array_end(j);
}

/* Prefixes that are gone as a whole, or would be. */
static uint64_t count_prefixes(const shardy_cleanup_result *r)
{
    uint64_t count = 0;
    for (size_t i = 0; i < r->action_count; i++) {
        const shardy_cleanup_action *a = &r->actions[i];
        count += a->kind != SHARDY_CLEANUP_SETTLE &&
                 (r->dry_run || (!a->error && a->objects_deleted > 0));
    }
    return count;
}

static void add_json(const cli *c, strbuf *b, const shardy_cleanup_result *r, int with_runs)
{
    json_out j;
    out_json_begin(c, &j, b, "cleanup");
    json_name(&j, "dry_run");
    json_bool(&j, r->dry_run);
    json_name(&j, "run_id");
    json_text(&j, r->run_id);
    add_actions(&j, "stale_attempts", SHARDY_CLEANUP_STALE_ATTEMPT, r);
    json_name(&j, "total_objects_deleted");
    json_uint(&j, r->objects_deleted);
    json_name(&j, "total_prefixes_removed");
    json_uint(&j, count_prefixes(r));
    if (with_runs) {
        add_actions(&j, "old_runs", SHARDY_CLEANUP_RUN, r);
        add_settled(&j, r);
    }
    json_name(&j, "kept");
    json_array(&j);
    for (size_t i = 0; i < r->kept_count; i++) {
        json_object(&j);
        json_name(&j, "run_id");
        json_text(&j, r->kept[i].run_id);
        json_name(&j, "reason");
        json_text(&j, r->kept[i].reason);
        json_name(&j, "failed");
        json_bool(&j, r->kept[i].failed);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_name(&j, "total_objects");
    json_uint(&j, r->objects);
    json_name(&j, "total_bytes");
    json_uint(&j, r->bytes);
    json_name(&j, "failures");
    json_uint(&j, r->failures);
    json_object_end(&j);
}

/* --- text ------------------------------------------------------------------------------------- */

static void add_text_action(strbuf *b, const shardy_cleanup_action *a)
{
    if (a->kind == SHARDY_CLEANUP_STALE_ATTEMPT) {
        strbuf_puts(b, "stale attempt");
    } else {
        strbuf_puts(b, a->kind == SHARDY_CLEANUP_RUN ? "old run " : "settle run ");
        out_add_text(b, a->run_id, strlen(a->run_id));
    }
    strbuf_puts(b, "  ");
    if (a->kind == SHARDY_CLEANUP_SETTLE) {
        strbuf_printf(b, "fate=%s\n", a->fate);
        return;
    }
    out_add_text(b, a->prefix_url, strlen(a->prefix_url));
    strbuf_printf(b, "  objects=%llu  bytes=%llu  deleted=%llu", (unsigned long long)a->objects,
        (unsigned long long)a->bytes, (unsigned long long)a->objects_deleted);
    if (a->error) {
        strbuf_puts(b, "  error=");
        out_add_text(b, a->error, strlen(a->error));
    }
    strbuf_putc(b, '\n');
}

static void add_text(strbuf *b, const shardy_cleanup_result *r)
{
    const char *head = r->dry_run ? "[DRY RUN] " : "";
    for (size_t i = 0; i < r->action_count; i++) {
        strbuf_puts(b, head);
        add_text_action(b, &r->actions[i]);
    }
    for (size_t i = 0; i < r->kept_count; i++) {
        strbuf_printf(b, "%skept run ", head);
        out_add_text(b, r->kept[i].run_id, strlen(r->kept[i].run_id));
        strbuf_puts(b, ": ");
        out_add_text(b, r->kept[i].reason, strlen(r->kept[i].reason));
        strbuf_putc(b, '\n');
    }
    strbuf_printf(b, "%sTotal: %llu prefixes, %llu objects", head,
        (unsigned long long)count_prefixes(r),
        (unsigned long long)(r->dry_run ? r->objects : r->objects_deleted));
    if (r->settled > 0) {
        strbuf_printf(b, ", %llu settled", (unsigned long long)r->settled);
    }
    strbuf_putc(b, '\n');
}

static void add_table(const cli *c, strbuf *b, const shardy_cleanup_result *r)
{
    static const table_column columns[] = {{"WHAT", 4, 0, 0}, {"RUN_ID", 6, 0, 0},
        {"OBJECTS", 7, 1, 0}, {"DELETED", 7, 1, 0}, {"REMARK", 6, 0, 1}};
    out_table table;
    table_begin(&table, columns, 5);
    for (size_t i = 0; i < r->action_count; i++) {
        const shardy_cleanup_action *a = &r->actions[i];
        table_cell_text(&table, a->kind == SHARDY_CLEANUP_SETTLE ? "settle"
                                : a->kind == SHARDY_CLEANUP_RUN  ? "run"
                                                                 : "attempt");
        table_cell_text(&table, a->run_id);
        if (a->kind == SHARDY_CLEANUP_SETTLE) {
            table_cell_text(&table, "");
            table_cell_text(&table, "");
            table_cell_text(&table, a->fate);
            continue;
        }
        table_cell_uint(&table, a->objects);
        table_cell_uint(&table, a->objects_deleted);
        table_cell_text(&table, a->error ? a->error : a->prefix_url);
    }
    for (size_t i = 0; i < r->kept_count; i++) {
        table_cell_text(&table, "kept");
        table_cell_text(&table, r->kept[i].run_id);
        table_cell_text(&table, "");
        table_cell_text(&table, "");
        table_cell_text(&table, r->kept[i].reason);
    }
    table_end(&table, b, c->colour_out);
}

static int print_result(const cli *c, const shardy_cleanup_result *r, int with_runs)
{
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        add_json(c, &b, r, with_runs);
    } else if (c->format == OUT_TEXT) {
        add_text(&b, r);
    } else {
        add_table(c, &b, r);
    }
    int rc = out_report(c, &b, "the cleanup has removed %llu object%s",
        (unsigned long long)r->objects_deleted, out_s(r->objects_deleted));
    strbuf_free(&b);
    return rc;
}

/* --- the command ------------------------------------------------------------------------------ */

static int32_t on_progress(void *user, uint64_t deleted, uint64_t objects)
{
    cli *c = user;
    progress_view view = {
        .label = "cleaning up", .fraction = -1, .rows = objects, .noun = "object"};
    if (objects > 0 && deleted > 0) {
        view.fraction = (double)deleted / (double)objects;
    }
    progress_update(&c->bar, &view);
    return 0;
}

static int get_age(cli *c, opt_id id, const char *name, int64_t *seconds_out)
{
    const char *text = c->opts.values[id].text;
    return !opt_given(&c->opts, id) || opt_parse_age(text, seconds_out) == 0
               ? EXIT_OK
               : out_usage_value(c, name,
                     "a number of days or hours like 7d or 24h, at most 36500d or 36500h", text);
}

static int get_options(cli *c, shardy_cleanup_options *o)
{
    const opt_values *v = &c->opts;
    shardy_cleanup_options_init(o, sizeof *o);
    int rc = get_age(c, OPT_OLDER_THAN, "older-than", &o->older_than_s);
    rc = rc == EXIT_OK ? get_age(c, OPT_SETTLE_AFTER, "settle-after", &o->settle_after_s) : rc;
    if (rc != EXIT_OK) {
        return rc;
    }
    if (opt_given(v, OPT_SETTLE_AFTER) && !opt_given(v, OPT_INCLUDE_OLD_RUNS) &&
        !opt_given(v, OPT_OLDER_THAN) && !opt_given(v, OPT_KEEP_LAST)) {
        return out_usage(
            c, "option \"--settle-after\" needs --include-old-runs, --older-than or --keep-last");
    }
    o->dry_run = opt_given(v, OPT_DRY_RUN);
    o->include_old_runs = opt_given(v, OPT_INCLUDE_OLD_RUNS);
    o->keep_last = (uint32_t)v->values[OPT_KEEP_LAST].number;
    o->force = opt_given(v, OPT_FORCE);
    if (opt_given(v, OPT_MAX_RETRIES)) {
        o->max_retries = (uint32_t)v->values[OPT_MAX_RETRIES].number;
    }
    if (opt_given(v, OPT_SHARD_PREFIX)) {
        o->shard_prefix = v->values[OPT_SHARD_PREFIX].text;
    }
    if (opt_given(v, OPT_REGISTRY_PREFIX)) {
        o->run_registry_prefix = v->values[OPT_REGISTRY_PREFIX].text;
    }
    o->progress = on_progress;
    o->progress_user = c;
    return EXIT_OK;
}

int cmd_cleanup(cli *c)
{
    char *ref = NULL;
    shardy_cleanup_options options;
    int rc = get_options(c, &options);
    rc = rc == EXIT_OK ? target_admin(c, 0, &options.admin) : rc;
    rc = rc == EXIT_OK ? target_ref(c, &ref) : rc;
    if (rc != EXIT_OK) {
        return rc;
    }
    shardy_error err = {0};
    shardy_cleanup_result result = {0};
    options.ref = ref;
    progress_begin(&c->bar, !opt_given(&c->opts, OPT_QUIET), c->verbose, c->colour_err);
    shardy_status st = shardy_cleanup(c->context, c->snapshot, &options, &result, &err);
    progress_end(&c->bar);
    int with_runs = options.include_old_runs || options.older_than_s >= 0 || options.keep_last > 0;
    if (st >= 0 || result.failures > 0 || result.objects_deleted > 0 || result.settled > 0) {
        rc = print_result(c, &result, with_runs);
    }
    if (st < 0) {
        rc = out_fail(c, &err, NULL);
    }
    shardy_cleanup_result_dispose(&result);
    sys_free(ref);
    return rc;
}
