#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <unistd.h>

/* What asks a command to end. */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};
#define ENDING_COUNT (sizeof ending_signals / sizeof ending_signals[0])

/* A handler can reach only globals. */
static shardy_cancel *volatile signal_cancel;
static volatile sig_atomic_t signal_number;
static volatile sig_atomic_t signal_stays;  /* SIGINT ends a call, not the program */
static volatile sig_atomic_t signal_redraw; /* the terminal is not what it was */
static int signal_null_fd = -1;
static int signal_input_fd = STDIN_FILENO; /* the terminal, to be read without waiting */
static pthread_t signal_main;

static void on_signal(int number)
{
    if (signal_stays) {
        /* the terminal stays the standard input: it has to be put in order */
        signal_number = number;
        shardy_cancel_request(signal_cancel);
        if (number != SIGINT) {
            signal(number, SIG_DFL);
        }
        if (!pthread_equal(pthread_self(), signal_main)) {
            pthread_kill(signal_main, SIGURG);
        }
        return;
    }
    if (signal_number == 0) {
        signal_number = number;
        shardy_cancel_request(signal_cancel);
        /* A read that waits for the standard input is interrupted and then finds its end. */
        if (signal_null_fd >= 0) {
            dup2(signal_null_fd, STDIN_FILENO);
        }
        for (size_t i = 0; i < ENDING_COUNT; i++) {
            signal(ending_signals[i], SIG_DFL);
        }
    }
    if (!pthread_equal(pthread_self(), signal_main)) {
        /* only the thread that waits in the read can be interrupted */
        pthread_kill(signal_main, SIGURG);
    }
}

static void on_terminal(int number)
{
    (void)number;
    signal_redraw = 1;
    if (!pthread_equal(pthread_self(), signal_main)) {
        pthread_kill(signal_main, SIGURG);
    }
}

static void on_nothing(int number)
{
    (void)number;
}

void signals_install(shardy_cancel *cancel)
{
    signal_cancel = cancel;
    signal_main = pthread_self();
    signal_null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct sigaction action = {0};
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_nothing; /* no SA_RESTART: its purpose is to interrupt */
    sigaction(SIGURG, &action, NULL);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        struct sigaction before;
        /* what a parent ignores stays ignored: SIGHUP (nohup), SIGINT (background jobs) */
        if (sigaction(ending_signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            sigaction(ending_signals[i], &action, NULL);
        }
    }
}

void signals_stay(void)
{
    struct sigaction action = {0};
    sigemptyset(&action.sa_mask);
    /* no SA_RESTART: whoever waits for a key draws the line anew */
    action.sa_handler = on_terminal;
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    signal_cancel = NULL;
    signal_stays = 1;
    /* Opened once more: the terminal's own flags are shared with whoever started this process. */
    char path[64];
    int fd = ttyname_r(STDIN_FILENO, path, sizeof path) == 0
                 ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
                 : -1;
    signal_input_fd = fd >= 0 ? fd : STDIN_FILENO;
}

void signals_watch(shardy_cancel *cancel)
{
    signal_cancel = cancel;
}

void signals_forget(void)
{
    if (signal_stays && signal_number == SIGINT) {
        signal_number = 0;
    }
}

/* The signals are let in only while it waits, so that none comes between the look at what has come
 * and the waiting; nor does SIGURG, by which another thread that took one tells of it. */
int signals_wait_input(void)
{
    sigset_t let_in;
    sigset_t before;
    fd_set input;
    int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT, SIGURG};
    sigset_t held;
    sigemptyset(&held);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&held, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &held, &before);
    let_in = before;
    int ready = 0;
    if (signal_number == 0 && !signal_redraw) {
        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
        ready = pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &let_in) > 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ready;
}

ssize_t signals_read_input(void *bytes, size_t n)
{
    ssize_t got = read(signal_input_fd, bytes, n);
    if (got < 0 && errno == EAGAIN) {
        errno = EINTR;
    }
    return got;
}

int signals_terminal_changed(void)
{
    int changed = signal_redraw;
    signal_redraw = 0;
    return changed;
}

int signals_caught(void)
{
    return signal_number;
}

void signals_ignore(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that is too large is an error of the write */
}

void signals_die_of_pipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}
