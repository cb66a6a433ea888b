/* config_toml.h: reading a TOML file into a flat list, so that everything else stays C. */
#ifndef SHARDY_CLI_CONFIG_TOML_H
#define SHARDY_CLI_CONFIG_TOML_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum toml_type {
    TOML_TEXT = 1,
    TOML_INTEGER = 2,
    TOML_NUMBER = 3,
    TOML_BOOLEAN = 4,
    TOML_TABLE = 5, /* a table itself, so that empty ones are seen; `key` is "" */
    TOML_OTHER = 6  /* arrays, dates, tables inside tables */
} toml_type;

/* One value of one table: [table] key = value. Strings are owned by the file. */
typedef struct toml_entry {
    const char *table; /* "" for values outside a table */
    const char *key;
    toml_type type;
    const char *text;
    size_t text_len;
    int64_t integer;
    double number;
    int boolean;
    uint32_t line;
} toml_entry;

typedef struct toml_file {
    toml_entry *entries;
    size_t count;
} toml_file;

/* Parses a text. Returns 0, or -1 with "line L, column C: what" in `message`. Free *out with
 * toml_free() in either case. Never throws. */
int toml_read(const char *text, size_t len, toml_file *out, char *message, size_t message_size);
void toml_free(toml_file *file);

#ifdef __cplusplus
}
#endif
#endif
