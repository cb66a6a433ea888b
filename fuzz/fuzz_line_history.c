/* The file of lines of earlier sessions: whatever its bytes are, its lines are the newest that are
 * whole, and a line that is added is read again as the same, behind all that were there.
 *
 * The first byte says how much longer the file is than what is read of it, 0 that it is not; then
 * come its bytes, of which 02 stands for many lines. Its parts between 01 are also the lines that
 * are added. */
#include "../cli/strbuf.h"
#include "require.h"

#include <unistd.h>

static size_t beyond;

static off_t seek(int fd, off_t at, int whence);

#define lseek seek
#include "../cli/line_history.c"
#undef lseek

#include <shardyfusion/base.h>

enum {
    MANY = 600,
    MANY_TIMES = 4,
    ADDED_MAX = 8
};

/* A file that is long says so; there is no need that it is. */
static off_t seek(int fd, off_t at, int whence)
{
    off_t end = lseek(fd, at, whence);
    return whence == SEEK_END && beyond ? HISTORY_BYTES_MAX / 2 + (off_t)beyond : end;
}

static char place[] = "/tmp/shardy-fuzz-XXXXXX";
static char file_path[sizeof place + 16];

static void remove_place(void)
{
    char folder[sizeof place + 16];
    snprintf(folder, sizeof folder, "%s/shardy", place);
    unlink(file_path);
    rmdir(folder);
    rmdir(place);
}

static void make_place(void)
{
    if (!file_path[0]) {
        require(mkdtemp(place) && setenv("XDG_STATE_HOME", place, 1) == 0, "there is a place");
        snprintf(file_path, sizeof file_path, "%s/shardy/history", place);
        atexit(remove_place);
        line_history h;
        line_history_open(&h);
        require(h.fd >= 0 && h.count == 0, "the file is made");
        line_history_close(&h);
    }
}

static void write_file(const strbuf *file)
{
    unlink(file_path); /* faster than a file that becomes shorter */
    int fd = open(file_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, strbuf_text(file), file->len) == (ssize_t)file->len,
        "the file is written");
    close(fd);
}

/* What the bytes of the input are as a file. */
static void make_file(const uint8_t *data, size_t size, strbuf *file)
{
    int many = 0;
    strbuf_puts(file, "");
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 2 && many++ < MANY_TIMES) {
            for (int k = 0; k < MANY; k++) {
                strbuf_printf(file, "get %d\n", k);
            }
        } else {
            strbuf_putc(file, (char)data[i]);
        }
    }
}

/* The lines are those that begin within what is read, from the newest on. */
static void check_lines(const line_history *h, const strbuf *file)
{
    static shardy_bytes lines[LINE_HISTORY_MAX];
    size_t count = 0;
    size_t begin = beyond > 1 ? beyond : 0; /* the byte before it tells whether the line is whole */
    for (size_t at = 0; at < file->len;) {
        const char *line = file->data + at;
        const char *end = memchr(line, '\n', file->len - at);
        size_t n = end ? (size_t)(end - line) : file->len - at;
        if (at >= begin && n > 0 && !memchr(line, '\0', n)) {
            lines[count++ % LINE_HISTORY_MAX] = (shardy_bytes){line, n};
        }
        at += n + 1;
    }
    require(h->count == (count < LINE_HISTORY_MAX ? count : LINE_HISTORY_MAX), "as many lines");
    for (size_t i = 0; i < h->count; i++) {
        const shardy_bytes *line = &lines[(count - h->count + i) % LINE_HISTORY_MAX];
        require(same_bytes(h->lines[i], strlen(h->lines[i]), line->data, line->len), "as they are");
    }
}

/* Adds the parts; the lines that are kept of them follow what was there. */
static void check_added(const line_history *old, const char *text)
{
    line_history h;
    const char *added[ADDED_MAX] = {NULL};
    size_t count = 0;
    char *copy = sys_strdup(text);
    line_history_open(&h);
    for (char *p = copy; p && count < ADDED_MAX;) {
        char *end = strchr(p, 1);
        if (end) {
            *end++ = '\0';
        }
        line_history_add(&h, p);
        if (*p && !strchr(p, '\n')) {
            added[count++] = p;
        }
        p = end;
    }
    line_history_close(&h);
    line_history_open(&h);
    size_t same = h.count - count;
    require(h.count >= count, "what was added is there");
    for (size_t i = 0; i < count; i++) {
        require(strcmp(h.lines[same + i], added[i]) == 0, "as it was");
    }
    for (size_t i = 1; i <= same && i <= old->count; i++) {
        require(strcmp(h.lines[same - i], old->lines[old->count - i]) == 0, "behind the others");
    }
    require(same == old->count || h.count == LINE_HISTORY_MAX, "none is lost");
    line_history_close(&h);
    sys_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    line_history h;
    strbuf file = {0};
    make_place();
    make_file(size ? data + 1 : data, size ? size - 1 : 0, &file);
    write_file(&file);
    beyond = size ? data[0] : 0;
    line_history_open(&h);
    require(h.fd >= 0, "the file can be used");
    check_lines(&h, &file);
    beyond = 0; /* it is as short as what was read */
    char *text = copy_text(size ? data + 1 : data, size ? size - 1 : 0);
    check_added(&h, text);
    line_history_close(&h);
    free(text);
    strbuf_free(&file);
    return 0;
}
