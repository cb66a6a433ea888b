/* yaml.h: run records (formats.md, section 12): a flat YAML 1.1 mapping, read by the public parser
 * (shardyfusion/sys/text.h) and written by an emitter of our own that looks like PyYAML's
 * safe_dump.
 *
 * Scalars stay text: YAML would guess 1e5, 0123 or 1234e567 (which may begin a run id) to be
 * numbers, so the caller decides by the name of the field. */
#ifndef SHARDY_BASE_YAML_H
#define SHARDY_BASE_YAML_H

#include "bytebuf.h"
#include "error.h"

#include <stdint.h>

typedef enum yaml_kind {
    YAML_PLAIN = 1,  /* text without quotes: may be anything that its text can be */
    YAML_QUOTED = 2, /* text in quotes or a block: always a string */
    YAML_NULL = 3,   /* plain null, Null, NULL, ~ or nothing */
    YAML_NESTED = 4  /* a sequence or a mapping, whose content was checked and dropped */
} yaml_kind;

typedef struct yaml_entry {
    const char *name;  /* zero-terminated */
    int32_t kind;      /* yaml_kind */
    shardy_bytes text; /* UTF-8, zero-terminated; empty for YAML_NULL and YAML_NESTED */
} yaml_entry;

typedef struct yaml_map yaml_map;

/* Reads one document whose root is a mapping with scalar names. INVALID with line and column:
 * longer than SHARDY_RUN_RECORD_LEN_MAX, no mapping, and what shardy_yaml_parse() refuses. NOMEM.
 * Ownership: free *map_out. */
shardy_status shardy__yaml_parse(shardy_bytes text, yaml_map **map_out, shardy_error *err);
void shardy__yaml_free(yaml_map *map); /* NULL is fine */

size_t shardy__yaml_count(const yaml_map *map);
/* In the order of the text; borrowed from the map. */
const yaml_entry *shardy__yaml_at(const yaml_map *map, size_t index);
/* NULL: no such name. */
const yaml_entry *shardy__yaml_get(const yaml_map *map, const char *name);

/* What a field to be written is. */
typedef enum yaml_field_type {
    YAML_FIELD_TEXT =
        1, /* `text`, NULL for null; quoted when YAML could take it for anything else */
    YAML_FIELD_INT = 2, /* `number` */
    YAML_FIELD_TIME = 3 /* `text`, NULL for null; always in single quotes, as PyYAML writes it */
} yaml_field_type;

typedef struct yaml_field {
    const char *name; /* lower-case letters, digits and '_' */
    int32_t type;     /* yaml_field_type */
    int64_t number;
    const char *text; /* UTF-8 */
} yaml_field;

/* At most this many fields are written: they are sorted in a fixed list. */
#define YAML_FIELDS_MAX 64u

/* Appends the fields as a block mapping, sorted by name, one a line. INVALID: text that is not
 * UTF-8, too many fields, longer than the buffer's maximum. NOMEM. */
shardy_status shardy__yaml_write(
    const yaml_field *fields, size_t count, bytebuf *out, shardy_error *err);

#endif
