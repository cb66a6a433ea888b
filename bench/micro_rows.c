/* micro_rows: MB/s and rows/s of reading files of rows through shardy_row_source_next().
 *
 *   micro_rows [--value COLUMN] [--vector COLUMN] [--rounds N] FILE...
 *
 * Each file is read N times (default 5) after one round to warm up; the median is printed as one
 * JSON line. Bytes are those of the file as it lies on the disk. Without --value the value is the
 * row itself. */
#include "support/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Reads the file once; returns the seconds, negative after a failure. */
static double read_all(const char *path, const shardy_row_source_options *options,
    uint64_t *rows_out, uint64_t *value_bytes_out)
{
    shardy_error err = {0};
    shardy_row_source *source;
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    *rows_out = 0;
    *value_bytes_out = 0;
    double start = bench_now_ns();
    shardy_status st = shardy_row_source_open(NULL, &path, 1, options, &source, &err);
    while (st == SHARDY_OK) {
        st = shardy_row_source_next(source, &row, &err);
        *rows_out += st == SHARDY_OK;
        *value_bytes_out += row.value.len;
    }
    shardy_row_source_close(source);
    if (st != SHARDY_DONE) {
        fprintf(stderr, "micro_rows: %s\n", err.message);
        return -1;
    }
    return (bench_now_ns() - start) / 1e9;
}

static int measure(const char *path, const shardy_row_source_options *options, int rounds)
{
    struct stat st;
    double times[BENCH_ROUNDS_MAX];
    uint64_t rows = 0;
    uint64_t value_bytes = 0;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "micro_rows: no file %s\n", path);
        return 1;
    }
    for (int i = -1; i < rounds; i++) {
        double t = read_all(path, options, &rows, &value_bytes);
        if (t < 0) {
            return 1;
        }
        times[i < 0 ? 0 : i] = t;
    }
    double median = bench_median(times, rounds);
    printf("{\"file\": \"%s\", \"bytes\": %lld, \"rows\": %llu, \"value_bytes\": %llu, "
           "\"seconds\": %.4f, \"mb_per_s\": %.1f, \"rows_per_s\": %.0f}\n",
        path, (long long)st.st_size, (unsigned long long)rows, (unsigned long long)value_bytes,
        median, (double)st.st_size / median / 1e6, (double)rows / median);
    return 0;
}

int main(int argc, char **argv)
{
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    int rounds = 5;
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--value") == 0) {
            options.value_column = argv[i + 1];
        } else if (strcmp(argv[i], "--vector") == 0) {
            options.vector_column = argv[i + 1];
        } else if (strcmp(argv[i], "--rounds") == 0) {
            rounds = (int)strtol(argv[i + 1], NULL, 10);
        } else {
            break;
        }
    }
    if (i >= argc || rounds < 1 || rounds > BENCH_ROUNDS_MAX || strncmp(argv[i], "--", 2) == 0) {
        fprintf(
            stderr, "usage: micro_rows [--value COLUMN] [--vector COLUMN] [--rounds N] FILE...\n");
        return 2;
    }
    int failed = 0;
    for (; i < argc; i++) {
        failed |= measure(argv[i], &options, rounds);
    }
    return failed;
}
