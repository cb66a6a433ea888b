#include "event_store.h"

#include "base/error.h"
#include "catalog/catalog.h"
#include "store/store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct event_store {
    shardy_store *inner; /* borrowed */
    event_log *log;
    event_plan plan;
    int arrived;
    uint32_t removals;
    event seen; /* the last read of the pointer that had an answer */
} event_store;

static event_store *state_of(shardy_store *store)
{
    return store->state;
}

static int ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text);
    size_t m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%.*s", (int)(size - 1), text);
}

void event_manifest_key(const char *ref, char *out, size_t size)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error ignored;
    if (!ref[0] || shardy__catalog_ref(ref, key, &ignored) >= 0) {
        copy_text(out, size, ref[0] ? key : "");
    } else {
        snprintf(out, size, MANIFEST_DIR "run_id=%.200s" MANIFEST_NAME, ref);
    }
}

int event_parse(const char *key, shardy_bytes body, event *out)
{
    shardy_error ignored;
    if (strcmp(key, POINTER_KEY) == 0) {
        pointer p;
        if (shardy__pointer_parse(body, &p, &ignored) < 0) {
            return 0;
        }
        copy_text(out->run_id, sizeof out->run_id, p.run_id);
        copy_text(out->nonce, sizeof out->nonce, p.nonce);
        event_manifest_key(p.manifest_ref, out->ref, sizeof out->ref);
        out->generation = p.generation;
        return 1;
    }
    if (!ends_with(key, "/fate")) {
        return 0;
    }
    fate f;
    memset(&f, 0, sizeof f);
    if (shardy__fate_parse(body, &f, &ignored) < 0) {
        return 0;
    }
    copy_text(out->run_id, sizeof out->run_id, f.run_id);
    copy_text(out->nonce, sizeof out->nonce, f.nonce);
    event_manifest_key(f.manifest_ref, out->ref, sizeof out->ref);
    out->state = f.state;
    out->adopted = shardy__fate_is_adopted(&f);
    out->pins = f.pin_count;
    return 1;
}

static event *begin_event(event_store *s, int32_t op, shardy_bytes key)
{
    static event none;
    uint32_t at = atomic_fetch_add(&s->log->count, 1);
    event *e = at < EVENTS_MAX ? &s->log->events[at] : &none;
    memset(e, 0, sizeof *e);
    e->op = op;
    e->process = s->plan.process;
    e->status = EVENT_OPEN;
    size_t len = key.len < sizeof e->key ? key.len : sizeof e->key - 1;
    memcpy(e->key, key.data, len);
    e->begin = atomic_fetch_add(&s->log->clock, 1) + 1;
    return e;
}

static void end_event(event_store *s, event *e, shardy_status st)
{
    e->end = atomic_fetch_add(&s->log->clock, 1) + 1;
    e->status = st;
}

event *event_begin(shardy_store *store, int32_t op, shardy_bytes key)
{
    return begin_event(state_of(store), op, key);
}

void event_end(shardy_store *store, event *e, shardy_status st)
{
    end_event(state_of(store), e, st);
}

const event_plan *event_store_plan(shardy_store *store)
{
    return &state_of(store)->plan;
}

static uint64_t event_caps(void *store)
{
    const event_store *s = store;
    return shardy_store_caps(s->inner);
}

static int is_pointer(shardy_bytes key)
{
    return key.len == strlen(POINTER_KEY) && memcmp(key.data, POINTER_KEY, key.len) == 0;
}

static const char *key_text(shardy_bytes key, char text_out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    memcpy(text_out, key.data, key.len);
    text_out[key.len] = '\0';
    return text_out;
}

/* A pointer that is as it was is one that was read: what it says was written down then. */
static shardy_status end_pointer_read(event_store *s, const shardy_store_read *read, event *e)
{
    if (e->op == EVENT_READ_POINTER && read->status == SHARDY_OK) {
        s->seen = *e;
    } else if (e->op == EVENT_READ_POINTER && read->status == SHARDY_NOT_MODIFIED &&
               strcmp(s->seen.version, read->if_none_match) == 0) {
        event known = s->seen;
        known.begin = e->begin;
        *e = known;
        return SHARDY_OK;
    }
    return (shardy_status)read->status;
}

static void event_read(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    event_store *s = store;
    for (size_t i = 0; i < n; i++) {
        if (is_pointer(reads[i].key) && s->plan.before_read) {
            s->plan.before_read(s->plan.user);
        }
        char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
        int of_fate = ends_with(key_text(reads[i].key, key), "/fate");
        event *e = NULL;
        if (is_pointer(reads[i].key) || of_fate) {
            e = begin_event(s, of_fate ? EVENT_READ_FATE : EVENT_READ_POINTER, reads[i].key);
        }
        shardy_store_read_all(s->inner, &reads[i], 1);
        if (e) {
            if (reads[i].status == SHARDY_OK) {
                event_parse(key, (shardy_bytes){reads[i].body.data, reads[i].body.len}, e);
            }
            copy_text(e->version, sizeof e->version, reads[i].meta.etag.text);
            end_event(s, e, end_pointer_read(s, &reads[i], e));
        }
        done(user, &reads[i]);
    }
}

static shardy_status event_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    event_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_head_within(s->inner, key_text(key, text), limits, meta_out, err);
}

static void arrive(event_store *s)
{
    if (s->plan.arrive && !s->arrived) {
        s->arrived = 1;
        s->plan.arrive(s->plan.user);
    }
}

void event_arrive(shardy_store *store)
{
    arrive(state_of(store));
}

static void count_removal(event_store *s)
{
    if (s->plan.dies_at_remove && ++s->removals == s->plan.dies_at_remove) {
        raise(SIGKILL);
    }
}

void event_count_removal(shardy_store *store)
{
    count_removal(state_of(store));
}

static shardy_status event_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    event_store *s = store;
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    key_text(put->key, key);
    int to_pointer = is_pointer(put->key);
    if (to_pointer || (s->plan.at_manifest && ends_with(key, MANIFEST_NAME)) ||
        (s->plan.at_adoption && put->condition == SHARDY_PUT_IF_ABSENT &&
            ends_with(key, "/fate"))) {
        arrive(s);
    }
    event *e = begin_event(s, EVENT_PUT, put->key);
    e->condition = put->condition;
    if (put->condition == SHARDY_PUT_IF_MATCH) {
        copy_text(e->expected, sizeof e->expected, put->etag);
    }
    event_parse(key, put->body, e);
    if (to_pointer && s->plan.dies_before) {
        raise(SIGKILL);
    }
    shardy_status st;
    if (to_pointer && s->plan.pointer_fails) {
        st = shardy__error(err, SHARDY_IO, "store", "the put was made to fail");
    } else if (s->plan.refuses && put->condition != SHARDY_PUT_ALWAYS) {
        st = shardy__error(err, SHARDY_UNSUPPORTED, "store", "no conditions here");
    } else {
        shardy_store_put passed = *put;
        if (s->plan.ignores && put->condition == s->plan.ignores) {
            passed.condition = SHARDY_PUT_ALWAYS;
        }
        st = shardy_store_put_object(s->inner, &passed, meta_out, err);
    }
    if (st >= 0) {
        copy_text(e->version, sizeof e->version, meta_out->etag.text);
    }
    end_event(s, e, st);
    if (to_pointer && s->plan.dies_after) {
        raise(SIGKILL);
    }
    return st;
}

static shardy_status event_list(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    event_store *s = store;
    return shardy_store_list_within(s->inner, what, page_out, err);
}

static shardy_status event_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    event_store *s = store;
    shardy_status first = SHARDY_OK;
    for (size_t i = 0; i < n; i++) {
        count_removal(s);
        event *e = begin_event(s, EVENT_REMOVE, keys[i]);
        shardy_status st = shardy_store_remove_within(
            s->inner, &keys[i], 1, limits, &results_out[i], first < 0 ? NULL : err);
        end_event(s, e, st);
        first = first < 0 ? first : st;
    }
    return first;
}

static shardy_status event_open_local(
    void *store, shardy_bytes key, shardy_local_file *file_out, shardy_error *err)
{
    event_store *s = store;
    char text[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    return shardy_store_open_local(s->inner, key_text(key, text), file_out, err);
}

static shardy_status event_scratch(void *store, const char **path_out, shardy_error *err)
{
    event_store *s = store;
    return shardy_store_scratch(s->inner, path_out, err);
}

static void event_close(void *store)
{
    free(store);
}

static const shardy_store_ops event_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "event",
    .caps = event_caps,
    .read = event_read,
    .head = event_head,
    .put = event_put,
    .list = event_list,
    .remove = event_remove,
    .open_local = event_open_local,
    .scratch = event_scratch,
    .close = event_close,
};

shardy_status event_store_open(shardy_store *inner, event_log *log, const event_plan *plan,
    shardy_store **store_out, shardy_error *err)
{
    *store_out = NULL;
    event_store *s = calloc(1, sizeof *s);
    if (!s) {
        return SHARDY_NOMEM;
    }
    s->inner = inner;
    s->log = log;
    s->plan = *plan;
    return shardy_store_new_take(NULL, &event_ops, s, store_out, err);
}
