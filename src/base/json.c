#include "json.h"

#include "ascii.h"
#include "json_scan.h"
#include "number.h"
#include "utf8.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* What may come next. */
enum {
    EXPECT_VALUE,
    EXPECT_FIRST_ELEMENT, /* a value or ']' */
    EXPECT_FIRST_NAME,    /* a name or '}' */
    EXPECT_REST,          /* after a value: ',' or the end of the container or of the text */
};

#define TOP_LEVEL 0u

_Static_assert(SHARDY_JSON_DEPTH_MAX == 64, "a bit for each open container, and a message");

void shardy__json_reader_init(json_reader *r, shardy_bytes text)
{
    memset(r, 0, sizeof *r);
    r->begin = text.data ? text.data : "";
    r->next = r->begin;
    r->token_start = r->begin;
    r->end = r->begin + text.len;
    r->expect = EXPECT_VALUE;
}

void shardy__json_locate(
    const json_reader *r, const char *place, uint64_t *line_out, uint64_t *column_out)
{
    uint64_t line = 1;
    const char *line_start = r->begin;
    const char *p;
    while ((p = memchr(line_start, '\n', (size_t)(place - line_start)))) {
        line++;
        line_start = p + 1;
    }
    *line_out = line;
    *column_out = (uint64_t)(place - line_start) + 1;
}

static shardy_status report(const json_reader *r, shardy_error *err)
{
    uint64_t line;
    uint64_t column;
    shardy__json_locate(r, r->problem_at, &line, &column);
    return shardy__error(err, SHARDY_INVALID, "json", "line %llu, column %llu: %s",
        (unsigned long long)line, (unsigned long long)column, r->problem);
}

static bool fail(json_reader *r, const char *at, const char *problem)
{
    r->problem = problem;
    r->problem_at = at;
    return false;
}

static inline const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

static bool is_surrogate(int32_t code, int32_t first)
{
    return code >= first && code < first + 0x400;
}

/* The four digits after "\u", or -1. */
static int32_t read_hex4(const char *p, const char *end)
{
    if (end - p < 6) {
        return -1;
    }
    int32_t code = 0;
    for (int i = 2; i < 6; i++) {
        int digit = shardy__hex_value(p[i]);
        if (digit < 0) {
            return -1;
        }
        code = code * 16 + digit;
    }
    return code;
}

int32_t shardy__json_unescape(const char *p, const char *end, const char **next_out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    *next_out = p;
    if (end - p < 2) {
        return -1;
    }
    if (p[1] != 'u') {
        const char *letter = memchr(letters, p[1], sizeof letters - 1);
        *next_out = letter ? p + 2 : p;
        return letter ? meanings[letter - letters] : -1;
    }
    int32_t code = read_hex4(p, end);
    if (code < 0 || is_surrogate(code, 0xDC00)) {
        return -1;
    }
    p += 6;
    if (is_surrogate(code, 0xD800)) {
        int32_t low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? read_hex4(p, end) : -1;
        if (!is_surrogate(low, 0xDC00)) {
            return -1;
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
    }
    *next_out = p;
    return code;
}

static bool check_escape(json_reader *r, const char *p, const char **next_out)
{
    if (shardy__json_unescape(p, r->end, next_out) >= 0) {
        r->flags |= JSON_HAS_ESCAPES | (p[1] == 'u' || p[1] == '/' ? JSON_HAS_UNUSUAL : 0u);
        return true;
    }
    if (r->end - p >= 2 && p[1] == 'u') {
        return fail(r, p,
            read_hex4(p, r->end) < 0 ? "expected four hexadecimal digits after '\\u'"
                                     : "a lone surrogate has no UTF-8");
    }
    return fail(r, p, "expected one of \"\\/bfnrtu after '\\' in a string");
}

static bool check_non_ascii(json_reader *r, const char *p, const char **next_out)
{
    const uint8_t *q = (const uint8_t *)p;
    const uint8_t *end = (const uint8_t *)r->end;
    while (q < end && *q >= 0x7F) {
        size_t n = shardy__utf8_len(q, end);
        if (n == 0) {
            return fail(r, (const char *)q, "invalid UTF-8 in a string");
        }
        q += n;
    }
    r->flags |= JSON_HAS_NON_ASCII;
    *next_out = (const char *)q;
    return true;
}

/* Reads the string whose opening quote is at r->token_start. */
static bool read_string(json_reader *r)
{
    const char *start = r->token_start + 1;
    const char *p = start;
    r->flags = 0;
    for (;;) {
        p = shardy__json_skip_plain(p, r->end);
        if (p == r->end) {
            return fail(r, r->token_start, "a string does not end");
        }
        unsigned char c = (unsigned char)*p;
        if (c == '"') {
            break;
        }
        if (c < 0x20) {
            return fail(r, p, "a control character must be escaped in a string");
        }
        if (!(c == '\\' ? check_escape(r, p, &p) : check_non_ascii(r, p, &p))) {
            return false;
        }
    }
    r->text = shardy__bytes(start, (size_t)(p - start));
    r->next = p + 1;
    return true;
}

static bool read_name(json_reader *r)
{
    if (!read_string(r)) {
        return false;
    }
    const char *p = skip_space(r->next, r->end);
    if (p == r->end || *p != ':') {
        return fail(r, p, "expected ':' after a name");
    }
    r->token = JSON_NAME;
    r->next = p + 1;
    r->expect = EXPECT_VALUE;
    return true;
}

static bool open_container(json_reader *r, const char *p, bool object)
{
    if (r->depth == SHARDY_JSON_DEPTH_MAX) {
        return fail(r, p, "more levels of arrays and objects than the limit of 64");
    }
    uint64_t bit = (uint64_t)1 << r->depth;
    r->objects = object ? r->objects | bit : r->objects & ~bit;
    r->depth++;
    r->token = object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN;
    r->expect = object ? EXPECT_FIRST_NAME : EXPECT_FIRST_ELEMENT;
    r->next = p + 1;
    return true;
}

static bool close_container(json_reader *r, const char *p, bool object)
{
    r->depth--;
    r->token = object ? JSON_OBJECT_END : JSON_ARRAY_END;
    r->expect = EXPECT_REST;
    r->next = p + 1;
    return true;
}

static bool read_word(json_reader *r, const char *p, const char *word, int32_t token)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - p) < len || memcmp(p, word, len) != 0) {
        return fail(r, p, "expected a value");
    }
    r->text = shardy__bytes(p, len);
    r->token = token;
    r->next = p + len;
    r->expect = EXPECT_REST;
    return true;
}

/* A word of Python's that JSON does not have. */
static bool read_not_finite(json_reader *r, const char *p, const char *word)
{
    if (!read_word(r, p, word, JSON_NUMBER)) {
        return false;
    }
    return !r->strict || fail(r, p,
                             *word == 'N'   ? "NaN is no value of JSON"
                             : *word == 'I' ? "Infinity is no value of JSON"
                                            : "-Infinity is no value of JSON");
}

static bool read_number(json_reader *r, const char *p)
{
    size_t len = shardy__number_span(p, (size_t)(r->end - p));
    if (len == 0) {
        return *p == '-' && r->end - p > 1 && p[1] == 'I' ? read_not_finite(r, p, "-Infinity")
                                                          : fail(r, p, "expected a value");
    }
    r->text = shardy__bytes(p, len);
    r->token = JSON_NUMBER;
    r->next = p + len;
    r->expect = EXPECT_REST;
    return true;
}

static bool read_value(json_reader *r, const char *p)
{
    switch (*p) {
    case '"':
        r->token = JSON_STRING;
        r->expect = EXPECT_REST;
        return read_string(r);
    case '{':
        return open_container(r, p, true);
    case '[':
        return open_container(r, p, false);
    case 'n':
        return read_word(r, p, "null", JSON_NULL);
    case 't':
        return read_word(r, p, "true", JSON_TRUE);
    case 'f':
        return read_word(r, p, "false", JSON_FALSE);
    case 'N':
        return read_not_finite(r, p, "NaN");
    case 'I':
        return read_not_finite(r, p, "Infinity");
    default:
        return read_number(r, p);
    }
}

/* After a value inside a container. */
static bool read_rest(json_reader *r, const char *p)
{
    bool object = (r->objects >> (r->depth - 1) & 1) != 0;
    if (*p == (object ? '}' : ']')) {
        return close_container(r, p, object);
    }
    if (*p != ',') {
        return fail(
            r, p, object ? "expected ',' or '}' in an object" : "expected ',' or ']' in an array");
    }
    p = skip_space(p + 1, r->end);
    r->token_start = p;
    if (!object) {
        return p < r->end ? read_value(r, p) : fail(r, p, "expected a value after ','");
    }
    return p < r->end && *p == '"' ? read_name(r)
                                   : fail(r, p, "expected a name in quotes after ','");
}

static bool read_end(json_reader *r)
{
    if (r->expect == EXPECT_REST && r->depth == TOP_LEVEL) {
        r->token = JSON_END;
        return true;
    }
    static const char *const problems[] = {
        "the text ends where a value is expected",
        "the text ends in an array",
        "the text ends in an object",
    };
    int32_t expect = r->expect;
    if (expect == EXPECT_REST) {
        bool object = (r->objects >> (r->depth - 1) & 1) != 0;
        expect = object ? EXPECT_FIRST_NAME : EXPECT_FIRST_ELEMENT;
    }
    return fail(r, r->end, problems[expect]);
}

static bool read_token(json_reader *r)
{
    const char *p = skip_space(r->next, r->end);
    r->token_start = p;
    if (p == r->end) {
        return read_end(r);
    }
    switch (r->expect) {
    case EXPECT_REST:
        return r->depth == TOP_LEVEL ? fail(r, p, "expected nothing after the value")
                                     : read_rest(r, p);
    case EXPECT_FIRST_NAME:
        if (*p == '}') {
            return close_container(r, p, true);
        }
        return *p == '"' ? read_name(r) : fail(r, p, "expected a name in quotes or '}'");
    case EXPECT_FIRST_ELEMENT:
        if (*p == ']') {
            return close_container(r, p, false);
        }
        return read_value(r, p);
    default:
        return read_value(r, p);
    }
}

shardy_status shardy__json_next(json_reader *r, shardy_error *err)
{
    return !r->problem && read_token(r) ? SHARDY_OK : report(r, err);
}

shardy_status shardy__json_skip(json_reader *r, shardy_bytes *raw_out, shardy_error *err)
{
    const char *start = r->token_start;
    if (r->token == JSON_ARRAY_BEGIN || r->token == JSON_OBJECT_BEGIN) {
        uint32_t outside = r->depth - 1;
        while (r->depth > outside) {
            if (r->problem || !read_token(r)) {
                return report(r, err);
            }
        }
    }
    if (raw_out) {
        *raw_out = shardy__bytes(start, (size_t)(r->next - start));
    }
    return SHARDY_OK;
}

void shardy__json_decode(shardy_bytes text, bytebuf *out)
{
    const char *p = text.data;
    const char *end = p + text.len;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        const char *run_end = slash ? slash : end;
        shardy__bytebuf_append(out, p, (size_t)(run_end - p));
        if (!slash) {
            break;
        }
        int32_t code = shardy__json_unescape(slash, end, &p);
        if (code < 0) { /* not reached with text that the reader has checked */
            out->status = SHARDY_INVALID;
            return;
        }
        char utf8[4];
        size_t n = shardy__utf8_encode((uint32_t)code, utf8);
        shardy__bytebuf_append(out, utf8, n);
    }
    shardy__bytebuf_append(out, "", 0);
}

/* Compares piece by piece, so that nothing has to be decoded into memory. */
static int equals_decoded(shardy_bytes text, const char *data, size_t len)
{
    const char *p = text.data;
    const char *end = p + text.len;
    while (p < end) {
        char piece[4] = {*p};
        size_t n = 1;
        if (*p == '\\') {
            int32_t code = shardy__json_unescape(p, end, &p);
            n = code < 0 ? len + 1 : shardy__utf8_encode((uint32_t)code, piece);
        } else {
            p++;
        }
        if (n > len || memcmp(piece, data, n) != 0) {
            return 0;
        }
        data += n;
        len -= n;
    }
    return len == 0;
}

int shardy__json_text_equals(shardy_bytes text, uint32_t flags, const void *data, size_t len)
{
    if (flags & JSON_HAS_ESCAPES) {
        return equals_decoded(text, data, len);
    }
    return text.len == len && (len == 0 || memcmp(text.data, data, len) == 0);
}
