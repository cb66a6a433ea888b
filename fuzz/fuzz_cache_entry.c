/* Tails of files in the cache. The first eight bytes are the length of the file, little-endian, the
 * rest is its tail.
 *
 * Property: a tail that is taken is the one that is written for what it says, and the file has the
 * length of an entry for that. */
#include "require.h"

#include "base/bytes.h"
#include "store/cache_entry.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[CACHE_TAIL_LEN];
    cache_tail tail;
    uint64_t len;
    if (size != 8 + CACHE_TAIL_LEN) {
        return 0;
    }
    uint64_t file_len = shardy__get_le64(data);
    if (!shardy__cache_tail_parse(data + 8, file_len, &tail)) {
        require_that(tail.size == 0);
        return 0;
    }
    require_that(shardy__cache_entry_len(tail.size, &len) && len == file_len);
    require_that(len - tail.size >= CACHE_TAIL_LEN);
    require_that(
        (len - tail.size - CACHE_TAIL_LEN) / SHARDY_SHA256_LEN == shardy__chunk_count(tail.size));
    shardy__cache_tail_write(&tail, again);
    require_that(memcmp(again, data + 8, sizeof again) == 0);
    return 0;
}
