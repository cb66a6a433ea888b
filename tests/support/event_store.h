/* event_store.h: a store that passes everything on and writes down what the publish protocol does:
 * each read of the pointer and of fates, each put, each removal, in one log that several processes
 * share. It can stop a process at a step and break a request on purpose, so that a test chooses who
 * meets whom. Where manifests and the pointer are rows of a database, a manifest store around that
 * one writes down the same (event_manifests.c).
 *
 * Nothing here asserts: it runs in child processes. */
#ifndef SHARDY_TESTS_EVENT_STORE_H
#define SHARDY_TESTS_EVENT_STORE_H

#include <shardyfusion/sys/manifest_store.h>
#include <shardyfusion/sys/store.h>

#include <stdatomic.h>
#include <stdint.h>

#define EVENTS_MAX 4096u

typedef enum event_op {
    EVENT_READ_POINTER = 1,
    EVENT_PUT = 2,
    EVENT_REMOVE = 3,
    EVENT_READ_FATE = 4,
    EVENT_ANSWER = 5 /* a snapshot was held and asked */
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
    char ref[300];       /* key of the manifest, as event_manifest_key() makes it */
    uint64_t generation; /* of pointers */
    int32_t state;       /* of fates */
    int32_t adopted;     /* of fates: 1 when its writer made none */
    uint32_t pins;       /* of fates */
    int32_t together;    /* of a manifest: 1 when the next put of its process, that of the pointer,
                            happened in the same transaction */
    uint64_t held;       /* of an answer: when the snapshot was held; 0: it never was */
} event;

/* In memory that the processes share. */
typedef struct event_log {
    _Atomic uint64_t clock;
    _Atomic uint32_t count;
    _Atomic uint32_t stop; /* not 0: who reads until the others have ended may end */
    event events[EVENTS_MAX];
} event_log;

/* What a process does besides writing down. */
typedef struct event_plan {
    uint32_t process; /* its number */
    /* Called before the first put of the pointer, and with `at_adoption` before that of a fate
     * which must not exist, with `at_manifest` of a manifest: the process waits in it. May be
     * NULL. */
    void (*arrive)(void *user);
    void *user;
    int at_adoption;
    int at_manifest;
    /* Called before each read of the pointer, on the thread that reads. May be NULL. */
    void (*before_read)(void *user);
    int pointer_fails;       /* 1: the put of the pointer fails, and is known not to have counted */
    int dies_before;         /* 1: killed instead of putting the pointer */
    int dies_after;          /* 1: killed once the pointer is put */
    uint32_t dies_at_remove; /* killed instead of the n-th removal; 0: never */
    int32_t ignores;         /* a condition of puts that the store does not honour; 0: none */
    int32_t refuses;         /* 1: every put under a condition is UNSUPPORTED */
} event_plan;

/* A store around `inner` (borrowed). OK, INVALID, NOMEM. Ownership: yours, close it. */
shardy_status event_store_open(shardy_store *inner, event_log *log, const event_plan *plan,
    shardy_store **store_out, shardy_error *err);

/* --- what such stores share ------------------------------------------------------------------- */

/* An event that begins now, with its process. A place in the log; one to throw away when it is
 * full, which the checker notices. */
event *event_begin(shardy_store *store, int32_t op, shardy_bytes key);
void event_end(shardy_store *store, event *e, shardy_status st);
/* The plan of the process, and its turn to wait, to be killed instead of a removal. */
const event_plan *event_store_plan(shardy_store *store);
void event_arrive(shardy_store *store);
void event_count_removal(shardy_store *store);

/* The manifest stores of Postgres that are opened from now on write their events down as `store`
 * does, which event_store_open() made; NULL: they write none. For programs that are linked so that
 * the opening is ours (tests/race/CMakeLists.txt). */
void event_manifests_record(shardy_store *store);

/* The key of a manifest from its ref, whichever manifest store it is of: where refs are run ids,
 * "manifests/run_id=<id>/manifest". */
void event_manifest_key(const char *ref, char *out, size_t size);

/* A fate or a pointer as it stands in an object, in the members of an event. NOT 0: it is one. */
int event_parse(const char *key, shardy_bytes body, event *out);

#endif
