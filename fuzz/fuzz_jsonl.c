/* JSON lines as rows, with and without columns that have a use. A whole-row read and a read with
 * columns accept and refuse the same lines as far as they mean the same; every line of an accepted
 * file is JSON. */
#include "rows_target.h"

#include <zstd.h>

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
            require_that(shardy_json_parse(line, &json, NULL) == SHARDY_OK);
            require_that(shardy_json_type_of(shardy_json_root(json)) == SHARDY_JSON_OBJECT);
            require_that(shardy_json_get(shardy_json_root(json), "key") != NULL);
            shardy_json_free(json);
            lines++;
        }
        p += len + 1;
    }
    return lines;
}

static char packed_path[] = "/tmp/shardy_fuzz_XXXXXX.jsonl.zst";

static void remove_packed(void)
{
    unlink(packed_path);
}

/* The file of this process that is compressed, with this content. */
static void write_packed(const void *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        fd = mkstemps(packed_path, (int)strlen(".jsonl.zst"));
        require_that(fd >= 0 && atexit(remove_packed) == 0);
    }
    require_that(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
}

static int is_packed(const uint8_t *data, size_t size)
{
    return size >= 4 && memcmp(data, "\x28\xB5\x2F\xFD", 4) == 0;
}

/* Bytes that begin as a compressed file are read as one; others are compressed, in two frames, and
 * give the same rows as they do plain. */
static void check_packed(
    const uint8_t *data, size_t size, shardy_status plain_st, size_t plain_rows)
{
    shardy_row_source_options options;
    row_count packed = {0};
    shardy_row_source_options_init(&options, sizeof options);
    if (is_packed(data, size)) {
        write_packed(data, size);
        (void)read_file(packed_path, &options, count, &packed);
        return;
    }
    size_t half = size / 2;
    size_t room = ZSTD_compressBound(half) + ZSTD_compressBound(size - half);
    char *frames = malloc(room);
    if (!frames) {
        return;
    }
    size_t first = ZSTD_compress(frames, room, data, half, 1);
    require_that(!ZSTD_isError(first));
    size_t second = ZSTD_compress(frames + first, room - first, data + half, size - half, 1);
    require_that(!ZSTD_isError(second));
    write_packed(frames, first + second);
    free(frames);
    require_that(read_file(packed_path, &options, count, &packed) == plain_st);
    require_that(packed.rows == plain_rows);
}

static shardy_status run(const uint8_t *data, size_t size, shardy_error *err)
{
    static const char *const columns[] = {"c", "key"};
    shardy_row_source_options options;
    shardy_row_source_options_init(&options, sizeof options);
    options.columns = columns;
    options.column_count = 2;
    options.vector_column = "vec";
    options.payload_column = "p";
    options.vector_id_column = "i";
    (void)data;
    (void)size;
    return run_rows(&options, err);
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
        require_that(check_lines(data, size) == whole.rows);
    }
    check_packed(data, size, st, whole.rows);
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
        require_that(used.rows <= whole.rows);
        require_that(used_st == SHARDY_INVALID || st == SHARDY_DONE);
    }
    run_rows_with_faults(data, size, run);
    return 0;
}
