/* fault.h: points where tests make an operation fail, or kill the process (sys/testing.h). Compiled
 * away in releases. */
#ifndef SHARDY_BASE_FAULT_H
#define SHARDY_BASE_FAULT_H

#include <shardyfusion/sys/testing.h>

#ifdef SHARDY_FAULT_POINTS
/* 1 when the operation that is about to run has to fail. */
int shardy__fault(shardy_fault_kind kind);
/* The operation was done: where a test may want the process to be killed after it. */
void shardy__fault_passed(shardy_fault_kind kind);
/* Like shardy__fault() for an operation that cannot be made to fail, only be interrupted. */
void shardy__fault_mark(shardy_fault_kind kind);
#else
#define shardy__fault(kind)        ((void)(kind), 0)
#define shardy__fault_passed(kind) ((void)(kind))
#define shardy__fault_mark(kind)   ((void)(kind))
#endif

#endif
