#include "help.h"
#include "schema.h"

#include <string.h>

/* What explain takes first. */
#define EXPLAINED "open get search"

/* What can stand behind an option, and all its names. */

static void add_names(strbuf *out, const opt_def *def, const char *between)
{
    strbuf_printf(out, "--%s", def->name);
    if (def->alias) {
        strbuf_printf(out, "%s--%s", between, def->alias);
    }
    if (def->letter) {
        strbuf_printf(out, "%s-%c", between, def->letter);
    }
}

static void add_choices_spaced(strbuf *out, const char *choices)
{
    for (const char *p = choices; *p; p++) {
        strbuf_putc(out, *p == '|' ? ' ' : *p);
    }
}

static void add_command_names(strbuf *out)
{
    for (size_t i = 0; i < CMD_COUNT; i++) {
        strbuf_printf(out, "%s%s", i ? " " : "", command_table[i].name);
    }
}

/* What has a schema: not exec, whose results are those of its commands. */
static void add_schema_names(strbuf *out)
{
    for (size_t i = 0; schema_names()[i]; i++) {
        strbuf_printf(out, "%s%s", i ? " " : "", schema_names()[i]);
    }
}

static int completes(const opt_def *def, const command_def *command)
{
    int general = def->group != OPT_GROUP_COMMAND;
    return !def->hidden && (command ? opt_applies(def, command) : general);
}

/* --- bash ------------------------------------------------------------------------------------- */

static void bash_options(strbuf *out, const char *label, const command_def *command)
{
    strbuf_printf(out, "        %s) words=\"", label);
    int any = 0;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (completes(&opt_table[i], command)) {
            strbuf_puts(out, any ? " " : "");
            add_names(out, &opt_table[i], " ");
            any = 1;
        }
    }
    strbuf_puts(out, "\" ;;\n");
}

void help_bash(strbuf *out)
{
    strbuf_puts(out, "# bash completion for shardy\n_shardy() {\n"
                     "    local cur prev command= i words\n    COMPREPLY=()\n"
                     "    cur=${COMP_WORDS[COMP_CWORD]}\n    prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                     "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                     "        case \" ");
    add_command_names(out);
    strbuf_puts(out, " \" in\n"
                     "            *\" ${COMP_WORDS[i]} \"*) command=${COMP_WORDS[i]}; break ;;\n"
                     "        esac\n    done\n    case $prev in\n");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (def->kind == OPT_KIND_FLAG || def->hidden) {
            continue;
        }
        strbuf_puts(out, "        ");
        add_names(out, def, "|");
        if (def->choices) {
            strbuf_puts(out, ") COMPREPLY=($(compgen -W \"");
            add_choices_spaced(out, def->choices);
            strbuf_puts(out, "\" -- \"$cur\")); return ;;\n");
        } else if (def->kind == OPT_KIND_FILE) {
            strbuf_puts(out, ") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            strbuf_puts(out, ") return ;;\n");
        }
    }
    strbuf_puts(out, "    esac\n    case $command in\n");
    for (size_t i = 0; i < CMD_COUNT; i++) {
        bash_options(out, command_table[i].name, &command_table[i]);
    }
    bash_options(out, "*", NULL);
    strbuf_puts(out, "    esac\n    if [[ $cur == -* ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                     "    elif [[ -z $command ]]; then\n        COMPREPLY=($(compgen -W \"");
    add_command_names(out);
    strbuf_puts(out, "\" -- \"$cur\"))\n    elif [[ $command == schema ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"");
    add_schema_names(out);
    strbuf_puts(out, "\" -- \"$cur\"))\n    elif [[ $command == explain ]]; then\n"
                     "        [[ $prev != explain ]] || "
                     "COMPREPLY=($(compgen -W \"" EXPLAINED "\" -- \"$cur\"))\n"
                     "    elif [[ $command == build ]]; then\n"
                     "        COMPREPLY=($(compgen -f -- \"$cur\"))\n    fi\n}\n"
                     "complete -o filenames -F _shardy shardy\n");
}

/* --- zsh -------------------------------------------------------------------------------------- */

/* Text inside '...[text]...': quotes, brackets and colons would end it. */
static void zsh_text(strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            strbuf_puts(out, "'\\''");
        } else if (*text == '[' || *text == ']' || *text == ':') {
            strbuf_printf(out, "\\%c", *text);
        } else {
            strbuf_putc(out, *text);
        }
    }
}

static void zsh_option(
    strbuf *out, const opt_def *def, const char *dashed, const command_def *command)
{
    const char *star = def->arity != OPT_ONCE || def->id == OPT_VERBOSE ? "*" : "";
    strbuf_printf(out, "        '%s%s[", star, dashed);
    zsh_text(out, opt_help(def, command));
    strbuf_puts(out, "]");
    if (def->kind != OPT_KIND_FLAG) {
        strbuf_puts(out, ":");
        zsh_text(out, def->arg);
        strbuf_puts(out, ":");
        if (def->choices) {
            strbuf_puts(out, "(");
            add_choices_spaced(out, def->choices);
            strbuf_puts(out, ")");
        } else if (def->kind == OPT_KIND_FILE) {
            strbuf_puts(out, "_files");
        }
    }
    strbuf_puts(out, "'\n");
}

static void zsh_options(strbuf *out, const command_def *command)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (!completes(def, command)) {
            continue;
        }
        char dashed[80] = "--";
        memcpy(dashed + 2, def->name, strlen(def->name) + 1);
        zsh_option(out, def, dashed, command);
        if (def->alias) {
            memcpy(dashed + 2, def->alias, strlen(def->alias) + 1);
            zsh_option(out, def, dashed, command);
        }
        if (def->letter) {
            char letter[3] = {'-', def->letter, '\0'};
            zsh_option(out, def, letter, command);
        }
    }
}

void help_zsh(strbuf *out)
{
    strbuf_puts(out, "#compdef shardy\n# zsh completion for shardy\n_shardy() {\n"
                     "    local -a commands options\n    local state line\n    commands=(\n");
    for (size_t i = 0; i < CMD_COUNT; i++) {
        strbuf_printf(out, "        '%s:%s'\n", command_table[i].name, command_table[i].summary);
    }
    strbuf_puts(out, "    )\n    options=(\n");
    zsh_options(out, NULL);
    strbuf_puts(out, "    )\n    _arguments -C $options '1:command:->command' '*::arg:->args'\n"
                     "    case $state in\n"
                     "        command) _describe command commands; return ;;\n    esac\n"
                     "    case $line[1] in\n");
    for (size_t i = 0; i < CMD_COUNT; i++) {
        const command_def *command = &command_table[i];
        strbuf_printf(out, "    %s) options=(\n", command->name);
        zsh_options(out, command);
        strbuf_puts(out, "        )\n        _arguments $options ");
        if (command->id == CMD_SCHEMA) {
            strbuf_puts(out, "'1:output:(");
            add_schema_names(out);
            strbuf_puts(out, ")' ;;\n");
        } else if (command->id == CMD_EXPLAIN) {
            strbuf_puts(out, "'1:what:(" EXPLAINED ")' '2:key: ' ;;\n");
        } else {
            strbuf_puts(out, command->id == CMD_BUILD ? "'*:argument:_files' ;;\n" : ";;\n");
        }
    }
    strbuf_puts(out, "    esac\n}\n_shardy \"$@\"\n");
}

/* --- fish ------------------------------------------------------------------------------------- */

/* Text inside single quotes. */
static void fish_text(strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') {
            strbuf_putc(out, '\\');
        }
        strbuf_putc(out, *text);
    }
}

/* `when` is the condition under which the option is offered, NULL: always. */
static void fish_option(
    strbuf *out, const opt_def *def, const char *when, const command_def *command)
{
    strbuf_puts(out, "complete -c shardy");
    if (when) {
        strbuf_printf(out, " -n '%s", when);
        strbuf_printf(out, "%s%s'", command ? " " : "", command ? command->name : "");
    }
    strbuf_printf(out, " -l %s", def->name);
    if (def->alias) {
        strbuf_printf(out, " -l %s", def->alias);
    }
    if (def->letter) {
        strbuf_printf(out, " -s %c", def->letter);
    }
    if (def->choices) {
        strbuf_puts(out, " -x -a '");
        add_choices_spaced(out, def->choices);
        strbuf_puts(out, "'");
    } else if (def->kind == OPT_KIND_FILE) {
        strbuf_puts(out, " -r -F");
    } else if (def->kind != OPT_KIND_FLAG) {
        strbuf_puts(out, " -x");
    }
    strbuf_puts(out, " -d '");
    fish_text(out, opt_help(def, command));
    strbuf_puts(out, "'\n");
}

void help_fish(strbuf *out)
{
    strbuf_puts(out, "# fish completion for shardy\n");
    for (size_t i = 0; i < CMD_COUNT; i++) {
        strbuf_printf(out, "complete -c shardy -f -n __fish_use_subcommand -a %s -d '",
            command_table[i].name);
        fish_text(out, command_table[i].summary);
        strbuf_puts(out, "'\n");
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const opt_def *def = &opt_table[i];
        if (def->hidden) {
            continue;
        }
        if ((def->commands & CMDS_ALL) == CMDS_ALL) {
            fish_option(out, def, NULL, NULL);
            continue;
        }
        if (def->group != OPT_GROUP_COMMAND) {
            fish_option(out, def, "__fish_use_subcommand", NULL);
        }
        for (size_t k = 0; k < CMD_COUNT; k++) {
            if (opt_applies(def, &command_table[k])) {
                fish_option(out, def, "__fish_seen_subcommand_from", &command_table[k]);
            }
        }
    }
    strbuf_puts(out, "complete -c shardy -f -n '__fish_seen_subcommand_from schema' -a '");
    add_schema_names(out);
    strbuf_puts(out,
        "'\ncomplete -c shardy -f -n '__fish_seen_subcommand_from explain' -a '" EXPLAINED "'\n");
}
