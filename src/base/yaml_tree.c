/* yaml_tree.c: the public YAML parser: libyaml's events become a tree of nodes. */
#include "alloc.h"
#include "arena.h"
#include "bytebuf.h"
#include "error.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

#include <stdbool.h>
#include <string.h>
#include <yaml.h>

struct shardy_yaml_node {
    int32_t type; /* shardy_yaml_type */
    uint32_t parent;
    uint32_t before; /* the child of the parent before this one; 0: none */
    uint32_t last;   /* its own last child; 0: none */
    uint32_t count;  /* its children */
    uint64_t line;
    uint64_t column;
    shardy_bytes name;
    shardy_bytes text;
    const shardy_yaml_node **children; /* set when the whole document was read */
};

struct shardy_yaml {
    arena arena;
    shardy_yaml_node *nodes; /* in the order of the text, the root first */
    uint32_t count;
    uint32_t room;
};

/* A sequence or mapping that is open. */
typedef struct tree_level {
    uint32_t node;
    bool after_name; /* the next node is the value of `name` */
    shardy_bytes name;
    yaml_mark_t name_mark;
} tree_level;

typedef struct tree_reader {
    shardy_yaml *yaml;
    tree_level levels[SHARDY_YAML_DEPTH_MAX];
    size_t depth;
} tree_reader;

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

static int32_t type_of_event(const yaml_event_t *event)
{
    if (event->type == YAML_MAPPING_START_EVENT) {
        return SHARDY_YAML_MAPPING;
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        return SHARDY_YAML_SEQUENCE;
    }
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return SHARDY_YAML_QUOTED;
    }
    const char *text = (const char *)event->data.scalar.value;
    return is_null_text(text, event->data.scalar.length) ? SHARDY_YAML_NULL : SHARDY_YAML_PLAIN;
}

static shardy_status reserve_node(shardy_yaml *yaml, const yaml_event_t *event, shardy_error *err)
{
    if (yaml->count == SHARDY_YAML_NODES_MAX) {
        return invalid(err, event->start_mark, "more nodes than the limit");
    }
    if (yaml->count == yaml->room) {
        uint32_t room = yaml->room ? yaml->room * 2 : 32;
        shardy_yaml_node *nodes = shardy__realloc(yaml->nodes, room * sizeof *nodes);
        if (!nodes) {
            return nomem(err);
        }
        yaml->nodes = nodes;
        yaml->room = room;
    }
    return SHARDY_OK;
}

/* Adds the node that the event begins, as the next child of the container that is open. */
static shardy_status add_node(tree_reader *r, const yaml_event_t *event, shardy_error *err)
{
    shardy_yaml *yaml = r->yaml;
    SHARDY_TRY(reserve_node(yaml, event, err));
    uint32_t index = yaml->count;
    shardy_yaml_node *node = &yaml->nodes[index];
    yaml_mark_t mark = event->start_mark;
    memset(node, 0, sizeof *node);
    node->name = shardy__bytes("", 0);
    node->text = shardy__bytes("", 0);
    node->type = type_of_event(event);
    if (node->type == SHARDY_YAML_PLAIN || node->type == SHARDY_YAML_QUOTED) {
        size_t len = event->data.scalar.length;
        const char *copy = shardy__arena_strndup(&yaml->arena, event->data.scalar.value, len);
        if (!copy) {
            return nomem(err);
        }
        node->text = shardy__bytes(copy, len);
    }
    if (r->depth > 0) {
        tree_level *level = &r->levels[r->depth - 1];
        shardy_yaml_node *parent = &yaml->nodes[level->node];
        node->parent = level->node;
        node->before = parent->last;
        parent->last = index;
        parent->count++;
        if (level->after_name) {
            node->name = level->name;
            mark = level->name_mark;
            level->after_name = false;
        }
    }
    node->line = mark.line + 1;
    node->column = mark.column + 1;
    yaml->count++;
    return SHARDY_OK;
}

/* The name of the next entry of the mapping that is open. */
static shardy_status take_name(tree_reader *r, const yaml_event_t *event, shardy_error *err)
{
    shardy_yaml *yaml = r->yaml;
    tree_level *level = &r->levels[r->depth - 1];
    if (event->type != YAML_SCALAR_EVENT) {
        return invalid(err, event->start_mark, "expected a name");
    }
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(text, '\0', len)) {
        return invalid(err, event->start_mark, "a zero byte in a name");
    }
    const shardy_yaml_node *mapping = &yaml->nodes[level->node];
    for (uint32_t i = mapping->last; i != 0; i = yaml->nodes[i].before) {
        if (yaml->nodes[i].name.len == len && memcmp(yaml->nodes[i].name.data, text, len) == 0) {
            return shardy__error(err, SHARDY_INVALID, "yaml",
                "line %zu, column %zu: \"%s\" is there twice", event->start_mark.line + 1,
                event->start_mark.column + 1, text);
        }
    }
    if (mapping->count == SHARDY_YAML_NAMES_MAX) {
        return invalid(err, event->start_mark, "more names than the limit of 256");
    }
    const char *copy = shardy__arena_strndup(&yaml->arena, text, len);
    if (!copy) {
        return nomem(err);
    }
    level->name = shardy__bytes(copy, len);
    level->name_mark = event->start_mark;
    level->after_name = true;
    return SHARDY_OK;
}

/* The beginning or end of a node. */
static shardy_status take_event(tree_reader *r, const yaml_event_t *event, shardy_error *err)
{
    SHARDY_TRY(check_event(event, err));
    if (event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT) {
        r->depth--;
        return SHARDY_OK;
    }
    const tree_level *level = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;
    bool in_mapping = level && r->yaml->nodes[level->node].type == SHARDY_YAML_MAPPING;
    if (in_mapping && !level->after_name) {
        return take_name(r, event, err);
    }
    if (event->type != YAML_SCALAR_EVENT && r->depth == SHARDY_YAML_DEPTH_MAX) {
        return invalid(err, event->start_mark, "too many levels");
    }
    SHARDY_TRY(add_node(r, event, err));
    if (event->type != YAML_SCALAR_EVENT) {
        r->levels[r->depth++] = (tree_level){.node = r->yaml->count - 1};
    }
    return SHARDY_OK;
}

/* The events of one document and of the end of the text. */
static shardy_status read_events(yaml_parser_t *parser, tree_reader *r, shardy_error *err)
{
    bool document = false;
    yaml_event_type_t type = YAML_NO_EVENT;
    while (type != YAML_STREAM_END_EVENT) {
        yaml_event_t event;
        SHARDY_TRY(next_event(parser, &event, err));
        shardy_status st = SHARDY_OK;
        type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT) {
            st =
                document ? invalid(err, event.start_mark, "expected one document only") : SHARDY_OK;
            document = true;
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            st = take_event(r, &event, err);
        }
        yaml_event_delete(&event);
        SHARDY_TRY(st);
    }
    return document ? SHARDY_OK
                    : shardy__error(
                          err, SHARDY_INVALID, "yaml", "the text is empty: expected a mapping");
}

/* Gives every container the list of its children: the nodes do not move any more. */
static shardy_status link_children(shardy_yaml *yaml, shardy_error *err)
{
    const shardy_yaml_node **all =
        shardy__arena_calloc(&yaml->arena, yaml->count, sizeof(const shardy_yaml_node *));
    if (!all) {
        return nomem(err);
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < yaml->count; i++) {
        shardy_yaml_node *node = &yaml->nodes[i];
        node->children = all + used;
        used += node->count;
        uint32_t at = node->count;
        for (uint32_t child = node->last; child != 0; child = yaml->nodes[child].before) {
            node->children[--at] = &yaml->nodes[child];
        }
    }
    return SHARDY_OK;
}

shardy_status shardy_yaml_parse(shardy_bytes text, shardy_yaml **yaml_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(yaml_out != NULL);
    *yaml_out = NULL;
    SHARDY_CHECK_ARG(text.data != NULL || text.len == 0);
    if (text.len > SHARDY_YAML_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "yaml", "%zu bytes are more than the limit of %u",
            text.len, SHARDY_YAML_LEN_MAX);
    }
    shardy_yaml *yaml = shardy__calloc(1, sizeof *yaml);
    if (!yaml) {
        return nomem(err);
    }
    shardy__arena_init(&yaml->arena);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        shardy_yaml_free(yaml);
        return nomem(err);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(
        &parser, text.len > 0 ? text.data : (const unsigned char *)"", text.len);
    tree_reader reader = {.yaml = yaml};
    shardy_status st = read_events(&parser, &reader, err);
    yaml_parser_delete(&parser);
    if (st == SHARDY_OK) {
        st = link_children(yaml, err);
    }
    if (st < 0) {
        shardy_yaml_free(yaml);
        return st;
    }
    *yaml_out = yaml;
    return SHARDY_OK;
}

void shardy_yaml_free(shardy_yaml *yaml)
{
    if (yaml) {
        shardy__free(yaml->nodes);
        shardy__arena_free(&yaml->arena);
        shardy__free(yaml);
    }
}

const shardy_yaml_node *shardy_yaml_root(const shardy_yaml *yaml)
{
    return yaml ? yaml->nodes : NULL;
}

int32_t shardy_yaml_type_of(const shardy_yaml_node *node)
{
    return node ? node->type : 0;
}

size_t shardy_yaml_count(const shardy_yaml_node *node)
{
    return node ? node->count : 0;
}

const shardy_yaml_node *shardy_yaml_at(const shardy_yaml_node *node, size_t index)
{
    return node && index < node->count ? node->children[index] : NULL;
}

shardy_bytes shardy_yaml_name(const shardy_yaml_node *node)
{
    return node ? node->name : shardy__bytes("", 0);
}

shardy_bytes shardy_yaml_text(const shardy_yaml_node *node)
{
    return node ? node->text : shardy__bytes("", 0);
}

const shardy_yaml_node *shardy_yaml_get(const shardy_yaml_node *mapping, const char *name)
{
    if (!mapping || !name || mapping->type != SHARDY_YAML_MAPPING) {
        return NULL;
    }
    for (uint32_t i = 0; i < mapping->count; i++) {
        if (strcmp(mapping->children[i]->name.data, name) == 0) {
            return mapping->children[i];
        }
    }
    return NULL;
}

void shardy_yaml_place(const shardy_yaml_node *node, uint64_t *line_out, uint64_t *column_out)
{
    *line_out = node ? node->line : 0;
    *column_out = node ? node->column : 0;
}
