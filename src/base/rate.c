#include "rate.h"

#include "context.h"

#include <string.h>

#define SECOND_NS 1000000000ll
/* About three years: where sums of costs are still far from the end of an int64_t. */
#define COST_NS_MAX 100000000000000000ll

shardy_status shardy__rate_check(double per_second, const char *option, shardy_error *err)
{
    if (per_second >= 0 && per_second <= 1e18) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_INVALID, "options",
        "%s is %g, expected a number above 0, or 0 for no limit", option, per_second);
}

void shardy__rate_init(rate_limit *r, const shardy_context *context, double first, double second)
{
    memset(r, 0, sizeof *r);
    r->context = context;
    r->ns_each[0] = first > 0 ? (double)SECOND_NS / first : 0;
    r->ns_each[1] = second > 0 ? (double)SECOND_NS / second : 0;
    shardy__mutex_init(&r->lock);
}

void shardy__rate_free(rate_limit *r)
{
    shardy__mutex_destroy(&r->lock);
}

static int64_t cost_ns(const rate_limit *r, size_t kind, rate_units units)
{
    if (units.of[kind] == 0) {
        return 0; /* also where each would take for ever */
    }
    double cost = (double)units.of[kind] * r->ns_each[kind];
    return cost < (double)COST_NS_MAX ? (int64_t)cost : COST_NS_MAX;
}

static void add_cost(
    const rate_limit *r, rate_times *times, size_t kind, rate_units units, int64_t begin)
{
    int64_t full = times->full_ns[kind] > begin ? times->full_ns[kind] : begin;
    full += cost_ns(r, kind, units);
    int64_t most = begin + COST_NS_MAX;
    times->full_ns[kind] = full < most ? full : most;
}

static void add_place(const rate_limit *r, rate_times *times, const rate_place *place)
{
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        add_cost(r, times, kind, place->units, place->due_ns);
    }
}

/* Called with the lock. */
static void look_ahead(rate_limit *r)
{
    if (r->is_stale) {
        r->ahead = r->begun;
        for (const rate_place *p = r->first; p; p = p->after) {
            add_place(r, &r->ahead, p);
        }
        r->is_stale = 0;
    }
}

/* When there is enough of a kind: all of it, or a second's worth. Called with the lock. */
static int64_t begin_ns(const rate_limit *r, size_t kind, rate_units units, int64_t now)
{
    int64_t cost = cost_ns(r, kind, units);
    int64_t begin = r->ahead.full_ns[kind] - SECOND_NS + (cost < SECOND_NS ? cost : SECOND_NS);
    return cost > 0 && begin > now ? begin : now;
}

/* Called with the lock. */
static void join(rate_limit *r, rate_place *place)
{
    place->held = 1;
    place->before = r->last;
    place->after = NULL;
    *(r->last ? &r->last->after : &r->first) = place;
    r->last = place;
    add_place(r, &r->ahead, place);
}

/* Called with the lock. */
static void unlink_place(rate_limit *r, rate_place *place)
{
    *(place->before ? &place->before->after : &r->first) = place->after;
    *(place->after ? &place->after->before : &r->last) = place->before;
    place->held = 0;
    r->is_stale = 1;
}

shardy_status shardy__rate_reserve(
    rate_limit *r, rate_units units, int64_t deadline_ns, rate_place *place_out, shardy_error *err)
{
    int64_t now = shardy__monotonic_ns(r->context);
    shardy__mutex_lock(&r->lock);
    look_ahead(r);
    int64_t due = r->last && r->last->due_ns > now ? r->last->due_ns : now;
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        due = begin_ns(r, kind, units, due);
    }
    int in_time = deadline_ns == 0 || due < deadline_ns;
    *place_out = (rate_place){.units = units, .due_ns = due};
    if (in_time) {
        join(r, place_out);
    }
    shardy__mutex_unlock(&r->lock);
    if (!in_time) {
        int64_t ms = (due - now) / 1000000 + 1;
        shardy_status st = shardy__error(err, SHARDY_TIMEOUT, "limit",
            "the rate limit lets this begin in %lld ms, after its deadline", (long long)ms);
        /* so that nobody tries again before */
        return shardy__error_retry_after(err, st, ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX);
    }
    if (due > now) {
        shardy__count(r->context, SHARDY_METRIC_LIMIT_WAITS, 1);
        shardy__count(r->context, SHARDY_METRIC_LIMIT_WAIT_US, (uint64_t)(due - now) / 1000);
    }
    return SHARDY_OK;
}

void shardy__rate_begin(rate_limit *r, rate_place *place)
{
    shardy__mutex_lock(&r->lock);
    if (place->held) {
        int32_t is_stale = r->is_stale || place != r->first;
        unlink_place(r, place);
        add_place(r, &r->begun, place);
        r->is_stale = is_stale; /* the first in the queue is what `ahead` begins with */
    }
    shardy__mutex_unlock(&r->lock);
}

void shardy__rate_leave(rate_limit *r, rate_place *place)
{
    shardy__mutex_lock(&r->lock);
    if (place->held) {
        unlink_place(r, place);
    }
    shardy__mutex_unlock(&r->lock);
}

shardy_status shardy__rate_take(rate_limit *r, rate_units units, int64_t deadline_ns,
    const shardy_cancel *cancel, shardy_error *err)
{
    rate_place place;
    SHARDY_TRY(shardy__rate_reserve(r, units, deadline_ns, &place, err));
    shardy_status st = shardy__sleep_until(r->context, place.due_ns, cancel, "limit", err);
    if (st < 0) {
        shardy__rate_leave(r, &place);
    } else {
        shardy__rate_begin(r, &place);
    }
    return st;
}

void shardy__rate_return(rate_limit *r, rate_units units)
{
    shardy__mutex_lock(&r->lock);
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        r->begun.full_ns[kind] -= cost_ns(r, kind, units);
    }
    r->is_stale = 1;
    shardy__mutex_unlock(&r->lock);
}

void shardy__rate_charge(rate_limit *r, rate_units units)
{
    int64_t now = shardy__monotonic_ns(r->context);
    shardy__mutex_lock(&r->lock);
    for (size_t kind = 0; kind < RATE_KINDS; kind++) {
        add_cost(r, &r->begun, kind, units, now);
    }
    r->is_stale = 1;
    shardy__mutex_unlock(&r->lock);
}
