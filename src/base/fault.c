#include "fault.h"

#include <signal.h>
#include <stdatomic.h>

#ifdef SHARDY_FAULT_POINTS

/* The only mutable globals of the library, and only in builds for tests: a fault has to reach an
 * operation that has no handle, such as an allocation. */
static struct {
    _Atomic uint64_t nth;
    _Atomic int persistent;
    _Atomic uint64_t seen;
    _Atomic uint64_t failed;
} fault_state[SHARDY_FAULT_KIND_COUNT_];

/* Where the process is to be killed. Operations are counted when they begin. */
static struct {
    _Atomic uint64_t nth;
    _Atomic int after;
    _Atomic uint64_t seen;
} kill_state[SHARDY_FAULT_KIND_COUNT_];

void shardy__fault_mark(shardy_fault_kind kind)
{
    uint64_t nth = atomic_load(&kill_state[kind].nth);
    if (nth == 0) {
        return;
    }
    uint64_t seen = atomic_fetch_add(&kill_state[kind].seen, 1) + 1;
    if (seen == nth && !atomic_load(&kill_state[kind].after)) {
        raise(SIGKILL);
    }
}

void shardy__fault_passed(shardy_fault_kind kind)
{
    uint64_t nth = atomic_load(&kill_state[kind].nth);
    if (nth != 0 && atomic_load(&kill_state[kind].seen) >= nth) {
        raise(SIGKILL);
    }
}

void shardy_testing_kill_at(int32_t kind, uint64_t nth, int32_t after)
{
    if (kind < 0 || kind >= SHARDY_FAULT_KIND_COUNT_) {
        return;
    }
    atomic_store(&kill_state[kind].nth, 0);
    atomic_store(&kill_state[kind].seen, 0);
    atomic_store(&kill_state[kind].after, after);
    atomic_store(&kill_state[kind].nth, nth);
}

uint64_t shardy_testing_kill_count(int32_t kind)
{
    int known = kind >= 0 && kind < SHARDY_FAULT_KIND_COUNT_;
    return known ? atomic_load(&kill_state[kind].seen) : 0;
}

int shardy__fault(shardy_fault_kind kind)
{
    shardy__fault_mark(kind);
    uint64_t seen = atomic_fetch_add(&fault_state[kind].seen, 1) + 1;
    uint64_t nth = atomic_load(&fault_state[kind].nth);
    if (nth == 0 || seen < nth || (seen > nth && !atomic_load(&fault_state[kind].persistent))) {
        return 0;
    }
    atomic_fetch_add(&fault_state[kind].failed, 1);
    return 1;
}

int32_t shardy_testing_fault_points(void)
{
    return 1;
}

void shardy_testing_fault_set(int32_t kind, uint64_t nth, int32_t persistent)
{
    if (kind < 0 || kind >= SHARDY_FAULT_KIND_COUNT_) {
        return;
    }
    atomic_store(&fault_state[kind].nth, 0);
    atomic_store(&fault_state[kind].seen, 0);
    atomic_store(&fault_state[kind].failed, 0);
    atomic_store(&fault_state[kind].persistent, persistent);
    atomic_store(&fault_state[kind].nth, nth);
}

void shardy_testing_fault_counts(int32_t kind, uint64_t *seen_out, uint64_t *failed_out)
{
    int known = kind >= 0 && kind < SHARDY_FAULT_KIND_COUNT_;
    if (seen_out) {
        *seen_out = known ? atomic_load(&fault_state[kind].seen) : 0;
    }
    if (failed_out) {
        *failed_out = known ? atomic_load(&fault_state[kind].failed) : 0;
    }
}

#else

void shardy_testing_kill_at(int32_t kind, uint64_t nth, int32_t after)
{
    (void)kind;
    (void)nth;
    (void)after;
}

uint64_t shardy_testing_kill_count(int32_t kind)
{
    (void)kind;
    return 0;
}

int32_t shardy_testing_fault_points(void)
{
    return 0;
}

void shardy_testing_fault_set(int32_t kind, uint64_t nth, int32_t persistent)
{
    (void)kind;
    (void)nth;
    (void)persistent;
}

void shardy_testing_fault_counts(int32_t kind, uint64_t *seen_out, uint64_t *failed_out)
{
    (void)kind;
    if (seen_out) {
        *seen_out = 0;
    }
    if (failed_out) {
        *failed_out = 0;
    }
}

#endif
