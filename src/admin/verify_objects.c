#include "verify_objects.h"

#include "../base/alloc.h"
#include "../base/clock.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

/* Objects are read in pieces of so many chunks: large enough that a request is worth its round
 * trip, small enough that a piece is still in the cache when it is hashed. */
#define PIECE_CHUNKS 16u
#define PIECE_LEN    (PIECE_CHUNKS * SHARDY_CHUNK_LEN)
/* Pieces on their way or being hashed: what a store far away needs to be busy. */
#define PIECES 16u

/* An object that was begun and is not done. */
typedef struct active_object {
    size_t number;
    int32_t in_use;
    int32_t sized;       /* the first piece has told that the size is right */
    int32_t given_up;    /* damage was found that ends it; not looked at by who works on a piece */
    int32_t list_wanted; /* the list of its digests is to be read */
    uint64_t next;       /* offset of the next piece to read */
    uint32_t open;       /* pieces on their way */
    sha256 *sums;        /* as computed */
    shardy_buf list;     /* as read; no data: there is none */
    shardy_status list_status;
} active_object;

struct object_check;

/* One read and what it is for. */
typedef struct piece {
    shardy_store_read read;
    struct object_check *check;
    active_object *object;
    int32_t is_list;
    int32_t gives_up; /* what came ends its object */
    uint8_t *buf;
    struct piece *next;
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 8];
} piece;

typedef struct object_check {
    const verify_objects_spec *spec;
    damage_list *damage;
    mutex lock; /* guards all below; not held while something is read or hashed */
    condition changed;
    active_object active[PIECES];
    piece pieces[PIECES];
    piece *idle;
    piece *ready;
    size_t next_object;
    uint32_t busy; /* pieces that are not idle */
    verify_objects_counts counts;
    shardy_status status; /* the first failure */
    shardy_error error;
} object_check;

/* --- what comes next -------------------------------------------------------------------------- */

static const shardy_object_digest *object_of(const object_check *c, const active_object *a)
{
    return &c->spec->objects[a->number];
}

static damage_place place_of(const object_check *c, const active_object *a, int is_list)
{
    const damage_place place = {c->spec->stage, is_list ? 0 : 1, a->number};
    return place;
}

/* Fills a piece with the next part of an object that has one, its list first. False when there is
 * none. */
static int take_part(object_check *c, active_object *a, piece *p)
{
    const shardy_object_digest *object = object_of(c, a);
    if (!a->in_use || !a->sized || a->given_up || (!a->list_wanted && a->next >= object->size)) {
        return 0;
    }
    p->object = a;
    p->gives_up = 0;
    p->is_list = a->list_wanted;
    if (a->list_wanted) {
        a->list_wanted = 0;
    } else {
        p->read.offset = a->next;
        a->next += PIECE_LEN;
    }
    a->open++;
    return 1;
}

/* The first piece of the next object: it tells the size of the object. */
static int take_object(object_check *c, piece *p)
{
    if (c->next_object == c->spec->count) {
        return 0;
    }
    for (size_t i = 0; i < PIECES; i++) {
        active_object *a = &c->active[i];
        if (!a->in_use) {
            memset(a, 0, sizeof *a);
            a->in_use = 1;
            a->number = c->next_object++;
            a->next = PIECE_LEN;
            a->open = 1;
            c->counts.objects++;
            p->object = a;
            p->gives_up = 0;
            p->is_list = 0;
            p->read.offset = 0;
            return 1;
        }
    }
    return 0;
}

static int take_piece(object_check *c, piece *p)
{
    for (size_t i = 0; i < PIECES; i++) {
        if (take_part(c, &c->active[i], p)) {
            return 1;
        }
    }
    return take_object(c, p);
}

static void piece_done(void *user, shardy_store_read *read)
{
    piece *p = user;
    object_check *c = p->check;
    (void)read;
    shardy__mutex_lock(&c->lock);
    p->next = c->ready;
    c->ready = p;
    shardy__condition_broadcast(&c->changed);
    shardy__mutex_unlock(&c->lock);
}

/* Starts the read of a piece that was taken. Called without the lock. */
static void start_piece(object_check *c, piece *p)
{
    const shardy_object_digest *object = object_of(c, p->object);
    const uint64_t offset = p->read.offset;
    memset(&p->read, 0, sizeof p->read);
    int n = snprintf(p->key, sizeof p->key, "%s%s", object->path, p->is_list ? ".sums" : "");
    p->read.key = shardy__bytes(p->key, (size_t)n);
    if (p->is_list) {
        /* One byte more than it may have, to see that there is more. */
        p->read.len = shardy__chunk_count(object->size) * SHARDY_SHA256_LEN + 1;
    } else {
        /* No more than was published, but at least a byte: an empty object may have grown. */
        const uint64_t left = object->size - offset;
        p->read.offset = offset;
        p->read.len = left == 0 ? 1 : left < PIECE_LEN ? left : PIECE_LEN;
        p->read.dest = p->buf;
    }
    p->read.deadline_ns = shardy__deadline_ns(c->spec->context, c->spec->timeout_ms);
    p->read.cancel = c->spec->cancel;
    shardy_store_read_start(c->spec->store, &p->read, 1, piece_done, p);
}

/* --- what has come ---------------------------------------------------------------------------- */

/* The size is right: from now on other pieces may be read. */
static shardy_status check_size(object_check *c, piece *p, shardy_error *err)
{
    active_object *a = p->object;
    const shardy_object_digest *object = object_of(c, a);
    const uint64_t size = p->read.meta.size;
    if (size != object->size) {
        char reason[128];
        snprintf(reason, sizeof reason, "the object has %llu bytes, %llu were published",
            (unsigned long long)size, (unsigned long long)object->size);
        p->gives_up = 1;
        return shardy__damage_add(c->damage, place_of(c, a, 0), object->path,
            size < object->size ? size : object->size, reason, err);
    }
    const uint64_t chunks = shardy__chunk_count(object->size);
    if (chunks > 0) {
        a->sums = shardy__calloc((size_t)chunks, sizeof *a->sums);
        if (!a->sums) {
            return shardy__error_nomem(err, "verify");
        }
    }
    a->list_wanted = chunks > 1;
    return SHARDY_OK;
}

static shardy_status hash_chunks(const object_check *c, const piece *p, shardy_error *err)
{
    const size_t len = (size_t)p->read.received;
    sha256 *sums = p->object->sums + (p->read.offset >> SHARDY_CHUNK_SHIFT);
    for (size_t at = 0; at < len; at += SHARDY_CHUNK_LEN) {
        size_t n = len - at < SHARDY_CHUNK_LEN ? len - at : SHARDY_CHUNK_LEN;
        SHARDY_TRY(shardy__sha256(p->buf + at, n, sums++, err));
        shardy__count(c->spec->context, SHARDY_METRIC_CHUNKS_VERIFIED, 1);
    }
    return SHARDY_OK;
}

static shardy_status check_data(object_check *c, piece *p, shardy_error *err)
{
    active_object *a = p->object;
    const shardy_object_digest *object = object_of(c, a);
    if (p->read.status == SHARDY_NOT_FOUND) {
        p->gives_up = 1;
        return shardy__damage_add(
            c->damage, place_of(c, a, 0), object->path, 0, "the object is missing", err);
    }
    if (p->read.status < 0) {
        p->gives_up = 1;
        return shardy__damage_note(c->damage, place_of(c, a, 0), object->path,
            (shardy_status)p->read.status, &p->read.error, err);
    }
    if (p->read.offset == 0) {
        SHARDY_TRY(check_size(c, p, err));
    }
    return p->gives_up ? SHARDY_OK : hash_chunks(c, p, err);
}

static shardy_status check_list(object_check *c, piece *p, shardy_error *err)
{
    active_object *a = p->object;
    a->list_status = (shardy_status)p->read.status;
    if (a->list_status < 0) {
        return shardy__damage_note(
            c->damage, place_of(c, a, 1), p->key, a->list_status, &p->read.error, err);
    }
    if (a->list_status == SHARDY_OK) {
        a->list = p->read.body;
        memset(&p->read.body, 0, sizeof p->read.body);
    }
    return SHARDY_OK;
}

/* Whether the list beside the object has the digest of the object; damage when it has not. */
static shardy_status judge_list(
    object_check *c, const active_object *a, int *usable_out, shardy_error *err)
{
    const shardy_object_digest *object = object_of(c, a);
    sha256 digest;
    *usable_out = 0;
    if (shardy__chunk_count(object->size) < 2 || a->list_status != SHARDY_OK) {
        return SHARDY_OK;
    }
    SHARDY_TRY(shardy__sha256(a->list.data, a->list.len, &digest, err));
    *usable_out = a->list.len == shardy__chunk_count(object->size) * SHARDY_SHA256_LEN &&
                  memcmp(digest.bytes, object->sha256, SHARDY_SHA256_LEN) == 0;
    if (*usable_out) {
        return SHARDY_OK;
    }
    char key[SHARDY_OBJECT_KEY_LEN_MAX + 8];
    snprintf(key, sizeof key, "%s.sums", object->path);
    return shardy__damage_add(c->damage, place_of(c, a, 1), key, 0,
        "the list of chunk digests has not the digest of its object", err);
}

/* All of an object was read. */
static shardy_status judge(object_check *c, const active_object *a, shardy_error *err)
{
    const shardy_object_digest *object = object_of(c, a);
    const size_t chunks = (size_t)shardy__chunk_count(object->size);
    sha256 digest;
    int usable;
    SHARDY_TRY(judge_list(c, a, &usable, err));
    SHARDY_TRY(shardy__sums_digest(a->sums, chunks, &digest, err));
    if (memcmp(digest.bytes, object->sha256, SHARDY_SHA256_LEN) == 0) {
        return SHARDY_OK;
    }
    if (!usable) {
        return shardy__damage_add(c->damage, place_of(c, a, 0), object->path, 0,
            "the object differs from the digest it was published with", err);
    }
    const uint8_t *list = a->list.data;
    size_t chunk = 0;
    while (memcmp(list + chunk * SHARDY_SHA256_LEN, a->sums[chunk].bytes, SHARDY_SHA256_LEN) == 0) {
        chunk++; /* the lists have different digests, so they differ somewhere */
    }
    return shardy__damage_add(c->damage, place_of(c, a, 0), object->path,
        (uint64_t)chunk << SHARDY_CHUNK_SHIFT,
        "a chunk differs from the digest it was published with", err);
}

static void fail(object_check *c, shardy_status st, const shardy_error *error)
{
    if (c->status >= 0) {
        c->status = st;
        c->error = *error;
    }
}

/* Under the lock: the piece is idle again; true when it was the last of its object, which is the
 * caller's to judge and to end. */
static int end_piece(object_check *c, piece *p)
{
    active_object *a = p->object;
    if (p->read.status >= 0) {
        c->counts.bytes += p->read.received;
        c->counts.objects += p->is_list && p->read.status == SHARDY_OK;
    }
    shardy_buf_release(&p->read.body);
    a->given_up |= p->gives_up;
    a->sized = 1;
    a->open--;
    p->next = c->idle;
    c->idle = p;
    const int more =
        !a->given_up && c->status >= 0 && (a->list_wanted || a->next < object_of(c, a)->size);
    return a->open == 0 && !more;
}

static void end_object(object_check *c, active_object *a, shardy_error *err)
{
    const int whole = !a->given_up && c->status >= 0;
    shardy__mutex_unlock(&c->lock);
    shardy_status st = whole ? judge(c, a, err) : SHARDY_OK;
    shardy__free(a->sums);
    shardy_buf_release(&a->list);
    shardy__mutex_lock(&c->lock);
    a->in_use = 0;
    if (st < 0) {
        fail(c, st, err);
    }
}

/* Under the lock, which is given up meanwhile. */
static void finish_piece(object_check *c, piece *p)
{
    shardy_error error;
    shardy__error_clear(&error);
    shardy__mutex_unlock(&c->lock);
    shardy_status st = p->is_list ? check_list(c, p, &error) : check_data(c, p, &error);
    shardy__mutex_lock(&c->lock);
    if (st < 0) {
        fail(c, st, &error);
    }
    if (end_piece(c, p)) {
        end_object(c, p->object, &error);
    }
    c->busy--;
    shardy__condition_broadcast(&c->changed);
}

/* --- threads ---------------------------------------------------------------------------------- */

/* Under the lock: one step of work. False when there is nothing to do at this moment. */
static int work(object_check *c)
{
    piece *p = c->ready;
    if (p) {
        c->ready = p->next;
        finish_piece(c, p);
        return 1;
    }
    p = c->idle;
    if (!p || c->status < 0 || !take_piece(c, p)) {
        return 0;
    }
    c->idle = p->next;
    c->busy++;
    shardy__mutex_unlock(&c->lock);
    start_piece(c, p);
    shardy__mutex_lock(&c->lock);
    return 1;
}

/* Under the lock. Objects are begun as long as there are any, so without a piece under way all are
 * done. */
static int is_over(const object_check *c)
{
    return c->busy == 0;
}

typedef struct check_task {
    pool_task task; /* first member */
    object_check *check;
} check_task;

static void help(pool_task *task)
{
    object_check *c = ((check_task *)(void *)task)->check;
    shardy__mutex_lock(&c->lock);
    for (;;) {
        if (work(c)) {
            continue;
        }
        if (is_over(c)) {
            break;
        }
        shardy__condition_wait(&c->changed, &c->lock);
    }
    shardy__condition_broadcast(&c->changed);
    shardy__mutex_unlock(&c->lock);
}

static void tell(object_check *c)
{
    const verify_objects_spec *s = c->spec;
    const uint64_t bytes = c->counts.bytes;
    shardy_error error;
    shardy__error_clear(&error);
    shardy__mutex_unlock(&c->lock);
    shardy_status st = shardy__check_time(s->context, 0, s->cancel, "verify", &error);
    if (st >= 0 && s->tell) {
        st = s->tell(s->tell_user, bytes, &error);
    }
    shardy__mutex_lock(&c->lock);
    if (st < 0) {
        fail(c, st, &error);
    }
}

/* The calling thread works as the others do, and tells how far it is. */
static void lead(object_check *c)
{
    shardy__mutex_lock(&c->lock);
    for (;;) {
        const uint64_t before = c->counts.bytes;
        if (!work(c)) {
            if (is_over(c)) {
                break;
            }
            shardy__condition_wait(&c->changed, &c->lock);
        }
        if (c->counts.bytes != before) {
            tell(c);
        }
    }
    shardy__mutex_unlock(&c->lock);
}

static shardy_status check_all(
    object_check *c, const verify_objects_spec *spec, uint8_t *bufs, shardy_error *err)
{
    const uint32_t helpers = spec->threads > 1 ? spec->threads - 1 : 0;
    check_task *tasks = shardy__calloc(helpers + 1, sizeof *tasks);
    if (!tasks) {
        return shardy__error_nomem(err, "verify");
    }
    for (size_t i = 0; i < PIECES; i++) {
        c->pieces[i].check = c;
        c->pieces[i].buf = bufs + i * PIECE_LEN;
        c->pieces[i].next = c->idle;
        c->idle = &c->pieces[i];
    }
    pool_group group;
    shardy__pool_group_init(&group, spec->context->pool);
    for (uint32_t i = 0; i < helpers; i++) {
        tasks[i].task.run = help;
        tasks[i].check = c;
        shardy__pool_submit(&group, &tasks[i].task);
    }
    lead(c);
    shardy__pool_wait(&group, 0);
    shardy__free(tasks);
    for (size_t i = 0; i < PIECES; i++) { /* left by a failure */
        active_object *a = &c->active[i];
        if (a->in_use) {
            shardy__free(a->sums);
            shardy_buf_release(&a->list);
        }
    }
    if (c->status < 0 && err) {
        *err = c->error;
    }
    return c->status;
}

shardy_status shardy__verify_objects(const verify_objects_spec *spec, damage_list *damage,
    verify_objects_counts *counts_out, shardy_error *err)
{
    memset(counts_out, 0, sizeof *counts_out);
    object_check *c = shardy__calloc(1, sizeof *c);
    uint8_t *bufs = shardy__aligned_alloc(4096, (size_t)PIECES * PIECE_LEN);
    shardy_status st = SHARDY_OK;
    if (!c || !bufs) {
        st = shardy__error_nomem(err, "verify");
    } else {
        c->spec = spec;
        c->damage = damage;
        shardy__mutex_init(&c->lock);
        shardy__condition_init(&c->changed);
        st = check_all(c, spec, bufs, err);
        *counts_out = c->counts;
        shardy__condition_destroy(&c->changed);
        shardy__mutex_destroy(&c->lock);
    }
    shardy__free(bufs);
    shardy__free(c);
    return st;
}
