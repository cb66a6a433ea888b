#include "term.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int is_dumb(void)
{
    const char *name = sys_env("TERM");
    return !name || strcmp(name, "dumb") == 0;
}

int term_colour(int fd, term_colour_mode mode)
{
    if (mode != TERM_COLOUR_AUTO) {
        return mode == TERM_COLOUR_ALWAYS;
    }
    return isatty(fd) && !sys_env("NO_COLOR") && !is_dumb();
}

int term_is_live(int fd)
{
    return isatty(fd) && !is_dumb();
}

size_t term_width(int fd)
{
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return 80;
}

void term_style(strbuf *out, int colour, term_style_name style)
{
    static const char *const codes[] = {
        [TERM_PLAIN] = "\033[0m",
        [TERM_BOLD] = "\033[1m",
        [TERM_DIM] = "\033[2m",
        [TERM_RED] = "\033[31m",
        [TERM_GREEN] = "\033[32m",
        [TERM_YELLOW] = "\033[33m",
        [TERM_CYAN] = "\033[36m",
    };
    if (colour) {
        strbuf_puts(out, codes[style]);
    }
}
