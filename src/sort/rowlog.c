#include "rowlog.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"

#include <string.h>

#define BUFFER_LEN (1u << 20)

struct rowlog {
    int fd;
    uint64_t written; /* bytes in the file */
    uint64_t count;
    /* while adding: not written yet; while reading: the bytes around the next row */
    bytebuf buf;
    uint64_t read_at; /* of the first byte of `buf` in the file */
    size_t pos;
    int32_t reading;
};

typedef struct log_header {
    uint64_t hash;
    int64_t id_int;
    uint32_t key_len;
    uint32_t value_len;
    uint32_t id_len;
    uint32_t payload_len;
    int32_t id_type;
    uint8_t has_vector;
    uint8_t id_is_key;
    uint8_t has_payload;
    uint8_t pad;
} log_header;

shardy_status shardy__rowlog_new(const char *dir, rowlog **log_out, shardy_error *err)
{
    *log_out = NULL;
    rowlog *log = shardy__calloc(1, sizeof *log);
    if (!log) {
        return shardy__error_nomem(err, "build");
    }
    shardy__bytebuf_init(&log->buf, SIZE_MAX / 4);
    shardy_status st = shardy__file_open_unnamed(dir, &log->fd, err);
    if (st < 0) {
        shardy__free(log);
        return st;
    }
    *log_out = log;
    return SHARDY_OK;
}

void shardy__rowlog_free(rowlog *log)
{
    if (log) {
        shardy__file_close(log->fd);
        shardy__bytebuf_free(&log->buf);
        shardy__free(log);
    }
}

uint64_t shardy__rowlog_count(const rowlog *log)
{
    return log->count;
}

static shardy_status flush(rowlog *log, shardy_error *err)
{
    SHARDY_TRY(shardy__file_write_at(log->fd, log->written, log->buf.data, log->buf.len, err));
    log->written += log->buf.len;
    shardy__bytebuf_clear(&log->buf);
    return SHARDY_OK;
}

shardy_status shardy__rowlog_add(
    rowlog *log, const spool_row *row, uint64_t hash, uint32_t dim, shardy_error *err)
{
    log_header h;
    memset(&h, 0, sizeof h);
    h.hash = hash;
    h.key_len = (uint32_t)row->key.len;
    h.value_len = (uint32_t)row->value.len;
    if (row->vector) {
        h.has_vector = 1;
        h.id_is_key = row->id_is_key != 0;
        h.id_type = row->id->type;
        h.id_int = row->id->i;
        h.id_len = row->id->type == SHARDY_KEY_INT ? 0 : (uint32_t)row->id->bytes.len;
        h.has_payload = row->has_payload != 0;
        h.payload_len = row->has_payload ? (uint32_t)row->payload.len : 0;
    }
    shardy__bytebuf_append(&log->buf, &h, sizeof h);
    if (row->vector) {
        shardy__bytebuf_append(&log->buf, row->vector, (size_t)dim * sizeof(float));
    }
    shardy__bytebuf_append(&log->buf, row->key.data, h.key_len);
    shardy__bytebuf_append(&log->buf, row->value.data, h.value_len);
    if (h.id_len) {
        shardy__bytebuf_append(&log->buf, row->id->bytes.data, h.id_len);
    }
    if (h.payload_len) {
        shardy__bytebuf_append(&log->buf, row->payload.data, h.payload_len);
    }
    static const char zeros[8];
    shardy__bytebuf_append(&log->buf, zeros, (8 - log->buf.len % 8) % 8);
    SHARDY_TRY(shardy__bytebuf_check(&log->buf, "build", err));
    log->count++;
    return log->buf.len >= BUFFER_LEN ? flush(log, err) : SHARDY_OK;
}

/* Makes `need` bytes from the current position available. */
static shardy_status fill(rowlog *log, size_t need, shardy_error *err)
{
    size_t left = log->buf.len - log->pos;
    if (left >= need) {
        return SHARDY_OK;
    }
    memmove(log->buf.data, log->buf.data + log->pos, left);
    log->read_at += log->pos;
    log->pos = 0;
    log->buf.len = left;
    uint64_t unread = log->written - log->read_at - left;
    size_t want = need > BUFFER_LEN ? need : BUFFER_LEN;
    size_t n = want - left;
    n = unread < n ? (size_t)unread : n;
    if (left + n < need) {
        return shardy__error(err, SHARDY_CORRUPT, "build", "a scratch file was changed");
    }
    uint8_t *dest = shardy__bytebuf_reserve(&log->buf, n);
    SHARDY_TRY(shardy__bytebuf_check(&log->buf, "build", err));
    SHARDY_TRY(shardy__file_read_at(log->fd, log->read_at + left, dest, n, err));
    log->buf.len += n;
    return SHARDY_OK;
}

static shardy_status begin_reading(rowlog *log, shardy_error *err)
{
    SHARDY_TRY(flush(log, err));
    /* Room from the start, so that the memory does not move between rows of one fill. */
    if (!shardy__bytebuf_reserve(&log->buf, BUFFER_LEN)) {
        return shardy__bytebuf_check(&log->buf, "build", err);
    }
    log->reading = 1;
    return SHARDY_OK;
}

shardy_status shardy__rowlog_next(rowlog *log, spool_row *row_out, shardy_key *id_out,
    uint64_t *hash_out, uint32_t dim, shardy_error *err)
{
    if (!log->reading) {
        SHARDY_TRY(begin_reading(log, err));
    }
    memset(row_out, 0, sizeof *row_out);
    if (log->read_at + log->pos == log->written) {
        return SHARDY_DONE;
    }
    log_header h;
    SHARDY_TRY(fill(log, sizeof h, err));
    memcpy(&h, log->buf.data + log->pos, sizeof h);
    size_t floats = h.has_vector ? (size_t)dim * sizeof(float) : 0;
    size_t len = sizeof h + floats + h.key_len + h.value_len + h.id_len + h.payload_len;
    len = (len + 7) & ~(size_t)7;
    SHARDY_TRY(fill(log, len, err));
    const char *p = log->buf.data + log->pos + sizeof h;
    log->pos += len;
    *hash_out = h.hash;
    row_out->vector = h.has_vector ? (const float *)(const void *)p : NULL;
    p += floats;
    row_out->key = shardy__bytes(p, h.key_len);
    p += h.key_len;
    row_out->value = shardy__bytes(p, h.value_len);
    p += h.value_len;
    *id_out =
        h.id_type == SHARDY_KEY_TEXT ? shardy_key_text(p, h.id_len) : shardy_key_int(h.id_int);
    p += h.id_len;
    row_out->id = id_out;
    row_out->id_is_key = h.id_is_key;
    row_out->has_payload = h.has_payload;
    row_out->payload = shardy__bytes(p, h.payload_len);
    return SHARDY_OK;
}
