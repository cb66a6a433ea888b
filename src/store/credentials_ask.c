#include "credentials_impl.h"
#include "profile.h"
#include "s3_place.h"
#include "s3_xml.h"

#include "../base/alloc.h"
#include "../base/fs.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* Metadata are on the machine or next to it. Who has none should not wait for long. */
#define METADATA_CONNECT_MS 1000u
#define METADATA_READ_MS    2000u
#define METADATA_TOTAL_MS   5000u
#define SERVICE_TOTAL_MS    60000u
/* What services answer has two kilobytes. */
#define REPLY_LEN_MAX 32768u
/* Files with tokens, which go into a header or a body. */
#define TOKEN_LEN_MAX (16u << 10)
/* A token of which each byte is encoded, the name of a role, the rest. */
#define BODY_LEN_MAX (3u * TOKEN_LEN_MAX + (16u << 10))
#define LINE_LEN_MAX (TOKEN_LEN_MAX + 64u)

#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"
#define ROLE_MAX  128u

/* Instance metadata are asked three times, the others once. */
typedef enum ask_step {
    ASK_CREDENTIALS = 0,
    ASK_TOKEN,
    ASK_ROLE
} ask_step;

typedef struct credentials_ask {
    credentials_source *source;
    http_request http;
    int64_t deadline_ns;
    ask_step step;
    char *url;
    bytebuf body;
    bytebuf line;
    const char *lines[1];
    char role[ROLE_MAX + 1];
    char token[LINE_LEN_MAX]; /* of instance metadata */
    credentials_reply reply;
    char received[REPLY_LEN_MAX];
} credentials_ask;

/* --- putting requests together -------------------------------------------------------------- */

static shardy_status put_line(
    credentials_ask *a, const char *name, const char *value, shardy_error *err)
{
    shardy__bytebuf_printf(&a->line, "%s: %s", name, value);
    SHARDY_TRY(shardy__bytebuf_check(&a->line, "s3", err));
    a->lines[0] = a->line.data;
    a->http.lines = a->lines;
    a->http.line_count = 1;
    return SHARDY_OK;
}

static shardy_status put_url(
    credentials_ask *a, const char *path, const char *name, shardy_error *err)
{
    bytebuf url;
    shardy__bytebuf_init(&url, 16u << 10);
    shardy__bytebuf_printf(&url, "%s%s%s", a->source->place.url, path, name);
    shardy_status st = shardy__bytebuf_check(&url, "s3", err);
    if (st >= 0) {
        a->url = shardy__strdup(url.data);
        st = a->url ? SHARDY_OK : shardy__error_nomem(err, "s3");
    }
    shardy__bytebuf_free(&url);
    a->http.url = a->url;
    return st;
}

static shardy_status load_token(const char *path, char **token_out, shardy_error *err)
{
    size_t len;
    shardy_status st = shardy__secret_load(path, TOKEN_LEN_MAX, token_out, &len, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(
            err, SHARDY_CONFIG, "s3", "there is no file \"%.300s\" with a token", path);
    }
    if (st >= 0 && (len == 0 || !shardy__credentials_is_header_text(*token_out))) {
        shardy__secret_free(*token_out);
        *token_out = NULL;
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "\"%.300s\" is empty, too long, or has spaces or control characters, expected a token",
            path);
    }
    return st;
}

static void put_parameter(bytebuf *body, const char *name, const char *value)
{
    shardy__bytebuf_printf(body, "%s%s=", body->len ? "&" : "", name);
    shardy__s3_encode(body, shardy__bytes(value, strlen(value)), 1);
}

static shardy_status prepare_identity(credentials_ask *a, shardy_error *err)
{
    const credentials_place *place = &a->source->place;
    char *token = NULL;
    SHARDY_TRY(load_token(place->token_file, &token, err));
    /* at once, so that no copy is left behind when it grows */
    (void)shardy__bytebuf_reserve(&a->body, BODY_LEN_MAX - 1);
    put_parameter(&a->body, "Action", "AssumeRoleWithWebIdentity");
    put_parameter(&a->body, "Version", "2011-06-15");
    put_parameter(&a->body, "RoleArn", place->role_arn);
    put_parameter(&a->body, "RoleSessionName", place->session_name);
    put_parameter(&a->body, "WebIdentityToken", token);
    shardy__secret_free(token);
    SHARDY_TRY(shardy__bytebuf_check(&a->body, "s3", err));
    a->http.method = HTTP_POST;
    a->http.body = shardy__bytes(a->body.data, a->body.len);
    SHARDY_TRY(put_line(a, "Content-Type", "application/x-www-form-urlencoded", err));
    return put_url(a, "", "", err);
}

static shardy_status prepare_container(credentials_ask *a, shardy_error *err)
{
    const credentials_place *place = &a->source->place;
    SHARDY_TRY(put_url(a, "", "", err));
    if (place->token_file) {
        char *token = NULL;
        SHARDY_TRY(load_token(place->token_file, &token, err));
        shardy_status st = put_line(a, "Authorization", token, err);
        shardy__secret_free(token);
        return st;
    }
    if (!place->token) {
        return SHARDY_OK;
    }
    for (const char *p = place->token; *p; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F) {
            return shardy__error(err, SHARDY_CONFIG, "s3",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN has control characters");
        }
    }
    return put_line(a, "Authorization", place->token, err);
}

static shardy_status prepare_instance(credentials_ask *a, shardy_error *err)
{
    if (a->step == ASK_TOKEN) {
        a->http.method = HTTP_PUT;
        SHARDY_TRY(put_line(a, "X-aws-ec2-metadata-token-ttl-seconds", "21600", err));
        return put_url(a, "/latest/api/token", "", err);
    }
    SHARDY_TRY(put_line(a, "X-aws-ec2-metadata-token", a->token, err));
    return put_url(a, ROLE_PATH, a->step == ASK_ROLE ? "" : a->role, err);
}

static void wipe_buf(bytebuf *buf)
{
    if (buf->data) {
        OPENSSL_cleanse(buf->data, buf->room);
    }
    shardy__bytebuf_free(buf);
}

static void ask_done(http_request *request);

/* Another request of the same asking. */
static shardy_status prepare(credentials_ask *a, shardy_error *err)
{
    credentials_source *s = a->source;
    wipe_buf(&a->body);
    wipe_buf(&a->line);
    shardy__free(a->url);
    a->url = NULL;
    memset(&a->http, 0, sizeof a->http);
    a->http.method = HTTP_GET;
    a->http.dest = a->received;
    a->http.dest_len = sizeof a->received;
    a->http.deadline_ns = a->deadline_ns;
    a->http.cancel = s->cancel;
    a->http.done = ask_done;
    a->http.user = a;
    (void)shardy__bytebuf_reserve(&a->line, LINE_LEN_MAX - 1);
    return s->place.kind == CREDENTIALS_WEB_IDENTITY ? prepare_identity(a, err)
           : s->place.kind == CREDENTIALS_CONTAINER  ? prepare_container(a, err)
                                                     : prepare_instance(a, err);
}

/* --- taking replies ------------------------------------------------------------------------- */

static int is_one_of(const char *text, const char *const *list)
{
    while (*list && strcmp(*list, text) != 0) {
        list++;
    }
    return *list != NULL;
}

/* A reply that is no 200. Nothing of its body is told but a code. */
static shardy_status refuse(const credentials_ask *a, shardy_error *err)
{
    static const char *const passing[] = {"IDPCommunicationError", NULL};
    static const char *const fewer[] = {
        "Throttling", "ThrottlingException", "RequestLimitExceeded", NULL};
    int32_t code = a->http.reply.code;
    int throttled = code == 503 || code == 429 || is_one_of(a->reply.code, fewer);
    int retriable = throttled || code >= 500 || code == 408 || is_one_of(a->reply.code, passing);
    int is_refusal = code >= 400 || a->reply.code[0];
    shardy_status st = throttled                  ? SHARDY_THROTTLED
                       : retriable || !is_refusal ? SHARDY_IO
                                                  : SHARDY_AUTH;
    return shardy__error_native(err, st, retriable, code, "s3", "\"%.*s\" answered %d%s%s%s",
        URL_FMT(a->url), code, a->reply.code[0] ? " " : "", a->reply.code,
        code >= 300 && code < 400 ? ", and redirections are not followed" : "");
}

static shardy_status take_identity(credentials_ask *a, shardy_error *err)
{
    int is_ok = a->http.reply.code == 200;
    shardy_bytes body = is_ok ? shardy__bytes(a->received, (size_t)a->http.received)
                              : shardy__bytes(a->http.reply_body.data, a->http.reply_body.len);
    shardy_status st = shardy__s3_parse_assumed(body, &a->reply, is_ok ? err : NULL);
    if (!is_ok || (st >= 0 && a->reply.code[0])) {
        return refuse(a, err);
    }
    return st;
}

static shardy_status take_json(credentials_ask *a, shardy_error *err)
{
    if (a->http.reply.code != 200) {
        return refuse(a, err);
    }
    SHARDY_TRY(shardy__credentials_parse_json(
        shardy__bytes(a->received, (size_t)a->http.received), &a->reply, err));
    return a->reply.code[0] ? refuse(a, err) : SHARDY_OK;
}

/* One line of characters that can be in a header or a path, into a room of `size` bytes. */
static shardy_status take_line(
    credentials_ask *a, const char *what, char *room, size_t size, shardy_error *err)
{
    if (a->http.reply.code != 200) {
        return refuse(a, err);
    }
    if (!shardy__credentials_keep_line(room, size, a->received, (size_t)a->http.received)) {
        return shardy__error_native(
            err, SHARDY_CORRUPT, 1, 0, "s3", "\"%.*s\" answered no %s", URL_FMT(a->url), what);
    }
    return SHARDY_OK;
}

/* DONE when the credentials are there, OK when there is another step. */
static shardy_status take_instance(credentials_ask *a, shardy_error *err)
{
    if (a->step == ASK_TOKEN) {
        SHARDY_TRY(take_line(a, "token", a->token, TOKEN_LEN_MAX, err));
        a->step = ASK_ROLE;
        return SHARDY_OK;
    }
    if (a->step == ASK_ROLE) {
        SHARDY_TRY(take_line(a, "name of a role", a->role, sizeof a->role, err));
        if (!shardy__credentials_is_role(a->role)) {
            return shardy__error_native(err, SHARDY_CORRUPT, 1, 0, "s3",
                "\"%.*s\" answered no name of a role", URL_FMT(a->url));
        }
        a->step = ASK_CREDENTIALS;
        return SHARDY_OK;
    }
    SHARDY_TRY(take_json(a, err));
    return SHARDY_DONE;
}

static shardy_status take_reply(credentials_ask *a, shardy_error *err)
{
    shardy_status st;
    if (a->http.status < 0) {
        if (err) {
            *err = a->http.error;
        }
        return a->http.status;
    }
    if (a->source->place.kind == CREDENTIALS_INSTANCE) {
        return take_instance(a, err);
    }
    st = a->source->place.kind == CREDENTIALS_CONTAINER ? take_json(a, err) : take_identity(a, err);
    return st < 0 ? st : SHARDY_DONE;
}

/* --- asking --------------------------------------------------------------------------------- */

static void free_ask(credentials_ask *a)
{
    wipe_buf(&a->body);
    wipe_buf(&a->line);
    shardy__free(a->url);
    OPENSSL_cleanse(a, sizeof *a);
    shardy__free(a);
}

/* There are no metadata of an instance here, or no role in them: then there are no credentials at
 * all. Once there were some, it is a failure that passes. */
static int is_nothing(const credentials_ask *a, shardy_status st, const shardy_error *err)
{
    int was_unreachable =
        a->http.status < 0 && (st == SHARDY_UNAVAILABLE || st == SHARDY_IO || st == SHARDY_TIMEOUT);
    int was_refused = a->http.status >= 0 && a->http.reply.code && !err->retriable;
    return a->source->place.kind == CREDENTIALS_INSTANCE && !a->source->current &&
           a->step != ASK_CREDENTIALS && st != SHARDY_NOMEM && (was_unreachable || was_refused);
}

static void tell_failure(const credentials_ask *a, shardy_status st, shardy_error *err)
{
    const credentials_place *place = &a->source->place;
    if (is_nothing(a, st, err)) {
        const shardy_error why = *err;
        (void)shardy__error(err, SHARDY_CONFIG, "s3",
            "there are no credentials; tried: %.600s, instance metadata (%.300s)", place->tried,
            why.message);
    } else if (st != SHARDY_NOMEM) {
        (void)shardy__error_prefix(err, st, "credentials of %s", place->name);
    }
}

static void finish(credentials_ask *a, shardy_status st, shardy_error *err)
{
    if (st < 0) {
        tell_failure(a, st, err);
    }
    shardy__credentials_answered(
        a->source, st < 0 ? (shardy_status)err->status : SHARDY_OK, &a->reply, err);
    free_ask(a);
}

static void start_step(credentials_ask *a)
{
    shardy_error err;
    shardy__error_clear(&err);
    shardy_status st = prepare(a, &err);
    if (st < 0) {
        finish(a, st, &err);
        return;
    }
    shardy__http_start(a->source->http, &a->http);
}

static void ask_done(http_request *request)
{
    credentials_ask *a = request->user;
    shardy_error err;
    shardy__error_clear(&err);
    shardy_status st = take_reply(a, &err);
    wipe_buf(&a->http.reply_body);
    if (st == SHARDY_OK) {
        start_step(a);
    } else {
        finish(a, st, &err);
    }
}

void shardy__credentials_ask(credentials_source *source)
{
    credentials_ask *a = shardy__calloc(1, sizeof *a);
    if (!a) {
        shardy_error err;
        shardy_status st = shardy__error_nomem(&err, "s3");
        shardy__credentials_answered(source, st, NULL, &err);
        return;
    }
    uint32_t total_ms =
        source->place.kind == CREDENTIALS_WEB_IDENTITY ? SERVICE_TOTAL_MS : METADATA_TOTAL_MS;
    a->source = source;
    a->deadline_ns = shardy__deadline_ns(source->context, total_ms);
    a->step = source->place.kind == CREDENTIALS_INSTANCE ? ASK_TOKEN : ASK_CREDENTIALS;
    shardy__bytebuf_init(&a->body, BODY_LEN_MAX);
    shardy__bytebuf_init(&a->line, LINE_LEN_MAX);
    start_step(a);
}

shardy_status shardy__credentials_open_http(
    credentials_source *source, const http_options *options, shardy_error *err)
{
    http_options own = *options;
    own.connections_max = 1;
    if (source->place.kind != CREDENTIALS_WEB_IDENTITY) {
        own.proxy = ""; /* a proxy is another host: it must not see the tokens */
        own.connect_timeout_ms = METADATA_CONNECT_MS;
        own.read_timeout_ms = METADATA_READ_MS;
    }
    return shardy__http_open(source->context, &own, &source->http, err);
}
