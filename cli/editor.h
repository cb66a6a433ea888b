/* editor.h: reading lines: with libedit on a terminal, when the command was built with it, else as
 * they come. */
#ifndef SHARDY_CLI_EDITOR_H
#define SHARDY_CLI_EDITOR_H

#include "line_complete.h"

enum {
    EDITOR_LINE_MAX = 1 << 20 /* bytes of a line */
};

typedef enum editor_outcome {
    EDITOR_LINE,
    EDITOR_END,         /* of the input; Ctrl-D */
    EDITOR_INTERRUPTED, /* Ctrl-C: what was typed is gone */
    EDITOR_TOO_LONG,    /* the line was skipped */
    EDITOR_FAILED       /* errno says why */
} editor_outcome;

typedef struct editor editor;

/* `on_terminal`: prompts, and edits when that is possible. */
editor *editor_open(int on_terminal, const completion_source *source);
/* The next line without its end. */
editor_outcome editor_read(editor *e, strbuf *line);
/* Keeps a line for the keys that go back to it. */
void editor_remember(editor *e, const char *line);
void editor_close(editor *e);

/* --- with libedit (editor_edit.c) ------------------------------------------------------------- */

typedef struct line_edit line_edit;

/* NULL when there is no editing: built without it, or the terminal cannot. */
line_edit *line_edit_open(const char *prompt, const completion_source *source);
editor_outcome line_edit_read(line_edit *e, strbuf *line);
void line_edit_remember(line_edit *e, const char *line);
void line_edit_close(line_edit *e);

#endif
