/* manifest_store_object.c: manifests and the pointer as objects of a store. */
#include "manifest_store.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/digest.h"
#include "../store/store_bound.h"
#include "../store/transfer.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_PAGE 1000u

typedef struct object_manifest_store {
    shardy_store *store;
    char *pointer_key;
    int32_t sync;
} object_manifest_store;

static void read_pointer(
    const object_manifest_store *m, uint64_t len, const shardy_etag *known, shardy_store_read *read)
{
    memset(read, 0, sizeof *read);
    read->key = shardy__bytes(m->pointer_key, strlen(m->pointer_key));
    read->len = len;
    read->whole = 1;
    read->if_none_match = known && known->text[0] ? known->text : NULL;
    shardy_store_read_all(m->store, read, 1);
}

static shardy_status object_load_current(
    void *store, shardy_manifest_current *current_out, shardy_error *err)
{
    const object_manifest_store *m = store;
    shardy_store_read read;
    read_pointer(m, SHARDY_CURRENT_LEN_MAX + 1, current_out->known, &read);
    if (read.status == SHARDY_OK && !read.meta.etag.text[0] &&
        read.body.len > SHARDY_CURRENT_LEN_MAX) {
        /* A directory tells the version of what is read whole. One that is too long is damaged, and
         * is replaced by its version like any other. */
        shardy_buf_release(&read.body);
        read_pointer(m, SHARDY_FS_ETAG_LEN_MAX, NULL, &read);
    }
    current_out->body = read.body;
    if (read.status == SHARDY_OK) {
        current_out->version = read.meta.etag;
    }
    if (read.status < 0 && err) {
        *err = read.error;
    }
    return (shardy_status)read.status;
}

/* How long it is, is known with its begin: what is too long is read no further. */
static shardy_status load_rest(
    const object_manifest_store *m, const char *ref, shardy_store_read *first, shardy_error *err)
{
    transfer_options o;
    if (first->meta.size > SHARDY_MANIFEST_LEN_MAX) {
        return shardy__error(err, SHARDY_CORRUPT, "manifest",
            "\"%.300s\" has %llu bytes, the limit is %u", ref, (unsigned long long)first->meta.size,
            SHARDY_MANIFEST_LEN_MAX);
    }
    shardy__transfer_options_init(&o);
    o.range_len = MANIFEST_BEGIN_LEN;
    shardy_status st = shardy__transfer_rest(m->store, ref, first, &o, err);
    if (st == SHARDY_CONFLICT) {
        return shardy__error(
            err, SHARDY_CHECKSUM, "manifest", "\"%.300s\" changed while it was read", ref);
    }
    if (st == SHARDY_GONE) {
        shardy__error_clear(err);
        return SHARDY_NOT_FOUND;
    }
    return st;
}

static shardy_status object_load(
    void *store, const char *ref, shardy_buf *image_out, shardy_error *err)
{
    const object_manifest_store *m = store;
    shardy_store_read first;
    memset(&first, 0, sizeof first);
    first.key = shardy__bytes(ref, strlen(ref));
    first.len = MANIFEST_BEGIN_LEN;
    first.whole = 1;
    shardy_store_read_all(m->store, &first, 1);
    shardy_status st = (shardy_status)first.status;
    if (st < 0 && err) {
        *err = first.error;
    }
    if (st == SHARDY_OK && first.meta.size > first.body.len) {
        st = load_rest(m, ref, &first, err);
    }
    if (st == SHARDY_OK) {
        *image_out = first.body;
    } else {
        shardy_buf_release(&first.body);
    }
    return st;
}

/* Entries being collected. */
typedef struct list_builder {
    arena arena;
    shardy_manifest_entry *entries;
    size_t count;
    size_t room;
} list_builder;

static void list_dispose(shardy_manifest_list *list)
{
    list_builder *b = list->owner;
    if (b) {
        shardy__arena_free(&b->arena);
        shardy__free(b->entries);
        shardy__free(b);
    }
}

static shardy_status list_add(list_builder *b, const char *key, shardy_error *err)
{
    size_t dir_len = strlen(MANIFEST_DIR);
    size_t name_len = strlen(MANIFEST_NAME);
    size_t len = strlen(key);
    const char *run_id;
    size_t run_id_len;
    int64_t us;
    if (len <= dir_len + name_len || strcmp(key + len - name_len, MANIFEST_NAME) != 0 ||
        !shardy__manifest_dir_parse(
            key + dir_len, len - dir_len - name_len, &run_id, &run_id_len, &us)) {
        return SHARDY_OK; /* something else: not ours to judge */
    }
    if (b->count == b->room) {
        size_t room = b->room ? b->room * 2 : 64;
        shardy_manifest_entry *entries = shardy__realloc(b->entries, room * sizeof *entries);
        if (!entries) {
            return shardy__error_nomem(err, "catalog");
        }
        b->entries = entries;
        b->room = room;
    }
    shardy_manifest_entry *e = &b->entries[b->count];
    e->ref = shardy__arena_strdup(&b->arena, key);
    e->run_id = shardy__arena_strndup(&b->arena, run_id, run_id_len);
    e->published_us = us;
    if (!e->ref || !e->run_id) {
        return shardy__error_nomem(err, "catalog");
    }
    b->count++;
    return SHARDY_OK;
}

/* Newest first; of the same time, in order of their names, as the reference lists them. */
static int compare_entries(const void *a, const void *b)
{
    const shardy_manifest_entry *x = a;
    const shardy_manifest_entry *y = b;
    if (x->published_us != y->published_us) {
        return x->published_us > y->published_us ? -1 : 1;
    }
    return strcmp(x->ref, y->ref);
}

static shardy_status list_all(object_manifest_store *m, list_builder *b, shardy_error *err)
{
    char *token = NULL;
    shardy_status st = SHARDY_OK;
    do {
        shardy_store_page page = {0};
        /* Object by object, not by directory: one that holds the digests of a manifest without the
         * manifest, half written or half removed, is none. */
        st = shardy_store_list(m->store, MANIFEST_DIR, 0, token, LIST_PAGE, &page, err);
        shardy__free(token);
        token = NULL;
        for (size_t i = 0; st >= 0 && i < page.count; i++) {
            st = list_add(b, page.entries[i].key, err);
        }
        if (st >= 0 && page.next_token) {
            token = shardy__strdup(page.next_token);
            st = token ? SHARDY_OK : shardy__error_nomem(err, "catalog");
        }
        shardy_store_page_dispose(&page);
    } while (st >= 0 && token);
    shardy__free(token);
    return st;
}

static shardy_status object_list(
    void *store, size_t limit, shardy_manifest_list *list_out, shardy_error *err)
{
    list_builder *b = shardy__calloc(1, sizeof *b);
    if (!b) {
        return shardy__error_nomem(err, "catalog");
    }
    shardy__arena_init(&b->arena);
    list_out->owner = b;
    list_out->dispose = list_dispose;
    shardy_status st = list_all(store, b, err);
    if (st < 0) {
        shardy__manifest_list_dispose(list_out);
        return st;
    }
    if (b->count > 1) {
        qsort(b->entries, b->count, sizeof *b->entries, compare_entries);
    }
    list_out->entries = b->entries;
    list_out->count = b->count < limit ? b->count : limit;
    return SHARDY_OK;
}

static shardy_status put_object(const object_manifest_store *m, shardy_store_put *put,
    shardy_etag *version_out, shardy_error *err)
{
    shardy_object_meta meta;
    memset(&meta, 0, sizeof meta);
    put->sync = m->sync;
    SHARDY_TRY(shardy_store_put_object(m->store, put, &meta, err));
    if (version_out) {
        *version_out = meta.etag;
    }
    return SHARDY_OK;
}

/* A manifest of more than one chunk has its list of chunk digests beside it, written first: a
 * manifest that is there is complete. */
static shardy_status object_add(void *store, const char *ref, shardy_bytes image, shardy_error *err)
{
    object_manifest_store *m = store;
    if (shardy__chunk_count(image.len) > 1) {
        chunk_digest d;
        sha256 digest;
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 16];
        snprintf(key, sizeof key, "%s.sums", ref);
        shardy__chunk_digest_init(&d);
        shardy_status st = shardy__chunk_digest_add(&d, image.data, image.len, err);
        if (st >= 0) {
            st = shardy__chunk_digest_finish(&d, &digest, err);
        }
        if (st >= 0) {
            shardy_store_put put = {0};
            put.key = shardy__bytes(key, strlen(key));
            put.condition = SHARDY_PUT_ALWAYS;
            put.body = shardy__bytes(d.sums, d.count * sizeof *d.sums);
            put.content_type = "application/octet-stream";
            st = put_object(m, &put, NULL, err);
        }
        shardy__chunk_digest_free(&d);
        SHARDY_TRY(st);
    }
    shardy_store_put put = {0};
    put.key = shardy__bytes(ref, strlen(ref));
    put.condition = SHARDY_PUT_IF_ABSENT;
    put.body = image;
    put.content_type = "application/x-sqlite3";
    return put_object(m, &put, NULL, err);
}

static shardy_status object_set_current(void *store, shardy_manifest_move *move, shardy_error *err)
{
    object_manifest_store *m = store;
    shardy_store_put put = {0};
    shardy_error error;
    shardy__error_clear(&error);
    put.key = shardy__bytes(m->pointer_key, strlen(m->pointer_key));
    put.condition = move->expected->text[0] ? SHARDY_PUT_IF_MATCH : SHARDY_PUT_IF_ABSENT;
    put.etag = move->expected->text;
    put.body = move->body;
    put.content_type = POINTER_CONTENT_TYPE;
    shardy_status st = put_object(m, &put, &move->version, &error);
    if (st == SHARDY_EXISTS) {
        st = shardy__error_as(&error, SHARDY_CONFLICT);
    }
    if (st < 0) {
        move->open = st != SHARDY_CONFLICT && error.retriable;
        if (err) {
            *err = error;
        }
    }
    return st;
}

/* The manifest and the list of its digests; what else may be in the directory is not ours. Both are
 * removed whatever the listing says, which only tells what is counted: it may be wrong, and no
 * manifest may stay without its shards. */
static shardy_status object_remove(
    void *store, const char *ref, uint64_t *removed_out, shardy_error *err)
{
    object_manifest_store *m = store;
    char dir[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    char sums[SHARDY_OBJECT_KEY_LEN_MAX + 16];
    shardy_store_page page = {0};
    int32_t results[2];
    uint64_t listed[2] = {0, 0};
    snprintf(dir, sizeof dir, "%.*s/", (int)(strlen(ref) - strlen(MANIFEST_NAME)), ref);
    snprintf(sums, sizeof sums, "%s.sums", ref);
    const shardy_bytes keys[2] = {{ref, strlen(ref)}, {sums, strlen(sums)}};
    /* the manifest and its digests come first among the names that begin with "manifest" */
    SHARDY_TRY(shardy_store_list(m->store, dir, 0, NULL, LIST_PAGE, &page, err));
    for (size_t i = 0; i < page.count; i++) {
        listed[0] |= strcmp(page.entries[i].key, ref) == 0;
        listed[1] |= strcmp(page.entries[i].key, sums) == 0;
    }
    shardy_store_page_dispose(&page);
    shardy_status st = shardy_store_remove(m->store, keys, 2, results, err);
    for (size_t i = 0; i < 2; i++) {
        *removed_out += results[i] >= 0 ? listed[i] : 0;
    }
    return st;
}

static void object_close(void *store)
{
    object_manifest_store *m = store;
    shardy__free(m->pointer_key);
    shardy__free(m);
}

static const shardy_manifest_store_ops object_ops = {
    .abi = SHARDY_MANIFEST_STORE_ABI,
    .struct_size = sizeof(shardy_manifest_store_ops),
    .name = "object",
    .load_current = object_load_current,
    .load = object_load,
    .list = object_list,
    .add = object_add,
    .set_current = object_set_current,
    .close = object_close,
    .remove = object_remove,
};

static shardy_status new_state(shardy_store *store, const char *pointer_key, int32_t sync,
    object_manifest_store **out, shardy_error *err)
{
    object_manifest_store *m = shardy__calloc(1, sizeof *m);
    char *key = shardy__strdup(pointer_key);
    *out = NULL;
    if (!m || !key) {
        shardy__free(key);
        shardy__free(m);
        return shardy__error_nomem(err, "catalog");
    }
    m->store = store;
    m->pointer_key = key;
    m->sync = sync;
    *out = m;
    return SHARDY_OK;
}

shardy_status shardy__manifest_store_open_object(shardy_store *store, const char *pointer_key,
    int32_t sync, manifest_store *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    object_manifest_store *m = NULL;
    object_manifest_store *after = NULL;
    shardy_store *ending = shardy__store_bound_after(store);
    SHARDY_TRY(new_state(store, pointer_key, sync, &m, err));
    if (ending != store) {
        shardy_status st = new_state(ending, pointer_key, sync, &after, err);
        if (st < 0) {
            object_close(m);
            return st;
        }
    }
    out->ops = &object_ops;
    out->state = m;
    out->after = after;
    return SHARDY_OK;
}
