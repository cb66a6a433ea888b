/* server.h: servers that tests start for themselves: our S3 server with scripted faults, the one of
 * moto, stand-ins for sources of credentials, Postgres. They listen on the loopback address, on a
 * port that was free, and end with the test program however that ends. A server that cannot be
 * started fails the test: scripts/setup test installs what they need.
 *
 * Start them in a group set-up and stop them in its tear-down; several tests then share one, and
 * begin with server_reset(). Not for several threads, but for server_url() and what it answers. */
#ifndef SHARDY_TESTS_SERVER_H
#define SHARDY_TESTS_SERVER_H

#include <shardyfusion/context.h>

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* What our S3 server and moto expect and have. moto does not look at signatures. */
#define SERVER_ACCESS_KEY "test-access-key"
#define SERVER_SECRET_KEY "test-secret-key"
#define SERVER_REGION     "us-east-1"
#define SERVER_BUCKET     "test-bucket"

typedef struct server server;

/* Our S3 server (tests/servers/s3_server.py --help). `arguments` are further ones, a list that ends
 * with NULL, or NULL. */
server *server_start_s3(const char *const *arguments);
/* moto. */
server *server_start_moto(void);
/* Instance and container metadata, web identity (tests/servers/credentials_server.py). */
server *server_start_credentials(const char *const *arguments);
/* Answers everything with an error and records what it was sent (the same, --evil). */
server *server_start_evil(void);
/* A proxy to one of ours, by http:// and, when that has "--tls", by CONNECT; whatever host is
 * named. `user` is "NAME:PASSWORD", or NULL. It has no control interface. */
server *server_start_proxy(const server *to, const char *user);
/* Postgres, with an empty database. Takes some seconds. */
server *server_start_postgres(void);
/* Between clients and that Postgres, with faults at its requests (tests/servers/postgres_proxy.py):
 * server_conninfo(..., 0) is the way through it. */
server *server_start_postgres_proxy(const server *to);
/* Ends it and frees. NULL is fine. */
void server_stop(server *s);

/* "http://127.0.0.1:PORT" */
const char *server_url(const server *s);
/* When our S3 server was given "--tls", KIND: the same with TLS, and the certificate to trust. KIND
 * is good, expired, other-host, self-signed or old-tls. */
const char *server_tls_url(const server *s);
const char *server_ca_file(const server *s);
unsigned server_port(const server *s);
int server_pid(const server *s);
/* Postgres: what libpq takes, by the port or, with `by_socket`, by its socket. */
const char *server_conninfo(const server *s, int by_socket);

/* --- the control interface of our servers: fails the test when the server refuses ------------- */

/* No faults, an empty log, nothing held, no delay. Objects stay. */
void server_reset(server *s);
/* These rules, and no others, from now on: JSON, see tests/servers/faults.py. NULL: none. */
void server_faults(server *s, const char *rules);
/* Settings as JSON, e.g. {"delay_ms": 20} (tests/servers/control.py). */
void server_settings(server *s, const char *json);
/* One of the sums over the log: "requests", "round_trips", "bytes_out", "method.GET",
 * "operation.put_object", "status.503", "fault.drop", ... 0 for what there was not. `filter` is a
 * query such as "since=12&key=*_CURRENT", or NULL. */
uint64_t server_count(server *s, const char *what, const char *filter);
/* The log as JSON lines; the same filter. Free with free(). */
char *server_log(server *s, const char *filter);
/* Waits until `count` requests are held by rules of the kind "hold". */
void server_wait_held(server *s, unsigned count);
/* Who cancels a call once a request of it is held. */
typedef struct server_canceller {
    server *server;
    shardy_cancel *cancel; /* for the call */
    pthread_t thread;
} server_canceller;
/* The rule that holds is set before. */
void server_cancel_held(server *s, server_canceller *c);
/* After the call. */
void server_canceller_end(server_canceller *c);
/* Lets `count` of them go on, the oldest first; 0: all. */
void server_release(server *s, unsigned count);
/* Puts an object behind the client's back, and reads one: no request is counted. What is read is
 * zero-terminated, NULL when there is no such object; free with free(). */
void server_put_object(
    server *s, const char *bucket, const char *key, const void *data, size_t len);
char *server_get_object(server *s, const char *bucket, const char *key, size_t *len_out);
/* Below the prefix `to` is then what is below `from`, and nothing else; no request is counted.
 * Returns how many objects. */
unsigned server_copy_objects(server *s, const char *bucket, const char *from, const char *to);
/* How many requests the rules of server_faults() have been applied to, in all. */
uint64_t server_faults_used(server *s);

/* A request without a signature, to any path of a server of ours. Returns the status of HTTP, 0
 * when the server closed without a reply; the body zero-terminated, free with free(). */
typedef struct server_reply {
    int status;
    char *head; /* status line and headers */
    char *body;
    size_t len;
} server_reply;

server_reply server_request(
    server *s, const char *method, const char *target, const void *body, size_t len);
void server_reply_free(server_reply *reply);

#endif
