#include "yaml.h"

#include "alloc.h"
#include "ascii.h"
#include "utf8.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

#include <stdbool.h>
#include <string.h>

struct yaml_map {
    shardy_yaml *yaml;
    yaml_entry *entries;
    size_t count;
};

/* --- reading ---------------------------------------------------------------------------------- */

static int32_t kind_of(const shardy_yaml_node *node)
{
    static const int32_t kinds[] = {
        [SHARDY_YAML_PLAIN] = YAML_PLAIN,
        [SHARDY_YAML_QUOTED] = YAML_QUOTED,
        [SHARDY_YAML_NULL] = YAML_NULL,
        [SHARDY_YAML_SEQUENCE] = YAML_NESTED,
        [SHARDY_YAML_MAPPING] = YAML_NESTED,
    };
    return kinds[shardy_yaml_type_of(node)];
}

static shardy_status flatten(yaml_map *map, shardy_error *err)
{
    const shardy_yaml_node *root = shardy_yaml_root(map->yaml);
    if (shardy_yaml_type_of(root) != SHARDY_YAML_MAPPING) {
        uint64_t line;
        uint64_t column;
        shardy_yaml_place(root, &line, &column);
        return shardy__error(err, SHARDY_INVALID, "yaml",
            "line %llu, column %llu: expected a mapping", (unsigned long long)line,
            (unsigned long long)column);
    }
    map->count = shardy_yaml_count(root);
    map->entries = shardy__calloc(map->count > 0 ? map->count : 1, sizeof *map->entries);
    if (!map->entries) {
        map->count = 0;
        return shardy__error_nomem(err, "yaml");
    }
    for (size_t i = 0; i < map->count; i++) {
        const shardy_yaml_node *node = shardy_yaml_at(root, i);
        yaml_entry *entry = &map->entries[i];
        entry->name = shardy_yaml_name(node).data;
        entry->kind = kind_of(node);
        entry->text = shardy_yaml_text(node);
    }
    return SHARDY_OK;
}

shardy_status shardy__yaml_parse(shardy_bytes text, yaml_map **map_out, shardy_error *err)
{
    *map_out = NULL;
    if (text.len > SHARDY_RUN_RECORD_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "yaml", "%zu bytes are more than the limit of %u",
            text.len, SHARDY_RUN_RECORD_LEN_MAX);
    }
    yaml_map *map = shardy__calloc(1, sizeof *map);
    if (!map) {
        return shardy__error_nomem(err, "yaml");
    }
    shardy_status st = shardy_yaml_parse(text, &map->yaml, err);
    if (st == SHARDY_OK) {
        st = flatten(map, err);
    }
    if (st < 0) {
        shardy__yaml_free(map);
        return st;
    }
    *map_out = map;
    return SHARDY_OK;
}

void shardy__yaml_free(yaml_map *map)
{
    if (map) {
        shardy__free(map->entries);
        shardy_yaml_free(map->yaml);
        shardy__free(map);
    }
}

size_t shardy__yaml_count(const yaml_map *map)
{
    return map->count;
}

const yaml_entry *shardy__yaml_at(const yaml_map *map, size_t index)
{
    return index < map->count ? &map->entries[index] : NULL;
}

const yaml_entry *shardy__yaml_get(const yaml_map *map, const char *name)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->entries[i].name, name) == 0) {
            return &map->entries[i];
        }
    }
    return NULL;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *words)
{
    size_t len = strlen(text);
    const char *p = words;
    while (*p != '\0') {
        size_t n = strcspn(p, " ");
        bool same = n == len;
        for (size_t i = 0; same && i < n; i++) {
            same = shardy__to_lower(text[i]) == p[i];
        }
        if (same) {
            return true;
        }
        p += n;
        p += *p == ' ';
    }
    return false;
}

/* Whether some version of YAML could read the text as a number or a time. Wider than any of their
 * rules: optional sign, a digit or a point, and nothing but what numbers and times are made of. */
static bool looks_like_number(const char *text)
{
    const char *p = text + (*text == '+' || *text == '-');
    if (*p == '.') {
        return true;
    }
    if (!shardy__is_digit(*p)) {
        return false;
    }
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        return true;
    }
    if (strspn(p, "0123456789") == 4 && p[4] == '-') {
        return true;
    }
    return p[strspn(p, "0123456789_.,:eE+-oObB")] == '\0';
}

/* Characters after which nothing is special in a plain scalar of a block mapping, but for ": " and
 * " #", which are ruled out by allowing no ':' or '#' beside a space. */
static bool is_plain_text(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || strchr("-?:,[]{}#&*!|>'\"%@`= ~<", text[0]) || text[len - 1] == ' ' ||
        text[len - 1] == ':') {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7E || (*p == ':' && p[1] == ' ') || (*p == ' ' && p[1] == '#')) {
            return false;
        }
    }
    return !is_one_of(text, "null true false yes no on off y n") && !looks_like_number(text);
}

static void put_single_quoted(bytebuf *out, const char *text)
{
    shardy__bytebuf_putc(out, '\'');
    for (const char *p = text; *p != '\0'; p++) {
        shardy__bytebuf_append(out, "''", *p == '\'' ? 2 : 0);
        shardy__bytebuf_append(out, p, *p == '\'' ? 0 : 1);
    }
    shardy__bytebuf_putc(out, '\'');
}

static void put_double_quoted(bytebuf *out, const char *text)
{
    static const char specials[] = "\"\\\a\b\t\n\v\f\r\x1b";
    static const char letters[] = "\"\\abtnvfre";
    const uint8_t *p = (const uint8_t *)text;
    const uint8_t *end = p + strlen(text);
    shardy__bytebuf_putc(out, '"');
    while (p < end) {
        size_t n = shardy__utf8_len(p, end);
        uint32_t code = shardy__utf8_decode(p, n);
        const char *special = code < 0x80 ? memchr(specials, (int)code, sizeof specials - 1) : NULL;
        if (special) {
            shardy__bytebuf_printf(out, "\\%c", letters[special - specials]);
        } else if (code >= 0x20 && code < 0x7F) {
            shardy__bytebuf_putc(out, (char)code);
        } else if (code < 0x100) {
            shardy__bytebuf_printf(out, "\\x%02X", (unsigned)code);
        } else if (code < 0x10000) {
            shardy__bytebuf_printf(out, "\\u%04X", (unsigned)code);
        } else {
            shardy__bytebuf_printf(out, "\\U%08X", (unsigned)code);
        }
        p += n;
    }
    shardy__bytebuf_putc(out, '"');
}

static bool is_ascii_line(const char *text)
{
    while (*text >= 0x20 && *text < 0x7F) {
        text++;
    }
    return *text == '\0';
}

static shardy_status put_field(const yaml_field *field, bytebuf *out, shardy_error *err)
{
    shardy__bytebuf_puts(out, field->name);
    shardy__bytebuf_puts(out, ": ");
    if (field->type == YAML_FIELD_INT) {
        shardy__bytebuf_printf(out, "%lld", (long long)field->number);
    } else if (!field->text) {
        shardy__bytebuf_puts(out, "null");
    } else if (!shardy__utf8_valid(field->text, strlen(field->text))) {
        return shardy__error(
            err, SHARDY_INVALID, "yaml", "the text of \"%s\" is not valid UTF-8", field->name);
    } else if (!is_ascii_line(field->text)) {
        put_double_quoted(out, field->text);
    } else if (field->type == YAML_FIELD_TIME || !is_plain_text(field->text)) {
        put_single_quoted(out, field->text);
    } else {
        shardy__bytebuf_puts(out, field->text);
    }
    shardy__bytebuf_putc(out, '\n');
    return SHARDY_OK;
}

shardy_status shardy__yaml_write(
    const yaml_field *fields, size_t count, bytebuf *out, shardy_error *err)
{
    const yaml_field *sorted[YAML_FIELDS_MAX] = {NULL};
    SHARDY_CHECK_ARG(count <= YAML_FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t place = i;
        for (; place > 0 && strcmp(sorted[place - 1]->name, fields[i].name) > 0; place--) {
            sorted[place] = sorted[place - 1];
        }
        sorted[place] = &fields[i];
    }
    for (size_t i = 0; i < count; i++) {
        SHARDY_TRY(put_field(sorted[i], out, err));
    }
    return shardy__bytebuf_check(out, "yaml", err);
}
