#include "digest.h"

#include "alloc.h"
#include "ascii.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

shardy_status shardy__sha256(const void *data, size_t len, sha256 *out, shardy_error *err)
{
    unsigned int digest_len = 0;
    if (EVP_Digest(data, len, out->bytes, &digest_len, EVP_sha256(), NULL) != 1 ||
        digest_len != SHARDY_SHA256_LEN) {
        return shardy__error(err, SHARDY_INTERNAL, "digest", "SHA-256 is not available");
    }
    return SHARDY_OK;
}

static shardy_status refused(const char *what, shardy_error *err)
{
    return shardy__error(err, SHARDY_INTERNAL, "digest", "%s is not available", what);
}

struct sha256_state {
    EVP_MD_CTX *md;
};

shardy_status shardy__sha256_begin(sha256_state **state_out, shardy_error *err)
{
    *state_out = NULL;
    sha256_state *s = shardy__malloc(sizeof *s);
    EVP_MD_CTX *md = s ? EVP_MD_CTX_new() : NULL;
    if (!md) {
        shardy__free(s);
        return shardy__error_nomem(err, "digest");
    }
    s->md = md;
    *state_out = s;
    return EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? SHARDY_OK : refused("SHA-256", err);
}

shardy_status shardy__sha256_add(
    sha256_state *state, const void *data, size_t len, shardy_error *err)
{
    return EVP_DigestUpdate(state->md, data, len) == 1 ? SHARDY_OK : refused("SHA-256", err);
}

shardy_status shardy__sha256_finish(sha256_state *state, sha256 *out, shardy_error *err)
{
    unsigned int len = 0;
    return EVP_DigestFinal_ex(state->md, out->bytes, &len) == 1 && len == SHARDY_SHA256_LEN
               ? SHARDY_OK
               : refused("SHA-256", err);
}

void shardy__sha256_free(sha256_state *state)
{
    if (state) {
        EVP_MD_CTX_free(state->md);
        shardy__free(state);
    }
}

shardy_status shardy__hmac_sha256(
    shardy_bytes key, shardy_bytes data, sha256 *out, shardy_error *err)
{
    unsigned int len = 0;
    return key.len <= INT32_MAX &&
                   HMAC(EVP_sha256(), key.data, (int)key.len, data.data, data.len, out->bytes,
                       &len) &&
                   len == SHARDY_SHA256_LEN
               ? SHARDY_OK
               : refused("HMAC with SHA-256", err);
}

int shardy__md5(const void *data, size_t len, uint8_t out[SHARDY_MD5_LEN])
{
    unsigned int digest_len = 0;
    return EVP_Digest(data, len, out, &digest_len, EVP_md5(), NULL) == 1 &&
           digest_len == SHARDY_MD5_LEN;
}

void shardy__base64(const void *data, size_t len, char *text_out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    for (; len > 0; p += 3) {
        size_t n = len < 3 ? len : 3;
        uint32_t group = (uint32_t)p[0] << 16;
        group |= n > 1 ? (uint32_t)p[1] << 8 : 0;
        group |= n > 2 ? p[2] : 0;
        for (size_t i = 0; i < 4; i++) {
            *text_out++ = i <= n ? digits[group >> (18 - 6 * i) & 63] : '=';
        }
        len -= n;
    }
    *text_out = '\0';
}

size_t shardy__crc(crc_kind kind, const void *data, size_t len, uint8_t out[SHARDY_CRC_LEN_MAX])
{
    static const uint64_t polynomials[CRC_KINDS] = {
        0xEDB88320u, 0x82F63B78u, 0x9A6C9329AC4BC9B5u}; /* the lowest bit is the highest power */
    const size_t size = kind == CRC_64NVME ? 8 : 4;
    const uint64_t ones = UINT64_MAX >> (64 - 8 * size);
    const uint8_t *bytes = data;
    uint64_t table[256];
    for (uint64_t i = 0; i < 256; i++) {
        table[i] = i;
        for (unsigned bit = 0; bit < 8; bit++) {
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? polynomials[kind] : 0);
        }
    }
    uint64_t crc = ones;
    for (size_t i = 0; i < len; i++) {
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xFF];
    }
    crc ^= ones;
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(crc >> (8 * (size - 1 - i)));
    }
    return size;
}

void shardy__sha256_hex(const sha256 *digest, char text_out[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHARDY_SHA256_LEN; i++) {
        text_out[2 * i] = digits[digest->bytes[i] >> 4];
        text_out[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    text_out[64] = '\0';
}

int shardy__sha256_parse(const char *text, size_t len, sha256 *out)
{
    if (len != 2 * SHARDY_SHA256_LEN) {
        return 0;
    }
    for (size_t i = 0; i < SHARDY_SHA256_LEN; i++) {
        int high = shardy__hex_value(text[2 * i]);
        int low = shardy__hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

void shardy__chunk_digest_init(chunk_digest *d)
{
    memset(d, 0, sizeof *d);
}

void shardy__chunk_digest_free(chunk_digest *d)
{
    shardy__free(d->sums);
    shardy__free(d->partial);
    shardy__chunk_digest_init(d);
}

static shardy_status add_chunk(chunk_digest *d, const void *data, size_t len, shardy_error *err)
{
    if (d->count == d->room) {
        size_t room = d->room ? d->room * 2 : 16;
        sha256 *sums = shardy__realloc(d->sums, room * sizeof *sums);
        if (!sums) {
            return shardy__error_nomem(err, "digest");
        }
        d->sums = sums;
        d->room = room;
    }
    SHARDY_TRY(shardy__sha256(data, len, &d->sums[d->count], err));
    d->count++;
    return SHARDY_OK;
}

shardy_status shardy__chunk_digest_add(
    chunk_digest *d, const void *data, size_t len, shardy_error *err)
{
    const uint8_t *p = data;
    d->size += len;
    while (len > 0) {
        if (d->partial_len == 0 && len >= SHARDY_CHUNK_LEN) {
            SHARDY_TRY(add_chunk(d, p, SHARDY_CHUNK_LEN, err));
            p += SHARDY_CHUNK_LEN;
            len -= SHARDY_CHUNK_LEN;
            continue;
        }
        if (!d->partial) {
            d->partial = shardy__malloc(SHARDY_CHUNK_LEN);
            if (!d->partial) {
                return shardy__error_nomem(err, "digest");
            }
        }
        size_t n = SHARDY_CHUNK_LEN - d->partial_len;
        n = n < len ? n : len;
        memcpy(d->partial + d->partial_len, p, n);
        d->partial_len += n;
        p += n;
        len -= n;
        if (d->partial_len == SHARDY_CHUNK_LEN) {
            SHARDY_TRY(add_chunk(d, d->partial, SHARDY_CHUNK_LEN, err));
            d->partial_len = 0;
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__chunk_digest_finish(chunk_digest *d, sha256 *out, shardy_error *err)
{
    if (d->partial_len > 0) {
        SHARDY_TRY(add_chunk(d, d->partial, d->partial_len, err));
        d->partial_len = 0;
    }
    return shardy__sums_digest(d->sums, d->count, out, err);
}

shardy_status shardy__sums_digest(const sha256 *sums, size_t count, sha256 *out, shardy_error *err)
{
    return shardy__sha256(sums, count * sizeof *sums, out, err);
}

shardy_status shardy__object_digest(const void *data, size_t len, sha256 *out, shardy_error *err)
{
    chunk_digest d;
    shardy__chunk_digest_init(&d);
    shardy_status st = shardy__chunk_digest_add(&d, data, len, err);
    if (st >= 0) {
        st = shardy__chunk_digest_finish(&d, out, err);
    }
    shardy__chunk_digest_free(&d);
    return st;
}
