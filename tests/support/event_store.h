/* event_store.h: a store that passes everything on and writes down what the publish protocol does:
 * each read of the pointer and of fates, each put, each removal, in one log that several processes
 * share. It can stop a process at a step and break a request on purpose, so that a test chooses who
 * meets whom.
 *
 * Nothing here asserts: it runs in child processes. */
#ifndef SHARDY_TESTS_EVENT_STORE_H
#define SHARDY_TESTS_EVENT_STORE_H

#include <shardyfusion/sys/store.h>

#include <stdatomic.h>
#include <stdint.h>

#define EVENTS_MAX 4096u

typedef enum event_op {
    EVENT_READ_POINTER = 1,
    EVENT_PUT = 2,
    EVENT_REMOVE = 3,
    EVENT_READ_FATE = 4
} event_op;

/* The process has not got its answer, or was killed before. */
#define EVENT_OPEN INT32_MAX

typedef struct event {
    int32_t op;
    uint32_t process;
    int32_t condition; /* of a put */
    int32_t status;
    uint64_t begin; /* of one order for all processes */
    uint64_t end;   /* 0: open */
    char key[300];
    char expected[80]; /* version that a put wants */
    char version[80];  /* read or written */
    /* of pointers and fates: */
    char run_id[64];
    char nonce[40];
    char ref[300];       /* of the manifest, relative */
    uint64_t generation; /* of pointers */
    int32_t state;       /* of fates */
    int32_t adopted;     /* of fates: 1 when its writer made none */
    uint32_t pins;       /* of fates */
} event;

/* In memory that the processes share. */
typedef struct event_log {
    _Atomic uint64_t clock;
    _Atomic uint32_t count;
    event events[EVENTS_MAX];
} event_log;

/* What a process does besides writing down. */
typedef struct event_plan {
    uint32_t process; /* its number */
    /* Called before the first put of the pointer, and with `at_adoption` before that of a fate
     * which must not exist: the process waits in it. May be NULL. */
    void (*arrive)(void *user);
    void *user;
    int at_adoption;
    /* Called before each read of the pointer, on the thread that reads. May be NULL. */
    void (*before_read)(void *user);
    int pointer_fails;       /* 1: the put of the pointer fails, and is known not to have counted */
    int dies_before;         /* 1: killed instead of putting the pointer */
    int dies_after;          /* 1: killed once the pointer is put */
    uint32_t dies_at_remove; /* killed instead of the n-th removal; 0: never */
    int32_t ignores;         /* a condition of puts that the store does not honour; 0: none */
} event_plan;

/* A store around `inner` (borrowed). OK, INVALID, NOMEM. Ownership: yours, close it. */
shardy_status event_store_open(shardy_store *inner, event_log *log, const event_plan *plan,
    shardy_store **store_out, shardy_error *err);

/* A fate or a pointer as it stands in an object, in the members of an event. NOT 0: it is one. */
int event_parse(const char *key, shardy_bytes body, event *out);

#endif
