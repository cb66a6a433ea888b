/* store_s3.c: the objects of a bucket as a store: opening, reading, listing, removing. */
#include "store_s3.h"

#include "store.h"

#include "../base/alloc.h"
#include "../base/environment.h"
#include "../base/map.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No object is as large as that, so nothing is asked of a server from there on: not all of them
 * can count so far. */
#define OBJECT_LEN_MAX ((uint64_t)1 << 50)
/* An object that is read whole into memory. */
#define BODY_LEN_MAX ((size_t)64 << 30)
/* Pages in a row without an object of ours, for one of ours: a million objects. Who makes it more
 * is not listing. */
#define PAGES_EMPTY_MAX 1000u
/* The most that one request lists or deletes. */
#define BATCH_MAX 1000u
/* Entries with keys of which every byte is encoded, and what else belongs to them. */
#define LIST_LEN_MAX    (8u << 20)
#define DELETED_LEN_MAX (8u << 20)

/* --- reading -------------------------------------------------------------------------------- */

typedef struct s3_read {
    s3_call call;
    shardy_store_read *read;
    shardy_store_done_fn done;
    void *user;
    int ranged;
    char range[64];
} s3_read;

static void read_done(s3_call *call);

static void start_read_call(s3_read *r, s3_client *client, http_method method)
{
    shardy_store_read *read = r->read;
    s3_call *call = &r->call;
    memset(call, 0, sizeof *call);
    call->client = client;
    call->method = method;
    call->verb = "read";
    call->key = read->key;
    call->user = r;
    call->done = read_done;
    call->http.deadline_ns = read->deadline_ns;
    call->http.cancel = read->cancel;
    if (read->if_match) {
        shardy__s3_call_header(call, "if-match", read->if_match);
    }
    if (read->if_none_match) {
        call->condition = S3_IF_CHANGED;
        shardy__s3_call_header(call, "if-none-match", read->if_none_match);
    }
    if (method == HTTP_GET) {
        call->http.dest = read->dest;
        call->http.dest_len = (size_t)read->len;
        call->http.reply_max = read->len < BODY_LEN_MAX ? (size_t)read->len : BODY_LEN_MAX;
        if (r->ranged) {
            shardy__s3_call_header(call, "range", r->range);
        } else {
            shardy__s3_call_header(call, "x-amz-checksum-mode", "ENABLED");
        }
    }
    shardy__s3_call_start(call);
}

/* The bytes that were asked for, no others. */
static shardy_status check_range(s3_read *r, shardy_error *err)
{
    const http_reply *reply = &r->call.http.reply;
    const shardy_store_read *read = r->read;
    if (reply->code != 206) {
        return shardy__s3_wrong_reply(&r->call, "has the whole object instead of a range", err);
    }
    if (!reply->has_range || reply->range_first != read->offset) {
        return shardy__s3_wrong_reply(&r->call, "has another range than was asked for", err);
    }
    uint64_t left = reply->range_total - read->offset;
    uint64_t expected = read->len < left ? read->len : left;
    if (reply->range_last - reply->range_first + 1 != expected) {
        return shardy__s3_wrong_reply(&r->call, "has another range than was asked for", err);
    }
    return r->call.http.received == expected
               ? SHARDY_OK
               : shardy__s3_wrong_reply(&r->call, "has fewer bytes than its range", err);
}

/* Whether bytes have the checksum that came with them. 1 also when none did, or that of the parts
 * of an upload ("...-3"), which is longer. */
static int fits(const uint8_t *checksum, size_t len, const char *expected)
{
    char text[S3_SHA256_BASE64_SIZE];
    shardy__base64(checksum, len, text);
    return strlen(text) != strlen(expected) || strcmp(text, expected) == 0;
}

static shardy_status check_checksum(s3_read *r, shardy_error *err)
{
    const http_request *http = &r->call.http;
    const http_reply *reply = &http->reply;
    const void *body = http->dest ? http->dest : http->reply_body.data;
    const size_t len = (size_t)http->received;
    int right = 1;
    body = body ? body : "";
    if (reply->checksum_sha256[0]) {
        sha256 digest;
        SHARDY_TRY(shardy__sha256(body, len, &digest, err));
        right = fits(digest.bytes, sizeof digest.bytes, reply->checksum_sha256);
    }
    for (int kind = 0; kind < CRC_KINDS; kind++) {
        uint8_t crc[SHARDY_CRC_LEN_MAX];
        if (reply->checksum_crcs[kind][0]) {
            size_t size = shardy__crc((crc_kind)kind, body, len, crc);
            right = right && fits(crc, size, reply->checksum_crcs[kind]);
        }
    }
    if (right) {
        return SHARDY_OK;
    }
    return shardy__error_native(err, SHARDY_CHECKSUM, 1, http->reply.code, "s3",
        "read \"%.*s\": the bytes do not have the checksum that came with them",
        SHARDY_BYTES_FMT(r->read->key));
}

static shardy_status check_body(s3_read *r, shardy_error *err)
{
    const http_reply *reply = &r->call.http.reply;
    if (reply->encoded) {
        return shardy__s3_wrong_reply(&r->call, "has a content encoding", err);
    }
    if (r->read->if_match && reply->etag.text[0] &&
        strcmp(r->read->if_match, reply->etag.text) != 0) {
        return shardy__error(err, SHARDY_CONFLICT, "s3",
            "read \"%.*s\": the object has another version", SHARDY_BYTES_FMT(r->read->key));
    }
    if (r->ranged) {
        return check_range(r, err);
    }
    if (reply->code != 200 ||
        (reply->length != HTTP_LENGTH_UNKNOWN && reply->length != r->call.http.received)) {
        return shardy__s3_wrong_reply(&r->call, "is not the whole object", err);
    }
    return check_checksum(r, err);
}

static void fill_meta(const http_reply *reply, uint64_t size, shardy_object_meta *meta)
{
    meta->size = size;
    meta->modified_us = reply->modified_us;
    meta->etag = reply->etag;
}

static shardy_status take_head(s3_call *call, shardy_object_meta *meta, shardy_error *err)
{
    const http_reply *reply = &call->http.reply;
    if (reply->code != 200 || reply->length == HTTP_LENGTH_UNKNOWN) {
        return shardy__s3_wrong_reply(call, "does not tell the size of the object", err);
    }
    fill_meta(reply, reply->length, meta);
    return SHARDY_OK;
}

static shardy_status take_body(s3_read *r, shardy_error *err)
{
    shardy_store_read *read = r->read;
    http_request *http = &r->call.http;
    SHARDY_TRY(check_body(r, err));
    fill_meta(&http->reply, r->ranged ? http->reply.range_total : http->received, &read->meta);
    read->received = http->received;
    if (!read->dest) {
        shardy__bytebuf_give(&http->reply_body, &read->body);
    }
    return SHARDY_OK;
}

static void set_range(s3_read *r)
{
    uint64_t first = r->read->offset;
    uint64_t end;
    r->ranged = 1;
    if (!shardy__add_u64(first, r->read->len, &end) || end > OBJECT_LEN_MAX) {
        r->ranged = first > 0;
        snprintf(r->range, sizeof r->range, "bytes=%llu-", (unsigned long long)first);
    } else {
        snprintf(r->range, sizeof r->range, "bytes=%llu-%llu", (unsigned long long)first,
            (unsigned long long)end - 1);
    }
}

static void read_done(s3_call *call)
{
    s3_read *r = call->user;
    shardy_store_read *read = r->read;
    s3_client *client = call->client;
    shardy_error *err = &read->error;
    if (call->http.status >= 0 && call->http.reply.code == 416 && call->method == HTTP_GET) {
        /* It begins beyond the end: how large the object is, and which, is asked separately. */
        shardy__s3_call_dispose(call);
        start_read_call(r, client, HTTP_HEAD);
        return;
    }
    if (call->http.too_long && read->whole && !r->ranged) {
        /* longer than was expected: its begin, then */
        shardy__s3_call_dispose(call);
        set_range(r);
        start_read_call(r, client, HTTP_GET);
        return;
    }
    shardy_status st = shardy__s3_call_status(call, err);
    if (st == SHARDY_OK) {
        st = call->method == HTTP_HEAD ? take_head(call, &read->meta, err) : take_body(r, err);
    }
    read->status = st;
    shardy_store_done_fn done = r->done;
    void *user = r->user;
    shardy__s3_call_dispose(call);
    shardy__free(r);
    done(user, read);
}

static void s3_read_all(
    void *store, shardy_store_read *reads, size_t n, shardy_store_done_fn done, void *user)
{
    s3_client *client = store;
    for (size_t i = 0; i < n; i++) {
        s3_read *r = shardy__calloc(1, sizeof *r);
        if (!r) {
            reads[i].status = shardy__error_nomem(&reads[i].error, "s3");
            done(user, &reads[i]);
            continue;
        }
        r->read = &reads[i];
        r->done = done;
        r->user = user;
        /* Nothing to read, but whether it is there, and in which version. */
        int only_head = reads[i].len == 0 || reads[i].offset >= OBJECT_LEN_MAX;
        if (!only_head && !(reads[i].whole && reads[i].offset == 0)) {
            set_range(r);
        }
        start_read_call(r, client, only_head ? HTTP_HEAD : HTTP_GET);
    }
}

static s3_call new_call(s3_client *client, http_method method, const char *verb, shardy_bytes key,
    const shardy_store_limits *limits)
{
    s3_call call;
    memset(&call, 0, sizeof call);
    call.client = client;
    call.method = method;
    call.verb = verb;
    call.key = key;
    call.http.deadline_ns = limits->deadline_ns;
    call.http.cancel = limits->cancel;
    return call;
}

static shardy_status s3_head(void *store, shardy_bytes key, const shardy_store_limits *limits,
    shardy_object_meta *meta_out, shardy_error *err)
{
    s3_call call = new_call(store, HTTP_HEAD, "head", key, limits);
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_OK) {
        st = take_head(&call, meta_out, err);
    }
    shardy__s3_call_dispose(&call);
    return st;
}

/* --- listing -------------------------------------------------------------------------------- */

typedef struct s3_page {
    arena memory;
    shardy_store_entry *entries;
    size_t count;
    const char *next_token;
} s3_page;

static void dispose_page(shardy_store_page *page)
{
    s3_page *p = page->owner;
    shardy__arena_free(&p->memory);
    shardy__free(p);
}

static int compare_entries(const void *a, const void *b)
{
    const shardy_store_entry *x = a;
    const shardy_store_entry *y = b;
    return strcmp(x->key, y->key);
}

/* The key below the prefix of the store; NULL for what is no key of a store. CORRUPT: not below the
 * prefix that was asked for. */
static shardy_status take_key(const s3_client *client, s3_page *page, const s3_list *list,
    const s3_list_entry *e, const char *asked, const char **key_out)
{
    size_t prefix = client->place.prefix_len;
    size_t asked_len = strlen(asked);
    char *text = shardy__arena_strndup(&page->memory, e->key, e->key_len);
    *key_out = NULL;
    if (!text) {
        return SHARDY_NOMEM;
    }
    size_t len = list->encoded ? shardy__s3_decode(text, e->key_len) : e->key_len;
    text[len] = '\0';
    if (len < prefix + asked_len || memcmp(text, client->place.prefix, prefix) != 0 ||
        memcmp(text + prefix, asked, asked_len) != 0) {
        return SHARDY_CORRUPT;
    }
    size_t slash = e->is_prefix && text[len - 1] == '/';
    if (len - prefix > slash && slash == (size_t)e->is_prefix &&
        !shardy__key_problem(text + prefix, len - prefix - slash)) {
        *key_out = text + prefix;
    }
    return SHARDY_OK;
}

/* What is listed. */
typedef struct list_query {
    const shardy_store_listing *what;
    const char *token; /* of the server; NULL: from the beginning */
    const char *after; /* entries that come are behind this key; "" at the beginning */
} list_query;

/* NULL when entries ascend, from what was listed before on. */
static const char *order_problem(const s3_page *page, const list_query *q)
{
    const char *last = q->after;
    for (size_t i = 0; i < page->count; i++) {
        if (strcmp(page->entries[i].key, last) <= 0) {
            return "lists what it has listed";
        }
        last = page->entries[i].key;
    }
    return page->next_token && q->token && strcmp(page->next_token, q->token) == 0
               ? "goes on from where it began"
               : NULL;
}

static shardy_status take_entries(
    s3_call *call, const s3_list *list, const list_query *q, s3_page *page, shardy_error *err)
{
    page->count = 0;
    page->next_token = list->next_token;
    page->entries = shardy__arena_calloc(&page->memory, list->count + 1, sizeof *page->entries);
    if (!page->entries) {
        return shardy__error_nomem(err, "s3");
    }
    for (const s3_list_entry *e = list->first; e; e = e->next) {
        const char *key;
        shardy_status st = take_key(call->client, page, list, e, q->what->prefix, &key);
        if (st < 0) {
            return st == SHARDY_NOMEM ? shardy__error_nomem(err, "s3")
                                      : shardy__s3_wrong_reply(
                                            call, "lists a key that is not below the prefix", err);
        }
        if (key) {
            shardy_store_entry *entry = &page->entries[page->count++];
            entry->key = key;
            entry->size = e->size;
            /* Whole seconds, as reads and heads tell it. */
            entry->modified_us = e->modified_us / 1000000 * 1000000;
            entry->is_prefix = e->is_prefix;
        }
    }
    if (page->count > 1) {
        qsort(page->entries, page->count, sizeof *page->entries, compare_entries);
    }
    const char *problem = order_problem(page, q);
    return problem ? shardy__s3_wrong_reply(call, problem, err) : SHARDY_OK;
}

static void fill_list_call(s3_call *call, const list_query *q, const char *prefix, char number[24])
{
    snprintf(number, 24, "%zu", q->what->limit < BATCH_MAX ? q->what->limit : BATCH_MAX);
    if (q->token) {
        shardy__s3_call_query(call, "continuation-token", q->token);
    }
    if (q->what->delimiter) {
        shardy__s3_call_query(call, "delimiter", "/");
    }
    shardy__s3_call_query(call, "encoding-type", "url");
    shardy__s3_call_query(call, "list-type", "2");
    shardy__s3_call_query(call, "max-keys", number);
    shardy__s3_call_query(call, "prefix", prefix);
    call->http.reply_max = LIST_LEN_MAX;
}

static shardy_status list_once(
    s3_client *client, const list_query *q, s3_page *page, shardy_error *err)
{
    char number[24];
    char prefix[2 * SHARDY_OBJECT_KEY_LEN_MAX + 4];
    int len = snprintf(prefix, sizeof prefix, "%s%s", client->place.prefix, q->what->prefix);
    if (len < 0 || (size_t)len > SHARDY_OBJECT_KEY_LEN_MAX) {
        page->count = 0;
        return SHARDY_OK; /* nothing can have such a key */
    }
    s3_call call = new_call(client, HTTP_GET, "list", shardy__bytes(NULL, 0), &q->what->limits);
    fill_list_call(&call, q, prefix, number);
    s3_list list;
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__s3_failure_status(&call, err);
    }
    if (st == SHARDY_OK) {
        const bytebuf *body = &call.http.reply_body;
        st = shardy__s3_parse_list(shardy__bytes(body->data, body->len), &page->memory, &list, err);
    }
    if (st == SHARDY_OK && list.failure.code[0]) {
        call.failure = list.failure;
        st = shardy__s3_failure_status(&call, err);
    }
    if (st == SHARDY_OK) {
        st = list.count > q->what->limit
                 ? shardy__s3_wrong_reply(&call, "lists more than was asked for", err)
                 : take_entries(&call, &list, q, page, err);
    }
    shardy__s3_call_dispose(&call);
    return st;
}

/* Tokens that we give are those of the server with the last key behind them: so a listing that does
 * not go on is noticed, whoever asks for its pages. No key has a newline. */
#define TOKEN_MARK '\n'

static shardy_status make_token(s3_page *page, const char *last, shardy_error *err)
{
    if (page->next_token) {
        size_t len = strlen(page->next_token);
        size_t last_len = strlen(last);
        char *text = shardy__arena_alloc(&page->memory, len + last_len + 2);
        if (!text) {
            return shardy__error_nomem(err, "s3");
        }
        memcpy(text, page->next_token, len);
        text[len] = TOKEN_MARK;
        memcpy(text + len + 1, last, last_len + 1);
        page->next_token = text;
    }
    return SHARDY_OK;
}

/* A page may be all objects that are none of ours: then the next one is it. `token` is that of the
 * server. */
static shardy_status list_some(
    s3_client *client, list_query *q, arena *tokens, s3_page *page, shardy_error *err)
{
    for (uint32_t i = 0; i < PAGES_EMPTY_MAX; i++) {
        SHARDY_TRY(list_once(client, q, page, err));
        if (page->count > 0 || !page->next_token) {
            const char *last = page->count ? page->entries[page->count - 1].key : "";
            return make_token(page, last, err);
        }
        q->token = shardy__arena_strdup(tokens, page->next_token);
        if (!q->token) {
            return shardy__error_nomem(err, "s3");
        }
        shardy__arena_free(&page->memory);
        shardy__arena_init(&page->memory);
        page->next_token = NULL;
    }
    return shardy__error(err, SHARDY_IO, "s3",
        "list of \"s3://%.100s/%.200s\": \"%u\" pages one after the other without an object that "
        "is one",
        client->place.bucket, client->place.prefix, PAGES_EMPTY_MAX);
}

static shardy_status s3_list_page(
    void *store, const shardy_store_listing *what, shardy_store_page *page_out, shardy_error *err)
{
    arena tokens;
    s3_page *page = shardy__calloc(1, sizeof *page);
    if (!page) {
        return shardy__error_nomem(err, "s3");
    }
    shardy__arena_init(&page->memory);
    shardy__arena_init(&tokens);
    page_out->owner = page;
    page_out->dispose = dispose_page;
    const char *mark = what->token ? strrchr(what->token, TOKEN_MARK) : NULL;
    list_query q = {what, what->token, mark ? mark + 1 : ""};
    shardy_status st = SHARDY_OK;
    if (mark) {
        q.token = shardy__arena_strndup(&tokens, what->token, (size_t)(mark - what->token));
        st = q.token ? SHARDY_OK : shardy__error_nomem(err, "s3");
    }
    st = st < 0 ? st : list_some(store, &q, &tokens, page, err);
    shardy__arena_free(&tokens);
    if (st < 0) {
        shardy_store_page_dispose(page_out);
        return st;
    }
    page_out->entries = page->entries;
    page_out->count = page->count;
    page_out->next_token = page->next_token;
    return SHARDY_OK;
}

/* --- removing ------------------------------------------------------------------------------- */

static shardy_status remove_one(
    s3_client *client, shardy_bytes key, const shardy_store_limits *limits, shardy_error *err)
{
    s3_call call = new_call(client, HTTP_DELETE, "remove", key, limits);
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_OK && call.http.reply_body.len > 0) {
        st = shardy__s3_wrong_reply(&call, "is not that to a removal", err);
    }
    shardy__s3_call_dispose(&call);
    return st == SHARDY_NOT_FOUND ? SHARDY_OK : st;
}

/* XML 1.0 has no way to write U+FFFE and U+FFFF. */
static int fits_xml(shardy_bytes key)
{
    const unsigned char *p = key.data;
    for (size_t i = 0; i + 2 < key.len; i++) {
        if (p[i] == 0xEF && p[i + 1] == 0xBF && p[i + 2] >= 0xBE) {
            return 0;
        }
    }
    return 1;
}

void shardy__s3_put_xml_text(bytebuf *out, shardy_bytes text)
{
    const char *p = text.data;
    for (size_t i = 0; i < text.len; i++) {
        switch (p[i]) {
        case '&':
            shardy__bytebuf_puts(out, "&amp;");
            break;
        case '<':
            shardy__bytebuf_puts(out, "&lt;");
            break;
        case '>':
            shardy__bytebuf_puts(out, "&gt;");
            break;
        default:
            shardy__bytebuf_putc(out, p[i]);
            break;
        }
    }
}

/* What is known of the keys of one request. */
typedef struct removal {
    s3_client *client;
    const shardy_bytes *keys;
    int32_t *results;
    size_t n;
    const shardy_store_limits *limits;
    map index;           /* full key to its result */
    credentials *signer; /* of the request whose reply is looked at; borrowed */
    shardy_error *err;
} removal;

/* The first failure of many is told. */
static void fail_removal(
    removal *r, int32_t *result, const char *key, const char *code, const char *message)
{
    s3_call call =
        new_call(r->client, HTTP_POST, "remove", shardy__bytes(key, strlen(key)), r->limits);
    snprintf(call.failure.code, sizeof call.failure.code, "%s", code);
    snprintf(call.failure.message, sizeof call.failure.message, "%s", message);
    call.http.reply.code = 200;
    call.signer = r->signer;
    shardy_error own;
    *result = shardy__s3_failure_status(&call, &own);
    if (r->err && r->err->message[0] == '\0') {
        *r->err = own;
    }
}

static void on_deleted(void *user, const char *key, const char *code, const char *message)
{
    removal *r = user;
    int32_t *result = shardy__map_get(&r->index, key, strlen(key));
    if (!result) {
        return;
    }
    if (!code || strcmp(code, "NoSuchKey") == 0) {
        *result = SHARDY_OK;
    } else {
        fail_removal(r, result, key + r->client->place.prefix_len, code, message);
    }
}

static shardy_status write_removal(removal *r, bytebuf *xml, shardy_error *err)
{
    const s3_place *place = &r->client->place;
    bytebuf key;
    shardy__bytebuf_init(&key, 2 * SHARDY_OBJECT_KEY_LEN_MAX + 2);
    shardy_status st = SHARDY_OK;
    shardy__bytebuf_puts(xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; st >= 0 && i < r->n; i++) {
        void *old = NULL;
        shardy__bytebuf_clear(&key);
        shardy__bytebuf_append(&key, place->prefix, place->prefix_len);
        shardy__bytebuf_append(&key, r->keys[i].data, r->keys[i].len);
        st = shardy__bytebuf_check(&key, "s3", err);
        if (st >= 0 && !shardy__map_get(&r->index, key.data, key.len)) {
            shardy__bytebuf_puts(xml, "<Object><Key>");
            shardy__s3_put_xml_text(xml, shardy__bytes(key.data, key.len));
            shardy__bytebuf_puts(xml, "</Key></Object>");
            st = shardy__map_put(&r->index, key.data, key.len, &r->results[i], &old, err);
        }
    }
    shardy__bytebuf_puts(xml, "</Delete>");
    shardy__bytebuf_free(&key);
    return st < 0 ? st : shardy__bytebuf_check(xml, "s3", err);
}

static shardy_status send_removal(removal *r, const bytebuf *xml, shardy_error *err)
{
    sha256 digest;
    uint8_t md5[SHARDY_MD5_LEN];
    char checksum[S3_SHA256_BASE64_SIZE];
    char md5_text[SHARDY_BASE64_SIZE(SHARDY_MD5_LEN)];
    SHARDY_TRY(shardy__sha256(xml->data, xml->len, &digest, err));
    shardy__base64(digest.bytes, sizeof digest.bytes, checksum);
    s3_call call = new_call(r->client, HTTP_POST, "remove", shardy__bytes(NULL, 0), r->limits);
    if (shardy__md5(xml->data, xml->len, md5)) { /* older servers want nothing else */
        shardy__base64(md5, sizeof md5, md5_text);
        shardy__s3_call_header(&call, "content-md5", md5_text);
    }
    shardy__s3_call_header(&call, "content-type", "application/xml");
    shardy__s3_call_header(&call, "x-amz-checksum-sha256", checksum);
    shardy__s3_call_query(&call, "delete", "");
    call.payload = &digest;
    call.http.body = shardy__bytes(xml->data, xml->len);
    call.http.reply_max = DELETED_LEN_MAX;
    shardy_status st = shardy__s3_call_run(&call, err);
    if (st == SHARDY_NOT_FOUND) {
        st = shardy__s3_failure_status(&call, err);
    }
    if (st == SHARDY_OK) {
        const bytebuf *body = &call.http.reply_body;
        r->err = err;
        r->signer = call.signer;
        st = shardy__s3_parse_deleted(
            shardy__bytes(body->data, body->len), on_deleted, r, &call.failure, err);
        r->signer = NULL;
    }
    if (st == SHARDY_OK && call.failure.code[0]) {
        st = shardy__s3_failure_status(&call, err);
    }
    shardy__s3_call_dispose(&call);
    return st;
}

/* Keys that the reply did not mention are told as failures; one that is there several times has the
 * result of its first place. */
static shardy_status collect_results(removal *r, shardy_error *err)
{
    const s3_place *place = &r->client->place;
    char key[2 * SHARDY_OBJECT_KEY_LEN_MAX + 4];
    shardy_status first = SHARDY_OK;
    for (size_t i = 0; i < r->n; i++) {
        int len = snprintf(key, sizeof key, "%s%.*s", place->prefix, (int)r->keys[i].len,
            (const char *)r->keys[i].data);
        const int32_t *result = shardy__map_get(&r->index, key, (size_t)len);
        r->results[i] = *result;
        if (*result == SHARDY_PENDING) {
            fail_removal(r, &r->results[i], key + place->prefix_len, "",
                "the reply does not say whether it was done");
        }
        if (r->results[i] < 0 && first == SHARDY_OK) {
            first = (shardy_status)r->results[i];
        }
    }
    (void)err;
    return first;
}

static shardy_status remove_batch(s3_client *client, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results, shardy_error *err)
{
    shardy_error own;
    shardy__error_clear(&own);
    removal r = {client, keys, results, n, limits, {0}, NULL, &own};
    bytebuf xml;
    shardy__map_init(&r.index);
    shardy__bytebuf_init(&xml, n * 6 * (SHARDY_OBJECT_KEY_LEN_MAX + 16) + 256);
    for (size_t i = 0; i < n; i++) {
        results[i] = SHARDY_PENDING;
    }
    shardy_status st = write_removal(&r, &xml, &own);
    if (st >= 0) {
        st = send_removal(&r, &xml, &own);
    }
    if (st >= 0) {
        r.err = &own;
        st = collect_results(&r, &own);
    } else {
        for (size_t i = 0; i < n; i++) {
            results[i] = st;
        }
    }
    shardy__bytebuf_free(&xml);
    shardy__map_free(&r.index);
    if (st < 0 && err) {
        *err = own;
    }
    return st;
}

static shardy_status s3_remove(void *store, const shardy_bytes *keys, size_t n,
    const shardy_store_limits *limits, int32_t *results_out, shardy_error *err)
{
    shardy_status first = SHARDY_OK;
    size_t at = 0;
    while (at < n) {
        size_t end = at;
        while (end < n && end - at < BATCH_MAX && fits_xml(keys[end])) {
            end++;
        }
        shardy_error own;
        shardy_status st;
        if (end - at > 1) {
            st = remove_batch(store, keys + at, end - at, limits, results_out + at, &own);
        } else {
            end = at + 1;
            st = remove_one(store, keys[at], limits, &own);
            results_out[at] = st;
        }
        if (st < 0 && first >= 0) {
            first = st;
            if (err) {
                *err = own;
            }
        }
        at = end;
    }
    return first;
}

/* --- opening -------------------------------------------------------------------------------- */

static uint64_t s3_caps(void *store)
{
    (void)store;
    return SHARDY_STORE_CAP_PUT_IF_ABSENT | SHARDY_STORE_CAP_PUT_IF_MATCH;
}

static void s3_close(void *store)
{
    s3_client *c = store;
    shardy__http_close(c->http);
    shardy__credentials_close(c->credentials);
    shardy__context_drop(c->context);
    shardy__free(c->place_text);
    shardy__free(c);
}

static const char *s3_place_text(void *store)
{
    const s3_client *c = store;
    return c->place_text;
}

static const shardy_store_ops s3_ops = {
    .abi = SHARDY_STORE_ABI,
    .struct_size = sizeof(shardy_store_ops),
    .name = "s3",
    .caps = s3_caps,
    .read = s3_read_all,
    .head = s3_head,
    .put = shardy__s3_put,
    .list = s3_list_page,
    .remove = s3_remove,
    .close = s3_close,
    .place = s3_place_text,
};

#define PART_SIZE_MIN ((uint64_t)5 << 20)
#define PART_SIZE_MAX ((uint64_t)1 << 30)

void shardy_store_s3_options_init(shardy_store_s3_options *options, size_t struct_size)
{
    shardy_store_s3_options defaults;
    memset(&defaults, 0, sizeof defaults);
    defaults.verify_ssl = 1;
    defaults.connect_timeout_ms = 10000;
    defaults.read_timeout_ms = 30000;
    defaults.connections_max = SHARDY_CONNECTIONS_MAX;
    defaults.part_size = (uint64_t)8 << 20;
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

/* The first variable that is set, unless there is a value. */
static const char *value_or(const char *value, const char *const *names)
{
    const char *found = value && value[0] ? value : NULL;
    for (size_t i = 0; !found && names[i]; i++) {
        found = shardy__environment(names[i]);
    }
    return found;
}

/* The URL of the prefix: the bucket is a part of the host or of the path. */
static shardy_status name_place(s3_client *c, shardy_error *err)
{
    const s3_place *p = &c->place;
    size_t size = strlen(p->scheme) + strlen(p->host) + strlen(p->base) + p->prefix_len + 5;
    c->place_text = shardy__malloc(size);
    if (!c->place_text) {
        return shardy__error_nomem(err, "s3");
    }
    snprintf(c->place_text, size, "%s://%s%s/%s", p->scheme, p->host, p->base, p->prefix);
    return SHARDY_OK;
}

/* `region` is NULL when nobody says it. */
static shardy_status find_place(s3_client *c, const char *url,
    const shardy_store_s3_options *options, const char *region, shardy_error *err)
{
    static const char *const endpoints[] = {
        "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "SLATEDB_S3_ENDPOINT_URL", NULL};
    s3_place_options where = {value_or(options->endpoint_url, endpoints),
        region ? region : "us-east-1", options->addressing};
    SHARDY_TRY(shardy__s3_place_find(url, &where, &c->place, err));
    snprintf(c->region, sizeof c->region, "%s", where.region);
    return name_place(c, err);
}

static shardy_status check_options(const shardy_store_s3_options *o, shardy_error *err)
{
    if (o->addressing < SHARDY_S3_ADDRESSING_AUTO || o->addressing > SHARDY_S3_ADDRESSING_VIRTUAL) {
        return shardy__error(err, SHARDY_INVALID, "s3",
            "addressing is %d, expected auto (0), path (1) or virtual (2)", o->addressing);
    }
    if (o->part_size < PART_SIZE_MIN || o->part_size > PART_SIZE_MAX) {
        return shardy__error(err, SHARDY_INVALID, "s3",
            "part_size is %llu, expected 5 MiB to 1 GiB", (unsigned long long)o->part_size);
    }
    return SHARDY_OK;
}

static shardy_status open_client(
    s3_client *c, const char *url, const shardy_store_s3_options *options, shardy_error *err)
{
    static const char *const bundles[] = {"AWS_CA_BUNDLE", NULL};
    static const char *const regions[] = {"S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", NULL};
    const char *region = value_or(options->region, regions);
    http_options http = {options->proxy, value_or(options->ca_bundle, bundles),
        options->verify_ssl != 0, options->connect_timeout_ms, options->read_timeout_ms,
        options->connections_max};
    credentials_options keys = {options->access_key_id, options->secret_access_key,
        options->session_token, options->profile, region, &http};
    SHARDY_TRY(check_options(options, err));
    SHARDY_TRY(find_place(c, url, options, region, err));
    c->part_size = options->part_size;
    SHARDY_TRY(shardy__credentials_open(c->context, &keys, &c->credentials, err));
    if (!region && shardy__credentials_region(c->credentials)) {
        region = shardy__credentials_region(c->credentials);
        SHARDY_TRY(find_place(c, url, options, region, err));
    }
    return shardy__http_open(c->context, &http, &c->http, err);
}

shardy_status shardy_store_open_s3(shardy_context *context, const char *url,
    const shardy_store_s3_options *options, shardy_store **store_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(store_out);
    *store_out = NULL;
    SHARDY_CHECK_ARG(url);
    shardy_store_s3_options copy;
    shardy_store_s3_options_init(&copy, sizeof copy);
    SHARDY_TRY(SHARDY__OPTIONS_COPY(&copy, options, err));
    s3_client *c = shardy__calloc(1, sizeof *c);
    if (!c) {
        return shardy__error_nomem(err, "s3");
    }
    shardy_status st = shardy__context_hold(context, &c->context, err);
    if (st >= 0) {
        st = open_client(c, url, &copy, err);
    }
    if (st < 0) {
        s3_close(c);
        return st;
    }
    shardy_store *store;
    SHARDY_TRY(shardy_store_new_take(c->context, &s3_ops, c, &store, err));
    if (copy.max_attempts == 1) {
        *store_out = store;
        return SHARDY_OK;
    }
    shardy_retry_options retry;
    shardy_retry_options_init(&retry, sizeof retry);
    retry.max_attempts = copy.max_attempts;
    return shardy__store_wrap_retry_take(c->context, store, &retry, store_out, err);
}
