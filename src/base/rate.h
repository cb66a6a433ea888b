/* rate.h: at most so many things per second, of two kinds at once (requests and bytes, rows and
 * bytes).
 *
 * What may be done at once is one second's worth. Who asks is given a time at which it may begin;
 * these times are in the order of asking, so nobody is overtaken. What costs more than a second's
 * worth may begin when a full second's worth is there, and those after it wait for the rest:
 * nothing waits for ever. */
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

typedef struct rate_limit {
    const shardy_context *context;
    mutex lock;                  /* rank: leaf; guards the times */
    double ns_each[RATE_KINDS];  /* 0: no limit */
    int64_t full_ns[RATE_KINDS]; /* when a second's worth is there again */
    int64_t last_ns;             /* the last time that was given */
} rate_limit;

/* INVALID, naming the option, when it is neither 0 (no limit) nor a positive number. */
shardy_status shardy__rate_check(double per_second, const char *option, shardy_error *err);
/* Rates that were checked. */
void shardy__rate_init(rate_limit *r, const shardy_context *context, double first, double second);
void shardy__rate_free(rate_limit *r);
/* Reserves, and tells when it may begin. TIMEOUT at once, with nothing reserved, when that is not
 * before the deadline (0: none). */
shardy_status shardy__rate_reserve(
    rate_limit *r, rate_units units, int64_t deadline_ns, int64_t *due_out, shardy_error *err);
/* The same, and waits. CANCELLED. */
shardy_status shardy__rate_take(rate_limit *r, rate_units units, int64_t deadline_ns,
    const shardy_cancel *cancel, shardy_error *err);
/* Gives back what was reserved and not used. */
void shardy__rate_return(rate_limit *r, rate_units units);
/* What was used without having been reserved: those who ask from now on wait for it. */
void shardy__rate_charge(rate_limit *r, rate_units units);

#endif
