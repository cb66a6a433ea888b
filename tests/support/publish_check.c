#include "publish_check.h"

#include "pointer_check.h"

#include "catalog/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is known ---------------------------------------------------------------------------- */

static int wrong(dataset_problem *problem, const char *what, const char *who, const char *detail)
{
    snprintf(problem->text, sizeof problem->text, "%.120s: %.60s: %.200s", what, who, detail);
    return 0;
}

publish_run_state *publish_world_run(publish_world *w, const char *run_id)
{
    for (size_t i = 0; i < w->run_count; i++) {
        if (strcmp(w->runs[i].run_id, run_id) == 0) {
            return &w->runs[i];
        }
    }
    return NULL;
}

static publish_run_state *add_run(publish_world *w, const char *run_id)
{
    publish_run_state *found = publish_world_run(w, run_id);
    if (found) {
        return found;
    }
    if (w->run_count == w->run_room) {
        w->run_room = w->run_room ? 2 * w->run_room : 64;
        publish_run_state *runs = realloc(w->runs, w->run_room * sizeof *runs);
        if (!runs) {
            abort();
        }
        w->runs = runs;
    }
    publish_run_state *run = &w->runs[w->run_count++];
    memset(run, 0, sizeof *run);
    snprintf(run->run_id, sizeof run->run_id, "%s", run_id);
    return run;
}

/* The pointer as it is now. 1; 0: there is none. */
static int read_pointer(const publish_world *w, event *out)
{
    shardy_error err = {0};
    catalog c;
    catalog_options options = {0};
    pointer now;
    shardy_etag version;
    memset(out, 0, sizeof *out);
    options.store = w->at.store;
    options.manifests = w->at.manifests;
    options.timeout_ms = 30000;
    shardy_context *context;
    if (shardy_context_new(NULL, &context, &err) < 0) {
        return 0;
    }
    int ok = shardy__catalog_open(context, w->at.url, &options, &c, &err) >= 0;
    if (ok) {
        ok = shardy__manifest_store_load_current(&c.manifests, &now, &version, &err) == SHARDY_OK;
        shardy__catalog_close(&c);
    }
    shardy_context_free(context);
    if (ok) {
        snprintf(out->run_id, sizeof out->run_id, "%.63s", now.run_id);
        event_manifest_key(now.manifest_ref, out->ref, sizeof out->ref);
        snprintf(out->version, sizeof out->version, "%.79s", version.text);
        out->generation = now.generation;
    }
    return ok;
}

/* A fate as it is now. 1; 0: there is none. */
static int read_fate(const publish_world *w, const char *run_id, event *out)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_error err = {0};
    shardy_buf body = {0};
    shardy_object_meta meta;
    memset(out, 0, sizeof *out);
    shardy__fate_key(run_id, key);
    if (shardy_store_get(w->at.store, key, 0, SHARDY_FATE_LEN_MAX, &body, &meta, &err) !=
        SHARDY_OK) {
        return 0;
    }
    int ok = event_parse(key, (shardy_bytes){body.data, body.len}, out);
    snprintf(out->version, sizeof out->version, "%.79s", meta.etag.text);
    shardy_buf_release(&body);
    return ok;
}

static shardy_status list_history(
    const publish_world *w, shardy_history *history, shardy_error *err)
{
    shardy_admin_options options;
    shardy_admin_options_init(&options, sizeof options);
    options.store = w->at.store;
    options.manifest_store = w->at.manifests;
    return shardy_history_list(NULL, w->at.url, SHARDY_HISTORY_LIMIT_MAX, &options, history, err);
}

int publish_world_open(publish_world *w, const dataset_place *at, dataset_problem *problem)
{
    shardy_error err = {0};
    shardy_history history;
    event now;
    memset(w, 0, sizeof *w);
    w->at = *at;
    if (!read_pointer(w, &now)) {
        return wrong(problem, "the start", at->url, "no pointer");
    }
    snprintf(w->version, sizeof w->version, "%s", now.version);
    snprintf(w->run_id, sizeof w->run_id, "%s", now.run_id);
    w->generation = now.generation;
    if (list_history(w, &history, &err) < 0) {
        return wrong(problem, "the start", at->url, err.message);
    }
    for (size_t i = 0; i < history.count; i++) {
        publish_run_state *run = add_run(w, history.entries[i].run_id);
        run->published = 1;
        event_manifest_key(history.entries[i].ref, run->ref, sizeof run->ref);
        if (read_fate(w, run->run_id, &now)) {
            snprintf(run->version, sizeof run->version, "%s", now.version);
            run->state = now.state;
            run->pins = now.pins;
        }
    }
    shardy_history_dispose(&history);
    return 1;
}

void publish_world_close(publish_world *w)
{
    free(w->runs);
    memset(w, 0, sizeof *w);
}

/* --- events ----------------------------------------------------------------------------------- */

/* One round while it is looked at. */
typedef struct round_view {
    publish_world *world;
    const event *events;
    size_t count;
    uint8_t used[EVENTS_MAX];
    size_t moves[EVENTS_MAX]; /* the puts that moved the pointer, in order */
    size_t move_count;
    int cleans;
    const publish_outcome *outcomes; /* of each process */
    dataset_problem *problem;
} round_view;

static int is_fate(const event *e)
{
    size_t n = strlen(e->key);
    return n > 5 && strcmp(e->key + n - 5, "/fate") == 0;
}

static int done_put(const event *e)
{
    return e->op == EVENT_PUT && e->status >= 0 && e->status != EVENT_OPEN;
}

static const char *process_name(const event *e, char out[32])
{
    snprintf(out, 32, "process %u", e->process);
    return out;
}

static int may_follow(int32_t from, int32_t to, int published)
{
    switch (from) {
    case 0:
        return to == FATE_WRITING || (to == FATE_PUBLISHED && published); /* adopted */
    case FATE_WRITING:
        return to == FATE_PUBLISHING || to == FATE_CONDEMNED;
    case FATE_PUBLISHING:
        return to == FATE_PUBLISHING || to == FATE_PUBLISHED || to == FATE_CONDEMNED;
    case FATE_PUBLISHED:
        return to == FATE_PUBLISHING || to == FATE_CONDEMNED || to == FATE_PUBLISHED; /* a pin */
    default:
        return 0;
    }
}

/* The changes of one fate must be a chain: each of the version that the one before it made. */
static int follow_fate(round_view *v, publish_run_state *run)
{
    for (size_t left = v->count; left > 0; left--) {
        const event *next = NULL;
        size_t at = 0;
        for (size_t i = 0; i < v->count; i++) {
            const event *e = &v->events[i];
            if (!v->used[i] && is_fate(e) && done_put(e) && strcmp(e->run_id, run->run_id) == 0 &&
                strcmp(e->expected, run->version) == 0) {
                if (next) {
                    return wrong(v->problem, "lost update of a fate", run->run_id,
                        "two changes of the same version succeeded");
                }
                next = e;
                at = i;
            }
        }
        if (!next) {
            return 1;
        }
        if (!may_follow(run->state, next->state, run->published)) {
            char text[64];
            snprintf(text, sizeof text, "%s after %s", shardy__fate_state_name(next->state),
                shardy__fate_state_name(run->state));
            return wrong(v->problem, "a fate that must not be", run->run_id, text);
        }
        if (next->state == FATE_CONDEMNED && run->pins > 0) {
            return wrong(v->problem, "a pinned run was condemned", run->run_id, next->key);
        }
        v->used[at] = 1;
        run->state = next->state;
        run->pins = next->pins;
        snprintf(run->version, sizeof run->version, "%s", next->version);
    }
    return 1;
}

static int check_fates(round_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (is_fate(e) && done_put(e) && !v->used[i]) {
            if (!follow_fate(v, add_run(v->world, e->run_id))) {
                return 0;
            }
            if (!v->used[i]) {
                return wrong(v->problem, "lost update of a fate", e->run_id,
                    "a change of a version that it did not have");
            }
        }
    }
    return 1;
}

/* A cleanup writes the pointer anew as it was, so that no publisher that is late can move it. */
static int is_fence(const round_view *v, const event *move)
{
    return v->outcomes[move->process].helps == 1;
}

static int moves_pointer(const event *e)
{
    return done_put(e) && strcmp(e->key, POINTER_KEY) == 0;
}

/* Whether a process had read a version of the pointer before it moved it. */
static int had_read(const round_view *v, const event *move, const char *version)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (e->op == EVENT_READ_POINTER && e->process == move->process && e->status != EVENT_OPEN &&
            e->begin < move->begin && strcmp(e->version, version) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The version that a cleanup has made of a version of the pointer; NULL: none has. */
static const char *fenced(const round_view *v, const char *version)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (moves_pointer(e) && is_fence(v, e) && strcmp(e->expected, version) == 0) {
            return e->version;
        }
    }
    return NULL;
}

/* The version of the pointer on which a process built: the first that it read, or one that it read
 * later, when cleanups have made it of that one and nobody else has moved it; for a fence the
 * last. */
static const char *built_on(const round_view *v, const event *move)
{
    const char *version = "";
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (e->op == EVENT_READ_POINTER && e->process == move->process && e->status != EVENT_OPEN &&
            (!version[0] || (is_fence(v, move) && e->begin < move->begin))) {
            version = e->version;
        }
    }
    if (!is_fence(v, move)) {
        for (const char *next = fenced(v, version); next; next = fenced(v, next)) {
            version = had_read(v, move, next) ? next : version;
        }
    }
    return version;
}

/* What must have happened before a process may put the pointer: the manifest is there, and the fate
 * was taken. */
static int check_before_move(const round_view *v, const event *move)
{
    const publish_run_state *run = publish_world_run(v->world, move->run_id);
    int there = run && run->published && strcmp(run->ref, move->ref) == 0;
    int taken = 0;
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        int in_one = e->together && e->process == move->process && e->begin < move->begin;
        if (!done_put(e) || (e->end > move->begin && !in_one)) {
            continue;
        }
        there |= strcmp(e->key, move->ref) == 0;
        taken |= is_fate(e) && e->process == move->process && e->state == FATE_PUBLISHING &&
                 strcmp(e->run_id, move->run_id) == 0;
    }
    if (!there) {
        return wrong(v->problem, "the pointer was moved before its manifest was there",
            move->run_id, move->ref);
    }
    if (is_fence(v, move)) {
        return strcmp(move->run_id, v->world->run_id) == 0
                   ? 1
                   : wrong(v->problem, "a cleanup moved the pointer", move->run_id, move->ref);
    }
    return taken ? 1
                 : wrong(v->problem, "the pointer was moved without taking the fate", move->run_id,
                       move->ref);
}

static int check_moves(round_view *v)
{
    publish_world *w = v->world;
    size_t all = 0;
    for (size_t i = 0; i < v->count; i++) {
        all += moves_pointer(&v->events[i]) ? 1 : 0;
    }
    while (v->move_count < all) {
        size_t at = v->count;
        for (size_t i = 0; i < v->count; i++) {
            const event *e = &v->events[i];
            if (v->used[i] || !moves_pointer(e) || strcmp(built_on(v, e), w->version) != 0) {
                continue;
            }
            if (at < v->count) {
                return wrong(v->problem, "lost update of the pointer", e->run_id,
                    "two processes that had seen the same pointer moved it");
            }
            at = i;
        }
        if (at == v->count) {
            return wrong(v->problem, "lost update of the pointer", w->run_id,
                "a process that had seen an older pointer moved it");
        }
        const event *move = &v->events[at];
        if (move->generation != w->generation + 1) {
            return wrong(v->problem, "a generation that does not follow", move->run_id, move->ref);
        }
        if (!check_before_move(v, move)) {
            return 0;
        }
        v->used[at] = 1;
        v->moves[v->move_count++] = at;
        w->generation = move->generation;
        snprintf(w->version, sizeof w->version, "%s", move->version);
        snprintf(w->run_id, sizeof w->run_id, "%s", move->run_id);
    }
    return 1;
}

/* Whether the pointer named a run all the time from before an event to after it. */
static int is_current_during(
    const round_view *v, const char *run_id, const char *at_first, const event *e)
{
    const char *now = at_first;
    for (size_t i = 0; i < v->move_count; i++) {
        const event *move = &v->events[v->moves[i]];
        if (move->end < e->begin) {
            now = move->run_id;
        } else if (move->begin < e->end) {
            return 0; /* one was as good as the other */
        }
    }
    return strcmp(now, run_id) == 0;
}

/* Nobody condemns what is current, nor makes current what is condemned. */
static int check_condemned(const round_view *v, const char *at_first)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (!is_fate(e) || !done_put(e) || e->state != FATE_CONDEMNED) {
            continue;
        }
        if (is_current_during(v, e->run_id, at_first, e)) {
            return wrong(v->problem, "the current run was condemned", e->run_id, e->key);
        }
        for (size_t k = 0; k < v->move_count; k++) {
            const event *move = &v->events[v->moves[k]];
            if (strcmp(move->run_id, e->run_id) == 0 && move->begin > e->end) {
                return wrong(v->problem, "a condemned run became current", e->run_id, e->key);
            }
        }
    }
    return 1;
}

/* Whether one of two puts tried out the conditions of the store on what the other has written. */
static int is_probe(const event *a, const event *b)
{
    return a->process == b->process && strcmp(a->key, b->key) == 0 &&
           (a->status == SHARDY_EXISTS || a->status == SHARDY_CONFLICT);
}

/* Nonces are what tells two writes apart when the bytes beside them are the same. */
static int check_nonces(const round_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        for (size_t k = 0; k < i; k++) {
            const event *a = &v->events[i];
            const event *b = &v->events[k];
            if (a->op == EVENT_PUT && b->op == EVENT_PUT && a->nonce[0] &&
                strcmp(a->nonce, b->nonce) == 0 && !is_probe(a, b)) {
                return wrong(v->problem, "two writes with one nonce", a->run_id, a->nonce);
            }
        }
    }
    return 1;
}

/* The run whose manifest or shard has this key; 0: neither. */
static int run_of_key(const char *key, char run_id_out[64])
{
    static const char mark[] = "run_id=";
    const char *at = strstr(key, mark);
    if (!at || (strncmp(key, "manifests/", 10) != 0 && strncmp(key, "shards/", 7) != 0)) {
        return 0;
    }
    at += sizeof mark - 1;
    snprintf(run_id_out, 64, "%.*s", (int)strcspn(at, "/"), at);
    return 1;
}

/* One removal of an object of a run. */
static int check_removal(const round_view *v, const event *e, const char *run_id)
{
    char name[32];
    /* by whomever: who stopped on the way is followed by others */
    const publish_run_state *run = publish_world_run(v->world, run_id);
    int condemned = run && run->state == FATE_CONDEMNED;
    int in_time = 0;
    int changed = 0;
    int has_manifest = run && run->published;
    for (size_t k = 0; k < v->count; k++) {
        const event *f = &v->events[k];
        int same = done_put(f) && is_fate(f) && strcmp(f->run_id, run_id) == 0;
        changed |= same && f->state == FATE_CONDEMNED;
        /* Others may follow before it was told to have ended, and when it never was. */
        const int began = f->begin < e->begin;
        in_time |= same && f->state == FATE_CONDEMNED && began;
        has_manifest &= !(f->op == EVENT_REMOVE && run && strcmp(f->key, run->ref) == 0 && began);
    }
    if (!condemned || (changed && !in_time)) {
        return wrong(
            v->problem, "removed without having condemned its run", process_name(e, name), e->key);
    }
    if (has_manifest && strncmp(e->key, "shards/", 7) == 0) {
        return wrong(
            v->problem, "shards were removed before their manifest", process_name(e, name), e->key);
    }
    return 1;
}

/* Only who has condemned a run may remove what is of it. */
static int check_removals(const round_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        char run_id[64];
        if (e->op != EVENT_REMOVE || !run_of_key(e->key, run_id)) {
            continue;
        }
        if (!check_removal(v, e, run_id)) {
            return 0;
        }
    }
    return 1;
}

/* Which runs have a manifest now. */
static void note_manifests(const round_view *v)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        char run_id[64];
        if (strncmp(e->key, "manifests/", 10) != 0 || !run_of_key(e->key, run_id) ||
            e->status == EVENT_OPEN || e->status < 0) {
            continue;
        }
        publish_run_state *run = add_run(v->world, run_id);
        if (e->op == EVENT_PUT && !strstr(e->key, ".sums")) {
            run->published = 1;
            snprintf(run->ref, sizeof run->ref, "%s", e->key);
        } else if (e->op == EVENT_REMOVE) {
            run->published = 0;
        }
    }
}

/* --- what the processes were told ------------------------------------------------------------- */

static int names(const publish_outcome *o, const char *run_id)
{
    char quoted[80];
    snprintf(quoted, sizeof quoted, "\"%s\"", run_id);
    return strstr(o->message, quoted) != NULL;
}

/* Who lost is told by whom: at the pointer, by a run that it was moved to; at a fate, that somebody
 * else has that run. */
static int check_conflict(const round_view *v, uint32_t process, const publish_outcome *o)
{
    const event *lost = NULL;
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        if (e->op == EVENT_PUT && e->process == process &&
            (e->status == SHARDY_CONFLICT || e->status == SHARDY_EXISTS)) {
            lost = e;
        }
    }
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(o->run_id, key); /* a run id can be seen to be taken without a put */
    if (!lost && o->status == SHARDY_CONFLICT) {
        return wrong(v->problem, "a conflict that nobody made", o->run_id, o->message);
    }
    int told = 0;
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        told |= done_put(e) && e->process != process &&
                strcmp(e->key, lost ? lost->key : key) == 0 && names(o, e->run_id);
    }
    return told ? 1 : wrong(v->problem, "a loser was not told by whom", o->run_id, o->message);
}

static int check_loser(
    const round_view *v, uint32_t process, const publish_outcome *o, const publish_rules *rules)
{
    const char *given_up = rules->may_be_given_up;
    switch (o->status) {
    case SHARDY_CONFLICT:
    case SHARDY_EXISTS:
        return check_conflict(v, process, o);
    case SHARDY_GONE:
    case SHARDY_FENCED:
    case SHARDY_INVALID:
        if (rules->settles || (rules->cleans && o->status != SHARDY_FENCED)) {
            return 1;
        }
        if (given_up && strcmp(o->run_id, given_up) == 0 && strstr(o->message, given_up)) {
            return 1;
        }
        break;
    case SHARDY_IO:
        if (process == rules->pointer_fails) {
            return 1;
        }
        break;
    default:
        break;
    }
    char text[340];
    snprintf(text, sizeof text, "%s: %s", shardy_status_name(o->status), o->message);
    return wrong(v->problem, "an outcome that cannot be", o->run_id, text);
}

static int check_outcomes(
    const round_view *v, const publish_outcome *outcomes, const publish_rules *rules)
{
    for (uint32_t i = 0; i < rules->processes; i++) {
        const publish_outcome *o = &outcomes[i];
        int moved = 0;
        for (size_t k = 0; k < v->move_count; k++) {
            moved |= v->events[v->moves[k]].process == i;
        }
        if (o->died) {
            continue;
        }
        if (o->helps && !moved) {
            int lost = o->status == SHARDY_CONFLICT || o->status == SHARDY_GONE ||
                       o->status == SHARDY_INVALID;
            if (o->status < 0 && !(o->helps > 1 && lost)) {
                return wrong(v->problem, "an outcome that cannot be", o->run_id, o->message);
            }
            continue;
        }
        if ((o->status == SHARDY_OK) != moved) {
            return wrong(v->problem, moved ? "a winner was told that it lost" : "a loser was not",
                o->run_id, o->message);
        }
        if (!moved && !check_loser(v, i, o, rules)) {
            return 0;
        }
    }
    if ((v->move_count == 0 && !rules->settles) || (rules->one_winner && v->move_count != 1)) {
        char text[40];
        snprintf(text, sizeof text, "%zu processes moved the pointer", v->move_count);
        return wrong(v->problem, "not one winner", v->world->run_id, text);
    }
    return 1;
}

/* --- the data set ----------------------------------------------------------------------------- */

static int check_verified(
    const publish_world *w, const publish_run_state *run, int deep, dataset_problem *problem)
{
    int rows = w->at.manifests && w->at.manifests->kind == SHARDY_MANIFEST_POSTGRES;
    const char *ref = rows ? run->run_id : run->ref;
    shardy_error err = {0};
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.deep = deep;
    options.threads = 1;
    options.ref = ref;
    options.admin.store = w->at.store;
    options.admin.manifest_store = w->at.manifests;
    if (shardy_verify(NULL, w->at.url, &options, &result, &err) < 0) {
        return wrong(problem, "verify", ref, err.message);
    }
    int ok = result.status == SHARDY_VERIFY_OK;
    if (!ok) {
        wrong(problem, "a snapshot is not whole", ref,
            result.damaged_count ? result.damaged[0].path : "it is not verified");
    }
    shardy_verify_result_dispose(&result);
    return ok;
}

static int check_absent(const publish_world *w, const char *run_id, dataset_problem *problem)
{
    char prefix[128];
    shardy_error err = {0};
    shardy_store_page page = {0};
    snprintf(prefix, sizeof prefix, "shards/run_id=%s/", run_id);
    if (shardy_store_list(w->at.store, prefix, 0, NULL, 1, &page, &err) < 0) {
        return wrong(problem, "list", run_id, err.message);
    }
    int ok = page.count == 0;
    if (!ok) {
        wrong(problem, "a run that was given up has objects", run_id, page.entries[0].key);
    }
    shardy_store_page_dispose(&page);
    return ok;
}

/* Whether the writer of a run was killed while it added the manifest. */
static int is_killed_adding(const round_view *v, const char *run_id)
{
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        char of_key[64];
        if (e->op == EVENT_PUT && e->status == EVENT_OPEN && run_of_key(e->key, of_key) &&
            strncmp(e->key, "manifests/", 10) == 0 && strcmp(of_key, run_id) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A run that took part. */
static int check_run(const round_view *v, const publish_run_state *run)
{
    event now;
    int there = read_fate(v->world, run->run_id, &now);
    if (!there || strcmp(now.version, run->version) != 0 || now.state != run->state) {
        return wrong(v->problem, "the fate is not what the events say", run->run_id,
            there ? shardy__fate_state_name(now.state) : "there is none");
    }
    if (run->state == FATE_CONDEMNED && v->cleans) {
        return 1; /* who condemned it may have been killed: another one comes */
    }
    if (run->state == FATE_CONDEMNED) {
        return run->published ? wrong(v->problem, "a run that was given up has a manifest",
                                    run->run_id, run->ref)
                              : check_absent(v->world, run->run_id, v->problem);
    }
    if (!run->published && is_killed_adding(v, run->run_id)) {
        return 1;
    }
    return run->published ? check_verified(v->world, run, 1, v->problem)
                          : wrong(v->problem, "no manifest", run->run_id, "of a run that ended");
}

static int check_data_set(const round_view *v)
{
    const publish_world *w = v->world;
    event now;
    char stamp[DATASET_STAMP_MAX];
    if (!read_pointer(w, &now) || strcmp(now.version, w->version) != 0) {
        return wrong(v->problem, "the pointer is not what the events say", now.run_id, w->run_id);
    }
    if (!dataset_check_current_at(&w->at, DATASET_ROWS, stamp, v->problem)) {
        return 0;
    }
    if (strcmp(stamp, w->run_id) != 0) {
        return wrong(v->problem, "readers see another run", stamp, w->run_id);
    }
    for (size_t i = 0; i < v->count; i++) {
        const event *e = &v->events[i];
        int first = is_fate(e) && done_put(e);
        for (size_t k = 0; first && k < i; k++) {
            first = !is_fate(&v->events[k]) || strcmp(v->events[k].run_id, e->run_id) != 0 ||
                    !done_put(&v->events[k]);
        }
        if (first && !check_run(v, publish_world_run(v->world, e->run_id))) {
            return 0;
        }
    }
    return 1;
}

int publish_check_round(publish_world *w, const event_log *log, const publish_outcome *outcomes,
    const publish_rules *rules, dataset_problem *problem)
{
    static round_view v; /* large */
    memset(&v, 0, sizeof v);
    v.world = w;
    v.events = log->events;
    v.count = atomic_load(&log->count);
    v.problem = problem;
    v.cleans = rules->cleans;
    v.outcomes = outcomes;
    event from;
    memset(&from, 0, sizeof from);
    snprintf(from.run_id, sizeof from.run_id, "%s", w->run_id);
    snprintf(from.version, sizeof from.version, "%s", w->version);
    if (v.count > EVENTS_MAX) {
        return wrong(problem, "the log of events is too small", w->at.url, "raise EVENTS_MAX");
    }
    if (!check_fates(&v) || !check_moves(&v) || !check_condemned(&v, from.run_id) ||
        !check_nonces(&v) || !check_removals(&v)) {
        return 0;
    }
    pointer_history seen = {v.events, v.count, from, v.moves, v.move_count};
    if (!pointer_check(&seen, problem)) {
        return 0;
    }
    for (size_t i = 0; i < v.count; i++) {
        w->answers += v.events[i].op == EVENT_ANSWER && v.events[i].status == SHARDY_OK;
    }
    note_manifests(&v);
    return check_outcomes(&v, outcomes, rules) && check_data_set(&v);
}

int publish_check_history(const publish_world *w, int deep, dataset_problem *problem)
{
    shardy_error err = {0};
    shardy_history history;
    size_t expected = 0;
    size_t current = 0;
    if (list_history(w, &history, &err) < 0) {
        return wrong(problem, "history", w->at.url, err.message);
    }
    for (size_t i = 0; i < w->run_count; i++) {
        expected += w->runs[i].published && w->runs[i].state != FATE_CONDEMNED;
    }
    int ok = history.count == expected;
    if (!ok) {
        char text[64];
        snprintf(text, sizeof text, "%zu entries, expected %zu", history.count, expected);
        wrong(problem, "the history", w->at.url, text);
    }
    for (size_t i = 0; ok && i < history.count; i++) {
        const shardy_history_entry *e = &history.entries[i];
        const publish_run_state *run = publish_world_run((publish_world *)(uintptr_t)w, e->run_id);
        current += e->current && strcmp(e->run_id, w->run_id) == 0;
        char key[300];
        event_manifest_key(e->ref, key, sizeof key);
        ok = run && run->published && strcmp(key, run->ref) == 0
                 ? 1
                 : wrong(problem, "the history names what is not there", e->run_id, e->ref);
        ok = ok && check_verified(w, run, deep, problem);
    }
    if (ok && current != 1) {
        ok = wrong(problem, "the history does not mark the current snapshot", w->run_id, "");
    }
    shardy_history_dispose(&history);
    return ok;
}
