#include "cache_entry.h"

#include "../base/alloc.h"
#include "../base/bytes.h"

#include <string.h>

#define MAGIC_LEN 24u

static const char magic[MAGIC_LEN] = "shardyfusion cache 1";

void shardy__cache_tail_write(const cache_tail *tail, uint8_t out[CACHE_TAIL_LEN])
{
    memcpy(out, magic, MAGIC_LEN);
    shardy__put_le64(out + 24, tail->size);
    memcpy(out + 32, tail->name.bytes, SHARDY_SHA256_LEN);
    memcpy(out + 64, tail->digest.bytes, SHARDY_SHA256_LEN);
}

int shardy__cache_tail_parse(
    const uint8_t bytes[CACHE_TAIL_LEN], uint64_t file_size, cache_tail *tail_out)
{
    uint64_t len;
    memset(tail_out, 0, sizeof *tail_out);
    uint64_t size = shardy__get_le64(bytes + 24);
    if (memcmp(bytes, magic, MAGIC_LEN) != 0 || !shardy__cache_entry_len(size, &len) ||
        len != file_size) {
        return 0;
    }
    tail_out->size = size;
    memcpy(tail_out->name.bytes, bytes + 32, SHARDY_SHA256_LEN);
    memcpy(tail_out->digest.bytes, bytes + 64, SHARDY_SHA256_LEN);
    return 1;
}

int shardy__cache_entry_len(uint64_t size, uint64_t *len_out)
{
    uint64_t sums = size / SHARDY_CHUNK_LEN + (size % SHARDY_CHUNK_LEN != 0);
    uint64_t len;
    return shardy__add_u64(size, sums * SHARDY_SHA256_LEN, &len) &&
           shardy__add_u64(len, CACHE_TAIL_LEN, len_out) && *len_out <= INT64_MAX;
}
