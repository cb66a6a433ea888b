#include "s3_call.h"

#include "../base/alloc.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* A key of which each byte is encoded, the host, a query with a token. */
#define URL_LEN_MAX (16u << 10)
/* Those of the caller, and host, date, digest, token. */
#define SIGNED_MAX (S3_HEADERS_OWN + 4u)
/* Fewer characters of a secret at the end of a text may be there by chance, and help nobody. */
#define PART_OF_SECRET 4u

void shardy__s3_call_header(s3_call *call, const char *name, const char *value)
{
    call->headers[call->header_count++] = (s3_header){name, value};
}

void shardy__s3_call_query(s3_call *call, const char *name, const char *value)
{
    call->query[call->query_count++] = (s3_parameter){name, value};
}

/* Names an object for messages. */
#define CALL_FMT "%s \"%.*s\" of \"s3://%.100s/%.200s\""
#define CALL_ARGS(call)                                                                            \
    (call)->verb, SHARDY_BYTES_FMT((call)->key), (call)->client->place.bucket,                     \
        (call)->client->place.prefix

/* --- putting it together -------------------------------------------------------------------- */

static shardy_status keep_text(s3_call *call, bytebuf *text, const char **out, shardy_error *err)
{
    shardy_status st = shardy__bytebuf_check(text, "s3", err);
    if (st >= 0) {
        *out = shardy__arena_strndup(&call->memory, text->data, text->len);
        st = *out ? SHARDY_OK : shardy__error_nomem(err, "s3");
    }
    shardy__bytebuf_free(text);
    return st;
}

static shardy_status make_path(s3_call *call, const char **path_out, shardy_error *err)
{
    const s3_place *place = &call->client->place;
    bytebuf path;
    if (call->key.len + place->prefix_len > SHARDY_OBJECT_KEY_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "s3",
            "the key \"%.*s\" and the prefix \"%.200s\" have more than %u bytes together",
            SHARDY_BYTES_FMT(call->key), place->prefix, SHARDY_OBJECT_KEY_LEN_MAX);
    }
    shardy__bytebuf_init(&path, URL_LEN_MAX);
    shardy__bytebuf_puts(&path, place->base);
    if (call->key.data) {
        shardy__bytebuf_putc(&path, '/');
        shardy__s3_encode(&path, shardy__bytes(place->prefix, place->prefix_len), 0);
        shardy__s3_encode(&path, call->key, 0);
    } else if (path.len == 0) {
        shardy__bytebuf_putc(&path, '/');
    }
    return keep_text(call, &path, path_out, err);
}

static shardy_status make_query(s3_call *call, const char **query_out, shardy_error *err)
{
    bytebuf query;
    shardy__bytebuf_init(&query, URL_LEN_MAX);
    shardy__bytebuf_puts(&query, "");
    for (size_t i = 0; i < call->query_count; i++) {
        const char *value = call->query[i].value;
        shardy__bytebuf_printf(&query, "%s%s=", i ? "&" : "", call->query[i].name);
        shardy__s3_encode(&query, shardy__bytes(value, strlen(value)), 1);
    }
    return keep_text(call, &query, query_out, err);
}

static shardy_status add_line(
    s3_call *call, const char **lines, const char *name, const char *value, shardy_error *err)
{
    bytebuf line;
    shardy__bytebuf_init(&line, URL_LEN_MAX);
    shardy__bytebuf_printf(&line, "%s: %s", name, value);
    return keep_text(call, &line, &lines[call->http.line_count++], err);
}

typedef struct signed_request {
    s3_header headers[SIGNED_MAX];
    size_t count;
    char time[S3_TIME_SIZE];
    char payload[65];
} signed_request;

static void collect_headers(s3_call *call, const credentials *c, signed_request *r)
{
    const char *token = shardy__credentials_token(c);
    r->headers[r->count++] = (s3_header){"host", call->client->place.host};
    r->headers[r->count++] = (s3_header){"x-amz-content-sha256", r->payload};
    r->headers[r->count++] = (s3_header){"x-amz-date", r->time};
    if (token) {
        r->headers[r->count++] = (s3_header){"x-amz-security-token", token};
    }
    memcpy(r->headers + r->count, call->headers, call->header_count * sizeof r->headers[0]);
    r->count += call->header_count;
}

static shardy_status hash_payload(const s3_call *call, char hex_out[65], shardy_error *err)
{
    sha256 empty;
    if (!call->payload) {
        SHARDY_TRY(shardy__sha256("", 0, &empty, err));
    }
    shardy__sha256_hex(call->payload ? call->payload : &empty, hex_out);
    return SHARDY_OK;
}

static shardy_status sign_call(s3_call *call, const s3_signing *from, const credentials *c,
    const char **lines, shardy_error *err)
{
    s3_signing s = *from;
    signed_request r;
    memset(&r, 0, sizeof r);
    shardy__s3_time(shardy__wall_us(call->client->context), r.time);
    SHARDY_TRY(hash_payload(call, r.payload, err));
    collect_headers(call, c, &r);
    s.headers = r.headers;
    s.header_count = r.count;
    s.payload_hash = r.payload;
    s.time = r.time;
    s.region = call->client->region;
    s.service = "s3";
    s.access_key_id = shardy__credentials_key_id(c);
    s.secret_access_key = shardy__credentials_secret(c);
    bytebuf value;
    shardy__bytebuf_init(&value, URL_LEN_MAX);
    shardy_status st = shardy__s3_sign(&s, &value, err);
    if (st >= 0) {
        st = add_line(call, lines, "Authorization", value.data, err);
    }
    shardy__bytebuf_free(&value);
    for (size_t i = 0; st >= 0 && i < r.count; i++) {
        st = add_line(call, lines, r.headers[i].name, r.headers[i].value, err);
    }
    return st < 0 ? st : add_line(call, lines, "Accept-Encoding", "identity", err);
}

static shardy_status address(s3_call *call, s3_signing *s, shardy_error *err)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "POST", "DELETE"};
    const s3_place *place = &call->client->place;
    memset(s, 0, sizeof *s);
    s->method = names[call->method];
    SHARDY_TRY(make_path(call, &s->path, err));
    SHARDY_TRY(make_query(call, &s->query, err));
    bytebuf url;
    shardy__bytebuf_init(&url, URL_LEN_MAX);
    shardy__bytebuf_printf(&url, "%s://%s%s%s%s", place->scheme, place->host, s->path,
        s->query[0] ? "?" : "", s->query);
    call->http.method = call->method;
    return keep_text(call, &url, &call->http.url, err);
}

static shardy_status prepare(s3_call *call, const credentials *c, shardy_error *err)
{
    s3_signing s;
    shardy__arena_free(&call->memory);
    SHARDY_TRY(address(call, &s, err));
    const char **lines = shardy__arena_calloc(&call->memory, SIGNED_MAX + 2, sizeof *lines);
    if (!lines) {
        return shardy__error_nomem(err, "s3");
    }
    call->http.lines = lines;
    call->http.line_count = 0;
    return sign_call(call, &s, c, lines, err);
}

/* --- sending -------------------------------------------------------------------------------- */

/* With other credentials than those that were refused, if some were. Without limits it does not
 * wait: DONE when it was not signed, because credentials are being asked for. */
static shardy_status sign(s3_call *call, const shardy_store_limits *limits, shardy_error *err)
{
    credentials_source *from = call->client->credentials;
    credentials *c = NULL;
    if (call->signer) {
        shardy_status st = shardy__credentials_renewed(from, call->signer, limits, &c, err);
        if (st < 0) {
            return shardy__error_prefix(err, st,
                CALL_FMT ": the session token has expired, and there is no other", CALL_ARGS(call));
        }
    } else {
        SHARDY_TRY(shardy__credentials_get(from, limits, &call->asked_since, &c, err));
    }
    if (!c) {
        return SHARDY_DONE;
    }
    shardy__credentials_drop(call->signer);
    call->signer = c;
    return prepare(call, c, err);
}

static void count_sent(s3_call *call)
{
    const shardy_context *context = call->client->context;
    const http_request *http = &call->http;
    shardy_metric kind = SHARDY_METRIC_REQUESTS_PUT;
    if (call->method == HTTP_GET) {
        kind = call->key.data ? SHARDY_METRIC_REQUESTS_GET : SHARDY_METRIC_REQUESTS_LIST;
    } else if (call->method == HTTP_HEAD) {
        kind = SHARDY_METRIC_REQUESTS_HEAD;
    } else if (call->method == HTTP_DELETE || !call->key.data) {
        kind = SHARDY_METRIC_REQUESTS_DELETE;
    }
    shardy__count(context, kind, 1);
    shardy__count(context, SHARDY_METRIC_REQUEST_BYTES_SENT,
        http->from_file ? http->body_len : http->body.len);
    call->step = shardy__round_trip_begin(context);
}

static void count_reply(s3_call *call)
{
    const shardy_context *context = call->client->context;
    const http_request *http = &call->http;
    int32_t code = http->reply.code;
    int answered = http->status >= 0 && (code < 400 || code == 404 || code == 412 || code == 416);
    shardy__count(context, SHARDY_METRIC_REQUESTS_FAILED, !answered);
    shardy__count(context, SHARDY_METRIC_REQUEST_BYTES_RECEIVED,
        http->received ? http->received : http->reply_body.len);
    shardy__round_trip_end(context, call->step);
}

static int is_over(const char *code)
{
    return strcmp(code, "ExpiredToken") == 0 || strcmp(code, "TokenRefreshRequired") == 0;
}

/* 1 when the credentials were refused because their time is over, and there may be others. The
 * reply to a HEAD has no body, so it says no more than 400. */
static int may_renew(s3_call *call)
{
    const http_reply *reply = &call->http.reply;
    const bytebuf *body = &call->http.reply_body;
    s3_failure failure;
    int is_refusal = reply->code == 400 || reply->code == 401 || reply->code == 403;
    if (call->renewed || call->http.status < 0 || !is_refusal) {
        return 0;
    }
    memset(&failure, 0, sizeof failure);
    shardy__s3_parse_failure(shardy__bytes(body->data, body->len), &failure);
    int is_head = call->method == HTTP_HEAD && reply->code == 400 &&
                  (!reply->region[0] || strcmp(reply->region, call->client->region) == 0);
    return (is_head || is_over(failure.code)) &&
           shardy__credentials_refused(call->client->credentials, call->signer);
}

shardy_status shardy__s3_call_run(s3_call *call, shardy_error *err)
{
    const shardy_store_limits limits = {call->http.deadline_ns, call->http.cancel};
    SHARDY_TRY(sign(call, &limits, err));
    count_sent(call);
    (void)shardy__http_run(call->client->http, &call->http, NULL);
    count_reply(call);
    if (may_renew(call)) {
        call->renewed = 1;
        shardy__bytebuf_free(&call->http.reply_body);
        SHARDY_TRY(sign(call, &limits, err));
        count_sent(call);
        (void)shardy__http_run(call->client->http, &call->http, NULL);
        count_reply(call);
    }
    return shardy__s3_call_status(call, err);
}

static int is_settled(const http_request *request)
{
    const s3_call *call = request->user;
    return shardy__credentials_settled(call->client->credentials);
}

static void http_done(http_request *request)
{
    s3_call *call = request->user;
    count_reply(call);
    if (may_renew(call)) {
        call->renewed = 1;
        shardy__bytebuf_free(&request->reply_body);
        shardy__s3_call_start(call);
    } else {
        call->done(call);
    }
}

/* The credentials have come, or have not, or the time of the request is over. */
static void wait_done(http_request *request)
{
    s3_call *call = request->user;
    if (request->status < 0) {
        (void)shardy__error_prefix(&request->error, request->status, "waiting for credentials");
        call->done(call);
    } else {
        shardy__s3_call_start(call);
    }
}

/* Nobody waits here: neither the caller's thread, nor the timer's or the engine's, on which others
 * depend. */
void shardy__s3_call_start(s3_call *call)
{
    http_request *http = &call->http;
    s3_signing s;
    shardy_status st = sign(call, NULL, &http->error);
    int waits = st == SHARDY_DONE;
    if (waits && !http->url) { /* for messages */
        st = address(call, &s, &http->error);
    }
    if (st < 0) {
        http->status = st;
        call->done(call);
        return;
    }
    http->done = waits ? wait_done : http_done;
    http->user = call;
    http->wait_until = waits ? is_settled : NULL;
    if (!waits) {
        count_sent(call);
    }
    shardy__http_start(call->client->http, http);
}

void shardy__s3_call_dispose(s3_call *call)
{
    shardy__bytebuf_free(&call->http.reply_body);
    shardy__arena_free(&call->memory);
    shardy__credentials_drop(call->signer);
    call->signer = NULL;
}

/* --- answers -------------------------------------------------------------------------------- */

/* Whether a text of the service has a secret in it or, where the text was cut, the begin of one. */
static int has_secret(const char *text, const char *secret)
{
    const size_t len = secret ? strlen(secret) : 0;
    for (size_t left = len ? strlen(text) : 0; left > 0; left--, text++) {
        size_t n = left < len ? left : len;
        if ((n == len || n >= PART_OF_SECRET) && memcmp(text, secret, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A service may repeat what it was sent. */
static const char *shown(const s3_call *call, const char *text)
{
    const credentials *c = call->signer;
    int hide = c && (has_secret(text, shardy__credentials_key_id(c)) ||
                        has_secret(text, shardy__credentials_secret(c)) ||
                        has_secret(text, shardy__credentials_token(c)));
    return hide ? "(not shown: it has credentials in it)" : text;
}

/* What a code of S3 means, whatever the code of HTTP that came with it. */
typedef struct failure_row {
    const char *code;
    shardy_status status;
    int32_t retriable;
    const char *text; /* NULL: what the server says */
} failure_row;

static const char refused_text[] =
    "access was refused (also the answer for what is not there, without the right to list)";

static const char fewer_text[] = "the server asks for fewer requests";

static const failure_row failure_rows[] = {
    {"NoSuchBucket", SHARDY_CONFIG, 0, "there is no such bucket"},
    {"NoSuchUpload", SHARDY_IO, 1, NULL},
    {"ConditionalRequestConflict", SHARDY_IO, 1,
        "another write was under way, and which of the two counts is not known"},
    {"OperationAborted", SHARDY_IO, 1, NULL},
    {"ExpiredToken", SHARDY_AUTH, 0, "the session token has expired"},
    {"TokenRefreshRequired", SHARDY_AUTH, 0, "the session token has expired"},
    {"InvalidToken", SHARDY_AUTH, 0, "the session token is not valid"},
    {"RequestTimeTooSkewed", SHARDY_AUTH, 0,
        "the clocks of this machine and of the server differ too much"},
    {"RequestExpired", SHARDY_AUTH, 0,
        "the clocks of this machine and of the server differ too much"},
    {"SignatureDoesNotMatch", SHARDY_AUTH, 0,
        "the signature was refused: the secret access key is not that of the access key id"},
    {"InvalidAccessKeyId", SHARDY_AUTH, 0, "the server does not know the access key id"},
    {"AccessDenied", SHARDY_AUTH, 0, refused_text},
    {"RequestTimeout", SHARDY_IO, 1, NULL},
    {"BadDigest", SHARDY_CHECKSUM, 1, "the server got other bytes than were sent"},
    {"InvalidDigest", SHARDY_CHECKSUM, 1, "the server got other bytes than were sent"},
    {"XAmzContentSHA256Mismatch", SHARDY_CHECKSUM, 1, "the server got other bytes than were sent"},
    {"XAmzContentChecksumMismatch", SHARDY_CHECKSUM, 1,
        "the server got other bytes than were sent"},
    {"EntityTooLarge", SHARDY_INVALID, 0, "the object is larger than the server takes"},
    {"NotImplemented", SHARDY_UNSUPPORTED, 0, NULL},
    {"InternalError", SHARDY_IO, 1, NULL},
    {"ServiceUnavailable", SHARDY_THROTTLED, 1, fewer_text},
    {"SlowDown", SHARDY_THROTTLED, 1, fewer_text},
    {"RequestLimitExceeded", SHARDY_THROTTLED, 1, fewer_text},
    {"Throttling", SHARDY_THROTTLED, 1, fewer_text},
    {"ThrottlingException", SHARDY_THROTTLED, 1, fewer_text},
    {"TooManyRequests", SHARDY_THROTTLED, 1, fewer_text},
};

static const failure_row *find_row(const char *code)
{
    for (size_t i = 0; i < sizeof failure_rows / sizeof failure_rows[0]; i++) {
        if (strcmp(failure_rows[i].code, code) == 0) {
            return &failure_rows[i];
        }
    }
    return NULL;
}

/* Codes of HTTP alone. `has_code`: there is one of S3, too. */
static failure_row row_of_http(int32_t code, int has_code)
{
    failure_row row = {"", SHARDY_IO, 0, NULL};
    if (code == 401 || code == 403) {
        row.status = SHARDY_AUTH;
        row.text = refused_text;
    } else if (code == 407) {
        row.status = SHARDY_AUTH;
        row.text = "the proxy " HTTP_PROXY_WANTS_USER;
    } else if (code == 501) {
        row.status = SHARDY_UNSUPPORTED;
    } else if (code == 503 || code == 429) { /* of a HEAD no more is known */
        row = (failure_row){"", SHARDY_THROTTLED, 1, fewer_text};
    } else if (code == 304) {
        row.retriable = 1;
        row.text = "it says that nothing has changed, which was not asked";
    } else if (code == 404 && !has_code) { /* of whoever is in between */
        row.retriable = 1;
        row.text = "the answer does not come from S3";
    } else {
        row.retriable = code >= 500 || code == 409 || code == 408 || code < 300;
    }
    return row;
}

/* The answers that are no failures of the service. 0: none of them. */
static int is_outcome(s3_call *call, shardy_status *st_out, shardy_error *err)
{
    int32_t code = call->http.reply.code;
    int not_there =
        code == 404 && (call->method == HTTP_HEAD || strcmp(call->failure.code, "NoSuchKey") == 0 ||
                           strcmp(call->failure.code, "NoSuchVersion") == 0);
    if (code == 304 && call->condition == S3_IF_CHANGED) {
        *st_out = SHARDY_NOT_MODIFIED;
    } else if (not_there && !call->is_put) {
        *st_out = SHARDY_NOT_FOUND;
    } else if (code == 412 && call->condition == S3_IF_ABSENT) {
        *st_out = shardy__error_native(
            err, SHARDY_EXISTS, 0, code, "s3", CALL_FMT ": the object exists", CALL_ARGS(call));
    } else if (code == 412 || (not_there && call->condition == S3_IF_MATCH)) {
        *st_out =
            shardy__error_native(err, SHARDY_CONFLICT, 0, code, "s3", CALL_FMT ": the object %s",
                CALL_ARGS(call), code == 412 ? "has another version" : "is not there any more");
    } else {
        return 0;
    }
    return 1;
}

shardy_status shardy__s3_wrong_reply(const s3_call *call, const char *problem, shardy_error *err)
{
    return shardy__error_native(err, SHARDY_IO, 1, call->http.reply.code, "s3",
        CALL_FMT ": the reply %s", CALL_ARGS(call), problem);
}

static shardy_status wrong_region(s3_call *call, const char *region, shardy_error *err)
{
    return shardy__error_native(err, SHARDY_CONFIG, 0, call->http.reply.code, "s3",
        CALL_FMT ": the bucket is %s%.60s%s, the requests are for region \"%.60s\"",
        CALL_ARGS(call), region[0] ? "in region \"" : "elsewhere", shown(call, region),
        region[0] ? "\"" : "", call->client->region);
}

shardy_status shardy__s3_failure_status(s3_call *call, shardy_error *err)
{
    shardy_status outcome;
    if (strcmp(call->failure.code, "PreconditionFailed") == 0) {
        call->http.reply.code = 412;
        (void)is_outcome(call, &outcome, err);
        return outcome;
    }
    const s3_failure *f = &call->failure;
    const http_reply *reply = &call->http.reply;
    const failure_row *known = find_row(f->code);
    failure_row row = known ? *known : row_of_http(reply->code, f->code[0] != '\0');
    const char *region = f->region[0] ? f->region : reply->region;
    int redirect = reply->code >= 300 && reply->code < 400 && reply->code != 304;
    if (redirect || (region[0] && strcmp(region, call->client->region) != 0 &&
                        (reply->code == 400 || reply->code == 403))) {
        return wrong_region(call, region, err);
    }
    const char *text = row.text ? row.text : shown(call, f->message);
    shardy_status st = shardy__error_native(err, row.status, row.retriable, reply->code, "s3",
        CALL_FMT ": %s%s%s%d%s%.60s%s%.60s", CALL_ARGS(call), text,
        call->renewed && is_over(f->code) ? ", and the one that was asked for then as well" : "",
        text[0] ? ": " : "", (int)reply->code, f->code[0] ? " " : "", shown(call, f->code),
        reply->request_id[0] ? ", request " : "", shown(call, reply->request_id));
    return shardy__error_retry_after(err, st, (uint32_t)(reply->retry_after_us / 1000));
}

shardy_status shardy__s3_call_status(s3_call *call, shardy_error *err)
{
    const http_reply *reply = &call->http.reply;
    if (call->http.status < 0) {
        if (err) {
            *err = call->http.error;
        }
        return call->http.status;
    }
    if (reply->malformed) {
        return shardy__error_native(err, SHARDY_IO, 1, reply->code, "s3",
            CALL_FMT ": the reply has a wrong header \"%s\"", CALL_ARGS(call), reply->malformed);
    }
    if (reply->code >= 200 && reply->code < 300) {
        return SHARDY_OK;
    }
    shardy_status st = SHARDY_OK;
    const bytebuf *body = &call->http.reply_body;
    shardy__s3_parse_failure(shardy__bytes(body->data, body->len), &call->failure);
    return is_outcome(call, &st, err) ? st : shardy__s3_failure_status(call, err);
}
