/* http.h: the transfer engine: HTTP requests on libcurl.
 *
 * A context has one thread for all its requests, started with the first of them and ended with the
 * context, and one pool of connections, which are opened when they are needed. Idle ones are closed
 * after 15 s. A request that finds no descriptor for a connection waits for that of another one.
 * While the address of a server is not known, a few requests look it up, the others wait for them;
 * what ends before its look-up leaves that behind. The end of the context waits for those.
 * Redirects are not followed, nothing is taken from a netrc
 * file, and nothing but http and https is spoken, in HTTP/1.1. Each reply has a bound.
 *
 * libcurl has state of its own for the whole process: it is initialised once, with the memory
 * functions of the C library (a program may use libcurl itself, and its memory is not ours to
 * choose), and never given back.
 *
 * A child process must not use what was opened before the fork, whoever opened it checks that. */
#ifndef SHARDY_STORE_HTTP_H
#define SHARDY_STORE_HTTP_H

#include "http_reply.h"

#include "../base/bytebuf.h"
#include "../base/context.h"

typedef enum http_method {
    HTTP_GET = 0,
    HTTP_HEAD,
    HTTP_PUT,
    HTTP_POST,
    HTTP_DELETE
} http_method;

/* How servers are reached. */
typedef struct http_options {
    const char *proxy;     /* NULL: that of the environment (proxy.h); "": none */
    const char *ca_bundle; /* file; NULL: the system's */
    int32_t verify_ssl;
    uint32_t connect_timeout_ms;
    uint32_t read_timeout_ms; /* without any progress */
    /* requests of this client at once; others wait. Never more than a quarter of the descriptors
     * that the process may have when the client is opened */
    uint32_t connections_max;
} http_options;

typedef struct http_client http_client;
typedef struct http_transfer http_transfer;

/* The caller clears it, fills the first part and owns it, and all it points to, until `done`. */
typedef struct http_request {
    http_method method;
    int32_t once;             /* 1: never sent again by itself, not even on a dead connection */
    const char *url;          /* percent-encoded */
    const char *const *lines; /* headers, "Name: value" */
    size_t line_count;
    shardy_bytes body; /* of PUT and POST, or */
    int32_t from_file; /* 1: `body_len` bytes of the file `fd` from `offset` on */
    int32_t fd;
    uint64_t offset;
    uint64_t body_len;
    /* Where the body of a reply 200 or 206 goes: these `dest_len` bytes, or with NULL `reply_body`.
     * Bodies of other replies always go to `reply_body`, cut at HTTP_ERROR_BODY_MAX. */
    void *dest;
    size_t dest_len;
    size_t reply_max;    /* bound of `reply_body` */
    int64_t deadline_ns; /* monotonic clock of the context; 0: none */
    const shardy_cancel *cancel;
    /* On the engine's thread, or on the calling one when the request could not be started. May free
     * the request; must not wait. */
    void (*done)(struct http_request *request);
    void *user;
    /* NULL; else nothing is sent, the request ends with OK and no reply when this answers 1. It is
     * asked on the engine's thread several times a second. Deadline and cancel count as ever. */
    int (*wait_until)(const struct http_request *request);
    /* NULL, or called several times a second by the thread that waits in shardy__http_run(). */
    void (*waiting)(const struct http_request *request);

    /* Filled: */
    shardy_status status; /* OK: a reply came whole, whatever its code */
    shardy_error error;
    http_reply reply;
    bytebuf reply_body;      /* the caller's to free */
    _Atomic uint64_t sent;   /* bytes of the body that have gone out so far */
    uint64_t received;       /* bytes of the body of a reply 200 or 206 */
    int32_t too_long;        /* 1: it failed because there was no room for the body */
    http_transfer *transfer; /* the engine's */
} http_request;

#define HTTP_ERROR_BODY_MAX (64u << 10)

/* The URL without its query, which may hold a secret. */
#define URL_FMT(url) ((int)(strcspn((url), "?") > 300 ? 300 : strcspn((url), "?"))), (url)

/* The end of a sentence about a proxy that answers 407. */
#define HTTP_PROXY_WANTS_USER "wants a user and a password, or others"

/* Texts are copied. INVALID for options out of bounds, CONFIG for a proxy that cannot be. */
shardy_status shardy__http_open(shardy_context *context, const http_options *options,
    http_client **client_out, shardy_error *err);
/* After the last request was done. NULL is fine. */
void shardy__http_close(http_client *client);

/* Starts a request. Never blocks; `done` is called once, always. A failure after which it is not
 * known whether the server did what was asked is retriable.
 * Statuses: OK; INVALID (URL, headers), UNAVAILABLE (no connection), IO (it was lost), TIMEOUT,
 * CANCELLED, AUTH (the server's certificate, the proxy's password), CONFIG (the CA bundle, the
 * proxy), THROTTLED (by the proxy), NOMEM, EXHAUSTED. Any thread but the engine's own may wait for
 * it. */
void shardy__http_start(http_client *client, http_request *request);
/* The same, and waits. `done` and `user` are used by it. */
shardy_status shardy__http_run(http_client *client, http_request *request, shardy_error *err);
/* On the thread that calls `done`: what requests wait for may be there, so that `wait_until` is
 * asked next, without delay. On others it does nothing. */
void shardy__http_look(const http_client *client);

#endif
