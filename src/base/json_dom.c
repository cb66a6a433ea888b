#include <shardyfusion/sys/text.h>

#include "alloc.h"
#include "arena.h"
#include "json.h"
#include "number.h"

#include <shardyfusion/limits.h>

#include <string.h>

/* Up to this many members an object is searched from end to end and has no index. */
#define SMALL_OBJECT 8u

struct shardy_json_value {
    int32_t type;     /* shardy_json_type */
    int32_t boolean;  /* 0, 1 */
    size_t count;     /* elements, members, bytes of text */
    const void *data; /* text; or struct shardy_json_value[count] */
    struct json_names *names;
};

/* Names of the members of an object, in the order of the text; and their numbers sorted by name
 * when there are more than SMALL_OBJECT. */
struct json_names {
    const shardy_bytes *texts;
    const uint32_t *sorted;
};

struct shardy_json {
    arena arena;
    shardy_json_value root;
};

/* A value whose container is still open. */
typedef struct pending {
    shardy_bytes name;
    shardy_json_value value;
} pending;

typedef struct dom_builder {
    shardy_json *json;
    json_reader reader;
    pending *values;
    size_t count;
    size_t room;
    size_t first[SHARDY_JSON_DEPTH_MAX]; /* per open container, its first value */
    shardy_bytes name;                   /* of the member that is being read */
    bytebuf scratch;
    uint32_t *order; /* two lists of order_room numbers */
    size_t order_room;
} dom_builder;

static shardy_status nomem(shardy_error *err)
{
    return shardy__error_nomem(err, "json");
}

/* The decoded text of a token, owned by the document, with a zero behind it. */
static shardy_status keep_text(dom_builder *b, shardy_bytes *text_out, shardy_error *err)
{
    shardy_bytes text = b->reader.text;
    if (b->reader.flags & JSON_HAS_ESCAPES) {
        shardy__bytebuf_clear(&b->scratch);
        shardy__json_decode(text, &b->scratch);
        SHARDY_TRY(shardy__bytebuf_check(&b->scratch, "json", err));
        text = shardy__bytes(b->scratch.data, b->scratch.len);
    }
    const char *copy = shardy__arena_strndup(&b->json->arena, text.data, text.len);
    if (!copy) {
        return nomem(err);
    }
    *text_out = shardy__bytes(copy, text.len);
    return SHARDY_OK;
}

static shardy_status push(dom_builder *b, const shardy_json_value *value, shardy_error *err)
{
    if (b->count == b->room) {
        size_t room = b->room ? b->room * 2 : 64;
        pending *values = shardy__realloc(b->values, room * sizeof *values);
        if (!values) {
            return nomem(err);
        }
        b->values = values;
        b->room = room;
    }
    b->values[b->count].name = b->name;
    b->values[b->count].value = *value;
    b->count++;
    return SHARDY_OK;
}

static int compare_texts(shardy_bytes a, shardy_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The numbers 0 .. n - 1 of the members sorted by name, equal names by number. */
static uint32_t *sort_names(dom_builder *b, const pending *members, size_t n)
{
    if (n > b->order_room) {
        uint32_t *order = shardy__realloc(b->order, 2 * n * sizeof *order);
        if (!order) {
            return NULL;
        }
        b->order = order;
        b->order_room = n;
    }
    uint32_t *from = b->order;
    uint32_t *to = b->order + n;
    for (size_t i = 0; i < n; i++) {
        from[i] = (uint32_t)i;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t middle = n - start < width ? n : start + width;
            size_t end = n - middle < width ? n : middle + width;
            size_t p = start;
            size_t q = middle;
            for (size_t i = start; i < end; i++) {
                bool first = q == end || (p < middle && compare_texts(members[from[p]].name,
                                                            members[from[q]].name) <= 0);
                to[i] = first ? from[p++] : from[q++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* Leaves of members with the same name the last value, at the place of the first one, as Python
 * does. Returns how many are left. */
static size_t drop_repeated_small(pending *members, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < kept && compare_texts(members[j].name, members[i].name) != 0) {
            j++;
        }
        members[j] = members[i];
        kept += j == kept;
    }
    return kept;
}

static size_t drop_repeated_large(pending *members, const uint32_t *sorted, size_t n)
{
    size_t run = 0;
    size_t repeated = 0;
    for (size_t i = 1; i < n; i++) {
        if (compare_texts(members[sorted[run]].name, members[sorted[i]].name) != 0) {
            run = i;
            continue;
        }
        members[sorted[run]].value = members[sorted[i]].value;
        members[sorted[i]].value.type = 0; /* to be dropped */
        repeated++;
    }
    size_t kept = 0;
    for (size_t i = 0; repeated > 0 && i < n; i++) {
        if (members[i].value.type != 0) {
            members[kept++] = members[i];
        }
    }
    return n - repeated;
}

static shardy_status make_object(
    dom_builder *b, pending *members, size_t n, shardy_json_value *object, shardy_error *err)
{
    arena *a = &b->json->arena;
    const uint32_t *sorted = NULL;
    if (n <= SMALL_OBJECT) {
        n = drop_repeated_small(members, n);
    } else {
        sorted = n <= UINT32_MAX ? sort_names(b, members, n) : NULL;
        if (!sorted) {
            return nomem(err);
        }
        size_t kept = drop_repeated_large(members, sorted, n);
        if (kept < n) {
            n = kept;
            sorted = sort_names(b, members, n); /* cannot fail: the room is there */
        }
    }
    struct json_names *names = shardy__arena_alloc(a, sizeof *names);
    shardy_bytes *texts = shardy__arena_calloc(a, n, sizeof *texts);
    uint32_t *index = sorted ? shardy__arena_calloc(a, n, sizeof *index) : NULL;
    if (!names || !texts || (sorted && !index)) {
        return nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        texts[i] = members[i].name;
    }
    if (index) {
        memcpy(index, sorted, n * sizeof *index);
    }
    names->texts = texts;
    names->sorted = index;
    object->names = names;
    object->count = n;
    return SHARDY_OK;
}

/* The container that was opened last is complete: it takes its values. */
static shardy_status close_container(dom_builder *b, bool object, shardy_error *err)
{
    size_t first = b->first[b->reader.depth];
    size_t n = b->count - first;
    shardy_json_value *container = &b->values[first - 1].value;
    pending *children = b->values + first;
    container->count = n;
    if (object && n > 0) {
        SHARDY_TRY(make_object(b, children, n, container, err));
        n = container->count;
    }
    shardy_json_value *values = shardy__arena_calloc(&b->json->arena, n, sizeof *values);
    if (!values) {
        return nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = children[i].value;
    }
    container->data = values;
    b->count = first;
    return SHARDY_OK;
}

static shardy_status take_token(dom_builder *b, shardy_error *err)
{
    shardy_json_value value = {0};
    shardy_bytes text = {0};
    switch (b->reader.token) {
    case JSON_NAME:
        return keep_text(b, &b->name, err);
    case JSON_ARRAY_END:
    case JSON_OBJECT_END:
        return close_container(b, b->reader.token == JSON_OBJECT_END, err);
    case JSON_ARRAY_BEGIN:
    case JSON_OBJECT_BEGIN:
        value.type = b->reader.token == JSON_ARRAY_BEGIN ? SHARDY_JSON_ARRAY : SHARDY_JSON_OBJECT;
        SHARDY_TRY(push(b, &value, err));
        b->first[b->reader.depth - 1] = b->count;
        return SHARDY_OK;
    case JSON_NUMBER:
    case JSON_STRING:
        value.type = b->reader.token == JSON_NUMBER ? SHARDY_JSON_NUMBER : SHARDY_JSON_STRING;
        SHARDY_TRY(keep_text(b, &text, err));
        value.data = text.data;
        value.count = text.len;
        return push(b, &value, err);
    default:
        value.type = b->reader.token == JSON_NULL ? SHARDY_JSON_NULL : SHARDY_JSON_BOOL;
        value.boolean = b->reader.token == JSON_TRUE;
        return push(b, &value, err);
    }
}

static shardy_status build(dom_builder *b, shardy_error *err)
{
    SHARDY_TRY(shardy__json_next(&b->reader, err));
    while (b->reader.token != JSON_END) {
        SHARDY_TRY(take_token(b, err));
        SHARDY_TRY(shardy__json_next(&b->reader, err));
    }
    b->json->root = b->values[0].value;
    return SHARDY_OK;
}

shardy_status shardy_json_parse(shardy_bytes text, shardy_json **json_out, shardy_error *err)
{
    SHARDY_CHECK_ARG(json_out);
    *json_out = NULL;
    SHARDY_CHECK_ARG(text.data || text.len == 0);
    if (text.len > SHARDY_JSON_LEN_MAX) {
        return shardy__error(err, SHARDY_INVALID, "json",
            "a document of %zu bytes is larger than the limit of %u", text.len,
            SHARDY_JSON_LEN_MAX);
    }
    dom_builder b = {0};
    b.json = shardy__calloc(1, sizeof *b.json);
    if (!b.json) {
        return nomem(err);
    }
    shardy__arena_init(&b.json->arena);
    shardy__bytebuf_init(&b.scratch, text.len);
    shardy__json_reader_init(&b.reader, text);
    shardy_status st = build(&b, err);
    shardy__free(b.values);
    shardy__free(b.order);
    shardy__bytebuf_free(&b.scratch);
    if (st < 0) {
        shardy_json_free(b.json);
        return st;
    }
    *json_out = b.json;
    return SHARDY_OK;
}

void shardy_json_free(shardy_json *json)
{
    if (json) {
        shardy__arena_free(&json->arena);
        shardy__free(json);
    }
}

const shardy_json_value *shardy_json_root(const shardy_json *json)
{
    return json ? &json->root : NULL;
}

int32_t shardy_json_type_of(const shardy_json_value *value)
{
    return value ? value->type : 0;
}

static bool is_container(const shardy_json_value *value)
{
    return value && (value->type == SHARDY_JSON_ARRAY || value->type == SHARDY_JSON_OBJECT);
}

size_t shardy_json_count(const shardy_json_value *value)
{
    return is_container(value) ? value->count : 0;
}

const shardy_json_value *shardy_json_at(const shardy_json_value *value, size_t index)
{
    if (!is_container(value) || index >= value->count) {
        return NULL;
    }
    return (const shardy_json_value *)value->data + index;
}

shardy_bytes shardy_json_name_at(const shardy_json_value *object, size_t index)
{
    if (!object || object->type != SHARDY_JSON_OBJECT || index >= object->count) {
        return shardy__bytes(NULL, 0);
    }
    return object->names->texts[index];
}

const shardy_json_value *shardy_json_get(const shardy_json_value *object, const char *name)
{
    if (!object || object->type != SHARDY_JSON_OBJECT || !name || object->count == 0) {
        return NULL;
    }
    shardy_bytes wanted = {name, strlen(name)};
    const shardy_bytes *texts = object->names->texts;
    const uint32_t *sorted = object->names->sorted;
    if (!sorted) {
        for (size_t i = 0; i < object->count; i++) {
            if (compare_texts(texts[i], wanted) == 0) {
                return shardy_json_at(object, i);
            }
        }
        return NULL;
    }
    size_t low = 0;
    size_t high = object->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_texts(texts[sorted[middle]], wanted);
        if (order == 0) {
            return shardy_json_at(object, sorted[middle]);
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

shardy_bytes shardy_json_string(const shardy_json_value *value)
{
    if (!value || (value->type != SHARDY_JSON_STRING && value->type != SHARDY_JSON_NUMBER)) {
        return shardy__bytes(NULL, 0);
    }
    return shardy__bytes(value->data, value->count);
}

int32_t shardy_json_bool(const shardy_json_value *value)
{
    return value && value->type == SHARDY_JSON_BOOL && value->boolean;
}

int32_t shardy_json_int64(const shardy_json_value *value, int64_t *value_out)
{
    *value_out = 0;
    return value && value->type == SHARDY_JSON_NUMBER &&
           shardy__parse_int64(value->data, value->count, value_out);
}

int32_t shardy_json_uint64(const shardy_json_value *value, uint64_t *value_out)
{
    *value_out = 0;
    return value && value->type == SHARDY_JSON_NUMBER &&
           shardy__parse_uint64(value->data, value->count, value_out);
}

int32_t shardy_json_double(const shardy_json_value *value, double *value_out)
{
    *value_out = 0.0;
    return value && value->type == SHARDY_JSON_NUMBER &&
           shardy__parse_double(value->data, value->count, value_out);
}
