/* Keys that are typed, and lines of a pipe. The first byte of the input says how lines are read:
 * 'p' from a pipe, 't' from a terminal that cannot edit, else with libedit on a pseudo-terminal;
 * then come the bytes, in which those of enum event stand for something else.
 *
 * Properties: without editing, lines are exactly what was typed, also where reading is interrupted,
 * fails or the line is too long; with it, a line of characters has all of those that were typed,
 * any other line is UTF-8 all the same, and whenever a key is waited for the cursor is between
 * characters of the line; reading always ends. */
/* pseudo-terminals */
#define _XOPEN_SOURCE 700
#include "../cli/cli.h"
#include "../cli/editor.h"
#include "../cli/term.h"
#include "../cli/utf8.h"
#include "require.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <wctype.h>
#ifdef SHARDY_HAVE_LIBEDIT
#include <histedit.h>
#endif

enum event {
    MANY_BYTES = 0xFA, /* 64 KiB of 'a', a few times; else a piece ends */
    TERMINATED,
    FAILURE,
    PIECE_ENDS, /* reading is interrupted */
    TERMINAL_CHANGED,
    INTERRUPTED
};

enum {
    MANY = 65536,
    MANY_TIMES = 40
};

static struct {
    const uint8_t *data;
    size_t len;
    size_t at;
    int caught;
    int changed;
    int many;    /* how often MANY_BYTES meant so */
    size_t rest; /* of them, not read yet */
    int edits;
} keyboard;

static void check_line_so_far(void);

/* Handles the event at the place, if there is one. */
static int take_event(void)
{
    if (keyboard.rest || keyboard.at == keyboard.len || keyboard.data[keyboard.at] < MANY_BYTES) {
        return 0;
    }
    int event = keyboard.data[keyboard.at++];
    if (event == MANY_BYTES && !keyboard.edits && keyboard.many < MANY_TIMES) {
        keyboard.many++;
        keyboard.rest = MANY;
        return 0;
    }
    keyboard.caught = event == INTERRUPTED  ? SIGINT
                      : event == TERMINATED ? SIGTERM
                                            : keyboard.caught;
    keyboard.changed = keyboard.changed || event == TERMINAL_CHANGED;
    errno = event == FAILURE ? EIO : EINTR;
    return event;
}

int signals_wait_input(void)
{
    check_line_so_far();
    if (keyboard.caught) {
        return 0;
    }
    if (keyboard.at < keyboard.len && !keyboard.rest) {
        int event = keyboard.data[keyboard.at];
        if (event == INTERRUPTED || event == TERMINATED || event == TERMINAL_CHANGED) {
            take_event();
            return 0;
        }
    }
    return 1;
}

int signals_caught(void)
{
    return keyboard.caught;
}

void signals_forget(void)
{
    keyboard.caught = keyboard.caught == SIGINT ? 0 : keyboard.caught;
}

int signals_terminal_changed(void)
{
    int changed = keyboard.changed;
    keyboard.changed = 0;
    return changed;
}

ssize_t signals_read_input(void *bytes, size_t n)
{
    char *out = bytes;
    if (take_event()) {
        return -1;
    }
    size_t got = n < keyboard.rest ? n : keyboard.rest;
    memset(out, 'a', got);
    keyboard.rest -= got;
    while (got < n && keyboard.at < keyboard.len && keyboard.data[keyboard.at] < MANY_BYTES) {
        out[got++] = (char)keyboard.data[keyboard.at++];
    }
    return (ssize_t)got;
}

static ssize_t read_pipe(int fd, void *bytes, size_t n)
{
    require(fd == STDIN_FILENO, "lines are read from the standard input");
    return signals_read_input(bytes, n);
}

static ssize_t write_prompt(int fd, const void *bytes, size_t n)
{
    require(fd == STDOUT_FILENO && n && bytes, "a prompt is shown");
    return (ssize_t)n;
}

#define read             read_pipe
#define write            write_prompt
#define term_is_live(fd) (keyboard.edits)
#ifdef SHARDY_HAVE_LIBEDIT
static FILE *screen;
static int terminal = -1;

#undef stdout
#define stdout                      screen
#define el_init(name, in, out, err) el_init_fd(name, in, out, screen, terminal, terminal, terminal)
#endif
#include "../cli/editor_edit.c"
#include "../cli/editor.c"
#undef read
#undef write
#undef stdout

static editor *reader;

static void check_line_so_far(void)
{
#ifdef SHARDY_HAVE_LIBEDIT
    if (reader && reader->edit) {
        const LineInfoW *wide = el_wline(reader->edit->el);
        if (wmemchr(wide->buffer, L'\0', (size_t)(wide->lastchar - wide->buffer))) {
            return; /* typed at a prompt of libedit itself; lines have none */
        }
        const LineInfo *line = el_line(reader->edit->el);
        size_t before = (size_t)(line->cursor - line->buffer);
        size_t behind = (size_t)(line->lastchar - line->cursor);
        require(line->buffer <= line->cursor && line->cursor <= line->lastchar,
            "the cursor is in the line");
        require(utf8_valid(line->buffer, before), "the line is UTF-8 before the cursor");
        require(utf8_valid(line->cursor, behind), "and behind it");
    }
#endif
}

/* --- without editing -------------------------------------------------------------------------- */

/* The next line, from the input by itself. */
static editor_outcome expected_line(size_t *at, int *many, int *over, strbuf *line)
{
    int any = 0;
    line->len = 0;
    for (; *at < keyboard.len && !*over; (*at)++) {
        uint8_t c = keyboard.data[*at];
        if (c == INTERRUPTED && reader->on_terminal) {
            (*at)++;
            return EDITOR_INTERRUPTED;
        }
        if (c == FAILURE) {
            return EDITOR_FAILED;
        }
        if (c == TERMINATED && reader->on_terminal) {
            *over = 1;
            break;
        }
        if (c == MANY_BYTES && *many < MANY_TIMES) {
            (*many)++;
            strbuf_fill(line, 'a', MANY);
            any = 1;
        } else if (c == '\n') {
            (*at)++;
            return line->len > EDITOR_LINE_MAX ? EDITOR_TOO_LONG : EDITOR_LINE;
        } else if (c < MANY_BYTES) {
            strbuf_putc(line, (char)c);
            any = 1;
        }
    }
    return !any ? EDITOR_END : line->len > EDITOR_LINE_MAX ? EDITOR_TOO_LONG : EDITOR_LINE;
}

static void check_plain(int on_terminal, const completion_source *source)
{
    strbuf line = {0};
    strbuf expected = {0};
    size_t at = 0;
    int many = 0;
    int over = 0;
    editor_outcome outcome = EDITOR_LINE;
    reader = editor_open(on_terminal, source);
    while (outcome != EDITOR_END && outcome != EDITOR_FAILED) {
        outcome = editor_read(reader, &line);
        require(outcome == expected_line(&at, &many, &over, &expected), "what came is told");
        while (expected.len && (expected.data[expected.len - 1] == '\r')) {
            expected.len--;
        }
        require(
            outcome != EDITOR_LINE || same_bytes(line.data, line.len, expected.data, expected.len),
            "a line is what was typed");
        require(line.len <= EDITOR_LINE_MAX, "a line has a bound");
        editor_remember(reader, "get a");
    }
    editor_close(reader);
    reader = NULL;
    strbuf_free(&line);
    strbuf_free(&expected);
}

/* --- with libedit ----------------------------------------------------------------------------- */

#ifdef SHARDY_HAVE_LIBEDIT

static void add_refs(void *user, const char *prefix, completion *out)
{
    (void)user;
    completion_add(out, prefix, "run \xC3\xA4");
    completion_add(out, prefix, "run \xC3\xB6");
    completion_add(out, prefix, "not\xFFtext");
    for (int i = 0; prefix[0] == 'm' && i < 250; i++) {
        char word[16];
        snprintf(word, sizeof word, "m%d", i);
        completion_add(out, prefix, word);
    }
}

/* Characters, parts of such and ends of lines only: nothing that is a command to the editor. */
static int is_all_characters(const char *text, size_t len)
{
    uint32_t code;
    for (size_t i = 0; i < len;) {
        if ((uint8_t)text[i] >= MANY_BYTES) {
            return 0;
        }
        i += utf8_decode(text + i, len - i, &code);
        if (code != UINT32_MAX && code != '\n' && !iswprint((wint_t)code)) {
            return 0;
        }
    }
    return 1;
}

/* The whole characters but '?', which stands for what is none. */
static void add_characters(strbuf *out, const char *text, size_t len)
{
    uint32_t code;
    size_t n;
    for (size_t i = 0; i < len; i += n) {
        n = utf8_decode(text + i, len - i, &code);
        strbuf_add(out, text + i, code == UINT32_MAX || code == '?' ? 0 : n);
    }
}

static void check_same_characters(const char *typed, size_t len, const strbuf *line)
{
    strbuf a = {0};
    strbuf b = {0};
    add_characters(&a, typed, len);
    add_characters(&b, line->data, line->len);
    require(same_bytes(a.data, a.len, b.data, b.len), "all characters are in the line");
    require(line->len > 0 || len == 0, "and something for what is none");
    strbuf_free(&a);
    strbuf_free(&b);
}

static void check_edited(const completion_source *source)
{
    strbuf line = {0};
    const char *text = (const char *)keyboard.data;
    int is_plain = is_all_characters(text, keyboard.len);
    size_t at = 0;
    editor_outcome outcome = EDITOR_LINE;
    reader = editor_open(1, source);
    require(reader->edit != NULL, "lines can be edited");
    editor_remember(reader, "get b\xC3\xA4r");
    editor_remember(reader, "get \xFF");
    while (outcome != EDITOR_END && outcome != EDITOR_FAILED) {
        outcome = editor_read(reader, &line);
        require(utf8_valid(strbuf_text(&line), line.len), "a line is UTF-8");
        require(outcome == EDITOR_LINE || line.len == 0, "only lines have bytes");
        if (outcome == EDITOR_LINE && is_plain) {
            const char *end = memchr(text + at, '\n', keyboard.len - at);
            require(end != NULL, "a line has its end");
            check_same_characters(text + at, (size_t)(end - text) - at, &line);
            at = (size_t)(end - text) + 1;
        }
        if (outcome == EDITOR_LINE) {
            require(strlen(strbuf_text(&line)) == line.len, "no zero byte can be typed");
            editor_remember(reader, strbuf_text(&line));
        }
    }
    require(!is_plain || !memchr(text + at, '\n', keyboard.len - at), "no line is lost");
    editor_close(reader);
    reader = NULL;
    strbuf_free(&line);
}

/* Whether there is a terminal for libedit to ask for its settings; it shows nothing on it. */
static int open_terminal(void)
{
    if (terminal < 0) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
            return 0; /* there are no pseudo-terminals here */
        }
        terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        screen = fopen("/dev/null", "we");
        require(terminal >= 0 && screen, "a terminal has another end");
        setenv("TERM", "dumb", 1); /* of others libtinfo copies a part for ever */
        setenv("EDITRC", "/dev/null", 1);
        setenv("LC_ALL", "C.UTF-8", 1);
        utf8_init();
    }
    return 1;
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int how = size ? data[0] : 'p';
    memset(&keyboard, 0, sizeof keyboard);
    keyboard.data = size ? data + 1 : data;
    keyboard.len = size ? size - 1 : 0;
    completion_source source = {NULL, NULL};
    if (how == 'p' || how == 't') {
        check_plain(how == 't', &source);
        return 0;
    }
#ifdef SHARDY_HAVE_LIBEDIT
    if (open_terminal()) {
        source.add_refs = add_refs;
        keyboard.edits = 1;
        check_edited(&source);
    }
#endif
    return 0;
}
