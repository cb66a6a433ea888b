/* store_fs.c: a directory as a store.
 *
 * Keys are resolved below the root without following any link, by the kernel where it can
 * (fs.h). What is a regular file is an object; anything else is not, and is never read. */
#include "store_fs.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/digest.h"

#include <string.h>

void shardy_store_fs_options_init(shardy_store_fs_options *options, size_t struct_size)
{
    shardy_store_fs_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.sync = 1;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

void shardy__store_fs_split_key(shardy_bytes key, fs_key *out)
{
    memcpy(out->text, key.data, key.len);
    out->text[key.len] = '\0';
    const char *slash = strrchr(out->text, '/');
    size_t parent = slash ? (size_t)(slash - out->text) : 0;
    memcpy(out->parent, out->text, parent);
    out->parent[parent] = '\0';
    out->name = slash ? slash + 1 : out->text;
}

/* --- versions ----------------------------------------------------------------------------- */

shardy_status shardy__store_fs_etag_of_bytes(
    const void *data, size_t len, shardy_etag *etag_out, shardy_error *err)
{
    sha256 digest;
    etag_out->text[0] = '\0';
    SHARDY_TRY(shardy__sha256(data, len, &digest, err));
    shardy__sha256_hex(&digest, etag_out->text);
    return SHARDY_OK;
}

shardy_status shardy__store_fs_etag(int fd, uint64_t size, shardy_etag *etag_out, shardy_error *err)
{
    etag_out->text[0] = '\0';
    if (size > SHARDY_FS_ETAG_LEN_MAX) {
        return SHARDY_OK;
    }
    uint8_t *data = shardy__malloc((size_t)size);
    if (!data) {
        return shardy__error_nomem(err, "store");
    }
    shardy_status st = shardy__file_read_at(fd, 0, data, (size_t)size, err);
    if (st >= 0) {
        st = shardy__store_fs_etag_of_bytes(data, (size_t)size, etag_out, err);
    }
    shardy__free(data);
    return st;
}

/* --- reading ------------------------------------------------------------------------------ */

static shardy_status check_version(shardy_store_read *r)
{
    const char *etag = r->meta.etag.text;
    if (!r->if_match && !r->if_none_match) {
        return SHARDY_OK;
    }
    if (etag[0] == '\0') {
        return shardy__error(&r->error, SHARDY_UNSUPPORTED, "store",
            "the version of an object of %llu bytes is not told, the limit is %u",
            (unsigned long long)r->meta.size, SHARDY_FS_ETAG_LEN_MAX);
    }
    if (r->if_match && strcmp(r->if_match, etag) != 0) {
        return shardy__error(&r->error, SHARDY_CONFLICT, "store",
            "the object has the version \"%s\", expected \"%.80s\"", etag, r->if_match);
    }
    return r->if_none_match && strcmp(r->if_none_match, etag) == 0 ? SHARDY_NOT_MODIFIED
                                                                   : SHARDY_OK;
}

static size_t range_len(const shardy_store_read *r)
{
    uint64_t left = r->offset < r->meta.size ? r->meta.size - r->offset : 0;
    uint64_t len = r->len < left ? r->len : left;
    return len < SIZE_MAX ? (size_t)len : SIZE_MAX;
}

/* The version depends on all of the object: it is read whole. */
static shardy_status read_whole(int fd, shardy_store_read *r)
{
    size_t size = (size_t)r->meta.size;
    uint8_t *data = shardy__malloc(size);
    if (!data) {
        return shardy__error_nomem(&r->error, "store");
    }
    shardy_status st = shardy__file_read_at(fd, 0, data, size, &r->error);
    if (st >= 0) {
        st = shardy__store_fs_etag_of_bytes(data, size, &r->meta.etag, &r->error);
    }
    if (st >= 0) {
        st = check_version(r);
    }
    size_t len = range_len(r);
    if (st == SHARDY_OK) {
        r->received = len;
        if (r->dest && len > 0) {
            memcpy(r->dest, data + r->offset, len);
        } else if (!r->dest && len == size) {
            shardy__buf_own(data, len, &r->body);
            data = NULL;
        } else if (!r->dest) {
            st = shardy__buf_copy(len ? data + r->offset : data, len, &r->body, &r->error);
        }
    }
    shardy__free(data);
    return st;
}

/* Reads the range and nothing else: of a large object, or when nobody asks for the version. */
static shardy_status read_range(int fd, shardy_store_read *r)
{
    SHARDY_TRY(check_version(r));
    size_t len = range_len(r);
    void *dest = r->dest;
    if (!dest) {
        dest = shardy__malloc(len);
        if (!dest) {
            return shardy__error_nomem(&r->error, "store");
        }
        shardy__buf_own(dest, len, &r->body);
    }
    if (len > 0) {
        SHARDY_TRY(shardy__file_read_at(fd, r->offset, dest, len, &r->error));
    }
    r->received = len;
    return SHARDY_OK;
}

/* Whether the version is told: a condition needs it, and who reads all of a small object gets it.
 * Whoever reads a small range of many, such as the pages of a shard, would pay for it each time. */
static int tells_version(const shardy_store_read *r)
{
    int whole = r->offset == 0 && r->len >= r->meta.size;
    return r->meta.size <= SHARDY_FS_ETAG_LEN_MAX && (whole || r->if_match || r->if_none_match);
}

static shardy_status read_one(const fs_store *s, shardy_store_read *r)
{
    fs_key key;
    int fd;
    file_info info;
    shardy__store_fs_split_key(r->key, &key);
    SHARDY_TRY(shardy__check_time(s->context, r->deadline_ns, r->cancel, "store", &r->error));
    shardy_status st = shardy__root_open_file(&s->root, key.text, &fd, &info, &r->error);
    if (st != SHARDY_OK) {
        return st;
    }
    r->meta.size = info.size;
    r->meta.modified_us = info.modified_us;
    st = tells_version(r) ? read_whole(fd, r) : read_range(fd, r);
    shardy__file_close(fd);
    return st < 0 ? shardy__error_prefix(&r->error, st, "read \"%.300s\"", key.text) : st;
}

static void fs_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    for (size_t i = 0; i < n; i++) {
        shardy_status st = read_one(store, &reads[i]);
        reads[i].status = st;
        if (st < 0) {
            shardy_buf_release(&reads[i].body);
        }
        done(user, &reads[i]);
    }
}

static shardy_status fs_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    const fs_store *s = store;
    fs_key k;
    int fd;
    file_info info;
    (void)limits; /* files do not wait */
    shardy__store_fs_split_key(key, &k);
    shardy_status st = shardy__root_open_file(&s->root, k.text, &fd, &info, err);
    if (st != SHARDY_OK) {
        return st;
    }
    meta_out->size = info.size;
    meta_out->modified_us = info.modified_us;
    st = shardy__store_fs_etag(fd, info.size, &meta_out->etag, err);
    shardy__file_close(fd);
    return st < 0 ? shardy__error_prefix(err, st, "look at \"%.300s\"", k.text) : st;
}

static shardy_status fs_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    const fs_store *s = store;
    fs_key k;
    file_info info;
    shardy__store_fs_split_key(key, &k);
    shardy_status st = shardy__root_open_file(&s->root, k.text, &file_out->fd, &info, err);
    if (st == SHARDY_OK) {
        file_out->size = info.size;
        file_out->modified_us = info.modified_us;
    }
    return st;
}

/* --- the table ---------------------------------------------------------------------------- */

static uint64_t fs_caps(void *store)
{
    const fs_store *s = store;
    uint64_t caps = SHARDY_STORE_CAP_OPEN_LOCAL | SHARDY_STORE_CAP_TAKE_FILE;
    if (s->conditional) {
        caps |= SHARDY_STORE_CAP_PUT_IF_ABSENT | SHARDY_STORE_CAP_PUT_IF_MATCH;
    }
    return caps;
}

static const char *fs_place(void *store)
{
    const fs_store *s = store;
    return s->path;
}

static void fs_close(void *store)
{
    fs_store *s = store;
    shardy__store_fs_close_own(s);
    shardy__root_close(&s->root);
    shardy__mutex_destroy(&s->own_lock);
    shardy__mutex_destroy(&s->replace_lock);
    shardy__context_drop(s->context);
    shardy__free(s->path);
    shardy__free(s);
}

static const shardy_store_ops fs_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "fs",
    .caps = fs_caps,
    .read = fs_read,
    .head = fs_head,
    .put = shardy__store_fs_put,
    .list = shardy__store_fs_list,
    .remove = shardy__store_fs_remove,
    .open_local = fs_open_local,
    .scratch = shardy__store_fs_scratch,
    .close = fs_close,
    .place = fs_place,
};

static shardy_status open_root(
    fs_store *s, const char *root, int32_t create, int32_t portable, shardy_error *err)
{
    shardy_status st = shardy__root_open(root, portable, &s->root, err);
    if (st == SHARDY_NOT_FOUND && create) {
        SHARDY_TRY(shardy__dir_make(root, 0777, s->sync, err));
        st = shardy__root_open(root, portable, &s->root, err);
    }
    if (st != SHARDY_OK) {
        return st;
    }
    /* Where the scratch directory is must not depend on the working directory later on. */
    return shardy__path_real(root, &s->path, err);
}

shardy_status shardy__store_open_fs_quirks(shardy_context *context, const char *root,
    const shardy_store_fs_options *options, const store_fs_quirks *quirks, shardy_store **store_out,
    shardy_error *err)
{
    shardy_store_fs_options opts;
    *store_out = NULL;
    shardy_store_fs_options_init(&opts, sizeof opts);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&opts, options, err));
    fs_store *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "store");
    }
    s->root.fd = -1;
    s->sync = opts.sync;
    s->generation = shardy__process_generation();
    shardy__mutex_init(&s->own_lock);
    shardy__mutex_init(&s->replace_lock);
    shardy_status st = shardy__context_hold(context, &s->context, err);
    if (st == SHARDY_OK) {
        st = open_root(s, root, opts.create, quirks->portable, err);
    }
    if (st != SHARDY_OK) {
        fs_close(s);
        return st;
    }
    s->network = quirks->network ? "pretended" : shardy__fs_network(s->root.fd);
    s->conditional = !s->network || opts.allow_network_fs;
    return shardy_store_new_take(s->context, &fs_ops, s, store_out, err);
}

shardy_status shardy_store_open_fs(shardy_context *context, const char *root,
    const shardy_store_fs_options *options, shardy_store **store_out, shardy_error *err)
{
    static const store_fs_quirks none;
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(root);
    return shardy__store_open_fs_quirks(context, root, options, &none, store_out, err);
}
