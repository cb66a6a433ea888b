/* hand_clock.h: time that stands still until a test moves it. */
#ifndef SHARDY_TESTS_HAND_CLOCK_H
#define SHARDY_TESTS_HAND_CLOCK_H

#include <shardyfusion/context.h>

#include <stdatomic.h>

typedef struct hand_clock {
    _Atomic int64_t
        wall_us; /* goes on by 1 whenever it is read, so that no two times are the same */
    _Atomic int64_t monotonic_ns;
    _Atomic int64_t step_ns;  /* monotonic_ns goes on by that whenever it is read; 0 at first */
    _Atomic int64_t slept_us; /* sum of all sleeps, which move both clocks */
    _Atomic uint32_t sleeps;
} hand_clock;

/* A context with one worker thread whose time is `clock`, which is set to a fixed start. Free it
 * with shardy_context_free(). */
shardy_context *hand_clock_context(hand_clock *clock);
/* The same with a log. */
shardy_context *hand_clock_context_with_log(hand_clock *clock, shardy_log_fn log, void *log_user);

#endif
