#include "yaml.h"

#include "alloc.h"
#include "arena.h"
#include "utf8.h"

#include <shardyfusion/limits.h>

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

/* A run record has 13 names. The look for repeated ones is linear, so there is a bound. */
#define YAML_ENTRIES_MAX 256u

struct yaml_map {
    arena arena;
    yaml_entry *entries;
    size_t count;
    size_t room;
};

/* --- reading ---------------------------------------------------------------------------------- */

static shardy_status nomem(shardy_error *err)
{
    return shardy__error_nomem(err, "yaml");
}

static shardy_status invalid(shardy_error *err, yaml_mark_t at, const char *problem)
{
    return shardy__error(err, SHARDY_INVALID, "yaml", "line %zu, column %zu: %s", at.line + 1,
        at.column + 1, problem);
}

static shardy_status next_event(yaml_parser_t *parser, yaml_event_t *event, shardy_error *err)
{
    if (yaml_parser_parse(parser, event)) {
        return SHARDY_OK;
    }
    memset(event, 0, sizeof *event);
    if (parser->error == YAML_MEMORY_ERROR) {
        return nomem(err);
    }
    if (parser->error == YAML_READER_ERROR) {
        return shardy__error(err, SHARDY_INVALID, "yaml", "byte %zu: %s", parser->problem_offset,
            parser->problem ? parser->problem : "not UTF-8");
    }
    return invalid(err, parser->problem_mark, parser->problem ? parser->problem : "not YAML");
}

/* Refuses what makes YAML more than a notation for data. */
static shardy_status check_event(const yaml_event_t *event, shardy_error *err)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return invalid(err, event->start_mark, "aliases are not accepted");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor) {
        return invalid(err, event->start_mark, "anchors are not accepted");
    }
    return tag ? invalid(err, event->start_mark, "tags are not accepted") : SHARDY_OK;
}

static bool is_null_text(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (strlen(nulls[i]) == len && memcmp(nulls[i], text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The name of the next entry. */
static shardy_status add_name(yaml_map *map, const yaml_event_t *event, shardy_error *err)
{
    if (event->type != YAML_SCALAR_EVENT) {
        return invalid(err, event->start_mark, "expected a name");
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(text, '\0', len)) {
        return invalid(err, event->start_mark, "a zero byte in a name");
    }
    if (shardy__yaml_get(map, text)) {
        return shardy__error(err, SHARDY_INVALID, "yaml",
            "line %zu, column %zu: \"%s\" is there twice", event->start_mark.line + 1,
            event->start_mark.column + 1, text);
    }
    if (map->count == YAML_ENTRIES_MAX) {
        return invalid(err, event->start_mark, "more names than the limit of 256");
    }
    if (map->count == map->room) {
        size_t room = map->room ? map->room * 2 : 32;
        yaml_entry *entries = shardy__realloc(map->entries, room * sizeof *entries);
        if (!entries) {
            return nomem(err);
        }
        map->entries = entries;
        map->room = room;
    }
    yaml_entry *entry = &map->entries[map->count];
    memset(entry, 0, sizeof *entry);
    entry->name = shardy__arena_strndup(&map->arena, text, len);
    if (!entry->name) {
        return nomem(err);
    }
    map->count++;
    return SHARDY_OK;
}

/* The value of the entry that was added last, when it is a scalar. */
static shardy_status set_scalar(yaml_map *map, const yaml_event_t *event, shardy_error *err)
{
    yaml_entry *entry = &map->entries[map->count - 1];
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && is_null_text(text, len)) {
        entry->kind = YAML_NULL;
        len = 0;
    } else {
        entry->kind = plain ? YAML_PLAIN : YAML_QUOTED;
    }
    const char *copy = shardy__arena_strndup(&map->arena, text, len);
    if (!copy) {
        return nomem(err);
    }
    entry->text = shardy__bytes(copy, len);
    return SHARDY_OK;
}

/* Where the reader is: `depth` open sequences and mappings. */
typedef struct yaml_place {
    size_t depth;
    bool after_name; /* at depth 1: the next node is a value */
} yaml_place;

static shardy_status open_node(
    yaml_map *map, yaml_place *place, const yaml_event_t *event, shardy_error *err)
{
    if (place->depth == SHARDY_YAML_DEPTH_MAX) {
        return invalid(err, event->start_mark, "too many levels");
    }
    if (place->depth == 1) {
        if (!place->after_name) {
            return invalid(err, event->start_mark, "expected a name");
        }
        map->entries[map->count - 1].kind = YAML_NESTED;
        map->entries[map->count - 1].text = shardy__bytes("", 0);
        place->after_name = false;
    }
    place->depth++;
    return SHARDY_OK;
}

static shardy_status take_event(
    yaml_map *map, yaml_place *place, const yaml_event_t *event, shardy_error *err)
{
    SHARDY_TRY(check_event(event, err));
    if (place->depth == 0) {
        if (event->type != YAML_MAPPING_START_EVENT) {
            return invalid(err, event->start_mark, "expected a mapping");
        }
        place->depth = 1;
        return SHARDY_OK;
    }
    switch (event->type) {
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return open_node(map, place, event, err);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        place->depth--;
        return SHARDY_OK;
    default:
        break;
    }
    if (place->depth > 1) {
        return SHARDY_OK;
    }
    place->after_name = !place->after_name;
    return place->after_name ? add_name(map, event, err) : set_scalar(map, event, err);
}

/* The events of one document and of the end of the text. */
static shardy_status read_events(yaml_parser_t *parser, yaml_map *map, shardy_error *err)
{
    yaml_place place = {0};
    bool document = false;
    for (;;) {
        yaml_event_t event;
        SHARDY_TRY(next_event(parser, &event, err));
        shardy_status st = SHARDY_OK;
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT) {
            st =
                document ? invalid(err, event.start_mark, "expected one document only") : SHARDY_OK;
            document = true;
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            st = take_event(map, &place, &event, err);
        }
        yaml_event_delete(&event);
        if (st < 0) {
            return st;
        }
        if (type == YAML_STREAM_END_EVENT) {
            break;
        }
    }
    return document ? SHARDY_OK
                    : shardy__error(
                          err, SHARDY_INVALID, "yaml", "the text is empty: expected a mapping");
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
        return nomem(err);
    }
    shardy__arena_init(&map->arena);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        shardy__yaml_free(map);
        return nomem(err);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(
        &parser, text.len > 0 ? text.data : (const unsigned char *)"", text.len);
    shardy_status st = read_events(&parser, map, err);
    yaml_parser_delete(&parser);
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
        shardy__arena_free(&map->arena);
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
            char c = text[i];
            same = (c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c) == p[i];
        }
        if (same) {
            return true;
        }
        p += n;
        p += *p == ' ';
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether some version of YAML could read the text as a number or a time. Wider than any of their
 * rules: optional sign, a digit or a point, and nothing but what numbers and times are made of. */
static bool looks_like_number(const char *text)
{
    const char *p = text + (*text == '+' || *text == '-');
    if (*p == '.') {
        return true;
    }
    if (!is_digit(*p)) {
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
