/* YAML. Whatever the bytes are: reading answers OK or INVALID with a message; the nodes of a
 * document are UTF-8 and come in the order of the text; each text of a run record that was read can
 * be written and comes back the same. */
#include "faults.h"

#include "base/utf8.h"
#include "base/yaml.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/text.h>

#include <stdlib.h>
#include <string.h>

static void check_entry(const yaml_entry *entry)
{
    require_that(entry->kind >= YAML_PLAIN && entry->kind <= YAML_NESTED);
    require_that(shardy__utf8_valid(entry->name, strlen(entry->name)));
    require_that(shardy__utf8_valid(entry->text.data, entry->text.len));
    const char *text = entry->text.data;
    require_that(text[entry->text.len] == '\0');
    if (strlen(text) != entry->text.len) {
        return; /* a zero byte: there is no such text in a run record */
    }
    for (int type = YAML_FIELD_TEXT; type <= YAML_FIELD_TIME; type += 2) {
        bytebuf out;
        yaml_map *map;
        yaml_field field = {"field", type, 0, entry->kind == YAML_NULL ? NULL : text};
        shardy__bytebuf_init(&out, 16u * SHARDY_RUN_RECORD_LEN_MAX);
        require_that(shardy__yaml_write(&field, 1, &out, NULL) == SHARDY_OK);
        if (out.len <= SHARDY_RUN_RECORD_LEN_MAX) {
            shardy_bytes written = {out.data, out.len};
            require_that(shardy__yaml_parse(written, &map, NULL) == SHARDY_OK);
            const yaml_entry *back = shardy__yaml_get(map, "field");
            require_that(shardy__yaml_count(map) == 1 && back != NULL);
            require_that((back->kind == YAML_NULL) == (field.text == NULL));
            require_that(strcmp(back->text.data, text) == 0);
            shardy__yaml_free(map);
        }
        shardy__bytebuf_free(&out);
    }
}

/* A node and what it says of itself; returns the number of its children. */
static size_t check_node(const shardy_yaml_node *node, const shardy_yaml_node *mapping)
{
    int32_t type = shardy_yaml_type_of(node);
    shardy_bytes name = shardy_yaml_name(node);
    shardy_bytes text = shardy_yaml_text(node);
    uint64_t line;
    uint64_t column;
    shardy_yaml_place(node, &line, &column);
    require_that(type >= SHARDY_YAML_PLAIN && type <= SHARDY_YAML_MAPPING);
    require_that(line >= 1 && column >= 1);
    require_that(shardy__utf8_valid(text.data, text.len));
    require_that(((const char *)text.data)[text.len] == '\0');
    require_that(type <= SHARDY_YAML_QUOTED || text.len == 0);
    require_that(!mapping || shardy_yaml_get(mapping, name.data) == node);
    return shardy_yaml_count(node);
}

/* All nodes, level by level: SHARDY_YAML_DEPTH_MAX containers stand in each other. */
static void check_tree(const shardy_yaml_node *root)
{
    const shardy_yaml_node *open[SHARDY_YAML_DEPTH_MAX + 1] = {root};
    size_t next[SHARDY_YAML_DEPTH_MAX + 1] = {0};
    size_t depth = 1;
    check_node(root, NULL);
    while (depth > 0) {
        const shardy_yaml_node *above = open[depth - 1];
        const shardy_yaml_node *node = shardy_yaml_at(above, next[depth - 1]++);
        if (!node) {
            depth--;
            continue;
        }
        int named = shardy_yaml_type_of(above) == SHARDY_YAML_MAPPING;
        if (check_node(node, named ? above : NULL) > 0) {
            require_that(depth <= SHARDY_YAML_DEPTH_MAX);
            next[depth] = 0;
            open[depth++] = node;
        }
    }
}

static void check_document(shardy_bytes text)
{
    shardy_yaml *yaml;
    shardy_error err = {0};
    shardy_status st = shardy_yaml_parse(text, &yaml, &err);
    require_that(st == SHARDY_OK || st == SHARDY_INVALID);
    require_that((st == SHARDY_OK) == (yaml != NULL));
    require_that(st == SHARDY_OK || err.message[0] != '\0');
    if (yaml) {
        check_tree(shardy_yaml_root(yaml));
    }
    shardy_yaml_free(yaml);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    yaml_map *map;
    SHARDY_TRY(shardy__yaml_parse((shardy_bytes){data, size}, &map, err));
    shardy__yaml_free(map);
    return SHARDY_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_bytes text = {data, size};
    yaml_map *map;
    shardy_error err = {0};
    run_with_fault(data, size, run);
    check_document(text);
    shardy_status st = shardy__yaml_parse(text, &map, &err);
    require_that(st == SHARDY_OK || st == SHARDY_INVALID);
    if (st < 0) {
        require_that(map == NULL && err.message[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < shardy__yaml_count(map); i++) {
        const yaml_entry *entry = shardy__yaml_at(map, i);
        require_that(shardy__yaml_get(map, entry->name) == entry);
        check_entry(entry);
    }
    shardy__yaml_free(map);
    return 0;
}
