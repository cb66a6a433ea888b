/* base.h: what every other header needs: export marks, version, borrowed and owned bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDYFUSION_BASE_H
#define SHARDYFUSION_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHARDY_VERSION_MAJOR 0
#define SHARDY_VERSION_MINOR 1
#define SHARDY_VERSION_PATCH 0
#define SHARDY_VERSION       "0.1.0"

#if defined(__GNUC__) || defined(__clang__)
#define SHARDY_API      __attribute__((visibility("default")))
#define SHARDY_MUST_USE __attribute__((warn_unused_result))
#else
#define SHARDY_API
#define SHARDY_MUST_USE
#endif

/* Bytes that somebody else owns. Valid as long as the call they are passed to, or as documented
 * where they are returned. `data` may be NULL when `len` is 0. */
typedef struct shardy_bytes {
    const void *data;
    size_t len;
} shardy_bytes;

/* Bytes that the receiver owns: give them back with shardy_buf_release(). The memory behind them
 * may be a mapped shard file that stays open for as long as the buffer is held. */
typedef struct shardy_buf {
    const void *data;
    size_t len;
    void (*release)(struct shardy_buf *buf); /* NULL: nothing to release */
    void *owner;                             /* private to `release` */
} shardy_buf;

/* Gives a buffer back and clears it. NULL and cleared buffers are fine. Cannot fail.
 * Threads: any thread, any time (one thread per buffer). */
SHARDY_API void shardy_buf_release(shardy_buf *buf);

/* The version of the library that is loaded, e.g. "0.1.0"; compare it with SHARDY_VERSION, the
 * version that was compiled against. Never NULL. Threads: any thread, any time. */
SHARDY_API const char *shardy_version(void);

#ifdef __cplusplus
}
#endif
#endif
