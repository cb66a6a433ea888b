/* The pin domain of src/read/pin.h: calls use what they reach through an atomic pointer, somebody
 * swaps the pointer, and what was taken out of it is freed once nobody can be using it. Every access
 * to shared memory is one atomic step (in the code these are sequentially consistent).
 *
 * A label names a step; see publish_cleanup.pml.
 *
 * Objects: 0 is current at first, the swaps put 1, 2, ... in its place. Nothing is used after it was
 * freed, and when all calls have ended everything but the last is freed: no wake-up was lost.
 *
 *   spin -a -DCALLERS=2 -DCALLS=2 -DSWAPS=2 pin_domain.pml
 *
 * With -DLOAD_FIRST a call loads the pointer before it counts itself, with -DONE_PHASE the counters
 * of one phase are thought enough, with -DLATE_PENDING a retirement is told only when the counters
 * were looked at already: these must fail. */
#ifndef CALLERS
#define CALLERS 2
#endif
#ifndef CALLS
#define CALLS 2
#endif
#ifndef SWAPS
#define SWAPS 2
#endif
#define CELLS  2
#define BIT(n) (1 << (n))

byte current = 0;
byte count[4]; /* cell * 2 + phase */
bit phase = 0;
bool pending = 0;
byte freed = 0; /* a bit for each object, here and below */
/* guarded by the lock */
bool locked = 0;
byte waiting = 0, draining = 0;
byte round_step = 0;
byte ended = 0;

inline lock() { atomic { !locked -> locked = 1 } }
inline unlock() { locked = 0 }

/* shardy__pin_reclaim; `freeable`, `at` and `ok` are the caller's */
inline reclaim() {
    lock();
    do
    :: true ->
        if
        :: round_step == 0 && waiting == 0 -> break
        :: round_step == 0 && waiting != 0 ->
reclaim_begin:
            d_step { draining = waiting; waiting = 0; round_step = 1 }
reclaim_flip:
            phase = 1 - phase
        :: else
        fi;
        at = 0;
        ok = 1;
reclaim_look:
        do
        :: at < CELLS && ok -> ok = (count[at * 2 + (1 - phase)] == 0); at++
        :: else -> break
        od;
        if
        :: !ok -> break
#ifndef ONE_PHASE
        :: ok && round_step == 1 ->
            round_step = 2;
reclaim_flip_again:
            phase = 1 - phase
        :: ok && round_step == 2 ->
#else
        :: ok ->
#endif
reclaim_end:
            d_step { freeable = freeable | draining; draining = 0; round_step = 0 }
        fi
    od;
reclaim_pending:
    pending = (waiting != 0 || draining != 0);
    unlock();
reclaim_free:
    d_step { freed = freed | freeable; freeable = 0; at = 0; ok = 0 }
}

proctype caller(byte cell) {
    byte calls = 0, seen, at, freeable;
    bit mine;
    bool ok;
    do
    :: calls < CALLS ->
        calls++;
#ifdef LOAD_FIRST
        seen = current;
#endif
call_phase:
        if /* loaded without any order, so it may be an old one */
        :: mine = 0
        :: mine = 1
        fi;
call_count:
        count[cell * 2 + mine]++;
#ifndef LOAD_FIRST
call_load:
        seen = current;
#endif
        assert(!(freed & BIT(seen)));
call_uncount:
        d_step { assert(!(freed & BIT(seen))); seen = 0; count[cell * 2 + mine]-- }
call_pending:
        if
        :: pending -> reclaim()
        :: else
        fi
    :: else -> break
    od;
    ended++
}

proctype swapper() {
    byte swaps = 0, at, freeable;
    bool ok;
    do
    :: swaps < SWAPS ->
        swaps++;
retire_swap:
        current = swaps;
        lock();
        waiting = waiting | BIT(swaps - 1);
#ifndef LATE_PENDING
retire_pending:
        pending = 1;
#endif
        unlock();
        reclaim()
    :: else -> break
    od;
    ended++
}

init {
    atomic {
        run caller(0);
        run caller(1);
#if CALLERS > 2
        run caller(1); /* shares a cell */
#endif
        run swapper()
    }
    ended == CALLERS + 1 ->
        assert(freed == BIT(SWAPS) - 1 && waiting == 0 && draining == 0)
}
