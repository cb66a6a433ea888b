/* store_s3_put.c: writing objects: in one request, or in parts.
 *
 * A part, like an object, is hashed before it is sent: its digest is signed, and sent as a checksum
 * which the server compares. While some parts are on their way the calling thread hashes the next,
 * so the slower of the two sets the pace. */
#include "store_s3.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/thread.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* What S3 takes. */
#define PARTS_MAX 10000u
/* Parts on their way at once. Those of a stream are in memory. */
#define SLOTS        8u
#define SLOTS_STREAM 4u
/* After as many parts of a stream, of which the end is not known, parts get twice as large. */
#define GROW_AFTER 1000u
#define HASH_LEN   (256u << 10)
/* Giving up an upload is not worth waiting for longer. */
#define ABORT_MS 5000u
/* Between two times that the caller is told how far things have come. */
#define TELL_NS          100000000
#define RESULT_LEN_MAX   (64u << 10)
#define COMPLETE_LEN_MAX (8u << 20)

/* --- where the bytes come from -------------------------------------------------------------- */

typedef struct source {
    const shardy_store_put *put;
    int fd;        /* -1: not a file */
    uint64_t size; /* of what is not a stream */
    uint64_t at;
    shardy_bytes rest;  /* of the stream's part that was begun */
    shardy_bytes after; /* what comes after that, before more is asked for */
    int ended;          /* 1: the stream has no more parts */
} source;

/* Some bytes of it. */
typedef struct piece {
    shardy_bytes bytes;
    int32_t from_file;
    uint64_t offset;
    uint64_t len;
    sha256 digest;
} piece;

static shardy_status open_source(const shardy_store_put *put, source *s, shardy_error *err)
{
    memset(s, 0, sizeof *s);
    s->put = put;
    s->fd = -1;
    s->size = put->body.len;
    if (!put->file_path) {
        return SHARDY_OK;
    }
    shardy_status st = shardy__file_open(put->file_path, &s->fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_INVALID, "s3", "there is no file \"%.300s\"", put->file_path);
    }
    return st < 0 ? st : shardy__file_size(s->fd, &s->size, err);
}

/* Makes sure that bytes of the stream are at hand, or that it has ended. */
static shardy_status peek(source *s, shardy_error *err)
{
    if (s->rest.len == 0) {
        s->rest = s->after;
        s->after.len = 0;
    }
    while (s->rest.len == 0 && !s->ended) {
        shardy_status st = s->put->next(s->put->next_user, &s->rest, err);
        if (st < 0) {
            return st;
        }
        if (st != SHARDY_OK) {
            s->rest.len = 0;
            s->ended = 1;
        }
    }
    return SHARDY_OK;
}

/* Up to `max` bytes of a stream into a buffer; fewer only at its end. */
static shardy_status fill_buffer(source *s, size_t max, bytebuf *buf, shardy_error *err)
{
    shardy__bytebuf_clear(buf);
    for (;;) {
        SHARDY_TRY(peek(s, err));
        size_t n = max - buf->len < s->rest.len ? max - buf->len : s->rest.len;
        if (n == 0) {
            return SHARDY_OK;
        }
        shardy__bytebuf_append(buf, s->rest.data, n);
        SHARDY_TRY(shardy__bytebuf_check(buf, "s3", err));
        s->rest.data = (const char *)s->rest.data + n;
        s->rest.len -= n;
    }
}

static shardy_status hash_file(
    int fd, uint64_t offset, uint64_t len, sha256 *out, shardy_error *err)
{
    uint8_t *buf = shardy__malloc(HASH_LEN);
    sha256_state *state = NULL;
    shardy_status st = buf ? shardy__sha256_begin(&state, err) : shardy__error_nomem(err, "s3");
    while (st >= 0 && len > 0) {
        size_t n = len < HASH_LEN ? (size_t)len : HASH_LEN;
        st = shardy__file_read_at(fd, offset, buf, n, err);
        if (st >= 0) {
            st = shardy__sha256_add(state, buf, n, err);
        }
        offset += n;
        len -= n;
    }
    if (st >= 0) {
        st = shardy__sha256_finish(state, out, err);
    }
    shardy__sha256_free(state);
    shardy__free(buf);
    return st;
}

/* The next `max` bytes, or what is left, with their digest. `buf` holds those of a stream. */
static shardy_status take_piece(
    source *s, uint64_t max, bytebuf *buf, piece *out, shardy_error *err)
{
    memset(out, 0, sizeof *out);
    if (s->put->next) {
        SHARDY_TRY(fill_buffer(s, (size_t)max, buf, err));
        out->bytes = shardy__bytes(buf->data, buf->len);
        out->len = buf->len;
    } else {
        out->len = s->size - s->at < max ? s->size - s->at : max;
        out->from_file = s->fd >= 0;
        out->offset = s->at;
        if (!out->from_file) {
            const char *data = s->put->body.data;
            out->bytes = shardy__bytes(data ? data + s->at : "", (size_t)out->len);
        }
    }
    s->at += out->len;
    if (out->from_file) {
        return hash_file(s->fd, out->offset, out->len, &out->digest, err);
    }
    return shardy__sha256(out->bytes.len ? out->bytes.data : "", out->bytes.len, &out->digest, err);
}

static int has_more(const source *s)
{
    return s->put->next ? s->rest.len > 0 || s->after.len > 0 || !s->ended : s->at < s->size;
}

/* --- requests ------------------------------------------------------------------------------- */

static void init_call(
    s3_call *call, s3_client *client, const shardy_store_put *put, http_method method)
{
    memset(call, 0, sizeof *call);
    call->client = client;
    call->method = method;
    call->verb = "put";
    call->key = put->key;
    call->is_put = 1;
    call->http.deadline_ns = put->deadline_ns;
    call->http.cancel = put->cancel;
    call->http.reply_max = RESULT_LEN_MAX;
}

/* A put under a condition is not sent twice: the second would be refused because of the first. */
static void add_condition(s3_call *call, const shardy_store_put *put)
{
    if (put->condition == SHARDY_PUT_IF_ABSENT) {
        call->condition = S3_IF_ABSENT;
        call->http.once = 1;
        shardy__s3_call_header(call, "if-none-match", "*");
    } else if (put->condition == SHARDY_PUT_IF_MATCH) {
        call->condition = S3_IF_MATCH;
        call->http.once = 1;
        shardy__s3_call_header(call, "if-match", put->etag);
    }
}

static void add_content_type(s3_call *call, const shardy_store_put *put)
{
    shardy__s3_call_header(
        call, "content-type", put->content_type ? put->content_type : "application/octet-stream");
}

static void add_body(s3_call *call, const source *s, const piece *p, char checksum[])
{
    shardy__base64(p->digest.bytes, sizeof p->digest.bytes, checksum);
    shardy__s3_call_header(call, "x-amz-checksum-sha256", checksum);
    call->payload = &p->digest;
    call->http.body = p->bytes;
    call->http.from_file = p->from_file;
    call->http.fd = s->fd;
    call->http.offset = p->offset;
    call->http.body_len = p->len;
}

/* The server tells which checksum it has: another one is no copy of what was sent. */
static shardy_status check_checksum(
    const s3_call *call, const char *got, const char *sent, shardy_error *err)
{
    if (!got[0] || strcmp(got, sent) == 0) {
        return SHARDY_OK;
    }
    return shardy__error_native(err, SHARDY_CHECKSUM, 1, call->http.reply.code, "s3",
        "put \"%.*s\": the server has another checksum than what was sent",
        SHARDY_BYTES_FMT(call->key));
}

/* Whoever is in between answers for a server, too: what has no version was not stored. */
static shardy_status check_stored(const s3_call *call, const char *checksum, shardy_error *err)
{
    const http_reply *reply = &call->http.reply;
    SHARDY_TRY(check_checksum(call, reply->checksum_sha256, checksum, err));
    if ((reply->code != 200 && reply->code != 201) || !reply->etag.text[0]) {
        return shardy__s3_wrong_reply(call, "does not tell the version that was stored", err);
    }
    return SHARDY_OK;
}

/* Memory that ran out after the server had answered: what it did is not known then. */
static shardy_status mark_unknown(const s3_call *call, shardy_status st, shardy_error *err)
{
    if (st == SHARDY_NOMEM && call->http.reply.code && err) {
        err->retriable = 1;
    }
    return st;
}

/* --- sent again ----------------------------------------------------------------------------- */

/* Whether the store around wants a request again that was answered so. */
static int wants_again(const shardy_store_put *put, shardy_store_attempts *attempts,
    shardy_status st, shardy_error *err, int64_t *due_out)
{
    const shardy_store_repeat *repeat = put->repeat;
    return repeat && err && repeat->answered(repeat->user, attempts, st, err, due_out);
}

/* The same, of a request that has failed, and waits until it is due, or for a failure. */
static int is_due_again(const s3_client *client, const shardy_store_put *put,
    shardy_store_attempts *attempts, shardy_status *st, shardy_error *err)
{
    int64_t due;
    if (*st >= 0 || !wants_again(put, attempts, *st, err, &due)) {
        return 0;
    }
    *st = shardy__sleep_until(client->context, due, put->cancel, "s3", err);
    return 1;
}

/* What refuses a later request may be what an earlier one did, of which the answer was lost: 1. */
static int is_in_doubt(const shardy_store_put *put, shardy_status *st, shardy_error *err)
{
    if (*st == SHARDY_EXISTS || *st == SHARDY_CONFLICT) {
        *st = shardy__error_native(err, SHARDY_IO, 1, 0, "s3",
            "put \"%.*s\": whether it was done is not known", SHARDY_BYTES_FMT(put->key));
        return 1;
    }
    if (*st < 0) {
        err->retriable = 1;
    }
    return 0;
}

/* --- how far it has come -------------------------------------------------------------------- */

static void tell_sent(const shardy_store_put *put, uint64_t bytes)
{
    if (put->sent) {
        put->sent(put->sent_user, bytes);
    }
}

static void whole_waits(const http_request *request)
{
    const s3_call *call =
        (const s3_call *)(const void *)((const char *)request - offsetof(s3_call, http));
    const source *s = call->user;
    tell_sent(s->put, atomic_load_explicit(&request->sent, memory_order_relaxed));
}

/* --- in one request ------------------------------------------------------------------------- */

static shardy_status put_whole(
    s3_client *client, source *s, const piece *p, shardy_object_meta *meta_out, shardy_error *err)
{
    s3_call call;
    char checksum[S3_SHA256_BASE64_SIZE];
    init_call(&call, client, s->put, HTTP_PUT);
    add_condition(&call, s->put);
    add_content_type(&call, s->put);
    add_body(&call, s, p, checksum);
    call.user = s;
    call.http.waiting = s->put->sent ? whole_waits : NULL;
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_OK) {
        st = check_stored(&call, checksum, err);
    }
    if (st == SHARDY_OK) {
        meta_out->size = p->len;
        meta_out->etag = call.http.reply.etag;
    }
    st = mark_unknown(&call, st, err);
    shardy__s3_call_dispose(&call);
    return st;
}

/* --- in parts ------------------------------------------------------------------------------- */

typedef struct upload upload;

typedef enum slot_state {
    SLOT_FREE = 0,
    SLOT_SENDING,
    SLOT_ANSWERED,
    SLOT_HELD /* sent again when it is due */
} slot_state;

/* A part on its way. */
typedef struct slot {
    upload *up;
    slot_state state; /* guarded by the upload's lock */
    s3_call call;
    piece piece;
    bytebuf buf;
    uint32_t number; /* from 1 */
    shardy_store_attempts attempts;
    int64_t due_ns;
    char number_text[12];
    char checksum[S3_SHA256_BASE64_SIZE];
} slot;

typedef struct part {
    const char *etag;
    char checksum[S3_SHA256_BASE64_SIZE];
} part;

struct upload {
    s3_client *client;
    source *from;
    s3_upload_result id;
    mutex lock; /* rank: leaf */
    condition answered;
    slot slots[SLOTS];
    size_t slot_count;
    part *parts; /* of PARTS_MAX */
    uint32_t part_count;
    uint64_t size;
    uint64_t done; /* bytes of parts that are there */
    arena memory;  /* versions of parts */
};

static void part_done(s3_call *call)
{
    slot *s = call->user;
    upload *up = s->up;
    shardy__mutex_lock(&up->lock);
    s->state = SLOT_ANSWERED;
    shardy__condition_signal(&up->answered);
    shardy__mutex_unlock(&up->lock);
}

/* A slot that something can be done with: it was answered, or its part is due again, or it is free
 * and `free_is_fine`. Otherwise NULL, with *held_out the slot that is due first (NULL: none). */
static slot *find_slot(upload *up, int free_is_fine, int *sending_out, slot **held_out)
{
    int64_t now = shardy__monotonic_ns(up->client->context);
    *sending_out = 0;
    *held_out = NULL;
    for (size_t i = 0; i < up->slot_count; i++) {
        slot *s = &up->slots[i];
        if (s->state == SLOT_ANSWERED || (s->state == SLOT_HELD && s->due_ns <= now) ||
            (s->state == SLOT_FREE && free_is_fine)) {
            return s;
        }
        *sending_out |= s->state == SLOT_SENDING;
        if (s->state == SLOT_HELD && (!*held_out || s->due_ns < (*held_out)->due_ns)) {
            *held_out = s;
        }
    }
    return NULL;
}

static uint64_t sent_by_now(const upload *up)
{
    uint64_t bytes = up->done;
    for (size_t i = 0; i < up->slot_count; i++) {
        const slot *s = &up->slots[i];
        if (s->state == SLOT_SENDING || s->state == SLOT_ANSWERED) {
            bytes += atomic_load_explicit(&s->call.http.sent, memory_order_relaxed);
        }
    }
    return bytes;
}

/* Until a part was answered, one is due (`held` is the first, or NULL), or it is time to tell how
 * far things have come. With the lock, which is given up while that is told. */
static void wait_for_answer(upload *up, const slot *held)
{
    const shardy_store_put *put = up->from->put;
    int64_t left = put->sent ? TELL_NS : INT64_MAX;
    if (held) {
        int64_t due = held->due_ns - shardy__monotonic_ns(up->client->context);
        left = due < left ? due : left;
    }
    if (left == INT64_MAX) {
        shardy__condition_wait(&up->answered, &up->lock);
    } else {
        (void)shardy__condition_wait_ns(&up->answered, &up->lock, left);
    }
    if (put->sent) {
        const uint64_t bytes = sent_by_now(up);
        shardy__mutex_unlock(&up->lock);
        tell_sent(put, bytes);
        shardy__mutex_lock(&up->lock);
    }
}

/* The same, after waiting while parts are on their way or held. NULL: there are none. */
static slot *wait_for_slot(upload *up, int free_is_fine)
{
    const shardy_context *context = up->client->context;
    slot *found;
    slot *held;
    int sending;
    shardy__mutex_lock(&up->lock);
    while (!(found = find_slot(up, free_is_fine, &sending, &held)) && sending) {
        wait_for_answer(up, held);
    }
    shardy__mutex_unlock(&up->lock);
    if (!found && held) {
        /* one that is cancelled is answered so when it is sent */
        (void)shardy__sleep_until(context, held->due_ns, up->from->put->cancel, "s3", NULL);
        found = held;
    }
    return found;
}

/* Whether only another upload can help. */
static int wants_anew(const s3_call *call)
{
    return strcmp(call->failure.code, "NoSuchUpload") == 0 ||
           strcmp(call->failure.code, "ConditionalRequestConflict") == 0;
}

/* Takes the answer of a part; the slot is free then, unless the part is to be sent again. */
static shardy_status harvest(upload *up, slot *s, shardy_error *err)
{
    part *p = &up->parts[s->number - 1];
    const http_reply *reply = &s->call.http.reply;
    shardy_status st = shardy__s3_call_status(&s->call, err);
    if (st == SHARDY_OK) {
        st = check_stored(&s->call, s->checksum, err);
    }
    if (st == SHARDY_OK) {
        up->done += s->piece.len;
        p->etag = shardy__arena_strdup(&up->memory, reply->etag.text);
        memcpy(p->checksum, s->checksum, sizeof p->checksum);
        st = p->etag ? SHARDY_OK : shardy__error_nomem(err, "s3");
    }
    int anew = wants_anew(&s->call);
    shardy__s3_call_dispose(&s->call);
    if (!anew && wants_again(up->from->put, &s->attempts, st, err, &s->due_ns)) {
        s->state = SLOT_HELD;
        return SHARDY_OK;
    }
    s->state = SLOT_FREE;
    return st < 0 ? shardy__error_prefix(err, st, "part %u", s->number) : st;
}

static void start_part(upload *up, slot *s)
{
    init_call(&s->call, up->client, up->from->put, HTTP_PUT);
    s->call.user = s;
    s->call.done = part_done;
    snprintf(s->number_text, sizeof s->number_text, "%u", s->number);
    shardy__s3_call_query(&s->call, "partNumber", s->number_text);
    shardy__s3_call_query(&s->call, "uploadId", up->id.upload_id);
    add_body(&s->call, up->from, &s->piece, s->checksum);
    s->state = SLOT_SENDING;
    shardy__s3_call_start(&s->call);
}

/* As large as it takes to stay within the number of parts. */
static uint64_t part_size(const upload *up)
{
    uint64_t size = up->client->part_size;
    if (up->from->put->next) {
        uint32_t doublings = up->part_count / GROW_AFTER;
        return size << (doublings < 8 ? doublings : 8);
    }
    while (size * GROW_AFTER < up->from->size && size < (uint64_t)4 << 30) {
        size *= 2;
    }
    return size;
}

/* What comes next for a part that was answered or is due again. */
static shardy_status go_on(upload *up, slot *s, shardy_error *err)
{
    if (s->state == SLOT_ANSWERED) {
        return harvest(up, s, err);
    }
    start_part(up, s);
    return SHARDY_OK;
}

static void give_up_held(upload *up)
{
    shardy__mutex_lock(&up->lock);
    for (size_t i = 0; i < up->slot_count; i++) {
        if (up->slots[i].state == SLOT_HELD) {
            up->slots[i].state = SLOT_FREE;
        }
    }
    shardy__mutex_unlock(&up->lock);
}

static shardy_status send_parts(upload *up, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    slot *s;
    while (st >= 0 && has_more(up->from) && (s = wait_for_slot(up, 1)) != NULL) {
        if (s->state != SLOT_FREE) {
            st = go_on(up, s, err);
            continue;
        }
        if (up->part_count == PARTS_MAX) {
            return shardy__error(err, SHARDY_INVALID, "s3",
                "put \"%.*s\": the object needs more than %u parts",
                SHARDY_BYTES_FMT(up->from->put->key), PARTS_MAX);
        }
        st = take_piece(up->from, part_size(up), &s->buf, &s->piece, err);
        if (st >= 0 && up->from->put->next) {
            st = peek(up->from, err); /* whether more comes */
        }
        if (st >= 0 && s->piece.len > 0) {
            s->number = ++up->part_count;
            memset(&s->attempts, 0, sizeof s->attempts);
            up->size += s->piece.len;
            start_part(up, s);
        }
    }
    return st;
}

/* Waits for what is on its way or held; its failures count unless there was one before. */
static shardy_status drain(upload *up, shardy_status st, shardy_error *err)
{
    slot *s;
    do {
        if (st < 0) {
            give_up_held(up);
        }
        s = wait_for_slot(up, 0);
        if (s) {
            shardy_status one = go_on(up, s, st < 0 ? NULL : err);
            st = st < 0 ? st : one;
        }
    } while (s);
    return st;
}

static shardy_status begin_upload(upload *up, shardy_error *err)
{
    s3_call call;
    init_call(&call, up->client, up->from->put, HTTP_POST);
    call.http.once = 1; /* a second one would be left over */
    add_content_type(&call, up->from->put);
    shardy__s3_call_header(&call, "x-amz-checksum-algorithm", "SHA256");
    shardy__s3_call_query(&call, "uploads", "");
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_OK) {
        const bytebuf *body = &call.http.reply_body;
        st = shardy__s3_parse_upload_begun(shardy__bytes(body->data, body->len), &up->id, err);
    }
    if (st == SHARDY_OK && up->id.failure.code[0]) {
        call.failure = up->id.failure;
        st = shardy__s3_failure_status(&call, err);
    }
    shardy__s3_call_dispose(&call);
    return st;
}

/* Its answer may have been lost: an upload without parts is left then. */
static shardy_status begin_at_last(upload *up, shardy_error *err)
{
    shardy_store_attempts attempts = {0};
    shardy_status st = begin_upload(up, err);
    while (is_due_again(up->client, up->from->put, &attempts, &st, err)) {
        st = st < 0 ? st : begin_upload(up, err);
    }
    return st;
}

static void list_parts(const upload *up, bytebuf *xml)
{
    shardy__bytebuf_puts(
        xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (uint32_t i = 0; i < up->part_count; i++) {
        const char *etag = up->parts[i].etag;
        shardy__bytebuf_printf(xml, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
        shardy__s3_put_xml_text(xml, shardy__bytes(etag, strlen(etag)));
        shardy__bytebuf_printf(
            xml, "</ETag><ChecksumSHA256>%s</ChecksumSHA256></Part>", up->parts[i].checksum);
    }
    shardy__bytebuf_puts(xml, "</CompleteMultipartUpload>");
}

/* The answer may be an error although its code is 200: the server begins it before it knows. */
static shardy_status complete_with(
    upload *up, const bytebuf *xml, shardy_object_meta *meta_out, int *anew_out, shardy_error *err)
{
    s3_call call;
    sha256 digest;
    s3_upload_result result;
    SHARDY_TRY(shardy__sha256(xml->data, xml->len, &digest, err));
    init_call(&call, up->client, up->from->put, HTTP_POST);
    call.http.once = 1;
    call.payload = &digest;
    call.http.body = shardy__bytes(xml->data, xml->len);
    add_condition(&call, up->from->put);
    shardy__s3_call_header(&call, "content-type", "application/xml");
    shardy__s3_call_query(&call, "uploadId", up->id.upload_id);
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_OK) {
        const bytebuf *body = &call.http.reply_body;
        st = shardy__s3_parse_upload_ended(shardy__bytes(body->data, body->len), &result, err);
    }
    if (st == SHARDY_OK && result.failure.code[0]) {
        call.failure = result.failure;
        st = shardy__s3_failure_status(&call, err);
    }
    if (st == SHARDY_OK) {
        meta_out->size = up->size;
        snprintf(meta_out->etag.text, sizeof meta_out->etag.text, "%s", result.etag);
    }
    st = mark_unknown(&call, st, err);
    *anew_out = wants_anew(&call);
    shardy__s3_call_dispose(&call);
    return st;
}

/* Completes again while the store around wants that. */
static shardy_status complete_at_last(
    upload *up, const bytebuf *xml, shardy_object_meta *meta_out, shardy_error *err)
{
    const shardy_store_put *put = up->from->put;
    shardy_store_attempts attempts = {0};
    int anew;
    shardy_status st = complete_with(up, xml, meta_out, &anew, err);
    while (!anew && is_due_again(up->client, put, &attempts, &st, err)) {
        st = st < 0 ? st : complete_with(up, xml, meta_out, &anew, err);
        if (is_in_doubt(put, &st, err)) {
            break;
        }
    }
    return st;
}

static shardy_status complete(upload *up, shardy_object_meta *meta_out, shardy_error *err)
{
    bytebuf xml;
    shardy__bytebuf_init(&xml, COMPLETE_LEN_MAX);
    list_parts(up, &xml);
    shardy_status st = shardy__bytebuf_check(&xml, "s3", err);
    if (st >= 0) {
        st = complete_at_last(up, &xml, meta_out, err);
    }
    shardy__bytebuf_free(&xml);
    return st;
}

/* Gives the parts back, if that can be done. After a completion whose answer was lost, it does
 * nothing, or ends what has not been completed. */
static void abort_upload(upload *up)
{
    s3_call call;
    init_call(&call, up->client, up->from->put, HTTP_DELETE);
    call.http.cancel = NULL;
    call.http.deadline_ns = shardy__deadline_ns(up->client->context, ABORT_MS);
    shardy__s3_call_query(&call, "uploadId", up->id.upload_id);
    shardy_error why;
    shardy_status st = shardy__s3_call_run(&call, &why);
    if (st < 0 && strcmp(call.failure.code, "NoSuchUpload") != 0) {
        shardy__log(up->client->context, SHARDY_LOG_WARN, "store",
            "parts of an upload that failed are left in the bucket: %s", why.message);
    }
    shardy__s3_call_dispose(&call);
}

static shardy_status run_upload(upload *up, shardy_object_meta *meta_out, shardy_error *err)
{
    SHARDY_TRY(begin_at_last(up, err));
    shardy_status st = send_parts(up, err);
    st = drain(up, st, err);
    if (st >= 0) {
        st = complete(up, meta_out, err);
    }
    if (st < 0) {
        abort_upload(up);
    }
    return st;
}

static shardy_status put_parts(
    s3_client *client, source *from, shardy_object_meta *meta_out, shardy_error *err)
{
    upload *up = shardy__calloc(1, sizeof *up);
    part *parts = up ? shardy__calloc(PARTS_MAX, sizeof *parts) : NULL;
    if (!parts) {
        shardy__free(up);
        return shardy__error_nomem(err, "s3");
    }
    up->client = client;
    up->from = from;
    up->parts = parts;
    up->slot_count = from->put->next ? SLOTS_STREAM : SLOTS;
    shardy__mutex_init(&up->lock);
    shardy__condition_init(&up->answered);
    shardy__arena_init(&up->memory);
    for (size_t i = 0; i < up->slot_count; i++) {
        up->slots[i].up = up;
        shardy__bytebuf_init(&up->slots[i].buf, (size_t)4 << 30);
    }
    shardy_status st = run_upload(up, meta_out, err);
    for (size_t i = 0; i < up->slot_count; i++) {
        shardy__bytebuf_free(&up->slots[i].buf);
    }
    shardy__arena_free(&up->memory);
    shardy__condition_destroy(&up->answered);
    shardy__mutex_destroy(&up->lock);
    shardy__free(parts);
    shardy__free(up);
    return st;
}

/* --- the put -------------------------------------------------------------------------------- */

/* The bytes of a stream that fits into one request: here they are still there. */
static shardy_status put_at_last(
    s3_client *client, source *s, const piece *p, shardy_object_meta *meta_out, shardy_error *err)
{
    shardy_store_attempts attempts = {0};
    shardy_status st = put_whole(client, s, p, meta_out, err);
    while (is_due_again(client, s->put, &attempts, &st, err)) {
        st = st < 0 ? st : put_whole(client, s, p, meta_out, err);
        if (is_in_doubt(s->put, &st, err)) {
            break;
        }
    }
    return st;
}

/* A stream is read until it is known whether it fits into one request; if not, what was read comes
 * first among its parts. */
static shardy_status put_stream(
    s3_client *client, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    source s;
    piece p = {0};
    bytebuf head;
    shardy__bytebuf_init(&head, (size_t)2 * client->part_size);
    shardy_status st = open_source(put, &s, err);
    if (st >= 0) {
        st = take_piece(&s, 2 * client->part_size, &head, &p, err);
    }
    if (st >= 0) {
        st = peek(&s, err);
    }
    if (st >= 0 && !has_more(&s)) {
        st = put_at_last(client, &s, &p, meta_out, err);
    } else if (st >= 0) {
        s.after = s.rest;
        s.rest = p.bytes;
        s.at = 0;
        st = put_parts(client, &s, meta_out, err);
    }
    shardy__bytebuf_free(&head);
    return st;
}

shardy_status shardy__s3_put(
    void *store, const shardy_store_put *put, shardy_object_meta *meta_out, shardy_error *err)
{
    s3_client *client = store;
    if (put->next) {
        return put_stream(client, put, meta_out, err);
    }
    source s;
    piece p;
    shardy_status st = open_source(put, &s, err);
    if (st >= 0 && s.size > 2 * client->part_size) {
        st = put_parts(client, &s, meta_out, err);
    } else if (st >= 0) {
        st = take_piece(&s, s.size, NULL, &p, err);
        st = st < 0 ? st : put_whole(client, &s, &p, meta_out, err);
    }
    shardy__file_close(s.fd);
    return st;
}
