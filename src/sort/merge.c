/* merge.c: reading one shard out of the sorted blocks or runs of a spool. */
#include "spool_impl.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"

#include <string.h>

#define BATCH_ROWS 256u
/* Rows looked ahead in each block that is merged, where each row is a cache miss; fewer than
 * spool.c looks ahead, because more is done with each. Their first lines are asked for: rows with
 * values of about a hundred bytes lie within three. */
#define MERGE_AHEAD 8u
#define MERGE_LINES 3u
/* Smaller parts of a scratch file are not worth a call to give them back. */
#define DISCARD_LEN_MIN (64u << 10)
/* Larger buffers save calls that cost little already, and leave the cache. */
#define BUFFER_LEN_MAX (256u << 10)

/* A part of a run, read in order through a buffer. */
typedef struct slice_reader {
    int fd;
    uint64_t pos; /* in the file, of what is not in the buffer yet */
    uint64_t end;
    uint8_t *buf;
    size_t buf_size;
    size_t buf_len;
    size_t buf_pos;
    size_t ahead; /* bytes to read at once: little where values are not read here */
} slice_reader;

/* One sorted input of a merge: the rows of the shard in one block or run. `key` and so on are those
 * of its first row that was not taken. Where a row is longer than the buffer its value stays in the
 * file until the row is given out: of each run only a key is in memory then. */
typedef struct row_input {
    uint64_t prefix;
    const uint8_t *key;
    const uint8_t *value;
    uint64_t value_at; /* in the file; 0: it is at `value` */
    uint32_t key_len;
    uint32_t value_len;
    uint64_t vector; /* number + 1 of the vector that goes with the row; 0: none */
    int32_t ended;
    int32_t stalled;    /* the next row is not in the buffer */
    const block *block; /* NULL: `slice` */
    size_t entry;
    size_t entry_end;
    slice_reader slice;
} row_input;

/* A value that is still in the file. */
typedef struct value_place {
    uint64_t at; /* 0: it is in memory */
    int fd;
} value_place;

struct spool_rows {
    spool *spool;
    row_input *inputs; /* in the order in which their rows were added */
    uint32_t input_count;
    uint32_t *losers; /* tournament tree: [0] the winner, [1..] the losers of each match */
    int32_t started;
    uint32_t stalled; /* input that waits for a refill, or input_count */
    shardy_bytes keys[BATCH_ROWS];
    shardy_bytes values[BATCH_ROWS];
    value_place places[BATCH_ROWS];
    uint64_t vectors[BATCH_ROWS];
    size_t count;
    uint8_t *loaded; /* a value of the batch that was in the file */
    size_t loaded_room;
    /* The last row of the batch before, which the first of this one may replace. */
    int32_t has_held;
    uint32_t held_turn; /* two copies in turn: the batch given out last may still name the other */
    uint8_t *held[2];
    size_t held_room[2];
    size_t held_key_len;
    size_t held_value_len;
    value_place held_place;
    uint64_t held_vector;
    uint64_t *dead;
    uint64_t dead_count;
};

/* --- slices of runs --------------------------------------------------------------------------- */

static shardy_status slice_open(
    slice_reader *r, const spool_run *run, uint64_t index, size_t buf_size, shardy_error *err)
{
    uint64_t bounds[2];
    uint64_t at = run->offset + run->records_len + index * 8;
    SHARDY_TRY(shardy__file_read_at(run->fd, at, bounds, sizeof bounds, err));
    if (bounds[0] > bounds[1] || bounds[1] > run->records_len) {
        return shardy__error(err, SHARDY_CORRUPT, "spool", "a scratch file was changed");
    }
    r->fd = run->fd;
    r->pos = run->offset + bounds[0];
    r->end = run->offset + bounds[1];
    uint64_t len = r->end - r->pos;
    r->buf_size = len < buf_size ? (size_t)len : buf_size;
    r->ahead = r->buf_size;
    if (r->buf_size > 0) {
        r->buf = shardy__malloc(r->buf_size);
        if (!r->buf) {
            return shardy__error_nomem(err, "spool");
        }
    }
    return SHARDY_OK;
}

/* Makes at least `need` bytes contiguous in the buffer. */
static shardy_status slice_fill(slice_reader *r, size_t need, shardy_error *err)
{
    size_t left = r->buf_len - r->buf_pos;
    if (left) {
        memmove(r->buf, r->buf + r->buf_pos, left);
    }
    r->buf_len = left;
    r->buf_pos = 0;
    uint64_t unread = r->end - r->pos;
    if (left + unread < need) {
        return shardy__error(err, SHARDY_CORRUPT, "spool", "a scratch file was changed");
    }
    if (need > r->buf_size) {
        uint8_t *bigger = shardy__realloc(r->buf, need);
        if (!bigger) {
            return shardy__error_nomem(err, "spool");
        }
        r->buf = bigger;
        r->buf_size = need;
    }
    size_t wanted = r->ahead < need ? need : r->ahead;
    size_t n = (wanted < r->buf_size ? wanted : r->buf_size) - left;
    n = unread < n ? (size_t)unread : n;
    SHARDY_TRY(shardy__file_read_at(r->fd, r->pos, r->buf + left, n, err));
    r->pos += n;
    r->buf_len += n;
    return SHARDY_OK;
}

/* The next record if all of it is in the buffer, or, of a row that is longer than the buffer, all
 * but its value; else NULL with the bytes it needs (0: the slice has ended). */
static inline const uint8_t *slice_peek(slice_reader *r, int is_vector, size_t key_offset,
    uint32_t dim, size_t *need_out, uint64_t *len_out)
{
    size_t left = r->buf_len - r->buf_pos;
    size_t header = is_vector ? sizeof(block_vector) : sizeof(sort_row);
    *len_out = 0;
    if (left == 0 && r->pos == r->end) {
        *need_out = 0;
        return NULL;
    }
    *need_out = header;
    if (left < header) {
        return NULL;
    }
    const uint8_t *record = r->buf + r->buf_pos;
    *need_out = shardy__block_record_len(record, is_vector, key_offset, dim);
    *len_out = *need_out;
    if (!is_vector && *len_out > r->buf_size && *len_out <= left + (r->end - r->pos)) {
        sort_row row;
        memcpy(&row, record, sizeof row);
        *need_out = key_offset + row.key_len;
    }
    return left < *need_out ? NULL : record;
}

/* Goes over bytes, of which not all need to be in the buffer. */
static inline void slice_skip(slice_reader *r, uint64_t len)
{
    size_t left = r->buf_len - r->buf_pos;
    if (len <= left) {
        r->buf_pos += (size_t)len;
        r->ahead = r->buf_size;
    } else {
        r->pos += len - left;
        r->buf_pos = r->buf_len;
        r->ahead = SPOOL_BUFFER_LEN_MIN;
    }
}

/* Makes the next record, as slice_peek() gives it, be in the buffer. */
static shardy_status slice_load(
    slice_reader *r, int is_vector, size_t key_offset, uint32_t dim, shardy_error *err)
{
    size_t need = 0;
    uint64_t len;
    while (!slice_peek(r, is_vector, key_offset, dim, &need, &len) && need > 0) {
        SHARDY_TRY(slice_fill(r, need, err));
    }
    return SHARDY_OK;
}

/* --- inputs ----------------------------------------------------------------------------------- */

static inline void input_set_row(row_input *in, const uint8_t *record, size_t key_offset)
{
    sort_row row;
    memcpy(&row, record, sizeof row);
    in->vector = 0;
    if (key_offset > sizeof row) {
        memcpy(&in->vector, record + sizeof row, sizeof in->vector);
    }
    in->key = record + key_offset;
    in->key_len = row.key_len;
    in->value = in->key + row.key_len;
    in->value_len = row.value_len;
    in->value_at = 0;
    in->prefix = shardy__key_window(in->key, in->key_len);
}

/* Takes the next row out of the buffer of a run; 0 when it is not there. */
static inline int input_take(row_input *in, size_t key_offset, size_t *need_out)
{
    slice_reader *r = &in->slice;
    uint64_t len;
    const uint8_t *record = slice_peek(r, 0, key_offset, 0, need_out, &len);
    if (!record) {
        return 0;
    }
    input_set_row(in, record, key_offset);
    if (len > *need_out) {
        in->value_at = r->pos - (r->buf_len - r->buf_pos) + *need_out;
    }
    slice_skip(r, len);
    return 1;
}

/* Goes on to the next row if it is at hand; otherwise sets `stalled`. */
static void input_advance(row_input *in, size_t key_offset)
{
    if (in->block) {
        if (in->entry == in->entry_end) {
            in->ended = 1;
            return;
        }
        const sort_entry *entries = shardy__block_entries(in->block);
        if (in->entry + MERGE_AHEAD < in->entry_end) {
            const sort_entry *later = &entries[in->entry + MERGE_AHEAD];
            const uint8_t *ahead = in->block->data + (size_t)later->place * 8;
            for (size_t i = 0; i < MERGE_LINES; i++) {
                __builtin_prefetch(ahead + 64 * i);
            }
        }
        input_set_row(in, in->block->data + (size_t)entries[in->entry++].place * 8, key_offset);
        return;
    }
    size_t need = 0;
    if (!input_take(in, key_offset, &need)) {
        in->ended = need == 0;
        in->stalled = need > 0;
    }
}

/* Refills a stalled input: nobody may use rows of it any more. */
static shardy_status input_refill(row_input *in, size_t key_offset, shardy_error *err)
{
    size_t need;
    SHARDY_TRY(slice_load(&in->slice, 0, key_offset, 0, err));
    in->stalled = 0;
    in->ended = !input_take(in, key_offset, &need);
    return SHARDY_OK;
}

/* --- the tournament --------------------------------------------------------------------------- */

/* Whether the row of input a comes before that of input b; of equal keys the one that was added
 * first. */
static int comes_before(const row_input *inputs, uint32_t a, uint32_t b)
{
    const row_input *x = &inputs[a];
    const row_input *y = &inputs[b];
    if (x->ended || y->ended) {
        return !x->ended || (y->ended && a < b);
    }
    if (x->prefix != y->prefix) {
        return x->prefix < y->prefix;
    }
    uint32_t common = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = common > 8 ? memcmp(x->key + 8, y->key + 8, common - 8) : 0;
    if (order) {
        return order < 0;
    }
    return x->key_len != y->key_len ? x->key_len < y->key_len : a < b;
}

/* Plays the matches on the way from a leaf to the root. */
static void replay(spool_rows *rows, uint32_t input)
{
    uint32_t winner = input;
    for (uint32_t node = (input + rows->input_count) / 2; node > 0; node /= 2) {
        if (comes_before(rows->inputs, rows->losers[node], winner)) {
            uint32_t loser = winner;
            winner = rows->losers[node];
            rows->losers[node] = loser;
        }
    }
    rows->losers[0] = winner;
}

/* Plays all matches. Node n has the children 2n and 2n + 1; leaf i is node input_count + i. */
static shardy_status play_all(spool_rows *rows, shardy_error *err)
{
    uint32_t n = rows->input_count;
    uint32_t *winners = shardy__calloc((size_t)n * 2, sizeof *winners);
    if (!winners) {
        return shardy__error_nomem(err, "spool");
    }
    for (uint32_t i = 0; i < n; i++) {
        winners[n + i] = i;
    }
    for (uint32_t node = n - 1; node > 0; node--) {
        uint32_t a = winners[2 * node];
        uint32_t b = winners[2 * node + 1];
        int first = comes_before(rows->inputs, a, b);
        winners[node] = first ? a : b;
        rows->losers[node] = first ? b : a;
    }
    rows->losers[0] = n > 1 ? winners[1] : 0;
    shardy__free(winners);
    return SHARDY_OK;
}

/* --- rows ------------------------------------------------------------------------------------- */

static shardy_status open_input(
    spool_rows *rows, row_input *in, uint32_t number, uint32_t db_id, shardy_error *err)
{
    const spool *s = rows->spool;
    if (!s->writing) {
        in->block = &s->blocks[number]->block;
        in->entry = shardy__block_find(in->block, db_id);
        in->entry_end = shardy__block_find(in->block, db_id + 1);
        return SHARDY_OK;
    }
    size_t share = shardy__spool_reader_budget(s) / rows->input_count;
    share = share < SPOOL_BUFFER_LEN_MIN ? SPOOL_BUFFER_LEN_MIN : share;
    share = share > BUFFER_LEN_MAX ? BUFFER_LEN_MAX : share;
    return slice_open(&in->slice, &s->runs[number], db_id, share, err);
}

shardy_status shardy__spool_rows_open(
    spool *s, uint32_t db_id, spool_rows **rows_out, shardy_error *err)
{
    *rows_out = NULL;
    spool_rows *rows = shardy__calloc(1, sizeof *rows);
    if (!rows) {
        return shardy__error_nomem(err, "spool");
    }
    shardy_status st = SHARDY_OK;
    rows->spool = s;
    rows->input_count = s->writing ? s->run_count : s->block_count;
    rows->stalled = rows->input_count;
    rows->inputs = shardy__calloc(rows->input_count, sizeof *rows->inputs);
    rows->losers = shardy__calloc(rows->input_count, sizeof *rows->losers);
    if (!rows->inputs || !rows->losers) {
        st = shardy__error_nomem(err, "spool");
    }
    uint64_t vectors = shardy__spool_vector_count(s, db_id);
    if (st >= 0 && vectors > 0) {
        rows->dead = shardy__calloc((size_t)(vectors / 64 + 1), sizeof *rows->dead);
        st = rows->dead ? SHARDY_OK : shardy__error_nomem(err, "spool");
    }
    for (uint32_t i = 0; st >= 0 && i < rows->input_count; i++) {
        st = open_input(rows, &rows->inputs[i], i, db_id, err);
    }
    if (st < 0) {
        shardy__spool_rows_close(rows);
        return st;
    }
    *rows_out = rows;
    return SHARDY_OK;
}

void shardy__spool_rows_close(spool_rows *rows)
{
    if (!rows) {
        return;
    }
    for (uint32_t i = 0; rows->inputs && i < rows->input_count; i++) {
        shardy__free(rows->inputs[i].slice.buf);
    }
    shardy__free(rows->inputs);
    shardy__free(rows->losers);
    shardy__free(rows->held[0]);
    shardy__free(rows->held[1]);
    shardy__free(rows->loaded);
    shardy__free(rows->dead);
    shardy__free(rows);
}

void shardy__spool_shard_done(spool *s, uint32_t db_id)
{
    for (uint32_t i = 0; s->writing && i < s->run_count; i++) {
        const spool_run *run = &s->runs[i];
        const uint64_t slices[2] = {db_id, (uint64_t)s->config.num_dbs + db_id};
        for (int k = 0; k < 2; k++) {
            uint64_t bounds[2];
            uint64_t at = run->offset + run->records_len + slices[k] * 8;
            if (shardy__file_read_at(run->fd, at, bounds, sizeof bounds, NULL) >= 0 &&
                bounds[1] <= run->records_len && bounds[1] - bounds[0] >= DISCARD_LEN_MIN) {
                shardy__file_discard(run->fd, run->offset + bounds[0], bounds[1] - bounds[0]);
            }
        }
    }
}

static void mark_dead(spool_rows *rows, uint64_t vector)
{
    if (vector == 0) {
        return;
    }
    uint64_t number = vector - 1;
    rows->dead[number / 64] |= 1ull << (number % 64);
    rows->dead_count++;
}

/* Adds the row of an input to the batch, or puts it in the place of the last one when the keys are
 * equal. */
static void take_row(spool_rows *rows, const row_input *in)
{
    if (rows->count > 0) {
        size_t last = rows->count - 1;
        if (rows->keys[last].len == in->key_len &&
            memcmp(rows->keys[last].data, in->key, in->key_len) == 0) {
            mark_dead(rows, rows->vectors[last]);
            rows->count--;
        }
    }
    size_t i = rows->count++;
    rows->keys[i].data = in->key;
    rows->keys[i].len = in->key_len;
    rows->values[i].data = in->value;
    rows->values[i].len = in->value_len;
    rows->places[i].at = in->value_at;
    rows->places[i].fd = in->slice.fd;
    rows->vectors[i] = in->vector;
}

/* Copies the last row of a batch, which is not given out yet; not a value that is in the file. */
static shardy_status hold_last(spool_rows *rows, shardy_error *err)
{
    size_t last = --rows->count;
    uint32_t turn = rows->held_turn ^ 1;
    size_t key_len = rows->keys[last].len;
    size_t copied_len = rows->places[last].at ? 0 : rows->values[last].len;
    if (key_len + copied_len > rows->held_room[turn]) {
        uint8_t *bigger = shardy__realloc(rows->held[turn], key_len + copied_len);
        if (!bigger) {
            return shardy__error_nomem(err, "spool");
        }
        rows->held[turn] = bigger;
        rows->held_room[turn] = key_len + copied_len;
    }
    if (key_len) {
        memcpy(rows->held[turn], rows->keys[last].data, key_len);
    }
    if (copied_len) {
        memcpy(rows->held[turn] + key_len, rows->values[last].data, copied_len);
    }
    rows->held_turn = turn;
    rows->held_key_len = key_len;
    rows->held_value_len = rows->values[last].len;
    rows->held_place = rows->places[last];
    rows->held_vector = rows->vectors[last];
    rows->has_held = 1;
    return SHARDY_OK;
}

static void begin_with_held(spool_rows *rows)
{
    rows->count = 0;
    if (rows->has_held) {
        const uint8_t *held = rows->held[rows->held_turn];
        held = held ? held : (const uint8_t *)""; /* no byte was to be copied so far */
        rows->keys[0] = shardy__bytes(held, rows->held_key_len);
        rows->values[0] = shardy__bytes(held + rows->held_key_len, rows->held_value_len);
        rows->places[0] = rows->held_place;
        rows->vectors[0] = rows->held_vector;
        rows->count = 1;
        rows->has_held = 0;
    }
}

static shardy_status start(spool_rows *rows, shardy_error *err)
{
    size_t key_offset = rows->spool->key_offset;
    for (uint32_t i = 0; i < rows->input_count; i++) {
        input_advance(&rows->inputs[i], key_offset);
        if (rows->inputs[i].stalled) {
            SHARDY_TRY(input_refill(&rows->inputs[i], key_offset, err));
        }
    }
    rows->started = 1;
    return rows->input_count ? play_all(rows, err) : SHARDY_OK;
}

/* Fills the batch until it is full, an input stalls, all have ended, or the value of a row is to be
 * loaded: then it is the last one. */
static void fill_batch(spool_rows *rows)
{
    size_t key_offset = rows->spool->key_offset;
    while (rows->count < BATCH_ROWS) {
        uint32_t winner = rows->losers[0];
        row_input *in = &rows->inputs[winner];
        if (in->ended) {
            return;
        }
        take_row(rows, in);
        int is_large = in->value_at != 0;
        input_advance(in, key_offset);
        if (in->stalled) {
            rows->stalled = winner;
            return;
        }
        replay(rows, winner);
        if (is_large) {
            return;
        }
    }
}

/* The row that was held and the last one: only one such value is loaded at a time. */
static int has_two_large(const spool_rows *rows)
{
    return rows->count > 1 && rows->places[0].at && rows->places[rows->count - 1].at;
}

/* Reads the value of the batch that is still in the file: of the row that was held, or the last. */
static shardy_status load_value(spool_rows *rows, shardy_error *err)
{
    size_t i = rows->count - 1;
    i = rows->places[0].at ? 0 : i;
    if (!rows->places[i].at) {
        return SHARDY_OK;
    }
    size_t len = rows->values[i].len;
    if (len > rows->loaded_room) {
        shardy__free(rows->loaded);
        rows->loaded_room = 0;
        rows->loaded = shardy__malloc(len);
        if (!rows->loaded) {
            return shardy__error_nomem(err, "spool");
        }
        rows->loaded_room = len;
    }
    rows->values[i].data = rows->loaded;
    return shardy__file_read_at(rows->places[i].fd, rows->places[i].at, rows->loaded, len, err);
}

shardy_status shardy__spool_rows_next(spool_rows *rows, spool_batch *batch_out, shardy_error *err)
{
    memset(batch_out, 0, sizeof *batch_out);
    if (!rows->started) {
        SHARDY_TRY(start(rows, err));
    }
    for (;;) {
        begin_with_held(rows);
        if (rows->stalled < rows->input_count) {
            SHARDY_TRY(input_refill(&rows->inputs[rows->stalled], rows->spool->key_offset, err));
            replay(rows, rows->stalled);
            rows->stalled = rows->input_count;
        }
        if (rows->input_count > 0) {
            fill_batch(rows);
        }
        int ended = rows->input_count == 0 ||
                    (rows->stalled == rows->input_count && rows->inputs[rows->losers[0]].ended);
        if (!ended || has_two_large(rows)) {
            SHARDY_TRY(hold_last(rows, err));
        }
        if (rows->count > 0 || ended) { /* what is held comes with the next call */
            SHARDY_TRY(rows->count > 0 ? load_value(rows, err) : SHARDY_OK);
            batch_out->count = rows->count;
            batch_out->keys = rows->keys;
            batch_out->values = rows->values;
            return rows->count > 0 ? SHARDY_OK : SHARDY_DONE;
        }
    }
}

const uint64_t *shardy__spool_rows_dead(const spool_rows *rows, uint64_t *dead_count_out)
{
    *dead_count_out = rows->dead_count;
    return rows->dead_count ? rows->dead : NULL;
}

/* --- vectors ---------------------------------------------------------------------------------- */

struct spool_vectors {
    spool *spool;
    uint32_t db_id;
    uint32_t number; /* of the block or run */
    int32_t is_open;
    size_t entry;
    size_t entry_end;
    slice_reader slice;
};

shardy_status shardy__spool_vectors_open(
    spool *s, uint32_t db_id, spool_vectors **vectors_out, shardy_error *err)
{
    *vectors_out = shardy__calloc(1, sizeof **vectors_out);
    if (!*vectors_out) {
        return shardy__error_nomem(err, "spool");
    }
    (*vectors_out)->spool = s;
    (*vectors_out)->db_id = db_id;
    return SHARDY_OK;
}

void shardy__spool_vectors_close(spool_vectors *vectors)
{
    if (vectors) {
        shardy__free(vectors->slice.buf);
        shardy__free(vectors);
    }
}

/* The next record of the block or run that is open; NULL when it has no more. */
static shardy_status next_vector_record(
    spool_vectors *v, const uint8_t **record_out, shardy_error *err)
{
    spool *s = v->spool;
    if (s->writing) {
        size_t need;
        uint64_t len;
        SHARDY_TRY(slice_load(&v->slice, 1, s->key_offset, s->config.dim, err));
        *record_out = slice_peek(&v->slice, 1, s->key_offset, s->config.dim, &need, &len);
        slice_skip(&v->slice, len);
        return SHARDY_OK;
    }
    const block *b = &s->blocks[v->number]->block;
    *record_out = NULL;
    if (v->entry < v->entry_end) {
        *record_out = b->data + (size_t)shardy__block_entries(b)[v->entry++].place * 8;
    }
    return SHARDY_OK;
}

static shardy_status open_vector_input(spool_vectors *v, shardy_error *err)
{
    spool *s = v->spool;
    if (s->writing) {
        size_t buf_size = shardy__spool_reader_budget(s);
        buf_size = buf_size > BUFFER_LEN_MAX ? BUFFER_LEN_MAX : buf_size;
        return slice_open(
            &v->slice, &s->runs[v->number], (uint64_t)s->config.num_dbs + v->db_id, buf_size, err);
    }
    const block *b = &s->blocks[v->number]->block;
    v->entry = shardy__block_find(b, BLOCK_VECTOR_BIT | v->db_id);
    v->entry_end = shardy__block_find(b, (BLOCK_VECTOR_BIT | v->db_id) + 1);
    return SHARDY_OK;
}

shardy_status shardy__spool_vectors_next(
    spool_vectors *v, spool_vector *vector_out, shardy_error *err)
{
    uint32_t inputs = v->spool->writing ? v->spool->run_count : v->spool->block_count;
    while (v->number < inputs) {
        if (!v->is_open) {
            SHARDY_TRY(open_vector_input(v, err));
            v->is_open = 1;
        }
        const uint8_t *record;
        SHARDY_TRY(next_vector_record(v, &record, err));
        if (record) {
            shardy__block_vector_view(record, v->spool->config.dim, vector_out);
            return SHARDY_OK;
        }
        shardy__free(v->slice.buf);
        memset(&v->slice, 0, sizeof v->slice);
        v->is_open = 0;
        v->number++;
    }
    return SHARDY_DONE;
}
