/* lists.h: lists as users give them: keys by lines, numbers and shards by commas. */
#ifndef SHARDY_CLI_LISTS_H
#define SHARDY_CLI_LISTS_H

#include "strbuf.h"

#include <shardyfusion/base.h>

/* Keys as they were given; they borrow from who gave them. */
typedef struct key_list {
    shardy_bytes *texts;
    size_t count;
    size_t room;
} key_list;

void key_list_add(key_list *list, const char *text, size_t len);
/* One key per line; the end of the line is "\n" or "\r\n", everything else belongs to the key.
 * Lines of blanks are none. */
void key_list_add_lines(key_list *list, const char *text, size_t len);
void key_list_free(key_list *list);

/* The numbers of a query: finite as floats. Returns 0, or -1 with a message in `message`.
 * sys_free() *numbers_out in any case. */
int numbers_parse(const char *text, float **numbers_out, size_t *count_out, strbuf *message);

/* Whole numbers, with blanks around them. Returns 0 or -1. sys_free() *ids_out in any case. */
int shard_ids_parse(const char *text, uint32_t **ids_out, size_t *count_out);

#endif
