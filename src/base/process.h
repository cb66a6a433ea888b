/* process.h: noticing fork(). Threads and locks do not survive it, so a handle remembers the
 * generation of the process it was opened in and answers FORKED in a child. */
#ifndef SHARDY_BASE_PROCESS_H
#define SHARDY_BASE_PROCESS_H

#include "error.h"

#include <stdatomic.h>
#include <stdint.h>

/* Number of forks between the first process and this one. Changed by the child handler of fork()
 * only: the one thing that handler does, because nothing else is safe there. */
extern _Atomic uint64_t shardy__fork_count;

/* Makes sure that forks are counted from now on. EXHAUSTED or NOMEM when the handler cannot be
 * registered. */
shardy_status shardy__process_watch(shardy_error *err);

static inline uint64_t shardy__process_generation(void)
{
    return atomic_load_explicit(&shardy__fork_count, memory_order_relaxed);
}

/* FORKED when the handle of that generation was opened in another process. */
shardy_status shardy__check_process(uint64_t generation, shardy_error *err);

#endif
