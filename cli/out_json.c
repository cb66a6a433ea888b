#include "out_json.h"

#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

void json_begin(json_out *j, strbuf *out, int pretty)
{
    memset(j, 0, sizeof *j);
    j->out = out;
    j->pretty = pretty;
}

static void new_line(json_out *j)
{
    strbuf_putc(j->out, '\n');
    strbuf_fill(j->out, ' ', j->depth * 2);
}

/* What stands before a value or a name. */
static void before(json_out *j)
{
    if (j->after_name) {
        j->after_name = 0;
        return;
    }
    if (j->depth == 0) {
        return;
    }
    if (j->filled[j->depth]) {
        strbuf_puts(j->out, j->pretty ? "," : ", ");
    }
    j->filled[j->depth] = 1;
    if (j->pretty) {
        new_line(j);
    }
}

static void open_container(json_out *j, char c)
{
    before(j);
    strbuf_putc(j->out, c);
    if (j->depth >= JSON_OUT_DEPTH_MAX) {
        sys_die("JSON output is nested too deeply");
    }
    j->depth++;
    j->filled[j->depth] = 0;
}

static void close_container(json_out *j, char c)
{
    int filled = j->filled[j->depth];
    j->depth--;
    if (filled && j->pretty) {
        new_line(j);
    }
    strbuf_putc(j->out, c);
}

void json_object(json_out *j)
{
    open_container(j, '{');
}

void json_object_end(json_out *j)
{
    close_container(j, '}');
}

void json_array(json_out *j)
{
    open_container(j, '[');
}

void json_array_end(json_out *j)
{
    close_container(j, ']');
}

static void add_escaped(strbuf *out, uint32_t code)
{
    static const char names[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *found = code ? strchr(names, (int)code) : NULL;
    if (found) {
        strbuf_putc(out, '\\');
        strbuf_putc(out, letters[found - names]);
    } else {
        strbuf_printf(out, "\\u%04x", (unsigned)code);
    }
}

static void add_string(strbuf *out, const char *text, size_t len)
{
    strbuf_putc(out, '"');
    size_t plain = 0; /* first byte that is not written yet */
    for (size_t i = 0; i < len;) {
        uint32_t code;
        size_t n = utf8_decode(text + i, len - i, &code);
        if (code == UINT32_MAX || code < 0x20 || code == '"' || code == '\\') {
            strbuf_add(out, text + plain, i - plain);
            if (code == UINT32_MAX) {
                strbuf_puts(out, "\xEF\xBF\xBD");
            } else {
                add_escaped(out, code);
            }
            plain = i + n;
        }
        i += n;
    }
    strbuf_add(out, text + plain, len - plain);
    strbuf_putc(out, '"');
}

void json_name(json_out *j, const char *name)
{
    before(j);
    add_string(j->out, name, strlen(name));
    strbuf_puts(j->out, ": ");
    j->after_name = 1;
}

void json_text_n(json_out *j, const char *text, size_t len)
{
    before(j);
    add_string(j->out, text, len);
}

void json_text(json_out *j, const char *text)
{
    if (text) {
        json_text_n(j, text, strlen(text));
    } else {
        json_null(j);
    }
}

void json_int(json_out *j, int64_t value)
{
    before(j);
    strbuf_printf(j->out, "%lld", (long long)value);
}

void json_uint(json_out *j, uint64_t value)
{
    before(j);
    strbuf_printf(j->out, "%llu", (unsigned long long)value);
}

void json_bool(json_out *j, int value)
{
    before(j);
    strbuf_puts(j->out, value ? "true" : "false");
}

void json_null(json_out *j)
{
    before(j);
    strbuf_puts(j->out, "null");
}

void json_double_text(double value, char text[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    if (!strpbrk(text, ".e")) {
        size_t len = strlen(text);
        memcpy(text + len, ".0", 3);
    }
}

void json_double(json_out *j, double value, int decimals)
{
    if (!isfinite(value)) {
        json_null(j);
        return;
    }
    char text[400]; /* the largest double with 17 decimals has 327 characters */
    if (decimals >= 0) {
        snprintf(text, sizeof text, "%.*f", decimals, value);
        value = strtod(text, NULL);
        value = value == 0 ? 0.0 : value; /* no "-0.0" */
    }
    json_double_text(value, text);
    before(j);
    strbuf_puts(j->out, text);
}

void json_key(json_out *j, const shardy_key *key)
{
    const char *data = key->bytes.data ? key->bytes.data : "";
    if (key->type == SHARDY_KEY_INT) {
        json_int(j, key->i);
    } else if (key->type == SHARDY_KEY_UINT) {
        json_uint(j, key->u);
    } else if (key->type == SHARDY_KEY_TEXT || utf8_valid(data, key->bytes.len)) {
        json_text_n(j, data, key->bytes.len);
    } else {
        json_object(j);
        json_name(j, "hex");
        before(j);
        strbuf_putc(j->out, '"');
        for (size_t i = 0; i < key->bytes.len; i++) {
            strbuf_printf(j->out, "%02x", (unsigned)(unsigned char)data[i]);
        }
        strbuf_putc(j->out, '"');
        json_object_end(j);
    }
}

/* --- JSON inside JSON ------------------------------------------------------------------------- */

enum {
    EMBED_DEPTH_MAX = SHARDY_JSON_DEPTH_MAX + 1
};

typedef struct embed_level {
    const shardy_json_value *container;
    size_t next;
} embed_level;

static void embed_scalar(json_out *j, const shardy_json_value *value)
{
    int32_t type = shardy_json_type_of(value);
    shardy_bytes text = {0};
    if (type == SHARDY_JSON_STRING) {
        text = shardy_json_string(value);
        json_text_n(j, text.data ? text.data : "", text.len);
    } else if (type == SHARDY_JSON_BOOL) {
        json_bool(j, shardy_json_bool(value));
    } else if (type == SHARDY_JSON_NUMBER) {
        /* as it was written: a double would lose large integers; NaN and the like are no JSON */
        text = shardy_json_string(value);
        const char *p = text.data;
        if (text.len && (p[text.len - 1] >= '0' && p[text.len - 1] <= '9')) {
            before(j);
            strbuf_add(j->out, p, text.len);
        } else {
            json_null(j);
        }
    } else {
        json_null(j);
    }
}

static void embed_value(json_out *j, const shardy_json_value *root)
{
    embed_level levels[EMBED_DEPTH_MAX];
    size_t depth = 0;
    const shardy_json_value *value = root;
    for (;;) {
        int32_t type = shardy_json_type_of(value);
        if ((type == SHARDY_JSON_ARRAY || type == SHARDY_JSON_OBJECT) && depth < EMBED_DEPTH_MAX) {
            open_container(j, type == SHARDY_JSON_ARRAY ? '[' : '{');
            levels[depth++] = (embed_level){value, 0};
        } else {
            embed_scalar(j, value);
        }
        while (
            depth > 0 && levels[depth - 1].next == shardy_json_count(levels[depth - 1].container)) {
            depth--;
            int is_array = shardy_json_type_of(levels[depth].container) == SHARDY_JSON_ARRAY;
            close_container(j, is_array ? ']' : '}');
        }
        if (depth == 0) {
            return;
        }
        embed_level *level = &levels[depth - 1];
        if (shardy_json_type_of(level->container) == SHARDY_JSON_OBJECT) {
            shardy_bytes name = shardy_json_name_at(level->container, level->next);
            before(j);
            add_string(j->out, name.data ? name.data : "", name.len);
            strbuf_puts(j->out, ": ");
            j->after_name = 1;
        }
        value = shardy_json_at(level->container, level->next++);
    }
}

void json_embed(json_out *j, shardy_bytes json)
{
    shardy_json *parsed = NULL;
    if (shardy_json_parse(json, &parsed, NULL) == SHARDY_OK) {
        embed_value(j, shardy_json_root(parsed));
    } else {
        json_text_n(j, json.data ? json.data : "", json.len);
    }
    shardy_json_free(parsed);
}
