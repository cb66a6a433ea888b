#include "line_complete.h"

#include "words.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CANDIDATES_MAX = 1000 /* more are no help to anybody */
};

void completion_add(completion *c, const char *prefix, const char *word)
{
    if (strncmp(word, prefix, strlen(prefix)) != 0 || c->count == CANDIDATES_MAX) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->words[i], word) == 0) {
            return;
        }
    }
    c->words = sys_resize(c->words, c->count + 1, sizeof *c->words);
    c->words[c->count++] = sys_strdup(word);
}

void completion_free(completion *c)
{
    for (size_t i = 0; i < c->count; i++) {
        sys_free(c->words[i]);
    }
    sys_free(c->words);
    memset(c, 0, sizeof *c);
}

/* Adds `before` and `word` as one candidate. */
static void add_joined(completion *c, const char *prefix, const char *before, const char *word)
{
    strbuf b = {0};
    strbuf_puts(&b, before);
    strbuf_puts(&b, word);
    completion_add(c, prefix, strbuf_text(&b));
    strbuf_free(&b);
}

static void add_commands(completion *c, const char *prefix)
{
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if (CMDS_TYPED & CMD_BIT(i)) {
            completion_add(c, prefix, command_table[i].name);
        }
    }
}

static void add_options(completion *c, const char *prefix, const command_def *command)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (!opt_table[i].hidden && opt_applies_in_line(&opt_table[i], command)) {
            add_joined(c, prefix, "--", opt_table[i].name);
        }
    }
}

/* Files whose path begins with what was typed; `before` is an option and "=". */
static void add_files(completion *c, const char *prefix, const char *before)
{
    const char *typed = prefix + strlen(before);
    const char *slash = strrchr(typed, '/');
    char *folder = sys_strndup(typed, slash ? (size_t)(slash - typed) + 1 : 0);
    const char *name = slash ? slash + 1 : typed;
    DIR *dir = opendir(folder[0] ? folder : ".");
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        int itself = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        if (itself || (e->d_name[0] == '.' && name[0] != '.')) {
            continue;
        }
        strbuf path = {0};
        struct stat st;
        strbuf_printf(&path, "%s%s", folder, e->d_name);
        if (stat(strbuf_text(&path), &st) == 0 && S_ISDIR(st.st_mode)) {
            strbuf_putc(&path, '/');
        }
        add_joined(c, prefix, before, strbuf_text(&path));
        strbuf_free(&path);
    }
    if (dir) {
        closedir(dir);
    }
    sys_free(folder);
}

static void add_values(completion *c, const char *prefix, const char *before, const opt_def *def,
    const completion_source *source)
{
    if (def->id == OPT_REF && source->add_refs) {
        completion found = {0};
        source->add_refs(source->user, prefix + strlen(before), &found);
        for (size_t i = 0; i < found.count; i++) {
            add_joined(c, prefix, before, found.words[i]);
        }
        completion_free(&found);
    } else if (def->kind == OPT_KIND_FILE) {
        add_files(c, prefix, before);
    }
    for (const char *p = def->choices; p && *p;) {
        size_t n = strcspn(p, "|");
        char *choice = sys_strndup(p, n);
        add_joined(c, prefix, before, choice);
        sys_free(choice);
        p += n + (p[n] ? 1 : 0);
    }
}

/* The option that a word names and that takes a value, or NULL. */
static const opt_def *option_of(const char *word, size_t len, const command_def *command)
{
    for (size_t i = 0; i < OPT_COUNT && len > 2 && word[0] == '-' && word[1] == '-'; i++) {
        const opt_def *def = &opt_table[i];
        if (strlen(def->name) == len - 2 && memcmp(def->name, word + 2, len - 2) == 0 &&
            def->kind != OPT_KIND_FLAG && opt_applies_in_line(def, command)) {
            return def;
        }
    }
    return NULL;
}

static const command_def *typed_command(const char *name)
{
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if ((CMDS_TYPED & CMD_BIT(i)) && strcmp(command_table[i].name, name) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

/* Behind the words before the cursor, of which the last but one stands before `word`. */
static void complete_word(completion *out, const word_list *list, size_t before, const char *word,
    const completion_source *source)
{
    const command_def *command = typed_command(list->words[0]);
    if (!command) {
        return;
    }
    const char *last = list->words[before - 1];
    const opt_def *def = option_of(last, strlen(last), command);
    const char *equals = strchr(word, '=');
    if (def) {
        add_values(out, word, "", def, source);
    } else if (equals && (def = option_of(word, (size_t)(equals - word), command)) != NULL) {
        char *name = sys_strndup(word, (size_t)(equals - word) + 1);
        add_values(out, word, name, def, source);
        sys_free(name);
    } else if (command->id == CMD_HELP) {
        add_commands(out, word);
    } else if (word[0] == '-' || command->id == CMD_USE) {
        add_options(out, word, command);
    }
}

void line_complete(const char *line, size_t len, const completion_source *source, completion *out)
{
    word_list list;
    memset(out, 0, sizeof *out);
    words_split_typed(line, len, &list);
    size_t before = list.last_open ? list.count - 1 : list.count;
    const char *word = list.last_open ? list.words[before] : "";
    out->start = list.last_open ? list.last_start : len;
    if (before == 0) {
        add_commands(out, word);
    } else {
        complete_word(out, &list, before, word, source);
    }
    words_free(&list);
}

void completion_text(const completion *c, strbuf *out)
{
    if (c->count == 0) {
        return;
    }
    size_t common = strlen(c->words[0]);
    for (size_t i = 1; i < c->count; i++) {
        size_t n = 0;
        while (n < common && c->words[i][n] == c->words[0][n]) {
            n++;
        }
        common = n;
    }
    /* not in the middle of a character */
    while (common > 0 && ((unsigned char)c->words[0][common] & 0xC0) == 0x80) {
        common--;
    }
    char *text = sys_strndup(c->words[0], common);
    if (common > 0) {
        words_quote(out, text);
    }
    if (c->count == 1 && common > 0 && text[common - 1] != '/') {
        strbuf_putc(out, ' ');
    }
    sys_free(text);
}
