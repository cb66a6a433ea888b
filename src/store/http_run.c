/* http_run.c: a request that its caller waits for. */
#include "http.h"

#include "../base/thread.h"

/* Between two times that whoever waits looks up. */
#define TELL_NS INT64_C(100000000)

typedef struct run_wait {
    mutex lock;
    condition changed;
    int finished;
} run_wait;

static void run_done(http_request *request)
{
    run_wait *w = request->user;
    shardy__mutex_lock(&w->lock);
    w->finished = 1;
    shardy__condition_signal(&w->changed);
    shardy__mutex_unlock(&w->lock);
}

/* The engine keeps deadlines and cancellations, and writes into the request until it is done. */
static void start_and_wait(http_client *client, http_request *request, run_wait *w)
{
    request->done = run_done;
    request->user = w;
    shardy__http_start(client, request);
    shardy__mutex_lock(&w->lock);
    while (!w->finished) {
        if (!request->waiting) {
            shardy__condition_wait(&w->changed, &w->lock);
        } else if (!shardy__condition_wait_ns(&w->changed, &w->lock, TELL_NS)) {
            shardy__mutex_unlock(&w->lock);
            request->waiting(request);
            shardy__mutex_lock(&w->lock);
        }
    }
    shardy__mutex_unlock(&w->lock);
}

shardy_status shardy__http_run(http_client *client, http_request *request, shardy_error *err)
{
    run_wait w;
    shardy__mutex_init(&w.lock);
    shardy__condition_init(&w.changed);
    w.finished = 0;
    start_and_wait(client, request, &w);
    shardy__condition_destroy(&w.changed);
    shardy__mutex_destroy(&w.lock);
    if (request->status < 0 && err) {
        *err = request->error;
    }
    return request->status;
}
