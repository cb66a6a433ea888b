#include "process.h"

#include <pthread.h>
#include <unistd.h>

_Atomic uint64_t shardy__fork_count;

static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static int watch_result;

static void count_fork(void)
{
    atomic_fetch_add_explicit(&shardy__fork_count, 1, memory_order_relaxed);
}

static void register_handler(void)
{
    watch_result = pthread_atfork(NULL, NULL, count_fork);
}

shardy_status shardy__process_watch(shardy_error *err)
{
    pthread_once(&watch_once, register_handler);
    if (watch_result != 0) {
        return shardy__error_errno(err, watch_result, "process", "cannot watch for forks");
    }
    return SHARDY_OK;
}

shardy_status shardy__check_process(uint64_t generation, shardy_error *err)
{
    if (generation == shardy__process_generation()) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_FORKED, "process",
        "the handle was opened before a fork; process %ld has to open its own", (long)getpid());
}
