#include "line_history.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HISTORY_BYTES_MAX = 4 << 20
};

/* The path of the file, its folders made; NULL without a place for it. */
static char *history_path(void)
{
    const char *state = sys_env("XDG_STATE_HOME");
    const char *home = sys_env("HOME");
    strbuf b = {0};
    if (state && state[0] == '/') {
        strbuf_puts(&b, state);
    } else if (home && home[0] == '/') {
        strbuf_printf(&b, "%s/.local/state", home);
    } else {
        return NULL;
    }
    strbuf_puts(&b, "/shardy");
    char *path = strbuf_take(&b);
    for (char *p = path + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0700);
            *p = '/';
        }
    }
    (void)mkdir(path, 0700);
    strbuf_printf(&b, "%s/history", path);
    sys_free(path);
    return strbuf_take(&b);
}

/* A file of ours that nobody else can read. */
static int open_private(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) {
        return -1;
    }
    int usable = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
                 ((st.st_mode & 077) == 0 || fchmod(fd, 0600) == 0);
    if (!usable) {
        close(fd);
        return -1;
    }
    return fd;
}

static void add_line(line_history *h, const char *text, size_t len)
{
    if (len > 0 && !memchr(text, '\0', len)) {
        if ((h->count & (h->count + 1)) == 0) { /* 0, 1, 3, 7 ... lines: full */
            h->lines = sys_resize(h->lines, (h->count + 1) * 2, sizeof *h->lines);
        }
        h->lines[h->count++] = sys_strndup(text, len);
    }
}

/* Keeps the newest lines only. */
static void drop_old(line_history *h)
{
    size_t drop = h->count > LINE_HISTORY_MAX ? h->count - LINE_HISTORY_MAX : 0;
    for (size_t i = 0; i < drop; i++) {
        sys_free(h->lines[i]);
    }
    if (drop) {
        memmove(h->lines, h->lines + drop, (h->count - drop) * sizeof *h->lines);
        h->count -= drop;
    }
}

/* Writes the lines that are kept to a new file in the place of the old one. */
static void shorten(line_history *h, const char *path)
{
    strbuf temp = {0};
    strbuf text = {0};
    strbuf_printf(&temp, "%s.%ld.tmp", path, (long)getpid());
    for (size_t i = 0; i < h->count; i++) {
        strbuf_printf(&text, "%s\n", h->lines[i]);
    }
    int fd = open(strbuf_text(&temp), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t n = write(fd, strbuf_text(&text), text.len);
        if (n == (ssize_t)text.len && rename(strbuf_text(&temp), path) == 0) {
            close(h->fd);
            h->fd = fd;
            h->is_open = 0;
        } else {
            unlink(strbuf_text(&temp));
            close(fd);
        }
    }
    strbuf_free(&temp);
    strbuf_free(&text);
}

/* Takes the lines of the text; its first is a part of one when it was `cut` off. */
static void add_lines(line_history *h, const char *text, size_t len, int cut)
{
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        if (!cut) {
            add_line(h, text + at, n);
        }
        cut = 0;
        at += n + 1;
    }
    h->is_open = len > 0 && text[len - 1] != '\n';
}

void line_history_open(line_history *h)
{
    memset(h, 0, sizeof *h);
    char *path = history_path();
    h->fd = path ? open_private(path) : -1;
    char *data = NULL;
    size_t len = 0;
    off_t size = h->fd >= 0 ? lseek(h->fd, 0, SEEK_END) : 0;
    /* of a file that is too long, the newest lines, and the byte before them, which tells whether
     * the first is whole */
    off_t from = size > HISTORY_BYTES_MAX / 2 ? size - HISTORY_BYTES_MAX / 2 - 1 : 0;
    if (h->fd >= 0) {
        (void)lseek(h->fd, from, SEEK_SET);
    }
    int code = h->fd >= 0 ? sys_read_fd(h->fd, HISTORY_BYTES_MAX, &data, &len) : 0;
    if (code != 0) {
        close(h->fd);
        h->fd = -1;
    }
    add_lines(h, data, len, from > 0);
    size_t all = h->count;
    drop_old(h);
    /* not each time: other sessions may append to the file that is replaced */
    if (h->fd >= 0 && (size > HISTORY_BYTES_MAX / 2 || all > 2 * LINE_HISTORY_MAX)) {
        shorten(h, path);
    }
    sys_free(data);
    sys_free(path);
}

void line_history_add(line_history *h, const char *line)
{
    if (h->fd < 0 || strchr(line, '\n')) {
        return;
    }
    strbuf b = {0};
    strbuf_printf(&b, "%s%s\n", h->is_open ? "\n" : "", line);
    h->is_open = 0;
    if (write(h->fd, strbuf_text(&b), b.len) != (ssize_t)b.len) {
        close(h->fd);
        h->fd = -1;
    }
    strbuf_free(&b);
}

void line_history_close(line_history *h)
{
    if (h->fd >= 0) {
        close(h->fd);
    }
    for (size_t i = 0; i < h->count; i++) {
        sys_free(h->lines[i]);
    }
    sys_free(h->lines);
    memset(h, 0, sizeof *h);
    h->fd = -1;
}
