/* The same as test_request_crash where manifests and the pointer are in Postgres and the shards in
 * a bucket: a process that builds, publishes, rolls back, pins or cleans up dies at each of its
 * requests to either server, or its connection to Postgres breaks there and it lives on. A request
 * of Postgres is what a statement takes: connecting, BEGIN, each query, COMMIT, ROLLBACK. The next
 * reader sees the old or the new snapshot, whole; nobody keeps a session or a lock; what was begun
 * can be run again; who was cut off says what is true, and repeats no COMMIT to find it out.
 *
 * A proxy counts the requests and holds or drops them; nothing here depends on time, except that
 * the server itself ends a transaction whose client has vanished without a word (some seconds of
 * some trials of the full set). The quick set has each way at each COMMIT and some at some other
 * requests, SHARDY_TORTURE=1 has all. */
#include "support/bucket.h"
#include "support/crash.h"
#include "support/postgres_fixture.h"
#include "support/sweep.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANG_S 120u
#define TABLE  "crash"
#define PLACE  "crash_pointer"
/* Where the data set is kept while it is not being changed. */
#define SAVED "saved/"
/* For the server to end what it holds for a client that is not there any more. */
#define BRIEF_MS       5000u
#define BRIEF_QUICK_MS 2000u
/* Requests of an operation in the quick set, beside its COMMITs. */
#define QUICK        3u
#define REQUESTS_MAX 200u

typedef enum blow {
    KILLED_BEFORE = 0, /* the request never comes */
    KILLED_AFTER,      /* it was done, and the answer did not come */
    KILLED_LATE,       /* it is done after the others have gone on */
    KILLED_CLEANED,    /* the same, and a cleanup took the dead one for dead meanwhile */
    CUT_BEFORE,        /* the connection breaks, the process lives on */
    CUT_AFTER,
    CUT_LATE,
    DOWN_BEFORE, /* so do all others from then on */
    DOWN_AFTER,
    BLOWS
} blow;

static const char *const blow_names[BLOWS] = {"killed before", "killed after", "killed with a late",
    "killed and cleaned up after, with a late", "cut off before", "cut off after",
    "cut off with a late", "cut off for good before", "cut off for good after"};

static int kills(blow how)
{
    return how <= KILLED_CLEANED;
}

static int is_late(blow how)
{
    return how == KILLED_LATE || how == KILLED_CLEANED || how == CUT_LATE;
}

static int is_applied(blow how)
{
    return how == KILLED_AFTER || how == CUT_AFTER || how == DOWN_AFTER;
}

/* --- the data set ----------------------------------------------------------------------------- */

static server *proxy;
static shardy_manifest_store_options direct;
static shardy_manifest_store_options through;
static const dataset_place place = {BUCKET_URL, NULL, &direct};

static const char *sql(const char *text)
{
    return postgres_sql(TABLE, PLACE, text);
}

/* Until every session has ended, as it does by itself. */
static void wait_no_session(void)
{
    while (strcmp(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client "
                      "backend' AND pid <> pg_backend_pid()"),
               "0") != 0) {
    }
}

static void restore(const crash_operation *op)
{
    server_reset(bucket_server());
    server_reset(proxy);
    server_settings(proxy, "{\"late\": false}");
    wait_no_session();
    server_copy_objects(
        bucket_server(), SERVER_BUCKET, op->before ? SAVED : "nothing/", BUCKET_PREFIX);
    if (!op->before) {
        sql("DROP TABLE IF EXISTS %P_documents, %P, %T_images, %T_shards, %T_builds");
        return;
    }
    sql("CREATE TABLE IF NOT EXISTS %T_builds (LIKE saved.%T_builds INCLUDING ALL); "
        "CREATE TABLE IF NOT EXISTS %T_shards (LIKE saved.%T_shards INCLUDING ALL, "
        "FOREIGN KEY (run_id) REFERENCES %T_builds (run_id)); "
        "CREATE TABLE IF NOT EXISTS %T_images (LIKE saved.%T_images INCLUDING ALL, "
        "FOREIGN KEY (run_id) REFERENCES %T_builds (run_id) ON DELETE CASCADE); "
        "CREATE TABLE IF NOT EXISTS %P (LIKE saved.%P INCLUDING ALL); "
        "CREATE TABLE IF NOT EXISTS %P_documents (LIKE saved.%P_documents INCLUDING ALL); "
        "DELETE FROM %P_documents; DELETE FROM %P; DELETE FROM %T_images; "
        "DELETE FROM %T_shards; DELETE FROM %T_builds; "
        "INSERT INTO %T_builds SELECT * FROM saved.%T_builds; "
        "INSERT INTO %T_shards SELECT * FROM saved.%T_shards; "
        "INSERT INTO %T_images SELECT * FROM saved.%T_images; "
        "INSERT INTO %P SELECT * FROM saved.%P; "
        "INSERT INTO %P_documents SELECT * FROM saved.%P_documents");
}

static void open_options(shardy_manifest_store_options *options, const char *dsn)
{
    shardy_manifest_store_options_init(options, sizeof *options);
    options->kind = SHARDY_MANIFEST_POSTGRES;
    options->dsn = dsn;
    options->table_name = TABLE;
    options->pointer_table_name = PLACE;
}

static int setup(void **state)
{
    shardy_error err = {0};
    dataset_options options;
    postgres_group_setup(state);
    proxy = server_start_postgres_proxy(postgres_running());
    bucket_start();
    open_options(&direct, postgres_dsn());
    open_options(&through, server_conninfo(proxy, 0));
    dataset_options_init(&options);
    options.manifests = &direct;
    assert_ok(dataset_build(NULL, BUCKET_URL, CRASH_OLD, &options, &err));
    assert_ok(dataset_build(NULL, BUCKET_URL, CRASH_NOW, &options, &err));
    assert_true(server_copy_objects(bucket_server(), SERVER_BUCKET, BUCKET_PREFIX, SAVED) > 0);
    sql("CREATE SCHEMA saved; ALTER TABLE %P_documents SET SCHEMA saved; "
        "ALTER TABLE %P SET SCHEMA saved; ALTER TABLE %T_images SET SCHEMA saved; "
        "ALTER TABLE %T_shards SET SCHEMA saved; ALTER TABLE %T_builds SET SCHEMA saved");
    return 0;
}

static int teardown(void **state)
{
    server_stop(proxy);
    postgres_group_teardown(state);
    return bucket_teardown(state);
}

/* --- operations ------------------------------------------------------------------------------- */

/* Again with the same plan, by the same process, when it failed or could not be found out whether
 * it was done. */
static shardy_status publish_winners(
    const shardy_plan *plan, const shardy_buf *winners, int twice, shardy_error *err)
{
    shardy_bytes json = {winners->data, winners->len};
    shardy_status st = shardy_plan_publish(plan, json, NULL, err);
    return st == SHARDY_UNAVAILABLE && twice ? shardy_plan_publish(plan, json, NULL, err) : st;
}

static shardy_status run_plan(const shardy_plan *plan, int twice, shardy_error *err)
{
    shardy_buf attempts[DATASET_SHARDS] = {{0}};
    shardy_bytes results[DATASET_SHARDS];
    shardy_buf winners = {0};
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < DATASET_SHARDS; i++) {
        dataset_feed feed;
        dataset_feed_init(&feed, CRASH_NEW, i);
        st = shardy_attempt_build(plan, i, 0, dataset_next_row, &feed, &attempts[i], err);
        results[i] = (shardy_bytes){attempts[i].data, attempts[i].len};
    }
    if (st >= 0) {
        st = shardy_winners_select(plan, results, DATASET_SHARDS, &winners, err);
    }
    if (st >= 0) {
        st = publish_winners(plan, &winners, twice, err);
    }
    for (uint32_t i = 0; i < DATASET_SHARDS; i++) {
        shardy_buf_release(&attempts[i]);
    }
    shardy_buf_release(&winners);
    return st;
}

/* Once when a COMMIT may come late: it keeps the run id from the next one until the server gives
 * it up. */
static shardy_status run_publish(const crash_call *call, shardy_error *err)
{
    shardy_writer_options options;
    shardy_plan *plan;
    dataset_plan_options(&options, CRASH_NEW);
    options.store = call->at.store;
    options.manifest_store = call->at.manifests;
    shardy_status st = shardy_plan_new(call->context, call->at.url, &options, &plan, err);
    if (st >= 0) {
        st = run_plan(plan, !call->late, err);
        shardy_plan_free(plan);
    }
    return st;
}

static const crash_operation build_operation = {
    "build", CRASH_NOW, CRASH_NEW, 1, 1, NULL, crash_build_new, {SHARDY_EXISTS}};
static const crash_operation publish_operation = {
    "publish", CRASH_NOW, CRASH_NEW, 1, 1, NULL, run_publish, {SHARDY_EXISTS}};
static const crash_operation first_operation = {
    "first build", NULL, CRASH_NEW, 1, 1, NULL, crash_build_new, {SHARDY_EXISTS}};
static const crash_operation rollback_operation = {
    "rollback", CRASH_NOW, CRASH_OLD, 0, 0, NULL, crash_roll_back, {SHARDY_OK}};
static const crash_operation cleanup_operation = {
    "cleanup", CRASH_NOW, CRASH_NOW, 0, 0, NULL, crash_clean, {SHARDY_OK}};
static const crash_operation pin_operation = {
    "pin", CRASH_NOW, CRASH_NOW, 0, 0, NULL, crash_pin, {SHARDY_OK}};

/* --- a trial ---------------------------------------------------------------------------------- */

/* The request that is met: the `nth` of the operation to that server. */
typedef struct trial {
    const crash_operation *op;
    server *at;
    unsigned nth;
    int is_commit;
    blow how;
    char name[160];
} trial;

/* One call on a store of its own; requests come one at a time, in one order. */
static shardy_status with_store(crash_fn run, const shardy_manifest_store_options *manifests,
    crash_call *call, shardy_error *err)
{
    static const bucket_store_options options = {30000, 3, 1};
    shardy_store *inner;
    shardy_store *store = bucket_open(call->context, &options, &inner);
    call->at = (dataset_place){BUCKET_URL, store, manifests};
    shardy_status st = run(call, err);
    shardy_store_close(store);
    shardy_store_close(inner);
    shardy_context_free(call->context);
    return st;
}

static shardy_status run_quietly(crash_fn run, shardy_error *err)
{
    crash_call call = {crash_context(0), {0}, 0, 0};
    return with_store(run, &direct, &call, err);
}

/* The operation under test, through the proxy. What keeps others waiting when its client vanishes
 * is ended by the server soon. */
static shardy_status run_tested(const void *what, shardy_error *err)
{
    const trial *t = what;
    crash_call call = {crash_context(0), {0}, 0, is_late(t->how)};
    if (call.late && t->op == &cleanup_operation) {
        call.timeout_ms = sweep_torture() ? BRIEF_MS : BRIEF_QUICK_MS;
    }
    return with_store(t->op->run, &through, &call, err);
}

static void must(const trial *t, shardy_status st, const shardy_error *err, const char *what)
{
    if (st < 0) {
        fail_msg("%s: %s: %s: %s", t->name, what, shardy_status_name(st), err->message);
    }
}

/* Before the first build: nothing is there, and that is what readers are told. */
static int is_empty(void)
{
    shardy_error err = {0};
    shardy_reader *reader;
    shardy_reader_options options;
    shardy_reader_options_init(&options, sizeof options);
    options.manifest_store = &direct;
    shardy_status st = shardy_reader_open(NULL, BUCKET_URL, &options, &reader, &err);
    shardy_reader_close(reader);
    return st == SHARDY_INVALID && strstr(err.message, "nothing was published") != NULL;
}

/* Rows that belong together are there together. */
static void check_rows(const trial *t, const char *when)
{
    const char *tables =
        sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE '%T%'");
    int none = strcmp(tables, "0") == 0;
    if (!none && strcmp(tables, "5") != 0) {
        fail_msg("%s: %s: there are %s of 5 tables", t->name, when, tables);
    }
    const char *apart = none ? "0"
                             : sql("SELECT (SELECT count(*) FROM %P FULL JOIN %P_documents d USING "
                                   "(updated_at) WHERE manifest_ref IS NULL OR document IS NULL) + "
                                   "(SELECT count(*) FROM %T_builds FULL JOIN %T_images i USING "
                                   "(run_id) WHERE num_dbs IS NULL OR image IS NULL)");
    if (strcmp(apart, "0") != 0) {
        fail_msg("%s: %s: %s rows stand alone", t->name, when, apart);
    }
}

/* Nobody has given up what is current: a cleanup would take its shards. */
static void check_fate(const trial *t, const char *when, const char *run_id)
{
    char key[200];
    snprintf(key, sizeof key, BUCKET_PREFIX "runs/run_id=%s/fate", run_id);
    char *fate = server_get_object(bucket_server(), SERVER_BUCKET, key, NULL);
    if (!fate || strstr(fate, "CONDEMNED")) {
        fail_msg("%s: %s: the current run has the fate %s", t->name, when, fate ? fate : "none");
    }
    free(fate);
}

/* The snapshot that is current, "" when there is none: it, and all in the history, are whole. */
static void look(const trial *t, const char *when, char stamp[DATASET_STAMP_MAX])
{
    dataset_problem problem;
    check_rows(t, when);
    stamp[0] = '\0';
    if (!t->op->before && is_empty()) {
        return;
    }
    if (!dataset_check_at(&place, DATASET_ROWS, stamp, &problem)) {
        fail_msg("%s: %s: %s", t->name, when, problem.text);
    }
    check_fate(t, when, stamp);
}

static void look_for(const trial *t, const char *when, const char *expected)
{
    char stamp[DATASET_STAMP_MAX];
    look(t, when, stamp);
    if (strcmp(stamp, expected) != 0) {
        fail_msg("%s: %s the snapshot is \"%s\"", t->name, when, stamp);
    }
}

/* A cleanup days later. The bucket is to take its signatures. */
static void clean_up_days_later(const trial *t)
{
    shardy_error err = {0};
    crash_call call = {crash_context(1), {0}, 0, 0};
    server_settings(bucket_server(), "{\"auth\": \"off\"}");
    must(t, with_store(crash_clean_dead, &direct, &call, &err), &err, "a cleanup");
    server_settings(bucket_server(), "{\"auth\": \"strict\"}");
}

/* The operation again, and then another build. */
static void run_again(const trial *t, int is_over)
{
    shardy_error err = {0};
    char stamp[DATASET_STAMP_MAX];
    shardy_status st = run_quietly(t->op->run, &err);
    if (!crash_fits_again(t->op, is_over, st)) {
        must(t, st, &err, "run again");
    }
    look(t, "run again", stamp);
    if (st >= 0) {
        assert_string_equal(stamp, t->op->after);
    }
    must(t, run_quietly(crash_build_later, &err), &err, "the next build");
    look_for(t, "after the next build", CRASH_LATER);
}

static void set_rule(const trial *t)
{
    char rule[160];
    char to[32] = "";
    if (t->how < DOWN_BEFORE) {
        snprintf(to, sizeof to, ", \"to\": %u", t->nth);
    }
    snprintf(rule, sizeof rule, "{\"kind\": \"%s\", \"from\": %u%s%s}",
        kills(t->how) ? "hold" : "drop", t->nth, to,
        is_applied(t->how) ? ", \"applied\": true" : "");
    server_settings(proxy, is_late(t->how) ? "{\"late\": true}" : "{\"late\": false}");
    server_faults(t->at, rule);
}

static void kill_child(const trial *t)
{
    pid_t child = crash_start(run_tested, t);
    server_wait_held(t->at, 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(crash_end(child), -SIGKILL);
}

/* What the one who lives on is told is true. */
static shardy_status cut_off(const trial *t)
{
    shardy_error err = {0};
    shardy_status st = run_tested(t, &err);
    if (st < 0 && (st != SHARDY_UNAVAILABLE || !err.message[0])) {
        fail_msg("%s: %s: %s", t->name, shardy_status_name(st), err.message);
    }
    /* a COMMIT whose answer was lost is found out about, and not repeated */
    if (t->is_commit && t->how == CUT_AFTER && t->op->before && t->op != &cleanup_operation) {
        must(t, st, &err, "the answer of its COMMIT was lost");
        assert_int_equal(server_count(proxy, "operation.commit", NULL), 1);
    }
    return st;
}

/* Whoever was cut off, or came after it, has said the truth; no request is left over but a late
 * one. */
static void check_after(const trial *t, shardy_status st, char stamp[DATASET_STAMP_MAX])
{
    if (!is_late(t->how)) {
        wait_no_session();
    }
    look(t, "afterwards", stamp);
    int is_after = strcmp(stamp, t->op->after) == 0;
    int is_before = strcmp(stamp, t->op->before ? t->op->before : "") == 0;
    if (!is_after && (st >= 0 || !is_before)) {
        fail_msg("%s: the snapshot is \"%s\"", t->name, stamp);
    }
    int has_manifest =
        stamp[0] &&
        strcmp(sql("SELECT count(*) FROM %T_builds WHERE run_id = 'run-new'"), "0") != 0;
    if (has_manifest != (strcmp(stamp, CRASH_NEW) == 0)) {
        fail_msg("%s: the manifest was added without the pointer being moved", t->name);
    }
}

static void run_trial(trial *t)
{
    char stamp[DATASET_STAMP_MAX];
    shardy_status st = SHARDY_UNAVAILABLE;
    snprintf(t->name, sizeof t->name, "%s %s %s %u%s", t->op->name, blow_names[t->how],
        t->at == proxy ? "statement" : "request", t->nth, t->is_commit ? ", a COMMIT" : "");
    support_watch(t->name, HANG_S);
    restore(t->op);
    set_rule(t);
    if (kills(t->how)) {
        kill_child(t);
    } else {
        st = cut_off(t);
    }
    assert_true(server_faults_used(t->at) > 0);
    server_faults(t->at, NULL);
    check_after(t, st, stamp);
    if (t->how == KILLED_CLEANED) {
        clean_up_days_later(t);
        look(t, "after a cleanup", stamp);
    }
    run_again(t, t->how == KILLED_CLEANED || t->op->claims || strcmp(stamp, t->op->after) == 0);
    if (is_late(t->how)) {
        shardy_error err = {0};
        server_release(t->at, 0);
        wait_no_session();
        look_for(t, "after the late request", CRASH_LATER);
        must(t, run_quietly(crash_clean, &err), &err, "the last cleanup");
        look_for(t, "after the last cleanup", CRASH_LATER);
    }
    support_watch(NULL, 0);
}

/* --- all requests ----------------------------------------------------------------------------- */

typedef struct requests {
    unsigned to_postgres;
    unsigned to_bucket;
    unsigned commits;
    int is_commit[REQUESTS_MAX + 1]; /* by number, from 1 */
} requests;

/* Which requests are a COMMIT: the log has them in their order. */
static void note_commits(requests *r)
{
    char *log = server_log(proxy, NULL);
    unsigned n = 0;
    for (char *end, *line = log; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        n++;
        assert_true(n <= r->to_postgres);
        r->is_commit[n] = strstr(line, "\"operation\": \"commit\"") != NULL;
        r->commits += (unsigned)r->is_commit[n];
    }
    free(log);
    assert_int_equal(n, r->to_postgres);
}

static void count_requests(const crash_operation *op, requests *r)
{
    static const char rule[] = "{\"kind\": \"delay\", \"ms\": 0}";
    trial t = {.op = op, .how = CUT_BEFORE};
    memset(r, 0, sizeof *r);
    restore(op);
    server_faults(proxy, rule);
    server_faults(bucket_server(), rule);
    assert_int_equal(crash_end(crash_start(run_tested, &t)), 0);
    r->to_postgres = (unsigned)server_faults_used(proxy);
    r->to_bucket = (unsigned)server_faults_used(bucket_server());
    assert_true(r->to_postgres > 1 && r->to_postgres <= REQUESTS_MAX && r->to_bucket > 1);
    note_commits(r);
}

static int is_possible(const crash_operation *op, const server *at, blow how)
{
    if (how == KILLED_CLEANED && !op->writes_run) {
        return 0;
    }
    if (at != proxy && !kills(how)) {
        return 0; /* test_fault_matrix has what a bucket does to who lives on */
    }
    /* whoever creates tables keeps all others waiting until the server gives it up */
    return op->before || at != proxy || !is_late(how);
}

static unsigned run_points(const crash_operation *op, server *at, const requests *r)
{
    unsigned n = at == proxy ? r->to_postgres : r->to_bucket;
    unsigned step = sweep_torture() || n <= QUICK ? 1 : n / QUICK;
    unsigned tried = 0;
    for (unsigned nth = 1; nth <= n; nth++) {
        int is_commit = at == proxy && r->is_commit[nth];
        if (nth % step != 0 && !is_commit) {
            continue;
        }
        for (unsigned how = 0; how < BLOWS; how++) {
            trial t = {.op = op, .at = at, .nth = nth, .is_commit = is_commit, .how = (blow)how};
            /* of the quick set one of some, at the COMMIT of a build all */
            int chosen = sweep_torture() || (is_commit && op == &build_operation) ||
                         (is_commit ? how % 2 == 0 : (nth / step + how) % 6 == 0);
            if (chosen && is_possible(op, at, t.how)) {
                run_trial(&t);
                tried++;
            }
        }
    }
    return tried;
}

static void run_operation(const crash_operation *op)
{
    requests r;
    count_requests(op, &r);
    unsigned of_postgres = run_points(op, proxy, &r);
    unsigned of_bucket = run_points(op, bucket_server(), &r);
    print_message("crash: %s: %u requests to Postgres (%u of them COMMIT), met %u times; %u to the "
                  "bucket, met %u times\n",
        op->name, r.to_postgres, r.commits, of_postgres, r.to_bucket, of_bucket);
}

static void test_postgres_crash__a_build_is_published_whole_or_not_at_all(void **state)
{
    (void)state;
    run_operation(&build_operation);
}

static void test_postgres_crash__a_publish_is_finished_by_who_lives_on(void **state)
{
    (void)state;
    run_operation(&publish_operation);
}

static void test_postgres_crash__the_first_build_makes_all_tables_or_none(void **state)
{
    (void)state;
    run_operation(&first_operation);
}

static void test_postgres_crash__a_rollback_is_done_or_not(void **state)
{
    (void)state;
    run_operation(&rollback_operation);
}

static void test_postgres_crash__a_cleanup_leaves_no_manifest_without_its_shards(void **state)
{
    (void)state;
    run_operation(&cleanup_operation);
}

static void test_postgres_crash__a_pin_is_there_or_not(void **state)
{
    (void)state;
    run_operation(&pin_operation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postgres_crash__a_build_is_published_whole_or_not_at_all),
        cmocka_unit_test(test_postgres_crash__a_publish_is_finished_by_who_lives_on),
        cmocka_unit_test(test_postgres_crash__the_first_build_makes_all_tables_or_none),
        cmocka_unit_test(test_postgres_crash__a_rollback_is_done_or_not),
        cmocka_unit_test(test_postgres_crash__a_cleanup_leaves_no_manifest_without_its_shards),
        cmocka_unit_test(test_postgres_crash__a_pin_is_there_or_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
