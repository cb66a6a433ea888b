/* bench_verify: verification of a snapshot in a directory, against the digest alone: SHA-256 of the
 * same number of bytes in memory, chunk by chunk, on as many threads.
 *
 *   bench_verify [--rows=N] [--rounds=N] [--threads=N] [--dir=DIR]
 *
 * Rows have the sizes of the other benchmarks. The files are in the page cache. */
#include "support/bench.h"
#include "support/digest_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double time_verify(const char *path, uint32_t threads, int deep, uint64_t *bytes_out)
{
    shardy_error err;
    shardy_verify_options options;
    shardy_verify_result result;
    shardy_verify_options_init(&options, sizeof options);
    options.threads = threads;
    options.deep = deep;
    double start = bench_now_ns();
    bench_check(shardy_verify(NULL, path, &options, &result, &err), "verify", &err);
    double ns = bench_now_ns() - start;
    bench_need(result.status == SHARDY_VERIFY_OK, "a snapshot without damage");
    *bytes_out = result.bytes;
    shardy_verify_result_dispose(&result);
    return ns;
}

static void run_pair(const bench_options *o, const char *path, uint32_t threads, int deep)
{
    bench_sample s;
    uint64_t bytes = 0;
    time_verify(path, threads, deep, &bytes);
    for (int r = 0; r < o->rounds; r++) {
        if (r % 2 == 0) {
            s.ours[r] = time_verify(path, threads, deep, &bytes) / 1e6;
            s.peer[r] = bench_time_digest(threads, bytes) / 1e6;
        } else {
            s.peer[r] = bench_time_digest(threads, bytes) / 1e6;
            s.ours[r] = time_verify(path, threads, deep, &bytes) / 1e6;
        }
    }
    char name[64];
    char more[96];
    snprintf(name, sizeof name, "verify%s_%u_thread%s", deep ? "_deep" : "", threads,
        threads == 1 ? "" : "s");
    snprintf(more, sizeof more, ",\"bytes\":%llu,\"mb_per_s\":%.0f", (unsigned long long)bytes,
        (double)bytes / bench_median(s.ours, o->rounds) / 1e3);
    bench_line line = {name, "SHA-256 of as many bytes", "ms", o->rows, deep ? 0 : 0.8, more};
    bench_report(&line, &s, o->rounds);
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t threads = o.threads > 1 ? o.threads : processors > 1 ? (uint32_t)processors : 1;
    threads = threads < DIGEST_THREADS_MAX ? threads : DIGEST_THREADS_MAX;
    uint8_t *keys = bench_alloc(o.rows, BENCH_KEY_LEN);
    bench_random_keys(keys, o.rows);
    char *path = bench_fresh_dir(o.dir, "verify");
    shardy_writer_options options;
    shardy_writer_options_init(&options, sizeof options);
    options.num_dbs = 8;
    options.sync = 0;
    bench_build_snapshot(path, keys, o.rows, &options);
    for (uint32_t n = 1; n <= threads; n += threads > 1 ? threads - 1 : 1) {
        run_pair(&o, path, n, 0);
        run_pair(&o, path, n, 1);
    }
    bench_remove(path);
    free(path);
    free(keys);
    return 0;
}
