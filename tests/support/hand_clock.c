#include "hand_clock.h"

#include "support.h"

#include <string.h>

static int64_t read_wall(void *user)
{
    return ((hand_clock *)user)->wall_us++;
}

static int64_t read_monotonic(void *user)
{
    hand_clock *c = user;
    return c->monotonic_ns += c->step_ns;
}

static void sleep_by_hand(void *user, int64_t us)
{
    hand_clock *c = user;
    c->wall_us += us;
    c->monotonic_ns += us * 1000;
    c->slept_us += us;
    c->sleeps++;
}

shardy_context *hand_clock_context(hand_clock *clock)
{
    return hand_clock_context_with_log(clock, NULL, NULL);
}

shardy_context *hand_clock_context_with_log(hand_clock *clock, shardy_log_fn log, void *log_user)
{
    shardy_error err;
    shardy_context_options options;
    shardy_context *context;
    memset(clock, 0, sizeof *clock);
    clock->wall_us = 1700000000000000;
    clock->monotonic_ns = 1000000000;
    shardy_context_options_init(&options, sizeof options);
    options.clock.wall_us = read_wall;
    options.clock.monotonic_ns = read_monotonic;
    options.clock.sleep_us = sleep_by_hand;
    options.clock.user = clock;
    options.threads = 1;
    options.log = log;
    options.log_user = log_user;
    options.log_level = SHARDY_LOG_TRACE;
    assert_ok(shardy_context_new(&options, &context, &err));
    return context;
}
