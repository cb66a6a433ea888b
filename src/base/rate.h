/* rate.h: at most so many things per second, of two kinds at once (requests and bytes, rows and
 * bytes).
 *
 * What may be done at once is one second's worth. Who asks is given a time at which it may begin;
 * these times are in the order of asking, so nobody is overtaken. What costs more than a second's
 * worth may begin when a full second's worth is there, and those after it wait for the rest:
 * nothing waits for ever. Who gives a place back costs those who ask after that nothing. */
#ifndef SHARDY_BASE_RATE_H
#define SHARDY_BASE_RATE_H

#include "error.h"
#include "thread.h"

#include <shardyfusion/context.h>

#include <stdint.h>

#define RATE_KINDS 2

typedef struct rate_units {
    uint64_t of[RATE_KINDS];
} rate_units;

/* When a second's worth of each kind is there again. */
typedef struct rate_times {
    int64_t full_ns[RATE_KINDS];
} rate_times;

/* Who has asked and may begin at `due_ns`; whoever asks owns it, and leaves it where it is until it
 * has begun or was given back. */
typedef struct rate_place {
    rate_units units;
    int64_t due_ns;
    int32_t held; /* 1: it is in the queue */
    struct rate_place *before;
    struct rate_place *after;
} rate_place;

typedef struct rate_limit {
    const shardy_context *context;
    mutex lock;                 /* rank: leaf; guards the rest */
    double ns_each[RATE_KINDS]; /* 0: no limit */
    rate_times begun;           /* of those that have begun */
    rate_place *first;          /* those that have not, in the order of their times */
    rate_place *last;
    rate_times ahead; /* of those and these */
    int32_t is_stale; /* 1: `ahead` is to be found out anew */
} rate_limit;

/* INVALID, naming the option, when it is neither 0 (no limit) nor a positive number. */
shardy_status shardy__rate_check(double per_second, const char *option, shardy_error *err);
/* Rates that were checked. */
void shardy__rate_init(rate_limit *r, const shardy_context *context, double first, double second);
void shardy__rate_free(rate_limit *r);
/* Gives a place in the queue. TIMEOUT at once, with none given, when its time is not before the
 * deadline (0: none). */
shardy_status shardy__rate_reserve(
    rate_limit *r, rate_units units, int64_t deadline_ns, rate_place *place_out, shardy_error *err);
/* Ends a place, whose time has come. Nothing when it is not held. */
void shardy__rate_begin(rate_limit *r, rate_place *place);
/* Ends a place as if it had never been; those behind it keep their times. Nothing when it is not
 * held. */
void shardy__rate_leave(rate_limit *r, rate_place *place);
/* Reserves, waits and begins. TIMEOUT, CANCELLED. */
shardy_status shardy__rate_take(rate_limit *r, rate_units units, int64_t deadline_ns,
    const shardy_cancel *cancel, shardy_error *err);
/* Gives back what has begun and was not used. */
void shardy__rate_return(rate_limit *r, rate_units units);
/* What was used without having been reserved: those who ask from now on wait for it. */
void shardy__rate_charge(rate_limit *r, rate_units units);

#endif
