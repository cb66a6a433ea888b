#include "row_check.h"

#include "../base/json.h"
#include "../base/utf8.h"

#include <shardyfusion/limits.h>

#include <math.h>
#include <string.h>

shardy_status shardy__row_refuse(const shardy_row *row, const char *what, shardy_error *err)
{
    char text[SHARDY_KEY_TEXT_SIZE];
    return shardy__error(err, SHARDY_INVALID, "build", "row with key %s: %s",
        shardy__key_text(&row->key, text), what);
}

static shardy_status check_vector(
    const shardy_writer_options *o, const shardy_row *row, shardy_error *err)
{
    if (o->dim == 0) {
        return shardy__row_refuse(row, "it has a vector, the others have none", err);
    }
    if (row->dim != o->dim) {
        char text[SHARDY_KEY_TEXT_SIZE];
        return shardy__error(err, SHARDY_INVALID, "build",
            "row with key %s: its vector has dimension %u, the others have %u",
            shardy__key_text(&row->key, text), row->dim, o->dim);
    }
    int zero = 1;
    for (uint32_t i = 0; i < row->dim; i++) {
        if (!isfinite(row->vector[i])) {
            char text[SHARDY_KEY_TEXT_SIZE];
            return shardy__error(err, SHARDY_INVALID, "build",
                "row with key %s: component %u of its vector is not finite",
                shardy__key_text(&row->key, text), i);
        }
        zero &= row->vector[i] == 0.0f;
    }
    if (zero && o->metric == SHARDY_VECTOR_METRIC_COSINE) {
        return shardy__row_refuse(row, "its vector is zero, which has no cosine", err);
    }
    if (row->has_vector_id) {
        if (row->vector_id.type != SHARDY_KEY_INT && row->vector_id.type != SHARDY_KEY_TEXT) {
            return shardy__row_refuse(
                row, "the id of its vector is neither an integer below 2^63 nor a text", err);
        }
        if (row->vector_id.type == SHARDY_KEY_TEXT &&
            (row->vector_id.bytes.len > SHARDY_KEY_LEN_MAX ||
                !shardy__utf8_valid(row->vector_id.bytes.data, row->vector_id.bytes.len))) {
            return shardy__row_refuse(
                row, "the id of its vector is too long or not valid UTF-8", err);
        }
    }
    if (row->has_payload) {
        json_reader r;
        if (row->payload.len > SHARDY_VALUE_LEN_MAX) {
            return shardy__row_refuse(row, "its payload is too long", err);
        }
        shardy__json_reader_init(&r, row->payload);
        shardy_status st = shardy__json_next(&r, err);
        if (st >= 0) {
            st = shardy__json_skip(&r, NULL, err);
        }
        if (st >= 0) {
            st = shardy__json_next(&r, err);
        }
        if (st < 0) {
            char text[SHARDY_KEY_TEXT_SIZE];
            return shardy__error_prefix(
                err, st, "row with key %s: payload", shardy__key_text(&row->key, text));
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__row_check(
    const shardy_writer_options *options, const shardy_row *row, shardy_error *err)
{
    if (row->value.len > SHARDY_VALUE_LEN_MAX) {
        return shardy__row_refuse(
            row, "its value is longer than the limit of 997000000 bytes", err);
    }
    return row->vector ? check_vector(options, row, err) : SHARDY_OK;
}

void shardy__routed_row_init(routed_row *routed)
{
    memset(routed, 0, sizeof *routed);
    shardy__bytebuf_init(&routed->hex, (size_t)SHARDY_KEY_LEN_MAX * 2);
}

void shardy__routed_row_free(routed_row *routed)
{
    shardy__bytebuf_free(&routed->hex);
}

/* The default id of a vector is its key; bytes keys give their hex digits, as in the reference. */
static shardy_status default_id(
    const shardy_key *key, bytebuf *hex, shardy_key *id_out, shardy_error *err)
{
    static const char digits[] = "0123456789abcdef";
    *id_out = *key;
    if (key->type != SHARDY_KEY_BYTES) {
        return SHARDY_OK;
    }
    const uint8_t *p = key->bytes.data;
    for (size_t i = 0; i < key->bytes.len; i++) {
        shardy__bytebuf_putc(hex, digits[p[i] >> 4]);
        shardy__bytebuf_putc(hex, digits[p[i] & 15]);
    }
    SHARDY_TRY(shardy__bytebuf_check(hex, "build", err));
    *id_out = shardy_key_text(hex->data, hex->len);
    return SHARDY_OK;
}

shardy_status shardy__row_route(
    routed_row *routed, const router *r, const shardy_row *row, shardy_error *err)
{
    SHARDY_TRY(shardy__router_route(r, &row->key, NULL, 0, &routed->key, err));
    routed->row.db_id = routed->key.db_id;
    routed->row.key = routed->key.stored.bytes;
    routed->row.value = row->value;
    routed->row.vector = row->vector;
    routed->row.id_is_key = !row->has_vector_id;
    routed->row.has_payload = row->has_payload;
    routed->row.payload = row->payload;
    routed->id = row->vector_id;
    routed->row.id = &routed->id;
    if (row->vector && routed->row.id_is_key) {
        return default_id(&row->key, &routed->hex, &routed->id, err);
    }
    return SHARDY_OK;
}
