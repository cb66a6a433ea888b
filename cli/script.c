#include "script.h"

#include "utf8.h"

#include <string.h>
#include <strings.h>

static const char *text_of(const shardy_yaml_node *node)
{
    return shardy_yaml_text(node).data;
}

static const char *name_of(const shardy_yaml_node *node)
{
    return shardy_yaml_name(node).data;
}

static int is_scalar(const shardy_yaml_node *node)
{
    int32_t type = shardy_yaml_type_of(node);
    return type == SHARDY_YAML_PLAIN || type == SHARDY_YAML_QUOTED;
}

static void add_quoted(strbuf *message, const char *text)
{
    size_t len = strlen(text);
    strbuf_putc(message, '"');
    utf8_add_visible(message, text, len < 200 ? len : 200, 0);
    strbuf_puts(message, len < 200 ? "\"" : "...\"");
}

void script_add_place(const script *s, const shardy_yaml_node *node, strbuf *message)
{
    uint64_t line;
    uint64_t column;
    shardy_yaml_place(node, &line, &column);
    utf8_add_visible(message, s->name, strlen(s->name), 0);
    strbuf_printf(message, ":%llu:%llu: ", (unsigned long long)line, (unsigned long long)column);
}

/* --- the script ------------------------------------------------------------------------------- */

static int unknown_name(
    const shardy_yaml_node *node, const char *const *names, size_t count, strbuf *message)
{
    const char *nearest = opt_nearest(name_of(node), names, count);
    strbuf_puts(message, "unknown name ");
    add_quoted(message, name_of(node));
    if (nearest) {
        strbuf_printf(message, "; did you mean \"%s\"?", nearest);
    }
    return -1;
}

static int take_on_error(script *s, const shardy_yaml_node *node, strbuf *message)
{
    static const char *const choices[] = {"stop", "continue"};
    int known = 0;
    for (int i = 0; i < 2 && is_scalar(node); i++) {
        if (strcmp(text_of(node), choices[i]) == 0) {
            s->stop = i == 0;
            known = 1;
        }
    }
    if (!known) {
        script_add_place(s, node, message);
        strbuf_puts(message, "on_error must be stop or continue, not ");
        add_quoted(message, is_scalar(node) ? text_of(node) : "null or a list or mapping");
    }
    return known ? 0 : -1;
}

static int take_root(script *s, strbuf *message)
{
    static const char *const names[] = {"commands", "on_error"};
    const shardy_yaml_node *root = shardy_yaml_root(s->yaml);
    if (shardy_yaml_type_of(root) != SHARDY_YAML_MAPPING) {
        script_add_place(s, root, message);
        strbuf_puts(message, "a script is a mapping with the list \"commands\"");
        return -1;
    }
    s->stop = 1;
    for (size_t i = 0; i < shardy_yaml_count(root); i++) {
        const shardy_yaml_node *node = shardy_yaml_at(root, i);
        if (strcmp(name_of(node), "commands") == 0) {
            s->commands = node;
        } else if (strcmp(name_of(node), "on_error") == 0) {
            if (take_on_error(s, node, message) != 0) {
                return -1;
            }
        } else {
            script_add_place(s, node, message);
            return unknown_name(node, names, 2, message);
        }
    }
    if (shardy_yaml_type_of(s->commands) != SHARDY_YAML_SEQUENCE) {
        script_add_place(s, s->commands ? s->commands : root, message);
        strbuf_puts(
            message, s->commands ? "commands must be a list" : "the list \"commands\" is missing");
        return -1;
    }
    return 0;
}

int script_parse(script *s, const char *name, const char *text, size_t len, strbuf *message)
{
    shardy_error err = {0};
    memset(s, 0, sizeof *s);
    s->name = sys_strdup(name);
    if (shardy_yaml_parse((shardy_bytes){text, len}, &s->yaml, &err) < 0) {
        utf8_add_visible(message, name, strlen(name), 0);
        strbuf_puts(message, ": ");
        utf8_add_visible(message, err.message, strlen(err.message), 0);
        return -1;
    }
    return take_root(s, message);
}

void script_free(script *s)
{
    shardy_yaml_free(s->yaml);
    sys_free(s->name);
    memset(s, 0, sizeof *s);
}

size_t script_count(const script *s)
{
    return shardy_yaml_count(s->commands);
}

/* --- an entry --------------------------------------------------------------------------------- */

/* What an entry calls the arguments of its command. */
static const struct {
    command_id id;
    const char *name;
    int list; /* a list of words; otherwise one word, that of a list is joined by commas */
} arguments[] = {{CMD_GET, "key", 0}, {CMD_MULTIGET, "keys", 1}, {CMD_ROUTE, "key", 0},
    {CMD_SEARCH, "query", 0}};

typedef struct entry_reader {
    const script *script;
    const command_def *command;
    const char *argument; /* name of its arguments, or NULL */
    int many;
    const shardy_yaml_node *given; /* the arguments */
    script_words *out;
    strbuf *message;
} entry_reader;

static void add_word(script_words *out, char *word)
{
    if ((out->count & (out->count + 1)) == 0) { /* 0, 1, 3, 7 ... words: full */
        out->words = sys_resize(out->words, (out->count + 1) * 2, sizeof *out->words);
    }
    out->words[out->count++] = word;
    out->words[out->count] = NULL;
}

static int complain(entry_reader *r, const shardy_yaml_node *node, const char *problem)
{
    script_add_place(r->script, node, r->message);
    const char *name = name_of(node);
    if (name[0]) {
        utf8_add_visible(r->message, name, strlen(name) < 100 ? strlen(name) : 100, 0);
        strbuf_putc(r->message, ' ');
    }
    strbuf_puts(r->message, problem);
    return -1;
}

/* Appends the text of a scalar. A word cannot hold a zero byte. */
static int add_scalar(entry_reader *r, const shardy_yaml_node *node, strbuf *word)
{
    if (!is_scalar(node)) {
        return complain(r, node, "must be a text or a number");
    }
    shardy_bytes text = shardy_yaml_text(node);
    if (memchr(text.data, '\0', text.len)) {
        return complain(r, node, "has a zero byte: give it in hex, with key_format");
    }
    strbuf_add(word, text.data, text.len);
    return 0;
}

/* A scalar, or the scalars of a list joined by commas. */
static int add_joined(entry_reader *r, const shardy_yaml_node *node, strbuf *word)
{
    if (shardy_yaml_type_of(node) != SHARDY_YAML_SEQUENCE) {
        return add_scalar(r, node, word);
    }
    int rc = 0;
    for (size_t i = 0; i < shardy_yaml_count(node) && rc == 0; i++) {
        strbuf_puts(word, i ? "," : "");
        rc = add_scalar(r, shardy_yaml_at(node, i), word);
    }
    return rc;
}

static int take_flag(entry_reader *r, const shardy_yaml_node *node, const opt_def *def)
{
    int choice = is_scalar(node) ? opt_choice("false|true", text_of(node)) : -1;
    if (choice < 0) {
        return complain(r, node, "must be true or false");
    }
    if (choice) {
        strbuf word = {0};
        strbuf_printf(&word, "--%s", def->name);
        add_word(r->out, strbuf_take(&word));
    }
    return 0;
}

/* routing_context: {name: value}. */
static int take_pairs(entry_reader *r, const shardy_yaml_node *node, const opt_def *def)
{
    if (shardy_yaml_type_of(node) != SHARDY_YAML_MAPPING) {
        return complain(r, node, "must be a mapping of names and values");
    }
    for (size_t i = 0; i < shardy_yaml_count(node); i++) {
        const shardy_yaml_node *pair = shardy_yaml_at(node, i);
        strbuf word = {0};
        strbuf_printf(&word, "--%s=%s=", def->name, name_of(pair));
        int rc = strchr(name_of(pair), '=') ? complain(r, pair, "has a \"=\" in its name")
                                            : add_scalar(r, pair, &word);
        if (rc != 0) {
            strbuf_free(&word);
            return rc;
        }
        add_word(r->out, strbuf_take(&word));
    }
    return 0;
}

static int is_entry_option(const opt_def *def, const command_def *command)
{
    return !def->hidden && opt_applies_in_line(def, command) && def->id != OPT_HELP &&
           def->id != OPT_OUTPUT_FORMAT && def->id != OPT_RAW;
}

/* Whether a name of the script is that of an option, which has dashes instead. */
static int is_same_name(const char *name, const char *option)
{
    size_t i = 0;
    while (name[i] && (name[i] == '_' ? '-' : name[i]) == option[i]) {
        i++;
    }
    return name[i] == '\0' && option[i] == '\0';
}

static int take_option(entry_reader *r, const shardy_yaml_node *node, const opt_def *def)
{
    if (shardy_yaml_type_of(node) == SHARDY_YAML_NULL) {
        return 0; /* as if it were not there */
    }
    if (def->kind == OPT_KIND_FLAG) {
        return take_flag(r, node, def);
    }
    if (def->arity == OPT_REPEAT) {
        return take_pairs(r, node, def);
    }
    strbuf word = {0};
    strbuf_printf(&word, "--%s=", def->name);
    int rc = add_joined(r, node, &word);
    if (rc == 0) {
        add_word(r->out, strbuf_take(&word));
    }
    strbuf_free(&word);
    return rc;
}

static int unknown_entry_name(entry_reader *r, const shardy_yaml_node *node)
{
    char *owned[OPT_COUNT];
    const char *names[OPT_COUNT + 1];
    size_t count = 0;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (is_entry_option(&opt_table[i], r->command)) {
            owned[count] = sys_strdup(opt_table[i].name);
            for (char *p = owned[count]; *p; p++) {
                *p = *p == '-' ? '_' : *p;
            }
            names[count] = owned[count];
            count++;
        }
    }
    names[count] = r->argument;
    script_add_place(r->script, node, r->message);
    unknown_name(node, names, count + 1, r->message);
    for (size_t i = 0; i < count; i++) {
        sys_free(owned[i]);
    }
    return -1;
}

static int take_name(entry_reader *r, const shardy_yaml_node *node)
{
    const char *name = name_of(node);
    if (strcmp(name, "op") == 0) {
        return 0;
    }
    if (r->argument && strcmp(name, r->argument) == 0) {
        r->given = node;
        return 0;
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (is_entry_option(&opt_table[i], r->command) && is_same_name(name, opt_table[i].name)) {
            return take_option(r, node, &opt_table[i]);
        }
    }
    return unknown_entry_name(r, node);
}

static int take_arguments(entry_reader *r)
{
    add_word(r->out, sys_strdup("--"));
    if (r->many && shardy_yaml_type_of(r->given) != SHARDY_YAML_SEQUENCE) {
        return complain(r, r->given, "must be a list");
    }
    if (r->many && shardy_yaml_count(r->given) == 0) {
        return complain(r, r->given, "is empty");
    }
    size_t count = r->many ? shardy_yaml_count(r->given) : 1;
    for (size_t i = 0; i < count; i++) {
        strbuf word = {0};
        strbuf_puts(&word, "");
        int rc = r->many                        ? add_scalar(r, shardy_yaml_at(r->given, i), &word)
                 : r->command->id == CMD_SEARCH ? add_joined(r, r->given, &word)
                                                : add_scalar(r, r->given, &word);
        if (rc != 0) {
            strbuf_free(&word);
            return rc;
        }
        add_word(r->out, strbuf_take(&word));
    }
    return 0;
}

static const command_def *find_op(const char *op, size_t len)
{
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        const char *name = command_table[i].name;
        if ((CMDS_SCRIPT & CMD_BIT(i)) && strlen(name) == len && memcmp(name, op, len) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

static int unknown_op(entry_reader *r, const shardy_yaml_node *op)
{
    const char *names[CMD_TABLE_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if (CMDS_SCRIPT & CMD_BIT(i)) {
            names[count++] = command_table[i].name;
        }
    }
    const char *nearest = opt_nearest(text_of(op), names, count);
    script_add_place(r->script, op, r->message);
    strbuf_puts(r->message, "unknown op ");
    add_quoted(r->message, text_of(op));
    if (nearest) {
        strbuf_printf(r->message, "; did you mean \"%s\"?", nearest);
    }
    return -1;
}

/* Finds the command of an entry. */
static int take_op(entry_reader *r, size_t index, const shardy_yaml_node *entry)
{
    const shardy_yaml_node *op = shardy_yaml_get(entry, "op");
    r->out->op = "unknown";
    if (shardy_yaml_type_of(entry) != SHARDY_YAML_MAPPING || !is_scalar(op)) {
        script_add_place(r->script, op ? op : entry, r->message);
        strbuf_printf(r->message, "command %zu %s", index + 1,
            shardy_yaml_type_of(entry) != SHARDY_YAML_MAPPING ? "is not a mapping" : "has no op");
        return -1;
    }
    r->out->op = text_of(op);
    r->command = find_op(text_of(op), shardy_yaml_text(op).len);
    if (!r->command) {
        return unknown_op(r, op);
    }
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        if (arguments[i].id == r->command->id) {
            r->argument = arguments[i].name;
            r->many = arguments[i].list;
        }
    }
    add_word(r->out, sys_strdup(r->command->name));
    return 0;
}

int script_entry(const script *s, size_t index, script_words *out, strbuf *message)
{
    const shardy_yaml_node *entry = shardy_yaml_at(s->commands, index);
    entry_reader r = {.script = s, .out = out, .message = message};
    memset(out, 0, sizeof *out);
    int rc = take_op(&r, index, entry);
    for (size_t i = 0; i < shardy_yaml_count(entry) && rc == 0; i++) {
        rc = take_name(&r, shardy_yaml_at(entry, i));
    }
    if (rc != 0 || !r.argument) {
        return rc;
    }
    if (r.given) {
        return take_arguments(&r);
    }
    if (r.command->id == CMD_SEARCH) {
        return 0; /* there may be a file */
    }
    script_add_place(s, entry, message);
    strbuf_printf(message, "%s is missing", r.argument);
    return -1;
}

void script_words_free(script_words *w)
{
    for (size_t i = 0; i < w->count; i++) {
        sys_free(w->words[i]);
    }
    sys_free(w->words);
    memset(w, 0, sizeof *w);
}
