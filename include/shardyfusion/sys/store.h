/* sys/store.h: the contract of an object store, and the stores that come with the library.
 *
 * An object is visible whole or not at all. It is immutable once visible, except `_CURRENT`, run
 * records and fates. Creating if absent is exclusive, replacing a known version is atomic. A
 * finished put is visible to the next read. Deleting is idempotent.
 *
 * Keys are UTF-8, at most SHARDY_OBJECT_KEY_LEN_MAX bytes, segments separated by one '/', no
 * segment empty, "." or "..", no control characters; the first segment is not ".shardyfusion",
 * which stores keep for themselves. Anything else is INVALID before a store sees it. A directory as
 * a store has two limits more: a segment has at most 255 bytes, and where "a" is an object there is
 * no "a/b".
 *
 * A handle answers FORKED in a child process.
 *
 * This header may change with a minor version.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SYS_STORE_H
#define SHARDYFUSION_SYS_STORE_H

#include <shardyfusion/context.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHARDY_STORE_ABI 3

enum {
    SHARDY_STORE_CAP_PUT_IF_ABSENT = 1 << 0,
    SHARDY_STORE_CAP_PUT_IF_MATCH = 1 << 1,
    SHARDY_STORE_CAP_OPEN_LOCAL = 1 << 2, /* objects are local files */
    /* a put can move a file from `scratch` instead of copying it */
    SHARDY_STORE_CAP_TAKE_FILE = 1 << 3
};

#define SHARDY_ETAG_LEN_MAX 255u

/* Version of an object. Opaque; compared as text. */
typedef struct shardy_etag {
    char text[SHARDY_ETAG_LEN_MAX + 1]; /* zero-terminated; "" means none */
} shardy_etag;

typedef struct shardy_object_meta {
    uint64_t size;
    int64_t modified_us; /* wall clock of the store; 0 when unknown */
    shardy_etag etag;    /* "" when the store would have to read more than was asked to tell */
} shardy_object_meta;

#define SHARDY_READ_TO_END UINT64_MAX

/* One read of a vectored read. The caller fills the first part and owns the struct until `done` was
 * called for it. A range that begins at or beyond the end of the object is OK with 0 bytes
 * received. */
typedef struct shardy_store_read {
    shardy_bytes key;
    uint64_t offset;
    uint64_t len;         /* SHARDY_READ_TO_END: to the end of the object */
    const char *if_match; /* NULL, or the ETag the object must have (CONFLICT if not) */
    /* NULL, or the ETag the object must not have (NOT_MODIFIED if it has) */
    const char *if_none_match;
    int64_t deadline_ns; /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel;
    /* NULL: the store allocates `body`; else room for `len` bytes, which is then not TO_END */
    void *dest;
    /* 1: the object is expected to have no more than `len` bytes, from offset 0: a store may ask
     * for all of it, because a checksum is of a whole object. Stores MAY. */
    int32_t whole;
    /* Filled by the store: */
    int32_t status; /* OK, NOT_FOUND, NOT_MODIFIED, CONFLICT or a failure */
    int32_t reserved;
    uint64_t received; /* fewer than asked only at the end of the object */
    shardy_buf body;   /* the receiver's to release; unused when `dest` was given */
    shardy_object_meta meta;
    shardy_error error;
} shardy_store_read;

/* Called once for each read, from any thread, possibly before `read` returns; must not call the
 * store. */
typedef void (*shardy_store_done_fn)(void *user, shardy_store_read *read);

typedef enum shardy_put_condition {
    SHARDY_PUT_ALWAYS = 0,
    SHARDY_PUT_IF_ABSENT = 1, /* EXISTS when the key is taken */
    /* CONFLICT when the object is not of version `etag`, or is not there */
    SHARDY_PUT_IF_MATCH = 2,
    SHARDY_PUT_CONDITION_RESERVED_ = 32767
} shardy_put_condition;

/* The failures so far of one request. Zero at first. */
typedef struct shardy_store_attempts {
    uint32_t failures;
    uint32_t reserved;
    int64_t failed_ns; /* the first of them */
} shardy_store_attempts;

/* Who repeats requests, for stores that carry out a put in several of them: the bytes of one may be
 * gone when the others are done. */
typedef struct shardy_store_repeat {
    void *user;
    /* To be asked of every answer to such a request, also of a good one, by the thread of the put.
     * 1: the request is to be sent again at *due_ns_out (monotonic clock). May add to the error. */
    int32_t (*answered)(void *user, shardy_store_attempts *attempts, int32_t status,
        shardy_error *err, int64_t *due_ns_out);
} shardy_store_repeat;

typedef struct shardy_store_put {
    shardy_bytes key;
    int32_t condition;
    int32_t sync;      /* 1: durable before it is visible (stores that can tell the difference) */
    const char *etag;  /* for IF_MATCH */
    shardy_bytes body; /* the object, when both of the next are NULL */
    /* or this file; a store with CAP_TAKE_FILE moves it away when it is in its scratch, unless the
     * put fails */
    const char *file_path;
    /* or parts until it answers DONE; a part is read before the next is asked for. A failure is
     * that of the put, and leaves nothing. */
    shardy_status (*next)(void *user, shardy_bytes *part_out, shardy_error *err);
    void *next_user;
    const char *content_type;
    int64_t deadline_ns;
    const shardy_cancel *cancel;
    const shardy_store_repeat *repeat; /* NULL: nothing is sent again within the put */
    /* NULL, or called by the thread of the put now and then while it takes long, with how many
     * bytes were sent so far: fewer than before when some have to be sent again. Stores MAY. */
    void (*sent)(void *user, uint64_t bytes);
    void *sent_user;
} shardy_store_put;

/* When a call has to be over, whatever the store waits for: TIMEOUT, or CANCELLED. Reads and puts
 * have the same in their own structs. Stores around one another are of contexts with the same
 * clock. */
typedef struct shardy_store_limits {
    int64_t deadline_ns;         /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel; /* NULL: none */
} shardy_store_limits;

/* What is to be listed. */
typedef struct shardy_store_listing {
    const char *prefix; /* "", or ends in '/' */
    const char *token;  /* NULL: from the start; else the next_token of a page of this listing */
    size_t limit;       /* of entries: 1 to SHARDY_LIST_LIMIT_MAX */
    shardy_store_limits limits;
    char delimiter; /* '/': keys that have it after the prefix are rolled up; 0: none */
} shardy_store_listing;

typedef struct shardy_store_entry {
    const char *key; /* zero-terminated; ends in '/' for a common prefix */
    uint64_t size;
    int64_t modified_us;
    int32_t is_prefix; /* 1: all keys that begin so were rolled up by the delimiter */
    int32_t reserved;
} shardy_store_entry;

/* One page of a listing, in byte order of the keys. */
typedef struct shardy_store_page {
    const shardy_store_entry *entries;
    size_t count;
    const char *next_token; /* NULL: this is the last page */
    void *owner;
    void (*dispose)(struct shardy_store_page *page);
} shardy_store_page;

/* An object as a local file. */
typedef struct shardy_local_file {
    int fd; /* read only; the receiver closes it */
    uint64_t size;
    int64_t modified_us;
} shardy_local_file;

/* One table per kind of store; `store` is its state. `limits` is never NULL; a store that passes
 * calls on to another gives them too. Slots say: MUST or MAY · threads · statuses ·
 * ownership. Each failing call sets `err`. All slots may be called from any number of threads at
 * once. */
typedef struct shardy_store_ops {
    uint32_t abi;         /* SHARDY_STORE_ABI */
    uint32_t struct_size; /* sizeof(shardy_store_ops); grows by appending */
    const char *name;     /* "fs", "mem", "stats", "fault", ... */

    /* MUST. Capability bits; constant for the life of the store. */
    uint64_t (*caps)(void *store);

    /* MUST. Starts n reads and calls done(user, &reads[i]) once for each, in any order. A read
     * fails on its own, in its struct. */
    void (*read)(
        void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user);

    /* MUST. OK or NOT_FOUND. */
    shardy_status (*head)(void *store, shardy_bytes key, const shardy_store_limits *limits,
        shardy_object_meta *meta_out, shardy_error *err);

    /* MUST. OK with the new version in *meta_out; EXISTS, CONFLICT, NO_SPACE, IO, ...
     * UNSUPPORTED for a condition without its capability bit. After a failure the object is as it
     * was before, unless the failure says that this is not known (retriable). */
    shardy_status (*put)(
        void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err);

    /* MUST. At most `what->limit` entries after its token, whose keys begin with its prefix.
     * Objects that come or go meanwhile may be missed or seen, all others are seen once. The page
     * is the receiver's to dispose. */
    shardy_status (*list)(void *store, const shardy_store_listing *what,
        shardy_store_page *page_out, shardy_error *err);

    /* MUST. results_out[i] is OK also when there was no such object. Returns the first failure,
     * having tried all. */
    shardy_status (*remove)(void *store, const shardy_bytes *keys, size_t n,
        const shardy_store_limits *limits, int32_t *results_out, shardy_error *err);

    /* MAY (CAP_OPEN_LOCAL). OK, NOT_FOUND, EXHAUSTED, IO. */
    shardy_status (*open_local)(
        void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err);

    /* MAY (CAP_TAKE_FILE). Path of a directory, created when missing, from which a file can be
     * moved into the store. Borrowed until the store is closed. */
    shardy_status (*scratch)(void *store, const char **path_out, shardy_error *err);

    /* MUST. Once, after the last call has returned. Cannot fail. */
    void (*close)(void *store);

    /* MAY. Where the objects are: text that is the same for every store of this place, in any
     * process, and for no other (server, bucket and prefix; without secrets). Borrowed, constant
     * for the life of the store. Without it, or NULL, objects without digests are not kept in a
     * cache of files. */
    const char *(*place)(void *store);
} shardy_store_ops;

/* A store with its state. */
typedef struct shardy_store shardy_store;

/* Makes a store from a table of yours. `state` is taken always, also on failure (closed through the
 * table, unless that is of another ABI or has no `close`). NULL context: one of its own.
 * Statuses: OK, INVALID (abi, missing slots), NOMEM. Ownership: yours, close it. */
SHARDY_API shardy_status shardy_store_new_take(shardy_context *context, const shardy_store_ops *ops,
    void *state, shardy_store **store_out, shardy_error *err) SHARDY_MUST_USE;

typedef struct shardy_store_fs_options {
    size_t struct_size;
    int32_t create; /* default 0: the directory must exist */
    int32_t sync;   /* default 1: fsync files and directories */
    /* default 0: conditional puts on a network file system are UNSUPPORTED */
    int32_t allow_network_fs;
} shardy_store_fs_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_store_fs_options_init(shardy_store_fs_options *options, size_t struct_size);

/* A directory as a store. Nothing outside of it is ever touched: symbolic links below the root are
 * not followed, and only regular files are objects. Its own files are in `<root>/.shardyfusion/`,
 * which is never listed; readers create nothing. Versions are told for objects of at most
 * SHARDY_FS_ETAG_LEN_MAX bytes, by reads of a part only under a condition; conditions on larger
 * ones are UNSUPPORTED. A page of a listing reads each directory that it covers once and keeps at
 * most `limit` names of each in memory.
 * Statuses: OK, NOT_FOUND (no such directory), INVALID (not a directory), IO, NOMEM. */
SHARDY_API shardy_status shardy_store_open_fs(shardy_context *context, const char *root,
    const shardy_store_fs_options *options, shardy_store **store_out,
    shardy_error *err) SHARDY_MUST_USE;

/* A store in memory. It has all capabilities but those that need files. */
SHARDY_API shardy_status shardy_store_open_mem(
    shardy_context *context, shardy_store **store_out, shardy_error *err) SHARDY_MUST_USE;

enum {
    /* the bucket is a part of the host where it can be, in the path when there is an endpoint */
    SHARDY_S3_ADDRESSING_AUTO = 0,
    SHARDY_S3_ADDRESSING_PATH = 1,   /* https://host/bucket/key */
    SHARDY_S3_ADDRESSING_VIRTUAL = 2 /* https://bucket.host/key */
};

/* Texts are copied. NULL, and an empty text but for `proxy`: from the environment. */
typedef struct shardy_store_s3_options {
    size_t struct_size;
    /* default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, SLATEDB_S3_ENDPOINT_URL, or Amazon's */
    const char *endpoint_url;
    /* default: S3_REGION, AWS_REGION, AWS_DEFAULT_REGION, or us-east-1 */
    const char *region;
    /* The three go together. Default: the first that there is of S3_ACCESS_KEY_ID,
     * S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN; the same with AWS_; a profile of ~/.aws/credentials
     * and ~/.aws/config; web identity; container metadata; instance metadata. Those that expire are
     * replaced before. docs/operations.md tells what each of them needs. */
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token;
    const char *ca_bundle;       /* file of certificates. Default: AWS_CA_BUNDLE, or the system's */
    const char *proxy;           /* default: http_proxy, https_proxy and no_proxy; "": none */
    int32_t addressing;          /* default SHARDY_S3_ADDRESSING_AUTO */
    int32_t verify_ssl;          /* default 1: the certificate of the server is checked */
    uint32_t connect_timeout_ms; /* default 10000 */
    uint32_t read_timeout_ms;    /* default 30000: without any progress, not for the whole call */
    /* default and most SHARDY_CONNECTIONS_MAX: requests at once, others wait. Connections are
     * opened when they are needed, no more than a quarter of the descriptors that the process may
     * have, and closed when nobody has used them for 15 s */
    uint32_t connections_max;
    /* default 8 MiB, 5 MiB to 1 GiB: objects of more than two parts are uploaded in parts; those of
     * more than 1000 parts in larger ones */
    uint64_t part_size;
    /* calls that failed in passing are repeated as shardy_store_wrap_retry() does it, whose default
     * this has; 1: never */
    uint32_t max_attempts;
    /* a profile of the files of AWS, which then goes before the environment; not together with
     * access_key_id. Default: AWS_PROFILE, or "default" */
    const char *profile;
} shardy_store_s3_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_store_s3_options_init(shardy_store_s3_options *options, size_t struct_size);

/* The objects of s3://bucket/prefix on a server that speaks the S3 protocol, which must exist.
 * Nothing is asked of the server yet. Versions are ETags. Redirects are not followed. A reply is
 * believed when it fits the request: code, range, length, checksums. Uploads carry SHA-256
 * checksums; large ones go in parts, several at once, and leave nothing when they fail. Objects
 * whose keys break the rules above are neither listed nor reached.
 * Statuses: OK; INVALID (URL, bounds); CONFIG (endpoint, region, no credentials; whether instance
 * metadata have some is known with the first request); AUTH, IO (files of credentials); NOMEM,
 * EXHAUSTED. */
SHARDY_API shardy_status shardy_store_open_s3(shardy_context *context, const char *url,
    const shardy_store_s3_options *options, shardy_store **store_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Calls and bytes that went through a store. */
typedef struct shardy_store_counts {
    uint64_t reads;
    uint64_t read_bytes;
    uint64_t heads;
    uint64_t puts;
    uint64_t put_bytes;
    uint64_t lists;
    uint64_t removes;
    uint64_t opens;
} shardy_store_counts;

/* A store that passes everything on to `inner` and counts. `inner` is borrowed. Only calls that
 * reach the innermost store are counted in the metrics of the context. */
SHARDY_API shardy_status shardy_store_wrap_stats(shardy_context *context, shardy_store *inner,
    shardy_store **store_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_store_stats(
    const shardy_store *stats_store, shardy_store_counts *counts_out);

enum {
    SHARDY_FAULT_BEFORE = 1, /* fail without doing it */
    SHARDY_FAULT_AFTER = 2,  /* do it, then answer a failure: the reply was lost */
    SHARDY_FAULT_SHORT = 3   /* reads only: half of the bytes, as if the object ended there */
};

/* A store that passes on to `inner` (borrowed) but makes calls fail: the call number `nth` (from 1)
 * and, if `persistent`, all after it, with `status`. nth 0: none. */
SHARDY_API shardy_status shardy_store_wrap_fault(shardy_context *context, shardy_store *inner,
    shardy_store **store_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_store_fault_set(
    shardy_store *fault_store, uint64_t nth, int32_t persistent, int32_t kind, int32_t status);
/* Calls since the last set, and how many of them were made to fail. Each read of a vectored read is
 * a call. */
SHARDY_API void shardy_store_fault_counts(
    const shardy_store *fault_store, uint64_t *calls_out, uint64_t *failed_out);

typedef struct shardy_retry_options {
    size_t struct_size;
    /* With the first; at most SHARDY_ATTEMPTS_MAX. Default 0: 6, and of a call that is answered
     * THROTTLED as many as there is time and budget for */
    uint32_t max_attempts;
    uint32_t initial_backoff_ms; /* default 200: bound of the first wait, doubled for each next */
    uint32_t max_backoff_ms;     /* default 4000 */
    /* default 30000: no attempt begins later than this after the first failure of a call */
    uint32_t timeout_ms;
    /* Each attempt but the first costs a token. A store begins with `budget_tokens` (default 100),
     * never has more, and gets `budget_percent` (default 20) hundredths of one with each call. */
    uint32_t budget_tokens;
    uint32_t budget_percent;
} shardy_retry_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_retry_options_init(shardy_retry_options *options, size_t struct_size);

/* A store that passes everything on to `inner` (borrowed) and repeats calls that fail with a
 * `retriable` error; never those whose status is an answer (EXISTS, CONFLICT, AUTH, INVALID). It
 * waits a random time up to the backoff before, and on top of it what the error asks for in
 * retry_after_ms; not at all when the deadline of the call would pass meanwhile, or the budget of
 * retries, shared by all threads, is used up: then the failure is the answer. Cancelling ends a
 * wait.
 *
 * The answer of a conditional put that failed may only have been lost, so it is not just repeated:
 * the object is read first and compared with the body. The same: the put has succeeded. Still the
 * old version, or none: it is repeated. Else EXISTS or CONFLICT. So the body has to hold something
 * that no other put has, such as a nonce. Of a put from `next` the store repeats single requests
 * (`repeat`) or nothing; one of a file that the store has taken away is not repeated.
 *
 * Each read of a vectored read is repeated on its own and as a whole, so that its bytes are of one
 * version. Repeated reads are sent by a thread of the context, so that `done` may be called from
 * it; with a clock of the caller's by the thread that reads.
 * Statuses: OK, INVALID, UNSUPPORTED (options), NOMEM. Ownership: yours, close it before
 * `inner`. */
SHARDY_API shardy_status shardy_store_wrap_retry(shardy_context *context, shardy_store *inner,
    const shardy_retry_options *options, shardy_store **store_out,
    shardy_error *err) SHARDY_MUST_USE;

typedef struct shardy_limit_options {
    size_t struct_size;
    /* default 0: no limit; each read of a vectored read is a request, a removal of many keys one */
    double requests_per_second;
    /* default 0: no limit; of bodies read and put. What is read without a length, to the end or
     * whole, counts once it has come */
    double bytes_per_second;
    /* default NULL: none. Once it is requested nothing is held back or counted any more: what is
     * still asked then is the tidying up of what was cancelled, which has little time. Must outlive
     * the store */
    const shardy_cancel *cancel;
} shardy_limit_options;

/* Writes the defaults into every field. */
SHARDY_API void shardy_limit_options_init(shardy_limit_options *options, size_t struct_size);

/* A store that passes everything on to `inner` (borrowed) in the order in which it was asked, no
 * faster than the limits, which all threads share. A second's worth may pass at once, and what is
 * larger passes as well: those after it wait the longer. A call whose turn would come after its
 * deadline answers TIMEOUT at once. Cancelling ends a wait. With a clock of the caller's, reads
 * that have to wait do so in the thread that reads.
 * Statuses: OK, INVALID, UNSUPPORTED (options), NOMEM. Ownership: yours, close it before
 * `inner`. */
SHARDY_API shardy_status shardy_store_wrap_limit(shardy_context *context, shardy_store *inner,
    const shardy_limit_options *options, shardy_store **store_out,
    shardy_error *err) SHARDY_MUST_USE;

/* Reads one object, or a part of it, and waits. Statuses: OK, NOT_FOUND, NOT_MODIFIED, CONFLICT,
 * CANCELLED, TIMEOUT and failures.
 * Ownership: release *body_out. */
SHARDY_API shardy_status shardy_store_get(shardy_store *store, const char *key, uint64_t offset,
    uint64_t len, shardy_buf *body_out, shardy_object_meta *meta_out,
    shardy_error *err) SHARDY_MUST_USE;
/* The other calls of the table, with arguments checked and counted. */
/* waits */
SHARDY_API void shardy_store_read_all(shardy_store *store, shardy_store_read *reads, size_t n);
SHARDY_API void shardy_store_read_start(
    shardy_store *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user);
SHARDY_API shardy_status shardy_store_head(shardy_store *store, const char *key,
    shardy_object_meta *meta_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_put_object(shardy_store *store, const shardy_store_put *put,
    shardy_object_meta *meta_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_list(shardy_store *store, const char *prefix, char delimiter,
    const char *token, size_t limit, shardy_store_page *page_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API void shardy_store_page_dispose(shardy_store_page *page);
SHARDY_API shardy_status shardy_store_remove(shardy_store *store, const shardy_bytes *keys,
    size_t n, int32_t *results_out, shardy_error *err) SHARDY_MUST_USE;
/* The same three with limits; NULL: none. */
SHARDY_API shardy_status shardy_store_head_within(shardy_store *store, const char *key,
    const shardy_store_limits *limits, shardy_object_meta *meta_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_list_within(shardy_store *store,
    const shardy_store_listing *what, shardy_store_page *page_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_remove_within(shardy_store *store, const shardy_bytes *keys,
    size_t n, const shardy_store_limits *limits, int32_t *results_out,
    shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_open_local(shardy_store *store, const char *key,
    shardy_local_file *file_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API shardy_status shardy_store_scratch(
    shardy_store *store, const char **path_out, shardy_error *err) SHARDY_MUST_USE;
SHARDY_API uint64_t shardy_store_caps(const shardy_store *store);
SHARDY_API const char *shardy_store_name(const shardy_store *store);
SHARDY_API void shardy_store_close(shardy_store *store); /* NULL is fine; cannot fail */

#ifdef __cplusplus
}
#endif
#endif
