#include "sort.h"

#include "../base/alloc.h"

#include <string.h>

/* Below this many entries, insertion sort is faster than another pass over 256 counters. */
#define SORT_SMALL 24u
enum {
    STEP_BYTES = 0,
    STEP_PLACES = 1
};

/* A bucket whose entries are equal in all bytes before `byte`. */
typedef struct sort_task {
    sort_entry *entries;
    size_t count;
    uint32_t depth; /* bytes of the key before the cached ones */
    uint8_t byte;   /* 0..3: db_id, 4..11: cached */
    uint8_t step;   /* PLACES: `cached` holds length and place of rows with equal bytes */
} sort_task;

typedef struct sort_input {
    const uint8_t *block;
    size_t key_offset;
} sort_input;

shardy_status shardy__sorter_init(sorter *s, size_t count_max, shardy_error *err)
{
    /* Tasks that wait are disjoint buckets of more than SORT_SMALL entries each. */
    s->task_room = count_max / SORT_SMALL + 2;
    s->tasks = shardy__calloc(s->task_room, sizeof *s->tasks);
    return s->tasks ? SHARDY_OK : shardy__error_nomem(err, "sort");
}

void shardy__sorter_free(sorter *s)
{
    shardy__free(s->tasks);
    s->tasks = NULL;
}

static inline const sort_row *row_at(const sort_input *in, uint32_t place)
{
    return (const sort_row *)(const void *)(in->block + (size_t)place * 8);
}

static inline const uint8_t *key_at(const sort_input *in, uint32_t place)
{
    return in->block + (size_t)place * 8 + in->key_offset;
}

/* Order of two entries that are equal up to `depth` bytes of their keys. */
static int entry_less(
    const sort_input *in, const sort_task *task, const sort_entry *a, const sort_entry *b)
{
    if (a->db_id != b->db_id) {
        return a->db_id < b->db_id;
    }
    if (a->cached != b->cached) {
        return a->cached < b->cached;
    }
    if (task->step == STEP_PLACES) {
        return 0;
    }
    size_t len_a = row_at(in, a->place)->key_len;
    size_t len_b = row_at(in, b->place)->key_len;
    size_t common = len_a < len_b ? len_a : len_b;
    size_t seen = (size_t)task->depth + 8;
    int order = common > seen ? memcmp(key_at(in, a->place) + seen, key_at(in, b->place) + seen,
                                    common - seen)
                              : 0;
    if (order) {
        return order < 0;
    }
    return len_a != len_b ? len_a < len_b : a->place < b->place;
}

static void insertion_sort(const sort_input *in, const sort_task *task)
{
    sort_entry *e = task->entries;
    for (size_t i = 1; i < task->count; i++) {
        sort_entry moving = e[i];
        size_t j = i;
        while (j > 0 && entry_less(in, task, &moving, &e[j - 1])) {
            e[j] = e[j - 1];
            j--;
        }
        e[j] = moving;
    }
}

static inline unsigned byte_of(const sort_entry *e, unsigned byte)
{
    return byte < 4 ? (e->db_id >> (24 - 8 * byte)) & 255
                    : (unsigned)(e->cached >> (56 - 8 * (byte - 4))) & 255;
}

/* Permutes entries into their buckets in place: each swap puts one entry where it belongs. */
static void permute(sort_entry *entries, unsigned byte, const size_t starts[257])
{
    size_t next[256];
    memcpy(next, starts, sizeof next);
    for (unsigned bucket = 0; bucket < 256; bucket++) {
        while (next[bucket] < starts[bucket + 1]) {
            sort_entry e = entries[next[bucket]];
            unsigned to = byte_of(&e, byte);
            while (to != bucket) {
                sort_entry swap = entries[next[to]];
                entries[next[to]++] = e;
                e = swap;
                to = byte_of(&e, byte);
            }
            entries[next[bucket]++] = e;
        }
    }
}

/* Caches the next 8 bytes of the keys of a bucket whose cached bytes are all equal. Keys that have
 * ended come first: they are prefixes of the others up to zero bytes. Among themselves they are
 * ordered by length and place. Returns how many have ended. */
static size_t cache_next(const sort_input *in, const sort_task *task)
{
    size_t seen = (size_t)task->depth + 8;
    size_t ended = 0;
    for (size_t i = 0; i < task->count; i++) {
        sort_entry *e = &task->entries[i];
        size_t len = row_at(in, e->place)->key_len;
        if (len <= seen) {
            e->cached = (uint64_t)len << 32 | e->place;
            sort_entry swap = task->entries[ended];
            task->entries[ended++] = *e;
            *e = swap;
        } else {
            e->cached = shardy__key_window(key_at(in, e->place) + seen, len - seen);
        }
    }
    return ended;
}

/* Sorts a small bucket at once, leaves a larger one on the stack. Returns the new stack height. */
static size_t push(const sort_input *in, sort_task *tasks, size_t height, sort_task task)
{
    if (task.count > SORT_SMALL) {
        tasks[height++] = task;
    } else if (task.count > 1) {
        insertion_sort(in, &task);
    }
    return height;
}

/* Splits a bucket by its next byte and puts what is left to do on the stack. */
static size_t split(const sort_input *in, sort_task *tasks, size_t height, sort_task task)
{
    if (task.byte == 12) {
        if (task.step == STEP_PLACES) {
            return height; /* lengths and places differ, so the bucket has one entry */
        }
        size_t ended = cache_next(in, &task);
        sort_task first = {task.entries, ended, 0, 4, STEP_PLACES};
        sort_task rest = {task.entries + ended, task.count - ended, task.depth + 8, 4, STEP_BYTES};
        height = push(in, tasks, height, rest);
        return push(in, tasks, height, first);
    }
    size_t starts[257] = {0};
    for (size_t i = 0; i < task.count; i++) {
        starts[byte_of(&task.entries[i], task.byte) + 1]++;
    }
    if (starts[byte_of(&task.entries[0], task.byte) + 1] == task.count) {
        task.byte++; /* all equal: nothing to move */
        return push(in, tasks, height, task);
    }
    for (unsigned i = 0; i < 256; i++) {
        starts[i + 1] += starts[i];
    }
    permute(task.entries, task.byte, starts);
    for (unsigned i = 0; i < 256; i++) {
        sort_task bucket = {task.entries + starts[i], starts[i + 1] - starts[i], task.depth,
            (uint8_t)(task.byte + 1), task.step};
        height = push(in, tasks, height, bucket);
    }
    return height;
}

void shardy__sort_rows(sorter *s, sort_entry *entries, size_t count, const uint8_t *block,
    size_t key_offset, uint32_t db_id_max)
{
    sort_input in = {block, key_offset};
    unsigned byte = 4;
    while (byte > 0 && db_id_max >> (8 * (4 - byte)) != 0) {
        byte--; /* leading bytes of the shard id that are all zero are not looked at */
    }
    sort_task all = {entries, count, 0, (uint8_t)byte, STEP_BYTES};
    size_t height = push(&in, s->tasks, 0, all);
    while (height > 0) {
        sort_task task = s->tasks[--height];
        height = split(&in, s->tasks, height, task);
    }
}
