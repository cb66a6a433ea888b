#include "schema.h"

#include "../base/alloc.h"
#include "../base/ascii.h"

#include <string.h>

/* --- tokens ----------------------------------------------------------------------------------- */

typedef enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_QUOTED,
    TOKEN_OTHER,
    TOKEN_BAD
} token_kind;

typedef struct token {
    token_kind kind;
    const char *text; /* with its quotes */
    size_t len;
} token;

typedef struct tokenizer {
    const char *at;
    const char *end;
    token now;
} tokenizer;

static int is_word_char(char c)
{
    return shardy__is_alnum(c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Passes over white space and comments. */
static void skip_blank(tokenizer *t)
{
    while (t->at < t->end) {
        size_t left = (size_t)(t->end - t->at);
        if (is_space(*t->at)) {
            t->at++;
        } else if (left >= 2 && t->at[0] == '-' && t->at[1] == '-') {
            const char *line_end = memchr(t->at, '\n', left);
            t->at = line_end ? line_end + 1 : t->end;
        } else if (left >= 2 && t->at[0] == '/' && t->at[1] == '*') {
            t->at += 2;
            while (t->end - t->at >= 2 && !(t->at[0] == '*' && t->at[1] == '/')) {
                t->at++;
            }
            t->at = t->end - t->at >= 2 ? t->at + 2 : t->end;
        } else {
            return;
        }
    }
}

/* The end of a quoted token that starts at t->at, behind its closing quote; NULL when it is not
 * closed. */
static const char *quoted_end(const tokenizer *t)
{
    char close = *t->at == '[' ? ']' : *t->at;
    for (const char *p = t->at + 1; p < t->end; p++) {
        if (*p != close) {
            continue;
        }
        if (close != ']' && p + 1 < t->end && p[1] == close) {
            p++;
            continue;
        }
        return p + 1;
    }
    return NULL;
}

static void advance(tokenizer *t)
{
    skip_blank(t);
    token *now = &t->now;
    now->text = t->at;
    if (t->at == t->end) {
        now->kind = TOKEN_END;
    } else if (strchr("\"'`[", *t->at) && *t->at) {
        const char *end = quoted_end(t);
        now->kind = end ? TOKEN_QUOTED : TOKEN_BAD;
        t->at = end ? end : t->end;
    } else if (is_word_char(*t->at)) {
        now->kind = TOKEN_WORD;
        while (t->at < t->end && is_word_char(*t->at)) {
            t->at++;
        }
    } else {
        now->kind = TOKEN_OTHER;
        t->at++;
    }
    now->len = (size_t)(t->at - now->text);
}

/* A bare word, whatever its case; `word` is in lower case. */
static int is_word(const token *t, const char *word)
{
    if (t->kind != TOKEN_WORD || strlen(word) != t->len) {
        return 0;
    }
    for (size_t i = 0; i < t->len; i++) {
        if (shardy__to_lower(t->text[i]) != word[i]) {
            return 0;
        }
    }
    return 1;
}

static int is_char(const token *t, char c)
{
    return t->kind == TOKEN_OTHER && t->text[0] == c;
}

static int is_name(const token *t)
{
    return t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED;
}

/* Goes on when the token is that word. */
static int accept_word(tokenizer *t, const char *word)
{
    if (!is_word(&t->now, word)) {
        return 0;
    }
    advance(t);
    return 1;
}

/* From an opening parenthesis to behind the one that closes it. */
static void skip_parens(tokenizer *t)
{
    uint32_t depth = 0;
    do {
        depth += (uint32_t)is_char(&t->now, '(');
        depth -= (uint32_t)is_char(&t->now, ')');
        advance(t);
    } while (depth > 0 && t->now.kind != TOKEN_END && t->now.kind != TOKEN_BAD);
}

/* --- the table -------------------------------------------------------------------------------- */

typedef struct parsed_column {
    size_t name_at; /* offset in `names` */
    int32_t is_integer;
    int32_t has_collation;
    int32_t in_key;
} parsed_column;

typedef struct parser {
    tokenizer t;
    parsed_column *columns;
    uint32_t count;
    uint32_t room;
    char *names;
    size_t names_len;
    uint32_t *key; /* columns of the primary key in its order */
    uint32_t key_count;
    int32_t key_desc;        /* a column of the key is descending */
    int32_t key_collated;    /* a column of the key names a collation in the key itself */
    int32_t column_key_desc; /* "x INTEGER PRIMARY KEY DESC" is not an alias of the rowid */
    int32_t without_rowid;
    const char *unreadable;
} parser;

/* Copies a name without its quotes, zero-terminated; returns its offset. The room is enough: every
 * name is followed by at least one character of the text, and quotes only shrink. */
static size_t keep_name(parser *p, const token *name)
{
    size_t at = p->names_len;
    const char *text = name->text;
    size_t len = name->len;
    char quote = 0;
    if (name->kind == TOKEN_QUOTED) {
        quote = text[0] == '[' ? 0 : text[0];
        text++;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        p->names[p->names_len++] = text[i];
        if (quote && text[i] == quote) {
            i++;
        }
    }
    p->names[p->names_len++] = '\0';
    return at;
}

int shardy__schema_same_name(const char *a, const char *b)
{
    while (*a && shardy__to_lower(*a) == shardy__to_lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static shardy_status grow_columns(parser *p, shardy_error *err)
{
    uint32_t room = p->room ? p->room * 2 : 16;
    parsed_column *columns = shardy__realloc(p->columns, room * sizeof *columns);
    if (!columns) {
        return shardy__error_nomem(err, "sqlite");
    }
    p->columns = columns;
    uint32_t *key = shardy__realloc(p->key, room * sizeof *key);
    if (!key) {
        return shardy__error_nomem(err, "sqlite");
    }
    p->key = key;
    p->room = room;
    return SHARDY_OK;
}

static void add_key_column(parser *p, uint32_t column)
{
    /* A column that is named twice counts once, so the array for all columns is long enough. */
    if (!p->columns[column].in_key) {
        p->columns[column].in_key = 1;
        p->key[p->key_count++] = column;
    }
}

/* After PRIMARY KEY of a column: the order. */
static void parse_column_key(parser *p, uint32_t column)
{
    tokenizer *t = &p->t;
    advance(t);
    if (!accept_word(t, "key")) {
        p->unreadable = "PRIMARY without KEY";
        return;
    }
    if (accept_word(t, "desc")) {
        p->key_desc = 1;
        p->column_key_desc = 1;
    }
    add_key_column(p, column);
}

/* One token, or one group, of what follows the name and type of a column. */
static void parse_column_part(parser *p, uint32_t column)
{
    tokenizer *t = &p->t;
    if (is_char(&t->now, '(')) {
        skip_parens(t);
    } else if (is_word(&t->now, "primary")) {
        parse_column_key(p, column);
    } else if (is_word(&t->now, "collate")) {
        advance(t);
        p->columns[column].has_collation = !is_word(&t->now, "binary");
        advance(t);
    } else if (is_word(&t->now, "generated") || is_word(&t->now, "as")) {
        p->unreadable = "generated columns";
        advance(t);
    } else if (is_word(&t->now, "default")) {
        advance(t);
        if (is_char(&t->now, '-') || is_char(&t->now, '+')) {
            advance(t);
        }
        if (is_char(&t->now, '(')) {
            skip_parens(t);
        } else {
            advance(t);
        }
    } else if (is_word(&t->now, "constraint") || is_word(&t->now, "references")) {
        advance(t);
        advance(t);
    } else {
        advance(t);
    }
}

static int at_item_end(const tokenizer *t)
{
    return t->now.kind == TOKEN_END || t->now.kind == TOKEN_BAD || is_char(&t->now, ',') ||
           is_char(&t->now, ')');
}

static int at_constraint_word(const token *t)
{
    static const char *const words[] = {"primary", "not", "null", "unique", "check", "default",
        "collate", "references", "generated", "as", "constraint"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (is_word(t, words[i])) {
            return 1;
        }
    }
    return 0;
}

static shardy_status parse_column(parser *p, shardy_error *err)
{
    tokenizer *t = &p->t;
    if (p->count == SCHEMA_COLUMNS_MAX) {
        p->unreadable = "too many columns";
        return SHARDY_OK;
    }
    if (p->count == p->room) {
        SHARDY_TRY(grow_columns(p, err));
    }
    uint32_t column = p->count++;
    parsed_column *c = &p->columns[column];
    memset(c, 0, sizeof *c);
    c->name_at = keep_name(p, &t->now);
    advance(t);
    /* The alias needs the type INTEGER and nothing else. */
    uint32_t type_words = 0;
    int integer = 0;
    while (!at_item_end(t) && !at_constraint_word(&t->now)) {
        type_words++;
        integer = is_word(&t->now, "integer");
        if (is_char(&t->now, '(')) {
            skip_parens(t);
        } else {
            advance(t);
        }
    }
    p->columns[column].is_integer = type_words == 1 && integer;
    while (!at_item_end(t) && !p->unreadable) {
        parse_column_part(p, column);
    }
    return SHARDY_OK;
}

/* The columns in parentheses of a PRIMARY KEY (...). */
static void parse_key_list(parser *p)
{
    tokenizer *t = &p->t;
    advance(t);
    while (is_name(&t->now)) {
        size_t at = keep_name(p, &t->now);
        uint32_t column = 0;
        while (column < p->count &&
               !shardy__schema_same_name(p->names + p->columns[column].name_at, p->names + at)) {
            column++;
        }
        p->names_len = at;
        if (column == p->count) {
            p->unreadable = "primary key names an unknown column";
            return;
        }
        add_key_column(p, column);
        advance(t);
        while (!at_item_end(t)) {
            p->key_desc |= is_word(&t->now, "desc");
            p->key_collated |= is_word(&t->now, "collate");
            if (!is_name(&t->now)) {
                p->unreadable = "primary key is not a list of columns";
                return;
            }
            advance(t);
        }
        if (is_char(&t->now, ',')) {
            advance(t);
        }
    }
    if (!is_char(&t->now, ')')) {
        p->unreadable = "primary key is not a list of columns";
        return;
    }
    advance(t);
}

/* Table constraints; the commas between them are optional. */
static void parse_constraints(parser *p)
{
    tokenizer *t = &p->t;
    while (t->now.kind != TOKEN_END && t->now.kind != TOKEN_BAD && !is_char(&t->now, ')') &&
           !p->unreadable) {
        if (is_word(&t->now, "constraint")) {
            advance(t);
            advance(t);
        } else if (accept_word(t, "primary")) {
            if (accept_word(t, "key") && is_char(&t->now, '(')) {
                parse_key_list(p);
            } else {
                p->unreadable = "PRIMARY without KEY (...)";
            }
        } else if (is_char(&t->now, '(')) {
            skip_parens(t);
        } else {
            advance(t);
        }
    }
}

static int at_table_constraint(const token *t)
{
    return is_word(t, "constraint") || is_word(t, "primary") || is_word(t, "unique") ||
           is_word(t, "check") || is_word(t, "foreign");
}

/* CREATE [TEMP] TABLE [IF NOT EXISTS] [schema .] name */
static int parse_head(tokenizer *t)
{
    advance(t);
    if (!accept_word(t, "create")) {
        return 0;
    }
    if (!accept_word(t, "temp")) {
        accept_word(t, "temporary");
    }
    if (!accept_word(t, "table")) {
        return 0;
    }
    if (accept_word(t, "if") && (!accept_word(t, "not") || !accept_word(t, "exists"))) {
        return 0;
    }
    if (!is_name(&t->now)) {
        return 0;
    }
    advance(t);
    if (is_char(&t->now, '.')) {
        advance(t);
        advance(t);
    }
    return is_char(&t->now, '(');
}

static void parse_options(parser *p)
{
    tokenizer *t = &p->t;
    while (t->now.kind != TOKEN_END && !p->unreadable) {
        if (accept_word(t, "without")) {
            p->without_rowid = accept_word(t, "rowid");
        } else if (is_word(&t->now, "strict") || is_char(&t->now, ',') || is_char(&t->now, ';')) {
            advance(t);
        } else {
            p->unreadable = "unknown table option";
        }
    }
}

static shardy_status parse_table(parser *p, shardy_error *err)
{
    tokenizer *t = &p->t;
    if (!parse_head(t)) {
        p->unreadable = "not CREATE TABLE with a list of columns";
        return SHARDY_OK;
    }
    advance(t);
    while (is_name(&t->now) && !p->unreadable) {
        if (at_table_constraint(&t->now)) {
            parse_constraints(p);
            break;
        }
        SHARDY_TRY(parse_column(p, err));
        if (is_char(&t->now, ',')) {
            advance(t);
        }
    }
    if (!p->unreadable && (!is_char(&t->now, ')') || p->count == 0)) {
        p->unreadable = "list of columns is not closed";
    }
    if (!p->unreadable) {
        advance(t);
        parse_options(p);
    }
    return SHARDY_OK;
}

/* What was found into the object; the columns and their names in one block. */
static shardy_status fill_object(const parser *p, schema_object *object, shardy_error *err)
{
    size_t columns_len = p->count * sizeof(schema_column);
    char *block = shardy__malloc(columns_len + p->names_len);
    if (!block) {
        return shardy__error_nomem(err, "sqlite");
    }
    object->columns = (schema_column *)(void *)block;
    char *names = block + columns_len;
    memcpy(names, p->names, p->names_len);
    object->column_count = p->count;
    object->without_rowid = p->without_rowid;
    uint32_t next_field = p->without_rowid ? p->key_count : 0;
    for (uint32_t i = 0; i < p->count; i++) {
        object->columns[i].name = names + p->columns[i].name_at;
        if (!(p->without_rowid && p->columns[i].in_key)) {
            object->columns[i].field = next_field++;
        }
    }
    for (uint32_t i = 0; p->without_rowid && i < p->key_count; i++) {
        object->columns[p->key[i]].field = i;
        object->key_fields = p->key_count;
    }
    if (!p->without_rowid && p->key_count == 1 && p->columns[p->key[0]].is_integer &&
        !p->column_key_desc) {
        object->rowid_column = (int32_t)p->key[0];
    }
    return SHARDY_OK;
}

/* WITHOUT ROWID trees in an order that is not that of their bytes. */
static void check_key_order(parser *p)
{
    if (!p->without_rowid || p->unreadable) {
        return;
    }
    if (p->key_count == 0) {
        p->unreadable = "WITHOUT ROWID without a primary key";
    } else if (p->key_desc || p->key_collated) {
        p->unreadable = "primary key is descending or has a collation";
    }
    for (uint32_t i = 0; i < p->key_count; i++) {
        if (p->columns[p->key[i]].has_collation) {
            p->unreadable = "primary key is descending or has a collation";
        }
    }
}

shardy_status shardy__schema_parse_table(
    const char *sql, size_t len, schema_object *object, shardy_error *err)
{
    object->without_rowid = 0;
    object->rowid_column = -1;
    object->key_fields = 0;
    object->column_count = 0;
    object->columns = NULL;
    object->unreadable = NULL;
    if (len > SCHEMA_SQL_LEN_MAX) {
        object->unreadable = "text is too long";
        return SHARDY_OK;
    }
    parser p;
    memset(&p, 0, sizeof p);
    p.t.at = sql;
    p.t.end = sql + len;
    p.names = shardy__malloc(2 * len + 2);
    if (!p.names) {
        return shardy__error_nomem(err, "sqlite");
    }
    shardy_status st = parse_table(&p, err);
    if (st >= 0) {
        check_key_order(&p);
        object->unreadable = p.unreadable;
        st = p.unreadable ? SHARDY_OK : fill_object(&p, object, err);
    }
    shardy__free(p.columns);
    shardy__free(p.key);
    shardy__free(p.names);
    return st;
}

void shardy__schema_object_clear(schema_object *object)
{
    shardy__free(object->columns);
    object->columns = NULL;
    object->column_count = 0;
}

int32_t shardy__schema_column(const schema_object *object, const char *name)
{
    for (uint32_t i = 0; i < object->column_count; i++) {
        if (shardy__schema_same_name(object->columns[i].name, name)) {
            return (int32_t)i;
        }
    }
    return -1;
}
