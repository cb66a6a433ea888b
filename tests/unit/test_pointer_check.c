/* The checker of histories itself: what fits one order of the moves of the pointer passes, and what
 * does not is told (support/pointer_check.h). */
#include "support/pointer_check.h"
#include "support/support.h"

#include "catalog/fate.h"

#include <stdio.h>
#include <string.h>

#define MOST 16u

/* Events are written in any order; `moves` are in that of their versions. */
typedef struct story {
    event events[MOST];
    size_t count;
    size_t moves[MOST];
    size_t move_count;
} story;

static event *add(story *s, int32_t op, uint32_t process, uint64_t begin, uint64_t end)
{
    event *e = &s->events[s->count++];
    e->op = op;
    e->process = process;
    e->begin = begin;
    e->end = end;
    return e;
}

static void name_run(event *e, uint32_t version)
{
    snprintf(e->version, sizeof e->version, "v%u", version);
    snprintf(e->run_id, sizeof e->run_id, "run-%u", version);
}

/* To version 1, 2, ... */
static void moved(story *s, uint64_t begin, uint64_t end)
{
    s->moves[s->move_count++] = s->count;
    event *e = add(s, EVENT_PUT, 9, begin, end);
    snprintf(e->key, sizeof e->key, "_CURRENT");
    name_run(e, (uint32_t)s->move_count);
}

static void refused(story *s, uint32_t expected, uint64_t begin, uint64_t end)
{
    event *e = add(s, EVENT_PUT, 8, begin, end);
    snprintf(e->key, sizeof e->key, "_CURRENT");
    snprintf(e->expected, sizeof e->expected, "v%u", expected);
    e->status = SHARDY_CONFLICT;
}

static void seen(story *s, uint32_t process, uint32_t version, uint64_t begin, uint64_t end)
{
    name_run(add(s, EVENT_READ_POINTER, process, begin, end), version);
}

/* An answer from begin to end, held right after the pointer was read. */
static event *answered(story *s, uint32_t process, uint32_t version, uint64_t begin, uint64_t end)
{
    event *e = add(s, EVENT_ANSWER, process, begin, end);
    name_run(e, version);
    seen(s, process, version, begin + 1, begin + 2);
    e->held = begin + 3;
    return e;
}

/* What is wrong with the story; "": nothing. */
static const char *judge(const story *s)
{
    static dataset_problem problem;
    pointer_history h;
    memset(&h, 0, sizeof h);
    h.events = s->events;
    h.count = s->count;
    h.moves = s->moves;
    h.move_count = s->move_count;
    name_run(&h.from, 0);
    problem.text[0] = '\0';
    int ok = pointer_check(&h, &problem);
    assert_int_equal(ok, problem.text[0] == '\0');
    return problem.text;
}

static void assert_wrong(const story *s, const char *words)
{
    const char *said = judge(s);
    if (!strstr(said, words)) {
        fail_msg("it says \"%s\", expected \"%s\"", said, words);
    }
}

static void test_pointer_check__what_fits_one_order_passes(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    moved(&s, 30, 40);
    seen(&s, 0, 0, 1, 2);
    seen(&s, 0, 0, 11, 12); /* still the old one, while it is being moved */
    seen(&s, 1, 1, 13, 14); /* and the new one right after that */
    seen(&s, 2, 2, 31, 50);
    refused(&s, 0, 9, 25); /* the move came first */
    answered(&s, 3, 1, 21, 60);
    answered(&s, 4, 2, 45, 60);
    assert_string_equal(judge(&s), "");
}

static void test_pointer_check__an_older_pointer_after_a_newer_one_is_found(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 50);
    seen(&s, 0, 1, 20, 21);
    seen(&s, 1, 0, 22, 23); /* somebody had seen the new one before */
    assert_wrong(&s, "the pointer was read as it was not");
}

static void test_pointer_check__a_pointer_before_its_time_or_after_it_is_found(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    seen(&s, 0, 1, 8, 9);
    assert_wrong(&s, "the pointer was read as it was not");
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    seen(&s, 0, 0, 21, 22);
    assert_wrong(&s, "the pointer was read as it was not");
    memset(&s, 0, sizeof s);
    seen(&s, 0, 7, 1, 2);
    assert_wrong(&s, "a version of the pointer that nobody wrote");
}

static void test_pointer_check__moves_that_cannot_follow_each_other_are_found(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 30, 40);
    moved(&s, 10, 20); /* of the version that was made after it had ended */
    assert_wrong(&s, "the pointer was read as it was not");
}

static void test_pointer_check__a_conflict_that_nobody_made_is_found(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    refused(&s, 1, 30, 40);
    assert_wrong(&s, "a conflict that nobody made");
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    refused(&s, 0, 5, 9); /* it had ended when the other one began */
    assert_wrong(&s, "the pointer was read as it was not");
}

static void test_pointer_check__answers_that_are_not_of_one_current_snapshot_are_found(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    moved(&s, 30, 40);
    event *e = add(&s, EVENT_ANSWER, 0, 50, 60);
    name_run(e, 1);
    e->held = 55;
    assert_wrong(&s, "an answer of a snapshot that was not current");
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    e = answered(&s, 0, 0, 11, 60);
    name_run(e, 1);
    assert_wrong(&s, "an answer of another snapshot than the pointer named");
    memset(&s, 0, sizeof s);
    answered(&s, 0, 0, 10, 60)->status = SHARDY_INTERNAL;
    assert_wrong(&s, "a mixed answer");
}

static void test_pointer_check__a_hole_is_one_unless_its_run_was_condemned(void **state)
{
    (void)state;
    story s;
    memset(&s, 0, sizeof s);
    moved(&s, 10, 20);
    answered(&s, 0, 0, 1, 60)->status = SHARDY_GONE;
    assert_wrong(&s, "a reader found a hole");
    event *e = add(&s, EVENT_PUT, 1, 30, 31);
    name_run(e, 0);
    e->state = FATE_CONDEMNED;
    assert_string_equal(judge(&s), "");
    e->begin = 61; /* only afterwards */
    assert_wrong(&s, "a reader found a hole");
    memset(&s, 0, sizeof s);
    answered(&s, 0, 0, 1, 60)->status = SHARDY_CORRUPT;
    assert_wrong(&s, "a reader found a hole");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointer_check__what_fits_one_order_passes),
        cmocka_unit_test(test_pointer_check__an_older_pointer_after_a_newer_one_is_found),
        cmocka_unit_test(test_pointer_check__a_pointer_before_its_time_or_after_it_is_found),
        cmocka_unit_test(test_pointer_check__moves_that_cannot_follow_each_other_are_found),
        cmocka_unit_test(test_pointer_check__a_conflict_that_nobody_made_is_found),
        cmocka_unit_test(
            test_pointer_check__answers_that_are_not_of_one_current_snapshot_are_found),
        cmocka_unit_test(test_pointer_check__a_hole_is_one_unless_its_run_was_condemned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
