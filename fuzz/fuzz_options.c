/* Command lines, and lines of a session: the input has one word a line.
 *
 * Properties: refused with a message that is safe on a terminal, or every value is one that its
 * option takes, and the words that say the same at length are read as the same. */
#include "../cli/opt.h"
#include "message.h"

#include <math.h>

enum {
    WORDS_MAX = 64,
    SAID_MAX = 4 * WORDS_MAX + OPT_COUNT
};

/* Words that we make; they are kept until both readings were compared. */
typedef struct said {
    char *words[SAID_MAX];
    int count;
} said;

static void say(
    said *s, const char *before, const char *name, const char *between, const char *text)
{
    size_t size = strlen(before) + strlen(name) + strlen(between) + strlen(text) + 1;
    require_that(s->count < SAID_MAX);
    char *word = malloc(size);
    require_that(word != NULL);
    snprintf(word, size, "%s%s%s%s", before, name, between, text);
    s->words[s->count++] = word;
}

static int parse(int in_line, int argc, char *const *argv, opt_values *out, strbuf *message)
{
    return in_line ? opt_parse_line(argc, argv, CMDS_TYPED, out, message)
                   : opt_parse(argc, argv, out, message);
}

static void check_value(const opt_def *def, const opt_value *v)
{
    require(def->kind != OPT_KIND_FLAG || (!v->text && v->list_count == 0), "a flag has no value");
    require(v->list_count == 0 || def->arity != OPT_ONCE, "few options have lists");
    if (!v->text) {
        return;
    }
    if (def->kind == OPT_KIND_INT || def->kind == OPT_KIND_SIZE) {
        require(v->number >= def->min && v->number <= def->max, "a number is within its bounds");
    } else if (def->kind == OPT_KIND_CHOICE) {
        require((int)v->number == opt_choice(def->choices, v->text), "a choice is one of them");
    } else if (def->kind == OPT_KIND_SECONDS) {
        require(isfinite(v->seconds) && v->seconds >= 0 && (def->min == 0 || v->seconds > 0),
            "seconds are finite");
    }
}

static void say_all(said *s, int in_line, const opt_values *v)
{
    if (!in_line) {
        say(s, "shardy", "", "", "");
    }
    if (v->command) {
        say(s, v->command->name, "", "", "");
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_value *value = &v->values[i];
        const opt_def *def = &opt_table[i];
        for (size_t k = 0; def->kind == OPT_KIND_FLAG && k < value->count; k++) {
            say(s, "--", def->name, "", "");
        }
        for (size_t k = 0; k < value->list_count; k++) {
            say(s, "--", def->name, "=", value->list[k]);
        }
        if (value->text && def->arity == OPT_ONCE) {
            say(s, "--", def->name, "=", value->text);
        }
    }
    say(s, "--", "", "", "");
    for (size_t i = 0; i < v->arg_count; i++) {
        say(s, v->args[i], "", "", "");
    }
}

static void check_same(const opt_values *a, const opt_values *b)
{
    require(a->command == b->command, "the same command");
    require(a->arg_count == b->arg_count, "as many arguments");
    for (size_t i = 0; i < a->arg_count; i++) {
        require(same_text(a->args[i], b->args[i]), "the same arguments");
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_value *x = &a->values[i];
        const opt_value *y = &b->values[i];
        require((x->count > 0) == (y->count > 0), "an option is given or not");
        require(opt_table[i].kind != OPT_KIND_FLAG || x->count == y->count, "a flag as often");
        require(opt_table[i].arity == OPT_LIST || same_text(x->text, y->text), "the same text");
        require(x->number == y->number && x->seconds == y->seconds, "which means the same");
        require(x->list_count == y->list_count, "as many values");
        for (size_t k = 0; k < x->list_count; k++) {
            require(same_text(x->list[k], y->list[k]), "the same values");
        }
    }
}

static void check(int in_line, int argc, char *const *argv)
{
    opt_values v;
    opt_values again;
    strbuf message = {0};
    said s = {{NULL}, 0};
    int rc = parse(in_line, argc, argv, &v, &message);
    require_message(rc, &message, 1);
    int ends = opt_given(&v, OPT_HELP) || opt_given(&v, OPT_VERSION) || opt_given(&v, OPT_GENERATE);
    if (rc == 0 && !ends && v.command) {
        require(v.arg_count >= v.command->args_min && v.arg_count <= v.command->args_max,
            "as many arguments as the command takes");
        for (size_t i = 0; i < OPT_COUNT; i++) {
            check_value(&opt_table[i], &v.values[i]);
            require(!opt_given(&v, (opt_id)i) || opt_applies(&opt_table[i], v.command),
                "an option is one of the command");
        }
        say_all(&s, in_line, &v);
        rc = parse(in_line, s.count, s.words, &again, &message);
        require(rc == 0, "what is said at length is understood");
        check_same(&v, &again);
        opt_free(&again);
    }
    for (int i = 0; i < s.count; i++) {
        free(s.words[i]);
    }
    opt_free(&v);
    strbuf_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char program[] = "shardy";
    char *words[WORDS_MAX + 1] = {program};
    int count = 1;
    char *text = copy_text(data, size);
    for (char *p = text; size && p && count <= WORDS_MAX;) {
        char *end = strchr(p, '\n');
        if (end) {
            *end++ = '\0';
        }
        words[count++] = p;
        p = end;
    }
    check(0, count, words);
    check(1, count - 1, words + 1);
    free(text);
    return 0;
}
