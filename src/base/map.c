#include "map.h"

#include "alloc.h"

#include <string.h>
#include <xxhash.h>

void shardy__map_init(map *m)
{
    memset(m, 0, sizeof *m);
}

void shardy__map_free(map *m)
{
    for (size_t i = 0; i < m->room; i++) {
        shardy__free(m->entries[i].key);
    }
    shardy__free(m->entries);
    shardy__map_init(m);
}

/* The place of a key, or the free place where it belongs. There is always a free one. */
static size_t find_place(const map *m, const void *key, size_t len, uint64_t hash)
{
    size_t i = hash & (m->room - 1);
    while (m->entries[i].key) {
        const map_entry *e = &m->entries[i];
        if (e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0) {
            return i;
        }
        i = (i + 1) & (m->room - 1);
    }
    return i;
}

void *shardy__map_get(const map *m, const void *key, size_t len)
{
    if (m->room == 0) {
        return NULL;
    }
    return m->entries[find_place(m, key, len, XXH3_64bits(key, len))].value;
}

static shardy_status grow(map *m, shardy_error *err)
{
    map bigger = {0};
    bigger.room = m->room ? m->room * 2 : 16;
    bigger.count = m->count;
    bigger.entries = shardy__calloc(bigger.room, sizeof *bigger.entries);
    if (!bigger.entries) {
        return shardy__error_nomem(err, "map");
    }
    for (size_t i = 0; i < m->room; i++) {
        map_entry *e = &m->entries[i];
        if (e->key) {
            bigger.entries[find_place(&bigger, e->key, e->key_len, e->hash)] = *e;
        }
    }
    shardy__free(m->entries);
    *m = bigger;
    return SHARDY_OK;
}

shardy_status shardy__map_put(
    map *m, const void *key, size_t len, void *value, void **old_out, shardy_error *err)
{
    if (old_out) {
        *old_out = NULL;
    }
    if ((m->count + 1) * 4 > m->room * 3) {
        SHARDY_TRY(grow(m, err));
    }
    uint64_t hash = XXH3_64bits(key, len);
    map_entry *e = &m->entries[find_place(m, key, len, hash)];
    if (e->key) {
        if (old_out) {
            *old_out = e->value;
        }
        e->value = value;
        return SHARDY_OK;
    }
    char *copy = shardy__strndup(key, len);
    if (!copy) {
        return shardy__error_nomem(err, "map");
    }
    e->key = copy;
    e->key_len = len;
    e->hash = hash;
    e->value = value;
    m->count++;
    return SHARDY_OK;
}

void *shardy__map_remove(map *m, const void *key, size_t len)
{
    if (m->room == 0) {
        return NULL;
    }
    size_t hole = find_place(m, key, len, XXH3_64bits(key, len));
    if (!m->entries[hole].key) {
        return NULL;
    }
    void *value = m->entries[hole].value;
    shardy__free(m->entries[hole].key);
    memset(&m->entries[hole], 0, sizeof m->entries[hole]);
    m->count--;
    /* Entries after the hole that a search would no longer reach move up. */
    for (size_t i = (hole + 1) & (m->room - 1); m->entries[i].key; i = (i + 1) & (m->room - 1)) {
        size_t home = m->entries[i].hash & (m->room - 1);
        if (((i - home) & (m->room - 1)) >= ((i - hole) & (m->room - 1))) {
            m->entries[hole] = m->entries[i];
            memset(&m->entries[i], 0, sizeof m->entries[i]);
            hole = i;
        }
    }
    return value;
}

const map_entry *shardy__map_next(const map *m, size_t *pos)
{
    while (*pos < m->room) {
        const map_entry *e = &m->entries[(*pos)++];
        if (e->key) {
            return e;
        }
    }
    return NULL;
}
