#include "../base/alloc.h"
#include "../base/bytes.h"
#include "../base/number.h"
#include "../base/utf8.h"
#include "rows_impl.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Fields of one record: columns that are used are at most SHARDY_COLUMNS_MAX, others may be there
 * too; each costs memory before the record is checked against the header. */
#define FIELDS_MAX 65536u

/* --- records ---------------------------------------------------------------------------------- */

/* A record that is being looked for in the window. */
typedef struct csv_scan {
    const char *p;
    const char *end;
    const char *line_start;
    uint64_t line;
    const char *problem; /* what breaks the rules, at `p` */
} csv_scan;

/* How a field ended. */
typedef enum csv_ending {
    CSV_COMMA,
    CSV_RECORD,
    CSV_MORE,   /* the window ends too early to tell */
    CSV_PROBLEM /* scan->problem */
} csv_ending;

/* The first ',', '"', CR or LF, or end. Eight bytes at a time; see json_scan.h for the method:
 * bytes above 0x7F may be found too and are passed over. */
static const char *skip_text(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t highs = 0x8080808080808080u;
    for (; p < end; p++) {
        while (end - p >= 8) {
            uint64_t x = shardy__get_le64(p);
            uint64_t comma = x ^ ones * ',';
            uint64_t quote = x ^ ones * '"';
            uint64_t cr = x ^ ones * '\r';
            uint64_t lf = x ^ ones * '\n';
            uint64_t found = (((comma - ones) & ~comma) | ((quote - ones) & ~quote) |
                                 ((cr - ones) & ~cr) | ((lf - ones) & ~lf)) &
                             highs;
            if (found != 0) {
                p += (unsigned)__builtin_ctzll(found) / 8;
                break;
            }
            p += 8;
        }
        if (p < end && (*p == ',' || *p == '"' || *p == '\r' || *p == '\n')) {
            return p;
        }
    }
    return end;
}

/* What follows a field: ',', the end of the line or of the file. Steps over it. */
static csv_ending scan_ending(csv_scan *c, bool file_ended, const char *expected)
{
    if (c->p == c->end) {
        return file_ended ? CSV_RECORD : CSV_MORE;
    }
    if (*c->p == ',') {
        c->p++;
        return CSV_COMMA;
    }
    if (*c->p == '\r') {
        if (c->end - c->p < 2) {
            if (!file_ended) {
                return CSV_MORE;
            }
            c->p++;
            return CSV_RECORD;
        }
        if (c->p[1] != '\n') {
            c->problem = "a carriage return without a line feed outside of quotes";
            return CSV_PROBLEM;
        }
        c->p++;
    }
    if (*c->p != '\n') {
        c->problem = expected;
        return CSV_PROBLEM;
    }
    c->p++;
    return CSV_RECORD;
}

/* A field in quotes; c->p is behind the opening one. */
static csv_ending scan_quoted(csv_scan *c, csv_field *f, bool file_ended)
{
    const char *p = c->p;
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(c->end - p));
        if (!quote) {
            if (file_ended) {
                c->p--;
                c->problem = "a field in quotes does not end";
            }
            return file_ended ? CSV_PROBLEM : CSV_MORE;
        }
        if (quote + 1 == c->end || quote[1] != '"') {
            f->len = (size_t)(quote - f->start);
            p = quote + 1;
            break;
        }
        f->doubled = true;
        p = quote + 2;
    }
    const char *newline;
    while ((newline = memchr(c->p, '\n', (size_t)(p - c->p)))) {
        c->line++;
        c->line_start = newline + 1;
        c->p = newline + 1;
    }
    c->p = p;
    return scan_ending(c, file_ended, "expected ',' or the end of the line after a quoted field");
}

static csv_ending scan_field(csv_scan *c, csv_field *f, bool file_ended)
{
    memset(f, 0, sizeof *f);
    f->line = c->line;
    f->column = (uint64_t)(c->p - c->line_start) + 1;
    f->quoted = c->p < c->end && *c->p == '"';
    c->p += f->quoted;
    f->start = c->p;
    if (f->quoted) {
        return scan_quoted(c, f, file_ended);
    }
    c->p = skip_text(c->p, c->end);
    f->len = (size_t)(c->p - f->start);
    return scan_ending(c, file_ended, "a quote in a field that does not begin with one");
}

static shardy_status reserve_field(rows_csv *csv, shardy_error *err)
{
    if (csv->field_count < csv->field_room) {
        return SHARDY_OK;
    }
    if (csv->field_count == FIELDS_MAX) {
        return shardy__error(
            err, SHARDY_INVALID, "rows", "a record has more than %u fields", FIELDS_MAX);
    }
    size_t room = csv->field_room ? csv->field_room * 2 : 32;
    csv_field *fields = shardy__realloc(csv->fields, room * sizeof *fields);
    if (!fields) {
        return shardy__error_nomem(err, "rows");
    }
    csv->fields = fields;
    csv->field_room = room;
    return SHARDY_OK;
}

/* The fields of the record at the start of the window. */
static shardy_status scan_record(
    shardy_row_source *s, csv_scan *c, csv_ending *ending_out, shardy_error *err)
{
    rows_csv *csv = &s->csv_state;
    rows_input *in = &s->input;
    c->p = in->data + in->at;
    c->end = in->data + in->filled;
    c->line_start = c->p;
    c->line = s->line;
    c->problem = NULL;
    csv->field_count = 0;
    do {
        shardy_status st = reserve_field(csv, err);
        if (st < 0) {
            return shardy__rows_at(s, s->line, 1, st, err);
        }
        *ending_out = scan_field(c, &csv->fields[csv->field_count++], in->ended);
    } while (*ending_out == CSV_COMMA);
    return SHARDY_OK;
}

/* Takes the quotes out of quoted quotes, in the window. */
static void undouble(csv_field *f)
{
    /* The window is ours to write to; fields point into it as const like everything else there. */
    char *dest = (char *)(uintptr_t)f->start;
    const char *p = f->start;
    const char *end = p + f->len;
    while (p < end) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        size_t n = (size_t)((quote ? quote + 1 : end) - p);
        memmove(dest, p, n);
        dest += n;
        p += n + (quote != NULL);
    }
    f->len = (size_t)(dest - f->start);
}

static bool is_blank_record(const rows_csv *csv)
{
    return csv->field_count == 1 && csv->fields[0].len == 0 && !csv->fields[0].quoted;
}

/* The record has to be looked at from its start again. For long ones only when there is twice as
 * much of it, or reading a pipe piece by piece would take quadratic time. */
static shardy_status fill_more(shardy_row_source *s, shardy_error *err)
{
    const rows_input *in = &s->input;
    size_t before = in->filled - in->at;
    do {
        SHARDY_TRY(shardy__rows_fill(s, err));
    } while (before > 65536 && !in->ended && in->filled - in->at < 2 * before);
    return SHARDY_OK;
}

/* The next record that is not a blank line, or DONE. */
static shardy_status next_record(shardy_row_source *s, shardy_error *err)
{
    rows_csv *csv = &s->csv_state;
    rows_input *in = &s->input;
    for (;;) {
        if (in->ended && in->at == in->filled) {
            return SHARDY_DONE;
        }
        csv_scan c;
        csv_ending ending = CSV_PROBLEM;
        SHARDY_TRY(scan_record(s, &c, &ending, err));
        if (ending == CSV_PROBLEM) {
            shardy_status st = shardy__error(err, SHARDY_INVALID, "rows", "%s", c.problem);
            return shardy__rows_at(s, c.line, (uint64_t)(c.p - c.line_start) + 1, st, err);
        }
        if (ending == CSV_MORE) {
            SHARDY_TRY(fill_more(s, err));
            continue;
        }
        const char *start = in->data + in->at;
        s->record_line = s->line;
        s->line = c.line + 1;
        in->at = (size_t)(c.p - in->data);
        if (is_blank_record(csv)) {
            continue;
        }
        if (!shardy__utf8_valid(start, (size_t)(c.p - start))) {
            shardy_status st = shardy__error(err, SHARDY_INVALID, "rows", "invalid UTF-8");
            return shardy__rows_at(s, s->record_line, 1, st, err);
        }
        for (size_t i = 0; i < csv->field_count; i++) {
            if (csv->fields[i].doubled) {
                undouble(&csv->fields[i]);
            }
        }
        return SHARDY_OK;
    }
}

/* --- the header ------------------------------------------------------------------------------- */

static int compare_names(shardy_bytes a, shardy_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Every name of the header once. */
static shardy_status check_names(shardy_row_source *s, shardy_error *err)
{
    rows_csv *csv = &s->csv_state;
    map names;
    shardy__map_init(&names);
    shardy_status st = SHARDY_OK;
    for (size_t i = 0; st >= 0 && i < csv->column_count; i++) {
        const csv_column *column = &csv->columns[i];
        void *old;
        st = shardy__map_put(&names, column->name.data, column->name.len, csv->columns, &old, err);
        if (st >= 0 && old) {
            st = shardy__error(err, SHARDY_INVALID, "rows",
                "the header has the column \"%.*s\" twice", SHARDY_BYTES_FMT(column->name));
            shardy__rows_at(s, csv->fields[i].line, csv->fields[i].column, st, err);
        }
    }
    shardy__map_free(&names);
    return st;
}

/* Every field that has a use is in the header. */
static shardy_status check_uses(const shardy_row_source *s, shardy_error *err)
{
    const rows_csv *csv = &s->csv_state;
    for (size_t i = 0; i < s->field_count; i++) {
        const row_field *field = &s->fields[i];
        size_t j = 0;
        while (j < csv->column_count && csv->columns[j].field != field) {
            j++;
        }
        if (j == csv->column_count) {
            shardy_status st = shardy__error(err, SHARDY_INVALID, "rows",
                "the header has no column \"%.*s\"", SHARDY_BYTES_FMT(field->name));
            return shardy__rows_at(s, s->record_line, 1, st, err);
        }
    }
    return SHARDY_OK;
}

/* Puts the columns that become members of the value in the order in which they are written: a Shell
 * sort, as headers made by programs can be long. */
static void sort_members(rows_csv *csv)
{
    size_t *list = csv->members;
    size_t n = csv->member_count;
    for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (size_t i = gap; i < n; i++) {
            size_t column = list[i];
            size_t j = i;
            while (j >= gap &&
                   compare_names(csv->columns[list[j - gap]].name, csv->columns[column].name) > 0) {
                list[j] = list[j - gap];
                j -= gap;
            }
            list[j] = column;
        }
    }
}

shardy_status shardy__rows_csv_begin(shardy_row_source *s, shardy_error *err)
{
    rows_csv *csv = &s->csv_state;
    shardy__arena_free(&csv->arena);
    csv->column_count = 0;
    csv->member_count = 0;
    shardy_status st = next_record(s, err);
    if (st == SHARDY_DONE) {
        st =
            shardy__error(err, SHARDY_INVALID, "rows", "the file is empty: expected a header line");
        return shardy__rows_at(s, 1, 1, st, err);
    }
    SHARDY_TRY(st);
    size_t n = csv->field_count;
    csv->columns = shardy__arena_calloc(&csv->arena, n, sizeof *csv->columns);
    csv->members = shardy__arena_calloc(&csv->arena, n, sizeof *csv->members);
    if (!csv->columns || !csv->members) {
        return shardy__error_nomem(err, "rows");
    }
    for (size_t i = 0; i < n; i++) {
        csv_column *column = &csv->columns[i];
        const char *name =
            shardy__arena_strndup(&csv->arena, csv->fields[i].start, csv->fields[i].len);
        if (!name) {
            return shardy__error_nomem(err, "rows");
        }
        column->name = shardy__bytes(name, csv->fields[i].len);
        SHARDY_TRY(shardy__rows_find_field(s, column->name, 0, &column->field, err));
        bool member =
            column->field ? (column->field->uses & ROW_MEMBER) != 0 : !s->options.value_column;
        if (member) {
            csv->members[csv->member_count++] = i;
        }
    }
    csv->column_count = n;
    sort_members(csv);
    SHARDY_TRY(check_names(s, err));
    return check_uses(s, err);
}

void shardy__rows_csv_free(shardy_row_source *s)
{
    shardy__arena_free(&s->csv_state.arena);
    shardy__free(s->csv_state.fields);
}

/* --- rows ------------------------------------------------------------------------------------- */

static bool integer_keys(const shardy_row_source *s)
{
    return s->options.key_encoding == SHARDY_KEY_ENCODING_U64BE ||
           s->options.key_encoding == SHARDY_KEY_ENCODING_U32BE;
}

static shardy_status take_key(
    shardy_row_source *s, shardy_bytes text, const row_field *field, shardy_error *err)
{
    int64_t i;
    uint64_t u;
    if (!integer_keys(s)) {
        s->row.key = shardy_key_text(text.data, text.len);
    } else if (shardy__parse_int64(text.data, text.len, &i)) {
        s->row.key = shardy_key_int(i);
    } else if (shardy__parse_uint64(text.data, text.len, &u)) {
        s->row.key = shardy_key_uint(u);
    } else {
        return shardy__error(err, SHARDY_INVALID, "rows",
            "key \"%.*s\" in the field \"%.*s\": expected an integer from -2^63 to 2^64-1 without "
            "leading zeros",
            SHARDY_BYTES_FMT(text), SHARDY_BYTES_FMT(field->name));
    }
    return SHARDY_OK;
}

/* A field that holds JSON: a vector or a payload. Empty is the same as null. */
static shardy_status take_json(shardy_row_source *s, shardy_bytes text, uint32_t use,
    const row_field *field, shardy_error *err)
{
    json_reader r;
    shardy__json_reader_init(&r, text.len > 0 ? text : shardy__bytes("null", 4));
    r.strict = 1;
    shardy_status st = shardy__json_next(&r, NULL);
    if (st >= 0) {
        st = shardy__rows_take_json(s, &r, use, field, err);
        if (st < 0 && !r.problem) {
            return st;
        }
    }
    if (st >= 0) {
        st = shardy__json_next(&r, NULL);
    }
    if (st >= 0) {
        return SHARDY_OK;
    }
    return shardy__error(err, SHARDY_INVALID, "rows",
        "the field \"%.*s\" is not JSON: byte %zu: %s", SHARDY_BYTES_FMT(field->name),
        (size_t)(r.problem_at - r.begin) + 1, r.problem);
}

static shardy_status take_use(shardy_row_source *s, shardy_bytes text, uint32_t use,
    const row_field *field, shardy_error *err)
{
    switch (use) {
    case ROW_KEY:
        return take_key(s, text, field, err);
    case ROW_VALUE:
        s->row.value = text;
        return SHARDY_OK;
    case ROW_VECTOR_ID:
        s->row.has_vector_id = text.len > 0;
        s->row.vector_id = shardy_key_text(text.data, text.len);
        return SHARDY_OK;
    case ROW_COLUMN:
        s->columns[field->column].type = SHARDY_COLUMN_TEXT;
        s->columns[field->column].bytes = text;
        return SHARDY_OK;
    case ROW_MEMBER:
        return SHARDY_OK; /* later, in their order */
    default:
        return take_json(s, text, use, field, err);
    }
}

static shardy_status take_field(shardy_row_source *s, size_t number, shardy_error *err)
{
    const row_field *field = s->csv_state.columns[number].field;
    const csv_field *f = &s->csv_state.fields[number];
    shardy_bytes text = {f->start, f->len};
    s->seen |= field->uses;
    for (uint32_t left = field->uses; left != 0; left &= left - 1) {
        shardy_status st = take_use(s, text, left & (~left + 1), field, err);
        if (st < 0) {
            return shardy__rows_at(s, f->line, f->column, st, err);
        }
    }
    return SHARDY_OK;
}

shardy_status shardy__rows_csv_next(shardy_row_source *s, shardy_error *err)
{
    rows_csv *csv = &s->csv_state;
    shardy_status st = next_record(s, err);
    if (st != SHARDY_OK) {
        return st;
    }
    if (csv->field_count != csv->column_count) {
        st = shardy__error(err, SHARDY_INVALID, "rows",
            "the record has %zu fields, the header has %zu", csv->field_count, csv->column_count);
        return shardy__rows_at(s, s->record_line, 1, st, err);
    }
    shardy__rows_begin(s);
    for (size_t i = 0; i < csv->column_count; i++) {
        if (csv->columns[i].field) {
            SHARDY_TRY(take_field(s, i, err));
        }
    }
    for (size_t i = 0; i < csv->member_count; i++) {
        const csv_field *f = &csv->fields[csv->members[i]];
        shardy__json_name_bytes(&s->value_writer, csv->columns[csv->members[i]].name);
        shardy__json_string_bytes(&s->value_writer, shardy__bytes(f->start, f->len));
    }
    st = shardy__rows_finish(s, err);
    return st < 0 ? shardy__rows_at(s, s->record_line, 1, st, err) : st;
}
