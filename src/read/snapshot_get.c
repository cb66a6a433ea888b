/* snapshot_get.c: looking up one key and many. */
#include "snapshot.h"

#include "../base/alloc.h"
#include "../base/arena.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Below this many keys in one call the shards are asked one after the other, unless they are far
 * away: handing a task to another thread costs as much as some hundred look-ups. */
#define PARALLEL_KEYS_MIN 4096u
/* Keys of one call that wait for their pages at once, over all shards, each of which may hold a
 * chunk: 128 MiB. Each shard has a few of them at least. */
#define FETCHES_MAX       2048u
#define SHARD_FETCHES_MIN 16u
/* Time and cancellation are looked at after so many keys. */
#define ROUTE_LOOK 4096u

static shardy_status route(const shardy_snapshot *s, const shardy_key *key,
    const shardy_read_options *options, routed_key *out, shardy_error *err)
{
    return shardy__router_route(&s->router, key, options ? options->routing_context : NULL,
        options ? options->routing_context_count : 0, out, err);
}

/* A look-up that has to wait: its shard is opened if need be, and what is not at hand fetched, all
 * within one deadline. After a file of the cache turned out to be damaged it is done once more,
 * from one that was checked. */
static shardy_status get_waiting(shardy_snapshot *s, uint32_t slot, const routed_key *routed,
    const shardy_read_options *options, int32_t *opened_out, shardy_buf *value_out,
    shardy_error *err)
{
    const call_limits limits = shardy__call_limits(s->core, options);
    const shardy_engine_limits engine_limits = {limits.deadline_ns, limits.cancel};
    SHARDY_TRY(shardy__check_time(s->core->context, 0, limits.cancel, "read", err));
    for (int again = 0;; again = 1) {
        open_shard *shard;
        SHARDY_TRY(shardy__snapshot_shard(s, slot, &limits, &shard, opened_out, err));
        shardy_status st = shardy__engine_get(
            &shard->engine, routed->stored.bytes, &engine_limits, value_out, err);
        if (st != SHARDY_CHECKSUM || again || !shardy__snapshot_distrust(s, slot, shard)) {
            return st;
        }
        shardy__error_clear(err);
    }
}

shardy_status shardy__snapshot_get(shardy_snapshot *s, const shardy_key *key,
    const shardy_read_options *options, shardy_buf *value_out, shardy_error *err)
{
    routed_key routed;
    shardy_status st = route(s, key, options, &routed, err);
    if (st < 0 && st != SHARDY_UNKNOWN_TOKEN) {
        return st;
    }
    /* A token that is none of the routing values: nothing was written under that key. */
    uint32_t slot = st < 0 ? UINT32_MAX : s->slot_of[routed.db_id];
    int32_t opened = 0;
    st = SHARDY_NOT_FOUND;
    if (slot != UINT32_MAX) {
        const open_shard *shard = atomic_load(&s->slots[slot].shard);
        st = SHARDY_PENDING;
        if (shard && atomic_load_explicit(&s->slots[slot].used, memory_order_relaxed)) {
            st = shardy__engine_get_now(&shard->engine, routed.stored.bytes, value_out, err);
        }
        if (__builtin_expect(st == SHARDY_PENDING || st == SHARDY_CHECKSUM, 0)) {
            st = get_waiting(s, slot, &routed, options, &opened, value_out, err);
        }
    }
    if (options && options->stats) {
        options->stats->shards = slot != UINT32_MAX;
        options->stats->shards_opened = (uint32_t)opened;
        options->stats->rows_found = st == SHARDY_OK;
        options->stats->rows_absent = st == SHARDY_NOT_FOUND;
    }
    if (__builtin_expect(st < 0, 0)) {
        shardy__snapshot_note(s, st);
        return shardy__error_prefix(err, st, "shard %u", routed.db_id);
    }
    return st;
}

/* --- many keys -------------------------------------------------------------------------------- */

/* The keys of one shard. */
typedef struct key_group {
    pool_task task; /* first member */
    struct multi_get *call;
    uint32_t slot;
    size_t first; /* in call->order */
    size_t count;
    shardy_engine_get request;
    int32_t opened;
    shardy_status status;
    shardy_error error;
} key_group;

typedef struct multi_get {
    shardy_snapshot *snapshot;
    call_limits limits;
    const shardy_key *asked;
    size_t count;
    shardy_value *values;
    uint32_t *slot_counts; /* keys of each slot; in group_keys() where its next key goes */
    routed_key *routed;
    uint32_t *order;    /* positions of keys, grouped by slot */
    shardy_bytes *keys; /* in that order */
    shardy_buf *found;
    int32_t *statuses;
    key_group *groups;
    uint32_t group_count;
    uint32_t fetches_max; /* keys of one shard that wait at once; 0: all */
} multi_get;

/* What a shardy_values owns. */
typedef struct values_owner {
    arena arena;
    shardy_buf *holds; /* keep shards in memory whose values are borrowed */
    size_t hold_count;
    shardy_buf *owned; /* values that have memory of their own: the first of what was found */
    size_t owned_count;
} values_owner;

void shardy_values_dispose(shardy_values *values)
{
    if (!values) {
        return;
    }
    values_owner *owner = values->owner;
    if (owner) {
        for (size_t i = 0; i < owner->owned_count; i++) {
            shardy_buf_release(&owner->owned[i]);
        }
        for (size_t i = 0; i < owner->hold_count; i++) {
            shardy_buf_release(&owner->holds[i]);
        }
        shardy__arena_free(&owner->arena);
        shardy__free(owner);
    }
    memset(values, 0, sizeof *values);
}

/* Memory of one call in one block: released when it ends. */
static shardy_status allocate_call(multi_get *call, arena *a, size_t count, shardy_error *err)
{
    call->count = count;
    call->routed = shardy__arena_calloc(a, count, sizeof *call->routed);
    call->order = shardy__arena_calloc(a, count, sizeof *call->order);
    call->keys = shardy__arena_calloc(a, count, sizeof *call->keys);
    call->statuses = shardy__arena_calloc(a, count, sizeof *call->statuses);
    if (!call->routed || !call->order || !call->keys || !call->statuses) {
        return shardy__error_nomem(err, "read");
    }
    return SHARDY_OK;
}

/* Routes keys from `first` to before `end`; those of empty shards and unknown tokens are left out
 * of the groups. */
static shardy_status route_some(multi_get *call, size_t first, size_t end,
    const shardy_read_options *options, shardy_error *err)
{
    const shardy_snapshot *s = call->snapshot;
    const shardy_key *keys = call->asked;
    shardy_value *values = call->values;
    uint32_t *slot_counts = call->slot_counts;
    for (size_t i = first; i < end; i++) {
        values[i].status = SHARDY_NOT_FOUND;
        shardy_status st = route(s, &keys[i], options, &call->routed[i], err);
        if (st == SHARDY_UNKNOWN_TOKEN) {
            call->routed[i].db_id = UINT32_MAX;
            continue;
        }
        if (st < 0) {
            return shardy__error_prefix(err, st, "key %zu", i);
        }
        values[i].db_id = call->routed[i].db_id;
        uint32_t slot = s->slot_of[call->routed[i].db_id];
        if (slot != UINT32_MAX) {
            slot_counts[slot]++;
        }
    }
    return SHARDY_OK;
}

static shardy_status route_all(
    multi_get *call, const shardy_read_options *options, shardy_error *err)
{
    const size_t count = call->count;
    for (size_t i = 0; i < count; i += ROUTE_LOOK) {
        if (i > 0) {
            SHARDY_TRY(shardy__check_time(call->snapshot->core->context, call->limits.deadline_ns,
                call->limits.cancel, "read", err));
        }
        SHARDY_TRY(
            route_some(call, i, count - i < ROUTE_LOOK ? count : i + ROUTE_LOOK, options, err));
    }
    return SHARDY_OK;
}

/* Puts the keys of each shard beside each other (a counting sort by slot). */
static shardy_status group_keys(multi_get *call, arena *a, shardy_error *err)
{
    const shardy_snapshot *s = call->snapshot;
    uint32_t *slot_counts = call->slot_counts;
    uint32_t groups = 0;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        groups += slot_counts[i] > 0;
    }
    call->groups = shardy__arena_calloc(a, groups, sizeof *call->groups);
    if (!call->groups) {
        return shardy__error_nomem(err, "read");
    }
    size_t first = 0;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (slot_counts[i] > 0) {
            key_group *group = &call->groups[call->group_count++];
            group->call = call;
            group->slot = i;
            group->first = first;
            group->count = slot_counts[i];
            first += slot_counts[i];
            slot_counts[i] = (uint32_t)group->first;
        }
    }
    for (size_t i = 0; i < call->count; i++) {
        uint32_t db_id = call->routed[i].db_id;
        uint32_t slot = db_id == UINT32_MAX ? UINT32_MAX : s->slot_of[db_id];
        if (slot != UINT32_MAX) {
            uint32_t at = slot_counts[slot]++;
            call->order[at] = (uint32_t)i;
            call->keys[at] = call->routed[i].stored.bytes;
        }
    }
    return SHARDY_OK;
}

static void run_group(pool_task *task)
{
    key_group *group = (key_group *)(void *)task;
    multi_get *call = group->call;
    shardy_snapshot *s = call->snapshot;
    open_shard *shard = NULL;
    group->request.keys = call->keys + group->first;
    group->request.count = group->count;
    group->request.values_out = call->found + group->first;
    group->request.statuses_out = call->statuses + group->first;
    group->request.fetches_max = call->fetches_max;
    group->request.limits = (shardy_engine_limits){call->limits.deadline_ns, call->limits.cancel};
    shardy_status st = shardy__check_time(
        s->core->context, call->limits.deadline_ns, call->limits.cancel, "read", &group->error);
    if (st >= 0) {
        st = shardy__snapshot_shard(
            s, group->slot, &call->limits, &shard, &group->opened, &group->error);
    }
    if (st >= 0) {
        st = shardy__engine_get_many(&shard->engine, &group->request, &group->error);
    }
    if (st == SHARDY_CHECKSUM && shardy__snapshot_distrust(s, group->slot, shard)) {
        shardy__error_clear(&group->error);
        st = shardy__snapshot_shard(
            s, group->slot, &call->limits, &shard, &group->opened, &group->error);
        if (st >= 0) {
            st = shardy__engine_get_many(&shard->engine, &group->request, &group->error);
        }
    }
    shardy__snapshot_note(s, st);
    group->status = st;
}

static void run_groups(multi_get *call)
{
    int cold = 0;
    for (uint32_t i = 0; !cold && i < call->group_count; i++) {
        cold = shardy__snapshot_is_cold(call->snapshot, call->groups[i].slot);
    }
    const shard_spread spread = shardy__snapshot_spread(
        call->snapshot, call->group_count, cold, call->count >= PARALLEL_KEYS_MIN);
    if (spread.waits > 0 && call->count > FETCHES_MAX) {
        uint32_t each = FETCHES_MAX / spread.waits;
        call->fetches_max = each > SHARD_FETCHES_MIN ? each : SHARD_FETCHES_MIN;
    }
    shardy__pool_run(
        spread.pool, &call->groups->task, call->group_count, sizeof *call->groups, run_group);
}

/* Moves what the groups found into the result; `owner` takes over everything that has to be
 * released. */
static void collect_group(
    multi_get *call, const key_group *group, values_owner *owner, shardy_value *values)
{
    for (size_t i = group->first; i < group->first + group->count; i++) {
        shardy_value *value = &values[call->order[i]];
        if (group->status < 0) {
            value->status = group->status;
            continue;
        }
        value->status = call->statuses[i];
        if (value->status == SHARDY_OK) {
            value->bytes.data = call->found[i].data;
            value->bytes.len = call->found[i].len;
            if (call->found[i].release) {
                /* never before its place: each group begins where the one before ends */
                owner->owned[owner->owned_count++] = call->found[i];
            }
        }
    }
    if (group->status >= 0) {
        owner->holds[owner->hold_count++] = group->request.hold;
    }
}

static shardy_status first_failure(const multi_get *call, shardy_error *err)
{
    for (uint32_t i = 0; i < call->group_count; i++) {
        const key_group *group = &call->groups[i];
        if (group->status < 0) {
            if (err) {
                *err = group->error;
            }
            return shardy__error_prefix(err, group->status, "shard %u",
                call->snapshot->manifest->shards[group->slot].db_id);
        }
    }
    return SHARDY_OK;
}

static void fill_stats(const multi_get *call, const shardy_value *values, shardy_read_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->shards = call->group_count;
    for (uint32_t i = 0; i < call->group_count; i++) {
        stats->shards_opened += (uint32_t)call->groups[i].opened;
    }
    for (size_t i = 0; i < call->count; i++) {
        stats->rows_found += values[i].status == SHARDY_OK;
        stats->rows_absent += values[i].status == SHARDY_NOT_FOUND;
    }
}

static shardy_status multi_get_into(multi_get *call, arena *scratch,
    const shardy_read_options *options, shardy_values *out, shardy_error *err)
{
    values_owner *owner = out->owner;
    size_t count = call->count;
    shardy_value *values = shardy__arena_calloc(&owner->arena, count, sizeof *values);
    call->values = values;
    call->slot_counts =
        shardy__arena_calloc(scratch, call->snapshot->slot_count, sizeof *call->slot_counts);
    if (!values || !call->slot_counts) {
        return shardy__error_nomem(err, "read");
    }
    out->values = values;
    out->count = count;
    SHARDY_TRY(route_all(call, options, err));
    SHARDY_TRY(group_keys(call, scratch, err));
    owner->holds = shardy__arena_calloc(&owner->arena, call->group_count, sizeof *owner->holds);
    owner->owned = call->found = shardy__arena_calloc(&owner->arena, count, sizeof *call->found);
    if (!owner->holds || !call->found) {
        return shardy__error_nomem(err, "read");
    }
    run_groups(call);
    for (uint32_t i = 0; i < call->group_count; i++) {
        collect_group(call, &call->groups[i], owner, values);
        out->partial |= call->groups[i].status < 0;
    }
    if (options && options->stats) {
        fill_stats(call, values, options->stats);
    }
    return options && options->allow_partial ? SHARDY_OK : first_failure(call, err);
}

shardy_status shardy__snapshot_multi_get(shardy_snapshot *s, const shardy_key *keys,
    size_t key_count, const shardy_read_options *options, shardy_values *values_out,
    shardy_error *err)
{
    if (key_count > SHARDY_MULTI_GET_MAX) {
        return shardy__error(err, SHARDY_INVALID, "read", "%zu keys in one call, the limit is %u",
            key_count, SHARDY_MULTI_GET_MAX);
    }
    values_owner *owner = shardy__calloc(1, sizeof *owner);
    if (!owner) {
        return shardy__error_nomem(err, "read");
    }
    shardy__arena_init(&owner->arena);
    values_out->owner = owner;
    multi_get call;
    memset(&call, 0, sizeof call);
    call.snapshot = s;
    call.limits = shardy__call_limits(s->core, options);
    call.asked = keys;
    arena scratch;
    shardy__arena_init(&scratch);
    shardy_status st = allocate_call(&call, &scratch, key_count, err);
    if (st >= 0) {
        st = multi_get_into(&call, &scratch, options, values_out, err);
    }
    shardy__arena_free(&scratch);
    if (st < 0) {
        shardy_values_dispose(values_out);
    }
    return st;
}
