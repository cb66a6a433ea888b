/* CSV as rows, compared with a reader that follows RFC 4180 one character at a time. */
#include "rows_target.h"

#define FIELDS 400

/* The plain reader. A file that it finds good has `records` of the same number of fields. */
typedef struct plain_csv {
    const char *p;
    const char *end;
    bytebuf text;          /* of all fields of the current record */
    size_t starts[FIELDS]; /* of each field in `text`, and the end of the last one */
    size_t fields;
    int bad;
} plain_csv;

static void plain_field(plain_csv *c)
{
    int quoted = c->p < c->end && *c->p == '"';
    c->p += quoted;
    while (c->p < c->end) {
        char ch = *c->p;
        if (quoted && ch == '"') {
            if (c->end - c->p > 1 && c->p[1] == '"') {
                c->p++;
            } else {
                c->p++;
                return;
            }
        } else if (!quoted && (ch == ',' || ch == '\n' || ch == '\r')) {
            return;
        } else if (!quoted && ch == '"') {
            c->bad = 1;
            return;
        }
        shardy__bytebuf_putc(&c->text, ch);
        c->p++;
    }
    c->bad |= quoted;
}

/* One record; 0 at the end of the file. Blank lines are passed over. */
static int plain_record(plain_csv *c)
{
    for (;;) {
        if (c->p == c->end) {
            return 0;
        }
        const char *start = c->p;
        shardy__bytebuf_clear(&c->text);
        c->fields = 0;
        for (;;) {
            c->starts[c->fields++] = c->text.len;
            plain_field(c);
            if (c->bad || c->fields == FIELDS - 1 || c->p == c->end || *c->p != ',') {
                break;
            }
            c->p++;
        }
        c->starts[c->fields] = c->text.len;
        if (c->bad || c->fields == FIELDS - 1) {
            c->bad = 1;
            return 0;
        }
        int empty = c->p == start;
        if (c->p < c->end) {
            c->p += *c->p == '\r';
            if (c->p == c->end) {
                return !empty;
            }
            c->bad = *c->p != '\n';
            c->p++;
        }
        if (c->bad || !empty) {
            return !c->bad;
        }
    }
}

typedef struct comparison {
    plain_csv *plain;
    size_t key_field;
    size_t fields;
} comparison;

/* The next row of the source against the next record of the plain reader: its key, and its value,
 * put together by way of a document. */
static void compare(void *user, const shardy_row *row)
{
    comparison *c = user;
    plain_csv *plain = c->plain;
    require_that(plain_record(plain) && plain->fields == c->fields);
    size_t start = plain->starts[c->key_field];
    size_t len = plain->starts[c->key_field + 1] - start;
    require_that(row->key.type == SHARDY_KEY_TEXT && row->key.bytes.len == len);
    require_that(len == 0 || memcmp(row->key.bytes.data, plain->text.data + start, len) == 0);
    shardy_json *json;
    require_that(shardy_json_parse(row->value, &json, NULL) == SHARDY_OK);
    require_that(shardy_json_count(shardy_json_root(json)) == c->fields - 1);
    size_t total = len;
    for (size_t i = 0; i + 1 < c->fields; i++) {
        total += shardy_json_string(shardy_json_at(shardy_json_root(json), i)).len;
    }
    require_that(total == plain->text.len);
    shardy_json_free(json);
}

static int names_differ(const plain_csv *c)
{
    for (size_t i = 0; i < c->fields; i++) {
        for (size_t j = 0; j < i; j++) {
            size_t len = c->starts[i + 1] - c->starts[i];
            if (len == c->starts[j + 1] - c->starts[j] &&
                (len == 0 ||
                    memcmp(c->text.data + c->starts[i], c->text.data + c->starts[j], len) == 0)) {
                return 0;
            }
        }
    }
    return 1;
}

/* Whether the plain reader finds the whole file good; sets where the keys are. */
static int plain_good(plain_csv *c, comparison *comparison_out)
{
    const char *start = c->p;
    if (!shardy__utf8_valid(c->p, (size_t)(c->end - c->p)) || !plain_record(c) ||
        !names_differ(c)) {
        return 0;
    }
    size_t fields = c->fields;
    size_t key = 0;
    while (key < fields && (c->starts[key + 1] - c->starts[key] != 3 ||
                               memcmp(c->text.data + c->starts[key], "key", 3) != 0)) {
        key++;
    }
    int good = key < fields;
    while (good && plain_record(c)) {
        good = c->fields == fields;
    }
    good = good && !c->bad;
    c->p = start;
    c->bad = 0;
    plain_record(c);
    comparison_out->plain = c;
    comparison_out->fields = fields;
    comparison_out->key_field = key;
    return good;
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    static const char *const columns[] = {"c"};
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    options.format = SHARDY_ROWS_CSV;
    options.columns = columns;
    options.column_count = 1;
    options.vector_column = "vec";
    (void)data;
    (void)size;
    return run_rows(&options, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const columns[] = {"c"};
    static plain_csv plain;
    comparison c;
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    options.format = SHARDY_ROWS_CSV;
    shardy__bytebuf_init(&plain.text, 1u << 24);
    plain.p = (const char *)data;
    plain.end = plain.p + size;
    plain.bad = 0;
    if (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) {
        plain.p += 3;
    }
    int good = size < 100000 && plain_good(&plain, &c);
    become_stdin(data, size);
    shardy_status st = read_all(&options, good ? compare : NULL, &c);
    require_that(!good || (st == SHARDY_DONE && !plain_record(&plain)));
    shardy__bytebuf_free(&plain.text);
    for (int32_t encoding = SHARDY_KEY_ENCODING_AUTO; encoding <= SHARDY_KEY_ENCODING_U64BE;
         encoding++) {
        options.key_encoding = encoding;
        options.columns = columns;
        options.column_count = 1;
        options.vector_column = "vec";
        options.payload_column = "p";
        options.vector_id_column = "i";
        options.value_column = encoding ? "v" : NULL;
        become_stdin(data, size);
        require_that(read_all(&options, NULL, NULL) == SHARDY_INVALID || st == SHARDY_DONE);
    }
    run_rows_with_faults(data, size, run);
    return 0;
}
