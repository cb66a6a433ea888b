/* line_history.h: lines of earlier sessions: the file shardy/history below $XDG_STATE_HOME (else
 * ~/.local/state). Only its owner can read it. It has lines that were commands: options that take
 * secrets, or name where they are, belong to no line. */
#ifndef SHARDY_CLI_LINE_HISTORY_H
#define SHARDY_CLI_LINE_HISTORY_H

#include "strbuf.h"

enum {
    LINE_HISTORY_MAX = 1000 /* lines that are kept */
};

typedef struct line_history {
    int fd;       /* -1: nothing is kept */
    int is_open;  /* the last line of the file has no end: whoever wrote it was stopped */
    char **lines; /* of earlier sessions, the oldest first */
    size_t count;
} line_history;

/* Opens the file and reads it. When it cannot be used, nothing is kept: a session needs no past. */
void line_history_open(line_history *h);
/* Appends a line; several sessions may do so at once. One with an end of a line within is not kept:
 * it would be read again as two. */
void line_history_add(line_history *h, const char *line);
void line_history_close(line_history *h);

#endif
