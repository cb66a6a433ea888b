#include "alloc.h"

#include "fault.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of x86-64 and of most others; where it is another size nothing is lost. */
#define HUGE_PAGE_LEN ((size_t)2 << 20)

#ifdef SHARDY_FAULT_POINTS
#include <stdatomic.h>

static _Atomic uint64_t live_allocations;

static void *count_block(void *block)
{
    if (block) {
        atomic_fetch_add_explicit(&live_allocations, 1, memory_order_relaxed);
    }
    return block;
}

static void uncount_block(const void *block)
{
    if (block) {
        atomic_fetch_sub_explicit(&live_allocations, 1, memory_order_relaxed);
    }
}

uint64_t shardy_testing_live_allocations(void)
{
    return atomic_load(&live_allocations);
}

#else

#define count_block(block)   (block)
#define uncount_block(block) ((void)(block))

uint64_t shardy_testing_live_allocations(void)
{
    return 0;
}

#endif

void *shardy__malloc(size_t size)
{
    if (shardy__fault(SHARDY_FAULT_ALLOC)) {
        return NULL;
    }
    return count_block(malloc(size ? size : 1));
}

void *shardy__calloc(size_t count, size_t size)
{
    if (shardy__fault(SHARDY_FAULT_ALLOC)) {
        return NULL;
    }
    return count_block(calloc(count ? count : 1, size ? size : 1));
}

void *shardy__realloc(void *block, size_t size)
{
    if (shardy__fault(SHARDY_FAULT_ALLOC)) {
        return NULL;
    }
    if (!block) {
        return count_block(malloc(size ? size : 1));
    }
    return realloc(block, size ? size : 1);
}

void *shardy__aligned_alloc(size_t align, size_t size)
{
    if (shardy__fault(SHARDY_FAULT_ALLOC)) {
        return NULL;
    }
    void *block = NULL;
    if (posix_memalign(&block, align, size ? size : 1) != 0) {
        return NULL;
    }
    return count_block(block);
}

void *shardy__large_alloc(size_t size)
{
    if (size < 2 * HUGE_PAGE_LEN) {
        return shardy__aligned_alloc(16, size);
    }
    void *block = shardy__aligned_alloc(HUGE_PAGE_LEN, size);
#if defined(MADV_HUGEPAGE)
    if (block) {
        (void)madvise(block, size & ~(HUGE_PAGE_LEN - 1), MADV_HUGEPAGE); /* a hint */
    }
#endif
    return block;
}

void shardy__free(void *block)
{
    uncount_block(block);
    free(block);
}

char *shardy__strndup(const void *text, size_t len)
{
    size_t size = 0;
    if (!shardy__add_size(len, 1, &size)) {
        return NULL;
    }
    char *copy = shardy__malloc(size);
    if (copy) {
        if (len) {
            memcpy(copy, text, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

char *shardy__strdup(const char *text)
{
    return shardy__strndup(text, strlen(text));
}
