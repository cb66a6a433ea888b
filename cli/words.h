/* words.h: splitting a typed line into words as a shell does: blanks part them; '...' keeps all it
 * holds, "..." all but \ before " \ $ and `, a backslash keeps the next character. Nothing else is
 * special: no variables, no patterns, no operators. */
#ifndef SHARDY_CLI_WORDS_H
#define SHARDY_CLI_WORDS_H

#include "strbuf.h"

typedef struct word_list {
    char **words; /* count of them, then NULL */
    size_t count;
    size_t last_start; /* where the last word begins in the text, quotes included */
    int last_open;     /* the text ended in the last word: there was no blank behind it */
} word_list;

/* Returns 0, or -1 with a message: a quote is not closed, a backslash ends the line, a zero byte.
 * Free the list in either case. */
int words_split(const char *text, size_t len, word_list *out, strbuf *message);
/* The same for a line that is still being typed: what is not closed is closed by its end. */
void words_split_typed(const char *text, size_t len, word_list *out);
void words_free(word_list *list);

/* Appends a word so that words_split() gives it back. */
void words_quote(strbuf *out, const char *word);

#endif
