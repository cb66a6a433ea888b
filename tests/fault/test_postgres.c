/* Two sessions on the manifest store in Postgres in every order of their statements, connections
 * that break at each of them, before it is done and before it is answered, and memory that runs
 * out. */
#include "support/postgres_fixture.h"
#include "support/sweep.h"

#include "base/context.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shardy_error err;
static shardy_context *context;

#define START_US 1767323045000000

/* Runs made so far, for names that no other has. */
static unsigned runs;

static void new_run(char run_id[32])
{
    snprintf(run_id, 32, "run-%u", runs++);
}

/* --- one change ------------------------------------------------------------------------------- */

/* A publish, or a move back to a run that is there. */
typedef struct change {
    const manifest_store *m;
    char run_id[32];
    int32_t is_rollback;
    shardy_etag seen;
    pointer p;
    shardy_buf image;
    shardy_status status;
    shardy_error error;
    int32_t added;
    int32_t open;
} change;

static void change_init(change *c, const manifest_store *m, const char *back_to)
{
    pointer now;
    memset(c, 0, sizeof *c);
    c->m = m;
    c->is_rollback = back_to != NULL;
    if (back_to) {
        snprintf(c->run_id, sizeof c->run_id, "%s", back_to);
    } else {
        new_run(c->run_id);
    }
    shardy_status st = shardy__manifest_store_load_current(m, &now, &c->seen, &err);
    assert_true(st >= 0);
    c->image = manifest_image(c->run_id, START_US + runs);
    manifest_pointer(m, c->run_id, c->run_id, shardy__bytes(c->image.data, c->image.len),
        st == SHARDY_OK ? now.generation + 1 : 1, &c->p);
}

static void change_run(change *c)
{
    manifest_publish what = {
        c->run_id, shardy__bytes(c->image.data, c->image.len), &c->p, &c->seen};
    memset(&c->error, 0, sizeof c->error);
    c->status = c->is_rollback
                    ? shardy__manifest_store_set_current(c->m, &c->p, &c->seen, &c->open, &c->error)
                    : shardy__manifest_store_publish(c->m, &what, &c->added, &c->open, &c->error);
}

static void change_free(change *c)
{
    shardy_buf_release(&c->image);
}

static void current_run(const manifest_store *m, char run_id[64])
{
    pointer now;
    shardy_etag version;
    assert_true(shardy__manifest_store_load_current(m, &now, &version, &err) >= 0);
    snprintf(run_id, 64, "%.60s", now.run_id);
}

static int is_there(const manifest_store *m, const char *run_id)
{
    shardy_buf image;
    shardy_status st = shardy__manifest_store_load(m, run_id, &image, &err);
    assert_true(st >= 0);
    shardy_buf_release(&image);
    return st == SHARDY_OK;
}

/* --- every order of the statements of two sessions -------------------------------------------- */

/* A session in a thread of its own that waits for its turn before each statement. */
typedef struct lane {
    change what;
    manifest_store m;
    thread thread;
    mutex lock;
    condition moved;
    int32_t granted; /* statements it may still send; < 0: any number */
    int32_t waiting;
    int32_t done;
} lane;

static void lane_step(void *user, const char *sql)
{
    lane *l = user;
    if (strcmp(sql, "ROLLBACK") == 0) {
        return;
    }
    shardy__mutex_lock(&l->lock);
    l->waiting = 1;
    shardy__condition_broadcast(&l->moved);
    while (l->granted == 0) {
        shardy__condition_wait(&l->moved, &l->lock);
    }
    l->granted -= l->granted > 0;
    l->waiting = 0;
    shardy__mutex_unlock(&l->lock);
}

static void *lane_main(void *arg)
{
    lane *l = arg;
    change_run(&l->what);
    shardy__mutex_lock(&l->lock);
    l->done = 1;
    shardy__condition_broadcast(&l->moved);
    shardy__mutex_unlock(&l->lock);
    return NULL;
}

static int blocked_in_server(void)
{
    return strcmp(postgres_sql("", "",
                      "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                      "application_name = 'libshardyfusion'"),
               "0") != 0;
}

/* Until the session asks for its next turn, is done, or waits for the other one in the server. */
static void lane_settle(lane *l)
{
    shardy__mutex_lock(&l->lock);
    while (!l->done && !l->waiting) {
        if (!shardy__condition_wait_ns(&l->moved, &l->lock, 2000000)) {
            shardy__mutex_unlock(&l->lock);
            int blocked = blocked_in_server();
            shardy__mutex_lock(&l->lock);
            if (blocked && !l->done && !l->waiting) {
                break;
            }
        }
    }
    shardy__mutex_unlock(&l->lock);
}

static void lane_grant(lane *l, int32_t count)
{
    shardy__mutex_lock(&l->lock);
    if (l->waiting || count < 0) {
        l->granted = count;
        l->waiting = 0;
        shardy__condition_broadcast(&l->moved);
    }
    shardy__mutex_unlock(&l->lock);
}

typedef struct tables {
    char table[32];
    char pointer_table[32];
} tables;

static tables new_tables(void)
{
    tables t;
    snprintf(t.table, sizeof t.table, "%s", postgres_new_name());
    snprintf(t.pointer_table, sizeof t.pointer_table, "%s", postgres_new_name());
    return t;
}

/* Opens, and has all tables made and known. */
static void open_ready(const tables *t, const postgres_options *with, manifest_store *m)
{
    change first;
    postgres_open_store(context, t->table, t->pointer_table, with, m);
    change_init(&first, m, NULL);
    change_run(&first);
    assert_int_equal(first.status, SHARDY_OK);
    change_free(&first);
}

static void lane_open(lane *l, const tables *t)
{
    memset(l, 0, sizeof *l);
    shardy__mutex_init(&l->lock);
    shardy__condition_init(&l->moved);
    l->granted = -1;
    postgres_options with = {.step = lane_step, .step_user = l};
    open_ready(t, &with, &l->m);
}

static void lane_close(lane *l)
{
    shardy__manifest_store_close(&l->m);
    shardy__condition_destroy(&l->moved);
    shardy__mutex_destroy(&l->lock);
}

static void lane_begin(lane *l, const char *back_to)
{
    l->granted = -1;
    change_init(&l->what, &l->m, back_to);
    l->granted = 0;
    l->waiting = 0;
    l->done = 0;
    assert_ok(shardy__thread_start(&l->thread, lane_main, l, "lane", &err));
}

/* Lets the two go in one order: bit i of `order` says whose turn i is. */
static void run_order(lane lanes[2], uint32_t order, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        lane *l = &lanes[(order >> i) & 1];
        lane_settle(l);
        lane_grant(l, 1);
        lane_settle(l);
    }
    for (unsigned i = 0; i < 2; i++) {
        lane_grant(&lanes[i], -1);
    }
    for (unsigned i = 0; i < 2; i++) {
        shardy__thread_join(lanes[i].thread);
    }
}

static void check_order(lane lanes[2], const char *before, uint32_t order)
{
    unsigned won = 0;
    for (unsigned i = 0; i < 2; i++) {
        const change *c = &lanes[i].what;
        char now[64];
        if (c->status != SHARDY_OK && c->status != SHARDY_CONFLICT) {
            fail_msg("order %x: %s", order, c->error.message);
        }
        won += c->status == SHARDY_OK;
        assert_int_equal(c->open, 0);
        assert_true(is_there(&lanes[0].m, c->run_id));
        current_run(&lanes[0].m, now);
        if (c->status == SHARDY_OK) {
            assert_string_equal(now, c->run_id);
        }
    }
    if (won != 1) {
        fail_msg("order %x over %s: %u have won", order, before, won);
    }
}

static unsigned all_orders(const tables *t, const unsigned turns[2], int second_rolls_back)
{
    lane lanes[2];
    unsigned orders = 0;
    unsigned both = turns[0] + turns[1];
    for (unsigned i = 0; i < 2; i++) {
        lane_open(&lanes[i], t);
    }
    char back_to[64];
    current_run(&lanes[0].m, back_to);
    for (uint32_t order = 0; order < 1u << both; order++) {
        if ((unsigned)__builtin_popcount(order) != turns[1]) {
            continue;
        }
        char before[64];
        lanes[0].granted = -1;
        current_run(&lanes[0].m, before);
        lane_begin(&lanes[0], NULL);
        lane_begin(&lanes[1], second_rolls_back ? back_to : NULL);
        run_order(lanes, order, both);
        lanes[0].granted = -1;
        check_order(lanes, before, order);
        for (unsigned i = 0; i < 2; i++) {
            change_free(&lanes[i].what);
        }
        orders++;
    }
    for (unsigned i = 0; i < 2; i++) {
        lane_close(&lanes[i]);
    }
    return orders;
}

/* BEGIN, look at the pointer, insert the manifest, insert the pointer row, COMMIT; without the
 * third for a rollback. */
#define PUBLISH_TURNS  5u
#define ROLLBACK_TURNS 4u

static void test_orders__of_two_publishers_exactly_one_moves_the_pointer(void **state)
{
    (void)state;
    tables t = new_tables();
    const unsigned turns[] = {PUBLISH_TURNS, PUBLISH_TURNS};
    assert_int_equal(all_orders(&t, turns, 0), 252);
}

static void test_orders__of_a_publisher_and_a_rollback_exactly_one_moves_the_pointer(void **state)
{
    (void)state;
    tables t = new_tables();
    const unsigned turns[] = {PUBLISH_TURNS, ROLLBACK_TURNS};
    assert_int_equal(all_orders(&t, turns, 1), 126);
}

static void test_orders__the_same_where_the_clock_of_the_server_is_behind(void **state)
{
    (void)state;
    tables t = new_tables();
    manifest_store m;
    open_ready(&t, NULL, &m);
    shardy__manifest_store_close(&m);
    /* every new row is a microsecond after this one: two of them want the same time */
    postgres_sql(t.table, t.pointer_table,
        "INSERT INTO %P (updated_at, manifest_ref) SELECT '2900-01-01T00:00:00Z', manifest_ref "
        "FROM %P LIMIT 1");
    const unsigned turns[] = {PUBLISH_TURNS, ROLLBACK_TURNS};
    assert_int_equal(all_orders(&t, turns, 1), 126);
}

/* --- connections that break ------------------------------------------------------------------- */

/* What was done, by what was told: nothing is half there, and what is told is true. */
static unsigned check_broken(const manifest_store *m, const change *c, const char *before)
{
    char now[64];
    current_run(m, now);
    int there = is_there(m, c->run_id);
    int moved = strcmp(now, c->run_id) == 0;
    if (c->status == SHARDY_OK) {
        assert_true(moved && there);
        return 1;
    }
    assert_true(c->status == SHARDY_UNAVAILABLE || c->status == SHARDY_NOMEM ||
                c->status == SHARDY_TIMEOUT);
    assert_true(c->error.message[0]);
    if (!c->open) {
        assert_false(moved);
        assert_string_equal(now, before);
    }
    if (!c->is_rollback) {
        assert_int_equal(moved, there); /* one transaction */
        assert_true(c->added || !there);
    }
    return 0;
}

/* The k-th call fails, for each k; `persistent`: all after it as well. */
static void break_each(int persistent, int rollback)
{
    tables t = new_tables();
    manifest_store m;
    unsigned told_ok = 0;
    unsigned points = 0;
    open_ready(&t, NULL, &m);
    for (uint64_t k = 1;; k++) {
        char before[64];
        char first[64];
        change c;
        current_run(&m, first);
        change_init(&c, &m, NULL);
        change_run(&c);
        assert_int_equal(c.status, SHARDY_OK);
        change_free(&c);
        current_run(&m, before);
        change_init(&c, &m, rollback ? first : NULL);
        uint64_t seen;
        uint64_t failed;
        shardy_testing_fault_set(SHARDY_FAULT_DATABASE, k, persistent);
        change_run(&c);
        shardy_testing_fault_counts(SHARDY_FAULT_DATABASE, &seen, &failed);
        shardy_testing_fault_set(SHARDY_FAULT_DATABASE, 0, 0);
        told_ok += check_broken(&m, &c, before);
        change_free(&c);
        if (failed == 0) {
            assert_int_equal(c.status, SHARDY_OK);
            break;
        }
        points++;
    }
    shardy__manifest_store_close(&m);
    print_message("%u points, %u of them without a failure to tell\n", points, told_ok - 1);
    assert_true(points >= 8);
    assert_true(told_ok > 1 || persistent);
}

static void test_breaks__a_publish_is_whole_or_not_there_whichever_call_fails(void **state)
{
    (void)state;
    break_each(0, 0);
    break_each(1, 0);
}

static void test_breaks__a_rollback_is_done_or_not_whichever_call_fails(void **state)
{
    (void)state;
    break_each(0, 1);
    break_each(1, 1);
}

/* Kills the server's side of all sessions of the library at a statement. */
typedef struct killer {
    unsigned at;
    unsigned seen;
} killer;

static void kill_step(void *user, const char *sql)
{
    killer *k = user;
    (void)sql;
    if (++k->seen != k->at) {
        return;
    }
    postgres_sql("", "",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        "'libshardyfusion'");
    while (strcmp(postgres_sql("", "",
                      "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                      "'libshardyfusion'"),
               "0") != 0) {
    }
}

static void test_breaks__a_backend_that_is_terminated_at_any_statement_is_told(void **state)
{
    (void)state;
    tables t = new_tables();
    unsigned points = 0;
    for (int rollback = 0; rollback < 2; rollback++) {
        for (unsigned k = 1;; k++) {
            manifest_store m;
            killer kill = {0, 0};
            postgres_options with = {.step = kill_step, .step_user = &kill};
            char first[64];
            char before[64];
            change c;
            open_ready(&t, &with, &m);
            current_run(&m, first);
            change_init(&c, &m, NULL);
            change_run(&c);
            change_free(&c);
            current_run(&m, before);
            change_init(&c, &m, rollback ? first : NULL);
            kill.seen = 0;
            kill.at = k;
            change_run(&c);
            unsigned statements = kill.seen;
            kill.at = 0;
            (void)check_broken(&m, &c, before);
            change_free(&c);
            shardy__manifest_store_close(&m);
            if (statements < k) {
                break;
            }
            points++;
        }
    }
    print_message("%u statements\n", points);
    assert_true(points >= PUBLISH_TURNS + ROLLBACK_TURNS);
}

static void test_breaks__reads_answer_or_fail_whichever_call_fails(void **state)
{
    (void)state;
    tables t = new_tables();
    manifest_store m;
    open_ready(&t, NULL, &m);
    char run_id[64];
    current_run(&m, run_id);
    unsigned points = 0;
    for (unsigned what = 0; what < 4; what++) {
        uint64_t failed = 1;
        for (uint64_t k = 1; failed > 0; k++) {
            pointer p;
            shardy_etag version;
            shardy_buf image = {0};
            shardy_manifest_list list;
            shardy_error error = {0};
            uint64_t n;
            memset(&list, 0, sizeof list);
            shardy_testing_fault_set(SHARDY_FAULT_DATABASE, k, 0);
            shardy_status st = what == 0
                                   ? shardy__manifest_store_load_current(&m, &p, &version, &error)
                               : what == 1 ? shardy__manifest_store_load(&m, run_id, &image, &error)
                               : what == 2 ? shardy__manifest_store_list(&m, 10, &list, &error)
                                           : shardy__manifest_store_remove(&m, "none", &n, &error);
            shardy_testing_fault_counts(SHARDY_FAULT_DATABASE, &n, &failed);
            shardy_testing_fault_set(SHARDY_FAULT_DATABASE, 0, 0);
            assert_true(st == SHARDY_OK || st == SHARDY_UNAVAILABLE);
            assert_int_equal(st < 0, error.message[0] != '\0');
            assert_int_equal(st < 0 ? error.retriable : 1, 1);
            shardy_buf_release(&image);
            shardy__manifest_list_dispose(&list);
            points += failed > 0;
        }
    }
    shardy__manifest_store_close(&m);
    print_message("%u points\n", points);
    assert_true(points >= 16);
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct memory_state {
    manifest_store m;
    change c;
    char before[64];
} memory_state;

static void *memory_setup(const void *param)
{
    memory_state *s = calloc(1, sizeof *s);
    open_ready(param, NULL, &s->m);
    current_run(&s->m, s->before);
    change_init(&s->c, &s->m, NULL);
    return s;
}

static shardy_status memory_publish(void *state, shardy_error *error)
{
    memory_state *s = state;
    change_run(&s->c);
    *error = s->c.error;
    return s->c.status;
}

static void memory_check(void *state, shardy_status status, const shardy_error *error)
{
    memory_state *s = state;
    (void)status;
    (void)error;
    (void)check_broken(&s->m, &s->c, s->before);
}

static shardy_status memory_read(void *state, shardy_error *error)
{
    memory_state *s = state;
    pointer p;
    shardy_etag version;
    shardy_buf image = {0};
    shardy_manifest_list list;
    memset(&list, 0, sizeof list);
    shardy_status st = shardy__manifest_store_load_current(&s->m, &p, &version, error);
    if (st >= 0) {
        st = shardy__manifest_store_load(&s->m, s->before, &image, error);
    }
    if (st >= 0) {
        st = shardy__manifest_store_list(&s->m, 10, &list, error);
    }
    shardy_buf_release(&image);
    shardy__manifest_list_dispose(&list);
    return st;
}

static void memory_teardown(void *state)
{
    memory_state *s = state;
    change_free(&s->c);
    shardy__manifest_store_close(&s->m);
    free(s);
}

static void test_memory__that_runs_out_changes_nothing_and_leaks_nothing(void **state)
{
    (void)state;
    tables t = new_tables();
    const sweep_case publish = {.name = "publish to postgres",
        .kinds = SWEEP_BIT(SWEEP_ALLOC),
        .absorbs = SWEEP_BIT(SWEEP_ALLOC),
        .setup = memory_setup,
        .operation = memory_publish,
        .check = memory_check,
        .teardown = memory_teardown,
        .param = &t,
        .quick = 60};
    sweep_case read = publish;
    read.name = "read from postgres";
    read.absorbs = 0;
    read.operation = memory_read;
    read.check = NULL;
    assert_true(sweep_run(&publish) > 0);
    assert_true(sweep_run(&read) > 0);
}

static int group_setup(void **state)
{
    assert_ok(shardy_context_new(NULL, &context, &err));
    return postgres_group_setup(state);
}

static int group_teardown(void **state)
{
    shardy_context_free(context);
    return postgres_group_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders__of_two_publishers_exactly_one_moves_the_pointer),
        cmocka_unit_test(test_orders__of_a_publisher_and_a_rollback_exactly_one_moves_the_pointer),
        cmocka_unit_test(test_orders__the_same_where_the_clock_of_the_server_is_behind),
        cmocka_unit_test(test_breaks__a_publish_is_whole_or_not_there_whichever_call_fails),
        cmocka_unit_test(test_breaks__a_rollback_is_done_or_not_whichever_call_fails),
        cmocka_unit_test(test_breaks__a_backend_that_is_terminated_at_any_statement_is_told),
        cmocka_unit_test(test_breaks__reads_answer_or_fail_whichever_call_fails),
        cmocka_unit_test(test_memory__that_runs_out_changes_nothing_and_leaks_nothing),
    };
    if (!shardy_testing_fault_points()) {
        return 0;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
