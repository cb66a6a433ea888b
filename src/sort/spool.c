#include "spool_impl.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <string.h>

/* Records are gathered into a buffer of this size on their way to the scratch file. */
#define WRITE_BUFFER_LEN (1u << 20)
/* Entries looked ahead when records are gathered: each is a cache miss. */
#define GATHER_AHEAD 12u
/* A block holds places of 32 bits in units of 8 bytes. */
#define BLOCK_LEN_MAX (((size_t)UINT32_MAX) * 8)
/* Blocks are as small as this while there are no more than a few of them: the entries of so many
 * bytes of small rows stay in the caches while they are sorted. More of them would be more runs to
 * merge. */
#define BLOCK_LEN_SMALL (32u << 20)
#define BLOCK_COUNT_FEW 8u
/* More files at once would take descriptors and win nothing. */
#define FILES_MAX 8u

size_t shardy__spool_reader_budget(const spool *s)
{
    return (size_t)(s->config.memory_budget / 2 / s->config.threads);
}

uint64_t shardy__spool_vector_count(const spool *s, uint32_t db_id)
{
    return s->vector_counts ? s->vector_counts[db_id] : 0;
}

void shardy__spool_set_dim(spool *s, uint32_t dim)
{
    s->config.dim = dim;
}

void shardy__spool_get_stats(const spool *s, spool_stats *stats_out)
{
    *stats_out = s->stats;
    stats_out->runs = s->writing ? s->run_count : 0;
}

/* What all blocks may have. An eighth is left for work space and write buffers. */
static uint64_t share_of_blocks(uint64_t budget)
{
    return budget - budget / 8;
}

/* How a memory budget is divided into blocks: one fills while each thread sorts one. */
static size_t divide_budget(uint64_t budget, uint32_t threads, uint32_t *block_max_out)
{
    uint64_t share = share_of_blocks(budget);
    uint64_t blocks = (share + BLOCK_LEN_SMALL - 1) / BLOCK_LEN_SMALL;
    blocks = blocks < BLOCK_COUNT_FEW ? blocks : BLOCK_COUNT_FEW;
    *block_max_out = blocks > threads + 1 ? (uint32_t)blocks : threads + 1;
    uint64_t size = share / *block_max_out;
    return (size_t)(size < BLOCK_LEN_MAX ? size : BLOCK_LEN_MAX) & ~(size_t)15;
}

static void run_block_task(pool_task *task);

shardy_status shardy__spool_new(const spool_config *config, spool **spool_out, shardy_error *err)
{
    *spool_out = NULL;
    if (config->memory_budget < SHARDY_MEMORY_BUDGET_MIN) {
        return shardy__error(err, SHARDY_INVALID, "build",
            "a memory budget of %llu bytes, the least is %llu",
            (unsigned long long)config->memory_budget, SHARDY_MEMORY_BUDGET_MIN);
    }
    spool *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "spool");
    }
    s->config = *config;
    s->key_offset = sizeof(sort_row) + (config->vectors ? sizeof(uint64_t) : 0);
    s->block_size = divide_budget(config->memory_budget, config->threads, &s->block_max);
    shardy__pool_group_init(&s->group, config->pool);
    s->blocks = shardy__calloc(s->block_max, sizeof *s->blocks);
    if (config->vectors) {
        s->vector_counts = shardy__calloc(config->num_dbs, sizeof *s->vector_counts);
    }
    if (!s->blocks || (config->vectors && !s->vector_counts)) {
        shardy__spool_free(s);
        return shardy__error_nomem(err, "spool");
    }
    *spool_out = s;
    return SHARDY_OK;
}

void shardy__spool_free(spool *s)
{
    if (!s) {
        return;
    }
    shardy__pool_wait(&s->group, 0);
    for (uint32_t i = 0; s->blocks && i < s->block_count; i++) {
        shardy__free(s->blocks[i]->block.data);
        shardy__free(s->blocks[i]);
    }
    for (uint32_t i = 0; i < s->file_count; i++) {
        shardy__file_close(s->files[i].fd);
    }
    shardy__free(s->files);
    shardy__free(s->blocks);
    shardy__free(s->runs);
    shardy__free(s->vector_counts);
    shardy__free(s);
}

/* --- writing runs ----------------------------------------------------------------------------- */

/* The record stream of one run. */
typedef struct run_writer {
    const spool *spool;
    int fd;
    uint64_t at; /* in the file */
    uint8_t *buf;
    size_t len;
} run_writer;

static shardy_status run_flush(run_writer *w, shardy_error *err)
{
    SHARDY_TRY(shardy__file_write_at(w->fd, w->at, w->buf, w->len, err));
    w->at += w->len;
    w->len = 0;
    return SHARDY_OK;
}

static shardy_status run_append(run_writer *w, const void *data, size_t len, shardy_error *err)
{
    if (len > WRITE_BUFFER_LEN - w->len) {
        SHARDY_TRY(run_flush(w, err));
    }
    if (len > WRITE_BUFFER_LEN) {
        SHARDY_TRY(shardy__file_write_at(w->fd, w->at, data, len, err));
        w->at += len;
        return SHARDY_OK;
    }
    memcpy(w->buf + w->len, data, len);
    w->len += len;
    return SHARDY_OK;
}

/* Writes the records in the order of the entries and notes where each slice begins. */
static shardy_status write_records(
    run_writer *w, const block *b, uint64_t *index, shardy_error *err)
{
    const spool *s = w->spool;
    const sort_entry *entries = shardy__block_entries(b);
    uint64_t slices = (uint64_t)s->config.num_dbs * 2;
    uint64_t slice = 0;
    uint64_t done = 0;
    for (size_t i = 0; i < b->entry_count; i++) {
        if (i + GATHER_AHEAD < b->entry_count) {
            __builtin_prefetch(b->data + (size_t)entries[i + GATHER_AHEAD].place * 8);
            __builtin_prefetch(b->data + (size_t)entries[i + GATHER_AHEAD].place * 8 + 64);
        }
        int is_vector = (entries[i].db_id & BLOCK_VECTOR_BIT) != 0;
        uint64_t of =
            (uint64_t)(entries[i].db_id & ~BLOCK_VECTOR_BIT) + (is_vector ? s->config.num_dbs : 0);
        while (slice <= of) {
            index[slice++] = done;
        }
        const uint8_t *record = b->data + (size_t)entries[i].place * 8;
        size_t len = shardy__block_record_len(record, is_vector, s->key_offset, s->config.dim);
        SHARDY_TRY(run_append(w, record, len, err));
        done += len;
    }
    while (slice <= slices) {
        index[slice++] = done;
    }
    return SHARDY_OK;
}

static shardy_status write_run(
    const spool *s, const block *b, const spool_run *run, shardy_error *err)
{
    size_t index_len = ((size_t)s->config.num_dbs * 2 + 1) * sizeof(uint64_t);
    run_writer w = {s, run->fd, run->offset, shardy__malloc(WRITE_BUFFER_LEN), 0};
    uint64_t *index = shardy__malloc(index_len);
    shardy_status st = w.buf && index ? SHARDY_OK : shardy__error_nomem(err, "spool");
    if (st >= 0) {
        st = write_records(&w, b, index, err);
    }
    if (st >= 0) {
        st = run_append(&w, index, index_len, err);
    }
    if (st >= 0) {
        st = run_flush(&w, err);
    }
    shardy__free(index);
    shardy__free(w.buf);
    shardy__count(s->config.context, SHARDY_METRIC_RUNS_SPILLED, 1);
    return st < 0 ? shardy__error_prefix(err, st, "scratch \"%.300s\"", s->config.scratch_dir) : st;
}

static shardy_status sort_block(const spool *s, block *b, shardy_error *err)
{
    sorter work;
    SHARDY_TRY(shardy__sorter_init(&work, b->entry_count, err));
    uint32_t db_id_max = (s->config.num_dbs - 1) | (s->config.vectors ? BLOCK_VECTOR_BIT : 0);
    shardy__sort_rows(
        &work, shardy__block_entries(b), b->entry_count, b->data, s->key_offset, db_id_max);
    shardy__sorter_free(&work);
    b->sorted = 1;
    return SHARDY_OK;
}

/* Runs on a worker, or on the adding thread while it waits. */
static void run_block_task(pool_task *task)
{
    spool_block *sb = (spool_block *)(void *)task;
    spool *s = sb->spool;
    sb->status = SHARDY_OK;
    if (!sb->block.sorted) {
        sb->status = sort_block(s, &sb->block, &sb->error);
    }
    if (sb->status >= 0 && sb->write_it) {
        sb->status = write_run(s, &sb->block, &s->runs[sb->block.number], &sb->error);
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */

static shardy_status open_scratch(spool *s, shardy_error *err)
{
    uint32_t wanted = s->config.threads < FILES_MAX ? s->config.threads : FILES_MAX;
    s->files = shardy__calloc(wanted, sizeof *s->files);
    if (!s->files) {
        return shardy__error_nomem(err, "spool");
    }
    while (s->file_count < wanted) {
        SHARDY_TRY(
            shardy__file_open_unnamed(s->config.scratch_dir, &s->files[s->file_count].fd, err));
        s->file_count++;
    }
    return SHARDY_OK;
}

/* Better to stop now than to fill the disk for others first. */
static shardy_status check_disk(const spool *s, uint64_t wanted, shardy_error *err)
{
    uint64_t free_bytes = shardy__disk_free(s->config.scratch_dir);
    if (free_bytes >= wanted) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_NO_SPACE, "spool",
        "the scratch directory \"%.300s\" has %llu bytes left, %llu more are needed",
        s->config.scratch_dir, (unsigned long long)free_bytes, (unsigned long long)wanted);
}

/* Gives a block its place in a scratch file. The order of the numbers is the order of adding. */
static shardy_status reserve_run(spool *s, spool_block *sb, shardy_error *err)
{
    block *b = &sb->block;
    uint64_t len = b->used + ((uint64_t)s->config.num_dbs * 2 + 1) * sizeof(uint64_t);
    SHARDY_TRY(check_disk(s, len, err));
    if (s->run_count == s->run_room) {
        uint32_t room = s->run_room ? s->run_room * 2 : 64;
        /* Tasks read s->runs: nobody may be at work while it moves. */
        shardy__pool_wait(&s->group, 0);
        spool_run *runs = shardy__realloc(s->runs, room * sizeof *runs);
        if (!runs) {
            return shardy__error_nomem(err, "spool");
        }
        s->runs = runs;
        s->run_room = room;
    }
    b->number = s->run_count++;
    spool_run *run = &s->runs[b->number];
    spool_file *file = &s->files[b->number % s->file_count];
    run->fd = file->fd;
    run->offset = file->len;
    run->records_len = b->used;
    run->front_max = sb->front_max;
    file->len += len;
    return SHARDY_OK;
}

static void submit(spool *s, spool_block *sb)
{
    sb->write_it = s->writing;
    sb->busy = 1;
    sb->task.run = run_block_task;
    shardy__pool_submit(&s->group, &sb->task);
}

/* The first failure of a finished task, if any. Call only when no task is at work. */
static shardy_status collect(spool *s, shardy_error *err)
{
    for (uint32_t i = 0; i < s->block_count; i++) {
        spool_block *sb = s->blocks[i];
        if (sb->busy && sb->status < 0) {
            if (err) {
                *err = sb->error;
            }
            return sb->status;
        }
    }
    return SHARDY_OK;
}

/* From now on full blocks are written; those that are sorted already are the first runs. */
static shardy_status begin_writing(spool *s, shardy_error *err)
{
    shardy__pool_wait(&s->group, 0);
    SHARDY_TRY(collect(s, err));
    SHARDY_TRY(open_scratch(s, err));
    s->writing = 1;
    for (uint32_t i = 0; i < s->block_count; i++) {
        spool_block *sb = s->blocks[i];
        if (sb != s->current) {
            SHARDY_TRY(reserve_run(s, sb, err));
        }
    }
    for (uint32_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i] != s->current) {
            submit(s, s->blocks[i]);
        }
    }
    return SHARDY_OK;
}

static shardy_status new_block(spool *s, shardy_error *err)
{
    spool_block *sb = shardy__calloc(1, sizeof *sb);
    uint8_t *data = shardy__large_alloc(s->block_size);
    if (!sb || !data) {
        shardy__free(data);
        shardy__free(sb);
        return shardy__error_nomem(err, "spool");
    }
    sb->spool = s;
    sb->block.data = data;
    sb->block.size = s->block_size;
    s->held += s->block_size;
    s->blocks[s->block_count++] = sb;
    s->current = sb;
    return SHARDY_OK;
}

/* Waits until the block that was submitted first has been written and takes it. */
static shardy_status reuse_block(spool *s, shardy_error *err)
{
    spool_block *oldest = s->blocks[0];
    for (uint32_t i = 1; i < s->block_count; i++) {
        spool_block *sb = s->blocks[i];
        if (sb->block.number < oldest->block.number) {
            oldest = sb;
        }
    }
    shardy__pool_wait_task(&s->group, &oldest->task);
    if (oldest->status < 0) {
        if (err) {
            *err = oldest->error;
        }
        return oldest->status;
    }
    oldest->busy = 0;
    oldest->block.used = 0;
    oldest->block.entry_count = 0;
    oldest->block.sorted = 0;
    oldest->front_max = 0;
    s->current = oldest;
    return SHARDY_OK;
}

/* The current block is full: sorts it (and writes it) in the background and makes another one
 * current. */
static shardy_status rotate(spool *s, shardy_error *err)
{
    SHARDY_TRY(shardy__check_time(s->config.context, 0, s->config.cancel, "build", err));
    int has_room = s->block_count < s->block_max &&
                   s->held + s->block_size <= share_of_blocks(s->config.memory_budget);
    if (!s->writing && !has_room) {
        SHARDY_TRY(begin_writing(s, err));
    }
    if (s->writing) {
        SHARDY_TRY(reserve_run(s, s->current, err));
    } else {
        s->current->block.number = s->block_count - 1;
    }
    submit(s, s->current);
    s->current = NULL;
    return has_room ? new_block(s, err) : reuse_block(s, err);
}

/* Writes all blocks but the current one and frees their bytes; they are made anew when it is their
 * turn again. */
static shardy_status make_way(spool *s, shardy_error *err)
{
    if (!s->writing) {
        SHARDY_TRY(begin_writing(s, err));
    }
    shardy__pool_wait(&s->group, 0);
    SHARDY_TRY(collect(s, err));
    for (uint32_t i = 0; i < s->block_count; i++) {
        block *b = &s->blocks[i]->block;
        if (s->blocks[i] != s->current) {
            shardy__free(b->data);
            s->held -= b->size;
            b->data = NULL;
            b->size = 0;
        }
    }
    return SHARDY_OK;
}

/* A block that has room for `need` bytes; larger than usual for a single large row, which is then
 * alone in memory if the budget wants that. */
static shardy_status make_room(spool *s, size_t need, shardy_error *err)
{
    if (!s->current) {
        SHARDY_TRY(new_block(s, err));
    } else if (s->current->block.entry_count > 0) {
        SHARDY_TRY(rotate(s, err));
    }
    block *b = &s->current->block;
    size_t size = need > s->block_size ? (need + 15) & ~(size_t)15 : s->block_size;
    if (size == b->size) {
        return SHARDY_OK;
    }
    if (size > BLOCK_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "build", "a row of %zu bytes is too long", need);
    }
    if (s->held - b->size + size > share_of_blocks(s->config.memory_budget)) {
        SHARDY_TRY(make_way(s, err));
    }
    uint8_t *data = shardy__large_alloc(size);
    if (!data) {
        return shardy__error_nomem(err, "spool");
    }
    shardy__free(b->data);
    s->held += size - b->size;
    b->data = data;
    b->size = size;
    return SHARDY_OK;
}

/* --- adding ----------------------------------------------------------------------------------- */

static void add_entry(block *b, uint32_t db_id, uint64_t cached, size_t len)
{
    b->entry_count++;
    sort_entry *e = shardy__block_entries(b);
    e->cached = cached;
    e->db_id = db_id;
    e->place = (uint32_t)(b->used / 8);
    b->used += len;
}

static void add_vector(spool *s, const spool_row *row, size_t len)
{
    block *b = &s->current->block;
    block_vector v = {0};
    v.number = s->vector_counts[row->db_id]++;
    v.id_type = row->id->type;
    v.id_int = row->id->i;
    v.id_len = row->id->type == SHARDY_KEY_INT ? 0 : (uint32_t)row->id->bytes.len;
    v.payload_len = row->has_payload ? (uint32_t)row->payload.len : 0;
    v.has_payload = row->has_payload;
    uint8_t *p = b->data + b->used;
    memcpy(p, &v, sizeof v);
    p += sizeof v;
    memcpy(p, row->vector, (size_t)s->config.dim * 4);
    p += (size_t)s->config.dim * 4;
    if (v.id_len) {
        memcpy(p, row->id->bytes.data, v.id_len);
    }
    if (v.payload_len) {
        memcpy(p + v.id_len, row->payload.data, v.payload_len);
    }
    add_entry(b, row->db_id | BLOCK_VECTOR_BIT, b->used / 8, len);
}

static void add_row(spool *s, const spool_row *row, size_t len)
{
    block *b = &s->current->block;
    uint8_t *p = b->data + b->used;
    sort_row head = {(uint32_t)row->key.len, (uint32_t)row->value.len};
    memcpy(p, &head, sizeof head);
    if (s->config.vectors) {
        uint64_t vector = row->vector && row->id_is_key ? s->vector_counts[row->db_id] + 1 : 0;
        memcpy(p + sizeof head, &vector, sizeof vector);
    }
    if (row->key.len) {
        memcpy(p + s->key_offset, row->key.data, row->key.len);
    }
    if (row->value.len) {
        memcpy(p + s->key_offset + row->key.len, row->value.data, row->value.len);
    }
    add_entry(b, row->db_id, shardy__key_window(row->key.data, row->key.len), len);
}

shardy_status shardy__spool_add(spool *s, const spool_row *row, shardy_error *err)
{
    size_t row_len = shardy__block_row_len(s->key_offset, row->key.len, row->value.len);
    size_t vector_len = 0;
    if (row->vector) {
        vector_len = shardy__block_vector_len(s->config.dim,
            row->id->type == SHARDY_KEY_INT ? 0 : row->id->bytes.len,
            row->has_payload ? row->payload.len : 0);
    }
    size_t need = row_len + vector_len + 2 * sizeof(sort_entry);
    block *b = s->current ? &s->current->block : NULL;
    if (!b || need > b->size - b->used - b->entry_count * sizeof(sort_entry)) {
        SHARDY_TRY(make_room(s, need, err));
    }
    add_row(s, row, row_len);
    size_t front = s->key_offset + row->key.len;
    s->current->front_max = front > s->current->front_max ? front : s->current->front_max;
    if (row->vector) {
        add_vector(s, row, vector_len);
    }
    s->stats.rows++;
    s->stats.bytes += row_len + vector_len;
    return SHARDY_OK;
}

/* Frees the memory of the blocks: their rows are in the scratch file now. */
static void free_blocks(spool *s)
{
    for (uint32_t i = 0; i < s->block_count; i++) {
        shardy__free(s->blocks[i]->block.data);
        shardy__free(s->blocks[i]);
    }
    s->block_count = 0;
    s->held = 0;
    s->current = NULL;
}

/* Each reader of a shard merges its slices of all runs, through a buffer for each, which holds a
 * row without its value, and all readers together have half of the budget. */
static uint64_t buffers_min(const spool *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->run_count; i++) {
        size_t front = s->runs[i].front_max;
        sum += front > SPOOL_BUFFER_LEN_MIN ? front : SPOOL_BUFFER_LEN_MIN;
    }
    return sum;
}

static uint64_t runs_max(const spool *s, uint64_t budget, uint64_t buffer_min)
{
    return budget / (2 * buffer_min * s->config.threads);
}

/* A greater budget has room for more buffers and makes larger runs, which are fewer. */
static shardy_status check_fan_in(const spool *s, shardy_error *err)
{
    uint64_t budget = s->config.memory_budget;
    uint64_t least = buffers_min(s);
    if (least <= shardy__spool_reader_budget(s)) {
        return SHARDY_OK;
    }
    uint64_t each = least / s->run_count + 1; /* as if the rows were spread evenly */
    uint64_t spilled = (uint64_t)s->run_count * s->block_size;
    uint64_t runs;
    do {
        uint32_t block_max;
        budget = (budget & ~(uint64_t)0xfffff) + (1u << 20);
        runs = spilled / divide_budget(budget, s->config.threads, &block_max) + 1;
    } while (runs > runs_max(s, budget, each));
    return shardy__error(err, SHARDY_EXHAUSTED, "build",
        "a memory budget of %llu bytes is too small to merge %u sorted runs on %u threads: the "
        "least is %llu MiB, or use fewer threads",
        (unsigned long long)s->config.memory_budget, s->run_count, s->config.threads,
        (unsigned long long)(budget >> 20));
}

shardy_status shardy__spool_seal(spool *s, shardy_error *err)
{
    s->sealed = 1;
    if (s->current) {
        if (s->writing) {
            SHARDY_TRY(reserve_run(s, s->current, err));
        } else {
            s->current->block.number = s->block_count - 1;
        }
        submit(s, s->current);
        s->current = NULL;
    }
    shardy__pool_wait(&s->group, 0);
    SHARDY_TRY(collect(s, err));
    if (s->writing) {
        SHARDY_TRY(check_fan_in(s, err));
        free_blocks(s);
    }
    return SHARDY_OK;
}
