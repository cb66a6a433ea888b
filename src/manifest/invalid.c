#include "invalid.h"

#include "../base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Room for a quoted text of 64 bytes. */
#define VALUE_TEXT_SIZE 96

/* At most 64 bytes, not cut inside a character. */
static void quote(shardy_bytes text, char out[VALUE_TEXT_SIZE])
{
    const char *p = text.data;
    size_t len = text.len;
    const char *more = "";
    if (len > 64) {
        len = 64;
        while (len > 0 && ((unsigned char)p[len] & 0xC0) == 0x80) {
            len--;
        }
        more = "...";
    }
    snprintf(out, VALUE_TEXT_SIZE, "\"%.*s%s\"", (int)len, len ? p : "", more);
}

static void describe_json(const shardy_json_value *value, char out[VALUE_TEXT_SIZE])
{
    static const char *const names[] = {
        "missing", "null", "a boolean", "a number", "a text", "an array", "an object"};
    shardy_bytes text = shardy_json_string(value);
    int32_t type = shardy_json_type_of(value);
    if (type == SHARDY_JSON_STRING) {
        quote(text, out);
    } else if (type == SHARDY_JSON_NUMBER) {
        snprintf(out, VALUE_TEXT_SIZE, "%.*s%s", (int)(text.len > 64 ? 64 : text.len),
            (const char *)text.data, text.len > 64 ? "..." : "");
    } else if (type == SHARDY_JSON_BOOL) {
        snprintf(out, VALUE_TEXT_SIZE, "%s", shardy_json_bool(value) ? "true" : "false");
    } else {
        snprintf(out, VALUE_TEXT_SIZE, "%s", names[type]);
    }
}

shardy_status shardy__invalid_json(
    shardy_error *err, const char *where, const shardy_json_value *value, const char *expected)
{
    char text[VALUE_TEXT_SIZE];
    describe_json(value, text);
    return shardy__error(
        err, SHARDY_CORRUPT, "manifest", "%s is %s, expected %s", where, text, expected);
}

shardy_status shardy__invalid_column(shardy_error *err, const char *table, const char *column,
    const record_value *value, const char *expected)
{
    char text[VALUE_TEXT_SIZE] = "NULL";
    if (value->type == RECORD_INT) {
        snprintf(text, sizeof text, "%lld", (long long)value->integer);
    } else if (value->type == RECORD_REAL) {
        snprintf(text, sizeof text, "%.17g", value->real);
    } else if (value->type == RECORD_BLOB) {
        snprintf(text, sizeof text, "a blob of %zu bytes", (size_t)value->len);
    } else if (value->type == RECORD_TEXT && !shardy__utf8_valid(value->data, value->len)) {
        snprintf(text, sizeof text, "a text of %zu bytes", (size_t)value->len);
    } else if (value->type == RECORD_TEXT) {
        quote((shardy_bytes){value->data, (size_t)value->len}, text);
    }
    return shardy__error(
        err, SHARDY_CORRUPT, "manifest", "%s.%s is %s, expected %s", table, column, text, expected);
}
