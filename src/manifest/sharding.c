#include "sharding.h"

#include "../base/ascii.h"
#include "../base/bytebuf.h"
#include "../base/json.h"
#include "../base/map.h"
#include "invalid.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

static int is_null(const shardy_json_value *value)
{
    return !value || shardy_json_type_of(value) == SHARDY_JSON_NULL;
}

static int is_text(shardy_bytes text, const char *expected)
{
    return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static int is_string(const shardy_json_value *value, const char *expected)
{
    return shardy_json_type_of(value) == SHARDY_JSON_STRING &&
           is_text(shardy_json_string(value), expected);
}

/* --- routing values --------------------------------------------------------------------------- */

/* A routing value as what it is compared by: booleans are 0 and 1, integral floats are integers,
 * integers are their text. 0 when it is neither an integer nor a text. */
static int routing_token(
    const shardy_json_value *value, char room[32], shardy_bytes *token_out, int *is_text_out)
{
    double d;
    *is_text_out = shardy_json_type_of(value) == SHARDY_JSON_STRING;
    *token_out = shardy_json_string(value);
    if (*is_text_out) {
        return 1;
    }
    if (shardy_json_type_of(value) == SHARDY_JSON_BOOL) {
        *token_out = shardy__bytes(shardy_json_bool(value) ? "1" : "0", 1);
        return 1;
    }
    if (shardy_json_type_of(value) != SHARDY_JSON_NUMBER) {
        return 0;
    }
    const char *text = token_out->data;
    size_t digits = text[0] == '-';
    while (digits < token_out->len && shardy__is_digit(text[digits])) {
        digits++;
    }
    if (digits == token_out->len) {
        if (is_text(*token_out, "-0")) {
            *token_out = shardy__bytes("0", 1);
        }
        return 1;
    }
    if (!shardy_json_double(value, &d) || !(d >= -9007199254740992.0 && d <= 9007199254740992.0) ||
        d != (double)(int64_t)d) {
        return 0;
    }
    snprintf(room, 32, "%lld", (long long)d);
    *token_out = shardy__bytes(room, strlen(room));
    return 1;
}

/* All integers or all texts, none twice. */
static shardy_status check_tokens(const shardy_json_value *values, map *seen, shardy_error *err)
{
    int first_is_text = 0;
    for (size_t i = 0; i < shardy_json_count(values); i++) {
        char where[64];
        char room[32];
        shardy_bytes token;
        int token_is_text;
        void *old = NULL;
        const shardy_json_value *value = shardy_json_at(values, i);
        snprintf(where, sizeof where, "sharding.routing_values[%zu]", i);
        if (!routing_token(value, room, &token, &token_is_text)) {
            return shardy__invalid_json(err, where, value, "an integer or a text");
        }
        if (i == 0) {
            first_is_text = token_is_text;
        }
        if (token_is_text != first_is_text) {
            return shardy__invalid_json(err, where, value,
                first_is_text ? "a text as those before it" : "an integer as those before it");
        }
        /* any value but NULL */
        SHARDY_TRY(shardy__map_put(seen, token.data, token.len, seen, &old, err));
        if (old) {
            return shardy__invalid_json(err, where, value, "a value that is not there twice");
        }
    }
    return SHARDY_OK;
}

static shardy_status check_routing_values(
    const manifest *m, const shardy_json_value *values, shardy_error *err)
{
    if (shardy_json_type_of(values) != SHARDY_JSON_ARRAY) {
        return shardy__invalid_json(err, "sharding.routing_values", values, "an array or null");
    }
    size_t n = shardy_json_count(values);
    if (m->num_dbs != (n ? n : 1)) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "build_meta.num_dbs is %u, expected %zu, the number of routing values", m->num_dbs,
            n ? n : (size_t)1);
    }
    map seen;
    shardy__map_init(&seen);
    shardy_status st = check_tokens(values, &seen, err);
    shardy__map_free(&seen);
    return st;
}

/* --- the object ------------------------------------------------------------------------------- */

static shardy_status parse_cel(manifest *m, const shardy_json_value *root, shardy_error *err)
{
    static const char *const fields[] = {"cel_expr", "cel_columns", "routing_values"};
    if (m->strategy == SHARDY_SHARDING_HASH) {
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            const shardy_json_value *value = shardy_json_get(root, fields[i]);
            if (!is_null(value)) {
                char where[64];
                snprintf(where, sizeof where, "sharding.%s", fields[i]);
                return shardy__invalid_json(err, where, value, "null with the strategy \"hash\"");
            }
        }
        return SHARDY_OK;
    }
    const shardy_json_value *expr = shardy_json_get(root, "cel_expr");
    shardy_bytes text = shardy_json_string(expr);
    if (shardy_json_type_of(expr) != SHARDY_JSON_STRING || text.len == 0 ||
        memchr(text.data, '\0', text.len)) {
        return shardy__invalid_json(
            err, "sharding.cel_expr", expr, "a text that is not empty with the strategy \"cel\"");
    }
    const shardy_json_value *columns = shardy_json_get(root, "cel_columns");
    if (shardy_json_type_of(columns) != SHARDY_JSON_OBJECT || shardy_json_count(columns) == 0) {
        return shardy__invalid_json(err, "sharding.cel_columns", columns,
            "an object that is not empty with the strategy \"cel\"");
    }
    m->cel_expr = shardy__arena_strndup(&m->arena, text.data, text.len);
    if (!m->cel_expr) {
        return shardy__error_nomem(err, "manifest");
    }
    const shardy_json_value *values = shardy_json_get(root, "routing_values");
    return is_null(values) ? SHARDY_OK : check_routing_values(m, values, err);
}

static shardy_status check_names(const shardy_json_value *root, shardy_error *err)
{
    static const char *const known[] = {
        "strategy", "hash_algorithm", "routing_values", "cel_expr", "cel_columns"};
    for (size_t i = 0; i < shardy_json_count(root); i++) {
        shardy_bytes name = shardy_json_name_at(root, i);
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && !is_text(name, known[k])) {
            k++;
        }
        if (k == sizeof known / sizeof known[0]) {
            return shardy__error(err, SHARDY_CORRUPT, "manifest",
                "sharding has the unknown key \"%.*s\", expected strategy, hash_algorithm, "
                "routing_values, cel_expr and cel_columns",
                (int)(name.len > 64 ? 64 : name.len), (const char *)name.data);
        }
    }
    return SHARDY_OK;
}

static shardy_status parse_object(manifest *m, const shardy_json_value *root, shardy_error *err)
{
    if (shardy_json_type_of(root) != SHARDY_JSON_OBJECT) {
        return shardy__invalid_json(err, "sharding", root, "an object");
    }
    SHARDY_TRY(check_names(root, err));
    const shardy_json_value *algorithm = shardy_json_get(root, "hash_algorithm");
    if (!is_string(algorithm, "xxh3_64")) {
        return shardy__invalid_json(err, "sharding.hash_algorithm", algorithm, "\"xxh3_64\"");
    }
    const shardy_json_value *strategy = shardy_json_get(root, "strategy");
    m->strategy = is_string(strategy, "cel") ? SHARDY_SHARDING_CEL : SHARDY_SHARDING_HASH;
    if (strategy && m->strategy == SHARDY_SHARDING_HASH && !is_string(strategy, "hash")) {
        return shardy__invalid_json(err, "sharding.strategy", strategy, "\"hash\" or \"cel\"");
    }
    return parse_cel(m, root, err);
}

/* Keeps the text as the reference would write it. */
static shardy_status keep_text(manifest *m, shardy_bytes text, shardy_error *err)
{
    bytebuf buf;
    shardy__bytebuf_init(&buf, (size_t)SHARDY_CUSTOM_LEN_MAX * 8);
    shardy_status st = shardy__json_restyle(text, JSON_SORTED, &buf, err);
    if (st >= 0) {
        m->sharding = shardy__arena_strndup(&m->arena, buf.data, buf.len);
        st = m->sharding ? SHARDY_OK : shardy__error_nomem(err, "manifest");
    }
    shardy__bytebuf_free(&buf);
    return st;
}

shardy_status shardy__sharding_parse(manifest *m, const char *text, shardy_error *err)
{
    shardy_json *json = NULL;
    shardy_bytes bytes = {text, strlen(text)};
    shardy_status st = shardy_json_parse(bytes, &json, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "sharding");
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    st = parse_object(m, shardy_json_root(json), err);
    shardy_json_free(json);
    return st < 0 ? st : keep_text(m, bytes, err);
}
