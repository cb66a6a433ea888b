/* JSON lines as rows, with and without columns that have a use. A whole-row read and a read with
 * columns accept and refuse the same lines as far as they mean the same; every line of an accepted
 * file is JSON. */
#include "rows_target.h"

typedef struct row_count {
    size_t rows;
} row_count;

static void count(void *user, const shardy_row *row)
{
    row_count *c = user;
    (void)row;
    c->rows++;
}

/* Lines that are not blank, all of which must be JSON. */
static size_t check_lines(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    const char *end = p + size;
    size_t lines = 0;
    if (size >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        p += 3;
    }
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p);
        size_t i = 0;
        while (i < len && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r')) {
            i++;
        }
        if (i < len) {
            shardy_json *json;
            shardy_bytes line = {p, len};
            require(shardy_json_parse(line, &json, NULL) == SHARDY_OK);
            require(shardy_json_type_of(shardy_json_root(json)) == SHARDY_JSON_OBJECT);
            require(shardy_json_get(shardy_json_root(json), "key") != NULL);
            shardy_json_free(json);
            lines++;
        }
        p += len + 1;
    }
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const columns[] = {"c", "key", "v", "i"};
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    row_count whole = {0};
    become_stdin(data, size);
    shardy_status st = read_all(&options, count, &whole);
    if (st == SHARDY_DONE) {
        require(check_lines(data, size) == whole.rows);
    }
    options.columns = columns;
    options.column_count = 4;
    options.vector_column = "vec";
    options.payload_column = "p";
    options.vector_id_column = "i";
    for (int with_value = 0; with_value < 2; with_value++) {
        row_count used = {0};
        options.value_column = with_value ? "v" : NULL;
        become_stdin(data, size);
        shardy_status used_st = read_all(&options, count, &used);
        /* Uses only add reasons to refuse a row. */
        require(used.rows <= whole.rows);
        require(used_st == SHARDY_INVALID || st == SHARDY_DONE);
    }
    return 0;
}
