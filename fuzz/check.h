/* Documents with a digest of themselves: mutations that get past it. */
#ifndef SHARDY_FUZZ_CHECK_H
#define SHARDY_FUZZ_CHECK_H

#include "base/digest.h"

#include <string.h>

/* Puts the digest of the text into its "check", which no mutation gets right. */
static inline void repair_check(char *text, size_t size)
{
    static const char name[] = "\"check\":";
    size_t name_len = sizeof name - 1;
    for (size_t i = 0; i + name_len + 66 <= size; i++) {
        char *at = text + i + name_len;
        if (memcmp(text + i, name, name_len) != 0) {
            continue;
        }
        at += *at == ' ';
        at += *at == '"';
        sha256 digest;
        char digits[65];
        memset(at, '0', 64);
        if (shardy__sha256(text, size, &digest, NULL) == SHARDY_OK) {
            shardy__sha256_hex(&digest, digits);
            memcpy(at, digits, 64);
        }
        return;
    }
}

#endif
