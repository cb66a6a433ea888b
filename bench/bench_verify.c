/* bench_verify: verification of a snapshot in a directory, against the digest alone: SHA-256 of the
 * same number of bytes in memory, chunk by chunk, on as many threads.
 *
 *   bench_verify [--rows=N] [--rounds=N] [--threads=N] [--dir=DIR]
 *
 * Rows have the sizes of the other benchmarks. The files are in the page cache. */
#include "support/bench.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_LEN   65536u
#define MEMORY_LEN  (8u << 20) /* a thread: from a cache it would not be the same */
#define THREADS_MAX 64u

typedef struct digest_work {
    pthread_t thread;
    uint8_t *memory;
    uint64_t bytes;
} digest_work;

static void *compute(void *user)
{
    digest_work *w = user;
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bench_need(sha256 && ctx, "SHA-256");
    uint8_t sum[32];
    for (uint64_t done = 0; done < w->bytes; done += CHUNK_LEN) {
        bench_need(EVP_DigestInit_ex2(ctx, sha256, NULL) == 1 &&
                       EVP_DigestUpdate(ctx, w->memory + done % MEMORY_LEN, CHUNK_LEN) == 1 &&
                       EVP_DigestFinal_ex(ctx, sum, NULL) == 1,
            "SHA-256");
    }
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(sha256);
    return NULL;
}

static double time_digest(digest_work *works, uint32_t threads, uint64_t bytes)
{
    double start = bench_now_ns();
    for (uint32_t i = 0; i < threads; i++) {
        works[i].bytes = bytes / threads;
        bench_need(pthread_create(&works[i].thread, NULL, compute, &works[i]) == 0, "thread");
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(works[i].thread, NULL);
    }
    return bench_now_ns() - start;
}

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
    digest_work works[THREADS_MAX];
    bench_sample s;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < threads; i++) {
        works[i].memory = bench_alloc(MEMORY_LEN, 1);
        memset(works[i].memory, (int)i + 1, MEMORY_LEN);
    }
    time_verify(path, threads, deep, &bytes);
    for (int r = 0; r < o->rounds; r++) {
        if (r % 2 == 0) {
            s.ours[r] = time_verify(path, threads, deep, &bytes) / 1e6;
            s.peer[r] = time_digest(works, threads, bytes) / 1e6;
        } else {
            s.peer[r] = time_digest(works, threads, bytes) / 1e6;
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
    for (uint32_t i = 0; i < threads; i++) {
        free(works[i].memory);
    }
}

int main(int argc, char **argv)
{
    bench_options o;
    bench_init(argc, argv, &o);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t threads = o.threads > 1 ? o.threads : processors > 1 ? (uint32_t)processors : 1;
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
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
