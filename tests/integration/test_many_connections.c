/* Many requests at once: as many connections as a store may have, where there is room for them, and
 * none that nobody needs any more. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "support/hand_clock.h"
#include "support/server.h"
#include "support/support.h"

#include <shardyfusion/limits.h>
#include <shardyfusion/sys/store.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define URL  "s3://" SERVER_BUCKET "/many"
#define HOST "many.test" /* which only this program knows */
#define TWO  "two.test"  /* the same, with two addresses */

static server *s3;

/* --- names of hosts -------------------------------------------------------------------------- */

/* libcurl looks names up here: the dynamic linker prefers what the program has. */
typedef struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned lookups;
    int closed; /* 1: nobody is answered */
} resolver;

static resolver names = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};

typedef int (*getaddrinfo_fn)(
    const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
typedef int (*socket_fn)(int domain, int type, int protocol);

__attribute__((visibility("default"))) int getaddrinfo(
    const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    getaddrinfo_fn real;
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &found, sizeof real);
    if (host && strcmp(host, HOST) == 0) {
        pthread_mutex_lock(&names.lock);
        names.lookups++;
        pthread_cond_broadcast(&names.changed);
        while (names.closed) {
            pthread_cond_wait(&names.changed, &names.lock);
        }
        pthread_mutex_unlock(&names.lock);
        host = "127.0.0.1";
    }
    if (!host || strcmp(host, TWO) != 0) {
        return real(host, port, hints, list);
    }
    int rc = real("127.0.0.1", port, hints, list);
    return rc ? rc : real("127.0.0.1", port, hints, &(*list)->ai_next);
}

static void answer_lookups(int on)
{
    pthread_mutex_lock(&names.lock);
    names.closed = !on;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static void wait_for_lookups(unsigned count)
{
    pthread_mutex_lock(&names.lock);
    while (names.lookups < count) {
        pthread_cond_wait(&names.changed, &names.lock);
    }
    pthread_mutex_unlock(&names.lock);
}

/* From now on. */
static void count_lookups(void)
{
    pthread_mutex_lock(&names.lock);
    names.lookups = 0;
    pthread_mutex_unlock(&names.lock);
}

static unsigned lookups(void)
{
    pthread_mutex_lock(&names.lock);
    unsigned count = names.lookups;
    pthread_mutex_unlock(&names.lock);
    return count;
}

/* --- sockets --------------------------------------------------------------------------------- */

static _Atomic int lacking_sockets; /* so many cannot be had */

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
    socket_fn real;
    void *found = dlsym(RTLD_NEXT, "socket");
    memcpy(&real, &found, sizeof real);
    if (lacking_sockets > 0) {
        lacking_sockets--;
        errno = EMFILE;
        return -1;
    }
    return real(domain, type, protocol);
}

/* --- many reads ------------------------------------------------------------------------------ */

typedef struct reads {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t left;
    size_t count;
    shardy_store_read list[SHARDY_CONNECTIONS_MAX + 44];
} reads;

static void one_is_done(void *user, shardy_store_read *read)
{
    reads *r = user;
    (void)read;
    pthread_mutex_lock(&r->lock);
    r->left--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static reads *start_reads_within(
    shardy_store *store, size_t count, int64_t deadline_ns, const shardy_cancel *cancel)
{
    reads *r = calloc(1, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->left = r->count = count;
    for (size_t i = 0; i < count; i++) {
        r->list[i].key = (shardy_bytes){"k", 1};
        r->list[i].offset = i % 10;
        r->list[i].len = 1;
        r->list[i].deadline_ns = deadline_ns;
        r->list[i].cancel = cancel;
    }
    shardy_store_read_start(store, r->list, count, one_is_done, r);
    return r;
}

static reads *start_reads(shardy_store *store, size_t count)
{
    return start_reads_within(store, count, 0, NULL);
}

/* How many have what they should. */
static size_t wait_for_reads(reads *r, shardy_error *err)
{
    size_t good = 0;
    pthread_mutex_lock(&r->lock);
    while (r->left > 0) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->count; i++) {
        int whole = r->list[i].status == SHARDY_OK && r->list[i].body.len == 1;
        good += whole && *(const char *)r->list[i].body.data == '0' + (int)(i % 10);
        if (r->list[i].status < 0) {
            *err = r->list[i].error;
        }
        shardy_buf_release(&r->list[i].body);
    }
    free(r);
    return good;
}

static void fill_options(shardy_store_s3_options *options, const char *endpoint)
{
    shardy_store_s3_options_init(options, sizeof *options);
    options->endpoint_url = endpoint;
    options->region = SERVER_REGION;
    options->access_key_id = SERVER_ACCESS_KEY;
    options->secret_access_key = SERVER_SECRET_KEY;
    options->proxy = "";
    options->max_attempts = 1; /* what fails is seen */
}

static shardy_store *open_store(shardy_context *context, const char *endpoint, uint32_t connections)
{
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_store_s3_options options;
    fill_options(&options, endpoint);
    options.connections_max = connections ? connections : options.connections_max;
    assert_ok(shardy_store_open_s3(context, URL, &options, &store, &err));
    return store;
}

static int setup(void **state)
{
    (void)state;
    s3 = server_start_s3(NULL);
    server_put_object(s3, SERVER_BUCKET, "many/k", "0123456789", 10);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_stop(s3);
    return 0;
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_connections__there_are_as_many_as_requests_up_to_the_bound(void **state)
{
    (void)state;
    shardy_error err = {0};
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur / 4 >= SHARDY_CONNECTIONS_MAX);
    server_reset(s3);
    server_faults(s3, "{\"kind\": \"hold\"}");
    shardy_store *store = open_store(NULL, server_url(s3), 0);
    reads *r = start_reads(store, SHARDY_CONNECTIONS_MAX + 44);
    server_wait_held(s3, SHARDY_CONNECTIONS_MAX);
    /* what waits for a connection is not there yet */
    assert_int_equal(server_faults_used(s3), SHARDY_CONNECTIONS_MAX);
    server_faults(s3, NULL);
    server_release(s3, 0);
    assert_int_equal(wait_for_reads(r, &err), SHARDY_CONNECTIONS_MAX + 44);
    assert_int_equal(server_count(s3, "requests", NULL), SHARDY_CONNECTIONS_MAX + 44);
    assert_int_equal(server_count(s3, "connections", NULL), SHARDY_CONNECTIONS_MAX);
    shardy_store_close(store);
}

static void test_connections__one_request_after_the_other_needs_one(void **state)
{
    (void)state;
    shardy_error err = {0};
    server_reset(s3);
    shardy_store *store = open_store(NULL, server_url(s3), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(wait_for_reads(start_reads(store, 1), &err), 1);
    }
    assert_int_equal(server_count(s3, "connections", NULL), 1);
    shardy_store_close(store);
}

static size_t count_sockets(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char text[32];
        ssize_t len = readlinkat(dirfd(dir), e->d_name, text, sizeof text);
        count += len > 7 && memcmp(text, "socket:", 7) == 0;
    }
    closedir(dir);
    return count;
}

static void test_connections__that_nobody_needs_are_closed(void **state)
{
    (void)state;
    shardy_error err = {0};
    hand_clock clock;
    server_reset(s3);
    server_settings(s3, "{\"auth\": \"off\"}"); /* for this clock it is another year */
    shardy_context *context = hand_clock_context(&clock);
    shardy_store *store = open_store(context, server_url(s3), 0);
    size_t before = count_sockets();
    server_faults(s3, "{\"kind\": \"hold\", \"times\": 40}");
    reads *r = start_reads(store, 40);
    server_wait_held(s3, 40);
    server_release(s3, 0);
    assert_int_equal(wait_for_reads(r, &err), 40);
    assert_true(count_sockets() >= before + 40);
    assert_int_equal(wait_for_reads(start_reads(store, 1), &err), 1);
    assert_true(count_sockets() >= before + 40);
    /* nothing is done for a while, then the engine wakes up, here for the next request */
    clock.monotonic_ns += INT64_C(16) * 1000000000;
    assert_int_equal(wait_for_reads(start_reads(store, 1), &err), 1);
    assert_true(count_sockets() < before + 10);
    /* and they are opened again */
    server_faults(s3, "{\"kind\": \"hold\", \"times\": 40}");
    r = start_reads(store, 40);
    server_wait_held(s3, 40);
    server_release(s3, 0);
    assert_int_equal(wait_for_reads(r, &err), 40);
    shardy_store_close(store);
    shardy_context_free(context);
    server_settings(s3, "{\"auth\": \"strict\"}");
}

static void test_connections__a_name_is_not_looked_up_by_all(void **state)
{
    (void)state;
    enum {
        COUNT = 100
    };
    char url[64];
    shardy_error err = {0};
    shardy_context *context;
    snprintf(url, sizeof url, "http://" HOST ":%u", server_port(s3));
    server_reset(s3);
    count_lookups();
    assert_ok(shardy_context_new(NULL, &context, &err));
    shardy_store *store = open_store(context, url, 0);
    shardy_store *other = open_store(context, server_url(s3), 0);
    answer_lookups(0);
    reads *r = start_reads(store, COUNT);
    /* one that needs no name, and comes after all of them */
    assert_int_equal(wait_for_reads(start_reads(other, 1), &err), 1);
    server_faults(s3, "{\"kind\": \"hold\", \"times\": 100}");
    answer_lookups(1);
    server_wait_held(s3, COUNT); /* at once, for all that */
    server_release(s3, 0);
    assert_int_equal(wait_for_reads(r, &err), COUNT);
    assert_in_range(lookups(), 1, 8);
    shardy_store_close(other);
    shardy_store_close(store);
    shardy_context_free(context);
}

/* --- a name server that does not answer ------------------------------------------------------ */

#define SECOND_NS INT64_C(1000000000)

typedef struct silence {
    hand_clock clock;
    shardy_context *context;
    shardy_store *store; /* of a host whose name is not answered */
    shardy_store *other; /* needs no name */
} silence;

static void begin_silence(silence *s, uint32_t connections)
{
    char url[64];
    snprintf(url, sizeof url, "http://" HOST ":%u", server_port(s3));
    server_reset(s3);
    server_settings(s3, "{\"auth\": \"off\"}"); /* for this clock it is another year */
    s->context = hand_clock_context(&s->clock);
    s->store = open_store(s->context, url, connections);
    s->other = open_store(s->context, server_url(s3), 0);
    count_lookups();
    answer_lookups(0);
}

static void end_silence(silence *s)
{
    shardy_store_close(s->store); /* before its look-ups have ended */
    answer_lookups(1);
    shardy_store_close(s->other);
    shardy_context_free(s->context);
    server_settings(s3, "{\"auth\": \"strict\"}");
}

static void test_silent_names__keep_nobody_beyond_his_time(void **state)
{
    (void)state;
    silence s;
    shardy_error err = {0};
    shardy_cancel *cancel;
    assert_ok(shardy_cancel_new(&cancel, &err));
    begin_silence(&s, 0);
    reads *r = start_reads_within(s.store, 1, s.clock.monotonic_ns + SECOND_NS, NULL);
    wait_for_lookups(1);
    s.clock.monotonic_ns += 2 * SECOND_NS;
    assert_int_equal(wait_for_reads(r, &err), 0);
    assert_int_equal(err.status, SHARDY_TIMEOUT);
    r = start_reads_within(s.store, 1, 0, cancel);
    wait_for_lookups(2);
    shardy_cancel_request(cancel);
    assert_int_equal(wait_for_reads(r, &err), 0);
    assert_int_equal(err.status, SHARDY_CANCELLED);
    r = start_reads(s.store, 1);
    wait_for_lookups(3);
    s.clock.monotonic_ns += 11 * SECOND_NS;
    assert_int_equal(wait_for_reads(r, &err), 0);
    assert_int_equal(err.status, SHARDY_TIMEOUT);
    assert_true(err.retriable);
    assert_non_null(strstr(err.message, "no connection after 10000 ms"));
    end_silence(&s);
    shardy_cancel_free(cancel);
}

static void test_silent_names__hold_up_no_other_request(void **state)
{
    (void)state;
    silence s;
    shardy_error err = {0};
    begin_silence(&s, 0);
    reads *r = start_reads_within(s.store, 20, s.clock.monotonic_ns + SECOND_NS, NULL);
    wait_for_lookups(8);
    s.clock.monotonic_ns += 2 * SECOND_NS;
    /* all of them are late now, in whatever state */
    assert_int_equal(wait_for_reads(start_reads(s.other, 1), &err), 1);
    assert_int_equal(wait_for_reads(r, &err), 0);
    assert_int_equal(wait_for_reads(start_reads(s.other, 1), &err), 1);
    end_silence(&s);
}

static void test_silent_names__take_no_more_threads_than_connections(void **state)
{
    (void)state;
    silence s;
    shardy_error err = {0};
    begin_silence(&s, 2);
    for (int i = 0; i < 3; i++) {
        reads *r = start_reads_within(s.store, 5, s.clock.monotonic_ns + SECOND_NS, NULL);
        wait_for_lookups(2);
        s.clock.monotonic_ns += 2 * SECOND_NS;
        assert_int_equal(wait_for_reads(r, &err), 0);
        assert_int_equal(err.status, SHARDY_TIMEOUT);
    }
    assert_int_equal(lookups(), 2);
    /* and what they found at last is good for the others */
    reads *r = start_reads(s.store, 5);
    answer_lookups(1);
    assert_int_equal(wait_for_reads(r, &err), 5);
    assert_int_equal(lookups(), 2);
    end_silence(&s);
}

/* --- a connection that is lost --------------------------------------------------------------- */

static void test_once__is_sent_once_although_a_socket_was_lacking(void **state)
{
    (void)state;
    char url[64];
    shardy_error err = {0};
    shardy_object_meta meta;
    snprintf(url, sizeof url, "http://" TWO ":%u", server_port(s3));
    server_reset(s3);
    server_faults(s3, "[{\"kind\": \"hold\", \"method\": \"GET\"}, {\"kind\": \"drop\", "
                      "\"applied\": true, \"times\": 1, \"method\": \"PUT\"}]");
    shardy_store *store = open_store(NULL, url, 0);
    reads *r = start_reads(store, 1);
    server_wait_held(s3, 1);
    shardy_store_put put = {.key = {"new", 3}, .body = {"mine", 4}};
    put.condition = SHARDY_PUT_IF_ABSENT;
    lacking_sockets = 1; /* for the first address */
    shardy_status st = shardy_store_put_object(store, &put, &meta, &err);
    assert_int_equal(lacking_sockets, 0);
    assert_int_equal(st, SHARDY_IO);
    assert_true(err.retriable);
    server_release(s3, 0);
    assert_int_equal(wait_for_reads(r, &err), 1);
    assert_int_equal(server_count(s3, "method.PUT", NULL), 1);
    shardy_store_close(store);
}

/* --- few descriptors ------------------------------------------------------------------------- */

enum {
    CHILD_OK = 0,
    CHILD_FAILED
};

static int limit_descriptors(rlim_t more)
{
    int lowest = dup(STDIN_FILENO);
    if (lowest < 0) {
        return 0;
    }
    close(lowest);
    struct rlimit limit = {(rlim_t)lowest + more, (rlim_t)lowest + more};
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* `opened_first`: the store does not know of the limit. */
static int read_with_few(int opened_first, rlim_t descriptors)
{
    shardy_error err = {0};
    shardy_store *store = opened_first ? open_store(NULL, server_url(s3), 0) : NULL;
    if (opened_first) {
        /* whatever the engine itself needs is there */
        (void)wait_for_reads(start_reads(store, 1), &err);
    }
    if (!limit_descriptors(descriptors)) {
        return CHILD_FAILED;
    }
    store = store ? store : open_store(NULL, server_url(s3), 0);
    size_t good = wait_for_reads(start_reads(store, 200), &err);
    if (good < 200) {
        fprintf(stderr, "%zu of 200: %s\n", good, err.message);
    }
    shardy_store_close(store);
    return good == 200 ? CHILD_OK : CHILD_FAILED;
}

static int read_with_none(void)
{
    char url[64];
    shardy_error err = {0};
    shardy_context *context = NULL;
    assert_ok(shardy_context_new(NULL, &context, &err));
    shardy_store *store = open_store(context, server_url(s3), 0);
    size_t before = wait_for_reads(start_reads(store, 1), &err);
    if (!limit_descriptors(0)) {
        return CHILD_FAILED;
    }
    /* for this host there is no connection yet */
    snprintf(url, sizeof url, "http://localhost:%u", server_port(s3));
    shardy_store *other = open_store(context, url, 0);
    size_t good = wait_for_reads(start_reads(other, 3), &err);
    size_t after = wait_for_reads(start_reads(store, 3), &err);
    int told = err.status == SHARDY_EXHAUSTED && err.retriable && strstr(err.message, "descriptor");
    if (before != 1 || good != 0 || after != 3 || !told) {
        fprintf(stderr, "%zu %zu %zu, retriable %d: %s\n", before, good, after, err.retriable,
            err.message);
        return CHILD_FAILED;
    }
    shardy_store_close(other);
    shardy_store_close(store);
    shardy_context_free(context);
    return CHILD_OK;
}

/* Nothing is lost by a store that could not be opened. */
static int open_with_none(void)
{
    int taken[16];
    size_t count = 0;
    shardy_error err = {0};
    shardy_store *store = NULL;
    shardy_store_s3_options options;
    fill_options(&options, server_url(s3));
    if (!limit_descriptors(16)) {
        return CHILD_FAILED;
    }
    while (count < 16 && (taken[count] = dup(STDIN_FILENO)) >= 0) {
        count++;
    }
    shardy_status st = shardy_store_open_s3(NULL, URL, &options, &store, &err);
    int told = st == SHARDY_EXHAUSTED && err.retriable && strstr(err.message, "descriptor");
    while (count > 0) {
        close(taken[--count]);
    }
    if (!told) {
        fprintf(stderr, "%d: %s\n", (int)st, err.message);
        return CHILD_FAILED;
    }
    store = open_store(NULL, server_url(s3), 0);
    size_t good = wait_for_reads(start_reads(store, 3), &err);
    shardy_store_close(store);
    return good == 3 ? CHILD_OK : CHILD_FAILED;
}

/* The engine would begin anew now, for which there is no descriptor. */
static int rest_with_none(void)
{
    hand_clock clock;
    shardy_error err = {0};
    shardy_context *context = hand_clock_context(&clock);
    shardy_store *store = open_store(context, server_url(s3), 0);
    size_t good = wait_for_reads(start_reads(store, 1), &err);
    if (!limit_descriptors(0)) {
        return CHILD_FAILED;
    }
    clock.monotonic_ns += 16 * SECOND_NS;
    for (int i = 0; i < 3; i++) {
        good += wait_for_reads(start_reads(store, 1), &err);
    }
    shardy_store_close(store);
    shardy_context_free(context);
    return good == 4 ? CHILD_OK : CHILD_FAILED;
}

static int put_with_few(void)
{
    char key[16];
    shardy_error err = {0};
    shardy_object_meta meta;
    if (!limit_descriptors(24)) {
        return CHILD_FAILED;
    }
    shardy_store *store = open_store(NULL, server_url(s3), 0);
    shardy_status st = SHARDY_OK;
    for (int i = 0; st == SHARDY_OK && i < 60; i++) {
        snprintf(key, sizeof key, "few/%d", i);
        shardy_store_put put = {.key = {key, strlen(key)}, .body = {"x", 1}};
        put.condition = SHARDY_PUT_IF_ABSENT;
        st = shardy_store_put_object(store, &put, &meta, &err);
    }
    if (st < 0) {
        fprintf(stderr, "%s: %s\n", key, err.message);
    }
    shardy_store_close(store);
    return st == SHARDY_OK ? CHILD_OK : CHILD_FAILED;
}

static void check_child(int which)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(which == 0   ? read_with_few(0, 24)
              : which == 1 ? read_with_few(1, 6)
              : which == 2 ? read_with_none()
              : which == 3 ? open_with_none()
              : which == 4 ? rest_with_none()
                           : put_with_few());
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static void test_connections__with_few_descriptors_requests_wait_for_each_other(void **state)
{
    (void)state;
    server_reset(s3);
    check_child(0);
    /* a fourth of what there is */
    assert_in_range(server_count(s3, "connections", NULL), 1, 16);
    assert_int_equal(server_count(s3, "requests", NULL), 200);
    server_reset(s3);
    check_child(1);
    assert_in_range(server_count(s3, "connections", NULL), 2, 7);
    assert_int_equal(server_count(s3, "requests", NULL), 201);
}

static void test_connections__without_descriptors_it_is_said(void **state)
{
    (void)state;
    server_reset(s3);
    check_child(2);
    check_child(3);
}

static void test_connections__stay_when_no_descriptor_is_left_to_begin_anew(void **state)
{
    (void)state;
    server_reset(s3);
    server_settings(s3, "{\"auth\": \"off\"}"); /* for that clock it is another year */
    check_child(4);
    server_settings(s3, "{\"auth\": \"strict\"}");
    assert_int_equal(server_count(s3, "connections", NULL), 1);
}

static void test_connections__of_puts_under_a_condition_do_not_pile_up(void **state)
{
    (void)state;
    server_reset(s3);
    check_child(5);
    assert_int_equal(server_count(s3, "method.PUT", NULL), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections__there_are_as_many_as_requests_up_to_the_bound),
        cmocka_unit_test(test_connections__one_request_after_the_other_needs_one),
        cmocka_unit_test(test_connections__that_nobody_needs_are_closed),
        cmocka_unit_test(test_connections__a_name_is_not_looked_up_by_all),
        cmocka_unit_test(test_connections__with_few_descriptors_requests_wait_for_each_other),
        cmocka_unit_test(test_connections__without_descriptors_it_is_said),
        cmocka_unit_test(test_connections__stay_when_no_descriptor_is_left_to_begin_anew),
        cmocka_unit_test(test_connections__of_puts_under_a_condition_do_not_pile_up),
        cmocka_unit_test(test_silent_names__keep_nobody_beyond_his_time),
        cmocka_unit_test(test_silent_names__hold_up_no_other_request),
        cmocka_unit_test(test_silent_names__take_no_more_threads_than_connections),
        cmocka_unit_test(test_once__is_sent_once_although_a_socket_was_lacking),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
