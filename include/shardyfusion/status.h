/* status.h: what a call answers.
 *
 * The status says what the caller should do, the domain says where it happened, the message says
 * what exactly. Values >= 0 are outcomes, values < 0 are failures. Values never change; new ones
 * may appear, so treat an unknown negative value as a failure.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_STATUS_H
#define SHARDYFUSION_STATUS_H

#include <shardyfusion/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, who acts, text). The enum, shardy_status_name(), docs/statuses.md and the classes
 * of the bindings come from this one table. */
#define SHARDY_STATUS_MAP(X)                                                                       \
    X(OK, 0, "nobody", "success")                                                                  \
    X(NOT_FOUND, 1, "nobody", "no such key or object")                                             \
    X(DONE, 2, "nobody", "iteration finished")                                                     \
    X(NOT_MODIFIED, 3, "nobody", "the object still has the version that was named")                \
    X(PENDING, 4, "nobody", "more input is needed before the call can go on")                      \
    X(INVALID, -100, "the program", "an argument or an input value is not acceptable")             \
    X(MISUSE, -101, "the program", "a handle was used in a way its documentation forbids")         \
    X(CONFIG, -102, "the program", "an option is unknown or its value is not acceptable")          \
    X(ROUTE, -103, "the program", "a key cannot be routed in this snapshot")                       \
    X(UNSUPPORTED, -104, "the program", "this build or this snapshot cannot do that")              \
    X(CANCELLED, -105, "the program", "the call was cancelled")                                    \
    X(FORKED, -106, "the program", "a handle was used in a child process")                         \
    X(UNKNOWN_TOKEN, -107, "the program", "a routing token is not one of the routing values")      \
    X(UNAVAILABLE, -200, "the operator, or a retry", "a service cannot be reached")                \
    X(TIMEOUT, -201, "the operator, or a retry", "the deadline passed")                            \
    X(THROTTLED, -202, "the operator, or a retry", "a service asks for fewer requests")            \
    X(AUTH, -203, "the operator", "access was refused")                                            \
    X(IO, -204, "the operator", "reading or writing failed")                                       \
    X(NO_SPACE, -205, "the operator", "the disk or a quota is full")                               \
    X(EXHAUSTED, -206, "the operator, or a retry",                                                 \
        "descriptors, threads, slots or a budget ran out")                                         \
    X(CORRUPT, -300, "the operator, or the writer's side", "data break the rules of their format") \
    X(FORMAT_VERSION, -301, "the operator, or the writer's side",                                  \
        "data are of a format version that is not known")                                          \
    X(CHECKSUM, -302, "the operator, or the writer's side", "data differ from their digest")       \
    X(COVERAGE, -303, "the operator, or the writer's side",                                        \
        "the shards that were built are not the shards that were planned")                         \
    X(GONE, -304, "the operator, or a refresh", "the snapshot was deleted under its reader")       \
    X(EXISTS, -400, "the program", "the object or the run id is taken")                            \
    X(CONFLICT, -401, "the program", "somebody else changed the object first")                     \
    X(FENCED, -402, "the program",                                                                 \
        "the run was condemned: given up or cleaned up, it stays invisible")                       \
    X(ENGINE, -500, "the engine's documentation", "an engine reported an error of its own")        \
    X(NOMEM, -900, "the authors", "out of memory")                                                 \
    X(INTERNAL, -901, "the authors", "a defect of this library")

#define SHARDY_STATUS_ENUM_(name, value, who, text) SHARDY_##name = (value),
typedef enum shardy_status {
    SHARDY_STATUS_MAP(SHARDY_STATUS_ENUM_) SHARDY_STATUS_RESERVED_ = -32768
} shardy_status;
#undef SHARDY_STATUS_ENUM_

/* What went wrong. The caller owns it and may pass NULL wherever one is asked for; it has no
 * resources to free, is overwritten by each failing call and left alone by succeeding ones. */
typedef struct shardy_error {
    int32_t status;    /* the value the function returned */
    int32_t retriable; /* 1: the same call may succeed later, unchanged */
    int64_t native;    /* errno, HTTP status and the like; 0 if there is none */
    char domain[16];   /* where: "store", "manifest", "sqlite", "publish", ... */
    /* how long a service asks to be left alone before the next try; 0 when it does not say */
    uint32_t retry_after_ms;
    char message[988]; /* one line of UTF-8 without a newline; never empty after a failure */
} shardy_error;

typedef struct shardy_status_info {
    int32_t status;
    const char *name; /* "NOT_FOUND" */
    const char *acts; /* who can do something about it */
    const char *text; /* "no such key or object" */
} shardy_status_info;

/* Name of a status without its prefix ("NOT_FOUND"); "UNKNOWN" for a value that this version of the
 * library does not have. Never NULL. Threads: any thread, any time. */
SHARDY_API const char *shardy_status_name(int32_t status);

/* All statuses, in the order of the table; *count_out gets their number. The array is static.
 * Threads: any thread, any time. */
SHARDY_API const shardy_status_info *shardy_status_list(size_t *count_out);

#ifdef __cplusplus
}
#endif
#endif
