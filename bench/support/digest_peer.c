#include "digest_peer.h"

#include "bench.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_LEN  65536u
#define MEMORY_LEN (8u << 20) /* a thread: from a cache it would not be the same */

typedef struct digest_work {
    pthread_t thread;
    uint8_t *memory;
    uint64_t bytes;
} digest_work;

static void *compute(void *user)
{
    const digest_work *w = user;
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

double bench_time_digest(uint32_t threads, uint64_t bytes)
{
    digest_work works[DIGEST_THREADS_MAX];
    bench_need(threads <= DIGEST_THREADS_MAX, "threads");
    for (uint32_t i = 0; i < threads; i++) {
        works[i].memory = bench_alloc(MEMORY_LEN, 1);
        memset(works[i].memory, (int)i + 1, MEMORY_LEN);
        works[i].bytes = bytes / threads;
    }
    double start = bench_now_ns();
    for (uint32_t i = 0; i < threads; i++) {
        bench_need(pthread_create(&works[i].thread, NULL, compute, &works[i]) == 0, "thread");
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(works[i].thread, NULL);
    }
    double ns = bench_now_ns() - start;
    for (uint32_t i = 0; i < threads; i++) {
        free(works[i].memory);
    }
    return ns;
}
