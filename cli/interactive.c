/* interactive.c: the interactive mode: a line is a command on the snapshot that stays open. */
#include "cli.h"

#include "editor.h"
#include "help.h"
#include "line_history.h"
#include "words.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct prompt_loop {
    cli *c;
    cli_session session;
    editor *editor;
    line_history past;
    completion refs; /* run ids and refs, asked for once */
    int refs_known;
    shardy_cancel **tokens; /* a signal may still look at an old one: they live to the end */
    size_t token_count;
} prompt_loop;

/* --- completion of refs ----------------------------------------------------------------------- */

enum {
    REFS_MAX = 100
};

static void load_refs(prompt_loop *loop)
{
    shardy_history history = {0};
    shardy_admin_options options;
    target_fill_admin(loop->c, &options);
    options.timeout_ms = 2000; /* somebody waits for the key */
    options.cancel = NULL;
    loop->refs_known = 1;
    if (shardy_history_list(
            loop->c->context, loop->c->snapshot, REFS_MAX, &options, &history, NULL) < 0) {
        return; /* there is nothing to offer */
    }
    for (size_t i = 0; i < history.count; i++) {
        completion_add(&loop->refs, "", history.entries[i].run_id);
    }
    for (size_t i = 0; i < history.count; i++) {
        completion_add(&loop->refs, "", history.entries[i].ref);
    }
    shardy_history_dispose(&history);
}

static void add_refs(void *user, const char *prefix, completion *out)
{
    prompt_loop *loop = user;
    if (!loop->refs_known) {
        load_refs(loop);
    }
    for (size_t i = 0; i < loop->refs.count; i++) {
        completion_add(out, prefix, loop->refs.words[i]);
    }
}

static void forget_refs(prompt_loop *loop)
{
    completion_free(&loop->refs);
    loop->refs_known = 0;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* A token that is not cancelled. */
static int renew_token(prompt_loop *loop)
{
    cli *c = loop->c;
    shardy_error err = {0};
    if (c->cancel && !shardy_cancel_requested(c->cancel)) {
        return EXIT_OK;
    }
    loop->tokens = sys_resize(loop->tokens, loop->token_count + 1, sizeof(shardy_cancel *));
    loop->tokens[loop->token_count++] = c->cancel;
    c->cancel = NULL;
    return shardy_cancel_new(&c->cancel, &err) < 0 ? out_fail(c, &err, NULL) : EXIT_OK;
}

/* Says what is wrong with a line that was not understood. */
static void refuse(cli *c, const opt_values *line, const char *message)
{
    opt_values base = c->opts;
    c->opts = *line;
    out_usage(c, message);
    c->opts = base;
}

static void show_help(cli *c, const command_def *command)
{
    strbuf b = {0};
    if (command) {
        help_line(&b, command, c->colour_out);
    } else {
        help_session(&b, c->colour_out);
    }
    out_write(c, &b);
    strbuf_free(&b);
}

/* Runs the words of a line. Returns 1 when they were a command. */
static int run_words(prompt_loop *loop, const word_list *words)
{
    cli *c = loop->c;
    opt_values line;
    strbuf message = {0};
    int understood =
        opt_parse_line((int)words->count, words->words, CMDS_TYPED, &line, &message) == 0;
    if (!understood) {
        refuse(c, &line, strbuf_text(&message));
    } else if (opt_given(&line, OPT_HELP) || !line.command) {
        show_help(c, line.command);
    } else if (renew_token(loop) == EXIT_OK) {
        forget_refs(loop);
        signals_watch(c->cancel);
        if (signals_caught()) {
            shardy_cancel_request(c->cancel); /* it came before there was anything to end */
        }
        session_run_line(c, &line);
        signals_watch(NULL);
        signals_forget();
    }
    opt_free(&line);
    strbuf_free(&message);
    return understood;
}

static void run_line(prompt_loop *loop, const strbuf *line)
{
    const char *text = strbuf_text(line);
    size_t blanks = strspn(text, " \t\v\f\r");
    if ((blanks == line->len) || text[blanks] == '#') {
        return;
    }
    word_list words;
    strbuf message = {0};
    int understood = 0;
    if (words_split(text, line->len, &words, &message) != 0) {
        refuse(loop->c, &loop->c->opts, strbuf_text(&message));
    } else {
        understood = run_words(loop, &words);
    }
    if (loop->session.on_terminal && strlen(text) == line->len) {
        editor_remember(loop->editor, text);
        if (understood && blanks == 0) { /* a blank before it keeps a line out of the file */
            line_history_add(&loop->past, text);
        }
    }
    words_free(&words);
    strbuf_free(&message);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void print_banner(const cli *c)
{
    shardy_snapshot_info info = {0};
    shardy_error err = {0};
    strbuf b = {0};
    if (shardy_reader_snapshot_info(c->session->reader, &info, &err) < 0) {
        out_fail(c, &err, NULL);
        return;
    }
    strbuf_puts(&b, "Loaded manifest run_id=");
    out_add_text(&b, info.run_id, strlen(info.run_id));
    strbuf_printf(&b, "  (%u shard%s, %s sharding)\n", (unsigned)info.num_dbs, out_s(info.num_dbs),
        shardy_sharding_strategy_name(info.strategy));
    strbuf_puts(&b, "\"help\" lists the commands, Ctrl-D leaves.\n");
    out_write(c, &b);
    strbuf_free(&b);
    shardy_snapshot_info_dispose(&info);
}

/* Reads and runs lines until there are no more. Returns the exit code. */
static int read_lines(prompt_loop *loop)
{
    cli *c = loop->c;
    strbuf line = {0};
    int rc = EXIT_OK;
    for (int more = 1; more && !loop->session.over;) {
        editor_outcome outcome = editor_read(loop->editor, &line);
        if (outcome == EDITOR_LINE) {
            run_line(loop, &line);
        } else if (outcome == EDITOR_TOO_LONG) {
            out_fail_text(c, SHARDY_INVALID, "the line has more than 1048576 bytes", NULL);
        } else if (outcome == EDITOR_FAILED) {
            shardy_error err;
            out_set_error(&err, SHARDY_IO, "cannot read the standard input: %s", strerror(errno));
            rc = out_fail(c, &err, NULL);
            more = 0;
        } else if (outcome == EDITOR_END) {
            more = 0;
        }
        int ends = outcome == EDITOR_END || outcome == EDITOR_INTERRUPTED;
        if (ends && loop->session.on_terminal) {
            ssize_t n = write(STDOUT_FILENO, "\n", 1);
            (void)n;
        }
        if (loop->session.output_failed || signals_caught()) {
            rc = EXIT_ERROR;
            more = 0;
        }
    }
    strbuf_free(&line);
    return signals_caught() ? 128 + signals_caught() : rc;
}

static void begin_terminal(prompt_loop *loop)
{
    signals_stay();
    print_banner(loop->c);
    line_history_open(&loop->past);
    for (size_t i = 0; i < loop->past.count; i++) {
        editor_remember(loop->editor, loop->past.lines[i]);
    }
}

int interactive_run(cli *c)
{
    prompt_loop loop = {.c = c};
    loop.session.typed = 1;
    loop.session.on_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    loop.past.fd = -1;
    if (c->format == OUT_JSONL && !opt_given(&c->opts, OPT_OUTPUT_FORMAT)) {
        c->format = OUT_JSON;
    }
    int rc = session_open(c, &loop.session);
    if (rc == EXIT_OK) {
        completion_source source = {add_refs, &loop};
        loop.editor = editor_open(loop.session.on_terminal, &source);
        if (loop.session.on_terminal) {
            begin_terminal(&loop);
        }
        rc = read_lines(&loop);
        editor_close(loop.editor);
    }
    line_history_close(&loop.past);
    forget_refs(&loop);
    session_close(c);
    for (size_t i = 0; i < loop.token_count; i++) {
        shardy_cancel_free(loop.tokens[i]);
    }
    sys_free(loop.tokens);
    return rc;
}
