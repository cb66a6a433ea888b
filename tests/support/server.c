#define _GNU_SOURCE
#include "server.h"

#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32
#define LINE_MAX_LEN  512

struct server {
    pid_t pid;
    int input; /* the server ends when this is closed */
    unsigned port;
    char url[128];
    char words[2][256]; /* what follows on the first line */
    char tls_url[384];
    char conninfo[2][512];
};

/* --- starting and stopping -------------------------------------------------------------------- */

/* In the child: only calls that are safe after a fork of a program with threads. */
static void run_child(char *const *argv, int input, int output, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0) {
        _exit(126);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(argv[0], argv);
    _exit(127);
}

static void start_process(server *s, char *const *argv, int *output)
{
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        fail_msg("no pipe: %s", strerror(errno));
    }
    pid_t parent = getpid();
    s->pid = fork();
    if (s->pid == 0) {
        run_child(argv, in[0], out[1], parent);
    }
    close(in[0]);
    close(out[1]);
    s->input = in[1];
    *output = out[0];
    if (s->pid < 0) {
        fail_msg("no process: %s", strerror(errno));
    }
}

/* The first line that a server prints, or as much of it as there is. */
static void read_line(int fd, char *line, size_t room)
{
    size_t len = 0;
    while (len + 1 < room) {
        ssize_t got = read(fd, line + len, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || line[len] == '\n') {
            break;
        }
        len++;
    }
    line[len] = '\0';
}

static server *start(const char *script, const char *const *arguments)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/servers/%s", SHARDY_SOURCE_DIR, script);
    const char *argv[ARGUMENTS_MAX] = {SHARDY_TEST_PYTHON, path, "--until-eof"};
    size_t count = 3;
    while (arguments && *arguments && count + 1 < ARGUMENTS_MAX) {
        argv[count++] = *arguments++;
    }
    server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    int output;
    start_process(s, (char *const *)(uintptr_t)argv, &output);
    char line[LINE_MAX_LEN];
    read_line(output, line, sizeof line);
    close(output);
    char host[64];
    if (sscanf(line, "ready %63s %u %255s %255s", host, &s->port, s->words[0], s->words[1]) < 2 ||
        s->port == 0) {
        server_stop(s);
        fail_msg(
            "%s did not start (\"%s\"); scripts/setup test installs what it needs", script, line);
    }
    snprintf(s->url, sizeof s->url, "http://%s:%u", host, s->port);
    snprintf(s->conninfo[0], sizeof s->conninfo[0], "host=%s port=%u user=test dbname=test", host,
        s->port);
    snprintf(s->conninfo[1], sizeof s->conninfo[1], "host=%s port=%u user=test dbname=test",
        s->words[0], s->port);
    snprintf(s->tls_url, sizeof s->tls_url, "https://%s:%s", host, s->words[0]);
    return s;
}

server *server_start_s3(const char *const *arguments)
{
    return start("s3_server.py", arguments);
}

server *server_start_moto(void)
{
    return start("moto_server.py", NULL);
}

server *server_start_proxy(const server *to, const char *user)
{
    char port[16];
    char option[128];
    char tls[300];
    snprintf(port, sizeof port, "%u", to->port);
    snprintf(option, sizeof option, "--user=%s", user ? user : "");
    snprintf(tls, sizeof tls, "--tls-port=%s", to->words[0][0] ? to->words[0] : "1");
    const char *const arguments[] = {option, tls, port, NULL};
    return start("proxy_server.py", arguments);
}

server *server_start_credentials(const char *const *arguments)
{
    return start("credentials_server.py", arguments);
}

server *server_start_evil(void)
{
    static const char *const arguments[] = {"--evil", "--record-headers", NULL};
    return start("credentials_server.py", arguments);
}

server *server_start_postgres(void)
{
    return start("postgres_server.py", NULL);
}

server *server_start_postgres_proxy(const server *to)
{
    char port[16];
    snprintf(port, sizeof port, "%u", to->port);
    const char *const arguments[] = {port, NULL};
    server *s = start("postgres_proxy.py", arguments);
    snprintf(s->conninfo[0], sizeof s->conninfo[0],
        "host=127.0.0.1 port=%.16s user=test dbname=test", s->words[0]);
    return s;
}

void server_stop(server *s)
{
    if (!s) {
        return;
    }
    close(s->input);
    kill(s->pid, SIGTERM);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(s);
}

const char *server_url(const server *s)
{
    return s->url;
}

const char *server_tls_url(const server *s)
{
    return s->tls_url;
}

const char *server_ca_file(const server *s)
{
    return s->words[1];
}

unsigned server_port(const server *s)
{
    return s->port;
}

int server_pid(const server *s)
{
    return (int)s->pid;
}

const char *server_conninfo(const server *s, int by_socket)
{
    return s->conninfo[by_socket != 0];
}

/* --- a minimal client ------------------------------------------------------------------------- */

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return 0;
        }
        data += sent;
        len -= (size_t)sent;
    }
    return 1;
}

/* All that comes until the server closes, zero-terminated. */
static char *receive_all(int fd, size_t *len_out)
{
    size_t room = 4096;
    size_t len = 0;
    char *data = malloc(room);
    assert_non_null(data);
    for (;;) {
        ssize_t got = recv(fd, data + len, room - len - 1, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        if (room - len < 2048) {
            room *= 2;
            data = realloc(data, room);
            assert_non_null(data);
        }
    }
    data[len] = '\0';
    *len_out = len;
    return data;
}

server_reply server_request(
    server *s, const char *method, const char *target, const void *body, size_t len)
{
    server_reply reply = {0};
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)s->port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        fail_msg("cannot reach the server at %s: %s", s->url, strerror(errno));
    }
    char head[4096];
    int head_len = snprintf(head, sizeof head,
        "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        method, target, s->port, len);
    assert_true(head_len > 0 && (size_t)head_len < sizeof head);
    size_t got = 0;
    if (send_all(fd, head, (size_t)head_len)) {
        send_all(fd, body, len);
    }
    char *data = receive_all(fd, &got);
    close(fd);
    char *end = strstr(data, "\r\n\r\n");
    if (!end || sscanf(data, "HTTP/1.%*d %d", &reply.status) != 1) {
        reply.status = 0;
        reply.head = data;
        reply.body = calloc(1, 1);
        return reply;
    }
    *end = '\0';
    reply.head = data;
    reply.len = got - (size_t)(end + 4 - data);
    reply.body = malloc(reply.len + 1);
    assert_non_null(reply.body);
    memcpy(reply.body, end + 4, reply.len + 1);
    return reply;
}

void server_reply_free(server_reply *reply)
{
    free(reply->head);
    free(reply->body);
    memset(reply, 0, sizeof *reply);
}

/* --- control ---------------------------------------------------------------------------------- */

/* The body of a request that has to succeed, or that may answer 404: NULL. Free with free(). */
static char *control(
    server *s, const char *method, const char *target, const char *body, size_t *len_out)
{
    server_reply reply = server_request(s, method, target, body, body ? strlen(body) : 0);
    int status = reply.status;
    if (status != 200 && !(status == 404 && len_out)) {
        fail_msg("%s %s answered %d: %s", method, target, status, reply.body);
    }
    char *answer = status == 200 ? reply.body : NULL;
    if (len_out) {
        *len_out = status == 200 ? reply.len : 0;
    }
    if (!answer) {
        free(reply.body);
    }
    free(reply.head);
    return answer;
}

void server_reset(server *s)
{
    free(control(s, "DELETE", "/_control/faults", NULL, NULL));
    server_release(s, 0);
    server_settings(s, "{\"delay_ms\": 0}");
    free(control(s, "DELETE", "/_control/log", NULL, NULL));
}

void server_faults(server *s, const char *rules)
{
    free(control(s, rules ? "PUT" : "DELETE", "/_control/faults", rules, NULL));
}

void server_settings(server *s, const char *json)
{
    free(control(s, "POST", "/_control/settings", json, NULL));
}

uint64_t server_count(server *s, const char *what, const char *filter)
{
    char target[1024];
    snprintf(target, sizeof target, "/_control/counts?%s", filter ? filter : "");
    char *text = control(s, "GET", target, NULL, NULL);
    uint64_t value = 0;
    size_t len = strlen(what);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, what, len) == 0 && line[len] == ' ') {
            value = strtoull(line + len, NULL, 10);
            break;
        }
    }
    free(text);
    return value;
}

char *server_log(server *s, const char *filter)
{
    char target[1024];
    snprintf(target, sizeof target, "/_control/log?%s", filter ? filter : "");
    return control(s, "GET", target, NULL, NULL);
}

void server_wait_held(server *s, unsigned count)
{
    char target[64];
    snprintf(target, sizeof target, "/_control/held?count=%u", count);
    free(control(s, "GET", target, NULL, NULL));
}

static void *cancel_held(void *arg)
{
    const server_canceller *c = arg;
    server_wait_held(c->server, 1);
    shardy_cancel_request(c->cancel);
    return NULL;
}

void server_cancel_held(server *s, server_canceller *c)
{
    shardy_error err = {0};
    c->server = s;
    assert_ok(shardy_cancel_new(&c->cancel, &err));
    assert_int_equal(pthread_create(&c->thread, NULL, cancel_held, c), 0);
}

void server_canceller_end(server_canceller *c)
{
    pthread_join(c->thread, NULL);
    shardy_cancel_free(c->cancel);
}

void server_release(server *s, unsigned count)
{
    char target[64];
    snprintf(target, sizeof target, "/_control/release%s%u", count ? "?count=" : "?all=", count);
    free(control(s, "POST", target, NULL, NULL));
}

/* /_control/object with the names as they are in a URL. */
static void object_target(char *target, size_t room, const char *bucket, const char *key)
{
    size_t len = (size_t)snprintf(target, room, "/_control/object?bucket=%s&key=", bucket);
    for (const char *at = key; *at; at++) {
        len += (size_t)snprintf(target + len, room - len, "%%%02X", (unsigned)(unsigned char)*at);
        assert_true(len < room);
    }
}

void server_put_object(server *s, const char *bucket, const char *key, const void *data, size_t len)
{
    char target[3400];
    object_target(target, sizeof target, bucket, key);
    server_reply reply = server_request(s, "PUT", target, data, len);
    if (reply.status != 200) {
        fail_msg("PUT %s answered %d: %s", target, reply.status, reply.body);
    }
    server_reply_free(&reply);
}

char *server_get_object(server *s, const char *bucket, const char *key, size_t *len_out)
{
    char target[3400];
    size_t len;
    object_target(target, sizeof target, bucket, key);
    return control(s, "GET", target, NULL, len_out ? len_out : &len);
}

unsigned server_copy_objects(server *s, const char *bucket, const char *from, const char *to)
{
    char target[1024];
    snprintf(target, sizeof target, "/_control/copy?bucket=%s&from=%s&to=%s", bucket, from, to);
    char *text = control(s, "POST", target, NULL, NULL);
    unsigned count = (unsigned)strtoul(text, NULL, 10);
    free(text);
    return count;
}

uint64_t server_faults_used(server *s)
{
    static const char member[] = "\"used\": ";
    uint64_t sum = 0;
    char *text = control(s, "GET", "/_control/faults", NULL, NULL);
    for (const char *at = text; (at = strstr(at, member)) != NULL;) {
        at += sizeof member - 1;
        sum += strtoull(at, NULL, 10);
    }
    free(text);
    return sum;
}
