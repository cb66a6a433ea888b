/* line_complete.h: what could stand where the cursor is in a line of the interactive mode:
 * commands, options, their values, files, and what the caller knows of refs. */
#ifndef SHARDY_CLI_LINE_COMPLETE_H
#define SHARDY_CLI_LINE_COMPLETE_H

#include "opt.h"

typedef struct completion {
    size_t start; /* first byte of the word that is to be replaced */
    char **words; /* not quoted */
    size_t count;
} completion;

/* Candidates that the line itself does not tell: calls completion_add() for refs and run ids. */
typedef struct completion_source {
    void (*add_refs)(void *user, const char *prefix, completion *out);
    void *user;
} completion_source;

/* `len` bytes of the line stand before the cursor. Free the result. */
void line_complete(const char *line, size_t len, const completion_source *source, completion *out);
void completion_free(completion *c);

/* Adds a candidate that begins with the prefix, once. */
void completion_add(completion *c, const char *prefix, const char *word);

/* What to put in the place of the word: the candidate, or what all of them begin with. Quoted; with
 * a blank behind it when nothing else can follow. */
void completion_text(const completion *c, strbuf *out);

#endif
