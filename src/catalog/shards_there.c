#include "shards_there.h"

#include "../base/alloc.h"

#include <stdio.h>
#include <string.h>

/* Objects that are looked for at once. */
#define AT_ONCE 64u
/* Directories that are listed, one after the other: a run that was removed has lost all of them. */
#define LISTED_MAX 16u

typedef struct search {
    const catalog *catalog;
    const manifest *manifest;
    uint32_t listed;
    shardy_store_read reads[AT_ONCE];
    char keys[AT_ONCE][SHARDY_OBJECT_KEY_LEN_MAX + 16];
} search;

/* The key of the object number `i`; "" when that shard is empty. */
static shardy_status name_object(search *s, size_t i, char *key, shardy_error *err)
{
    const manifest *m = s->manifest;
    key[0] = '\0';
    if (m->has_objects) {
        snprintf(key, sizeof s->keys[0], "%s", m->objects[i].path);
    } else if (m->shards[i].db_url) {
        SHARDY_TRY(shardy__manifest_shard_path(m, &m->shards[i], key, err));
        size_t len = strlen(key);
        snprintf(key + len, sizeof s->keys[0] - len, "/shard.db");
    }
    return SHARDY_OK;
}

static shardy_status judge(search *s, size_t i, const shardy_store_read *read, shardy_error *err)
{
    int32_t found = 0;
    if (read->status < 0 && err) {
        *err = read->error;
    }
    if (read->status != SHARDY_NOT_FOUND) {
        return (shardy_status)read->status;
    }
    if (!s->manifest->has_objects) { /* other engines have other names */
        if (s->listed++ >= LISTED_MAX) {
            return SHARDY_OK;
        }
        const manifest_shard *shard = &s->manifest->shards[i];
        SHARDY_TRY(shardy__catalog_find_shard(s->catalog, s->manifest, shard, &found, err));
    }
    return found ? SHARDY_OK
                 : shardy__error(err, SHARDY_GONE, "rollback",
                       "run \"%.128s\" is not whole any more: \"%.300s\" is missing",
                       s->manifest->run_id, (const char *)read->key.data);
}

/* The objects from number `first` on, as many as are looked for at once. */
static shardy_status find_some(search *s, size_t first, size_t end, shardy_error *err)
{
    size_t numbers[AT_ONCE];
    size_t n = 0;
    shardy_status st = SHARDY_OK;
    memset(s->reads, 0, sizeof s->reads);
    for (size_t i = first; i < end; i++) {
        SHARDY_TRY(name_object(s, i, s->keys[n], err));
        if (s->keys[n][0]) {
            s->reads[n].key = shardy__bytes(s->keys[n], strlen(s->keys[n]));
            numbers[n++] = i; /* of no bytes: whether it is there */
        }
    }
    shardy_store_read_all(s->catalog->store, s->reads, n);
    for (size_t i = 0; i < n; i++) {
        shardy_buf_release(&s->reads[i].body);
        if (st >= 0) {
            st = judge(s, numbers[i], &s->reads[i], err);
        }
    }
    return st;
}

shardy_status shardy__catalog_find_shards(const catalog *c, const manifest *m, shardy_error *err)
{
    const size_t count = m->has_objects ? m->object_count : m->shard_count;
    search *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "rollback");
    }
    s->catalog = c;
    s->manifest = m;
    shardy_status st = SHARDY_OK;
    for (size_t at = 0; st >= 0 && at < count; at += AT_ONCE) {
        st = find_some(s, at, count - at < AT_ONCE ? count : at + AT_ONCE, err);
    }
    shardy__free(s);
    return st < 0 ? st : SHARDY_OK;
}
