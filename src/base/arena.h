/* arena.h: memory that is freed all at once. For things that live and die together: a parsed
 * manifest, the answer of one call. */
#ifndef SHARDY_BASE_ARENA_H
#define SHARDY_BASE_ARENA_H

#include <shardyfusion/base.h>

#include <stddef.h>

typedef struct arena_block arena_block;

typedef struct arena {
    arena_block *blocks;
    char *next;
    size_t left;
    size_t total; /* bytes asked from the system */
} arena;

void shardy__arena_init(arena *a);
void shardy__arena_free(arena *a);
/* Zeroed memory aligned for any type; NULL when there is none. */
void *shardy__arena_alloc(arena *a, size_t size);
/* The same for count * size; NULL also when the product overflows. */
void *shardy__arena_calloc(arena *a, size_t count, size_t size);
/* A zero-terminated copy. */
char *shardy__arena_strndup(arena *a, const void *text, size_t len);
char *shardy__arena_strdup(arena *a, const char *text);

#endif
