/* opt.h: the command line.
 *
 * One table of commands and one of options (opt_table.c) drive the parser, the help screens, the
 * manual page, the completions and the suggestions for misspelt names. */
#ifndef SHARDY_CLI_OPT_H
#define SHARDY_CLI_OPT_H

#include "strbuf.h"

typedef enum command_id {
    CMD_BUILD = 0,
    CMD_GET,
    CMD_MULTIGET,
    CMD_SEARCH,
    CMD_INFO,
    CMD_SHARDS,
    CMD_HEALTH,
    CMD_ROUTE,
    CMD_HISTORY,
    CMD_ROLLBACK,
    CMD_VERIFY,
    CMD_CLEANUP,
    CMD_PIN,
    CMD_UNPIN,
    CMD_EXPLAIN,
    CMD_EXEC,
    CMD_SCHEMA,
    CMD_COUNT,
    /* these are known in a session only: the interactive mode, and refresh in scripts */
    CMD_REFRESH = CMD_COUNT,
    CMD_USE,
    CMD_HELP,
    CMD_QUIT,
    CMD_EXIT,
    CMD_TABLE_COUNT
} command_id;

#define CMD_BIT(id) (1u << (id))
#define CMDS_ALL    (CMD_BIT(CMD_COUNT) - 1)
/* What can be in a script, and what can be typed in the interactive mode. */
#define CMDS_SCRIPT                                                                                \
    (CMD_BIT(CMD_GET) | CMD_BIT(CMD_MULTIGET) | CMD_BIT(CMD_SEARCH) | CMD_BIT(CMD_INFO) |          \
        CMD_BIT(CMD_SHARDS) | CMD_BIT(CMD_HEALTH) | CMD_BIT(CMD_ROUTE) | CMD_BIT(CMD_HISTORY) |    \
        CMD_BIT(CMD_REFRESH))
#define CMDS_TYPED                                                                                 \
    (CMDS_SCRIPT | CMD_BIT(CMD_USE) | CMD_BIT(CMD_HELP) | CMD_BIT(CMD_QUIT) | CMD_BIT(CMD_EXIT))

typedef enum opt_id {
    OPT_SNAPSHOT = 0,
    OPT_REF,
    OPT_OFFSET,
    OPT_CONFIG,
    OPT_CREDENTIALS,
    OPT_S3_OPTION,
    OPT_SQLITE_MODE,
    OPT_SQLITE_PER_SHARD,
    OPT_SQLITE_TOTAL,
    OPT_CACHE_DIR,
    OPT_CACHE_SIZE,
    OPT_IO,
    OPT_TIMEOUT,
    OPT_MAX_REQUESTS,
    OPT_MAX_BYTES,
    OPT_OUTPUT_FORMAT,
    OPT_COLOR,
    OPT_VERBOSE,
    OPT_STATS,
    OPT_HELP,
    OPT_VERSION,
    OPT_GENERATE,
    /* of single commands */
    OPT_ROUTING_CONTEXT,
    OPT_STRICT,
    OPT_RAW,
    OPT_KEY_FORMAT,
    OPT_VALUE_ENCODING,
    OPT_VECTOR_FILE,
    OPT_VECTOR_ROW,
    OPT_TOP_K,
    OPT_SHARD_IDS,
    OPT_STALENESS,
    OPT_LIMIT,
    OPT_DEEP,
    OPT_SCRIPT,
    OPT_OUTPUT,
    OPT_LATEST,
    OPT_INPUT,
    OPT_INPUT_FORMAT,
    OPT_KEY_COLUMN,
    OPT_VALUE_COLUMN,
    OPT_VECTOR_COLUMN,
    OPT_VECTORS,
    OPT_VECTOR_ID_COLUMN,
    OPT_PAYLOAD_COLUMN,
    OPT_METRIC,
    OPT_ENGINE,
    OPT_NUM_DBS,
    OPT_MAX_KEYS,
    OPT_KEY_ENCODING,
    OPT_PAGE_SIZE,
    OPT_SIDECAR,
    OPT_PUBLISHED_AS,
    OPT_RUN_ID,
    OPT_SCRATCH_DIR,
    OPT_THREADS,
    OPT_MEMORY,
    OPT_MAX_ROWS,
    OPT_MAX_ROW_BYTES,
    OPT_NETWORK_FS,
    OPT_QUIET,
    OPT_ON_CONFLICT,
    OPT_SINGLE_WRITER,
    OPT_ALLOW_EMPTY,
    OPT_DRY_RUN,
    OPT_INCLUDE_OLD_RUNS,
    OPT_OLDER_THAN,
    OPT_SETTLE_AFTER,
    OPT_KEEP_LAST,
    OPT_MAX_RETRIES,
    OPT_FORCE,
    OPT_SHARD_PREFIX,
    OPT_REGISTRY_PREFIX,
    OPT_COUNT
} opt_id;

typedef enum opt_kind {
    OPT_KIND_FLAG,
    OPT_KIND_TEXT,
    OPT_KIND_FILE,   /* text that completes as a file */
    OPT_KIND_CHOICE, /* one of `choices`, in any case */
    OPT_KIND_INT,    /* whole number within min..max */
    OPT_KIND_SIZE,   /* bytes: a whole number with K, M, G or T (powers of 1024) */
    OPT_KIND_SECONDS /* a number >= 0, or > 0 when `min` is 1; may have a fraction */
} opt_kind;

typedef enum opt_group {
    OPT_GROUP_COMMAND,  /* what the command itself does */
    OPT_GROUP_SNAPSHOT, /* which snapshot, how it is reached */
    OPT_GROUP_GENERAL
} opt_group;

typedef enum opt_arity {
    OPT_ONCE,   /* the last one counts */
    OPT_REPEAT, /* each adds one value */
    OPT_LIST    /* each adds all arguments up to the next option */
} opt_arity;

typedef struct command_def command_def;

typedef struct opt_def {
    opt_id id;
    char letter;       /* 0: none */
    const char *name;  /* without the dashes */
    const char *alias; /* another long name, or NULL */
    opt_kind kind;
    opt_arity arity;
    opt_group group;
    const char *arg;     /* name of the value in help, NULL for flags */
    const char *choices; /* separated by '|', or NULL */
    uint64_t min;        /* of INT and SIZE */
    uint64_t max;
    const char *default_text; /* for the help; NULL: none */
    const char *env;          /* environment variable, or NULL */
    const char *config;       /* name in the configuration file, or NULL */
    uint32_t commands;        /* CMD_BIT()s it belongs to */
    int hidden;
    const char *help;       /* one sentence without a full stop */
    const char *build_help; /* the same for build, where the option means something else */
} opt_def;

/* The sentence for a command; NULL: for all. */
const char *opt_help(const opt_def *def, const command_def *command);

struct command_def {
    command_id id;
    const char *name;
    const char *args; /* as help shows them */
    const char *arg_name;
    size_t args_min;
    size_t args_max;
    const char *summary;     /* one line */
    const char *description; /* paragraphs, separated by a blank line */
    const char *examples;    /* lines, or NULL */
    /* In a session one argument may stand for this option; 0: none. And how help shows it. */
    int session_option;
    const char *session_args;
};

extern const opt_def opt_table[OPT_COUNT];
extern const command_def command_table[CMD_TABLE_COUNT];

typedef struct opt_value {
    size_t count;      /* how often it was given; 0: not at all */
    const char *text;  /* the last value */
    const char **list; /* REPEAT and LIST: all values */
    size_t list_count;
    uint64_t number; /* INT, SIZE; CHOICE: its index */
    double seconds;
} opt_value;

typedef struct opt_values {
    opt_value values[OPT_COUNT];
    const command_def *command; /* NULL: none was named */
    const char **args;
    size_t arg_count;
} opt_values;

/* Parses. Returns 0; or -1 with a message of one or two lines. The values borrow from argv; give
 * the lists back with opt_free() in either case. --help, --version and --generate end the parsing,
 * so that nothing else can be wrong. */
int opt_parse(int argc, char *const *argv, opt_values *out, strbuf *message);
void opt_free(opt_values *v);

/* The same for a line of a session: its first word is one of the CMD_BIT()s in `commands`, and what
 * chooses the snapshot or belongs to the program is no option there. */
int opt_parse_line(
    int argc, char *const *argv, uint32_t commands, opt_values *out, strbuf *message);

/* 1 when an option can be given in a session line with this command. */
int opt_applies_in_line(const opt_def *def, const command_def *command);

/* 1 when an option was given on the command line. */
int opt_given(const opt_values *v, opt_id id);

/* The command of a name, or NULL. */
const command_def *command_find(const char *name);

/* 1 when an option belongs to a command; NULL asks for any command. */
int opt_applies(const opt_def *def, const command_def *command);

/* The candidate that a misspelt name probably means: few letters differ, or it is the beginning.
 * NULL when none is near. */
const char *opt_nearest(const char *name, const char *const *candidates, size_t count);

/* Index of a text in a list "a|b|c", in any case of its letters; -1 when it is not there. */
int opt_choice(const char *choices, const char *text);

/* Appends "a, b or c" for a list "a|b|c". */
void opt_add_choices(strbuf *b, const char *choices);

/* A whole number. Returns 0, -1 when it is not one, -2 when it is outside 64 bits. */
int opt_parse_uint(const char *text, uint64_t *value_out);
/* A whole number of bytes with an optional unit: K, M, G, T, also KB and KiB. Same returns. */
int opt_parse_size(const char *text, uint64_t *value_out);
/* Days or hours, "7d" or "24h", at most 36500 of them, in seconds. Returns 0 or -1. */
int opt_parse_age(const char *text, int64_t *seconds_out);
/* A finite number. Returns 0 or -1. */
int opt_parse_double(const char *text, size_t len, double *value_out);

#endif
