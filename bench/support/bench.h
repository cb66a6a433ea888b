/* bench.h: what the benchmarks share: options, rounds and their ratios, keys, snapshots. */
#ifndef SHARDY_BENCH_SUPPORT_BENCH_H
#define SHARDY_BENCH_SUPPORT_BENCH_H

#include <shardyfusion/shardyfusion.h>

#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS_MAX 64
#define BENCH_KEY_LEN    16u
#define BENCH_VALUE_LEN  100u

/* What bench/run passes as --name=value; each program documents which it uses. */
typedef struct bench_options {
    size_t rows;
    int rounds;
    const char *dir;  /* scratch directory, made when it does not exist; default build/bench */
    const char *data; /* directory with vectors.f32.npy and queries.f32.npy; NULL: generated */
    const char *vec0; /* sqlite-vec as a loadable extension */
    const char *url;  /* of the server that bench/run has started */
    const char *mode; /* for one measurement in a process of its own; NULL: all */
    size_t count;     /* operations in that mode */
    uint32_t threads;
    uint64_t budget; /* bytes */
    int sync;
} bench_options;

void bench_init(int argc, char **argv, bench_options *options);
/* From here on the process, and those it starts, keep to one processor. */
void bench_pin_to_one_core(void);

double bench_now_ns(void);
/* Ends the program with a message when `ok` is 0. */
void bench_need(int ok, const char *what);
/* The same for a call of the library. */
void bench_check(shardy_status st, const char *what, const shardy_error *err);
void *bench_alloc(size_t count, size_t size);

/* splitmix64 with a fixed seed: each run asks the same. */
uint64_t bench_random(void);
/* Random 16-byte keys. */
void bench_random_keys(uint8_t *keys, size_t count);
/* Copies of randomly chosen keys, so that reading the question costs no cache miss. */
void bench_pick(const uint8_t *keys, size_t rows, uint8_t *asked, size_t count);
void bench_sort_keys(uint8_t *keys, size_t count);
/* A value that follows from its key, hard to compress. */
void bench_value(const uint8_t *key, uint8_t value[BENCH_VALUE_LEN]);

/* One measurement: the cost of an operation per round on each side. */
typedef struct bench_sample {
    double ours[BENCH_ROUNDS_MAX];
    double peer[BENCH_ROUNDS_MAX];
} bench_sample;

double bench_median(const double *values, int count);
/* Prints {"bench":name,"rows":...,"ours_<unit>":...,"peer":...,"peer_<unit>":...,"ratio_median",
 * "ratio_min","ratio_max"}: a ratio of 2 means that the peer takes twice as long. `goal` 0: none.
 * `more` is NULL or further members of the object, beginning with a comma. */
typedef struct bench_line {
    const char *name;
    const char *peer;
    const char *unit; /* "ns", "ms", ... */
    size_t rows;
    double goal;
    const char *more;
} bench_line;
void bench_report(const bench_line *line, const bench_sample *sample, int rounds);
/* A figure without a peer. */
void bench_figure(const char *name, size_t rows, const char *unit, double value, const char *more);

/* Makes an empty directory `dir`/`name`; what was there is removed. The path is yours. */
char *bench_fresh_dir(const char *dir, const char *name);
void bench_remove(const char *path);
/* Builds a snapshot of these 16-byte keys with their values. */
void bench_build_snapshot(
    const char *path, const uint8_t *keys, size_t rows, const shardy_writer_options *options);
/* The file of the only shard of the current snapshot. The path is yours. */
char *bench_shard_file(const char *path);

#endif
