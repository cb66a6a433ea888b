/* map.h: a hash map from byte strings to pointers. Keys are copied, values are the caller's. */
#ifndef SHARDY_BASE_MAP_H
#define SHARDY_BASE_MAP_H

#include "error.h"

typedef struct map_entry {
    char *key; /* zero-terminated copy; NULL: free place */
    size_t key_len;
    uint64_t hash;
    void *value;
} map_entry;

typedef struct map {
    map_entry *entries;
    size_t count;
    size_t room; /* power of two or 0 */
} map;

void shardy__map_init(map *m);
void shardy__map_free(map *m);
void *shardy__map_get(const map *m, const void *key, size_t len); /* NULL: none */
/* Puts or replaces; *old_out (may be NULL) gets the replaced value. */
shardy_status shardy__map_put(
    map *m, const void *key, size_t len, void *value, void **old_out, shardy_error *err);
void *shardy__map_remove(map *m, const void *key, size_t len); /* the value, NULL: there was none */
/* Next entry from *pos (start with 0), or NULL; in no particular order. */
const map_entry *shardy__map_next(const map *m, size_t *pos);

#endif
