/* alloc.h: memory and size arithmetic. alloc.c is the only file that calls malloc. */
#ifndef SHARDY_BASE_ALLOC_H
#define SHARDY_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Uninitialised memory; NULL when there is none. A size of 0 gives a block that can be freed. */
void *shardy__malloc(size_t size);
/* Zeroed memory for count * size bytes; NULL when there is none or the product overflows. */
void *shardy__calloc(size_t count, size_t size);
/* Like realloc; the old block stays when it fails. */
void *shardy__realloc(void *block, size_t size);
/* Memory at a multiple of `align`, a power of two and a multiple of sizeof(void *). */
void *shardy__aligned_alloc(size_t align, size_t size);
/* Memory for much data that is read in no order, aligned to 16 at least: in huge pages where the
 * system has them, which saves most of the page faults and address translations. */
void *shardy__large_alloc(size_t size);
/* NULL is fine. Frees what any of the above returned. */
void shardy__free(void *block);
/* Copies, zero-terminated; NULL when there is no memory. */
char *shardy__strdup(const char *text);
char *shardy__strndup(const void *text, size_t len);

/* True and the result, or false when it overflows. */
static inline bool shardy__add_size(size_t a, size_t b, size_t *sum_out)
{
    return !__builtin_add_overflow(a, b, sum_out);
}

static inline bool shardy__mul_size(size_t a, size_t b, size_t *product_out)
{
    return !__builtin_mul_overflow(a, b, product_out);
}

static inline bool shardy__add_u64(uint64_t a, uint64_t b, uint64_t *sum_out)
{
    return !__builtin_add_overflow(a, b, sum_out);
}

static inline bool shardy__mul_u64(uint64_t a, uint64_t b, uint64_t *product_out)
{
    return !__builtin_mul_overflow(a, b, product_out);
}

#endif
