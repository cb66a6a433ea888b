#define _GNU_SOURCE /* sched_setaffinity */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* --- options ---------------------------------------------------------------------------------- */

static const char *value_of(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && argument[len] == '=' ? argument + len + 1 : NULL;
}

static uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    bench_need(errno == 0 && end != text && *end == '\0', "a number was expected");
    return value;
}

static void take_argument(const char *argument, bench_options *o)
{
    const char *v;
    if ((v = value_of(argument, "--rows"))) {
        o->rows = number_of(v);
    } else if ((v = value_of(argument, "--rounds"))) {
        o->rounds = (int)number_of(v);
    } else if ((v = value_of(argument, "--dir"))) {
        o->dir = v;
    } else if ((v = value_of(argument, "--data"))) {
        o->data = v;
    } else if ((v = value_of(argument, "--vec0"))) {
        o->vec0 = v;
    } else if ((v = value_of(argument, "--url"))) {
        o->url = v;
    } else if ((v = value_of(argument, "--mode"))) {
        o->mode = v;
    } else if ((v = value_of(argument, "--count"))) {
        o->count = number_of(v);
    } else if ((v = value_of(argument, "--threads"))) {
        o->threads = (uint32_t)number_of(v);
    } else if ((v = value_of(argument, "--budget"))) {
        o->budget = number_of(v);
    } else if ((v = value_of(argument, "--sync"))) {
        o->sync = number_of(v) != 0;
    } else {
        bench_need(0, argument);
    }
}

void bench_pin_to_one_core(void)
{
    /* The last processor this process may use: interrupts prefer the first. */
    cpu_set_t allowed;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        for (size_t cpu = CPU_SETSIZE; cpu-- > 0;) {
            if (CPU_ISSET(cpu, &allowed)) {
                CPU_SET(cpu, &one);
                break;
            }
        }
        bench_need(sched_setaffinity(0, sizeof one, &one) == 0, "pin to a processor");
    }
}

void bench_init(int argc, char **argv, bench_options *options)
{
    memset(options, 0, sizeof *options);
    options->rows = 1000000;
    options->rounds = 5;
    options->dir = "build/bench";
    options->vec0 = "build/oracle/vec0.so";
    options->count = 100000;
    options->threads = 1;
    options->budget = 256ull << 20;
    options->sync = 1;
    for (int i = 1; i < argc; i++) {
        take_argument(argv[i], options);
    }
    bench_need(options->rows > 0 && options->threads > 0 && options->rounds > 0 &&
                   options->rounds <= BENCH_ROUNDS_MAX,
        "rows and threads of at least 1, rounds from 1 to 64");
    bench_need(mkdir(options->dir, 0777) == 0 || errno == EEXIST, options->dir);
}

/* --- small helpers ---------------------------------------------------------------------------- */

double bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void bench_need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench: failed: %s\n", what);
        exit(1);
    }
}

void bench_check(shardy_status st, const char *what, const shardy_error *err)
{
    if (st < 0) {
        fprintf(
            stderr, "bench: %s: %s: %s\n", what, shardy_status_name(st), err ? err->message : "");
        exit(1);
    }
}

void *bench_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    bench_need(p != NULL, "out of memory");
    return p;
}

static uint64_t random_state = 42;

uint64_t bench_random(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void bench_random_keys(uint8_t *keys, size_t count)
{
    for (size_t i = 0; i < count * 2; i++) {
        uint64_t r = bench_random();
        memcpy(keys + i * 8, &r, 8);
    }
}

void bench_pick(const uint8_t *keys, size_t rows, uint8_t *asked, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memcpy(
            asked + i * BENCH_KEY_LEN, keys + bench_random() % rows * BENCH_KEY_LEN, BENCH_KEY_LEN);
    }
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, BENCH_KEY_LEN);
}

void bench_sort_keys(uint8_t *keys, size_t count)
{
    qsort(keys, count, BENCH_KEY_LEN, compare_keys);
}

void bench_value(const uint8_t *key, uint8_t value[BENCH_VALUE_LEN])
{
    uint64_t x;
    memcpy(&x, key, sizeof x);
    for (size_t i = 0; i < BENCH_VALUE_LEN; i += 4) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint32_t word = (uint32_t)(x >> 32);
        memcpy(value + i, &word, 4);
    }
}

/* --- reports ---------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(const double *values, int count)
{
    double copy[BENCH_ROUNDS_MAX];
    memcpy(copy, values, (size_t)count * sizeof *values);
    qsort(copy, (size_t)count, sizeof *copy, compare_doubles);
    return count % 2 ? copy[count / 2] : (copy[count / 2 - 1] + copy[count / 2]) / 2;
}

void bench_report(const bench_line *line, const bench_sample *sample, int rounds)
{
    double ratio[BENCH_ROUNDS_MAX];
    double low = 1e300;
    double high = 0;
    for (int i = 0; i < rounds; i++) {
        ratio[i] = sample->peer[i] / sample->ours[i];
        low = ratio[i] < low ? ratio[i] : low;
        high = ratio[i] > high ? ratio[i] : high;
    }
    printf("{\"bench\":\"%s\",\"rows\":%zu,\"ours_%s\":%.4g,\"peer\":\"%s\",\"peer_%s\":%.4g,",
        line->name, line->rows, line->unit, bench_median(sample->ours, rounds), line->peer,
        line->unit, bench_median(sample->peer, rounds));
    printf("\"ratio_median\":%.3f,\"ratio_min\":%.3f,\"ratio_max\":%.3f,\"rounds\":%d",
        bench_median(ratio, rounds), low, high, rounds);
    if (line->goal > 0) {
        printf(",\"goal\":%.3g", line->goal);
    }
    printf("%s}\n", line->more ? line->more : "");
    fflush(stdout);
}

void bench_figure(const char *name, size_t rows, const char *unit, double value, const char *more)
{
    printf("{\"bench\":\"%s\",\"rows\":%zu,\"ours_%s\":%.4g%s}\n", name, rows, unit, value,
        more ? more : "");
    fflush(stdout);
}

/* --- directories and snapshots ---------------------------------------------------------------- */

static char *join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = bench_alloc(size, 1);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

static int is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes one file or empty directory below `path`; 0 when nothing is left there. Repeated until
 * then, it removes a tree without recursion. */
static int remove_step(const char *path)
{
    char at[PATH_SIZE];
    snprintf(at, sizeof at, "%s", path);
    for (;;) {
        DIR *dir = opendir(at);
        if (!dir) {
            return unlink(at) == 0 && strcmp(at, path) != 0;
        }
        struct dirent *entry;
        char *first = NULL;
        while (!first && (entry = readdir(dir))) {
            first = is_dot(entry->d_name) ? NULL : join(at, entry->d_name);
        }
        closedir(dir);
        if (!first) {
            return rmdir(at) == 0 && strcmp(at, path) != 0;
        }
        snprintf(at, sizeof at, "%s", first);
        free(first);
    }
}

void bench_remove(const char *path)
{
    while (remove_step(path)) {
    }
}

char *bench_fresh_dir(const char *dir, const char *name)
{
    char *path = join(dir, name);
    bench_remove(path);
    bench_need(mkdir(path, 0777) == 0, path);
    return path;
}

void bench_build_snapshot(
    const char *path, const uint8_t *keys, size_t rows, const shardy_writer_options *options)
{
    shardy_error err;
    shardy_writer *writer;
    bench_check(shardy_writer_open(NULL, path, options, &writer, &err), "open a writer", &err);
    uint8_t value[BENCH_VALUE_LEN];
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *key = keys + i * BENCH_KEY_LEN;
        bench_value(key, value);
        row.key = shardy_key_bytes(key, BENCH_KEY_LEN);
        row.value.data = value;
        row.value.len = sizeof value;
        bench_check(shardy_writer_put(writer, &row, &err), "put", &err);
    }
    bench_check(shardy_writer_finish(writer, NULL, &err), "finish", &err);
    shardy_writer_close(writer);
}

char *bench_shard_file(const char *path)
{
    shardy_error err;
    shardy_reader *reader;
    shardy_snapshot_info info;
    bench_check(shardy_reader_open(NULL, path, NULL, &reader, &err), "open", &err);
    bench_check(shardy_reader_snapshot_info(reader, &info, &err), "info", &err);
    char *file = bench_alloc(PATH_SIZE, 1);
    snprintf(
        file, PATH_SIZE, "%s/shards/run_id=%s/db=00000/attempt=00/shard.db", path, info.run_id);
    shardy_snapshot_info_dispose(&info);
    shardy_reader_close(reader);
    return file;
}
