#include "cli.h"

#include "out_file.h"
#include "script.h"
#include "term.h"

#include <shardyfusion/limits.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Reads and parses the script. EXIT_OK, or the exit code after a message. */
static int load(const cli *c, const char *path, script *s)
{
    char *text = NULL;
    size_t len = 0;
    strbuf message = {0};
    int is_stdin = strcmp(path, "-") == 0;
    int code = is_stdin ? sys_read_fd(STDIN_FILENO, SHARDY_YAML_LEN_MAX, &text, &len)
                        : sys_read_file(path, SHARDY_YAML_LEN_MAX, &text, &len);
    if (code == EFBIG) {
        strbuf_printf(&message, "script \"%.900s\" has more than %u bytes", path,
            (unsigned)SHARDY_YAML_LEN_MAX);
    } else if (code != 0) {
        strbuf_printf(&message, "cannot read the script \"%.900s\": %s", path, strerror(code));
    } else {
        (void)script_parse(s, is_stdin ? "<stdin>" : path, text, len, &message);
    }
    int unread = code != 0 && code != EFBIG;
    int rc = EXIT_OK;
    if (message.len) {
        rc = out_fail_text(c, unread ? SHARDY_IO : SHARDY_INVALID, strbuf_text(&message), NULL);
    }
    strbuf_free(&message);
    sys_free(text);
    return rc;
}

/* One command. Its failures are results: anything but EXIT_OK says that there was one. */
static int run_entry(cli *c, const script *s, size_t index)
{
    script_words words;
    opt_values line;
    strbuf message = {0};
    memset(&line, 0, sizeof line);
    int rc = script_entry(s, index, &words, &message);
    if (rc == 0) {
        rc = opt_parse_line((int)words.count, words.words, CMDS_SCRIPT, &line, &message);
        if (rc != 0) {
            strbuf place = {0};
            script_add_place(s, shardy_yaml_at(s->commands, index), &place);
            strbuf_puts(&place, strbuf_text(&message));
            strbuf_free(&message);
            message = place;
        }
    }
    if (rc == 0) {
        rc = session_run_line(c, &line);
    } else {
        c->session->op = words.op;
        rc = out_fail_text(c, SHARDY_INVALID, strbuf_text(&message), NULL);
        c->session->op = NULL;
    }
    opt_free(&line);
    script_words_free(&words);
    strbuf_free(&message);
    return rc;
}

/* EXIT_OK, EXIT_ERROR when a command failed, or what a signal asks for. */
static int run_all(cli *c, const script *s)
{
    int failed = 0;
    for (size_t i = 0; i < script_count(s); i++) {
        int rc = run_entry(c, s, i);
        if (signals_caught()) {
            return 128 + signals_caught();
        }
        failed = failed || rc != EXIT_OK;
        if (rc != EXIT_OK && (s->stop || c->session->output_failed)) {
            break;
        }
    }
    return failed ? EXIT_ERROR : EXIT_OK;
}

/* The results of a script that was interrupted, or that could not be written, are not all of them:
 * they do not replace what was there. */
static int finish(const cli *c, out_file *file, int rc, int output_failed)
{
    strbuf message = {0};
    if (signals_caught()) {
        return out_fail_text(c, SHARDY_CANCELLED, "interrupted", NULL);
    }
    if (!output_failed && out_file_commit(file, &message) != 0) {
        rc = out_fail_text(c, SHARDY_IO, strbuf_text(&message), NULL);
    }
    strbuf_free(&message);
    return rc;
}

static int run_script(cli *c, const script *s, const char *output)
{
    cli_session session = {0};
    out_file file = {0};
    strbuf message = {0};
    int rc = session_open(c, &session);
    if (rc == EXIT_OK && output) {
        session.output = output;
        if (out_file_open(&file, output, &message) != 0) {
            session.output_failed = 1;
            rc = out_fail_text(c, SHARDY_IO, strbuf_text(&message), NULL);
        }
        c->colour_out =
            term_colour(STDOUT_FILENO, (term_colour_mode)c->opts.values[OPT_COLOR].number);
    }
    if (rc == EXIT_OK) {
        c->format = c->format == OUT_JSON ? OUT_JSONL : c->format;
        rc = run_all(c, s);
        session_close(c);
        rc = finish(c, &file, rc, session.output_failed);
    }
    session_close(c);
    out_file_close(&file);
    strbuf_free(&message);
    return rc;
}

int cmd_exec(cli *c)
{
    const opt_value *path = &c->opts.values[OPT_SCRIPT];
    const opt_value *output = &c->opts.values[OPT_OUTPUT];
    if (!path->count) {
        return out_usage(c, "missing option \"--script\"");
    }
    script s = {0};
    int rc = load(c, path->text, &s);
    if (rc == EXIT_OK) {
        rc = run_script(c, &s, output->count ? output->text : NULL);
    }
    script_free(&s);
    return rc;
}
