/* context.h: what the library takes from its surroundings: log sink, events, clock, threads. There
 * is no global state: two contexts do not know of each other.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_CONTEXT_H
#define SHARDYFUSION_CONTEXT_H

#include <shardyfusion/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct shardy_context shardy_context;

enum {
    SHARDY_LOG_ERROR = 1,
    SHARDY_LOG_WARN = 2,
    SHARDY_LOG_INFO = 3,
    SHARDY_LOG_DEBUG = 4,
    SHARDY_LOG_TRACE = 5
};

/* One line for the log. Everything in it is valid during the call only. */
typedef struct shardy_log_record {
    int32_t level;         /* SHARDY_LOG_... */
    const char *component; /* "store", "publish", "read", ... */
    const char *text;      /* one line of UTF-8, no newline */
} shardy_log_record;

/* Called from any thread of the library, possibly from several at once; must not call the
 * library. */
typedef void (*shardy_log_fn)(void *user, const shardy_log_record *record);

/* X(name, unit, text): things that happen and are counted, see shardy_context_metric(). */
#define SHARDY_METRIC_MAP(X)                                                                       \
    X(STORE_READS, "requests", "object reads sent to a store")                                     \
    X(STORE_READ_BYTES, "bytes", "bytes received by object reads")                                 \
    X(STORE_HEADS, "requests", "object look-ups without a body")                                   \
    X(STORE_PUTS, "requests", "objects written")                                                   \
    X(STORE_PUT_BYTES, "bytes", "bytes of objects written")                                        \
    X(STORE_LISTS, "requests", "pages of object listings")                                         \
    X(STORE_DELETES, "objects", "objects asked to be deleted")                                     \
    X(STORE_OPENS, "requests", "objects opened as local files")                                    \
    X(STORE_RETRIES, "requests",                                                                   \
        "requests sent again after a failure, and those to learn its end")                         \
    X(STORE_RETRIES_REFUSED, "requests", "retries that did not happen: the budget was used up")    \
    X(REQUESTS_GET, "requests", "objects, or ranges of them, asked of an object storage")          \
    X(REQUESTS_HEAD, "requests", "questions about objects")                                        \
    X(REQUESTS_PUT, "requests", "objects, or parts of them, sent; begins and ends of uploads")     \
    X(REQUESTS_LIST, "requests", "pages of listings asked for")                                    \
    X(REQUESTS_DELETE, "requests", "removals of one or many objects, uploads that were given up")  \
    X(REQUESTS_FAILED, "requests",                                                                 \
        "of these, without a reply, or answered by anything but success, absence or a condition")  \
    X(REQUEST_BYTES_SENT, "bytes", "bodies of these requests")                                     \
    X(REQUEST_BYTES_RECEIVED, "bytes", "bodies of their replies")                                  \
    X(ROUND_TRIPS, "requests",                                                                     \
        "the longest row of these of which each was sent after the reply to the one before")       \
    X(PAGE_CACHE_HITS, "pages",                                                                    \
        "pages found in the cache of shards read by ranges; counted when the shard is closed")     \
    X(PAGE_CACHE_MISSES, "pages", "pages that were not there; counted when the shard is closed")   \
    X(LIMIT_WAITS, "calls", "calls that had to wait for a rate limit")                             \
    X(LIMIT_WAIT_US, "microseconds", "how long they had to wait, in all")                          \
    X(SHARD_OPENS, "shards", "shards opened by readers")                                           \
    X(SHARD_EVICTIONS, "shards", "open shards closed to stay within their bound")                  \
    X(REFRESHES, "calls", "refreshes that installed another snapshot")                             \
    X(REFRESH_FAILURES, "calls", "refreshes that kept the old snapshot because of an error")       \
    X(SNAPSHOTS_RETIRED, "snapshots", "snapshots whose last user left")                            \
    X(CHUNKS_VERIFIED, "chunks", "64 KiB chunks compared with their digest")                       \
    X(SIDECARS_USED, "sidecars", "sidecars read when a shard was opened by ranges")                \
    X(SIDECARS_UNUSED, "sidecars", "sidecars that were missing, broken or of another shard")       \
    X(ROWS_WRITTEN, "rows", "rows taken by writers")                                               \
    X(RUNS_SPILLED, "runs", "sorted runs written to scratch files")                                \
    X(SHARDS_BUILT, "shards", "shard attempts finished")                                           \
    X(SHARD_RETRIES, "shards", "shard attempts repeated after a failure")                          \
    X(PUBLISHES, "snapshots", "snapshots made current by this process")                            \
    X(ROLLBACKS, "snapshots", "rollbacks done by this process")                                    \
    X(FILE_CACHE_HITS, "objects", "objects opened from the cache of files")                        \
    X(FILE_CACHE_FILLS, "objects", "objects downloaded into the cache of files")                   \
    X(FILE_CACHE_EVICTIONS, "files", "files removed from the cache to make room")                  \
    X(FILE_CACHE_BYPASSES, "objects", "objects read without the cache of files, which there is")

#define SHARDY_METRIC_ENUM_(name, unit, text) SHARDY_METRIC_##name,
typedef enum shardy_metric {
    SHARDY_METRIC_MAP(SHARDY_METRIC_ENUM_) SHARDY_METRIC_COUNT_
} shardy_metric;
#undef SHARDY_METRIC_ENUM_

typedef struct shardy_metric_info {
    int32_t metric;
    const char *name; /* "STORE_READS" */
    const char *unit;
    const char *text;
} shardy_metric_info;

/* Time, so that tests and simulations can provide their own. NULL members mean the system's. With a
 * monotonic clock of the caller's no thread watches the time: the leases of runs are renewed by the
 * calls that the program makes on their writers. */
typedef struct shardy_clock {
    int64_t (*wall_us)(void *user);           /* microseconds since 1970-01-01 UTC */
    int64_t (*monotonic_ns)(void *user);      /* never goes back */
    void (*sleep_us)(void *user, int64_t us); /* waits that long */
    void *user;
} shardy_clock;

typedef struct shardy_context_options {
    size_t struct_size;
    shardy_log_fn log; /* default NULL: no log */
    void *log_user;
    int32_t log_level; /* default SHARDY_LOG_WARN; records above it are not formatted */
    /* worker threads for parallel work; default 0: as many as there are processors. A read of
     * several shards of a store without local files has up to 64 more, which wait for it */
    uint32_t threads;
    shardy_clock clock; /* default: the system's */
    uint64_t seed; /* default 0: unpredictable; else run ids, nonces and jitter follow from it */
} shardy_context_options;

/* Writes the defaults into every field. `struct_size` is sizeof(shardy_context_options) of the
 * caller. */
SHARDY_API void shardy_context_options_init(shardy_context_options *options, size_t struct_size);

/* Makes a context. NULL options are the defaults. Threads are started when work first needs them.
 * Statuses: OK, INVALID, NOMEM. Ownership: yours, free it after everything opened with it. In a
 * child process whatever is opened with it answers FORKED.
 * Threads: construction only. */
SHARDY_API shardy_status shardy_context_new(const shardy_context_options *options,
    shardy_context **context_out, shardy_error *err) SHARDY_MUST_USE;

/* Frees a context once the last reader, writer and snapshot that uses it is closed; until then it
 * lives on. NULL is fine. Threads: construction only. */
SHARDY_API void shardy_context_free(shardy_context *context);

/* Value of a counter since the context was made; 0 for an unknown metric.
 * Threads: any thread, any time. */
SHARDY_API uint64_t shardy_context_metric(const shardy_context *context, int32_t metric);

/* All metrics; *count_out gets their number. The array is static. Threads: any thread, any time. */
SHARDY_API const shardy_metric_info *shardy_metric_list(size_t *count_out);

/* A token by which one thread asks a call of another thread to stop. The call answers CANCELLED at
 * its next opportunity. A token stays cancelled; use a new one for the next call. */
typedef struct shardy_cancel shardy_cancel;

/* Statuses: OK, NOMEM. Ownership: yours; free it after the last call that uses it has returned. */
SHARDY_API shardy_status shardy_cancel_new(
    shardy_cancel **cancel_out, shardy_error *err) SHARDY_MUST_USE;
/* Threads: any thread, any time; also from a signal handler. */
SHARDY_API void shardy_cancel_request(shardy_cancel *cancel);
/* 1 when cancelled, 0 when not; 0 for NULL. Threads: any thread, any time. */
SHARDY_API int32_t shardy_cancel_requested(const shardy_cancel *cancel);
SHARDY_API void shardy_cancel_free(shardy_cancel *cancel);

#ifdef __cplusplus
}
#endif
#endif
