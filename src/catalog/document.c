#include "document.h"

#include "../base/alloc.h"
#include "../base/clock.h"

#include <string.h>

#define CHECK_DIGITS 64u

shardy_status shardy__document_parse(
    shardy_bytes text, const char *what, shardy_json **json_out, shardy_error *err)
{
    shardy_status st = shardy_json_parse(text, json_out, err);
    if (st < 0) {
        shardy__error_prefix(err, st, "%s", what);
        return st == SHARDY_INVALID ? shardy__error_as(err, SHARDY_CORRUPT) : st;
    }
    if (shardy_json_type_of(shardy_json_root(*json_out)) != SHARDY_JSON_OBJECT) {
        shardy_json_free(*json_out);
        *json_out = NULL;
        return shardy__error(err, SHARDY_CORRUPT, "catalog", "%s is not a JSON object", what);
    }
    return SHARDY_OK;
}

shardy_status shardy__document_text(const shardy_json_value *object, const char *what,
    const char *name, char *out, size_t size, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    shardy_bytes text = shardy_json_string(value);
    out[0] = '\0';
    if (shardy_json_type_of(value) != SHARDY_JSON_STRING) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog", "%s has no text \"%s\"", what, name);
    }
    if (text.len >= size || memchr(text.data, '\0', text.len)) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog",
            "%s has a \"%s\" of %zu bytes, expected at most %zu and no zero byte", what, name,
            text.len, size - 1);
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return SHARDY_OK;
}

shardy_status shardy__document_u64(const shardy_json_value *object, const char *what,
    const char *name, uint64_t *out, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    *out = 0;
    if (!value || !shardy_json_uint64(value, out)) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog",
            "%s has no integer \"%s\" from 0 to 2^64-1", what, name);
    }
    return SHARDY_OK;
}

shardy_status shardy__document_digest(const shardy_json_value *object, const char *what,
    const char *name, sha256 *out, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    shardy_bytes text = shardy_json_string(value);
    if (shardy_json_type_of(value) != SHARDY_JSON_STRING ||
        !shardy__sha256_parse(text.data, text.len, out)) {
        return shardy__error(
            err, SHARDY_CORRUPT, "catalog", "%s has no \"%s\" of 64 hex digits", what, name);
    }
    return SHARDY_OK;
}

shardy_status shardy__document_time(const shardy_json_value *object, const char *what,
    const char *name, int64_t *out, shardy_error *err)
{
    const shardy_json_value *value = shardy_json_get(object, name);
    int32_t type = shardy_json_type_of(value);
    shardy_bytes text = shardy_json_string(value);
    if ((type != SHARDY_JSON_STRING && type != SHARDY_JSON_NUMBER) ||
        !shardy__time_parse(text.data, text.len, out)) {
        return shardy__error(err, SHARDY_CORRUPT, "catalog", "%s has no time \"%s\"", what, name);
    }
    return SHARDY_OK;
}

/* --- the member "check" ----------------------------------------------------------------------- */

/* Where the digits of a digest are in a text; NULL: nowhere. */
static char *find_digits(char *text, size_t len, const sha256 *digest)
{
    char digits[CHECK_DIGITS + 1];
    shardy__sha256_hex(digest, digits);
    for (size_t i = 0; i + CHECK_DIGITS <= len; i++) {
        if (memcmp(text + i, digits, CHECK_DIGITS) == 0) {
            return text + i;
        }
    }
    return NULL;
}

shardy_status shardy__document_compare_check(
    shardy_bytes text, const shardy_json_value *object, const char *what, shardy_error *err)
{
    sha256 expected;
    sha256 digest = {{0}};
    SHARDY_TRY(shardy__document_digest(object, what, "check", &expected, err));
    char *copy = shardy__malloc(text.len);
    if (!copy) {
        return shardy__error_nomem(err, "catalog");
    }
    memcpy(copy, text.data, text.len);
    char *at = find_digits(copy, text.len, &expected);
    shardy_status st = SHARDY_OK;
    if (at) {
        memset(at, '0', CHECK_DIGITS);
        st = shardy__sha256(copy, text.len, &digest, err);
    }
    shardy__free(copy);
    SHARDY_TRY(st);
    if (!at || memcmp(&digest, &expected, sizeof digest) != 0) {
        return shardy__error(err, SHARDY_CHECKSUM, "catalog",
            "%s was changed after it was written: it differs from its own digest \"check\"", what);
    }
    return SHARDY_OK;
}

size_t shardy__document_write_check(json_writer *w, const bytebuf *buf)
{
    char zeros[CHECK_DIGITS + 1] = "";
    memset(zeros, '0', CHECK_DIGITS);
    shardy__json_name(w, "check");
    shardy__json_string(w, zeros);
    return buf->len - 1 - CHECK_DIGITS;
}

/* --- the end of writing ----------------------------------------------------------------------- */

/* Puts the digest of the text where the zeros are; the text must be whole. */
static shardy_status fill_check(bytebuf *text, size_t at, shardy_error *err)
{
    sha256 digest;
    char digits[CHECK_DIGITS + 1];
    SHARDY_TRY(shardy__sha256(text->data, text->len, &digest, err));
    shardy__sha256_hex(&digest, digits);
    memcpy(text->data + at, digits, CHECK_DIGITS);
    return SHARDY_OK;
}

/* `check_at` is 0 in a document without a check: none is at its beginning. */
static shardy_status finish(
    json_writer *w, bytebuf *buf, size_t check_at, shardy_buf *text_out, shardy_error *err)
{
    shardy_status st = shardy__json_writer_finish(w, "catalog", err);
    if (st >= 0 && check_at) {
        st = fill_check(buf, check_at, err);
    }
    shardy__json_writer_free(w);
    if (st >= 0) {
        shardy__bytebuf_give(buf, text_out);
    }
    shardy__bytebuf_free(buf);
    return st;
}

shardy_status shardy__document_finish(
    json_writer *w, bytebuf *buf, shardy_buf *text_out, shardy_error *err)
{
    return finish(w, buf, 0, text_out, err);
}

shardy_status shardy__document_finish_checked(
    json_writer *w, bytebuf *buf, size_t check_at, shardy_buf *text_out, shardy_error *err)
{
    return finish(w, buf, check_at, text_out, err);
}
