/* sys/engine.h: the contract of an engine: what builds and reads one shard.
 *
 * An engine is a static table of functions with two halves. The writer half makes files in a
 * scratch directory; it never uploads, so no engine can publish half a shard. The reader half works
 * on one shard through operations that are started, stepped and finished: a step does what it can
 * with the bytes that are at hand, and when it needs more it answers PENDING; then
 * shardy_engine_ops.fetch gets them (blocking), and the next step goes on. So one implementation
 * serves local, batched, remote and asynchronous reads. An engine whose library can only block does
 * its work in `fetch`.
 *
 * This header may change with a minor version.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SYS_ENGINE_H
#define SHARDYFUSION_SYS_ENGINE_H

#include <shardyfusion/context.h>
#include <shardyfusion/sys/store.h>
#include <shardyfusion/vector.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHARDY_ENGINE_ABI 1

enum {
    SHARDY_ENGINE_CAP_KV = 1 << 0,
    SHARDY_ENGINE_CAP_VECTOR = 1 << 1,
    SHARDY_ENGINE_CAP_REMOTE = 1 << 2, /* can read a shard that is not a local file */
    /* with CAP_VECTOR: can also make shards of a build that never learns a dimension */
    SHARDY_ENGINE_CAP_NO_DIM = 1 << 3,
    /* made for tests: works by its name, but is no default, and no message offers it */
    SHARDY_ENGINE_CAP_TESTING = 1 << 4
};

/* The digest of one object of a shard. */
typedef struct shardy_object_digest {
    const char *path; /* relative to the root of the snapshot */
    uint64_t size;
    uint8_t sha256[32]; /* of the SHA-256s of its 64 KiB chunks */
} shardy_object_digest;

/* --- building --------------------------------------------------------------------------------- */

typedef struct shardy_engine_writer_spec {
    size_t struct_size;
    shardy_context *context;
    const char *scratch_dir; /* empty directory of this attempt */
    uint32_t page_size;      /* 0: the engine chooses from the figures below */
    uint32_t dim;            /* 0: no vectors */
    int32_t metric;
    int32_t sync;           /* 1: files are synced before finish returns */
    uint64_t value_len_p95; /* with page_size 0: nearest rank, over the rows that will be put */
    uint64_t key_len_max;   /* with page_size 0 */
    const shardy_cancel *cancel;
    /* 1: add the index of the shard as a small object, when the engine has such (formats.md 11) */
    int32_t sidecar;
} shardy_engine_writer_spec;

/* Rows in strictly ascending order of their stored keys, within a batch and from batch to batch. */
typedef struct shardy_engine_rows {
    size_t count;
    const shardy_bytes *keys; /* stored form */
    const shardy_bytes *values;
} shardy_engine_rows;

/* Vectors in the order in which they are to be numbered. All rows are put before the first
 * vector. */
typedef struct shardy_engine_vectors {
    size_t count;
    const float *vectors;         /* `count` rows of dim floats */
    size_t stride;                /* floats from row to row */
    const shardy_key *ids;        /* int or text */
    const shardy_bytes *payloads; /* JSON text; data NULL: none */
} shardy_engine_vectors;

/* A file that makes up the shard. */
typedef struct shardy_engine_file {
    const char *name; /* below the shard's URL, e.g. "shard.db" */
    const char *path; /* where it is now */
    const char *content_type;
    uint64_t size;
    /* SHA-256 of each 64 KiB chunk, 32 bytes each; NULL: the caller computes them */
    const uint8_t *sums;
    size_t sum_count;
    /* 1: the page-cache sidecar of the file before it, without a tag: the caller writes the version
     * of that file into it, and computes the sums afterwards */
    int32_t is_sidecar;
} shardy_engine_file;

typedef struct shardy_engine_files {
    const shardy_engine_file *files; /* borrowed from the writer until it is freed */
    size_t count;
} shardy_engine_files;

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct shardy_engine_reader_spec {
    size_t struct_size;
    shardy_context *context;
    shardy_store *store;    /* rooted at the snapshot; outlives the reader */
    const char *shard_path; /* of the shard, relative to the root, without a trailing slash */
    const shardy_object_digest *digests; /* of the objects below shard_path, by ascending path */
    size_t digest_count;
    /* 1: every object must have a digest and is checked; 0: the snapshot has none */
    int32_t verified;
    int32_t io;   /* shardy_io_mode */
    uint32_t dim; /* what the manifest says; 0: no vectors */
    int32_t metric;
    /* of opening */
    int64_t deadline_ns; /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel;
    /* NULL: objects that are not local files are read whole; else by ranges, into this cache of the
     * reader's. For the engines of this library */
    void *page_cache;
    /* NULL: objects that are read whole are read into memory; else they are kept as files in this
     * cache of the reader's. For the engines of this library */
    void *file_cache;
    int32_t check_files; /* 1: files that are there are checked as a whole before they are used */
    /* 1: a sidecar is left alone, even with `page_cache`: the objects themselves are looked at */
    int32_t no_sidecar;
} shardy_engine_reader_spec;

/* How long a call may take. */
typedef struct shardy_engine_limits {
    int64_t deadline_ns; /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel;
} shardy_engine_limits;

/* Look-up of one or many keys. */
typedef struct shardy_engine_get {
    const shardy_bytes *keys; /* stored form, in any order */
    size_t count;
    shardy_buf *values_out; /* `count` of them, the caller's to release; empty when absent */
    int32_t *statuses_out;  /* OK, NOT_FOUND */
    shardy_buf hold;        /* set by the engine, the caller's to release: keeps all values alive
                               that have no `release` of their own */
    shardy_engine_limits limits;
    uint32_t fetches_max; /* keys whose pages are waited for at once; 0: as the engine likes */
} shardy_engine_get;

/* One candidate of a search. */
typedef struct shardy_engine_hit {
    shardy_key id; /* text is valid until the search is finished */
    double score;
    uint64_t row; /* the engine's own number, for payloads */
} shardy_engine_hit;

/* Exact search of the k nearest of each query. */
typedef struct shardy_engine_search {
    const float *queries; /* rows of dim floats, finite, not zero under cosine */
    size_t query_count;
    size_t stride;
    uint32_t k;
    int64_t deadline_ns;
    const shardy_cancel *cancel;
    /* Result: hits of query q are hits[offsets[q]] to hits[offsets[q + 1] - 1], in the order of
     * shardy_hits; borrowed until the operation is finished. */
    const shardy_engine_hit *hits;
    const size_t *offsets;
    uint64_t vectors_scanned;
    uint64_t ahead_max; /* bytes to read ahead of the comparison; 0: as the engine likes */
} shardy_engine_search;

/* A check of all that a shard is made of. The functions are called on the calling thread; whatever
 * one of them answers but OK ends the check and becomes its status. */
typedef struct shardy_engine_check {
    /* Each stored key, in the order in which they lie, which should be ascending; borrowed until it
     * returns. CORRUPT says what is wrong with it: that is damage like any other. */
    shardy_status (*key)(void *user, shardy_bytes key, shardy_error *err);
    /* Damage: `error` names the part of the shard and what is wrong there, `offset` is where in its
     * object, if that is known, else 0. The check goes on with the next part. */
    shardy_status (*damaged)(
        void *user, uint64_t offset, const shardy_error *error, shardy_error *err);
    /* About a mebibyte more was looked at. */
    shardy_status (*tick)(void *user, shardy_error *err);
    void *user;
    shardy_context *context; /* whose clock tells the time of a request; NULL: the default */
    uint32_t timeout_ms;     /* of each request to the store; 0: none */
    const shardy_cancel *cancel;
} shardy_engine_check;

/* One table per engine. Slots say: MUST or MAY · threads · statuses · ownership. */
typedef struct shardy_engine_ops {
    uint32_t abi;         /* SHARDY_ENGINE_ABI */
    uint32_t struct_size; /* sizeof(shardy_engine_ops); grows by appending */
    const char *name;     /* "sqlite", "sqlite-vec", "mem", ... */
    uint64_t caps;

    /* MUST. Makes a writer. OK, INVALID, UNSUPPORTED, IO, NO_SPACE, NOMEM. */
    shardy_status (*writer_open)(
        const shardy_engine_writer_spec *spec, void **writer_out, shardy_error *err);
    /* MUST (CAP_KV). One thread. INVALID when keys are not ascending. */
    shardy_status (*writer_put)(void *writer, const shardy_engine_rows *rows, shardy_error *err);
    /* MUST (CAP_VECTOR). One thread. */
    shardy_status (*writer_add_vectors)(
        void *writer, const shardy_engine_vectors *vectors, shardy_error *err);
    /* MUST. Completes the files. */
    shardy_status (*writer_finish)(void *writer, shardy_engine_files *files_out, shardy_error *err);
    /* MUST. Frees the writer, finished or not. The files stay where they are. NULL is fine. */
    void (*writer_free)(void *writer);

    /* MUST. Opens a shard. OK; CORRUPT, CHECKSUM, GONE (no such object), IO, EXHAUSTED, NOMEM. */
    shardy_status (*reader_open)(
        const shardy_engine_reader_spec *spec, void **reader_out, shardy_error *err);

    /* MUST (CAP_KV). One look-up that is entirely at hand: OK, NOT_FOUND, or PENDING when it is not
     * (then get_start is used). The fast path of local files; must not allocate for a value that
     * lies in one piece. */
    shardy_status (*get_now)(
        void *reader, shardy_bytes key, shardy_buf *value_out, shardy_error *err);
    /* MUST (CAP_KV). Starts looking up; the request outlives the operation. Any thread. */
    shardy_status (*get_start)(
        void *reader, shardy_engine_get *request, void **op_out, shardy_error *err);
    /* MUST (CAP_VECTOR). Starts a search; the request outlives the operation. Any thread. */
    shardy_status (*search_start)(
        void *reader, shardy_engine_search *request, void **op_out, shardy_error *err);
    /* MUST. Goes on with an operation: OK when it is complete, PENDING when it needs bytes, else
     * its failure. One thread per operation at a time. */
    shardy_status (*step)(void *reader, void *op, shardy_error *err);
    /* MUST. Gets the bytes an operation is PENDING for; blocks. */
    shardy_status (*fetch)(void *reader, void *op, shardy_error *err);
    /* MUST. Frees an operation, complete or not. NULL is fine. */
    void (*finish)(void *reader, void *op);

    /* MUST (CAP_VECTOR). Payload of a hit by its row number; NOT_FOUND when it has none. May
     * block. NULL limits: none. */
    shardy_status (*payload)(void *reader, uint64_t row, const shardy_engine_limits *limits,
        shardy_buf *payload_out, shardy_error *err);

    /* MUST. Looks at everything in the shard that a look-up or a search may touch, once: after a
     * check without damage none fails by what lies in the objects. Holds no more of them than the
     * page cache of the reader does, where there is one. Blocks; one thread, no operation beside
     * it. OK, also when there is damage; failures of the store; what the functions answer. */
    shardy_status (*check)(void *reader, const shardy_engine_check *request, shardy_error *err);
    /* MUST. Vectors of the shard; 0 without. */
    uint64_t (*vector_count)(void *reader);

    /* MUST. Once, after the last operation was finished. Values handed out stay valid. Cannot
     * fail. */
    void (*reader_close)(void *reader);

    /* MAY (CAP_VECTOR). Gets what the payloads of all these rows need at once, so that payload()
     * does not wait for each. Failures are left to payload(). May block. */
    void (*payloads_ahead)(
        void *reader, const uint64_t *rows, size_t count, const shardy_engine_limits *limits);
} shardy_engine_ops;

/* The engines of this build; *count_out gets their number. The array is static. */
SHARDY_API const shardy_engine_ops *const *shardy_engine_list(size_t *count_out);

#ifdef __cplusplus
}
#endif
#endif
