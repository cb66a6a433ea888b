/* store.h: the inside of a store; store.c is the only caller of the tables. */
#ifndef SHARDY_STORE_STORE_H
#define SHARDY_STORE_STORE_H

#include "../base/context.h"
#include "../base/error.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/store.h>

struct shardy_store {
    const shardy_store_ops *ops;
    void *state;
    shardy_context *context; /* one reference */
    uint64_t generation;     /* of the process it was opened in */
    shardy_store *inner;     /* that calls are passed on to, and counted at; NULL: none */
    int32_t owns_inner;      /* 1: it is closed after this one */
};

typedef struct store_url_options {
    int32_t create; /* 1: make the directory when it is missing */
    int32_t sync;
    int32_t allow_network_fs;
} store_url_options;

/* The store of a URL: a path or file:// URL of a directory, or s3://bucket/prefix, for which
 * everything else is taken from the environment. NULL options: the directory must exist, sync 1.
 * NOT_FOUND when there is no such directory; what shardy_store_open_s3() answers; INVALID for
 * anything else, naming what was expected. */
shardy_status shardy__store_open_url(shardy_context *context, const char *url,
    const store_url_options *options, shardy_store **store_out, shardy_error *err);

/* Where the objects of a store are (shardy_store_ops.place), or NULL when it does not say. */
const char *shardy__store_place(const shardy_store *store);

/* NULL when a text can be sent as an ETag, else what is wrong with it, as the end of a sentence. */
const char *shardy__etag_problem(const char *etag);

/* INVALID naming the key when it breaks a rule of sys/store.h. */
shardy_status shardy__store_check_key(shardy_bytes key, shardy_error *err);

/* shardy_store_get() from the begin of an object that is expected to have no more than `len_max`
 * bytes (shardy_store_read.whole). */
shardy_status shardy__store_get_whole(shardy_store *store, const char *key, uint64_t len_max,
    shardy_buf *body_out, shardy_object_meta *meta_out, shardy_error *err);

/* Slots have keys as bytes, the calls of the library as text: a key that reached a slot, which was
 * checked, as text. Returns text_out. */
const char *shardy__store_key_text(shardy_bytes key, char text_out[SHARDY_OBJECT_KEY_LEN_MAX + 1]);

/* shardy_store_new_take() for a store that passes calls on to another; it is where that one is. */
shardy_status shardy__store_new_wrapper_take(shardy_context *context, const shardy_store_ops *ops,
    void *state, shardy_store *inner, shardy_store **store_out, shardy_error *err);

/* From now on the store behind it is closed with it. */
void shardy__store_own_inner(shardy_store *around);

/* shardy_store_wrap_retry() of a store that is taken: always, also on failure, and closed with the
 * wrapper. */
shardy_status shardy__store_wrap_retry_take(shardy_context *context, shardy_store *inner,
    const shardy_retry_options *options, shardy_store **store_out, shardy_error *err);

/* What tests pretend about the file system of a directory. */
typedef struct store_fs_quirks {
    int32_t portable; /* 1: without the calls that only Linux has */
    int32_t network;  /* 1: as if it were on a network file system */
} store_fs_quirks;

shardy_status shardy__store_open_fs_quirks(shardy_context *context, const char *root,
    const shardy_store_fs_options *options, const store_fs_quirks *quirks, shardy_store **store_out,
    shardy_error *err);

#endif
