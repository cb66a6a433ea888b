#include "editor.h"

#include "cli.h"
#include "term.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char prompt[] = "shardy> ";

struct editor {
    line_edit *edit; /* NULL: lines are read as they come */
    int on_terminal;
    char chunk[65536];
    size_t at; /* what is left of the chunk */
    size_t end;
};

editor *editor_open(int on_terminal, const completion_source *source)
{
    editor *e = sys_alloc(1, sizeof *e);
    e->on_terminal = on_terminal;
    if (on_terminal && term_is_live(STDOUT_FILENO)) {
        e->edit = line_edit_open(prompt, source);
    }
    return e;
}

/* Reads what comes next. EDITOR_LINE: there is something in the chunk. */
static editor_outcome fill(editor *e)
{
    for (;;) {
        if (e->on_terminal) {
            int ready = signals_wait_input();
            if (signals_caught()) {
                int ends = signals_caught() != SIGINT;
                signals_forget();
                return ends ? EDITOR_END : EDITOR_INTERRUPTED;
            }
            if (signals_terminal_changed() || !ready) {
                continue;
            }
        }
        ssize_t n = e->on_terminal ? signals_read_input(e->chunk, sizeof e->chunk)
                                   : read(STDIN_FILENO, e->chunk, sizeof e->chunk);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        e->at = 0;
        e->end = n > 0 ? (size_t)n : 0;
        return n > 0 ? EDITOR_LINE : n == 0 ? EDITOR_END : EDITOR_FAILED;
    }
}

static editor_outcome read_plain(editor *e, strbuf *line)
{
    int too_long = 0;
    int any = 0;
    if (e->on_terminal) {
        ssize_t n = write(STDOUT_FILENO, prompt, sizeof prompt - 1);
        (void)n;
    }
    for (;;) {
        editor_outcome outcome = e->at < e->end ? EDITOR_LINE : fill(e);
        if (outcome == EDITOR_END && any) {
            break; /* a last line without an end */
        }
        if (outcome != EDITOR_LINE) {
            return outcome;
        }
        const char *begin = e->chunk + e->at;
        const char *stop = memchr(begin, '\n', e->end - e->at);
        size_t n = stop ? (size_t)(stop - begin) : e->end - e->at;
        too_long = too_long || n > EDITOR_LINE_MAX - line->len;
        strbuf_add(line, begin, too_long ? 0 : n);
        any = 1;
        e->at += n + (stop ? 1 : 0);
        if (stop) {
            break;
        }
    }
    return too_long ? EDITOR_TOO_LONG : EDITOR_LINE;
}

editor_outcome editor_read(editor *e, strbuf *line)
{
    line->len = 0;
    editor_outcome outcome = e->edit ? line_edit_read(e->edit, line) : read_plain(e, line);
    /* no zero byte: a line with one is refused */
    while (
        line->len > 0 && (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r')) {
        line->data[--line->len] = '\0';
    }
    return outcome;
}

void editor_remember(editor *e, const char *line)
{
    if (e->edit) {
        line_edit_remember(e->edit, line);
    }
}

void editor_close(editor *e)
{
    line_edit_close(e->edit);
    sys_free(e);
}
