#include "rows_impl.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/number.h"
#include "../base/options.h"
#include "../base/utf8.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* From this many fields on they are found in a map. */
#define MANY_FIELDS 16u

void shardy_row_init(shardy_row *row, size_t struct_size)
{
    shardy_row defaults = {0};
    shardy__options_init(row, struct_size, &defaults, sizeof defaults);
}

void shardy_row_source_options_init(shardy_row_source_options *options, size_t struct_size)
{
    shardy_row_source_options defaults = {0};
    defaults.key_column = "key";
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

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

static shardy_status refuse(shardy_error *err, const char *text)
{
    return shardy__error(err, SHARDY_INVALID, "rows", "%s", text);
}

/* Text of an error about JSON that could not be read. */
static shardy_status refuse_json(const json_reader *r, shardy_error *err)
{
    return refuse(err, r->problem);
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

/* NaN and Infinity pass: the writer refuses them, and knows why. */
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
    while (
        digits < r->text.len && (text[digits] == '-' || (unsigned char)(text[digits] - '0') < 10)) {
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
    if (s->field_count < MANY_FIELDS) {
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

/* --- opening ---------------------------------------------------------------------------------- */

static shardy_status keep_name(shardy_row_source *s, const char **name, shardy_error *err)
{
    if (!*name) {
        return SHARDY_OK;
    }
    size_t len = strlen(*name);
    if (len == 0 || !shardy__utf8_valid(*name, len)) {
        return refuse(err, "the name of a field is empty or not valid UTF-8");
    }
    *name = shardy__arena_strdup(&s->arena, *name);
    return *name ? SHARDY_OK : shardy__error_nomem(err, "rows");
}

static shardy_status keep_options(shardy_row_source *s, shardy_error *err)
{
    shardy_row_source_options *o = &s->options;
    if (o->format < SHARDY_ROWS_AUTO || o->format > SHARDY_ROWS_CSV) {
        return shardy__error(
            err, SHARDY_INVALID, "rows", "%d is not a format of rows", (int)o->format);
    }
    if (o->key_encoding < SHARDY_KEY_ENCODING_AUTO || o->key_encoding > SHARDY_KEY_ENCODING_RAW) {
        return shardy__error(
            err, SHARDY_INVALID, "rows", "%d is not a key encoding", (int)o->key_encoding);
    }
    if (!o->key_column) {
        return refuse(err, "the key needs a field: key_column is NULL");
    }
    if (o->vector_column && o->vectors_path) {
        return refuse(err, "vectors come from a field or from a file, not from both: both "
                           "vector_column and vectors_path are set");
    }
    if (o->column_count > SHARDY_COLUMNS_MAX || (o->column_count > 0 && !o->columns)) {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "%zu columns are more than the limit of %u, or their names are missing",
            o->column_count, SHARDY_COLUMNS_MAX);
    }
    SHARDY_TRY(keep_name(s, &o->key_column, err));
    SHARDY_TRY(keep_name(s, &o->value_column, err));
    SHARDY_TRY(keep_name(s, &o->vector_column, err));
    SHARDY_TRY(keep_name(s, &o->vector_id_column, err));
    SHARDY_TRY(keep_name(s, &o->payload_column, err));
    SHARDY_TRY(keep_name(s, &o->vectors_path, err));
    const char **columns = shardy__arena_calloc(&s->arena, o->column_count, sizeof *columns);
    if (!columns) {
        return shardy__error_nomem(err, "rows");
    }
    for (size_t i = 0; i < o->column_count; i++) {
        columns[i] = o->columns[i] ? o->columns[i] : "";
        SHARDY_TRY(keep_name(s, &columns[i], err));
    }
    o->columns = columns;
    return SHARDY_OK;
}

static row_field *add_use(shardy_row_source *s, const char *name, uint32_t use)
{
    size_t len = strlen(name);
    size_t i = 0;
    while (i < s->field_count &&
           (s->fields[i].name.len != len || memcmp(s->fields[i].name.data, name, len) != 0)) {
        i++;
    }
    s->fields[i].name = shardy__bytes(name, len);
    s->fields[i].uses |= use;
    s->field_count += i == s->field_count;
    return &s->fields[i];
}

/* The table of what each named field is for. */
static shardy_status make_fields(shardy_row_source *s, shardy_error *err)
{
    const shardy_row_source_options *o = &s->options;
    const struct {
        const char *name;
        uint32_t use;
    } uses[] = {{o->key_column, ROW_KEY}, {o->value_column, ROW_VALUE},
        {o->vector_column, ROW_VECTOR}, {o->vector_id_column, ROW_VECTOR_ID},
        {o->payload_column, ROW_PAYLOAD}};
    size_t use_count = sizeof uses / sizeof uses[0];
    s->fields = shardy__arena_calloc(&s->arena, use_count + o->column_count, sizeof *s->fields);
    s->columns = shardy__arena_calloc(&s->arena, o->column_count, sizeof *s->columns);
    s->column_texts = shardy__arena_calloc(&s->arena, o->column_count, sizeof *s->column_texts);
    if (!s->fields || !s->columns || !s->column_texts) {
        return shardy__error_nomem(err, "rows");
    }
    for (size_t i = 0; i < use_count; i++) {
        if (uses[i].name) {
            add_use(s, uses[i].name, uses[i].use);
        }
    }
    for (size_t i = 0; i < o->column_count; i++) {
        row_field *field = add_use(s, o->columns[i], 0);
        if (field->uses & ROW_COLUMN) {
            return shardy__error(
                err, SHARDY_INVALID, "rows", "the column \"%.200s\" is named twice", o->columns[i]);
        }
        field->uses |= ROW_COLUMN;
        field->column = i;
        s->columns[i].name = o->columns[i];
        shardy__bytebuf_init(&s->column_texts[i], SHARDY_INPUT_ROW_LEN_MAX);
    }
    for (size_t i = 0; i < s->field_count; i++) {
        row_field *field = &s->fields[i];
        if (!o->value_column && !(field->uses & (ROW_KEY | ROW_VECTOR | ROW_PAYLOAD))) {
            field->uses |= ROW_MEMBER;
        }
        if (s->field_count >= MANY_FIELDS) {
            SHARDY_TRY(shardy__map_put(
                &s->field_map, field->name.data, field->name.len, field, NULL, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status check_file(shardy_row_source *s, const char *path, shardy_error *err)
{
#ifndef SHARDY_HAVE_ZSTD
    if (shardy__rows_is_zst(path)) {
        return shardy__error(err, SHARDY_UNSUPPORTED, "rows",
            "this build cannot read \"%.300s\": it has no libzstd", path);
    }
#endif
    int fd;
    uint64_t size;
    shardy_status st = shardy__file_open(path, &fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "rows", "there is no file \"%.300s\"", path);
    }
    SHARDY_TRY(st);
    st = shardy__file_size(fd, &size, err);
    shardy__file_close(fd);
    if (st < 0) {
        return shardy__error_prefix(err, st, "%.300s", path);
    }
    s->bytes_total += size;
    return SHARDY_OK;
}

static shardy_status keep_paths(
    shardy_row_source *s, const char *const *paths, size_t count, shardy_error *err)
{
    bool any_stdin = false;
    s->paths = shardy__arena_calloc(&s->arena, count, sizeof *s->paths);
    if (!s->paths) {
        return shardy__error_nomem(err, "rows");
    }
    for (size_t i = 0; i < count; i++) {
        if (!paths[i] || !*paths[i]) {
            return refuse(err, "the name of a file is empty");
        }
        s->paths[i] = shardy__arena_strdup(&s->arena, paths[i]);
        if (!s->paths[i]) {
            return shardy__error_nomem(err, "rows");
        }
        if (strcmp(paths[i], "-") != 0) {
            SHARDY_TRY(check_file(s, paths[i], err));
        } else if (any_stdin) {
            return refuse(err, "the standard input (\"-\") can be read only once");
        } else {
            any_stdin = true;
        }
    }
    s->path_count = count;
    s->bytes_total = any_stdin ? 0 : s->bytes_total;
    return SHARDY_OK;
}

static shardy_status set_up(
    shardy_row_source *s, const char *const *paths, size_t path_count, shardy_error *err)
{
    SHARDY_TRY(keep_options(s, err));
    SHARDY_TRY(make_fields(s, err));
    SHARDY_TRY(keep_paths(s, paths, path_count, err));
    return s->options.vectors_path ? shardy__rows_npy_open(s, err) : SHARDY_OK;
}

shardy_status shardy_row_source_open(shardy_context *context, const char *const *paths,
    size_t path_count, const shardy_row_source_options *options, shardy_row_source **source_out,
    shardy_error *err)
{
    SHARDY_CHECK_ARG(source_out);
    *source_out = NULL;
    SHARDY_CHECK_ARG(paths && path_count > 0);
    (void)context; /* nothing of it is needed so far */
    shardy_row_source *s = shardy__calloc(1, sizeof *s);
    if (!s) {
        return shardy__error_nomem(err, "rows");
    }
    s->npy.fd = -1;
    s->path = "";
    s->row_path = "";
    shardy__arena_init(&s->arena);
    shardy__map_init(&s->field_map);
    shardy__bytebuf_init(&s->name_text, SHARDY_INPUT_ROW_LEN_MAX);
    shardy__bytebuf_init(&s->key_text, SHARDY_INPUT_ROW_LEN_MAX);
    shardy__bytebuf_init(&s->id_text, SHARDY_INPUT_ROW_LEN_MAX);
    shardy__bytebuf_init(&s->value, SHARDY_VALUE_LEN_MAX);
    shardy__bytebuf_init(&s->payload, SHARDY_VALUE_LEN_MAX);
    shardy__json_writer_init(&s->value_writer, &s->value, JSON_COMPACT);
    shardy__json_writer_init(&s->payload_writer, &s->payload, JSON_PYTHON);
    shardy_row_source_options_init(&s->options, sizeof s->options);
    shardy_status st = SHARDY__OPTIONS_COPY(&s->options, options, err);
    if (st >= 0) {
        st = set_up(s, paths, path_count, err);
    }
    if (st < 0) {
        shardy_row_source_close(s);
        return st;
    }
    *source_out = s;
    return SHARDY_OK;
}

void shardy_row_source_close(shardy_row_source *source)
{
    shardy_row_source *s = source;
    if (!s) {
        return;
    }
    shardy__rows_input_free(&s->input);
    shardy__rows_npy_free(s);
    shardy__rows_csv_free(s);
    for (size_t i = 0; s->column_texts && i < s->options.column_count; i++) {
        shardy__bytebuf_free(&s->column_texts[i]);
    }
    shardy__json_writer_free(&s->value_writer);
    shardy__json_writer_free(&s->payload_writer);
    shardy__bytebuf_free(&s->name_text);
    shardy__bytebuf_free(&s->key_text);
    shardy__bytebuf_free(&s->id_text);
    shardy__bytebuf_free(&s->value);
    shardy__bytebuf_free(&s->payload);
    shardy__free(s->vector);
    shardy__map_free(&s->field_map);
    shardy__arena_free(&s->arena);
    shardy__free(s);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_csv_name(const char *path)
{
    size_t len = strlen(path);
    len -= shardy__rows_is_zst(path) ? 4 : 0;
    return len > 4 && memcmp(path + len - 4, ".csv", 4) == 0;
}

static shardy_status open_next_file(shardy_row_source *s, shardy_error *err)
{
    const char *path = s->paths[s->next_path++];
    s->path = strcmp(path, "-") == 0 ? "<stdin>" : path;
    s->line = 1;
    s->scanned = 0;
    s->csv = s->options.format == SHARDY_ROWS_AUTO ? is_csv_name(path)
                                                   : s->options.format == SHARDY_ROWS_CSV;
    shardy_status st = shardy__rows_input_open(&s->input, path, err);
    /* Pipes may give the first bytes one by one. */
    while (st >= 0 && s->input.filled < 3 && !s->input.ended) {
        st = shardy__rows_input_fill(&s->input, err);
    }
    if (st < 0) {
        return shardy__error_prefix(err, st, "%.300s", s->path);
    }
    if (s->input.filled >= 3 && memcmp(s->input.data, "\xEF\xBB\xBF", 3) == 0) {
        s->input.at = 3;
    }
    return s->csv ? shardy__rows_csv_begin(s, err) : SHARDY_OK;
}

static shardy_status next_row(shardy_row_source *s, shardy_error *err)
{
    for (;;) {
        if (!s->input.is_open) {
            if (s->next_path == s->path_count) {
                SHARDY_TRY(shardy__rows_npy_finish(s, err));
                return SHARDY_DONE;
            }
            SHARDY_TRY(open_next_file(s, err));
        }
        shardy_status st = s->csv ? shardy__rows_csv_next(s, err) : shardy__rows_jsonl_next(s, err);
        if (st != SHARDY_DONE) {
            return st;
        }
        shardy__rows_input_close(&s->input);
    }
}

shardy_status shardy_row_source_next(
    shardy_row_source *source, shardy_row *row_out, shardy_error *err)
{
    shardy_row_source *s = source;
    SHARDY_CHECK_ARG(source);
    SHARDY_CHECK_ARG(row_out);
    size_t size = row_out->struct_size;
    SHARDY_CHECK_ARG(size >= sizeof size && size <= 65536);
    shardy_row_init(row_out, size);
    if (s->end == SHARDY_OK) {
        s->end = next_row(s, &s->failure);
    }
    if (s->end < 0) {
        if (err) {
            *err = s->failure;
        }
        return s->end;
    }
    if (s->end == SHARDY_OK) {
        s->row_path = s->path;
        s->row_line = s->record_line;
        memcpy(row_out, &s->row, size < sizeof s->row ? size : sizeof s->row);
        row_out->struct_size = size;
    }
    return s->end;
}

void shardy_row_source_progress(
    const shardy_row_source *source, uint64_t *bytes_read_out, uint64_t *bytes_total_out)
{
    uint64_t ahead = source->input.decoder ? 0 : source->input.filled - source->input.at;
    *bytes_read_out = source->input.bytes_read - (source->input.is_open ? ahead : 0);
    *bytes_total_out = source->bytes_total;
}

void shardy_row_source_position(
    const shardy_row_source *source, const char **path_out, uint64_t *line_out)
{
    *path_out = source->row_path;
    *line_out = source->row_line;
}

uint32_t shardy_row_source_dim(const shardy_row_source *source)
{
    return source->npy.fd >= 0 ? (uint32_t)source->npy.header.cols : 0;
}
