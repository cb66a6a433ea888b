/* sys/text.h: the parsers of JSON and YAML of the library, for its command and for bindings.
 *
 * The JSON parser pulls tokens and keeps numbers as text, so that integers beyond 64 bits, NaN and
 * Infinity survive. The YAML parser keeps every scalar as text: what `no`, 0123 or 1e5 is, only the
 * reader of a field knows.
 * This header may change with a minor version.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SYS_TEXT_H
#define SHARDYFUSION_SYS_TEXT_H

#include <shardyfusion/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum shardy_json_type {
    SHARDY_JSON_NULL = 1,
    SHARDY_JSON_BOOL = 2,
    SHARDY_JSON_NUMBER = 3,
    SHARDY_JSON_STRING = 4,
    SHARDY_JSON_ARRAY = 5,
    SHARDY_JSON_OBJECT = 6,
    SHARDY_JSON_TYPE_RESERVED_ = 32767
} shardy_json_type;

/* A parsed document. Values are borrowed from it. */
typedef struct shardy_json shardy_json;
typedef struct shardy_json_value shardy_json_value;

/* Parses one JSON text (RFC 8259, and NaN, Infinity, -Infinity as Python writes them). Duplicate
 * names: the last counts, at the place of the first. Statuses: OK; INVALID with line and column
 * (also a byte order mark, invalid UTF-8, lone surrogates, more than SHARDY_JSON_DEPTH_MAX levels
 * or SHARDY_JSON_LEN_MAX bytes); NOMEM. Ownership: free *json_out. */
SHARDY_API shardy_status shardy_json_parse(
    shardy_bytes text, shardy_json **json_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_json_free(shardy_json *json);
SHARDY_API const shardy_json_value *shardy_json_root(const shardy_json *json);
SHARDY_API int32_t shardy_json_type_of(const shardy_json_value *value); /* 0 for NULL */
SHARDY_API size_t shardy_json_count(const shardy_json_value *value);    /* members or elements */
SHARDY_API const shardy_json_value *shardy_json_at(const shardy_json_value *value, size_t index);
SHARDY_API shardy_bytes shardy_json_name_at(const shardy_json_value *object, size_t index);
/* Member of an object; NULL when there is none or the value is not an object. */
SHARDY_API const shardy_json_value *shardy_json_get(
    const shardy_json_value *object, const char *name);
/* decoded; text of a number */
SHARDY_API shardy_bytes shardy_json_string(const shardy_json_value *value);
SHARDY_API int32_t shardy_json_bool(const shardy_json_value *value);
/* 1 and the value when it is an integer that fits, else 0. */
SHARDY_API int32_t shardy_json_int64(const shardy_json_value *value, int64_t *value_out);
SHARDY_API int32_t shardy_json_uint64(const shardy_json_value *value, uint64_t *value_out);
SHARDY_API int32_t shardy_json_double(const shardy_json_value *value, double *value_out);

typedef enum shardy_yaml_type {
    SHARDY_YAML_PLAIN = 1,  /* text without quotes: may be anything that its text can be */
    SHARDY_YAML_QUOTED = 2, /* text in quotes or a block: always a string */
    SHARDY_YAML_NULL = 3,   /* plain null, Null, NULL, ~ or nothing */
    SHARDY_YAML_SEQUENCE = 4,
    SHARDY_YAML_MAPPING = 5,
    SHARDY_YAML_TYPE_RESERVED_ = 32767
} shardy_yaml_type;

/* A parsed document. Nodes are borrowed from it. */
typedef struct shardy_yaml shardy_yaml;
typedef struct shardy_yaml_node shardy_yaml_node;

/* Parses one YAML document of data: mappings with scalar names, sequences, scalars. Statuses: OK;
 * INVALID with line and column (not YAML, not UTF-8, no document or a second one, anchors, aliases,
 * tags, a name twice or with a zero byte, more than SHARDY_YAML_DEPTH_MAX levels,
 * SHARDY_YAML_LEN_MAX bytes, SHARDY_YAML_NODES_MAX nodes or SHARDY_YAML_NAMES_MAX names of a
 * mapping); NOMEM. Ownership: free *yaml_out. */
SHARDY_API shardy_status shardy_yaml_parse(
    shardy_bytes text, shardy_yaml **yaml_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_yaml_free(shardy_yaml *yaml);
SHARDY_API const shardy_yaml_node *shardy_yaml_root(const shardy_yaml *yaml);
SHARDY_API int32_t shardy_yaml_type_of(const shardy_yaml_node *node); /* 0 for NULL */
SHARDY_API size_t shardy_yaml_count(const shardy_yaml_node *node);    /* entries or elements */
SHARDY_API const shardy_yaml_node *shardy_yaml_at(const shardy_yaml_node *node, size_t index);
/* Name of a node that is an entry of a mapping, else empty; UTF-8, zero-terminated. */
SHARDY_API shardy_bytes shardy_yaml_name(const shardy_yaml_node *node);
/* Text of a scalar, UTF-8, zero-terminated; empty for everything else. */
SHARDY_API shardy_bytes shardy_yaml_text(const shardy_yaml_node *node);
/* Entry of a mapping; NULL when there is none or the node is no mapping. */
SHARDY_API const shardy_yaml_node *shardy_yaml_get(
    const shardy_yaml_node *mapping, const char *name);
/* Line and column, from 1, where a node begins: an entry of a mapping with its name. */
SHARDY_API void shardy_yaml_place(
    const shardy_yaml_node *node, uint64_t *line_out, uint64_t *column_out);

#ifdef __cplusplus
}
#endif
#endif
