/* digest_peer.h: the speed of the digest alone: SHA-256 of chunks in memory. */
#ifndef SHARDY_BENCH_SUPPORT_DIGEST_PEER_H
#define SHARDY_BENCH_SUPPORT_DIGEST_PEER_H

#include <stdint.h>

#define DIGEST_THREADS_MAX 64u

/* Nanoseconds for so many bytes, chunk by chunk, on as many threads. */
double bench_time_digest(uint32_t threads, uint64_t bytes);

#endif
