/* The store that is told what will be read soon: what it answers itself, what it passes on. */
#include "support/store_fixture.h"
#include "support/trip_store.h"

#include "store/store_ahead.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct world {
    shardy_store *memory;
    shardy_store *trips;
    shardy_store *store; /* around them */
} world;

static const shardy_store_limits no_limits;
static shardy_error err;

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_ok(shardy_store_open_mem(NULL, &w->memory, &err));
    assert_ok(trip_store_open(w->memory, &w->trips, &err));
    assert_ok(shardy__store_wrap_ahead(NULL, w->trips, &w->store, &err));
    put_ok(w->memory, "a", "first");
    put_ok(w->memory, "b", "second");
    put_ok(w->memory, "empty", "");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    shardy_store_close(w->store);
    shardy_store_close(w->trips);
    shardy_store_close(w->memory);
    free(w);
    return 0;
}

static uint32_t requests(const world *w)
{
    return trip_store_take(w->trips).requests;
}

static void check_get(const world *w, const char *key, const char *body)
{
    shardy_buf found;
    shardy_object_meta meta;
    assert_ok(shardy_store_get(w->store, key, 0, SHARDY_READ_TO_END, &found, &meta, &err));
    assert_int_equal(found.len, strlen(body));
    assert_memory_equal(found.data, body, found.len);
    assert_int_equal(meta.size, found.len);
    shardy_buf_release(&found);
}

static void test_ahead__several_come_in_one_round_trip_and_are_answered_once(void **state)
{
    const world *w = *state;
    const ahead_want wants[] = {{"a", 100}, {"b", 6}, {"empty", 1}};
    shardy__store_ahead(w->store, wants, 3, &no_limits);
    trip_counts counts = trip_store_take(w->trips);
    assert_int_equal(counts.steps, 1);
    assert_int_equal(counts.requests, 3);
    check_get(w, "b", "second");
    check_get(w, "a", "first");
    check_get(w, "empty", "");
    assert_int_equal(requests(w), 0);
    /* no longer there: a second read is a read */
    check_get(w, "a", "first");
    assert_int_equal(requests(w), 1);
}

static void test_ahead__what_is_not_there_or_too_long_is_asked_for_again(void **state)
{
    const world *w = *state;
    const ahead_want wants[] = {{"missing", 100}, {"b", 5}, {"../a", 10}};
    shardy_buf found;
    shardy__store_ahead(w->store, wants, 3, &no_limits);
    (void)requests(w);
    check_get(w, "b", "second");
    assert_status(SHARDY_NOT_FOUND,
        shardy_store_get(w->store, "missing", 0, SHARDY_READ_TO_END, &found, NULL, &err));
    assert_int_equal(requests(w), 2);
    assert_status(SHARDY_INVALID,
        shardy_store_get(w->store, "../a", 0, SHARDY_READ_TO_END, &found, NULL, &err));
}

static void test_ahead__only_whole_reads_without_conditions_are_answered(void **state)
{
    const world *w = *state;
    const ahead_want wants[] = {{"b", 100}};
    shardy_object_meta meta;
    assert_ok(shardy_store_head(w->memory, "b", &meta, &err));
    shardy__store_ahead(w->store, wants, 1, &no_limits);
    (void)requests(w);
    shardy_store_read reads[4];
    reads[0] = read_of("b", 1, SHARDY_READ_TO_END); /* not from its beginning */
    reads[1] = read_of("b", 0, 5);                  /* not to its end */
    reads[2] = read_of("b", 0, SHARDY_READ_TO_END);
    reads[2].if_match = meta.etag.text;
    reads[3] = read_of("b", 0, SHARDY_READ_TO_END);
    reads[3].if_none_match = meta.etag.text;
    shardy_store_read_all(w->store, reads, 4);
    assert_int_equal(requests(w), 4);
    assert_int_equal(reads[0].received, 5);
    assert_int_equal(reads[1].received, 5);
    assert_int_equal(reads[2].received, 6);
    assert_int_equal(reads[3].status, SHARDY_NOT_MODIFIED);
    for (size_t i = 0; i < 4; i++) {
        shardy_buf_release(&reads[i].body);
    }
    check_get(w, "b", "second");
    assert_int_equal(requests(w), 0);
}

static void test_ahead__a_read_into_a_buffer_is_copied_there(void **state)
{
    const world *w = *state;
    const ahead_want wants[] = {{"a", 100}, {"empty", 100}};
    char room[16] = "................";
    shardy__store_ahead(w->store, wants, 2, &no_limits);
    (void)requests(w);
    shardy_store_read reads[2];
    reads[0] = read_of("a", 0, sizeof room);
    reads[0].dest = room;
    reads[1] = read_of("empty", 0, 4);
    reads[1].dest = room + 8;
    shardy_store_read_all(w->store, reads, 2);
    assert_int_equal(requests(w), 0);
    assert_int_equal(reads[0].received, 5);
    assert_int_equal(reads[1].received, 0);
    assert_memory_equal(room, "first...........", sizeof room);
}

static void test_ahead__what_is_asked_for_beside_it_is_passed_on_together(void **state)
{
    const world *w = *state;
    const ahead_want wants[] = {{"a", 100}};
    shardy__store_ahead(w->store, wants, 1, &no_limits);
    (void)requests(w);
    shardy_store_read reads[4];
    reads[0] = read_of("b", 0, SHARDY_READ_TO_END);
    reads[1] = read_of("empty", 0, SHARDY_READ_TO_END);
    reads[2] = read_of("a", 0, SHARDY_READ_TO_END);
    reads[3] = read_of("a", 0, SHARDY_READ_TO_END);
    shardy_store_read_all(w->store, reads, 4);
    trip_counts counts = trip_store_take(w->trips);
    assert_int_equal(counts.requests, 3); /* the second read of it, too */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(reads[i].status, SHARDY_OK);
        assert_int_equal(reads[i].body.len, i == 0 ? 6 : i == 1 ? 0 : 5);
        shardy_buf_release(&reads[i].body);
    }
}

static void test_ahead__keeps_so_many_and_forgets_what_nobody_wants(void **state)
{
    const world *w = *state;
    char names[STORE_AHEAD_MAX + 2][8];
    ahead_want wants[STORE_AHEAD_MAX + 2];
    for (uint32_t i = 0; i < STORE_AHEAD_MAX + 2; i++) {
        snprintf(names[i], sizeof names[i], "k%u", i);
        put_ok(w->memory, names[i], "x");
        wants[i] = (ahead_want){names[i], 1};
    }
    shardy__store_ahead(w->store, wants, STORE_AHEAD_MAX + 2, &no_limits);
    assert_int_equal(requests(w), STORE_AHEAD_MAX);
    const ahead_want more[] = {{"a", 100}};
    shardy__store_ahead(w->store, more, 1, &no_limits);
    (void)requests(w);
    check_get(w, "a", "first"); /* there was no room for it */
    assert_int_equal(requests(w), 1);
    check_get(w, names[STORE_AHEAD_MAX - 1], "x");
    assert_int_equal(requests(w), 0);
    shardy__store_ahead_clear(w->store);
    check_get(w, names[0], "x");
    assert_int_equal(requests(w), 1);
}

static void test_ahead__all_other_calls_are_passed_on(void **state)
{
    const world *w = *state;
    shardy_object_meta meta;
    shardy_store_page page;
    int32_t result;
    const shardy_bytes key = bytes_of("a");
    assert_int_equal(shardy_store_caps(w->store), shardy_store_caps(w->trips));
    put_ok(w->store, "new", "x");
    assert_ok(shardy_store_head(w->store, "new", &meta, &err));
    assert_int_equal(meta.size, 1);
    assert_ok(shardy_store_list(w->store, "", 0, NULL, 10, &page, &err));
    assert_int_equal(page.count, 4);
    shardy_store_page_dispose(&page);
    assert_ok(shardy_store_remove(w->store, &key, 1, &result, &err));
    assert_status(SHARDY_NOT_FOUND, shardy_store_head(w->store, "a", &meta, &err));
    /* another store is left alone */
    const ahead_want wants[] = {{"b", 100}};
    shardy__store_ahead(w->trips, wants, 1, &no_limits);
    shardy__store_ahead_clear(w->trips);
}

static void test_ahead__an_owned_store_is_closed_with_it(void **state)
{
    (void)state;
    shardy_store *memory = NULL;
    shardy_store *store = NULL;
    assert_ok(shardy_store_open_mem(NULL, &memory, &err));
    put_ok(memory, "a", "first");
    assert_ok(shardy__store_wrap_ahead(NULL, memory, &store, &err));
    shardy__store_own_inner(store);
    const ahead_want wants[] = {{"a", 100}};
    shardy__store_ahead(store, wants, 1, &no_limits); /* and forgotten with it */
    shardy_store_close(store);
}

#define THREADS 4u

static void *take_all(void *user)
{
    const world *w = user;
    shardy_error own;
    for (size_t i = 0; i < 200; i++) {
        const ahead_want wants[] = {{"a", 100}, {"b", 100}};
        shardy_buf found;
        shardy__store_ahead(w->store, wants, 2, &no_limits);
        const char *key = i % 2 ? "a" : "b";
        if (shardy_store_get(w->store, key, 0, SHARDY_READ_TO_END, &found, NULL, &own) < 0 ||
            found.len != (i % 2 ? 5u : 6u)) {
            return user;
        }
        shardy_buf_release(&found);
        if (i % 16 == 0) {
            shardy__store_ahead_clear(w->store);
        }
    }
    return NULL;
}

static void test_ahead__many_threads_get_each_object_whole(void **state)
{
    world *w = *state;
    shardy_store *store = NULL;
    world plain = *w;
    assert_ok(shardy__store_wrap_ahead(NULL, w->memory, &store, &err));
    plain.store = store;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &plain), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    shardy_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_ahead__several_come_in_one_round_trip_and_are_answered_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__what_is_not_there_or_too_long_is_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__only_whole_reads_without_conditions_are_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__a_read_into_a_buffer_is_copied_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__what_is_asked_for_beside_it_is_passed_on_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__keeps_so_many_and_forgets_what_nobody_wants, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_ahead__all_other_calls_are_passed_on, set_up, tear_down),
        cmocka_unit_test(test_ahead__an_owned_store_is_closed_with_it),
        cmocka_unit_test_setup_teardown(
            test_ahead__many_threads_get_each_object_whole, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
