/* crash.h: what a process does when it is killed or cut off by a test: it builds, rolls back, pins
 * or cleans up in a data set of dataset.h; and how such a process is started and ends. */
#ifndef SHARDY_TESTS_CRASH_H
#define SHARDY_TESTS_CRASH_H

#include "dataset.h"

#include <sys/types.h>

/* Stamps of the snapshots: OLD and NOW are there before, NOW is current. */
#define CRASH_OLD   "run-old"
#define CRASH_NOW   "run-now"
#define CRASH_NEW   "run-new"
#define CRASH_LATER "run-later"
/* A run that is left PUBLISHING. */
#define CRASH_DEAD "run-dead"

/* One call: where, and as which context. */
typedef struct crash_call {
    shardy_context *context;
    dataset_place at;
    uint32_t timeout_ms; /* of calls of administration; 0: the default */
    int late;            /* 1: a request of it may arrive when it is over */
} crash_call;

typedef shardy_status (*crash_fn)(const crash_call *call, shardy_error *err);

shardy_status crash_build_new(const crash_call *call, shardy_error *err);
shardy_status crash_build_later(const crash_call *call, shardy_error *err);
shardy_status crash_roll_back(const crash_call *call, shardy_error *err); /* to OLD */
/* Keeps one snapshot. */
shardy_status crash_clean(const crash_call *call, shardy_error *err);
/* Removes runs that were not published, and takes who is at work for dead: with a clock that is
 * ahead it condemns and settles their runs. */
shardy_status crash_clean_dead(const crash_call *call, shardy_error *err);
shardy_status crash_pin(const crash_call *call, shardy_error *err); /* OLD, as "keep" */
/* Leaves DEAD as somebody does who died, years ago, before the manifest was there. */
shardy_status crash_die_publishing(const crash_call *call, shardy_error *err);

/* An operation under test. */
typedef struct crash_operation {
    const char *name;
    const char *before;    /* the snapshot that is current before; NULL: there is none */
    const char *after;     /* and once it is done */
    int writes_run;        /* it is of a run of its own, which a cleanup may take for dead */
    int claims;            /* it claims the id of that run, which then stays taken */
    void (*prepare)(void); /* before; may be NULL */
    crash_fn run;
    /* What it may answer when it is run again after it was done, or cleaned up; OK always. */
    shardy_status again[2];
} crash_operation;

/* NOT 0: that answer of the operation that is run again fits; `is_over`: it was done or taken away,
 * or what it has claimed stays taken. */
int crash_fits_again(const crash_operation *op, int is_over, shardy_status st);

/* A context with one thread; `later`: its clock is days ahead, where no lease and no patience
 * lasts. */
shardy_context *crash_context(int later);

/* A process that runs this and ends with 0 or, when it fails, with 1. */
typedef shardy_status (*crash_child_fn)(const void *what, shardy_error *err);
pid_t crash_start(crash_child_fn run, const void *what);
/* How it ended: its exit code, or minus its signal. */
int crash_end(pid_t child);

#endif
