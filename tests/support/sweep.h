/* sweep.h: makes the first, the second, ... operation of a kind fail, until none is left, and looks
 * after each run whether the failure was told and nothing was leaked. */
#ifndef SHARDY_TESTS_SWEEP_H
#define SHARDY_TESTS_SWEEP_H

#include <shardyfusion/sys/store.h>
#include <shardyfusion/sys/testing.h>

/* What is made to fail: the kinds of sys/testing.h, then calls of a store made by
 * shardy_store_wrap_fault(). */
typedef enum sweep_kind {
    SWEEP_ALLOC = SHARDY_FAULT_ALLOC,
    SWEEP_WRITE = SHARDY_FAULT_WRITE,
    SWEEP_READ = SHARDY_FAULT_READ,
    SWEEP_THREAD = SHARDY_FAULT_THREAD,
    SWEEP_DATABASE = SHARDY_FAULT_DATABASE,
    SWEEP_STORE_BEFORE = SHARDY_FAULT_KIND_COUNT_,
    SWEEP_STORE_AFTER,
    SWEEP_STORE_SHORT,
    SWEEP_KIND_COUNT
} sweep_kind;

#define SWEEP_BIT(kind) (1u << (kind))

/* One operation. Everything but `operation` runs without faults. */
typedef struct sweep_case {
    const char *name;
    unsigned kinds;   /* each of these must have a point at least */
    unsigned absorbs; /* of these a failure may go unnoticed: `check` sees whether all is well */
    /* Makes what the operation needs. May be NULL. */
    void *(*setup)(const void *param);
    /* The status it must answer without faults is any that is not a failure. */
    shardy_status (*operation)(void *state, shardy_error *err);
    /* Looks at the state afterwards: `err` is what the operation left. May be NULL. */
    void (*check)(void *state, shardy_status status, const shardy_error *err);
    /* Gives all of it back. May be NULL. */
    void (*teardown)(void *state);
    /* The store whose calls fail, for the SWEEP_STORE_ kinds. */
    shardy_store *(*fault_store)(void *state);
    const void *param; /* for setup */
    /* How many points of a kind are tried, spread over all, unless the environment says
     * SHARDY_TORTURE=1. 0: all of them. */
    uint32_t quick;
    uint32_t most; /* the same with SHARDY_TORTURE=1, for what takes seconds. 0: all of them */
} sweep_case;

/* In `check`: 1 when all operations from the chosen one on failed, so that cleaning up could not
 * work. */
int sweep_is_persistent(void);

/* 1 when the environment asks for all points and long runs. */
int sweep_torture(void);

/* Runs a case: each of its kinds, once and persistently. Fails the test when
 * - a failure was neither told, with a message and the right status, nor may be absorbed,
 * - memory, a thread of the library or a descriptor is left after teardown,
 * - a kind has no point at all.
 * Prints how many points there were. Returns how many were tried; 0 when the library was built
 * without fault points. */
uint64_t sweep_run(const sweep_case *c);

/* Runs an operation that has no point of any kind, while every one would fail. */
void sweep_without_points(const sweep_case *c);

/* Calls a function that returns a status within an operation. It is known from then on as one that
 * was made to fail, if a fault was met inside it. */
#define SWEEP_CALL(function, ...) (sweep_enter(#function), sweep_leave(function(__VA_ARGS__)))
void sweep_enter(const char *function);
shardy_status sweep_leave(shardy_status status);
/* Reads the public headers of a folder, but for those named, and fails the test when one of their
 * functions that return a status was not made to fail (or shown to have no points) in this program.
 * Prints how many faults each has met; returns how many functions there are. */
size_t sweep_check_headers(const char *folder, const char *const *without);

/* Open descriptors of this process. */
unsigned sweep_open_descriptors(void);

#endif
