/* term.h: what a terminal can show: colours, width, movement. */
#ifndef SHARDY_CLI_TERM_H
#define SHARDY_CLI_TERM_H

#include "strbuf.h"

typedef enum term_colour_mode {
    TERM_COLOUR_AUTO = 0,
    TERM_COLOUR_ALWAYS = 1,
    TERM_COLOUR_NEVER = 2
} term_colour_mode;

typedef enum term_style_name {
    TERM_PLAIN = 0,
    TERM_BOLD,
    TERM_DIM,
    TERM_RED,
    TERM_GREEN,
    TERM_YELLOW,
    TERM_CYAN
} term_style_name;

/* 1 when styles may be written to a descriptor: asked for, or a terminal that is not dumb and no
 * NO_COLOR. */
int term_colour(int fd, term_colour_mode mode);

/* 1 when a line can be drawn again and again: a terminal that is not dumb. */
int term_is_live(int fd);

/* Columns of the terminal; 80 when it does not say. */
size_t term_width(int fd);

/* Appends the escape sequence of a style; nothing without `colour`. */
void term_style(strbuf *out, int colour, term_style_name style);

#endif
