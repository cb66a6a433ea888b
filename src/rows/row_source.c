/* row_source.c: the files of a row source, one after the other. */
#include "rows_impl.h"

#include "../base/alloc.h"
#include "../base/fs.h"
#include "../base/options.h"
#include "../base/utf8.h"

#include <shardyfusion/limits.h>

#include <string.h>

void shardy_row_source_options_init(shardy_row_source_options *options, size_t struct_size)
{
    shardy_row_source_options defaults = {0};
    defaults.key_column = "key";
    shardy__options_init(options, struct_size, &defaults, sizeof defaults);
}

/* --- opening ---------------------------------------------------------------------------------- */

static shardy_status keep_name(shardy_row_source *s, const char **name, shardy_error *err)
{
    if (!*name) {
        return SHARDY_OK;
    }
    size_t len = strlen(*name);
    if (len == 0 || !shardy__utf8_valid(*name, len)) {
        return shardy__rows_refuse(err, "the name of a field is empty or not valid UTF-8");
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
        return shardy__rows_refuse(err, "the key needs a field: key_column is NULL");
    }
    if (o->vector_column && o->vectors_path) {
        return shardy__rows_refuse(err,
            "vectors come from a field or from a file, not from both: both "
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
        if (s->field_count >= ROWS_MANY_FIELDS) {
            SHARDY_TRY(shardy__map_put(
                &s->field_map, field->name.data, field->name.len, field, NULL, err));
        }
    }
    return SHARDY_OK;
}

static shardy_status check_file(shardy_row_source *s, const char *path, shardy_error *err)
{
    int fd;
    uint64_t size;
    shardy_status st = shardy__file_open(path, &fd, err);
    if (st == SHARDY_NOT_FOUND) {
        return shardy__error(err, SHARDY_INVALID, "rows", "there is no file \"%.300s\"", path);
    }
    if (st == SHARDY_INVALID) {
        return shardy__error(err, st, "rows",
            "\"%.300s\" is not a regular file (a pipe is read as the standard input, \"-\")", path);
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
            return shardy__rows_refuse(err, "the name of a file is empty");
        }
        s->paths[i] = shardy__arena_strdup(&s->arena, paths[i]);
        if (!s->paths[i]) {
            return shardy__error_nomem(err, "rows");
        }
        if (strcmp(paths[i], "-") != 0) {
            SHARDY_TRY(check_file(s, paths[i], err));
        } else if (any_stdin) {
            return shardy__rows_refuse(err, "the standard input (\"-\") can be read only once");
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
