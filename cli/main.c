/* main.c: the command shardy. Reads the command line and the configuration, runs one command. */
#include "cli.h"

#include "help.h"
#include "term.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int print_generated(const cli *c)
{
    static void (*const makers[])(strbuf *) = {help_man, help_bash, help_zsh, help_fish};
    strbuf b = {0};
    makers[c->opts.values[OPT_GENERATE].number](&b);
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

static int print_help(const cli *c)
{
    strbuf b = {0};
    if (c->opts.command) {
        help_command(&b, c->opts.command, c->colour_out);
    } else {
        help_main(&b, 0, c->colour_out);
    }
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

/* Whether anything says which snapshot is meant. */
static int names_snapshot(const cli *c)
{
    return opt_given(&c->opts, OPT_SNAPSHOT) || sys_env("SHARDY_CURRENT") || c->cfg.current_url ||
           c->cfg.s3_prefix;
}

/* Without a command and a snapshot: there is nothing to do, so say what there would be. */
static int print_brief_help(const cli *c)
{
    strbuf b = {0};
    help_main(&b, 1, c->colour_err);
    ssize_t n = write(STDERR_FILENO, strbuf_text(&b), b.len);
    (void)n;
    (void)c;
    strbuf_free(&b);
    return EXIT_USAGE;
}

static int print_version(const cli *c)
{
    strbuf b = {0};
    strbuf_printf(&b, "shardy, version %s\n", shardy_version());
    int rc = out_write(c, &b);
    strbuf_free(&b);
    return rc;
}

/* Format, encoding and the rest that options and the configuration decide together. */
static int configure(cli *c)
{
    const opt_value *v = c->opts.values;
    strbuf message = {0};
    if (v[OPT_OUTPUT_FORMAT].count) {
        c->format = (out_format)v[OPT_OUTPUT_FORMAT].number; /* errors of the file as well */
    }
    if (config_load(&c->cfg, v[OPT_CONFIG].text, &message) != 0) {
        int rc = out_fail_text(c, SHARDY_CONFIG, strbuf_text(&message), NULL);
        strbuf_free(&message);
        return rc;
    }
    strbuf_free(&message);
    if (!v[OPT_OUTPUT_FORMAT].count) {
        c->format = (out_format)c->cfg.format;
    }
    c->encoding = v[OPT_VALUE_ENCODING].count ? (value_encoding)v[OPT_VALUE_ENCODING].number
                                              : (value_encoding)c->cfg.value_encoding;
    return EXIT_OK;
}

static int run(cli *c, int argc, char *const *argv)
{
    strbuf message = {0};
    int parsed = opt_parse(argc, argv, &c->opts, &message);
    const opt_value *v = c->opts.values;
    term_colour_mode mode = (term_colour_mode)v[OPT_COLOR].number;
    c->colour_out = term_colour(STDOUT_FILENO, mode);
    c->colour_err = term_colour(STDERR_FILENO, mode);
    c->verbose = (int)(v[OPT_VERBOSE].count < 3 ? v[OPT_VERBOSE].count : 3);
    if (parsed != 0) {
        int rc = out_usage(c, strbuf_text(&message));
        strbuf_free(&message);
        return rc;
    }
    if (v[OPT_HELP].count) {
        return print_help(c);
    }
    if (v[OPT_VERSION].count) {
        return print_version(c);
    }
    if (v[OPT_GENERATE].count) {
        return print_generated(c);
    }
    int rc = configure(c);
    if (rc != EXIT_OK) {
        /* where 1 says that a snapshot is served, degraded, no failure may end with it */
        return c->opts.command && c->opts.command->id == CMD_HEALTH ? EXIT_USAGE : rc;
    }
    if (!c->opts.command) {
        return names_snapshot(c) ? interactive_run(c) : print_brief_help(c);
    }
    return command_run(c);
}

int main(int argc, char **argv)
{
    cli c;
    memset(&c, 0, sizeof c);
    utf8_init();
    signals_ignore();
    progress_init(&c.bar);
    config_init(&c.cfg);
    credentials_init(&c.found);
    c.format = (out_format)c.cfg.format;
    int64_t since_ns = sys_now_ns();
    int rc = run(&c, argc, argv);
    progress_end(&c.bar);
    stats_print(&c, since_ns);
    bucket_close(&c);
    shardy_cancel_free(c.cancel);
    shardy_context_free(c.context);
    credentials_free(&c.found);
    config_free(&c.cfg);
    opt_free(&c.opts);
    sys_free(c.snapshot);
    return rc;
}
