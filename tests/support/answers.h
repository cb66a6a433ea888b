/* answers.h: a reader that asks the current snapshot of a data set again and again while others
 * move the pointer, and writes each answer down as an event: when it began, when the snapshot was
 * held, of which run it is, how it ended. */
#ifndef SHARDY_TESTS_ANSWERS_H
#define SHARDY_TESTS_ANSWERS_H

#include "dataset.h"
#include "event_store.h"

/* Reads until the log says that it may stop, or has asked often enough. The store of the place is
 * one of event_store_open(). The first answer whose parts are not of one snapshot ends it: its
 * status is INTERNAL, and its `ref` says what was mixed. Returns how many answers were whole. */
uint64_t answers_read(const dataset_place *place, event_log *log, uint64_t seed);

#endif
