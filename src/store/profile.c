#include "profile.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../base/fs.h"

#include <openssl/crypto.h>
#include <string.h>

typedef struct key_def {
    const char *name;
    size_t at; /* of its text in a profile */
} key_def;

static const key_def keys[] = {
    {"aws_access_key_id", offsetof(profile, access_key_id)},
    {"aws_secret_access_key", offsetof(profile, secret_access_key)},
    {"aws_session_token", offsetof(profile, session_token)},
    {"region", offsetof(profile, region)},
    {"role_arn", offsetof(profile, role_arn)},
    {"role_session_name", offsetof(profile, role_session_name)},
    {"web_identity_token_file", offsetof(profile, token_file)},
};

enum {
    KEY_COUNT = sizeof keys / sizeof keys[0]
};

/* Each of these asks for credentials from somewhere else. */
static const char *const other_ways[] = {"source_profile", "credential_source",
    "credential_process", "sso_session", "sso_start_url", "login_session", NULL};

typedef struct line {
    const char *text; /* without white space on both sides */
    size_t len;
    size_t indent;
    uint32_t number;
} line;

typedef struct profile_reader {
    profile_file kind;
    const char *name;
    profile *out;
    const char *next;
    const char *end;
    uint32_t number;
    int in_section;     /* any */
    int in_profile;     /* the one that is looked for */
    const key_def *key; /* of the last setting, if it is one of ours */
    size_t key_indent;
    int has_setting; /* 1: the section has one, which can be continued */
    shardy_error *err;
} profile_reader;

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && is_space(**text)) {
        (*text)++;
        (*len)--;
    }
    while (*len > 0 && is_space((*text)[*len - 1])) {
        (*len)--;
    }
}

static shardy_status bad_line(const profile_reader *r, const char *problem)
{
    return shardy__error(r->err, SHARDY_CONFIG, "s3", "line %u %s", r->number, problem);
}

/* The next line, empty ones and comments too. 0 at the end. */
static int next_line(profile_reader *r, line *l)
{
    if (r->next == r->end) {
        return 0;
    }
    size_t left = (size_t)(r->end - r->next);
    const char *newline = memchr(r->next, '\n', left);
    size_t len = newline ? (size_t)(newline - r->next) : left;
    l->text = r->next;
    l->len = len;
    trim(&l->text, &l->len);
    l->indent = (size_t)(l->text - r->next);
    r->next += newline ? len + 1 : len;
    l->number = ++r->number;
    return 1;
}

/* Cuts off a comment: '#' or ';' after white space. */
static void cut_comment(const char *text, size_t *len)
{
    for (size_t i = 1; i < *len; i++) {
        if ((text[i] == '#' || text[i] == ';') && is_space(text[i - 1])) {
            *len = i;
            break;
        }
    }
    while (*len > 0 && is_space(text[*len - 1])) {
        (*len)--;
    }
}

/* --- sections ------------------------------------------------------------------------------- */

static int equals(const char *text, size_t len, const char *other)
{
    return strlen(other) == len && memcmp(text, other, len) == 0;
}

/* In the config file "[profile NAME]", the name perhaps in quotes, and "[default]". */
static int is_config_section(const profile_reader *r, const char *text, size_t len)
{
    static const char word[] = "profile";
    const size_t word_len = sizeof word - 1;
    if (len <= word_len || memcmp(text, word, word_len) != 0 || !is_space(text[word_len])) {
        return strcmp(r->name, "default") == 0 && equals(text, len, "default");
    }
    text += word_len;
    len -= word_len;
    trim(&text, &len);
    if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
        text++;
        len -= 2;
    }
    return equals(text, len, r->name);
}

static shardy_status begin_section(profile_reader *r, const line *l)
{
    const char *close = memchr(l->text, ']', l->len);
    if (!close) {
        return bad_line(r, "begins a profile, but has no \"]\"");
    }
    const char *rest = close + 1;
    size_t rest_len = l->len - (size_t)(rest - l->text);
    trim(&rest, &rest_len);
    if (rest_len > 0 && rest[0] != '#' && rest[0] != ';') {
        return bad_line(r, "has something after its \"]\"");
    }
    const char *text = l->text + 1;
    size_t len = (size_t)(close - text);
    trim(&text, &len);
    r->in_section = 1;
    r->in_profile =
        r->kind == PROFILE_CONFIG ? is_config_section(r, text, len) : equals(text, len, r->name);
    r->out->found |= r->in_profile;
    r->has_setting = 0;
    r->key = NULL;
    return SHARDY_OK;
}

/* --- settings ------------------------------------------------------------------------------- */

static int is_named(const char *text, size_t len, const char *name)
{
    size_t i = 0;
    while (i < len && name[i] && shardy__to_lower(text[i]) == name[i]) {
        i++;
    }
    return i == len && !name[i];
}

static char **text_of(profile *p, const key_def *key)
{
    return (char **)(void *)((char *)p + key->at);
}

static shardy_status keep_value(profile_reader *r, const char *value, size_t len)
{
    char **at = text_of(r->out, r->key);
    char *copy = len > 0 ? shardy__strndup(value, len) : NULL;
    if (len > 0 && !copy) {
        return shardy__error_nomem(r->err, "s3");
    }
    shardy__secret_free(*at);
    *at = copy;
    return SHARDY_OK;
}

static shardy_status take_setting(profile_reader *r, const line *l)
{
    const char *sign = memchr(l->text, '=', l->len);
    if (!sign || sign == l->text) {
        return bad_line(r, "is no \"name = value\"");
    }
    if (!r->in_section) {
        return bad_line(r, "stands before the first profile");
    }
    size_t len = (size_t)(sign - l->text);
    const char *name = l->text;
    trim(&name, &len);
    const char *value = sign + 1;
    size_t value_len = l->len - (size_t)(value - l->text);
    trim(&value, &value_len);
    cut_comment(value, &value_len);
    r->has_setting = 1;
    r->key_indent = l->indent;
    r->key = NULL;
    for (size_t i = 0; r->in_profile && i < KEY_COUNT; i++) {
        if (is_named(name, len, keys[i].name)) {
            r->key = &keys[i];
            return keep_value(r, value, value_len);
        }
    }
    for (size_t i = 0; r->in_profile && other_ways[i]; i++) {
        if (is_named(name, len, other_ways[i]) && value_len > 0) {
            r->out->unsupported = other_ways[i];
        }
    }
    return SHARDY_OK;
}

static shardy_status take_line(profile_reader *r, const line *l)
{
    if (l->len == 0 || l->text[0] == '#' || l->text[0] == ';') {
        return SHARDY_OK;
    }
    if (r->has_setting && l->indent > r->key_indent) {
        /* of a value of ours only a part would count */
        return r->key ? bad_line(r, "continues a value, or is indented deeper than the line before")
                      : SHARDY_OK;
    }
    return l->text[0] == '[' ? begin_section(r, l) : take_setting(r, l);
}

/* --- files ---------------------------------------------------------------------------------- */

static shardy_status read_profile(profile_reader *r)
{
    line l;
    while (next_line(r, &l)) {
        SHARDY_TRY(take_line(r, &l));
    }
    return SHARDY_OK;
}

shardy_status shardy__profile_parse(
    shardy_bytes text, profile_file kind, const char *name, profile *out, shardy_error *err)
{
    static const char mark[] = "\xEF\xBB\xBF";
    const char *begin = text.len ? text.data : "";
    const char *end = begin + text.len;
    if (text.len && memchr(begin, 0, text.len)) {
        return shardy__error(err, SHARDY_CONFIG, "s3", "the file has a zero byte");
    }
    if (text.len >= 3 && memcmp(begin, mark, 3) == 0) {
        begin += 3;
    }
    profile_reader r = {.kind = kind, .name = name, .out = out, .next = begin, .end = end};
    r.err = err;
    return read_profile(&r);
}

shardy_status shardy__profile_load(
    const char *path, profile_file kind, const char *name, profile *out, shardy_error *err)
{
    char *text = NULL;
    size_t len = 0;
    shardy_status st = shardy__secret_load(path, PROFILE_FILE_LEN_MAX, &text, &len, err);
    if (st != SHARDY_OK) {
        return st;
    }
    shardy_bytes bytes = {text, len};
    st = shardy__profile_parse(bytes, kind, name, out, err);
    if (st == SHARDY_CONFIG) {
        st = shardy__error_prefix(err, st, "\"%.300s\"", path);
    }
    shardy__secret_free(text);
    return st;
}

void shardy__profile_free(profile *p)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        shardy__secret_free(*text_of(p, &keys[i]));
    }
    memset(p, 0, sizeof *p);
}

/* --- small files ---------------------------------------------------------------------------- */

void shardy__secret_free(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        shardy__free(text);
    }
}

static shardy_status load_open(
    int fd, const char *path, size_t len_max, char **text_out, size_t *len_out, shardy_error *err)
{
    uint64_t size;
    SHARDY_TRY(shardy__file_size(fd, &size, err));
    if (size > len_max) {
        return shardy__error(
            err, SHARDY_CONFIG, "s3", "\"%.300s\" has more than %zu bytes", path, len_max);
    }
    size_t len = (size_t)size;
    char *text = shardy__malloc(len + 1);
    if (!text) {
        return shardy__error_nomem(err, "s3");
    }
    shardy_status st = len ? shardy__file_read_at(fd, 0, text, len, err) : SHARDY_OK;
    text[st < 0 ? 0 : len] = '\0';
    if (st >= 0 && strlen(text) < len) {
        st = shardy__error(err, SHARDY_CONFIG, "s3", "\"%.300s\" has a zero byte", path);
    }
    if (st < 0) {
        OPENSSL_cleanse(text, len);
        shardy__free(text);
        return st;
    }
    while (len > 0 && (is_space(text[len - 1]) || text[len - 1] == '\n')) {
        text[--len] = '\0';
    }
    *text_out = text;
    *len_out = len;
    return SHARDY_OK;
}

shardy_status shardy__secret_load(
    const char *path, size_t len_max, char **text_out, size_t *len_out, shardy_error *err)
{
    int fd = -1;
    *text_out = NULL;
    *len_out = 0;
    shardy_status st = shardy__file_open(path, &fd, err);
    if (st == SHARDY_OK) {
        st = load_open(fd, path, len_max, text_out, len_out, err);
        shardy__file_close(fd);
    }
    return st;
}
