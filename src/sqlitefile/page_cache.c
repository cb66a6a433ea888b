#include "page_cache.h"

#include "../base/alloc.h"
#include "../base/context.h"
#include "../base/thread.h"

#include <stdlib.h>
#include <string.h>

/* Sleeps are cut to this, to notice a cancellation. */
#define WAIT_SLICE_NS 50000000
/* Units that a call asks for ahead of need are at most so many, which bounds the list of a load. */
#define AHEAD_UNITS_MAX 4096u

/* A unit is LOADING until its run has ended, then ARRIVED until somebody who needs it has checked
 * it (CHECKING meanwhile), then READY until it is evicted. A unit that could not be loaded (FAILED)
 * or is not what was promised (BAD) leaves the table at once, and is freed when those who wait for
 * it have seen that; the next one who wants it tries again. */
typedef enum unit_state {
    UNIT_LOADING,
    UNIT_ARRIVED,
    UNIT_CHECKING,
    UNIT_READY,
    UNIT_FAILED,
    UNIT_BAD
} unit_state;

typedef struct cache_unit {
    struct cache_unit *next; /* of the same bucket */
    cache_file *file;
    const cache_load *load; /* that asked for it; compared, not followed */
    uint64_t index;
    uint32_t pins;
    uint32_t place; /* in `ring` */
    uint8_t state;
    uint8_t used; /* since the hand of the clock passed */
    size_t len;
    uint8_t data[];
} cache_unit;

/* Everything below `lock` is guarded by it, and so are the units and the figures of files and
 * loads. The bytes of a unit belong to its run while it is LOADING, to the one who checks it while
 * it is CHECKING, and are constant when it is READY: so they are touched without the lock. */
struct page_cache {
    mutex lock; /* rank: leaf */
    condition changed;
    size_t refs;
    cache_unit **buckets;
    size_t bucket_count; /* a power of two */
    cache_unit **ring;   /* all units, for the clock */
    size_t count;
    size_t room;
    size_t hand;
    uint64_t bytes;    /* of units, and `reserved` */
    uint64_t reserved; /* kept elsewhere */
    uint64_t budget;
};

struct cache_file {
    page_cache *cache;
    shardy_context *context;
    const cache_loader *loader;
    void *state;
    uint64_t size;
    uint32_t shift;
    sha256 *sums;
    size_t in_flight; /* runs */
    uint64_t hits;
    uint64_t misses;
};

/* --- the table -------------------------------------------------------------------------------- */

static cache_unit **bucket_of(const page_cache *cache, const cache_file *file, uint64_t index)
{
    uint64_t hash = (index + ((uint64_t)(uintptr_t)file >> 4)) * 0x9E3779B97F4A7C15u;
    return &cache->buckets[(hash >> 32) & (cache->bucket_count - 1)];
}

static cache_unit *find_unit(const cache_file *file, uint64_t index)
{
    cache_unit *u = *bucket_of(file->cache, file, index);
    while (u && (u->index != index || u->file != file)) {
        u = u->next;
    }
    return u;
}

/* Out of the table, but not freed. */
static void unlink_unit(page_cache *cache, cache_unit *u)
{
    cache_unit **link = bucket_of(cache, u->file, u->index);
    while (*link != u) {
        link = &(*link)->next;
    }
    *link = u->next;
    cache->bytes -= u->len;
    cache->ring[u->place] = cache->ring[--cache->count];
    cache->ring[u->place]->place = u->place;
}

static void remove_unit(page_cache *cache, cache_unit *u)
{
    unlink_unit(cache, u);
    shardy__free(u);
}

static int is_idle(const cache_unit *u)
{
    return u->pins == 0 && (u->state == UNIT_READY || u->state == UNIT_ARRIVED);
}

/* Makes room for `len` bytes more: second-chance clock over the units that nobody uses. */
static void evict(page_cache *cache, size_t len)
{
    size_t steps = 2 * cache->count;
    while (cache->bytes + len > cache->budget && cache->count > 0 && steps-- > 0) {
        cache->hand = cache->hand + 1 < cache->count ? cache->hand + 1 : 0;
        cache_unit *u = cache->ring[cache->hand];
        if (!is_idle(u)) {
            continue;
        }
        if (u->used) {
            u->used = 0;
            continue;
        }
        remove_unit(cache, u);
    }
}

static size_t unit_len(const cache_file *file, uint64_t index)
{
    uint64_t left = file->size - (index << file->shift);
    uint64_t unit = (uint64_t)1 << file->shift;
    return (size_t)(left < unit ? left : unit);
}

/* Whether a unit is needed, or only likely to be: then it must not exceed the budget. */
typedef enum unit_need {
    UNIT_NEEDED,
    UNIT_SPARE
} unit_need;

/* A new LOADING unit without pins, in the table. NULL: no memory, or no room for a spare one.
 * Called with the lock. */
static cache_unit *add_unit(cache_file *file, uint64_t index, unit_need need)
{
    page_cache *cache = file->cache;
    size_t len = unit_len(file, index);
    evict(cache, len);
    if (need == UNIT_SPARE && cache->bytes + len > cache->budget) {
        return NULL;
    }
    if (cache->count == cache->room) {
        size_t room = cache->room * 2;
        cache_unit **ring = shardy__realloc(cache->ring, room * sizeof(cache_unit *));
        if (!ring) {
            return NULL;
        }
        cache->ring = ring;
        cache->room = room;
    }
    cache_unit *u = shardy__malloc(sizeof *u + len);
    if (!u) {
        return NULL;
    }
    cache_unit **bucket = bucket_of(cache, file, index);
    *u = (cache_unit){.next = *bucket,
        .file = file,
        .index = index,
        .place = (uint32_t)cache->count,
        .state = UNIT_LOADING,
        .len = len};
    cache->ring[cache->count++] = u;
    cache->bytes += len;
    *bucket = u;
    return u;
}

/* Called with the lock. */
static void unpin_unit(page_cache *cache, cache_unit *u)
{
    u->pins--;
    if (u->pins > 0) {
        return;
    }
    if (u->state == UNIT_FAILED || u->state == UNIT_BAD) {
        shardy__free(u);
    } else if (is_idle(u) && cache->bytes > cache->budget) {
        remove_unit(cache, u);
    }
}

/* It is of no use: whoever waits for it sees why. Called with the lock. */
static void condemn(page_cache *cache, cache_unit *u, unit_state state)
{
    unlink_unit(cache, u);
    u->state = (uint8_t)state;
    if (u->pins == 0) {
        shardy__free(u);
    }
}

/* --- the cache and its files ------------------------------------------------------------------ */

shardy_status shardy__page_cache_new(uint64_t bytes, page_cache **cache_out, shardy_error *err)
{
    *cache_out = NULL;
    size_t bucket_count = 16;
    while (bucket_count < 65536 && bucket_count < bytes / 8192) {
        bucket_count *= 2;
    }
    page_cache *cache = shardy__calloc(1, sizeof *cache);
    cache_unit **buckets = shardy__calloc(bucket_count, sizeof(cache_unit *));
    cache_unit **ring = shardy__malloc(16 * sizeof(cache_unit *));
    if (!cache || !buckets || !ring) {
        shardy__free(cache);
        shardy__free(buckets);
        shardy__free(ring);
        return shardy__error_nomem(err, "sqlite");
    }
    cache->refs = 1;
    cache->buckets = buckets;
    cache->bucket_count = bucket_count;
    cache->ring = ring;
    cache->room = 16;
    cache->budget = bytes;
    shardy__mutex_init(&cache->lock);
    shardy__condition_init(&cache->changed);
    *cache_out = cache;
    return SHARDY_OK;
}

page_cache *shardy__page_cache_hold(page_cache *cache)
{
    shardy__mutex_lock(&cache->lock);
    cache->refs++;
    shardy__mutex_unlock(&cache->lock);
    return cache;
}

void shardy__page_cache_drop(page_cache *cache)
{
    if (!cache) {
        return;
    }
    shardy__mutex_lock(&cache->lock);
    size_t refs = --cache->refs;
    shardy__mutex_unlock(&cache->lock);
    if (refs == 0) { /* its files have references, so there are no units */
        shardy__condition_destroy(&cache->changed);
        shardy__mutex_destroy(&cache->lock);
        shardy__free(cache->buckets);
        shardy__free(cache->ring);
        shardy__free(cache);
    }
}

uint64_t shardy__page_cache_budget(const page_cache *cache)
{
    return cache->budget;
}

uint64_t shardy__page_cache_bytes(page_cache *cache)
{
    shardy__mutex_lock(&cache->lock);
    uint64_t bytes = cache->bytes;
    shardy__mutex_unlock(&cache->lock);
    return bytes;
}

int shardy__page_cache_reserve(page_cache *cache, uint64_t bytes)
{
    shardy__mutex_lock(&cache->lock);
    uint64_t room = cache->budget / 2 - cache->reserved;
    int fits = bytes < room;
    if (fits) {
        cache->reserved += bytes;
        cache->bytes += bytes;
        evict(cache, 0);
    }
    shardy__mutex_unlock(&cache->lock);
    return fits;
}

void shardy__page_cache_release(page_cache *cache, uint64_t bytes)
{
    shardy__mutex_lock(&cache->lock);
    cache->reserved -= bytes;
    cache->bytes -= bytes;
    shardy__mutex_unlock(&cache->lock);
}

shardy_status shardy__cache_file_open(
    page_cache *cache, const cache_file_spec *spec, cache_file **file_out, shardy_error *err)
{
    *file_out = NULL;
    cache_file *file = shardy__calloc(1, sizeof *file);
    if (!file) {
        shardy__free(spec->sums);
        return shardy__error_nomem(err, "sqlite");
    }
    file->cache = shardy__page_cache_hold(cache);
    file->context = spec->context;
    file->loader = spec->loader;
    file->state = spec->state;
    file->size = spec->size;
    file->shift = spec->unit_shift;
    file->sums = spec->sums;
    *file_out = file;
    return SHARDY_OK;
}

void shardy__cache_file_close(cache_file *file)
{
    if (!file) {
        return;
    }
    page_cache *cache = file->cache;
    shardy__mutex_lock(&cache->lock);
    while (file->in_flight > 0) {
        shardy__condition_wait(&cache->changed, &cache->lock);
    }
    for (size_t i = cache->count; i-- > 0;) {
        if (cache->ring[i]->file == file) {
            remove_unit(cache, cache->ring[i]); /* the last one takes its place, and was seen */
        }
    }
    shardy__mutex_unlock(&cache->lock);
    if (file->context) {
        shardy__count(file->context, SHARDY_METRIC_PAGE_CACHE_HITS, file->hits);
        shardy__count(file->context, SHARDY_METRIC_PAGE_CACHE_MISSES, file->misses);
    }
    shardy__page_cache_drop(cache);
    shardy__free(file->sums);
    shardy__free(file);
}

/* --- checking --------------------------------------------------------------------------------- */

static shardy_status refuse_bad(const cache_unit *u, shardy_error *err)
{
    return shardy__error(err, SHARDY_CHECKSUM, "sqlite",
        "the %zu bytes at offset %llu differ from their digest", u->len,
        (unsigned long long)(u->index << u->file->shift));
}

/* Checks a unit that has ARRIVED and is pinned: READY or BAD. Called with the lock, which is given
 * up meanwhile. */
static shardy_status check_unit(cache_file *file, cache_unit *u, shardy_error *err)
{
    page_cache *cache = file->cache;
    shardy_status st = SHARDY_OK;
    if (file->sums) {
        u->state = UNIT_CHECKING;
        shardy__mutex_unlock(&cache->lock);
        sha256 sum;
        st = shardy__sha256(u->data, u->len, &sum, err);
        int same = st >= 0 && memcmp(&sum, &file->sums[u->index], sizeof sum) == 0;
        shardy__mutex_lock(&cache->lock);
        if (st >= 0 && !same) {
            condemn(cache, u, UNIT_BAD);
            shardy__condition_broadcast(&cache->changed);
            return refuse_bad(u, err);
        }
    }
    u->state = st < 0 ? UNIT_ARRIVED : UNIT_READY;
    shardy__condition_broadcast(&cache->changed);
    return st;
}

shardy_status shardy__cache_get(
    cache_file *file, uint64_t offset, page_ref *ref_out, shardy_error *err)
{
    page_cache *cache = file->cache;
    shardy_status st = SHARDY_PENDING;
    shardy__mutex_lock(&cache->lock);
    cache_unit *u = find_unit(file, offset >> file->shift);
    if (u && (u->state == UNIT_READY || u->state == UNIT_ARRIVED)) {
        u->pins++;
        st = u->state == UNIT_READY ? SHARDY_OK : check_unit(file, u, err);
        if (st < 0) {
            unpin_unit(cache, u);
        } else {
            u->used = 1;
            file->hits++;
            ref_out->data = u->data + (offset & (((uint64_t)1 << file->shift) - 1));
            ref_out->pin = u;
        }
    }
    shardy__mutex_unlock(&cache->lock);
    return st;
}

void shardy__cache_unpin(cache_file *file, page_ref *ref)
{
    shardy__mutex_lock(&file->cache->lock);
    unpin_unit(file->cache, ref->pin);
    shardy__mutex_unlock(&file->cache->lock);
}

void shardy__cache_put(cache_file *file, uint64_t offset, const void *data, size_t len)
{
    page_cache *cache = file->cache;
    uint64_t unit = (uint64_t)1 << file->shift;
    uint64_t end = offset + len;
    shardy__mutex_lock(&cache->lock);
    for (uint64_t at = (offset + unit - 1) & ~(unit - 1); at < end; at += unit) {
        uint64_t index = at >> file->shift;
        if (at + unit_len(file, index) > end || find_unit(file, index)) {
            continue;
        }
        cache_unit *u = add_unit(file, index, UNIT_SPARE);
        if (!u) {
            break;
        }
        memcpy(u->data, (const uint8_t *)data + (at - offset), u->len);
        u->state = UNIT_ARRIVED;
    }
    shardy__mutex_unlock(&cache->lock);
}

/* --- loads ------------------------------------------------------------------------------------ */

static void free_load(cache_load *load)
{
    shardy__free(load->runs);
    shardy__free(load->memory);
    shardy__free((void *)load->units);
    shardy__free(load);
}

void *shardy__cache_load_state(const cache_load *load)
{
    return load->file->state;
}

/* Called with the lock; 1 when the load is to be freed. */
static int drop_load(cache_load *load)
{
    return --load->refs == 0;
}

static uint64_t ahead_units(const cache_file *file, size_t page_size, const page_want *want)
{
    uint64_t units = (((uint64_t)want->ahead * page_size) >> file->shift) + 1;
    return want->ahead == 0 ? 0 : units < AHEAD_UNITS_MAX ? units : AHEAD_UNITS_MAX;
}

static cache_load *new_load(
    cache_file *file, size_t page_size, page_want *const *wants, size_t count)
{
    size_t room = count;
    uint64_t ahead = 0;
    for (size_t i = 0; file->loader->async && i < count && ahead < AHEAD_UNITS_MAX; i++) {
        ahead += ahead_units(file, page_size, wants[i]);
    }
    room += (size_t)(ahead < AHEAD_UNITS_MAX ? ahead : AHEAD_UNITS_MAX);
    cache_load *load = shardy__calloc(1, sizeof *load);
    if (!load) {
        return NULL;
    }
    load->file = file;
    load->refs = 1;
    load->unit_room = room;
    load->units = shardy__malloc(room * sizeof(cache_unit *));
    load->runs = shardy__malloc(room * sizeof *load->runs);
    if (!load->units || !load->runs) {
        free_load(load);
        return NULL;
    }
    return load;
}

/* The unit at that place, which is added to the load if nobody has asked for it. NULL as from
 * add_unit(). Called with the lock. */
static cache_unit *ask_unit(cache_load *load, uint64_t index, unit_need need)
{
    cache_unit *u = find_unit(load->file, index);
    if (!u) {
        u = add_unit(load->file, index, need);
        if (u) {
            u->load = load;
            load->units[load->unit_count++] = u;
        }
    }
    return u;
}

/* What may be wanted next; stops when there is no memory, or the cache has no room for it. */
static void ask_ahead(cache_load *load, size_t page_size, const page_want *want)
{
    cache_file *file = load->file;
    uint64_t first = ((uint64_t)(want->page - 1) * page_size) >> file->shift;
    uint64_t last = (uint64_t)(want->page - 1 + (uint64_t)want->ahead) * page_size;
    last = (last < file->size ? last : file->size - 1) >> file->shift;
    uint64_t most = ahead_units(file, page_size, want);
    uint64_t kept = file->cache->budget / 2;
    for (uint64_t i = first + 1; i <= last && i - first <= most; i++) {
        if (load->unit_count == load->unit_room ||
            ((uint64_t)load->unit_count << file->shift) > kept || !ask_unit(load, i, UNIT_SPARE)) {
            return;
        }
    }
}

static int compare_units(const void *a, const void *b)
{
    const cache_unit *x = *(cache_unit *const *)a;
    const cache_unit *y = *(cache_unit *const *)b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Sorts what is to be loaded and makes runs of neighbours. */
static void make_runs(cache_load *load)
{
    const cache_file *file = load->file;
    qsort((void *)load->units, load->unit_count, sizeof *load->units, compare_units);
    for (size_t i = 0; i < load->unit_count; i++) {
        const cache_unit *u = load->units[i];
        uint64_t offset = u->index << file->shift;
        cache_run *run = load->count ? &load->runs[load->count - 1] : NULL;
        if (run && offset - (run->offset + run->len) <= file->loader->gap &&
            offset + u->len - run->offset <= file->loader->run_max) {
            run->len = (size_t)(offset + u->len - run->offset);
            run->count++;
        } else {
            load->runs[load->count++] = (cache_run){offset, u->len, NULL, i, 1};
        }
    }
}

/* A run of one unit goes straight to its place. */
static int find_dest(cache_load *load, cache_run *run)
{
    run->dest =
        run->count == 1 ? load->units[run->first]->data : shardy__malloc(run->len ? run->len : 1);
    return run->dest != NULL;
}

void shardy__cache_run_done(
    cache_load *load, size_t number, shardy_status st, const shardy_error *err)
{
    cache_run *run = &load->runs[number];
    cache_file *file = load->file;
    page_cache *cache = file->cache;
    if (run->count > 1) {
        for (size_t i = run->first; st >= 0 && i < run->first + run->count; i++) {
            cache_unit *u = load->units[i];
            memcpy(u->data, run->dest + ((u->index << file->shift) - run->offset), u->len);
        }
        shardy__free(run->dest);
    }
    shardy__mutex_lock(&cache->lock);
    if (st < 0 && load->error.status == SHARDY_OK) {
        load->error = *err;
    }
    for (size_t i = run->first; i < run->first + run->count; i++) {
        if (st < 0) {
            condemn(cache, load->units[i], UNIT_FAILED);
        } else {
            load->units[i]->state = UNIT_ARRIVED;
        }
    }
    file->in_flight--;
    int last = drop_load(load);
    shardy__condition_broadcast(&cache->changed);
    shardy__mutex_unlock(&cache->lock);
    if (last) {
        free_load(load);
    }
}

/* Sends off what the load has to get. */
static void send_load(cache_load *load, const page_limits *limits)
{
    cache_file *file = load->file;
    make_runs(load);
    size_t count = load->count;
    if (count == 0) {
        return;
    }
    shardy__mutex_lock(&file->cache->lock);
    load->refs += count;
    file->in_flight += count;
    shardy__mutex_unlock(&file->cache->lock);
    size_t kept = 0; /* runs for which there is memory come first */
    for (size_t i = 0; i < count; i++) {
        if (find_dest(load, &load->runs[i])) {
            cache_run run = load->runs[i];
            load->runs[i] = load->runs[kept];
            load->runs[kept++] = run;
        }
    }
    load->count = kept;
    for (size_t i = kept; i < count; i++) {
        shardy_error error;
        shardy__error_clear(&error);
        shardy_status st = shardy__error_nomem(&error, "sqlite");
        shardy__cache_run_done(load, i, st, &error);
    }
    if (kept > 0) {
        file->loader->load(file->state, load, limits);
    }
}

static void end_load(cache_load *load)
{
    page_cache *cache = load->file->cache;
    shardy__mutex_lock(&cache->lock);
    int last = drop_load(load);
    shardy__mutex_unlock(&cache->lock);
    if (last) {
        free_load(load);
    }
}

/* --- fetching --------------------------------------------------------------------------------- */

/* Pins the units of all wants, asking for those that are not there. A pin holds a unit in whatever
 * state it is, so nothing vanishes between asking and waiting. On a failure nothing is pinned. */
static shardy_status pin_units(
    cache_load *load, size_t page_size, page_want *const *wants, size_t count, shardy_error *err)
{
    cache_file *file = load->file;
    page_cache *cache = file->cache;
    shardy__mutex_lock(&cache->lock);
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)(wants[i]->page - 1) * page_size;
        size_t asked = load->unit_count;
        cache_unit *u = ask_unit(load, offset >> file->shift, UNIT_NEEDED);
        file->misses += load->unit_count > asked;
        file->hits += load->unit_count == asked && u;
        if (!u) {
            while (i-- > 0) {
                ((cache_unit *)wants[i]->ref.pin)->pins--;
                wants[i]->ref.pin = NULL;
            }
            while (load->unit_count > 0) { /* nobody else has seen them */
                remove_unit(cache, load->units[--load->unit_count]);
            }
            shardy__mutex_unlock(&cache->lock);
            return shardy__error_nomem(err, "sqlite");
        }
        u->pins++;
        wants[i]->ref.pin = u;
    }
    for (size_t i = 0; file->loader->async && i < count; i++) {
        if (wants[i]->ahead > 0) {
            ask_ahead(load, page_size, wants[i]);
        }
    }
    shardy__mutex_unlock(&cache->lock);
    return SHARDY_OK;
}

/* Waits a while for something to change. Called with the lock. */
static shardy_status wait_change(cache_file *file, const page_limits *limits, shardy_error *err)
{
    page_cache *cache = file->cache;
    if (!limits || !file->context) {
        shardy__condition_wait(&cache->changed, &cache->lock);
        return SHARDY_OK;
    }
    shardy_status st =
        shardy__check_time(file->context, limits->deadline_ns, limits->cancel, "read", err);
    if (st >= 0) {
        shardy__condition_wait_ns(&cache->changed, &cache->lock, WAIT_SLICE_NS);
    }
    return st;
}

/* Asks once more for a unit that somebody else could not get. */
static shardy_status ask_again(cache_file *file, size_t page_size, page_want *want,
    const page_limits *limits, cache_load **load_out, shardy_error *err)
{
    page_want plain = {want->page, 0, {NULL, NULL}};
    page_want *const wants[1] = {&plain};
    cache_load *load = new_load(file, page_size, wants, 1);
    *load_out = NULL;
    if (!load) {
        return shardy__error_nomem(err, "sqlite");
    }
    shardy_status st = pin_units(load, page_size, wants, 1, err);
    if (st < 0) {
        free_load(load);
        return st;
    }
    want->ref.pin = plain.ref.pin;
    send_load(load, limits);
    *load_out = load;
    return SHARDY_OK;
}

/* Waits for the unit of a want, which is pinned. On a failure the pin is given back. Called with
 * the lock. */
static shardy_status await_unit(cache_file *file, const cache_load *load, page_want *want,
    const page_limits *limits, shardy_error *err)
{
    cache_unit *u = want->ref.pin;
    shardy_status st = SHARDY_OK;
    while (st >= 0 && u->state != UNIT_READY) {
        switch ((unit_state)u->state) {
        case UNIT_ARRIVED:
            st = check_unit(file, u, err);
            break;
        case UNIT_BAD:
            st = refuse_bad(u, err);
            break;
        case UNIT_FAILED:
            st = SHARDY_PENDING; /* for whoever did not ask for it himself */
            if (u->load == load) {
                st = (shardy_status)load->error.status;
                if (err) {
                    *err = load->error;
                }
            }
            break;
        default:
            st = wait_change(file, limits, err);
            break;
        }
        if (st == SHARDY_PENDING) {
            break;
        }
    }
    if (st != SHARDY_OK) {
        unpin_unit(file->cache, u);
        want->ref.pin = NULL;
    }
    return st;
}

/* One want until it is there or has failed. */
static shardy_status settle_want(cache_file *file, const cache_load *load, size_t page_size,
    page_want *want, const page_limits *limits, shardy_error *err)
{
    page_cache *cache = file->cache;
    cache_load *own = NULL;
    shardy_status st;
    for (;;) {
        shardy__mutex_lock(&cache->lock);
        st = await_unit(file, own ? own : load, want, limits, err);
        if (st == SHARDY_OK) {
            cache_unit *u = want->ref.pin;
            uint64_t offset = (uint64_t)(want->page - 1) * page_size;
            u->used = 1;
            want->ref.data = u->data + (offset & (((uint64_t)1 << file->shift) - 1));
        }
        shardy__mutex_unlock(&cache->lock);
        if (own) {
            end_load(own);
            own = NULL;
        }
        if (st != SHARDY_PENDING) {
            return st;
        }
        /* Each turn somebody tried and failed; who fails himself is done with it. */
        SHARDY_TRY(ask_again(file, page_size, want, limits, &own, err));
    }
}

shardy_status shardy__cache_fetch(cache_file *file, size_t page_size, page_want *const *wants,
    size_t count, const page_limits *limits, shardy_error *err)
{
    cache_load *load = new_load(file, page_size, wants, count);
    if (!load) {
        return shardy__error_nomem(err, "sqlite");
    }
    shardy_status st = pin_units(load, page_size, wants, count, err);
    if (st < 0) {
        free_load(load);
        return st;
    }
    send_load(load, limits);
    size_t i = 0;
    for (; st >= 0 && i < count; i++) {
        st = settle_want(file, load, page_size, wants[i], limits, err);
    }
    shardy__mutex_lock(&file->cache->lock);
    for (; i < count; i++) { /* after a failure: those that nobody waited for */
        unpin_unit(file->cache, wants[i]->ref.pin);
        wants[i]->ref.pin = NULL;
    }
    shardy__mutex_unlock(&file->cache->lock);
    end_load(load);
    return st;
}

void shardy__cache_start(cache_file *file, size_t page_size, page_want *const *wants, size_t count,
    const page_limits *limits)
{
    cache_load *load = new_load(file, page_size, wants, count);
    if (!load) {
        return; /* then a fetch will say so */
    }
    shardy__mutex_lock(&file->cache->lock);
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)(wants[i]->page - 1) * page_size;
        if (((uint64_t)load->unit_count << file->shift) > file->cache->budget / 2 ||
            !ask_unit(load, offset >> file->shift, UNIT_SPARE)) {
            break;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (wants[i]->ahead > 0) {
            ask_ahead(load, page_size, wants[i]);
        }
    }
    shardy__mutex_unlock(&file->cache->lock);
    send_load(load, limits);
    end_load(load);
}
