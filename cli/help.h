/* help.h: help screens, the manual page and the completions, all from the tables of opt.h. */
#ifndef SHARDY_CLI_HELP_H
#define SHARDY_CLI_HELP_H

#include "opt.h"

/* Help of the whole program. `brief`: without the options. */
void help_main(strbuf *out, int brief, int colour);
void help_command(strbuf *out, const command_def *command, int colour);

/* The same in the interactive mode, where no program and no snapshot has to be named. */
void help_session(strbuf *out, int colour);
void help_line(strbuf *out, const command_def *command, int colour);
/* One line; `command` NULL: where to find the commands. */
void help_line_usage(strbuf *out, const command_def *command);

/* The manual page in man(7) macros. */
void help_man(strbuf *out);

/* Completions: what --generate calls "bash", "zsh" and "fish". */
void help_bash(strbuf *out);
void help_zsh(strbuf *out);
void help_fish(strbuf *out);

#endif
