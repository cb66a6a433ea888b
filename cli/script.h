/* script.h: scripts of `shardy exec`: YAML that says which commands to run.
 *
 * An entry becomes the words of a command line, so that a script cannot ask for anything that the
 * command cannot, and both have one meaning. */
#ifndef SHARDY_CLI_SCRIPT_H
#define SHARDY_CLI_SCRIPT_H

#include "opt.h"

#include <shardyfusion/sys/text.h>

typedef struct script {
    char *name; /* of the file, for messages */
    shardy_yaml *yaml;
    const shardy_yaml_node *commands;
    int stop; /* at the first failure */
} script;

/* Reads a script. Returns 0, or -1 with a message that is safe on a terminal. Free it in either
 * case. */
int script_parse(script *s, const char *name, const char *text, size_t len, strbuf *message);
void script_free(script *s);

size_t script_count(const script *s);

typedef struct script_words {
    const char *op; /* as the script says; "unknown" when it does not. Borrowed from the script */
    char **words;   /* of a line for opt_parse_line() */
    size_t count;
} script_words;

/* The words of an entry. Returns 0, or -1 with a message. Free them in either case. */
int script_entry(const script *s, size_t index, script_words *out, strbuf *message);
void script_words_free(script_words *w);

/* Appends where an entry stands: "name:line:column: ". */
void script_add_place(const script *s, const shardy_yaml_node *node, strbuf *message);

#endif
