/* Manifests and the pointer in Postgres as events of event_store.h. The library opens such a
 * manifest store itself: programs of the race are linked so that the call comes here first. */
#include "event_store.h"

#include "catalog/manifest_store.h"
#include "catalog/postgres.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct event_manifests {
    manifest_store inner;
    shardy_store *store; /* that events are written down with */
    int moving;          /* the transaction that is on moves the pointer */
} event_manifests;

static shardy_store *recorder;

void event_manifests_record(shardy_store *store)
{
    recorder = store;
}

static shardy_bytes bytes_of(const char *text)
{
    return (shardy_bytes){text, strlen(text)};
}

/* An event of a manifest. */
static event *begin_of(event_manifests *m, int32_t op, const char *ref)
{
    char key[300];
    event_manifest_key(ref, key, sizeof key);
    return event_begin(m->store, op, bytes_of(key));
}

/* Killed when all is done but the COMMIT. */
static void before_statement(void *user, const char *sql)
{
    const event_manifests *m = user;
    if (m->moving && event_store_plan(m->store)->dies_before && strncmp(sql, "COMMIT", 6) == 0) {
        raise(SIGKILL);
    }
}

static shardy_status manifests_load_current(
    void *state, shardy_manifest_current *current_out, shardy_error *err)
{
    event_manifests *m = state;
    const event_plan *plan = event_store_plan(m->store);
    if (plan->before_read) {
        plan->before_read(plan->user);
    }
    event *e = event_begin(m->store, EVENT_READ_POINTER, bytes_of(POINTER_KEY));
    shardy_status st = m->inner.ops->load_current(m->inner.state, current_out, err);
    if (st == SHARDY_OK) {
        event_parse(POINTER_KEY, (shardy_bytes){current_out->body.data, current_out->body.len}, e);
        snprintf(e->version, sizeof e->version, "%.79s", current_out->version.text);
    }
    event_end(m->store, e, st);
    return st;
}

static shardy_status manifests_load(
    void *state, const char *ref, shardy_buf *image_out, shardy_error *err)
{
    event_manifests *m = state;
    return m->inner.ops->load(m->inner.state, ref, image_out, err);
}

static shardy_status manifests_list(
    void *state, size_t limit, shardy_manifest_list *list_out, shardy_error *err)
{
    event_manifests *m = state;
    return m->inner.ops->list(m->inner.state, limit, list_out, err);
}

static shardy_status manifests_add(
    void *state, const char *ref, shardy_bytes image, shardy_error *err)
{
    event_manifests *m = state;
    event *e = begin_of(m, EVENT_PUT, ref);
    e->condition = SHARDY_PUT_IF_ABSENT;
    shardy_status st = m->inner.ops->add(m->inner.state, ref, image, err);
    event_end(m->store, e, st);
    return st;
}

static event *begin_move(event_manifests *m, const shardy_manifest_move *move)
{
    event *e = event_begin(m->store, EVENT_PUT, bytes_of(POINTER_KEY));
    e->condition = move->expected->text[0] ? SHARDY_PUT_IF_MATCH : SHARDY_PUT_IF_ABSENT;
    snprintf(e->expected, sizeof e->expected, "%.79s", move->expected->text);
    event_parse(POINTER_KEY, move->body, e);
    m->moving = 1;
    return e;
}

static void end_move(
    event_manifests *m, event *e, const shardy_manifest_move *move, shardy_status st)
{
    m->moving = 0;
    if (st >= 0) {
        snprintf(e->version, sizeof e->version, "%.79s", move->version.text);
    }
    event_end(m->store, e, st);
    if (event_store_plan(m->store)->dies_after) {
        raise(SIGKILL);
    }
}

static shardy_status fail(shardy_error *err)
{
    if (err) {
        memset(err, 0, sizeof *err);
        err->status = SHARDY_IO;
        snprintf(err->message, sizeof err->message, "the move was made to fail");
    }
    return SHARDY_IO;
}

static shardy_status manifests_set_current(
    void *state, shardy_manifest_move *move, shardy_error *err)
{
    event_manifests *m = state;
    event_arrive(m->store);
    event *e = begin_move(m, move);
    shardy_status st = event_store_plan(m->store)->pointer_fails
                           ? fail(err)
                           : m->inner.ops->set_current(m->inner.state, move, err);
    end_move(m, e, move, st);
    return st;
}

/* A manifest whose move fails is added all the same, as with stores that have no transactions: then
 * others can roll back to it. */
static shardy_status publish_and_fail(event_manifests *m, const char *ref, shardy_bytes image,
    shardy_manifest_move *move, shardy_error *err)
{
    shardy_status st = manifests_add(m, ref, image, err);
    if (st < 0) {
        return st;
    }
    event_arrive(m->store);
    event *e = begin_move(m, move);
    st = fail(err);
    end_move(m, e, move, st);
    move->added = 1;
    return st;
}

static shardy_status manifests_publish(
    void *state, const char *ref, shardy_bytes image, shardy_manifest_move *move, shardy_error *err)
{
    event_manifests *m = state;
    if (event_store_plan(m->store)->pointer_fails) {
        return publish_and_fail(m, ref, image, move, err);
    }
    event_arrive(m->store);
    event *added = begin_of(m, EVENT_PUT, ref);
    added->condition = SHARDY_PUT_IF_ABSENT;
    added->together = 1;
    event *moved = begin_move(m, move);
    shardy_status st = m->inner.ops->publish(m->inner.state, ref, image, move, err);
    event_end(m->store, added, move->added ? SHARDY_OK : st);
    end_move(m, moved, move, st);
    return st;
}

static shardy_status manifests_remove(
    void *state, const char *ref, uint64_t *removed_out, shardy_error *err)
{
    event_manifests *m = state;
    event_count_removal(m->store);
    event *e = begin_of(m, EVENT_REMOVE, ref);
    shardy_status st = m->inner.ops->remove(m->inner.state, ref, removed_out, err);
    event_end(m->store, e, st);
    return st;
}

static void manifests_close(void *state)
{
    event_manifests *m = state;
    m->inner.ops->close(m->inner.state);
    free(m);
}

static const shardy_manifest_store_ops event_ops = {
    .abi = SHARDY_MANIFEST_STORE_ABI,
    .struct_size = sizeof(shardy_manifest_store_ops),
    .name = "event",
    .refs_are_run_ids = 1,
    .load_current = manifests_load_current,
    .load = manifests_load,
    .list = manifests_list,
    .add = manifests_add,
    .set_current = manifests_set_current,
    .close = manifests_close,
    .remove = manifests_remove,
    .publish = manifests_publish,
};

/* Names that the linker gives. */
shardy_status __real_shardy__manifest_store_open_postgres(shardy_context *context,
    const shardy_manifest_store_options *options, const postgres_options *connection,
    manifest_store *out, shardy_error *err);
shardy_status __wrap_shardy__manifest_store_open_postgres(shardy_context *context,
    const shardy_manifest_store_options *options, const postgres_options *connection,
    manifest_store *out, shardy_error *err);

shardy_status __wrap_shardy__manifest_store_open_postgres(shardy_context *context,
    const shardy_manifest_store_options *options, const postgres_options *connection,
    manifest_store *out, shardy_error *err)
{
    if (!recorder) {
        return __real_shardy__manifest_store_open_postgres(context, options, connection, out, err);
    }
    memset(out, 0, sizeof *out);
    event_manifests *m = calloc(1, sizeof *m);
    if (!m) {
        return SHARDY_NOMEM;
    }
    postgres_options watched = *connection;
    watched.step = before_statement;
    watched.step_user = m;
    m->store = recorder;
    shardy_status st =
        __real_shardy__manifest_store_open_postgres(context, options, &watched, &m->inner, err);
    if (st < 0) {
        free(m);
        return st;
    }
    out->ops = &event_ops;
    out->state = m;
    return SHARDY_OK;
}
