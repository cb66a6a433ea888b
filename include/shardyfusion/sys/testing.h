/* sys/testing.h: making things fail on purpose. No promise about this header at all; it is not
 * installed.
 *
 * The library must have been built with fault points (CMake option SHARDY_FAULT_POINTS, on in the
 * presets for development and sanitizers); otherwise shardy_testing_fault_points() is 0 and nothing
 * is injected.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_SYS_TESTING_H
#define SHARDYFUSION_SYS_TESTING_H

#include <shardyfusion/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What can be made to fail. */
typedef enum shardy_fault_kind {
    SHARDY_FAULT_ALLOC = 0,  /* memory */
    SHARDY_FAULT_WRITE = 1,  /* write, fsync, rename, link, mkdir, truncate: the disk is full */
    SHARDY_FAULT_READ = 2,   /* open, read, stat, mmap */
    SHARDY_FAULT_THREAD = 3, /* starting a thread */
    /* a connection to a database breaks: before a statement is sent, or before it is answered */
    SHARDY_FAULT_DATABASE = 4,
    SHARDY_FAULT_KIND_COUNT_ = 5
} shardy_fault_kind;

/* 1 when fault points are compiled in. */
SHARDY_API int32_t shardy_testing_fault_points(void);

/* From now on the nth (from 1) operation of that kind fails in this process and, if `persistent`,
 * all after it. nth 0: none. Resets the counts of that kind. */
SHARDY_API void shardy_testing_fault_set(int32_t kind, uint64_t nth, int32_t persistent);

/* Operations of that kind since the last set, and how many of them were made to fail. */
SHARDY_API void shardy_testing_fault_counts(int32_t kind, uint64_t *seen_out, uint64_t *failed_out);

/* The process is killed with SIGKILL at its nth (from 1) operation of that kind from now on: before
 * it is done or, with `after`, once it is done. Counts also what never fails, such as removing a
 * temporary file. nth 0: none. */
SHARDY_API void shardy_testing_kill_at(int32_t kind, uint64_t nth, int32_t after);
/* Operations of that kind since then. */
SHARDY_API uint64_t shardy_testing_kill_count(int32_t kind);

/* Blocks of memory that the library holds in this process now (builds with fault points only). */
SHARDY_API uint64_t shardy_testing_live_allocations(void);
/* Threads of the library in this process that were started and not joined (builds with fault points
 * only). */
SHARDY_API uint64_t shardy_testing_live_threads(void);

#ifdef __cplusplus
}
#endif
#endif
