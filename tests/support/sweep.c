#include "sweep.h"

#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More points than any operation has: a sweep that does not end is a mistake. */
#define POINTS_MAX 200000u

static const char *const kind_names[SWEEP_KIND_COUNT] = {
    "alloc", "write", "read", "thread", "database", "store-before", "store-after", "store-short"};

unsigned sweep_open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return 0;
    }
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

/* --- which functions were made to fail -------------------------------------------------------- */

#define FUNCTIONS_MAX     200u
#define FUNCTION_NAME_MAX 64u

typedef struct swept_function {
    char name[FUNCTION_NAME_MAX];
    uint64_t faults; /* met inside it */
    int no_points;
} swept_function;

static swept_function swept[FUNCTIONS_MAX];
static size_t swept_count;

/* The operation that is running. */
static struct {
    const sweep_case *c; /* NULL: none */
    void *state;
    int kind; /* SWEEP_KIND_COUNT: one without points */
    const char *function;
    uint64_t failed; /* before the function was called */
} running;

static swept_function *find_function(const char *name)
{
    for (size_t i = 0; i < swept_count; i++) {
        if (strcmp(swept[i].name, name) == 0) {
            return &swept[i];
        }
    }
    assert_true(swept_count < FUNCTIONS_MAX && strlen(name) < FUNCTION_NAME_MAX);
    swept_function *f = &swept[swept_count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

static uint64_t failed_so_far(void)
{
    uint64_t seen;
    uint64_t failed = 0;
    if (running.kind < SHARDY_FAULT_KIND_COUNT_) {
        shardy_testing_fault_counts(running.kind, &seen, &failed);
    } else if (running.kind < SWEEP_KIND_COUNT) {
        shardy_store_fault_counts(running.c->fault_store(running.state), &seen, &failed);
    }
    return failed;
}

void sweep_enter(const char *function)
{
    if (running.c) {
        running.function = function;
        running.failed = failed_so_far();
    }
}

shardy_status sweep_leave(shardy_status status)
{
    if (running.c) {
        swept_function *f = find_function(running.function);
        f->faults += failed_so_far() > running.failed;
        f->no_points |= running.kind == SWEEP_KIND_COUNT;
    }
    return status;
}

/* --- one run ---------------------------------------------------------------------------------- */

/* One run of a case with the fault at one place. */
typedef struct sweep_run_result {
    shardy_status status;
    shardy_error error;
    uint64_t seen;   /* operations of the kind */
    uint64_t failed; /* of these, made to fail */
} sweep_run_result;

static void set_fault(const sweep_case *c, void *state, int kind, uint64_t nth, int32_t persistent)
{
    if (kind < SHARDY_FAULT_KIND_COUNT_) {
        shardy_testing_fault_set(kind, nth, persistent);
    } else {
        int how = kind - SWEEP_STORE_BEFORE + SHARDY_FAULT_BEFORE;
        shardy_store_fault_set(c->fault_store(state), nth, persistent, how, SHARDY_IO);
    }
}

static void take_counts(const sweep_case *c, void *state, int kind, sweep_run_result *r)
{
    if (kind < SHARDY_FAULT_KIND_COUNT_) {
        shardy_testing_fault_counts(kind, &r->seen, &r->failed);
    } else {
        shardy_store_fault_counts(c->fault_store(state), &r->seen, &r->failed);
    }
}

static int persistent_now;

int sweep_is_persistent(void)
{
    return persistent_now;
}

int sweep_torture(void)
{
    const char *text = getenv("SHARDY_TORTURE");
    return text && strcmp(text, "1") == 0;
}

/* The status that a failure of this kind has to lead to. */
static int status_fits(int kind, shardy_status status)
{
    switch (kind) {
    case SWEEP_ALLOC:
        return status == SHARDY_NOMEM;
    case SWEEP_THREAD:
        return status == SHARDY_EXHAUSTED || status == SHARDY_UNAVAILABLE;
    case SWEEP_WRITE:
        return status == SHARDY_NO_SPACE || status == SHARDY_IO;
    case SWEEP_READ:
        return status == SHARDY_IO || status == SHARDY_UNSUPPORTED;
    case SWEEP_STORE_SHORT:
        return status < 0;
    default:
        return status == SHARDY_IO;
    }
}

static void check_result(
    const sweep_case *c, int kind, const char *where, const sweep_run_result *r)
{
    if (r->failed == 0) {
        if (r->status < 0) {
            fail_msg("%s answers %s without a fault: %s", where, shardy_status_name(r->status),
                r->error.message);
        }
        return;
    }
    if (r->status >= 0) {
        if (!(c->absorbs & SWEEP_BIT(kind))) {
            fail_msg(
                "%s answers %s although something failed", where, shardy_status_name(r->status));
        }
        return;
    }
    if (r->error.message[0] == '\0' || r->error.status != r->status) {
        fail_msg("%s answers %s with the message \"%s\" of %s", where,
            shardy_status_name(r->status), r->error.message, shardy_status_name(r->error.status));
    }
    if (!status_fits(kind, r->status)) {
        fail_msg("%s answers %s, which does not fit: %s", where, shardy_status_name(r->status),
            r->error.message);
    }
}

static void run_once(const sweep_case *c, int kind, uint64_t nth, int32_t persistent,
    const char *where, sweep_run_result *r)
{
    uint64_t blocks = shardy_testing_live_allocations();
    uint64_t threads = shardy_testing_live_threads();
    unsigned descriptors = sweep_open_descriptors();
    void *state = c->setup ? c->setup(c->param) : NULL;
    memset(r, 0, sizeof *r);
    persistent_now = persistent;
    set_fault(c, state, kind, nth, persistent);
    running.c = c;
    running.state = state;
    running.kind = kind;
    r->status = c->operation(state, &r->error);
    running.c = NULL;
    take_counts(c, state, kind, r);
    set_fault(c, state, kind, 0, 0);
    check_result(c, kind, where, r);
    if (c->check) {
        c->check(state, r->status, &r->error);
    }
    if (c->teardown) {
        c->teardown(state);
    }
    if (shardy_testing_live_allocations() != blocks) {
        fail_msg("%s leaves %lld blocks of memory", where,
            (long long)shardy_testing_live_allocations() - (long long)blocks);
    }
    if (shardy_testing_live_threads() != threads) {
        fail_msg("%s leaves %lld threads", where,
            (long long)shardy_testing_live_threads() - (long long)threads);
    }
    if (sweep_open_descriptors() != descriptors) {
        fail_msg(
            "%s leaves %d descriptors", where, (int)sweep_open_descriptors() - (int)descriptors);
    }
}

/* What was seen at the points of a kind. */
typedef struct sweep_points {
    uint64_t all;
    uint64_t tried;
    uint64_t told;
} sweep_points;

/* Runs with the fault at a point. 0 when the operation ends before it. */
static int try_point(
    const sweep_case *c, int kind, uint64_t nth, int32_t persistent, sweep_points *p)
{
    char where[200];
    sweep_run_result r;
    snprintf(where, sizeof where, "%s, %s %llu%s,", c->name, kind_names[kind],
        (unsigned long long)nth, persistent ? " and all after it" : "");
    run_once(c, kind, nth, persistent, where, &r);
    p->tried += r.failed > 0; /* a call that is no read cannot be cut short */
    p->told += r.status < 0;
    return r.seen >= nth;
}

static void try_all(const sweep_case *c, int kind, int32_t persistent, sweep_points *p)
{
    for (uint64_t nth = 1; try_point(c, kind, nth, persistent, p); nth++) {
        if (nth == POINTS_MAX) {
            fail_msg("%s, %s: the sweep does not end", c->name, kind_names[kind]);
        }
    }
    p->all = p->tried;
}

/* Some points, evenly spread; persistent faults at others than single ones. */
static void try_some(
    const sweep_case *c, int kind, int32_t persistent, uint32_t count, sweep_points *p)
{
    sweep_run_result r;
    run_once(c, kind, 0, 0, c->name, &r);
    p->all = r.seen;
    uint64_t step = r.seen > count ? r.seen / count : 1;
    for (uint64_t nth = persistent ? 1 + step / 2 : 1; nth <= r.seen; nth += step) {
        try_point(c, kind, nth, persistent, p);
    }
}

static uint64_t sweep_kind_points(const sweep_case *c, int kind, int32_t persistent)
{
    sweep_points p = {0, 0, 0};
    uint32_t count = sweep_torture() ? c->most : c->quick;
    if (count) {
        try_some(c, kind, persistent, count, &p);
    }
    if (p.tried == 0) { /* none was chosen, or not every call can fail this way */
        try_all(c, kind, persistent, &p);
    }
    print_message("sweep: %s: %s: %llu points, %llu tried %s, %llu told\n", c->name,
        kind_names[kind], (unsigned long long)p.all, (unsigned long long)p.tried,
        persistent ? "persistently" : "once", (unsigned long long)p.told);
    return p.tried;
}

uint64_t sweep_run(const sweep_case *c)
{
    uint64_t sum = 0;
    if (!shardy_testing_fault_points()) {
        print_message("sweep: %s: skipped, this build has no fault points\n", c->name);
        return 0;
    }
    for (int kind = 0; kind < SWEEP_KIND_COUNT; kind++) {
        if (!(c->kinds & SWEEP_BIT(kind))) {
            continue;
        }
        for (int32_t persistent = 0; persistent <= 1; persistent++) {
            uint64_t points = sweep_kind_points(c, kind, persistent);
            if (points == 0) {
                fail_msg("%s has no %s to fail", c->name, kind_names[kind]);
            }
            sum += points;
        }
    }
    return sum;
}

void sweep_without_points(const sweep_case *c)
{
    sweep_run_result r;
    memset(&r, 0, sizeof r);
    void *state = c->setup ? c->setup(c->param) : NULL;
    for (int kind = 0; kind < SHARDY_FAULT_KIND_COUNT_; kind++) {
        shardy_testing_fault_set(kind, 1, 1);
    }
    running.c = c;
    running.kind = SWEEP_KIND_COUNT;
    r.status = c->operation(state, &r.error);
    running.c = NULL;
    for (int kind = 0; kind < SHARDY_FAULT_KIND_COUNT_; kind++) {
        uint64_t seen;
        shardy_testing_fault_counts(kind, &seen, &r.failed);
        shardy_testing_fault_set(kind, 0, 0);
        if (seen > 0) {
            fail_msg("%s: there is a point of %s", c->name, kind_names[kind]);
        }
    }
    if (r.status < 0) {
        fail_msg("%s: %s", c->name, r.error.message);
    }
    if (c->teardown) {
        c->teardown(state);
    }
}

/* --- all functions of the headers ------------------------------------------------------------- */

/* The functions of a header that return a status; returns how many there are. */
static size_t check_header(const char *path)
{
    static const char mark[] = "SHARDY_API shardy_status";
    size_t len;
    size_t count = 0;
    char *text = support_read_file(path, &len);
    for (const char *at = text; (at = strstr(at, mark)) != NULL; count++) {
        char name[FUNCTION_NAME_MAX];
        at += sizeof mark - 1;
        at += strspn(at, " \t\r\n");
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        assert_true(n > 0 && n < sizeof name && at[n] == '(');
        memcpy(name, at, n);
        name[n] = '\0';
        const swept_function *f = find_function(name);
        if (f->faults == 0 && !f->no_points) {
            fail_msg("%s: no fault was tried in %s(): add a case to this program", path, name);
        }
        print_message("sweep: %s: %llu faults met\n", name, (unsigned long long)f->faults);
    }
    free(text);
    return count;
}

static int is_named(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

size_t sweep_check_headers(const char *folder, const char *const *without)
{
    size_t count = 0;
    struct dirent *entry;
    if (!shardy_testing_fault_points()) {
        return 0;
    }
    DIR *dir = opendir(support_source(folder));
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[600];
        size_t len = strlen(entry->d_name);
        snprintf(path, sizeof path, "%.200s/%s", folder, entry->d_name);
        if (len > 2 && strcmp(entry->d_name + len - 2, ".h") == 0 &&
            !is_named(without, entry->d_name)) {
            count += check_header(support_source(path));
        }
    }
    closedir(dir);
    return count;
}
