/* Eight processes at a time publish to one data set, roll it back, pin, clean up and read, round
 * after round: one round is a history. The data set is in a directory, in a bucket of our S3
 * server, or has its manifests in Postgres (--store fs|s3|postgres). This process decides who
 * stands where when all are let go; a checker that knows only compare-and-swap
 * (support/publish_check.h, support/pointer_check.h) decides from the events of each process, from
 * what it was told and from the data set whether all was well: one of those that saw the same
 * pointer moves it, each loser is told by whom, the pointer is linearizable and never dangles, what
 * it names is whole, nothing is lost, nothing that is current, pinned or named by the pointer is
 * removed, and each answer of a reader is of one snapshot that was current while it was held.
 *
 * SHARDY_TORTURE=1: a thousand histories. The same program is built with one fault of the protocol
 * at a time planted in copies of the sources (planted/); run with --planted TEXT it must find the
 * fault and put it in these words. */
#include "support/place.h"
#include "support/publish_check.h"
#include "support/racer.h"
#include "support/support.h"
#include "support/sweep.h"

#include "catalog/fate.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PROCESSES 8u
/* The first of them move the pointer, or clean up and pin where a round is about that; ... */
#define MOVERS 5u
/* ... then one helps on its own: it pins, cleans up or reads; the others read. */
#define HELPER 5u

#define TORTURE_ROUNDS 1000u
#define PLANTED_ROUNDS 240u
/* Then a new data set begins: what runs leave behind for ever makes each round slower. */
#define ROUNDS_OF_SET 60u
#define NOBODY        UINT32_MAX
/* Targets of rollbacks are among so many of the newest runs. */
#define TARGETS 40u

/* Of fs, s3, postgres; each kind at least twice. */
#ifdef __SANITIZE_THREAD__
static const uint32_t quick_rounds[PLACE_KINDS] = {24, 24, 24};
#else
static const uint32_t quick_rounds[PLACE_KINDS] = {48, 24, 36};
#endif

/* Who meets whom. All but the free ones meet where the pointer is put, having seen the same one. */
typedef enum round_kind {
    ROUND_PUBLISH,  /* writers */
    ROUND_MIXED,    /* two writers, rollbacks, perhaps to the same run */
    ROUND_FREE,     /* the same, each at its own pace */
    ROUND_FAILING,  /* a writer fails while two roll back to its run, and others publish */
    ROUND_GIVEN_UP, /* the same, each at its own pace: it may be gone before they have it */
    ROUND_SAME_ID,  /* writers with one run id */
    ROUND_ADOPTED,  /* rollbacks to a run that has no fate, as those of the reference */
    ROUND_KILLED,   /* one of the writers is killed before or after it moved the pointer */
    /* a cleanup has made its plan when one rolls back to a run in it, one pins another, and one
     * publishes a run whose name begins like that of a third */
    ROUND_CLEANED,
    ROUND_CLEANERS, /* two cleanups, one of which may be killed, a rollback and writers */
    ROUND_ALL,      /* two write, two roll back, one cleans up, one pins: each at its own pace */
    /* writers and a rollback are stopped before the manifest or the pointer; a cleanup takes them
     * for dead, settles their runs and comes to its end; then they go on */
    ROUND_SETTLED,
    ROUND_KINDS
} round_kind;

static const char *const kind_names[ROUND_KINDS] = {"publish", "mixed", "free", "failing",
    "given up", "same id", "adopted", "killed", "cleaned", "cleaners", "all", "settled"};

typedef struct race {
    place place;
    shardy_store *store; /* of this process, while it has one: not when others are started */
    event_log *log;      /* shared */
    publish_world world;
    uint64_t seed;
    support_rand rand;
    uint32_t round;
    round_kind kind;
    role roles[PROCESSES];
    publish_outcome outcomes[PROCESSES];
    uint64_t won[ROLE_KINDS];
    uint64_t lost[ROLE_KINDS];
    uint64_t killed;
    FILE *trace; /* NULL: none is written */
    uint64_t events;
    uint64_t answers;
    uint64_t runs; /* of the data sets that are closed */
} race;

/* This process takes part in the data set between rounds only: who forks has no thread besides. */
static void join(race *r)
{
    shardy_error err = {0};
    if (place_open_store(&r->place, &r->store, &err) < 0) {
        racer_die("open", err.message);
    }
    r->world.at = place_dataset(&r->place, r->store);
}

static void leave(race *r)
{
    shardy_store_close(r->store);
    r->store = NULL;
    r->world.at.store = NULL;
}

static void let_all_go(race *r, const racer *all)
{
    uint32_t first = (uint32_t)support_rand_below(&r->rand, PROCESSES);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        racer_let_go(&all[(first + i) % PROCESSES]);
    }
}

/* Tells who reads to stop when all others have ended. */
static void stop_readers(race *r, const racer *all)
{
    for (uint32_t i = 0; i < PROCESSES; i++) {
        struct pollfd end = {all[i].result, POLLIN, 0};
        while (r->roles[i].kind != ROLE_READS && poll(&end, 1, -1) != 1) {
        }
    }
    atomic_store(&r->log->stop, 1);
}

static void end(race *r, racer *all)
{
    for (uint32_t i = 0; i < PROCESSES; i++) {
        r->killed += racer_end(&all[i], &r->roles[i], &r->outcomes[i]) ? 1 : 0;
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
    for (size_t i = 0; i < w->run_count && after > RACER_KEPT; i++) {
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
        racer_die("remove_fate", err.message);
    }
    publish_run_state *run = publish_world_run(&r->world, run_id);
    run->state = 0;
    run->version[0] = '\0';
}

/* Whether a cleanup takes all who are at work for dead. */
static int settles(const race *r)
{
    return r->kind == ROUND_ALL || r->kind == ROUND_SETTLED;
}

static int is_cleaned(const race *r)
{
    return r->kind == ROUND_CLEANED || r->kind == ROUND_CLEANERS || settles(r);
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
    if (r->kind == ROUND_ALL) {
        set_role(r, 4, target(r), ROLE_ROLLS);
    }
}

/* In every other such round nobody has its manifest, so that all are condemned. */
static void choose_settled(race *r)
{
    const int bare = r->round / ROUND_KINDS % 2 == 0;
    set_role(r, 0, "", ROLE_CLEANS);
    for (uint32_t i = 1; i < MOVERS; i++) {
        char own[DATASET_STAMP_MAX];
        snprintf(own, sizeof own, "run-%u-%u", r->round, i);
        set_role(r, i, own, ROLE_WRITES);
        r->roles[i].waits = 1;
        r->roles[i].plan.at_manifest = bare || support_rand_below(&r->rand, 2) == 0;
    }
    if (!bare) {
        set_role(r, 3, target(r), ROLE_ROLLS);
    }
}

/* All about one run, which nobody has written yet or whose fate is missing. */
static void choose_same(race *r, char same[DATASET_STAMP_MAX])
{
    if (r->kind == ROUND_SAME_ID) {
        snprintf(same, DATASET_STAMP_MAX, "run-%u", r->round);
    } else {
        remove_fate(r, same);
    }
    for (uint32_t i = 0; i < MOVERS; i++) {
        set_role(r, i, same, r->kind == ROUND_ADOPTED ? ROLE_ROLLS : ROLE_WRITES);
        r->roles[i].plan.at_adoption = 1;
    }
}

static void choose_victim(race *r)
{
    uint32_t victim = (uint32_t)support_rand_below(&r->rand, MOVERS);
    int after = support_rand_below(&r->rand, 2) == 0;
    r->roles[victim].plan.dies_before = !after;
    r->roles[victim].plan.dies_after = after;
}

static int is_taken(const race *r, const char *run_id)
{
    int taken = 0;
    for (uint32_t i = 0; i < MOVERS; i++) {
        taken |= strcmp(r->roles[i].run_id, run_id) == 0;
    }
    return taken;
}

/* Who helps does nothing that could take the one winner from a round: it changes no fate that
 * others need, and does not clean up where all are about one run. */
static void choose_helper(race *r, publish_rules *rules)
{
    uint64_t choice = support_rand_below(&r->rand, 4);
    const char *pinned = old_run(r, 0, 1);
    const char *kept = target(r);
    if (choice == 0 && pinned && !is_taken(r, pinned)) {
        set_role(r, HELPER, pinned, ROLE_UNPINS);
    } else if (choice <= 1 && !is_taken(r, kept)) {
        set_role(r, HELPER, kept, ROLE_PINS);
    } else if (choice == 2 && r->kind != ROUND_ADOPTED) {
        set_role(r, HELPER, "", ROLE_CLEANS);
        rules->cleans = 1;
    } else {
        set_role(r, HELPER, "", ROLE_READS);
    }
}

static void choose_readers(race *r)
{
    for (uint32_t i = MOVERS; i < PROCESSES; i++) {
        if (i > HELPER) {
            set_role(r, i, "", ROLE_READS);
        }
        r->roles[i].plan.process = i;
        r->roles[i].seed = support_rand_u64(&r->rand);
    }
}

static int is_failing(const race *r)
{
    return r->kind == ROUND_FAILING || r->kind == ROUND_GIVEN_UP;
}

/* Who publishes and who rolls back, before the kind of the round says more. */
static void choose_movers(race *r, const char *same)
{
    int writers = r->kind == ROUND_PUBLISH || r->kind == ROUND_SAME_ID || r->kind == ROUND_KILLED;
    for (uint32_t i = 0; i < MOVERS; i++) {
        char own[DATASET_STAMP_MAX];
        role *p = &r->roles[i];
        snprintf(own, sizeof own, "run-%u-%u", r->round, i);
        set_role(r, i, own, ROLE_WRITES);
        p->plan.process = i;
        p->waits = r->kind != ROUND_FREE && r->kind != ROUND_GIVEN_UP && !is_cleaned(r);
        if (!writers && !is_failing(r) && i >= 2 && (i < 4 || !is_cleaned(r))) {
            set_role(r, i, support_rand_below(&r->rand, 3) == 0 ? target(r) : same, ROLE_ROLLS);
        }
    }
}

static void choose_roles(race *r, publish_rules *rules)
{
    char same[DATASET_STAMP_MAX];
    memset(r->roles, 0, sizeof r->roles);
    snprintf(same, sizeof same, "%.39s", target(r));
    choose_movers(r, same);
    rules->processes = PROCESSES;
    rules->one_winner = r->kind != ROUND_FREE && r->kind != ROUND_GIVEN_UP && !is_cleaned(r);
    rules->cleans = is_cleaned(r);
    rules->may_be_given_up = NULL;
    rules->pointer_fails = NOBODY;
    if (is_failing(r)) {
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
    if (r->kind == ROUND_SETTLED) {
        choose_settled(r);
    } else if (is_cleaned(r)) {
        choose_cleaners(r);
    }
    rules->settles = r->roles[0].settles = settles(r);
    if (r->kind == ROUND_KILLED) {
        choose_victim(r);
    }
    choose_helper(r, rules);
    choose_readers(r);
}

/* Lets those from `first` on of who moves the pointer go on, up to where they wait next. */
static void lead(const racer *all, uint32_t first)
{
    for (uint32_t i = first; i < MOVERS; i++) {
        racer_let_go(&all[i]);
    }
    for (uint32_t i = first; i < MOVERS; i++) {
        racer_wait(&all[i]);
    }
}

/* Lets the processes go up to where they meet, and then all at once. */
static void conduct(race *r, const racer *all)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < PROCESSES; i++) {
        racer_wait(&all[i]);
    }
    for (uint32_t i = HELPER; i < PROCESSES; i++) {
        if (r->roles[i].kind == ROLE_READS) {
            racer_let_go(&all[i]);
        }
    }
    if (is_failing(r)) { /* its manifest is there for the others to see */
        racer_let_go(&all[0]);
        racer_wait(&all[0]);
        first = 1;
    }
    if (r->kind == ROUND_ADOPTED || (r->roles[first].waits && !r->roles[first].plan.at_adoption)) {
        lead(all, first);
    }
    if (r->kind == ROUND_CLEANED || r->kind == ROUND_SETTLED) {
        lead(all, 1); /* the cleanup has its plan; the others come to their ends, or wait again */
    }
    if (r->kind == ROUND_SETTLED) { /* it comes to its end */
        racer_let_go(&all[0]);
        racer_wait(&all[0]);
    }
    let_all_go(r, all);
    stop_readers(r, all);
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
    racer all[PROCESSES];
    publish_rules rules;
    choose_roles(r, &rules);
    memset(r->log, 0, sizeof *r->log);
    leave(r);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        racer_start(&all[i], &r->place, r->log, &r->roles[i]);
    }
    conduct(r, all);
    end(r, all);
    join(r);
    if (r->trace) {
        write_trace(r, r->trace);
    }
    if (!publish_check_round(&r->world, r->log, r->outcomes, &rules, problem)) {
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
            : e->op == EVENT_ANSWER ? "got an"
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

static void open_race(race *r, place_kind kind)
{
    memset(r, 0, sizeof *r);
    r->seed = support_seed();
    r->rand.state = r->seed;
    r->log = mmap(NULL, sizeof *r->log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r->log == MAP_FAILED) {
        racer_die("open", "no shared memory");
    }
    place_start(&r->place, kind);
}

static void close_race(race *r)
{
    place_stop(&r->place);
    munmap(r->log, sizeof *r->log);
}

/* A new data set, with three snapshots. */
static void begin_set(race *r)
{
    shardy_error err = {0};
    dataset_options options;
    dataset_problem problem = {""};
    place_begin(&r->place);
    join(r);
    dataset_place at = r->world.at;
    dataset_options_init(&options);
    options.store = at.store;
    options.manifests = at.manifests;
    for (uint32_t i = 0; i < 3; i++) {
        char stamp[DATASET_STAMP_MAX];
        snprintf(stamp, sizeof stamp, "run-start-%u", i);
        if (dataset_build(NULL, at.url, stamp, &options, &err) < 0) {
            racer_die("begin", err.message);
        }
    }
    if (!publish_world_open(&r->world, &at, &problem)) {
        racer_die("begin", problem.text);
    }
}

static void end_set(race *r)
{
    r->runs += r->world.run_count;
    r->answers += r->world.answers;
    publish_world_close(&r->world);
    leave(r);
    place_end(&r->place);
}

/* NOT 0 when nothing was wrong in any round. */
static int run_rounds(race *r, uint32_t rounds, dataset_problem *problem)
{
    int ok = 1;
    for (r->round = 0; ok && r->round < rounds;) {
        begin_set(r);
        for (uint32_t i = 0; ok && i < ROUNDS_OF_SET && r->round < rounds; i++) {
            r->kind = (round_kind)(r->round % ROUND_KINDS);
            ok = run_round(r, problem);
            r->round += ok ? 1 : 0;
        }
        ok = ok && publish_check_history(&r->world, 1, problem);
        if (!ok) {
            print_events(r);
        }
        end_set(r);
    }
    return ok;
}

static place_kind chosen; /* where the tests are run */

static void test_race__processes_that_publish_roll_back_clean_up_and_read_keep_to_the_protocol(
    void **state)
{
    (void)state;
    static race r;
    dataset_problem problem = {""};
    uint32_t rounds = sweep_torture() ? TORTURE_ROUNDS : quick_rounds[chosen];
    open_race(&r, chosen);
    int ok = run_rounds(&r, rounds, &problem);
    close_race(&r);
    print_message("race on %s, seed %llu: %u histories of %u processes, %llu events; of the "
                  "writers %llu won and %llu lost, of the rollbacks %llu and %llu; %llu cleanups, "
                  "%llu pins, %llu killed; %llu runs, %llu answers meanwhile\n",
        place_names[chosen], (unsigned long long)r.seed, r.round, PROCESSES,
        (unsigned long long)r.events, (unsigned long long)r.won[ROLE_WRITES],
        (unsigned long long)r.lost[ROLE_WRITES], (unsigned long long)r.won[ROLE_ROLLS],
        (unsigned long long)r.lost[ROLE_ROLLS], (unsigned long long)r.won[ROLE_CLEANS],
        (unsigned long long)(r.won[ROLE_PINS] + r.won[ROLE_UNPINS]), (unsigned long long)r.killed,
        (unsigned long long)r.runs, (unsigned long long)r.answers);
    if (!ok) {
        fail_msg("round %u (%s): %s", r.round, kind_names[r.kind], problem.text);
    }
    assert_int_equal(r.round, rounds);
    assert_true(r.won[ROLE_WRITES] > 0 && r.won[ROLE_ROLLS] > 0);
    assert_true(r.lost[ROLE_WRITES] > 0 && r.lost[ROLE_ROLLS] > 0);
    assert_true(r.won[ROLE_CLEANS] > 0 && r.won[ROLE_PINS] > 0);
    assert_true(r.answers > rounds);
}

/* Writes what the processes did to a file: 0 when all was well. */
static int write_traces(const char *path)
{
    static race r;
    dataset_problem problem = {""};
    open_race(&r, chosen);
    r.trace = fopen(path, "w");
    int ok = r.trace && run_rounds(&r, quick_rounds[chosen], &problem);
    if (!ok || fclose(r.trace) != 0) {
        racer_die("trace", problem.text);
    }
    close_race(&r);
    return 0;
}

/* Words with slashes between them: any of them will do. */
static int says_one_of(const char *text, const char *words)
{
    while (*words) {
        char word[128];
        size_t len = strcspn(words, "/");
        snprintf(word, sizeof word, "%.*s", (int)len, words);
        if (strstr(text, word)) {
            return 1;
        }
        words += len + (words[len] == '/');
    }
    return 0;
}

/* With a planted fault: 0 when the checker found it and said what it is. */
static int find_planted(const char *words)
{
    static race r;
    dataset_problem problem = {""};
    open_race(&r, chosen);
    int ok = run_rounds(&r, PLANTED_ROUNDS, &problem);
    int found = !ok && says_one_of(problem.text, words);
    printf("planted: %s on %s in round %u (%s): %s\n", found ? "found" : "NOT found",
        place_names[chosen], r.round, ok ? "none" : kind_names[r.kind],
        ok ? "nothing was wrong" : problem.text);
    close_race(&r);
    return found ? 0 : 1;
}

static int choose_place(const char *name)
{
    for (int i = 0; i < PLACE_KINDS; i++) {
        if (strcmp(place_names[i], name) == 0) {
            chosen = (place_kind)i;
            return 1;
        }
    }
    return 0;
}

/* usage: test_race_publish [--store fs|s3|postgres] [--planted WORDS | --trace FILE] */
int main(int argc, char **argv)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}; /* who has ended is let go all the same */
    sigaction(SIGPIPE, &ignore, NULL);
    if (argc >= 3 && strcmp(argv[1], "--store") == 0) {
        if (!choose_place(argv[2])) {
            racer_die("--store is fs, s3 or postgres, not", argv[2]);
        }
        argc -= 2;
        argv += 2;
    }
    if (argc == 3 && strcmp(argv[1], "--planted") == 0) {
        return find_planted(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "--trace") == 0) {
        return write_traces(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_race__processes_that_publish_roll_back_clean_up_and_read_keep_to_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
