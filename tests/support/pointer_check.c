#include "pointer_check.h"

#include "catalog/fate.h"

#include <stdio.h>
#include <string.h>

/* Between when and when the pointer took each version: 0 is the one of before. */
typedef struct pointer_order {
    const pointer_history *h;
    uint64_t first[EVENTS_MAX + 1];
    uint64_t last[EVENTS_MAX + 2]; /* that after the last version is never taken */
    dataset_problem *problem;
} pointer_order;

static int wrong(const pointer_order *o, const char *what, const event *e, const char *detail)
{
    snprintf(o->problem->text, sizeof o->problem->text, "%.100s: process %u at %llu: %.60s: %.180s",
        what, e->process, (unsigned long long)e->begin, e->run_id, detail);
    return 0;
}

static const event *version_of(const pointer_order *o, size_t i)
{
    return i == 0 ? &o->h->from : &o->h->events[o->h->moves[i - 1]];
}

/* The version with that name; SIZE_MAX: there is none. */
static size_t find_version(const pointer_order *o, const char *version)
{
    for (size_t i = 0; i <= o->h->move_count; i++) {
        if (strcmp(version_of(o, i)->version, version) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void not_before(uint64_t *at, uint64_t bound)
{
    *at = *at > bound ? *at : bound;
}

static void not_after(uint64_t *at, uint64_t bound)
{
    *at = *at < bound ? *at : bound;
}

static int is_pointer_read(const event *e)
{
    return e->op == EVENT_READ_POINTER && e->status == SHARDY_OK;
}

/* Who was refused had expected a version that was not there any more. */
static int is_refused_move(const event *e)
{
    return e->op == EVENT_PUT && strcmp(e->key, "_CURRENT") == 0 && e->status == SHARDY_CONFLICT;
}

/* What one event says about when the versions were taken. */
static int narrow(pointer_order *o, const event *e)
{
    if (!is_pointer_read(e) && !is_refused_move(e)) {
        return 1;
    }
    size_t i = find_version(o, is_pointer_read(e) ? e->version : e->expected);
    if (i == SIZE_MAX) {
        return wrong(o, "a version of the pointer that nobody wrote", e, e->version);
    }
    if (is_refused_move(e)) {
        not_after(&o->last[i + 1], e->end);
        return i < o->h->move_count
                   ? 1
                   : wrong(o, "a conflict that nobody made", e, "the pointer was not moved");
    }
    not_after(&o->last[i], e->end);
    if (i < o->h->move_count) {
        not_before(&o->first[i + 1], e->begin);
    }
    return 1;
}

/* The pointer is linearizable if each version can have been taken after the one before it, after
 * all who still read that one had begun, and before any who read this one had ended. */
static int check_linear(pointer_order *o)
{
    const pointer_history *h = o->h;
    o->first[0] = 0;
    o->last[h->move_count + 1] = UINT64_MAX;
    for (size_t i = 0; i <= h->move_count; i++) {
        const event *e = version_of(o, i);
        o->first[i] = i == 0 ? 0 : e->begin;
        o->last[i] = i == 0 ? UINT64_MAX : e->end;
    }
    for (size_t i = 0; i < h->count; i++) {
        if (!narrow(o, &h->events[i])) {
            return 0;
        }
    }
    for (size_t i = 1; i <= h->move_count; i++) {
        not_before(&o->first[i], o->first[i - 1]);
    }
    for (size_t i = h->move_count; i > 0; i--) {
        not_after(&o->last[i - 1], o->last[i]);
    }
    for (size_t i = 1; i <= h->move_count; i++) {
        if (o->first[i] > o->last[i]) {
            return wrong(o, "the pointer was read as it was not", version_of(o, i),
                "an older one after a newer one, or one that was not there yet");
        }
    }
    return 1;
}

/* Whether some version with this run can have been current at a moment in between. */
static int was_current(const pointer_order *o, const char *run_id, uint64_t begin, uint64_t end)
{
    for (size_t i = 0; i <= o->h->move_count; i++) {
        if (strcmp(version_of(o, i)->run_id, run_id) == 0 && o->first[i] < end &&
            begin < o->last[i + 1]) {
            return 1;
        }
    }
    return 0;
}

/* The pointer that a process read last while it did something; NULL: none. */
static const event *last_read(const pointer_order *o, const event *answer, uint64_t end)
{
    const event *found = NULL;
    for (size_t i = 0; i < o->h->count; i++) {
        const event *e = &o->h->events[i];
        if (is_pointer_read(e) && e->process == answer->process && e->begin > answer->begin &&
            e->end < end && (!found || e->begin > found->begin)) {
            found = e;
        }
    }
    return found;
}

/* A snapshot may be gone when its run was condemned meanwhile. */
static int was_condemned(const pointer_order *o, const char *run_id, uint64_t end)
{
    for (size_t i = 0; i < o->h->count; i++) {
        const event *e = &o->h->events[i];
        if (e->op == EVENT_PUT && e->state == FATE_CONDEMNED && strcmp(e->run_id, run_id) == 0 &&
            e->begin < end && e->status >= 0) {
            return 1;
        }
    }
    return 0;
}

static int check_answer(const pointer_order *o, const event *e)
{
    const event *read = last_read(o, e, e->held ? e->held : e->end);
    const char *run_id = e->held ? e->run_id : read ? read->run_id : "";
    if (e->status == SHARDY_INTERNAL) {
        return wrong(o, "a mixed answer", e, e->ref);
    }
    if (e->held && !was_current(o, run_id, e->begin, e->held)) {
        return wrong(o, "an answer of a snapshot that was not current", e, run_id);
    }
    if (e->held && (!read || strcmp(read->run_id, run_id) != 0)) {
        return wrong(o, "an answer of another snapshot than the pointer named", e,
            read ? read->run_id : "it was not read");
    }
    if (e->status < 0 && !(e->status == SHARDY_GONE && was_condemned(o, run_id, e->end))) {
        return wrong(o, "a reader found a hole", e, e->ref);
    }
    return 1;
}

int pointer_check(const pointer_history *h, dataset_problem *problem)
{
    static pointer_order o; /* large */
    memset(&o, 0, sizeof o);
    o.h = h;
    o.problem = problem;
    if (!check_linear(&o)) {
        return 0;
    }
    for (size_t i = 0; i < h->count; i++) {
        const event *e = &h->events[i];
        if (e->op == EVENT_ANSWER && e->status != EVENT_OPEN && !check_answer(&o, e)) {
            return 0;
        }
    }
    return 1;
}
