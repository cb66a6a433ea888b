#include "page_cache.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/thread.h"

#include <string.h>

/* A chunk is LOADING while one thread reads it (others that want it wait), then READY until it is
 * evicted. A chunk that could not be read is taken out of the table, and whoever waited for it
 * tries for himself. */
typedef enum chunk_state {
    CHUNK_LOADING,
    CHUNK_READY
} chunk_state;

typedef struct chunk {
    struct chunk *next; /* of the same bucket */
    uint64_t index;
    uint32_t pins;
    uint32_t place; /* in `ring` */
    uint8_t state;
    uint8_t used; /* since the hand of the clock passed */
    size_t len;
    uint8_t data[];
} chunk;

/* Everything below `mutex` is guarded by it; the bytes of a READY chunk are constant, so pins are
 * read without it. No I/O and no hashing happen under it. */
typedef struct page_cache {
    int fd;
    uint64_t size;
    sha256 *sums;
    mutex mutex;
    condition loaded;
    chunk **buckets;
    size_t bucket_count; /* a power of two */
    chunk **ring;        /* all chunks, for the clock */
    size_t count;
    size_t room;
    size_t count_max; /* more only while they are pinned */
    size_t hand;
} page_cache;

static chunk **bucket_of(page_cache *cache, uint64_t index)
{
    return &cache->buckets[(index * 0x9E3779B97F4A7C15u >> 32) & (cache->bucket_count - 1)];
}

static chunk *find_chunk(page_cache *cache, uint64_t index)
{
    chunk *c = *bucket_of(cache, index);
    while (c && c->index != index) {
        c = c->next;
    }
    return c;
}

static void remove_chunk(page_cache *cache, chunk *c)
{
    chunk **link = bucket_of(cache, c->index);
    while (*link != c) {
        link = &(*link)->next;
    }
    *link = c->next;
    cache->ring[c->place] = cache->ring[--cache->count];
    cache->ring[c->place]->place = c->place;
    shardy__free(c);
}

/* Makes room for one more: second-chance clock over the chunks that nobody uses. */
static void evict_one(page_cache *cache)
{
    size_t steps = 2 * cache->count;
    while (cache->count >= cache->count_max && steps-- > 0) {
        cache->hand = cache->hand + 1 < cache->count ? cache->hand + 1 : 0;
        chunk *c = cache->ring[cache->hand];
        if (c->pins > 0 || c->state != CHUNK_READY) {
            continue;
        }
        if (c->used) {
            c->used = 0;
            continue;
        }
        remove_chunk(cache, c);
    }
}

static size_t chunk_len(const page_cache *cache, uint64_t index)
{
    uint64_t left = cache->size - (index << SHARDY_CHUNK_SHIFT);
    return left < SHARDY_CHUNK_LEN ? (size_t)left : SHARDY_CHUNK_LEN;
}

/* A new LOADING chunk with one pin, in the table. */
static shardy_status add_chunk(
    page_cache *cache, uint64_t index, chunk **chunk_out, shardy_error *err)
{
    evict_one(cache);
    if (cache->count == cache->room) {
        size_t room = cache->room * 2;
        chunk **ring = shardy__realloc(cache->ring, room * sizeof(chunk *));
        if (!ring) {
            return shardy__error_nomem(err, "sqlite");
        }
        cache->ring = ring;
        cache->room = room;
    }
    size_t len = chunk_len(cache, index);
    chunk *c = shardy__malloc(sizeof *c + len);
    if (!c) {
        return shardy__error_nomem(err, "sqlite");
    }
    c->index = index;
    c->pins = 1;
    c->state = CHUNK_LOADING;
    c->used = 1;
    c->len = len;
    c->place = (uint32_t)cache->count;
    cache->ring[cache->count++] = c;
    chunk **bucket = bucket_of(cache, index);
    c->next = *bucket;
    *bucket = c;
    *chunk_out = c;
    return SHARDY_OK;
}

/* Reads and checks the bytes of a chunk; without the mutex. */
static shardy_status load_chunk(page_cache *cache, chunk *c, shardy_error *err)
{
    uint64_t offset = c->index << SHARDY_CHUNK_SHIFT;
    SHARDY_TRY(shardy__file_read_at(cache->fd, offset, c->data, c->len, err));
    if (!cache->sums) {
        return SHARDY_OK;
    }
    sha256 sum;
    SHARDY_TRY(shardy__sha256(c->data, c->len, &sum, err));
    if (memcmp(&sum, &cache->sums[c->index], sizeof sum) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "sqlite",
            "the %zu bytes at offset %llu differ from their digest", c->len,
            (unsigned long long)offset);
    }
    return SHARDY_OK;
}

/* Pins a chunk, reading it if need be. A thread reads one chunk to its end before it waits for
 * another, so waiting threads cannot wait for each other. */
static shardy_status pin_chunk(
    page_cache *cache, uint64_t index, chunk **chunk_out, shardy_error *err)
{
    shardy__mutex_lock(&cache->mutex);
    chunk *c = find_chunk(cache, index);
    while (c && c->state == CHUNK_LOADING) {
        shardy__condition_wait(&cache->loaded, &cache->mutex);
        c = find_chunk(cache, index);
    }
    if (c) {
        c->pins++;
        c->used = 1;
        shardy__mutex_unlock(&cache->mutex);
        *chunk_out = c;
        return SHARDY_OK;
    }
    shardy_status st = add_chunk(cache, index, &c, err);
    shardy__mutex_unlock(&cache->mutex);
    if (st < 0) {
        return st;
    }
    st = load_chunk(cache, c, err);
    shardy__mutex_lock(&cache->mutex);
    if (st < 0) {
        remove_chunk(cache, c);
    } else {
        c->state = CHUNK_READY;
        *chunk_out = c;
    }
    shardy__condition_broadcast(&cache->loaded);
    shardy__mutex_unlock(&cache->mutex);
    return st;
}

static shardy_status cache_get(
    void *state, uint64_t offset, size_t len, page_ref *ref_out, shardy_error *err)
{
    (void)len;
    (void)err;
    page_cache *cache = state;
    shardy__mutex_lock(&cache->mutex);
    chunk *c = find_chunk(cache, offset >> SHARDY_CHUNK_SHIFT);
    int ready = c && c->state == CHUNK_READY;
    if (ready) {
        c->pins++;
        c->used = 1;
        ref_out->data = c->data + (offset & (SHARDY_CHUNK_LEN - 1));
        ref_out->pin = c;
    }
    shardy__mutex_unlock(&cache->mutex);
    return ready ? SHARDY_OK : SHARDY_PENDING;
}

static shardy_status cache_fetch(
    void *state, size_t page_size, page_want *const *wants, size_t count, shardy_error *err)
{
    page_cache *cache = state;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)(wants[i]->page - 1) * page_size;
        chunk *c = NULL;
        SHARDY_TRY(pin_chunk(cache, offset >> SHARDY_CHUNK_SHIFT, &c, err));
        wants[i]->ref.data = c->data + (offset & (SHARDY_CHUNK_LEN - 1));
        wants[i]->ref.pin = c;
    }
    return SHARDY_OK;
}

static void cache_unpin(void *state, page_ref *ref)
{
    page_cache *cache = state;
    chunk *c = ref->pin;
    shardy__mutex_lock(&cache->mutex);
    c->pins--;
    if (c->pins == 0 && cache->count > cache->count_max) {
        remove_chunk(cache, c);
    }
    shardy__mutex_unlock(&cache->mutex);
}

static void cache_close(void *state)
{
    page_cache *cache = state;
    for (size_t i = 0; i < cache->count; i++) {
        shardy__free(cache->ring[i]);
    }
    shardy__condition_destroy(&cache->loaded);
    shardy__mutex_destroy(&cache->mutex);
    shardy__file_close(cache->fd);
    shardy__free(cache->buckets);
    shardy__free(cache->ring);
    shardy__free(cache->sums);
    shardy__free(cache);
}

const page_source_ops shardy__page_cache_ops = {cache_get, cache_fetch, cache_unpin, cache_close};

shardy_status shardy__page_cache_new_take(
    int fd, uint64_t size, sha256 *sums, size_t cache_bytes, void **cache_out, shardy_error *err)
{
    *cache_out = NULL;
    size_t count_max = cache_bytes >> SHARDY_CHUNK_SHIFT;
    uint64_t chunks = shardy__chunk_count(size);
    count_max = count_max > chunks ? (size_t)chunks : count_max;
    count_max = count_max ? count_max : 1;
    size_t bucket_count = 16;
    while (bucket_count < count_max) {
        bucket_count *= 2;
    }
    page_cache *cache = shardy__calloc(1, sizeof *cache);
    chunk **buckets = shardy__calloc(bucket_count, sizeof(chunk *));
    chunk **ring = shardy__malloc((count_max + 1) * sizeof(chunk *));
    if (!cache || !buckets || !ring) {
        shardy__free(cache);
        shardy__free(buckets);
        shardy__free(ring);
        shardy__free(sums);
        shardy__file_close(fd);
        return shardy__error_nomem(err, "sqlite");
    }
    cache->fd = fd;
    cache->size = size;
    cache->sums = sums;
    cache->buckets = buckets;
    cache->bucket_count = bucket_count;
    cache->ring = ring;
    cache->room = count_max + 1;
    cache->count_max = count_max;
    shardy__mutex_init(&cache->mutex);
    shardy__condition_init(&cache->loaded);
    *cache_out = cache;
    return SHARDY_OK;
}
