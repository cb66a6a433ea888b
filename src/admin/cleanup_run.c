#include "cleanup_impl.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/uri.h"
#include "../catalog/run_layout.h"
#include "../catalog/run_record.h"
#include "../store/store.h"

#include <stdio.h>
#include <string.h>

#define LIST_PAGE 1000u
/* Before the first retry of a removal; doubled with each. */
#define RETRY_US 100000
/* A run without a fate, a manifest and a record is given so long since its last object, because
 * nothing tells how long its writer takes. */
#define SILENCE_US (24 * 3600 * 1000000ll)

/* --- objects ---------------------------------------------------------------------------------- */

/* What the objects below a prefix are. */
typedef enum walk_place {
    PLACE_SHARDS,
    PLACE_VECTOR_META,
    PLACE_RECORD
} walk_place;

typedef struct walk {
    cleaner *k;
    const char *run_id;
    walk_place place;
    const char *prefix; /* ends in '/' */
    int32_t by_attempt; /* 1: an action for each attempt, else `action` for all */
    int32_t remove;     /* 0: look only */
    size_t action;      /* number of the action that counts; SIZE_MAX: none yet */
    size_t first;       /* the first action of this walk */
    char dir[SHARDY_OBJECT_KEY_LEN_MAX + 2]; /* attempt that the action is of */
    shardy_bytes *keys;                      /* LIST_PAGE of them: to be removed */
    int32_t *results;
    size_t key_count;
} walk;

/* What a look at all objects of a run has found. */
typedef struct survey {
    uint64_t objects;
    uint64_t unknown;
    char stranger[200]; /* the first whose name no writer gives */
    int64_t newest_us;  /* time of the newest object; 0: not known */
} survey;

static int is_known(const walk *w, const char *key, size_t *dir_len_out)
{
    const char *rest = key + strlen(w->prefix);
    *dir_len_out = 0;
    switch (w->place) {
    case PLACE_SHARDS:
        return shardy__layout_is_shard_object(rest, dir_len_out);
    case PLACE_VECTOR_META:
        return shardy__layout_is_vector_meta(rest);
    default:
        return strcmp(rest, "run.yaml") == 0;
    }
}

/* The action that an object belongs to; w->action is SIZE_MAX when it is not in the plan. */
static shardy_status choose_action(walk *w, const char *key, size_t dir_len, shardy_error *err)
{
    cleaner *k = w->k;
    if (!w->by_attempt) {
        return SHARDY_OK;
    }
    size_t len = strlen(w->prefix) + dir_len;
    char dir[SHARDY_OBJECT_KEY_LEN_MAX + 2];
    snprintf(dir, sizeof dir, "%.*s/", (int)(dir_len ? len : strlen(w->prefix) - 1), key);
    if (strcmp(dir, w->dir) == 0) {
        return SHARDY_OK;
    }
    snprintf(w->dir, sizeof w->dir, "%s", dir);
    w->action = SIZE_MAX;
    for (size_t i = w->first; w->remove && i < k->action_count; i++) {
        const char *url = k->actions[i].prefix_url;
        size_t url_len = strlen(url);
        size_t n = strlen(dir);
        if (url_len > n && url[url_len - n - 1] == '/' && strcmp(url + url_len - n, dir) == 0) {
            w->action = i;
        }
    }
    if (w->remove) {
        return SHARDY_OK;
    }
    shardy_cleanup_action *a =
        shardy__cleanup_act(k, SHARDY_CLEANUP_STALE_ATTEMPT, w->run_id, dir, err);
    if (!a) {
        return SHARDY_NOMEM;
    }
    size_t parent = dir_len ? len : 0; /* the directory of all attempts of the shard */
    while (parent > 0 && key[parent - 1] != '/') {
        parent--;
    }
    a->db_id = parent ? shardy__reach_db_id(&k->reach, key, parent - 1) : -1;
    w->action = k->action_count - 1;
    return SHARDY_OK;
}

static void note_error(walk *w, const shardy_error *error)
{
    shardy_cleanup_action *a = &w->k->actions[w->action];
    if (!a->error) {
        a->error = shardy__arena_strdup(w->k->arena, error->message);
        a->error = a->error ? a->error : "out of memory";
        w->k->failures++;
        shardy__cleanup_note(w->k, error);
    }
}

/* Removes the keys that were collected, all of one action, and counts those that went. */
static void remove_keys(walk *w)
{
    cleaner *k = w->k;
    shardy_error error;
    shardy__error_clear(&error);
    for (uint32_t tries = 0; w->key_count > 0; tries++) {
        shardy_status st =
            shardy_store_remove(k->catalog.store, w->keys, w->key_count, w->results, &error);
        size_t left = 0;
        for (size_t i = 0; i < w->key_count; i++) {
            if (w->results[i] < 0) {
                w->keys[left++] = w->keys[i];
            } else {
                k->actions[w->action].objects_deleted++;
                k->objects_deleted++;
            }
        }
        w->key_count = left;
        if (st >= 0 || left == 0) {
            break;
        }
        if (!error.retriable || tries >= k->options->max_retries) {
            note_error(w, &error);
            break;
        }
        shardy__sleep_us(k->context, (int64_t)RETRY_US << (tries < 10 ? tries : 10));
    }
    w->key_count = 0;
}

static shardy_status visit(walk *w, const shardy_store_entry *e, survey *s, shardy_error *err)
{
    cleaner *k = w->k;
    size_t dir_len;
    int known = is_known(w, e->key, &dir_len);
    s->newest_us = e->modified_us > s->newest_us ? e->modified_us : s->newest_us;
    if (shardy__reach_covers(&k->reach, e->key)) {
        return SHARDY_OK;
    }
    if (!known) {
        if (s->unknown++ == 0) {
            snprintf(s->stranger, sizeof s->stranger, "%.199s", e->key);
        }
        if (!k->options->force) {
            return SHARDY_OK;
        }
    }
    size_t before = w->action;
    if (w->by_attempt && w->key_count > 0) {
        /* the keys that are collected are of the action before */
        char dir[SHARDY_OBJECT_KEY_LEN_MAX + 2];
        snprintf(dir, sizeof dir, "%s", w->dir);
        SHARDY_TRY(choose_action(w, e->key, dir_len, err));
        size_t now = w->action;
        if (now != before) {
            w->action = before;
            remove_keys(w);
            w->action = now;
        }
    } else {
        SHARDY_TRY(choose_action(w, e->key, dir_len, err));
    }
    if (w->action == SIZE_MAX) {
        return SHARDY_OK; /* came after the plan was made */
    }
    if (w->remove) {
        w->keys[w->key_count++] = shardy__bytes(e->key, strlen(e->key));
    } else {
        shardy_cleanup_action *a = &k->actions[w->action];
        a->objects++;
        a->bytes += e->size;
        k->objects++;
        s->objects++;
    }
    return SHARDY_OK;
}

/* All objects below a prefix, page by page. */
static shardy_status walk_prefix(walk *w, const char *prefix, survey *s, shardy_error *err)
{
    cleaner *k = w->k;
    char *token = NULL;
    shardy_status st = SHARDY_OK;
    w->prefix = prefix;
    w->dir[0] = '\0';
    do {
        shardy_store_page page = {0};
        st = shardy__cleanup_tell(k, err);
        if (st >= 0) {
            st = shardy_store_list(k->catalog.store, prefix, 0, token, LIST_PAGE, &page, err);
        }
        shardy__free(token);
        token = NULL;
        for (size_t i = 0; st >= 0 && i < page.count; i++) {
            st = visit(w, &page.entries[i], s, err);
        }
        if (st >= 0 && w->remove) {
            remove_keys(w);
        }
        w->key_count = 0;
        if (st >= 0 && page.next_token) {
            token = shardy__strdup(page.next_token);
            st = token ? SHARDY_OK : shardy__error_nomem(err, "cleanup");
        }
        shardy_store_page_dispose(&page);
    } while (st >= 0 && token);
    shardy__free(token);
    return st;
}

static shardy_status walk_open(walk *w, cleaner *k, const char *run_id, shardy_error *err)
{
    memset(w, 0, sizeof *w);
    w->k = k;
    w->run_id = run_id;
    w->action = SIZE_MAX;
    w->first = k->action_count;
    w->keys = shardy__calloc(LIST_PAGE, sizeof *w->keys);
    w->results = shardy__calloc(LIST_PAGE, sizeof *w->results);
    return w->keys && w->results ? SHARDY_OK : shardy__error_nomem(err, "cleanup");
}

static void walk_close(walk *w)
{
    shardy__free(w->keys);
    shardy__free(w->results);
}

/* Every prefix that is walked ends in '/': "run_id=a" is no part of "run_id=ab". */
static void shards_of(const cleaner *k, const char *run_id, char out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    snprintf(out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "%.255s/" RUN_DIR_MARK "%.700s/",
        k->options->shard_prefix, run_id);
}

static void vector_meta_of(const char *run_id, char out[SHARDY_OBJECT_KEY_LEN_MAX + 1])
{
    snprintf(out, SHARDY_OBJECT_KEY_LEN_MAX + 1, "vector_meta/" RUN_DIR_MARK "%.700s/", run_id);
}

/* --- stale attempts --------------------------------------------------------------------------- */

static shardy_status stay(cleaner *k, const char *run_id, const survey *s, shardy_error *err)
{
    char reason[300];
    snprintf(reason, sizeof reason, "\"%.180s\" has no name that a writer gives%s", s->stranger,
        s->unknown > 1 ? ", and there are more such objects" : "");
    return shardy__cleanup_keep(k, run_id, reason, 0, err);
}

/* Forgets the actions since `first`. */
static void take_back(cleaner *k, size_t first)
{
    for (size_t i = first; i < k->action_count; i++) {
        k->objects -= k->actions[i].objects;
    }
    k->action_count = first;
}

shardy_status shardy__cleanup_stale_attempts(cleaner *k, shardy_error *err)
{
    walk w;
    survey s = {0};
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    condemn_claim claim;
    condemn_found found = {.manifest_ref = k->target_ref};
    /* Its manifest is final, so that no attempt can come to be named, once it is published. */
    SHARDY_TRY(shardy__condemn_read(&k->catalog, k->target, &found, &claim, err));
    if (claim.fate.state != FATE_PUBLISHED) {
        return shardy__cleanup_keep(k, k->target,
            claim.fate.state == FATE_CONDEMNED
                ? "it was condemned: its objects go with --include-old-runs"
                : "it is about to become current; its attempts stay until it is",
            0, err);
    }
    const reach_manifest *m = shardy__map_get(&k->reach.refs, k->target_ref, strlen(k->target_ref));
    if (!m || !m->loaded) {
        return shardy__cleanup_keep(k, k->target, "its manifest is not there any more", 0, err);
    }
    shards_of(k, k->target, prefix);
    shardy_status st = walk_open(&w, k, k->target, err);
    w.place = PLACE_SHARDS;
    w.by_attempt = 1;
    if (st >= 0) {
        st = walk_prefix(&w, prefix, &s, err);
    }
    if (st >= 0 && s.unknown > 0 && !k->options->force) {
        take_back(k, w.first);
        st = stay(k, k->target, &s, err);
    } else if (st >= 0 && s.objects > 0 && !k->options->dry_run) {
        w.remove = 1;
        st = claim.absent ? SHARDY_OK : shardy__catalog_probe(&k->catalog, &claim.fate, err);
        k->catalog.trusted |= st >= 0 && !claim.absent;
        if (st >= 0) {
            st = walk_prefix(&w, prefix, &s, err);
        }
    }
    walk_close(&w);
    return st;
}

/* --- whether a run is dead -------------------------------------------------------------------- */

/* What the records of a run say. */
typedef struct sign {
    int32_t has_record;
    int64_t lease_us; /* the latest end of a lease of a writer at work; 0: none is */
    int64_t last_us;  /* the last sign of life */
} sign;

static shardy_status read_record(cleaner *k, const cleanup_record *r, sign *s, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 16];
    shardy_buf body = {0};
    shardy_object_meta meta;
    run_record record;
    snprintf(key, sizeof key, "%srun.yaml", r->dir);
    shardy_status st = shardy__store_get_whole(
        k->catalog.store, key, SHARDY_RUN_RECORD_LEN_MAX + 1, &body, &meta, err);
    if (st != SHARDY_OK) {
        return st < 0 ? st : SHARDY_OK;
    }
    if (body.len > SHARDY_RUN_RECORD_LEN_MAX) {
        st = shardy__error(err, SHARDY_CORRUPT, "cleanup", "the run record is longer than %u bytes",
            SHARDY_RUN_RECORD_LEN_MAX);
    } else {
        st = shardy__run_record_parse(shardy__bytes(body.data, body.len), &record, err);
    }
    shardy_buf_release(&body);
    if (st < 0) {
        return shardy__error_prefix(err, st, "%.300s", key);
    }
    s->has_record = 1;
    s->last_us = record.updated_us > s->last_us ? record.updated_us : s->last_us;
    if (record.status == RUN_RUNNING && record.lease_expires_us > s->lease_us) {
        s->lease_us = record.lease_expires_us;
    }
    return SHARDY_OK;
}

static shardy_status read_signs(
    cleaner *k, const cleanup_run *run, const fate *f, sign *s, shardy_error *err)
{
    memset(s, 0, sizeof *s);
    for (const cleanup_record *r = run->records; r; r = r->next) {
        SHARDY_TRY(read_record(k, r, s, err));
    }
    s->last_us = f->updated_us > s->last_us ? f->updated_us : s->last_us;
    return SHARDY_OK;
}

/* Whether the writer of a run that is not published seems to be at work. Only a hint: who is wrong
 * costs a slow writer its run, which it is told, and never a reader anything. */
static shardy_status check_alive(cleaner *k, const cleanup_run *run, const fate *f,
    const survey *found, char reason[300], shardy_error *err)
{
    sign s;
    int64_t younger = k->options->older_than_s;
    SHARDY_TRY(read_signs(k, run, f, &s, err));
    s.last_us = found->newest_us > s.last_us ? found->newest_us : s.last_us;
    if (s.lease_us > k->now_us) {
        char until[SHARDY_TIME_TEXT_SIZE];
        shardy__time_format_iso(s.lease_us, until);
        snprintf(reason, 300, "its writer is at work: its lease ends at %s", until);
    } else if (!s.has_record && s.last_us == 0) {
        snprintf(reason, 300, "nothing tells whether its writer is at work");
    } else if (!s.has_record && s.last_us > k->now_us - SILENCE_US) {
        snprintf(reason, 300, "it has no run record, and its writer may be at work");
    } else if (younger >= 0 && s.last_us >= k->now_us - younger * 1000000) {
        snprintf(reason, 300, "it is younger than --older-than says");
    }
    return SHARDY_OK;
}

/* Whether whoever publishes a run, or rolls back to it, seems to be at work; a hint, too. He
 * changed the fate last, when all objects but the manifest were there. */
static shardy_status check_publisher(
    cleaner *k, const cleanup_run *run, const fate *f, char reason[300], shardy_error *err)
{
    sign s;
    const int64_t after_s = k->options->settle_after_s;
    SHARDY_TRY(read_signs(k, run, f, &s, err));
    if (after_s < 0 || s.lease_us > k->now_us || s.last_us > k->now_us - after_s * 1000000) {
        snprintf(reason, 300, "%s",
            run->manifest ? "somebody publishes it or rolls back to it; if nobody does, a rollback "
                            "to it ends that, or --settle-after once it is old enough"
                          : "somebody publishes it, or died while doing so; --settle-after ends "
                            "that once it is old enough");
    }
    return SHARDY_OK;
}

/* Why the fate forbids to condemn or settle the run; "" when it does not. */
static shardy_status check_fate(cleaner *k, const cleanup_run *run, const fate *f,
    const survey *found, char reason[300], shardy_error *err)
{
    reason[0] = '\0';
    if (f->pin_count > 0) {
        snprintf(reason, 300, "it is pinned: \"%.63s\"%s", f->pins[0],
            f->pin_count > 1 ? " and more" : "");
        return SHARDY_OK;
    }
    switch (f->state) {
    case FATE_PUBLISHING:
        return check_publisher(k, run, f, reason, err);
    case FATE_WRITING:
        return check_alive(k, run, f, found, reason, err);
    default:
        return SHARDY_OK;
    }
}

/* --- a run ------------------------------------------------------------------------------------ */

/* Walks all places of a run but its manifests. */
static shardy_status walk_run(walk *w, const cleanup_run *run, survey *s, shardy_error *err)
{
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (run->has_shards || w->remove) {
        shards_of(w->k, run->run_id, prefix);
        w->place = PLACE_SHARDS;
        SHARDY_TRY(walk_prefix(w, prefix, s, err));
    }
    if (run->has_vector_meta) {
        vector_meta_of(run->run_id, prefix);
        w->place = PLACE_VECTOR_META;
        SHARDY_TRY(walk_prefix(w, prefix, s, err));
    }
    for (const cleanup_record *r = run->records; r; r = r->next) {
        w->place = PLACE_RECORD;
        SHARDY_TRY(walk_prefix(w, r->dir, s, err));
    }
    return SHARDY_OK;
}

/* Each manifest of the run that is listed, counted or removed. */
static shardy_status walk_manifests(walk *w, shardy_error *err)
{
    cleaner *k = w->k;
    for (size_t i = 0; i < k->reach.count; i++) {
        reach_manifest *m = k->reach.manifests[i];
        uint64_t removed = 0;
        if (strcmp(m->run_id, w->run_id) != 0) {
            continue;
        }
        if (!w->remove && m->missing) {
            continue;
        }
        if (!w->remove) {
            k->actions[w->action].objects++;
            k->actions[w->action].bytes += m->size;
            k->objects++;
            continue;
        }
        /* model: cleaner_remove_manifest */
        shardy_status st =
            shardy__manifest_store_remove(&k->catalog.manifests, m->ref, &removed, err);
        k->actions[w->action].objects_deleted += removed > 0;
        k->objects_deleted += removed > 0;
        SHARDY_TRY(st);
    }
    return SHARDY_OK;
}

/* The manifests that came since the plan was made: they may name objects of this run. */
static shardy_status look_again(cleaner *k, shardy_error *err)
{
    size_t before = k->reach.count;
    /* model: cleaner_read_manifests */
    SHARDY_TRY(shardy__reach_list(&k->reach, &k->catalog, err));
    for (size_t i = before; i < k->reach.count; i++) {
        SHARDY_TRY(shardy__reach_load(&k->reach, &k->catalog, k->reach.manifests[i], err));
    }
    return SHARDY_OK;
}

/* The run is condemned: removes what is of it, the manifest first, so that no listing shows one
 * without its shards. The fate stays for ever: it keeps the name taken. */
static shardy_status remove_run(walk *w, const cleanup_run *run, survey *s, shardy_error *err)
{
    SHARDY_TRY(look_again(w->k, err));
    w->remove = 1;
    SHARDY_TRY(walk_manifests(w, err));
    /* model: cleaner_remove_shards */
    SHARDY_TRY(walk_run(w, run, s, err));
    return shardy__cleanup_tell(w->k, err);
}

/* Listings do not tell all: a manifest may have come since, or two of them may have been wrong in
 * the same way. A run whose fate names one that is there and was not looked at is not judged. */
static shardy_status check_manifest(cleaner *k, const fate *f, char reason[300], shardy_error *err)
{
    const manifest_store *store = &k->catalog.manifests;
    const reach_manifest *m =
        shardy__map_get(&k->reach.refs, f->manifest_ref, strlen(f->manifest_ref));
    char run_id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_buf image;
    if (f->state == FATE_CONDEMNED || !f->has_manifest || (m && !m->missing)) {
        return SHARDY_OK;
    }
    if (!shardy__manifest_store_ref_run_id(store, f->manifest_ref, run_id) ||
        strcmp(run_id, f->run_id) != 0) {
        snprintf(reason, 300,
            "its manifest \"%.100s\" is none of this manifest store (%s), so that nobody can tell "
            "whether it is there",
            f->manifest_ref, store->ops->name);
        return SHARDY_OK;
    }
    shardy_status st = shardy__manifest_store_load(store, f->manifest_ref, &image, err);
    shardy_buf_release(&image);
    if (st == SHARDY_OK) {
        snprintf(reason, 300, "its manifest is there, but was not when the cleanup looked for it");
    }
    return st < 0 ? st : SHARDY_OK;
}

/* Settles a run whose publisher seems to have died, which is an action of its own. What is
 * PUBLISHED then stays; of what is condemned the other action follows. */
static shardy_status settle(
    walk *w, const cleanup_run *run, condemn_claim *claim, char reason[300], shardy_error *err)
{
    cleaner *k = w->k;
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    SHARDY_TRY(shardy__condemn_settle(&k->catalog, claim, k->options->dry_run, err));
    k->catalog.trusted |= claim->probed;
    snprintf(reason, 300, "%s", claim->reason);
    if (reason[0]) {
        return SHARDY_OK;
    }
    if (claim->fate.state == FATE_PUBLISHED) {
        take_back(k, w->first);
    }
    shards_of(k, run->run_id, prefix);
    shardy_cleanup_action *a =
        shardy__cleanup_act(k, SHARDY_CLEANUP_SETTLE, run->run_id, prefix, err);
    if (!a) {
        return SHARDY_NOMEM;
    }
    a->fate = shardy__fate_state_name(claim->fate.state);
    const shardy_cleanup_action settled = *a;
    *a = k->actions[w->first];
    k->actions[w->first++] = settled;
    w->action = w->first;
    return SHARDY_OK;
}

/* Claims the run and removes it, or keeps it. `w->action` is its action. */
static shardy_status claim_and_remove(
    walk *w, const cleanup_run *run, condemn_claim *claim, survey *s, shardy_error *err)
{
    cleaner *k = w->k;
    char reason[300];
    SHARDY_TRY(check_fate(k, run, &claim->fate, s, reason, err));
    if (!reason[0]) {
        SHARDY_TRY(check_manifest(k, &claim->fate, reason, err));
    }
    if (!reason[0] && claim->fate.state == FATE_PUBLISHING) {
        SHARDY_TRY(settle(w, run, claim, reason, err));
        if (claim->fate.state == FATE_PUBLISHED) {
            return SHARDY_OK;
        }
    }
    if (!reason[0] && s->unknown > 0 && !k->options->force) {
        take_back(k, w->first);
        return stay(k, run->run_id, s, err);
    }
    if (!reason[0]) {
        SHARDY_TRY(shardy__condemn_claim(&k->catalog, claim, k->options->dry_run, err));
        k->catalog.trusted |= claim->probed;
        snprintf(reason, sizeof reason, "%s", claim->reason);
    }
    if (reason[0]) {
        take_back(k, w->first);
        return shardy__cleanup_lets_go(k, run)
                   ? shardy__cleanup_keep(k, run->run_id, reason, 0, err)
                   : SHARDY_OK;
    }
    return k->options->dry_run ? SHARDY_OK : remove_run(w, run, s, err);
}

static shardy_status clean_run(walk *w, const cleanup_run *run, shardy_error *err)
{
    cleaner *k = w->k;
    survey s = {0};
    condemn_claim claim;
    condemn_found found = {0};
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (run->manifest) {
        found.manifest_ref = run->manifest->ref;
        found.manifest_digest = run->manifest->digest;
        found.manifest_size = run->manifest->size;
    }
    SHARDY_TRY(shardy__condemn_read(&k->catalog, run->run_id, &found, &claim, err));
    if (claim.fate.state != FATE_PUBLISHING && !shardy__cleanup_lets_go(k, run)) {
        return SHARDY_OK; /* somebody has ended that meanwhile */
    }
    shards_of(k, run->run_id, prefix);
    if (!shardy__cleanup_act(k, SHARDY_CLEANUP_RUN, run->run_id, prefix, err)) {
        return SHARDY_NOMEM;
    }
    w->action = w->first;
    SHARDY_TRY(walk_run(w, run, &s, err));
    SHARDY_TRY(walk_manifests(w, err));
    if (k->actions[w->first].objects == 0 && s.unknown == 0) {
        take_back(k, w->first); /* nothing is left that could go */
        return SHARDY_OK;
    }
    return claim_and_remove(w, run, &claim, &s, err);
}

shardy_status shardy__cleanup_one_run(cleaner *k, const cleanup_run *run, shardy_error *err)
{
    walk w;
    if (strlen(run->run_id) > SHARDY_RUN_ID_LEN_MAX) {
        return shardy__cleanup_keep(
            k, run->run_id, "its name is longer than that of a run", 0, err);
    }
    /* What this run names does not hold its own objects, and nobody else's once it is gone. */
    shardy__reach_let_go(&k->reach, run->run_id);
    shardy_status st = walk_open(&w, k, run->run_id, err);
    if (st >= 0) {
        st = clean_run(&w, run, err);
    }
    if (st < 0 && k->action_count > w.first && k->actions[w.first].objects_deleted == 0) {
        take_back(k, w.first);
    }
    if (k->action_count == w.first) {
        shardy__reach_keep(&k->reach, run->run_id);
    }
    walk_close(&w);
    return st;
}
