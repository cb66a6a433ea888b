/* bench_rows: a snapshot from a file of JSON lines, against the same rows from memory: what reading
 * them costs. Both builds have 4 shards, one thread, and are not synced; the file is in the page
 * cache.
 *
 *   bench_rows [--rows=N] [--rounds=N] [--dir=DIR] */
#include "support/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void row_texts(size_t i, char key[32], char value[160])
{
    uint64_t x = i * 0x9E3779B97F4A7C15u;
    snprintf(key, 32, "package-%08zu", i);
    snprintf(value, 160,
        "version %llu.%llu of a package that does something useful, with a "
        "description of about one hundred bytes",
        (unsigned long long)(x >> 60), (unsigned long long)(x >> 40 & 1023));
}

static shardy_writer *open_writer(const char *path)
{
    shardy_error err;
    shardy_writer_options options;
    shardy_writer *writer;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 4;
    options.threads = 1;
    options.sync = 0;
    bench_check(shardy_writer_open(NULL, path, &options, &writer, &err), "open a writer", &err);
    return writer;
}

static void finish(shardy_writer *writer)
{
    shardy_error err;
    bench_check(shardy_writer_finish(writer, NULL, &err), "finish", &err);
    shardy_writer_close(writer);
}

static double from_file(const bench_options *o, const char *file)
{
    shardy_error err;
    shardy_row_source *source;
    shardy_row_source_options options;
    char *path = bench_fresh_dir(o->dir, "rows");
    double start = bench_now_ns();
    shardy_row_source_options_init(&options, sizeof options);
    options.value_column = "value";
    bench_check(shardy_row_source_open(NULL, &file, 1, &options, &source, &err), "open rows", &err);
    shardy_writer *writer = open_writer(path);
    bench_check(shardy_writer_put_source(writer, source, &err), "put", &err);
    finish(writer);
    shardy_row_source_close(source);
    double ns = (bench_now_ns() - start) / (double)o->rows;
    free(path);
    return ns;
}

static double from_memory(const bench_options *o)
{
    shardy_error err;
    char *path = bench_fresh_dir(o->dir, "rows");
    double start = bench_now_ns();
    shardy_writer *writer = open_writer(path);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    for (size_t i = 0; i < o->rows; i++) {
        char key[32];
        char value[160];
        row_texts(i, key, value);
        row.key = shardy_key_cstr(key);
        row.value.data = value;
        row.value.len = strlen(value);
        bench_check(shardy_writer_put(writer, &row, &err), "put", &err);
    }
    finish(writer);
    double ns = (bench_now_ns() - start) / (double)o->rows;
    free(path);
    return ns;
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    bench_pin_to_one_core();
    char *dir = bench_fresh_dir(o.dir, "jsonl");
    char file[4200];
    snprintf(file, sizeof file, "%s/rows.jsonl", dir);
    FILE *f = fopen(file, "w");
    bench_need(f != NULL, file);
    for (size_t i = 0; i < o.rows; i++) {
        char key[32];
        char value[160];
        row_texts(i, key, value);
        fprintf(f, "{\"key\":\"%s\",\"value\":\"%s\"}\n", key, value);
    }
    long bytes = ftell(f);
    bench_need(fclose(f) == 0, file);
    bench_sample s;
    for (int r = 0; r < o.rounds; r++) {
        if (r % 2 == 0) {
            s.ours[r] = from_file(&o, file);
            s.peer[r] = from_memory(&o);
        } else {
            s.peer[r] = from_memory(&o);
            s.ours[r] = from_file(&o, file);
        }
    }
    char more[64];
    double ns = bench_median(s.ours, o.rounds);
    snprintf(more, sizeof more, ",\"mb_per_s\":%.1f", (double)bytes / ((double)o.rows * ns) * 1e3);
    bench_line line = {"build_from_jsonl", "rows from memory", "ns", o.rows, 0.5, more};
    bench_report(&line, &s, o.rounds);
    bench_remove(dir);
    free(dir);
    return 0;
}
