/* bench_rows: a snapshot from a file of JSON lines, against the same rows from memory: what reading
 * them costs. Both builds have 4 shards, one thread, and are not synced; the file is in the page
 * cache, the rows from memory are there before the clock starts.
 *
 *   bench_rows [--rows=N] [--rounds=N] [--dir=DIR] */
#include "support/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text_row {
    char key[32];
    char value[136];
} text_row;

static text_row *make_rows(size_t count)
{
    text_row *rows = bench_alloc(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        uint64_t x = i * 0x9E3779B97F4A7C15u;
        snprintf(rows[i].key, sizeof rows[i].key, "package-%08zu", i);
        snprintf(rows[i].value, sizeof rows[i].value,
            "version %llu.%llu of a package that does something useful, with a "
            "description of about one hundred bytes",
            (unsigned long long)(x >> 60), (unsigned long long)(x >> 40 & 1023));
    }
    return rows;
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

static double from_memory(const bench_options *o, const text_row *rows)
{
    shardy_error err;
    char *path = bench_fresh_dir(o->dir, "rows");
    double start = bench_now_ns();
    shardy_writer *writer = open_writer(path);
    shardy_row row;
    shardy_row_init(&row, sizeof row);
    for (size_t i = 0; i < o->rows; i++) {
        row.key = shardy_key_cstr(rows[i].key);
        row.value.data = rows[i].value;
        row.value.len = strlen(rows[i].value);
        bench_check(shardy_writer_put(writer, &row, &err), "put", &err);
    }
    finish(writer);
    double ns = (bench_now_ns() - start) / (double)o->rows;
    free(path);
    return ns;
}

/* Returns the bytes of the file. */
static double write_file(const char *path, const text_row *rows, size_t count)
{
    FILE *f = fopen(path, "w");
    bench_need(f != NULL, path);
    for (size_t i = 0; i < count; i++) {
        fprintf(f, "{\"key\":\"%s\",\"value\":\"%s\"}\n", rows[i].key, rows[i].value);
    }
    double bytes = (double)ftell(f);
    bench_need(fclose(f) == 0, path);
    return bytes;
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    bench_pin_to_one_core();
    char *dir = bench_fresh_dir(o.dir, "jsonl");
    char file[4200];
    snprintf(file, sizeof file, "%s/rows.jsonl", dir);
    text_row *rows = make_rows(o.rows);
    double bytes = write_file(file, rows, o.rows);
    bench_sample s;
    for (int r = 0; r < o.rounds; r++) {
        if (r % 2 == 0) {
            s.ours[r] = from_file(&o, file);
            s.peer[r] = from_memory(&o, rows);
        } else {
            s.peer[r] = from_memory(&o, rows);
            s.ours[r] = from_file(&o, file);
        }
    }
    char more[64];
    double ns = bench_median(s.ours, o.rounds);
    snprintf(more, sizeof more, ",\"mb_per_s\":%.1f", bytes / ((double)o.rows * ns) * 1e3);
    bench_line line = {"build_from_jsonl", "rows from memory", "ns", o.rows, 0.5, more};
    bench_report(&line, &s, o.rounds);
    bench_remove(dir);
    free(rows);
    free(dir);
    return 0;
}
