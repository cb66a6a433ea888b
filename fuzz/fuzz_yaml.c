/* Run records. Whatever the bytes are: reading answers OK or INVALID with a message; each text that
 * was read can be written and comes back the same. */
#include "faults.h"

#include "base/utf8.h"
#include "base/yaml.h"

#include <shardyfusion/limits.h>

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
