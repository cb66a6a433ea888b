#include "rows_impl.h"

#include <string.h>

/* The next line of the window, without its end; OK, or DONE when there is none. */
static shardy_status next_line(shardy_row_source *s, shardy_bytes *line_out, shardy_error *err)
{
    rows_input *in = &s->input;
    for (;;) {
        const char *start = in->data + in->at;
        const char *from = start + s->scanned;
        size_t left = in->filled - in->at - s->scanned;
        const char *end = left > 0 ? memchr(from, '\n', left) : NULL;
        if (!end && !in->ended) {
            s->scanned += left;
            SHARDY_TRY(shardy__rows_fill(s, err));
            continue;
        }
        s->scanned = 0;
        if (end) {
            *line_out = shardy__bytes(start, (size_t)(end - start));
            in->at += line_out->len + 1;
            return SHARDY_OK;
        }
        *line_out = shardy__bytes(start, in->filled - in->at);
        in->at = in->filled;
        return line_out->len > 0 ? SHARDY_OK : SHARDY_DONE;
    }
}

static bool is_blank(shardy_bytes line)
{
    const char *p = line.data;
    size_t i = 0;
    while (i < line.len && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r')) {
        i++;
    }
    return i == line.len;
}

/* An error was set about the text at the reader (or, without a message, by the reader itself): puts
 * file, line and column before it. */
static shardy_status fail_at(const shardy_row_source *s, const json_reader *r, const char *line,
    shardy_status st, shardy_error *err)
{
    const char *place = r->problem ? r->problem_at : r->token_start;
    return shardy__rows_at(s, s->record_line, (uint64_t)(place - line) + 1, st, err);
}

static shardy_status fail_json(
    const shardy_row_source *s, const json_reader *r, const char *line, shardy_error *err)
{
    shardy_status st = shardy__error(err, SHARDY_INVALID, "rows", "%s", r->problem);
    return fail_at(s, r, line, st, err);
}

/* A value with several uses is read once for each. */
static shardy_status take_often(shardy_row_source *s, json_reader *r, const row_field *field,
    const char *line, shardy_error *err)
{
    shardy_bytes raw;
    if (shardy__json_skip(r, &raw, NULL) < 0) {
        return fail_json(s, r, line, err);
    }
    for (uint32_t use = ROW_KEY; use <= ROW_MEMBER; use *= 2) {
        if (!(field->uses & use)) {
            continue;
        }
        json_reader again;
        shardy__json_reader_init(&again, raw);
        shardy_status st = shardy__json_next(&again, NULL);
        if (st >= 0) {
            st = use == ROW_MEMBER ? shardy__json_copy(&again, &s->value_writer, err)
                                   : shardy__rows_take_json(s, &again, use, field, err);
        }
        if (st < 0) {
            return fail_at(s, &again, line, st, err);
        }
    }
    return SHARDY_OK;
}

/* The reader is at the name of a member of the row. */
static shardy_status take_member(
    shardy_row_source *s, json_reader *r, const char *line, shardy_error *err)
{
    const row_field *field;
    SHARDY_TRY(shardy__rows_find_field(s, r->text, r->flags, &field, err));
    uint32_t uses = field ? field->uses : s->options.value_column ? 0u : (uint32_t)ROW_MEMBER;
    s->seen |= uses;
    if (uses & ROW_MEMBER) {
        shardy__json_copy_token(r, &s->value_writer);
    }
    shardy_status st = shardy__json_next(r, NULL);
    if (st >= 0 && uses == 0) {
        st = shardy__json_skip(r, NULL, NULL);
    } else if (st >= 0 && uses == ROW_MEMBER) {
        st = shardy__json_copy(r, &s->value_writer, NULL);
    } else if (st >= 0 && (uses & (uses - 1)) != 0) {
        return take_often(s, r, field, line, err);
    } else if (st >= 0) {
        st = shardy__rows_take_json(s, r, uses, field, err);
        return st < 0 ? fail_at(s, r, line, st, err) : st;
    }
    return st < 0 ? fail_json(s, r, line, err) : st;
}

static shardy_status take_line(shardy_row_source *s, shardy_bytes text, shardy_error *err)
{
    const char *line = text.data;
    json_reader r;
    shardy__json_reader_init(&r, text);
    r.strict = 1; /* what is taken is given to others as JSON */
    shardy__rows_begin(s);
    shardy_status st = shardy__json_next(&r, NULL);
    if (st < 0 || r.token != JSON_OBJECT_BEGIN) {
        st = shardy__error(err, SHARDY_INVALID, "rows",
            "expected an object of JSON: a row is {\"name\": value, ...}");
        return fail_at(s, &r, line, st, err);
    }
    while (st >= 0) {
        st = shardy__json_next(&r, NULL);
        if (st < 0 || r.token == JSON_OBJECT_END) {
            break;
        }
        SHARDY_TRY(take_member(s, &r, line, err));
    }
    if (st >= 0) {
        st = shardy__json_next(&r, NULL);
    }
    if (st < 0) {
        return fail_json(s, &r, line, err);
    }
    st = shardy__rows_finish(s, err);
    return st < 0 ? shardy__rows_at(s, s->record_line, 1, st, err) : st;
}

shardy_status shardy__rows_jsonl_next(shardy_row_source *s, shardy_error *err)
{
    for (;;) {
        shardy_bytes line;
        shardy_status st = next_line(s, &line, err);
        if (st != SHARDY_OK) {
            return st;
        }
        s->record_line = s->line++;
        if (!is_blank(line)) {
            return take_line(s, line, err);
        }
    }
}
