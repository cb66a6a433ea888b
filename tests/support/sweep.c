#include "sweep.h"

#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More points than any operation has: a sweep that does not end is a mistake. */
#define POINTS_MAX 200000u

static const char *const kind_names[SWEEP_KIND_COUNT] = {
    "alloc", "write", "read", "thread", "store-before", "store-after", "store-short"};

unsigned sweep_open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return 0;
    }
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

/* One run of a case with the fault at one place. */
typedef struct sweep_run_result {
    shardy_status status;
    shardy_error error;
    uint64_t seen;   /* operations of the kind */
    uint64_t failed; /* of these, made to fail */
} sweep_run_result;

static void set_fault(const sweep_case *c, void *state, int kind, uint64_t nth, int32_t persistent)
{
    if (kind < SHARDY_FAULT_KIND_COUNT_) {
        shardy_testing_fault_set(kind, nth, persistent);
    } else {
        int how = kind - SWEEP_STORE_BEFORE + SHARDY_FAULT_BEFORE;
        shardy_store_fault_set(c->fault_store(state), nth, persistent, how, SHARDY_IO);
    }
}

static void take_counts(const sweep_case *c, void *state, int kind, sweep_run_result *r)
{
    if (kind < SHARDY_FAULT_KIND_COUNT_) {
        shardy_testing_fault_counts(kind, &r->seen, &r->failed);
    } else {
        shardy_store_fault_counts(c->fault_store(state), &r->seen, &r->failed);
    }
}

static int persistent_now;

int sweep_is_persistent(void)
{
    return persistent_now;
}

int sweep_torture(void)
{
    const char *text = getenv("SHARDY_TORTURE");
    return text && strcmp(text, "1") == 0;
}

/* The status that a failure of this kind has to lead to. */
static int status_fits(int kind, shardy_status status)
{
    switch (kind) {
    case SWEEP_ALLOC:
        return status == SHARDY_NOMEM;
    case SWEEP_THREAD:
        return status == SHARDY_EXHAUSTED || status == SHARDY_UNAVAILABLE;
    case SWEEP_WRITE:
        return status == SHARDY_NO_SPACE || status == SHARDY_IO;
    case SWEEP_READ:
        return status == SHARDY_IO || status == SHARDY_UNSUPPORTED;
    case SWEEP_STORE_SHORT:
        return status < 0;
    default:
        return status == SHARDY_IO;
    }
}

static void check_result(
    const sweep_case *c, int kind, const char *where, const sweep_run_result *r)
{
    if (r->failed == 0) {
        if (r->status < 0) {
            fail_msg("%s answers %s without a fault: %s", where, shardy_status_name(r->status),
                r->error.message);
        }
        return;
    }
    if (r->status >= 0) {
        if (!(c->absorbs & SWEEP_BIT(kind))) {
            fail_msg(
                "%s answers %s although something failed", where, shardy_status_name(r->status));
        }
        return;
    }
    if (r->error.message[0] == '\0' || r->error.status != r->status) {
        fail_msg("%s answers %s with the message \"%s\" of %s", where,
            shardy_status_name(r->status), r->error.message, shardy_status_name(r->error.status));
    }
    if (!status_fits(kind, r->status)) {
        fail_msg("%s answers %s, which does not fit: %s", where, shardy_status_name(r->status),
            r->error.message);
    }
}

static void run_once(const sweep_case *c, int kind, uint64_t nth, int32_t persistent,
    const char *where, sweep_run_result *r)
{
    uint64_t blocks = shardy_testing_live_allocations();
    uint64_t threads = shardy_testing_live_threads();
    unsigned descriptors = sweep_open_descriptors();
    void *state = c->setup ? c->setup(c->param) : NULL;
    memset(r, 0, sizeof *r);
    persistent_now = persistent;
    set_fault(c, state, kind, nth, persistent);
    r->status = c->operation(state, &r->error);
    take_counts(c, state, kind, r);
    set_fault(c, state, kind, 0, 0);
    check_result(c, kind, where, r);
    if (c->check) {
        c->check(state, r->status, &r->error);
    }
    if (c->teardown) {
        c->teardown(state);
    }
    if (shardy_testing_live_allocations() != blocks) {
        fail_msg("%s leaves %lld blocks of memory", where,
            (long long)shardy_testing_live_allocations() - (long long)blocks);
    }
    if (shardy_testing_live_threads() != threads) {
        fail_msg("%s leaves %lld threads", where,
            (long long)shardy_testing_live_threads() - (long long)threads);
    }
    if (sweep_open_descriptors() != descriptors) {
        fail_msg(
            "%s leaves %d descriptors", where, (int)sweep_open_descriptors() - (int)descriptors);
    }
}

/* What was seen at the points of a kind. */
typedef struct sweep_points {
    uint64_t all;
    uint64_t tried;
    uint64_t told;
} sweep_points;

/* Runs with the fault at a point. 0 when the operation ends before it. */
static int try_point(
    const sweep_case *c, int kind, uint64_t nth, int32_t persistent, sweep_points *p)
{
    char where[200];
    sweep_run_result r;
    snprintf(where, sizeof where, "%s, %s %llu%s,", c->name, kind_names[kind],
        (unsigned long long)nth, persistent ? " and all after it" : "");
    run_once(c, kind, nth, persistent, where, &r);
    p->tried += r.failed > 0; /* a call that is no read cannot be cut short */
    p->told += r.status < 0;
    return r.seen >= nth;
}

static void try_all(const sweep_case *c, int kind, int32_t persistent, sweep_points *p)
{
    for (uint64_t nth = 1; try_point(c, kind, nth, persistent, p); nth++) {
        if (nth == POINTS_MAX) {
            fail_msg("%s, %s: the sweep does not end", c->name, kind_names[kind]);
        }
    }
    p->all = p->tried;
}

/* Some points, evenly spread; persistent faults at others than single ones. */
static void try_some(const sweep_case *c, int kind, int32_t persistent, sweep_points *p)
{
    sweep_run_result r;
    run_once(c, kind, 0, 0, c->name, &r);
    p->all = r.seen;
    uint64_t step = r.seen > c->quick ? r.seen / c->quick : 1;
    for (uint64_t nth = persistent ? 1 + step / 2 : 1; nth <= r.seen; nth += step) {
        try_point(c, kind, nth, persistent, p);
    }
}

static uint64_t sweep_kind_points(const sweep_case *c, int kind, int32_t persistent)
{
    sweep_points p = {0, 0, 0};
    if (c->quick && !sweep_torture()) {
        try_some(c, kind, persistent, &p);
    } else {
        try_all(c, kind, persistent, &p);
    }
    print_message("sweep: %s: %s: %llu points, %llu tried %s, %llu told\n", c->name,
        kind_names[kind], (unsigned long long)p.all, (unsigned long long)p.tried,
        persistent ? "persistently" : "once", (unsigned long long)p.told);
    return p.tried;
}

uint64_t sweep_run(const sweep_case *c)
{
    uint64_t sum = 0;
    if (!shardy_testing_fault_points()) {
        print_message("sweep: %s: skipped, this build has no fault points\n", c->name);
        return 0;
    }
    for (int kind = 0; kind < SWEEP_KIND_COUNT; kind++) {
        if (!(c->kinds & SWEEP_BIT(kind))) {
            continue;
        }
        for (int32_t persistent = 0; persistent <= 1; persistent++) {
            uint64_t points = sweep_kind_points(c, kind, persistent);
            if (points == 0) {
                fail_msg("%s has no %s to fail", c->name, kind_names[kind]);
            }
            sum += points;
        }
    }
    return sum;
}
