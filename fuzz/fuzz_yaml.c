/* Run records. Whatever the bytes are: reading answers OK or INVALID with a message; each text that
 * was read can be written and comes back the same. */
#include "base/utf8.h"
#include "base/yaml.h"

#include <shardyfusion/limits.h>

#include <stdlib.h>
#include <string.h>

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static void check_entry(const yaml_entry *entry)
{
    require(entry->kind >= YAML_PLAIN && entry->kind <= YAML_NESTED);
    require(shardy__utf8_valid(entry->name, strlen(entry->name)));
    require(shardy__utf8_valid(entry->text.data, entry->text.len));
    const char *text = entry->text.data;
    require(text[entry->text.len] == '\0');
    if (strlen(text) != entry->text.len) {
        return; /* a zero byte: there is no such text in a run record */
    }
    for (int type = YAML_FIELD_TEXT; type <= YAML_FIELD_TIME; type += 2) {
        bytebuf out;
        yaml_map *map;
        yaml_field field = {"field", type, 0, entry->kind == YAML_NULL ? NULL : text};
        shardy__bytebuf_init(&out, 16u * SHARDY_RUN_RECORD_LEN_MAX);
        require(shardy__yaml_write(&field, 1, &out, NULL) == SHARDY_OK);
        if (out.len <= SHARDY_RUN_RECORD_LEN_MAX) {
            shardy_bytes written = {out.data, out.len};
            require(shardy__yaml_parse(written, &map, NULL) == SHARDY_OK);
            const yaml_entry *back = shardy__yaml_get(map, "field");
            require(shardy__yaml_count(map) == 1 && back != NULL);
            require((back->kind == YAML_NULL) == (field.text == NULL));
            require(strcmp(back->text.data, text) == 0);
            shardy__yaml_free(map);
        }
        shardy__bytebuf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_bytes text = {data, size};
    yaml_map *map;
    shardy_error err = {0};
    shardy_status st = shardy__yaml_parse(text, &map, &err);
    require(st == SHARDY_OK || st == SHARDY_INVALID);
    if (st < 0) {
        require(map == NULL && err.message[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < shardy__yaml_count(map); i++) {
        const yaml_entry *entry = shardy__yaml_at(map, i);
        require(shardy__yaml_get(map, entry->name) == entry);
        check_entry(entry);
    }
    shardy__yaml_free(map);
    return 0;
}
