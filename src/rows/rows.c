#include "rows_impl.h"

#include "../base/alloc.h"
#include "../base/ascii.h"
#include "../base/number.h"
#include "../base/options.h"
#include "../base/utf8.h"

#include <shardyfusion/limits.h>

#include <string.h>

shardy_status shardy__rows_at(
    const shardy_row_source *s, uint64_t line, uint64_t column, shardy_status st, shardy_error *err)
{
    return shardy__error_prefix(
        err, st, "%.300s:%llu:%llu", s->path, (unsigned long long)line, (unsigned long long)column);
}

shardy_status shardy__rows_fill(shardy_row_source *s, shardy_error *err)
{
    shardy_status st = shardy__rows_input_fill(&s->input, err);
    return st >= 0
               ? st
               : shardy__error_prefix(err, st, "%.300s:%llu", s->path, (unsigned long long)s->line);
}

/* --- what becomes of a value ------------------------------------------------------------------ */

shardy_status shardy__rows_refuse(shardy_error *err, const char *text)
{
    return shardy__error(err, SHARDY_INVALID, "rows", "%s", text);
}

/* Text of an error about JSON that could not be read. */
static shardy_status refuse_json(const json_reader *r, shardy_error *err)
{
    return shardy__rows_refuse(err, r->problem);
}

/* The start of a text for a message: whole characters, 60 bytes at most. */
static shardy_bytes excerpt(shardy_bytes text)
{
    const char *p = text.data;
    if (text.len > 60) {
        text.len = 60;
        while (text.len > 0 && ((unsigned char)p[text.len] & 0xC0) == 0x80) {
            text.len--;
        }
    }
    return text;
}

/* The value at the reader is not what a use needs. */
static shardy_status refuse_value(json_reader *r, const char *what, const row_field *field,
    const char *expected, shardy_error *err)
{
    const char *start = r->token_start;
    json_reader ahead = *r;
    shardy_bytes raw;
    if (shardy__json_skip(&ahead, &raw, NULL) < 0) {
        raw = shardy__bytes(start, (size_t)(r->next - start));
    }
    return shardy__error(err, SHARDY_INVALID, "rows",
        "%s \"%.*s\" in the field \"%.*s\": expected %s", what, SHARDY_BYTES_FMT(excerpt(raw)),
        SHARDY_BYTES_FMT(excerpt(field->name)), expected);
}

/* Decoded text of a string token: in the window itself when it has no escapes, else in `buf`. */
static shardy_status take_text(
    const json_reader *r, bytebuf *buf, shardy_bytes *text_out, shardy_error *err)
{
    *text_out = r->text;
    if (r->flags & JSON_HAS_ESCAPES) {
        shardy__bytebuf_clear(buf);
        shardy__json_decode(r->text, buf);
        SHARDY_TRY(shardy__bytebuf_check(buf, "rows", err));
        *text_out = shardy__bytes(buf->data, buf->len);
    }
    return SHARDY_OK;
}

/* An integer of JSON as a key; false when it does not fit. */
static bool integer_key(shardy_bytes text, shardy_key *key_out)
{
    int64_t i;
    uint64_t u;
    if (shardy__parse_int64(text.data, text.len, &i)) {
        *key_out = shardy_key_int(i);
        return true;
    }
    if (shardy__parse_uint64(text.data, text.len, &u)) {
        *key_out = shardy_key_uint(u);
        return true;
    }
    return false;
}

static shardy_status take_key(
    const json_reader *r, bytebuf *buf, shardy_key *key_out, bool *good_out, shardy_error *err)
{
    shardy_bytes text;
    *good_out = true;
    if (r->token == JSON_STRING) {
        SHARDY_TRY(take_text(r, buf, &text, err));
        *key_out = shardy_key_text(text.data, text.len);
    } else {
        *good_out = r->token == JSON_NUMBER && integer_key(r->text, key_out);
    }
    return SHARDY_OK;
}

static shardy_status take_row_key(
    shardy_row_source *s, json_reader *r, const row_field *field, shardy_error *err)
{
    bool good;
    SHARDY_TRY(take_key(r, &s->key_text, &s->row.key, &good, err));
    return good ? SHARDY_OK
                : refuse_value(r, "key", field, "a string or an integer from -2^63 to 2^64-1", err);
}

static shardy_status take_vector_id(
    shardy_row_source *s, json_reader *r, const row_field *field, shardy_error *err)
{
    bool good = true;
    s->row.has_vector_id = r->token != JSON_NULL;
    if (s->row.has_vector_id) {
        SHARDY_TRY(take_key(r, &s->id_text, &s->row.vector_id, &good, err));
        good = good && s->row.vector_id.type != SHARDY_KEY_UINT;
    }
    return good ? SHARDY_OK
                : refuse_value(
                      r, "vector id", field, "a string or an integer from -2^63 to 2^63-1", err);
}

/* The value at the reader in a writer's style. */
static shardy_status restyle(
    json_reader *r, json_writer *w, bytebuf *out, shardy_bytes *text_out, shardy_error *err)
{
    shardy__bytebuf_clear(out);
    shardy__json_writer_reset(w, out);
    if (shardy__json_copy(r, w, NULL) < 0) {
        return refuse_json(r, err);
    }
    SHARDY_TRY(shardy__json_writer_finish(w, "rows", err));
    *text_out = shardy__bytes(out->data, out->len);
    return SHARDY_OK;
}

static shardy_status take_value(shardy_row_source *s, json_reader *r, shardy_error *err)
{
    if (r->token == JSON_STRING) {
        return take_text(r, &s->value, &s->row.value, err);
    }
    return restyle(r, &s->value_writer, &s->value, &s->row.value, err);
}

static shardy_status take_payload(shardy_row_source *s, json_reader *r, shardy_error *err)
{
    s->row.has_payload = r->token != JSON_NULL;
    s->row.payload = shardy__bytes(NULL, 0);
    if (!s->row.has_payload) {
        return SHARDY_OK;
    }
    return restyle(r, &s->payload_writer, &s->payload, &s->row.payload, err);
}

static shardy_status push_float(shardy_row_source *s, float value, shardy_error *err)
{
    size_t n = s->row.dim;
    if (n == s->vector_room) {
        size_t room = n > 0 ? n * 2 : 128;
        float *vector = shardy__realloc(s->vector, room * sizeof *vector);
        if (!vector) {
            return shardy__error_nomem(err, "rows");
        }
        s->vector = vector;
        s->vector_room = room;
    }
    s->vector[n] = value;
    s->row.dim++;
    return SHARDY_OK;
}

/* What is too large for a number becomes infinite: the writer refuses that, and knows why. */
static shardy_status take_vector(
    shardy_row_source *s, json_reader *r, const row_field *field, shardy_error *err)
{
    s->row.vector = NULL;
    s->row.dim = 0;
    if (r->token == JSON_NULL) {
        return SHARDY_OK;
    }
    if (r->token != JSON_ARRAY_BEGIN) {
        return refuse_value(r, "vector", field, "an array of numbers or null", err);
    }
    for (;;) {
        if (shardy__json_next(r, NULL) < 0) {
            return refuse_json(r, err);
        }
        if (r->token == JSON_ARRAY_END) {
            break;
        }
        if (r->token != JSON_NUMBER) {
            return refuse_value(r, "vector element", field, "a number", err);
        }
        if (s->row.dim == SHARDY_DIM_MAX) {
            return shardy__error(err, SHARDY_INVALID, "rows",
                "the vector has more numbers than the limit of %u", SHARDY_DIM_MAX);
        }
        double value = shardy__number_value(r->text.data, r->text.len);
        SHARDY_TRY(push_float(s, shardy__to_float(value), err));
    }
    if (s->row.dim == 0) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "the vector in the field \"%.*s\" is empty: expected numbers, or null for none",
            SHARDY_BYTES_FMT(excerpt(field->name)));
    }
    s->row.vector = s->vector;
    return SHARDY_OK;
}

static shardy_status take_number_column(
    json_reader *r, const row_field *field, shardy_column *column, shardy_error *err)
{
    size_t digits = 0;
    const char *text = r->text.data;
    while (digits < r->text.len && (text[digits] == '-' || shardy__is_digit(text[digits]))) {
        digits++;
    }
    if (digits < r->text.len) {
        column->type = SHARDY_COLUMN_DOUBLE;
        column->d = shardy__number_value(r->text.data, r->text.len);
    } else if (shardy__parse_int64(r->text.data, r->text.len, &column->i)) {
        column->type = SHARDY_COLUMN_INT;
    } else if (shardy__parse_uint64(r->text.data, r->text.len, &column->u)) {
        column->type = SHARDY_COLUMN_UINT;
    } else {
        return refuse_value(r, "integer", field, "one from -2^63 to 2^64-1", err);
    }
    return SHARDY_OK;
}

static shardy_status take_column(
    shardy_row_source *s, json_reader *r, const row_field *field, shardy_error *err)
{
    shardy_column *column = &s->columns[field->column];
    bytebuf *buf = &s->column_texts[field->column];
    switch (r->token) {
    case JSON_NULL:
        column->type = SHARDY_COLUMN_NULL;
        return SHARDY_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        column->type = SHARDY_COLUMN_BOOL;
        column->b = r->token == JSON_TRUE;
        return SHARDY_OK;
    case JSON_NUMBER:
        return take_number_column(r, field, column, err);
    case JSON_STRING:
        column->type = SHARDY_COLUMN_TEXT;
        return take_text(r, buf, &column->bytes, err);
    default:
        return refuse_value(
            r, "column value", field, "a string, a number, true, false or null", err);
    }
}

shardy_status shardy__rows_take_json(
    shardy_row_source *s, json_reader *r, uint32_t use, const row_field *field, shardy_error *err)
{
    switch (use) {
    case ROW_KEY:
        return take_row_key(s, r, field, err);
    case ROW_VALUE:
        return take_value(s, r, err);
    case ROW_VECTOR:
        return take_vector(s, r, field, err);
    case ROW_VECTOR_ID:
        return take_vector_id(s, r, field, err);
    case ROW_PAYLOAD:
        return take_payload(s, r, err);
    default:
        return take_column(s, r, field, err);
    }
}

/* --- a row ------------------------------------------------------------------------------------ */

void shardy_row_init(shardy_row *row, size_t struct_size)
{
    shardy_row defaults = {0};
    shardy__options_init(row, struct_size, &defaults, sizeof defaults);
}

void shardy__rows_begin(shardy_row_source *s)
{
    shardy_row_init(&s->row, sizeof s->row);
    s->row.columns = s->columns;
    s->row.column_count = s->options.column_count;
    for (size_t i = 0; i < s->options.column_count; i++) {
        s->columns[i].type = SHARDY_COLUMN_NULL;
    }
    s->seen = 0;
    if (!s->options.value_column) {
        shardy__bytebuf_clear(&s->value);
        shardy__json_writer_reset(&s->value_writer, &s->value);
        shardy__json_begin_object(&s->value_writer);
    }
}

shardy_status shardy__rows_finish(shardy_row_source *s, shardy_error *err)
{
    if (!(s->seen & ROW_KEY)) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "the row has no field \"%.200s\" for its key", s->options.key_column);
    }
    if (!s->options.value_column) {
        shardy__json_end_object(&s->value_writer);
        SHARDY_TRY(shardy__json_writer_finish(&s->value_writer, "rows", err));
        s->row.value = shardy__bytes(s->value.data, s->value.len);
    } else if (!(s->seen & ROW_VALUE)) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "the row has no field \"%.200s\" for its value", s->options.value_column);
    }
    if (s->npy.fd >= 0) {
        SHARDY_TRY(shardy__rows_npy_next(s, err));
    }
    if (!s->row.vector) {
        s->row.has_vector_id = 0;
    } else if (s->options.vector_id_column && !s->row.has_vector_id) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "the row has a vector, but no field \"%.200s\" for its id",
            s->options.vector_id_column);
    }
    s->rows++;
    return SHARDY_OK;
}

shardy_status shardy__rows_find_field(shardy_row_source *s, shardy_bytes text, uint32_t flags,
    const row_field **field_out, shardy_error *err)
{
    *field_out = NULL;
    if (s->field_count < ROWS_MANY_FIELDS) {
        for (size_t i = 0; i < s->field_count && !*field_out; i++) {
            const row_field *field = &s->fields[i];
            if (shardy__json_text_equals(text, flags, field->name.data, field->name.len)) {
                *field_out = field;
            }
        }
        return SHARDY_OK;
    }
    if (flags & JSON_HAS_ESCAPES) {
        shardy__bytebuf_clear(&s->name_text);
        shardy__json_decode(text, &s->name_text);
        SHARDY_TRY(shardy__bytebuf_check(&s->name_text, "rows", err));
        text = shardy__bytes(s->name_text.data, s->name_text.len);
    }
    *field_out = shardy__map_get(&s->field_map, text.data, text.len);
    return SHARDY_OK;
}
