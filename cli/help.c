#include "help.h"

#include "term.h"

#include <shardyfusion/base.h>

#include <stdio.h>
#include <string.h>

enum {
    HELP_WIDTH = 79,
    HELP_COLUMN = 30 /* where descriptions begin */
};

/* --- text ------------------------------------------------------------------------------------- */

/* Appends words up to the width; lines after the first are indented. */
static void add_wrapped(strbuf *out, const char *text, size_t column, size_t indent)
{
    size_t at = column;
    int first = 1;
    while (*text) {
        if (*text == '\n') {
            strbuf_puts(out, "\n");
            strbuf_fill(out, '\n', text[1] == '\n' ? 1 : 0);
            strbuf_fill(out, ' ', indent);
            at = indent;
            first = 1;
            text += text[1] == '\n' ? 2 : 1;
            continue;
        }
        size_t n = strcspn(text, " \n");
        if (!first && at + 1 + n > HELP_WIDTH) {
            strbuf_putc(out, '\n');
            strbuf_fill(out, ' ', indent);
            at = indent;
        } else if (!first) {
            strbuf_putc(out, ' ');
            at++;
        }
        strbuf_add(out, text, n);
        at += n;
        first = 0;
        text += n;
        while (*text == ' ') {
            text++;
        }
    }
    strbuf_putc(out, '\n');
}

static void add_heading(strbuf *out, const char *text, int colour)
{
    strbuf_putc(out, '\n');
    term_style(out, colour, TERM_BOLD);
    strbuf_puts(out, text);
    term_style(out, colour, TERM_PLAIN);
    strbuf_putc(out, '\n');
}

/* What the option takes, its default, where else it can be set. */
static void add_notes(strbuf *out, const opt_def *def)
{
    int choices = def->choices && !strstr(def->help, "jsonl (one line)");
    if (choices || def->default_text) {
        strbuf_puts(out, " (");
        if (choices) {
            opt_add_choices(out, def->choices);
        }
        if (def->default_text) {
            strbuf_printf(out, "%sdefault %s", choices ? "; " : "", def->default_text);
        }
        strbuf_puts(out, ")");
    }
    if (def->arity == OPT_REPEAT && !strstr(def->help, "repeated")) {
        strbuf_puts(out, "; may be repeated");
    }
    if (def->alias) {
        strbuf_printf(out, "; also --%s", def->alias);
    }
    if (def->env || def->config) {
        strbuf_puts(out, " [");
        if (def->env) {
            strbuf_printf(out, "environment %s", def->env);
        }
        if (def->config) {
            strbuf_printf(out, "%sconfig %s", def->env ? ", " : "", def->config);
        }
        strbuf_puts(out, "]");
    }
}

static void add_option(strbuf *out, const opt_def *def, const command_def *command, int colour)
{
    strbuf left = {0};
    strbuf right = {0};
    if (def->letter) {
        strbuf_printf(&left, "  -%c, --%s", def->letter, def->name);
    } else {
        strbuf_printf(&left, "      --%s", def->name);
    }
    if (def->arg) {
        strbuf_printf(&left, " %s", def->arg);
    }
    term_style(out, colour, TERM_BOLD);
    strbuf_puts(out, strbuf_text(&left));
    term_style(out, colour, TERM_PLAIN);
    if (left.len + 2 > HELP_COLUMN) {
        strbuf_putc(out, '\n');
        strbuf_fill(out, ' ', HELP_COLUMN);
    } else {
        strbuf_fill(out, ' ', HELP_COLUMN - left.len);
    }
    strbuf_puts(&right, opt_help(def, command));
    add_notes(&right, def);
    add_wrapped(out, strbuf_text(&right), HELP_COLUMN, HELP_COLUMN);
    strbuf_free(&left);
    strbuf_free(&right);
}

/* All options of a group that a command has; `command` NULL: those that stand before any. */
static void add_group(
    strbuf *out, const char *heading, opt_group group, const command_def *command, int colour)
{
    int any = 0;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (def->group != group || def->hidden || !opt_applies(def, command)) {
            continue;
        }
        if (!any) {
            add_heading(out, heading, colour);
            any = 1;
        }
        add_option(out, def, command, colour);
    }
}

static void add_commands(strbuf *out, int colour)
{
    add_heading(out, "Commands:", colour);
    for (size_t i = 0; i < CMD_COUNT; i++) {
        const command_def *command = &command_table[i];
        strbuf_puts(out, "  ");
        term_style(out, colour, TERM_BOLD);
        strbuf_puts(out, command->name);
        term_style(out, colour, TERM_PLAIN);
        strbuf_fill(out, ' ', 12 - strlen(command->name));
        strbuf_printf(out, "%s\n", command->summary);
    }
}

void help_main(strbuf *out, int brief, int colour)
{
    strbuf_puts(out, "usage: shardy [options] COMMAND ...\n\n");
    add_wrapped(out,
        "Builds, reads and looks after sharded snapshots of key-value records and vectors. "
        "Without a command it reads commands line by line (shardy -s ./snap).",
        0, 0);
    add_commands(out, colour);
    if (!brief) {
        add_group(out, "Snapshot options:", OPT_GROUP_SNAPSHOT, NULL, colour);
        add_group(out, "General options:", OPT_GROUP_GENERAL, NULL, colour);
        add_heading(out, "Exit codes:", colour);
        strbuf_puts(out,
            "  0  success, also when a key is not found\n"
            "  1  an error; a key missing with --strict; health degraded; damage found\n"
            "  2  a mistake in the command line; health unhealthy or failed\n"
            "  129, 130, 143  interrupted by SIGHUP, SIGINT or SIGTERM\n");
    }
    strbuf_puts(out, "\nSee \"shardy COMMAND --help\" for the options of a command");
    strbuf_puts(out, brief ? ",\n\"shardy --help\" for the rest.\n" : ".\n");
}

void help_session(strbuf *out, int colour)
{
    strbuf_puts(out, "Commands:\n");
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        const command_def *command = &command_table[i];
        if (CMDS_TYPED & CMD_BIT(i)) {
            const char *args = command->session_args ? command->session_args : command->args;
            strbuf left = {0};
            strbuf_printf(&left, "%s %s", command->name, args);
            strbuf_puts(out, "  ");
            term_style(out, colour, TERM_BOLD);
            strbuf_puts(out, command->name);
            term_style(out, colour, TERM_PLAIN);
            strbuf_printf(out, " %s", args);
            strbuf_fill(out, ' ', left.len < 38 ? 38 - left.len : 1);
            strbuf_printf(out, "%s\n", command->summary);
            strbuf_free(&left);
        }
    }
    strbuf_puts(out,
        "\n\"help COMMAND\" shows the options of a command. Words are split as in a shell:\n"
        "'a b', \"a b\" and a\\ b are one word. A line that begins with # is a comment.\n");
}

void help_line_usage(strbuf *out, const command_def *command)
{
    if (!command) {
        strbuf_puts(out, "try \"help\"\n");
        return;
    }
    const char *args = command->session_args ? command->session_args : command->args;
    strbuf_printf(out, "usage: %s [options]%s%s\n", command->name, args[0] ? " " : "", args);
}

void help_line(strbuf *out, const command_def *command, int colour)
{
    help_line_usage(out, command);
    strbuf_putc(out, '\n');
    add_wrapped(out, command->description, 0, 0);
    add_heading(out, "Options:", colour);
    for (size_t i = 0; i < 2 * OPT_COUNT; i++) { /* those of the command first */
        const opt_def *def = &opt_table[i % OPT_COUNT];
        int own = def->group == OPT_GROUP_COMMAND;
        if (!def->hidden && own == (i < OPT_COUNT) && opt_applies_in_line(def, command)) {
            add_option(out, def, command, colour);
        }
    }
}

void help_command(strbuf *out, const command_def *command, int colour)
{
    strbuf_printf(out, "usage: shardy %s [options]%s%s\n\n", command->name,
        command->args[0] ? " " : "", command->args);
    add_wrapped(out, command->description, 0, 0);
    add_group(out, "Options:", OPT_GROUP_COMMAND, command, colour);
    add_group(out, "Snapshot options:", OPT_GROUP_SNAPSHOT, command, colour);
    add_group(out, "General options:", OPT_GROUP_GENERAL, command, colour);
    if (command->examples) {
        add_heading(out, "Examples:", colour);
        for (const char *p = command->examples; *p;) {
            size_t n = strcspn(p, "\n");
            strbuf_printf(out, "  %.*s\n", (int)n, p);
            p += n + (p[n] ? 1 : 0);
        }
    }
}

/* --- manual page ------------------------------------------------------------------------------ */

/* Text for roff: no escapes, no requests, dashes as they are typed. */
static void add_roff(strbuf *out, const char *text)
{
    int line_start = 1;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\'')) {
            strbuf_puts(out, "\\&");
        }
        line_start = *text == '\n';
        if (*text == '\\') {
            strbuf_puts(out, "\\e");
        } else if (*text == '-') {
            strbuf_puts(out, "\\-");
        } else if (*text == '~') {
            strbuf_puts(out, "\\(ti");
        } else if (*text == '\n' && text[1] == '\n') {
            strbuf_puts(out, "\n.PP\n");
            text++;
        } else {
            strbuf_putc(out, *text);
        }
    }
}

static void man_option(strbuf *out, const opt_def *def, const command_def *command)
{
    strbuf right = {0};
    strbuf_puts(out, ".TP\n");
    if (def->letter) {
        strbuf_printf(out, "\\fB\\-%c\\fR, ", def->letter);
    }
    strbuf_puts(out, "\\fB\\-\\-");
    add_roff(out, def->name);
    strbuf_puts(out, "\\fR");
    if (def->arg) {
        strbuf_puts(out, " \\fI");
        add_roff(out, def->arg);
        strbuf_puts(out, "\\fR");
    }
    strbuf_putc(out, '\n');
    strbuf_puts(&right, opt_help(def, command));
    add_notes(&right, def);
    add_roff(out, strbuf_text(&right));
    strbuf_puts(out, ".\n");
    strbuf_free(&right);
}

static void man_group(strbuf *out, opt_group group, const command_def *command)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (def->group == group && !def->hidden && opt_applies(def, command)) {
            man_option(out, def, command);
        }
    }
}

static void man_command(strbuf *out, const command_def *command)
{
    strbuf_puts(out, ".SS \"shardy ");
    strbuf_puts(out, command->name);
    strbuf_puts(out, command->args[0] ? " " : "");
    add_roff(out, command->args);
    strbuf_puts(out, "\"\n");
    add_roff(out, command->description);
    strbuf_puts(out, "\n");
    man_group(out, OPT_GROUP_COMMAND, command);
    if (command->examples) {
        strbuf_puts(out, ".PP\n.nf\n");
        for (const char *p = command->examples; *p;) {
            size_t n = strcspn(p, "\n");
            char *line = sys_strndup(p, n);
            strbuf_puts(out, "    ");
            add_roff(out, line);
            strbuf_putc(out, '\n');
            sys_free(line);
            p += n + (p[n] ? 1 : 0);
        }
        strbuf_puts(out, ".fi\n");
    }
}

/* What is read from the environment, by the command and by the library for object storage. */
static void man_environment(strbuf *out)
{
    static const char *const variables[][2] = {
        {"SHARDY_CURRENT, SHARDY_CONFIG, SHARDY_CREDENTIALS",
            "as --snapshot, --config and --credentials"},
        {"SHARDY_MANIFEST_DSN", "connection of manifests in Postgres; libpq reads PG... as well"},
        {"AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, SLATEDB_S3_ENDPOINT_URL",
            "URL of the service; without them Amazon's of the region"},
        {"S3_REGION, AWS_REGION, AWS_DEFAULT_REGION", "the region"},
        {"S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN", "credentials; else"},
        {"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "credentials"},
        {"AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE",
            "profile of AWS (default), and the files with profiles (~/.aws/credentials, "
            "~/.aws/config)"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_ENDPOINT_URL_STS",
            "web identity, and the service that exchanges it for credentials"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI, "
         "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, AWS_CONTAINER_AUTHORIZATION_TOKEN",
            "credentials of a container"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_EC2_METADATA_DISABLED",
            "credentials of an instance; true turns them off"},
        {"AWS_CA_BUNDLE", "file with the certificates that are trusted"},
        {"http_proxy, https_proxy, all_proxy, no_proxy",
            "proxy for http and for https, for both, and hosts that need none"},
        {"XDG_STATE_HOME", "directory in place of ~/.local/state"},
        {"NO_COLOR", "no colours"},
    };
    strbuf_puts(out, ".SH ENVIRONMENT\nOf variables for the same thing the first that is set and "
                     "not empty counts.\n");
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        strbuf_puts(out, ".TP\n\\fB");
        add_roff(out, variables[i][0]);
        strbuf_puts(out, "\\fR\n");
        add_roff(out, variables[i][1]);
        strbuf_puts(out, ".\n");
    }
}

static void man_tail(strbuf *out)
{
    static const char *const sections[][2] = {
        {"EXIT STATUS",
            "0: success, also when a key is not found. 1: an error; get --strict without the key; "
            "health degraded; verify found damage. 2: a mistake in the command line; health "
            "unhealthy, or failed. 129, 130 or 143: interrupted by SIGHUP, SIGINT or SIGTERM, "
            "after cleaning up."},
        {"OUTPUT",
            "Results go to the standard output, messages and progress to the standard error. In "
            "the formats json and jsonl an error is an object with the members op, error, status "
            "and, where it is about one key, key; shardy schema prints the schemas of all "
            "objects. In the formats table and text an error is a line beginning with "
            "\"shardy: error:\"."},
        {"INTERACTIVE MODE",
            "Without a COMMAND, shardy opens the snapshot and reads commands line by line, on a "
            "terminal with a prompt, editing, completion with Tab and the lines of earlier "
            "sessions, otherwise silently from the standard input. The commands are get, "
            "multiget, search, route, info, shards, health, history, refresh (take the snapshot "
            "that is current now), use --ref REF, use --offset N, use --latest (read another "
            "manifest), help, quit and exit; they have the options of the commands above. "
            "Words are split as in a shell. A failure goes to the standard error and the session "
            "goes on; the exit status is 0. The format is json unless one is named. Ctrl-C ends "
            "the command that runs or drops the line, Ctrl-D leaves.\n\n"
            "Lines that were commands are kept in $XDG_STATE_HOME/shardy/history (otherwise "
            "~/.local/state/shardy/history), readable by their owner only; those that begin with "
            "a blank are not."},
        {"CONFIGURATION",
            "The file reader.toml has the tables [reader] (current_url, s3_prefix, local_root, "
            "thread_safety, pool_checkout_timeout, max_workers, slate_env_file, "
            "credentials_profile, reader_backend, sqlite_mode, "
            "sqlite_auto_per_shard_threshold_bytes, sqlite_auto_total_budget_bytes), "
            "[manifest_store] (backend, dsn, table_name, pointer_table_name, ensure_table) and "
            "[output] (format, value_encoding, null_repr). The file credentials.toml has one table "
            "per profile "
            "(endpoint_url, region (or region_name), access_key_id, secret_access_key, "
            "session_token, "
            "aws_profile, addressing_style, signature_version, verify_ssl, connect_timeout, "
            "read_timeout, max_attempts) and should be readable by its owner only. Unknown names "
            "are errors. "
            "Options on the command line come before the environment, the environment before the "
            "files.\n\nThe engines slatedb and lancedb are not part of this version: their "
            "settings are checked, and refused where they would take effect."},
        {"OBJECT STORAGE",
            "Wherever a snapshot is named, s3://BUCKET/PREFIX can be: a bucket of Amazon S3 or of "
            "a compatible service. The service, its region and the credentials are those of "
            "--s3-option KEY=VALUE, of credentials.toml, or of the environment; without keys "
            "there, a profile of AWS, a web identity, or the metadata of the container or the "
            "instance are used, the first of them that says anything. -vv tells which it was. "
            "Publishing needs a service that honours conditional writes, which a build tries out "
            "first."},
    };
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        strbuf_printf(out, ".SH %s\n", sections[i][0]);
        add_roff(out, sections[i][1]);
        strbuf_putc(out, '\n');
    }
    man_environment(out);
}

void help_man(strbuf *out)
{
    strbuf_puts(out, ".TH SHARDY 1 \"\" \"shardyfusion " SHARDY_VERSION "\" "
                     "\"User Commands\"\n");
    strbuf_puts(out, ".SH NAME\nshardy \\- build, read and look after sharded snapshots\n");
    strbuf_puts(out, ".SH SYNOPSIS\n.B shardy\n[\\fIoptions\\fR] \\fICOMMAND\\fR ...\n");
    strbuf_puts(out, ".SH DESCRIPTION\n");
    add_roff(out,
        "A snapshot is a set of immutable shards with key-value records and vectors, in a "
        "directory or a bucket of object storage, and one manifest that lists them. The pointer "
        "_CURRENT names the manifest that readers use. "
        "shardy builds snapshots from files, looks up keys and nearest vectors in them, and moves "
        "the pointer between them.\n\n"
        "Options that belong to every command may stand before or after it. A value follows its "
        "option as the next argument or after an equals sign; -- ends the options.\n");
    strbuf_puts(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < CMD_COUNT; i++) {
        man_command(out, &command_table[i]);
    }
    strbuf_puts(out, ".SH \"SNAPSHOT OPTIONS\"\n");
    man_group(out, OPT_GROUP_SNAPSHOT, NULL);
    strbuf_puts(out, ".SH \"GENERAL OPTIONS\"\n");
    man_group(out, OPT_GROUP_GENERAL, NULL);
    man_tail(out);
}
