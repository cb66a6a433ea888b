/* pointer_check.h: whether what was read fits one order of all moves of the pointer: each move and
 * each read happens at one moment between its begin and its end (the pointer is linearizable), and
 * each answer is of a snapshot that was current at a moment while it was being held.
 *
 * Nothing here asserts: the first thing that is wrong is put into words. */
#ifndef SHARDY_TESTS_POINTER_CHECK_H
#define SHARDY_TESTS_POINTER_CHECK_H

#include "dataset.h"
#include "event_store.h"

/* One round. The moves are puts of the pointer that succeeded, each of the version that the one
 * before it made; `from` is the pointer before the first. */
typedef struct pointer_history {
    const event *events;
    size_t count;
    event from;
    const size_t *moves; /* indices of events */
    size_t move_count;
} pointer_history;

/* NOT 0: all is well. */
int pointer_check(const pointer_history *h, dataset_problem *problem);

#endif
