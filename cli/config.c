#include "config.h"

#include "config_toml.h"
#include "opt.h"
#include "utf8.h"
#include "value.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONFIG_LEN_MAX = 1 << 20 /* nobody writes a longer configuration by hand */
};

typedef enum field_kind {
    FIELD_TEXT,
    FIELD_CHOICE,  /* int64_t: index in `choices` */
    FIELD_INT,     /* int64_t of at least `min` */
    FIELD_SECONDS, /* double above zero */
    FIELD_BOOL,    /* int64_t 0 or 1 */
    FIELD_VERIFY   /* a truth value, or the path of a CA bundle */
} field_kind;

typedef struct field_def {
    const char *table;
    const char *key;
    field_kind kind;
    int keep_empty; /* "" is a value of its own */
    size_t offset;  /* in the struct */
    const char *choices;
    int64_t min;
} field_def;

#define CONFIG_AT(member)      offsetof(config, member)
#define CREDENTIALS_AT(member) offsetof(credentials, member)

static const field_def config_fields[] = {
    {"reader", "current_url", FIELD_TEXT, 0, CONFIG_AT(current_url), NULL, 0},
    {"reader", "s3_prefix", FIELD_TEXT, 0, CONFIG_AT(s3_prefix), NULL, 0},
    {"reader", "local_root", FIELD_TEXT, 0, CONFIG_AT(local_root), NULL, 0},
    {"reader", "thread_safety", FIELD_CHOICE, 0, CONFIG_AT(thread_safety), "lock|pool", 0},
    {"reader", "pool_checkout_timeout", FIELD_SECONDS, 0, CONFIG_AT(pool_checkout_timeout), NULL,
        0},
    {"reader", "max_workers", FIELD_INT, 0, CONFIG_AT(max_workers), NULL, 1},
    {"reader", "slate_env_file", FIELD_TEXT, 0, CONFIG_AT(slate_env_file), NULL, 0},
    {"reader", "credentials_profile", FIELD_TEXT, 0, CONFIG_AT(credentials_profile), NULL, 0},
    {"reader", "reader_backend", FIELD_CHOICE, 0, CONFIG_AT(reader_backend), "slatedb|sqlite", 0},
    {"reader", "sqlite_mode", FIELD_CHOICE, 0, CONFIG_AT(sqlite_mode), "download|range|auto", 0},
    {"reader", "sqlite_auto_per_shard_threshold_bytes", FIELD_INT, 0,
        CONFIG_AT(sqlite_per_shard_bytes), NULL, 0},
    {"reader", "sqlite_auto_total_budget_bytes", FIELD_INT, 0, CONFIG_AT(sqlite_total_bytes), NULL,
        0},
    {"manifest_store", "backend", FIELD_CHOICE, 0, CONFIG_AT(store), "s3|postgres", 0},
    {"manifest_store", "dsn", FIELD_TEXT, 0, CONFIG_AT(dsn), NULL, 0},
    {"manifest_store", "table_name", FIELD_TEXT, 0, CONFIG_AT(table_name), NULL, 0},
    {"manifest_store", "pointer_table_name", FIELD_TEXT, 0, CONFIG_AT(pointer_table_name), NULL, 0},
    {"manifest_store", "ensure_table", FIELD_BOOL, 0, CONFIG_AT(ensure_table), NULL, 0},
    {"output", "format", FIELD_CHOICE, 0, CONFIG_AT(format), "json|jsonl|table|text", 0},
    {"output", "value_encoding", FIELD_CHOICE, 0, CONFIG_AT(value_encoding), "base64|utf8|hex", 0},
    {"output", "null_repr", FIELD_TEXT, 1, CONFIG_AT(null_repr), NULL, 0},
};

/* "*" stands for the profile that is loaded; all profiles are checked. */
static const field_def credentials_fields[] = {
    {"*", "endpoint_url", FIELD_TEXT, 0, CREDENTIALS_AT(endpoint_url), NULL, 0},
    {"*", "region", FIELD_TEXT, 0, CREDENTIALS_AT(region), NULL, 0},
    {"*", "region_name", FIELD_TEXT, 0, CREDENTIALS_AT(region), NULL, 0},
    {"*", "access_key_id", FIELD_TEXT, 0, CREDENTIALS_AT(access_key_id), NULL, 0},
    {"*", "secret_access_key", FIELD_TEXT, 0, CREDENTIALS_AT(secret_access_key), NULL, 0},
    {"*", "session_token", FIELD_TEXT, 0, CREDENTIALS_AT(session_token), NULL, 0},
    {"*", "aws_profile", FIELD_TEXT, 0, CREDENTIALS_AT(aws_profile), NULL, 0},
    {"*", "addressing_style", FIELD_CHOICE, 0, CREDENTIALS_AT(addressing_style),
        "auto|path|virtual", 0},
    {"*", "signature_version", FIELD_TEXT, 0, CREDENTIALS_AT(signature_version), NULL, 0},
    {"*", "verify_ssl", FIELD_VERIFY, 0, CREDENTIALS_AT(verify_ssl), NULL, 0},
    {"*", "connect_timeout", FIELD_INT, 0, CREDENTIALS_AT(connect_timeout), NULL, 0},
    {"*", "read_timeout", FIELD_INT, 0, CREDENTIALS_AT(read_timeout), NULL, 0},
    {"*", "max_attempts", FIELD_INT, 0, CREDENTIALS_AT(max_attempts), NULL, 1},
};

enum {
    CONFIG_FIELDS = sizeof config_fields / sizeof config_fields[0],
    CREDENTIALS_FIELDS = sizeof credentials_fields / sizeof credentials_fields[0]
};

/* --- one value -------------------------------------------------------------------------------- */

static void set_text(char **at, const char *text, int keep_empty)
{
    sys_free(*at);
    *at = text[0] || keep_empty ? sys_strdup(text) : NULL;
}

static int wrong(const char *where, const field_def *f, const char *expected, strbuf *message)
{
    strbuf_printf(message, "%s: \"%s\" must be ", where, f->key);
    if (f->kind == FIELD_CHOICE) {
        opt_add_choices(message, f->choices);
    } else if (f->kind == FIELD_INT) {
        strbuf_printf(message, "a whole number of at least %lld", (long long)f->min);
    } else {
        strbuf_puts(message, expected);
    }
    return -1;
}

static int set_text_field(
    void *target, const field_def *f, const toml_entry *e, const char *where, strbuf *message)
{
    if (e->type != TOML_TEXT || strlen(e->text) != e->text_len) {
        return wrong(where, f, "a text", message);
    }
    set_text((char **)target, e->text, f->keep_empty);
    return 0;
}

static int set_verify_field(
    void *base, const field_def *f, const toml_entry *e, const char *where, strbuf *message)
{
    credentials *c = base;
    if (e->type == TOML_BOOLEAN) {
        c->verify_ssl = e->boolean;
        return 0;
    }
    if (e->type != TOML_TEXT || e->text_len == 0) {
        return wrong(where, f, "true, false or the path of a CA bundle", message);
    }
    c->verify_ssl = 1;
    set_text(&c->ca_bundle, e->text, 0);
    return 0;
}

static int set_field(
    void *base, const field_def *f, const toml_entry *e, const char *where, strbuf *message)
{
    void *target = (char *)base + f->offset;
    int64_t number = 0;
    double seconds = 0;
    switch (f->kind) {
    case FIELD_TEXT:
        return set_text_field(target, f, e, where, message);
    case FIELD_VERIFY:
        return set_verify_field(base, f, e, where, message);
    case FIELD_CHOICE:
        number = e->type == TOML_TEXT ? opt_choice(f->choices, e->text) : -1;
        if (number < 0) {
            return wrong(where, f, NULL, message);
        }
        memcpy(target, &number, sizeof number);
        return 0;
    case FIELD_INT:
        if (e->type != TOML_INTEGER || e->integer < f->min) {
            return wrong(where, f, NULL, message);
        }
        memcpy(target, &e->integer, sizeof e->integer);
        return 0;
    case FIELD_BOOL:
        if (e->type != TOML_BOOLEAN) {
            return wrong(where, f, "true or false", message);
        }
        number = e->boolean;
        memcpy(target, &number, sizeof number);
        return 0;
    case FIELD_SECONDS:
        seconds = e->type == TOML_INTEGER || e->type == TOML_NUMBER ? e->number : 0;
        if (!(seconds > 0 && seconds < 1e9)) {
            return wrong(where, f, "a number of seconds above 0", message);
        }
        memcpy(target, &seconds, sizeof seconds);
        return 0;
    }
    return 0;
}

/* --- a whole file ----------------------------------------------------------------------------- */

static void quote(strbuf *b, const char *text)
{
    strbuf_puts(b, "\"");
    utf8_add_visible(b, text, strlen(text), 0);
    strbuf_puts(b, "\"");
}

/* Names a table or a key that does not exist, with the nearest that does. */
static int unknown(const char *where, const char *what, const char *name,
    const char *const *candidates, size_t count, strbuf *message)
{
    const char *nearest = opt_nearest(name, candidates, count);
    strbuf_printf(message, "%s: unknown %s ", where, what);
    quote(message, name);
    if (nearest) {
        strbuf_printf(message, "; did you mean \"%s\"?", nearest);
    }
    return -1;
}

static int table_known(const field_def *fields, size_t count, const char *table)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].table, "*") == 0 || strcmp(fields[i].table, table) == 0) {
            return 1;
        }
    }
    return 0;
}

static int unknown_table(
    const field_def *fields, size_t count, const toml_entry *e, const char *where, strbuf *message)
{
    const char *names[CONFIG_FIELDS + CREDENTIALS_FIELDS];
    for (size_t i = 0; i < count; i++) {
        names[i] = fields[i].table;
    }
    return unknown(where, "table", e->table, names, count, message);
}

static int unknown_key(
    const field_def *fields, size_t count, const toml_entry *e, const char *where, strbuf *message)
{
    const char *names[CONFIG_FIELDS + CREDENTIALS_FIELDS];
    size_t name_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].table, "*") == 0 || strcmp(fields[i].table, e->table) == 0) {
            names[name_count++] = fields[i].key;
        }
    }
    return unknown(where, "key", e->key, names, name_count, message);
}

typedef struct file_reader {
    const field_def *fields;
    size_t field_count;
    const char *profile; /* only values of this table are stored; NULL: of all */
    void *base;          /* the struct that is filled */
    void *scratch;       /* values of other profiles go here, so that they are checked as well */
    int profile_seen;
} file_reader;

static int apply_entry(file_reader *r, const toml_entry *e, const char *name, strbuf *message)
{
    strbuf where = {0};
    int rc = 0;
    strbuf_printf(&where, "%s, line %u", name, (unsigned)e->line);
    const char *at = strbuf_text(&where);
    if (e->table[0] == '\0') {
        strbuf_printf(message, "%s: ", at);
        quote(message, e->key);
        strbuf_puts(message, " stands outside a table");
        rc = -1;
    } else if (!table_known(r->fields, r->field_count, e->table)) {
        rc = unknown_table(r->fields, r->field_count, e, at, message);
    } else if (e->type == TOML_TABLE) {
        r->profile_seen |= r->profile && strcmp(r->profile, e->table) == 0;
    } else {
        const field_def *found = NULL;
        for (size_t i = 0; i < r->field_count && !found; i++) {
            const field_def *f = &r->fields[i];
            int same_table = strcmp(f->table, "*") == 0 || strcmp(f->table, e->table) == 0;
            found = same_table && strcmp(f->key, e->key) == 0 ? f : NULL;
        }
        int wanted = !r->profile || strcmp(r->profile, e->table) == 0;
        rc = found ? set_field(wanted ? r->base : r->scratch, found, e, at, message)
                   : unknown_key(r->fields, r->field_count, e, at, message);
    }
    strbuf_free(&where);
    return rc;
}

static int read_text(
    file_reader *r, const char *text, size_t len, const char *name, strbuf *message)
{
    toml_file file;
    char problem[512] = "";
    if (toml_read(text, len, &file, problem, sizeof problem) != 0) {
        strbuf_printf(message, "%s, ", name);
        utf8_add_visible(message, problem, strlen(problem), 0);
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < file.count && rc == 0; i++) {
        rc = apply_entry(r, &file.entries[i], name, message);
    }
    toml_free(&file);
    return rc;
}

/* The first file that exists; explicit ones must. NULL: none. */
static char *find_file(const char *path, const char *env, const char *name, int search)
{
    if (path && path[0]) {
        return sys_strdup(path);
    }
    if (sys_env(env)) {
        return sys_strdup(sys_env(env));
    }
    if (!search) {
        return NULL;
    }
    strbuf home = {0};
    const char *home_dir = sys_env("HOME");
    strbuf_printf(&home, "%s/.config/shardy/%s", home_dir ? home_dir : "", name);
    char *found = NULL;
    if (access(name, F_OK) == 0) {
        found = sys_strdup(name);
    } else if (home_dir && access(strbuf_text(&home), F_OK) == 0) {
        found = sys_strdup(strbuf_text(&home));
    }
    strbuf_free(&home);
    return found;
}

static int load_text(
    const char *path, const char *what, char **text_out, size_t *len_out, strbuf *message)
{
    int rc = sys_read_file(path, CONFIG_LEN_MAX, text_out, len_out);
    if (rc != 0) {
        strbuf_printf(message, "cannot read %s ", what);
        quote(message, path);
        strbuf_printf(message, ": %s", rc == EFBIG ? "it is longer than 1 MiB" : strerror(rc));
    }
    return rc ? -1 : 0;
}

/* --- reader.toml ------------------------------------------------------------------------------ */

void config_init(config *c)
{
    memset(c, 0, sizeof *c);
    c->pool_checkout_timeout = 30.0;
    c->credentials_profile = sys_strdup("default");
    c->reader_backend = -1;
    c->sqlite_mode = opt_choice("download|range|auto", "auto");
    c->sqlite_per_shard_bytes = INT64_C(16) << 20;
    c->sqlite_total_bytes = INT64_C(2) << 30;
    c->table_name = sys_strdup("shardyfusion_manifests");
    c->pointer_table_name = sys_strdup("shardyfusion_pointer");
    c->ensure_table = 1;
    c->format = opt_choice("json|jsonl|table|text", "jsonl");
    c->value_encoding = VALUE_BASE64;
    c->null_repr = sys_strdup("null");
}

static void free_texts(void *base, const field_def *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind == FIELD_TEXT) {
            char **at = (char **)(void *)((char *)base + fields[i].offset);
            sys_free(*at);
            *at = NULL;
        }
    }
}

void config_free(config *c)
{
    free_texts(c, config_fields, CONFIG_FIELDS);
    sys_free(c->path);
    memset(c, 0, sizeof *c);
}

int config_parse(config *c, const char *text, size_t len, const char *name, strbuf *message)
{
    file_reader r = {config_fields, CONFIG_FIELDS, NULL, c, NULL, 0};
    int rc = read_text(&r, text, len, name, message);
    if (rc == 0 && !c->credentials_profile) {
        c->credentials_profile = sys_strdup("default");
    }
    return rc;
}

int config_load(config *c, const char *path, strbuf *message)
{
    char *found = find_file(path, "SHARDY_CONFIG", "reader.toml", 1);
    if (!found) {
        return 0;
    }
    char *text = NULL;
    size_t len = 0;
    int rc = load_text(found, "the configuration file", &text, &len, message);
    if (rc == 0) {
        rc = config_parse(c, text, len, found, message);
    }
    sys_free(text);
    sys_free(c->path);
    c->path = found;
    return rc;
}

/* --- credentials.toml ------------------------------------------------------------------------- */

void credentials_init(credentials *c)
{
    memset(c, 0, sizeof *c);
    c->verify_ssl = 1;
    c->connect_timeout = 10;
    c->read_timeout = 30;
}

/* Secrets do not stay in freed memory. */
static void wipe(char *text)
{
    volatile char *p = text;
    while (p && *p) {
        *p++ = 0;
    }
}

void credentials_free(credentials *c)
{
    wipe(c->secret_access_key);
    wipe(c->session_token);
    free_texts(c, credentials_fields, CREDENTIALS_FIELDS);
    sys_free(c->ca_bundle);
    sys_free(c->path);
    memset(c, 0, sizeof *c);
}

int credentials_parse(credentials *c, const char *text, size_t len, const char *profile,
    const char *name, strbuf *message)
{
    credentials other;
    credentials_init(&other);
    file_reader r = {credentials_fields, CREDENTIALS_FIELDS, profile, c, &other, 0};
    int rc = read_text(&r, text, len, name, message);
    credentials_free(&other);
    if (rc == 0 && !r.profile_seen) {
        strbuf_puts(message, "credentials profile ");
        quote(message, profile);
        strbuf_printf(message, " is not in %s", name);
        rc = -1;
    }
    return rc;
}

int credentials_load(credentials *c, const char *path, const char *profile, int search,
    strbuf *warning, strbuf *message)
{
    char *found = find_file(path, "SHARDY_CREDENTIALS", "credentials.toml", search);
    if (!found) {
        return 0;
    }
    char *text = NULL;
    size_t len = 0;
    struct stat st;
    int rc = load_text(found, "the credentials file", &text, &len, message);
    if (rc == 0 && stat(found, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        strbuf_printf(warning, "credentials file ");
        quote(warning, found);
        strbuf_printf(
            warning, " has permissions 0%03o; restrict it to 0600", (unsigned)st.st_mode & 0777u);
    }
    if (rc == 0) {
        rc = credentials_parse(c, text, len, profile, found, message);
        wipe(text);
    }
    sys_free(text);
    c->path = found;
    return rc;
}

/* Whether a key is for --s3-option too: secrets are not, others see them among the processes. */
static int is_s3_option(const field_def *f)
{
    return !strstr(f->key, "access_key") && strcmp(f->key, "session_token") != 0;
}

static int unknown_option(const char *name, strbuf *message)
{
    const char *names[CREDENTIALS_FIELDS];
    size_t count = 0;
    for (size_t i = 0; i < CREDENTIALS_FIELDS; i++) {
        if (is_s3_option(&credentials_fields[i])) {
            names[count++] = credentials_fields[i].key;
        }
    }
    (void)unknown("--s3-option", "key", name, names, count, message);
    for (size_t i = 0; i < count; i++) {
        strbuf_printf(message, "%s%s", i ? ", " : " (there are ", names[i]);
    }
    strbuf_puts(message, ")");
    return -1;
}

/* The value of a command line as a file would have it. */
static toml_entry option_entry(const field_def *f, const char *value)
{
    toml_entry e;
    uint64_t number = 0;
    memset(&e, 0, sizeof e);
    e.type = TOML_TEXT;
    e.text = value;
    e.text_len = strlen(value);
    if (f->kind == FIELD_INT && opt_parse_uint(value, &number) == 0 && number <= INT64_MAX) {
        e.type = TOML_INTEGER;
        e.integer = (int64_t)number;
    }
    int choice = f->kind == FIELD_VERIFY ? opt_choice("true|1|yes|false|0|no", value) : -1;
    if (choice >= 0) {
        e.type = TOML_BOOLEAN;
        e.boolean = choice < 3;
    } else if (f->kind == FIELD_VERIFY && !strpbrk(value, "/.")) {
        e.type = TOML_OTHER; /* a word that was mistyped is no path */
    }
    return e;
}

/* Keys of the file are not those of a profile that was asked for. */
static void forget_keys(credentials *c)
{
    wipe(c->secret_access_key);
    wipe(c->session_token);
    set_text(&c->access_key_id, "", 0);
    set_text(&c->secret_access_key, "", 0);
    set_text(&c->session_token, "", 0);
}

int s3_option_set(credentials *c, const char *text, strbuf *message)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        strbuf_puts(message, "option \"--s3-option\" must be KEY=VALUE, not ");
        quote(message, text);
        return -1;
    }
    char *name = sys_strndup(text, (size_t)(equals - text));
    const field_def *found = NULL;
    for (size_t i = 0; i < CREDENTIALS_FIELDS && !found; i++) {
        const field_def *f = &credentials_fields[i];
        found = is_s3_option(f) && strcmp(f->key, name) == 0 ? f : NULL;
    }
    int rc = -1;
    if (found) {
        toml_entry e = option_entry(found, equals + 1);
        rc = set_field(c, found, &e, "--s3-option", message);
        if (strcmp(found->key, "aws_profile") == 0) {
            forget_keys(c);
        }
    } else {
        (void)unknown_option(name, message);
    }
    sys_free(name);
    return rc;
}
