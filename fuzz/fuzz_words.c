/* Lines of the interactive mode: splitting has two outcomes; every word comes back through quoting;
 * a line that is being typed gives the words of the one that is whole; completion stays in the
 * line, and what it offers is split into one word that begins with what was typed. */
#include "../cli/line_complete.h"
#include "../cli/words.h"
#include "require.h"

static void check_quoting(const word_list *list)
{
    strbuf line = {0};
    strbuf message = {0};
    word_list back;
    for (size_t i = 0; i < list->count; i++) {
        strbuf_puts(&line, i ? " " : "");
        words_quote(&line, list->words[i]);
    }
    require(words_split(strbuf_text(&line), line.len, &back, &message) == 0, "quoted words split");
    require(back.count == list->count, "as many words");
    for (size_t i = 0; i < back.count; i++) {
        require(strcmp(back.words[i], list->words[i]) == 0, "the same words");
    }
    words_free(&back);
    strbuf_free(&line);
    strbuf_free(&message);
}

static void add_refs(void *user, const char *prefix, completion *out)
{
    (void)user;
    completion_add(out, prefix, "run 1");
    completion_add(out, prefix, "run'2");
}

static int names_a_file(const char *line, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i++) {
        if (memcmp(line + i, "file", 4) == 0) {
            return 1; /* what is in the folder is no matter of the input */
        }
    }
    return 0;
}

static void check_completion(const char *line, size_t size)
{
    completion_source source = {add_refs, NULL};
    completion c;
    strbuf text = {0};
    strbuf message = {0};
    word_list list;
    line_complete(line, size, &source, &c);
    require(c.start <= size, "the word is in the line");
    completion_text(&c, &text);
    require(words_split(strbuf_text(&text), text.len, &list, &message) == 0, "it can be split");
    require(list.count <= 1, "it is one word");
    for (size_t i = 0; i < c.count && list.count == 1; i++) {
        require(strncmp(c.words[i], list.words[0], strlen(list.words[0])) == 0, "a beginning");
    }
    words_free(&list);
    strbuf_free(&text);
    strbuf_free(&message);
    completion_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *line = size ? (const char *)data : "";
    word_list list;
    word_list typed;
    strbuf message = {0};
    int rc = words_split(line, size, &list, &message);
    require(rc == 0 || rc == -1, "splitting has two outcomes");
    require((rc == 0) == (message.len == 0), "a refusal has a message");
    words_split_typed(line, size, &typed);
    require(typed.count == list.count, "a line that is typed has the same words");
    require(list.count == 0 || list.last_start < size, "the last word is in the line");
    check_quoting(&list);
    if (!names_a_file(line, size)) {
        check_completion(line, size);
    }
    words_free(&list);
    words_free(&typed);
    strbuf_free(&message);
    return 0;
}
