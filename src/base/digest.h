/* digest.h: SHA-256, and the digest of an object by 64 KiB chunks.
 *
 * digest(object) = SHA-256 of the SHA-256s of its chunks, one after the other (of nothing when it
 * is empty). The list of chunk digests, 32 bytes each, is what `<object>.sums` holds for objects of
 * more than one chunk. */
#ifndef SHARDY_BASE_DIGEST_H
#define SHARDY_BASE_DIGEST_H

#include "error.h"

#include <shardyfusion/base.h>

#include <stdint.h>

#define SHARDY_SHA256_LEN  32u
#define SHARDY_CHUNK_SHIFT 16u
#define SHARDY_CHUNK_LEN   (1u << SHARDY_CHUNK_SHIFT)

typedef struct sha256 {
    uint8_t bytes[SHARDY_SHA256_LEN];
} sha256;

/* INTERNAL when the cryptographic library refuses, NOMEM. */
shardy_status shardy__sha256(const void *data, size_t len, sha256 *out, shardy_error *err);
/* SHA-256 of what comes piece by piece. `state` is to be freed, NULL is fine. */
typedef struct sha256_state sha256_state;
shardy_status shardy__sha256_begin(sha256_state **state_out, shardy_error *err);
shardy_status shardy__sha256_add(
    sha256_state *state, const void *data, size_t len, shardy_error *err);
shardy_status shardy__sha256_finish(sha256_state *state, sha256 *out, shardy_error *err);
void shardy__sha256_free(sha256_state *state);
/* HMAC with SHA-256. INTERNAL when the cryptographic library refuses. */
shardy_status shardy__hmac_sha256(
    shardy_bytes key, shardy_bytes data, sha256 *out, shardy_error *err);
/* MD5, for a protocol that asks for it. 0 when the cryptographic library does not have it. */
#define SHARDY_MD5_LEN 16u
int shardy__md5(const void *data, size_t len, uint8_t out[SHARDY_MD5_LEN]);
/* The checksums of S3 besides: as bytes, the most significant first. Returns how many. */
typedef enum crc_kind {
    CRC_32 = 0,
    CRC_32C,
    CRC_64NVME,
    CRC_KINDS
} crc_kind;
#define SHARDY_CRC_LEN_MAX 8u
size_t shardy__crc(crc_kind kind, const void *data, size_t len, uint8_t out[SHARDY_CRC_LEN_MAX]);
/* Base64 with padding, zero-terminated; `text_out` has room for SHARDY_BASE64_SIZE(len). */
#define SHARDY_BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
void shardy__base64(const void *data, size_t len, char *text_out);
void shardy__sha256_hex(const sha256 *digest, char text_out[65]);
/* False when the text is not 64 hex digits. */
int shardy__sha256_parse(const char *text, size_t len, sha256 *out);

/* Computes chunk digests of a stream. */
typedef struct chunk_digest {
    uint64_t size;
    sha256 *sums; /* one per finished chunk */
    size_t count;
    size_t room;
    uint8_t *partial; /* the chunk that is being filled */
    size_t partial_len;
} chunk_digest;

void shardy__chunk_digest_init(chunk_digest *d);
void shardy__chunk_digest_free(chunk_digest *d);
shardy_status shardy__chunk_digest_add(
    chunk_digest *d, const void *data, size_t len, shardy_error *err);
/* Finishes the last chunk and gives the digest of the object. */
shardy_status shardy__chunk_digest_finish(chunk_digest *d, sha256 *out, shardy_error *err);
/* Digest of a list of chunk digests. */
shardy_status shardy__sums_digest(const sha256 *sums, size_t count, sha256 *out, shardy_error *err);
/* Digest of an object that is in memory. */
shardy_status shardy__object_digest(const void *data, size_t len, sha256 *out, shardy_error *err);

static inline uint64_t shardy__chunk_count(uint64_t size)
{
    return (size + SHARDY_CHUNK_LEN - 1) >> SHARDY_CHUNK_SHIFT;
}

#endif
