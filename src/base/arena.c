#include "arena.h"

#include "alloc.h"

#include <string.h>

#define ARENA_ALIGN     16u
#define ARENA_BLOCK_LEN 4096u

struct arena_block {
    arena_block *next;
    char pad[ARENA_ALIGN - sizeof(arena_block *)];
};

void shardy__arena_init(arena *a)
{
    memset(a, 0, sizeof *a);
}

void shardy__arena_free(arena *a)
{
    arena_block *block = a->blocks;
    while (block) {
        arena_block *next = block->next;
        shardy__free(block);
        block = next;
    }
    shardy__arena_init(a);
}

static char *add_block(arena *a, size_t len, int zeroed)
{
    size_t size = 0;
    if (!shardy__add_size(len, sizeof(arena_block), &size)) {
        return NULL;
    }
    arena_block *block = zeroed ? shardy__calloc(1, size) : shardy__malloc(size);
    if (!block) {
        return NULL;
    }
    block->next = a->blocks;
    a->blocks = block;
    a->total += size;
    return (char *)block + sizeof(arena_block);
}

void *shardy__arena_alloc(arena *a, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGN) {
        return NULL;
    }
    size_t len = size ? (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
    char *p;
    if (len <= a->left) {
        p = a->next;
        a->next += len;
        a->left -= len;
    } else if (len >= ARENA_BLOCK_LEN / 2) {
        /* A block of its own, so that the room in the current one is not lost. It is not cleared by
         * us: of a large one pages that nobody has touched yet cost no time. */
        return add_block(a, len, 1);
    } else {
        p = add_block(a, ARENA_BLOCK_LEN, 0);
        if (p) {
            a->next = p + len;
            a->left = ARENA_BLOCK_LEN - len;
        }
    }
    if (p) {
        memset(p, 0, len);
    }
    return p;
}

void *shardy__arena_calloc(arena *a, size_t count, size_t size)
{
    size_t total = 0;
    return shardy__mul_size(count, size, &total) ? shardy__arena_alloc(a, total) : NULL;
}

char *shardy__arena_strndup(arena *a, const void *text, size_t len)
{
    size_t size = 0;
    char *copy = shardy__add_size(len, 1, &size) ? shardy__arena_alloc(a, size) : NULL;
    if (copy && len) {
        memcpy(copy, text, len);
    }
    return copy;
}

char *shardy__arena_strdup(arena *a, const char *text)
{
    return shardy__arena_strndup(a, text, strlen(text));
}
