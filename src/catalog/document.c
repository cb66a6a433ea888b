#include "document.h"

#include "../base/clock.h"

#include <string.h>

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

shardy_status shardy__document_finish(
    json_writer *w, bytebuf *buf, shardy_buf *text_out, shardy_error *err)
{
    shardy_status st = shardy__json_writer_finish(w, "catalog", err);
    shardy__json_writer_free(w);
    if (st >= 0) {
        shardy__bytebuf_give(buf, text_out);
    }
    shardy__bytebuf_free(buf);
    return st;
}
