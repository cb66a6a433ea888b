#include "racer.h"

#include "answers.h"
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const role_names[ROLE_KINDS] = {
    "writes", "rolls to", "cleans", "pins", "unpins", "reads"};

_Noreturn void racer_die(const char *what, const char *detail)
{
    fprintf(stderr, "race: %s: %s\n", what, detail);
    exit(2);
}

/* --- in the child ----------------------------------------------------------------------------- */

typedef struct gate {
    int ready;
    int go;
    int waited;
} gate;

static void wait_at(void *user)
{
    gate *g = user;
    char byte = 'w';
    if (write(g->ready, &byte, 1) != 1 || read(g->go, &byte, 1) != 1) {
        _exit(3);
    }
}

static int32_t wait_to_publish(void *user, const shardy_progress *progress)
{
    if (strcmp(progress->phase, "publish") == 0) {
        wait_at(user); /* the pointer was seen when the build began */
    }
    return 0;
}

/* Once, as soon as it has read the pointer. */
static int32_t wait_to_clean(void *user, uint64_t deleted, uint64_t objects)
{
    gate *g = user;
    (void)deleted;
    (void)objects;
    if (!g->waited) {
        g->waited = 1;
        wait_at(g);
    }
    return 0;
}

static void fill_admin(const dataset_place *at, shardy_admin_options *admin)
{
    shardy_admin_options_init(admin, sizeof *admin);
    admin->store = at->store;
    admin->manifest_store = at->manifests;
}

/* With `settles` its clock is days ahead: it takes all who are at work for dead. */
static shardy_status clean(const dataset_place *at, gate *g, int settles, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_context *context = settles ? crash_context(1) : NULL;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = RACER_KEPT;
    if (settles) {
        options.settle_after_s = 0;
        wait_at(g);
    } else {
        options.progress = wait_to_clean;
        options.progress_user = g;
    }
    fill_admin(at, &options.admin);
    shardy_status st = shardy_cleanup(context, at->url, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    shardy_context_free(context);
    return st;
}

static shardy_status pin(const dataset_place *at, const role *r, shardy_error *err)
{
    shardy_rollback_target target;
    shardy_admin_options options;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = r->run_id;
    fill_admin(at, &options);
    return r->kind == ROLE_PINS
               ? shardy_pin_add(NULL, at->url, "race", &target, &options, NULL, err)
               : shardy_pin_remove(NULL, at->url, "race", &target, &options, NULL, err);
}

static shardy_status build(const dataset_place *at, const role *r, gate *g, shardy_error *err)
{
    dataset_options options;
    dataset_options_init(&options);
    options.store = at->store;
    options.manifests = at->manifests;
    options.progress = r->plan.at_adoption ? NULL : wait_to_publish;
    options.progress_user = g;
    return dataset_build(NULL, at->url, r->run_id, &options, err);
}

static shardy_status act(
    const dataset_place *at, event_log *log, const role *r, gate *g, shardy_error *err)
{
    switch (r->kind) {
    case ROLE_CLEANS:
        return clean(at, g, r->settles, err);
    case ROLE_PINS:
    case ROLE_UNPINS:
        wait_at(g);
        return pin(at, r, err);
    case ROLE_ROLLS:
        wait_at(g);
        return dataset_rollback_at(at, r->run_id, err);
    case ROLE_READS:
        wait_at(g);
        answers_read(at, log, r->seed);
        return SHARDY_OK;
    default:
        return build(at, r, g, err);
    }
}

static int32_t helps(role_kind kind)
{
    return kind == ROLE_CLEANS || kind == ROLE_READS ? 1 : kind >= ROLE_PINS ? 2 : 0;
}

_Noreturn static void run_child(
    const place *at, event_log *log, const role *own, gate *g, int result)
{
    shardy_error err = {0};
    shardy_store *inner;
    shardy_store *store = NULL;
    publish_outcome o;
    event_plan plan = own->plan;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    plan.arrive = own->waits || plan.at_adoption || plan.at_manifest ? wait_at : NULL;
    plan.user = g;
    if (place_open_store(at, &inner, &err) < 0 ||
        event_store_open(inner, log, &plan, &store, &err) < 0) {
        _exit(3);
    }
    dataset_place dataset = place_dataset(at, store);
    place_record(at, store);
    memset(&o, 0, sizeof o);
    snprintf(o.run_id, sizeof o.run_id, "%s", own->run_id);
    o.status = act(&dataset, log, own, g, &err);
    o.helps = helps(own->kind);
    snprintf(o.message, sizeof o.message, "%.299s", o.status < 0 ? err.message : "");
    shardy_store_close(store);
    shardy_store_close(inner);
    _exit(write(result, &o, sizeof o) == (ssize_t)sizeof o ? 0 : 3);
}

/* --- the process ------------------------------------------------------------------------------ */

void racer_start(racer *p, const place *at, event_log *log, const role *own)
{
    int ready[2];
    int go[2];
    int result[2];
    if (pipe(ready) != 0 || pipe(go) != 0 || pipe(result) != 0) {
        racer_die("start", "no pipe");
    }
    fflush(NULL);
    p->pid = fork();
    if (p->pid < 0) {
        racer_die("start", "no process");
    }
    if (p->pid == 0) {
        gate g = {ready[1], go[0], 0};
        close(ready[0]);
        close(result[0]);
        run_child(at, log, own, &g, result[1]);
    }
    close(ready[1]);
    close(go[0]);
    close(result[1]);
    p->ready = ready[0];
    p->go = go[1];
    p->result = result[0];
}

void racer_wait(const racer *p)
{
    char byte;
    while (read(p->ready, &byte, 1) < 0) {
    }
}

void racer_let_go(const racer *p)
{
    char byte = 'g';
    if (write(p->go, &byte, 1) != 1) {
        /* it has ended, which its outcome will tell */
        return;
    }
}

int racer_end(racer *p, const role *own, publish_outcome *out)
{
    int status = 0;
    ssize_t n = read(p->result, out, sizeof *out);
    if (waitpid(p->pid, &status, 0) != p->pid) {
        racer_die("end", "waitpid");
    }
    int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const event_plan *plan = &own->plan;
    int planned = plan->dies_before || plan->dies_after || plan->dies_at_remove;
    if (n != (ssize_t)sizeof *out) {
        memset(out, 0, sizeof *out);
        snprintf(out->run_id, sizeof out->run_id, "%s", own->run_id);
        out->died = 1;
        out->helps = helps(own->kind);
    }
    if (killed ? !planned : !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        racer_die("a process has failed", own->run_id);
    }
    close(p->ready);
    close(p->go);
    close(p->result);
    return killed;
}
