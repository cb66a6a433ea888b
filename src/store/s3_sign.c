#include "s3_sign.h"

#include "../base/clock.h"
#include "../base/digest.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANONICAL_LEN_MAX (256u << 10)
#define DATE_LEN          8u
#define SECRET_LEN_MAX    1024u

void shardy__s3_time(int64_t wall_us, char text_out[S3_TIME_SIZE])
{
    char iso[SHARDY_TIME_TEXT_SIZE]; /* 2013-05-24T00:00:00.000000Z */
    shardy__time_format_micros(wall_us, iso);
    snprintf(
        text_out, S3_TIME_SIZE, "%.4s%.2s%.5s%.2s%.2sZ", iso, iso + 5, iso + 8, iso + 14, iso + 17);
}

static int compare_headers(const void *a, const void *b)
{
    const s3_header *x = a;
    const s3_header *y = b;
    return strcmp(x->name, y->name);
}

/* Without spaces around it, and one where there were several. */
static void append_value(bytebuf *out, const char *value)
{
    int space = 0;
    int begun = 0;
    for (; *value; value++) {
        if (*value == ' ' || *value == '\t') {
            space = begun;
            continue;
        }
        if (space) {
            shardy__bytebuf_putc(out, ' ');
        }
        shardy__bytebuf_putc(out, *value);
        space = 0;
        begun = 1;
    }
}

static void append_names(bytebuf *out, const s3_header *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shardy__bytebuf_puts(out, i ? ";" : "");
        shardy__bytebuf_puts(out, sorted[i].name);
    }
}

/* The digest of the request in the one form that both sides can make of it. */
static shardy_status hash_request(
    const s3_signing *s, const s3_header *sorted, char hex_out[65], shardy_error *err)
{
    bytebuf text;
    shardy__bytebuf_init(&text, CANONICAL_LEN_MAX);
    shardy__bytebuf_printf(&text, "%s\n%s\n%s\n", s->method, s->path, s->query);
    for (size_t i = 0; i < s->header_count; i++) {
        shardy__bytebuf_puts(&text, sorted[i].name);
        shardy__bytebuf_putc(&text, ':');
        append_value(&text, sorted[i].value);
        shardy__bytebuf_putc(&text, '\n');
    }
    shardy__bytebuf_putc(&text, '\n');
    append_names(&text, sorted, s->header_count);
    shardy__bytebuf_printf(&text, "\n%s", s->payload_hash);
    sha256 digest;
    shardy_status st = shardy__bytebuf_check(&text, "s3", err);
    if (st >= 0) {
        st = shardy__sha256(text.data, text.len, &digest, err);
    }
    if (st >= 0) {
        shardy__sha256_hex(&digest, hex_out);
    }
    shardy__bytebuf_free(&text);
    return st;
}

static shardy_bytes text_bytes(const char *text)
{
    return shardy__bytes(text, strlen(text));
}

/* One key from the other: of the day, the region, the service. */
static shardy_status derive_key(const s3_signing *s, sha256 *key_out, shardy_error *err)
{
    char secret[SECRET_LEN_MAX + 5];
    int len = snprintf(secret, sizeof secret, "AWS4%s", s->secret_access_key);
    if (len < 0 || (size_t)len >= sizeof secret) {
        return shardy__error(err, SHARDY_CONFIG, "s3",
            "the secret access key has more than %u bytes", SECRET_LEN_MAX);
    }
    const shardy_bytes steps[] = {shardy__bytes(s->time, DATE_LEN), text_bytes(s->region),
        text_bytes(s->service), text_bytes("aws4_request")};
    shardy_bytes key = shardy__bytes(secret, (size_t)len);
    sha256 next;
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < sizeof steps / sizeof steps[0]; i++) {
        st = shardy__hmac_sha256(key, steps[i], &next, err);
        *key_out = next;
        key = shardy__bytes(key_out->bytes, sizeof key_out->bytes);
    }
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(&next, sizeof next);
    return st;
}

shardy_status shardy__s3_sign(const s3_signing *s, bytebuf *value, shardy_error *err)
{
    s3_header sorted[S3_HEADERS_MAX];
    if (s->header_count > S3_HEADERS_MAX) {
        return shardy__error(
            err, SHARDY_INVALID, "s3", "a request has more than %u headers", S3_HEADERS_MAX);
    }
    memcpy(sorted, s->headers, s->header_count * sizeof sorted[0]);
    qsort(sorted, s->header_count, sizeof sorted[0], compare_headers);
    char hash[65] = "";
    SHARDY_TRY(hash_request(s, sorted, hash, err));
    bytebuf text;
    shardy__bytebuf_init(&text, CANONICAL_LEN_MAX);
    shardy__bytebuf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", s->time,
        s->time, s->region, s->service, hash);
    sha256 key;
    sha256 signature;
    shardy_status st = shardy__bytebuf_check(&text, "s3", err);
    if (st >= 0) {
        st = derive_key(s, &key, err);
    }
    if (st >= 0) {
        st = shardy__hmac_sha256(shardy__bytes(key.bytes, sizeof key.bytes),
            shardy__bytes(text.data, text.len), &signature, err);
        OPENSSL_cleanse(&key, sizeof key);
    }
    shardy__bytebuf_free(&text);
    SHARDY_TRY(st);
    shardy__sha256_hex(&signature, hash);
    shardy__bytebuf_printf(value,
        "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=", s->access_key_id,
        s->time, s->region, s->service);
    append_names(value, sorted, s->header_count);
    shardy__bytebuf_printf(value, ", Signature=%s", hash);
    return shardy__bytebuf_check(value, "s3", err);
}
