#include "words.h"

#include <string.h>

static int is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void add_word(word_list *out, strbuf *word)
{
    if ((out->count & (out->count + 1)) == 0) { /* 0, 1, 3, 7 ... words: full */
        out->words = sys_resize(out->words, (out->count + 1) * 2, sizeof *out->words);
    }
    out->words[out->count++] = strbuf_take(word);
    out->words[out->count] = NULL;
}

/* The word at *at. Returns NULL, or what is wrong with it. */
static const char *take_word(const char *text, size_t len, size_t *at, strbuf *word)
{
    char quote = 0;
    strbuf_puts(word, "");
    for (; *at < len; (*at)++) {
        char c = text[*at];
        if (c == '\0') {
            return "there is a zero byte in the line";
        }
        if (quote ? c == quote : c == '\'' || c == '"') {
            quote = quote ? 0 : c;
            continue;
        }
        if (!quote && is_blank(c)) {
            return NULL;
        }
        if (c == '\\' && quote != '\'') {
            char next = *at + 1 < len ? text[*at + 1] : '\0';
            if (!quote && next == '\0') {
                (*at)++;
                return "a backslash ends the line";
            }
            if (!quote || (next && strchr("\"\\$`", next))) {
                (*at)++;
                c = next;
            }
        }
        strbuf_putc(word, c);
    }
    return quote == '"' ? "a \" is not closed" : quote ? "a ' is not closed" : NULL;
}

/* Returns NULL, or what is wrong. */
static const char *split(const char *text, size_t len, word_list *out)
{
    const char *problem = NULL;
    memset(out, 0, sizeof *out);
    for (size_t at = 0; !problem;) {
        while (at < len && is_blank(text[at])) {
            at++;
        }
        if (at >= len) {
            break;
        }
        strbuf word = {0};
        out->last_start = at;
        problem = take_word(text, len, &at, &word);
        out->last_open = at >= len;
        add_word(out, &word);
    }
    return problem;
}

int words_split(const char *text, size_t len, word_list *out, strbuf *message)
{
    const char *problem = split(text, len, out);
    if (problem) {
        strbuf_puts(message, problem);
        return -1;
    }
    return 0;
}

void words_split_typed(const char *text, size_t len, word_list *out)
{
    (void)split(text, len, out);
}

void words_free(word_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sys_free(list->words[i]);
    }
    sys_free(list->words);
    memset(list, 0, sizeof *list);
}

void words_quote(strbuf *out, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_./:=,@%+~^-";
    size_t len = strlen(word);
    size_t n = 0;
    while (n < len && ((unsigned char)word[n] >= 0x80 || strchr(plain, word[n]))) {
        n++;
    }
    if (n == len && len > 0) {
        strbuf_puts(out, word);
        return;
    }
    strbuf_putc(out, '\'');
    for (size_t i = 0; i < len; i++) {
        if (word[i] == '\'') {
            strbuf_puts(out, "'\\''");
        } else {
            strbuf_putc(out, word[i]);
        }
    }
    strbuf_putc(out, '\'');
}
