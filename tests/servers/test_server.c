/* The servers that tests start for themselves. */
#include "support/server.h"
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static server *s3;

static int start_s3(void **state)
{
    (void)state;
    static const char *const arguments[] = {"--auth", "off", NULL};
    s3 = server_start_s3(arguments);
    return 0;
}

static int stop_s3(void **state)
{
    (void)state;
    server_stop(s3);
    return 0;
}

static int reset_s3(void **state)
{
    (void)state;
    server_reset(s3);
    return 0;
}

static int status_of(server *s, const char *method, const char *target, const char *body)
{
    server_reply reply = server_request(s, method, target, body, strlen(body));
    int status = reply.status;
    server_reply_free(&reply);
    return status;
}

static void test_server__objects_are_put_and_read(void **state)
{
    (void)state;
    size_t len = 0;
    assert_int_equal(status_of(s3, "PUT", "/" SERVER_BUCKET "/a%20b", "value"), 200);
    char *body = server_get_object(s3, SERVER_BUCKET, "a b", &len);
    assert_int_equal(len, 5);
    assert_string_equal(body, "value");
    free(body);
    assert_null(server_get_object(s3, SERVER_BUCKET, "none", &len));
    server_put_object(s3, SERVER_BUCKET, "x/\xc3\xa9+?&", "behind", 6);
    server_reply reply = server_request(s3, "GET", "/" SERVER_BUCKET "/x/%C3%A9%2B%3F%26", "", 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 6);
    assert_string_equal(reply.body, "behind");
    assert_non_null(strstr(reply.head, "ETag: \""));
    server_reply_free(&reply);
}

static void test_server__requests_are_counted(void **state)
{
    (void)state;
    status_of(s3, "PUT", "/" SERVER_BUCKET "/k", "value");
    uint64_t last = server_count(s3, "last", NULL);
    status_of(s3, "GET", "/" SERVER_BUCKET "/k", "");
    status_of(s3, "GET", "/" SERVER_BUCKET "/absent", "");
    assert_int_equal(server_count(s3, "requests", NULL), 3);
    assert_int_equal(server_count(s3, "round_trips", NULL), 3);
    assert_int_equal(server_count(s3, "operation.get_object", NULL), 2);
    assert_int_equal(server_count(s3, "operation.get", NULL), 0);
    assert_int_equal(server_count(s3, "status.404", "method=GET"), 1);
    assert_int_equal(server_count(s3, "bytes_in", NULL), 5);
    char filter[64];
    snprintf(filter, sizeof filter, "since=%llu&key=k", (unsigned long long)last);
    assert_int_equal(server_count(s3, "requests", filter), 1);
    char *log = server_log(s3, filter);
    assert_non_null(strstr(log, "\"key\": \"k\""));
    assert_non_null(strchr(log, '\n'));
    assert_string_equal(strchr(log, '\n'), "\n");
    free(log);
}

static void test_server__a_script_makes_requests_fail(void **state)
{
    (void)state;
    server_put_object(s3, SERVER_BUCKET, "k", "0123456789", 10);
    server_faults(s3, "[{\"kind\": \"status\", \"status\": 503, \"times\": 2},"
                      " {\"kind\": \"drop\", \"times\": 1},"
                      " {\"kind\": \"cut\", \"after\": 4}]");
    assert_int_equal(status_of(s3, "GET", "/" SERVER_BUCKET "/k", ""), 503);
    assert_int_equal(status_of(s3, "GET", "/" SERVER_BUCKET "/k", ""), 503);
    assert_int_equal(status_of(s3, "GET", "/" SERVER_BUCKET "/k", ""), 0);
    server_reply reply = server_request(s3, "GET", "/" SERVER_BUCKET "/k", "", 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 4);
    server_reply_free(&reply);
    assert_int_equal(server_count(s3, "faults", NULL), 4);
    assert_int_equal(server_count(s3, "fault.status", NULL), 2);
    server_faults(s3, NULL);
    assert_int_equal(status_of(s3, "GET", "/" SERVER_BUCKET "/k", ""), 200);
}

/* A client that gets an object, in a process of its own; the status is its exit code / 100. */
static pid_t get_elsewhere(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(status_of(s3, "GET", "/" SERVER_BUCKET "/k", "") / 100);
    }
    assert_true(pid > 0);
    return pid;
}

static int exit_code(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_server__uses_of_faults_are_counted_and_objects_copied(void **state)
{
    (void)state;
    server_put_object(s3, SERVER_BUCKET, "from/a", "1", 1);
    server_put_object(s3, SERVER_BUCKET, "from/b", "2", 1);
    server_put_object(s3, SERVER_BUCKET, "to/c", "3", 1);
    assert_int_equal(server_copy_objects(s3, SERVER_BUCKET, "from/", "to/"), 2);
    char *b = server_get_object(s3, SERVER_BUCKET, "to/b", NULL);
    assert_string_equal(b, "2");
    free(b);
    assert_null(server_get_object(s3, SERVER_BUCKET, "to/c", NULL));
    assert_int_equal(server_faults_used(s3), 0);
    server_faults(s3, "[{\"kind\": \"drop\", \"times\": 1}, {\"kind\": \"status\"}]");
    for (int i = 0; i < 3; i++) {
        server_reply reply = server_request(s3, "GET", "/" SERVER_BUCKET "/to/b", "", 0);
        server_reply_free(&reply);
    }
    assert_int_equal(server_faults_used(s3), 3);
}

static void test_server__requests_wait_for_a_release(void **state)
{
    (void)state;
    server_put_object(s3, SERVER_BUCKET, "k", "v", 1);
    server_faults(s3, "{\"kind\": \"hold\"}");
    pid_t first = get_elsewhere();
    pid_t second = get_elsewhere();
    server_wait_held(s3, 2);
    assert_int_equal(server_count(s3, "requests", NULL), 0);
    server_release(s3, 1);
    server_release(s3, 0);
    assert_int_equal(exit_code(first), 2);
    assert_int_equal(exit_code(second), 2);
    assert_int_equal(server_count(s3, "requests", NULL), 2);
    assert_int_equal(server_count(s3, "round_trips", NULL), 1);
}

static void test_server__settings_are_taken(void **state)
{
    (void)state;
    server_settings(s3, "{\"bucket\": {\"name\": \"other\", \"conditions\": \"ignore\"}}");
    assert_int_equal(status_of(s3, "PUT", "/other/k", "v"), 200);
    server_settings(s3, "{\"auth\": \"strict\"}");
    assert_int_equal(status_of(s3, "PUT", "/other/k", "v"), 403);
    server_settings(s3, "{\"auth\": \"off\"}");
}

static void test_server__tls_has_a_port_of_its_own(void **state)
{
    (void)state;
    static const char *const arguments[] = {"--tls", "good", NULL};
    server *s = server_start_s3(arguments);
    assert_memory_equal(server_tls_url(s), "https://127.0.0.1:", 18);
    assert_string_not_equal(server_tls_url(s) + 8, server_url(s) + 7);
    size_t len = 0;
    char *certificate = support_read_file(server_ca_file(s), &len);
    assert_non_null(strstr(certificate, "BEGIN CERTIFICATE"));
    free(certificate);
    assert_int_equal(server_count(s, "requests", NULL), 0);
    server_stop(s);
}

/* Whether something listens there. */
static int is_reachable(unsigned port)
{
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ok = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return ok;
}

static void test_server__a_stopped_server_is_gone(void **state)
{
    (void)state;
    server *s = server_start_s3(NULL);
    unsigned port = server_port(s);
    assert_true(is_reachable(port));
    server_stop(s);
    assert_false(is_reachable(port));
    server_stop(NULL);
}

static void test_server__a_server_ends_with_the_process_that_started_it(void **state)
{
    (void)state;
    /* The child starts a server, tells its port and is killed. The server held the other end of
     * `alive`, which says when it is gone. */
    int told[2];
    int alive[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(alive), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(alive[0]);
        server *s = server_start_s3(NULL);
        unsigned port = server_port(s);
        ssize_t done = write(told[1], &port, sizeof port);
        raise(done == (ssize_t)sizeof port ? SIGKILL : SIGABRT);
    }
    close(told[1]);
    close(alive[1]);
    unsigned port = 0;
    assert_int_equal(read(told[0], &port, sizeof port), sizeof port);
    assert_int_equal(exit_code(pid), -1);
    char byte;
    assert_int_equal(read(alive[0], &byte, 1), 0);
    assert_false(is_reachable(port));
    close(told[0]);
    close(alive[0]);
}

static void test_server__moto_answers(void **state)
{
    (void)state;
    server *s = server_start_moto();
    server_reply reply = server_request(s, "GET", "/moto-api/data.json", "", 0);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, SERVER_BUCKET));
    server_reply_free(&reply);
    assert_int_equal(status_of(s, "GET", "/no-bucket/k", ""), 404);
    server_stop(s);
}

static void test_server__stubs_of_credentials_and_an_evil_host_answer(void **state)
{
    (void)state;
    static const char *const arguments[] = {"--container-token", "secret", NULL};
    server *s = server_start_credentials(arguments);
    assert_int_equal(status_of(s, "GET", "/container", ""), 401);
    server_stop(s);
    s = server_start_evil();
    assert_int_equal(status_of(s, "GET", "/anything?a=b", ""), 404);
    char *log = server_log(s, NULL);
    assert_non_null(strstr(log, "\"host\": \"127.0.0.1:"));
    free(log);
    server_stop(s);
}

/* The first message of Postgres' protocol, and the byte that it answers: 'R', authentication. */
static char greet_postgres(unsigned port)
{
    static const char text[] = "user\0test\0database\0test\0";
    unsigned char message[8 + sizeof text];
    memset(message, 0, sizeof message);
    message[3] = (unsigned char)sizeof message;
    message[5] = 3; /* version 3.0 */
    memcpy(message + 8, text, sizeof text);
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, message, sizeof message, MSG_NOSIGNAL), sizeof message);
    char byte = 0;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    close(fd);
    return byte;
}

static void test_server__postgres_lets_the_user_in_and_leaves_nothing(void **state)
{
    (void)state;
    server *s = server_start_postgres();
    char folder[256];
    assert_int_equal(greet_postgres(server_port(s)), 'R');
    assert_int_equal(sscanf(server_conninfo(s, 1), "host=%255s", folder), 1);
    assert_int_equal(access(folder, F_OK), 0);
    assert_non_null(strstr(server_conninfo(s, 0), "host=127.0.0.1 port="));
    unsigned port = server_port(s);
    server_stop(s);
    assert_int_equal(access(folder, F_OK), -1);
    assert_false(is_reachable(port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_server__objects_are_put_and_read, reset_s3),
        cmocka_unit_test_setup(test_server__requests_are_counted, reset_s3),
        cmocka_unit_test_setup(test_server__a_script_makes_requests_fail, reset_s3),
        cmocka_unit_test_setup(
            test_server__uses_of_faults_are_counted_and_objects_copied, reset_s3),
        cmocka_unit_test_setup(test_server__requests_wait_for_a_release, reset_s3),
        cmocka_unit_test_setup(test_server__settings_are_taken, reset_s3),
        cmocka_unit_test(test_server__tls_has_a_port_of_its_own),
        cmocka_unit_test(test_server__a_stopped_server_is_gone),
        cmocka_unit_test(test_server__a_server_ends_with_the_process_that_started_it),
        cmocka_unit_test(test_server__moto_answers),
        cmocka_unit_test(test_server__stubs_of_credentials_and_an_evil_host_answer),
        cmocka_unit_test(test_server__postgres_lets_the_user_in_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("server", tests, start_s3, stop_s3);
}
