#include "cli.h"

#include "help.h"
#include "term.h"
#include "utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Returns 0 or an errno. */
static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

void out_write_error(const strbuf *text)
{
    /* nobody is left to be told */
    (void)write_all(STDERR_FILENO, strbuf_text(text), text->len);
}

/* `done`: what has been done, whether or not it can be told; NULL: nothing. */
static int write_bytes(const cli *c, const void *data, size_t len, const char *done)
{
    int rc = len ? write_all(STDOUT_FILENO, data, len) : 0;
    if (rc == EPIPE) {
        /* the reader of the pipe has what it wanted */
        signals_die_of_pipe();
    }
    if (rc != 0) {
        shardy_error err = {0};
        const char *name = c->session && c->session->output ? c->session->output : NULL;
        out_set_error(&err, rc == ENOSPC ? SHARDY_NO_SPACE : SHARDY_IO,
            "%s%scannot write to %s%.400s%s: %s", done ? done : "",
            done ? ", but that could not be reported: " : "", name ? "\"" : "the standard output",
            name ? name : "", name ? "\"" : "", strerror(rc));
        if (c->session) {
            c->session->output_failed = 1;
        }
        return out_fail(c, &err, NULL);
    }
    return EXIT_OK;
}

int out_write_bytes(const cli *c, const void *data, size_t len)
{
    return write_bytes(c, data, len, NULL);
}

static int write_text(const cli *c, const strbuf *text, const char *done)
{
    int rc = write_bytes(c, strbuf_text(text), text->len, done);
    if (rc == EXIT_OK && (text->len == 0 || text->data[text->len - 1] != '\n')) {
        rc = write_bytes(c, "\n", 1, done);
    }
    return rc;
}

int out_write(const cli *c, const strbuf *text)
{
    return write_text(c, text, NULL);
}

int out_report(const cli *c, const strbuf *text, const char *format, ...)
{
    char done[512];
    va_list args;
    va_start(args, format);
    vsnprintf(done, sizeof done, format, args);
    va_end(args);
    return write_text(c, text, done);
}

void out_add_text(strbuf *b, const char *text, size_t len)
{
    if (isatty(STDOUT_FILENO)) {
        utf8_add_visible(b, text, len, 1);
    } else {
        strbuf_add(b, text, len);
    }
}

void out_json_begin(const cli *c, json_out *j, strbuf *b, const char *op)
{
    json_begin(j, b, c->format != OUT_JSONL);
    json_object(j);
    json_name(j, "op");
    json_text(j, op);
}

void out_set_error(shardy_error *err, shardy_status status, const char *format, ...)
{
    memset(err, 0, sizeof *err);
    err->status = status;
    memcpy(err->domain, "shardy", 7);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
}

/* In a script failures are results: they go where results go. */
static int is_result(const cli *c)
{
    return c->session && !c->session->typed && !c->session->output_failed;
}

static const char *op_name(const cli *c)
{
    if (c->session && c->session->op) {
        return c->session->op;
    }
    return c->opts.command ? c->opts.command->name : "shardy";
}

/* Colours are those of where it goes. */
static void add_prefixed(
    const cli *c, strbuf *b, const char *word, term_style_name style, const char *text)
{
    strbuf_puts(b, "shardy: ");
    int colour = is_result(c) ? c->colour_out : c->colour_err;
    term_style(b, colour, style);
    strbuf_puts(b, word);
    term_style(b, colour, TERM_PLAIN);
    strbuf_puts(b, text);
    strbuf_putc(b, '\n');
}

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The option that a field of the library stands for: "allow-empty" for allow_empty; or NULL. */
static const char *option_of(const command_def *command, const char *field, size_t len)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const char *name = opt_table[i].name;
        size_t at = 0;
        while (at < len && (name[at] == field[at] || (name[at] == '-' && field[at] == '_'))) {
            at++;
        }
        if (at == len && !name[at] && strchr(name, '-') && opt_applies(&opt_table[i], command)) {
            return name;
        }
    }
    return NULL;
}

/* A message of the library, which names fields of its options, with the options of the command. */
static void add_message(strbuf *b, const command_def *command, const char *text)
{
    int quoted = 0;
    char before = ' ';
    while (*text) {
        size_t len = 0;
        while (is_word(text[len])) {
            len++;
        }
        /* a name of a file may be that of a field */
        int alone = strchr(" (", before) && strchr(" ,;)", text[len]);
        const char *name = quoted || !alone ? NULL : option_of(command, text, len);
        strbuf_puts(b, name ? "--" : "");
        strbuf_add(b, name ? name : text, len);
        text += len;
        if (*text) {
            quoted ^= *text == '"';
            before = *text++;
            strbuf_putc(b, before);
        }
    }
}

int out_fail(const cli *c, const shardy_error *err, const char *key)
{
    int signal_number = signals_caught();
    int cancelled = signal_number != 0 && err->status == SHARDY_CANCELLED;
    if (c->failure && !cancelled) {
        *c->failure = *err;
        return EXIT_ERROR;
    }
    strbuf said = {0};
    if (cancelled || !err->message[0]) {
        strbuf_puts(&said, cancelled ? "interrupted" : "an error without a message");
    } else if (c->session || err->status <= SHARDY_UNAVAILABLE) {
        strbuf_puts(&said, err->message); /* in scripts options have the names of fields */
    } else {
        add_message(&said, c->opts.command, err->message);
    }
    const char *message = strbuf_text(&said);
    strbuf b = {0};
    if (c->format == OUT_JSON || c->format == OUT_JSONL) {
        json_out j;
        out_json_begin(c, &j, &b, op_name(c));
        json_name(&j, "error");
        json_text(&j, message);
        json_name(&j, "status");
        json_text(&j, shardy_status_name(err->status));
        if (key) {
            json_name(&j, "key");
            json_text(&j, key);
        }
        json_object_end(&j);
        strbuf_putc(&b, '\n');
    } else {
        strbuf text = {0};
        if (is_result(c)) {
            utf8_add_visible(&text, op_name(c), strlen(op_name(c)), 0);
            strbuf_puts(&text, ": ");
        }
        utf8_add_visible(&text, message, strlen(message), 0);
        add_prefixed(c, &b, "error: ", TERM_RED, strbuf_text(&text));
        strbuf_free(&text);
    }
    if (is_result(c)) {
        out_write_bytes(c, b.data, b.len);
    } else {
        out_write_error(&b);
    }
    strbuf_free(&b);
    strbuf_free(&said);
    return cancelled ? 128 + signal_number : EXIT_ERROR;
}

int out_fail_text(const cli *c, shardy_status status, const char *text, const char *key)
{
    shardy_error err;
    out_set_error(&err, status, "%s", text);
    return out_fail(c, &err, key);
}

int out_usage_value(const cli *c, const char *option, const char *expected, const char *given)
{
    strbuf message = {0};
    strbuf_printf(&message, "option \"--%s\" must be %s, not \"", option, expected);
    utf8_add_visible(&message, given, strlen(given), 0);
    strbuf_putc(&message, '"');
    int rc = out_usage(c, strbuf_text(&message));
    strbuf_free(&message);
    return rc;
}

int out_usage(const cli *c, const char *message)
{
    if (is_result(c)) {
        return out_fail_text(c, SHARDY_INVALID, message, NULL);
    }
    strbuf b = {0};
    add_prefixed(c, &b, "error: ", TERM_RED, message);
    const command_def *command = c->opts.command;
    if (c->session) {
        help_line_usage(&b, command);
    } else if (command) {
        strbuf_printf(&b, "usage: shardy %s%s%s%s\n", command->name, " [options]",
            command->args[0] ? " " : "", command->args);
        strbuf_printf(&b, "try \"shardy %s --help\"\n", command->name);
    } else {
        strbuf_puts(&b, "usage: shardy [options] COMMAND ...\ntry \"shardy --help\"\n");
    }
    out_write_error(&b);
    strbuf_free(&b);
    return EXIT_USAGE;
}

const char *out_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void out_warn(const cli *c, const char *message)
{
    strbuf b = {0};
    add_prefixed(c, &b, "warning: ", TERM_YELLOW, message);
    out_write_error(&b);
    strbuf_free(&b);
}

char *out_time(const char *iso)
{
    size_t len = strlen(iso);
    if (len == 0 || iso[len - 1] != 'Z') {
        return sys_strdup(iso);
    }
    strbuf b = {0};
    strbuf_add(&b, iso, len - 1);
    strbuf_puts(&b, "+00:00");
    return strbuf_take(&b);
}
