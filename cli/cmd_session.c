/* cmd_session.c: the commands that are there in a session only. */
#include "cli.h"

#include "help.h"

#include <string.h>

/* What the reader of the session reads. EXIT_OK, or the exit code after a message. */
static int get_info(const cli *c, shardy_snapshot_info *info)
{
    shardy_error err = {0};
    memset(info, 0, sizeof *info);
    if (shardy_reader_snapshot_info(c->session->reader, info, &err) < 0) {
        return out_fail(c, &err, NULL);
    }
    return EXIT_OK;
}

/* --- refresh ---------------------------------------------------------------------------------- */

static int print_refresh(const cli *c, int changed)
{
    strbuf b = {0};
    if (c->format == OUT_TEXT) {
        strbuf_puts(&b, changed ? "changed=True\n" : "changed=False\n");
    } else {
        json_out j;
        out_json_begin(c, &j, &b, "refresh");
        json_name(&j, "changed");
        json_bool(&j, changed);
        json_object_end(&j);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

/* Leaves the manifest that was chosen and reads what the pointer names. */
static int leave_pin(cli *c, int *changed_out)
{
    shardy_snapshot_info before;
    shardy_snapshot_info after;
    int rc = get_info(c, &before);
    if (rc != EXIT_OK) {
        return rc;
    }
    rc = session_switch(c, NULL);
    rc = rc == EXIT_OK ? get_info(c, &after) : rc;
    if (rc == EXIT_OK) {
        *changed_out = strcmp(before.manifest_ref, after.manifest_ref) != 0;
        shardy_snapshot_info_dispose(&after);
    }
    shardy_snapshot_info_dispose(&before);
    return rc;
}

int cmd_refresh(cli *c)
{
    int changed = 0;
    int rc = EXIT_OK;
    if (c->session->pinned && c->session->typed) {
        rc = leave_pin(c, &changed);
    } else if (!c->session->pinned) {
        /* with --ref or --offset a script reads what it was told to, whatever is published */
        shardy_error err = {0};
        shardy_read_options options;
        target_read_options(c, NULL, 0, &options);
        shardy_status st = shardy_reader_refresh(c->session->reader, &options, &err);
        changed = st == SHARDY_OK;
        rc = st < 0 ? out_fail(c, &err, NULL) : EXIT_OK;
    }
    return rc == EXIT_OK ? print_refresh(c, changed) : rc;
}

/* --- use -------------------------------------------------------------------------------------- */

static int print_use(const cli *c, const shardy_snapshot_info *info)
{
    strbuf b = {0};
    int for_people = c->session->on_terminal || c->format == OUT_TEXT || c->format == OUT_TABLE;
    if (for_people) {
        strbuf_puts(&b, "Switched to manifest run_id=");
        out_add_text(&b, info->run_id, strlen(info->run_id));
        strbuf_puts(&b, "  (");
        out_add_text(&b, info->manifest_ref, strlen(info->manifest_ref));
        strbuf_puts(&b, ")\n");
    } else {
        json_out j;
        out_json_begin(c, &j, &b, "use");
        json_name(&j, "run_id");
        json_text(&j, info->run_id);
        json_name(&j, "manifest_ref");
        json_text(&j, info->manifest_ref);
        json_name(&j, "pinned");
        json_bool(&j, c->session->pinned);
        json_object_end(&j);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

int cmd_use(cli *c)
{
    const opt_values *v = &c->opts;
    if (opt_given(v, OPT_REF) + opt_given(v, OPT_OFFSET) + opt_given(v, OPT_LATEST) != 1) {
        return out_usage(c, "exactly one of --ref, --offset and --latest is needed");
    }
    char *ref = NULL;
    shardy_snapshot_info info;
    int rc = target_ref(c, &ref);
    rc = rc == EXIT_OK ? session_switch(c, ref) : rc;
    rc = rc == EXIT_OK ? get_info(c, &info) : rc;
    if (rc == EXIT_OK) {
        rc = print_use(c, &info);
        shardy_snapshot_info_dispose(&info);
    }
    sys_free(ref);
    return rc;
}

/* --- help and quit ---------------------------------------------------------------------------- */

/* The command of a name that can be typed here, or NULL. */
static const command_def *find_typed(const char *name)
{
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if ((CMDS_TYPED & CMD_BIT(i)) && strcmp(command_table[i].name, name) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

int cmd_help(cli *c)
{
    strbuf b = {0};
    const char *name = c->opts.arg_count ? c->opts.args[0] : NULL;
    const command_def *command = name ? find_typed(name) : NULL;
    if (name && !command) {
        strbuf_printf(&b, "there is no command \"%.100s\" here; \"help\" lists them", name);
        int rc = out_fail_text(c, SHARDY_INVALID, strbuf_text(&b), NULL);
        strbuf_free(&b);
        return rc;
    }
    if (command) {
        help_line(&b, command, c->colour_out);
    } else {
        help_session(&b, c->colour_out);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

int cmd_quit(cli *c)
{
    c->session->over = 1;
    return EXIT_OK;
}
