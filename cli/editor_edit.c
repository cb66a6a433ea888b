/* editor_edit.c: lines that are edited, with libedit: its keys, history and drawing; completion and
 * Ctrl-C are ours. */
#include "editor.h"

#include "cli.h"

#ifdef SHARDY_HAVE_LIBEDIT

#include "term.h"
#include "utf8.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum {
    KEY_INTERRUPT = 3, /* what the reader of keys makes of SIGINT */
    SHOWN_MAX = 200,   /* candidates that are listed */
    REMEMBERED_MAX = 1000
};

struct line_edit {
    EditLine *el;
    History *history;
    const char *prompt;
    completion_source source;
    int interrupted;
    int ends;   /* the next key is that which ends the line */
    char after; /* what came where the rest of a character should be: a key of its own */
    int has_after;
};

static line_edit *from(EditLine *el)
{
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

static char *get_prompt(EditLine *el)
{
    return (char *)(uintptr_t)from(el)->prompt;
}

/* One byte of what is typed: 1; 0 at the end; -1 for a failure; 2 for Ctrl-C by signal. */
static int get_byte(EditLine *el, char *byte)
{
    for (;;) {
        int ready = signals_wait_input();
        if (signals_caught()) {
            return signals_caught() == SIGINT ? 2 : 0;
        }
        if (signals_terminal_changed()) {
            el_set(el, EL_PREP_TERM, 1); /* it may have been stopped meanwhile */
            el_resize(el);
            el_set(el, EL_REFRESH);
            continue;
        }
        ssize_t n = ready ? signals_read_input(byte, 1) : -1;
        if (n >= 0) {
            return (int)n;
        }
        if (ready && errno != EINTR) {
            return -1;
        }
    }
}

static int get_key(EditLine *el, wchar_t *key)
{
    char bytes[4];
    size_t len = 0;
    uint32_t code = UINT32_MAX;
    line_edit *e = from(el);
    if (e->ends) {
        e->ends = 0;
        *key = '\n';
        return 1;
    }
    int rc = 1;
    bytes[len++] = e->after;
    if (!e->has_after) {
        rc = get_byte(el, &bytes[0]);
    }
    e->has_after = 0;
    if (rc != 1) {
        /* it is told once: also prompts of libedit take keys, which do not know it */
        signals_forget();
        *key = KEY_INTERRUPT;
        return rc == 2 ? 1 : rc;
    }
    unsigned char first = (unsigned char)bytes[0];
    size_t need = first < 0xC0 || !utf8_wanted() ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    while (len < need && !e->has_after && get_byte(el, &bytes[len]) == 1) {
        if (((unsigned char)bytes[len] & 0xC0) == 0x80) {
            len++;
        } else {
            e->after = bytes[len];
            e->has_after = 1;
        }
    }
    if (utf8_decode(bytes, len, &code) != len || code == UINT32_MAX) {
        code = '?'; /* nothing that can be typed */
    }
    *key = (wchar_t)code;
    return 1;
}

/* Ctrl-C: what was typed stays on the screen and is not run. */
static unsigned char on_interrupt(EditLine *el, wint_t key)
{
    (void)key;
    from(el)->interrupted = 1;
    from(el)->ends = 1;
    const LineInfo *line = el_line(el);
    el_cursor(el, (int)(line->lastchar - line->cursor));
    el_insertstr(el, "^C");
    return CC_REFRESH;
}

static void list_candidates(const completion *c)
{
    strbuf b = {0};
    size_t widest = 0;
    size_t shown = c->count < SHOWN_MAX ? c->count : SHOWN_MAX;
    for (size_t i = 0; i < shown; i++) {
        size_t width = utf8_width(c->words[i], strlen(c->words[i]));
        widest = width > widest ? width : widest;
    }
    size_t columns = term_width(STDOUT_FILENO) / (widest + 2);
    columns = columns > 0 ? columns : 1;
    for (size_t i = 0; i < shown; i++) {
        strbuf_puts(&b, i % columns == 0 ? "\n" : "");
        utf8_add_visible(&b, c->words[i], strlen(c->words[i]), 0);
        size_t width = utf8_width(c->words[i], strlen(c->words[i]));
        strbuf_fill(&b, ' ', (i + 1) % columns && i + 1 < shown ? widest + 2 - width : 0);
    }
    if (shown < c->count) {
        strbuf_printf(&b, "\n... and %zu more", c->count - shown);
    }
    strbuf_putc(&b, '\n');
    fwrite(strbuf_text(&b), 1, b.len, stdout);
    fflush(stdout);
    strbuf_free(&b);
}

static size_t characters(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return count;
}

static unsigned char on_tab(EditLine *el, wint_t key)
{
    (void)key;
    const LineInfo *line = el_line(el);
    size_t len = (size_t)(line->cursor - line->buffer);
    completion c;
    strbuf text = {0};
    unsigned char answer = CC_ERROR;
    line_complete(line->buffer, len, &from(el)->source, &c);
    completion_text(&c, &text);
    const char *typed = line->buffer + c.start;
    size_t typed_len = len - c.start;
    int same = text.len == typed_len && memcmp(strbuf_text(&text), typed, typed_len) == 0;
    int can_be_typed = mbstowcs(NULL, strbuf_text(&text), 0) != (size_t)-1;
    if (c.count > 0 && text.len > 0 && !same && can_be_typed) {
        el_deletestr(el, (int)characters(typed, typed_len));
        el_insertstr(el, strbuf_text(&text));
        answer = CC_REFRESH;
    } else if (c.count > 1) {
        list_candidates(&c);
        answer = CC_REDISPLAY;
    }
    strbuf_free(&text);
    completion_free(&c);
    return answer;
}

line_edit *line_edit_open(const char *prompt, const completion_source *source)
{
    HistEvent event;
    line_edit *e = sys_alloc(1, sizeof *e);
    e->prompt = prompt;
    e->source = *source;
    e->el = el_init("shardy", stdin, stdout, stderr);
    e->history = e->el ? history_init() : NULL;
    if (!e->history) {
        line_edit_close(e);
        return NULL;
    }
    history(e->history, &event, H_SETSIZE, REMEMBERED_MAX);
    history(e->history, &event, H_SETUNIQUE, 1);
    el_set(e->el, EL_CLIENTDATA, e);
    el_set(e->el, EL_PROMPT, get_prompt);
    el_set(e->el, EL_GETCFN, get_key);
    el_set(e->el, EL_HIST, history, e->history);
    el_set(e->el, EL_EDITOR, "emacs");
    el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    (void)el_source(e->el, NULL); /* ~/.editrc: keys of the user's own */
    /* wide: of narrow names libedit keeps copies for ever */
    el_wset(e->el, EL_ADDFN, L"shardy-complete", L"Complete the word", on_tab);
    el_wset(e->el, EL_ADDFN, L"shardy-interrupt", L"Give the line up", on_interrupt);
    el_set(e->el, EL_BIND, "^I", "shardy-complete", NULL);
    el_set(e->el, EL_BIND, "^C", "shardy-interrupt", NULL);
    return e;
}

editor_outcome line_edit_read(line_edit *e, strbuf *line)
{
    int count = 0;
    e->interrupted = 0;
    e->ends = 0;
    el_set(e->el, EL_PREP_TERM, 1); /* before the prompt invites keys, not after the first one */
    const char *text = el_gets(e->el, &count);
    if (e->interrupted) {
        return EDITOR_INTERRUPTED;
    }
    if (!text || count <= 0) {
        return count < 0 ? EDITOR_FAILED : EDITOR_END;
    }
    if (count > EDITOR_LINE_MAX) {
        return EDITOR_TOO_LONG;
    }
    strbuf_add(line, text, (size_t)count);
    return EDITOR_LINE;
}

void line_edit_remember(line_edit *e, const char *line)
{
    HistEvent event;
    /* one that is no text in this locale would hide all that were before it */
    if (mbstowcs(NULL, line, 0) != (size_t)-1) {
        history(e->history, &event, H_ENTER, line);
    }
}

void line_edit_close(line_edit *e)
{
    if (!e) {
        return;
    }
    if (e->history) {
        history_end(e->history);
    }
    if (e->el) {
        el_end(e->el);
    }
    sys_free(e);
}

#else

line_edit *line_edit_open(const char *prompt, const completion_source *source)
{
    (void)prompt;
    (void)source;
    return NULL;
}

editor_outcome line_edit_read(line_edit *e, strbuf *line)
{
    (void)e;
    (void)line;
    return EDITOR_END;
}

void line_edit_remember(line_edit *e, const char *line)
{
    (void)e;
    (void)line;
}

void line_edit_close(line_edit *e)
{
    (void)e;
}

#endif
