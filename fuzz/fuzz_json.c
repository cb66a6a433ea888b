/* JSON. Whatever the bytes are: reader, skip, document and writer agree on whether they are JSON;
 * what is written reads back as the same; numbers are those of the C library. */
#include "faults.h"

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static int same(const bytebuf *a, const bytebuf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* strtod() in the locale "C" is exact in glibc. */
static void check_number(shardy_bytes text)
{
    char copy[1200];
    double got;
    if (text.len >= sizeof copy) {
        return;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    require_that(shardy__parse_double(copy, text.len, &got));
    double expected = strtod(copy, NULL);
    require_that(memcmp(&got, &expected, sizeof got) == 0 || (got != got && expected != expected));
    char out[SHARDY_DOUBLE_TEXT_MAX];
    size_t len = shardy__format_double(got, out);
    double again;
    require_that(len < sizeof out && out[len] == '\0');
    require_that(shardy__parse_double(out, len, &again));
    require_that(memcmp(&got, &again, sizeof got) == 0 || got != got);
}

/* Walks all tokens; 1 when the text is JSON. */
static int walk(shardy_bytes text)
{
    json_reader r;
    shardy_error err = {0};
    bytebuf buf;
    shardy__json_reader_init(&r, text);
    shardy__bytebuf_init(&buf, text.len);
    shardy_status st;
    while ((st = shardy__json_next(&r, &err)) == SHARDY_OK && r.token != JSON_END) {
        require_that(r.token_start >= r.begin && r.next <= r.end && r.token_start < r.next);
        if (r.token == JSON_STRING || r.token == JSON_NAME) {
            shardy__bytebuf_clear(&buf);
            shardy__json_decode(r.text, &buf);
            require_that(buf.status == SHARDY_OK && shardy__utf8_valid(buf.data, buf.len));
            require_that(shardy__json_text_equals(r.text, r.flags, buf.data, buf.len));
        } else if (r.token == JSON_NUMBER) {
            check_number(r.text);
        }
    }
    shardy__bytebuf_free(&buf);
    require_that(st == SHARDY_OK || (st == SHARDY_INVALID && r.problem && err.message[0] != '\0'));
    return st == SHARDY_OK;
}

static int skips(shardy_bytes text)
{
    json_reader r;
    shardy__json_reader_init(&r, text);
    shardy_bytes raw;
    return shardy__json_next(&r, NULL) == SHARDY_OK && r.token != JSON_END &&
           shardy__json_skip(&r, &raw, NULL) == SHARDY_OK &&
           shardy__json_next(&r, NULL) == SHARDY_OK && r.token == JSON_END;
}

static void check_styles(shardy_bytes text, const shardy_json *json)
{
    static const uint32_t styles[] = {JSON_PYTHON, JSON_SORTED, JSON_COMPACT,
        JSON_PYTHON | JSON_KEEP_UTF8, JSON_SORTED | JSON_KEEP_UTF8, JSON_COMPACT | JSON_KEEP_UTF8};
    bytebuf compact;
    bytebuf out;
    bytebuf again;
    shardy__bytebuf_init(&compact, 1u << 24);
    shardy__bytebuf_init(&out, 1u << 24);
    shardy__bytebuf_init(&again, 1u << 24);
    require_that(shardy__json_restyle(text, JSON_COMPACT, &compact, NULL) == SHARDY_OK);
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        json_writer w;
        shardy__bytebuf_clear(&out);
        shardy__bytebuf_clear(&again);
        require_that(shardy__json_restyle(text, styles[i], &out, NULL) == SHARDY_OK);
        /* By way of the document. */
        shardy__json_writer_init(&w, &again, styles[i]);
        shardy__json_value(&w, shardy_json_root(json));
        require_that(shardy__json_writer_finish(&w, "fuzz", NULL) == SHARDY_OK);
        shardy__json_writer_free(&w);
        require_that(same(&out, &again));
        /* Written again in its own style it stays; in the compact style it is as if written from
         * the original. */
        shardy_bytes written = {out.data, out.len};
        shardy__bytebuf_clear(&again);
        require_that(shardy__json_restyle(written, styles[i], &again, NULL) == SHARDY_OK);
        require_that(same(&out, &again));
        shardy__bytebuf_clear(&again);
        require_that(shardy__json_restyle(written, JSON_COMPACT, &again, NULL) == SHARDY_OK);
        require_that(same(&compact, &again));
    }
    shardy__bytebuf_free(&compact);
    shardy__bytebuf_free(&out);
    shardy__bytebuf_free(&again);
}

/* Members are found by name, and numbers are one number however they are asked for. */
static void check_value(const shardy_json_value *value)
{
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    int as_int = shardy_json_int64(value, &i);
    int as_uint = shardy_json_uint64(value, &u);
    int as_double = shardy_json_double(value, &d);
    int32_t type = shardy_json_type_of(value);
    require_that(as_double == (type == SHARDY_JSON_NUMBER));
    require_that(!as_int || (as_double && (double)i == d));
    require_that(!as_uint || (as_double && (double)u == d));
    require_that(!(as_int && as_uint) || (i >= 0 && (uint64_t)i == u));
    require_that(type == SHARDY_JSON_BOOL || !shardy_json_bool(value));
    for (size_t at = 0; type == SHARDY_JSON_OBJECT && at < shardy_json_count(value); at++) {
        shardy_bytes name = shardy_json_name_at(value, at);
        char copy[64];
        if (name.len < sizeof copy && !memchr(name.data, 0, name.len)) {
            memcpy(copy, name.data, name.len);
            copy[name.len] = '\0';
            require_that(shardy_json_get(value, copy) == shardy_json_at(value, at));
        }
    }
    require_that(shardy_json_get(value, "no such name, it is too long for any") == NULL);
}

static void check_values(const shardy_json_value *root)
{
    check_value(root);
    for (size_t at = 0; at < shardy_json_count(root); at++) {
        check_value(shardy_json_at(root, at));
    }
    require_that(shardy_json_at(root, shardy_json_count(root)) == NULL);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    shardy_bytes text = {data, size};
    shardy_json *json;
    bytebuf out;
    SHARDY_TRY(shardy_json_parse(text, &json, err));
    shardy__bytebuf_init(&out, 1u << 24);
    shardy_status st = shardy__json_restyle(text, JSON_SORTED, &out, err);
    shardy__bytebuf_free(&out);
    shardy_json_free(json);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shardy_bytes text = {data, size};
    shardy_json *json;
    shardy_error err = {0};
    run_with_fault(data, size, run);
    int good = walk(text);
    require_that(skips(text) == good);
    shardy_status st = shardy_json_parse(text, &json, &err);
    require_that(st == (good ? SHARDY_OK : SHARDY_INVALID));
    if (good) {
        check_styles(text, json);
        check_values(shardy_json_root(json));
    }
    shardy_json_free(json);
    return 0;
}
