/* sums_testing.h: the digest of an object by its chunks, and the list of them that lies beside
 * it. */
#ifndef SHARDY_TESTS_SUMS_TESTING_H
#define SHARDY_TESTS_SUMS_TESTING_H

#include "support.h"

#include "base/digest.h"

/* The digest. Free the list with shardy__chunk_digest_free(). */
static inline sha256 sums_make(chunk_digest *list_out, const void *data, size_t len)
{
    shardy_error err = {0};
    sha256 digest;
    shardy__chunk_digest_init(list_out);
    assert_ok(shardy__chunk_digest_add(list_out, data, len, &err));
    assert_ok(shardy__chunk_digest_finish(list_out, &digest, &err));
    return digest;
}

/* The digest alone. */
static inline sha256 sums_digest(const void *data, size_t len)
{
    chunk_digest list;
    sha256 digest = sums_make(&list, data, len);
    shardy__chunk_digest_free(&list);
    return digest;
}

#endif
