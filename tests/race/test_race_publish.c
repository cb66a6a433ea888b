/* Four processes at a time publish to one directory, roll it back, pin and clean up, round after
 * round. This
 * process decides who stands where when all are let go; a checker that knows only compare-and-swap
 * (support/publish_check.h) decides from the events of each process, from what it was told and from
 * the directory whether all was well: one of those that saw the same pointer moves it, each loser
 * is told by whom, the pointer never dangles, what it names is whole, nothing is lost, and nothing
 * that is current, pinned or named by the pointer is removed.
 *
 * SHARDY_TORTURE=1: a thousand rounds. The same program is built with one fault of the protocol at
 * a time planted in copies of the sources (planted/); run with --planted TEXT it must find the
 * fault and put it in these words. */
#include "support/publish_check.h"
#include "support/support.h"
#include "support/sweep.h"

#include "catalog/fate.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES      4u
#define QUICK_ROUNDS   40u
#define TORTURE_ROUNDS 1000u
#define PLANTED_ROUNDS 40u
#define NOBODY         UINT32_MAX
/* Targets of rollbacks are among so many of the newest runs. */
#define TARGETS 40u
/* Runs that a cleanup keeps. */
#define KEPT 3u

/* Who meets whom. All but the free ones meet where the pointer is put, having seen the same one. */
typedef enum round_kind {
    ROUND_PUBLISH,  /* four writers */
    ROUND_MIXED,    /* two writers, two rollbacks, perhaps to the same run */
    ROUND_FREE,     /* the same, each at its own pace */
    ROUND_FAILING,  /* a writer fails while two roll back to its run, and one publishes */
    ROUND_GIVEN_UP, /* the same, each at its own pace: it may be gone before they have it */
    ROUND_SAME_ID,  /* four writers with one run id */
    ROUND_ADOPTED,  /* four rollbacks to a run that has no fate, as those of the reference */
    ROUND_KILLED,   /* one of four writers is killed before or after it moved the pointer */
    /* a cleanup has made its plan when one rolls back to a run in it, one pins another, and one
     * publishes a run whose name begins like that of a third */
    ROUND_CLEANED,
    ROUND_CLEANERS, /* two cleanups, one of which may be killed, a rollback and a writer */
    ROUND_KINDS
} round_kind;

static const char *const kind_names[ROUND_KINDS] = {"publish", "mixed", "free", "failing",
    "given up", "same id", "adopted", "killed", "cleaned", "cleaners"};

typedef enum role_kind {
    ROLE_WRITES = 0,
    ROLE_ROLLS,
    ROLE_CLEANS,
    ROLE_PINS,
    ROLE_UNPINS
} role_kind;

static const char *const role_names[] = {"writes", "rolls to", "cleans", "pins", "unpins"};

/* What one process does in a round. */
typedef struct role {
    char run_id[DATASET_STAMP_MAX];
    role_kind kind;
    int waits; /* 1: where the pointer is put, too */
    event_plan plan;
} role;

typedef struct process {
    pid_t pid;
    int ready;  /* a byte for each time it waits; ends with the process */
    int go;     /* takes a byte for each time it may go on */
    int result; /* gives its outcome */
} process;

typedef struct race {
    char *dir;
    shardy_store *store;
    event_log *log; /* shared */
    publish_world world;
    support_rand rand;
    uint32_t round;
    round_kind kind;
    role roles[PROCESSES];
    publish_outcome outcomes[PROCESSES];
    uint64_t won[5];  /* by the kind of the role */
    uint64_t lost[5]; /* likewise */
    uint64_t killed;
    FILE *trace; /* NULL: none is written */
    uint64_t events;
    uint64_t watched; /* times that the data set was read while others moved the pointer */
} race;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "test_race_publish: %s: %s\n", what, detail);
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

static shardy_status clean(const char *dir, shardy_store *store, gate *g, shardy_error *err)
{
    shardy_cleanup_options options;
    shardy_cleanup_result result;
    shardy_cleanup_options_init(&options, sizeof options);
    options.keep_last = KEPT;
    options.admin.store = store;
    options.progress = g ? wait_to_clean : NULL;
    options.progress_user = g;
    shardy_status st = shardy_cleanup(NULL, dir, &options, &result, err);
    shardy_cleanup_result_dispose(&result);
    return st;
}

static shardy_status pin(const char *dir, const role *r, shardy_store *store, shardy_error *err)
{
    shardy_rollback_target target;
    shardy_admin_options options;
    shardy_rollback_target_init(&target, sizeof target);
    target.run_id = r->run_id;
    shardy_admin_options_init(&options, sizeof options);
    options.store = store;
    return r->kind == ROLE_PINS
               ? shardy_pin_add(NULL, dir, "race", &target, &options, NULL, err)
               : shardy_pin_remove(NULL, dir, "race", &target, &options, NULL, err);
}

static shardy_status act(
    const char *dir, const role *r, shardy_store *store, gate *g, shardy_error *err)
{
    if (r->kind == ROLE_CLEANS) {
        return clean(dir, store, g, err);
    }
    if (r->kind == ROLE_PINS || r->kind == ROLE_UNPINS) {
        wait_at(g);
        return pin(dir, r, store, err);
    }
    if (r->kind == ROLE_ROLLS) {
        wait_at(g);
        return dataset_rollback(NULL, dir, r->run_id, store, err);
    }
    dataset_options options;
    dataset_options_init(&options);
    options.store = store;
    options.progress = r->plan.at_adoption ? NULL : wait_to_publish;
    options.progress_user = g;
    return dataset_build(NULL, dir, r->run_id, &options, err);
}

static void run_child(const race *r, const role *own, gate *g, int result)
{
    shardy_error err = {0};
    shardy_store_fs_options options;
    shardy_store *inner;
    shardy_store *store = NULL;
    publish_outcome o;
    event_plan plan = own->plan;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    plan.arrive = own->waits || plan.at_adoption ? wait_at : NULL;
    plan.user = g;
    shardy_store_fs_options_init(&options, sizeof options);
    options.sync = 0;
    if (shardy_store_open_fs(NULL, r->dir, &options, &inner, &err) < 0 ||
        event_store_open(inner, r->log, &plan, &store, &err) < 0) {
        _exit(3);
    }
    memset(&o, 0, sizeof o);
    snprintf(o.run_id, sizeof o.run_id, "%s", own->run_id);
    o.status = act(r->dir, own, store, g, &err);
    o.helps = own->kind == ROLE_CLEANS ? 1 : own->kind >= ROLE_PINS ? 2 : 0;
    snprintf(o.message, sizeof o.message, "%.299s", o.status < 0 ? err.message : "");
    shardy_store_close(store);
    shardy_store_close(inner);
    _exit(write(result, &o, sizeof o) == (ssize_t)sizeof o ? 0 : 3);
}

/* --- processes -------------------------------------------------------------------------------- */

static void start(const race *r, uint32_t number, process *p)
{
    int ready[2];
    int go[2];
    int result[2];
    if (pipe(ready) != 0 || pipe(go) != 0 || pipe(result) != 0) {
        die("start", "no pipe");
    }
    fflush(NULL);
    p->pid = fork();
    if (p->pid < 0) {
        die("start", "no process");
    }
    if (p->pid == 0) {
        gate g = {ready[1], go[0], 0};
        close(ready[0]);
        close(result[0]);
        run_child(r, &r->roles[number], &g, result[1]);
    }
    close(ready[1]);
    close(go[0]);
    close(result[1]);
    p->ready = ready[0];
    p->go = go[1];
    p->result = result[0];
}

/* Until it waits, or has ended. */
static void wait_for(const process *p)
{
    char byte;
    while (read(p->ready, &byte, 1) < 0) {
    }
}

static void let_go(const process *p)
{
    char byte = 'g';
    if (write(p->go, &byte, 1) != 1) {
        /* it has ended, which its outcome will tell */
        return;
    }
}

static void let_all_go(race *r, const process *all)
{
    uint32_t first = (uint32_t)support_rand_below(&r->rand, PROCESSES);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        let_go(&all[(first + i) % PROCESSES]);
    }
}

/* The run that the pointer names. */
static void read_current(const race *r, char run_id_out[64])
{
    shardy_error err = {0};
    shardy_buf body = {0};
    shardy_object_meta meta;
    event now;
    memset(&now, 0, sizeof now);
    if (shardy_store_get(r->store, "_CURRENT", 0, SHARDY_CURRENT_LEN_MAX, &body, &meta, &err) !=
            SHARDY_OK ||
        !event_parse("_CURRENT", (shardy_bytes){body.data, body.len}, &now)) {
        die("read_current", err.message);
    }
    shardy_buf_release(&body);
    snprintf(run_id_out, 64, "%.63s", now.run_id);
}

/* Reads the current snapshot. A reader whose snapshot is not current any more may find that it was
 * removed, and it alone: then it is as good as read. */
static int read_whole(race *r, dataset_problem *problem)
{
    char before[64];
    char after[64];
    char stamp[DATASET_STAMP_MAX];
    read_current(r, before);
    if (dataset_check_current(r->dir, DATASET_ROWS, stamp, problem)) {
        return 1;
    }
    read_current(r, after);
    return r->kind == ROUND_CLEANERS && strcmp(before, after) != 0 &&
           (strstr(problem->text, "there is no object") ||
               strstr(problem->text, "which is not there"));
}

/* Reads the data set until all have ended: the pointer never dangles. */
static int watch(race *r, const process *all, dataset_problem *problem)
{
    struct pollfd polls[PROCESSES];
    int open = 1;
    for (uint32_t i = 0; i < PROCESSES; i++) {
        polls[i].fd = all[i].result;
        polls[i].events = POLLIN;
    }
    while (open > 0) {
        if (!read_whole(r, problem)) {
            return 0;
        }
        r->watched++;
        if (poll(polls, PROCESSES, 0) < 0) {
            die("watch", "poll");
        }
        open = 0;
        for (uint32_t i = 0; i < PROCESSES; i++) {
            open += (polls[i].revents & (POLLIN | POLLHUP)) == 0;
        }
    }
    return 1;
}

static void end(race *r, const process *all)
{
    for (uint32_t i = 0; i < PROCESSES; i++) {
        publish_outcome *o = &r->outcomes[i];
        int status = 0;
        ssize_t n = read(all[i].result, o, sizeof *o);
        if (waitpid(all[i].pid, &status, 0) != all[i].pid) {
            die("end", "waitpid");
        }
        int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        const event_plan *plan = &r->roles[i].plan;
        int planned = plan->dies_before || plan->dies_after || plan->dies_at_remove;
        r->killed += killed ? 1 : 0;
        if (n != (ssize_t)sizeof *o) {
            memset(o, 0, sizeof *o);
            snprintf(o->run_id, sizeof o->run_id, "%s", r->roles[i].run_id);
            o->died = 1;
        }
        if (killed ? !planned : !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            die("a process has failed", r->roles[i].run_id);
        }
        close(all[i].ready);
        close(all[i].go);
        close(all[i].result);
    }
}

/* --- rounds ----------------------------------------------------------------------------------- */

/* A run to roll back to. */
static const char *target(race *r)
{
    publish_world *w = &r->world;
    for (;;) {
        uint64_t back =
            support_rand_below(&r->rand, w->run_count < TARGETS ? w->run_count : TARGETS);
        const publish_run_state *run = &w->runs[w->run_count - 1 - back];
        if (run->published && run->state != FATE_CONDEMNED) {
            return run->run_id;
        }
    }
}

/* The n-th oldest run that cleanups may remove, or one that is pinned; NULL: there is none. */
static const char *old_run(race *r, uint32_t n, int pinned)
{
    publish_world *w = &r->world;
    uint32_t after = 0;
    for (size_t i = w->run_count; i > 0; i--) {
        const publish_run_state *run = &w->runs[i - 1];
        after += run->published && run->state != FATE_CONDEMNED;
    }
    for (size_t i = 0; i < w->run_count && after > KEPT; i++) {
        const publish_run_state *run = &w->runs[i];
        if (!run->published || run->state == FATE_CONDEMNED) {
            continue;
        }
        after--;
        if ((run->pins > 0) == pinned && run->state == FATE_PUBLISHED &&
            strcmp(run->run_id, w->run_id) != 0 && n-- == 0) {
            return run->run_id;
        }
    }
    return NULL;
}

static void set_role(race *r, uint32_t i, const char *run_id, role_kind kind)
{
    snprintf(r->roles[i].run_id, sizeof r->roles[i].run_id, "%.39s", run_id);
    r->roles[i].kind = kind;
}

/* As if the reference had written the run. */
static void remove_fate(race *r, const char *run_id)
{
    char key[128];
    int32_t result;
    shardy_error err = {0};
    snprintf(key, sizeof key, "runs/run_id=%s/fate", run_id);
    shardy_bytes bytes = {key, strlen(key)};
    if (shardy_store_remove(r->store, &bytes, 1, &result, &err) < 0) {
        die("remove_fate", err.message);
    }
    publish_run_state *run = publish_world_run(&r->world, run_id);
    run->state = 0;
    run->version[0] = '\0';
}

static int is_cleaned(const race *r)
{
    return r->kind == ROUND_CLEANED || r->kind == ROUND_CLEANERS;
}

static void choose_cleaners(race *r)
{
    const char *back = old_run(r, 0, 0);
    const char *kept = old_run(r, 1, 0);
    const char *alike = old_run(r, 2, 0);
    const char *unkept = old_run(r, 0, 1);
    char name[DATASET_STAMP_MAX];
    set_role(r, 0, "", ROLE_CLEANS);
    set_role(r, 1, back ? back : target(r), ROLE_ROLLS);
    if (r->kind == ROUND_CLEANERS) {
        set_role(r, 2, "", ROLE_CLEANS);
        r->roles[0].plan.dies_at_remove = (uint32_t)support_rand_below(&r->rand, 6);
    } else if (unkept && support_rand_below(&r->rand, 2) == 0) {
        set_role(r, 2, unkept, ROLE_UNPINS);
    } else {
        set_role(r, 2, kept ? kept : target(r), ROLE_PINS);
    }
    snprintf(name, sizeof name, "%.30s%u", alike ? alike : "run-alike-", r->round);
    set_role(r, 3, name, ROLE_WRITES);
}

/* All about one run, which nobody has written yet or whose fate is missing. */
static void choose_same(race *r, char same[DATASET_STAMP_MAX])
{
    if (r->kind == ROUND_SAME_ID) {
        snprintf(same, DATASET_STAMP_MAX, "run-%u", r->round);
    } else {
        remove_fate(r, same);
    }
    for (uint32_t i = 0; i < PROCESSES; i++) {
        set_role(r, i, same, r->kind == ROUND_ADOPTED ? ROLE_ROLLS : ROLE_WRITES);
        r->roles[i].plan.at_adoption = 1;
    }
}

static void choose_victim(race *r)
{
    uint32_t victim = (uint32_t)support_rand_below(&r->rand, PROCESSES);
    int after = support_rand_below(&r->rand, 2) == 0;
    r->roles[victim].plan.dies_before = !after;
    r->roles[victim].plan.dies_after = after;
}

static void choose_roles(race *r, publish_rules *rules)
{
    int writers = r->kind == ROUND_PUBLISH || r->kind == ROUND_SAME_ID || r->kind == ROUND_KILLED;
    int failing = r->kind == ROUND_FAILING || r->kind == ROUND_GIVEN_UP;
    int cleans = is_cleaned(r);
    memset(r->roles, 0, sizeof r->roles);
    char same[DATASET_STAMP_MAX];
    snprintf(same, sizeof same, "%.39s", target(r));
    for (uint32_t i = 0; i < PROCESSES; i++) {
        char own[DATASET_STAMP_MAX];
        role *p = &r->roles[i];
        snprintf(own, sizeof own, "run-%u-%u", r->round, i);
        set_role(r, i, own, ROLE_WRITES);
        p->plan.process = i;
        p->waits = r->kind != ROUND_FREE && r->kind != ROUND_GIVEN_UP && !cleans;
        if (!writers && !failing && i >= 2) {
            set_role(r, i, support_rand_below(&r->rand, 3) == 0 ? target(r) : same, ROLE_ROLLS);
        }
    }
    rules->processes = PROCESSES;
    rules->one_winner = r->kind != ROUND_FREE && r->kind != ROUND_GIVEN_UP && !cleans;
    rules->cleans = cleans;
    rules->may_be_given_up = NULL;
    rules->pointer_fails = NOBODY;
    if (failing) {
        r->roles[0].plan.pointer_fails = 1;
        r->roles[0].waits = 1;
        set_role(r, 1, r->roles[0].run_id, ROLE_ROLLS);
        set_role(r, 2, r->roles[0].run_id, ROLE_ROLLS);
        rules->pointer_fails = 0;
        rules->may_be_given_up = r->roles[0].run_id;
    }
    if (r->kind == ROUND_SAME_ID || r->kind == ROUND_ADOPTED) {
        choose_same(r, same);
    }
    if (cleans) {
        choose_cleaners(r);
    }
    if (r->kind == ROUND_KILLED) {
        choose_victim(r);
    }
}

/* Lets the processes go up to where they meet, and then all at once. */
static int conduct(race *r, const process *all, dataset_problem *problem)
{
    int failing = r->kind == ROUND_FAILING || r->kind == ROUND_GIVEN_UP;
    uint32_t first = 0;
    for (uint32_t i = 0; i < PROCESSES; i++) {
        wait_for(&all[i]);
    }
    if (failing) { /* its manifest is there for the others to see */
        let_go(&all[0]);
        wait_for(&all[0]);
        first = 1;
    }
    if (r->kind == ROUND_ADOPTED || (r->roles[first].waits && !r->roles[first].plan.at_adoption)) {
        for (uint32_t i = first; i < PROCESSES; i++) {
            let_go(&all[i]);
        }
        for (uint32_t i = first; i < PROCESSES; i++) {
            wait_for(&all[i]);
        }
    }
    if (r->kind == ROUND_CLEANED) { /* the cleanup has its plan; the others come to their ends */
        for (uint32_t i = 1; i < PROCESSES; i++) {
            let_go(&all[i]);
        }
        for (uint32_t i = 1; i < PROCESSES; i++) {
            wait_for(&all[i]);
        }
    }
    let_all_go(r, all);
    return watch(r, all, problem);
}

/* One round as lines for tests/model/check_traces.py: who takes part, what is published, events. */
static void write_trace(const race *r, FILE *out)
{
    fprintf(out, "round\t%u\t%s\n", r->round, kind_names[r->kind]);
    for (size_t i = 0; i < r->world.run_count; i++) {
        const publish_run_state *run = &r->world.runs[i];
        fprintf(out, "run\t%s\t%d\t%s\t%u\t%s\t%d\n", run->run_id, run->state, run->version,
            run->pins, run->ref, run->published);
    }
    fprintf(out, "pointer\t%s\t%s\n", r->world.run_id, r->world.version);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        fprintf(out, "role\t%u\t%s\t%s\n", i, role_names[r->roles[i].kind], r->roles[i].run_id);
    }
    for (uint32_t i = 0; i < atomic_load(&r->log->count) && i < EVENTS_MAX; i++) {
        const event *e = &r->log->events[i];
        fprintf(out, "event\t%u\t%d\t%llu\t%llu\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%d\t%u\n", e->process,
            e->op, (unsigned long long)e->begin, (unsigned long long)e->end, e->key, e->condition,
            e->status == EVENT_OPEN ? "OPEN" : shardy_status_name(e->status), e->state, e->run_id,
            e->expected, e->version, e->adopted, e->pins);
    }
}

/* NOT 0 when all was well. */
static int run_round(race *r, dataset_problem *problem)
{
    process all[PROCESSES];
    publish_rules rules;
    dataset_problem seen = {""};
    choose_roles(r, &rules);
    memset(r->log, 0, sizeof *r->log);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        start(r, i, &all[i]);
    }
    int whole = conduct(r, all, &seen);
    end(r, all);
    if (r->trace) {
        write_trace(r, r->trace);
    }
    if (!publish_check_round(&r->world, r->log, r->outcomes, &rules, problem)) {
        return 0;
    }
    if (!whole) {
        snprintf(problem->text, sizeof problem->text, "while others publish: %.370s", seen.text);
        return 0;
    }
    for (uint32_t i = 0; i < PROCESSES; i++) {
        uint64_t *count = r->outcomes[i].status == SHARDY_OK ? r->won : r->lost;
        count[r->roles[i].kind] += !r->outcomes[i].died;
    }
    r->events += atomic_load(&r->log->count);
    return 1;
}

static void print_events(const race *r)
{
    for (uint32_t i = 0; i < atomic_load(&r->log->count) && i < EVENTS_MAX; i++) {
        const event *e = &r->log->events[i];
        fprintf(stderr, "  %llu-%llu process %u %s %s%s%s %s %d of %.12s -> %.12s: %s\n",
            (unsigned long long)e->begin, (unsigned long long)e->end, e->process,
            e->op == EVENT_PUT      ? "put"
            : e->op == EVENT_REMOVE ? "remove"
                                    : "read",
            e->key, e->run_id[0] ? " " : "", e->run_id,
            e->condition == SHARDY_PUT_IF_MATCH    ? "if match"
            : e->condition == SHARDY_PUT_IF_ABSENT ? "if absent"
                                                   : "always",
            e->state, e->expected, e->version,
            e->status == EVENT_OPEN ? "no answer" : shardy_status_name(e->status));
    }
    for (uint32_t i = 0; i < PROCESSES; i++) {
        fprintf(stderr, "  process %u %s %s: %s %s\n", i, role_names[r->roles[i].kind],
            r->roles[i].run_id,
            r->outcomes[i].died ? "died" : shardy_status_name(r->outcomes[i].status),
            r->outcomes[i].message);
    }
}

static void open_race(race *r)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_problem problem;
    memset(r, 0, sizeof *r);
    r->rand.state = support_seed();
    r->log = mmap(NULL, sizeof *r->log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r->log == MAP_FAILED) {
        die("open", "no shared memory");
    }
    dataset_options_init(&options);
    r->dir = support_make_dir();
    for (uint32_t i = 0; i < 3; i++) {
        char stamp[DATASET_STAMP_MAX];
        snprintf(stamp, sizeof stamp, "run-start-%u", i);
        if (dataset_build(NULL, r->dir, stamp, &options, &err) < 0) {
            die("open", err.message);
        }
    }
    if (shardy_store_open_fs(NULL, r->dir, NULL, &r->store, &err) < 0) {
        die("open", err.message);
    }
    if (!publish_world_open(&r->world, r->dir, r->store, &problem)) {
        die("open", problem.text);
    }
}

static void close_race(race *r)
{
    publish_world_close(&r->world);
    shardy_store_close(r->store);
    support_remove_dir(r->dir);
    munmap(r->log, sizeof *r->log);
}

/* NOT 0 when nothing was wrong in any round. */
static int run_rounds(race *r, uint32_t rounds, dataset_problem *problem)
{
    for (r->round = 0; r->round < rounds; r->round++) {
        r->kind = (round_kind)(r->round % ROUND_KINDS);
        if (!run_round(r, problem)) {
            return 0;
        }
    }
    return publish_check_history(&r->world, 1, problem);
}

static void test_race__processes_that_publish_and_roll_back_keep_to_the_protocol(void **state)
{
    (void)state;
    static race r;
    dataset_problem problem = {""};
    uint32_t rounds = sweep_torture() ? TORTURE_ROUNDS : QUICK_ROUNDS;
    open_race(&r);
    int ok = run_rounds(&r, rounds, &problem);
    print_message(
        "race: %u rounds of %u processes, %llu events; of the writers %llu won and %llu "
        "lost, of the rollbacks %llu and %llu; %llu cleanups, %llu pins, %llu killed; %zu "
        "runs, read %llu times meanwhile\n",
        r.round, PROCESSES, (unsigned long long)r.events, (unsigned long long)r.won[0],
        (unsigned long long)r.lost[0], (unsigned long long)r.won[1], (unsigned long long)r.lost[1],
        (unsigned long long)r.won[ROLE_CLEANS], (unsigned long long)r.won[ROLE_PINS],
        (unsigned long long)r.killed, r.world.run_count, (unsigned long long)r.watched);
    if (!ok) {
        print_events(&r);
        fail_msg("round %u (%s): %s", r.round, kind_names[r.kind], problem.text);
    }
    assert_int_equal(r.round, rounds);
    assert_true(r.won[ROLE_WRITES] > 0 && r.won[ROLE_ROLLS] > 0);
    assert_true(r.lost[ROLE_WRITES] > 0 && r.lost[ROLE_ROLLS] > 0);
    assert_true(r.won[ROLE_CLEANS] > 0 && r.won[ROLE_PINS] > 0);
    close_race(&r);
}

/* Writes what the processes did to a file: 0 when all was well. */
static int write_traces(const char *path)
{
    static race r;
    dataset_problem problem = {""};
    open_race(&r);
    r.trace = fopen(path, "w");
    int ok = r.trace && run_rounds(&r, PLANTED_ROUNDS, &problem);
    if (!ok || fclose(r.trace) != 0) {
        die("trace", problem.text);
    }
    close_race(&r);
    return 0;
}

/* With a planted fault: 0 when the checker found it and said what it is. */
static int find_planted(const char *words)
{
    static race r;
    dataset_problem problem = {""};
    open_race(&r);
    int ok = run_rounds(&r, PLANTED_ROUNDS, &problem);
    int found = !ok && strstr(problem.text, words) != NULL;
    printf("planted: %s in round %u (%s): %s\n", found ? "found" : "NOT found", r.round,
        ok ? "none" : kind_names[r.kind], ok ? "nothing was wrong" : problem.text);
    if (!ok && !found) {
        print_events(&r);
    }
    close_race(&r);
    return found ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}; /* who has ended is let go all the same */
    sigaction(SIGPIPE, &ignore, NULL);
    if (argc == 3 && strcmp(argv[1], "--planted") == 0) {
        return find_planted(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "--trace") == 0) {
        return write_traces(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race__processes_that_publish_and_roll_back_keep_to_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
