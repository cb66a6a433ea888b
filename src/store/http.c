#include "http.h"

#include "proxy.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../base/fault.h"
#include "../base/fs.h"
#include "../base/thread.h"

#include <shardyfusion/limits.h>

#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* How late a deadline or a cancellation may be noticed. */
#define TICK_MS 100
#define TICK_NS ((int64_t)TICK_MS * 1000000)
/* With nothing to do the thread sleeps until it is woken. */
#define IDLE_MS 60000
/* Servers and what stands before them close idle connections, some after 20 s, without a word that
 * is read in time. */
#define CONNECTION_AGE_S  15L
#define CONNECTION_AGE_NS ((int64_t)CONNECTION_AGE_S * 1000000000)
/* Of the descriptors that the process may have a client takes one in so many for connections. */
#define DESCRIPTOR_SHARE 4u
/* libcurl keeps addresses for 60 s. As long as it has none, each request looks the name up for
 * itself, with a thread and some descriptors of its own, so only a few begin; the others follow as
 * soon as there is an address. Taking a transfer from libcurl waits for its thread, and nothing
 * ends that but the resolver of the system: what ends before is left to it by forget(). */
#define ADDRESS_AGE_NS ((int64_t)50 * 1000000000)
#define LOOKUPS_MAX    8u
#define HEAD_LEN_MAX   (64u << 10)
/* Error bodies are cut at HTTP_ERROR_BODY_MAX; a server that does not stop is left. */
#define ERROR_BODY_READ_MAX (1u << 20)
#define RECEIVE_LEN         (256L << 10)
#define SEND_LEN            (256L << 10)

typedef struct http_engine http_engine;

struct http_transfer {
    http_request *request; /* NULL: whoever asked was told, only its look-up is waited for */
    http_client *client;
    CURL *easy;
    struct curl_slist *lines;
    http_transfer *next;   /* in a queue */
    http_transfer *before; /* among all that were taken over */
    http_transfer *after;
    int active;    /* 1: in the multi handle */
    int looking;   /* 1: its name is being looked up */
    int located;   /* 1: it has a connection, or an address to connect to */
    int connected; /* 1: it has a connection, and may have sent something */
    int lacking;   /* errno of a socket that could not be had; 0: none */
    uint64_t sent; /* bytes of the body that were read */
    size_t head_len;
    uint64_t error_len;
    int64_t progress_ns; /* when bytes moved last */
    char text[CURL_ERROR_SIZE];
};

typedef struct transfer_queue {
    http_transfer *first;
    http_transfer *last;
} transfer_queue;

struct http_client {
    http_engine *engine;
    _Atomic uint32_t refs;   /* of whoever opened it, and of transfers without a request */
    shardy_context *context; /* borrowed: the store has a reference */
    char *ca_bundle;
    http_options options;
    http_proxy proxies[2]; /* for http:// and https:// */
    /* Of the engine's thread: */
    uint32_t room; /* transfers that may be active: fewer when there were no descriptors */
    uint32_t active;
    uint32_t lookups;   /* of them are not located yet */
    int64_t address_ns; /* when an address was there last, or could not be had; 0: never */
    transfer_queue waiting;
};

struct http_engine {
    context_part part;
    const shardy_context *context;
    CURLM *multi;
    mutex lock; /* rank: leaf; guards the next four, and `multi` where it is woken or replaced */
    transfer_queue submitted;
    int stopping;
    int has_thread;
    thread thread;
    /* Of the engine's thread: */
    http_transfer *all;
    int64_t looked_ns; /* when times were looked at last */
    int64_t idle_ns;   /* since when there is nothing to do; 0: there is */
    uint32_t sockets;  /* open ones, idle or not */
    int located;       /* 1: an address is there that others may wait for */
};

/* --- libcurl, once a process ---------------------------------------------------------------- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- queues --------------------------------------------------------------------------------- */

static void push(transfer_queue *q, http_transfer *t)
{
    t->next = NULL;
    if (q->last) {
        q->last->next = t;
    } else {
        q->first = t;
    }
    q->last = t;
}

static http_transfer *pop(transfer_queue *q)
{
    http_transfer *t = q->first;
    if (t) {
        q->first = t->next;
        if (!q->first) {
            q->last = NULL;
        }
    }
    return t;
}

static void unqueue(transfer_queue *q, const http_transfer *t)
{
    http_transfer *kept = NULL;
    http_transfer **at = &q->first;
    while (*at && *at != t) {
        kept = *at;
        at = &kept->next;
    }
    if (*at) {
        *at = t->next;
        if (q->last == t) {
            q->last = kept;
        }
    }
}

/* --- one transfer --------------------------------------------------------------------------- */

static void free_transfer(http_transfer *t)
{
    if (t) {
        if (t->easy) {
            curl_easy_cleanup(t->easy);
        }
        curl_slist_free_all(t->lines);
        shardy__free(t);
    }
}

static const char *method_name(http_method method)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "POST", "DELETE"};
    return names[method];
}

/* Fails a transfer from within a callback of libcurl: the first failure counts. */
static void fail(http_request *r, shardy_status st, int retriable, const char *what)
{
    if (r->status >= 0) {
        r->status = shardy__error_native(&r->error, st, retriable, 0, "http", "%s \"%.*s\": %s",
            method_name(r->method), URL_FMT(r->url), what);
    }
}

static size_t on_head(char *data, size_t size, size_t count, void *user)
{
    http_transfer *t = user;
    size_t len = size * count;
    t->head_len += len;
    t->progress_ns = shardy__monotonic_ns(t->client->context);
    if (t->head_len > HEAD_LEN_MAX) {
        fail(t->request, SHARDY_IO, 1, "the head of the reply is too long");
        return 0;
    }
    shardy__http_reply_line(&t->request->reply, data, len);
    return len;
}

static int is_success(const http_request *r)
{
    return r->reply.code == 200 || r->reply.code == 206;
}

static size_t keep_error_body(http_transfer *t, const char *data, size_t len)
{
    bytebuf *body = &t->request->reply_body;
    t->error_len += len;
    if (t->error_len > ERROR_BODY_READ_MAX) {
        fail(t->request, SHARDY_IO, 1, "the reply tells of an error without end");
        return 0;
    }
    body->len_max = HTTP_ERROR_BODY_MAX;
    size_t room = HTTP_ERROR_BODY_MAX - body->len;
    shardy__bytebuf_append(body, data, len < room ? len : room);
    if (body->status < 0) {
        t->request->status = shardy__bytebuf_check(body, "http", &t->request->error);
        return 0;
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    http_transfer *t = user;
    http_request *r = t->request;
    size_t len = size * count;
    t->progress_ns = shardy__monotonic_ns(t->client->context);
    if (!is_success(r)) {
        return keep_error_body(t, data, len);
    }
    size_t max = r->dest ? r->dest_len : r->reply_max;
    int is_longer = r->reply.length != HTTP_LENGTH_UNKNOWN && r->reply.length > max;
    if (is_longer || len > max || r->received > max - len) {
        r->too_long = 1;
        fail(r, SHARDY_IO, 1, "the reply is longer than what was asked for");
        return 0;
    }
    if (r->dest) {
        memcpy((char *)r->dest + r->received, data, len);
    } else {
        shardy__bytebuf_append(&r->reply_body, data, len);
        if (r->reply_body.status < 0) {
            r->status = shardy__bytebuf_check(&r->reply_body, "http", &r->error);
            return 0;
        }
    }
    r->received += len;
    return len;
}

static uint64_t body_len(const http_request *r)
{
    return r->from_file ? r->body_len : r->body.len;
}

static size_t on_send(char *dest, size_t size, size_t count, void *user)
{
    http_transfer *t = user;
    http_request *r = t->request;
    uint64_t left = body_len(r) - t->sent;
    size_t len = size * count < left ? size * count : (size_t)left;
    t->progress_ns = shardy__monotonic_ns(t->client->context);
    if (len == 0) {
        return 0;
    }
    if (r->from_file) {
        shardy_status st = shardy__file_read_at(r->fd, r->offset + t->sent, dest, len, &r->error);
        if (st < 0) {
            r->status = st;
            return CURL_READFUNC_ABORT;
        }
    } else {
        memcpy(dest, (const char *)r->body.data + t->sent, len);
    }
    t->sent += len;
    atomic_store_explicit(&r->sent, t->sent, memory_order_relaxed);
    return len;
}

/* From the start again: on a connection that was dead, or when a proxy asks twice. */
static int on_rewind(void *user, curl_off_t offset, int origin)
{
    http_transfer *t = user;
    if (t->request->once || offset < 0 || origin != SEEK_SET ||
        (uint64_t)offset > body_len(t->request)) {
        return CURL_SEEKFUNC_FAIL;
    }
    t->sent = (uint64_t)offset;
    atomic_store_explicit(&t->request->sent, t->sent, memory_order_relaxed);
    return CURL_SEEKFUNC_OK;
}

/* --- its connection ------------------------------------------------------------------------- */

static void set_located(http_transfer *t)
{
    t->looking = 0;
    if (!t->located) {
        t->located = 1;
        t->client->lookups--;
        t->client->engine->located = 1;
    }
}

/* The addresses are not known: those that were may be too old when a connection was dead. */
static int on_lookup(void *resolver, void *reserved, void *user)
{
    http_transfer *t = user;
    (void)resolver;
    (void)reserved;
    if (t->located) {
        t->client->lookups++;
    }
    t->located = t->connected = 0;
    t->looking = 1;
    return 0; /* a refusal would be kept as an answer by libcurl 8.16 */
}

static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    http_transfer *t = user;
    http_client *c = t->client;
    (void)purpose;
    c->address_ns = shardy__monotonic_ns(c->context);
    set_located(t);
    t->connected = 0;
    if (!t->request) {
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        int is_lack = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        t->lacking = is_lack ? errno : 0;
        return CURL_SOCKET_BAD;
    }
    c->engine->sockets++;
    return fd;
}

static int on_socket_close(void *user, curl_socket_t fd)
{
    http_engine *e = user;
    e->sockets--;
    return close(fd);
}

/* On a connection, which may have been there. */
static int on_connected(void *user, char *ours, char *theirs, int our_port, int their_port)
{
    (void)ours;
    (void)theirs;
    (void)our_port;
    (void)their_port;
    http_transfer *t = user;
    set_located(t);
    t->connected = 1;
    return t->request ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* --- making one ----------------------------------------------------------------------------- */

static shardy_status check_text(const char *text, const char *what, shardy_error *err)
{
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) {
            return shardy__error(
                err, SHARDY_INVALID, "http", "%s of a request has a control character", what);
        }
    }
    return SHARDY_OK;
}

static shardy_status check_request(const http_request *r, shardy_error *err)
{
    SHARDY_TRY(check_text(r->url, "the URL", err));
    if ((strncmp(r->url, "http://", 7) != 0 && strncmp(r->url, "https://", 8) != 0) ||
        strchr(r->url, ' ')) {
        return shardy__error(err, SHARDY_INVALID, "http",
            "\"%.*s\" is no URL of a request, expected http:// or https://", URL_FMT(r->url));
    }
    for (size_t i = 0; i < r->line_count; i++) {
        SHARDY_TRY(check_text(r->lines[i], "a header", err));
    }
    return SHARDY_OK;
}

static int add_line(http_transfer *t, const char *line)
{
    struct curl_slist *longer =
        shardy__fault(SHARDY_FAULT_ALLOC) ? NULL : curl_slist_append(t->lines, line);
    t->lines = longer ? longer : t->lines;
    return longer != NULL;
}

static int add_lines(http_transfer *t)
{
    /* Waiting for "100 Continue" costs a round trip; what libcurl adds by itself is not wanted. */
    int ok = add_line(t, "Expect:") && add_line(t, "Accept:");
    for (size_t i = 0; ok && i < t->request->line_count; i++) {
        ok = add_line(t, t->request->lines[i]);
    }
    return ok;
}

/* All options, or the first failure. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK) {                                                                      \
            rc = curl_easy_setopt(easy, (option), (value));                                        \
        }                                                                                          \
    } while (0)

static CURLcode set_method(CURL *easy, const http_transfer *t)
{
    CURLcode rc = CURLE_OK;
    const http_request *r = t->request;
    switch (r->method) {
    case HTTP_HEAD:
        SET(CURLOPT_NOBODY, 1L);
        break;
    case HTTP_DELETE:
        SET(CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    case HTTP_PUT:
    case HTTP_POST:
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_len(r));
        SET(CURLOPT_READFUNCTION, on_send);
        SET(CURLOPT_READDATA, (void *)(uintptr_t)t);
        SET(CURLOPT_SEEKFUNCTION, on_rewind);
        SET(CURLOPT_SEEKDATA, (void *)(uintptr_t)t);
        SET(CURLOPT_UPLOAD_BUFFERSIZE, SEND_LEN);
        SET(CURLOPT_CUSTOMREQUEST, method_name(r->method));
        break;
    default:
        SET(CURLOPT_HTTPGET, 1L);
        break;
    }
    return rc;
}

static const http_proxy *proxy_of(const http_transfer *t)
{
    return &t->client->proxies[strncmp(t->request->url, "https://", 8) == 0];
}

static CURLcode set_connection(CURL *easy, http_transfer *t)
{
    CURLcode rc = CURLE_OK;
    const http_client *c = t->client;
    long verify = c->options.verify_ssl ? 1L : 0L;
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, verify);
    SET(CURLOPT_SSL_VERIFYHOST, verify * 2);
    /* Of several addresses each gets a share of it. That it is over is_late() has to see first, as
     * libcurl would wait for a look-up. */
    uint32_t connect_ms = c->options.connect_timeout_ms;
    connect_ms = connect_ms < INT32_MAX / 2 ? connect_ms + connect_ms / 4 : INT32_MAX;
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
#if LIBCURL_VERSION_NUM >= 0x080e00
    SET(CURLOPT_QUICK_EXIT, 1L); /* not before: 7.87 to 8.13 use freed memory then */
#endif
    SET(CURLOPT_MAXAGE_CONN, CONNECTION_AGE_S);
    SET(CURLOPT_RESOLVER_START_FUNCTION, on_lookup);
    SET(CURLOPT_RESOLVER_START_DATA, (void *)t);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, (void *)t);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
    SET(CURLOPT_CLOSESOCKETDATA, (void *)c->engine);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, (void *)t);
    if (c->ca_bundle) {
        SET(CURLOPT_CAINFO, c->ca_bundle);
        SET(CURLOPT_PROXY_CAINFO, c->ca_bundle);
    }
    /* One that cannot be is refused by libcurl without a look at it, unless it is not needed. */
    const http_proxy *proxy = proxy_of(t);
    SET(CURLOPT_PROXY, proxy->problem ? "none://proxy" : proxy->url);
    if (proxy->user[0] || proxy->password[0]) {
        SET(CURLOPT_PROXYUSERNAME, proxy->user);
        SET(CURLOPT_PROXYPASSWORD, proxy->password);
    }
    return rc;
}

static CURLcode set_options(http_transfer *t)
{
    CURL *easy = t->easy;
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_URL, t->request->url);
    SET(CURLOPT_PRIVATE, (void *)t);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_FRESH_CONNECT, t->request->once ? 1L : 0L);
    SET(CURLOPT_USERAGENT, "shardyfusion/" SHARDY_VERSION);
    SET(CURLOPT_HTTPHEADER, t->lines);
    SET(CURLOPT_ERRORBUFFER, t->text);
    SET(CURLOPT_BUFFERSIZE, RECEIVE_LEN);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, (void *)t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, (void *)t);
    if (rc == CURLE_OK) {
        rc = set_connection(easy, t);
    }
    return rc == CURLE_OK ? set_method(easy, t) : rc;
}

static shardy_status make_transfer(
    http_client *client, http_request *request, http_transfer **transfer_out, shardy_error *err)
{
    SHARDY_TRY(check_request(request, err));
    SHARDY_TRY(
        shardy__check_time(client->context, request->deadline_ns, request->cancel, "http", err));
    http_transfer *t = shardy__calloc(1, sizeof *t);
    if (!t) {
        return shardy__error_nomem(err, "http");
    }
    t->client = client;
    t->request = request;
    t->progress_ns = shardy__monotonic_ns(client->context);
    if (request->wait_until) {
        *transfer_out = t;
        return SHARDY_OK;
    }
    t->easy = shardy__fault(SHARDY_FAULT_ALLOC) ? NULL : curl_easy_init();
    CURLcode rc = t->easy && add_lines(t) ? set_options(t) : CURLE_OUT_OF_MEMORY;
    if (rc != CURLE_OK) {
        free_transfer(t);
        return rc == CURLE_OUT_OF_MEMORY
                   ? shardy__error_nomem(err, "http")
                   : shardy__error_native(err, SHARDY_CONFIG, 0, (int64_t)rc, "http",
                         "libcurl does not take the options of a request: %s",
                         curl_easy_strerror(rc));
    }
    *transfer_out = t;
    return SHARDY_OK;
}

/* --- the engine's thread -------------------------------------------------------------------- */

static void deactivate(http_engine *e, http_transfer *t)
{
    http_client *c = t->client;
    curl_multi_remove_handle(e->multi, t->easy);
    if (!t->located) { /* others need not wait for it any more */
        c->address_ns = shardy__monotonic_ns(e->context);
        set_located(t);
    }
    t->active = 0;
    c->active--;
}

static void drop_client(http_client *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        OPENSSL_cleanse(c->proxies, sizeof c->proxies);
        shardy__free(c->ca_bundle);
        shardy__free(c);
    }
}

/* Leaves a transfer that looks a name up to libcurl, without its request and without end.
 * It keeps its place among those of its client: there are never more threads than connections. */
static void forget(http_transfer *t)
{
    atomic_fetch_add_explicit(&t->client->refs, 1, memory_order_relaxed);
    t->request = NULL;
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)INT32_MAX);
}

static void remove_transfer(http_engine *e, http_transfer *t)
{
    if (t->active) {
        deactivate(e, t);
    } else if (!t->request->wait_until) {
        unqueue(&t->client->waiting, t);
    }
    if (t->before) {
        t->before->after = t->after;
    } else {
        e->all = t->after;
    }
    if (t->after) {
        t->after->before = t->before;
    }
    free_transfer(t);
    if (!e->all) {
        e->idle_ns = shardy__monotonic_ns(e->context); /* before anybody can know of it */
    }
}

/* Ends a transfer and tells who asked for it. `is_over`: libcurl is done with it. */
static void finish(http_engine *e, http_transfer *t, int is_over)
{
    http_request *r = t->request;
    r->transfer = NULL;
    if (t->looking && !is_over) {
        forget(t);
    } else {
        remove_transfer(e, t);
    }
    r->done(r);
}

static shardy_status status_of_code(CURLcode rc, int *retriable_out)
{
    *retriable_out = 0;
    switch (rc) {
    case CURLE_OUT_OF_MEMORY:
        return SHARDY_NOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return SHARDY_AUTH;
    case CURLE_SSL_CACERT_BADFILE:
        return SHARDY_CONFIG;
    case CURLE_URL_MALFORMAT:
        return SHARDY_INVALID;
    case CURLE_OPERATION_TIMEDOUT:
        *retriable_out = 1;
        return SHARDY_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        *retriable_out = 1;
        return SHARDY_UNAVAILABLE;
    default:
        *retriable_out = 1;
        return SHARDY_IO;
    }
}

/* What a proxy answers when it is asked for a tunnel; 0: it was not asked, or made one. */
static long refusal_of_proxy(const http_transfer *t)
{
    long code = 0;
    if (curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &code) != CURLE_OK) {
        return 0;
    }
    return code >= 300 ? code : 0;
}

static shardy_status set_proxy_failure(http_request *r, long code)
{
    if (code == 401 || code == 403 || code == 407) {
        return shardy__error_native(&r->error, SHARDY_AUTH, 0, code, "http",
            "%s \"%.*s\": the proxy %s: %ld", method_name(r->method), URL_FMT(r->url),
            code == 407 ? HTTP_PROXY_WANTS_USER : "refuses a connection to that host", code);
    }
    shardy_status st = code == 429 ? SHARDY_THROTTLED : SHARDY_UNAVAILABLE;
    return shardy__error_native(&r->error, st, 1, code, "http",
        "%s \"%.*s\": the proxy makes no connection to that host: %ld", method_name(r->method),
        URL_FMT(r->url), code);
}

/* The text of libcurl, unless it may quote a URL, in which there may be secrets. */
static const char *text_of_failure(const http_transfer *t, CURLcode rc)
{
    int quotes = strstr(t->text, "://") || strpbrk(t->text, "@?") != NULL;
    return t->text[0] && !quotes ? t->text : curl_easy_strerror(rc);
}

/* Whether another handshake would end in the same way, as there is no version of TLS in common.
 * libcurl has one code for all that can happen to a handshake; OpenSSL's number is in its text. */
static int is_final_handshake(const http_transfer *t, CURLcode rc)
{
    static const int reasons[] = {SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION,
        SSL_R_NO_PROTOCOLS_AVAILABLE};
    static const char before[] = "error:";
    const char *at = rc == CURLE_SSL_CONNECT_ERROR ? strstr(t->text, before) : NULL;
    unsigned long code = 0;
    int found = 0;
    at = at ? at + strlen(before) : "";
    for (; shardy__hex_value(*at) >= 0; at++) {
        code = (code << 4 | (unsigned long)shardy__hex_value(*at)) & 0xFFFFFFFF;
    }
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        found |= ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == reasons[i];
    }
    return found;
}

static void set_failure(http_transfer *t, CURLcode rc)
{
    http_request *r = t->request;
    if (rc == CURLE_OK || r->status < 0) {
        return; /* a callback has said what is wrong */
    }
    int retriable;
    shardy_status st = status_of_code(rc, &retriable);
    retriable &= !is_final_handshake(t, rc);
    long refusal = refusal_of_proxy(t);
    if (st == SHARDY_NOMEM) {
        r->status = shardy__error_nomem(&r->error, "http");
    } else if (proxy_of(t)->problem && !t->located && rc != CURLE_COULDNT_RESOLVE_HOST &&
               st != SHARDY_TIMEOUT) {
        r->status = shardy__proxy_refuse(proxy_of(t), &r->error);
    } else if (refusal) {
        r->status = set_proxy_failure(r, refusal);
    } else {
        r->status = shardy__error_native(&r->error, st, retriable, (int64_t)rc, "http",
            "%s \"%.*s\": %.200s", method_name(r->method), URL_FMT(r->url), text_of_failure(t, rc));
    }
}

static int may_start(const http_client *c)
{
    if (c->active >= c->room || !c->waiting.first) {
        return 0;
    }
    return c->lookups < LOOKUPS_MAX ||
           (c->address_ns && shardy__monotonic_ns(c->context) - c->address_ns < ADDRESS_AGE_NS);
}

/* Gives the multi handle as many transfers of a client as it may have. */
static void start_waiting(http_engine *e, http_client *c)
{
    while (may_start(c)) {
        http_transfer *t = pop(&c->waiting);
        CURLMcode rc = shardy__fault(SHARDY_FAULT_ALLOC) ? CURLM_OUT_OF_MEMORY
                                                         : curl_multi_add_handle(e->multi, t->easy);
        t->progress_ns = shardy__monotonic_ns(e->context);
        if (rc == CURLM_OK) {
            t->active = 1;
            c->active++;
            c->lookups++;
        } else {
            /* The client may be closed by whoever is told of its last request. */
            int more = c->waiting.first != NULL;
            set_failure(t, CURLE_OUT_OF_MEMORY);
            finish(e, t, 1);
            if (!more) {
                break;
            }
        }
    }
}

static void take_over(http_engine *e, http_transfer *t)
{
    t->before = NULL;
    t->after = e->all;
    if (e->all) {
        e->all->before = t;
    }
    e->all = t;
    if (!t->request->wait_until) {
        push(&t->client->waiting, t);
        start_waiting(e, t->client);
    }
}

/* 1: stopping. */
static int take_submitted(http_engine *e)
{
    shardy__mutex_lock(&e->lock);
    http_transfer *list = e->submitted.first;
    e->submitted.first = e->submitted.last = NULL;
    int stopping = e->stopping;
    shardy__mutex_unlock(&e->lock);
    while (list) {
        http_transfer *t = list;
        list = t->next;
        take_over(e, t);
    }
    return stopping;
}

/* Those that waited for the address of a server. */
static void start_located(http_engine *e)
{
    http_transfer *t = e->located ? e->all : NULL;
    e->located = 0;
    while (t) {
        if (!t->active && !t->request->wait_until && may_start(t->client)) {
            start_waiting(e, t->client);
            t = e->all; /* who was told of a failure may have changed it */
        } else {
            t = t->after;
        }
    }
}

/* 1 when a transfer that had no descriptor for its connection waits again, for one of the others
 * of its client: nothing was sent. There are no more at once than there were descriptors for, but
 * one for each that ends well. */
static int put_back(http_engine *e, http_transfer *t, CURLcode rc)
{
    http_client *c = t->client;
    if (rc == CURLE_OK) {
        c->room += c->room < c->options.connections_max;
        return 0;
    }
    if (!t->lacking || t->connected || t->request->status < 0) {
        return 0;
    }
    if (c->active == 1) {
        t->request->status = shardy__error_native(&t->request->error, SHARDY_EXHAUSTED, 1,
            t->lacking, "http", "%s \"%.*s\": no descriptor is left for a connection",
            method_name(t->request->method), URL_FMT(t->request->url));
        return 0;
    }
    deactivate(e, t);
    c->room = c->active;
    t->located = t->lacking = 0;
    t->sent = 0; /* on a connection that was dead */
    t->text[0] = '\0';
    t->next = c->waiting.first;
    c->waiting.first = t;
    c->waiting.last = c->waiting.last ? c->waiting.last : t;
    return 1;
}

static void end_forgotten(http_engine *e, http_transfer *t)
{
    http_client *c = t->client;
    remove_transfer(e, t);
    start_waiting(e, c);
    drop_client(c);
}

static void finish_completed(http_engine *e)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(e->multi, &left)) != NULL) {
        char *private = NULL;
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode rc = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        http_transfer *t = (http_transfer *)(void *)private;
        http_client *c = t->client;
        if (!t->request) {
            end_forgotten(e, t);
            continue;
        }
        if (put_back(e, t, rc)) {
            continue;
        }
        set_failure(t, rc);
        /* The client may be closed by whoever is told of its last request. */
        int more = c->waiting.first != NULL;
        finish(e, t, 1);
        if (more) {
            start_waiting(e, c);
        }
    }
}

/* 1 when a transfer has to end now, with the failure if there is one. */
static int is_late(http_transfer *t, int64_t now)
{
    http_request *r = t->request;
    const http_options *o = &t->client->options;
    shardy_error why;
    if (!r) {
        return 0;
    }
    int64_t silence = t->active ? now - t->progress_ns : 0;
    shardy_status st =
        shardy__check_time(t->client->context, r->deadline_ns, r->cancel, "http", &why);
    if (st < 0) {
        /* What the server has done by then is not known. */
        r->status = shardy__error_native(&r->error, st, 1, 0, "http", "%s \"%.*s\": %.200s",
            method_name(r->method), URL_FMT(r->url), why.message);
    } else if (!t->connected && silence > (int64_t)o->connect_timeout_ms * 1000000) {
        r->status = shardy__error(&r->error, SHARDY_TIMEOUT, "http",
            "%s \"%.*s\": there was no connection after %u ms", method_name(r->method),
            URL_FMT(r->url), o->connect_timeout_ms);
    } else if (silence > (int64_t)o->read_timeout_ms * 1000000) {
        r->status = shardy__error(&r->error, SHARDY_TIMEOUT, "http",
            "%s \"%.*s\": no byte came or went for %u ms", method_name(r->method), URL_FMT(r->url),
            o->read_timeout_ms);
    }
    return r->status < 0 || (r->wait_until && r->wait_until(r));
}

static void finish_late(http_engine *e)
{
    int64_t now = shardy__monotonic_ns(e->context);
    int again = 1;
    /* After each that ends the list is looked at anew: whoever was told may have changed it. */
    while (again) {
        http_transfer *t = e->all;
        while (t && !is_late(t, now)) {
            t = t->after;
        }
        again = t != NULL;
        if (t) {
            http_client *c = t->client;
            int more = c->waiting.first != NULL && c->waiting.first != t;
            finish(e, t, 0);
            if (more) {
                start_waiting(e, c);
            }
        }
    }
}

/* Nobody has requests open when a context ends, unless it broke the rules; he is told. Look-ups are
 * waited for. */
static void finish_all(http_engine *e)
{
    while (e->all) {
        http_transfer *t = e->all;
        http_client *c = t->client;
        if (t->request) {
            fail(t->request, SHARDY_CANCELLED, 0, "the context was closed");
            finish(e, t, 0);
        } else {
            remove_transfer(e, t);
            drop_client(c);
        }
    }
}

/* Also when the clock stands still, as that of a test may. */
static int tick_is_due(http_engine *e)
{
    int64_t now = shardy__monotonic_ns(e->context);
    if (now > e->looked_ns && now - e->looked_ns < TICK_NS / 2) {
        return 0;
    }
    e->looked_ns = now;
    return 1;
}

/* Files, and whatever else the program has open, need descriptors too. */
static uint32_t share_of_descriptors(uint32_t most)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return most;
    }
    uint64_t share = limit.rlim_cur / DESCRIPTOR_SHARE;
    share = share > 1 ? share : 1;
    return share < most ? (uint32_t)share : most;
}

/* Without descriptors libcurl makes a handle that cannot be woken. */
static shardy_status new_multi(CURLM **multi_out, shardy_error *err)
{
    CURLM *multi = shardy__fault(SHARDY_FAULT_ALLOC) ? NULL : curl_multi_init();
    *multi_out = NULL;
    if (!multi) {
        return shardy__error_nomem(err, "http");
    }
    if (curl_multi_wakeup(multi) != CURLM_OK) {
        curl_multi_cleanup(multi);
        return shardy__error_native(
            err, SHARDY_EXHAUSTED, 1, 0, "http", "no descriptor is left for connections");
    }
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    /* Of idle ones each request with `once` leaves one. */
    curl_multi_setopt(
        multi, CURLMOPT_MAXCONNECTS, (long)share_of_descriptors(SHARDY_CONNECTIONS_MAX));
#if LIBCURL_VERSION_NUM >= 0x081400
    curl_multi_setopt(multi, CURLMOPT_QUICK_EXIT, 1L);
#endif
    *multi_out = multi;
    return SHARDY_OK;
}

/* Connections that nobody has used for so long that nobody will. libcurl closes them when the next
 * request looks for one, which may never come, and has no other way than to begin anew. */
static void close_idle(http_engine *e)
{
    int64_t now = shardy__monotonic_ns(e->context);
    CURLM *fresh = NULL;
    if (e->idle_ns && e->sockets > 0 && now - e->idle_ns >= CONNECTION_AGE_NS) {
        e->idle_ns = now;
        (void)new_multi(&fresh, NULL); /* else the old one goes on */
    }
    if (fresh) {
        CURLM *old = e->multi;
        shardy__mutex_lock(&e->lock);
        e->multi = fresh;
        shardy__mutex_unlock(&e->lock);
        curl_multi_cleanup(old);
    }
}

/* Until there is something to do. */
static void wait_for_work(http_engine *e)
{
    int ms = TICK_MS;
    if (e->all) {
        e->idle_ns = 0;
    } else {
        ms = e->sockets > 0 ? (int)CONNECTION_AGE_S * 1000 + TICK_MS : IDLE_MS;
        e->idle_ns = e->idle_ns ? e->idle_ns : shardy__monotonic_ns(e->context);
    }
    curl_multi_poll(e->multi, NULL, 0, ms, NULL);
    close_idle(e);
}

static void *engine_loop(void *arg)
{
    http_engine *e = arg;
    sigset_t signals;
    sigfillset(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* they are the program's; SIGPIPE is nobody's */
    while (!take_submitted(e)) {
        int running = 0;
        CURLMcode rc = curl_multi_perform(e->multi, &running);
        start_located(e);
        finish_completed(e);
        if (rc != CURLM_OK || tick_is_due(e)) {
            finish_late(e);
        }
        wait_for_work(e);
    }
    finish_all(e);
    return NULL;
}

/* --- the engine ----------------------------------------------------------------------------- */

static void end_engine(context_part *part)
{
    http_engine *e = (http_engine *)part; /* its first member */
    shardy__mutex_lock(&e->lock);
    e->stopping = 1;
    if (e->has_thread) {
        curl_multi_wakeup(e->multi);
    }
    shardy__mutex_unlock(&e->lock);
    if (e->has_thread) {
        shardy__thread_join(e->thread);
    }
    curl_multi_cleanup(e->multi);
    shardy__mutex_destroy(&e->lock);
    shardy__free(e);
}

static shardy_status make_engine(
    const shardy_context *context, context_part **part_out, shardy_error *err)
{
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK) {
        return shardy__error_native(err, SHARDY_EXHAUSTED, 0, (int64_t)global_result, "http",
            "libcurl cannot be initialised: %s", curl_easy_strerror(global_result));
    }
    http_engine *e = shardy__calloc(1, sizeof *e);
    shardy_status st = e ? new_multi(&e->multi, err) : shardy__error_nomem(err, "http");
    if (st < 0) {
        shardy__free(e);
        return st;
    }
    e->part.end = end_engine;
    e->context = context;
    shardy__mutex_init(&e->lock);
    *part_out = &e->part;
    return SHARDY_OK;
}

static shardy_status submit(http_engine *e, http_transfer *t, shardy_error *err)
{
    shardy_status st = SHARDY_OK;
    shardy__mutex_lock(&e->lock);
    if (!e->has_thread) {
        st = shardy__thread_start(&e->thread, engine_loop, e, "shardy-http", err);
        e->has_thread = st >= 0;
    }
    if (st >= 0) {
        push(&e->submitted, t);
        curl_multi_wakeup(e->multi);
    }
    shardy__mutex_unlock(&e->lock);
    return st;
}

/* --- clients -------------------------------------------------------------------------------- */

static shardy_status check_options(const http_options *o, shardy_error *err)
{
    if (o->connections_max < 1 || o->connections_max > SHARDY_CONNECTIONS_MAX) {
        return shardy__error(err, SHARDY_INVALID, "http", "connections_max is %u, expected 1 to %u",
            o->connections_max, SHARDY_CONNECTIONS_MAX);
    }
    if (o->connect_timeout_ms < 1 || o->read_timeout_ms < 1 || o->connect_timeout_ms > INT32_MAX) {
        return shardy__error(err, SHARDY_INVALID, "http",
            "connect_timeout_ms is %u and read_timeout_ms %u, expected 1 at least",
            o->connect_timeout_ms, o->read_timeout_ms);
    }
    return SHARDY_OK;
}

shardy_status shardy__http_open(shardy_context *context, const http_options *options,
    http_client **client_out, shardy_error *err)
{
    *client_out = NULL;
    SHARDY_TRY(check_options(options, err));
    context_part *part = NULL;
    SHARDY_TRY(shardy__context_transfers(context, make_engine, &part, err));
    http_client *c = shardy__calloc(1, sizeof *c);
    if (c) {
        atomic_init(&c->refs, 1);
        c->engine = (http_engine *)part;
        c->context = context;
        c->options = *options;
        c->options.connections_max = c->room = share_of_descriptors(options->connections_max);
        c->ca_bundle = options->ca_bundle ? shardy__strdup(options->ca_bundle) : NULL;
    }
    if (!c || (options->ca_bundle && !c->ca_bundle)) {
        shardy__http_close(c);
        return shardy__error_nomem(err, "http");
    }
    shardy_status st = shardy__proxy_find(options->proxy, 0, &c->proxies[0], err);
    if (st >= 0) {
        st = shardy__proxy_find(options->proxy, 1, &c->proxies[1], err);
    }
    if (st < 0) {
        shardy__http_close(c);
        return st;
    }
    *client_out = c;
    return SHARDY_OK;
}

void shardy__http_close(http_client *client)
{
    if (client) {
        drop_client(client);
    }
}

void shardy__http_start(http_client *client, http_request *request)
{
    request->status = SHARDY_OK;
    request->received = 0;
    request->too_long = 0;
    request->transfer = NULL;
    shardy__error_clear(&request->error);
    shardy__http_reply_clear(&request->reply);
    size_t max =
        request->reply_max > HTTP_ERROR_BODY_MAX ? request->reply_max : HTTP_ERROR_BODY_MAX;
    shardy__bytebuf_init(&request->reply_body, max);
    http_transfer *t = NULL;
    shardy_status st = make_transfer(client, request, &t, &request->error);
    if (st >= 0) {
        request->transfer = t;
        st = submit(client->engine, t, &request->error);
    }
    if (st < 0) {
        free_transfer(t);
        request->transfer = NULL;
        request->status = st;
        request->done(request);
    }
}

void shardy__http_look(const http_client *client)
{
    http_engine *e = client->engine;
    shardy__mutex_lock(&e->lock);
    int own = e->has_thread && pthread_equal(pthread_self(), e->thread);
    shardy__mutex_unlock(&e->lock);
    if (own) {
        e->looked_ns = 0;
    }
}
