/* mem.c: the engine "mem": a list of rows and a list of vectors, read whole into memory, searched
 * by looking at everything. It is there to be obviously right: the oracle of the tests of the other
 * engines, and a small engine for the tests of users. Nothing but this library reads its files.
 *
 * File "shard.mem", integers little-endian: "SHARDYM1", u32 dim, u32 metric, then entries that
 * begin with a byte:
 *   'R' u32 key length, u32 value length, key, value: rows by ascending key
 *   'V' u32 payload length (2^32 - 1: none), byte 'i' and i64, or byte 't' and u32 length and text,
 *       then payload, then dim floats
 *   'E' the end */
#include "engine.h"
#include "shard_object.h"

#include "../base/alloc.h"
#include "../base/arena.h"
#include "../base/bytebuf.h"
#include "../base/bytes.h"
#include "../base/context.h"
#include "../base/fs.h"
#include "../base/utf8.h"
#include "../simd/exact.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MEM_FILE_NAME "shard.mem"
#define MEM_MAGIC     "SHARDYM1"
#define MEM_MAGIC_LEN 8u
/* Everything is in memory twice while a shard is built. */
#define MEM_FILE_LEN_MAX ((size_t)1 << 31)
#define NO_PAYLOAD       UINT32_MAX

static int compare_bytes(shardy_bytes a, shardy_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct mem_writer {
    char *path;
    int fd;
    int32_t sync;
    uint32_t dim;
    bytebuf content;
    bytebuf last_key;
    int32_t any_key;
    chunk_digest digest;
    shardy_engine_file file;
} mem_writer;

static void put_u32(bytebuf *b, uint32_t value)
{
    uint8_t bytes[4];
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    shardy__bytebuf_append(b, bytes, sizeof bytes);
}

static void put_u64(bytebuf *b, uint64_t value)
{
    put_u32(b, (uint32_t)value);
    put_u32(b, (uint32_t)(value >> 32));
}

static void mem_writer_free(void *writer)
{
    mem_writer *w = writer;
    if (!w) {
        return;
    }
    if (w->fd >= 0) {
        shardy__file_close(w->fd);
    }
    shardy__free(w->path);
    shardy__bytebuf_free(&w->content);
    shardy__bytebuf_free(&w->last_key);
    shardy__chunk_digest_free(&w->digest);
    shardy__free(w);
}

static shardy_status mem_writer_open(
    const shardy_engine_writer_spec *spec, void **writer_out, shardy_error *err)
{
    *writer_out = NULL;
    mem_writer *w = shardy__calloc(1, sizeof *w);
    if (!w) {
        return shardy__error_nomem(err, "engine");
    }
    w->fd = -1;
    w->sync = spec->sync;
    w->dim = spec->dim;
    shardy__bytebuf_init(&w->content, MEM_FILE_LEN_MAX);
    shardy__bytebuf_init(&w->last_key, SHARDY_KEY_LEN_MAX);
    shardy__chunk_digest_init(&w->digest);
    shardy__bytebuf_append(&w->content, MEM_MAGIC, MEM_MAGIC_LEN);
    put_u32(&w->content, spec->dim);
    put_u32(&w->content, (uint32_t)spec->metric);
    shardy_status st = shardy__path_join(spec->scratch_dir, MEM_FILE_NAME, &w->path, err);
    if (st >= 0) {
        st = shardy__file_create(w->path, 0666, &w->fd, err);
    }
    if (st < 0) {
        mem_writer_free(w);
        return st;
    }
    *writer_out = w;
    return SHARDY_OK;
}

static shardy_status put_row(mem_writer *w, shardy_bytes key, shardy_bytes value, shardy_error *err)
{
    shardy_bytes last = shardy__bytes(w->last_key.data, w->last_key.len);
    if (key.len > SHARDY_KEY_LEN_MAX || value.len > SHARDY_VALUE_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "engine", "a key or value is too long");
    }
    if (w->any_key && compare_bytes(last, key) >= 0) {
        return shardy__error(err, SHARDY_INVALID, "engine", "the keys are not ascending");
    }
    w->any_key = 1;
    shardy__bytebuf_clear(&w->last_key);
    shardy__bytebuf_append(&w->last_key, key.data, key.len);
    shardy__bytebuf_putc(&w->content, 'R');
    put_u32(&w->content, (uint32_t)key.len);
    put_u32(&w->content, (uint32_t)value.len);
    shardy__bytebuf_append(&w->content, key.data, key.len);
    shardy__bytebuf_append(&w->content, value.data, value.len);
    return shardy__bytebuf_check(&w->last_key, "engine", err);
}

static shardy_status mem_put(void *writer, const shardy_engine_rows *rows, shardy_error *err)
{
    mem_writer *w = writer;
    for (size_t i = 0; i < rows->count; i++) {
        SHARDY_TRY(put_row(w, rows->keys[i], rows->values[i], err));
    }
    return shardy__bytebuf_check(&w->content, "engine", err);
}

static shardy_status mem_add_vectors(
    void *writer, const shardy_engine_vectors *vectors, shardy_error *err)
{
    mem_writer *w = writer;
    bytebuf *b = &w->content;
    for (size_t i = 0; i < vectors->count; i++) {
        const shardy_key *id = &vectors->ids[i];
        shardy_bytes payload = vectors->payloads[i];
        shardy__bytebuf_putc(b, 'V');
        put_u32(b, payload.data ? (uint32_t)payload.len : NO_PAYLOAD);
        if (id->type == SHARDY_KEY_INT) {
            shardy__bytebuf_putc(b, 'i');
            put_u64(b, (uint64_t)id->i);
        } else {
            shardy__bytebuf_putc(b, 't');
            put_u32(b, (uint32_t)id->bytes.len);
            shardy__bytebuf_append(b, id->bytes.data, id->bytes.len);
        }
        if (payload.data) {
            shardy__bytebuf_append(b, payload.data, payload.len);
        }
        shardy__bytebuf_append(b, vectors->vectors + i * vectors->stride, w->dim * sizeof(float));
    }
    return shardy__bytebuf_check(b, "engine", err);
}

static shardy_status mem_writer_finish(
    void *writer, shardy_engine_files *files_out, shardy_error *err)
{
    mem_writer *w = writer;
    sha256 digest;
    shardy__bytebuf_putc(&w->content, 'E');
    SHARDY_TRY(shardy__bytebuf_check(&w->content, "engine", err));
    SHARDY_TRY(shardy__chunk_digest_add(&w->digest, w->content.data, w->content.len, err));
    SHARDY_TRY(shardy__chunk_digest_finish(&w->digest, &digest, err));
    SHARDY_TRY(shardy__file_write_at(w->fd, 0, w->content.data, w->content.len, err));
    if (w->sync) {
        SHARDY_TRY(shardy__file_sync(w->fd, err));
    }
    w->file.name = MEM_FILE_NAME;
    w->file.path = w->path;
    w->file.content_type = "application/octet-stream";
    w->file.size = w->content.len;
    w->file.sums = (const uint8_t *)w->digest.sums;
    w->file.sum_count = w->digest.count;
    files_out->files = &w->file;
    files_out->count = 1;
    return SHARDY_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

typedef struct mem_row {
    shardy_bytes key;
    shardy_bytes value;
} mem_row;

typedef struct mem_vector {
    shardy_key id;
    shardy_bytes payload; /* data NULL: none */
    const uint8_t *floats;
} mem_vector;

typedef struct mem_reader {
    shardy_context *context;
    page_source *source; /* what rows and vectors point into */
    uint32_t dim;
    int32_t metric;
    mem_row *rows;
    size_t row_count;
    mem_vector *vectors;
    size_t vector_count;
} mem_reader;

/* What is left of the file. After a `failed` take, everything taken is empty. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
    int failed;
} cursor;

static const uint8_t *take(cursor *c, size_t len)
{
    static const uint8_t none[8];
    if (c->failed || len > c->left) {
        c->failed = 1;
        return none;
    }
    const uint8_t *taken = c->at;
    c->at += len;
    c->left -= len;
    return taken;
}

static uint32_t take_u32(cursor *c)
{
    return shardy__get_le32(take(c, 4));
}

static shardy_bytes take_bytes(cursor *c, size_t len)
{
    shardy_bytes taken = {take(c, len), len};
    taken.len = c->failed ? 0 : len;
    return taken;
}

static mem_row take_row(cursor *c)
{
    mem_row row;
    uint32_t key_len = take_u32(c);
    uint32_t value_len = take_u32(c);
    row.key = take_bytes(c, key_len);
    row.value = take_bytes(c, value_len);
    return row;
}

static mem_vector take_vector(cursor *c, uint32_t dim)
{
    mem_vector v;
    memset(&v, 0, sizeof v);
    uint32_t payload_len = take_u32(c);
    uint8_t type = *take(c, 1);
    if (type == 'i') {
        v.id = shardy_key_int((int64_t)shardy__get_le64(take(c, 8)));
    } else {
        c->failed |= type != 't';
        shardy_bytes text = take_bytes(c, take_u32(c));
        c->failed |= !shardy__utf8_valid(text.data, text.len);
        v.id = shardy_key_text(text.data, text.len);
    }
    if (payload_len != NO_PAYLOAD) {
        v.payload = take_bytes(c, payload_len);
    }
    v.floats = take(c, dim * sizeof(float));
    return v;
}

/* Goes through all entries; keeps them when there is room for them (the second time). */
static int parse(mem_reader *r, cursor c)
{
    size_t rows = 0;
    size_t vectors = 0;
    for (;;) {
        switch (*take(&c, 1)) {
        case 'R': {
            mem_row row = take_row(&c);
            if (r->rows) {
                r->rows[rows] = row;
                c.failed |= rows > 0 && compare_bytes(r->rows[rows - 1].key, row.key) >= 0;
            }
            rows++;
            break;
        }
        case 'V': {
            mem_vector vector = take_vector(&c, r->dim);
            c.failed |= r->dim == 0;
            if (r->vectors) {
                r->vectors[vectors] = vector;
            }
            vectors++;
            break;
        }
        case 'E':
            r->row_count = rows;
            r->vector_count = vectors;
            return !c.failed && c.left == 0;
        default:
            return 0;
        }
        if (c.failed) {
            return 0;
        }
    }
}

static shardy_status load(mem_reader *r, const shardy_engine_reader_spec *spec, shardy_error *err)
{
    SHARDY_TRY(shardy__page_source_verify_all(r->source, err));
    cursor c = {r->source->base, (size_t)r->source->size, 0};
    int same = memcmp(take(&c, MEM_MAGIC_LEN), MEM_MAGIC, MEM_MAGIC_LEN) == 0;
    r->dim = take_u32(&c);
    r->metric = (int32_t)take_u32(&c);
    if (!same || c.failed) {
        return shardy__error(err, SHARDY_CORRUPT, "engine", "this is no shard of the engine mem");
    }
    if (r->dim != spec->dim || r->dim > SHARDY_DIM_MAX ||
        (r->dim > 0 && r->metric != spec->metric)) {
        return shardy__error(err, SHARDY_CORRUPT, "engine",
            "dimension %u and metric %d, expected %u and %d", r->dim, r->metric, spec->dim,
            spec->metric);
    }
    if (!parse(r, c)) {
        return shardy__error(err, SHARDY_CORRUPT, "engine", "the entries of the shard are damaged");
    }
    r->rows = shardy__calloc(r->row_count, sizeof *r->rows);
    r->vectors = shardy__calloc(r->vector_count, sizeof *r->vectors);
    if (!r->rows || !r->vectors) {
        return shardy__error_nomem(err, "engine");
    }
    if (!parse(r, c)) {
        return shardy__error(err, SHARDY_CORRUPT, "engine", "the keys are not ascending");
    }
    return SHARDY_OK;
}

static void mem_reader_close(void *reader)
{
    mem_reader *r = reader;
    shardy__page_source_close(r->source);
    shardy__free(r->rows);
    shardy__free(r->vectors);
    shardy__free(r);
}

static shardy_status mem_reader_open(
    const shardy_engine_reader_spec *spec, void **reader_out, shardy_error *err)
{
    *reader_out = NULL;
    mem_reader *r = shardy__calloc(1, sizeof *r);
    if (!r) {
        return shardy__error_nomem(err, "engine");
    }
    r->context = spec->context;
    shardy_status st =
        shardy__shard_object_open(spec, MEM_FILE_NAME, PAGE_IO_MEMORY, &r->source, err);
    if (st >= 0) {
        st = load(r, spec, err);
        if (st < 0) {
            shardy__error_prefix(err, st, "%.300s/%s", spec->shard_path, MEM_FILE_NAME);
        }
    }
    if (st < 0) {
        mem_reader_close(r);
        return st;
    }
    *reader_out = r;
    return SHARDY_OK;
}

/* --- looking up ------------------------------------------------------------------------------- */

static int compare_row(const void *key, const void *row)
{
    const shardy_bytes *wanted = key;
    const mem_row *r = row;
    return compare_bytes(*wanted, r->key);
}

static shardy_status mem_get_now(
    void *reader, shardy_bytes key, shardy_buf *value_out, shardy_error *err)
{
    (void)err;
    mem_reader *r = reader;
    memset(value_out, 0, sizeof *value_out);
    const mem_row *row =
        r->row_count ? bsearch(&key, r->rows, r->row_count, sizeof *row, compare_row) : NULL;
    if (!row) {
        return SHARDY_NOT_FOUND;
    }
    shardy__page_source_lend(
        shardy__page_source_hold(r->source, 1), row->value.data, row->value.len, value_out);
    return SHARDY_OK;
}

/* An operation is a batch of look-ups or a search. */
typedef struct mem_op {
    shardy_engine_get *get;
    shardy_engine_search *search;
    arena arena; /* of the result of a search */
} mem_op;

static shardy_status start(
    shardy_engine_get *get, shardy_engine_search *search, void **op_out, shardy_error *err)
{
    mem_op *op = shardy__calloc(1, sizeof *op);
    *op_out = op;
    if (!op) {
        return shardy__error_nomem(err, "engine");
    }
    op->get = get;
    op->search = search;
    shardy__arena_init(&op->arena);
    return SHARDY_OK;
}

static shardy_status mem_get_start(
    void *reader, shardy_engine_get *request, void **op_out, shardy_error *err)
{
    (void)reader;
    return start(request, NULL, op_out, err);
}

static shardy_status mem_search_start(
    void *reader, shardy_engine_search *request, void **op_out, shardy_error *err)
{
    (void)reader;
    return start(NULL, request, op_out, err);
}

/* Each value has its own hold. */
static shardy_status get_all(mem_reader *r, shardy_engine_get *request, shardy_error *err)
{
    memset(&request->hold, 0, sizeof request->hold);
    for (size_t i = 0; i < request->count; i++) {
        request->statuses_out[i] = mem_get_now(r, request->keys[i], &request->values_out[i], err);
    }
    return SHARDY_OK;
}

/* --- searching -------------------------------------------------------------------------------- */

static int compare_hits(const void *a, const void *b)
{
    const shardy_engine_hit *x = a;
    const shardy_engine_hit *y = b;
    if (x->score != y->score) {
        return x->score < y->score ? -1 : 1;
    }
    int order = shardy_key_compare(&x->id, &y->id);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

/* Scores everything, sorts everything. */
static shardy_status search_one(const mem_reader *r, const shardy_engine_search *request,
    const float *query, shardy_engine_hit *all, size_t *count_out, shardy_error *err)
{
    exact_query exact;
    size_t count = 0;
    shardy__exact_prepare(&exact, query, r->dim, r->metric);
    for (size_t i = 0; i < r->vector_count; i++) {
        if (i % 1024 == 0) {
            SHARDY_TRY(shardy__check_time(
                r->context, request->deadline_ns, request->cancel, "search", err));
        }
        double score = shardy__exact_score(&exact, r->vectors[i].floats);
        if (!isnan(score)) {
            all[count].id = r->vectors[i].id;
            all[count].score = score;
            all[count].row = i;
            count++;
        }
    }
    if (count > 1) {
        qsort(all, count, sizeof *all, compare_hits);
    }
    *count_out = count < request->k ? count : request->k;
    return SHARDY_OK;
}

static shardy_status search_all(
    const mem_reader *r, mem_op *op, shardy_engine_hit *all, shardy_error *err)
{
    shardy_engine_search *s = op->search;
    size_t most = r->vector_count < s->k ? r->vector_count : s->k;
    size_t total;
    if (!shardy__mul_size(most, s->query_count, &total)) {
        return shardy__error_nomem(err, "engine");
    }
    size_t *offsets = shardy__arena_calloc(&op->arena, s->query_count + 1, sizeof *offsets);
    shardy_engine_hit *hits = shardy__arena_calloc(&op->arena, total, sizeof *hits);
    if (!offsets || !hits) {
        return shardy__error_nomem(err, "engine");
    }
    for (size_t q = 0; q < s->query_count; q++) {
        size_t count = 0;
        SHARDY_TRY(search_one(r, s, s->queries + q * s->stride, all, &count, err));
        if (count > 0) {
            memcpy(hits + offsets[q], all, count * sizeof *hits);
        }
        offsets[q + 1] = offsets[q] + count;
    }
    s->hits = hits;
    s->offsets = offsets;
    s->vectors_scanned = s->k ? r->vector_count : 0;
    return SHARDY_OK;
}

static shardy_status mem_step(void *reader, void *op, shardy_error *err)
{
    mem_reader *r = reader;
    mem_op *o = op;
    if (o->get) {
        return get_all(r, o->get, err);
    }
    shardy_engine_hit *all = shardy__calloc(r->vector_count, sizeof *all);
    if (!all) {
        return shardy__error_nomem(err, "engine");
    }
    shardy_status st = search_all(r, o, all, err);
    shardy__free(all);
    return st;
}

static shardy_status mem_fetch(void *reader, void *op, shardy_error *err)
{
    (void)reader;
    (void)op;
    return shardy__error(err, SHARDY_INTERNAL, "engine", "nothing was pending");
}

static void mem_finish(void *reader, void *op)
{
    (void)reader;
    mem_op *o = op;
    if (o) {
        shardy__arena_free(&o->arena);
        shardy__free(o);
    }
}

static shardy_status mem_payload(void *reader, uint64_t row, const shardy_engine_limits *limits,
    shardy_buf *payload_out, shardy_error *err)
{
    (void)limits;
    (void)err;
    mem_reader *r = reader;
    memset(payload_out, 0, sizeof *payload_out);
    if (row >= r->vector_count || !r->vectors[row].payload.data) {
        return SHARDY_NOT_FOUND;
    }
    shardy__page_source_lend(shardy__page_source_hold(r->source, 1), r->vectors[row].payload.data,
        r->vectors[row].payload.len, payload_out);
    return SHARDY_OK;
}

/* All of it was taken apart when it was opened. */
static shardy_status mem_check(void *reader, const shardy_engine_check *request, shardy_error *err)
{
    const mem_reader *r = reader;
    shardy_error error;
    shardy_status st = SHARDY_OK;
    shardy__error_clear(&error);
    for (size_t i = 0; i < r->row_count && st == SHARDY_OK; i++) {
        st = request->key(request->user, r->rows[i].key, &error);
    }
    if (st == SHARDY_CORRUPT || st == SHARDY_CHECKSUM) {
        return request->damaged(request->user, 0, &error, err);
    }
    if (st < 0 && err) {
        *err = error;
    }
    return st;
}

static uint64_t mem_vector_count(void *reader)
{
    const mem_reader *r = reader;
    return r->vector_count;
}

const shardy_engine_ops shardy__engine_mem = {
    .abi = SHARDY_ENGINE_ABI,
    .struct_size = sizeof(shardy_engine_ops),
    .name = "mem",
    .caps = SHARDY_ENGINE_CAP_KV | SHARDY_ENGINE_CAP_VECTOR | SHARDY_ENGINE_CAP_NO_DIM |
            SHARDY_ENGINE_CAP_TESTING,
    .writer_open = mem_writer_open,
    .writer_put = mem_put,
    .writer_add_vectors = mem_add_vectors,
    .writer_finish = mem_writer_finish,
    .writer_free = mem_writer_free,
    .reader_open = mem_reader_open,
    .get_now = mem_get_now,
    .get_start = mem_get_start,
    .search_start = mem_search_start,
    .step = mem_step,
    .fetch = mem_fetch,
    .finish = mem_finish,
    .payload = mem_payload,
    .check = mem_check,
    .vector_count = mem_vector_count,
    .reader_close = mem_reader_close,
};
