#include "alloc.h"
#include "json.h"
#include "json_scan.h"
#include "number.h"
#include "utf8.h"

#include <shardyfusion/limits.h>

#include <stdio.h>
#include <string.h>

/* What went wrong beside the buffer's own failures; once set, all writing stops. */
enum {
    PROBLEM_NONE,
    PROBLEM_UTF8,
    PROBLEM_DEPTH,
    PROBLEM_UNBALANCED,
    PROBLEM_TEXT,
    PROBLEM_NOMEM,
};

/* A member of an open object: where its text lies in the output. */
struct json_member {
    size_t start; /* of the opening quote of its name */
    size_t name_len;
    size_t end;
    bool escaped; /* the name is written with escapes: it has to be decoded to be compared */
};

void shardy__json_writer_init(json_writer *w, bytebuf *out, uint32_t style)
{
    memset(w, 0, sizeof *w);
    w->out = out;
    w->style = style;
    shardy__bytebuf_init(&w->scratch, out->len_max);
}

void shardy__json_writer_reset(json_writer *w, bytebuf *out)
{
    w->out = out;
    w->scratch.len_max = out->len_max;
    w->depth = 0;
    w->problem = PROBLEM_NONE;
    w->after_name = 0;
    w->member_count = 0;
    w->count[0] = 0;
}

void shardy__json_writer_free(json_writer *w)
{
    shardy__free(w->members);
    shardy__free(w->order);
    shardy__bytebuf_free(&w->scratch);
    memset(w, 0, sizeof *w);
}

static inline bool failed(const json_writer *w)
{
    return w->problem != PROBLEM_NONE || w->out->status < 0;
}

/* The zero behind the text is put there once, by shardy__json_writer_finish(). */
static inline void put(json_writer *w, const char *data, size_t len)
{
    bytebuf *out = w->out;
    if (out->len + len >= out->room) {
        shardy__bytebuf_append(out, data, len);
        return;
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static inline void put_char(json_writer *w, char c)
{
    put(w, &c, 1);
}

static inline bool is_compact(const json_writer *w)
{
    return (w->style & 3) == JSON_COMPACT;
}

static inline bool in_object(const json_writer *w)
{
    return w->depth > 0 && (w->objects >> (w->depth - 1) & 1) != 0;
}

static inline void put_comma(json_writer *w)
{
    put(w, ", ", is_compact(w) ? 1 : 2);
}

/* What stands between a value and what came before. False when nothing may be written. */
static inline bool begin_value(json_writer *w)
{
    if (failed(w)) {
        return false;
    }
    if (w->after_name) {
        w->after_name = 0;
        return true;
    }
    if (in_object(w) || (w->depth == 0 && w->count[0] > 0)) {
        w->problem = PROBLEM_UNBALANCED;
        return false;
    }
    if (w->count[w->depth]++ > 0) {
        put_comma(w);
    }
    return true;
}

/* --- text ------------------------------------------------------------------------------------- */

static size_t put_unit(char *dest, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    dest[0] = '\\';
    dest[1] = 'u';
    dest[2] = digits[unit >> 12 & 15];
    dest[3] = digits[unit >> 8 & 15];
    dest[4] = digits[unit >> 4 & 15];
    dest[5] = digits[unit & 15];
    return 6;
}

/* The longest text of one character: two units of a surrogate pair. */
#define CHARACTER_LEN_MAX 12u

static size_t put_character(char *dest, uint32_t code, bool keep_utf8)
{
    static const char specials[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    if (code < 0x80) {
        const char *special = memchr(specials, (char)code, sizeof specials - 1);
        if (special) {
            dest[0] = '\\';
            dest[1] = letters[special - specials];
            return 2;
        }
        if (code < 0x20 || (code == 0x7F && !keep_utf8)) {
            return put_unit(dest, code);
        }
        dest[0] = (char)code;
        return 1;
    }
    if (keep_utf8) {
        return shardy__utf8_encode(code, dest);
    }
    if (code < 0x10000) {
        return put_unit(dest, code);
    }
    code -= 0x10000;
    put_unit(dest, 0xD800 + (code >> 10));
    return 6 + put_unit(dest + 6, 0xDC00 + (code & 0x3FF));
}

/* The character at p, decoded: an escape (when the text has them), or UTF-8. -1: neither. */
static int32_t take_character(const char *p, const char *end, bool escapes, const char **next_out)
{
    if (escapes && *p == '\\') {
        return shardy__json_unescape(p, end, next_out);
    }
    size_t n = shardy__utf8_len((const uint8_t *)p, (const uint8_t *)end);
    *next_out = p + n;
    return n == 0 ? -1 : (int32_t)shardy__utf8_decode((const uint8_t *)p, n);
}

/* Writes text between quotes; `escapes`: what a backslash in it means is already JSON. */
static void put_text(json_writer *w, shardy_bytes text, bool escapes)
{
    bool keep_utf8 = (w->style & JSON_KEEP_UTF8) != 0;
    const char *p = text.len > 0 ? text.data : "";
    const char *end = p + text.len;
    put_char(w, '"');
    while (p < end) {
        const char *run = p;
        p = shardy__json_skip_plain(p, end);
        put(w, run, (size_t)(p - run));
        char piece[20 * CHARACTER_LEN_MAX];
        size_t len = 0;
        while (p < end && len <= sizeof piece - CHARACTER_LEN_MAX &&
               !shardy__json_is_plain((unsigned char)*p)) {
            int32_t code = take_character(p, end, escapes, &p);
            if (code < 0) {
                w->problem = PROBLEM_UTF8;
                return;
            }
            len += put_character(piece + len, (uint32_t)code, keep_utf8);
        }
        put(w, piece, len);
    }
    put_char(w, '"');
}

/* A string or name of a reader: mostly its text is already what has to be written. */
static void put_token_text(json_writer *w, shardy_bytes text, uint32_t flags)
{
    uint32_t fine = JSON_HAS_ESCAPES | (w->style & JSON_KEEP_UTF8 ? JSON_HAS_NON_ASCII : 0u);
    if ((flags & ~fine) != 0) {
        put_text(w, text, true);
        return;
    }
    put_char(w, '"');
    put(w, text.data, text.len);
    put_char(w, '"');
}

/* --- names and their order -------------------------------------------------------------------- */

static bool add_member(json_writer *w, json_member **member_out)
{
    if (w->member_count == w->member_room) {
        size_t room = w->member_room ? w->member_room * 2 : 32;
        json_member *members = shardy__realloc(w->members, room * sizeof *members);
        if (!members) {
            w->problem = PROBLEM_NOMEM;
            return false;
        }
        w->members = members;
        w->member_room = room;
    }
    *member_out = &w->members[w->member_count++];
    return true;
}

/* Order of two names by code points, for names that are written with escapes. */
static int compare_escaped(shardy_bytes a, shardy_bytes b)
{
    const char *p = a.data;
    const char *p_end = p + a.len;
    const char *q = b.data;
    const char *q_end = q + b.len;
    while (p < p_end && q < q_end) {
        int32_t x = take_character(p, p_end, true, &p);
        int32_t y = take_character(q, q_end, true, &q);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    return (p < p_end) - (q < q_end);
}

/* Order of the names of two members: by code points, which is the order of their UTF-8. */
static int compare_members(const json_writer *w, const json_member *a, const json_member *b)
{
    shardy_bytes x = {w->out->data + a->start + 1, a->name_len};
    shardy_bytes y = {w->out->data + b->start + 1, b->name_len};
    if (a->escaped || b->escaped) {
        return compare_escaped(x, y);
    }
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

/* What stands before a name; NULL when nothing may be written. */
static json_member *begin_name(json_writer *w)
{
    json_member *member = NULL;
    if (failed(w)) {
        return NULL;
    }
    if (!in_object(w) || w->after_name) {
        w->problem = PROBLEM_UNBALANCED;
        return NULL;
    }
    if (w->count[w->depth]++ > 0) {
        w->members[w->member_count - 1].end = w->out->len;
        put_comma(w);
    }
    return add_member(w, &member) ? member : NULL;
}

static void end_name(json_writer *w, json_member *member)
{
    if (failed(w)) {
        return;
    }
    member->name_len = w->out->len - member->start - 2;
    member->escaped = memchr(w->out->data + member->start + 1, '\\', member->name_len) != NULL;
    uint64_t bit = (uint64_t)1 << (w->depth - 1);
    if (w->count[w->depth] > 1 && !(w->unordered & bit) &&
        compare_members(w, member - 1, member) >= 0) {
        w->unordered |= bit;
    }
    put(w, ": ", is_compact(w) ? 1 : 2);
    w->after_name = 1;
}

void shardy__json_name_bytes(json_writer *w, shardy_bytes name)
{
    json_member *member = begin_name(w);
    if (member) {
        member->start = w->out->len;
        put_text(w, name, false);
        end_name(w, member);
    }
}

void shardy__json_name(json_writer *w, const char *name)
{
    shardy__json_name_bytes(w, shardy__bytes(name, strlen(name)));
}

/* Merges the ordered lists list[0, na) and list[na, n) into `out`. */
static void merge(const json_writer *w, const json_member *members, const size_t *list, size_t na,
    size_t n, size_t *out)
{
    const size_t *a = list;
    const size_t *a_end = list + na;
    const size_t *b = a_end;
    const size_t *b_end = list + n;
    while (a < a_end && b < b_end) {
        *out++ = compare_members(w, &members[*a], &members[*b]) <= 0 ? *a++ : *b++;
    }
    memcpy(out, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

/* Two lists of `n` numbers each at w->order. */
static bool reserve_order(json_writer *w, size_t n)
{
    if (n > w->order_room) {
        size_t *order = shardy__realloc(w->order, 2 * n * sizeof *order);
        if (!order) {
            w->problem = PROBLEM_NOMEM;
            return false;
        }
        w->order = order;
        w->order_room = n;
    }
    return true;
}

/* Sorts the numbers of `n` members by name, equal names by place; returns the sorted list, which is
 * one of the two at w->order, the other one is free to use. */
static size_t *sort_members(json_writer *w, const json_member *members, size_t n)
{
    size_t *from = w->order;
    size_t *to = w->order + n;
    for (size_t i = 0; i < n; i++) {
        from[i] = i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t left = n - i;
            merge(w, members, from + i, left < width ? left : width,
                left < 2 * width ? left : 2 * width, to + i);
        }
        size_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

#define LEFT_OUT SIZE_MAX

/* From the sorted list to the list of members to be written, in that order. `list` gets n entries,
 * some of them LEFT_OUT. False when nothing has to be moved or left out. */
static bool choose_members(
    const json_writer *w, const json_member *members, const size_t *sorted, size_t n, size_t *list)
{
    bool keep_places = (w->style & 3) == JSON_PYTHON;
    bool repeated = false;
    size_t run = 0; /* where the members with the current name begin in `sorted` */
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_members(w, &members[sorted[i - 1]], &members[sorted[i]]) != 0) {
            run = i;
        }
        list[keep_places ? sorted[i] : i] = LEFT_OUT;
        list[keep_places ? sorted[run] : run] = sorted[i];
        repeated = repeated || run != i;
    }
    return repeated || !keep_places;
}

/* Rewrites the members of the object that ends: sorted where the style wants it, and of each name
 * the last one only (at the place of the first one where they are not sorted, as in Python). */
static void put_in_order(json_writer *w, json_member *members, size_t n)
{
    if (!reserve_order(w, n)) {
        return;
    }
    size_t *sorted = sort_members(w, members, n);
    size_t *list = sorted == w->order ? w->order + n : w->order;
    if (!choose_members(w, members, sorted, n, list)) {
        return;
    }
    const char *comma = is_compact(w) ? "," : ", ";
    shardy__bytebuf_clear(&w->scratch);
    for (size_t i = 0; i < n; i++) {
        if (list[i] != LEFT_OUT) {
            const json_member *m = &members[list[i]];
            if (w->scratch.len > 0) {
                shardy__bytebuf_puts(&w->scratch, comma);
            }
            shardy__bytebuf_append(&w->scratch, w->out->data + m->start, m->end - m->start);
        }
    }
    if (w->scratch.status < 0) {
        w->problem = PROBLEM_NOMEM;
        return;
    }
    memcpy(w->out->data + members[0].start, w->scratch.data, w->scratch.len);
    w->out->len = members[0].start + w->scratch.len;
}

/* --- values ----------------------------------------------------------------------------------- */

static void begin_container(json_writer *w, bool object)
{
    if (!begin_value(w)) {
        return;
    }
    if (w->depth == SHARDY_JSON_DEPTH_MAX) {
        w->problem = PROBLEM_DEPTH;
        return;
    }
    uint64_t bit = (uint64_t)1 << w->depth;
    w->objects = object ? w->objects | bit : w->objects & ~bit;
    w->unordered &= ~bit;
    w->depth++;
    w->count[w->depth] = 0;
    w->first[w->depth] = w->member_count;
    put_char(w, object ? '{' : '[');
}

static void end_container(json_writer *w, bool object)
{
    if (failed(w)) {
        return;
    }
    if (w->depth == 0 || in_object(w) != object || w->after_name) {
        w->problem = PROBLEM_UNBALANCED;
        return;
    }
    size_t first = w->first[w->depth];
    if (object && w->member_count > first) {
        w->members[w->member_count - 1].end = w->out->len;
        if (w->unordered >> (w->depth - 1) & 1) {
            put_in_order(w, w->members + first, w->member_count - first);
        }
        w->member_count = first;
    }
    w->depth--;
    put_char(w, object ? '}' : ']');
}

void shardy__json_begin_object(json_writer *w)
{
    begin_container(w, true);
}

void shardy__json_end_object(json_writer *w)
{
    end_container(w, true);
}

void shardy__json_begin_array(json_writer *w)
{
    begin_container(w, false);
}

void shardy__json_end_array(json_writer *w)
{
    end_container(w, false);
}

void shardy__json_string_bytes(json_writer *w, shardy_bytes text)
{
    if (begin_value(w)) {
        put_text(w, text, false);
    }
}

void shardy__json_string(json_writer *w, const char *text)
{
    if (text) {
        shardy__json_string_bytes(w, shardy__bytes(text, strlen(text)));
    } else {
        shardy__json_null(w);
    }
}

void shardy__json_number(json_writer *w, shardy_bytes text)
{
    if (begin_value(w)) {
        put(w, text.data, text.len);
    }
}

void shardy__json_int(json_writer *w, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)value);
    shardy__json_number(w, shardy__bytes(text, (size_t)n));
}

void shardy__json_uint(json_writer *w, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    shardy__json_number(w, shardy__bytes(text, (size_t)n));
}

void shardy__json_double(json_writer *w, double value)
{
    char text[SHARDY_DOUBLE_TEXT_MAX];
    size_t n = shardy__format_double(value, text);
    shardy__json_number(w, shardy__bytes(text, n));
}

void shardy__json_bool(json_writer *w, int value)
{
    shardy__json_number(w, value ? shardy__bytes("true", 4) : shardy__bytes("false", 5));
}

void shardy__json_null(json_writer *w)
{
    shardy__json_number(w, shardy__bytes("null", 4));
}

/* A value of a document without the elements of a container; true when there are some. */
static bool put_shallow(json_writer *w, const shardy_json_value *value)
{
    switch (shardy_json_type_of(value)) {
    case SHARDY_JSON_BOOL:
        shardy__json_bool(w, shardy_json_bool(value));
        return false;
    case SHARDY_JSON_NUMBER:
        shardy__json_number(w, shardy_json_string(value));
        return false;
    case SHARDY_JSON_STRING:
        shardy__json_string_bytes(w, shardy_json_string(value));
        return false;
    case SHARDY_JSON_ARRAY:
        shardy__json_begin_array(w);
        return true;
    case SHARDY_JSON_OBJECT:
        shardy__json_begin_object(w);
        return true;
    default:
        shardy__json_null(w);
        return false;
    }
}

void shardy__json_value(json_writer *w, const shardy_json_value *value)
{
    struct {
        const shardy_json_value *value;
        size_t next;
    } open[SHARDY_JSON_DEPTH_MAX];
    size_t depth = 0;
    if (put_shallow(w, value)) {
        open[depth].value = value;
        open[depth++].next = 0;
    }
    while (depth > 0 && !failed(w)) {
        const shardy_json_value *parent = open[depth - 1].value;
        size_t i = open[depth - 1].next++;
        bool object = shardy_json_type_of(parent) == SHARDY_JSON_OBJECT;
        if (i == shardy_json_count(parent)) {
            end_container(w, object);
            depth--;
            continue;
        }
        if (object) {
            shardy__json_name_bytes(w, shardy_json_name_at(parent, i));
        }
        const shardy_json_value *child = shardy_json_at(parent, i);
        if (put_shallow(w, child) && !failed(w)) {
            open[depth].value = child;
            open[depth++].next = 0;
        }
    }
}

void shardy__json_copy_token(const json_reader *r, json_writer *w)
{
    json_member *member;
    switch (r->token) {
    case JSON_NAME:
        member = begin_name(w);
        if (member) {
            member->start = w->out->len;
            put_token_text(w, r->text, r->flags);
            end_name(w, member);
        }
        break;
    case JSON_STRING:
        if (begin_value(w)) {
            put_token_text(w, r->text, r->flags);
        }
        break;
    case JSON_ARRAY_BEGIN:
    case JSON_OBJECT_BEGIN:
        begin_container(w, r->token == JSON_OBJECT_BEGIN);
        break;
    case JSON_ARRAY_END:
    case JSON_OBJECT_END:
        end_container(w, r->token == JSON_OBJECT_END);
        break;
    case JSON_END:
        break;
    default: /* numbers, and the constants, whose text the reader keeps too */
        shardy__json_number(w, r->text);
        break;
    }
}

shardy_status shardy__json_copy(json_reader *r, json_writer *w, shardy_error *err)
{
    shardy__json_copy_token(r, w);
    if (r->token != JSON_ARRAY_BEGIN && r->token != JSON_OBJECT_BEGIN) {
        return SHARDY_OK;
    }
    uint32_t outside = r->depth - 1;
    while (r->depth > outside) {
        SHARDY_TRY(shardy__json_next(r, err));
        shardy__json_copy_token(r, w);
    }
    return SHARDY_OK;
}

/* A whole text, the end of it included. */
static shardy_status copy_text(shardy_bytes json, json_writer *w, shardy_error *err)
{
    json_reader r;
    shardy__json_reader_init(&r, json);
    SHARDY_TRY(shardy__json_next(&r, err));
    SHARDY_TRY(shardy__json_copy(&r, w, err));
    return shardy__json_next(&r, err);
}

void shardy__json_text(json_writer *w, shardy_bytes json)
{
    if (!failed(w) && copy_text(json, w, NULL) < 0 && !failed(w)) {
        w->problem = PROBLEM_TEXT;
    }
}

shardy_status shardy__json_writer_finish(json_writer *w, const char *domain, shardy_error *err)
{
    shardy__bytebuf_append(w->out, "", 0);
    SHARDY_TRY(shardy__bytebuf_check(w->out, domain, err));
    switch (w->problem) {
    case PROBLEM_NONE:
        break;
    case PROBLEM_UTF8:
        return shardy__error(err, SHARDY_INVALID, domain, "text for JSON is not valid UTF-8");
    case PROBLEM_DEPTH:
        return shardy__error(err, SHARDY_INVALID, domain,
            "more levels of arrays and objects than the limit of %u", SHARDY_JSON_DEPTH_MAX);
    case PROBLEM_TEXT:
        return shardy__error(err, SHARDY_INVALID, domain, "a text to be written is not JSON");
    case PROBLEM_NOMEM:
        return shardy__error_nomem(err, domain);
    default:
        return shardy__error(err, SHARDY_INTERNAL, domain, "JSON was written out of order");
    }
    if (w->depth != 0 || w->count[0] != 1) {
        return shardy__error(err, SHARDY_INTERNAL, domain, "JSON was not written to its end");
    }
    return SHARDY_OK;
}

shardy_status shardy__json_restyle(
    shardy_bytes json, uint32_t style, bytebuf *out, shardy_error *err)
{
    json_writer w;
    shardy__json_writer_init(&w, out, style);
    shardy_status st = copy_text(json, &w, err);
    if (st >= 0) {
        st = shardy__json_writer_finish(&w, "json", err);
    }
    shardy__json_writer_free(&w);
    return st;
}
