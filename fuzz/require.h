/* require.h: properties of fuzz targets, and texts compared. */
#ifndef SHARDY_FUZZ_REQUIRE_H
#define SHARDY_FUZZ_REQUIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "property does not hold: %s\n", what);
        abort();
    }
}

/* For properties that say themselves what they are. */
#define require_that(holds) require((holds), #holds)

/* The input as a text with a zero behind it. Ownership: yours, free() it. */
static inline char *copy_text(const void *data, size_t size)
{
    char *text = malloc(size + 1);
    require(text != NULL, "there is memory");
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    return text;
}

static inline int same_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static inline int same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

#endif
