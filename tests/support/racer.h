/* racer.h: one process of a race: what it does, how it is let go, stopped, killed, and what it was
 * told. */
#ifndef SHARDY_TESTS_RACER_H
#define SHARDY_TESTS_RACER_H

#include "event_store.h"
#include "place.h"
#include "publish_check.h"

#include <sys/types.h>

/* Runs that a cleanup keeps. */
#define RACER_KEPT 3u

typedef enum role_kind {
    ROLE_WRITES = 0,
    ROLE_ROLLS,
    ROLE_CLEANS,
    ROLE_PINS,
    ROLE_UNPINS,
    ROLE_READS,
    ROLE_KINDS
} role_kind;

extern const char *const role_names[ROLE_KINDS];

/* What one process does in a round. */
typedef struct role {
    char run_id[DATASET_STAMP_MAX];
    role_kind kind;
    int waits;   /* 1: where the pointer is put, too */
    int settles; /* of a cleanup: 1: it takes all who are at work for dead */
    uint64_t seed;
    event_plan plan;
} role;

typedef struct racer {
    pid_t pid;
    int ready;  /* a byte for each time it waits; ends with the process */
    int go;     /* takes a byte for each time it may go on */
    int result; /* gives its outcome */
} racer;

/* Starts a process that plays the role. This one must have no further threads. It waits before it
 * comes to what others could notice: a writer before it publishes, a cleanup that does not settle
 * once it has read the pointer, all others at once. */
void racer_start(racer *p, const place *at, event_log *log, const role *own);
/* Until it waits, or has ended. */
void racer_wait(const racer *p);
void racer_let_go(const racer *p);
/* Waits for its end and takes its outcome. NOT 0: it was killed, as planned. A process that ended
 * otherwise than its role has it ends the program. */
int racer_end(racer *p, const role *own, publish_outcome *out);

/* Ends the program: the test itself cannot go on. */
_Noreturn void racer_die(const char *what, const char *detail);

#endif
