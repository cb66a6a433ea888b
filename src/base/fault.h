/* fault.h: points where tests make an operation fail (sys/testing.h). Compiled away in releases. */
#ifndef SHARDY_BASE_FAULT_H
#define SHARDY_BASE_FAULT_H

#include <shardyfusion/sys/testing.h>

#ifdef SHARDY_FAULT_POINTS
/* 1 when the operation that is about to run has to fail. */
int shardy__fault(shardy_fault_kind kind);
#else
#define shardy__fault(kind) (0)
#endif

#endif
