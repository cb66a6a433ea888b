#include "transfer.h"

#include "../base/alloc.h"
#include "../base/bytebuf.h"
#include "../base/fs.h"
#include "../base/thread.h"

#include <string.h>

#define RANGE_LEN_MAX (1u << 30)
#define PARALLEL_MAX  64u

/* A range on its way, and its buffer. */
typedef struct range {
    shardy_store_read read;
    struct range *next;   /* of those that have come */
    uint8_t *room;        /* NULL: it goes where it belongs */
    const uint8_t *bytes; /* what was read */
} range;

typedef struct transfer {
    shardy_store *store;
    const transfer_options *options;
    shardy_bytes key;
    int fd;
    shardy_object_meta meta; /* of the first range */
    uint64_t size;           /* meta.size, once it is known */
    uint64_t asked;          /* bytes asked for */
    uint64_t done;           /* bytes written */
    uint32_t open;           /* ranges on their way */
    range *ranges;
    mutex lock; /* rank: leaf; guards `come` */
    condition changed;
    range *come;
} transfer;

void shardy__transfer_options_init(transfer_options *options)
{
    memset(options, 0, sizeof *options);
    options->range_len = TRANSFER_RANGE_LEN;
    options->parallel = TRANSFER_PARALLEL;
    options->size = TRANSFER_SIZE_UNKNOWN;
}

static shardy_status check_options(const transfer_options *o, shardy_error *err)
{
    if (o->range_len == 0 || o->range_len % SHARDY_CHUNK_LEN != 0 || o->range_len > RANGE_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "ranges of %u bytes, expected a multiple of 64 KiB up to 1 GiB", o->range_len);
    }
    if (o->parallel == 0 || o->parallel > PARALLEL_MAX) {
        return shardy__error(err, SHARDY_INVALID, "store", "%u ranges at once, expected 1 to %u",
            o->parallel, PARALLEL_MAX);
    }
    if ((o->sums || o->dest) && o->size == TRANSFER_SIZE_UNKNOWN) {
        return shardy__error(err, SHARDY_INVALID, "store",
            "digests of chunks, or memory, without the size of the object");
    }
    return SHARDY_OK;
}

/* From any thread. */
static void range_came(void *user, shardy_store_read *read)
{
    transfer *t = user;
    range *r = (range *)(void *)read; /* its first member */
    shardy__mutex_lock(&t->lock);
    r->next = t->come;
    t->come = r;
    shardy__condition_signal(&t->changed);
    shardy__mutex_unlock(&t->lock);
}

static range *wait_for_range(transfer *t)
{
    shardy__mutex_lock(&t->lock);
    while (!t->come) {
        shardy__condition_wait(&t->changed, &t->lock);
    }
    range *r = t->come;
    t->come = r->next;
    shardy__mutex_unlock(&t->lock);
    t->open--;
    return r;
}

static shardy_status plan_range(
    transfer *t, range *r, uint64_t offset, uint64_t len, shardy_error *err)
{
    const transfer_options *o = t->options;
    if (!o->dest && !r->room) {
        r->room = shardy__malloc(o->range_len);
        if (!r->room) {
            return shardy__error_nomem(err, "store");
        }
    }
    memset(&r->read, 0, sizeof r->read);
    r->read.key = t->key;
    r->read.offset = offset;
    r->read.len = len;
    r->read.if_match = t->meta.etag.text[0] ? t->meta.etag.text : o->if_match;
    r->read.deadline_ns = o->deadline_ns;
    r->read.cancel = o->cancel;
    r->read.dest = o->dest ? (uint8_t *)o->dest + offset : r->room;
    r->bytes = r->read.dest;
    return SHARDY_OK;
}

/* Asks for the next range. */
static shardy_status start_range(transfer *t, range *r, shardy_error *err)
{
    uint64_t left = t->size - t->asked;
    uint64_t len = left < t->options->range_len ? left : t->options->range_len;
    SHARDY_TRY(plan_range(t, r, t->asked, len, err));
    t->asked += len;
    t->open++;
    shardy_store_read_start(t->store, &r->read, 1, range_came, t);
    return SHARDY_OK;
}

static shardy_status check_sums(const transfer *t, const range *r, shardy_error *err)
{
    uint64_t first = r->read.offset >> SHARDY_CHUNK_SHIFT;
    for (uint64_t at = 0; at < r->read.received; at += SHARDY_CHUNK_LEN) {
        uint64_t left = r->read.received - at;
        uint64_t chunk = first + (at >> SHARDY_CHUNK_SHIFT);
        sha256 digest;
        SHARDY_TRY(shardy__sha256(r->bytes + at,
            (size_t)(left < SHARDY_CHUNK_LEN ? left : SHARDY_CHUNK_LEN), &digest, err));
        shardy__count(t->store->context, SHARDY_METRIC_CHUNKS_VERIFIED, 1);
        if (memcmp(&digest, &t->options->sums[chunk], sizeof digest) != 0) {
            return shardy__error(err, SHARDY_CHECKSUM, "store",
                "chunk %llu of \"%.*s\" differs from its digest", (unsigned long long)chunk,
                SHARDY_BYTES_FMT(t->key));
        }
    }
    return SHARDY_OK;
}

/* Where a store tells no versions, size and time of each range must be those of the first. */
static int is_same_object(const transfer *t, const shardy_object_meta *meta)
{
    return meta->size == t->meta.size && meta->modified_us == t->meta.modified_us &&
           strcmp(meta->etag.text, t->meta.etag.text) == 0;
}

/* What was answered, before its bytes are looked at. */
static shardy_status judge_range(const transfer *t, const range *r, shardy_error *err)
{
    const shardy_store_read *read = &r->read;
    if (read->status < 0) {
        if (err) {
            *err = read->error;
        }
        return (shardy_status)read->status;
    }
    if (read->status == SHARDY_NOT_FOUND) { /* a cleanup took it, which is no damage */
        return shardy__error(err, SHARDY_GONE, "store", "there is no object \"%.*s\" any more",
            SHARDY_BYTES_FMT(t->key));
    }
    if (read->status != SHARDY_OK || !is_same_object(t, &read->meta) ||
        read->received != read->len) {
        return shardy__error(err, SHARDY_CONFLICT, "store",
            "the object \"%.*s\" was changed while it was downloaded", SHARDY_BYTES_FMT(t->key));
    }
    return SHARDY_OK;
}

/* What differs from its digest may be right where it is kept: it is asked for once more. */
static shardy_status check_range(transfer *t, range *r, shardy_error *err)
{
    shardy_error first;
    shardy_status st = check_sums(t, r, &first);
    if (st == SHARDY_CHECKSUM) {
        shardy__log(t->store->context, SHARDY_LOG_INFO, "store",
            "a part of a download is asked for again: %s", first.message);
        SHARDY_TRY(plan_range(t, r, r->read.offset, r->read.len, err));
        shardy_store_read_all(t->store, &r->read, 1);
        SHARDY_TRY(judge_range(t, r, err));
        return check_sums(t, r, err);
    }
    if (st < 0 && err) {
        *err = first;
    }
    return st;
}

static shardy_status take_range(transfer *t, range *r, shardy_error *err)
{
    const shardy_store_read *read = &r->read;
    const transfer_options *o = t->options;
    SHARDY_TRY(judge_range(t, r, err));
    if (o->sums) {
        SHARDY_TRY(check_range(t, r, err));
    }
    if (!o->dest) {
        SHARDY_TRY(
            shardy__file_write_at(t->fd, read->offset, r->bytes, (size_t)read->received, err));
    } else if (r->read.dest != r->bytes) { /* what was there before */
        memcpy(o->dest, r->bytes, (size_t)read->received);
    }
    t->done += read->received;
    if (o->progress && o->progress(o->progress_user, t->done, t->size) != 0) {
        return shardy__error(err, SHARDY_CANCELLED, "store", "the download was cancelled");
    }
    return SHARDY_OK;
}

/* What the first range tells: whether there is an object, its version and its size. */
static shardy_status take_first(transfer *t, shardy_error *err)
{
    range *r = &t->ranges[0];
    const transfer_options *o = t->options;
    if (o->first) {
        r->read = *o->first;
        r->bytes = o->first->body.data;
    } else {
        /* as far as is known */
        t->size = o->dest && o->size < o->range_len ? o->size : o->range_len;
        SHARDY_TRY(start_range(t, r, err));
        (void)wait_for_range(t);
    }
    if (r->read.status == SHARDY_NOT_FOUND) {
        return SHARDY_NOT_FOUND;
    }
    if (r->read.status == SHARDY_OK) {
        t->meta = r->read.meta;
        t->size = t->meta.size;
        if (o->size != TRANSFER_SIZE_UNKNOWN && o->size != t->size) {
            return shardy__error(err, SHARDY_CHECKSUM, "store",
                "\"%.*s\" has %llu bytes, expected %llu", SHARDY_BYTES_FMT(t->key),
                (unsigned long long)t->size, (unsigned long long)o->size);
        }
        r->read.len = t->size < o->range_len ? t->size : o->range_len;
        t->asked = r->read.len;
    }
    return take_range(t, r, err);
}

/* All the others. After a failure nothing more is asked for, and what was is waited for. */
static shardy_status take_others(transfer *t, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    for (uint32_t i = 0; st >= 0 && i < t->options->parallel && t->asked < t->size; i++) {
        st = start_range(t, &t->ranges[i], err);
    }
    while (t->open > 0) {
        range *r = wait_for_range(t);
        if (st >= 0) {
            st = take_range(t, r, err);
        }
        if (st >= 0 && t->asked < t->size) {
            st = start_range(t, r, err);
        }
    }
    return st;
}

shardy_status shardy__transfer_download(shardy_store *store, const char *key, int fd,
    const transfer_options *options, shardy_object_meta *meta_out, shardy_error *err)
{
    transfer t;
    memset(&t, 0, sizeof t);
    if (meta_out) {
        memset(meta_out, 0, sizeof *meta_out);
    }
    SHARDY_TRY(check_options(options, err));
    t.ranges = shardy__calloc(options->parallel, sizeof *t.ranges);
    if (!t.ranges) {
        return shardy__error_nomem(err, "store");
    }
    t.store = store;
    t.options = options;
    t.key = shardy__bytes(key, strlen(key));
    t.fd = fd;
    shardy__mutex_init(&t.lock);
    shardy__condition_init(&t.changed);
    shardy_status st = take_first(&t, err);
    if (st == SHARDY_OK) {
        st = take_others(&t, err);
    }
    for (uint32_t i = 0; i < options->parallel; i++) {
        shardy__free(t.ranges[i].room);
    }
    shardy__condition_destroy(&t.changed);
    shardy__mutex_destroy(&t.lock);
    shardy__free(t.ranges);
    if (st == SHARDY_OK && meta_out) {
        *meta_out = t.meta;
    }
    return st;
}

shardy_status shardy__transfer_rest(shardy_store *store, const char *key, shardy_store_read *first,
    const transfer_options *options, shardy_error *err)
{
    transfer_options o = *options;
    bytebuf body;
    shardy__bytebuf_init(&body, (size_t)first->meta.size);
    o.dest = shardy__bytebuf_reserve(&body, (size_t)first->meta.size);
    o.size = first->meta.size;
    o.first = first;
    shardy_status st = shardy__bytebuf_check(&body, "store", err);
    if (st >= 0) {
        st = shardy__transfer_download(store, key, -1, &o, NULL, err);
    }
    if (st == SHARDY_OK) {
        shardy_buf_release(&first->body);
        body.len = (size_t)first->meta.size;
        shardy__bytebuf_give(&body, &first->body);
    }
    shardy__bytebuf_free(&body);
    return st;
}
