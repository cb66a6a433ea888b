/* pin.h: using shared objects without a lock, and freeing them once nobody uses them any more.
 *
 * A pin domain protects objects that are reached through an atomic pointer: the snapshot of a
 * reader, the open shards of a snapshot. A call pins the domain, loads pointers, works, unpins.
 * Whoever takes an object out of its pointer retires it; it is freed after every call that was
 * under way at that moment has unpinned.
 *
 * Why not load the pointer and then increment a counter in the object: between the two the object
 * may be freed. Why not one counter beside the pointer: every call of every thread would write the
 * same cache line.
 *
 * How it works (the idea of sleepable read-copy-update, McKenney 2006): counters live in the
 * domain, in cells of one cache line each, chosen by thread, each with one counter per phase (0 or
 * 1). A pin adds 1 to the counter of the current phase in its cell; the unpin subtracts it there.
 * All of these, the swap of the pointer and the reads of the counters are sequentially consistent,
 * so there is one order of them.
 *
 *   claim: an object that was retired is not in use once each of the 2 * cells counters has been
 *   read as zero at some time after it was taken out of its pointer (the counters need not be zero
 *   at the same time).
 *   proof: let a call hold the object. It added 1 to some counter c before it loaded the pointer,
 *   and loaded it before the swap. So c was at least 1 from before the swap until the call unpins.
 *   A read of c as zero after the swap therefore comes after the unpin. Calls that pin after the
 *   swap cannot reach the object.
 *
 * Under steady load the counters of the current phase may never be seen as zero. So after a
 * retirement the phase is flipped: new calls go to the other counters and the old ones drain; then
 * it is flipped again for the rest.
 *
 * Nobody waits: an unpin that finds something retired tries to get on with it, so that the last
 * call out frees it.
 *
 * The model is in tests/model/pin_domain.pml; the names of its steps stand where they are done. */
#ifndef SHARDY_READ_PIN_H
#define SHARDY_READ_PIN_H

#include "../base/error.h"
#include "../base/thread.h"

#include <stdatomic.h>
#include <stdint.h>

#define PIN_CELLS 32u /* power of two */

typedef struct pin_cell {
    _Alignas(64) _Atomic int64_t count[2]; /* by phase */
} pin_cell;

/* Embedded in what is retired. */
typedef struct pin_retired {
    struct pin_retired *next;
    void (*free)(struct pin_retired *retired);
} pin_retired;

typedef struct pin_domain {
    pin_cell cells[PIN_CELLS];
    _Alignas(64) _Atomic uint32_t phase;
    _Atomic uint32_t pending; /* not 0: something is retired */
    mutex lock;               /* rank: leaf; guards the rest */
    pin_retired *waiting;     /* retired after the current round began */
    pin_retired *draining;    /* freed when the round ends */
    int round_step;           /* 0: none; 1, 2: counters of one phase still to be seen as zero */
} pin_domain;

/* What a call holds between pin and unpin. */
typedef struct pin {
    pin_domain *domain;
    _Atomic int64_t *count;
} pin;

void shardy__pin_domain_init(pin_domain *d);
/* Frees everything retired. Nobody may be pinned. */
void shardy__pin_domain_destroy(pin_domain *d);
/* Takes over an object that can no longer be reached by new calls; frees it when nobody uses it. */
void shardy__pin_retire(pin_domain *d, pin_retired *retired);
/* Frees what can be freed now. */
void shardy__pin_reclaim(pin_domain *d);

static inline pin shardy__pin(pin_domain *d)
{
    /* model: call_phase */
    uint32_t phase = atomic_load_explicit(&d->phase, memory_order_relaxed) & 1;
    pin p = {d, &d->cells[shardy__thread_slot() & (PIN_CELLS - 1)].count[phase]};
    /* model: call_count */
    atomic_fetch_add(p.count, 1);
    return p;
}

static inline void shardy__unpin(pin p)
{
    /* model: call_uncount */
    atomic_fetch_sub(p.count, 1);
    /* model: call_pending */
    if (atomic_load(&p.domain->pending)) {
        shardy__pin_reclaim(p.domain);
    }
}

#endif
