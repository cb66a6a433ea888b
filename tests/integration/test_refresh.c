/* A refresh that is held up holds up nobody for longer than he wants. */
#include "support/dataset.h"
#include "support/event_store.h"
#include "support/support.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

static shardy_error err;

/* Stops whoever reads the pointer while it is closed. */
typedef struct barrier {
    _Atomic int closed;
    sem_t arrived;
    sem_t open;
} barrier;

typedef struct refresh {
    shardy_reader *reader;
    shardy_status status;
    shardy_error error;
} refresh;

static void wait_at_barrier(void *user)
{
    barrier *b = user;
    if (atomic_load(&b->closed)) {
        sem_post(&b->arrived);
        while (sem_wait(&b->open) != 0) {
        }
    }
}

static void *run_refresh(void *arg)
{
    refresh *r = arg;
    r->status = shardy_reader_refresh(r->reader, NULL, &r->error);
    return NULL;
}

static void test_refresh__keeps_its_deadline_while_another_one_is_held_up(void **state)
{
    (void)state;
    static event_log log;
    static barrier b;
    event_plan plan = {.before_read = wait_at_barrier, .user = &b};
    shardy_store *inner;
    shardy_store *store;
    shardy_cancel *cancel;
    refresh other = {0};
    dataset_options options;
    shardy_reader_options reader_options;
    shardy_read_options limits;
    pthread_t refresher;
    sem_init(&b.arrived, 0, 0);
    sem_init(&b.open, 0, 0);
    assert_ok(shardy_store_open_mem(NULL, &inner, &err));
    assert_ok(event_store_open(inner, &log, &plan, &store, &err));
    dataset_options_init(&options);
    options.store = store;
    assert_ok(dataset_build(NULL, NULL, "run-a", &options, &err));
    shardy_reader_options_init(&reader_options, sizeof reader_options);
    reader_options.store = store;
    assert_ok(shardy_reader_open(NULL, NULL, &reader_options, &other.reader, &err));
    assert_ok(dataset_build(NULL, NULL, "run-b", &options, &err));

    atomic_store(&b.closed, 1);
    assert_int_equal(pthread_create(&refresher, NULL, run_refresh, &other), 0);
    while (sem_wait(&b.arrived) != 0) {
    }
    atomic_store(&b.closed, 0);
    shardy_read_options_init(&limits, sizeof limits);
    limits.timeout_ms = 1;
    assert_status(SHARDY_TIMEOUT, shardy_reader_refresh(other.reader, &limits, &err));
    assert_ok(shardy_cancel_new(&cancel, &err));
    shardy_cancel_request(cancel);
    shardy_read_options_init(&limits, sizeof limits);
    limits.cancel = cancel;
    assert_status(SHARDY_CANCELLED, shardy_reader_refresh(other.reader, &limits, &err));
    sem_post(&b.open);
    pthread_join(refresher, NULL);
    assert_int_equal(other.status, SHARDY_OK);
    assert_status(SHARDY_NOT_MODIFIED, shardy_reader_refresh(other.reader, NULL, &err));

    shardy_cancel_free(cancel);
    shardy_reader_close(other.reader);
    shardy_store_close(store);
    shardy_store_close(inner);
    sem_destroy(&b.arrived);
    sem_destroy(&b.open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refresh__keeps_its_deadline_while_another_one_is_held_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
