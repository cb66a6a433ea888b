/* thread.h: threads, locks and waiting with a deadline. */
#ifndef SHARDY_BASE_THREAD_H
#define SHARDY_BASE_THREAD_H

#include "error.h"

#include <pthread.h>
#include <stdint.h>

typedef pthread_t thread;
typedef pthread_mutex_t mutex;

/* A condition that waits on the monotonic clock. */
typedef struct condition {
    pthread_cond_t cond;
} condition;

shardy_status shardy__thread_start(
    thread *thread_out, void *(*run)(void *), void *arg, const char *name, shardy_error *err);
void shardy__thread_join(thread t);
/* Names the calling thread, for debuggers and profiles; at most 15 bytes. */
void shardy__thread_name(const char *name);

void shardy__mutex_init(mutex *m);
void shardy__mutex_destroy(mutex *m);
void shardy__mutex_lock(mutex *m);
void shardy__mutex_unlock(mutex *m);

void shardy__condition_init(condition *c);
void shardy__condition_destroy(condition *c);
void shardy__condition_wait(condition *c, mutex *m);
/* False when `ns` of real time have passed without a signal. */
int shardy__condition_wait_ns(condition *c, mutex *m, int64_t ns);
void shardy__condition_signal(condition *c);
void shardy__condition_broadcast(condition *c);

/* A small number that is the same for all calls from one thread, to spread counters. */
uint32_t shardy__thread_slot(void);

uint32_t shardy__processor_count(void);

#endif
