/* One reader under many threads: refresh, get, multi_get, search, pin, eviction and close at once,
 * while the pointer moves between snapshots. Each value and hit carries the stamp of its snapshot,
 * so an answer from two of them is seen; ThreadSanitizer sees the rest.
 *
 * Bounded by numbers of operations, which are printed and must be reached; with SHARDY_TORTURE=1
 * one reader does 100,000 refreshes, 10 million gets, 100,000 searches and 10,000 evictions. The
 * same threads with a planted fault, the load of a pointer that is followed by the increment of a
 * counter in what it points to, must be caught: see test_race__a_planted_fault_is_caught. */
#include "read/reader.h"
#include "support/dataset.h"
#include "support/support.h"
#include "support/sweep.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SNAPSHOTS   4u
#define SHARDS      4u
#define OPEN_SHARDS 2u /* so that shards are evicted all the time */
#define READERS     3u
#define REFRESHERS  1u
#define THREADS     (READERS + REFRESHERS + 1u)
/* Between two refreshes, so that these do not take all the time there is. */
#define REFRESHER_GETS 20u

/* How much is done at least: all go on until all of it is. */
typedef struct amount {
    uint64_t moves; /* of the pointer, each followed by a refresh that installs a snapshot */
    uint64_t gets;
    uint64_t searches;
    uint64_t evictions;
    /* One of so many gets is followed by... */
    uint32_t batch_every;
    uint32_t search_every;
    uint32_t pin_every;
    /* One of so many gets is for a row of any shard; the others leave the open shards open. */
    uint32_t cold_every;
} amount;

static const amount quick = {200, 24000, 360, 2000, 50, 100, 50, 16};
static const amount torture = {100000, 10000000, 100000, 10000, 500, 75, 500, 500};
/* Of another kind of store; the full amount is asked of one reader. */
static const amount torture_less = {10000, 1000000, 10000, 1000, 500, 75, 500, 500};

typedef struct race {
    char *dir; /* NULL: in memory */
    shardy_store *store;
    shardy_store *mover; /* the same, by which the pointer is moved */
    shardy_context *context;
    const shardy_reader *reader;
    const amount *want;
    int planted;
    uint32_t hot[DATASET_ROWS]; /* rows of the first shards, as many as may be open */
    uint32_t hot_count;
    _Atomic uint32_t stop;   /* somebody has seen a failure */
    _Atomic uint32_t moving; /* not all is done: the pointer still moves */
    _Atomic uint64_t moves;
    pthread_barrier_t last_call;
    _Atomic uint64_t gets;
    _Atomic uint64_t batches;
    _Atomic uint64_t searches;
    _Atomic uint64_t pins;
    _Atomic uint64_t refreshes; /* calls */
    pthread_mutex_t lock;
    dataset_problem problem; /* the first one */
} race;

static void stamp_of(uint64_t n, char out[DATASET_STAMP_MAX])
{
    snprintf(out, DATASET_STAMP_MAX, "race-%u", (unsigned)(n % SNAPSHOTS));
}

static void report(race *r, const char *what, const char *detail)
{
    pthread_mutex_lock(&r->lock);
    if (!atomic_exchange(&r->stop, 1)) {
        snprintf(r->problem.text, sizeof r->problem.text, "%.100s: %.280s", what, detail);
    }
    pthread_mutex_unlock(&r->lock);
}

/* --- the threads that read -------------------------------------------------------------------- */

/* Where an answer comes from: a pin, or what is current (then `snapshot` is NULL). */
typedef struct source {
    race *r;
    const shardy_snapshot *snapshot;
    char stamp[DATASET_STAMP_MAX]; /* of all answers of a pin; "": none yet */
} source;

static void see_stamp(source *s, const char *stamp)
{
    if (strncmp(stamp, "race-", 5) != 0 || stamp[5] < '0' || stamp[5] >= (char)('0' + SNAPSHOTS)) {
        report(s->r, "a stamp that was never written", stamp);
    } else if (s->snapshot && s->stamp[0] && strcmp(s->stamp, stamp) != 0) {
        report(s->r, "one pin answers from two snapshots", stamp);
    }
    snprintf(s->stamp, sizeof s->stamp, "%s", stamp);
}

static void do_get(source *s, uint32_t row)
{
    char text[16];
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_error err = {0};
    shardy_buf value;
    shardy_key key = dataset_key(row % DATASET_ROWS, text);
    shardy_status st = s->snapshot ? shardy_snapshot_get(s->snapshot, &key, NULL, &value, &err)
                                   : shardy_reader_get(s->r->reader, &key, NULL, &value, &err);
    if (st != SHARDY_OK) {
        report(s->r, "get", st < 0 ? err.message : "not found");
        return;
    }
    if (dataset_value_stamp(
            row % DATASET_ROWS, (shardy_bytes){value.data, value.len}, stamp, &problem)) {
        see_stamp(s, stamp);
    } else {
        report(s->r, "get", problem.text);
    }
    shardy_buf_release(&value);
    atomic_fetch_add_explicit(&s->r->gets, 1, memory_order_relaxed);
}

static void do_multi_get(source *s, uint32_t first)
{
    char texts[8][16];
    shardy_key keys[8];
    uint32_t rows[8];
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_error err = {0};
    shardy_values values;
    for (uint32_t i = 0; i < 8; i++) {
        rows[i] = (first + i * 3) % DATASET_ROWS;
        keys[i] = dataset_key(rows[i], texts[i]);
    }
    shardy_status st = s->snapshot
                           ? shardy_snapshot_multi_get(s->snapshot, keys, 8, NULL, &values, &err)
                           : shardy_reader_multi_get(s->r->reader, keys, 8, NULL, &values, &err);
    if (st < 0) {
        report(s->r, "multi_get", err.message);
    } else if (dataset_values_stamp(rows, &values, stamp, &problem)) {
        see_stamp(s, stamp);
    } else {
        report(s->r, "multi_get", problem.text);
    }
    shardy_values_dispose(&values);
    atomic_fetch_add_explicit(&s->r->batches, 1, memory_order_relaxed);
}

static void do_search(source *s)
{
    float vector[DATASET_DIM];
    shardy_query query;
    shardy_hits hits;
    char stamp[DATASET_STAMP_MAX];
    dataset_problem problem;
    shardy_error err = {0};
    dataset_query(vector, &query);
    shardy_status st = s->snapshot ? shardy_snapshot_search(s->snapshot, &query, NULL, &hits, &err)
                                   : shardy_reader_search(s->r->reader, &query, NULL, &hits, &err);
    if (st < 0) {
        report(s->r, "search", err.message);
    } else if (dataset_hits_stamp(&hits, query.top_k, stamp, &problem)) {
        see_stamp(s, stamp);
    } else {
        report(s->r, "search", problem.text);
    }
    shardy_hits_dispose(&hits);
    atomic_fetch_add_explicit(&s->r->searches, 1, memory_order_relaxed);
}

/* The planted fault. Between the load and the increment the snapshot is freed: to be sure of that,
 * two others are let go first. */
static shardy_snapshot *pin_wrongly(race *r)
{
    shardy_reader *reader = (shardy_reader *)(uintptr_t)r->reader;
    shardy_snapshot *snapshot = atomic_load(&reader->current);
    uint64_t before = shardy_context_metric(r->context, SHARDY_METRIC_SNAPSHOTS_RETIRED);
    while (atomic_load(&r->moving) && !atomic_load(&r->stop) &&
           shardy_context_metric(r->context, SHARDY_METRIC_SNAPSHOTS_RETIRED) < before + 2) {
        sched_yield();
    }
    shardy__snapshot_hold(snapshot);
    return snapshot;
}

/* A few reads of all kinds from one pin. */
static void do_pin(race *r, uint32_t number)
{
    shardy_error err = {0};
    shardy_snapshot *snapshot = NULL;
    if (r->planted) {
        snapshot = pin_wrongly(r);
    } else if (shardy_reader_pin(r->reader, &snapshot, &err) < 0) {
        report(r, "pin", err.message);
        return;
    }
    source s = {r, snapshot, ""};
    do_get(&s, number);
    do_multi_get(&s, number + 1);
    do_get(&s, number + 7);
    if (number % 4 == 0) {
        do_search(&s);
    }
    shardy_snapshot_close(snapshot);
    atomic_fetch_add_explicit(&r->pins, 1, memory_order_relaxed);
}

static int is_done(const race *r)
{
    const amount *want = r->want;
    return atomic_load(&r->moves) >= want->moves && atomic_load(&r->gets) >= want->gets &&
           atomic_load(&r->searches) >= want->searches &&
           shardy_context_metric(r->context, SHARDY_METRIC_SHARD_EVICTIONS) >= want->evictions;
}

/* Reads that are ahead of the moves wait for them, so that both last to the end. */
static void keep_pace(race *r)
{
    const amount *want = r->want;
    while (atomic_load(&r->moving) && !atomic_load(&r->stop) &&
           atomic_load(&r->gets) * want->moves >
               (atomic_load(&r->moves) + want->moves / 100) * want->gets) {
        sched_yield();
    }
}

static void *read_loop(void *arg)
{
    race *r = arg;
    shardy_error err = {0};
    source now = {r, NULL, ""};
    const amount *want = r->want;
    for (uint64_t i = 0; atomic_load_explicit(&r->moving, memory_order_relaxed) &&
                         !atomic_load_explicit(&r->stop, memory_order_relaxed);
         i++) {
        uint32_t cold = (uint32_t)(i / want->cold_every * 5);
        do_get(&now, i % want->cold_every == 0 ? cold : r->hot[i % r->hot_count]);
        if (i % 64 == 0) {
            keep_pace(r);
        }
        if (i % want->batch_every == 0) {
            do_multi_get(&now, (uint32_t)i);
        }
        if (i % want->search_every == 0) {
            do_search(&now);
        }
        if (i % want->pin_every == 0) {
            do_pin(r, (uint32_t)(i / want->pin_every));
        }
    }
    /* What is held outlives the reader: it is closed while these reads go on. */
    shardy_snapshot *held = NULL;
    shardy_buf value = {0};
    char text[16];
    shardy_key key = dataset_key(3, text);
    if (shardy_reader_pin(r->reader, &held, &err) < 0 ||
        shardy_reader_get(r->reader, &key, NULL, &value, &err) < 0) {
        report(r, "the last pin", err.message);
    }
    pthread_barrier_wait(&r->last_call);
    source last = {r, held, ""};
    for (uint32_t i = 0; held && i < 50; i++) {
        do_get(&last, i);
        if (i % 10 == 0) {
            do_search(&last);
        }
    }
    dataset_problem problem;
    char stamp[DATASET_STAMP_MAX];
    if (!dataset_value_stamp(3, (shardy_bytes){value.data, value.len}, stamp, &problem)) {
        report(r, "a value that outlives its reader", problem.text);
    }
    shardy_buf_release(&value);
    shardy_snapshot_close(held);
    return NULL;
}

/* --- the threads that refresh ----------------------------------------------------------------- */

static void *refresh_loop(void *arg)
{
    race *r = arg;
    source now = {r, NULL, ""};
    while (atomic_load(&r->moving) && !atomic_load(&r->stop)) {
        shardy_error err = {0};
        shardy_health health;
        if (shardy_reader_refresh(r->reader, NULL, &err) < 0 ||
            shardy_reader_health(r->reader, -1, &health, &err) < 0) {
            report(r, "refresh", err.message);
        }
        atomic_fetch_add(&r->refreshes, 1);
        keep_pace(r);
        for (uint32_t i = 0; i < REFRESHER_GETS; i++) {
            do_get(&now, r->hot[i % r->hot_count]);
        }
    }
    pthread_barrier_wait(&r->last_call);
    return NULL;
}

/* The only one who moves the pointer: once it has refreshed as well, the reader must answer from
 * where the pointer is. */
static void *move_loop(void *arg)
{
    race *r = arg;
    source now = {r, NULL, ""};
    for (uint64_t i = 0; !is_done(r) && !atomic_load(&r->stop); i++) {
        char stamp[DATASET_STAMP_MAX];
        shardy_error err = {0};
        stamp_of(i, stamp);
        if (dataset_rollback(r->context, r->dir, stamp, r->mover, &err) < 0 ||
            shardy_reader_refresh(r->reader, NULL, &err) < 0) {
            report(r, "moving the pointer", err.message);
            break;
        }
        atomic_fetch_add(&r->refreshes, 1);
        atomic_fetch_add(&r->moves, 1);
        do_get(&now, (uint32_t)i);
        if (strcmp(now.stamp, stamp) != 0) {
            report(r, "a reader that was refreshed answers from an older snapshot", now.stamp);
        }
    }
    atomic_store(&r->moving, 0);
    pthread_barrier_wait(&r->last_call);
    return NULL;
}

/* --- one run ---------------------------------------------------------------------------------- */

static void open_race(race *r, int in_memory, shardy_reader **reader_out)
{
    shardy_error err = {0};
    shardy_context_options context;
    shardy_reader_options options;
    dataset_options dataset;
    shardy_context_options_init(&context, sizeof context);
    context.threads = 2;
    assert_ok(shardy_context_new(&context, &r->context, &err));
    if (in_memory) {
        assert_ok(shardy_store_open_mem(r->context, &r->store, &err));
        r->mover = r->store;
    } else {
        shardy_store_fs_options fs;
        shardy_store_fs_options_init(&fs, sizeof fs);
        fs.sync = 0;
        r->dir = support_make_dir();
        assert_ok(shardy_store_open_fs(r->context, r->dir, &fs, &r->mover, &err));
    }
    dataset_options_init(&dataset);
    dataset.store = r->store;
    dataset.num_dbs = SHARDS;
    for (uint32_t i = 0; i < SNAPSHOTS; i++) {
        char stamp[DATASET_STAMP_MAX];
        stamp_of(i, stamp);
        assert_ok(dataset_build(r->context, r->dir, stamp, &dataset, &err));
    }
    shardy_reader_options_init(&options, sizeof options);
    options.store = r->store;
    options.open_shards_max = OPEN_SHARDS;
    options.timeout_ms = UINT32_MAX; /* the process may be stopped for long */
    assert_ok(shardy_reader_open(r->context, r->dir, &options, reader_out, &err));
    r->reader = *reader_out;
    for (uint32_t row = 0; row < DATASET_ROWS; row++) {
        char text[16];
        uint32_t db_id;
        shardy_key key = dataset_key(row, text);
        assert_ok(shardy_reader_route_key(r->reader, &key, NULL, &db_id, &err));
        if (db_id < OPEN_SHARDS) {
            r->hot[r->hot_count++] = row;
        }
    }
    assert_true(r->hot_count > 0 && r->hot_count < DATASET_ROWS);
}

static void start(pthread_t *started, void *(*run)(void *), race *r)
{
    if (pthread_create(started, NULL, run, r) != 0) {
        fail_msg("cannot start a thread");
    }
}

/* Runs all threads to their end and closes the reader while snapshots of it are read. */
static void run_threads(race *r, shardy_reader *reader)
{
    pthread_t threads[THREADS];
    uint32_t count = 0;
    atomic_store(&r->moving, 1);
    pthread_mutex_init(&r->lock, NULL);
    pthread_barrier_init(&r->last_call, NULL, THREADS + 1);
    start(&threads[count++], move_loop, r);
    for (uint32_t i = 0; i < REFRESHERS; i++) {
        start(&threads[count++], refresh_loop, r);
    }
    for (uint32_t i = 0; i < READERS; i++) {
        start(&threads[count++], read_loop, r);
    }
    pthread_barrier_wait(&r->last_call);
    shardy_reader_close(reader);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&r->last_call);
    pthread_mutex_destroy(&r->lock);
}

/* NOT 0 when nothing was wrong. */
static int run_race(int in_memory, int planted)
{
    static race r; /* also for the child that dies of the planted fault */
    shardy_reader *reader;
    memset(&r, 0, sizeof r);
    r.want = !sweep_torture() || planted ? &quick : in_memory ? &torture_less : &torture;
    r.planted = planted;
    open_race(&r, in_memory, &reader);
    run_threads(&r, reader);
    uint64_t installed = shardy_context_metric(r.context, SHARDY_METRIC_REFRESHES);
    uint64_t retired = shardy_context_metric(r.context, SHARDY_METRIC_SNAPSHOTS_RETIRED);
    uint64_t evicted = shardy_context_metric(r.context, SHARDY_METRIC_SHARD_EVICTIONS);
    print_message("race: %llu gets, %llu multi_gets, %llu searches, %llu pins, %llu refreshes of "
                  "which %llu installed a snapshot, %llu evictions\n",
        (unsigned long long)atomic_load(&r.gets), (unsigned long long)atomic_load(&r.batches),
        (unsigned long long)atomic_load(&r.searches), (unsigned long long)atomic_load(&r.pins),
        (unsigned long long)atomic_load(&r.refreshes), (unsigned long long)installed,
        (unsigned long long)evicted);
    int ok = !atomic_load(&r.stop);
    if (!ok) {
        print_error("%s\n", r.problem.text);
    }
    if (ok && !planted) {
        /* each snapshot was given back once; the first one is that of the opening */
        assert_int_equal(retired, installed + 1);
        /* the move to the snapshot that was current at the start installs nothing */
        assert_true(installed + 1 >= r.want->moves);
        assert_true(evicted >= r.want->evictions);
        assert_true(atomic_load(&r.gets) >= r.want->gets);
        assert_true(atomic_load(&r.searches) >= r.want->searches);
    }
    if (r.mover != r.store) {
        shardy_store_close(r.mover);
    }
    shardy_store_close(r.store);
    shardy_context_free(r.context);
    support_remove_dir(r.dir);
    return ok;
}

static void test_race__each_answer_is_of_one_snapshot_of_a_directory(void **state)
{
    (void)state;
    assert_true(run_race(0, 0));
}

static void test_race__each_answer_is_of_one_snapshot_in_memory(void **state)
{
    (void)state;
    assert_true(run_race(1, 0));
}

/* --- the bound of open shards ----------------------------------------------------------------- */

static void *ask_all(void *arg)
{
    race *r = arg;
    shardy_reader *reader = (shardy_reader *)(uintptr_t)r->reader;
    shardy_snapshot *snapshot = atomic_load(&reader->current);
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        for (uint32_t i = 0; i < snapshot->slot_count; i++) {
            atomic_store_explicit(&snapshot->slots[i].used, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

/* Somebody asks every shard all the time, so that none is found unused. */
static void test_race__no_more_shards_stay_open_than_may(void **state)
{
    (void)state;
    static race r;
    shardy_reader *reader;
    pthread_t asker;
    shardy_error err = {0};
    memset(&r, 0, sizeof r);
    open_race(&r, 1, &reader);
    start(&asker, ask_all, &r);
    uint32_t most = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        shardy_health health;
        char text[16];
        shardy_buf value;
        shardy_key key = dataset_key(i % DATASET_ROWS, text);
        assert_ok(shardy_reader_get(reader, &key, NULL, &value, &err));
        shardy_buf_release(&value);
        assert_ok(shardy_reader_health(reader, -1, &health, &err));
        most = health.open_shards > most ? health.open_shards : most;
    }
    atomic_store(&r.stop, 1);
    pthread_join(asker, NULL);
    assert_int_equal(most, OPEN_SHARDS);
    shardy_reader_close(reader);
    shardy_store_close(r.store);
    shardy_context_free(r.context);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CAN_SEE_PLANTED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CAN_SEE_PLANTED 1
#endif
#endif

#ifdef CAN_SEE_PLANTED
/* What the planted run wrote to its standard error, and its status. */
static int run_planted(char *report, size_t size)
{
    int out[2];
    int status = 0;
    size_t len = 0;
    ssize_t n;
    assert_int_equal(pipe(out), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        execl("/proc/self/exe", "test_race_reader", "--planted", (char *)NULL);
        _exit(0);
    }
    close(out[1]);
    char chunk[4096];
    while ((n = read(out[0], chunk, sizeof chunk)) > 0) {
        size_t room = size - 1 - len;
        size_t taken = (size_t)n < room ? (size_t)n : room;
        memcpy(report + len, chunk, taken);
        len += taken;
    }
    report[len] = '\0';
    close(out[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}
#endif

/* In a process of its own, which the sanitizer must end with a report. */
static void test_race__a_planted_fault_is_caught(void **state)
{
    (void)state;
#ifdef CAN_SEE_PLANTED
    static char report[65536];
    int status = run_planted(report, sizeof report);
    /* SEGV: what was freed may be given back already, and is read in the reader all the same */
    const int seen = strstr(report, "data race") || strstr(report, "use-after-free") ||
                     (strstr(report, "Sanitizer: SEGV") && strstr(report, "/src/read/"));
    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || !seen) {
        fail_msg("a load that is followed by an increment was not noticed: %.1000s", report);
    }
    print_message("planted: %.*s\n", (int)strcspn(strstr(report, "Sanitizer"), "\n"),
        strstr(report, "Sanitizer"));
#else
    print_message("skipped: a build without a sanitizer cannot be sure to see the planted fault\n");
    skip();
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--planted") == 0) {
        return run_race(0, 1) ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race__each_answer_is_of_one_snapshot_of_a_directory),
        cmocka_unit_test(test_race__each_answer_is_of_one_snapshot_in_memory),
        cmocka_unit_test(test_race__no_more_shards_stay_open_than_may),
        cmocka_unit_test(test_race__a_planted_fault_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
