/* publish.c: how a snapshot becomes current. One fate object per run decides between a writer,
 * rollbacks and cleanups; it and the pointer are changed by compare-and-swap only, so clocks and
 * leases play no part in safety. The model is in tests/model/publish_cleanup.pml; the names of its
 * steps stand here where they are done (a test compares the two). */
#include "catalog.h"
#include "shards_there.h"

#include "../base/ascii.h"
#include "../base/bytebuf.h"

#include <stdio.h>
#include <string.h>

#define REMOVE_PAGE 500u
/* Others who are faster again and again are not replaced for ever. */
#define REPLACE_TRIES_MAX 8u

static shardy_status list_any(
    const catalog *c, const char *prefix, int32_t *found_out, shardy_error *err)
{
    shardy_store_page page = {0};
    *found_out = 0;
    SHARDY_TRY(shardy_store_list(c->store, prefix, 0, NULL, 1, &page, err));
    *found_out = page.count > 0;
    shardy_store_page_dispose(&page);
    return SHARDY_OK;
}

static shardy_status manifest_of_run(
    const catalog *c, const char *run_id, int32_t *found_out, shardy_error *err)
{
    shardy_manifest_list list;
    *found_out = 0;
    SHARDY_TRY(shardy__manifest_store_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        *found_out |= strcmp(list.entries[i].run_id, run_id) == 0;
    }
    shardy__manifest_list_dispose(&list);
    return SHARDY_OK;
}

static shardy_status taken(const char *run_id, const char *by, shardy_error *err)
{
    return shardy__error(err, SHARDY_EXISTS, "publish",
        "the run id \"%.128s\" is taken: another build has used it (%s is there)", run_id, by);
}

/* Whether the store has to be asked. Those of this library that are not far away are known. */
static int is_doubtful(const catalog *c)
{
    return !(shardy_store_caps(c->store) & SHARDY_STORE_CAP_OPEN_LOCAL) &&
           strcmp(shardy_store_name(c->store), "mem") != 0;
}

/* Makes a version one of the same shape that the object does not have, nor will have: one that
 * counts from 1 is lower then. */
static void change_version(char *text)
{
    char *letter = NULL;
    int changed = 0;
    for (char *p = text; *p; p++) {
        if (*p >= '0' && *p <= '9') {
            *p = *p == '0' ? '9' : (char)(*p - 1);
            changed = 1;
        } else if (!letter && shardy__is_letter(*p)) {
            letter = p;
        }
    }
    if (!changed && letter) {
        *letter = *letter == 'a' ? 'b' : 'a';
    }
}

/* A put of the fate with another nonce, under a condition that does not hold. Its text is no
 * other's: a put whose answer was lost is not taken for the one that made the fate. */
static shardy_status probe(
    const catalog *c, const fate *f, int32_t condition, shardy_status expected, shardy_error *err)
{
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy_etag wrong = f->version;
    fate other = *f;
    shardy_error error;
    shardy_buf text;
    shardy__fate_key(f->run_id, key);
    change_version(wrong.text);
    shardy__rand_hex32(c->context, other.nonce);
    SHARDY_TRY(shardy__fate_render(&other, &text, err));
    shardy_store_put put = {0};
    put.key = shardy__bytes(key, strlen(key));
    put.condition = condition;
    put.etag = wrong.text;
    put.body = shardy__bytes(text.data, text.len);
    put.content_type = POINTER_CONTENT_TYPE;
    shardy__error_clear(&error);
    shardy_status st = shardy_store_put_object(c->store, &put, NULL, &error);
    shardy_buf_release(&text);
    if (st == expected) {
        return SHARDY_OK;
    }
    if (st >= 0) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "publish",
            "the store does not honour conditional writes (it %s): two who publish at once could "
            "lose a snapshot; unsafe_single_writer is for stores with one writer",
            condition == SHARDY_PUT_IF_ABSENT ? "created an object that was there"
                                              : "replaced a version that was not there");
    }
    if (err) {
        *err = error;
    }
    return shardy__error_prefix(err, st, "trying out conditional writes");
}

/* One probe, on an object that is there anyway: whoever ignores the conditions writes a fate that
 * is as good. */
shardy_status shardy__catalog_probe(const catalog *c, const fate *f, shardy_error *err)
{
    if (c->trusted || !is_doubtful(c)) {
        return SHARDY_OK;
    }
    SHARDY_TRY(probe(c, f, SHARDY_PUT_IF_ABSENT, SHARDY_EXISTS, err));
    return probe(c, f, SHARDY_PUT_IF_MATCH, SHARDY_CONFLICT, err);
}

static shardy_status check_free(
    const catalog *c, const char *run_id, const char *shard_prefix, shardy_error *err)
{
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    int32_t found;
    snprintf(prefix, sizeof prefix, "%s/run_id=%s/", shard_prefix, run_id);
    SHARDY_TRY(list_any(c, prefix, &found, err));
    if (found) {
        return taken(run_id, "a shard", err);
    }
    SHARDY_TRY(manifest_of_run(c, run_id, &found, err));
    return found ? taken(run_id, "a manifest", err) : SHARDY_OK;
}

/* Whether the pointer has another version than `seen` by now. */
static int has_moved(const catalog *c, const shardy_etag *seen)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    return shardy__manifest_store_load_current(&c->manifests, &now, &version, &ignored) ==
               SHARDY_OK &&
           strcmp(version.text, seen->text) != 0;
}

/* A pointer that is an object is of the data set that it is in. One in a database may be of another
 * one, whose readers would lose what is current: its manifest is not in our table, or has its
 * shards elsewhere. That a manifest is damaged stops nobody from publishing a good one. */
static shardy_status check_ours(
    const catalog *c, const pointer *p, const shardy_etag *seen, shardy_error *err)
{
    char ref[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    loaded_manifest current;
    if (!c->manifests.ops->refs_are_run_ids) {
        return SHARDY_OK;
    }
    shardy_status st = shardy__manifest_store_ref(&c->manifests, p->manifest_ref, ref, err);
    if (st < 0) {
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    st = shardy__catalog_load(c, ref, NULL, NULL, &current, err);
    if (st == SHARDY_OK) {
        shardy__manifest_free(current.manifest);
    }
    if (st == SHARDY_CONFIG) {
        return shardy__error_prefix(err, st, "the snapshot that the pointer names");
    }
    if (st == SHARDY_NOT_FOUND && !has_moved(c, seen)) {
        return shardy__error(err, SHARDY_CONFIG, "publish",
            "the pointer in %.255s names run \"%.128s\", of which %.255s has no manifest: "
            "each data set needs a pointer table of its own; if no other one uses this, roll back "
            "to a run of the history",
            c->pointer_key, ref, c->manifests_key);
    }
    const int damaged =
        st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM || st == SHARDY_FORMAT_VERSION;
    return st < 0 && !damaged ? st : SHARDY_OK;
}

/* The pointer that a build begins with. What cannot be read may be somebody else's file, or name
 * what nobody knows: it is replaced by who says so, with a rollback, and not by the next build. */
static shardy_status see_pointer(const catalog *c, publish_run *run, shardy_error *err)
{
    pointer now;
    shardy_error error;
    run->has_current = 0;
    run->generation = 0;
    run->seen_run_id[0] = '\0';
    shardy__error_clear(&error);
    shardy_status st = shardy__manifest_store_load_current(&c->manifests, &now, &run->seen, &error);
    if (st == SHARDY_OK) {
        run->has_current = 1;
        run->generation = now.has_ours ? now.generation : 0;
        run->seen_us = now.updated_us;
        snprintf(run->seen_run_id, sizeof run->seen_run_id, "%s", now.run_id);
        st = check_ours(c, &now, &run->seen, &error);
    }
    if (st == SHARDY_CORRUPT) {
        return shardy__error(err, st, "publish",
            "%.400s; nothing is published over a pointer (%.255s) that cannot be read: if it is a "
            "damaged one, roll back to a run of the history; if it is something else, remove it or "
            "publish elsewhere",
            error.message, c->pointer_key);
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st < 0 ? st : SHARDY_OK;
}

/* The fate of a run that ends as it begins. Where no condition holds a fate binds nobody, so that
 * it can go: who accepts such a store tries again with the same run id. */
static void take_back(const catalog *after, fate *f, shardy_status st)
{
    shardy_error ignored;
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    shardy__fate_key(f->run_id, key);
    if (st == SHARDY_UNSUPPORTED) {
        int32_t result;
        const shardy_bytes keys[1] = {{key, strlen(key)}};
        st = shardy_store_remove(after->store, keys, 1, &result, &ignored);
    } else {
        st = shardy__fate_change(after->context, after->store, f, FATE_CONDEMNED, &ignored);
    }
    if (st < 0) {
        shardy__log(after->context, SHARDY_LOG_WARN, "publish",
            "the fate of run \"%s\", which does not begin, stays as it is: %s", f->run_id,
            ignored.message);
    }
    memset(f, 0, sizeof *f);
}

shardy_status shardy__publish_begin(const catalog *c, const char *run_id, const char *shard_prefix,
    const char *writer, publish_run *run, shardy_error *err)
{
    memset(run, 0, sizeof *run);
    SHARDY_TRY(check_free(c, run_id, shard_prefix, err));
    /* model: writer_see, first of all: a build that is refused has not used up its run id */
    SHARDY_TRY(see_pointer(c, run, err));
    /* model: writer_claim */
    snprintf(run->fate.run_id, sizeof run->fate.run_id, "%s", run_id);
    snprintf(run->fate.writer, sizeof run->fate.writer, "%s", writer);
    run->fate.state = FATE_WRITING;
    shardy_status st = shardy__fate_create(c->context, c->store, &run->fate, err);
    if (st == SHARDY_EXISTS) {
        return taken(run_id, "its fate", err);
    }
    SHARDY_TRY(st);
    st = shardy__catalog_probe(c, &run->fate, err);
    if (st < 0) {
        const catalog after = shardy__catalog_after(c);
        take_back(&after, &run->fate, st);
    }
    return st < 0 ? st : SHARDY_OK;
}

static void fill_pointer(
    const catalog *c, const fate *f, const char *manifest_ref, uint64_t generation, pointer *p)
{
    memset(p, 0, sizeof *p);
    snprintf(p->manifest_ref, sizeof p->manifest_ref, "%s", manifest_ref);
    snprintf(p->manifest_content_type, sizeof p->manifest_content_type, "%s",
        SHARDY_MANIFEST_CONTENT_TYPE);
    snprintf(p->run_id, sizeof p->run_id, "%s", f->run_id);
    p->updated_us = shardy__wall_us(c->context);
    p->generation = generation;
    if (f->has_manifest) {
        p->has_ours = 1;
        p->manifest_digest = f->manifest_digest;
        p->manifest_size = f->manifest_size;
        shardy__rand_hex32(c->context, p->nonce);
    }
}

/* A failure of which nobody knows whether the pointer was moved. */
static shardy_status left_open(const char *run_id, shardy_status st, shardy_error *err)
{
    return shardy__error_prefix(err, st,
        "run \"%.128s\" may have become current all the same (`shardy history` tells)", run_id);
}

/* Said by its fate, as it was left or as it is found. */
static shardy_status condemned(const char *run_id, shardy_error *err)
{
    return shardy__error(err, SHARDY_FENCED, "publish",
        "run \"%.128s\" was condemned by its writer or a cleanup and cannot publish", run_id);
}

static shardy_status published_before(const char *run_id, int32_t state, shardy_error *err)
{
    if (state == FATE_CONDEMNED) {
        return condemned(run_id, err);
    }
    return shardy__error(err, SHARDY_MISUSE, "publish",
        "run \"%.128s\" cannot be published again: its fate is %s", run_id,
        shardy__fate_state_name(state));
}

/* The fate was not as we left it: tells who has the run now. `writes`: we are about to publish it,
 * which only others with the same plan do as well. */
static shardy_status explain_fate(
    const catalog *c, const char *run_id, int writes, shardy_status st, shardy_error *err)
{
    fate now;
    shardy_error error;
    if (st != SHARDY_CONFLICT) {
        return st;
    }
    shardy_status loaded = shardy__fate_load(c->store, run_id, &now, &error);
    if (shardy__fate_is_damaged(loaded) && err) {
        *err = error;
    }
    if (loaded != SHARDY_OK) {
        return shardy__fate_is_damaged(loaded) ? loaded : st;
    }
    if (now.state == FATE_CONDEMNED) {
        return condemned(run_id, err);
    }
    if (writes && now.state == FATE_PUBLISHED) {
        return published_before(run_id, now.state, err);
    }
    return writes
               ? shardy__error(err, SHARDY_CONFLICT, "publish",
                     "run \"%.128s\" is being published by somebody else, or was by a call that "
                     "failed (its fate is %s now): its plan can be published again from its JSON",
                     run_id, shardy__fate_state_name(now.state))
               : shardy__error(err, SHARDY_CONFLICT, "publish",
                     "somebody else moves the pointer to run \"%.128s\" at this moment (its fate "
                     "is %s now)",
                     run_id, shardy__fate_state_name(now.state));
}

/* Whether the manifest that the pointer names now is older than ours: the list has it later. */
static int is_older(const catalog *c, const fate *f)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    shardy_manifest_list list;
    if (shardy__manifest_store_load_current(&c->manifests, &now, &version, &ignored) != SHARDY_OK ||
        shardy__manifest_store_list(&c->manifests, SHARDY_HISTORY_LIMIT_MAX, &list, &ignored) < 0) {
        return 0;
    }
    size_t i = 0;
    while (i < list.count && strcmp(list.entries[i].run_id, f->run_id) != 0 &&
           strcmp(list.entries[i].run_id, now.run_id) != 0) {
        i++;
    }
    const int older = i < list.count && strcmp(list.entries[i].run_id, f->run_id) == 0;
    shardy__manifest_list_dispose(&list);
    return older;
}

/* After a conflict: puts the pointer on the run all the same, as long as it says what it said
 * before, but was written anew by a cleanup, which keeps its time; or the run replaces others, and
 * who was faster is older. CONFLICT, with the error as it is, when it is otherwise. */
static shardy_status move_again(
    const catalog *c, publish_run *run, const char *manifest_ref, shardy_error *err)
{
    fate *f = &run->fate;
    int replaced = 0;
    for (uint32_t tries = 0; tries < REPLACE_TRIES_MAX; tries++) {
        char run_id[sizeof run->seen_run_id];
        const int64_t us = run->has_current ? run->seen_us : 0;
        const shardy_etag seen = run->seen;
        snprintf(run_id, sizeof run_id, "%s", run->seen_run_id);
        /* model: writer_see_again */
        shardy_error ignored;
        shardy_status st = see_pointer(c, run, &ignored);
        const int same = us != 0 && us == run->seen_us && strcmp(run_id, run->seen_run_id) == 0;
        replaced |= !same;
        if (st < 0 || (!same && !(run->replaces && is_older(c, f)))) {
            run->seen = seen; /* whoever asks again has lost as well */
            run->seen_us = 0;
            break;
        }
        /* model: writer_take_again. Somebody may have rolled back to the run meanwhile, and others
         * may have condemned it since: only who still has the fate may use a pointer seen now. */
        if (shardy__fate_change(c->context, c->store, f, FATE_PUBLISHING, &ignored) < 0) {
            break;
        }
        pointer p;
        fill_pointer(c, f, manifest_ref, run->generation + 1, &p);
        p.hint = run->hint;
        st = shardy__manifest_store_set_current(
            &c->manifests, &p, &run->seen, &run->pointer_open, err);
        if (st != SHARDY_CONFLICT) {
            run->replaced = st >= 0 && replaced;
            return st;
        }
    }
    return SHARDY_CONFLICT;
}

/* A publish that was begun before, by this process or by one that died, goes on with the manifest
 * that was begun: it may be there, and the pointer may name it. */
static shardy_status check_resumed(
    const fate *f, const char *ref, const sha256 *digest, size_t size, shardy_error *err)
{
    if (strcmp(f->manifest_ref, ref) == 0 && f->manifest_size == size &&
        memcmp(&f->manifest_digest, digest, sizeof *digest) == 0) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_MISUSE, "publish",
        "run \"%.128s\" was about to be published with another manifest, \"%.300s\", and may have "
        "been: the history tells",
        f->run_id, f->manifest_ref);
}

/* The manifest was there before: whether it is this one. */
static shardy_status check_manifest(
    const catalog *c, const char *ref, shardy_bytes image, shardy_error *err)
{
    shardy_buf there;
    SHARDY_TRY(shardy__manifest_store_load(&c->manifests, ref, &there, err));
    const int same = there.len == image.len && memcmp(there.data, image.data, image.len) == 0;
    shardy_buf_release(&there);
    return same ? SHARDY_OK
                : shardy__error(err, SHARDY_EXISTS, "publish",
                      "there is another manifest \"%.300s\" already", ref);
}

/* Whether the pointer names the manifest of this run. */
static int is_current(const catalog *c, const fate *f, const char *manifest_ref)
{
    pointer now;
    shardy_etag version;
    shardy_error ignored;
    return shardy__manifest_store_load_current(&c->manifests, &now, &version, &ignored) ==
               SHARDY_OK &&
           now.has_ours && strcmp(now.manifest_ref, manifest_ref) == 0 &&
           memcmp(&now.manifest_digest, &f->manifest_digest, sizeof f->manifest_digest) == 0;
}

/* What came of a publish that had been begun before, when its manifest was found or the pointer had
 * moved meanwhile. */
static shardy_status resume(const catalog *c, publish_run *run, const manifest_publish *what,
    shardy_status st, shardy_error *err)
{
    run->manifest_tried = 1;
    if (st == SHARDY_EXISTS) {
        SHARDY_TRY(check_manifest(c, what->ref, what->image, err));
        st = shardy__manifest_store_set_current(
            &c->manifests, what->pointer, what->expected, &run->pointer_open, err);
    }
    return st == SHARDY_CONFLICT && is_current(c, &run->fate, what->pointer->manifest_ref)
               ? SHARDY_OK
               : st;
}

/* The fate of a run whose pointer write came to its end with `st`: OK or CONFLICT. It ends, unless
 * the run was taken over and is not current: who else has it may have looked at the pointer later,
 * and still be about to write. Then only a cleanup ends it, by its fence (decision 009). */
static shardy_status end_fate(
    const catalog *c, fate *f, int resumed, shardy_status st, shardy_error *err)
{
    shardy_error error;
    const catalog after = shardy__catalog_after(c);
    const int32_t state = resumed && st < 0 ? FATE_PUBLISHING : FATE_PUBLISHED;
    /* model: writer_end, also after a lost pointer write */
    const shardy_status ended = shardy__fate_change(c->context, after.store, f, state, &error);
    if (st == SHARDY_CONFLICT && ended == SHARDY_CONFLICT &&
        explain_fate(&after, f->run_id, 0, ended, &error) == SHARDY_FENCED) {
        /* a cleanup has settled it: what was written since is for shardy__publish_abandon() */
        if (err) {
            *err = error;
        }
        return SHARDY_FENCED;
    }
    if (ended < 0 && state == FATE_PUBLISHED) {
        shardy__log(c->context, SHARDY_LOG_WARN, "publish",
            "run \"%s\" is %s, but its fate could not be marked so: %s", f->run_id,
            st < 0 ? "complete" : "published", error.message);
    } else if (st == SHARDY_CONFLICT) {
        st = shardy__error_prefix(
            err, st, "run \"%.128s\" is complete, a rollback to it makes it current", f->run_id);
    }
    return st;
}

shardy_status shardy__publish_commit(const catalog *c, publish_run *run, const char *ref,
    const char *manifest_ref, shardy_bytes image, shardy_error *err)
{
    fate *f = &run->fate;
    if (f->state != FATE_WRITING && f->state != FATE_PUBLISHING) {
        return published_before(f->run_id, f->state, err);
    }
    sha256 digest;
    const int resumed = f->state == FATE_PUBLISHING && f->has_manifest;
    SHARDY_TRY(shardy__object_digest(image.data, image.len, &digest, err));
    if (resumed) {
        SHARDY_TRY(check_resumed(f, ref, &digest, image.len, err));
    }
    f->has_manifest = 1;
    snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", ref);
    f->manifest_digest = digest;
    f->manifest_size = image.len;
    /* model: writer_take */
    shardy_status st = shardy__fate_change(c->context, c->store, f, FATE_PUBLISHING, err);
    if (st < 0) {
        return explain_fate(c, f->run_id, 1, st, err);
    }
    /* model: writer_manifest */
    /* model: writer_move, in one transaction where the manifest store has them */
    pointer p;
    fill_pointer(c, f, manifest_ref, run->generation + 1, &p);
    p.hint = run->hint;
    manifest_publish what = {ref, image, &p, &run->seen};
    st = shardy__manifest_store_publish(
        &c->manifests, &what, &run->manifest_tried, &run->pointer_open, err);
    if (resumed) {
        st = resume(c, run, &what, st, err);
    }
    if (st == SHARDY_CONFLICT) {
        st = move_again(c, run, manifest_ref, err);
    }
    if (st < 0 && st != SHARDY_CONFLICT) {
        /* Not known to have failed: the fate stays PUBLISHING, which a cleanup settles only once
         * its publisher seems to have died. Known to have failed: the run can be given up. */
        return run->pointer_open ? left_open(f->run_id, st, err) : st;
    }
    st = end_fate(c, f, resumed, st, err);
    if (st >= 0) {
        shardy__count(c->context, SHARDY_METRIC_PUBLISHES, 1);
        if (run->replaced) {
            shardy__log(c->context, SHARDY_LOG_WARN, "publish",
                "run \"%s\" replaces run \"%s\", which became current while it was at work",
                f->run_id, run->seen_run_id);
        }
        shardy__log(c->context, SHARDY_LOG_INFO, "publish", "published run \"%s\", manifest \"%s\"",
            f->run_id, ref);
    }
    return st;
}

shardy_status shardy__catalog_remove_prefix(
    const catalog *c, const char *prefix, uint64_t *removed_out, shardy_error *err)
{
    shardy_status first = SHARDY_OK;
    uint64_t removed = 0;
    char seen[SHARDY_OBJECT_KEY_LEN_MAX + 1] = "";
    for (;;) {
        shardy_store_page page = {0};
        shardy_bytes keys[REMOVE_PAGE];
        int32_t results[REMOVE_PAGE];
        shardy_status st = shardy_store_list(c->store, prefix, 0, NULL, REMOVE_PAGE, &page, err);
        if (st < 0) {
            first = st;
            break;
        }
        if (page.count && strcmp(page.entries[0].key, seen) == 0) {
            first = shardy__error(err, SHARDY_IO, "publish",
                "the listing of \"%.300s\" goes on showing \"%.300s\", which was removed", prefix,
                page.entries[0].key);
            shardy_store_page_dispose(&page);
            break;
        }
        snprintf(seen, sizeof seen, "%s", page.count ? page.entries[0].key : "");
        for (size_t i = 0; i < page.count; i++) {
            keys[i] = shardy__bytes(page.entries[i].key, strlen(page.entries[i].key));
        }
        size_t count = page.count;
        st = count ? shardy_store_remove(c->store, keys, count, results, err) : SHARDY_OK;
        shardy_store_page_dispose(&page);
        if (st < 0) {
            first = st;
            break; /* the same page would come again */
        }
        removed += count;
        if (count == 0) {
            break;
        }
    }
    if (removed_out) {
        *removed_out = removed;
    }
    return first;
}

/* The manifest first, so that no listing shows one without its shards. */
static shardy_status remove_run(
    const catalog *c, const publish_run *run, const char *shard_prefix, shardy_error *err)
{
    char prefix[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    /* model: writer_remove_manifest */
    if (run->manifest_tried) {
        SHARDY_TRY(shardy__manifest_store_remove(&c->manifests, run->fate.manifest_ref, NULL, err));
    }
    /* model: writer_remove_shards */
    snprintf(prefix, sizeof prefix, "%.300s/run_id=%.700s/", shard_prefix, run->fate.run_id);
    return shardy__catalog_remove_prefix(c, prefix, NULL, err);
}

/* Whether a run that could not be condemned was condemned by somebody else: that is final. */
static int find_fenced(const catalog *c, publish_run *run, shardy_status st)
{
    fate now;
    shardy_error ignored;
    /* model: writer_find_condemned */
    if (st != SHARDY_CONFLICT ||
        shardy__fate_load(c->store, run->fate.run_id, &now, &ignored) != SHARDY_OK ||
        now.state != FATE_CONDEMNED) {
        return 0;
    }
    run->fate.state = FATE_CONDEMNED;
    run->fenced = 1;
    return 1;
}

void shardy__publish_abandon(const catalog *c, publish_run *run, const char *shard_prefix)
{
    shardy_error err;
    fate *f = &run->fate;
    if (run->pointer_open || f->state == FATE_PUBLISHED || f->state == FATE_CONDEMNED) {
        return;
    }
    const catalog after = shardy__catalog_after(c);
    /* model: writer_condemn. A writer may condemn its own run also from PUBLISHING as long as no
     * pointer write of it can still count; a rollback that took the run over has changed the fate,
     * and then this fails. */
    shardy_status st = shardy__fate_change(c->context, after.store, f, FATE_CONDEMNED, &err);
    if (st < 0 && !find_fenced(&after, run, st)) {
        shardy__log(c->context, SHARDY_LOG_WARN, "publish",
            "run \"%s\" failed and could not be condemned, its shards stay: %s", f->run_id,
            err.message);
        return;
    }
    if (remove_run(&after, run, shard_prefix, &err) < 0) {
        shardy__log(c->context, SHARDY_LOG_WARN, "publish",
            "some objects of the failed run \"%s\" could not be removed: %s", f->run_id,
            err.message);
    }
}

/* --- rollback --------------------------------------------------------------------------------- */

static shardy_status gone(const char *run_id, shardy_error *err)
{
    return shardy__error(err, SHARDY_GONE, "rollback",
        "run \"%.128s\" was condemned by its writer or a cleanup: its shards are gone or going",
        run_id);
}

/* The fate of the target as this rollback may take it: `took` when it was left in PUBLISHING. */
static shardy_status target_fate(const catalog *c, const char *run_id, const char *ref,
    const loaded_manifest *target, fate *f, int32_t *took_out, shardy_error *err)
{
    *took_out = 0;
    /* model: rollback_read_fate */
    shardy_status st = shardy__fate_load(c->store, run_id, f, err);
    if (st == SHARDY_NOT_FOUND) {
        /* A run of the reference: adopted in the state in which it was found. */
        shardy__fate_adopted(run_id, f);
        snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", ref);
        f->state = FATE_PUBLISHED;
        f->has_manifest = 1;
        f->manifest_digest = target->digest;
        f->manifest_size = target->size;
        /* model: rollback_adopt */
        st = shardy__fate_create(c->context, c->store, f, err);
        if (st == SHARDY_EXISTS) {
            /* somebody else adopted it in between: a fate is never removed */
            st = shardy__fate_load(c->store, run_id, f, err);
        }
    }
    SHARDY_TRY(st);
    switch (f->state) {
    case FATE_PUBLISHED:
        return SHARDY_OK;
    case FATE_PUBLISHING:
        *took_out = 1;
        return SHARDY_OK;
    case FATE_CONDEMNED:
        return gone(run_id, err);
    default:
        if (shardy__fate_is_adopted(f)) {
            /* Adopted by a cleanup before it had its manifest, which was loaded by now. */
            snprintf(f->manifest_ref, sizeof f->manifest_ref, "%s", ref);
            f->has_manifest = 1;
            f->manifest_digest = target->digest;
            f->manifest_size = target->size;
            return SHARDY_OK;
        }
        return shardy__error(
            err, SHARDY_INVALID, "rollback", "run \"%.128s\" is still being written", run_id);
    }
}

static shardy_status move_pointer(const catalog *c, const loaded_manifest *target,
    const shardy_etag *seen, uint64_t generation, char url_out[SHARDY_URL_LEN_MAX + 1],
    shardy_error *err)
{
    fate f;
    int32_t took;
    const char *run_id = target->manifest->run_id;
    /* the URL under which the pointer names it: below the prefix that the manifest records */
    if (shardy__manifest_store_full_ref(
            &c->manifests, target->manifest->s3_prefix, target->ref, url_out, err) < 0) {
        return shardy__error_as(err, SHARDY_CORRUPT);
    }
    SHARDY_TRY(target_fate(c, run_id, target->ref, target, &f, &took, err));
    SHARDY_TRY(shardy__catalog_probe(c, &f, err));
    /* model: rollback_take */
    shardy_status st = shardy__fate_change(c->context, c->store, &f, FATE_PUBLISHING, err);
    if (st < 0) {
        st = explain_fate(c, run_id, 0, st, err);
        return st == SHARDY_FENCED ? gone(run_id, err) : st;
    }
    /* model: rollback_move */
    pointer p;
    fill_pointer(c, &f, url_out, generation + 1, &p);
    shardy__hint_make(target->manifest, &p.hint);
    int32_t open;
    st = shardy__manifest_store_set_current(&c->manifests, &p, seen, &open, err);
    /* model: rollback_keep. After a take-over another holder may still hold an older
     * `seen`: only a pointer write of ours, which makes that one stale, allows leaving
     * PUBLISHING. The same while our own write may still count. */
    if (st < 0 && (took || open)) {
        return open ? left_open(run_id, st, err) : st;
    }
    /* model: rollback_end */
    shardy_error ignored;
    const catalog after = shardy__catalog_after(c);
    if (shardy__fate_change(c->context, after.store, &f, FATE_PUBLISHED, &ignored) < 0) {
        shardy__log(c->context, SHARDY_LOG_WARN, "publish",
            "rolled back to run \"%s\", but its fate could not be marked so: %s", run_id,
            ignored.message);
    }
    if (st >= 0) {
        shardy__count(c->context, SHARDY_METRIC_ROLLBACKS, 1);
        shardy__log(c->context, SHARDY_LOG_INFO, "publish",
            "moved the pointer to run \"%s\", manifest \"%s\"", run_id, f.manifest_ref);
    }
    return st;
}

shardy_status shardy__publish_rollback(
    const catalog *c, const char *ref, char url_out[SHARDY_URL_LEN_MAX + 1], shardy_error *err)
{
    url_out[0] = '\0';
    /* model: rollback_see */
    pointer now;
    shardy_etag seen;
    shardy_status st = shardy__manifest_store_load_current(&c->manifests, &now, &seen, err);
    uint64_t generation = st == SHARDY_OK && now.has_ours ? now.generation : 0;
    if (st < 0 && !(st == SHARDY_CORRUPT && seen.text[0])) {
        return st;
    }
    /* model: rollback_load */
    manifest_promise promise;
    char id[SHARDY_OBJECT_KEY_LEN_MAX + 1];
    if (!shardy__manifest_store_ref_run_id(&c->manifests, ref, id)) {
        return shardy__error(
            err, SHARDY_INVALID, "rollback", "\"%.300s\" is not the ref of a manifest", ref);
    }
    SHARDY_TRY(shardy__catalog_promise(c, id, ref, &promise, err));
    loaded_manifest target;
    st = shardy__catalog_load(c, ref, &promise, NULL, &target, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_INVALID, "rollback", "there is no manifest \"%.300s\"", ref);
    }
    SHARDY_TRY(st);
    if (strcmp(target.manifest->run_id, id) != 0) {
        st = shardy__error(err, SHARDY_CORRUPT, "rollback",
            "the manifest \"%.300s\" is of the run \"%.128s\"", ref, target.manifest->run_id);
    } else {
        st = shardy__catalog_find_shards(c, target.manifest, err);
    }
    if (st >= 0) {
        st = move_pointer(c, &target, &seen, generation, url_out, err);
    }
    shardy__manifest_free(target.manifest);
    return st;
}
