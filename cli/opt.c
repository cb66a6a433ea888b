#include "opt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "utf8.h"

enum {
    NAME_LEN_MAX = 64 /* names longer than this are not compared letter by letter */
};

/* --- names ------------------------------------------------------------------------------------ */

/* Letters to change, add, remove or swap with their neighbour to get from one name to the other. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_LEN_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3];
        const size_t *before_last = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = before_last[j - 2] + 1 < best ? before_last[j - 2] + 1 : best;
            }
            now[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *opt_nearest(const char *name, const char *const *candidates, size_t count)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_LEN_MAX) {
        return NULL;
    }
    const char *best = NULL;
    size_t best_distance = len / 3 + 2; /* this many letters are too many */
    for (size_t i = 0; i < count; i++) {
        size_t candidate_len = candidates[i] ? strlen(candidates[i]) : 0;
        if (candidate_len == 0 || candidate_len > NAME_LEN_MAX) {
            continue;
        }
        size_t d = distance(name, len, candidates[i], candidate_len);
        if (len >= 3 && strncmp(name, candidates[i], len) == 0) {
            d = 1; /* the beginning of a name stands for it as well as a slip does */
        }
        if (d < best_distance && d < (len > candidate_len ? len : candidate_len)) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}

const command_def *command_find(const char *name)
{
    for (size_t i = 0; i < CMD_COUNT; i++) {
        if (strcmp(command_table[i].name, name) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

int opt_applies(const opt_def *def, const command_def *command)
{
    return !command || (def->commands & CMD_BIT(command->id)) != 0;
}

int opt_applies_in_line(const opt_def *def, const command_def *command)
{
    if (def->id == OPT_HELP || def->id == OPT_OUTPUT_FORMAT) {
        return 1;
    }
    int pins = def->id == OPT_REF || def->id == OPT_OFFSET;
    int here = def->group == OPT_GROUP_COMMAND || def->id == OPT_TIMEOUT ||
               (pins && command->id == CMD_USE);
    return here && opt_applies(def, command);
}

const char *opt_help(const opt_def *def, const command_def *command)
{
    return command && command->id == CMD_BUILD && def->build_help ? def->build_help : def->help;
}

int opt_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    int index = 0;
    for (const char *p = choices;; index++) {
        size_t n = strcspn(p, "|");
        if (n == len && strncasecmp(p, text, len) == 0) {
            return index;
        }
        if (p[n] == '\0') {
            return -1;
        }
        p += n + 1;
    }
}

void opt_add_choices(strbuf *b, const char *choices)
{
    for (const char *p = choices;;) {
        size_t n = strcspn(p, "|");
        strbuf_add(b, p, n);
        if (p[n] == '\0') {
            return;
        }
        p += n + 1;
        strbuf_puts(b, strchr(p, '|') ? ", " : " or ");
    }
}

/* --- numbers ---------------------------------------------------------------------------------- */

int opt_parse_uint(const char *text, uint64_t *value_out)
{
    *value_out = 0;
    int fits = text[0] ? 0 : -1;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }
        uint64_t digit = (uint64_t)(*p - '0');
        if (*value_out > (UINT64_MAX - digit) / 10) {
            fits = -2;
        }
        *value_out = *value_out * 10 + digit;
    }
    return fits;
}

int opt_parse_size(const char *text, uint64_t *value_out)
{
    char digits[24] = {0};
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits) {
        return n == 0 ? -1 : -2;
    }
    memcpy(digits, text, n);
    const char *unit = text + n;
    static const char letters[] = "KMGT";
    unsigned shift = 0;
    if (*unit && strcasecmp(unit, "B") != 0) {
        char upper = (char)(*unit >= 'a' && *unit <= 'z' ? *unit - 'a' + 'A' : *unit);
        const char *found = strchr(letters, upper);
        int rest_ok =
            unit[1] == '\0' || strcasecmp(unit + 1, "B") == 0 || strcasecmp(unit + 1, "iB") == 0;
        if (!found || !rest_ok) {
            return -1;
        }
        shift = 10 * (unsigned)(found - letters + 1);
    }
    int rc = opt_parse_uint(digits, value_out);
    if (rc == 0 && *value_out > UINT64_MAX >> shift) {
        return -2;
    }
    *value_out <<= shift;
    return rc;
}

int opt_parse_age(const char *text, int64_t *seconds_out)
{
    char digits[8] = {0};
    uint64_t number = 0;
    size_t n = strspn(text, "0123456789");
    *seconds_out = 0;
    if (n >= sizeof digits || (text[n] != 'd' && text[n] != 'h') || text[n + 1] != '\0') {
        return -1;
    }
    memcpy(digits, text, n);
    if (opt_parse_uint(digits, &number) != 0 || number > 36500) {
        return -1;
    }
    *seconds_out = (int64_t)number * (text[n] == 'd' ? 86400 : 3600);
    return 0;
}

int opt_parse_double(const char *text, size_t len, double *value_out)
{
    char copy[64];
    while (len > 0 && memchr(" \t\r\n", text[len - 1], 4)) {
        len--;
    }
    while (len > 0 && memchr(" \t\r\n", text[0], 4)) {
        text++;
        len--;
    }
    /* no hexadecimal, no "inf" and "nan": digits, a point, an exponent */
    if (len == 0 || len >= sizeof copy || strspn(text, "+-.0123456789eE") < len) {
        return -1;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *end;
    *value_out = strtod(copy, &end);
    return end == copy + len && isfinite(*value_out) ? 0 : -1;
}

/* --- values ----------------------------------------------------------------------------------- */

static void add_range(strbuf *message, const opt_def *def)
{
    int is_size = def->kind == OPT_KIND_SIZE;
    unsigned long long min = def->min;
    unsigned long long max = def->max;
    strbuf_puts(message, is_size ? "a size such as 512M" : "a whole number");
    if (max >= INT64_MAX && is_size) {
        if (min) {
            strbuf_printf(message, " of at least %lluM", min >> 20);
        }
    } else if (max >= INT64_MAX) {
        strbuf_printf(message, " of at least %llu", min);
    } else {
        strbuf_printf(message, " from %llu to %llu", min, max);
    }
}

/* Checks a value and stores what it means. */
static int set_value(opt_value *value, const opt_def *def, const char *text, strbuf *message)
{
    int rc = 0;
    if (def->kind == OPT_KIND_CHOICE) {
        int index = opt_choice(def->choices, text);
        value->number = index < 0 ? 0 : (uint64_t)index;
        rc = index < 0 ? -1 : 0;
    } else if (def->kind == OPT_KIND_INT || def->kind == OPT_KIND_SIZE) {
        rc = def->kind == OPT_KIND_INT ? opt_parse_uint(text, &value->number)
                                       : opt_parse_size(text, &value->number);
        rc = rc == 0 && (value->number < def->min || value->number > def->max) ? -2 : rc;
    } else if (def->kind == OPT_KIND_SECONDS) {
        rc = opt_parse_double(text, strlen(text), &value->seconds);
        rc = rc == 0 && (value->seconds < 0 || (def->min > 0 && value->seconds == 0)) ? -2 : rc;
    }
    if (rc == 0) {
        value->text = text;
        return 0;
    }
    strbuf_printf(message, "option \"--%s\" must be ", def->name);
    if (def->kind == OPT_KIND_CHOICE) {
        opt_add_choices(message, def->choices);
    } else if (def->kind == OPT_KIND_SECONDS) {
        strbuf_puts(message,
            def->min > 0 ? "a number of seconds above 0" : "a number of seconds of at least 0");
    } else {
        add_range(message, def);
    }
    strbuf_puts(message, ", not \"");
    utf8_add_visible(message, text, strlen(text), 0);
    strbuf_puts(message, "\"");
    return -1;
}

static void add_to_list(opt_value *value, const char *text)
{
    value->list = sys_resize(value->list, value->list_count + 1, sizeof *value->list);
    value->list[value->list_count++] = text;
}

/* --- parsing ---------------------------------------------------------------------------------- */

typedef struct parser {
    int argc;
    char *const *argv;
    int next;
    int only_args;      /* after "--" */
    size_t spare_input; /* 1 + index of the last file of an --input that took several; 0: none */
    uint32_t commands;  /* CMD_BIT()s of what can be named */
    int in_line;        /* of a session, not the command line */
    opt_values *out;
    strbuf *message;
} parser;

static const opt_def *find_long(const char *name, size_t len)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const char *names[2] = {opt_table[i].name, opt_table[i].alias};
        for (size_t k = 0; k < 2; k++) {
            if (names[k] && strlen(names[k]) == len && memcmp(names[k], name, len) == 0) {
                return &opt_table[i];
            }
        }
    }
    return NULL;
}

static const opt_def *find_letter(char letter)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (opt_table[i].letter == letter) {
            return &opt_table[i];
        }
    }
    return NULL;
}

/* An argument that is no option: it does not begin with a dash, is a dash alone, or a number. */
static int is_operand(const char *arg)
{
    return arg[0] != '-' || arg[1] == '\0' || (arg[1] >= '0' && arg[1] <= '9') ||
           (arg[1] == '.' && arg[2] >= '0' && arg[2] <= '9');
}

static void add_name(strbuf *b, const char *name, size_t len)
{
    strbuf_puts(b, "\"");
    utf8_add_visible(b, name, len < 100 ? len : 100, 0);
    strbuf_puts(b, "\"");
}

/* Whether the option may stand where the parser is. */
static int fits(const parser *p, const opt_def *def)
{
    const command_def *command = p->out->command;
    return p->in_line ? command && opt_applies_in_line(def, command) : opt_applies(def, command);
}

static int unknown_option(parser *p, const char *name, size_t len)
{
    const char *names[2 * OPT_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (!opt_table[i].hidden && fits(p, &opt_table[i])) {
            names[count++] = opt_table[i].name;
            names[count++] = opt_table[i].alias;
        }
    }
    char *copy = sys_strndup(name, len);
    const char *nearest = opt_nearest(copy, names, count);
    sys_free(copy);
    strbuf_puts(p->message, "unknown option ");
    strbuf dashed = {0};
    strbuf_puts(&dashed, "--");
    strbuf_add(&dashed, name, len);
    add_name(p->message, dashed.data, dashed.len);
    strbuf_free(&dashed);
    if (nearest) {
        strbuf_printf(p->message, "; did you mean \"--%s\"?", nearest);
    }
    return -1;
}

/* An option that is known, but not to this command (or stands before any command). */
static int misplaced_option(parser *p, const opt_def *def)
{
    const command_def *command = p->out->command;
    if (p->in_line && command && (opt_applies(def, command) || !(def->commands & p->commands))) {
        strbuf_printf(p->message, "option \"--%s\" cannot be given here", def->name);
        return -1;
    }
    if (command) {
        strbuf_printf(p->message, "option \"--%s\" does not apply to \"%s\"; it is an option of ",
            def->name, command->name);
    } else {
        strbuf_printf(p->message, "option \"--%s\" must come after the command: ", def->name);
    }
    size_t left = 0;
    uint32_t commands = def->commands & p->commands;
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        left += (commands & CMD_BIT(i)) ? 1 : 0;
    }
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if (commands & CMD_BIT(i)) {
            left--;
            const char *after = left > 1 ? ", " : left == 1 ? " and " : "";
            strbuf_printf(p->message, "%s%s", command_table[i].name, after);
        }
    }
    return -1;
}

static int missing_value(parser *p, const opt_def *def, const char *next)
{
    strbuf_printf(p->message, "option \"--%s\" needs a value (%s)", def->name, def->arg);
    if (next) {
        strbuf_printf(p->message, "; write \"--%s=", def->name);
        utf8_add_visible(p->message, next, strlen(next), 0);
        strbuf_puts(p->message, "\" if the value is ");
        add_name(p->message, next, strlen(next));
    }
    return -1;
}

/* All arguments up to the next option. */
static int take_list(parser *p, const opt_def *def)
{
    opt_value *value = &p->out->values[def->id];
    size_t before = value->list_count;
    while (p->next < p->argc && is_operand(p->argv[p->next])) {
        add_to_list(value, p->argv[p->next++]);
    }
    if (value->list_count == before) {
        return missing_value(p, def, p->next < p->argc ? p->argv[p->next] : NULL);
    }
    if (value->list_count - before > 1) {
        p->spare_input = value->list_count;
    }
    return 0;
}

/* One option whose name was recognised; `attached` is what stood behind "=" or the letter. */
static int take_option(parser *p, const opt_def *def, const char *attached)
{
    int general = def->group != OPT_GROUP_COMMAND;
    if (p->out->command ? !fits(p, def) : !general) {
        return misplaced_option(p, def);
    }
    opt_value *value = &p->out->values[def->id];
    value->count++;
    if (def->kind == OPT_KIND_FLAG) {
        if (attached) {
            strbuf_printf(p->message, "option \"--%s\" takes no value", def->name);
            return -1;
        }
        return 0;
    }
    if (!attached && def->arity == OPT_LIST) {
        return take_list(p, def);
    }
    if (!attached) {
        const char *next = p->next < p->argc ? p->argv[p->next] : NULL;
        if (!next || (next[0] == '-' && next[1] == '-' && next[2] != '\0')) {
            return missing_value(p, def, next);
        }
        attached = next;
        p->next++;
    }
    if (def->arity != OPT_ONCE) {
        add_to_list(value, attached);
    }
    return set_value(value, def, attached, p->message);
}

static int take_long(parser *p, const char *arg)
{
    const char *name = arg + 2;
    size_t len = strcspn(name, "=");
    const opt_def *def = find_long(name, len);
    if (!def) {
        return unknown_option(p, name, len);
    }
    return take_option(p, def, name[len] == '=' ? name + len + 1 : NULL);
}

static int unknown_letters(parser *p, const char *arg, const opt_def *meant)
{
    strbuf_puts(p->message, "unknown option ");
    add_name(p->message, arg, strlen(arg));
    if (meant) {
        strbuf_printf(p->message, "; did you mean \"--%s\"?", meant->name);
    }
    return -1;
}

static int take_letters(parser *p, const char *arg)
{
    /* "-strict" is no "-s trict" */
    const opt_def *meant = find_long(arg + 1, strcspn(arg + 1, "="));
    if (meant) {
        return unknown_letters(p, arg, meant);
    }
    for (const char *c = arg + 1; *c; c++) {
        const opt_def *def = find_letter(*c);
        if (!def) {
            return unknown_letters(p, arg, NULL);
        }
        int flag = def->kind == OPT_KIND_FLAG;
        if (take_option(p, def, !flag && c[1] ? c + 1 : NULL) != 0) {
            return -1;
        }
        if (!flag) {
            break;
        }
    }
    return 0;
}

static const command_def *find_command(const parser *p, const char *name)
{
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if ((p->commands & CMD_BIT(i)) && strcmp(command_table[i].name, name) == 0) {
            return &command_table[i];
        }
    }
    return NULL;
}

static int unknown_command(parser *p, const char *name)
{
    if (p->in_line && command_find(name)) {
        strbuf_printf(
            p->message, "command \"%s\" cannot be used here, only as \"shardy %s\"", name, name);
        return -1;
    }
    const char *names[CMD_TABLE_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < CMD_TABLE_COUNT; i++) {
        if (p->commands & CMD_BIT(i)) {
            names[count++] = command_table[i].name;
        }
    }
    const char *nearest = opt_nearest(name, names, count);
    strbuf_puts(p->message, "unknown command ");
    add_name(p->message, name, strlen(name));
    if (nearest) {
        strbuf_printf(p->message, "; did you mean \"%s\"?", nearest);
    }
    return -1;
}

static int take_operand(parser *p, const char *arg)
{
    opt_values *out = p->out;
    if (!out->command && !p->in_line && strcmp(arg, "help") == 0) {
        out->values[OPT_HELP].count++;
        if (p->next < p->argc) {
            arg = p->argv[p->next++];
            out->command = find_command(p, arg);
            return out->command ? 0 : unknown_command(p, arg);
        }
        return 0;
    }
    if (!out->command) {
        out->command = find_command(p, arg);
        return out->command ? 0 : unknown_command(p, arg);
    }
    out->args = sys_resize(out->args, out->arg_count + 1, sizeof *out->args);
    out->args[out->arg_count++] = arg;
    return 0;
}

/* `build --input a b DEST` with nothing else: as with cp, the last one is the destination. */
static void give_back_operand(parser *p)
{
    opt_values *out = p->out;
    opt_value *input = &out->values[OPT_INPUT];
    if (out->arg_count > 0 || p->spare_input == 0) {
        return;
    }
    size_t at = p->spare_input - 1;
    out->args = sys_resize(out->args, 1, sizeof *out->args);
    out->args[out->arg_count++] = input->list[at];
    input->list_count--;
    memmove(&input->list[at], &input->list[at + 1], (input->list_count - at) * sizeof *input->list);
}

/* In a session `history 3` is `history --limit 3`. */
static int take_session_argument(parser *p)
{
    opt_values *out = p->out;
    int id = out->command->session_option;
    if (!p->in_line || id == 0 || out->arg_count != 1) {
        return 0;
    }
    out->arg_count = 0;
    out->values[id].count++;
    return set_value(&out->values[id], &opt_table[id], out->args[0], p->message);
}

static int check_operands(parser *p)
{
    const opt_values *out = p->out;
    const command_def *command = out->command;
    if (out->arg_count < command->args_min) {
        strbuf_printf(p->message, "missing argument %s", command->arg_name);
        return -1;
    }
    if (out->arg_count > command->args_max) {
        const char *extra = out->args[command->args_max];
        strbuf_puts(p->message, "unexpected argument ");
        add_name(p->message, extra, strlen(extra));
        if (!p->in_line && !opt_given(out, OPT_SNAPSHOT) &&
            opt_applies(&opt_table[OPT_SNAPSHOT], command)) {
            strbuf_puts(p->message, "; the snapshot is named by --snapshot");
        }
        return -1;
    }
    return 0;
}

/* 1 when an option was seen that ends everything else. */
static int ends_parsing(const opt_values *v)
{
    return opt_given(v, OPT_HELP) || opt_given(v, OPT_VERSION) || opt_given(v, OPT_GENERATE);
}

static int parse_words(parser *p)
{
    opt_values *out = p->out;
    while (p->next < p->argc && !ends_parsing(out)) {
        const char *arg = p->argv[p->next++];
        int rc = 0;
        if (p->only_args || is_operand(arg)) {
            rc = take_operand(p, arg);
        } else if (strcmp(arg, "--") == 0) {
            p->only_args = 1;
        } else if (arg[1] == '-') {
            rc = take_long(p, arg);
        } else {
            rc = take_letters(p, arg);
        }
        if (rc != 0) {
            return -1;
        }
    }
    if (ends_parsing(out) || !out->command) {
        return 0;
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (out->values[i].count && !fits(p, &opt_table[i])) {
            return misplaced_option(p, &opt_table[i]);
        }
    }
    give_back_operand(p);
    return take_session_argument(p) == 0 ? check_operands(p) : -1;
}

int opt_parse(int argc, char *const *argv, opt_values *out, strbuf *message)
{
    memset(out, 0, sizeof *out);
    parser p = {.argc = argc, .argv = argv, .next = 1, .out = out, .message = message};
    p.commands = CMDS_ALL;
    return parse_words(&p);
}

int opt_parse_line(int argc, char *const *argv, uint32_t commands, opt_values *out, strbuf *message)
{
    memset(out, 0, sizeof *out);
    parser p = {.argc = argc, .argv = argv, .out = out, .message = message};
    p.commands = commands;
    p.in_line = 1;
    return parse_words(&p);
}

void opt_free(opt_values *v)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        sys_free(v->values[i].list);
    }
    sys_free(v->args);
    memset(v, 0, sizeof *v);
}

int opt_given(const opt_values *v, opt_id id)
{
    return v->values[id].count > 0;
}
