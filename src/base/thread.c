#if defined(__linux__)
#define _GNU_SOURCE /* pthread_setname_np */
#endif
#include "thread.h"

#include "fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#ifdef SHARDY_FAULT_POINTS
static _Atomic uint64_t live_threads; /* see fault.c on globals */
#define COUNT_THREADS(n) atomic_fetch_add(&live_threads, (uint64_t)(n))
#else
#define COUNT_THREADS(n) ((void)0)
#endif

uint64_t shardy_testing_live_threads(void)
{
#ifdef SHARDY_FAULT_POINTS
    return atomic_load(&live_threads);
#else
    return 0;
#endif
}

shardy_status shardy__thread_start(
    thread *thread_out, void *(*run)(void *), void *arg, const char *name, shardy_error *err)
{
    int rc =
        shardy__fault(SHARDY_FAULT_THREAD) ? EAGAIN : pthread_create(thread_out, NULL, run, arg);
    if (rc != 0) {
        return shardy__error_errno(err, rc, "thread", "cannot start thread \"%s\"", name);
    }
    COUNT_THREADS(1);
    return SHARDY_OK;
}

void shardy__thread_name(const char *name)
{
#if defined(__linux__)
    /* for another thread it would open a file below /proc */
    pthread_setname_np(pthread_self(), name);
#else
    (void)name;
#endif
}

void shardy__thread_join(thread t)
{
    pthread_join(t, NULL);
    COUNT_THREADS(-1);
}

void shardy__mutex_init(mutex *m)
{
    pthread_mutex_init(m, NULL);
}

void shardy__mutex_destroy(mutex *m)
{
    pthread_mutex_destroy(m);
}

void shardy__mutex_lock(mutex *m)
{
    pthread_mutex_lock(m);
}

void shardy__mutex_unlock(mutex *m)
{
    pthread_mutex_unlock(m);
}

void shardy__condition_init(condition *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
#if defined(__linux__)
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&c->cond, &attr);
    pthread_condattr_destroy(&attr);
}

void shardy__condition_destroy(condition *c)
{
    pthread_cond_destroy(&c->cond);
}

void shardy__condition_wait(condition *c, mutex *m)
{
    pthread_cond_wait(&c->cond, m);
}

int shardy__condition_wait_ns(condition *c, mutex *m, int64_t ns)
{
    struct timespec until;
#if defined(__linux__)
    clock_gettime(CLOCK_MONOTONIC, &until);
#else
    clock_gettime(CLOCK_REALTIME, &until);
#endif
    int64_t nanos = (int64_t)until.tv_nsec + (ns < 0 ? 0 : ns);
    until.tv_sec += (time_t)(nanos / 1000000000);
    until.tv_nsec = (long)(nanos % 1000000000);
    return pthread_cond_timedwait(&c->cond, m, &until) != ETIMEDOUT;
}

void shardy__condition_signal(condition *c)
{
    pthread_cond_signal(&c->cond);
}

void shardy__condition_broadcast(condition *c)
{
    pthread_cond_broadcast(&c->cond);
}

uint32_t shardy__thread_slot(void)
{
    /* The address of a thread's control block differs between threads alive at the same time; its
     * low bits are the same for all, so fold the higher ones down. Equal slots cost speed, not
     * correctness. */
    uint64_t self = (uint64_t)(uintptr_t)pthread_self();
    return (uint32_t)((self * 0x9E3779B97F4A7C15u) >> 40);
}

uint32_t shardy__processor_count(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (uint32_t)n;
}
